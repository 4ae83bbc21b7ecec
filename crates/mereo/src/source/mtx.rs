//! `.mtx`: `MatrixMarket`, coordinate or array, real, integer or pattern, general, symmetric or skew-symmetric.
//!
//! Boisvert, Pozo & Remington 1996, "The Matrix Market exchange formats". Entries come in any order, so data larger than
//! the memory bound is sorted through a temporary file, once.

use super::Source;
use super::budget::Budget;
use super::dense::{self, Array, Order};
use super::input::{Input, temporary};
use super::number::{Form, Number};
use super::open::{Open, Opened};
use super::sparse::{self, Scatter};
use super::text::{Bad, Pieces, number, shown};
use crate::error::{Error, Result};
use crate::mat::Mat;
use rayon::prelude::*;
use std::io::Write;

/// Bytes read at a time.
const PIECE: usize = 4 << 20;

/// Opens a file whose name ends in `.mtx`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let budget = Budget::new(how.memory);
    let market = Market::new(input)?;
    let source = if market.coordinate { market.open_sparse(budget)? } else { market.open_dense(budget)? };
    Ok(Opened { source, image: None, columns: None, kind: "mtx" })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symmetry {
    General,
    Symmetric,
    Skew,
}

/// What the first lines say.
struct Market {
    input: Input,
    coordinate: bool,
    pattern: bool,
    symmetry: Symmetry,
    rows: u64,
    cols: u64,
    /// Lines of data.
    entries: u64,
    /// Byte and line where they begin.
    at: u64,
    line: u64,
}

/// Row, column (from 0) and value of an entry.
type Entry = (u32, u32, f32);

impl Market {
    fn new(input: Input) -> Result<Self> {
        let mut pieces = Pieces::new(&input, 0, input.len(), 1 << 16);
        let (mut at, mut line) = (0, 0);
        let mut banner = None;
        while let Some((_, piece)) = pieces.next()? {
            for text in piece.split_inclusive(|&b| b == b'\n') {
                at += text.len() as u64;
                line += 1;
                let text = String::from_utf8_lossy(text);
                let text = text.trim();
                match &banner {
                    None => banner = Some(text.to_ascii_lowercase()),
                    Some(_) if text.is_empty() || text.starts_with('%') => {}
                    Some(banner) => {
                        let (coordinate, pattern, symmetry) = kinds(banner).map_err(|e| input.error(e))?;
                        let sizes: Option<Vec<u64>> = text.split_ascii_whitespace().map(|s| s.parse().ok()).collect();
                        let (rows, cols, entries) = match (sizes.as_deref(), coordinate) {
                            (Some(&[rows, cols, entries]), true) => (rows, cols, Some(entries)),
                            (Some(&[rows, cols]), false) => (rows, cols, stored(symmetry, rows, cols)),
                            _ => {
                                let wanted = if coordinate { "rows, columns and entries" } else { "rows and columns" };
                                return Err(
                                    input.error(format!("line {line} is `{}`, it should say {wanted}", shown(text.as_bytes())))
                                );
                            }
                        };
                        // An entry takes two bytes at least: a digit and a space or line end.
                        let Some(entries) = entries.filter(|&n| n <= (input.len() - at).div_ceil(2)) else {
                            let what = entries.map_or("more numbers than can be counted".into(), |n| format!("{n} entries"));
                            return Err(input.error(format!(
                                "line {line} claims {what}, {} bytes follow; it was cut short or is damaged: copy or write it again",
                                input.len() - at
                            )));
                        };
                        if symmetry != Symmetry::General && rows != cols {
                            return Err(
                                input.error(format!("line {line} claims a symmetric matrix of {rows} rows and {cols} columns"))
                            );
                        }
                        return Ok(Self { input, coordinate, pattern, symmetry, rows, cols, entries, at, line });
                    }
                }
            }
        }
        Err(input.error("ends before its line of sizes; it was cut short: copy it again"))
    }

    fn wrong(&self, line: u64, what: &str) -> Error {
        self.input.error(format!("line {line} {what}"))
    }

