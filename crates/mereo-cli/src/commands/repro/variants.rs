//! The variants of NMF beside PCA and VQ: every measure of parts for each, and the numbers that the MIT-CBCL faces have.

use super::Faces;
use crate::failure::Result;
use crate::methods::Runner;
use crate::show;
use crate::subject::cells;
use mereo::fold::{Method, Pass, Progress};
use mereo::mat::Rows;
use mereo::measure::{self, AtomMeasures};
use mereo::source::Memory;
use mereo::{Codes, Mat, Model, Nmf, NmfInit, NmfLoss, NmfSolver, Pca, Vq, linalg};
use mereo_report::Table;
use std::sync::{Mutex, PoisonError};

/// What is measured of each, in the order of the columns of the table.
const MEASURES: [&str; 9] = [
    "relative error",
    "RMSE",
    "Hoyer of atoms",
    "of their codes",
    "of a row's codes",
    "atoms < 1 %",
    "overlap",
    "spread",
    "one piece",
];

/// What a line of the table is fitted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Pca,
    Vq,
    LeeSeung,
    Mu(NmfInit),
    Cd(NmfInit),
    /// nsNMF with its θ.
    Smoothed(f64),
    Local,
    /// NMFSC with the sparseness of its atoms.
    Sparse(f64),
}

/// A number that was not told.
const NONE: f64 = f64::NAN;

/// Every line: what it is, and the targets on CBCL faces with inverted greys, of one seed.
const LINES: [(Kind, [f64; 9]); 16] = [
    (Kind::LeeSeung, [0.224, 0.0778, 0.730, 0.373, 0.443, 0.787, 0.091, 0.466, 0.647]),
    (Kind::Mu(NmfInit::Random), [0.207, 0.0719, 0.731, 0.330, 0.378, 0.754, 0.091, 0.501, 0.626]),
    (Kind::Mu(NmfInit::Nndsvda), [0.213, 0.0739, 0.700, 0.364, 0.425, 0.731, 0.115, 0.603, 0.596]),
    (Kind::Mu(NmfInit::Nndsvd), [0.280, 0.0973, 0.620, 0.503, 0.578, 0.698, 0.189, 0.840, 0.508]),
    (Kind::Cd(NmfInit::Random), [0.1997, 0.069, 0.772, 0.29, NONE, 0.80, 0.065, 0.43, 0.67]),
    (Kind::Cd(NmfInit::Nndsvd), [0.1990, 0.069, 0.770, 0.29, NONE, 0.80, 0.064, 0.41, 0.67]),
    (Kind::Cd(NmfInit::Nndsvda), [0.1991, 0.069, 0.767, 0.29, NONE, 0.80, 0.062, 0.40, 0.67]),
    (Kind::Smoothed(0.3), [0.246, 0.085, 0.742, 0.43, NONE, 0.82, 0.092, 0.44, 0.665]),
    (Kind::Smoothed(0.5), [0.277, 0.096, 0.770, 0.48, NONE, 0.85, 0.076, 0.44, 0.665]),
    (Kind::Smoothed(0.7), [0.335, 0.116, 0.783, 0.58, NONE, 0.87, 0.068, 0.44, 0.665]),
    (Kind::Local, [0.326, 0.113, 0.895, 0.055, 0.062, 0.964, 0.006, 0.078, 0.898]),
    (Kind::Sparse(0.6), [0.225, 0.078, 0.600, 0.45, NONE, 0.58, 0.207, 0.79, 0.47]),
    (Kind::Sparse(0.75), [0.211, 0.073, 0.750, 0.31, NONE, 0.77, 0.078, 0.51, 0.61]),
    (Kind::Sparse(0.85), [0.223, 0.077, 0.850, 0.21, NONE, 0.91, 0.023, 0.26, 0.77]),
    (Kind::Pca, [0.170, 0.0589, 0.228, 0.209, 0.654, 0.030, 0.0, 1.04, 0.389]),
    (Kind::Vq, [0.365, 0.1266, 0.175, 0.878, 1.000, 0.026, 0.848, 1.07, 0.791]),
];

/// One of them, fitted and measured.
pub struct Variant {
    pub kind: Kind,
    /// In the order of [`MEASURES`].
    pub found: [f64; 9],
    /// The same on CBCL faces with inverted greys; NaN where it isn't told.
    pub target: [f64; 9],
    /// Sparseness of each atom.
    pub sparseness: Vec<f64>,
    pub curve: Vec<Pass>,
    pub seconds: f64,
}

