//! NMF from the outside: against scikit-learn and SciPy (`golden/nmf.py` says which numbers are whose), on data at the edges of
//! what f32 holds, and on the same rows stored dense and sparse.

use mereo::fold::{Fitted, Method, Options, Shape, fit};
use mereo::rng::rng;
use mereo::source::Memory;
use mereo::{Csr, Mat, Model, Nmf, NmfInit, NmfLoss, NmfModel, NmfSolver, Result, Rows, data, measure};
use serde_json::Value;

const SOLVERS: [(NmfSolver, NmfLoss); 6] = [
    (NmfSolver::Accelerated, NmfLoss::Squared),
    (NmfSolver::Cd, NmfLoss::Squared),
    (NmfSolver::Mu, NmfLoss::Squared),
    (NmfSolver::Mu, NmfLoss::KullbackLeibler),
    (NmfSolver::LeeSeung, NmfLoss::KullbackLeibler),
    (NmfSolver::Online, NmfLoss::Squared),
];
const STARTS: [NmfInit; 4] = [NmfInit::Random, NmfInit::Nndsvd, NmfInit::Nndsvda, NmfInit::Nndsvdar];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/nmf.json")).expect("json")
}

fn number(v: &Value) -> f64 {
    v.as_f64().expect("number")
}

fn numbers(v: &Value) -> Vec<f32> {
    v.as_array().expect("array").iter().map(|v| number(v) as f32).collect()
}

fn matrix(v: &Value) -> Mat {
    let size = |name: &str| v[name].as_u64().expect("size") as usize;
    Mat::new(size("rows"), size("cols"), numbers(&v["data"])).expect("matrix")
}

fn run(method: &Nmf, x: &Rows) -> Result<Fitted<NmfModel>> {
    fit(method, &Memory::new(x.clone()), Options::default())
}

fn last(f: &Fitted<NmfModel>) -> f64 {
    f.curve.last().expect("a pass").loss
}

/// The model that a fit starts from.
fn first_model(method: &Nmf, x: &Mat) -> NmfModel {
    let shape = Shape { rows: x.rows, cols: x.cols };
    method.check(shape).expect("parameters");
    method.model(method.init(&x.view(), shape, 0).expect("start")).expect("model")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn close(what: &str, got: f64, want: f64, tol: f64) {
    assert!((got - want).abs() <= tol * want.abs(), "{what} is {got}, not {want}");
}

fn csr(m: &Mat) -> Csr {
    m.view().to_csr()
}

// ---- against scikit-learn ----

/// One iteration and ten, from given atoms and weights of √(mean/k), in f64: mereo's f32 keeps five digits of the atoms.
#[test]
fn multiplicative_updates_agree_with_scikit_learn_and_the_formulas_of_1999() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let start = matrix(&golden["start"]);
    for (name, (solver, loss)) in [("mu", SOLVERS[2]), ("mu-kl", SOLVERS[3]), ("lee-seung", SOLVERS[4])] {
        for passes in [1, 10] {
            let want = &golden[name][passes.to_string()];
            let k = start.rows;
            let given = Some(start.clone());
            let method = Nmf { k, solver, loss, init: NmfInit::Given, given, max_passes: passes, tol: 0.0, ..Nmf::default() };
            let got = run(&method, &x.view()).expect("fit");
            let what = format!("{name} after {passes}");
            close(&format!("loss of {what}"), last(&got), number(&want["loss"]), 1e-6);
            let atoms = Mat::new(k, x.cols, numbers(&want["atoms"])).expect("atoms");
            if solver == NmfSolver::LeeSeung {
                let f = got.model.likelihood.expect("a likelihood");
                close(&format!("F of {what}"), f, number(&want["likelihood"]), 1e-6);
            }
            // All atoms are of one size while the weights stand as they started, so they come in any order.
            let tied = solver == NmfSolver::LeeSeung && passes == 1;
            for a in 0..k {
                let off = |b: usize| largest_difference(atoms.row(a), got.model.parts.row(b));
                let off = if tied { (0..k).map(off).fold(f32::MAX, f32::min) } else { off(a) };
                assert!(off < 1e-5, "atom {a} of {what} is off by {off}");
            }
        }
    }
}

