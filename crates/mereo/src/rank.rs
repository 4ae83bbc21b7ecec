//! How many atoms? Numbers of atoms held against each other, and one of them recommended with its reason.
//!
//! More atoms always rebuild the rows that they were learned from more closely, so that error can't choose k. What can:
//!
//! - **Scattered entries** (Wold 1978): a tenth of all numbers, anywhere, is hidden from the fit and predicted by it.
//! - **Blocks** (Gabriel 2002; Owen & Perry 2009): some rows are hidden in some columns, all together.
//! - **Seeds**: whether fits from other random starts find the same atoms ([`measure::stability`]), and put the same rows together:
//!   the consensus matrix says how often two rows have their largest code on the same atom, and its cophenetic correlation
//!   how nearly it is a tree of groups (Brunet et al. 2004).
//! - **Rows**: the error on a fifth of the rows that the fit never saw. It tells how well atoms generalise, but also falls with k for
//!   long, since each new row is encoded with all its numbers in sight.
//!
//! A method that can do without some entries ([`Ask::missing`]) is given NaN in place of what is hidden. For any other, hidden entries are
//! imputed: filled from the means of their row and column, fitted, filled with the reconstruction, and fitted again from
//! the atoms so far, until they stand still; first with few atoms, then with twice as many, up to k. That is the
//! expectation-maximisation answer to missing entries, and needs nothing of a method but fit, encode and decode: a method
//! is seen only through a closure. Far too many atoms reproduce what they were filled with, and so keep
//! the error of half as many; that speaks against them, as it should.
//!
//! All in memory: a copy of the rows, and one of their reconstruction.

use crate::error::Error;
use crate::fold::stream;
use crate::mat::Mat;
use crate::measure;
use crate::missing::Missing;
use crate::model::{Codes, Model};
use crate::rng::rng;
use crate::source::Memory;
use serde::Serialize;
use std::fmt::Write;
use std::time::Instant;

/// Rounds of filling and fitting at most.
pub const ROUNDS: usize = 30;
/// Rounds with fewer atoms than k: what they predict is only a start.
const BEFORE: usize = 6;
/// Hidden entries stand still when a round moves them by less than this share of their size.
const STILL: f64 = 1e-3;
/// Passes of the first fit of filled rows: it need not converge, there are more rounds.
const FIRST: usize = 30;
/// Share of the entries that are hidden at once where they are scattered.
const SCATTERED: f64 = 0.1;
/// A hidden block has one of this many parts of the rows, and of the columns; of the rows, also, as many are left out for the error on rows.
const PARTS: usize = 5;
/// Rows that the consensus matrix looks at, at most.
const CONSENSUS: usize = 300;

/// What a fit is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Number of atoms.
    pub k: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Passes at most, if not the method's own.
    pub passes: Option<usize>,
    /// Atoms of an earlier fit of nearly the same rows, from which a few passes do. It may be ignored.
    pub warm: Option<&'a Mat>,
    /// Some entries of the rows are NaN, and unknown: the fit and the codes of its model must not depend on them.
    pub missing: bool,
}

/// How thoroughly numbers of atoms are tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct How {
    /// Times that other entries are hidden, of both kinds: at most 5, at least 2 for a standard error.
    pub folds: usize,
    /// Fits from other random starts, at least 2.
    pub seeds: usize,
    /// Seed of what is hidden and of the first start.
    pub seed: u64,
    /// Whether the method can do without some entries, so that nothing need be imputed.
    pub masked: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { folds: 3, seeds: 3, seed: 0, masked: false }
    }
}

impl How {
    /// Refuses counts that tell nothing.
    pub fn check(&self) -> crate::Result<()> {
        if !(2..=PARTS).contains(&self.folds) {
            return Err(Error::parameter(format!("{} folds; give 2 to {PARTS}, so that there is a standard error", self.folds)));
        }
        if self.seeds < 2 {
            return Err(Error::parameter(format!("{} seed compares nothing; give at least 2", self.seeds)));
        }
        Ok(())
    }
}

