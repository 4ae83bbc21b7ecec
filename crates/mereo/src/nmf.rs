//! Non-negative matrix factorisation: rows are sums of parts.
//!
//! X (n×d) ≈ W (n×k) · H (k×d), nothing negative anywhere. The atoms are the rows of H, the codes the rows of W. What can
//! only add can't cancel, so atoms tend to be parts: mouths and noses where principal components are ghostly faces
//! (Lee & Seung 1999, where V = Xᵀ, W = our Hᵀ and H = our Wᵀ).
//!
//! Objective, and the reported loss, for each entry of X:
//!
//! - [`NmfLoss::Squared`]: the mean of (x − wh)², of the pass's weights and its new atoms. It is known to
//!   about 1e-7 of the mean of x², to 1e-6 where many rows are alike.
//! - [`NmfLoss::KullbackLeibler`]: the mean of x·ln(x/wh) − x + wh, the generalised Kullback–Leibler
//!   divergence, of the pass's weights and the atoms they were found for. The atoms of the next pass are better.
//! - [`NmfLoss::ItakuraSaito`] and [`NmfLoss::Beta`]: the mean of that divergence, likewise. For β ≤ 0 a zero of the data would
//!   cost an infinity and is refused.
//!
//! Penalties ([`Nmf::alpha_w`], [`Nmf::alpha_h`]) are part of what is reported.
//!
//! A pass is one iteration. [`Method::observe`] improves the weights of its rows for fixed H and leaves sums behind;
//! [`Method::update`] improves H on those alone: with Σwᵀw and Σxᵀw that is coordinate descent (HALS) or Frobenius
//! multiplicative updates to the letter, and the loss falls out of the same sums. The 1999 rules begin with the atoms, so in
//! their first pass the weights stay as they started: after p passes the atoms have had p iterations, and the loss is
//! that of p − 1 whole ones.
//!
//! The default, [`NmfSolver::Accelerated`], extrapolates both factors from pass to pass and steps back to the best pair when the loss
//! would rise: 3 to 6 times fewer passes than [`NmfSolver::Cd`] on faces. Where rows are many it starts from a fit of a quarter of
//! them, and always ends on all of the data. It can end in another local optimum than plain coordinate descent, a few parts in
//! a thousand better or worse.
//!
//! [`NmfSolver::Online`] improves the atoms after every [`Nmf::batch`] of rows: fewer passes again where rows are many, for files that are
//! read anew in each; its module has a table. Where the data is in memory and few rows make a batch, `accelerated` is sooner.
//!
//! Zeros are absorbing for products: multiplicative solvers started from plain [`NmfInit::Nndsvd`], which is full of zeros, end far
//! from where they end otherwise (relative error .28 instead of .21 on the faces of the 1999 paper). Use
//! [`NmfInit::Nndsvda`] or [`NmfInit::Random`] with them.
//!
//! Beside plain NMF: atoms of a given sparseness (NMFSC), apart from each other, of small volume, smooth over an image's pixels, signed
//! (semi-NMF), or partly fixed, for the squared error; nsNMF and local NMF for the divergence; and atoms that are rows of the data
//! (separable NMF). Each is a field of [`Nmf`] or an [`NmfSolver`]. nsNMF of the squared error is left out: its atoms
//! have no length of their own, so that the smoothing could be scaled away.
//!
//! Entries can be unknown ([`Nmf::missing`]), which is not the same as small, or count more than others ([`Nmf::weights`]); the codes of
//! unseen rows then follow from what is known of them, and what is put in the place of the rest is a prediction. A pass costs 2 to 3 times
//! as much.
//!
//! Cost of a pass: 4ndk flops (Kullback–Leibler: 8ndk, other divergences 12ndk; sparse rows: for each stored entry in place of each nd,
//! but for divergences other than Kullback–Leibler, which need every wh: there sparse rows are made dense, a few hundred at a
//! time) and a few k² for every row and column. Memory: the sums (d×k, f64), a few times the atoms, and k numbers a row
//! between passes, 3k for the default; by batches, three times the sums. Coordinate descent can do without the numbers of the rows: it then
//! solves every row to a tolerance in every pass, which costs more and ends at another, equally good answer.
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
use crate::fold::{Memo, Method, Plan, Progress, Shape};
use crate::linalg::product;
use crate::mat::{Mat, Rows};
use crate::missing::Missing;
use crate::source;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use model::NmfModel;
pub use state::{NmfState, NmfStats};

