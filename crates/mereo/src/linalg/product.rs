//! The two products of a factorisation, X·Hᵀ and XᵀW, with few columns and a fixed order of addition.
//!
//! General products choose their blocking by shape, so a row's result can depend on its neighbours. Here every number is a
//! sum in one order, in runs of [`DEPTH`]: a row gives the same bits alone, in any block, on any number of threads. Runs
//! are f32; sums over rows are f64 from run to run, which is what the loss owes its digits to.

use crate::mat::{Rows, SparseRows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Terms that are added in f32 before their sum moves on.
pub(crate) const DEPTH: usize = 256;
/// Columns of a row that are added in f32 before their sum moves on.
const RUN: usize = 512;
/// Rows of a register tile: with four registers a row, 24 sums in flight.
const M: usize = 6;
/// Columns of a packed tile: four registers of AVX-512.
pub(crate) const TILE: usize = 64;
/// Columns are padded to a whole register.
const PAD: usize = 16;

/// The right factor of a product (rows × cols), in tiles of 64 columns, padded and aligned to whole cache lines.
#[derive(Debug)]
pub(crate) struct Packed {
    pub rows: usize,
    pub cols: usize,
    data: Aligned,
}

/// Numbers that start at a cache line.
#[derive(Debug)]
struct Aligned {
    start: usize,
    data: Vec<f32>,
}

impl Aligned {
    fn zeros(len: usize) -> Self {
        Self::of(Vec::new(), len)
    }
    /// Numbers of any value, in room that is there already.
    fn of(mut data: Vec<f32>, len: usize) -> Self {
        data.resize(len + PAD, 0.0);
        let start = data.as_ptr().align_offset(4 * PAD).min(PAD);
        Self { start, data }
    }
    fn get(&self) -> &[f32] {
        &self.data[self.start..]
    }
    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..]
    }
}

impl Packed {
    /// From a row-major matrix (rows × cols).
    pub fn new(from: &[f32], cols: usize) -> Self {
        let rows = from.len().checked_div(cols).unwrap_or(0);
        let mut packed = Self { rows, cols, data: Aligned::zeros(rows * cols.next_multiple_of(PAD)) };
        for tile in 0..cols.div_ceil(TILE) {
            let (at, width) = packed.place(tile);
            let real = width.min(cols - tile * TILE);
            let to = &mut packed.data.get_mut()[at..at + rows * width];
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(cols)) {
                to[..real].copy_from_slice(&from[tile * TILE..][..real]);
            }
        }
        packed
    }

    /// From the transpose of it (cols × rows), row-major.
    pub fn transposed(from: &[f32], rows: usize) -> Self {
        Self::transposed_in(Vec::new(), from, rows)
    }

    /// Numbers that room for rows × cols needs.
    pub fn len(rows: usize, cols: usize) -> usize {
        rows * cols.next_multiple_of(PAD) + PAD
    }

    /// The room of the numbers, for the next one.
    pub fn room(self) -> Vec<f32> {
        self.data.data
    }

    /// [`Packed::transposed`] in the room of another.
    pub fn transposed_in(room: Vec<f32>, from: &[f32], rows: usize) -> Self {
        const RUN: usize = 64;
        let cols = from.len().checked_div(rows).unwrap_or(0);
        let mut packed = Self { rows, cols, data: Aligned::of(room, rows * cols.next_multiple_of(PAD)) };
        for tile in 0..cols.div_ceil(TILE) {
            let (at, width) = packed.place(tile);
            let to = &mut packed.data.get_mut()[at..at + rows * width];
            let real = width.min(cols - tile * TILE);
            to.par_chunks_mut(RUN * width).enumerate().for_each(|(run, to)| {
                to.chunks_exact_mut(width).for_each(|to| to[real..].fill(0.0));
                for (c, from) in from[tile * TILE * rows..].chunks_exact(rows).enumerate().take(width) {
                    let from = &from[run * RUN..];
                    to.iter_mut().skip(c).step_by(width).zip(from).for_each(|(to, v)| *to = *v);
                }
            });
        }
        packed
    }

    /// Where a tile of columns starts, and its padded width.
    fn place(&self, tile: usize) -> (usize, usize) {
        let width = (self.cols - tile * TILE).next_multiple_of(PAD).min(TILE);
        (self.rows * tile * TILE, width)
    }

    fn tile(&self, tile: usize) -> (&[f32], usize) {
        let (at, width) = self.place(tile);
        (&self.data.get()[at..at + self.rows * width], width)
    }
}

