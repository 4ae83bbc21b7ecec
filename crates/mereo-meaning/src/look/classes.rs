//! Which latents tell classes of rows apart: the area under the curve of each, its lift, and how likely chance is.

use crate::codes::Both;
use mereo::{Error, Result};
use rayon::prelude::*;

/// How well a latent tells a class from all other rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Telling {
    /// The latent.
    pub latent: usize,
    /// The class, by its place among the classes.
    pub class: usize,
    /// Rows of the class on which the latent is active.
    pub both: usize,
    /// Chance that a row of the class has a larger code than one of the others, ties counted half: ½ tells nothing.
    pub auc: f64,
    /// How much more often the class is met where the latent is active than anywhere: P(class | active) / P(class). 0 if it never is.
    pub lift: f64,
    /// Probability of an area this far from ½ by chance (Mann–Whitney, two-sided, normal approximation with ties).
    pub p: f64,
    /// The largest share of false findings among all that are as sure as this one (Benjamini & Hochberg 1995), over all latents and classes.
    pub q: f64,
}

/// For each of `classes` (their number), the `top` latents that tell it best, by how far their area is from ½; `of` (n) is the class of each row,
/// and rows of none are left out. A latent is looked at in as many steps as it has active rows.
///
/// # Errors
/// Another number of rows; a class that is not there; no class with rows beside others.
pub fn telling(codes: &Both, of: &[Option<u32>], classes: usize, top: usize) -> Result<Vec<Telling>> {
    let n = codes.rows();
    if of.len() != n {
        return Err(Error::data(format!("there are {} classes for {n} rows; give one for each row", of.len())));
    }
    let mut sizes = vec![0usize; classes];
    for c in of.iter().flatten() {
        let place = sizes.get_mut(*c as usize);
        *place.ok_or_else(|| Error::data(format!("there is no class {c} of {classes}")))? += 1;
    }
    let all: usize = sizes.iter().sum();
    if !sizes.iter().any(|&s| s > 0 && s < all) {
        return Err(Error::data("all rows are of one class; there is nothing to tell apart"));
    }
    let each: Vec<Vec<Telling>> = (0..codes.latents()).into_par_iter().map(|j| of_latent(codes, j, of, &sizes, all)).collect();
    let mut found: Vec<Telling> = each.into_iter().flatten().collect();
    correct(&mut found);
    let far = |t: &Telling| (t.auc - 0.5).abs();
    found.sort_by(|a, b| a.class.cmp(&b.class).then(far(b).total_cmp(&far(a))).then(a.latent.cmp(&b.latent)));
    let mut kept = Vec::new();
    for class in found.chunk_by(|a, b| a.class == b.class) {
        kept.extend_from_slice(&class[..top.min(class.len())]);
    }
    Ok(kept)
}

/// The `top` latents that tell the rows `a` from the rows `b`: class 0 is `a`.
///
/// # Errors
/// A selection without rows; a row that is not there, or is in both.
pub fn contrast(codes: &Both, a: &[usize], b: &[usize], top: usize) -> Result<Vec<Telling>> {
    let mut of = vec![None; codes.rows()];
    for (class, rows) in [a, b].into_iter().enumerate() {
        if rows.is_empty() {
            return Err(Error::parameter("a selection has no rows; select some on both sides"));
        }
        for &i in rows {
            let place = of.get_mut(i).ok_or_else(|| {
                Error::parameter(format!("there is no row {i}; the index has {}, counted from 0", codes.rows()))
            })?;
            if place.is_some_and(|c: u32| c as usize != class) {
                return Err(Error::parameter(format!("row {i} is in both selections; leave it out of one")));
            }
            *place = Some(class as u32);
        }
    }
    let mut found = telling(codes, &of, 2, usize::MAX)?;
    found.retain(|t| t.class == 0);
    found.truncate(top);
    Ok(found)
}

