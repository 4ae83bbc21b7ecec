//! What rows leave behind: products of y with the weights, and of what the slopes make of them with y.

use super::{Ae, AeState, Layout};
use crate::fold::Stats;
use crate::linalg::product::{self, Packed};
use crate::linalg::{self, Frame, Into, lanes, mul_nn, mul_nt, mul_tn, mul_tn_wide};
use crate::mat::{DenseRows, Rows, SparseRows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows whose sums are formed in f32, before they move on.
const PIECE: usize = 1024;
/// Rows of a panel that a thread takes.
const PANEL: usize = 32;

/// Sums over the rows of a batch.
#[derive(Debug, Clone)]
pub struct AeStats {
    /// Qᵀy (q×d), see [`Q`]: that of the first piece of rows, as long as there is no other.
    piece: Vec<f32>,
    /// The same of all pieces, once there are several.
    wide: Vec<f64>,
    /// Numbers of either.
    len: usize,
    /// Rows, Σ|y − ŷ|² but for −2 (Σy)·c, Σ|y|², then Σh, what reaches b, the slopes (k each; those for `kl` only), and Σhhᵀ (k×k).
    pub small: Vec<f64>,
}

/// What y is multiplied by, a column each: for W (k), for V unless it is W (k), the slopes for `kl` (k), and 1 for c.
#[derive(Debug, Clone, Copy)]
pub struct Q {
    k: usize,
    tied: bool,
    slopes: bool,
    ones: bool,
}

impl Q {
    pub(super) fn of(how: &Ae, layout: Layout) -> Self {
        Self { k: layout.k, tied: layout.tied, slopes: how.kl > 0.0, ones: layout.decoder_bias }
    }
    /// Columns of weights.
    fn weights(self) -> usize {
        if self.tied { self.k } else { 2 * self.k }
    }
    pub(super) fn width(self) -> usize {
        self.weights() + self.slopes_width() + usize::from(self.ones)
    }
    /// Whether there are slopes.
    pub(super) fn slopes(self) -> bool {
        self.slopes
    }
    fn slopes_width(self) -> usize {
        if self.slopes { self.k } else { 0 }
    }
}

impl Stats for AeStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        self.widen();
        vec![&mut self.wide, &mut self.small]
    }
}

impl AeStats {
    pub(super) fn zero(how: &Ae, state: &AeState) -> Self {
        let q = Q::of(how, state.layout);
        let small = 3 + 2 * q.k + q.slopes_width() + q.k * q.k;
        Self { piece: Vec::new(), wide: Vec::new(), len: q.width() * state.layout.d, small: vec![0.0; small] }
    }

    /// Moves on to sums in f64.
    fn widen(&mut self) {
        self.wide.resize(self.len, 0.0);
        let piece = std::mem::take(&mut self.piece);
        self.wide.par_chunks_mut(1 << 14).zip(piece.par_chunks(1 << 14)).for_each(|(wide, piece)| {
            wide.iter_mut().zip(piece).for_each(|(w, p)| *w += f64::from(*p));
        });
    }

    fn add(&mut self, piece: Vec<f32>) {
        if self.wide.is_empty() && self.piece.is_empty() {
            self.piece = piece;
        } else {
            self.widen();
            self.piece = piece;
            self.widen();
        }
    }

    /// Qᵀy of all rows (q×d).
    pub(super) fn product(&mut self) -> Vec<f32> {
        match (self.piece.is_empty(), self.wide.is_empty()) {
            (false, _) => std::mem::take(&mut self.piece),
            (true, false) => self.wide.par_iter().map(|v| *v as f32).collect(),
            (true, true) => vec![0.0; self.len],
        }
    }
}

/// The weights, made ready for rows.
struct Ready<'a> {
    how: &'a Ae,
    state: &'a AeState,
    scale: f32,
    /// [Wᵀ Vᵀ] (d × k or 2k).
    weights: Packed,
    /// VVᵀ (k×k).
    gram: Vec<f32>,
    /// V c (k), zeros without c.
    along: Vec<f32>,
    /// |c|².
    square: f64,
}

