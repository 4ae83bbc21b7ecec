//! Measures against values worked out by hand, against `tests/golden/measure.py`, and on real faces.

use super::*;
use crate::linalg::{eigh, rows_times_t};
use crate::model::Codes;
use crate::rng::rng;
use crate::source::Memory;
use crate::store::Bag;
use crate::tests::{faces, random, sparse};
use serde_json::Value;

/// Atoms with orthonormal rows: encode is x·Aᵀ.
struct Linear(Mat);

impl Model for Linear {
    fn method(&self) -> &'static str {
        "linear"
    }
    fn atoms(&self) -> &Mat {
        &self.0
    }
    fn encode(&self, x: &Rows) -> Result<Codes> {
        Ok(Codes::Dense(rows_times_t(x, &self.0)))
    }
    fn decode(&self, z: &Codes) -> Result<Mat> {
        z.times(&self.0)
    }
    fn save(&self, _: &mut Bag) {}
}

fn mat(rows: usize, cols: usize, data: &[f32]) -> Mat {
    Mat::new(rows, cols, data.to_vec()).expect("shape")
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance, "{i}: {x} is not {y}");
    }
}

#[test]
fn atoms_by_hand() {
    // 3×3 images: a point; all alike; two corners; two pixels that touch at a corner only; a pair with a third below 20 %.
    let x = mat(
        5,
        9,
        &[
            [0., 0., 0., 0., 7., 0., 0., 0., 0.],
            [2., 2., 2., 2., 2., 2., 2., 2., 2.],
            [1., 0., 0., 0., 0., 0., 0., 0., 1.],
            [-1., 0., 0., 0., 1., 0., 0., 0., 0.],
            [10., -10., 1.99, 0.099, 0., 0., 0., 0., 0.],
        ]
        .concat(),
    );
    let m = atoms(&x, Some((3, 3)));
    let half = (3.0 - 2f64.sqrt()) / 2.0;
    close(&m.sparseness.each[..4], &[1.0, 0.0, half, half], 1e-12);
    close(&m.small.each, &[8.0 / 9.0, 0.0, 7.0 / 9.0, 7.0 / 9.0, 6.0 / 9.0], 1e-12);
    // A uniform 3×3 image has variance 2/3 along each axis; the corners 1 along each; the touching pair 1/4.
    let spread = m.spread.expect("image");
    close(&spread.each[..4], &[0.0, 1.0, 1.5, 0.375], 1e-12);
    close(&[spread.mean * 5.0], &[spread.each.iter().sum()], 1e-12);
    let largest = m.largest.expect("image");
    close(&largest.each, &[1.0, 1.0, 0.5, 0.5, 20.0 / 22.089], 1e-7);
    assert!(m.dead.is_empty() && m.duplicates.is_empty());
}

#[test]
fn rows_of_an_image_do_not_wrap() {
    // 2×3: the end of row 0 and the start of row 1 are neighbours in memory only.
    let x = mat(1, 6, &[0., 0., 1., 1., 0., 0.]);
    assert_eq!(atoms(&x, Some((2, 3))).largest.expect("image").mean, 0.5);
    assert_eq!(atoms(&x, Some((3, 2))).largest.expect("image").mean, 1.0);
    let x = mat(1, 6, &[0., 1., 1., 0., 0., 0.]);
    assert_eq!(atoms(&x, Some((2, 3))).largest.expect("image").mean, 1.0);
    assert_eq!(atoms(&x, Some((3, 2))).largest.expect("image").mean, 0.5);
    assert_eq!(atoms(&x, Some((1, 6))).largest.expect("image").mean, 1.0);
    // Pixel 3 is reached from above before pixel 2 is looked at.
    assert_eq!(atoms(&mat(1, 6, &[1., 0., 1., 1., 0., 0.]), Some((2, 3))).largest.expect("image").mean, 2.0 / 3.0);
    assert!(atoms(&x, Some((4, 2))).spread.is_none() && atoms(&x, None).largest.is_none());
}

