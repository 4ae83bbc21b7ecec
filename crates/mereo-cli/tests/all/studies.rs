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

fn page(folder: &Path, name: &str) -> String {
    crate::place::page(&folder.join(name))
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
    // SplitMix64: noise without any pattern.
    let number = |i: u64| {
        let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64
    };
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

#[test]
fn parts_is_one_grid_with_pictures_and_what_moves_each_measure() {
    let folder = tempfile::tempdir().expect("tempdir");
    let said = ok(folder.path(), "parts swimmer -k 17,8 --constraint none,l1 --csv grid.csv");
    assert!(said.contains("recovered") && said.contains("Sparseness of atoms moves most with the "), "{said}");
    // The usual one, and another number of atoms, of rows, two starts, a preparation and a constraint.
    let cells = 1 + 1 + 1 + 2 + 1 + 1;
    let page = page(folder.path(), "parts.html");
    assert_eq!(page.matches("alt=\"Atoms of ").count(), cells + 4, "each axis begins with the usual cell");
    let grid = std::fs::read_to_string(folder.path().join("grid.csv")).expect("csv");
    let rows: Vec<Vec<&str>> = grid.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + cells);
    assert_eq!(rows[0][..6], ["k", "n", "start", "preparation", "constraint", "error"]);
    let column = rows[0].iter().position(|h| *h == "recovered").expect("planted parts are looked for");
    assert!(rows[1][column].parse::<f64>().is_ok_and(|v| v > 0.8), "{grid}");
    let full =
        json(folder.path(), "parts swimmer -k 4,6 --start random --prep raw --rows 100 --constraint none,kl --full -o full.html");
    assert_eq!(full["cells"].as_array().map(Vec::len), Some(4));
    assert!(full["cells"][3]["entry"]["atom_measures"]["sparseness"]["mean"].as_f64().is_some_and(|v| v > 0.0), "{full}");
    assert!(!mereo(folder.path(), "parts swimmer --seeds 1").status.success());
}

#[test]
fn parts_knows_every_start_and_constraint_with_its_strength() {
    let folder = tempfile::tempdir().expect("tempdir");
    let constraints =
        "none,l1=0.01,sparse-atoms=0.6,sparse-codes,orthogonal,volume,smooth,signed,exact,separable,kl,nsnmf=0.3,local";
    let line = "parts swimmer -k 12 --rows 200 --prep raw --start random,k-means,spa,snpa --max-passes 15 --constraint";
    let found = json(folder.path(), &format!("{line} {constraints}"));
    let cells = found["cells"].as_array().expect("cells");
    let of = |axis: usize, value: &str| {
        let cell = cells.iter().find(|c| c["values"][axis] == value);
        cell.unwrap_or_else(|| panic!("no cell of {value}: {}", found["left_out"]))
    };
    for word in constraints.split(',') {
        of(4, word);
    }
    let sparse = of(4, "sparse-atoms=0.6")["entry"]["atom_measures"]["sparseness"]["mean"].as_f64().expect("sparseness");
    assert!((sparse - 0.6).abs() < 1e-6, "{sparse}");
    assert!(
        of(2, "spa")["stability"].is_null() && of(2, "k-means")["stability"].is_f64(),
        "what is always the same is no agreement"
    );
    // Starts and the separable solver are fitted once where nothing is random, all others twice.
    assert_eq!(found["fits"].as_u64(), Some(2 * cells.len() as u64 - 3));
    let limited = found["stopped_at_limit"].as_u64().expect("a count");
    assert!(limited > 0 && found["answer"].to_string().contains(&format!("{limited} of ")), "{}", found["answer"]);
    // A cell that can't be is left out by name, and the others are there.
    let few = json(
        folder.path(),
        "parts swimmer -k 17 --rows 20 --prep raw --start random,nndsvd --constraint none,sparse-atoms=7 -o few.html",
    );
    assert!(few["left_out"][0].as_str().is_some_and(|l| l.contains("sparse-atoms=7") && l.contains("between 0")), "{few}");
    assert_eq!(few["cells"].as_array().map(Vec::len), Some(2));
    let said = mereo(folder.path(), "parts swimmer --constraint none,nonsense");
    assert!(!said.status.success() && text(&said.stderr).contains("no constraint `nonsense`"), "{}", text(&said.stderr));
}

#[test]
fn lee_seung_is_told_claim_by_claim_on_the_embedded_faces() {
    let folder = tempfile::tempdir().expect("tempdir");
    // Ten documents of two topics that share one word.
    let line = |i: usize| if i.is_multiple_of(2) { "5,3,0,0,2" } else { "0,0,5,3,2" };
    std::fs::write(folder.path().join("counts.csv"), (0..10).map(line).collect::<Vec<_>>().join("\n")).expect("write");
    std::fs::write(folder.path().join("words.txt"), "court\njudge\nmetal\niron\nlead").expect("write");
    let line = "repro lee-seung --passes 60 --counts counts.csv --vocabulary words.txt --features 2";
    let found = json(folder.path(), line);
    let claims = found["claims"].as_array().expect("claims");
    assert_eq!((claims.len(), found["embedded"].as_bool()), (12, Some(true)));
    for claim in claims {
        let id = claim["id"].as_str().expect("id");
        let held = claim["held"].as_bool().expect("a verdict");
        // N5 and N11 are of CBCL: on other faces LNMF may be less sparse than NMFSC is told to be, and zeros may cost less.
        assert!(held || matches!(id, "N5" | "N11"), "{claim}");
    }
    let page = page(folder.path(), "lee-seung.html");
    assert!(page.contains("No CBCL faces were at hand") && page.contains("Figure 1"));
    assert!(
        page.contains("nsNMF, θ 0.7") && page.contains("NMFSC, 0.85") && !page.contains(">target<td"),
        "the variants, without targets"
    );
    assert!(page.contains("A word of two meanings, lead") && page.contains("metal"), "figure 4 by its words");
    let out = mereo(folder.path(), "repro lee-seung --passes 2 --counts counts.csv --vocabulary counts.csv");
    assert!(text(&out.stderr).contains("has 10 lines for 5 columns"), "{}", text(&out.stderr));
}

#[test]
fn the_notes_are_done_again_on_the_embedded_faces() {
    let folder = tempfile::tempdir().expect("tempdir");
    let line = "repro notes --max-passes 30 --python no-such-python --no-grid";
    let out = Command::new(env!("CARGO_BIN_EXE_mereo"))
        .args(line.split_whitespace())
        .arg("--json")
        .env("MEREO_CACHE", folder.path().join("cache"))
        .current_dir(folder.path())
        .output()
        .expect("mereo runs");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said = text(&out.stderr);
    assert!(said.contains("the embedded ones stand in") && said.contains("no-such-python can't be started"), "{said}");
    let found: Value = serde_json::from_slice(&out.stdout).expect("json");
    let fits = found["fits"].as_array().expect("fits");
    let test: Vec<f64> = fits.iter().filter(|f| f["experiment"] == 4).filter_map(|f| f["test"].as_f64()).collect();
    assert!(test.len() >= 4 && test.windows(2).all(|w| w[1] < w[0]), "more rows, less held-out error: {test:?}");
    let last = fits.last().expect("a fit");
    assert!(last["train"].as_f64() < last["test"].as_f64() && last["k"] == 64);
    assert!(page(folder.path(), "notes.html").contains("scikit-learn is left out"));
}
