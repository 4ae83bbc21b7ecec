//! From what the user calls DATA to rows: an embedded name, a fetched name, or a path.

use crate::args::Reading;
use crate::failure::{Failure, Result};
use mereo::mat::{DenseRows, Mat, Rows};
use mereo::source::{Memory, Source};
use std::ffi::OsStr;
use std::path::Path;

/// Data that is ready to be read.
pub struct Loaded {
    /// The rows.
    pub source: Box<dyn Source + Send>,
    /// A short name for tables and reports.
    pub name: String,
    /// Height and width, where a row is an image.
    pub image: Option<(usize, usize)>,
    /// Names of the columns, where the file has them.
    pub columns: Option<Vec<String>>,
    /// Whom to credit, where that is known.
    pub credit: Option<String>,
}

/// Opens DATA. Embedded names come before files of the same name; `./faces` is always a file.
///
/// # Errors
/// Data that is nowhere (the nearest name is suggested), or that can't be read.
pub fn open(data: impl AsRef<OsStr>, _reading: &Reading) -> Result<Loaded> {
    let data = data.as_ref();
    if let Some(set) = data.to_str().and_then(mereo::data::find) {
        let (mat, set) = mereo::data::load(set.name)?;
        return Ok(Loaded {
            source: owned(mat),
            name: set.name.into(),
            image: set.image,
            columns: None,
            credit: Some(set.credit.into()),
        });
    }
    let path = Path::new(data);
    Err(unknown(path))
}

/// A matrix that its source owns.
fn owned(mat: Mat) -> Box<dyn Source + Send> {
    Box::new(Memory::new(Rows::Dense(DenseRows { cols: mat.cols, data: mat.data.into() })))
}

/// There is nothing of that name; says what there is.
fn unknown(path: &Path) -> Failure {
    let names: Vec<&str> = mereo::data::list().iter().map(|set| set.name).collect();
    let typed = path.to_string_lossy();
    let near = mereo::data::closest(&typed, &names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::other(format!(
        "there is no file or folder `{typed}`, and no data of that name is embedded ({}) or fetched (`mereo data list`){near}",
        names.join(", ")
    ))
}
