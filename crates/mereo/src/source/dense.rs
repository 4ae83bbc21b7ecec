//! A dense array somewhere in a file: taken into memory whole where it fits, read block by block where not.
//!
//! Rows may lie one after the other (C order) or columns may (Fortran order, as Matlab has it).

use super::budget::Budget;
use super::input::Input;
use super::number::Form;
use super::{Memory, Source};
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Mat, Rows};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read and converted at a time.
const STRIP: usize = 4 << 20;
/// Numbers that are allocated before any of them was read.
const TRUST: usize = 64 << 20;

/// Where an array lies in a file, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array {
    /// The type of its numbers.
    pub(super) form: Form,
    /// Its first byte.
    pub(super) offset: u64,
    /// Number of rows.
    pub(super) rows: usize,
    /// Number of columns.
    pub(super) cols: usize,
    /// Which of its numbers are neighbours.
    pub(super) order: Order,
    /// Height and width where a row is an image.
    pub(super) image: Option<(usize, usize)>,
}

/// Which numbers of an array are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Those of a row.
    Rows,
    /// Those of a column.
    Columns,
}

impl Array {
    /// An array of this shape, seen as rows: n × d as it is, n × height × width with an image in each row.
    ///
    /// # Errors
    /// A sentence that says what to do: other than two or three axes, no rows or columns, more numbers than can be counted.
    pub(super) fn new(form: Form, offset: u64, shape: &[u64], order: Order) -> std::result::Result<Self, String> {
        let shown = || format!("({})", shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
        let (rows, cols, image) = match *shape {
            [n, d] => (n, Some(d), None),
            [n, h, w] => (n, h.checked_mul(w), Some((h as usize, w as usize))),
            [n] => {
                return Err(format!(
                    "has one axis of {n} numbers, rows × columns are needed; save it as x.reshape(-1, 1) if each number is a row, as x.reshape(1, -1) if they are one row"
                ));
            }
            _ => {
                return Err(format!(
                    "has {} axes {}, rows × columns or images × height × width are needed; save it as x.reshape(len(x), -1)",
                    shape.len(),
                    shown()
                ));
            }
        };
        if rows == 0 || cols == Some(0) {
            return Err(format!("has the shape {}: without rows or without columns nothing can be learned", shown()));
        }
        let cols =
            cols.filter(|d| rows.checked_mul(*d).and_then(|n| n.checked_mul(8)).is_some_and(|b| isize::try_from(b).is_ok()));
        let Some(cols) = cols else {
            return Err(format!("claims the shape {}, more than any memory; its header is damaged", shown()));
        };
        Ok(Self { form, offset, rows: rows as usize, cols: cols as usize, order, image })
    }

    /// Bytes that it takes in the file.
    pub(super) fn bytes(&self) -> u64 {
        (self.rows * self.cols * self.form.size()) as u64
    }

    /// Bytes that it takes in memory.
    pub(super) fn held(&self) -> u64 {
        (self.rows * self.cols * 4) as u64
    }

    /// The column that the `c`-th stored column is: Fortran order stores an image down its columns.
    fn column(&self, c: usize) -> usize {
        self.image.map_or(c, |(h, w)| (c % h) * w + c / h)
    }

    /// The whole array from a stream that starts at its first number.
    pub(super) fn load(&self, path: &Path, from: &mut dyn Read) -> Result<Mat> {
        let mut fill = |bytes: &mut [u8]| {
            from.read_exact(bytes).map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    Error::format(path, "ends within its array; it was cut short: copy it again")
                }
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Other => {
                    Error::format(path, format!("its array can't be unpacked ({e}); the file is damaged: copy it again"))
                }
                _ => Error::io(path, e),
            })
        };
        match self.order {
            Order::Rows => self.load_rows(path, &mut fill),
            Order::Columns => self.load_columns(path, &mut fill),
        }
    }

    fn load_rows(&self, path: &Path, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<Mat> {
        let total = self.rows * self.cols;
        let mut data: Vec<f32> = Vec::new();
        while data.len() < total {
            // A damaged header must not take memory for numbers that never come.
            let from = data.len();
            if from == data.capacity() {
                grow(&mut data, path, (total - from).min(from.max(TRUST)))?;
            }
            data.resize((from + STRIP / 4).min(data.capacity()).min(total), 0.0);
            self.strip(path, from, &mut data[from..], fill)?;
        }
        Ok(Mat { rows: self.rows, cols: self.cols, data })
    }

    /// Fills `out` with the numbers from number `first` on, in the order of the file.
    fn strip(&self, path: &Path, first: usize, out: &mut [f32], fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        if self.form.is_native() {
            return fill(bytemuck::cast_slice_mut(out));
        }
        let size = self.form.size();
        let mut bytes = vec![0; out.len().min(STRIP / size) * size];
        for (i, out) in out.chunks_mut(STRIP / size).enumerate() {
            let bytes = &mut bytes[..out.len() * size];
            fill(bytes)?;
            if let Err((at, value)) = self.form.decode(bytes, out) {
                let at = first + i * (STRIP / size) + at;
                let (row, col) = match self.order {
                    Order::Rows => (at / self.cols, at % self.cols),
                    Order::Columns => (at % self.rows, self.column(at / self.rows)),
                };
                return Err(too_large(path, row, col, value));
            }
        }
        Ok(())
    }

    fn load_columns(&self, path: &Path, fill: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<Mat> {
        let (rows, cols) = (self.rows, self.cols);
        let mut data = Vec::new();
        grow(&mut data, path, rows * cols)?;
        data.resize(rows * cols, 0.0);
        // A few columns at a time, so that the writes into a row are neighbours.
        let group = (STRIP / 4 / rows).clamp(1, 16).min(cols);
        let mut held = vec![0.0; group * rows];
        for c0 in (0..cols).step_by(group) {
            let held = &mut held[..group.min(cols - c0) * rows];
            self.strip(path, c0 * rows, held, fill)?;
            self.scatter(c0, held, rows, &mut data);
        }
        Ok(Mat { rows, cols, data })
    }

    /// Puts stored columns `c0..`, `rows` numbers each, into their places in the rows of `out`.
    fn scatter(&self, c0: usize, held: &[f32], rows: usize, out: &mut [f32]) {
        for (r, row) in out.chunks_exact_mut(self.cols).enumerate() {
            for (c, column) in held.chunks_exact(rows).enumerate() {
                row[self.column(c0 + c)] = column[r];
            }
        }
    }

    /// Rows `from..to`, read at their places in the file.
    fn read(&self, input: &Input, from: usize, to: usize) -> Result<Vec<f32>> {
        let (cols, size) = (self.cols, self.form.size());
        let mut data = vec![0.0; (to - from) * cols];
        let at = |number: usize| self.offset + (number * size) as u64;
        match self.order {
            Order::Rows => {
                let mut next = at(from * cols);
                self.strip(input.path(), from * cols, &mut data, &mut |bytes| {
                    input.read(next, bytes)?;
                    next += bytes.len() as u64;
                    Ok(())
                })?;
            }
            Order::Columns => {
                let rows = to - from;
                let group = (cols / 4).clamp(1, 16);
                let mut held = vec![0.0; group * rows];
                for c0 in (0..cols).step_by(group) {
                    let held = &mut held[..group.min(cols - c0) * rows];
                    for (c, column) in held.chunks_exact_mut(rows).enumerate() {
                        let first = (c0 + c) * self.rows + from;
                        let mut next = at(first);
                        self.strip(input.path(), first, column, &mut |bytes| {
                            input.read(next, bytes)?;
                            next += bytes.len() as u64;
                            Ok(())
                        })?;
                    }
                    self.scatter(c0, held, rows, &mut data);
                }
            }
        }
        Ok(data)
    }
}

/// The error of a number that f32 can't hold, by its place.
pub(super) fn too_large(path: &Path, row: usize, col: usize, value: f64) -> Error {
    let place = format!("row {row}, column {col} is {value:e} (both counted from 0)");
    Error::format(path, format!("{place}, beyond ±3.4e38, the range of 32-bit floats; rescale the data"))
}

/// Room for `more` numbers, or an error that names the file.
pub(super) fn grow<T>(data: &mut Vec<T>, path: &Path, more: usize) -> Result<()> {
    let need = data.len().saturating_add(more).saturating_mul(size_of::<T>());
    data.try_reserve_exact(more).map_err(|_| too_much(path, need))
}

/// The error of memory that the system refused.
pub(super) fn too_much(path: &Path, bytes: usize) -> Error {
    let mb = bytes >> 20;
    Error::format(
        path,
        format!("takes {mb} MB in memory, which this machine refuses; give a memory bound to read it block by block"),
    )
}

/// An array of a file as rows: in memory if the budget holds it, else [`Stream`].
pub(super) fn open(input: Input, array: Array, budget: Budget) -> Result<Box<dyn Source + Send>> {
    input.holds(array.offset, array.bytes(), "its array")?;
    if budget.holds(array.held()) {
        let m = array.load(input.path(), &mut input.section(array.offset, array.bytes()))?;
        return Ok(memory(m));
    }
    Ok(stream(input, array, budget))
}

/// An array as rows that stay in the file.
pub(super) fn stream(input: impl Into<Arc<Input>>, array: Array, budget: Budget) -> Box<dyn Source + Send> {
    let step = budget.step(array.cols as u64 * 4);
    Box::new(Stream { input: input.into(), array, step })
}

/// A matrix as a source of one block that owns it.
pub(super) fn memory(m: Mat) -> Box<dyn Source + Send> {
    Box::new(Memory::new(Rows::Dense(DenseRows { cols: m.cols, data: m.data.into(), weights: None })))
}

/// An array that stays in its file; blocks are read at their places.
#[derive(Debug)]
struct Stream {
    input: Arc<Input>,
    array: Array,
    step: usize,
}

impl Source for Stream {
    fn cols(&self) -> usize {
        self.array.cols
    }
    fn blocks(&self) -> usize {
        self.array.rows.div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.array.rows - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from = block * self.step;
        let data = self.array.read(&self.input, from, from + self.rows(block))?;
        Ok(Rows::Dense(DenseRows { cols: self.array.cols, data: data.into(), weights: None }))
    }
    fn streams(&self) -> bool {
        true
    }
}
