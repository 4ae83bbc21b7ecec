//! Measures of codes: who uses what?

use super::atoms::DEAD;
use super::{PerAtom, hoyer};
use crate::mat::Rows;
use crate::model::Codes;
use crate::moments::by_panel;
use serde::{Deserialize, Serialize};

/// Weights below this share of the atom's largest |weight| are called small.
const SMALL: f32 = 0.01;
/// A weight above this share of the atom's largest |weight| is active: multiplicative rules leave 1e-20 where others leave 0.
const ACTIVE: f32 = 1e-6;

/// Measures of codes z of n rows on k atoms; those of signed codes are of |z|.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CodeMeasures {
    /// Number of rows (n).
    pub rows: usize,
    /// Hoyer's sparseness of each atom's n weights: 1 for an atom of a single row. Called that of the rows of H where, as in
    /// the papers on NMF, H is k × n.
    pub atom_sparseness: PerAtom,
    /// Mean over rows of the Hoyer sparseness of a row's k weights: 1 where every row uses one atom (the columns of H). Rows of
    /// zeros are left out.
    pub row_sparseness: f64,
    /// Share of each atom's weights below 1 % of its largest.
    pub small: PerAtom,
    /// L0: mean number of atoms that are active in a row.
    pub l0: f64,
    /// Share of rows in which each atom is active.
    pub usage: Vec<f64>,
    /// Atoms that no row uses: weights that are zero, or smaller than 1e-12 times the largest of all. They count in no mean.
    pub dead: Vec<usize>,
}

/// Measures codes (n × k). Two passes over them; sparse codes cost their stored entries.
pub fn codes(codes: &Codes) -> CodeMeasures {
    let (n, k, z) = (codes.rows(), codes.cols(), codes.view());
    let mut sums = Sums::new(k);
    by_panel(&z, |z| Sums::of(z, k), |part| sums.add(&part));
    let largest = sums.top.iter().fold(0f32, |m, &t| m.max(t));
    let dead: Vec<usize> = (0..k).filter(|&a| sums.top[a] == 0.0 || sums.top[a] < largest * DEAD).collect();
    for &a in &dead {
        // Nothing is above it: no entry of a dead atom is active.
        sums.top[a] = f32::INFINITY;
    }
    let (mut large, mut active) = (vec![0usize; k], vec![0usize; k]);
    by_panel(
        &z,
        |z| [above(z, &sums.top, SMALL), above(z, &sums.top, ACTIVE)],
        |[l, a]| {
            large.iter_mut().zip(l).for_each(|(s, c)| *s += c);
            active.iter_mut().zip(a).for_each(|(s, c)| *s += c);
        },
    );
    let share = |count: usize| if n == 0 { 0.0 } else { count as f64 / n as f64 };
    let sparseness = (0..k).map(|a| hoyer(n, sums.sum[a], sums.squares[a])).collect();
    CodeMeasures {
        rows: n,
        atom_sparseness: PerAtom::new(sparseness, &dead),
        row_sparseness: if sums.used == 0 { 0.0 } else { sums.sparseness / sums.used as f64 },
        small: PerAtom::new(large.iter().map(|&l| share(n - l)).collect(), &dead),
        l0: active.iter().map(|&a| share(a)).sum(),
        usage: active.into_iter().map(share).collect(),
        dead,
    }
}

/// Σ|z|, Σz² and max |z| of each atom, and the sparseness of the rows that are not zero.
struct Sums {
    sum: Vec<f64>,
    squares: Vec<f64>,
    top: Vec<f32>,
    sparseness: f64,
    used: usize,
}

impl Sums {
    fn new(k: usize) -> Self {
        Self { sum: vec![0.0; k], squares: vec![0.0; k], top: vec![0.0; k], sparseness: 0.0, used: 0 }
    }

    fn of(z: &Rows, k: usize) -> Self {
        let mut s = Self::new(k);
        entries(z, |a, v| {
            s.sum[a] += f64::from(v.abs());
            s.squares[a] += f64::from(v) * f64::from(v);
            s.top[a] = s.top[a].max(v.abs());
        });
        for i in 0..z.rows() {
            let row = match z {
                Rows::Dense(z) => z.row(i),
                Rows::Sparse(z) => z.row(i).1,
            };
            let sum = row.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            if sum > 0.0 {
                s.sparseness += hoyer(k, sum, row.iter().map(|&v| f64::from(v) * f64::from(v)).sum());
                s.used += 1;
            }
        }
        s
    }

    fn add(&mut self, other: &Self) {
        for a in 0..self.sum.len() {
            self.sum[a] += other.sum[a];
            self.squares[a] += other.squares[a];
            self.top[a] = self.top[a].max(other.top[a]);
        }
        self.sparseness += other.sparseness;
        self.used += other.used;
    }
}

/// How many weights of each atom reach a share of its largest.
fn above(z: &Rows, top: &[f32], share: f32) -> Vec<usize> {
    let mut count = vec![0; top.len()];
    entries(z, |a, v| count[a] += usize::from(v.abs() >= share * top[a]));
    count
}

/// Every stored weight with its atom.
#[inline(always)]
fn entries(z: &Rows, mut see: impl FnMut(usize, f32)) {
    match z {
        Rows::Dense(z) => {
            for row in z.data.chunks_exact(z.cols.max(1)) {
                row.iter().enumerate().for_each(|(a, &v)| see(a, v));
            }
        }
        Rows::Sparse(z) => z.indices.iter().zip(z.values.iter()).for_each(|(&a, &v)| see(a as usize, v)),
    }
}
