//! `mereo parts`: what makes parts emerge? Every measure of parts against the number of atoms, the number of rows, the start, the
//! preparation and the constraint, in one grid with a picture of the atoms of each cell.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::methods::Runner;
use crate::subject::{self, Opened, Subject, cells};
use crate::{output, show};
use clap::ValueEnum;
use mereo::compare::{self, Entry, Setting};
use mereo::mat::Rows;
use mereo::prepare::{Pipeline, Prepared, Recipe};
use mereo::source::{Memory, Subset};
use mereo::{Model, Nmf, NmfInit, NmfLoss, NmfSolver, fold, measure, rank, store};
use mereo_report::{Block, Document, Plate, Section, Table};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Rows that the groups of two seeds are compared on.
const GROUPED: usize = 300;
/// Penalty of `l1` and `l2`, in units of the mean to the power 3/2, which is how such a penalty scales with the data.
const PENALTY: f64 = 0.001;

/// Flags of `mereo parts`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub subject: Subject,
    /// Numbers of atoms; the first is the one that all else is varied at.
    #[arg(short, long, value_name = "ATOMS", value_delimiter = ',', value_parser = crate::args::positive)]
    pub k: Vec<usize>,
    /// Numbers of rows to learn from, the first being the usual one [default: all, and a quarter of them].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = crate::args::positive)]
    pub rows: Vec<usize>,
    /// Starts, the usual one first.
    #[arg(long, value_name = "START", value_delimiter = ',', value_enum, default_values = ["random", "nndsvda"])]
    pub start: Vec<Start>,
    /// Preparations, the usual one first; steps of one are joined by + [default: raw,lee-seung, for sparse rows raw,unit-norm].
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = steps)]
    pub prep: Vec<Steps>,
    /// Constraints and solvers, the usual one first.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_enum, default_values = ["none", "l1", "kl"])]
    pub constraint: Vec<Constraint>,
    /// Every combination, not one change at a time.
    #[arg(long)]
    pub full: bool,
    /// Fits of each cell from other random numbers, at least 2; the first is the one that is measured and drawn.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub seeds: usize,
    /// Passes over the rows at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = crate::args::positive)]
    pub max_passes: usize,
    /// Penalty of l1 and l2, in scikit-learn's scaling [default: 0.001 times the mean of the prepared rows to the power 1.5].
    #[arg(long, value_name = "ALPHA")]
    pub alpha: Option<f64>,
    /// Also write the table as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Where to write the page with the atoms.
    #[arg(short, long, value_name = "FILE", default_value = "parts.html")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  mereo parts faces                                     one change at a time: a table, parts.html, and what moves each measure most
  mereo parts faces -k 16,36,64 --rows 300,100          numbers of atoms and of rows
  mereo parts swimmer -k 17 --constraint none,l1,lee-seung --full --csv parts.csv
                                                        every combination; planted parts are looked for";

/// Steps of one preparation.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(pub Vec<Recipe>);

fn steps(text: &str) -> std::result::Result<Steps, String> {
    let all: Vec<Recipe> = text.split('+').map(crate::args::recipe).collect::<std::result::Result<_, _>>()?;
    Ok(Steps(all.into_iter().filter(|r| *r != Recipe::Raw).collect()))
}

/// Where a fit starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// Random numbers
    Random,
    /// Singular vectors, zeros kept
    Nndsvd,
    /// Singular vectors, zeros filled with the mean
    Nndsvda,
    /// Singular vectors, zeros filled with small random numbers
    Nndsvdar,
}

/// What a fit minimises, under what, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Constraint {
    /// Squared error, nothing else
    None,
    /// Squared error with a penalty on the sum of atoms and codes
    L1,
    /// Squared error with a penalty on the squares of atoms and codes
    L2,
    /// Squared error by the multiplicative rules of 2001
    Mu,
    /// Kullback-Leibler divergence by the multiplicative rules of 2001
    Kl,
    /// The rules of Lee and Seung 1999
    LeeSeung,
}

fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

