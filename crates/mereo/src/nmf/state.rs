//! What a fit of an NMF has learned so far, and the sums of one pass.

use super::newton::Caution;
use super::online::{self, Running};
use super::pace::Pace;
use super::{Nmf, NmfLoss, as_f32, column_sums, gram, product, squared::FLOOR};
use crate::error::{Error, Result};
use crate::fold::{State, Stats};
use crate::linalg;
use crate::mat::{Mat, Rows};
use crate::store::Bag;
use rayon::prelude::*;

/// What a fit of an NMF has learned so far.
#[derive(Debug, Clone)]
pub struct NmfState {
    /// The atoms of the best pair so far: Hᵀ (d×k), in units in which the data has a mean of about 1: a column's share in every atom lies together.
    pub(super) h: Mat,
    /// Hᵀ (d×k) where the next pass is taken, beyond the best atoms; empty if it is taken at those.
    pub(super) at: Mat,
    /// How far the next pass extrapolates.
    pub(super) pace: Pace,
    /// How far second-order steps can be trusted.
    pub(super) caution: Caution,
    /// What a fit by batches carries from one to the next; empty for other solvers.
    pub(super) running: Running,
    /// Curvature of every column (b of [`super::newton`], d); empty for other solvers, and before it is known.
    pub(super) columns: Vec<f64>,
    /// Rows of the whole data (n).
    pub(super) rows: u64,
    /// H·Hᵀ (k×k), columns weighted by their curvature where there is one, where the next pass is taken.
    pub(super) gram: Vec<f32>,
    /// Σ_j H (k), where the next pass is taken.
    pub(super) sums: Vec<f64>,
    /// Passes so far.
    pub(super) pass: u64,
    /// Of the last pass: ‖w‖ of every atom (squared error) or Σw (divergence).
    pub(super) weight: Vec<f64>,
    /// Data times this (a power of 4) has a mean of about 1.
    pub(super) scale: f32,
    /// Mean of the scaled data, as the sample has it.
    pub(super) mean: f64,
    /// Of the scaled data, from the first pass: Σx², Σx, and the part of the divergence that wh is not in.
    pub(super) totals: [f64; 3],
    /// F of Lee & Seung 1999, in units of the data; Kullback–Leibler only.
    pub(super) likelihood: Option<f64>,
    /// The atoms are good already, from a fit of some of the rows: weights start from nothing and are solved for.
    pub(super) warm: bool,
    /// Coordinate sweeps a pass over the weights and over the atoms.
    pub(super) sweeps: [usize; 2],
    /// Σ|projected gradient| of the first pass.
    pub(super) first_gradient: f64,
    /// Where NNDSVD takes a row's first weights from (d×k); empty for other starts, and after the first pass.
    pub(super) project: Mat,
}

/// The sums of one pass, or of one batch.
#[derive(Debug, Clone)]
pub struct NmfStats {
    /// Squared error: Σ xᵀw of scaled data. Divergence: Σ qᵀw with q = x·(wh)^(β−2). (d×k)
    pub(super) xw: Vec<f64>,
    /// Squared error: Σ wᵀw (k×k). Kullback–Leibler: Σ w (k), and what `newton` adds to it. Other divergences: Σ (wh)^(β−1)ᵀw (d×k).
    pub(super) ww: Vec<f64>,
    /// Divergences other than Kullback–Leibler: Σ w (k).
    pub(super) weight: Vec<f64>,
    /// In the first pass Σx², Σx and the constant part of the divergence, of scaled data; then the part of the divergence that
    /// depends on wh, the number of entries, Σ|projected gradient| of the weights, and Σw (squared error) or the penalty of the
    /// weights (divergence).
    pub(super) sums: [f64; 7],
    /// `online`: rows, and those of them whose weights are not remembered.
    pub(super) rows: [f64; 2],
    /// `online`, in some passes: Σxᵀw, Σwᵀw and Σw of all weights, of which the others are then the changes.
    pub(super) anew: Vec<f64>,
}

impl Stats for NmfStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        vec![&mut self.xw, &mut self.ww, &mut self.weight, &mut self.sums, &mut self.rows, &mut self.anew]
    }
}

impl NmfState {
    /// The atoms that the next pass is taken at (d×k).
    pub(super) fn at(&self) -> &Mat {
        if self.at.data.is_empty() { &self.h } else { &self.at }
    }

    /// nsNMF: the next pass is taken at the smoothed atoms S·H.
    pub(super) fn smooth(&mut self, theta: f64) {
        if theta > 0.0 {
            self.at = self.h.clone();
            self.at.data.par_chunks_mut(self.h.cols).for_each(|h| smoothed(h, theta));
        }
    }

    /// Brings what follows from the atoms of the next pass up to date.
    pub(super) fn derive(&mut self) {
        self.gram = if self.columns.is_empty() {
            as_f32(&gram(self.at()))
        } else {
            let h = self.at();
            let weighted: Vec<f32> =
                h.data.chunks_exact(h.cols).zip(&self.columns).flat_map(|(h, &b)| h.iter().map(move |h| h * b as f32)).collect();
            let mut gram = vec![0.0; h.cols * h.cols];
            product::add_transposed(&mut gram, &Rows::dense(h.cols, &weighted), &h.data, h.cols, 1.0);
            as_f32(&gram)
        };
        self.add_up();
    }

    /// The sums of the atoms of the next pass alone.
    pub(super) fn add_up(&mut self) {
        let h = self.at();
        self.sums = column_sums(&h.data, h.cols);
    }

    /// L1 and L2 of the weights, in the units of the scaled data: what is subtracted from xHᵀ, and added to the diagonal of HHᵀ.
    pub(super) fn penalty_of_weights(&self, how: &Nmf, cols: usize) -> (f32, f32) {
        let (l1, l2) = penalty(how.alpha_w * cols as f64, how.l1_ratio, f64::from(self.scale), how.loss);
        (l1 as f32, l2 as f32)
    }

