//! Gradients against differences, steps against PyTorch, and what a fit must come to.

use super::gradient::{self, AeStats};
use super::*;
use crate::fold::{Options, Stop, fit, stream};
use crate::mat::{Csr, Mat};
use crate::measure;
use crate::model::Model;
use crate::rng::rng;
use crate::source::Memory;
use crate::tests::{random, sparse};

const ALL: [AeActivation; 7] = [
    AeActivation::Linear,
    AeActivation::Erf,
    AeActivation::Sigmoid,
    AeActivation::Tanh,
    AeActivation::Relu,
    AeActivation::LeakyRelu,
    AeActivation::Softplus,
];

/// g in f64, independent of the kernel's.
fn g(how: AeActivation, a: f64) -> f64 {
    match how {
        AeActivation::Linear => a,
        AeActivation::Erf => {
            // The series of the integral, to the last digit for what comes up here.
            let x = a / 2f64.sqrt();
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        }
        AeActivation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
        AeActivation::Tanh => a.tanh(),
        AeActivation::Relu => a.max(0.0),
        AeActivation::LeakyRelu => a.max(0.01 * a),
        AeActivation::Softplus => a.exp().ln_1p(),
    }
}

/// g′ in f64.
fn slope(how: AeActivation, a: f64) -> f64 {
    match how {
        AeActivation::Linear => 1.0,
        AeActivation::Erf => (2.0 / std::f64::consts::PI).sqrt() * (-a * a / 2.0).exp(),
        AeActivation::Sigmoid | AeActivation::Tanh => {
            let h = g(how, a);
            if how == AeActivation::Tanh { 1.0 - h * h } else { h * (1.0 - h) }
        }
        AeActivation::Relu => f64::from(u8::from(a > 0.0)),
        AeActivation::LeakyRelu => {
            if a > 0.0 {
                1.0
            } else {
                0.01
            }
        }
        AeActivation::Softplus => 1.0 / (1.0 + (-a).exp()),
    }
}

/// Plain loops: the objective less the weights' own squares, and its gradient, at `p`, of rows `x` in units of y.
fn plain(how: &Ae, layout: Layout, p: &[f64], x: &Mat) -> (f64, Vec<f64>) {
    let Layout { k, d, .. } = layout;
    let (n, s) = (x.rows, if how.scaled { 1.0 / (d as f64).sqrt() } else { 1.0 });
    let (w, v) = (&p[..k * d], &p[layout.decoder()]);
    let (b, c) = (&p[layout.b()], &p[layout.c()]);
    let mut grad = vec![0.0; p.len()];
    let mut loss = 0.0;
    let a: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let one = |j: usize| (0..d).map(|t| w[j * d + t] * f64::from(x.row(i)[t])).sum::<f64>() + b.get(j).unwrap_or(&0.0);
            (0..k).map(|j| one(j) * s).collect()
        })
        .collect();
    let h: Vec<Vec<f64>> = a.iter().map(|a| a.iter().map(|a| g(how.activation, *a)).collect()).collect();
    let mean: Vec<f64> = (0..k).map(|j| h.iter().map(|h| h[j]).sum::<f64>() / n as f64).collect();
    if how.kl > 0.0 {
        let kl = |m: f64| how.rho * (how.rho / m).ln() + (1.0 - how.rho) * ((1.0 - how.rho) / (1.0 - m)).ln();
        loss += how.kl * mean.iter().map(|m| kl(*m)).sum::<f64>();
    }
    for i in 0..n {
        let r: Vec<f64> = (0..d)
            .map(|t| (0..k).map(|j| h[i][j] * v[j * d + t]).sum::<f64>() + c.get(t).unwrap_or(&0.0) - f64::from(x.row(i)[t]))
            .collect();
        loss += r.iter().map(|r| r * r).sum::<f64>() / (n * d) as f64;
        loss += how.l1 * h[i].iter().map(|h| h.abs()).sum::<f64>() / (n * k) as f64;
        let unit = 2.0 / (n * d) as f64;
        for j in 0..k {
            let mut back: f64 = (0..d).map(|t| unit * r[t] * v[j * d + t]).sum();
            back += how.l1 / (n * k) as f64 * if h[i][j] == 0.0 { 0.0 } else { h[i][j].signum() };
            if how.kl > 0.0 {
                back += how.kl * (-how.rho / mean[j] + (1.0 - how.rho) / (1.0 - mean[j])) / n as f64;
            }
            back *= slope(how.activation, a[i][j]) * s;
            for t in 0..d {
                grad[j * d + t] += back * f64::from(x.row(i)[t]);
                grad[layout.decoder().start + j * d + t] += unit * h[i][j] * r[t];
            }
            if !b.is_empty() {
                grad[layout.b().start + j] += back;
            }
        }
        for t in 0..c.len() {
            grad[layout.c().start + t] += unit * r[t];
        }
    }
    (loss, grad)
}