/// The values that are tried on each axis, the usual one first.
#[derive(Debug, Clone)]
pub struct Axes {
    pub k: Vec<usize>,
    pub rows: Vec<usize>,
    pub start: Vec<Start>,
    pub prep: Vec<Steps>,
    pub constraint: Vec<Constraint>,
}

/// The axes, by name.
pub const AXES: [&str; 5] = ["number of atoms", "number of rows", "start", "preparation", "constraint"];

/// One place in the grid: for each axis the number of its value.
pub type Place = [usize; 5];

impl Axes {
    fn lengths(&self) -> Place {
        [self.k.len(), self.rows.len(), self.start.len(), self.prep.len(), self.constraint.len()]
    }

    /// What a value is called.
    pub fn value(&self, axis: usize, at: usize) -> String {
        match axis {
            0 => self.k[at].to_string(),
            1 => show::count(self.rows[at]),
            2 => name(&self.start[at]),
            3 => subject::chain(&self.prep[at].0),
            _ => name(&self.constraint[at]),
        }
    }

    /// All combinations, or the usual one and those that differ from it on one axis.
    fn places(&self, full: bool) -> Vec<Place> {
        let n = self.lengths();
        let mut all = vec![[0; 5]];
        if full {
            for axis in 0..5 {
                all = all
                    .iter()
                    .flat_map(|p| {
                        (0..n[axis]).map(move |v| {
                            let mut p = *p;
                            p[axis] = v;
                            p
                        })
                    })
                    .collect();
            }
        } else {
            for axis in 0..5 {
                all.extend((1..n[axis]).map(|v| {
                    let mut p = [0; 5];
                    p[axis] = v;
                    p
                }));
            }
        }
        all
    }

    /// The parameters of a cell; penalties follow from the mean of the prepared rows.
    fn nmf(&self, at: Place, seed: u64, max_passes: usize, alpha: Option<f64>, mean: f64) -> Nmf {
        let init = match self.start[at[2]] {
            Start::Random => NmfInit::Random,
            Start::Nndsvd => NmfInit::Nndsvd,
            Start::Nndsvda => NmfInit::Nndsvda,
            Start::Nndsvdar => NmfInit::Nndsvdar,
        };
        let own = Nmf { k: self.k[at[0]], init, seed, max_passes, ..Nmf::default() };
        let alpha = alpha.unwrap_or(PENALTY * mean.max(0.0).powf(1.5));
        let penalty = |l1_ratio| Nmf { alpha_w: alpha, alpha_h: alpha, l1_ratio, ..own.clone() };
        match self.constraint[at[4]] {
            Constraint::None => own,
            Constraint::L1 => penalty(1.0),
            Constraint::L2 => penalty(0.0),
            Constraint::Mu => Nmf { solver: NmfSolver::Mu, ..own },
            Constraint::Kl => Nmf { solver: NmfSolver::Mu, loss: NmfLoss::KullbackLeibler, ..own },
            Constraint::LeeSeung => Nmf { solver: NmfSolver::LeeSeung, ..own },
        }
    }
}

/// How each cell is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// The first seed, of which the fit is measured and drawn.
    pub seed: u64,
    /// Fits of each cell, at least 2.
    pub seeds: usize,
    /// Passes at most.
    pub max_passes: usize,
    /// Penalty of `l1` and `l2`, if not one that follows from the data.
    pub alpha: Option<f64>,
}

/// One cell, fitted and measured.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Where it is in the grid.
    #[serde(skip)]
    pub at: Place,
    /// What it is called on each axis.
    pub values: [String; 5],
    /// Its first fit, measured.
    pub entry: Entry,
    /// Mean |cosine| of matched atoms over the seeds.
    pub stability: f64,
    /// Cophenetic correlation of the groups of rows that the seeds make.
    pub cophenetic: f64,
    /// Mean |cosine| of planted atoms with their matches, where the rows are raw and were planted.
    pub recovered: Option<f64>,
}

/// A grid of fits.
pub struct Grid {
    pub axes: Axes,
    pub cells: Vec<Cell>,
    /// Rows that were held out.
    pub held: usize,
    /// Every combination was fitted.
    pub full: bool,
}