#[test]
fn nndsvd_starts_are_those_of_scikit_learn() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let k = matrix(&golden["start"]).rows;
    for (name, init) in [("nndsvd", NmfInit::Nndsvd), ("nndsvda", NmfInit::Nndsvda)] {
        let want = &golden["starts"][name];
        let method = Nmf { k, solver: NmfSolver::Mu, init, max_passes: 1, tol: 0.0, ..Nmf::default() };
        let off = largest_difference(&first_model(&method, &x).parts.data, &numbers(&want["atoms"]));
        assert!(off < 1e-5, "{name}: first atoms are off by {off}");
        // The weights, and the scales of both, show in what one update makes of them.
        let got = run(&method, &x.view()).expect("fit");
        close(&format!("loss from {name}"), last(&got), number(&want["one update"]["loss"]), 1e-5);
        let off = largest_difference(&got.model.parts.data, &numbers(&want["one update"]["atoms"]));
        assert!(off < 1e-5, "{name}: atoms after one update are off by {off}");
    }
}

/// NNDSVDar is NNDSVD with small random numbers for zeros: |N(0, 1)|·mean/100.
#[test]
fn nndsvdar_fills_zeros_and_nothing_else() {
    let x = matrix(&golden()["x"]);
    let of = |init, seed| first_model(&Nmf { k: 5, init, seed, ..Nmf::default() }, &x).parts;
    let (plain, filled, other) = (of(NmfInit::Nndsvd, 0), of(NmfInit::Nndsvdar, 0), of(NmfInit::Nndsvdar, 1));
    let mut zeros = 0;
    for a in 0..5 {
        // Filling makes the norm a little larger, so all other entries of an atom shrink by one factor.
        let largest = (0..x.cols).max_by(|&i, &j| plain.row(a)[i].total_cmp(&plain.row(a)[j])).expect("columns");
        let factor = filled.row(a)[largest] / plain.row(a)[largest];
        assert!((0.99..=1.0).contains(&factor), "atom {a} shrinks by {factor}");
        for j in 0..x.cols {
            let (plain, filled, other) = (plain.row(a)[j], filled.row(a)[j], other.row(a)[j]);
            if plain == 0.0 {
                zeros += 1;
                assert!(filled > 0.0 && filled < 0.1 && filled != other, "{filled} and {other} for a zero");
            } else {
                assert!((filled - plain * factor).abs() < 1e-6, "{filled} for {plain}");
            }
        }
    }
    assert!(zeros > 10, "only {zeros} zeros to fill");
}

/// A start knows no units: data times 4 gives the same atoms, and 16 times the loss, to the last bit.
#[test]
fn units_do_not_matter() {
    let x = matrix(&golden()["x"]);
    for init in STARTS {
        for (solver, loss) in SOLVERS {
            let method = Nmf { k: 5, solver, loss, init, batch: 8, max_passes: 5, tol: 0.0, ..Nmf::default() };
            let plain = run(&method, &x.view()).expect("fit");
            for power in [-10, 10] {
                let times = 4f32.powi(power);
                let scaled = Mat { data: x.data.iter().map(|v| v * times).collect(), ..x };
                let scaled = run(&method, &scaled.view()).expect("fit");
                assert_eq!(plain.model.parts, scaled.model.parts, "{solver:?} {loss} from {init:?}");
                let squared = loss == NmfLoss::Squared;
                let times = f64::from(times).powi(if squared { 2 } else { 1 });
                assert_eq!(last(&plain) * times, last(&scaled), "{solver:?} {loss} from {init:?}");
            }
        }
    }
}

/// With one sweep a pass, coordinate descent is scikit-learn's, number for number, here from NNDSVDa.
#[test]
fn coordinate_descent_of_one_sweep_is_that_of_scikit_learn() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    for passes in [1, 10] {
        let want = &golden["cd"][passes.to_string()];
        let method = Nmf {
            k: 5,
            solver: NmfSolver::Cd,
            init: NmfInit::Nndsvda,
            sweeps: 1,
            max_passes: passes,
            tol: 0.0,
            ..Nmf::default()
        };
        let got = run(&method, &x.view()).expect("fit");
        close(&format!("loss after {passes}"), last(&got), number(&want["loss"]), 1e-5);
        let off = largest_difference(&got.model.parts.data, &numbers(&want["atoms"]));
        assert!(off < 1e-5, "atoms after {passes} are off by {off}");
    }
}

