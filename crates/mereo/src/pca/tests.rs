use super::*;
use crate::fold::{Fitted, Options, fit};
use crate::measure;
use crate::source::Memory;
use crate::tests::{faces, random, sparse};
use serde_json::Value;

const SOLVERS: [PcaSolver; 2] = [PcaSolver::Covariance, PcaSolver::Randomized];

/// n×d numbers whose spread falls along random directions, far from the origin.
fn data(n: usize, d: usize, seed: u64) -> Mat {
    let mut z = random(n, d, seed);
    for row in z.data.chunks_exact_mut(d) {
        row.iter_mut().enumerate().for_each(|(j, v)| *v *= 3.0 * 0.8f32.powf(j as f32));
    }
    let mut x = linalg::rows_times(&z.view(), &random(d, d, seed + 1000));
    for row in x.data.chunks_exact_mut(d) {
        row.iter_mut().enumerate().for_each(|(j, v)| *v += j as f32 - 5.0);
    }
    x
}

fn fitted(p: &Pca, x: &Rows) -> Fitted<PcaModel> {
    fit(p, &Memory::new(x.slice(0, x.rows())), Options::default()).expect("fit")
}

fn codes(model: &PcaModel, x: &Mat) -> Mat {
    model.encode(&x.view()).expect("encode").to_mat()
}

fn rebuilt(model: &PcaModel, x: &Mat) -> Mat {
    model.decode(&model.encode(&x.view()).expect("encode")).expect("decode")
}

fn squared_error(model: &PcaModel, x: &Mat) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    x.data.iter().zip(&rebuilt(model, x).data).map(square).sum::<f64>() / x.data.len() as f64
}

/// The largest difference of two lists of numbers.
fn off<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| (a.into() - b.into()).abs()).fold(0.0, f64::max)
}

/// Each row of `b` turned the way that the same row of `a` points.
fn turned(a: &Mat, b: &Mat) -> (Mat, Vec<f32>) {
    let signs: Vec<f32> = (0..a.rows).map(|i| if linalg::dot(a.row(i), b.row(i)) < 0.0 { -1.0 } else { 1.0 }).collect();
    let mut b = b.clone();
    for (row, sign) in b.data.chunks_exact_mut(b.cols).zip(&signs) {
        row.iter_mut().for_each(|v| *v *= sign);
    }
    (b, signs)
}

#[test]
fn reported_loss_is_the_reconstruction_loss() {
    let x = data(700, 40, 1);
    for solver in SOLVERS {
        for (center, whiten) in [(true, false), (true, true), (false, false), (false, true)] {
            let p = Pca { k: 5, center, whiten, solver, ..Pca::default() };
            let f = fitted(&p, &x.view());
            let per_entry = f.model.total_variance / 40.0;
            let (said, is) = (f.curve.last().expect("pass").loss, squared_error(&f.model, &x));
            assert!((said - is).abs() < 1e-6 * per_entry, "{p:?}: {said} {is}");
        }
    }
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("array").iter().map(|v| v.as_f64().expect("number")).collect()
}

