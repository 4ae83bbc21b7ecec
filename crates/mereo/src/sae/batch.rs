//! What a batch leaves behind: its rows, its residuals, and a few numbers for every latent that is alive on a row.
//!
//! With y = (x − m)·f − b the bias cancels: the residual is y − h·V. Only the product with W looks at all latents, in 16 bits
//! ([`super::shortlist`]); everything else touches those alive. V is walked in strips of columns that stay in the shared cache: a strip of
//! residuals is formed from the latents alive, and their products with it taken, while the strip of V is near.

use super::aux::AuxPlan;
use super::rule::{Alive, Rule, Term};
use super::shortlist::{self, Ask};
use super::{Sae, SaeArchitecture, SaeState};
use crate::fold::Stats;
use crate::linalg::lanes;
use crate::mat::Rows;
use crate::spare::Spare;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that a thread takes.
const PANEL: usize = 32;
/// Bytes of V that stay in the shared cache.
const STRIP: usize = 8 << 20;

/// For every row the latents that were found, ascending, with their z.
type Found = Vec<Vec<(u32, f32)>>;

/// A code on the way back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub alive: Alive,
    pub row: u32,
    pub term: Term,
    /// Which residuals ([`SaeStats::targets`]) it is judged by.
    pub target: u8,
    /// v·e: the product of its decoder row with that residual.
    pub along: f32,
}

/// The sums of a batch; of one worker the batch itself, for no row of the gradient is formed before it is used.
#[derive(Debug)]
pub struct SaeStats {
    pub(super) d: usize,
    pub(super) n: usize,
    pub(super) rule: Rule,
    /// y, rows × d.
    pub(super) x: Vec<f32>,
    /// Residuals, each rows × d: of the last prefix and all before it down to each, then of what else is rebuilt.
    pub(super) targets: Vec<Vec<f32>>,
    pub(super) entries: Vec<Entry>,
    pub(super) small: Small,
    /// Gradients as sums, where there are several workers.
    pub(super) formed: Vec<f64>,
}

/// Small sums, in the order of their names; `columns` are d numbers each, `fired` n.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Small {
    pub numbers: [f64; Small::NUMBERS],
    /// Σy, Σ of what reaches b (Σe of every prefix), the same of Multi-TopK, Σe.
    pub columns: Vec<f64>,
    /// Rows on which each latent was alive.
    pub fired: Vec<f64>,
}

impl Small {
    pub const ROWS: usize = 0;
    /// Σ|y|².
    pub const SQUARES: usize = 1;
    /// Σ|e|², of all latents.
    pub const LOSS: usize = 2;
    /// Σ of |y − ŷ|² by other means: of all prefixes, of Multi-TopK, of the residual by dead latents, by the gate.
    pub const PREFIXES: usize = 3;
    pub const MULTI: usize = 4;
    pub const AUX: usize = 5;
    pub const GATE: usize = 6;
    /// Codes above zero, and those of the least one kept with how many rows had one (BatchTopK).
    pub const ALIVE: usize = 7;
    pub const LEAST: usize = 8;
    pub const LEAST_OF: usize = 9;
    pub const NUMBERS: usize = 10;

    fn zero(n: usize, d: usize) -> Self {
        Self { numbers: [0.0; Self::NUMBERS], columns: vec![0.0; 4 * d], fired: vec![0.0; n] }
    }
}

impl Stats for SaeStats {
    fn parts(&mut self) -> Vec<&mut [f64]> {
        super::step::form(self);
        vec![&mut self.small.numbers, &mut self.small.columns, &mut self.small.fired, &mut self.formed]
    }
}

impl SaeStats {
    pub(super) fn zero(how: &Sae, state: &SaeState) -> Self {
        let (n, d) = (state.n, state.d);
        let rule = Rule::new(how, state);
        Self { d, n, rule, x: Vec::new(), targets: Vec::new(), entries: Vec::new(), small: Small::zero(n, d), formed: Vec::new() }
    }
    pub(super) fn rows(&self) -> usize {
        self.x.len() / self.d
    }
}

