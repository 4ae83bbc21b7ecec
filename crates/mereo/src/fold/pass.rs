//! One pass of one worker: its blocks as they are read, its rows batch by batch as they are shown, an update after every batch.
//!
//! Batch m is rows m·batch.. of the whole data, or of a random [`Order`] of it. A batch may be a part of a block, or reach over many,
//! and a worker may have no row of it; all workers go through all batches, and after each their sums are added. So neither blocks nor
//! workers matter.
//!
//! With an order a pass goes from window to window: the blocks, or parts of blocks, of a window are held, and every batch is picked
//! out of them. Of data in memory that copies nothing but the batch; of data that streams two windows are in memory, the next one being
//! read ahead, and a block that reaches over several windows is read again for each of them.

use super::order::Order;
use super::{Engine, Method, Progress, Stats, accept};
use crate::comm::Comm;
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Rows};
use crate::source::Source;
use std::borrow::Cow;
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
    /// The order of the rows, if it is not that of the data; then there is no memo.
    pub order: Option<Order>,
    /// Whether the rows are seen for the first time.
    pub check: bool,
    /// Batches of the pass that an earlier run was through with; of a shuffled pass alone.
    pub from: u64,
    pub cancel: Option<&'a AtomicBool>,
}

/// What happens between two batches of a shuffled pass.
pub(super) trait Between<S> {
    /// Whether this worker wants to write down where it stands.
    fn due(&self) -> bool;
    /// `done` batches of the pass, `rows` rows, have changed the state, and `said` is what it came to; `write` if any worker was due.
    fn after(&mut self, state: &S, done: u64, rows: u64, said: &Progress, write: bool);
}

/// A block of this worker, or the part of it that a window needs.
struct Piece<'a> {
    /// The first of them in the whole data.
    first: u64,
    rows: Rows<'a>,
}

