//! Second-order steps of dense rows: exact slopes, and one curvature for all of them.

use super::super::hals::{Effort, Quadratic};
use super::super::product::{self, Packed};
use super::super::{Nmf, NmfState, NmfStats, as_f32, multiplicative, take};
use super::entries::{along, divergence_of, ratios};
use super::{LEFT, at_least_tiny};
use crate::mat::{DenseRows, Rows};
use pulp::Arch;
use rayon::prelude::*;

/// Rows of which the ratios are held at once: a whole number of runs of the sums over rows.
const PIECE: usize = product::DEPTH;
/// Numbers of wh that a thread works on at once.
const HELD: usize = 1 << 16;
/// Least share of a row's step.
const SHORTEST: f32 = 0.05;
/// Sweeps for weights that start from nothing, for atoms that are good already.
const COLD: usize = 30;

/// What all dense rows of a pass share.
struct Shared<'a> {
    state: &'a NmfState,
    how: &'a Nmf,
    penalty: (f32, f32),
    /// Σ_j H + l1 (k).
    slopes: Vec<f32>,
    columns: Vec<f32>,
    /// G with L2 on its diagonal (k×k).
    gram: Vec<f32>,
    packed: Packed,
    turned: Packed,
    atoms: Packed,
}

/// Numbers of a thread at work.
#[derive(Default)]
struct Scratch {
    above: Vec<f32>,
    step: Vec<f32>,
    right: Vec<f32>,
    visited: Vec<f32>,
}

/// What a row leaves behind besides its weights and ratios.
#[derive(Clone, Copy, Default)]
struct Left {
    a: f32,
    cost: f64,
    gradient: f64,
}

/// Improves the weights (n×k) of dense rows and adds what they leave behind.
pub(super) fn dense(how: &Nmf, state: &NmfState, x: &DenseRows, penalty: (f32, f32), w: &mut [f32], into: &mut NmfStats) {
    let (d, k) = (x.cols, how.k);
    let at = state.at();
    let columns = if state.columns.is_empty() { vec![1.0; d] } else { as_f32(&state.columns) };
    let mut gram = state.gram.clone();
    (0..k).for_each(|a| gram[a * k + a] += penalty.1);
    let shared = Shared {
        state,
        how,
        penalty,
        slopes: state.sums.iter().map(|&s| s as f32 + penalty.0).collect(),
        columns,
        packed: Packed::new(&gram, k),
        gram,
        turned: Packed::new(&at.data, k),
        atoms: Packed::new(&at.transpose().data, d),
    };
    if state.pass == 0 && state.warm {
        shared.solve_squares(x, w);
    }
    let rows = PIECE.min(x.rows());
    let (mut wh, mut q, mut left) = (vec![0f32; rows * d], vec![0f32; rows * d], vec![Left::default(); rows]);
    let (of_w, rest) = into.ww[k..].split_at_mut(k * k);
    let (of_columns, of_a) = rest.split_at_mut(d);
    let held = (HELD / d).next_multiple_of(6).clamp(6, 96);
    for (x, w) in x.data.chunks(PIECE * d).zip(w.chunks_mut(PIECE * k)) {
        let n = w.len() / k;
        let (wh, q, left) = (&mut wh[..n * d], &mut q[..n * d], &mut left[..n]);
        let held = held.min(take(n));
        let parts = x.par_chunks(held * d).zip(w.par_chunks_mut(held * k)).zip(left.par_chunks_mut(held));
        parts
            .zip(wh.par_chunks_mut(held * d).zip(q.par_chunks_mut(held * d)))
            .for_each_init(Scratch::default, |scratch, (((x, w), left), (wh, q))| shared.rows(x, w, wh, q, left, scratch));
        product::add_transposed(&mut into.xw, &Rows::dense(d, q), w, k, 1.0);
        let weighted: Vec<f32> = w.chunks_exact(k).zip(&*left).flat_map(|(w, l)| w.iter().map(|w| w * l.a)).collect();
        product::add_transposed(of_w, &Rows::dense(k, &weighted), w, k, 1.0);
        let strip = product::TILE;
        of_columns.par_chunks_mut(strip).enumerate().for_each(|(s, into)| {
            let mut sums = [0f32; product::TILE];
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    for ((q, wh), left) in q.chunks_exact(d).zip(wh.chunks_exact(d)).zip(&*left).filter(|(_, l)| l.a > 0.0) {
                        let (over, span) = (1.0 / left.a, s * strip..s * strip + into.len());
                        for ((sum, q), wh) in sums.iter_mut().zip(&q[span.clone()]).zip(&wh[span]) {
                            *sum += over * (q / wh);
                        }
                    }
                },
            );
            into.iter_mut().zip(sums).for_each(|(t, s)| *t += f64::from(s));
        });
        of_a[0] += left.iter().map(|l| f64::from(l.a)).sum::<f64>();
        of_a[1] += left.iter().filter(|l| l.a > 0.0).count() as f64;
        into.sums[3] += left.iter().map(|l| l.cost).sum::<f64>();
        into.sums[5] += left.iter().map(|l| l.gradient).sum::<f64>();
    }
}

