//! Every law of the design, over every method. A method joins by one entry at the end of this file; its list says what
//! it promises.

use mereo::ae::{Ae, AeActivation, AeModel, AeOptimizer};
use mereo::comm::{Comm, Solo};
use mereo::fold::{Checkpoint, Cpu, Engine, Fitted, Memo, Method, Options, Pass, Progress, Shape, Stop, fit, fit_on};
use mereo::mat::{DenseRows, Weights};
use mereo::nmf::{Nmf, NmfLoss, NmfModel, NmfSolver};
use mereo::pca::{Pca, PcaModel, PcaSolver};
use mereo::rng::rng;
use mereo::sae::{Sae, SaeArchitecture, SaeModel};
use mereo::source::{Memory, Source};
use mereo::store::Bag;
use mereo::vq::{Vq, VqInit, VqModel};
use mereo::{Codes, Csr, Error, Mat, Model, Result, Rows};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

/// One method with its parameters, data on which its laws are tried, and what the data was made of.
struct Case<M: Method> {
    method: M,
    load: fn(&Bag) -> Result<M::Model>,
    data: Mat,
    truth: Mat,
    /// Relative difference of losses and atoms allowed between runs that sum in another order.
    tol: f64,
    /// The reported loss, of a model on rows.
    loss: fn(&dyn Model, &Rows) -> f64,
    /// What each row counts, for a method that weighs them.
    weights: Option<Vec<f32>>,
}

impl<M: Method> Case<M> {
    /// The data.
    fn rows(&self) -> Rows<'_> {
        self.weighing(&self.data)
    }

    /// Rows that count as those of the data, from the first on.
    fn weighing<'a>(&'a self, m: &'a Mat) -> Rows<'a> {
        let weights = self.weights.as_ref().map(|w| Weights::Rows(w[..m.rows].into()));
        Rows::Dense(DenseRows { cols: m.cols, data: m.data.as_slice().into(), weights })
    }
}

fn run<M: Method>(method: &M, source: &dyn Source) -> Fitted<M::Model> {
    fit(method, source, Options::default()).expect("fit")
}

fn bytes(model: &dyn Model) -> Vec<u8> {
    let mut bag = Bag::default();
    model.save(&mut bag);
    bag.to_bytes().expect("bytes")
}

fn last<T>(f: &Fitted<T>) -> f64 {
    f.curve.last().expect("a pass").loss
}

/// Mean squared error per entry of what the model makes of the rows, each as often as it counts.
fn reconstruction_loss(model: &dyn Model, x: &Rows) -> f64 {
    let back = model.decode(&model.encode(x).expect("encode")).expect("decode");
    let weight = |i: usize| x.row_weights().map_or(1.0, |w| f64::from(w[i]));
    let errors = x.values().iter().zip(&back.data).map(|(a, b)| f64::from(a - b).powi(2));
    let sum: f64 = errors.enumerate().map(|(at, e)| weight(at / x.cols()) * e).sum();
    sum / (x.cols() as f64 * (0..x.rows()).map(weight).sum::<f64>())
}

/// Fraction of the rows' variance that the model leaves unexplained.
fn fvu(model: &dyn Model, x: &Rows) -> f64 {
    mereo::measure::errors(model, &Memory::new(x.slice(0, x.rows()))).expect("errors").fvu
}

/// |cosine| of the worst matched planted atom with its nearest learned one.
fn worst_match(truth: &Mat, learned: &Mat) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = |a: &[f32], b: &[f32]| dot(a, b).abs() / (dot(a, a) * dot(b, b)).sqrt().max(1e-300);
    let best = |i: usize| (0..learned.rows).map(|j| cosine(truth.row(i), learned.row(j))).fold(0.0, f64::max);
    (0..truth.rows).map(best).fold(1.0, f64::min)
}

/// Every atom has a twin in the other model, and the losses agree.
fn same_fit<M: Method>(case: &Case<M>, a: &Fitted<M::Model>, b: &Fitted<M::Model>) {
    let (x, y) = (last(a), last(b));
    assert!((x - y).abs() <= case.tol * x.abs().max(1e-12), "losses {x} and {y}");
    let miss = 1.0 - worst_match(a.model.atoms(), b.model.atoms());
    assert!(miss < case.tol, "atoms differ by {miss}");
}

// ---- the laws ----

fn block_sizes_agree<M: Method>(case: &Case<M>) {
    let whole = run(&case.method, &Memory::new(case.rows()));
    for step in [1, 7, 64, case.data.rows - 1] {
        same_fit(case, &whole, &run(&case.method, &Memory::cut(case.rows(), step)));
    }
}

fn worker_counts_agree<M: Method>(case: &Case<M>) {
    let source = Memory::cut(case.rows(), 32);
    let alone = run(&case.method, &source);
    for size in [2, 3] {
        for worker in workers(size, |comm| fit_on(&case.method, &source, &Cpu, comm, Options::default())) {
            same_fit(case, &alone, &worker.expect("worker"));
        }
    }
}

/// Counts the rows that a method is shown between two updates.
struct Counting<'a>(&'a AtomicUsize, &'a Mutex<Vec<usize>>);

impl<M: Method> Engine<M> for Counting<'_> {
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()> {
        self.0.fetch_add(x.rows(), Ordering::Relaxed);
        m.observe(state, x, first, memo, into)
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
        self.1.lock().expect("lock").push(self.0.swap(0, Ordering::Relaxed));
        m.update(state, stats)
    }
}

/// Counts how often blocks are read, which are as good as in a file where `streams`.
struct Reading<'a> {
    rows: Memory<'a>,
    reads: AtomicUsize,
    streams: bool,
}

impl Source for Reading<'_> {
    fn cols(&self) -> usize {
        self.rows.cols()
    }
    fn blocks(&self) -> usize {
        self.rows.blocks()
    }
    fn rows(&self, block: usize) -> usize {
        self.rows.rows(block)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.rows.block(block)
    }
    fn streams(&self) -> bool {
        self.streams
    }
}