/// A measure and where it is found.
pub type Measure = (&'static str, fn(&Cell) -> Option<f64>);

/// The measures of parts, none of them standard alone.
pub const MEASURES: &[Measure] = &[
    ("error", |c| Some(c.entry.train.relative)),
    ("held out", |c| Some(c.entry.test.as_ref()?.relative)),
    ("sparse atoms", |c| Some(c.entry.atom_measures.sparseness.mean)),
    ("zeros in atoms", |c| Some(c.entry.atom_measures.small.mean)),
    ("overlap", |c| Some(c.entry.atom_measures.overlap.mean)),
    ("spread", |c| Some(c.entry.atom_measures.spread.as_ref()?.mean)),
    ("one piece", |c| Some(c.entry.atom_measures.largest.as_ref()?.mean)),
    ("sparse rows", |c| Some(c.entry.code_measures.row_sparseness)),
    ("sparse use", |c| Some(c.entry.code_measures.atom_sparseness.mean)),
    ("stability", |c| Some(c.stability)),
    ("cophenetic", |c| Some(c.cophenetic)),
    ("recovered", |c| c.recovered),
    ("dead", |c| Some(c.entry.atom_measures.dead.len() as f64)),
];

const NOTE: &str = "\
error: length of the residual over that of the rows, training and held out. sparse atoms: Hoyer's sparseness (0 all alike, 1 one number alone). zeros in \
atoms: share of numbers below 1 % of the largest. overlap: mean |cosine| between atoms. spread: variance of the pixels' places over that of an even image. one \
piece: share of the mass in the largest connected patch. sparse rows, sparse use: Hoyer's sparseness of a row's codes, and of an atom's codes. stability: mean \
|cosine| of matched atoms over seeds. cophenetic: how far the seeds group the rows alike. recovered: mean |cosine| of planted parts with their matches. dead: atoms that are zero. Errors of \
different preparations are errors of different numbers.";

/// Fits the grid.
pub fn grid(opened: &Opened, axes: Axes, full: bool, tries: &Tries, runner: &Runner) -> Result<Grid> {
    if tries.seeds < 2 {
        return Err(Failure::usage("stability compares seeds; give --seeds 2 or more"));
    }
    let all = Memory::new(opened.rows.slice(0, opened.rows.rows()));
    let (train, test) = sides(opened.rows.rows(), tries.seed)?;
    let planted = mereo::data::planted(&opened.data.name)?.filter(|_| opened.data.kind == "embedded");
    let mut out = Vec::new();
    for at in axes.places(full) {
        let wanted = axes.rows[at[1]];
        let picked = mereo::rng::rng(tries.seed, fold::stream::SPLIT, 1).choose(train.len(), wanted);
        let some = Subset::new(&all, picked.iter().map(|&i| train[i]).collect::<Vec<_>>())?;
        let rest = Subset::new(&all, &test)?;
        let pipeline = Pipeline::fit(&axes.prep[at[3]].0, &some)?;
        let (seen, unseen) = (held(&some, &pipeline)?, held(&rest, &pipeline)?);
        let setting = Setting { train: &seen, test: Some(&unseen), image: opened.image, shown: 0 };
        let label: Vec<String> = (0..5).map(|axis| axes.value(axis, at[axis])).collect();
        let few = fold::draw(&seen, GROUPED, tries.seed)?;
        let (mut first, mut atoms, mut groups) = (None, Vec::new(), Vec::new());
        let mean = mean(&seen)?;
        for seed in (tries.seed..).take(tries.seeds) {
            let how = axes.nmf(at, seed, tries.max_passes, tries.alpha, mean);
            let (model, facts) = runner.fit(&label.join(", "), &how, &seen)?;
            groups.push(model.encode(&few)?);
            atoms.push(model.atoms().clone());
            if first.is_none() {
                first = Some(compare::entry(&model, facts, &setting)?);
            }
        }
        let entry = first.ok_or_else(|| Failure::other("no seed was fitted"))?;
        let recovered = match &planted {
            Some(made) if axes.prep[at[3]].0.is_empty() => Some(measure::matched(&made.atoms, &entry.atoms)?.mean),
            _ => None,
        };
        let values = [0, 1, 2, 3, 4].map(|axis| axes.value(axis, at[axis]));
        let stability = measure::stability(&atoms.iter().collect::<Vec<_>>())?;
        out.push(Cell { at, values, entry, stability, cophenetic: rank::cophenetic_of(&groups), recovered });
    }
    Ok(Grid { axes, cells: out, held: test.len(), full })
}

/// Four fifths of the rows, and the rest.
pub fn sides(n: usize, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    let share = "20%".parse().map_err(Failure::usage)?;
    let sides = crate::split::split(n, None, Some(share), seed)?;
    sides.ok_or_else(|| Failure::other("no rows are held out"))
}

fn held(rows: &Subset, pipeline: &Pipeline) -> Result<Memory<'static>> {
    let source = Prepared::new(rows, pipeline);
    let n = mereo::source::count(&source);
    Ok(Memory::new(subject::owned(fold::draw(&source, n, 0)?)))
}

