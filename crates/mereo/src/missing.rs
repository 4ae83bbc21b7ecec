//! Entries that nobody knows, and entries that count more than others.
//!
//! An unknown entry is not a small one: it must have no influence at all. Rows say what is unknown in one of two ways ([`Missing`]), and may
//! say how much every other entry counts ([`Rows::weights`]). Whoever can use that asks for both at once, as [`Weighed`]: numbers that
//! can be reckoned with, and what each counts, which is 0 for those that are unknown.

use crate::mat::{DenseRows, Mat, Rows, SparseRows, Weights};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Which entries of the rows are unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// None: every number is one, and a NaN is an error.
    #[default]
    None,
    /// NaN. In sparse rows an entry that is not stored is a zero, as ever.
    Nan,
    /// Zeros, stored or not, as in a table of ratings; NaN as well.
    Zeros,
}

/// Rows in which every number is one, and what each counts.
#[derive(Debug, Clone)]
pub struct Weighed<'a> {
    /// The rows, with 0 in place of what counts nothing.
    pub x: Rows<'a>,
    /// What each of [`Rows::values`] counts: 0 if it is unknown.
    pub v: Cow<'a, [f32]>,
    /// What an entry counts that is not stored.
    pub rest: f32,
}

impl Missing {
    /// Rows and what their entries count. Sparse rows with weights of their own become dense, unless their zeros are unknown: an entry that
    /// is not stored counts as much as its row does.
    pub fn weigh<'a>(self, x: &'a Rows) -> Weighed<'a> {
        let known = |x: f32| match self {
            Self::None => true,
            Self::Nan => !x.is_nan(),
            Self::Zeros => !x.is_nan() && x != 0.0,
        };
        let filled = matches!(x, Rows::Sparse(_)) && self != Self::Zeros && x.row_weights().is_some();
        let values: Cow<[f32]> = if filled { x.to_mat().data.into() } else { x.values().into() };
        let each: Option<Cow<[f32]>> = x.weights().map(|w| match w {
            Weights::Entries(v) => v.as_ref().into(),
            Weights::Rows(w) => {
                let width = |i| match x {
                    Rows::Sparse(x) if !filled => x.span(i).len(),
                    _ => x.cols(),
                };
                w.iter().enumerate().flat_map(|(i, &w)| std::iter::repeat_n(w, width(i))).collect()
            }
        });
        let v: Cow<[f32]> = match (self, each) {
            (Self::None, Some(v)) => v,
            (_, Some(v)) => v.iter().zip(&*values).map(|(&v, &x)| if known(x) { v } else { 0.0 }).collect(),
            (_, None) => values.iter().map(|&x| f32::from(u8::from(known(x)))).collect(),
        };
        // A NaN would stay one, whatever it is multiplied by, and starts look at numbers alone.
        let clean: Cow<[f32]> = values.iter().zip(v.iter()).map(|(&x, &v)| if v > 0.0 { x } else { 0.0 }).collect();
        match x {
            Rows::Sparse(x) if !filled => Weighed {
                x: Rows::Sparse(SparseRows {
                    cols: x.cols,
                    indptr: Cow::Borrowed(&x.indptr),
                    indices: Cow::Borrowed(&x.indices),
                    values: clean,
                    weights: None,
                }),
                v,
                rest: if self == Self::Zeros { 0.0 } else { 1.0 },
            },
            _ => Weighed { x: Rows::Dense(DenseRows { cols: x.cols(), data: clean, weights: None }), v, rest: 0.0 },
        }
    }
}