    /// The same of the atoms.
    pub(super) fn penalty_of_atoms(&self, how: &Nmf) -> (f64, f64) {
        penalty(how.alpha_h * self.rows as f64, how.l1_ratio, f64::from(self.scale), how.loss)
    }

    /// Scales every atom to a sum of one; an atom of zeros stays.
    pub(super) fn unit_sums(&mut self) {
        let k = self.h.cols;
        let over: Vec<f64> = column_sums(&self.h.data, k).into_iter().map(|s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
        self.h.data.par_chunks_mut(k).for_each(|h| {
            h.iter_mut().zip(&over).for_each(|(h, o)| *h = (f64::from(*h) * o) as f32);
        });
    }

    /// The atoms (k×d), of unit norm (squared error) or unit sum (divergence), the fixed ones first and the others by falling share in the data, and what each was
    /// divided by, in the units of the data.
    pub(super) fn atoms(&self, how: &Nmf) -> (Mat, Vec<f64>) {
        let mut h = self.h.transpose();
        h.data.iter_mut().for_each(|v| *v = if v.abs() <= FLOOR { 0.0 } else { *v });
        let size = |row: &[f32]| match how.minimised() {
            NmfLoss::Squared => linalg::dot(row, row).sqrt(),
            _ => row.iter().map(|&v| f64::from(v)).sum(),
        };
        let sizes: Vec<f64> = (0..h.rows).map(|a| size(h.row(a))).collect();
        let share = |a: usize| sizes[a] * self.weight[a];
        let mut order: Vec<usize> = (0..h.rows).collect();
        order[how.fixed..].sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        let mut atoms = Mat::zeros(h.rows, h.cols);
        for (to, &from) in order.iter().enumerate().filter(|(_, from)| sizes[**from] > 0.0) {
            let unit = 1.0 / sizes[from];
            atoms.row_mut(to).iter_mut().zip(h.row(from)).for_each(|(t, &v)| *t = (f64::from(v) * unit) as f32);
        }
        let root = f64::from(self.scale).sqrt();
        (atoms, order.iter().map(|&a| sizes[a] / root).collect())
    }
}

impl State for NmfState {
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("h", &self.h);
        bag.put_mat("at", &self.at);
        bag.put_mat("project", &self.project);
        bag.put("pace", self.pace);
        bag.put("caution", self.caution);
        bag.put_f64("columns", &self.columns);
        let Running { now, before, peak, .. } = &self.running;
        for (name, numbers) in [("running", now), ("running_before", before), ("running_peak", peak)] {
            bag.put_f64(name, numbers);
        }
        bag.put("rows", self.rows);
        bag.put("warm", self.warm);
        bag.put("sweeps", self.sweeps);
        bag.put_f64("first_gradient", &[self.first_gradient]);
        bag.put_f64("weight", &self.weight);
        bag.put_f64("units", &[f64::from(self.scale), self.mean]);
        bag.put_f64("totals", &self.totals);
        bag.put("pass", self.pass);
        bag.put_f64("likelihood", self.likelihood.as_slice());
    }

    fn load(bag: &Bag) -> Result<Self> {
        let damaged = |what: &str| Error::data(format!("the checkpoint's `{what}` has the wrong size; it is damaged"));
        let units = bag.f64("units")?;
        let [scale, mean] = units[..] else { return Err(damaged("units")) };
        let totals = bag.f64("totals")?.try_into().map_err(|_| damaged("totals"))?;
        let (h, weight) = (bag.mat("h")?, bag.f64("weight")?);
        if weight.len() != h.cols {
            return Err(damaged("weight"));
        }
        let of = |name: &str, wanted: usize| match bag.f64(name)? {
            numbers if [0, wanted].contains(&numbers.len()) => Ok(numbers),
            _ => Err(damaged(name)),
        };
        let sums = online::numbers(h.rows, h.cols);
        let running = Running {
            now: of("running", sums)?,
            before: of("running_before", sums)?,
            peak: of("running_peak", h.cols)?,
            ..Running::default()
        };
        let mut state = Self {
            h,
            gram: Vec::new(),
            sums: Vec::new(),
            pass: bag.get("pass")?,
            weight,
            scale: scale as f32,
            mean,
            totals,
            likelihood: bag.f64("likelihood")?.first().copied(),
            project: bag.mat("project")?,
            at: bag.mat("at")?,
            pace: bag.get("pace")?,
            caution: bag.get("caution")?,
            columns: bag.f64("columns")?,
            running,
            rows: bag.get("rows")?,
            warm: bag.get("warm")?,
            sweeps: bag.get("sweeps")?,
            first_gradient: bag.f64("first_gradient")?.first().copied().unwrap_or_default(),
        };
        state.derive();
        Ok(state)
    }
}

/// Numbers of one row or column on all atoms, times S = (1 − θ)·I + θ/k.
pub(super) fn smoothed(v: &mut [f32], theta: f64) {
    let shared = theta * v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
    v.iter_mut().for_each(|v| *v = ((1.0 - theta) * f64::from(*v) + shared) as f32);
}

/// L1 and L2 that belong to a penalty α of data that was multiplied by `scale`, and both factors by its root: half the squared
/// error grows by the scale squared, a divergence by the scale to the power β.
fn penalty(alpha: f64, l1_ratio: f64, scale: f64, loss: NmfLoss) -> (f64, f64) {
    let grown = scale.powf(loss.beta());
    (alpha * l1_ratio * grown / scale.sqrt(), alpha * (1.0 - l1_ratio) * grown / scale)
}