/// Every mixture of function, tying, biases, scaling and penalty.
fn mixtures() -> Vec<Ae> {
    let mut all = Vec::new();
    for activation in ALL {
        for bits in 0..16u32 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            let (tied, encoder_bias, decoder_bias, scaled) = (on(0), on(1), on(2), on(3));
            let ae = Ae { k: 3, activation, tied, encoder_bias, decoder_bias, scaled, normalize: false, ..Ae::default() };
            all.push(ae.clone());
            all.push(Ae { l1: 0.7, ..ae.clone() });
            if activation == AeActivation::Sigmoid {
                all.push(Ae { kl: 0.3, rho: 0.2, l1: 0.1, ..ae });
            }
        }
    }
    all
}

fn state(how: &Ae, x: &Mat) -> AeState {
    let mut state = how.init(&x.view(), Shape { rows: x.rows, cols: x.cols }, 0).expect("init");
    let mut r = rng(9, 0, 0);
    // Biases are of some size too.
    state.params.iter_mut().for_each(|p| *p = (0.6 * r.normal()) as f32);
    state
}

/// The gradient, and Σ|y − ŷ|².
fn gradient_of(how: &Ae, state: &AeState, stats: &mut AeStats) -> (Vec<f32>, f64) {
    let step::Gradient { of, unit, squares } = step::gradient(how, state, stats);
    (of.iter().map(|g| g * unit).collect(), squares)
}