/// y: rows in the frame, b taken off (rows × d).
pub(super) fn entering(state: &SaeState, x: &Rows, room: Vec<f32>) -> Vec<f32> {
    let d = state.d;
    let mut y = room;
    let dense = match x {
        Rows::Dense(_) => None,
        Rows::Sparse(_) => Some(x.to_mat()),
    };
    let from = dense.as_ref().map_or(x.values(), |m| &m.data);
    let off: Vec<f32> = state.frame.shift.iter().zip(&state.bias.value).map(|(m, b)| m * state.frame.factor + b).collect();
    y.par_chunks_mut(PANEL * d).zip(from.par_chunks(PANEL * d)).for_each(|(to, from)| {
        Arch::new().dispatch(Enter { to, from, factor: state.frame.factor, off: &off });
    });
    y
}

struct Enter<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    factor: f32,
    off: &'a [f32],
}

impl WithSimd for Enter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (to, from) in self.to.chunks_exact_mut(self.off.len()).zip(self.from.chunks_exact(self.off.len())) {
            for ((y, x), m) in to.iter_mut().zip(from).zip(self.off) {
                *y = x * self.factor - m;
            }
        }
    }
}

/// z of the latents found for each row, from W (n×d) and the bias of z (n).
pub(super) fn products((w, bias): (&[f32], &[f32]), y: &[f32], found: &[Vec<u32>], spare: &Spare) -> Found {
    // By latents, each row of W read once: rows are in the shared cache, W is not.
    let n = bias.len();
    let d = w.len() / n.max(1);
    let mut starts = vec![0usize; n + 1];
    found.iter().flatten().for_each(|j| starts[*j as usize + 1] += 1);
    (0..n).for_each(|j| starts[j + 1] += starts[j]);
    let mut next = starts.clone();
    // Where each latent's products go, and of which rows they are.
    let mut of_rows = vec![0u32; starts[n]];
    let mut places: Vec<Vec<u32>> = Vec::with_capacity(found.len());
    for (i, found) in found.iter().enumerate() {
        let place = |j: &u32| {
            let at = next[*j as usize];
            next[*j as usize] += 1;
            of_rows[at] = i as u32;
            at as u32
        };
        places.push(found.iter().map(place).collect());
    }
    let mut z = spare.take(starts[n]);
    let spans = cut(&starts, 4 * rayon::current_num_threads());
    let mut rest = &mut z[..];
    let mut tasks = Vec::with_capacity(spans.len());
    for span in spans {
        let (own, after) = rest.split_at_mut(starts[span.end] - starts[span.start]);
        rest = after;
        tasks.push((span, own));
    }
    tasks.into_par_iter().for_each(|(span, z)| {
        Arch::new().dispatch(Dots { z, span, starts: &starts, of_rows: &of_rows, w, bias, y, d });
    });
    let row = |(found, places): (&Vec<u32>, &Vec<u32>)| found.iter().zip(places).map(|(j, at)| (*j, z[*at as usize])).collect();
    let found = found.par_iter().zip(&places).map(row).collect();
    spare.give(z);
    found
}

/// Spans of latents of about equal numbers of entries.
fn cut(starts: &[usize], into: usize) -> Vec<Range<usize>> {
    let n = starts.len() - 1;
    let all = starts[n];
    let mut spans = Vec::new();
    let mut from = 0;
    for part in 1..=into {
        let to = if part == into { n } else { starts.partition_point(|s| *s < all * part / into).min(n) };
        if to > from {
            spans.push(from..to);
            from = to;
        }
    }
    spans
}

struct Dots<'a> {
    z: &'a mut [f32],
    span: Range<usize>,
    starts: &'a [usize],
    of_rows: &'a [u32],
    w: &'a [f32],
    bias: &'a [f32],
    y: &'a [f32],
    d: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (d, base) = (self.d, self.starts[self.span.start]);
        for j in self.span {
            let w = &self.w[j * d..(j + 1) * d];
            for at in self.starts[j]..self.starts[j + 1] {
                let i = self.of_rows[at] as usize;
                self.z[at - base] = lanes::dot_in(simd, &self.y[i * d..(i + 1) * d], w) + self.bias[j];
            }
        }
    }
}

/// All codes of rows y that something depends on, of the main term.
pub(super) fn encode(state: &SaeState, rule: &Rule, y: &[f32], most: usize) -> Found {
    let found = shortlist::find(&state.packed, &state.own[0].value, y, rule.ask(most), &state.spare);
    products((&state.encoder.value, &state.own[0].value), y, &found, &state.spare)
}

