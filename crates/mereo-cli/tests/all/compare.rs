//! `mereo compare` as it is typed: the table, the report and the JSON.

use std::path::Path;
use std::process::{Command, Output};

fn mereo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mereo")).args(args).current_dir(folder).output().expect("mereo runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_command_makes_a_table_and_a_page() {
    let folder = tempfile::tempdir().expect("tempdir");
    let out = mereo(folder.path(), &["compare", "digits", "-k", "8", "--ks", "4"]);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("held out") && lines[0].ends_with("time"), "{said}");
    for (line, name) in lines[1..4].iter().zip(["PCA", "VQ", "NMF"]) {
        assert!(line.starts_with(name), "{said}");
    }
    let error = |line: &str| line.split_whitespace().nth(3).and_then(|v| v.parse::<f64>().ok()).expect("a held-out error");
    assert!(error(lines[1]) < error(lines[3]) && error(lines[3]) < error(lines[2]), "PCA < NMF < VQ: {said}");
    let at = folder.path().canonicalize().expect("path").join("report.html");
    assert!(lines.last().is_some_and(|l| l.starts_with("report written to ") && l.ends_with("report.html")), "{said}");
    let page = std::fs::read_to_string(&at).expect("report");
    assert!(
        page.contains("mereo compare digits -k 8 --ks 4") && page.contains("E. Alpaydin"),
        "how to make it again, and the credit"
    );
    assert!(page.len() < 500_000 && text(&out.stderr).is_empty(), "no bars where nobody watches: {}", text(&out.stderr));
}

#[test]
fn json_is_the_whole_comparison_and_repeats() {
    let folder = tempfile::tempdir().expect("tempdir");
    let run = || {
        let out = mereo(
            folder.path(),
            &["compare", "digits", "-k", "4", "--ks", "none", "--methods", "vq,pca", "--json", "-o", "r.html"],
        );
        assert!(out.status.success(), "{}", text(&out.stderr));
        let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("json");
        json
    };
    let (a, b) = (run(), run());
    let labels: Vec<&str> = a["entries"].as_array().expect("entries").iter().filter_map(|e| e["label"].as_str()).collect();
    assert_eq!(labels, ["VQ", "PCA"]);
    assert_eq!((a["data"]["test"].as_u64(), a["entries"][0]["atoms"].as_array().map(Vec::len)), (Some(359), Some(4)));
    for part in ["atoms", "train", "test", "scree", "histogram", "example"] {
        assert_eq!(a["entries"][1][part], b["entries"][1][part], "{part}: same seed, same numbers");
    }
    assert!(a["report"].as_str().is_some_and(|p| Path::new(p).is_absolute()));
}

#[test]
fn a_method_that_refuses_the_data_is_left_out_unless_it_was_named() {
    let folder = tempfile::tempdir().expect("tempdir");
    let rows: Vec<String> = (0..40).map(|i| format!("{},{},{}", f64::from(i).sin(), f64::from(i * i).cos(), i % 7)).collect();
    let rows = rows.join("\n");
    std::fs::write(folder.path().join("t.csv"), format!("a <b>,b & c,d\n{rows}")).expect("write");
    let out = mereo(folder.path(), &["compare", "t.csv"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("note: NMF is left out: row"), "{}", text(&out.stderr));
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("report");
    assert!(page.contains("NMF is left out") && page.contains("a &lt;b&gt;") && !page.contains("a <b>"));
    let out = mereo(folder.path(), &["compare", "t.csv", "--methods", "pca,nmf", "-o", "other.html"]);
    assert!(!out.status.success() && !folder.path().join("other.html").exists(), "named, so it must not go missing");
}

#[test]
fn what_cannot_be_written_is_said_before_the_work() {
    let folder = tempfile::tempdir().expect("tempdir");
    let out = mereo(folder.path(), &["compare", "faces", "-o", "no/such/report.html"]);
    assert!(text(&out.stderr).contains("no/such doesn't exist"), "{}", text(&out.stderr));
    let out = mereo(folder.path(), &["compare", "digits", "-k", "65"]);
    assert!(out.status.success(), "VQ takes 65 atoms in 64 columns: {}", text(&out.stderr));
    assert!(text(&out.stderr).contains("PCA is left out"), "{}", text(&out.stderr));
}

#[test]
fn autoencoders_are_measured_by_how_far_they_are_from_pca() {
    let folder = tempfile::tempdir().expect("tempdir");
    let run = |methods: &str| {
        let args = ["compare", "digits", "-k", "6", "--ks", "none", "--methods", methods, "--json", "-o", "r.html"];
        let out = mereo(folder.path(), &args);
        assert!(out.status.success(), "{}", text(&out.stderr));
        serde_json::from_slice::<serde_json::Value>(&out.stdout).expect("json")
    };
    let above = |json: &serde_json::Value, i: usize| json["entries"][i]["above_pca"].as_f64();
    let all = run("pca,ae,ae-linear,ae-nonnegative,vq");
    assert_eq!(above(&all, 0), Some(0.0));
    for i in 1..5 {
        assert!(above(&all, i).is_some_and(|v| v > -1e-6), "no sum of atoms passes PCA: {all}");
    }
    assert!(above(&all, 1).is_some_and(|v| v < 0.05) && above(&all, 2).is_some_and(|v| v < 0.01), "{all}");
    let page = std::fs::read_to_string(folder.path().join("r.html")).expect("report");
    assert!(page.contains("Above PCA") && page.contains("AE, non-negative"));
    // The line is there without PCA among the methods, and not at all without an autoencoder.
    let alone = run("ae-linear");
    assert!((above(&alone, 0).expect("above") - above(&all, 2).expect("above")).abs() < 1e-9);
    assert_eq!(above(&run("pca,vq"), 1), None);
    let out = mereo(folder.path(), &["compare", "digits", "-k", "6", "--ks", "none", "--methods", "pca,ae-tied", "-o", "r.html"]);
    assert!(text(&out.stdout).contains("above PCA"), "{}", text(&out.stdout));
}

#[test]
fn a_sparse_autoencoder_stores_as_many_numbers_a_row() {
    let folder = tempfile::tempdir().expect("tempdir");
    let line =
        ["compare", "digits", "-k", "8", "--ks", "none", "--methods", "pca,vq,nmf,ae,sae", "--max-passes", "20", "-o", "r.html"];
    let out = mereo(folder.path(), &[&line[..], &["--json"]].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).expect("json");
    let of = |i: usize, field: &str| json["entries"][i][field].as_f64();
    let a_row: Vec<f64> = (0..5).filter_map(|i| of(i, "row_numbers")).collect();
    assert_eq!((a_row[..4].to_vec(), a_row.len()), (vec![8.0, 1.0, 8.0, 8.0], 5));
    assert!(a_row[4] > 6.0 && a_row[4] <= 8.0, "4 latents alive: {a_row:?}");
    assert_eq!(
        (json["entries"][4]["atoms"].as_array().map(Vec::len), &json["entries"][4]["params"]["k"]),
        (Some(359), &4.into())
    );
    // More atoms than principal components are not bound by them.
    assert!(of(3, "above_pca").is_some() && of(4, "above_pca").is_none());
    let page = std::fs::read_to_string(folder.path().join("r.html")).expect("report");
    assert!(page.contains("359 of SAE") && page.contains("Numbers stored per row"));
    let out = mereo(folder.path(), &line);
    assert!(text(&out.stdout).contains("an index and a value"), "{}", text(&out.stdout));
}
