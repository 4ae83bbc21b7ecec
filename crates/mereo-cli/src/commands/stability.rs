//! `mereo stability`: whether other random starts find the same atoms.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::methods::{Ask, Choice};
use crate::show;
use crate::subject::{self, Subject, cells};
use mereo::compare::Facts;
use mereo::fold::Stop;
use mereo::prepare::Recipe;
use mereo::source::Memory;
use mereo::{Mat, measure};
use mereo_report::{Block, Document, Section, Table};
use std::path::PathBuf;

/// Flags of `mereo stability`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub subject: Subject,
    /// Number of atoms.
    #[arg(short, long, value_name = "ATOMS", default_value_t = 16, value_parser = crate::args::positive)]
    pub k: usize,
    /// Fits from other starts, at least 2.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seeds: usize,
    /// The method that is fitted.
    #[arg(long, value_name = "METHOD", value_enum, default_value = "nmf")]
    pub method: Choice,
    /// Steps that prepare the rows, in order.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = crate::args::recipe)]
    pub prep: Vec<Recipe>,
    /// Work on this many rows at most, drawn by --seed [default: as many as make 20 million numbers].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub rows: Option<usize>,
    /// Where to write the page with the atoms.
    #[arg(short, long, value_name = "FILE", default_value = "stability.html")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  mereo stability swimmer -k 17 --seeds 10       which parts every start finds
  mereo stability faces -k 36 --prep lee-seung   a table, and stability.html with the atoms";

/// The fit of one seed.
struct Fit {
    seed: u64,
    facts: Facts,
    atoms: Mat,
}

impl Fit {
    fn loss(&self) -> f64 {
        self.facts.curve.last().map_or(f64::NAN, |p| p.loss)
    }
}

/// Fits every seed, matches the atoms, prints the table and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    if args.seeds < 2 {
        return Err(Failure::usage("one seed compares nothing; give --seeds 2 or more"));
    }
    subject::check(&args.output, &args.subject.data)?;
    let opened = args.subject.open(args.rows, global)?;
    let x = opened.prepared(&args.prep)?;
    let source = Memory::new(x);
    let runner = args.subject.runner(global);
    let mut fits = Vec::new();
    for seed in (args.subject.seed..).take(args.seeds) {
        let (model, facts) = runner.choice(args.method, &Ask { k: args.k, seed, ..Ask::default() }, &source)?;
        fits.push(Fit { seed, facts, atoms: model.atoms().clone() });
    }
    // The fit of the lowest loss is the one to show.
    fits.sort_by(|a, b| a.loss().total_cmp(&b.loss()));
    let others: Vec<&Mat> = fits[1..].iter().map(|f| &f.atoms).collect();
    let first = &fits[0].atoms;
    let atoms = measure::found_again(first, &others)?;
    let mean = measure::stability(&fits.iter().map(|f| &f.atoms).collect::<Vec<_>>())?;
    let mut order: Vec<usize> = (0..atoms.each.len()).collect();
    order.sort_by(|&a, &b| atoms.each[b].total_cmp(&atoms.each[a]));
    let firm = atoms.each.iter().filter(|s| **s > 0.9).count();
    let answer = format!(
        "{firm} of {} atoms are found again by other starts (|cosine| above .9); the mean over all pairs of {} seeds is {mean:.3}.",
        atoms.each.len(),
        args.seeds
    );
    let summary = measure::atoms(first, opened.image);
    let table = Table {
        header: cells(&["atom", "found again", "least", "sparseness", "overlap"]),
        rows: order
            .iter()
            .map(|&a| {
                vec![
                    a.to_string(),
                    format!("{:.3}", atoms.each[a]),
                    format!("{:.3}", atoms.least[a]),
                    format!("{:.3}", summary.sparseness.each[a]),
                    format!("{:.3}", summary.overlap.each[a]),
                ]
            })
            .collect(),
        ..Table::default()
    };
    let seeds = Table {
        header: cells(&["seed", "loss", "its atoms, matched with the first", "passes", "ended", "last change", "time"]),
        rows: fits
            .iter()
            .map(|f| {
                let alike = measure::matched(first, &f.atoms)?.mean;
                let change = super::change(&f.facts);
                let ended = if f.facts.stop == Stop::Limit { "limit of passes" } else { "converged" };
                let passes = f.facts.curve.len().to_string();
                let time = show::seconds(f.facts.seconds);
                Ok(vec![f.seed.to_string(), show::number(f.loss()), format!("{alike:.3}"), passes, ended.into(), change, time])
            })
            .collect::<Result<_>>()?,
        words: vec![4],
        ..Table::default()
    };
    let stopped = fits.iter().filter(|f| f.facts.stop == Stop::Limit).count();
    let under: Vec<String> = atoms.each.iter().map(|s| format!("{s:.2}")).collect();
    let mut summary = vec![answer];
    summary.extend(super::limited(stopped, fits.len(), "what differs between them may still come together."));
    let page = Document {
        title: format!("Which atoms every start finds: {} on {}", args.method.label(), opened.data.name),
        facts: vec![opened.line(&args.prep), format!("{} atoms · {} seeds", args.k, args.seeds)],
        summary,
        sections: vec![
            Section {
                title: "Atoms".into(),
                note: "The fit of the lowest loss. Under each atom, the mean |cosine| with its match in the other fits, one to one: 1 if all found it.".into(),
                blocks: vec![Block::Atoms { atoms: first.clone(), image: opened.image, under, columns: opened.data.columns.clone() }],
            },
            Section { title: "Atom by atom".into(), note: "Firm ones first.".into(), blocks: vec![Block::Table(table)] },
            Section { title: "Seed by seed".into(), note: "Lowest loss first.".into(), blocks: vec![Block::Table(seeds)] },
        ],
        command: show::typed(std::env::args_os()),
        made: opened.made(),
        ..Document::default()
    };
    let told = |f: &Fit| {
        serde_json::json!({
            "seed": f.seed, "loss": f.loss(), "passes": f.facts.curve.len(), "stop": f.facts.stop, "change": f.facts.change(),
            "gradient": f.facts.gradient(), "seconds": f.facts.seconds,
        })
    };
    let losses: Vec<_> = fits.iter().map(told).collect();
    let json = serde_json::json!({ "k": args.k, "method": args.method, "mean": mean, "atoms": atoms.each, "least": atoms.least, "seeds": losses });
    subject::publish(&page, &args.output, global, json)
}
