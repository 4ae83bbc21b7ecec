use super::*;
use crate::codes::OwnedBoth;
use mereo::Csr;

/// Codes of `n` rows, from the rows on which each latent fires.
fn latents(n: usize, fires: &[&[u32]]) -> OwnedBoth {
    let by_latent = Csr::new(
        fires.len(),
        n,
        std::iter::once(0)
            .chain(fires.iter().scan(0, |sum, f| {
                *sum += f.len() as u64;
                Some(*sum)
            }))
            .collect(),
        fires.concat(),
        vec![1.0; fires.iter().map(|f| f.len()).sum()],
    )
    .expect("csr");
    OwnedBoth::new(&by_latent.view().to_mat().transpose().view().to_csr()).expect("both")
}

fn planted(density: f64, noise: Option<f64>, order: impl Fn(usize) -> usize) -> OwnedBoth {
    super::planted(density, noise, 40_000, order).expect("codes")
}

fn under(made: &OwnedBoth, test: FamilyTest) -> (f64, f64) {
    let clean: Vec<usize> = (0..LATENTS).collect();
    quality(&find(&made.view(), &clean, &Families { test, ..Families::default() }).expect("families"))
}

fn both_tests(density: f64) -> [(f64, f64); 2] {
    let made = planted(density, None, |i| i);
    [FamilyTest::Threshold, FamilyTest::lift()].map(|test| under(&made, test))
}

#[test]
fn a_planted_hierarchy_is_found_where_parents_are_rare() {
    for density in [0.02, 0.04] {
        let [plain, lift] = both_tests(density);
        assert!(plain.0 >= 0.97 && plain.1 == 1.0, "{density}: {plain:?}");
        assert!(lift.0 >= plain.0 && lift.1 == 1.0, "{density}: {lift:?}");
    }
}

#[test]
fn lift_keeps_strangers_out_where_parents_are_dense() {
    // Near τ, chance alone lets so many in that the forest has its most edges, 129, of which 80 are true: .62.
    let [plain, lift] = both_tests(0.09);
    assert!(plain.1 == 1.0 && (0.55..0.7).contains(&plain.0), "{plain:?}");
    assert!(lift.1 == 1.0 && lift.0 >= 0.99, "{lift:?}");
    // At twice τ the parents themselves are joined.
    let [plain, lift] = both_tests(0.2);
    assert!(plain.0 < 0.7, "{plain:?}");
    assert!(lift.1 == 1.0 && lift.0 >= 0.99, "{lift:?}");
}

#[test]
fn rare_strangers_are_kept_out_by_the_test_alone() {
    // Of 20 rows, 3 are under a parent of 9 % by chance in a quarter of all cases: a lift of 1.7.
    let made = planted(0.09, Some(0.0005), |i| i);
    let lift = under(&made, FamilyTest::lift());
    assert!(lift.1 == 1.0 && lift.0 >= 0.97, "{lift:?}");
    let plain = under(&made, FamilyTest::Threshold);
    let lenient = under(&made, FamilyTest::Lift { q: 0.999, least: 1.5 });
    assert!(plain.0 < lenient.0 - 0.1 && lenient.0 < lift.0 - 0.04, "{plain:?} {lenient:?} {lift:?}");
}

#[test]
fn the_order_of_rows_and_latents_is_nothing() {
    let (made, turned) = (planted(0.09, None, |i| i), planted(0.09, None, |i| (i * 7 + 11) % 40_000));
    assert_ne!(made, turned);
    let clean: Vec<usize> = (0..LATENTS).collect();
    let back: Vec<usize> = clean.iter().rev().copied().collect();
    for test in [FamilyTest::Threshold, FamilyTest::lift()] {
        let how = Families { test, ..Families::default() };
        let one = find(&made.view(), &clean, &how).expect("families");
        assert!(!one.is_empty());
        assert_eq!(one, find(&turned.view(), &back, &how).expect("families"));
        let (a, b) = (measures(&made.view(), &clean, &one, None), measures(&turned.view(), &back, &one, None));
        let (a, b) = (a.expect("measures"), b.expect("measures"));
        assert_eq!((a.cooccurrence, &a.parent_ratios, a.covered), (b.cooccurrence, &b.parent_ratios, b.covered));
        let [a, b] = [a, b].map(|m| m.activation.relative.expect("several families"));
        assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
    }
}

