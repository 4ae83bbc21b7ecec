//! What a step asks of every entry, in lanes.

use super::super::multiplicative::TINY;

/// Least wh, where the data has a mean of about 1.
pub(super) const LEAST: f32 = 1e-12;
pub(super) const LANES: usize = 16;

/// q ← x/wh; Σx and Σ b·wh².
#[inline(always)]
pub(super) fn ratios(x: &[f32], wh: &[f32], q: &mut [f32], b: &[f32], scale: f32) -> (f32, f32) {
    let (mut sum, mut square) = ([0f32; LANES], [0f32; LANES]);
    let mut one = |l: usize, x: f32, wh: f32, q: &mut f32, b: f32| {
        let (x, wh) = (x * scale, wh.max(LEAST));
        *q = x / wh;
        sum[l] += x;
        square[l] += b * wh * wh;
    };
    let ((xs, x), (ys, y)) = (x.as_chunks::<LANES>(), wh.as_chunks::<LANES>());
    let ((qs, q), (bs, b)) = (q.as_chunks_mut::<LANES>(), b.as_chunks::<LANES>());
    for ((x, y), (q, b)) in xs.iter().zip(ys).zip(qs.iter_mut().zip(bs)) {
        for l in 0..LANES {
            one(l, x[l], y[l], &mut q[l], b[l]);
        }
    }
    for (l, ((x, y), (q, b))) in x.iter().zip(y).zip(q.iter_mut().zip(b)).enumerate() {
        one(l, *x, *y, q, *b);
    }
    (sum.iter().sum(), square.iter().sum())
}

/// Σ x·p/y and Σ x·p²/y², y = wh + t·p.
#[inline(always)]
pub(super) fn along(x: &[f32], wh: &[f32], p: &[f32], t: f32, scale: f32) -> (f32, f32) {
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    let mut one = |l: usize, x: f32, wh: f32, p: f32| {
        let r = p / (wh + t * p).max(LEAST);
        first[l] += x * r;
        second[l] += x * r * r;
    };
    let ((xs, x), (ys, y), (ps, p)) = (x.as_chunks::<LANES>(), wh.as_chunks::<LANES>(), p.as_chunks::<LANES>());
    for ((x, y), p) in xs.iter().zip(ys).zip(ps) {
        for l in 0..LANES {
            one(l, x[l], y[l], p[l]);
        }
    }
    for (l, ((x, y), p)) in x.iter().zip(y).zip(p).enumerate() {
        one(l, *x, *y, *p);
    }
    (first.iter().sum::<f32>() * scale, second.iter().sum::<f32>() * scale)
}

/// q ← x/wh, and Σ x·ln(x/wh) − x + wh: where the fit is good no digits cancel.
#[inline(always)]
pub(super) fn divergence_of(x: &[f32], wh: &mut [f32], q: &mut [f32], scale: f32) -> f64 {
    /// Numbers that are added in f32 before their sum moves on.
    const RUN: usize = 32 * LANES;
    let mut total = 0.0;
    for ((x, wh), q) in x.chunks(RUN).zip(wh.chunks_mut(RUN)).zip(q.chunks_mut(RUN)) {
        let mut sums = [0f32; LANES];
        let mut one = |l: usize, x: f32, y: &mut f32, q: &mut f32| {
            let x = x * scale;
            *y = y.max(LEAST);
            *q = x / *y;
            sums[l] += x * ln(q.max(TINY)) + (*y - x);
        };
        let ((xs, x), (ys, y), (qs, q)) = (x.as_chunks::<LANES>(), wh.as_chunks_mut::<LANES>(), q.as_chunks_mut::<LANES>());
        for ((x, y), q) in xs.iter().zip(ys).zip(qs) {
            for l in 0..LANES {
                one(l, x[l], &mut y[l], &mut q[l]);
            }
        }
        for (l, ((x, y), q)) in x.iter().zip(y).zip(q).enumerate() {
            one(l, *x, y, q);
        }
        total += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
    }
    total
}

/// Natural logarithm of a positive normal number to about 1e-7 of it, also next to 1, as plain arithmetic that vectorises
/// (polynomial of Moshier's Cephes).
#[inline(always)]
pub(super) fn ln(v: f32) -> f32 {
    let shifted = v.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (shifted.cast_signed() >> 23) as f32;
    let f = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let mut series = 7.037_683_6e-2f32;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        series = series * f + c;
    }
    let z = f * f;
    let low = series * f * z - 2.121_944_4e-4 * exponent - 0.5 * z;
    f + low + 0.693_359_4 * exponent
}
