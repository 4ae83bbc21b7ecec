//! Multiplicative updates: every number is multiplied by a ratio of two sums, so it stays non-negative, and a zero stays zero.
//!
//! Squared error (Lee & Seung 2001): w ← w ∘ xHᵀ / wHHᵀ, then H ← H ∘ WᵀX / WᵀWH.
//! Divergence (2001), with q = x / wH: w ← w ∘ qHᵀ / Σ_j H, then H ← H ∘ WᵀQ / Σ_i W.
//! Divergence (1999): the same numerators, but atoms are scaled to sum to one instead of divided, after which w needs no
//! denominator either.
//!
//! The divergence is D = Σ x·ln(x / wH) − x + wH, and the likelihood of 1999 is F = Σ x·ln(wH) − wH = Σ (x·ln x − x) − D.

use super::NmfState;
use super::product::{self, DEPTH, Packed, Strip, TILE};
use crate::mat::{DenseRows, Rows, SparseRows};
use pulp::Arch;
use rayon::prelude::*;
use std::borrow::Cow;

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

/// Both orientations of H, packed for the products of one block of rows.
pub(super) struct Factors<'a> {
    state: &'a NmfState,
    /// Hᵀ (d×k), to multiply ratios by.
    turned: Packed,
    /// H (k×d), to form wH.
    atoms: Packed,
}

impl<'a> Factors<'a> {
    /// Packs the atoms of a state; sparse rows need only one orientation.
    pub fn new(state: &'a NmfState, x: &Rows) -> Self {
        let turned = Packed::new(&state.at().data, state.h.cols);
        let atoms = match x {
            Rows::Dense(_) => Packed::new(&state.at().transpose().data, state.h.rows),
            Rows::Sparse(_) => Packed::new(&[], state.h.rows),
        };
        Self { state, turned, atoms }
    }

