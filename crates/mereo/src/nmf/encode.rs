//! Weights of unseen rows under a divergence.
//!
//! Kullback–Leibler: Newton steps, one coordinate at a time. For one row, min over w ≥ 0 of Σ_j wH − x·ln(wH). Along coordinate a the slope is S_a − Σ_j t·x and the curvature
//! Σ_j t²·x, with t = H_aj / (wH)_j and S_a = Σ_j H_aj. The slope is concave in w_a, so a step up never passes the optimum;
//! a step down may, and is held back (Hsieh & Dhillon 2011 show that such steps converge). The first steps are
//! multiplicative, which brings any start close. A row costs 3dk flops and dk divisions a sweep, sparse rows their
//! stored entries in place of d. A penalty l1·w + ½·l2·w² adds l1 + l2·w to the slope and l2 to the curvature.
//!
//! Any other β: multiplicative steps to the tolerance, for [`BATCH`] rows at a time, sparse rows made dense. A weight whose best
//! value is 0 gets there only in the limit.

use super::multiplicative::{self, Divergence};
use super::product::{self, Packed};
use crate::mat::{DenseRows, Mat, Rows};
use crate::missing::{Missing, Weighed};
use pulp::Arch;
use rayon::prelude::*;

/// Least wH, as a share of the row's mean.
const LEAST: f32 = 1e-12;
/// Multiplicative steps before the Newton steps.
const STEPS: usize = 3;
/// What f32 sums can tell from an optimum.
const NOISE: f32 = 3e-6;
const LANES: usize = 16;
/// Rows that are encoded together by multiplicative steps.
const BATCH: usize = 12;

/// What an encoding is asked for.
pub(super) struct Encoding<'a> {
    /// H (k×d).
    pub atoms: &'a Mat,
    /// L1 and L2 of every weight (k).
    pub penalty: (&'a [f32], &'a [f32]),
    /// A row is done when no slope is more than this share of S_a from where it should be: 0 for a positive weight, at least 0 for a
    /// weight of 0.
    pub tol: f64,
    /// Sweeps at most.
    pub sweeps: usize,
}

/// Weights (n×k) of rows under a divergence, by multiplicative steps. `tol` is then a share of the denominator's sum
/// Σ_j H·(wH)^(β−1), and of a small weight only what it adds to the row counts.
/// Rows that carry weights have every entry count as often as they say.
pub(super) fn multiplicative(x: &Rows, how: &Encoding, kind: Divergence, missing: Missing) -> Mat {
    let (k, d) = (how.atoms.rows, how.atoms.cols);
    let (atoms, turned) = (Packed::new(&how.atoms.data, d), Packed::new(&how.atoms.transpose().data, k));
    let tol = (how.tol as f32).max(NOISE);
    let mut out = Mat::zeros(x.rows(), k);
    out.data.par_chunks_mut(BATCH * k).enumerate().for_each(|(i, out)| {
        let n = out.len() / k;
        let (x, weights) = (x.slice(i * BATCH, i * BATCH + n), x.weights().is_some() || missing != Missing::None);
        let (mut x, v) = if weights { missing.weigh(&x).full() } else { (x.to_mat(), Vec::new()) };
        let v = weights.then_some(v.as_slice());
        let unit = |i: usize| {
            let counts = |j: usize| v.map_or(1.0, |v| f64::from(v[i * d + j]));
            let counted: f64 = (0..d).map(counts).sum();
            let sum: f64 = x.row(i).iter().enumerate().map(|(j, &x)| counts(j) * f64::from(x)).sum();
            if counted > 0.0 { sum / counted } else { 0.0 }
        };
        let units: Vec<f64> = (0..n).map(unit).collect();
        let total: f64 = how.atoms.data.iter().map(|&h| f64::from(h)).sum();
        let mut w = vec![0f32; n * k];
        for (i, &unit) in units.iter().enumerate().filter(|(_, unit)| **unit > 0.0) {
            x.row_mut(i).iter_mut().for_each(|v| *v = (f64::from(*v) / unit) as f32);
            w[i * k..(i + 1) * k].fill((d as f64 / total.max(f64::MIN_POSITIVE)) as f32);
        }
        let (mut q, mut powers) = (vec![0f32; n * d], vec![0f32; n * d]);
        let (mut above, mut below) = (vec![0f32; n * k], vec![0f32; n * k]);
        let mut busy: Vec<bool> = units.iter().map(|unit| *unit > 0.0).collect();
        for _ in 0..how.sweeps {
            product::rows_times(&mut q, &Rows::dense(k, &w), &atoms);
            kind.ratios(&mut q, &mut powers, &x.data, v);
            product::rows_times(&mut above, &Rows::dense(d, &q), &turned);
            product::rows_times(&mut below, &Rows::dense(d, &powers), &turned);
            for (i, busy) in busy.iter_mut().enumerate().filter(|(_, busy)| **busy) {
                let row = i * k..(i + 1) * k;
                let (w, above, below) = (&mut w[row.clone()], &above[row.clone()], &below[row]);
                // In units of the row's mean the divergence is smaller by the mean to the power β.
                let l1 = units[i].powf(1.0 - kind.beta()) as f32;
                let l2 = units[i].powf(2.0 - kind.beta()) as f32;
                let (mut slack, mut size, mut rises) = (0f32, 0f32, false);
                for (a, w) in w.iter_mut().enumerate() {
                    let penalty = (l1 * how.penalty.0[a], l2 * how.penalty.1[a]);
                    let all = below[a] + penalty.0 + penalty.1 * *w;
                    slack += *w * (above[a] - all).abs();
                    size += *w * all;
                    rises |= above[a] - all > tol * all;
                    multiplicative::step(std::slice::from_mut(w), &above[a..=a], &below[a..=a], penalty, kind.exponent());
                }
                *busy = rises || slack > tol * size;
            }
            if !busy.contains(&true) {
                break;
            }
        }
        for ((out, w), unit) in out.chunks_exact_mut(k).zip(w.chunks_exact(k)).zip(&units) {
            out.iter_mut().zip(w).for_each(|(out, &w)| *out = (f64::from(w) * unit) as f32);
        }
    });
    out
}

