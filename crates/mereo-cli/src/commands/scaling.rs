//! `mereo scaling`: how the loss of a sweep falls with the number of latents and with those alive, as power laws with errors.

pub mod points;
mod table;

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::subject::{self, cells};
use crate::{output, show};
use mereo::scaling::{self, Coefficient, Point, Prediction, Quality, Scaling};
use mereo_report::{Block, Document, Plot, Section, Table as Shown};
use points::{Best, Measured, best};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use table::Table;

/// Names that a table may have for what is fitted, the first one that has numbers taken.
const LOSSES: [&str; 6] = ["test_fvu", "fvu", "test_nmse", "nmse", "mse", "loss"];

/// Flags of `mereo scaling`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The folder of a sweep, or a table (.csv, .tsv, .json, .parquet) with columns latents (or n), k, and a loss.
    pub sweep: PathBuf,
    /// The column to fit [default: the first there is of test_fvu, fvu, test_nmse, nmse, mse and loss].
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Predict the loss of a size that was not fitted, such as n=12288,k=64; may be given several times.
    #[arg(long, value_name = "n=N,k=K", value_parser = size)]
    pub at: Vec<Size>,
    /// Where to write the page with the plots.
    #[arg(short, long, value_name = "FILE", default_value = "scaling.html")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  mereo scaling runs                            the laws of a sweep, and scaling.html
  mereo scaling runs --at n=24576,k=64          what a larger autoencoder would lose, with an interval
  mereo scaling losses.csv --column nmse -o nmse.html

For each k it fits L = c n^-alpha, and for all of them ln L = a + beta_k ln k + beta_n ln n + gamma ln k ln n, by least squares in logarithms. Fits of
several seeds are points of their own; of several lengths of a step the one with the least mean loss is taken for each size.";

/// A size to predict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    latents: usize,
    k: usize,
}

fn size(text: &str) -> std::result::Result<Size, String> {
    let (mut latents, mut k) = (None, None);
    for part in text.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim() {
            "n" | "latents" => latents = Some(crate::args::positive(value)?),
            "k" => k = Some(crate::args::positive(value)?),
            _ => return Err("write the latents and how many are alive, such as n=12288,k=64".into()),
        }
    }
    match (latents, k) {
        (Some(latents), Some(k)) => Ok(Size { latents, k }),
        _ => Err("write both, such as n=12288,k=64".into()),
    }
}

/// Fits the laws, prints them and writes the page.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let table = Table::open(&args.sweep)?;
    output::check(&args.output, &[&table.path])?;
    let (loss, measured) = measured(&table, args.column.as_deref())?;
    let sizes = best(&measured);
    let all: Vec<Point> =
        sizes.iter().flat_map(|b| b.losses.iter().map(|&loss| Point { latents: b.latents, k: b.k, loss })).collect();
    let law = scaling::fit(&all)?;
    let lost = measured.iter().filter(|m| m.loss.is_none()).count();
    if lost > 0 {
        global.say(format_args!("note: {lost} fits without a loss are left out"));
    }
    let predicted: Vec<Predicted> = args.at.iter().map(|&at| Predicted::new(&law, at)).collect();
    let mut page = Document {
        title: format!("Scaling of {}", args.sweep.file_name().unwrap_or(args.sweep.as_os_str()).to_string_lossy()),
        facts: vec![format!("{} fits of {} sizes · {}", show::count(all.len()), sizes.len(), words(&loss))],
        summary: summary(&law, &sizes),
        command: show::typed(std::env::args_os()),
        made: vec![("Table".into(), table.path.display().to_string())],
        ..Document::default()
    };
    page.left_out.extend(law.no_joint.clone());
    page.sections.push(Section {
        title: "The loss".into(),
        note:
            "Points are fits, dashed the laws. On the left that of each k alone; on the right the joint one, where there is one."
                .into(),
        blocks: vec![Block::Plots(plots(&law, &sizes, words(&loss)))],
    });
    if !predicted.is_empty() {
        page.sections.push(Section {
            title: "Predictions".into(),
            note: "An interval holds the loss of a new fit in 95 of 100 cases, if the law holds there.".into(),
            blocks: vec![Block::Table(predictions(&predicted))],
        });
    }
    page.sections.extend(coefficients(&law));
    page.sections.push(Section {
        title: "Residuals".into(),
        note: "How far the mean loss of each size is above its law, as a share of it.".into(),
        blocks: vec![Block::Table(residuals(&law, &sizes))],
    });
    let told: Vec<_> = sizes
        .iter()
        .map(
            |b| json!({ "latents": b.latents, "k": b.k, "lr": b.lr, "lrs_tried": b.tried, "losses": b.losses, "loss": b.mean() }),
        )
        .collect();
    let json = json!({ "loss": loss, "points": told, "lines": law.lines, "joint": law.joint, "no_joint": law.no_joint, "predictions": predicted });
    subject::publish(&page, &args.output, global, json)
}

