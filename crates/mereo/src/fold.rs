//! The loop that every method is fitted by.
//!
//! A pass shows every block of rows to [`Method::observe`], which adds to sums; [`Comm::sum`] adds the sums of all workers;
//! [`Method::update`] turns them into the next state, once a pass or after every [`Plan::batch`] of rows. The driver here owns
//! the loop, stopping, progress, checkpoints, the clock and cancellation; a method owns none of them.
//!
//! A pass may go through the rows in a random order ([`Plan::shuffle`]), rows may be held out to say when to stop ([`Early`]), and a fit
//! that diverges ends with the model of its best pass ([`Stop::Diverged`]). Several fits can share the passes ([`fit_many`]).
//!
//! Cost: one read of the data a pass. Memory: a block (two where blocks are read ahead), the sums, and the memo; with batches a
//! copy of the state; with a random order of data that streams two windows of up to 128 MB.

mod checkpoint;
mod early;
mod many;
mod order;
mod pass;

pub use checkpoint::Checkpoint;
pub use many::{fit_many, fit_many_on};

use crate::comm::{Comm, Solo};
use crate::error::{Error, Result};
use crate::mat::{Mat, Rows};
use crate::missing::Missing;
use crate::model::Model;
use crate::rng::rng;
use crate::source::{self, Source};
use crate::store::Bag;
use checkpoint::{Place, resume, save};
use early::{Held, Peak, split};
use order::Order;
use pass::{Between, Share, Span, spans};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What a span of rows leaves behind. Only sums, so that any grouping of rows gives the same answer.
pub trait Stats: Send {
    /// All the numbers, to be added to another worker's.
    fn parts(&mut self) -> Vec<&mut [f64]>;
}

/// All that a fit has learned so far, and can be continued from.
pub trait State: Clone + Send + Sync {
    /// Writes the state into a checkpoint, to the last bit.
    fn save(&self, bag: &mut Bag);
    /// Reads a state that [`State::save`] wrote.
    fn load(bag: &Bag) -> Result<Self>;
}

/// A learning method: implemented by its public parameter struct.
pub trait Method: Serialize + Sync {
    /// All that is learned.
    type State: State;
    /// The sums between two updates.
    type Stats: Stats;
    /// What comes out.
    type Model: Model;

    /// The short name, as on the command line.
    fn name(&self) -> &'static str;
    /// Refuses parameters that are out of range, or that don't fit data of this shape.
    fn check(&self, shape: Shape) -> Result<()>;
    /// When to stop.
    fn plan(&self) -> Plan;
    /// Numbers kept for every row between passes.
    fn memo(&self) -> Memo {
        Memo::None
    }
    /// Independent starts, of which the one with the lowest final loss is kept.
    fn restarts(&self) -> usize {
        1
    }
    /// The seed of all randomness.
    fn seed(&self) -> u64 {
        0
    }
    /// How many rows `init` wants to see (drawn evenly, in order); all of them if there are fewer.
    fn sample(&self, shape: Shape) -> usize;
    /// With how few of those it can do where memory is short.
    fn least_sample(&self, shape: Shape) -> usize {
        self.sample(shape)
    }
    /// Which entries are unknown, for a method that can do without some; `None` for one that can't.
    fn missing(&self) -> Option<Missing> {
        None
    }
    /// Whether rows come with what they or their entries count ([`Rows::weights`]), for a method that can weigh; `None` for one that can't.
    fn weighted(&self) -> Option<bool> {
        None
    }
    /// What to do about steps that lead nowhere, where the method takes steps of a length that it is told: "lower lr". A fit that
    /// diverges then ends with the model of its best pass, of which a copy is kept.
    fn remedy(&self) -> Option<String> {
        None
    }
    /// Which rows are held out to say when to stop, if any are.
    fn early(&self) -> Option<Early> {
        None
    }
    /// The loss of rows that were held out, in the terms of [`Progress::loss`], times their number.
    fn held_loss(&self, _state: &Self::State, _x: &Rows) -> Result<f64> {
        Err(Error::parameter(format!("{} can't tell the loss of rows that were held out; fit all of them", self.name())))
    }
    /// Refuses rows that the method can't use; called once for each block. `first` is the number of its first row.
    fn accept(&self, _x: &Rows, _first: u64) -> Result<()> {
        Ok(())
    }
    /// The first state, from a sample of the rows.
    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<Self::State>;
    /// Sums of no rows.
    fn zero(&self, state: &Self::State) -> Self::Stats;
    /// Adds what rows `first..` leave behind. `memo` holds [`Memo::width`] numbers for each of them, zeros at first. With
    /// [`Plan::shuffle`] they are some rows of a batch, and `first` is how many rows the pass has shown before it.
    fn observe(&self, state: &Self::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut Self::Stats) -> Result<()>;
    /// Turns the sums of all rows, or of a batch of them, into the next state. What the last update of a pass says is the pass's.
    fn update(&self, state: &mut Self::State, stats: Self::Stats) -> Result<Progress>;
    /// The model that a state stands for.
    fn model(&self, state: Self::State) -> Result<Self::Model>;
}

