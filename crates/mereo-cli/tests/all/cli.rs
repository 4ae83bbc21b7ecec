//! The command line from outside: every command end to end, and every mistake answered with what to do about it.

#[cfg(unix)]
use crate::place::signal;
use crate::place::{Place, read_npy, start, text, wait_for};
use serde_json::Value;
use std::ffi::OsStr;
use std::time::Duration;

#[test]
fn alone_it_prints_help_and_every_command_has_some() {
    let p = Place::new();
    let out = p.run("");
    let said = text(&out.stderr) + &text(&out.stdout);
    for command in ["compare", "dynamics", "fit", "transform", "reconstruct", "inspect", "export", "info", "data", "completions"]
    {
        assert!(said.contains(&format!("\n  {command} ")), "{command} is listed");
        p.ok(&format!("{command} --help"));
    }
    for method in ["pca", "vq", "nmf", "ae", "sae"] {
        let help = p.ok(&format!("fit {method} --help"));
        let k = if method == "sae" { "ALIVE" } else { "ATOMS" };
        assert!(help.contains(&format!("-k, --k <{k}>")) && help.contains("--seed") && help.contains("[default:"), "{help}");
    }
    assert!(p.ok("--version").starts_with("mereo "));
    assert!(p.fails(2, "fit nmf faces --max-pases 3 -o x").contains("--max-pases"));
    assert!(p.names().is_empty());
}

#[test]
fn the_whole_way_with_every_method() {
    let p = Place::new();
    for method in ["pca", "vq", "nmf", "ae", "sae"] {
        // Of a sparse autoencoder k is how many of its atoms are alive on a row.
        let (own, k) = if method == "sae" { ("--latents 80 --batch 100 --max-passes 20", 80) } else { ("", 7) };
        let fit = p.json(&format!("fit {method} digits -k 7 --test 0.2 --prep unit-norm {own} -o {method}.mereo"));
        assert_eq!((fit["rows"].as_u64(), fit["test"]["rows"].as_u64()), (Some(1438), Some(359)), "{fit}");
        assert_eq!(fit["prep"], serde_json::json!(["unit-norm"]));
        assert_eq!(fit["params"]["k"], 7);
        let (train, test) = (fit["train"]["fvu"].as_f64().expect("fvu"), fit["test"]["fvu"].as_f64().expect("fvu"));
        assert!(0.1 < train && train < test && test < 0.8, "{method}: {train} {test}");

        let told = p.json(&format!("transform {method}.mereo digits -o {method}.npy"));
        assert_eq!((told["rows"].as_u64(), told["atoms"].as_u64()), (Some(1797), Some(k as u64)));
        let (shape, codes) = read_npy(&p.path(&format!("{method}.npy")));
        assert_eq!((shape, codes.len()), (vec![1797, k], 1797 * k));
        if method == "sae" {
            assert!(codes.chunks(k).all(|row| row.iter().filter(|v| **v != 0.0).count() <= 7), "no more than k are alive");
            assert!(fit["used"][19]["l0"].as_f64().is_some_and(|l0| l0 > 3.0 && l0 <= 7.0), "{fit}");
            assert!(fit["speed"].as_f64().is_some_and(|speed| speed > 0.0));
        }
        if method == "vq" {
            assert!(codes.chunks(7).all(|row| row.iter().filter(|v| **v != 0.0).count() == 1), "codes are one-hot");
        }

        let told = p.json(&format!("reconstruct {method}.mereo digits -o back.npy"));
        let (shape, back) = read_npy(&p.path("back.npy"));
        assert_eq!(shape, [1797, 64]);
        // Back in units of ink from 0 to 1, not of rows of length 1.
        let mean = back.iter().sum::<f32>() / back.len() as f32;
        assert!((mean - 0.305).abs() < 0.03, "{method}: mean ink {mean}");
        assert!(told["errors"]["fvu"].as_f64().expect("fvu") < 0.8);

        let seen = p.json(&format!("inspect {method}.mereo --data digits"));
        let atoms = seen["atoms"].as_array().expect("atoms");
        assert_eq!((atoms.len(), seen["model"]["method"].as_str()), (k, Some(method)));
        let shares: f64 = atoms.iter().map(|a| a["share"].as_f64().expect("share")).sum();
        assert!((shares - 1.0).abs() < 1e-9, "shares add up");
        assert_eq!(atoms[0]["strongest"].as_array().map(Vec::len), Some(5));
        let alone = p.json(&format!("inspect {method}.mereo"));
        let known = match method {
            "pca" => Some("variance"),
            "vq" | "sae" => Some("rows"),
            _ => None,
        };
        for name in ["variance", "rows"] {
            let shares: Vec<f64> = alone["atoms"].as_array().expect("atoms").iter().filter_map(|a| a[name].as_f64()).collect();
            assert_eq!(shares.len(), if known == Some(name) { k } else { 0 }, "{alone}");
            assert!(method == "sae" || shares.is_sorted_by(|a, b| a >= b));
            match (method, known == Some(name)) {
                ("pca", true) => assert!((shares.iter().sum::<f64>() - (1.0 - train)).abs() < 1e-4, "what it explains"),
                ("vq", true) => assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "every row is in one cell"),
                _ => {}
            }
        }
        let table = p.ok(&format!("inspect {method}.mereo"));
        assert_eq!(table.contains("variance explained"), method == "pca", "{table}");
        let model = p.json(&format!("info {method}.mereo"));
        assert_eq!((model["what"].as_str(), model["cols"].as_u64()), (Some("model"), Some(64)));

        p.ok(&format!("export {method}.mereo --atoms atoms.npy"));
        assert_eq!(read_npy(&p.path("atoms.npy")).0, [k, 64]);
        p.ok(&format!("export {method}.mereo --atoms atoms.png"));
        assert!(std::fs::read(p.path("atoms.png")).expect("png").starts_with(b"\x89PNG"));
    }
    assert!(p.names().iter().all(|n| !n.contains("checkpoint") && !n.contains(".part")), "{:?}", p.names());
}

