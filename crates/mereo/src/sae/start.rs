//! Where a fit begins.

use super::{Param, Sae, SaeBias, SaeInit};
use crate::linalg::Frame;
use crate::mat::Rows;
use crate::rng::{Rng, rng};
use rayon::prelude::*;

/// Streams of random numbers.
const ROWS: u64 = 0x5ae0;
/// Rounds of Weiszfeld's iteration at most.
const ROUNDS: usize = 100;

/// Rows of the sample in the frame (rows × d).
pub(super) fn framed(sample: &Rows, frame: &Frame) -> Vec<f32> {
    let mut y = sample.to_mat();
    let cols = y.cols.max(1);
    y.data.par_chunks_mut(cols).for_each(|y| y.iter_mut().zip(&frame.shift).for_each(|(v, m)| *v = (*v - m) * frame.factor));
    y.data
}

/// b.
pub(super) fn bias(how: SaeBias, y: &[f32], d: usize) -> Vec<f32> {
    let rows = y.len() / d;
    let mean = || -> Vec<f64> {
        let mut mean = vec![0f64; d];
        y.chunks_exact(d).for_each(|y| mean.iter_mut().zip(y).for_each(|(m, v)| *m += f64::from(*v)));
        mean.iter().map(|m| m / rows.max(1) as f64).collect()
    };
    match how {
        SaeBias::Zero => vec![0.0; d],
        SaeBias::Mean => mean().iter().map(|m| *m as f32).collect(),
        SaeBias::Median => (0..d)
            .into_par_iter()
            .map(|a| {
                // The lower of the two in the middle, as the peers take it.
                let mut column: Vec<f32> = y.iter().skip(a).step_by(d).copied().collect();
                let at = column.len().saturating_sub(1) / 2;
                if column.is_empty() { 0.0 } else { *column.select_nth_unstable_by(at, f32::total_cmp).1 }
            })
            .collect(),
        SaeBias::GeometricMedian => {
            // Weiszfeld: the mean of the rows, each by one over its distance.
            let mut at = mean();
            for _ in 0..ROUNDS {
                let parts: Vec<(Vec<f64>, f64)> = y
                    .par_chunks(256 * d)
                    .map(|y| {
                        let (mut sum, mut weights) = (vec![0f64; d], 0.0);
                        for y in y.chunks_exact(d) {
                            let distance = y.iter().zip(&at).map(|(v, m)| (f64::from(*v) - m).powi(2)).sum::<f64>().sqrt();
                            let weight = 1.0 / distance.max(1e-12);
                            weights += weight;
                            sum.iter_mut().zip(y).for_each(|(s, v)| *s += weight * f64::from(*v));
                        }
                        (sum, weights)
                    })
                    .collect();
                let weights: f64 = parts.iter().map(|p| p.1).sum();
                let mut next = vec![0f64; d];
                parts.iter().for_each(|p| next.iter_mut().zip(&p.0).for_each(|(n, s)| *n += s / weights));
                let moved = next.iter().zip(&at).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                let size = next.iter().map(|v| v * v).sum::<f64>().sqrt();
                at = next;
                if moved <= 1e-7 * size {
                    break;
                }
            }
            at.iter().map(|m| *m as f32).collect()
        }
    }
}

/// V (n×d), rows of length 1.
pub(super) fn decoder(how: &Sae, n: usize, d: usize, y: &[f32], bias: &[f32], restart: usize) -> Vec<f32> {
    let seed = |j: usize| rng(how.seed.wrapping_add(restart as u64), ROWS, j as u64);
    let rows = y.len() / d;
    let mut v = vec![0f32; n * d];
    v.par_chunks_mut(d).enumerate().for_each(|(j, v)| {
        let mut r = seed(j);
        let random = |v: &mut [f32], r: &mut Rng| v.iter_mut().for_each(|v| *v = r.normal() as f32);
        match how.init {
            SaeInit::Random => random(v, &mut r),
            SaeInit::Rows if rows == 0 => random(v, &mut r),
            SaeInit::Rows => {
                let i = r.below(rows);
                v.iter_mut().zip(&y[i * d..(i + 1) * d]).zip(bias).for_each(|((v, y), b)| *v = y - b);
                // No two latents are to start alike, and none at nothing.
                let length = v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
                let noise = (0.1 * length / (d as f32).sqrt()).max(f32::MIN_POSITIVE);
                v.iter_mut().for_each(|v| *v += noise * r.normal() as f32);
            }
        }
        unit(v);
        if v.iter().all(|v| *v == 0.0) {
            random(v, &mut r);
            unit(v);
        }
    });
    v
}

/// By what W is shorter than V at first, where V is rows: latents alive on a row are then alike, and add up to more than the row. With codes of s·W the
/// first of the sample are rebuilt best by s = Σ y·ŷ / Σ |ŷ|², ŷ being what those of V make of them.
pub(super) fn shrink(y: &[f32], rebuilt: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (along, square) = (dot(y, rebuilt), dot(rebuilt, rebuilt));
    if square > 0.0 && along > 0.0 { (along / square).clamp(1e-3, 1.0) as f32 } else { 1.0 }
}

fn unit(v: &mut [f32]) {
    let length = v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let by = if length > 1e-30 && length.is_finite() { 1.0 / length } else { 0.0 };
    v.iter_mut().for_each(|v| *v = (f64::from(*v) * by) as f32);
}

impl Param {
    /// With nothing learned yet.
    pub(super) fn new(value: Vec<f32>, how: &Sae) -> Self {
        let zeros = |wanted: bool| vec![0.0; if wanted { value.len() } else { 0 }];
        let (first, second) = (zeros(true), zeros(how.optimizer == super::SaeOptimizer::Adam));
        let average = if how.ema > 0.0 { value.clone() } else { Vec::new() };
        Self { value, first, second, average }
    }
}
