use super::tiles::{Out, Scan, Tiles, Top, WIDE, Waiting};
use super::*;
use crate::fold::{Fitted, Options, fit};
use crate::mat::{DenseRows, Weights};
use crate::source::{Memory, Source, Weighted};
use crate::tests::{faces, sparse};
use pulp::{Scalar, Scalar128b, Scalar256b, Scalar512b, WithSimd};

/// n rows around k planted centres of d columns, `spread` apart from them; the labels too.
fn planted(n: usize, d: usize, k: usize, spread: f64, seed: u64) -> (Mat, Vec<usize>) {
    let mut r = rng(seed, stream::SYNTH, 0);
    let centres: Vec<f64> = (0..k * d).map(|_| r.normal()).collect();
    let mut x = Mat::zeros(n, d);
    let mut labels = Vec::with_capacity(n);
    for i in 0..n {
        let c = r.below(k);
        labels.push(c);
        for j in 0..d {
            x.row_mut(i)[j] = (centres[c * d + j] + spread * r.normal()) as f32;
        }
    }
    (x, labels)
}

fn run(method: &Vq, x: &Mat) -> Fitted<VqModel> {
    fit(method, &Memory::from(x), Options::default()).expect("fit")
}

fn far(x: &[f32], c: &[f32]) -> f64 {
    x.iter().zip(c).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// Nearest centre by plain loops in f64.
fn plain(x: &Mat, centres: &Mat) -> (Vec<u32>, f64) {
    let mut inertia = 0.0;
    let nearest = |i: usize| {
        let near = |b: usize, c: usize| if far(x.row(i), centres.row(c)) < far(x.row(i), centres.row(b)) { c } else { b };
        let best = (0..centres.rows).fold(0, near);
        inertia += far(x.row(i), centres.row(best));
        best as u32
    };
    ((0..x.rows).map(nearest).collect(), inertia)
}

#[test]
fn scores_agree_with_plain_loops_for_every_vector_length() {
    let mut r = rng(1, 0, 0);
    for (n, d, k) in [(1, 1, 1), (13, 3, 17), (7, 64, 16), (6, 513, 33), (20, 1030, 50)] {
        let mut random = |rows: usize| Mat { rows, cols: d, data: (0..rows * d).map(|_| r.normal() as f32).collect() };
        let (x, c) = (random(n), random(k));
        let csr = sparse(&x);
        let tiles = Tiles::new(&c);
        let dense = Waiting::Dense(&x.data);
        let view = csr.view();
        let Rows::Sparse(rows) = &view else { unreachable!() };
        let thin = Waiting::Sparse((0..n).map(|i| rows.row(i)).collect());
        let list: Vec<u32> = (0..n as u32).rev().collect();
        for (kind, rows) in [&dense, &thin].into_iter().enumerate() {
            for lanes in [0, 1, 4, 8, 16] {
                let mut tops = vec![Top::NONE; n];
                let out = Out::Tops(&mut tops);
                let scan = Scan { centres: &tiles, tiles: 0..k.div_ceil(WIDE), rows, list: &list, out };
                match lanes {
                    0 => pulp::Arch::new().dispatch(scan),
                    1 => scan.with_simd(Scalar),
                    4 => scan.with_simd(Scalar128b),
                    8 => scan.with_simd(Scalar256b),
                    _ => scan.with_simd(Scalar512b),
                }
                for (&i, top) in list.iter().zip(&tops) {
                    let row = x.row(i as usize);
                    let score = |c: &[f32]| (crate::linalg::dot(row, row) - far(row, c)) / 2.0;
                    let mut want: Vec<(f64, u32)> = (0..k).map(|a| (score(c.row(a)), a as u32)).collect();
                    want.sort_by(|a, b| b.0.total_cmp(&a.0));
                    let off = tiles.rounding(crate::linalg::dot(row, row).sqrt(), d);
                    assert!(off < 2e-4 * d as f64);
                    assert_eq!(top.at, want[0].1, "{n} {d} {k}, kind {kind}, {lanes} lanes");
                    assert!((f64::from(top.best) - want[0].0).abs() < off);
                    assert!(k == 1 || (f64::from(top.second) - want[1].0).abs() < off);
                }
            }
        }
    }
}

#[test]
fn of_equal_scores_the_first_wins() {
    let centres = Mat { rows: 40, cols: 2, data: [[5.0, 5.0], [1.0, 2.0]].concat().repeat(20) };
    let x = Mat { rows: 3, cols: 2, data: vec![1.0, 2.0, 0.0, 0.0, 9.0, 9.0] };
    let model = VqModel { atoms: centres, counts: vec![0; 40], inertia: 0.0, metric: VqMetric::Euclidean };
    assert_eq!(model.assign(&x.view()).expect("dense"), [1, 1, 0]);
    assert_eq!(model.assign(&sparse(&x).view()).expect("sparse"), [1, 1, 0]);
}

/// Passes from a given start, as the driver makes them; checks every pass against plain loops.
fn passes(method: &Vq, state: &mut VqState, x: &Mat, memo: &mut [f32], count: usize) -> Vec<(f64, f64)> {
    let mut losses = Vec::new();
    for pass in 0..count {
        let frame = state.frame(false);
        let seen = Cells::new(frame, &state.centres, &state.moved).settle(&x.view(), memo);
        let mut shifted = x.clone();
        for row in shifted.data.chunks_exact_mut(x.cols) {
            row.iter_mut().zip(&state.shift).for_each(|(v, s)| *v -= s);
        }
        let (want, _) = plain(&shifted, &state.centres);
        for (i, (s, w)) in seen.iter().zip(want).enumerate() {
            let (got, least) =
                (far(shifted.row(i), state.centres.row(s.to as usize)), far(shifted.row(i), state.centres.row(w as usize)));
            assert!(got <= least * (1.0 + 1e-12), "pass {pass}, row {i}: {got} in cell {}, {least} in {w}", s.to);
        }
        let skipped = seen.iter().filter(|s| s.square == 0.0 && s.from == s.to).count() as f64 / x.rows as f64;
        let mut sums = method.zero(state);
        if memo.is_empty() {
            sums.whole.take(frame, &x.view(), None, &seen);
        } else {
            sums.rows = [x.rows as f64, seen.iter().filter(|s| s.from == NOWHERE).count() as f64];
            sums.change.take(frame, &x.view(), None, &seen);
        }
        let progress = method.update(state, sums).expect("update");
        losses.push((progress.loss, skipped));
        if progress.done {
            break;
        }
    }
    losses
}

#[test]
fn every_pass_is_exact_and_the_bounds_skip_most_of_it() {
    let (clouds, _) = planted(3000, 12, 30, 0.4, 5);
    let mut r = rng(2, 0, 0);
    // Small whole numbers: rows that are equal, and rows that are as far from one centre as from another.
    let grid = Mat { rows: 2000, cols: 3, data: (0..6000).map(|_| r.below(5) as f32).collect() };
    // Close together, far away: products of the raw numbers would say nothing.
    let mut offset = clouds.clone();
    offset.data.iter_mut().for_each(|v| *v = *v * 1e-2 + 3000.0);
    for (name, x, k, skip) in [("clouds", &clouds, 70, 0.5), ("grid", &grid, 20, 0.0), ("offset", &offset, 70, 0.5)] {
        let method = Vq { k, tol: 0.0, seed: 4, sample: Some(k.max(200)), ..Vq::default() };
        let shape = Shape { rows: x.rows, cols: x.cols };
        let mut state = method.init(&x.view().slice(0, 200), shape, 0).expect("init");
        let mut memo = vec![0.0; x.rows * cells::memo_width(k)];
        let losses = passes(&method, &mut state, x, &mut memo, 60);
        assert!(losses.len() > 2, "{name}");
        assert!(losses.windows(2).all(|w| w[1].0 <= w[0].0 * (1.0 + 1e-12)), "{name} {losses:?}");
        assert!(losses.last().expect("a pass").1 >= skip, "{name} {losses:?}");
    }
}

#[test]
fn passes_agree_with_scikit_learn() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/vq.json")).expect("json");
    let numbers = |v: &serde_json::Value| -> Vec<f32> {
        v.as_array().expect("array").iter().map(|v| v.as_f64().expect("number") as f32).collect()
    };
    let (n, d) = (golden["rows"].as_u64().expect("rows") as usize, golden["cols"].as_u64().expect("cols") as usize);
    let x = Mat::new(n, d, numbers(&golden["x"])).expect("x");
    let start = Mat::new(9, d, numbers(&golden["start"])).expect("start");
    let method = Vq { k: 9, tol: 0.0, ..Vq::default() };
    for count in [1, 3, 300] {
        let want = &golden[format!("after {count}")];
        for width in [0, cells::memo_width(9)] {
            let mut state = VqState::at(start.clone(), vec![0.0; d]);
            let losses = passes(&method, &mut state, &x, &mut vec![0.0; n * width], count);
            for (a, b) in state.centres.data.iter().zip(numbers(&want["centres"])) {
                assert!((a - b).abs() < 1e-5, "after {count}: {a} {b}");
            }
            let inertia = want["inertia"].as_f64().expect("inertia");
            let (cells, mine) = plain(&x, &state.centres);
            assert!((mine / inertia - 1.0).abs() < 1e-6, "after {count}: {mine} {inertia}");
            assert_eq!(cells.iter().map(|c| *c as f32).collect::<Vec<_>>(), numbers(&want["labels"]));
            if count == 300 {
                let reported = losses.last().expect("a pass").0 * (n * d) as f64;
                assert!((reported / inertia - 1.0).abs() < 1e-9, "{reported} {inertia}");
            }
        }
    }
}

