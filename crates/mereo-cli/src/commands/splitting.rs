//! `mereo splitting`: how latents of a model split in a larger one, and which stand in for those of a class.

mod absorption;

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{load, show};
use mereo::Mat;
use mereo::bundle::Bundle;
use mereo_meaning::Index;
use mereo_meaning::splitting::{BINS, Chain, Descendants, MaxCosines, OneToOne, Split, one_to_one, split};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Latents that are named of those that one splits into.
const NAMED: usize = 5;

/// Flags of `mereo splitting`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The model with the fewest latents: a file of `mereo fit`, or an index, whose labels are shown, too.
    pub small: PathBuf,
    /// A larger model of the same data.
    pub large: Option<PathBuf>,
    /// A still larger one: do small latents become the same there by way of the middle one?
    pub largest: Option<PathBuf>,
    /// Show what this latent of the small model becomes, counted from 0.
    #[arg(long, value_name = "LATENT")]
    pub latent: Option<usize>,
    /// Of one index: for each class of this column, whether other latents stand in for those that tell it.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["large", "latent"])]
    pub absorption: Option<String>,
    /// Only this class of the column.
    #[arg(long, value_name = "CLASS", requires = "absorption")]
    pub class: Option<String>,
    /// Latents, or classes, to show.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::positive)]
    pub top: usize,
}

const EXAMPLES: &str = "\
Examples:
  mereo splitting sae-1k.mereo sae-4k.mereo
  mereo splitting sae-1k.index sae-4k.index sae-16k.index --latent 17
  mereo splitting arxiv.index --absorption category --class astro-ph

A latent of the larger model is a child of the one in the smaller model that it is nearest to, by cosine. Of three models, a latent of the small one is
self-consistent if it has the same descendants in the largest directly and by way of the middle one (Jaccard overlap).

With --absorption, a class's main latents are those that a sparse probe needs; a row is absorbed in full if none of them fires and another
latent carries the class's direction instead. The direction is the mean of its rows less that of the others.";

/// Compares models, or looks for absorption in one.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    if let Some(column) = &args.absorption {
        return absorption::run(args, column, global);
    }
    if args.class.is_some() {
        return Err(Failure::usage(
            "--class is one of those of --absorption COLUMN, which takes an index alone; give both, or leave it out",
        ));
    }
    if args.large.is_none() {
        return Err(alone());
    }
    let started = Instant::now();
    let sides: Vec<Side> = [Some(&args.small), args.large.as_ref(), args.largest.as_ref()]
        .into_iter()
        .flatten()
        .map(|p| Side::open(p))
        .collect::<Result<_>>()?;
    check(args, &sides, global)?;
    let bar = Progress::new("comparing", global);
    let within: Vec<MaxCosines> = sides.iter().map(|s| MaxCosines::within(s.atoms())).collect();
    let (steps, chain) = compared(&sides)?;
    bar.clear();
    let seconds = started.elapsed().as_secs_f64();
    let descent = args.latent.map(|j| match &chain {
        Some(chain) => chain.descendants(j),
        None => Descendants { middle: Vec::new(), via: Vec::new(), direct: steps[0].split.children[j].clone() },
    });
    let all = All { args, sides: &sides, within: &within, steps: &steps, chain: chain.as_ref(), descent: descent.as_ref() };
    if global.json { show::json(&all.json(seconds)) } else { show::print(&all.text(seconds)) }
}

fn alone() -> Failure {
    Failure::usage("one model alone does not split; give a larger one after it, or --absorption COLUMN with an index")
}

/// A model, and what its latents are called.
struct Side {
    path: String,
    bundle: Bundle,
    labels: Vec<String>,
}

impl Side {
    fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        if path.is_dir() {
            let index = Index::open(path)?;
            let labels = index.labels()?.into_iter().map(|l| l.map_or(String::new(), |l| l.label)).collect();
            return Ok(Self { path: shown, labels, bundle: index.bundle });
        }
        if !path.exists() {
            return Err(Failure::other(format!(
                "there is no model or index `{shown}`; write one with `mereo fit METHOD DATA -o {shown}` or `mereo index MODEL DATA -o {shown}`"
            )));
        }
        let bundle = load::model(path)?;
        Ok(Self { path: shown, labels: vec![String::new(); bundle.model.atoms().rows], bundle })
    }

    fn atoms(&self) -> &Mat {
        self.bundle.model.atoms()
    }

    fn count(&self) -> usize {
        self.atoms().rows
    }

    /// Number and name of a latent.
    fn name(&self, j: usize) -> String {
        format!("{j} {}", self.labels[j]).trim_end().to_string()
    }

    fn named(&self, latents: &[usize]) -> Vec<Value> {
        latents.iter().map(|&j| json!({ "latent": j, "label": self.labels[j] })).collect()
    }

    /// Recipes that prepare its rows.
    fn prepared(&self) -> String {
        let names: Vec<String> = self.bundle.pipeline.recipes().iter().map(ToString::to_string).collect();
        if names.is_empty() { "nothing".into() } else { names.join(", ") }
    }
}

