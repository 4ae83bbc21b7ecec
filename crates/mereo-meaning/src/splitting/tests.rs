use super::nearest::{few, greedy};
use super::*;
use crate::codes::OwnedBoth;
use mereo::linalg::dot;
use mereo::rng::rng;
use mereo::{Csr, Rows};

fn mat(rows: &[&[f32]]) -> Mat {
    Mat::new(rows.len(), rows[0].len(), rows.concat()).expect("mat")
}

/// Directions in a plane, in degrees, of different lengths.
fn plane(degrees: &[f64]) -> Mat {
    let rows: Vec<f32> = degrees
        .iter()
        .enumerate()
        .flat_map(|(i, a)| [a.to_radians().cos(), a.to_radians().sin()].map(|v| (v * (1.0 + i as f64)) as f32))
        .collect();
    Mat::new(degrees.len(), 2, rows).expect("mat")
}

fn random(k: usize, d: usize, stream: u64) -> Mat {
    let mut r = rng(4, 91, stream);
    Mat { rows: k, cols: d, data: (0..k * d).map(|_| r.normal() as f32).collect() }
}

/// Codes of rows given as (latent, activation) by rising latent.
fn codes(latents: usize, rows: &[Vec<(u32, f32)>]) -> OwnedBoth {
    let mut starts = vec![0];
    rows.iter().for_each(|r| starts.push(starts[starts.len() - 1] + r.len() as u64));
    let (at, values) = rows.concat().into_iter().unzip();
    OwnedBoth::new(&Csr::new(rows.len(), latents, starts, at, values).expect("csr")).expect("both")
}

