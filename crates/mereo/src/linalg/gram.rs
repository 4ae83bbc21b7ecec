//! Second moments of many rows: Σ(x−s)(x−s)ᵀ and Σ(x−s) about a shift s that all rows share.
//!
//! Only the lower triangle is computed. Few columns: threads take row panels, whose f32 triangles are added in order. Many
//! columns: threads take strips of the triangle, each of which sees the panels in order; a triangle per thread would not
//! fit. Either way no sum depends on the number of threads, and products are f32 within a panel, f64 over panels.

use super::{DenseRows, Into, PANEL, SparseRows, axpy, fold_panels_of, mul_nt, mul_tn};
use crate::mat::{Mat, Rows};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Up to this many columns threads take panels, beyond it strips.
const FEW: usize = 768;
/// Rows of a panel where there are few columns: adding a panel's triangle to the f64 sums then costs 3 % of its product.
const PANEL_FEW: usize = 1024;
/// Rows of a panel where there are many columns.
const PANEL_MANY: usize = 2048;
/// Most sparse rows of a panel.
const PANEL_SPARSE: usize = 8192;
/// Rows of a strip of the triangle.
const STRIP: usize = 384;

/// What (x − shift) · factor is taken about: one shift a column, and one power of two that keeps squares within f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Subtracted from every row (d).
    pub shift: Vec<f32>,
    /// Then multiplied by this power of two.
    pub factor: f32,
}

impl Frame {
    /// Nothing is shifted or scaled.
    pub fn plain(d: usize) -> Self {
        Self { shift: vec![0.0; d], factor: 1.0 }
    }

    /// The frame of a sample: its mean if `center`, and the power of two that brings its root mean square close to 1. Sparse rows
    /// are not shifted: they would not stay sparse.
    pub fn of(sample: &Rows, center: bool) -> Self {
        let d = sample.cols();
        let mut frame = Self::plain(d);
        if let (Rows::Dense(x), true) = (sample, center) {
            let n = x.rows().max(1) as f64;
            let mut sums = vec![0f64; d];
            for row in x.data.chunks_exact(d.max(1)) {
                sums.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
            }
            frame.shift = sums.iter().map(|s| (s / n) as f32).collect();
        }
        let square = |v: f32, s: f32| (f64::from(v) - f64::from(s)).powi(2);
        let total: f64 = match sample {
            Rows::Dense(x) => x
                .data
                .chunks_exact(d.max(1))
                .map(|row| row.iter().zip(&frame.shift).map(|(&v, &s)| square(v, s)).sum::<f64>())
                .sum(),
            Rows::Sparse(x) => x.values.iter().map(|&v| square(v, 0.0)).sum(),
        };
        let mean = total / sample.values().len().max(1) as f64;
        if mean > 0.0 {
            // Kept where it and its inverse are ordinary f32 numbers.
            frame.factor = (-0.5 * mean.log2()).round().clamp(-120.0, 120.0).exp2() as f32;
        }
        frame
    }

    /// A panel of rows moved into the frame, their columns added to `sums`. Sparse rows come back as they are, to be multiplied by
    /// the factor, unless the frame shifts: then they are filled up. (The frame is that of the first rows, so these were dense.)
    fn placed<'a>(&self, x: &'a Rows, sums: &mut [f64]) -> Rows<'a> {
        let filled;
        let dense = match x {
            Rows::Sparse(_) if self.shift.iter().all(|s| *s == 0.0) => return x.slice(0, x.rows()),
            Rows::Sparse(_) => {
                filled = x.to_mat().data;
                &filled
            }
            Rows::Dense(x) => &x.data[..],
        };
        let mut out = vec![0f32; dense.len()];
        self.place(dense, &mut out, sums);
        Rows::Dense(DenseRows { cols: x.cols(), data: out.into() })
    }

    /// Dense rows moved into the frame (`out`, as long as `x`), their columns added to `sums`.
    fn place(&self, x: &[f32], out: &mut [f32], sums: &mut [f64]) {
        // Sums of so few numbers close to 1 lose nothing in f32.
        const RUN: usize = 64;
        let d = self.shift.len();
        let (shift, factor) = (&self.shift[..], self.factor);
        let mut run = vec![0f32; d];
        pulp::Arch::new().dispatch(|| {
            for (x, out) in x.chunks(RUN * d).zip(out.chunks_mut(RUN * d)) {
                run.fill(0.0);
                for (x, out) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
                    for (((o, &v), &s), sum) in out.iter_mut().zip(x).zip(shift).zip(&mut run) {
                        *o = (v - s) * factor;
                        *sum += *o;
                    }
                }
                sums.iter_mut().zip(&run).for_each(|(sum, &r)| *sum += f64::from(r));
            }
        });
    }
}

