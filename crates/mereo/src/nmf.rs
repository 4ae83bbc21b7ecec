//! Non-negative matrix factorisation: rows are sums of parts.
//!
//! X (n×d) ≈ W (n×k) · H (k×d), nothing negative anywhere. The atoms are the rows of H, the codes the rows of W. What can
//! only add can't cancel, so atoms tend to be parts: mouths and noses where principal components are ghostly faces
//! (Lee & Seung 1999, where V = Xᵀ, W = our Hᵀ and H = our Wᵀ).
//!
//! Objective, and the reported loss, for each entry of X:
//!
//! - [`NmfSolver::Hals`] and [`NmfSolver::Mu`]: the mean of (x − wh)², of the pass's weights and its new atoms. It is known to
//!   about 1e-7 of the mean of x², to 1e-6 where many rows are alike.
//! - [`NmfSolver::LeeSeung`] and [`NmfSolver::MuKl`]: the mean of x·ln(x/wh) − x + wh, the generalised Kullback–Leibler
//!   divergence, of the pass's weights and the atoms they were found for. The atoms of the next pass are better.
//!
//! A pass is one iteration. [`Method::observe`] improves the weights of its rows for fixed H and leaves sums behind;
//! [`Method::update`] improves H on those alone: with Σwᵀw and Σxᵀw that is coordinate descent (HALS) or Frobenius
//! multiplicative updates to the letter, and the loss falls out of the same sums. The 1999 rules begin with the atoms, so in
//! their first pass the weights stay as they started: after p passes the atoms have had p iterations, and the loss is
//! that of p − 1 whole ones.
//!
//! Zeros are absorbing for products: multiplicative solvers started from plain [`NmfInit::Nndsvd`], which is full of zeros, end far
//! from where they end otherwise (relative error .28 instead of .21 on the faces of the 1999 paper). Use
//! [`NmfInit::Nndsvda`] or [`NmfInit::Random`] with them.
//!
//! Cost of a pass: 4ndk flops (divergence: 8ndk; sparse rows: for each stored entry in place of each nd) and a few k² for every row
//! and column. Memory: the sums (d×k, f64), twice the atoms, and k numbers a row between passes. HALS can do without those:
//! it then solves every row to a tolerance in every pass, which costs more and ends at another, equally good answer.
//!
//! ```
//! use mereo::{Model, Nmf, fold, source::Memory, Mat};
//! # fn main() -> mereo::Result<()> {
//! let x = Mat::new(4, 3, vec![1.0, 2.0, 0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 3.0, 1.0, 2.0, 3.0])?;
//! let fitted = fold::fit(&Nmf { k: 2, ..Nmf::default() }, &Memory::from(&x), fold::Options::default())?;
//! let codes = fitted.model.encode(&x.view())?;
//! let back = fitted.model.decode(&codes)?;
//! assert!(x.data.iter().zip(&back.data).all(|(a, b)| (a - b).abs() < 0.01));
//! # Ok(()) }
//! ```

use crate::error::{Error, Result};
use crate::fold::{Memo, Method, Plan, Progress, Shape, State, Stats};
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::model::{self, Codes, Model};
use crate::source;
use crate::store::Bag;
use hals::{Effort, Quadratic};
use product::Packed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod encode;
mod given;
mod hals;
mod init;
mod multiplicative;
mod product;

/// How W and H are improved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfSolver {
    /// Squared error, by coordinate descent (accelerated HALS, Gillis & Glineur 2012): the fastest by far.
    #[default]
    Hals,
    /// Squared error, by multiplicative updates (Lee & Seung 2001).
    Mu,
    /// Kullback–Leibler divergence, by multiplicative updates (Lee & Seung 2001).
    MuKl,
    /// Kullback–Leibler divergence with atoms that sum to one, as in Lee & Seung 1999.
    LeeSeung,
}

