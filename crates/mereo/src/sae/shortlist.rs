//! Which latents can be alive on a row, without the n-wide row that would say it.
//!
//! W and the rows are rounded to 16 bits, each by a scale of its own, and multiplied in whole numbers: twice as many products a cycle as in
//! f32, and more digits than bf16 has. By Cauchy and Schwarz no sum leaves 32 bits, since |x| |w| < 2³¹ after scaling, and what rounding can do to a
//! product is bounded by |x| |δw| + |δx| |w|, with every δ known. So all latents that may be among the k largest, or above a threshold, are
//! found for certain; whoever asks computes those few in f32. What is found depends on no tile, panel, thread or machine.
//!
//! Tiles of 16 latents lie in memory pair by pair: numbers 2p and 2p + 1 of each latent side by side, as the multiply-and-add of the processor
//! wants them. A register tile is 4 rows by 16 latents; what it finds is compared with each row's bound on the spot.

use crate::linalg::lanes;
use crate::spare::Spare;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Latents of a tile.
pub(super) const TILE: usize = 16;
/// Rows of a register tile.
const ROWS: usize = 4;
/// Pairs of a tile that stay in a core's first cache while rows pass by: 24 KB.
const NEAR: usize = 384;
/// Added to a number below 2²² this leaves the nearest whole number in the last bits.
const WHOLE: f32 = 12_582_912.0;
/// The largest 16-bit number.
const TOP: f32 = 32767.0;
/// Of the square root of 2³¹, what a scaled row's length may be.
const LENGTH: f32 = 46340.0;

/// W (n×d) in 16 bits.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    n: usize,
    d: usize,
    /// Tiles of ⌈d/2⌉ × 16 pairs.
    tiles: Vec<[i32; TILE]>,
    /// Of every latent: its scale, |w|, and |w − scale · rounded|.
    marks: Vec<[f32; 3]>,
}

/// One tile and its marks, to be written.
pub(super) struct Tile<'a> {
    tile: &'a mut [[i32; TILE]],
    marks: &'a mut [[f32; 3]],
}

impl Tile<'_> {
    /// Puts row `at` of the tile there.
    #[inline(always)]
    pub fn put<S: Simd>(&mut self, simd: S, at: usize, w: &[f32], rounded: &mut [i16]) {
        self.marks[at] = round_in(simd, w, rounded);
        let (pairs, rest) = rounded.as_chunks::<2>();
        for (to, pair) in self.tile.iter_mut().zip(pairs) {
            to[at] = pair_of(pair[0], pair[1]);
        }
        if let ([last], Some(to)) = (rest, self.tile.last_mut()) {
            to[at] = pair_of(*last, 0);
        }
    }
}

struct Put<'a, 'b>(&'a mut Tile<'b>, usize, &'a [f32], &'a mut [i16]);

impl WithSimd for Put<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.put(simd, self.1, self.2, self.3);
    }
}

/// Rounds a row; its scale, its length, and the length of what rounding took off.
fn round(v: &[f32], to: &mut [i16]) -> [f32; 3] {
    struct Round<'a>(&'a [f32], &'a mut [i16]);
    impl WithSimd for Round<'_> {
        type Output = [f32; 3];
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [f32; 3] {
            round_in(simd, self.0, self.1)
        }
    }
    Arch::new().dispatch(Round(v, to))
}

#[inline(always)]
fn pair_of(a: i16, b: i16) -> i32 {
    i32::from(a) & 0xffff | (i32::from(b) << 16)
}