#[test]
fn gradients_are_those_of_differences_for_every_mixture() {
    let x = random(6, 5, 1);
    for how in mixtures() {
        let state = state(&how, &x);
        let p: Vec<f64> = state.params.iter().map(|p| f64::from(*p)).collect();
        let (loss, want) = plain(&how, state.layout, &p, &x);
        for i in 0..p.len() {
            let step = 1e-5;
            let at = |by: f64| {
                let mut moved = p.clone();
                moved[i] += by;
                plain(&how, state.layout, &moved, &x).0
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!((slope - want[i]).abs() < 1e-6 * (1.0 + slope.abs()), "{how:?}: parameter {i}: {slope} and {}", want[i]);
        }
        let mut stats = AeStats::zero(&how, &state);
        gradient::observe(&how, &state, &x.view(), &mut stats);
        let (fast, squares) = gradient_of(&how, &state, &mut stats);
        let size = want.iter().fold(0f64, |m, v| m.max(v.abs()));
        for (i, (fast, want)) in fast.iter().zip(&want).enumerate() {
            assert!((f64::from(*fast) - want).abs() < 3e-6 * size, "{how:?}: parameter {i}: {fast} and {want}");
        }
        let bare = plain(&Ae { l1: 0.0, kl: 0.0, ..how.clone() }, state.layout, &p, &x).0;
        assert!((squares / 30.0 - bare).abs() < 2e-6 * bare, "{how:?}: {} and {bare} of {loss}", squares / 30.0);
        let held = gradient::loss(&how, &state, &x.view());
        assert!((held / 6.0 - bare).abs() < 2e-6 * bare, "{how:?}: {held} and {bare}");
    }
}

#[test]
fn weight_decay_is_the_gradient_of_the_squares_and_spares_biases() {
    let x = random(6, 5, 1);
    let how = Ae {
        k: 3,
        normalize: false,
        optimizer: AeOptimizer::Sgd,
        momentum: 0.0,
        lr: Some(0.1),
        decay: Decay::None,
        ..Ae::default()
    };
    let step = |weight_decay: f64, optimizer| {
        let how = Ae { weight_decay, optimizer, ..how.clone() };
        let (mut state, mut stats) = (state(&how, &x), AeStats::zero(&how, &state(&how, &x)));
        gradient::observe(&how, &state, &x.view(), &mut stats);
        let before = state.params.clone();
        step::update(&how, &mut state, stats);
        (before, state.params, state.layout.weights())
    };
    for optimizer in [AeOptimizer::Sgd, AeOptimizer::Adamw] {
        let ((before, bare, weights), (_, shrunk, _)) = (step(0.0, optimizer), step(0.5, optimizer));
        for i in 0..before.len() {
            let want = if i < weights { 0.1 * 0.5 * before[i] } else { 0.0 };
            assert!((bare[i] - shrunk[i] - want).abs() < 1e-6, "{optimizer:?} {i}");
        }
    }
}

#[test]
fn rows_may_come_in_pieces_dense_or_sparse() {
    let mut x = random(2100, 37, 2);
    x.data.iter_mut().for_each(|v| *v = if *v < 0.7 { 0.0 } else { *v });
    let csr = sparse(&x);
    for how in [
        Ae { k: 5, encoder_bias: false, ..Ae::default() },
        Ae { k: 70, activation: AeActivation::Sigmoid, kl: 0.1, normalize: false, ..Ae::default() },
        Ae { k: 5, tied: true, activation: AeActivation::Tanh, normalize: false, ..Ae::default() },
    ] {
        let state = how.init(&x.view(), Shape { rows: 2100, cols: 37 }, 0).expect("init");
        let of = |rows: &[Rows], widen: bool| {
            let mut stats = AeStats::zero(&how, &state);
            for x in rows {
                gradient::observe(&how, &state, x, &mut stats);
            }
            if widen {
                crate::fold::Stats::parts(&mut stats);
            }
            gradient_of(&how, &state, &mut stats)
        };
        let (want, loss) = of(&[x.view()], false);
        let size = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        let (a, b) = (x.view(), csr.view());
        let cuts = [
            of(&[b.slice(0, 2100)], false),
            of(&[a.slice(0, 3), a.slice(3, 1500), a.slice(1500, 2100)], false),
            of(&[b.slice(0, 3), a.slice(3, 1500), b.slice(1500, 2100)], true),
        ];
        for (got, other) in &cuts {
            assert!((other - loss).abs() < 1e-5 * loss, "{other} {loss}");
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() < 2e-5 * size, "parameter {i}: {got} {want}");
            }
        }
    }
}

#[test]
fn one_piece_is_the_same_to_the_bit_where_it_is_widened() {
    let x = random(50, 9, 3);
    let how = Ae { k: 4, ..Ae::default() };
    let state = how.init(&x.view(), Shape { rows: 50, cols: 9 }, 0).expect("init");
    let of = |widen: bool| {
        let mut stats = AeStats::zero(&how, &state);
        gradient::observe(&how, &state, &x.view(), &mut stats);
        if widen {
            crate::fold::Stats::parts(&mut stats);
        }
        gradient_of(&how, &state, &mut stats)
    };
    assert_eq!(of(false), of(true));
}

fn number(v: &serde_json::Value) -> Vec<f32> {
    v.as_array().expect("numbers").iter().map(|v| v.as_f64().expect("number") as f32).collect()
}

/// Five steps of PyTorch on a small problem; see `tests/golden/ae.py`.
#[test]
fn steps_are_those_of_pytorch() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/ae.json")).expect("json");
    let mut tried = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let how: Ae = serde_json::from_value(case["ae"].clone()).expect("parameters");
        let x = Mat::new(8, 6, number(&case["x"])).expect("x");
        let mut state = how.init(&x.view(), Shape { rows: 8, cols: 6 }, 0).expect("init");
        state.params = number(&case["start"]);
        for (i, want) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let mut stats = AeStats::zero(&how, &state);
            gradient::observe(&how, &state, &x.view(), &mut stats);
            let said = step::update(&how, &mut state, stats).loss;
            let loss = want["loss"].as_f64().expect("loss");
            assert!((said - loss).abs() < 1e-5 * loss, "{how:?} step {i}: loss {said}, not {loss}");
            for (j, (got, want)) in state.params.iter().zip(number(&want["params"])).enumerate() {
                assert!((got - want).abs() < 2e-5, "{how:?} step {i}: parameter {j} is {got}, not {want}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried} steps");
}

