//! `mereo sweep` and `mereo scaling` as they are typed: files, tables, pages and mistakes.

#[cfg(unix)]
use crate::place::signal;
use crate::place::{Place, page, start, text, wait_for};
use mereo::synth;
use serde_json::Value;

/// Rows of a planted dictionary: 48 atoms in 16 columns.
fn planted(p: &Place) {
    let x = synth::dictionary(600, 16, 48, 3, 0).expect("data").data;
    p.npy("x.npy", 600, 16, |i, j| x.row(i)[j]);
}

fn number(v: &Value, name: &str) -> f64 {
    v[name].as_f64().unwrap_or_else(|| panic!("{name} of {v}"))
}

#[test]
fn a_sweep_writes_models_that_everything_loads_and_scaling_reads_it() {
    let p = Place::new();
    planted(&p);
    let grid = "sweep x.npy --latents 24,48,96 -k 2,4 --seeds 0,1 --batch 50 --max-passes 6 --test 0.2 -o runs";
    let told = p.json(grid);
    let fits = told["fits"].as_array().expect("fits");
    assert_eq!((fits.len(), told["rows"].as_u64(), told["held_out"].as_u64()), (12, Some(480), Some(120)));
    assert_eq!((told["params"]["batch"].as_u64(), &told["params"]["k"]), (Some(50), &Value::Null), "{told}");
    for fit in fits {
        let file = fit["file"].as_str().expect("file");
        let back = p.json(&format!("reconstruct runs/{file} x.npy -o back.npy"));
        assert!(number(&back["errors"], "fvu") < 1.0 && number(fit, "test_fvu") > 0.5 * number(fit, "fvu"), "{fit}");
        let about = p.json(&format!("info runs/{file}"));
        assert_eq!(about["atoms"].as_u64(), fit["latents"].as_u64(), "{about}");
        assert!(number(fit, "l0") > 0.5 && number(fit, "dead") < 1.0 && number(fit, "seconds") > 0.0);
    }
    let names: Vec<String> = std::fs::read_dir(p.path("runs"))
        .expect("runs")
        .map(|f| f.expect("f").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 14, "12 models, a table and a document: {names:?}");
    assert!(!p.names().iter().any(|n| n.contains("checkpoint")), "{:?}", p.names());
    let table = std::fs::read_to_string(p.path("runs/sweep.csv")).expect("table");
    assert!(table.starts_with("latents,k,lr,seed,passes,loss,fvu,test_fvu,l0,dead,seconds,file,reason\n"), "{table}");
    assert_eq!(table.lines().count(), 13);

    // The first seed's fits are those of `mereo fit`.
    p.ok("fit sae x.npy --latents 48 -k 4 --batch 50 --max-passes 6 --test 0.2 -o one.mereo");
    let same =
        fits.iter().find(|f| f["latents"] == 48 && f["k"] == 4 && f["seed"] == 0).and_then(|f| f["file"].as_str()).expect("fit");
    assert!(std::fs::read(p.path("one.mereo")).expect("one") == std::fs::read(p.path(&format!("runs/{same}"))).expect("same"));

    // By folder, by table, and as JSON: the same law.
    let law = p.json("scaling runs --at n=192,k=3");
    assert_eq!((law["loss"].as_str(), law["points"].as_array().map(Vec::len)), (Some("test_fvu"), Some(6)), "{law}");
    assert_eq!(law["points"][0]["losses"].as_array().map(Vec::len), Some(2), "two seeds");
    assert_eq!(law["lines"].as_array().map(Vec::len), Some(2));
    assert!(number(&law["joint"]["beta_k"], "error") > 0.0 && law["lines"][0]["alpha"]["value"].is_f64());
    let ahead = &law["predictions"][0];
    assert!(
        ahead["line"].is_null() && number(&ahead["joint"], "loss") > 0.0 && ahead["joint"]["interval"][1].is_f64(),
        "{ahead}"
    );
    let by_table = p.json("scaling runs/sweep.csv --column test_fvu -o csv.html");
    assert_eq!((&by_table["joint"], &by_table["lines"]), (&law["joint"], &law["lines"]));
    let page = page(&p.path("scaling.html"));
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 2, "by latents and by k");
    assert!(page.contains("k = 4") && page.contains("n = 96") && page.contains("class=\"guide\"") && page.contains("β_k"));
    let said = p.ok("scaling runs --column fvu -o runs/scaling.html");
    assert!(
        said.contains("R²") && said.contains("±") && said.contains("ln L = ") && said.contains("report written to"),
        "{said}"
    );
}

