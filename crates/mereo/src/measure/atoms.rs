//! Measures of atoms: parts or wholes?

use super::{PerAtom, hoyer};
use crate::linalg::{Into, mul_nt};
use crate::mat::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers below this share of an atom's largest |value| are called small.
const SMALL: f64 = 0.01;
/// Pixels above this share of an atom's largest |value| can belong to a component.
const COMPONENT: f64 = 0.2;
/// Cosine above which two atoms are called duplicates.
const DUPLICATE: f32 = 0.99;
/// An atom whose largest |value| is below this share of the largest of all atoms is dead: floors of 1e-16 in some solvers
/// keep its numbers from being 0.
pub(super) const DEAD: f32 = 1e-12;

/// Measures of k atoms v of d columns; those of signed atoms are of |v|.
///
/// Formulas: sparseness from Hoyer (JMLR 5, 2004); the others are those in use in the literature on bases of parts, none of
/// them standard alone. Dead atoms count in no mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AtomMeasures {
    /// Hoyer's sparseness (√d − ‖v‖₁/‖v‖₂) / (√d − 1): 0 for entries of equal size, 1 for one entry alone.
    pub sparseness: PerAtom,
    /// Share of entries with |v| below 1 % of the atom's largest.
    pub small: PerAtom,
    /// Mean |cosine| with the other atoms; the mean is that over all pairs. 0 for orthogonal atoms, 0 if there is one only.
    pub overlap: PerAtom,
    /// Variance of the pixels' places about their centroid, weighted by |v|, over that of a uniform image: about 1 for a whole
    /// image, near 0 for a point. `None` without an image shape that fits.
    pub spread: Option<PerAtom>,
    /// Share of Σ|v| in the largest 4-connected component of the pixels with |v| above 20 % of the atom's largest: near 1 for
    /// an atom in one piece. `None` without an image shape that fits.
    pub largest: Option<PerAtom>,
    /// Atoms that are zero, or smaller than 1e-12 times the largest entry of all.
    pub dead: Vec<usize>,
    /// Atoms whose cosine with an earlier atom exceeds .99: (the earlier, the atom).
    pub duplicates: Vec<(usize, usize)>,
}

/// Measures k atoms (k × d); `image` is the (height, width) of an atom drawn row by row, if it is one.
///
/// Cost: k²d for the cosines; memory beside the atoms: as much again.
pub fn atoms(atoms: &Mat, image: Option<(usize, usize)>) -> AtomMeasures {
    let image = image.filter(|(h, w)| h * w == atoms.cols && atoms.cols > 0);
    let largest = atoms.data.iter().fold(0f32, |m, v| m.max(v.abs()));
    let each: Vec<Single> = (0..atoms.rows).into_par_iter().map(|a| Single::of(atoms.row(a), largest * DEAD, image)).collect();
    let dead: Vec<usize> = (0..atoms.rows).filter(|&a| each[a].dead).collect();
    let column = |f: fn(&Single) -> f64| PerAtom::new(each.iter().map(f).collect(), &dead);
    let (overlap, duplicates) = overlaps(atoms, &each, &dead);
    AtomMeasures {
        sparseness: column(|s| s.sparseness),
        small: column(|s| s.small),
        overlap,
        spread: image.map(|_| column(|s| s.spread)),
        largest: image.map(|_| column(|s| s.largest)),
        dead,
        duplicates,
    }
}

/// What an atom says without the others.
#[derive(Default)]
struct Single {
    dead: bool,
    norm: f64,
    sparseness: f64,
    small: f64,
    spread: f64,
    largest: f64,
}

impl Single {
    fn of(v: &[f32], dead: f32, image: Option<(usize, usize)>) -> Self {
        let top = v.iter().fold(0f32, |m, v| m.max(v.abs()));
        if top == 0.0 || top < dead {
            return Self { dead: true, ..Self::default() };
        }
        let size: Vec<f64> = v.iter().map(|v| f64::from(v.abs())).collect();
        let (sum, squares) = (size.iter().sum(), size.iter().map(|s| s * s).sum::<f64>());
        let top = f64::from(top);
        let (spread, largest) = image.map_or((0.0, 0.0), |(_, w)| (spread(&size, sum, w), component(&size, top, w) / sum));
        Self {
            dead: false,
            norm: squares.sqrt(),
            sparseness: hoyer(v.len(), sum, squares),
            small: size.iter().filter(|s| **s < SMALL * top).count() as f64 / v.len() as f64,
            spread,
            largest,
        }
    }
}

