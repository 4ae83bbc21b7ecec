//! `mereo rank`: how many atoms, by entries held out, by seeds, and by rows held out.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::methods::{Ask, Choice};
use crate::progress::Progress;
use crate::subject::{self, Subject, cells};
use crate::{show, stop};
use mereo::fold::Stop;
use mereo::prepare::Recipe;
use mereo::rank::{self, How, Recommendation, Tried};
use mereo::source::Memory;
use mereo::{Mat, Model};
use mereo_report::{Block, Document, Plot, Section, Table};
use std::path::PathBuf;

/// Largest number of atoms that is tried by itself.
const LARGEST: usize = 64;
/// A range of no more numbers than this is tried in full.
const FEW: usize = 12;

/// Flags of `mereo rank`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub subject: Subject,
    /// Numbers of atoms: a list (8,16,32), or a range (8..128), of which a wide one is tried in steps of about 1.4
    /// [default: 2..64, or up to half the smaller side of the data].
    #[arg(short, long, value_name = "ATOMS", value_parser = numbers, value_delimiter = ',')]
    pub k: Vec<Numbers>,
    /// The method that is fitted.
    #[arg(long, value_name = "METHOD", value_enum, default_value = "nmf")]
    pub method: Choice,
    /// Steps that prepare the rows, in order.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = crate::args::recipe)]
    pub prep: Vec<Recipe>,
    /// Work on this many rows at most, drawn by --seed [default: as many as make 20 million numbers].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub rows: Option<usize>,
    /// Times that other entries are held out, of both kinds; 2 to 5.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub folds: usize,
    /// Fits from other starts, at least 2.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: usize,
    /// Where to write the page with the plots.
    #[arg(short, long, value_name = "FILE", default_value = "rank.html")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  mereo rank parts --k 4..32                     how many parts: a table, rank.html and a recommendation
  mereo rank faces --k 8..128 --prep lee-seung   faces, prepared as in Lee and Seung 1999
  mereo rank counts.npz --method nmf-mu-kl       counts, by divergence

The fits of nmf, nmf-mu and nmf-mu-kl do without held-out entries. For the other methods they are imputed: filled from the means of their row
and column, then by one fit after the other, until they stand still. All of it takes the rows as a dense matrix in memory.";

/// One number, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    from: usize,
    to: usize,
}

fn numbers(text: &str) -> std::result::Result<Numbers, String> {
    let one = crate::args::positive;
    let (from, to) = match text.split_once("..") {
        Some((a, b)) => (one(a)?, one(b.trim_start_matches('='))?),
        None => (one(text)?, one(text)?),
    };
    if from > to { Err(format!("the range {text} is empty; write the smaller number first")) } else { Ok(Numbers { from, to }) }
}

impl Numbers {
    /// All of a few, or steps of √2 with both ends.
    fn list(self) -> Vec<usize> {
        if self.to - self.from < FEW {
            return (self.from..=self.to).collect();
        }
        let ratio = self.to as f64 / self.from as f64;
        let steps = (ratio.log2() * 2.0).round().max(1.0);
        (0..=steps as usize).map(|i| (self.from as f64 * ratio.powf(i as f64 / steps)).round() as usize).collect()
    }
}

/// Rising, without repeats.
fn sorted(lists: &[Numbers]) -> Vec<usize> {
    let mut all: Vec<usize> = lists.iter().flat_map(|n| n.list()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Tries every number of atoms, prints the table and the recommendation, and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, &args.subject.data)?;
    let opened = args.subject.open(args.rows, global)?;
    let x = opened.prepared(&args.prep)?.to_mat();
    let how = How { folds: args.folds, seeds: args.seeds, seed: args.subject.seed, masked: args.method.masks() };
    how.check()?;
    let least = x.rows.min(x.cols);
    let ks = if args.k.is_empty() {
        Numbers { from: 2.min(least), to: LARGEST.min(least / 2).max(1).max(2.min(least)) }.list()
    } else {
        sorted(&args.k)
    };
    // One bar for each number of atoms, none for its many small fits.
    let silent = Global { quiet: true, ..global.clone() };
    let runner = args.subject.runner(global);
    let runner = crate::methods::Runner { global: &silent, ..runner };
    let mut tried = Vec::new();
    // Fits that are to converge, and those of them that did not; the first ones of an imputation are short on purpose.
    let (mut whole, mut stopped) = (0, 0);
    for (i, &k) in ks.iter().enumerate() {
        let bar = Progress::new(&format!("{} with {k} atoms ({} of {})", args.method.label(), i + 1, ks.len()), global);
        let one = rank::tried(&x, k, &how, |x: &Mat, ask: &rank::Ask| -> Result<Box<dyn Model>> {
            let ask = Ask { k: ask.k, seed: ask.seed, max_passes: ask.passes, warm: ask.warm, missing: ask.missing };
            let (model, facts) = runner.choice(args.method, &ask, &Memory::from(x))?;
            if ask.max_passes.is_none() && ask.warm.is_none() {
                whole += 1;
                stopped += usize::from(facts.stop == Stop::Limit);
            }
            Ok(model)
        });
        bar.clear();
        tried.push(one.map_err(|e| stop::or(e, runner.left))?);
    }
    let said = rank::recommend(&tried)
        .ok_or_else(|| Failure::other("no error is a finite number; look at the data with `mereo info`"))?;
    let mut page = Document {
        title: format!("How many atoms: {} on {}", args.method.label(), opened.data.name),
        facts: vec![
            opened.line(&args.prep),
            format!(
                "{} folds of held-out entries · {} seeds · held-out entries are {}",
                args.folds,
                args.seeds,
                if how.masked { "unknown to the fits" } else { "imputed by repeated fits" }
            ),
        ],
        summary: vec![said.reason.clone()],
        command: show::typed(std::env::args_os()),
        made: opened.made(),
        ..Document::default()
    };
    page.sections = vec![
        Section { title: "The numbers".into(), note: NOTE.into(), blocks: vec![Block::Table(table(&tried, &said))] },
        Section { title: "Against the number of atoms".into(), note: String::new(), blocks: vec![Block::Plots(plots(&tried))] },
    ];
    page.summary.extend(super::limited(stopped, whole, "errors and agreement are those of where they stopped."));
    let json = serde_json::json!({
        "k": said.k, "recommendation": said, "how": how, "method": args.method, "tried": tried, "fits": whole, "stopped_at_limit": stopped,
    });
    subject::publish(&page, &args.output, global, json)
}