/// The shape of the whole data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of rows (n).
    pub rows: usize,
    /// Number of columns (d).
    pub cols: usize,
}

/// When a fit ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Passes over the data at most (≥ 1).
    pub max: usize,
    /// Ends when a pass changes the loss by no more than this share of it; 0 runs to `max`.
    pub tol: f64,
    /// Rows between two updates, counted through the whole data whatever its blocks and workers; `None` is one update a pass.
    pub batch: Option<usize>,
    /// Goes through the rows in a new random order in every pass, made of this seed. The rows are cut into windows of neighbours of about
    /// 32 Mi numbers (a quarter of [`Options::memory`] where that is less), in whole batches; the windows come in random order, each with its
    /// rows in random order. Only the last batch of a window may have fewer rows. The order depends on no block, worker or thread. A method
    /// that shuffles keeps no memo.
    pub shuffle: Option<u64>,
}

/// Rows held out to say when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Early {
    /// Their share of all rows, at least one and never all.
    pub share: f64,
    /// Passes in which they get no better before the fit ends, with the state in which they were best (≥ 1).
    pub patience: usize,
}

/// Numbers that the driver keeps for each row between passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memo {
    /// None.
    None,
    /// A cache of this many numbers: dropped where memory is short; the answer stays the same, or nearly as good.
    Cache(usize),
    /// This many numbers that are part of what is learned: a fit without room for them is refused.
    Kept(usize),
}

impl Memo {
    /// Numbers a row.
    pub fn width(self) -> usize {
        match self {
            Self::None => 0,
            Self::Cache(m) | Self::Kept(m) => m,
        }
    }
}

/// What an update says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// The loss, in the method's own terms; lower is better.
    pub loss: f64,
    /// Nothing is left to learn, whatever the plan says.
    pub done: bool,
    /// How far the pass began from a stationary point: the size of the projected gradient as a share of that of the first pass,
    /// where the method knows it.
    pub gradient: Option<f64>,
    /// How the pass so far used the atoms, where the method's codes are mostly zero.
    pub used: Option<Used>,
}

/// How many atoms rows use, and how many no row does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// L0: atoms alive on the mean row of a pass.
    pub l0: f64,
    /// Share of the atoms that are dead at its end, as the method defines that.
    pub dead: f64,
}

/// Where `observe` and `update` run.
pub trait Engine<M: Method>: Sync {
    /// See [`Method::observe`].
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()>;
    /// See [`Method::update`].
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress>;
}

/// The processor that this runs on; every method has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

impl<M: Method> Engine<M> for Cpu {
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()> {
        within(|| m.observe(state, x, first, memo, into))
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
        within(|| m.update(state, stats))
    }
}

