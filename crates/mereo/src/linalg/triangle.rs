//! The lower triangle of yᵀy for a few rows y at a time: a product of a matrix with itself needs half the operations and one
//! packed copy, where a general product packs it twice.
//!
//! Against faer's triangular product on one Zen 4 core, 100,000×384: see `bench/pca.py`.

use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Columns of a group: whole vectors of every width, and whole tiles of 8 or of 6.
pub(super) const GROUP: usize = 48;
/// Rows that are packed and multiplied at a time: a group of them is 48 KiB, read from the second-level cache.
pub(super) const RUN: usize = 256;

/// part += the triangle's rows of the groups `strip` over a run of rows. `packed` holds group after group of (rows × [`GROUP`]);
/// `part` has a row for each column of the strip, as long as all columns up to the strip's end. Beyond the diagonal
/// numbers of no meaning are left.
pub(super) fn add_strip(part: &mut [f32], packed: &[f32], rows: usize, strip: Range<usize>) {
    Arch::new().dispatch(Product { part, packed, rows, strip });
}

struct Product<'a> {
    part: &'a mut [f32],
    packed: &'a [f32],
    rows: usize,
    strip: Range<usize>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many sums as there are registers, less those for the factors: 16 registers of 8 numbers, or 32 of another width.
        if S::F32_LANES == 8 { self.run::<S, 2, 6>(simd) } else { self.run::<S, 3, 8>(simd) }
    }
}

impl Product<'_> {
    /// Tiles of N rows by up to M vectors of the triangle.
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { part, packed, rows, strip } = self;
        let width = strip.end * GROUP;
        let group = |g: usize| &packed[g * rows * GROUP..][..rows * GROUP];
        for j in 0..strip.end {
            let a = S::as_simd_f32s(group(j)).0;
            for i in j.max(strip.start)..strip.end {
                let b = group(i).as_chunks::<GROUP>().0;
                for row in (0..GROUP).step_by(N) {
                    // On the diagonal a row ends at its own column.
                    let vectors = if i == j { (row + N).div_ceil(S::F32_LANES) } else { GROUP / S::F32_LANES };
                    let out = &mut part[((i - strip.start) * GROUP + row) * width..][..N * width];
                    let at = j * (GROUP / S::F32_LANES);
                    let mut v = 0;
                    while v < vectors {
                        let m = (vectors - v).min(M);
                        match m {
                            1 => tile::<S, 1, N>(simd, a, b, v, row, at, out),
                            2 => tile::<S, 2, N>(simd, a, b, v, row, at, out),
                            _ => tile::<S, M, N>(simd, a, b, v, row, at, out),
                        }
                        v += m;
                    }
                }
            }
        }
    }
}

/// One tile, its sums in registers over all rows of the run: vectors `v..v + M` of `a` times columns `row..row + N` of `b`, added to
/// vectors `at + v..` of each of the N rows of `out`.
#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[S::f32s],
    b: &[[f32; GROUP]],
    v: usize,
    row: usize,
    at: usize,
    out: &mut [f32],
) {
    let mut sums = [[simd.splat_f32s(0.0); M]; N];
    for (a, b) in a.chunks_exact(GROUP / S::F32_LANES).zip(b) {
        let (a, b) = (&a[v..v + M], &b[row..row + N]);
        for n in 0..N {
            let b = simd.splat_f32s(b[n]);
            for m in 0..M {
                sums[n][m] = simd.mul_add_e_f32s(a[m], b, sums[n][m]);
            }
        }
    }
    let width = out.len() / N;
    for (out, sums) in out.chunks_exact_mut(width).zip(&sums) {
        let out = &mut S::as_mut_simd_f32s(out).0[at + v..][..M];
        for (o, s) in out.iter_mut().zip(sums) {
            *o = simd.add_f32s(*o, *s);
        }
    }
}
