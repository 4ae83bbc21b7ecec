//! Where samples come from: Gaussian data by the eigenvalues and eigenvectors of its second moments Ω = E xxᵀ.

use crate::error::{Error, Result};
use crate::fold::stream;
use crate::linalg::{self, eigh, mul64_nt, orthonormal};
use crate::mat::Mat;
use crate::rng::rng;

/// Up to this many columns all eigenvectors of rows are taken: d² of them take 128 MB.
const COLUMNS: usize = 4096;

/// Centred Gaussian data: spikes, each of an eigenvalue and an axis of its own, over a bulk of equal eigenvalues.
///
/// Eigenvalues are told by their shares λ/D, of which the sum is the mean variance of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// D; may be infinite.
    dim: f64,
    /// λ/D of every spike (M), falling.
    shares: Vec<f64>,
    /// λ/D of all other directions together.
    bulk: f64,
    /// Orthonormal eigenvectors of the spikes (M × D); empty if D is infinite.
    axes: Vec<f64>,
}

impl Population {
    /// Chosen shares of the mean variance for spikes along random axes, and for all other directions together (`bulk`). `dim` = ∞ is the
    /// limit of many dimensions, where the bulk's eigenvalue is `bulk` itself and nothing is learned of it.
    ///
    /// # Errors
    /// Shares that are negative or not finite, more spikes than dimensions, a bulk without a dimension.
    pub fn spectrum(dim: f64, shares: &[f64], bulk: f64, seed: u64) -> Result<Self> {
        if dim.is_nan() || dim < 1.0 || dim.is_finite() && dim.fract() != 0.0 {
            return Err(Error::parameter(format!("{dim} is no number of dimensions; give a whole number from 1, or inf")));
        }
        if let Some(bad) = shares.iter().chain([&bulk]).find(|s| !(**s >= 0.0 && s.is_finite())) {
            return Err(Error::parameter(format!("a share of the variance must be a number from 0, not {bad}")));
        }
        fits(shares.len(), dim)?;
        if bulk > 0.0 && shares.len() as f64 == dim {
            return Err(Error::parameter(format!("{} spikes leave no dimension for a bulk; set bulk to 0", shares.len())));
        }
        let mut shares = shares.to_vec();
        shares.sort_by(|a, b| b.total_cmp(a));
        let axes = if dim.is_finite() { random_axes(shares.len(), dim as usize, seed) } else { Vec::new() };
        Ok(Self { dim, shares, bulk, axes })
    }

    /// The spiked covariance of the paper: x = Aᵀc + ξ with cₘ = Λₘzₘ, Λₘ = 2ᵐ + 1 for m = 1 to `spikes`, and white noise ξ. Rows of A are
    /// normal, or sines of period 200π/(m + 1) with norm √D if `sines`. All is scaled so that the mean variance of a column is 1.
    ///
    /// # Errors
    /// No spike, more than dimensions, or more than 25.
    pub fn spiked(cols: usize, spikes: usize, sines: bool, seed: u64) -> Result<Self> {
        if spikes == 0 || spikes > 25 {
            return Err(Error::parameter(format!("{spikes} spikes; ask for 1 to 25 (each is twice as strong as the last one)")));
        }
        fits(spikes, cols as f64)?;
        let strength = |m: usize| (1u64 << (m + 1)) as f64 + 1.0;
        let mut b = vec![0.0; spikes * cols];
        for (m, row) in b.chunks_exact_mut(cols).enumerate() {
            if sines {
                row.iter_mut().enumerate().for_each(|(i, v)| *v = ((m + 2) as f64 / 100.0 * i as f64).sin());
                let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                row.iter_mut().for_each(|v| *v *= (cols as f64).sqrt() / norm);
            } else {
                rng(seed, stream::SYNTH, m as u64).normals(row);
            }
            row.iter_mut().for_each(|v| *v *= strength(m));
        }
        // The eigenvectors of BᵀB are Bᵀu/√μ for those of BBᵀ (M × M).
        let (values, vectors) = eigh(&mul64_nt(&b, &b, (spikes, cols, spikes)), spikes)?;
        let d = cols as f64;
        let trace = values.iter().sum::<f64>() + d;
        let mut axes = vec![0.0; spikes * cols];
        for (axis, (value, u)) in axes.chunks_exact_mut(cols).zip(values.iter().zip(&vectors)) {
            for (row, u) in b.chunks_exact(cols).zip(u) {
                axis.iter_mut().zip(row).for_each(|(a, b)| *a += u * b / value.sqrt());
            }
            upright(axis);
        }
        let shares = values.iter().map(|v| (v + 1.0) / trace).collect();
        Ok(Self { dim: d, shares, bulk: (d - spikes as f64) / trace, axes })
    }

