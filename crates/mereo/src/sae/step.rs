//! From a batch to the next state: one pass over the latents, in which the row of the gradient of each is formed in a core's own cache, its part
//! along the decoder row is taken off, both rows take their step, the decoder row is brought back to length 1, and W is rounded for
//! the next batch.
//!
//! Only the length of the whole gradient, by which it is clipped, takes all rows first. It is bounded from the entries; the rows are
//! formed twice only where that bound is above the clip.

use super::aux;
use super::batch::{Entry, SaeStats, Small};
use super::optimizer::{Rate, Slices};
use super::rule::{OWN, Term};
use super::shortlist::{TILE, Tile};
use super::{Param, Sae, SaeOptimizer, SaeState};
use crate::fold::{Progress, Used};
use crate::linalg::lanes;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Shares of the loss with a scale of their own; a row of sums is formed for each where there are several workers, and for what is pushed.
const SHARES: usize = 4;
/// How much of the running means is kept from batch to batch.
const KEEP_L0: f64 = 0.99;
const KEEP_LEAST: f64 = 0.999;

fn share(term: Term) -> usize {
    match term {
        Term::Main => 0,
        Term::Multi => 1,
        Term::Aux => 2,
        Term::Gate => 3,
    }
}

/// What an entry adds to the gradient of its latent.
#[derive(Debug, Clone, Copy)]
struct Pull {
    row: u32,
    /// Which residuals V's row gets a share of.
    target: u8,
    /// Times the row of y: to W's row, and to z.
    z: f32,
    /// Times the residual: to V's row.
    v: f32,
    own: [f32; OWN],
}

/// Where the gradient comes from.
struct From<'a> {
    d: usize,
    stats: &'a SaeStats,
    /// By latent, and where those of each latent start.
    pulls: Vec<Pull>,
    starts: Vec<usize>,
    /// −2 over the variance of each share, times its weight.
    scales: [f32; SHARES],
    /// One over the rows of the batch.
    per_row: f32,
}

/// The gradient of a latent.
struct Row<'a> {
    w: &'a mut [f32],
    v: &'a mut [f32],
    own: [f32; OWN],
    /// Of z, summed.
    z: f32,
}

impl<'a> From<'a> {
    fn new(stats: &'a SaeStats, scales: &[f64; SHARES]) -> Self {
        let scales = scales.map(|s| (-2.0 * s) as f32);
        let per_row = (1.0 / stats.small.numbers[Small::ROWS].max(1.0)) as f32;
        let (order, starts) = by_latent(&stats.entries, stats.n);
        let pull = |at: &u32| {
            let Entry { alive, row, term, target, along } = &stats.entries[*at as usize];
            let scale = scales[share(*term)];
            let back = stats.rule.back(*term, alive);
            let part = |i: usize| back.slope[i] * (scale * along) + back.push[i] * per_row;
            let v = if *term == Term::Gate { 0.0 } else { scale * alive.h };
            Pull { row: *row, target: *target, z: part(0), v, own: std::array::from_fn(|i| part(1 + i)) }
        };
        let pulls = order.par_iter().with_min_len(1 << 11).map(pull).collect();
        Self { d: stats.d, stats, pulls, starts, scales, per_row }
    }

    /// Fills the gradient of latent j.
    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, j: usize, to: &mut Row) {
        (to.own, to.z) = ([0.0; OWN], 0.0);
        to.w.fill(0.0);
        to.v.fill(0.0);
        let d = self.d;
        if !self.stats.formed.is_empty() {
            self.formed(j, to);
            return;
        }
        let x = |p: &Pull| &self.stats.x[p.row as usize * d..(p.row as usize + 1) * d];
        let e = |p: &Pull| &self.stats.targets[usize::from(p.target)][p.row as usize * d..(p.row as usize + 1) * d];
        let pulls = &self.pulls[self.starts[j]..self.starts[j + 1]];
        let (fours, rest) = pulls.as_chunks::<4>();
        for p in fours {
            lanes::axpy4_in(simd, to.w, p.each_ref().map(|p| p.z), p.each_ref().map(x));
            lanes::axpy4_in(simd, to.v, p.each_ref().map(|p| p.v), p.each_ref().map(e));
        }
        for p in rest {
            lanes::axpy_in(simd, to.w, p.z, x(p));
            lanes::axpy_in(simd, to.v, p.v, e(p));
        }
        for p in pulls {
            to.z += p.z;
            to.own.iter_mut().zip(p.own).for_each(|(t, o)| *t += o);
        }
    }

    /// From sums: those of each share, and of what is pushed.
    #[inline(always)]
    fn formed(&self, j: usize, to: &mut Row) {
        let (d, wide) = (self.d, width(self.d));
        for (s, scale) in self.scales.iter().chain([&self.per_row]).enumerate() {
            let sums = &self.stats.formed[(s * self.stats.n + j) * wide..][..wide];
            if *scale == 0.0 {
                continue;
            }
            to.w.iter_mut().zip(&sums[..d]).for_each(|(to, s)| *to += scale * *s as f32);
            to.v.iter_mut().zip(&sums[d..]).for_each(|(to, s)| *to += scale * *s as f32);
            to.own.iter_mut().zip(&sums[2 * d..]).for_each(|(to, s)| *to += scale * *s as f32);
            to.z += scale * sums[2 * d + OWN] as f32;
        }
    }
}

