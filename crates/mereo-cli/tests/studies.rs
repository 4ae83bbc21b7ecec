//! `mereo rank`, `stability`, `parts` and `repro` as they are typed: tables, pages, JSON and mistakes.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn mereo(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mereo")).args(line.split_whitespace()).current_dir(folder).output().expect("mereo runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that must succeed.
fn ok(folder: &Path, line: &str) -> String {
    let out = mereo(folder, line);
    assert!(out.status.success(), "mereo {line}\n{}", text(&out.stderr));
    text(&out.stdout)
}

fn json(folder: &Path, line: &str) -> Value {
    serde_json::from_str(&ok(folder, &format!("{line} --json"))).expect("one JSON document")
}

/// A page that stands alone.
fn page(folder: &Path, name: &str) -> String {
    let page = std::fs::read_to_string(folder.join(name)).expect("page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(
        !page.contains("http") && !page.contains("<script") && !page.contains("NaN"),
        "nothing from elsewhere, nothing undefined"
    );
    page
}

#[test]
fn rank_recommends_the_planted_number() {
    let folder = tempfile::tempdir().expect("tempdir");
    let said = ok(folder.path(), "rank parts --rows 300 --k 4,8,16,24 --folds 2 --seeds 2");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("k ") && lines[0].contains("scattered") && lines[1].starts_with("4 "), "{said}");
    assert!(said.contains("k = 16 ") && said.contains("agree"), "{said}");
    let page = page(folder.path(), "rank.html");
    assert!(page.contains("k = 16 ") && page.matches("<svg class=\"chart\"").count() == 3);
    assert!(page.contains("mereo rank parts --rows 300"), "how to make it again");
}

#[test]
fn rank_of_noise_is_small_and_mistakes_are_told() {
    let folder = tempfile::tempdir().expect("tempdir");
    let number =
        |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd1b5_4a32_d192_ed03) >> 40) as f64;
    let rows: Vec<String> =
        (0..100).map(|i| (0..30).map(|j| (number(i * 30 + j + 1) / 1e4).to_string()).collect::<Vec<_>>().join(",")).collect();
    std::fs::write(folder.path().join("noise.csv"), rows.join("\n")).expect("write");
    let found = json(folder.path(), "rank noise.csv --k 1,2,4,8 -o noise.html --no-header");
    assert!(found["k"].as_u64().is_some_and(|k| k <= 2), "{found}");
    assert_eq!(found["tried"].as_array().map(Vec::len), Some(4));
    for (line, what) in [
        ("rank parts --k 9..3", "smaller number first"),
        ("rank parts --folds 1", "2 to 5"),
        ("rank parts --seeds 1", "at least 2"),
        ("stability parts --seeds 1", "2 or more"),
        ("rank parts -o no/such/page.html", "no/such doesn't exist"),
    ] {
        let out = mereo(folder.path(), line);
        assert!(!out.status.success() && text(&out.stderr).contains(what), "{line}: {}", text(&out.stderr));
    }
}

#[test]
fn stability_shows_every_atom_with_its_number() {
    let folder = tempfile::tempdir().expect("tempdir");
    let said = ok(folder.path(), "stability parts -k 16 --seeds 3");
    assert!(said.lines().next().is_some_and(|l| l.starts_with("atom ") && l.contains("found again")), "{said}");
    assert_eq!(page(folder.path(), "stability.html").matches("alt=\"Atom ").count(), 16);
    let found = json(folder.path(), "stability parts -k 16 --seeds 3 -o s.html");
    let firm = found["atoms"].as_array().expect("atoms").iter().filter(|v| v.as_f64().is_some_and(|v| v > 0.99)).count();
    assert!(firm >= 14 && found["mean"].as_f64().is_some_and(|m| m > 0.9), "planted parts are found from every start: {found}");
    // Random codewords of images are not.
    let loose = json(folder.path(), "stability digits -k 40 --method vq --seeds 3 -o v.html");
    assert!(loose["mean"].as_f64() < found["mean"].as_f64(), "{loose}");
}
