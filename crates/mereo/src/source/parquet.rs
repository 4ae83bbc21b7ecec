//! `.parquet`: one column whose cells are lists of numbers, all equally long, or all the columns of numbers.
//!
//! What the memory bound does not hold is decoded anew in every pass; many columns in long row groups go through a temporary file.

use super::Source;
use super::budget::Budget;
use super::dense::{self, too_large};
use super::input::Input;
use super::open::{Open, Opened};
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Mat, Rows};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use columns::Columns;

mod columns;

/// Bytes of numbers that are decoded at a time.
const BATCH: usize = 4 << 20;

/// Opens a file whose name ends in `.parquet`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let input = Arc::new(input);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = guard(input.path(), || ArrowReaderMetadata::load(&File(input.clone()), options))?;
    let starts = starts(&input, &metadata)?;
    let rows = starts[starts.len() - 1];
    if rows == 0 {
        return Err(input.error("has no rows; nothing can be learned"));
    }
    let (picked, list) = choose(&input, &metadata, how.column.as_deref())?;
    let names: Vec<String> = picked.iter().map(|&i| metadata.schema().field(i).name().clone()).collect();
    let mut table = Table { input, metadata, starts, picked, names, list, cols: 0, before: 0, nan: how.missing };
    table.cols = table.width()?;
    let columns = if list { None } else { Some(table.names.clone()) };
    let budget = Budget::new(how.memory);
    let row = table.cols as u64 * 4;
    let source: Box<dyn Source + Send> = if budget.holds((rows as u64).saturating_mul(row)) {
        let mut data = Vec::new();
        Reading::new(&table, 0, rows)?.take(&table, rows, &mut data)?;
        dense::memory(Mat { rows, cols: table.cols, data })
    } else if let Some(width) = columns::at_once(&table, budget) {
        Box::new(Columns::new(&table, width, budget)?)
    } else {
        Box::new(Stream { table, step: budget.step(row), open: Mutex::new(None) })
    };
    Ok(Opened { source, image: None, columns, kind: "parquet" })
}

fn broken(path: &Path, e: &ParquetError) -> Error {
    let what = match e {
        ParquetError::General(m) | ParquetError::EOF(m) | ParquetError::ArrowError(m) => m.clone(),
        other => other.to_string(),
    };
    if let Some((_, codec)) = what.split_once("Disabled feature at compile time: ") {
        return Error::format(path, format!("compressed with {codec}, which isn't read; write it with compression=\"zstd\""));
    }
    Error::format(path, format!("not a whole parquet file ({what}); it may be cut short or damaged: copy or write it again"))
}

/// What the parquet crate makes of the file. It panics on some kinds of damage, which is an error of the file here.
fn guard<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    match std::panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| broken(path, &e)),
        Err(_) => Err(broken(path, &ParquetError::General("its parts contradict each other".into()))),
    }
}

/// The file as the parquet crate reads it.
#[derive(Debug, Clone)]
struct File(Arc<Input>);

impl Length for File {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for File {
    type T = std::io::BufReader<At>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(std::io::BufReader::new(At { file: self.clone(), at: start }))
    }
    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.bytes(start, length as u64).map(Bytes::from).map_err(|e| ParquetError::External(Box::new(e)))
    }
}

/// The file from a place on.
struct At {
    file: File,
    at: u64,
}

