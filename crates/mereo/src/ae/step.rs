//! From the sums of a batch to the gradient, and along it.

use super::gradient::{AeStats, Q};
use super::{Ae, AeOptimizer, AeState, CEILING, WORSE};
use crate::fold::Progress;
use crate::linalg::{self, Into, mul_nn};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const RUN: usize = 1 << 14;
/// Columns, and rows, that a thread takes of what is not formed by the rows of a batch.
const STRIP: usize = 256;
const STRIP_ROWS: usize = 16;
/// Keeps the steps of `adam` finite.
const EPSILON: f32 = 1e-8;
/// Mean codes are not let closer to 0 and 1 for `kl`.
const EDGE: f64 = 1e-6;

/// One step; at the end of a pass its loss is that of the pass.
pub(super) fn update(how: &Ae, state: &mut AeState, mut stats: AeStats) -> Progress {
    let Gradient { of: gradient, unit, squares } = gradient(how, state, &mut stats);
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
    follow(how, state, &gradient, unit);
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

/// What a batch says of every parameter.
pub(super) struct Gradient {
    /// The gradient over `unit`, all but that of the weights' own squares.
    pub of: Vec<f32>,
    /// What all of it is to be multiplied by.
    pub unit: f32,
    /// Σ|y − ŷ|².
    pub squares: f64,
}

/// The gradient of the mean of (y − ŷ)² and of the penalties.
pub(super) fn gradient(how: &Ae, state: &AeState, stats: &mut AeStats) -> Gradient {
    let layout = state.layout;
    let (k, d, q) = (layout.k, layout.d, Q::of(how, layout));
    let mut out = stats.product();
    let small = &stats.small;
    let rows = small[0];
    let (codes, back) = (&small[3..3 + k], &small[3 + k..3 + 2 * k]);
    let gram: Vec<f32> = small[small.len() - k * k..].iter().map(|v| *v as f32).collect();
    let (v, c) = (&state.params[layout.decoder()], &state.params[layout.c()]);
    let unit = 2.0 / (rows * d as f64);
    let mut pull = vec![0f64; k];
    if q.slopes() {
        for (pull, h) in pull.iter_mut().zip(codes) {
            let mean = (h / rows).clamp(EDGE, 1.0 - EDGE);
            *pull = how.kl * (-how.rho / mean + (1.0 - how.rho) / (1.0 - mean)) / rows / unit;
        }
        let (weights, rest) = out.split_at_mut(layout.weights());
        weights.par_chunks_mut(d).zip(rest.par_chunks(d)).take(k).zip(&pull).for_each(|((to, slopes), pull)| {
            linalg::axpy(to, *pull as f32, slopes);
        });
    }
    // What reaches c comes first: its place is behind the weights, where the sums over rows are.
    let mut squares = small[1];
    let mut of_c = vec![0f32; c.len()];
    if !c.is_empty() {
        let sums = &out[(q.width() - 1) * d..q.width() * d];
        squares -= 2.0 * c.iter().zip(sums).map(|(c, y)| f64::from(*c) * f64::from(*y)).sum::<f64>();
        of_c.par_chunks_mut(STRIP).zip(c.par_chunks(STRIP)).zip(sums.par_chunks(STRIP)).enumerate().for_each(
            |(s, ((to, c), y))| {
                let mut ahead: Vec<f64> = c.iter().zip(y).map(|(c, y)| rows * f64::from(*c) - f64::from(*y)).collect();
                Arch::new().dispatch(Ahead { to: &mut ahead, v: &v[s * STRIP..], d, codes });
                to.iter_mut().zip(&ahead).for_each(|(to, a)| *to = *a as f32);
            },
        );
    }
    // Σ h rᵀ = (Σhhᵀ) V + (Σh) cᵀ − Σ h yᵀ
    let decoder = out[layout.decoder()]
        .par_chunks_mut(STRIP_ROWS * d)
        .zip(gram.par_chunks(STRIP_ROWS * k))
        .zip(codes.par_chunks(STRIP_ROWS));
    decoder.for_each(|((out, gram), codes)| {
        mul_nn(out, gram, v, (codes.len(), k, d), Into::Add);
        if !c.is_empty() {
            out.chunks_exact_mut(d).zip(codes).for_each(|(out, h)| linalg::axpy(out, *h as f32, c));
        }
    });
    out.truncate(layout.weights());
    if layout.encoder_bias {
        let slopes = if q.slopes() { &small[3 + 2 * k..3 + 3 * k] } else { &small[..0] };
        out.extend((0..k).map(|j| (back[j] + pull[j] * slopes.get(j).copied().unwrap_or(0.0)) as f32));
    }
    out.extend_from_slice(&of_c);
    Gradient { of: out, unit: unit as f32, squares }
}

/// to ← to + Σⱼ hⱼ · row j of `v`, for the first columns of rows of `d`.
struct Ahead<'a> {
    to: &'a mut [f64],
    v: &'a [f32],
    d: usize,
    codes: &'a [f64],
}

