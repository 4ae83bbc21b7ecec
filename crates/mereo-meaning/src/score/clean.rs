//! The labels worth keeping.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A scored label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The latent.
    pub latent: usize,
    /// Its label.
    pub label: String,
    /// F1.
    pub f1: f64,
    /// Pearson's r; NaN if there is none.
    pub r: f64,
    /// Share of rows on which it is active.
    pub density: f64,
}

/// What a label needs to be clean (O'Neill et al. 2024).
///
/// The words are looked for as whole words: "isotopic" does not name a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clean {
    /// F1 at least.
    pub f1: f64,
    /// r at least.
    pub r: f64,
    /// Density below this.
    pub density: f64,
    /// Taken off the end of labels, as they say the field of all: "in astronomy".
    pub endings: Vec<String>,
    /// Labels with one of these words, or its plural, tell of texts rather than of what those are about.
    pub words: Vec<String>,
}

impl Default for Clean {
    fn default() -> Self {
        let owned = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect();
        Self {
            f1: 0.8,
            r: 0.8,
            density: 0.2,
            endings: owned(&["in astronomy", "in astrophysics", "in machine learning"]),
            words: owned(&["keyword", "topic", "concept", "presence"]),
        }
    }
}

impl Clean {
    /// The clean ones in their order, with endings taken off. Of those whose labels are the same but for case, the one with the best
    /// F1 + r is kept, the first of equals.
    pub fn of(&self, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut best: HashMap<String, usize> = HashMap::new();
        let mut out: Vec<Candidate> = Vec::new();
        for c in candidates {
            let label = self.stripped(&c.label);
            // Not below a limit, so that NaN is refused.
            if !(c.f1 >= self.f1 && c.r >= self.r && c.density < self.density) || label.is_empty() || self.refused(label) {
                continue;
            }
            let c = Candidate { label: label.to_owned(), ..c.clone() };
            let at = *best.entry(label.to_lowercase()).or_insert(out.len());
            if at == out.len() {
                out.push(c);
            } else if c.f1 + c.r > out[at].f1 + out[at].r {
                out[at] = c;
            }
        }
        out.sort_by_key(|c| c.latent);
        out
    }

    /// A label without the endings, in any case.
    fn stripped<'a>(&self, label: &'a str) -> &'a str {
        let mut left = label.trim();
        while let Some(shorter) = self.endings.iter().find_map(|ending| without(left, ending.trim())) {
            left = shorter;
        }
        left
    }

    /// Whether a label tells of words or letters.
    fn refused(&self, label: &str) -> bool {
        let small = label.to_lowercase();
        let named = small.split(|c: char| !c.is_alphanumeric()).any(|word| {
            self.words.iter().map(|w| w.to_lowercase()).any(|w| word == w || word.strip_suffix('s').is_some_and(|one| one == w))
        });
        named || quotes_a_letter(label)
    }
}

/// What is left of a label that ends in a whole phrase, and is more than that.
fn without<'a>(label: &'a str, ending: &str) -> Option<&'a str> {
    let at = label.len().checked_sub(ending.len()).filter(|&at| at > 0 && !ending.is_empty() && label.is_char_boundary(at))?;
    let (left, end) = label.split_at(at);
    (end.eq_ignore_ascii_case(ending) && left.ends_with(char::is_whitespace))
        .then(|| left.trim_end().trim_end_matches(',').trim_end())
}

/// Whether a single letter stands in quotation marks.
fn quotes_a_letter(label: &str) -> bool {
    const OPEN: &str = "'\"`‘“’”«";
    const CLOSE: &str = "'\"`’”»“";
    let all: Vec<char> = label.chars().collect();
    all.windows(3).enumerate().any(|(i, w)| {
        let starts = i == 0 || !all[i - 1].is_alphanumeric();
        let ends = all.get(i + 3).is_none_or(|c| !c.is_alphanumeric());
        OPEN.contains(w[0]) && w[1].is_alphabetic() && CLOSE.contains(w[2]) && starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(latent: usize, label: &str, f1: f64, r: f64, density: f64) -> Candidate {
        Candidate { latent, label: label.into(), f1, r, density }
    }

    #[test]
    fn only_clean_labels_are_kept() {
        let all = [
            candidate(0, "Neutron stars in Astronomy", 0.8, 0.8, 0.199),
            candidate(1, "F1 too low", 0.79, 1.0, 0.1),
            candidate(2, "r too low", 1.0, 0.79, 0.1),
            candidate(3, "no r", 1.0, f64::NAN, 0.1),
            candidate(4, "too dense", 1.0, 1.0, 0.2),
            candidate(5, "The topic of dust", 1.0, 1.0, 0.1),
            candidate(6, "Keywords of dust", 1.0, 1.0, 0.1),
            candidate(7, "Isotopic ratios", 1.0, 1.0, 0.1),
            candidate(8, "Words with 'q'", 1.0, 1.0, 0.1),
            candidate(9, "The letter \u{201c}z\u{201d}", 1.0, 1.0, 0.1),
            candidate(10, "Stars' ages", 1.0, 1.0, 0.1),
            candidate(11, "in astronomy", 1.0, 1.0, 0.1),
            candidate(12, "Presence of water", 1.0, 1.0, 0.1),
        ];
        let kept = Clean::default().of(&all);
        let labels: Vec<(usize, &str)> = kept.iter().map(|c| (c.latent, c.label.as_str())).collect();
        // An ending alone is the whole label, and stays.
        assert_eq!(labels, [(0, "Neutron stars"), (7, "Isotopic ratios"), (10, "Stars' ages"), (11, "in astronomy")]);
    }

    #[test]
    fn of_the_same_labels_the_best_is_kept() {
        let all = [
            candidate(3, "Dust", 0.9, 0.9, 0.1),
            candidate(4, "dust in astronomy", 0.95, 0.9, 0.1),
            candidate(5, "DUST", 0.9, 0.95, 0.1),
            candidate(6, "Gas", 0.9, 0.9, 0.1),
            candidate(7, "dust", 0.5, 1.0, 0.1),
        ];
        let kept = Clean::default().of(&all);
        assert_eq!(kept.iter().map(|c| (c.latent, c.label.as_str())).collect::<Vec<_>>(), [(4, "dust"), (6, "Gas")]);
    }

    #[test]
    fn endings_are_the_callers_own() {
        let clean = Clean { endings: vec!["in French cooking".into()], ..Clean::default() };
        let kept = clean
            .of(&[candidate(0, "Sauces, in french cooking", 1.0, 1.0, 0.0), candidate(1, "Stars in astronomy", 1.0, 1.0, 0.0)]);
        assert_eq!((kept[0].label.as_str(), kept[1].label.as_str()), ("Sauces", "Stars in astronomy"));
    }
}
