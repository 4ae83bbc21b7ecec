//! First values of W and H.

use super::{Nmf, NmfState};
use crate::fold::stream;
use crate::mat::{Mat, Rows};
use crate::rng::rng;
use rayon::prelude::*;

/// Rows from which the mean of the data is taken.
pub(super) const SAMPLE: usize = 4096;

/// The state before the first pass.
pub(super) fn start(how: &Nmf, sample: &Rows, restart: usize) -> NmfState {
    let (d, k) = (sample.cols(), how.k);
    let total: f64 = sample.values().iter().map(|&v| f64::from(v)).sum();
    let mean = total / (sample.rows() * d) as f64;
    let scale = scale_for(mean);
    // Data of zeros has no scale of its own; any start is as good as another.
    let mean = if mean > 0.0 { mean * f64::from(scale) } else { 1.0 };
    let mut h = Mat::zeros(k, d);
    for (a, row) in h.data.chunks_exact_mut(d).enumerate() {
        fill(row, how.seed, stream::INIT, ((restart as u64) << 32) + a as u64, (mean / k as f64).sqrt());
    }
    let mut state = NmfState { h: h.transpose(), gram: Vec::new(), pass: 0, weight: vec![1.0; k], scale, mean };
    state.gram = state.gram().iter().map(|&v| v as f32).collect();
    state
}

/// First weights of rows `first..`, from the row's own number, so that blocks and workers agree.
pub(super) fn weights(how: &Nmf, state: &NmfState, first: u64, w: &mut [f32]) {
    let size = (state.mean / how.k as f64).sqrt();
    w.par_chunks_exact_mut(how.k).enumerate().for_each(|(i, w)| fill(w, how.seed, stream::CODES, first + i as u64, size));
}

fn fill(row: &mut [f32], seed: u64, stream: u64, number: u64, size: f64) {
    let mut r = rng(seed, stream, number);
    for v in row {
        *v = (r.normal().abs() * size) as f32;
    }
}

/// The power of 4 that brings a mean closest to 1; within 2^±100. Multiplying by it is exact, and so is its root.
fn scale_for(mean: f64) -> f32 {
    if mean <= 0.0 {
        return 1.0;
    }
    let half = (-mean.log2() / 2.0).round().clamp(-50.0, 50.0);
    (4f64).powi(half as i32) as f32
}
