//! The β-divergences other than squared error: multiplicative updates of a pass.
//!
//! Where entries of X are 0 the divergence still has a term in wH. For Kullback–Leibler that term is wH itself, whose sum needs
//! factors alone, so sparse rows cost their stored entries. For any other β it is (wH)^β, which needs every wH: sparse
//! rows are then made dense, [`DENSE`] at a time, and cost what dense rows do. For β ≤ 0 it is infinite, and zeros are refused.

use super::multiplicative::{Divergence, Factors, TINY};
use super::{Nmf, NmfLoss, NmfSolver, NmfState, NmfStats, column_sums, init, product};
use crate::error::{Error, Result};
use crate::fold::Progress;
use crate::mat::{DenseRows, Rows, Weights};
use crate::missing::Missing;
use rayon::prelude::*;

/// Sparse rows that are made dense at once, where they must be: a whole number of runs of the sums over rows.
pub(super) const DENSE: usize = product::DEPTH;

/// Refuses rows with zeros where their divergence is infinite. `first` is the number of the first row.
pub(super) fn check_zeros(loss: NmfLoss, missing: Missing, x: &Rows, first: u64) -> Result<()> {
    if loss.beta() > 0.0 || missing == Missing::Zeros {
        return Ok(());
    }
    let zero = |i: &usize| match x {
        Rows::Dense(x) => x.row(*i).contains(&0.0),
        Rows::Sparse(x) => x.row(*i).0.len() < x.cols || x.row(*i).1.contains(&0.0),
    };
    match (0..x.rows()).into_par_iter().find_first(zero) {
        None => Ok(()),
        Some(i) => Err(Error::data(format!(
            "row {} (counted from 0) holds a zero, whose divergence for loss = {loss} is infinite; add a small number to all \
             data, or give a β above 0",
            first + i as u64
        ))),
    }
}

/// How many sums a pass leaves behind besides the numerators of H.
pub(super) fn sums(how: &Nmf, cols: usize) -> usize {
    if kind(how, 1.0).even() { how.k } else { how.k * cols }
}

/// The divergence of a fit.
fn kind(how: &Nmf, scale: f32) -> Divergence {
    let rest = how.masked().then_some(if how.missing == Missing::Zeros { 0.0 } else { 1.0 });
    Divergence::new(how.minimised(), scale, rest)
}

/// Improves the weights (n×k) of rows `first..` and adds what they leave behind.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, w: &mut [f32], into: &mut NmfStats) {
    let fresh = state.pass == 0;
    if fresh {
        let known = how.masked().then(|| how.missing.weigh(x));
        init::weights(how, state, known.as_ref().map_or(x, |known| &known.x), first, w);
    }
    let kind = kind(how, state.scale);
    let dense = matches!(x, Rows::Sparse(_)) && !kind.is_kl();
    let piece = if dense { DENSE } else { x.rows().max(1) };
    for (i, w) in w.chunks_mut(piece * how.k).enumerate() {
        let x = x.slice(i * piece, i * piece + w.len() / how.k);
        let known = how.masked().then(|| how.missing.weigh(&x));
        let filled = dense.then(|| {
            known.as_ref().map_or_else(
                || (x.to_mat(), None),
                |known| {
                    let (x, v) = known.full();
                    (x, Some(v))
                },
            )
        });
        let x = match (&filled, &known) {
            (Some((x, v)), _) => {
                let weights = v.as_ref().map(|v| Weights::Entries(v.as_slice().into()));
                Rows::Dense(DenseRows { cols: x.cols, data: x.data.as_slice().into(), weights })
            }
            (None, Some(known)) => known.rows(),
            (None, None) => x,
        };
        let factors = Factors::new(state, &x, kind, state.penalty_of_weights(how, x.cols()));
        if !(fresh && how.unit_sums()) {
            factors.weights(&x, w);
            if how.way() == NmfSolver::Local {
                w.par_iter_mut().for_each(|w| *w = w.sqrt());
            }
        }
        into.sums[3] += factors.add_atoms(&mut into.xw, if kind.even() { &mut [] } else { &mut into.ww }, &x, w);
    }
    into.sums[6] += penalty(w, state.penalty_of_weights(how, x.cols()));
    let weight = if kind.even() { &mut into.ww } else { &mut into.weight };
    weight.iter_mut().zip(column_sums(w, how.k)).for_each(|(t, s)| *t += s);
}