#[test]
fn the_best_length_of_a_step_is_told_and_what_diverges_has_a_reason() {
    let p = Place::new();
    planted(&p);
    let said = p.ok("sweep x.npy --latents 32 -k 3 --lr 1e-5,3e-3,1e30 --batch 50 --max-passes 4 -o runs");
    assert!(said.contains("lower lr, which was") && said.contains("diverged"), "{said}");
    assert!(
        said.lines().any(|l| l.split_whitespace().collect::<Vec<_>>()[..] == ["latents", "k", "best", "lr", "FVU", "seeds"]),
        "{said}"
    );
    let told: Value = serde_json::from_str(&std::fs::read_to_string(p.path("runs/sweep.json")).expect("json")).expect("json");
    assert_eq!(number(&told["best"][0], "lr"), 3e-3, "{told}");
    assert!(told["fits"][2]["file"].is_null() && told["fits"][2]["reason"].as_str().is_some_and(|r| r.contains("in pass")));
    assert!(p.path("runs/n32-k3-lr0.003-s0.mereo").exists());
    let out = p.run("sweep x.npy --latents 32 -k 3 --lr 1e30 --batch 50 --max-passes 4 -o lost");
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("every fit diverged; lower --lr") && text(&out.stdout).contains("diverged"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_keeps_its_models_and_goes_on_to_the_same_bytes() {
    let p = Place::new();
    p.slow("x.npy");
    let line = |out: &str| format!("sweep x.npy --latents 300,600 -k 8 --batch 100 --max-passes 12 -o {out}");
    let child = start(&p, &format!("{} --every 0", line("cut")));
    wait_for("a checkpoint after some passes", || {
        p.path("cut.checkpoint").exists() && {
            let out = p.run("info cut.checkpoint --json");
            serde_json::from_slice::<Value>(&out.stdout).is_ok_and(|v| v["passes"].as_u64().is_some_and(|n| n >= 1))
        }
    });
    signal(&child, "-INT");
    let out = child.wait_with_output().expect("end");
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("the models so far are in cut, and the same command with --resume continues them"), "{said}");
    let csv = std::fs::read_to_string(p.path("cut/sweep.csv")).expect("table");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(p.ok("info cut.checkpoint").contains("mereo sweep … --resume"));
    p.ok(&format!("{} --resume", line("cut")));
    p.ok(&line("whole"));
    for file in std::fs::read_dir(p.path("whole")).expect("folder").map(|f| f.expect("entry").path()) {
        if file.extension().is_some_and(|e| e == "mereo") {
            let other = p.path("cut").join(file.file_name().expect("name"));
            assert!(std::fs::read(&file).expect("whole") == std::fs::read(&other).expect("cut"), "{}", file.display());
        }
    }
    assert!(!p.path("cut.checkpoint").exists());
}

#[test]
fn mistakes_in_a_sweep_are_told_with_the_fix() {
    let p = Place::new();
    planted(&p);
    p.write("file", "x");
    for (code, line, what) in [
        (2, "sweep x.npy -k 2 -o file", "name a folder"),
        (2, "sweep x.npy -k 2,40 --latents 32 -o runs", "fit 2 of 2: k = 40 exceeds the 32 latents; lower k"),
        (2, "sweep x.npy -k 2 --validation 0.1 -o runs", "set validation and patience to 0"),
        (2, "sweep x.npy --latents 5000,9000 -k 2 --memory 4M -o runs", "several sweeps"),
        (1, "sweep x.npy -k 2 -o no/such", "doesn't exist"),
        (1, "sweep no.npy -k 2 -o runs", "no file or folder"),
        (2, "sweep x.npy -k 2 --checkpoint x.npy -o runs", "has another part"),
    ] {
        let said = p.fails(code, line);
        assert!(said.contains(what), "{line}: {said}");
    }
    assert!(!p.path("runs").exists());
    // Its own input is never written over.
    p.ok("sweep x.npy --latents 32 -k 2 --lr 1e-3 --batch 50 --max-passes 1 -o own");
    std::fs::copy(p.path("x.npy"), p.path("own/sweep.csv")).expect("copy");
    assert!(p.fails(2, "sweep own/sweep.csv -k 2 -o own").contains("has another part"));
}

#[test]
fn scaling_of_published_losses_gives_the_published_laws_and_mistakes_are_told() {
    let p = Place::new();
    let losses = [
        (16, [0.2300, 0.2174, 0.2113, 0.1994, 0.1943]),
        (32, [0.1751, 0.1649, 0.1594, 0.1516, 0.1459]),
        (64, [0.1419, 0.1308, 0.1262, 0.1195, 0.1150]),
        (128, [0.1111, 0.1051, 0.1023, 0.0972, 0.0923]),
    ];
    let sizes = [3072, 4608, 6144, 9216, 12288];
    let row =
        |(k, losses): (usize, [f64; 5])| sizes.iter().zip(losses).map(|(n, loss)| format!("{n},{k},{loss}")).collect::<Vec<_>>();
    let table = [vec!["n,k,nmse".to_string()], losses.into_iter().flat_map(row).collect()].concat().join("\n");
    p.write("paper.csv", &table);
    let said = p.ok("scaling paper.csv --at n=24576,k=64");
    assert!(said.contains("ln L = 0.364 − 0.300 ln k − 0.111 ln n − 0.0055 ln k ln n"), "{said}");
    assert!(said.lines().any(|l| l.starts_with("16 ") && l.contains("0.6147") && l.contains("0.1227")), "{said}");
    assert!(said.lines().any(|l| l.starts_with("24576") && l.contains(" to ")), "{said}");
    assert!(page(&p.path("scaling.html")).contains("n = 12288"));
    p.write("one.json", r#"[{"latents": 64, "k": 4, "fvu": 0.5}, {"latents": 128, "k": 4, "fvu": 0.4}]"#);
    let one = p.ok("scaling one.json");
    assert!(one.contains("At k = 4 the loss goes as n^−0.322"), "{one}");
    assert!(page(&p.path("scaling.html")).contains("sweep two or more"), "why there is no joint law");
    p.write("flat.csv", "latents,k,fvu\n64,2,0.5\n64,4,0.4\n");
    p.write("zero.csv", "latents,k,fvu\n64,2,0\n128,2,0.4\n");
    p.write("other.csv", "a,b\n1,2\n");
    for (code, line, what) in [
        (1, "scaling flat.csv", "all points have 64 latents"),
        (1, "scaling zero.csv", "leave it out"),
        (1, "scaling other.csv", "no column of numbers `latents`"),
        (1, "scaling paper.csv --column fvu", "it has n, k, nmse"),
        (1, "scaling no.csv", "mereo sweep DATA"),
        (2, "scaling paper.csv -o paper.csv", "has another part"),
        (2, "scaling paper.csv --at 12288", "n=12288,k=64"),
        (2, "scaling scaling.html", "give the folder"),
    ] {
        let said = p.fails(code, line);
        assert!(said.contains(what), "{line}: {said}");
    }
}
