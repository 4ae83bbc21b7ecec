//! Tables as text: pieces that end where a line ends, and the numbers in them.

use super::input::Input;
use crate::error::Result;

/// No line of a text file may be longer.
const LINE: u64 = 512 << 20;

/// Pieces of a text file that end with a line end (the last one may not), in order.
pub(super) struct Pieces<'a> {
    input: &'a Input,
    at: u64,
    end: u64,
    size: usize,
}

impl<'a> Pieces<'a> {
    /// The bytes `at..end` in pieces of about `size` bytes; a line longer than that is still one piece.
    pub(super) fn new(input: &'a Input, at: u64, end: u64, size: usize) -> Self {
        Self { input, at, end, size: size.max(1) }
    }

    /// The next piece and where it starts in the file; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let mut size = self.size as u64;
        loop {
            let n = size.min(self.end - self.at);
            let mut piece = self.input.bytes(self.at, n)?;
            let cut =
                if self.at + n == self.end { Some(piece.len()) } else { piece.iter().rposition(|&b| b == b'\n').map(|i| i + 1) };
            if let Some(cut) = cut {
                piece.truncate(cut);
                let at = self.at;
                self.at += cut as u64;
                return Ok(Some((at, piece)));
            }
            if size >= LINE {
                return Err(self.input.error(format!("has a line of more than {} MB; it is no table of numbers", LINE >> 20)));
            }
            size = (size * 4).min(LINE);
        }
    }
}

/// Why a cell is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Nothing, or a word for nothing.
    Missing,
    /// Something else.
    Text,
    /// A number that f32 can't hold.
    Range,
}

/// The number that a cell says.
pub(super) fn number(cell: &[u8]) -> std::result::Result<f32, Bad> {
    let cell = cell.trim_ascii();
    let missing = ["", "na", "nan", "n/a", "null", "none", "?"];
    let unsigned = cell.strip_prefix(b"-").or_else(|| cell.strip_prefix(b"+")).unwrap_or(cell);
    match std::str::from_utf8(cell).ok().and_then(|s| s.parse::<f32>().ok()) {
        Some(v) if v.is_finite() => Ok(v),
        // An infinity that was written so passes, as one in a binary file does; the fit names it.
        Some(v) if v.is_infinite() && unsigned.first().is_some_and(u8::is_ascii_alphabetic) => Ok(v),
        Some(v) if v.is_infinite() => Err(Bad::Range),
        _ if missing.iter().any(|m| unsigned.eq_ignore_ascii_case(m.as_bytes())) => Err(Bad::Missing),
        _ => Err(Bad::Text),
    }
}

/// Whether a line says nothing. Tabs are cells of a tsv.
pub(super) fn blank(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' ' | b'\r' | b'\n'))
}

/// A cell in an error or as a name: the start of it, as text.
pub(super) fn shown(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell.trim_ascii());
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.into_owned(),
    }
}
