//! `mereo dynamics` as it is typed: tables, pages, numbers, and mistakes.

use crate::place::{Place, text};
use serde_json::Value;

/// The setup of the paper: two spikes whose errors of PCA are 0.5, 0.14283 and 0.01423.
const PAPER: &str = "dynamics --shares 0.7143,0.2571 --bulk 0.0286";

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn last(run: &Value) -> (f64, f64) {
    let p = run["points"].as_array().and_then(|p| p.last()).expect("points");
    (p["s"].as_f64().expect("s"), p["error"].as_f64().expect("error"))
}

fn page(p: &Place) -> String {
    crate::place::page(&p.path("dynamics.html"))
}

#[test]
fn two_components_are_learned_one_after_the_other_as_theory_says() {
    let p = Place::new();
    let told = p.json(&format!("{PAPER} --d 300 --until 120 --points 60 --curves c.parquet"));
    let (theory, simulation) = (&told["theory"], &told["simulation"]);
    let pca = numbers(&theory["pca"]);
    assert!((pca[0] - 0.5).abs() < 1e-4 && (pca[1] - 0.142_85).abs() < 1e-4 && (pca[2] - 0.0142).abs() < 2e-4, "{pca:?}");
    let ((s, error), (_, met)) = (last(theory), last(simulation));
    assert_eq!(s, 120.0);
    // The paper's course is at 1.5 times the error of PCA here; no run can be below it.
    assert!(error > pca[2] && error < 2.0 * pca[2], "{error}");
    assert!((met - error).abs() < 0.01, "{met} {error}");
    for run in [theory, simulation] {
        let aligned = numbers(&run["phases"]["aligned"]);
        assert!(aligned.len() == 2 && aligned[0] < aligned[1], "PC1 first: {aligned:?}");
        assert_eq!(run["ended"], "whole");
    }
    assert_eq!((told["params"]["k"].as_u64(), told["data"]["d"].as_u64()), (Some(2), Some(300)));

    let info = p.json("info c.parquet");
    let points = theory["points"].as_array().expect("points").len() + simulation["points"].as_array().expect("points").len();
    assert_eq!((info["rows"].as_u64(), info["cols"].as_u64()), (Some(points as u64), Some(3 + 16 + 2 + 8 + 2 + 2)), "{info}");
    let page = page(&p);
    for word in ["PCA(2)", "slope 1/3", "Order parameters", "unit 1, PC1", "decoder 2", "Eigenvalues", "mereo dynamics --shares"]
    {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn the_table_and_the_csv_hold_the_numbers_of_both_runs() {
    let p = Place::new();
    let said = p.ok("dynamics --d 100 --until 20 --points 30 --rule truncated --seed 4 --curves c.csv");
    let lines: Vec<&str> = said.lines().collect();
    for word in ["s ", "error, theory", "error, simulation", "× PCA(2)", "PC1", "mean Q", "mean T0"] {
        assert!(lines[0].contains(word), "{said}");
    }
    assert!(lines[12].starts_with("20 "), "twelve times, the last one 20: {said}");
    assert!(said.contains("PC1 within the decoders") && said.contains("In the simulation, after s = 20 the error is"), "{said}");
    let csv = std::fs::read_to_string(p.path("c.csv")).expect("csv");
    let mut rows = csv.lines().map(|l| l.split(',').collect::<Vec<_>>());
    let names = rows.next().expect("names");
    let column = |name: &str| names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("{name} of {names:?}"));
    let rows: Vec<Vec<f64>> = rows.map(|r| r.iter().map(|v| v.parse().expect("a number")).collect()).collect();
    let (theory, simulation): (Vec<_>, Vec<_>) = rows.iter().partition(|r| r[column("simulation")] == 0.0);
    assert!(theory.len() > 25 && simulation.len() > 20);
    // Both begin at the same weights.
    for name in ["error", "q_11", "q_12", "r_21", "t0_22", "t1_12", "encoder_2", "decoder_1_pc_2", "span_pc_1"] {
        let (a, b) = (theory[0][column(name)], simulation[0][column(name)]);
        assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{name}: {a} {b}");
    }
    let row = csv.lines().find(|l| l.starts_with("1.0,")).expect("the simulation");
    let json = p.json("dynamics --d 100 --until 20 --points 30 --rule truncated --seed 4 --sgd");
    let first = json["simulation"]["points"][0]["error"].as_f64().expect("error");
    assert!((row.split(',').nth(2).and_then(|v| v.parse::<f64>().ok()).expect("error") - first).abs() < 1e-6);
    assert!(json["theory"].is_null(), "only what was asked for");
}

#[test]
fn both_forms_of_the_equations_have_the_same_course() {
    let p = Place::new();
    let line = format!("{PAPER} --d 200 --until 100 --points 25");
    let vectors = p.json(&format!("{line} --ode"));
    let modes = p.json(&format!("{line} --form modes --curves c.csv"));
    let ((_, a), (_, b)) = (last(&vectors["theory"]), last(&modes["theory"]));
    assert!((a - b).abs() < 1e-8, "{a} {b}");
    assert_eq!(vectors["simulation"], Value::Null);
    let said = p.ok(&format!("{line} --ode --form modes"));
    assert!(!said.contains("never") && !said.contains("not learned"), "what is not followed is not told: {said}");
    assert!(!page(&p).contains("Encoders"));
    let csv = std::fs::read_to_string(p.path("c.csv")).expect("csv");
    let widths: Vec<usize> = csv.lines().map(|l| l.split(',').count()).collect();
    assert!(widths.len() > 40 && widths.iter().all(|w| *w == widths[0]));
}

#[test]
fn infinitely_many_dimensions_have_equations_only() {
    let p = Place::new();
    let told = p.json("dynamics --d inf --shares 0.7,0.27,0.03 --until 3e4 --eta 1");
    assert!(told["simulation"].is_null() && told["data"]["d"] == "inf");
    let pca = numbers(&told["theory"]["pca"]);
    let (_, error) = last(&told["theory"]);
    assert!(error > pca[2] && error < 1.02 * pca[2], "{error} {pca:?}");
    let growth = told["theory"]["phases"]["growth"].as_f64().expect("an exponent");
    assert!((0.28..0.4).contains(&growth), "{growth}");
    assert!(p.fails(2, "dynamics --d inf --both").contains("set --d to a number"));
    assert!(p.fails(2, "dynamics --d inf --sgd").contains("set --d to a number"));
    assert!(page(&p).contains("infinitely many dimensions"));
}

#[test]
fn images_are_learned_beside_the_theory_of_their_second_moments() {
    let p = Place::new();
    let line = "dynamics --data faces --resize 12x12 --k 2 --until 60 --points 40";
    let said = p.ok(line);
    assert!(said.contains("In theory") && said.contains("In the simulation"), "{said}");
    let page = page(&p);
    for word in ["Decoders v", "Principal components", "AT&amp;T", "(images of 12×12)", "320 rows to learn from, 80 held out"] {
        assert!(page.contains(word), "{word}");
    }
    let told = p.json("dynamics --data digits --k 2 --until 300 --points 40 --keep 500 --test 200");
    assert_eq!((told["data"]["train"].as_u64(), told["data"]["test"].as_u64()), (Some(500), Some(200)));
    // Prepared to a standard deviation of a half, whose half square is an eighth.
    let (theory, held) = (numbers(&told["theory"]["pca"]), numbers(&told["simulation"]["pca"]));
    assert!((theory[0] - 0.125).abs() < 1e-5 && (held[0] - 0.125).abs() < 1e-5 && theory[2] != held[2], "{theory:?} {held:?}");
    let ((_, a), (_, b)) = (last(&told["theory"]), last(&told["simulation"]));
    assert!(a < theory[1] && (a / b - 1.0).abs() < 0.15, "{a} {b}");
    let gauss = p.json("dynamics --data digits --k 2 --until 300 --points 40 --gaussian --sgd");
    let (least, reached) = (numbers(&gauss["simulation"]["pca"])[2], last(&gauss["simulation"]).1);
    assert!(least < reached && reached < 1.3 * least, "{reached} {least}");
    assert!(gauss["data"]["name"].as_str().is_some_and(|name| name.contains("Gaussian")));
}

#[test]
fn a_rate_too_high_diverges_and_is_told_with_what_was_good() {
    let p = Place::new();
    for more in ["", " --json"] {
        let out = p.run(&format!("dynamics --d 50 --eta 60 --until 50 --sgd --curves c.csv{more}"));
        let (said, story) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(out.status.code(), Some(1), "{said}{story}");
        assert!(story.contains("error: the simulation diverged after s = ") && story.contains("lower --eta from 60"), "{story}");
        if more.is_empty() {
            assert!(said.contains("The simulation diverged after s = ") && said.contains("report written to"), "{said}");
        } else {
            let told: Value = serde_json::from_str(&said).expect("one document");
            assert!(told["simulation"]["ended"]["diverged"]["s"].as_f64().is_some_and(|s| s < 50.0), "{said}");
        }
        let csv = std::fs::read_to_string(p.path("c.csv")).expect("csv");
        assert!(csv.lines().count() > 1 && !csv.contains("NaN") && !csv.contains("inf"), "{csv}");
        assert!(page(&p).contains("diverged after"));
    }
}

#[test]
fn mistakes_are_refused_with_the_fix_before_any_work() {
    let p = Place::new();
    p.npy("nan.npy", 20, 4, |i, j| if (i, j) == (3, 1) { f32::NAN } else { (i * j) as f32 });
    p.npy("flat.npy", 20, 4, |_, _| 2.0);
    p.npy("rows.npy", 20, 4, |i, j| ((i * 7 + j * 3) % 11) as f32);
    let names = p.names();
    for (code, line, fix) in [
        (2, "--eta 0", "eta = 0 must be a number above 0"),
        (2, "--eta -1", "eta = -1 must be a number above 0"),
        (2, "--until 0.001", "raise until"),
        (2, "--d 10 --k 11", "lower k"),
        (2, "--data rows.npy --k 5", "lower k"),
        (2, "--d 3 --spikes 4", "exceed the 3 dimensions"),
        (2, "--spikes 0", "1 to 25"),
        (2, "--d 2.5", "a whole number from 1"),
        (2, "--ode --tied --form modes", "use the form of vectors"),
        (2, "--data rows.npy --bias --form modes", "use the form of vectors"),
        (2, "--ode --rule sanger", "set activation to linear"),
        (2, "--ode --rule truncated --tied", "drop tied"),
        (2, "--ode --sgd", "cannot be used with"),
        (2, "--ode --both", "cannot be used with"),
        (2, "--shares 0.5 --spikes 1", "cannot be used with"),
        (2, "--shares 0.5,-0.1", "from 0"),
        (2, "--bulk 0.1", "--shares"),
        (2, "--data rows.npy --d 4", "cannot be used with"),
        (2, "--gaussian", "--data"),
        (2, "--points 1", "set points to 2 or more"),
        (2, "--points 1000000", "finer than any plot"),
        (2, "--curves c.npy", ".csv, .tsv or .parquet"),
        (2, "--curves same.csv -o same.csv", "a file of its own"),
        (1, "--curves no/such/c.csv", "no/such doesn't exist"),
        (1, "-o no/such/page.html", "no/such doesn't exist"),
        (1, "--data nan.npy", "row 3, column 1"),
        (2, "--data spiked --resize 4x4", "are no images"),
        (1, "--data flat.npy", "all numbers of the data are the same"),
        (1, "--data nowhere", "there is no file"),
        (2, "--data rows.npy -o rows.npy", "a file of its own"),
    ] {
        let out = p.run(&format!("dynamics {line}"));
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains("error: ") && said.contains(fix) && !said.contains("a bug"), "{line}: {said}");
        assert_eq!(p.names(), names, "{line} leaves nothing");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_writes_what_there_is() {
    let p = Place::new();
    let mut child = crate::place::start(&p, "dynamics --d 200 --until 1e7 --points 400 --sgd --curves c.csv");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    crate::place::signal(&child, "-INT");
    let status = child.wait().expect("an end");
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("stdout"), &mut out).expect("text");
    assert_eq!(status.code(), Some(130), "{out}");
    assert!(out.contains("The simulation was stopped at s = ") && out.contains("report written to"), "{out}");
    assert!(p.path("c.csv").exists() && page(&p).contains("was stopped at"));
}
