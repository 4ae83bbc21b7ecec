//! From a publisher's file to rows: a plain `.npy` matrix of f32 in [0, 1], one picture a row, and labels.

use super::cache::{disk, hex};
use super::{Kind, Remote, Step, Watch, report};
use crate::failure::Failure;
use flate2::read::GzDecoder;
use image::{ImageFormat, Rgb, RgbImage};
use mereo::source::{self, Open};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Why there are no rows.
#[derive(Debug)]
pub enum Trouble {
    /// The file is not what it should be.
    Content(String),
    /// The disk is full, or the user stopped it.
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

type Result<T> = std::result::Result<T, Trouble>;

fn content<T>(why: impl Into<String>) -> Result<T> {
    Err(Trouble::Content(why.into()))
}

/// Writes the rows of `file` to `npy` and one label a row to `labels`, once they are whole; whether there are labels. A file that
/// is not `known` by its sum must have the right pixels.
pub fn rows(remote: &Remote, file: &Path, known: bool, npy: &Path, labels: &Path, watch: Watch) -> Result<bool> {
    let cols = remote.image.0 * remote.image.1;
    let mut out = Npy::new(npy, remote.rows, cols, watch)?;
    let (names, pixels) = match remote.kind {
        Kind::Olivetti => olivetti(file, &mut out)?,
        Kind::Lfw => (lfw(file, &mut out)?, None),
        Kind::Cifar10 => (cifar10(file, &mut out)?, None),
        Kind::Cbcl => (Vec::new(), Some(cbcl(file, &mut out)?)),
    };
    if !known && pixels.as_deref() != remote.pixels {
        return content(format!(
            "its pixels have the SHA-256 {}, and those of `{}` have {}",
            pixels.unwrap_or_default(),
            remote.name,
            remote.pixels.unwrap_or_default()
        ));
    }
    out.finish()?;
    if !names.is_empty() {
        let part = labels.with_extension("txt.part");
        fs::write(&part, names.join("\n") + "\n").and_then(|()| fs::rename(&part, labels)).map_err(|e| disk(labels, &e))?;
    }
    Ok(!names.is_empty())
}

/// `faces` (4096×400 bytes): a column is a picture, stored column by column. Stretched to 0 and 1 over all pictures, as
/// scikit-learn does.
fn olivetti(file: &Path, out: &mut Npy) -> Result<(Vec<String>, Option<String>)> {
    const SIDE: usize = 64;
    let library = |e: mereo::Error| match e {
        mereo::Error::Io { path, source } => Trouble::Other(disk(&path, &source)),
        e => Trouble::Content(e.to_string()),
    };
    let how = Open { variable: Some("faces".into()), ..Open::default() };
    let faces = source::open(file, &how).map_err(library)?.source;
    let (pixels, people) = (source::count(&*faces), faces.cols());
    if pixels != SIDE * SIDE {
        return content(format!("`faces` has {pixels} rows, not one for each of {SIDE}×{SIDE} pixels"));
    }
    let mut levels = Vec::with_capacity(pixels * people);
    for block in 0..faces.blocks() {
        levels.extend_from_slice(&faces.block(block).map_err(library)?.to_mat().data);
    }
    let bytes: Vec<u8> = levels.iter().map(|&v| v as u8).collect();
    if bytes.iter().zip(&levels).any(|(&byte, &v)| f32::from(byte) != v) {
        return content("`faces` has numbers that are no whole levels from 0 to 255");
    }
    let (least, most) = bytes.iter().fold((255, 0), |(least, most), &v| (v.min(least), v.max(most)));
    let mut sum = Sha256::new();
    for person in 0..people {
        // Down a column of the picture is along a row of ours.
        let row: Vec<u8> =
            (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| x * SIDE + y)).map(|pixel| bytes[pixel * people + person]).collect();
        sum.update(&row);
        out.row(row.iter().map(|&v| f32::from(v - least) / f32::from((most - least).max(1))))?;
    }
    Ok(((0..people).map(|row| (row / 10).to_string()).collect(), Some(hex(&sum.finalize()))))
}

