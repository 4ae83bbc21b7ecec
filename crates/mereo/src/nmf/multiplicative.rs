//! Multiplicative updates: every number is multiplied by a ratio of two sums, so it stays non-negative, and a zero stays zero.
//!
//! Squared error (Lee & Seung 2001): w ← w ∘ xHᵀ / wHHᵀ, then H ← H ∘ WᵀX / WᵀWH.
//! Divergence (2001), with q = x / wH: w ← w ∘ qHᵀ / Σ_j H, then H ← H ∘ WᵀQ / Σ_i W.
//! β-divergence (Févotte & Idier 2011): w ← w ∘ (x·(wH)^(β−2)·Hᵀ / (wH)^(β−1)·Hᵀ)^γ, then H likewise, with γ = 1 / (2 − β) for
//! β < 1, 1 / (β − 1) for β > 2, else 1. β = 1 is the divergence above, β = 2 the squared error.
//! Divergence (1999): the same numerators, but atoms are scaled to sum to one instead of divided, after which w needs no
//! denominator either.
//!
//! The divergence is D = Σ x·ln(x / wH) − x + wH, and the likelihood of 1999 is F = Σ x·ln(wH) − wH = Σ (x·ln x − x) − D.

use super::product::{self, DEPTH, Packed, Strip, TILE};
use super::{NmfLoss, NmfState};
use crate::mat::{DenseRows, Rows, SparseRows, Weights};
use pulp::Arch;
use rayon::prelude::*;

/// Least wH, where the data has a mean of about 1: a ratio by anything less overflows sooner than it means something.
const LEAST: f32 = 1e-12;
/// Smaller factors are zero: as denormal numbers they would only slow everything down.
pub(super) const TINY: f32 = 1e-30;
/// Numbers of wH that are held at once by a thread.
const HELD: usize = 1 << 17;

/// w ← w ∘ b / (wG + l1) for the rows of `w` (n×k), with their b = xHᵀ (n×k) and G = H·Hᵀ, on this thread.
pub(super) fn weights_squared(w: &mut [f32], b: &[f32], gram: &Packed, l1: f32) {
    let mut below = vec![0f32; w.len()];
    product::rows_times(&mut below, &Rows::dense(gram.cols, w), gram);
    for ((w, &b), &below) in w.iter_mut().zip(b).zip(&below) {
        *w = scaled(*w, b, below + l1);
    }
}

/// H ← H ∘ WᵀX / (WᵀWH + l1 + l2·H) for `h` = Hᵀ (d×k), from XᵀW (d×k) and WᵀW (k×k).
pub(super) fn atoms_squared(h: &mut [f32], xw: &[f64], ww: &[f64], k: usize, (l1, l2): (f64, f64)) {
    h.par_chunks_mut(k).zip(xw.par_chunks(k)).for_each(|(h, xw)| {
        let mut below: Vec<f64> = h.iter().map(|&h| l1 + l2 * f64::from(h)).collect();
        for (&h, ww) in h.iter().zip(ww.chunks_exact(k)) {
            below.iter_mut().zip(ww).for_each(|(b, w)| *b += f64::from(h) * w);
        }
        for ((h, &b), &below) in h.iter_mut().zip(xw).zip(&below) {
            let new = if below > 0.0 { f64::from(*h) * b / below } else { 0.0 };
            *h = if new < f64::from(TINY) { 0.0 } else { new as f32 };
        }
    });
}

fn scaled(w: f32, above: f32, below: f32) -> f32 {
    let new = if below > 0.0 { w * (above / below) } else { 0.0 };
    if new < TINY { 0.0 } else { new }
}

/// The arithmetic of a β-divergence, entry by entry, of data that is scaled first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Divergence {
    beta: f64,
    scale: f32,
    /// Entries count differently; and what one counts that is not stored.
    rest: Option<f32>,
    /// Least wH.
    least: f32,
}

impl Divergence {
    /// Of data times `scale`, which then has a mean of about 1.
    pub fn new(loss: NmfLoss, scale: f32, rest: Option<f32>) -> Self {
        let beta = loss.beta();
        // (wH)^(β − 2) stays below 1e24, so that sums of it fit.
        let least = if beta < 0.0 { 10f64.powf(-24.0 / (2.0 - beta)) as f32 } else { LEAST };
        Self { beta, scale, rest, least }
    }