impl NmfSolver {
    /// What is minimised.
    pub fn loss(self) -> NmfLoss {
        match self {
            Self::Hals | Self::Mu => NmfLoss::Squared,
            Self::MuKl | Self::LeeSeung => NmfLoss::KullbackLeibler,
        }
    }
}

/// What a fit minimises, and an encoding of unseen rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfLoss {
    /// Σ (x − wh)²
    Squared,
    /// Σ x·ln(x/wh) − x + wh
    KullbackLeibler,
}

/// Where a fit starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfInit {
    /// |N(0, 1)|·√(mean/k) for both factors, as in scikit-learn.
    #[default]
    Random,
    /// The non-negative parts of the leading singular vectors (Boutsidis & Gallopoulos 2008), of at most 16,384 rows or 4k.
    /// Needs k ≤ min(n, d).
    Nndsvd,
    /// The same, with the mean of the data in place of zeros. The data is multiplied by a power of 4 first, so that its mean is about
    /// 1 and the start does not depend on its units, as scikit-learn's does.
    Nndsvda,
    /// The same, with |N(0, 1)|·mean/100 in place of zeros.
    Nndsvdar,
    /// The atoms of [`Nmf::given`]. Weights start at √(mean/k), or for HALS at their first sweep.
    Given,
}

/// Parameters of an NMF.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nmf {
    /// Number of atoms (k): at most max(n, d).
    pub k: usize,
    /// How W and H are improved.
    pub solver: NmfSolver,
    /// Where the fit starts.
    pub init: NmfInit,
    /// First atoms (k×d) for [`NmfInit::Given`]. Serialised as a fingerprint, read from rows of numbers.
    #[serde(with = "given")]
    pub given: Option<Mat>,
    /// Coordinate sweeps for each pair of products; [`NmfSolver::Hals`] only.
    pub sweeps: usize,
    /// Passes over the data at most.
    pub max_passes: usize,
    /// Ends when a pass changes the loss by no more than this share of it; 0 runs to `max_passes`.
    pub tol: f64,
    /// Encoding: a row is done when no slope is further than this share from where it should be: of the largest slope at
    /// no weights (squared error), or of the atom's sum (divergence). What f32 can't resolve, about 1e-6, is not asked for.
    pub encode_tol: f64,
    /// Encoding: coordinate sweeps at most for each row.
    pub encode_max: usize,
    /// Seed of the random starts.
    pub seed: u64,
}

impl Default for Nmf {
    fn default() -> Self {
        Self {
            k: 16,
            solver: NmfSolver::Hals,
            init: NmfInit::Random,
            given: None,
            sweeps: 4,
            max_passes: 200,
            tol: 1e-4,
            encode_tol: 1e-5,
            encode_max: 1000,
            seed: 0,
        }
    }
}

/// What a fit of an NMF has learned so far.
#[derive(Debug, Clone)]
pub struct NmfState {
    /// Hᵀ (d×k), in units in which the data has a mean of about 1: a column's share in every atom lies together.
    h: Mat,
    /// H·Hᵀ (k×k).
    gram: Vec<f32>,
    /// Σ_j H (k).
    sums: Vec<f64>,
    /// Passes so far.
    pass: u64,
    /// Of the last pass: ‖w‖ of every atom (squared error) or Σw (divergence).
    weight: Vec<f64>,
    /// Data times this (a power of 4) has a mean of about 1.
    scale: f32,
    /// Mean of the scaled data, as the sample has it.
    mean: f64,
    /// Of the scaled data, from the first pass: Σx², Σx, Σ x·ln x − x.
    totals: [f64; 3],
    /// F of Lee & Seung 1999, in units of the data; divergence only.
    likelihood: Option<f64>,
    /// Where NNDSVD takes a row's first weights from (d×k); empty for other starts, and after the first pass.
    project: Mat,
}

/// The sums of one pass.
#[derive(Debug, Clone)]
pub struct NmfStats {
    /// Squared error: Σ xᵀw of scaled data. Divergence: Σ qᵀw with q = x/wh. (d×k)
    xw: Vec<f64>,
    /// Squared error: Σ wᵀw (k×k). Divergence: Σ w (k).
    ww: Vec<f64>,
    /// In the first pass Σx², Σx, Σ x·ln x − x of scaled data; then Σ wh − x·ln(wh), and the number of entries.
    sums: [f64; 5],
}