/// `lfw_funneled/PERSON/PERSON_0001.jpg`, 250×250 colours. Ordered by person and number.
fn lfw(file: &Path, out: &mut Npy) -> Result<Vec<String>> {
    /// Enough pictures to keep all cores busy, few enough to be nothing in memory (some 20 kB each).
    const BATCH: usize = 512;
    let mut rows: Vec<(String, Vec<u16>)> = Vec::new();
    let mut batch: Vec<(String, Vec<u8>)> = Vec::new();
    let decode = |batch: &mut Vec<(String, Vec<u8>)>, rows: &mut Vec<_>| -> Result<()> {
        let ready: Result<Vec<_>> =
            batch.par_drain(..).map(|(path, jpeg)| lfw_row(&path, &jpeg).map(|row| (path, row))).collect();
        rows.extend(ready?);
        Ok(())
    };
    each_file(gunzip(file)?, file, |path, content| {
        if Path::new(path).extension().is_none_or(|kind| kind != "jpg") {
            return Ok(());
        }
        let mut jpeg = Vec::new();
        content.read_to_end(&mut jpeg).map_err(|e| broken(file, &e))?;
        batch.push((path.into(), jpeg));
        if batch.len() == BATCH {
            decode(&mut batch, &mut rows)?;
            out.report(rows.len())?;
        }
        Ok(())
    })?;
    decode(&mut batch, &mut rows)?;
    rows.sort_unstable();
    for (_, row) in &rows {
        out.row(row.iter().map(|&sum| f32::from(sum) / 765.0))?;
    }
    let person = |path: &str| path.rsplit('/').nth(1).unwrap_or_default().replace('_', " ");
    Ok(rows.iter().map(|(path, _)| person(path)).collect())
}

/// The sums of the three colours of the face, half size.
fn lfw_row(path: &str, jpeg: &[u8]) -> Result<Vec<u16>> {
    let picture = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg);
    let picture = picture.map_err(|e| Trouble::Content(format!("{path} in the archive is damaged ({e})")))?.into_rgb8();
    if picture.dimensions() != (250, 250) {
        let (width, height) = picture.dimensions();
        return content(format!("{path} in the archive is {width}×{height} pixels, not 250×250"));
    }
    let face = lfw_face(&picture);
    Ok(face.pixels().map(|p| p.0.iter().map(|&v| u16::from(v)).sum()).collect())
}

/// Rows 70..195 and columns 78..172, half as large, by the same arithmetic as Pillow's bicubic: across, then down, in whole levels.
pub fn lfw_face(picture: &RgbImage) -> RgbImage {
    let (top, left) = (70, 78);
    let (across, down) = (bicubic(172 - left, 47), bicubic(195 - top, 62));
    let narrow = RgbImage::from_fn(47, 195 - top, |x, y| {
        let (first, weights) = &across[x as usize];
        blend(weights, |i| *picture.get_pixel(left + first + i, top + y))
    });
    RgbImage::from_fn(47, 62, |x, y| {
        let (first, weights) = &down[y as usize];
        blend(weights, |i| *narrow.get_pixel(x, first + i))
    })
}

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// For each of `to` pixels: the first of the `from` pixels that it sees, and their weights. Keys' cubic with a = −1/2, as wide as
/// the reduction asks for.
fn bicubic(from: u32, to: u32) -> Vec<(u32, Vec<i32>)> {
    let cubic = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let scale = f64::from(from) / f64::from(to);
    let pixel = |i: u32| {
        let centre = (f64::from(i) + 0.5) * scale;
        let first = (centre - 2.0 * scale + 0.5).max(0.0) as u32;
        let last = ((centre + 2.0 * scale + 0.5) as u32).min(from);
        let weights: Vec<f64> = (first..last).map(|j| cubic((f64::from(j) - centre + 0.5) / scale)).collect();
        let all: f64 = weights.iter().sum();
        (first, weights.iter().map(|w| (w / all * f64::from(1 << BITS)).round() as i32).collect())
    };
    (0..to).map(pixel).collect()
}

