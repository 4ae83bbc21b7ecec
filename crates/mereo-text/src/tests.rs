use super::*;
use mereo::linalg::dot;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Models, and what their own libraries made of texts: `tests/golden/make.py`.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(crate) fn expected(name: &str) -> Value {
    wordpiece::read_json(&golden("expected.json")).expect("expected.json")[name].clone()
}

pub(crate) fn texts(of: &Value) -> Vec<&str> {
    of["texts"].as_array().expect("texts").iter().map(|t| t.as_str().expect("text")).collect()
}

pub(crate) fn ids(of: &Value) -> Vec<u64> {
    of.as_array().expect("ids").iter().map(|v| v.as_u64().expect("id")).collect()
}

/// A copy of a model, to be broken.
fn copy(name: &str) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("folder");
        for entry in from.read_dir().expect("folder") {
            let entry = entry.expect("entry").path();
            let to = to.join(entry.file_name().expect("name"));
            if entry.is_dir() {
                all(&entry, &to);
            } else {
                std::fs::copy(&entry, to).expect("copied");
            }
        }
    }
    let folder = tempfile::tempdir().expect("tempdir");
    all(&golden(name), folder.path());
    folder
}

fn opened(folder: &Path) -> Result<Box<dyn Encoder>> {
    open(folder.to_str().expect("path"))
}

fn said(folder: &Path) -> String {
    opened(folder).err().expect("refused").to_string()
}

/// Changes one JSON file of a folder.
fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut json = wordpiece::read_json(&path).expect("json");
    change(&mut json);
    std::fs::write(path, json.to_string()).expect("written");
}

fn agree(rows: &Mat, want: &Value, tolerance: f64) {
    for (i, want) in want.as_array().expect("rows").iter().enumerate() {
        for (got, want) in rows.row(i).iter().zip(want.as_array().expect("row")) {
            let want = want.as_f64().expect("number");
            assert!((f64::from(*got) - want).abs() < tolerance, "row {i}: {got} {want}");
        }
    }
}

#[test]
fn small_models_give_the_vectors_of_their_own_libraries() {
    for name in ["bert", "distilbert", "mpnet", "table"] {
        let (encoder, want) = (opened(&golden(name)).expect(name), expected(name));
        let rows = encoder.encode(&texts(&want)).expect("encoded");
        assert_eq!((rows.rows, rows.cols), (texts(&want).len(), encoder.dim()), "{name}");
        agree(&rows, &want["rows"], 1e-5);
    }
}

#[test]
fn small_models_cut_texts_into_the_tokens_of_their_own_libraries() {
    for name in ["bert", "distilbert", "mpnet"] {
        let (encoder, want) = (Bert::open(&golden(name)).expect(name), expected(name));
        for (text, want) in texts(&want).iter().zip(want["ids"].as_array().expect("ids")) {
            let got: Vec<u64> = encoder.tokens(text).into_iter().map(u64::from).collect();
            assert_eq!(got, ids(want), "{name}: {text}");
        }
    }
}

#[test]
fn a_text_has_the_same_bits_in_any_company_and_on_any_number_of_threads() {
    let encoder = opened(&golden("bert")).expect("opened");
    let want = expected("bert");
    let texts: Vec<&str> = texts(&want).into_iter().cycle().take(100).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| encoder.encode(&texts).expect("encoded"))
    };
    let together = run(3);
    assert_eq!(together, run(1));
    for (i, text) in texts.iter().enumerate().take(8) {
        assert_eq!(encoder.encode(&[text]).expect("encoded").data, together.row(i), "{text}");
    }
    assert_eq!(encoder.encode(&[]).expect("none").rows, 0);
}

