//! Terms as they are written in the texts of one latent.

use crate::examples::Set;
use crate::words::{GAP, Words};
use std::collections::HashMap;

/// The texts on which a latent is active, as spellings and as words.
pub(super) struct Texts<'a> {
    words: &'a Words,
    forms: Vec<&'a [u32]>,
    read: Vec<Vec<u32>>,
    /// A spelling of each word of these texts.
    written: HashMap<u32, u32>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(words: &'a Words, of: &Set) -> Self {
        let forms: Vec<&[u32]> = of.active.iter().map(|e| words.forms_of(e.row)).collect();
        let read: Vec<Vec<u32>> = forms.iter().map(|text| text.iter().map(|&f| words.word(f)).collect()).collect();
        let mut written = HashMap::new();
        for (&form, &word) in forms.iter().flat_map(|f| f.iter()).zip(read.iter().flatten()) {
            if form != GAP {
                written.entry(word).or_insert(form);
            }
        }
        Self { words, forms, read, written }
    }

    /// Whether two words of these texts say nearly the same: one is the other, or starts with it, or they start with the same six letters.
    pub(super) fn alike(&self, a: u32, b: u32) -> bool {
        let (Some(&x), Some(&y)) = (self.written.get(&a), self.written.get(&b)) else { return a == b };
        let (x, y) = (self.words.form(x).to_lowercase(), self.words.form(y).to_lowercase());
        let same = x.chars().zip(y.chars()).take_while(|(a, b)| a == b).count();
        let shorter = x.chars().count().min(y.chars().count());
        a == b || same >= 6 || (same >= 4 && same == shorter)
    }

    /// Where a phrase is: text and place.
    fn places<'s>(&'s self, phrase: &'s [u32]) -> impl Iterator<Item = (usize, usize)> + 's {
        let in_text = move |(i, text): (usize, &'s Vec<u32>)| {
            text.windows(phrase.len()).enumerate().filter(move |(_, w)| *w == phrase).map(move |(at, _)| (i, at))
        };
        self.read.iter().enumerate().flat_map(in_text)
    }

    /// A phrase made longer, word by word, while that share of it has the same word before or after it; never by a word that was used.
    pub(super) fn grown(&self, phrase: &[u32], together: f64, most: usize, used: &[u32]) -> Vec<u32> {
        let mut out = phrase.to_vec();
        while out.len() < most {
            // Times, and the last text, of each word after and before.
            let mut beside: [HashMap<u32, (usize, usize, usize)>; 2] = Default::default();
            let mut count = 0;
            for (i, at) in self.places(&out) {
                count += 1;
                let after = self.read[i].get(at + out.len()).copied();
                let before = at.checked_sub(1).map(|at| self.read[i][at]);
                for (beside, word) in beside.iter_mut().zip([after, before]) {
                    if let Some(word) = word.filter(|&w| w != GAP && !out.contains(&w) && !used.contains(&w)) {
                        let e = beside.entry(word).or_insert((0, 0, usize::MAX));
                        e.0 += 1;
                        e.1 += usize::from(e.2 != i);
                        e.2 = i;
                    }
                }
            }
            let best = beside.iter().enumerate().flat_map(|(side, of)| of.iter().map(move |(&word, e)| (e.0, e.1, side, word)));
            // Most often; after rather than before; the word seen first in the corpus.
            let best = best.max_by(|a, b| a.0.cmp(&b.0).then(b.2.cmp(&a.2)).then(b.3.cmp(&a.3)));
            match best {
                Some((times, texts, side, word)) if texts >= 2 && times as f64 >= together * f64::from(count) => {
                    if side == 0 {
                        out.push(word);
                    } else {
                        out.insert(0, word);
                    }
                }
                _ => break,
            }
        }
        out
    }

    /// A phrase as these texts write it most often; in the case that is usual in the corpus unless most of them agree on another.
    pub(super) fn spelt(&self, phrase: &[u32]) -> String {
        // By the letters, and among those by the exact spelling; each with its times and its first place.
        let mut letters: HashMap<Vec<u32>, (usize, usize)> = HashMap::new();
        let mut exact: HashMap<&[u32], (usize, usize)> = HashMap::new();
        for (order, (i, at)) in self.places(phrase).enumerate() {
            let forms = &self.forms[i][at..at + phrase.len()];
            let usual = forms.iter().map(|&f| self.words.usual(f)).collect();
            letters.entry(usual).or_insert((0, order)).0 += 1;
            exact.entry(forms).or_insert((0, order)).0 += 1;
        }
        let most = |a: (usize, usize), b: (usize, usize)| a.0.cmp(&b.0).then(b.1.cmp(&a.1));
        let Some((usual, &(times, _))) = letters.iter().max_by(|a, b| most(*a.1, *b.1)) else { return String::new() };
        let is_usual = |forms: &[u32]| forms.iter().zip(usual).all(|(&f, &u)| self.words.usual(f) == u);
        let best = exact.iter().filter(|(forms, _)| is_usual(forms)).max_by(|a, b| most(*a.1, *b.1));
        let agreed = best.filter(|(forms, of)| forms.len() > 1 && of.0 >= 3 && 2 * of.0 > times);
        let forms = agreed.map_or(&usual[..], |(forms, _)| forms);
        forms.iter().map(|&f| self.words.form(f)).collect::<Vec<_>>().join(" ")
    }
}
