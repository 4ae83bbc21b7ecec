//! The first weights.

use super::{Ae, AeActivation, AeInit, Layout, gradient};
use crate::error::Result;
use crate::fold::stream;
use crate::linalg::{self, Frame};
use crate::mat::Rows;
use crate::rng::{Rng, rng};

/// Directions whose spread is below this share of the largest are noise, and start as if they had so much.
const FLAT: f64 = 1e-3;

/// All parameters at the start, from a sample and the means of its columns in its frame.
pub(super) fn start(how: &Ae, layout: Layout, sample: &Rows, frame: &Frame, mean: &[f64], restart: usize) -> Result<Vec<f32>> {
    let Layout { k, d, .. } = layout;
    let mut r = rng(how.seed, stream::INIT, restart as u64);
    let mut params = vec![0f32; layout.c().end];
    // What reaches a unit then has a variance of about that of y. Where W only adds and y is not about 0, sums of d terms do so.
    let mut encoder = if how.scaled { 1.0 } else { 1.0 / (d as f64).sqrt() };
    let mut decoder = 1.0 / (3.0 * k as f64).sqrt();
    if how.nonnegative && frame.shift.iter().all(|s| *s == 0.0) {
        encoder /= (d as f64).sqrt();
        decoder = 1.0 / k as f64;
    }
    for (i, p) in params[..layout.weights()].iter_mut().enumerate() {
        let v = r.normal() * if i < k * d { encoder } else { decoder };
        *p = if how.nonnegative { v.abs() } else { v } as f32;
    }
    params[layout.c()].iter_mut().zip(mean).for_each(|(c, m)| *c = *m as f32);
    if how.init == AeInit::Principal && !how.nonnegative {
        principal(how, layout, &gradient::framed(sample.slice(0, sample.rows()), frame), &mut params, &mut r)?;
    }
    Ok(params)
}

/// What units start with: the spread of what reaches them and its mean (a bias), the mean slope that they then have, and their mean code,
/// for a normal distribution.
struct Unit {
    gain: f64,
    bias: f64,
    slope: f64,
    mean: f64,
}

impl Unit {
    fn of(g: AeActivation, biased: bool) -> Self {
        let (gain, bias, slope, mean) = match g {
            AeActivation::Linear => (1.0, 0.0, 1.0, 0.0),
            AeActivation::Erf => (0.5, 0.0, 0.714, 0.0),
            AeActivation::Tanh => (0.5, 0.0, 0.83, 0.0),
            AeActivation::Sigmoid => (1.0, 0.0, 0.207, 0.5),
            AeActivation::Softplus => (1.0, 0.0, 0.5, 0.81),
            // With a bias most rows find the unit open, and it is linear to them.
            AeActivation::Relu | AeActivation::LeakyRelu if biased => (1.0, 2.0, 0.98, 2.0),
            // Half of the slope, over what is left of the variance of a half.
            AeActivation::Relu | AeActivation::LeakyRelu => (1.0, 0.0, 0.68, 0.4),
        };
        Self { gain, bias, slope, mean }
    }
}

/// The k strongest directions of the sample, turned among themselves at random: W reads their coordinates at equal spread, V undoes it.
fn principal(how: &Ae, layout: Layout, y: &Rows, params: &mut [f32], r: &mut Rng) -> Result<()> {
    let Layout { k, d, tied, .. } = layout;
    let (lengths, axes) = linalg::svd_top(y, k, how.seed)?;
    let m = axes.rows;
    if m == 0 || lengths[0] <= 0.0 {
        return Ok(());
    }
    let spread: Vec<f64> = lengths.iter().map(|s| s.max(FLAT * lengths[0]) / (y.rows() as f64).sqrt()).collect();
    let numbers: Vec<f64> = (0..m * m).map(|_| r.normal()).collect();
    let turn = linalg::orthonormal(&numbers, m, m);
    let Unit { gain, bias, slope, mean } = Unit::of(how.activation, layout.encoder_bias && layout.decoder_bias);
    let mixed = |j: usize, weight: &dyn Fn(usize) -> f64, to: &mut [f32]| {
        to.fill(0.0);
        (0..m).for_each(|l| linalg::axpy(to, (turn[j * m + l] * weight(l)) as f32, axes.row(l)));
    };
    let scale = f64::from(how.scale(d));
    let decoder = layout.decoder().start;
    for j in 0..m {
        // As long as each other where nothing bends: that is where plain steps go best.
        if tied || how.activation == AeActivation::Linear {
            mixed(j, &|_| 1.0 / scale, &mut params[j * d..(j + 1) * d]);
            // Of a tied one this is the same row.
            mixed(j, &|_| 1.0, &mut params[decoder + j * d..decoder + (j + 1) * d]);
            continue;
        }
        mixed(j, &|l| gain / (spread[l] * scale), &mut params[j * d..(j + 1) * d]);
        mixed(j, &|l| spread[l] / (gain * slope), &mut params[decoder + j * d..decoder + (j + 1) * d]);
        if bias != 0.0 {
            params[layout.b().start + j] = (bias / scale) as f32;
        }
        if layout.decoder_bias && mean != 0.0 {
            let (weights, biases) = params.split_at_mut(layout.c().start);
            linalg::axpy(biases, -mean as f32, &weights[decoder + j * d..decoder + (j + 1) * d]);
        }
    }
    // Units beyond the directions that there are begin without a say.
    if !tied {
        params[decoder + m * d..layout.weights()].iter_mut().for_each(|v| *v *= 1e-2);
    }
    Ok(())
}