/// Adds what rows leave behind.
pub(super) fn observe(how: &Sae, state: &SaeState, x: &Rows, into: &mut SaeStats) {
    let (n, d, rows) = (state.n, state.d, x.rows());
    if rows == 0 {
        return;
    }
    let y = entering(state, x, state.spare.take(rows * d));
    let multi = if how.multi > 0.0 { (4 * how.k).min(n) } else { 0 };
    let (found, alive) = choose(how, state, &into.rule, &y, multi);
    let mut targets = Vec::new();
    let mut entries = Vec::new();
    let small = &mut into.small;
    small.numbers[Small::ROWS] += rows as f64;
    small.numbers[Small::SQUARES] += squares(&y);
    add_columns(&mut small.columns[..d], &y);
    for a in alive.iter().flatten().filter(|a| a.h > 0.0) {
        small.fired[a.latent as usize] += 1.0;
        small.numbers[Small::ALIVE] += 1.0;
    }
    if let Some(least) = alive.iter().flatten().filter(|a| a.h > 0.0).map(|a| a.h).reduce(f32::min) {
        small.numbers[Small::LEAST] += f64::from(least) * rows as f64;
        small.numbers[Small::LEAST_OF] += rows as f64;
    }
    // The model itself, prefix by prefix.
    let ends: Vec<u32> = state.prefixes.iter().map(|p| *p as u32).collect();
    let (found_targets, sums) = rebuild(state, &y, &alive, (Term::Main, 0), &ends, &mut entries);
    small.numbers[Small::LOSS] += sums[ends.len() - 1];
    small.numbers[Small::PREFIXES] += sums.iter().sum::<f64>();
    add_columns(&mut small.columns[d..2 * d], &found_targets[0]);
    add_columns(&mut small.columns[3 * d..], &found_targets[ends.len() - 1]);
    targets.extend(found_targets);
    if multi > 0 {
        let alive = Rule::largest(&found, multi);
        let (found, sums) = rebuild(state, &y, &alive, (Term::Multi, targets.len()), &[n as u32], &mut entries);
        small.numbers[Small::MULTI] += sums[0];
        add_columns(&mut small.columns[2 * d..3 * d], &found[0]);
        targets.extend(found);
    }
    if into.rule.gates() {
        let gate: Vec<Vec<Alive>> = alive.iter().map(|row| row.iter().map(|a| Alive { h: a.z, ..*a }).collect()).collect();
        let (found, sums) = rebuild(state, &y, &gate, (Term::Gate, targets.len()), &[n as u32], &mut entries);
        small.numbers[Small::GATE] += sums[0];
        targets.extend(found);
    }
    if let Some(plan) = AuxPlan::of(how, state) {
        let dead = plan.alive(state, &y);
        let residual = &targets[ends.len() - 1];
        let (found, sums) = rebuild(state, residual, &dead, (Term::Aux, targets.len()), &[n as u32], &mut entries);
        small.numbers[Small::AUX] += sums[0];
        targets.extend(found);
    }
    if into.x.is_empty() {
        (into.x, into.targets, into.entries) = (y, targets, entries);
        return;
    }
    let before = into.rows() as u32;
    into.x.extend_from_slice(&y);
    into.targets.iter_mut().zip(&targets).for_each(|(to, from)| to.extend_from_slice(from));
    into.entries.extend(entries.into_iter().map(|e| Entry { row: e.row + before, ..e }));
    state.spare.give(y);
    targets.into_iter().for_each(|room| state.spare.give(room));
}

/// What was found for every row, and which of it is alive.
fn choose(how: &Sae, state: &SaeState, rule: &Rule, y: &[f32], multi: usize) -> (Found, Vec<Vec<Alive>>) {
    // Of a whole batch a row may need more than its share: more are asked for until none was cut off.
    let mut most = if how.architecture == SaeArchitecture::BatchTopK { 4 * how.k } else { how.k }.max(multi).min(state.n);
    loop {
        let found = encode(state, rule, y, most);
        let alive = rule.alive(&found, state.n);
        let cut = |(found, alive): (&Vec<(u32, f32)>, &Vec<Alive>)| found.len() > most && alive.len() >= most;
        let full = |(found, alive): (&Vec<(u32, f32)>, &Vec<Alive>)| alive.len() >= most && found.len() >= most;
        let short = how.architecture == SaeArchitecture::BatchTopK
            && most < state.n
            && found.iter().zip(&alive).any(|pair| cut(pair) || full(pair));
        if !short {
            return (found, alive);
        }
        most = (2 * most).min(state.n);
    }
}

