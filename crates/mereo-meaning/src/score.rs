//! How well labels tell on which texts a latent is active: scores on rows that no label was made from, and the labels worth keeping.
//!
//! A predictor sees a label and a text, and says how sure it is that the latent is active: 0 to 1 if it should be, 0 to −1 if not. Against
//! the truth, active or not, that gives Pearson's r and F1 ([`score`]), whoever the predictor is.
//!
//! [`Offline`] is a predictor without a network. It has two signals of a text:
//!
//! - **words**: the share of the label's words and adjacent pairs that the text has, by BM25 (Robertson & Zaragoza 2009; k₁ = 1.2,
//!   b = 0.75), divided by what it could be at most;
//! - **cosine** of the embeddings of label and text, if both are given.
//!
//! Where a signal is 0, and what is sure, is set by the rows that the label was made from, whose truth its maker knew: 0 is between its means on
//! active rows and on those that lack the latent, as many standard deviations from either; 1 is the former mean, −1 the latter. The truth of
//! tested rows is never looked at. The confidence is the mean of the signals. It is a weaker reader
//! than a language model: a label in other words than the texts' own has only its embedding to be found by.

use crate::examples::{Examples, Set};
use crate::words::{GAP, Words};
use mereo::{Error, Mat, Result, Rows};
use rayon::prelude::*;
use serde::Serialize;

mod clean;
pub use clean::{Candidate, Clean};

/// Saturation of repeated words in BM25.
const K1: f64 = 1.2;
/// How much longer texts need more of them.
const B: f64 = 0.75;

/// How well a label does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Pearson's r of truth and confidence; NaN where either does not vary.
    pub r: f64,
    /// F1 of confidence > 0.
    pub f1: f64,
    /// The confidences on active rows, in the order of the examples.
    pub active: Vec<f64>,
    /// Those on rows that lack the latent.
    pub lacking: Vec<f64>,
}

/// The score of any predictor's confidences (−1 to 1) on active rows and on rows that lack the latent.
pub fn score(active: Vec<f64>, lacking: Vec<f64>) -> Score {
    let truth: Vec<bool> = active.iter().map(|_| true).chain(lacking.iter().map(|_| false)).collect();
    let all: Vec<f64> = active.iter().chain(&lacking).copied().collect();
    Score { r: pearson(&truth, &all), f1: f1(&truth, &all), active, lacking }
}

/// Pearson's r of truth (1 or 0) and confidence; NaN where either does not vary.
pub fn pearson(truth: &[bool], confidence: &[f64]) -> f64 {
    let n = truth.len() as f64;
    let mean_truth = truth.iter().filter(|&&t| t).count() as f64 / n;
    let mean = confidence.iter().sum::<f64>() / n;
    let (mut both, mut of_truth, mut of_confidence) = (0.0, 0.0, 0.0);
    for (&t, &c) in truth.iter().zip(confidence) {
        let (t, c) = (f64::from(u8::from(t)) - mean_truth, c - mean);
        both += t * c;
        of_truth += t * t;
        of_confidence += c * c;
    }
    // All the same: what is left is rounding.
    if confidence.windows(2).all(|w| w[0] == w[1]) {
        return f64::NAN;
    }
    both / (of_truth * of_confidence).sqrt()
}

/// F1 of confidence > 0 against truth: 2·hits / (2·hits + false alarms + misses); 0 without a hit.
pub fn f1(truth: &[bool], confidence: &[f64]) -> f64 {
    let count =
        |t: bool, fires: bool| truth.iter().zip(confidence).filter(|&(&a, &c)| a == t && (c > 0.0) == fires).count() as f64;
    let hits = count(true, true);
    if hits == 0.0 { 0.0 } else { 2.0 * hits / (2.0 * hits + count(false, true) + count(true, false)) }
}

/// The predictor without a network.
#[derive(Debug, Clone, Copy)]
pub struct Offline<'a> {
    /// The corpus.
    pub words: &'a Words,
    /// Embeddings of its texts (n × d), and of labels (labels × d) by the same encoder.
    pub embedded: Option<(&'a Rows<'a>, &'a Mat)>,
}

impl Offline<'_> {
    /// The score of each label on the test of the examples in the same place. NaN confidences, and so r, where there are no examples of
    /// both kinds to set the zero by.
    ///
    /// # Errors
    /// Not as many labels as examples or as embeddings of labels; embeddings of two widths, or of too few texts; a row without a text.
    pub fn scores<L: AsRef<str> + Sync>(&self, labels: &[L], examples: &[Examples]) -> Result<Vec<Score>> {
        if labels.len() != examples.len() {
            return Err(Error::data(format!(
                "{} labels for the examples of {} latents; give one for each",
                labels.len(),
                examples.len()
            )));
        }
        if let Some((rows, of_labels)) = self.embedded {
            if of_labels.rows != labels.len() {
                return Err(Error::data(format!("{} embeddings for {} labels; embed each label", of_labels.rows, labels.len())));
            }
            if of_labels.cols != rows.cols() || rows.rows() != self.words.texts() {
                return Err(Error::data(format!(
                    "embeddings of {} texts in {} dimensions don't fit {} texts and labels in {}; embed both with one encoder",
                    rows.rows(),
                    rows.cols(),
                    self.words.texts(),
                    of_labels.cols
                )));
            }
        }
        let rows = |set: &Set| set.active.iter().map(|e| e.row).chain(set.lacking.iter().copied()).max();
        let last = examples.iter().filter_map(|of| rows(&of.label).max(rows(&of.test))).max();
        if let Some(bad) = last.filter(|&row| row >= self.words.texts()) {
            return Err(Error::data(format!(
                "row {bad} is an example, but there are {} texts; read all of them",
                self.words.texts()
            )));
        }
        Ok((0..labels.len()).into_par_iter().map(|i| self.one(i, labels[i].as_ref(), &examples[i])).collect())
    }

    /// The score of label `i`.
    fn one(&self, i: usize, label: &str, of: &Examples) -> Score {
        let query = Query::new(self.words, label);
        let by_words = |row: usize| query.of(self.words, row);
        let mut all = vec![confidences(&by_words, of)];
        if let Some((rows, labels)) = self.embedded {
            let by_cosine = |row: usize| cosine(labels.row(i), &rows.slice(row, row + 1));
            all.push(confidences(&by_cosine, of));
        }
        let mean = |at: usize| all.iter().map(|c| c[at]).sum::<f64>() / all.len() as f64;
        let active = of.test.active.len();
        score((0..active).map(mean).collect(), (active..active + of.test.lacking.len()).map(mean).collect())
    }
}