/// [`round`], inlined.
#[inline(always)]
fn round_in<S: Simd>(simd: S, v: &[f32], to: &mut [i16]) -> [f32; 3] {
    let length = lanes::dot_in(simd, v, v).sqrt();
    let mut tops = [0f32; 8];
    let (runs, rest) = v.as_chunks::<8>();
    runs.iter().for_each(|v| tops.iter_mut().zip(v).for_each(|(t, v)| *t = if v.abs() > *t { v.abs() } else { *t }));
    let top = rest.iter().chain(&tops).fold(0f32, |top, v| top.max(v.abs()));
    let scale = (length / (LENGTH - 2.0 - (v.len() as f32).sqrt() / 2.0)).max(top / TOP);
    if !(scale.is_finite() && scale > f32::MIN_POSITIVE) {
        to.fill(0);
        return [0.0, length, length];
    }
    let by = 1.0 / scale;
    let mut off = 0f32;
    for (to, v) in to.iter_mut().zip(v) {
        *to = (v * by + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()) as i16;
    }
    let mut sums = [0f32; 8];
    let ((runs, rest), (rounded, last)) = (v.as_chunks::<8>(), to.as_chunks::<8>());
    for (v, r) in runs.iter().zip(rounded) {
        for i in 0..8 {
            let e = v[i] - f32::from(r[i]) * scale;
            sums[i] += e * e;
        }
    }
    for (v, r) in rest.iter().zip(last) {
        let e = v - f32::from(*r) * scale;
        off += e * e;
    }
    off += sums.iter().sum::<f32>();
    // Sums of many small squares may lose a few digits.
    [scale, length, off.sqrt() * 1.01]
}

impl Packed {
    /// Room for n latents in d dimensions, all zeros.
    pub fn zeros(n: usize, d: usize) -> Self {
        let tiles = n.div_ceil(TILE);
        Self { n, d, tiles: vec![[0; TILE]; tiles * d.div_ceil(2)], marks: vec![[0.0; 3]; tiles * TILE] }
    }

    /// The tiles, to be written side by side.
    pub fn tiles_mut(&mut self) -> impl IndexedParallelIterator<Item = Tile<'_>> {
        let pairs = self.d.div_ceil(2).max(1);
        self.tiles.par_chunks_mut(pairs).zip(self.marks.par_chunks_mut(TILE)).map(|(tile, marks)| Tile { tile, marks })
    }

    /// From a matrix (n×d).
    pub fn of(w: &[f32], d: usize) -> Self {
        let mut packed = Self::zeros(w.len() / d.max(1), d);
        packed.tiles_mut().zip(w.par_chunks(TILE * d.max(1))).for_each(|(mut tile, w)| {
            let mut rounded = vec![0i16; d];
            w.chunks_exact(d).enumerate().for_each(|(at, w)| Arch::new().dispatch(Put(&mut tile, at, w, &mut rounded)));
        });
        packed
    }

    /// |w| of a latent.
    pub fn length(&self, j: usize) -> f32 {
        self.marks[j][1]
    }

    fn pairs(&self) -> usize {
        self.d.div_ceil(2)
    }
}

/// What is asked of every row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    /// All that may be among the k largest of those above zero.
    Largest(usize),
    /// All that may be above a threshold of their own.
    Above(&'a [f32]),
    /// All that may be the largest of one of k groups of neighbours, and above zero.
    LargestOf(usize),
}

/// For each row of `x` (rows × d, from which b was taken off): the latents that may be what is asked for, in rising order.
pub(super) fn find(w: &Packed, bias: &[f32], x: &[f32], ask: Ask, spare: &Spare) -> Vec<Vec<u32>> {
    let d = w.d.max(1);
    let rows = x.len() / d;
    let longest = w.marks.iter().fold([0f32; 2], |top, m| [top[0].max(m[1]), top[1].max(m[2])]);
    let marks = Marks::new(w, bias, &ask);
    let largest_bias = bias.iter().fold(0f32, |top, b| top.max(b.abs()));
    // Whole groups of rows for each thread; it matters to nothing but speed.
    let panel = rows.div_ceil(rayon::current_num_threads()).next_multiple_of(ROWS).clamp(ROWS, 768);
    let panels: Vec<Vec<Vec<u32>>> = x
        .par_chunks(panel * d)
        .map(|x| {
            let rows = x.len() / d;
            let padded = rows.next_multiple_of(ROWS);
            let mut room = spare.take(padded * w.pairs());
            let pairs: &mut [i32] = bytemuck::cast_slice_mut(&mut room);
            pairs[rows * w.pairs()..].fill(0);
            let mut rounded = vec![0i16; d + d % 2];
            let mut lists = Vec::with_capacity(padded);
            for (x, to) in x.chunks_exact(d).zip(pairs.chunks_exact_mut(w.pairs().max(1))) {
                let [scale, length, off] = round(x, &mut rounded[..d]);
                to.iter_mut().zip(rounded.as_chunks::<2>().0).for_each(|(to, p)| *to = pair_of(p[0], p[1]));
                let error = length * longest[1] + off * (longest[0] + longest[1]) + 2e-6 * (length * longest[0] + largest_bias);
                lists.push(List::new(scale, error, &ask));
            }
            lists.resize_with(padded, || List::closed(&ask));
            Search { w, marks: &marks, pairs, lists: &mut lists }.run();
            spare.give(room);
            lists.truncate(rows);
            if let Ask::LargestOf(k) = ask {
                lists.iter_mut().for_each(|list| list.best_of_groups((w.n / k.max(1)).max(1) as u32));
            }
            lists.into_iter().map(List::end).collect()
        })
        .collect();
    panels.into_iter().flatten().collect()
}

