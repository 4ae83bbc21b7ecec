//! Squared error, ‖X − WH‖²: coordinate descent, plain or extrapolated, and multiplicative updates.
//!
//! A pass improves W for the atoms at hand, sums WᵀW and XᵀW, and improves H on those alone; the loss falls out of the same sums.
//!
//! Extrapolation (Ang & Gillis 2019): both factors are moved on by a share β of their last step before they are used again. The
//! loss is that of the moved weights and the new atoms; when it rises, the fit goes back to the best pair, which is kept, takes
//! a plain step from there, and β shrinks.

use super::exact::Exact;
use super::hals::{Effort, Quadratic};
use super::product::{self, Packed};
use super::{Nmf, NmfSolver, NmfState, NmfStats, as_f32, constraint, init, multiplicative, take};
use crate::fold::Progress;
use crate::mat::{Mat, Rows};
use rayon::prelude::*;

/// Least value of an entry of H during coordinate descent, in units in which the data has a mean of about 1: an atom that rounds to
/// zeros would stay there (Gillis & Glineur 2012). The model has zeros instead.
pub(super) const FLOOR: f32 = 1e-16;
/// Rows whose two products are formed one after the other: a whole number of runs of the sums over rows.
pub(super) const PIECE: usize = 3 * product::DEPTH;
/// The same of sparse rows, whose f32 sums reach further: few of them meet in a column.
pub(super) const PIECE_SPARSE: usize = 16 * product::DEPTH;
/// Without a memo, rows are solved anew in every pass, so well that the next pass need not know of this one.
pub(super) const ALONE: Effort = Effort { sweeps: 500, tol: 1e-4 };
/// Sweeps for weights that start from nothing, for atoms that are good already.
pub(super) const COLD: usize = 30;
/// What f32 sums can tell of the loss, as a share of Σx².
const NOISE: f64 = 3e-8;

/// Numbers kept for each row: its weights, and for `accelerated` the last ones before extrapolation and those of the best pair.
pub(super) fn memo(solver: NmfSolver, k: usize) -> usize {
    if solver == NmfSolver::Accelerated { 3 * k } else { k }
}

/// Improves the weights of rows `first..` and adds what they leave behind.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], into: &mut NmfStats) {
    let (k, scale) = (how.k, f64::from(state.scale));
    let solver = how.way();
    let kept = !memo.is_empty();
    let width = if kept { self::memo(solver, k) } else { k };
    let mut own = if kept { Vec::new() } else { vec![0f32; x.rows() * k] };
    let memo = if kept { memo } else { &mut own };
    let fresh = state.pass == 0;
    if kept && fresh {
        start(how, state, x, first, memo, width);
    }
    let (l1, l2) = state.penalty_of_weights(how, x.cols());
    let gram = with_diagonal(&state.gram, k, l2);
    let problem = Quadratic::new(k, &gram, 0.0);
    let exact = (solver == NmfSolver::Exact).then(|| Exact::new(k, &gram.iter().map(|&g| f64::from(g)).collect::<Vec<_>>()));
    let h = Packed::new(&state.at().data, k);
    let below = Packed::new(&gram, k);
    let effort = match solver {
        _ if !kept || solver == NmfSolver::Separable => ALONE,
        _ if fresh && state.warm => Effort { sweeps: how.sweeps.max(COLD), tol: 1e-4 },
        _ => Effort { sweeps: state.sweeps[0], tol: 0.0 },
    };
    // What multiplies has its L1 in the denominator.
    let pull = if solver == NmfSolver::Mu { 0.0 } else { l1 };
    let step = Step { k, beta: state.pace.beta as f32, back: state.pace.rejected };
    let piece = if matches!(x, Rows::Dense(_)) { PIECE } else { PIECE_SPARSE };
    let mut w = vec![0f32; piece.min(x.rows()) * k];
    let mut visited = vec![0f32; piece.min(x.rows())];
    // Both products of a piece are formed while it is near.
    for (i, memo) in memo.chunks_mut(piece * width).enumerate() {
        let n = memo.len() / width;
        let (w, visited) = (&mut w[..n * k], &mut visited[..n]);
        let x = x.slice(i * piece, i * piece + n);
        let take = take(n);
        let rows = memo.par_chunks_mut(take * width).zip(w.par_chunks_mut(take * k)).zip(visited.par_chunks_mut(take));
        rows.enumerate().for_each(|(i, ((memo, w), visited))| {
            let mut b = vec![0f32; w.len()];
            product::rows_times(&mut b, &x.slice(i * take, i * take + w.len() / k), &h);
            b.iter_mut().for_each(|b| *b = *b * state.scale - pull);
            step.begin(memo, w);
            match (solver, &exact) {
                (NmfSolver::Mu, _) => multiplicative::weights_squared(w, &b, &below, l1),
                (_, Some(exact)) => exact.solve(w, &b, false),
                _ => problem.refine(w, &b, effort, visited),
            }
            step.end(memo, w);
        });
        into.sums[5] += visited.iter().map(|&v| f64::from(v)).sum::<f64>();
        into.sums[6] +=
            w.par_chunks(1 << 14).map(|w| w.iter().map(|&w| f64::from(w)).sum::<f64>()).collect::<Vec<_>>().iter().sum::<f64>();
        product::add_transposed(&mut into.xw, &x, w, k, scale);
        product::add_gram(&mut into.ww, w, k);
    }
}

