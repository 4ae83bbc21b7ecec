//! `mereo inspect`: what a model learned, atom by atom, and how it does on data.

mod latents;
mod page;

use crate::args::{Global, Reading};
use crate::failure::Result;
use crate::stop::{self, Stoppable};
use crate::{load, output, show};
use latents::Latents;
use mereo::bundle::Bundle;
use mereo::fold;
use mereo::mat::{Mat, Rows};
use mereo::measure::{self, AtomMeasures, CodeMeasures, Errors, Recovery};
use mereo::model::{Codes, Known};
use mereo::prepare::Prepared;
use mereo::source::Source;
use mereo::store;
use serde::Serialize;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Flags of `mereo inspect`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A model that `mereo fit` wrote.
    pub model: PathBuf,
    /// Also tell the model's errors on this data, and how much each atom is used there.
    #[arg(long, value_name = "DATA")]
    pub data: Option<OsString>,
    /// Also tell how well these atoms were found: rows of a file, or the atoms of another model, in the units that the model was fitted in.
    #[arg(long, value_name = "ATOMS")]
    pub truth: Option<OsString>,
    /// How many of an atom's strongest columns to name.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
    /// How many latents of a sparse autoencoder to list, those that are alive most often first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub list: usize,
    /// Also write a page with pictures: how latents are spread, error against the number alive, atoms.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
}

const EXAMPLES: &str = "\
Examples:
  mereo inspect faces.mereo
  mereo inspect faces.mereo --data faces --json
  mereo inspect sae.mereo --data e.npy -o sae.html   latents of a sparse autoencoder, and a page that opens offline
  mereo inspect sae.mereo --truth planted.npy        how many of these atoms were found; another model's atoms, too

The columns of the table:
  variance    share of the variance of the fitted rows that the atom explains (pca)
  rows        share of the fitted rows that were the atom's own (vq), or that it was alive on (sae, with --json)
  share       part of the energy of codes x atoms that the atom carries (with --data)
  norm        Euclidean length of the atom
  sparseness  Hoyer's: 0 for an atom of equal values, 1 for a single value
  small       share of values below 1 % of the atom's largest
  one piece   share of an image atom that lies in its largest connected component
  used        share of rows that the atom is active in (with --data)
  strongest   columns of the largest values, by name, number or pixel (row,column); a minus marks negative values

Of a sparse autoencoder:
  alive            share of rows on which the latent's code is above 0: of the data, or of the last pass of the fit
  mean, largest    of its codes where it is alive (with --data)
  encoder·decoder  cosine of its rows of encoder and decoder
  nearest          the other latent with the most similar decoder row, and the cosine of the two";

/// What was measured of all rows of some data.
#[derive(Debug, Serialize)]
struct OnData {
    data: String,
    /// In the units that the model was fitted in.
    errors: Errors,
    codes: CodeMeasures,
    share: Vec<f64>,
    #[serde(skip)]
    latents: Option<Latents>,
}

/// Shows a model.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let bundle = load::model(&args.model)?;
    if let Some(page) = &args.output {
        let mut inputs = vec![args.model.as_path()];
        inputs.extend(args.data.as_ref().and_then(|data| load::file(data)));
        output::check(page, &inputs)?;
    }
    let atoms = bundle.model.atoms();
    let measures = measure::atoms(atoms, bundle.about.image);
    let mut on = match &args.data {
        None => None,
        Some(data) => {
            let data = load::open(data, &args.reading.with(bundle.model.missing()))?;
            stop::on_request("stopping at the next block", global.quiet);
            let source = Stoppable::new(data.source.as_ref());
            Some(observe(&bundle, &source, data.name, args.reading.memory).map_err(|e| stop::or(e, "nothing was measured"))?)
        }
    };
    let known = bundle.model.known();
    let truth = args.truth.as_ref().map(|truth| found(atoms, truth, &args.reading)).transpose()?;
    let latents = match &mut on {
        Some(on) => on.latents.take(),
        None => Latents::of(bundle.model.as_ref(), None)?,
    };
    let table: Vec<Atom> =
        (0..atoms.rows).map(|a| Atom::new(a, &bundle, &measures, known.as_ref(), on.as_ref(), args.top)).collect();
    let words = |a: usize| spoken(&table[a].strongest);
    let mut told = summary(&measures, known.as_ref(), on.as_ref(), latents.is_some());
    told.extend(latents.iter().flat_map(Latents::lines));
    told.extend(truth.as_ref().map(Found::line));
    if let Some(path) = &args.output {
        let facts = lines(&args.model, &bundle).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let page = page::page(&bundle, latents.as_ref(), facts, &told, &words).html();
        output::keep(path, "the page", |path| store::write_whole(path, |file| file.write_all(page.as_bytes())))?;
        told.push(("page".into(), path.display().to_string()));
    }
    if global.json {
        return show::json(&json!({
            "model": described(&args.model, &bundle), "atoms": table,
            "dead": measures.dead, "duplicates": measures.duplicates,
            "mean": means(&measures), "on": on, "latents": latents, "truth": truth,
        }));
    }
    let mut text = show::pairs(&lines(&args.model, &bundle));
    text += "\n";
    text += &latents.as_ref().map_or_else(|| drawn(&table), |l| listed(l, args.list, &words));
    text += "\n";
    text += &show::pairs(&told);
    show::print(&text)
}

