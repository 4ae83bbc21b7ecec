//! A right factor that many rows are multiplied by, laid out for that once.

use super::product::{Packed, rows_times};
use crate::mat::Rows;

/// The right factor b (d×k) of products x·b, in the order that they read it.
///
/// What a row of x becomes depends on that row alone: the same bits in any company, on any number of threads.
#[derive(Debug)]
pub struct Factor(Packed);

impl Factor {
    /// From bᵀ (k×d, row-major), as the weights of a linear layer are stored: k outputs of d inputs.
    pub fn transposed(b: &[f32], d: usize) -> Self {
        Self(Packed::transposed(b, d))
    }

    /// From b (d×k, row-major).
    pub fn new(b: &[f32], k: usize) -> Self {
        Self(Packed::new(b, k))
    }

    /// d and k.
    pub fn shape(&self) -> (usize, usize) {
        (self.0.rows, self.0.cols)
    }

    /// out (n×k) ← x (n×d) · b, on this thread.
    ///
    /// # Panics
    /// If a length is not of that shape.
    pub fn times(&self, out: &mut [f32], x: &[f32]) {
        let (d, k) = self.shape();
        assert!(x.len() * k == out.len() * d, "{} numbers times {d}×{k} don't give {}", x.len(), out.len());
        rows_times(out, &Rows::dense(d, x), &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::dot;
    use crate::tests::random;

    #[test]
    fn a_factor_and_its_transpose_give_the_same_product() {
        let (n, d, k) = (13, 70, 19);
        let (x, b) = (random(n, d, 1), random(k, d, 2));
        let (mut by_rows, mut by_columns) = (vec![f32::NAN; n * k], vec![f32::NAN; n * k]);
        Factor::transposed(&b.data, d).times(&mut by_rows, &x.data);
        Factor::new(&b.transpose().data, k).times(&mut by_columns, &x.data);
        assert_eq!(by_rows, by_columns);
        for (i, row) in by_rows.chunks_exact(k).enumerate() {
            for (j, v) in row.iter().enumerate() {
                assert!((f64::from(*v) - dot(x.row(i), b.row(j))).abs() < 1e-5);
            }
        }
    }
}