/// Runs on a thread of the pool, so that threads are woken once and not for every loop that they share.
fn within<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| run())
}

/// One finished pass, as a watcher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// Which start this is, from 0.
    pub restart: usize,
    /// Passes so far in this start, from 1.
    pub pass: usize,
    /// The loss after it.
    pub loss: f64,
    /// Seconds since the fit began, earlier runs of a resumed fit included.
    pub seconds: f64,
    /// See [`Progress::gradient`].
    #[serde(default)]
    pub gradient: Option<f64>,
    /// The loss of the rows that were held out ([`Early`]) after it, if any were.
    #[serde(default)]
    pub held: Option<f64>,
    /// See [`Progress::used`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// Sees every pass; [`ControlFlow::Break`] ends the fit with the model so far.
pub type Watch<'a> = &'a mut dyn FnMut(&Pass, Plan) -> ControlFlow<()>;

/// Where a pass that shuffles stands after a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// See [`Pass::restart`].
    pub restart: usize,
    /// The pass that this is part of, from 1.
    pub pass: usize,
    /// Rows of it that have been learned from, and those of a whole pass.
    pub rows: (u64, u64),
    /// The loss of the pass so far, and how it used the atoms.
    pub loss: f64,
    /// See [`Progress::used`].
    pub used: Option<Used>,
}

type Follower<'f> = dyn FnMut(&Moment, Plan) + 'f;

/// Sees every batch of passes that shuffle.
pub type Follow<'a> = &'a mut dyn FnMut(&Moment, Plan);

/// How to run a fit. `Options::default()` keeps everything in memory, watches nothing and writes nothing.
#[derive(Default)]
pub struct Options<'a> {
    /// Bytes that the memo may take, with its copy where checkpoints are written, and windows of rows that are shuffled; unlimited
    /// if `None`.
    pub memory: Option<u64>,
    /// Called after every pass.
    pub watch: Option<Watch<'a>>,
    /// Called after every batch of passes that shuffle, which may take long.
    pub follow: Option<Follow<'a>>,
    /// Once true, the fit ends at the next block with the model of the last whole pass; of passes that shuffle, after the next batch with the
    /// model so far.
    pub cancel: Option<&'a AtomicBool>,
    /// Where and how often to write checkpoints.
    pub checkpoint: Option<Checkpoint>,
}

/// Why a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The loss changed by less than the tolerance, or the method had nothing left to learn.
    Converged,
    /// The limit of passes was reached first.
    Limit,
    /// Asked to stop.
    Cancelled,
    /// The rows that were held out got no better for as long as [`Early::patience`] says; the model is that of the pass in which they
    /// were best.
    Early,
    /// The loss left the range of numbers; the model, and the curve, end with the pass in which it was lowest.
    Diverged,
}

/// A fitted model and how it came about.
#[derive(Debug, Clone)]
pub struct Fitted<T> {
    /// The model.
    pub model: T,
    /// Every pass of the start that was kept.
    pub curve: Vec<Pass>,
    /// After which of these passes, counted from 1, the model is: the last one, unless rows were held out and were best before it.
    pub kept: usize,
    /// Final loss of every start: of the rows that were held out, if any were.
    pub starts: Vec<f64>,
    /// Why it ended.
    pub stop: Stop,
    /// Why the last checkpoint could not be written, if it could not. The fit goes on without: nothing learned is lost.
    pub unsaved: Option<String>,
}

/// Fits a method to all rows of a source, in this process. See [`fit_on`].
pub fn fit<M: Method>(method: &M, source: &dyn Source, options: Options) -> Result<Fitted<M::Model>> {
    fit_on(method, source, &Cpu, &Solo, options)
}