/// The `top` latents whose codes rise or fall with a number of the rows (n, NaN where there is none): rank correlation by Spearman in place of an
/// area, as `auc` = (1 + ρ) / 2; lift is the mean of the number where the latent is active over that of all rows.
///
/// # Errors
/// Another number of rows; fewer than three numbers, or all the same.
pub fn telling_number(codes: &Both, of: &[f64], top: usize) -> Result<Vec<Telling>> {
    let n = codes.rows();
    if of.len() != n {
        return Err(Error::data(format!("there are {} numbers for {n} rows; give one for each row", of.len())));
    }
    let mut order: Vec<usize> = (0..n).filter(|&i| of[i].is_finite()).collect();
    order.sort_by(|&a, &b| of[a].total_cmp(&of[b]));
    let known = order.len();
    if known < 3 || of[order[0]] == of[order[known - 1]] {
        return Err(Error::data("the numbers are fewer than three or all the same; there is nothing to go with"));
    }
    // Middle ranks, about their mean.
    let mut ranks = vec![f64::NAN; n];
    let mut at = 0;
    for tied in order.chunk_by(|&a, &b| of[a] == of[b]) {
        let rank = at as f64 + f64::midpoint(tied.len() as f64, 1.0) - f64::midpoint(known as f64, 1.0);
        tied.iter().for_each(|&i| ranks[i] = rank);
        at += tied.len();
    }
    let spread: f64 = order.iter().map(|&i| ranks[i] * ranks[i]).sum();
    let mean = order.iter().map(|&i| of[i]).sum::<f64>() / known as f64;
    let one = |j: usize| -> Option<Telling> {
        let active = ranked(codes, j, |i| of[i].is_finite(), known)?;
        let middle = f64::midpoint(known as f64, 1.0);
        let cross: f64 = active.rows.iter().map(|&(i, rank)| ranks[i] * (rank - active.off)).sum();
        let own: f64 = active.rows.iter().map(|(_, rank)| (rank - middle).powi(2)).sum::<f64>()
            + (known - active.rows.len()) as f64 * (active.off - middle).powi(2);
        if own <= 0.0 {
            return None;
        }
        let rho = (cross / (spread * own).sqrt()).clamp(-1.0, 1.0);
        let here = active.rows.iter().map(|&(i, _)| of[i]).sum::<f64>() / active.rows.len() as f64;
        let lift = if mean == 0.0 { f64::NAN } else { here / mean };
        let p = tail(rho * (known as f64 - 1.0).sqrt());
        Some(Telling { latent: j, class: 0, both: active.rows.len(), auc: f64::midpoint(1.0, rho), lift, p, q: 1.0 })
    };
    let mut found: Vec<Telling> = (0..codes.latents()).into_par_iter().filter_map(one).collect();
    correct(&mut found);
    let far = |t: &Telling| (t.auc - 0.5).abs();
    found.sort_by(|a, b| far(b).total_cmp(&far(a)).then(a.latent.cmp(&b.latent)));
    found.truncate(top);
    Ok(found)
}

/// Ranks of a latent's codes among those of the rows that count.
struct Ranked {
    /// Rows on which it is active, each with its middle rank.
    rows: Vec<(usize, f64)>,
    /// The rank that all others share.
    off: f64,
    /// Σ(t³ − t) over groups of ties.
    ties: f64,
}

/// Codes below 0 rank below those of rows on which the latent is not active. `None` if it is active on none of these.
fn ranked(codes: &Both, j: usize, counts: impl Fn(usize) -> bool, all: usize) -> Option<Ranked> {
    let (at, values) = codes.by_latent.get(j);
    let mut rows: Vec<(usize, f32)> = at.iter().zip(values).map(|(&i, &v)| (i as usize, v)).filter(|&(i, _)| counts(i)).collect();
    if rows.is_empty() {
        return None;
    }
    rows.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let inactive = all - rows.len();
    let below = rows.partition_point(|(_, v)| *v < 0.0);
    let cube = |t: usize| (t as f64).powi(3) - t as f64;
    let mut ties = cube(inactive);
    let mut out = Vec::with_capacity(rows.len());
    let mut seen = 0;
    for tied in rows.chunk_by(|a, b| a.1 == b.1) {
        let first = seen + if seen >= below { inactive } else { 0 };
        let rank = first as f64 + f64::midpoint(tied.len() as f64, 1.0);
        out.extend(tied.iter().map(|&(i, _)| (i, rank)));
        ties += cube(tied.len());
        seen += tied.len();
    }
    Some(Ranked { rows: out, off: below as f64 + f64::midpoint(inactive as f64, 1.0), ties })
}

