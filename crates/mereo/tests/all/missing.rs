//! NMF of entries that are unknown, or that count more than others.

use mereo::fold::{Fitted, Memo, Method, Options, fit};
use mereo::nmf::{Nmf, NmfInit, NmfLoss, NmfModel, NmfSolver};
use mereo::rng::rng;
use mereo::source::{Memory, Weighted};
use mereo::store::Bag;
use mereo::{Csr, Mat, Missing, Model, Rows};

const EVERY: [(NmfSolver, NmfLoss); 6] = [
    (NmfSolver::Accelerated, NmfLoss::Squared),
    (NmfSolver::Cd, NmfLoss::Squared),
    (NmfSolver::Mu, NmfLoss::Squared),
    (NmfSolver::Mu, NmfLoss::KullbackLeibler),
    (NmfSolver::Mu, NmfLoss::ItakuraSaito),
    (NmfSolver::Mu, NmfLoss::Beta(0.5)),
];

/// Sums of `k` parts with weights, no noise, all numbers above 0.
fn planted(n: usize, d: usize, k: usize, seed: u64) -> Mat {
    let mut r = rng(seed, 9, 0);
    let h: Vec<f64> = (0..k * d).map(|_| if r.uniform() < 0.5 { r.uniform() } else { 0.02 }).collect();
    let w: Vec<f64> = (0..n * k).map(|_| if r.uniform() < 0.5 { 2.0 * r.uniform() } else { 0.02 }).collect();
    let at = |i: usize, j: usize| (0..k).map(|a| w[i * k + a] * h[a * d + j]).sum::<f64>() as f32;
    Mat { rows: n, cols: d, data: (0..n * d).map(|i| at(i / d, i % d)).collect() }
}

/// Places, each hidden with this chance.
fn hidden(n: usize, share: f64, seed: u64) -> Vec<usize> {
    let mut r = rng(seed, 10, 0);
    (0..n).filter(|_| r.uniform() < share).collect()
}

fn with(x: &Mat, places: &[usize], value: f32) -> Mat {
    let mut out = x.clone();
    places.iter().for_each(|&at| out.data[at] = value);
    out
}

fn run(how: &Nmf, x: &Mat, weights: Option<&Mat>) -> Fitted<NmfModel> {
    let data = Memory::from(x);
    match weights {
        None => fit(how, &data, Options::default()).expect("fit"),
        Some(v) => {
            let weights = Memory::from(v);
            let both = Weighted::new(&data, &weights).expect("same shape");
            fit(how, &both, Options::default()).expect("fit")
        }
    }
}

fn bytes(model: &NmfModel) -> Vec<u8> {
    let mut bag = Bag::default();
    model.save(&mut bag);
    bag.to_bytes().expect("bytes")
}

fn last(f: &Fitted<NmfModel>) -> f64 {
    f.curve.last().expect("a pass").loss
}

/// What codes and atoms make of the rows.
fn rebuilt(model: &NmfModel, x: &Rows) -> Mat {
    model.decode(&model.encode(x).expect("codes")).expect("rows")
}

fn rmse(a: &Mat, b: &Mat, places: &[usize]) -> f64 {
    let sum: f64 = places.iter().map(|&at| f64::from(a.data[at] - b.data[at]).powi(2)).sum();
    (sum / places.len() as f64).sqrt()
}

