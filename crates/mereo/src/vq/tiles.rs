//! The kernel of k-means: products of rows with tiles of 16 centres.
//!
//! A score is x·c - |c|²/2, highest for the nearest centre, since |x - c|² = |x|² - 2 (x·c - |c|²/2). Dense rows are taken
//! six at a time, so that every number loaded serves six or sixteen products; each score is summed in the same order
//! wherever its row stands, so results do not depend on how rows are grouped.

use crate::mat::Mat;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Centres of a tile.
pub(super) const WIDE: usize = 16;
/// Dense rows taken together.
const TALL: usize = 6;
/// Products summed before they are added to the total: keeps the rounding of long rows small.
const CHUNK: usize = 512;

/// Centres in tiles: for each tile, column after column, 16 entries; missing centres are zeros with a score of -∞.
pub(super) struct Tiles {
    /// Number of columns.
    pub cols: usize,
    packed: Vec<f32>,
    /// |c|²/2 of each centre, +∞ for missing ones.
    half: Vec<f32>,
    /// Largest |c|.
    pub reach: f64,
}

impl Tiles {
    /// Packs centres (k×d).
    pub fn new(centres: &Mat) -> Self {
        let (k, d) = (centres.rows, centres.cols);
        let mut packed = vec![0f32; k.div_ceil(WIDE) * d * WIDE];
        packed.par_chunks_mut(d * WIDE).enumerate().for_each(|(t, tile)| {
            for (lane, c) in (t * WIDE..k.min((t + 1) * WIDE)).enumerate() {
                for (to, &v) in tile[lane..].iter_mut().step_by(WIDE).zip(centres.row(c)) {
                    *to = v;
                }
            }
        });
        let squares: Vec<f64> = centres.data.par_chunks(d).map(square).collect();
        let mut half: Vec<f32> = squares.iter().map(|s| (s / 2.0) as f32).collect();
        half.resize(k.next_multiple_of(WIDE), f32::INFINITY);
        Self { cols: d, packed, half, reach: squares.iter().fold(0f64, |m, s| m.max(*s)).sqrt() }
    }

    /// How far the score of a row of norm `norm`, made of `terms` products, can be from the truth.
    pub fn rounding(&self, norm: f64, terms: usize) -> f64 {
        let chain = terms.min(CHUNK) + terms.div_ceil(CHUNK) + 4;
        // The second part is for products too small for f32.
        chain as f64 * (f64::from(f32::EPSILON / 2.0) * (norm * self.reach + self.reach * self.reach / 2.0) + 1e-37)
    }

    fn tile(&self, t: usize) -> (&[f32], &[f32]) {
        let span = self.cols * WIDE;
        (&self.packed[t * span..(t + 1) * span], &self.half[t * WIDE..(t + 1) * WIDE])
    }
}

/// The two highest scores that a row has met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Top {
    /// The highest score.
    pub best: f32,
    /// The second highest.
    pub second: f32,
    /// The centre with the highest.
    pub at: u32,
}

impl Top {
    /// No score yet.
    pub const NONE: Self = Self { best: f32::NEG_INFINITY, second: f32::NEG_INFINITY, at: u32::MAX };

    #[inline(always)]
    fn meet(&mut self, other: Self) {
        if other.best > self.best {
            self.second = self.best.max(other.second);
            (self.best, self.at) = (other.best, other.at);
        } else {
            self.second = self.second.max(other.best);
        }
    }
}

/// Rows that wait for their scores.
pub(super) enum Waiting<'a> {
    /// Dense rows, one after another.
    Dense(&'a [f32]),
    /// Columns and values of each row.
    Sparse(Vec<(&'a [u32], &'a [f32])>),
}

