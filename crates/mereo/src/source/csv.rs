//! `.csv` and `.tsv`: one row of numbers a line, read in pieces that are parsed on all threads.
//!
//! Own code rather than a csv crate, as a line is a row here: pieces can be cut at line ends, kept as offsets, and parsed side by
//! side, and every error can name its line.

use super::budget::Budget;
use super::input::Input;
use super::open::{Open, Opened};
use super::text::{Bad, Pieces, blank, number, shown};
use super::{Source, dense};
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Mat, Rows};
use rayon::prelude::*;
use std::borrow::Cow;

/// Bytes read at a time.
const PIECE: usize = 8 << 20;

/// Opens a file whose name ends in `.csv` or `.tsv`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let tab = input.path().extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let table = Table { missing: how.missing, ..Table::new(input, if tab { b'\t' } else { b',' }, how.header)? };
    let columns = table.names.clone();
    let budget = Budget::new(how.memory);
    // A number takes two bytes of text at least, four of memory.
    let fits = budget.holds(table.input.len().saturating_mul(2));
    let index = if fits { None } else { Some(table.index(budget)?) };
    let source: Box<dyn Source + Send> = match index {
        Some(index) if !budget.holds((index.rows as u64).saturating_mul(table.cols as u64 * 4)) => {
            Box::new(Stream { table, index })
        }
        _ => dense::memory(table.load()?),
    };
    Ok(Opened { source, image: None, columns, kind: if tab { "tsv" } else { "csv" } })
}

/// A place in the file: a byte, and the number of its line from 1.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    line: u64,
}

/// What the first lines say.
struct Table {
    input: Input,
    separator: u8,
    cols: usize,
    names: Option<Vec<String>>,
    /// Where the rows begin.
    first: Place,
    /// An empty cell is a NaN.
    missing: bool,
}

impl Table {
    fn new(input: Input, separator: u8, header: Option<bool>) -> Result<Self> {
        let mut pieces = Pieces::new(&input, 0, input.len(), 1 << 16);
        let mut place = Place { at: 0, line: 1 };
        // The first line that isn't blank; a name may hold line ends within quotes.
        let mut held: Vec<u8> = Vec::new();
        let mut start = place;
        let found = 'found: {
            while let Some((at, piece)) = pieces.next()? {
                if at == 0 && (piece.starts_with(&[0xff, 0xfe]) || piece.starts_with(&[0xfe, 0xff])) {
                    return Err(input.error("is text in UTF-16; save it as UTF-8"));
                }
                if piece.contains(&0) {
                    return Err(
                        input.error("holds zero bytes and is no text; save it as text, or give it the ending of its kind")
                    );
                }
                for line in piece.split_inclusive(|&b| b == b'\n') {
                    if held.is_empty() {
                        start = place;
                    }
                    held.extend_from_slice(if place.at == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line });
                    place = Place { at: place.at + line.len() as u64, line: place.line + 1 };
                    if blank(&held) {
                        held.clear();
                    } else if closed(&held) {
                        break 'found true;
                    }
                }
            }
            false
        };
        if !found {
            let why = if held.is_empty() { "has no lines but blank ones" } else { "opens a quote and never closes it" };
            return Err(input.error(format!("{why}; a line of numbers for each row is needed")));
        }
        let text = held.trim_ascii_end();
        if text.contains(&b'\r') {
            return Err(input.error("its lines end in CR alone; save it with LF or CR LF line ends"));
        }
        let cells: Vec<Cow<[u8]>> = split(text, separator);
        let named = header.unwrap_or_else(|| cells.iter().any(|c| number(c).is_err_and(|bad| bad == Bad::Text)));
        let names = named.then(|| cells.iter().map(|c| shown(c)).collect());
        let cols = cells.len();
        let first = if named { place } else { start };
        Ok(Self { input, separator, cols, names, first, missing: false })
    }

    /// All rows.
    fn load(&self) -> Result<Mat> {
        let mut data = Vec::new();
        let mut line = self.first.line;
        let mut pieces = Pieces::new(&self.input, self.first.at, self.input.len(), PIECE);
        while let Some((at, piece)) = pieces.next()? {
            line = self.parse(Place { at, line }, &piece, &mut data)?;
        }
        self.some(data.len())?;
        Ok(Mat { rows: data.len() / self.cols, cols: self.cols, data })
    }

    fn some(&self, numbers: usize) -> Result<()> {
        if numbers > 0 {
            return Ok(());
        }
        Err(self.input.error("has a header and no rows; a line of numbers for each row is needed"))
    }

    /// Appends the rows of a piece; the number of the line after it.
    fn parse(&self, place: Place, piece: &[u8], into: &mut Vec<f32>) -> Result<u64> {
        let piece = if place.at == 0 { piece.strip_prefix(b"\xef\xbb\xbf").unwrap_or(piece) } else { piece };
        let mut next = place.line;
        let mut lines = Vec::new();
        for line in piece.split_inclusive(|&b| b == b'\n') {
            if !blank(line) {
                lines.push((next, line));
            }
            next += 1;
        }
        let from = into.len();
        let more = lines.len() * self.cols;
        into.try_reserve(more).map_err(|_| dense::too_much(self.input.path(), (from + more).saturating_mul(4)))?;
        into.resize(from + more, 0.0);
        let rows = into[from..].par_chunks_exact_mut(self.cols).zip(&lines);
        if rows.with_min_len(16).try_for_each(|(row, (line, text))| self.row(*line, text, row).map_err(drop)).is_err() {
            // Once more in order, so that the error is always that of the first bad line.
            for (row, (line, text)) in into[from..].chunks_exact_mut(self.cols).zip(&lines) {
                self.row(*line, text, row)?;
            }
        }
        Ok(next)
    }

    /// The numbers of one line.
    fn row(&self, line: u64, text: &[u8], out: &mut [f32]) -> Result<()> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let mut n = 0;
        let mut bad = None;
        let mut cell = |cell: &[u8]| {
            match number(cell) {
                Ok(v) if n < out.len() => out[n] = v,
                Err(Bad::Missing) if self.missing && n < out.len() => out[n] = f32::NAN,
                Err(why) if n < out.len() && bad.is_none() => bad = Some((n, why, cell.to_vec())),
                _ => {}
            }
            n += 1;
        };
        if text.contains(&b'"') {
            for c in split(text, self.separator) {
                cell(&c);
            }
        } else {
            text.split(|&b| b == self.separator).for_each(cell);
        }
        if n != self.cols {
            let fix = if text.contains(&b';') {
                "if semicolons separate the cells and commas are decimal, save it with commas and points"
            } else {
                "fill in its cells or remove the line"
            };
            return Err(self.input.error(format!(
                "line {line} has {n} column{}, the lines before have {}; {fix}",
                if n == 1 { "" } else { "s" },
                self.cols
            )));
        }
        bad.map_or(Ok(()), |(column, why, cell)| Err(self.bad(line, column, why, &cell)))
    }

    fn bad(&self, line: u64, column: usize, why: Bad, cell: &[u8]) -> Error {
        let name = self.names.as_ref().map(|n| format!(" ({})", n[column])).unwrap_or_default();
        let place = format!("line {line}, column {}{name}", column + 1);
        let cell = shown(cell);
        self.input.error(match why {
            Bad::Missing if cell.is_empty() => {
                format!("{place} is empty; fill the number in, remove the line, or fit nmf with missing = nan")
            }
            Bad::Missing => {
                format!("{place} is missing (`{cell}`); fill the number in, remove the line, or fit nmf with missing = nan")
            }
            Bad::Range => format!("{place} is {cell}, beyond ±3.4e38, the range of 32-bit floats; rescale the column"),
            Bad::Text if self.cols == 1 && cell.contains([';', '\t', ',', ' ']) => {
                let wanted = if self.separator == b'\t' { "tabs (.tsv)" } else { "commas (.csv)" };
                format!("{place} is `{cell}`, not a number; if it is several, separate them by {wanted}")
            }
            Bad::Text => format!("{place} is `{cell}`, not a number; remove the column, or turn it into numbers"),
        })
    }

    /// Counts rows and cuts them into blocks, without reading the numbers.
    fn index(&self, budget: Budget) -> Result<Index> {
        let step = budget.step(self.cols as u64 * 4);
        let mut index = Index { step, rows: 0, starts: Vec::new(), end: Place { at: self.input.len(), line: 0 } };
        let mut place = self.first;
        let mut pieces = Pieces::new(&self.input, self.first.at, self.input.len(), PIECE.min(1 << 20));
        while let Some((_, piece)) = pieces.next()? {
            for line in piece.split_inclusive(|&b| b == b'\n') {
                if !blank(line) {
                    if index.rows.is_multiple_of(step) {
                        index.starts.push(place);
                    }
                    index.rows += 1;
                }
                place = Place { at: place.at + line.len() as u64, line: place.line + 1 };
            }
        }
        self.some(index.rows)?;
        Ok(index)
    }
}