#[test]
fn what_is_masked_has_no_influence() {
    let x = planted(60, 25, 3, 1);
    let places = hidden(x.data.len(), 0.2, 2);
    let v = with(&Mat { data: vec![1.0; x.data.len()], ..x.clone() }, &places, 0.0);
    let other = with(&x, &places, 77.0);
    for (solver, loss) in EVERY {
        for init in [NmfInit::Random, NmfInit::Nndsvda, NmfInit::KMeans] {
            let how = Nmf { k: 3, solver, loss, init, max_passes: 25, weights: true, ..Nmf::default() };
            let (a, b) = (run(&how, &x, Some(&v)), run(&how, &other, Some(&v)));
            assert_eq!(bytes(&a.model), bytes(&b.model), "{solver:?} {loss} {init:?}");
            assert_eq!(last(&a), last(&b));
            // A NaN says the same as a weight of 0.
            let nan = Nmf { missing: Missing::Nan, weights: false, ..how.clone() };
            let c = run(&nan, &with(&x, &places, f32::NAN), None);
            assert_eq!(a.model.parts, c.model.parts, "{solver:?} {loss} {init:?}");
            // Codes look at known entries alone, too.
            let (clean, torn) = (with(&x, &places, f32::NAN), with(&x, &places, f32::NAN));
            assert_eq!(c.model.encode(&clean.view()).expect("codes"), c.model.encode(&torn.view()).expect("codes"));
            let weighed = |x: &Mat| {
                let (data, weights) = (Memory::from(x), Memory::from(&v));
                let both = Weighted::new(&data, &weights).expect("same shape");
                let rows = mereo::source::Source::block(&both, 0).expect("block");
                a.model.encode(&rows).expect("codes")
            };
            assert_eq!(weighed(&x), weighed(&other), "{solver:?} {loss} {init:?}");
        }
    }
}

#[test]
fn hidden_entries_are_predicted_from_the_others() {
    let x = planted(120, 40, 4, 3);
    let size = rmse(&x, &Mat::zeros(120, 40), &(0..x.data.len()).collect::<Vec<_>>());
    for share in [0.1, 0.4, 0.6] {
        let places = hidden(x.data.len(), share, 4);
        let torn = with(&x, &places, f32::NAN);
        for (solver, loss) in EVERY {
            let passes = if solver == NmfSolver::Mu { 3000 } else { 600 };
            let how = Nmf { k: 4, solver, loss, missing: Missing::Nan, max_passes: passes, tol: 0.0, ..Nmf::default() };
            let model = run(&how, &torn, None).model;
            let off = rmse(&rebuilt(&model, &torn.view()), &x, &places) / size;
            let most = if solver == NmfSolver::Mu { 0.1 } else { 0.03 };
            assert!(off < most, "{share} hidden, {solver:?} {loss}: {off} of the size of the entries");
        }
    }
}

#[test]
fn sparse_rows_give_what_dense_rows_give() {
    let mut x = planted(80, 30, 3, 5);
    let mut noise = rng(8, 0, 0);
    x.data.iter_mut().for_each(|v| *v = (f64::from(*v) + 0.1 * noise.uniform()) as f32);
    let places = hidden(x.data.len(), 0.6, 6);
    let mut r = rng(7, 0, 0);
    // Zeros that are unknown; and zeros that are known, with weights of all that is stored.
    let zeros = with(&x, &places, 0.0);
    let mut csr = Csr { rows: 80, cols: 30, indptr: vec![0], ..Csr::default() };
    let mut weights = csr.clone();
    let mut v = Mat { data: vec![1.0; zeros.data.len()], ..zeros.clone() };
    for i in 0..80 {
        for j in (0..30).filter(|&j| zeros.row(i)[j] > 0.0) {
            let weight = (0.2 + 2.0 * r.uniform()) as f32;
            v.row_mut(i)[j] = weight;
            csr.indices.push(j as u32);
            csr.values.push(zeros.row(i)[j]);
            weights.values.push(weight);
        }
        csr.indptr.push(csr.indices.len() as u64);
    }
    (weights.indptr, weights.indices) = (csr.indptr.clone(), csr.indices.clone());
    let agree = |name: String, a: &Fitted<NmfModel>, b: &Fitted<NmfModel>| {
        let (x, y) = (last(a), last(b));
        assert!((x - y).abs() <= 1e-5 * x, "{name}: {x} {y}");
    };
    for (solver, loss) in EVERY {
        let how = Nmf { k: 3, solver, loss, max_passes: 2000, tol: 0.0, ..Nmf::default() };
        let missing = Nmf { missing: Missing::Zeros, ..how.clone() };
        let (a, b) = (run(&missing, &zeros, None), fit(&missing, &Memory::from(&csr), Options::default()).expect("fit"));
        // Sparse rows take exact steps where dense ones share a curvature: another way to the same place.
        agree(format!("{solver:?} {loss}, unknown zeros"), &a, &b);
        let codes = [a.model.encode(&zeros.view()), a.model.encode(&csr.view())].map(|z| z.expect("codes").to_mat());
        let off = rmse(&codes[0], &codes[1], &(0..240).collect::<Vec<_>>());
        assert!(off < 1e-4, "{solver:?} {loss}: codes differ by {off}");
        if loss.beta() <= 0.0 {
            continue;
        }
        let weighted = Nmf { weights: true, ..how };
        let (data, of) = (Memory::from(&csr), Memory::from(&weights));
        let b = fit(&weighted, &Weighted::new(&data, &of).expect("same shape"), Options::default()).expect("fit");
        agree(format!("{solver:?} {loss}, weights"), &run(&weighted, &zeros, Some(&v)), &b);
    }
}

