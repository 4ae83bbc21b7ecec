//! The equations by modes: products of coordinates wτwτ, vτwτ/√D and vτvτ/D for every eigenvalue, whose sums are the order parameters.
//!
//! Equal eigenvalues share one mode, so a bulk is one, with the sums over all its directions.
//!
//! Products of one coordinate are a matrix of rank one. The equations keep it so, but do not return to it: what rounding adds is to them another
//! direction of the same eigenvalue, maybe of negative squares, and it grows until nothing is right. So [`Modes::mend`] puts the nearest matrix of
//! rank one in its place every few units of time.

use super::super::averages::Averages;
use super::super::path::Point;
use super::super::{Activation, Dynamics, SLOPE};
use super::{Frame, error};
use differential_equations::ode::ODE;
use std::f64::consts::{PI, TAU};

pub(super) struct Modes<'a> {
    how: &'a Dynamics,
    frame: &'a Frame,
    /// λ/D of every mode.
    rho: Vec<f64>,
    /// Products at first: q, r and t (K × K each) of every mode.
    first: Vec<f64>,
}

impl<'a> Modes<'a> {
    pub fn new(how: &'a Dynamics, frame: &'a Frame) -> Self {
        let (k, c) = (how.k, frame.c);
        let modes = frame.spikes + usize::from(c > frame.spikes);
        let rho: Vec<f64> = (0..modes).map(|m| frame.rho[m]).collect();
        let mut first = vec![0.0; modes * 3 * k * k];
        for j in 0..c {
            let at = j.min(frame.spikes) * 3 * k * k;
            for a in 0..k {
                for b in 0..k {
                    let (w, u) = (|i: usize| frame.w[i * c + j], |i: usize| frame.u[i * c + j]);
                    first[at + a * k + b] += w(a) * w(b);
                    first[at + k * k + a * k + b] += u(a) * w(b);
                    first[at + 2 * k * k + a * k + b] += u(a) * u(b);
                }
            }
        }
        Self { how, frame, rho, first }
    }

    pub fn begin(&self) -> Vec<f64> {
        self.first.clone()
    }

    /// Time between two calls of [`Modes::mend`]: what rounding adds grows by no more than a few powers of e.
    pub fn every(&self) -> f64 {
        2.0 / (self.how.eta * self.frame.variance.max(f64::MIN_POSITIVE))
    }

    /// Makes the products of every spike products of one coordinate again.
    pub fn mend(&self, y: &mut [f64]) {
        let k = self.how.k;
        for mode in y.chunks_exact_mut(3 * k * k).take(self.frame.spikes) {
            let at = |mode: &[f64], i: usize, j: usize| match (i < k, j < k) {
                (true, true) => mode[i * k + j],
                (false, true) => mode[k * k + (i - k) * k + j],
                (true, false) => mode[k * k + (j - k) * k + i],
                (false, false) => mode[2 * k * k + (i - k) * k + j - k],
            };
            let largest = (0..2 * k).max_by(|&i, &j| at(mode, i, i).total_cmp(&at(mode, j, j))).unwrap_or(0);
            let size = at(mode, largest, largest);
            if size <= 0.0 {
                continue;
            }
            // The leading eigenvector times the root of its eigenvalue: a product or two away, so near is the matrix to rank one.
            let mut z: Vec<f64> = (0..2 * k).map(|i| at(mode, i, largest) / size.sqrt()).collect();
            for _ in 0..3 {
                let square: f64 = z.iter().map(|z| z * z).sum();
                z = (0..2 * k).map(|i| (0..2 * k).map(|j| at(mode, i, j) * z[j]).sum::<f64>() / square).collect();
            }
            for a in 0..k {
                for b in 0..k {
                    mode[a * k + b] = z[a] * z[b];
                    mode[k * k + a * k + b] = z[k + a] * z[b];
                    mode[2 * k * k + a * k + b] = z[k + a] * z[k + b];
                }
            }
        }
    }

    /// Q, R, T₀ and T₁.
    fn orders(&self, y: &[f64]) -> [Vec<f64>; 4] {
        let k = self.how.k;
        let (mut q, mut r, mut t0, mut t1) = (self.frame.still.clone(), vec![0.0; k * k], vec![0.0; k * k], vec![0.0; k * k]);
        for (mode, rho) in y.chunks_exact(3 * k * k).zip(&self.rho) {
            for i in 0..k * k {
                q[i] += rho * mode[i];
                r[i] += rho * mode[k * k + i];
                t0[i] += mode[2 * k * k + i];
                t1[i] += rho * mode[2 * k * k + i];
            }
        }
        [q, r, t0, t1]
    }

    pub fn point(&self, y: &[f64], s: f64) -> Point {
        let k = self.how.k;
        let [q, r, t0, t1] = self.orders(y);
        let mut g = Averages::default();
        g.set(self.how.activation, &q, &vec![0.0; k]);
        let error = error(self.frame.variance, &t0, &r, &g, k);
        Point { s, error, q, r, t0, t1, biases: vec![0.0; k], ..Point::default() }
    }
}