/// The fits of a table, and the name of their loss.
fn measured(table: &Table, asked: Option<&str>) -> Result<(String, Vec<Measured>)> {
    let shown = table.path.display();
    let there = || format!("it has {}", table.names.join(", "));
    let need = |names: &[&str], what: &str| {
        table
            .column(names)
            .ok_or_else(|| Failure::other(format!("{shown} has no column of numbers `{}` with {what}; {}", names[0], there())))
    };
    let (n, k) = (need(&["latents", "n", "atoms"], "the number of latents")?, need(&["k", "l0"], "how many are alive")?);
    let loss = match asked {
        Some(name) => need(&[name], "the loss")?,
        None => table.column(&LOSSES).ok_or_else(|| {
            Failure::other(format!(
                "{shown} has none of the columns {}; --column says which one is the loss, {}",
                LOSSES.join(", "),
                there()
            ))
        })?,
    };
    let lr = table.column(&["lr"]);
    let mut out = Vec::new();
    for (i, row) in table.rows.iter().enumerate() {
        let at = |column: usize| row.get(column).copied().flatten();
        let whole = |column: usize| {
            at(column).filter(|v| *v >= 1.0 && v.fract() == 0.0).map(|v| v as usize).ok_or_else(|| {
                Failure::other(format!(
                    "{shown}: row {} has no whole number from 1 in `{}`; correct it or leave it out",
                    i + 1,
                    table.names[column]
                ))
            })
        };
        out.push(Measured { latents: whole(n)?, k: whole(k)?, lr: lr.and_then(at), loss: at(loss) });
    }
    Ok((table.names[loss].clone(), out))
}

/// A loss in words.
fn words(column: &str) -> &str {
    match column {
        "test_fvu" => "FVU of rows held out",
        "fvu" => "FVU",
        "test_nmse" => "nMSE of rows held out",
        "nmse" => "nMSE",
        "mse" => "MSE",
        other => other,
    }
}

/// What the laws say of a size.
#[derive(Debug, Serialize)]
struct Predicted {
    #[serde(flatten)]
    at: Size,
    /// By the law of its k, if that was fitted.
    line: Option<Prediction>,
    joint: Option<Prediction>,
}

impl Predicted {
    fn new(law: &Scaling, at: Size) -> Self {
        let line = law.lines.iter().find(|l| l.k == at.k).map(|l| l.at(at.latents as f64));
        Self { at, line, joint: law.joint.as_ref().map(|j| j.at(at.latents as f64, at.k as f64)) }
    }
}

fn summary(law: &Scaling, sizes: &[Best]) -> Vec<String> {
    let alphas: Vec<f64> = law.lines.iter().map(|l| l.alpha.value).collect();
    let (least, most) = alphas.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let mut out = vec![match law.lines.as_slice() {
        [line] => format!("At k = {} the loss goes as n^{}.", line.k, minus(-line.alpha.value, 3)),
        _ => format!("The loss goes as n^{} to n^{}, by k.", minus(-least, 3), minus(-most, 3)),
    }];
    if let Some(joint) = &law.joint {
        out.push(format!(
            "Together, ln L = {} {} ln k {} ln n {} ln k ln n, to {:.1} % of a loss on the mean.",
            minus(joint.a.value, 3),
            signed(joint.beta_k.value, 3),
            signed(joint.beta_n.value, 3),
            signed(joint.gamma.value, 4),
            100.0 * joint.quality.rms
        ));
    }
    if sizes.iter().any(|b| b.tried > 1) {
        out.push("Of several lengths of a step the best one is taken for each size.".into());
    }
    out
}

/// A number with a sign that reads as one: `−0.123`.
fn minus(v: f64, places: usize) -> String {
    format!("{v:.places$}").replace('-', "−")
}

/// A term of a sum: `− 0.300`.
fn signed(v: f64, places: usize) -> String {
    format!("{} {:.places$}", if v < 0.0 { "−" } else { "+" }, v.abs())
}

/// Points of each k over n, and of each n over k, with their laws.
fn plots(law: &Scaling, sizes: &[Best], loss: &str) -> Vec<Plot> {
    let distinct = |of: fn(&Best) -> usize| {
        let mut all: Vec<usize> = sizes.iter().map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (ks, ns) = (distinct(|b| b.k), distinct(|b| b.latents));
    let dots = |own: &dyn Fn(&Best) -> bool, x: fn(&Best) -> usize| -> Vec<(f64, f64)> {
        let mut points: Vec<&Best> = sizes.iter().filter(|b| own(b)).collect();
        points.sort_by_key(|b| x(b));
        points.iter().flat_map(|b| b.losses.iter().map(move |&loss| (x(b) as f64, loss))).collect()
    };
    let course = |along: &[usize], at: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
        let (from, to) = (along[0] as f64, along[along.len() - 1] as f64);
        (0..=24).map(|i| from * (to / from).powf(f64::from(i) / 24.0)).map(|x| (x, at(x))).collect()
    };
    let plot = |title: &str, x: &str, ticks: &[usize]| Plot {
        title: title.into(),
        x: x.into(),
        y: loss.into(),
        log: (true, true),
        ticks: Some(ticks.iter().map(|&v| v as f64).collect()),
        ..Plot::default()
    };
    let over_n = Plot {
        dots: ks.iter().map(|&k| (format!("k = {k}"), dots(&|b| b.k == k, |b| b.latents))).collect(),
        guides: law.lines.iter().map(|l| (String::new(), course(&ns, &|n| l.at(n).loss))).collect(),
        ..plot("By latents", "latents (n)", &ns)
    };
    if ks.len() < 2 {
        return vec![over_n];
    }
    let joint = law.joint.as_ref();
    let over_k = Plot {
        dots: ns.iter().map(|&n| (format!("n = {n}"), dots(&|b| b.latents == n, |b| b.k))).collect(),
        guides: joint.map_or(vec![], |j| ns.iter().map(|&n| (String::new(), course(&ks, &|k| j.at(n as f64, k).loss))).collect()),
        ..plot("By latents alive", "latents alive on a row (k)", &ks)
    };
    vec![over_n, over_k]
}

