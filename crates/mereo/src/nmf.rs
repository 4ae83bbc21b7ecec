//! Non-negative matrix factorisation: rows are sums of parts.
//!
//! X (n×d) ≈ W (n×k) · H (k×d), nothing negative anywhere. The atoms are the rows of H, the codes the rows of W. What can
//! only add can't cancel, so atoms tend to be parts: mouths and noses where principal components are ghostly faces
//! (Lee & Seung 1999).
//!
//! Objective: ½‖X − WH‖²; the reported loss is the mean squared error an entry, known to about 1e-6 of the mean square.
//!
//! In the loop, [`Method::observe`] improves the weights of its rows for fixed H and leaves Σwᵀw and Σxᵀw behind;
//! [`Method::update`] improves H on those sums alone, from which the loss falls out as well.
//!
//! Cost of a pass: 4ndk flops (sparse rows: 4k for every stored entry) and a few k² for every row and column. Memory: the
//! sums (d×k, f64), and k numbers a row between passes, which [`NmfSolver::Hals`] can do without.

use crate::error::{Error, Result};
use crate::fold::{Memo, Method, Plan, Progress, Shape, State, Stats};
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::model::{self, Codes, Model};
use crate::source;
use crate::store::Bag;
use hals::{Effort, Quadratic};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod hals;
mod init;

/// How W and H are improved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfSolver {
    /// Squared error, by coordinate descent (accelerated HALS, Gillis & Glineur 2012): the fastest by far.
    #[default]
    Hals,
}

/// Where a fit starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfInit {
    /// |N(0, 1)|·√(mean/k) for both factors, as in scikit-learn.
    #[default]
    Random,
    /// Singular vectors, with zeros where they are negative. Multiplicative solvers never leave a zero: take another start for them.
    Nndsvd,
    /// The same, with the data's mean in place of zeros.
    Nndsvda,
    /// The same, with small noise in place of zeros.
    Nndsvdar,
    /// Atoms of one's own; see [`Nmf::given`].
    Given,
}

/// Parameters of an NMF.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nmf {
    /// Number of atoms (k).
    pub k: usize,
    /// How W and H are improved.
    pub solver: NmfSolver,
    /// Where the fit starts.
    pub init: NmfInit,
    /// The first atoms (k×d) of [`NmfInit::Given`], in the units of the data; weights start at random.
    #[serde(with = "given")]
    pub given: Option<Mat>,
    /// Coordinate sweeps for each pair of products; [`NmfSolver::Hals`] only.
    pub sweeps: usize,
    /// Passes over the data at most.
    pub max_passes: usize,
    /// Ends when a pass changes the loss by no more than this share of it; 0 runs to `max_passes`.
    pub tol: f64,
    /// Encoding: a row's weights are done when no step would change the row's fit by more than this share.
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

impl Nmf {
    /// Refuses a start that the data's shape, or what was given, can't provide.
    fn check_start(&self, Shape { rows: n, cols: d }: Shape) -> Result<()> {
        let k = self.k;
        match (self.init, &self.given) {
            (NmfInit::Nndsvd | NmfInit::Nndsvda | NmfInit::Nndsvdar, _) if k > n.min(d) => Err(Error::parameter(format!(
                "k = {k} exceeds the {} singular vectors of {n} rows of {d} columns; lower k or start from init random",
                n.min(d)
            ))),
            (NmfInit::Given, None) => Err(Error::parameter("init given needs the atoms to start from; set given")),
            (NmfInit::Given, Some(h)) if (h.rows, h.cols) != (k, d) => Err(Error::parameter(format!(
                "the given atoms are {}×{}; k = {k} atoms of {d} columns are needed",
                h.rows, h.cols
            ))),
            (NmfInit::Given, Some(h)) if h.data.iter().any(|v| !v.is_finite() || *v < 0.0) => {
                Err(Error::parameter("the given atoms hold a negative or non-finite number; set such entries to 0"))
            }
            (init, Some(_)) if init != NmfInit::Given => {
                Err(Error::parameter("atoms are given, but init is not given; set init to given, or leave the atoms out"))
            }
            _ => Ok(()),
        }
    }
}

