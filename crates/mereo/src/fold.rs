//! The loop that every method is fitted by.
//!
//! A pass shows every block of rows to [`Method::observe`], which adds to sums; [`Comm::sum`] adds the sums of all workers;
//! [`Method::update`] turns them into the next state, once a pass or after every [`Plan::batch`] of rows. The driver here owns
//! the loop, stopping, progress, checkpoints, the clock and cancellation; a method owns none of them.
//!
//! Cost: one read of the data a pass. Memory: a block (two where blocks are read ahead), the sums, and the memo; with batches a
//! copy of the state.

mod checkpoint;
mod pass;

pub use checkpoint::Checkpoint;

use crate::comm::{Comm, Solo};
use crate::error::{Error, Result};
use crate::mat::{Csr, Mat, Rows};
use crate::model::Model;
use crate::rng::rng;
use crate::source::{self, Source};
use crate::store::Bag;
use checkpoint::{resume, save};
use pass::{Share, Span, spans};
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
    /// Refuses rows that the method can't use; called once for each block. `first` is the number of its first row.
    fn accept(&self, _x: &Rows, _first: u64) -> Result<()> {
        Ok(())
    }
    /// The first state, from a sample of the rows.
    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<Self::State>;
    /// Sums of no rows.
    fn zero(&self, state: &Self::State) -> Self::Stats;
    /// Adds what rows `first..` leave behind. `memo` holds [`Memo::width`] numbers for each of them, zeros at first.
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
        m.observe(state, x, first, memo, into)
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
        m.update(state, stats)
    }
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
}

/// Sees every pass; [`ControlFlow::Break`] ends the fit with the model so far.
pub type Watch<'a> = &'a mut dyn FnMut(&Pass, Plan) -> ControlFlow<()>;

/// How to run a fit. `Options::default()` keeps everything in memory, watches nothing and writes nothing.
#[derive(Default)]
pub struct Options<'a> {
    /// Bytes that the memo may take, with its copy where checkpoints are written; unlimited if `None`.
    pub memory: Option<u64>,
    /// Called after every pass.
    pub watch: Option<Watch<'a>>,
    /// Once true, the fit ends at the next block with the model of the last whole pass.
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
}

/// A fitted model and how it came about.
#[derive(Debug, Clone)]
pub struct Fitted<T> {
    /// The model.
    pub model: T,
    /// Every pass of the start that was kept.
    pub curve: Vec<Pass>,
    /// Final loss of every start.
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
    /// The method said that nothing is left to learn.
    done: bool,
    curve: Vec<Pass>,
    memo: Vec<f32>,
    starts: Vec<f64>,
    best: Option<Best<S>>,
}