/// Variance of places under the weights, over that of equal weights; 0 for an image of one pixel. The centroid is taken first,
/// so that nothing cancels.
fn spread(weights: &[f64], sum: f64, width: usize) -> f64 {
    let variance = |weight: &dyn Fn(usize) -> f64, sum: f64| {
        let places = || (0..weights.len()).map(|i| (weight(i), (i / width) as f64, (i % width) as f64));
        let (y, x) = places().fold((0.0, 0.0), |(y, x), (w, i, j)| (y + w * i / sum, x + w * j / sum));
        places().map(|(w, i, j)| w * ((i - y).powi(2) + (j - x).powi(2))).sum::<f64>() / sum
    };
    let uniform = variance(&|_| 1.0, weights.len() as f64);
    if uniform > 0.0 { variance(&|i| weights[i], sum) / uniform } else { 0.0 }
}

/// Σ|v| in the heaviest 4-connected component of the pixels above [`COMPONENT`] of the top.
fn component(size: &[f64], top: f64, width: usize) -> f64 {
    let mut free: Vec<bool> = size.iter().map(|s| *s > COMPONENT * top).collect();
    let mut stack = Vec::new();
    let mut heaviest = 0f64;
    for start in 0..size.len() {
        if !std::mem::take(&mut free[start]) {
            continue;
        }
        stack.push(start);
        let mut mass = 0.0;
        while let Some(i) = stack.pop() {
            mass += size[i];
            let column = i % width;
            let near = [
                i.checked_sub(width),
                (i + width < size.len()).then_some(i + width),
                (column > 0).then(|| i - 1),
                (column + 1 < width).then_some(i + 1),
            ];
            for j in near.into_iter().flatten() {
                if std::mem::take(&mut free[j]) {
                    stack.push(j);
                }
            }
        }
        heaviest = heaviest.max(mass);
    }
    heaviest
}

/// Mean |cosine| of each atom with the other living ones, and who repeats whom.
fn overlaps(atoms: &Mat, each: &[Single], dead: &[usize]) -> (PerAtom, Vec<(usize, usize)>) {
    const ROWS: usize = 64;
    let (k, d) = (atoms.rows, atoms.cols);
    let unit = unit_rows(atoms, &each.iter().map(|s| s.norm).collect::<Vec<_>>());
    let (sums, twins): (Vec<Vec<f64>>, Vec<Vec<_>>) = (0..k.div_ceil(ROWS))
        .into_par_iter()
        .map(|p| {
            let (from, to) = (p * ROWS, ((p + 1) * ROWS).min(k));
            let mut cosines = vec![0f32; (to - from) * k];
            mul_nt(&mut cosines, &unit.data[from * d..to * d], &unit.data, (to - from, d, k), Into::Replace);
            let rows = || (from..to).zip(cosines.chunks_exact(k));
            let sums = rows()
                .map(|(a, c)| c.iter().enumerate().filter(|(b, _)| *b != a).map(|(_, c)| f64::from(c.abs().min(1.0))).sum());
            let twin = rows().filter_map(|(a, c)| Some((c[..a].iter().position(|c| *c > DUPLICATE)?, a)));
            (sums.collect(), twin.collect())
        })
        .unzip();
    let others = (k - dead.len()).saturating_sub(1).max(1) as f64;
    (PerAtom::new(sums.concat().into_iter().map(|s| s / others).collect(), dead), twins.concat())
}

/// Each row over its norm; rows without one become zeros.
pub(super) fn unit_rows(m: &Mat, norms: &[f64]) -> Mat {
    let mut unit = m.clone();
    for (i, &norm) in norms.iter().enumerate() {
        let row = unit.row_mut(i);
        if norm > 0.0 {
            for v in row {
                *v = (f64::from(*v) / norm) as f32;
            }
        } else {
            row.fill(0.0);
        }
    }
    unit
}