impl<'a> Ready<'a> {
    fn new(how: &'a Ae, state: &'a AeState) -> Self {
        let Layout { k, d, .. } = state.layout;
        let (v, c) = (&state.params[state.layout.decoder()], &state.params[state.layout.c()]);
        let mut gram = vec![0f32; k * k];
        let mut along = vec![0f32; k];
        let room = state.spare.take(Packed::len(d, state.layout.weights() / d));
        // By strips of rows of V, each the same whoever takes it.
        let strips = gram.par_chunks_mut(16 * k).zip(along.par_chunks_mut(16)).zip(v.par_chunks(16 * d));
        let products = || {
            strips.for_each(|((gram, along), rows)| {
                mul_nt(gram, rows, v, (rows.len() / d, d, k), Into::Replace);
                if !c.is_empty() {
                    along.iter_mut().zip(rows.chunks_exact(d)).for_each(|(to, v)| *to = lanes::dot(v, c));
                }
            });
        };
        let ((), weights) = rayon::join(products, || Packed::transposed_in(room, &state.params[..state.layout.weights()], d));
        Self { how, state, scale: how.scale(d), weights, gram, along, square: linalg::dot(c, c) }
    }

    /// Codes of rows y, then [h·VVᵀ], and z = y·[Wᵀ Vᵀ]; `each` is given a row's z, h, slopes times the scale, and h·VVᵀ.
    fn forward(&self, y: &Rows, mut each: impl FnMut(usize, &[f32], &[f32], &[f32], &[f32])) {
        let (k, m, n) = (self.state.layout.k, self.weights.cols, y.rows());
        let mut z = vec![0f32; n * m];
        product::rows_times(&mut z, y, &self.weights);
        let (mut h, mut slopes, mut gh) = (vec![0f32; n * k], vec![0f32; n * k], vec![0f32; n * k]);
        let b = &self.state.params[self.state.layout.b()];
        for (i, z) in z.chunks_exact(m).enumerate() {
            for (j, z) in z[..k].iter().enumerate() {
                let (g, slope) = self.how.activation.both((z + b.get(j).copied().unwrap_or(0.0)) * self.scale);
                (h[i * k + j], slopes[i * k + j]) = (g, slope * self.scale);
            }
        }
        mul_nn(&mut gh, &h, &self.gram, (n, k, k), Into::Replace);
        for (i, z) in z.chunks_exact(m).enumerate() {
            let row = i * k..(i + 1) * k;
            each(i, z, &h[row.clone()], &slopes[row.clone()], &gh[row]);
        }
    }

    /// Σ (h·VVᵀ·h + 2 h·Vc + |c|² − 2 h·Vy) of a row, and V y (k).
    fn rebuilt<'z>(&self, z: &'z [f32], h: &[f32], gh: &[f32]) -> (f64, &'z [f32]) {
        let vy = if self.state.layout.tied { z } else { &z[h.len()..] };
        let terms = h.iter().zip(gh).zip(self.along.iter().zip(vy));
        (self.square + terms.map(|((h, g), (c, e))| f64::from(*h) * f64::from(g + 2.0 * c - 2.0 * e)).sum::<f64>(), vy)
    }
}

/// Adds what rows leave behind.
pub(super) fn observe(how: &Ae, state: &AeState, x: &Rows, into: &mut AeStats) {
    let ready = Ready::new(how, state);
    let q = Q::of(how, state.layout);
    for from in (0..x.rows()).step_by(PIECE) {
        piece(&ready, q, x.slice(from, x.rows().min(from + PIECE)), into);
    }
    state.spare.give(ready.weights.room());
}