fn of_latent(codes: &Both, j: usize, of: &[Option<u32>], sizes: &[usize], all: usize) -> Vec<Telling> {
    let Some(active) = ranked(codes, j, |i| of[i].is_some(), all) else { return Vec::new() };
    let mut sums = vec![(0usize, 0f64); sizes.len()];
    for &(i, rank) in &active.rows {
        if let Some(c) = of[i] {
            let (count, sum) = &mut sums[c as usize];
            *count += 1;
            *sum += rank;
        }
    }
    let n = all as f64;
    let classes = sizes.iter().zip(sums).enumerate().filter(|(_, (size, _))| **size > 0 && **size < all);
    classes
        .map(|(class, (&size, (both, sum)))| {
            let (inside, outside) = (size as f64, (all - size) as f64);
            let sum = sum + (size - both) as f64 * active.off;
            let above = sum - inside * (inside + 1.0) / 2.0;
            let auc = above / (inside * outside);
            let variance = inside * outside / 12.0 * (n + 1.0 - active.ties / (n * (n - 1.0)));
            let p = if variance > 0.0 { tail((above - inside * outside / 2.0) / variance.sqrt()) } else { 1.0 };
            let lift = (both as f64 / active.rows.len() as f64) / (inside / n);
            Telling { latent: j, class, both, auc, lift, p, q: 1.0 }
        })
        .collect()
}