/// Given atoms are written as their shape and a fingerprint: enough to tell two fits apart, and no second copy in every file.
mod given {
    use crate::mat::Mat;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[allow(clippy::ref_option)] // serde's signature
    pub(super) fn serialize<S: Serializer>(given: &Option<Mat>, to: S) -> Result<S::Ok, S::Error> {
        let print = |m: &Mat| {
            // FNV-1a over the bits.
            let hash = |h: u64, v: &f32| (h ^ u64::from(v.to_bits())).wrapping_mul(0x0100_0000_01b3);
            format!("{}x{} {:016x}", m.rows, m.cols, m.data.iter().fold(0xcbf2_9ce4_8422_2325, hash))
        };
        given.as_ref().map(print).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Mat>, D::Error> {
        match Option::<String>::deserialize(from)? {
            None => Ok(None),
            Some(print) => Err(D::Error::custom(format!("atoms {print} were given and are not stored; give them again"))),
        }
    }
}

/// What a fit of an NMF has learned so far.
#[derive(Debug, Clone)]
pub struct NmfState {
    /// Hᵀ (d×k), in units in which the data has a mean of about 1: a pixel's share in every atom lies together.
    h: Mat,
    /// H·Hᵀ (k×k).
    gram: Vec<f32>,
    /// Passes so far.
    pass: u64,
    /// How much of the data each atom accounts for (k): ‖w‖.
    weight: Vec<f64>,
    /// Data times this (a power of 4) has a mean of about 1.
    scale: f32,
    /// Mean of the scaled data, as the sample has it.
    mean: f64,
    /// How rows find their first weights, if not at random; only before the first pass.
    projection: Option<init::Projection>,
}

/// The sums of one pass.
#[derive(Debug, Clone)]
pub struct NmfStats {
    /// Σ xᵀw (d×k), of scaled data.
    xw: Vec<f64>,
    /// Σ wᵀw (k×k).
    ww: Vec<f64>,
    /// Σx² of scaled data, and the number of entries.
    sums: [f64; 2],
}

impl Stats for NmfStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        vec![&mut self.xw, &mut self.ww, &mut self.sums]
    }
}

