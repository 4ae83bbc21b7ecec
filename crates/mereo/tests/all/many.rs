//! Several fits in the same passes are those of each alone: the same bytes, from the same reads.

use mereo::comm::Solo;
use mereo::fold::{Checkpoint, Cpu, Fitted, Method, Options, Pass, Stop, fit, fit_many, fit_many_on, fit_on};
use mereo::sae::Sae;
use mereo::source::{Memory, Source};
use mereo::store::Bag;
use mereo::{Ae, Mat, Model, Nmf, NmfSolver, Result, Rows, Vq, synth};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn data() -> Mat {
    synth::dictionary(600, 12, 24, 3, 1).expect("data").data
}

fn positive() -> Mat {
    synth::parts(300, 9, 6, 3).expect("data").data
}

fn bytes(model: &impl Model) -> Vec<u8> {
    let mut bag = Bag::default();
    model.save(&mut bag);
    bag.to_bytes().expect("bytes")
}

/// All but the times.
fn told<T: Model>(f: &Fitted<T>) -> (Vec<u8>, Vec<Pass>, usize, Vec<f64>, Stop) {
    let curve = f.curve.iter().map(|p| Pass { seconds: 0.0, ..*p }).collect();
    (bytes(&f.model), curve, f.kept, f.starts.clone(), f.stop)
}

fn sae(k: usize, latents: usize, lr: f64) -> Sae {
    Sae { k, latents: Some(latents), lr: Some(lr), batch: 50, max_passes: 4, ..Sae::default() }
}

/// Three that differ in all that a sweep lists, one of which ends by itself before the others.
fn three() -> [Sae; 3] {
    [sae(2, 32, 3e-3), Sae { tol: 0.5, ..sae(4, 48, 2e-3) }, Sae { max_passes: 6, ema: 0.9, ..sae(3, 24, 1e-3) }]
}

/// Rows that count how often a block is read, and may be taken for streamed.
struct Counted<'a> {
    rows: Memory<'a>,
    reads: AtomicUsize,
    streams: bool,
}

impl<'a> Counted<'a> {
    fn new(x: &'a Mat, streams: bool) -> Self {
        Self { rows: Memory::cut(x.view(), 70), reads: AtomicUsize::new(0), streams }
    }
}

impl Source for Counted<'_> {
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

/// Every fit ends as it does alone, and all of them read what the longest one does.
fn same<M: Method>(methods: &[M], x: &Mat, streams: bool) {
    let source = Counted::new(x, streams);
    let together = fit_many(methods, &source, Options::default()).expect("fits");
    assert_eq!(together.len(), methods.len());
    let mut most = 0;
    for (i, (method, together)) in methods.iter().zip(&together).enumerate() {
        let alone = Counted::new(x, streams);
        let want = fit(method, &alone, Options::default()).expect("fit");
        assert!(told(together.as_ref().expect("fit")) == told(&want), "{} {i} differs", method.name());
        most = most.max(alone.reads.into_inner());
    }
    assert_eq!(source.reads.into_inner(), most, "{}: blocks read", methods[0].name());
}

#[test]
fn together_is_as_alone_and_reads_as_little() {
    let x = data();
    for streams in [false, true] {
        same(&three(), &x, streams);
        let ae = |k, lr| Ae { k, lr: Some(lr), batch: 40, max_passes: 3, ..Ae::default() };
        same(&[ae(3, 1e-3), Ae { max_passes: 5, ..ae(5, 1e-2) }], &x, streams);
    }
    // Whole passes, with numbers for each row that are a cache, are part of what is learned, or differ in width.
    let vq = |k| Vq { k, tol: 1e-3, ..Vq::default() };
    same(&[vq(3), vq(8), vq(20)], &x, true);
    let nmf = |k, solver| Nmf { k, solver, max_passes: 12, tol: 1e-2, ..Nmf::default() };
    let x = positive();
    for solver in [NmfSolver::Cd, NmfSolver::Mu] {
        same(&[nmf(3, solver), nmf(5, solver), nmf(2, solver)], &x, false);
    }
    same(&[nmf(4, NmfSolver::Mu), nmf(3, NmfSolver::Cd)], &x, false);
}

#[test]
fn another_seed_has_weights_of_its_own_and_the_order_of_the_first() {
    let x = data();
    let [a, b] = [0, 1].map(|seed| Sae { seed, ..sae(3, 32, 2e-3) });
    let fits = fit_many(&[a.clone(), b.clone()], &Memory::from(&x), Options::default()).expect("fits");
    let [first, second] = &fits[..] else { panic!("two fits") };
    let (first, second) = (first.as_ref().expect("fit"), second.as_ref().expect("fit"));
    let alone = fit(&b, &Memory::from(&x), Options::default()).expect("fit");
    assert!(bytes(&second.model) != bytes(&first.model) && bytes(&second.model) != bytes(&alone.model));
    assert!((second.curve[3].loss / alone.curve[3].loss - 1.0).abs() < 0.2, "as good as alone");
}