impl Read for At {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.0.section(self.at, u64::MAX).read(out)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The first row of each row group, and the number of rows.
fn starts(input: &Input, metadata: &ArrowReaderMetadata) -> Result<Vec<usize>> {
    let claimed = metadata.metadata().file_metadata().num_rows();
    let mut starts = vec![0];
    let mut sum = 0i64;
    for group in metadata.metadata().row_groups() {
        let whole = group.columns().iter().all(|c| c.num_values() >= group.num_rows() && within(c, input.len()));
        sum = sum.checked_add(group.num_rows()).filter(|&s| s >= sum && whole).unwrap_or(-1);
        if sum < 0 {
            break;
        }
        starts.push(sum as usize);
    }
    // Runs of one value take next to nothing, so only claims beyond all reason can be told.
    if sum != claimed || claimed as u64 > input.len().saturating_mul(1 << 16) {
        return Err(input.error(format!(
            "claims {claimed} rows in {} bytes, which its parts don't hold; the file is damaged: write it again",
            input.len()
        )));
    }
    Ok(starts)
}

/// Whether a column's bytes lie within the file.
fn within(column: &ColumnChunkMetaData, file: u64) -> bool {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let end = start.checked_add(column.compressed_size());
    start >= 0 && column.data_page_offset() >= 0 && column.compressed_size() >= 0 && end.is_some_and(|e| e as u64 <= file)
}

/// Which columns to take, and whether it is one of lists.
fn choose(input: &Input, metadata: &ArrowReaderMetadata, wanted: Option<&str>) -> Result<(Vec<usize>, bool)> {
    let fields = metadata.schema().fields();
    let list = |t: &DataType| match t {
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => is_number(f.data_type()),
        _ => false,
    };
    let all = || fields.iter().map(|f| format!("{} ({})", f.name(), f.data_type())).collect::<Vec<_>>().join(", ");
    if let Some(name) = wanted {
        let Some(i) = fields.iter().position(|f| f.name() == name) else {
            return Err(input.error(format!("has no column `{name}`; it has {}", all())));
        };
        let t = fields[i].data_type();
        if list(t) || is_number(t) {
            return Ok((vec![i], list(t)));
        }
        return Err(
            input.error(format!("column `{name}` holds {t}, neither numbers nor lists of numbers; choose another of {}", all()))
        );
    }
    let lists: Vec<usize> = (0..fields.len()).filter(|&i| list(fields[i].data_type())).collect();
    match lists[..] {
        [i] => return Ok((vec![i], true)),
        [] => {}
        _ => return Err(input.error(format!("has {} columns of lists; choose one (--column NAME) of {}", lists.len(), all()))),
    }
    // The index of a pandas table is no data.
    let index = |name: &str| name.starts_with("__index_level_");
    let numbers: Vec<usize> =
        (0..fields.len()).filter(|&i| is_number(fields[i].data_type()) && !index(fields[i].name())).collect();
    if numbers.is_empty() {
        return Err(input.error(format!("has no column of numbers or of lists of numbers; it has {}", all())));
    }
    Ok((numbers, false))
}

fn is_number(t: &DataType) -> bool {
    t.is_integer() || t.is_floating()
}

/// What to read of the file.
#[derive(Debug)]
struct Table {
    input: Arc<Input>,
    metadata: ArrowReaderMetadata,
    starts: Vec<usize>,
    picked: Vec<usize>,
    names: Vec<String>,
    list: bool,
    cols: usize,
    /// Columns of the whole table that lie before these.
    before: usize,
    /// An entry that is missing is a NaN.
    nan: bool,
}

impl Table {
    /// Number of columns of the matrix; a list is as long as that of the first row.
    fn width(&self) -> Result<usize> {
        if !self.list {
            return Ok(self.picked.len());
        }
        let batch = Reading::new(self, 0, 1)?.next(self)?;
        let cells = lists(batch.column(0))?;
        if cells.is_null(0) || cells.value_length(0) == 0 {
            return Err(self.input.error(format!("row 0 of column `{}` is empty; drop the row or fill it in", self.names[0])));
        }
        Ok(cells.value_length(0))
    }

