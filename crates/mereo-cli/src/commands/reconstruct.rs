//! `mereo reconstruct`: rows rebuilt from their codes, in the units of the input, and how far off they are.

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{load, output, show, stop};
use mereo::bundle::Bundle;
use mereo::export;
use mereo::mat::Rows;
use mereo::measure::ErrorSums;
use mereo::source;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo reconstruct`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model that `mereo fit` wrote.
    pub model: PathBuf,
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    /// Where to write the rows (rows × columns): .npy, .parquet, .csv or .tsv; without it only the error is told.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo reconstruct faces.mereo faces                    how far off the model is
  mereo reconstruct faces.mereo new.npy -o rebuilt.npy";

/// Rebuilds the rows block by block.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let mut inputs = vec![args.model.as_path()];
    inputs.extend(load::file(&args.data));
    if let Some(path) = &args.output {
        export::check_mat(path).map_err(|e| Failure::usage(e.to_string()))?;
        output::check(path, &inputs)?;
    }
    let bundle = Bundle::load(&args.model)?;
    let data = load::open(&args.data, &args.reading)?;
    stop::on_request("stopping at the next block", global.quiet);
    let started = Instant::now();
    let source = data.source.as_ref();
    let shape = (source::count(source), source.cols());
    let bar = Progress::new("rebuilding", global).over(shape.0);
    let mut sums = ErrorSums::new(source.cols());
    let mut each = |put: &mut dyn FnMut(&Rows) -> mereo::Result<()>| {
        load::each_piece(source, shape.1.max(bundle.model.atoms().rows), |x| {
            let y = bundle.reconstruct(x)?;
            put(&y.view())?;
            bar.step(x.rows());
            sums.add(x, y)
        })
    };
    match &args.output {
        Some(path) => export::write_blocks(path, shape, each),
        None => each(&mut |_| Ok(())),
    }
    .map_err(|e| stop::or(e, "nothing was written"))?;
    bar.clear();
    let errors = sums.errors()?;
    let seconds = started.elapsed().as_secs_f64();
    let written = args.output.as_ref().map(|p| p.display().to_string());
    if global.json {
        return show::json(&json!({
            "model": args.model.display().to_string(), "data": data.name, "cols": source.cols(), "errors": errors,
            "seconds": seconds, "output": written,
        }));
    }
    let mut told = vec![
        ("rows".into(), show::count(errors.rows)),
        ("RMSE".into(), format!("{}, in the units of the data", show::number(errors.rmse))),
        ("relative error".into(), show::number(errors.relative)),
        ("FVU".into(), format!("{} ({} of the variance explained)", show::number(errors.fvu), show::number(errors.explained))),
        ("time".into(), show::seconds(seconds)),
    ];
    if let Some(path) = written {
        told.push(("written".into(), path));
    }
    show::print(&show::pairs(&told))
}
