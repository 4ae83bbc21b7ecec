//! Sparse rows: put in order, held in memory, read from two arrays of a file, or gathered through a temporary file.

use super::budget::Budget;
use super::dense::too_large;
use super::input::{Input, temporary};
use super::number::Form;
use super::{Memory, Source};
use crate::error::{Error, Result};
use crate::mat::{Csr, Rows, SparseRows};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read and converted at a time.
const STRIP: usize = 4 << 20;

/// Bytes of a stored entry in memory: a column and a value.
pub(super) const ENTRY: u64 = 8;

/// Refuses a shape that can't be meant: no rows, no columns, or so many that a damaged header must be behind it. Empty rows and
/// columns take no bytes in a sparse file, so the bounds are wide.
pub(super) fn check_shape(path: &Path, rows: u64, cols: u64, file: u64, budget: Budget) -> Result<(usize, usize)> {
    if rows == 0 || cols == 0 {
        return Err(Error::format(
            path,
            format!("has the shape ({rows}, {cols}): without rows or without columns nothing can be learned"),
        ));
    }
    let plausible = |floor: u64| file.saturating_mul(64).max(floor);
    if rows > plausible(1 << 20) || cols > plausible(1 << 24) || cols > u64::from(u32::MAX) {
        return Err(Error::format(
            path,
            format!("claims the shape ({rows}, {cols}) with {file} bytes of data; its header is damaged"),
        ));
    }
    if rows > 1 << 17 && !budget.holds(rows.saturating_mul(8)) {
        let need = (rows.saturating_mul(24) >> 20) + 1;
        return Err(Error::format(path, format!("has {rows} rows, too many to count them in the memory given; give {need} MB")));
    }
    Ok((rows as usize, cols as usize))
}

/// Rows from entries (row, column, value) in any order.
pub(super) fn gather(rows: usize, cols: usize, entries: &[(u32, u32, f32)]) -> Csr {
    let mut indptr = vec![0u64; rows + 1];
    for &(r, _, _) in entries {
        indptr[r as usize + 1] += 1;
    }
    for r in 0..rows {
        indptr[r + 1] += indptr[r];
    }
    let mut next = indptr.clone();
    let (mut indices, mut values) = (vec![0; entries.len()], vec![0.0; entries.len()]);
    for &(r, c, v) in entries {
        let at = next[r as usize] as usize;
        next[r as usize] += 1;
        (indices[at], values[at]) = (c, v);
    }
    Csr { rows, cols, indptr, indices, values }.canonical()
}

/// Rows from compressed columns: `starts` says where each column begins, `rows` the row of each entry (below n).
pub(super) fn from_columns((n, cols): (usize, usize), starts: &[u64], rows: &[u32], stored: &[f32]) -> Csr {
    let mut indptr = vec![0u64; n + 1];
    for &r in rows {
        indptr[r as usize + 1] += 1;
    }
    for r in 0..n {
        indptr[r + 1] += indptr[r];
    }
    let mut next = indptr.clone();
    let (mut indices, mut values) = (vec![0; rows.len()], vec![0.0; rows.len()]);
    for (c, w) in starts.windows(2).enumerate() {
        for i in w[0] as usize..w[1] as usize {
            let at = next[rows[i] as usize] as usize;
            next[rows[i] as usize] += 1;
            (indices[at], values[at]) = (c as u32, stored[i]);
        }
    }
    Csr { rows: n, cols, indptr, indices, values }.canonical()
}

/// The same for compressed columns that stay in a file: read twice, to count and to sort them through a temporary file.
pub(super) fn stream_columns(
    (n, cols): (usize, usize),
    starts: &[u64],
    indices: &Column,
    values: &Column,
    budget: Budget,
) -> Result<Box<dyn Source + Send>> {
    let path = indices.input.path();
    let stored = starts[cols];
    let step = budget.step(ENTRY);
    let mut counts = vec![0u64; n];
    for from in (0..stored).step_by(step) {
        let to = stored.min(from + step as u64);
        for r in columns(path, indices.form, &indices.bytes(from, to)?, n)? {
            counts[r as usize] += 1;
        }
    }
    let mut scatter = Scatter::new(path, cols, counts, budget)?;
    let mut column = 0;
    for from in (0..stored).step_by(step) {
        let to = stored.min(from + step as u64);
        let rows = columns(path, indices.form, &indices.bytes(from, to)?, n)?;
        let mut held = vec![0.0; rows.len()];
        values.form.decode(&values.bytes(from, to)?, &mut held).map_err(|(at, v)| out_of_range(path, from + at as u64, v))?;
        for (i, (r, v)) in rows.into_iter().zip(held).enumerate() {
            while starts[column + 1] <= from + i as u64 {
                column += 1;
            }
            scatter.push(r as usize, column as u32, v)?;
        }
    }
    scatter.finish()
}