mod constraint;
mod divergence;
mod encode;
mod exact;
mod hals;
mod init;
mod model;
mod multiplicative;
mod newton;
mod online;
mod pace;
mod separable;
mod sparseness;
mod squared;
mod state;
mod weighted;

/// How W and H are improved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NmfSolver {
    /// The fastest for the loss: `accelerated` for squared error, `newton` for Kullback–Leibler, else `mu`.
    #[default]
    Auto,
    /// Squared error: `cd`, extrapolated from pass to pass, with a step back whenever the loss would rise (Ang & Gillis 2019).
    Accelerated,
    /// Squared error, by several sweeps of coordinate descent a pass (accelerated HALS, Gillis & Glineur 2012).
    #[serde(alias = "hals")]
    Cd,
    /// Multiplicative updates (Lee & Seung 2001), of any loss.
    Mu,
    /// Kullback–Leibler divergence, by second-order steps, with a step back whenever the loss would rise.
    Newton,
    /// Kullback–Leibler divergence with atoms that sum to one, as in Lee & Seung 1999; with [`Nmf::theta`] nsNMF.
    LeeSeung,
    /// Local NMF (Li et al. 2001): the rules of 1999 with the root of the weights' own. Atoms become small spots that don't overlap, and weights dense.
    /// The loss, of the weights times the best common factor, need not fall.
    Local,
    /// Squared error, W and H in turn solved to the end by block principal pivoting (Kim & Park 2011). For the record, and for answers
    /// without a tolerance: `accelerated` is sooner at any loss.
    Exact,
    /// Squared error by batches of rows ([`Nmf::batch`]): plain coordinate descent that improves the atoms after every batch, for files
    /// larger than memory, where a pass is dear.
    Online,
    /// Squared error with the atoms of the start, which are rows of the data ([`NmfInit::Spa`], [`NmfInit::Snpa`]): only weights are
    /// solved for. Right where every part occurs alone in some row; at most 67 million numbers of evenly drawn rows are searched.
    Separable,
}

/// What a fit minimises, and an encoding of unseen rows: a β-divergence, summed over all entries.
///
/// In words (`squared`, `kullback-leibler`, `itakura-saito`; also `frobenius`, `kl`, `is`) or as the number β.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum NmfLoss {
    /// (x − wh)²; β = 2, of which it is twice the divergence.
    #[default]
    Squared,
    /// x·ln(x/wh) − x + wh; β = 1.
    KullbackLeibler,
    /// x/wh − ln(x/wh) − 1, of positive numbers only; β = 0.
    ItakuraSaito,
    /// (x^β + (β − 1)·wh^β − β·x·wh^(β−1)) / (β(β − 1)) for any other β.
    Beta(f64),
}

impl NmfLoss {
    /// The β of the divergence.
    pub fn beta(self) -> f64 {
        match self {
            Self::Squared => 2.0,
            Self::KullbackLeibler => 1.0,
            Self::ItakuraSaito => 0.0,
            Self::Beta(beta) => beta,
        }
    }
}

impl From<f64> for NmfLoss {
    fn from(beta: f64) -> Self {
        match beta {
            2.0 => Self::Squared,
            1.0 => Self::KullbackLeibler,
            0.0 => Self::ItakuraSaito,
            beta => Self::Beta(beta),
        }
    }
}

