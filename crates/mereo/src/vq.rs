//! Vector quantisation (k-means): every row is one of k codewords.
//!
//! Minimises the **inertia** Σᵢ |xᵢ - c(i)|², where c(i) is the centre nearest to row i; a code is one-hot. With
//! [`VqMetric::Spherical`] rows are scaled to unit length first, centres have unit length, and Σᵢ (1 - cos(xᵢ, c(i))) is
//! minimised; a code is then x·c on the one atom, so that a reconstruction is the projection of the row on its codeword.
//! With [`Vq::weights`] each row counts in these sums as often as its weight says: a weight of 2 is the row twice, one of 0 a row that is not
//! there, but gets a cell.
//!
//! A pass finds the nearest centre of every row by products of rows with tiles of centres, exactly, and leaves the sum, the
//! count and the squares of each cell; the update makes their means the centres (Lloyd 1982). Bounds on distances, kept for
//! each row between passes, skip what can't have changed; without room for them the cells are the same, only slower.
//!
//! The start is greedy k-means++ on a sample of the rows, or rows of it at random, then Lloyd on that sample; or centres that are given.
//! An **empty cell**, of no row that weighs anything, is re-seeded from the heaviest: the cell with the largest inertia is split in two, its
//! mean ± a small step in a random direction.
//!
//! A fit ends when the centres' squared movement in a pass, summed over all, is at most `tol` times the mean variance of a
//! column, of all rows alike (scikit-learn's rule); with `tol` 0 when no centre moves.
//!
//! Cost of a pass: 2ndk operations at most, a fraction of them once the centres calm down. Memory: k·d sums in f64, and
//! 2 + min(64, k/16) numbers a row. Left out: weights of entries, balanced cells. Between passes the sums are changed by the rows that move
//! alone, so weights of which one is more than about 1e8 times another cost digits of the lighter cells.
//!
//! ```
//! use mereo::{Mat, Model, Vq, fold, source::Memory};
//! let x = Mat::new(4, 1, vec![0.0, 1.0, 10.0, 11.0])?;
//! let fitted = fold::fit(&Vq { k: 2, ..Vq::default() }, &Memory::from(&x), fold::Options::default())?;
//! let mut centres = fitted.model.atoms().data.clone();
//! centres.sort_by(f32::total_cmp);
//! assert_eq!(centres, [0.5, 10.5]);
//! # Ok::<(), mereo::Error>(())
//! ```

mod cells;
mod seeds;
mod sums;
mod tiles;

use crate::error::{Error, Result};
use crate::fold::{Memo, Method, Plan, Progress, Shape, State, Stats, stream};
use crate::mat::{Csr, Mat, Rows};
use crate::model::{Codes, Known, Model, check_width};
use crate::rng::rng;
use crate::store::Bag;
use cells::{Cells, Frame, NOWHERE, Seen};
use serde::{Deserialize, Serialize};
use sums::Sums;

/// Passes over the sample before the first over all rows.
const SAMPLE_PASSES: usize = 10;

/// What makes a row near to a centre.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VqMetric {
    /// The distance.
    #[default]
    Euclidean,
    /// The angle: rows count by their direction only. A row of zeros has none and is refused in a fit.
    Spherical,
}

/// Where the centres start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VqInit {
    /// Rows far from each other: greedy k-means++ on the sample, each row with a chance proportional to its weight times its distance² from
    /// the nearest so far, then Lloyd on the sample.
    #[default]
    #[serde(rename = "k-means++")]
    KMeansPlusPlus,
    /// Different rows of the sample at random, with a chance proportional to their weights, then Lloyd on the sample.
    Random,
    /// The centres of [`Vq::given`], as they are.
    Given,
}

