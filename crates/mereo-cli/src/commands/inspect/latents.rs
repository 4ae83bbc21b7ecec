//! What `mereo inspect` tells of a sparse autoencoder: how its latents fire, how far the encoder is from the decoder, who resembles whom.

use crate::show;
use mereo::Model;
use mereo::mat::Rows;
use mereo::measure::{self, AtK, AtPrefix, Near, SparseMeasures};
use mereo::model::Known;
use mereo::source::Source;
use serde::Serialize;

/// Rows that the curves over k and over prefixes are measured on.
const ROWS: usize = 4096;

/// Measures of all latents.
#[derive(Debug, Serialize)]
pub struct Latents {
    /// On data, in the units that the model was fitted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<SparseMeasures>,
    /// Error against the number alive, for a model that chooses latents by their number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub multi_k: Vec<AtK>,
    /// Error of each nested prefix by itself, for a model that has some (Matryoshka).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<AtPrefix>,
    /// Share of rows on which each is alive: of the data, or of the last pass of the fit.
    pub density: Vec<f64>,
    /// Cosine of its rows of encoder and decoder.
    pub encoder_decoder: Vec<f64>,
    /// The latent with the most similar decoder row.
    pub nearest: Vec<Option<Near>>,
}

impl Latents {
    /// Of a model, and of rows that are prepared for it; none for a model that isn't made of an encoder and a decoder.
    pub fn of(model: &dyn Model, prepared: Option<&dyn Source>) -> mereo::Result<Option<Self>> {
        let Some(encoder_decoder) = measure::encoder_decoder(model) else { return Ok(None) };
        let on = prepared.map(|source| measure::sparse(model, source)).transpose()?;
        let sample = prepared.map(|source| mereo::fold::draw(source, ROWS, 0)).transpose()?;
        let multi_k = sample.as_ref().map_or(Ok(Vec::new()), |x| multi_k(model, x))?;
        let prefixes = sample.as_ref().map_or(Ok(Vec::new()), |x| measure::by_prefix(model, x))?;
        let known = match model.known() {
            Some(Known::Rows(shares)) => shares,
            _ => Vec::new(),
        };
        let density = on.as_ref().map_or(known, |on| on.density.clone());
        Ok(Some(Self { on, multi_k, prefixes, density, encoder_decoder, nearest: measure::nearest(model.atoms()) }))
    }

    /// Those that are alive most often first; by number where nothing is known.
    pub fn order(&self) -> Vec<usize> {
        let density = |a: usize| self.density.get(a).copied().unwrap_or(0.0);
        let mut order: Vec<usize> = (0..self.encoder_decoder.len()).collect();
        order.sort_by(|a, b| density(*b).total_cmp(&density(*a)).then(a.cmp(b)));
        order
    }

    /// Cosines with the nearest other latent.
    pub fn near(&self) -> Vec<f64> {
        self.nearest.iter().flatten().map(|n| n.cosine).collect()
    }

    /// The header and the lines of a table of the first `count`; `strongest` names a latent's largest columns.
    pub fn table(&self, count: usize, strongest: &dyn Fn(usize) -> String) -> (Vec<&'static str>, Vec<Vec<String>>) {
        let mut header = vec!["latent", "alive"];
        if self.on.is_some() {
            header.extend(["mean code", "largest"]);
        }
        header.extend(["encoder·decoder", "nearest", "cosine", "strongest"]);
        let rows = self.order().into_iter().take(count).map(|a| {
            let mut row = vec![a.to_string(), self.density.get(a).map_or("–".into(), |v| percent(*v))];
            if let Some(on) = &self.on {
                row.extend([show::number(on.mean[a]), show::number(f64::from(on.top[a]))]);
            }
            row.push(format!("{:.3}", self.encoder_decoder[a]));
            match self.nearest[a] {
                Some(near) => row.extend([near.atom.to_string(), format!("{:.3}", near.cosine)]),
                None => row.extend(["–".into(), "–".into()]),
            }
            row.push(strongest(a));
            row
        });
        (header, rows.collect())
    }