fn rows_are_counted_once<M: Method>(case: &Case<M>) {
    let all = case.data.rows;
    let batch = case.method.plan().batch.unwrap_or(all).min(all);
    for (step, streams) in [(17, false), (17, true), (111, true), (all, false)] {
        let (rows, shown) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let source = Reading { rows: Memory::cut(case.rows(), step), reads: AtomicUsize::new(0), streams };
        let counting = Counting(&rows, &shown);
        fit_on(&case.method, &source, &counting, &Solo, Options::default()).expect("fit");
        let (rows, shown) = (rows.into_inner(), shown.into_inner().expect("lock"));
        assert_eq!((rows, shown.len() % all.div_ceil(batch)), (0, 0), "passes are whole");
        for (i, rows) in shown.iter().enumerate() {
            let from = i % all.div_ceil(batch) * batch;
            assert_eq!(*rows, batch.min(all - from), "rows from {from} on");
        }
        // The start reads every block once, as each pass does.
        let passes = shown.len() / all.div_ceil(batch);
        assert_eq!(source.reads.into_inner(), (1 + passes) * source.rows.blocks(), "blocks read");
    }
    let source = Memory::cut(case.rows(), 17);
    // Workers that read each other's blocks are found out.
    for worker in workers(2, |comm| fit_on(&case.method, &source, &Cpu, &Greedy(comm), Options::default())) {
        let said = worker.err().expect("rows counted twice").to_string();
        assert!(said.contains("exactly one worker"), "{said}");
    }
}

/// Claims to be alone when blocks are dealt out.
struct Greedy<'a>(&'a dyn Comm);

impl Comm for Greedy<'_> {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn sum(&self, parts: Vec<&mut [f64]>) -> Result<()> {
        self.0.sum(parts)
    }
}

/// A short memory makes for small windows of rows that are shuffled. Those too depend on no block and no worker, every row is shown once a
/// pass, and only the last batch of a window is short.
fn windows_agree<M: Method>(case: &Case<M>) {
    let (all, cols) = (case.data.rows, case.data.cols);
    let batch = case.method.plan().batch.expect("batches");
    // Two batches.
    let memory = Some((2 * batch * cols * 16) as u64);
    let mut first: Option<(Fitted<M::Model>, Vec<usize>)> = None;
    for (step, streams) in [(all, false), (17, false), (all, true), (17, true), (batch, true)] {
        let (rows, shown) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let source = Reading { rows: Memory::cut(case.rows(), step), reads: AtomicUsize::new(0), streams };
        let options = Options { memory, ..Options::default() };
        let f = fit_on(&case.method, &source, &Counting(&rows, &shown), &Solo, options).expect("fit");
        let shown = shown.into_inner().expect("lock");
        assert_eq!(shown.iter().sum::<usize>(), all * f.curve.len());
        assert!(shown.iter().filter(|n| **n == batch).count() >= all / batch * f.curve.len());
        if let Some((whole, counts)) = &first {
            assert!(bytes(&f.model) == bytes(&whole.model) && *counts == shown, "blocks of {step} rows, streams: {streams}");
        } else {
            first = Some((f, shown));
        }
    }
    let (whole, counts) = first.expect("fits");
    let passes: Vec<&[usize]> = counts.chunks(all.div_ceil(batch)).collect();
    assert!(all % (2 * batch) == 0 || passes.iter().any(|p| *p != passes[0]), "windows come in one order only");
    let source = Memory::cut(case.rows(), 17);
    for worker in workers(2, |comm| fit_on(&case.method, &source, &Cpu, comm, Options { memory, ..Options::default() })) {
        same_fit(case, &whole, &worker.expect("worker"));
    }
    let other = run(&case.method, &source);
    assert!(bytes(&other.model) != bytes(&whole.model), "one window of all rows gives another order");
}

/// The order of rows is one of its own in every pass and of every seed: the same rows in one order would give the same bytes.
fn rows_are_shuffled<M: Method>(case: &Case<M>) {
    struct Watching<'a>(&'a Mutex<Vec<Vec<u32>>>);
    impl<M: Method> Engine<M> for Watching<'_> {
        fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()> {
            self.0.lock().expect("lock").push((0..x.rows()).map(|i| x.slice(i, i + 1).values()[0].to_bits()).collect());
            m.observe(state, x, first, memo, into)
        }
        fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
            m.update(state, stats)
        }
    }
    let seen = Mutex::new(Vec::new());
    let source = Memory::cut(case.rows(), 31);
    let f = fit_on(&case.method, &source, &Watching(&seen), &Solo, Options::default()).expect("fit");
    let seen = seen.into_inner().expect("lock");
    let passes: Vec<Vec<u32>> = seen.chunks(seen.len() / f.curve.len()).map(<[_]>::concat).collect();
    let plain: Vec<u32> = (0..case.data.rows).map(|i| case.data.row(i)[0].to_bits()).collect();
    let sorted = |rows: &[u32]| {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    };
    for (i, pass) in passes.iter().enumerate() {
        assert!(sorted(pass) == sorted(&plain), "every row once");
        assert!(*pass != plain && passes[..i].iter().all(|p| p != pass), "pass {i} has an order of its own");
    }
}

