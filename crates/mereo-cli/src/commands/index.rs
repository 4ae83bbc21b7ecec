//! `mereo index`: a model's codes of a corpus, with its rows and texts, for all that looks at latents.

use crate::args::{Global, ModelAndData};
use crate::failure::Result;
use crate::progress::Progress;
use crate::{load, show, stop};
use mereo::source;
use mereo_meaning::Texts;
use mereo_meaning::index::{self, Build, Column, Values};
use mereo_text::{Column as Told, Keep, Reading, read};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

/// Flags of `mereo index`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub from: ModelAndData,
    /// The folder to write; an index that is there is replaced.
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Texts of the rows, in their order: .txt (a line each), .csv, .tsv, .jsonl or .parquet [default: those that come with embedded
    /// data].
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,
    /// Columns of the texts' file that make up a text, joined by ". " [default: its only column of words, or the one called text].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "texts")]
    pub text_columns: Vec<String>,
    /// Columns of the texts' file to keep beside: classes and numbers that latents may foretell.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "texts")]
    pub columns: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  mereo index sae.mereo minilm.npy --texts abstracts.parquet --text-columns title,abstract --columns category -o arxiv.index
  mereo index words.mereo glosses -o words.index                         embedded, with its texts and columns
  mereo index faces.mereo faces -o faces.index
  mereo search arxiv.index \"galaxy clusters\"";

/// Encodes all rows and writes the index.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let (bundle, data) = load::model_and_data(&args.from, None, global)?;
    let started = Instant::now();
    let (texts, columns) = told(args, &data)?;
    let source = data.source.as_ref();
    let bar = Progress::new("encoding", global).over(source::count(source));
    let mut watch = |rows| {
        bar.step(rows);
        if stop::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let how = Build {
        data: &data.name,
        texts: texts.as_ref().map(|t| t as &dyn Texts),
        columns: &columns,
        memory: args.from.reading.memory.map_or(512 << 20, |m| (m / 2) as usize),
        watch: Some(&mut watch),
    };
    let about = index::build(&args.output, &bundle, source, how).map_err(|e| stop::or(e, "no index was written"))?;
    bar.clear();
    let seconds = started.elapsed().as_secs_f64();
    let silent = {
        let index = mereo_meaning::Index::open(&args.output)?;
        let codes = index.codes();
        (0..codes.latents()).filter(|&j| codes.by_latent.len(j) == 0).count()
    };
    if global.json {
        return show::json(&json!({
            "index": args.output.display().to_string(), "rows": about.rows, "latents": about.latents, "entries": about.entries,
            "never_active": silent, "texts": about.texts, "columns": about.columns, "seconds": seconds,
        }));
    }
    let mut rows = vec![
        (
            "index".into(),
            format!("{} rows, {} latents of {}", show::count(about.rows), show::count(about.latents), bundle.model.method()),
        ),
        (
            "active".into(),
            format!(
                "{} latents a row; {} latents never",
                show::number(about.entries as f64 / about.rows.max(1) as f64),
                show::count(silent)
            ),
        ),
        ("time".into(), show::seconds(seconds)),
        ("written".into(), args.output.display().to_string()),
    ];
    if let Some(texts) = &texts {
        rows.insert(2, ("texts".into(), show::count(texts.len())));
    }
    show::print(&show::pairs(&rows))
}

/// Texts of the rows, and what else is known of them: from the file that was named, or as they come with the data.
fn told(args: &Args, data: &load::Loaded) -> Result<(Option<Vec<String>>, Vec<Column>)> {
    if let Some(path) = &args.texts {
        let keep = if args.columns.is_empty() { Keep::Nothing } else { Keep::Named(args.columns.clone()) };
        let table = read::read(path, &Reading { text: args.text_columns.clone(), keep, ..Reading::default() })?;
        let columns = table.columns.iter().map(|(name, values)| column(name, values)).collect();
        return Ok((Some(table.texts), columns));
    }
    let known = if data.kind == "embedded" { mereo::data::texts(&data.name)? } else { None };
    let Some(known) = known else { return Ok((None, Vec::new())) };
    let columns = known.columns.into_iter().map(|(name, values)| {
        let words: Vec<Option<&str>> = values.iter().map(|v| Some(v.as_str()).filter(|v| !v.is_empty())).collect();
        Column { name, values: Values::classes(&words) }
    });
    Ok((Some(known.texts), columns.collect()))
}

fn column(name: &str, values: &Told) -> Column {
    let values = match values {
        Told::Text(words) => Values::classes(words),
        Told::Number(numbers) => Values::Numbers(numbers.clone()),
        Told::Bool(flags) => Values::classes(&flags.iter().map(|f| f.map(|f| f.to_string())).collect::<Vec<_>>()),
    };
    Column { name: name.into(), values }
}