const NOTE: &str = "\
Scattered: RMSE on a tenth of all numbers, hidden anywhere (Wold). Block: RMSE on a fifth of the rows in a fifth of the columns, hidden together \
(Gabriel). Rows: RMSE on a fifth of the rows that the fit never saw; it falls for long, and so it recommends nothing. Stability: mean |cosine| of the \
atoms of two seeds, matched. Cophenetic: how nearly the groups of rows that the seeds agree on form a tree. ± is one standard error over folds. Bold is the \
recommendation.";

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len().max(1) as f64
}

/// Mean and standard error.
fn spread(v: &[f64]) -> String {
    let (m, n) = (mean(v), v.len() as f64);
    let variance = v.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let m = show::number(m);
    // As many places as the mean has.
    let places = m.split_once('.').map_or(0, |(_, after)| after.len());
    let error = (variance / n).sqrt();
    if m.contains('e') { format!("{m} ± {error:.1e}") } else { format!("{m} ± {error:.places$}") }
}

fn table(tried: &[Tried], said: &Recommendation) -> Table {
    Table {
        header: cells(&["k", "scattered", "block", "rows", "training", "stability", "cophenetic", "a fit", "in all"]),
        rows: tried
            .iter()
            .map(|t| {
                let mut row = vec![t.k.to_string(), spread(&t.scattered), spread(&t.block)];
                row.extend([t.rows, t.train].map(show::number));
                row.extend([t.stability, t.cophenetic].map(|v| format!("{v:.3}")));
                row.extend([t.fit_seconds, t.seconds].map(show::seconds));
                row
            })
            .collect(),
        strong: tried.iter().position(|t| t.k == said.k),
        words: vec![],
    }
}

fn plots(tried: &[Tried]) -> Vec<Plot> {
    let line = |name: &str, of: &dyn Fn(&Tried) -> f64| {
        (name.to_string(), tried.iter().map(|t| (t.k as f64, of(t))).collect::<Vec<_>>())
    };
    let plot = |title: &str, y: &str, lines| Plot {
        title: title.into(),
        x: "number of atoms".into(),
        y: y.into(),
        log: (true, false),
        lines,
        ticks: Some(tried.iter().map(|t| t.k as f64).collect()),
        ..Plot::default()
    };
    vec![
        plot(
            "Errors",
            "RMSE",
            vec![
                line("scattered", &|t| mean(&t.scattered)),
                line("block", &|t| mean(&t.block)),
                line("rows", &|t| t.rows),
                line("training", &|t| t.train),
            ],
        ),
        plot("Seeds", "agreement", vec![line("stability", &|t| t.stability), line("cophenetic", &|t| t.cophenetic)]),
        plot("Time of a fit", "seconds", vec![line("a fit", &|t| t.fit_seconds)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_tried_in_full_or_in_steps_with_both_ends() {
        let list = |text: &str| numbers(text).map(Numbers::list);
        assert_eq!(list("16"), Ok(vec![16]));
        assert_eq!(list("3..6"), Ok(vec![3, 4, 5, 6]));
        assert_eq!(list("8..=128"), Ok(vec![8, 11, 16, 23, 32, 45, 64, 91, 128]));
        assert!(list("8..4").is_err() && list("0..4").is_err() && list("x").is_err());
        assert_eq!(
            sorted(&[numbers("4..6").expect("range"), numbers("5").expect("one"), numbers("2").expect("one")]),
            [2, 4, 5, 6]
        );
    }
}