#[test]
fn overlap_and_duplicates_by_hand() {
    let x = mat(5, 2, &[1., 0., 3., 0., 0., 1., -2., 0., 1., 0.1]);
    let m = atoms(&x, None);
    let (c, s) = (1.0 / 1.01f64.sqrt(), 0.1 / 1.01f64.sqrt());
    let each = [2.0 + c, 2.0 + c, s, 2.0 + c, 3.0 * c + s].map(|v| v / 4.0);
    close(&m.overlap.each, &each, 1e-7);
    close(&[m.overlap.mean], &[(3.0 + 3.0 * c + s) / 10.0], 1e-7);
    // The opposite of an atom is not its duplicate; (1, 0.1) has a cosine of .995 with the first.
    assert_eq!(m.duplicates, [(0, 1), (0, 4)]);
}

#[test]
fn dead_atoms_count_in_no_mean() {
    let x = mat(4, 4, &[vec![0.; 4], vec![1e-20; 4], vec![1., 1., 0., 0.], vec![0., 0., 1., 1.]].concat());
    let m = atoms(&x, Some((2, 2)));
    assert_eq!(m.dead, [0, 1]);
    assert!(m.duplicates.is_empty());
    assert_eq!((m.overlap.mean, m.spread.as_ref().expect("image").each[0]), (0.0, 0.0));
    close(&[m.sparseness.mean, m.small.mean], &[2.0 - 2f64.sqrt(), 0.5], 1e-12);
    for m in [atoms(&Mat::zeros(3, 4), Some((2, 2))), atoms(&Mat::zeros(0, 4), None), atoms(&mat(2, 1, &[1., 2.]), Some((1, 1)))]
    {
        let json = serde_json::to_string(&m).expect("json");
        assert!(!json.contains("null") || m.spread.is_none(), "a NaN: {json}");
    }
    let m = codes(&Codes::Dense(mat(3, 3, &[0., 1e-20, 1., 0., 0., 0., 0., 0., 3.])));
    assert_eq!((m.dead.as_slice(), m.l0), ([0, 1].as_slice(), 2.0 / 3.0));
    let root = 3f64.sqrt();
    close(&[m.atom_sparseness.mean, m.small.mean], &[(root - 4.0 / 10f64.sqrt()) / (root - 1.0), 1.0 / 3.0], 1e-7);
    for m in
        [codes(&Codes::Dense(Mat::zeros(0, 3))), codes(&Codes::Dense(Mat::zeros(2, 0))), codes(&Codes::Dense(Mat::zeros(2, 3)))]
    {
        assert!(!serde_json::to_string(&m).expect("json").contains("null"));
    }
}

#[test]
fn codes_by_hand_dense_and_sparse() {
    let z = mat(4, 3, &[1., 0., -4., 1., 0.005, 0., 1., 1., 0., 1., 0., 0.]);
    for z in [Codes::Dense(z.clone()), Codes::Sparse(sparse(&z))] {
        let m = codes(&z);
        close(&m.small.each, &[0.0, 0.75, 0.75], 0.0);
        close(&m.usage, &[1.0, 0.5, 0.25], 0.0);
        close(&[m.l0], &[1.75], 0.0);
        close(&m.atom_sparseness.each[..1], &[0.0], 0.0);
        close(&m.atom_sparseness.each[2..], &[1.0], 1e-12);
        let (small, root) = (f64::from(0.005f32), 3f64.sqrt());
        let row = |sum: f64, squares: f64| (root - sum / squares.sqrt()) / (root - 1.0);
        let want = (row(5.0, 17.0) + row(1.0 + small, 1.0 + small * small) + row(2.0, 2.0) + 1.0) / 4.0;
        close(&[m.row_sparseness], &[want], 1e-12);
    }
}

