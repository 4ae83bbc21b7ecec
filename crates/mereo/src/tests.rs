//! What the tests of several modules share.

use crate::mat::{Csr, Mat};
use crate::prepare::{Pipeline, Recipe};
use crate::rng::rng;
use crate::source::Memory;

/// Standard normal numbers.
pub fn random(rows: usize, cols: usize, seed: u64) -> Mat {
    let mut r = rng(seed, 0, 0);
    Mat { rows, cols, data: (0..rows * cols).map(|_| r.normal() as f32).collect() }
}

/// The same matrix, with its zeros left out.
pub fn sparse(m: &Mat) -> Csr {
    let mut csr = Csr { rows: m.rows, cols: m.cols, indptr: vec![0], ..Csr::default() };
    for i in 0..m.rows {
        for (j, &v) in m.row(i).iter().enumerate().filter(|(_, v)| **v != 0.0) {
            csr.indices.push(j as u32);
            csr.values.push(v);
        }
        csr.indptr.push(csr.indices.len() as u64);
    }
    csr
}

/// The faces of Lee & Seung's experiment (MIT-CBCL, 2429×361) in their preparation, or `None` after saying that they are not at
/// hand. Numbers known beforehand are of the negatives, as the copy of the set that they were measured on stores them.
pub fn faces() -> Option<Mat> {
    let folder = std::env::var("MEREO_TEST_DATA").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into());
    let Ok(bytes) = std::fs::read(format!("{folder}/cbcl/faces_2429x361_u8.npy")) else {
        println!("skipped: no CBCL faces in {folder}");
        return None;
    };
    let pixels = &bytes[bytes.len() - 2429 * 361..];
    let x = Mat { rows: 2429, cols: 361, data: pixels.iter().map(|&p| f32::from(p)).collect() };
    let pipeline = Pipeline::fit(&[Recipe::Inverted], &Memory::from(&x)).expect("fit");
    Some(pipeline.apply(&x.view()).expect("apply").0.to_mat())
}
