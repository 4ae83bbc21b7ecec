//! Rows held out by the driver, whose loss says when a fit is at its best.

use super::pass::Span;
use super::{Early, Method, accept, stream};
use crate::comm::Comm;
use crate::error::{Error, Result};
use crate::rng::rng;
use crate::source::{Source, Subset, count};

/// The rows held out, and which of their blocks are this worker's.
pub(super) struct Held<'a> {
    pub source: &'a dyn Source,
    pub spans: Vec<Span>,
    /// Passes in which they may get no better.
    pub patience: usize,
}

/// The state of the pass in which they were best.
#[derive(Clone)]
pub(super) struct Peak<S> {
    pub state: S,
    /// From 1.
    pub pass: usize,
    pub loss: f64,
}

/// The rows to fit and those held out.
pub(super) fn split(source: &dyn Source, early: Early, n: usize, seed: u64) -> Result<(Subset<'_>, Subset<'_>)> {
    if early.patience == 0 {
        return Err(Error::parameter("a patience of 0 passes would end a fit before its first; give 1 or more"));
    }
    if !(early.share > 0.0 && early.share < 1.0) || n < 2 {
        return Err(Error::parameter(format!(
            "a share of {} of {n} rows can't be held out to say when to stop; hold out a share between 0 and 1 of two rows or more",
            early.share
        )));
    }
    let apart = ((early.share * n as f64).round() as usize).clamp(1, n - 1);
    let held = rng(seed, stream::EARLY, 0).choose(n, apart);
    let mut next = held.iter().copied().peekable();
    let rest: Vec<usize> = (0..n).filter(|&i| next.next_if_eq(&i).is_none()).collect();
    Ok((Subset::new(source, rest)?, Subset::new(source, held)?))
}

impl Held<'_> {
    /// The mean loss of the rows of all workers; `first` if they were not looked at before.
    pub fn loss<M: Method>(&self, method: &M, state: &M::State, comm: &dyn Comm, first: bool) -> Result<f64> {
        let own = self.spans.iter().try_fold(0.0, |sum, span| {
            let x = self.source.block(span.block)?;
            if first {
                accept(method, &x, span.first)?;
            }
            Ok::<_, Error>(sum + method.held_loss(state, &x)?)
        });
        let mut sums = [*own.as_ref().unwrap_or(&0.0), f64::from(u8::from(own.is_err()))];
        comm.sum(vec![&mut sums])?;
        match own {
            Err(e) => Err(e),
            Ok(_) if sums[1] > 0.0 => Err(Error::Worker),
            Ok(_) => Ok(sums[0] / count(self.source) as f64),
        }
    }
}