    fn open_sparse(self, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let (rows, cols) = sparse::check_shape(self.input.path(), self.rows, self.cols, self.input.len(), budget)?;
        let most = if self.symmetry == Symmetry::General { self.entries } else { self.entries * 2 };
        // An entry is held as three numbers and then as two.
        if budget.holds((most * 20).saturating_add(rows as u64 * 8)) {
            let mut entries: Vec<Entry> = Vec::new();
            self.scan(|part| {
                entries.extend_from_slice(part);
                Ok(())
            })?;
            return Ok(sparse::memory(sparse::gather(rows, cols, &entries)));
        }
        let mut counts = vec![0u64; rows];
        self.scan(|part| {
            for e in part {
                counts[e.0 as usize] += 1;
            }
            Ok(())
        })?;
        let mut scatter = Scatter::new(self.input.path(), cols, counts, budget)?;
        self.scan(|part| part.iter().try_for_each(|&(r, c, v)| scatter.push(r as usize, c, v)))?;
        scatter.finish()
    }

    /// Hands over the entries in the order of the file, mirrored ones after their own, and checks their number.
    fn scan(&self, mut each: impl FnMut(&[Entry]) -> Result<()>) -> Result<()> {
        let mut seen = 0;
        self.lines(|line, piece| {
            let lines: Vec<(u64, &[u8])> = numbered(line, piece).collect();
            seen += lines.len() as u64;
            let read = |&(line, text): &(u64, &[u8])| self.entry(line, text);
            let part: Result<Vec<Entry>> = lines.par_iter().map(read).collect();
            // Once more in order, so that the error is always that of the first bad line.
            let part = part.or_else(|_| lines.iter().map(read).collect::<Result<Vec<Entry>>>())?;
            if self.symmetry == Symmetry::General {
                return each(&part);
            }
            let sign = if self.symmetry == Symmetry::Skew { -1.0 } else { 1.0 };
            let mirrored = part.iter().filter(|e| e.0 != e.1).map(|&(r, c, v)| (c, r, sign * v));
            let part: Vec<Entry> = part.iter().copied().chain(mirrored).collect();
            each(&part)
        })?;
        self.all(seen)
    }

    fn all(&self, seen: u64) -> Result<()> {
        if seen == self.entries {
            return Ok(());
        }
        Err(self.input.error(format!(
            "line {} claims {} entries, {seen} follow; it was cut short or is damaged: copy or write it again",
            self.line, self.entries
        )))
    }

    /// The pieces of the data, each with the number of the line before it.
    fn lines(&self, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut pieces = Pieces::new(&self.input, self.at, self.input.len(), PIECE);
        let mut line = self.line;
        while let Some((_, piece)) = pieces.next()? {
            each(line, &piece)?;
            line += piece.iter().fold(0, |n, &b| n + u64::from(b == b'\n'));
        }
        Ok(())
    }

    fn entry(&self, line: u64, text: &[u8]) -> Result<Entry> {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        let mut index = |most: u64, what: &str| -> Result<u32> {
            let Some(word) = words.next() else {
                return Err(self.wrong(line, &format!("has no {what}; it was cut short or is damaged: copy or write it again")));
            };
            let index = std::str::from_utf8(word).ok().and_then(|s| s.parse::<u64>().ok()).filter(|i| (1..=most).contains(i));
            index.map(|i| (i - 1) as u32).ok_or_else(|| {
                self.wrong(line, &format!("names {what} `{}` of {most}, counted from 1; write the file again", shown(word)))
            })
        };
        let (row, column) = (index(self.rows, "row")?, index(self.cols, "column")?);
        let value = if self.pattern { 1.0 } else { self.value(line, words.next().unwrap_or_default())? };
        match words.next() {
            None => Ok((row, column, value)),
            Some(more) => Err(self.wrong(line, &format!("goes on with `{}` after its entry", shown(more)))),
        }
    }

    fn value(&self, line: u64, word: &[u8]) -> Result<f32> {
        number(word).map_err(|why| {
            let word = shown(word);
            self.wrong(
                line,
                &match why {
                    Bad::Missing if word.is_empty() => {
                        "has no value; it was cut short or is damaged: copy or write it again".to_string()
                    }
                    Bad::Missing => format!("has the value `{word}`; fill the number in or remove the row"),
                    Bad::Range => format!("has the value {word}, beyond ±3.4e38, the range of 32-bit floats; rescale the data"),
                    Bad::Text => format!("has the value `{word}`, not a number"),
                },
            )
        })
    }