/// A sparse matrix as a source of one block that owns it.
pub(super) fn memory(m: Csr) -> Box<dyn Source + Send> {
    Box::new(Memory::new(owned(m)))
}

fn owned(m: Csr) -> Rows<'static> {
    Rows::Sparse(SparseRows {
        cols: m.cols,
        indptr: m.indptr.into(),
        indices: m.indices.into(),
        values: m.values.into(),
        weights: None,
    })
}

/// Cuts rows into blocks of at most `most` rows and about `most` entries.
fn cut(indptr: &[u64], budget: Budget) -> Vec<usize> {
    let most = budget.step(ENTRY) as u64;
    let mut starts = vec![0];
    for r in 1..indptr.len() - 1 {
        let first = starts[starts.len() - 1];
        if indptr[r + 1] - indptr[first] > most || (r - first) as u64 >= most {
            starts.push(r);
        }
    }
    starts
}

/// Numbers of one type, one after the other in a file.
#[derive(Debug)]
pub(super) struct Column {
    /// The file, which another column may share.
    pub(super) input: Arc<Input>,
    /// Their type.
    pub(super) form: Form,
    /// The first of them.
    pub(super) offset: u64,
}

impl Column {
    /// The bytes of numbers `from..to`.
    pub(super) fn bytes(&self, from: u64, to: u64) -> Result<Vec<u8>> {
        let size = self.form.size() as u64;
        self.input.bytes(self.offset + from * size, (to - from) * size)
    }
}

/// The first `n` of indices (below `bound`) and values.
pub(super) fn load(indices: &Column, values: &Column, n: u64, bound: usize) -> Result<(Vec<u32>, Vec<f32>)> {
    let path = indices.input.path();
    let rows = columns(path, indices.form, &indices.bytes(0, n)?, bound)?;
    let mut held = vec![0.0; rows.len()];
    values.form.decode(&values.bytes(0, n)?, &mut held).map_err(|(at, v)| out_of_range(path, at as u64, v))?;
    Ok((rows, held))
}

/// Columns of entries as u32, each below `cols`.
fn columns(path: &Path, form: Form, bytes: &[u8], cols: usize) -> Result<Vec<u32>> {
    let all = form.counts(bytes).filter(|all| all.iter().all(|&j| j < cols as u64));
    let all = all.ok_or_else(|| {
        Error::format(path, format!("names columns outside its {cols} columns; the file is damaged: write it again"))
    })?;
    Ok(all.into_iter().map(|j| j as u32).collect())
}

/// `n` whole numbers from a stream.
pub(crate) fn counts(path: &Path, from: &mut dyn Read, form: Form, n: usize) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    strips(path, from, form, n, |_, bytes| {
        let part = form.counts(bytes);
        all.extend(part.ok_or_else(|| Error::format(path, "its indices aren't whole numbers from 0; write it again"))?);
        Ok(())
    })?;
    Ok(all)
}

/// `n` columns of entries from a stream.
pub(super) fn indices(path: &Path, from: &mut dyn Read, form: Form, n: usize, cols: usize) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    strips(path, from, form, n, |_, bytes| {
        all.extend(columns(path, form, bytes, cols)?);
        Ok(())
    })?;
    Ok(all)
}

/// `n` values of entries from a stream.
pub(crate) fn values(path: &Path, from: &mut dyn Read, form: Form, n: usize) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    strips(path, from, form, n, |first, bytes| {
        all.resize(first + bytes.len() / form.size(), 0.0);
        form.decode(bytes, &mut all[first..]).map_err(|(at, v)| out_of_range(path, first as u64 + at as u64, v))
    })?;
    Ok(all)
}