/// Rows held out are never shown, are measured after every pass, and the model is the best on them.
///
/// `tol`: relative difference of what is said of them and what the model makes of them.
fn held_out_rows_say_when_to_stop<M: Method>(case: &Case<M>, tol: f64) {
    let early = case.method.early().expect("early");
    let f = run(&case.method, &Memory::new(case.rows()));
    let held: Vec<f64> = f.curve.iter().map(|p| p.held.expect("held")).collect();
    let best = held.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!((held[f.kept - 1], f.starts[0]), (best, best));
    if f.stop == Stop::Early {
        assert_eq!(f.curve.len() - f.kept, early.patience);
    }
    let n = case.data.rows;
    let apart = ((early.share * n as f64).round() as usize).clamp(1, n - 1);
    let rows = rng(case.method.seed(), mereo::fold::stream::EARLY, 0).choose(n, apart);
    let is = (case.loss)(&f.model, &case.rows().pick(&rows));
    assert!((is - best).abs() <= tol * best, "held out {best}, of the model {is}");
    let (seen, shown) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let f = fit_on(&case.method, &Memory::new(case.rows()), &Counting(&seen, &shown), &Solo, Options::default()).expect("fit");
    assert_eq!(shown.into_inner().expect("lock").iter().sum::<usize>(), (n - apart) * f.curve.len());
}

/// Steps that are too long end the fit with the last good model, and the message names the remedy.
fn a_fit_that_diverges_ends_with_its_last_good_model<M: Method>(case: &Case<M>) {
    let source = Memory::cut(case.rows(), 32);
    let f = run(&case.method, &source);
    assert_eq!((f.stop, f.kept), (Stop::Diverged, f.curve.len()));
    let mean = case.data.data.iter().map(|v| f64::from(v * v)).sum::<f64>() / case.data.data.len() as f64;
    assert!(reconstruction_loss(&f.model, &case.rows()) < 10.0 * mean, "that model is no good");
    assert!(case.method.remedy().is_some_and(|r| r.contains("lr")));
    let folder = tempfile::tempdir().expect("tempdir");
    let options = |resume| Options {
        checkpoint: Some(Checkpoint { path: folder.path().join("c"), every: Duration::from_secs(3600), resume }),
        ..Options::default()
    };
    // Its checkpoint is of that model as well.
    fit(&case.method, &source, options(false)).expect("fit");
    let again = fit(&case.method, &source, options(true)).expect("resumed");
    assert!(bytes(&again.model) == bytes(&f.model) && again.stop == Stop::Diverged && again.curve.len() == f.curve.len());
    for worker in workers(2, |comm| fit_on(&case.method, &source, &Cpu, comm, Options::default())) {
        assert_eq!(worker.expect("worker").stop, Stop::Diverged);
    }
}

/// Rows of which one block can't be read once `broken` is true.
struct Failing<'a> {
    rows: Memory<'a>,
    bad: usize,
    broken: &'a AtomicBool,
}

impl Source for Failing<'_> {
    fn cols(&self) -> usize {
        self.rows.cols()
    }
    fn blocks(&self) -> usize {
        self.rows.blocks()
    }
    fn rows(&self, block: usize) -> usize {
        self.rows.rows(block)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        if block == self.bad && self.broken.load(Ordering::SeqCst) {
            return Err(Error::data("the disk is gone"));
        }
        self.rows.block(block)
    }
}

/// Breaks the source as soon as any row is looked at.
struct Breaking<'a>(&'a AtomicBool);

impl<M: Method> Engine<M> for Breaking<'_> {
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()> {
        self.0.store(true, Ordering::SeqCst);
        m.observe(state, x, first, memo, into)
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
        m.update(state, stats)
    }
}

fn a_failing_worker_stops_all<M: Method>(case: &Case<M>) {
    let one_says_why = |ends: Vec<Result<Fitted<M::Model>>>| {
        let said: Vec<String> = ends.into_iter().map(|e| e.err().expect("all stop").to_string()).collect();
        assert_eq!(said.iter().filter(|s| s.contains("the disk is gone")).count(), 1, "{said:?}");
        assert_eq!(said.iter().filter(|s| s.contains("another worker failed")).count(), 2, "{said:?}");
    };
    let rows = Memory::cut(case.rows(), 16);
    // In a pass: block 4 is the second one of worker 1.
    let broken = AtomicBool::new(false);
    let source = Failing { rows: rows.clone(), bad: 4, broken: &broken };
    one_says_why(workers(3, |comm| fit_on(&case.method, &source, &Breaking(&broken), comm, Options::default())));
    // Before the first: worker 1 alone can't read its sample, or its first block.
    let (fine, gone) = (AtomicBool::new(false), AtomicBool::new(true));
    one_says_why(workers(3, |comm| {
        let broken = if comm.rank() == 1 { &gone } else { &fine };
        let source = Failing { rows: rows.clone(), bad: 1, broken };
        fit_on(&case.method, &source, &Cpu, comm, Options::default())
    }));
}

fn same_seed_same_bytes_on_any_threads<M: Method>(case: &Case<M>) {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| bytes(&run(&case.method, &Memory::new(case.rows())).model))
    };
    let one = on(1);
    assert!(one == on(1), "two runs differ");
    assert!(one == on(3), "three threads differ from one");
}

fn saved_and_loaded_encodes_the_same<M: Method>(case: &Case<M>) {
    let model = run(&case.method, &Memory::new(case.rows())).model;
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("m.mereo");
    let mut bag = Bag::default();
    model.save(&mut bag);
    bag.write(&path).expect("write");
    let back = (case.load)(&Bag::read(&path).expect("read")).expect("load");
    let (z, again) = (model.encode(&case.rows()).expect("z"), back.encode(&case.rows()).expect("z"));
    assert_eq!(z, again);
    assert_eq!(model.decode(&z).expect("x"), back.decode(&again).expect("x"));
    assert_eq!(bytes(&model), bytes(&back));
}

fn loss_falls<M: Method>(case: &Case<M>) {
    let f = run(&case.method, &Memory::new(case.rows()));
    assert!(f.curve.len() > 1, "one pass can't rise");
    // Sums of f32 products are good to about 1e-7 of the data's own mean square.
    let rounding = 1e-6 * case.data.data.iter().map(|v| f64::from(v * v)).sum::<f64>() / case.data.data.len() as f64;
    for w in f.curve.windows(2) {
        assert!(w[1].loss <= w[0].loss + rounding, "pass {}: {} after {}", w[1].pass, w[1].loss, w[0].loss);
    }
}