    fn open_dense(self, budget: Budget) -> Result<Box<dyn Source + Send>> {
        let form = Form { number: Number::F32, big: cfg!(target_endian = "big") };
        let array = Array::new(form, 0, &[self.rows, self.cols], Order::Columns).map_err(|e| self.input.error(e))?;
        // The numbers come column after column, so they are held twice while they are turned.
        if budget.holds(array.held().saturating_mul(2)) {
            let mut data = Vec::new();
            self.numbers(|part| {
                data.extend_from_slice(part);
                Ok(())
            })?;
            let data = if self.symmetry == Symmetry::General { data } else { self.mirrored(&data) };
            return Ok(dense::memory(Mat::new(array.cols, array.rows, data)?.transpose()));
        }
        if self.symmetry != Symmetry::General {
            let need = (array.held() >> 20) * 6 + 1;
            return Err(self
                .input
                .error(format!("a symmetric array that doesn't fit in memory; give {need} MB, or write it as `general`")));
        }
        let mut file = temporary(self.input.path())?;
        self.numbers(|part| {
            file.write_all(bytemuck::cast_slice(part)).map_err(|e| {
                self.input
                    .error(format!("can't be unpacked into a temporary file ({e}); raise the memory bound or free disk space"))
            })
        })?;
        Ok(dense::stream(Input::written(self.input.path(), file)?, array, budget))
    }

    /// Hands over the numbers of an array in the order of the file and checks how many there are.
    fn numbers(&self, mut each: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let mut seen = 0;
        self.lines(|line, piece| {
            let mut part = Vec::new();
            for (line, text) in numbered(line, piece) {
                for word in text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()) {
                    part.push(self.value(line, word)?);
                }
            }
            seen += part.len() as u64;
            if seen <= self.entries { each(&part) } else { Ok(()) }
        })?;
        self.all(seen)
    }

    /// The whole of a symmetric matrix from the part on and below its diagonal, column after column.
    fn mirrored(&self, part: &[f32]) -> Vec<f32> {
        let n = self.rows as usize;
        let mut whole = vec![0.0; n * n];
        let mut next = part.iter();
        let (from, sign) = if self.symmetry == Symmetry::Skew { (1, -1.0) } else { (0, 1.0) };
        for c in 0..n {
            for r in c + from..n {
                let v = next.next().copied().unwrap_or(0.0);
                whole[r * n + c] = sign * v;
                whole[c * n + r] = v;
            }
        }
        whole
    }
}

/// Lines that aren't blank, by their numbers.
fn numbered(before: u64, piece: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = (before + 1..).zip(piece.split(|&b| b == b'\n').map(<[u8]>::trim_ascii));
    lines.filter(|(_, text)| !text.is_empty() && !text.starts_with(b"%"))
}

/// Numbers that an array stores, if they can be counted.
fn stored(symmetry: Symmetry, rows: u64, cols: u64) -> Option<u64> {
    match symmetry {
        Symmetry::General => rows.checked_mul(cols),
        Symmetry::Symmetric => Some(rows.checked_mul(rows.checked_add(1)?)? / 2),
        Symmetry::Skew => Some(rows.checked_mul(rows.saturating_sub(1))? / 2),
    }
}

/// What the banner says: coordinate, pattern, symmetry.
fn kinds(banner: &str) -> std::result::Result<(bool, bool, Symmetry), String> {
    let words: Vec<&str> = banner.split_ascii_whitespace().collect();
    let ["%%matrixmarket", "matrix", format, field, symmetry] = words[..] else {
        return Err("line 1 is no banner of a matrix (`%%MatrixMarket matrix coordinate real general`)".into());
    };
    let coordinate = match format {
        "coordinate" => true,
        "array" => false,
        other => return Err(format!("line 1 says `{other}`; coordinate and array are read")),
    };
    let pattern = match field {
        "real" | "double" | "integer" | "unsigned-integer" => false,
        "pattern" if coordinate => true,
        other => return Err(format!("line 1 says `{other}` numbers; real, integer and (of coordinates) pattern are read")),
    };
    let symmetry = match symmetry {
        "general" => Symmetry::General,
        "symmetric" => Symmetry::Symmetric,
        "skew-symmetric" => Symmetry::Skew,
        other => return Err(format!("line 1 says `{other}`; general, symmetric and skew-symmetric are read")),
    };
    Ok((coordinate, pattern, symmetry))
}
