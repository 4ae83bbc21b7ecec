use super::*;
use crate::codes::OwnedBoth;
use mereo::{Csr, Mat};
use std::collections::HashSet;

/// Codes of dense numbers.
fn both(m: &Mat) -> OwnedBoth {
    OwnedBoth::new(&m.view().to_csr()).expect("both")
}

fn long(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("text {i} {}", "words ".repeat(20))).collect()
}

fn rows(of: &[Example]) -> Vec<usize> {
    of.iter().map(|e| e.row).collect()
}

#[test]
fn top_rows_go_to_the_label_and_the_next_to_the_test() {
    // One latent: codes 0..20, of which row 19 and 18 tie, and the texts of rows 17 and 16 are short.
    let n = 30;
    let mut m = Mat::zeros(n, 1);
    (0..20).for_each(|i| m.data[i] = i as f32);
    m.data[18] = 19.0;
    m.data[25] = -50.0;
    let mut texts = long(n);
    // Exactly 100 characters, of more bytes, are not more than 100.
    texts[17] = "é".repeat(100);
    texts[16] = "short".into();
    let codes = both(&m);
    let found = choose(&codes.view(), &texts, None, &[0], &Choice::default()).expect("chosen");
    assert_eq!(rows(&found[0].label.active), [18, 19, 15, 14, 13]);
    assert_eq!(rows(&found[0].test.active), [12, 11, 10]);
    assert_eq!((found[0].label.top, found[0].test.top, found[0].label.active[2].value), (5, 3, 15.0));
    // Row 0 has a code of 0 and lacks the latent, row 25 is below 0 and does not.
    let lacking: Vec<usize> = [&found[0].label.lacking[..], &found[0].test.lacking].concat();
    assert_eq!(lacking.len(), 8);
    assert!(lacking.iter().all(|&i| (i == 0 || i >= 20) && i != 25), "{lacking:?}");
    assert_eq!(lacking.iter().collect::<HashSet<_>>().len(), 8);
}

#[test]
fn all_kinds_are_disjoint_and_strata_cover_the_range() {
    let n = 400;
    let mut m = Mat::zeros(n, 2);
    for i in 0..300 {
        m.data[2 * i] = (i + 1) as f32;
        m.data[2 * i + 1] = ((i * 37) % 300 + 1) as f32;
    }
    let codes = both(&m);
    let how = Choice {
        label: Counts { top: 20, stratified: 10, random: 7, lacking: 20 },
        test: Counts { top: 4, stratified: 5, random: 6, lacking: 9 },
        ..Choice::default()
    };
    let (texts, latents) = (long(n), [1, 0]);
    let found = choose(&codes.view(), &texts, None, &latents, &how).expect("chosen");
    for (of, j) in found.iter().zip(latents) {
        assert_eq!(of.latent, j);
        assert_eq!((of.label.active.len(), of.test.active.len()), (37, 15));
        assert_eq!((of.label.lacking.len(), of.test.lacking.len()), (20, 9));
        let all = [rows(&of.label.active), rows(&of.test.active), of.label.lacking.clone(), of.test.lacking.clone()].concat();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "a row is used twice");
        assert!(of.label.lacking.iter().chain(&of.test.lacking).all(|&i| i >= 300));
        // 276 rows are left after 24 top ones: codes 1 to 276, one from each tenth, strong to weak.
        for (b, e) in of.label.active[20..30].iter().enumerate() {
            let (from, to) = (b * 276 / 10, (b + 1) * 276 / 10);
            let rank = 276 - e.value as usize;
            assert!((from..to).contains(&rank), "share {b}: rank {rank}");
        }
    }
    assert_eq!(found, choose(&codes.view(), &texts, None, &latents, &how).expect("again"));
    let other = choose(&codes.view(), &texts, None, &latents, &Choice { seed: 1, ..how }).expect("other");
    assert_ne!(found[0].label.lacking, other[0].label.lacking);
    assert_eq!(found[0].label.active[..20], other[0].label.active[..20]);
}

#[test]
fn few_rows_are_shared_out() {
    // 4 of 8 wanted: 3 to the label by 4·3/8 = 1 for the test; 1 alone goes to the label.
    assert_eq!(
        [shares(4, 5, 3), shares(1, 5, 3), shares(2, 20, 1), shares(0, 5, 3), shares(9, 5, 3)],
        [(3, 1), (1, 0), (1, 1), (0, 0), (5, 3)]
    );
    let m = Mat::new(4, 1, vec![1.0, 2.0, 0.0, 3.0]).expect("mat");
    let codes = both(&m);
    let found = choose(&codes.view(), &long(4), None, &[0], &Choice::default()).expect("chosen");
    assert_eq!((rows(&found[0].label.active), rows(&found[0].test.active)), (vec![3, 1], vec![0]));
    assert_eq!((&found[0].label.lacking[..], found[0].test.lacking.len()), (&[2][..], 0));
}

