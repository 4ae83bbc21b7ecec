//! Pairs of latents that fire together, and whether more often than by chance.

use super::{Families, FamilyTest};
use crate::codes::Both;
use mereo::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Two latents that fire together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    /// The one that fires less often; of equals the one of the higher index.
    pub rare: u32,
    /// The other one.
    pub dense: u32,
    /// Rows on which both fire.
    pub together: u32,
}

impl Pair {
    /// C / (min(f_i, f_j) + 1).
    pub fn weight(&self, both: &Both) -> f64 {
        f64::from(self.together) / (both.by_latent.len(self.rare as usize) as f64 + 1.0)
    }
    /// C·n / (f_i·f_j).
    pub fn lift(&self, both: &Both) -> f64 {
        lift(both, self.rare as usize, self.dense as usize, self.together)
    }
    /// Both indices, the lower first.
    pub fn ends(&self) -> (u32, u32) {
        (self.rare.min(self.dense), self.rare.max(self.dense))
    }
}

fn lift(both: &Both, a: usize, b: usize, together: u32) -> f64 {
    let [a, b] = [a, b].map(|j| both.by_latent.len(j) as f64);
    f64::from(together) * both.rows() as f64 / (a * b)
}

/// How many rows one latent shares with each other one.
pub(super) struct Shared {
    counts: Vec<u32>,
    met: Vec<u32>,
}

impl Shared {
    pub fn new(latents: usize) -> Self {
        Self { counts: vec![0; latents], met: Vec::new() }
    }
    /// Counts those of latent `i` with all that `keep` lets through.
    pub fn count(&mut self, both: &Both, i: usize, keep: impl Fn(usize) -> bool) {
        for j in self.met.drain(..) {
            self.counts[j as usize] = 0;
        }
        for &row in both.by_latent.get(i).0 {
            for &j in both.by_row.get(row as usize).0 {
                if keep(j as usize) {
                    if self.counts[j as usize] == 0 {
                        self.met.push(j);
                    }
                    self.counts[j as usize] += 1;
                }
            }
        }
        self.met.sort_unstable();
    }
    /// Rows shared with latent `j`.
    pub fn with(&self, j: usize) -> u32 {
        self.counts[j]
    }
    /// The latents that share a row, rising, and how many.
    pub fn all(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.met.iter().map(|&j| (j, self.counts[j as usize]))
    }
}

/// The pairs of clean latents that may be an edge in some round.
///
/// Each pair is met from its rarer latent, whose w is the larger one, so a latent has at most L0 / τ pairs to keep.
pub(super) fn passing(both: &Both, clean: &[usize], how: &Families) -> Vec<Pair> {
    let tau = how.tau.min(how.tau_later);
    let least = if let FamilyTest::Lift { least, .. } = how.test { least } else { 0.0 };
    // Places by rising frequency; 0 for those that are not clean.
    let mut order = clean.to_vec();
    order.sort_by_key(|&j| (both.by_latent.len(j), std::cmp::Reverse(j)));
    let mut place = vec![0u32; both.latents()];
    order.iter().enumerate().for_each(|(at, &j)| place[j] = at as u32 + 1);
    let each: Vec<Vec<Pair>> = clean
        .par_iter()
        .map_init(
            || Shared::new(both.latents()),
            |shared, &i| {
                shared.count(both, i, |j| place[j] > place[i]);
                let pairs = shared.all().map(|(j, together)| Pair { rare: i as u32, dense: j, together });
                pairs.filter(|p| p.weight(both) >= tau && p.lift(both) >= least).collect()
            },
        )
        .collect();
    let mut pairs = each.concat();
    if let FamilyTest::Lift { q, .. } = how.test {
        let chance: Vec<f64> = pairs
            .par_iter()
            .map(|p| {
                let [a, b] = [p.rare, p.dense].map(|j| both.by_latent.len(j as usize) as u64);
                upper_tail(both.rows() as u64, a, b, u64::from(p.together))
            })
            .collect();
        let tests = clean.len() as f64 * (clean.len() as f64 - 1.0) / 2.0;
        let bound = benjamini_hochberg(&chance, tests, q);
        let mut keep = chance.into_iter().map(|p| bound.is_some_and(|bound| p <= bound));
        pairs.retain(|_| keep.next() == Some(true));
    }
    pairs
}

