//! First centres: greedy k-means++ (Arthur & Vassilvitskii 2007, with several candidates a step as in their code) or rows at random, and
//! the order of centres that keeps near ones in one group.

use super::cells::Frame;
use super::tiles::{Out, Scan, Tiles, WIDE, Waiting, square};
use crate::mat::{Mat, Rows};
use crate::rng::Rng;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Rows that a thread takes at a time.
const PANEL: usize = 256;

/// k different rows of `x` at random, as seen through the frame (k×d): one after another with a chance proportional to their weights, which
/// is to take those with the least exponential times (Efraimidis & Spirakis 2006). If fewer than k weigh anything, some come twice.
pub(super) fn rows(frame: Frame, x: &Rows, k: usize, random: &mut Rng) -> Mat {
    let pool = Pool::new(frame, x);
    let mut times: Vec<(f64, usize)> = Vec::with_capacity(x.rows());
    for i in 0..x.rows() {
        let time = -random.uniform().ln();
        if pool.weight(i) > 0.0 {
            times.push((time / pool.weight(i), i));
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    pool.rows(&times.iter().map(|t| t.1).cycle().take(k).collect::<Vec<_>>())
}

/// k rows of `x`, as seen through the frame (k×d): the first at random, each next one the best of 16 that are drawn with a
/// chance proportional to their distance² from the nearest so far. 16 because they cost no more than fewer do. Rows with weights
/// count as often as these say.
pub(super) fn seeds(frame: Frame, x: &Rows, k: usize, random: &mut Rng) -> Mat {
    let (m, d) = (x.rows(), x.cols());
    let pool = Pool::new(frame, x);
    let mut centres = Mat { rows: 0, cols: d, data: Vec::with_capacity(k * d) };
    let mut near: Vec<f32> = vec![f32::INFINITY; m];
    let mut apart = vec![0f32; m * WIDE];
    let mut chosen = vec![false; m];
    let mut picks = vec![pool.first(random)];
    loop {
        let candidates = pool.rows(&picks);
        let tiles = Tiles::new(&candidates);
        let best = pool.potentials(&tiles, &near, &mut apart, picks.len());
        chosen[picks[best]] = true;
        centres.data.extend_from_slice(candidates.row(best));
        centres.rows += 1;
        if centres.rows == k {
            return centres;
        }
        let sums: Vec<f64> = near
            .par_chunks_mut(PANEL)
            .zip(apart.par_chunks(PANEL * WIDE))
            .enumerate()
            .map(|(p, (near, apart))| {
                near.iter_mut().zip(apart.chunks_exact(WIDE)).enumerate().fold(0.0, |sum, (i, (near, apart))| {
                    *near = near.min(apart[best]);
                    sum + pool.weight(p * PANEL + i) * f64::from(*near)
                })
            })
            .collect();
        let total: f64 = sums.iter().sum();
        let mass = |i: usize| pool.weight(i) * f64::from(near[i]);
        picks = (0..WIDE).filter_map(|_| draw(&sums, m, mass, total * random.uniform())).collect();
        if picks.is_empty() {
            // Every row is a centre already, or as good as one: the rest are repetitions.
            let free: Vec<usize> = (0..m).filter(|i| !chosen[*i] && pool.weight(*i) > 0.0).collect();
            picks = vec![if free.is_empty() { pool.first(random) } else { free[random.below(free.len())] }];
        }
    }
}

/// The one of m rows at which the running sum of `mass` passes `at`; none if all are zero. `sums` are those of its panels.
fn draw(sums: &[f64], m: usize, mass: impl Fn(usize) -> f64, mut at: f64) -> Option<usize> {
    let mut last = None;
    for (p, &sum) in sums.iter().enumerate().filter(|(_, s)| **s > 0.0) {
        if at >= sum {
            at -= sum;
            last = Some(p);
            continue;
        }
        for i in p * PANEL..m.min((p + 1) * PANEL) {
            let v = mass(i);
            if v > 0.0 && at < v {
                return Some(i);
            }
            at -= v;
        }
        last = Some(p);
        break;
    }
    // Rounding went past the end: the last row that counts.
    let p = last?;
    (p * PANEL..m.min((p + 1) * PANEL)).rev().find(|i| mass(*i) > 0.0)
}

/// The weights of rows, if some row weighs anything.
pub(super) fn weights<'a>(x: &'a Rows) -> Option<&'a [f32]> {
    x.row_weights().filter(|w| w.iter().any(|w| *w > 0.0))
}

/// The sample, as seen.
struct Pool<'a> {
    cols: usize,
    values: Vec<f32>,
    /// Columns of the entries and where each row starts; dense rows have none.
    sparse: Option<(&'a [u32], Vec<usize>)>,
    squares: Vec<f64>,
    /// Weights of the rows, if they have any and not all of them are 0.
    weights: Option<&'a [f32]>,
}

impl<'a> Pool<'a> {
    fn new(frame: Frame, x: &'a Rows) -> Self {
        let mut values = Vec::with_capacity(x.values().len());
        let mut starts = vec![0];
        for i in 0..x.rows() {
            let stored = match x {
                Rows::Dense(x) => x.row(i),
                Rows::Sparse(x) => x.row(i).1,
            };
            frame.push(stored, frame.scale(stored), &mut values);
            starts.push(values.len());
        }
        let squares = starts.par_windows(2).map(|s| square(&values[s[0]..s[1]])).collect();
        let sparse = match x {
            Rows::Dense(_) => None,
            Rows::Sparse(x) => Some((&*x.indices, starts)),
        };
        Self { cols: x.cols(), values, sparse, squares, weights: weights(x) }
    }

