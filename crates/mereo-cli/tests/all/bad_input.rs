//! Bad input and bad luck, one test for each: the exit code, a message that names the fix, and what was at the output before
//! is still there, byte for byte, with nothing half-written beside it.

#[cfg(unix)]
use crate::place::text;
use crate::place::{Place, read_npy};
use std::path::{Path, PathBuf};

/// Bytes of an earlier result, which a command that fails must leave alone.
const BEFORE: &[u8] = b"an earlier result";

/// A folder with an earlier result in `old` and in `old.npy`.
fn place() -> Place {
    let p = Place::new();
    p.write("old", BEFORE);
    p.write("old.npy", BEFORE);
    p
}

/// A command that must fail with this code, say all of `fix`, and change no file.
fn refused(p: &Place, code: i32, line: &str, fix: &[&str]) {
    let names = p.names();
    let said = p.fails(code, line);
    for fix in fix {
        assert!(said.contains(fix), "mereo {line}\n{said}\nsays `{fix}`");
    }
    assert_eq!(p.names(), names, "mereo {line}");
    untouched(p);
}

fn untouched(p: &Place) {
    for name in ["old", "old.npy"] {
        assert!(std::fs::read(p.path(name)).expect("the earlier result") == BEFORE, "{name} changed");
    }
}

/// A small file of every kind that holds data, as others write them.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mereo/tests/golden/files").join(name)
}

const KINDS: [(&str, &str); 6] = [
    ("npy", "f8.npy"),
    ("npz", "one.npz"),
    ("safetensors", "f32.safetensors"),
    ("parquet", "fixed.parquet"),
    ("mtx", "coordinate.mtx"),
    ("mat", "one.mat"),
];

#[test]
fn an_empty_file() {
    let p = place();
    p.ok("fit vq digits -k 2 -o m.mereo");
    for kind in ["npy", "npz", "csv", "tsv", "safetensors", "parquet", "mtx", "mat"] {
        let file = format!("empty.{kind}");
        p.write(&file, "");
        for line in
            [format!("fit pca {file} -o old"), format!("compare {file} -o old"), format!("transform m.mereo {file} -o old.npy")]
        {
            refused(&p, 1, &line, &[&file, "is empty; write or copy it again"]);
        }
    }
    p.write("empty.mereo", "");
    refused(&p, 1, "transform empty.mereo digits -o old.npy", &["empty.mereo", "is empty"]);
    std::fs::create_dir(p.path("nothing")).expect("folder");
    refused(&p, 1, "fit pca nothing -o old", &["holds no images; files that end in png"]);
}