/// `slack`: by how much a fresh encoding of the rows may beat the last pass. It is never worse.
fn reported_loss_is_the_models<M: Method>(case: &Case<M>, slack: f64) {
    let f = run(&case.method, &Memory::new(case.rows()));
    let (said, is) = (last(&f), (case.loss)(&f.model, &case.rows()));
    assert!(is <= said * (1.0 + 1e-4) + 1e-9 && is >= said * (1.0 - slack) - 1e-9, "reported {said}, measured {is}");
}

/// `tol`: relative difference of the losses; a method whose start depends on the order of rows may end elsewhere.
fn permuted_rows_agree<M: Method>(case: &Case<M>, tol: f64) {
    let mut order: Vec<usize> = (0..case.data.rows).collect();
    rng(5, 0, 0).shuffle(&mut order);
    let moved = case.rows().pick(&order);
    let (a, b) = (run(&case.method, &Memory::new(case.rows())), run(&case.method, &Memory::new(moved.clone())));
    assert!((last(&a) - last(&b)).abs() <= tol * last(&a), "losses {} and {}", last(&a), last(&b));
    let z = a.model.encode(&case.rows()).expect("z").to_mat();
    let y = a.model.encode(&moved).expect("z").to_mat();
    for (to, &from) in order.iter().enumerate() {
        let off = y.row(to).iter().zip(z.row(from)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5, "the code of row {from} depends on its neighbours, by {off}");
    }
}

fn memo_dropped_same_answer<M: Method>(case: &Case<M>, tol: f64) {
    assert!(matches!(case.method.memo(), Memo::Cache(_)), "nothing to drop");
    let source = Memory::new(case.rows());
    let with = run(&case.method, &source);
    let without = fit(&case.method, &source, Options { memory: Some(0), ..Options::default() }).expect("fit");
    assert!((last(&with) - last(&without)).abs() <= tol * last(&with), "losses {} and {}", last(&with), last(&without));
}

fn memo_needed_is_said<M: Method>(case: &Case<M>) {
    assert!(matches!(case.method.memo(), Memo::Kept(_)));
    let short = fit(&case.method, &Memory::new(case.rows()), Options { memory: Some(0), ..Options::default() });
    let said = short.err().expect("no room").to_string();
    assert!(said.contains("memory") && said.contains("solver"), "{said}");
}

fn planted_truth_is_found<M: Method>(case: &Case<M>, cosine: f64) {
    let f = run(&case.method, &Memory::new(case.rows()));
    let found = worst_match(&case.truth, f.model.atoms());
    assert!(found > cosine, "the worst planted atom is matched to cosine {found}");
}

/// Asks for the end of the fit after a number of blocks.
struct Cancelling<'a>(&'a AtomicUsize, usize, &'a AtomicBool);

impl<M: Method> Engine<M> for Cancelling<'_> {
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> Result<()> {
        if self.0.fetch_add(1, Ordering::Relaxed) + 1 == self.1 {
            self.2.store(true, Ordering::Relaxed);
        }
        m.observe(state, x, first, memo, into)
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> Result<Progress> {
        m.update(state, stats)
    }
}

fn resumed_run_ends_the_same<M: Method>(case: &Case<M>) {
    let source = Memory::cut(case.rows(), 50);
    let whole = run(&case.method, &source);
    for interrupt in [1, 3] {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("fit.checkpoint");
        let options = |resume| Some(Checkpoint { path: path.clone(), every: Duration::from_secs(3600), resume });
        let mut stop = |p: &Pass, _| if p.pass == interrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let first = Options { watch: Some(&mut stop), checkpoint: options(false), ..Options::default() };
        let cut = fit(&case.method, &source, first).expect("cut");
        let again = fit(&case.method, &source, Options { checkpoint: options(true), ..Options::default() }).expect("resumed");
        assert!(bytes(&again.model) == bytes(&whole.model), "interrupted after pass {interrupt}, the end differs");
        assert_eq!(again.curve.len(), whole.curve.len());
        assert!(cut.curve.len() <= again.curve.len());
        // Cancelled between two blocks of a pass.
        let (seen, cancel) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first = Options { cancel: Some(&cancel), checkpoint: options(false), ..Options::default() };
        // What needs a whole pass to have any model says so; its checkpoint is there all the same.
        let cut = fit_on(&case.method, &source, &Cancelling(&seen, 2 * interrupt + 1, &cancel), &Solo, first);
        assert!(cut.is_ok_and(|f| f.stop == Stop::Cancelled || f.curve.len() == whole.curve.len()) || path.exists());
        let again = fit(&case.method, &source, Options { checkpoint: options(true), ..Options::default() }).expect("resumed");
        assert!(bytes(&again.model) == bytes(&whole.model), "interrupted within a pass, the end differs");
        // Nothing is left to do: resuming a finished fit gives it back.
        let done = fit(&case.method, &source, Options { checkpoint: options(true), ..Options::default() }).expect("done");
        assert!(bytes(&done.model) == bytes(&whole.model));
    }
}

