//! The page of `mereo inspect --output`.

use super::latents::Latents;
use crate::show;
use mereo::bundle::Bundle;
use mereo::measure;
use mereo_report::{Bars, Block, Document, Plate, Plot, Section, Table};

/// Latents that the table has.
const LISTED: usize = 100;
/// Atoms of a picture.
const DRAWN: usize = 256;
/// Bars of a histogram.
const BARS: usize = 40;

/// The page of a model: its latents if it has some, and its atoms.
pub fn page(
    bundle: &Bundle,
    latents: Option<&Latents>,
    facts: Vec<String>,
    summary: &[(String, String)],
    strongest: &dyn Fn(usize) -> String,
) -> Document {
    let rows = summary.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    let table = Table { header: vec!["measure".into(), String::new()], rows, words: vec![1], ..Table::default() };
    let mut sections = vec![Section { title: "In numbers".into(), note: String::new(), blocks: vec![Block::Table(table)] }];
    sections.extend(latents.map_or(Vec::new(), |l| of_latents(l, strongest)));
    let atoms = bundle.model.atoms();
    let order = latents.map_or_else(|| (0..atoms.rows).collect(), Latents::order);
    if bundle.about.image.is_some() || latents.is_none() {
        let shown: Vec<usize> = order.into_iter().take(DRAWN).collect();
        let mut drawn = mereo::Mat::zeros(shown.len(), atoms.cols);
        shown.iter().enumerate().for_each(|(to, from)| drawn.row_mut(to).copy_from_slice(atoms.row(*from)));
        let first = if drawn.rows < atoms.rows {
            format!("The first {} of {} atoms", drawn.rows, atoms.rows)
        } else {
            "Every atom".into()
        };
        let by = if latents.is_some() { ", those most often alive first" } else { "" };
        let plate =
            Plate { title: bundle.model.method().to_uppercase(), atoms: drawn, image: bundle.about.image, under: Vec::new() };
        sections.push(Section {
            title: "Atoms".into(),
            note: format!("{first}{by}; numbers above zero go to black, below zero to red, each by its own largest."),
            blocks: vec![Block::Plates(vec![plate])],
        });
    }
    let what = if latents.is_some() { "latents" } else { "atoms" };
    Document {
        title: format!("{} {what} of {}", show::count(atoms.rows), bundle.about.data),
        facts,
        sections,
        command: show::typed(std::env::args_os()),
        ..Document::default()
    }
}

fn of_latents(l: &Latents, strongest: &dyn Fn(usize) -> String) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut charts = Vec::new();
    let alive: Vec<f64> = l.density.iter().filter(|v| **v > 0.0).map(|v| v.log10()).collect();
    if !alive.is_empty() {
        let low = alive.iter().copied().fold(0.0, f64::min).floor().min(-1.0);
        charts.push(histogram("How often a latent is alive", "share of rows, as a power of ten", &alive, (low, 0.0)));
    }
    charts.push(histogram("Encoder and decoder", "cosine of a latent's two rows", &l.encoder_decoder, range(&l.encoder_decoder)));
    let near = l.near();
    if !near.is_empty() {
        charts.push(histogram("The nearest other latent", "largest cosine of decoder rows", &near, range(&near)));
    }
    let dead = l.density.iter().filter(|v| **v == 0.0).count();
    let first = if l.density.is_empty() {
        String::new()
    } else {
        format!(
            " {} of {} are alive on no row, and left out of the first picture.",
            show::count(dead),
            show::count(l.density.len())
        )
    };
    let note = format!("Each latent counts once.{first}");
    sections.push(Section { title: "How latents are spread".into(), note, blocks: vec![Block::Bars(charts)] });
    if !l.multi_k.is_empty() {
        let points = l.multi_k.iter().map(|at| (at.k as f64, at.fvu)).collect();
        let plot = fvu("Error against the number alive", "latents alive on a row (k)", points);
        sections.push(Section {
            title: "Other numbers alive".into(),
            note: "The same weights with another k: a model whose error goes on falling beyond its own serves several budgets (Multi-TopK).".into(),
            blocks: vec![Block::Plots(vec![plot])],
        });
    }
    if !l.prefixes.is_empty() {
        let points = l.prefixes.iter().map(|at| (at.latents as f64, at.fvu)).collect();
        let plot = fvu("Error of each prefix", "first latents", points);
        sections.push(Section {
            title: "Nested prefixes".into(),
            note: "Each prefix of the latents rebuilds rows by itself (Matryoshka): the first hold what is coarse.".into(),
            blocks: vec![Block::Plots(vec![plot])],
        });
    }
    let (header, rows) = l.table(LISTED, strongest);
    let words = vec![header.len() - 1];
    let header = header.into_iter().map(String::from).collect();
    sections.push(Section {
        title: "Latents that are alive most often".into(),
        note: "Share of rows; cosine of the rows of encoder and decoder; the other latent with the most similar decoder row; columns of the largest weights.".into(),
        blocks: vec![Block::Table(Table { header, rows, words, ..Table::default() })],
    });
    sections
}

/// A curve of FVU with a tick at each of its points.
fn fvu(title: &str, x: &str, points: Vec<(f64, f64)>) -> Plot {
    Plot {
        title: title.into(),
        x: x.into(),
        y: "FVU".into(),
        log: (true, false),
        ticks: Some(points.iter().map(|(x, _)| *x).collect()),
        lines: vec![("FVU".into(), points)],
        ..Plot::default()
    }
}

fn histogram(title: &str, x: &str, values: &[f64], range: (f64, f64)) -> Bars {
    Bars {
        title: title.into(),
        x: x.into(),
        y: "latents".into(),
        range,
        heights: measure::bins(values.iter().copied(), range, BARS).iter().map(|n| *n as f64).collect(),
    }
}

/// Tenths around all values.
fn range(values: &[f64]) -> (f64, f64) {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let (low, high) = ((low * 10.0).floor() / 10.0, (high * 10.0).ceil() / 10.0);
    if high > low { (low, high) } else { (low, low + 0.1) }
}