/// A number and its standard error, to the digits that the error leaves.
fn with_error(c: Coefficient) -> Vec<String> {
    let places = c.error.filter(|e| *e > 0.0).map_or(4, |e| (2.0 - e.log10().floor()).clamp(3.0, 7.0) as usize);
    vec![format!("{:.places$}", c.value), c.error.map_or("–".into(), |e| format!("{e:.places$}"))]
}

fn quality(q: &Quality) -> [String; 3] {
    [format!("{:.4}", q.r2), format!("{:.4}", q.rms), q.points.to_string()]
}

fn coefficients(law: &Scaling) -> Vec<Section> {
    let rows = law.lines.iter().map(|l| {
        let mut row = vec![l.k.to_string(), show::number(l.ln_c.value.exp())];
        row.extend([l.ln_c, l.alpha].into_iter().flat_map(with_error));
        row.extend(quality(&l.quality));
        row
    });
    let mut sections = vec![Section {
        title: "L = c·n^−α, at each k".into(),
        note: "± is a standard error of least squares; rms is that of ln L, which is about the relative error of a loss.".into(),
        blocks: vec![Block::Table(Shown {
            header: cells(&["k", "c", "ln c", "±", "α", "±", "R²", "rms", "fits"]),
            rows: rows.collect(),
            ..Shown::default()
        })],
    }];
    if let Some(j) = &law.joint {
        let named = [("a", j.a), ("β_k, of ln k", j.beta_k), ("β_n, of ln n", j.beta_n), ("γ, of ln k ln n", j.gamma)];
        let mut rows: Vec<Vec<String>> =
            named.into_iter().map(|(name, c)| [vec![name.to_string()], with_error(c)].concat()).collect();
        let names = ["R²", "rms", "fits"];
        rows.extend(names.iter().zip(quality(&j.quality)).map(|(name, v)| vec![(*name).to_string(), v, String::new()]));
        sections.push(Section {
            title: "ln L = a + β_k ln k + β_n ln n + γ ln k ln n".into(),
            note: String::new(),
            blocks: vec![Block::Table(Shown { header: cells(&["", "value", "±"]), rows, ..Shown::default() })],
        });
    }
    sections
}

fn predictions(all: &[Predicted]) -> Shown {
    let cell = |p: Option<Prediction>| {
        let between = |(a, b)| format!("{} to {}", show::number(a), show::number(b));
        p.map_or(["–".to_string(), "–".into()], |p| [show::number(p.loss), p.interval.map_or("–".into(), between)])
    };
    let row = |p: &Predicted| {
        let mut row = vec![p.at.latents.to_string(), p.at.k.to_string()];
        row.extend([p.line, p.joint].into_iter().flat_map(cell));
        row
    };
    Shown {
        header: cells(&["latents", "k", "by its k", "95 %", "joint", "95 %"]),
        rows: all.iter().map(row).collect(),
        ..Shown::default()
    }
}

fn residuals(law: &Scaling, sizes: &[Best]) -> Shown {
    let row = |b: &Best| {
        let said = Predicted::new(law, Size { latents: b.latents, k: b.k });
        let off = |p: Option<Prediction>| p.map_or("–".into(), |p| format!("{:+.2} %", 100.0 * (b.mean() / p.loss - 1.0)));
        let lr = b.lr.map_or("–".into(), show::number);
        vec![
            b.k.to_string(),
            b.latents.to_string(),
            lr,
            b.losses.len().to_string(),
            show::number(b.mean()),
            off(said.line),
            off(said.joint),
        ]
    };
    Shown {
        header: cells(&["k", "latents", "lr", "fits", "loss", "by its k", "joint"]),
        rows: sizes.iter().map(row).collect(),
        ..Shown::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        assert_eq!(size("n=12288,k=64"), Ok(Size { latents: 12288, k: 64 }));
        assert_eq!(size("k=4, latents=9"), Ok(Size { latents: 9, k: 4 }));
        for bad in ["", "n=12288", "12288,64", "n=0,k=4", "n=x,k=4", "n=1,k=2,m=3"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
