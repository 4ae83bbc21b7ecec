//! `mereo compare`: several methods on the same data, side by side.

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::load;
use std::ffi::OsString;

/// Flags of `mereo compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    #[command(flatten)]
    pub reading: Reading,
}

/// Compares methods on one data set.
pub fn run(args: &Args, _global: &Global) -> Result<()> {
    let _data = load::open(&args.data, &args.reading)?;
    Err(Failure::other("compare is not built yet"))
}
