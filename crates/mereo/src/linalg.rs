//! Products and decompositions. The one file that names the linear-algebra crate (faer).
//!
//! Rows are cut into panels of [`PANEL`]; threads take whole panels, and partial sums are added in the order of the
//! panels. So no result depends on the number of threads. Products within a panel are f32, sums over panels f64.

use crate::error::{Error, Result};
use crate::mat::{DenseRows, Mat, Rows, SparseRows};
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::{Accum, Conj, MatMut, MatRef, Par, Spec};
use rayon::prelude::*;

mod factor;
mod gram;
mod krylov;
pub(crate) mod lanes;
pub(crate) mod product;
mod triangle;
pub use factor::Factor;
pub use gram::{Frame, add_gram, add_gram_times, mirror};
pub use krylov::{Krylov, Ritz, eigh_top, svd_top};

/// Rows of a panel: 512 rows of a few hundred columns stay in a core's own cache.
pub const PANEL: usize = 512;

/// Whether a product replaces what is there or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// out = a·b
    Replace,
    /// out += a·b
    Add,
}

impl From<Into> for Accum {
    fn from(i: Into) -> Self {
        match i {
            Into::Replace => Self::Replace,
            Into::Add => Self::Add,
        }
    }
}

/// out (m×n) ← a (m×p) · b (p×n), on this thread. All row-major.
pub fn mul_nn(out: &mut [f32], a: &[f32], b: &[f32], (m, p, n): (usize, usize, usize), into: Into) {
    matmul(
        MatMut::from_row_major_slice_mut(&mut out[..m * n], m, n),
        into.into(),
        MatRef::from_row_major_slice(&a[..m * p], m, p),
        MatRef::from_row_major_slice(&b[..p * n], p, n),
        1.0,
        Par::Seq,
    );
}

/// out (m×n) ← a (m×p) · bᵀ with b (n×p), on this thread. All row-major.
pub fn mul_nt(out: &mut [f32], a: &[f32], b: &[f32], (m, p, n): (usize, usize, usize), into: Into) {
    matmul(
        MatMut::from_row_major_slice_mut(&mut out[..m * n], m, n),
        into.into(),
        MatRef::from_row_major_slice(&a[..m * p], m, p),
        MatRef::from_row_major_slice(&b[..n * p], n, p).transpose(),
        1.0,
        Par::Seq,
    );
}

/// out (m×n) ← aᵀ · b with a (p×m) and b (p×n), on this thread. All row-major.
pub fn mul_tn(out: &mut [f32], a: &[f32], b: &[f32], (m, p, n): (usize, usize, usize), into: Into) {
    matmul(
        MatMut::from_row_major_slice_mut(&mut out[..m * n], m, n),
        into.into(),
        MatRef::from_row_major_slice(&a[..p * m], p, m).transpose(),
        MatRef::from_row_major_slice(&b[..p * n], p, n),
        1.0,
        Par::Seq,
    );
}

/// [`mul_tn`] for many columns n; threads take strips of them of fixed width.
pub fn mul_tn_wide(out: &mut [f32], a: &[f32], b: &[f32], (m, p, n): (usize, usize, usize), into: Into) {
    const STRIP: usize = 512;
    if m * n == 0 {
        return;
    }
    let (a, b) = (MatRef::from_row_major_slice(&a[..p * m], p, m).transpose(), MatRef::from_row_major_slice(&b[..p * n], p, n));
    let strips = MatMut::from_row_major_slice_mut(&mut out[..m * n], m, n).par_col_chunks_mut(STRIP);
    strips.zip(b.par_col_chunks(STRIP)).for_each(|(out, b)| matmul(out, into.into(), a, b, 1.0, Par::Seq));
}

/// a (m×p) · b (p×n) → m×n in f64, all row-major. Threads take strips of columns of fixed width.
pub fn mul64(a: &[f64], b: &[f64], (m, p, n): (usize, usize, usize)) -> Vec<f64> {
    product64(MatRef::from_row_major_slice(&a[..m * p], m, p), MatRef::from_row_major_slice(&b[..p * n], p, n))
}

/// a (m×p) · bᵀ with b (n×p) → m×n in f64, all row-major. Threads take strips of columns of fixed width.
pub fn mul64_nt(a: &[f64], b: &[f64], (m, p, n): (usize, usize, usize)) -> Vec<f64> {
    product64(MatRef::from_row_major_slice(&a[..m * p], m, p), MatRef::from_row_major_slice(&b[..n * p], n, p).transpose())
}