    /// β.
    pub fn beta(self) -> f64 {
        self.beta
    }

    /// Whether this is the Kullback–Leibler divergence.
    pub fn is_kl(self) -> bool {
        self.beta == 1.0
    }

    /// Whether (wH)^(β − 1), by what it counts, is 1 everywhere and need not be formed.
    pub fn even(self) -> bool {
        self.is_kl() && self.rest.is_none()
    }

    /// The power of the ratio with which the auxiliary function falls (Févotte & Idier 2011; spec 3.4).
    pub fn exponent(self) -> f64 {
        match self.beta {
            b if b < 1.0 => 1.0 / (2.0 - b),
            b if b > 2.0 => 1.0 / (b - 1.0),
            _ => 1.0,
        }
    }

    /// What the divergence of a scaled number x has besides the terms of [`Divergence::cost`].
    pub fn constant(self, x: f64) -> f64 {
        match self.beta {
            1.0 => x * x.ln() - x,
            0.0 => -x.ln() - 1.0,
            b => x.powf(b) / (b * (b - 1.0)),
        }
    }

    /// `q` holds wH, and afterwards x·(wH)^(β − 2); `below` receives (wH)^(β − 1), unless that is 1 everywhere. Both as often as `v` says.
    pub fn ratios(self, q: &mut [f32], below: &mut [f32], x: &[f32], v: Option<&[f32]>) {
        let Self { beta, scale, least, .. } = self;
        Arch::new().dispatch(
            #[inline(always)]
            || match beta {
                1.0 => {
                    below.fill(1.0);
                    for (q, &x) in q.iter_mut().zip(x) {
                        *q = x * scale / q.max(least);
                    }
                }
                2.0 => {
                    for ((q, below), &x) in q.iter_mut().zip(below.iter_mut()).zip(x) {
                        *below = *q;
                        *q = x * scale;
                    }
                }
                0.0 => {
                    for ((q, below), &x) in q.iter_mut().zip(below.iter_mut()).zip(x) {
                        *below = 1.0 / q.max(least);
                        *q = x * scale * *below * *below;
                    }
                }
                _ => {
                    for ((q, below), &x) in q.iter_mut().zip(below.iter_mut()).zip(x) {
                        let wh = q.max(least);
                        let power = exp((beta - 2.0) * ln(wh));
                        *q = (f64::from(x * scale) * power) as f32;
                        *below = (f64::from(wh) * power) as f32;
                    }
                }
            },
        );
        if let Some(v) = v {
            q.iter_mut().zip(v).for_each(|(q, v)| *q *= v);
            below.iter_mut().zip(v).for_each(|(b, v)| *b *= v);
        }
    }

    /// Sum of those terms of the divergence that wH is in, each as often as `v` says.
    pub fn cost(self, x: &[f32], wh: &[f32], v: Option<&[f32]>) -> f64 {
        let Self { beta, scale, least, .. } = self;
        if let Some(v) = v {
            return x.iter().zip(wh).zip(v).map(|((x, wh), &v)| f64::from(v) * self.cost(&[*x], &[*wh], None)).sum();
        }
        Arch::new().dispatch(
            #[inline(always)]
            || match beta {
                1.0 => lanes(x, wh, |x, wh| {
                    let wh = wh.max(least);
                    f64::from(wh) - f64::from(x * scale) * ln(wh)
                }),
                0.0 => lanes(x, wh, |x, wh| {
                    let wh = wh.max(least);
                    f64::from(x * scale) / f64::from(wh) + ln(wh)
                }),
                2.0 => lanes(x, wh, |x, wh| {
                    let wh = f64::from(wh);
                    wh * (0.5 * wh - f64::from(x * scale))
                }),
                _ => lanes(x, wh, |x, wh| {
                    let (x, wh) = (x * scale, wh.max(least));
                    let (below, wh) = (exp((beta - 1.0) * ln(wh)), f64::from(wh));
                    below * (wh / beta - f64::from(x) / (beta - 1.0))
                }),
            },
        )
    }
}