/// Weights (n×k) of rows under the Kullback–Leibler divergence, on atoms that sum to `sums`.
pub(super) fn kullback_leibler(x: &Rows, how: &Encoding, sums: &[f64], missing: Missing) -> Mat {
    let (atoms, tol, sweeps) = (how.atoms, how.tol, how.sweeps);
    let (k, d) = (atoms.rows, atoms.cols);
    let mut out = Mat::zeros(x.rows(), k);
    let turned = if matches!(x, Rows::Sparse(_)) { atoms.transpose() } else { Mat::default() };
    // Σ v·(wh − x·ln wh): the data is v·x, and an atom's sum that of v·h.
    let known = (x.weights().is_some() || missing != Missing::None).then(|| missing.weigh(x));
    let weighed = known.as_ref().map(|known| {
        let values = known.x.values().iter().zip(known.v.iter()).map(|(x, v)| x * v).collect();
        match &known.x {
            Rows::Dense(_) => Rows::Dense(DenseRows { cols: d, data: values, weights: None }),
            Rows::Sparse(x) => Rows::Sparse(x.with(values.into_owned())),
        }
    });
    let x = weighed.as_ref().unwrap_or(x);
    out.data.par_chunks_mut(k).enumerate().for_each_init(Row::default, |row, (i, w)| {
        let own = known.as_ref().map(|known| own_sums(known, i, atoms, sums));
        row.start(k, own.as_deref().unwrap_or(sums), how.penalty);
        match x {
            // Zeros of the data say nothing but what the sums say already.
            Rows::Dense(x) => {
                row.columns.extend((0..d as u32).filter(|&j| x.row(i)[j as usize] > 0.0));
                row.x.extend(x.row(i).iter().filter(|v| **v > 0.0));
                row.pad(row.x.len());
                let wide = row.x.len();
                row.h.resize(k * wide, 0.0);
                for (h, atom) in row.h.chunks_exact_mut(wide.max(1)).zip(atoms.data.chunks_exact(d)) {
                    if row.real == d {
                        h[..d].copy_from_slice(atom);
                    } else {
                        h.iter_mut().zip(&row.columns).for_each(|(h, &j)| *h = atom[j as usize]);
                    }
                }
            }
            Rows::Sparse(x) => {
                let (columns, values) = x.row(i);
                row.gather(columns, values, &turned.data, 1.0);
            }
        }
        Arch::new().dispatch(|| row.solve((tol as f32).max(NOISE), sweeps));
        w.copy_from_slice(&row.w);
    });
    out
}