fn cancelled_fit_gives_the_model_so_far<M: Method>(case: &Case<M>) {
    let cancel = AtomicBool::new(false);
    let mut stop = |_: &Pass, _| {
        cancel.store(true, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let source = Memory::cut(case.rows(), 20);
    let options = Options { watch: Some(&mut stop), cancel: Some(&cancel), ..Options::default() };
    let f = fit(&case.method, &source, options).expect("fit");
    let one_is_all = run(&case.method, &source).curve.len() == 1;
    assert!(f.curve.len() == 1 && (f.stop == Stop::Cancelled || one_is_all), "{:?} after {} passes", f.stop, f.curve.len());
    // Within the second pass: what that one has learned so far is not in the model, unless the pass may be left between two batches.
    let (seen, never, cancel) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let mut stop = |_: &Pass, _| ControlFlow::Break(());
    let options = Options { watch: Some(&mut stop), ..Options::default() };
    let one = fit_on(&case.method, &source, &Cancelling(&seen, usize::MAX, &never), &Solo, options).expect("fit");
    let (calls, seen) = (seen.into_inner(), AtomicUsize::new(0));
    let options = Options { cancel: Some(&cancel), ..Options::default() };
    let f = fit_on(&case.method, &source, &Cancelling(&seen, calls + 5, &cancel), &Solo, options).expect("fit");
    let learned_on = bytes(&f.model) != bytes(&one.model);
    // Rows that are held out have the last word on which pass is kept.
    let may = case.method.plan().shuffle.is_some() && case.method.early().is_none();
    assert_eq!(learned_on, may, "whether the model is of half a pass more");
    assert!(reconstruction_loss(&f.model, &case.rows()).is_finite());
}

fn a_checkpoint_of_another_fit_is_refused<M: Method>(case: &Case<M>) {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("fit.checkpoint");
    let fit = |rows: Rows| {
        let checkpoint = Some(Checkpoint { path: path.clone(), every: Duration::ZERO, resume: true });
        fit(&case.method, &Memory::new(rows), Options { checkpoint, ..Options::default() })
    };
    fit(case.rows()).expect("fit");
    let said = fit(case.rows().slice(0, case.data.rows - 1)).err().expect("refused").to_string();
    assert!(said.contains("another shape"), "{said}");
    let whole = std::fs::read(&path).expect("checkpoint");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("cut");
    let said = fit(case.rows()).err().expect("refused").to_string();
    assert!(said.contains("cut short"), "{said}");
}

fn bad_input_names_the_fix<M: Method>(case: &Case<M>) {
    let refused = |m: &Mat, step: usize| {
        fit(&case.method, &Memory::cut(case.weighing(m), step), Options::default()).err().expect("refused").to_string()
    };
    for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut m = case.data.clone();
        m.data[3 * case.data.cols + 2] = bad;
        for step in [m.rows, 2] {
            let said = refused(&m, step);
            assert!(said.contains("row 3, column 2") && said.contains(name) && said.contains("drop the row"), "{said}");
        }
    }
    assert!(refused(&Mat::zeros(0, 5), 1).contains("0 rows"));
    assert!(refused(&Mat::zeros(0, 0), 1).contains("0 rows"));
    let model = run(&case.method, &Memory::new(case.rows())).model;
    let wrong = Mat::zeros(2, case.data.cols + 1);
    let said = model.encode(&wrong.view()).expect_err("width").to_string();
    assert!(said.contains(&wrong.cols.to_string()) && said.contains(&case.data.cols.to_string()), "{said}");
    assert!(model.decode(&Codes::Dense(Mat::zeros(2, model.atoms().rows + 1))).is_err(), "codes of another width");
    assert_eq!(model.encode(&Mat::zeros(0, case.data.cols).view()).expect("no rows").rows(), 0);
}

/// A k out of range is refused with a message that has all the words.
fn bad_k_names_the_fix<M: Method>(case: &Case<M>, with: fn(usize) -> M, cases: &[(usize, &[&str])]) {
    let shape = Shape { rows: case.data.rows, cols: case.data.cols };
    for (k, words) in cases {
        let said = with(*k).check(shape).expect_err("refused").to_string();
        assert!(words.iter().all(|w| said.contains(w)), "k = {k}: {said}");
        assert!(fit(&with(*k), &Memory::new(case.rows()), Options::default()).is_err());
    }
}

/// Entries of one place in a sparse row add up, whatever order they come in.
fn a_place_stored_twice_is_one<M: Method>(case: &Case<M>) {
    let (n, d) = (case.data.rows, case.data.cols);
    let of = |each: fn(u32, f32) -> Vec<(u32, f32)>, reversed: bool| {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for i in 0..n {
            let mut row: Vec<_> = (0..d as u32).zip(case.data.row(i)).flat_map(|(j, v)| each(j, *v)).collect();
            if reversed {
                row.reverse();
            }
            indices.extend(row.iter().map(|e| e.0));
            values.extend(row.iter().map(|e| e.1));
            indptr.push(indices.len() as u64);
        }
        Csr::new(n, d, indptr, indices, values).expect("csr")
    };
    let (once, twice) = (of(|j, v| vec![(j, v)], false), of(|j, v| vec![(j, v / 2.0), (j, v / 2.0)], true));
    let (a, b) = (run(&case.method, &Memory::from(&once)), run(&case.method, &Memory::from(&twice)));
    assert!(bytes(&a.model) == bytes(&b.model), "the fits differ");
    let (z, y) = (a.model.encode(&once.view()).expect("z"), a.model.encode(&twice.view()).expect("z"));
    assert_eq!(z, y);
}

fn negative_data_is_refused<M: Method>(case: &Case<M>) {
    let mut m = case.data.clone();
    m.data[5 * case.data.cols + 1] = -0.25;
    let said = fit(&case.method, &Memory::new(m.view()), Options::default()).err().expect("refused").to_string();
    assert!(said.contains("row 5, column 1 is -0.25"), "{said}");
}

// ---- several workers, as threads ----

struct Worker<'a> {
    rank: usize,
    size: usize,
    slots: &'a Mutex<Vec<Vec<f64>>>,
    barrier: &'a Barrier,
}

impl Comm for Worker<'_> {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn sum(&self, mut parts: Vec<&mut [f64]>) -> Result<()> {
        self.slots.lock().expect("lock")[self.rank] = parts.iter().flat_map(|p| p.iter().copied()).collect();
        self.barrier.wait();
        {
            let slots = self.slots.lock().expect("lock");
            for (i, v) in parts.iter_mut().flat_map(|p| p.iter_mut()).enumerate() {
                *v = slots.iter().map(|s| s[i]).sum();
            }
        }
        self.barrier.wait();
        Ok(())
    }
}