/// out (n × b.cols) ← x (n×d) · b (d × b.cols), on this thread. What a row becomes depends on that row alone.
pub(crate) fn rows_times(out: &mut [f32], x: &Rows, b: &Packed) {
    match x {
        Rows::Dense(x) => {
            if out.is_empty() {
                return;
            }
            out.fill(0.0);
            Arch::new().dispatch(Dense { out, x: &x.data, b, tiles: 0..b.cols.div_ceil(TILE), padded: false });
        }
        Rows::Sparse(x) => Arch::new().dispatch(Sparse { out, x, b }),
    }
}

/// into (d×k, f64) += scale · xᵀ·w, with x (n×d) and w (n×k). Rows are added in runs of [`DEPTH`] from the first on.
pub(crate) fn add_transposed(into: &mut [f64], x: &Rows, w: &[f32], k: usize, scale: f64) {
    let d = x.cols();
    if into.is_empty() || w.is_empty() {
        return;
    }
    match x {
        Rows::Dense(x) => {
            into.par_chunks_mut(TILE * k).enumerate().for_each(|(tile, into)| {
                let (first, cols) = (tile * TILE, into.len() / k);
                let mut strip = Strip::new(cols);
                for (x, w) in x.data.chunks(DEPTH * d).zip(w.chunks(DEPTH * k)) {
                    strip.fill(x, d, first, w.len() / k);
                    strip.add(into, w, k, scale);
                }
            });
        }
        Rows::Sparse(x) => {
            let sorted = (0..x.rows()).into_par_iter().all(|i| x.row(i).0.is_sorted());
            let right = Packed::new(w, k);
            // A few spans for each thread; each looks its columns up in every row.
            let span = d.div_ceil(4 * rayon::current_num_threads()).max(64);
            into.par_chunks_mut(span * k).enumerate().for_each(|(s, into)| {
                let first = s * span;
                let cols = into.len() / k;
                for tile in 0..k.div_ceil(TILE) {
                    let (w, width) = right.tile(tile);
                    let mut sums = Aligned::zeros(cols * width);
                    let sums = sums.get_mut();
                    Arch::new().dispatch(Scatter {
                        sums: &mut sums[..cols * width],
                        x,
                        columns: first..first + cols,
                        sorted,
                        w,
                        width,
                    });
                    let at = tile * TILE;
                    let real = width.min(k - at);
                    for (into, sums) in into.chunks_exact_mut(k).zip(sums.chunks_exact(width)) {
                        for (t, &s) in into[at..at + real].iter_mut().zip(sums) {
                            *t += scale * f64::from(s);
                        }
                    }
                }
            });
        }
    }
}

/// into (k×k, f64) += wᵀ·w of w (n×k), in spans of rows that threads share and that are added in order.
pub(crate) fn add_gram(into: &mut [f64], w: &[f32], k: usize) {
    const SPAN: usize = 8 * DEPTH;
    let parts = w.par_chunks(SPAN * k).map(|w| {
        let mut part = vec![0f64; k * k];
        for (tile, part) in part.chunks_mut(TILE * k).enumerate() {
            let (first, cols) = (tile * TILE, part.len() / k);
            let mut strip = Strip::new(cols);
            for w in w.chunks(DEPTH * k) {
                strip.fill(w, k, first, w.len() / k);
                strip.add(part, w, k, 1.0);
            }
        }
        part
    });
    for part in parts.collect::<Vec<_>>() {
        into.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
}

/// sums (columns × width) += xᵀ·w for a span of columns of sparse rows and a packed tile of `w`.
struct Scatter<'a> {
    sums: &'a mut [f32],
    x: &'a SparseRows<'a>,
    columns: std::ops::Range<usize>,
    sorted: bool,
    w: &'a [f32],
    width: usize,
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.width / S::F32_LANES {
            1 => self.rows::<S, 1>(simd),
            2 => self.rows::<S, 2>(simd),
            3 => self.rows::<S, 3>(simd),
            4 => self.rows::<S, 4>(simd),
            // Registers of 8, of 4, and single numbers: tiles are padded to 16.
            6 => self.rows::<S, 6>(simd),
            8 => self.rows::<S, 8>(simd),
            12 => self.rows::<S, 12>(simd),
            16 => self.rows::<S, 16>(simd),
            32 => self.rows::<S, 32>(simd),
            48 => self.rows::<S, 48>(simd),
            _ => self.rows::<S, 64>(simd),
        }
    }
}

