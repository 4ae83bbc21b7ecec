//! β-divergences against plain loops in f64, against scikit-learn, and dense against sparse.

use super::super::{Nmf, NmfInit, NmfLoss, NmfSolver};
use crate::fold::{Fitted, Options, fit};
use crate::mat::{Csr, Mat};
use crate::missing::Missing;
use crate::model::Model;
use crate::nmf::NmfModel;
use crate::rng::rng;
use crate::source::Memory;
use serde_json::Value;

const BETAS: [f64; 7] = [-0.5, 0.0, 0.5, 1.0, 1.5, 2.5, 3.0];

/// Sums of three parts, of which some numbers are 0 if the divergence bears it.
fn data(n: usize, d: usize, zeros: bool) -> Mat {
    let mut r = rng(7, 0, 0);
    let mut x = Mat::zeros(n, d);
    for i in 0..n {
        let w = [r.uniform(), r.uniform(), r.uniform()];
        for j in 0..d {
            let v = w[j % 3] * (1.0 + (j % 5) as f64) + 0.1 + 0.2 * r.uniform();
            x.row_mut(i)[j] = if zeros && r.uniform() < 0.6 { 0.0 } else { v as f32 };
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

fn method(beta: f64) -> Nmf {
    let solver = NmfSolver::Mu;
    Nmf {
        k: 3,
        loss: beta.into(),
        solver,
        max_passes: 30,
        tol: 0.0,
        alpha_w: 0.002,
        alpha_h: 0.001,
        l1_ratio: 0.4,
        ..Nmf::default()
    }
}

fn run(how: &Nmf, x: &Mat) -> Fitted<NmfModel> {
    fit(how, &Memory::from(x), Options::default()).expect("fit")
}

fn last(f: &Fitted<NmfModel>) -> f64 {
    f.curve.last().expect("a pass").loss
}

fn close(a: &[f32], b: &[f64], tol: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = (b.iter().map(|v| v * v).sum::<f64>() / b.len() as f64).sqrt();
    for (i, (&a, b)) in a.iter().zip(b).enumerate() {
        assert!((f64::from(a) - b).abs() <= tol * (b.abs() + size), "{what}: {a} where {b} belongs, at {i}");
    }
}

/// The divergence of one number, as it is written down.
fn divergence(beta: f64, x: f64, y: f64) -> f64 {
    match beta {
        1.0 if x == 0.0 => y,
        1.0 => x * (x / y).ln() - x + y,
        0.0 => x / y - (x / y).ln() - 1.0,
        b => (if x > 0.0 { x.powf(b) } else { 0.0 } + (b - 1.0) * y.powf(b) - b * x * y.powf(b - 1.0)) / (b * (b - 1.0)),
    }
}

/// The rules and the reported loss in plain loops: W from √(mean/k), H from `h`. The loss is that of the last W and the H before it.
fn plain(how: &Nmf, x: &Mat, h: &Mat) -> (Vec<f64>, f64) {
    let (n, d, k, beta) = (x.rows, x.cols, how.k, how.loss.beta());
    let at = |i: usize, j: usize| f64::from(x.data[i * d + j]);
    let mean = x.data.iter().map(|&v| f64::from(v)).sum::<f64>() / (n * d) as f64;
    let mut w = vec![(mean / k as f64).sqrt(); n * k];
    let mut h: Vec<f64> = h.data.iter().map(|&v| f64::from(v)).collect();
    let power = if beta < 1.0 {
        1.0 / (2.0 - beta)
    } else if beta > 2.0 {
        1.0 / (beta - 1.0)
    } else {
        1.0
    };
    let (aw, ah, l1) = (how.alpha_w * d as f64, how.alpha_h * n as f64, how.l1_ratio);
    let product = |w: &[f64], h: &[f64], i: usize, j: usize| (0..k).map(|a| w[i * k + a] * h[a * d + j]).sum::<f64>();
    let size = |v: &[f64]| v.iter().map(|v| l1 * v + 0.5 * (1.0 - l1) * v * v).sum::<f64>();
    let mut loss = 0.0;
    for _ in 0..how.max_passes {
        let old = w.clone();
        for i in 0..n {
            for a in 0..k {
                let (mut above, mut below) = (0.0, aw * (l1 + (1.0 - l1) * old[i * k + a]));
                for j in 0..d {
                    let y = product(&old, &h, i, j);
                    above += h[a * d + j] * at(i, j) * y.powf(beta - 2.0);
                    below += h[a * d + j] * y.powf(beta - 1.0);
                }
                w[i * k + a] *= (above / below).powf(power);
            }
        }
        let whole: f64 = (0..n * d).map(|p| divergence(beta, at(p / d, p % d), product(&w, &h, p / d, p % d))).sum();
        loss = (whole + aw * size(&w) + ah * size(&h)) / (n * d) as f64;
        let old = h.clone();
        for a in 0..k {
            for j in 0..d {
                let (mut above, mut below) = (0.0, ah * (l1 + (1.0 - l1) * old[a * d + j]));
                for i in 0..n {
                    let y = product(&w, &old, i, j);
                    above += w[i * k + a] * at(i, j) * y.powf(beta - 2.0);
                    below += w[i * k + a] * y.powf(beta - 1.0);
                }
                h[a * d + j] *= (above / below).powf(power);
            }
        }
    }
    (h, loss)
}

/// The atom of the model that lies along `atom`, both of unit sum, must be there.
fn same_atoms(model: &NmfModel, atoms: &[f64], tol: f64, what: &str) {
    for atom in atoms.chunks_exact(model.parts.cols) {
        let unit: Vec<f64> = atom.iter().map(|v| v / atom.iter().sum::<f64>()).collect();
        let far = |a: usize| model.parts.row(a).iter().zip(&unit).map(|(&m, u)| (f64::from(m) - u).abs()).sum::<f64>();
        let best = (0..model.parts.rows).min_by(|&a, &b| far(a).total_cmp(&far(b))).expect("atoms");
        close(model.parts.row(best), &unit, tol, what);
    }
}

#[test]
fn passes_are_the_plain_rules() {
    for beta in BETAS {
        for penalised in [false, true] {
            let x = data(17, 23, beta > 0.0);
            let mut r = rng(3, 1, 0);
            let h = Mat::new(3, 23, (0..69).map(|_| 0.5 + r.uniform() as f32).collect()).expect("h");
            let mut how = Nmf { init: NmfInit::Given, given: Some(h.clone()), max_passes: 5, ..method(beta) };
            if !penalised {
                (how.alpha_w, how.alpha_h) = (0.0, 0.0);
            }
            let (atoms, loss) = plain(&how, &x, &h);
            for sparse in [false, true] {
                let fitted =
                    if sparse { fit(&how, &Memory::from(&csr(&x)), Options::default()).expect("fit") } else { run(&how, &x) };
                let what = format!("β = {beta}, penalised {penalised}, sparse {sparse}");
                assert!((last(&fitted) / loss - 1.0).abs() < 1e-5, "{what}: loss {} {loss}", last(&fitted));
                same_atoms(&fitted.model, &atoms, 2e-5, &what);
            }
        }
    }
}

#[test]
fn multiplicative_updates_are_those_of_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("../../../tests/golden/beta.json")).expect("json");
    let numbers = |v: &Value| v.as_array().expect("array").iter().map(|v| v.as_f64().expect("number")).collect::<Vec<f64>>();
    let mat = |rows: usize, v: &Value| {
        let data: Vec<f32> = numbers(v).into_iter().map(|v| v as f32).collect();
        Mat::new(rows, data.len() / rows, data).expect("matrix")
    };
    let count = |key: &str| golden[key].as_u64().expect("count") as usize;
    let (n, k) = (count("rows"), count("k"));
    for case in golden["cases"].as_array().expect("cases") {
        let number = |key: &str| case.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let beta = number("beta");
        let how = Nmf {
            k,
            loss: beta.into(),
            solver: NmfSolver::Mu,
            init: NmfInit::Given,
            given: Some(mat(k, &golden["start"])),
            alpha_w: number("alpha_w"),
            alpha_h: number("alpha_h"),
            l1_ratio: number("l1_ratio"),
            max_passes: count("passes"),
            tol: 0.0,
            encode_max: 20000,
            encode_tol: 1e-6,
            ..Nmf::default()
        };
        let fitted = run(&how, &mat(n, &case["x"]));
        let what = format!("β = {beta}, α = {}", how.alpha_w);
        assert!((last(&fitted) / number("loss") - 1.0).abs() < 1e-5, "{what}: loss {} {}", last(&fitted), number("loss"));
        same_atoms(&fitted.model, &numbers(&case["atoms"]), 1e-4, &what);
        let new = mat(5, &case["new"]);
        let codes = fitted.model.encode(&new.view()).expect("encode");
        close(&fitted.model.decode(&codes).expect("decode").data, &numbers(&case["decoded"]), 2e-3, &format!("{what}: encoded"));
    }
}

#[test]
fn no_pass_makes_it_worse() {
    for beta in BETAS {
        for alpha in [0.0, 0.01] {
            let how = Nmf { alpha_w: alpha, alpha_h: alpha, max_passes: 100, ..method(beta) };
            let fitted = run(&how, &data(40, 30, beta > 0.0));
            for p in fitted.curve.windows(2) {
                assert!(p[1].loss <= p[0].loss * (1.0 + 1e-6), "β = {beta}, α = {alpha}: {p:?}");
            }
        }
    }
}

#[test]
fn sparse_rows_give_what_dense_rows_give() {
    for beta in [0.5, 1.0, 1.5, 3.0] {
        let x = data(300, 30, true);
        let how = method(beta);
        let (dense, sparse) = (run(&how, &x), fit(&how, &Memory::from(&csr(&x)), Options::default()).expect("fit"));
        assert!((last(&dense) / last(&sparse) - 1.0).abs() < 1e-5, "β = {beta}: {} {}", last(&dense), last(&sparse));
        let new = data(30, 30, true);
        let codes = |rows: &crate::mat::Rows| dense.model.decode(&dense.model.encode(rows).expect("encode")).expect("decode");
        let want: Vec<f64> = codes(&new.view()).data.iter().map(|&v| f64::from(v)).collect();
        close(&codes(&csr(&new).view()).data, &want, 1e-5, &format!("β = {beta}"));
    }
}

#[test]
fn beta_of_two_is_squared_error() {
    let x = data(40, 30, true);
    let how = |loss| Nmf { loss, ..method(2.0) };
    let (named, number) = (run(&how(NmfLoss::Squared), &x), run(&how(NmfLoss::Beta(2.0)), &x));
    assert_eq!((last(&named), &named.model.parts), (last(&number), &number.model.parts));
    // As a limit: half the squared error, whose penalties count the same.
    let near = run(&how(NmfLoss::Beta(2.0 + 1e-7)), &x);
    let want: Vec<f64> = named
        .model
        .parts
        .data
        .chunks_exact(30)
        .flat_map(|h| {
            let sum: f64 = h.iter().map(|&v| f64::from(v)).sum();
            h.iter().map(move |&v| f64::from(v) / sum)
        })
        .collect();
    same_atoms(&near.model, &want, 1e-4, "β close to 2");
}

#[test]
fn an_encoding_is_where_no_weight_wants_to_move() {
    for beta in BETAS {
        let how = Nmf { encode_tol: 1e-5, encode_max: 50_000, ..method(beta) };
        let model = run(&how, &data(40, 30, beta > 0.0)).model;
        let x = data(9, 30, beta > 0.0);
        let w = model.encode(&x.view()).expect("encode").to_mat();
        let back = model.decode(&crate::model::Codes::Dense(w.clone())).expect("decode");
        for i in 0..9 {
            let mut slack = 0.0;
            let mut size = 0.0;
            for a in 0..3 {
                let v = f64::from(w.row(i)[a]);
                let mut below = f64::from(model.l1[a]) + f64::from(model.l2[a]) * v;
                let mut above = 0.0;
                for j in 0..30 {
                    let (h, y) = (f64::from(model.parts.row(a)[j]), f64::from(back.row(i)[j]).max(1e-12));
                    below += h * y.powf(beta - 1.0);
                    above += h * f64::from(x.row(i)[j]) * y.powf(beta - 2.0);
                }
                assert!(above <= below * 1.0001, "β = {beta}, row {i}, atom {a}: wants to rise, {above} {below}");
                slack += v * (above - below).abs();
                size += v * below;
            }
            assert!(slack <= 1e-4 * size, "β = {beta}, row {i}: {slack} of {size}");
        }
    }
}

#[test]
fn zeros_are_refused_where_they_would_cost_infinitely_much() {
    let x = data(20, 30, true);
    for loss in [NmfLoss::ItakuraSaito, NmfLoss::Beta(-0.5)] {
        let how = Nmf { loss, ..method(1.0) };
        let csr = csr(&x);
        for source in [Memory::from(&x), Memory::from(&csr)] {
            let said = fit(&how, &source, Options::default()).expect_err("zeros").to_string();
            assert!(said.contains("row 0") && said.contains(&loss.to_string()) && said.contains("above 0"), "{said}");
        }
        let model = run(&how, &data(20, 30, false)).model;
        assert!(model.encode(&x.view()).is_err());
    }
}

#[test]
fn scale_of_the_data_does_not_matter() {
    for beta in BETAS {
        let x = data(20, 30, beta > 0.0);
        let how = Nmf { alpha_w: 0.0, alpha_h: 0.0, ..method(beta) };
        let fitted = run(&how, &x);
        for scale in [2f32.powi(-40), 2f32.powi(30)] {
            let scaled = Mat { data: x.data.iter().map(|v| v * scale).collect(), ..x.clone() };
            let other = run(&how, &scaled);
            let grown = f64::from(scale).powf(beta);
            assert!(
                (last(&other) / grown / last(&fitted) - 1.0).abs() < 1e-5,
                "β = {beta}: {} {}",
                last(&other) / grown,
                last(&fitted)
            );
            let codes = |m: &NmfModel, x: &Mat| m.decode(&m.encode(&x.view()).expect("encode")).expect("decode").data;
            let want: Vec<f64> = codes(&fitted.model, &x).iter().map(|&v| f64::from(v) * f64::from(scale)).collect();
            close(&codes(&other.model, &scaled), &want, 1e-3, &format!("β = {beta}, times {scale}"));
        }
    }
}

#[test]
fn the_newton_steps_of_an_encoding_know_the_penalty() {
    // One atom of sum one: w is the root of l2·w² + (1 + l1)·w − Σx = 0.
    let parts = Mat::new(1, 4, vec![0.25; 4]).expect("atom");
    let (l1, l2) = (0.5f32, 0.125f32);
    let model = NmfModel::new(parts, NmfLoss::KullbackLeibler, None, (vec![l1], vec![l2]), 0.0, (1e-6, 100), Missing::None);
    let x = Mat::new(1, 4, vec![1.0, 5.0, 0.0, 2.0]).expect("row");
    let codes = model.encode(&x.view()).expect("encode").to_mat();
    let (b, c) = (1.0 + f64::from(l1), 8.0);
    let want = ((b * b + 4.0 * f64::from(l2) * c).sqrt() - b) / (2.0 * f64::from(l2));
    assert!((f64::from(codes.data[0]) / want - 1.0).abs() < 1e-5, "{} {want}", codes.data[0]);
}