#[test]
fn planted_clusters_are_found() {
    for (n, d, k) in [(600, 2, 5), (1500, 37, 20), (700, 8, 40)] {
        let (x, labels) = planted(n, d, k, 0.02, 3);
        let fitted = run(&Vq { k, ..Vq::default() }, &x);
        let cells = fitted.model.assign(&x.view()).expect("assign");
        let mut name = vec![u32::MAX; k];
        for (&label, &cell) in labels.iter().zip(&cells) {
            if name[label] == u32::MAX {
                name[label] = cell;
            }
            assert_eq!(name[label], cell, "k = {k}");
        }
        let (want, inertia) = plain(&x, &fitted.model.atoms);
        assert_eq!(cells, want);
        assert!((fitted.model.inertia / inertia - 1.0).abs() < 1e-6, "{} {inertia}", fitted.model.inertia);
        assert!(fitted.model.counts.windows(2).all(|w| w[0] >= w[1]));
        assert_eq!(fitted.model.counts.iter().sum::<u64>(), n as u64);
    }
}

#[test]
fn blocks_threads_and_memory_do_not_matter() {
    let (x, _) = planted(3000, 20, 25, 0.5, 8);
    let method = Vq { k: 40, sample: Some(500), ..Vq::default() };
    let whole = run(&method, &x);
    assert!(whole.curve.len() > 5);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        assert_eq!(pool.install(|| run(&method, &x)).model, whole.model, "{threads} threads");
    }
    for step in [1, 97] {
        let cut = fit(&method, &Memory::cut(x.view(), step), Options::default()).expect("fit");
        assert_eq!(cut.model, whole.model, "blocks of {step}");
    }
    let short = fit(&method, &Memory::from(&x), Options { memory: Some(1000), ..Options::default() }).expect("fit");
    assert_eq!(short.curve.len(), whole.curve.len());
    assert_eq!(short.model.counts, whole.model.counts);
    assert_eq!(short.model.atoms, whole.model.atoms);
}