/// Σ v·h of every atom (k) over the columns of one row.
fn own_sums(known: &Weighed, i: usize, atoms: &Mat, sums: &[f64]) -> Vec<f64> {
    let rest = f64::from(known.rest);
    let of = |atom: &[f32], whole: f64| match &known.x {
        Rows::Dense(x) => {
            let v = &known.v[i * x.cols..(i + 1) * x.cols];
            atom.iter().zip(v).map(|(&h, &v)| f64::from(v) * f64::from(h)).sum()
        }
        Rows::Sparse(x) => {
            let entries = x.row(i).0.iter().zip(&known.v[x.span(i)]);
            (rest * whole + entries.map(|(&j, &v)| (f64::from(v) - rest) * f64::from(atom[j as usize])).sum::<f64>()).max(0.0)
        }
    };
    (0..atoms.rows).map(|a| of(atoms.row(a), sums[a])).collect()
}

/// One row's problem, over the columns in which the row is not 0: m of them, where m is padded with zeros to whole registers.
#[derive(Default)]
pub(super) struct Row {
    columns: Vec<u32>,
    /// How many columns there are without the padding.
    real: usize,
    /// The row, divided by its mean (m).
    pub x: Vec<f32>,
    /// The atoms at these columns (k×m).
    h: Vec<f32>,
    /// S (k), over all columns, and L1.
    sums: Vec<f32>,
    /// L2 of every weight, in units of the row's mean (k).
    l2: Vec<f32>,
    /// wH (m).
    pub q: Vec<f32>,
    /// The weights (k).
    w: Vec<f32>,
}

impl Row {
    /// A row to come, for k atoms that sum to `sums`, with L1 and L2 for each.
    pub fn start(&mut self, k: usize, sums: &[f64], (l1, l2): (&[f32], &[f32])) {
        self.columns.clear();
        self.x.clear();
        self.h.clear();
        self.sums.clear();
        // An atom of zeros has no weight, whatever it would cost.
        self.sums.extend(sums.iter().zip(l1).map(|(&s, l1)| if s > 0.0 { s as f32 + l1 } else { 0.0 }));
        self.l2.clear();
        self.l2.extend_from_slice(l2);
        self.w.clear();
        self.w.resize(k, 0.0);
    }

    /// Takes the stored entries of a sparse row times `scale`, and the atoms there, from Hᵀ (d×k).
    pub fn gather(&mut self, columns: &[u32], values: &[f32], turned: &[f32], scale: f32) {
        let k = self.sums.len();
        self.x.extend(values.iter().map(|v| v * scale));
        self.pad(values.len());
        let wide = self.x.len();
        self.h.clear();
        self.h.resize(k * wide, 0.0);
        for (t, &j) in columns.iter().enumerate() {
            let atom = &turned[j as usize * k..(j as usize + 1) * k];
            self.h[t..].iter_mut().step_by(wide).zip(atom).for_each(|(h, &v)| *h = v);
        }
    }

    /// Fills up to whole registers.
    fn pad(&mut self, real: usize) {
        self.real = real;
        self.x.resize(real.next_multiple_of(LANES), 0.0);
    }

    /// Improves weights by some sweeps, or by one multiplicative step; leaves their wH in `q`.
    #[inline(always)]
    pub fn improve(&mut self, w: &mut [f32], sweeps: usize, multiply: bool) {
        self.w.copy_from_slice(w);
        if self.x.iter().all(|x| *x == 0.0) {
            self.w.fill(0.0);
        }
        self.superpose();
        if multiply {
            self.multiply();
        } else {
            (0..sweeps).for_each(|_| {
                self.newton(0.0);
            });
        }
        self.superpose();
        w.copy_from_slice(&self.w);
    }