/// Rows of a few strong directions about a mean.
fn spiked(n: usize, d: usize) -> Mat {
    let axes = random(3, d, 21);
    let mut x = random(n, d, 22);
    for i in 0..n {
        let mut r = rng(23, 0, i as u64);
        for (a, s) in [1.5, 1.0, 0.7].into_iter().enumerate() {
            let z = (s * r.normal()) as f32;
            x.row_mut(i).iter_mut().zip(axes.row(a)).for_each(|(v, t)| *v += z * t);
        }
        x.row_mut(i).iter_mut().for_each(|v| *v += 3.0);
    }
    x
}

fn mse(model: &dyn Model, x: &Mat) -> f64 {
    measure::errors(model, &Memory::from(x)).expect("errors").rmse.powi(2)
}

fn fitted(how: &Ae, x: &Mat) -> AeModel {
    fit(how, &Memory::from(x), Options::default()).expect("fit").model
}

fn pca(k: usize, x: &Mat) -> f64 {
    let pca = crate::pca::Pca { k, ..crate::pca::Pca::default() };
    mse(&fit(&pca, &Memory::from(x), Options::default()).expect("pca").model, x)
}

#[test]
fn a_linear_one_reaches_the_principal_components_and_none_passes_them() {
    let x = spiked(1000, 20);
    let best = pca(3, &x);
    for how in [
        Ae { k: 3, activation: AeActivation::Linear, max_passes: 60, ..Ae::default() },
        Ae { k: 3, activation: AeActivation::Linear, max_passes: 150, init: AeInit::Random, ..Ae::default() },
        Ae { k: 3, activation: AeActivation::Linear, max_passes: 60, tied: true, ..Ae::default() },
        Ae { k: 3, activation: AeActivation::Linear, max_passes: 60, optimizer: AeOptimizer::Sgd, ..Ae::default() },
    ] {
        let got = mse(&fitted(&how, &x), &x) / best;
        assert!((1.0 - 1e-4..1.01).contains(&got), "{got} times the error of PCA: {how:?}");
    }
    for activation in ALL {
        for (k, tied) in [(3, false), (3, true)] {
            let how = Ae { k, tied, activation, max_passes: 40, ..Ae::default() };
            let got = mse(&fitted(&how, &x), &x) / best;
            assert!(got >= 1.0 - 1e-4, "{activation:?} beats PCA: {got}");
            assert!(got < if tied { 4.0 } else { 1.1 }, "{activation:?}, tied {tied}: {got} times the error of PCA");
        }
    }
}

#[test]
fn the_default_learns_in_any_units() {
    let x = spiked(600, 16);
    let how = Ae { k: 4, max_passes: 40, ..Ae::default() };
    let shares: Vec<f64> = [(1.0, 0.0), (1e-3, 0.0), (60.0, 128.0), (1e6, -5e6), (1.0, 300.0)]
        .into_iter()
        .map(|(scale, shift)| {
            let moved = Mat { data: x.data.iter().map(|v| v * scale + shift).collect(), ..x.clone() };
            let e = measure::errors(&fitted(&how, &moved), &Memory::from(&moved)).expect("errors");
            e.fvu
        })
        .collect();
    // The powers of two differ, so the fits do a little.
    for fvu in &shares {
        assert!((fvu / shares[0] - 1.0).abs() < 0.05, "{shares:?}");
    }
    let double = Mat { data: x.data.iter().map(|v| v * 1024.0).collect(), ..x.clone() };
    let (a, b) = (fitted(&how, &x), fitted(&how, &double));
    assert_eq!(
        a.encode(&x.view()).expect("z"),
        b.encode(&double.view()).expect("z"),
        "a power of two changes no bit of the codes"
    );
}