#[test]
fn an_autoencoder_stops_early_and_tells_when_it_diverges() {
    let p = Place::new();
    let told = p.json("fit ae digits -k 30 --lr 0.05 --decay none --patience 2 --validation 0.2 --max-passes 60 -o a.mereo");
    let held: Vec<f64> = told["held"].as_array().expect("held").iter().filter_map(Value::as_f64).collect();
    let best = held.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(told["passes"].as_u64(), Some(held.len() as u64));
    assert_eq!(told["model_of"].as_u64().map(|pass| held[pass as usize - 1]), Some(best), "{told}");
    assert!(p.ok("fit ae digits -k 4 --patience 3 --max-passes 5 -o b.mereo").contains("held out"));
    // Steps that grow until they are too long.
    let line = "fit ae digits -k 4 --activation linear --optimizer sgd --lr 50 --warmup 1 --max-passes 60 -o c.mereo";
    let out = p.run(line);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("error: the fit diverged after pass") && said.contains("lower lr, which was 50"), "{said}");
    assert!(text(&out.stdout).contains("diverged after it"), "{}", text(&out.stdout));
    assert!(p.names().iter().any(|n| n == "c.mereo.checkpoint"), "{:?}", p.names());
    assert!(p.json("reconstruct c.mereo digits -o back.npy")["errors"]["fvu"].as_f64().is_some_and(|v| v < 1.0), "a good model");
    // It goes on from there with shorter steps.
    p.ok(&format!("{} --resume", line.replace("--lr 50", "--lr 0.2")));
    assert!(p.fails(2, &line.replace("--warmup 1", "--warmup 0")).contains("in pass 1"));
    assert!(p.fails(2, "fit ae digits --kl 0.1 -o x").contains("sigmoid"));
}

