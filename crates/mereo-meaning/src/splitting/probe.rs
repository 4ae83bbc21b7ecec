//! The few latents that tell a class of rows.

use crate::codes::Both;
use mereo::fold::stream;
use mereo::rng::rng;
use mereo::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Steps of Newton's method at most.
const STEPS: usize = 50;
/// It has converged when a step promises less than this share of the loss.
const STILL: f64 = 1e-9;

/// How the latents of a class are chosen. The number of latents and the jump are SAEBench's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KSparse {
    /// Latents at most, at least 1.
    pub most: usize,
    /// F1 that a further latent must add to count as a main one, at least 0.
    pub jump: f64,
    /// Share of the rows, of each kind, that F1 is measured on and the probe never sees, between 0 and 1.
    pub held: f64,
    /// Seed of which rows those are.
    pub seed: u64,
}

impl Default for KSparse {
    fn default() -> Self {
        Self { most: 10, jump: 0.03, held: 0.25, seed: 0 }
    }
}

impl KSparse {
    /// Refuses parameters out of range.
    pub fn check(&self) -> Result<()> {
        if self.most == 0 {
            return Err(Error::parameter("a probe of no latents tells nothing; give 1 or more, such as 10"));
        }
        if !(self.jump >= 0.0 && self.jump <= 1.0) {
            return Err(Error::parameter(format!("jump = {} is no difference of F1; give a number from 0 to 1", self.jump)));
        }
        if !(self.held > 0.0 && self.held < 1.0) {
            return Err(Error::parameter(format!(
                "held = {} leaves rows of one kind only; give a number between 0 and 1",
                self.held
            )));
        }
        Ok(())
    }
}

/// Probes of 1, 2, … latents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KSparseProbe {
    /// The latents, in the order in which they were chosen; none if no latent fires more on the class than elsewhere.
    pub latents: Vec<usize>,
    /// F1 on the held-out rows of the probe of the first latent, of the first two, and so on.
    pub f1: Vec<f64>,
    /// How many of them are main latents: the class is split over as many. Each but the first added more than the jump.
    pub splits: usize,
}

impl KSparseProbe {
    /// The main latents of the class.
    pub fn main(&self) -> &[usize] {
        &self.latents[..self.splits]
    }
}

/// Chooses latents that tell a class of rows (`labels`, one a row) by logistic regression, one after the other.
///
/// The next latent is the one whose activations correlate most with what the probe so far leaves unexplained; at first, the one most
/// correlated with the class. Each probe is refitted with an L2 penalty of ½‖b‖², activations brought to a root mean square of 1 where they
/// are not 0, and cuts where F1 on its own rows is largest.
///
/// Cost: one look at all codes for each latent chosen.
///
/// # Errors
/// [`KSparse::check`]; other labels than rows; fewer than two rows of a kind.
pub fn k_sparse(both: &Both, labels: &[bool], how: &KSparse) -> Result<KSparseProbe> {
    how.check()?;
    let inside = labels.iter().filter(|l| **l).count();
    if labels.len() != both.rows() || inside < 2 || labels.len() - inside < 2 {
        return Err(Error::data(format!(
            "{} labels, of which {inside} are in the class, of {} rows can't be told apart; give one a row, two or more of each kind",
            labels.len(),
            both.rows()
        )));
    }
    let held = held_out(labels, how);
    let mut probe = Probe::new(labels, &held);
    let mut out = KSparseProbe { latents: Vec::new(), f1: Vec::new(), splits: 0 };
    while out.latents.len() < how.most {
        let Some(next) = probe.next(both, &out.latents) else { break };
        probe.add(both, next);
        probe.fit();
        out.latents.push(next);
        out.f1.push(probe.f1(probe.cut()));
    }
    out.splits = usize::from(!out.f1.is_empty()) + out.f1.windows(2).take_while(|f| f[1] - f[0] > how.jump).count();
    Ok(out)
}

/// Which rows are held out: a share of each kind, of which one is left at least on either side.
fn held_out(labels: &[bool], how: &KSparse) -> Vec<bool> {
    let mut held = vec![false; labels.len()];
    for kind in [false, true] {
        let rows: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == kind).collect();
        let count = ((rows.len() as f64 * how.held).round() as usize).clamp(1, rows.len() - 1);
        let chosen = rng(how.seed, stream::SPLIT, u64::from(kind)).choose(rows.len(), count);
        chosen.into_iter().for_each(|at| held[rows[at]] = true);
    }
    held
}

