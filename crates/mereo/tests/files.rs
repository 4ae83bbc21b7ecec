//! Files as others write them, damaged files, and files larger than the memory they may take.

use mereo::source::{self, Open, Opened};
use mereo::{Mat, Result, fold};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn put(folder: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    path
}

fn read_as(path: &Path, how: &Open) -> Result<(Mat, Opened)> {
    let opened = source::open(path, how)?;
    Ok((fold::collect(&*opened.source)?, opened))
}

fn read(path: &Path) -> Result<Mat> {
    Ok(read_as(path, &Open::default())?.0)
}

/// So little memory that everything is streamed.
fn tiny() -> Open {
    Open { memory: Some(1), ..Open::default() }
}

fn said(path: &Path, how: &Open) -> String {
    let error = read_as(path, how).expect_err("refused").to_string();
    assert!(error.starts_with(&path.display().to_string()), "names the file: {error}");
    error
}

fn refuses(path: &Path, what: &str) {
    let error = said(path, &Open::default());
    assert!(error.contains(what), "`{error}` says `{what}`");
}

/// A `.npy` file as `NumPy` writes it.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn npy_in_both_orders_and_as_images() {
    let dir = folder();
    let rows = put(&dir, "c.npy", npy("<f4", false, "(2, 3)", &floats([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
    let wanted = Mat { rows: 2, cols: 3, data: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] };
    assert_eq!(read(&rows).expect("read"), wanted);
    let columns = put(&dir, "f.npy", npy("<f4", true, "(2, 3)", &floats([0.0, 3.0, 1.0, 4.0, 2.0, 5.0])));
    assert_eq!(read(&columns).expect("read"), wanted);
    let images = put(&dir, "i.npy", npy("<f4", false, "(2, 1, 3)", &floats([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
    let (m, opened) = read_as(&images, &Open::default()).expect("read");
    assert_eq!((m, opened.image, opened.kind), (wanted, Some((1, 3)), "npy"));
    // Fortran order of 2 images of 2×2: number (i, a, b) lies at i + 2a + 4b.
    let data = floats((0..8).map(|at| (100 * (at % 2) + 10 * (at / 2 % 2) + at / 4) as f32));
    let images = put(&dir, "fi.npy", npy("<f4", true, "(2, 2, 2)", &data));
    for how in [Open::default(), tiny()] {
        let (m, opened) = read_as(&images, &how).expect("read");
        assert_eq!(m.data, [0.0, 1.0, 10.0, 11.0, 100.0, 101.0, 110.0, 111.0]);
        assert_eq!(opened.source.streams(), how.memory.is_some());
    }
}

#[test]
fn npy_that_cannot_be_used() {
    let dir = folder();
    refuses(&put(&dir, "a.npy", npy("<f4", false, "(3,)", &floats([1.0; 3]))), "reshape(-1, 1)");
    refuses(&put(&dir, "b.npy", npy("<f4", false, "(1, 1, 1, 3)", &floats([1.0; 3]))), "4 axes");
    refuses(&put(&dir, "c.npy", npy("|O", false, "(1, 3)", &[0; 24])), "Python objects");
    refuses(&put(&dir, "d.npy", npy("<c8", false, "(1, 3)", &[0; 24])), "complex");
    refuses(&put(&dir, "e.npy", npy("<f4", false, "(0, 3)", &[])), "without rows");
    refuses(&put(&dir, "f.npy", npy("<f4", false, "(3, 0)", &[])), "without rows or without columns");
    refuses(&put(&dir, "g.npy", npy("<f4", false, "(1, 3)", &floats([1.0; 4]))), "4 bytes follow");
    refuses(&put(&dir, "h.npy", npy("<f4", false, "(1152921504606846976, 3)", &floats([1.0; 3]))), "more than any memory");
    refuses(&put(&dir, "i.npy", npy("<f4", false, "(1099511627776, 3)", &floats([1.0; 3]))), "cut short or is damaged");
    let big: Vec<u8> = [1.0, 2.0, 3.0, -1e300f64].iter().flat_map(|v| v.to_le_bytes()).collect();
    refuses(&put(&dir, "j.npy", npy("<f8", false, "(2, 2)", &big)), "row 1, column 1 is -1e300");
    for fortran in [false, true] {
        let path = put(&dir, "k.npy", npy("<f8", fortran, "(2, 2)", &big));
        assert!(said(&path, &tiny()).contains("row 1, column 1 is -1e300"));
    }
    refuses(&put(&dir, "l.npy", ""), "empty");
    refuses(&put(&dir, "m.npy", "a,b\n1,2\n"), "doesn't begin as one");
    refuses(&put(&dir, "n.npy", "%%MatrixMarket matrix"), "begins as a mtx file");
    refuses(&put(&dir, "o.dat", "1 2 3"), "the ending .dat isn't known");
    refuses(&put(&dir, "o", "1 2 3"), "without an ending");
    refuses(&dir.path().join("nothing.npy"), "No such file");
}

#[test]
fn csv_with_and_without_a_header() {
    let dir = folder();
    let wanted = Mat { rows: 2, cols: 3, data: vec![1.0, -2.5, 3e-5, 4.0, 5.0, 6.0] };
    let check = |text: &str, columns: Option<[&str; 3]>| {
        let path = put(&dir, "a.csv", text);
        for how in [Open::default(), tiny()] {
            let (m, opened) = read_as(&path, &how).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!((&m, opened.source.streams()), (&wanted, how.memory.is_some()), "{text}");
            assert_eq!(opened.columns, columns.map(|c| c.map(String::from).to_vec()), "{text}");
        }
    };
    check("1,-2.5,3e-5\n4,5,6\n", None);
    check("1,-2.5,3e-5\n4,5,6", None);
    check("a,b,c\r\n1,-2.5,3e-5\r\n4,5,6\r\n", Some(["a", "b", "c"]));
    check("\u{feff}1,-2.5,3e-5\n4,5,6", None);
    check("\u{feff}a,b,c\n1,-2.5,3e-5\n4,5,6", Some(["a", "b", "c"]));
    check("\n\n  \n1, -2.5 ,\"3e-5\"\n\n\"4\",5,+6\n\n\n", None);
    check("\"a, first\",\"b \"\"x\"\"\",\"c\nd\"\n1,-2.5,3e-5\n4,5,6\n", Some(["a, first", "b \"x\"", "c\nd"]));
    let path = put(&dir, "a.tsv", "1\t2\n3\t4\n");
    assert_eq!(read(&path).expect("tsv").data, [1.0, 2.0, 3.0, 4.0]);
    let how = |header| Open { header: Some(header), ..Open::default() };
    let path = put(&dir, "numbers.csv", "1,2\n3,4\n");
    assert_eq!(read_as(&path, &how(true)).expect("header").0.data, [3.0, 4.0]);
    let path = put(&dir, "names.csv", "a,b\n3,4\n");
    assert!(said(&path, &how(false)).contains("line 1, column 1 is `a`, not a number"));
}

#[test]
fn csv_mistakes_are_named_by_line() {
    let dir = folder();
    let check = |text: &str, what: &str| {
        let path = put(&dir, "a.csv", text);
        for how in [Open::default(), tiny()] {
            let error = said(&path, &how);
            assert!(error.contains(what), "`{error}` says `{what}`");
        }
    };
    check("1,2\n\n3,4\n5,6,7\n", "line 4 has 3 columns, the lines before have 2");
    check("1,2\r\n3\r\n", "line 2 has 1 column,");
    check("x,y\n1,2\n3,abc\n", "line 3, column 2 (y) is `abc`, not a number");
    check("\"x\n1\",y\n1,2\n3,abc\n", "line 4, column 2 (y) is `abc`");
    check("1,2\n3,\n", "line 2, column 2 is empty");
    check("1,NA\n3,4\n", "line 1, column 2 is missing (`NA`)");
    check("1,2\n3,-nan\n", "line 2, column 2 is missing (`-nan`)");
    check("1,2\n3,1e39\n", "line 2, column 2 is 1e39, beyond");
    check("1;2\n3;4\n", "line 2, column 1 (1;2) is `3;4`, not a number; if it is several, separate them by commas");
    check("a,b\n", "has a header and no rows");
    check("\n\n", "no lines but blank ones");
    check("\"a,b\n1,2\n", "opens a quote and never closes it");
    check("1,2\r3,4\r", "CR alone");
    check("1,2\n3,\"4\n", "line 2, column 2 is `\"4`, not a number");
    refuses(&put(&dir, "u.csv", b"\xff\xfe1\x00,\x002\x00\n\x00"), "UTF-16");
    refuses(&put(&dir, "z.csv", b"\x01\x00\x00\x00"), "zero bytes");
    refuses(&put(&dir, "gz.csv", b"\x1f\x8b\x08"), "begins as a gzip file");
}

#[test]
fn a_csv_of_many_pieces_is_read_in_order() {
    let dir = folder();
    let cols = 37;
    let m = Mat { rows: 3000, cols, data: (0..3000 * cols).map(|i| i as f32 * 0.5).collect() };
    let mut text = String::new();
    for r in 0..m.rows {
        let line: Vec<String> = m.row(r).iter().map(f32::to_string).collect();
        text.push_str(&line.join(","));
        text.push_str(if r % 7 == 0 { "\n\n" } else { "\r\n" });
    }
    let path = put(&dir, "a.csv", text);
    for memory in [1, 200_000, 3_000_000] {
        let (got, opened) = read_as(&path, &Open { memory: Some(memory), ..Open::default() }).expect("read");
        assert!(got == m, "memory of {memory}");
        assert_eq!(opened.source.streams(), memory < 1_332_000);
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let dir = folder();
    let path = put(&dir, "a.npy", npy("<f4", false, "(100, 3)", &floats((0..300).map(|v| v as f32))));
    let opened = source::open(&path, &tiny()).expect("opened");
    assert!(opened.source.streams() && opened.source.blocks() > 1);
    std::fs::File::options().write(true).open(&path).expect("open").set_len(600).expect("cut");
    let error = fold::collect(&*opened.source).expect_err("cut short").to_string();
    assert!(error.contains("cut short"), "{error}");
}

proptest! {
    #[test]
    fn npy_and_csv_round_trips(rows in 1usize..40, cols in 1usize..9, seed in any::<u32>(), fortran in any::<bool>(), memory in 1u64..4000) {
        let value = |i: usize| f32::from_bits((seed ^ (i as u32).wrapping_mul(2_654_435_761)) & 0xbf7f_ffff);
        let m = Mat { rows, cols, data: (0..rows * cols).map(value).collect() };
        let dir = folder();
        let stored = if fortran { m.transpose().data } else { m.data.clone() };
        let path = put(&dir, "a.npy", npy("<f4", fortran, &format!("({rows}, {cols})"), &floats(stored)));
        let how = Open { memory: Some(memory), ..Open::default() };
        prop_assert!(read_as(&path, &how).expect("npy").0 == m);
        let text: String = (0..rows).map(|r| m.row(r).iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(",") + "\n").collect();
        let path = put(&dir, "a.csv", text);
        prop_assert!(read_as(&path, &how).expect("csv").0 == m);
    }
}