#[test]
fn a_row_that_counts_twice_is_two_rows() {
    let mut x = planted(40, 20, 6, 8);
    x.data.iter_mut().enumerate().for_each(|(i, v)| *v += (i % 7) as f32 * 0.05);
    let mut twice = x.clone();
    twice.data.extend_from_slice(&x.data[..10 * 20]);
    twice.rows = 50;
    let v = Mat { rows: 40, cols: 1, data: (0..40).map(|i| if i < 10 { 2.0 } else { 1.0 }).collect() };
    for (solver, loss) in EVERY {
        // Given atoms: the same start for both.
        let given = Some(Mat { rows: 3, cols: 20, data: planted(3, 20, 3, 9).data });
        let plain = Nmf { k: 3, solver, loss, init: NmfInit::Given, given, max_passes: 800, tol: 0.0, ..Nmf::default() };
        let weighted = Nmf { weights: true, ..plain.clone() };
        let (a, b) = (last(&run(&plain, &twice, None)), last(&run(&weighted, &x, Some(&v))));
        assert!((a - b).abs() < 1e-3 * a, "{solver:?} {loss}: {a} {b}");
    }
}

/// Σ|slope| of every number that may move, as a share of the sum of what pulls on it: 0 at an optimum.
fn residual(x: &Mat, v: &Mat, w: &Mat, h: &Mat) -> f64 {
    let (k, d) = (h.rows, h.cols);
    let (mut off, mut size) = (0.0, 0.0);
    let mut of_h = vec![(0.0, 0.0); k * d];
    for i in 0..x.rows {
        let mut of_w = vec![(0.0, 0.0); k];
        for j in 0..d {
            let wh: f64 = (0..k).map(|a| f64::from(w.row(i)[a]) * f64::from(h.row(a)[j])).sum();
            let v = f64::from(v.row(i)[j]);
            let (known, e) = (v * f64::from(x.row(i)[j]), v * (f64::from(x.row(i)[j]) - wh));
            for a in 0..k {
                let (wa, ha) = (f64::from(w.row(i)[a]), f64::from(h.row(a)[j]));
                of_w[a] = (of_w[a].0 + e * ha, of_w[a].1 + known * ha);
                of_h[a * d + j] = (of_h[a * d + j].0 + e * wa, of_h[a * d + j].1 + known * wa);
            }
        }
        for (a, (slope, pull)) in of_w.into_iter().enumerate() {
            off += if w.row(i)[a] > 1e-6 { slope.abs() } else { slope.max(0.0) };
            size += pull;
        }
    }
    for (at, (slope, pull)) in of_h.into_iter().enumerate() {
        off += if h.data[at] > 1e-6 { slope.abs() } else { slope.max(0.0) };
        size += pull;
    }
    off / size
}

