//! `mereo embed`: texts to rows of numbers, by an encoder on this machine or by an endpoint.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{output, show, stop};
use mereo::{Mat, export};
use mereo_text::endpoint::{Ended, Endpoint, Prices, Run, Store};
use mereo_text::{Encoder, Keep, Reading, read};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Flags of `mereo embed`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The texts: .txt (a line each), .csv, .tsv, .jsonl or .parquet.
    pub texts: PathBuf,
    /// Where to write the rows (texts × numbers): .npy, .parquet, .csv or .tsv.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// An encoder on this machine: a folder as sentence-transformers or model2vec save it, or its name in the cache of Hugging Face.
    #[arg(long, value_name = "ENCODER", required_unless_present = "endpoint")]
    pub encoder: Option<String>,
    /// Columns that make up a text, joined by ". " [default: the only column of words, or the one called text].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub text_columns: Vec<String>,
    /// Characters of a text that are read, from the first on [default: all that the encoder takes].
    #[arg(long, value_name = "N", value_parser = crate::args::positive)]
    pub chars: Option<usize>,
    /// Have a server embed them, which speaks as OpenAI's does: texts are sent there.
    #[arg(long, value_name = "URL", requires = "model", conflicts_with = "encoder")]
    pub endpoint: Option<String>,
    /// The server's model.
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub model: Option<String>,
    /// Environment variable with the key of the server [default: OPENAI_API_KEY for OpenAI's own, none for others].
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub key_from: Option<String>,
    /// Texts in a request.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = crate::args::positive)]
    pub batch: usize,
    /// Requests at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = crate::args::positive)]
    pub concurrency: usize,
    /// Requests a minute at most.
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub per_minute: Option<f64>,
    /// The price of a million tokens, for costs.
    #[arg(long, value_name = "PRICE", requires = "endpoint")]
    pub price: Option<f64>,
    /// What all may cost.
    #[arg(long, value_name = "COST", requires = "price")]
    pub budget: Option<f64>,
    /// Attempts at a request.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = crate::args::positive)]
    pub attempts: usize,
    /// Seconds that an answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    pub timeout: f64,
}

const EXAMPLES: &str = "\
Examples:
  mereo embed abstracts.parquet --text-columns title,abstract --encoder all-MiniLM-L6-v2 -o minilm.npy
  mereo embed notes.txt --encoder ./potion-base-8M -o notes.npy
  mereo embed notes.jsonl --endpoint http://localhost:11434 --model nomic-embed-text -o notes.npy

What was embedded is kept beside the output until all is done: the same command goes on where it was stopped.";

/// Texts between two looks at the clock and at Ctrl-C.
const PIECE: usize = 1024;

/// Embeds all texts.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    export::check_mat(&args.output).map_err(|e| Failure::usage(e.to_string()))?;
    output::check(&args.output, &[&args.texts])?;
    let how = Reading { text: args.text_columns.clone(), keep: Keep::Nothing, ..Reading::default() };
    let mut texts = read::read(&args.texts, &how)?.texts;
    if let Some(most) = args.chars {
        for text in &mut texts {
            if let Some((end, _)) = text.char_indices().nth(most) {
                text.truncate(end);
            }
        }
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    stop::on_request("stopping; what was embedded is kept", global.quiet);
    let started = Instant::now();
    let part = part(&args.output);
    let (rows, by, note) = match (&args.encoder, &args.endpoint) {
        (Some(name), _) => {
            let encoder = mereo_text::open(name)?;
            (local(encoder.as_ref(), &texts, &part, global)?, name.clone(), None)
        }
        _ => remote(args, &texts, &part, global)?,
    };
    export::write_mat(&args.output, &rows)?;
    // What was kept is in the output now.
    let _ = fs::remove_dir_all(&part);
    let seconds = started.elapsed().as_secs_f64();
    let empty = texts.iter().filter(|t| t.trim().is_empty()).count();
    if global.json {
        return show::json(&json!({
            "texts": rows.rows, "columns": rows.cols, "by": by, "empty": empty, "seconds": seconds, "took": note,
            "output": args.output.display().to_string(),
        }));
    }
    let mut lines = vec![
        ("embedded".to_string(), format!("{} texts in {} columns by {by}", show::count(rows.rows), rows.cols)),
        (
            "time".into(),
            format!("{}, {} texts a second", show::seconds(seconds), show::number(rows.rows as f64 / seconds.max(1e-9))),
        ),
    ];
    lines.extend(note.map(|n| ("took".into(), n)));
    if empty > 0 {
        lines.push(("empty".into(), format!("{} texts have no words; their rows say nothing", show::count(empty))));
    }
    lines.push(("written".into(), args.output.display().to_string()));
    show::print(&show::pairs(&lines))
}

/// Where rows are kept until all are there.
fn part(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_os_string();
    name.push(".part");
    name.into()
}