#[test]
fn scikit_learn_and_numpy_agree() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/pca.json")).expect("json");
    for (name, g) in golden["cases"].as_object().expect("cases") {
        let count = |key: &str| g[key].as_u64().expect("count") as usize;
        let (n, d, k, sure) = (count("rows"), count("cols"), count("k"), count("sure"));
        let single = |v: &Value| numbers(v).into_iter().map(|v| v as f32).collect::<Vec<f32>>();
        let x = Mat::new(n, d, single(&g["x"])).expect("x");
        let axes = Mat::new(sure, d, single(&g["axes"])).expect("axes");
        let variances = numbers(&g["variances"]);
        let center = g["center"].as_bool().expect("center");
        for solver in SOLVERS {
            let model = fitted(&Pca { k, center, whiten: true, solver, ..Pca::default() }, &x.view()).model;
            let of = |what: &str, off: f64, limit: f64| {
                assert!(off <= limit, "{name}, {solver:?}: {what} off by {off:e}");
            };
            let (top, length) = (variances[0], numbers(&g["singular_values"])[0]);
            let mean = single(&g["mean"]);
            let size = x.data.iter().fold(0f32, |a, v| a.max(v.abs()));
            of("mean", off(&model.mean, &mean), f64::from(size * f32::EPSILON));
            of("variances", off(model.explained_variance(), &variances) / top, 1e-6);
            of("shares", off(&model.explained_variance_ratio(), &numbers(&g["ratio"])), 1e-6);
            let squares = |lengths: &[f64]| lengths.iter().map(|l| (l / length).powi(2)).collect::<Vec<f64>>();
            let lengths = [squares(&model.singular_values()), squares(&numbers(&g["singular_values"]))];
            of("squares of singular values", off(&lengths[0], &lengths[1]), 1e-6);
            of("noise", (model.noise_variance() - g["noise_variance"].as_f64().expect("noise")).abs() / top, 1e-6);
            let found = Mat { rows: sure, cols: d, data: model.axes.data[..sure * d].to_vec() };
            let (found, signs) = turned(&axes, &found);
            of("axes", off(&found.data, &axes.data), 1e-5);
            let z = codes(&model, &Mat { rows: 20.min(n), cols: d, data: x.data[..20.min(n) * d].to_vec() });
            let z: Vec<f32> =
                (0..z.rows).flat_map(|i| z.row(i)[..sure].iter().zip(&signs).map(|(z, s)| z * s).collect::<Vec<_>>()).collect();
            // The mean is f32: far from zero, its last digit shows.
            of(
                "codes",
                off(&z, &numbers(&g["whitened"])),
                1e-5_f64.max(f64::from(size * f32::EPSILON) / variances[sure - 1].sqrt()),
            );
        }
    }
}

/// Rows along orthonormal directions of known lengths.
fn spectrum(n: usize, d: usize, length: impl Fn(usize) -> f64) -> Mat {
    let wide = |m: Mat| m.data.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let axes = linalg::orthonormal(&wide(random(d, d, 8)), d, d);
    let mut z = random(n, d, 9);
    for row in z.data.chunks_exact_mut(d) {
        row.iter_mut().enumerate().for_each(|(j, v)| *v *= length(j) as f32);
    }
    let mut x = linalg::rows_times(&z.view(), &Mat { rows: d, cols: d, data: axes.iter().map(|&v| v as f32).collect() });
    x.data.iter_mut().for_each(|v| *v += 0.1);
    x
}

