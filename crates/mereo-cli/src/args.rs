//! What was typed: the commands and the flags that they share.

use crate::commands;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Learns what data is made of: PCA, vector quantisation and NMF side by side.
///
/// Every method explains rows of numbers the same way, rows ≈ codes · atoms. DATA is an embedded name (see `mereo data
/// list`), a fetched name, or a path: .npy, .npz, .csv, .tsv, .safetensors, .parquet, .mtx, .mat or a folder of images.
#[derive(Debug, Parser)]
#[command(name = "mereo", version, arg_required_else_help = true, max_term_width = 110, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mereo compare faces                              PCA, VQ and NMF on the embedded faces: a table and report.html
  mereo data list                                  what is embedded, and what can be fetched";

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print the result as one JSON document.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Say nothing on standard error but errors.
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub quiet: bool,
    /// Threads to work with; 0 takes every core. Results do not depend on it.
    #[arg(long, global = true, value_name = "N", default_value_t = 0, help_heading = "Everywhere")]
    pub threads: usize,
}

impl Global {
    /// One line of the story on standard error, unless `--quiet`.
    pub fn say(&self, line: std::fmt::Arguments) {
        if !self.quiet {
            crate::show::say(line);
        }
    }
}

/// A model and rows that it is used on.
#[derive(Debug, Clone, Args)]
pub struct ModelAndData {
    /// A model that `mereo fit` wrote.
    pub model: PathBuf,
    /// The data: an embedded name, a fetched name, or a path.
    pub data: OsString,
    #[command(flatten)]
    pub reading: Reading,
}

/// How to read DATA.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reading data")]
pub struct Reading {
    /// Bytes to work in, such as 800M or 2G: larger files are read in blocks (K, M, G, T and KiB … count in 1024s, KB … in 1000s).
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub memory: Option<u64>,
    /// The first line of a text file names its columns [default: seen from the file].
    #[arg(long, overrides_with = "no_header")]
    pub header: bool,
    /// The first line of a text file is data.
    #[arg(long, overrides_with = "header")]
    pub no_header: bool,
    /// The column of a parquet file that holds the rows as lists of numbers.
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// The variable of an .npz, .mat or .safetensors file that holds the rows.
    #[arg(long, value_name = "NAME")]
    pub variable: Option<String>,
    /// Resize images to height × width pixels, such as 64x64.
    #[arg(long, value_name = "HxW", value_parser = shape)]
    pub resize: Option<(usize, usize)>,
    /// Whether an entry that is empty is a NaN, since who reads it can do without some.
    #[arg(skip)]
    pub missing: bool,
}

impl Reading {
    /// The same for rows of which such entries are unknown.
    pub fn with(&self, missing: mereo::Missing) -> Self {
        Self { missing: missing != mereo::Missing::None, ..self.clone() }
    }

    /// The same for the library.
    pub fn how(&self) -> mereo::source::Open {
        mereo::source::Open {
            memory: self.memory,
            header: (self.header || self.no_header).then_some(self.header),
            column: self.column.clone(),
            variable: self.variable.clone(),
            resize: self.resize,
            missing: self.missing,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fit PCA, VQ and NMF with the same number of atoms, print one table and write report.html.
    Compare(commands::compare::Args),
    /// Say how many atoms data has, by entries held out and by seeds: a table, rank.html and a recommendation.
    Rank(commands::rank::Args),
    /// Say which atoms every random start finds: a table, and stability.html with the atoms.
    Stability(commands::stability::Args),
    /// Say what makes parts emerge: atoms, rows, start, preparation and constraint in one grid, with parts.html.
    Parts(commands::parts::Args),
    /// Reproduce published figures and claims, line by line, as one page.
    Repro(commands::repro::Args),
    /// Watch a shallow autoencoder learn, in equations and in a simulation: a table of its course, and dynamics.html.
    Dynamics(commands::dynamics::Args),
    /// Learn a model from data and write it to a file.
    Fit(commands::fit::Args),
    /// Learn many sparse autoencoders in the same passes: latents, k, lengths of a step and seeds in one grid.
    Sweep(commands::sweep::Args),
    /// Say how the loss of a sweep falls with latents and with k: exponents with errors, scaling.html, and predictions.
    Scaling(commands::scaling::Args),
    /// Write the codes of rows on a model's atoms.
    Transform(commands::transform::Args),
    /// Rebuild rows from their codes, and tell the error.
    Reconstruct(commands::reconstruct::Args),
    /// Show what a model learned: its atoms, and how it does on data.
    Inspect(commands::inspect::Args),
    /// Turn texts into rows, by an encoder on this machine or an endpoint.
    Embed(commands::embed::Args),
    /// Write an index of a model over a corpus, which the next six commands read.
    Index(commands::index::Args),
    /// Show latents, or rows, of an index: examples, neighbours, company.
    Latent(commands::latent::Args),
    /// Call latents by name, and score the names.
    Label(commands::label::Args),
    /// Find general latents and the special ones below them.
    Families(commands::families::Args),
    /// Say how latents of a model split in a larger one, or which stand in for the latents of a class.
    Splitting(commands::splitting::Args),
    /// Say which latents tell classes, or two selections of rows, apart.
    Tell(commands::tell::Args),
    /// Search the rows of an index, with latents to steer by.
    Search(commands::search::Args),
    /// Write a model's atoms as numbers or as pictures.
    Export(commands::export::Args),
    /// Turn a sparse autoencoder of one library into that of another.
    Convert(commands::convert::Args),
    /// Say what a model, a checkpoint or a data file is.
    Info(commands::info::Args),
    /// List, fetch and find named data.
    Data(commands::data::Args),
    /// Print what a shell needs to complete this command line.
    Completions(commands::completions::Args),
}

/// A number of bytes: `1500000`, `800M`, `2G`, `1.5GiB`, `64KB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => f64::from(1 << 20),
        "g" | "gib" => f64::from(1 << 30),
        "t" | "tib" => (1u64 << 40) as f64,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(format!("`{unit}` is no unit of memory; use K, M, G or T, as in 2G")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number of bytes; write 800M or 2G"))?;
    let total = number * factor;
    if total < 1.0 || total >= u64::MAX as f64 {
        return Err("the memory must be at least one byte and less than 16 EiB".into());
    }
    Ok(total as u64)
}

/// A number of seconds, 0 or more.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(s) if (0.0..=1e9).contains(&s) => Ok(s),
        _ => Err("write a number of seconds, such as 30".into()),
    }
}

/// A count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("write a number from 1".into()),
    }
}

/// Steps of preparation by name.
pub fn recipe(name: &str) -> Result<mereo::Recipe, String> {
    name.trim().parse().map_err(|e: mereo::Error| e.to_string())
}

/// A height and a width in pixels: `64x48`.
pub fn shape(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(['x', 'X', '×']).and_then(|(h, w)| Some((h.trim().parse().ok()?, w.trim().parse().ok()?)));
    match pair {
        Some((h, w)) if h > 0 && w > 0 => Ok((h, w)),
        _ => Err("write height x width in pixels, such as 64x48".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bytes_are_read_as_written() {
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(bytes("1.5 MiB"), Ok(3 << 19));
        assert_eq!(bytes("64KB"), Ok(64_000));
        assert_eq!(bytes("12"), Ok(12));
        for bad in ["", "G", "-1", "1Q", "0", "1e3", "nan", "99999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shapes_are_height_then_width() {
        assert_eq!(shape("64x48"), Ok((64, 48)));
        for bad in ["64", "64x", "0x3", "ax3", "3x3x3"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
    }
}