#[test]
fn a_long_fit_ends_at_a_stationary_point_and_never_rises() {
    let mut x = planted(70, 30, 5, 11);
    let mut r = rng(12, 0, 0);
    x.data.iter_mut().for_each(|v| *v = (f64::from(*v) + 0.1 * r.uniform()) as f32);
    let mut v = Mat { data: (0..x.data.len()).map(|_| (3.0 * r.uniform()) as f32).collect(), ..x.clone() };
    hidden(x.data.len(), 0.3, 13).into_iter().for_each(|at| v.data[at] = 0.0);
    for solver in [NmfSolver::Accelerated, NmfSolver::Cd] {
        let how = Nmf { k: 4, solver, weights: true, max_passes: 3000, tol: 0.0, ..Nmf::default() };
        let fitted = run(&how, &x, Some(&v));
        // Rounding of f32 alone may make it rise, by this share of the mean square.
        let sums = x.data.iter().zip(&v.data).map(|(&x, &v)| [f64::from(v) * f64::from(x).powi(2), f64::from(v)]);
        let [squares, counted] = sums.fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        let rounding = 3e-9 * squares / counted;
        for p in fitted.curve.windows(2) {
            assert!(
                p[1].loss <= p[0].loss + rounding,
                "{solver:?} rose in pass {}: {} {}, {rounding:e}",
                p[1].pass,
                p[0].loss,
                p[1].loss
            );
        }
        let (data, of) = (Memory::from(&x), Memory::from(&v));
        let both = Weighted::new(&data, &of).expect("same shape");
        let rows = mereo::source::Source::block(&both, 0).expect("block");
        let w = fitted.model.encode(&rows).expect("codes").to_mat();
        let off = residual(&x, &v, &w, &fitted.model.parts);
        assert!(off < 2e-4, "{solver:?}: {off}");
        // The loss that is told is that of the model.
        let back = rebuilt(&fitted.model, &rows);
        let sum = |of: &dyn Fn(usize) -> f64| (0..x.data.len()).map(of).sum::<f64>();
        let error = sum(&|at| f64::from(v.data[at]) * f64::from(x.data[at] - back.data[at]).powi(2));
        let mean = error / sum(&|at| f64::from(v.data[at]));
        assert!((mean - last(&fitted)).abs() < 1e-3 * mean, "{solver:?}: {mean} {}", last(&fitted));
    }
}

#[test]
fn extrapolation_needs_fewer_passes() {
    let mut x = planted(150, 60, 8, 14);
    let mut r = rng(15, 0, 0);
    x.data.iter_mut().for_each(|v| *v = (f64::from(*v) + 0.05 * r.uniform()) as f32);
    let torn = with(&x, &hidden(x.data.len(), 0.3, 16), f32::NAN);
    let curve = |solver| {
        let how = Nmf { k: 8, solver, missing: Missing::Nan, max_passes: 600, tol: 0.0, ..Nmf::default() };
        run(&how, &torn, None).curve
    };
    let (plain, fast) = (curve(NmfSolver::Cd), curve(NmfSolver::Accelerated));
    let goal = 1.001 * plain[599].loss.max(fast[599].loss);
    let passes = |curve: &[mereo::fold::Pass]| curve.iter().position(|p| p.loss <= goal).expect("reached") + 1;
    assert!(2 * passes(&fast) < passes(&plain), "{} and {}", passes(&fast), passes(&plain));
}

