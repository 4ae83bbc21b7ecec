//! The leading eigenpairs of a symmetric positive semi-definite operator A (d×d) that is only seen through products A·q.
//!
//! Block Krylov with Rayleigh–Ritz (Musco & Musco 2015): blocks Q₀, AQ₀, A²Q₀, … are kept orthonormal, and the eigenpairs of
//! A restricted to the span of all of them are taken. The product of every block that counts is already known, so the
//! restriction costs no further product and its eigenvalues are true Rayleigh quotients: never above those of A, rising
//! with every block. Cost of a step beside the product: O(dml) for m basis rows of which l are new.

use super::gram::{Frame, add_gram, add_gram_times, mirror, power_of_two};
use super::{add_tn, eigh, mul64, mul64_nt, orthonormal, orthonormal_span, sum_squares};
use crate::error::Result;
use crate::mat::{Mat, Rows};
use crate::rng::rng;

/// The stream of random numbers that starts a search; differs from those of the fold.
const STREAM: u64 = 0x6b72_796c_6f76;

/// A growing orthonormal basis, and the operator's products with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Krylov {
    /// Length of a vector (d).
    pub d: usize,
    /// Orthonormal rows; the last ones are not multiplied yet (m×d).
    pub basis: Vec<f64>,
    /// The operator times the first rows of `basis`, row for row.
    pub products: Vec<f64>,
    /// Products times the basis, the lower triangle row after row: the operator within the span.
    pub inner: Vec<f64>,
}

/// Approximate leading eigenpairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ritz {
    /// Rayleigh quotients, falling (k).
    pub values: Vec<f64>,
    /// Orthonormal rows (k×d).
    pub vectors: Vec<f64>,
    /// Lengths of A·v − value·v (k).
    pub residuals: Vec<f64>,
}

impl Krylov {
    /// A basis of `l` random orthonormal rows of `d` entries, l ≤ d.
    pub fn new(d: usize, l: usize, seed: u64) -> Self {
        let l = l.min(d);
        let mut start = Vec::with_capacity(l * d);
        for i in 0..l {
            let mut r = rng(seed, STREAM, i as u64);
            start.extend((0..d).map(|_| r.normal()));
        }
        Self { d, basis: orthonormal(&start, l, d), products: Vec::new(), inner: Vec::new() }
    }

    /// The rows that must be multiplied next (l×d); none once the span is closed under the operator.
    pub fn block(&self) -> &[f64] {
        &self.basis[self.products.len()..]
    }

    /// Takes the operator's product with [`Krylov::block`] (l×d) and prepares the next block.
    pub fn push(&mut self, product: &[f64]) {
        let d = self.d;
        let (l, m) = (product.len() / d, self.basis.len() / d);
        self.products.extend_from_slice(product);
        let mut next = product.to_vec();
        let along = self.subtract(&mut next);
        for i in 0..l {
            self.inner.extend_from_slice(&along[i * m..=i * m + m - l + i]);
        }
        next.truncate(l.min(d - m) * d);
        // Twice is enough to leave the span (Giraud, Langou & Rozložník 2005), but for rows that nearly depend on each other: of
        // those QR keeps a small rest, in which what is left of the span weighs more.
        self.subtract(&mut next);
        let largest = self.products.chunks_exact(d).map(length).fold(0.0, f64::max);
        let (mut span, weakest) = orthonormal_span(&next, next.len() / d, d, largest * 1e-13 * (d as f64).sqrt());
        if weakest < 1e-4 {
            self.subtract(&mut span);
            span = orthonormal_span(&span, span.len() / d, d, 0.5).0;
        }
        self.basis.extend_from_slice(&span);
    }

    /// Takes from each of `rows` its part within the span, and returns its coordinates there.
    fn subtract(&self, rows: &mut [f64]) -> Vec<f64> {
        let (d, m) = (self.d, self.basis.len() / self.d);
        let l = rows.len() / d;
        let along = mul64_nt(rows, &self.basis, (l, d, m));
        let inside = mul64(&along, &self.basis, (l, m, d));
        rows.iter_mut().zip(&inside).for_each(|(v, p)| *v -= p);
        along
    }