/// The error of an entry that f32 can't hold; its row is not known here.
pub(super) fn out_of_range(path: &Path, entry: u64, value: f64) -> Error {
    Error::format(
        path,
        format!(
            "stored entry {entry} is {value:e} (counted from 0), beyond ±3.4e38, the range of 32-bit floats; rescale the data"
        ),
    )
}

/// Hands over the bytes of `n` numbers a few at a time, each with the number of its first.
fn strips(
    path: &Path,
    from: &mut dyn Read,
    form: Form,
    n: usize,
    mut each: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let most = STRIP / form.size();
    let mut bytes = vec![0; n.min(most) * form.size()];
    for first in (0..n).step_by(most) {
        let bytes = &mut bytes[..most.min(n - first) * form.size()];
        from.read_exact(bytes).map_err(|e| unreadable(path, &e))?;
        each(first, bytes)?;
    }
    Ok(())
}

/// The error of a stream that can't be read to its end.
pub(super) fn unreadable(path: &Path, e: &std::io::Error) -> Error {
    Error::format(path, format!("can't be read to its end ({e}); it was cut short or is damaged: copy or write it again"))
}

/// Compressed rows whose columns and values stay in their file; only the row pointers are in memory.
#[derive(Debug)]
pub(super) struct Stream {
    cols: usize,
    indptr: Vec<u64>,
    starts: Vec<usize>,
    indices: Column,
    values: Column,
}

impl Stream {
    /// Rows over the arrays of a CSR matrix; `indptr` is checked to rise from 0.
    pub(super) fn new(cols: usize, indptr: Vec<u64>, indices: Column, values: Column, budget: Budget) -> Self {
        Self { cols, starts: cut(&indptr, budget), indptr, indices, values }
    }

    fn span(&self, block: usize) -> (usize, usize) {
        (self.starts[block], self.starts.get(block + 1).copied().unwrap_or(self.indptr.len() - 1))
    }
}

impl Source for Stream {
    fn cols(&self) -> usize {
        self.cols
    }
    fn blocks(&self) -> usize {
        self.starts.len()
    }
    fn rows(&self, block: usize) -> usize {
        let (from, to) = self.span(block);
        to - from
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let (from, to) = self.span(block);
        let (first, end) = (self.indptr[from], self.indptr[to]);
        let indptr: Vec<u64> = self.indptr[from..=to].iter().map(|p| p - first).collect();
        let path = self.indices.input.path();
        let indices = columns(path, self.indices.form, &self.indices.bytes(first, end)?, self.cols)?;
        let bytes = self.values.bytes(first, end)?;
        let mut values = vec![0.0; indices.len()];
        self.values.form.decode(&bytes, &mut values).map_err(|(at, v)| {
            let row = indptr.partition_point(|&p| p <= at as u64) - 1;
            too_large(path, from + row, indices[at] as usize, v)
        })?;
        Ok(owned(Csr { rows: to - from, cols: self.cols, indptr, indices, values }.canonical()))
    }
    fn streams(&self) -> bool {
        true
    }
}

/// Bytes of an entry in the temporary file: row, column, value.
const RECORD: usize = 12;

/// Entries in any order, sorted into blocks of rows in a temporary file as they come. How many each row has must be known.
pub(super) struct Scatter {
    path: PathBuf,
    file: File,
    cols: usize,
    indptr: Vec<u64>,
    starts: Vec<usize>,
    /// For each block: where its next entries go in the file, and those that wait to be written.
    waiting: Vec<(u64, Vec<u8>)>,
    most: usize,
}

impl Scatter {
    /// For rows with as many entries as `counts` says.
    pub(super) fn new(path: &Path, cols: usize, counts: Vec<u64>, budget: Budget) -> Result<Self> {
        let mut indptr = counts;
        let mut sum = 0;
        for c in &mut indptr {
            (*c, sum) = (sum, sum + *c);
        }
        indptr.push(sum);
        let starts = cut(&indptr, budget);
        let waiting: Vec<_> = starts.iter().map(|&r| (indptr[r] * RECORD as u64, Vec::new())).collect();
        // A quarter of the bound for what waits, a page for each block at least.
        let most = (budget.bytes() / 4 / waiting.len() as u64).clamp(4096, 1 << 20) as usize;
        Ok(Self { path: path.to_path_buf(), file: temporary(path)?, cols, indptr, starts, waiting, most })
    }

