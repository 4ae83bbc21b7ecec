//! What is tried on each axis of the grid.

use super::Args;
use super::grid::sides;
use crate::failure::Result;
use crate::show;
use crate::subject::{self, Opened};
use clap::ValueEnum;
use mereo::mat::Rows;
use mereo::prepare::Recipe;
use mereo::{Nmf, NmfInit, NmfLoss, NmfSolver};

/// Penalty of `l1` and `l2`, in units of the mean to the power 3/2, which is how such a penalty scales with the data.
const PENALTY: f64 = 0.001;

/// Steps of one preparation.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(pub Vec<Recipe>);

pub fn steps(text: &str) -> std::result::Result<Steps, String> {
    let all: Vec<Recipe> = text.split('+').map(crate::args::recipe).collect::<std::result::Result<_, _>>()?;
    Ok(Steps(all.into_iter().filter(|r| *r != Recipe::Raw).collect()))
}

/// Where a fit starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// Random numbers
    Random,
    /// Singular vectors, zeros kept
    Nndsvd,
    /// Singular vectors, zeros filled with the mean
    Nndsvda,
    /// Singular vectors, zeros filled with small random numbers
    Nndsvdar,
    /// Centres of clusters
    KMeans,
    /// Rows that no others mix to, by successive projection
    Spa,
    /// The same by successive non-negative projection, which bears more noise
    Snpa,
}

/// What a fit minimises, under what, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    None,
    L1,
    L2,
    SparseAtoms,
    SparseCodes,
    Orthogonal,
    Volume,
    Smooth,
    Signed,
    Mu,
    Exact,
    Separable,
    Kl,
    MuKl,
    LeeSeung,
    Nsnmf,
    Local,
}

impl What {
    /// How strong it is by itself; none where it has no strength, or one that follows from the data.
    fn usual(self) -> Option<f64> {
        match self {
            Self::SparseAtoms => Some(0.75),
            Self::SparseCodes | Self::Nsnmf => Some(0.5),
            Self::Smooth => Some(0.1),
            Self::Orthogonal => Some(0.003),
            Self::Volume => Some(0.001),
            _ => None,
        }
    }

    fn takes_a_strength(self) -> bool {
        matches!(self, Self::L1 | Self::L2) || self.usual().is_some()
    }
}

/// One value of the last axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraint {
    /// What it asks for.
    pub what: What,
    /// How strongly, if not as usual.
    pub strength: Option<f64>,
}

impl From<What> for Constraint {
    fn from(what: What) -> Self {
        Self { what, strength: None }
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&name(&self.what))?;
        self.strength.map_or(Ok(()), |s| write!(f, "={s}"))
    }
}

