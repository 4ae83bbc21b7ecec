//! Second moments of many rows: Σyyᵀ and Σy over rows y = (x − shift) · factor, in a [`Frame`] that all rows share.
//!
//! Only the lower triangle is computed. Few columns: threads take row panels, whose f32 triangles are added in order. Many
//! columns: threads take strips of the triangle, each of which sees the panels in order; a triangle per thread would not
//! fit. Either way no sum depends on the number of threads, and products are f32 within a panel, f64 over panels.

use super::triangle::{GROUP, RUN, add_strip};
use super::{DenseRows, Into, PANEL, SparseRows, axpy, fold_panels_of, mul_nt, mul_tn, squares};
use crate::mat::{Mat, Rows};
use rayon::prelude::*;

/// Up to this many columns threads take panels, beyond it strips.
const FEW: usize = 768;
/// Rows of a panel where there are few columns: adding a panel's triangle to the f64 sums then costs 3 % of its product.
const PANEL_FEW: usize = 4 * RUN;
/// Rows of a panel where there are many columns: all of it is read once for each strip.
const PANEL_MANY: usize = 8 * RUN;
/// Groups of columns of a strip of the triangle.
const STRIP: usize = 4;
/// Numbers of a panel of the thin products: with very many columns it has fewer rows than [`PANEL`].
const PANEL_NUMBERS: usize = 4 << 20;
/// Most sparse rows of a panel.
const PANEL_SPARSE: usize = 8192;

/// What rows are taken about: one shift a column, and one power of two that keeps squares within the range of f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Subtracted from every row (d).
    pub shift: Vec<f32>,
    /// Then multiplied by this power of two.
    pub factor: f32,
}

impl Frame {
    /// Whether it leaves rows as they are.
    pub fn is_plain(&self) -> bool {
        self.factor == 1.0 && self.shift.iter().all(|s| *s == 0.0)
    }
    /// The frame of a sample: its mean if `center`, and the power of two that brings its root mean square close to 1. Sparse rows
    /// are not shifted: they would not stay sparse.
    pub fn of(sample: &Rows, center: bool) -> Self {
        let d = sample.cols();
        let mut frame = Self { shift: vec![0.0; d], factor: 1.0 };
        let mut total = 0.0;
        match sample {
            Rows::Sparse(x) => total = squares(&x.values),
            Rows::Dense(x) => {
                if center {
                    let mut sums = vec![0f64; d];
                    for row in x.data.chunks_exact(d.max(1)) {
                        sums.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v));
                    }
                    frame.shift = sums.iter().map(|s| (s / x.rows().max(1) as f64) as f32).collect();
                }
                for row in x.data.chunks_exact(d.max(1)) {
                    total += row.iter().zip(&frame.shift).map(|(&v, &s)| (f64::from(v) - f64::from(s)).powi(2)).sum::<f64>();
                }
            }
        }
        frame.factor = (1.0 / power_of_two(total, sample.values().len())) as f32;
        frame
    }

    /// Dense rows moved into the frame (`out`, as long as `x`), their columns added to `sums`.
    fn place(&self, x: &[f32], out: &mut [f32], sums: &mut [f64]) {
        let d = self.shift.len();
        self.each_run(x, sums, |at, row, shift, factor, run| {
            for (((o, &v), &s), sum) in out[at * d..(at + 1) * d].iter_mut().zip(row).zip(shift).zip(run) {
                *o = (v - s) * factor;
                *sum += *o;
            }
        });
    }

    /// The same, with the columns in groups, group after group of (rows × [`GROUP`]); what is left of the last one is zero.
    fn pack(&self, x: &[f32], out: &mut [f32], sums: &mut [f64]) {
        let d = self.shift.len();
        let rows = x.len() / d;
        self.each_run(x, sums, |at, row, shift, factor, run| {
            let columns = row.chunks(GROUP).zip(shift.chunks(GROUP)).zip(run.chunks_mut(GROUP));
            for (g, ((row, shift), run)) in columns.enumerate() {
                let (out, rest) = out[(g * rows + at) * GROUP..][..GROUP].split_at_mut(row.len());
                for (((o, &v), &s), sum) in out.iter_mut().zip(row).zip(shift).zip(run) {
                    *o = (v - s) * factor;
                    *sum += *o;
                }
                rest.fill(0.0);
            }
        });
    }

    /// Calls `each` with every row's place, the row, the shift, the factor, and f32 sums that are added to `sums` every few rows:
    /// sums of so few numbers close to 1 lose nothing in f32.
    #[inline(always)]
    fn each_run(&self, x: &[f32], sums: &mut [f64], mut each: impl FnMut(usize, &[f32], &[f32], f32, &mut [f32])) {
        const ROWS: usize = 64;
        let d = self.shift.len();
        let mut run = vec![0f32; d];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (i, x) in x.chunks(ROWS * d).enumerate() {
                    run.fill(0.0);
                    for (j, row) in x.chunks_exact(d).enumerate() {
                        each(i * ROWS + j, row, &self.shift, self.factor, &mut run);
                    }
                    sums.iter_mut().zip(&run).for_each(|(sum, &r)| *sum += f64::from(r));
                }
            },
        );
    }

    fn shifts(&self) -> bool {
        self.shift.iter().any(|s| *s != 0.0)
    }
}

