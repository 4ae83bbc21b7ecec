//! The claims of O'Neill et al. 2024 about their autoencoders (S1 to S6), on a hierarchy of concepts everywhere, and on the embeddings of abstracts where
//! those are at hand, in `MEREO_TEST_DATA` or in `../shared/data` beside the repository.

use mereo::fold::{Fitted, Options, fit};
use mereo::source::{self, Memory, Open};
use mereo::{Mat, Sae, SaeModel, fold, linalg, synth};
use std::path::PathBuf;

fn fitted(x: &Mat, latents: usize, k: usize, how: &Sae) -> Fitted<SaeModel> {
    let sae = Sae { latents: Some(latents), k, ..how.clone() };
    fit(&sae, &Memory::from(x), Options::default()).expect("fit")
}

fn last(fitted: &Fitted<SaeModel>) -> f64 {
    fitted.curve.last().expect("a pass").loss
}

/// Rows of 64 columns from 20 parents with 40 children each.
fn concepts() -> Mat {
    synth::hierarchy(8000, 64, 20, 40, 1).expect("hierarchy").data
}

fn quick() -> Sae {
    Sae { batch: 500, max_passes: 15, lr: Some(3e-3), ..Sae::default() }
}

/// The first rows of the embeddings of arXiv abstracts (384 columns), or `None` after saying that they are not there.
fn abstracts(rows: usize) -> Option<Mat> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("MEREO_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join("arxiv/minilm_80000x384_f16.npy");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let opened = source::open(&path, &Open::default()).expect("open");
    Some(
        fold::collect(&source::Subset::new(opened.source.as_ref(), (0..rows).collect::<Vec<usize>>()).expect("rows"))
            .expect("rows"),
    )
}

/// Slope and share explained of a straight line through (ln x, ln y).
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let sxy: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    let sxx: f64 = logs.iter().map(|(x, _)| (x - mx).powi(2)).sum();
    let syy: f64 = logs.iter().map(|(_, y)| (y - my).powi(2)).sum();
    (sxy / sxx, sxy * sxy / (sxx * syy))
}

/// S1: at a fixed k the loss falls as a power of n. S2: at a fixed n it falls with k.
fn the_loss_falls(x: &Mat, sizes: &[usize], k: usize, how: &Sae) {
    let losses: Vec<(f64, f64)> = sizes.iter().map(|n| (*n as f64, last(&fitted(x, *n, k, how)))).collect();
    let (slope, explained) = line(&losses);
    println!("S1: {losses:?}: slope {slope:.3}, R² {explained:.4}");
    assert!((-0.20..=-0.10).contains(&slope) && explained > 0.98, "S1: slope {slope} and R² {explained} of {losses:?}");
    let by_k: Vec<f64> = [k / 2, k, 2 * k, 4 * k].iter().map(|k| last(&fitted(x, sizes[1], *k, how))).collect();
    println!("S2: {by_k:?}");
    assert!(by_k.windows(2).all(|w| w[1] < 0.95 * w[0]), "S2: {by_k:?}");
}

#[test]
fn s1_s2_the_loss_falls_with_the_latents_and_with_those_alive() {
    if let Some(x) = abstracts(10_000) {
        the_loss_falls(&x, &[256, 512, 1024], 8, &quick());
    }
}

/// That more are dead without the auxiliary loss is shown in `sae/tests.rs`, from a start where many are.
#[test]
fn s3_none_is_dead_after_training_with_the_auxiliary_loss() {
    let dead = fitted(&concepts(), 512, 4, &quick()).model.density.iter().filter(|d| **d == 0.0).count();
    println!("S3: {dead} of 512 dead");
    assert!(dead < 6, "S3: {dead} of 512");
}

#[test]
fn s5_encoder_and_decoder_separate_from_the_tied_start() {
    let x = concepts();
    let model = fitted(&x, 512, 8, &quick()).model;
    let cosines: Vec<f64> = (0..512)
        .map(|j| {
            let (w, v) = (model.encoder.row(j), model.atoms.row(j));
            linalg::dot(w, v) / linalg::dot(w, w).sqrt()
        })
        .collect();
    let mean = cosines.iter().sum::<f64>() / 512.0;
    println!("S5: mean cosine {mean:.3}");
    assert!((0.4..0.9).contains(&mean), "S5: {mean}");
    // S4, of a whole fit.
    assert!((0..512).all(|j| (linalg::dot(model.atoms.row(j), model.atoms.row(j)) - 1.0).abs() < 1e-6));
}

/// Median over the rows of the larger of their best cosine with a row of the smaller.
fn matching(small: &Mat, large: &Mat) -> f64 {
    let mut best: Vec<f64> = (0..large.rows)
        .map(|j| (0..small.rows).map(|i| linalg::dot(small.row(i), large.row(j))).fold(f64::NEG_INFINITY, f64::max))
        .collect();
    best.sort_by(f64::total_cmp);
    best[best.len() / 2]
}

#[test]
fn s6_sizes_match_the_worse_the_larger_they_are_and_the_more_are_alive() {
    let Some(x) = abstracts(10_000) else { return };
    let of = |k, n| fitted(&x, n, k, &quick()).model.atoms;
    let [a, b, c] = [256, 512, 1024].map(|n| of(8, n));
    let (near, late) = (matching(&a, &b), matching(&b, &c));
    let wide = [256, 512].map(|n| of(32, n));
    let dense = matching(&wide[0], &wide[1]);
    println!("S6: k = 8: 256 to 512 {near:.3}, 512 to 1,024 {late:.3}; k = 32: 256 to 512 {dense:.3}");
    assert!(near > late && near > dense, "S6: {near} {late} {dense}");
}

#[test]
fn a_pass_is_followed_batch_by_batch() {
    let x = synth::dictionary(250, 8, 16, 2, 0).expect("data").data;
    let sae = Sae { latents: Some(16), k: 2, batch: 100, max_passes: 3, ..Sae::default() };
    let mut seen = Vec::new();
    let mut follow = |moment: &fold::Moment, plan: fold::Plan| {
        assert_eq!(plan.max, 3);
        seen.push(*moment);
    };
    let options = Options { follow: Some(&mut follow), ..Options::default() };
    let told = fit(&sae, &Memory::from(&x), options).expect("fit");
    let places: Vec<_> = seen.iter().map(|m| (m.pass, m.rows)).collect();
    let want: Vec<_> = (1..=3).flat_map(|pass| [100, 200, 250].map(|rows| (pass, (rows, 250)))).collect();
    assert_eq!(places, want);
    for (whole, last) in told.curve.iter().zip(seen.iter().skip(2).step_by(3)) {
        assert_eq!((whole.loss, whole.used), (last.loss, last.used), "what is told of the last batch is the pass's");
    }
    let quiet = fit(&sae, &Memory::from(&x), Options::default()).expect("fit");
    assert_eq!(told.model, quiet.model, "to be followed changes nothing");
}