/// The largest of the p-values that is significant when `tests` were made in all, of which those that are not given had p = 1: the last
/// p₍ᵣ₎ ≤ r·q / tests, by rising p (Benjamini & Hochberg 1995).
fn benjamini_hochberg(p: &[f64], tests: f64, q: f64) -> Option<f64> {
    let mut sorted = p.to_vec();
    sorted.par_sort_unstable_by(f64::total_cmp);
    (0..sorted.len()).rev().find(|&r| sorted[r] <= (r + 1) as f64 * q / tests).map(|r| sorted[r])
}

/// P(X ≥ c) for the rows X that two independent latents share, which fire on `a` and `b` of `n` rows (hypergeometric; Fisher's exact test).
fn upper_tail(n: u64, a: u64, b: u64, c: u64) -> f64 {
    let (least, most) = ((a + b).saturating_sub(n), a.min(b));
    if c <= least {
        return 1.0;
    }
    if c > most {
        return 0.0;
    }
    let choose =
        |n: u64, k: u64| libm::lgamma(n as f64 + 1.0) - libm::lgamma(k as f64 + 1.0) - libm::lgamma((n - k) as f64 + 1.0);
    let at = |x: u64| (choose(a, x) + choose(n - a, b - x) - choose(n, b)).exp();
    // P(x + 1) / P(x).
    let step = |x: u64| ((a - x) as f64 * (b - x) as f64) / ((x + 1) as f64 * (n + x + 1 - a - b) as f64);
    // From the given count away from the mean, where terms fall.
    let (mut term, mut sum, mut x);
    if c as f64 * n as f64 > a as f64 * b as f64 {
        (term, x) = (at(c), c);
        sum = term;
        while x < most && term > sum * f64::EPSILON {
            term *= step(x);
            sum += term;
            x += 1;
        }
        sum.min(1.0)
    } else {
        (term, x) = (at(c - 1), c - 1);
        sum = term;
        while x > least && term > sum * f64::EPSILON {
            x -= 1;
            term /= step(x);
            sum += term;
        }
        (1.0 - sum).max(0.0)
    }
}

/// Another latent that fires together with one more often than by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cooccurring {
    /// The other latent.
    pub latent: usize,
    /// Rows on which both fire (C).
    pub together: u64,
    /// Rows on which the other one fires.
    pub fires: u64,
    /// Share of the one's rows on which the other fires too.
    pub given_this: f64,
    /// Share of the other's rows on which the one fires too.
    pub given_other: f64,
    /// C·n / (f_i·f_j): how many times more often than independent latents.
    pub lift: f64,
    /// Pointwise mutual information, log₂ of the lift, in bits.
    pub pmi: f64,
    /// Log-likelihood ratio of their 2 × 2 table against independence (Dunning 1993), by which they are ranked: neither a rare pair with a
    /// large lift and few rows, nor a dense latent that is everywhere, comes first. About χ² with one degree of freedom.
    pub g2: f64,
}

/// The latents that fire together with latent `j` more often than by chance, the `top` surest first; ties by index.
///
/// Cost: the latents alive on the rows of `j`.
///
/// # Errors
/// There is no latent `j`.
pub fn cooccurring(both: &Both, j: usize, top: usize) -> Result<Vec<Cooccurring>> {
    if j >= both.latents() {
        return Err(Error::data(format!("there is no latent {j} among {}; count from 0", both.latents())));
    }
    let mut shared = Shared::new(both.latents());
    shared.count(both, j, |other| other != j);
    let own = both.by_latent.len(j);
    let mut all: Vec<Cooccurring> = shared
        .all()
        .map(|(other, together)| {
            let (latent, c) = (other as usize, f64::from(together));
            let fires = both.by_latent.len(latent);
            let lift = lift(both, j, latent, together);
            Cooccurring {
                latent,
                together: u64::from(together),
                fires: fires as u64,
                given_this: c / own as f64,
                given_other: c / fires as f64,
                lift,
                pmi: lift.log2(),
                g2: g2(both.rows() as f64, own as f64, fires as f64, c),
            }
        })
        .filter(|c| c.lift > 1.0)
        .collect();
    all.sort_by(|a, b| b.g2.total_cmp(&a.g2).then(a.latent.cmp(&b.latent)));
    all.truncate(top);
    Ok(all)
}

