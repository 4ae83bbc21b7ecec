//! Which atom of one fit is which of another.

use super::atoms::unit_rows;
use crate::error::{Error, Result};
use crate::linalg::{dot, rows_times_t};
use crate::mat::Mat;
use serde::{Deserialize, Serialize};

/// The best one-to-one match between the atoms of two fits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Matched {
    /// As many pairs as the smaller side has atoms, by rising atom of the first.
    pub pairs: Vec<Pair>,
    /// Mean |cosine| of the pairs: 1 if both fits found the same atoms, whatever their order, length and sign.
    pub mean: f64,
}

/// Two atoms that stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Atom of the first fit.
    pub a: usize,
    /// Atom of the second.
    pub b: usize,
    /// Their cosine, with its sign; 0 if one is zero.
    pub cosine: f64,
}

/// Pairs the atoms of `a` (k₁ × d) with those of `b` (k₂ × d) so that the sum of |cosine| is the largest possible: the
/// assignment problem, solved exactly by shortest augmenting paths (Jonker & Volgenant 1987) in min(k)² max(k) steps and
/// memory for k₁ × k₂ numbers.
///
/// # Errors
/// Different widths, or no atoms on a side.
pub fn matched(a: &Mat, b: &Mat) -> Result<Matched> {
    if a.cols != b.cols || a.rows == 0 || b.rows == 0 {
        return Err(Error::data(format!(
            "{} atoms of {} columns can't be matched with {} of {}; give two fits of the same data",
            a.rows, a.cols, b.rows, b.cols
        )));
    }
    let unit = |m: &Mat| unit_rows(m, &(0..m.rows).map(|i| dot(m.row(i), m.row(i)).sqrt()).collect::<Vec<_>>());
    let swapped = a.rows > b.rows;
    let (few, many) = if swapped { (unit(b), unit(a)) } else { (unit(a), unit(b)) };
    let mut cosines = rows_times_t(&few.view(), &many);
    cosines.data.iter_mut().for_each(|c| *c = c.clamp(-1.0, 1.0));
    let partner = assign(&cosines);
    let mut pairs: Vec<Pair> = partner
        .into_iter()
        .enumerate()
        .map(|(i, j)| {
            let (a, b) = if swapped { (j, i) } else { (i, j) };
            Pair { a, b, cosine: f64::from(cosines.row(i)[j]) }
        })
        .collect();
    pairs.sort_by_key(|p| p.a);
    let mean = pairs.iter().map(|p| p.cosine.abs()).sum::<f64>() / pairs.len() as f64;
    Ok(Matched { pairs, mean })
}

/// How alike the atoms of several fits are, of several seeds for instance: the mean of [`Matched::mean`] over all pairs of fits.
///
/// # Errors
/// Fewer than two fits, or fits that can't be matched.
pub fn stability(fits: &[&Mat]) -> Result<f64> {
    if fits.len() < 2 {
        return Err(Error::parameter(format!("stability compares two fits or more, not {}; fit with several seeds", fits.len())));
    }
    let mut sum = 0.0;
    for (i, a) in fits.iter().enumerate() {
        for b in &fits[..i] {
            sum += matched(a, b)?.mean;
        }
    }
    Ok(sum / (fits.len() * (fits.len() - 1) / 2) as f64)
}

/// How surely other fits find the atoms of one again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FoundAgain {
    /// For each atom, the mean over the other fits of |cosine| with its match; 0 where a smaller fit has none.
    pub each: Vec<f64>,
    /// The least of those.
    pub least: Vec<f64>,
}

/// Matches the atoms of one fit (k × d) with those of each of the others.
///
/// # Errors
/// No other fits, or fits that can't be matched.
pub fn found_again(atoms: &Mat, others: &[&Mat]) -> Result<FoundAgain> {
    if others.is_empty() {
        return Err(Error::parameter("there is no other fit to look for the atoms in; fit with several seeds"));
    }
    let (mut each, mut least) = (vec![0.0; atoms.rows], vec![1.0; atoms.rows]);
    for other in others {
        let mut here = vec![0.0; atoms.rows];
        matched(atoms, other)?.pairs.iter().for_each(|p| here[p.a] = p.cosine.abs());
        for (a, cosine) in here.into_iter().enumerate() {
            each[a] += cosine / others.len() as f64;
            least[a] = f64::min(least[a], cosine);
        }
    }
    Ok(FoundAgain { each, least })
}

/// For each row of `gain` (m × n, m ≤ n) a column of its own, so that the sum of the picked |gain| is the largest possible.
///
/// One row after another enters along the path of least reduced cost from it to a free column (Dijkstra); `u` and `v` are
/// the dual prices that keep all reduced costs 1 − |gain| − u − v at 0 or above. Entries lie in [−1, 1].
///
/// # Panics
/// More rows than columns.
pub fn assign(gain: &Mat) -> Vec<usize> {
    let (m, n) = (gain.rows, gain.cols);
    let (mut u, mut v) = (vec![0f64; m], vec![0f64; n]);
    let mut row_of: Vec<Option<usize>> = vec![None; n];
    for start in 0..m {
        let mut reach = vec![f64::INFINITY; n];
        let mut from: Vec<Option<usize>> = vec![None; n];
        let mut done: Vec<usize> = Vec::new();
        let mut open: Vec<usize> = (0..n).collect();
        let (mut row, mut via, mut length) = (start, None, 0.0);
        let end = loop {
            let (costs, mut best) = (gain.row(row), 0);
            for (at, &j) in open.iter().enumerate() {
                let cost = length + 1.0 - f64::from(costs[j].abs()) - u[row] - v[j];
                if cost < reach[j] {
                    (reach[j], from[j]) = (cost, via);
                }
                if reach[j] < reach[open[best]] {
                    best = at;
                }
            }
            let j = open.swap_remove(best);
            length = reach[j];
            let Some(next) = row_of[j] else { break j };
            done.push(j);
            (row, via) = (next, Some(j));
        };
        u[start] += length;
        for &j in &done {
            v[j] += reach[j] - length;
            if let Some(i) = row_of[j] {
                u[i] += length - reach[j];
            }
        }
        // Back along the path: each column takes the row of the column before it.
        let mut j = end;
        while let Some(before) = from[j] {
            row_of[j] = row_of[before];
            j = before;
        }
        row_of[j] = Some(start);
    }
    let mut column_of = vec![0; m];
    for (j, i) in row_of.into_iter().enumerate().filter_map(|(j, i)| Some((j, i?))) {
        column_of[i] = j;
    }
    column_of
}
