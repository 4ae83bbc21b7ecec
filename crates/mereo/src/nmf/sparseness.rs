//! Hoyer's sparseness met exactly: the nearest point of non-negative vectors with a given ratio of L1 to L2 norm.
//!
//! Sparseness of m numbers is (√m − ‖x‖₁/‖x‖₂) / (√m − 1): 0 if all are equal, 1 if one alone is not zero (Hoyer 2004). Of all unit
//! vectors u ≥ 0 with ‖u‖₁ = c the one nearest to v, which is also the one with the largest u·v, is (v − τ)₊ divided by its length, for the
//! one threshold τ that gives it the norm asked for. With the numbers sorted, τ follows from a quadratic equation, so this ends where
//! Hoyer's alternating projection does (Thom & Palm 2013), in one sort: O(m log m).

/// ‖u‖₁ of a unit vector of `m` numbers with this sparseness.
pub(super) fn norm_of(sparseness: f64, m: usize) -> f64 {
    let root = (m as f64).sqrt();
    root - (root - 1.0) * sparseness
}

/// Replaces `v` by the nearest unit vector with nothing negative and ‖u‖₁ = `c`, which lies between 1 and √m.
pub(super) fn project(v: &mut [f64], c: f64) {
    if v.is_empty() {
        return;
    }
    let mut order: Vec<usize> = (0..v.len()).collect();
    order.sort_by(|&i, &j| v[j].total_cmp(&v[i]));
    let top = v[order[0]];
    let size = order.iter().map(|&i| (v[i] - top).abs()).fold(0.0, f64::max);
    let ties = order.iter().take_while(|&&i| top - v[i] <= 1e-14 * size).count();
    let enough = c * c;
    if ties as f64 >= enough * (1.0 - 1e-12) {
        // More equal numbers at the top than may be used to the full: any of them may be, and the first shall.
        spread(v, &order[..ties], c);
        return;
    }
    // Falling numbers, of which the largest is 0.
    let y: Vec<f64> = order.iter().map(|&i| v[i] - top).collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut active = y.len();
    for (m, &last) in y.iter().enumerate() {
        // The first m + 1 numbers are positive with a threshold just below; at the next number the ratio is known.
        sum += last;
        squares += last * last;
        let m = m + 1;
        let Some(&tau) = y.get(m) else { break };
        let l1 = sum - m as f64 * tau;
        let l2 = squares - 2.0 * tau * sum + m as f64 * tau * tau;
        if l1 >= c * l2.max(0.0).sqrt() && m as f64 >= enough * (1.0 - 1e-12) {
            active = m;
            break;
        }
    }
    let used = &y[..active];
    let mean = used.iter().sum::<f64>() / active as f64;
    let variance: f64 = used.iter().map(|y| (y - mean).powi(2)).sum();
    let rest = 1.0 - enough / active as f64;
    let l1 = if rest > 1e-12 { c * (variance / rest).sqrt() } else { f64::INFINITY };
    let tau = mean - l1 / active as f64;
    v.fill(0.0);
    let (mut of_1, mut of_2) = (0.0, 0.0);
    for (&i, y) in order.iter().zip(used) {
        // Where every number that is used must be equal, the threshold is out of sight.
        v[i] = if l1.is_finite() { (y - tau).max(0.0) } else { 1.0 };
        of_1 += v[i];
        of_2 += v[i] * v[i];
    }
    debug_assert!(of_1 > 0.0);
    let unit = 1.0 / of_2.sqrt();
    v.iter_mut().for_each(|v| *v *= unit);
}