#[test]
fn workers_with_and_without_room_for_the_memo_agree() {
    let (x, _) = planted(900, 6, 8, 0.5, 2);
    let method = Vq { k: 12, sample: Some(100), ..Vq::default() };
    let whole = run(&method, &x);
    let shape = Shape { rows: 900, cols: 6 };
    let sample = crate::fold::draw(&Memory::from(&x), 100, 0).expect("sample").to_mat();
    let mut state = method.init(&sample.view(), shape, 0).expect("init");
    let mut memo = vec![0.0; 500 * cells::memo_width(12)];
    loop {
        let mut sums = method.zero(&state);
        method.observe(&state, &x.view().slice(0, 500), 0, &mut memo, &mut sums).expect("observe");
        method.observe(&state, &x.view().slice(500, 900), 500, &mut [], &mut sums).expect("observe");
        if method.update(&mut state, sums).expect("update").done {
            break;
        }
    }
    assert_eq!(method.model(state.clone()).expect("model").atoms, whole.model.atoms);
    // A run that is resumed with its memo gone starts its sums anew.
    let mut sums = method.zero(&state);
    memo.fill(0.0);
    method.observe(&state, &x.view().slice(0, 500), 0, &mut memo, &mut sums).expect("observe");
    method.observe(&state, &x.view().slice(500, 900), 500, &mut [], &mut sums).expect("observe");
    method.update(&mut state, sums).expect("update");
    assert_eq!(state.counts.iter().sum::<f64>(), 900.0);
}