/// Both tails of the normal distribution beyond ±z.
fn tail(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// Benjamini & Hochberg's q of all p.
fn correct(found: &mut [Telling]) {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|&a, &b| found[a].p.total_cmp(&found[b].p).then(a.cmp(&b)));
    let mut least = 1f64;
    for (place, &at) in order.iter().enumerate().rev() {
        least = least.min(found[at].p * found.len() as f64 / (place + 1) as f64);
        found[at].q = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::OwnedBoth;
    use mereo::Mat;
    use mereo::rng::rng;

    fn sparse(z: &Mat) -> OwnedBoth {
        let mut m = mereo::Csr { rows: z.rows, cols: z.cols, indptr: vec![0], ..mereo::Csr::default() };
        for i in 0..z.rows {
            for (j, v) in z.row(i).iter().enumerate().filter(|(_, v)| **v != 0.0) {
                m.indices.push(j as u32);
                m.values.push(*v);
            }
            m.indptr.push(m.indices.len() as u64);
        }
        OwnedBoth::new(&m).expect("both")
    }

    #[test]
    fn areas_are_those_of_all_pairs() {
        let mut r = rng(1, 0, 0);
        let (n, k) = (60, 5);
        // Few values, so that there are ties; some below 0.
        let data = (0..n * k).map(|_| [0.0, 0.0, 1.0, 2.0, -1.0][r.below(5)]).collect();
        let z = Mat { rows: n, cols: k, data };
        let of: Vec<Option<u32>> = (0..n).map(|_| [None, Some(0), Some(1), Some(2)][r.below(4)]).collect();
        let both = sparse(&z);
        let found = telling(&both.view(), &of, 3, usize::MAX).expect("told");
        assert_eq!(found.len(), 15);
        for t in &found {
            let values = |inside: bool| -> Vec<f32> {
                (0..n).filter(|&i| of[i].is_some_and(|c| (c as usize == t.class) == inside)).map(|i| z.row(i)[t.latent]).collect()
            };
            let (inside, outside) = (values(true), values(false));
            let mut wins = 0.0;
            for a in &inside {
                for b in &outside {
                    wins += if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    };
                }
            }
            let want = wins / (inside.len() * outside.len()) as f64;
            assert!((t.auc - want).abs() < 1e-12, "{t:?} {want}");
            let active = |v: &[f32]| v.iter().filter(|v| **v != 0.0).count() as f64;
            let share = active(&inside) / (active(&inside) + active(&outside));
            let lift = share / (inside.len() as f64 / (inside.len() + outside.len()) as f64);
            assert!((t.lift - lift).abs() < 1e-12);
        }
        // By class, then by how far from chance.
        assert!(found.windows(2).all(|w| w[0].class < w[1].class || (w[0].auc - 0.5).abs() >= (w[1].auc - 0.5).abs()));
    }

    /// scipy.stats.mannwhitneyu([3, 1, 0, 5, 2], [0, 0, 1, 0], use_continuity=False, method="asymptotic"): 17 and p = .07200565755549801
    #[test]
    fn probabilities_are_those_of_scipy() {
        let z = Mat { rows: 9, cols: 1, data: vec![3.0, 1.0, 0.0, 5.0, 2.0, 0.0, 0.0, 1.0, 0.0] };
        let both = sparse(&z);
        let t = &contrast(&both.view(), &[0, 1, 2, 3, 4], &[5, 6, 7, 8], 9).expect("told")[0];
        assert!((t.auc - 17.0 / 20.0).abs() < 1e-12, "{t:?}");
        assert!((t.p - 0.072_005_657_555_498_01).abs() < 1e-9, "{t:?}");
    }

    #[test]
    fn chance_finds_nothing_and_a_planted_latent_is_found() {
        let (n, k) = (2000, 200);
        let mut z = Mat::zeros(n, k);
        let mut r = rng(2, 0, 0);
        let of: Vec<Option<u32>> = (0..n).map(|_| Some(r.below(4) as u32)).collect();
        for i in 0..n {
            for j in 0..k {
                let likely = if j == 17 && of[i] == Some(2) { 0.5 } else { 0.05 };
                if r.uniform() < likely {
                    z.row_mut(i)[j] = r.uniform() as f32 + 0.1;
                }
            }
        }
        let both = sparse(&z);
        let found = telling(&both.view(), &of, 4, usize::MAX).expect("told");
        let sure: Vec<(usize, usize)> = found.iter().filter(|t| t.q < 0.01 && t.auc > 0.5).map(|t| (t.latent, t.class)).collect();
        assert_eq!(sure, [(17, 2)]);
        let best = found.iter().find(|t| t.class == 2).expect("class 2");
        assert!(best.latent == 17 && best.lift > 2.5 && best.both > 200);
        // A number that goes with the same latent.
        let number: Vec<f64> = (0..n).map(|i| if of[i] == Some(2) { 5.0 + r.uniform() } else { r.uniform() }).collect();
        let found = telling_number(&both.view(), &number, 3).expect("told");
        assert!(found[0].latent == 17 && found[0].q < 1e-6 && found[1].q > 0.01, "{found:?}");
    }

    #[test]
    fn selections_that_make_no_sense_are_refused() {
        let both = sparse(&Mat { rows: 3, cols: 1, data: vec![1.0, 0.0, 2.0] });
        let codes = both.view();
        let said = |a: &[usize], b: &[usize]| contrast(&codes, a, b, 1).expect_err("refused").to_string();
        assert!(said(&[], &[1]).contains("no rows"));
        assert!(said(&[0], &[3]).contains("no row 3"));
        assert!(said(&[0, 1], &[1]).contains("both selections"));
        assert!(telling(&codes, &[Some(0); 3], 1, 1).expect_err("one").to_string().contains("one class"));
        assert!(telling(&codes, &[Some(0); 2], 1, 1).is_err() && telling_number(&codes, &[1.0, 1.0, 1.0], 1).is_err());
    }
}