fn blend(weights: &[i32], pixel: impl Fn(u32) -> Rgb<u8>) -> Rgb<u8> {
    let mut sums = [1 << (BITS - 1); 3];
    for (i, weight) in weights.iter().enumerate() {
        for (sum, level) in sums.iter_mut().zip(pixel(i as u32).0) {
            *sum += weight * i32::from(level);
        }
    }
    Rgb(sums.map(|sum| (sum >> BITS).clamp(0, 255) as u8))
}

/// `data_batch_1.bin` … `data_batch_5.bin`: records of one byte of class and 32×32 of red, green and blue each.
fn cifar10(file: &Path, out: &mut Npy) -> Result<Vec<String>> {
    const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    const PLANE: usize = 32 * 32;
    // The archive holds the batches in no order; together they take 154 MB.
    let mut batches: [Option<Vec<u8>>; 5] = Default::default();
    each_file(gunzip(file)?, file, |path, content| {
        let number = path
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse::<usize>().ok());
        if let Some(batch) = number.and_then(|n| batches.get_mut(n.wrapping_sub(1))) {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map_err(|e| broken(file, &e))?;
            *batch = Some(bytes);
        }
        Ok(())
    })?;
    let mut labels = Vec::with_capacity(out.rows);
    for (i, batch) in batches.iter().enumerate() {
        let Some(batch) = batch else {
            return content(format!("data_batch_{}.bin is not in the archive", i + 1));
        };
        for record in batch.chunks(1 + 3 * PLANE) {
            let class = CLASSES.get(usize::from(record[0])).filter(|_| record.len() == 1 + 3 * PLANE);
            let Some(class) = class else {
                return content(format!("record {} of the archive is damaged", labels.len()));
            };
            labels.push((*class).to_string());
            let (red, rest) = record[1..].split_at(PLANE);
            let (green, blue) = rest.split_at(PLANE);
            let luma = |((&r, &g), &b): ((&u8, &u8), &u8)| {
                (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) as f32 / 255_000.0
            };
            out.row(red.iter().zip(green).zip(blue).map(luma))?;
        }
    }
    Ok(labels)
}

/// `train/face/face00001.pgm` …, 19×19, in `face.train.tar.gz`, by itself or inside `faces.tar.gz`; or a folder that has any of these.
fn cbcl(file: &Path, out: &mut Npy) -> Result<String> {
    let mut faces: Vec<(String, Vec<u8>)> = Vec::new();
    if file.is_dir() {
        let places = ["train/face", "face", "faces/train/face", "."];
        let has = |place: &&str| {
            fs::read_dir(file.join(place))
                .is_ok_and(|mut all| all.any(|f| f.is_ok_and(|f| is_face(&f.file_name().to_string_lossy()))))
        };
        if let Some(place) = places.iter().find(|place| has(place)) {
            let folder = file.join(place);
            for entry in fs::read_dir(&folder).map_err(|e| disk(&folder, &e))? {
                let path = entry.map_err(|e| disk(&folder, &e))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if is_face(&name) {
                    faces.push((name, fs::read(&path).map_err(|e| disk(&path, &e))?));
                }
            }
        } else if file.join(CBCL_TRAIN).is_file() {
            cbcl_archive(gunzip(&file.join(CBCL_TRAIN))?, file, &mut faces)?;
        } else {
            return content(format!("it has neither faces.tar.gz nor {CBCL_TRAIN} nor train/face/face00001.pgm"));
        }
    } else {
        cbcl_archive(gunzip(file)?, file, &mut faces)?;
    }
    faces.sort_unstable();
    let mut sum = Sha256::new();
    for (name, pgm) in &faces {
        let picture = image::load_from_memory_with_format(pgm, ImageFormat::Pnm);
        let picture = picture.map_err(|e| Trouble::Content(format!("{name} is damaged ({e})")))?.into_luma8();
        if picture.dimensions() != (19, 19) {
            let (width, height) = picture.dimensions();
            return content(format!("{name} is {width}×{height} pixels, not 19×19"));
        }
        sum.update(picture.as_raw());
        out.row(picture.as_raw().iter().map(|&v| f32::from(v) / 255.0))?;
    }
    Ok(hex(&sum.finalize()))
}