fn mean(source: &Memory) -> Result<f64> {
    let rows = mereo::source::Source::block(source, 0)?;
    let sum: f64 = rows.values().iter().map(|&v| f64::from(v)).sum();
    Ok(sum / (mereo::source::count(source) * rows.cols()).max(1) as f64)
}

/// The lowest and the highest of what a measure is on average for each value of an axis.
struct Effect {
    low: (f64, String),
    high: (f64, String),
}

impl Effect {
    fn span(&self) -> f64 {
        self.high.0 - self.low.0
    }
}

impl Grid {
    /// The mean of a measure over the cells with a value of an axis: those that differ from the usual one there only, or all of them
    /// where every combination was fitted.
    pub fn at(&self, axis: usize, value: usize, of: fn(&Cell) -> Option<f64>) -> Option<f64> {
        let here = |c: &&Cell| c.at[axis] == value && (self.full || (0..5).all(|a| a == axis || c.at[a] == 0));
        let found: Vec<f64> = self.cells.iter().filter(here).filter_map(of).filter(|v| v.is_finite()).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }

    fn effect(&self, axis: usize, of: fn(&Cell) -> Option<f64>) -> Option<Effect> {
        let n = self.axes.lengths()[axis];
        let mut found: Vec<(f64, String)> =
            (0..n).filter_map(|v| Some((self.at(axis, v, of)?, self.axes.value(axis, v)))).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        (found.len() > 1).then(|| Effect { low: found[0].clone(), high: found[found.len() - 1].clone() })
    }

    /// One row a cell.
    pub fn table(&self) -> Table {
        let used: Vec<&Measure> = MEASURES.iter().filter(|m| self.cells.iter().any(|c| m.1(c).is_some())).collect();
        let mut header = cells(&["k", "n", "start", "preparation", "constraint"]);
        header.extend(used.iter().map(|m| m.0.to_string()));
        header.extend(cells(&["passes", "time"]));
        let row = |c: &Cell| {
            let mut row = c.values.to_vec();
            row.extend(used.iter().map(|m| m.1(c).map_or("–".into(), |v| format!("{v:.3}"))));
            row.extend([c.entry.facts.curve.len().to_string(), show::seconds(c.entry.facts.seconds)]);
            row
        };
        Table { header, rows: self.cells.iter().map(row).collect(), words: vec![2, 3, 4], ..Table::default() }
    }

    /// What moves each measure, axis by axis: the lowest and the highest value with where they are.
    pub fn effects(&self) -> Table {
        let axes: Vec<usize> = (0..5).filter(|&a| self.axes.lengths()[a] > 1).collect();
        let mut header = vec!["measure".to_string()];
        header.extend(axes.iter().map(|&a| AXES[a].to_string()));
        let rows = MEASURES.iter().filter(|m| self.cells.iter().any(|c| m.1(c).is_some())).map(|m| {
            let mut row = vec![m.0.to_string()];
            row.extend(axes.iter().map(|&a| match self.effect(a, m.1) {
                Some(e) => format!("{:.3} {} – {:.3} {}", e.low.0, e.low.1, e.high.0, e.high.1),
                None => "–".into(),
            }));
            row
        });
        Table { header, rows: rows.collect(), words: (1..=axes.len()).collect(), ..Table::default() }
    }