impl Weighed<'_> {
    /// How many entries there are, by what they count.
    pub fn total(&self) -> f64 {
        let entries = (self.x.rows() * self.x.cols()) as f64;
        let rest = f64::from(self.rest);
        self.v.iter().map(|&v| f64::from(v) - rest).sum::<f64>() + rest * entries
    }

    /// The rows, with what each of their stored numbers counts as their weights.
    pub fn rows(&self) -> Rows<'_> {
        let mut rows = self.x.slice(0, self.x.rows());
        let weights = Some(Weights::Entries(Cow::Borrowed(self.v.as_ref())));
        match &mut rows {
            Rows::Dense(x) => x.weights = weights,
            Rows::Sparse(x) => x.weights = weights,
        }
        rows
    }

    /// The rows as a dense matrix, and what each of its entries counts.
    pub fn full(&self) -> (Mat, Vec<f32>) {
        let full = self.x.to_mat();
        let mut v = vec![self.rest; full.data.len()];
        match &self.x {
            Rows::Dense(_) => v.copy_from_slice(&self.v),
            Rows::Sparse(x) => {
                for i in 0..x.rows() {
                    x.row(i).0.iter().zip(&self.v[x.span(i)]).for_each(|(&j, &of)| v[i * x.cols + j as usize] = of);
                }
            }
        }
        (full, v)
    }

    /// The rows as a dense matrix in which every unknown entry is what the means of its row and column suggest: their product over the mean
    /// of all where nothing is negative, else their sum less it. A first guess, from known entries alone.
    pub fn filled(&self) -> Mat {
        let (mut full, v) = self.full();
        let d = full.cols;
        let (mut rows, mut cols, mut all) = (vec![(0.0, 0.0); full.rows], vec![(0.0, 0.0); d], (0.0, 0.0));
        let mut signed = false;
        for (at, (&x, &v)) in full.data.iter().zip(&v).enumerate().filter(|(_, (_, v))| **v > 0.0) {
            signed |= x < 0.0;
            for sum in [&mut rows[at / d], &mut cols[at % d], &mut all] {
                sum.0 += f64::from(v) * f64::from(x);
                sum.1 += f64::from(v);
            }
        }
        let mean = |(sum, count): (f64, f64), other: f64| if count > 0.0 { sum / count } else { other };
        let whole = mean(all, 0.0);
        for (at, (x, _)) in full.data.iter_mut().zip(&v).enumerate().filter(|(_, (_, v))| **v == 0.0) {
            let (row, col) = (mean(rows[at / d], whole), mean(cols[at % d], whole));
            *x = if signed {
                row + col - whole
            } else if whole > 0.0 {
                row * col / whole
            } else {
                0.0
            } as f32;
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::Csr;

    #[test]
    fn what_is_unknown_counts_nothing() {
        let m = Mat::new(2, 3, vec![1.0, f32::NAN, 0.0, 4.0, 0.0, 2.0]).expect("mat");
        let x = m.view();
        let w = Missing::Nan.weigh(&x);
        assert_eq!((w.v.as_ref(), w.total()), ([1.0, 0.0, 1.0, 1.0, 1.0, 1.0].as_slice(), 5.0));
        assert_eq!(w.x.values(), [1.0, 0.0, 0.0, 4.0, 0.0, 2.0]);
        let w = Missing::Zeros.weigh(&x);
        assert_eq!((w.v.as_ref(), w.total()), ([1.0, 0.0, 0.0, 1.0, 0.0, 1.0].as_slice(), 3.0));
        let csr = Csr::new(2, 3, vec![0, 2, 4], vec![0, 1, 0, 2], vec![1.0, f32::NAN, 4.0, 2.0]).expect("csr");
        let x = csr.view();
        assert_eq!((Missing::Zeros.weigh(&x).total(), Missing::Nan.weigh(&x).total()), (3.0, 5.0));
    }

    #[test]
    fn an_entry_counts_as_its_row_does() {
        let csr = Csr::new(2, 3, vec![0, 1, 3], vec![1, 0, 2], vec![1.0, f32::NAN, 2.0]).expect("csr");
        let mut x = csr.view();
        if let Rows::Sparse(x) = &mut x {
            x.weights = Some(Weights::Rows(vec![2.0, 5.0].into()));
        }
        let (full, v) = (x.to_mat(), [2.0, 2.0, 2.0, 0.0, 5.0, 5.0]);
        assert_eq!(Missing::Nan.weigh(&x).full().1, v);
        let dense =
            Rows::Dense(DenseRows { cols: 3, data: full.data.into(), weights: Some(Weights::Rows(vec![2.0, 5.0].into())) });
        assert_eq!(Missing::Nan.weigh(&dense).full().1, v);
        assert_eq!(Missing::Zeros.weigh(&x).full().1, [0.0, 2.0, 0.0, 0.0, 0.0, 5.0]);
        assert_eq!(Missing::Zeros.weigh(&dense).full().1, [0.0, 2.0, 0.0, 0.0, 0.0, 5.0]);
    }

    #[test]
    fn a_first_guess_is_exact_where_rows_are_alike() {
        let m = Mat::new(3, 3, vec![1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, f32::NAN]).expect("mat");
        let x = m.view();
        let full = Missing::Nan.weigh(&x).filled();
        assert_eq!(full.data[..8], m.data[..8]);
        // Row mean 4.5, column mean 4.5, mean of all 3.375.
        assert!((full.data[8] - 6.0).abs() < 1e-6, "{}", full.data[8]);
    }
}