#[test]
fn pooling_and_length_are_those_that_the_folder_asks_for() {
    let folder = copy("bert");
    let mean = opened(folder.path()).expect("opened").encode(&["the star", "a"]).expect("encoded");
    assert!((dot(mean.row(0), mean.row(0)) - 1.0).abs() < 1e-6);
    // Of one model: the root of the number times the mean, which is no longer made of length 1.
    edit(folder.path(), "modules.json", |j| {
        j.as_array_mut().expect("parts").pop();
    });
    let mean = opened(folder.path()).expect("opened").encode(&["the star"]).expect("encoded");
    edit(folder.path(), "1_Pooling/config.json", |j| *j = json!({"pooling_mode": "mean_sqrt_len_tokens"}));
    let root = opened(folder.path()).expect("opened").encode(&["the star"]).expect("encoded");
    for (m, r) in mean.data.iter().zip(&root.data) {
        assert!((m * 2.0 - r).abs() < 1e-6, "{m} {r}");
    }
    edit(folder.path(), "sentence_bert_config.json", |j| j["max_seq_length"] = json!(4));
    assert_eq!(
        Bert::open(folder.path()).expect("opened").tokens("the star of gala"),
        Bert::open(folder.path()).expect("opened").tokens("the star")
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    /// What is wrong, the file, how it is made wrong, and what is said.
    type Case = (&'static str, &'static str, fn(&mut Value), &'static str);
    let cases: [Case; 9] = [
        (
            "bert",
            "config.json",
            |j| j["model_type"] = json!("xlm-roberta"),
            "is of the architecture xlm-roberta; bert, distilbert and mpnet are read",
        ),
        ("bert", "config.json", |j| j["hidden_act"] = json!("silu"), "activation is silu"),
        ("bert", "config.json", |j| j["num_attention_heads"] = json!(3), "8 among 3 heads"),
        ("bert", "config.json", |j| j["intermediate_size"] = json!(32), "where config.json asks for [32, 8]"),
        ("bert", "tokenizer.json", |j| j["model"]["type"] = json!("Unigram"), "its tokeniser is Unigram, only WordPiece is read"),
        ("bert", "tokenizer.json", |j| j["model"]["vocab"]["new"] = json!(30), "numbers them up to 30"),
        ("bert", "1_Pooling/config.json", |j| j["pooling_mode_cls_token"] = json!(true), "pools by cls_token and mean_tokens"),
        ("bert", "modules.json", |j| j[2]["type"] = json!("sentence_transformers.models.Dense"), "has the part Dense"),
        ("table", "tokenizer.json", |j| j["normalizer"] = json!({"type": "Precompiled"}), "changes texts by Precompiled"),
    ];
    for (name, file, change, want) in cases {
        let folder = copy(name);
        edit(folder.path(), file, change);
        assert!(said(folder.path()).contains(want), "{want}: {}", said(folder.path()));
    }
    let folder = copy("bert");
    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("read");
    std::fs::write(&weights, &bytes[..bytes.len() - 1]).expect("written");
    assert!(said(folder.path()).contains("not a whole safetensors file"), "{}", said(folder.path()));
    std::fs::rename(&weights, folder.path().join("pytorch_model.bin")).expect("renamed");
    assert!(said(folder.path()).contains("only pytorch_model.bin"));
    std::fs::remove_file(folder.path().join("tokenizer.json")).expect("removed");
    assert!(said(folder.path()).contains("neither tokenizer.json nor vocab.txt"));
    assert!(said(tempfile::tempdir().expect("tempdir").path()).contains("holds no model"));
    assert!(said(&golden("expected.json")).contains("is a file; name the folder"));
}

#[test]
fn a_table_of_words_is_averaged_and_unknown_words_are_passed_over() {
    let folder = tempfile::tempdir().expect("tempdir");
    std::fs::write(folder.path().join("vocab.txt"), "star\ndust\n").expect("written");
    let table = Mat::new(2, 2, vec![1.0, 0.0, 0.0, 3.0]).expect("table");
    let tokens = || wordpiece::WordPiece::open(folder.path()).expect("tokens");
    let encoder = Fixed::new(tokens(), table.clone()).expect("fixed");
    let rows = encoder.encode(&["Star, dust!", "stars", "dust dust"]).expect("encoded");
    assert_eq!(rows.data, [0.5, 1.5, 0.0, 0.0, 0.0, 3.0]);
    let rows = encoder.normalised(true).encode(&["dust", "none"]).expect("encoded");
    assert_eq!(rows.data, [0.0, 1.0, 0.0, 0.0]);
    let small = Mat::new(1, 2, vec![1.0, 0.0]).expect("table");
    let e = Fixed::new(tokens(), small).expect_err("refused").to_string();
    assert!(e.contains("1 rows") && e.contains("up to 1"), "{e}");
}

/// Where `MEREO_TEST_MODELS` names a folder that holds `all-MiniLM-L6-v2`.
#[test]
fn minilm_gives_the_published_vectors_of_papers() {
    let data = std::env::var_os("MEREO_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let data = data.join("arxiv");
    let Some(models) = std::env::var_os("MEREO_TEST_MODELS").map(PathBuf::from).filter(|_| data.is_dir()) else {
        println!("skipped: needs MEREO_TEST_MODELS, a folder with all-MiniLM-L6-v2 in it, and arxiv in MEREO_TEST_DATA");
        return;
    };
    let encoder = opened(&models.join("all-MiniLM-L6-v2")).expect("model");
    let how = Reading { text: vec!["title".into(), "abstract".into()], rows: Some(16), ..Reading::default() };
    let table = read::read(&data.join("abstracts_80000.parquet"), &how).expect("texts");
    let texts: Vec<String> = table.texts.iter().map(|t| t.chars().take(1400).collect()).collect();
    let rows = encoder.encode(&texts.iter().map(String::as_str).collect::<Vec<_>>()).expect("encoded");
    let bytes = std::fs::read(data.join("minilm_80000x384_f16.npy")).expect("vectors");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let want: Vec<f32> =
        bytes[start..].as_chunks().0.iter().take(16 * 384).map(|b| half::f16::from_le_bytes(*b).to_f32()).collect();
    for (i, want) in want.chunks_exact(384).enumerate() {
        let cosine = dot(rows.row(i), want) / dot(want, want).sqrt();
        assert!(cosine > 0.9999, "paper {i}: {cosine}");
    }
}
