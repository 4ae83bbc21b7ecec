//! 3,000 glosses of WordNet and the rows that an encoder made of them; `scripts/make_glosses.py` says how they were chosen and stored.

use crate::error::{Error, Result};
use crate::mat::Mat;
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Scales and bytes, deflated.
const ROWS: &[u8] = include_bytes!("../../assets/glosses.i8.zlib");
/// A line a row: the text and the columns, deflated.
const TABLE: &[u8] = include_bytes!("../../assets/glosses.tsv.zlib");
/// WordNet wants its notice in every copy, the program included.
pub(super) const NOTICE: &str = include_str!("../../assets/glosses.licence.txt");
const COLUMNS: [&str; 3] = ["lexname", "synset", "hypernym"];

/// What is known of the rows of a set in words; see [`texts`](super::texts).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Texts {
    /// The text of each row (n), in their order.
    pub texts: Vec<String>,
    /// Names of columns and what each says of each row (n); empty where it says nothing.
    pub columns: Vec<(String, Vec<String>)>,
}

/// Rows of length 1, but for the rounding to bytes.
pub(super) fn rows(n: usize, d: usize) -> Result<Mat> {
    let bytes = inflated(ROWS)?;
    if bytes.len() != n * (4 + d) {
        return Err(broken(&format!("{} bytes for {n} rows of {d} columns", bytes.len())));
    }
    let (scales, whole) = bytes.split_at(4 * n);
    let scales = scales.as_chunks::<4>().0.iter().map(|&s| f32::from_le_bytes(s));
    let data =
        scales.zip(whole.chunks_exact(d)).flat_map(|(scale, row)| row.iter().map(move |&v| f32::from(v.cast_signed()) * scale));
    Mat::new(n, d, data.collect())
}

/// All texts and columns.
pub(super) fn texts(n: usize) -> Result<Texts> {
    let table = String::from_utf8(inflated(TABLE)?).map_err(|e| broken(&e.to_string()))?;
    let mut texts = Vec::with_capacity(n);
    let mut columns = COLUMNS.map(|name| (name.to_string(), Vec::with_capacity(n)));
    for line in table.lines() {
        let mut fields = line.split('\t').map(str::to_string);
        texts.extend(fields.next());
        for (_, values) in &mut columns {
            values.extend(fields.next());
        }
    }
    if texts.len() != n || columns.iter().any(|(_, values)| values.len() != n) {
        return Err(broken(&format!("{} texts for {n} rows", texts.len())));
    }
    Ok(Texts { texts, columns: columns.into() })
}

/// The lexicographer file of each row, numbered from 0 in alphabetical order.
pub(super) fn classes(n: usize) -> Result<Vec<usize>> {
    let files = texts(n)?.columns.swap_remove(0).1;
    let mut names: Vec<&String> = files.iter().collect();
    names.sort_unstable();
    names.dedup();
    Ok(files.iter().map(|file| names.partition_point(|&name| name < file)).collect())
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(bytes).read_to_end(&mut out).map_err(|e| broken(&e.to_string()))?;
    Ok(out)
}

