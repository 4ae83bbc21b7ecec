//! First values of W and H: random, or from the singular vectors of a sample (NNDSVD, Boutsidis & Gallopoulos 2008), or given.
//!
//! NNDSVD takes the leading singular triplets σ, u, v. The first is of one sign; of every other the positive parts of
//! (u, v) or of (-u, -v) are kept, whichever have the larger product of norms m = ‖u±‖‖v±‖, and √(σm)·u±/‖u±‖ and
//! √(σm)·v±/‖v±‖ are a column of W and a row of H. Since u = Xv/σ, the weights of a row follow from the row and v alone:
//! rows that no sample saw, in any block and at any worker, start as in a decomposition of all of them.

use super::{Nmf, NmfInit, NmfState};
use crate::error::Result;
use crate::fold::stream;
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::rng::rng;
use crate::store::Bag;
use rayon::prelude::*;

/// Rows from which the mean and the singular vectors are taken; at least four for every atom.
pub(super) const SAMPLE: usize = 4096;
/// NNDSVD: smaller entries count as zeros, in units in which the data has a mean of about 1.
const NOTHING: f32 = 1e-6;

/// How the first weights of a row follow from the row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Projection {
    /// Singular vectors, turned so that their positive parts count (k×d).
    axes: Mat,
    /// A weight is this times the positive part of the product with an axis (k).
    gain: Vec<f32>,
    /// What zeros become.
    fill: f32,
}

impl Projection {
    pub(super) fn save(&self, bag: &mut Bag) {
        bag.put_mat("axes", &self.axes);
        bag.put_f32("gain", &self.gain);
        bag.put_f32("fill", &[self.fill]);
    }

    pub(super) fn load(bag: &Bag) -> Result<Self> {
        let fill = bag.f32("fill")?.first().copied().unwrap_or(0.0);
        Ok(Self { axes: bag.mat("axes")?, gain: bag.f32("gain")?, fill })
    }
}

/// The state before the first pass.
pub(super) fn start(how: &Nmf, sample: &Rows, restart: usize) -> Result<NmfState> {
    let (d, k) = (sample.cols(), how.k);
    let total: f64 = sample.values().iter().map(|&v| f64::from(v)).sum();
    let mean = total / (sample.rows() * d) as f64;
    let scale = scale_for(mean);
    // Data of zeros has no scale of its own; any start is as good as another.
    let mean = if mean > 0.0 { mean * f64::from(scale) } else { 1.0 };
    let number = |a: usize| ((restart as u64) << 32) + a as u64;
    let mut projection = None;
    let h = match (how.init, &how.given) {
        (NmfInit::Given, Some(h)) => {
            let mut h = h.clone();
            h.data.iter_mut().for_each(|v| *v *= scale.sqrt());
            h
        }
        (NmfInit::Random | NmfInit::Given, _) => {
            let mut h = Mat::zeros(k, d);
            for (a, row) in h.data.chunks_exact_mut(d).enumerate() {
                noise(row, how.seed, stream::INIT, number(a), (mean / k as f64).sqrt());
            }
            h
        }
        (NmfInit::Nndsvd | NmfInit::Nndsvda | NmfInit::Nndsvdar, _) => {
            let (mut h, mut found) = nndsvd(how, sample, scale)?;
            // The mean of the data in its own units, as its authors have it; not to swamp data of an extreme scale.
            found.fill = match how.init {
                NmfInit::Nndsvd => 0.0,
                _ => (mean as f32 / scale.sqrt()).clamp(1e-3, 1e3),
            };
            for (a, row) in h.data.chunks_exact_mut(d).enumerate() {
                fill(how, row, found.fill, stream::INIT, number(a));
            }
            projection = Some(found);
            h
        }
    };
    let h = h.transpose();
    let mut state = NmfState { h, gram: Vec::new(), pass: 0, weight: vec![1.0; k], scale, mean, projection };
    state.gram = state.gram().iter().map(|&v| v as f32).collect();
    Ok(state)
}

/// First weights of the rows `first..` of `x`, from each row and its number alone, so that blocks and workers agree.
pub(super) fn weights(how: &Nmf, state: &NmfState, x: &Rows, first: u64, w: &mut [f32]) {
    let k = how.k;
    if let Some(p) = &state.projection {
        let products = linalg::rows_times_t(x, &p.axes);
        w.par_chunks_exact_mut(k).zip(products.data.par_chunks_exact(k)).enumerate().for_each(|(i, (w, u))| {
            for ((w, &u), &gain) in w.iter_mut().zip(u).zip(&p.gain) {
                *w = (u * state.scale).max(0.0) * gain;
            }
            fill(how, w, p.fill, stream::CODES, first + i as u64);
        });
        return;
    }
    let size = (state.mean / k as f64).sqrt();
    w.par_chunks_exact_mut(k).enumerate().for_each(|(i, w)| noise(w, how.seed, stream::CODES, first + i as u64, size));
}