/// Σ f(x, wH), in lanes.
#[inline(always)]
fn lanes(x: &[f32], wh: &[f32], f: impl Fn(f32, f32) -> f64) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (whs, wh_rest) = wh.as_chunks::<LANES>();
    for (x, wh) in xs.iter().zip(whs) {
        for l in 0..LANES {
            sums[l] += f(x[l], wh[l]);
        }
    }
    for (&x, &wh) in x_rest.iter().zip(wh_rest) {
        sums[0] += f(x, wh);
    }
    sums.iter().sum()
}

/// Both orientations of H, packed for the products of one block of rows.
pub(super) struct Factors<'a> {
    state: &'a NmfState,
    kind: Divergence,
    /// L1 and L2 of the weights.
    penalty: (f32, f32),
    /// Hᵀ (d×k), to multiply ratios by.
    turned: Packed,
    /// H (k×d), to form wH.
    atoms: Packed,
}

impl<'a> Factors<'a> {
    /// Packs the atoms of a state; sparse rows need only one orientation.
    pub fn new(state: &'a NmfState, x: &Rows, kind: Divergence, penalty: (f32, f32)) -> Self {
        let turned = Packed::new(&state.at().data, state.h.cols);
        let atoms = match x {
            Rows::Dense(_) => Packed::new(&state.at().transpose().data, state.h.rows),
            Rows::Sparse(_) => Packed::new(&[], state.h.rows),
        };
        Self { state, kind, penalty, turned, atoms }
    }