    /// The `k` leading eigenpairs within the span of all rows that were multiplied; fewer if there are fewer such rows.
    pub fn ritz(&self, k: usize) -> Result<Ritz> {
        let (d, m) = (self.d, self.products.len() / self.d);
        let mut square = vec![0.0; m * m];
        for i in 0..m {
            square[i * m..=i * m + i].copy_from_slice(&self.inner[i * (i + 1) / 2..][..=i]);
        }
        let (mut values, weights) = eigh(&square, m)?;
        values.truncate(k);
        let k = values.len();
        let weights = weights[..k].concat();
        let vectors = mul64(&weights, &self.basis, (k, m, d));
        let images = mul64(&weights, &self.products, (k, m, d));
        let residual = |i: usize| {
            let (v, av) = (&vectors[i * d..][..d], &images[i * d..][..d]);
            v.iter().zip(av).map(|(v, av)| (av - values[i] * v).powi(2)).sum::<f64>().sqrt()
        };
        let residuals = (0..k).map(residual).collect();
        Ok(Ritz { values, vectors, residuals })
    }
}

fn length(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The `k` largest eigenvalues of a symmetric positive semi-definite matrix (d×d, both triangles), falling, and their vectors
/// (k×d), to the accuracy of the full decomposition: block Krylov where k is far below d, else or if that does not
/// converge the full one. Cost: about 10 products with k + 25 % rows against 9d³ (d = 2914, k = 64: 0.3 s against 5 s).
pub fn eigh_top(a: &[f64], d: usize, k: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    const FULL: usize = 512;
    const FLOOR: f64 = 1e-10;
    let l = k + (k / 4).max(10);
    if d > FULL && 8 * l <= d {
        let mut search = Krylov::new(d, l, 0);
        let mut look = 4;
        // A basis of half of all directions costs about as much as the full decomposition.
        for step in 1..=d / l / 2 {
            let block = search.block();
            let l = block.len() / d;
            let product = mul64(block, a, (l, d, d));
            search.push(&product);
            let closed = search.block().is_empty();
            if closed || step == look {
                let top = search.ritz(k)?;
                let worst = top.residuals.iter().fold(0.0, |a: f64, b| a.max(*b));
                if worst <= FLOOR * top.values[0] {
                    return Ok((top.values, top.vectors));
                }
                // A step gains two digits or three by now; looking costs as much as a step.
                look += if worst <= 100.0 * FLOOR * top.values[0] { 1 } else { 2 };
            }
            if closed {
                break;
            }
        }
    }
    let (mut values, vectors) = eigh(a, d)?;
    values.truncate(k);
    Ok((values, vectors[..k].concat()))
}

/// The `k` largest singular values of `x` (n×d), falling, and their right vectors (k×d); nothing is centred, sparse rows stay
/// sparse. Fewer than `k` come back only if n or d is less.
///
/// Where one side is short, its second moments are decomposed (to the 1e-7 of the largest square that f32 products
/// know); else a few passes of block Krylov come close from below. The values are lengths ‖x·v‖ of the returned vectors.
pub fn svd_top(x: &Rows, k: usize, seed: u64) -> Result<(Vec<f64>, Mat)> {
    const SHORT: usize = 1024;
    // Numbers of sparse rows that may be filled up to be turned.
    const TURNED: usize = 1 << 24;
    const EXTRA: usize = 10;
    const PASSES: usize = 3;
    let (n, d) = (x.rows(), x.cols());
    let k = k.min(n).min(d);
    if k == 0 {
        return Ok((Vec::new(), Mat::zeros(0, d)));
    }
    // Squares of f32 numbers leave the range of f32 for data of extreme scale; a power of two changes no digit.
    let scale = 1.0 / power_of_two(sum_squares(x), x.values().len());
    let frame = |cols| Frame { shift: vec![0.0; cols], factor: scale as f32 };
    let finished = |squares: &[f64], vectors: &[f64]| {
        let values = squares.iter().map(|v| v.max(0.0).sqrt() / scale).collect();
        (values, Mat { rows: squares.len(), cols: d, data: vectors.iter().map(|&v| v as f32).collect() })
    };
    let wide = n < d;
    let side = n.min(d);
    if side <= SHORT && (!wide || n * d <= TURNED || matches!(x, Rows::Dense(_))) {
        let (mut gram, mut sums) = (vec![0.0; side * side], vec![0.0; side]);
        let turned = if wide { x.to_mat().transpose() } else { Mat::default() };
        let rows = turned.view();
        add_gram(&mut gram, &mut sums, if wide { &rows } else { x }, &frame(side));
        mirror(&mut gram, side);
        let (squares, vectors) = eigh_top(&gram, side, k)?;
        if !wide {
            return Ok(finished(&squares, &vectors));
        }
        // The rows of uᵀx are the right vectors times their values.
        let u = Mat { rows: k, cols: n, data: vectors.iter().map(|&v| v as f32).collect() };
        let mut v = vec![0.0; k * d];
        add_tn(&mut v, &u.transpose().data, x);
        let mut values = Vec::with_capacity(k);
        for v in v.chunks_exact_mut(d) {
            let size = length(v);
            v.iter_mut().for_each(|v| *v /= if size > 0.0 { size } else { 1.0 });
            values.push((size * scale).powi(2));
        }
        return Ok(finished(&values, &v));
    }
    let mut search = Krylov::new(d, (k + EXTRA).min(n).min(d), seed);
    let mut top = Ritz { values: vec![], vectors: vec![], residuals: vec![] };
    for pass in 0..PASSES {
        let block = search.block();
        let l = block.len() / d;
        if l == 0 {
            break;
        }
        let q = Mat { rows: l, cols: d, data: block.iter().map(|&v| v as f32).collect() };
        let (mut product, mut sums) = (vec![0.0; l * d], vec![0.0; d]);
        add_gram_times(&mut product, &mut sums, x, &frame(d), &q);
        search.push(&product);
        if pass + 1 == PASSES || search.block().is_empty() {
            top = search.ritz(k)?;
        }
    }
    Ok(finished(&top.values, &top.vectors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::Csr;

    /// n×d numbers of known falling scales along random directions, and their exact Gram (d×d).
    fn spread(n: usize, d: usize, seed: u64, scale: impl Fn(usize) -> f64) -> (Mat, Vec<f64>) {
        let mut r = rng(seed, 0, 0);
        let mut gauss = |len: usize| (0..len).map(|_| r.normal()).collect::<Vec<f64>>();
        let axes = orthonormal(&gauss(d * d), d, d);
        let mut z = gauss(n * d);
        z.iter_mut().enumerate().for_each(|(at, v)| *v *= scale(at % d));
        let data: Vec<f32> = mul64(&z, &axes, (n, d, d)).iter().map(|&v| v as f32).collect();
        let wide: Vec<f64> = data.iter().map(|&v| f64::from(v)).collect();
        let x = Mat { rows: n, cols: d, data };
        let t: Vec<f64> = x.transpose().data.iter().map(|&v| f64::from(v)).collect();
        (x, mul64(&t, &wide, (d, n, d)))
    }

    fn search(gram: &[f64], d: usize, l: usize, steps: usize) -> Krylov {
        let mut search = Krylov::new(d, l, 3);
        for _ in 0..steps {
            let block = search.block().to_vec();
            search.push(&mul64(&block, gram, (block.len() / d, d, d)));
        }
        search
    }

    #[test]
    fn a_dense_operator_gives_its_own_eigenpairs() {
        let (d, k) = (120, 8);
        let (_, gram) = spread(300, d, 1, |j| 0.8f64.powf(j as f64));
        let found = search(&gram, d, k + 4, 8).ritz(k).expect("ritz");
        let (values, vectors) = eigh(&gram, d).expect("eigh");
        for i in 0..k {
            assert!((found.values[i] - values[i]).abs() < 1e-12 * values[0]);
            assert!(found.residuals[i] < 1e-8 * values[0], "{}", found.residuals[i] / values[0]);
            let cosine: f64 = vectors[i].iter().zip(&found.vectors[i * d..]).map(|(a, b)| a * b).sum();
            assert!((cosine.abs() - 1.0).abs() < 1e-12, "{cosine}");
        }
    }

    #[test]
    fn residuals_are_true_and_values_never_fall_with_more_blocks() {
        let (d, k) = (90, 5);
        let (_, gram) = spread(200, d, 2, |j| 1.0 / (1.0 + j as f64));
        let mut last = vec![0.0; k];
        for steps in 1..5 {
            let found = search(&gram, d, k, steps).ritz(k).expect("ritz");
            assert!(found.values.iter().zip(&last).all(|(now, then)| *now >= then - 1e-9));
            for i in 0..k {
                let v = &found.vectors[i * d..][..d];
                let av = mul64(v, &gram, (1, d, d));
                let true_residual = av.iter().zip(v).map(|(av, v)| (av - found.values[i] * v).powi(2)).sum::<f64>().sqrt();
                assert!((true_residual - found.residuals[i]).abs() < 1e-9 * found.values[0]);
            }
            last = found.values;
        }
    }

    #[test]
    fn a_span_that_is_closed_ends_the_search() {
        let (d, rank) = (60, 4);
        // AᵀA of four orthonormal rows of lengths 4, 3, 2, 1.
        let mut r = rng(4, 0, 0);
        let mut rows = orthonormal(&(0..rank * d).map(|_| r.normal()).collect::<Vec<_>>(), rank, d);
        rows.iter_mut().enumerate().for_each(|(at, v)| *v *= (rank - at / d) as f64);
        let columns: Vec<f64> = (0..d * rank).map(|at| rows[at % rank * d + at / rank]).collect();
        let gram = mul64(&columns, &rows, (d, rank, d));
        let values = [16.0, 9.0, 4.0, 1.0];
        let mut search = search(&gram, d, 10, 2);
        assert!(search.block().is_empty() || search.block().len() / d <= rank);
        while !search.block().is_empty() {
            let block = search.block().to_vec();
            search.push(&mul64(&block, &gram, (block.len() / d, d, d)));
        }
        let found = search.ritz(8).expect("ritz");
        for i in 0..8 {
            let want = if i < rank { values[i] } else { 0.0 };
            assert!((found.values[i] - want).abs() < 1e-10 * values[0]);
        }
        let zero = self::search(&[0.0; 9], 3, 2, 1);
        assert!(zero.block().is_empty());
        assert_eq!(zero.ritz(2).expect("ritz").values, [0.0, 0.0]);
    }

    #[test]
    fn singular_vectors_dense_and_sparse_at_any_scale() {
        let (n, d, k) = (1300, 150, 6);
        let (mut x, _) = spread(n, d, 5, |j| 0.7f64.powf(j as f64));
        x.data.iter_mut().for_each(|v| *v = if v.abs() < 0.05 { 0.0 } else { *v });
        let csr = crate::tests::sparse(&x);
        let wide: Vec<f64> = x.data.iter().map(|&v| f64::from(v)).collect();
        let t: Vec<f64> = x.transpose().data.iter().map(|&v| f64::from(v)).collect();
        let (values, vectors) = eigh(&mul64(&t, &wide, (d, n, d)), d).expect("eigh");
        for factor in [1.0f32, 1e-30, 1e25] {
            let scaled = Mat { data: x.data.iter().map(|v| v * factor).collect(), ..x.clone() };
            let sparse = Csr { values: csr.values.iter().map(|v| v * factor).collect(), ..csr.clone() };
            for rows in [scaled.view(), sparse.view()] {
                let (sigma, v) = svd_top(&rows, k, 1).expect("svd");
                for i in 0..k {
                    let want = values[i].sqrt() * f64::from(factor);
                    assert!((sigma[i] / want - 1.0).abs() < 1e-5, "{i}: {} {want}", sigma[i]);
                    let cosine: f64 = v.row(i).iter().zip(&vectors[i]).map(|(a, b)| f64::from(*a) * b).sum();
                    assert!(cosine.abs() > 1.0 - 1e-5, "{i}: {cosine}");
                }
            }
        }
    }

    #[test]
    fn few_rows_few_columns_and_zeros() {
        let (x, _) = spread(3, 40, 6, |_| 1.0);
        let (sigma, v) = svd_top(&x.view(), 10, 0).expect("svd");
        assert_eq!((sigma.len(), v.rows, v.cols), (3, 3, 40));
        let square: f64 = super::super::sum_squares(&x.view());
        assert!((sigma.iter().map(|s| s * s).sum::<f64>() / square - 1.0).abs() < 1e-5, "all of it is found");
        let (sigma, v) = svd_top(&Mat::zeros(5, 4).view(), 2, 0).expect("svd");
        assert_eq!(sigma, [0.0, 0.0]);
        assert!(v.data.iter().all(|v| v.is_finite()));
        assert_eq!(svd_top(&Mat::zeros(0, 4).view(), 2, 0).expect("svd").0.len(), 0);
    }

    #[test]
    fn the_result_does_not_depend_on_threads() {
        let (x, _) = spread(1500, 700, 7, |j| 1.0 / (1.0 + j as f64));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| svd_top(&x.view(), 60, 2).expect("svd"))
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5));
    }
}