const CBCL_TRAIN: &str = "face.train.tar.gz";

fn cbcl_archive(archive: impl Read, file: &Path, faces: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    each_file(archive, file, |path, content| {
        let mut parts = path.rsplit('/');
        let name = parts.next().unwrap_or_default();
        if name == CBCL_TRAIN {
            return cbcl_archive(GzDecoder::new(content), file, faces);
        }
        if is_face(name) && parts.next() == Some("face") && parts.next() != Some("test") {
            let mut pgm = Vec::new();
            content.take(1 << 20).read_to_end(&mut pgm).map_err(|e| broken(file, &e))?;
            faces.push((name.into(), pgm));
        }
        Ok(())
    })
}

/// `face00001.pgm`; the test faces are called `cmu_0000.pgm`.
fn is_face(name: &str) -> bool {
    name.strip_prefix("face")
        .and_then(|rest| rest.strip_suffix(".pgm"))
        .is_some_and(|n| n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn gunzip(file: &Path) -> Result<impl Read> {
    Ok(GzDecoder::new(BufReader::with_capacity(1 << 18, File::open(file).map_err(|e| disk(file, &e))?)))
}

/// Every plain file of a tar archive, by its path; nothing is written to the disk.
fn each_file(archive: impl Read, file: &Path, mut visit: impl FnMut(&str, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(|e| broken(file, &e))? {
        let mut entry = entry.map_err(|e| broken(file, &e))?;
        if entry.header().entry_type().is_file() {
            let path = entry.path().map_err(|e| broken(file, &e))?.to_string_lossy().replace('\\', "/");
            visit(&path, &mut entry)?;
        }
    }
    Ok(())
}

fn broken(file: &Path, e: &std::io::Error) -> Trouble {
    Trouble::Content(format!("{} is no whole archive ({e})", file.display()))
}

/// A matrix of f32 written row by row beside its place (`NumPy`'s format 1.0), renamed when all rows are there.
struct Npy<'a> {
    path: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    rows: usize,
    cols: usize,
    done: usize,
    watch: Watch<'a>,
}

impl<'a> Npy<'a> {
    fn new(path: &Path, rows: usize, cols: usize, watch: Watch<'a>) -> Result<Self> {
        let part = path.with_extension("npy.part");
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
        // Ten bytes before the header, a line feed after it, the numbers at a multiple of 64.
        let room = (10 + header.len() + 1).next_multiple_of(64) - 10;
        header = format!("{header:<width$}\n", width = room - 1);
        let start = [b"\x93NUMPY\x01\x00", &(room as u16).to_le_bytes()[..], header.as_bytes()].concat();
        let mut out = File::create(&part).map(|file| BufWriter::with_capacity(1 << 18, file)).map_err(|e| disk(&part, &e))?;
        out.write_all(&start).map_err(|e| disk(&part, &e))?;
        Ok(Self { path: path.into(), part, out, rows, cols, done: 0, watch })
    }

    fn row(&mut self, values: impl Iterator<Item = f32>) -> Result<()> {
        let mut count = 0;
        for value in values {
            self.out.write_all(&value.to_le_bytes()).map_err(|e| disk(&self.part, &e))?;
            count += 1;
        }
        self.done += 1;
        if count != self.cols || self.done > self.rows {
            return content(format!("row {} has {count} columns, expected {} rows of {}", self.done, self.rows, self.cols));
        }
        if self.done.is_multiple_of(500) { self.report(self.done) } else { Ok(()) }
    }

    fn report(&mut self, done: usize) -> Result<()> {
        Ok(report(self.watch, Step::Convert, done as u64, Some(self.rows as u64))?)
    }

    fn finish(mut self) -> Result<()> {
        if self.done != self.rows {
            return content(format!("it has {} pictures, not {}", self.done, self.rows));
        }
        let done =
            self.out.flush().and_then(|()| self.out.get_ref().sync_all()).and_then(|()| fs::rename(&self.part, &self.path));
        Ok(done.map_err(|e| disk(&self.path, &e))?)
    }
}

impl Drop for Npy<'_> {
    /// Half a matrix is no use to anybody, and may be what fills the disk.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}