/// Numbers of a latent in sums.
fn width(d: usize) -> usize {
    2 * d + OWN + 1
}

/// Entries by latent: their order, and where those of each latent start.
fn by_latent(entries: &[Entry], n: usize) -> (Vec<u32>, Vec<usize>) {
    let mut starts = vec![0usize; n + 1];
    entries.iter().for_each(|e| starts[e.alive.latent as usize + 1] += 1);
    (0..n).for_each(|j| starts[j + 1] += starts[j]);
    let (mut next, mut order) = (starts.clone(), vec![0u32; entries.len()]);
    for (at, e) in entries.iter().enumerate() {
        let to = &mut next[e.alive.latent as usize];
        order[*to] = at as u32;
        *to += 1;
    }
    (order, starts)
}

/// Forms the gradient as sums, to be added to those of other workers.
pub(super) fn form(stats: &mut SaeStats) {
    let (n, d) = (stats.n, stats.d);
    if !stats.formed.is_empty() {
        return;
    }
    let wide = width(d);
    let (order, starts) = by_latent(&stats.entries, n);
    let mut formed = vec![0f64; (SHARES + 1) * n * wide];
    let from = &*stats;
    formed.par_chunks_mut(wide).enumerate().for_each(|(at, sums)| {
        let (s, j) = (at / n, at % n);
        for at in starts[j]..starts[j + 1] {
            let Entry { alive, row, term, target, along } = &from.entries[order[at] as usize];
            let row = *row as usize * d..(*row as usize + 1) * d;
            let back = from.rule.back(*term, alive);
            let (by, along) = match s {
                SHARES => (&back.push, 1.0),
                s if s == share(*term) => (&back.slope, *along),
                _ => continue,
            };
            let z = f64::from(by[0] * along);
            if z != 0.0 {
                sums[..d].iter_mut().zip(&from.x[row.clone()]).for_each(|(t, x)| *t += z * f64::from(*x));
            }
            if s < SHARES && *term != Term::Gate {
                let h = f64::from(alive.h);
                sums[d..2 * d]
                    .iter_mut()
                    .zip(&from.targets[usize::from(*target)][row])
                    .for_each(|(t, e)| *t += h * f64::from(*e));
            }
            sums[2 * d..2 * d + OWN].iter_mut().zip(&by[1..]).for_each(|(t, b)| *t += f64::from(b * along));
            sums[2 * d + OWN] += z;
        }
    });
    stats.formed = formed;
    stats.entries = Vec::new();
}

/// The scales of the shares of the loss, and the share that b has in them: what Σy, Σe … are multiplied by.
fn scales(how: &Sae, state: &SaeState, small: &Small) -> [f64; SHARES] {
    let d = state.d;
    let n = &small.numbers;
    let rows = n[Small::ROWS].max(1.0);
    let about_mean = |squares: f64, sums: &[f64]| squares - sums.iter().map(|s| s * s).sum::<f64>() / rows;
    let variance = about_mean(n[Small::SQUARES], &small.columns[..d]);
    // A batch of one row, or of rows all alike, has none of its own.
    let variance = if variance > 1e-6 * state.square * rows { variance } else { state.square.max(f64::MIN_POSITIVE) * rows };
    let residual = about_mean(n[Small::LOSS], &small.columns[3 * d..]);
    let residual = if how.aux.over_residual() { residual.max(1e-12 * variance) } else { variance };
    [
        1.0 / (variance * state.prefixes.len() as f64),
        how.multi / variance,
        if n[Small::AUX] > 0.0 { aux::weight(how, state) / residual } else { 0.0 },
        1.0 / variance,
    ]
}

/// Everything beside the rows: of b, without what reaches it through W.
fn of_bias(small: &Small, scales: &[f64; SHARES], d: usize) -> Vec<f64> {
    let columns = &small.columns;
    (0..d).map(|a| -2.0 * (scales[0] * columns[d + a] + scales[1] * columns[2 * d + a])).collect()
}

