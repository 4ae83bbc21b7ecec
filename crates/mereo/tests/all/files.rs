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

/// Files made by `tests/golden/files/make.py`; what they hold is said there.
mod golden {
    use super::*;
    use mereo::Rows;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files").join(name)
    }

    fn matrix(rows: usize, value: impl Fn(usize, usize) -> f32) -> Mat {
        Mat { rows, cols: 4, data: (0..rows * 4).map(|at| value(at / 4, at % 4)).collect() }
    }
    fn a() -> Mat {
        matrix(5, |i, j| ((4 * i + j) as f32 - 7.0) / 4.0)
    }
    fn a4() -> Mat {
        matrix(5, |i, j| (4 * i + j) as f32 - 7.0)
    }
    fn u() -> Mat {
        matrix(5, |i, j| (4 * i + j) as f32)
    }
    fn b() -> Mat {
        matrix(5, |i, j| ((i + j) % 2) as f32)
    }
    fn s() -> Mat {
        matrix(5, |i, j| if (i + j) % 3 == 0 { ((4 * i + j) as f32 - 7.0) / 4.0 } else { 0.0 })
    }

    fn variable(name: &str) -> Open {
        Open { variable: Some(name.into()), ..Open::default() }
    }

    /// The file holds this matrix, read whole and block by block.
    fn holds_as(name: &str, how: &Open, wanted: &Mat) {
        let path = golden(name);
        for memory in [None, Some(1)] {
            let (m, opened) = read_as(&path, &Open { memory, ..how.clone() }).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(&m, wanted, "{name}");
            assert_eq!(opened.source.streams(), memory.is_some(), "{name}");
            let blocks = if memory.is_some() { wanted.rows } else { 1 };
            assert_eq!(opened.source.blocks(), blocks, "{name}");
            if memory.is_some() {
                // In any order.
                let last = opened.source.block(blocks - 1).expect("block").to_mat();
                assert_eq!(last.data, wanted.row(wanted.rows - 1), "{name}");
                assert_eq!(opened.source.block(0).expect("block").to_mat().data, wanted.row(0), "{name}");
            }
        }
    }

    fn holds(name: &str, wanted: &Mat) {
        holds_as(name, &Open::default(), wanted);
    }

    fn refused(name: &str, what: &str) {
        for how in [Open::default(), tiny()] {
            let error = said(&golden(name), &how);
            assert!(error.contains(what), "`{error}` says `{what}`");
        }
    }

    #[test]
    fn npy() {
        for name in ["f2", "f4", "f8", "f4_big", "f8_big_fortran", "f4_fortran", "version2", "version3"] {
            holds(&format!("{name}.npy"), &a());
        }
        for name in ["i1", "i2", "i4", "i8", "i2_big"] {
            holds(&format!("{name}.npy"), &a4());
        }
        for name in ["u1", "u2", "u4", "u8", "images", "images_fortran"] {
            holds(&format!("{name}.npy"), &u());
        }
        holds("b1.npy", &b());
        assert_eq!(source::open(&golden("images.npy"), &Open::default()).expect("open").image, Some((2, 2)));
        refused("one_axis.npy", "has one axis of 7 numbers");
        refused("fields.npy", "holds no plain numbers");
        refused("complex.npy", "holds complex numbers (<c16)");
    }

    #[test]
    fn npz() {
        for name in ["one", "one_compressed", "fortran_compressed"] {
            holds(&format!("{name}.npz"), &a());
        }
        holds_as("two.npz", &variable("x"), &a());
        refused("two.npz", "has 2 arrays: x (<f8 [5, 4]), y (<i8 [5]); choose one");
        let error = said(&golden("two.npz"), &variable("z"));
        assert!(error.contains("has no array `z`; it has x"), "{error}");
        for kind in ["csr", "csc"] {
            for index in ["int32", "int64"] {
                for end in ["", "_compressed"] {
                    let name = format!("{kind}_{index}{end}.npz");
                    holds(&name, &s());
                    let opened = source::open(&golden(&name), &Open::default()).expect("open");
                    let Rows::Sparse(x) = opened.source.block(0).expect("block") else { panic!("{name} is sparse") };
                    assert_eq!(x.row(1), ([2].as_slice(), [-0.25].as_slice()));
                }
            }
        }
        refused("coo.npz", "tocsr()");
        let path = golden("unordered.npz");
        let opened = source::open(&path, &Open::default()).expect("open");
        let Rows::Sparse(x) = opened.source.block(0).expect("block") else { panic!("sparse") };
        assert_eq!(x.row(0), ([0, 1].as_slice(), [2.0, 4.0].as_slice()));
    }

    #[test]
    fn safetensors() {
        for name in ["f16", "bf16", "f32", "f64", "layer"] {
            holds(&format!("{name}.safetensors"), &a());
        }
        holds("i64.safetensors", &a4());
        holds("u8.safetensors", &u());
        holds_as("layers.safetensors", &variable("b"), &a());
        refused("layers.safetensors", "has 2 tensors: a (F64 [5, 4]), b (F64 [5, 4]); choose one");
        let error = said(&golden("layer.safetensors"), &variable("bias"));
        assert!(error.contains("tensor `bias` has one axis of 4 numbers"), "{error}");
    }

    #[test]
    fn parquet() {
        let column = |name: &str| Open { column: Some(name.into()), ..Open::default() };
        for name in ["fixed", "list_halffloat", "list_float", "list_double", "large_list"] {
            holds(&format!("{name}.parquet"), &a());
        }
        holds("list_int8.parquet", &a4());
        for name in ["snappy", "gzip", "zstd", "none"] {
            let name = format!("columns_{name}.parquet");
            holds(&name, &a());
            let opened = source::open(&golden(&name), &Open::default()).expect("open");
            assert_eq!(opened.columns.expect("names"), ["a", "b", "c", "d"]);
        }
        refused("columns_lz4.parquet", "compression=\"zstd\"");
        let third = Mat { rows: 5, cols: 1, data: (0..5).map(|i| a().row(i)[2]).collect() };
        holds_as("columns_zstd.parquet", &column("c"), &third);
        let error = said(&golden("columns_zstd.parquet"), &column("name"));
        assert!(error.contains("column `name` holds Utf8, neither numbers nor lists"), "{error}");
        let error = said(&golden("columns_zstd.parquet"), &column("e"));
        assert!(error.contains("has no column `e`; it has a (Float32), name (Utf8)"), "{error}");
        holds_as("two_lists.parquet", &column("b"), &a());
        refused("two_lists.parquet", "has 2 columns of lists; choose one (--column NAME)");
        refused("missing.parquet", "row 1, column 0 (a) is missing");
        refused("missing_list.parquet", "row 1 of column `vector` is missing");
        refused("missing_element.parquet", "row 1, column 1 (vector) is missing");
        // For a method that can do without some they are NaN.
        for memory in [None, Some(1)] {
            let nan = Open { missing: true, memory, ..Open::default() };
            for (name, at) in [("missing.parquet", 2), ("missing_element.parquet", 3)] {
                let (m, _) = read_as(&golden(name), &nan).unwrap_or_else(|e| panic!("{e}"));
                let gaps: Vec<usize> = (0..m.data.len()).filter(|&i| m.data[i].is_nan()).collect();
                assert!(gaps == [at], "{name}: {m:?}");
            }
        }
        refused("ragged.parquet", "row 1 of column `vector` has 1 numbers, the rows before have 2");
        refused("too_large.parquet", "row 1, column 1 is -1e300");
        refused("text.parquet", "has no column of numbers or of lists of numbers; it has title (Utf8)");
        refused("no_rows.parquet", "has no rows");
    }

    #[test]
    fn mtx() {
        holds("array.mtx", &a());
        holds("coordinate.mtx", &s());
        holds("integer.mtx", &Mat { data: s().data.iter().map(|v| v * 4.0).collect(), ..s() });
        holds("pattern.mtx", &b());
        let sum = matrix(4, |i, j| (5 * (i + j)) as f32);
        holds("symmetric.mtx", &sum);
        let difference = matrix(4, |i, j| 3.0 * (i as f32 - j as f32));
        holds("skew.mtx", &difference);
        assert_eq!(read(&golden("symmetric_array.mtx")).expect("read"), sum);
        assert_eq!(read(&golden("skew_array.mtx")).expect("read"), difference);
        let error = said(&golden("symmetric_array.mtx"), &tiny());
        assert!(error.contains("write it as `general`"), "{error}");
        refused("complex.mtx", "line 1 says `complex` numbers");
        let dir = folder();
        let check = |text: &str, what: &str| {
            let path = put(&dir, "a.mtx", text);
            for how in [Open::default(), tiny()] {
                let error = said(&path, &how);
                assert!(error.contains(what), "`{error}` says `{what}`");
            }
        };
        let banner = "%%MatrixMarket matrix coordinate real general\n";
        check(&format!("{banner}% x\n2 2 2\n1 1 1\n"), "line 3 claims 2 entries, 1 follow");
        check(&format!("{banner}2 2 1\n1 1 1\n2 2 1\n"), "line 2 claims 1 entries, 2 follow");
        check(&format!("{banner}2 2 2\n1 1 1\n\n3 2 1\n"), "line 5 names row `3` of 2");
        check(&format!("{banner}2 2 1\n1 0 1\n"), "line 3 names column `0` of 2");
        check(&format!("{banner}2 2 1\n1 1 x\n"), "line 3 has the value `x`, not a number");
        check(&format!("{banner}2 2 1\n1 1\n"), "line 3 has no value");
        check(&format!("{banner}2 2 1\n1 1 1e39\n"), "line 3 has the value 1e39, beyond");
        check(&format!("{banner}2 2 1\n1 1 1 1\n"), "line 3 goes on with `1`");
        check(&format!("{banner}2 2 9999999999\n1 1 1\n"), "claims 9999999999 entries, 6 bytes follow");
        check(&format!("{banner}1152921504606846976 2 1\n1 1 1\n"), "claims the shape (1152921504606846976, 2)");
        check(&format!("{banner}0 2 0\n"), "without rows");
        check(&format!("{banner}2 2\n"), "it should say rows, columns and entries");
        check("%%MatrixMarket matrix array real general\n2 2\n10\n20\n30\n", "claims 4 entries, 3 follow");
        check("2 2 1\n1 1 1\n", "no banner");
    }

    #[test]
    fn mat() {
        for end in ["", "_compressed"] {
            holds(&format!("one{end}.mat"), &a());
            let several = format!("several{end}.mat");
            holds_as(&several, &variable("single"), &a());
            holds_as(&several, &variable("uint8"), &u());
            holds_as(&several, &variable("int16"), &a4());
            holds_as(&several, &variable("int64"), &a4());
            holds_as(&several, &variable("logical"), &b());
            holds_as(&several, &variable("s"), &s());
            refused(&several, "has 10 variables: single (5×4 single), uint8 (5×4 uint8)");
            let refuses = |name: &str, what: &str| {
                let error = said(&golden(&several), &variable(name));
                assert!(error.contains(what), "`{error}` says `{what}`");
            };
            refuses("complex", "is complex; save real(x)");
            refuses("cube", "has 3 axes (2×3×4 double); save it as rows × columns");
            refuses("struct", "is a struct, not a matrix of numbers");
            refuses("cell", "is a cell, not a matrix of numbers");
            refuses("none", "has no variable `none`");
            holds_as(&format!("one{end}.mat"), &variable("n"), &Mat { rows: 1, cols: 1, data: vec![3.0] });
        }
        holds("big.mat", &a());
        refused("version4.mat", "version 4 isn't read");
        let dir = folder();
        let mut hdf5 = vec![0; 520];
        hdf5[..10].copy_from_slice(b"MATLAB 7.3");
        hdf5[512..].copy_from_slice(b"\x89HDF\r\n\x1a\n");
        super::refuses(&put(&dir, "a.mat", &hdf5), "save -v7");
        super::refuses(&put(&dir, "b.mat", &hdf5[512..]), "save -v7");
    }

    #[test]
    fn images() {
        let (m, opened) = read_as(&golden("images/grey"), &Open::default()).expect("read");
        let ramp: Vec<f32> = (0..12).map(|v| (v * 20) as f32 / 255.0).collect();
        let turned: Vec<f32> = (0..12).map(|v| (255 - v * 20) as f32 / 255.0).collect();
        assert_eq!((m.rows, m.cols, opened.image, opened.kind), (3, 12, Some((3, 4)), "images"));
        assert_eq!((m.row(0), m.row(1), m.row(2)), (&turned[..], &ramp[..], &ramp[..]));
        let (streamed, opened) = read_as(&golden("images/grey"), &tiny()).expect("read");
        assert_eq!((streamed, opened.source.blocks()), (m, 3));

        let m = read(&golden("images/mixed")).expect("read");
        let near = |row: usize, wanted: &[f32], by: f32| {
            for (got, wanted) in m.row(row).iter().zip(wanted) {
                assert!((got - wanted).abs() <= by, "image {row}: {got} for {wanted}");
            }
        };
        near(0, &ramp, 1e-6);
        near(1, &ramp.iter().map(|v| v * 0.2126).collect::<Vec<_>>(), 1e-4);
        near(2, &[200.0 / 255.0; 12], 1.0 / 255.0);
        near(3, &ramp, 1e-6);
        near(4, &(0..12).map(|v| v as f32 / 15.0).collect::<Vec<_>>(), 1.0 / 255.0);
        near(5, &ramp, 0.0);

        let error = said(&golden("images/sizes/2.png"), &Open::default());
        assert!(error.contains("give the folder"), "{error}");
        let error = read_as(&golden("images/sizes"), &Open::default()).expect_err("sizes differ").to_string();
        assert!(
            error.contains("2.png: is 6 × 8 pixels (height × width), ")
                && error.contains("1.png is 3 × 4; make them all one size with --resize"),
            "{error}"
        );
        let how = Open { resize: Some((3, 4)), ..Open::default() };
        let (m, opened) = read_as(&golden("images/sizes"), &how).expect("resized");
        assert_eq!((opened.image, m.rows), (Some((3, 4)), 2));
        assert!(m.row(0).iter().all(|v| (v - 0.2).abs() < 1e-6) && m.row(1).iter().all(|v| (v - 0.4).abs() < 1e-6), "{m:?}");
        let dir = folder();
        super::refuses(dir.path(), "holds no images");
        put(&dir, "a.png", b"\x89PNG\r\n\x1a\nxx");
        assert!(read(dir.path()).expect_err("damaged").to_string().contains("a.png: can't be read as an image"));
    }
}