fn workers<T: Send>(size: usize, work: impl Fn(&dyn Comm) -> T + Sync) -> Vec<T> {
    let (slots, barrier) = (Mutex::new(vec![Vec::new(); size]), Barrier::new(size));
    std::thread::scope(|scope| {
        let (slots, barrier, work) = (&slots, &barrier, &work);
        let all: Vec<_> = (0..size).map(|rank| scope.spawn(move || work(&Worker { rank, size, slots, barrier }))).collect();
        all.into_iter().map(|h| h.join().expect("a worker panicked")).collect()
    })
}

// ---- the methods, and what each promises ----

macro_rules! laws {
    ($method:ident, $case:expr, [$($law:ident $(($($arg:expr),*))?),* $(,)?]) => {
        mod $method {
            use super::*;
            $( #[test] fn $law() { super::$law(&$case $(, $($arg),*)?); } )*
        }
    };
}

/// Rows of few of k blocks of neighbouring columns: parts that do not overlap, with weights and a little noise.
fn blocks(n: usize, k: usize, width: usize, noise: f64) -> (Mat, Mat) {
    let d = k * width;
    let mut truth = Mat::zeros(k, d);
    for a in 0..k {
        for j in 0..width {
            truth.row_mut(a)[a * width + j] = 1.0 + 0.5 * (j as f32 * 0.7).sin();
        }
    }
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let mut r = rng(11, 0, i as u64);
        for a in 0..k {
            let w = if r.uniform() < 0.4 { 0.2 + r.uniform() } else { 0.0 };
            for j in 0..d {
                x.row_mut(i)[j] += w as f32 * truth.row(a)[j];
            }
        }
        for v in x.row_mut(i) {
            *v += (noise * r.uniform()) as f32;
        }
    }
    (x, truth)
}

/// Tight clusters around k far centres.
fn clusters(n: usize, k: usize, d: usize) -> (Mat, Mat) {
    let mut r = rng(12, 0, 0);
    let truth = Mat { rows: k, cols: d, data: (0..k * d).map(|_| (4.0 * r.normal()) as f32).collect() };
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let centre = truth.row(r.below(k)).to_vec();
        for (v, c) in x.row_mut(i).iter_mut().zip(centre) {
            *v = c + (0.3 * r.normal()) as f32;
        }
    }
    (x, truth)
}

/// A few strong orthogonal directions over a bulk of noise.
fn spiked(n: usize, d: usize) -> (Mat, Mat) {
    let k = 3;
    let mut truth = Mat::zeros(k, d);
    for a in 0..k {
        for (j, v) in truth.row_mut(a).iter_mut().enumerate() {
            // Rows of a Hadamard matrix: orthogonal where d is a multiple of 8.
            *v = if ((a + 1) & j).count_ones() % 2 == 0 { 1.0 } else { -1.0 } / (d as f32).sqrt();
        }
    }
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let mut r = rng(13, 0, i as u64);
        for (a, s) in [9.0, 5.0, 3.0].into_iter().enumerate() {
            let z = (s * r.normal()) as f32;
            x.row_mut(i).iter_mut().zip(truth.row(a)).for_each(|(v, t)| *v += z * t);
        }
        x.row_mut(i).iter_mut().for_each(|v| *v += 2.0 + 0.3 * r.normal() as f32);
    }
    (x, truth)
}

fn pca(solver: PcaSolver) -> Case<Pca> {
    let (data, truth) = spiked(400, 24);
    Case {
        method: Pca { k: 3, solver, ..Pca::default() },
        load: PcaModel::load,
        data,
        truth,
        tol: 1e-5,
        loss: reconstruction_loss,
        weights: None,
    }
}

const PCA_K: &[(usize, &[&str])] = &[(0, &["k = 0"]), (25, &["25", "24 columns", "lower k"])];

laws!(
    pca_covariance_laws,
    pca(PcaSolver::Covariance),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(1e-4),
        permuted_rows_agree(1e-5),
        planted_truth_is_found(0.99),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        bad_k_names_the_fix(|k| Pca { k, ..Pca::default() }, PCA_K),
    ]
);

laws!(
    pca_randomized_laws,
    pca(PcaSolver::Randomized),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(1e-4),
        permuted_rows_agree(1e-5),
        planted_truth_is_found(0.99),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
    ]
);

fn vq() -> Case<Vq> {
    let (data, truth) = clusters(300, 6, 9);
    Case {
        method: Vq { k: 6, n_init: 3, seed: 1, ..Vq::default() },
        load: VqModel::load,
        data,
        truth,
        tol: 1e-5,
        loss: reconstruction_loss,
        weights: None,
    }
}

laws!(
    vq_laws,
    vq(),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(1e-4),
        permuted_rows_agree(1e-5),
        memo_dropped_same_answer(1e-6),
        planted_truth_is_found(0.999),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        bad_k_names_the_fix(|k| Vq { k, ..Vq::default() }, &[(0, &["0", "at least 1"]), (301, &["301", "300", "lower k"])]),
    ]
);

/// Rows that count from 0 to 2.5 times.
fn vq_weighted() -> Case<Vq> {
    let case = vq();
    let weights = (0..case.data.rows).map(|i| (i % 6) as f32 * 0.5).collect();
    Case { method: Vq { weights: true, ..case.method }, weights: Some(weights), ..case }
}

laws!(
    vq_weighted_laws,
    vq_weighted(),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(1e-4),
        permuted_rows_agree(1e-5),
        memo_dropped_same_answer(1e-6),
        planted_truth_is_found(0.999),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
    ]
);

/// Weights, and a start near the planted centres.
fn vq_given() -> Case<Vq> {
    let case = vq_weighted();
    let given = Mat { data: case.truth.data.iter().map(|v| v + 1.0).collect(), ..case.truth };
    Case { method: Vq { init: VqInit::Given, given: Some(given), ..case.method }, ..case }
}

laws!(
    vq_given_laws,
    vq_given(),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(1e-4),
        permuted_rows_agree(1e-5),
        memo_dropped_same_answer(1e-6),
        planted_truth_is_found(0.999),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
    ]
);

