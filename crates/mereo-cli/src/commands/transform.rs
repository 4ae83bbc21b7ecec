//! `mereo transform`: the codes of rows on a model's atoms.

use crate::args::{Global, ModelAndData};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{load, show, stop};
use mereo::{Rows, export, source};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo transform`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub from: ModelAndData,
    /// Where to write the codes (rows × atoms): .npy, .npz (sparse, as scipy reads it), .parquet, .csv or .tsv.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write the K largest codes of a row alone: to a folder (topk_indices.npy, topk_values.npy), .parquet (lists) or .npz.
    #[arg(long, value_name = "K", value_parser = crate::args::positive)]
    pub top: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  mereo transform faces.mereo new.npy -o codes.npy
  mereo transform cells.mereo big.parquet -o codes.npz --memory 2G
  mereo transform sae.mereo texts.npy -o codes --top 64   codes/topk_indices.npy and codes/topk_values.npy";

/// Encodes the rows block by block and writes the codes.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let usage = |e: mereo::Error| Failure::usage(e.to_string());
    match args.top {
        None => export::check_codes(&args.output).map_err(usage)?,
        Some(k) => export::check_top(&args.output, k, usize::MAX).map_err(usage)?,
    }
    // A folder that is there is written into.
    let output =
        if args.top.is_some() && args.output.is_dir() { args.output.join("topk_indices.npy") } else { args.output.clone() };
    let (bundle, data) = load::model_and_data(&args.from, Some(&output), global)?;
    let started = Instant::now();
    let source = data.source.as_ref();
    let shape = (source::count(source), bundle.model.atoms().rows);
    let bar = Progress::new("encoding", global).over(shape.0);
    let mut nonzeros = 0;
    let each = |put: &mut dyn FnMut(&Rows) -> mereo::Result<()>| {
        load::each_piece(source, source.cols().max(shape.1), bundle.model.missing(), |x| {
            let z = bundle.encode(x)?;
            nonzeros += z.view().values().iter().filter(|v| **v != 0.0).count();
            bar.step(x.rows());
            put(&z.view())
        })
    };
    match args.top {
        None => export::write_blocks(&args.output, shape, each),
        Some(k) => export::write_top(&args.output, shape, k, each),
    }
    .map_err(|e| stop::or(e, "nothing was written"))?;
    bar.clear();
    let seconds = started.elapsed().as_secs_f64();
    let (rows, atoms) = shape;
    if global.json {
        return show::json(&json!({
            "model": args.from.model.display().to_string(), "data": data.name, "rows": rows, "atoms": atoms, "nonzeros": nonzeros,
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