impl Stats for NmfStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        vec![&mut self.xw, &mut self.ww, &mut self.sums]
    }
}

/// Least value of an entry of H during HALS, in units in which the data has a mean of about 1: an atom that rounds to zeros
/// would stay there (Gillis & Glineur 2012). The model has zeros instead.
const FLOOR: f32 = 1e-16;
/// Rows whose two products are formed one after the other: a whole number of runs of the sums over rows.
const PIECE: usize = 3 * product::DEPTH;
/// Larger numbers could overflow a sum of f32 products.
const LARGEST: f32 = 1e30;
/// Without a memo, rows are solved anew in every pass, so well that the next pass need not know of this one.
const ALONE: Effort = Effort { sweeps: 500, tol: 1e-4 };

impl Method for Nmf {
    type State = NmfState;
    type Stats = NmfStats;
    type Model = NmfModel;

    fn name(&self) -> &'static str {
        "nmf"
    }

    fn check(&self, shape: Shape) -> Result<()> {
        let Shape { rows: n, cols: d } = shape;
        let k = self.k;
        let limit = n.max(d);
        if k == 0 {
            return Err(Error::parameter("k = 0 atoms explain nothing; give k of at least 1"));
        }
        if k > limit {
            return Err(Error::parameter(format!(
                "k = {k} exceeds both the {n} rows and the {d} columns; lower k to at most {limit}"
            )));
        }
        for (name, count) in [("sweeps", self.sweeps), ("max_passes", self.max_passes), ("encode_max", self.encode_max)] {
            if count == 0 {
                return Err(Error::parameter(format!("{name} = 0 does nothing; give at least 1")));
            }
        }
        for (name, tol) in [("tol", self.tol), ("encode_tol", self.encode_tol)] {
            if !(0.0..1.0).contains(&tol) {
                return Err(Error::parameter(format!("{name} = {tol} must be at least 0 and below 1")));
            }
        }
        init::check(self, shape)
    }

    fn plan(&self) -> Plan {
        Plan { max: self.max_passes, tol: self.tol }
    }

    fn memo(&self) -> Memo {
        match self.solver {
            NmfSolver::Hals => Memo::Cache(self.k),
            NmfSolver::Mu | NmfSolver::MuKl | NmfSolver::LeeSeung => Memo::Kept(self.k),
        }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, _: Shape) -> usize {
        init::sample(self)
    }

    fn accept(&self, x: &Rows, first: u64) -> Result<()> {
        let why = "NMF explains by adding only; shift or rescale the data to be non-negative, or use pca";
        source::check_nonnegative(x, first, why)?;
        let largest = x.values().par_chunks(1 << 16).map(|c| c.iter().fold(0f32, |m, &v| m.max(v))).reduce(|| 0.0, f32::max);
        if largest > LARGEST {
            return Err(Error::data(format!(
                "the data holds {largest:e}, and sums of products of numbers beyond {LARGEST:e} overflow; divide the data by a constant"
            )));
        }
        Ok(())
    }

    fn init(&self, sample: &Rows, _: Shape, restart: usize) -> Result<NmfState> {
        init::start(self, sample, restart)
    }

    fn zero(&self, state: &NmfState) -> NmfStats {
        let (d, k) = (state.h.rows, state.h.cols);
        let pairs = if self.solver.loss() == NmfLoss::Squared { k * k } else { k };
        NmfStats { xw: vec![0.0; d * k], ww: vec![0.0; pairs], sums: [0.0; 5] }
    }

    fn observe(&self, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) -> Result<()> {
        let k = self.k;
        let fresh = state.pass == 0;
        let scale = f64::from(state.scale);
        if fresh {
            let totals = totals(x, scale, self.solver.loss() == NmfLoss::KullbackLeibler);
            into.sums.iter_mut().zip(totals).for_each(|(s, t)| *s += t);
        }
        into.sums[4] += (x.rows() * x.cols()) as f64;

        let kept = !memo.is_empty();
        let mut own = if kept { Vec::new() } else { vec![0f32; x.rows() * k] };
        let w = if kept { memo } else { &mut own };
        if kept && fresh {
            init::weights(self, state, x, first, w);
        }
        if self.solver.loss() == NmfLoss::KullbackLeibler {
            let factors = multiplicative::Factors::new(state, x);
            if !(fresh && self.solver == NmfSolver::LeeSeung) {
                factors.weights(x, w);
            }
            into.sums[3] += factors.add_atoms(&mut into.xw, x, w);
            (0..k).for_each(|a| into.ww[a] += column_sum(w, k, a));
            return Ok(());
        }

        let h = Packed::new(&state.h.data, k);
        let problem = Quadratic::new(k, &state.gram, 0.0);
        let gram = Packed::new(&state.gram, k);
        let effort = if kept { Effort { sweeps: self.sweeps, tol: 0.0 } } else { ALONE };
        // Both products of a piece are formed while it is near.
        for (i, w) in w.chunks_mut(PIECE * k).enumerate() {
            let n = w.len() / k;
            let x = x.slice(i * PIECE, i * PIECE + n);
            let take = take(n);
            w.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
                let mut b = vec![0f32; w.len()];
                product::rows_times(&mut b, &x.slice(i * take, i * take + w.len() / k), &h);
                b.iter_mut().for_each(|b| *b *= state.scale);
                match self.solver {
                    NmfSolver::Hals => problem.refine(w, &b, effort),
                    _ => multiplicative::weights_squared(w, &b, &gram),
                }
            });
            product::add_transposed(&mut into.xw, &x, w, k, scale);
            product::add_transposed(&mut into.ww, &Rows::dense(k, w), w, k, 1.0);
        }
        Ok(())
    }

    fn update(&self, state: &mut NmfState, s: NmfStats) -> Result<Progress> {
        let k = self.k;
        if state.pass == 0 {
            state.totals = [s.sums[0], s.sums[1], s.sums[2]];
        }
        state.pass += 1;
        state.project = Mat::default();
        let (scale, entries) = (f64::from(state.scale), s.sums[4]);
        if self.solver.loss() == NmfLoss::KullbackLeibler {
            let [_, total, constant] = state.totals;
            let loss = (constant + s.sums[3]).max(0.0);
            // x·ln(wh) of the data itself is less by ln(scale), and all of it by the scale.
            state.likelihood = Some(-(s.sums[3] + total * scale.ln()) / scale);
            state.weight.clone_from(&s.ww);
            state.h.data.par_chunks_mut(k).zip(s.xw.par_chunks(k)).for_each(|(h, xw)| {
                for ((h, &above), &below) in h.iter_mut().zip(xw).zip(&s.ww) {
                    let below = if self.solver == NmfSolver::LeeSeung { 1.0 } else { below };
                    // An atom that no row uses has nothing to learn from.
                    if below > 0.0 {
                        let new = f64::from(*h) * above / below;
                        *h = if new < f64::from(multiplicative::TINY) { 0.0 } else { new as f32 };
                    }
                }
            });
            if self.solver == NmfSolver::LeeSeung {
                state.unit_sums();
            }
            state.derive();
            return Ok(Progress { loss: loss / entries / scale, done: false });
        }

        if self.solver == NmfSolver::Hals {
            let ww = as_f32(&s.ww);
            let problem = Quadratic::new(k, &ww, FLOOR);
            let effort = Effort { sweeps: self.sweeps, tol: 0.0 };
            let take = take(state.h.rows);
            let pieces = state.h.data.par_chunks_mut(take * k).zip(s.xw.par_chunks(take * k));
            pieces.for_each(|(h, b)| problem.refine(h, &as_f32(b), effort));
        } else {
            multiplicative::atoms_squared(&mut state.h.data, &s.xw, &s.ww, k);
        }
        let gram = state.derive();
        let cross: f64 = state.h.data.iter().zip(&s.xw).map(|(&h, &b)| f64::from(h) * b).sum();
        let square: f64 = gram.iter().zip(&s.ww).map(|(g, w)| g * w).sum();
        state.weight = (0..k).map(|a| s.ww[a * k + a].sqrt()).collect();
        let loss = (state.totals[0] - 2.0 * cross + square).max(0.0);
        Ok(Progress { loss: loss / entries / (scale * scale), done: false })
    }

    fn model(&self, state: NmfState) -> Result<NmfModel> {
        let loss = self.solver.loss();
        Ok(NmfModel::new(state.atoms(loss), loss, state.likelihood, self.encode_tol, self.encode_max))
    }
}

