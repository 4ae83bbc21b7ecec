//! From a model and rows to the files of an index.

use super::{ABOUT, About, Column, FORMAT, MODEL};
use crate::texts::Texts;
use mereo::bundle::Bundle;
use mereo::mat::Rows;
use mereo::source::Source;
use mereo::{Error, Result};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How an index is built.
pub struct Build<'a> {
    /// What the data is called.
    pub data: &'a str,
    /// Texts of the rows.
    pub texts: Option<&'a dyn Texts>,
    /// What else is known of the rows.
    pub columns: &'a [Column],
    /// Bytes that turning the codes by latent may take at a time.
    pub memory: usize,
    /// Hears of every row that is done, and may end the work.
    pub watch: Option<&'a mut dyn FnMut(usize) -> ControlFlow<()>>,
}

impl Default for Build<'_> {
    fn default() -> Self {
        Self { data: "", texts: None, columns: &[], memory: 512 << 20, watch: None }
    }
}

/// Numbers of a piece of rows, and of their codes.
const NUMBERS: usize = 1 << 22;

/// Builds the index of `bundle` over `rows` in the folder `path`, whole or not at all; an index that is there is replaced.
///
/// # Errors
/// Codes that are neither sparse nor at least 0; texts or columns of another number of rows; a NaN; a folder that is there and is no
/// index; whatever reading and writing refuse; [`Error::data`] "interrupted" if the watcher ended it.
pub fn build(path: &Path, bundle: &Bundle, rows: &dyn Source, mut how: Build) -> Result<About> {
    let n = mereo::source::count(rows);
    check(path, bundle, rows, n, &how)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let around =
        tempfile::Builder::new().prefix(".mereo-").suffix(".part").tempdir_in(parent).map_err(|e| Error::io(parent, e))?;
    let at = &around.path().join("index");
    fs::create_dir(at).map_err(|e| Error::io(at, e))?;
    bundle.save(&at.join(MODEL))?;
    let latents = bundle.model.atoms().rows;
    let counts = write_codes(at, bundle, rows, latents, &mut how.watch)?;
    let entries = counts.iter().sum::<u64>() as usize;
    turn(at, &counts, n, how.memory)?;
    if let Some(texts) = how.texts {
        let (mut starts, mut all) = (Out::create(at.join("texts.starts"))?, Out::create(at.join("texts.utf8"))?);
        let mut end = 0u64;
        starts.put(&end.to_le_bytes())?;
        for i in 0..n {
            let text = texts.text(i);
            all.put(text.as_bytes())?;
            end += text.len() as u64;
            starts.put(&end.to_le_bytes())?;
        }
        starts.end()?;
        all.end()?;
    }
    for (i, column) in how.columns.iter().enumerate() {
        put_json(at.join(format!("column.{i}")), column)?;
    }
    let about = About {
        format: FORMAT,
        rows: n,
        cols: rows.cols(),
        latents,
        entries,
        data: how.data.into(),
        texts: how.texts.is_some(),
        columns: how.columns.iter().map(|c| c.name.clone()).collect(),
    };
    put_json(at.join(ABOUT), &about)?;
    // The old index goes only when the new one is whole.
    let old = around.path().join("old");
    let there = path.exists();
    if there {
        fs::rename(path, &old).map_err(|e| Error::io(path, e))?;
    }
    if let Err(e) = fs::rename(at, path) {
        if there {
            fs::rename(&old, path).map_err(|e| Error::io(path, e))?;
        }
        return Err(Error::io(path, e));
    }
    Ok(about)
}

fn check(path: &Path, bundle: &Bundle, rows: &dyn Source, n: usize, how: &Build) -> Result<()> {
    if path.exists() && !path.join(ABOUT).is_file() {
        return Err(Error::parameter(format!("{} is there and is no index; name another folder", path.display())));
    }
    if n == 0 || u32::try_from(n).is_err() {
        return Err(Error::data(format!("an index is over 1 to 4,294,967,295 rows, not {n}")));
    }
    let cols = bundle.about.shape.cols;
    if rows.cols() != cols {
        return Err(Error::data(format!(
            "the data has {} columns, the model was fitted on {cols}; give it the same columns in the same order",
            rows.cols()
        )));
    }
    let given = how.texts.map(|t| ("texts", t.count()));
    for (what, count) in given.into_iter().chain(how.columns.iter().map(|c| ("values in a column of the texts", c.values.rows())))
    {
        if count != n {
            return Err(Error::data(format!("there are {count} {what} for {n} rows; give one for each row, in their order")));
        }
    }
    Ok(())
}

/// Writes the rows and their codes as they come; returns how often each latent is active.
fn write_codes(
    at: &Path,
    bundle: &Bundle,
    rows: &dyn Source,
    latents: usize,
    watch: &mut Option<&mut dyn FnMut(usize) -> ControlFlow<()>>,
) -> Result<Vec<u64>> {
    let step = (NUMBERS / rows.cols().max(latents).max(1)).clamp(16, 8192);
    let mut counts = vec![0u64; latents];
    let out = |name: &str| Out::create(at.join(name));
    let (mut raw, mut starts, mut places, mut values) =
        (out("rows.f32")?, out("row.starts")?, out("row.at")?, out("row.values")?);
    let (mut end, mut first) = (0u64, 0u64);
    starts.put(&end.to_le_bytes())?;
    for b in 0..rows.blocks() {
        let block = rows.block(b)?;
        mereo::source::check_known(&block, first, Some(bundle.model.missing()))?;
        for from in (0..block.rows()).step_by(step) {
            let x = block.slice(from, (from + step).min(block.rows()));
            let z = bundle.encode(&x)?;
            let (at, v, ends) = sparse(&z.view(), first, bundle.model.method())?;
            for &j in &at {
                counts[j as usize] += 1;
            }
            for e in ends {
                starts.put(&(end + e).to_le_bytes())?;
            }
            end += at.len() as u64;
            places.put(bytemuck::cast_slice(&at))?;
            values.put(bytemuck::cast_slice(&v))?;
            raw.put(bytemuck::cast_slice(&x.to_mat().data))?;
            first += x.rows() as u64;
            if watch.as_mut().is_some_and(|watch| watch(x.rows()).is_break()) {
                return Err(Error::data("interrupted"));
            }
        }
    }
    for out in [raw, starts, places, values] {
        out.end()?;
    }
    Ok(counts)
}

