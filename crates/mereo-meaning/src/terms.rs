//! Labels of all latents at once from the words of their texts, without a network: terms that the texts of a latent share and near ones lack.
//!
//! A term is a word or two words that follow each other. With the texts on which the latent is active weighted by their codes (w, of sum 1),
//! c the times that a term is in a text, s(c) = 2c / (c + 1), n texts in all, and f of them with the term:
//!
//! > score = (Σᵢ wᵢ s(cᵢ) − max(mean of s(c) over texts that lack the latent, f / n)) · ln(1 + n / f)
//!
//! This is the class-based TF-IDF of Grootendorst (2022) with two changes: a text counts by how much it has of a term, with little for
//! further mentions, so that no single text names a latent; and what texts that are near, but lack the latent, have of it counts against, or
//! what any text has, so that words of all trades don't win by chance where nothing else is shared.
//!
//! Then labels are made to read well: a word that is nearly always part of a pair gives way to it ("neutron star", not "star"), pairs grow to
//! whole phrases, a term is left out that repeats a word, and all is spelt as it is most often.
//!
//! Cost: about as much as reading the texts twice. Memory: that of [`Words`], and some 2 kB a latent.

use crate::examples::{Examples, Set};
use crate::words::{GAP, Words};
use mereo::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod phrase;

/// How labels are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// Terms of a label at most.
    pub label: usize,
    /// Words of a label at most, but for its first term.
    pub words: usize,
    /// A further term is part of the label if its score is at least this share of the first one's.
    pub further: f64,
    /// Terms that are told beside the label.
    pub told: usize,
    /// A term must be in this share of the active texts, and in two if there are two.
    pub share: f64,
    /// A word gives way to a pair, and a phrase grows, if this share of it is within the larger one.
    pub together: f64,
    /// Words of a phrase at most.
    pub phrase: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { label: 3, words: 8, further: 0.4, told: 10, share: 0.15, together: 0.7, phrase: 4 }
    }
}

impl Terms {
    /// Refuses what makes no label.
    ///
    /// # Errors
    /// A count of 0; a share outside 0 to 1.
    pub fn check(&self) -> Result<()> {
        for (name, count) in [("label", self.label), ("words", self.words), ("told", self.told), ("phrase", self.phrase)] {
            if count == 0 {
                return Err(Error::parameter(format!("{name} = 0 leaves no label; give at least 1")));
            }
        }
        for (name, share) in [("further", self.further), ("share", self.share), ("together", self.together)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::parameter(format!("{name} = {share} is no share; give 0 to 1")));
            }
        }
        Ok(())
    }
}

/// What a latent means, in a few terms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The latent.
    pub latent: usize,
    /// The label; empty if the latent is active on no text.
    pub text: String,
    /// The terms that tell it best, with their scores.
    pub terms: Vec<(String, f64)>,
}

/// A term of one latent: a word, or two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    /// [`code`] of its words.
    code: u64,
    /// How much active texts have of it.
    active: f64,
    /// How much those that lack the latent have of it.
    lacking: f64,
    /// Active texts that have it.
    texts: usize,
    /// Its score, once its texts in the corpus are counted.
    score: f64,
}

impl Term {
    /// Its words: the second one is [`GAP`] if there is only one.
    fn words(&self) -> [u32; 2] {
        let (a, b) = ((self.code >> 32) as u32, self.code as u32);
        if a == GAP { [b, GAP] } else { [a, b] }
    }

    fn has(&self, word: u32) -> bool {
        self.words().contains(&word)
    }

    fn is_pair(&self) -> bool {
        self.words()[1] != GAP
    }
}