    /// What moves the sparseness of atoms, and their stability, most and least.
    pub fn answer(&self) -> Vec<String> {
        let mut out = Vec::new();
        for name in ["sparse atoms", "spread", "stability"] {
            let Some(m) = MEASURES.iter().find(|m| m.0 == name) else { continue };
            let mut found: Vec<(usize, Effect)> = (0..5).filter_map(|a| Some((a, self.effect(a, m.1)?))).collect();
            found.sort_by(|a, b| b.1.span().total_cmp(&a.1.span()));
            let words = |(axis, e): &(usize, Effect)| {
                format!("the {} ({:.2} {} to {:.2} {})", AXES[*axis], e.low.0, e.low.1, e.high.0, e.high.1)
            };
            if let [most, .., least] = found.as_slice() {
                let what = match name {
                    "sparse atoms" => "Sparseness of atoms",
                    "spread" => "Their spread over the image",
                    _ => "Agreement of seeds",
                };
                let mut line = format!("{what} moves most with {}", words(most));
                let _ = write!(line, ", least with {}.", words(least));
                out.push(line);
            }
        }
        out
    }

    /// A picture of the atoms of each cell, in one section for each axis, or all in one where every combination was fitted.
    pub fn sections(&self, image: Option<(usize, usize)>) -> Vec<Section> {
        let plate = |c: &Cell, title: String| {
            let (a, t) = (&c.entry.atom_measures, c.entry.test.as_ref().unwrap_or(&c.entry.train));
            Plate {
                title,
                atoms: c.entry.atoms.clone(),
                image,
                under: vec![
                    format!("sparse {:.2} · overlap {:.2} · stable {:.2}", a.sparseness.mean, a.overlap.mean, c.stability),
                    format!("held-out error {:.3} · {}", t.relative, show::seconds(c.entry.facts.seconds)),
                ],
            }
        };
        if self.full {
            let all = self.cells.iter().map(|c| plate(c, c.values.join(" · "))).collect();
            return vec![Section { title: "Atoms of each cell".into(), note: String::new(), blocks: vec![Block::Plates(all)] }];
        }
        let mut out = Vec::new();
        for axis in (0..5).filter(|&a| self.axes.lengths()[a] > 1) {
            let along = self.cells.iter().filter(|c| (0..5).all(|a| a == axis || c.at[a] == 0));
            out.push(Section {
                title: format!("Atoms by {}", AXES[axis]),
                note: "All else as in the first.".into(),
                blocks: vec![Block::Plates(along.map(|c| plate(c, c.values[axis].clone())).collect())],
            });
        }
        out
    }
}

/// What is tried on each axis: as typed, else a few values that suit the rows.
pub fn axes(args: &Args, opened: &Opened) -> Result<Axes> {
    let (n, d) = (opened.rows.rows(), opened.rows.cols());
    let train = sides(n, args.subject.seed)?.0.len();
    let given = |typed: &[usize], own: &[usize]| if typed.is_empty() { own.to_vec() } else { typed.to_vec() };
    let least = train.min(d);
    let mut rows = given(&args.rows, &[train, (train / 4).max(1)]);
    for n in &mut rows {
        *n = (*n).min(train);
    }
    rows.dedup();
    let own: Vec<usize> = [16, 36, 64].into_iter().filter(|k| *k <= least.min(rows.iter().copied().min().unwrap_or(1))).collect();
    let k = given(&args.k, if own.is_empty() { &[2] } else { &own });
    let sparse = matches!(opened.rows, Rows::Sparse(_));
    let second = if sparse { Recipe::UnitNorm } else { Recipe::LeeSeung };
    let prep = if args.prep.is_empty() { vec![Steps(vec![]), Steps(vec![second])] } else { args.prep.clone() };
    Ok(Axes { k, rows, start: args.start.clone(), prep, constraint: args.constraint.clone() })
}