    /// One spike along a unit vector (D), and a bulk.
    pub(super) fn along(share: f64, bulk: f64, axis: &[f64]) -> Result<Self> {
        fits(1, axis.len() as f64)?;
        Ok(Self { dim: axis.len() as f64, shares: vec![share], bulk, axes: axis.to_vec() })
    }

    /// The Gaussian data of the same second moments as these rows: every direction is a spike.
    ///
    /// # Errors
    /// No rows, more than 4,096 columns, or numbers that are not finite.
    pub fn of(x: &Mat) -> Result<Self> {
        let d = x.cols;
        if x.rows == 0 || d == 0 {
            return Err(Error::data(format!("the data has {} rows and {d} columns; nothing can be learned", x.rows)));
        }
        if d > COLUMNS {
            return Err(Error::data(format!(
                "{d} columns exceed {COLUMNS}, whose eigenvectors are taken; resize the images or drop columns"
            )));
        }
        crate::source::check_finite(&x.view(), 0)?;
        let mut gram = vec![0.0; d * d];
        linalg::add_tn(&mut gram, &x.data, &x.view());
        gram.iter_mut().for_each(|v| *v /= x.rows as f64);
        let (values, vectors) = eigh(&gram, d)?;
        let shares = values.iter().map(|v| v.max(0.0) / d as f64).collect();
        let mut axes: Vec<f64> = vectors.into_iter().flatten().collect();
        axes.chunks_exact_mut(d).for_each(upright);
        Ok(Self { dim: d as f64, shares, bulk: 0.0, axes })
    }