/// A worker's windows, in the order of the pass.
struct View<'a, 'p> {
    pieces: &'p mut dyn Iterator<Item = Result<Vec<Piece<'a>>>>,
    /// The window that is shown, once it was read.
    held: Option<Vec<Piece<'a>>>,
    /// Room of the last batch, where the next one finds its place.
    spare: Vec<f32>,
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
    pub fn pass(
        &self,
        state: &mut M::State,
        memo: &mut [f32],
        asked: bool,
        between: &mut dyn Between<M::State>,
    ) -> Result<ControlFlow<(), Progress>> {
        if let Some(order) = &self.order {
            return self.shuffled(order, state, asked, between);
        }
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
            if agree(seen, &mut sums, (to - from, false), self.comm)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            progress = self.engine.update(self.method, state, sums)?;
        }
        Ok(ControlFlow::Continue(progress))
    }

    /// The same in another order.
    fn shuffled(
        &self,
        order: &Order,
        state: &mut M::State,
        asked: bool,
        between: &mut dyn Between<M::State>,
    ) -> Result<ControlFlow<(), Progress>> {
        let mut windows = order.windows();
        // Windows that an earlier run was through with are not read.
        let mut left = self.from;
        let gone = windows.iter().take_while(|&&window| {
            let span = order.span(window);
            let batches = (span.end - span.start).div_ceil(self.batch.max(1) as u64);
            let gone = left >= batches;
            left -= if gone { batches } else { 0 };
            gone
        });
        windows.drain(..gone.count());
        let read = |&window: &usize| self.window(order, window);
        if asked || !self.source.streams() || windows.len() < 2 {
            return self.picked((order, &windows, left), &mut windows.iter().map(read), state, asked, between);
        }
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel(0);
            let ahead = &windows;
            scope.spawn(move || ahead.iter().map(read).try_for_each(|window| send.send(window)));
            self.picked((order, &windows, left), &mut receive.into_iter(), state, asked, between)
        })
    }

    /// What this worker has of a window.
    fn window(&self, order: &Order, window: usize) -> Result<Vec<Piece<'_>>> {
        let span = order.span(window);
        let mut pieces = Vec::new();
        for own in self.spans.iter().filter(|own| own.first < span.end && own.first + own.rows as u64 > span.start) {
            let x = self.source.block(own.block)?;
            self.announced(own, &x)?;
            let (from, to) = (span.start.saturating_sub(own.first) as usize, own.rows.min((span.end - own.first) as usize));
            if self.check {
                accept(self.method, &x.slice(from, to), own.first + from as u64)?;
            }
            // Rows of another window need not stay in memory.
            let part = self.source.streams() && to - from < own.rows;
            pieces.push(if part {
                Piece { first: own.first + from as u64, rows: x.pick(&(from..to).collect::<Vec<_>>()) }
            } else {
                Piece { first: own.first, rows: x }
            });
        }
        Ok(pieces)
    }

    /// `gone`: batches of the first window that an earlier run was through with.
    fn picked(
        &self,
        (order, windows, gone): (&Order, &[usize], u64),
        pieces: &mut dyn Iterator<Item = Result<Vec<Piece<'_>>>>,
        state: &mut M::State,
        asked: bool,
        between: &mut dyn Between<M::State>,
    ) -> Result<ControlFlow<(), Progress>> {
        let mut progress = Progress::default();
        let (mut done, mut skip) = (self.from, gone as usize);
        let mut seen = self.from * self.batch as u64;
        let mut view = View { pieces, held: None, spare: Vec::new() };
        for &window in windows {
            view.held = None;
            for batch in order.within(window).chunks(self.batch.max(1)).skip(std::mem::take(&mut skip)) {
                let mut sums = self.method.zero(state);
                let shown =
                    if asked { Ok(ControlFlow::Break(())) } else { self.show_batch(&mut view, batch, seen, state, &mut sums) };
                let ControlFlow::Continue(write) = agree(shown, &mut sums, (batch.len(), between.due()), self.comm)? else {
                    return Ok(ControlFlow::Break(()));
                };
                progress = self.engine.update(self.method, state, sums)?;
                seen += batch.len() as u64;
                done += 1;
                between.after(state, done, seen, &progress, write);
            }
        }
        Ok(ControlFlow::Continue(progress))
    }

    /// Shows those rows of a batch that are this worker's, in the order of the batch.
    fn show_batch(
        &self,
        view: &mut View,
        batch: &[u64],
        seen: u64,
        state: &M::State,
        sums: &mut M::Stats,
    ) -> Result<ControlFlow<(), u64>> {
        if self.cancelled() {
            return Ok(ControlFlow::Break(()));
        }
        if view.held.is_none() {
            view.held = Some(view.pieces.next().unwrap_or(Err(Error::Worker))?);
        }
        let held = view.held.as_deref().unwrap_or_default();
        let place = |row: &u64| {
            let span = held.partition_point(|p| p.first <= *row).checked_sub(1)?;
            let at = (row - held[span].first) as usize;
            (at < held[span].rows.rows()).then_some((span, at))
        };
        let own: Vec<(usize, usize)> = batch.iter().filter_map(place).collect();
        if !own.is_empty() {
            let spans: Vec<&Rows> = held.iter().map(|p| &p.rows).collect();
            let x = Rows::gather(self.source.cols(), &spans, &own, std::mem::take(&mut view.spare));
            self.engine.observe(self.method, state, &x, seen, &mut [], sums)?;
            if let Rows::Dense(DenseRows { data: Cow::Owned(room), .. }) = x {
                view.spare = room;
            }
        }
        Ok(ControlFlow::Continue(own.len() as u64))
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
        self.announced(span, &x)?;
        if self.check {
            accept(self.method, &x, span.first)?;
        }
        Ok(x)
    }

    /// Refuses a block of another shape than it was said to have.
    fn announced(&self, span: &Span, x: &Rows) -> Result<()> {
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
        Ok(())
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|c| c.load(Ordering::Relaxed))
    }
}

/// Adds the sums of all workers, failures and stop requests among them, so that no worker waits for ever. Together they must have seen
/// `expected` rows. Says whether any of them is `due` to write.
fn agree<S: Stats>(
    seen: Result<ControlFlow<(), u64>>,
    sums: &mut S,
    (expected, due): (usize, bool),
    comm: &dyn Comm,
) -> Result<ControlFlow<(), bool>> {
    let (rows, failed, stopped, error) = match seen {
        Ok(ControlFlow::Continue(rows)) => (rows as f64, 0.0, 0.0, None),
        Ok(ControlFlow::Break(())) => (0.0, 0.0, 1.0, None),
        Err(e) => (0.0, 1.0, 0.0, Some(e)),
    };
    let mut flags = [rows, failed, stopped, f64::from(u8::from(due))];
    // One worker has nothing to add, and a method may be spared to form its sums.
    let mut parts = if comm.size() > 1 { sums.parts() } else { Vec::new() };
    parts.push(&mut flags);
    comm.sum(parts)?;
    match (error, flags) {
        (Some(e), _) => Err(e),
        (None, [_, failed, ..]) if failed > 0.0 => Err(Error::Worker),
        (None, [_, _, stopped, _]) if stopped > 0.0 => Ok(ControlFlow::Break(())),
        (None, [rows, ..]) if rows != expected as f64 => {
            Err(Error::data(format!("the workers saw {rows} rows of {expected}; every block must be read by exactly one worker")))
        }
        (None, [.., due]) => Ok(ControlFlow::Continue(due > 0.0)),
    }
}