/// Where the blocks begin.
struct Index {
    step: usize,
    rows: usize,
    starts: Vec<Place>,
    end: Place,
}

/// A table that stays in its file; the lines of a block are parsed each time.
struct Stream {
    table: Table,
    index: Index,
}

impl Source for Stream {
    fn cols(&self) -> usize {
        self.table.cols
    }
    fn blocks(&self) -> usize {
        self.index.starts.len()
    }
    fn rows(&self, block: usize) -> usize {
        self.index.step.min(self.index.rows - block * self.index.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let start = self.index.starts[block];
        let end = self.index.starts.get(block + 1).unwrap_or(&self.index.end).at;
        let mut data = Vec::with_capacity(self.rows(block) * self.table.cols);
        let mut line = start.line;
        let mut pieces = Pieces::new(&self.table.input, start.at, end, PIECE.min(1 << 20));
        while let Some((at, piece)) = pieces.next()? {
            line = self.table.parse(Place { at, line }, &piece, &mut data)?;
        }
        if data.len() != self.rows(block) * self.table.cols {
            return Err(self.table.input.error("changed while it was read; leave it alone and start again"));
        }
        Ok(Rows::Dense(DenseRows { cols: self.table.cols, data: data.into(), weights: None }))
    }
    fn streams(&self) -> bool {
        true
    }
}

/// Whether every quote that is opened is closed.
fn closed(line: &[u8]) -> bool {
    line.iter().fold(true, |closed, &b| closed ^ (b == b'"'))
}

/// The cells of a line that has quotes in it: within quotes a separator is text, and two quotes are one.
fn split(line: &[u8], separator: u8) -> Vec<Cow<'_, [u8]>> {
    let mut cells = Vec::new();
    let mut from = 0;
    let mut within = false;
    // A quote that is never closed stands for itself.
    let quotes = closed(line);
    for i in 0..=line.len() {
        if quotes && line.get(i) == Some(&b'"') {
            within = !within;
        } else if i == line.len() || (line[i] == separator && !within) {
            cells.push(unquoted(&line[from..i]));
            from = i + 1;
        }
    }
    cells
}

fn unquoted(cell: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = cell.trim_ascii().strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")) else { return cell.into() };
    if inner.contains(&b'"') { String::from_utf8_lossy(inner).replace("\"\"", "\"").into_bytes().into() } else { inner.into() }
}
