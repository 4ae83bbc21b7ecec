//! The grid of fits, and what it says.

use super::axes::{AXES, Axes, Place};
use crate::commands::limited;
use crate::failure::{Failure, Result};
use crate::methods::Runner;
use crate::show;
use crate::subject::{self, Opened, cells};
use mereo::compare::{self, Entry, Facts, Setting};
use mereo::fold::{self, Stop};
use mereo::prepare::{Pipeline, Prepared};
use mereo::source::{Memory, Source, Subset};
use mereo::{Codes, Mat, Model, NmfInit, measure, rank};
use mereo_report::{Block, Plate, Section, Table};
use serde::Serialize;

/// Rows that the groups of two seeds are compared on.
const GROUPED: usize = 300;

/// How each cell is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// The first seed, of which the fit is measured and drawn.
    pub seed: u64,
    /// Fits of each cell, at least 2; one is enough where nothing is random.
    pub seeds: usize,
    /// Passes at most.
    pub max_passes: usize,
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
    /// Mean |cosine| of matched atoms over the seeds, where anything is random.
    pub stability: Option<f64>,
    /// Cophenetic correlation of the groups of rows that the seeds make, likewise.
    pub cophenetic: Option<f64>,
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
    /// Fits, and those of them that came to their limit of passes.
    pub fits: usize,
    pub limited: usize,
    /// Cells that can't be fitted, and why.
    pub left_out: Vec<String>,
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
    ("stability", |c| c.stability),
    ("cophenetic", |c| c.cophenetic),
    ("recovered", |c| c.recovered),
    ("dead", |c| Some(c.entry.atom_measures.dead.len() as f64)),
];

pub const NOTE: &str = "\
error: length of the residual over that of the rows, training and held out. sparse atoms: Hoyer's sparseness (0 all alike, 1 one number alone). zeros in \
atoms: share of numbers below 1 % of the largest. overlap: mean |cosine| between atoms. spread: variance of the pixels' places over that of an even image. one \
piece: share of the mass in the largest connected patch. sparse rows, sparse use: Hoyer's sparseness of a row's codes, and of an atom's codes. stability: mean \
|cosine| of matched atoms over seeds. cophenetic: how far the seeds group the rows alike. recovered: mean |cosine| of planted parts with their matches. dead: atoms that are zero. Errors of \
different preparations are errors of different numbers. Agreement of seeds is not told (–) where nothing is random. A + after passes: the limit came first.";

/// Fits the grid.
pub fn grid(opened: &Opened, axes: Axes, full: bool, tries: &Tries, runner: &Runner) -> Result<Grid> {
    if tries.seeds < 2 {
        return Err(Failure::usage("stability compares seeds; give --seeds 2 or more"));
    }
    let all = Memory::new(opened.rows.slice(0, opened.rows.rows()));
    let (train, test) = sides(opened.rows.rows(), tries.seed)?;
    let planted = mereo::data::planted(&opened.data.name)?.filter(|_| opened.data.kind == "embedded");
    let mut grid = Grid { axes, cells: Vec::new(), held: test.len(), full, fits: 0, limited: 0, left_out: Vec::new() };
    for at in grid.axes.places(full) {
        let wanted = grid.axes.rows[at[1]];
        let picked = mereo::rng::rng(tries.seed, fold::stream::SPLIT, 1).choose(train.len(), wanted);
        let some = Subset::new(&all, picked.iter().map(|&i| train[i]).collect::<Vec<_>>())?;
        let rest = Subset::new(&all, &test)?;
        let pipeline = Pipeline::fit(&grid.axes.prep[at[3]].0, &some)?;
        let (seen, unseen) = (held(&some, &pipeline)?, held(&rest, &pipeline)?);
        let setting = Setting { train: &seen, test: Some(&unseen), image: opened.image, shown: 0 };
        let values = [0, 1, 2, 3, 4].map(|axis| grid.axes.value(axis, at[axis]));
        let fitted = match tried(&grid.axes, at, &setting, tries, &values.join(", "), runner) {
            // The usual cell is what the others are compared with.
            Err(Failure::Library(e @ (mereo::Error::Data(_) | mereo::Error::Parameter(_)))) if at != [0; 5] => {
                grid.left_out.push(format!("{} is left out: {e}.", values.join(", ")));
                continue;
            }
            other => other?,
        };
        grid.fits += fitted.atoms.len();
        grid.limited += fitted.limited;
        let recovered = match &planted {
            Some(made) if grid.axes.prep[at[3]].0.is_empty() => Some(measure::matched(&made.atoms, &fitted.entry.atoms)?.mean),
            _ => None,
        };
        let several = fitted.atoms.len() > 1;
        let stability = several.then(|| measure::stability(&fitted.atoms.iter().collect::<Vec<_>>())).transpose()?;
        let cophenetic = several.then(|| rank::cophenetic_of(&fitted.groups));
        grid.cells.push(Cell { at, values, entry: fitted.entry, stability, cophenetic, recovered });
    }
    Ok(grid)
}