#[test]
fn a_forest_by_hand() {
    let made =
        latents(14, &[&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[0, 1, 2, 3], &[4, 5, 6], &[7, 8], &[9, 11], &[0, 1], &[12, 13], &[]]);
    let found = find(&made.view(), &[5, 4, 3, 2, 1, 0, 6, 7], &Families::default()).expect("families");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].root, found[0].round, found[0].density), (0, 0, 10.0 / 14.0));
    assert_eq!(found[0].children, [1, 2, 3, 4, 5]);
    // 5 is nearer to 1 (2 of 2 + 1) than to 0 (1 of 2 + 1).
    let edges: Vec<(usize, usize, f64, u64)> = found[0].edges.iter().map(|e| (e.parent, e.child, e.weight, e.together)).collect();
    let expected = [(0, 1, 3.0 / 5.0, 3), (1, 5, 2.0 / 3.0, 2), (0, 2, 3.0 / 4.0, 3), (0, 3, 2.0 / 3.0, 2), (0, 4, 1.0 / 3.0, 1)];
    assert_eq!(edges, expected);
    assert_eq!(found[0].edges[0].lift, 3.0 * 14.0 / 40.0);
    // Without 2 and 3 there are three children, two of them of the root: no root at all.
    assert!(find(&made.view(), &[0, 1, 4, 5], &Families::default()).expect("families").is_empty());
    // Without 3 alone there are four, three of the root. At τ = .5 the weakest goes.
    let with = |how: &Families| find(&made.view(), &[0, 1, 2, 4, 5], how).expect("families").len();
    assert_eq!(with(&Families::default()), 1);
    assert_eq!(with(&Families { tau: 0.5, tau_later: 0.5, ..Families::default() }), 0);
    assert_eq!(with(&Families { min_children: 5, ..Families::default() }), 0);
}

#[test]
fn roots_below_roots_and_doubles() {
    // Latent 0 has `own` children of two rows each; the last latent has 0 and two more. Ties go to the lower index, so the children are
    // 0's.
    let nested = |own: u32| {
        let mid: Vec<u32> = (0..2 * own).collect();
        let top: Vec<u32> = (0..2 * own + 4).collect();
        let pairs: Vec<[u32; 2]> = (0..own + 2).map(|c| [2 * c, 2 * c + 1]).collect();
        let mut all: Vec<&[u32]> = vec![&mid];
        all.extend(pairs.iter().map(<[u32; 2]>::as_slice));
        all.push(&top);
        let made = latents(60, &all);
        let clean: Vec<usize> = (0..all.len()).collect();
        let found = find(&made.view(), &clean, &Families::default()).expect("families");
        found.iter().map(|f| (f.root, f.children.len(), f.round)).collect::<Vec<_>>()
    };
    assert_eq!(nested(4), [(7, 7, 0), (0, 4, 0)], "Jaccard 4/7");
    assert_eq!(nested(6), [(9, 9, 0)], "Jaccard 6/9");
}

#[test]
fn later_rounds_see_what_a_root_hid() {
    // Latents 2 to 5 are nearer to 0 than to 1. 6 shares one of its 12 rows with 1: w = 1/13, below .1 and above .07.
    let twelve: Vec<u32> = (40..51).chain([20]).collect();
    let made = latents(
        60,
        &[
            &(0..20).collect::<Vec<_>>(),
            &[0, 1, 3, 4, 6, 7, 9, 10, 20, 21, 22, 23],
            &[0, 1, 2],
            &[3, 4, 5],
            &[6, 7, 8],
            &[9, 10, 11],
            &twelve[11..].iter().chain(&twelve[..11]).copied().collect::<Vec<_>>(),
            &[12, 13],
            &[14, 15],
            &[16, 17],
        ],
    );
    let roots = |how: &Families| {
        let found = find(&made.view(), &(0..10).collect::<Vec<_>>(), how).expect("families");
        found.into_iter().map(|f| (f.root, f.round, f.children)).collect::<Vec<_>>()
    };
    let first = (0, 0, vec![1, 2, 3, 4, 5, 7, 8, 9]);
    assert_eq!(roots(&Families { rounds: 0, ..Families::default() }), std::slice::from_ref(&first));
    assert_eq!(roots(&Families::default()), [first.clone(), (1, 1, vec![2, 3, 4, 5, 6])]);
    assert_eq!(roots(&Families { tau_later: 0.1, ..Families::default() }), [first, (1, 1, vec![2, 3, 4, 5])]);
}