#[test]
fn latents_of_a_sparse_autoencoder_are_inspected() {
    let p = Place::new();
    let fit = p.ok("fit sae digits --latents 128 -k 6 --batch 100 --max-passes 15 --validation 0.1 -o s.mereo");
    assert!(fit.contains("% dead") && fit.contains("rows a second") && fit.contains("held out"), "{fit}");
    let seen = p.json("inspect s.mereo --data digits");
    let l = &seen["latents"];
    for field in ["density", "encoder_decoder", "nearest"] {
        assert_eq!(l[field].as_array().map(Vec::len), Some(128), "{field}");
    }
    let (on, fvu) = (&l["on"], seen["on"]["errors"]["fvu"].as_f64().expect("fvu"));
    assert!((on["fvu"].as_f64().expect("fvu") - fvu).abs() < 1e-6, "{on}");
    assert!(on["l0"].as_f64().is_some_and(|l0| l0 > 3.0 && l0 <= 6.0));
    let ks: Vec<u64> = l["multi_k"].as_array().expect("curve").iter().filter_map(|at| at["k"].as_u64()).collect();
    assert_eq!(ks, [2, 3, 6, 12, 24]);
    let told = p.ok("inspect s.mereo --data digits --list 7 -o s.html");
    for words in ["encoder·decoder", "… of 128 latents", "explained", "firing", "FVU by k", " at 24", "nearest"] {
        assert!(told.contains(words), "{words} in {told}");
    }
    let page = std::fs::read_to_string(p.path("s.html")).expect("page");
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 4, "three histograms and a curve");
    assert!(page.contains("128 latents of digits") && page.contains("Other numbers alive"));
    // Nested prefixes, each by itself: the last is the whole.
    p.ok("fit sae digits --latents 96 -k 6 --batch 100 --max-passes 8 --prefixes 0.25,0.5,1 -o nested.mereo");
    let nested = p.json("inspect nested.mereo --data digits");
    let at = nested["latents"]["prefixes"].as_array().expect("prefixes");
    let of = |field: &str| at.iter().filter_map(|at| at[field].as_f64()).collect::<Vec<_>>();
    assert_eq!(of("latents"), [24.0, 48.0, 96.0]);
    assert!(of("fvu").is_sorted_by(|a, b| a > b) && of("l0").is_sorted(), "{nested}");
    let whole = nested["latents"]["on"]["fvu"].as_f64().expect("fvu");
    assert!((of("fvu")[2] - whole).abs() < 1e-6, "{whole} {:?}", of("fvu"));
    assert!(p.ok("inspect nested.mereo --data digits").contains("of the first 24"));
    // Atoms that are looked for: all of its own, by the model and by their numbers, and none of another width.
    p.ok("export nested.mereo --atoms nested.npy");
    for truth in ["nested.mereo", "nested.npy"] {
        let truth = &p.json(&format!("inspect nested.mereo --truth {truth}"))["truth"];
        assert_eq!((truth["atoms"].as_u64(), truth["recovered"].as_f64()), (Some(96), Some(1.0)), "{truth}");
    }
    assert!(p.ok("inspect nested.mereo --truth s.mereo").contains("atoms found above cosine .95"));
    assert!(p.fails(1, "inspect nested.mereo --truth faces").contains("can't be matched with"));
    // Without data, from what the fit remembers; of another method, its atoms.
    assert!(p.ok("inspect s.mereo").contains("last pass"));
    p.ok("fit nmf digits -k 4 -o n.mereo");
    p.ok("inspect n.mereo -o n.html");
    assert!(std::fs::read_to_string(p.path("n.html")).expect("page").contains("4 atoms of digits"));
    assert!(p.fails(1, "inspect s.mereo -o no/such.html").contains("no doesn't exist"));
    for (flags, words) in [
        ("--architecture relu", "sparsity = 0"),
        ("--l0 20", "jumprelu"),
        ("--architecture group-max --latents 100 -k 7", "multiple of k"),
        ("--prefixes 0.5,0.25,1", "rise to 1"),
        ("--multi 0.1 --architecture batch-topk", "topk"),
        ("--latents 0", "latents = 0"),
    ] {
        let said = p.fails(2, &format!("fit sae digits {flags} -o x"));
        assert!(said.contains(words), "{flags}: {said}");
    }
}