#[test]
fn cut_short_at_any_batch_it_goes_on_to_the_same_bytes() {
    let x = data();
    let methods = three();
    let want: Vec<_> = methods.iter().map(|m| told(&fit(m, &Memory::from(&x), Options::default()).expect("fit"))).collect();
    let folder = tempfile::tempdir().expect("tempdir");
    // Batches until a request to stop: within a pass, at its end, in the first one.
    for (round, batches) in [5, 12, 13, 31, 40].into_iter().enumerate() {
        let path = folder.path().join(format!("{round}.checkpoint"));
        let checkpoint = |resume| Some(Checkpoint { path: path.clone(), every: Duration::ZERO, resume });
        let (cancel, left) = (AtomicBool::new(false), AtomicUsize::new(batches * methods.len()));
        let engine = Countdown { left: &left, cancel: &cancel };
        let options = Options { cancel: Some(&cancel), checkpoint: checkpoint(false), ..Options::default() };
        let cut = fit_many_on(&methods, &Memory::from(&x), &engine, &Solo, options).expect("fits");
        let stopped = cut.iter().flatten().filter(|f| f.stop == Stop::Cancelled).count();
        assert!(stopped > 0, "{batches} batches");
        assert!(cut.iter().flatten().all(|f| f.curve.len() <= batches / 12 + 1));
        let options = Options { checkpoint: checkpoint(true), ..Options::default() };
        let on = fit_many(&methods, &Memory::from(&x), options).expect("fits");
        for (on, want) in on.iter().zip(&want) {
            assert!(&told(on.as_ref().expect("fit")) == want, "after {batches} batches");
        }
        // A checkpoint of other fits is refused, whatever differs.
        let mut others = vec![methods.to_vec(); 3];
        others[0][1].k = 5;
        others[1].pop();
        others[2][2].lr = Some(5e-3);
        for (others, what) in others.iter().zip(["k of each", "a fit with", "lr of each"]) {
            let options = Options { checkpoint: checkpoint(true), ..Options::default() };
            let said = fit_many(others, &Memory::from(&x), options).expect_err("another sweep").to_string();
            assert!(said.contains(what), "{said}");
        }
        let options = Options { checkpoint: checkpoint(true), ..Options::default() };
        assert!(fit(&methods[0], &Memory::from(&x), options).expect_err("another method").to_string().contains("another method"));
    }
}

/// Asks for an end after some batches.
struct Countdown<'a> {
    left: &'a AtomicUsize,
    cancel: &'a AtomicBool,
}

impl mereo::fold::Engine<Sae> for Countdown<'_> {
    fn observe(
        &self,
        m: &Sae,
        state: &mereo::sae::SaeState,
        x: &Rows,
        first: u64,
        memo: &mut [f32],
        into: &mut mereo::sae::SaeStats,
    ) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.cancel.store(true, Ordering::Relaxed);
        }
        m.observe(state, x, first, memo, into)
    }
    fn update(&self, m: &Sae, state: &mut mereo::sae::SaeState, stats: mereo::sae::SaeStats) -> Result<mereo::fold::Progress> {
        m.update(state, stats)
    }
}

#[test]
fn more_passes_take_a_finished_sweep_on() {
    let x = data();
    let of = |max_passes| [2, 4].map(|k| Vq { k: 5 * k, tol: 0.0, max_passes, ..Vq::default() });
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("c");
    let run = |methods: &[Vq], resume| {
        let checkpoint = Some(Checkpoint { path: path.clone(), every: Duration::ZERO, resume });
        fit_many(methods, &Memory::from(&x), Options { checkpoint, ..Options::default() }).expect("fits")
    };
    assert!(run(&of(2), false).iter().flatten().all(|f| f.stop == Stop::Limit && f.curve.len() == 2));
    for (on, method) in run(&of(5), true).iter().zip(of(5)) {
        let want = fit(&method, &Memory::from(&x), Options::default()).expect("fit");
        assert!(told(on.as_ref().expect("fit")) == told(&want));
    }
}