/// Least value of an entry of H while it is fitted, in units in which the data has a mean of about 1: rounding to zero
/// would be for ever (Gillis & Glineur 2012). The model has zeros instead.
const FLOOR: f32 = 1e-16;
/// Larger numbers could overflow a sum of f32 products.
const LARGEST: f32 = 1e30;

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
        self.check_start(shape)?;
        if self.sweeps == 0 || self.max_passes == 0 || self.encode_max == 0 {
            return Err(Error::parameter(format!(
                "sweeps = {}, max_passes = {} and encode_max = {} must each be at least 1",
                self.sweeps, self.max_passes, self.encode_max
            )));
        }
        for (name, tol) in [("tol", self.tol), ("encode_tol", self.encode_tol)] {
            if !(0.0..1.0).contains(&tol) {
                return Err(Error::parameter(format!("{name} = {tol} must be at least 0 and below 1")));
            }
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        Plan { max: self.max_passes, tol: self.tol }
    }

    fn memo(&self) -> Memo {
        Memo::Cache(self.k)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, _: Shape) -> usize {
        init::SAMPLE.max(4 * self.k)
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
        NmfStats { xw: vec![0.0; d * k], ww: vec![0.0; k * k], sums: [0.0; 2] }
    }

    fn observe(&self, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) -> Result<()> {
        let (n, d, k) = (x.rows(), x.cols(), self.k);
        let kept = !memo.is_empty();
        let mut own = if kept { Vec::new() } else { vec![0f32; n * k] };
        let w = if kept { memo } else { &mut own };
        if kept && state.pass == 0 {
            init::weights(self, state, x, first, w);
        }
        let mut b = linalg::rows_times(x, &state.h);
        b.data.par_iter_mut().for_each(|b| *b *= state.scale);
        let problem = Quadratic { k, gram: &state.gram, floor: 0.0 };
        // Without a memo every pass solves its rows anew, so well that the next pass need not know of it.
        let effort = if kept { Effort { sweeps: self.sweeps, tol: 0.0 } } else { Effort { sweeps: 500, tol: 1e-4 } };
        problem.refine(w, &b.data, effort);

        add_products(&mut into.xw, x, w, k, f64::from(state.scale));
        add_products(&mut into.ww, &Rows::dense(k, w), w, k, 1.0);
        into.sums[0] += linalg::sum_squares(x) * f64::from(state.scale).powi(2);
        into.sums[1] += (n * d) as f64;
        Ok(())
    }

    fn update(&self, state: &mut NmfState, s: NmfStats) -> Result<Progress> {
        let k = self.k;
        let as_f32 = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let problem = Quadratic { k, gram: &as_f32(&s.ww), floor: FLOOR };
        problem.refine(&mut state.h.data, &as_f32(&s.xw), Effort { sweeps: self.sweeps, tol: 0.0 });
        let gram = state.gram();
        let cross: f64 = state.h.data.iter().zip(&s.xw).map(|(&h, &b)| f64::from(h) * b).sum();
        let square: f64 = gram.iter().zip(&s.ww).map(|(g, w)| g * w).sum();
        let scale = f64::from(state.scale);
        let loss = (s.sums[0] - 2.0 * cross + square).max(0.0) / s.sums[1] / (scale * scale);
        state.gram = as_f32(&gram);
        state.weight = (0..k).map(|a| s.ww[a * k + a].sqrt()).collect();
        state.pass += 1;
        state.projection = None;
        Ok(Progress { loss, done: false })
    }

    fn model(&self, state: NmfState) -> Result<NmfModel> {
        Ok(NmfModel::new(state.atoms(), self.encode_tol, self.encode_max))
    }
}

/// into (d×k, f64) += scale · xᵀ·w with w (n×k); sparse rows cost their stored entries only.
fn add_products(into: &mut [f64], x: &Rows, w: &[f32], k: usize, scale: f64) {
    let (n, d) = (x.rows(), x.cols());
    if n * d == 0 {
        return;
    }
    let mut sums = vec![0.0; d * k];
    linalg::fold_panels(&mut sums, n, |from, to, part| {
        let w = &w[from * k..to * k];
        match x.slice(from, to) {
            Rows::Dense(x) => linalg::mul_tn(part, &x.data, w, (d, to - from, k), linalg::Into::Replace),
            Rows::Sparse(x) => {
                part.fill(0.0);
                for (i, w) in w.chunks_exact(k).enumerate() {
                    let (columns, values) = x.row(i);
                    for (&j, &v) in columns.iter().zip(values) {
                        linalg::axpy(&mut part[j as usize * k..][..k], v, w);
                    }
                }
            }
        }
    });
    into.iter_mut().zip(&sums).for_each(|(t, s)| *t += scale * s);
}

impl NmfState {
    /// H·Hᵀ (k×k) of H as it stands.
    fn gram(&self) -> Vec<f64> {
        let k = self.h.cols;
        let mut gram = vec![0.0; k * k];
        add_products(&mut gram, &self.h.view(), &self.h.data, k, 1.0);
        gram
    }