/// A logistic regression on a few latents. Rows on which none of them fires are alike, and are only counted.
struct Probe<'a> {
    labels: &'a [bool],
    held: &'a [bool],
    /// Latents so far.
    k: usize,
    /// Where each row is among those below; `u32::MAX` for those alike.
    place: Vec<u32>,
    rows: Vec<usize>,
    /// Activations, one list a latent, of the rows above; a latent chosen before a row came up has 0 there.
    x: Vec<Vec<f64>>,
    /// Rows alike: (held out, in the class) → how many.
    alike: [[f64; 2]; 2],
    /// Intercept, then a weight for each latent.
    b: Vec<f64>,
}

impl<'a> Probe<'a> {
    fn new(labels: &'a [bool], held: &'a [bool]) -> Self {
        let mut alike = [[0f64; 2]; 2];
        labels.iter().zip(held).for_each(|(&l, &h)| alike[usize::from(h)][usize::from(l)] += 1.0);
        let intercept = (alike[0][1] / alike[0][0]).ln();
        let place = vec![u32::MAX; labels.len()];
        Self { labels, held, k: 0, place, rows: Vec::new(), x: Vec::new(), alike, b: vec![intercept] }
    }

    /// The latent that correlates most, above 0, with the class less its probability; ties go to the lower index.
    fn next(&self, both: &Both, chosen: &[usize]) -> Option<usize> {
        let left: Vec<f64> = (0..self.labels.len())
            .into_par_iter()
            .map(|i| if self.held[i] { 0.0 } else { f64::from(u8::from(self.labels[i])) - logistic(self.score(i)) })
            .collect();
        let n = self.held.iter().filter(|h| !**h).count() as f64;
        let mean = left.iter().sum::<f64>() / n;
        let scores: Vec<f64> = (0..both.latents())
            .into_par_iter()
            .map(|j| {
                let (mut sum, mut square, mut product) = (0.0, 0.0, 0.0);
                let (rows, values) = both.by_latent.get(j);
                for (&row, &v) in rows.iter().zip(values).filter(|(row, _)| !self.held[**row as usize]) {
                    let v = f64::from(v);
                    sum += v;
                    square += v * v;
                    product += v * left[row as usize];
                }
                let (variance, together) = (square - sum * sum / n, product - sum * mean);
                // Always the same but for rounding: tells nothing.
                if variance <= square * 1e-9 { 0.0 } else { together / variance.sqrt() }
            })
            .collect();
        let free = (0..scores.len()).filter(|j| scores[*j] > 1e-9 && !chosen.contains(j));
        free.reduce(|best, j| if scores[j] > scores[best] { j } else { best })
    }

    fn add(&mut self, both: &Both, latent: usize) {
        let (rows, values) = both.by_latent.get(latent);
        let mut column = vec![0.0; self.rows.len()];
        for (&row, &v) in rows.iter().zip(values) {
            let row = row as usize;
            if self.place[row] == u32::MAX {
                self.place[row] = self.rows.len() as u32;
                self.rows.push(row);
                column.push(0.0);
                self.alike[usize::from(self.held[row])][usize::from(self.labels[row])] -= 1.0;
            }
            column[self.place[row] as usize] = f64::from(v);
        }
        let mean_square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64;
        column.iter_mut().for_each(|v| *v /= mean_square.sqrt());
        self.x.iter_mut().for_each(|x| x.resize(self.rows.len(), 0.0));
        self.x.push(column);
        self.b.push(0.0);
        self.k += 1;
    }

    /// The probe's score of the row at a place among those kept.
    fn at(&self, place: usize) -> f64 {
        self.b[0] + (0..self.k).map(|j| self.b[j + 1] * self.x[j][place]).sum::<f64>()
    }

    fn score(&self, row: usize) -> f64 {
        if self.place[row] == u32::MAX { self.b[0] } else { self.at(self.place[row] as usize) }
    }

    /// The penalised log loss of its own rows.
    fn loss(&self) -> f64 {
        let one = |z: f64, label: bool| softplus(if label { -z } else { z });
        let kept = self.rows.iter().enumerate().filter(|(_, row)| !self.held[**row]);
        let alike = self.alike[0][0] * softplus(self.b[0]) + self.alike[0][1] * softplus(-self.b[0]);
        let penalty = self.b[1..].iter().map(|b| b * b).sum::<f64>() / 2.0;
        kept.map(|(at, &row)| one(self.at(at), self.labels[row])).sum::<f64>() + alike + penalty
    }