/// Says how a model was made, for `mereo info`.
pub fn about(path: &Path, global: &Global) -> Result<()> {
    let bundle = Bundle::load(path)?;
    if global.json { show::json(&described(path, &bundle)) } else { show::print(&show::pairs(&lines(path, &bundle))) }
}

/// All that the file remembers, as JSON.
fn described(path: &Path, bundle: &Bundle) -> Value {
    let about = &bundle.about;
    json!({
        "file": path.display().to_string(), "what": "model", "method": bundle.model.method(), "atoms": bundle.model.atoms().rows,
        "cols": about.shape.cols, "rows": about.shape.rows, "data": about.data, "image": about.image, "columns": about.columns,
        "prep": bundle.pipeline.recipes(), "params": about.params, "curve": about.curve, "stop": about.stop,
        "version": about.version, "change": mereo::compare::last_change(about.curve.iter().copied()), "gradients": about.gradients,
    })
}

fn lines(path: &Path, bundle: &Bundle) -> Vec<(String, String)> {
    let about = &bundle.about;
    let prep: Vec<&str> = bundle.pipeline.recipes().iter().map(|r| r.name()).collect();
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    let mut rows = vec![
        ("what".into(), format!("model of {}, written by mereo {}, {}", bundle.model.method(), about.version, show::bytes(size))),
        ("atoms".into(), format!("{} of {} columns", bundle.model.atoms().rows, show::count(about.shape.cols))),
    ];
    // A model that another library fitted knows neither rows nor passes.
    let fitted = about.shape.rows > 0;
    let rows_of = if fitted { format!(", {} rows", show::count(about.shape.rows)) } else { String::new() };
    rows.push(("learned from".into(), format!("{}{rows_of}", about.data)));
    if let Some((h, w)) = about.image {
        rows.push(("image".into(), format!("{h}x{w} (height x width)")));
    }
    if !prep.is_empty() {
        rows.push(("prepared".into(), prep.join(", ")));
    }
    rows.push(("parameters".into(), super::params_line(&about.params)));
    if fitted {
        rows.push(("passes".into(), format!("{}, {}", about.curve.len(), super::ended(about.stop, &about.params))));
    }
    if let Some(loss) = about.curve.last() {
        rows.push(("loss".into(), show::number(*loss)));
    }
    rows.extend(super::course(&about.curve, about.gradients.last().copied()));
    rows
}

/// One atom's line.
#[derive(Debug, Serialize)]
struct Atom {
    #[serde(rename = "atom")]
    number: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    variance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<f64>,
    share: Option<f64>,
    norm: f64,
    sparseness: f64,
    small: f64,
    one_piece: Option<f64>,
    used: Option<f64>,
    strongest: Vec<Strong>,
}

/// One of an atom's largest values.
#[derive(Debug, Serialize)]
struct Strong {
    column: usize,
    name: String,
    value: f32,
}

impl Atom {
    fn new(a: usize, bundle: &Bundle, measures: &AtomMeasures, known: Option<&Known>, on: Option<&OnData>, top: usize) -> Self {
        let row = bundle.model.atoms().row(a);
        let strongest = strongest(row, top).into_iter().map(|j| Strong { column: j, name: name(j, bundle), value: row[j] });
        Self {
            number: a,
            variance: if let Some(Known::Variance(shares)) = known { shares.get(a).copied() } else { None },
            rows: if let Some(Known::Rows(shares)) = known { shares.get(a).copied() } else { None },
            share: on.map(|on| on.share[a]),
            norm: norm(row),
            sparseness: measures.sparseness.each[a],
            small: measures.small.each[a],
            one_piece: measures.largest.as_ref().map(|m| m.each[a]),
            used: on.map(|on| on.codes.usage[a]),
            strongest: strongest.collect(),
        }
    }
}