#[test]
fn one_row() {
    for (name, write) in [("one.csv", true), ("one.npy", false)] {
        let p = place();
        if write {
            p.write(name, "1,2,4\n");
        } else {
            p.npy(name, 1, 3, |_, j| [1.0, 2.0, 4.0][j]);
        }
        refused(&p, 1, &format!("fit pca {name} -k 1 -o old"), &["one row has no variance", "fit on two rows or more"]);
        refused(&p, 2, &format!("fit vq {name} -k 2 -o old"), &["k = 2 exceeds the 1 row", "lower k"]);
        refused(&p, 2, &format!("compare {name} -o old"), &["--test 0"]);
        // One row is its own codeword, its own part, and an axis through the origin.
        for fit in ["vq", "nmf", "pca --center=false"] {
            p.ok(&format!("fit {fit} {name} -k 1 -o one.mereo"));
            p.ok(&format!("reconstruct one.mereo {name} -o back.npy"));
            let (shape, back) = read_npy(&p.path("back.npy"));
            assert_eq!(shape, [1, 3], "{fit}");
            assert!(back.iter().zip([1.0, 2.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{fit}: {back:?}");
        }
        p.ok(&format!("compare {name} --test 0 -o one.html"));
        untouched(&p);
    }
}

#[test]
fn not_a_number() {
    let p = place();
    p.write("nan.csv", "a,b\n1,2\n3,nan\n5,6\n");
    p.npy("nan.npy", 300, 3, |i, j| if (i, j) == (299, 2) { f32::NAN } else { (i + j) as f32 });
    for method in ["pca", "vq", "nmf"] {
        refused(&p, 1, &format!("fit {method} nan.csv -k 1 -o old"), &["line 3, column 2 (b) is missing", "fill the number in"]);
        for memory in ["", "--memory 1"] {
            let line = format!("fit {method} nan.npy -k 1 -o old {memory}");
            refused(&p, 1, &line, &["row 299, column 2 is NaN", "drop the row or fill the value in"]);
        }
    }
    refused(&p, 1, "compare nan.npy --test 0 -o old", &["row 299, column 2 is NaN"]);
}

#[test]
fn rows_of_nothing_and_of_no_numbers_are_counted_and_skipped_or_refused() {
    let p = place();
    let odd = |i: usize| i % 100 == 7;
    p.npy("odd.npy", 300, 3, |i, j| match i {
        250 if j == 1 => f32::NAN,
        i if odd(i) => 0.0,
        i => (i + j * j) as f32,
    });
    let fit = "fit pca odd.npy -k 1 -o old";
    refused(&p, 1, fit, &["row 250, column 1 is NaN", "drop the row or fill the value in"]);
    refused(&p, 1, &format!("{fit} --nonfinite-rows refuse"), &["1 of 300 rows hold a NaN", "row 250", "--nonfinite-rows skip"]);
    let refuse = format!("{fit} --nonfinite-rows skip --zero-rows refuse");
    refused(
        &p,
        1,
        &refuse,
        &["3 of 300 rows hold nothing but zeros", "the first of them row 7", "--zero-rows skip leaves them out"],
    );
    p.npy("zeros.npy", 4, 3, |_, _| 0.0);
    refused(&p, 1, "fit pca zeros.npy -k 1 -o old --zero-rows skip", &["all 4 rows are left out"]);
    let told = p.json("fit pca odd.npy -k 1 -o some.mereo --nonfinite-rows skip --zero-rows skip");
    assert_eq!(told["rows"], 296);
    // As if they had never been there.
    p.npy("whole.npy", 296, 3, |i, j| {
        let at = (0..300).filter(|i| *i != 250 && !odd(*i)).nth(i).expect("a row");
        (at + j * j) as f32
    });
    let whole = p.json("fit pca whole.npy -k 1 -o whole.mereo");
    assert_eq!(told["train"], whole["train"]);
}

#[test]
fn infinity() {
    let p = place();
    p.write("inf.csv", "1,2\n3,-inf\n5,6\n");
    p.npy("inf.npy", 300, 3, |i, j| if (i, j) == (298, 0) { f32::INFINITY } else { (i + j) as f32 });
    for method in ["pca", "vq", "nmf"] {
        refused(&p, 1, &format!("fit {method} inf.csv -k 1 -o old"), &["row 1, column 1 is -inf", "drop the row or fill"]);
        refused(&p, 1, &format!("fit {method} inf.npy -k 1 -o old"), &["row 298, column 0 is inf", "drop the row or fill"]);
        refused(&p, 1, &format!("fit {method} inf.npy -k 1 -o old --memory 1"), &["row 298, column 0 is inf"]);
    }
}

#[test]
fn numbers_that_a_model_cannot_encode() {
    let p = place();
    p.npy("good.npy", 40, 3, |i, j| ((i * 7 + j * 3) % 5) as f32);
    p.npy("nan.npy", 40, 3, |i, j| if (i, j) == (31, 1) { f32::NAN } else { 1.0 });
    for method in ["pca", "vq", "nmf"] {
        p.ok(&format!("fit {method} good.npy -k 2 -o m.mereo"));
        for line in
            ["transform m.mereo nan.npy -o old.npy", "reconstruct m.mereo nan.npy -o old.npy", "inspect m.mereo --data nan.npy"]
        {
            refused(&p, 1, line, &["row 31, column 1 is NaN", "drop the row or fill the value in"]);
        }
    }
}

#[test]
fn negative_values_for_nmf() {
    let p = place();
    p.write("negative.csv", "1,2\n3,4\n5,-6\n");
    for memory in ["", "--memory 1"] {
        let line = format!("fit nmf negative.csv -k 1 -o old {memory}");
        refused(&p, 1, &line, &["row 2, column 1 is -6", "shift or rescale the data to be non-negative, or use pca"]);
    }
    refused(&p, 1, "compare negative.csv --methods nmf --test 0 -o old", &["row 2, column 1 is -6"]);
}

#[test]
fn no_atoms_or_too_many() {
    let p = place();
    p.write("small.csv", "1,2\n3,4\n5,7\n");
    for (method, most) in [("pca", 2), ("vq", 3), ("nmf", 3)] {
        refused(&p, 2, &format!("fit {method} small.csv -k 0 -o old"), &["k", "0", "1"]);
        for k in [most + 1, usize::MAX] {
            refused(&p, 2, &format!("fit {method} small.csv -k {k} -o old"), &[&format!("k = {k} exceeds"), "lower k"]);
        }
        p.ok(&format!("fit {method} small.csv -k {most} -o most.mereo"));
    }
    refused(&p, 2, "compare small.csv -k 0 -o old", &["write a number from 1"]);
    refused(&p, 1, "compare small.csv -k 99 -o old", &["lower k"]);
}

#[test]
fn lines_of_different_lengths() {
    let p = place();
    p.write("ragged.csv", "a,b\n1,2\n3,4,5\n6,7\n");
    for memory in ["", "--memory 1"] {
        let line = format!("fit pca ragged.csv -k 1 -o old {memory}");
        refused(&p, 1, &line, &["line 3 has 3 columns, the lines before have 2", "fill in its cells or remove the line"]);
    }
}

#[test]
fn a_truncated_file() {
    let p = place();
    for (kind, name) in KINDS {
        let whole = std::fs::read(golden(name)).expect("golden file");
        let file = format!("cut.{kind}");
        for cut in [whole.len() / 2, whole.len() * 3 / 4] {
            p.write(&file, &whole[..cut]);
            for memory in ["", "--memory 1"] {
                let line = format!("fit pca {file} -k 1 -o old {memory}");
                let said = p.fails(1, &line);
                assert!(said.contains(&file) && (said.contains("copy") || said.contains("write it again")), "{said}");
                untouched(&p);
            }
        }
    }
}

#[test]
fn a_truncated_model() {
    let p = place();
    p.ok("fit nmf digits -k 3 -o m.mereo");
    let whole = std::fs::read(p.path("m.mereo")).expect("model");
    for cut in [7, 200, whole.len() / 2, whole.len() - 1] {
        p.write("cut.mereo", &whole[..cut]);
        for line in [
            "transform cut.mereo digits -o old.npy",
            "reconstruct cut.mereo digits -o old.npy",
            "export cut.mereo --atoms old.npy",
        ] {
            refused(&p, 1, line, &["cut.mereo", "cut short"]);
        }
    }
}

/// Runs a command that may take 4 GiB of address space, and no more.
#[cfg(unix)]
fn in_little_memory(p: &Place, line: &str) -> String {
    let out = shell(p, &format!("ulimit -v 4194304; exec \"$MEREO\" {line}"));
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{line}: {said}");
    untouched(p);
    said
}

/// A line of bash, in which `$MEREO` is the binary.
#[cfg(unix)]
fn shell(p: &Place, line: &str) -> std::process::Output {
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", line]).current_dir(p.0.path()).env("MEREO", env!("CARGO_BIN_EXE_mereo")).env("MEREO_CACHE", p.path("cache"));
    bash.output().expect("bash runs")
}

#[cfg(unix)]
#[test]
fn a_header_that_claims_the_world() {
    let p = place();
    for (rows, fix) in
        [("1152921504606846976", "more than any memory; its header is damaged"), ("1073741824", "copy or write it again")]
    {
        let mut npy = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 8), }}");
        npy.push_str(&" ".repeat(117 - npy.len()));
        npy.push('\n');
        let head = [&b"\x93NUMPY\x01\x00"[..], &(npy.len() as u16).to_le_bytes(), npy.as_bytes(), &[0; 64]].concat();
        p.write("huge.npy", &head);
        p.write("fortran.npy", text_replaced(&head, b"False", b"True "));
        let tensors = format!("{{\"x\":{{\"dtype\":\"F32\",\"shape\":[{rows},8],\"data_offsets\":[0,64]}}}}");
        p.write("huge.safetensors", [&(tensors.len() as u64).to_le_bytes()[..], tensors.as_bytes(), &[0; 64]].concat());
        let banner = "%%MatrixMarket matrix";
        p.write("array.mtx", format!("{banner} array real general\n{rows} 8\n1\n2\n3\n"));
        p.write("coordinate.mtx", format!("{banner} coordinate real general\n{rows} 8 1\n1 1 1\n"));
        p.write("entries.mtx", format!("{banner} coordinate real general\n8 8 {rows}\n1 1 1\n"));
        for file in ["huge.npy", "fortran.npy"] {
            for memory in ["", "--memory 1", "--memory 1000T"] {
                let said = in_little_memory(&p, &format!("fit pca {file} -k 1 -o old {memory}"));
                assert!(said.contains(file) && said.contains(fix), "{said}");
            }
        }
        for file in ["huge.safetensors", "array.mtx", "coordinate.mtx", "entries.mtx"] {
            for memory in ["", "--memory 1", "--memory 1000T"] {
                let said = in_little_memory(&p, &format!("fit pca {file} -k 1 -o old {memory}"));
                assert!(said.contains(file) && ["copy", "damaged"].iter().any(|fix| said.contains(fix)), "{said}");
            }
        }
    }
}