/// What was found for a row so far.
struct List {
    /// Of the row.
    scale: f32,
    /// How far a product may be off.
    error: f32,
    /// Those at or above it are kept.
    least: f32,
    /// Wanted at most, and kept before they are sorted out.
    most: usize,
    room: usize,
    found: Vec<(f32, u32)>,
}

impl List {
    fn new(scale: f32, error: f32, ask: &Ask) -> Self {
        match ask {
            Ask::Largest(k) => {
                Self { scale, error, least: -error, most: *k, room: 4 * k + 64, found: Vec::with_capacity(4 * k + 80) }
            }
            Ask::Above(_) | Ask::LargestOf(_) => {
                Self { scale, error, least: -error, most: usize::MAX, room: usize::MAX, found: Vec::new() }
            }
        }
    }
    /// Of a row that isn't there.
    fn closed(ask: &Ask) -> Self {
        Self { least: f32::INFINITY, found: Vec::new(), ..Self::new(0.0, 0.0, ask) }
    }

    /// Lets go of what can't be among the largest any more.
    fn sort_out(&mut self) {
        if self.found.len() > self.most {
            let (_, kth, _) = self.found.select_nth_unstable_by(self.most - 1, |a, b| b.0.total_cmp(&a.0));
            let least = (kth.0 - 2.0 * self.error).max(self.least);
            self.least = least;
            self.found.retain(|f| f.0 >= least);
            // Many alike: there is no telling them apart here.
            self.room = self.room.max(2 * self.found.len());
        }
    }

    #[cold]
    #[inline(never)]
    fn push(&mut self, mut mask: u32, first: usize, z: &[f32; TILE]) {
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            self.found.push((z[at], (first + at) as u32));
            mask &= mask - 1;
        }
        if self.found.len() > self.room {
            self.sort_out();
        }
    }

    /// Keeps what may be the largest of its group. Latents came in rising order.
    fn best_of_groups(&mut self, width: u32) {
        let error = self.error;
        let groups = self.found.chunk_by(|a, b| a.1 / width == b.1 / width);
        self.found = groups
            .flat_map(|group| {
                let top = group.iter().fold(f32::NEG_INFINITY, |top, f| top.max(f.0));
                group.iter().copied().filter(move |f| f.0 >= top - 2.0 * error)
            })
            .collect();
    }

    fn end(mut self) -> Vec<u32> {
        self.sort_out();
        let mut latents: Vec<u32> = self.found.iter().map(|f| f.1).collect();
        latents.sort_unstable();
        latents
    }
}

struct Search<'a> {
    w: &'a Packed,
    marks: &'a Marks,
    pairs: &'a [i32],
    lists: &'a mut [List],
}