/// In as many passes as scikit-learn needs from NNDSVDa at its tolerance of 1e-4, coordinate descent ends no more than .1 % above it.
///
/// With one sweep a pass it ends in the same minimum. With several it may end in another: on the digits, where scikit-learn's
/// own ends from six random starts differ by 2 %, it is held to their mean.
#[test]
fn coordinate_descent_ends_where_scikit_learn_does() {
    let golden = golden();
    for name in ["planted", "digits", "counts"] {
        let want = &golden["objective"][name];
        let x = if name == "digits" {
            let (all, _) = data::load("digits").expect("digits");
            // Sixteenths of full ink, as scikit-learn's golden, in units that bring their mean near 1.
            Mat::new(300, all.cols, all.data[..300 * all.cols].iter().map(|v| v * 4.0).collect()).expect("digits")
        } else {
            matrix(&want["x"])
        };
        let starts = want["from random starts"].as_array().expect("losses");
        let mean = starts.iter().map(number).sum::<f64>() / starts.len() as f64;
        let (k, passes) = (want["k"].as_u64().expect("k") as usize, want["passes"].as_u64().expect("passes") as usize);
        let sparse = csr(&x);
        for rows in [x.view(), sparse.view()] {
            for sweeps in [1, Nmf::default().sweeps] {
                let method = Nmf {
                    k,
                    solver: NmfSolver::Cd,
                    init: NmfInit::Nndsvda,
                    sweeps,
                    max_passes: passes,
                    tol: 0.0,
                    ..Nmf::default()
                };
                let (got, theirs) = (last(&run(&method, &rows).expect("fit")), number(&want["loss"]));
                println!("{name}, {sweeps} sweeps: {got:.6}; scikit-learn {theirs:.6}, on average from random starts {mean:.6}");
                let most = if name == "digits" && sweeps > 1 { mean } else { theirs };
                assert!(got <= most * 1.001, "{name}, {sweeps} sweeps: {got}, scikit-learn {most}");
            }
        }
    }
}

/// A pass that gained nothing because it extrapolated too far is not the end: fits that stopped there came to 1.3 % above where these can come in the
/// mean, not .35 %.
#[test]
fn a_fit_does_not_end_where_it_only_went_too_far() {
    let (digits, _) = data::load("digits").expect("digits");
    let above = |seed| {
        let nmf = Nmf { k: 16, init: NmfInit::Random, seed, tol: 1e-4, ..Nmf::default() };
        let ended = last(&run(&nmf, &digits.view()).expect("fit"));
        ended / last(&run(&Nmf { tol: 0.0, max_passes: 200, ..nmf }, &digits.view()).expect("fit")) - 1.0
    };
    let mean = (0..8).map(above).sum::<f64>() / 8.0;
    assert!(mean <= 0.007, "{mean}");
}

/// Weights of rows never seen: the exact optimum, dense or sparse.
#[test]
fn encoding_is_the_exact_optimum() {
    let golden = &golden()["encode"];
    let (atoms, rows) = (matrix(&golden["atoms"]), matrix(&golden["rows"]));
    let sparse = csr(&rows);
    for (name, (solver, loss), tol) in [("squared", SOLVERS[1], 1e-4), ("divergence", SOLVERS[3], 1e-4)] {
        let (k, given) = (atoms.rows, Some(atoms.clone()));
        let method = Nmf { k, solver, loss, init: NmfInit::Given, given, encode_tol: 1e-6, ..Nmf::default() };
        // The atoms as they were given, but for their scale.
        let model = first_model(&method, &rows);
        for x in [rows.view(), sparse.view()] {
            let got = model.encode(&x).expect("codes").to_mat();
            for (i, want) in golden[name].as_array().expect("rows").iter().enumerate() {
                let want = numbers(want);
                let size = want.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(*v));
                let off = largest_difference(got.row(i), &want);
                assert!(off <= tol * size, "row {i}, {name}: off by {off} of {size}: {:?} {want:?}", got.row(i));
            }
        }
    }
}

// ---- at the edges ----

/// Random numbers of at least 0, a third of them 0.
fn random(rows: usize, cols: usize, seed: u64) -> Mat {
    let mut r = rng(seed, 1, 0);
    let value = |_| if r.uniform() < 0.33 { 0.0 } else { (0.1 + r.uniform()) as f32 };
    Mat { rows, cols, data: (0..rows * cols).map(value).collect() }
}