    #[inline(always)]
    fn solve(&mut self, tol: f32, sweeps: usize) {
        let m = self.real;
        let total: f64 = self.x.iter().map(|&v| f64::from(v)).sum();
        if total <= 0.0 {
            return;
        }
        // In units of the row's mean, nothing is too large or too small.
        let unit = total / m as f64;
        self.x.iter_mut().for_each(|v| *v = (f64::from(*v) / unit) as f32);
        self.l2.iter_mut().for_each(|l2| *l2 = (f64::from(*l2) * unit) as f32);
        let all: f32 = self.sums.iter().sum();
        for (w, &s) in self.w.iter_mut().zip(&self.sums) {
            *w = if s > 0.0 { m as f32 / all } else { 0.0 };
        }
        for sweep in 0..sweeps + STEPS {
            self.superpose();
            let done = if sweep < STEPS { self.multiply() } else { self.newton(tol) };
            if done {
                break;
            }
        }
        self.w.iter_mut().for_each(|w| *w = (f64::from(*w) * unit) as f32);
    }

    /// q = wH, anew in every sweep so that no rounding piles up.
    #[inline(always)]
    fn superpose(&mut self) {
        let m = self.x.len();
        self.q.clear();
        self.q.resize(m, 0.0);
        for (&w, h) in self.w.iter().zip(self.h.chunks_exact(m.max(1))).filter(|(w, _)| **w > 0.0) {
            add(&mut self.q, w, h);
        }
    }

    /// All weights by the multiplicative rule.
    #[inline(always)]
    fn multiply(&mut self) -> bool {
        let m = self.x.len();
        let sums = self.sums.iter().zip(&self.l2);
        for ((w, h), (&s, &l2)) in self.w.iter_mut().zip(self.h.chunks_exact(m.max(1))).zip(sums).filter(|(_, (s, _))| **s > 0.0)
        {
            *w *= slope(h, &self.x, &self.q).0 / (s + l2 * *w);
        }
        false
    }

    /// One Newton step for every weight in turn; true if all of them were where they should be.
    #[inline(always)]
    fn newton(&mut self, tol: f32) -> bool {
        let m = self.x.len();
        let mut done = true;
        for (a, h) in self.h.chunks_exact(m.max(1)).enumerate() {
            let (old, l2) = (self.w[a], self.l2[a]);
            let least = self.sums[a];
            if least <= 0.0 {
                continue;
            }
            let s = least + l2 * old;
            let (pull, curve) = slope(h, &self.x, &self.q);
            let curve = curve + l2;
            let up = pull - s;
            if up <= 0.0 && old == 0.0 {
                continue;
            }
            done &= up.abs() <= tol * s;
            let step = if curve > 0.0 { old + up / curve } else { 0.0 };
            let new = if step > 0.0 {
                step.max(0.25 * old)
            } else if self.best_at_zero(h, old, least) {
                0.0
            } else {
                old * (pull / s).max(0.25)
            };
            if new != old {
                self.w[a] = new;
                add(&mut self.q, new - old, h);
            }
        }
        done
    }

    /// Whether the slope at a weight of 0 says to stay there.
    #[inline(always)]
    fn best_at_zero(&self, h: &[f32], w: f32, s: f32) -> bool {
        let pull: f32 = h.iter().zip(&self.x).zip(&self.q).map(|((h, x), q)| h * x / (q - w * h).max(LEAST)).sum();
        pull <= s
    }
}

/// q += w·h
#[inline(always)]
fn add(q: &mut [f32], w: f32, h: &[f32]) {
    for (q, &h) in q.iter_mut().zip(h) {
        *q += w * h;
    }
}

/// Σ x·t and Σ x·t², t = h / q, of whole registers.
#[inline(always)]
fn slope(h: &[f32], x: &[f32], q: &[f32]) -> (f32, f32) {
    let (mut first, mut second) = ([0f32; LANES], [0f32; LANES]);
    let (hs, xs, qs) = (h.as_chunks::<LANES>().0, x.as_chunks::<LANES>().0, q.as_chunks::<LANES>().0);
    let mut term = |l: usize, h: f32, x: f32, q: f32| {
        let t = h / q.max(LEAST);
        first[l] += x * t;
        second[l] += x * t * t;
    };
    for ((h, x), q) in hs.iter().zip(xs).zip(qs) {
        for l in 0..LANES {
            term(l, h[l], x[l], q[l]);
        }
    }
    (halved(first), halved(second))
}

/// The sum of a register, by halves: one addition after the other would wait for each.
#[inline(always)]
fn halved(v: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|l| v[l] + v[l + 8]);
    let four: [f32; 4] = std::array::from_fn(|l| eight[l] + eight[l + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
