//! Rows that lack a latent, and lie next to those that have it.

use super::Examples;
use crate::codes::Both;
use mereo::linalg::{Into, PANEL, mul_nt, rows_times_t};
use mereo::{Mat, Rows};
use rayon::prelude::*;

/// Latents whose cosines are looked at together: with a panel of rows they stay in a core's own cache.
const BLOCK: usize = 128;

/// For each of some latents, the `count` rows of the highest cosine to the mean embedding of its top rows that lack it, of long texts.
/// Rows of zeros have no cosine, and are left out.
pub(super) fn nearest(codes: &Both, rows: &Rows, of: &[Examples], long: &[bool], count: usize) -> Vec<Vec<usize>> {
    let n = rows.rows();
    let inverse: Vec<f32> = (0..n).into_par_iter().map(|i| inverse(&rows.slice(i, i + 1))).collect();
    of.par_chunks(BLOCK)
        .flat_map_iter(|of| {
            let means = means(rows, of);
            let mut best: Vec<Best> = of.iter().map(|_| Best { count, all: Vec::with_capacity(count + 1) }).collect();
            for from in (0..n).step_by(PANEL) {
                let to = n.min(from + PANEL);
                let products = products(&means, &rows.slice(from, to));
                for ((of, best), products) in of.iter().zip(&mut best).zip(products.chunks_exact(to - from)) {
                    if of.label.active.is_empty() {
                        continue;
                    }
                    for (i, product) in (from..to).zip(products) {
                        // The mean's own length does not change the order.
                        let cosine = product * inverse[i];
                        if cosine > best.least()
                            && long[i]
                            && inverse[i] > 0.0
                            && codes.by_latent.value(of.latent, i as u32) == 0.0
                        {
                            best.put(cosine, i);
                        }
                    }
                }
            }
            best.into_iter().map(|b| b.all.into_iter().map(|e| e.1).collect::<Vec<_>>()).collect::<Vec<_>>()
        })
        .collect()
}

/// 1 / length of a row; 0 of one of zeros, or of one that is not finite.
fn inverse(row: &Rows) -> f32 {
    let length = row.values().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() { (1.0 / length) as f32 } else { 0.0 }
}

/// The mean embedding of the top rows of each latent, of all active ones if none is top (latents × d).
fn means(rows: &Rows, of: &[Examples]) -> Mat {
    let mut out = Mat::zeros(of.len(), rows.cols());
    for (j, of) in of.iter().enumerate() {
        let top = if of.label.top > 0 { of.label.top } else { of.label.active.len() };
        let some: Vec<usize> = of.label.active[..top].iter().map(|e| e.row).collect();
        let some = rows.pick(&some).to_mat();
        let mut sum = vec![0f64; rows.cols()];
        for i in 0..some.rows {
            sum.iter_mut().zip(some.row(i)).for_each(|(s, &v)| *s += f64::from(v));
        }
        out.row_mut(j).iter_mut().zip(sum).for_each(|(o, s)| *o = (s / some.rows.max(1) as f64) as f32);
    }
    out
}

/// means (k×d) · rowsᵀ, row-major by latent.
fn products(means: &Mat, rows: &Rows) -> Vec<f32> {
    match rows {
        Rows::Dense(x) => {
            let mut out = vec![0f32; means.rows * x.rows()];
            mul_nt(&mut out, &means.data, &x.data, (means.rows, means.cols, x.rows()), Into::Replace);
            out
        }
        Rows::Sparse(_) => rows_times_t(rows, means).transpose().data,
    }
}

/// The largest so far, by falling cosine, ties by row.
struct Best {
    count: usize,
    all: Vec<(f32, usize)>,
}

impl Best {
    /// What another has to exceed; rows come in their order, so that the first of equals stays.
    fn least(&self) -> f32 {
        match self.all.last() {
            _ if self.count == 0 => f32::INFINITY,
            Some(last) if self.all.len() == self.count => last.0,
            _ => f32::NEG_INFINITY,
        }
    }

    fn put(&mut self, cosine: f32, row: usize) {
        let at = self.all.partition_point(|e| e.0 >= cosine);
        self.all.insert(at, (cosine, row));
        self.all.truncate(self.count);
    }
}
