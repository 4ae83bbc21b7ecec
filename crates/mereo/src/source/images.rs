//! A folder of images (png, jpeg, pgm, ppm): each is a row, its grey values from 0 (black) to 1 (white), row by row.
//!
//! Files are taken in the order of their paths, from the folder and from the folders in it (`s1/1.pgm`). Colours become grey by
//! their luminance (Rec. 709: .2126 red, .7152 green, .0722 blue); transparency is left out.

use super::budget::Budget;
use super::open::{Open, Opened};
use super::{Source, dense};
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Mat, Rows};
use image::imageops::{self, FilterType};
use image::{ImageReader, Limits};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Endings of the files that are taken; all others are left alone.
const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "pgm", "ppm", "pnm"];

/// No picture may take more bytes than this to decode.
const LARGEST: u64 = 512 << 20;

/// Opens a folder.
pub(super) fn open(folder: &Path, how: &Open) -> Result<Opened> {
    let paths = paths(folder)?;
    if paths.is_empty() {
        return Err(Error::format(folder, format!("holds no images; files that end in {} are read", ENDINGS.join(", "))));
    }
    let (height, width) = match how.resize {
        Some((h, w)) if h == 0 || w == 0 => {
            return Err(Error::parameter(format!("images can't be made {h} high and {w} wide; give at least 1 and 1")));
        }
        Some(size) => size,
        None => common(&paths)?,
    };
    let cols = height.checked_mul(width).filter(|&n| n as u64 <= LARGEST / 4);
    let Some(cols) = cols else {
        return Err(Error::format(
            folder,
            format!("{height} × {width} pixels are more than can be held; give a smaller size (--resize)"),
        ));
    };
    let folder =
        Folder { paths, height, width, resize: how.resize.is_some(), step: Budget::new(how.memory).step(cols as u64 * 4) };
    let source: Box<dyn Source + Send> =
        if Budget::new(how.memory).holds((folder.paths.len() as u64).saturating_mul(cols as u64 * 4)) {
            dense::memory(Mat { rows: folder.paths.len(), cols, data: folder.load(0, folder.paths.len())? })
        } else {
            Box::new(folder)
        };
    Ok(Opened { source, image: Some((height, width)), columns: None, kind: "images" })
}

/// The images of a folder and of the folders in it.
fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, folders) = entries(folder)?;
    for inner in folders {
        found.extend(entries(&inner)?.0);
    }
    found.sort();
    Ok(found)
}

/// Images and folders directly in a folder; hidden ones are left out.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|k| e.eq_ignore_ascii_case(k))) {
            images.push(path);
        }
    }
    Ok((images, folders))
}

fn reader(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>> {
    let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|e| Error::io(path, e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(LARGEST);
    reader.limits(limits);
    Ok(reader)
}

fn broken(path: &Path, e: &image::ImageError) -> Error {
    Error::format(path, format!("can't be read as an image ({e}); replace it or take it out of the folder"))
}

/// Height and width of all images, or an error that names two that differ.
fn common(paths: &[PathBuf]) -> Result<(usize, usize)> {
    let size = |path: &PathBuf| -> Result<(usize, usize)> {
        let (w, h) = reader(path)?.into_dimensions().map_err(|e| broken(path, &e))?;
        Ok((h as usize, w as usize))
    };
    let sizes: Vec<_> = paths.par_iter().map(size).collect::<Vec<_>>().into_iter().collect::<Result<_>>()?;
    let first = sizes[0];
    if let Some(i) = sizes.iter().position(|s| *s != first) {
        let (other, (h, w)) = (&paths[i], sizes[i]);
        return Err(Error::format(
            other,
            format!(
                "is {h} × {w} pixels (height × width), {} is {} × {}; make them all one size with --resize HEIGHTxWIDTH",
                paths[0].display(),
                first.0,
                first.1
            ),
        ));
    }
    if first.0 == 0 || first.1 == 0 {
        return Err(Error::format(&paths[0], "has no pixels; replace it or take it out of the folder"));
    }
    Ok(first)
}

/// Images that are decoded when their block is asked for.
struct Folder {
    paths: Vec<PathBuf>,
    height: usize,
    width: usize,
    resize: bool,
    step: usize,
}

impl Folder {
    /// Images `from..to` as rows.
    fn load(&self, from: usize, to: usize) -> Result<Vec<f32>> {
        let cols = self.height * self.width;
        let mut data = Vec::new();
        dense::grow(&mut data, &self.paths[from], (to - from) * cols)?;
        data.resize((to - from) * cols, 0.0);
        let rows = data.par_chunks_exact_mut(cols).zip(&self.paths[from..to]);
        let failed: Vec<Error> = rows.filter_map(|(row, path)| self.decode(path, row).err()).collect();
        failed.into_iter().next().map_or(Ok(data), Err)
    }

    fn decode(&self, path: &Path, row: &mut [f32]) -> Result<()> {
        let image = reader(path)?.decode().map_err(|e| broken(path, &e))?;
        let mut grey = image.to_luma32f();
        if self.resize {
            grey = imageops::resize(&grey, self.width as u32, self.height as u32, FilterType::Triangle);
        }
        if (grey.height() as usize, grey.width() as usize) != (self.height, self.width) {
            return Err(Error::format(path, "changed its size while the folder was read; leave it alone and start again"));
        }
        row.copy_from_slice(grey.as_raw());
        Ok(())
    }
}

impl Source for Folder {
    fn cols(&self) -> usize {
        self.height * self.width
    }
    fn blocks(&self) -> usize {
        self.paths.len().div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.paths.len() - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from = block * self.step;
        let data = self.load(from, from + self.rows(block))?;
        Ok(Rows::Dense(DenseRows { cols: self.cols(), data: data.into(), weights: None }))
    }
    fn streams(&self) -> bool {
        true
    }
}