impl Shared<'_> {
    /// Weights (n×k) from nothing: those of the squared error, weighted by column.
    fn solve_squares(&self, x: &DenseRows, w: &mut [f32]) {
        let (d, k) = (x.cols, self.how.k);
        let weighted: Vec<f32> =
            self.state.at().data.chunks_exact(k).zip(&self.columns).flat_map(|(h, b)| h.iter().map(move |h| h * b)).collect();
        let weighted = Packed::new(&weighted, k);
        let problem = Quadratic::new(k, &self.gram, 0.0);
        let least = 1e-3 * (self.state.mean / k as f64).sqrt() as f32;
        let take = take(x.rows());
        w.par_chunks_mut(take * k).zip(x.data.par_chunks(take * d)).for_each(|(w, x)| {
            let mut b = vec![0f32; w.len()];
            product::rows_times(&mut b, &Rows::dense(d, x), &weighted);
            b.iter_mut().for_each(|b| *b = *b * self.state.scale - self.penalty.0);
            w.fill(0.0);
            problem.refine(w, &b, Effort { sweeps: COLD, tol: 1e-3 }, &mut vec![0.0; w.len() / k]);
            w.iter_mut().for_each(|w| *w = w.max(least));
        });
    }

    /// Improves the weights of a few rows; leaves wH and x/wH of the new ones behind.
    fn rows(&self, x: &[f32], w: &mut [f32], wh: &mut [f32], q: &mut [f32], left: &mut [Left], scratch: &mut Scratch) {
        let (d, k, n) = (self.columns.len(), self.how.k, left.len());
        let scale = self.state.scale;
        let Scratch { above, step, right, visited } = scratch;
        above.resize(n * k, 0.0);
        step.resize(n * k, 0.0);
        right.resize(n * k, 0.0);
        visited.resize(n, 0.0);
        product::rows_times(wh, &Rows::dense(k, w), &self.atoms);
        for (((x, wh), q), left) in x.chunks_exact(d).zip(wh.chunks_exact(d)).zip(q.chunks_exact_mut(d)).zip(&mut *left) {
            let (sum, square) = Arch::new().dispatch(
                #[inline(always)]
                || ratios(x, wh, q, &self.columns, scale),
            );
            left.a = if sum > 0.0 && square > 0.0 { sum / square } else { 0.0 };
            left.gradient = 0.0;
        }
        product::rows_times(above, &Rows::dense(d, q), &self.turned);
        if self.state.caution.rest > 0 {
            let below = self.slopes.repeat(n);
            multiplicative::step(w, above, &below, (0.0, self.penalty.1), 1.0);
            product::rows_times(wh, &Rows::dense(k, w), &self.atoms);
        } else {
            product::rows_times(right, &Rows::dense(k, w), &self.packed);
            let rows = right.chunks_exact_mut(k).zip(above.chunks_exact(k)).zip(w.chunks_exact(k)).zip(&*left);
            for (((right, above), w), left) in rows {
                let over = if left.a > 0.0 { 1.0 / left.a } else { 0.0 };
                for (((right, above), w), slope) in right.iter_mut().zip(above).zip(w).zip(&self.slopes) {
                    *right += (above - slope - self.penalty.1 * w) * over;
                }
            }
            step.copy_from_slice(w);
            let effort = Effort { sweeps: self.how.sweeps, tol: 0.0 };
            Quadratic::new(k, &self.gram, 0.0).refine(step, right, effort, visited);
            step.iter_mut().zip(&*w).for_each(|(s, w)| *s = s.max(LEFT * w) - w);
            product::rows_times(q, &Rows::dense(k, step), &self.atoms);
            let rows = x.chunks_exact(d).zip(wh.chunks_exact_mut(d)).zip(q.chunks_exact(d));
            let steps = w.chunks_exact_mut(k).zip(step.chunks_exact(k));
            for ((((x, wh), p), (w, step)), (left, visited)) in rows.zip(steps).zip(left.iter_mut().zip(&*visited)) {
                left.gradient = f64::from(left.a) * f64::from(*visited);
                // A row of zeros is best explained by nothing.
                let share = if left.a > 0.0 { self.share(x, wh, p, w, step) } else { 0.0 };
                w.iter_mut().zip(step).for_each(|(w, s)| *w = at_least_tiny(*w + share * s));
                wh.iter_mut().zip(p).for_each(|(wh, p)| *wh += share * p);
                if left.a == 0.0 {
                    w.fill(0.0);
                    wh.fill(0.0);
                }
            }
        }
        for (((x, wh), q), left) in x.chunks_exact(d).zip(wh.chunks_exact_mut(d)).zip(q.chunks_exact_mut(d)).zip(left) {
            left.cost = Arch::new().dispatch(
                #[inline(always)]
                || divergence_of(x, wh, q, scale),
            );
        }
    }

    /// How much of a row's step to take: two Newton steps from all of it towards the least divergence.
    fn share(&self, x: &[f32], wh: &[f32], p: &[f32], w: &[f32], step: &[f32]) -> f32 {
        let (mut linear, mut square) = (0f32, 0f32);
        for ((w, s), slope) in w.iter().zip(step).zip(&self.slopes) {
            linear += s * (slope + self.penalty.1 * w);
            square += self.penalty.1 * s * s;
        }
        let mut share = 1f32;
        for _ in 0..2 {
            let (first, second) = Arch::new().dispatch(
                #[inline(always)]
                || along(x, wh, p, share, self.state.scale),
            );
            let (slope, curve) = (linear + share * square - first, square + second);
            if curve.is_nan() || curve <= 0.0 || share == 1.0 && slope <= 0.0 {
                return share;
            }
            share = (share - slope / curve).clamp(SHORTEST, 1.0);
        }
        share
    }
}