#[test]
fn many_panels_of_codes_are_one() {
    let mut z = random(1300, 4, 9);
    z.data.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
    z.row_mut(3).copy_from_slice(&[90.0, 80.0, 70.0, 60.0]);
    let m = codes(&Codes::Dense(z.clone()));
    for a in 0..4 {
        let column: Vec<f64> = (0..1300).map(|i| f64::from(z.row(i)[a])).collect();
        let small = column.iter().filter(|v| **v < 0.01 * column[3]).count() as f64 / 1300.0;
        let used = column.iter().filter(|v| **v > 0.0).count() as f64 / 1300.0;
        close(&[m.small.each[a], m.usage[a]], &[small, used], 1e-12);
        let root = 1300f64.sqrt();
        let ratio = column.iter().sum::<f64>() / column.iter().map(|v| v * v).sum::<f64>().sqrt();
        close(&[m.atom_sparseness.each[a]], &[(root - ratio) / (root - 1.0)], 1e-12);
    }
}

/// Scale-free: powers of two change no rounding, so the measures must be the same to the last bit.
#[test]
fn scale_changes_nothing() {
    let x = random(9, 35, 1);
    let mut y = x.clone();
    for i in 0..9 {
        y.row_mut(i).iter_mut().for_each(|v| *v *= 8f32.powf(i as f32 - 3.0));
    }
    assert_eq!(atoms(&x, Some((5, 7))), atoms(&y, Some((5, 7))));
    let mut z = random(1000, 9, 2);
    z.data.iter_mut().for_each(|v| *v = v.max(0.0));
    let before = codes(&Codes::Dense(z.clone()));
    let mut all = z.clone();
    all.data.iter_mut().for_each(|v| *v *= 1024.0);
    assert_eq!(before, codes(&Codes::Dense(all)));
    for i in 0..1000 {
        z.row_mut(i).iter_mut().enumerate().for_each(|(a, v)| *v *= 4f32.powf(a as f32 - 4.0));
    }
    let after = codes(&Codes::Dense(z));
    assert_eq!((&before.atom_sparseness, &before.small, before.l0), (&after.atom_sparseness, &after.small, after.l0));
    assert!((before.row_sparseness - after.row_sparseness).abs() > 0.01, "a row's weights are compared with each other");
    let (p, q) = (matched(&x, &y).expect("match"), matched(&x, &x).expect("match"));
    assert_eq!(p, q);
}

#[test]
fn errors_by_hand() {
    // One axis: the second and third columns are lost, R = 1 + 4 + 9 + 4.
    let x = mat(2, 3, &[1., 1., 2., 5., 3., 2.]);
    let axis = Linear(mat(1, 3, &[1., 0., 0.]));
    let e = errors(&axis, &Memory::from(&x)).expect("errors");
    // Means (3, 2, 2): T = 4+4 + 1+1 + 0.
    close(&[e.rmse, e.relative, e.fvu, e.explained], &[3f64.sqrt(), (18.0 / 44f64).sqrt(), 1.8, -0.8], 1e-12);
    assert_eq!(e.rows, 2);

    let mut sums = ErrorSums::new(3);
    sums.add(&x.view(), mat(2, 3, &[3., 2., 2., 3., 2., 2.])).expect("add");
    close(&[sums.errors().expect("errors").fvu], &[1.0], 1e-12);
    assert!(sums.add(&x.view(), Mat::zeros(2, 2)).is_err());
    assert!(ErrorSums::new(3).errors().expect_err("no rows").to_string().contains("0 rows"));
    let said = errors(&axis, &Memory::from(&Mat::zeros(2, 4))).expect_err("width").to_string();
    assert!(said.contains("4 columns") && said.contains("fitted on 3"), "{said}");

    let alike = mat(2, 3, &[1., 0., 0., 1., 0., 0.]);
    let e = errors(&axis, &Memory::from(&alike)).expect("errors");
    assert_eq!((e.fvu, e.explained, e.relative), (0.0, 1.0, 0.0));
    let e = errors(&Linear(mat(1, 3, &[0., 1., 0.])), &Memory::from(&alike)).expect("errors");
    assert_eq!((e.fvu, e.relative), (f64::INFINITY, 1.0));
}

