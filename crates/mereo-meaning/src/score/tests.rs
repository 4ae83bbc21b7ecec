use super::*;
use crate::examples::Example;

#[test]
fn pearson_by_hand() {
    // Truth 1 1 0 0, confidence 1 .5 0 -.5: deviations ±.5 and .75 .25 -.25 -.75; 1 / sqrt(1 · 1.25).
    let truth = [true, true, false, false];
    assert!((pearson(&truth, &[1.0, 0.5, 0.0, -0.5]) - 0.8f64.sqrt()).abs() < 1e-12);
    assert!((pearson(&truth, &[-1.0, -1.0, 1.0, 1.0]) + 1.0).abs() < 1e-12);
    assert!(pearson(&truth, &[0.1; 4]).is_nan());
    assert!(pearson(&[true, true], &[0.1, 0.2]).is_nan());
    assert!(pearson(&[], &[]).is_nan());
}

#[test]
fn f1_by_hand() {
    // 2 hits, 1 miss, 1 false alarm; a confidence of 0 does not fire: 4 / 6.
    assert!((f1(&[true, true, true, false, false], &[0.1, 1.0, 0.0, 0.5, -1.0]) - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!([f1(&[true, false], &[-1.0, 1.0]), f1(&[true, false], &[1.0, -1.0]), f1(&[false], &[-1.0])], [0.0, 1.0, 0.0]);
    let s = score(vec![0.5, 1.0], vec![-0.5, -1.0]);
    // Deviations of truth ±.5, of confidence themselves: 1.5 / sqrt(1 · 2.5).
    assert!((s.f1 - 1.0).abs() < 1e-12 && (s.r - 1.5 / 2.5f64.sqrt()).abs() < 1e-12);
}

#[test]
fn the_zero_is_as_many_deviations_from_either() {
    // Means 4 and 2, standard deviations 1 and 1/2, and a tenth of the gap: 2 + 2 · 0.7 / 1.9.
    let scale = Scale::new(&[3.0, 5.0], &[1.5, 2.5]);
    let zero = 2.0 + 1.4 / 1.9;
    assert!((scale.zero - zero).abs() < 1e-12, "{scale:?}");
    for (signal, is) in [(4.0, 1.0), (2.0, -1.0), (9.0, 1.0), (0.0, -1.0), (zero, 0.0), (f64::midpoint(zero, 4.0), 0.5)] {
        assert!((scale.of(signal) - is).abs() < 1e-12, "{signal}");
    }
    // The opposite: halfway, and not turned round.
    let scale = Scale::new(&[1.0, 1.0], &[3.0, 3.0]);
    assert_eq!([scale.of(1.0), scale.of(2.0), scale.of(2.5), scale.of(3.0)], [-1.0, 0.0, 0.5, 1.0]);
    // No gap: one deviation. Nothing that varies: no confidence.
    assert_eq!(Scale::new(&[0.0, 2.0], &[0.0, 2.0]), Scale { zero: 1.0, above: 1.0, below: 1.0 });
    assert_eq!(Scale::new(&[0.1; 7], &[0.1; 3]).of(0.1), 0.0);
    assert!(Scale::new(&[], &[1.0]).of(1.0).is_nan());
}

/// Rows 0–9 tell of pulsars, 10–19 of dust; each fourth one is tested.
fn corpus() -> (Vec<String>, Examples) {
    let texts = (0..20).map(|i| {
        let about = if i < 10 { "a pulsar is timed" } else { "the dust is seen" };
        format!("{about} by telescope number{}", i % 3)
    });
    let of = |test: bool| {
        let on = move |i: &usize| i.is_multiple_of(4) == test;
        Set {
            active: (0..10).filter(on).map(|row| Example { row, value: 1.0 }).collect(),
            top: 0,
            lacking: (10..20).filter(on).collect(),
        }
    };
    (texts.collect(), Examples { latent: 3, label: of(false), test: of(true) })
}

#[test]
fn bm25_by_hand() {
    let words = Words::new(&["dust dust cloud", "cloud", "cold cloud"], 10).expect("words");
    // "dust" is in 1 of 3 texts: ln(1 + 2.5 / 1.5); twice in a text of 3 words, of 2 in the mean.
    let longer = 1.2 * (0.25 + 0.75 * 3.0 / 2.0);
    let found = Query::new(&words, "dust").of(&words, 0);
    assert!((found - 2.0 / (2.0 + longer)).abs() < 1e-12, "{found}");
    // Dust, cloud and the pair of them; the pair counts as much as its rarer word, and text 2 has but the cloud.
    let (dust, cloud) = ((2.5f64 / 1.5).ln_1p(), (0.5f64 / 3.5).ln_1p());
    let longer = 1.2 * (0.25 + 0.75 * 2.0 / 2.0);
    let found = Query::new(&words, "Dust clouds").of(&words, 2);
    assert!((found - cloud / (1.0 + longer) / (2.0 * dust + cloud)).abs() < 1e-12, "{found}");
    assert_eq!(Query::new(&words, "comet").of(&words, 0), 0.0);
}

#[test]
fn right_labels_score_and_wrong_ones_do_not() {
    let (texts, of) = corpus();
    let words = Words::new(&texts, 100).expect("words");
    let predictor = Offline { words: &words, embedded: None };
    let labels = ["Pulsars", "dust", "telescope", "comets"];
    let found = predictor.scores(&labels, &vec![of.clone(); 4]).expect("scores");
    assert!((found[0].f1 - 1.0).abs() < 1e-12 && (found[0].r - 1.0).abs() < 1e-9, "{:?}", found[0]);
    // The words say the opposite, and a predictor that knows no truth can't turn them round.
    assert!(found[1].f1 == 0.0 && found[1].r < -0.99, "{:?}", found[1]);
    // All texts have the same of it, or nothing: no confidence at all.
    assert!(found[2].active.iter().chain(&found[2].lacking).all(|c| c.abs() < 1e-9), "{:?}", found[2]);
    assert!(found[3].f1 == 0.0 && found[3].r.is_nan());
}

#[test]
fn the_truth_of_tested_rows_does_not_matter() {
    let (texts, of) = corpus();
    let words = Words::new(&texts, 100).expect("words");
    let predictor = Offline { words: &words, embedded: None };
    let turned = Examples {
        test: Set {
            active: of.test.lacking.iter().map(|&row| Example { row, value: 1.0 }).collect(),
            top: 0,
            lacking: of.test.active.iter().map(|e| e.row).collect(),
        },
        ..of.clone()
    };
    let found = predictor.scores(&["pulsar", "pulsar"], &[of, turned]).expect("scores");
    assert_eq!((&found[0].active, &found[0].lacking), (&found[1].lacking, &found[1].active));
}

#[test]
fn embeddings_find_what_words_do_not() {
    let (texts, of) = corpus();
    let words = Words::new(&texts, 100).expect("words");
    let x = Mat::new(20, 2, (0..20).flat_map(|i| if i < 10 { [1.0, 0.1 * (i % 2) as f32] } else { [0.2, 1.0] }).collect())
        .expect("mat");
    let view = x.view();
    let labels = Mat::new(1, 2, vec![2.0, 0.0]).expect("mat");
    let predictor = Offline { words: &words, embedded: Some((&view, &labels)) };
    let found = &predictor.scores(&["spinning beacons"], std::slice::from_ref(&of)).expect("scores")[0];
    assert!(found.f1 == 1.0 && found.r > 0.99, "{found:?}");
    // Half of the confidence is that of the words, which know nothing.
    assert!(found.active.iter().all(|&c| c > 0.4 && c <= 0.5 + 1e-12), "{found:?}");
    let wrong = Mat::zeros(2, 2);
    let said = Offline { words: &words, embedded: Some((&view, &wrong)) }.scores(&["a"], &[of]).expect_err("labels").to_string();
    assert!(said.contains("2 embeddings for 1 labels"), "{said}");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (texts, of) = corpus();
    let words = Words::new(&texts[..5].to_vec(), 100).expect("words");
    let predictor = Offline { words: &words, embedded: None };
    assert!(predictor.scores(&["a", "b"], std::slice::from_ref(&of)).is_err());
    assert!(predictor.scores(&["a"], &[of]).expect_err("row").to_string().contains("there are 5 texts"));
}
