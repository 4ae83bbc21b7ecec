//! What a model is worth and what its atoms look like, in numbers.
//!
//! - [`errors`]: how far rows are from their reconstructions, streamed over any source.
//! - [`atoms`]: whether the atoms are parts or wholes: sparse, local, in one piece, different from each other.
//! - [`codes`]: how many atoms a row uses, and how many rows an atom.
//! - [`sparse`], [`multi_k`], [`by_prefix`], [`nearest`], [`encoder_decoder`], [`recovery`]: what is asked of sparse autoencoders.
//! - [`matched`], [`stability`], [`found_again`]: whether two fits found the same atoms, all in all and atom by atom.
//!
//! No single number says "parts": LNMF makes bases of points with dense codes, NMF with a sparseness constraint trades
//! one for the other. So read the error beside the sparseness, and both sparsenesses together.
//!
//! They are free of scale: multiplying an atom, or all codes, by a positive number changes nothing (but that a very small
//! atom counts as dead).

mod atoms;
mod codes;
mod matching;
mod sparse;
#[cfg(test)]
mod tests;

pub use atoms::{AtomMeasures, atoms};
pub use codes::{CodeMeasures, codes};
pub use matching::{FoundAgain, Matched, Pair, assign, found_again, matched, stability};
pub use sparse::{
    AtK, AtPrefix, Near, Recovery, SparseMeasures, bins, by_prefix, encoder_decoder, multi_k, nearest, recovery, sparse,
};

use crate::error::{Error, Result};
use crate::mat::{Mat, Rows};
use crate::missing::{Missing, Weighed};
use crate::model::{Model, check_width};
use crate::moments::{Moments, by_panel};
use crate::source::{Source, check_known};
use serde::{Deserialize, Serialize};

/// A value for each atom, and its mean over the atoms that are not dead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PerAtom {
    /// Mean over the atoms that are not dead; 0 if all are.
    pub mean: f64,
    /// One value for each atom; 0 for a dead one.
    pub each: Vec<f64>,
}

impl PerAtom {
    fn new(mut each: Vec<f64>, dead: &[usize]) -> Self {
        for &a in dead {
            each[a] = 0.0;
        }
        let alive = each.len() - dead.len();
        Self { mean: if alive == 0 { 0.0 } else { each.iter().sum::<f64>() / alive as f64 }, each }
    }
}

/// Reconstruction errors of n rows x and their reconstructions x̂ (d columns).
///
/// With R = Σ(x − x̂)², S = Σx² and T = Σ(x − m)², m the column means of these same rows:
///
/// | field | formula |
/// | --- | --- |
/// | `rmse` | √(R / nd) |
/// | `relative` | √(R / S), the relative Frobenius error ‖X − X̂‖ / ‖X‖ |
/// | `fvu` | R / T, the fraction of variance unexplained |
/// | `explained` | 1 − `fvu`; below 0 if the column means alone would do better |
///
/// Other "explained variances" in use: scikit-learn's `explained_variance_score` forgives an error that is the same in every
/// row (it subtracts the mean residual); its `r2_score` averages 1 − R/T over columns, each with the same weight; PCA's
/// `explained_variance_ratio_` is about the means of the rows that were fitted, not of these.
///
/// Where some entries are unknown ([`Model::missing`]) or count more than others ([`Rows::weights`]),
/// every sum is over known entries, each as often as it counts, and nd is the sum of what they count.
///
/// Rows that are all alike have T = 0: `fvu` is then 0 if R is 0, and infinite otherwise; `relative` likewise where S = 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Number of rows (n).
    pub rows: usize,
    /// Root of the mean squared error of an entry, in the units of the data.
    pub rmse: f64,
    /// Relative Frobenius error.
    pub relative: f64,
    /// Fraction of variance unexplained.
    pub fvu: f64,
    /// Variance explained, 1 − FVU.
    pub explained: f64,
}

/// Errors of a model on all rows of a source, which must be prepared as the model's own rows were
/// ([`Prepared`](crate::prepare::Prepared)). One pass; memory for some thousand rows at a time.
///
/// # Errors
/// A source without rows or of another width, an unreadable block, a NaN or an infinity, a row that the model can't encode.
pub fn errors(model: &dyn Model, source: &dyn Source) -> Result<Errors> {
    const NUMBERS: usize = 1 << 24;
    let width = model.atoms().cols.max(model.atoms().rows).max(1);
    let step = (NUMBERS / width).clamp(64, 8192);
    let mut sums = ErrorSums::new(source.cols());
    let mut first = 0;
    for b in 0..source.blocks() {
        let block = source.block(b)?;
        check_width(&block, model.atoms().cols)?;
        check_known(&block, first, Some(model.missing()))?;
        first += block.rows() as u64;
        for from in (0..block.rows()).step_by(step) {
            let x = block.slice(from, (from + step).min(block.rows()));
            let rebuilt = model.decode_like(&model.encode(&x)?, &x)?;
            if model.missing() == Missing::None && x.weights().is_none() {
                sums.add(&x, rebuilt)?;
            } else {
                sums.add_known(&model.missing().weigh(&x), &rebuilt)?;
            }
        }
    }
    sums.errors()
}

