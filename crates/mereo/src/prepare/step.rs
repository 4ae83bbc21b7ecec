//! One step of a pipeline: what it learns, and a row forward and backward through it.

use super::Recipe;
use crate::error::{Error, Result};
use crate::mat::Rows;
use crate::moments::Moments;
use crate::source::{self, Source};

/// Mean and s.d. that `lee-seung`, `inverted` and `hoyer` rescale to (Lee & Seung 1999).
const GREY: f64 = 0.25;
/// What `hoyer` puts in the place of smaller values, so that the logarithm of the divergence stays finite.
const FLOOR: f64 = 1e-4;

/// A recipe with its statistics: one number a column, one for all, or none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub recipe: Recipe,
    pub mean: Vec<f64>,
    pub scale: Vec<f64>,
}

impl Step {
    /// One pass over the rows as the steps before leave them; none for a recipe of single rows.
    pub fn learn(recipe: Recipe, source: &dyn Source) -> Result<Self> {
        if recipe.lengths(source.cols()) == (0, 0) {
            return Ok(Self { recipe, mean: Vec::new(), scale: Vec::new() });
        }
        let mut moments = Moments::new(source.cols());
        let mut first = 0;
        for b in 0..source.blocks() {
            let x = source.block(b)?;
            source::check_finite(&x, first)?;
            if let Rows::Sparse(_) = x {
                recipe.accept_sparse()?;
            }
            moments.add(&x);
            first += x.rows() as u64;
        }
        if moments.rows == 0 || moments.mean.is_empty() {
            return Err(Error::data(format!(
                "`{recipe}` can't be learned from {} rows of {} columns; look for an empty file or selection",
                moments.rows,
                moments.mean.len()
            )));
        }
        // Numbers that are all the same are only shifted: there is no spread to divide by.
        let deviation = |variance: f64| if variance > 0.0 { variance.sqrt() } else { 1.0 };
        let (mean, scale) = match recipe {
            Recipe::Hoyer => {
                let (mean, variance) = moments.overall();
                (vec![mean], vec![deviation(variance)])
            }
            Recipe::Standardize => {
                let scale = moments.variance().into_iter().map(deviation).collect();
                (moments.mean, scale)
            }
            _ => (moments.mean, Vec::new()),
        };
        Ok(Self { recipe, mean, scale })
    }

    /// An error unless the numbers are as many as they must be for `cols` columns, finite, and no deviation is 0.
    pub fn check(&self, cols: usize) -> Result<()> {
        let sound = self.mean.iter().all(|v| v.is_finite()) && self.scale.iter().all(|v| v.is_finite() && *v > 0.0);
        if sound && (self.mean.len(), self.scale.len()) == self.recipe.lengths(cols) {
            return Ok(());
        }
        Err(Error::data(format!("the stored numbers of `{}` are damaged; fit the model again", self.recipe)))
    }

    /// Prepares a row, and leaves what undoes it in `undo`.
    #[inline(always)]
    pub fn forward(&self, row: &mut [f32], undo: &mut [f64]) {
        match self.recipe {
            Recipe::Raw => {}
            Recipe::Center => each(row, &self.mean, |v, m| v - m),
            Recipe::Standardize => {
                for ((v, m), s) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                    *v = ((f64::from(*v) - m) / s) as f32;
                }
            }
            Recipe::Hoyer => {
                let (mean, scale) = (self.mean[0], self.scale[0]);
                all(row, |v| (GREY * (GREY + (v - mean) / scale)).clamp(FLOOR, 1.0));
            }
            Recipe::UnitNorm => unit_norm(row, undo),
            Recipe::LeeSeung => grey(row, undo, 1.0),
            Recipe::Inverted => grey(row, undo, -1.0),
        }
    }

    /// Puts a prepared row back.
    #[inline(always)]
    pub fn backward(&self, row: &mut [f32], undo: &[f64]) {
        match self.recipe {
            Recipe::Raw => {}
            Recipe::Center => each(row, &self.mean, |v, m| v + m),
            Recipe::Standardize => {
                for ((v, m), s) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                    *v = (f64::from(*v) * s + m) as f32;
                }
            }
            Recipe::Hoyer => {
                let (mean, scale) = (self.mean[0], self.scale[0]);
                all(row, |v| mean + scale * (v / GREY - GREY));
            }
            Recipe::UnitNorm => all(row, |v| v * undo[0]),
            // The sign of the contrast is in undo[1].
            Recipe::LeeSeung | Recipe::Inverted => all(row, |v| undo[0] + (v - GREY) / GREY * undo[1]),
        }
    }
}

#[inline(always)]
fn all(row: &mut [f32], f: impl Fn(f64) -> f64) {
    for v in row {
        *v = f(f64::from(*v)) as f32;
    }
}

#[inline(always)]
fn each(row: &mut [f32], by: &[f64], f: impl Fn(f64, f64) -> f64) {
    for (v, &b) in row.iter_mut().zip(by) {
        *v = f(f64::from(*v), b) as f32;
    }
}

/// Σ f(v) in eight running sums, so that it is added in vectors and in one order everywhere.
#[inline(always)]
fn sum(row: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let (eights, rest) = row.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for eight in eights {
        for (s, &v) in lanes.iter_mut().zip(eight) {
            *s += f(f64::from(v));
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&v| f(f64::from(v))).sum::<f64>()
}

/// Leaves the norm in `undo[0]`.
#[inline(always)]
pub(super) fn unit_norm(row: &mut [f32], undo: &mut [f64]) {
    let norm = sum(row, |v| v * v).sqrt();
    undo[0] = norm;
    if norm > 0.0 {
        all(row, |v| v / norm);
    }
}

/// Leaves the mean, and the deviation with the sign of the contrast, in `undo`.
#[inline(always)]
fn grey(row: &mut [f32], undo: &mut [f64], sign: f64) {
    let n = row.len().max(1) as f64;
    let mean = sum(row, |v| v) / n;
    let deviation = sign * (sum(row, |v| (v - mean) * (v - mean)) / n).sqrt();
    undo.copy_from_slice(&[mean, deviation]);
    if deviation == 0.0 {
        row.fill(GREY as f32);
    } else {
        all(row, |v| (GREY + GREY * (v - mean) / deviation).clamp(0.0, 1.0));
    }
}