fn piece(ready: &Ready, q: Q, x: Rows, into: &mut AeStats) {
    let (k, d, n, width) = (q.k, x.cols(), x.rows(), q.width());
    let (frame, spare) = (&ready.state.frame, &ready.state.spare);
    // Dense rows are moved into the frame by whoever then looks at them.
    let moves = matches!(x, Rows::Dense(_)) && !frame.is_plain();
    let mut room = if moves { spare.take(n * d) } else { Vec::new() };
    let x = if moves { x } else { framed(x, frame) };
    let sign = ready.how.l1 as f32 * d as f32 / (2.0 * k as f32);
    let (mut factors, mut codes) = (spare.take(n * width), spare.take(n * k));
    let mut rooms: Vec<&mut [f32]> = room.chunks_mut(PANEL * d).collect();
    rooms.resize_with(n.div_ceil(PANEL), Default::default);
    let panels = factors.par_chunks_mut(PANEL * width).zip(codes.par_chunks_mut(PANEL * k)).zip(rooms).enumerate();
    let panels = panels.map(|(p, ((factors, codes), room))| {
        let mut y = x.slice(p * PANEL, p * PANEL + codes.len() / k);
        if moves {
            frame_into(room, y.values(), frame);
            y = Rows::Dense(DenseRows { cols: d, data: Cow::Borrowed(room), weights: None });
        }
        // Σ|y − ŷ|² and so on, as in `small`, less the rows and Σhhᵀ.
        let mut sums = vec![0f64; 2 + 2 * k + q.slopes_width()];
        sums[1] = squares(&y);
        sums[0] = sums[1];
        ready.forward(&y, |i, z, h, slopes, gh| {
            let (loss, vy) = ready.rebuilt(z, h, gh);
            sums[0] += loss;
            let row = &mut factors[i * width..(i + 1) * width];
            codes[i * k..(i + 1) * k].copy_from_slice(h);
            for j in 0..k {
                let pull = gh[j] + ready.along[j] - vy[j] + if h[j] == 0.0 { 0.0 } else { sign * h[j].signum() };
                let back = pull * slopes[j];
                if q.tied {
                    row[j] = back - h[j];
                } else {
                    (row[j], row[k + j]) = (back, -h[j]);
                }
                sums[2 + j] += f64::from(h[j]);
                sums[2 + k + j] += f64::from(back);
                if q.slopes {
                    row[q.weights() + j] = slopes[j];
                    sums[2 + 2 * k + j] += f64::from(slopes[j]);
                }
            }
            if q.ones {
                row[width - 1] = 1.0;
            }
        });
        sums
    });
    let panels: Vec<Vec<f64>> = panels.collect();
    into.small[0] += n as f64;
    for sums in &panels {
        into.small[1..].iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    }
    let y = if moves { Rows::Dense(DenseRows { cols: d, data: Cow::Borrowed(&room), weights: None }) } else { x };
    let mut gram = vec![0f32; k * k];
    let mut out = spare.take(width * d);
    rayon::join(|| turned(&mut out, &factors, &y, width), || mul_tn(&mut gram, &codes, &codes, (k, n, k), Into::Replace));
    let at = into.small.len() - k * k;
    into.small[at..].iter_mut().zip(&gram).for_each(|(t, g)| *t += f64::from(*g));
    into.add(out);
    [factors, codes, room].into_iter().filter(|room| !room.is_empty()).for_each(|room| spare.give(room));
}

/// out (width×d) = factorsᵀ·y with factors (n×width).
fn turned(out: &mut [f32], factors: &[f32], y: &Rows, width: usize) {
    let (d, n) = (y.cols(), y.rows());
    match y {
        Rows::Dense(y) => mul_tn_wide(out, factors, &y.data, (width, n, d), Into::Replace),
        Rows::Sparse(_) => {
            let mut sums = vec![0f64; d * width];
            product::add_transposed(&mut sums, y, factors, width, 1.0);
            out.par_chunks_mut(d).enumerate().for_each(|(a, out)| {
                out.iter_mut().zip(sums.chunks_exact(width)).for_each(|(o, s)| *o = s[a] as f32);
            });
        }
    }
}

/// Σ |y − ŷ|² over rows, per entry and in the units of the data.
pub(super) fn loss(how: &Ae, state: &AeState, x: &Rows) -> f64 {
    let ready = Ready::new(how, state);
    let (n, d) = (x.rows(), x.cols());
    let c = &state.params[state.layout.c()];
    let panels: Vec<f64> = (0..n.div_ceil(PANEL))
        .into_par_iter()
        .map(|p| {
            let y = framed(x.slice(p * PANEL, n.min((p + 1) * PANEL)), &state.frame);
            let mut sum = squares(&y) - 2.0 * times(&y, c);
            ready.forward(&y, |_, z, h, _, gh| sum += ready.rebuilt(z, h, gh).0);
            sum
        })
        .collect();
    panels.iter().sum::<f64>().max(0.0) / d as f64 / f64::from(state.frame.factor).powi(2)
}