    /// One multiplicative step for all rows of `w` (n×k).
    pub fn weights(&self, x: &Rows, w: &mut [f32]) {
        let k = self.turned.cols;
        let sums = super::as_f32(&self.state.sums);
        let take = super::take(x.rows());
        w.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
            let first = i * take;
            let mut above = vec![0f32; w.len()];
            // Where (wH)^(β − 1) is 1, a row is divided by the sums of the atoms.
            let mut below = if self.kind.is_kl() { sums.repeat(w.len() / k) } else { vec![0f32; w.len()] };
            match x.slice(first, first + w.len() / k) {
                Rows::Dense(x) => self.sums_dense(&mut above, &mut below, &x, w),
                Rows::Sparse(x) => self.sums_sparse(&mut above, &mut below, &x, w),
            }
            step(w, &above, &below, self.penalty, self.kind.exponent());
        });
    }

    /// x·(wH)^(β−2)·Hᵀ and (wH)^(β−1)·Hᵀ (n×k) of dense rows, a few rows of wH at a time.
    fn sums_dense(&self, above: &mut [f32], below: &mut [f32], x: &DenseRows, w: &[f32]) {
        let (d, k) = (x.cols, self.turned.cols);
        let rows = (HELD / d).clamp(6, 192);
        let mut q = vec![0f32; rows * d];
        let mut powers = if self.kind.even() { Vec::new() } else { vec![0f32; rows * d] };
        let sums = above.chunks_mut(rows * k).zip(below.chunks_mut(rows * k));
        for (i, (((above, below), w), x_some)) in sums.zip(w.chunks(rows * k)).zip(x.data.chunks(rows * d)).enumerate() {
            let v = x.weights.as_ref().and_then(Weights::entries).map(|v| &v[i * rows * d..][..x_some.len()]);
            let x = x_some;
            let q = &mut q[..x.len()];
            product::rows_times(q, &Rows::dense(k, w), &self.atoms);
            let powers = &mut powers[..if self.kind.even() { 0 } else { x.len() }];
            self.kind.ratios(q, powers, x, v);
            product::rows_times(above, &Rows::dense(d, q), &self.turned);
            if !self.kind.even() {
                product::rows_times(below, &Rows::dense(d, powers), &self.turned);
            }
        }
    }

    /// The same of the Kullback–Leibler divergence of sparse rows; `below` holds the sums of all atoms.
    fn sums_sparse(&self, above: &mut [f32], below: &mut [f32], x: &SparseRows, w: &[f32]) {
        let k = self.turned.cols;
        let q = (0..x.rows()).flat_map(|i| self.ratios(x, i, &w[i * k..(i + 1) * k]).map(|(q, _)| q)).collect();
        product::rows_times(above, &Rows::Sparse(x.with(q)), &self.turned);
        if let (Some(rest), Some(v)) = (self.kind.rest, x.weights.as_ref().and_then(Weights::entries)) {
            let mut more = vec![0f32; below.len()];
            product::rows_times(&mut more, &Rows::Sparse(x.with(v.iter().map(|v| v - rest).collect())), &self.turned);
            below.iter_mut().zip(more).for_each(|(b, more)| *b = (rest * *b + more).max(0.0));
        }
    }

    /// v·x / wH of the stored entries of a sparse row, and what each adds to the divergence besides the sum of all wH.
    fn ratios<'b>(&'b self, x: &'b SparseRows, i: usize, w: &'b [f32]) -> impl Iterator<Item = (f32, f64)> + 'b {
        let k = self.turned.cols;
        let (columns, values) = x.row(i);
        let weights = x.weights.as_ref().and_then(Weights::entries).map(|v| &v[x.span(i)]);
        columns.iter().zip(values).enumerate().map(move |(at, (&j, &x))| {
            let wh = dot(w, &self.state.at().data[j as usize * k..][..k]).max(LEAST);
            let v = weights.map_or(1.0, |v| v[at]);
            let x = v * (x * self.state.scale);
            let over = self.kind.rest.map_or(0.0, |rest| f64::from(v - rest) * f64::from(wh));
            (x / wh, over - f64::from(x) * ln(wh))
        })
    }

    /// `above` (d×k) += Σ x·(wH)^(β−2)·w and `below` (d×k; none where [`Divergence::even`]) += Σ (wH)^(β−1)·w. Returns the divergence
    /// of these rows, less what does not depend on wH.
    pub fn add_atoms(&self, above: &mut [f64], below: &mut [f64], x: &Rows, w: &[f32]) -> f64 {
        match x {
            Rows::Dense(x) => self.add_atoms_dense(above, below, x, w),
            Rows::Sparse(x) => self.add_atoms_sparse(above, below, x, w),
        }
    }

    /// Strips of columns need nothing of each other, so threads share no sums.
    fn add_atoms_dense(&self, above: &mut [f64], below: &mut [f64], x: &DenseRows, w: &[f32]) -> f64 {
        let (d, k) = (x.cols, self.turned.cols);
        let below = below.chunks_mut(TILE * k).chain(std::iter::repeat_with(<&mut [f64]>::default));
        let strips: Vec<(&mut [f64], &mut [f64])> = above.chunks_mut(TILE * k).zip(below).collect();
        let costs = strips.into_par_iter().enumerate().map(|(tile, (above, below))| {
            let (first, cols) = (tile * TILE, above.len() / k);
            let mut strip = Strip::new(cols);
            let mut powers = Strip::new(if below.is_empty() { 0 } else { cols });
            let width = strip.width();
            let mut xs = vec![0f32; DEPTH * width];
            let mut vs = vec![0f32; if x.weights.as_ref().and_then(Weights::entries).is_some() { DEPTH * width } else { 0 }];
            let mut cost = 0.0;
            let take = |to: &mut [f32], from: &[f32]| {
                for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(d)) {
                    to[..cols].copy_from_slice(&from[first..first + cols]);
                }
            };
            for (i, w) in w.chunks(DEPTH * k).enumerate() {
                let depth = w.len() / k;
                let from = i * DEPTH * d..(i * DEPTH + depth) * d;
                let xs = &mut xs[..depth * width];
                take(xs, &x.data[from.clone()]);
                let v = x.weights.as_ref().and_then(Weights::entries).map(|v| {
                    take(&mut vs[..depth * width], &v[from]);
                    &vs[..depth * width]
                });
                let q = strip.all(depth);
                product::rows_times_tile(q, w, &self.atoms, tile);
                for (i, (x, wh)) in xs.chunks_exact(width).zip(q.chunks_exact(width)).enumerate() {
                    cost += self.kind.cost(&x[..cols], &wh[..cols], v.map(|v| &v[i * width..i * width + cols]));
                }
                self.kind.ratios(q, powers.all(depth), xs, v);
                strip.add(above, w, k, 1.0);
                if !below.is_empty() {
                    powers.add(below, w, k, 1.0);
                }
            }
            cost
        });
        costs.collect::<Vec<f64>>().iter().sum()
    }

    fn add_atoms_sparse(&self, into: &mut [f64], below: &mut [f64], x: &SparseRows, w: &[f32]) -> f64 {
        let k = self.turned.cols;
        let rows: Vec<(Vec<f32>, f64)> = (0..x.rows())
            .into_par_iter()
            .map(|i| {
                let mut cost = 0.0;
                let row = self.ratios(x, i, &w[i * k..(i + 1) * k]).map(|(q, c)| {
                    cost += c;
                    q
                });
                (row.collect(), cost)
            })
            .collect();
        let cost: f64 = rows.iter().map(|r| r.1).sum();
        product::add_transposed(into, &Rows::Sparse(x.with(rows.into_iter().flat_map(|r| r.0).collect())), w, k, 1.0);
        // Where nothing is stored only the sum of wH counts, and that needs no entry.
        let used = super::column_sums(w, k);
        let rest = self.kind.rest.unwrap_or(1.0);
        if let Some(v) = x.weights.as_ref().and_then(Weights::entries) {
            let over = v.iter().map(|v| v - rest).collect();
            product::add_transposed(below, &Rows::Sparse(x.with(over)), w, k, 1.0);
            below.par_chunks_mut(k).for_each(|b| b.iter_mut().zip(&used).for_each(|(b, w)| *b += f64::from(rest) * w));
        }
        f64::from(rest) * used.iter().zip(&self.state.sums).map(|(w, h)| w * h).sum::<f64>() + cost
    }
}

