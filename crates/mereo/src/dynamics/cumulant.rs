//! A direction that no covariance shows: two spikes of which one is seen by its third moments alone, a stand-in for the spiked-cumulant model of
//! Mendes et al. 2026.
//!
//! x = √β₁ λ u* + (√β₂ ν + ξᵥ)/√(1 + β₂) v* + ξ, with λ normal, ν = (λ² − 1)/√2 and white noise elsewhere. λ and ν are uncorrelated, and along v* the
//! variance is 1, as along every direction of the noise: principal components see u* alone, and so does any linear autoencoder. But E λ²ν = √2, and what a
//! rectified unit makes of λ goes along with ν, so a non-linear autoencoder finds v* too. Its error may be the larger one all the same, since
//! a linear autoencoder spends its other units on some directions of noise as a whole: error and representation disagree.

use super::{Activation, Dynamics, Input, Path, Population, simulate};
use crate::error::{Error, Result};
use crate::fold::stream;
use crate::linalg::orthonormal;
use crate::mat::Mat;
use crate::rng::{Rng, rng};
use serde::Serialize;
use std::ops::ControlFlow;

/// The model: two planted directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Cumulant {
    /// Dimensions (D).
    pub cols: usize,
    /// Strength of the direction that the covariance shows.
    pub first: f64,
    /// Strength of the one that it does not.
    pub second: f64,
    /// u*, then v* (2 × D), orthonormal.
    pub axes: Vec<f64>,
}

/// What one autoencoder made of it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Its activation.
    pub activation: Activation,
    /// Length of u* within the span of the decoders.
    pub shown: f64,
    /// Length of v* within the span of the decoders; about √(K/D) by chance.
    pub hidden: f64,
    /// ℰ on fresh samples.
    pub error: f64,
    /// Its course.
    #[serde(skip)]
    pub path: Path,
}

impl Cumulant {
    /// Random directions in `cols` dimensions.
    ///
    /// # Errors
    /// Fewer than two dimensions; strengths that are no numbers above 0.
    pub fn new(cols: usize, first: f64, second: f64, seed: u64) -> Result<Self> {
        if cols < 2 {
            return Err(Error::parameter(format!("two directions do not fit {cols} dimensions; set d to 2 or more")));
        }
        if !(first > 0.0 && second > 0.0 && first.is_finite() && second.is_finite()) {
            return Err(Error::parameter(format!("the strengths {first} and {second} must be numbers above 0")));
        }
        let mut random = vec![0.0; 2 * cols];
        rng(seed, stream::SYNTH, 0).normals(&mut random);
        Ok(Self { cols, first, second, axes: orthonormal(&random, 2, cols) })
    }

    /// Fills rows (· × D) with samples.
    pub fn fill(&self, x: &mut [f64], r: &mut Rng) {
        let d = self.cols;
        let (u, v) = self.axes.split_at(d);
        r.normals(x);
        for x in x.chunks_exact_mut(d) {
            let lambda = r.normal();
            let nu = (lambda * lambda - 1.0) / 2f64.sqrt();
            let along: f64 = x.iter().zip(v).map(|(x, v)| x * v).sum();
            let wanted = (self.second.sqrt() * nu + along) / (1.0 + self.second).sqrt();
            for ((x, u), v) in x.iter_mut().zip(u).zip(v) {
                *x += self.first.sqrt() * lambda * u + (wanted - along) * v;
            }
        }
    }

    /// Samples (rows × D).
    pub fn rows(&self, rows: usize, seed: u64) -> Mat {
        let mut x = vec![0.0; rows * self.cols];
        self.fill(&mut x, &mut rng(seed, stream::SYNTH, 1));
        Mat { rows, cols: self.cols, data: x.into_iter().map(|v| v as f32).collect() }
    }

    /// The Gaussian data of the same covariance: u* alone stands out.
    ///
    /// # Errors
    /// None that [`Cumulant::new`] lets through.
    pub fn population(&self) -> Result<Population> {
        let d = self.cols as f64;
        Population::along((1.0 + self.first) / d, (d - 1.0) / d, &self.axes[..self.cols])
    }

    /// Learns with each activation by `how`, on fresh samples, and looks at both directions and the error on `test` other ones.
    ///
    /// # Errors
    /// As [`simulate`]; a run that diverges.
    pub fn compare(&self, how: &Dynamics, activations: &[Activation], test: usize) -> Result<Vec<Found>> {
        let data = self.population()?;
        let fresh = self.rows(test, how.seed ^ 0xf00d);
        activations
            .iter()
            .map(|&activation| {
                let how = Dynamics { activation, bias: how.bias && activation != Activation::Linear, ..how.clone() };
                let input = Input::Fresh { make: &|x, r| self.fill(x, r), test: &fresh };
                let path = simulate(&how, &data, input, &how.start(&data)?, &mut |_| ControlFlow::Continue(()))?;
                let (Some(last), super::Ended::Whole) = (path.points.last(), path.ended) else {
                    return Err(Error::parameter(format!("learning diverged at eta = {}; lower it", how.eta)));
                };
                let span = orthonormal(&path.v, how.k, self.cols);
                let within = |axis: &[f64]| {
                    let along = span.chunks_exact(self.cols).map(|s| s.iter().zip(axis).map(|(a, b)| a * b).sum::<f64>());
                    along.map(|a| a * a).sum::<f64>().sqrt()
                };
                let (u, v) = self.axes.split_at(self.cols);
                Ok(Found { activation, shown: within(u), hidden: within(v), error: last.error, path })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covariance_shows_one_direction_and_third_moments_the_other() {
        let model = Cumulant::new(30, 8.0, 20.0, 3).expect("model");
        let x = model.rows(200_000, 1);
        let (u, v) = model.axes.split_at(30);
        let along = |i: usize, axis: &[f64]| x.row(i).iter().zip(axis).map(|(x, a)| f64::from(*x) * a).sum::<f64>();
        let mean = |f: &dyn Fn(f64, f64) -> f64| (0..x.rows).map(|i| f(along(i, u), along(i, v))).sum::<f64>() / x.rows as f64;
        assert!((mean(&|a, _| a * a) - 9.0).abs() < 0.1, "u*");
        assert!((mean(&|_, b| b * b) - 1.0).abs() < 0.05 && mean(&|a, b| a * b).abs() < 0.05, "v* is hidden");
        // E(√β₁λ + ξ)²ν √β₂/√(1 + β₂)
        let third = 8.0 * 2f64.sqrt() * (20.0f64 / 21.0).sqrt();
        assert!((mean(&|a, b| a * a * b) / third - 1.0).abs() < 0.05, "{}", mean(&|a, b| a * a * b));
    }
}
