//! Entries that are unknown, and entries that count more than others, on the command line.

use crate::place::{Place, read_npy};

/// Row i, column j of rows that three parts make up.
fn entry(i: usize, j: usize) -> f32 {
    let (a, b, c) = ((i % 5) as f32, ((i * 7) % 3) as f32, ((i * 11) % 4) as f32);
    let part = |m: usize| if j % 3 == m { 1.0 + (j % 5) as f32 * 0.2 } else { 0.1 };
    a * part(0) + b * part(1) + c * part(2) + 0.1
}

fn hidden(i: usize, j: usize) -> bool {
    (i * 13 + j * 7).is_multiple_of(6)
}

#[test]
fn empty_cells_of_a_table_are_filled_in_by_its_parts() {
    let p = Place::new();
    let cell = |i: usize, j: usize| if hidden(i, j) { String::new() } else { entry(i, j).to_string() };
    let line = |i: usize| (0..12).map(|j| cell(i, j)).collect::<Vec<_>>().join(",") + "\n";
    p.write("holes.csv", (0..90).map(line).collect::<String>());
    let said = p.fails(1, "fit nmf holes.csv -k 3 -o m.mereo");
    assert!(said.contains("is empty") && said.contains("missing = nan"), "{said}");
    let told = p.json("fit nmf holes.csv -k 4 --missing nan --max-passes 2000 --tol 1e-7 -o m.mereo");
    assert!(told["train"]["relative"].as_f64().expect("error") < 0.01, "of the entries that are there: {told}");
    let said = p.ok("reconstruct m.mereo holes.csv -o whole.npy");
    assert!(said.contains("RMSE"), "{said}");
    let (shape, whole) = read_npy(&p.path("whole.npy"));
    assert_eq!(shape, [90, 12]);
    let (mut off, mut size) = (0.0, 0.0);
    for (at, v) in whole.iter().enumerate().filter(|(at, _)| hidden(at / 12, at % 12)) {
        let truth = entry(at / 12, at % 12);
        off += f64::from(v - truth).powi(2);
        size += f64::from(truth).powi(2);
    }
    assert!(off < 0.05 * 0.05 * size, "hidden entries are off by {}", (off / size).sqrt());
    p.ok("transform m.mereo holes.csv -o codes.npy");
    p.ok("inspect m.mereo --data holes.csv");
    assert!(p.ok("info holes.csv").to_lowercase().contains("nan"));
    // A model that knows of no gaps takes none.
    p.npy("full.npy", 90, 12, entry);
    p.ok("fit nmf full.npy -k 3 -o full.mereo");
    assert!(p.fails(1, "transform full.mereo holes.csv -o codes.npy").contains("is empty"));
}

#[test]
fn weights_come_from_a_file() {
    let p = Place::new();
    p.npy("x.npy", 60, 12, |i, j| if hidden(i, j) { 1000.0 } else { entry(i, j) });
    p.npy("v.npy", 60, 12, |i, j| if hidden(i, j) { 0.0 } else { 1.0 });
    p.npy("other.npy", 60, 12, |i, j| if hidden(i, j) { 3.0 } else { entry(i, j) });
    let fit = |data: &str| p.json(&format!("fit nmf {data} -k 3 --weights v.npy --test 0.2 -o {data}.mereo"));
    let (a, b) = (fit("x.npy"), fit("other.npy"));
    assert_eq!((&a["curve"], &a["train"], &a["test"]), (&b["curve"], &b["train"], &b["test"]));
    // One column weighs rows.
    p.npy("rows.npy", 60, 1, |i, _| (i % 2) as f32);
    p.ok("fit nmf x.npy -k 3 --weights rows.npy -o rows.mereo");
    let vq = p.json("fit vq x.npy -k 3 --weights rows.npy -o vq.mereo");
    assert_eq!(vq["params"]["weights"], true);
    assert!(p.fails(1, "fit vq x.npy -k 3 --weights v.npy -o bad.mereo").contains("one column"));
    p.npy("short.npy", 59, 12, |_, _| 1.0);
    let said = p.fails(2, "fit nmf x.npy -k 3 --weights short.npy -o bad.mereo");
    assert!(said.contains("59 rows of 12 columns, the data 60 of 12"), "{said}");
    p.npy("minus.npy", 60, 12, |_, _| -1.0);
    let said = p.fails(1, "fit nmf x.npy -k 3 --weights minus.npy -o bad.mereo");
    assert!(said.contains("the weight in row 0, column 0 is -1"), "{said}");
    assert!(!p.path("bad.mereo").exists());
}

#[test]
fn codewords_start_where_a_file_says() {
    let p = Place::new();
    p.npy("x.npy", 60, 12, entry);
    p.npy("start.npy", 3, 12, |i, j| entry(7 * i, j));
    let fitted = p.json("fit vq x.npy -k 3 --init given --given start.npy --n-init 4 --test 0 -o given.mereo");
    assert_eq!(fitted["starts"].as_array().expect("starts").len(), 1);
    assert!(fitted["params"]["given"].as_str().expect("a fingerprint").starts_with("3x12:"));
    assert!(p.fails(2, "fit vq x.npy -k 4 --init given --given start.npy -o bad.mereo").contains("give 4 centres"));
    assert!(p.fails(2, "fit vq x.npy -k 3 --given start.npy -o bad.mereo").contains("set init to given"));
    assert!(p.fails(2, "fit vq x.npy -k 3 --init given -o bad.mereo").contains("required arguments"));
    p.ok("fit vq x.npy -k 3 --init random -o random.mereo");
}