/// One step; at the end of a pass its loss is that of the pass.
pub(super) fn update(how: &Sae, state: &mut SaeState, stats: SaeStats) -> Progress {
    let d = state.d;
    let scales = scales(how, state, &stats.small);
    let from = From::new(&stats, &scales);
    let mut rate = Rate::new(how, state);
    if how.clip > 0.0 {
        rate.clip = clip(how.clip, state, &from, &scales);
    }
    let through = pass(state, &from, rate);
    let mut bias = of_bias(&stats.small, &scales, d);
    bias.iter_mut().zip(&through).for_each(|(b, t)| *b -= t);
    let bias: Vec<f32> = bias.iter().map(|b| *b as f32).collect();
    let mut slices = state.bias.slices();
    rate.go_vector(&mut slices, &bias);
    rate.remember(&mut slices);
    if how.optimizer == SaeOptimizer::Muon {
        turn(state, rate);
    }
    state.steps += 1;
    let progress = count(state, &stats.small);
    let SaeStats { x, targets, .. } = stats;
    targets.into_iter().chain([x]).for_each(|room| state.spare.give(room));
    progress
}

/// All rows; Σ of z's gradient times W, which is what reaches b by W.
fn pass(state: &mut SaeState, from: &From, rate: Rate) -> Vec<f64> {
    let d = state.d;
    let own: Vec<Vec<Slices>> = state.own.iter_mut().map(|p| p.chunks(TILE)).collect();
    let mut own: Vec<_> = own.into_iter().map(Vec::into_iter).collect();
    let tiles = state.n.div_ceil(TILE);
    let own: Vec<Vec<Slices>> = (0..tiles).map(|_| own.iter_mut().filter_map(Iterator::next).collect()).collect();
    let (encoder, decoder) = (state.encoder.chunks(TILE * d), state.decoder.chunks(TILE * d));
    let parts = encoder.into_par_iter().zip(decoder).zip(own).zip(state.packed.tiles_mut()).enumerate();
    let through: Vec<Vec<f32>> = parts
        .map(|(t, (((encoder, decoder), own), tile))| {
            Arch::new().dispatch(OfTile { first: t * TILE, from, rate, encoder, decoder, own, tile })
        })
        .collect();
    let mut sum = vec![0f64; d];
    through.iter().filter(|t| !t.is_empty()).for_each(|t| sum.iter_mut().zip(t).for_each(|(s, t)| *s += f64::from(*t)));
    sum
}

struct OfTile<'a> {
    first: usize,
    from: &'a From<'a>,
    rate: Rate,
    encoder: Slices<'a>,
    decoder: Slices<'a>,
    own: Vec<Slices<'a>>,
    tile: Tile<'a>,
}

impl WithSimd for OfTile<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Vec<f32> {
        let (d, rate) = (self.from.d, self.rate);
        let (mut w, mut v, mut rounded) = (vec![0f32; d], vec![0f32; d], vec![0i16; d]);
        let mut through = vec![0f32; d];
        for at in 0..self.encoder.value.len() / d {
            let mut row = Row { w: &mut w, v: &mut v, own: [0.0; OWN], z: 0.0 };
            self.from.row(simd, self.first + at, &mut row);
            let Row { own, z, .. } = row;
            let (mut encoder, mut decoder) = (self.encoder.part(at * d, (at + 1) * d), self.decoder.part(at * d, (at + 1) * d));
            if z != 0.0 {
                lanes::axpy_in(simd, &mut through, z, encoder.value);
            }
            let along = lanes::dot_in(simd, &v, decoder.value);
            lanes::axpy_in(simd, &mut v, -along, decoder.value);
            rate.go(&mut encoder, &w);
            rate.go(&mut decoder, &v);
            if rate.optimizer != SaeOptimizer::Muon {
                unit_in(simd, decoder.value);
            }
            rate.remember(&mut encoder);
            rate.remember(&mut decoder);
            self.tile.put(simd, at, encoder.value, &mut rounded);
            for (p, g) in self.own.iter_mut().zip(own) {
                let mut p = p.part(at, at + 1);
                rate.go_vector(&mut p, &[g]);
                rate.remember(&mut p);
            }
        }
        through
    }
}

/// A row brought to length 1; one of nothing is left.
#[inline(always)]
pub(super) fn unit_in<S: Simd>(simd: S, v: &mut [f32]) {
    let square = lanes::dot_in(simd, v, v);
    if square > f32::MIN_POSITIVE {
        let by = 1.0 / square.sqrt();
        v.iter_mut().for_each(|v| *v *= by);
    }
}