/// A unit vector with ‖u‖₁ = c on the given places: the first of them larger than the others, which are equal.
fn spread(v: &mut [f64], places: &[usize], c: f64) {
    // As few places as the norm needs: first + rest·(count − 1) = c, first² + rest²·(count − 1) = 1.
    let count = ((c * c).ceil() as usize).clamp(1, places.len());
    let m = count as f64;
    let root = ((m - c * c).max(0.0) * (m - 1.0)).sqrt();
    let (first, rest) = if count == 1 { (1.0, 0.0) } else { ((c + root) / m, (c - root / (m - 1.0)) / m) };
    v.fill(0.0);
    for (n, &i) in places[..count].iter().enumerate() {
        v[i] = if n == 0 { first } else { rest };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::rng;
    use proptest::prelude::*;

    fn norms(v: &[f64]) -> (f64, f64) {
        (v.iter().sum(), v.iter().map(|v| v * v).sum::<f64>().sqrt())
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
    }

    /// Hoyer's projection as his paper and script have it.
    fn alternating(s: &[f64], c: f64) -> Vec<f64> {
        let n = s.len();
        let shift = (c - s.iter().sum::<f64>()) / n as f64;
        let mut v: Vec<f64> = s.iter().map(|s| s + shift).collect();
        let mut zero = vec![false; n];
        for _ in 0..=n {
            let free = zero.iter().filter(|z| !**z).count() as f64;
            let w: Vec<f64> = (0..n).map(|i| if zero[i] { 0.0 } else { v[i] - c / free }).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (a, b, e) = (dot(&w, &w), 2.0 * dot(&w, &v), dot(&v, &v) - 1.0);
            let alpha = (-b + (b * b - 4.0 * a * e).max(0.0).sqrt()) / (2.0 * a);
            v.iter_mut().zip(&w).for_each(|(v, w)| *v += alpha * w);
            if v.iter().all(|v| *v >= -1e-12) {
                return v;
            }
            for i in 0..n {
                zero[i] |= v[i] <= 0.0;
                if zero[i] {
                    v[i] = 0.0;
                }
            }
            let free = zero.iter().filter(|z| !**z).count() as f64;
            let over = (v.iter().sum::<f64>() - c) / free;
            (0..n).filter(|i| !zero[*i]).for_each(|i| v[i] -= over);
        }
        v
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_norms_are_those_asked_for_and_nothing_random_is_nearer(
            v in prop::collection::vec(-3.0f64..3.0, 2..60), sparseness in 0.0f64..=1.0, seed in 0u64..1000
        ) {
            let c = norm_of(sparseness, v.len());
            let mut u = v.clone();
            project(&mut u, c);
            let (l1, l2) = norms(&u);
            prop_assert!(u.iter().all(|u| *u >= 0.0), "{u:?}");
            prop_assert!((l1 - c).abs() < 1e-9 * c && (l2 - 1.0).abs() < 1e-12, "{l1} {l2}, asked for {c}");
            let mut r = rng(seed, 0, 0);
            for near in [0.01, 0.3, 3.0] {
                let mut other: Vec<f64> = u.iter().map(|u| u + near * r.normal()).collect();
                project(&mut other, c);
                prop_assert!(distance(&v, &u) <= distance(&v, &other) + 1e-9, "{} {}", distance(&v, &u), distance(&v, &other));
            }
        }

        #[test]
        fn it_is_never_further_than_hoyers_own(v in prop::collection::vec(0.0f64..1.0, 3..60), sparseness in 0.05f64..0.95) {
            let c = norm_of(sparseness, v.len());
            let mut u = v.clone();
            project(&mut u, c);
            let theirs = alternating(&v, c);
            prop_assert!(distance(&v, &u) <= distance(&v, &theirs) + 1e-9);
        }
    }

    #[test]
    fn equal_numbers_and_the_ends_of_the_scale() {
        for (v, sparseness) in [
            (vec![1.0; 9], 0.5),
            (vec![1.0; 9], 0.0),
            (vec![1.0; 9], 1.0),
            (vec![0.0; 4], 0.3),
            (vec![-1.0, -1.0, -2.0], 0.9),
            (vec![5.0, 5.0, 5.0, 1.0, 0.0], 0.8),
            (vec![5.0, 5.0, 5.0, 1.0, 0.0], 1.0),
            (vec![2.0, 1.0], 1.0),
            (vec![7.0], 0.4),
        ] {
            let c = norm_of(sparseness, v.len());
            let mut u = v.clone();
            project(&mut u, c);
            let (l1, l2) = norms(&u);
            assert!(
                (l1 - c).abs() < 1e-9 && (l2 - 1.0).abs() < 1e-9 && u.iter().all(|u| *u >= 0.0),
                "{v:?} at {sparseness}: {u:?}"
            );
        }
    }
}