/// Latents and values of all entries that are not 0, and where each row ends.
fn sparse(z: &Rows, first: u64, method: &str) -> Result<(Vec<u32>, Vec<f32>, Vec<u64>)> {
    let (mut at, mut values, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    match z {
        Rows::Sparse(z) => {
            for i in 0..z.indptr.len().saturating_sub(1) {
                let (j, v) = z.row(i);
                j.iter().zip(v).filter(|(_, v)| **v != 0.0).for_each(|(&j, &v)| {
                    at.push(j);
                    values.push(v);
                });
                ends.push(at.len() as u64);
            }
        }
        Rows::Dense(z) => {
            for (i, row) in z.data.chunks_exact(z.cols.max(1)).enumerate() {
                for (j, &v) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    if v < 0.0 {
                        return Err(Error::data(format!(
                            "row {} has a code of {v} on atom {j}: an index is for codes that are sparse or at least 0, as those of sae, nmf and vq; \
                             those of {method} are neither",
                            first + i as u64
                        )));
                    }
                    at.push(j as u32);
                    values.push(v);
                }
                ends.push(at.len() as u64);
            }
        }
    }
    Ok((at, values, ends))
}

/// Writes the rows of each latent: as many latents at a time as `memory` has room for, each time from all codes.
fn turn(at: &Path, counts: &[u64], n: usize, memory: usize) -> Result<()> {
    const ENTRY: u64 = 8;
    let (mut starts, mut places, mut values) =
        (Out::create(at.join("latent.starts"))?, Out::create(at.join("latent.at"))?, Out::create(at.join("latent.values"))?);
    let mut end = 0u64;
    starts.put(&end.to_le_bytes())?;
    for count in counts {
        end += count;
        starts.put(&end.to_le_bytes())?;
    }
    starts.end()?;
    let mut from = 0;
    while from < counts.len() {
        let mut room = 0;
        let mut to = from;
        while to < counts.len() && (to == from || (room + counts[to]) * ENTRY <= memory as u64) {
            room += counts[to];
            to += 1;
        }
        let mut next = vec![0u64; to - from];
        for j in from + 1..to {
            next[j - from] = next[j - from - 1] + counts[j - 1];
        }
        let (mut of_rows, mut of_values) = (vec![0u32; room as usize], vec![0f32; room as usize]);
        let mut each = Entries::open(at)?;
        for i in 0..n {
            each.row(|j, v| {
                if let Some(next) = (j as usize).checked_sub(from).and_then(|j| next.get_mut(j)) {
                    of_rows[*next as usize] = i as u32;
                    of_values[*next as usize] = v;
                    *next += 1;
                }
            })?;
        }
        places.put(bytemuck::cast_slice(&of_rows))?;
        values.put(bytemuck::cast_slice(&of_values))?;
        from = to;
    }
    places.end()?;
    values.end()
}

/// The entries of the rows, read again one row after the other.
struct Entries {
    starts: BufReader<File>,
    places: BufReader<File>,
    values: BufReader<File>,
    last: u64,
    buffers: [Vec<u8>; 2],
}

impl Entries {
    fn open(at: &Path) -> Result<Self> {
        let open = |name: &str| {
            let path = at.join(name);
            Ok(BufReader::with_capacity(1 << 20, File::open(&path).map_err(|e| Error::io(&path, e))?))
        };
        let mut entries = Self {
            starts: open("row.starts")?,
            places: open("row.at")?,
            values: open("row.values")?,
            last: 0,
            buffers: [Vec::new(), Vec::new()],
        };
        entries.last = entries.start()?;
        Ok(entries)
    }

    fn start(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.starts.read_exact(&mut bytes).map_err(|e| gone(&e))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Hands over the entries of the next row.
    fn row(&mut self, mut take: impl FnMut(u32, f32)) -> Result<()> {
        let end = self.start()?;
        let bytes = 4 * (end - self.last) as usize;
        self.last = end;
        let [at, values] = &mut self.buffers;
        at.resize(bytes, 0);
        values.resize(bytes, 0);
        self.places.read_exact(at).map_err(|e| gone(&e))?;
        self.values.read_exact(values).map_err(|e| gone(&e))?;
        for (j, v) in at.chunks_exact(4).zip(values.chunks_exact(4)) {
            take(u32::from_le_bytes([j[0], j[1], j[2], j[3]]), f32::from_le_bytes([v[0], v[1], v[2], v[3]]));
        }
        Ok(())
    }
}

fn gone(e: &std::io::Error) -> Error {
    Error::data(format!("the codes that were just written can't be read again: {e}"))
}

/// A file that is written.
struct Out {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Out {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 20, file) })
    }
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }
    /// The disk has all of it.
    fn end(mut self) -> Result<()> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|e| Error::io(&self.path, e))
    }
}

fn put_json(path: PathBuf, value: &impl serde::Serialize) -> Result<()> {
    let json = serde_json::to_vec(value).map_err(|e| Error::data(format!("{} can't be written: {e}", path.display())))?;
    let mut out = Out::create(path)?;
    out.put(&json)?;
    out.end()
}