impl Variant {
    pub fn rmse(&self) -> f64 {
        self.found[1]
    }
    /// Mean sparseness of the atoms.
    pub fn atoms(&self) -> f64 {
        self.found[2]
    }
    /// Mean sparseness of an atom's codes.
    pub fn codes(&self) -> f64 {
        self.found[3]
    }
    pub fn loss(&self) -> f64 {
        self.curve.last().map_or(f64::NAN, |p| p.loss)
    }
}

/// All of them, in the order of the table.
pub struct Variants(pub Vec<Variant>);

impl Variants {
    /// The line of a kind.
    pub fn of(&self, kind: Kind) -> Option<&Variant> {
        self.0.iter().find(|v| v.kind == kind)
    }

    /// Measured in the units of the table, with the targets of CBCL under each where `targets` says so.
    pub fn table(&self, targets: bool) -> Table {
        let mut header = cells(&["", ""]);
        header.extend(MEASURES.map(String::from));
        header.extend(cells(&["passes", "time"]));
        let mut rows = Vec::new();
        for v in &self.0 {
            let numbers = |all: &[f64; 9]| all.map(|v| if v.is_nan() { "–".to_string() } else { format!("{v:.3}") });
            let mut found = vec![v.kind.name(), "found".into()];
            found.extend(numbers(&v.found));
            found.extend([v.curve.len().to_string(), show::seconds(v.seconds)]);
            rows.push(found);
            if targets {
                let mut target = cells(&["", "target"]);
                target.extend(numbers(&v.target));
                target.extend(cells(&["", ""]));
                rows.push(target);
            }
        }
        Table { header, rows, words: vec![1], ..Table::default() }
    }
}

impl Kind {
    fn name(self) -> String {
        let start = |init| match init {
            NmfInit::Random => "random",
            NmfInit::Nndsvd => "NNDSVD",
            _ => "NNDSVDa",
        };
        match self {
            Self::Pca => "PCA, uncentred".into(),
            Self::Vq => "VQ".into(),
            Self::LeeSeung => "NMF, 1999".into(),
            Self::Mu(init) => format!("NMF, 2001, {}", start(init)),
            Self::Cd(init) => format!("NMF, HALS, {}", start(init)),
            Self::Smoothed(theta) => format!("nsNMF, θ {theta}"),
            Self::Local => "LNMF".into(),
            Self::Sparse(s) => format!("NMFSC, {s}"),
        }
    }

    /// The NMF that it is, if it is one, with at most `passes`.
    fn nmf(self, own: &Nmf, passes: usize) -> Option<Nmf> {
        let long = Nmf { tol: 0.0, max_passes: passes, ..own.clone() };
        let short = Nmf { max_passes: passes.min(200), ..long.clone() };
        let divergence = Nmf { loss: NmfLoss::KullbackLeibler, solver: NmfSolver::LeeSeung, ..long.clone() };
        Some(match self {
            Self::Pca | Self::Vq => return None,
            Self::LeeSeung => divergence,
            Self::Smoothed(theta) => Nmf { theta, ..divergence },
            Self::Local => Nmf { solver: NmfSolver::Local, ..divergence },
            Self::Mu(init) => Nmf { solver: NmfSolver::Mu, init, ..long },
            Self::Cd(init) => Nmf { solver: NmfSolver::Cd, init, ..short },
            Self::Sparse(s) => Nmf { sparse_atoms: Some(s), ..short },
        })
    }
}