    /// Appends the rows of a batch, of which row `first` is the first.
    fn append(&self, batch: &RecordBatch, first: usize, out: &mut Vec<f32>) -> Result<()> {
        let from = out.len();
        let rows = batch.num_rows();
        out.try_reserve(rows * self.cols)
            .map_err(|_| dense::too_much(self.input.path(), (from + rows * self.cols).saturating_mul(4)))?;
        if self.list {
            return self.append_lists(batch.column(0), first, out);
        }
        out.resize(from + rows * self.cols, 0.0);
        let mut column = Vec::new();
        for (c, array) in batch.columns().iter().enumerate() {
            let gap = (array.null_count() > 0).then(|| (0..rows).find(|&r| array.is_null(r))).flatten();
            if let Some(r) = gap.filter(|_| !self.nan) {
                return Err(self.missing(first + r, self.before + c, &self.names[c]));
            }
            column.clear();
            numbers(array, &mut column).map_err(|(r, v)| too_large(self.input.path(), first + r, self.before + c, v))?;
            for (row, v) in out[from..].chunks_exact_mut(self.cols).zip(&column) {
                row[c] = *v;
            }
            if gap.is_some() {
                let rows = out[from..].chunks_exact_mut(self.cols).enumerate();
                rows.filter(|(r, _)| array.is_null(*r)).for_each(|(_, row)| row[c] = f32::NAN);
            }
        }
        Ok(())
    }

    fn missing(&self, row: usize, column: usize, name: &str) -> Error {
        self.input.error(format!("row {row}, column {column} ({name}) is missing (counted from 0); fill it in or drop the row"))
    }

    fn append_lists(&self, array: &ArrayRef, first: usize, out: &mut Vec<f32>) -> Result<()> {
        let cells = lists(array)?;
        let name = &self.names[0];
        for r in 0..array.len() {
            if cells.is_null(r) {
                return Err(self.input.error(format!(
                    "row {} of column `{name}` is missing (counted from 0); fill it in or drop the row",
                    first + r
                )));
            }
            if cells.value_length(r) != self.cols {
                return Err(self.input.error(format!(
                    "row {} of column `{name}` has {} numbers, the rows before have {} (rows counted from 0); make them equally long",
                    first + r,
                    cells.value_length(r),
                    self.cols
                )));
            }
        }
        let values = cells.values();
        let gaps: Vec<usize> =
            if values.null_count() > 0 { (0..values.len()).filter(|&i| values.is_null(i)).collect() } else { Vec::new() };
        if let Some(at) = gaps.first().filter(|_| !self.nan) {
            return Err(self.missing(first + at / self.cols, at % self.cols, name));
        }
        let from = out.len();
        numbers(&values, out).map_err(|(at, v)| too_large(self.input.path(), first + at / self.cols, at % self.cols, v))?;
        gaps.iter().for_each(|at| out[from + at] = f32::NAN);
        Ok(())
    }
}

/// A column of lists of either kind.
struct Lists<'a> {
    array: &'a ArrayRef,
    ends: Vec<usize>,
}

fn lists(array: &ArrayRef) -> Result<Lists<'_>> {
    let ends = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_offsets().iter().map(|&o| o as usize).collect(),
        DataType::LargeList(_) => array.as_list::<i64>().value_offsets().iter().map(|&o| o as usize).collect(),
        DataType::FixedSizeList(_, n) => (0..=array.len()).map(|i| i * *n as usize).collect(),
        other => return Err(Error::data(format!("a column of {other} where one of lists was announced"))),
    };
    Ok(Lists { array, ends })
}

impl Lists<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }
    fn value_length(&self, row: usize) -> usize {
        self.ends[row + 1] - self.ends[row]
    }
    /// The numbers of all rows, one list after the other.
    fn values(&self) -> ArrayRef {
        let (from, to) = (self.ends[0], self.ends[self.ends.len() - 1]);
        match self.array.data_type() {
            DataType::List(_) => self.array.as_list::<i32>().values().slice(from, to - from),
            DataType::LargeList(_) => self.array.as_list::<i64>().values().slice(from, to - from),
            _ => self.array.as_fixed_size_list().values().clone(),
        }
    }
}

