//! A fitted NMF.

use super::encode::{self, Encoding};
use super::hals::{Effort, Quadratic};
use super::multiplicative::Divergence;
use super::product::{self, Packed};
use super::state::smoothed;
use super::{NmfLoss, as_f32, gram, take, weighted};
use crate::error::{Error, Result};
use crate::mat::{Mat, Rows};
use crate::missing::Missing;
use crate::model::{self, Codes, Model};
use crate::source;
use crate::store::Bag;
use rayon::prelude::*;

/// A fitted NMF.
///
/// Atoms have unit Euclidean norm (squared error) or unit sum (divergence), so a weight is in the units of the data: the
/// length, or the total, of what its atom adds. They are ordered by the size of what they add over the data of the fit,
/// ‖w‖·‖h‖ or Σw·Σh, the largest first. An atom that died is all zeros.
#[derive(Debug, Clone)]
pub struct NmfModel {
    /// The parts (k×d).
    pub parts: Mat,
    /// What an encoding minimises.
    pub loss: NmfLoss,
    /// F of Lee & Seung 1999, Σ x·ln(wh) − wh over the data of the fit, at the last pass; Kullback–Leibler only.
    pub likelihood: Option<f64>,
    /// L1 of each atom's weight (k): added to half the squared error, or to the divergence, of a row that is encoded.
    pub l1: Vec<f32>,
    /// L2 of each atom's weight, the same with ½w² (k).
    pub l2: Vec<f32>,
    /// nsNMF's θ: rows ≈ codes · S · parts, S = (1 − θ)·I + θ/k; 0 for rows ≈ codes · parts.
    pub theta: f64,
    /// Which entries of rows are unknown.
    pub missing: Missing,
    /// See [`Nmf::encode_tol`](super::Nmf::encode_tol).
    pub encode_tol: f64,
    /// See [`Nmf::encode_max`](super::Nmf::encode_max).
    pub encode_max: usize,
    /// Hᵀ, to multiply rows by (d×k).
    turned: std::sync::Arc<Packed>,
    /// S·H (k×d), which codes are of, where θ is not 0.
    mixed: Option<Mat>,
    /// H·Hᵀ (k×k), with L2 on its diagonal.
    gram: Vec<f32>,
    /// Σ_j H (k).
    sums: Vec<f64>,
}

impl NmfModel {
    pub(super) fn new(
        parts: Mat,
        loss: NmfLoss,
        likelihood: Option<f64>,
        (l1, l2): (Vec<f32>, Vec<f32>),
        theta: f64,
        (encode_tol, encode_max): (f64, usize),
        missing: Missing,
    ) -> Self {
        let mut turned = parts.transpose();
        let mixed = (theta > 0.0).then(|| {
            turned.data.par_chunks_mut(parts.rows.max(1)).for_each(|h| smoothed(h, theta));
            turned.transpose()
        });
        let mut gram = as_f32(&gram(&turned));
        l2.iter().enumerate().for_each(|(a, l2)| gram[a * parts.rows + a] += l2);
        let of = mixed.as_ref().unwrap_or(&parts);
        let sums = (0..of.rows).map(|a| of.row(a).iter().map(|&v| f64::from(v)).sum()).collect();
        let turned = std::sync::Arc::new(Packed::new(&turned.data, parts.rows));
        Self { parts, loss, likelihood, l1, l2, theta, missing, encode_tol, encode_max, turned, mixed, gram, sums }
    }

    /// What codes are multiplied by (k×d): the parts, or S times them.
    fn superposed(&self) -> &Mat {
        self.mixed.as_ref().unwrap_or(&self.parts)
    }

    /// Reads what [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let likelihood = bag.f64("likelihood")?.first().copied();
        let parts = bag.mat("parts")?;
        let penalty = (bag.f32("l1")?, bag.f32("l2")?);
        if penalty.0.len() != parts.rows || penalty.1.len() != parts.rows {
            return Err(Error::data(format!(
                "the file has {} atoms, but penalties for {}; it is damaged",
                parts.rows,
                penalty.0.len()
            )));
        }
        let effort = (bag.get("encode_tol")?, bag.get("encode_max")?);
        Ok(Self::new(parts, bag.get("loss")?, likelihood, penalty, bag.get("theta")?, effort, bag.get("missing")?))
    }
}

impl Model for NmfModel {
    fn method(&self) -> &'static str {
        "nmf"
    }

    fn atoms(&self) -> &Mat {
        &self.parts
    }

    fn missing(&self) -> Missing {
        self.missing
    }

    /// The best non-negative weights (n×k) of each row, to [`Nmf::encode_tol`](super::Nmf::encode_tol); a row's weights depend on that row alone. An
    /// error if a number is negative (divergence) or zero (divergence with β ≤ 0), or the columns don't fit.
    fn encode(&self, x: &Rows) -> Result<Codes> {
        model::check_width(x, self.parts.cols)?;
        let k = self.parts.rows;
        let masked = self.missing != Missing::None || x.weights().is_some();
        if self.loss != NmfLoss::Squared {
            source::check_nonnegative(x, 0, "the divergence is of numbers of at least 0; shift or rescale the rows")?;
            super::divergence::check_zeros(self.loss, self.missing, x, 0)?;
            let penalty = (self.l1.as_slice(), self.l2.as_slice());
            let how = Encoding { atoms: self.superposed(), penalty, tol: self.encode_tol, sweeps: self.encode_max };
            let kind = Divergence::new(self.loss, 1.0, Some(1.0).filter(|_| masked));
            return Ok(Codes::Dense(if kind.is_kl() {
                encode::kullback_leibler(x, &how, &self.sums, self.missing)
            } else {
                encode::multiplicative(x, &how, kind, self.missing)
            }));
        }
        if masked {
            let known = self.missing.weigh(x);
            return Ok(Codes::Dense(weighted::solve(&known, &self.superposed().transpose().data, 1.0, (&self.l1, &self.l2))));
        }
        let mut w = Mat::zeros(x.rows(), k);
        let problem = Quadratic::new(k, &self.gram, 0.0);
        let effort = Effort { sweeps: self.encode_max, tol: (self.encode_tol as f32).max(1e-6) };
        let take = take(x.rows());
        w.data.par_chunks_mut(take * k).enumerate().for_each(|(i, w)| {
            let mut b = vec![0f32; w.len()];
            product::rows_times(&mut b, &x.slice(i * take, i * take + w.len() / k), &self.turned);
            b.chunks_exact_mut(k).for_each(|b| b.iter_mut().zip(&self.l1).for_each(|(b, l1)| *b -= l1));
            problem.refine(w, &b, effort, &mut vec![0.0; w.len() / k]);
        });
        Ok(Codes::Dense(w))
    }

    fn decode(&self, z: &Codes) -> Result<Mat> {
        z.times(self.superposed())
    }

    fn save(&self, bag: &mut Bag) {
        bag.put_mat("parts", &self.parts);
        bag.put("loss", self.loss);
        bag.put_f32("l1", &self.l1);
        bag.put_f32("l2", &self.l2);
        bag.put_f64("likelihood", self.likelihood.as_slice());
        bag.put("theta", self.theta);
        bag.put("missing", self.missing);
        bag.put("encode_tol", self.encode_tol);
        bag.put("encode_max", self.encode_max);
    }
}