/// How many of n rows a thread takes at once: whole tiles of the sweeps and of the products where there are many, a share for
/// every thread where there are few. What a row becomes does not depend on it.
fn take(n: usize) -> usize {
    n.div_ceil(rayon::current_num_threads()).next_multiple_of(6).clamp(6, 192)
}

fn as_f32(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&v| v as f32).collect()
}

/// Σx², Σx, and if asked for Σ x·ln x − x, of the data times `scale`.
fn totals(x: &Rows, scale: f64, logs: bool) -> [f64; 3] {
    let parts = x.values().par_chunks(1 << 14).map(|c| {
        c.iter()
            .map(|&v| f64::from(v) * scale)
            .filter(|v| *v > 0.0)
            .fold([0.0; 3], |[squares, sum, log], v| [squares + v * v, sum + v, if logs { log + v * v.ln() - v } else { 0.0 }])
    });
    parts.collect::<Vec<_>>().iter().fold([0.0; 3], |t, p| [t[0] + p[0], t[1] + p[1], t[2] + p[2]])
}

/// Sum of a column of a matrix with k columns.
fn column_sum(w: &[f32], k: usize, a: usize) -> f64 {
    w.iter().skip(a).step_by(k).map(|&w| f64::from(w)).sum()
}

/// hᵀh (k×k) of a matrix with k columns.
fn gram(h: &Mat) -> Vec<f64> {
    let mut gram = vec![0.0; h.cols * h.cols];
    product::add_transposed(&mut gram, &h.view(), &h.data, h.cols, 1.0);
    gram
}