/// Appends the numbers of an array. One that f32 can't hold is an error: its place, and the number.
fn numbers(array: &ArrayRef, out: &mut Vec<f32>) -> std::result::Result<(), (usize, f64)> {
    fn all<T: ArrowPrimitiveType>(array: &ArrayRef, out: &mut Vec<f32>, value: impl Fn(T::Native) -> f32) {
        out.extend(array.as_primitive::<T>().values().iter().map(|&v| value(v)));
    }
    match array.data_type() {
        DataType::Float16 => all::<Float16Type>(array, out, half::f16::to_f32),
        DataType::Float32 => out.extend_from_slice(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            if let Some(at) = values.iter().position(|v| v.is_finite() && (*v as f32).is_infinite()) {
                return Err((at, values[at]));
            }
            all::<Float64Type>(array, out, |v| v as f32);
        }
        DataType::Int8 => all::<Int8Type>(array, out, f32::from),
        DataType::Int16 => all::<Int16Type>(array, out, f32::from),
        DataType::Int32 => all::<Int32Type>(array, out, |v| v as f32),
        DataType::Int64 => all::<Int64Type>(array, out, |v| v as f32),
        DataType::UInt8 => all::<UInt8Type>(array, out, f32::from),
        DataType::UInt16 => all::<UInt16Type>(array, out, f32::from),
        DataType::UInt32 => all::<UInt32Type>(array, out, |v| v as f32),
        // `choose` let only numbers through.
        _ => all::<UInt64Type>(array, out, |v| v as f32),
    }
    Ok(())
}

/// A place in the file from which rows are read on.
struct Reading {
    reader: ParquetRecordBatchReader,
    /// The next row.
    at: usize,
    /// What was decoded already but not taken.
    rest: Option<RecordBatch>,
}

impl Reading {
    /// From row `from` on, `most` rows at most.
    fn new(table: &Table, from: usize, most: usize) -> Result<Self> {
        let first = table.starts.partition_point(|&s| s <= from) - 1;
        let end = table.starts.partition_point(|&s| s < from.saturating_add(most)).clamp(first + 1, table.starts.len() - 1);
        let mask = ProjectionMask::roots(table.metadata.parquet_schema(), table.picked.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(File(table.input.clone()), table.metadata.clone())
            .with_row_groups((first..end).collect())
            .with_projection(mask)
            .with_offset(from - table.starts[first])
            .with_limit(most)
            .with_batch_size((BATCH / 4 / table.cols.max(1)).clamp(1, 65536).min(most));
        let reader = guard(table.input.path(), || builder.build())?;
        Ok(Self { reader, at: from, rest: None })
    }

    fn next(&mut self, table: &Table) -> Result<RecordBatch> {
        if let Some(rest) = self.rest.take() {
            return Ok(rest);
        }
        match guard(table.input.path(), || self.reader.next().transpose().map_err(ParquetError::from))? {
            Some(batch) if batch.num_rows() > 0 => Ok(batch),
            _ => Err(table.input.error(format!("ends before row {} (counted from 0); it is damaged: write it again", self.at))),
        }
    }

    /// Appends `n` rows.
    fn take(&mut self, table: &Table, n: usize, out: &mut Vec<f32>) -> Result<()> {
        let end = self.at + n;
        while self.at < end {
            let mut batch = self.next(table)?;
            if batch.num_rows() > end - self.at {
                self.rest = Some(batch.slice(end - self.at, batch.num_rows() - (end - self.at)));
                batch = batch.slice(0, end - self.at);
            }
            table.append(&batch, self.at, out)?;
            self.at += batch.num_rows();
        }
        Ok(())
    }
}

/// A table that stays in its file. Blocks that are asked for in order continue one reading, as a list column can't be entered in
/// the middle of a row group without decoding what lies before.
struct Stream {
    table: Table,
    step: usize,
    open: Mutex<Option<Reading>>,
}

impl Source for Stream {
    fn cols(&self) -> usize {
        self.table.cols
    }
    fn blocks(&self) -> usize {
        self.table.starts[self.table.starts.len() - 1].div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.table.starts[self.table.starts.len() - 1] - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from = block * self.step;
        let taken = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut reading = match taken {
            Some(r) if r.at == from => r,
            _ => Reading::new(&self.table, from, usize::MAX)?,
        };
        let mut data = Vec::with_capacity(self.rows(block) * self.table.cols);
        reading.take(&self.table, self.rows(block), &mut data)?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        Ok(Rows::Dense(DenseRows { cols: self.table.cols, data: data.into(), weights: None }))
    }
    fn streams(&self) -> bool {
        true
    }
}