/// The confidences of one signal on tested rows, active ones first.
fn confidences(signal: &dyn Fn(usize) -> f64, of: &Examples) -> Vec<f64> {
    let active: Vec<f64> = of.label.active.iter().map(|e| signal(e.row)).collect();
    let lacking: Vec<f64> = of.label.lacking.iter().map(|&row| signal(row)).collect();
    let scale = Scale::new(&active, &lacking);
    let tested = of.test.active.iter().map(|e| e.row).chain(of.test.lacking.iter().copied());
    tested.map(|row| scale.of(signal(row))).collect()
}

/// Confidence of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// Where it says nothing.
    zero: f64,
    /// How far above that it is sure.
    above: f64,
    /// How far below.
    below: f64,
}

impl Scale {
    /// By what it is on rows whose truth is known.
    fn new(active: &[f64], lacking: &[f64]) -> Self {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let deviation = |v: &[f64]| (v.iter().map(|x| (x - mean(v)).powi(2)).sum::<f64>() / v.len() as f64).sqrt();
        let (a, l) = (mean(active), mean(lacking));
        let (of_active, of_lacking) = (deviation(active), deviation(lacking));
        // Less is rounding.
        let least = 1e-9 * (a.abs() + l.abs());
        if a - l > least {
            // A tenth of the gap besides, so that 0 is apart from both where few rows are all alike.
            let wider = 0.1 * (a - l);
            let zero = l + (a - l) * (of_lacking + wider) / (of_active + of_lacking + 2.0 * wider);
            return Self { zero, above: a - zero, below: zero - l };
        }
        // It can't tell them apart, or says the opposite; it is not turned round.
        let sure = ((l - a) / 2.0).max(of_active.max(of_lacking));
        let sure = if sure <= least { f64::INFINITY } else { sure };
        Self { zero: f64::midpoint(a, l), above: sure, below: sure }
    }

    fn of(&self, signal: f64) -> f64 {
        let off = signal - self.zero;
        (off / if off > 0.0 { self.above } else { self.below }).clamp(-1.0, 1.0)
    }
}

/// What a label asks of a text.
struct Query {
    /// One word or two adjacent ones, and what finding it counts; rare words count more.
    terms: Vec<(Vec<u32>, f64)>,
}

impl Query {
    fn new(words: &Words, label: &str) -> Self {
        let n = words.texts() as f64;
        let weight = |w: u32| {
            let found = f64::from(words.found_at(w));
            ((n - found + 0.5) / (found + 0.5)).ln_1p()
        };
        let read = words.read(label);
        let mut terms: Vec<(Vec<u32>, f64)> = Vec::new();
        for at in 0..read.len() {
            for length in 1..=2 {
                let Some(term) = read.get(at..at + length).filter(|t| !t.contains(&GAP)) else { continue };
                if terms.iter().all(|t| t.0 != term) {
                    terms.push((term.to_vec(), term.iter().map(|&w| weight(w)).fold(0.0, f64::max)));
                }
            }
        }
        Self { terms }
    }

    /// The share of it that a text has, 0 to 1.
    fn of(&self, words: &Words, row: usize) -> f64 {
        let mut text = Vec::new();
        words.words_of(row, &mut text);
        let length = text.iter().filter(|&&w| w != GAP).count() as f64;
        let most: f64 = self.terms.iter().map(|t| t.1 * (K1 + 1.0)).sum();
        let longer = K1 * (1.0 - B + B * length / words.mean().max(1e-12));
        let found = |term: &[u32]| text.windows(term.len()).filter(|w| *w == term).count() as f64;
        let sum: f64 =
            self.terms.iter().map(|(term, weight)| (found(term), weight)).map(|(c, w)| w * c * (K1 + 1.0) / (c + longer)).sum();
        if most > 0.0 { sum / most } else { 0.0 }
    }
}

/// Cosine of an embedding and a row; 0 if either is of zeros.
fn cosine(a: &[f32], row: &Rows) -> f64 {
    let b = row.to_mat();
    let dot: f64 = a.iter().zip(&b.data).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let square = |v: &[f32]| v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let length = (square(a) * square(&b.data)).sqrt();
    if length > 0.0 { dot / length } else { 0.0 }
}

#[cfg(test)]
mod tests;