fn vq_random() -> Case<Vq> {
    let case = vq();
    Case { method: Vq { init: VqInit::Random, n_init: 1, sample: Some(100), tol: 0.0, ..case.method }, ..case }
}

// Not that planted centres are found, or that permuted rows agree: which of many optima a start at random ends in is a matter of luck.
laws!(
    vq_random_laws,
    vq_random(),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        loss_falls,
        reported_loss_is_the_models(1e-4),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

fn nmf(loss: NmfLoss, solver: NmfSolver) -> Case<Nmf> {
    let (data, truth) = blocks(200, 5, 8, 0.3);
    let method = Nmf { k: 5, loss, solver, max_passes: 200, seed: 3, ..Nmf::default() };
    Case { method, load: NmfModel::load, data, truth, tol: 1e-3, loss: reconstruction_loss, weights: None }
}

laws!(
    nmf_accelerated_laws,
    nmf(NmfLoss::Squared, NmfSolver::Accelerated),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.02),
        permuted_rows_agree(0.01),
        memo_dropped_same_answer(0.01),
        planted_truth_is_found(0.98),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
        negative_data_is_refused,
        bad_k_names_the_fix(|k| Nmf { k, ..Nmf::default() }, &[(0, &["k = 0"]), (201, &["201", "200", "lower k"])]),
    ]
);

laws!(
    nmf_cd_laws,
    nmf(NmfLoss::Squared, NmfSolver::Cd),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.02),
        permuted_rows_agree(1e-3),
        memo_dropped_same_answer(0.01),
        planted_truth_is_found(0.98),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        negative_data_is_refused,
        bad_k_names_the_fix(|k| Nmf { k, ..Nmf::default() }, &[(0, &["k = 0"]), (201, &["201", "200", "lower k"])]),
    ]
);

const MULTIPLICATIVE: usize = 300;

fn multiplicative(loss: NmfLoss, solver: NmfSolver) -> Case<Nmf> {
    let mut case = nmf(loss, solver);
    case.method.max_passes = MULTIPLICATIVE;
    case
}

/// The data without zeros.
fn positive(case: Case<Nmf>) -> Case<Nmf> {
    let data = Mat { data: case.data.data.iter().map(|v| v + 0.01).collect(), ..case.data };
    Case { data, ..case }
}

laws!(
    nmf_mu_laws,
    multiplicative(NmfLoss::Squared, NmfSolver::Mu),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.05),
        memo_needed_is_said,
        planted_truth_is_found(0.97),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_mu_kl_laws,
    multiplicative(NmfLoss::KullbackLeibler, NmfSolver::Mu),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        planted_truth_is_found(0.97),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_mu_itakura_saito_laws,
    positive(multiplicative(NmfLoss::ItakuraSaito, NmfSolver::Mu)),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        resumed_run_ends_the_same,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_mu_beta_laws,
    multiplicative(NmfLoss::Beta(1.5), NmfSolver::Mu),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        planted_truth_is_found(0.97),
        resumed_run_ends_the_same,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_newton_laws,
    nmf(NmfLoss::KullbackLeibler, NmfSolver::Newton),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        planted_truth_is_found(0.97),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_lee_seung_laws,
    multiplicative(NmfLoss::KullbackLeibler, NmfSolver::LeeSeung),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        planted_truth_is_found(0.97),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

/// Coordinate descent with parameters of its own.
fn nmf_with(set: impl Fn(&mut Nmf)) -> Case<Nmf> {
    let mut case = nmf(NmfLoss::Squared, NmfSolver::Cd);
    set(&mut case.method);
    case
}

laws!(
    nmf_sparse_laws,
    nmf_with(|m| m.sparse_atoms = Some(0.6)),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.05),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_exact_laws,
    nmf_with(|m| m.solver = NmfSolver::Exact),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.02),
        permuted_rows_agree(0.01),
        memo_dropped_same_answer(1e-4),
        planted_truth_is_found(0.98),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_online_laws,
    nmf_with(|m| {
        m.solver = NmfSolver::Online;
        m.batch = 48;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.02),
        permuted_rows_agree(0.01),
        memo_dropped_same_answer(0.01),
        planted_truth_is_found(0.98),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        negative_data_is_refused,
        bad_k_names_the_fix(|k| Nmf { k, ..Nmf::default() }, &[(0, &["k = 0"]), (201, &["201", "200", "lower k"])]),
    ]
);

laws!(
    nmf_signed_laws,
    nmf_with(|m| m.signed = true),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.05),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
    ]
);