/// Puts every row's first weights into the memo.
pub(super) fn start(how: &Nmf, state: &NmfState, x: &Rows, first: u64, memo: &mut [f32], width: usize) {
    let k = how.k;
    if width == k {
        return init::weights(how, state, x, first, memo);
    }
    let mut w = vec![0f32; x.rows() * k];
    init::weights(how, state, x, first, &mut w);
    for (memo, w) in memo.chunks_exact_mut(width).zip(w.chunks_exact(k)) {
        memo.chunks_exact_mut(k).for_each(|part| part.copy_from_slice(w));
    }
}

/// How weights move between the memo and the rows at work.
#[derive(Clone, Copy)]
struct Step {
    k: usize,
    beta: f32,
    /// The last pass was a step too far: start from the weights of the best pair.
    back: bool,
}

impl Step {
    /// Takes the weights that a pass begins with. In the memo of an extrapolated fit a row has the weights in use, those before
    /// their extrapolation, and those of the best pair.
    fn begin(self, memo: &mut [f32], w: &mut [f32]) {
        let k = self.k;
        if memo.len() == w.len() {
            return w.copy_from_slice(memo);
        }
        for (memo, w) in memo.chunks_exact_mut(3 * k).zip(w.chunks_exact_mut(k)) {
            let (at, rest) = memo.split_at_mut(k);
            let (last, best) = rest.split_at_mut(k);
            if self.back {
                at.copy_from_slice(best);
                last.copy_from_slice(best);
            } else {
                best.copy_from_slice(at);
            }
            w.copy_from_slice(at);
        }
    }

    /// Extrapolates the new weights and keeps them.
    fn end(self, memo: &mut [f32], w: &mut [f32]) {
        let k = self.k;
        if memo.len() == w.len() {
            return memo.copy_from_slice(w);
        }
        for (memo, w) in memo.chunks_exact_mut(3 * k).zip(w.chunks_exact_mut(k)) {
            let (at, rest) = memo.split_at_mut(k);
            for ((at, last), w) in at.iter_mut().zip(&mut rest[..k]).zip(w) {
                let new = *w;
                *w = (new + self.beta * (new - *last)).max(0.0);
                *last = new;
                *at = *w;
            }
        }
    }
}