#[test]
fn one_that_diverges_leaves_the_others_as_they_are() {
    let x = data();
    let methods = [sae(3, 32, 2e-3), Sae { lr: Some(1e30), ..sae(3, 32, 1.0) }, sae(4, 24, 1e-3)];
    let mut seen = Vec::new();
    let mut watch = |p: &Pass, _| {
        seen.push(p.loss);
        ControlFlow::Continue(())
    };
    let options = Options { watch: Some(&mut watch), ..Options::default() };
    let fits = fit_many(&methods, &Memory::from(&x), options).expect("fits");
    for i in [0, 2] {
        let want = fit(&methods[i], &Memory::from(&x), Options::default()).expect("fit");
        assert!(told(fits[i].as_ref().expect("fit")) == told(&want), "fit {i}");
    }
    let said = fits[1].as_ref().expect_err("diverged").to_string();
    assert!(said.contains("in pass ") && said.contains("lower lr, which was 1"), "{said}");
    let best = |p: usize| [0, 2].iter().map(|i| fits[*i].as_ref().expect("fit").curve[p].loss).fold(f64::INFINITY, f64::min);
    assert_eq!(seen, (0..4).map(best).collect::<Vec<_>>(), "a watcher sees the best");
    let lost = fit_many(&[methods[1].clone(), methods[1].clone()], &Memory::from(&x), Options::default()).expect("run");
    assert!(lost.iter().all(Result::is_err), "all may diverge");
}

#[test]
fn what_can_not_be_shared_is_refused_with_the_fix() {
    let x = data();
    let fails = |methods: &[Sae]| fit_many(methods, &Memory::from(&x), Options::default()).expect_err("refused").to_string();
    let one = sae(3, 32, 2e-3);
    assert!(fails(&[]).contains("give one method or more"));
    assert!(fails(&[one.clone(), Sae { batch: 60, ..one.clone() }]).contains("one batch"));
    assert!(fails(&[one.clone(), Sae { validation: 0.1, ..one.clone() }]).contains("set validation and patience to 0"));
    let said = fails(&[one.clone(), Sae { k: 40, ..one.clone() }]);
    assert!(said.contains("fit 2 of 2") && said.contains("lower k"), "{said}");
    let starts = Vq { k: 3, n_init: 2, ..Vq::default() };
    let said = fit_many(&[starts], &Memory::from(&x), Options::default()).expect_err("refused").to_string();
    assert!(said.contains("2 starts") && said.contains("other seeds"), "{said}");
    let empty = Mat::zeros(0, 3);
    assert!(fit_many(&[one], &Memory::from(&empty), Options::default()).expect_err("empty").to_string().contains("0 rows"));
    let bad = Mat { rows: 2, cols: 2, data: vec![1.0, f32::NAN, 0.0, 1.0] };
    assert!(fit_many(&[sae(1, 2, 1e-3)], &Memory::from(&bad), Options::default()).is_err());
}

#[test]
fn workers_agree() {
    let x = data();
    let methods = [3, 6].map(|k| Vq { k, tol: 0.0, max_passes: 4, ..Vq::default() });
    let comm = workers::Pair::new();
    let run = |rank| {
        let comm = comm.worker(rank);
        let fits = fit_many_on(&methods, &Memory::cut(x.view(), 100), &Cpu, &comm, Options::default()).expect("fits");
        fits.into_iter().map(|f| bytes(&f.expect("fit").model)).collect::<Vec<_>>()
    };
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().expect("worker"))
    });
    assert!(a == b);
    for (together, method) in a.iter().zip(&methods) {
        let comm = workers::Pair::new();
        let alone =
            |rank| fit_on(method, &Memory::cut(x.view(), 100), &Cpu, &comm.worker(rank), Options::default()).expect("fit");
        let (alone, _) = std::thread::scope(|scope| {
            let other = scope.spawn(|| alone(1));
            (alone(0), other.join().expect("worker"))
        });
        assert!(*together == bytes(&alone.model));
    }
}

/// Two workers on threads.
mod workers {
    use mereo::Result;
    use mereo::comm::Comm;
    use std::sync::{Barrier, Mutex};

    pub struct Pair {
        sums: Mutex<Vec<f64>>,
        meet: Barrier,
    }

    impl Pair {
        pub fn new() -> Self {
            Self { sums: Mutex::new(Vec::new()), meet: Barrier::new(2) }
        }
        pub fn worker(&self, rank: usize) -> Worker<'_> {
            Worker { pair: self, rank }
        }
    }

    pub struct Worker<'a> {
        pair: &'a Pair,
        rank: usize,
    }

    impl Comm for Worker<'_> {
        fn rank(&self) -> usize {
            self.rank
        }
        fn size(&self) -> usize {
            2
        }
        fn sum(&self, mut parts: Vec<&mut [f64]>) -> Result<()> {
            for turn in 0..2 {
                if turn == self.rank {
                    let mut sums = self.pair.sums.lock().expect("sums");
                    let own = parts.iter().flat_map(|p| p.iter());
                    if turn == 0 {
                        *sums = own.copied().collect();
                    } else {
                        sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                    }
                }
                self.pair.meet.wait();
            }
            let sums = self.pair.sums.lock().expect("sums").clone();
            self.pair.meet.wait();
            parts.iter_mut().flat_map(|p| p.iter_mut()).zip(sums).for_each(|(to, sum)| *to = sum);
            Ok(())
        }
    }
}
