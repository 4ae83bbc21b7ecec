//! A corpus as numbered words, read once.
//!
//! Words are those of Unicode's default word boundaries (UAX #29), with hyphenated ones kept whole ("x-ray"). Left out are numbers, single
//! letters, commands of LaTeX, and the words that only hold an English sentence together. Spellings are numbered as written; words that
//! differ in case, or by an English plural (Harman 1991), count as one.
//!
//! Memory: 4 bytes a word that is kept and as many for each gap, some 0.7 kB an abstract, and the vocabulary. [`Words::new`] can be told to
//! read no more than the first words of each text.

use crate::texts::Texts;
use mereo::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;

mod split;
use split::{key, split};

/// Between two words that do not follow each other directly.
pub(crate) const GAP: u32 = u32::MAX;
/// Texts that one thread reads at a time.
const PART: usize = 1024;
/// As many of those are read before they are numbered, which bounds what is held twice.
const WAVE: usize = 32;

/// A corpus as numbered words.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// Where each text starts in `tokens`; one number more than there are texts.
    starts: Vec<u64>,
    /// Spellings in their order, with gaps.
    tokens: Vec<u32>,
    /// Each spelling.
    forms: Vec<String>,
    /// The word that each spelling is of.
    word: Vec<u32>,
    /// The spelling in which each one's lower-case letters are most often written.
    usual: Vec<u32>,
    /// Texts with each word.
    found: Vec<u32>,
    /// The number of each word.
    numbers: HashMap<String, u32>,
    /// Words of a text in the mean.
    mean: f64,
}

/// Some texts with spellings numbered for themselves.
struct Part<'a> {
    ends: Vec<usize>,
    tokens: Vec<u32>,
    forms: Vec<&'a str>,
}

impl<'a> Part<'a> {
    fn read(texts: &'a dyn Texts, rows: std::ops::Range<usize>, most: usize) -> Self {
        let mut out = Self { ends: Vec::with_capacity(rows.len()), tokens: Vec::new(), forms: Vec::new() };
        let mut known: HashMap<&str, u32> = HashMap::new();
        for i in rows {
            let mut left = most;
            split(texts.text(i), |word| {
                let Some(word) = word else {
                    out.tokens.push(GAP);
                    return left > 0;
                };
                if left == 0 {
                    return false;
                }
                left -= 1;
                let next = out.forms.len() as u32;
                out.tokens.push(*known.entry(word).or_insert_with(|| {
                    out.forms.push(word);
                    next
                }));
                true
            });
            out.ends.push(out.tokens.len());
        }
        out
    }
}

impl Words {
    /// The first `most` words of each text.
    ///
    /// # Errors
    /// No text; `most` is 0; more than 2³² − 2 spellings.
    pub fn new(texts: &dyn Texts, most: usize) -> Result<Self> {
        if texts.count() == 0 {
            return Err(Error::data("there is no text to read; give one for each row"));
        }
        if most == 0 {
            return Err(Error::parameter("0 words of each text tell nothing; read at least 1"));
        }
        let n = texts.count();
        let mut out = Self { starts: vec![0], ..Self::default() };
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut forms: Vec<&str> = Vec::new();
        for wave in (0..n).step_by(PART * WAVE) {
            let parts: Vec<usize> = (wave..n.min(wave + PART * WAVE)).step_by(PART).collect();
            let parts: Vec<Part> = parts.into_par_iter().map(|from| Part::read(texts, from..n.min(from + PART), most)).collect();
            for part in parts {
                let mut to = Vec::with_capacity(part.forms.len());
                for form in part.forms {
                    let next = forms.len() as u32;
                    to.push(*known.entry(form).or_insert_with(|| {
                        forms.push(form);
                        next
                    }));
                }
                if forms.len() >= GAP as usize {
                    return Err(Error::data("the texts have more than 4 billion spellings; read fewer words of each"));
                }
                let before = out.tokens.len();
                out.starts.extend(part.ends.iter().map(|end| (before + end) as u64));
                out.tokens.extend(part.tokens.iter().map(|&t| if t == GAP { GAP } else { to[t as usize] }));
            }
        }
        out.number(&forms);
        out.count();
        Ok(out)
    }

    /// The word of each spelling, and its usual case.
    fn number(&mut self, forms: &[&str]) {
        let mut written = vec![0u64; forms.len()];
        for &t in self.tokens.iter().filter(|&&t| t != GAP) {
            written[t as usize] += 1;
        }
        let mut usual: HashMap<String, u32> = HashMap::new();
        for (i, form) in forms.iter().enumerate() {
            let best = usual.entry(form.to_lowercase()).or_insert(i as u32);
            if written[i] > written[*best as usize] {
                *best = i as u32;
            }
            let next = self.numbers.len() as u32;
            self.word.push(*self.numbers.entry(key(form)).or_insert(next));
        }
        self.usual = forms.iter().map(|form| usual[&form.to_lowercase()]).collect();
        self.forms = forms.iter().map(|&form| form.to_owned()).collect();
    }

    /// How many texts have each word, and how many words a text has.
    fn count(&mut self) {
        let words = self.tokens.iter().filter(|&&t| t != GAP).count();
        self.mean = words as f64 / self.texts() as f64;
        self.found = self.sums(self.numbers.len(), |words, put| words.iter().for_each(|&w| put(w as usize)));
    }