#[test]
fn hard_rows_are_the_nearest_that_lack_it() {
    // Embeddings on a circle, 1 degree apart, of various lengths; the latent is alive from 10 to 20 degrees, most at 15.
    let n = 180;
    let mut x = Mat::zeros(n, 2);
    let mut m = Mat::zeros(n, 1);
    for i in 0..n {
        let (s, c) = (i as f32).to_radians().sin_cos();
        let length = 1.0 + (i % 7) as f32;
        x.row_mut(i).copy_from_slice(&[c * length, s * length]);
        if (10..=20).contains(&i) {
            m.data[i] = 10.0 - (i as f32 - 15.0).abs();
        }
    }
    // A failed embedding of zeros, and a short text, just beside.
    x.row_mut(9).fill(0.0);
    let mut texts = long(n);
    texts[21] = "short".into();
    let codes = both(&m);
    let how = Choice {
        label: Counts { top: 1, stratified: 0, random: 0, lacking: 3 },
        test: Counts { top: 1, stratified: 0, random: 0, lacking: 2 },
        ..Choice::default()
    };
    for sparse in [false, true] {
        let csr = x.view().to_csr();
        let view = if sparse { csr.view() } else { x.view() };
        let found = choose(&codes.view(), &texts, Some(&view), &[0], &how).expect("chosen");
        // By distance from 15 degrees: 22 and 8 (7), 23 and 7 (8), 24 and 6 (9); those of one distance in either order.
        let mut all = [&found[0].label.lacking[..], &found[0].test.lacking].concat();
        all[..2].sort_unstable();
        all[2..4].sort_unstable();
        assert_eq!(all[..4], [8, 22, 7, 23]);
        assert!(all[4] == 6 || all[4] == 24, "{all:?}");
    }
}

#[test]
fn hard_rows_are_the_same_in_blocks_and_one_by_one() {
    // More latents than a block, more rows than a panel; against a plain sort.
    let (n, d, k) = (700, 5, 140);
    let mut r = rng(3, 0, 0);
    let x = Mat::new(n, d, (0..n * d).map(|_| r.normal() as f32).collect()).expect("mat");
    let m = Mat::new(n, k, (0..n * k).map(|_| if r.uniform() < 0.05 { r.uniform() as f32 } else { 0.0 }).collect()).expect("mat");
    let codes = both(&m);
    let all: Vec<usize> = (0..k).collect();
    let found = choose(&codes.view(), &long(n), Some(&x.view()), &all, &Choice::default()).expect("chosen");
    for j in [0, 127, 128, 139] {
        let mut mean = vec![0f64; d];
        for e in &found[j].label.active {
            mean.iter_mut().zip(x.row(e.row)).for_each(|(m, &v)| *m += f64::from(v) / 5.0);
        }
        let cosine = |i: usize| {
            let row = x.row(i);
            let dot: f64 = row.iter().zip(&mean).map(|(&a, b)| f64::from(a) * b).sum();
            dot / row.iter().map(|&a| f64::from(a).powi(2)).sum::<f64>().sqrt()
        };
        let mut lacking: Vec<usize> = (0..n).filter(|i| m.data[i * k + j] == 0.0).collect();
        lacking.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
        assert_eq!([&found[j].label.lacking[..], &found[j].test.lacking].concat(), lacking[..8], "latent {j}");
    }
}

#[test]
fn families_are_tested_on_the_strong_rows_of_any_member() {
    let n = 300;
    let mut m = Mat::zeros(n, 3);
    for i in 0..100 {
        m.data[3 * i] = (i + 1) as f32;
        m.data[3 * (i + 100) + 1] = (i + 1) as f32;
    }
    m.data[3 * 299 + 2] = 1.0;
    let codes = both(&m);
    let found = family(&codes.view(), &long(n), &[0, 1], 15, 100, 4).expect("family");
    assert_eq!((found.active.len(), found.lacking.len()), (15, 15));
    assert!(found.active.iter().all(|e| (90..100).contains(&e.row) || (190..200).contains(&e.row)), "{found:?}");
    assert!(found.lacking.iter().all(|&i| i >= 200));
    assert_eq!(found, family(&codes.view(), &long(n), &[0, 1], 15, 100, 4).expect("family"));
    assert!(family(&codes.view(), &long(n), &[3], 15, 100, 4).is_err());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let codes = OwnedBoth::new(&Csr::new(3, 2, vec![0, 1, 1, 2], vec![0, 1], vec![1.0, 2.0]).expect("csr")).expect("both");
    let (three, two) = (long(3), long(2));
    let x = Mat::zeros(2, 4);
    let how = Choice::default();
    let said = |e: Error| e.to_string();
    assert!(said(choose(&codes.view(), &two, None, &[0], &how).expect_err("texts")).contains("2 texts for 3 rows"));
    assert!(
        said(choose(&codes.view(), &three, Some(&x.view()), &[0], &how).expect_err("rows")).contains("2 embeddings for 3 rows")
    );
    assert!(said(choose(&codes.view(), &three, None, &[2], &how).expect_err("latent")).contains("latent 2 of 2"));
    // A latent that is never active has nothing, and a corpus of no long text, either.
    let none = choose(&codes.view(), &["a", "b", "c"], None, &[0], &how).expect("none");
    assert_eq!(none[0], Examples { latent: 0, ..Examples::default() });
}
