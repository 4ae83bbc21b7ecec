//! `mereo tell`: which latents tell classes of rows, or two selections, apart.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::show;
use mereo_meaning::Index;
use mereo_meaning::index::Values;
use mereo_meaning::look::{self, Telling};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Flags of `mereo tell`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// An index that `mereo index` wrote.
    pub index: PathBuf,
    /// Which latents foretell this column, which was kept in the index: for each class, or with the numbers.
    #[arg(long, value_name = "NAME", required_unless_present = "rows")]
    pub column: Option<String>,
    /// Only this class of the column.
    #[arg(long, value_name = "CLASS", requires = "column")]
    pub class: Option<String>,
    /// Rows to tell from those of --against: numbers and ranges such as 3,10-20 (counted from 0), or COLUMN=CLASS.
    #[arg(long, value_name = "ROWS", requires = "against", conflicts_with = "column")]
    pub rows: Option<String>,
    /// The other rows: in the same way, or `rest`.
    #[arg(long, value_name = "ROWS", requires = "rows")]
    pub against: Option<String>,
    /// Latents to show of each class.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = crate::args::positive)]
    pub top: usize,
}

const EXAMPLES: &str = "\
Examples:
  mereo tell arxiv.index --column category
  mereo tell arxiv.index --column category --class astro-ph --top 20
  mereo tell arxiv.index --rows category=cs.LG --against category=cs.CL
  mereo tell arxiv.index --rows 3,10-20 --against rest";

/// Tells.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let index = Index::open(&args.index)?;
    let codes = index.codes();
    let (found, classes, number) = if let Some(name) = &args.column {
        match index.column(name)?.values {
            Values::Numbers(of) => {
                if args.class.is_some() {
                    return Err(Failure::usage(format!("`{name}` holds numbers and has no classes; leave out --class")));
                }
                (look::telling_number(&codes, &of, args.top)?, vec![name.clone()], true)
            }
            Values::Classes { names, of } => {
                let only = args.class.as_ref().map(|c| class(name, &names, c)).transpose()?;
                let mut found = look::telling(&codes, &of, names.len(), args.top)?;
                found.retain(|t| only.is_none_or(|c| t.class == c));
                (found, names, false)
            }
        }
    } else {
        let (rows, against) = (args.rows.as_deref().unwrap_or_default(), args.against.as_deref().unwrap_or_default());
        let a = select(&index, rows)?;
        let b = if against == "rest" {
            let mut inside = vec![false; index.about.rows];
            a.iter().for_each(|&i| inside[i] = true);
            (0..index.about.rows).filter(|&i| !inside[i]).collect()
        } else {
            select(&index, against)?
        };
        (look::contrast(&codes, &a, &b, args.top)?, vec![rows.to_string()], false)
    };
    let labels = index.labels()?;
    let name = |j: usize| labels[j].as_ref().map_or(String::new(), |l| l.label.clone());
    if global.json {
        let all: Vec<Value> = (found.iter())
            .map(|t| {
                json!({
                    "class": classes[t.class], "latent": t.latent, "label": name(t.latent), "rows": t.both, "auc": t.auc,
                    "rank_correlation": number.then_some(2.0 * t.auc - 1.0), "lift": t.lift, "p": t.p, "q": t.q,
                })
            })
            .collect();
        return show::json(&json!({ "index": args.index.display().to_string(), "found": all }));
    }
    let line = |t: &Telling| {
        let area = if number { 2.0 * t.auc - 1.0 } else { t.auc };
        vec![
            classes[t.class].clone(),
            t.latent.to_string(),
            show::count(t.both),
            format!("{area:.3}"),
            show::number(t.lift),
            if t.q < 1e-300 { "0".into() } else { format!("{:.0e}", t.q) },
            name(t.latent),
        ]
    };
    let area = if number { "rank correlation" } else { "AUC" };
    let rows: Vec<Vec<String>> = found.iter().map(line).collect();
    show::print(&show::table(&["class", "latent", "rows", area, "lift", "q", "label"], &rows, &[0, 6]))
}

/// The place of a class in a column.
pub fn class(column: &str, names: &[String], wanted: &str) -> Result<usize> {
    names.iter().position(|n| n == wanted).ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = mereo::data::closest(wanted, &all).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        Failure::usage(format!("`{column}` has no class `{wanted}`, but {} others{near}", names.len()))
    })
}

/// Rows by number, by range, or by class.
fn select(index: &Index, typed: &str) -> Result<Vec<usize>> {
    if let Some((column, wanted)) = typed.split_once('=') {
        let Values::Classes { names, of } = index.column(column.trim())?.values else {
            return Err(Failure::usage(format!("`{column}` holds numbers; select rows by their numbers, such as 3,10-20")));
        };
        let wanted = class(column, &names, wanted.trim())? as u32;
        return Ok((0..of.len()).filter(|&i| of[i] == Some(wanted)).collect());
    }
    let bad = |part: &str| {
        Failure::usage(format!("`{part}` is no selection of rows; write numbers and ranges such as 3,10-20, or COLUMN=CLASS"))
    };
    let mut rows = Vec::new();
    for part in typed.split(',').map(str::trim) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.trim().parse().map_err(|_| bad(part))?, to.trim().parse().map_err(|_| bad(part))?);
        if from > to || to >= index.about.rows {
            return Err(Failure::usage(format!("there are no rows {part}; the index has {}, counted from 0", index.about.rows)));
        }
        rows.extend(from..=to);
    }
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}
