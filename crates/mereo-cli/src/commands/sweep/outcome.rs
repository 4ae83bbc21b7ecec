//! What is told of a sweep: a table, a document, and lines on standard output.

use super::{DOCUMENT, TABLE};
use crate::args::Global;
use crate::commands::scaling::points::{Measured, best};
use crate::failure::{Failure, Result};
use crate::{load, output, show};
use mereo::bundle::Bundle;
use mereo::fold::Fitted;
use mereo::measure::ErrorSums;
use mereo::prepare::Recipe;
use mereo::sae::{Sae, SaeModel};
use mereo::source::Source;
use mereo::{Missing, Rows, store};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// One fit of the sweep: a row of the table.
#[derive(Debug, Serialize)]
pub struct Ran {
    pub latents: usize,
    pub k: usize,
    pub lr: f64,
    pub seed: u64,
    pub passes: Option<usize>,
    pub loss: Option<f64>,
    /// FVU of the rows that were fitted.
    pub fvu: Option<f64>,
    /// FVU of those held out.
    pub test_fvu: Option<f64>,
    /// Of the last pass.
    pub l0: Option<f64>,
    /// Share of the latents that were dead at its end.
    pub dead: Option<f64>,
    /// Its own share of the time.
    pub seconds: f64,
    pub file: Option<String>,
    /// Why there is no model.
    pub reason: Option<String>,
}

impl Ran {
    /// One that is to be done.
    pub fn new(method: &Sae, cols: usize) -> Self {
        let (latents, lr) = method.chosen(cols);
        let (k, seed) = (method.k, method.seed);
        // As typed, or four digits of the default.
        let shown = method.lr.map_or_else(|| show::number(lr), |lr| lr.to_string());
        Self {
            latents,
            k,
            lr,
            seed,
            passes: None,
            loss: None,
            fvu: None,
            test_fvu: None,
            l0: None,
            dead: None,
            seconds: 0.0,
            file: Some(format!("n{latents}-k{k}-lr{shown}-s{seed}.mereo")),
            reason: None,
        }
    }

    /// What came of it.
    pub fn told(&mut self, fitted: &Fitted<SaeModel>) {
        self.passes = Some(fitted.curve.len());
        if let Some(last) = fitted.curve.last() {
            self.loss = Some(last.loss);
            self.l0 = last.used.map(|u| u.l0);
            self.dead = last.used.map(|u| u.dead);
        }
    }
}

/// All that is told of a sweep.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub data: String,
    pub rows: usize,
    pub held_out: usize,
    pub cols: usize,
    pub prep: Vec<Recipe>,
    /// What all fits share.
    pub params: serde_json::Value,
    pub fits: Vec<Ran>,
    /// Which length of a step did best for each number of latents and k, if there were several.
    pub best: Vec<BestStep>,
    pub seconds: f64,
    pub output: String,
    pub checkpoint: Option<String>,
}

/// The length of a step that did best for a size.
#[derive(Debug, Serialize)]
pub struct BestStep {
    pub latents: usize,
    pub k: usize,
    pub lr: Option<f64>,
    /// Mean over seeds of what decided: the FVU of rows held out, of rows fitted, or the loss, the first that is known.
    pub loss: f64,
    pub seeds: usize,
}

/// Fills in the FVU of every model on the same rows, which are read once.
pub fn measure(
    bundles: &[(usize, Bundle)],
    rows: &dyn Source,
    fits: &mut [Ran],
    at: fn(&mut Ran) -> &mut Option<f64>,
) -> mereo::Result<()> {
    let mut sums = vec![ErrorSums::new(rows.cols()); bundles.len()];
    let width = bundles.iter().map(|(_, b)| b.model.atoms().rows).max().unwrap_or(0).max(rows.cols());
    load::each_piece(rows, width, Missing::None, |x: &Rows| {
        bundles.iter().zip(&mut sums).try_for_each(|((_, b), sums)| {
            let back = b.model.decode_like(&b.model.encode(x)?, x)?;
            sums.add(x, back)
        })
    })?;
    for ((i, _), sums) in bundles.iter().zip(sums) {
        *at(&mut fits[*i]) = Some(sums.errors()?.fvu);
    }
    Ok(())
}

/// The parameters but for what is listed.
pub fn shared(method: &Sae) -> serde_json::Value {
    let mut params = serde_json::to_value(method).unwrap_or_default();
    if let Some(fields) = params.as_object_mut() {
        fields.retain(|name, _| !["latents", "k", "lr", "seed"].contains(&name.as_str()));
    }
    params
}