impl WithSimd for Ahead<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (v, h) in self.v.chunks(self.d).zip(self.codes) {
            for (to, v) in self.to.iter_mut().zip(v) {
                *to += h * f64::from(*v);
            }
        }
    }
}

/// Moves every parameter along its gradient, which is `unit` times what is given.
fn follow(how: &Ae, state: &mut AeState, gradient: &[f32], unit: f32) {
    let all = (state.rows.div_ceil(how.batch) as u64).saturating_mul(how.max_passes as u64);
    let lr = how.rate(state.layout.d) * how.decay.pace(how.warmup, state.steps, all);
    state.steps += 1;
    let t = state.steps.min(i32::MAX as u64) as i32;
    let weights = state.layout.weights();
    let coupled = how.optimizer != AeOptimizer::Adamw;
    let rule = |decay: f64, floor: f32| Rule {
        unit,
        decay: if coupled { decay as f32 } else { 0.0 },
        shrink: if coupled { 1.0 } else { (1.0 - lr * decay) as f32 },
        floor,
        betas: [how.beta1 as f32, how.beta2 as f32],
        step: (lr / (1.0 - how.beta1.powi(t))) as f32,
        root: (1.0 / (1.0 - how.beta2.powi(t)).sqrt()) as f32,
        lr: lr as f32,
        momentum: how.momentum as f32,
    };
    let (of_weights, of_biases) =
        (rule(how.weight_decay, if how.nonnegative { 0.0 } else { f32::NEG_INFINITY }), rule(0.0, f32::NEG_INFINITY));
    let ((p, bias), (m, of_bias), (g, for_bias)) =
        (state.params.split_at_mut(weights), state.first.split_at_mut(weights), gradient.split_at(weights));
    if how.optimizer == AeOptimizer::Sgd {
        p.par_chunks_mut(RUN).zip(m.par_chunks_mut(RUN)).zip(g.par_chunks(RUN)).for_each(|((p, u), g)| {
            Arch::new().dispatch(Sgd { p, u, g, rule: &of_weights });
        });
        Arch::new().dispatch(Sgd { p: bias, u: of_bias, g: for_bias, rule: &of_biases });
        return;
    }
    let (v, of_bias_squares) = state.second.split_at_mut(weights);
    let moments = m.par_chunks_mut(RUN).zip(v.par_chunks_mut(RUN));
    p.par_chunks_mut(RUN).zip(moments).zip(g.par_chunks(RUN)).for_each(|((p, (m, v)), g)| {
        Arch::new().dispatch(Adam { p, m, v, g, rule: &of_weights });
    });
    Arch::new().dispatch(Adam { p: bias, m: of_bias, v: of_bias_squares, g: for_bias, rule: &of_biases });
}

/// The numbers of a step.
struct Rule {
    unit: f32,
    /// Of the weights' own squares: added to the gradient, or what is left of a weight.
    decay: f32,
    shrink: f32,
    floor: f32,
    betas: [f32; 2],
    /// lr over what the mean gradient still lacks, and one over the root of what the squares lack.
    step: f32,
    root: f32,
    lr: f32,
    momentum: f32,
}

struct Sgd<'a> {
    p: &'a mut [f32],
    u: &'a mut [f32],
    g: &'a [f32],
    rule: &'a Rule,
}

impl WithSimd for Sgd<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Rule { unit, decay, floor, lr, momentum, .. } = *self.rule;
        for ((p, u), g) in self.p.iter_mut().zip(self.u).zip(self.g) {
            *u = momentum * *u + (g * unit + decay * *p);
            *p = (*p - lr * *u).max(floor);
        }
    }
}

struct Adam<'a> {
    p: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    g: &'a [f32],
    rule: &'a Rule,
}

impl WithSimd for Adam<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Rule { unit, decay, shrink, floor, betas: [b1, b2], step, root, .. } = *self.rule;
        for (((p, m), v), g) in self.p.iter_mut().zip(self.m).zip(self.v).zip(self.g) {
            let g = g * unit + decay * *p;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *p = (shrink * *p - step * *m / (v.sqrt() * root + EPSILON)).max(floor);
        }
    }
}