#[test]
fn cuts_of_the_rows_and_a_dropped_memo_agree() {
    let mut x = planted(90, 24, 4, 17);
    let mut r = rng(21, 0, 0);
    x.data.iter_mut().for_each(|v| *v = (f64::from(*v) + 0.05 * r.uniform()) as f32);
    let torn = with(&x, &hidden(x.data.len(), 0.25, 18), f32::NAN);
    for (solver, loss) in EVERY {
        let how = Nmf { k: 4, solver, loss, missing: Missing::Nan, max_passes: 30, ..Nmf::default() };
        let whole = run(&how, &torn, None);
        for step in [1, 7, 89] {
            let cut = fit(&how, &Memory::cut(torn.view(), step), Options::default()).expect("fit");
            assert!(
                (last(&cut) - last(&whole)).abs() < 1e-4 * last(&whole),
                "{solver:?} {loss} by {step}: {} {}",
                last(&cut),
                last(&whole)
            );
        }
        if let Memo::Cache(_) = how.memo() {
            let how = Nmf { max_passes: 400, ..how };
            let options = Options { memory: Some(1), ..Options::default() };
            let (kept, dropped) = (run(&how, &torn, None), fit(&how, &Memory::from(&torn), options).expect("fit"));
            // Another way, to an optimum that is as good.
            assert!(last(&dropped) < 1.02 * last(&kept), "{solver:?}: {} {}", last(&kept), last(&dropped));
        }
    }
}

#[test]
fn rows_and_columns_of_which_nothing_is_known_are_zeros() {
    let x = planted(30, 12, 2, 19);
    let mut torn = x.clone();
    torn.row_mut(4).fill(f32::NAN);
    (0..30).for_each(|i| torn.row_mut(i)[7] = f32::NAN);
    for (solver, loss) in EVERY {
        let how = Nmf { k: 2, solver, loss, missing: Missing::Nan, max_passes: 60, ..Nmf::default() };
        let model = run(&how, &torn, None).model;
        let codes = model.encode(&torn.view()).expect("codes").to_mat();
        assert!(codes.row(4).iter().all(|w| *w == 0.0), "{solver:?} {loss}");
        assert!(model.parts.data.iter().chain(&codes.data).all(|v| v.is_finite()), "{solver:?} {loss}");
    }
}

#[test]
fn bad_input_names_the_fix() {
    let said = |how: &Nmf, x: &Mat| fit(how, &Memory::from(x), Options::default()).expect_err("refused").to_string();
    let mut x = planted(30, 12, 2, 20);
    x.data[5] = f32::NAN;
    let plain = Nmf { k: 2, ..Nmf::default() };
    assert!(said(&plain, &x).contains("missing = nan"), "{}", said(&plain, &x));
    let nan = Nmf { missing: Missing::Nan, ..plain.clone() };
    x.data[6] = f32::INFINITY;
    assert!(said(&nan, &x).contains("row 0, column 6 is inf"), "{}", said(&nan, &x));
    x.data[6] = -1.0;
    assert!(said(&nan, &x).contains("non-negative"), "{}", said(&nan, &x));
    let all = Mat { data: vec![f32::NAN; 60], rows: 5, cols: 12 };
    assert!(said(&nan, &all).contains("not one entry is known"), "{}", said(&nan, &all));
    let x = planted(30, 12, 2, 20);
    let exact = Nmf { solver: NmfSolver::Exact, ..nan };
    assert!(said(&exact, &x).contains("solver to auto"), "{}", said(&exact, &x));
    let weighted = Nmf { weights: true, ..plain.clone() };
    assert!(said(&weighted, &x).contains("without weights"), "{}", said(&weighted, &x));
    let (data, of) = (Memory::from(&x), Memory::from(&x));
    let both = Weighted::new(&data, &of).expect("same shape");
    let refused = |e: mereo::Result<()>| e.expect_err("refused").to_string();
    assert!(refused(fit(&plain, &both, Options::default()).map(|_| ())).contains("set `weights`"));
    let pca = mereo::Pca { k: 2, ..mereo::Pca::default() };
    assert!(refused(fit(&pca, &both, Options::default()).map(|_| ())).contains("pca knows no weights"));
}