impl std::fmt::Display for NmfLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Squared => f.write_str("squared"),
            Self::KullbackLeibler => f.write_str("kullback-leibler"),
            Self::ItakuraSaito => f.write_str("itakura-saito"),
            Self::Beta(beta) => beta.fmt(f),
        }
    }
}

impl std::str::FromStr for NmfLoss {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "squared" | "frobenius" => Ok(Self::Squared),
            "kullback-leibler" | "kl" => Ok(Self::KullbackLeibler),
            "itakura-saito" | "is" => Ok(Self::ItakuraSaito),
            _ => word.parse().ok().filter(|beta: &f64| beta.is_finite()).map(Self::from).ok_or_else(|| {
                Error::parameter(format!(
                    "there is no loss `{word}`; give squared, kullback-leibler, itakura-saito, or the number β of a divergence"
                ))
            }),
        }
    }
}

impl From<NmfLoss> for String {
    fn from(loss: NmfLoss) -> Self {
        loss.to_string()
    }
}

impl TryFrom<String> for NmfLoss {
    type Error = Error;

    fn try_from(word: String) -> Result<Self> {
        word.parse()
    }
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
    /// Centres of clusters: greedy k-means++ and a few passes of Lloyd's over at most 16 k rows, or 8,192. Weights as for `given`.
    #[serde(rename = "k-means", alias = "kmeans")]
    KMeans,
    /// Rows of the data that no others mix to, by successive projection (Araújo et al. 2001). Weights as for `given`.
    Spa,
    /// The same, by successive non-negative projection, which bears more noise (Gillis 2014).
    Snpa,
    /// The atoms of [`Nmf::given`]. Weights start at √(mean/k), or for HALS at their first sweep.
    Given,
}

/// Parameters of an NMF.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nmf {
    /// Number of atoms (k): at most max(n, d).
    pub k: usize,
    /// What is minimised.
    pub loss: NmfLoss,
    /// How W and H are improved.
    pub solver: NmfSolver,
    /// Where the fit starts.
    pub init: NmfInit,
    /// First atoms (k×d) for [`NmfInit::Given`], or those that are `fixed`. Serialised as a fingerprint, read from rows of numbers.
    #[serde(with = "crate::given")]
    pub given: Option<Mat>,
    /// So many first rows of `given` are atoms that stay as they are, whatever the start; the model has them first.
    pub fixed: usize,
    /// Coordinate sweeps for each pair of products; [`NmfSolver::Accelerated`], [`NmfSolver::Cd`],
    /// [`NmfSolver::Online`] and [`NmfSolver::Newton`] only.
    pub sweeps: usize,
    /// Rows between two improvements of the atoms; [`NmfSolver::Online`] only.
    pub batch: usize,
    /// Penalty of the weights, as in scikit-learn: d·α·(ratio·Σw + ½(1 − ratio)·Σw²) is added to half the squared error, or to the
    /// divergence.
    pub alpha_w: f64,
    /// Penalty of the atoms: n·α·(ratio·Σh + ½(1 − ratio)·Σh²).
    pub alpha_h: f64,
    /// Share of L1 in both penalties: 0 is L2 alone, 1 is L1 alone.
    pub l1_ratio: f64,
    /// Hoyer's sparseness of every atom, met exactly, between 0 (all entries equal) and 1 (a single one): NMFSC (Hoyer 2004).
    pub sparse_atoms: Option<f64>,
    /// Hoyer's sparseness of every atom's weights over the rows of the fit. It ties all rows together: they must come as one block, and
    /// the codes of unseen rows are without it.
    pub sparse_codes: Option<f64>,
    /// nsNMF's θ, of [`NmfSolver::LeeSeung`]: codes pass through S = (1 − θ)·I + θ/k before they meet the atoms, which must make up
    /// for it by being sparse (Pascual-Montano et al. 2006); 0 is NMF.
    pub theta: f64,
    /// Keeps atoms apart: this times Σx²/k times the sum of the cosines of all pairs is added to half the squared error.
    pub orthogonal: f64,
    /// Keeps atoms close together, which makes them those that mix to the data most tightly: this times Σx²/k times
    /// ½·log det(HHᵀ + I/10) is added, of atoms of unit length.
    pub volume: f64,
    /// Keeps neighbouring pixels of an atom alike: this times Σx²/k times ½·Σ(h_i − h_j)² over all pairs of neighbours is added, of atoms
    /// of unit length.
    pub smooth: f64,
    /// Height and width of the images that rows are, for `smooth`.
    pub image: Option<(usize, usize)>,
    /// Atoms may be negative, and so may the data; weights may not: semi-NMF (Ding et al. 2010).
    pub signed: bool,
    /// Which entries of the rows are unknown, and have no influence; of [`NmfSolver::Accelerated`], [`NmfSolver::Cd`] and [`NmfSolver::Mu`].
    pub missing: Missing,
    /// Rows come with what they or their entries count ([`Rows::weights`]): Σ v·(x − wh)², or a divergence weighted alike; of the same solvers.
    pub weights: bool,
    /// Independent starts, of which the one with the lowest loss is kept.
    pub restarts: usize,
    /// Passes over the data at most, in each start.
    pub max_passes: usize,
    /// Ends when a pass changes the loss by no more than this share of it; 0 runs to `max_passes`, as [`NmfSolver::Local`] always does.
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
            loss: NmfLoss::Squared,
            solver: NmfSolver::Auto,
            init: NmfInit::Random,
            given: None,
            fixed: 0,
            sweeps: 4,
            batch: 1024,
            alpha_w: 0.0,
            alpha_h: 0.0,
            l1_ratio: 0.0,
            sparse_atoms: None,
            sparse_codes: None,
            theta: 0.0,
            orthogonal: 0.0,
            volume: 0.0,
            smooth: 0.0,
            image: None,
            signed: false,
            missing: Missing::None,
            weights: false,
            restarts: 1,
            max_passes: 200,
            tol: 1e-4,
            encode_tol: 1e-5,
            encode_max: 1000,
            seed: 0,
        }
    }
}