#[test]
fn no_rows_are_held_out_where_that_is_asked() {
    let p = Place::new();
    for (fit, rows) in [("--test 0", 1797), ("--test 0 --train 100", 100), ("--test 0%", 1797)] {
        let told = p.json(&format!("fit vq digits -k 3 {fit} -o {rows}.mereo"));
        assert_eq!((told["rows"].as_u64(), &told["test"]), (Some(rows), &Value::Null), "{fit}");
    }
    p.ok("fit vq digits -k 3 -o all.mereo");
    let file = |name: &str| std::fs::read(p.path(name)).expect("model");
    assert!(file("all.mereo") == file("1797.mereo"));
    let told = p.json("compare digits -k 3 --ks none --test 0");
    assert_eq!((told["data"]["train"].as_u64(), told["data"]["test"].as_u64()), (Some(1797), Some(0)));
    assert!(p.fails(2, "fit vq digits -k 3 --train 0 -o x").contains("--train"));
}

#[test]
fn same_seed_same_bytes_on_any_number_of_threads() {
    let p = Place::new();
    for method in ["pca", "vq", "nmf", "ae", "sae"] {
        for (threads, seed) in [(1, 5), (3, 5), (1, 6)] {
            p.ok(&format!("fit {method} digits -k 5 --seed {seed} --test 100 --threads {threads} -o {method}{threads}{seed}"));
        }
        let file = |name: &str| std::fs::read(p.path(&format!("{method}{name}"))).expect("model");
        assert_eq!(file("15"), file("35"), "{method}");
        assert_ne!(file("15"), file("16"), "{method}: the seed matters");
    }
}