/// `sparse-atoms`, or `sparse-atoms=0.6`.
pub fn constraint(text: &str) -> std::result::Result<Constraint, String> {
    let (word, strength) = text.split_once('=').map_or((text, None), |(word, s)| (word, Some(s)));
    let known = || What::value_variants().iter().map(name).collect::<Vec<_>>().join(", ");
    let what = What::from_str(word, false).map_err(|_| format!("there is no constraint `{word}`; give one of {}", known()))?;
    let Some(strength) = strength else { return Ok(what.into()) };
    match strength.parse::<f64>() {
        Ok(s) if s.is_finite() && what.takes_a_strength() => Ok(Constraint { what, strength: Some(s) }),
        Ok(_) => Err(format!("{word} has no strength that could be set; write {word} alone")),
        Err(_) => Err(format!("`{strength}` is no number; write a strength such as {word}=0.5")),
    }
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

/// The values that are tried on each axis, the usual one first.
#[derive(Debug, Clone)]
pub struct Axes {
    pub k: Vec<usize>,
    pub rows: Vec<usize>,
    pub start: Vec<Start>,
    pub prep: Vec<Steps>,
    pub constraint: Vec<Constraint>,
}

/// The axes, by name.
pub const AXES: [&str; 5] = ["number of atoms", "number of rows", "start", "preparation", "constraint"];

/// One place in the grid: for each axis the number of its value.
pub type Place = [usize; 5];

impl Axes {
    pub fn lengths(&self) -> Place {
        [self.k.len(), self.rows.len(), self.start.len(), self.prep.len(), self.constraint.len()]
    }

    /// What a value is called in a sentence, after a number that was found there.
    pub fn place(&self, axis: usize, at: usize) -> String {
        format!("{} {}", if axis < 2 { "at" } else { "with" }, self.value(axis, at))
    }

    /// What a value is called.
    pub fn value(&self, axis: usize, at: usize) -> String {
        match axis {
            0 => self.k[at].to_string(),
            1 => show::count(self.rows[at]),
            2 => name(&self.start[at]),
            3 => subject::chain(&self.prep[at].0),
            _ => self.constraint[at].to_string(),
        }
    }

    /// All combinations, or the usual one and those that differ from it on one axis.
    pub fn places(&self, full: bool) -> Vec<Place> {
        let n = self.lengths();
        let mut all = vec![[0; 5]];
        if full {
            for axis in 0..5 {
                all = all
                    .iter()
                    .flat_map(|p| {
                        (0..n[axis]).map(move |v| {
                            let mut p = *p;
                            p[axis] = v;
                            p
                        })
                    })
                    .collect();
            }
        } else {
            for axis in 0..5 {
                all.extend((1..n[axis]).map(|v| {
                    let mut p = [0; 5];
                    p[axis] = v;
                    p
                }));
            }
        }
        all
    }

    /// The parameters of a cell of images of this size, if they are some; penalties follow from the mean of the prepared rows.
    pub fn nmf(&self, at: Place, seed: u64, max_passes: usize, mean: f64, image: Option<(usize, usize)>) -> Nmf {
        let init = match self.start[at[2]] {
            Start::Random => NmfInit::Random,
            Start::Nndsvd => NmfInit::Nndsvd,
            Start::Nndsvda => NmfInit::Nndsvda,
            Start::Nndsvdar => NmfInit::Nndsvdar,
            Start::KMeans => NmfInit::KMeans,
            Start::Spa => NmfInit::Spa,
            Start::Snpa => NmfInit::Snpa,
        };
        let own = Nmf { k: self.k[at[0]], init, seed, max_passes, ..Nmf::default() };
        let Constraint { what, strength } = self.constraint[at[4]];
        let strong = strength.or(what.usual()).unwrap_or_default();
        let alpha = strength.unwrap_or(PENALTY * mean.max(0.0).powf(1.5));
        let divergence = Nmf { loss: NmfLoss::KullbackLeibler, ..own.clone() };
        match what {
            What::None => own,
            What::L1 => Nmf { alpha_w: alpha, alpha_h: alpha, l1_ratio: 1.0, ..own },
            What::L2 => Nmf { alpha_w: alpha, alpha_h: alpha, l1_ratio: 0.0, ..own },
            What::SparseAtoms => Nmf { sparse_atoms: Some(strong), ..own },
            What::SparseCodes => Nmf { sparse_codes: Some(strong), ..own },
            What::Orthogonal => Nmf { orthogonal: strong, ..own },
            What::Volume => Nmf { volume: strong, ..own },
            What::Smooth => Nmf { smooth: strong, image, ..own },
            What::Signed => Nmf { signed: true, ..own },
            What::Mu => Nmf { solver: NmfSolver::Mu, ..own },
            What::Exact => Nmf { solver: NmfSolver::Exact, ..own },
            What::Separable => {
                Nmf { solver: NmfSolver::Separable, init: if init == NmfInit::Spa { init } else { NmfInit::Snpa }, ..own }
            }
            What::Kl => divergence,
            What::MuKl => Nmf { solver: NmfSolver::Mu, ..divergence },
            What::LeeSeung => Nmf { solver: NmfSolver::LeeSeung, ..divergence },
            What::Nsnmf => Nmf { solver: NmfSolver::LeeSeung, theta: strong, ..divergence },
            // Its loss is not what it minimises, and may stand still long before the atoms do.
            What::Local => Nmf { solver: NmfSolver::Local, ..divergence },
        }
    }
}

/// What is tried on each axis: as typed, else a few values that suit the rows.
pub fn axes(args: &Args, opened: &Opened) -> Result<Axes> {
    let (n, d) = (opened.rows.rows(), opened.rows.cols());
    let train = sides(n, args.subject.seed)?.0.len();
    let given = |typed: &[usize], own: &[usize]| if typed.is_empty() { own.to_vec() } else { typed.to_vec() };
    let least = train.min(d);
    let mut rows = given(&args.rows, &[train, (train / 4).max(1)]);
    for n in &mut rows {
        *n = (*n).min(train);
    }
    rows.dedup();
    let own: Vec<usize> = [16, 36, 64].into_iter().filter(|k| *k <= least.min(rows.iter().copied().min().unwrap_or(1))).collect();
    let k = given(&args.k, if own.is_empty() { &[2] } else { &own });
    let sparse = matches!(opened.rows, Rows::Sparse(_));
    let second = if sparse { Recipe::UnitNorm } else { Recipe::LeeSeung };
    let prep = if args.prep.is_empty() { vec![Steps(vec![]), Steps(vec![second])] } else { args.prep.clone() };
    let mut constraint = args.constraint.clone();
    if constraint.is_empty() {
        let whats = [What::None, What::L1, What::SparseAtoms, What::Orthogonal, What::Smooth, What::Kl, What::Nsnmf, What::Local];
        constraint = whats.into_iter().filter(|w| *w != What::Smooth || opened.image.is_some()).map(Constraint::from).collect();
    }
    Ok(Axes { k, rows, start: args.start.clone(), prep, constraint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_at_a_time_or_all() {
        let axes = Axes {
            k: vec![4, 8, 16],
            rows: vec![10],
            start: vec![Start::Random, Start::Nndsvda],
            prep: vec![Steps(vec![])],
            constraint: vec![What::None.into(), Constraint { what: What::L1, strength: Some(0.5) }],
        };
        let few = axes.places(false);
        assert_eq!(few.len(), 1 + 2 + 1 + 1);
        assert_eq!(few[0], [0; 5]);
        assert!(few.iter().all(|p| p.iter().filter(|v| **v > 0).count() <= 1));
        assert_eq!(axes.places(true).len(), 12);
        assert_eq!((axes.value(2, 1), axes.value(3, 0), axes.value(4, 1)), ("nndsvda".into(), "raw".into(), "l1=0.5".into()));
    }

    #[test]
    fn steps_of_a_preparation_are_joined() {
        assert_eq!(steps("unit-norm+center"), Ok(Steps(vec![Recipe::UnitNorm, Recipe::Center])));
        assert_eq!(steps("raw"), Ok(Steps(vec![])));
        assert!(steps("nonsense").is_err());
    }

    #[test]
    fn a_constraint_may_have_a_strength() {
        assert_eq!(constraint("local"), Ok(What::Local.into()));
        assert_eq!(constraint("sparse-atoms=0.6"), Ok(Constraint { what: What::SparseAtoms, strength: Some(0.6) }));
        for (text, says) in
            [("nonsense", "sparse-atoms"), ("local=2", "no strength"), ("l1=much", "no number"), ("l1=inf", "no strength")]
        {
            assert!(constraint(text).is_err_and(|e| e.contains(says)), "{text}");
        }
    }

    #[test]
    fn every_constraint_is_told_in_the_help_and_is_a_fit_that_can_be_made() {
        use mereo::fold::{Method, Shape};
        for what in What::value_variants() {
            let told = super::super::EXAMPLES.lines().any(|l| {
                let word = l.trim_start().split([' ', '=']).next().unwrap_or_default();
                word == name(what)
            });
            assert!(told, "{what:?} is not in the help");
            let usual = what.usual().is_none_or(|s| super::super::EXAMPLES.contains(&format!("[{s}]")));
            assert!(usual, "{what:?}: the help tells another strength");
            let axes = Axes {
                k: vec![3],
                rows: vec![20],
                start: vec![Start::Random],
                prep: vec![Steps(vec![])],
                constraint: vec![(*what).into()],
            };
            let how = axes.nmf([0; 5], 0, 10, 0.5, Some((4, 4)));
            how.check(Shape { rows: 20, cols: 16 }).unwrap_or_else(|e| panic!("{what:?}: {e}"));
        }
    }
}