/// Whether the models can be compared in this order.
fn check(args: &Args, sides: &[Side], global: &Global) -> Result<()> {
    for pair in sides.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.atoms().cols != b.atoms().cols {
            return Err(Failure::usage(format!(
                "`{}` is of {} columns, `{}` of {}; give models of the same data",
                a.path,
                a.atoms().cols,
                b.path,
                b.atoms().cols
            )));
        }
        if a.count() > b.count() {
            return Err(Failure::usage(format!(
                "`{}` has {} latents, `{}` only {}; give the smaller model first",
                a.path,
                show::count(a.count()),
                b.path,
                show::count(b.count())
            )));
        }
        if a.prepared() != b.prepared() {
            global.say(format_args!(
                "note: `{}` was fitted after {}, `{}` after {}, so that cosines of their latents may be low for that alone; fit both with the same --prep",
                a.path,
                a.prepared(),
                b.path,
                b.prepared()
            ));
        }
    }
    match args.latent {
        Some(j) if j >= sides[0].count() => Err(Failure::usage(format!(
            "there is no latent {j}; `{}` has {}, counted from 0",
            sides[0].path,
            show::count(sides[0].count())
        ))),
        _ => Ok(()),
    }
}

/// A smaller model in a larger one.
struct Step {
    /// Places of the two among the models.
    of: [usize; 2],
    split: Split,
    matched: OneToOne,
}

fn compared(sides: &[Side]) -> Result<(Vec<Step>, Option<Chain>)> {
    let step = |of: [usize; 2], split: Split| -> Result<Step> {
        Ok(Step { of, split, matched: one_to_one(sides[of[0]].atoms(), sides[of[1]].atoms())? })
    };
    let [small, large, rest @ ..] = sides else { return Err(alone()) };
    if let [largest] = rest {
        let chain = Chain::of(small.atoms(), large.atoms(), largest.atoms())?;
        let steps =
            vec![step([0, 1], chain.middle.clone())?, step([1, 2], chain.large.clone())?, step([0, 2], chain.direct.clone())?];
        return Ok((steps, Some(chain)));
    }
    Ok((vec![step([0, 1], split(small.atoms(), large.atoms())?)?], None))
}

/// All that there is to be told.
struct All<'a> {
    args: &'a Args,
    sides: &'a [Side],
    within: &'a [MaxCosines],
    /// Small and large; or small and large, large and largest, small and largest.
    steps: &'a [Step],
    chain: Option<&'a Chain>,
    descent: Option<&'a Descendants>,
}