/// Writes the files that `tests/golden/files/check.py` reads with other libraries:
/// `MEREO_CHECK=/tmp/check cargo test -p mereo --test all for_others && python check.py /tmp/check`
#[test]
fn for_others() {
    use mereo::{Codes, Csr, export};
    let scratch = folder();
    let to = std::env::var_os("MEREO_CHECK").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&to).expect("the folder");
    let m = Mat { rows: 1000, cols: 7, data: (0..7000).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 / i as f32 }).collect() };
    for ending in ["npy", "csv", "tsv", "parquet"] {
        export::write_mat(&to.join(format!("atoms.{ending}")), &m).expect("written");
    }
    let names: Vec<String> = (0..7).map(|c| format!("part {c}")).collect();
    export::write_table(&to.join("named.csv"), &m, &names).expect("written");
    export::write_table(&to.join("named.parquet"), &m, &names).expect("written");
    let z = Csr::new(3, 4, vec![0, 2, 2, 3], vec![0, 3, 1], vec![1.5, -2.0, 0.25]).expect("csr");
    for ending in ["npy", "csv", "parquet", "npz"] {
        export::write_codes(&to.join(format!("sparse.{ending}")), &Codes::Sparse(z.clone())).expect("written");
        export::write_codes(&to.join(format!("dense.{ending}")), &Codes::Dense(m.clone())).expect("written");
    }
}