/// The power of two closest to the root mean square of `count` numbers whose squares sum to `total`; 1 for zeros. It and its inverse
/// are ordinary f32 numbers.
pub(super) fn power_of_two(total: f64, count: usize) -> f64 {
    let mean = total / count.max(1) as f64;
    if mean > 0.0 { (0.5 * mean.log2()).round().clamp(-120.0, 120.0).exp2() } else { 1.0 }
}

/// gram (d×d, lower triangle) += Σyyᵀ and sums (d) += Σy over the rows y = (x − shift) · factor, all in f64.
pub fn add_gram(gram: &mut [f64], sums: &mut [f64], x: &Rows, frame: &Frame) {
    match x {
        _ if x.rows() * x.cols() == 0 => {}
        Rows::Sparse(x) if !frame.shifts() => sparse(gram, sums, x, frame.factor),
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

/// What one panel of rows leaves behind, and room for a run of them.
struct Part {
    packed: Vec<f32>,
    sums: Vec<f64>,
    gram: Vec<f32>,
}

/// Threads take panels.
fn panels(gram: &mut [f64], sums: &mut [f64], x: &DenseRows, frame: &Frame) {
    const LINES: usize = 32;
    let d = x.cols;
    let groups = d.div_ceil(GROUP);
    let width = groups * GROUP;
    let panel = PANEL_FEW * d;
    let wave = rayon::current_num_threads().min(x.data.len().div_ceil(panel));
    let empty = || Part { packed: vec![0.0; RUN * width], sums: vec![0.0; d], gram: vec![0.0; width * width] };
    let mut parts: Vec<Part> = (0..wave).map(|_| empty()).collect();
    for x in x.data.chunks(panel * wave) {
        let parts = &mut parts[..x.len().div_ceil(panel)];
        parts.par_iter_mut().zip(x.par_chunks(panel)).with_max_len(1).for_each(|(part, x)| {
            part.sums.fill(0.0);
            part.gram.fill(0.0);
            for x in x.chunks(RUN * d) {
                let rows = x.len() / d;
                let packed = &mut part.packed[..rows * width];
                frame.pack(x, packed, &mut part.sums);
                add_strip(&mut part.gram, packed, rows, 0..groups);
            }
        });
        gram.par_chunks_mut(LINES * d).enumerate().for_each(|(c, gram)| {
            for part in &*parts {
                add_triangle(gram, &part.gram[c * LINES * width..], d, width, c * LINES);
            }
        });
        for part in &*parts {
            sums.iter_mut().zip(&part.sums).for_each(|(s, p)| *s += p);
        }
    }
}

/// Threads take strips of the triangle.
fn strips(gram: &mut [f64], sums: &mut [f64], x: &DenseRows, frame: &Frame) {
    let d = x.cols;
    let groups = d.div_ceil(GROUP);
    let mut packed = vec![0f32; PANEL_MANY.min(x.rows()) * groups * GROUP];
    for x in x.data.chunks(PANEL_MANY * d) {
        let packed = &mut packed[..x.len() / d * groups * GROUP];
        let runs = packed.par_chunks_mut(RUN * groups * GROUP).zip(x.par_chunks(RUN * d));
        let pack = |(packed, x): (&mut [f32], &[f32])| {
            let mut sums = vec![0.0; d];
            frame.pack(x, packed, &mut sums);
            sums
        };
        for part in runs.map(pack).collect::<Vec<_>>() {
            sums.iter_mut().zip(&part).for_each(|(s, p)| *s += p);
        }
        // The longest strips first, so that none is left over at the end.
        let strips = gram.par_chunks_mut(STRIP * GROUP * d).enumerate().rev().with_max_len(1);
        strips.for_each_init(Vec::new, |part, (c, gram)| {
            let strip = c * STRIP..((c + 1) * STRIP).min(groups);
            let width = strip.end * GROUP;
            part.clear();
            part.resize(strip.len() * GROUP * width, 0f32);
            for packed in packed.chunks(RUN * groups * GROUP) {
                add_strip(part, packed, packed.len() / (groups * GROUP), strip.clone());
            }
            add_triangle(gram, part, d, width, strip.start * GROUP);
        });
    }
}

/// Rows `from..` of a triangle: gram (rows of d) += part (rows of `width`), each up to the diagonal.
fn add_triangle(gram: &mut [f64], part: &[f32], d: usize, width: usize, from: usize) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (i, (gram, part)) in gram.chunks_exact_mut(d).zip(part.chunks_exact(width)).enumerate() {
                gram[..=from + i].iter_mut().zip(part).for_each(|(s, &p)| *s += f64::from(p));
            }
        },
    );
}