impl Scatter<'_> {
    #[inline(always)]
    fn rows<S: Simd, const V: usize>(self, simd: S) {
        let Self { sums, x, columns, sorted, w, .. } = self;
        let (sums, _) = S::as_mut_simd_f32s(sums);
        let (w, _) = S::as_simd_f32s(w);
        for (i, w) in w.chunks_exact(V).enumerate() {
            let (mut at, mut values) = x.row(i);
            if sorted {
                let from = at.partition_point(|&j| (j as usize) < columns.start);
                let to = from + at[from..].partition_point(|&j| (j as usize) < columns.end);
                (at, values) = (&at[from..to], &values[from..to]);
            }
            let Some(w) = w.first_chunk::<V>().copied() else { return };
            for (&j, &v) in at.iter().zip(values) {
                let j = j as usize;
                if columns.contains(&j) {
                    let v = simd.splat_f32s(v);
                    let place = (j - columns.start) * V;
                    for (s, w) in sums[place..place + V].iter_mut().zip(w) {
                        *s = simd.mul_add_e_f32s(v, w, *s);
                    }
                }
            }
        }
    }
}

/// Up to [`DEPTH`] rows of up to [`TILE`] columns, copied together so that the sums over them find everything near.
pub(crate) struct Strip {
    cols: usize,
    width: usize,
    depth: usize,
    data: Aligned,
    sums: Vec<f32>,
}

impl Strip {
    /// Room for `cols` columns.
    pub fn new(cols: usize) -> Self {
        let width = cols.next_multiple_of(PAD);
        Self { cols, width, depth: 0, data: Aligned::zeros(DEPTH * width), sums: Vec::new() }
    }

    /// Starts anew with `depth` rows, to be written: each has [`Strip::width`] numbers, of which those past `cols` stay 0.
    pub fn rows(&mut self, depth: usize) -> std::slice::ChunksExactMut<'_, f32> {
        self.depth = depth;
        self.data.get_mut()[..depth * self.width].chunks_exact_mut(self.width)
    }

    /// Copies `depth` rows' columns from `first` on out of rows of `d` numbers.
    fn fill(&mut self, x: &[f32], d: usize, first: usize, depth: usize) {
        let cols = self.cols;
        for (to, x) in self.rows(depth).zip(x.chunks_exact(d)) {
            let x = &x[first..first + cols];
            // Of a known length this is a few moves, else a call.
            match (to.first_chunk_mut::<TILE>(), x.first_chunk::<TILE>()) {
                (Some(to), Some(x)) => *to = *x,
                _ => to[..cols].copy_from_slice(x),
            }
        }
    }

    /// All rows at once, as [`Strip::rows`] gives them.
    pub fn all(&mut self, depth: usize) -> &mut [f32] {
        self.depth = depth;
        &mut self.data.get_mut()[..depth * self.width]
    }

    /// Numbers from row to row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// into (cols × k) += scale · stripᵀ·w, with w (depth × k), on this thread.
    pub fn add(&mut self, into: &mut [f64], w: &[f32], k: usize, scale: f64) {
        let (width, b) = (self.width, &self.data.get()[..self.depth * self.width]);
        self.sums.resize(k.max(M) * width, 0.0);
        if k < M {
            let wider: Vec<f32> = w.chunks_exact(k).flat_map(|w| (0..M).map(|a| w.get(a).copied().unwrap_or(0.0))).collect();
            Arch::new().dispatch(Transposed { sums: &mut self.sums, b, width, w: &wider, k: M });
        } else {
            Arch::new().dispatch(Transposed { sums: &mut self.sums, b, width, w, k });
        }
        let sums = &self.sums;
        Arch::new().dispatch(|| {
            for (j, into) in into.chunks_exact_mut(k).enumerate().take(self.cols) {
                for (a, t) in into.iter_mut().enumerate() {
                    *t += scale * f64::from(sums[a * width + j]);
                }
            }
        });
    }
}

struct Transposed<'a> {
    sums: &'a mut [f32],
    b: &'a [f32],
    width: usize,
    w: &'a [f32],
    k: usize,
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, b, width, w, k } = self;
        for at in (0..k).step_by(M) {
            // The last columns may be formed twice rather than some that are not there.
            let first = at.min(k - M);
            let sums = &mut sums[first * width..(first + M) * width];
            wide(simd, b, width, &down(w, k, first), |m, c, sum| sums[m * width + c..][..sum.len()].copy_from_slice(sum));
        }
    }
}

/// One tile of columns: out (n × width) ← x (n × b.rows, dense) · those columns of `b`, on this thread; the width is that
/// of a [`Strip`] of as many columns.
pub(crate) fn rows_times_tile(out: &mut [f32], x: &[f32], b: &Packed, tile: usize) {
    out.fill(0.0);
    Arch::new().dispatch(Dense { out, x, b, tiles: tile..tile + 1, padded: true });
}