#[test]
fn blocks_find_what_a_plain_search_finds() {
    // More than a block on both sides, neither a whole number of them; one atom of each is zero.
    let (mut from, mut to) = (random(150, 12, 0), random(2100, 12, 1));
    from.row_mut(70).fill(0.0);
    to.row_mut(1030).fill(0.0);
    let cosine = |a: &[f32], b: &[f32]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let near = few(&from, &to, 3).expect("near");
    for i in (0..150).filter(|i| *i != 70) {
        let mut all: Vec<(f64, usize)> = (0..2100).filter(|j| *j != 1030).map(|j| (cosine(from.row(i), to.row(j)), j)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (near, (c, j)) in near[i].iter().zip(&all) {
            assert_eq!(near.atom, *j, "{i}: {near:?} {c}");
            assert!((near.cosine - c).abs() < 1e-5, "{i}: {near:?} {c}");
        }
        assert_eq!(near[i].len(), 3);
    }
    assert!(near[70].is_empty());
    assert!(nearest(&from, &Mat::zeros(3, 12)).expect("zeros").iter().all(Option::is_none));
    assert!(nearest(&from, &random(3, 11, 0)).expect_err("width").to_string().contains("12 columns"));
    assert!(nearest(&from, &Mat::zeros(0, 12)).is_err());
    let mut bad = random(3, 12, 2);
    bad.data[13] = f32::NAN;
    assert!(nearest(&from, &bad).expect_err("NaN").to_string().contains("atom 1"));
}

#[test]
fn a_split_by_hand() {
    // 0° splits in two, 90° is found again, 200° vanishes, and a latent of zeros belongs nowhere.
    let (small, mut large) = (plane(&[0.0, 90.0, 200.0]), plane(&[-10.0, 10.0, 90.0, 0.0]));
    large.row_mut(3).fill(0.0);
    let s = split(&small, &large).expect("split");
    assert_eq!(s.children, [vec![0, 1], vec![2], vec![]]);
    assert_eq!(s.by_children, [1, 1, 1]);
    assert_eq!(s.parents[3], None);
    let ten = 10f64.to_radians().cos();
    assert!((s.cosines.median - ten).abs() < 1e-6 && (s.cosines.mean - (2.0 * ten + 1.0) / 3.0).abs() < 1e-6);
    assert_eq!((s.cosines.atoms, s.cosines.counts.len(), s.cosines.counts[BINS - 1]), (3, BINS, 3), "all above .98");
    // Within the small model: 0° and 90° are at 90° from each other, 200° is at 110° from 90°.
    let w = MaxCosines::within(&small);
    let far = 110f64.to_radians().cos();
    assert!((w.range.0 - far).abs() < 1e-6 && w.range.1.abs() < 1e-6 && w.median.abs() < 1e-6, "{w:?}");
    assert_eq!(w.counts.iter().sum::<u64>(), 3);
    assert_eq!(w.counts[((far + 1.0) / 0.02) as usize], 1);
    assert_eq!(MaxCosines::within(&large).atoms, 3);
    assert_eq!(MaxCosines::of(&[]).median, 0.0);
}

#[test]
fn a_chain_by_hand() {
    // The atom at 50° is nearer to 90° than to 0°, but nearest of the middle ones to that at 30°, which is under 0°.
    let chain = Chain::of(&plane(&[0.0, 90.0, 250.0]), &plane(&[30.0, 80.0]), &plane(&[50.0, 20.0, 85.0])).expect("chain");
    assert_eq!(chain.descendants(0), Descendants { middle: vec![0], via: vec![0, 1], direct: vec![1] });
    assert_eq!(chain.descendants(1), Descendants { middle: vec![1], via: vec![2], direct: vec![0, 2] });
    assert_eq!(chain.consistency, [Some(0.5), Some(0.5), None]);
    assert_eq!((chain.mean, chain.agree), (0.5, 2.0 / 3.0));
    let same = Chain::of(&plane(&[0.0, 90.0]), &plane(&[0.0, 90.0]), &plane(&[1.0, 91.0])).expect("chain");
    assert_eq!((same.mean, same.agree), (1.0, 1.0));
}

#[test]
fn opposites_are_no_match() {
    let (a, b) = (mat(&[&[1.0, 0.0]]), mat(&[&[-1.0, 0.0], &[0.6, 0.8]]));
    assert_eq!(measure::matched(&a, &b).expect("matched").pairs[0].b, 0, "by |cosine|");
    let m = one_to_one(&a, &b).expect("match");
    assert_eq!((m.pairs[0].b, m.exact), (1, true));
    assert!((m.mean - 0.6).abs() < 1e-6);
    let none = one_to_one(&a, &mat(&[&[-1.0, 0.0]])).expect("match");
    assert_eq!((none.pairs.len(), none.mean), (0, 0.0));
}

#[test]
fn the_best_match_is_not_the_greedy_one() {
    // 0° and 20° against 12° and 60°: taking the nearest pair (20° and 12°) leaves 0° with 60°.
    let (a, b) = (plane(&[0.0, 20.0]), plane(&[12.0, 60.0, 180.0]));
    let cos = |d: f64| d.to_radians().cos();
    let exact = one_to_one(&a, &b).expect("match");
    assert_eq!(exact.pairs.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    assert!((exact.mean - f64::midpoint(cos(12.0), cos(40.0))).abs() < 1e-6);
    let back = one_to_one(&b, &a).expect("match");
    assert_eq!(back.pairs.iter().map(|p| (p.b, p.a)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    let quick = greedy(&few(&a, &b, 2).expect("near"), 3);
    assert_eq!(quick.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(1, 0), (0, 1)]);
    // A permutation with a little noise is found by both.
    let one = random(60, 16, 5);
    let mut order: Vec<usize> = (0..80).collect();
    rng(1, 91, 7).shuffle(&mut order);
    let mut other = random(80, 16, 6);
    let noise = random(60, 16, 8);
    for i in 0..60 {
        let row: Vec<f32> = one.row(i).iter().zip(noise.row(i)).map(|(x, n)| x + 0.1 * n).collect();
        other.row_mut(order[i]).copy_from_slice(&row);
    }
    let exact = one_to_one(&one, &other).expect("match");
    assert!(exact.pairs.iter().all(|p| p.b == order[p.a] && p.cosine > 0.98) && exact.pairs.len() == 60);
    let quick = greedy(&few(&one, &other, 32).expect("near"), 80);
    assert!(quick.iter().all(|p| p.b == order[p.a]) && quick.len() == 60);
}

/// 0 is the main latent, along p; 1 is specific and half-way to p, 2 has nothing to do with it, 3 has a cosine of .05 with it.
fn absorbing() -> (Mat, [f64; 4]) {
    let (h, q) = (0.5f32.sqrt(), (1.0f32 - 0.0025).sqrt());
    (mat(&[&[1.0, 0.0, 0.0, 0.0], &[h, h, 0.0, 0.0], &[0.0, 0.0, 1.0, 0.0], &[0.05, 0.0, 0.0, q]]), [2.0, 0.0, 0.0, 0.0])
}

#[test]
fn a_known_share_is_absorbed() {
    let (decoder, p) = absorbing();
    let root = 2f32.sqrt();
    let mut rows = Vec::new();
    // x·p/‖p‖ is 1 on all rows: 30 carried by latent 1 alone, 20 by halves, 10 to .7 by 0 and .3 by 1, 5 by latent 3 to .5, 35 by 0 alone.
    rows.extend(vec![vec![(1, root), (2, 9.0)]; 30]);
    rows.extend(vec![vec![(0, 0.5), (1, root / 2.0)]; 20]);
    rows.extend(vec![vec![(0, 0.7), (1, 0.3 * root)]; 10]);
    rows.extend(vec![vec![(2, 1.0), (3, 10.0)]; 5]);
    rows.extend(vec![vec![(0, 1.0)]; 35]);
    // Of another class, and one that p does not tell.
    rows.push(vec![(2, 1.0)]);
    rows.push(vec![(1, 1.0)]);
    let made = codes(4, &rows);
    let within: Vec<usize> = (0..100).chain([101]).collect();
    let projections: Vec<f64> = (0..100).map(|_| 2.0).chain([-0.1]).collect();
    let concept = Concept { direction: &p, rows: &within, projections: &projections };
    let found = absorption(&made.view(), &decoder, &concept, &[0], &Absorb::default()).expect("absorption");
    assert_eq!((found.rows, found.left_out), (100, 1));
    assert!((found.full - 0.35).abs() < 1e-12, "{found:?}");
    // 30 rows in full, 20 by half; .3 is less than .4, and a cosine of .05 less than .1.
    assert!((found.fraction - 0.4).abs() < 1e-6, "{found:?}");
    let absorbers: Vec<_> = found.absorbers.iter().map(|a| (a.latent, a.full, a.partial)).collect();
    assert_eq!(absorbers, [(1, 30, 50), (3, 5, 0)]);
    assert!((found.absorbers[0].cosine - 0.5f64.sqrt()).abs() < 1e-6);
    // With a share of .25 the ten rows of .3 count as well, with 3 parts of 10.
    let lower = Absorb { share: 0.25, ..Absorb::default() };
    let found = absorption(&made.view(), &decoder, &concept, &[0], &lower).expect("absorption");
    assert!((found.fraction - 0.43).abs() < 1e-6, "{found:?}");
    // With both as main latents there is nothing to absorb but what latent 3 takes.
    let found = absorption(&made.view(), &decoder, &concept, &[0, 1], &Absorb::default()).expect("absorption");
    assert_eq!((found.fraction, (found.full * 100.0).round() as usize), (0.0, 5));
}

#[test]
fn absorption_is_never_more_than_main_latents_leave() {
    let (decoder, p) = absorbing();
    // The main latent carries .8 of 1 and latent 1 another .6, of which .2 is missing: .2 / (.2 + .8). Then, 1.2 of 1: nothing is missing.
    let made = codes(4, &[vec![(0, 0.8), (1, 0.6 * 2f32.sqrt())], vec![(0, 1.2), (1, 0.6 * 2f32.sqrt())]]);
    let fraction = |row: usize| {
        let concept = Concept { direction: &p, rows: &[row], projections: &[2.0] };
        absorption(&made.view(), &decoder, &concept, &[0], &Absorb::default()).expect("absorption").fraction
    };
    assert!((fraction(0) - 0.2).abs() < 1e-6 && fraction(1) == 0.0, "{} {}", fraction(0), fraction(1));
    let bad = |rows: &[usize], projections: &[f64], direction: &[f64], main: &[usize]| {
        absorption(&made.view(), &decoder, &Concept { direction, rows, projections }, main, &Absorb::default())
            .expect_err("bad")
            .to_string()
    };
    assert!(bad(&[2], &[1.0], &p, &[0]).contains("no row 2 among 2"));
    assert!(bad(&[0], &[], &p, &[0]).contains("0 projections of 1 rows"));
    assert!(bad(&[0], &[f64::NAN], &p, &[0]).contains("NaN"));
    assert!(bad(&[0], &[1.0], &p[..3], &[0]).contains("3 numbers"));
    assert!(bad(&[0], &[1.0], &[0.0; 4], &[0]).contains("length 0"));
    assert!(bad(&[0], &[1.0], &p, &[]).contains("k_sparse"));
    assert!(bad(&[0], &[1.0], &p, &[4]).contains("no latent 4"));
    assert!(Absorb { most: 0, ..Absorb::default() }.check().is_err());
    assert!(Absorb { share: f64::NAN, ..Absorb::default() }.check().is_err());
}

#[test]
fn directions_and_projections() {
    let x = mat(&[&[1.0, 0.0], &[3.0, 2.0], &[0.0, 4.0], &[0.0, 0.0]]);
    let sparse = x.view().to_csr();
    for rows in [x.view(), sparse.view()] {
        let p = class_direction(&rows, &[true, true, false, false]).expect("direction");
        assert_eq!(p, [2.0, -1.0]);
        assert_eq!(projections(&rows, &p).expect("projections"), [2.0, 4.0, -4.0, 0.0]);
    }
    assert!(class_direction(&x.view(), &[true; 4]).is_err() && class_direction(&x.view(), &[true, false]).is_err());
    assert!(projections(&Rows::dense(2, &[0.0; 4]), &[1.0]).is_err());
}

#[test]
fn a_split_class_has_as_many_main_latents() {
    // 200 of 1,000 rows are of the class; its latents are 3 (`first` of them) and 7 (the rest). 1 fires on a third of everything and 5
    // never; 9 fires on all of the class but on as many others too.
    let made = |first: usize| {
        let rows: Vec<Vec<(u32, f32)>> = (0..1000)
            .map(|i| {
                let mut r = rng(2, 92, i as u64);
                let mut row = Vec::new();
                if r.uniform() < 0.33 {
                    row.push((1, r.uniform() as f32));
                }
                if i < 200 {
                    row.push((if i < first { 3 } else { 7 }, 1.0 + r.uniform() as f32));
                }
                if i < 400 {
                    row.push((9, 0.5));
                }
                row
            })
            .collect();
        codes(10, &rows)
    };
    let labels: Vec<bool> = (0..1000).map(|i| i < 200).collect();
    let probe = |first: usize, how: &KSparse| k_sparse(&made(first).view(), &labels, how).expect("probe");
    let whole = probe(200, &KSparse::default());
    assert_eq!((whole.latents[0], whole.f1[0], whole.main()), (3, 1.0, &[3][..]), "{whole:?}");
    let split = probe(120, &KSparse::default());
    assert_eq!((split.main(), split.f1[1]), (&[3, 7][..], 1.0), "{split:?}");
    // The first finds 120 of 200, all right: F1 is 2·.6 / 1.6 but for which rows are held out.
    assert!((split.f1[0] - 0.75).abs() < 0.12, "{split:?}");
    // A latent that tells a fiftieth adds less than the jump.
    let little = probe(196, &KSparse::default());
    assert_eq!(little.main(), [3], "{little:?}");
    assert!(little.f1[1] >= little.f1[0], "{little:?}");
    assert_eq!(probe(196, &KSparse { most: 1, ..KSparse::default() }).latents, [3]);
    // Magnitudes and labels that say nothing.
    let nothing = codes(2, &vec![vec![(0, 1.0)]; 20]);
    let none = k_sparse(&nothing.view(), &(0..20).map(|i| i % 2 == 0).collect::<Vec<_>>(), &KSparse::default()).expect("probe");
    assert!(none.latents.is_empty() && none.main().is_empty());
}

#[test]
fn bad_probes_are_refused() {
    let made = codes(2, &vec![vec![(0, 1.0)]; 6]);
    let labels = [true, true, false, false, false, false];
    let said = |labels: &[bool]| k_sparse(&made.view(), labels, &KSparse::default()).expect_err("bad").to_string();
    assert!(said(&labels[..5]).contains("5 labels") && said(&[false; 6]).contains("0 are in the class"));
    for bad in [
        KSparse { most: 0, ..KSparse::default() },
        KSparse { jump: f64::NAN, ..KSparse::default() },
        KSparse { held: 1.0, ..KSparse::default() },
    ] {
        assert!(k_sparse(&made.view(), &labels, &bad).is_err(), "{bad:?}");
    }
}

#[test]
fn absorption_from_rows_to_number() {
    // A tree: 500 rows of a class of which 100 are of one kind. The main latent is silent on that kind.
    let (decoder, _) = absorbing();
    let rows: Vec<Vec<(u32, f32)>> = (0..1000)
        .map(|i| {
            if i < 100 {
                vec![(1, 2f32.sqrt())]
            } else if i < 500 {
                vec![(0, 1.0)]
            } else {
                vec![(2, 1.0)]
            }
        })
        .collect();
    let made = codes(4, &rows);
    let x: Vec<f32> = (0..1000)
        .flat_map(|i| {
            if i < 100 {
                [1.0, 1.0, 0.0, 0.0]
            } else if i < 500 {
                [1.0, 0.0, 0.0, 0.0]
            } else {
                [0.0, 0.0, 1.0, 0.0]
            }
        })
        .collect();
    let x = Mat::new(1000, 4, x).expect("mat");
    let labels: Vec<bool> = (0..1000).map(|i| i < 500).collect();
    let chosen = k_sparse(&made.view(), &labels, &KSparse { most: 1, ..KSparse::default() }).expect("probe");
    assert_eq!(chosen.main(), [0]);
    let direction = class_direction(&x.view(), &labels).expect("direction");
    let all = projections(&x.view(), &direction).expect("projections");
    let within: Vec<usize> = (0..500).collect();
    let concept = Concept { direction: &direction, rows: &within, projections: &all[..500] };
    let found = absorption(&made.view(), &decoder, &concept, chosen.main(), &Absorb::default()).expect("absorption");
    assert!((found.full - 0.2).abs() < 1e-12 && (found.fraction - 0.2).abs() < 1e-12, "{found:?}");
}
