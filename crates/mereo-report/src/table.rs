//! The table of measures: one row a measure, one column a model, one line of plain words on what each means.

use crate::ticks::{number, seconds, whole};
use maud::{Markup, html};
use mereo::compare::{Comparison, Entry};
use mereo::fold::Stop;

/// Which numbers of a row are the good ones.
#[derive(Clone, Copy, PartialEq)]
enum Better {
    Lower,
    Neither,
}

/// One row of the table.
struct Measure {
    name: &'static str,
    words: &'static str,
    better: Better,
    write: fn(f64) -> String,
    of: fn(&Entry) -> Option<f64>,
}

const fn row(name: &'static str, words: &'static str, write: fn(f64) -> String, of: fn(&Entry) -> Option<f64>) -> Measure {
    Measure { name, words, better: Better::Neither, write, of }
}

const fn lower(name: &'static str, words: &'static str, write: fn(f64) -> String, of: fn(&Entry) -> Option<f64>) -> Measure {
    Measure { name, words, better: Better::Lower, write, of }
}

fn count(v: f64) -> String {
    if v.is_finite() { whole(v.max(0.0).round() as usize) } else { number(v) }
}

/// A number between 0 and about 1, to three places.
fn unit(v: f64) -> String {
    if v.is_finite() { format!("{v:.3}").replace('-', "−") } else { number(v) }
}

/// A share as a percentage to one place.
fn share(v: f64) -> String {
    match v * 100.0 {
        v if !v.is_finite() || v >= 1e5 => format!("{} %", number(v)),
        v if v > 0.0 && v < 0.05 => "< 0.1 %".into(),
        v => format!("{v:.1} %").replace('-', "−"),
    }
}

const ERROR: &[Measure] = &[
    lower(
        "RMSE, held out",
        "Typical error of one number in rows that the model never saw, in the units of the prepared data.",
        number,
        |e| Some(e.test.as_ref()?.rmse),
    ),
    lower(
        "RMSE, training",
        "The same in the rows that it learned from; a much smaller number means that it learned them by heart.",
        number,
        |e| Some(e.train.rmse),
    ),
    lower(
        "FVU, held out",
        "Share of the variance that is left unexplained: 0 % is perfect, 100 % no better than the mean row.",
        share,
        |e| Some(e.test.as_ref()?.fvu),
    ),
    lower("FVU, training", "The same in the rows that it learned from.", share, |e| Some(e.train.fvu)),
    lower("Relative error, held out", "Length of the error over the length of the rows, all rows taken together.", share, |e| {
        Some(e.test.as_ref()?.relative)
    }),
    lower("Relative error, training", "The same in the rows that it learned from.", share, |e| Some(e.train.relative)),
    row(
        "Above PCA",
        "How far the squared error in the rows that it learned from lies above that of as many principal components, below which no sum of atoms comes.",
        share,
        |e| e.above_pca,
    ),
];

const ATOMS: &[Measure] = &[
    row(
        "Hoyer sparseness",
        "How few numbers make up an atom: 0 if all are equally large, 1 if all but one are zero.",
        unit,
        |e| Some(e.atom_measures.sparseness.mean),
    ),
    row("Close to zero", "Share of an atom's numbers that are below 1 % of its largest.", share, |e| {
        Some(e.atom_measures.small.mean)
    }),
    row("Overlap, mean |cosine|", "How alike two atoms are: 0 if they share nothing, 1 if they are the same.", unit, |e| {
        Some(e.atom_measures.overlap.mean)
    }),
    row("Spread", "How far an atom's mass lies from its centre: 1 for an evenly filled image, near 0 for a dot.", unit, |e| {
        Some(e.atom_measures.spread.as_ref()?.mean)
    }),
    row("In one piece", "Share of an atom's mass in its largest connected patch.", share, |e| {
        Some(e.atom_measures.largest.as_ref()?.mean)
    }),
    row("Dead atoms", "Atoms that are zero everywhere.", count, |e| Some(e.atom_measures.dead.len() as f64)),
    row("Duplicate atoms", "Atoms that repeat another one.", count, |e| Some(e.atom_measures.duplicates.len() as f64)),
];