fn product64(a: MatRef<f64>, b: MatRef<f64>) -> Vec<f64> {
    const STRIP: usize = 64;
    let (m, n) = (a.nrows(), b.ncols());
    let mut out = vec![0.0; m * n];
    if m * n > 0 {
        let strips = MatMut::from_row_major_slice_mut(&mut out, m, n).par_col_chunks_mut(STRIP);
        strips.zip(b.par_col_chunks(STRIP)).for_each(|(out, b)| matmul(out, Accum::Replace, a, b, 1.0, Par::Seq));
    }
    out
}

/// x (n×d) · b (d×k) → n×k; sparse rows cost their stored entries only.
pub fn rows_times(x: &Rows, b: &Mat) -> Mat {
    let (n, d, k) = (x.rows(), x.cols(), b.cols);
    let mut out = Mat::zeros(n, k);
    if n * k == 0 {
        return out;
    }
    out.data.par_chunks_mut(PANEL * k).enumerate().for_each(|(i, out)| {
        let m = out.len() / k;
        match x.slice(i * PANEL, i * PANEL + m) {
            Rows::Dense(x) => mul_nn(out, &x.data, &b.data, (m, d, k), Into::Replace),
            Rows::Sparse(x) => {
                for (i, out) in out.chunks_exact_mut(k).enumerate() {
                    let (columns, values) = x.row(i);
                    for (&j, &v) in columns.iter().zip(values) {
                        axpy(out, v, b.row(j as usize));
                    }
                }
            }
        }
    });
    out
}

/// x (n×d) · bᵀ with b (k×d) → n×k; sparse rows cost their stored entries only.
pub fn rows_times_t(x: &Rows, b: &Mat) -> Mat {
    let (n, d, k) = (x.rows(), x.cols(), b.rows);
    if matches!(x, Rows::Sparse(_)) {
        return rows_times(x, &b.transpose());
    }
    let mut out = Mat::zeros(n, k);
    if n * k == 0 {
        return out;
    }
    out.data.par_chunks_mut(PANEL * k).enumerate().for_each(|(i, out)| {
        let m = out.len() / k;
        if let Rows::Dense(x) = x.slice(i * PANEL, i * PANEL + m) {
            mul_nt(out, &x.data, &b.data, (m, d, k), Into::Replace);
        }
    });
    out
}

/// into (k×d, f64) += wᵀ·x with w (n×k) and x (n×d).
pub fn add_tn(into: &mut [f64], w: &[f32], x: &Rows) {
    let (n, d) = (x.rows(), x.cols());
    if n * d == 0 {
        return;
    }
    let k = w.len() / n;
    fold_panels(into, n, |from, to, part| {
        let w = &w[from * k..to * k];
        match x.slice(from, to) {
            Rows::Dense(x) => mul_tn(part, w, &x.data, (k, to - from, d), Into::Replace),
            Rows::Sparse(x) => {
                part.fill(0.0);
                for i in 0..to - from {
                    let (columns, values) = x.row(i);
                    for (a, &w) in w[i * k..(i + 1) * k].iter().enumerate().filter(|(_, w)| **w != 0.0) {
                        let part = &mut part[a * d..(a + 1) * d];
                        for (&j, &v) in columns.iter().zip(values) {
                            part[j as usize] += w * v;
                        }
                    }
                }
            }
        }
    });
}

/// Adds the f32 sums of row panels to f64 sums, panel after panel in order. `product` gets the first row, the row after the
/// last, and a buffer as long as `into` that it must overwrite.
pub fn fold_panels(into: &mut [f64], n: usize, product: impl Fn(usize, usize, &mut [f32]) + Sync) {
    fold_panels_of(into, n, PANEL, product);
}

/// [`fold_panels`] with panels of `step` rows.
pub fn fold_panels_of(into: &mut [f64], n: usize, step: usize, product: impl Fn(usize, usize, &mut [f32]) + Sync) {
    let panels = n.div_ceil(step);
    let wave = rayon::current_num_threads().min(panels).max(1);
    let mut parts = vec![0f32; wave * into.len()];
    for first in (0..panels).step_by(wave) {
        let count = wave.min(panels - first);
        let parts = &mut parts[..count * into.len()];
        parts.par_chunks_mut(into.len()).enumerate().for_each(|(i, part)| {
            let from = (first + i) * step;
            product(from, (from + step).min(n), part);
        });
        let len = into.len();
        let step = len.div_ceil(rayon::current_num_threads()).max(4096);
        into.par_chunks_mut(step).enumerate().for_each(|(c, into)| {
            for part in parts.chunks_exact(len) {
                for (s, &p) in into.iter_mut().zip(&part[c * step..]) {
                    *s += f64::from(p);
                }
            }
        });
    }
}

