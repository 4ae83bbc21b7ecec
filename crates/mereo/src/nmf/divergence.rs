//! The Kullback–Leibler divergence: multiplicative updates of a pass.

use super::multiplicative::{Factors, TINY};
use super::{Nmf, NmfSolver, NmfState, NmfStats, column_sum};
use crate::fold::Progress;
use crate::mat::Rows;
use rayon::prelude::*;

/// Improves the weights (n×k) of rows `first..` and adds what they leave behind.
pub(super) fn observe(how: &Nmf, state: &NmfState, x: &Rows, first: u64, w: &mut [f32], into: &mut NmfStats) {
    let fresh = state.pass == 0;
    if fresh {
        super::init::weights(how, state, x, first, w);
    }
    let factors = Factors::new(state, x);
    if !(fresh && how.unit_sums()) {
        factors.weights(x, w);
        if how.way() == NmfSolver::Local {
            w.par_iter_mut().for_each(|w| *w = w.sqrt());
        }
    }
    into.sums[3] += factors.add_atoms(&mut into.xw, x, w);
    (0..how.k).for_each(|a| into.ww[a] += column_sum(w, how.k, a));
}

/// Improves H on the sums of a pass.
pub(super) fn update(how: &Nmf, state: &mut NmfState, s: &NmfStats) -> Progress {
    let k = how.k;
    let scale = f64::from(state.scale);
    let [_, total, constant] = state.totals;
    let mut loss = constant + s.sums[3];
    if how.way() == NmfSolver::Local {
        // Of the weights times the one factor that suits all of them best.
        let whole: f64 = s.ww.iter().zip(&state.sums).map(|(w, h)| w * h).sum();
        loss += total - whole - if whole > 0.0 { total * (total / whole).ln() } else { 0.0 };
    }
    let loss = loss.max(0.0);
    // x·ln(wh) of the data itself is less by ln(scale), and all of it by the scale.
    state.likelihood = Some(-(s.sums[3] + total * scale.ln()) / scale);
    state.weight.clone_from(&s.ww);
    let unit = how.unit_sums();
    state.h.data.par_chunks_mut(k).zip(s.xw.par_chunks(k)).for_each(|(h, xw)| {
        // nsNMF: an atom learns from the weights that reach it, (WS)ᵀQ.
        let shared = how.theta * xw.iter().sum::<f64>() / k as f64;
        for ((h, &above), &below) in h.iter_mut().zip(xw).zip(&s.ww).skip(how.fixed) {
            let above = (1.0 - how.theta) * above + shared;
            let below = if unit { 1.0 } else { below };
            // An atom that no row uses has nothing to learn from.
            if below > 0.0 {
                let new = f64::from(*h) * above / below;
                *h = if new < f64::from(TINY) { 0.0 } else { new as f32 };
            }
        }
    });
    if unit {
        state.unit_sums();
    }
    state.smooth(how.theta);
    state.derive();
    Progress { loss: loss / s.sums[4] / scale, ..Progress::default() }
}