/// Parameters of vector quantisation; see the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vq {
    /// Number of codewords (k), at most the number of rows.
    pub k: usize,
    /// Distance or angle.
    pub metric: VqMetric,
    /// Where the centres start.
    pub init: VqInit,
    /// First centres (k×d) for [`VqInit::Given`]. Serialised as a fingerprint, read from rows of numbers.
    #[serde(with = "crate::given")]
    pub given: Option<Mat>,
    /// Rows come with what each of them counts ([`Weights::Rows`](crate::mat::Weights::Rows)).
    pub weights: bool,
    /// Independent starts, of which the best is kept; of given centres there is one.
    pub n_init: usize,
    /// Passes over the rows at most, for each start.
    pub max_passes: usize,
    /// Movement of the centres at which a fit ends, as a share of the mean variance of a column.
    pub tol: f64,
    /// Rows that the start looks at; by itself 64 k, and at least 8192.
    pub sample: Option<usize>,
    /// Seed of the start.
    pub seed: u64,
}

impl Default for Vq {
    fn default() -> Self {
        Self {
            k: 16,
            metric: VqMetric::Euclidean,
            init: VqInit::KMeansPlusPlus,
            given: None,
            weights: false,
            n_init: 1,
            max_passes: 300,
            tol: 1e-4,
            sample: None,
            seed: 0,
        }
    }
}

/// Codewords and how much of the data each stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct VqModel {
    /// The codewords (k×d), by falling count, or weight of their rows; those of [`VqInit::Given`] in the order of the start.
    pub atoms: Mat,
    /// Rows in the cell of each codeword, as of the last pass; whatever they weigh, but without those of weight 0.
    pub counts: Vec<u64>,
    /// Σ|x - c|² after the last pass, for spherical Σ(1 - cos), each row times its weight. It falls further if the codes of the final model
    /// differ from those of the last pass.
    pub inertia: f64,
    /// Distance or angle.
    pub metric: VqMetric,
}

/// Centres of a fit, and all that the next pass needs.
#[derive(Debug, Clone)]
pub struct VqState {
    /// The centres less the shift (k×d).
    centres: Mat,
    /// What is taken off every row, so that rounding is small beside the spread (d, or none for sparse data).
    shift: Vec<f32>,
    /// Which centre of the start each is.
    order: Vec<u32>,
    /// How far each centre moved in the last update, rounded up.
    moved: Vec<f32>,
    /// Sums of the rows whose cell is in the memo.
    kept: Sums,
    /// Number of those rows.
    kept_rows: f64,
    /// Rows of each cell in the last pass, and what they weigh.
    counts: Vec<f64>,
    weights: Vec<f64>,
    inertia: f64,
    /// Mean variance of a column, of rows with weights: that of all rows alike, known from the first pass on.
    variance: f64,
    /// Updates so far.
    passes: u64,
}

/// What a pass leaves behind.
#[derive(Debug, Clone)]
pub struct VqStats {
    /// Rows without memo.
    whole: Sums,
    /// Rows with memo: what they moved between cells.
    change: Sums,
    /// Rows with memo; those of them that had no cell yet.
    rows: [f64; 2],
    /// All rows alike, as if of one cell: in the first pass over rows with weights.
    alike: Sums,
}

impl Stats for VqStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        let Self { whole, change, rows, alike } = self;
        let mut parts: Vec<&mut [f64]> = vec![rows];
        parts.extend([whole, change, alike].into_iter().flat_map(Sums::parts));
        parts
    }
}