laws!(
    nmf_nonsmooth_laws,
    nmf_with(|m| {
        m.loss = NmfLoss::KullbackLeibler;
        m.solver = NmfSolver::LeeSeung;
        m.theta = 0.3;
        m.max_passes = MULTIPLICATIVE;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_missing_laws,
    nmf_with(|m| {
        m.solver = NmfSolver::Accelerated;
        m.missing = mereo::Missing::Nan;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        reported_loss_is_the_models(0.02),
        planted_truth_is_found(0.98),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        negative_data_is_refused,
    ]
);

laws!(
    nmf_missing_kl_laws,
    nmf_with(|m| {
        m.loss = NmfLoss::KullbackLeibler;
        m.solver = NmfSolver::Mu;
        m.missing = mereo::Missing::Nan;
        m.max_passes = MULTIPLICATIVE;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        loss_falls,
        memo_needed_is_said,
        resumed_run_ends_the_same,
        negative_data_is_refused,
    ]
);

/// A few passes of an autoencoder with parameters of its own.
fn ae(k: usize, set: impl Fn(&mut Ae)) -> Case<Ae> {
    let (data, truth) = spiked(245, 24);
    let truth = Mat { rows: 1, cols: 24, data: truth.row(0).to_vec() };
    let mut method = Ae { k, batch: 32, max_passes: 12, seed: 1, ..Ae::default() };
    set(&mut method);
    Case { method, load: AeModel::load, data, truth, tol: 1e-3, loss: reconstruction_loss, weights: None }
}

laws!(
    ae_laws,
    ae(3, |_| {}),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        rows_are_shuffled,
        windows_agree,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.02),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        bad_k_names_the_fix(|k| Ae { k, ..Ae::default() }, &[(0, &["k = 0", "at least 1"])]),
    ]
);

laws!(
    ae_linear_laws,
    ae(1, |m| {
        m.activation = AeActivation::Linear;
        m.optimizer = AeOptimizer::Sgd;
        m.tied = true;
        m.max_passes = 40;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        windows_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.02),
        planted_truth_is_found(0.998),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        bad_input_names_the_fix,
    ]
);

laws!(
    ae_sigmoid_laws,
    ae(4, |m| {
        m.activation = AeActivation::Sigmoid;
        m.kl = 0.01;
        m.l1 = 0.01;
        m.optimizer = AeOptimizer::Adamw;
        m.weight_decay = 0.01;
        m.warmup = 0.1;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.05),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

laws!(
    ae_early_laws,
    ae(20, |m| {
        m.patience = 2;
        m.validation = 0.2;
        m.lr = Some(0.02);
        m.max_passes = 60;
        m.decay = mereo::Decay::None;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        held_out_rows_say_when_to_stop(1e-4),
        same_seed_same_bytes_on_any_threads,
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        bad_input_names_the_fix,
    ]
);

laws!(
    ae_diverging_laws,
    ae(3, |m| {
        m.activation = AeActivation::Linear;
        m.optimizer = AeOptimizer::Sgd;
        m.lr = Some(20.0);
        m.warmup = 1.0;
        m.max_passes = 100;
    }),
    [a_fit_that_diverges_ends_with_its_last_good_model]
);

/// A few passes of a sparse autoencoder with parameters of its own, on rows of few of many directions.
fn sae(set: impl Fn(&mut Sae)) -> Case<Sae> {
    let planted = mereo::synth::dictionary(245, 12, 20, 2, 4).expect("planted");
    let mut method = Sae { latents: Some(32), k: 3, batch: 32, max_passes: 8, seed: 1, ..Sae::default() };
    set(&mut method);
    Case { method, load: SaeModel::load, data: planted.data, truth: planted.atoms, tol: 1e-3, loss: fvu, weights: None }
}

const SAE_K: &[(usize, &[&str])] = &[(0, &["k = 0", "at least 1"]), (97, &["k = 97", "96 latents", "lower k"])];

laws!(
    sae_laws,
    sae(|_| {}),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        rows_are_shuffled,
        windows_agree,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.3),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        a_place_stored_twice_is_one,
        bad_input_names_the_fix,
        bad_k_names_the_fix(|k| Sae { k, ..Sae::default() }, SAE_K),
    ]
);

// Without workers, which each choose among their own rows: a batch of two workers has other latents alive than one of all rows.
laws!(
    sae_batch_topk_laws,
    sae(|m| m.architecture = SaeArchitecture::BatchTopK),
    [
        block_sizes_agree,
        rows_are_counted_once,
        rows_are_shuffled,
        a_failing_worker_stops_all,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.3),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        a_checkpoint_of_another_fit_is_refused,
        bad_input_names_the_fix,
    ]
);

laws!(
    sae_group_max_laws,
    sae(|m| {
        m.architecture = SaeArchitecture::GroupMax;
        m.k = 4;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.3),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

laws!(
    sae_jump_relu_laws,
    sae(|m| {
        m.architecture = SaeArchitecture::JumpRelu;
        m.sparsity = 0.05;
        m.l0 = Some(3.0);
        m.bandwidth = 0.1;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.4),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

laws!(
    sae_gated_laws,
    sae(|m| {
        m.architecture = SaeArchitecture::Gated;
        m.sparsity = 0.05;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.4),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

laws!(
    sae_relu_laws,
    sae(|m| {
        m.architecture = SaeArchitecture::Relu;
        m.sparsity = 0.05;
        m.optimizer = mereo::SaeOptimizer::Signum;
        m.center = true;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        reported_loss_is_the_models(0.4),
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

// Every term of the loss at once, and the mean of the weights.
laws!(
    sae_all_terms_laws,
    sae(|m| {
        m.prefixes = vec![0.5, 1.0];
        m.multi = 0.125;
        m.dead_rows = Some(20);
        m.ema = 0.5;
        m.warmup = 0.1;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        rows_are_counted_once,
        windows_agree,
        same_seed_same_bytes_on_any_threads,
        saved_and_loaded_encodes_the_same,
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
    ]
);

// What is said of rows held out is over the variance of the others.
laws!(
    sae_early_laws,
    sae(|m| {
        m.validation = 0.2;
        m.patience = 3;
        m.max_passes = 40;
        m.decay = mereo::Decay::None;
    }),
    [
        block_sizes_agree,
        worker_counts_agree,
        held_out_rows_say_when_to_stop(0.2),
        same_seed_same_bytes_on_any_threads,
        resumed_run_ends_the_same,
        cancelled_fit_gives_the_model_so_far,
        bad_input_names_the_fix,
    ]
);

/// More rows, and the time to learn what they are made of.
fn sae_planted() -> Case<Sae> {
    let planted = mereo::synth::dictionary(6000, 32, 12, 2, 4).expect("planted");
    let method = Sae { latents: Some(48), k: 2, batch: 200, max_passes: 30, lr: Some(3e-3), seed: 1, ..Sae::default() };
    Case { method, load: SaeModel::load, data: planted.data, truth: planted.atoms, tol: 1e-3, loss: fvu, weights: None }
}

// Not that permuted rows agree: which of many optima descent ends in depends on their order.
laws!(sae_planted_laws, sae_planted(), [planted_truth_is_found(0.95), reported_loss_is_the_models(0.3)]);