/// A number for a pair of words, or for one after a gap. Pairs are before words.
fn code(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

/// Labels of latents, by the rows that were chosen to make them from ([`crate::examples::Choice::terms`]).
///
/// # Errors
/// [`Terms::check`]; a row that has no text.
pub fn labels(words: &Words, examples: &[Examples], how: &Terms) -> Result<Vec<Label>> {
    how.check()?;
    let last = |set: &Set| set.active.iter().map(|e| e.row).chain(set.lacking.iter().copied()).max();
    if let Some(bad) = examples.iter().filter_map(|of| last(&of.label)).max().filter(|&row| row >= words.texts()) {
        return Err(Error::data(format!("row {bad} is an example, but there are {} texts; read all of them", words.texts())));
    }
    let mut terms: Vec<Vec<Term>> = examples.par_iter().map(|of| candidates(words, &of.label, how)).collect();
    let mut pairs: Vec<u64> = terms.par_iter().flat_map_iter(|of| of.iter().filter(|t| t.is_pair()).map(|t| t.code)).collect();
    pairs.par_sort_unstable();
    pairs.dedup();
    let found = count_pairs(words, &pairs);
    let n = words.texts() as f64;
    Ok(terms
        .par_iter_mut()
        .zip(examples)
        .map(|(terms, of)| {
            for t in terms.iter_mut() {
                let texts = if t.is_pair() {
                    pairs.binary_search(&t.code).map_or(1, |at| found[at])
                } else {
                    words.found_at(t.words()[0])
                };
                t.score = score(t.active, t.lacking, n, f64::from(texts));
            }
            label(words, of, terms, how)
        })
        .collect())
}

/// The score of a term that active texts have `active` of, and others `lacking`, and that `found` of `n` texts have.
fn score(active: f64, lacking: f64, n: f64, found: f64) -> f64 {
    (active - lacking.max(found / n)) * (n / found.max(1.0)).ln_1p()
}

/// What c mentions in one text count.
fn saturated(c: usize) -> f64 {
    2.0 * c as f64 / (c as f64 + 1.0)
}

/// The terms of one text, and how often each is in it; by code.
fn terms_of(words: &[u32], out: &mut Vec<(u64, usize)>) {
    let mut before = GAP;
    out.clear();
    for &word in words {
        if word != GAP {
            out.push((code(GAP, word), 1));
            if before != GAP && before != word {
                out.push((code(before, word), 1));
            }
        }
        before = word;
    }
    out.sort_unstable();
    out.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
}

/// Terms that may tell a latent, by code, without their scores.
fn candidates(words: &Words, of: &Set, how: &Terms) -> Vec<Term> {
    let sum: f64 = of.active.iter().map(|e| f64::from(e.value)).sum();
    let (mut text, mut found) = (Vec::new(), Vec::new());
    let mut all: Vec<(u64, f64)> = Vec::new();
    for e in &of.active {
        words.words_of(e.row, &mut text);
        terms_of(&text, &mut found);
        all.extend(found.iter().map(|&(code, c)| (code, f64::from(e.value) / sum * saturated(c))));
    }
    // Stable, so that sums are taken in the order of the examples.
    all.sort_by_key(|e| e.0);
    let mut out: Vec<Term> = all
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| Term { code: same[0].0, active: same.iter().map(|e| e.1).sum(), lacking: 0.0, texts: same.len(), score: 0.0 })
        .collect();
    let least = ((how.share * of.active.len() as f64).ceil() as usize).max(2);
    // With few texts nothing may be shared; then all they say is all there is.
    if out.iter().any(|t| t.texts >= least) {
        out.retain(|t| t.texts >= least);
    }
    for &row in &of.lacking {
        words.words_of(row, &mut text);
        terms_of(&text, &mut found);
        for &(code, c) in &found {
            if let Ok(at) = out.binary_search_by_key(&code, |t| t.code) {
                out[at].lacking += saturated(c) / of.lacking.len() as f64;
            }
        }
    }
    if out.iter().any(|t| t.active > t.lacking) {
        out.retain(|t| t.active > t.lacking);
    }
    out
}

/// How many texts have each of some pairs of words, given by rising code.
fn count_pairs(words: &Words, pairs: &[u64]) -> Vec<u32> {
    // Where the pairs of each first word start: few of them are left to search.
    let mut starts = vec![0usize; words.len() + 1];
    for &pair in pairs {
        starts[(pair >> 32) as usize + 1] += 1;
    }
    for w in 0..words.len() {
        starts[w + 1] += starts[w];
    }
    words.sums(pairs.len(), |text, put| {
        for w in text.windows(2).filter(|w| w[0] != GAP && w[1] != GAP) {
            let (from, to) = (starts[w[0] as usize], starts[w[0] as usize + 1]);
            if let Ok(at) = pairs[from..to].binary_search(&code(w[0], w[1])) {
                put(from + at);
            }
        }
    })
}

/// The label of one latent, of terms with their scores.
fn label(words: &Words, of: &Examples, terms: &mut Vec<Term>, how: &Terms) -> Label {
    // Where nothing sets it apart, the best of a bad lot is told.
    if terms.iter().any(|t| t.score > 0.0) {
        terms.retain(|t| t.score > 0.0);
    }
    give_way(terms, how);
    terms.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.code.cmp(&b.code)));
    let texts = phrase::Texts::new(words, &of.label);
    let mut out = Label { latent: of.latent, ..Label::default() };
    let mut used: Vec<u32> = Vec::new();
    let (mut first, mut counted) = (0.0, 0);
    for t in terms.iter() {
        if out.terms.len() == how.told {
            break;
        }
        let own: Vec<u32> = t.words().into_iter().filter(|&w| w != GAP).collect();
        if own.iter().any(|&w| used.iter().any(|&u| texts.alike(w, u))) {
            continue;
        }
        let whole = if how.phrase > own.len() { texts.grown(&own, how.together, how.phrase, &used) } else { own };
        let said = texts.spelt(&whole);
        let place = out.terms.len();
        if place == 0 {
            first = t.score;
        }
        if place == 0 || (place < how.label && t.score >= how.further * first && counted + whole.len() <= how.words) {
            counted += whole.len();
            if place > 0 {
                out.text += ", ";
            }
            out.text += &said;
        }
        used.extend(&whole);
        out.terms.push((said, t.score));
    }
    out
}

/// Leaves out the words that are nearly always part of a pair which tells the latent, too.
fn give_way(terms: &mut Vec<Term>, how: &Terms) {
    let pairs: Vec<Term> = terms.iter().filter(|t| t.is_pair()).copied().collect();
    terms.retain(|t| {
        t.is_pair()
            || !pairs.iter().any(|p| {
                p.has(t.words()[0])
                    && p.active >= how.together * t.active
                    && p.texts >= 2.min(t.texts)
                    && p.score >= 0.5 * t.score
            })
    });
}

#[cfg(test)]
mod tests;