    /// The atoms (k×d), each of unit norm, by falling share in the data.
    fn atoms(&self) -> Mat {
        let mut h = self.h.transpose();
        h.data.iter_mut().for_each(|v| *v = if *v <= FLOOR { 0.0 } else { *v });
        let norms: Vec<f64> = (0..h.rows).map(|a| linalg::dot(h.row(a), h.row(a)).sqrt()).collect();
        let mut order: Vec<usize> = (0..h.rows).collect();
        let share = |a: usize| norms[a] * self.weight[a];
        order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        let mut atoms = Mat::zeros(h.rows, h.cols);
        for (to, &from) in order.iter().enumerate().filter(|(_, from)| norms[**from] > 0.0) {
            let unit = 1.0 / norms[from];
            atoms.row_mut(to).iter_mut().zip(h.row(from)).for_each(|(t, &v)| *t = (f64::from(v) * unit) as f32);
        }
        atoms
    }
}

impl State for NmfState {
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("h", &self.h);
        bag.put_f64("weight", &self.weight);
        bag.put_f64("units", &[f64::from(self.scale), self.mean]);
        bag.put("pass", self.pass);
        if let Some(p) = &self.projection {
            let mut inner = Bag::default();
            p.save(&mut inner);
            bag.nest("projection", inner);
        }
    }

    fn load(bag: &Bag) -> Result<Self> {
        let units = bag.f64("units")?;
        let [scale, mean] = units[..] else { return Err(Error::data("the checkpoint's `units` must be two numbers")) };
        let h = bag.mat("h")?;
        let weight = bag.f64("weight")?;
        if weight.len() != h.cols {
            return Err(Error::data(format!("the checkpoint has {} weights for {} atoms", weight.len(), h.cols)));
        }
        let projection = bag.nested("projection").ok().map(|b| init::Projection::load(&b)).transpose()?;
        let pass = bag.get("pass")?;
        let mut state = Self { h, gram: Vec::new(), pass, weight, scale: scale as f32, mean, projection };
        state.gram = state.gram().iter().map(|&v| v as f32).collect();
        Ok(state)
    }
}

/// A fitted NMF.
///
/// Atoms have unit Euclidean norm, so a weight is in the units of the data; they are ordered by ‖w‖·‖h‖ over
/// the data of the fit, the largest first. An atom that died is all zeros, and last.
#[derive(Debug, Clone)]
pub struct NmfModel {
    /// The parts (k×d).
    pub parts: Mat,
    /// See [`Nmf::encode_tol`].
    pub encode_tol: f64,
    /// See [`Nmf::encode_max`].
    pub encode_max: usize,
    /// Hᵀ (d×k).
    turned: Mat,
    /// H·Hᵀ (k×k).
    gram: Vec<f32>,
}

impl NmfModel {
    fn new(parts: Mat, encode_tol: f64, encode_max: usize) -> Self {
        let turned = parts.transpose();
        let k = parts.rows;
        let mut gram = vec![0.0; k * k];
        add_products(&mut gram, &turned.view(), &turned.data, k, 1.0);
        let gram = gram.iter().map(|&v| v as f32).collect();
        Self { parts, encode_tol, encode_max, turned, gram }
    }

    /// Reads what [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        Ok(Self::new(bag.mat("parts")?, bag.get("encode_tol")?, bag.get("encode_max")?))
    }
}

impl Model for NmfModel {
    fn method(&self) -> &'static str {
        "nmf"
    }

    fn atoms(&self) -> &Mat {
        &self.parts
    }

    fn encode(&self, x: &Rows) -> Result<Codes> {
        model::check_width(x, self.parts.cols)?;
        let b = linalg::rows_times(x, &self.turned);
        let mut w = Mat::zeros(b.rows, b.cols);
        let problem = Quadratic { k: b.cols, gram: &self.gram, floor: 0.0 };
        problem.refine(&mut w.data, &b.data, Effort { sweeps: self.encode_max, tol: self.encode_tol as f32 });
        Ok(Codes::Dense(w))
    }

    fn decode(&self, z: &Codes) -> Result<Mat> {
        z.times(&self.parts)
    }

    fn save(&self, bag: &mut Bag) {
        bag.put_mat("parts", &self.parts);
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