/// What becomes of the scores.
pub(super) enum Out<'a> {
    /// The two highest are merged into one entry for each item of the list.
    Tops(&'a mut [Top]),
    /// Those of the last tile are written down, 16 for each item of the list.
    Scores(&'a mut [f32]),
}

impl Out<'_> {
    /// Puts away the scores of item `i` of the list with tile `t`.
    #[inline(always)]
    fn put<S: Simd, const V: usize>(&mut self, simd: S, i: usize, t: usize, scores: [S::f32s; V]) {
        match self {
            Self::Tops(tops) => {
                let mut top = best_two::<S, V>(simd, scores);
                top.at += (t * WIDE) as u32;
                tops[i].meet(top);
            }
            Self::Scores(out) => {
                let (out, _) = S::as_mut_simd_f32s(&mut out[i * WIDE..(i + 1) * WIDE]);
                out.copy_from_slice(&scores);
            }
        }
    }
}

/// Scores of the rows in `list` with tiles `tiles`.
pub(super) struct Scan<'a, 'b> {
    /// The centres.
    pub centres: &'a Tiles,
    /// Which tiles.
    pub tiles: std::ops::Range<usize>,
    /// The rows.
    pub rows: &'a Waiting<'b>,
    /// Which rows, by their place among those that wait.
    pub list: &'a [u32],
    /// Where they go.
    pub out: Out<'a>,
}

impl WithSimd for Scan<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 1, 2>(simd),
            8 => self.run::<S, 2, 1>(simd),
            4 => self.run::<S, 4, 1>(simd),
            _ => self.run::<S, 16, 1>(simd),
        }
    }
}

impl Scan<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize, const U: usize>(mut self, simd: S) {
        for t in self.tiles.clone() {
            let (tile, half) = self.centres.tile(t);
            let (tile, _) = S::as_simd_f32s(tile);
            match self.rows {
                Waiting::Dense(x) => {
                    let d = self.centres.cols;
                    for (at, list) in self.list.chunks(TALL).enumerate() {
                        let mut rows: [&[f32]; TALL] = [&[]; TALL];
                        for r in 0..TALL {
                            let i = list[r.min(list.len() - 1)] as usize;
                            rows[r] = &x[i * d..(i + 1) * d];
                        }
                        let scores = products::<S, V, U>(simd, rows, tile, half);
                        for r in 0..list.len() {
                            self.out.put::<S, V>(simd, at * TALL + r, t, scores[r]);
                        }
                    }
                }
                Waiting::Sparse(x) => {
                    for (at, &i) in self.list.iter().enumerate() {
                        let (columns, values) = x[i as usize];
                        let scores = products_sparse::<S, V>(simd, columns, values, tile, half);
                        self.out.put::<S, V>(simd, at, t, scores);
                    }
                }
            }
        }
    }
}

/// Scores of six dense rows with one tile.
#[inline(always)]
fn products<S: Simd, const V: usize, const U: usize>(
    simd: S,
    rows: [&[f32]; TALL],
    tile: &[S::f32s],
    half: &[f32],
) -> [[S::f32s; V]; TALL] {
    let zero = simd.splat_f32s(0.0);
    let mut total = [start::<S, V>(simd, half); TALL];
    let d = tile.len() / V;
    for from in (0..d).step_by(CHUNK) {
        let to = (from + CHUNK).min(d);
        let mut part = rows;
        for r in 0..TALL {
            part[r] = &rows[r][from..to];
        }
        let tile = &tile[from * V..to * V];
        let mut acc = [[[zero; V]; TALL]; U];
        let whole = (to - from) / U * U;
        for p in (0..whole).step_by(U) {
            for u in 0..U {
                for r in 0..TALL {
                    let a = simd.splat_f32s(part[r][p + u]);
                    for v in 0..V {
                        acc[u][r][v] = simd.mul_add_e_f32s(a, tile[(p + u) * V + v], acc[u][r][v]);
                    }
                }
            }
        }
        for p in whole..to - from {
            for r in 0..TALL {
                let a = simd.splat_f32s(part[r][p]);
                for v in 0..V {
                    acc[0][r][v] = simd.mul_add_e_f32s(a, tile[p * V + v], acc[0][r][v]);
                }
            }
        }
        for acc in acc {
            for r in 0..TALL {
                for v in 0..V {
                    total[r][v] = simd.add_f32s(total[r][v], acc[r][v]);
                }
            }
        }
    }
    total
}

