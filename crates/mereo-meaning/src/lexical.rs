//! Search by words: BM25 (Robertson & Zaragoza 2009), with one pass over all texts for each query, so that there is nothing to keep up to date.

use crate::near::{self, Hit};
use crate::texts::Texts;
use rayon::prelude::*;

/// How fast more of the same word stops to count, and how much the length of a text matters.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The words of a text in small letters: runs of letters and digits, of any script.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

/// The `top` texts for the words of `query`, by falling score, ties by number; texts without any of them are left out.
pub fn search(texts: &dyn Texts, query: &str, top: usize) -> Vec<Hit> {
    let mut terms: Vec<String> = words(query).collect();
    terms.sort_unstable();
    terms.dedup();
    let n = texts.count();
    if terms.is_empty() || n == 0 {
        return Vec::new();
    }
    // Of each text that has one of the terms: how often each, and its length. Lengths of the others count for the mean.
    let found: Vec<(usize, Option<Vec<u32>>)> = (0..n)
        .into_par_iter()
        .with_min_len(64)
        .map(|i| {
            let (mut length, mut counts) = (0, vec![0u32; terms.len()]);
            for word in words(texts.text(i)) {
                length += 1;
                if let Ok(t) = terms.binary_search(&word) {
                    counts[t] += 1;
                }
            }
            (length, counts.iter().any(|c| *c > 0).then_some(counts))
        })
        .collect();
    let mean = found.iter().map(|(length, _)| *length as f64).sum::<f64>() / n as f64;
    let mut rows = vec![0usize; terms.len()];
    for counts in found.iter().filter_map(|(_, c)| c.as_ref()) {
        rows.iter_mut().zip(counts).for_each(|(r, c)| *r += usize::from(*c > 0));
    }
    let weight: Vec<f64> =
        rows.iter().map(|&r| ((n - r) as f64 + 0.5) / (r as f64 + 0.5)).map(|odds| (1.0 + odds).ln()).collect();
    near::best(n, top, |i| match &found[i] {
        (length, Some(counts)) => {
            let long = K1 * (1.0 - B + B * *length as f64 / mean);
            counts.iter().zip(&weight).map(|(&c, w)| w * f64::from(c) * (K1 + 1.0) / (f64::from(c) + long)).sum()
        }
        _ => f64::NEG_INFINITY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let texts = vec!["Dark matter, dark energy", "A star", "The matter of a star: matter", "—"];
        let hits = search(&texts, "dark MATTER", 9);
        // Lengths 4, 2, 6 and 0, mean 3; `dark` is in one text of four, `matter` in two.
        let (dark, matter) = ((1.0 + 3.5f64 / 1.5).ln(), (1.0 + 2.5f64 / 2.5).ln());
        let long = |l: f64| 1.2 * (0.25 + 0.75 * l / 3.0);
        let first = dark * 2.0 * 2.2 / (2.0 + long(4.0)) + matter * 2.2 / (1.0 + long(4.0));
        let second = matter * 2.0 * 2.2 / (2.0 + long(6.0));
        assert_eq!(hits.iter().map(|h| h.at).collect::<Vec<_>>(), [0, 2]);
        assert!((hits[0].score - first).abs() < 1e-12 && (hits[1].score - second).abs() < 1e-12);
        assert!(search(&texts, "…", 3).is_empty() && search(&texts, "nowhere", 3).is_empty());
        assert_eq!(search(&texts, "star", 1).len(), 1);
    }
}