/// gram (d×d, lower triangle) += Σyyᵀ and sums (d) += Σy over the rows y = (x − shift) · factor.
pub fn add_gram(gram: &mut [f64], sums: &mut [f64], x: &Rows, frame: &Frame) {
    if x.rows() * x.cols() == 0 {
        return;
    }
    match x {
        Rows::Sparse(x) if frame.shift.iter().all(|s| *s == 0.0) => sparse(gram, sums, x, frame.factor),
        Rows::Sparse(s) => {
            // The first rows were dense: the frame is theirs, so these are filled up too, a panel at a time.
            for from in (0..s.rows()).step_by(PANEL_FEW) {
                let panel = x.slice(from, (from + PANEL_FEW).min(s.rows())).to_mat();
                add_gram(gram, sums, &panel.view(), frame);
            }
        }
        Rows::Dense(x) if x.cols <= FEW => panels(gram, sums, x, frame),
        Rows::Dense(x) => strips(gram, sums, x, frame),
    }
}

/// sums (d) += Σy over the rows y = (x − shift) · factor; returns Σ|y|². Both in f64.
pub fn add_sums(sums: &mut [f64], x: &Rows, frame: &Frame) -> f64 {
    let (n, d) = (x.rows(), x.cols());
    let panel = |i: usize| {
        let mut own = vec![0.0; d];
        let x = x.slice(i * PANEL, ((i + 1) * PANEL).min(n));
        let square: f64 = match frame.placed(&x, &mut own) {
            Rows::Dense(y) => y.data.chunks_exact(d).map(square).sum(),
            Rows::Sparse(y) => {
                let factor = f64::from(frame.factor);
                y.indices.iter().zip(y.values.iter()).for_each(|(&j, &v)| own[j as usize] += f64::from(v) * factor);
                square(&y.values) * factor * factor
            }
        };
        (own, square)
    };
    let parts: Vec<_> = (0..n.div_ceil(PANEL)).into_par_iter().map(panel).collect();
    for (part, _) in &parts {
        sums.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    parts.iter().map(|(_, square)| square).sum()
}

/// product (l×d) += Σ(yqᵀ)ᵀy over the rows y = (x − shift) · factor: the second moments of [`add_gram`] times a block q (l×d),
/// without forming them.
pub fn add_gram_times(product: &mut [f64], x: &Rows, frame: &Frame, q: &Mat) {
    let (n, d, l) = (x.rows(), x.cols(), q.rows);
    if n * d * l == 0 {
        return;
    }
    let transposed = if matches!(x, Rows::Sparse(_)) { q.transpose() } else { Mat::default() };
    // Adding the l×d numbers of a panel to the f64 sums costs more than a panel of few entries.
    let step = if matches!(x, Rows::Sparse(_)) { n.div_ceil(16).clamp(PANEL, PANEL_SPARSE) } else { PANEL };
    fold_panels_of(product, n, step, |from, to, part| {
        let x = x.slice(from, to);
        match frame.placed(&x, &mut vec![0.0; d]) {
            Rows::Dense(y) => {
                let mut w = vec![0f32; (to - from) * l];
                mul_nt(&mut w, &y.data, &q.data, (to - from, d, l), Into::Replace);
                mul_tn(part, &w, &y.data, (l, to - from, d), Into::Replace);
            }
            Rows::Sparse(x) => sparse_times(part, &x, frame.factor, &transposed),
        }
    });
}

/// The same for a panel of sparse rows, with qᵀ (d×l): every entry touches l neighbouring numbers twice.
fn sparse_times(part: &mut [f32], x: &SparseRows, factor: f32, q: &Mat) {
    let l = q.cols;
    let mut out = Mat::zeros(x.cols, l);
    let mut w = vec![0f32; l];
    pulp::Arch::new().dispatch(|| {
        for i in 0..x.rows() {
            let (columns, values) = x.row(i);
            w.fill(0.0);
            for (&j, &v) in columns.iter().zip(values) {
                axpy(&mut w, v * factor, q.row(j as usize));
            }
            for (&j, &v) in columns.iter().zip(values) {
                axpy(out.row_mut(j as usize), v * factor, &w);
            }
        }
    });
    part.copy_from_slice(&out.transpose().data);
}

fn square(v: &[f32]) -> f64 {
    v.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
}

/// What one panel of rows leaves behind, and room for the rows themselves.
struct Part {
    rows: Vec<f32>,
    sums: Vec<f64>,
    gram: Vec<f32>,
}

/// Threads take panels.
fn panels(gram: &mut [f64], sums: &mut [f64], x: &DenseRows, frame: &Frame) {
    let d = x.cols;
    let count = x.rows().div_ceil(PANEL_FEW);
    let wave = (2 * rayon::current_num_threads()).min(count);
    let empty = || Part { rows: vec![0.0; PANEL_FEW.min(x.rows()) * d], sums: vec![0.0; d], gram: vec![0.0; d * d] };
    let mut parts: Vec<Part> = (0..wave).map(|_| empty()).collect();
    for first in (0..count).step_by(wave) {
        let parts = &mut parts[..wave.min(count - first)];
        parts.par_iter_mut().enumerate().with_max_len(1).for_each(|(i, part)| {
            let from = (first + i) * PANEL_FEW * d;
            let x = &x.data[from..x.data.len().min(from + PANEL_FEW * d)];
            let rows = &mut part.rows[..x.len()];
            part.sums.fill(0.0);
            frame.place(x, rows, &mut part.sums);
            let y = MatRef::from_row_major_slice(rows, x.len() / d, d);
            lower(MatMut::from_row_major_slice_mut(&mut part.gram, d, d), y, y);
        });
        gram.par_chunks_mut(d * 32).enumerate().for_each(|(c, gram)| {
            for part in &*parts {
                for (i, (gram, part)) in gram.chunks_exact_mut(d).zip(part.gram[c * d * 32..].chunks_exact(d)).enumerate() {
                    let end = c * 32 + i + 1;
                    add(&mut gram[..end], &part[..end]);
                }
            }
        });
        for part in &*parts {
            sums.iter_mut().zip(&part.sums).for_each(|(s, p)| *s += p);
        }
    }
}

/// Threads take strips of the triangle.
fn strips(gram: &mut [f64], sums: &mut [f64], x: &DenseRows, frame: &Frame) {
    const ROWS: usize = 64;
    let d = x.cols;
    let mut panel = vec![0f32; PANEL_MANY.min(x.rows()) * d];
    for x in x.data.chunks(PANEL_MANY * d) {
        let panel = &mut panel[..x.len()];
        let placed: Vec<Vec<f64>> = panel
            .par_chunks_mut(ROWS * d)
            .zip(x.par_chunks(ROWS * d))
            .map(|(panel, x)| {
                let mut sums = vec![0.0; d];
                frame.place(x, panel, &mut sums);
                sums
            })
            .collect();
        for part in placed {
            sums.iter_mut().zip(&part).for_each(|(s, p)| *s += p);
        }
        let y = MatRef::from_row_major_slice(panel, x.len() / d, d);
        // The longest strips first, so that none is left over at the end.
        gram.par_chunks_mut(STRIP * d).enumerate().rev().with_max_len(1).for_each(|(c, gram)| {
            let (from, rows) = (c * STRIP, gram.len() / d);
            let mut part = vec![0f32; rows * (from + rows)];
            let (left, right) = MatMut::from_row_major_slice_mut(&mut part, rows, from + rows).split_at_col_mut(from);
            let strip = y.subcols(from, rows);
            matmul(left, Accum::Replace, strip.transpose(), y.subcols(0, from), 1.0, Par::Seq);
            lower(right, strip, strip);
            for (i, (gram, part)) in gram.chunks_exact_mut(d).zip(part.chunks_exact(from + rows)).enumerate() {
                add(&mut gram[..=from + i], &part[..=from + i]);
            }
        });
    }
}

/// The lower triangle of out ← aᵀ·b.
fn lower(out: MatMut<f32>, a: MatRef<f32>, b: MatRef<f32>) {
    let all = BlockStructure::Rectangular;
    triangular::matmul(out, BlockStructure::TriangularLower, Accum::Replace, a.transpose(), all, b, all, 1.0, Par::Seq);
}

/// Copies the lower triangle of a (d×d) to the upper one.
pub fn mirror(a: &mut [f64], d: usize) {
    const TILE: usize = 64;
    for from in (0..d).step_by(TILE) {
        // Rows `from..to` take their columns beyond the diagonal tile from the rows below.
        let to = (from + TILE).min(d);
        let (above, below) = a.split_at_mut(to * d);
        for i in from..to {
            for j in i + 1..to {
                above[i * d + j] = above[j * d + i];
            }
        }
        for (t, below) in below.chunks(TILE * d).enumerate() {
            for i in from..to {
                let start = i * d + to + t * TILE;
                for (o, row) in above[start..].iter_mut().zip(below.chunks_exact(d)) {
                    *o = row[i];
                }
            }
        }
    }
}

fn add(into: &mut [f64], part: &[f32]) {
    pulp::Arch::new().dispatch(|| into.iter_mut().zip(part).for_each(|(s, &p)| *s += f64::from(p)));
}

/// Sparse rows: threads take strips, and of each row its entries within them. Products in f64.
fn sparse(gram: &mut [f64], sums: &mut [f64], x: &SparseRows, factor: f32) {
    let d = x.cols;
    let factor = f64::from(factor);
    for (&j, &v) in x.indices.iter().zip(x.values.iter()) {
        sums[j as usize] += f64::from(v) * factor;
    }
    let step = d.div_ceil(64).max(8);
    gram.par_chunks_mut(step * d).enumerate().for_each(|(c, gram)| {
        let from = c * step;
        let strip = from..from + gram.len() / d;
        for i in 0..x.rows() {
            let (columns, values) = x.row(i);
            for (&a, &va) in columns.iter().zip(values).filter(|(a, _)| strip.contains(&(**a as usize))) {
                let va = f64::from(va) * factor * factor;
                let row = &mut gram[(a as usize - from) * d..][..d];
                for (&b, &vb) in columns.iter().zip(values) {
                    row[b as usize] += va * f64::from(vb);
                }
            }
        }
    });
}
