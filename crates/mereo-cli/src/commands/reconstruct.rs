//! `mereo reconstruct`: rows rebuilt from their codes, in the units of the input, and how far off they are.

use crate::args::{Global, ModelAndData};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{load, show, stop};
use mereo::Missing;
use mereo::export;
use mereo::mat::Rows;
use mereo::measure::ErrorSums;
use mereo::source;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo reconstruct`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub from: ModelAndData,
    /// Where to write the rows (rows × columns): .npy, .parquet, .csv or .tsv; without it only the error is told.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  mereo reconstruct faces.mereo faces                    how far off the model is
  mereo reconstruct faces.mereo new.npy -o rebuilt.npy";

/// Rebuilds the rows block by block.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    if let Some(path) = &args.output {
        export::check_mat(path).map_err(|e| Failure::usage(e.to_string()))?;
    }
    let (bundle, data) = load::model_and_data(&args.from, args.output.as_deref(), global)?;
    let started = Instant::now();
    let source = data.source.as_ref();
    let shape = (source::count(source), source.cols());
    let bar = Progress::new("rebuilding", global).over(shape.0);
    let mut sums = ErrorSums::new(source.cols());
    let missing = bundle.model.missing();
    let mut each = |put: &mut dyn FnMut(&Rows) -> mereo::Result<()>| {
        load::each_piece(source, shape.1.max(bundle.model.atoms().rows), missing, |x| {
            let y = bundle.reconstruct(x)?;
            put(&y.view())?;
            bar.step(x.rows());
            if missing == Missing::None { sums.add(x, y) } else { sums.add_known(&missing.weigh(x), &y) }
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
            "model": args.from.model.display().to_string(), "data": data.name, "cols": source.cols(), "errors": errors,
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
