use super::*;
use crate::codes::OwnedBoth;
use crate::examples::{Choice, Example, choose};
use mereo::rng::rng;
use mereo::{Csr, Mat};

fn set(active: &[(usize, f32)], lacking: &[usize]) -> Set {
    Set {
        active: active.iter().map(|&(row, value)| Example { row, value }).collect(),
        top: active.len(),
        lacking: lacking.to_vec(),
    }
}

fn label_of(texts: &[&str], of: Set) -> Label {
    let words = Words::new(&texts.to_vec(), 1000).expect("words");
    let of = Examples { latent: 7, label: of, ..Examples::default() };
    labels(&words, &[of], &Terms::default()).expect("labels").remove(0)
}

#[test]
fn scores_by_hand() {
    // Weights 2/3 and 1/3. "pulsar": 2/3 · 4/3 + 1/3 · 1 = 11/9 of it, in 2 of 4 texts. "timing" is in 1 of 2, but also in the near text.
    let found =
        label_of(&["Pulsar, pulsar, timing", "pulsar, glitch", "galaxy, timing", "comet"], set(&[(0, 2.0), (1, 1.0)], &[2]));
    assert_eq!((found.latent, found.text.as_str(), found.terms.len()), (7, "pulsar", 1));
    assert!((found.terms[0].1 - (11.0 / 9.0 - 0.5) * 3f64.ln()).abs() < 1e-12, "{found:?}");
    // What near texts have counts against: 11/9 − 1 of it, now in 3 of 4 texts.
    let found =
        label_of(&["pulsar, pulsar, timing", "pulsar, glitch", "galaxy, pulsar", "comet"], set(&[(0, 2.0), (1, 1.0)], &[2]));
    assert!((found.terms[0].1 - 2.0 / 9.0 * (7.0f64 / 3.0).ln()).abs() < 1e-12, "{found:?}");
}

#[test]
fn words_give_way_to_pairs_and_pairs_to_phrases() {
    let texts = [
        "Large language models answer. A large language model errs; NASA watches",
        "The large language model learns, says NASA",
        "Of large language models at Nasa",
        "a small dog, a language",
        "large cats",
    ];
    let found = label_of(&texts, set(&[(0, 1.0), (1, 1.0), (2, 1.0)], &[3, 4]));
    assert_eq!(found.text, "large language models, NASA");
    assert_eq!(found.terms.len(), 2);
    // A word that is mostly elsewhere stays a word.
    let texts = ["dark star, star, stars. A star", "star and star, a dark star", "stars, star", "a dog", "cats"];
    let found = label_of(&texts, set(&[(0, 1.0), (1, 1.0), (2, 1.0)], &[3, 4]));
    assert_eq!(found.text, "star");
}

#[test]
fn repeats_are_left_out() {
    let texts = [
        "lens, lensing, cosmology, cosmological, arc",
        "lensing, lens, cosmological, cosmology, arc",
        "rain",
        "snow",
        "hail",
        "fog",
    ];
    let found = label_of(&texts, set(&[(0, 1.0), (1, 1.0)], &[2, 3]));
    assert_eq!(found.terms.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["lens", "cosmology", "arc"]);
}

#[test]
fn little_to_go_by_still_gives_a_label() {
    // One text; and two that share nothing that others lack.
    assert_eq!(label_of(&["comet tails", "dog", "cat"], set(&[(0, 1.0)], &[1])).text, "comet tails");
    assert_eq!(label_of(&["comet", "comet", "comet"], set(&[(0, 1.0), (1, 1.0)], &[2])).text, "comet");
    assert_eq!(label_of(&["1 2", "dog"], set(&[(0, 1.0)], &[1])), Label { latent: 7, ..Label::default() });
    assert_eq!(label_of(&["comet", "dog"], set(&[], &[1])).text, "");
}

/// Texts of topics of three words each among common words, and a latent for each topic.
fn planted(topics: usize, n: usize) -> (Vec<String>, OwnedBoth, Mat) {
    let common = ["result", "method", "data", "show", "new", "large", "study", "model", "value", "case"];
    let (mut texts, mut csr) = (Vec::new(), Csr { rows: n, cols: topics, indptr: vec![0], ..Csr::default() });
    let mut x = Mat::zeros(n, topics);
    for i in 0..n {
        let mut r = rng(5, 0, i as u64);
        let mut words: Vec<String> = (0..30).map(|_| common[r.below(common.len())].to_owned()).collect();
        for j in r.choose(topics, 2) {
            let strength = 0.2 + 0.8 * r.uniform();
            csr.indices.push(j as u32);
            csr.values.push(strength as f32);
            x.row_mut(i)[j] = strength as f32;
            // The stronger, the surer its main word, "topicNN", and two weaker ones that neighbours share.
            if r.uniform() < 0.5 + 0.5 * strength {
                words.push(format!("topic{}x", letters(j)));
            }
            words.push(format!("side{}x", letters(j / 2)));
        }
        csr.indptr.push(csr.indices.len() as u64);
        r.shuffle(&mut words);
        texts.push(words.join(", "));
    }
    (texts, OwnedBoth::new(&csr).expect("both"), x)
}

/// A number in letters.
fn letters(mut j: usize) -> String {
    let mut out = String::new();
    loop {
        out.push(char::from(b'a' + (j % 26) as u8));
        j /= 26;
        if j == 0 {
            return out;
        }
    }
}

#[test]
fn planted_topics_are_named() {
    let topics = 60;
    let (texts, codes, x) = planted(topics, 3000);
    let words = Words::new(&texts, 1000).expect("words");
    let all: Vec<usize> = (0..topics).collect();
    for rows in [None, Some(x.view())] {
        let chosen = choose(&codes.view(), &texts, rows.as_ref(), &all, &Choice::terms()).expect("chosen");
        let found = labels(&words, &chosen, &Terms::default()).expect("labels");
        for (j, label) in found.iter().enumerate() {
            assert_eq!((label.latent, label.terms[0].0.as_str()), (j, format!("topic{}x", letters(j)).as_str()), "{label:?}");
        }
        assert_eq!(found, labels(&words, &chosen, &Terms::default()).expect("again"));
        // Labels of some latents are theirs among all.
        assert_eq!(found[7..9], labels(&words, &chosen[7..9], &Terms::default()).expect("some"));
    }
}

#[test]
fn what_makes_no_label_is_an_error() {
    let words = Words::new(&["a comet"], 10).expect("words");
    let of = Examples { label: set(&[(0, 1.0)], &[1]), ..Examples::default() };
    assert!(labels(&words, &[of], &Terms::default()).expect_err("row").to_string().contains("row 1"));
    for bad in [
        Terms { label: 0, ..Terms::default() },
        Terms { share: 1.5, ..Terms::default() },
        Terms { further: f64::NAN, ..Terms::default() },
    ] {
        assert!(labels(&words, &[], &bad).is_err());
    }
}