impl Search<'_> {
    fn run(self) {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            return simd.vectorize(Avx2 { simd, search: self });
        }
        self.walk(portable, compare);
    }

    /// Every tile with every group of rows, a run of pairs after the other; `product` adds to the sums of one of them and the other.
    #[inline(always)]
    fn walk(
        self,
        product: impl Fn([&[i32]; ROWS], &[[i32; TILE]], Sums) -> Sums,
        compare: impl Fn(&[i32; TILE], &[f32; TILE], &[f32; TILE], &[f32; TILE], &List) -> ([f32; TILE], u32),
    ) {
        let (pairs, groups) = (self.w.pairs(), self.lists.len() / ROWS);
        if pairs == 0 {
            return;
        }
        let mut sums = vec![[[0; TILE]; ROWS]; if pairs > NEAR { groups } else { 0 }];
        let Marks { scale, bias, from } = self.marks;
        for tile in 0..self.w.n.div_ceil(TILE) {
            let w = &self.w.tiles[tile * pairs..(tile + 1) * pairs];
            for (at, w) in w.chunks(NEAR).enumerate() {
                let run = at * NEAR..at * NEAR + w.len();
                for (group, (x, lists)) in
                    self.pairs.chunks_exact(ROWS * pairs).zip(self.lists.chunks_exact_mut(ROWS)).enumerate()
                {
                    let x: [&[i32]; ROWS] = std::array::from_fn(|m| &x[m * pairs..][run.clone()]);
                    let before = if at > 0 { sums[group] } else { [[0; TILE]; ROWS] };
                    let now = product(x, w, before);
                    if run.end < pairs {
                        sums[group] = now;
                        continue;
                    }
                    for (sums, list) in now.iter().zip(lists) {
                        let (z, mask) = compare(sums, &scale[tile], &bias[tile], &from[tile], list);
                        if mask != 0 {
                            list.push(mask, tile * TILE, &z);
                        }
                    }
                }
            }
        }
    }
}

/// The sums of 4 rows with 16 latents.
type Sums = [[i32; TILE]; ROWS];

/// Of every latent, a tile's numbers side by side: its scale, its bias (−∞ where there is no latent), and its threshold.
struct Marks {
    scale: Vec<[f32; TILE]>,
    bias: Vec<[f32; TILE]>,
    from: Vec<[f32; TILE]>,
}

impl Marks {
    fn new(w: &Packed, bias: &[f32], ask: &Ask) -> Self {
        let tiles = w.n.div_ceil(TILE);
        let mut marks = Self {
            scale: vec![[0.0; TILE]; tiles],
            bias: vec![[f32::NEG_INFINITY; TILE]; tiles],
            from: vec![[0.0; TILE]; tiles],
        };
        for j in 0..w.n {
            let (tile, at) = (j / TILE, j % TILE);
            (marks.scale[tile][at], marks.bias[tile][at]) = (w.marks[j][0], bias[j]);
            if let Ask::Above(theta) = ask {
                marks.from[tile][at] = theta[j].max(0.0);
            }
        }
        marks
    }
}

/// Compares the sums of a row and a tile with the row's bound: products, and a bit for each that is kept.
#[inline(always)]
fn compare(sums: &[i32; TILE], scale: &[f32; TILE], bias: &[f32; TILE], from: &[f32; TILE], list: &List) -> ([f32; TILE], u32) {
    let mut z = [0f32; TILE];
    let mut mask = 0;
    for at in 0..TILE {
        z[at] = sums[at] as f32 * (scale[at] * list.scale) + bias[at];
        mask |= u32::from(z[at] - from[at] >= list.least) << at;
    }
    (z, mask)
}

