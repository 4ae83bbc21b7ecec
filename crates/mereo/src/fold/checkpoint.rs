//! Where a run stands, in a file: written between passes, and between the batches of one that shuffles, read to continue, refused where it
//! belongs to another fit.

use super::{Best, Method, Options, Pass, Peak, Run, Shape, State};
use crate::comm::Comm;
use crate::error::{Error, Result};
use crate::store::{Bag, Numbers, Tensor};
use std::path::PathBuf;
use std::time::Duration;

/// More passes, another tolerance, or shorter steps where they led nowhere, is what one resumes for.
pub(super) const CONTINUED: [&str; 3] = ["max_passes", "tol", "lr"];

/// A file from which a fit can be continued. A write that fails does not end the fit; see [`Fitted::unsaved`](super::Fitted::unsaved).
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The file; with several workers `.1`, `.2`, … is appended for all but the first.
    pub path: PathBuf,
    /// Least time between two writes: after a pass, or after a batch of a pass that shuffles. One is also written when a fit is cancelled or
    /// reaches its limit of passes.
    pub every: Duration,
    /// Continue from the file if it is there; the end is the same, byte for byte, as without the interruption.
    pub resume: bool,
}

fn worker_path(c: &Checkpoint, comm: &dyn Comm) -> PathBuf {
    match comm.rank() {
        0 => c.path.clone(),
        rank => {
            let mut name = c.path.as_os_str().to_owned();
            name.push(format!(".{rank}"));
            name.into()
        }
    }
}

/// A run but for its state and its memo.
pub(super) struct Place<'a, S> {
    pub restart: usize,
    pub done: bool,
    /// Batches of the pass that have changed the state.
    pub batches: u64,
    pub curve: &'a [Pass],
    pub starts: &'a [f64],
    pub peak: Option<&'a Peak<S>>,
    pub best: Option<&'a Best<S>>,
}

impl<'a, S> Place<'a, S> {
    pub fn new(
        (restart, done, batches): (usize, bool, u64),
        (curve, starts): (&'a [Pass], &'a [f64]),
        peak: Option<&'a Peak<S>>,
        best: Option<&'a Best<S>>,
    ) -> Self {
        Self { restart, done, batches, curve, starts, peak, best }
    }
}

/// Writes where a run stands.
pub(super) fn save<M: Method>(
    method: &M,
    c: &Checkpoint,
    run: &Place<M::State>,
    (state, memo): (&M::State, &mut Vec<f32>),
    (shape, window): (Shape, usize),
    comm: &dyn Comm,
    seconds: f64,
) -> Result<()> {
    let now = state;
    let mut bag = Bag::default();
    bag.put("kind", "checkpoint");
    bag.put("method", method.name());
    bag.put("params", method);
    bag.put("shape", shape);
    bag.put("window", method.plan().shuffle.map(|_| window));
    bag.put("workers", [comm.rank(), comm.size()]);
    bag.put("restart", run.restart);
    bag.put("done", run.done);
    bag.put("batches", run.batches);
    bag.put("curve", run.curve);
    bag.put("starts", run.starts);
    bag.put("seconds", seconds);
    let mut state = Bag::default();
    now.save(&mut state);
    bag.nest("state", state);
    if let Some(best) = run.best {
        let mut state = Bag::default();
        best.state.save(&mut state);
        bag.nest("best", state);
        bag.put("best_curve", &best.curve);
        bag.put("best_stop", best.stop);
        bag.put("best_kept", best.kept);
        bag.put_f64("best_loss", &[best.loss]);
    }
    if let Some(peak) = run.peak {
        let mut state = Bag::default();
        peak.state.save(&mut state);
        bag.nest("peak", state);
        bag.put("peak_pass", peak.pass);
        bag.put_f64("peak_loss", &[peak.loss]);
    }
    // The memo may be the largest of all, so it is lent and not copied.
    let (numbers, lent) = (memo.len(), Numbers::F32(std::mem::take(memo)));
    bag.tensors.insert("memo".into(), Tensor { shape: vec![numbers], data: lent });
    let written = bag.write(&worker_path(c, comm));
    if let Some(Tensor { data: Numbers::F32(lent), .. }) = bag.tensors.remove("memo") {
        *memo = lent;
    }
    written
}

/// Reads where a run stood, and the seconds it had taken, if it is to be continued and there is a file to continue from.
///
/// # Errors
/// A damaged file, or one of another fit.
pub(super) fn resume<M: Method>(
    method: &M,
    options: &Options,
    (shape, window): (Shape, usize),
    comm: &dyn Comm,
) -> Result<Option<(Run<M::State>, f64)>> {
    let Some(c) = options.checkpoint.as_ref().filter(|c| c.resume) else { return Ok(None) };
    let path = worker_path(c, comm);
    if !path.exists() {
        return Ok(None);
    }
    let bag = Bag::read(&path)?;
    let other = |what: &str| {
        Error::format(&path, format!("a checkpoint of {what}; give the same data and parameters, or start anew without resume"))
    };
    if bag.get::<String>("kind").ok().as_deref() != Some("checkpoint") {
        return Err(Error::format(&path, "not a checkpoint of a fit"));
    }
    if bag.get::<String>("method")? != method.name() {
        return Err(other("another method"));
    }
    if bag.get::<Shape>("shape")? != shape {
        return Err(other("data of another shape"));
    }
    if bag.get::<[usize; 2]>("workers")? != [comm.rank(), comm.size()] {
        return Err(other("another number of workers"));
    }
    let params = serde_json::to_value(method).unwrap_or_default();
    let stored = bag.meta.get("params").cloned().unwrap_or_default();
    if let (Some(now), Some(then)) = (params.as_object(), stored.as_object()) {
        let differ = |key: &&String| !CONTINUED.contains(&key.as_str()) && now.get(*key) != then.get(*key);
        if let Some(key) = now.keys().find(differ) {
            return Err(other(&format!(
                "a fit with {key} = {}, not {}",
                then.get(key).unwrap_or(&serde_json::Value::Null),
                now[key]
            )));
        }
    }
    if method.plan().shuffle.is_some() && bag.get::<Option<usize>>("window")? != Some(window) {
        return Err(Error::format(
            &path,
            "a checkpoint of a fit with another bound on memory, on which the order of the rows depends; continue with the bound that it was begun with",
        ));
    }
    let number = |name: &str| bag.f64(name)?.first().copied().ok_or_else(|| Error::format(&path, format!("`{name}` is empty")));
    let best = match bag.nested("best") {
        Ok(b) => {
            let (state, loss) = (M::State::load(&b)?, number("best_loss")?);
            Some(Best { state, curve: bag.get("best_curve")?, stop: bag.get("best_stop")?, kept: bag.get("best_kept")?, loss })
        }
        Err(_) => None,
    };
    let peak = match bag.nested("peak") {
        Ok(p) => Some(Peak { state: M::State::load(&p)?, pass: bag.get("peak_pass")?, loss: number("peak_loss")? }),
        Err(_) => None,
    };
    let run = Run {
        restart: bag.get("restart")?,
        state: M::State::load(&bag.nested("state")?)?,
        done: bag.get("done")?,
        // Checkpoints of before know whole passes alone.
        batches: bag.get("batches").unwrap_or(0),
        curve: bag.get("curve")?,
        memo: bag.f32("memo")?,
        starts: bag.get("starts")?,
        held: method.early().is_some(),
        peak,
        best,
    };
    Ok(Some((run, bag.get("seconds")?)))
}