/// Scores of one sparse row with one tile.
#[inline(always)]
fn products_sparse<S: Simd, const V: usize>(
    simd: S,
    columns: &[u32],
    values: &[f32],
    tile: &[S::f32s],
    half: &[f32],
) -> [S::f32s; V] {
    let mut total = start::<S, V>(simd, half);
    for (columns, values) in columns.chunks(CHUNK).zip(values.chunks(CHUNK)) {
        let mut acc = [simd.splat_f32s(0.0); V];
        for (&j, &x) in columns.iter().zip(values) {
            let x = simd.splat_f32s(x);
            let entries = &tile[j as usize * V..(j as usize + 1) * V];
            for v in 0..V {
                acc[v] = simd.mul_add_e_f32s(x, entries[v], acc[v]);
            }
        }
        for v in 0..V {
            total[v] = simd.add_f32s(total[v], acc[v]);
        }
    }
    total
}

/// -|c|²/2 of each centre of a tile.
#[inline(always)]
fn start<S: Simd, const V: usize>(simd: S, half: &[f32]) -> [S::f32s; V] {
    let (half, _) = S::as_simd_f32s(half);
    let mut out = [simd.splat_f32s(0.0); V];
    for v in 0..V {
        out[v] = simd.neg_f32s(half[v]);
    }
    out
}

/// The two highest of 16 scores; the first of equal ones is the best.
#[inline(always)]
fn best_two<S: Simd, const V: usize>(simd: S, scores: [S::f32s; V]) -> Top {
    const PLACES: [f32; WIDE] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
    let (lanes, _) = S::as_simd_f32s(&PLACES);
    let none = simd.splat_f32s(f32::NEG_INFINITY);
    let best = highest::<S, V>(simd, scores);
    let all = simd.splat_f32s(best);
    let mut first = simd.splat_f32s(WIDE as f32 - 1.0);
    for v in 0..V {
        let hit = simd.equal_f32s(scores[v], all);
        first = simd.min_f32s(first, simd.select_f32s(hit, lanes[v], first));
    }
    let at = simd.reduce_min_f32s(first);
    let chosen = simd.splat_f32s(at);
    let mut others = scores;
    for v in 0..V {
        others[v] = simd.select_f32s(simd.equal_f32s(lanes[v], chosen), none, scores[v]);
    }
    Top { best, second: highest::<S, V>(simd, others), at: at as u32 }
}

#[inline(always)]
fn highest<S: Simd, const V: usize>(simd: S, scores: [S::f32s; V]) -> f32 {
    let mut m = scores[0];
    for v in 1..V {
        m = simd.max_f32s(m, scores[v]);
    }
    simd.reduce_max_f32s(m)
}

/// Sum of squares, in f64.
#[inline(always)]
pub(super) fn square(x: &[f32]) -> f64 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0f64; LANES];
    for x in whole {
        for l in 0..LANES {
            sums[l] += f64::from(x[l]) * f64::from(x[l]);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()
}

/// |x - c|², in f64.
#[inline(always)]
pub(super) fn distance(x: &[f32], c: &[f32]) -> f64 {
    let ((whole, rest), (centre, end)) = (x.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    let mut sums = [0f64; LANES];
    for (x, c) in whole.iter().zip(centre) {
        for l in 0..LANES {
            let apart = f64::from(x[l]) - f64::from(c[l]);
            sums[l] += apart * apart;
        }
    }
    let rest = rest.iter().zip(end).map(|(&x, &c)| (f64::from(x) - f64::from(c)).powi(2));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Partial sums kept side by side, so that they become vectors.
const LANES: usize = 16;
