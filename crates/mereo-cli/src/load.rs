//! From what the user calls DATA to rows: an embedded name, a fetched name, or a path.

use crate::args::Reading;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::stop;
use mereo::mat::{DenseRows, Mat, Rows};
use mereo::prepare::{Pipeline, Prepared};
use mereo::source::{self, Memory, Source};
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

/// Data that is ready to be read.
pub struct Loaded {
    /// The rows.
    pub source: Box<dyn Source + Send>,
    /// A short name for tables and reports.
    pub name: String,
    /// Kind of file: `npy`, `csv`, …, or `embedded`.
    pub kind: &'static str,
    /// Height and width, where a row is an image.
    pub image: Option<(usize, usize)>,
    /// Names of the columns, where the file has them.
    pub columns: Option<Vec<String>>,
    /// Whom to credit, where that is known.
    pub credit: Option<String>,
}

impl Loaded {
    /// Height and width of the images that the rows are: as typed, else as the file says.
    ///
    /// # Errors
    /// What was typed has other pixels than a row has columns.
    pub fn image_or(&self, typed: Option<(usize, usize)>) -> Result<Option<(usize, usize)>> {
        let cols = self.source.cols();
        match typed {
            Some((h, w)) if h * w != cols => Err(Failure::usage(format!(
                "--image {h}x{w} has {} pixels, a row has {cols} columns; give their height and width",
                h * w
            ))),
            Some(shape) => Ok(Some(shape)),
            None => Ok(self.image.filter(|(h, w)| h * w == cols)),
        }
    }
}

/// The file or folder that DATA names, unless it is embedded or fetched.
pub fn file(data: &OsStr) -> Option<&Path> {
    let named = data.to_str().is_some_and(|name| mereo::data::find(name).is_some() || fetch::cached(name).is_some());
    (!named).then_some(Path::new(data))
}

/// Opens DATA. Embedded and fetched names come before files of the same name; `./faces` is always a file.
///
/// # Errors
/// Data that is nowhere (the nearest name is suggested), or that can't be read.
pub fn open(data: impl AsRef<OsStr>, reading: &Reading) -> Result<Loaded> {
    let data = data.as_ref();
    if let Some(set) = data.to_str().and_then(mereo::data::find) {
        let (mat, set) = mereo::data::load(set.name)?;
        return Ok(Loaded {
            source: owned(mat),
            name: set.name.into(),
            kind: "embedded",
            image: set.image,
            columns: None,
            credit: Some(set.credit.into()),
        });
    }
    if let Some(have) = data.to_str().and_then(fetch::cached) {
        let opened = source::open(&have.path, &reading.how())?;
        return Ok(Loaded {
            source: opened.source,
            name: have.name,
            kind: opened.kind,
            image: have.image.or(opened.image),
            columns: opened.columns,
            credit: have.credit,
        });
    }
    let path = Path::new(data);
    if !path.exists() {
        return Err(unknown(path));
    }
    let opened = source::open(path, &reading.how())?;
    let name = path.file_stem().filter(|_| path.is_file()).or(path.file_name()).unwrap_or(data).to_string_lossy().into_owned();
    Ok(Loaded { source: opened.source, name, kind: opened.kind, image: opened.image, columns: opened.columns, credit: None })
}

/// A matrix that its source owns.
fn owned(mat: Mat) -> Box<dyn Source + Send> {
    Box::new(Memory::new(Rows::Dense(DenseRows { cols: mat.cols, data: mat.data.into() })))
}

/// There is nothing of that name; says what there is.
fn unknown(path: &Path) -> Failure {
    let names: Vec<&str> = mereo::data::list().iter().map(|set| set.name).collect();
    let fetchable: Vec<&str> = fetch::list().iter().map(|set| set.name).collect();
    let typed = path.to_string_lossy();
    if fetchable.contains(&typed.as_ref()) {
        return Failure::other(format!("`{typed}` isn't fetched yet; run `mereo data fetch {typed}` first"));
    }
    let all = [names.as_slice(), fetchable.as_slice()].concat();
    let near = mereo::data::closest(&typed, &all).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::other(format!(
        "there is no file or folder `{typed}`, and no data of that name; embedded are {}, and `mereo data fetch` gets {}{near}",
        names.join(", "),
        fetchable.join(", ")
    ))
}

/// Hands all rows over, a few thousand at a time, so that what is made of them needs little memory. `width` is the larger of
/// the numbers of columns in and out.
pub fn each_piece(source: &dyn Source, width: usize, mut take: impl FnMut(&Rows) -> mereo::Result<()>) -> mereo::Result<()> {
    const NUMBERS: usize = 1 << 23;
    let step = (NUMBERS / width.max(1)).clamp(64, 8192);
    for b in 0..source.blocks() {
        let block = source.block(b)?;
        for from in (0..block.rows()).step_by(step) {
            if stop::asked() {
                return Err(mereo::Error::data("interrupted"));
            }
            take(&block.slice(from, (from + step).min(block.rows())))?;
        }
    }
    Ok(())
}

/// Rows that a pipeline prepared: made once where they are in memory, at each read where they stream.
pub fn prepared<'a>(rows: &'a dyn Source, pipeline: &'a Pipeline) -> mereo::Result<Box<dyn Source + 'a>> {
    let prepared = Prepared::new(rows, pipeline);
    if rows.streams() || pipeline.recipes().is_empty() {
        return Ok(Box::new(prepared));
    }
    let blocks = (0..rows.blocks()).map(|b| Ok(pipeline.apply(&rows.block(b)?)?.0)).collect::<mereo::Result<_>>()?;
    Ok(Box::new(Held { cols: rows.cols(), blocks }))
}

/// Blocks in memory.
struct Held {
    cols: usize,
    blocks: Vec<Rows<'static>>,
}

impl Source for Held {
    fn cols(&self) -> usize {
        self.cols
    }
    fn blocks(&self) -> usize {
        self.blocks.len()
    }
    fn rows(&self, block: usize) -> usize {
        self.blocks[block].rows()
    }
    fn block(&self, block: usize) -> mereo::Result<Rows<'_>> {
        Ok(self.blocks[block].slice(0, self.rows(block)))
    }
}

/// Whether a file begins as a model or a checkpoint of mereo does; only its header is read.
pub fn is_ours(path: &Path) -> bool {
    const LONGEST: u64 = 100 << 20;
    let head = || -> Option<serde_json::Value> {
        let mut file = std::fs::File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        let whole = file.metadata().ok()?.len();
        if length > LONGEST || length > whole {
            return None;
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    };
    head().is_some_and(|h| h.pointer("/__metadata__/mereo").is_some())
}