/// Improves H on the sums of a pass, which must hold the first pass's totals already.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Progress {
    let k = how.k;
    let solver = how.way();
    let (scale, entries) = (f64::from(state.scale), s.sums[4]);
    let (l1, l2) = state.penalty_of_atoms(how);
    let d = state.h.rows;
    let mut h = state.at().clone();
    let mut gradient = None;
    let own = constraint::atoms(how, state, s, &mut h);
    if own.is_none() && solver == NmfSolver::Mu {
        multiplicative::atoms_squared(&mut h.data, &s.xw, &s.ww, k, (l1, l2));
        let kept = state.at().data.par_chunks(k);
        h.data.par_chunks_mut(k).zip(kept).for_each(|(h, kept)| h[..how.fixed].copy_from_slice(&kept[..how.fixed]));
    } else if own.is_none() {
        let ww = with_diagonal(&as_f32(&s.ww), k, l2 as f32);
        let problem = Quadratic::new(k, &ww, FLOOR).hold(how.fixed);
        let effort = Effort { sweeps: state.sweeps[1], tol: 0.0 };
        let take = take(d);
        let mut visited = vec![0f32; d];
        let pieces = h.data.par_chunks_mut(take * k).zip(s.xw.par_chunks(take * k)).zip(visited.par_chunks_mut(take));
        pieces.for_each(|((h, b), visited)| {
            let b: Vec<f32> = b.iter().map(|&b| (b - l1) as f32).collect();
            problem.refine(h, &b, effort, visited);
        });
        let visited = s.sums[5] + visited.iter().map(|&v| f64::from(v)).sum::<f64>();
        if state.first_gradient == 0.0 {
            state.first_gradient = visited;
        }
        gradient = Some(if visited > 0.0 { visited / state.first_gradient } else { 0.0 });
    }
    let gram = super::gram(&h);
    let cross = h.data.par_chunks(1 << 14).zip(s.xw.par_chunks(1 << 14));
    let cross = cross.map(|(h, b)| h.iter().zip(b).map(|(&h, &b)| f64::from(h) * b).sum::<f64>()).collect::<Vec<_>>();
    let square: f64 = gram.iter().zip(&s.ww).map(|(g, w)| g * w).sum();
    let mut objective = (state.totals[0] - 2.0 * cross.iter().sum::<f64>() + square).max(0.0);
    if how.alpha_w > 0.0 || how.alpha_h > 0.0 {
        let (w1, w2) = state.penalty_of_weights(how, d);
        let trace = |m: &[f64]| (0..k).map(|a| m[a * k + a]).sum::<f64>();
        let of_w = f64::from(w1) * s.sums[6] + 0.5 * f64::from(w2) * trace(&s.ww);
        let of_h = l1 * h.data.iter().map(|&v| f64::from(v)).sum::<f64>() + 0.5 * l2 * trace(&gram);
        objective += 2.0 * (of_w + of_h);
    }
    objective += 2.0 * own.unwrap_or(0.0);
    let weight = || (0..k).map(|a| s.ww[a * k + a].sqrt()).collect();
    let unit = entries * scale * scale;
    if solver != NmfSolver::Accelerated {
        state.weight = weight();
        state.h = h;
        state.gram = as_f32(&gram);
        return Progress { loss: objective / unit, gradient, ..Progress::default() };
    }
    let best = state.pace.best;
    if objective <= best + NOISE * state.totals[0] || state.pace.plain() {
        let rest = state.pace.at_rest(best - objective <= how.tol * best);
        let beta = state.pace.forward(objective);
        state.weight = weight();
        state.at = extrapolated(&h, &state.h, beta as f32);
        state.h = h;
        // Below what f32 sums can tell there is nothing left to learn.
        let exact = objective <= NOISE * state.totals[0];
        let done = exact || how.tol > 0.0 && rest;
        state.gram = if state.at.data.is_empty() { as_f32(&gram) } else { as_f32(&super::gram(&state.at)) };
        Progress { loss: objective / unit, done: done && best < f64::MAX, gradient, ..Progress::default() }
    } else {
        state.pace.back();
        state.at = Mat::default();
        state.gram = as_f32(&super::gram(&state.h));
        Progress { loss: best / unit, gradient, ..Progress::default() }
    }
}

/// h + β(h − last), nothing negative; empty if β is 0.
pub(super) fn extrapolated(h: &Mat, last: &Mat, beta: f32) -> Mat {
    if beta == 0.0 {
        return Mat::default();
    }
    let mut at = h.clone();
    at.data.par_chunks_mut(1 << 14).zip(last.data.par_chunks(1 << 14)).for_each(|(at, last)| {
        at.iter_mut().zip(last).for_each(|(at, last)| *at = (*at + beta * (*at - last)).max(FLOOR));
    });
    at
}

/// A matrix (k×k) with `add` on its diagonal.
pub(super) fn with_diagonal(gram: &[f32], k: usize, add: f32) -> Vec<f32> {
    let mut gram = gram.to_vec();
    (0..k).for_each(|a| gram[a * k + a] += add);
    gram
}
