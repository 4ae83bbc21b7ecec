//! Weights of unseen rows under the divergence: Newton steps, one coordinate at a time.
//!
//! For one row, min over w ≥ 0 of Σ_j wH − x·ln(wH). Along coordinate a the slope is S_a − Σ_j t·x and the curvature
//! Σ_j t²·x, with t = H_aj / (wH)_j and S_a = Σ_j H_aj. The slope is concave in w_a, so a step up never passes the optimum;
//! a step down may, and is held back (Hsieh & Dhillon 2011 show that such steps converge). The first steps are
//! multiplicative, which brings any start close. A row costs 3dk flops and dk divisions a sweep, sparse rows their
//! stored entries in place of d.

use crate::mat::{Mat, Rows};
use pulp::Arch;
use rayon::prelude::*;

/// Least wH, as a share of the row's mean.
const LEAST: f32 = 1e-12;
/// Multiplicative steps before the Newton steps.
const STEPS: usize = 3;
/// What f32 sums can tell from an optimum.
const NOISE: f32 = 3e-6;
const LANES: usize = 16;

/// Weights (n×k) of rows on atoms (k×d) that sum to `sums`.
///
/// A row is done when no slope is more than `tol` of S_a from where it should be: 0 for a positive weight, at
/// least 0 for a weight of 0; or after `sweeps` sweeps.
pub(super) fn divergence(x: &Rows, atoms: &Mat, sums: &[f64], tol: f64, sweeps: usize) -> Mat {
    let (k, d) = (atoms.rows, atoms.cols);
    let mut out = Mat::zeros(x.rows(), k);
    let turned = if matches!(x, Rows::Sparse(_)) { atoms.transpose() } else { Mat::default() };
    out.data.par_chunks_mut(k).enumerate().for_each_init(Row::default, |row, (i, w)| {
        row.start(k, sums);
        match x {
            // Zeros of the data say nothing but what the sums say already.
            Rows::Dense(x) => {
                row.columns.extend((0..d as u32).filter(|&j| x.row(i)[j as usize] > 0.0));
                row.x.extend(x.row(i).iter().filter(|v| **v > 0.0));
                if row.x.len() == d {
                    row.h.extend_from_slice(&atoms.data);
                } else {
                    let columns = &row.columns;
                    (0..k).for_each(|a| row.h.extend(columns.iter().map(|&j| atoms.data[a * d + j as usize])));
                }
            }
            Rows::Sparse(x) => {
                let (columns, values) = x.row(i);
                row.x.extend_from_slice(values);
                (0..k).for_each(|a| row.h.extend(columns.iter().map(|&j| turned.data[j as usize * k + a])));
            }
        }
        Arch::new().dispatch(|| row.solve((tol as f32).max(NOISE), sweeps));
        w.copy_from_slice(&row.w);
    });
    out
}

/// One row's problem, over the m columns in which the row is not 0.
#[derive(Default)]
struct Row {
    columns: Vec<u32>,
    /// The row, divided by its mean (m).
    x: Vec<f32>,
    /// The atoms at these columns (k×m).
    h: Vec<f32>,
    /// S (k), over all columns.
    sums: Vec<f32>,
    /// wH (m).
    q: Vec<f32>,
    /// The weights (k).
    w: Vec<f32>,
}

impl Row {
    fn start(&mut self, k: usize, sums: &[f64]) {
        self.columns.clear();
        self.x.clear();
        self.h.clear();
        self.sums.clear();
        self.sums.extend(sums.iter().map(|&s| s as f32));
        self.w.clear();
        self.w.resize(k, 0.0);
    }

