//! One way into every kind of file, told by the ending of its name and checked against how it begins.

use super::input::Input;
use super::{Source, csv, npy};
use crate::error::{Error, Result};
use std::path::Path;

/// How to read a file; `Open::default()` lets the file say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Open {
    /// Bytes of memory for all of a fit: rows that take more than a third of it stay in their file and are read block by block.
    /// The memory of this machine if `None`.
    pub memory: Option<u64>,
    /// csv, tsv: whether the first line names the columns. If `None`, it does where one of its cells is no number.
    pub header: Option<bool>,
    /// parquet: the column to take, a list of numbers or a number.
    pub column: Option<String>,
    /// npz, mat, safetensors: the array to take, needed where there are several.
    pub variable: Option<String>,
    /// Folder of images: make each this (height, width).
    pub resize: Option<(usize, usize)>,
}

/// An opened file.
pub struct Opened {
    /// Its rows.
    pub source: Box<dyn Source + Send>,
    /// (height, width) where a row is an image.
    pub image: Option<(usize, usize)>,
    /// Names of the columns, where the file has them.
    pub columns: Option<Vec<String>>,
    /// The kind of file: `npy`, `csv`, …
    pub kind: &'static str,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let shape = (super::count(&*self.source), self.source.cols());
        f.debug_struct("Opened")
            .field("kind", &self.kind)
            .field("shape", &shape)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// What is read, for errors.
const READ: &str = "npy, csv and tsv files";

/// Opens a file or a folder of images.
///
/// # Errors
/// A missing, empty, truncated or damaged file; an ending that isn't read; a file of another kind than its ending says; numbers
/// that can't be used, by their place.
pub fn open(path: &Path, how: &Open) -> Result<Opened> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if meta.is_dir() {
        return Err(Error::format(path, format!("a folder; what is read are {READ}")));
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let (kind, open): (_, fn(Input, &Open) -> Result<Opened>) = match ending.as_str() {
        "npy" => ("npy", npy::open),
        "csv" => ("csv", csv::open),
        "tsv" => ("tsv", csv::open),
        _ => {
            let what = if ending.is_empty() { "a name without an ending".into() } else { format!("the ending .{ending}") };
            return Err(Error::format(path, format!("{what} isn't known; what is read are {READ}")));
        }
    };
    let input = Input::open(path)?;
    let head = input.head(1024)?;
    if let Some(other) = sniff(&head).filter(|other| *other != kind) {
        return Err(
            input.error(format!("its name ends in .{ending}, but it begins as a {other} file; rename it, or save it as {kind}"))
        );
    }
    open(input, how)
}

/// The kind of a file by how it begins, where that is telling.
fn sniff(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 14] = [
        (npy::MAGIC, "npy"),
        (b"PK\x03\x04", "npz"),
        (b"PAR1", "parquet"),
        (b"%%MatrixMarket", "mtx"),
        (b"MATLAB 5.0", "mat"),
        (b"MATLAB 7.3", "mat"),
        (b"\x89HDF", "hdf5"),
        (b"\x89PNG", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
        (b"ARROW1", "arrow"),
        (b"%PDF", "pdf"),
    ];
    known.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind)
}
