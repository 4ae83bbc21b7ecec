//! `mereo label`: what latents are called, by the words of their texts or by a language model, and how well that foretells where they are active.

mod asked;

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{show, stop};
use mereo::mat::{DenseRows, Rows};
use mereo_meaning::Index;
use mereo_meaning::examples::{self, Choice, Examples};
use mereo_meaning::index::Labelled;
use mereo_meaning::score::{Candidate, Clean, Offline, Score};
use mereo_meaning::terms::{self, Terms};
use mereo_meaning::words::Words;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo label`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// An index that `mereo index` wrote, with texts.
    pub index: PathBuf,
    /// Only these latents; labels of the others stay.
    #[arg(long, value_name = "LATENTS", value_delimiter = ',')]
    pub latents: Vec<usize>,
    /// What embeds labels for the score, as for `mereo embed`; without it the score goes by words alone.
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<String>,
    /// Words of a text that are read.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = crate::args::positive)]
    pub words: usize,
    /// Seed of the examples.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub asked: asked::Asked,
}

const EXAMPLES: &str = "\
Examples:
  mereo label arxiv.index                                               from words, all latents at once, without a network
  mereo label arxiv.index --endpoint http://localhost:11434 --model llama3.1 --latents 17,1200
  mereo label arxiv.index --endpoint https://api.openai.com --model gpt-4o --predictor gpt-4o-mini --prices 2.5,10 --budget 5";

/// Labels, scores, and keeps both in the index.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let index = Index::open(&args.index)?;
    index.need_texts()?;
    for &j in &args.latents {
        index.need_latent(j)?;
    }
    let codes = index.codes();
    let wanted: Vec<usize> = if args.latents.is_empty() {
        (0..codes.latents()).filter(|&j| codes.by_latent.len(j) > 0).collect()
    } else {
        let mut wanted = args.latents.clone();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    };
    if wanted.is_empty() {
        return Err(Failure::other("no latent is active on any of these rows; there is nothing to call"));
    }
    stop::on_request("stopping after this answer", global.quiet);
    let started = Instant::now();
    let rows = rows(&index);
    let work = Work { index: &index, rows: &rows, wanted: &wanted, args, global };
    let done = match &args.asked.endpoint {
        None => work.offline()?,
        Some(_) => asked::run(&work)?,
    };
    keep(&index, &done.labels)?;
    tell(&work, &done, started.elapsed().as_secs_f64())
}

/// The rows of an index.
fn rows(index: &Index) -> Rows<'_> {
    Rows::Dense(DenseRows { cols: index.about.cols, data: index.rows().into(), weights: None })
}

/// What there is to do.
struct Work<'a> {
    index: &'a Index,
    rows: &'a Rows<'a>,
    /// Latents, rising.
    wanted: &'a [usize],
    args: &'a Args,
    global: &'a Global,
}

/// Labels, and what is to be said of them.
struct Done {
    labels: Vec<Labelled>,
    /// Lines for the table at the end.
    facts: Vec<(String, String)>,
}

impl Work<'_> {
    fn examples(&self, how: Choice) -> Result<Vec<Examples>> {
        let how = Choice { seed: self.args.seed, ..how };
        Ok(examples::choose(&self.index.codes(), self.index, Some(self.rows), self.wanted, &how)?)
    }

    /// Labels by terms, and scores by the predictor that needs no network.
    fn offline(&self) -> Result<Done> {
        let bar = Progress::new("reading texts", self.global);
        let words = Words::new(self.index, self.args.words)?;
        bar.clear();
        let bar = Progress::new("choosing examples", self.global);
        let examples = self.examples(Choice::terms())?;
        bar.clear();
        let bar = Progress::new("labelling", self.global);
        let labels = terms::labels(&words, &examples, &Terms::default())?;
        let texts: Vec<String> = labels.iter().map(|l| l.text.clone()).collect();
        let embedded = self.embed(&texts)?;
        let offline = Offline { words: &words, embedded: embedded.as_ref().map(|m| (self.rows, m)) };
        let scores = offline.scores(&texts, &examples)?;
        bar.clear();
        let labels = labels.into_iter().zip(scores).map(|(l, s)| labelled(l.latent, l.text, "terms", "offline", &s)).collect();
        let how = if embedded.is_some() { "words and embeddings" } else { "words" };
        Ok(Done {
            labels,
            facts: vec![("scored by".into(), format!("the offline predictor, on {how} (weaker than a language model)"))],
        })
    }

    /// Embeddings of labels, if an encoder was named.
    fn embed(&self, labels: &[String]) -> Result<Option<mereo::Mat>> {
        let Some(name) = &self.args.encoder else { return Ok(None) };
        let texts: Vec<&str> = labels.iter().map(String::as_str).collect();
        let rows = mereo_text::open(name)?.encode(&texts)?;
        if rows.cols != self.index.about.cols {
            return Err(Failure::usage(format!(
                "{name} gives rows of {} columns, those of the index have {}; name the encoder that made them",
                rows.cols, self.index.about.cols
            )));
        }
        Ok(Some(rows))
    }
}

fn labelled(latent: usize, label: String, by: &str, scored_by: &str, score: &Score) -> Labelled {
    let known = |v: f64| v.is_finite().then_some(v);
    Labelled { latent, label, by: by.into(), scored_by: scored_by.into(), pearson: known(score.r), f1: known(score.f1) }
}

/// Puts new labels beside the old ones of other latents.
fn keep(index: &Index, labels: &[Labelled]) -> Result<()> {
    let mut all = index.labels()?;
    for label in labels {
        all[label.latent] = Some(label.clone());
    }
    let all: Vec<Labelled> = all.into_iter().flatten().filter(|l| !l.label.is_empty()).collect();
    Ok(index.keep_labels(&all)?)
}

/// The labels of an index that are worth keeping, by the paper's filter.
pub fn clean(index: &Index) -> Result<Vec<Candidate>> {
    let codes = index.codes();
    let all: Vec<Candidate> = (index.labels()?.into_iter().flatten())
        .map(|l| Candidate {
            latent: l.latent,
            label: l.label,
            f1: l.f1.unwrap_or(f64::NAN),
            r: l.pearson.unwrap_or(f64::NAN),
            density: codes.density(l.latent),
        })
        .collect();
    Ok(Clean::default().of(&all))
}

/// Labels that are shown of all.
const SHOWN: usize = 15;

fn tell(work: &Work, done: &Done, seconds: f64) -> Result<()> {
    let median = |mut v: Vec<f64>| -> Option<f64> {
        v.sort_by(f64::total_cmp);
        v.get(v.len() / 2).copied()
    };
    let r = median(done.labels.iter().filter_map(|l| l.pearson).collect());
    let f1 = median(done.labels.iter().filter_map(|l| l.f1).collect());
    let named = done.labels.iter().filter(|l| !l.label.is_empty()).count();
    let clean = clean(work.index)?;
    if work.global.json {
        return show::json(&json!({
            "index": work.args.index.display().to_string(), "latents": work.wanted.len(), "labelled": named, "median_pearson": r, "median_f1": f1,
            "clean": clean.len(), "seconds": seconds, "labels": done.labels,
        }));
    }
    let score = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.3}"));
    let mut rows = vec![
        ("labelled".to_string(), format!("{} of {} latents", show::count(named), show::count(work.wanted.len()))),
        ("median r".into(), score(r)),
        ("median F1".into(), score(f1)),
        ("clean".into(), format!("{} labels of the index (F1 and r of .8, density below .2)", show::count(clean.len()))),
    ];
    rows.extend(done.facts.iter().cloned());
    rows.push(("time".into(), show::seconds(seconds)));
    let mut out = show::pairs(&rows);
    let codes = work.index.codes();
    let mut some: Vec<&Labelled> = done.labels.iter().filter(|l| !l.label.is_empty()).collect();
    some.sort_by_key(|l| std::cmp::Reverse(codes.by_latent.len(l.latent)));
    // The middle of them by density: the densest are the vaguest, and the rarest few.
    let from = (some.len().saturating_sub(SHOWN)) / 2;
    let lines: Vec<Vec<String>> = (some.iter().skip(from).take(SHOWN))
        .map(|l| {
            vec![l.latent.to_string(), show::count(codes.by_latent.len(l.latent)), score(l.f1), score(l.pearson), l.label.clone()]
        })
        .collect();
    out.push('\n');
    out += &show::table(&["latent", "rows", "F1", "r", "label"], &lines, &[4]);
    show::print(&out)
}