fn norm(row: &[f32]) -> f64 {
    row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// The columns of the largest |values| other than 0, falling; ties by number.
fn strongest(row: &[f32], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).filter(|&j| row[j] != 0.0).collect();
    let falling = |a: &usize, b: &usize| row[*b].abs().total_cmp(&row[*a].abs()).then(a.cmp(b));
    if order.len() > top && top > 0 {
        order.select_nth_unstable_by(top - 1, falling);
    }
    order.truncate(top);
    order.sort_unstable_by(falling);
    order
}

/// What a column is called: by name, by its pixel, or by number.
fn name(column: usize, bundle: &Bundle) -> String {
    match (&bundle.about.columns, bundle.about.image) {
        (Some(names), _) if column < names.len() => names[column].clone(),
        (_, Some((_, w))) if w > 0 => format!("{},{}", column / w, column % w),
        _ => column.to_string(),
    }
}

/// How well given atoms were found.
#[derive(Debug, Serialize)]
struct Found {
    atoms: usize,
    #[serde(flatten)]
    recovery: Recovery,
}

impl Found {
    fn line(&self) -> (String, String) {
        let Recovery { cosine, recovered, one_to_one } = self.recovery;
        let how = if one_to_one { "matched one to one" } else { "each with its nearest" };
        (
            "truth".into(),
            format!("{:.1} % of {} atoms found above cosine .95; mean cosine {cosine:.3}, {how}", recovered * 100.0, self.atoms),
        )
    }
}

/// Finds the atoms of a model, or those that are the rows of a file.
fn found(learned: &Mat, truth: &OsStr, reading: &Reading) -> Result<Found> {
    let planted = if let Some(path) = load::file(truth).filter(|path| load::is_ours(path)) {
        load::model(path)?.model.atoms().clone()
    } else {
        let rows = load::open(truth, reading)?;
        fold::collect(rows.source.as_ref())?
    };
    Ok(Found { atoms: planted.rows, recovery: measure::recovery(&planted, learned)? })
}

/// Errors on all rows; measures of codes and each atom's share on all rows too, or on an even sample of very many.
fn observe(bundle: &Bundle, source: &dyn Source, data: String, memory: Option<u64>) -> mereo::Result<OnData> {
    const NUMBERS: usize = 1 << 26;
    let model = bundle.model.as_ref();
    let k = model.atoms().rows;
    // Rows that stream are copied for the sample, so they count as well, and with a bound the sample takes an eighth of it.
    let (width, most) = if source.streams() {
        (k.max(source.cols()), memory.map_or(NUMBERS, |bytes| (bytes / 32).max(1) as usize).min(NUMBERS))
    } else {
        (k, NUMBERS)
    };
    let prepared = Prepared::new(source, &bundle.pipeline);
    let errors = measure::errors(model, &prepared)?;
    let latents = Latents::of(model, Some(&prepared))?;
    let codes = bundle.encode(&fold::draw(source, (most / width.max(1)).max(1), 0)?)?;
    let mut energy = squares(&codes);
    for (a, e) in energy.iter_mut().enumerate() {
        *e *= norm(model.atoms().row(a)).powi(2);
    }
    let total: f64 = energy.iter().sum();
    let share = energy.iter().map(|e| if total > 0.0 { e / total } else { 0.0 }).collect();
    Ok(OnData { data, errors, codes: measure::codes(&codes), share, latents })
}

/// Σz² of each atom (k).
fn squares(z: &Codes) -> Vec<f64> {
    let mut sums = vec![0.0; z.cols()];
    match z.view() {
        Rows::Dense(z) => {
            for row in z.data.chunks_exact(z.cols.max(1)) {
                row.iter().zip(&mut sums).for_each(|(v, s)| *s += f64::from(*v).powi(2));
            }
        }
        Rows::Sparse(z) => {
            for (j, v) in z.indices.iter().zip(z.values.iter()) {
                sums[*j as usize] += f64::from(*v).powi(2);
            }
        }
    }
    sums
}

/// The latents that are alive most often.
fn listed(latents: &Latents, count: usize, words: &dyn Fn(usize) -> String) -> String {
    let (header, rows) = latents.table(count, words);
    let all = latents.encoder_decoder.len();
    let more = if rows.len() < all { format!("… of {} latents; --list shows more\n", show::count(all)) } else { String::new() };
    show::table(&header, &rows, &[header.len() - 1]) + &more
}

