//! `mereo search`: rows of an index near a query, which latents may move.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::show;
use clap::ValueEnum;
use mereo_meaning::near::{self, Hit, Nearness};
use mereo_meaning::steer::{self, Move};
use mereo_meaning::{Index, lexical};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Flags of `mereo search`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// An index that `mereo index` wrote.
    pub index: PathBuf,
    /// What to look for. Without --encoder the query is the mean of the rows whose texts match its words best.
    #[arg(required_unless_present = "row")]
    pub query: Option<String>,
    /// Look for rows like this one, counted from 0, in place of a text.
    #[arg(long, value_name = "ROW", conflicts_with = "query")]
    pub row: Option<usize>,
    /// A latent to move the query up by, as NUMBER:WEIGHT or "words of its label":WEIGHT [weight by default: 1]; may be repeated.
    #[arg(long, value_name = "LATENT:WEIGHT")]
    pub up: Vec<String>,
    /// A latent to move the query down by, in the same way.
    #[arg(long, value_name = "LATENT:WEIGHT")]
    pub down: Vec<String>,
    /// How latents move it.
    #[arg(long, value_enum, default_value_t = How::Direct)]
    pub how: How,
    /// Steps of --how refine.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub steps: usize,
    /// Rows to show.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = crate::args::positive)]
    pub top: usize,
    /// Look by words alone, in the texts.
    #[arg(long, conflicts_with_all = ["up", "down", "row"])]
    pub words: bool,
    /// What embeds the query as the rows were: a folder or a name, as for `mereo embed`.
    #[arg(long, value_name = "ENCODER")]
    pub encoder: Option<String>,
}

/// How latents move a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Their directions are added to it, WEIGHT times at length 1
    Direct,
    /// Their codes are set to WEIGHT, those of --down to WEIGHT or 0, and decoded
    Clamp,
    /// The same, and then moved until the model gives it just those codes
    Refine,
}

const EXAMPLES: &str = "\
Examples:
  mereo search arxiv.index \"galaxy clusters\" --encoder all-MiniLM-L6-v2
  mereo search arxiv.index \"galaxy clusters\" --up \"gravitational lensing:1.0\" --down 8123:0.5
  mereo search arxiv.index --row 17 --top 5
  mereo search arxiv.index \"dark matter halo\" --words";

/// Matches of words whose mean stands for a query that nothing embeds.
const STAND_IN: usize = 5;
/// Numbers up to here are latents, else words of a label.
const WEIGHT: f32 = 1.0;

/// Searches, once as typed and once moved.
pub fn run(args: &Args, global: &Global) -> Result<()> {
    let index = Index::open(&args.index)?;
    if args.words {
        index.need_texts()?;
        let hits = lexical::search(&index, args.query.as_deref().unwrap_or_default(), args.top);
        return tell(args, &index, global, &Found { hits, ..Found::default() });
    }
    let (query, from) = query(args, &index, global)?;
    let skip = |i: usize| args.row == Some(i);
    let look = |query: &[f32]| near::nearest(index.rows(), query, Nearness::Cosine, args.top, skip);
    let before = look(&query);
    let names = index.labels()?;
    let up = args.up.iter().map(|text| latent(&index, &names, text));
    let down = args.down.iter().map(|text| {
        let Move { latent, by } = latent(&index, &names, text)?;
        // A direction is taken away; a code is set, to nothing unless a weight was typed.
        let by = match args.how {
            How::Direct => -by,
            _ if weight(text).1.is_none() => 0.0,
            _ => by,
        };
        Ok(Move { latent, by })
    });
    let moves = up.chain(down).collect::<Result<Vec<_>>>()?;
    if moves.is_empty() {
        return tell(args, &index, global, &Found { hits: before, from, ..Found::default() });
    }
    let mut errors = Vec::new();
    let moved = match args.how {
        How::Direct => steer::direct(&index.bundle, &query, &moves)?,
        How::Clamp => steer::clamp(&index.bundle, &query, &moves)?,
        How::Refine => {
            let wanted = steer::wanted(&index.bundle, &query, &moves)?;
            let refined = steer::refine(&index.bundle, &query, &wanted, args.steps)?;
            errors = refined.errors;
            refined.moved
        }
    };
    let found = Found { hits: look(&moved.query), before, from, moves, cosine: Some(moved.cosine), errors };
    tell(args, &index, global, &found)
}

/// What was found.
#[derive(Default)]
struct Found {
    hits: Vec<Hit>,
    /// What was found before latents moved the query.
    before: Vec<Hit>,
    /// What the query is made of, where nothing embedded it.
    from: Option<String>,
    moves: Vec<Move>,
    cosine: Option<f64>,
    errors: Vec<f64>,
}

/// The query as a row, and what it is made of where nothing embedded it.
fn query(args: &Args, index: &Index, global: &Global) -> Result<(Vec<f32>, Option<String>)> {
    if let Some(i) = args.row {
        if i >= index.about.rows {
            return Err(Failure::usage(format!("there is no row {i}; the index has {}, counted from 0", index.about.rows)));
        }
        return Ok((index.row(i).to_vec(), None));
    }
    let text = args.query.as_deref().unwrap_or_default();
    if let Some(name) = &args.encoder {
        let rows = mereo_text::open(name)?.encode(&[text])?;
        if rows.cols != index.about.cols {
            return Err(Failure::usage(format!(
                "{name} gives rows of {} columns, those of the index have {}; name the encoder that made them",
                rows.cols, index.about.cols
            )));
        }
        return Ok((rows.data, None));
    }
    index
        .need_texts()
        .map_err(|e| Failure::usage(format!("nothing can make a row of the query: name its --encoder, or give a --row; {e}")))?;
    let hits = lexical::search(index, text, STAND_IN);
    if hits.is_empty() {
        return Err(Failure::other(format!("no text has a word of `{text}`; name an --encoder, which knows more words")));
    }
    let mut mean = vec![0f32; index.about.cols];
    for hit in &hits {
        mereo::linalg::axpy(&mut mean, 1.0 / hits.len() as f32, index.row(hit.at));
    }
    let from = format!("the mean of the {} rows that match its words best, for no --encoder was named", hits.len());
    global.say(format_args!("the query is {from}"));
    Ok((mean, Some(from)))
}