/// Where a run of several starts stands; all of it goes into a checkpoint.
struct Run<S> {
    restart: usize,
    state: S,
    /// Batches of the present pass that have changed the state: of one that shuffles, which may be left half-way.
    batches: u64,
    /// The method said that nothing is left to learn.
    done: bool,
    curve: Vec<Pass>,
    memo: Vec<f32>,
    starts: Vec<f64>,
    /// Whether rows are held out, which then judge.
    held: bool,
    /// Where the rows that were held out were best in this start; if none were and steps can lead nowhere, where the loss was lowest.
    peak: Option<Peak<S>>,
    best: Option<Best<S>>,
}

/// The best start so far, as it ended.
#[derive(Clone)]
struct Best<S> {
    state: S,
    curve: Vec<Pass>,
    stop: Stop,
    /// The pass that the state is of.
    kept: usize,
    loss: f64,
}

impl<S: Clone> Run<S> {
    /// All but the state and the memo.
    fn place(&self) -> Place<'_, S> {
        let counts = (self.restart, self.done, self.batches);
        Place::new(counts, (&self.curve, &self.starts), self.peak.as_ref(), self.best.as_ref())
    }

    /// Back to where the loss was lowest: the passes since were on the way to nowhere. `None` if there is no such place.
    fn back_to_best(&mut self) -> Option<()> {
        let good = self.peak.clone()?;
        self.state = good.state;
        self.curve.truncate(good.pass);
        Some(())
    }

    /// The next start.
    fn next(&mut self, state: S) {
        self.restart += 1;
        self.curve.clear();
        self.peak = None;
        self.done = false;
        self.memo.fill(0.0);
        self.state = state;
    }

    /// The loss that this start is judged by.
    fn loss(&self) -> f64 {
        let last = self.curve.last().map_or(f64::INFINITY, |p| p.loss);
        self.peak.as_ref().filter(|_| self.held).map_or(last, |p| p.loss)
    }

    /// This start, if it ended here.
    fn ended(&self, stop: Stop) -> Best<S> {
        let (state, kept) =
            self.peak.as_ref().filter(|_| self.held).map_or((&self.state, self.curve.len()), |p| (&p.state, p.pass));
        Best { state: state.clone(), curve: self.curve.clone(), stop, kept, loss: self.loss() }
    }
}

/// Fits a method to the blocks of this worker (`rank`, `rank + size`, …), on an engine, together with other workers.
///
/// # Errors
/// Bad parameters, bad data (the row is named), an unreadable block, a checkpoint of another fit, or a failure of another worker.
pub fn fit_on<M: Method>(
    method: &M,
    source: &dyn Source,
    engine: &dyn Engine<M>,
    comm: &dyn Comm,
    options: Options,
) -> Result<Fitted<M::Model>> {
    let whole = whole(source)?;
    method.check(whole)?;
    let Some(early) = method.early() else {
        return finish(method, drive(method, source, None, whole, engine, comm, options)?);
    };
    let parts = split(source, early, whole.rows, method.seed());
    let (fitted, held) = together(parts, comm)?;
    let held = Held { source: &held, spans: spans(&held, comm.rank(), comm.size()), patience: early.patience };
    let end = drive(method, &fitted, Some(&held), whole, engine, comm, options);
    if let Err(Error::Data(_)) = end {
        // A row is named by where it stands in the whole data.
        accept_all(method, source)?;
    }
    finish(method, end?)
}

/// The shape of data that something can be learned from.
fn whole(source: &dyn Source) -> Result<Shape> {
    match (Shape { rows: source::count(source), cols: source.cols() }) {
        Shape { rows, cols } if rows == 0 || cols == 0 => {
            Err(Error::data(format!("the data has {rows} rows and {cols} columns; nothing can be learned")))
        }
        shape => Ok(shape),
    }
}

/// A run that is over.
struct End<S> {
    run: Run<S>,
    stop: Stop,
    unsaved: Option<String>,
}