#[test]
fn results_go_to_stdout_and_the_story_to_stderr() {
    let p = Place::new();
    let out = p.run("fit vq digits -k 3 --max-passes 1 -o a.mereo");
    assert!(text(&out.stdout).contains("stopped at the limit before it converged"), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("--max-passes"), "the limit is pointed out: {}", text(&out.stderr));
    let out = p.run("fit vq digits -k 3 --max-passes 1 -o a.mereo --quiet");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    let out = p.run("fit nmf digits -k 0 -o a.mereo --json");
    let error: Value = serde_json::from_slice(&out.stdout).expect("the error is a document too");
    assert_eq!((error["exit_code"].as_i64(), out.status.code()), (Some(2), Some(2)));
    assert!(error["error"].as_str().expect("message").contains("k = 0"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let p = Place::new();
    for line in ["completions bash", "data list", "info digits"] {
        let mut child = start(&p, line);
        drop(child.stdout.take());
        let out = child.wait_with_output().expect("end");
        assert!(out.status.success() && out.stderr.is_empty(), "{line}: {}", text(&out.stderr));
    }
    let full = std::fs::File::options().write(true).open("/dev/full");
    if let Ok(full) = full {
        let out = p.command(&["data", "list"]).stdout(full).output().expect("run");
        assert_eq!(out.status.code(), Some(1));
        assert!(text(&out.stderr).starts_with("error: standard output"), "{}", text(&out.stderr));
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let p = Place::new();
    for method in ["pca", "vq", "nmf", "ae", "sae"] {
        let said = p.fails(2, &format!("fit {method} digits -k 0 -o x"));
        assert!(said.starts_with("error: k ") && said.contains('0'), "{said}");
        let said = p.fails(2, &format!("fit {method} digits -k 100000 -o x"));
        assert!(said.contains("100000") && said.contains("lower k"), "{said}");
    }
    p.fails(2, "fit nmf digits -k -1 -o x");
    p.fails(2, "fit nmf digits -k 3 --tol=-1 -o x");
    p.fails(2, "fit nmf digits --memory 2Q -o x");
    p.fails(2, "fit nmf digits --resize 8 -o x");
    p.fails(2, "fit nmf digits --prep whiten -o x");
    p.fails(2, "fit nmf digits --every=-1 -o x");
    assert!(p.fails(2, "fit nmf digits --train 1000 --test 1000 -o x").contains("1797 rows"));
    p.fails(2, "fit nmf digits");
    assert!(p.names().is_empty(), "{:?}", p.names());
}

#[test]
fn data_that_cannot_be_used_is_named_by_its_place() {
    let p = Place::new();
    p.write("ok.csv", "a,b\n1,2\n3,4\n5,7\n");
    p.write("nan.csv", "a,b\n1,2\n3,nan\n5,6\n");
    p.write("ragged.csv", "a,b\n1,2\n3\n5,6\n");
    p.write("words.csv", "a,b\n1,2\n3,x\n5,6\n");
    p.write("empty.csv", "");
    p.npy("negative.npy", 5, 3, |i, j| if (i, j) == (3, 1) { -2.0 } else { 1.0 });
    p.npy("whole.npy", 20, 8, |i, j| (i * j) as f32);
    let whole = std::fs::read(p.path("whole.npy")).expect("npy");
    p.write("cut.npy", &whole[..whole.len() - 7]);
    let huge = text(&whole[..128]).replace("(20, 8), }                ", "(1152921504606846976, 8), }");
    assert!(huge.contains("1152921504606846976"));
    p.write(
        "huge.npy",
        [&b"\x93NUMPY\x01\x00"[..], &whole[8..10], &huge.as_bytes()[huge.find('{').expect("header")..], &whole[128..]].concat(),
    );

    assert_eq!(p.json("fit pca ok.csv -k 1 -o ok.mereo")["rows"], 3);
    assert_eq!(p.json("inspect ok.mereo")["atoms"][0]["strongest"][0]["name"], "b");
    let said = p.fails(1, "fit pca nan.csv -k 1 -o x");
    assert!(said.contains("nan.csv: line 3, column 2 (b)"), "{said}");
    let said = p.fails(1, "fit nmf negative.npy -k 1 -o x");
    assert!(said.contains("row 3, column 1 is -2"), "{said}");
    p.ok("fit pca negative.npy -k 1 -o negative.mereo");
    for file in ["ragged.csv", "words.csv", "empty.csv", "cut.npy", "huge.npy"] {
        let said = p.fails(1, &format!("fit pca {file} -k 1 -o x"));
        assert!(said.contains(file), "{said}");
    }
    let said = p.fails(1, "fit pca nowhere.csv -k 1 -o x");
    assert!(said.contains("nowhere.csv"), "{said}");
    let said = p.fails(1, "fit pca facse -k 1 -o x");
    assert!(said.contains("did you mean `faces`?"), "{said}");
    assert!(!p.path("x").exists());
    let info = p.json("info negative.npy");
    assert_eq!((info["values"]["negative"].as_u64(), info["values"]["min"].as_f64()), (Some(1), Some(-2.0)));
}

#[test]
fn first_atoms_can_be_given() {
    let p = Place::new();
    p.ok("fit nmf digits -k 4 -o a.mereo --max-passes 300");
    p.ok("export a.mereo --atoms atoms.npy");
    let on = p.json("fit nmf digits -k 4 -o b.mereo --init given --given atoms.npy --max-passes 30");
    let fresh = p.json("fit nmf digits -k 4 -o c.mereo --max-passes 1 --tol 0");
    assert!(on["curve"][0].as_f64() < fresh["curve"][0].as_f64(), "{on} {fresh}");
    assert!(p.fails(2, "fit nmf digits -k 5 -o b.mereo --init given --given atoms.npy").contains('5'));
    p.fails(2, "fit nmf digits -k 4 -o b.mereo --init given");
    p.fails(2, "fit nmf digits -k 4 -o atoms.npy --init given --given atoms.npy");
    p.fails(1, "fit nmf digits -k 4 -o b.mereo --init given --given nowhere.npy");
}

#[test]
fn a_model_that_is_no_model_is_refused() {
    let p = Place::new();
    p.ok("fit vq digits -k 3 -o m.mereo");
    let model = std::fs::read(p.path("m.mereo")).expect("model");
    for cut in [0, 5, 100, model.len() / 2, model.len() - 1] {
        p.write("cut.mereo", &model[..cut]);
        for line in ["inspect cut.mereo", "transform cut.mereo digits -o z.npy", "export cut.mereo --atoms a.npy"] {
            let said = p.fails(1, line);
            assert!(said.contains("cut.mereo"), "{line}: {said}");
        }
    }
    p.npy("narrow.npy", 4, 5, |i, _| i as f32);
    let said = p.fails(1, "transform m.mereo narrow.npy -o z.npy");
    assert!(said.contains('5') && said.contains("64"), "{said}");
    p.fails(1, "inspect narrow.npy");
    p.fails(1, "inspect nowhere.mereo");
    p.fails(2, "export m.mereo --atoms a.png --image 9x9");
    assert!(p.fails(2, "transform m.mereo digits -o codes.xyz").contains("npy"));
    assert!(p.fails(2, "reconstruct m.mereo digits -o rows").contains("npy"));
    p.ok("fit vq narrow.npy -k 2 -o n.mereo");
    let said = p.fails(2, "export n.mereo --atoms a.png");
    assert!(said.contains("--image"), "{said}");
    assert!(p.names().iter().all(|n| !n.contains(".part") && n != "z.npy"));
}

#[test]
fn an_output_is_checked_before_the_work_and_is_never_an_input() {
    let p = Place::new();
    p.npy("data.npy", 30, 6, |i, j| (i * j % 7) as f32);
    let before = std::fs::read(p.path("data.npy")).expect("data");
    assert!(p.fails(1, "fit pca data.npy -k 2 -o no/such/folder/x").contains("no/such/folder"));
    p.fails(2, "fit pca data.npy -k 2 -o .");
    p.fails(2, "fit pca data.npy -k 2 -o ./data.npy");
    p.fails(2, "fit nmf data.npy -k 2 -o x --checkpoint data.npy");
    p.fails(2, "fit nmf data.npy -k 2 -o x --checkpoint x");
    p.ok("fit pca data.npy -k 2 -o m.mereo");
    p.fails(2, "transform m.mereo data.npy -o data.npy");
    p.fails(2, "transform m.mereo data.npy -o m.mereo");
    p.fails(2, "reconstruct m.mereo data.npy -o data.npy");
    p.fails(2, "export m.mereo --atoms m.mereo");
    assert_eq!(std::fs::read(p.path("data.npy")).expect("data"), before);
    assert_eq!(p.names(), ["data.npy", "m.mereo"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_no_model() {
    let p = Place::new();
    let said = p.fails(1, "fit vq digits -k 3 -o /dev/full");
    assert!(said.contains("No space left") && said.contains("full.saved instead"), "{said}");
    assert_eq!(p.json("info full.saved")["method"], "vq");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_model_and_says_how_to_go_on() {
    let p = Place::new();
    p.slow("data.npy");
    let child = start(&p, "fit nmf data.npy -k 20 --tol 0 --max-passes 1000000 --every 0 -o m.mereo");
    wait_for("a checkpoint", || p.path("m.mereo.checkpoint").exists());
    signal(&child, "-INT");
    let out = child.wait_with_output().expect("end");
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("--resume"), "{said}");
    let model = p.json("info m.mereo");
    assert_eq!(model["stop"], "cancelled");
    let passes = model["curve"].as_array().expect("curve").len();
    let checkpoint = p.json("info m.mereo.checkpoint");
    assert_eq!((checkpoint["what"].as_str(), checkpoint["passes"].as_u64()), (Some("checkpoint"), Some(passes as u64)));
    p.ok("info m.mereo.checkpoint");
    assert_eq!(p.names(), ["data.npy", "m.mereo", "m.mereo.checkpoint"]);

    let further = p.json(&format!("fit nmf data.npy -k 20 --tol 0 --max-passes {} -o m.mereo --resume", passes + 3));
    assert_eq!(further["passes"].as_u64(), Some(passes as u64 + 3));
    p.ok(&format!("fit nmf data.npy -k 20 --tol 0 --max-passes {} -o straight.mereo", passes + 3));
    let file = |name: &str| std::fs::read(p.path(name)).expect("model");
    assert!(file("m.mereo") == file("straight.mereo"), "resumed and straight fits differ");
    assert_eq!(p.names(), ["data.npy", "m.mereo", "straight.mereo"], "the checkpoint is taken away at the end");
}

#[cfg(unix)]
#[test]
fn a_kill_in_the_middle_of_checkpoints_is_resumed_to_the_same_bytes() {
    let p = Place::new();
    p.slow("data.npy");
    for method in ["nmf", "vq"] {
        let fit = format!("fit {method} data.npy -k 20 --tol 0 --seed 3 --max-passes 150 --every 0");
        p.ok(&format!("{fit} -o straight"));
        for attempt in 0..5 {
            let mut child = start(&p, &format!("{fit} -o killed --resume --checkpoint kept"));
            if attempt == 0 {
                wait_for("a checkpoint", || p.path("kept").exists());
            }
            std::thread::sleep(Duration::from_millis(17 * attempt));
            child.kill().expect("kill -9");
            child.wait().expect("end");
        }
        p.ok(&format!("{fit} -o killed --resume --checkpoint kept"));
        let file = |name: &str| std::fs::read(p.path(name)).expect("model");
        assert!(file("straight") == file("killed"), "{method}: the resumed fit differs");
        assert!(p.path("kept").exists(), "a checkpoint that was asked for stays");
        p.ok(&format!("{fit} -o again --resume --checkpoint kept"));
        assert!(file("straight") == file("again"), "{method}: nothing was left to resume");
        std::fs::remove_file(p.path("kept")).expect("remove");
    }
    p.ok("fit nmf data.npy -k 20 --max-passes 3 --checkpoint kept -o x");
    let said = p.fails(1, "fit nmf data.npy -k 21 --checkpoint kept --resume -o x");
    assert!(said.contains("k = 20, not 21"), "{said}");
    p.write("kept", "not a checkpoint");
    p.fails(1, "fit nmf data.npy -k 20 --checkpoint kept --resume -o x");
}

#[test]
fn a_fit_tells_how_far_it_came_and_of_every_start() {
    let p = Place::new();
    let line = "fit nmf digits -k 5 --max-passes 6 --tol 0 --restarts 3 -o m.mereo";
    let fit = p.json(line);
    let numbers = |v: &Value| v.as_array().expect("numbers").iter().map(|v| v.as_f64().expect("number")).collect::<Vec<_>>();
    let (curve, starts) = (numbers(&fit["curve"]), numbers(&fit["starts"]));
    let kept = fit["kept"].as_u64().expect("a number") as usize;
    assert_eq!((starts.len(), starts[kept]), (3, curve[5]));
    assert!(starts.iter().all(|l| *l >= starts[kept]), "{starts:?}");
    assert_eq!(fit["change"].as_f64(), Some((curve[4] - curve[5]).abs() / curve[4]));
    assert_eq!((numbers(&fit["gradients"]).len(), numbers(&fit["gradients"])[0]), (6, 1.0));
    let said = p.ok(line);
    assert!(said.contains("as many as were asked for") && said.contains(&format!("kept: number {}", kept + 1)), "{said}");
    for told in [said, p.ok("info m.mereo")] {
        assert!(told.contains("\nlast change ") && told.contains("\ngradient "), "{told}");
    }
    let info = p.json("info m.mereo");
    assert_eq!((&info["gradients"], &info["change"]), (&fit["gradients"], &fit["change"]));

    // Products don't know it.
    let line = "fit nmf digits -k 5 --solver mu --max-passes 3 -o mu.mereo";
    assert!(p.json(line)["gradients"].is_null() && !p.ok(line).contains("gradient"));
    assert!(p.fails(2, "fit nmf digits -k 5 --init nndsvd --restarts 2 -o x").contains("set restarts to 1"));
}

#[test]
fn named_data_is_listed_shown_and_found() {
    let p = Place::new();
    let list = p.json("data list");
    let names: Vec<&str> = list.as_array().expect("list").iter().map(|s| s["name"].as_str().expect("name")).collect();
    assert!(names.contains(&"faces") && names.contains(&"digits") && names.contains(&"olivetti"), "{names:?}");
    for set in list.as_array().expect("list") {
        assert!(["licence", "credit", "about"].iter().all(|k| !set[k].as_str().expect("text").is_empty()), "{set}");
    }
    assert!(p.ok("data list").contains("AT&T Laboratories Cambridge"));
    assert_eq!(p.json("data show digits")["licence"], "CC BY 4.0");
    assert_eq!(p.ok("data path").trim(), p.path("cache").display().to_string());
    assert!(p.fails(1, "data path olivetti").contains("mereo data fetch olivetti"));
    assert!(p.fails(1, "data path faces").contains("embedded"));
    assert!(p.fails(1, "data show facs").contains("did you mean `faces`?"));
    assert!(p.fails(1, "compare olivetti").contains("mereo data fetch olivetti"));
    p.fails(2, "data fetch nothing");
}

#[test]
fn completions_know_the_flags() {
    let p = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(p.ok(&format!("completions {shell}")).contains("max-passes"), "{shell}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let p = Place::new();
    let odd = OsStr::from_bytes(b"d\xff\xfe.npy");
    p.npy("plain.npy", 20, 4, |i, j| (i + j) as f32);
    std::fs::rename(p.path("plain.npy"), p.0.path().join(odd)).expect("rename");
    let model = OsStr::from_bytes(b"m\xff");
    let fit = [OsStr::new("fit"), OsStr::new("nmf"), odd, OsStr::new("-k2"), OsStr::new("--json"), OsStr::new("-o"), model];
    let out = p.command(&fit).output().expect("run");
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice::<Value>(&out.stdout).expect("JSON");
    let out = p.command(&[OsStr::new("inspect"), model]).output().expect("run");
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[test]
fn a_fit_is_resumed_under_another_bound() {
    let p = Place::new();
    for method in ["nmf", "vq"] {
        let fit = format!("fit {method} digits -k 5 --tol 0 --checkpoint kept");
        p.ok(&format!("{fit} --max-passes 6 --memory 1K -o straight"));
        std::fs::remove_file(p.path("kept")).expect("a checkpoint");
        p.ok(&format!("{fit} --max-passes 3 --memory 1K -o m"));
        p.ok(&format!("{fit} --max-passes 6 --resume -o m"));
        let file = |name: &str| std::fs::read(p.path(name)).expect("model");
        assert!(file("m") == file("straight"), "{method}: it went without its cache, and goes on without");
        std::fs::remove_file(p.path("kept")).expect("a checkpoint");

        p.ok(&format!("{fit} --max-passes 3 -o m"));
        let before = file("m");
        let said = p.fails(2, &format!("{fit} --max-passes 6 --memory 1K --resume -o m"));
        assert!(said.contains("continue with the bound that it was begun with"), "{said}");
        assert!(file("m") == before);
        std::fs::remove_file(p.path("kept")).expect("a checkpoint");
    }
}