#[inline(always)]
fn portable(x: [&[i32]; ROWS], w: &[[i32; TILE]], mut sums: Sums) -> Sums {
    for (p, w) in w.iter().enumerate() {
        for (sums, x) in sums.iter_mut().zip(x) {
            let (a, b) = (i32::from(x[p] as i16), x[p] >> 16);
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = sum.wrapping_add(a * i32::from(*w as i16)).wrapping_add(b * (w >> 16));
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
struct Avx2<'a> {
    simd: pulp::x86::V3,
    search: Search<'a>,
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Avx2<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let simd = self.simd;
        self.search.walk(
            #[inline(always)]
            |x, w, sums| pairs_avx2(simd, x, w, sums),
            #[inline(always)]
            |sums, scale, bias, from, list| compare_avx2(simd, sums, scale, bias, from, list),
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pairs_avx2(simd: pulp::x86::V3, x: [&[i32]; ROWS], w: &[[i32; TILE]], sums: Sums) -> Sums {
    use std::arch::x86_64::__m256i;
    let mut sums: [[__m256i; 2]; ROWS] = bytemuck::cast(sums);
    let (twos, rest) = w.as_chunks::<2>();
    let ((a, e), (b, f)) = (x[0].as_chunks::<2>(), x[1].as_chunks::<2>());
    let ((c, g), (d, h)) = (x[2].as_chunks::<2>(), x[3].as_chunks::<2>());
    for (w, ((a, b), (c, d))) in twos.iter().zip(a.iter().zip(b).zip(c.iter().zip(d))) {
        add_avx2(simd, &mut sums, &w[0], [a[0], b[0], c[0], d[0]]);
        add_avx2(simd, &mut sums, &w[1], [a[1], b[1], c[1], d[1]]);
    }
    if let ([w], [e], [f], [g], [h]) = (rest, e, f, g, h) {
        add_avx2(simd, &mut sums, w, [*e, *f, *g, *h]);
    }
    bytemuck::cast(sums)
}

/// Adds one pair of numbers of each. Four rows by two registers leave room for what is read; a pair of steps halves the count of the loop.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn add_avx2(simd: pulp::x86::V3, sums: &mut [[std::arch::x86_64::__m256i; 2]; ROWS], w: &[i32; TILE], x: [i32; ROWS]) {
    let w: [std::arch::x86_64::__m256i; 2] = bytemuck::cast(*w);
    for (sums, x) in sums.iter_mut().zip(x) {
        let x = simd.avx._mm256_set1_epi32(x);
        sums[0] = simd.avx2._mm256_add_epi32(sums[0], simd.avx2._mm256_madd_epi16(x, w[0]));
        sums[1] = simd.avx2._mm256_add_epi32(sums[1], simd.avx2._mm256_madd_epi16(x, w[1]));
    }
}

/// [`compare`], to the bit.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn compare_avx2(
    simd: pulp::x86::V3,
    sums: &[i32; TILE],
    scale: &[f32; TILE],
    bias: &[f32; TILE],
    from: &[f32; TILE],
    list: &List,
) -> ([f32; TILE], u32) {
    use std::arch::x86_64::{__m256, __m256i, _CMP_GE_OQ};
    let avx = simd.avx;
    let (by, least) = (avx._mm256_set1_ps(list.scale), avx._mm256_set1_ps(list.least));
    let sums: [__m256i; 2] = bytemuck::cast(*sums);
    let (scale, bias, from): ([__m256; 2], [__m256; 2], [__m256; 2]) =
        (bytemuck::cast(*scale), bytemuck::cast(*bias), bytemuck::cast(*from));
    let mut mask = 0;
    let mut z = [by; 2];
    for half in 0..2 {
        let product = avx._mm256_mul_ps(avx._mm256_cvtepi32_ps(sums[half]), avx._mm256_mul_ps(scale[half], by));
        z[half] = avx._mm256_add_ps(product, bias[half]);
        let kept = avx._mm256_cmp_ps::<_CMP_GE_OQ>(avx._mm256_sub_ps(z[half], from[half]), least);
        mask |= (avx._mm256_movemask_ps(kept) as u32) << (8 * half);
    }
    (bytemuck::cast(z), mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::rng;

    fn random(len: usize, seed: u64, heavy: bool) -> Vec<f32> {
        let mut r = rng(seed, 3, 0);
        (0..len).map(|_| if heavy { r.normal().powi(5) } else { r.normal() } as f32).collect()
    }

    fn plain(w: &[f32], bias: &[f32], x: &[f32], d: usize) -> Vec<Vec<f32>> {
        let row = |x: &[f32]| w.chunks_exact(d).zip(bias).map(|(w, b)| lanes::dot(x, w) + b).collect();
        x.chunks_exact(d).map(row).collect()
    }

    #[test]
    fn no_product_leaves_its_bound_and_none_of_the_largest_is_missed() {
        for (n, d, rows, heavy) in
            [(100, 64, 13, false), (37, 7, 6, false), (333, 129, 20, true), (16, 1, 1, false), (700, 384, 31, true)]
        {
            let (w, x, bias) = (random(n * d, 1, heavy), random(rows * d, 2, heavy), random(n, 3, false));
            let packed = Packed::of(&w, d);
            let z = plain(&w, &bias, &x, d);
            for k in [1, 5, 16, n] {
                let k = k.min(n);
                let found = find(&packed, &bias, &x, Ask::Largest(k), &Spare::default());
                assert_eq!(found.len(), rows);
                for (found, z) in found.iter().zip(&z) {
                    let mut order: Vec<u32> = (0..n as u32).filter(|j| z[*j as usize] > 0.0).collect();
                    order.sort_by(|a, b| z[*b as usize].total_cmp(&z[*a as usize]));
                    assert!(order.iter().take(k).all(|j| found.binary_search(j).is_ok()), "{n} {d} {k}");
                    assert!(found.is_sorted() && found.len() < k + 8 + n / 8, "{} of {n} for {k}", found.len());
                }
            }
            let theta: Vec<f32> = random(n, 4, false).iter().map(|t| t * (d as f32).sqrt()).collect();
            for (found, z) in find(&packed, &bias, &x, Ask::Above(&theta), &Spare::default()).iter().zip(&z) {
                for j in 0..n {
                    if z[j] > theta[j].max(0.0) {
                        assert!(found.binary_search(&(j as u32)).is_ok(), "{n} {d} {j}");
                    }
                }
                let over = found.iter().filter(|j| z[**j as usize] <= theta[**j as usize].max(0.0)).count();
                assert!(over <= 2 + n / if heavy { 8 } else { 20 }, "{over} of {n} too many");
            }
        }
    }

    #[test]
    fn whole_numbers_are_the_same_on_every_machine() {
        let (d, n) = (51, 16);
        let (w, x) = (random(n * d, 5, true), random(ROWS * d, 6, true));
        let packed = Packed::of(&w, d);
        let mut pairs = vec![0i32; ROWS * packed.pairs()];
        let mut rounded = vec![0i16; d + 1];
        for (x, to) in x.chunks_exact(d).zip(pairs.chunks_exact_mut(packed.pairs())) {
            round(x, &mut rounded[..d]);
            to.iter_mut().zip(rounded.as_chunks::<2>().0).for_each(|(to, p)| *to = pair_of(p[0], p[1]));
        }
        let rows: [&[i32]; ROWS] = std::array::from_fn(|m| &pairs[m * packed.pairs()..(m + 1) * packed.pairs()]);
        let plain = portable(rows, &packed.tiles, [[0; TILE]; ROWS]);
        for (m, x) in x.chunks_exact(d).enumerate() {
            for (j, w) in w.chunks_exact(d).enumerate() {
                let (mut a, mut b) = (vec![0i16; d], vec![0i16; d]);
                let (sx, sw) = (round(x, &mut a), round(w, &mut b));
                let want: i64 = a.iter().zip(&b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                assert_eq!(i64::from(plain[m][j]), want);
                let exact: f64 = x.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let bound = sx[1] * sw[2] + sx[2] * sw[1] + sx[2] * sw[2];
                assert!((exact - want as f64 * f64::from(sx[0]) * f64::from(sw[0])).abs() <= f64::from(bound));
            }
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            assert_eq!(pairs_avx2(simd, rows, &packed.tiles, [[0; TILE]; ROWS]), plain);
            let list = List::new(0.3, 0.01, &Ask::Largest(3));
            let (scale, bias, from) = ([0.7; TILE], [0.1; TILE], [0.2; TILE]);
            let wide = compare(&plain[0], &scale, &bias, &from, &list);
            assert_eq!(compare_avx2(simd, &plain[0], &scale, &bias, &from, &list), wide);
        }
    }

    #[test]
    fn extremes_stay_in_range() {
        // All of the length in one number, nothing at all, and numbers of any size.
        let d = 40;
        let mut x = vec![0f32; 4 * d];
        x[0] = 1e30;
        x[d..2 * d].fill(1e-30);
        x[3 * d..].iter_mut().enumerate().for_each(|(i, v)| *v = if i % 2 == 0 { 1.0 } else { -1.0 });
        let packed = Packed::of(&x, d);
        let found = find(&packed, &[0.0; 4], &x, Ask::Largest(1), &Spare::default());
        assert!(found[0].contains(&0) && found[3].contains(&3), "{found:?}");
    }
}
