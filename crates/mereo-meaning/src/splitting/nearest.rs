//! The nearest atoms of another model, and the best match of both.

use mereo::linalg::{Into, dot, mul_nt, rows_times_t};
use mereo::measure::{Near, Pair, assign};
use mereo::{Error, Mat, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Pairs of atoms up to which they are matched exactly.
const PAIRS: usize = 1 << 26;
/// Atoms of the smaller side up to which they are: time grows with their square.
const ATOMS: usize = 8192;
/// Partners that an atom may get where the match is not exact.
const FEW: usize = 32;

/// For each atom of `from` (k₁ × d) the one of `to` (k₂ × d) with the largest cosine; ties go to the lower index. `None` for an atom that
/// is zero, or if all of `to` are.
///
/// Cost: k₁k₂d in blocks of 64 × 1024, which threads share.
///
/// # Errors
/// Different widths, no atoms on a side, a NaN or an infinity.
pub fn nearest(from: &Mat, to: &Mat) -> Result<Vec<Option<Near>>> {
    Ok(few(from, to, 1)?.into_iter().map(|near| near.first().copied()).collect())
}

/// The `count` nearest, by falling cosine.
pub(super) fn few(from: &Mat, to: &Mat, count: usize) -> Result<Vec<Vec<Near>>> {
    const SIDE: usize = 64;
    const TILE: usize = 1024;
    check(from, to)?;
    // Products over lengths, rather than unit atoms: a copy of a large model is as large.
    let (inverse, other) = (inverses(from)?, inverses(to)?);
    let d = from.cols;
    let blocks: Vec<Vec<Vec<Near>>> = from
        .data
        .par_chunks(SIDE * d)
        .zip(inverse.par_chunks(SIDE))
        .map_init(
            || vec![0f32; SIDE * TILE],
            |products, (rows, inverse)| {
                let mut best: Vec<Vec<Near>> = vec![Vec::with_capacity(count + 1); inverse.len()];
                for (t, (tile, other)) in to.data.chunks(TILE * d).zip(other.chunks(TILE)).enumerate() {
                    let width = other.len();
                    mul_nt(products, rows, tile, (inverse.len(), d, width), Into::Replace);
                    for ((best, row), a) in best.iter_mut().zip(products.chunks(width)).zip(inverse).filter(|(_, a)| **a > 0.0) {
                        for (j, (p, b)) in row.iter().zip(other).enumerate().filter(|(_, (_, b))| **b > 0.0) {
                            let cosine = (f64::from(*p) * a * b).clamp(-1.0, 1.0);
                            if best.len() < count || best.last().is_some_and(|last| cosine > last.cosine) {
                                let at = best.partition_point(|near| near.cosine >= cosine);
                                best.insert(at, Near { atom: t * TILE + j, cosine });
                                best.truncate(count);
                            }
                        }
                    }
                }
                best
            },
        )
        .collect();
    Ok(blocks.concat())
}

fn check(a: &Mat, b: &Mat) -> Result<()> {
    if a.cols != b.cols || a.rows == 0 || b.rows == 0 || a.cols == 0 {
        return Err(Error::data(format!(
            "{} atoms of {} columns can't be compared with {} of {}; give two models of the same data",
            a.rows, a.cols, b.rows, b.cols
        )));
    }
    Ok(())
}

/// One over each atom's length; 0 for one that is zero.
fn inverses(atoms: &Mat) -> Result<Vec<f64>> {
    let inverse = |a: usize| {
        let length = dot(atoms.row(a), atoms.row(a)).sqrt();
        if !length.is_finite() {
            return Err(Error::data(format!("atom {a} has a number that is not finite; give atoms of a model that converged")));
        }
        Ok(if length > 0.0 { length.recip() } else { 0.0 })
    };
    (0..atoms.rows).into_par_iter().map(inverse).collect()
}

/// A match in which no atom stands twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneToOne {
    /// Pairs with a cosine above 0, by rising atom of the first side.
    pub pairs: Vec<Pair>,
    /// Sum of their cosines over the number of atoms of the smaller side: one without a partner counts 0.
    pub mean: f64,
    /// Whether the sum of cosines is the largest possible.
    pub exact: bool,
}

/// Pairs the atoms of `a` (k₁ × d) with those of `b` (k₂ × d).
///
/// Unlike [`mereo::measure::matched`], an atom is no match of its opposite: codes of sparse autoencoders don't change sign. Up to 8,192
/// atoms on the smaller side and 2²⁶ pairs the sum of cosines is the largest possible; beyond, each atom of the smaller side has its 32
/// nearest to choose from, and the nearest pairs of all are taken first.
///
/// # Errors
/// Those of [`nearest`].
pub fn one_to_one(a: &Mat, b: &Mat) -> Result<OneToOne> {
    let swapped = a.rows > b.rows;
    let (fewer, more) = if swapped { (b, a) } else { (a, b) };
    let exact = fewer.rows <= ATOMS && fewer.rows.saturating_mul(more.rows) <= PAIRS;
    let found = if exact { best(fewer, more)? } else { greedy(&few(fewer, more, FEW)?, more.rows) };
    let mean = found.iter().map(|p| p.cosine).sum::<f64>() / fewer.rows as f64;
    let mut pairs: Vec<Pair> =
        found.into_iter().map(|p| if swapped { Pair { a: p.b, b: p.a, cosine: p.cosine } } else { p }).collect();
    pairs.sort_unstable_by_key(|p| p.a);
    Ok(OneToOne { pairs, mean, exact })
}

/// The match with the largest sum.
fn best(fewer: &Mat, more: &Mat) -> Result<Vec<Pair>> {
    check(fewer, more)?;
    let (a, b) = (inverses(fewer)?, inverses(more)?);
    let mut cosines = rows_times_t(&fewer.view(), more);
    cosines.data.par_chunks_mut(more.rows).zip(&a).for_each(|(row, a)| {
        // What is below 0 is no match, and must not win as a large |cosine|.
        row.iter_mut().zip(&b).for_each(|(c, b)| *c = (f64::from(*c) * a * b).clamp(0.0, 1.0) as f32);
    });
    let pairs = assign(&cosines).into_iter().enumerate();
    Ok(pairs.map(|(a, b)| Pair { a, b, cosine: f64::from(cosines.row(a)[b]) }).filter(|p| p.cosine > 0.0).collect())
}

/// The nearest pair first, then the nearest of the rest, and so on; ties by index.
pub(super) fn greedy(near: &[Vec<Near>], others: usize) -> Vec<Pair> {
    let pair = |(a, near): (usize, &Vec<Near>)| {
        near.iter().filter(|n| n.cosine > 0.0).map(|n| Pair { a, b: n.atom, cosine: n.cosine }).collect::<Vec<_>>()
    };
    let mut pairs: Vec<Pair> = near.iter().enumerate().flat_map(pair).collect();
    pairs.sort_unstable_by(|x, y| y.cosine.total_cmp(&x.cosine).then((x.a, x.b).cmp(&(y.a, y.b))));
    let (mut a, mut b) = (vec![false; near.len()], vec![false; others]);
    pairs.retain(|p| {
        let free = !a[p.a] && !b[p.b];
        if free {
            (a[p.a], b[p.b]) = (true, true);
        }
        free
    });
    pairs
}
