//! Numbers to files, block by block where the kind of file allows it, so that results may be larger than memory.

use crate::failure::{Failure, Result};
use mereo::mat::{Csr, Mat};
use mereo::model::Codes;
use mereo::store;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Kinds of file that numbers are written as.
const KINDS: &[&str] = &["npy"];

/// The kind of file that a path asks for, by the ending of its name.
fn ending(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Refuses a path whose ending says no kind of file that numbers are written as.
pub fn check(path: &Path) -> Result<()> {
    if KINDS.contains(&ending(path).as_str()) {
        return Ok(());
    }
    let kinds: Vec<String> = KINDS.iter().map(|k| format!(".{k}")).collect();
    Err(Failure::usage(format!("{} has no ending that says how to write it; use {}", path.display(), kinds.join(", "))))
}

/// Writes `rows` × `cols` numbers that come in `blocks` blocks, in order.
///
/// # Errors
/// An unknown ending, a block that can't be made, a file that can't be written. A failed write leaves the old file whole.
pub fn blocks(
    path: &Path,
    (rows, cols): (usize, usize),
    blocks: usize,
    mut next: impl FnMut(usize) -> mereo::Result<Codes>,
) -> Result<()> {
    check(path)?;
    if ending(path) == "npy" {
        return streamed(path, &npy_header(rows, cols), blocks, next);
    }
    let mut all: Option<Codes> = None;
    for b in 0..blocks {
        let z = next(b)?;
        all = Some(match all {
            None => z,
            Some(sofar) => joined(sofar, z),
        });
    }
    let _all = all.unwrap_or_else(|| Codes::Dense(Mat::zeros(0, cols)));
    unreachable!("npy is the only kind as yet")
}

/// Writes a header, and the numbers of every block behind it, row by row.
fn streamed(path: &Path, header: &[u8], blocks: usize, mut next: impl FnMut(usize) -> mereo::Result<Codes>) -> Result<()> {
    let mut failed = None;
    let written = store::write_whole(path, |file: &mut File| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(header)?;
        for b in 0..blocks {
            let z = match next(b) {
                Ok(z) => into_dense(z),
                Err(e) => {
                    failed = Some(e);
                    return Err(io::ErrorKind::Other.into());
                }
            };
            for v in &z.data {
                out.write_all(&v.to_le_bytes())?;
            }
        }
        out.flush()
    });
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(written?),
    }
}

/// The first bytes of a `NumPy` file of f32, row-major.
fn npy_header(rows: usize, cols: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    // Data begins at a multiple of 64 bytes; 10 bytes come before the text and a newline ends it.
    while !(text.len() + 11).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Codes of rows and of the rows after them.
pub fn joined(a: Codes, b: Codes) -> Codes {
    match (a, b) {
        (Codes::Sparse(a), Codes::Sparse(b)) => Codes::Sparse(stacked(a, &b)),
        (a, b) => {
            let (mut a, b) = (into_dense(a), into_dense(b));
            a.rows += b.rows;
            a.data.extend_from_slice(&b.data);
            Codes::Dense(a)
        }
    }
}

fn into_dense(z: Codes) -> Mat {
    match z {
        Codes::Dense(z) => z,
        Codes::Sparse(_) => z.to_mat(),
    }
}

fn stacked(mut a: Csr, b: &Csr) -> Csr {
    let base = a.indptr.last().copied().unwrap_or(0);
    a.indptr.extend(b.indptr.iter().skip(1).map(|p| p + base));
    a.indices.extend_from_slice(&b.indices);
    a.values.extend_from_slice(&b.values);
    a.rows += b.rows;
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::source::{self, Open};

    #[test]
    fn blocks_of_codes_join() {
        let a = Csr::new(1, 3, vec![0, 1], vec![2], vec![1.5]).expect("csr");
        let b = Csr::new(2, 3, vec![0, 0, 2], vec![0, 1], vec![2.0, 3.0]).expect("csr");
        let both = joined(Codes::Sparse(a.clone()), Codes::Sparse(b.clone()));
        let dense = joined(Codes::Dense(Codes::Sparse(a).to_mat()), Codes::Sparse(b));
        let Codes::Sparse(both) = both else { panic!("sparse codes stay sparse") };
        assert_eq!(Csr::new(3, 3, both.indptr.clone(), both.indices.clone(), both.values.clone()).expect("valid"), both);
        assert_eq!(Codes::Sparse(both).to_mat(), dense.to_mat());
    }

    #[test]
    fn what_is_streamed_reads_back() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.npy");
        let block = |b: usize| Ok(Codes::Dense(Mat { rows: 2, cols: 3, data: (0..6).map(|i| (b * 6 + i) as f32).collect() }));
        blocks(&path, (4, 3), 2, block).expect("write");
        let back = mereo::fold::collect(source::open(&path, &Open::default()).expect("open").source.as_ref()).expect("read");
        assert_eq!(back, Mat { rows: 4, cols: 3, data: (0..12).map(|i| i as f32).collect() });
    }

    #[test]
    fn a_block_that_fails_leaves_no_file() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.npy");
        let said = blocks(&path, (4, 3), 2, |_| Err(mereo::Error::data("the block is bad"))).expect_err("bad block").to_string();
        assert_eq!(said, "the block is bad");
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 0);
    }
}