/// A latent and its weight, as typed: the words before the last colon, unless what follows is no number.
fn weight(text: &str) -> (&str, Option<f32>) {
    match text.rsplit_once(':').and_then(|(name, w)| Some((name, w.trim().parse::<f32>().ok()?))) {
        Some((name, w)) => (name.trim(), Some(w)),
        None => (text.trim(), None),
    }
}

/// The latent that was typed: its number, or the words of its label.
fn latent(index: &Index, names: &[Option<mereo_meaning::index::Labelled>], text: &str) -> Result<Move> {
    let (name, by) = weight(text);
    let by = by.unwrap_or(WEIGHT);
    if !(by.is_finite() && by >= 0.0) {
        return Err(Failure::usage(format!(
            "`{text}` has a weight of {by}; give one of at least 0, for --up and --down say the direction"
        )));
    }
    if let Ok(latent) = name.parse() {
        index.need_latent(latent)?;
        return Ok(Move { latent, by });
    }
    if names.iter().all(Option::is_none) {
        return Err(Failure::usage(format!(
            "latents of {} have no labels to look for `{name}` in; name a number, or run `mereo label {}` first",
            index.path().display(),
            index.path().display()
        )));
    }
    let labels: Vec<&str> = names.iter().map(|l| l.as_ref().map_or("", |l| l.label.as_str())).collect();
    let hit = lexical::search(&labels, name, 1);
    let hit = hit.first().ok_or_else(|| {
        Failure::other(format!("no label has a word of `{name}`; see them with `mereo latent {}`", index.path().display()))
    })?;
    Ok(Move { latent: hit.at, by })
}

fn tell(args: &Args, index: &Index, global: &Global, found: &Found) -> Result<()> {
    let names = index.labels()?;
    let name = |j: usize| names[j].as_ref().map_or(String::new(), |l| l.label.clone());
    let place = |at: usize| found.before.iter().position(|h| h.at == at).map(|p| p + 1);
    let gone: Vec<&Hit> = found.before.iter().filter(|b| found.hits.iter().all(|h| h.at != b.at)).collect();
    if global.json {
        let rows: Vec<Value> = (found.hits.iter())
            .map(|h| json!({ "row": h.at, "score": h.score, "before": place(h.at), "text": index.text(h.at) }))
            .collect();
        let moves: Vec<Value> =
            found.moves.iter().map(|m| json!({ "latent": m.latent, "by": m.by, "label": name(m.latent) })).collect();
        return show::json(&json!({
            "query": args.query, "row": args.row, "query_is": found.from, "how": args.how, "moves": moves, "cosine": found.cosine,
            "errors": found.errors, "results": rows, "gone": gone.iter().map(|h| h.at).collect::<Vec<_>>(),
        }));
    }
    let mut out = String::new();
    for m in &found.moves {
        let by = if args.how == How::Direct { format!("{:+}", m.by) } else { format!("= {}", m.by) };
        let told = format!("latent {} {by}  {}", m.latent, name(m.latent));
        out += told.trim_end();
        out.push('\n');
    }
    if let Some(cosine) = found.cosine {
        let _ = writeln!(
            out,
            "the query moved to a cosine of {cosine:.3} with what was typed; {} of {} rows are new",
            gone.len(),
            found.before.len()
        );
    }
    if let (Some(first), Some(last)) = (found.errors.first(), found.errors.last()) {
        let _ = writeln!(
            out,
            "its codes are off those wanted by {} of their square, {} when just decoded",
            show::number(*last),
            show::number(*first)
        );
    }
    let moved = found.cosine.is_some();
    let rows: Vec<Vec<String>> = (found.hits.iter().enumerate())
        .map(|(p, h)| {
            let mut row = vec![(p + 1).to_string(), h.at.to_string(), format!("{:.3}", h.score)];
            if moved {
                row.push(place(h.at).map_or("new".into(), |b| b.to_string()));
            }
            row.push(head(index.text(h.at)));
            row
        })
        .collect();
    let header: &[&str] = if moved { &["", "row", "score", "before", "text"] } else { &["", "row", "score", "text"] };
    if rows.is_empty() {
        out += "nothing was found\n";
    } else {
        out += &show::table(header, &rows, &[header.len() - 1]);
    }
    show::print(&out)
}

/// The beginning of a text, in one line.
pub fn head(text: &str) -> String {
    const LONGEST: usize = 90;
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_what_follows_the_last_colon() {
        assert_eq!(weight("gravitational lensing:1.5"), ("gravitational lensing", Some(1.5)));
        assert_eq!(weight("8123:0.5"), ("8123", Some(0.5)));
        assert_eq!(weight("a: b"), ("a: b", None));
        assert_eq!(weight("12"), ("12", None));
    }

    #[test]
    fn heads_are_one_line() {
        assert_eq!(head("a\n b"), "a b");
        assert_eq!(head(&"é".repeat(100)).chars().count(), 91);
    }
}
