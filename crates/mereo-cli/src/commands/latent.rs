//! `mereo latent`: what is to be seen of a latent, or of a row, in an index.

use crate::args::Global;
use crate::commands::search::head;
use crate::failure::{Failure, Result};
use crate::show;
use mereo_meaning::examples::{Choice, Counts};
use mereo_meaning::index::Labelled;
use mereo_meaning::near::{self, Hit, Nearness};
use mereo_meaning::{Index, examples, families, lexical, look};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Flags of `mereo latent`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// An index that `mereo index` wrote.
    pub index: PathBuf,
    /// The latent, counted from 0; without it all are listed, the most often active first.
    #[arg(conflicts_with_all = ["find", "row", "like"])]
    pub latent: Option<usize>,
    /// List the latents whose labels have these words.
    #[arg(long, value_name = "WORDS", conflicts_with = "row")]
    pub find: Option<String>,
    /// Show a row, counted from 0: its latents, what they leave unexplained, and the nearest rows.
    #[arg(long, value_name = "ROW")]
    pub row: Option<usize>,
    /// Show which latents explain that --row is like this one.
    #[arg(long, value_name = "ROW", requires = "row")]
    pub like: Option<usize>,
    /// How many of everything to show.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::positive)]
    pub top: usize,
    /// Seed of the examples at random.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  mereo latent arxiv.index                      all latents, by how often they are active
  mereo latent arxiv.index --find \"lensing\"     those that are called so
  mereo latent arxiv.index 1200                 one of them: examples, neighbours, company
  mereo latent arxiv.index --row 17             what a row is made of
  mereo latent arxiv.index --row 17 --like 40   why two rows are alike";

/// Shows what was asked for.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let index = Index::open(&args.index)?;
    let names = Names(index.labels()?);
    match (args.latent, args.row) {
        (Some(j), _) => one(args, &index, &names, j, global),
        (None, Some(i)) => row(args, &index, &names, i, global),
        (None, None) => list(args, &index, &names, global),
    }
}

/// Labels by latent.
struct Names(Vec<Option<Labelled>>);

impl Names {
    fn of(&self, j: usize) -> String {
        self.0[j].as_ref().map_or(String::new(), |l| l.label.clone())
    }
    fn hits(&self, hits: &[Hit]) -> Vec<Value> {
        hits.iter().map(|h| json!({ "latent": h.at, "score": h.score, "label": self.of(h.at) })).collect()
    }
}

fn list(args: &Args, index: &Index, names: &Names, global: &Global) -> Result<()> {
    let codes = index.codes();
    let found: Vec<usize> = if let Some(find) = &args.find {
        if names.0.iter().all(Option::is_none) {
            let shown = index.path().display();
            return Err(Failure::usage(format!("latents of {shown} have no labels yet; run `mereo label {shown}` first")));
        }
        let labels: Vec<String> = (0..names.0.len()).map(|j| names.of(j)).collect();
        lexical::search(&labels, find, args.top).iter().map(|h| h.at).collect()
    } else {
        near::best(codes.latents(), args.top, |j| codes.by_latent.len(j) as f64).iter().map(|h| h.at).collect()
    };
    if global.json {
        let all: Vec<Value> = found
            .iter()
            .map(|&j| json!({ "latent": j, "density": codes.density(j), "rows": codes.by_latent.len(j), "label": names.0[j] }))
            .collect();
        return show::json(&json!({ "latents": codes.latents(), "rows": codes.rows(), "shown": all }));
    }
    if found.is_empty() {
        return show::print("no label has one of these words\n");
    }
    let score = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.2}"));
    let rows: Vec<Vec<String>> = (found.iter())
        .map(|&j| {
            let (r, f1) = names.0[j].as_ref().map_or((None, None), |l| (l.pearson, l.f1));
            vec![
                j.to_string(),
                show::count(codes.by_latent.len(j)),
                format!("{:.4}", codes.density(j)),
                score(f1),
                score(r),
                names.of(j),
            ]
        })
        .collect();
    show::print(&show::table(&["latent", "rows", "density", "F1", "r", "label"], &rows, &[5]))
}