/// w ← w · (above / (below + l1 + l2·w))^exponent
pub(super) fn step(w: &mut [f32], above: &[f32], below: &[f32], (l1, l2): (f32, f32), exponent: f64) {
    for ((w, &above), &below) in w.iter_mut().zip(above).zip(below) {
        let below = below + l1 + l2 * *w;
        let ratio = if below > 0.0 { above / below } else { 0.0 };
        let new = *w * if exponent == 1.0 { ratio } else { f64::from(ratio).powf(exponent) as f32 };
        *w = if new < TINY { 0.0 } else { new };
    }
}

/// Natural logarithm of a positive normal f32, to about 1e-15, as plain arithmetic that vectorises: the exponent from the
/// bits, the mantissa m by 2·artanh((m − 1) / (m + 1)).
#[inline(always)]
fn ln(v: f32) -> f64 {
    let bits = v.to_bits();
    // The mantissa between √½ and √2, so that the series is short.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = shifted.cast_signed() >> 23;
    let m = f64::from(f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut series = 1.0 / 19.0;
    for c in [17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * z + 1.0 / c;
    }
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * s * series
}

/// e^v for |v| below 700, to about 1e-13, as plain arithmetic that vectorises; what lies beyond is taken as 700 away.
#[inline(always)]
fn exp(v: f64) -> f64 {
    // Adding 1.5·2⁵² rounds to an integer, and leaves it in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let v = v.clamp(-700.0, 700.0);
    let t = v * std::f64::consts::LOG2_E + ROUND;
    let r = (v - (t - ROUND) * std::f64::consts::LN_2) * 0.25;
    let mut series = 1.0;
    for c in [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        series = 1.0 + series * r * (1.0 / c);
    }
    let series = series * series;
    series * series * f64::from_bits(t.to_bits().wrapping_add(1023) << 52)
}

/// Sum of products, in lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..LANES {
            sums[l] += a[l] * b[l];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_exact() {
        for v in [1e-12f32, 1e-3, 0.5, 0.70, 0.71, 0.999_999_9, 1.0, 1.5, 2.0, 3e20] {
            let want = f64::from(v).ln();
            assert!((ln(v) - want).abs() <= 4e-15 * want.abs().max(1.0), "{v}: {} {want}", ln(v));
        }
    }

    #[test]
    fn the_exponential_is_exact() {
        for v in [-690.0, -1.5, -0.3, 0.0, 1e-9, 0.17, 0.35, 1.0, 88.0, 700.0] {
            assert!((exp(v) / v.exp() - 1.0).abs() < 1e-12, "{v}: {} {}", exp(v), v.exp());
        }
        assert_eq!((exp(-1e9), exp(1e9)), (exp(-700.0), exp(700.0)));
    }
}
