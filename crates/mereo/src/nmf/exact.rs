//! Least squares solved to the end: block principal pivoting where nothing may be negative (Kim & Park 2011), and plain normal
//! equations where anything may.
//!
//! For one row, min over w ≥ 0 of ½·wGwᵀ − b·w. At the optimum some coordinates are free and have a slope of 0, the others are 0
//! and have a slope of at least 0. Every step solves for the coordinates that are held to be free and moves all that are on the
//! wrong side at once, while that makes them fewer; after three steps that do not, only the last of them moves, which can't go on for
//! ever (Murty). Costs f³/6 for f free coordinates, a few times a row; rows with the same free coordinates as the one before share its factor.

use rayon::prelude::*;

/// Steps that may fail to leave fewer coordinates on the wrong side before they are moved one at a time.
const TRIES: usize = 3;
/// Pivots smaller than this share of the diagonal are of a coordinate that the others span already: it gets 0.
const SINGULAR: f64 = 1e-13;
/// What counts as on the wrong side, as a share of the row's largest |b|, in units in which G has a diagonal of ones.
const WRONG: f64 = 1e-12;

/// The problem that all rows share.
pub(super) struct Exact {
    k: usize,
    /// G (k×k) in units in which its diagonal is one.
    gram: Vec<f64>,
    /// 1 / √G_aa (k), or 0 for a coordinate that does nothing, which keeps its value.
    unit: Vec<f64>,
}

impl Exact {
    /// A problem with k coordinates and Gram matrix `gram` (k×k).
    pub fn new(k: usize, gram: &[f64]) -> Self {
        let largest = (0..k).fold(0f64, |m, a| m.max(gram[a * k + a]));
        let unit: Vec<f64> =
            (0..k).map(|a| gram[a * k + a]).map(|g| if g > largest * 1e-30 && g > 0.0 { 1.0 / g.sqrt() } else { 0.0 }).collect();
        let gram = (0..k * k).map(|i| gram[i] * unit[i / k] * unit[i % k]).collect();
        Self { k, gram, unit }
    }

    /// Solves for all rows of `w` (n×k) with their `b` (n×k), on this thread; which coordinates are free now is where it starts.
    /// With `signed` anything may be negative.
    pub fn solve(&self, w: &mut [f32], b: &[f32], signed: bool) {
        let k = self.k;
        let mut work = Work::new(k);
        for (w, b) in w.chunks_exact_mut(k).zip(b.chunks_exact(k)) {
            let live = |a: usize| self.unit[a] > 0.0;
            (0..k).for_each(|a| {
                work.b[a] = f64::from(b[a]) * self.unit[a];
                work.free[a] = live(a) && (signed || w[a] > 0.0);
            });
            if signed {
                self.equations(&mut work);
            } else {
                self.pivot(&mut work);
            }
            for (a, w) in w.iter_mut().enumerate().filter(|(a, _)| live(*a)) {
                let x = if work.free[a] { work.x[a] * self.unit[a] } else { 0.0 };
                *w = if signed { x as f32 } else { x.max(0.0) as f32 };
            }
        }
    }

    fn pivot(&self, work: &mut Work) {
        let k = self.k;
        let wrong = WRONG * work.b.iter().fold(0f64, |m, b| m.max(b.abs()));
        let (mut fewest, mut tries) = (k + 1, TRIES);
        // Never needed in full but where rounding makes it turn in circles.
        for _ in 0..10 * k + 50 {
            self.equations(work);
            let off = |a: usize| {
                if work.free[a] {
                    return work.x[a] < -wrong;
                }
                let row = &self.gram[a * k..(a + 1) * k];
                let slope = (0..k).filter(|&c| work.free[c]).map(|c| row[c] * work.x[c]).sum::<f64>() - work.b[a];
                self.unit[a] > 0.0 && slope < -wrong
            };
            let moved: Vec<usize> = (0..k).filter(|&a| off(a)).collect();
            let Some(&last) = moved.last() else { return };
            let all = if moved.len() < fewest {
                (fewest, tries) = (moved.len(), TRIES);
                true
            } else {
                tries = tries.saturating_sub(1);
                tries > 0
            };
            let which = if all { &moved[..] } else { &[last][..] };
            which.iter().for_each(|&a| work.free[a] = !work.free[a]);
        }
    }