    /// Rows as the paper prepares images: all numbers over twice their standard deviation, less their mean.
    ///
    /// # Errors
    /// Numbers that are not finite, or all the same.
    pub fn prepared(x: &Mat) -> Result<Mat> {
        crate::source::check_finite(&x.view(), 0)?;
        let n = x.data.len().max(1) as f64;
        let mean = x.data.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let spread = (x.data.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        if spread <= 0.0 || !spread.is_finite() {
            return Err(Error::data("all numbers of the data are the same, so there is nothing to learn"));
        }
        let data = x.data.iter().map(|&v| ((f64::from(v) - mean) / (2.0 * spread)) as f32).collect();
        Ok(Mat { rows: x.rows, cols: x.cols, data })
    }

    /// D, which may be infinite.
    pub fn dim(&self) -> f64 {
        self.dim
    }

    /// D, if it is finite.
    pub fn cols(&self) -> Option<usize> {
        self.dim.is_finite().then_some(self.dim as usize)
    }

    /// λ/D of every spike (M), falling.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// λ/D of all other directions together.
    pub fn bulk(&self) -> f64 {
        self.bulk
    }

    /// λ/D of one direction of the bulk; 0 if there are infinitely many.
    pub(super) fn bulk_share(&self) -> f64 {
        let directions = self.dim - self.shares.len() as f64;
        if directions > 0.0 { self.bulk / directions } else { 0.0 }
    }

    /// Orthonormal eigenvectors of the spikes (M × D); empty if D is infinite.
    pub fn axes(&self) -> &[f64] {
        &self.axes
    }

    /// The mean variance of a column, tr Ω / D.
    pub fn variance(&self) -> f64 {
        self.shares.iter().sum::<f64>() + self.bulk
    }

    /// ℰ of the best linear autoencoder with `m` units: half the shares that `m` principal components leave.
    pub fn pca(&self, m: usize) -> f64 {
        let spikes = m.min(self.shares.len());
        let left: f64 = self.shares[spikes..].iter().sum();
        0.5 * (left + (self.bulk - (m - spikes) as f64 * self.bulk_share()).max(0.0))
    }
}

fn fits(spikes: usize, dim: f64) -> Result<()> {
    if spikes as f64 > dim {
        return Err(Error::parameter(format!("{spikes} spikes exceed the {dim} dimensions; ask for fewer, or raise d")));
    }
    Ok(())
}

/// Random orthonormal rows (m × d), the largest entry of each positive.
fn random_axes(m: usize, d: usize, seed: u64) -> Vec<f64> {
    let mut random = vec![0.0; m * d];
    random.chunks_exact_mut(d).enumerate().for_each(|(m, row)| rng(seed, stream::SYNTH, m as u64).normals(row));
    let mut axes = orthonormal(&random, m, d);
    axes.chunks_exact_mut(d).for_each(upright);
    axes
}

/// Makes the largest entry positive.
fn upright(axis: &mut [f64]) {
    let largest = axis.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        axis.iter_mut().for_each(|v| *v = -*v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth;

    #[test]
    fn the_spiked_model_has_the_papers_eigenvalues() {
        let d = 4000;
        let p = Population::spiked(d, 2, false, 3).expect("population");
        // Λ² times the squared norms of random rows, near d; together with the noise 25 + 9 + 1.
        assert!((p.shares()[0] - 25.0 / 35.0).abs() < 0.02 && (p.shares()[1] - 9.0 / 35.0).abs() < 0.02, "{:?}", p.shares());
        assert!((p.variance() - 1.0).abs() < 1e-12 && (p.bulk() - 1.0 / 35.0).abs() < 1e-3);
        let s = Population::spiked(d, 3, true, 3).expect("population");
        let axes = s.axes();
        let dot = |a: usize, b: usize| axes[a * d..][..d].iter().zip(&axes[b * d..][..d]).map(|(a, b)| a * b).sum::<f64>();
        assert!((dot(0, 0) - 1.0).abs() < 1e-12 && dot(0, 1).abs() < 1e-12 && dot(1, 2).abs() < 1e-12);
        // The strongest sine is the third: sin(i/25), up to what the others share with it.
        let sine: Vec<f64> = (0..d).map(|i| (0.04 * i as f64).sin()).collect();
        let norm = sine.iter().map(|v| v * v).sum::<f64>().sqrt();
        let along: f64 = sine.iter().zip(&axes[..d]).map(|(s, a)| s * a / norm).sum();
        assert!(along.abs() > 0.99, "{along}");
    }

    #[test]
    fn errors_of_pca_are_half_of_what_is_left() {
        let p = Population::spectrum(500.0, &[9.0 / 35.0, 25.0 / 35.0], 1.0 / 35.0, 0).expect("population");
        assert_eq!(p.shares()[0], 25.0 / 35.0, "falling");
        let lines = [0.5, 0.142_857, 0.014_286];
        for (m, is) in lines.into_iter().enumerate() {
            assert!((p.pca(m) - is).abs() < 1e-6, "{m}: {}", p.pca(m));
        }
        assert!((p.pca(3) - 0.5 / 35.0 * 497.0 / 498.0).abs() < 1e-12 && p.pca(500) == 0.0);
        let p = Population::spectrum(f64::INFINITY, &[0.7, 0.3], 0.0, 0).expect("population");
        assert_eq!((p.pca(2), p.axes().len()), (0.0, 0));
    }

    #[test]
    fn rows_give_their_own_second_moments() {
        let made = synth::spiked(4000, 40, 2, 5).expect("rows");
        let p = Population::of(&made.data).expect("population");
        assert!((p.shares()[0] / (25.0 / 35.0) - 1.0).abs() < 0.1 && p.shares().len() == 40);
        let along: f64 = p.axes()[..40].iter().zip(made.atoms.row(0)).map(|(a, b)| a * f64::from(*b)).sum();
        assert!(along.abs() > 0.999);
        let x = Population::prepared(&made.data).expect("prepared");
        let (mean, square) = x.data.iter().fold((0.0, 0.0), |(m, s), &v| (m + f64::from(v), s + f64::from(v).powi(2)));
        let n = x.data.len() as f64;
        assert!((mean / n).abs() < 1e-6 && (square / n - 0.25).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_fix() {
        let said = |r: Result<Population>| r.expect_err("refused").to_string();
        assert!(said(Population::spiked(10, 11, false, 0)).contains("11 spikes exceed the 10 dimensions"));
        assert!(said(Population::spiked(10, 0, false, 0)).contains("1 to 25"));
        assert!(said(Population::spectrum(10.0, &[f64::NAN], 0.0, 0)).contains("NaN"));
        assert!(said(Population::spectrum(2.5, &[1.0], 0.0, 0)).contains("whole number"));
        assert!(said(Population::spectrum(2.0, &[1.0, 1.0], 0.5, 0)).contains("bulk"));
        let mut x = Mat::zeros(3, 2);
        assert!(Population::prepared(&x).expect_err("flat").to_string().contains("the same"));
        x.data[3] = f32::NAN;
        assert!(said(Population::of(&x)).contains("row 1, column 1"));
    }
}
