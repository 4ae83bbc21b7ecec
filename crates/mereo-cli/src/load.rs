//! From what the user calls DATA to rows: an embedded name, a fetched name, or a path.

use crate::args::Reading;
use crate::failure::{Failure, Result};
use mereo::source::Source;
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

/// Opens DATA.
pub fn open(data: impl AsRef<OsStr>, _reading: &Reading) -> Result<Loaded> {
    let data = data.as_ref();
    let path = Path::new(data);
    Err(unknown(path))
}

fn unknown(path: &Path) -> Failure {
    Failure::usage(format!("`{}` is neither embedded or fetched data nor a file", path.display()))
}