    /// x of the free coordinates, by a Cholesky factor of their part of G.
    fn equations(&self, work: &mut Work) {
        let k = self.k;
        let Work { b, x, free, places, factor, of } = work;
        places.clear();
        places.extend((0..k).filter(|&a| free[a]));
        let m = places.len();
        if of != places {
            for i in 0..m {
                for j in 0..=i {
                    let done: f64 = (0..j).map(|l| factor[i * k + l] * factor[j * k + l]).sum();
                    let rest = self.gram[places[i] * k + places[j]] - done;
                    factor[i * k + j] = match i == j {
                        // So large a pivot makes the coordinate 0.
                        true if rest < SINGULAR => 1e150,
                        true => rest.sqrt(),
                        false => rest / factor[j * k + j],
                    };
                }
            }
            of.clone_from(places);
        }
        for i in 0..m {
            let done: f64 = (0..i).map(|l| factor[i * k + l] * x[l]).sum();
            x[i] = (b[places[i]] - done) / factor[i * k + i];
        }
        for i in (0..m).rev() {
            let done: f64 = (i + 1..m).map(|l| factor[l * k + i] * x[l]).sum();
            x[i] = (x[i] - done) / factor[i * k + i];
        }
        // From the places of the factor to the coordinates, the last first.
        for i in (0..m).rev() {
            x[places[i]] = x[i];
        }
    }
}

/// What one row after another needs.
struct Work {
    b: Vec<f64>,
    x: Vec<f64>,
    free: Vec<bool>,
    places: Vec<usize>,
    /// Lower triangle of the factor of the places in `of`, with rows of k.
    factor: Vec<f64>,
    of: Vec<usize>,
}

impl Work {
    fn new(k: usize) -> Self {
        Self {
            b: vec![0.0; k],
            x: vec![0.0; k],
            free: vec![false; k],
            places: Vec::with_capacity(k),
            factor: vec![0.0; k * k],
            of: Vec::with_capacity(k),
        }
    }
}

/// The best atoms for the sums of a pass: `h` = Hᵀ (d×k), from XᵀW (d×k) and WᵀW (k×k), both with their penalties. The first `fixed` of
/// them stay as they are.
pub(super) fn atoms(h: &mut [f32], xw: &[f64], ww: &[f64], (k, fixed): (usize, usize), signed: bool) {
    let free = k - fixed;
    if free == 0 {
        return;
    }
    let inner: Vec<f64> = (0..free * free).map(|i| ww[(fixed + i / free) * k + fixed + i % free]).collect();
    let problem = Exact::new(free, &inner);
    let take = super::take(h.len() / k);
    h.par_chunks_mut(take * k).zip(xw.par_chunks(take * k)).for_each(|(h, xw)| {
        let mut b = Vec::with_capacity(h.len());
        let mut w = Vec::with_capacity(h.len());
        for (h, xw) in h.chunks_exact(k).zip(xw.chunks_exact(k)) {
            // What the fixed atoms explain is not asked of the others.
            b.extend((fixed..k).map(|a| (xw[a] - (0..fixed).map(|c| ww[a * k + c] * f64::from(h[c])).sum::<f64>()) as f32));
            w.extend_from_slice(&h[fixed..]);
        }
        problem.solve(&mut w, &b, signed);
        h.chunks_exact_mut(k).zip(w.chunks_exact(free)).for_each(|(h, w)| h[fixed..].copy_from_slice(w));
    });
}

#[cfg(test)]
mod tests {
    use super::super::hals::{Effort, Quadratic};
    use super::*;
    use crate::rng::rng;

    fn problem(n: usize, k: usize, d: usize, seed: u64) -> (Vec<f64>, Vec<f32>) {
        let mut r = rng(seed, 0, 0);
        let h: Vec<f64> = (0..k * d).map(|_| r.uniform()).collect();
        let gram = (0..k * k).map(|i| (0..d).map(|j| h[i / k * d + j] * h[i % k * d + j]).sum()).collect();
        (gram, (0..n * k).map(|_| (r.normal() * 3.0 + 1.0) as f32).collect())
    }