/// Larger numbers could overflow a sum of f32 products.
const LARGEST: f32 = 1e30;
impl Nmf {
    /// The solver that is used, with `auto` resolved.
    fn way(&self) -> NmfSolver {
        match (self.solver, NmfLoss::from(self.loss.beta())) {
            (NmfSolver::Auto, NmfLoss::Squared) if self.tied() => NmfSolver::Cd,
            (NmfSolver::Auto, NmfLoss::Squared) => NmfSolver::Accelerated,
            (NmfSolver::Auto, NmfLoss::KullbackLeibler) if self.masked() => NmfSolver::Mu,
            (NmfSolver::Auto, NmfLoss::KullbackLeibler) if self.theta > 0.0 => NmfSolver::LeeSeung,
            // Second-order steps know of no atoms that stay.
            (NmfSolver::Auto, NmfLoss::KullbackLeibler) if self.fixed > 0 => NmfSolver::Mu,
            (NmfSolver::Auto, NmfLoss::KullbackLeibler) => NmfSolver::Newton,
            (NmfSolver::Auto, _) => NmfSolver::Mu,
            (solver, _) => solver,
        }
    }

    /// Whether some entries count more than others.
    fn masked(&self) -> bool {
        self.weights || self.missing != Missing::None
    }

    /// Whether entries count differently, and the loss is squared error by rules that don't multiply: [`weighted`] has those.
    fn weighs_squares(&self) -> bool {
        self.masked() && self.minimised() == NmfLoss::Squared && !self.multiplies()
    }

    /// Whether the sums of a pass are those of [`divergence`]: not those of squared error, unless weights of entries are to be multiplied.
    fn by_ratios(&self) -> bool {
        self.minimised() != NmfLoss::Squared || self.masked() && self.multiplies()
    }

    /// Whether a zero stays one, because the solver multiplies.
    fn multiplies(&self) -> bool {
        matches!(self.way(), NmfSolver::Mu | NmfSolver::LeeSeung | NmfSolver::Local)
    }

