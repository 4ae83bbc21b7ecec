//! Rows in memory, for the commands that fit them many times: what they are, and where the page about them goes.

use crate::args::{Global, Reading};
use crate::failure::{Failure, Result};
use crate::load::{self, Loaded};
use crate::methods::Runner;
use crate::{output, show, stop};
use mereo::mat::Rows;
use mereo::prepare::{Pipeline, Recipe};
use mereo::source::{self, Memory};
use mereo::{fold, store};
use mereo_report::{Block, Document, Table};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Numbers that are worked on where `--rows` doesn't say otherwise.
const NUMBERS: usize = 20_000_000;

/// Flags of a command that fits rows in memory many times.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// The data: an embedded name, a fetched name, or a path.
    #[arg(default_value = "faces")]
    pub data: OsString,
    /// Seed of all randomness.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Height and width of the images that the rows are, where the file does not say, such as 19x19.
    #[arg(long, value_name = "HxW", value_parser = crate::args::shape)]
    pub image: Option<(usize, usize)>,
    #[command(flatten)]
    pub reading: Reading,
}

/// Rows in memory, and what is known of them.
pub struct Opened {
    /// What DATA is.
    pub data: Loaded,
    /// Height and width, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// The rows that are worked on, as they are in the data.
    pub rows: Rows<'static>,
    /// How many rows the data has.
    pub all: usize,
}

impl Subject {
    /// Opens DATA and draws at most `most` rows: by itself, as many as make 20 million numbers.
    pub fn open(&self, most: Option<usize>, global: &Global) -> Result<Opened> {
        let data = load::open(&self.data, &self.reading)?;
        let image = data.image_or(self.image)?;
        let all = source::count(data.source.as_ref());
        let most = most.unwrap_or_else(|| (NUMBERS / data.source.cols().max(1)).max(1));
        if all > most {
            global.say(format_args!("note: {} of {} rows are worked on; --rows takes more", show::count(most), show::count(all)));
        }
        let rows =
            owned(fold::draw(data.source.as_ref(), most.min(all), self.seed).map_err(|e| stop::or(e, "nothing was written"))?);
        if rows.rows() == 0 || rows.cols() == 0 {
            return Err(Failure::other(format!("{} has no rows; give data of at least 10", data.name)));
        }
        Ok(Opened { data, image, rows, all })
    }

    /// What a fit needs besides its parameters; `quiet` global flags draw no bars.
    pub fn runner<'a>(&self, global: &'a Global) -> Runner<'a> {
        let cancel = stop::on_request("stopping", global.quiet);
        Runner { memory: self.reading.memory, cancel, global, left: "nothing was written" }
    }
}

impl Opened {
    /// The rows, prepared.
    pub fn prepared(&self, steps: &[Recipe]) -> Result<Rows<'static>> {
        prepared(&self.rows, steps)
    }

    /// Facts for the foot of a page.
    pub fn made(&self) -> Vec<(String, String)> {
        let mut made = vec![
            ("Threads".into(), rayon::current_num_threads().to_string()),
            (
                "Data".into(),
                format!("{}: {} rows of {} columns", self.data.name, show::count(self.all), show::count(self.rows.cols())),
            ),
        ];
        made.extend(self.data.credit.iter().map(|c| ("Credit".into(), c.clone())));
        made
    }

    /// What was worked on, in one line.
    pub fn line(&self, steps: &[Recipe]) -> String {
        let drawn = if self.rows.rows() < self.all {
            format!("{} of {}", show::count(self.rows.rows()), show::count(self.all))
        } else {
            show::count(self.all)
        };
        let image = self.image.map(|(h, w)| format!(" (images of {h}×{w})")).unwrap_or_default();
        let prep = if steps.is_empty() { "no preparation".to_string() } else { format!("prepared by {}", chain(steps)) };
        format!("{drawn} rows · {} columns{image} · {prep}", show::count(self.rows.cols()))
    }
}

/// Rows through the steps of a preparation that is learned from them.
pub fn prepared(rows: &Rows, steps: &[Recipe]) -> Result<Rows<'static>> {
    let pipeline = Pipeline::fit(steps, &Memory::new(rows.slice(0, rows.rows())))?;
    Ok(pipeline.apply(rows)?.0)
}

/// The names of the steps of a preparation.
pub fn chain(steps: &[Recipe]) -> String {
    if steps.is_empty() { "raw".into() } else { steps.iter().map(|r| r.name()).collect::<Vec<_>>().join(",") }
}

/// Rows that nothing is borrowed for.
pub fn owned(rows: Rows) -> Rows<'static> {
    match rows {
        Rows::Dense(x) => Rows::Dense(mereo::mat::DenseRows {
            cols: x.cols,
            data: x.data.into_owned().into(),
            weights: x.weights.map(mereo::mat::Weights::into_owned),
        }),
        Rows::Sparse(x) => Rows::Sparse(mereo::mat::SparseRows {
            cols: x.cols,
            indptr: x.indptr.into_owned().into(),
            indices: x.indices.into_owned().into(),
            values: x.values.into_owned().into(),
            weights: x.weights.map(mereo::mat::Weights::into_owned),
        }),
    }
}

/// Checks where the page goes, before the work.
pub fn check(path: &Path, data: &OsStr) -> Result<()> {
    let inputs: Vec<&Path> = load::file(data).into_iter().collect();
    output::check(path, &inputs)
}

/// Writes the page, and prints its answer and tables, or `json` in their place.
pub fn publish(page: &Document, path: &PathBuf, global: &Global, json: serde_json::Value) -> Result<()> {
    let text = page.html();
    output::keep(path, "the report", |path| store::write_whole(path, |file| file.write_all(text.as_bytes())))?;
    let report = std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    if global.json {
        let mut json = json;
        json["report"] = report.into();
        return show::json(&json);
    }
    let mut out = String::new();
    for section in &page.sections {
        for block in &section.blocks {
            if let Block::Table(table) = block {
                out += &plain(table);
                out.push('\n');
            }
        }
    }
    for line in &page.summary {
        out.push_str(line);
        out.push('\n');
    }
    show::print(&format!("{out}report written to {report}\n"))
}

/// A table as text.
fn plain(t: &Table) -> String {
    let header: Vec<&str> = t.header.iter().map(String::as_str).collect();
    show::table(&header, &t.rows, &[&[0], t.words.as_slice()].concat())
}

/// Words as owned cells.
pub fn cells(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_string()).collect()
}