/// 2 Σ O ln(O / E) over the four cells of a table of n rows with margins a and b and c in both.
fn g2(n: f64, a: f64, b: f64, c: f64) -> f64 {
    let cells = [(c, a * b), (a - c, a * (n - b)), (b - c, (n - a) * b), (n - a - b + c, (n - a) * (n - b))];
    2.0 * cells.iter().filter(|(o, _)| *o > 0.0).map(|(o, e)| o * (o * n / e).ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_by_hand() {
        // Fisher's tea: 4 of 8 cups, all four right 1 in 70, three or more 17 in 70.
        for (c, p) in [(0, 1.0), (1, 69.0 / 70.0), (2, 53.0 / 70.0), (3, 17.0 / 70.0), (4, 1.0 / 70.0), (5, 0.0)] {
            assert!((upper_tail(8, 4, 4, c) - p).abs() < 1e-12, "{c}: {}", upper_tail(8, 4, 4, c));
        }
        // 6 and 7 of 10 rows share 3 at least: C(6,x) C(4,7−x) / C(10,7) is 20, 60, 36, 4 of 120 for x = 3 to 6.
        for (c, p) in [(3, 1.0), (4, 100.0 / 120.0), (5, 40.0 / 120.0), (6, 4.0 / 120.0)] {
            assert!((upper_tail(10, 6, 7, c) - p).abs() < 1e-12, "{c}: {}", upper_tail(10, 6, 7, c));
        }
        // A latent that always fires shares all.
        assert_eq!(upper_tail(1000, 1000, 20, 20), 1.0);
    }

    #[test]
    fn tails_of_many_rows_add_up() {
        // Σ P(X ≥ c) over c ≥ 1 is the mean, Σ (2c − 1) P(X ≥ c) the second moment; terms on both sides of the mean are in it.
        let (n, a, b) = (40_000u64, 3600u64, 500u64);
        let tails: Vec<f64> = (1..=b).map(|c| upper_tail(n, a, b, c)).collect();
        let mean: f64 = tails.iter().sum();
        assert!((mean - 45.0).abs() < 1e-6, "{mean}");
        let square: f64 = (1..).zip(&tails).map(|(c, p)| f64::from(2 * c - 1) * p).sum();
        let variance = 45.0 * (1.0 - 0.09) * (39_500.0 / 39_999.0);
        assert!((square - mean * mean - variance).abs() < 1e-4, "{square}");
        // All of 500 under 3,600: Π (3600 − i) / (40000 − i), about .09⁵⁰⁰, beyond what f64 holds; of 100, it is not.
        let all: f64 = (0..100).map(|i| f64::from(3600 - i) / f64::from(40_000 - i)).product();
        assert!((upper_tail(n, a, 100, 100) / all - 1.0).abs() < 1e-8 && upper_tail(n, a, b, b) == 0.0);
    }

    #[test]
    fn benjamini_and_hochberg_by_hand() {
        // With 10 tests at q = .05 the bounds are .005, .01, .015, .02, ...: the fourth passes although the third alone does not.
        let p = [0.019, 0.001, 0.016, 0.008, 0.04];
        assert_eq!(benjamini_hochberg(&p, 10.0, 0.05), Some(0.019));
        assert_eq!(benjamini_hochberg(&p, 40.0, 0.05), Some(0.001), "bounds of .00125, .0025, .00375, ...");
        assert_eq!(benjamini_hochberg(&p, 100.0, 0.05), None);
        assert_eq!(benjamini_hochberg(&[], 0.0, 0.05), None);
    }

    #[test]
    fn log_likelihood_ratio_by_hand() {
        assert!(g2(100.0, 20.0, 50.0, 10.0).abs() < 1e-12, "independent");
        // Alike on half of the rows: 2 n ln 2.
        assert!((g2(100.0, 50.0, 50.0, 50.0) - 200.0 * 2f64.ln()).abs() < 1e-9);
        // 2 (8 ln(8/4) + 2 ln(2/6) + 2 ln(2/6) + 13 ln(13/9)) of 25 rows with margins 10 and 10.
        let by_hand = 2.0 * (8.0 * 2f64.ln() + 4.0 * (1f64 / 3.0).ln() + 13.0 * (13f64 / 9.0).ln());
        assert!((g2(25.0, 10.0, 10.0, 8.0) - by_hand).abs() < 1e-9);
    }
}