#[test]
fn options_that_a_file_lacks_are_refused() {
    let dir = folder();
    let path = put(&dir, "a.npy", npy("<f4", false, "(1, 3)", &floats([1.0; 3])));
    let check = |how: Open, what: &str| {
        let error = source::open(&path, &how).expect_err("refused").to_string();
        assert!(error.contains(what), "{error}");
    };
    check(Open { header: Some(true), ..Open::default() }, "a header was given, but the data is npy; it is for csv, tsv");
    check(Open { column: Some("x".into()), ..Open::default() }, "for parquet");
    check(Open { variable: Some("x".into()), ..Open::default() }, "for npz, mat, safetensors");
    check(Open { resize: Some((1, 1)), ..Open::default() }, "for a folder of images");
}

#[test]
fn empty_cells_are_nan_for_those_who_can_do_without() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("holes.csv");
    std::fs::write(&path, "x,y\n1,2\n3,\nNA,nan\n").expect("write");
    for memory in [None, Some(1)] {
        let (m, _) = read_as(&path, &Open { missing: true, memory, ..Open::default() }).expect("read");
        let shown: Vec<String> = m.data.iter().map(f32::to_string).collect();
        assert_eq!(shown, ["1", "2", "3", "NaN", "NaN", "NaN"]);
    }
}
