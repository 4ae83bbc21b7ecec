//! S11: labels of three models, and how well they foretell.

use super::grid::{Fit, Grid};
use super::{Claim, Corpus, Part, Size, line, median, three};
use crate::failure::Result;
use crate::show;
use mereo::{Csr, Mat, Rows};
use mereo_meaning::codes::OwnedBoth;
use mereo_meaning::examples::{self, Choice};
use mereo_meaning::score::{Candidate, Clean, Offline};
use mereo_meaning::terms::{self, Terms};
use mereo_meaning::words::Words;
use mereo_report::{Block, Section, Table};
use mereo_text::Encoder;

/// A named model with its codes and labels.
pub(super) struct Named {
    pub codes: OwnedBoth,
    /// Labels of the latents that were labelled.
    pub labels: Vec<Candidate>,
    /// Those of them that are worth keeping.
    pub clean: Vec<Candidate>,
}

/// Codes of all rows, in pieces.
pub(super) fn codes(fit: &Fit, x: &Mat) -> Result<OwnedBoth> {
    let mut all = Csr { rows: x.rows, cols: fit.latents, indptr: vec![0], ..Csr::default() };
    let view = x.view();
    for from in (0..x.rows).step_by(4096) {
        let z = fit.bundle.encode(&view.slice(from, (from + 4096).min(x.rows)))?;
        let Rows::Sparse(z) = z.view() else { continue };
        for i in 0..z.indptr.len() - 1 {
            let (at, values) = z.row(i);
            all.indices.extend_from_slice(at);
            all.values.extend_from_slice(values);
            all.indptr.push(all.indices.len() as u64);
        }
    }
    Ok(OwnedBoth::new(&all)?)
}

/// Labels the three named models.
pub(super) fn run(corpus: &Corpus, grid: &Grid, encoder: Option<&dyn Encoder>, size: Size) -> Result<(Vec<Named>, Part)> {
    let words = Words::new(&corpus.texts, 300)?;
    let rows = corpus.x.view();
    let mut named = Vec::new();
    for fit in grid.named() {
        let codes = codes(fit, &corpus.x)?;
        let both = codes.view();
        // A latent needs rows for its label and for its test.
        let fit_for: Vec<usize> = (0..both.latents()).filter(|&j| both.by_latent.len(j) >= 20).collect();
        let every = fit_for.len().div_ceil(size.labels).max(1);
        let latents: Vec<usize> = fit_for.into_iter().step_by(every).collect();
        let how = Choice { seed: size.seed, ..Choice::terms() };
        let examples = examples::choose(&both, &corpus.texts, Some(&rows), &latents, &how)?;
        let labels = terms::labels(&words, &examples, &Terms::default())?;
        let texts: Vec<String> = labels.iter().map(|l| l.text.clone()).collect();
        let embedded = encoder.map(|e| e.encode(&texts.iter().map(String::as_str).collect::<Vec<_>>())).transpose()?;
        let scores = Offline { words: &words, embedded: embedded.as_ref().map(|m| (&rows, m)) }.scores(&texts, &examples)?;
        let labels: Vec<Candidate> = (labels.into_iter().zip(scores))
            .map(|(l, s)| Candidate { density: both.density(l.latent), latent: l.latent, label: l.text, f1: s.f1, r: s.r })
            .collect();
        let clean = Clean::default().of(&labels);
        named.push(Named { codes, labels, clean });
    }
    let r: Vec<f64> = named.iter().map(|n| median(n.labels.iter().map(|l| l.r).collect())).collect();
    let f1: Vec<f64> = named.iter().map(|n| median(n.labels.iter().map(|l| l.f1).collect())).collect();
    let claim = Claim {
        id: "S11",
        says: "latents of smaller models are at least as easy to name",
        target: "median r of the smallest ≥ those of the larger ones (.985, .857, .866 and .707, .676, .657 there)".into(),
        found: format!("median r {}", r.iter().map(|r| three(*r)).collect::<Vec<_>>().join(", ")),
        held: r[0] >= r[1] && r[0] >= r[2],
        differs: "labels and predictions are by words, not by language models, which lowers every r.",
    };
    let fits = grid.named();
    let rows_of = fits.iter().zip(&named).zip(r.iter().zip(&f1)).map(|((fit, n), (r, f1))| {
        line(&[
            show::count(fit.latents),
            fit.k.to_string(),
            show::count(n.labels.len()),
            three(*r),
            three(*f1),
            format!("{:.0} %", 100.0 * n.clean.len() as f64 / n.labels.len().max(1) as f64),
        ])
    });
    let mut some: Vec<&Candidate> = named[0].labels.iter().collect();
    some.sort_by(|a, b| (b.f1 + b.r).total_cmp(&(a.f1 + a.r)).then(a.latent.cmp(&b.latent)));
    let shown = some.iter().filter(|l| l.r.is_finite()).step_by((some.len() / 15).max(1)).take(15);
    let labels =
        shown.map(|l| line(&[l.latent.to_string(), format!("{:.4}", l.density), three(l.f1), three(l.r), l.label.clone()]));
    let section = Section {
        title: "Labels".into(),
        note: "Labels from the words of activating texts against hard negatives; r and F1 of an offline predictor on rows that no label was made from. Below: labels of the smallest model, \
from the best to the worst."
            .into(),
        blocks: vec![
            Block::Table(Table {
                header: line(&["latents", "alive", "labelled", "median r", "median F1", "clean"].map(String::from)),
                rows: rows_of.collect(),
                ..Table::default()
            }),
            Block::Table(Table {
                header: line(&["latent", "density", "F1", "r", "label"].map(String::from)),
                rows: labels.collect(),
                words: vec![4],
                ..Table::default()
            }),
        ],
    };
    Ok((named, Part { claims: vec![claim], section }))
}