struct Dense<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    b: &'a Packed,
    /// Tiles of columns of `b` that `out` has room for.
    tiles: std::ops::Range<usize>,
    /// Whether rows of `out` have room for the padding.
    padded: bool,
}

impl WithSimd for Dense<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, x, b, tiles, padded } = self;
        let d = b.rows;
        let first = tiles.start * TILE;
        let k = b.cols.min(tiles.end * TILE) - first;
        let k = if padded { k.next_multiple_of(PAD) } else { k };
        for tile in tiles {
            let (data, width) = b.tile(tile);
            let column = tile * TILE - first;
            for from in (0..d).step_by(RUN) {
                let depth = RUN.min(d - from);
                let b = &data[from * width..(from + depth) * width];
                for (x, out) in x.chunks(M * d).zip(out.chunks_mut(M * k)) {
                    let last = x.len() / d - 1;
                    // Rows that are not there are computed as copies of the last one.
                    let rows: [&[f32]; M] = std::array::from_fn(|m| &x[m.min(last) * d + from..][..depth]);
                    wide(simd, b, width, &across(rows), |m, c, sum| {
                        if m <= last {
                            let (at, left) = (m * k + column + c, k.saturating_sub(column + c));
                            if left >= S::F32_LANES {
                                out[at..][..S::F32_LANES].iter_mut().zip(sum).for_each(|(o, s)| *o += s);
                            } else if left > 0 {
                                out[at..][..left].iter_mut().zip(sum).for_each(|(o, s)| *o += s);
                            }
                        }
                    });
                }
            }
        }
    }
}

/// M numbers of the left factor for each term of a sum, from M rows. An iterator that can't fail keeps the sums in registers.
#[inline(always)]
fn across(x: [&[f32]; M]) -> impl Iterator<Item = [f32; M]> + Clone {
    let pairs = x[0].iter().zip(x[1]).zip(x[2].iter().zip(x[3])).zip(x[4].iter().zip(x[5]));
    pairs.map(|(((a, b), (c, d)), (e, f))| [*a, *b, *c, *d, *e, *f])
}

/// The same from M neighbouring columns, the first of which is `first`, of a row-major matrix with k ≥ M columns.
#[inline(always)]
fn down(w: &[f32], k: usize, first: usize) -> impl Iterator<Item = [f32; M]> + Clone {
    w[first..].chunks(k).map_while(|row| row.first_chunk::<M>().copied())
}

/// Sums over all rows of `b` (depth × width) for M rows of the left factor; `put(row, column, sums)` receives them by register.
#[inline(always)]
fn wide<S: Simd>(
    simd: S,
    b: &[f32],
    width: usize,
    left: &(impl Iterator<Item = [f32; M]> + Clone),
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    let (b, _) = S::as_simd_f32s(b);
    let stride = width / S::F32_LANES;
    let mut at = 0;
    while at < stride {
        // AVX-512 and NEON have 32 registers, AVX2 has 16.
        at += match (stride - at).min(if S::F32_LANES == 8 { 2 } else { 4 }) {
            4 => narrow::<S, 4>(simd, b, stride, at, left.clone(), &mut put),
            3 => narrow::<S, 3>(simd, b, stride, at, left.clone(), &mut put),
            2 => narrow::<S, 2>(simd, b, stride, at, left.clone(), &mut put),
            _ => narrow::<S, 1>(simd, b, stride, at, left.clone(), &mut put),
        };
    }
}

#[inline(always)]
fn narrow<S: Simd, const V: usize>(
    simd: S,
    b: &[S::f32s],
    stride: usize,
    at: usize,
    left: impl Iterator<Item = [f32; M]>,
    put: &mut impl FnMut(usize, usize, &[f32]),
) -> usize {
    let mut sum = [[simd.splat_f32s(0.0); V]; M];
    for (b, a) in b[at..].chunks(stride).map_while(|b| b.first_chunk::<V>()).zip(left) {
        for m in 0..M {
            let a = simd.splat_f32s(a[m]);
            for v in 0..V {
                sum[m][v] = simd.mul_add_e_f32s(a, b[v], sum[m][v]);
            }
        }
    }
    for (m, sum) in sum.iter().enumerate() {
        for (v, sum) in sum.iter().enumerate() {
            put(m, (at + v) * S::F32_LANES, bytemuck::cast_slice(std::slice::from_ref(sum)));
        }
    }
    V
}

struct Sparse<'a> {
    out: &'a mut [f32],
    x: &'a SparseRows<'a>,
    b: &'a Packed,
}