    /// For each of `count` things, how many texts have it; `of` calls its second argument for each that one has, as often as it likes.
    /// It gets the numbers of the words, with gaps.
    pub(crate) fn sums(&self, count: usize, of: impl Fn(&[u32], &mut dyn FnMut(usize)) + Sync) -> Vec<u32> {
        // Whole numbers: the sum is the same for any number of parts.
        let parts = rayon::current_num_threads().min(16);
        let step = self.texts().div_ceil(parts);
        let sums: Vec<Vec<u32>> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let (mut sum, mut last) = (vec![0u32; count], vec![0u32; count]);
                let mut words = Vec::new();
                for i in part * step..self.texts().min((part + 1) * step) {
                    self.words_of(i, &mut words);
                    let now = (i - part * step + 1) as u32;
                    of(&words, &mut |at| {
                        if at < count && last[at] != now {
                            last[at] = now;
                            sum[at] += 1;
                        }
                    });
                }
                sum
            })
            .collect();
        let mut out = vec![0u32; count];
        for sum in sums {
            out.iter_mut().zip(sum).for_each(|(o, s)| *o += s);
        }
        out
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of different words.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no text has any word.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Words of a text in the mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Number of texts that have a word, in any case and number; 0 if it is none or left out.
    pub fn found(&self, word: &str) -> usize {
        self.numbers.get(&key(word)).map_or(0, |&w| self.found[w as usize] as usize)
    }

    /// Texts with word number `w`.
    pub(crate) fn found_at(&self, w: u32) -> u32 {
        self.found[w as usize]
    }

    /// The spellings of text `i`, with gaps.
    pub(crate) fn forms_of(&self, i: usize) -> &[u32] {
        &self.tokens[self.starts[i] as usize..self.starts[i + 1] as usize]
    }

    /// The word of a spelling; a gap is one.
    pub(crate) fn word(&self, form: u32) -> u32 {
        if form == GAP { GAP } else { self.word[form as usize] }
    }

    /// The numbers of the words of text `i`, with gaps, in `out`.
    pub(crate) fn words_of(&self, i: usize, out: &mut Vec<u32>) {
        out.clear();
        out.extend(self.forms_of(i).iter().map(|&form| self.word(form)));
    }

    /// A spelling.
    pub(crate) fn form(&self, form: u32) -> &str {
        &self.forms[form as usize]
    }

    /// The spelling that is most usual for the same letters.
    pub(crate) fn usual(&self, form: u32) -> u32 {
        self.usual[form as usize]
    }

    /// The words of any other text, such as a label, with gaps; a word that no text of the corpus has is a gap, too.
    pub(crate) fn read(&self, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        split(text, |word| {
            out.push(word.and_then(|word| self.numbers.get(&key(word)).copied()).unwrap_or(GAP));
            true
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_by_text_whatever_their_case_and_number() {
        let texts = ["Galaxies merge. A galaxy cools; GALAXY", "NASA flies to the galaxy", "Nasa and NASA, no star"];
        let words = Words::new(&texts, 100).expect("words");
        assert_eq!((words.texts(), words.found("galaxy"), words.found("Galaxies"), words.found("nasa")), (3, 2, 2, 2));
        assert_eq!((words.found("the"), words.found("comet"), words.found("star")), (0, 0, 1));
        // galaxy, merge, cool, nasa, fly, star
        assert_eq!(words.len(), 6);
        // 5 + 3 + 3 words.
        assert!((words.mean() - 11.0 / 3.0).abs() < 1e-12);
        let nasa = words.forms_of(2)[0];
        assert_eq!((words.form(nasa), words.form(words.usual(nasa))), ("Nasa", "NASA"));
        assert_eq!(words.read("star of nasa"), [words.word(words.forms_of(2)[4]), GAP, words.word(nasa)]);
    }

    #[test]
    fn no_more_words_than_asked_for() {
        let words = Words::new(&["comets, planets and stars", "stars"], 2).expect("words");
        assert_eq!((words.found("comet"), words.found("planet"), words.found("star")), (1, 1, 1));
    }

    #[test]
    fn many_parts_give_the_same_as_one() {
        // Spellings repeat over the parts of one wave; counts are known.
        let texts: Vec<String> = (0..3 * PART + 7).map(|i| format!("common word{}", i % 5)).collect();
        let words = Words::new(&texts, 10).expect("words");
        assert_eq!((words.texts(), words.len(), words.found("common")), (texts.len(), 6, texts.len()));
        assert_eq!(words.found("word4"), (0..texts.len()).filter(|i| i % 5 == 4).count());
        let last = words.forms_of(texts.len() - 1);
        assert_eq!(
            last.iter().map(|&f| words.form(f)).collect::<Vec<_>>(),
            ["common", &format!("word{}", (texts.len() - 1) % 5)]
        );
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        assert!(Words::new(&Vec::<String>::new(), 10).is_err());
        assert!(Words::new(&["a"], 0).is_err());
        assert!(Words::new(&["1 2 3"], 10).expect("words").is_empty());
    }
}
