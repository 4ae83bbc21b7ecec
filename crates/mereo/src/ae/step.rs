//! From the sums of a batch to the gradient, and along it.

use super::gradient::{AeStats, Q};
use super::{Ae, AeDecay, AeOptimizer, AeState, CEILING, WORSE};
use crate::fold::Progress;
use crate::linalg::{Into, mul_tn_wide};
use pulp::Arch;
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const RUN: usize = 1 << 14;
/// Keeps the steps of `adam` finite.
const EPSILON: f32 = 1e-8;
/// Mean codes are not let closer to 0 and 1 for `kl`.
const EDGE: f64 = 1e-6;

/// One step; at the end of a pass its loss is that of the pass.
pub(super) fn update(how: &Ae, state: &mut AeState, mut stats: AeStats) -> Progress {
    let (gradient, squares) = gradient(how, state, &mut stats);
    let layout = state.layout;
    let (k, d) = (layout.k, layout.d);
    let rows = stats.small[0];
    let ends = state.pass[0] + rows >= state.rows as f64;
    // Beside what these rows would lose to the mean row, and as many of the sample: a row may be far from all others, or all be alike.
    let plain = stats.small[2] + state.square.max(1.0) * rows * d as f64;
    let worst = if ends { WORSE } else { CEILING } * plain;
    state.lost |= squares.is_nan() || squares > worst;
    state.pass[0] += rows;
    state.pass[1] += squares.max(0.0);
    let gram = &stats.small[stats.small.len() - k * k..];
    for j in 0..k {
        state.pass[2 + j] += stats.small[3 + j];
        state.pass[2 + k + j] += gram[j * k + j];
    }
    follow(how, state, &gradient);
    state.spare.give(gradient);
    let seen = state.pass[0];
    let loss = state.pass[1] / (seen * d as f64) / f64::from(state.frame.factor).powi(2);
    let loss = if state.lost { f64::INFINITY } else { loss };
    if ends {
        state.codes = state.pass[2..].iter().map(|s| s / seen).collect();
        state.pass.fill(0.0);
        state.lost = false;
    }
    Progress { loss, ..Progress::default() }
}

/// The gradient of every parameter, all but that of the weights' own squares, and Σ|y − ŷ|².
pub(super) fn gradient(how: &Ae, state: &AeState, stats: &mut AeStats) -> (Vec<f32>, f64) {
    let layout = state.layout;
    let (k, d, q) = (layout.k, layout.d, Q::of(how, layout));
    let mut product = stats.product();
    let small = &stats.small;
    let rows = small[0];
    let (codes, back) = (&small[3..3 + k], &small[3 + k..3 + 2 * k]);
    let gram: Vec<f32> = small[small.len() - k * k..].iter().map(|v| *v as f32).collect();
    let (v, c) = (&state.params[layout.decoder()], &state.params[layout.c()]);
    // Σ h rᵀ = (Σhhᵀ) V + (Σh) cᵀ − Σ h yᵀ
    mul_tn_wide(&mut product[layout.decoder()], &gram, v, (k, k, d), Into::Add);
    if !c.is_empty() {
        product[layout.decoder()].par_chunks_mut(d).zip(codes).for_each(|(to, h)| {
            let h = *h as f32;
            to.iter_mut().zip(c).for_each(|(to, c)| *to += h * c);
        });
    }
    // Of the mean of (y − ŷ)², by what was summed.
    let unit = 2.0 / (rows * d as f64);
    let mut pull = vec![0f64; k];
    if q.slopes() {
        for (pull, h) in pull.iter_mut().zip(codes) {
            let mean = (h / rows).clamp(EDGE, 1.0 - EDGE);
            *pull = how.kl * (-how.rho / mean + (1.0 - how.rho) / (1.0 - mean)) / rows;
        }
        let (weights, rest) = product.split_at_mut(layout.weights());
        weights.par_chunks_mut(d).zip(rest.par_chunks(d)).take(k).zip(&pull).for_each(|((to, slopes), pull)| {
            let pull = (pull / unit) as f32;
            to.iter_mut().zip(slopes).for_each(|(to, s)| *to += pull * s);
        });
    }
    let mut out = product;
    let sums = if c.is_empty() { Vec::new() } else { out[(q.width() - 1) * d..q.width() * d].to_vec() };
    out.truncate(layout.weights());
    out.par_chunks_mut(RUN).for_each(|out| out.iter_mut().for_each(|g| *g *= unit as f32));
    if layout.encoder_bias {
        let slopes = if q.slopes() { &small[3 + 2 * k..3 + 3 * k] } else { &small[..0] };
        out.extend((0..k).map(|j| (unit * back[j] + pull[j] * slopes.get(j).copied().unwrap_or(0.0)) as f32));
    }
    let mut squares = small[1];
    if !c.is_empty() {
        let mut ahead: Vec<f64> = c.iter().zip(&sums).map(|(c, y)| rows * f64::from(*c) - f64::from(*y)).collect();
        for (v, h) in v.chunks_exact(d).zip(codes) {
            ahead.iter_mut().zip(v).for_each(|(a, v)| *a += h * f64::from(*v));
        }
        out.extend(ahead.iter().map(|a| (unit * a) as f32));
        squares -= 2.0 * c.iter().zip(&sums).map(|(c, y)| f64::from(*c) * f64::from(*y)).sum::<f64>();
    }
    (out, squares)
}