#[test]
fn errors_do_not_depend_on_blocks_threads_or_storage() {
    let mut x = random(9000, 12, 3);
    x.data.iter_mut().for_each(|v| *v = if *v < 0.5 { 0.0 } else { *v + 2.0 });
    let axes = Linear(mat(2, 12, &[vec![1.], vec![0.; 12], vec![1.], vec![0.; 10]].concat()));
    let run = |source: &dyn Source, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| errors(&axes, source)).expect("errors")
    };
    let csr = sparse(&x);
    let whole = run(&Memory::from(&x), 1);
    assert_eq!(whole, run(&Memory::from(&x), 3));
    for other in [run(&Memory::cut(x.view(), 700), 2), run(&Memory::from(&csr), 2), run(&Memory::cut(csr.view(), 999), 2)] {
        close(&[other.rmse, other.relative, other.fvu], &[whole.rmse, whole.relative, whole.fvu], 1e-12);
    }
}

#[test]
fn the_assignment_is_the_best_of_all() {
    fn best(gain: &Mat, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == gain.rows {
            return 0.0;
        }
        let mut top = f64::NEG_INFINITY;
        for j in 0..gain.cols {
            if !taken[j] {
                taken[j] = true;
                top = top.max(f64::from(gain.row(row)[j].abs()) + best(gain, row + 1, taken));
                taken[j] = false;
            }
        }
        top
    }
    for seed in 0..60 {
        let (m, n) = (1 + (seed as usize) % 5, 5 + (seed as usize) % 2);
        let mut gain = random(m, n, seed);
        if seed % 3 == 0 {
            // Ties.
            gain.data.iter_mut().for_each(|v| *v = v.round());
        }
        let picked = matching::assign(&gain);
        let mut columns = picked.clone();
        columns.sort_unstable();
        columns.dedup();
        assert_eq!(columns.len(), m, "a column of its own for each row");
        let sum: f64 = picked.iter().enumerate().map(|(i, &j)| f64::from(gain.row(i)[j].abs())).sum();
        assert!((sum - best(&gain, 0, &mut vec![false; n])).abs() < 1e-9, "seed {seed}");
    }
}

#[test]
fn a_shuffled_signed_scaled_copy_is_matched() {
    let (k, d) = (150, 40);
    let a = random(k, d, 4);
    let mut order: Vec<usize> = (0..k).collect();
    rng(5, 0, 0).shuffle(&mut order);
    let mut b = Mat::zeros(k, d);
    for (to, &from) in order.iter().enumerate() {
        let by = if to % 2 == 0 { -3.0 } else { 0.5 };
        b.row_mut(to).iter_mut().zip(a.row(from)).for_each(|(o, v)| *o = by * v);
    }
    let m = matched(&a, &b).expect("match");
    assert!((m.mean - 1.0).abs() < 1e-6, "{}", m.mean);
    for (i, p) in m.pairs.iter().enumerate() {
        assert_eq!((p.a, order[p.b]), (i, i));
        assert!((p.cosine - if p.b % 2 == 0 { -1.0 } else { 1.0 }).abs() < 1e-6);
    }
    // Fewer on one side: everyone of the smaller side is paired, and the sides keep their names.
    let few = Mat { rows: 3, cols: d, data: b.data[..3 * d].to_vec() };
    let m = matched(&a, &few).expect("match");
    let mut want = order[..3].to_vec();
    want.sort_unstable();
    assert_eq!(m.pairs.iter().map(|p| p.a).collect::<Vec<_>>(), want);
    assert!(m.pairs.iter().all(|p| order[p.b] == p.a));
    let other = random(k, d, 6);
    let s = stability(&[&a, &b, &other]).expect("stability");
    let (one, two) = (matched(&a, &other).expect("match").mean, matched(&b, &other).expect("match").mean);
    close(&[s], &[(1.0 + one + two) / 3.0], 1e-6);
    assert!(stability(&[&a]).is_err() && matched(&a, &random(2, 3, 1)).is_err());
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().expect("array").iter().map(|v| v.as_f64().expect("number")).collect()
}