#[test]
fn sparse_rows_agree_with_dense_ones() {
    let (mut x, _) = planted(800, 30, 9, 0.3, 6);
    x.data.iter_mut().for_each(|v| *v = if *v < 0.5 { 0.0 } else { *v });
    for metric in [VqMetric::Euclidean, VqMetric::Spherical] {
        let keep: Vec<usize> = (0..x.rows).filter(|i| x.row(*i).iter().any(|v| *v != 0.0)).collect();
        let x = Mat { rows: keep.len(), cols: 30, data: keep.iter().flat_map(|i| x.row(*i).to_vec()).collect() };
        let csr = sparse(&x);
        let method = Vq { k: 9, metric, n_init: 2, ..Vq::default() };
        let dense = run(&method, &x).model;
        let thin = fit(&method, &Memory::from(&csr), Options::default()).expect("fit").model;
        assert_eq!(dense.counts, thin.counts);
        assert!((dense.inertia / thin.inertia - 1.0).abs() < 1e-6, "{} {}", dense.inertia, thin.inertia);
        for (a, b) in dense.atoms.data.iter().zip(&thin.atoms.data) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        let (a, b) = (dense.encode(&x.view()).expect("codes"), dense.encode(&csr.view()).expect("codes"));
        let (Codes::Sparse(a), Codes::Sparse(b)) = (a, b) else { panic!("codes are sparse") };
        assert_eq!(a.indices, b.indices);
        assert!(a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn empty_cells_get_half_of_the_heaviest() {
    let (x, _) = planted(400, 5, 4, 0.1, 1);
    let method = Vq { k: 4, tol: 0.0, ..Vq::default() };
    let best = run(&Vq { n_init: 5, ..method.clone() }, &x).model.inertia;
    // All but one of the centres are where no row is.
    let mut centres = Mat::zeros(4, 5);
    centres.data[5..].fill(1e3);
    let mut state = VqState::at(centres, vec![0.0; 5]);
    let mut memo = vec![0.0; 400 * cells::memo_width(4)];
    let losses = passes(&method, &mut state, &x, &mut memo, 100);
    assert!(state.counts.iter().all(|c| *c > 0.0), "{:?}", state.counts);
    assert!(state.inertia <= best * 1.0001 || losses.len() > 3, "{} {best}", state.inertia);
    assert!(losses.windows(2).all(|w| w[1].0 <= w[0].0 * (1.0 + 1e-12)), "{losses:?}");
    assert!(losses.last().expect("a pass").0 < 0.5 * losses[0].0, "{losses:?}");
}

#[test]
fn fewer_different_rows_than_cells_end_well() {
    let three = Mat { rows: 30, cols: 2, data: [[0.0, 0.0], [1.0, 5.0], [1e6, -2.0]].concat().repeat(10) };
    let constant = Mat { rows: 50, cols: 3, data: vec![0.1; 150] };
    for (x, k) in [(&three, 7), (&three, 30), (&constant, 1), (&constant, 5), (&constant, 50)] {
        for memory in [None, Some(0)] {
            let method = Vq { k, tol: 0.0, ..Vq::default() };
            let fitted = fit(&method, &Memory::from(x), Options { memory, ..Options::default() }).expect("fit");
            assert!(fitted.curve.len() <= 3, "{:?}", fitted.curve);
            assert!(fitted.model.atoms.data.iter().all(|v| v.is_finite()));
            let back = fitted.model.decode(&fitted.model.encode(&x.view()).expect("encode")).expect("decode");
            assert!(back.data.iter().zip(&x.data).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()), "k = {k}");
        }
    }
}

#[test]
fn one_cell_is_the_mean_and_as_many_as_rows_are_the_rows() {
    let (x, _) = planted(60, 1, 3, 1.0, 4);
    let one = run(&Vq { k: 1, ..Vq::default() }, &x).model;
    let mean = x.data.iter().map(|v| f64::from(*v)).sum::<f64>() / 60.0;
    assert!((f64::from(one.atoms.data[0]) - mean).abs() < 1e-6);
    let all = run(&Vq { k: 60, ..Vq::default() }, &x).model;
    assert!(all.inertia < 1e-10, "{}", all.inertia);
}

#[test]
fn spherical_sees_directions_only() {
    let (x, labels) = planted(500, 10, 6, 0.1, 9);
    let mut scaled = x.clone();
    let mut r = rng(3, 0, 0);
    for i in 0..500 {
        let s = (3.0 * r.normal()).exp() as f32;
        scaled.row_mut(i).iter_mut().for_each(|v| *v *= s);
    }
    let method = Vq { k: 6, metric: VqMetric::Spherical, n_init: 3, tol: 0.0, ..Vq::default() };
    let model = run(&method, &scaled).model;
    let cells = model.assign(&scaled.view()).expect("assign");
    assert_eq!(cells, model.assign(&x.view()).expect("assign"));
    for a in 0..6 {
        assert!((crate::linalg::dot(model.atoms.row(a), model.atoms.row(a)) - 1.0).abs() < 1e-6);
    }
    for (i, j) in (0..500).flat_map(|i| (0..i).map(move |j| (i, j))) {
        assert_eq!(labels[i] == labels[j], cells[i] == cells[j]);
    }
    // Each centre is the direction of the sum of its unit rows, and the inertia the sum of 1 - cos.
    let norm = |v: &[f32]| crate::linalg::dot(v, v).sqrt();
    let mut inertia = 0.0;
    let mut sums = vec![0f64; 60];
    for i in 0..500 {
        let c = cells[i] as usize;
        inertia += 1.0 - crate::linalg::dot(x.row(i), model.atoms.row(c)) / norm(x.row(i));
        for j in 0..10 {
            sums[c * 10 + j] += f64::from(x.row(i)[j]) / norm(x.row(i));
        }
    }
    assert!((model.inertia / inertia - 1.0).abs() < 1e-4, "{} {inertia}", model.inertia);
    for (a, sum) in sums.chunks_exact(10).enumerate() {
        let length = sum.iter().map(|s| s * s).sum::<f64>().sqrt();
        assert!(sum.iter().zip(model.atoms.row(a)).all(|(s, c)| (s / length - f64::from(*c)).abs() < 1e-6));
    }
    // A reconstruction is the projection on the codeword.
    let back = model.decode(&model.encode(&scaled.view()).expect("encode")).expect("decode");
    for i in 0..500 {
        let atom = model.atoms.row(cells[i] as usize);
        let left: Vec<f32> = scaled.row(i).iter().zip(back.row(i)).map(|(a, b)| a - b).collect();
        assert!(crate::linalg::dot(&left, atom).abs() < 1e-5 * norm(scaled.row(i)));
    }
}

/// Rows that count as `weights` say.
fn weighing<'a>(x: &'a Mat, weights: &'a [f32]) -> Rows<'a> {
    Rows::Dense(DenseRows { cols: x.cols, data: x.data.as_slice().into(), weights: Some(Weights::Rows(weights.into())) })
}

/// Every row as often as its whole weight says.
fn repeated(x: &Mat, weights: &[f32]) -> Mat {
    let data: Vec<f32> = (0..x.rows).flat_map(|i| x.row(i).repeat(weights[i] as usize)).collect();
    Mat { rows: data.len() / x.cols, cols: x.cols, data }
}

#[test]
fn given_centres_are_the_start_and_keep_their_order() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/vq.json")).expect("json");
    let numbers = |v: &serde_json::Value| -> Vec<f32> {
        v.as_array().expect("array").iter().map(|v| v.as_f64().expect("number") as f32).collect()
    };
    let (n, d) = (golden["rows"].as_u64().expect("rows") as usize, golden["cols"].as_u64().expect("cols") as usize);
    let x = Mat::new(n, d, numbers(&golden["x"])).expect("x");
    let given = Some(Mat::new(9, d, numbers(&golden["start"])).expect("start"));
    for count in [1, 3, 300] {
        let want = &golden[format!("after {count}")];
        // A sample of few rows changes nothing: the start needs none.
        for sample in [None, Some(9)] {
            let method = Vq { k: 9, init: VqInit::Given, given: given.clone(), tol: 0.0, sample, n_init: 5, ..Vq::default() };
            let fitted = run(&Vq { max_passes: count, ..method }, &x);
            assert_eq!(fitted.starts.len(), 1);
            for (a, b) in fitted.model.atoms.data.iter().zip(numbers(&want["centres"])) {
                assert!((a - b).abs() < 1e-5, "after {count}: {a} {b}");
            }
            let labels: Vec<f32> = fitted.model.assign(&x.view()).expect("assign").iter().map(|c| *c as f32).collect();
            assert_eq!(labels, numbers(&want["labels"]), "after {count}");
        }
    }
}

#[test]
fn a_weight_is_that_many_rows() {
    let (mut x, _) = planted(500, 8, 9, 0.5, 13);
    x.data.iter_mut().for_each(|v| *v = if v.abs() < 0.2 { 0.0 } else { *v });
    let mut r = rng(4, 0, 0);
    let weights: Vec<f32> = (0..500).map(|_| r.below(5) as f32).collect();
    let column = Mat { rows: 500, cols: 1, data: weights.clone() };
    let (more, csr) = (repeated(&x, &weights), sparse(&x));
    let of = Memory::cut(column.view(), 77);
    for (k, metric) in [(3, VqMetric::Euclidean), (40, VqMetric::Euclidean), (12, VqMetric::Spherical)] {
        let given = Some(x.view().slice(100, 100 + k).to_mat());
        let plain = Vq { k, metric, init: VqInit::Given, given, tol: 0.0, ..Vq::default() };
        let want = run(&plain, &more);
        let method = Vq { weights: true, ..plain };
        for (name, source, memory) in [
            ("whole", Memory::from(&x), None),
            ("in blocks", Memory::cut(x.view(), 50), None),
            ("without memo", Memory::cut(x.view(), 64), Some(0)),
            ("sparse", Memory::from(&csr), None),
        ] {
            let source = Weighted::new(&source, &of).expect("a weight each");
            let got = fit(&method, &source, Options { memory, ..Options::default() }).expect("fit");
            assert_eq!(got.curve.len(), want.curve.len(), "{name}, k = {k}");
            for (a, b) in got.curve.iter().zip(&want.curve) {
                assert!((a.loss / b.loss - 1.0).abs() < 1e-6, "{name}, k = {k}: {a:?} {b:?}");
            }
            for (a, b) in got.model.atoms.data.iter().zip(&want.model.atoms.data) {
                assert!((a - b).abs() < 2e-6, "{name}, k = {k}: {a} {b}");
            }
            assert!((got.model.inertia / want.model.inertia - 1.0).abs() < 1e-6);
            // Rows, not what they weigh.
            assert_eq!(got.model.counts.iter().sum::<u64>(), weights.iter().filter(|w| **w > 0.0).count() as u64);
        }
    }
}

#[test]
fn rows_of_no_weight_change_nothing_but_get_a_cell() {
    let (x, _) = planted(400, 5, 6, 0.1, 21);
    // As many rows again, far away and far apart.
    let mut r = rng(8, 0, 0);
    let far_rows: Vec<f32> = (0..400 * 5).map(|_| (1e4 * r.normal()) as f32).collect();
    let all = Mat { rows: 800, cols: 5, data: [far_rows, x.data.clone()].concat() };
    let weights = [[0.0; 400], [0.25; 400]].concat();
    for init in [VqInit::KMeansPlusPlus, VqInit::Random] {
        for sample in [None, Some(100)] {
            let alike = Vq { k: 6, init, sample, n_init: 4, tol: 0.0, ..Vq::default() };
            let method = Vq { weights: true, ..alike.clone() };
            let got = fit(&method, &Memory::new(weighing(&all, &weights)), Options::default()).expect("fit").model;
            assert!(got.atoms.data.iter().all(|v| v.abs() < 10.0), "{init:?}: {:?}", got.atoms);
            assert_eq!(got.counts.iter().sum::<u64>(), 400);
            if init == VqInit::KMeansPlusPlus {
                // Which of many optima rows at random lead to depends on what is drawn.
                let want = run(&alike, &x).model;
                assert!((got.inertia / want.inertia / 0.25 - 1.0).abs() < 1e-5, "{} {}", got.inertia, want.inertia);
                assert_eq!(got.counts, want.counts);
                let apart = got.atoms.data.iter().zip(&want.atoms.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-5, "{apart}");
            }
            let cells = got.assign(&all.view()).expect("assign");
            assert_eq!(cells, plain(&all, &got.atoms).0);
        }
    }
}

#[test]
fn starts_go_by_weight() {
    let mut r = rng(5, 0, 0);
    let x = Mat { rows: 600, cols: 3, data: (0..1800).map(|_| r.normal() as f32).collect() };
    // Of three kinds of rows one weighs nothing, and one nine times what the last does.
    let weights: Vec<f32> = (0..600).map(|i| [0.0, 1.0, 9.0][i % 3]).collect();
    let weighed = weighing(&x, &weights);
    let place = |row: &[f32]| (0..600).find(|i| x.row(*i) == row).expect("a row of the data");
    let frame = Frame { unit: false, shift: &[] };
    let (mut first, mut any, mut heavy) = ([0; 3], [0; 3], [0; 3]);
    for seed in 0..400 {
        let spread = seeds::seeds(frame, &weighed, 4, &mut rng(seed, 0, 0));
        first[place(spread.row(0)) % 3] += 1;
        (1..4).for_each(|c| any[place(spread.row(c)) % 3] += 1);
        let drawn = seeds::rows(frame, &weighed, 20, &mut rng(seed, 0, 1));
        let mut rows: Vec<usize> = (0..20).map(|c| place(drawn.row(c))).collect();
        rows.iter().for_each(|row| heavy[row % 3] += 1);
        rows.sort_unstable();
        assert!(rows.windows(2).all(|w| w[0] < w[1]), "no row twice");
    }
    assert_eq!((first[0], any[0], heavy[0]), (0, 0, 0));
    // One in ten is light: 40 of 400, 800 of 8000 or a few more.
    assert!((20..60).contains(&first[1]), "{first:?}");
    assert!((700..950).contains(&heavy[1]), "{heavy:?}");
    // The best of 16 candidates is light more often, as those are farther out, but not as often as without weights.
    assert!(any[1] > 0 && any[1] < any[2], "{any:?}");
    // Of two rows that weigh something no three are made.
    let two: Vec<f32> = (0..600).map(|i| if i == 7 || i == 300 { 1.0 } else { 0.0 }).collect();
    for start in [seeds::rows, seeds::seeds] {
        let centres = start(frame, &weighing(&x, &two), 5, &mut rng(0, 0, 2));
        assert!((0..5).all(|c| [7, 300].contains(&place(centres.row(c)))));
    }
}

#[test]
fn the_tolerance_is_of_all_rows_alike() {
    let (x, _) = planted(300, 4, 3, 0.5, 2);
    let weights: Vec<f32> = (0..300).map(|i| (i % 7) as f32 * 0.3).collect();
    let method = Vq { k: 5, weights: true, ..Vq::default() };
    let rows = weighing(&x, &weights);
    let mut state = method.init(&rows, Shape { rows: 300, cols: 4 }, 0).expect("init");
    let mut sums = method.zero(&state);
    for from in [0, 100, 200] {
        method.observe(&state, &rows.slice(from, from + 100), 0, &mut [], &mut sums).expect("observe");
    }
    method.update(&mut state, sums).expect("update");
    let mut all = crate::moments::Moments::new(4);
    all.add(&x.view());
    let want = all.variance().iter().sum::<f64>() / 4.0;
    assert!((state.variance / want - 1.0).abs() < 1e-6, "{} {want}", state.variance);
    // It is found once, and stays.
    assert!(method.zero(&state).alike.counts.is_empty());
    // Which ends a fit early: what is left of the movement is below it.
    let passes = |tol| fit(&Vq { tol, ..method.clone() }, &Memory::new(rows.clone()), Options::default()).expect("fit").curve;
    assert!(passes(1e-1).len() < passes(0.0).len());
}

#[test]
fn a_cell_of_rows_without_weight_is_empty() {
    let (x, _) = planted(300, 3, 4, 0.2, 3);
    let lone = Mat { rows: 301, cols: 3, data: [x.data.clone(), vec![1e3; 3]].concat() };
    let weights = [vec![2.0; 300], vec![0.0]].concat();
    let mut given = x.view().slice(0, 4).to_mat();
    given.row_mut(3).fill(1e3);
    let method = Vq { k: 4, init: VqInit::Given, given: Some(given), weights: true, tol: 0.0, ..Vq::default() };
    for memory in [None, Some(0)] {
        let options = Options { memory, ..Options::default() };
        let model = fit(&method, &Memory::new(weighing(&lone, &weights)), options).expect("fit").model;
        assert!(model.counts.iter().all(|c| *c > 0), "{:?}", model.counts);
        assert!(model.atoms.data.iter().all(|v| v.abs() < 100.0), "{:?}", model.atoms);
    }
}

#[test]
fn weights_and_starts_that_can_not_be_used_name_the_fix() {
    let (x, _) = planted(40, 3, 2, 0.1, 1);
    let of = |source: &dyn Source, method: &Vq| match fit(method, source, Options::default()) {
        Ok(_) => panic!("not refused"),
        Err(e) => e.to_string(),
    };
    let said = |method: &Vq, weights: &[f32]| {
        let column = Mat { rows: 40, cols: weights.len() / 40, data: weights.to_vec() };
        let (data, weights) = (Memory::from(&x), Memory::from(&column));
        of(&Weighted::new(&data, &weights).expect("shapes"), method)
    };
    let method = Vq { k: 2, weights: true, ..Vq::default() };
    let mut minus = vec![1.0; 40];
    minus[5] = -1.0;
    assert!(said(&method, &minus).contains("row 5, column 0 is -1"));
    assert!(said(&method, &[0.0; 40]).contains("weights of all rows are 0"));
    assert!(said(&Vq { sample: Some(4), ..method.clone() }, &[0.0; 40]).contains("weights of all rows are 0"));
    assert!(said(&method, &[1.0; 120]).contains("one column with a weight for every row"));
    assert!(said(&Vq { k: 2, ..Vq::default() }, &[1.0; 40]).contains("set `weights`"));
    assert!(of(&Memory::from(&x), &method).contains("without weights"));
    let start =
        |given: Option<Mat>, metric| of(&Memory::from(&x), &Vq { k: 2, metric, init: VqInit::Given, given, ..Vq::default() });
    let two = |last: f32| Some(Mat { rows: 2, cols: 3, data: vec![1.0, 0.0, 0.0, 0.0, 0.0, last] });
    assert!(start(None, VqMetric::Euclidean).contains("the first 2 centres of 3 columns"));
    assert!(start(Some(Mat::zeros(3, 3)), VqMetric::Euclidean).contains("3 centres of 3 columns; give 2"));
    assert!(start(two(f32::NAN), VqMetric::Euclidean).contains("centre 1, column 2 of the given start is NaN"));
    assert!(start(two(1e30), VqMetric::Euclidean).contains("at most"));
    assert!(start(two(0.0), VqMetric::Spherical).contains("centre 1 of the given start (counted from 0) is all zeros"));
    let unused = Vq { k: 2, given: two(1.0), ..Vq::default() };
    assert!(of(&Memory::from(&x), &unused).contains("set init to given"));
}

#[test]
fn words_of_the_start_are_read_and_written() {
    let method: Vq = serde_json::from_str(r#"{"k": 2, "init": "given", "given": [[1, 2], [3, 4.5]]}"#).expect("json");
    assert_eq!(method.given, Some(Mat { rows: 2, cols: 2, data: vec![1.0, 2.0, 3.0, 4.5] }));
    let other = Vq { given: Some(Mat::zeros(2, 2)), ..method.clone() };
    let text = |m: &Vq| serde_json::to_value(m).expect("json");
    assert_ne!(text(&method)["given"], text(&other)["given"]);
    assert!(text(&method)["given"].as_str().expect("a fingerprint").starts_with("2x2:"));
    assert_eq!(text(&Vq::default())["init"], "k-means++");
    assert_eq!(serde_json::from_value::<Vq>(text(&Vq::default())).expect("back"), Vq::default());
}

#[test]
fn bad_rows_and_parameters_name_the_fix() {
    let (x, _) = planted(40, 3, 2, 0.1, 1);
    let said = |method: Vq, x: &Mat| fit(&method, &Memory::from(x), Options::default()).expect_err("refused").to_string();
    assert!(said(Vq { k: 41, ..Vq::default() }, &x).contains("k = 41 exceeds the 40 rows; lower k"));
    assert!(said(Vq { k: 0, ..Vq::default() }, &x).contains("at least 1"));
    assert!(said(Vq { n_init: 0, ..Vq::default() }, &x).contains("n_init"));
    assert!(said(Vq { max_passes: 0, ..Vq::default() }, &x).contains("max_passes"));
    assert!(said(Vq { tol: f64::NAN, ..Vq::default() }, &x).contains("tol"));
    assert!(said(Vq { k: 9, sample: Some(8), ..Vq::default() }, &x).contains("sample of 8 rows"));
    let mut zero = x.clone();
    zero.row_mut(17).fill(0.0);
    let spherical = Vq { k: 2, metric: VqMetric::Spherical, ..Vq::default() };
    assert!(said(spherical.clone(), &zero).contains("row 17"));
    let mut huge = x.clone();
    huge.row_mut(3)[1] = 1e30;
    assert!(said(Vq { k: 2, ..Vq::default() }, &huge).contains("rescale"));
    // A model is asked about rows that no fit would take: an answer, and no panic.
    for method in [spherical, Vq { k: 2, ..Vq::default() }] {
        let model = run(&method, &x).model;
        for bad in [0.0, 1e38, f32::NAN, f32::INFINITY] {
            let cells = model.assign(&Mat { rows: 1, cols: 3, data: vec![bad; 3] }.view()).expect("assign");
            assert!(cells[0] < 2);
        }
        assert!(model.assign(&Rows::dense(3, &[])).expect("no rows").is_empty());
        assert!(model.assign(&Rows::dense(2, &[0.0; 4])).expect_err("width").to_string().contains("2 columns"));
    }
}

#[test]
fn tiny_numbers_are_told_apart() {
    let (mut x, labels) = planted(200, 4, 3, 0.01, 7);
    x.data.iter_mut().for_each(|v| *v *= 1e-25);
    let model = run(&Vq { k: 3, n_init: 3, ..Vq::default() }, &x).model;
    let cells = model.assign(&x.view()).expect("assign");
    for i in 1..200 {
        assert_eq!(labels[i] == labels[0], cells[i] == cells[0], "row {i}");
    }
}

#[test]
fn a_model_survives_its_file() {
    let (x, _) = planted(100, 4, 3, 0.1, 7);
    for metric in [VqMetric::Euclidean, VqMetric::Spherical] {
        let model = run(&Vq { k: 3, metric, ..Vq::default() }, &x).model;
        let mut bag = Bag::default();
        model.save(&mut bag);
        assert_eq!(VqModel::load(&bag).expect("load"), model);
    }
}

/// Lee & Seung's comparison: 49 codewords for the CBCL faces leave an RMSE of .1266 (measured, k-means of scikit-learn).
#[test]
fn faces_of_cbcl() {
    let Some(x) = faces() else { return };
    let fitted = run(&Vq { k: 49, ..Vq::default() }, &x);
    let rmse = fitted.curve.last().expect("a pass").loss.sqrt();
    assert!((rmse / 0.1266 - 1.0).abs() < 0.03, "RMSE {rmse}");
}