/// What rows that are kept were made of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    encoder: String,
    texts: usize,
    dim: usize,
    hash: String,
}

/// Rows by an encoder here, those of an earlier run first.
fn local(encoder: &dyn Encoder, texts: &[&str], part: &Path, global: &Global) -> Result<Mat> {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut hex = String::new();
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    let kept = Kept { encoder: encoder.name().into(), texts: texts.len(), dim: encoder.dim(), hash: hex };
    let failed = |e: std::io::Error| Failure::other(format!("{} can't be written: {e}", part.display()));
    let (about, numbers) = (part.join("about.json"), part.join("rows.f32"));
    let same = fs::read(&about).ok().and_then(|json| serde_json::from_slice::<Kept>(&json).ok()).is_some_and(|k| k == kept);
    if !same {
        fs::create_dir_all(part).map_err(failed)?;
        fs::write(&numbers, b"").map_err(failed)?;
        fs::write(&about, serde_json::to_vec(&kept).map_err(|e| Failure::other(e.to_string()))?).map_err(failed)?;
    }
    let width = 4 * kept.dim;
    let bytes = fs::read(&numbers).map_err(failed)?;
    let done = (bytes.len() / width.max(1)).min(texts.len());
    let mut data: Vec<f32> =
        bytes[..done * width].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if done > 0 {
        global.say(format_args!("{} of {} texts were embedded before", show::count(done), show::count(texts.len())));
    }
    let mut file = File::options().write(true).open(&numbers).map_err(failed)?;
    // A row that was cut off is written again.
    file.set_len((done * width) as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
    let bar = Progress::new("embedding", global).over(texts.len());
    bar.step(done);
    for piece in texts[done..].chunks(PIECE) {
        if stop::asked() {
            let so_far = data.len() / kept.dim.max(1);
            return Err(Failure::Interrupted(format!(
                "stopped; {} texts are kept, the same command goes on",
                show::count(so_far)
            )));
        }
        let rows = encoder.encode(piece)?;
        let bytes: Vec<u8> = rows.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        file.write_all(&bytes).map_err(failed)?;
        data.extend_from_slice(&rows.data);
        bar.step(piece.len());
    }
    bar.clear();
    Ok(Mat { rows: texts.len(), cols: kept.dim, data })
}

/// Rows by an endpoint; those that failed are told, and asked for again by the same command.
fn remote(args: &Args, texts: &[&str], part: &Path, global: &Global) -> Result<(Mat, String, Option<String>)> {
    let model = args.model.clone().unwrap_or_default();
    let client = Endpoint {
        url: args.endpoint.clone().unwrap_or_default(),
        key_from: args.key_from.clone(),
        model: model.clone(),
        batch: args.batch,
        concurrency: args.concurrency,
        per_minute: args.per_minute,
        attempts: args.attempts,
        timeout: args.timeout,
        prices: args.price.map(|input| Prices { input, output: 0.0 }),
        budget: args.budget,
        ..Endpoint::default()
    }
    .client()?;
    fs::create_dir_all(part).map_err(|e| Failure::other(format!("{} can't be written: {e}", part.display())))?;
    let mut store: Store<Vec<f32>> = Store::open(part.join("embeddings.jsonl"))?;
    let estimate = client.estimate_embeddings(texts);
    let cost = estimate.cost.map(|c| format!(", about {}", show::number(c))).unwrap_or_default();
    global.say(format_args!(
        "{} texts, about {} tokens{cost}; {} answers are kept",
        show::count(texts.len()),
        show::count(estimate.usage.prompt as usize),
        show::count(store.len())
    ));
    let bar = Progress::new("embedding", global);
    let run = Run { cancel: Some(stop::flag()), watch: None };
    let embedded = client.embeddings_stored(texts, &mut store, &run)?;
    bar.clear();
    let missing = embedded.missing();
    if !missing.is_empty() {
        let why = match (&embedded.report.ended, embedded.report.failed.first()) {
            (Ended::Refused(why) | Ended::Budget(why), _) => why.clone(),
            (Ended::Cancelled, _) => "stopped".into(),
            (Ended::All, first) => first.map_or(String::new(), |f| format!("row {}: {}", f.row, f.why)),
        };
        let said = format!(
            "{} of {} texts have no row, the first is {} ({why}); the others are kept, and the same command asks for the rest",
            show::count(missing.len()),
            show::count(texts.len()),
            missing[0]
        );
        return Err(if stop::asked() { Failure::Interrupted(said) } else { Failure::other(said) });
    }
    let report = &embedded.report;
    let mut note = format!("{} requests, {} tokens", show::count(report.requests), show::count(report.usage.prompt as usize));
    if let Some(cost) = report.cost {
        let _ = write!(note, ", cost {}", show::number(cost));
    }
    let (_, rows) = embedded.matrix()?;
    Ok((rows, model, Some(note)))
}
