//! A table of many columns in long row groups, brought into rows through a temporary file.
//!
//! Each column of a row group is decoded from pages of its own, so reading rows holds a page, and often a dictionary, of every
//! column at once. Where that is more than the bound allows, a few columns at a time are read from end to end and
//! written out; a block is then one read of each of these groups.

use super::{Reading, Table};
use crate::error::{Error, Result};
use crate::mat::{DenseRows, Rows};
use crate::source::Source;
use crate::source::budget::Budget;
use crate::source::input::{Input, temporary};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;

/// Bytes that reading a column holds at most where its chunks are long: a page of 1 MiB, compressed and not, and a dictionary.
const HELD: u64 = 3 << 20;

/// Columns that may be read at once, if those of the table are too many for the bound.
pub(super) fn at_once(table: &Table, budget: Budget) -> Option<usize> {
    let longest = |column: usize| {
        let sizes = table.metadata.metadata().row_groups().iter().map(|g| g.columns()[column].uncompressed_size().max(0) as u64);
        sizes.max().unwrap_or(0).min(HELD)
    };
    // Columns of numbers are leaves, in the order of the schema, unless a list or a struct stands among them.
    let leaves = table.metadata.parquet_schema().num_columns() == table.metadata.schema().fields().len();
    let each = |&c: &usize| if leaves { longest(c) } else { HELD };
    let all: u64 = table.picked.iter().map(each).sum();
    let room = budget.bytes() / 4;
    (!table.list && all > room).then(|| (room / HELD).max(1) as usize)
}

/// What was written.
pub(super) struct Columns {
    input: Input,
    rows: usize,
    cols: usize,
    step: usize,
    /// The columns that were read together, in order; within a block each group's rows lie one after the other.
    groups: Vec<Range<usize>>,
}

impl Columns {
    /// Reads the table, `width` columns at a time.
    pub(super) fn new(table: &Table, width: usize, budget: Budget) -> Result<Self> {
        let (rows, cols) = (table.starts[table.starts.len() - 1], table.cols);
        // A block is read as bytes and then put in order.
        let step = budget.step(cols as u64 * 8);
        let path = table.input.path();
        let mut file = temporary(path)?;
        let groups: Vec<Range<usize>> = (0..cols).step_by(width).map(|c| c..(c + width).min(cols)).collect();
        for group in &groups {
            let part = Table {
                input: table.input.clone(),
                metadata: table.metadata.clone(),
                starts: table.starts.clone(),
                picked: table.picked[group.clone()].to_vec(),
                names: table.names[group.clone()].to_vec(),
                list: false,
                cols: group.len(),
                before: group.start,
                nan: table.nan,
            };
            let mut reading = Reading::new(&part, 0, rows)?;
            let mut data = Vec::new();
            for first in (0..rows).step_by(step) {
                let n = step.min(rows - first);
                data.clear();
                reading.take(&part, n, &mut data)?;
                let at = (first * cols + n * group.start) as u64 * 4;
                file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytemuck::cast_slice(&data))).map_err(|e| {
                    Error::format(
                        path,
                        format!(
                            "can't be brought into rows through a temporary file ({e}); raise the memory bound or free disk space"
                        ),
                    )
                })?;
            }
        }
        Ok(Self { input: Input::written(path, file)?, rows, cols, step, groups })
    }
}

impl Source for Columns {
    fn cols(&self) -> usize {
        self.cols
    }
    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.rows - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let n = self.rows(block);
        let first = block * self.step * self.cols;
        let mut data = vec![0f32; n * self.cols];
        for group in &self.groups {
            let bytes = self.input.bytes((first + n * group.start) as u64 * 4, (n * group.len()) as u64 * 4)?;
            let numbers = bytes.as_chunks::<4>().0;
            for (row, part) in data.chunks_exact_mut(self.cols).zip(numbers.chunks_exact(group.len())) {
                row[group.clone()].iter_mut().zip(part).for_each(|(to, b)| *to = f32::from_ne_bytes(*b));
            }
        }
        Ok(Rows::Dense(DenseRows { cols: self.cols, data: data.into(), weights: None }))
    }
    fn streams(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::source::{Open, open};
    use arrow_array::{ArrayRef, Float32Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    #[test]
    fn many_columns_in_one_row_group_come_back_in_rows() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("wide.parquet");
        let (rows, cols) = (3001, 41);
        let value = |i: usize, j: usize| (i * 7 + j * 1000) as f32;
        let columns = (0..cols).map(|j| {
            let column: ArrayRef = Arc::new(Float32Array::from_iter_values((0..rows).map(|i| value(i, j))));
            (format!("c{j}"), column)
        });
        let batch = RecordBatch::try_from_iter(columns).expect("batch");
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).expect("file"), batch.schema(), None).expect("writer");
        writer.write(&batch).expect("write");
        writer.close().expect("close");
        // 41 chunks of 12 KB in one row group: far more than a quarter of either bound.
        for memory in [1, 200_000] {
            let opened = open(&path, &Open { memory: Some(memory), ..Open::default() }).expect("open");
            let source = opened.source;
            assert!(source.streams() && source.blocks() > 1 && source.cols() == cols, "{} blocks", source.blocks());
            assert_eq!(opened.columns.as_ref().map(|c| c[40].as_str()), Some("c40"));
            let mut row = 0;
            for b in 0..source.blocks() {
                let x = source.block(b).expect("block").to_mat();
                assert_eq!(x.rows, source.rows(b));
                for i in 0..x.rows {
                    assert!((0..cols).all(|j| x.row(i)[j] == value(row, j)), "row {row}");
                    row += 1;
                }
            }
            assert_eq!(row, rows);
        }
    }
}