    /// How much a row counts.
    #[inline(always)]
    fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |w| f64::from(w[i]))
    }

    /// A row at random.
    fn first(&self, random: &mut Rng) -> usize {
        let m = self.squares.len();
        let Some(w) = self.weights else { return random.below(m) };
        let sums: Vec<f64> = w.chunks(PANEL).map(|w| w.iter().map(|w| f64::from(*w)).sum()).collect();
        let at = sums.iter().sum::<f64>() * random.uniform();
        draw(&sums, m, |i| self.weight(i), at).unwrap_or(0)
    }

    /// Some rows, dense.
    fn rows(&self, picks: &[usize]) -> Mat {
        let mut out = Mat::zeros(picks.len(), self.cols);
        for (to, &i) in picks.iter().enumerate() {
            match &self.sparse {
                None => out.row_mut(to).copy_from_slice(&self.values[i * self.cols..(i + 1) * self.cols]),
                Some((columns, starts)) => {
                    let span = starts[i]..starts[i + 1];
                    for (&j, &v) in columns[span.clone()].iter().zip(&self.values[span]) {
                        out.row_mut(to)[j as usize] += v;
                    }
                }
            }
        }
        out
    }

    /// Writes the distance² of every row to every candidate, and says with which of them the sum of the least is lowest.
    fn potentials(&self, candidates: &Tiles, near: &[f32], apart: &mut [f32], count: usize) -> usize {
        let sums: Vec<[f64; WIDE]> = apart
            .par_chunks_mut(PANEL * WIDE)
            .enumerate()
            .map(|(p, apart)| {
                let from = p * PANEL;
                let n = apart.len() / WIDE;
                let list: [u32; PANEL] = std::array::from_fn(|i| i as u32);
                let rows: Waiting = match &self.sparse {
                    None => Waiting::Dense(&self.values[from * self.cols..(from + n) * self.cols]),
                    Some((columns, starts)) => {
                        let row = |i: usize| (&columns[starts[i]..starts[i + 1]], &self.values[starts[i]..starts[i + 1]]);
                        Waiting::Sparse((from..from + n).map(row).collect())
                    }
                };
                let scan = Scan { centres: candidates, tiles: 0..1, rows: &rows, list: &list[..n], out: Out::Scores(apart) };
                pulp::Arch::new().dispatch(scan);
                pulp::Arch::new().dispatch(SumLeast { pool: self, candidates, from, near, apart })
            })
            .collect();
        let mut totals = [0f64; WIDE];
        for part in sums {
            totals.iter_mut().zip(part).for_each(|(t, p)| *t += p);
        }
        (0..count).fold(0, |best, j| if totals[j] < totals[best] { j } else { best })
    }
}

/// Scores become distances², 0 where rounding could have made them; the sum of weight · min(near, distance²) for each candidate.
struct SumLeast<'a> {
    pool: &'a Pool<'a>,
    candidates: &'a Tiles,
    from: usize,
    near: &'a [f32],
    apart: &'a mut [f32],
}

impl WithSimd for SumLeast<'_> {
    type Output = [f64; WIDE];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; WIDE] {
        let Self { pool, candidates, from, near, apart } = self;
        let mut sums = [0f64; WIDE];
        for (i, apart) in apart.as_chunks_mut::<WIDE>().0.iter_mut().enumerate() {
            let square = pool.squares[from + i];
            let terms = pool.sparse.as_ref().map_or(pool.cols, |(_, s)| s[from + i + 1] - s[from + i]);
            let noise = (4.0 * candidates.rounding(square.sqrt(), terms)) as f32;
            let (square, near, weight) = (square as f32, near[from + i], pool.weight(from + i));
            for l in 0..WIDE {
                let d = square - 2.0 * apart[l];
                apart[l] = if d > noise { d } else { 0.0 };
                sums[l] += weight * f64::from(near.min(apart[l]));
            }
        }
        sums
    }
}

/// An order of the centres in which each run of `size` lies close together: halved again and again across the direction of
/// the widest spread.
pub(super) fn order(centres: &Mat, size: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..centres.rows).collect();
    halve(centres, size, &mut all);
    all
}

fn halve(centres: &Mat, size: usize, which: &mut [usize]) {
    if which.len() <= size {
        return;
    }
    let d = centres.cols;
    let mut mean = vec![0f64; d];
    for &c in which.iter() {
        mean.iter_mut().zip(centres.row(c)).for_each(|(m, &v)| *m += f64::from(v) / which.len() as f64);
    }
    let along = |direction: &[f64], c: usize| -> f64 {
        centres.row(c).iter().zip(&mean).zip(direction).map(|((&v, m), w)| (f64::from(v) - m) * w).sum()
    };
    // A few steps of the power method are enough for a direction of wide spread.
    let mut direction: Vec<f64> = centres.row(which[0]).iter().zip(&mean).map(|(&v, m)| f64::from(v) - m).collect();
    for _ in 0..4 {
        let mut next = vec![0f64; d];
        for &c in which.iter() {
            let w = along(&direction, c);
            next.iter_mut().zip(centres.row(c)).zip(&mean).for_each(|((n, &v), m)| *n += w * (f64::from(v) - m));
        }
        let norm = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= 0.0 {
            break;
        }
        direction = next.iter().map(|v| v / norm).collect();
    }
    let mut keyed: Vec<(f64, usize)> = which.iter().map(|&c| (along(&direction, c), c)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    which.iter_mut().zip(keyed).for_each(|(to, (_, c))| *to = c);
    let half = (which.len() / 2).next_multiple_of(size).min(which.len() - 1);
    let (left, right) = which.split_at_mut(half);
    halve(centres, size, left);
    halve(centres, size, right);
}
