//! What the tests of the formats share.

use super::*;
use crate::mat::Mat;
use crate::model::Model;
use crate::rng::rng;

/// n×m numbers about 0.
fn numbers(rows: usize, cols: usize, seed: u64) -> Mat {
    let mut r = rng(seed, 0, 0);
    Mat { rows, cols, data: (0..rows * cols).map(|_| r.normal() as f32).collect() }
}

/// Rows of 5 numbers.
pub(super) fn rows(n: usize) -> Mat {
    numbers(n, 5, 1)
}

/// Every gate, of 8 latents.
pub(super) fn gates() -> Vec<SaeGate> {
    vec![
        SaeGate::Relu,
        SaeGate::TopK { k: 3 },
        SaeGate::GroupMax { k: 2 },
        SaeGate::Threshold(vec![0.5; 8]),
        SaeGate::Threshold((0..8).map(|i| i as f32 / 4.0 - 0.5).collect()),
        SaeGate::Gated { gate: vec![0.25; 8], scale: (0..8).map(|i| i as f32 / 8.0 - 0.5).collect(), magnitude: vec![-0.125; 8] },
    ]
}

/// An autoencoder of 8 latents in 5 dimensions.
pub(super) fn random(gate: SaeGate) -> SaeModel {
    SaeModel {
        encoder: numbers(8, 5, 2),
        encoder_bias: numbers(1, 8, 3).data,
        atoms: numbers(8, 5, 4),
        bias: numbers(1, 5, 5).data,
        subtracts: true,
        gate,
        layer_norm: false,
        prefixes: Vec::new(),
        density: Vec::new(),
    }
}

/// Codes and rebuilt rows of two autoencoders are the same.
pub(super) fn same_codes(a: &SaeModel, b: &SaeModel) {
    let x = rows(50);
    let (za, zb) = (a.encode(&x.view()).expect("a"), b.encode(&x.view()).expect("b"));
    let (ma, mb) = (za.to_mat(), zb.to_mat());
    assert!(ma.data.iter().any(|v| *v > 0.0));
    for (i, (a, b)) in ma.data.iter().zip(&mb.data).enumerate() {
        assert!((a - b).abs() < 1e-5, "code {i}: {a} {b}");
    }
    let (ra, rb) = (a.decode_like(&za, &x.view()).expect("a"), b.decode_like(&zb, &x.view()).expect("b"));
    for (i, (a, b)) in ra.data.iter().zip(&rb.data).enumerate() {
        assert!((a - b).abs() < 1e-5, "rebuilt {i}: {a} {b}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for format in SaeFormat::ALL {
        assert_eq!(format.to_string().parse::<SaeFormat>().expect("name"), format);
    }
    let said = "sealens".parse::<SaeFormat>().expect_err("typo").to_string();
    assert!(said.contains("`sealens`") && said.contains("saelens, saelens-v5, sparsify"), "{said}");
}

#[test]
fn what_a_format_cannot_say_is_refused_with_those_that_can() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("x.pt");
    let said = |format, model: &SaeModel| write(&path, format, model).expect_err("refused").to_string();
    let top = random(SaeGate::TopK { k: 3 });
    let text = said(SaeFormat::OpenAi, &top);
    assert!(
        text.contains("top k of rows that aren't moved")
            && text.ends_with("saelens, saelens-v5, sparsify, dictionary-learning, saerch, hypothesaes can"),
        "{text}"
    );
    let text = said(SaeFormat::Sparsify, &SaeModel { layer_norm: true, ..top });
    assert!(text.contains("layer norm") && text.ends_with("saelens, saelens-v5, openai can"), "{text}");
    let text = said(SaeFormat::SaeLens, &random(SaeGate::GroupMax { k: 2 }));
    assert!(text.ends_with("a group max; sparsify can"), "{text}");
    let text = said(SaeFormat::Saerch, &random(gates().remove(5)));
    assert!(text.ends_with("gates; saelens, saelens-v5, dictionary-learning can"), "{text}");
    let broken = SaeModel { bias: vec![f32::NAN; 5], ..random(SaeGate::Relu) };
    assert!(said(SaeFormat::SaeLens, &broken).contains("NaN"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 0);
}

#[test]
fn places_tell_their_formats() {
    let folder = tempfile::tempdir().expect("tempdir");
    let model = random(SaeGate::Relu);
    let said = |path: &Path, how: Read| read(path, &how).expect_err("refused").to_string();
    assert!(said(folder.path(), Read::default()).contains("cfg.json with sae_weights.safetensors (saelens)"));
    write(folder.path(), SaeFormat::SaeLens, &model).expect("written");
    // A file of a folder stands for it.
    assert_eq!(detect(&folder.path().join("cfg.json")).expect("told"), SaeFormat::SaeLens);
    write(folder.path(), SaeFormat::DictionaryLearning, &model).expect("written");
    let text = said(folder.path(), Read::default());
    assert!(text.contains("saelens, dictionary-learning; say which is meant"), "{text}");
    let chosen = read(folder.path(), &Read { format: Some(SaeFormat::DictionaryLearning), k: None }).expect("read");
    same_codes(&model, &chosen.model);
    let text = said(folder.path(), Read { format: Some(SaeFormat::OpenAi), k: None });
    assert!(text.contains("in one file"), "{text}");
    let text = said(folder.path(), Read { format: Some(SaeFormat::SaeLens), k: Some(3) });
    assert!(text.contains("k was given"), "{text}");
    std::fs::write(folder.path().join("m.xyz"), b"x").expect("written");
    assert!(said(&folder.path().join("m.xyz"), Read::default()).contains("doesn't tell"));
    assert!(said(&folder.path().join("none"), Read::default()).contains("none"));
}

#[test]
fn pipelines_are_folded_or_refused() {
    use crate::prepare::Recipe;
    use crate::source::Memory;
    let mut x = rows(40);
    x.data.iter_mut().for_each(|v| *v = *v * 3.0 + 2.0);
    for recipes in [vec![], vec![Recipe::Center], vec![Recipe::Standardize], vec![Recipe::Center, Recipe::Standardize]] {
        for subtracts in [true, false] {
            let pipeline = Pipeline::fit(&recipes, &Memory::from(&x)).expect("fit");
            let model = SaeModel { subtracts, ..random(SaeGate::TopK { k: 3 }) };
            let folded = unprepared(model.clone(), &pipeline).expect("folded");
            let (prepared, _) = pipeline.apply(&x.view()).expect("prepared");
            let (a, b) = (model.encode(&prepared).expect("a").to_mat(), folded.encode(&x.view()).expect("b").to_mat());
            assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-5), "{pipeline}");
        }
    }
    for recipes in [vec![Recipe::UnitNorm], vec![Recipe::Center, Recipe::UnitNorm], vec![Recipe::Hoyer]] {
        let pipeline = Pipeline::fit(&recipes, &Memory::from(&x)).expect("fit");
        let said = unprepared(random(SaeGate::Relu), &pipeline).expect_err("refused").to_string();
        assert!(said.contains(&format!("`{pipeline}`")) && said.contains("--prep center"), "{said}");
    }
    let pipeline = Pipeline::fit(&[Recipe::Center], &Memory::from(&x)).expect("fit");
    let said = unprepared(SaeModel { layer_norm: true, ..random(SaeGate::Relu) }, &pipeline).expect_err("refused").to_string();
    assert!(said.contains("layer norm"), "{said}");
}
