//! What `mereo scaling` reads: a folder of `mereo sweep`, or a table with the columns it needs.

use crate::commands::sweep;
use crate::failure::{Failure, Result};
use mereo::source::{self, Open};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Named columns of numbers; what is empty or no number is `None`.
pub struct Table {
    /// The file that was read.
    pub path: PathBuf,
    pub names: Vec<String>,
    pub rows: Vec<Vec<Option<f64>>>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// A path that is not there, a folder without a sweep in it, or a file of another kind.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = path.is_dir();
        let path = if folder { path.join(sweep::DOCUMENT) } else { path.to_path_buf() };
        let shown = path.display();
        if !path.exists() {
            let fix = "write one with `mereo sweep DATA --latents 1536,3072 -k 16,32 -o FOLDER`";
            return Err(Failure::other(format!("there is no {shown}; {fix}")));
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let (names, rows) = match ending.as_str() {
            "json" => json(&path)?,
            "csv" | "tsv" => text(&path, if ending == "csv" { b',' } else { b'\t' })?,
            "parquet" => parquet(&path)?,
            _ => {
                return Err(Failure::usage(format!(
                    "{shown} is no table of a sweep; give the folder of one, or a .csv, .tsv, .json or .parquet file with the columns latents, k and fvu"
                )));
            }
        };
        Ok(Self { path, names, rows })
    }

    /// The place of the first of these columns that is there and has a number.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        let some = |at: &usize| self.rows.iter().any(|row| row.get(*at).is_some_and(Option::is_some));
        names.iter().find_map(|name| self.names.iter().position(|own| own.eq_ignore_ascii_case(name)).filter(some))
    }
}

type Read = (Vec<String>, Vec<Vec<Option<f64>>>);

/// A list of objects, or the fits of a sweep's document.
fn json(path: &Path) -> Result<Read> {
    let bytes = std::fs::read(path).map_err(|e| mereo::Error::io(path, e))?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::other(format!("{}: no list of fits ({why}); give that of a sweep", path.display()))
    };
    let read: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    let list = read.as_array().or_else(|| read["fits"].as_array()).ok_or_else(|| wrong(&"neither a list nor `fits` in it"))?;
    let objects: Vec<_> = list.iter().filter_map(Value::as_object).collect();
    let mut names: Vec<String> = Vec::new();
    for name in objects.iter().flat_map(|o| o.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let rows = objects.iter().map(|o| names.iter().map(|name| o.get(name).and_then(Value::as_f64)).collect()).collect();
    Ok((names, rows))
}

fn text(path: &Path, separator: u8) -> Result<Read> {
    let wrong = |e: csv::Error| Failure::other(format!("{}: {e}", path.display()));
    let mut lines = csv::ReaderBuilder::new().delimiter(separator).trim(csv::Trim::All).from_path(path).map_err(wrong)?;
    let names = lines.headers().map_err(wrong)?.iter().map(str::to_string).collect();
    let row = |line: csv::Result<csv::StringRecord>| Ok(line.map_err(wrong)?.iter().map(|cell| cell.parse().ok()).collect());
    Ok((names, lines.records().map(row).collect::<Result<_>>()?))
}

fn parquet(path: &Path) -> Result<Read> {
    let opened = source::open(path, &Open { missing: true, ..Open::default() })?;
    let Some(names) = opened.columns else {
        return Err(Failure::other(format!(
            "{} holds lists, not columns; give a table with the columns latents, k and fvu",
            path.display()
        )));
    };
    let x = mereo::fold::collect(opened.source.as_ref())?;
    // A number of its column, to as many digits as it has there.
    let cell = |v: &f32| Some(v.to_string()).filter(|_| v.is_finite()).and_then(|digits| digits.parse().ok());
    Ok((names, (0..x.rows).map(|i| x.row(i).iter().map(cell).collect()).collect()))
}