impl NmfState {
    /// Brings what follows from H up to date; returns H·Hᵀ (k×k) in full precision.
    fn derive(&mut self) -> Vec<f64> {
        let gram = gram(&self.h);
        self.gram = as_f32(&gram);
        self.sums = (0..self.h.cols).map(|a| column_sum(&self.h.data, self.h.cols, a)).collect();
        gram
    }

    /// Scales every atom to a sum of one; an atom of zeros stays.
    fn unit_sums(&mut self) {
        let k = self.h.cols;
        let over: Vec<f64> =
            (0..k).map(|a| column_sum(&self.h.data, k, a)).map(|s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
        self.h.data.par_chunks_mut(k).for_each(|h| {
            h.iter_mut().zip(&over).for_each(|(h, o)| *h = (f64::from(*h) * o) as f32);
        });
    }

    /// The atoms (k×d), of unit norm (squared error) or unit sum (divergence), by falling share in the data.
    fn atoms(&self, loss: NmfLoss) -> Mat {
        let mut h = self.h.transpose();
        h.data.iter_mut().for_each(|v| *v = if *v <= FLOOR { 0.0 } else { *v });
        let size = |row: &[f32]| match loss {
            NmfLoss::Squared => linalg::dot(row, row).sqrt(),
            NmfLoss::KullbackLeibler => row.iter().map(|&v| f64::from(v)).sum(),
        };
        let sizes: Vec<f64> = (0..h.rows).map(|a| size(h.row(a))).collect();
        let share = |a: usize| sizes[a] * self.weight[a];
        let mut order: Vec<usize> = (0..h.rows).collect();
        order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        let mut atoms = Mat::zeros(h.rows, h.cols);
        for (to, &from) in order.iter().enumerate().filter(|(_, from)| sizes[**from] > 0.0) {
            let unit = 1.0 / sizes[from];
            atoms.row_mut(to).iter_mut().zip(h.row(from)).for_each(|(t, &v)| *t = (f64::from(v) * unit) as f32);
        }
        atoms
    }
}

impl State for NmfState {
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("h", &self.h);
        bag.put_mat("project", &self.project);
        bag.put_f64("weight", &self.weight);
        bag.put_f64("units", &[f64::from(self.scale), self.mean]);
        bag.put_f64("totals", &self.totals);
        bag.put("pass", self.pass);
        bag.put_f64("likelihood", self.likelihood.as_slice());
    }

