//! Second-order steps end where multiplicative ones would, sooner.

use super::super::{Nmf, NmfInit, NmfLoss, NmfSolver};
use crate::fold::{Fitted, Options, Stop, fit};
use crate::mat::{Csr, Mat};
use crate::nmf::NmfModel;
use crate::rng::rng;
use crate::source::{Memory, Source};

fn counts(n: usize, d: usize) -> Mat {
    let mut r = rng(11, 0, 0);
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let w = [r.uniform(), r.uniform() * r.uniform(), r.uniform()];
        for j in 0..d {
            let mean = w[j % 3] * 0.8 + w[(j / 3) % 3] * 0.5;
            x.row_mut(i)[j] = (mean * 2.0 + r.normal() * mean.sqrt()).max(0.0).round() as f32;
        }
    }
    x
}

fn csr(x: &Mat) -> Csr {
    let mut out = Csr { rows: x.rows, cols: x.cols, indptr: vec![0], ..Csr::default() };
    for i in 0..x.rows {
        for (j, &v) in x.row(i).iter().enumerate().filter(|(_, v)| **v != 0.0) {
            out.indices.push(j as u32);
            out.values.push(v);
        }
        out.indptr.push(out.indices.len() as u64);
    }
    out
}

fn run(solver: NmfSolver, passes: usize, alpha: f64, source: &dyn Source) -> Fitted<NmfModel> {
    let how = Nmf {
        k: 4,
        loss: NmfLoss::KullbackLeibler,
        solver,
        max_passes: passes,
        tol: 0.0,
        alpha_w: alpha,
        alpha_h: alpha,
        l1_ratio: 0.5,
        ..Nmf::default()
    };
    fit(&how, source, Options::default()).expect("fit")
}

fn last(f: &Fitted<NmfModel>) -> f64 {
    f.curve.last().expect("a pass").loss
}

#[test]
fn never_worse_and_in_a_tenth_of_the_passes_as_good_as_products() {
    let x = counts(300, 60);
    let sparse = csr(&x);
    for alpha in [0.0, 0.003] {
        for source in [Memory::from(&x), Memory::from(&sparse)] {
            let slow = run(NmfSolver::Mu, 400, alpha, &source);
            let fast = run(NmfSolver::Newton, 40, alpha, &source);
            for p in fast.curve.windows(2) {
                assert!(p[1].loss <= p[0].loss * (1.0 + 1e-6), "α = {alpha}: {p:?}");
            }
            let as_many = run(NmfSolver::Mu, 40, alpha, &source);
            assert!(last(&fast) < last(&as_many), "α = {alpha}: {} {}", last(&fast), last(&as_many));
            assert!(last(&fast) <= last(&slow) * 1.005, "α = {alpha}: {} {}", last(&fast), last(&slow));
        }
    }
}

#[test]
fn the_reported_divergence_is_that_of_the_data() {
    let x = counts(290, 70);
    let sparse = csr(&x);
    for source in [Memory::from(&x), Memory::from(&sparse)] {
        let fitted = run(NmfSolver::Newton, 300, 0.0, &source);
        let codes = crate::model::Model::encode(&fitted.model, &x.view()).expect("encode");
        let back = crate::model::Model::decode(&fitted.model, &codes).expect("decode");
        let terms = x.data.iter().zip(&back.data).map(|(&x, &y)| {
            let (x, y) = (f64::from(x), f64::from(y));
            if x > 0.0 { x * (x / y).ln() - x + y } else { y }
        });
        let mean = terms.sum::<f64>() / x.data.len() as f64;
        // The encoding is the best for the atoms, and after so many passes so are the weights.
        assert!((mean / last(&fitted) - 1.0).abs() < 1e-3, "{mean} {}", last(&fitted));
    }
}

#[test]
fn rows_and_columns_of_zeros_do_no_harm() {
    let mut x = counts(40, 30);
    x.row_mut(3).fill(0.0);
    (0..40).for_each(|i| x.row_mut(i)[7] = 0.0);
    let sparse = csr(&x);
    for scale in [1e-30f32, 1.0, 1e25] {
        let scaled = Mat { data: x.data.iter().map(|v| v * scale).collect(), ..x.clone() };
        let lone = csr(&scaled);
        for source in [Memory::from(&scaled), Memory::from(&lone)] {
            let fitted = run(NmfSolver::Newton, 60, 0.0, &source);
            assert!((0..4).all(|a| fitted.model.parts.row(a)[7] < 1e-9));
            let alone = run(NmfSolver::Newton, 60, 0.0, &Memory::from(&sparse));
            let ratio = last(&fitted) / f64::from(scale) / last(&alone);
            assert!((0.9..1.1).contains(&ratio), "times {scale}: {ratio}");
        }
    }
}

#[test]
fn the_short_logarithm_is_good_to_its_last_digits() {
    for v in [1e-30f32, 1e-3, 0.5, 0.70, 0.71, 0.999, 0.999_999_9, 1.0, 1.000_001, 1.4, 1.5, 2.0, 3e20] {
        let want = f64::from(v).ln();
        assert!((f64::from(super::entries::ln(v)) - want).abs() <= 2e-7 * want.abs(), "{v}: {} {want}", super::entries::ln(v));
    }
}

#[test]
fn columns_that_are_empty_in_the_rows_of_a_warm_start_are_explained() {
    // Of digits, pixels at the rim are used by few.
    let (digits, _) = crate::data::load("digits").expect("digits");
    let inits = [NmfInit::Random, NmfInit::Nndsvd, NmfInit::Nndsvda, NmfInit::Nndsvdar, NmfInit::KMeans];
    for init in inits {
        let nmf = Nmf { k: 10, init, loss: NmfLoss::KullbackLeibler, ..Nmf::default() };
        let fitted = fit(&nmf, &Memory::from(&digits), Options::default()).expect("fit");
        // Multiplicative rules are at .0453 (random) after 500 passes.
        assert!(last(&fitted) < 0.047 && fitted.stop == Stop::Converged, "{init:?}: {} {:?}", last(&fitted), fitted.stop);
        assert!(fitted.curve.iter().all(|p| p.gradient.is_some_and(f64::is_finite)), "{init:?}");
    }
}
