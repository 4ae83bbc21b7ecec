//! `.parquet`: columns with types of their own.

use super::columns::Cell;
use super::{Column, Reading, Table, choose, join};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use mereo::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

pub(super) fn parquet(path: &Path, how: &Reading) -> Result<Table> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    // The library panics on some kinds of damage.
    let all = std::panic::catch_unwind(AssertUnwindSafe(|| decode(path, file, how)));
    all.unwrap_or_else(|_| Err(broken(path, "its parts contradict each other")))
}

fn broken(path: &Path, what: impl std::fmt::Display) -> Error {
    let what = what.to_string();
    if let Some((_, codec)) = what.split_once("Disabled feature at compile time: ") {
        return Error::format(path, format!("compressed with {codec}, which isn't read; write it with compression=\"zstd\""));
    }
    Error::format(path, format!("not a whole parquet file ({what}); it may be cut short or damaged: copy or write it again"))
}

fn decode(path: &Path, file: File, how: &Reading) -> Result<Table> {
    // Without the writer's own notes, large strings, views and dictionaries are all plain strings.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| broken(path, e))?;
    let fields = builder.schema().fields().clone();
    let all: Vec<_> = fields.iter().map(|f| (f.name().clone(), is_text(f.data_type()), plain(f.data_type()))).collect();
    let choice = choose(path, how, &all)?;
    let mut wanted: Vec<usize> = choice.text.iter().chain(&choice.keep).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    let mut builder = builder.with_projection(mask).with_batch_size(BATCH);
    if let Some(rows) = how.rows {
        builder = builder.with_limit(rows);
    }
    let place = |j: &usize| wanted.iter().position(|w| w == j).unwrap_or_default();
    let (text, keep): (Vec<usize>, Vec<usize>) =
        (choice.text.iter().map(place).collect(), choice.keep.iter().map(place).collect());
    let mut columns: Vec<Column> = choice.keep.iter().map(|&j| empty(fields[j].data_type())).collect();
    let mut texts = Vec::new();
    for batch in builder.build().map_err(|e| broken(path, e))? {
        let batch = batch.map_err(|e| broken(path, e))?;
        let cells: Vec<_> = text.iter().map(|&j| batch.column(j).as_string::<i32>()).collect();
        texts
            .extend((0..batch.num_rows()).map(|i| join(cells.iter().map(|c| c.is_valid(i).then(|| c.value(i))), &how.separator)));
        for (column, &j) in columns.iter_mut().zip(&keep) {
            push(column, &batch, j);
        }
    }
    let columns = choice.keep.iter().map(|&j| all[j].0.clone()).zip(columns).collect();
    Ok(Table { texts, columns })
}

fn is_text(kind: &DataType) -> bool {
    *kind == DataType::Utf8
}

fn plain(kind: &DataType) -> bool {
    use DataType::{Boolean, Date32, Timestamp};
    is_text(kind) || kind.is_integer() || kind.is_floating() || matches!(kind, Boolean | Date32 | Timestamp(..))
}

fn empty(kind: &DataType) -> Column {
    match kind {
        DataType::Boolean => Column::Bool(Vec::new()),
        DataType::Utf8 | DataType::Date32 | DataType::Timestamp(..) => Column::Text(Vec::new()),
        _ => Column::Number(Vec::new()),
    }
}

fn push(column: &mut Column, batch: &RecordBatch, j: usize) {
    let from = batch.column(j);
    for i in 0..batch.num_rows() {
        let cell = if from.is_valid(i) { cell(from, i) } else { Cell::Missing };
        match (&mut *column, cell) {
            (Column::Text(v), Cell::Text(t)) => v.push(Some(t)),
            (Column::Text(v), _) => v.push(None),
            (Column::Bool(v), Cell::Bool(b)) => v.push(Some(b)),
            (Column::Bool(v), _) => v.push(None),
            (Column::Number(v), Cell::Number(x)) => v.push(x),
            (Column::Number(v), _) => v.push(f64::NAN),
        }
    }
}

fn cell(from: &dyn Array, i: usize) -> Cell {
    fn at<T: ArrowPrimitiveType>(from: &dyn Array, i: usize) -> T::Native {
        from.as_primitive::<T>().value(i)
    }
    Cell::Number(match from.data_type() {
        DataType::Utf8 => return Cell::Text(from.as_string::<i32>().value(i).to_owned()),
        DataType::Boolean => return Cell::Bool(from.as_boolean().value(i)),
        DataType::Date32 => return Cell::Text(date(i64::from(at::<Date32Type>(from, i)))),
        DataType::Timestamp(unit, _) => {
            return Cell::Text(time(match unit {
                TimeUnit::Second => at::<TimestampSecondType>(from, i),
                TimeUnit::Millisecond => at::<TimestampMillisecondType>(from, i).div_euclid(1_000),
                TimeUnit::Microsecond => at::<TimestampMicrosecondType>(from, i).div_euclid(1_000_000),
                TimeUnit::Nanosecond => at::<TimestampNanosecondType>(from, i).div_euclid(1_000_000_000),
            }));
        }
        DataType::Int8 => at::<Int8Type>(from, i).into(),
        DataType::Int16 => at::<Int16Type>(from, i).into(),
        DataType::Int32 => at::<Int32Type>(from, i).into(),
        DataType::Int64 => at::<Int64Type>(from, i) as f64,
        DataType::UInt8 => at::<UInt8Type>(from, i).into(),
        DataType::UInt16 => at::<UInt16Type>(from, i).into(),
        DataType::UInt32 => at::<UInt32Type>(from, i).into(),
        DataType::UInt64 => at::<UInt64Type>(from, i) as f64,
        DataType::Float16 => at::<Float16Type>(from, i).into(),
        DataType::Float32 => at::<Float32Type>(from, i).into(),
        DataType::Float64 => at::<Float64Type>(from, i),
        _ => return Cell::Missing,
    })
}

/// A day since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March (Hinnant 2013).
fn date(day: i64) -> String {
    let day = day + 719_468;
    let (era, in_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let (date, month) = (in_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{date:02}", year + era * 400 + i64::from(month <= 2))
}

fn time(seconds: i64) -> String {
    let (day, s) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    format!("{}T{:02}:{:02}:{:02}", date(day), s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (day, want) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_860, "2024-05-17"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(day), want);
        }
        assert_eq!(time(-1), "1969-12-31T23:59:59");
    }
}
