//! O'Neill et al. 2024: the claims S1 to S11 on sparse autoencoders of text embeddings, on any corpus.

mod families;
mod grid;
mod meaning;
mod steering;

use super::{find, is, read, table, verdict};
use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::subject::{self, cells};
use crate::{show, stop};
use mereo::Mat;
use mereo_report::{Block, Document, Section};
use mereo_text::{Column as Told, Keep, Reading};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo repro oneill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with embeddings (an .npy file of as many rows as texts) and abstracts (.parquet with title, abstract and primary_cat), in a folder
    /// `arxiv` or named so; without it and --rows, the embedded glosses of WordNet.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Embeddings of any corpus, in place of --data.
    #[arg(long, value_name = "FILE", requires = "texts", conflicts_with = "data")]
    pub rows: Option<PathBuf>,
    /// Its texts, row for row.
    #[arg(long, value_name = "FILE", requires = "rows")]
    pub texts: Option<PathBuf>,
    /// Columns that make up a text [default: title and abstract of --data; else the only column of words].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub text_columns: Vec<String>,
    /// What made the embeddings, as for `mereo embed`: then queries that are rewritten by words are embedded anew, and labels are scored by it too.
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<String>,
    /// Fewer rows, latents and passes: about two minutes on two cores.
    #[arg(long)]
    pub quick: bool,
    /// Passes of each fit [default: 25, or 10 where it is to be quick].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub passes: Option<usize>,
    /// Seed of all randomness.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "oneill.html")]
    pub output: PathBuf,
}

/// A corpus: rows of length 1 or so, and their texts.
struct Corpus {
    name: String,
    credit: String,
    x: Mat,
    texts: Vec<String>,
    /// The class of each row, by which a part of the corpus can be taken.
    classes: Option<Vec<Option<String>>>,
}

/// A claim, as the others tell theirs.
#[derive(Debug, Clone, Serialize)]
struct Claim {
    id: &'static str,
    says: &'static str,
    target: String,
    found: String,
    held: bool,
    /// What the difference of data means for it.
    differs: &'static str,
}

/// How large all is.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    /// Latents as multiples of the columns.
    times: [usize; 3],
    /// Latents alive.
    ks: [usize; 3],
    passes: usize,
    /// Queries that are steered, and rows that are refined.
    queries: usize,
    /// Latents whose labels are scored.
    labels: usize,
    seed: u64,
}

/// What one part has to say.
struct Part {
    claims: Vec<Claim>,
    section: Section,
}

/// Does it again.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    subject::check(&args.output, OsStr::new(""))?;
    let _ = stop::on_request("stopping after this part", global.quiet);
    let encoder = args.encoder.as_deref().map(mereo_text::open).transpose()?;
    let size = if args.quick {
        Size { rows: 20_000, times: [1, 2, 4], ks: [8, 16, 32], passes: 10, queries: 50, labels: 300, seed: args.seed }
    } else {
        Size { rows: usize::MAX, times: [2, 4, 8], ks: [8, 16, 32], passes: 25, queries: 100, labels: 1500, seed: args.seed }
    };
    let size = Size { passes: args.passes.unwrap_or(size.passes), ..size };
    let corpus = corpus(args, size)?;
    if let Some(encoder) = &encoder
        && encoder.dim() != corpus.x.cols
    {
        let said = format!(
            "{} gives {} columns, the rows have {}; name the encoder that made them",
            encoder.name(),
            encoder.dim(),
            corpus.x.cols
        );
        return Err(Failure::usage(said));
    }
    let started = Instant::now();
    let (grid, part) = grid::run(&corpus, size, global)?;
    let mut parts = vec![told(part, global)];
    let (named, part) = part_of("labels", global, || meaning::run(&corpus, &grid, encoder.as_deref(), size))?;
    parts.push(part);
    parts.push(part_of("families", global, || Ok(((), families::run(&corpus, &grid, &named)?)))?.1);
    parts.push(part_of("steering", global, || Ok(((), steering::run(&corpus, &grid, &named, encoder.as_deref(), size)?)))?.1);
    let mut claims: Vec<Claim> = parts.iter().flat_map(|p| p.claims.clone()).collect();
    claims.sort_by_key(|c| c.id[1..].parse::<usize>().unwrap_or(0));
    let verdict = verdict(claims.iter().map(|c| (c.id, c.held)));
    let mut left_out = vec![
        "S12 (embeddings against activations of a language model) needs such activations and a judge that reads.".to_string(),
        "Judges and predictors here are offline ones: they go by words, and are weaker readers than the paper's language models."
            .into(),
    ];
    if encoder.is_none() {
        left_out.push(
            "No --encoder was named, so a query that is rewritten by words is the mean of the rows that match them best.".into(),
        );
    }
    let mut sections = vec![Section {
        title: "Claims".into(),
        note: "Target, found, held: one line each.".into(),
        blocks: vec![
            Block::Table(table(claims.iter().map(|c| (c.id, c.says, &*c.target, &*c.found, c.held)))),
            Block::Text(format!(
                "What the data means for them ({} rows of {} columns here; 420,000 of 1,536 there): {}",
                show::count(corpus.x.rows),
                corpus.x.cols,
                claims.iter().map(|c| format!("{}: {}", c.id, c.differs)).collect::<Vec<_>>().join(" ")
            )),
        ],
    }];
    sections.extend(parts.into_iter().map(|p| p.section));
    let page = Document {
        title: "O’Neill et al. 2024, done again".into(),
        facts: vec![format!(
            "{} rows of {} · {} latents at most · {} passes · {}",
            show::count(corpus.x.rows),
            corpus.name,
            show::count(corpus.x.cols * size.times[2]),
            size.passes,
            show::seconds(started.elapsed().as_secs_f64())
        )],
        summary: vec![verdict],
        left_out,
        sections,
        command: show::typed(std::env::args_os()),
        made: vec![("Threads".into(), rayon::current_num_threads().to_string()), ("Credit".into(), corpus.credit.clone())],
    };
    subject::publish(
        &page,
        &args.output,
        global,
        serde_json::json!({ "claims": claims, "rows": corpus.x.rows, "data": corpus.name }),
    )
}

