//! `mereo splitting INDEX --absorption COLUMN`: for each class of rows, whether other latents stand in for its main ones.

use super::{Args, percent};
use crate::args::Global;
use crate::commands::tell;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::show;
use mereo::mat::{DenseRows, Mat, Rows};
use mereo::model::Codes;
use mereo_meaning::index::Values;
use mereo_meaning::splitting::{
    Absorb, Absorption, Concept, KSparse, KSparseProbe, absorption, class_direction, k_sparse, projections,
};
use mereo_meaning::{Both, Index};
use serde_json::{Value, json};
use std::time::Instant;

/// Rows that a class needs, and as many that are not in it: of a quarter of them F1 is measured.
const FEWEST: usize = 20;

/// What was found of a class.
struct Found {
    class: usize,
    rows: usize,
    probe: KSparseProbe,
    /// None if no latent tells the class.
    absorbed: Option<Absorption>,
}

/// Measures absorption of the classes of a column.
pub fn run(args: &Args, column: &str, global: &Global) -> Result<()> {
    let shown = args.small.display();
    if args.small.is_file() {
        return Err(Failure::usage(format!(
            "`{shown}` is a file, and absorption needs rows and their classes; write an index with `mereo index MODEL DATA --texts FILE --columns {column} \
             -o FOLDER` and give that"
        )));
    }
    let index = Index::open(&args.small)?;
    let Values::Classes { names, of } = index.column(column)?.values else {
        return Err(Failure::usage(format!("`{column}` holds numbers and has no classes; name a column of words")));
    };
    let started = Instant::now();
    let only = args.class.as_ref().map(|c| tell::class(column, &names, c)).transpose()?;
    let mut sizes = vec![0; names.len()];
    of.iter().flatten().for_each(|&c| sizes[c as usize] += 1);
    let enough = |c: usize| sizes[c] >= FEWEST && of.len() - sizes[c] >= FEWEST;
    if let Some(c) = only.filter(|c| !enough(*c)) {
        return Err(Failure::usage(format!(
            "`{}` has {} of {} rows; absorption needs {FEWEST} rows of the class and {FEWEST} others, so name another --class",
            names[c],
            show::count(sizes[c]),
            show::count(of.len())
        )));
    }
    let (taken, left): (Vec<usize>, Vec<usize>) =
        (0..names.len()).filter(|c| only.is_none_or(|only| *c == only)).partition(|&c| enough(c));
    if taken.is_empty() {
        return Err(Failure::usage(format!(
            "no class of `{column}` has {FEWEST} rows and {FEWEST} others beside; name a column of larger classes"
        )));
    }
    let rows = prepared(&index)?;
    let offset = offset(&index, &rows)?;
    let codes = index.codes();
    let bar = Progress::new("probing classes", global);
    let mut found = Vec::new();
    for class in taken {
        let labels: Vec<bool> = of.iter().map(|c| *c == Some(class as u32)).collect();
        found.push(one(&index, &codes, (&rows, &offset), class, &labels)?);
    }
    bar.clear();
    // The most absorbed first; classes that no latent tells at the end.
    let key = |f: &Found| f.absorbed.as_ref().map_or(-1.0, |a| a.fraction);
    found.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.class.cmp(&b.class)));
    let labels: Vec<String> = index.labels()?.into_iter().map(|l| l.map_or(String::new(), |l| l.label)).collect();
    let told = Told { names: &names, labels: &labels, found: &found, left: &left, args, column };
    let seconds = started.elapsed().as_secs_f64();
    if global.json { show::json(&told.json(seconds)) } else { show::print(&told.text(seconds)) }
}

fn one(index: &Index, codes: &Both, (rows, offset): (&Rows, &[f32]), class: usize, labels: &[bool]) -> Result<Found> {
    let probe = k_sparse(codes, labels, &KSparse::default())?;
    let inside: Vec<usize> = (0..labels.len()).filter(|&i| labels[i]).collect();
    let absorbed = if probe.main().is_empty() {
        None
    } else {
        let direction = class_direction(rows, labels)?;
        let shift: f64 = offset.iter().zip(&direction).map(|(b, p)| f64::from(*b) * p).sum();
        let all = projections(rows, &direction)?;
        let of_class: Vec<f64> = inside.iter().map(|&i| all[i] - shift).collect();
        let concept = Concept { direction: &direction, rows: &inside, projections: &of_class };
        Some(absorption(codes, index.bundle.model.atoms(), &concept, probe.main(), &Absorb::default())?)
    };
    Ok(Found { class, rows: inside.len(), probe, absorbed })
}