    /// Takes one entry.
    pub(super) fn push(&mut self, row: usize, column: u32, value: f32) -> Result<()> {
        let block = self.starts.partition_point(|&s| s <= row) - 1;
        let (at, bytes) = &mut self.waiting[block];
        bytes.extend_from_slice(&(row as u32).to_le_bytes());
        bytes.extend_from_slice(&column.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
        if bytes.len() >= self.most {
            flush(&self.path, &mut self.file, at, bytes)?;
        }
        Ok(())
    }

    /// The rows, read block by block from the temporary file.
    pub(super) fn finish(mut self) -> Result<Box<dyn Source + Send>> {
        for (at, bytes) in &mut self.waiting {
            flush(&self.path, &mut self.file, at, bytes)?;
        }
        let Self { path, file, cols, indptr, starts, .. } = self;
        Ok(Box::new(Gathered { input: Input::written(&path, file)?, cols, indptr, starts }))
    }
}

fn flush(path: &Path, file: &mut File, at: &mut u64, bytes: &mut Vec<u8>) -> Result<()> {
    file.seek(SeekFrom::Start(*at)).and_then(|_| file.write_all(bytes)).map_err(|e| {
        Error::format(path, format!("can't be sorted through a temporary file ({e}); raise the memory bound or free disk space"))
    })?;
    *at += bytes.len() as u64;
    bytes.clear();
    Ok(())
}

/// What [`Scatter`] wrote.
struct Gathered {
    input: Input,
    cols: usize,
    indptr: Vec<u64>,
    starts: Vec<usize>,
}

impl Gathered {
    fn span(&self, block: usize) -> (usize, usize) {
        (self.starts[block], self.starts.get(block + 1).copied().unwrap_or(self.indptr.len() - 1))
    }
}

impl Source for Gathered {
    fn cols(&self) -> usize {
        self.cols
    }
    fn blocks(&self) -> usize {
        self.starts.len()
    }
    fn rows(&self, block: usize) -> usize {
        let (from, to) = self.span(block);
        to - from
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let (from, to) = self.span(block);
        let (first, end) = (self.indptr[from] * RECORD as u64, self.indptr[to] * RECORD as u64);
        let bytes = self.input.bytes(first, end - first)?;
        let entries: Vec<(u32, u32, f32)> = bytes
            .as_chunks::<RECORD>()
            .0
            .iter()
            .map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| {
                let row = u32::from_le_bytes([a, b, c, d]) - from as u32;
                (row, u32::from_le_bytes([e, f, g, h]), f32::from_le_bytes([i, j, k, l]))
            })
            .collect();
        Ok(owned(gather(to - from, self.cols, &entries)))
    }
    fn streams(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_place_add_up() {
        let wanted = Csr::new(2, 4, vec![0, 3, 4], vec![0, 1, 3, 2], vec![8.0, 2.0, 5.0, 16.0]).expect("csr");
        let entries = [(1, 2, 16.0), (0, 3, 1.0), (0, 1, 2.0), (0, 3, 4.0), (0, 0, 8.0)];
        assert_eq!(gather(2, 4, &entries), wanted);
    }

    #[test]
    fn entries_through_a_file_come_back_in_rows() {
        let folder = tempfile::tempdir().expect("tempdir");
        let entries: Vec<(u32, u32, f32)> = (0..5000u32).map(|i| (i * 7919 % 97, i * 31 % 53, i as f32)).collect();
        let mut counts = vec![0; 97];
        for e in &entries {
            counts[e.0 as usize] += 1;
        }
        let whole = gather(97, 53, &entries);
        for memory in [1, 5000, 100_000] {
            let mut scatter =
                Scatter::new(&folder.path().join("x"), 53, counts.clone(), Budget::new(Some(memory))).expect("scatter");
            for &(r, c, v) in &entries {
                scatter.push(r as usize, c, v).expect("push");
            }
            let source = scatter.finish().expect("finish");
            let mut row = 0;
            for b in 0..source.blocks() {
                let Rows::Sparse(x) = source.block(b).expect("block") else { panic!("sparse") };
                for r in 0..x.rows() {
                    let span = whole.indptr[row] as usize..whole.indptr[row + 1] as usize;
                    assert_eq!(x.row(r), (&whole.indices[span.clone()], &whole.values[span]));
                    row += 1;
                }
            }
            assert_eq!(row, 97);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 0, "the temporary file has no name");
    }
}