/// Residuals of `base` (rows × d) when it is rebuilt by codes, by those of the latents before each of `ends`: the sums of the residuals of a prefix
/// and of all after it, and Σ|e|² of each prefix. Adds the entries, with their products with the residual of their own.
fn rebuild(
    state: &SaeState,
    base: &[f32],
    alive: &[Vec<Alive>],
    (term, first): (Term, usize),
    ends: &[u32],
    entries: &mut Vec<Entry>,
) -> (Vec<Vec<f32>>, Vec<f64>) {
    let (n, d, rows) = (state.n, state.d, alive.len());
    let from = entries.len();
    let mut starts = vec![0];
    for row in alive {
        starts.push(starts[starts.len() - 1] + row.len());
    }
    // Each is written by whoever takes its row first.
    let none = Entry { alive: Alive { latent: 0, z: 0.0, h: 0.0 }, row: 0, term, target: 0, along: 0.0 };
    entries.resize(from + starts[rows], none);
    let mut targets: Vec<Vec<f32>> = ends.iter().map(|_| state.spare.take(rows * d)).collect();
    let width = (STRIP / (4 * n)).next_multiple_of(64).min(d);
    let mut sums = vec![0f64; ends.len()];
    for strip in (0..d).step_by(width) {
        let strip = strip..d.min(strip + width);
        // A panel of rows of every target, and its entries.
        let mut rest = &mut entries[from..];
        let mut parts = Vec::new();
        let mut chunks: Vec<_> = targets.iter_mut().map(|t| t.chunks_mut(PANEL * d)).collect();
        for panel in 0..rows.div_ceil(PANEL) {
            let last = rows.min((panel + 1) * PANEL);
            let (own, after) = rest.split_at_mut(starts[last] - starts[panel * PANEL]);
            rest = after;
            let targets: Vec<&mut [f32]> = chunks.iter_mut().map(|c| c.next().unwrap_or_default()).collect();
            parts.push((panel, targets, own));
        }
        let partial: Vec<Vec<f64>> = parts
            .into_par_iter()
            .map(|(panel, targets, entries)| {
                let base = &base[panel * PANEL * d..];
                if strip.start == 0 {
                    let rows = (panel * PANEL..).zip(&alive[panel * PANEL..]);
                    let own = rows.flat_map(|(i, row)| row.iter().map(move |a| (i, a)));
                    for (entry, (i, a)) in entries.iter_mut().zip(own) {
                        let level = ends.partition_point(|end| *end <= a.latent);
                        *entry = Entry { alive: *a, row: i as u32, target: (first + level) as u8, ..none };
                    }
                }
                Arch::new().dispatch(Rebuild {
                    v: &state.decoder.value,
                    d,
                    base,
                    targets,
                    entries,
                    strip: strip.clone(),
                    ends,
                    first,
                    starts: &starts[panel * PANEL..],
                })
            })
            .collect();
        partial.iter().for_each(|p| sums.iter_mut().zip(p).for_each(|(s, p)| *s += p));
    }
    (targets, sums)
}

struct Rebuild<'a> {
    v: &'a [f32],
    d: usize,
    base: &'a [f32],
    targets: Vec<&'a mut [f32]>,
    entries: &'a mut [Entry],
    strip: Range<usize>,
    ends: &'a [u32],
    /// The number of the first target.
    first: usize,
    starts: &'a [usize],
}

impl WithSimd for Rebuild<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> Vec<f64> {
        let (d, strip, levels) = (self.d, self.strip, self.ends.len());
        let rows = self.targets[0].len() / d;
        let mut sums = vec![0f64; levels];
        let mut e = vec![0f32; strip.len()];
        for i in 0..rows {
            let at = i * d + strip.start..i * d + strip.end;
            let entries = &mut self.entries[self.starts[i] - self.starts[0]..self.starts[i + 1] - self.starts[0]];
            e.copy_from_slice(&self.base[at.clone()]);
            let mut next = 0;
            for (level, end) in self.ends.iter().enumerate() {
                let here = entries[next..].partition_point(|entry| entry.alive.latent < *end);
                let (fours, rest) = entries[next..next + here].as_chunks::<4>();
                let v = |entry: &Entry| &self.v[entry.alive.latent as usize * d..][strip.clone()];
                for four in fours {
                    lanes::axpy4_in(simd, &mut e, four.each_ref().map(|entry| -entry.alive.h), four.each_ref().map(v));
                }
                for entry in rest {
                    lanes::axpy_in(simd, &mut e, -entry.alive.h, v(entry));
                }
                next += here;
                sums[level] += f64::from(lanes::dot_in(simd, &e, &e));
                self.targets[level][at.clone()].copy_from_slice(&e);
            }
            for level in (0..levels - 1).rev() {
                let (before, after) = self.targets.split_at_mut(level + 1);
                lanes::axpy_in(simd, &mut before[level][at.clone()], 1.0, &after[0][at.clone()]);
            }
            for entry in entries {
                let v = entry.alive.latent as usize * d;
                let target = &self.targets[usize::from(entry.target) - self.first][at.clone()];
                entry.along += lanes::dot_in(simd, target, &self.v[v + strip.start..v + strip.end]);
            }
        }
        sums
    }
}