/// Averages of one unit: E λg, E g′λν, E g′ν², from Q, R and T₁ of it.
fn of_one(g: Activation, q: f64, r: f64, t1: f64) -> (f64, f64, f64) {
    match g {
        Activation::Erf => {
            let wide = (1.0 + q).powf(1.5);
            (SLOPE * q / (1.0 + q).sqrt(), SLOPE * r / wide, SLOPE * (t1 + q * t1 - r * r) / wide)
        }
        Activation::Relu => (0.5 * q, 0.5 * r, 0.5 * t1),
        Activation::Linear => (q, r, t1),
    }
}

/// E g′(λₖ) λₖ g(λₐ) and E g′(λₖ) λₐ g(λₐ), from their covariances.
fn of_two(g: Activation, kk: f64, ka: f64, aa: f64) -> (f64, f64) {
    match g {
        Activation::Erf => {
            let root = ((1.0 + kk) * (1.0 + aa) - ka * ka).sqrt();
            (2.0 / PI / root * ka / (1.0 + kk), 2.0 / PI / root * (aa * (1.0 + kk) - ka * ka) / (1.0 + kk))
        }
        Activation::Relu => {
            let det = (kk * aa - ka * ka).max(0.0).sqrt();
            let angle = 0.25 * TAU + (ka / (kk * aa).sqrt()).clamp(-1.0, 1.0).asin();
            ((det + ka * angle) / TAU, (aa * angle + ka / kk * det) / TAU)
        }
        Activation::Linear => (ka, aa),
    }
}

impl ODE<f64, Vec<f64>> for Modes<'_> {
    fn diff(&self, _: f64, y: &Vec<f64>, to: &mut Vec<f64>) {
        let (k, how, g) = (self.how.k, self.how, self.how.activation);
        let [q, r, t0, t1] = self.orders(y);
        let mut averages = Averages::default();
        averages.set(g, &q, &vec![0.0; k]);
        let gg = &averages.gg;
        let one: Vec<_> = (0..k).map(|a| of_one(g, q[a * k + a], r[a * k + a], t1[a * k + a])).collect();
        // How an encoder's change pulls on the products with another row: by wᵏ, by vᵏ, and by every other wᵃ.
        let mut by_w = vec![0.0; k * k];
        let mut by_v = vec![0.0; k];
        for a in 0..k {
            let (qa, ra, ta) = (q[a * k + a], r[a * k + a], t1[a * k + a]);
            let det = qa * ta - ra * ra;
            let (_, first, second) = one[a];
            by_w[a * k + a] += (first * ta - second * ra) / det;
            by_v[a] = (second * qa - first * ra) / det;
            for b in 0..how.seen(a) {
                let (ab, bb) = (q[a * k + b], q[b * k + b]);
                if a == b {
                    by_w[a * k + a] -= t0[a * k + a] / qa * of_two(g, qa, qa, qa).0;
                    continue;
                }
                let (here, there) = of_two(g, qa, ab, bb);
                let share = t0[a * k + b] / (qa * bb - ab * ab);
                by_w[a * k + a] -= share * (here * bb - there * ab);
                by_w[a * k + b] -= share * (there * qa - here * ab);
            }
        }
        for ((mode, to), rho) in y.chunks_exact(3 * k * k).zip(to.chunks_exact_mut(3 * k * k)).zip(&self.rho) {
            let (wq, rest) = mode.split_at(k * k);
            let (vr, vt) = rest.split_at(k * k);
            // What a row moves by, times another row.
            let encoder_w = |a: usize, b: usize| {
                rho * ((0..k).map(|c| by_w[a * k + c] * wq[c * k + b]).sum::<f64>() + by_v[a] * vr[a * k + b])
            };
            let encoder_v = |a: usize, b: usize| {
                rho * ((0..k).map(|c| by_w[a * k + c] * vr[b * k + c]).sum::<f64>() + by_v[a] * vt[a * k + b])
            };
            let pull = |a: usize| one[a].0 / q[a * k + a] * rho;
            let decoder_w = |a: usize, b: usize| {
                pull(a) * wq[a * k + b] - (0..how.seen(a)).map(|c| gg[a * k + c] * vr[c * k + b]).sum::<f64>()
            };
            let decoder_v = |a: usize, b: usize| {
                pull(a) * vr[b * k + a] - (0..how.seen(a)).map(|c| gg[a * k + c] * vt[c * k + b]).sum::<f64>()
            };
            for a in 0..k {
                for b in 0..k {
                    let at = a * k + b;
                    let shrink = 2.0 * how.weight_decay;
                    to[at] = how.eta * (encoder_w(a, b) + encoder_w(b, a)) - shrink * wq[at];
                    to[k * k + at] = how.eta * (decoder_w(a, b) + encoder_v(b, a)) - shrink * vr[at];
                    to[2 * k * k + at] = how.eta * (decoder_v(a, b) + decoder_v(b, a)) - shrink * vt[at];
                }
            }
        }
    }
}