/// Σ l1·v + ½·l2·v²
pub(super) fn penalty(v: &[f32], (l1, l2): (f32, f32)) -> f64 {
    if l1 == 0.0 && l2 == 0.0 {
        return 0.0;
    }
    let (l1, l2) = (f64::from(l1), f64::from(l2));
    let parts = v.par_chunks(1 << 14).map(|v| v.iter().map(|&v| f64::from(v) * (l1 + 0.5 * l2 * f64::from(v))).sum::<f64>());
    parts.collect::<Vec<_>>().iter().sum()
}

/// Improves H on the sums of a pass.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Progress {
    let k = how.k;
    let scale = f64::from(state.scale);
    let kind = kind(how, state.scale);
    let [_, total, constant] = state.totals;
    let mut loss = constant + s.sums[3];
    if how.way() == NmfSolver::Local {
        // Of the weights times the one factor that suits all of them best.
        let whole: f64 = s.ww.iter().zip(&state.sums).map(|(w, h)| w * h).sum();
        loss += total - whole - if whole > 0.0 { total * (total / whole).ln() } else { 0.0 };
    }
    let loss = loss.max(0.0);
    let (l1, l2) = state.penalty_of_atoms(how);
    let penalties = s.sums[6] + penalty(&state.h.data, (l1 as f32, l2 as f32));
    let weight = if kind.even() { &s.ww } else { &s.weight };
    if kind.is_kl() {
        // x·ln(wh) of the data itself is less by ln(scale), and all of it by the scale.
        state.likelihood = Some(-(s.sums[3] + total * scale.ln()) / scale);
    }
    state.weight.clone_from(weight);
    let unit = how.unit_sums();
    let ones = vec![1.0; if unit { k } else { 0 }];
    let power = kind.exponent();
    state.h.data.par_chunks_mut(k).zip(s.xw.par_chunks(k)).enumerate().for_each(|(j, (h, above))| {
        let below = match (unit, kind.even()) {
            (true, _) => &ones,
            (_, true) => &s.ww,
            _ => &s.ww[j * k..(j + 1) * k],
        };
        // nsNMF: an atom learns from the weights that reach it, (WS)ᵀQ.
        let shared = how.theta * above.iter().sum::<f64>() / k as f64;
        for (((h, &above), &below), &weight) in h.iter_mut().zip(above).zip(below).zip(weight).skip(how.fixed) {
            let above = (1.0 - how.theta) * above + shared;
            let below = below + l1 + l2 * f64::from(*h);
            // An atom that no row uses has nothing to learn from.
            if weight > 0.0 && below > 0.0 {
                let ratio = above / below;
                let new = f64::from(*h) * if power == 1.0 { ratio } else { ratio.powf(power) };
                *h = if new < f64::from(TINY) { 0.0 } else { new as f32 };
            }
        }
    });
    if unit {
        state.unit_sums();
    }
    state.smooth(how.theta);
    state.derive();
    // The squared error is twice its divergence.
    let times = if how.minimised() == NmfLoss::Squared { 2.0 } else { 1.0 };
    Progress { loss: times * (loss + penalties) / s.sums[4] / scale.powf(kind.beta()), ..Progress::default() }
}

/// Σ of the divergence's terms that do not depend on wH, of numbers times `scale`, each as often as `v` says.
pub(super) fn constant(loss: NmfLoss, x: &[f32], v: Option<&[f32]>, scale: f32) -> f64 {
    const RUN: usize = 1 << 14;
    let kind = Divergence::new(loss, scale, None);
    let parts = x.par_chunks(RUN).enumerate().map(|(i, x)| {
        let weight = |at: usize| v.map_or(1.0, |v| f64::from(v[i * RUN + at]));
        let numbers = x.iter().enumerate().map(|(at, &x)| (f64::from(x) * f64::from(scale), weight(at)));
        numbers.filter(|(x, _)| *x > 0.0).map(|(x, v)| v * kind.constant(x)).sum::<f64>()
    });
    parts.collect::<Vec<_>>().iter().sum()
}

#[cfg(test)]
mod tests;
