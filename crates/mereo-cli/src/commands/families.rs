//! `mereo families`: general latents and the special ones that are active where they are.

use crate::args::Global;
use crate::commands::label;
use crate::failure::{Failure, Result};
use crate::{output, show};
use clap::ValueEnum;
use mereo::store;
use mereo_meaning::Index;
use mereo_meaning::families::{self, Families, FamilyTest};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo families`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// An index that `mereo index` wrote.
    pub index: PathBuf,
    /// Which pairs of latents may be an edge.
    #[arg(long, value_enum, default_value_t = Test::Threshold)]
    pub test: Test,
    /// Least share of the rarer latent's rows on which the other one is active, too.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub tau: f64,
    /// The same in later rounds.
    #[arg(long, value_name = "SHARE", default_value_t = 0.07)]
    pub tau_later: f64,
    /// Look among all latents that are ever active, not only those whose labels are clean.
    #[arg(long)]
    pub all: bool,
    /// Where to write them: .json, or .dot for Graphviz.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Families to show.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::positive)]
    pub top: usize,
}

/// Which pairs may be an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Test {
    /// Those above --tau, as published
    Threshold,
    /// Of those, the ones that are active together significantly more often than by chance
    Lift,
}

const EXAMPLES: &str = "\
Examples:
  mereo families arxiv.index
  mereo families arxiv.index --test lift -o families.dot
  mereo families faces.index --all";

/// Finds families, and measures them.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let index = Index::open(&args.index)?;
    let dot = match args.output.as_deref().and_then(|p| p.extension()).map(std::ffi::OsStr::to_ascii_lowercase) {
        Some(e) if e == "dot" || e == "gv" => true,
        Some(e) if e == "json" => false,
        None if args.output.is_none() => false,
        _ => return Err(Failure::usage("families are written to .json, or to .dot for Graphviz; name such a file")),
    };
    if let Some(path) = &args.output {
        output::check(path, &[&args.index])?;
    }
    let started = Instant::now();
    let codes = index.codes();
    let clean: Vec<usize> = if args.all {
        (0..codes.latents()).filter(|&j| codes.by_latent.len(j) > 0).collect()
    } else {
        label::clean(&index)?.iter().map(|c| c.latent).collect()
    };
    if clean.is_empty() {
        let shown = args.index.display();
        return Err(Failure::usage(format!(
            "no label of {shown} is clean; run `mereo label {shown}` first, or take --all latents"
        )));
    }
    let test = match args.test {
        Test::Threshold => FamilyTest::Threshold,
        Test::Lift => FamilyTest::lift(),
    };
    let how = Families { tau: args.tau, tau_later: args.tau_later, test, ..Families::default() };
    let found = families::find(&codes, &clean, &how)?;
    let measures = families::measures(&codes, &clean, &found, None)?;
    let labels = index.labels()?;
    let name = |j: usize| labels[j].as_ref().map_or_else(|| format!("latent {j}"), |l| l.label.clone());
    if let Some(path) = &args.output {
        let text = if dot {
            families::dot(&found, name)
        } else {
            let named: Vec<_> = found.iter().map(|f| json!({ "label": name(f.root), "children": f.children.iter().map(|&c| name(c)).collect::<Vec<_>>(), "family": f })).collect();
            serde_json::to_string_pretty(&named).map_err(|e| Failure::other(format!("JSON: {e}")))? + "\n"
        };
        store::write_whole(path, |file| file.write_all(text.as_bytes()))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    if global.json {
        return show::json(&json!({
            "index": args.index.display().to_string(), "clean": clean.len(), "measures": measures, "families": found, "seconds": seconds,
            "output": args.output.as_ref().map(|p| p.display().to_string()),
        }));
    }
    let ratio = |v: Option<f64>| v.map_or("–".into(), show::number);
    let mut rows = vec![
        (
            "families".to_string(),
            format!(
                "{} among {} latents, {} of which are in one",
                show::count(found.len()),
                show::count(clean.len()),
                percent(measures.covered)
            ),
        ),
        ("mean size".into(), format!("{} children", show::number(measures.size))),
        (
            "parent ratio".into(),
            format!("{} (company of parent and child over that of child and child)", ratio(measures.parent_ratio)),
        ),
        (
            "blocks".into(),
            format!(
                "{} times as clear in their order: of company; {}: of activations",
                ratio(measures.cooccurrence.relative),
                ratio(measures.activation.relative)
            ),
        ),
        ("time".into(), show::seconds(seconds)),
    ];
    rows.extend(args.output.as_ref().map(|p| ("written".into(), p.display().to_string())));
    let mut out = show::pairs(&rows);
    let mut by_size: Vec<usize> = (0..found.len()).collect();
    by_size.sort_by_key(|&f| std::cmp::Reverse(found[f].children.len()));
    for &f in by_size.iter().take(args.top) {
        let family = &found[f];
        let _ = writeln!(
            out,
            "\n{}  {} ({} children, on {} of rows)",
            family.root,
            name(family.root),
            family.children.len(),
            percent(family.density)
        );
        let mut children = family.children.clone();
        children.sort_by_key(|&c| std::cmp::Reverse(codes.by_latent.len(c)));
        for &c in children.iter().take(6) {
            let _ = writeln!(out, "  {c}  {}", name(c));
        }
        if children.len() > 6 {
            let _ = writeln!(out, "  and {} more", children.len() - 6);
        }
    }
    show::print(&out)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