impl All<'_> {
    fn json(&self, seconds: f64) -> Value {
        let models: Vec<Value> = (self.sides.iter().zip(self.within))
            .map(|(s, within)| json!({ "model": s.path, "method": s.bundle.model.method(), "latents": s.count(), "within": within }))
            .collect();
        let steps: Vec<Value> = (self.steps.iter())
            .map(|step| {
                let [small, large] = step.of.map(|s| &self.sides[s]);
                let most: Vec<Value> = (most(&step.split, self.args.top).into_iter())
                    .map(|j| json!({ "latent": j, "label": small.labels[j], "children": large.named(&step.split.children[j]) }))
                    .collect();
                json!({
                    "small": small.path, "large": large.path, "cosines": step.split.cosines, "by_children": step.split.by_children, "most": most,
                    "one_to_one": { "mean": step.matched.mean, "exact": step.matched.exact, "pairs": step.matched.pairs },
                    "parents": step.split.parents, "children": step.split.children,
                })
            })
            .collect();
        let chain = self.chain.map(|c| json!({ "mean": c.mean, "agree": c.agree, "consistency": c.consistency }));
        let latent = self.descent.zip(self.args.latent).map(|(d, j)| {
            let last = &self.sides[self.sides.len() - 1];
            json!({
                "latent": j, "label": self.sides[0].labels[j], "direct": last.named(&d.direct),
                "middle": self.chain.map(|_| self.sides[1].named(&d.middle)), "via": self.chain.map(|_| last.named(&d.via)),
                "consistency": self.chain.and_then(|c| c.consistency[j]),
            })
        });
        json!({ "models": models, "splits": steps, "chain": chain, "latent": latent, "seconds": seconds })
    }

    fn text(&self, seconds: f64) -> String {
        let rows: Vec<Vec<String>> = (self.sides.iter().zip(self.within))
            .map(|(s, w)| {
                let cosines = [w.median, w.mean, w.range.0, w.range.1].map(|v| format!("{v:.3}"));
                let mut row = vec![s.path.clone(), s.bundle.model.method().into(), show::count(s.count())];
                row.extend(cosines);
                row.push(histogram(w));
                row
            })
            .collect();
        let header = [
            "model",
            "method",
            "latents",
            "median",
            "mean",
            "least",
            "most",
            "max cosine of each latent with another of its own",
        ];
        let mut out = show::table(&header, &rows, &[0, 1, 7]);
        for step in self.steps {
            out += &self.step(step);
        }
        if let Some(chain) = self.chain {
            out.push('\n');
            out += &show::pairs(&[
                (
                    "self-consistency".into(),
                    format!("{:.3} (mean Jaccard overlap of descendants, directly and by the middle model)", chain.mean),
                ),
                (
                    "agreement".into(),
                    format!("{} of the largest model's latents end under the same latent", percent(chain.agree)),
                ),
            ]);
        }
        out += &self.latent();
        out + &format!("\ntime  {}\n", show::seconds(seconds))
    }

    fn step(&self, step: &Step) -> String {
        let [small, large] = step.of.map(|s| &self.sides[s]);
        let Split { cosines: c, children, parents, by_children } = &step.split;
        let how = if step.matched.exact { "the best match" } else { "nearest pairs first" };
        let mut out = format!("\n{} in {}\n", small.path, large.path);
        let mut facts = vec![
            (
                "max cosine".to_string(),
                format!("median {:.3}, mean {:.3}, from {:.3} to {:.3}", c.median, c.mean, c.range.0, c.range.1),
            ),
            ("histogram".into(), histogram(c)),
            ("one to one".into(), format!("mean cosine {:.3} ({how})", step.matched.mean)),
            ("children".into(), family_sizes(by_children)),
        ];
        if c.atoms < large.count() {
            facts.push(("zero".into(), format!("{} latents of {}, left out", show::count(large.count() - c.atoms), large.path)));
        }
        out += &show::pairs(&facts);
        let rows: Vec<Vec<String>> = (most(&step.split, self.args.top).into_iter())
            .map(|j| {
                let mut nearest = children[j].clone();
                let cosine = |l: usize| parents[l].map_or(0.0, |p| p.cosine);
                nearest.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
                let mut named: Vec<String> = nearest.iter().take(NAMED).map(|&l| large.name(l)).collect();
                if nearest.len() > NAMED {
                    named.push("…".into());
                }
                let mean = nearest.iter().map(|&l| cosine(l)).sum::<f64>() / nearest.len().max(1) as f64;
                vec![small.name(j), show::count(nearest.len()), format!("{mean:.3}"), named.join(" · ")]
            })
            .collect();
        out + &show::table(&["latent", "children", "mean cosine", "nearest of them"], &rows, &[0, 3])
    }

    fn latent(&self) -> String {
        let Some((descent, j)) = self.descent.zip(self.args.latent) else { return String::new() };
        let last = &self.sides[self.sides.len() - 1];
        let list = |side: &Side, latents: &[usize]| match latents {
            [] => "none".to_string(),
            _ => latents.iter().map(|&l| side.name(l)).collect::<Vec<_>>().join(" · "),
        };
        let mut rows = vec![("latent".to_string(), self.sides[0].name(j))];
        if let Some(chain) = self.chain {
            rows.push((format!("in {}", self.sides[1].path), list(&self.sides[1], &descent.middle)));
            rows.push((format!("by those in {}", last.path), list(last, &descent.via)));
            rows.push((format!("in {}", last.path), list(last, &descent.direct)));
            rows.push(("self-consistency".into(), chain.consistency[j].map_or("–".into(), |v| format!("{v:.3}"))));
        } else {
            rows.push((format!("in {}", last.path), list(last, &descent.direct)));
        }
        format!("\n{}", show::pairs(&rows))
    }
}

/// The latents with the most children, and at least one; ties by index.
fn most(split: &Split, top: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..split.children.len()).filter(|&j| !split.children[j].is_empty()).collect();
    all.sort_by_key(|&j| std::cmp::Reverse(split.children[j].len()));
    all.truncate(top);
    all
}

/// How many latents have 0, 1, 2, … children: `3 have 0, 20 have 1`, the many together.
fn family_sizes(by_children: &[usize]) -> String {
    const ALONE: usize = 6;
    let mut parts: Vec<String> = (by_children.iter().enumerate().take(ALONE))
        .filter(|(_, n)| **n > 0)
        .map(|(c, &n)| format!("{} have {c}", show::count(n)))
        .collect();
    let more: usize = by_children.iter().skip(ALONE).sum();
    if more > 0 {
        // The list ends with the largest family.
        let last = by_children.len() - 1;
        let to = if last > ALONE { format!(" to {last}") } else { String::new() };
        parts.push(format!("{} have {ALONE}{to}", show::count(more)));
    }
    parts.join(", ")
}

/// From the lowest cosine, down to a whole tenth, up to 1.
fn histogram(c: &MaxCosines) -> String {
    const TENTH: usize = BINS / 20;
    let Some(first) = c.counts.iter().position(|n| *n > 0) else { return "none".into() };
    let from = first / TENTH;
    format!("{:.1} {} 1", from as f64 / 10.0 - 1.0, show::bars(&c.counts[from * TENTH..]))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