#[test]
fn measures_by_hand() {
    let fires: [&[u32]; 7] = [&[0, 1, 2, 3], &[0, 1], &[0, 4, 5], &[6, 7], &[1, 2], &[4, 5, 6, 7], &[]];
    let mut codes = latents(8, &fires).view().by_row.starts.to_vec();
    let owned = latents(8, &fires);
    let rows = owned.view().by_row;
    // The length of a latent's activations makes no difference.
    let values = rows.at.iter().map(|j| if *j == 1 { 3.0 } else { 1.0 }).collect();
    let made = OwnedBoth::new(&Csr::new(8, 7, std::mem::take(&mut codes), rows.at.to_vec(), values).expect("csr")).expect("both");
    let family =
        |root, children: &[usize]| Family { root, density: 0.5, children: children.to_vec(), edges: Vec::new(), round: 0 };
    let families = [family(0, &[1, 4]), family(5, &[2, 3])];
    let scores = [FamilyScore { f1: 0.9, r: 0.8 }, FamilyScore { f1: 0.7, r: f64::NAN }];
    let m = measures(&made.view(), &[0, 1, 2, 3, 4, 5, 6], &families, Some(&scores)).expect("measures");
    let near = |a: Option<f64>, b: f64| assert!((a.expect("a number") - b).abs() < 1e-12, "{a:?} {b}");
    assert_eq!((m.families, m.size), (2, 2.0));
    near(Some(m.covered), 6.0 / 7.0);
    near(m.well_covered, 3.0 / 7.0);
    near(m.f1, 0.8);
    near(m.r, 0.8);
    near(m.parent_ratios[0], 4.0 / 3.0);
    near(m.parent_ratios[1], 5.0 / 3.0);
    near(m.parent_ratio, 1.5);
    // C̄ sums to 16; 43/3 of it within {0, 1, 4} and {5, 2, 3}, 35/3 within {0, 1, 2} and {3, 4, 5}; 18 of 36 places are.
    near(m.cooccurrence.ordered, 43.0 / 5.0);
    near(m.cooccurrence.unordered, 35.0 / 13.0);
    near(m.cooccurrence.relative, 43.0 / 5.0 * 13.0 / 35.0);
    let (a, b, c, d) = (1.0 / 2f64.sqrt(), 1.0 / 3f64.sqrt(), 1.0 / 12f64.sqrt(), 1.0 / 6f64.sqrt());
    // Pairs 01, 04, 14, 52, 53; 02 and 12 across.
    let within = 6.0 + 2.0 * (a + a + 0.5 + b + a);
    near(m.activation.ordered, within / (2.0 * (c + d)));
    let apart = 6.0 + 2.0 * (a + c + d + a);
    near(m.activation.unordered, apart / (2.0 * (a + 0.5 + b)));
    assert!(measures(&made.view(), &[0], &families, Some(&scores[..1])).is_err());
    let alone = measures(&made.view(), &[0, 6], &families[..1], None).expect("measures");
    assert_eq!((alone.cooccurrence, alone.activation.relative), (BlockRatio::default(), None), "nothing is outside");
    assert_eq!((alone.covered, alone.well_covered, alone.f1), (0.5, None, None));
}

