//! Several fits of one kind of method in the same passes: every block, or batch of a pass that shuffles, is read and gathered once and
//! shown to all of them.
//!
//! To the driver they are one method, whose state is all of theirs; so checkpoints, cancellation and several workers are those of any fit.
//! Each fit ends by itself, when it converged, reached its own limit or diverged, and is then shown no more rows.
//!
//! Cost: reads of one fit, work of all. Memory: the states, sums and memos of all, and no copy of the best pass of each.

use super::checkpoint::CONTINUED;
use super::{Cpu, End, Engine, Fitted, Memo, Method, Options, Pass, Plan, Progress, Shape, State, Stats, Stop};
use super::{diverged, drive, settled, whole};
use crate::comm::{Comm, Solo};
use crate::error::{Error, Result};
use crate::mat::Rows;
use crate::missing::Missing;
use crate::source::Source;
use crate::store::Bag;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Fits several methods of one kind to all rows of a source in the same passes, in this process. See [`fit_many_on`].
///
/// ```
/// use mereo::{Sae, fold, source::Memory, synth};
/// let x = synth::dictionary(1000, 16, 32, 3, 0)?.data;
/// let of = |k| Sae { latents: Some(64), k, batch: 100, max_passes: 3, ..Sae::default() };
/// let fits = fold::fit_many(&[of(2), of(4)], &Memory::from(&x), fold::Options::default())?;
/// let losses: Vec<f64> = fits.iter().flatten().map(|f| f.curve[2].loss).collect();
/// assert!(losses.len() == 2 && losses[1] < losses[0]);
/// # Ok::<(), mereo::Error>(())
/// ```
pub fn fit_many<M: Method>(methods: &[M], source: &dyn Source, options: Options) -> Result<Vec<Result<Fitted<M::Model>>>> {
    fit_many_on(methods, source, &Cpu, &Solo, options)
}

/// The same to the blocks of this worker, on an engine, together with other workers; one result for each method, in their order.
///
/// The sample that first states are made of, and the order of the rows, are those of the first method's seed, and the sample is as large as
/// the largest that any of them wants. A method with that seed that wants as large a one ends in the same bytes as [`fit`](super::fit) of it
/// alone; one with another seed is as good as alone, and not the same. Times are those of all fits together. A cancelled fit has what was
/// learned until then, as alone.
///
/// # Errors
/// As of a fit; none to fit, methods that differ in [`Plan::batch`] or in which entries they know, rows that are held out to say when to stop,
/// and several starts. The result of one method is an error if it diverged: its state is gone, and the others go on.
pub fn fit_many_on<M: Method>(
    methods: &[M],
    source: &dyn Source,
    engine: &dyn Engine<M>,
    comm: &dyn Comm,
    options: Options,
) -> Result<Vec<Result<Fitted<M::Model>>>> {
    let many = Many { methods, engine };
    let shape = whole(source)?;
    many.check(shape)?;
    let End { run, unsaved, .. } = drive(&many, source, None, shape, &Cpu, comm, options)?;
    if run.state.fits.len() != methods.len() {
        return Err(Error::data("the checkpoint's fits are not as many as were begun; the file is damaged"));
    }
    let fits = methods.iter().zip(run.state.fits);
    Ok(fits.map(|(method, fit)| fit.finish(method, &run.curve, unsaved.clone())).collect())
}

/// Several methods, as one.
struct Many<'a, M: Method> {
    methods: &'a [M],
    engine: &'a dyn Engine<M>,
}

/// Where one of the fits stands.
#[derive(Clone)]
struct Fit<S> {
    state: S,
    /// Its passes, without times.
    curve: Vec<Pass>,
    /// It said that nothing is left to learn.
    done: bool,
    /// The loss that was no number, if it diverged.
    lost: Option<f64>,
}

/// Where all of them stand.
#[derive(Clone)]
struct ManyState<S> {
    fits: Vec<Fit<S>>,
    /// Rows of the data, and those of this pass that were seen.
    rows: usize,
    seen: usize,
    /// Whole passes.
    passes: usize,
}

/// Sums of the fits that are not over.
struct ManyStats<T> {
    fits: Vec<Option<T>>,
    /// How many rows they are of.
    rows: [f64; 1],
}

impl<S> Fit<S> {
    /// Why it is over, if it is.
    fn over(&self, method: &impl Method) -> Option<Stop> {
        if self.lost.is_some() { Some(Stop::Diverged) } else { settled(&self.curve, self.done, method.plan()) }
    }

    /// A pass is whole.
    fn passed(&mut self, progress: Progress) {
        let Progress { loss, done, gradient, used } = progress;
        if loss.is_finite() {
            let pass = self.curve.len() + 1;
            self.curve.push(Pass { restart: 0, pass, loss, seconds: 0.0, gradient, held: None, used });
            self.done = done;
        } else {
            self.lost = Some(loss);
        }
    }

    fn last(&self) -> Option<&Pass> {
        self.curve.last().filter(|_| self.lost.is_none())
    }

