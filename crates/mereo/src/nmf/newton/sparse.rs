//! Second-order steps of sparse rows: one weight after the other, over a row's entries.

use super::super::encode::Row;
use super::super::multiplicative::TINY;
use super::super::{Nmf, NmfState, NmfStats, column_sums, product, take};
use super::entries::{LANES, LEAST, ln};
use crate::mat::SparseRows;
use pulp::Arch;
use rayon::prelude::*;

/// One in so many sweeps is taken: those of sparse rows cost as much as all else, and one does nearly what four do.
const SHARE: usize = 4;

/// Improves the weights (n×k) of sparse rows and adds what they leave behind.
pub(super) fn sparse(how: &Nmf, state: &NmfState, x: &SparseRows, penalty: (f32, f32), w: &mut [f32], into: &mut NmfStats) {
    let (k, n) = (how.k, x.rows());
    let h = state.at();
    let (l1, l2) = (vec![penalty.0; k], vec![penalty.1; k]);
    let take = take(n);
    let parts: Vec<(Vec<f32>, Vec<f64>)> = w
        .par_chunks_mut(take * k)
        .enumerate()
        .map_init(Row::default, |row, (i, w)| {
            let (mut ratios, mut costs) = (Vec::new(), Vec::new());
            for (i, w) in (i * take..).zip(w.chunks_exact_mut(k)) {
                let (columns, values) = x.row(i);
                row.start(k, &state.sums, (&l1, &l2));
                row.gather(columns, values, &h.data, state.scale);
                Arch::new().dispatch(
                    #[inline(always)]
                    || row.improve(w, how.sweeps.div_ceil(SHARE), state.caution.rest > 0),
                );
                let mut cost = 0.0;
                for (&x, &wh) in row.x.iter().zip(&row.q).take(columns.len()) {
                    let q = x / wh.max(LEAST);
                    ratios.push(q);
                    cost += f64::from(x * ln(q.max(TINY)) - x);
                }
                costs.push(cost);
            }
            (ratios, costs)
        })
        .collect();
    into.sums[3] += parts.iter().flat_map(|p| &p.1).sum::<f64>();
    into.sums[3] += column_sums(w, k).iter().zip(&state.sums).map(|(w, h)| w * h).sum::<f64>();
    let ratios: Vec<f32> = parts.into_iter().flat_map(|p| p.0).collect();
    add_columns(&mut into.xw, x, &ratios, w, k);
}

/// into (d×k) += Qᵀ·w with Q of the shape of `x` and the stored values `q`. Rows are put in order of columns first, so that every column's
/// sums are formed in registers and written once.
fn add_columns(into: &mut [f64], x: &SparseRows, q: &[f32], w: &[f32], k: usize) {
    let wide = k.next_multiple_of(LANES);
    let mut padded = vec![0f32; x.rows() * wide];
    padded.chunks_exact_mut(wide).zip(w.chunks_exact(k)).for_each(|(to, w)| to[..k].copy_from_slice(w));
    let mut ends = vec![0u32; x.cols + 1];
    x.indices.iter().for_each(|&j| ends[j as usize + 1] += 1);
    (0..x.cols).for_each(|j| ends[j + 1] += ends[j]);
    let starts = ends.clone();
    let mut entries = vec![(0u32, 0f32); q.len()];
    let mut at = 0;
    for i in 0..x.rows() {
        for &j in x.row(i).0 {
            let to = &mut ends[j as usize];
            entries[*to as usize] = (i as u32, q[at]);
            *to += 1;
            at += 1;
        }
    }
    let strip = x.cols.div_ceil(16).max(16);
    into.par_chunks_mut(strip * k).enumerate().for_each(|(s, into)| {
        let mut sums = vec![0f32; wide];
        for (j, into) in (s * strip..).zip(into.chunks_exact_mut(k)) {
            let entries = &entries[starts[j] as usize..starts[j + 1] as usize];
            for run in entries.chunks(product::DEPTH) {
                Arch::new().dispatch(
                    #[inline(always)]
                    || sum_rows(&mut sums, run, &padded),
                );
                into.iter_mut().zip(&sums).for_each(|(t, &s)| *t += f64::from(s));
            }
        }
    });
}

/// sums ← Σ q·row, of rows as wide as `sums`.
#[inline(always)]
fn sum_rows(sums: &mut [f32], entries: &[(u32, f32)], rows: &[f32]) {
    let wide = sums.len();
    let (sums, _) = sums.as_chunks_mut::<LANES>();
    for s in sums.iter_mut() {
        *s = [0.0; LANES];
    }
    for &(i, q) in entries {
        let (row, _) = rows[i as usize * wide..(i as usize + 1) * wide].as_chunks::<LANES>();
        for (s, r) in sums.iter_mut().zip(row) {
            for l in 0..LANES {
                s[l] += q * r[l];
            }
        }
    }
}