/// [`unit_in`] for one row.
pub(super) fn unit(v: &mut [f32]) {
    let square = lanes::dot(v, v);
    if square > f32::MIN_POSITIVE {
        let by = 1.0 / square.sqrt();
        v.iter_mut().for_each(|v| *v *= by);
    }
}

/// What is left to do where a step takes the whole matrix.
fn turn(state: &mut SaeState, rate: Rate) {
    let d = state.d;
    for param in [&mut state.encoder, &mut state.decoder] {
        rate.turn(&mut param.value, &param.first, d);
    }
    state.decoder.value.par_chunks_mut(d).for_each(unit);
    for param in [&mut state.encoder, &mut state.decoder] {
        rate.remember(&mut param.slices());
    }
    state.pack();
}

/// What the gradient is to be multiplied by so that its length is no more than `most`.
fn clip(most: f64, state: &SaeState, from: &From, scales: &[f64; SHARES]) -> f32 {
    let (d, n) = (state.d, state.n);
    let stats = from.stats;
    let bias = of_bias(&stats.small, scales, d);
    if stats.formed.is_empty() {
        // No row of the gradient is longer than the sum of what it is made of.
        let lengths = |rows: &[f32]| -> Vec<f32> { rows.par_chunks(d).map(|r| lanes::dot(r, r).sqrt()).collect() };
        let (x, targets) = (lengths(&stats.x), stats.targets.iter().map(|t| lengths(t)).collect::<Vec<_>>());
        let of_latent = |j: usize| {
            let (mut w, mut v, mut own, mut z) = (0f32, 0f32, [0f32; OWN], 0f32);
            for p in &from.pulls[from.starts[j]..from.starts[j + 1]] {
                z += p.z;
                w += p.z.abs() * x[p.row as usize];
                v += p.v.abs() * targets[usize::from(p.target)][p.row as usize];
                own.iter_mut().zip(p.own).for_each(|(t, o)| *t += o);
            }
            let square = f64::from(w * w + v * v + own.iter().map(|o| o * o).sum::<f32>());
            (square, f64::from(z.abs() * state.packed.length(j)))
        };
        let parts: Vec<(f64, f64)> = (0..n).into_par_iter().with_min_len(256).map(of_latent).collect();
        let (square, through) = parts.iter().fold((0.0, 0.0), |(s, t), part| (s + part.0, t + part.1));
        let of_bias = bias.iter().map(|b| b * b).sum::<f64>().sqrt() + through;
        if (square + of_bias * of_bias).sqrt() <= most {
            return 1.0;
        }
    }
    let parts: Vec<(f64, Vec<f32>)> = (0..n.div_ceil(TILE))
        .into_par_iter()
        .map(|t| Arch::new().dispatch(Lengths { from, latents: t * TILE..n.min((t + 1) * TILE), state }))
        .collect();
    let mut bias = bias;
    parts.iter().for_each(|(_, through)| bias.iter_mut().zip(through).for_each(|(b, t)| *b -= f64::from(*t)));
    let length = (parts.iter().map(|p| p.0).sum::<f64>() + bias.iter().map(|b| b * b).sum::<f64>()).sqrt();
    if length > most { (most / length) as f32 } else { 1.0 }
}

struct Lengths<'a> {
    from: &'a From<'a>,
    latents: std::ops::Range<usize>,
    state: &'a SaeState,
}

impl WithSimd for Lengths<'_> {
    type Output = (f64, Vec<f32>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (f64, Vec<f32>) {
        let d = self.from.d;
        let (mut w, mut v, mut through) = (vec![0f32; d], vec![0f32; d], vec![0f32; d]);
        let mut square = 0.0;
        for j in self.latents {
            let mut row = Row { w: &mut w, v: &mut v, own: [0.0; OWN], z: 0.0 };
            self.from.row(simd, j, &mut row);
            let Row { own, z, .. } = row;
            lanes::axpy_in(simd, &mut through, z, &self.state.encoder.value[j * d..(j + 1) * d]);
            let decoder = &self.state.decoder.value[j * d..(j + 1) * d];
            let along = lanes::dot_in(simd, &v, decoder);
            lanes::axpy_in(simd, &mut v, -along, decoder);
            square += f64::from(lanes::dot_in(simd, &w, &w))
                + f64::from(lanes::dot_in(simd, &v, &v))
                + own.iter().map(|o| f64::from(*o).powi(2)).sum::<f64>();
        }
        (square, through)
    }
}

