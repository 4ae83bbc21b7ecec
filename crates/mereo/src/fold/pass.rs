//! One pass of one worker: its blocks as they are read, its rows batch by batch as they are shown, an update after every batch.
//!
//! Batch m is rows m·batch.. of the whole data. A batch may be a part of a block, or reach over many, and a worker may have no row
//! of it; all workers go through all batches, and after each their sums are added. So neither blocks nor workers matter.

use super::{Engine, Method, Progress, Stats, accept};
use crate::comm::Comm;
use crate::error::{Error, Result};
use crate::mat::Rows;
use crate::source::Source;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// A block of this worker: its number, its first row in the whole data, and its count.
pub(super) struct Span {
    pub block: usize,
    pub first: u64,
    pub rows: usize,
}

/// The blocks of worker `rank` of `size`.
pub(super) fn spans(source: &dyn Source, rank: usize, size: usize) -> Vec<Span> {
    let mut first = 0;
    let mut own = Vec::new();
    for block in 0..source.blocks() {
        let rows = source.rows(block);
        if block % size == rank {
            own.push(Span { block, first, rows });
        }
        first += rows as u64;
    }
    own
}

/// One worker's share of a pass.
pub(super) struct Share<'a, M: Method> {
    pub method: &'a M,
    pub engine: &'a dyn Engine<M>,
    pub source: &'a dyn Source,
    pub comm: &'a dyn Comm,
    pub spans: &'a [Span],
    /// Rows of the whole data.
    pub rows: usize,
    /// Rows between two updates.
    pub batch: usize,
    /// Numbers of the memo for each row.
    pub width: usize,
    /// Whether the rows are seen for the first time.
    pub check: bool,
    pub cancel: Option<&'a AtomicBool>,
}

/// How far a worker is in its rows.
struct Place<'a, 'p> {
    /// The blocks of `spans`, in order, each read once.
    blocks: &'p mut dyn Iterator<Item = Result<Rows<'a>>>,
    /// Those that have rows left.
    spans: &'p [Span],
    /// The first of those, if any of its rows was shown, and how many were.
    open: Option<(Rows<'a>, usize)>,
    /// Of the rows that are left.
    memo: &'p mut [f32],
}

impl<M: Method> Share<'_, M> {
    /// Shows every row once and updates the state after every batch; says what the last update did. `Break` if any worker is to stop,
    /// which leaves state and memo as they are half-way. `asked`: this worker is, and reads nothing.
    pub fn pass(&self, state: &mut M::State, memo: &mut [f32], asked: bool) -> Result<ControlFlow<(), Progress>> {
        let read = |span: &Span| self.source.block(span.block);
        if asked || !self.source.streams() || self.spans.len() < 2 {
            return self.batches(&mut self.spans.iter().map(read), state, memo, asked);
        }
        // The next block is read while this one is worked on.
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel(0);
            scope.spawn(move || self.spans.iter().map(read).try_for_each(|block| send.send(block)));
            self.batches(&mut receive.into_iter(), state, memo, asked)
        })
    }

    fn batches(
        &self,
        blocks: &mut dyn Iterator<Item = Result<Rows<'_>>>,
        state: &mut M::State,
        memo: &mut [f32],
        asked: bool,
    ) -> Result<ControlFlow<(), Progress>> {
        let mut place = Place { blocks, spans: self.spans, open: None, memo };
        let mut progress = Progress::default();
        for from in (0..self.rows).step_by(self.batch.max(1)) {
            let to = self.rows.min(from + self.batch.max(1));
            let mut sums = self.method.zero(state);
            let seen = if asked { Ok(ControlFlow::Break(())) } else { self.show(&mut place, to as u64, state, &mut sums) };
            if agree(seen, &mut sums, to - from, self.comm)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            progress = self.engine.update(self.method, state, sums)?;
        }
        Ok(ControlFlow::Continue(progress))
    }

    /// Shows the rows before row `end` of the whole data that are left; says how many they were, or `Break` if cancelled.
    fn show(&self, place: &mut Place, end: u64, state: &M::State, sums: &mut M::Stats) -> Result<ControlFlow<(), u64>> {
        let mut seen = 0;
        while let Some((span, later)) = place.spans.split_first().filter(|(span, _)| span.first < end) {
            if self.cancelled() {
                return Ok(ControlFlow::Break(()));
            }
            let (x, from) = match place.open.take() {
                Some(open) => open,
                None => (self.open(span, place.blocks)?, 0),
            };
            let to = span.rows.min((end - span.first) as usize);
            let (memo, rest) = std::mem::take(&mut place.memo).split_at_mut((to - from) * self.width);
            place.memo = rest;
            self.engine.observe(self.method, state, &x.slice(from, to), span.first + from as u64, memo, sums)?;
            seen += (to - from) as u64;
            if to < span.rows {
                place.open = Some((x, to));
                break;
            }
            place.spans = later;
        }
        Ok(ControlFlow::Continue(seen))
    }

    /// The rows of a block that is now due.
    fn open<'a>(&self, span: &Span, blocks: &mut dyn Iterator<Item = Result<Rows<'a>>>) -> Result<Rows<'a>> {
        let x = blocks.next().unwrap_or(Err(Error::Worker))?;
        if x.rows() != span.rows || x.cols() != self.source.cols() {
            return Err(Error::data(format!(
                "block {} has {} rows of {} columns where {} of {} were announced; the file changed while it was read",
                span.block,
                x.rows(),
                x.cols(),
                span.rows,
                self.source.cols()
            )));
        }
        if self.check {
            accept(self.method, &x, span.first)?;
        }
        Ok(x)
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|c| c.load(Ordering::Relaxed))
    }
}

/// Adds the sums of all workers, failures and stop requests among them, so that no worker waits for ever. Together they must have seen
/// `expected` rows.
fn agree<S: Stats>(
    seen: Result<ControlFlow<(), u64>>,
    sums: &mut S,
    expected: usize,
    comm: &dyn Comm,
) -> Result<ControlFlow<()>> {
    let (rows, failed, stopped, error) = match seen {
        Ok(ControlFlow::Continue(rows)) => (rows as f64, 0.0, 0.0, None),
        Ok(ControlFlow::Break(())) => (0.0, 0.0, 1.0, None),
        Err(e) => (0.0, 1.0, 0.0, Some(e)),
    };
    let mut flags = [rows, failed, stopped];
    let mut parts = sums.parts();
    parts.push(&mut flags);
    comm.sum(parts)?;
    match (error, flags) {
        (Some(e), _) => Err(e),
        (None, [_, failed, _]) if failed > 0.0 => Err(Error::Worker),
        (None, [_, _, stopped]) if stopped > 0.0 => Ok(ControlFlow::Break(())),
        (None, [rows, ..]) if rows != expected as f64 => {
            Err(Error::data(format!("the workers saw {rows} rows of {expected}; every block must be read by exactly one worker")))
        }
        _ => Ok(ControlFlow::Continue(())),
    }
}
