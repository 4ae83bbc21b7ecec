//! Mean and variance of every column in one pass over rows, in f64.
//!
//! Each panel of rows is averaged first and then squared about its own mean; panels are merged in order by the rule of
//! Chan, Golub & `LeVeque` (1979). So there is no cancellation, whatever the offset of a column, a column of one value has a
//! variance of exactly 0, and the result does not depend on the number of threads.

use crate::linalg::PANEL;
use crate::mat::Rows;
use rayon::prelude::*;

/// Count, column means (d) and sums of squares about them (d) of the rows seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    pub rows: usize,
    pub mean: Vec<f64>,
    /// Σ (x - mean)² of each column.
    pub squares: Vec<f64>,
}

impl Moments {
    pub fn new(cols: usize) -> Self {
        Self { rows: 0, mean: vec![0.0; cols], squares: vec![0.0; cols] }
    }

    /// Counts in the rows of `x`; sparse rows cost their stored entries and d a panel.
    pub fn add(&mut self, x: &Rows) {
        by_panel(x, Self::of, |part| self.merge(&part));
    }

    /// Variance of each column, of the rows as a whole population.
    pub fn variance(&self) -> Vec<f64> {
        self.squares.iter().map(|s| s / self.rows.max(1) as f64).collect()
    }

    /// Mean and variance of all numbers of all columns together.
    pub fn overall(&self) -> (f64, f64) {
        let d = self.mean.len().max(1) as f64;
        let mean = self.mean.iter().sum::<f64>() / d;
        let within = self.variance().iter().sum::<f64>() / d;
        let between = self.mean.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>() / d;
        (mean, within + between)
    }

    fn of(x: &Rows) -> Self {
        let mut m = Self::new(x.cols());
        m.rows = x.rows();
        let n = m.rows as f64;
        let (mean, squares) = (&mut m.mean, &mut m.squares);
        match x {
            Rows::Dense(x) => pulp::Arch::new().dispatch(|| {
                for row in x.data.chunks_exact(x.cols.max(1)) {
                    for (s, &v) in mean.iter_mut().zip(row) {
                        *s += f64::from(v);
                    }
                }
                for s in &mut *mean {
                    *s /= n;
                }
                for row in x.data.chunks_exact(x.cols.max(1)) {
                    for ((s, &v), m) in squares.iter_mut().zip(row).zip(mean.iter()) {
                        let r = f64::from(v) - m;
                        *s += r * r;
                    }
                }
            }),
            Rows::Sparse(x) => {
                for (&j, &v) in x.indices.iter().zip(x.values.iter()) {
                    mean[j as usize] += f64::from(v);
                }
                for s in &mut *mean {
                    *s /= n;
                }
                let mut stored = vec![0u32; x.cols];
                for (&j, &v) in x.indices.iter().zip(x.values.iter()) {
                    let r = f64::from(v) - mean[j as usize];
                    squares[j as usize] += r * r;
                    stored[j as usize] += 1;
                }
                for ((s, m), &c) in squares.iter_mut().zip(mean.iter()).zip(&stored) {
                    *s += (n - f64::from(c)) * m * m;
                }
            }
        }
        m
    }

    fn merge(&mut self, other: &Self) {
        let (a, b) = (self.rows as f64, other.rows as f64);
        if other.rows == 0 {
            return;
        }
        self.rows += other.rows;
        let n = self.rows as f64;
        for (((mean, s), m), q) in self.mean.iter_mut().zip(&mut self.squares).zip(&other.mean).zip(&other.squares) {
            let step = m - *mean;
            *mean += step * b / n;
            *s += q + step * step * a * b / n;
        }
    }
}

/// What each panel of rows leaves behind, made in parallel and added in the order of the panels.
pub(crate) fn by_panel<T: Send>(x: &Rows, of: impl Fn(&Rows) -> T + Sync, mut add: impl FnMut(T)) {
    let panels = x.rows().div_ceil(PANEL);
    let wave = rayon::current_num_threads().max(1);
    for first in (0..panels).step_by(wave) {
        let parts: Vec<T> = (first..panels.min(first + wave))
            .into_par_iter()
            .map(|p| of(&x.slice(p * PANEL, ((p + 1) * PANEL).min(x.rows()))))
            .collect();
        parts.into_iter().for_each(&mut add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::{Csr, Mat};
    use crate::rng::rng;

    #[test]
    fn variance_survives_a_large_offset_and_a_wild_first_row() {
        let n = 3000;
        let mut r = rng(1, 0, 0);
        let mut x = Mat::zeros(n, 3);
        for i in 0..n {
            x.row_mut(i).copy_from_slice(&[4096.0 + (i % 2) as f32 / 1024.0, 0.1, r.normal() as f32]);
        }
        x.row_mut(0)[2] = 1e15;
        let mut m = Moments::new(3);
        m.add(&x.view());
        assert!((m.variance()[0] * 4.0 * 1024.0 * 1024.0 - 1.0).abs() < 1e-9, "{}", m.variance()[0]);
        assert_eq!((m.squares[1], m.mean[1]), (0.0, f64::from(0.1f32)));
        // Without the wild row: the mean of the others is recovered to the digits that 1e15 leaves.
        let mut rest = Moments::new(3);
        rest.add(&x.view().slice(1, n));
        let plain = (1..n).map(|i| f64::from(x.row(i)[2])).sum::<f64>() / (n - 1) as f64;
        assert!((rest.mean[2] - plain).abs() < 1e-12);
        let plain = (1..n).map(|i| (f64::from(x.row(i)[2]) - plain).powi(2)).sum::<f64>();
        assert!((rest.squares[2] / plain - 1.0).abs() < 1e-12);
    }

    #[test]
    fn sparse_rows_blocks_and_threads_agree() {
        let mut r = rng(2, 0, 0);
        let (n, d) = (1300, 6);
        let mut csr = Csr { rows: n, cols: d, indptr: vec![0], ..Csr::default() };
        for _ in 0..n {
            for j in r.choose(d, 2) {
                csr.indices.push(j as u32);
                csr.values.push(r.normal() as f32 + 3.0);
            }
            csr.indptr.push(csr.indices.len() as u64);
        }
        let dense = csr.view().to_mat();
        let run = |rows: &Rows, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| {
                let mut m = Moments::new(d);
                m.add(&rows.slice(0, 700));
                m.add(&rows.slice(700, n));
                m
            })
        };
        let (a, b, c) = (run(&dense.view(), 1), run(&dense.view(), 3), run(&csr.view(), 2));
        assert_eq!((&a.mean, &a.squares), (&b.mean, &b.squares));
        for j in 0..d {
            assert!((a.mean[j] - c.mean[j]).abs() < 1e-12 && (a.squares[j] / c.squares[j] - 1.0).abs() < 1e-12);
        }
        let (mean, variance) = a.overall();
        let all = dense.data.iter().map(|&v| f64::from(v)).sum::<f64>() / (n * d) as f64;
        let square = dense.data.iter().map(|&v| (f64::from(v) - all).powi(2)).sum::<f64>() / (n * d) as f64;
        assert!((mean - all).abs() < 1e-12 && (variance - square).abs() < 1e-12);
    }
}
