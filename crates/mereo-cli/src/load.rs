//! From what the user calls DATA to rows: an embedded name, a fetched name, or a path.

use crate::args::{Global, ModelAndData, Reading};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::{output, stop};
use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use mereo::Missing;
use mereo::bundle::Bundle;
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
        let (mut mat, set) = mereo::data::load(set.name)?;
        let mut image = set.image;
        if let Some(size) = reading.resize {
            let from = image.ok_or_else(|| {
                Failure::usage(format!("the rows of {} are no images, which --resize is for; leave it out", set.name))
            })?;
            mat = resized(&mat, from, size)?;
            image = Some(size);
        }
        return Ok(Loaded {
            source: owned(mat),
            name: set.name.into(),
            kind: "embedded",
            image,
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

/// A model and the rows that it is used on, opened; from here on Ctrl-C ends the work at the next block.
///
/// # Errors
/// An `output` that can't be written or is an input, a damaged model, or data that can't be read.
pub fn model_and_data(from: &ModelAndData, output: Option<&Path>, global: &Global) -> Result<(Bundle, Loaded)> {
    let mut inputs = vec![from.model.as_path()];
    inputs.extend(file(&from.data));
    if let Some(path) = output {
        output::check(path, &inputs)?;
    }
    let bundle = model(&from.model)?;
    let data = open(&from.data, &from.reading.with(bundle.model.missing()))?;
    stop::on_request("stopping at the next block", global.quiet);
    Ok((bundle, data))
}

/// The model of a file.
///
/// # Errors
/// A path that is not there or holds something else, with what to do; a damaged model.
pub fn model(path: &Path) -> Result<Bundle> {
    let shown = path.display();
    if !path.exists() {
        return Err(Failure::other(format!(
            "there is no model `{shown}`; write one with `mereo fit METHOD DATA -o {shown}` (the model comes before the data)"
        )));
    }
    if path.is_dir() {
        return Err(Failure::other(format!(
            "`{shown}` is a folder, not a model that `mereo fit` wrote (the model comes before the data)"
        )));
    }
    Ok(Bundle::load(path)?)
}

/// Images of another size; numbers between 0 and 1 are greys.
fn resized(x: &Mat, (h, w): (usize, usize), (height, width): (usize, usize)) -> Result<Mat> {
    let mut out = Mat::zeros(x.rows, height * width);
    for i in 0..x.rows {
        let grey = ImageBuffer::<Luma<f32>, _>::from_raw(w as u32, h as u32, x.row(i).to_vec());
        let grey = grey.ok_or_else(|| Failure::other(format!("a row has {} columns, not {h}x{w} pixels", x.cols)))?;
        let small = imageops::resize(&grey, width as u32, height as u32, FilterType::Triangle);
        out.row_mut(i).copy_from_slice(small.as_raw());
    }
    Ok(out)
}

/// A matrix that its source owns.
fn owned(mat: Mat) -> Box<dyn Source + Send> {
    Box::new(Memory::new(Rows::Dense(DenseRows { cols: mat.cols, data: mat.data.into(), weights: None })))
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
/// the numbers of columns in and out; `missing` says whether a NaN is one.
///
/// # Errors
/// An unreadable block; a NaN or an infinity, by its row; a request to stop; any error of `take`.
pub fn each_piece(
    source: &dyn Source,
    width: usize,
    missing: Missing,
    mut take: impl FnMut(&Rows) -> mereo::Result<()>,
) -> mereo::Result<()> {
    const NUMBERS: usize = 1 << 23;
    let step = (NUMBERS / width.max(1)).clamp(64, 8192);
    let mut first = 0;
    for b in 0..source.blocks() {
        let block = source.block(b)?;
        source::check_known(&block, first, Some(missing))?;
        first += block.rows() as u64;
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
