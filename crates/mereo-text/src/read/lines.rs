//! Files of lines: plain text, separated values, JSON.

use super::columns::{Cell, column};
use super::{Column, Reading, Table, choose, join};
use mereo::{Error, Result};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A line is a text; empty ones are passed over.
pub(super) fn text(path: &Path, how: &Reading) -> Result<Table> {
    if let Some(name) = how.text.first() {
        return Err(Error::format(
            path,
            format!("is plain text, where a line is a text and no column is called `{name}`; name none"),
        ));
    }
    let mut texts = Vec::new();
    for line in whole_lines(path)? {
        let (_, line) = line?;
        if texts.len() >= how.rows.unwrap_or(usize::MAX) {
            break;
        }
        texts.push(line.trim().to_owned());
    }
    Ok(Table { texts, columns: Vec::new() })
}

/// Lines that aren't empty, and their numbers from 1 on.
fn whole_lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String)>> + '_> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let lines = BufReader::new(file).lines().zip(1..).map(move |(line, n)| match line {
        Ok(line) => Ok((n, if n == 1 { line.trim_start_matches('\u{feff}').to_owned() } else { line })),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(not_utf8(path, n)),
        Err(e) => Err(Error::io(path, e)),
    });
    Ok(lines.filter(|line| !matches!(line, Ok((_, line)) if line.trim().is_empty())))
}

fn not_utf8(path: &Path, line: impl std::fmt::Display) -> Error {
    Error::format(path, format!("line {line} is not UTF-8; convert the file, for example with iconv -f latin1 -t utf-8"))
}

/// Values separated by commas or tabs, with the names of the columns in the first line.
pub(super) fn separated(path: &Path, how: &Reading, by: u8) -> Result<Table> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut reader = csv::ReaderBuilder::new().delimiter(by).from_reader(BufReader::new(file));
    let broken = |e: csv::Error| match e.kind() {
        csv::ErrorKind::Utf8 { pos, .. } => not_utf8(path, pos.as_ref().map_or(0, csv::Position::line)),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => Error::format(
            path,
            format!(
                "line {} has {len} cells, the first has {expected_len}; put cells that hold the separator or a line break in \"quotes\"",
                pos.as_ref().map_or(0, csv::Position::line)
            ),
        ),
        _ => Error::format(path, format!("can't be read as separated values: {e}")),
    };
    let header = reader.headers().map_err(broken)?.clone();
    let names: Vec<&str> = header.iter().map(|n| n.trim().trim_start_matches('\u{feff}')).collect();
    let mut rows = Vec::new();
    for row in reader.records().take(how.rows.unwrap_or(usize::MAX)) {
        rows.push(row.map_err(broken)?);
    }
    let guesses: Vec<Vec<Cell>> = (0..names.len()).map(|j| rows.iter().map(|r| Cell::guess(&r[j])).collect()).collect();
    let wordy = |cells: &Vec<Cell>| cells.iter().any(|c| matches!(c, Cell::Text(_)));
    let all: Vec<_> =
        names.iter().zip(&guesses).map(|(n, g)| ((*n).to_owned(), wordy(g) || how.text.iter().any(|t| t == n), true)).collect();
    let choice = choose(path, how, &all)?;
    let texts = rows.iter().map(|r| join(choice.text.iter().map(|&j| r.get(j)), &how.separator)).collect();
    let kept = |&j: &usize| (all[j].0.clone(), column(guesses[j].clone(), |i| rows[i].get(j).map(str::to_owned)));
    Ok(Table { texts, columns: choice.keep.iter().map(kept).collect() })
}

/// A JSON object a line.
pub(super) fn json(path: &Path, how: &Reading) -> Result<Table> {
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for line in whole_lines(path)? {
        let (n, line) = line?;
        if rows.len() >= how.rows.unwrap_or(usize::MAX) {
            break;
        }
        let row: Map<String, Value> = serde_json::from_str(&line).map_err(|e| {
            Error::format(path, format!("line {n} is no JSON object ({e}); each line must be one, such as {{\"text\": \"…\"}}"))
        })?;
        for (key, value) in &row {
            if let (Value::String(_), true) = (value, how.text.contains(key)) {
                // The usual case, checked first since it is each row's.
            } else if how.text.contains(key) && !value.is_null() {
                return Err(Error::format(path, format!("line {n}: `{key}` is {value:.40}, not a text; put it in quotes")));
            }
            if !names.contains(key) {
                names.push(key.clone());
            }
        }
        rows.push(row);
    }
    let any = |name: &String, is: fn(&Value) -> bool| rows.iter().any(|r| r.get(name).is_some_and(is));
    let plain = |name: &String| !any(name, |v| v.is_array() || v.is_object());
    let all: Vec<_> = names.into_iter().map(|n| (n.clone(), any(&n, Value::is_string) && plain(&n), plain(&n))).collect();
    let choice = choose(path, how, &all)?;
    let cell = |row: &Map<String, Value>, j: usize| row.get(&all[j].0).and_then(Value::as_str).map(str::to_owned);
    let texts = rows.iter().map(|r| {
        let cells: Vec<Option<String>> = choice.text.iter().map(|&j| cell(r, j)).collect();
        join(cells.iter().map(Option::as_deref), &how.separator)
    });
    let texts = texts.collect();
    let kept = |&j: &usize| (all[j].0.clone(), values(&rows, &all[j].0));
    Ok(Table { texts, columns: choice.keep.iter().map(kept).collect() })
}

fn values(rows: &[Map<String, Value>], name: &str) -> Column {
    let cell = |row: &Map<String, Value>| match row.get(name) {
        Some(Value::Bool(b)) => Cell::Bool(*b),
        Some(Value::Number(v)) => v.as_f64().map_or(Cell::Missing, Cell::Number),
        Some(Value::String(t)) => Cell::Text(t.clone()),
        _ => Cell::Missing,
    };
    column(rows.iter().map(cell).collect(), |_| None)
}