/// The rows in the units of the atoms.
fn prepared(index: &Index) -> Result<Rows<'_>> {
    let rows = Rows::Dense(DenseRows { cols: index.about.cols, data: index.rows().into(), weights: None });
    let pipeline = &index.bundle.pipeline;
    Ok(if pipeline.recipes().is_empty() { rows } else { pipeline.apply(&rows)?.0 })
}

/// What the model adds to every reconstruction (d), which no latent carries: its mean or its bias.
fn offset(index: &Index, rows: &Rows) -> Result<Vec<f32>> {
    let model = index.bundle.model.as_ref();
    let first = rows.slice(0, rows.rows().min(1));
    let silent = Codes::Dense(Mat::zeros(first.rows(), index.about.latents));
    let offset = model.decode(&silent)?;
    if model.decode_like(&silent, &first)? == offset {
        return Ok(offset.data);
    }
    Err(Failure::other(
        "the model takes off each row its own mean and scale, so that its latents are in other units than the rows; absorption is told for models without that",
    ))
}

/// All that there is to be told.
struct Told<'a> {
    names: &'a [String],
    labels: &'a [String],
    found: &'a [Found],
    /// Classes of too few rows.
    left: &'a [usize],
    args: &'a Args,
    column: &'a str,
}

impl Told<'_> {
    fn json(&self, seconds: f64) -> Value {
        let named = |j: usize| json!({ "latent": j, "label": self.labels[j] });
        let classes: Vec<Value> = (self.found.iter())
            .map(|f| {
                let main: Vec<Value> = f.probe.main().iter().map(|&j| named(j)).collect();
                let a = f.absorbed.as_ref();
                let absorbers: Vec<Value> = (a.iter().flat_map(|a| &a.absorbers))
                    .map(|b| {
                        json!({ "latent": b.latent, "label": self.labels[b.latent], "cosine": b.cosine, "full": b.full, "partial": b.partial })
                    })
                    .collect();
                json!({
                    "class": self.names[f.class], "rows": f.rows, "main": main, "f1": f.probe.f1, "full": a.map(|a| a.full),
                    "fraction": a.map(|a| a.fraction), "left_out": a.map(|a| a.left_out), "absorbers": absorbers,
                })
            })
            .collect();
        let left: Vec<&String> = self.left.iter().map(|&c| &self.names[c]).collect();
        json!({
            "index": self.args.small.display().to_string(), "column": self.column, "classes": classes, "too_few_rows": left, "seconds": seconds,
        })
    }

    fn text(&self, seconds: f64) -> String {
        const NAMED: usize = 3;
        let name = |j: usize| format!("{j} {}", self.labels[j]).trim_end().to_string();
        let list = |latents: &mut dyn Iterator<Item = usize>| {
            let mut named: Vec<String> = latents.take(NAMED + 1).map(name).collect();
            if named.len() > NAMED {
                named[NAMED] = "…".into();
            }
            if named.is_empty() { "–".into() } else { named.join(" · ") }
        };
        let rows: Vec<Vec<String>> = (self.found.iter().take(self.args.top))
            .map(|f| {
                let share = |of: fn(&Absorption) -> f64| f.absorbed.as_ref().map_or("–".into(), |a| percent(of(a)));
                vec![
                    self.names[f.class].clone(),
                    show::count(f.rows),
                    f.probe.splits.checked_sub(1).map_or("–".into(), |last| format!("{:.3}", f.probe.f1[last])),
                    share(|a| a.full),
                    share(|a| a.fraction),
                    list(&mut f.probe.main().iter().copied()),
                    list(&mut f.absorbed.iter().flat_map(|a| &a.absorbers).map(|b| b.latent)),
                ]
            })
            .collect();
        let header = ["class", "rows", "F1", "absorbed in full", "fraction", "main latents", "absorbers"];
        let mut out = show::table(&header, &rows, &[0, 5, 6]);
        let known: Vec<&Absorption> = self.found.iter().filter_map(|f| f.absorbed.as_ref()).collect();
        let mean = |of: fn(&Absorption) -> f64| percent(known.iter().map(|a| of(a)).sum::<f64>() / known.len().max(1) as f64);
        let mut facts = vec![("classes".to_string(), show::count(self.found.len()))];
        if !known.is_empty() {
            facts.push(("mean".into(), format!("{} absorbed in full, fraction {}", mean(|a| a.full), mean(|a| a.fraction))));
        }
        if !self.left.is_empty() {
            let classes = if self.left.len() == 1 { "class" } else { "classes" };
            facts.push(("left out".into(), format!("{} {classes} of fewer than {FEWEST} rows", show::count(self.left.len()))));
        }
        facts.push(("time".into(), show::seconds(seconds)));
        out.push('\n');
        out + &show::pairs(&facts)
    }
}