/// Columns in one line; a minus marks negative values.
fn spoken(strongest: &[Strong]) -> String {
    let named = |s: &Strong| format!("{}{}", if s.value < 0.0 { "-" } else { "" }, s.name);
    strongest.iter().map(named).collect::<Vec<_>>().join(" ")
}

fn drawn(atoms: &[Atom]) -> String {
    let percent = |v: f64| format!("{:.1} %", v * 100.0);
    let with = |f: fn(&Atom) -> bool| atoms.iter().any(f);
    let (shared, pieces) = (with(|a| a.share.is_some()), with(|a| a.one_piece.is_some()));
    let mut header = vec!["atom"];
    if with(|a| a.variance.is_some()) {
        header.push("variance");
    }
    if with(|a| a.rows.is_some()) {
        header.push("rows");
    }
    if shared {
        header.push("share");
    }
    header.extend(["norm", "sparseness", "small"]);
    if pieces {
        header.push("one piece");
    }
    if shared {
        header.push("used");
    }
    header.push("strongest");
    let rows: Vec<Vec<String>> = atoms
        .iter()
        .map(|a| {
            let mut row = vec![a.number.to_string()];
            row.extend(a.variance.or(a.rows).map(percent));
            row.extend(a.share.map(percent));
            row.extend([show::number(a.norm), format!("{:.3}", a.sparseness), percent(a.small)]);
            row.extend(a.one_piece.map(percent));
            row.extend(a.used.map(percent));
            row.push(spoken(&a.strongest));
            row
        })
        .collect();
    show::table(&header, &rows, &[header.len() - 1])
}

fn means(m: &AtomMeasures) -> Value {
    json!({
        "sparseness": m.sparseness.mean, "small": m.small.mean, "overlap": m.overlap.mean,
        "spread": m.spread.as_ref().map(|s| s.mean), "one_piece": m.largest.as_ref().map(|s| s.mean),
    })
}

/// `sparse`: more is said of latents elsewhere, and those never used are many.
fn summary(m: &AtomMeasures, known: Option<&Known>, on: Option<&OnData>, sparse: bool) -> Vec<(String, String)> {
    let mut rows = vec![
        ("mean sparseness".into(), format!("{:.3}", m.sparseness.mean)),
        ("mean |cosine|".into(), format!("{:.3} between atoms", m.overlap.mean)),
    ];
    if let Some(Known::Variance(shares)) = known {
        rows.insert(
            0,
            ("variance explained".into(), format!("{} of that of the fitted rows", show::number(shares.iter().sum()))),
        );
    }
    let list = |atoms: &[usize]| atoms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if !m.dead.is_empty() {
        rows.push(("dead atoms".into(), list(&m.dead)));
    }
    if !m.duplicates.is_empty() {
        let pairs: Vec<String> = m.duplicates.iter().map(|(a, b)| format!("{b} = {a}")).collect();
        rows.push(("duplicates".into(), pairs.join(", ")));
    }
    if let Some(on) = on {
        let e = &on.errors;
        rows.push(("on".into(), format!("{}, {} rows", on.data, show::count(e.rows))));
        rows.push(("RMSE".into(), format!("{}, in the units that were fitted", show::number(e.rmse))));
        rows.push(("relative error".into(), show::number(e.relative)));
        rows.push(("FVU".into(), format!("{} ({} of the variance explained)", show::number(e.fvu), show::number(e.explained))));
        if sparse {
            return rows;
        }
        rows.push(("atoms a row".into(), format!("{} active of {}", show::number(on.codes.l0), on.codes.usage.len())));
        rows.push((
            "code sparseness".into(),
            format!("{:.3} of a row, {:.3} of an atom", on.codes.row_sparseness, on.codes.atom_sparseness.mean),
        ));
        if !on.codes.dead.is_empty() {
            rows.push(("never used".into(), list(&on.codes.dead)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_come_first() {
        assert_eq!(strongest(&[0.0, -3.0, 2.0, 3.0, 0.1], 3), [1, 3, 2]);
        assert_eq!(strongest(&[0.0, 1.0], 5), [1]);
        assert!(strongest(&[1.0], 0).is_empty());
    }

    #[test]
    fn squares_are_the_same_of_dense_and_sparse_codes() {
        let z = mereo::Csr::new(2, 2, vec![0, 1, 3], vec![1, 0, 1], vec![2.0, 1.0, -3.0]).expect("csr");
        assert_eq!(squares(&Codes::Dense(z.view().to_mat())), [1.0, 13.0]);
        assert_eq!(squares(&Codes::Sparse(z)), [1.0, 13.0]);
    }
}