/// Takes note of the batch.
fn count(state: &mut SaeState, small: &Small) -> Progress {
    let numbers = &small.numbers;
    let rows = numbers[Small::ROWS];
    state.idle.iter_mut().zip(&small.fired).for_each(|(idle, fired)| *idle = if *fired > 0.0 { 0 } else { *idle + rows as u64 });
    let l0 = numbers[Small::ALIVE] / rows.max(1.0);
    state.l0 = if state.steps == 1 { l0 } else { KEEP_L0 * state.l0 + (1.0 - KEEP_L0) * l0 };
    if numbers[Small::LEAST_OF] > 0.0 {
        // Of the last tenth of the batches at first, so that a short run is not led by how it began.
        let keep = KEEP_LEAST.min(1.0 - 10.0 / state.steps as f64).max(0.0);
        state.least = keep * state.least + (1.0 - keep) * numbers[Small::LEAST] / numbers[Small::LEAST_OF];
    }
    let dead = aux::count(state) as f64 / state.n as f64;
    let pass = &mut state.pass;
    pass.rows += rows;
    pass.loss += numbers[Small::LOSS];
    pass.squares += numbers[Small::SQUARES] - small.columns[..state.d].iter().map(|s| s * s).sum::<f64>() / rows.max(1.0);
    pass.alive += numbers[Small::ALIVE];
    pass.fired.iter_mut().zip(&small.fired).for_each(|(t, f)| *t += f);
    let fvu = pass.loss / pass.squares.max(f64::MIN_POSITIVE);
    let used = Some(Used { l0: pass.alive / pass.rows.max(1.0), dead });
    if pass.rows >= state.rows as f64 {
        state.density = pass.fired.iter().map(|f| f / pass.rows).collect();
        state.pass = super::PassSums { fired: vec![0.0; state.n], ..super::PassSums::default() };
    }
    Progress { loss: if fvu.is_nan() { f64::INFINITY } else { fvu }, used, ..Progress::default() }
}

impl Param {
    pub(super) fn slices(&mut self) -> Slices<'_> {
        Slices { value: &mut self.value, first: &mut self.first, second: &mut self.second, average: &mut self.average }
    }
    /// In chunks of `size` numbers.
    fn chunks(&mut self, size: usize) -> Vec<Slices<'_>> {
        fn cut(v: &mut [f32], size: usize) -> impl Iterator<Item = &mut [f32]> {
            v.chunks_mut(size).map(Some).chain(std::iter::repeat_with(|| None)).map(Option::unwrap_or_default)
        }
        let Self { value, first, second, average } = self;
        let rest = cut(first, size).zip(cut(second, size)).zip(cut(average, size));
        value
            .chunks_mut(size)
            .zip(rest)
            .map(|(value, ((first, second), average))| Slices { value, first, second, average })
            .collect()
    }
}

#[cfg(test)]
struct One<'a, 'b>(&'a From<'a>, usize, &'a mut Row<'b>);

#[cfg(test)]
impl WithSimd for One<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.row(simd, self.1, self.2);
    }
}

/// The gradient of W, V (its part along V taken off), the own numbers and b, as one vector each: slow and plain.
#[cfg(test)]
pub(super) fn gradient(how: &Sae, state: &SaeState, stats: &SaeStats, project: bool) -> [Vec<f32>; 4] {
    let (n, d) = (state.n, state.d);
    let scales = scales(how, state, &stats.small);
    let from = From::new(stats, &scales);
    let mut out = [vec![0f32; n * d], vec![0f32; n * d], vec![0f32; n * OWN], Vec::new()];
    let mut bias = of_bias(&stats.small, &scales, d);
    for j in 0..n {
        let (mut w, mut v) = (vec![0f32; d], vec![0f32; d]);
        let mut row = Row { w: &mut w, v: &mut v, own: [0.0; OWN], z: 0.0 };
        Arch::new().dispatch(One(&from, j, &mut row));
        let Row { own, z, .. } = row;
        if project {
            let decoder = &state.decoder.value[j * d..(j + 1) * d];
            let along = lanes::dot(&v, decoder);
            lanes::axpy(&mut v, -along, decoder);
        }
        out[0][j * d..(j + 1) * d].copy_from_slice(&w);
        out[1][j * d..(j + 1) * d].copy_from_slice(&v);
        out[2][j * OWN..(j + 1) * OWN].copy_from_slice(&own);
        bias.iter_mut().zip(&state.encoder.value[j * d..(j + 1) * d]).for_each(|(b, w)| *b -= f64::from(z * w));
    }
    out[3] = bias.iter().map(|b| *b as f32).collect();
    out
}