/// Fits them all to prepared faces, of which `own` gives the number of atoms and the seed.
pub fn fit(runner: &Runner, faces: &Faces, x: &Mat, own: &Nmf, passes: usize) -> Result<Variants> {
    let source = Memory::from(x);
    let mut all = Vec::new();
    for (kind, target) in LINES {
        let label = kind.name();
        let (found, sparseness, facts) = match kind.nmf(own, passes) {
            Some(how) => {
                let kept = Kept::default();
                let (model, facts) = runner.fit_on(&label, &how, &source, &kept)?;
                let own = kept.codes(how.k);
                let errors = match kind {
                    Kind::Local => scaled(&model, &own, x),
                    Kind::Mu(_) | Kind::Cd(_) | Kind::Sparse(_) => squared(facts.curve.last().map_or(NONE, |p| p.loss), x),
                    _ => errors(&model, &source)?,
                };
                // Its atoms have any length, on which the sparseness of a row's codes depends; the model's are of one.
                let codes = if matches!(kind, Kind::Cd(_)) { model.encode(&x.view())? } else { Codes::Dense(own) };
                let atoms = measure::atoms(model.atoms(), Some(faces.image));
                (row(errors, &atoms, &codes), atoms.sparseness.each, facts)
            }
            None if kind == Kind::Vq => {
                let how = Vq { k: own.k, seed: own.seed, n_init: 3, ..Vq::default() };
                let (model, facts) = runner.fit(&label, &how, &source)?;
                let atoms = measure::atoms(model.atoms(), Some(faces.image));
                (row(errors(&model, &source)?, &atoms, &model.encode(&x.view())?), atoms.sparseness.each, facts)
            }
            None => {
                let how = Pca { k: own.k, seed: own.seed, center: false, ..Pca::default() };
                let (model, facts) = runner.fit(&label, &how, &source)?;
                let atoms = measure::atoms(model.atoms(), Some(faces.image));
                (row(errors(&model, &source)?, &atoms, &model.encode(&x.view())?), atoms.sparseness.each, facts)
            }
        };
        all.push(Variant { kind, found, target, sparseness, curve: facts.curve, seconds: facts.seconds });
    }
    Ok(Variants(all))
}

/// Relative error and RMSE of the best codes that the atoms have.
fn errors(model: &dyn Model, source: &Memory) -> Result<[f64; 2]> {
    let e = measure::errors(model, source)?;
    Ok([e.relative, e.rmse])
}

/// The same of a mean squared error.
fn squared(mean: f64, x: &Mat) -> [f64; 2] {
    [(mean * x.data.len() as f64 / linalg::dot(&x.data, &x.data)).sqrt(), mean.sqrt()]
}

/// The same of a fit's own codes times the best factor: what LNMF minimises is not the error, and its codes have no scale.
fn scaled(model: &mereo::NmfModel, codes: &Mat, x: &Mat) -> [f64; 2] {
    let total = |a: usize| codes.data.iter().skip(a).step_by(codes.cols).map(|&v| f64::from(v)).sum::<f64>();
    let mut order: Vec<(f64, usize)> = (0..codes.cols).map(|a| (total(a), a)).collect();
    // The model has its atoms by falling weight.
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let data = (0..codes.rows).flat_map(|i| order.iter().map(move |(_, a)| codes.row(i)[*a])).collect();
    let back = linalg::rows_times(&Mat { data, ..*codes }.view(), &model.parts);
    let (xx, xb, bb) = (linalg::dot(&x.data, &x.data), linalg::dot(&x.data, &back.data), linalg::dot(&back.data, &back.data));
    let left = (xx - if bb > 0.0 { xb * xb / bb } else { 0.0 }).max(0.0);
    [(left / xx).sqrt(), (left / x.data.len() as f64).sqrt()]
}

fn row(errors: [f64; 2], atoms: &AtomMeasures, codes: &Codes) -> [f64; 9] {
    let c = measure::codes(codes);
    let of = |m: &Option<measure::PerAtom>| m.as_ref().map_or(NONE, |m| m.mean);
    [
        errors[0],
        errors[1],
        atoms.sparseness.mean,
        c.atom_sparseness.mean,
        c.row_sparseness,
        atoms.small.mean,
        atoms.overlap.mean,
        of(&atoms.spread),
        of(&atoms.largest),
    ]
}

/// Keeps what a method remembers of each row, as of the last pass: the codes that a fit of an NMF ends with, which for rules that
/// minimise no error are not the best that its atoms have. For rows that come as one block.
#[derive(Default)]
struct Kept(Mutex<Vec<f32>>);

impl Kept {
    /// The codes (n×k).
    fn codes(self, k: usize) -> Mat {
        let data = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Mat { rows: data.len() / k, cols: k, data }
    }
}

impl<M: Method> mereo::fold::Engine<M> for Kept {
    fn observe(&self, m: &M, state: &M::State, x: &Rows, first: u64, memo: &mut [f32], into: &mut M::Stats) -> mereo::Result<()> {
        m.observe(state, x, first, memo, into)?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend_from_slice(memo);
        Ok(())
    }
    fn update(&self, m: &M, state: &mut M::State, stats: M::Stats) -> mereo::Result<Progress> {
        m.update(state, stats)
    }
}