    fn load(bag: &Bag) -> Result<Self> {
        let damaged = |what: &str| Error::data(format!("the checkpoint's `{what}` has the wrong size; it is damaged"));
        let units = bag.f64("units")?;
        let [scale, mean] = units[..] else { return Err(damaged("units")) };
        let totals = bag.f64("totals")?.try_into().map_err(|_| damaged("totals"))?;
        let (h, weight) = (bag.mat("h")?, bag.f64("weight")?);
        if weight.len() != h.cols {
            return Err(damaged("weight"));
        }
        let mut state = Self {
            h,
            gram: Vec::new(),
            sums: Vec::new(),
            pass: bag.get("pass")?,
            weight,
            scale: scale as f32,
            mean,
            totals,
            likelihood: bag.f64("likelihood")?.first().copied(),
            project: bag.mat("project")?,
        };
        state.derive();
        Ok(state)
    }
}

/// A fitted NMF.
///
/// Atoms have unit Euclidean norm (squared error) or unit sum (divergence), so a weight is in the units of the data: the
/// length, or the total, of what its atom adds. They are ordered by the size of what they add over the data of the fit,
/// ‖w‖·‖h‖ or Σw·Σh, the largest first. An atom that died is all zeros.
#[derive(Debug, Clone)]
pub struct NmfModel {
    /// The parts (k×d).
    pub parts: Mat,
    /// What an encoding minimises.
    pub loss: NmfLoss,
    /// F of Lee & Seung 1999, Σ x·ln(wh) − wh over the data of the fit, at the last pass; divergence only.
    pub likelihood: Option<f64>,
    /// See [`Nmf::encode_tol`].
    pub encode_tol: f64,
    /// See [`Nmf::encode_max`].
    pub encode_max: usize,
    /// Hᵀ, to multiply rows by (d×k).
    turned: std::sync::Arc<Packed>,
    /// H·Hᵀ (k×k).
    gram: Vec<f32>,
    /// Σ_j H (k).
    sums: Vec<f64>,
}

impl NmfModel {
    fn new(parts: Mat, loss: NmfLoss, likelihood: Option<f64>, encode_tol: f64, encode_max: usize) -> Self {
        let turned = parts.transpose();
        let gram = as_f32(&gram(&turned));
        let sums = (0..parts.rows).map(|a| parts.row(a).iter().map(|&v| f64::from(v)).sum()).collect();
        let turned = std::sync::Arc::new(Packed::new(&turned.data, parts.rows));
        Self { parts, loss, likelihood, encode_tol, encode_max, turned, gram, sums }
    }

    /// Reads what [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let likelihood = bag.f64("likelihood")?.first().copied();
        Ok(Self::new(bag.mat("parts")?, bag.get("loss")?, likelihood, bag.get("encode_tol")?, bag.get("encode_max")?))
    }
}

