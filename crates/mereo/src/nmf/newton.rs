//! The Kullback–Leibler divergence, by second-order steps.
//!
//! Dense rows. The Hessian of a row's problem, H·diag(x/wh²)·Hᵀ, costs dk² for every row. Where the fit is fair, x/wh² is close to
//! a product a_i·b_j of a number for the row and one for the column, and then all rows share one matrix G = H·diag(b)·Hᵀ
//! (k×k), and all columns one Wᵀ·diag(a)·W. So a pass takes exact slopes, which cost what a multiplicative step does, and
//! solves the quadratic problem of the shared matrix by the sweeps of coordinate descent on squared error. The curvature along a
//! row is the true one, a_i = Σ_j x / Σ_j b·wh², and that of a column a mean over rows, b_j = Σ_i (x/wh²)/a_i / n. No number falls to
//! less than a tenth, so that wh doesn't either: far from an optimum the curvature would say too little of what is ahead.
//! A row then goes along its step as far as the divergence falls. The atoms can't look ahead: a pass that has made the
//! divergence larger is undone, their next steps are shorter, and after a second one in a row a multiplicative pass is taken, which
//! can't rise.
//!
//! Sparse rows, and dense ones with few numbers other than 0 ([`THIN`]). The few entries of a row are gathered, and its weights go by Newton steps one after the other
//! (Hsieh & Dhillon 2011), several times while the entries are near; the atoms are multiplied, by the multiplicative rule's ratio to the
//! power 1.5. A column's share of the sums is formed
//! in one go, over an index of the block by columns.
//!
//! Cost of a pass: 8ndk flops and 4nd divisions; sparse: 4k flops for each sweep and stored entry, 6k besides.

use super::hals::{Effort, Quadratic};
use super::multiplicative::TINY;
use super::product::{self, Packed};
use super::{Nmf, NmfState, NmfStats, column_sums, divergence, init, pace, take};
use crate::fold::Progress;
use crate::mat::{Mat, Rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod dense;
mod entries;
mod sparse;

/// Multiplicative passes at the start: far from any optimum the curvature says little.
const FIRST: u32 = 2;
/// How much steeper than it is the shared curvature is taken to be: at first, after a pass too far, and after a good one.
const DAMP: f64 = 1.5;
const MORE: f64 = 2.0;
const LESS: f64 = 0.97;
/// Rows are thin if no more than this share of their numbers is other than 0: then entries cost less than dense products do.
pub(super) const THIN: f64 = 0.125;
/// Least share of itself that a number falls to in one pass.
const LEFT: f32 = 0.1;
/// What the sums can tell of the divergence, as a share of it.
const NOISE: f64 = 1e-7;

/// How far the steps of the atoms can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Caution {
    /// Multiplicative passes left.
    rest: u32,
    /// The shared curvature is taken this many times.
    damp: f64,
    /// The last pass was undone.
    rejected: bool,
    /// Passes undone since one went well that did not follow another undone.
    undone: u32,
    /// The objective of the best pair so far.
    #[serde(default = "pace::unknown", skip_serializing_if = "pace::is_unknown")]
    best: f64,
}

impl Default for Caution {
    fn default() -> Self {
        Self { rest: FIRST, damp: DAMP, rejected: false, undone: 0, best: f64::INFINITY }
    }
}

impl Caution {
    /// Whether the last pass was undone.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// Of a fit that goes on with other rows.
    pub fn anew() -> Self {
        Self { rest: 0, ..Self::default() }
    }
}

/// Numbers kept for each row: its weights, and those of the best pair.
pub(super) fn memo(k: usize) -> usize {
    2 * k
}

/// Σw (k), Wᵀ·diag(a)·W (k×k), Σ_i (x/wh²)/a_i of each column (d), Σa, and the number of rows that are not all zeros.
pub(super) fn sums(k: usize, d: usize) -> usize {
    k + k * k + d + 2
}

/// Improves the weights of rows `first..` and adds what they leave behind.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) {
    let k = how.k;
    let mut w = vec![0f32; x.rows() * k];
    if state.pass == 0 {
        init::weights(how, state, x, first, &mut w);
        memo.chunks_exact_mut(2 * k).zip(w.chunks_exact(k)).for_each(|(memo, w)| memo[..k].copy_from_slice(w));
    }
    for (memo, w) in memo.chunks_exact_mut(2 * k).zip(w.chunks_exact_mut(k)) {
        let (last, best) = memo.split_at_mut(k);
        if state.caution.rejected {
            last.copy_from_slice(best);
        } else {
            best.copy_from_slice(last);
        }
        w.copy_from_slice(last);
    }
    let penalty = state.penalty_of_weights(how, x.cols());
    // By what is in the rows, not by how they are stored: the same data takes the same way.
    match (x, state.thin) {
        (Rows::Dense(x), false) => dense::dense(how, state, x, penalty, &mut w, into),
        (Rows::Sparse(x), true) => sparse::sparse(how, state, x, penalty, &mut w, into),
        (_, true) => {
            if let Rows::Sparse(x) = x.to_csr().view() {
                sparse::sparse(how, state, &x, penalty, &mut w, into);
            }
        }
        (_, false) => {
            for (i, w) in w.chunks_mut(product::DEPTH * k).enumerate() {
                let from = i * product::DEPTH;
                if let Rows::Dense(x) = x.slice(from, from + w.len() / k).to_mat().view() {
                    dense::dense(how, state, &x, penalty, w, into);
                }
            }
        }
    }
    into.ww.iter_mut().zip(column_sums(&w, k)).for_each(|(t, s)| *t += s);
    into.sums[6] += divergence::penalty(&w, penalty);
    memo.chunks_exact_mut(2 * k).zip(w.chunks_exact(k)).for_each(|(memo, w)| memo[..k].copy_from_slice(w));
}

