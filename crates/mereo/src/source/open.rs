//! One way into every kind of file, told by the ending of its name and checked against how it begins.

use super::input::Input;
#[cfg(feature = "parquet")]
use super::parquet;
use super::{Source, csv, mat, mtx, npy, npz, safetensors};
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
    /// csv, tsv, parquet: an entry that is empty is a NaN, for methods that can do without some ([`Missing`](crate::Missing)), and no error.
    pub missing: bool,
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
const READ: &str = "npy, npz, csv, tsv, safetensors, parquet, mtx, mat (up to version 7) and folders of images";

/// Opens a file or a folder of images.
///
/// # Errors
/// A missing, empty, truncated or damaged file; an ending that isn't read; a file of another kind than its ending says; numbers
/// that can't be used, by their place; an option that this kind of file doesn't have.
pub fn open(path: &Path, how: &Open) -> Result<Opened> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    if meta.is_dir() {
        check_options("a folder of images", how)?;
        return open_folder(path, how);
    }
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    let (kind, open): (_, fn(Input, &Open) -> Result<Opened>) = match ending.as_str() {
        "npy" => ("npy", npy::open),
        "npz" => ("npz", npz::open),
        "csv" => ("csv", csv::open),
        "tsv" => ("tsv", csv::open),
        "mtx" => ("mtx", mtx::open),
        "mat" => ("mat", mat::open),
        "safetensors" => ("safetensors", safetensors::open),
        #[cfg(feature = "parquet")]
        "parquet" => ("parquet", parquet::open),
        "png" | "jpg" | "jpeg" | "pgm" | "ppm" | "pnm" => {
            return Err(Error::format(path, "one image; give the folder of images, each of which is a row"));
        }
        _ => {
            let what = if ending.is_empty() { "a name without an ending".into() } else { format!("the ending .{ending}") };
            let fix = match ending.as_str() {
                "gz" | "zip" | "zst" | "bz2" | "xz" | "tar" | "tgz" | "7z" => "; unpack it first",
                "txt" | "dat" | "data" => "; if it is a table, give it the ending of its separator, .csv or .tsv",
                "h5" | "hdf5" | "h5ad" => "; save the matrix as npy, or sparse with scipy.sparse.save_npz",
                "mereo" => "; if it is a model, give it as one",
                _ => "",
            };
            return Err(Error::format(path, format!("{what} isn't known; what is read are {READ}{fix}")));
        }
    };
    check_options(kind, how)?;
    let input = Input::open(path)?;
    let head = input.head(1024)?;
    if let Some(other) = sniff(&head).filter(|other| *other != kind && !(*other == "hdf5" && kind == "mat")) {
        return Err(
            input.error(format!("its name ends in .{ending}, but it begins as a {other} file; rename it, or save it as {kind}"))
        );
    }
    open(input, how)
}

#[cfg(feature = "images")]
fn open_folder(path: &Path, how: &Open) -> Result<Opened> {
    super::images::open(path, how)
}
#[cfg(not(feature = "images"))]
fn open_folder(path: &Path, _: &Open) -> Result<Opened> {
    Err(Error::format(path, "a folder; this mereo was built without the feature `images`"))
}

/// Refuses an option that would be ignored.
fn check_options(kind: &str, how: &Open) -> Result<()> {
    let options = [
        ("a header", how.header.is_some(), ["csv", "tsv", ""]),
        ("a column", how.column.is_some(), ["parquet", "", ""]),
        ("a variable", how.variable.is_some(), ["npz", "mat", "safetensors"]),
        ("a size", how.resize.is_some(), ["a folder of images", "", ""]),
    ];
    match options.iter().find(|(_, given, kinds)| *given && !kinds.contains(&kind)) {
        None => Ok(()),
        Some((what, _, kinds)) => {
            let kinds: Vec<&str> = kinds.iter().copied().filter(|k| !k.is_empty()).collect();
            Err(Error::parameter(format!(
                "{what} was given, but the data is {kind}; it is for {}: leave it out",
                kinds.join(", ")
            )))
        }
    }
}

/// Which of several arrays, named and described, to take: the one that is wanted, else `sole`, else the only one.
pub(super) fn pick(
    input: &Input,
    what: &str,
    all: &[(&str, String)],
    wanted: Option<&str>,
    sole: Option<usize>,
) -> Result<usize> {
    const SHOWN: usize = 20;
    let list = || {
        let mut names: Vec<String> = all.iter().take(SHOWN).map(|(name, about)| format!("{name} ({about})")).collect();
        if all.len() > SHOWN {
            names.push(format!("and {} more", all.len() - SHOWN));
        }
        names.join(", ")
    };
    match wanted {
        Some(name) => (all.iter().position(|a| a.0 == name)).ok_or_else(|| {
            input.error(format!("has no {what} `{name}`; it has {}", if all.is_empty() { "none".into() } else { list() }))
        }),
        None if all.len() == 1 => Ok(0),
        None => sole.ok_or_else(|| {
            input.error(match all.len() {
                0 => format!("has no {what} to read"),
                n => format!("has {n} {what}s: {}; choose one by its name (--variable NAME)", list()),
            })
        }),
    }
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
    // A table may have a column by such a name, but then all of it is text.
    let text = !head.iter().any(|b| *b < 9) && !head.starts_with(b"%%");
    known.iter().find(|(magic, _)| head.starts_with(magic) && !(text && magic.is_ascii())).map(|(_, kind)| *kind)
}