impl State for VqState {
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("centres", &self.centres);
        bag.put_f32("shift", &self.shift);
        bag.put_f64("order", &self.order.iter().map(|c| f64::from(*c)).collect::<Vec<_>>());
        bag.put_f32("moved", &self.moved);
        bag.put_f64("sums", &self.kept.rows);
        bag.put_f64("sums_counts", &self.kept.counts);
        bag.put_f64("sums_weights", &self.kept.weights);
        bag.put_f64("sums_squares", &self.kept.squares);
        bag.put("kept_rows", self.kept_rows);
        bag.put_f64("counts", &self.counts);
        bag.put_f64("weights", &self.weights);
        bag.put_f64("inertia", &[self.inertia]);
        bag.put_f64("variance", &[self.variance]);
        bag.put("passes", self.passes);
    }
    fn load(bag: &Bag) -> Result<Self> {
        let kept = Sums {
            rows: bag.f64("sums")?,
            counts: bag.f64("sums_counts")?,
            weights: bag.f64("sums_weights")?,
            squares: bag.f64("sums_squares")?,
        };
        Ok(Self {
            centres: bag.mat("centres")?,
            shift: bag.f32("shift")?,
            order: bag.f64("order")?.iter().map(|c| *c as u32).collect(),
            moved: bag.f32("moved")?,
            kept,
            kept_rows: bag.get("kept_rows")?,
            counts: bag.f64("counts")?,
            weights: bag.f64("weights")?,
            inertia: bag.f64("inertia")?.first().copied().unwrap_or(f64::INFINITY),
            variance: bag.f64("variance")?.first().copied().unwrap_or(0.0),
            passes: bag.get("passes")?,
        })
    }
}

impl Vq {
    fn unit(&self) -> bool {
        self.metric == VqMetric::Spherical
    }
}

impl VqState {
    fn frame(&self, unit: bool) -> Frame<'_> {
        Frame { unit, shift: &self.shift }
    }

    /// A state at given centres (k×d, less the shift).
    fn at(centres: Mat, shift: Vec<f32>) -> Self {
        let (k, d) = (centres.rows, centres.cols);
        Self {
            order: (0..k as u32).collect(),
            moved: vec![0.0; k],
            kept: Sums::zero(k, d),
            kept_rows: 0.0,
            counts: vec![0.0; k],
            weights: vec![0.0; k],
            inertia: f64::INFINITY,
            variance: 0.0,
            passes: 0,
            centres,
            shift,
        }
    }
}

impl Method for Vq {
    type State = VqState;
    type Stats = VqStats;
    type Model = VqModel;