    /// How far a row is from where it should be, as a share of its largest |b|.
    fn residual(gram: &[f64], w: &[f32], b: &[f32]) -> f64 {
        let k = w.len();
        let slope = |a: usize| (0..k).map(|c| gram[a * k + c] * f64::from(w[c])).sum::<f64>() - f64::from(b[a]);
        let right = |a: usize| if w[a] > 0.0 { slope(a).abs() } else { (-slope(a)).max(0.0) };
        (0..k).map(right).fold(0.0, f64::max) / b.iter().fold(0.0, |m, b| f64::from(b.abs()).max(m))
    }

    #[test]
    fn every_row_ends_at_its_optimum() {
        for (n, k, d) in [(40, 1, 5), (60, 4, 9), (100, 17, 40), (50, 33, 34)] {
            let (gram, b) = problem(n, k, d, k as u64);
            let mut w = vec![0.5f32; n * k];
            Exact::new(k, &gram).solve(&mut w, &b, false);
            let mut cold = vec![0f32; n * k];
            Exact::new(k, &gram).solve(&mut cold, &b, false);
            for i in 0..n {
                let (w, b) = (&w[i * k..(i + 1) * k], &b[i * k..(i + 1) * k]);
                assert!(w.iter().all(|w| *w >= 0.0));
                // f32 weights can't do better: their rounding times the condition of G is in it.
                let off = residual(&gram, w, b);
                assert!(off < 2e-5, "{n}×{k}, row {i}: {off}");
                let far = w.iter().zip(&cold[i * k..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(far <= 1e-5 * w.iter().fold(1.0, |m: f32, w| m.max(*w)), "another start ends {far} away");
            }
            assert!(w.contains(&0.0) && w.iter().any(|w| *w > 0.0));
        }
    }

    #[test]
    fn sweeps_without_end_come_to_the_same() {
        let (n, k) = (64, 9);
        let (gram, b) = problem(n, k, 30, 5);
        let single: Vec<f32> = gram.iter().map(|&g| g as f32).collect();
        let (mut exact, mut swept) = (vec![0f32; n * k], vec![0f32; n * k]);
        Exact::new(k, &gram).solve(&mut exact, &b, false);
        Quadratic::new(k, &single, 0.0).refine(&mut swept, &b, Effort { sweeps: 20_000, tol: 1e-7 }, &mut vec![0.0; n]);
        for (e, s) in exact.iter().zip(&swept) {
            assert!((e - s).abs() < 1e-3 * (1.0 + e.abs()), "{e} {s}");
        }
    }

    #[test]
    fn twins_and_dead_coordinates_do_no_harm() {
        // The second coordinate is the first once more, the third does nothing.
        let gram = [2.0, 2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        let mut w = [0.0, 0.0, 0.25];
        Exact::new(3, &gram).solve(&mut w, &[4.0, 4.0, 1.0], false);
        assert!((w[0] + w[1] - 2.0).abs() < 1e-6 && w[2] == 0.25, "{w:?}");
        let mut w = [0.0, 0.0, 0.25];
        Exact::new(3, &gram).solve(&mut w, &[-4.0, -4.0, 1.0], false);
        assert_eq!(w, [0.0, 0.0, 0.25]);
    }

    #[test]
    fn signed_least_squares_and_fixed_atoms() {
        let (n, k) = (20, 5);
        let (gram, b) = problem(n, k, 30, 8);
        let mut w = vec![0f32; n * k];
        Exact::new(k, &gram).solve(&mut w, &b, true);
        assert!(w.iter().any(|w| *w < 0.0));
        for (w, b) in w.chunks(k).zip(b.chunks(k)) {
            for a in 0..k {
                let slope = (0..k).map(|c| gram[a * k + c] * f64::from(w[c])).sum::<f64>() - f64::from(b[a]);
                assert!(slope.abs() < 1e-4, "{slope}");
            }
        }
        let xw: Vec<f64> = b.iter().map(|&b| f64::from(b)).collect();
        let mut h = vec![0.5f32; n * k];
        atoms(&mut h, &xw, &gram, (k, 2), false);
        for (h, b) in h.chunks(k).zip(b.chunks(k)) {
            assert_eq!(h[..2], [0.5, 0.5]);
            for a in 2..k {
                let slope = (0..k).map(|c| gram[a * k + c] * f64::from(h[c])).sum::<f64>() - f64::from(b[a]);
                assert!(if h[a] > 0.0 { slope.abs() < 1e-4 } else { slope > -1e-4 }, "{a}: {slope}");
            }
        }
    }
}