    #[inline(always)]
    fn solve(&mut self, tol: f32, sweeps: usize) {
        let m = self.x.len();
        let total: f64 = self.x.iter().map(|&v| f64::from(v)).sum();
        if total <= 0.0 {
            return;
        }
        // In units of the row's mean, nothing is too large or too small.
        let unit = total / m as f64;
        self.x.iter_mut().for_each(|v| *v = (f64::from(*v) / unit) as f32);
        let all: f32 = self.sums.iter().sum();
        for (w, &s) in self.w.iter_mut().zip(&self.sums) {
            *w = if s > 0.0 { m as f32 / all } else { 0.0 };
        }
        for sweep in 0..sweeps + STEPS {
            self.superpose();
            let done = if sweep < STEPS { self.multiply() } else { self.newton(tol) };
            if done {
                break;
            }
        }
        self.w.iter_mut().for_each(|w| *w = (f64::from(*w) * unit) as f32);
    }

    /// q = wH, anew in every sweep so that no rounding piles up.
    #[inline(always)]
    fn superpose(&mut self) {
        let m = self.x.len();
        self.q.clear();
        self.q.resize(m, 0.0);
        for (&w, h) in self.w.iter().zip(self.h.chunks_exact(m)).filter(|(w, _)| **w > 0.0) {
            add(&mut self.q, w, h);
        }
    }

    /// All weights by the multiplicative rule.
    #[inline(always)]
    fn multiply(&mut self) -> bool {
        let m = self.x.len();
        for ((w, h), &s) in self.w.iter_mut().zip(self.h.chunks_exact(m)).zip(&self.sums).filter(|(_, s)| **s > 0.0) {
            *w *= slope(h, &self.x, &self.q).0 / s;
        }
        false
    }

    /// One Newton step for every weight in turn; true if all of them were where they should be.
    #[inline(always)]
    fn newton(&mut self, tol: f32) -> bool {
        let m = self.x.len();
        let mut done = true;
        for (a, h) in self.h.chunks_exact(m).enumerate() {
            let (s, old) = (self.sums[a], self.w[a]);
            if s <= 0.0 {
                continue;
            }
            let (pull, curve) = slope(h, &self.x, &self.q);
            let up = pull - s;
            if up <= 0.0 && old == 0.0 {
                continue;
            }
            done &= up.abs() <= tol * s;
            let step = if curve > 0.0 { old + up / curve } else { 0.0 };
            let new = if step > 0.0 {
                step.max(0.25 * old)
            } else if self.best_at_zero(h, old, s) {
                0.0
            } else {
                old * (pull / s).max(0.25)
            };
            if new != old {
                self.w[a] = new;
                add(&mut self.q, new - old, h);
            }
        }
        done
    }

    /// Whether the slope at a weight of 0 says to stay there.
    #[inline(always)]
    fn best_at_zero(&self, h: &[f32], w: f32, s: f32) -> bool {
        let pull: f32 = h.iter().zip(&self.x).zip(&self.q).map(|((h, x), q)| h * x / (q - w * h).max(LEAST)).sum();
        pull <= s
    }
}

/// q += w·h
#[inline(always)]
fn add(q: &mut [f32], w: f32, h: &[f32]) {
    for (q, &h) in q.iter_mut().zip(h) {
        *q += w * h;
    }
}

/// Σ x·t and Σ x·t², t = h / q.
#[inline(always)]
fn slope(h: &[f32], x: &[f32], q: &[f32]) -> (f32, f32) {
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    let ((hs, h), (xs, x), (qs, q)) = (h.as_chunks::<LANES>(), x.as_chunks::<LANES>(), q.as_chunks::<LANES>());
    let mut term = |l: usize, h: f32, x: f32, q: f32| {
        let t = h / q.max(LEAST);
        first[l] += x * t;
        second[l] += x * t * t;
    };
    for ((h, x), q) in hs.iter().zip(xs).zip(qs) {
        for l in 0..LANES {
            term(l, h[l], x[l], q[l]);
        }
    }
    for (l, ((&h, &x), &q)) in h.iter().zip(x).zip(q).enumerate() {
        term(l, h, x, q);
    }
    (first.iter().sum(), second.iter().sum())
}