/// Does one part, and tells its claims as they come.
fn part_of<T>(what: &str, global: &Global, work: impl FnOnce() -> Result<(T, Part)>) -> Result<(T, Part)> {
    if stop::asked() {
        return Err(Failure::Interrupted("stopped; nothing was written".into()));
    }
    let bar = Progress::new(what, global);
    let (more, part) = work()?;
    bar.clear();
    Ok((more, told(part, global)))
}

fn told(part: Part, global: &Global) -> Part {
    for c in &part.claims {
        global.say(format_args!("{} {}: {}; {}", c.id, if c.held { "held" } else { "NOT held" }, c.says, c.found));
    }
    part
}

/// The corpus that was named, else the embedded one.
fn corpus(args: &Args, size: Size) -> Result<Corpus> {
    let (rows, texts, name, credit) = match (&args.data, &args.rows, &args.texts) {
        (Some(folder), ..) => {
            let rows = find(folder, &|name| is(name, "npy") && (name.contains("minilm") || name.contains("embedding")))?;
            let texts = find(folder, &|name| is(name, "parquet") && (name.contains("abstract") || name.contains("text")))?;
            let (Some(rows), Some(texts)) = (rows, texts) else {
                let shown = folder.display();
                return Err(Failure::usage(format!(
                    "{shown} has no embeddings (.npy) with abstracts (.parquet); name them by --rows and --texts"
                )));
            };
            (rows, texts, "arXiv abstracts".to_string(), "arXiv.org (metadata CC0)".to_string())
        }
        (None, Some(rows), Some(texts)) => {
            (rows.clone(), texts.clone(), rows.display().to_string(), "the user's own data".into())
        }
        _ => return glosses(size),
    };
    let columns = if args.text_columns.is_empty() && args.data.is_some() {
        vec!["title".to_string(), "abstract".into()]
    } else {
        args.text_columns.clone()
    };
    let how =
        Reading { text: columns, keep: Keep::Others, rows: (size.rows < usize::MAX).then_some(size.rows), ..Reading::default() };
    let read_texts = mereo_text::read::read(&texts, &how)?;
    let mut x = read(&rows)?;
    if size.rows < x.rows {
        x.data.truncate(size.rows * x.cols);
        x.rows = size.rows;
    }
    if x.rows != read_texts.texts.len() {
        return Err(Failure::usage(format!(
            "there are {} texts for {} rows; give one for each row",
            read_texts.texts.len(),
            x.rows
        )));
    }
    let classes = read_texts.columns.into_iter().find_map(|(name, values)| match values {
        Told::Text(words) if name.contains("cat") || name.contains("class") || name.contains("label") => Some(words),
        _ => None,
    });
    Ok(Corpus { name, credit, x, texts: read_texts.texts, classes })
}

/// The embedded glosses.
fn glosses(size: Size) -> Result<Corpus> {
    let (mut x, set) = mereo::data::load("glosses")?;
    let texts = mereo::data::texts("glosses")?.ok_or_else(|| Failure::other("the embedded glosses have no texts"))?;
    let rows = size.rows.min(x.rows);
    x.data.truncate(rows * x.cols);
    x.rows = rows;
    let classes = texts.columns.into_iter().find(|(name, _)| name == "lexname");
    let classes = classes.map(|(_, words)| words.into_iter().take(rows).map(Some).collect());
    Ok(Corpus {
        name: "the embedded glosses".into(),
        credit: set.credit.into(),
        x,
        texts: texts.texts.into_iter().take(rows).collect(),
        classes,
    })
}

/// A number of a claim.
fn three(v: f64) -> String {
    format!("{v:.3}")
}

fn median(mut v: Vec<f64>) -> f64 {
    v.retain(|v| v.is_finite());
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => f64::midpoint(v[n / 2 - 1], v[n / 2]),
    }
}

/// Cells of a table.
fn line(cells_of: &[String]) -> Vec<String> {
    cells(&cells_of.iter().map(String::as_str).collect::<Vec<_>>())
}