    fn name(&self) -> &'static str {
        "vq"
    }

    fn check(&self, shape: Shape) -> Result<()> {
        let least = |what: &str| Err(Error::parameter(format!("{what} is 0; give at least 1")));
        if self.k == 0 {
            return least("k");
        }
        if self.n_init == 0 {
            return least("n_init");
        }
        if self.max_passes == 0 {
            return least("max_passes");
        }
        if self.k > shape.rows {
            return Err(Error::parameter(format!("k = {} exceeds the {} rows; lower k", self.k, shape.rows)));
        }
        if self.k >= 1 << 24 {
            return Err(Error::parameter(format!("k = {} exceeds the 16777215 cells that can be told apart; lower k", self.k)));
        }
        if self.tol.is_nan() || self.tol < 0.0 {
            return Err(Error::parameter(format!("tol = {} can't be reached; give 0 or more, such as 1e-4", self.tol)));
        }
        match self.sample {
            Some(m) if m < self.k => Err(Error::parameter(format!(
                "a sample of {m} rows can't start k = {} cells; give a sample of k or more, better 64 k",
                self.k
            ))),
            _ => self.check_given(shape.cols),
        }
    }

    fn plan(&self) -> Plan {
        Plan { max: self.max_passes, tol: 0.0, batch: None, shuffle: None }
    }

    fn memo(&self) -> Memo {
        Memo::Cache(cells::memo_width(self.k))
    }

    fn restarts(&self) -> usize {
        if self.init == VqInit::Given { 1 } else { self.n_init }
    }

    fn weighted(&self) -> Option<bool> {
        Some(self.weights)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, shape: Shape) -> usize {
        self.sample.unwrap_or((64 * self.k).max(8192)).min(shape.rows)
    }

    fn accept(&self, x: &Rows, first: u64) -> Result<()> {
        if self.weights && x.row_weights().is_none() {
            return Err(Error::data(
                "vq knows weights of rows, not of entries; give one column with a weight for every row, or use nmf",
            ));
        }
        let limit = largest(x.cols());
        if let Some(v) = x.values().iter().find(|v| v.abs() > limit) {
            return Err(Error::data(format!(
                "the value {v:e} exceeds {limit:e}, and its square the range of f32; rescale the data"
            )));
        }
        if self.unit() {
            let zero = |i: &usize| match x {
                Rows::Dense(x) => x.row(*i).iter().all(|v| *v == 0.0),
                Rows::Sparse(x) => x.row(*i).1.iter().all(|v| *v == 0.0),
            };
            if let Some(i) = (0..x.rows()).find(zero) {
                return Err(Error::data(format!(
                    "row {} (counted from 0) is all zeros and has no direction; drop it, or use the euclidean metric",
                    first + i as u64
                )));
            }
        }
        Ok(())
    }

    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<VqState> {
        let shift = match sample {
            Rows::Dense(_) => mean(Frame { unit: self.unit(), shift: &[] }, sample),
            Rows::Sparse(_) => Vec::new(),
        };
        let frame = Frame { unit: self.unit(), shift: &shift };
        let mut random = rng(self.seed, stream::INIT, restart as u64);
        let centres = match (self.init, &self.given) {
            (VqInit::KMeansPlusPlus, _) => seeds::seeds(frame, sample, self.k, &mut random),
            (VqInit::Random, _) => seeds::rows(frame, sample, self.k, &mut random),
            (VqInit::Given, Some(given)) => {
                let mut data = Vec::with_capacity(given.data.len());
                (0..given.rows).for_each(|c| frame.push(given.row(c), frame.scale(given.row(c)), &mut data));
                Mat { data, ..*given }
            }
            (VqInit::Given, None) => return Err(self.needs_given(shape.cols)),
        };
        let mut state = VqState::at(centres, shift);
        let weighs = sample.row_weights().is_none() || seeds::weights(sample).is_some();
        if sample.rows() < shape.rows && self.init != VqInit::Given && weighs {
            let mut memo = vec![0.0; sample.rows() * cells::memo_width(self.k)];
            for _ in 0..SAMPLE_PASSES.min(self.max_passes) {
                let mut sums = self.zero(&state);
                self.observe(&state, sample, 0, &mut memo, &mut sums)?;
                if self.update(&mut state, sums)?.done {
                    break;
                }
            }
        }
        let order = seeds::order(&state.centres, cells::group_size(self.k));
        let mut centres = Mat::zeros(self.k, shape.cols);
        for (to, &from) in order.iter().enumerate() {
            centres.row_mut(to).copy_from_slice(state.centres.row(from));
        }
        let order = order.iter().map(|&c| c as u32).collect();
        Ok(VqState { order, ..VqState::at(centres, state.shift) })
    }

    fn zero(&self, state: &VqState) -> VqStats {
        let sums = Sums::zero(state.centres.rows, state.centres.cols);
        let alike = if self.weights && state.passes == 0 { Sums::zero(1, state.centres.cols) } else { Sums::default() };
        VqStats { whole: sums.clone(), change: sums, rows: [0.0; 2], alike }
    }

    fn observe(&self, state: &VqState, x: &Rows, _first: u64, memo: &mut [f32], into: &mut VqStats) -> Result<()> {
        let frame = state.frame(self.unit());
        let x = frame.fit(x);
        let weights = if self.weights { x.row_weights() } else { None };
        let seen = Cells::new(frame, &state.centres, &state.moved).settle(&x, memo);
        if memo.is_empty() {
            into.whole.take(frame, &x, weights, &seen);
        } else {
            into.rows[0] += seen.len() as f64;
            into.rows[1] += seen.iter().filter(|s| s.from == NOWHERE).count() as f64;
            into.change.take(frame, &x, weights, &seen);
        }
        if !into.alike.counts.is_empty() {
            // In the first pass every row is read, so all squares are known.
            let one: Vec<Seen> = seen.iter().map(|s| Seen { from: NOWHERE, to: 0, ..*s }).collect();
            into.alike.take(frame, &x, None, &one);
        }
        Ok(())
    }

    fn update(&self, state: &mut VqState, stats: VqStats) -> Result<Progress> {
        let VqStats { whole, change, rows: [rows, fresh], alike } = stats;
        if rows == fresh {
            state.kept = change;
        } else if rows - fresh == state.kept_rows {
            state.kept.add(&change);
        } else {
            return Err(Error::data("some workers lost the memo of their rows and some did not; start anew without resume"));
        }
        state.kept_rows = rows;
        let mut sums = whole;
        sums.add(&state.kept);
        // How many rows there are, by what they weigh.
        let n: f64 = sums.weights.iter().sum();
        if n <= 0.0 {
            return Err(Error::data("the weights of all rows are 0, so there is nothing to learn from; give some of them more"));
        }
        let (k, d) = (state.centres.rows, state.centres.cols);
        if let Some(&all) = alike.counts.first() {
            state.variance = variance(&alike, all, d);
        }

        let mut centres = state.centres.clone();
        let mut inertia = vec![0f64; k];
        for c in (0..k).filter(|c| sums.filled(*c)) {
            let sum = &sums.rows[c * d..(c + 1) * d];
            let centre = self.centre(sum, sums.weights[c], &state.shift, centres.row(c));
            inertia[c] = excess(sum, sums.weights[c], sums.squares[c], &centre);
            centres.row_mut(c).iter_mut().zip(&centre).for_each(|(to, v)| *to = *v as f32);
        }
        state.inertia = inertia.iter().sum::<f64>() / if self.unit() { 2.0 } else { 1.0 };
        let split = self.split(state, &sums, &mut inertia, &mut centres);

        let mut total = 0.0;
        for c in 0..k {
            let moved = tiles::distance(centres.row(c), state.centres.row(c));
            total += moved;
            state.moved[c] = if moved > 0.0 { (moved.sqrt() as f32 * (1.0 + 1e-6)).next_up() } else { 0.0 };
        }
        state.centres = centres;
        let variance = if self.weights { state.variance } else { variance(&sums, n, d) };
        state.counts.clone_from(&sums.counts);
        state.weights.clone_from(&sums.weights);
        state.passes += 1;
        let per_entry = if self.unit() { n } else { n * d as f64 };
        Ok(Progress { loss: state.inertia / per_entry, done: !split && total <= self.tol * variance, ..Progress::default() })
    }

    fn model(&self, state: VqState) -> Result<VqModel> {
        let (k, d) = (state.centres.rows, state.centres.cols);
        let mut order: Vec<usize> = (0..k).collect();
        if self.init == VqInit::Given {
            order.sort_by_key(|c| state.order[*c]);
        } else {
            order.sort_by(|a, b| state.weights[*b].total_cmp(&state.weights[*a]).then(a.cmp(b)));
        }
        let mut atoms = Mat::zeros(k, d);
        for (to, &c) in order.iter().enumerate() {
            let atom = atoms.row_mut(to);
            atom.copy_from_slice(state.centres.row(c));
            atom.iter_mut().zip(&state.shift).for_each(|(a, s)| *a += s);
        }
        let counts = order.iter().map(|c| state.counts[*c] as u64).collect();
        Ok(VqModel { atoms, counts, inertia: state.inertia, metric: self.metric })
    }
}

