//! Labels of the categories of arXiv abstracts, where those are at hand: in `MEREO_TEST_DATA` or in `../shared/data` beside the repository.

use arrow_array::{Array, LargeStringArray};
use mereo::Csr;
use mereo_meaning::codes::OwnedBoth;
use mereo_meaning::examples::{Choice, choose};
use mereo_meaning::score::Offline;
use mereo_meaning::terms::{Terms, labels};
use mereo_meaning::words::Words;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::PathBuf;

/// Texts and primary categories of the first rows, or `None` after saying that they are not there.
fn abstracts(rows: usize) -> Option<(Vec<String>, Vec<String>)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("MEREO_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join("arxiv/abstracts_80000.parquet");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: {} is not there", path.display());
        return None;
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["title", "abstract", "primary_cat"]);
    let (mut texts, mut categories) = (Vec::new(), Vec::new());
    for batch in reader.with_projection(mask).with_limit(rows).build().expect("reader") {
        let batch = batch.expect("batch");
        let column = |name: &str| {
            let column = batch.column_by_name(name).expect("column").as_any().downcast_ref::<LargeStringArray>();
            column.expect("strings").clone()
        };
        let (title, body, category) = (column("title"), column("abstract"), column("primary_cat"));
        for i in 0..batch.num_rows() {
            texts.push(format!("{}\n\n{}", title.value(i), body.value(i)));
            categories.push(category.value(i).to_owned());
        }
    }
    Some((texts, categories))
}

#[test]
fn categories_are_named_by_what_they_are_about() {
    let Some((texts, categories)) = abstracts(16_000) else { return };
    // What the taxonomy of arXiv calls them.
    let wanted: [(&str, &[&str]); 9] = [
        ("astro-ph.EP", &["planet", "orbit"]),
        ("cs.RO", &["robot"]),
        ("cs.CL", &["language", "text", "translation"]),
        ("math.NT", &["prime", "number", "integer", "modular", "arithmetic"]),
        ("cs.CV", &["image", "object", "visual"]),
        ("gr-qc", &["black hole", "gravit"]),
        ("math.PR", &["random", "probability", "brownian"]),
        ("physics.plasm-ph", &["plasma"]),
        ("quant-ph", &["quantum", "entangle"]),
    ];
    let mut csr = Csr { rows: texts.len(), cols: wanted.len(), indptr: vec![0], ..Csr::default() };
    for category in &categories {
        if let Some(j) = wanted.iter().position(|w| w.0 == category) {
            csr.indices.push(j as u32);
            csr.values.push(1.0);
        }
        csr.indptr.push(csr.indices.len() as u64);
    }
    let codes = OwnedBoth::new(&csr).expect("both");
    let words = Words::new(&texts, 1000).expect("words");
    let latents: Vec<usize> = (0..wanted.len()).collect();
    // All rows of a category count alike, so that any sample of them will do.
    let mut how = Choice::terms();
    (how.label.top, how.label.random, how.label.lacking, how.test.top, how.test.random, how.test.lacking) =
        (0, 60, 60, 0, 20, 20);
    let chosen = choose(&codes.view(), &texts, None, &latents, &how).expect("chosen");
    let found = labels(&words, &chosen, &Terms::default()).expect("labels");
    let texts: Vec<&str> = found.iter().map(|l| l.text.as_str()).collect();
    let scores = Offline { words: &words, embedded: None }.scores(&texts, &chosen).expect("scores");
    for (((category, any), text), score) in wanted.iter().zip(&texts).zip(&scores) {
        println!("{category}: {text} (F1 {:.2}, r {:.2})", score.f1, score.r);
        let small = text.to_lowercase();
        assert!(any.iter().any(|word| small.contains(word)), "{category} is called {text}");
    }
    // A coin has an F1 of 1/2 and an r of 0.
    let mean = scores.iter().map(|s| s.f1).sum::<f64>() / scores.len() as f64;
    assert!(mean > 0.6 && scores.iter().all(|s| s.r > 0.1), "mean F1 {mean}");
}