#[test]
fn penalties_make_codes_rare_and_weights_small() {
    let x = spiked(600, 16);
    let how = Ae { k: 6, activation: AeActivation::Sigmoid, lr: Some(0.02), max_passes: 100, ..Ae::default() };
    let mean = |how: &Ae| {
        let z = fitted(how, &x).encode(&x.view()).expect("z").to_mat();
        z.data.iter().map(|v| f64::from(v.abs())).sum::<f64>() / z.data.len() as f64
    };
    let (bare, kl) = (mean(&how), mean(&Ae { kl: 2.0, rho: 0.1, ..how.clone() }));
    assert!(bare > 0.25 && (kl - 0.1).abs() < 0.03, "mean codes of {bare}, and with kl of {kl}, which asks for .1");
    let relu = Ae { activation: AeActivation::Relu, init: AeInit::Random, ..how.clone() };
    let zeros = |how: &Ae| {
        let z = fitted(how, &x).encode(&x.view()).expect("z").to_mat();
        z.data.iter().filter(|v| **v == 0.0).count() as f64 / z.data.len() as f64
    };
    let (bare, l1) = (zeros(&relu), zeros(&Ae { l1: 0.5, weight_decay: 1e-3, ..relu.clone() }));
    assert!(l1 > bare + 0.2, "{bare} of the codes are 0, with l1 {l1}");
    let norm = |how: &Ae| fitted(how, &x).encoder.data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    assert!(norm(&Ae { weight_decay: 0.02, ..relu.clone() }) < 0.7 * norm(&relu));
}

#[test]
fn a_nonnegative_one_only_adds() {
    let (n, d, k) = (400, 24, 4);
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let mut r = rng(31, 0, i as u64);
        for a in 0..k {
            let w = if r.uniform() < 0.5 { r.uniform() as f32 } else { 0.0 };
            x.row_mut(i)[a * 6..(a + 1) * 6].iter_mut().for_each(|v| *v += w);
        }
    }
    for tied in [false, true] {
        let activation = AeActivation::Relu;
        let how = Ae {
            k: 2 * k,
            activation,
            nonnegative: true,
            decoder_bias: false,
            tied,
            lr: Some(0.02),
            max_passes: 300,
            ..Ae::default()
        };
        let model = fitted(&how, &x);
        assert!(model.atoms.data.iter().chain(&model.encoder.data).all(|v| *v >= 0.0));
        assert!(model.decoder_bias.iter().all(|v| *v == 0.0));
        let e = measure::errors(&model, &Memory::from(&x)).expect("errors");
        assert!(e.fvu < 0.1, "tied {tied}: {}", e.fvu);
    }
}

#[test]
fn early_stopping_gives_back_the_best() {
    // Few rows of many columns are soon learned by heart.
    let x = spiked(60, 40);
    let how = Ae { k: 30, batch: 16, max_passes: 400, decay: Decay::None, patience: 5, validation: 0.3, ..Ae::default() };
    let f = fit(&how, &Memory::from(&x), Options::default()).expect("fit");
    assert_eq!(f.stop, Stop::Early);
    let held: Vec<f64> = f.curve.iter().map(|p| p.held.expect("held")).collect();
    let best = held.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!((f.kept + 5, held[f.kept - 1], f.starts[0]), (f.curve.len(), best, best));
    // The held-out rows are those that the driver draws.
    let apart = rng(0, stream::EARLY, 0).choose(60, 18);
    let rows = x.view().pick(&apart).to_mat();
    let got = mse(&f.model, &rows);
    assert!((got / best - 1.0).abs() < 1e-4, "{got} of the model, {best} as the fit went");
    let whole = fit(&Ae { patience: 0, ..how.clone() }, &Memory::from(&x), Options::default()).expect("fit");
    assert!(whole.curve.len() == 400 && whole.curve.iter().all(|p| p.held.is_none()));
}

#[test]
fn a_fit_that_diverges_keeps_its_last_good_model_and_names_the_remedy() {
    let x = spiked(300, 16);
    let how = Ae { k: 4, activation: AeActivation::Linear, optimizer: AeOptimizer::Sgd, lr: Some(1e4), ..Ae::default() };
    let said = fit(&how, &Memory::from(&x), Options::default()).expect_err("diverges at once").to_string();
    assert!(said.contains("in pass 1") && said.contains("lower lr, which was 10000"), "{said}");
    // Steps that grow until they are too long.
    let how = Ae { lr: Some(20.0), warmup: 1.0, max_passes: 100, batch: 16, ..how };
    let f = fit(&how, &Memory::from(&x), Options::default()).expect("fit");
    assert_eq!((f.stop, f.kept), (Stop::Diverged, f.curve.len()));
    assert!(!f.curve.is_empty() && f.curve.iter().all(|p| p.loss.is_finite()), "{} passes", f.curve.len());
    assert!(mse(&f.model, &x) < 2.0 * f.curve.iter().map(|p| p.loss).fold(0.0, f64::max), "the model is a good one");
}