fn broken(why: &str) -> Error {
    Error::data(format!("the embedded `glosses` can't be decoded ({why}); rebuild mereo"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::linalg::dot;
    use std::collections::{HashMap, HashSet};

    fn column<'a>(known: &'a Texts, name: &str) -> &'a [String] {
        &known.columns.iter().find(|(n, _)| n == name).expect("column").1
    }

    #[test]
    fn texts_are_those_of_wordnet() {
        let known = data::texts("glosses").expect("decoded").expect("texts");
        assert_eq!(known.texts.len(), 3000);
        assert_eq!(known.texts.iter().collect::<HashSet<_>>().len(), 3000, "unique");
        assert!(
            known.texts.iter().all(|t| t.split_once(": ").is_some_and(|(_, gloss)| (20..=200).contains(&gloss.chars().count())))
        );
        // From WordNet's own pages.
        let dog = "dog, domestic dog, Canis familiaris: a member of the genus Canis (probably descended from the common wolf) that has \
                   been domesticated by man since prehistoric times; occurs in many breeds";
        let at = known.texts.iter().position(|t| t == dog).expect("dog");
        assert_eq!((column(&known, "lexname")[at].as_str(), column(&known, "synset")[at].as_str()), ("noun.animal", "dog.n.01"));
        // 100 of each of 30 classes, and any first rows hold them evenly.
        for n in [30, 3000] {
            let mut counts: HashMap<&str, usize> = HashMap::new();
            column(&known, "lexname")[..n].iter().for_each(|class| *counts.entry(class).or_default() += 1);
            assert!(counts.len() == 30 && counts.values().all(|&c| c == n / 30), "{counts:?}");
        }
        let names: HashSet<&String> = column(&known, "synset").iter().collect();
        assert_eq!(names.len(), 3000);
        let above: Vec<&String> = column(&known, "hypernym").iter().filter(|h| !h.is_empty()).collect();
        assert!(above.len() > 1000 && above.iter().all(|h| names.contains(h)), "{}", above.len());
        let above_of =
            |s: &str| column(&known, "synset").iter().position(|n| n == s).map(|i| column(&known, "hypernym")[i].as_str());
        assert_eq!((above_of("coffee.n.01"), above_of("house.n.01")), (Some("beverage.n.01"), Some("dwelling.n.01")));
        assert!(data::texts("faces").expect("no error").is_none() && data::texts("nothing").is_err());
        assert!(data::notice("glosses").expect("notice").contains("WordNet 3.1 Copyright 2011 by Princeton University."));
        assert!(data::notice("digits").is_none());
    }

    #[test]
    fn rows_are_what_the_texts_mean() {
        let (x, _) = data::load("glosses").expect("rows");
        let known = data::texts("glosses").expect("decoded").expect("texts");
        let files = column(&known, "lexname");
        let classes = data::labels("glosses").expect("labels");
        assert!((0..x.rows).all(|i| (classes[i] == classes[0]) == (files[i] == files[0])) && classes.iter().max() == Some(&29));
        // Row 0 as the encoder gave it; half a step is 0.0006.
        for (v, whole) in x.row(0).iter().zip([0.057_696_73, 0.013_433_58, 0.020_726_59, -0.019_749_78_f32]) {
            assert!((v - whole).abs() < 6e-4, "{v} of {whole}");
        }
        let lengths: Vec<f64> = (0..x.rows).map(|i| dot(x.row(i), x.row(i)).sqrt()).collect();
        assert!(lengths.iter().all(|l| (l - 1.0).abs() < 1e-2), "{lengths:?}");
        let nearest = |i: usize| {
            let cosine = |j: usize| dot(x.row(i), x.row(j)) / lengths[j];
            let all: Vec<f64> = (0..x.rows).map(cosine).collect();
            (0..x.rows).filter(|&j| j != i).max_by(|&a, &b| all[a].total_cmp(&all[b])).expect("another row")
        };
        for (synset, class) in [
            ("dog.n.01", "noun.animal"),
            ("tree.n.01", "noun.plant"),
            ("coffee.n.01", "noun.food"),
            ("year.n.01", "noun.time"),
            ("city.n.01", "noun.location"),
        ] {
            let at = column(&known, "synset").iter().position(|s| s == synset).expect(synset);
            let near = nearest(at);
            assert_eq!(files[near], class, "{} is nearest to {}", known.texts[at], known.texts[near]);
        }
        // NumPy counts 280 of the first 500, and 51.8% of all; chance is 99 of 2,999, about 17 of 500.
        let same = (0..500).filter(|&i| files[nearest(i)] == files[i]).count();
        assert!((275..=285).contains(&same), "{same} of 500 have a nearest neighbour of their own class");
    }
}