/// Σ y·c over rows.
fn times(y: &Rows, c: &[f32]) -> f64 {
    if c.is_empty() {
        return 0.0;
    }
    match y {
        Rows::Dense(y) => y.data.chunks_exact(c.len()).map(|y| linalg::dot(y, c)).sum(),
        Rows::Sparse(y) => y.indices.iter().zip(y.values.iter()).map(|(&j, &v)| f64::from(v) * f64::from(c[j as usize])).sum(),
    }
}

/// Σ of squares, in f64 over runs of f32 sums in lanes.
fn squares(y: &Rows) -> f64 {
    Arch::new().dispatch(Squares(y.values()))
}

struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        const LANES: usize = 16;
        let mut all = 0.0;
        for run in self.0.chunks(1024) {
            let mut sums = [0f32; LANES];
            let (whole, rest) = run.as_chunks::<LANES>();
            for v in whole {
                for (s, v) in sums.iter_mut().zip(v) {
                    *s += v * v;
                }
            }
            all += f64::from(sums.iter().sum::<f32>() + rest.iter().map(|v| v * v).sum::<f32>());
        }
        all
    }
}

/// Rows moved into a frame. Sparse ones are filled up where it shifts, which it does if the first rows were dense.
pub(super) fn framed<'a>(x: Rows<'a>, frame: &Frame) -> Rows<'a> {
    const RUN: usize = 64;
    let (shifts, factor, d) = (frame.shift.iter().any(|s| *s != 0.0), frame.factor, x.cols());
    match x {
        x if frame.is_plain() => x,
        Rows::Sparse(x) if !shifts => Rows::Sparse(SparseRows { values: x.values.iter().map(|v| v * factor).collect(), ..x }),
        x => {
            let whole = if matches!(x, Rows::Sparse(_)) { x.to_mat().data } else { Vec::new() };
            let from = if whole.is_empty() { x.values() } else { &whole };
            let mut data = vec![0f32; from.len()];
            data.par_chunks_mut(RUN * d).zip(from.par_chunks(RUN * d)).for_each(|(to, from)| frame_into(to, from, frame));
            Rows::Dense(DenseRows { cols: d, data: data.into(), weights: None })
        }
    }
}

/// to ← (from − shift)·factor, row by row.
fn frame_into(to: &mut [f32], from: &[f32], frame: &Frame) {
    Arch::new().dispatch(Framing { to, from, frame });
}

struct Framing<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    frame: &'a Frame,
}

impl WithSimd for Framing<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Frame { shift, factor } = self.frame;
        for (to, from) in self.to.chunks_exact_mut(shift.len()).zip(self.from.chunks_exact(shift.len())) {
            for ((y, x), m) in to.iter_mut().zip(from).zip(shift) {
                *y = (x - m) * factor;
            }
        }
    }
}

/// Means of the columns (d) and the mean square of an entry, of a sample in its frame.
pub(super) fn moments(sample: &Rows, frame: &Frame) -> (Vec<f64>, f64) {
    let (n, d) = (sample.rows(), sample.cols());
    let (mut mean, mut square) = (vec![0f64; d], 0.0);
    for from in (0..n).step_by(PIECE) {
        let y = framed(sample.slice(from, n.min(from + PIECE)), frame);
        match &y {
            Rows::Dense(y) => y.data.chunks_exact(d).for_each(|y| mean.iter_mut().zip(y).for_each(|(m, v)| *m += f64::from(*v))),
            Rows::Sparse(y) => linalg::add_columns_sparse(&mut mean, y),
        }
        square += linalg::sum_squares(&y) / (n * d) as f64;
    }
    mean.iter_mut().for_each(|m| *m /= n as f64);
    (mean, square)
}