/// The loop, over the rows of `source`; `whole` is the shape of the data that they are a part of.
fn drive<M: Method>(
    method: &M,
    source: &dyn Source,
    held: Option<&Held>,
    whole: Shape,
    engine: &dyn Engine<M>,
    comm: &dyn Comm,
    mut options: Options,
) -> Result<End<M::State>> {
    let started = Instant::now();
    let shape = Shape { rows: source::count(source), cols: source.cols() };
    let plan = method.plan();
    let batch = plan.batch.unwrap_or(shape.rows);
    let window = order::window(shape.rows, shape.cols, batch, options.memory);
    let spans = spans(source, comm.rank(), comm.size());
    // A worker that can't begin must not leave the others waiting for its sums.
    let begun = begin(method, source, &spans, (shape, whole), window, comm, &options);
    let Begun { sample, width, mut run, before, continued } = together(begun, comm)?;
    let clock = || before + started.elapsed().as_secs_f64();
    let mut written = Instant::now();
    let mut checked = continued && !run.curve.is_empty();
    let mut asked = false;
    let mut unsaved = None;

    let stop = loop {
        let pass = run.curve.len();
        let ended = over(&run, plan, held);
        let ended = if ended.is_some() {
            ended
        } else {
            // A pass that is cancelled half-way has changed the memo of the blocks that it saw, and its batches the state.
            let memo = options.checkpoint.is_some().then(|| run.memo.clone());
            let state = (batch < shape.rows && plan.shuffle.is_none()).then(|| run.state.clone());
            let share = Share {
                method,
                engine,
                source,
                comm,
                spans: &spans,
                rows: shape.rows,
                batch,
                width,
                order: plan.shuffle.map(|seed| Order::new(seed, run.restart, pass, shape.rows, window)),
                check: !checked,
                from: run.batches,
                cancel: options.cancel,
            };
            let counts = (run.restart, run.done, run.batches);
            let place = Place::new(counts, (&run.curve, &run.starts), run.peak.as_ref(), run.best.as_ref());
            let (checkpoint, whole) = (options.checkpoint.as_ref(), (whole, window));
            let moment = Moment { restart: run.restart, pass: pass + 1, rows: (0, shape.rows as u64), loss: 0.0, used: None };
            let follow = options.follow.as_deref_mut();
            let mut writer =
                Writer { method, checkpoint, place, whole, comm, clock: &clock, written, unsaved: None, follow, moment, plan };
            let end = share.pass(&mut run.state, &mut run.memo, asked, &mut writer)?;
            (written, run.batches) = (writer.written, writer.place.batches);
            unsaved = writer.unsaved.or(unsaved);
            let progress = match end {
                ControlFlow::Break(()) => {
                    run.memo = memo.unwrap_or(run.memo);
                    run.state = state.unwrap_or(run.state);
                    break Stop::Cancelled;
                }
                ControlFlow::Continue(progress) => progress,
            };
            run.batches = 0;
            let first = !std::mem::replace(&mut checked, true);
            if progress.loss.is_finite() {
                let apart = held.map(|h| h.loss(method, &run.state, comm, first)).transpose()?;
                let Progress { loss, gradient, used, .. } = progress;
                let seen = Pass { restart: run.restart, pass: pass + 1, loss, seconds: clock(), gradient, held: apart, used };
                run.curve.push(seen);
                let judge = apart.or(method.remedy().map(|_| progress.loss));
                if let Some(loss) = judge.filter(|loss| run.peak.as_ref().is_none_or(|p| *loss < p.loss)) {
                    run.peak = Some(Peak { state: run.state.clone(), pass: pass + 1, loss });
                }
                // The other workers hear of it when the next sums are added.
                asked |= options.watch.as_mut().is_some_and(|w| w(&seen, plan).is_break());
                run.done = progress.done;
                run.done.then_some(Stop::Converged)
            } else {
                run.back_to_best().ok_or_else(|| diverged(method, progress.loss, pass + 1))?;
                Some(Stop::Diverged)
            }
        };
        if let Some(stop) = ended {
            run.starts.push(run.loss());
            if run.restart + 1 >= method.restarts() {
                break stop;
            }
            if run.best.as_ref().is_none_or(|b| run.loss() < b.loss) {
                run.best = Some(run.ended(stop));
            }
            run.next(method.init(&sample, shape, run.restart + 1)?);
        }
        if let Some(c) = &options.checkpoint
            && written.elapsed() >= c.every
        {
            unsaved = write(method, c, &mut run, (whole, window), comm, clock());
            written = Instant::now();
        }
    };
    if let Some(c) = &options.checkpoint {
        // The last start is left open, so that a resumed run judges it again under its own limits.
        let closed = if stop == Stop::Cancelled { None } else { run.starts.pop() };
        unsaved = write(method, c, &mut run, (whole, window), comm, clock());
        run.starts.extend(closed);
    }
    Ok(End { run, stop, unsaved })
}

