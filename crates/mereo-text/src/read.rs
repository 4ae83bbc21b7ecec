//! Texts, and what stands beside them, from files: `.txt` (a line is a text), `.csv`, `.tsv`, `.jsonl`, `.parquet`.
//!
//! A text is one column, or several joined ("title. abstract"). Other columns of plain values come along as metadata, row for row. All in memory.

use mereo::{Error, Result};
use std::path::Path;

mod columns;
mod lines;
mod table;

/// What is wanted of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Columns that make up a text, in this order; none: the only column of texts, or the one called text.
    pub text: Vec<String>,
    /// What stands between them; cells that are empty are left out together with it.
    pub separator: String,
    /// Columns to keep as metadata.
    pub keep: Keep,
    /// Rows to read at most, from the first on.
    pub rows: Option<usize>,
}

/// Which columns are kept as metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// All of plain values that are no part of the text.
    Others,
    /// These.
    Named(Vec<String>),
}

impl Default for Reading {
    fn default() -> Self {
        Self { text: Vec::new(), separator: ". ".into(), keep: Keep::Nothing, rows: None }
    }
}

/// Texts and their metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// One a row; empty where the file has none.
    pub texts: Vec<String>,
    /// Columns beside them, as long, by name.
    pub columns: Vec<(String, Column)>,
}

/// A column of metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Words, dates (as 2024-05-17 or 2024-05-17T12:00:00), and whatever is of several kinds.
    Text(Vec<Option<String>>),
    /// Numbers; NaN where there is none.
    Number(Vec<f64>),
    /// Yes or no.
    Bool(Vec<Option<bool>>),
}

impl Column {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(v) => v.len(),
            Self::Number(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads a file of the kind that its name ends in.
pub fn read(path: &Path, how: &Reading) -> Result<Table> {
    let end = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    let table = match end.as_str() {
        "txt" => lines::text(path, how),
        "csv" => lines::separated(path, how, b','),
        "tsv" | "tab" => lines::separated(path, how, b'\t'),
        "jsonl" | "ndjson" => lines::json(path, how),
        "parquet" => table::parquet(path, how),
        other => {
            let is = if other.is_empty() {
                "its name has no ending".into()
            } else {
                format!(".{other} is no kind of file known here")
            };
            return Err(Error::format(path, format!("{is}; texts are read from .txt, .csv, .tsv, .jsonl and .parquet")));
        }
    }?;
    if table.texts.is_empty() {
        return Err(Error::format(path, "holds no texts"));
    }
    Ok(table)
}

/// Which columns of a file are wanted.
#[derive(Debug)]
struct Choice {
    text: Vec<usize>,
    keep: Vec<usize>,
}

/// Picks columns by name. `all` has each column's name, and whether its cells are texts and whether they are plain values.
fn choose(path: &Path, how: &Reading, all: &[(String, bool, bool)]) -> Result<Choice> {
    let find = |name: &String| {
        let at = all.iter().position(|(n, ..)| n == name);
        at.ok_or_else(|| Error::format(path, format!("has no column `{name}`; it has {}", listed(all))))
    };
    let mut text = how.text.iter().map(find).collect::<Result<Vec<_>>>()?;
    if let Some(i) = text.iter().find(|&&i| !all[i].1) {
        return Err(Error::format(path, format!("column `{}` holds no texts; it has {}", all[*i].0, listed(all))));
    }
    if text.is_empty() {
        let texts: Vec<usize> = (0..all.len()).filter(|&i| all[i].1).collect();
        let called = texts.iter().find(|&&i| all[i].0.eq_ignore_ascii_case("text"));
        text = match (texts.as_slice(), called) {
            (_, Some(i)) | ([i], None) => vec![*i],
            _ => {
                return Err(Error::format(
                    path,
                    format!("has {}; name the column of the texts, or several to be joined", listed(all)),
                ));
            }
        };
    }
    let keep = match &how.keep {
        Keep::Nothing => Vec::new(),
        Keep::Others => (0..all.len()).filter(|i| all[*i].2 && !text.contains(i)).collect(),
        Keep::Named(names) => names.iter().map(find).collect::<Result<_>>()?,
    };
    if let Some(i) = keep.iter().find(|&&i| !all[i].2) {
        return Err(Error::format(
            path,
            format!("column `{}` holds lists or the like; only plain values can be kept", all[*i].0),
        ));
    }
    Ok(Choice { text, keep })
}

fn listed(all: &[(String, bool, bool)]) -> String {
    let texts = |on: bool| all.iter().filter(|c| c.1 == on).map(|c| format!("`{}`", c.0)).collect::<Vec<_>>().join(", ");
    match (texts(true), texts(false)) {
        (t, o) if t.is_empty() && o.is_empty() => "no columns".into(),
        (t, o) if o.is_empty() => format!("the columns of texts {t}"),
        (t, o) if t.is_empty() => format!("no column of texts, but {o}"),
        (t, o) => format!("the columns of texts {t}, and {o}"),
    }
}

/// Cells that aren't empty, joined.
fn join<'a>(cells: impl Iterator<Item = Option<&'a str>>, separator: &str) -> String {
    cells.flatten().map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests;