impl Model for NmfModel {
    fn method(&self) -> &'static str {
        "nmf"
    }

    fn atoms(&self) -> &Mat {
        &self.parts
    }

    /// The best non-negative weights (n×k) of each row, to [`Nmf::encode_tol`]; a row's weights depend on that row alone. An
    /// error if a number is negative (divergence), or the columns don't fit.
    fn encode(&self, x: &Rows) -> Result<Codes> {
        model::check_width(x, self.parts.cols)?;
        let k = self.parts.rows;
        if self.loss == NmfLoss::KullbackLeibler {
            source::check_nonnegative(x, 0, "the divergence is of numbers of at least 0; shift or rescale the rows")?;
            return Ok(Codes::Dense(encode::divergence(x, &self.parts, &self.sums, self.encode_tol, self.encode_max)));
        }
        let mut w = Mat::zeros(x.rows(), k);
        let problem = Quadratic::new(k, &self.gram, 0.0);
        let effort = Effort { sweeps: self.encode_max, tol: (self.encode_tol as f32).max(1e-6) };
        let take = take(x.rows());
        w.data.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
            let mut b = vec![0f32; w.len()];
            product::rows_times(&mut b, &x.slice(i * take, i * take + w.len() / k), &self.turned);
            problem.refine(w, &b, effort);
        });
        Ok(Codes::Dense(w))
    }

    fn decode(&self, z: &Codes) -> Result<Mat> {
        z.times(&self.parts)
    }

    fn save(&self, bag: &mut Bag) {
        bag.put_mat("parts", &self.parts);
        bag.put("loss", self.loss);
        bag.put_f64("likelihood", self.likelihood.as_slice());
        bag.put("encode_tol", self.encode_tol);
        bag.put("encode_max", self.encode_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Options, fit};
    use crate::rng::rng;
    use crate::source::Memory;

    /// Sums of `k` overlapping parts with sparse weights, and a little noise.
    fn planted(n: usize, d: usize, k: usize, noise: f64, seed: u64) -> (Mat, Mat) {
        let mut r = rng(seed, 9, 0);
        let mut parts = Mat::zeros(k, d);
        for a in 0..k {
            for j in 0..d {
                let near = (j as f64 - (a as f64 + 0.5) * d as f64 / k as f64).abs() < 0.9 * d as f64 / k as f64;
                parts.row_mut(a)[j] = if near { (0.2 + r.uniform()) as f32 } else { 0.0 };
            }
        }
        let mut w = Mat::zeros(n, k);
        w.data.iter_mut().for_each(|w| *w = if r.uniform() < 0.4 { (r.uniform() * 3.0) as f32 } else { 0.0 });
        let mut x = linalg::rows_times(&w.view(), &parts);
        x.data.iter_mut().for_each(|v| *v = (*v + (noise * r.normal()) as f32).max(0.0));
        (x, parts)
    }

    #[test]
    fn hals_finds_planted_parts_and_never_rises() {
        let (x, parts) = planted(300, 40, 5, 0.01, 1);
        let how = Nmf { k: 5, tol: 0.0, max_passes: 300, ..Nmf::default() };
        let fitted = fit(&how, &Memory::from(&x), Options::default()).expect("fit");
        // Sums of f32 products know the loss to about 1e-6 of the mean square.
        let mean_square = linalg::sum_squares(&x.view()) / x.data.len() as f64;
        for p in fitted.curve.windows(2) {
            assert!(p[1].loss <= p[0].loss + 1e-6 * mean_square, "{p:?} of {mean_square}");
        }
        for a in 0..5 {
            let norm = linalg::dot(parts.row(a), parts.row(a)).sqrt();
            let best = (0..5).map(|b| linalg::dot(parts.row(a), fitted.model.parts.row(b)) / norm).fold(0.0, f64::max);
            assert!(best > 0.99, "part {a}: cosine {best}");
        }
        let codes = fitted.model.encode(&x.view()).expect("encode");
        let back = fitted.model.decode(&codes).expect("decode");
        let mean = x.data.iter().zip(&back.data).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / x.data.len() as f64;
        let reported = fitted.curve.last().expect("a pass").loss;
        assert!((mean - reported).abs() < 1e-3 * reported, "{mean} {reported}");
    }
}