/// Writes where a run stands; why it could not, if so.
fn write<M: Method>(
    method: &M,
    c: &Checkpoint,
    run: &mut Run<M::State>,
    whole: (Shape, usize),
    comm: &dyn Comm,
    seconds: f64,
) -> Option<String> {
    let mut memo = std::mem::take(&mut run.memo);
    let written = save(method, c, &run.place(), (&run.state, &mut memo), whole, comm, seconds);
    run.memo = memo;
    written.err().map(|e| e.to_string())
}

/// Writes where a run stands between two batches.
struct Writer<'a, 'f, M: Method> {
    method: &'a M,
    checkpoint: Option<&'a Checkpoint>,
    place: Place<'a, M::State>,
    whole: (Shape, usize),
    comm: &'a dyn Comm,
    clock: &'a dyn Fn() -> f64,
    written: Instant,
    unsaved: Option<String>,
    follow: Option<&'a mut Follower<'f>>,
    moment: Moment,
    plan: Plan,
}

impl<M: Method> Between<M::State> for Writer<'_, '_, M> {
    fn due(&self) -> bool {
        self.checkpoint.is_some_and(|c| self.written.elapsed() >= c.every)
    }

    fn after(&mut self, state: &M::State, done: u64, rows: u64, said: &Progress, write: bool) {
        self.place.batches = done;
        if let Some(follow) = &mut self.follow {
            follow(&Moment { rows: (rows, self.moment.rows.1), loss: said.loss, used: said.used, ..self.moment }, self.plan);
        }
        if let Some(c) = self.checkpoint.filter(|_| write) {
            let written = save(self.method, c, &self.place, (state, &mut Vec::new()), self.whole, self.comm, (self.clock)());
            self.unsaved = written.err().map(|e| e.to_string());
            self.written = Instant::now();
        }
    }
}

/// Why a start is over before its next pass, if it is.
fn over<S>(run: &Run<S>, plan: Plan, held: Option<&Held>) -> Option<Stop> {
    let waited = held.zip(run.peak.as_ref()).is_some_and(|(h, p)| run.curve.len() - p.pass >= h.patience);
    if waited && !run.done { Some(Stop::Early) } else { settled(&run.curve, run.done, plan) }
}

/// The same by its passes alone.
fn settled(curve: &[Pass], done: bool, plan: Plan) -> Option<Stop> {
    match curve {
        _ if done => Some(Stop::Converged),
        [.., a, b] if plan.tol > 0.0 && (a.loss - b.loss).abs() <= plan.tol * a.loss.abs() => Some(Stop::Converged),
        _ if curve.len() >= plan.max => Some(Stop::Limit),
        _ => None,
    }
}

/// Why a pass left nothing to go on with.
fn diverged<M: Method>(method: &M, loss: f64, pass: usize) -> Error {
    match method.remedy() {
        Some(remedy) => Error::parameter(format!("the loss became {loss} in pass {pass}: the steps are too long; {remedy}")),
        None => Error::data(format!(
            "the loss became {loss} in pass {pass}; the data's scale may be too extreme (largest values beyond 1e18 overflow): rescale it"
        )),
    }
}