/// Fits the grid, prints it and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, &args.subject.data)?;
    if let Some(csv) = &args.csv {
        subject::check(csv, &args.subject.data)?;
        output::check(csv, &[&args.output])?;
    }
    let opened = args.subject.open(None, global)?;
    let tries = Tries { seed: args.subject.seed, seeds: args.seeds, max_passes: args.max_passes, alpha: args.alpha };
    let grid = grid(&opened, axes(args, &opened)?, args.full, &tries, &args.subject.runner(global))?;
    if let Some(csv) = &args.csv {
        let bytes = spreadsheet(&grid)?;
        output::keep(csv, "the table", |path| store::write_whole(path, |file| std::io::Write::write_all(file, &bytes)))?;
    }
    let way = if args.full { "every combination" } else { "one change at a time from the first of each" };
    let mut sections = vec![
        Section { title: "The grid".into(), note: NOTE.into(), blocks: vec![Block::Table(grid.table())] },
        Section {
            title: "What moves each measure".into(),
            note: "For each axis, where the measure is lowest and where it is highest.".into(),
            blocks: vec![Block::Table(grid.effects())],
        },
    ];
    sections.extend(grid.sections(opened.image));
    let page = Document {
        title: format!("What makes parts: NMF on {}", opened.data.name),
        facts: vec![
            opened.line(&[]),
            format!("{} fits · {way} · {} rows held out · {} seeds", grid.cells.len() * args.seeds, grid.held, args.seeds),
        ],
        summary: grid.answer(),
        sections,
        command: show::typed(std::env::args_os()),
        made: opened.made(),
        ..Document::default()
    };
    let json = serde_json::json!({ "cells": grid.cells, "held_out": grid.held, "answer": grid.answer() });
    subject::publish(&page, &args.output, global, json)
}

/// The grid with all digits.
fn spreadsheet(grid: &Grid) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let fail = |e: csv::Error| Failure::other(format!("CSV: {e}"));
    let head = ["k", "n", "start", "preparation", "constraint"]
        .into_iter()
        .chain(MEASURES.iter().map(|m| m.0))
        .chain(["passes", "seconds"]);
    out.write_record(head).map_err(fail)?;
    for c in &grid.cells {
        let mut row: Vec<String> = c.values.to_vec();
        row[1] = grid.axes.rows[c.at[1]].to_string();
        row.extend(MEASURES.iter().map(|m| m.1(c).map_or(String::new(), |v| v.to_string())));
        row.extend([c.entry.facts.curve.len().to_string(), c.entry.facts.seconds.to_string()]);
        out.write_record(&row).map_err(fail)?;
    }
    out.into_inner().map_err(|e| Failure::other(format!("CSV: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_at_a_time_or_all() {
        let axes = Axes {
            k: vec![4, 8, 16],
            rows: vec![10],
            start: vec![Start::Random, Start::Nndsvda],
            prep: vec![Steps(vec![])],
            constraint: vec![Constraint::None, Constraint::L1],
        };
        let few = axes.places(false);
        assert_eq!(few.len(), 1 + 2 + 1 + 1);
        assert_eq!(few[0], [0; 5]);
        assert!(few.iter().all(|p| p.iter().filter(|v| **v > 0).count() <= 1));
        assert_eq!(axes.places(true).len(), 12);
        assert_eq!((axes.value(2, 1), axes.value(3, 0), axes.value(4, 1)), ("nndsvda".into(), "raw".into(), "l1".into()));
    }

    #[test]
    fn steps_of_a_preparation_are_joined() {
        assert_eq!(steps("unit-norm+center"), Ok(Steps(vec![Recipe::UnitNorm, Recipe::Center])));
        assert_eq!(steps("raw"), Ok(Steps(vec![])));
        assert!(steps("nonsense").is_err());
    }
}
