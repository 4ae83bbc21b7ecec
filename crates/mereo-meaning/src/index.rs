//! An index of a model over a corpus: what latents looks at is near at hand, however large the corpus.
//!
//! It is a folder: the model, the codes by row and by latent, the rows themselves, their texts and what else is known of them. Files are
//! mapped into memory, so that opening takes no time, and a latent is read without the others. Building streams over the rows: codes are
//! written as they come, and turned by latent in as many rounds as [`Build::memory`] demands.
//!
//! | file | what |
//! |---|---|
//! | `about.json` | the sizes, and where it all comes from; written last |
//! | `model.mereo` | the model |
//! | `rows.f32` | the rows (n × d) |
//! | `row.starts`, `row.at`, `row.values` | active latents of each row: u64, u32, f32 |
//! | `latent.starts`, `latent.at`, `latent.values` | rows of each latent |
//! | `texts.starts`, `texts.utf8` | texts of the rows |
//! | `column.N` | what else is known of rows, as JSON |
//! | `labels.jsonl` | what latents are called, once that is known |
//!
//! All numbers are little-endian.

mod build;
mod labels;
mod map;

pub use build::{Build, build};
pub use labels::Labelled;

use crate::codes::{Both, Lists};
use crate::texts::Texts;
use map::Map;
use mereo::bundle::Bundle;
use mereo::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a row's text, or its class, is known by: one value for each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// The values of a [`Column`] (n).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// Words, which divide the rows into classes; each row's is a place in `names`, or none.
    Classes {
        /// The classes, by name.
        names: Vec<String>,
        /// The class of each row.
        of: Vec<Option<u32>>,
    },
    /// Numbers; NaN where there is none.
    Numbers(#[serde(deserialize_with = "numbers")] Vec<f64>),
}

/// JSON has no NaN, and writes null for it.
fn numbers<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(from)?;
    Ok(numbers.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

impl Values {
    /// Classes from one word a row.
    pub fn classes<S: AsRef<str>>(words: &[Option<S>]) -> Self {
        let mut names: Vec<String> = words.iter().flatten().map(|w| w.as_ref().to_string()).collect();
        names.sort_unstable();
        names.dedup();
        let place = |w: &str| names.binary_search_by(|n| n.as_str().cmp(w)).ok().map(|p| p as u32);
        let of = words.iter().map(|w| w.as_ref().and_then(|w| place(w.as_ref()))).collect();
        Self::Classes { names, of }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { of, .. } => of.len(),
            Self::Numbers(v) => v.len(),
        }
    }
}

/// The sizes of an index, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Raised when an index of today can't be read by the code of yesterday.
    format: u32,
    /// Rows of the corpus.
    pub rows: usize,
    /// Columns of a row.
    pub cols: usize,
    /// Latents of the model.
    pub latents: usize,
    /// Codes that are not 0.
    pub entries: usize,
    /// What the data was called.
    pub data: String,
    /// Whether texts are there.
    pub texts: bool,
    /// Names of the columns of what else is known.
    pub columns: Vec<String>,
}

const FORMAT: u32 = 1;
const ABOUT: &str = "about.json";
const MODEL: &str = "model.mereo";

/// An index, opened.
pub struct Index {
    path: PathBuf,
    /// Its sizes.
    pub about: About,
    /// The model.
    pub bundle: Bundle,
    rows: Map,
    by_row: [Map; 3],
    by_latent: [Map; 3],
    texts: Option<[Map; 2]>,
}