/// Σ of squares.
fn squares(y: &[f32]) -> f64 {
    y.par_chunks(1 << 14).map(|y| f64::from(lanes::dot(y, y))).collect::<Vec<_>>().iter().sum()
}

/// to ← to + the sum of the rows (d).
fn add_columns(to: &mut [f64], rows: &[f32]) {
    const COLUMNS: usize = 128;
    let d = to.len();
    to.par_chunks_mut(COLUMNS).enumerate().for_each(|(c, to)| {
        Arch::new().dispatch(Columns { rows: &rows[c * COLUMNS..], d, to });
    });
}

struct Columns<'a> {
    rows: &'a [f32],
    d: usize,
    to: &'a mut [f64],
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let mut sums = [0f64; 128];
        let sums = &mut sums[..self.to.len()];
        for row in self.rows.chunks(self.d) {
            for (s, v) in sums.iter_mut().zip(row) {
                *s += f64::from(*v);
            }
        }
        self.to.iter_mut().zip(sums).for_each(|(to, s)| *to += *s);
    }
}

/// Which latents are alive on rows y once the model is used.
fn inferred(how: &Sae, state: &SaeState, rule: &Rule, y: &[f32]) -> Vec<Vec<Alive>> {
    if how.architecture != SaeArchitecture::BatchTopK {
        return choose(how, state, rule, y, 0).1;
    }
    let least = state.least as f32;
    let theta = vec![least; state.n];
    let (w, bias, spare) = (&state.encoder.value, &state.own[0].value, &state.spare);
    let found = products((w, bias), y, &shortlist::find(&state.packed, bias, y, Ask::Above(&theta), spare), spare);
    let above = |(latent, z): (u32, f32)| (z > least.max(0.0)).then_some(Alive { latent, z, h: z });
    found.into_iter().map(|row| row.into_iter().filter_map(above).collect()).collect()
}

/// Makes W as long as rebuilds rows of a sample best ([`super::start::shrink`]).
pub(super) fn shorten(how: &Sae, state: &mut SaeState, sample: &Rows) {
    const ROWS: usize = 1024;
    let x = sample.slice(0, sample.rows().min(ROWS));
    let rule = Rule::new(how, state);
    let y = entering(state, &x, state.spare.take(x.rows() * state.d));
    let alive = choose(how, state, &rule, &y, 0).1;
    let (left, _) = rebuild(state, &y, &alive, (Term::Main, 0), &[state.n as u32], &mut Vec::new());
    let rebuilt: Vec<f32> = y.iter().zip(&left[0]).map(|(y, e)| y - e).collect();
    let by = super::start::shrink(&y, &rebuilt);
    state.encoder.value.iter_mut().chain(&mut state.encoder.average).for_each(|w| *w *= by);
    state.pack();
}

/// Σ|y − ŷ|² of rows over the mean |y − ȳ|² of the sample: what rows that are held out lose, as FVU.
pub(super) fn loss(how: &Sae, state: &SaeState, x: &Rows) -> f64 {
    const PIECE: usize = 4096;
    let state = state.averaged();
    let rule = Rule::new(how, &state);
    let mut sum = 0.0;
    for from in (0..x.rows()).step_by(PIECE) {
        let x = x.slice(from, x.rows().min(from + PIECE));
        let y = entering(&state, &x, state.spare.take(x.rows() * state.d));
        let alive = inferred(how, &state, &rule, &y);
        let (targets, sums) = rebuild(&state, &y, &alive, (Term::Main, 0), &[state.n as u32], &mut Vec::new());
        sum += sums[0];
        targets.into_iter().chain([y]).for_each(|room| state.spare.give(room));
    }
    sum / state.square
}