    /// What came of it; `all` are the passes of all fits, with their times.
    fn finish<M: Method<State = S>>(mut self, method: &M, all: &[Pass], unsaved: Option<String>) -> Result<Fitted<M::Model>> {
        if let Some(loss) = self.lost {
            return Err(diverged(method, loss, self.curve.len() + 1));
        }
        self.curve.iter_mut().zip(all).for_each(|(own, all)| own.seconds = all.seconds);
        let stop = self.over(method).unwrap_or(Stop::Cancelled);
        let starts = self.curve.last().filter(|_| stop != Stop::Cancelled).map(|p| p.loss).into_iter().collect();
        let (model, kept) = (method.model(self.state)?, self.curve.len());
        Ok(Fitted { model, curve: self.curve, kept, starts, stop, unsaved })
    }
}

impl<S: State> State for ManyState<S> {
    fn save(&self, bag: &mut Bag) {
        bag.put("fits", self.fits.len());
        bag.put("progress", (self.rows, self.seen, self.passes));
        for (i, fit) in self.fits.iter().enumerate() {
            let (mut own, mut state) = (Bag::default(), Bag::default());
            own.put("curve", &fit.curve);
            own.put("done", fit.done);
            own.put_f64("lost", fit.lost.as_slice());
            fit.state.save(&mut state);
            own.nest("state", state);
            bag.nest(&i.to_string(), own);
        }
    }

    fn load(bag: &Bag) -> Result<Self> {
        let fit = |i: usize| {
            let own = bag.nested(&i.to_string())?;
            let lost = own.f64("lost")?.first().copied();
            Ok(Fit { state: S::load(&own.nested("state")?)?, curve: own.get("curve")?, done: own.get("done")?, lost })
        };
        let fits = (0..bag.get("fits")?).map(fit).collect::<Result<_>>()?;
        let (rows, seen, passes) = bag.get("progress")?;
        Ok(Self { fits, rows, seen, passes })
    }
}

impl<T: Stats> Stats for ManyStats<T> {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        let mut parts: Vec<_> = self.fits.iter_mut().flatten().flat_map(Stats::parts).collect();
        parts.push(&mut self.rows);
        parts
    }
}

/// The parameters by name: a value where all have the same, else that of each.
impl<M: Method> Serialize for Many<'_, M> {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let each: Vec<Value> = self.methods.iter().map(|m| serde_json::to_value(m).unwrap_or_default()).collect();
        let mut fields = Map::from_iter([("fits".to_string(), each.len().into())]);
        for (name, first) in each.first().and_then(Value::as_object).into_iter().flatten() {
            if each.iter().all(|m| &m[name] == first) {
                fields.insert(name.clone(), first.clone());
            } else {
                // What a fit may be continued with another value of, keeps its name; a list of steps says which fit is which.
                let name_of =
                    |name: &str| if name != "lr" && CONTINUED.contains(&name) { name.into() } else { format!("{name} of each") };
                fields.insert(name_of(name), each.iter().map(|m| m[name].clone()).collect());
            }
        }
        fields.serialize(to)
    }
}

impl<M: Method> Many<'_, M> {
    fn all<T: PartialEq>(&self, of: impl Fn(&M) -> T) -> bool {
        self.methods.windows(2).all(|w| of(&w[0]) == of(&w[1]))
    }

    fn most(&self, of: impl Fn(&M) -> usize) -> usize {
        self.methods.iter().map(of).max().unwrap_or(0)
    }
}