#[derive(Clone)]
struct Best<S> {
    state: S,
    curve: Vec<Pass>,
    stop: Stop,
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
    mut options: Options,
) -> Result<Fitted<M::Model>> {
    let started = Instant::now();
    let shape = Shape { rows: source::count(source), cols: source.cols() };
    if shape.rows == 0 || shape.cols == 0 {
        return Err(Error::data(format!("the data has {} rows and {} columns; nothing can be learned", shape.rows, shape.cols)));
    }
    method.check(shape)?;
    let plan = method.plan();
    let spans = spans(source, comm.rank(), comm.size());
    // A worker that can't begin must not leave the others waiting for its sums.
    let begun = begin(method, source, &spans, shape, comm, &options);
    let Begun { sample, width, mut run, before, continued } = together(begun, comm)?;
    let clock = || before + started.elapsed().as_secs_f64();
    let mut written = Instant::now();
    let mut checked = continued;
    let mut asked = false;
    let mut unsaved = None;

    let stop = loop {
        let pass = run.curve.len();
        let ended = match run.curve.as_slice() {
            _ if run.done => Some(Stop::Converged),
            [.., a, b] if plan.tol > 0.0 && (a.loss - b.loss).abs() <= plan.tol * a.loss.abs() => Some(Stop::Converged),
            _ if pass >= plan.max => Some(Stop::Limit),
            _ => None,
        };
        let ended = if ended.is_some() {
            ended
        } else {
            // A pass that is cancelled half-way has changed the memo of the blocks that it saw, and its batches the state.
            let memo = options.checkpoint.is_some().then(|| run.memo.clone());
            let state = plan.batch.is_some_and(|rows| rows < shape.rows).then(|| run.state.clone());
            let batch = plan.batch.unwrap_or(shape.rows);
            let share = Share {
                method,
                engine,
                source,
                comm,
                spans: &spans,
                rows: shape.rows,
                batch,
                width,
                check: !checked,
                cancel: options.cancel,
            };
            let progress = match share.pass(&mut run.state, &mut run.memo, asked)? {
                ControlFlow::Break(()) => {
                    run.memo = memo.unwrap_or(run.memo);
                    run.state = state.unwrap_or(run.state);
                    break Stop::Cancelled;
                }
                ControlFlow::Continue(progress) => progress,
            };
            checked = true;
            if !progress.loss.is_finite() {
                return Err(Error::data(format!(
                    "the loss became {} in pass {}; the data's scale may be too extreme (largest values beyond 1e18 overflow): rescale it",
                    progress.loss,
                    pass + 1
                )));
            }
            let seen =
                Pass { restart: run.restart, pass: pass + 1, loss: progress.loss, seconds: clock(), gradient: progress.gradient };
            run.curve.push(seen);
            // The other workers hear of it when the next sums are added.
            asked |= options.watch.as_mut().is_some_and(|w| w(&seen, plan).is_break());
            run.done = progress.done;
            run.done.then_some(Stop::Converged)
        };
        if let Some(stop) = ended {
            let loss = run.curve.last().map_or(f64::INFINITY, |p| p.loss);
            run.starts.push(loss);
            if run.best.as_ref().is_none_or(|b| loss < b.curve.last().map_or(f64::INFINITY, |p| p.loss)) {
                run.best = Some(Best { state: run.state.clone(), curve: run.curve.clone(), stop });
            }
            if run.restart + 1 >= method.restarts() {
                break stop;
            }
            run.restart += 1;
            run.curve.clear();
            run.done = false;
            run.memo.fill(0.0);
            run.state = method.init(&sample, shape, run.restart)?;
        }
        if let Some(c) = &options.checkpoint
            && written.elapsed() >= c.every
        {
            unsaved = save(method, c, &mut run, shape, comm, clock()).err().map(|e| e.to_string());
            written = Instant::now();
        }
    };
    if let Some(c) = &options.checkpoint {
        // The last start is left open, so that a resumed run judges it again under its own limits.
        let closed = if stop == Stop::Cancelled { None } else { run.starts.pop() };
        let best = if run.starts.is_empty() { run.best.take() } else { None };
        unsaved = save(method, c, &mut run, shape, comm, clock()).err().map(|e| e.to_string());
        run.best = run.best.or(best);
        run.starts.extend(closed);
    }
    finish(method, run, stop, unsaved)
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
    shape: Shape,
    comm: &dyn Comm,
    options: &Options,
) -> Result<Begun<'a, M::State>> {
    let own: usize = own.iter().map(|s| s.rows).sum();
    // All workers keep a cache, or none does: that of the one with the most rows must have room.
    let rows = |rank| spans(source, rank, comm.size()).iter().map(|s| s.rows).sum();
    let width = memo_width(method, (0..comm.size()).map(rows).max().unwrap_or(own), options);
    // An eighth of the bound: the sample is in memory while the first state is made of it.
    let room = options.memory.map_or(usize::MAX, |bytes| (bytes / 32) as usize / shape.cols);
    let sample = draw(source, method.sample(shape).min(room.max(method.least_sample(shape))), method.seed())?;
    accept_sample(method, &sample, source)?;
    if let Some((run, before)) = resume(method, options, shape, comm)? {
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
    let run = Run { restart: 0, state, done: false, curve: Vec::new(), memo, starts: Vec::new(), best: None };
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

fn finish<M: Method>(method: &M, run: Run<M::State>, stop: Stop, unsaved: Option<String>) -> Result<Fitted<M::Model>> {
    let current = run.curve.last().map_or(f64::INFINITY, |p| p.loss);
    match run.best {
        Some(b) if b.curve.last().map_or(f64::INFINITY, |p| p.loss) <= current || run.curve.is_empty() => {
            let stop = if stop == Stop::Cancelled { stop } else { b.stop };
            Ok(Fitted { model: method.model(b.state)?, curve: b.curve, starts: run.starts, stop, unsaved })
        }
        _ => Ok(Fitted { model: method.model(run.state)?, curve: run.curve, starts: run.starts, stop, unsaved }),
    }
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
    if source::check_finite(sample, 0).and_then(|()| method.accept(sample, 0)).is_err() {
        // Every worker looks at every block, so that all of them end with the same error.
        for span in spans(source, 0, 1) {
            let x = source.block(span.block)?;
            source::check_finite(&x, span.first)?;
            method.accept(&x, span.first)?;
        }
    }
    Ok(())
}

/// Rows drawn evenly from the whole source, in order; the same for every worker and every cut into blocks.
pub fn draw(source: &dyn Source, wanted: usize, seed: u64) -> Result<Rows<'_>> {
    let n = source::count(source);
    if wanted >= n && source.blocks() == 1 {
        return source.block(0);
    }
    let picked = rng(seed, stream::SAMPLE, 0).choose(n, wanted);
    let cols = source.cols();
    let mut next = picked.iter().copied().peekable();
    let mut first = 0;
    let mut dense: Vec<f32> = Vec::new();
    let mut csr = Csr { cols, indptr: vec![0], ..Csr::default() };
    for b in 0..source.blocks() {
        let end = first + source.rows(b);
        if next.peek().is_none_or(|&i| i >= end) {
            first = end;
            continue;
        }
        let x = source.block(b)?;
        while let Some(i) = next.next_if(|&i| i < end) {
            match &x {
                Rows::Dense(x) => dense.extend_from_slice(x.row(i - first)),
                Rows::Sparse(x) => {
                    let (columns, values) = x.row(i - first);
                    csr.indices.extend_from_slice(columns);
                    csr.values.extend_from_slice(values);
                    csr.indptr.push(csr.indices.len() as u64);
                }
            }
        }
        first = end;
    }
    Ok(if csr.indptr.len() > 1 {
        Rows::Sparse(crate::mat::SparseRows {
            cols,
            indptr: csr.indptr.into(),
            indices: csr.indices.into(),
            values: csr.values.into(),
        })
    } else {
        Rows::Dense(crate::mat::DenseRows { cols, data: dense.into() })
    })
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
