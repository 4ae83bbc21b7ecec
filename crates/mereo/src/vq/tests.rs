use super::*;
use crate::fold::{Fitted, Options, fit};
use crate::source::Memory;

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

/// Nearest centre by plain loops in f64.
fn plain(x: &Mat, centres: &Mat) -> (Vec<u32>, f64) {
    let mut inertia = 0.0;
    let cells = (0..x.rows)
        .map(|i| {
            let far = |c: usize| -> f64 {
                x.row(i).iter().zip(centres.row(c)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
            };
            let best = (0..centres.rows).fold(0, |b, c| if far(c) < far(b) { c } else { b });
            inertia += far(best);
            best as u32
        })
        .collect();
    (cells, inertia)
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
    }
}