#[test]
fn batches_of_any_size_and_more_atoms_than_columns() {
    let x = spiked(80, 6);
    let variance = pca(1, &x);
    for how in [
        Ae { k: 3, batch: 1, max_passes: 10, ..Ae::default() },
        Ae { k: 9, batch: 1000, max_passes: 400, ..Ae::default() },
        Ae { k: 1, batch: 79, max_passes: 400, ..Ae::default() },
    ] {
        let got = mse(&fitted(&how, &x), &x);
        assert!(got < 2.0 * variance, "{got}, {variance} with one component: {how:?}");
    }
    let empty = Csr { rows: 3, cols: 4, indptr: vec![0; 4], ..Csr::default() };
    let f = fit(&Ae { k: 2, max_passes: 3, ..Ae::default() }, &Memory::from(&empty), Options::default()).expect("rows of zeros");
    assert_eq!(f.curve[2].loss, f.curve[2].loss.clamp(0.0, 1.0));
}

#[test]
fn paces_rise_and_fall() {
    let how = |warmup, decay| Ae { warmup, decay, ..Ae::default() };
    let at = |how: &Ae, t| how.decay.pace(how.warmup, t, 100);
    let none = how(0.0, Decay::None);
    assert_eq!((at(&none, 0), at(&none, 99)), (1.0, 1.0));
    let up = how(0.1, Decay::Linear);
    assert_eq!((at(&up, 0), at(&up, 9), at(&up, 10), at(&up, 55)), (0.1, 1.0, 1.0, 0.5));
    let round = how(0.0, Decay::Cosine);
    assert!(at(&round, 0) == 1.0 && (at(&round, 50) - 0.5).abs() < 1e-12 && at(&round, 99) > 0.0 && at(&round, 99) < 1e-3);
    assert_eq!(at(&how(1.0, Decay::Cosine), 99), 1.0);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_fix() {
    let shape = Shape { rows: 10, cols: 4 };
    let base = Ae::default;
    let cases: Vec<(Ae, &[&str])> = vec![
        (Ae { k: 0, ..base() }, &["k = 0", "at least 1"]),
        (Ae { batch: 0, ..base() }, &["batch = 0", "at least 1"]),
        (Ae { max_passes: 0, ..base() }, &["max_passes = 0"]),
        (Ae { lr: Some(0.0), ..base() }, &["lr = 0", "1e-3"]),
        (Ae { lr: Some(f64::NAN), ..base() }, &["lr = NaN"]),
        (Ae { rho: 1.0, ..base() }, &["rho = 1", "0.05"]),
        (Ae { kl: 0.1, ..base() }, &["sigmoid", "erf"]),
        (Ae { kl: -0.1, activation: AeActivation::Sigmoid, ..base() }, &["kl = -0.1", "0 or more"]),
        (Ae { l1: f64::INFINITY, ..base() }, &["l1 = inf"]),
        (Ae { weight_decay: -1.0, ..base() }, &["weight_decay = -1"]),
        (Ae { momentum: 1.0, ..base() }, &["momentum = 1", "less than 1"]),
        (Ae { beta2: 1.5, ..base() }, &["beta2 = 1.5"]),
        (Ae { warmup: 2.0, ..base() }, &["warmup = 2"]),
        (Ae { tol: -1.0, ..base() }, &["tol = -1"]),
        (Ae { patience: 3, validation: 1.0, ..base() }, &["validation = 1", "0.1"]),
    ];
    for (how, words) in cases {
        let said = how.check(shape).expect_err("refused").to_string();
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
    }
    assert!(Ae { k: 99_999, ..base() }.check(shape).expect_err("too many").to_string().contains("lower k"));
    assert!(Ae { k: 99, tied: true, nonnegative: true, ..base() }.check(shape).is_ok());
    let one = Mat::zeros(1, 4);
    let said = fit(&Ae { patience: 1, ..base() }, &Memory::from(&one), Options::default()).expect_err("one row").to_string();
    assert!(said.contains("two rows or more"), "{said}");
}