/// A number of the grid: a count of dead atoms, or a measure to three places.
fn written(measure: &str, v: f64) -> String {
    if measure == "dead" { format!("{v:.0}") } else { format!("{v:.3}") }
}

/// Whether the limit of passes came before a tolerance was met, where there is one.
fn cut(facts: &Facts) -> bool {
    facts.stop == Stop::Limit && facts.params["tol"].as_f64().is_some_and(|tol| tol > 0.0)
}

/// The fits of one cell.
struct Tried {
    /// The first, measured.
    entry: Entry,
    /// The atoms of each, and the codes of a few rows.
    atoms: Vec<Mat>,
    groups: Vec<Codes>,
    /// How many came to their limit of passes.
    limited: usize,
}

fn tried(axes: &Axes, at: Place, setting: &Setting, tries: &Tries, label: &str, runner: &Runner) -> Result<Tried> {
    let few = fold::draw(setting.train, GROUPED, tries.seed)?;
    let mean = mean(setting.train)?;
    let mut first = None;
    let (mut atoms, mut groups, mut limited) = (Vec::new(), Vec::new(), 0);
    for seed in (tries.seed..).take(tries.seeds) {
        let how = axes.nmf(at, seed, tries.max_passes, mean, setting.image);
        let (model, facts) = runner.fit(label, &how, setting.train)?;
        limited += usize::from(cut(&facts));
        groups.push(model.encode(&few)?);
        atoms.push(model.atoms().clone());
        if first.is_none() {
            first = Some(compare::entry(&model, facts, setting)?);
        }
        // Other seeds of a start without random numbers are the same fit.
        if !matches!(how.init, NmfInit::Random | NmfInit::KMeans | NmfInit::Nndsvdar) {
            break;
        }
    }
    let entry = first.ok_or_else(|| Failure::other("no seed was fitted"))?;
    Ok(Tried { entry, atoms, groups, limited })
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

fn mean(source: &dyn Source) -> Result<f64> {
    let rows = source.block(0)?;
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
            (0..n).filter_map(|v| Some((self.at(axis, v, of)?, self.axes.place(axis, v)))).collect();
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
            row.extend(used.iter().map(|m| m.1(c).map_or("–".into(), |v| written(m.0, v))));
            let cut = if cut(&c.entry.facts) { "+" } else { "" };
            row.extend([format!("{}{cut}", c.entry.facts.curve.len()), show::seconds(c.entry.facts.seconds)]);
            row
        };
        Table { header, rows: self.cells.iter().map(row).collect(), words: vec![2, 3, 4], ..Table::default() }
    }

    /// What moves each measure, axis by axis: the lowest and the highest value with where they are.
    pub fn effects(&self) -> Table {
        let axes: Vec<usize> = (0..5).filter(|&a| self.axes.lengths()[a] > 1).collect();
        let mut header = vec!["measure".to_string()];
        header.extend(axes.iter().map(|&a| AXES[a].to_string()));
        // What never moves has no line.
        let moves = |m: &&Measure| axes.iter().any(|&a| self.effect(a, m.1).is_some_and(|e| e.span() > 0.0));
        let rows = MEASURES.iter().filter(moves).map(|m| {
            let mut row = vec![m.0.to_string()];
            row.extend(axes.iter().map(|&a| match self.effect(a, m.1) {
                Some(e) => format!("{:.3} {} – {:.3} {}", e.low.0, e.low.1, e.high.0, e.high.1),
                None => "–".into(),
            }));
            row
        });
        Table { header, rows: rows.collect(), words: (1..=axes.len()).collect(), ..Table::default() }
    }

    /// What moves the sparseness of atoms, their spread, overlap and stability, from the most to the least.
    pub fn answer(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (name, what) in [
            ("sparse atoms", "Sparseness of atoms"),
            ("spread", "Their spread over the image"),
            ("overlap", "Their overlap"),
            ("stability", "Agreement of seeds"),
        ] {
            let Some(m) = MEASURES.iter().find(|m| m.0 == name) else { continue };
            let mut found: Vec<(usize, Effect)> = (0..5).filter_map(|a| Some((a, self.effect(a, m.1)?))).collect();
            found.sort_by(|a, b| b.1.span().total_cmp(&a.1.span()));
            let words = |(axis, e): &(usize, Effect)| {
                format!("the {} ({:.2} {} to {:.2} {})", AXES[*axis], e.low.0, e.low.1, e.high.0, e.high.1)
            };
            if let [most, between @ .., least] = found.as_slice() {
                let then = [most].into_iter().chain(between).map(words).collect::<Vec<_>>().join(", then ");
                out.push(format!("{what} moves most with {then}, least with {}.", words(least)));
            }
        }
        out.extend(limited(self.limited, self.fits, "a higher --max-passes takes them further."));
        out
    }

    /// A picture of the atoms of each cell, in one section for each axis, or all in one where every combination was fitted.
    pub fn sections(&self, image: Option<(usize, usize)>) -> Vec<Section> {
        let stable = |s: Option<f64>| s.map_or(String::new(), |s| format!(" · stable {s:.2}"));
        let plate = |c: &Cell, title: String| {
            let (a, t) = (&c.entry.atom_measures, c.entry.test.as_ref().unwrap_or(&c.entry.train));
            Plate {
                title,
                atoms: c.entry.atoms.clone(),
                image,
                under: vec![
                    format!("sparse {:.2} · overlap {:.2}{}", a.sparseness.mean, a.overlap.mean, stable(c.stability)),
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

/// The grid with all digits.
pub fn spreadsheet(grid: &Grid) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let fail = |e: csv::Error| Failure::other(format!("CSV: {e}"));
    let head = ["k", "n", "start", "preparation", "constraint"]
        .into_iter()
        .chain(MEASURES.iter().map(|m| m.0))
        .chain(["passes", "seconds", "change", "stop"]);
    out.write_record(head).map_err(fail)?;
    for c in &grid.cells {
        let mut row: Vec<String> = c.values.to_vec();
        row[1] = grid.axes.rows[c.at[1]].to_string();
        row.extend(MEASURES.iter().map(|m| m.1(c).map_or(String::new(), |v| v.to_string())));
        let facts = &c.entry.facts;
        row.extend([facts.curve.len().to_string(), facts.seconds.to_string()]);
        row.push(facts.change().map_or(String::new(), |v| v.to_string()));
        row.push(if facts.stop == Stop::Limit { "limit" } else { "converged" }.into());
        out.write_record(&row).map_err(fail)?;
    }
    out.into_inner().map_err(|e| Failure::other(format!("CSV: {e}")))
}