/// H (k×d) and how to find W, of the sample times `scale`.
fn nndsvd(how: &Nmf, sample: &Rows, scale: f32) -> Result<(Mat, Projection)> {
    let (d, k) = (sample.cols(), how.k);
    let (sigma, mut axes) = linalg::svd_top(sample, k, how.seed)?;
    let products = linalg::rows_times_t(sample, &axes);
    let mut h = Mat::zeros(k, d);
    let mut gain = vec![0f32; k];
    for (a, &sigma) in sigma.iter().enumerate().filter(|(_, s)| **s > 1e-6 * sigma[0]) {
        let column = |sign: f32| products.data.iter().skip(a).step_by(axes.rows).map(move |&u| (sign * u).max(0.0));
        let row = |sign: f32| axes.row(a).iter().map(move |&v| (sign * v).max(0.0));
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let parts = |sign: f32| (norm(&mut column(sign)) / sigma, norm(&mut row(sign)));
        let (plus, minus) = (parts(1.0), parts(-1.0));
        let (sign, (u, v)) = if plus.0 * plus.1 >= minus.0 * minus.1 { (1.0, plus) } else { (-1.0, minus) };
        let sigma = sigma * f64::from(scale);
        let size = (sigma * u * v).sqrt();
        gain[a] = (size / (u * sigma)) as f32;
        for (h, axis) in h.row_mut(a).iter_mut().zip(axes.row_mut(a)) {
            *axis *= sign;
            *h = (f64::from(axis.max(0.0)) * size / v) as f32;
        }
    }
    Ok((h, Projection { axes, gain, fill: 0.0 }))
}

/// Puts what the kind of NNDSVD says in the place of zeros.
fn fill(how: &Nmf, row: &mut [f32], mean: f32, stream: u64, number: u64) {
    let mut r = rng(how.seed, stream, number);
    for v in row.iter_mut().filter(|v| **v < NOTHING) {
        *v = match how.init {
            NmfInit::Nndsvda => mean,
            NmfInit::Nndsvdar => (f64::from(mean) * r.normal() / 100.0).abs() as f32,
            _ => 0.0,
        };
    }
}

fn noise(row: &mut [f32], seed: u64, stream: u64, number: u64, size: f64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Mat {
        let mut r = rng(2, 0, 0);
        Mat { rows: 40, cols: 30, data: (0..1200).map(|_| (r.normal().abs() * r.uniform()) as f32).collect() }
    }

    /// W (n×k) and H (k×d) in the data's own units.
    fn factors(init: NmfInit, x: &Mat) -> (Mat, Mat) {
        let how = Nmf { k: 6, init, ..Nmf::default() };
        let state = start(&how, &x.view(), 0).expect("start");
        let mut w = Mat::zeros(x.rows, 6);
        weights(&how, &state, &x.view(), 0, &mut w.data);
        let mut h = state.h.transpose();
        let unit = 1.0 / state.scale.sqrt();
        w.data.iter_mut().chain(&mut h.data).for_each(|v| *v *= unit);
        (w, h)
    }

    #[test]
    fn nndsvd_is_the_textbooks_from_an_eigendecomposition() {
        let x = data();
        let gram: Vec<f64> = (0..900).map(|ij| (0..40).map(|i| f64::from(x.row(i)[ij / 30] * x.row(i)[ij % 30])).sum()).collect();
        let (values, vectors) = linalg::eigh(&gram, 30).expect("eigh");
        let (w, h) = factors(NmfInit::Nndsvd, &x);
        for a in 0..6 {
            let (sigma, v) = (values[a].sqrt(), &vectors[a]);
            let u: Vec<f64> =
                (0..40).map(|i| x.row(i).iter().zip(v).map(|(&x, v)| f64::from(x) * v).sum::<f64>() / sigma).collect();
            let part = |s: f64, v: &[f64]| v.iter().map(|v| (s * v).max(0.0)).collect::<Vec<f64>>();
            let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
            let size = |s: f64| norm(&part(s, &u)) * norm(&part(s, v));
            let sign = if size(1.0) > size(-1.0) { 1.0 } else { -1.0 };
            let (up, vp, m) = (part(sign, &u), part(sign, v), size(sign));
            for i in 0..40 {
                let want = (sigma * m).sqrt() * up[i] / norm(&up);
                assert!((f64::from(w.row(i)[a]) - want).abs() < 2e-4, "W {i} {a}: {} {want}", w.row(i)[a]);
            }
            for j in 0..30 {
                let want = (sigma * m).sqrt() * vp[j] / norm(&vp);
                assert!((f64::from(h.row(a)[j]) - want).abs() < 2e-4, "H {a} {j}: {} {want}", h.row(a)[j]);
            }
        }
    }

    #[test]
    fn zeros_stay_or_become_the_mean_or_small_noise() {
        let x = data();
        let mean = x.data.iter().sum::<f32>() / 1200.0;
        let (w, _) = factors(NmfInit::Nndsvd, &x);
        let zeros: Vec<usize> = (0..w.data.len()).filter(|&i| w.data[i] == 0.0).collect();
        assert!(zeros.len() > 20);
        let (a, ha) = factors(NmfInit::Nndsvda, &x);
        assert!(zeros.iter().all(|&i| (a.data[i] - mean).abs() < 1e-5 * mean));
        assert!(ha.data.iter().all(|&v| v > 0.0));
        let (ar, _) = factors(NmfInit::Nndsvdar, &x);
        assert!(zeros.iter().all(|&i| ar.data[i] < mean / 10.0) && zeros.iter().any(|&i| ar.data[i] > 0.0));
        assert!((0..w.data.len()).all(|i| w.data[i] == 0.0 || w.data[i] == a.data[i]));
    }
}