fn matrix(v: &Value) -> Mat {
    let rows: Vec<Vec<f64>> = v.as_array().expect("rows").iter().map(numbers).collect();
    Mat::new(rows.len(), rows[0].len(), rows.concat().into_iter().map(|v| v as f32).collect()).expect("shape")
}

#[test]
fn numpy_and_scipy_agree() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/measure.json")).expect("json");
    let value = |v: &Value| v.as_f64().expect("number");
    for kind in ["signed", "parts"] {
        let g = &golden[kind];
        let m = atoms(&matrix(&g["atoms"]), Some((5, 7)));
        close(&m.sparseness.each, &numbers(&g["sparseness"]), 1e-12);
        close(&m.small.each, &numbers(&g["small"]), 1e-12);
        close(&m.spread.expect("image").each, &numbers(&g["spread"]), 1e-12);
        close(&m.largest.expect("image").each, &numbers(&g["largest"]), 1e-12);
        close(&[m.overlap.mean], &[value(&g["overlap"])], 1e-7);
    }
    let g = &golden["codes"];
    let z = Codes::Dense(matrix(&g["codes"]));
    let m = codes(&z);
    close(&m.atom_sparseness.each, &numbers(&g["atom_sparseness"]), 1e-12);
    close(&m.small.each, &numbers(&g["small"]), 1e-12);
    close(&m.usage, &numbers(&g["usage"]), 1e-12);
    close(&[m.row_sparseness, m.l0], &[value(&g["row_sparseness"]), value(&g["l0"])], 1e-12);

    let g = &golden["errors"];
    let rebuilt = z.times(&matrix(&golden["parts"]["atoms"])).expect("times");
    let mut x = rebuilt.clone();
    x.data.iter_mut().zip(matrix(&g["noise"]).data).for_each(|(x, e)| *x += e);
    let mut sums = ErrorSums::new(35);
    sums.add(&x.view(), rebuilt).expect("add");
    let e = sums.errors().expect("errors");
    close(&[e.rmse, e.relative, e.fvu], &[value(&g["rmse"]), value(&g["relative"]), value(&g["fvu"])], 1e-12);

    let g = &golden["matched"];
    let m = matched(&matrix(&golden["signed"]["atoms"]), &matrix(&g["others"])).expect("match");
    let pairs: Vec<Vec<f64>> = m.pairs.iter().map(|p| vec![p.a as f64, p.b as f64]).collect();
    assert_eq!(pairs, g["pairs"].as_array().expect("pairs").iter().map(numbers).collect::<Vec<_>>());
    close(&[m.mean], &[value(&g["mean"])], 1e-7);
}

/// The row on PCA of Lee & Seung's experiment (V·Vᵀ, 49 axes), worked out beforehand in Python.
#[test]
fn eigenfaces_have_the_known_measures() {
    let Some(x) = faces() else { return };
    let (d, k) = (x.cols, 49);
    let mut square = vec![0.0; d * d];
    crate::linalg::add_tn(&mut square, &x.data, &x.view());
    let axes: Vec<f32> = eigh(&square, d).expect("eigh").1[..k].concat().into_iter().map(|v| v as f32).collect();
    let model = Linear(mat(k, d, &axes));

    let e = errors(&model, &Memory::from(&x)).expect("errors");
    close(&[e.rmse, e.relative], &[0.058_879_83, 0.169_706_60], 2e-7);
    let m = atoms(&model.0, Some((19, 19)));
    close(&[m.sparseness.mean, m.spread.expect("image").mean], &[0.228_353_63, 1.039_930_51], 1e-5);
    close(&[m.small.mean, m.largest.expect("image").mean], &[0.029_792_53, 0.388_907_98], 1e-3);
    assert!(m.overlap.mean < 1e-6 && m.dead.is_empty());
    let m = codes(&model.encode(&x.view()).expect("encode"));
    close(&[m.atom_sparseness.mean, m.row_sparseness], &[0.208_817_02, 0.654_414_41], 1e-5);
    close(&[m.small.mean], &[0.030_700_46], 1e-4);
}