#[cfg(unix)]
fn text_replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).expect("there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn images_of_different_sizes() {
    let p = place();
    let folder = golden("images/sizes");
    let folder = folder.to_str().expect("text");
    refused(&p, 1, &format!("fit vq {folder} -k 1 -o old"), &["2.png", "6 × 8", "3 × 4", "--resize HEIGHTxWIDTH"]);
    refused(&p, 1, &format!("info {folder}"), &["--resize HEIGHTxWIDTH"]);
    let told = p.json(&format!("fit vq {folder} -k 1 --resize 3x4 -o m.mereo"));
    assert_eq!((told["rows"].as_u64(), told["cols"].as_u64()), (Some(2), Some(12)));
    // The model says what its images must become.
    refused(&p, 1, &format!("transform m.mereo {folder} -o old.npy --resize 6x8"), &["48 columns", "12"]);
    p.ok(&format!("transform m.mereo {folder} -o z.npy --resize 3x4"));
}

#[test]
fn an_output_that_cannot_be_written() {
    let p = place();
    p.ok("fit pca digits -k 2 -o m.mereo");
    let everything = [
        "fit pca digits -k 2 -o",
        "compare digits -k 2 -o",
        "transform m.mereo digits -o",
        "export m.mereo --atoms",
        "inspect m.mereo -o",
    ];
    for line in everything {
        refused(&p, 1, &format!("{line} no/such/x.npy"), &["the folder no/such doesn't exist; create it first"]);
        refused(&p, 1, &format!("{line} old/x.npy"), &["the folder old doesn't exist"]);
    }
    std::fs::create_dir(p.path("folder.npy")).expect("folder");
    for line in everything {
        refused(&p, 2, &format!("{line} folder.npy"), &["folder.npy is a folder; name a file in it"]);
    }
    refused(&p, 1, "fit nmf digits -k 2 -o x --checkpoint no/such", &["the folder no doesn't exist"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let p = place();
    p.ok("fit pca digits -k 2 -o m.mereo");
    // Whoever runs this, the kernel lets nobody create a file here.
    for line in ["fit pca digits -k 2 -o", "transform m.mereo digits -o", "export m.mereo --atoms"] {
        refused(&p, 1, &format!("{line} /proc/self/x.npy"), &["/proc/self/x.npy can't be written"]);
    }
    let closed = p.path("closed");
    std::fs::create_dir(&closed).expect("folder");
    std::fs::write(closed.join("kept.npy"), BEFORE).expect("write");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).expect("permissions");
    // The administrator may write everywhere.
    if std::fs::write(closed.join("probe"), "").is_err() {
        refused(&p, 1, "fit pca digits -k 2 -o closed/kept.npy", &["can't be written", "ermission denied"]);
        refused(&p, 1, "transform m.mereo digits -o closed/new.npy", &["can't be written", "ermission denied"]);
    }
    assert!(std::fs::read(closed.join("kept.npy")).expect("kept") == BEFORE);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let p = place();
    p.ok("fit pca digits -k 9 -o m.mereo");
    p.write("old.html", BEFORE);
    let names = p.names();
    // No file may grow beyond 1 kB, which a write finds out as it does that a disk is full.
    let limited = |line: &str| shell(&p, &format!("trap '' XFSZ; ulimit -f 1; exec \"$MEREO\" {line}"));
    for line in [
        "fit pca digits -k 4 -o old",
        "fit nmf digits -k 4 --max-passes 3 --every 0 -o old",
        "compare digits -k 2 --ks none -o old.html",
        "transform m.mereo digits -o old.npy",
        "reconstruct m.mereo digits -o old.npy",
        "export m.mereo --atoms old.npy",
    ] {
        let out = limited(line);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("error: ") && said.contains("File too large"), "{line}: {said}");
        assert_eq!(p.names(), names, "{line} leaves nothing behind");
        untouched(&p);
        assert!(std::fs::read(p.path("old.html")).expect("kept") == BEFORE, "{line}");
    }
    // A checkpoint that doesn't fit is told, and costs nothing but itself.
    let out = shell(&p, "trap '' XFSZ; ulimit -f 16; exec \"$MEREO\" fit nmf digits -k 4 --max-passes 3 --every 0 -o m.mereo");
    let said = text(&out.stderr);
    assert!(out.status.success() && said.contains("warning: the last checkpoint couldn't be written"), "{said}");
    assert_eq!(p.json("info m.mereo")["method"], "nmf");
    assert_eq!(p.names(), names);
}