    /// w ← w ∘ qHᵀ / Σ_j H for all rows of `w` (n×k).
    pub fn weights(&self, x: &Rows, w: &mut [f32]) {
        let k = self.turned.cols;
        // Where atoms sum to one there is nothing to divide by.
        let over: Vec<f32> = self.state.sums.iter().map(|&s| if s > 0.0 { (1.0 / s) as f32 } else { 0.0 }).collect();
        let take = super::take(x.rows());
        w.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
            let first = i * take;
            let mut above = vec![0f32; w.len()];
            match x.slice(first, first + w.len() / k) {
                Rows::Dense(x) => self.above_dense(&mut above, &x, w),
                Rows::Sparse(x) => self.above_sparse(&mut above, &x, w),
            }
            for (w, above) in w.chunks_exact_mut(k).zip(above.chunks_exact(k)) {
                for ((w, &above), &over) in w.iter_mut().zip(above).zip(&over) {
                    let new = *w * (above * over);
                    *w = if new < TINY { 0.0 } else { new };
                }
            }
        });
    }

    /// qHᵀ (n×k) of dense rows, a few rows of q at a time.
    fn above_dense(&self, above: &mut [f32], x: &DenseRows, w: &[f32]) {
        let (d, k) = (x.cols, self.turned.cols);
        let rows = (HELD / d).clamp(6, 192);
        let mut q = vec![0f32; rows * d];
        for ((above, w), x) in above.chunks_mut(rows * k).zip(w.chunks(rows * k)).zip(x.data.chunks(rows * d)) {
            let q = &mut q[..x.len()];
            product::rows_times(q, &Rows::dense(k, w), &self.atoms);
            ratio(q, x, self.state.scale);
            product::rows_times(above, &Rows::dense(d, q), &self.turned);
        }
    }

    fn above_sparse(&self, above: &mut [f32], x: &SparseRows, w: &[f32]) {
        let k = self.turned.cols;
        let q: Vec<f32> = (0..x.rows()).flat_map(|i| self.ratios(x, i, &w[i * k..(i + 1) * k]).map(|(q, _)| q)).collect();
        let q =
            SparseRows { cols: x.cols, indptr: Cow::Borrowed(&x.indptr), indices: Cow::Borrowed(&x.indices), values: q.into() };
        product::rows_times(above, &Rows::Sparse(q), &self.turned);
    }

    /// x / wH, and x·ln(wH), of the stored entries of a sparse row.
    fn ratios<'b>(&'b self, x: &'b SparseRows, i: usize, w: &'b [f32]) -> impl Iterator<Item = (f32, f64)> + 'b {
        let k = self.turned.cols;
        let (columns, values) = x.row(i);
        columns.iter().zip(values).map(move |(&j, &x)| {
            let wh = dot(w, &self.state.at().data[j as usize * k..][..k]).max(LEAST);
            let x = x * self.state.scale;
            (x / wh, f64::from(x) * ln(wh))
        })
    }

    /// into (d×k) += Qᵀ·W, where Q = X / WH of these weights. Returns Σ wH − x·ln(wH) over all entries of these rows.
    pub fn add_atoms(&self, into: &mut [f64], x: &Rows, w: &[f32]) -> f64 {
        match x {
            Rows::Dense(x) => self.add_atoms_dense(into, x, w),
            Rows::Sparse(x) => self.add_atoms_sparse(into, x, w),
        }
    }

    /// Strips of columns need nothing of each other, so threads share no sums.
    fn add_atoms_dense(&self, into: &mut [f64], x: &DenseRows, w: &[f32]) -> f64 {
        let (d, k) = (x.cols, self.turned.cols);
        let strips = into.par_chunks_mut(TILE * k).enumerate().map(|(tile, into)| {
            let (first, cols) = (tile * TILE, into.len() / k);
            let mut strip = Strip::new(cols);
            let mut xs = vec![0f32; DEPTH * strip.width()];
            let mut loss = 0.0;
            for (x, w) in x.data.chunks(DEPTH * d).zip(w.chunks(DEPTH * k)) {
                let depth = w.len() / k;
                let xs = &mut xs[..depth * strip.width()];
                for (xs, x) in xs.chunks_exact_mut(strip.width()).zip(x.chunks_exact(d)) {
                    xs[..cols].copy_from_slice(&x[first..first + cols]);
                }
                let q = strip.all(depth);
                product::rows_times_tile(q, w, &self.atoms, tile);
                loss += Arch::new().dispatch(|| divergence(xs, q, self.state.scale));
                ratio(q, xs, self.state.scale);
                strip.add(into, w, k, 1.0);
            }
            loss
        });
        strips.collect::<Vec<f64>>().iter().sum()
    }

    fn add_atoms_sparse(&self, into: &mut [f64], x: &SparseRows, w: &[f32]) -> f64 {
        let k = self.turned.cols;
        let rows: Vec<(Vec<f32>, f64)> = (0..x.rows())
            .into_par_iter()
            .map(|i| {
                let mut log = 0.0;
                let row = self.ratios(x, i, &w[i * k..(i + 1) * k]).map(|(q, l)| {
                    log += l;
                    q
                });
                (row.collect(), log)
            })
            .collect();
        let log: f64 = rows.iter().map(|r| r.1).sum();
        let values: Vec<f32> = rows.into_iter().flat_map(|r| r.0).collect();
        let q = SparseRows {
            cols: x.cols,
            indptr: Cow::Borrowed(&x.indptr),
            indices: Cow::Borrowed(&x.indices),
            values: values.into(),
        };
        product::add_transposed(into, &Rows::Sparse(q), w, k, 1.0);
        // Where x is 0 only the sum of wH counts, and that needs no entry.
        let whole: f64 = (0..k).map(|a| super::column_sum(w, k, a) * self.state.sums[a]).sum();
        whole - log
    }
}

/// q ← scale·x / q, where q holds wH.
fn ratio(q: &mut [f32], x: &[f32], scale: f32) {
    Arch::new().dispatch(|| {
        for (q, &x) in q.iter_mut().zip(x) {
            *q = x * scale / q.max(LEAST);
        }
    });
}

/// Σ wH − x·ln(wH).
#[inline(always)]
fn divergence(x: &[f32], wh: &[f32], scale: f32) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (whs, wh_rest) = wh.as_chunks::<LANES>();
    for (x, wh) in xs.iter().zip(whs) {
        for l in 0..LANES {
            let wh = wh[l].max(LEAST);
            sums[l] += f64::from(wh) - f64::from(x[l] * scale) * ln(wh);
        }
    }
    for (&x, &wh) in x_rest.iter().zip(wh_rest) {
        let wh = wh.max(LEAST);
        sums[0] += f64::from(wh) - f64::from(x * scale) * ln(wh);
    }
    sums.iter().sum()
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
}