    /// Newton's method from where it is, with steps halved until the loss falls.
    fn fit(&mut self) {
        let m = self.k + 1;
        for _ in 0..STEPS {
            let (mut gradient, mut hessian) = (vec![0.0; m], vec![0.0; m * m]);
            let p = logistic(self.b[0]);
            gradient[0] = (self.alike[0][0] + self.alike[0][1]) * p - self.alike[0][1];
            hessian[0] = (self.alike[0][0] + self.alike[0][1]) * p * (1.0 - p);
            for j in 1..m {
                gradient[j] = self.b[j];
                hessian[j * m + j] = 1.0;
            }
            let mut x = vec![1.0; m];
            for (at, &row) in self.rows.iter().enumerate().filter(|(_, row)| !self.held[**row]) {
                (0..self.k).for_each(|j| x[j + 1] = self.x[j][at]);
                let p = logistic(self.at(at));
                let off = p - f64::from(u8::from(self.labels[row]));
                for i in 0..m {
                    gradient[i] += off * x[i];
                    (0..=i).for_each(|j| hessian[i * m + j] += p * (1.0 - p) * x[i] * x[j]);
                }
            }
            let step = solved(hessian, &gradient);
            let promise: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            let (before, from) = (self.loss(), self.b.clone());
            if promise <= STILL * before {
                break;
            }
            let mut length = 1.0;
            while length > 1e-6 {
                (0..m).for_each(|j| self.b[j] = from[j] - length * step[j]);
                if self.loss() < before {
                    break;
                }
                length /= 2.0;
            }
            if length <= 1e-6 {
                self.b = from;
                break;
            }
        }
    }

    /// Scores of one side's rows with how many there are of each kind, by falling score.
    fn scored(&self, held: bool) -> Vec<(f64, [f64; 2])> {
        let kept = self.rows.iter().enumerate().filter(|(_, row)| self.held[**row] == held);
        let mut scored: Vec<(f64, [f64; 2])> = kept
            .map(|(at, &row)| {
                let label = f64::from(u8::from(self.labels[row]));
                (self.at(at), [1.0 - label, label])
            })
            .collect();
        scored.push((self.b[0], self.alike[usize::from(held)]));
        scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        scored
    }

    /// The score at which F1 on its own rows is largest, midway to the next lower one.
    fn cut(&self) -> f64 {
        let scored = self.scored(false);
        let all: f64 = scored.iter().map(|s| s.1[1]).sum();
        let (mut right, mut taken, mut best) = (0.0, 0.0, (0.0, f64::INFINITY));
        for (at, (score, [no, yes])) in scored.iter().enumerate() {
            (right, taken) = (right + yes, taken + no + yes);
            let next = scored.get(at + 1).map(|s| s.0);
            let f1 = 2.0 * right / (taken + all);
            if next != Some(*score) && f1 > best.0 {
                best = (f1, next.map_or(f64::NEG_INFINITY, |next| f64::midpoint(*score, next)));
            }
        }
        best.1
    }

    /// F1 on the held-out rows of what is scored above the cut.
    fn f1(&self, cut: f64) -> f64 {
        let scored = self.scored(true);
        let all: f64 = scored.iter().map(|s| s.1[1]).sum();
        let taken = scored.iter().filter(|s| s.0 > cut).fold([0.0; 2], |t, s| [t[0] + s.1[0], t[1] + s.1[1]]);
        2.0 * taken[1] / (taken[0] + taken[1] + all)
    }
}

fn logistic(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// ln(1 + eᶻ).
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// a⁻¹·b of a symmetric positive definite matrix of which the lower triangle is given, by Cholesky.
fn solved(mut a: Vec<f64>, b: &[f64]) -> Vec<f64> {
    let m = b.len();
    for j in 0..m {
        for k in 0..j {
            for i in j..m {
                a[i * m + j] -= a[i * m + k] * a[j * m + k];
            }
        }
        // The penalty keeps all but the intercept above 0.
        let root = a[j * m + j].max(f64::MIN_POSITIVE).sqrt();
        (j..m).for_each(|i| a[i * m + j] /= root);
    }
    let mut x = b.to_vec();
    for i in 0..m {
        x[i] = (x[i] - (0..i).map(|j| a[i * m + j] * x[j]).sum::<f64>()) / a[i * m + i];
    }
    for i in (0..m).rev() {
        x[i] = (x[i] - (i + 1..m).map(|j| a[j * m + i] * x[j]).sum::<f64>()) / a[i * m + i];
    }
    x
}