    /// Names and values for the summary.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut say = |name: &str, value: String| rows.push((name.into(), value));
        if let Some(on) = &self.on {
            say("L0", format!("{} latents alive on a row, s.d. {}", show::number(on.l0), show::number(on.l0_sd)));
            say("L1", show::number(on.l1));
            say(
                "explained",
                format!(
                    "{:.4} of the variance; {:.4} of that of a row, {:.4} of that of a column, on the mean",
                    on.explained, on.explained_by_row, on.explained_by_column
                ),
            );
            say("MSE", show::number(on.mse));
            say("rebuilt rows", format!("cosine {:.4}, length {:.4} of the row's, bias {:.4}", on.cosine, on.length, on.bias));
            say(
                "firing",
                format!(
                    "{} dead; {} alive on more than 1 % of the rows, {} on more than 10 %",
                    percent(on.dead),
                    percent(on.dense_1),
                    percent(on.dense_10)
                ),
            );
        } else if !self.density.is_empty() {
            let dead = self.density.iter().filter(|v| **v == 0.0).count() as f64 / self.density.len() as f64;
            let l0: f64 = self.density.iter().sum();
            say("last pass", format!("L0 {}, {} dead", show::number(l0), percent(dead)));
        }
        if let Some(median) = self.median_density() {
            say("density", format!("{} of the rows, the median of those alive (10^{:.2})", percent(median), median.log10()));
        }
        let spread = |values: &[f64]| {
            let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            format!("mean {mean:.3}, from {low:.3} to {high:.3}")
        };
        say("encoder·decoder", format!("cosine of a latent's two rows: {}", spread(&self.encoder_decoder)));
        let near = self.near();
        if !near.is_empty() {
            say("nearest", format!("cosine with the most similar other latent: {}", spread(&near)));
        }
        if !self.multi_k.is_empty() {
            let at: Vec<String> = self.multi_k.iter().map(|at| format!("{} at {}", show::number(at.fvu), at.k)).collect();
            say("FVU by k", at.join(", "));
        }
        if !self.prefixes.is_empty() {
            let at: Vec<String> =
                self.prefixes.iter().map(|at| format!("{} of the first {}", show::number(at.fvu), at.latents)).collect();
            say("FVU by prefix", at.join(", "));
        }
        rows
    }

    /// The median density of the latents that are not dead.
    pub fn median_density(&self) -> Option<f64> {
        let mut alive: Vec<f64> = self.density.iter().copied().filter(|v| *v > 0.0).collect();
        alive.sort_by(f64::total_cmp);
        alive.get(alive.len() / 2).copied()
    }
}

/// A quarter, a half, twice and four times the number alive.
fn multi_k(model: &dyn Model, x: &Rows) -> mereo::Result<Vec<AtK>> {
    let Some(k) = alive(model, x)? else { return Ok(Vec::new()) };
    measure::multi_k(model, x, &[k.div_ceil(4), k.div_ceil(2), k, 2 * k, 4 * k])
}

/// The number that the model chooses: what most rows have alive.
fn alive(model: &dyn Model, x: &Rows) -> mereo::Result<Option<usize>> {
    let some = x.slice(0, x.rows().min(256));
    if model.encode_at(&some, 1)?.is_none() {
        return Ok(None);
    }
    let z = model.encode(&some)?;
    let Rows::Sparse(z) = z.view() else { return Ok(None) };
    Ok((0..z.rows()).map(|i| z.row(i).1.len()).max().filter(|k| *k > 0))
}

/// A share in percent.
fn percent(v: f64) -> String {
    match v * 100.0 {
        v if v > 0.0 && v < 0.095 => format!("{} %", show::number(v)),
        v => format!("{v:.1} %"),
    }
}