impl Vq {
    /// Refuses given centres that can't start a fit of d columns.
    fn check_given(&self, d: usize) -> Result<()> {
        let k = self.k;
        let given = match (self.init, &self.given) {
            (VqInit::Given, Some(given)) => given,
            (VqInit::Given, None) => return Err(self.needs_given(d)),
            (_, None) => return Ok(()),
            (_, Some(_)) => {
                return Err(Error::parameter("`given` are the centres of init = given alone; set init to given, or drop them"));
            }
        };
        if (given.rows, given.cols) != (k, d) {
            return Err(Error::parameter(format!(
                "the given start has {} centres of {} columns; give {k} centres (k) of {d} columns",
                given.rows, given.cols
            )));
        }
        let limit = largest(d);
        if let Some(at) = given.data.iter().position(|v| v.is_nan() || v.abs() > limit) {
            return Err(Error::parameter(format!(
                "centre {}, column {} of the given start is {} (both counted from 0); give numbers of at most {limit:e}",
                at / d,
                at % d,
                given.data[at]
            )));
        }
        match (0..k).find(|c| given.row(*c).iter().all(|v| *v == 0.0)) {
            Some(c) if self.unit() => Err(Error::parameter(format!(
                "centre {c} of the given start (counted from 0) is all zeros and has no direction; give another, or use the euclidean metric"
            ))),
            _ => Ok(()),
        }
    }