impl Outcome {
    /// Says which length of a step was best, if there were several.
    pub fn choose(&mut self) {
        let known = |of: fn(&Ran) -> Option<f64>| self.fits.iter().any(|f| of(f).is_some());
        let of: fn(&Ran) -> Option<f64> = match (known(|f| f.test_fvu), known(|f| f.fvu)) {
            (true, _) => |f| f.test_fvu,
            (_, true) => |f| f.fvu,
            _ => |f| f.loss,
        };
        let points: Vec<Measured> =
            self.fits.iter().map(|f| Measured { latents: f.latents, k: f.k, lr: Some(f.lr), loss: of(f) }).collect();
        let chosen = best(&points).into_iter().filter(|b| b.tried > 1);
        self.best =
            chosen.map(|b| BestStep { latents: b.latents, k: b.k, lr: b.lr, loss: b.mean(), seeds: b.losses.len() }).collect();
    }

    /// Writes the table and the document.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let fail = |e: &dyn std::fmt::Display| Failure::other(format!("{TABLE}: {e}"));
        let mut table = csv::Writer::from_writer(Vec::new());
        self.fits.iter().try_for_each(|ran| table.serialize(ran)).map_err(|e| fail(&e))?;
        let table = table.into_inner().map_err(|e| fail(&e))?;
        let document = serde_json::to_vec_pretty(self).map_err(|e| fail(&e))?;
        for (name, bytes) in [(TABLE, table), (DOCUMENT, document)] {
            output::keep(&folder.join(name), "the table", |path| store::write_whole(path, |file| file.write_all(&bytes)))?;
        }
        Ok(())
    }

    /// Prints the table, or the document.
    pub fn print(&self, global: &Global) -> Result<()> {
        if global.json {
            return show::json(self);
        }
        let number = |v: Option<f64>| v.map_or("–".into(), show::number);
        let held = self.held_out > 0;
        let mut header = vec!["latents", "k", "lr", "seed", "passes", "loss", "FVU"];
        header.extend(held.then_some("held out"));
        header.extend(["L0", "dead", "time", "model"]);
        let rows: Vec<Vec<String>> = self
            .fits
            .iter()
            .map(|f| {
                let mut row = vec![f.latents.to_string(), f.k.to_string(), show::number(f.lr), f.seed.to_string()];
                row.push(f.passes.map_or("–".into(), |n| n.to_string()));
                row.extend([f.loss, f.fvu].map(number));
                row.extend(held.then(|| number(f.test_fvu)));
                row.push(number(f.l0));
                row.push(f.dead.map_or("–".into(), |v| format!("{:.1} %", 100.0 * v)));
                row.push(show::seconds(f.seconds));
                row.push(f.file.clone().unwrap_or_else(|| "diverged".into()));
                row
            })
            .collect();
        let mut text = show::table(&header, &rows, &[header.len() - 1]);
        for f in &self.fits {
            if let Some(why) = &f.reason {
                // Writing to a string can't fail.
                let _ = writeln!(text, "{} latents, k = {}, lr {}, seed {}: {why}", f.latents, f.k, show::number(f.lr), f.seed);
            }
        }
        if !self.best.is_empty() {
            let what = if held { "FVU held out" } else { "FVU" };
            let rows: Vec<Vec<String>> = self
                .best
                .iter()
                .map(|b| {
                    let lr = b.lr.map_or("–".into(), show::number);
                    vec![b.latents.to_string(), b.k.to_string(), lr, show::number(b.loss), b.seeds.to_string()]
                })
                .collect();
            text += "\n";
            text += &show::table(&["latents", "k", "best lr", what, "seeds"], &rows, &[]);
        }
        let mut last = vec![
            ("data".to_string(), format!("{}, {} rows, {} columns", self.data, show::count(self.rows), show::count(self.cols))),
            ("time".into(), show::seconds(self.seconds)),
            ("written".into(), format!("{} models, {TABLE} and {DOCUMENT} in {}", self.models(), self.output)),
        ];
        last.extend(self.checkpoint.as_ref().map(|path| ("checkpoint".to_string(), path.clone())));
        show::print(&format!("{text}\n{}", show::pairs(&last)))
    }

    fn models(&self) -> usize {
        self.fits.iter().filter(|f| f.file.is_some()).count()
    }
}