fn edges() -> Vec<(&'static str, Mat)> {
    let (n, d) = (30, 8);
    let plain = random(n, d, 1);
    let map = |f: &dyn Fn(usize, usize, f32) -> f32| {
        let data = plain.data.iter().enumerate().map(|(at, &v)| f(at / d, at % d, v)).collect();
        Mat { rows: n, cols: d, data }
    };
    let mut r = rng(2, 1, 0);
    let counts: Vec<f32> = (0..n * d).map(|_| if r.uniform() < 0.9 { 0.0 } else { r.below(40) as f32 }).collect();
    vec![
        ("zero rows", map(&|i, _, v| if i % 3 == 0 { 0.0 } else { v })),
        ("zero columns", map(&|_, j, v| if j % 3 == 0 { 0.0 } else { v })),
        ("all zeros", Mat::zeros(n, d)),
        ("one number", map(&|i, j, _| if (i, j) == (4, 3) { 2.5 } else { 0.0 })),
        ("rank one", map(&|i, j, _| (1 + i) as f32 * (1 + j) as f32)),
        ("all alike", map(&|_, _, _| 0.7)),
        ("tiny", map(&|_, _, v| v * 1e-30)),
        ("huge", map(&|_, _, v| v * 9e29)),
        ("tiny and huge columns", map(&|_, j, v| v * if j % 2 == 0 { 1e-30 } else { 9e29 })),
        ("tiny and huge rows", map(&|i, _, v| v * if i % 2 == 0 { 1e-30 } else { 9e29 })),
        ("one huge number", map(&|i, j, v| if (i, j) == (4, 3) { 1e30 } else { v })),
        ("a few denormals", map(&|i, j, v| if (i + j) % 3 == 0 { 1e-42 } else { v })),
        ("counts", Mat { rows: n, cols: d, data: counts }),
        ("one column", random(n, 1, 3)),
        ("one row", random(1, d, 4)),
        ("one number in all", random(1, 1, 5)),
        ("more columns than rows", random(5, 40, 6)),
    ]
}

/// Every solver from every start, with few atoms and with more than the rank, ends with finite results and a loss that never
/// rises, or is refused for a k that the start can't give.
#[test]
fn extreme_data_is_fitted() {
    for (name, x) in edges() {
        let (small, large) = (x.rows.min(x.cols), x.rows.max(x.cols));
        let mean_of = |power| x.data.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / x.data.len() as f64;
        for k in [1, 3.min(large), small, large] {
            for ((solver, loss), init) in SOLVERS.into_iter().flat_map(|s| STARTS.map(|i| (s, i))) {
                let what = format!("{name}, k = {k}, {solver:?} {loss} from {init:?}");
                let method = Nmf {
                    k,
                    solver,
                    loss,
                    init,
                    batch: 8,
                    max_passes: 25,
                    tol: 0.0,
                    encode_tol: 1e-6,
                    encode_max: 50_000,
                    ..Nmf::default()
                };
                let ended = run(&method, &x.view());
                if k > small && init != NmfInit::Random {
                    let said = ended.expect_err("refused").to_string();
                    assert!(
                        said.contains(&format!("the {small} singular vectors")) && said.contains("lower k"),
                        "{what}: {said}"
                    );
                    continue;
                }
                let fitted = ended.unwrap_or_else(|e| panic!("{what}: {e}"));
                // f32 products know the loss to about 1e-7 of what it is a small difference of, to 1e-6 where all rows round alike; and
                // they know a slope, at which an encoding ends, no better.
                let squared = loss == NmfLoss::Squared;
                let rounding = 2e-6 * mean_of(if squared { 2 } else { 1 });
                for p in fitted.curve.windows(2) {
                    assert!(p[1].loss <= p[0].loss + rounding, "{what}: {p:?}, rounding {rounding:e}");
                }
                let fine = |m: &Mat| m.data.iter().all(|v| v.is_finite() && *v >= 0.0);
                assert!(fitted.curve.iter().all(|p| p.loss.is_finite() && p.loss >= 0.0), "{what}: {:?}", fitted.curve);
                assert!(fine(&fitted.model.parts), "{what}: {:?}", fitted.model.parts);
                let codes = fitted.model.encode(&x.view()).expect("codes");
                assert!(fine(&codes.to_mat()), "{what}: {codes:?}");
                let back = fitted.model.decode(&codes).expect("rows");
                assert!(fine(&back), "{what}: {back:?}");
                if squared {
                    let errors = measure::errors(&fitted.model, &Memory::from(&x)).expect("errors");
                    let (is, said) = (errors.rmse.powi(2), last(&fitted));
                    assert!(is <= said * 1.001 + rounding, "{what}: encoding again gives {is}, the fit {said}");
                }
            }
        }
    }
}

#[test]
fn numbers_that_would_overflow_or_underflow_are_refused() {
    let mut x = random(20, 6, 7);
    let denormal = Mat { data: x.data.iter().map(|v| v * 1e-40).collect(), ..x };
    for ((solver, loss), init) in SOLVERS.into_iter().flat_map(|s| STARTS.map(|i| (s, i))) {
        let said = run(&Nmf { k: 2, solver, loss, init, ..Nmf::default() }, &denormal.view()).expect_err("refused").to_string();
        assert!(said.contains("1e-32") && said.contains("multiply the data"), "{said}");
    }
    for large in [2e30, 1e38] {
        x.data[9] = large;
        for (solver, loss) in SOLVERS {
            let said = run(&Nmf { k: 2, solver, loss, ..Nmf::default() }, &x.view()).expect_err("refused").to_string();
            assert!(said.contains("1e30") && said.contains("divide the data"), "{said}");
        }
    }
}