    fn needs_given(&self, d: usize) -> Error {
        Error::parameter(format!("init = given needs `given`, the first {} centres of {d} columns", self.k))
    }

    /// The best centre of a cell with this sum of rows (less the shift, as is the answer) and their weight; the old one where all
    /// directions cancel.
    fn centre(&self, sum: &[f64], weight: f64, shift: &[f32], old: &[f32]) -> Vec<f64> {
        if !self.unit() {
            return sum.iter().map(|s| s / weight).collect();
        }
        let shift = |j: usize| shift.get(j).map_or(0.0, |s| f64::from(*s));
        let whole: Vec<f64> = sum.iter().enumerate().map(|(j, s)| s + weight * shift(j)).collect();
        let norm = whole.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= 1e-12 * weight {
            return old.iter().map(|v| f64::from(*v)).collect();
        }
        whole.iter().enumerate().map(|(j, v)| v / norm - shift(j)).collect()
    }

    /// Re-seeds empty cells, each from the cell that then has the largest inertia; whether there was one to re-seed.
    fn split(&self, state: &VqState, sums: &Sums, inertia: &mut [f64], centres: &mut Mat) -> bool {
        let d = centres.cols;
        let mut split = false;
        for empty in (0..inertia.len()).filter(|c| !sums.filled(*c)) {
            let heaviest = (0..inertia.len()).fold(0, |h, c| if inertia[c] > inertia[h] { c } else { h });
            // Below this the rows of the cell are one and the same, but for rounding.
            if !sums.filled(heaviest) || inertia[heaviest] <= 1e-10 * sums.squares[heaviest] {
                break;
            }
            let radius = (inertia[heaviest] / sums.weights[heaviest]).sqrt();
            let mut random = rng(self.seed, stream::INIT, u64::MAX - (state.passes << 24) - empty as u64);
            for j in 0..d {
                // About half the spread in a direction of an even cloud: both halves get rows.
                let step = 0.5 * radius * random.normal() / d as f64;
                let at = f64::from(centres.row(heaviest)[j]);
                centres.row_mut(heaviest)[j] = (at + step) as f32;
                centres.row_mut(empty)[j] = (at - step) as f32;
            }
            inertia[heaviest] /= 2.0;
            inertia[empty] = 0.0;
            split = true;
        }
        split
    }
}

/// The largest number of d that rows may hold: squares of distances have to stay within f32.
fn largest(d: usize) -> f32 {
    1e18 / (d as f32).sqrt()
}

/// Σ|x - c|² of a cell, from its sums, for any centre.
fn excess(sum: &[f64], weight: f64, squares: f64, centre: &[f64]) -> f64 {
    let product: f64 = sum.iter().zip(centre).map(|(s, c)| s * c).sum();
    let square: f64 = centre.iter().map(|c| c * c).sum();
    (squares - 2.0 * product + weight * square).max(0.0)
}

/// Mean variance of a column.
fn variance(sums: &Sums, n: f64, d: usize) -> f64 {
    let mut mean = vec![0f64; d];
    for sum in sums.rows.chunks_exact(d) {
        mean.iter_mut().zip(sum).for_each(|(m, s)| *m += s / n);
    }
    let square: f64 = mean.iter().map(|m| m * m).sum();
    ((sums.squares.iter().sum::<f64>() / n - square) / d as f64).max(0.0)
}