    /// Whether atoms sum to one during the fit.
    fn unit_sums(&self) -> bool {
        matches!(self.way(), NmfSolver::LeeSeung | NmfSolver::Local)
    }

    /// The loss that is minimised: the solvers of atoms that sum to one have their own.
    fn minimised(&self) -> NmfLoss {
        if self.unit_sums() { NmfLoss::KullbackLeibler } else { NmfLoss::from(self.loss.beta()) }
    }
}

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
        for (name, count) in [
            ("sweeps", self.sweeps),
            ("batch", self.batch),
            ("restarts", self.restarts),
            ("max_passes", self.max_passes),
            ("encode_max", self.encode_max),
        ] {
            if count == 0 {
                return Err(Error::parameter(format!("{name} = 0 does nothing; give at least 1")));
            }
        }
        for (name, tol) in [("tol", self.tol), ("encode_tol", self.encode_tol)] {
            if !(0.0..1.0).contains(&tol) {
                return Err(Error::parameter(format!("{name} = {tol} must be at least 0 and below 1")));
            }
        }
        for (name, alpha) in [("alpha_w", self.alpha_w), ("alpha_h", self.alpha_h)] {
            if !(alpha.is_finite() && alpha >= 0.0) {
                return Err(Error::parameter(format!("{name} = {alpha} must be a finite number of at least 0")));
            }
        }
        if !(0.0..=1.0).contains(&self.l1_ratio) {
            return Err(Error::parameter(format!("l1_ratio = {} must lie between 0 (L2) and 1 (L1)", self.l1_ratio)));
        }
        if !matches!(self.solver, NmfSolver::Auto | NmfSolver::Newton)
            && !self.multiplies()
            && self.minimised() != NmfLoss::Squared
        {
            return Err(Error::parameter(format!(
                "this solver is for loss = squared, not {}; set solver to mu or auto",
                self.loss
            )));
        }
        constraint::check(self, shape)?;
        if self.masked() && (self.tied() || !matches!(self.way(), NmfSolver::Accelerated | NmfSolver::Cd | NmfSolver::Mu)) {
            return Err(Error::parameter(
                "missing entries and weights of entries are of the solvers accelerated, cd and mu, without sparse, orthogonal, smooth or signed atoms, \
                 their volume, or sparse codes; set solver to auto and drop those, or fill the missing entries in",
            ));
        }
        if self.solver == NmfSolver::Newton && (self.fixed > 0 || self.theta > 0.0) {
            return Err(Error::parameter(
                "second-order steps know no fixed atoms and no theta; set solver to mu, or for theta to lee-seung",
            ));
        }
        if self.solver == NmfSolver::Newton && self.minimised() != NmfLoss::KullbackLeibler {
            return Err(Error::parameter(format!(
                "this solver is for loss = kullback-leibler, not {}; set solver to auto",
                self.loss
            )));
        }
        if !self.loss.beta().is_finite() {
            return Err(Error::parameter(format!("loss = {} is no β-divergence; give a finite β", self.loss)));
        }
        if self.unit_sums() && (self.alpha_w > 0.0 || self.alpha_h > 0.0) {
            return Err(Error::parameter(
                "rules for atoms that sum to one know no penalties; set alpha_w and alpha_h to 0, or solver to mu",
            ));
        }
        init::check(self, shape)
    }

    fn plan(&self) -> Plan {
        let judges = matches!(self.way(), NmfSolver::Accelerated | NmfSolver::Newton) || self.weighs_squares();
        // A fit that may step back judges its passes itself: one that was undone says nothing of how far there is to go.
        // What the rules of local NMF make smaller is not its loss, which says nothing of how far there is to go either.
        let tol = if judges || self.way() == NmfSolver::Local { 0.0 } else { self.tol };
        let batch = (self.way() == NmfSolver::Online).then_some(self.batch);
        Plan { max: self.max_passes, tol, batch, shuffle: None }
    }

    fn memo(&self) -> Memo {
        match self.way() {
            _ if self.weighs_squares() => Memo::Cache(weighted::memo(self.k)),
            NmfSolver::Newton => Memo::Kept(newton::memo(self.k)),
            way if !self.multiplies() && self.sparse_codes.is_none() => Memo::Cache(squared::memo(way, self.k)),
            _ => Memo::Kept(self.k),
        }
    }

    fn restarts(&self) -> usize {
        self.restarts
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn missing(&self) -> Option<Missing> {
        Some(self.missing)
    }

    fn weighted(&self) -> Option<bool> {
        Some(self.weights)
    }

    fn sample(&self, shape: Shape) -> usize {
        init::sample(self, shape)
    }

    fn accept(&self, x: &Rows, first: u64) -> Result<()> {
        let why = "NMF explains by adding only; shift or rescale the data to be non-negative, or use pca";
        if !self.signed {
            source::check_nonnegative(x, first, why)?;
        }
        divergence::check_zeros(self.minimised(), self.missing, x, first)?;
        if matches!(x, Rows::Sparse(_)) && x.row_weights().is_some() && self.missing != Missing::Zeros {
            return Err(Error::data(
                "sparse rows of NMF take weights of their stored entries, or of rows where zeros are unknown; set missing to zeros, or give dense rows",
            ));
        }
        let largest =
            x.values().par_chunks(1 << 16).map(|c| c.iter().fold(0f32, |m, &v| m.max(v.abs()))).reduce(|| 0.0, f32::max);
        if largest > LARGEST {
            return Err(Error::data(format!(
                "the data holds {largest:e}, and sums of products of numbers beyond {LARGEST:e} overflow; divide the data by a constant"
            )));
        }
        Ok(())
    }

    fn least_sample(&self, shape: Shape) -> usize {
        init::least_sample(self, shape).min(init::sample(self, shape))
    }

    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<NmfState> {
        init::start(self, sample, shape, restart)
    }

    fn zero(&self, state: &NmfState) -> NmfStats {
        let (d, k) = (state.h.rows, state.h.cols);
        let loss = self.minimised();
        let pairs = match loss {
            _ if self.weighs_squares() => weighted::sums(k, d),
            NmfLoss::Squared if !self.by_ratios() => k * k,
            _ if self.way() == NmfSolver::Newton => newton::sums(k, d),
            _ => divergence::sums(self, d),
        };
        let apart = if self.by_ratios() && (loss != NmfLoss::KullbackLeibler || self.masked()) { k } else { 0 };
        let anew = vec![0.0; if self.way() == NmfSolver::Online { online::numbers(d, k) } else { 0 }];
        NmfStats { xw: vec![0.0; d * k], ww: vec![0.0; pairs], weight: vec![0.0; apart], sums: [0.0; 7], rows: [0.0; 2], anew }
    }

    fn observe(&self, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) -> Result<()> {
        let loss = self.minimised();
        if state.pass == 0 {
            let known = self.masked().then(|| self.missing.weigh(x));
            let (values, v) = known.as_ref().map_or((x.values(), None), |known| (known.x.values(), Some(known.v.as_ref())));
            let [squares, sum] = totals(values, v, f64::from(state.scale));
            let constant = if self.by_ratios() { divergence::constant(loss, values, v, state.scale) } else { 0.0 };
            into.sums.iter_mut().zip([squares, sum, constant]).for_each(|(s, t)| *s += t);
        }
        into.sums[4] += if self.masked() { self.missing.weigh(x).total() } else { (x.rows() * x.cols()) as f64 };
        match (loss, self.sparse_codes) {
            _ if self.weighs_squares() => weighted::observe(self, state, x, first, memo, into),
            (NmfLoss::Squared, None) if self.by_ratios() => divergence::observe(self, state, x, first, memo, into),
            (NmfLoss::Squared, Some(s)) => constraint::observe(self, state, x, first, memo, into, s)?,
            (NmfLoss::Squared, None) if self.way() == NmfSolver::Online => online::observe(self, state, x, first, memo, into),
            (NmfLoss::Squared, None) => squared::observe(self, state, x, first, memo, into),
            _ if self.way() == NmfSolver::Newton => newton::observe(self, state, x, first, memo, into),
            _ => divergence::observe(self, state, x, first, memo, into),
        }
        Ok(())
    }

    fn update(&self, state: &mut NmfState, s: NmfStats) -> Result<Progress> {
        if state.pass == 0 {
            state.totals.iter_mut().zip(s.sums).for_each(|(t, s)| *t += s);
        }
        let progress = match self.minimised() {
            _ if self.weighs_squares() => weighted::update(self, state, &s)?,
            NmfLoss::Squared if self.way() == NmfSolver::Online => online::update(self, state, &s)?,
            NmfLoss::Squared if !self.by_ratios() => squared::update(self, state, &s),
            _ if self.way() == NmfSolver::Newton => newton::update(self, state, &s),
            _ => divergence::update(self, state, &s),
        };
        if state.running.midway() {
            return Ok(progress);
        }
        state.pass += 1;
        state.project = Mat::default();
        state.warm = false;
        Ok(progress)
    }

    fn model(&self, state: NmfState) -> Result<NmfModel> {
        let loss = self.minimised();
        let (parts, sizes) = state.atoms(self);
        // The weight of an atom that was divided by its size is larger by it, and costs less by as much.
        let alpha = self.alpha_w * parts.cols as f64;
        let size = |a: &f64| if *a > 0.0 { *a } else { 1.0 };
        let l1 = sizes.iter().map(|a| (alpha * self.l1_ratio / size(a)) as f32).collect();
        let l2 = sizes.iter().map(|a| (alpha * (1.0 - self.l1_ratio) / size(a).powi(2)) as f32).collect();
        Ok(NmfModel::new(parts, loss, state.likelihood, (l1, l2), self.theta, (self.encode_tol, self.encode_max), self.missing))
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

/// Σx² and Σx of numbers times `scale`, each counted as often as `v` says.
fn totals(x: &[f32], v: Option<&[f32]>, scale: f64) -> [f64; 2] {
    const RUN: usize = 1 << 14;
    let parts = x.par_chunks(RUN).enumerate().map(|(i, x)| {
        let weight = |at: usize| v.map_or(1.0, |v| f64::from(v[i * RUN + at]));
        let numbers = x.iter().enumerate().map(|(at, &x)| (f64::from(x) * scale, weight(at)));
        numbers.fold([0.0; 2], |[squares, sum], (x, v)| [squares + v * x * x, sum + v * x])
    });
    parts.collect::<Vec<_>>().iter().fold([0.0; 2], |t, p| [t[0] + p[0], t[1] + p[1]])
}

/// Sums of all columns of a matrix with k columns, row by row.
fn column_sums(w: &[f32], k: usize) -> Vec<f64> {
    let parts = w.par_chunks(k << 12).map(|w| {
        let mut sums = vec![0.0; k];
        w.chunks_exact(k).for_each(|w| sums.iter_mut().zip(w).for_each(|(s, &w)| *s += f64::from(w)));
        sums
    });
    parts.collect::<Vec<_>>().iter().fold(vec![0.0; k], |mut all, part| {
        all.iter_mut().zip(part).for_each(|(a, p)| *a += p);
        all
    })
}

/// hᵀh (k×k) of a matrix with k columns.
fn gram(h: &Mat) -> Vec<f64> {
    let mut gram = vec![0.0; h.cols * h.cols];
    product::add_gram(&mut gram, &h.data, h.cols);
    gram
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Options, fit};
    use crate::linalg;
    use crate::model::Model;
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
        let how = Nmf { k: 5, solver: NmfSolver::Cd, tol: 0.0, max_passes: 300, ..Nmf::default() };
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