#[test]
fn who_fires_with_whom() {
    let made = latents(8, &[&[0, 1, 2, 3], &[0, 1], &[0, 4, 5], &[6, 7], &[1, 2], &[4, 5, 6, 7], &[]]);
    let near = cooccurring(&made.view(), 0, 5).expect("latents");
    // 2 shares a row as well, but less than by chance (1 of 4·3/8).
    assert_eq!(near.iter().map(|c| c.latent).collect::<Vec<_>>(), [1, 4]);
    let c = near[0];
    assert_eq!((c.together, c.fires, c.given_this, c.given_other, c.lift, c.pmi), (2, 2, 0.5, 1.0, 2.0, 1.0));
    let g2 = 2.0 * (2.0 * 2f64.ln() + 2.0 * (2f64 / 3.0).ln() + 4.0 * (4f64 / 3.0).ln());
    assert!((c.g2 - g2).abs() < 1e-12);
    assert_eq!(cooccurring(&made.view(), 0, 1).expect("latents").len(), 1);
    assert!(cooccurring(&made.view(), 6, 5).expect("latents").is_empty());
    assert!(cooccurring(&made.view(), 7, 5).expect_err("no latent").to_string().contains("latent 7 among 7"));
}

#[test]
fn nothing_and_everything() {
    let how = Families::default();
    let none = OwnedBoth::default();
    assert!(find(&none.view(), &[], &how).expect("families").is_empty());
    let made = latents(6, &[&[0, 1, 2, 3, 4, 5], &[0], &[1], &[2], &[3], &[]]);
    assert!(find(&made.view(), &[], &how).expect("families").is_empty());
    // One that always fires is the parent of all that fire, and tells nothing of them.
    let found = find(&made.view(), &[0, 1, 2, 3, 4, 5], &how).expect("families");
    assert_eq!((found.len(), found[0].children.as_slice()), (1, &[1, 2, 3, 4][..]));
    let lift = Families { test: FamilyTest::lift(), ..how };
    assert!(find(&made.view(), &[0, 1, 2, 3, 4, 5], &lift).expect("families").is_empty());
    let m = measures(&made.view(), &[], &[], None).expect("measures");
    assert_eq!((m.families, m.size, m.covered, m.parent_ratio), (0, 0.0, 0.0, None));
    assert!(find(&made.view(), &[0, 6], &how).expect_err("none").to_string().contains("no latent 6 among 6"));
    assert!(find(&made.view(), &[0, 1, 0], &how).expect_err("twice").to_string().contains("latent 0 is named twice"));
    for bad in [
        Families { tau: -0.1, ..how },
        Families { tau_later: f64::NAN, ..how },
        Families { overlap: 1.5, ..how },
        Families { test: FamilyTest::Lift { q: 0.0, least: 2.0 }, ..how },
        Families { test: FamilyTest::Lift { q: 0.1, least: 0.5 }, ..how },
    ] {
        assert!(find(&made.view(), &[0], &bad).is_err(), "{bad:?}");
    }
}

#[test]
fn as_json_and_as_a_picture() {
    let made = latents(6, &[&[0, 1, 2, 3, 4, 5], &[0], &[1], &[2], &[3, 4], &[]]);
    let found = find(&made.view(), &[0, 1, 2, 3, 4], &Families::default()).expect("families");
    let json = serde_json::to_string(&found).expect("json");
    assert_eq!(serde_json::from_str::<Vec<Family>>(&json).expect("families"), found);
    let how: Families = serde_json::from_str(r#"{"tau": 0.2, "test": {"lift": {"q": 0.05, "least": 2}}}"#).expect("options");
    assert_eq!(how, Families { tau: 0.2, test: FamilyTest::Lift { q: 0.05, least: 2.0 }, ..Families::default() });
    let picture = dot(&found, |j| format!("\"{j}\"\\\n\u{7}é"));
    assert!(picture.starts_with("digraph families {") && picture.ends_with("}\n"), "{picture}");
    assert!(picture.contains(r#"  n0 [label="\"0\"\\\n é", shape=box];"#), "{picture}");
    assert!(picture.contains(r#"  n4 [label="\"4\"\\\n é"];"#) && picture.contains(r#"  n0 -> n4 [label="0.67"];"#), "{picture}");
    assert_eq!(picture.matches("->").count(), 4);
}