const CODES: &[Measure] = &[
    row(
        "Hoyer sparseness of a row's codes",
        "How few atoms make up one row: 0 if all take part equally, 1 if one does.",
        unit,
        |e| Some(e.code_measures.row_sparseness),
    ),
    row("Hoyer sparseness of an atom's codes", "How few rows use one atom: 0 if all do equally, 1 if one does.", unit, |e| {
        Some(e.code_measures.atom_sparseness.mean)
    }),
    row("Close to zero", "Share of the codes that are below 1 % of the largest of their atom.", share, |e| {
        Some(e.code_measures.small.mean)
    }),
    row("Unused atoms", "Atoms that no row uses.", count, |e| Some(e.code_measures.dead.len() as f64)),
];

const COST: &[Measure] = &[
    row("Numbers per row", "Codes other than zero that a row needs, on average (L0).", number, |e| Some(e.code_measures.l0)),
    row(
        "Numbers stored per row",
        "All its codes; of a few among many, the index and the value of each, or the index alone where every value is 1.",
        number,
        |e| Some(e.row_numbers),
    ),
    row("Numbers in the model", "What the model file holds; rows are rebuilt from it and their codes.", count, |e| {
        Some(e.stored as f64)
    }),
    row("Time to fit", "Wall-clock time.", seconds, |e| Some(e.facts.seconds)),
    row("Passes over the data", "How often every row was looked at.", count, |e| Some(e.facts.curve.len() as f64)),
    row(
        "Last change of the loss",
        "What the last pass changed, as a share of the loss: near 0 where the fit has converged.",
        number,
        |e| e.facts.change(),
    ),
    row(
        "Gradient left",
        "How steep the loss still is where it can fall, as a share of how steep it was at the start; – where the method doesn't tell.",
        number,
        |e| e.facts.gradient(),
    ),
];

/// The whole table. A measure that no model has is left out.
pub fn measures(c: &Comparison) -> Markup {
    html! {
        div.scroll.measures style={ "--n:" (c.entries.len().max(1)) } { table {
            thead { tr {
                th scope="col" { "Measure" }
                @for (i, e) in c.entries.iter().enumerate() { th scope="col" { (crate::chart::key(i)) (e.facts.label) } }
            } }
            tbody {
                @for (title, rows) in [("Error", ERROR), ("Atoms", ATOMS), ("Codes", CODES), ("Size and cost", COST)] {
                    tr.group { th scope="rowgroup" colspan=(c.entries.len() + 1) { (title) } }
                    @for m in rows { (line(c, m)) }
                }
                tr {
                    th scope="row" { "Why it stopped" small { "It converged, the limit of passes came first, rows held out for that got no better, or someone asked." } }
                    @for e in &c.entries { td { (stop(e.facts.stop)) } }
                }
            }
        } }
    }
}

fn line(c: &Comparison, m: &Measure) -> Markup {
    let values: Vec<Option<f64>> = c.entries.iter().map(m.of).collect();
    if values.iter().all(Option::is_none) {
        return html! {};
    }
    let best =
        (m.better == Better::Lower && values.len() > 1).then(|| values.iter().flatten().copied().fold(f64::INFINITY, f64::min));
    html! {
        tr {
            th scope="row" { (m.name) small { (m.words) } }
            @for v in values { td.best[v.is_some() && v == best] { (v.map_or("–".into(), m.write)) } }
        }
    }
}

fn stop(stop: Stop) -> &'static str {
    match stop {
        Stop::Converged => "converged",
        Stop::Limit => "limit of passes",
        Stop::Cancelled => "cancelled",
        Stop::Early => "held-out rows got no better",
        Stop::Diverged => "diverged",
    }
}