/// All that a worker needs before its first pass.
struct Begun<'a, S> {
    sample: Rows<'a>,
    width: usize,
    run: Run<S>,
    /// Seconds of earlier runs.
    before: f64,
    continued: bool,
}

fn begin<'a, M: Method>(
    method: &M,
    source: &'a dyn Source,
    own: &[Span],
    (shape, whole): (Shape, Shape),
    window: usize,
    comm: &dyn Comm,
    options: &Options,
) -> Result<Begun<'a, M::State>> {
    if method.plan().shuffle.is_some() && method.memo() != Memo::None {
        return Err(Error::parameter(format!(
            "{} keeps numbers for every row and shuffles the rows, which it can't both; keep none, or set shuffle to none",
            method.name()
        )));
    }
    let own: usize = own.iter().map(|s| s.rows).sum();
    // All workers keep a cache, or none does: that of the one with the most rows must have room.
    let rows = |rank| spans(source, rank, comm.size()).iter().map(|s| s.rows).sum();
    let width = memo_width(method, (0..comm.size()).map(rows).max().unwrap_or(own), options);
    // An eighth of the bound: the sample is in memory while the first state is made of it.
    let room = options.memory.map_or(usize::MAX, |bytes| (bytes / 32) as usize / shape.cols);
    let sample = draw(source, method.sample(shape).min(room.max(method.least_sample(shape))), method.seed())?;
    accept_sample(method, &sample, source)?;
    if let Some((run, before)) = resume(method, options, (whole, window), comm)? {
        // A fit that went without its cache goes on without, to the same bytes.
        let width = if run.memo.is_empty() && matches!(method.memo(), Memo::Cache(_)) { Ok(0) } else { width };
        return match width? {
            width if run.memo.len() == own * width => Ok(Begun { sample, width, run, before, continued: true }),
            _ => Err(Error::parameter(format!(
                "the checkpoint keeps {} MB between passes, more than the memory bound leaves for it; continue with the bound that it was begun with, or start anew without resume",
                (run.memo.len() as u64 * 4) >> 20
            ))),
        };
    }
    let width = width?;
    let state = method.init(&sample, shape, 0)?;
    let memo = vec![0.0; own * width];
    let run = Run {
        restart: 0,
        state,
        batches: 0,
        done: false,
        curve: Vec::new(),
        memo,
        starts: Vec::new(),
        held: method.early().is_some(),
        peak: None,
        best: None,
    };
    Ok(Begun { sample, width, run, before: 0.0, continued: false })
}

/// This worker's result, or an error if any other worker has one.
fn together<T>(result: Result<T>, comm: &dyn Comm) -> Result<T> {
    let mut failed = [f64::from(u8::from(result.is_err()))];
    comm.sum(vec![&mut failed])?;
    match result {
        Ok(_) if failed[0] > 0.0 => Err(Error::Worker),
        result => result,
    }
}

fn finish<M: Method>(method: &M, end: End<M::State>) -> Result<Fitted<M::Model>> {
    let End { run, stop, unsaved } = end;
    let open = run.ended(stop);
    let Best { state, curve, stop, kept, .. } = match run.best {
        Some(b) if b.loss <= open.loss || run.curve.is_empty() => {
            Best { stop: if stop == Stop::Cancelled { stop } else { b.stop }, ..b }
        }
        _ => open,
    };
    Ok(Fitted { model: method.model(state)?, curve, kept, starts: run.starts, stop, unsaved })
}

