//! Atoms that are rows of the data: starts, and the answer where every part occurs alone in some row (separable data).
//!
//! Rows are scaled to sum to one, which puts every mixture of the parts between them, so that the pure rows are the corners. SPA takes the
//! longest row, takes its direction out of all rows, and goes on (Araújo et al. 2001; Gillis & Vavasis 2014). SNPA takes out not a
//! direction, but all that a mixture of the rows taken so far explains, which bears more noise and finds more corners than
//! dimensions (Gillis 2014). SPA costs k products of the data with a vector; SNPA as many, and some projections of k numbers
//! for each row and corner.

use crate::error::{Error, Result};
use crate::mat::{Mat, Rows};
use rayon::prelude::*;

/// Squared lengths below this share of the first are rounding.
const NOTHING: f64 = 1e-12;
/// Lengths that differ by less than this are equal: the row that was longest to begin with is taken.
const EQUAL: f64 = 1e-9;
/// Steps of a projection at most, and the move at which it ends.
const STEPS: usize = 300;
const STILL: f64 = 1e-9;

/// The numbers of `k` rows that no other rows mix to, by SPA, or by SNPA where `mixtures`.
pub(super) fn corners(x: &Rows, k: usize, mixtures: bool) -> Result<Vec<usize>> {
    let n = x.rows();
    let over: Vec<f64> =
        (0..n).into_par_iter().map(|i| of_row(x, i, |v| v)).map(|s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
    let first: Vec<f64> = (0..n).into_par_iter().map(|i| of_row(x, i, |v| v * v) * over[i].powi(2)).collect();
    let longest = first.iter().copied().fold(0.0, f64::max);
    let mut left = first.clone();
    let mut found: Vec<usize> = Vec::with_capacity(k);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut seen =
        Seen { products: vec![0.0; if mixtures { n * k } else { 0 }], weights: vec![0.0; if mixtures { n * k } else { 0 }], k };
    while found.len() < k {
        let most = left.iter().copied().fold(0.0, f64::max);
        if most <= NOTHING * longest {
            return Err(Error::data(format!(
                "after {} rows nothing is left to explain, so there are no {k} corners in this data; lower k to {0}, or use another init",
                found.len()
            )));
        }
        let equal = (0..n).filter(|&i| left[i] >= most * (1.0 - EQUAL));
        let Some(next) = equal.reduce(|a, b| if first[b] > first[a] { b } else { a }) else { break };
        found.push(next);
        let row = row(x, next, over[next]);
        if mixtures {
            seen.add(found.len() - 1, &along(x, &row, &over));
            seen.project(&found, &first, &mut left);
        } else {
            let mut direction = row;
            for _ in 0..2 {
                for u in &basis {
                    let share: f64 = u.iter().zip(&direction).map(|(u, v)| u * v).sum();
                    direction.iter_mut().zip(u).for_each(|(v, u)| *v -= share * u);
                }
            }
            let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
            direction.iter_mut().for_each(|v| *v /= length.max(f64::MIN_POSITIVE));
            left.iter_mut().zip(along(x, &direction, &over)).for_each(|(left, a)| *left -= a * a);
            basis.push(direction);
        }
        left[next] = 0.0;
    }
    Ok(found)
}

/// Those rows (k×d).
pub(super) fn rows(x: &Rows, which: &[usize]) -> Mat {
    let mut out = Mat::zeros(which.len(), x.cols());
    for (to, &i) in which.iter().enumerate() {
        out.row_mut(to).iter_mut().zip(row(x, i, 1.0)).for_each(|(t, v)| *t = v as f32);
    }
    out
}

fn row(x: &Rows, i: usize, scale: f64) -> Vec<f64> {
    let mut out = vec![0.0; x.cols()];
    match x {
        Rows::Dense(x) => out.iter_mut().zip(x.row(i)).for_each(|(o, &v)| *o = f64::from(v) * scale),
        Rows::Sparse(x) => {
            let (columns, values) = x.row(i);
            columns.iter().zip(values).for_each(|(&j, &v)| out[j as usize] += f64::from(v) * scale);
        }
    }
    out
}

/// x·u of every row times `over`, in f64: what is left of a row is a small difference.
fn along(x: &Rows, u: &[f64], over: &[f64]) -> Vec<f64> {
    let product = |i: usize| match x {
        Rows::Dense(x) => x.row(i).iter().zip(u).map(|(&x, u)| f64::from(x) * u).sum::<f64>(),
        Rows::Sparse(x) => {
            let (columns, values) = x.row(i);
            columns.iter().zip(values).map(|(&j, &x)| f64::from(x) * u[j as usize]).sum()
        }
    };
    (0..x.rows()).into_par_iter().map(|i| product(i) * over[i]).collect()
}

fn of_row(x: &Rows, i: usize, f: impl Fn(f64) -> f64) -> f64 {
    let values = match x {
        Rows::Dense(x) => x.row(i),
        Rows::Sparse(x) => x.row(i).1,
    };
    values.iter().map(|&v| f(f64::from(v))).sum()
}

/// What SNPA knows of every row: its products with the corners so far, and the mixture of them that is nearest to it.
struct Seen {
    products: Vec<f64>,
    weights: Vec<f64>,
    k: usize,
}

impl Seen {
    fn add(&mut self, at: usize, products: &[f64]) {
        self.products.chunks_exact_mut(self.k).zip(products).for_each(|(all, p)| all[at] = *p);
    }

    /// Sets `left` to every row's squared distance from all mixtures of the corners.
    fn project(&mut self, corners: &[usize], lengths: &[f64], left: &mut [f64]) {
        let (k, m) = (self.k, corners.len());
        let gram: Vec<f64> = (0..m * m).map(|i| self.products[corners[i / m] * k + i % m]).collect();
        // No less than the largest eigenvalue.
        let stiff =
            (0..m).map(|a| gram[a * m..(a + 1) * m].iter().map(|g| g.abs()).sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
        let rows = self.weights.par_chunks_mut(k).zip(self.products.par_chunks(k)).zip(lengths).zip(&mut *left);
        rows.for_each(|(((w, b), length), left)| {
            let (w, b) = (&mut w[..m], &b[..m]);
            mix(&gram, b, stiff, w);
            let pull: f64 = w.iter().zip(b).map(|(w, b)| w * b).sum();
            let square: f64 =
                (0..m).map(|a| w[a] * gram[a * m..(a + 1) * m].iter().zip(&*w).map(|(g, w)| g * w).sum::<f64>()).sum();
            *left = (length - 2.0 * pull + square).max(0.0);
        });
        corners.iter().for_each(|&i| left[i] = 0.0);
    }
}

/// min over w ≥ 0, Σw ≤ 1 of ½·wGw − b·w, by accelerated projected gradient from where w stands.
fn mix(gram: &[f64], b: &[f64], stiff: f64, w: &mut [f64]) {
    let m = b.len();
    let mut at = w.to_vec();
    let mut t = 1.0f64;
    for _ in 0..STEPS {
        let mut new: Vec<f64> = (0..m)
            .map(|a| at[a] + (b[a] - gram[a * m..(a + 1) * m].iter().zip(&at).map(|(g, w)| g * w).sum::<f64>()) / stiff)
            .collect();
        to_mixture(&mut new);
        let next = f64::midpoint(1.0, (1.0 + 4.0 * t * t).sqrt());
        let moved = new.iter().zip(&*w).map(|(n, w)| (n - w).abs()).fold(0.0, f64::max);
        // Momentum that points uphill starts anew.
        let uphill = (0..m).map(|a| (at[a] - new[a]) * (new[a] - w[a])).sum::<f64>() > 0.0;
        let share = if uphill { 0.0 } else { (t - 1.0) / next };
        t = if uphill { 1.0 } else { next };
        for a in 0..m {
            at[a] = new[a] + share * (new[a] - w[a]);
            w[a] = new[a];
        }
        if moved < STILL {
            break;
        }
    }
}

/// The nearest point with nothing negative and a sum of at most 1.
fn to_mixture(v: &mut [f64]) {
    if v.iter().map(|v| v.max(0.0)).sum::<f64>() <= 1.0 {
        return v.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    let mut sorted = v.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut tau) = (0.0, 0.0);
    for (i, s) in sorted.iter().enumerate() {
        sum += s;
        let over = (sum - 1.0) / (i + 1) as f64;
        if *s > over {
            tau = over;
        }
    }
    v.iter_mut().for_each(|v| *v = (*v - tau).max(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg;
    use crate::rng::{Rng, rng};

    /// Mixtures of `k` random parts; part a alone in row `7a + 3`, times something.
    fn separable(n: usize, d: usize, k: usize, noise: f64, r: &mut Rng) -> (Mat, Vec<usize>) {
        let mut parts = Mat::zeros(k, d);
        parts.data.iter_mut().for_each(|p| *p = r.uniform() as f32);
        let mut w = Mat::zeros(n, k);
        w.data.iter_mut().for_each(|w| *w = (r.uniform().powi(3) + 0.02) as f32);
        let pure: Vec<usize> = (0..k).map(|a| 7 * a + 3).collect();
        for (a, &i) in pure.iter().enumerate() {
            w.row_mut(i).fill(0.0);
            w.row_mut(i)[a] = (0.3 + 2.0 * r.uniform()) as f32;
        }
        let mut x = linalg::rows_times(&w.view(), &parts);
        x.data.iter_mut().for_each(|v| *v = (f64::from(*v) * (1.0 + noise * r.normal())).max(0.0) as f32);
        (x, pure)
    }

    #[test]
    fn pure_rows_are_found_with_and_without_noise() {
        let mut r = rng(4, 0, 0);
        for noise in [0.0, 1e-3] {
            let (x, pure) = separable(120, 30, 8, noise, &mut r);
            for mixtures in [false, true] {
                let mut found = corners(&x.view(), 8, mixtures).expect("corners");
                found.sort_unstable();
                assert_eq!(found, pure, "noise {noise}, mixtures {mixtures}");
            }
        }
    }

    #[test]
    fn mixtures_find_more_corners_than_dimensions() {
        // Four corners of a square in three dimensions: the span is full after three.
        let corner = [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.2], [0.1, 0.1, 1.4]];
        let mut r = rng(1, 0, 0);
        let mut rows: Vec<f32> = corner.concat().iter().map(|&v: &f64| v as f32).collect();
        for _ in 0..60 {
            let mut w: Vec<f64> = (0..4).map(|_| r.uniform() + 0.01).collect();
            let sum: f64 = w.iter().sum();
            w.iter_mut().for_each(|w| *w /= sum);
            rows.extend((0..3).map(|j| (0..4).map(|a| w[a] * corner[a][j] / corner[a].iter().sum::<f64>()).sum::<f64>() as f32));
        }
        let x = Mat { rows: 64, cols: 3, data: rows };
        let mut found = corners(&x.view(), 4, true).expect("corners");
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3]);
        assert!(corners(&x.view(), 4, false).is_err_and(|e| e.to_string().contains("lower k to 3")));
    }

    #[test]
    fn the_nearest_mixture() {
        for (mut v, want) in [
            (vec![0.2, -0.1, 0.3], vec![0.2, 0.0, 0.3]),
            (vec![2.0, 0.5], vec![1.0, 0.0]),
            (vec![0.8, 0.6, -3.0], vec![0.6, 0.4, 0.0]),
        ] {
            to_mixture(&mut v);
            assert!(v.iter().zip(&want).all(|(a, b): (&f64, &f64)| (a - b).abs() < 1e-12), "{v:?}");
        }
    }
}