impl Index {
    /// Opens the folder that [`build`] wrote.
    ///
    /// # Errors
    /// A folder that is not there, is no index, or lacks a part of one.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(ABOUT).is_file() {
            let what = if path.is_dir() { "is a folder, but not a whole index" } else { "is not there" };
            return Err(Error::data(format!(
                "the index `{}` {what}; write one with `mereo index MODEL DATA -o {}`",
                path.display(),
                path.display()
            )));
        }
        let json = std::fs::read(path.join(ABOUT)).map_err(|e| Error::io(path.join(ABOUT), e))?;
        let about: About = serde_json::from_slice(&json)
            .map_err(|e| Error::data(format!("{} is damaged ({e}); build the index again", path.join(ABOUT).display())))?;
        if about.format != FORMAT {
            return Err(Error::data(format!(
                "the index {} is of format {}, this mereo reads format {FORMAT}; build it again",
                path.display(),
                about.format
            )));
        }
        let bundle = Bundle::load(&path.join(MODEL))?;
        let open = |name: &str, bytes: usize| Map::open(&path.join(name), Some(bytes));
        let lists = |name: &str, n: usize| -> Result<[Map; 3]> {
            let lists = [
                open(&format!("{name}.starts"), 8 * (n + 1))?,
                open(&format!("{name}.at"), 4 * about.entries)?,
                open(&format!("{name}.values"), 4 * about.entries)?,
            ];
            check_starts(&path.join(format!("{name}.starts")), lists[0].u64s(), about.entries)?;
            Ok(lists)
        };
        let texts = if about.texts {
            let (starts, all) = (open("texts.starts", 8 * (about.rows + 1))?, Map::open(&path.join("texts.utf8"), None)?);
            check_starts(&path.join("texts.starts"), starts.u64s(), all.bytes().len())?;
            Some([starts, all])
        } else {
            None
        };
        let (rows, by_row, by_latent) =
            (open("rows.f32", 4 * about.rows * about.cols)?, lists("row", about.rows)?, lists("latent", about.latents)?);
        // A place beyond the end would end the program later on.
        for (maps, end) in [(&by_row, about.latents), (&by_latent, about.rows)] {
            if maps[1].u32s().iter().any(|&at| at as usize >= end) {
                return Err(Error::data(format!("the index {} is damaged; build it again", path.display())));
            }
        }
        Ok(Self { path: path.into(), about, bundle, rows, by_row, by_latent, texts })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The codes (n × k), both ways.
    pub fn codes(&self) -> Both<'_> {
        fn lists(maps: &[Map; 3]) -> Lists<'_> {
            Lists { starts: maps[0].u64s(), at: maps[1].u32s(), values: maps[2].f32s() }
        }
        Both { by_row: lists(&self.by_row), by_latent: lists(&self.by_latent) }
    }

    /// All rows (n × d, row-major).
    pub fn rows(&self) -> &[f32] {
        self.rows.f32s()
    }

    /// Row `i` (d).
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.rows()[i * self.about.cols..(i + 1) * self.about.cols]
    }

    /// The text of row `i`; empty if there are none.
    pub fn text(&self, i: usize) -> &str {
        let Some([starts, all]) = &self.texts else { return "" };
        let starts = starts.u64s();
        std::str::from_utf8(&all.bytes()[starts[i] as usize..starts[i + 1] as usize]).unwrap_or("")
    }

    /// What else is known of the rows under this name.
    ///
    /// # Errors
    /// There is no such column; says which there are.
    pub fn column(&self, name: &str) -> Result<Column> {
        let names = &self.about.columns;
        let at = names.iter().position(|n| n == name).ok_or_else(|| {
            Error::data(match names.len() {
                0 => format!("nothing is known of the rows by which `{name}` could be told; build the index with --texts FILE --columns {name}"),
                _ => format!("there is no column `{name}`; there are {}", names.join(", ")),
            })
        })?;
        let file = self.path.join(format!("column.{at}"));
        let json = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
        let column: Column = serde_json::from_slice(&json)
            .map_err(|e| Error::data(format!("{} is damaged ({e}); build the index again", file.display())))?;
        if column.values.rows() == self.about.rows {
            Ok(column)
        } else {
            Err(Error::data(format!("{} is damaged; build the index again", file.display())))
        }
    }

    /// An error unless there are texts.
    ///
    /// # Errors
    /// There are none; says how to get them.
    pub fn need_texts(&self) -> Result<()> {
        match self.texts {
            Some(_) => Ok(()),
            None => Err(Error::data(format!("the index {} has no texts; build it with --texts FILE", self.path.display()))),
        }
    }

    /// An error unless latent `j` is there.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn need_latent(&self, j: usize) -> Result<()> {
        if j < self.about.latents {
            return Ok(());
        }
        Err(Error::parameter(format!("there is no latent {j}; the model has {}, counted from 0", self.about.latents)))
    }
}

impl Texts for Index {
    fn count(&self) -> usize {
        self.about.rows
    }
    fn text(&self, i: usize) -> &str {
        Index::text(self, i)
    }
}

/// Lists start at 0, one after the other, and end with all that is there.
fn check_starts(path: &Path, starts: &[u64], end: usize) -> Result<()> {
    if starts.first() == Some(&0) && starts.is_sorted() && starts.last() == Some(&(end as u64)) {
        return Ok(());
    }
    Err(Error::data(format!("{} is damaged; build the index again", path.display())))
}

#[cfg(test)]
mod tests;