/// The length of step `t` of `all`, from 0, as a share of `lr`.
pub(super) fn pace(how: &Ae, t: u64, all: u64) -> f64 {
    let (t, all) = (t as f64, all as f64);
    let warm = (how.warmup * all).floor();
    if t < warm {
        return (t + 1.0) / warm;
    }
    let gone = ((t - warm) / (all - warm).max(1.0)).min(1.0);
    match how.decay {
        AeDecay::None => 1.0,
        AeDecay::Linear => 1.0 - gone,
        AeDecay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
    }
}

/// Moves every parameter along its gradient.
fn follow(how: &Ae, state: &mut AeState, gradient: &[f32]) {
    let all = (state.rows.div_ceil(how.batch) as u64).saturating_mul(how.max_passes as u64);
    let lr = how.rate(state.layout.d) * pace(how, state.steps, all);
    state.steps += 1;
    let weights = state.layout.weights();
    let ((p, bias), (m, of_bias), (g, for_bias)) =
        (state.params.split_at_mut(weights), state.first.split_at_mut(weights), gradient.split_at(weights));
    let floor = if how.nonnegative { 0.0 } else { f32::NEG_INFINITY };
    if how.optimizer == AeOptimizer::Sgd {
        let (lr, momentum) = (lr as f32, how.momentum as f32);
        let go = |p: &mut [f32], u: &mut [f32], g: &[f32], decay: f32, floor: f32| {
            p.par_chunks_mut(RUN).zip(u.par_chunks_mut(RUN)).zip(g.par_chunks(RUN)).for_each(|((p, u), g)| {
                Arch::new().dispatch(|| {
                    for ((p, u), g) in p.iter_mut().zip(&mut *u).zip(g) {
                        *u = momentum * *u + (g + decay * *p);
                        *p = (*p - lr * *u).max(floor);
                    }
                });
            });
        };
        go(p, m, g, how.weight_decay as f32, floor);
        go(bias, of_bias, for_bias, 0.0, f32::NEG_INFINITY);
        return;
    }
    let coupled = how.optimizer == AeOptimizer::Adam;
    let t = state.steps.min(i32::MAX as u64) as i32;
    let step = (lr / (1.0 - how.beta1.powi(t))) as f32;
    let root = (1.0 / (1.0 - how.beta2.powi(t)).sqrt()) as f32;
    let (b1, b2, lr) = (how.beta1 as f32, how.beta2 as f32, lr as f32);
    let go = |p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], decay: f32, floor: f32| {
        let moments = m.par_chunks_mut(RUN).zip(v.par_chunks_mut(RUN));
        p.par_chunks_mut(RUN).zip(moments).zip(g.par_chunks(RUN)).for_each(|((p, (m, v)), g)| {
            let (shrink, decay) = if coupled { (1.0, decay) } else { (1.0 - lr * decay, 0.0) };
            Arch::new().dispatch(|| {
                for (((p, m), v), g) in p.iter_mut().zip(&mut *m).zip(&mut *v).zip(g) {
                    let g = g + decay * *p;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *p = (shrink * *p - step * *m / (v.sqrt() * root + EPSILON)).max(floor);
                }
            });
        });
    };
    let (v, of_bias_squares) = state.second.split_at_mut(weights);
    go(p, m, v, g, how.weight_decay as f32, floor);
    go(bias, of_bias, of_bias_squares, for_bias, 0.0, f32::NEG_INFINITY);
}