/// Numbers kept for each of `rows` rows.
fn memo_width<M: Method>(method: &M, rows: usize, options: &Options) -> Result<usize> {
    let width = method.memo().width();
    // With checkpoints there are two: as it was before the pass and as it becomes, or as it is and as it is written.
    let copies = if options.checkpoint.is_some() { 2 } else { 1 };
    let need = (rows as u64).saturating_mul(width as u64 * 4 * copies);
    match (method.memo(), options.memory) {
        (Memo::Cache(_), Some(limit)) if need > limit => Ok(0),
        (Memo::Kept(_), Some(limit)) if need > limit => Err(Error::parameter(format!(
            "this solver keeps {width} numbers for every row, {} MB in all, more than the memory of {} MB; raise it or choose another solver",
            need >> 20,
            limit >> 20
        ))),
        _ => Ok(width),
    }
}

/// Refuses a bad sample. Its rows are not numbered as the data's are, so the first bad row is looked for where it stands.
fn accept_sample<M: Method>(method: &M, sample: &Rows, source: &dyn Source) -> Result<()> {
    if accept(method, sample, 0).is_err() { accept_all(method, source) } else { Ok(()) }
}

/// Refuses the first bad row of all. Every worker looks at every block, so that all of them end with the same error.
fn accept_all<M: Method>(method: &M, source: &dyn Source) -> Result<()> {
    spans(source, 0, 1).iter().try_for_each(|span| accept(method, &source.block(span.block)?, span.first))
}

/// Refuses rows with what is no number, and those that the method can't use. `first` is the number of the first row.
fn accept<M: Method>(method: &M, x: &Rows, first: u64) -> Result<()> {
    match (method.weighted(), x.weights().is_some()) {
        (Some(true), false) => {
            return Err(Error::parameter("`weights` is set, but the rows come without weights; give them (source::Weighted)"));
        }
        (Some(false), true) => {
            return Err(Error::parameter("the rows come with weights; set `weights` to use them"));
        }
        (None, true) => {
            return Err(Error::parameter(format!(
                "{} knows no weights of rows or entries; give it rows without, or use vq or nmf",
                method.name()
            )));
        }
        _ => {}
    }
    source::check_known(x, first, method.missing())?;
    method.accept(x, first)
}

/// Rows drawn evenly from the whole source, in order; the same for every worker and every cut into blocks.
pub fn draw(source: &dyn Source, wanted: usize, seed: u64) -> Result<Rows<'_>> {
    let n = source::count(source);
    if wanted >= n && source.blocks() == 1 {
        return source.block(0);
    }
    let picked = rng(seed, stream::SAMPLE, 0).choose(n, wanted);
    let mut next = picked.iter().copied().peekable();
    let mut first = 0;
    let mut spans = Vec::new();
    for b in 0..source.blocks() {
        let end = first + source.rows(b);
        let here: Vec<usize> = std::iter::from_fn(|| next.next_if(|&i| i < end)).map(|i| i - first).collect();
        if !here.is_empty() {
            spans.push(source.block(b)?.pick(&here));
        }
        first = end;
    }
    Ok(Rows::stack(source.cols(), &spans))
}

/// Streams of random numbers, each used for one purpose only.
pub mod stream {
    /// Which rows `init` sees.
    pub const SAMPLE: u64 = 1;
    /// A method's first state.
    pub const INIT: u64 = 2;
    /// First codes of a row.
    pub const CODES: u64 = 3;
    /// Which rows are held out.
    pub const SPLIT: u64 = 4;
    /// Generated data.
    pub const SYNTH: u64 = 5;
    /// Which rows a fit holds out to say when to stop.
    pub const EARLY: u64 = 6;
    /// In which order a pass shows the rows.
    pub const ORDER: u64 = 7;
}

/// A matrix of the rows of a whole source (n × d), dense. For data that is known to fit in memory.
pub fn collect(source: &dyn Source) -> Result<Mat> {
    let mut out = Mat { rows: 0, cols: source.cols(), data: Vec::new() };
    for b in 0..source.blocks() {
        let x = source.block(b)?.to_mat();
        out.rows += x.rows;
        out.data.extend_from_slice(&x.data);
    }
    Ok(out)
}
