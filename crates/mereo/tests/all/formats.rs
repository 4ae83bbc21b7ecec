//! Sparse autoencoders that other libraries saved: read, they give the codes and rebuilt rows of those libraries, and so they do after
//! they went through every other format. `golden/sae_formats.py` made the files, and has the libraries load what is written here.

use mereo::formats::{self, Read, SaeFormat};
use mereo::{Mat, Model, SaeModel};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Golden {
    /// Rows that were encoded.
    x: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    format: String,
    path: String,
    codes: Vec<Vec<f32>>,
    back: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sae")
}

fn golden() -> (Mat, Vec<Case>) {
    let text = std::fs::read(folder().join("cases.json")).expect("golden");
    let golden: Golden = serde_json::from_slice(&text).expect("cases");
    (mat(&golden.x), golden.cases)
}

fn mat(rows: &[Vec<f32>]) -> Mat {
    Mat::new(rows.len(), rows[0].len(), rows.concat()).expect("rectangle")
}

fn check(model: &SaeModel, x: &Mat, case: &Case, how: &str) {
    let z = model.encode(&x.view()).expect("codes");
    let back = model.decode_like(&z, &x.view()).expect("rows");
    for (name, is, wanted) in [("code", z.to_mat(), mat(&case.codes)), ("rebuilt number", back, mat(&case.back))] {
        assert_eq!((is.rows, is.cols), (wanted.rows, wanted.cols));
        for (i, (is, wanted)) in is.data.iter().zip(&wanted.data).enumerate() {
            assert!((is - wanted).abs() < 1e-5, "{} {how}, {name} {i}: {is}, not {wanted}", case.path);
        }
    }
}

#[test]
fn what_others_saved_has_their_codes() {
    let (x, cases) = golden();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let found = formats::read(&folder().join(&case.path), &Read::default()).expect(&case.path);
        assert_eq!(found.format.name(), case.format, "{}", case.path);
        check(&found.model, &x, &case, "as read");
    }
}

#[test]
fn through_every_format_and_back() {
    let (x, cases) = golden();
    let mut written = 0;
    for case in cases {
        let model = formats::read(&folder().join(&case.path), &Read::default()).expect(&case.path).model;
        for format in SaeFormat::ALL {
            let place = tempfile::tempdir().expect("tempdir");
            let names: &[&str] = match format {
                SaeFormat::Saerch => &["4_16.pth", "16_16.pth"],
                SaeFormat::OpenAi | SaeFormat::HypotheSaes => &["a.pt"],
                SaeFormat::GemmaScope => &["a.npz"],
                _ => &["a"],
            };
            let path = names.iter().map(|name| place.path().join(name)).find(|path| formats::write(path, format, &model).is_ok());
            let Some(path) = path else { continue };
            let back = formats::read(&path, &Read::default()).expect("read");
            assert_eq!(back.format, format);
            check(&back.model, &x, &case, format.name());
            written += 1;
        }
    }
    // Those that aren't are named by the tests beside each format.
    assert!(written > 100, "{written}");
}
