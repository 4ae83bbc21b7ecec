//! `mereo transform`: the codes of rows on a model's atoms.

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{load, output, show, stop};
use mereo::bundle::Bundle;
use mereo::export;
use mereo::source;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo transform`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model that `mereo fit` wrote.
    pub model: PathBuf,
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    /// Where to write the codes (rows × atoms): .npy, .npz (sparse, as scipy reads it), .parquet, .csv or .tsv.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo transform faces.mereo new.npy -o codes.npy
  mereo transform cells.mereo big.parquet -o codes.npz --memory 2G";

/// Encodes the rows block by block and writes the codes.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let mut inputs = vec![args.model.as_path()];
    inputs.extend(load::file(&args.data));
    export::check_codes(&args.output).map_err(|e| Failure::usage(e.to_string()))?;
    output::check(&args.output, &inputs)?;
    let bundle = Bundle::load(&args.model)?;
    let data = load::open(&args.data, &args.reading)?;
    stop::on_request("stopping at the next block", global.quiet);
    let started = Instant::now();
    let source = data.source.as_ref();
    let shape = (source::count(source), bundle.model.atoms().rows);
    let bar = Progress::new("encoding", global).over(shape.0);
    let mut nonzeros = 0;
    export::write_blocks(&args.output, shape, |put| {
        load::each_piece(source, source.cols().max(shape.1), |x| {
            let z = bundle.encode(x)?;
            nonzeros += z.view().values().iter().filter(|v| **v != 0.0).count();
            bar.step(x.rows());
            put(&z.view())
        })
    })
    .map_err(|e| stop::or(e, "nothing was written"))?;
    bar.clear();
    let seconds = started.elapsed().as_secs_f64();
    let (rows, atoms) = shape;
    if global.json {
        return show::json(&json!({
            "model": args.model.display().to_string(), "data": data.name, "rows": rows, "atoms": atoms, "nonzeros": nonzeros,
            "seconds": seconds, "output": args.output.display().to_string(),
        }));
    }
    show::print(&show::pairs(&[
        ("codes".into(), format!("{} rows, {atoms} atoms of {}", show::count(rows), bundle.model.method())),
        ("non-zeros".into(), format!("{} a row", show::number(nonzeros as f64 / rows.max(1) as f64))),
        ("time".into(), show::seconds(seconds)),
        ("written".into(), args.output.display().to_string()),
    ]))
}
