//! What rows leave behind in their cells.

use super::cells::{Frame, NOWHERE, Seen};
use crate::mat::Rows;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// What rows leave behind in each cell; all of it about the shift.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// Sum of the rows of each cell (k×d).
    pub rows: Vec<f64>,
    /// Rows of each cell, without those of no weight.
    pub counts: Vec<f64>,
    /// What they weigh together: their number where all weigh the same.
    pub weights: Vec<f64>,
    /// Sum of the rows' squares in each cell, times their weights as is that of the rows.
    pub squares: Vec<f64>,
}

impl Sums {
    /// Sums of no rows, for k cells.
    pub fn zero(k: usize, d: usize) -> Self {
        Self { rows: vec![0.0; k * d], counts: vec![0.0; k], weights: vec![0.0; k], squares: vec![0.0; k] }
    }

    /// All the numbers.
    pub fn parts(&mut self) -> [&mut [f64]; 4] {
        [&mut self.rows, &mut self.counts, &mut self.weights, &mut self.squares]
    }

    /// Whether a cell has rows that weigh something. Counts are exact, so a cell that was left by all of its rows is known to be empty
    /// whatever rounding left of its weight.
    pub fn filled(&self, cell: usize) -> bool {
        self.counts[cell] > 0.0 && self.weights[cell] > 0.0
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let theirs = [&other.rows, &other.counts, &other.weights, &other.squares];
        for (a, b) in self.parts().into_iter().zip(theirs) {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
    }

    /// Moves every row that changed its cell: out of where it was, if anywhere, and into where it is, as often as its weight says. Each number
    /// is added in the order of the rows, so neither threads nor blocks matter.
    pub fn take(&mut self, frame: Frame, x: &Rows, weights: Option<&[f32]>, seen: &[Seen]) {
        let (k, d) = (self.counts.len(), x.cols());
        let events = |s: &Seen| [(s.to, 1.0), (s.from, -1.0)].into_iter().take(if s.from == NOWHERE { 1 } else { 2 });
        let weight = |i: usize| weights.map_or(1.0, |w| f64::from(w[i]));
        let changed = || seen.iter().enumerate().filter(|(i, s)| s.from != s.to && weight(*i) > 0.0);
        let mut starts = vec![0usize; k + 1];
        for (i, s) in changed() {
            for (cell, sign) in events(s) {
                starts[cell as usize + 1] += 1;
                self.counts[cell as usize] += sign;
                self.weights[cell as usize] += sign * weight(i);
                self.squares[cell as usize] += sign * weight(i) * s.square;
            }
        }
        for c in 0..k {
            starts[c + 1] += starts[c];
        }
        let mut rows = vec![(0usize, 0f64); starts[k]];
        let mut next = starts.clone();
        for (i, s) in changed() {
            for (cell, sign) in events(s) {
                rows[next[cell as usize]] = (i, sign * weight(i));
                next[cell as usize] += 1;
            }
        }
        let few = k < 4 * rayon::current_num_threads() && matches!(x, Rows::Dense(_));
        let slab = if few { 128 } else { d };
        self.rows.par_chunks_mut(d).zip(starts.par_windows(2)).for_each(|(sums, span)| {
            let rows = &rows[span[0]..span[1]];
            sums.par_chunks_mut(slab).enumerate().for_each(|(i, sums)| {
                pulp::Arch::new().dispatch(AddRows { sums, from: i * slab, frame, x, seen, rows });
            });
        });
    }
}

/// sums (columns `from..`) += ± weight · rows, as seen.
struct AddRows<'a> {
    sums: &'a mut [f64],
    from: usize,
    frame: Frame<'a>,
    x: &'a Rows<'a>,
    seen: &'a [Seen],
    rows: &'a [(usize, f64)],
}

impl WithSimd for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { sums, from, frame, x, seen, rows } = self;
        for &(i, times) in rows {
            let scale = seen[i].scale;
            match x {
                Rows::Dense(x) if frame.shift.is_empty() => {
                    for (sum, &v) in sums.iter_mut().zip(&x.row(i)[from..]) {
                        *sum += times * f64::from(frame.see(v, scale, 0.0));
                    }
                }
                Rows::Dense(x) => {
                    for ((sum, &v), &s) in sums.iter_mut().zip(&x.row(i)[from..]).zip(&frame.shift[from..]) {
                        *sum += times * f64::from(frame.see(v, scale, s));
                    }
                }
                Rows::Sparse(x) => {
                    let (columns, values) = x.row(i);
                    for (&j, &v) in columns.iter().zip(values) {
                        sums[j as usize] += times * f64::from(frame.see(v, scale, 0.0));
                    }
                }
            }
        }
    }
}