fn one(args: &Args, index: &Index, names: &Names, j: usize, global: &Global) -> Result<()> {
    index.need_latent(j)?;
    let codes = index.codes();
    let seen = look::activity(&codes, j, 20);
    let model = index.bundle.model.as_ref();
    let (toward, away) = look::neighbours(model.atoms(), j, args.top);
    let by_encoder = model.encoder().map(|w| look::neighbours(w, j, args.top).0);
    let company = families::cooccurring(&codes, j, args.top)?;
    let [top, spread, random] = chosen(args, index, j)?;
    if global.json {
        let shown = |hits: &[Hit]| -> Vec<Value> {
            hits.iter().map(|h| json!({ "row": h.at, "code": h.score, "text": index.text(h.at) })).collect()
        };
        return show::json(&json!({
            "latent": j, "label": names.0[j], "activity": seen, "top": shown(&top), "across_quantiles": shown(&spread), "random": shown(&random),
            "nearest_by_decoder": names.hits(&toward), "farthest_by_decoder": names.hits(&away),
            "nearest_by_encoder": by_encoder.as_deref().map(|h| names.hits(h)), "cooccurring": company,
        }));
    }
    let mut out = show::pairs(&[
        ("latent".into(), format!("{j}  {}", names.of(j)).trim_end().to_string()),
        ("active on".into(), format!("{} rows, {:.3} % of all", show::count(seen.rows), 100.0 * seen.density)),
        ("codes".into(), format!("mean {}, largest {}", show::number(seen.mean), show::number(f64::from(seen.max)))),
    ]);
    let _ = writeln!(out, "histogram   {}", show::bars(&seen.histogram.iter().map(|b| b.1 as u64).collect::<Vec<_>>()));
    if seen.rows == 0 {
        out += "it is never active on these rows\n";
        return show::print(&out);
    }
    for (title, hits) in [("most active", &top), ("across its codes", &spread), ("at random", &random)] {
        let _ = writeln!(out, "\n{title}");
        let rows: Vec<Vec<String>> =
            hits.iter().map(|h| vec![h.at.to_string(), show::number(h.score), head(index.text(h.at))]).collect();
        out += &show::table(&["row", "code", "text"], &rows, &[2]);
    }
    let mut near = vec![("nearest by decoder", toward), ("pointing away", away)];
    near.extend(by_encoder.map(|h| ("nearest by encoder", h)));
    for (title, hits) in near {
        let _ = writeln!(out, "\n{title}");
        let rows: Vec<Vec<String>> =
            hits.iter().map(|h| vec![h.at.to_string(), format!("{:.3}", h.score), names.of(h.at)]).collect();
        out += &show::table(&["latent", "cosine", "label"], &rows, &[2]);
    }
    out += "\nactive on the same rows\n";
    let rows: Vec<Vec<String>> = (company.iter())
        .map(|c| {
            vec![
                c.latent.to_string(),
                show::count(c.together as usize),
                format!("{:.3}", c.given_this),
                format!("{:.3}", c.given_other),
                show::number(c.lift),
                format!("{:.2}", c.pmi),
                names.of(c.latent),
            ]
        })
        .collect();
    out += &show::table(&["latent", "rows", "P(it | this)", "P(this | it)", "lift", "PMI", "label"], &rows, &[6]);
    show::print(&out)
}

/// Rows on which latent `j` is active: those of its largest codes, some across the others, and some at random.
fn chosen(args: &Args, index: &Index, j: usize) -> Result<[Vec<Hit>; 3]> {
    let few = args.top.min(5);
    let label = Counts { top: args.top, stratified: few, random: few, lacking: 0 };
    let test = Counts { top: 0, stratified: 0, random: 0, lacking: 0 };
    let how = Choice { label, test, longer_than: 0, seed: args.seed };
    let any = vec!["-"; index.about.rows];
    let set = examples::choose(&index.codes(), &any, None, &[j], &how)?.swap_remove(0).label;
    let hits = |of: &[examples::Example]| of.iter().map(|e| Hit { at: e.row, score: f64::from(e.value) }).collect::<Vec<_>>();
    let (top, rest) = set.active.split_at(set.top);
    let (spread, random) = rest.split_at(few.min(rest.len()));
    Ok([hits(top), hits(spread), hits(random)])
}

fn row(args: &Args, index: &Index, names: &Names, i: usize, global: &Global) -> Result<()> {
    let seen = look::seen(index, i)?;
    let shared = args.like.map(|b| look::shared(index, i, b)).transpose()?;
    let near = near::nearest(index.rows(), index.row(i), Nearness::Cosine, args.top, |r| r == i);
    if global.json {
        let rows: Vec<Value> = near.iter().map(|h| json!({ "row": h.at, "cosine": h.score, "text": index.text(h.at) })).collect();
        return show::json(&json!({
            "row": i, "text": index.text(i), "latents": names.hits(&seen.active), "unexplained": seen.unexplained, "nearest": rows,
            "like": args.like, "shared": shared.as_deref().map(|h| names.hits(h)),
        }));
    }
    let table = |title: &str, score: &str, hits: &[Hit]| {
        let rows: Vec<Vec<String>> =
            hits.iter().take(args.top).map(|h| vec![h.at.to_string(), show::number(h.score), names.of(h.at)]).collect();
        format!("\n{title}\n{}", show::table(&["latent", score, "label"], &rows, &[2]))
    };
    let mut out = show::pairs(&[
        ("row".into(), format!("{i}  {}", head(index.text(i))).trim_end().to_string()),
        ("unexplained".into(), format!("{:.1} % of its square", 100.0 * seen.unexplained)),
    ]);
    if let (Some(b), Some(shared)) = (args.like, &shared) {
        let _ = writeln!(out, "like {b}  {}", head(index.text(b)));
        out += &table("latents of both, by what they add to their product", "product", shared);
        return show::print(&out);
    }
    out += &table(&format!("its {} latents, by what they add to it", seen.active.len()), "length", &seen.active);
    out += "\nnearest rows\n";
    let rows: Vec<Vec<String>> =
        near.iter().map(|h| vec![h.at.to_string(), format!("{:.3}", h.score), head(index.text(h.at))]).collect();
    out += &show::table(&["row", "cosine", "text"], &rows, &[2]);
    show::print(&out)
}