/// One number of atoms, tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// Number of atoms.
    pub k: usize,
    /// RMSE on scattered hidden entries, one number a fold.
    pub scattered: Vec<f64>,
    /// RMSE on a hidden block, one number a fold.
    pub block: Vec<f64>,
    /// RMSE on rows that the fit never saw.
    pub rows: f64,
    /// RMSE on the rows of the fit.
    pub train: f64,
    /// Mean |cosine| of matched atoms over all pairs of seeds.
    pub stability: f64,
    /// Cophenetic correlation of the consensus matrix.
    pub cophenetic: f64,
    /// Seconds that one fit of all rows takes, from its own start; the mean over the seeds.
    pub fit_seconds: f64,
    /// Seconds that all of this took.
    pub seconds: f64,
}

/// What one criterion says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pick {
    /// The number of atoms of the lowest mean error.
    pub best: usize,
    /// That error.
    pub error: f64,
    /// The smallest number of atoms whose error is larger than that by no more than one standard error of the difference, over folds.
    pub smallest: usize,
}

/// One number of atoms, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// The number of atoms.
    pub k: usize,
    /// What scattered entries say.
    pub scattered: Pick,
    /// What blocks say.
    pub block: Pick,
    /// The reason, in sentences.
    pub reason: String,
}

/// Tries k atoms on rows x (n × d), with fits by `fit`.
///
/// # Errors
/// Those of the fits; [`How::check`]; fewer than 10 rows or 5 columns, from which nothing can be hidden.
pub fn tried<E: From<Error>>(
    x: &Mat,
    k: usize,
    how: &How,
    mut fit: impl FnMut(&Mat, &Ask) -> Result<Box<dyn Model>, E>,
) -> Result<Tried, E> {
    how.check()?;
    if x.rows < 2 * PARTS || x.cols < PARTS {
        let said =
            format!("{} rows of {} columns are too few to hide some; give at least {} of {PARTS}", x.rows, x.cols, 2 * PARTS);
        return Err(Error::data(said).into());
    }
    let started = Instant::now();
    let (mut atoms, mut groups, mut train, mut fits) = (Vec::new(), Vec::new(), 0.0, 0.0);
    let some = x.view().every(x.rows.div_ceil(CONSENSUS));
    for s in 0..how.seeds {
        let from = Instant::now();
        let model = fit(x, &Ask { k, seed: how.seed + s as u64, ..Ask::default() })?;
        fits += from.elapsed().as_secs_f64() / how.seeds as f64;
        if s == 0 {
            train = measure::errors(model.as_ref(), &Memory::from(x))?.rmse;
        }
        groups.push(model.encode(&some)?);
        atoms.push(model.atoms().clone());
    }
    let (mut scattered, mut block) = (Vec::new(), Vec::new());
    for fold in 0..how.folds {
        let hidden = if how.masked { masked } else { imputed };
        scattered.push(hidden(x, &entries(x, how.seed, fold), k, how.seed, &mut fit)?);
        block.push(hidden(x, &corner(x, how.seed, fold), k, how.seed, &mut fit)?);
    }
    let (seen, unseen) = sides(x, how.seed);
    let model = fit(&seen, &Ask { k, seed: how.seed, ..Ask::default() })?;
    Ok(Tried {
        k,
        scattered,
        block,
        rows: measure::errors(model.as_ref(), &Memory::from(&unseen))?.rmse,
        train,
        stability: measure::stability(&atoms.iter().collect::<Vec<_>>())?,
        cophenetic: cophenetic_of(&groups),
        fit_seconds: fits,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The recommendation of several numbers of atoms; `None` of none.
///
/// It is the smallest k within one standard error of the lowest error on scattered entries: fewer atoms are easier to read, and an error
/// that is no larger for sure is no reason for more.
pub fn recommend(tried: &[Tried]) -> Option<Recommendation> {
    let scattered = pick(tried, |t| &t.scattered)?;
    let block = pick(tried, |t| &t.block)?;
    let at = tried.iter().find(|t| t.k == scattered.smallest)?;
    let largest = tried.iter().map(|t| t.k).max()?;
    let mut reason = if scattered.smallest == scattered.best {
        format!(
            "k = {} predicts scattered hidden entries best (RMSE {:.4}), and no smaller k comes within one standard error.",
            at.k, scattered.error
        )
    } else {
        format!(
            "k = {} is the smallest whose error on scattered hidden entries is within one standard error of the lowest (RMSE {:.4}, at k = {}).",
            at.k, scattered.error, scattered.best
        )
    };
    let low = block.smallest.min(block.best);
    let high = block.smallest.max(block.best);
    // Writing to a string can't fail.
    let _ = if block.smallest == at.k {
        write!(reason, " Hidden blocks agree.")
    } else if (low..=high).contains(&at.k) {
        write!(reason, " Hidden blocks agree within their error: {low} to {high}.")
    } else if low == high {
        write!(reason, " Hidden blocks do not agree: they say {low}.")
    } else {
        write!(reason, " Hidden blocks do not agree: they say {} (lowest at {}).", block.smallest, block.best)
    };
    let _ = write!(
        reason,
        " There, atoms of two seeds match with a mean |cosine| of {:.2}, and the cophenetic correlation is {:.3}.",
        at.stability, at.cophenetic
    );
    if tried.len() > 1 && scattered.best == largest {
        reason += " The error is lowest at the largest k that was tried, so larger ones may do better still.";
    }
    Some(Recommendation { k: at.k, scattered, block, reason })
}

/// Mean of some numbers; 0 of none.
fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len().max(1) as f64
}

/// The one-standard-error rule over folds. Errors of a fold are compared with those of the same fold, so that a fold that is hard for
/// every k counts for nothing.
fn pick(tried: &[Tried], of: impl Fn(&Tried) -> &Vec<f64>) -> Option<Pick> {
    let best = tried
        .iter()
        .filter(|t| mean(of(t)).is_finite())
        .min_by(|a, b| mean(of(a)).total_cmp(&mean(of(b))).then(a.k.cmp(&b.k)))?;
    let within = |t: &&Tried| {
        let more: Vec<f64> = of(t).iter().zip(of(best)).map(|(a, b)| a - b).collect();
        let centre = mean(&more);
        let n = more.len() as f64;
        let variance = more.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        centre <= (variance / n).sqrt()
    };
    let smallest = tried.iter().filter(within).map(|t| t.k).min().unwrap_or(best.k).min(best.k);
    Some(Pick { best: best.k, error: mean(of(best)), smallest })
}

/// Places of the scattered entries of a fold; no two folds share one.
fn entries(x: &Mat, seed: u64, fold: usize) -> Vec<usize> {
    let from = fold as f64 * SCATTERED;
    let mut r = rng(seed, stream::SPLIT, u64::MAX);
    (0..x.data.len()).filter(|_| (from..from + SCATTERED).contains(&r.uniform())).collect()
}

/// Places of the block of a fold: one part of the rows in one part of the columns, both in random order.
fn corner(x: &Mat, seed: u64, fold: usize) -> Vec<usize> {
    let part = |n: usize, number: u64| {
        let mut order: Vec<usize> = (0..n).collect();
        rng(seed, stream::SPLIT, number).shuffle(&mut order);
        let mut part: Vec<usize> = order.into_iter().skip(fold).step_by(PARTS).collect();
        part.sort_unstable();
        part
    };
    let (rows, cols) = (part(x.rows, u64::MAX - 1), part(x.cols, u64::MAX - 2));
    rows.iter().flat_map(|i| cols.iter().map(move |j| i * x.cols + j)).collect()
}

/// Four fifths of the rows, and the rest.
fn sides(x: &Mat, seed: u64) -> (Mat, Mat) {
    let held = rng(seed, stream::SPLIT, 0).choose(x.rows, x.rows / PARTS);
    let mut out = (Mat { rows: 0, cols: x.cols, data: Vec::new() }, Mat { rows: 0, cols: x.cols, data: Vec::new() });
    let mut next = held.into_iter().peekable();
    for i in 0..x.rows {
        let side = if next.next_if_eq(&i).is_some() { &mut out.1 } else { &mut out.0 };
        side.rows += 1;
        side.data.extend_from_slice(x.row(i));
    }
    out
}

/// A method, as it is seen here.
type Fit<'a, E> = &'a mut dyn FnMut(&Mat, &Ask) -> Result<Box<dyn Model>, E>;

/// The rows with NaN in these places.
fn torn(x: &Mat, places: &[usize]) -> Mat {
    let mut torn = x.clone();
    places.iter().for_each(|&at| torn.data[at] = f32::NAN);
    torn
}

/// RMSE of what is put in the place of hidden entries.
fn off(x: &Mat, back: &Mat, places: &[usize]) -> f64 {
    let square: f64 = places.iter().map(|&at| f64::from(back.data[at] - x.data[at]).powi(2)).sum();
    (square / places.len().max(1) as f64).sqrt()
}

/// RMSE on hidden entries, of a fit that does without them.
fn masked<E: From<Error>>(x: &Mat, places: &[usize], k: usize, seed: u64, fit: Fit<E>) -> Result<f64, E> {
    let torn = torn(x, places);
    let model = fit(&torn, &Ask { k, seed, missing: true, ..Ask::default() })?;
    let back = model.decode(&model.encode(&torn.view())?)?;
    Ok(off(x, &back, places))
}

/// RMSE on hidden entries, filled in round by round.
fn imputed<E: From<Error>>(x: &Mat, places: &[usize], k: usize, seed: u64, fit: Fit<E>) -> Result<f64, E> {
    let torn = torn(x, places);
    let mut filled = Missing::Nan.weigh(&torn.view()).filled();
    for step in ladder(k) {
        let rounds = if step == k { ROUNDS } else { BEFORE };
        let mut model = fit(&filled, &Ask { k: step, seed, passes: Some(FIRST), ..Ask::default() })?;
        for round in 1..=rounds {
            let back = model.decode(&model.encode(&filled.view())?)?;
            let (mut moved, mut size) = (0.0, 0.0);
            for &at in places {
                let (old, new) = (f64::from(filled.data[at]), f64::from(back.data[at]));
                moved += (new - old).powi(2);
                size += new * new;
                filled.data[at] = back.data[at];
            }
            if moved <= STILL * STILL * size || round == rounds {
                break;
            }
            let next = fit(&filled, &Ask { k: step, seed, warm: Some(model.atoms()), ..Ask::default() })?;
            model = next;
        }
    }
    Ok(off(x, &filled, places))
}

/// k and its halves, rising from 1 or more.
fn ladder(k: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = std::iter::successors(Some(k), |k| Some(k / 2)).take_while(|k| *k > 0).collect();
    steps.reverse();
    steps
}

/// The atom with the largest |code| of each row.
fn strongest(codes: &Codes) -> Vec<usize> {
    let z = codes.to_mat();
    let largest = |row: &[f32]| (0..row.len()).fold(0, |best, a| if row[a].abs() > row[best].abs() { a } else { best });
    (0..z.rows).map(|i| largest(z.row(i))).collect()
}

/// How nearly several fits agree on groups of rows: the cophenetic correlation of their consensus matrix, where the group of a row is
/// the atom of its largest |code|. `codes` are those of the same few hundred rows under each fit.
pub fn cophenetic_of(codes: &[Codes]) -> f64 {
    cophenetic(&consensus(&codes.iter().map(strongest).collect::<Vec<_>>()))
}

/// How often two rows are in the same group, over several groupings of the same rows (n × n).
fn consensus(groups: &[Vec<usize>]) -> Mat {
    let n = groups.first().map_or(0, Vec::len);
    let mut out = Mat::zeros(n, n);
    for i in 0..n {
        for j in 0..n {
            let same = groups.iter().filter(|g| g[i] == g[j]).count();
            out.row_mut(i)[j] = same as f32 / groups.len() as f32;
        }
    }
    out
}

/// Correlation, over all pairs of rows, of 1 − consensus with the height at which average linkage joins the two. 1 where the
/// consensus is all or nothing.
fn cophenetic(consensus: &Mat) -> f64 {
    let n = consensus.rows;
    let mut distance: Vec<f64> = consensus.data.iter().map(|&c| 1.0 - f64::from(c)).collect();
    let mut members: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
    let mut height = vec![0.0; n * n];
    let mut alive: Vec<usize> = (0..n).collect();
    while alive.len() > 1 {
        let mut best = (f64::INFINITY, 0, 1);
        for p in 1..alive.len() {
            for q in 0..p {
                let d = distance[alive[p] * n + alive[q]];
                if d < best.0 {
                    best = (d, q, p);
                }
            }
        }
        let (d, q, p) = best;
        let (keep, gone) = (alive[q], alive.swap_remove(p));
        for &i in &members[keep] {
            for &j in &members[gone] {
                height[i * n + j] = d;
                height[j * n + i] = d;
            }
        }
        let (a, b) = (members[keep].len() as f64, members[gone].len() as f64);
        for &c in alive.iter().filter(|c| **c != keep) {
            let mixed = (a * distance[keep * n + c] + b * distance[gone * n + c]) / (a + b);
            distance[keep * n + c] = mixed;
            distance[c * n + keep] = mixed;
        }
        let moved = std::mem::take(&mut members[gone]);
        members[keep].extend(moved);
    }
    let pairs = || (1..n).flat_map(|i| (0..i).map(move |j| i * n + j));
    correlation(pairs().map(|at| (1.0 - f64::from(consensus.data[at]), height[at])))
}

/// Pearson's; 1 where both numbers never change.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = pairs.clone().count().max(1) as f64;
    let (a, b) = pairs.clone().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let (aa, bb, ab) =
        pairs.fold((0.0, 0.0, 0.0), |(aa, bb, ab), (x, y)| (aa + (x - a).powi(2), bb + (y - b).powi(2), ab + (x - a) * (y - b)));
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Options, fit};
    use crate::nmf::{Nmf, NmfInit, NmfSolver};
    use crate::synth;

    /// The error, the fit of an NMF, and nothing else.
    fn nmf(x: &Mat, ask: &Ask) -> crate::Result<Box<dyn Model>> {
        let own = Nmf { k: ask.k, seed: ask.seed, ..Nmf::default() };
        let how = match ask.warm {
            None if ask.missing => Nmf { missing: Missing::Nan, ..own },
            Some(h) => Nmf {
                solver: NmfSolver::Cd,
                init: NmfInit::Given,
                given: Some(h.clone()),
                max_passes: 4,
                encode_tol: 1e-4,
                ..own
            },
            None => Nmf { max_passes: ask.passes.unwrap_or(own.max_passes), ..own },
        };
        Ok(Box::new(fit(&how, &Memory::from(x), Options::default())?.model))
    }

    fn ranked(x: &Mat, ks: &[usize]) -> (Vec<Tried>, Recommendation) {
        let how = How { masked: true, ..How::default() };
        let tried: Vec<Tried> = ks.iter().map(|&k| tried(x, k, &how, nmf).expect("tried")).collect();
        let said = recommend(&tried).expect("a recommendation");
        (tried, said)
    }

    #[test]
    fn planted_parts_are_counted() {
        let made = synth::parts(300, 6, 12, 3).expect("parts");
        let (tried, said) = ranked(&made.data, &[2, 4, 6, 8, 12]);
        assert_eq!((said.k, said.block.smallest), (6, 6), "{}\n{tried:#?}", said.reason);
        let at = |k: usize| tried.iter().find(|t| t.k == k).expect("tried");
        assert!(at(6).stability > 0.99 && at(6).stability > at(12).stability, "{tried:#?}");
        assert!(mean(&at(12).scattered) > mean(&at(6).scattered), "hidden entries do: {tried:#?}");
        assert!(said.reason.contains("k = 6") && said.reason.contains("agree"), "{}", said.reason);
    }

    #[test]
    fn noise_has_no_parts() {
        let mut r = rng(5, 6, 7);
        let x = Mat { rows: 120, cols: 40, data: (0..4800).map(|_| r.uniform() as f32).collect() };
        let (tried, said) = ranked(&x, &[1, 2, 4, 8, 16]);
        assert!(said.k <= 2 && said.block.smallest <= 2, "{}\n{tried:#?}", said.reason);
        assert!(tried[4].train < tried[0].train, "and yet it can be learned by heart");
    }

    #[test]
    fn what_is_hidden_is_hidden_once_and_never_looked_at() {
        let made = synth::parts(60, 4, 8, 1).expect("parts").data;
        let places: Vec<Vec<usize>> = (0..3).map(|f| entries(&made, 0, f)).collect();
        let share = places[0].len() as f64 / made.data.len() as f64;
        assert!((share - SCATTERED).abs() < 0.02, "{share}");
        assert!(places[0].iter().all(|p| !places[1].contains(p) && !places[2].contains(p)));
        let block = corner(&made, 0, 1);
        assert_eq!(block.len(), (60 / PARTS) * 13, "12 of 60 rows, 13 of 64 columns");
        // The fits see the same rows whatever was hidden, so a change of what is hidden changes the error only.
        let seen = |x: &Mat| {
            let mut all = Vec::new();
            let _ = imputed(x, &block, 3, 0, &mut |x: &Mat, ask: &Ask| {
                all.push(x.clone());
                nmf(x, ask)
            });
            all
        };
        let mut other = made.clone();
        block.iter().for_each(|&at| other.data[at] += 5.0);
        assert_eq!(seen(&made), seen(&other));
        // Where nothing is imputed they are NaN.
        let _ = masked(&made, &block, 3, 0, &mut |x: &Mat, ask: &Ask| {
            let gaps: Vec<usize> = (0..x.data.len()).filter(|&at| x.data[at].is_nan()).collect();
            assert!(ask.missing && gaps == block);
            nmf(x, ask)
        });
    }

    #[test]
    fn imputation_finds_what_masks_find() {
        let made = synth::parts(200, 5, 12, 3).expect("parts").data;
        for k in [3, 5] {
            let [a, b] = [false, true].map(|masked| {
                let t = tried(&made, k, &How { masked, ..How::default() }, nmf).expect("tried");
                (mean(&t.scattered), mean(&t.block))
            });
            assert!((a.0 / b.0 - 1.0).abs() < 0.15, "scattered at {k}: {a:?} {b:?}");
            assert!((a.1 / b.1 - 1.0).abs() < 0.3, "blocks at {k}: {a:?} {b:?}");
        }
    }

    #[test]
    fn a_consensus_of_all_or_nothing_is_a_tree() {
        let sure = consensus(&[vec![0, 0, 1, 1], vec![1, 1, 0, 0]]);
        assert_eq!(sure.row(0), [1.0, 1.0, 0.0, 0.0]);
        assert!((cophenetic(&sure) - 1.0).abs() < 1e-12);
        let torn = consensus(&[vec![0, 0, 1, 1], vec![0, 1, 1, 0], vec![0, 1, 0, 1]]);
        assert!(cophenetic(&torn) <= 1.0);
        // Three points at distances 1/3, 2/3, 1: average linkage joins the first two at 1/3 and the third at 5/6.
        let line = Mat::new(3, 3, vec![1.0, 2.0 / 3.0, 0.0, 2.0 / 3.0, 1.0, 1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0]).expect("mat");
        let (d, h) = ([1.0 / 3.0, 1.0, 2.0 / 3.0], [1.0 / 3.0, 5.0 / 6.0, 5.0 / 6.0]);
        let expected = correlation(d.into_iter().zip(h));
        assert!((cophenetic(&line) - expected).abs() < 1e-6, "{} {expected}", cophenetic(&line));
    }

    #[test]
    fn one_standard_error_is_of_the_difference() {
        let t = |k, scattered: [f64; 3]| Tried {
            k,
            scattered: scattered.to_vec(),
            block: scattered.to_vec(),
            rows: 0.0,
            train: 0.0,
            stability: 1.0,
            cophenetic: 1.0,
            fit_seconds: 0.0,
            seconds: 0.0,
        };
        // Fold by fold, 4 atoms are worse than 8 by .01 for sure, although folds differ by 1.
        let sure = [t(4, [1.01, 2.01, 3.01]), t(8, [1.0, 2.0, 3.0]), t(16, [1.1, 2.1, 3.1])];
        assert_eq!(recommend(&sure).expect("k").k, 8);
        let unsure = [t(4, [1.03, 1.98, 3.02]), t(8, [1.0, 2.0, 3.0])];
        let said = recommend(&unsure).expect("k");
        assert_eq!((said.k, said.scattered.best), (4, 8));
        assert!(said.reason.contains("largest k that was tried"), "{}", said.reason);
        assert!(recommend(&[]).is_none());
    }

    #[test]
    fn too_little_to_hide_is_refused() {
        assert!(tried(&Mat::zeros(9, 9), 2, &How::default(), nmf).is_err());
        assert!(How { folds: 6, ..How::default() }.check().is_err() && How { seeds: 1, ..How::default() }.check().is_err());
    }
}