/// Variances to 1e-5 of the largest; cosines of the axes to 1e-5 of 1, since the squares of neighbouring lengths are apart.
#[test]
fn the_randomised_solver_finds_what_the_exact_one_does() {
    type Spectrum = (&'static str, fn(usize) -> f64);
    let spectra: [Spectrum; 3] = [
        ("by a fifth each", |j| 0.8f64.powf(j as f64)),
        ("as 1/j", |j| 1.0 / (1.0 + j as f64)),
        ("as 1/√j", |j| 1.0 / (1.0 + j as f64).sqrt()),
    ];
    for (name, length) in spectra {
        let x = spectrum(900, 160, length);
        for center in [true, false] {
            let [exact, random] = SOLVERS.map(|solver| fitted(&Pca { k: 8, center, solver, ..Pca::default() }, &x.view()).model);
            let top = exact.variances[0];
            let share = off(&exact.variances, &random.variances) / top;
            let worst = (0..8).map(|i| 1.0 - linalg::dot(exact.axes.row(i), random.axes.row(i))).fold(0.0, f64::max);
            assert!(share < 1e-5, "falling {name}: variances differ by {share:e}");
            assert!(worst < 1e-5, "falling {name}: an axis has a cosine of 1 - {worst:e}");
            assert!((random.total_variance / exact.total_variance - 1.0).abs() < 1e-6);
            assert!(off(&exact.mean, &random.mean) < 1e-6);
        }
    }
}

#[test]
fn sparse_rows_agree_with_dense_ones() {
    let mut x = data(500, 30, 3);
    x.data.iter_mut().for_each(|v| *v = if *v < 2.0 { 0.0 } else { *v });
    let csr = sparse(&x);
    for solver in SOLVERS {
        for (center, whiten) in [(true, false), (true, true), (false, false), (false, true)] {
            let p = Pca { k: 6, center, whiten, solver, ..Pca::default() };
            let (dense, thin) = (fitted(&p, &x.view()).model, fitted(&p, &csr.view()).model);
            let top = dense.variances[0];
            let (v, a) = (off(&dense.variances, &thin.variances) / top, off(&dense.axes.data, &thin.axes.data));
            let z = off(&codes(&dense, &x).data, &thin.encode(&csr.view()).expect("encode").to_mat().data);
            let same = off(&codes(&dense, &x).data, &dense.encode(&csr.view()).expect("encode").to_mat().data);
            let limit = if center { 1e-5 } else { 1e-4 };
            // About zero the first variance is far above the others, and f32 products know all of them to 1e-7 of it.
            assert!(v < 1e-6 && a < limit, "{p:?}: variances {v:e}, axes {a:e}");
            let scale = if whiten { 1.0 } else { top.sqrt() };
            assert!(z < 10.0 * limit * scale && same < 1e-5 * scale, "{p:?}: codes {z:e} {same:e}");
        }
    }
}

#[test]
fn whitening_is_undone() {
    let x = data(300, 12, 4);
    for center in [true, false] {
        let [plain, white] = [false, true].map(|whiten| fitted(&Pca { k: 5, center, whiten, ..Pca::default() }, &x.view()).model);
        assert_eq!((&plain.axes, &plain.variances), (&white.axes, &white.variances));
        assert!(off(&codes(&plain, &x).data, &codes(&white, &x).data) > 1.0, "whitened codes are others");
        let size = x.data.iter().fold(0f32, |a, v| a.max(v.abs()));
        let o = off(&rebuilt(&plain, &x).data, &rebuilt(&white, &x).data) / f64::from(size);
        assert!(o < 1e-6, "{o:e}");
    }
}

#[test]
fn whitened_codes_have_variance_one_and_no_covariance() {
    let x = data(400, 20, 5);
    for solver in SOLVERS {
        for center in [true, false] {
            let z = codes(&fitted(&Pca { k: 7, center, whiten: true, solver, ..Pca::default() }, &x.view()).model, &x);
            let mut moments = vec![0.0; 49];
            linalg::add_tn(&mut moments, &z.data, &z.view());
            let count = if center { 399.0 } else { 400.0 };
            for (at, m) in moments.iter().enumerate() {
                let want = f64::from(u8::from(at / 7 == at % 7));
                assert!((m / count - want).abs() < 1e-4, "{solver:?}, {center}, {at}: {}", m / count);
            }
            if center {
                for a in 0..7 {
                    let mean = (0..400).map(|i| f64::from(z.row(i)[a])).sum::<f64>() / 400.0;
                    assert!(mean.abs() < 1e-5, "{mean:e}");
                }
            }
        }
    }
}

/// Of rank 3, in 9 columns.
fn low_rank(n: usize) -> Mat {
    linalg::rows_times(&random(n, 3, 6).view(), &random(3, 9, 7))
}

#[test]
fn axes_are_orthonormal_ordered_and_of_one_sign() {
    let constant = Mat { rows: 20, cols: 4, data: [3.0, 0.1, -7.0, 0.0].repeat(20) };
    for (x, k) in [(data(60, 12, 1), 12), (data(8, 30, 2), 8), (low_rank(50), 9), (constant, 4)] {
        for solver in SOLVERS {
            for center in [true, false] {
                let model = fitted(&Pca { k, center, solver, ..Pca::default() }, &x.view()).model;
                assert!(model.variances.windows(2).all(|w| w[0] >= w[1] && w[1] >= 0.0), "{:?}", model.variances);
                for a in 0..k {
                    let row = model.axes.row(a);
                    for b in 0..=a {
                        let want = f64::from(u8::from(a == b));
                        let dot = linalg::dot(row, model.axes.row(b));
                        assert!((dot - want).abs() < 1e-6, "{solver:?}, {k} of {}: axes {a} and {b}: {dot}", x.cols);
                    }
                    let (least, most) = row.iter().fold((0f32, 0f32), |(a, b), &v| (a.min(v), b.max(v)));
                    assert!(most >= -least, "{solver:?}: axis {a} points to {least}, {most}");
                }
            }
        }
    }
}

#[test]
fn constant_columns_have_no_part_in_any_axis() {
    let mut x = data(200, 9, 2);
    for row in x.data.chunks_exact_mut(9) {
        row[4] = 1e4;
    }
    for solver in SOLVERS {
        for whiten in [false, true] {
            let model = fitted(&Pca { k: 8, whiten, solver, ..Pca::default() }, &x.view()).model;
            assert_eq!(model.mean[4], 1e4);
            let worst = (0..8).map(|a| model.axes.row(a)[4].abs()).fold(0.0, f32::max);
            assert!(worst < if solver == PcaSolver::Covariance { 1e-6 } else { 1e-5 }, "{solver:?}: {worst:e}");
            let back = rebuilt(&model, &x);
            assert!((0..200).all(|i| (back.row(i)[4] - 1e4).abs() < 1e-2));
            assert!(off(&back.data, &x.data) < 1e-2, "all that varies is on eight axes: {}", off(&back.data, &x.data));
        }
    }
}

#[test]
fn rows_that_are_all_alike_are_their_mean() {
    let x = Mat { rows: 30, cols: 4, data: [3.0, 0.1, -7.0, 0.0].repeat(30) };
    for solver in SOLVERS {
        for whiten in [false, true] {
            let model = fitted(&Pca { k: 2, whiten, solver, ..Pca::default() }, &x.view()).model;
            assert_eq!(
                (model.variances.as_slice(), model.total_variance, model.noise_variance()),
                ([0.0; 2].as_slice(), 0.0, 0.0)
            );
            assert_eq!(model.explained_variance_ratio(), [0.0; 2]);
            assert_eq!(rebuilt(&model, &x), x);
            assert!(codes(&model, &x).data.iter().all(|z| *z == 0.0));
        }
    }
}

#[test]
fn axes_that_span_the_rows_rebuild_them() {
    // All axes are exact; those that just span the rows have to be found, in f32.
    for (x, k, limit) in [(data(100, 12, 3), 12, 1e-6), (data(12, 40, 4), 12, 1e-4), (low_rank(40), 3, 1e-6)] {
        let size = f64::from(x.data.iter().fold(0f32, |a, v| a.max(v.abs())));
        for solver in SOLVERS {
            for (center, whiten) in [(true, false), (true, true), (false, false), (false, true)] {
                let f = fitted(&Pca { k, center, whiten, solver, ..Pca::default() }, &x.view());
                let o = off(&rebuilt(&f.model, &x).data, &x.data) / size;
                assert!(o < limit, "{solver:?} {center} {whiten}: {o:e}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_code_in_any_company() {
    let x = data(1100, 70, 6);
    let model = fitted(&Pca { k: 20, whiten: true, ..Pca::default() }, &x.view()).model;
    let together = codes(&model, &x);
    let thin = sparse(&x);
    let thin_together = model.encode(&thin.view()).expect("encode").to_mat();
    for i in [0, 1, 511, 512, 1099] {
        let alone = |rows: Rows| model.encode(&rows.slice(i, i + 1)).expect("encode").to_mat();
        assert_eq!(alone(x.view()).data, together.row(i), "row {i}");
        assert_eq!(alone(thin.view()).data, thin_together.row(i));
    }
}

/// The row on PCA of Lee & Seung's experiment (V·Vᵀ, 49 axes), worked out beforehand in Python.
#[test]
fn eigenfaces_of_cbcl() {
    let Some(x) = faces() else { return };
    for solver in SOLVERS {
        let model = fitted(&Pca { k: 49, center: false, solver, ..Pca::default() }, &x.view()).model;
        let e = measure::errors(&model, &Memory::from(&x)).expect("errors");
        let m = measure::atoms(&model.axes, Some((19, 19)));
        let z = measure::codes(&model.encode(&x.view()).expect("encode"));
        let of = [
            ("RMSE", e.rmse, 0.058_879_83, 1e-6),
            ("relative error", e.relative, 0.169_706_60, 1e-6),
            ("Hoyer of axes", m.sparseness.mean, 0.228_353_63, 1e-4),
            ("small entries", m.small.mean, 0.029_792_53, 1e-3),
            ("overlap", m.overlap.mean, 0.0, 1e-6),
            ("spread", m.spread.expect("image").mean, 1.039_930_51, 1e-4),
            ("largest piece", m.largest.expect("image").mean, 0.388_907_98, 1e-3),
            ("Hoyer of an axis' codes", z.atom_sparseness.mean, 0.208_817_02, 1e-4),
            ("Hoyer of a row's codes", z.row_sparseness, 0.654_414_41, 1e-4),
        ];
        for (what, is, want, limit) in of {
            assert!((is - want).abs() < limit, "{solver:?}: {what} is {is}, not {want}");
        }
    }
}