/// Rows to encode may be of any size, even where those of the fit may not.
#[test]
fn rows_of_any_size_are_encoded() {
    let x = random(30, 8, 9);
    for (solver, loss) in SOLVERS {
        let model = run(&Nmf { k: 3, solver, loss, ..Nmf::default() }, &x.view()).expect("fit").model;
        let plain = model.encode(&x.view()).expect("codes").to_mat();
        let largest = plain.data.iter().copied().fold(0.0, f32::max);
        for times in [1e-40f32, 1e-30, 1e30, 1e36] {
            let scaled = Mat { data: x.data.iter().map(|v| v * times).collect(), ..x };
            let codes = model.encode(&scaled.view()).expect("codes").to_mat();
            for (got, want) in codes.data.iter().zip(&plain.data) {
                let off = (f64::from(*got) / f64::from(times) - f64::from(*want)).abs();
                assert!(
                    off <= 1e-3 * f64::from(largest),
                    "{solver:?} {loss}, times {times:e}: {got:e} where plain rows have {want}"
                );
            }
        }
    }
}

/// Data without zeros to be found exactly is found exactly, whatever k: atoms past the rank do no harm.
#[test]
fn rank_one_is_explained_by_any_number_of_atoms() {
    let x = Mat { rows: 40, cols: 9, data: (0..360).map(|at| (1 + at / 9) as f32 * (1.0 + (at % 9) as f32)).collect() };
    let mean = x.data.iter().map(|&v| f64::from(v * v)).sum::<f64>() / 360.0;
    for k in [1, 2, 9, 40] {
        for (solver, loss) in SOLVERS {
            let model = run(&Nmf { k, solver, loss, tol: 0.0, max_passes: 300, ..Nmf::default() }, &x.view()).expect("fit").model;
            let rmse = measure::errors(&model, &Memory::from(&x)).expect("errors").rmse;
            assert!(rmse * rmse < 1e-6 * mean, "k = {k}, {solver:?} {loss}: {rmse} of {}", mean.sqrt());
        }
    }
}

// ---- dense and sparse ----

/// The same numbers stored either way take the same path: losses and atoms differ by rounding alone.
#[test]
fn dense_and_sparse_rows_agree() {
    let mut r = rng(8, 1, 0);
    // Newton's steps take rows with few numbers another way than full ones, whichever way they are stored.
    for zeros in [0.85, 0.93] {
        let mut counts = random(150, 70, 8);
        counts.data.iter_mut().for_each(|v| *v = if r.uniform() < zeros { 0.0 } else { (*v * 5.0).round() });
        let sparse = csr(&counts);
        let solvers = SOLVERS.into_iter().chain([(NmfSolver::Newton, NmfLoss::KullbackLeibler)]);
        for ((solver, loss), init) in solvers.flat_map(|s| STARTS.map(|i| (s, i))) {
            let method = Nmf { k: 6, solver, loss, init, batch: 40, max_passes: 20, tol: 0.0, ..Nmf::default() };
            let (a, b) = (run(&method, &counts.view()).expect("dense"), run(&method, &sparse.view()).expect("sparse"));
            let tol = if solver == NmfSolver::Cd { 1e-6 } else { 1e-5 };
            for (a, b) in a.curve.iter().zip(&b.curve) {
                close(&format!("loss of {solver:?} {loss} from {init:?}, pass {}", a.pass), b.loss, a.loss, tol);
            }
            let off = largest_difference(&a.model.parts.data, &b.model.parts.data);
            assert!(off < 1e-5, "{solver:?} {loss} from {init:?}: atoms differ by {off}");
        }
    }
}

/// Penalties are by the rows that are fitted; those of a start from some rows must not end atoms that all rows would keep.
#[test]
fn penalised_atoms_live_through_the_start() {
    let (digits, _) = data::load("digits").expect("digits");
    for (l1_ratio, init) in [(1.0, NmfInit::Nndsvda), (0.5, NmfInit::Nndsvda), (0.0, NmfInit::Random)] {
        let nmf = Nmf { k: 8, init, alpha_w: 0.002, alpha_h: 0.001, l1_ratio, tol: 1e-5, ..Nmf::default() };
        let parts = fit(&nmf, &Memory::from(&digits), Options::default()).expect("fit").model.parts;
        let alive = (0..8).filter(|a| parts.row(*a).iter().any(|v| *v > 0.0)).count();
        assert_eq!(alive, 8, "{l1_ratio} {init:?}");
    }
}
