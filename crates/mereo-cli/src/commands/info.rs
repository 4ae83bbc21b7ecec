//! `mereo info`: what a file is, be it a model, a checkpoint or data.

use crate::args::{Global, Reading};
use crate::failure::Result;
use crate::load::{self, Loaded};
use crate::show;
use mereo::mat::Rows;
use mereo::source::{self, Source};
use mereo::store::Bag;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

/// Flags of `mereo info`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model, a checkpoint, or data: an embedded name, a fetched name, or a path.
    pub file: OsString,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo info faces                 shape, values, and which methods can learn from it
  mereo info faces.mereo           how a model was made
  mereo info faces.mereo.checkpoint";

/// Says what the file is.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    match load::file(&args.file) {
        Some(path) if load::is_ours(path) => {
            let bag = Bag::read(path)?;
            if bag.get::<String>("kind").is_ok_and(|kind| kind == "checkpoint") {
                checkpoint(path, &bag, global)
            } else {
                super::inspect::about(path, global)
            }
        }
        _ => data(args, global),
    }
}

fn checkpoint(path: &Path, bag: &Bag, global: &Global) -> Result<()> {
    let curve = bag.get::<Vec<mereo::fold::Pass>>("curve")?;
    let starts = bag.get::<Vec<f64>>("starts")?;
    let shape = bag.get::<mereo::fold::Shape>("shape")?;
    let method = bag.get::<String>("method")?;
    let seconds = bag.get::<f64>("seconds")?;
    let params = bag.get::<Value>("params")?;
    let loss = curve.last().map(|p| p.loss);
    if global.json {
        return show::json(&json!({
            "file": path.display().to_string(), "what": "checkpoint", "method": method, "rows": shape.rows, "cols": shape.cols,
            "passes": curve.len(), "starts_done": starts.len(), "losses_of_starts": starts, "loss": loss, "seconds": seconds, "params": params,
        }));
    }
    let what = if method == "sweep" {
        "checkpoint of a sweep; `mereo sweep … --resume` continues it".into()
    } else {
        format!("checkpoint of a fit of {method}; `mereo fit {method} … --resume` continues it")
    };
    let mut rows = vec![
        ("what".into(), what),
        ("data".into(), format!("{} rows, {} columns", show::count(shape.rows), show::count(shape.cols))),
        ("so far".into(), format!("{} passes in {}", curve.len(), show::seconds(seconds))),
    ];
    if !starts.is_empty() {
        let losses: Vec<String> = starts.iter().map(|&l| show::number(l)).collect();
        rows.push(("starts done".into(), format!("{}, which ended at a loss of {}", starts.len(), losses.join(", "))));
    }
    if let Some(loss) = loss {
        rows.push(("loss".into(), show::number(loss)));
    }
    let losses: Vec<f64> = curve.iter().map(|p| p.loss).collect();
    rows.extend(super::course(&losses, curve.last().and_then(|p| p.gradient)));
    rows.push(("parameters".into(), super::params_line(&params)));
    show::print(&show::pairs(&rows))
}

fn data(args: &Args, global: &Global) -> Result<()> {
    let data = load::open(&args.file, &args.reading.with(mereo::Missing::Nan))?;
    let seen = look(data.source.as_ref())?;
    if global.json {
        return show::json(&json!({
            "name": data.name, "what": "data", "kind": data.kind, "rows": seen.rows, "cols": seen.cols, "image": data.image,
            "columns": data.columns, "credit": data.credit, "layout": if seen.sparse { "sparse" } else { "dense" }, "values": seen,
        }));
    }
    show::print(&show::pairs(&described(&data, &seen)))
}

fn described(data: &Loaded, seen: &Values) -> Vec<(String, String)> {
    let entries = seen.rows as f64 * seen.cols as f64;
    let mut rows = vec![
        ("what".into(), format!("{}, {} data", data.kind, if seen.sparse { "sparse" } else { "dense" })),
        ("rows".into(), show::count(seen.rows)),
        ("columns".into(), show::count(seen.cols)),
    ];
    if let Some((h, w)) = data.image {
        rows.push(("image".into(), format!("{h}x{w} (height x width)")));
    }
    if let Some(names) = &data.columns {
        let more = if names.len() > 8 { ", …" } else { "" };
        rows.push(("names".into(), names.iter().take(8).cloned().collect::<Vec<_>>().join(", ") + more));
    }
    if let (Some(min), Some(max), Some(mean)) = (seen.min, seen.max, seen.mean) {
        let bound = |v: f64| if v.fract() == 0.0 && v.abs() < 1e7 { format!("{v:.0}") } else { show::number(v) };
        rows.push(("values".into(), format!("{} to {}, mean {}", bound(min), bound(max), show::number(mean))));
    }
    let share = seen.nonzeros as f64 / entries.max(1.0) * 100.0;
    rows.push(("non-zeros".into(), format!("{} ({} %)", show::count(seen.nonzeros as usize), show::number(share))));
    let fits = if seen.nan + seen.infinite > 0 {
        format!("nothing yet: {} NaN and {} infinite values; drop their rows or fill them in", seen.nan, seen.infinite)
    } else if seen.negative > 0 {
        format!("pca, vq, ae, sae; not nmf, for {} values are negative", show::count(seen.negative as usize))
    } else {
        "pca, vq, nmf, ae, sae".into()
    };
    rows.push(("fit for".into(), fits));
    if let Some(credit) = &data.credit {
        rows.push(("credit".into(), credit.clone()));
    }
    rows
}