/// out += a · x
pub fn axpy(out: &mut [f32], a: f32, x: &[f32]) {
    lanes::axpy(out, a, x);
}

/// Sum of products, in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Sum of the squares of all stored numbers, in f64.
pub fn sum_squares(x: &Rows) -> f64 {
    x.values().par_chunks(1 << 14).map(squares).collect::<Vec<_>>().iter().sum()
}

/// Sum of squares in f64, on this thread. Sixteen partial sums, since each must wait for its last addition.
fn squares(v: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    let (whole, rest) = v.as_chunks::<LANES>();
    pulp::Arch::new().dispatch(|| {
        for v in whole {
            for (s, &v) in sums.iter_mut().zip(v) {
                *s += f64::from(v) * f64::from(v);
            }
        }
    });
    sums.iter().sum::<f64>() + rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()
}

/// Eigenvalues, falling, and eigenvectors (one a row) of a symmetric matrix (n×n; the lower triangle is read).
pub fn eigh(a: &[f64], n: usize) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    if let Some(found) = evd(MatRef::from_row_major_slice(a, n, n)) {
        return Ok(found);
    }
    // faer 0.24 gives up on some matrices of very low rank with many zeros (the Gram matrix of `synth::swimmer`). A multiple of
    // the identity on top, as large as the matrix, costs no more digits than any decomposition does.
    let shift = (0..n).map(|i| a[i * n + i].abs()).fold(0.0, f64::max);
    let lifted = faer::Mat::from_fn(n, n, |i, j| a[i * n + j] + if i == j { shift } else { 0.0 });
    let (mut values, vectors) = evd(lifted.as_ref())
        .ok_or_else(|| Error::data("the eigenvalues did not converge; look for huge or non-finite values in the data"))?;
    for v in &mut values {
        *v -= shift;
    }
    Ok((values, vectors))
}

/// Nothing if it does not converge.
fn evd(a: MatRef<f64>) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    let n = a.nrows();
    let (mut values, mut vectors) = (Diag::zeros(n), faer::Mat::zeros(n, n));
    // On one thread: with several, faer's result depends on how many there are.
    let par = Par::Seq;
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Spec::default()));
    self_adjoint_evd(a, values.as_mut(), Some(vectors.as_mut()), par, MemStack::new(&mut memory), Spec::default()).ok()?;
    Some((0..n).rev().map(|j| (values[j], vectors.col_as_slice(j).to_vec())).unzip())
}

/// Householder QR of aᵀ (n×m) on one thread: Q (n×m) and the diagonal of R (m).
fn qr_of_transpose(a: &[f64], m: usize, n: usize) -> (faer::Mat<f64>, Vec<f64>) {
    let mut qr = MatRef::from_row_major_slice(a, m, n).transpose().to_owned();
    let (block, par) = (recommended_block_size::<f64>(n, m), Par::Seq);
    let mut coefficients = faer::Mat::zeros(block, m.min(n));
    let mut memory = MemBuffer::new(
        qr_in_place_scratch::<f64>(n, m, block, par, Spec::default())
            .or(apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(n, block, m)),
    );
    qr_in_place(qr.as_mut(), coefficients.as_mut(), par, MemStack::new(&mut memory), Spec::default());
    let mut q = faer::Mat::identity(n, m);
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        qr.as_ref(),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        par,
        MemStack::new(&mut memory),
    );
    (q, (0..m).map(|i| qr[(i, i)]).collect())
}

/// The rows of `a` (m×n, m ≤ n, f64), made orthonormal (Householder QR of the transpose).
pub fn orthonormal(a: &[f64], m: usize, n: usize) -> Vec<f64> {
    let (q, _) = qr_of_transpose(a, m, n);
    (0..m).flat_map(|i| q.col_as_slice(i).to_vec()).collect()
}