/// Numbers that are as good as 0 are 0.
fn at_least_tiny(v: f32) -> f32 {
    if v < TINY { 0.0 } else { v }
}

/// Improves H on the sums of a pass.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Progress {
    let (k, d) = (how.k, state.h.rows);
    let scale = f64::from(state.scale);
    let (l1, l2) = state.penalty_of_atoms(how);
    let objective = s.sums[3] + s.sums[6] + divergence::penalty(&state.at().data, (l1 as f32, l2 as f32));
    let unit = s.sums[4] * scale;
    let dense = s.ww.last().is_some_and(|a| *a > 0.0);
    let best = state.caution.best;
    if state.pass == 0 || s.sums[5] > 0.0 && state.first_gradient == 0.0 {
        state.first_gradient = s.sums[5];
    }
    let gradient = (state.first_gradient > 0.0).then(|| s.sums[5] / state.first_gradient);
    if objective > best * (1.0 + NOISE) {
        let c = &mut state.caution;
        c.rejected = true;
        c.undone += 1;
        c.damp *= MORE;
        c.rest = u32::from(c.undone > 1 || !dense);
        state.at = Mat::default();
        state.derive();
        return Progress { loss: best / unit, gradient, ..Progress::default() };
    }
    let [_, total, constant] = state.totals;
    state.likelihood = Some((constant - s.sums[3] - total * scale.ln()) / scale);
    let done = how.tol > 0.0 && !state.caution.rejected && best - objective <= how.tol * best && best.is_finite();
    let multiply = state.caution.rest > 0 || !dense;
    // Products to a power below 2 go on falling, and further each time; a pass that did not is undone like any other.
    let further = state.caution.rest == 0;
    let c = &mut state.caution;
    c.undone = if c.rejected { c.undone } else { 0 };
    c.damp = (c.damp * LESS).max(1.0);
    c.rejected = false;
    c.rest = c.rest.saturating_sub(1);
    c.best = objective;
    let damp = c.damp;
    state.weight = s.ww[..k].to_vec();
    if !state.at.data.is_empty() {
        state.h = std::mem::take(&mut state.at);
    }
    let mut h = state.h.clone();
    let below = &s.ww[..k];
    if dense {
        // The mean of a goes into b, so that a is about 1.
        let [of_a, rows] = [s.ww[k + k * k + d], s.ww[k + k * k + d + 1]];
        let mean = of_a / rows;
        state.columns = s.ww[k + k * k..][..d].iter().map(|c| c / rows * mean).collect();
        if !multiply {
            solve_atoms(how, state, s, mean, damp, &mut h);
        }
    }
    if multiply {
        h.data.par_chunks_mut(k).zip(s.xw.par_chunks(k)).for_each(|(h, above)| {
            for ((h, &above), &below) in h.iter_mut().zip(above).zip(below) {
                if below > 0.0 {
                    let ratio = above / (below + l1 + l2 * f64::from(*h));
                    let new = f64::from(*h) * if further { ratio * ratio.sqrt() } else { ratio };
                    *h = if new < f64::from(TINY) { 0.0 } else { new as f32 };
                }
            }
        });
    }
    state.at = h;
    if dense {
        state.derive();
    } else {
        state.add_up();
    }
    Progress { loss: objective / unit, done, gradient, ..Progress::default() }
}

/// The quadratic problem of all columns of H (d×k), whose curvature is b_j times one matrix.
fn solve_atoms(how: &Nmf, state: &NmfState, s: &NmfStats, mean: f64, damp: f64, h: &mut Mat) {
    let k = how.k;
    let (l1, l2) = state.penalty_of_atoms(how);
    let used: f64 = state.columns.iter().sum::<f64>() / state.columns.len() as f64;
    let ridge = if used > 0.0 { l2 / used } else { 0.0 };
    let mut gram: Vec<f32> = s.ww[k..k + k * k].iter().map(|g| (g / mean) as f32).collect();
    (0..k).for_each(|a| gram[a * k + a] += ridge as f32);
    let problem = Quadratic::new(k, &gram, 0.0);
    let packed = Packed::new(&gram, k);
    let effort = Effort { sweeps: how.sweeps, tol: 0.0 };
    let take = take(h.rows);
    let pieces = h.data.par_chunks_mut(take * k).zip(s.xw.par_chunks(take * k)).zip(state.columns.par_chunks(take));
    pieces.for_each(|((h, above), columns)| {
        let mut right = vec![0f32; h.len()];
        let before = h.to_vec();
        product::rows_times(&mut right, &Rows::dense(k, h), &packed);
        let rows = right.chunks_exact_mut(k).zip(above.chunks_exact(k)).zip(h.chunks_exact_mut(k)).zip(columns);
        for (((right, above), h), &b) in rows {
            if b <= 0.0 {
                // A column of zeros is best explained by nothing.
                right.fill(0.0);
                h.fill(0.0);
                continue;
            }
            for (((right, above), h), below) in right.iter_mut().zip(above).zip(&*h).zip(&s.ww) {
                *right += ((above - below - l1 - l2 * f64::from(*h)) / (b * damp)) as f32;
            }
        }
        problem.refine(h, &right, effort, &mut vec![0.0; columns.len()]);
        for (h, before) in h.iter_mut().zip(&before) {
            *h = at_least_tiny(h.max(LEFT * before));
        }
    });
}

#[cfg(test)]
mod tests;