impl<M: Method> Method for Many<'_, M> {
    type State = ManyState<M::State>;
    type Stats = ManyStats<M::Stats>;
    type Model = M::Model;

    fn name(&self) -> &'static str {
        "sweep"
    }

    fn check(&self, shape: Shape) -> Result<()> {
        let Some(first) = self.methods.first() else {
            return Err(Error::parameter("there is nothing to fit; give one method or more"));
        };
        for (i, method) in self.methods.iter().enumerate() {
            method.check(shape).map_err(|e| match e {
                Error::Parameter(said) => Error::parameter(format!("fit {} of {}: {said}", i + 1, self.methods.len())),
                other => other,
            })?;
        }
        let name = first.name();
        if self.methods.iter().any(|m| m.early().is_some()) {
            return Err(Error::parameter(format!(
                "rows are held out to say when {name} stops, which fits in the same passes can't do; set validation and patience to 0, or fit each alone"
            )));
        }
        if self.most(M::restarts) > 1 {
            return Err(Error::parameter(format!(
                "{} starts of {name} follow each other, which fits in the same passes don't; give one start to each, and more fits with other seeds",
                self.most(M::restarts)
            )));
        }
        if !self.all(|m| (m.plan().batch, m.plan().shuffle.is_some())) {
            return Err(Error::parameter(format!(
                "fits of {name} in the same passes learn after the same rows; give all of them one batch and one order, or fit each alone"
            )));
        }
        if !self.all(|m| (m.missing(), m.weighted())) {
            return Err(Error::parameter(format!(
                "fits of {name} in the same passes see the same entries; give all of them the same missing and weights, or fit each alone"
            )));
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let first = self.methods.first().map(M::plan);
        let (batch, shuffle) = first.map_or((None, None), |p| (p.batch, p.shuffle));
        Plan { max: self.most(|m| m.plan().max), tol: 0.0, batch, shuffle }
    }

    fn memo(&self) -> Memo {
        let width = self.methods.iter().map(|m| m.memo().width()).sum();
        if self.methods.iter().any(|m| matches!(m.memo(), Memo::Kept(_))) {
            Memo::Kept(width)
        } else if width > 0 {
            Memo::Cache(width)
        } else {
            Memo::None
        }
    }

    fn seed(&self) -> u64 {
        self.methods.first().map_or(0, M::seed)
    }

    fn sample(&self, shape: Shape) -> usize {
        self.most(|m| m.sample(shape))
    }

    fn least_sample(&self, shape: Shape) -> usize {
        self.most(|m| m.least_sample(shape))
    }

    fn missing(&self) -> Option<Missing> {
        self.methods.first().and_then(M::missing)
    }

    fn weighted(&self) -> Option<bool> {
        self.methods.first().and_then(M::weighted)
    }

    fn accept(&self, x: &Rows, first: u64) -> Result<()> {
        self.methods.iter().try_for_each(|m| m.accept(x, first))
    }

    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<Self::State> {
        let fit = |m: &M| Ok(Fit { state: m.init(sample, shape, restart)?, curve: Vec::new(), done: false, lost: None });
        let fits = self.methods.iter().map(fit).collect::<Result<_>>()?;
        Ok(ManyState { fits, rows: shape.rows, seen: 0, passes: 0 })
    }

    fn zero(&self, state: &Self::State) -> Self::Stats {
        let sums = |(m, fit): (&M, &Fit<M::State>)| fit.over(m).is_none().then(|| m.zero(&fit.state));
        ManyStats { fits: self.methods.iter().zip(&state.fits).map(sums).collect(), rows: [0.0] }
    }

    fn observe(&self, state: &Self::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut Self::Stats) -> Result<()> {
        into.rows[0] += x.rows() as f64;
        // Numbers that are kept for a row, of all fits; none where there was no room for a cache.
        let all = memo.len().checked_div(x.rows()).unwrap_or(0);
        let (mut from, mut own) = (0, Vec::new());
        for ((method, fit), sums) in self.methods.iter().zip(&state.fits).zip(&mut into.fits) {
            let to = from + if all == 0 { 0 } else { method.memo().width() };
            if let Some(sums) = sums {
                own.clear();
                if to > from {
                    own.extend(memo.chunks_exact(all).flat_map(|row| &row[from..to]));
                }
                self.engine.observe(method, &fit.state, x, first, &mut own, sums)?;
                if to > from {
                    let rows = memo.chunks_exact_mut(all).zip(own.chunks_exact(to - from));
                    rows.for_each(|(row, own)| row[from..to].copy_from_slice(own));
                }
            }
            from = to;
        }
        Ok(())
    }

    fn update(&self, state: &mut Self::State, stats: Self::Stats) -> Result<Progress> {
        state.seen += stats.rows[0] as usize;
        let ends = state.seen >= state.rows;
        let mut so_far: Option<Progress> = None;
        for ((method, fit), sums) in self.methods.iter().zip(&mut state.fits).zip(stats.fits) {
            let Some(sums) = sums else { continue };
            let progress = self.engine.update(method, &mut fit.state, sums)?;
            so_far = so_far.filter(|best| best.loss.total_cmp(&progress.loss).is_le()).or(Some(progress));
            if ends {
                fit.passed(progress);
            }
        }
        if !ends {
            return Ok(Progress { done: false, ..so_far.unwrap_or_default() });
        }
        (state.seen, state.passes) = (0, state.passes + 1);
        let over = self.methods.iter().zip(&state.fits).all(|(m, fit)| fit.over(m).is_some());
        let best = state.fits.iter().filter_map(Fit::last).min_by(|a, b| a.loss.total_cmp(&b.loss));
        Ok(Progress {
            // Of the best of them; the largest number of all where none is left, for the run itself goes on.
            loss: best.map_or(f64::MAX, |p| p.loss),
            // At the limit it ends without, and may be continued with another.
            done: over && state.passes < self.plan().max,
            gradient: None,
            used: best.and_then(|p| p.used),
        })
    }

    /// That of the fit with the lowest loss.
    fn model(&self, state: Self::State) -> Result<Self::Model> {
        let loss = |fit: &Fit<M::State>| fit.last().map_or(f64::INFINITY, |p| p.loss);
        let best = self.methods.iter().zip(state.fits).min_by(|a, b| loss(&a.1).total_cmp(&loss(&b.1)));
        best.map_or(Err(Error::Worker), |(m, fit)| m.model(fit.state))
    }
}