/// Sums from which [`Errors`] follow; for reconstructions that are at hand already.
#[derive(Debug, Clone)]
pub struct ErrorSums {
    residual: f64,
    square: f64,
    moments: Moments,
    /// Of each column Σv, Σv·x and Σv·x² of rows some of whose entries are unknown, or count differently; empty if there were none.
    known: Vec<[f64; 3]>,
    /// How many such rows there were.
    rows: usize,
}

impl ErrorSums {
    /// Sums of no rows of `cols` columns.
    pub fn new(cols: usize) -> Self {
        Self { residual: 0.0, square: 0.0, moments: Moments::new(cols), known: Vec::new(), rows: 0 }
    }

    /// Adds rows x (n × d) and their reconstructions (n × d).
    ///
    /// # Errors
    /// The two differ in shape, or from earlier rows in width.
    pub fn add(&mut self, x: &Rows, mut rebuilt: Mat) -> Result<()> {
        self.check(x, &rebuilt)?;
        self.square += crate::linalg::sum_squares(x);
        self.moments.add(x);
        subtract(&mut rebuilt, x);
        by_panel(
            &rebuilt.view(),
            |r| r.values().iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>(),
            |r| self.residual += r,
        );
        Ok(())
    }

    /// Adds rows (n × d) of which some entries are unknown, or count more than others, and their reconstructions (n × d).
    ///
    /// # Errors
    /// The two differ in shape, or from earlier rows in width.
    pub fn add_known(&mut self, x: &Weighed, rebuilt: &Mat) -> Result<()> {
        self.check(&x.x, rebuilt)?;
        let (full, v) = x.full();
        let d = full.cols;
        self.known.resize(d, [0.0; 3]);
        self.rows += full.rows;
        let entries = full.data.iter().zip(&v).zip(&rebuilt.data).enumerate();
        for (at, ((&x, &v), &back)) in entries.filter(|(_, ((_, v), _))| **v > 0.0) {
            let (x, v) = (f64::from(x), f64::from(v));
            let sums = &mut self.known[at % d];
            [v, v * x, v * x * x].iter().zip(sums).for_each(|(of, sum)| *sum += of);
            self.square += v * x * x;
            self.residual += v * (x - f64::from(back)).powi(2);
        }
        Ok(())
    }

    fn check(&self, x: &Rows, rebuilt: &Mat) -> Result<()> {
        let (n, d) = (x.rows(), x.cols());
        if (rebuilt.rows, rebuilt.cols, self.moments.mean.len()) != (n, d, d) {
            return Err(Error::data(format!(
                "{n} rows of {d} columns can't be compared with {} reconstructions of {}, after rows of {}",
                rebuilt.rows,
                rebuilt.cols,
                self.moments.mean.len()
            )));
        }
        Ok(())
    }

    /// The errors of all rows added so far; an error if there are none.
    pub fn errors(&self) -> Result<Errors> {
        let (n, d) = (self.moments.rows + self.rows, self.moments.mean.len());
        if n * d == 0 {
            return Err(Error::data(format!("there are {n} rows of {d} columns to measure an error on; give at least one")));
        }
        let about_mean = |[v, x, square]: &[f64; 3]| if *v > 0.0 { (square - x * x / v).max(0.0) } else { 0.0 };
        let total = self.moments.squares.iter().sum::<f64>() + self.known.iter().map(about_mean).sum::<f64>();
        let counted = (self.moments.rows * d) as f64 + self.known.iter().map(|k| k[0]).sum::<f64>();
        if counted <= 0.0 {
            return Err(Error::data("not one entry is known, or counts, to measure an error on; give rows of which some are"));
        }
        let share = |of: f64| match (self.residual, of) {
            (0.0, _) => 0.0,
            (r, of) => r / of,
        };
        let fvu = share(total);
        Ok(Errors {
            rows: n,
            rmse: (self.residual / counted).sqrt(),
            relative: share(self.square).sqrt(),
            fvu,
            explained: 1.0 - fvu,
        })
    }
}

/// `from` becomes `from` − x; of sparse rows only the stored entries are touched.
fn subtract(from: &mut Mat, x: &Rows) {
    match x {
        Rows::Dense(x) => from.data.iter_mut().zip(x.data.iter()).for_each(|(r, &v)| *r -= v),
        Rows::Sparse(x) => {
            for i in 0..x.rows() {
                let (columns, values) = x.row(i);
                let row = from.row_mut(i);
                for (&j, &v) in columns.iter().zip(values) {
                    row[j as usize] -= v;
                }
            }
        }
    }
}

/// Hoyer's sparseness (√n − ‖x‖₁/‖x‖₂) / (√n − 1) of n numbers from their two norms: 0 for numbers of equal size, 1 for one
/// alone (Hoyer 2004). 0 for no number other than 0, and for n = 1, where it says nothing.
fn hoyer(n: usize, sum: f64, squares: f64) -> f64 {
    let root = (n as f64).sqrt();
    if n < 2 || squares <= 0.0 {
        return 0.0;
    }
    ((root - sum / squares.sqrt()) / (root - 1.0)).clamp(0.0, 1.0)
}