/// Sparse rows: threads take strips, and of each row its entries within them. Products in f64; the upper triangle is filled as well.
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

/// product (l×d) += Σ(yqᵀ)ᵀy and sums (d) += Σy over the rows y = (x − shift) · factor, in f64; returns Σ|y|². The product is the
/// second moments of [`add_gram`] times a block q (l×d), without forming them.
pub fn add_gram_times(product: &mut [f64], sums: &mut [f64], x: &Rows, frame: &Frame, q: &Mat) -> f64 {
    let (n, d) = (x.rows(), x.cols());
    match x {
        _ if n * d * q.rows == 0 => 0.0,
        Rows::Dense(x) => thin(product, sums, x, frame, q),
        Rows::Sparse(s) if frame.shifts() => (0..s.rows())
            .step_by(PANEL_FEW)
            .map(|from| {
                let panel = x.slice(from, (from + PANEL_FEW).min(n)).to_mat();
                add_gram_times(product, sums, &panel.view(), frame, q)
            })
            .sum(),
        Rows::Sparse(s) => {
            let factor = f64::from(frame.factor);
            for (&j, &v) in s.indices.iter().zip(s.values.iter()) {
                sums[j as usize] += f64::from(v) * factor;
            }
            // Adding the l×d numbers of a panel to the f64 sums costs more than a panel of few entries.
            let (step, q) = (n.div_ceil(16).clamp(PANEL, PANEL_SPARSE), q.transpose());
            fold_panels_of(product, n, step, |from, to, part| {
                if let Rows::Sparse(x) = x.slice(from, to) {
                    thin_sparse(part, &x, frame.factor, &q);
                }
            });
            squares(&s.values) * factor * factor
        }
    }
}

/// What a panel of rows leaves behind in [`thin`], and room for the rows and their products.
struct Thin {
    rows: Vec<f32>,
    w: Vec<f32>,
    product: Vec<f32>,
    sums: Vec<f64>,
    square: f64,
}

/// Threads take panels.
fn thin(product: &mut [f64], sums: &mut [f64], x: &DenseRows, frame: &Frame, q: &Mat) -> f64 {
    let (d, l) = (x.cols, q.rows);
    let most = (PANEL_NUMBERS / d).clamp(64, PANEL).min(x.rows());
    let wave = rayon::current_num_threads().min(x.rows().div_ceil(most));
    let zeros = |len: usize| vec![0f32; len];
    let empty = || Thin { rows: zeros(most * d), w: zeros(most * l), product: zeros(l * d), sums: vec![0.0; d], square: 0.0 };
    let mut parts: Vec<Thin> = (0..wave).map(|_| empty()).collect();
    let mut square = 0.0;
    for x in x.data.chunks(most * wave * d) {
        let parts = &mut parts[..x.len().div_ceil(most * d)];
        parts.par_iter_mut().zip(x.par_chunks(most * d)).with_max_len(1).for_each(|(part, x)| {
            let n = x.len() / d;
            let y = &mut part.rows[..x.len()];
            part.sums.fill(0.0);
            frame.place(x, y, &mut part.sums);
            part.square = squares(y);
            mul_nt(&mut part.w, y, &q.data, (n, d, l), Into::Replace);
            mul_tn(&mut part.product, &part.w, y, (l, n, d), Into::Replace);
        });
        product.par_chunks_mut(d).enumerate().for_each(|(i, product)| {
            for part in &*parts {
                product.iter_mut().zip(&part.product[i * d..]).for_each(|(s, &p)| *s += f64::from(p));
            }
        });
        for part in &*parts {
            sums.iter_mut().zip(&part.sums).for_each(|(s, p)| *s += p);
            square += part.square;
        }
    }
    square
}

/// A panel of sparse rows, with qᵀ (d×l): every entry touches l neighbouring numbers, twice.
fn thin_sparse(part: &mut [f32], x: &SparseRows, factor: f32, q: &Mat) {
    let mut out = Mat::zeros(q.rows, q.cols);
    let mut w = vec![0f32; q.cols];
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
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
        },
    );
    part.copy_from_slice(&out.transpose().data);
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