/// An orthonormal basis of the span of the rows of `a` (m×n, m ≤ n, f64): at most m rows, one less for every row that depends on
/// those before it up to `tol` (a length, in the units of `a`). Beside it the smallest share of a row's length that was
/// new, of the rows that were kept: 1 for orthogonal rows, close to 0 for nearly dependent ones.
pub fn orthonormal_span(a: &[f64], m: usize, n: usize, tol: f64) -> (Vec<f64>, f64) {
    let (q, r) = qr_of_transpose(a, m, n);
    let mut weakest = 1.0;
    let mut span = Vec::with_capacity(m * n);
    for i in (0..m).filter(|&i| r[i].abs() > tol) {
        let length = a[i * n..(i + 1) * n].iter().map(|v| v * v).sum::<f64>().sqrt();
        weakest = f64::min(weakest, r[i].abs() / length);
        span.extend_from_slice(q.col_as_slice(i));
    }
    (span, weakest)
}

/// Makes the largest entry of every atom positive (ties: the first), so that a refit gives the same signs.
pub fn fix_signs(atoms: &mut Mat) {
    for row in atoms.data.chunks_exact_mut(atoms.cols.max(1)) {
        let mut at = 0;
        for (j, v) in row.iter().enumerate() {
            if v.abs() > row[at].abs() {
                at = j;
            }
        }
        if row.get(at).is_some_and(|v| *v < 0.0) {
            for v in row {
                *v = -*v;
            }
        }
    }
}

/// A dense copy of `x` less one shift a column.
pub fn shifted(x: &DenseRows, shift: &[f32]) -> Vec<f32> {
    let mut out = x.data.to_vec();
    for row in out.chunks_exact_mut(shift.len().max(1)) {
        row.iter_mut().zip(shift).for_each(|(v, s)| *v -= s);
    }
    out
}

/// Sums of the columns of sparse rows, added to `into` (d).
pub fn add_columns_sparse(into: &mut [f64], x: &SparseRows) {
    for (&j, &v) in x.indices.iter().zip(x.values.iter()) {
        into[j as usize] += f64::from(v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{random, sparse};

    #[test]
    fn products_agree_with_plain_loops_dense_and_sparse() {
        let (n, d, k) = (1100, 37, 5);
        let mut x = random(n, d, 1);
        x.data.iter_mut().for_each(|v| *v = if *v < 0.8 { 0.0 } else { *v });
        let csr = sparse(&x);
        let b = random(k, d, 2);
        let w = random(n, k, 3);
        for rows in [x.view(), csr.view()] {
            let z = rows_times_t(&rows, &b);
            let back = rows_times(&rows, &b.transpose());
            let mut s = vec![0.0; k * d];
            add_tn(&mut s, &w.data, &rows);
            for i in [0, 511, 512, 1099] {
                for a in 0..k {
                    let want = dot(x.row(i), b.row(a));
                    assert!((f64::from(z.row(i)[a]) - want).abs() < 1e-4);
                    assert!((f64::from(back.row(i)[a]) - want).abs() < 1e-4);
                }
            }
            for a in 0..k {
                for j in 0..d {
                    let want: f64 = (0..n).map(|i| f64::from(w.row(i)[a]) * f64::from(x.row(i)[j])).sum();
                    assert!((s[a * d + j] - want).abs() < 1e-3, "{} {want}", s[a * d + j]);
                }
            }
        }
    }

    #[test]
    fn sums_do_not_depend_on_threads() {
        let (x, w) = (random(3000, 40, 1), random(3000, 7, 2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| {
                let mut s = vec![0.0; 7 * 40];
                add_tn(&mut s, &w.data, &x.view());
                s
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn eigenvectors_and_orthonormal_rows() {
        let n = 30;
        let b = random(n, n, 4);
        let a: Vec<f64> = (0..n * n).map(|i| dot(b.row(i / n), b.row(i % n))).collect();
        let (values, vectors) = eigh(&a, n).expect("eigh");
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        for (l, v) in values.iter().zip(&vectors) {
            for i in 0..n {
                let av: f64 = (0..n).map(|j| a[i * n + j] * v[j]).sum();
                assert!((av - l * v[i]).abs() < 1e-8 * values[0]);
            }
        }
        let q = orthonormal(&a[..5 * n], 5, n);
        for i in 0..5 {
            for j in 0..5 {
                let s: f64 = (0..n).map(|t| q[i * n + t] * q[j * n + t]).sum();
                assert!((s - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }
}