#[cfg(target_os = "linux")]
#[test]
fn a_kill_in_the_middle_of_a_checkpoint_write() {
    use std::time::Duration;
    let p = place();
    // 3 MB of codes: most of the time goes into writing them after each pass.
    p.npy("data.npy", 20_000, 4, |i, j| ((i * 31 + j * 17) % 97) as f32 + ((i * j) % 13) as f32);
    let fit = "fit nmf data.npy -k 40 --solver cd --sweeps 1 --init random --tol 0 --max-passes 60 --every 0";
    p.ok(&format!("{fit} -o straight"));
    let half = |p: &Place| p.names().into_iter().filter(|n| Path::new(n).extension().is_some_and(|e| e == "part")).count();
    let mut killed = 0;
    for attempt in 0..300 {
        let mut child = crate::place::start(&p, &format!("{fit} -o old.mereo --resume --checkpoint kept"));
        let begun = std::time::Instant::now();
        let before = half(&p);
        // Past the check of the output, wait for a file that is being written.
        std::thread::sleep(Duration::from_millis(20 + attempt * 7 % 60));
        while half(&p) == before && child.try_wait().expect("alive").is_none() && begun.elapsed() < Duration::from_secs(20) {}
        child.kill().expect("kill -9");
        child.wait().expect("end");
        killed += usize::from(half(&p) > before && p.path("kept").exists());
        if killed == 3 {
            break;
        }
        // On a busy machine a fit can come to its end before three kills amid a write: then it begins anew.
        if p.path("old.mereo").exists() {
            ["old.mereo", "kept"].into_iter().for_each(|name| drop(std::fs::remove_file(p.path(name))));
        }
    }
    assert_eq!(killed, 3, "killed with a checkpoint half-written");
    assert!(!p.path("old.mereo").exists(), "no model is half-written");
    p.ok(&format!("{fit} -o old.mereo --resume --checkpoint kept"));
    let file = |name: &str| std::fs::read(p.path(name)).expect("model");
    assert!(file("straight") == file("old.mereo"), "the resumed fit differs");
    untouched(&p);
}

#[test]
fn words_in_the_wrong_order() {
    let p = place();
    p.ok("fit vq digits -k 2 -o m.mereo");
    let out = p.run("fit digits nmf -o x.mereo");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("pca, vq, nmf, ae and sae, named before the data"), "{said}");
    refused(
        &p,
        1,
        "transform digits m.mereo -o x.npy",
        &["there is no model `digits`", "mereo fit METHOD DATA", "the model comes before"],
    );
    refused(&p, 1, "inspect nowhere", &["there is no model `nowhere`", "mereo fit"]);
    refused(&p, 1, "inspect .", &["a folder, not a model"]);
    p.ok("fit vq digits --atoms 3 -o three.mereo");
}

#[test]
fn semicolons_and_decimal_commas() {
    let p = place();
    p.write("x.csv", "1,5;2,5\n3,5;4\n");
    refused(&p, 1, "fit pca x.csv -k 1 -o x.mereo", &["line", "separate"]);
    p.write("y.csv", "a;b;c\n1,5;2,5;3\n");
    refused(&p, 1, "fit pca y.csv -k 1 -o x.mereo", &["line 2", "semicolons", "points"]);
}