/// What the numbers of a source are like.
#[derive(Debug, Default, Serialize)]
struct Values {
    #[serde(skip)]
    rows: usize,
    #[serde(skip)]
    cols: usize,
    #[serde(skip)]
    sparse: bool,
    /// Entries that are not zero.
    nonzeros: u64,
    /// Of the finite ones; zeros that a sparse file leaves out count.
    min: Option<f64>,
    mean: Option<f64>,
    max: Option<f64>,
    negative: u64,
    nan: u64,
    infinite: u64,
}

/// Counts over one span of numbers.
#[derive(Debug, Clone, Copy)]
struct Part {
    sum: f64,
    min: f32,
    max: f32,
    nonzeros: u64,
    negative: u64,
    nan: u64,
    infinite: u64,
}

impl Part {
    const NONE: Self =
        Self { sum: 0.0, min: f32::INFINITY, max: f32::NEG_INFINITY, nonzeros: 0, negative: 0, nan: 0, infinite: 0 };

    fn of(values: &[f32]) -> Self {
        values.iter().fold(Self::NONE, |mut p, &v| {
            p.nonzeros += u64::from(v != 0.0);
            p.nan += u64::from(v.is_nan());
            p.infinite += u64::from(v.is_infinite());
            p.negative += u64::from(v < 0.0);
            if v.is_finite() {
                p.sum += f64::from(v);
                p.min = p.min.min(v);
                p.max = p.max.max(v);
            }
            p
        })
    }

    fn and(self, b: &Self) -> Self {
        Self {
            sum: self.sum + b.sum,
            min: self.min.min(b.min),
            max: self.max.max(b.max),
            nonzeros: self.nonzeros + b.nonzeros,
            negative: self.negative + b.negative,
            nan: self.nan + b.nan,
            infinite: self.infinite + b.infinite,
        }
    }
}

/// One read of the whole source.
fn look(source: &dyn Source) -> Result<Values> {
    let (rows, cols) = (source::count(source), source.cols());
    let mut all = Part::NONE;
    let mut stored = 0u64;
    let mut sparse = false;
    for b in 0..source.blocks() {
        let x = source.block(b)?;
        sparse |= matches!(x, Rows::Sparse(_));
        stored += x.values().len() as u64;
        let parts: Vec<Part> = x.values().par_chunks(1 << 16).map(Part::of).collect();
        all = parts.iter().fold(all, Part::and);
    }
    let entries = rows as u64 * cols as u64;
    if stored < entries {
        all.min = all.min.min(0.0);
        all.max = all.max.max(0.0);
    }
    let finite = entries - all.nan - all.infinite;
    let some = |v: f64| (finite > 0).then_some(v);
    Ok(Values {
        rows,
        cols,
        sparse,
        nonzeros: all.nonzeros,
        min: some(all.min.into()),
        mean: some(all.sum / finite as f64),
        max: some(all.max.into()),
        negative: all.negative,
        nan: all.nan,
        infinite: all.infinite,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mereo::source::Memory;
    use mereo::{Csr, Mat};

    #[test]
    fn values_are_counted() {
        let m = Mat { rows: 2, cols: 3, data: vec![0.0, -1.0, f32::NAN, 4.0, f32::INFINITY, 0.0] };
        let seen = look(&Memory::cut(m.view(), 1)).expect("look");
        assert_eq!((seen.min, seen.max, seen.mean), (Some(-1.0), Some(4.0), Some(0.75)));
        assert_eq!((seen.nonzeros, seen.negative, seen.nan, seen.infinite), (4, 1, 1, 1));
    }

    #[test]
    fn zeros_left_out_count() {
        let m = Csr::new(2, 2, vec![0, 1, 1], vec![1], vec![3.0]).expect("csr");
        let seen = look(&Memory::from(&m)).expect("look");
        assert_eq!((seen.min, seen.max, seen.mean, seen.nonzeros, seen.sparse), (Some(0.0), Some(3.0), Some(0.75), 1, true));
    }
}