impl WithSimd for Sparse<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, x, b } = self;
        let k = b.cols;
        for tile in 0..k.div_ceil(TILE) {
            let (data, width) = b.tile(tile);
            let (data, _) = S::as_simd_f32s(data);
            let stride = width / S::F32_LANES;
            let at = tile * TILE;
            let real = width.min(k - at);
            let mut sums = [0f32; TILE];
            for (i, out) in out.chunks_exact_mut(k).enumerate() {
                let row = x.row(i);
                let mut from = 0;
                while from < stride {
                    let sums = &mut sums[from * S::F32_LANES..];
                    from += match stride - from {
                        1 => gather::<S, 1>(simd, row, data, (stride, from), sums),
                        2 => gather::<S, 2>(simd, row, data, (stride, from), sums),
                        3 => gather::<S, 3>(simd, row, data, (stride, from), sums),
                        _ => gather::<S, 4>(simd, row, data, (stride, from), sums),
                    };
                }
                out[at..at + real].copy_from_slice(&sums[..real]);
            }
        }
    }
}

/// V registers of a sparse row times a packed tile of registers, `stride` to a row, from the one numbered `at` on.
#[inline(always)]
fn gather<S: Simd, const V: usize>(
    simd: S,
    (columns, values): (&[u32], &[f32]),
    data: &[S::f32s],
    (stride, at): (usize, usize),
    sums: &mut [f32],
) -> usize {
    let mut sum = [simd.splat_f32s(0.0); V];
    for (&j, &v) in columns.iter().zip(values) {
        let v = simd.splat_f32s(v);
        if let Some(b) = data[j as usize * stride + at..].first_chunk::<V>() {
            for c in 0..V {
                sum[c] = simd.mul_add_e_f32s(v, b[c], sum[c]);
            }
        }
    }
    for (v, sum) in sum.iter().enumerate() {
        sums[v * S::F32_LANES..][..S::F32_LANES].copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(sum)));
    }
    V
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::Mat;
    use crate::tests::{random, sparse};

    /// Half of the numbers are 0.
    fn positive(rows: usize, cols: usize, seed: u64) -> Mat {
        let mut m = random(rows, cols, seed);
        m.data.iter_mut().for_each(|v| *v = v.max(0.0));
        m
    }

    #[test]
    fn products_agree_with_plain_loops() {
        for (n, d, k) in [(1, 1, 1), (7, 300, 3), (13, 17, 16), (300, 29, 49), (40, 600, 64), (9, 100, 130)] {
            let (x, h, w) = (positive(n, d, 1), positive(d, k, 2), positive(n, k, 3));
            let csr = sparse(&x);
            for rows in [x.view(), csr.view()] {
                let mut out = vec![f32::NAN; n * k];
                rows_times(&mut out, &rows, &Packed::new(&h.data, k));
                for (at, o) in out.iter().enumerate() {
                    let want: f64 = (0..d).map(|j| f64::from(x.row(at / k)[j]) * f64::from(h.row(j)[at % k])).sum();
                    assert!((f64::from(*o) - want).abs() <= 1e-6 * want, "{n}×{d}×{k} at {at}: {o} {want}");
                }
                let mut into = vec![1.0; d * k];
                add_transposed(&mut into, &rows, &w.data, k, 0.5);
                for (at, o) in into.iter().enumerate() {
                    let want: f64 = (0..n).map(|i| f64::from(x.row(i)[at / k]) * f64::from(w.row(i)[at % k])).sum();
                    assert!((o - 1.0 - 0.5 * want).abs() <= 1e-6 * want, "{n}×{d}×{k} at {at}: {o} {want}");
                }
            }
        }
    }

    #[test]
    fn a_transpose_is_packed_as_the_matrix() {
        for (rows, cols) in [(1, 1), (300, 3), (65, 130), (64, 64), (7, 80)] {
            let m = positive(rows, cols, 4);
            let (a, b) = (Packed::new(&m.data, cols), Packed::transposed(&m.transpose().data, rows));
            assert_eq!((a.rows, a.cols), (b.rows, b.cols));
            for tile in 0..cols.div_ceil(TILE) {
                assert_eq!(a.tile(tile), b.tile(tile));
            }
        }
    }

    #[test]
    fn a_row_gives_the_same_bits_in_any_company() {
        let (n, d, k) = (23, 700, 49);
        let (x, h) = (positive(n, d, 1), Packed::new(&positive(d, k, 2).data, k));
        let mut together = vec![0.0; n * k];
        rows_times(&mut together, &x.view(), &h);
        for i in 0..n {
            let mut alone = vec![0.0; k];
            rows_times(&mut alone, &x.view().slice(i, i + 1), &h);
            assert_eq!(alone, together[i * k..(i + 1) * k]);
        }
    }
}
