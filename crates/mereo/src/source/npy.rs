//! `.npy`: one array of `NumPy`, after the description in `numpy/lib/format.py` (versions 1 to 3).

use super::budget::Budget;
use super::dense::{self, Array, Order};
use super::input::Input;
use super::number::{Form, Number};
use super::open::{Open, Opened};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;

/// How every file begins.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// `NumPy` writes headers of 128 bytes; ones that describe a plain array never come near this.
const LONGEST: usize = 1 << 16;

/// Opens a file whose name ends in `.npy`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let header = Header::read(input.path(), &mut input.section(0, input.len()))?;
    let array = header.array(input.path())?;
    let rest = input.len().saturating_sub(array.offset);
    if rest > array.bytes() {
        return Err(input.error(format!(
            "{} bytes follow its array of {} bytes; if it holds several arrays, save each in a file of its own",
            rest - array.bytes(),
            array.bytes()
        )));
    }
    let image = array.image;
    Ok(Opened { source: dense::open(input, array, Budget::new(how.memory))?, image, columns: None, kind: "npy" })
}

/// What stands before the numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `dtype.str`, such as `<f4`.
    pub(crate) descr: String,
    /// Columns are stored one after the other.
    pub(crate) fortran: bool,
    /// Length of each axis.
    pub(crate) shape: Vec<u64>,
    /// Bytes before the first number.
    pub(crate) length: u64,
}

impl Header {
    /// Reads a header; `from` is left at the first number.
    pub(super) fn read(path: &Path, from: &mut dyn Read) -> Result<Self> {
        let broken =
            |what: &str| Error::format(path, format!("not a whole npy file ({what}); copy it again or save it with numpy.save"));
        let mut take = |n: usize| {
            let mut bytes = vec![0; n];
            from.read_exact(&mut bytes).map_err(|_| broken("it ends within its header")).map(|()| bytes)
        };
        let start = take(8)?;
        if !start.starts_with(MAGIC) {
            return Err(broken("it doesn't begin as one"));
        }
        let (before, n) = if start[6] == 1 {
            let n = take(2)?;
            (10, usize::from(u16::from_le_bytes([n[0], n[1]])))
        } else if matches!(start[6], 2 | 3) {
            let n = take(4)?;
            (12, u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize)
        } else {
            return Err(broken(&format!("version {} of the format is unknown", start[6])));
        };
        if n > LONGEST {
            return Err(broken(&format!("its header claims {n} bytes")));
        }
        let text = take(n)?;
        let text = std::str::from_utf8(&text).map_err(|_| broken("its header is not text"))?;
        let (descr, fortran, shape) = parse(text).ok_or_else(|| broken(&format!("its header is `{}`", text.trim())))?;
        Ok(Self { descr, fortran, shape, length: before + n as u64 })
    }

    /// How its numbers are stored.
    pub(crate) fn form(&self, path: &Path) -> Result<Form> {
        let (order, kind) = self.descr.split_at_checked(1).unwrap_or(("", ""));
        let number = match kind {
            "b1" => Number::Bool,
            "u1" => Number::U8,
            "i1" => Number::I8,
            "u2" => Number::U16,
            "i2" => Number::I16,
            "u4" => Number::U32,
            "i4" => Number::I32,
            "u8" => Number::U64,
            "i8" => Number::I64,
            "f2" => Number::F16,
            "f4" => Number::F32,
            "f8" => Number::F64,
            _ => {
                let what = match kind.as_bytes().first() {
                    Some(b'O') => "Python objects",
                    Some(b'c') => "complex numbers",
                    Some(b'U' | b'S') => "text",
                    _ => "no plain numbers",
                };
                return Err(Error::format(path, format!("holds {what} ({}); save it as x.astype('float32')", self.descr)));
            }
        };
        match order {
            "<" | "|" | "=" => Ok(Form { number, big: false }),
            ">" => Ok(Form { number, big: true }),
            _ => Err(Error::format(path, format!("its type `{}` is unknown; save it as x.astype('float32')", self.descr))),
        }
    }

    /// The array that follows, as rows.
    pub(super) fn array(&self, path: &Path) -> Result<Array> {
        let order = if self.fortran { Order::Columns } else { Order::Rows };
        Array::new(self.form(path)?, self.length, &self.shape, order).map_err(|e| Error::format(path, e))
    }
}

/// The three entries of a header, written as a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse(text: &str) -> Option<(String, bool, Vec<u64>)> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" if rest.starts_with('[') => {
                // Named fields: kept as they are, and refused by `form`.
                let end = rest.rfind(']')?;
                descr = Some(rest[..=end].to_string());
                rest = &rest[end + 1..];
            }
            "descr" => {
                let (value, after) = quoted(rest)?;
                descr = Some(value.to_string());
                rest = after;
            }
            "fortran_order" => {
                fortran = Some(rest.starts_with("True"));
                rest = rest.strip_prefix("True").or_else(|| rest.strip_prefix("False"))?;
            }
            "shape" => {
                let (inner, after) = rest.strip_prefix('(')?.split_once(')')?;
                let axes = inner.split(',').map(str::trim).filter(|s| !s.is_empty());
                shape = Some(axes.map(|s| s.trim_end_matches('L').parse().ok()).collect::<Option<Vec<u64>>>()?);
                rest = after;
            }
            _ => return None,
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some((descr?, fortran?, shape?))
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_numpy_writes_them() {
        let read = |s| parse(s);
        assert_eq!(
            read("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }      \n"),
            Some(("<f4".into(), false, vec![3, 4]))
        );
        assert_eq!(read("{'descr': '|u1', 'fortran_order': True, 'shape': (7,), }"), Some(("|u1".into(), true, vec![7])));
        assert_eq!(read("{'shape': (), 'fortran_order': True, 'descr': \">i8\"}"), Some((">i8".into(), true, vec![])));
        assert_eq!(read("{'descr': '<f4', 'fortran_order': False}"), None);
        assert_eq!(read("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}"), None);
        let fields = "{'descr': [('a', '<f4'), ('b', '<i8')], 'fortran_order': False, 'shape': (2,), }";
        assert!(read(fields).is_some_and(|h| h.0.starts_with('[')));
        assert_eq!(read("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }"), None);
    }
}