/// Mean of the rows (d), as seen, each as often as its weight says.
fn mean(frame: Frame, x: &Rows) -> Vec<f32> {
    let mut sum = vec![0f64; x.cols()];
    let weights = seeds::weights(x);
    let mut n = 0.0;
    let mut row = Vec::new();
    if let Rows::Dense(x) = x {
        for i in 0..x.rows() {
            let weight = weights.map_or(1.0, |w| f64::from(w[i]));
            row.clear();
            frame.push(x.row(i), frame.scale(x.row(i)), &mut row);
            sum.iter_mut().zip(&row).for_each(|(s, &v)| *s += weight * f64::from(v));
            n += weight;
        }
    }
    sum.iter().map(|s| (s / n) as f32).collect()
}

impl VqModel {
    /// A model that [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let counts = bag.f64("counts")?.iter().map(|c| *c as u64).collect();
        let inertia = bag.f64("inertia")?.first().copied().unwrap_or(f64::INFINITY);
        Ok(Self { atoms: bag.mat("atoms")?, counts, inertia, metric: bag.get("metric")? })
    }

    /// The codeword of each row, nearest by the metric, the first of equal ones. An error if `x` has other than d columns.
    pub fn assign(&self, x: &Rows) -> Result<Vec<u32>> {
        check_width(x, self.atoms.cols)?;
        let unit = self.metric == VqMetric::Spherical;
        let (mut centres, mut shift) = (self.atoms.clone(), Vec::new());
        if matches!(x, Rows::Dense(_)) {
            shift = mean(Frame { unit: false, shift: &[] }, &self.atoms.view());
            for row in centres.data.chunks_exact_mut(centres.cols) {
                row.iter_mut().zip(&shift).for_each(|(c, s)| *c -= s);
            }
        }
        let seen = Cells::new(Frame { unit, shift: &shift }, &centres, &[]).settle(x, &mut []);
        Ok(seen.iter().map(|s| s.to).collect())
    }
}

impl Model for VqModel {
    fn method(&self) -> &'static str {
        "vq"
    }
    fn atoms(&self) -> &Mat {
        &self.atoms
    }
    fn encode(&self, x: &Rows) -> Result<Codes> {
        let cells = self.assign(x)?;
        let value = |(i, &c): (usize, &u32)| match (self.metric, x) {
            (VqMetric::Euclidean, _) => 1.0,
            (VqMetric::Spherical, Rows::Dense(x)) => crate::linalg::dot(x.row(i), self.atoms.row(c as usize)) as f32,
            (VqMetric::Spherical, Rows::Sparse(x)) => {
                let (columns, values) = x.row(i);
                let atom = self.atoms.row(c as usize);
                columns.iter().zip(values).map(|(&j, &v)| f64::from(v) * f64::from(atom[j as usize])).sum::<f64>() as f32
            }
        };
        let values = cells.iter().enumerate().map(value).collect();
        let indptr = (0..=cells.len() as u64).collect();
        Ok(Codes::Sparse(Csr { rows: cells.len(), cols: self.atoms.rows, indptr, indices: cells, values }))
    }
    fn decode(&self, z: &Codes) -> Result<Mat> {
        z.times(&self.atoms)
    }
    fn known(&self) -> Option<Known> {
        let all = self.counts.iter().sum::<u64>().max(1) as f64;
        Some(Known::Rows(self.counts.iter().map(|c| *c as f64 / all).collect()))
    }
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("atoms", &self.atoms);
        bag.put_f64("counts", &self.counts.iter().map(|c| *c as f64).collect::<Vec<_>>());
        bag.put_f64("inertia", &[self.inertia]);
        bag.put("metric", self.metric);
    }
}

#[cfg(test)]
mod tests;
