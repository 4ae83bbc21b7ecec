//! One file for each command: its flags (`Args`) and what it does (`run`).

pub mod choice;
pub mod compare;
pub mod completions;
pub mod convert;
pub mod data;
pub mod dynamics;
pub mod embed;
pub mod export;
pub mod families;
pub mod fit;
pub mod index;
pub mod info;
pub mod inspect;
pub mod label;
pub mod latent;
pub mod parts;
pub mod rank;
pub mod reconstruct;
pub mod repro;
pub mod scaling;
pub mod search;
pub mod splitting;
pub mod stability;
pub mod sweep;
pub mod tell;
pub mod transform;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Result};
use crate::show;
use mereo::compare::Facts;
use mereo::fold::Stop;
use serde_json::Value;

/// Does what was asked.
pub fn run(cli: Cli) -> Result<()> {
    let global = cli.global;
    // Every kernel runs on rayon's one pool; its size is fixed before the first use.
    rayon::ThreadPoolBuilder::new()
        .num_threads(global.threads)
        .build_global()
        .map_err(|e| Failure::usage(format!("{} threads can't be started: {e}", global.threads)))?;
    match cli.command {
        Command::Compare(args) => compare::run(&args, &global),
        Command::Rank(args) => rank::run(&args, &global),
        Command::Parts(args) => parts::run(&args, &global),
        Command::Repro(args) => repro::run(&args, &global),
        Command::Stability(args) => stability::run(&args, &global),
        Command::Dynamics(args) => dynamics::run(&args, &global),
        Command::Fit(args) => fit::run(&args, &global),
        Command::Sweep(args) => sweep::run(&args, &global),
        Command::Scaling(args) => scaling::run(&args, &global),
        Command::Transform(args) => transform::run(&args, &global),
        Command::Reconstruct(args) => reconstruct::run(&args, &global),
        Command::Inspect(args) => inspect::run(&args, &global),
        Command::Embed(args) => embed::run(&args, &global),
        Command::Index(args) => index::run(&args, &global),
        Command::Latent(args) => latent::run(&args, &global),
        Command::Label(args) => label::run(&args, &global),
        Command::Families(args) => families::run(&args, &global),
        Command::Splitting(args) => splitting::run(&args, &global),
        Command::Tell(args) => tell::run(&args, &global),
        Command::Search(args) => search::run(&args, &global),
        Command::Export(args) => export::run(&args, &global),
        Command::Convert(args) => convert::run(&args, &global),
        Command::Info(args) => info::run(&args, &global),
        Command::Data(args) => data::run(&args, &global),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Parameters in one line, the number of atoms first: `k 49, solver hals`.
pub fn params_line(params: &Value) -> String {
    let Value::Object(fields) = params else { return params.to_string() };
    let word = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    let mut fields: Vec<_> = fields.iter().filter(|(_, v)| !v.is_null()).collect();
    fields.sort_by_key(|(name, _)| *name != "k");
    fields.iter().map(|(name, v)| format!("{name} {}", word(v))).collect::<Vec<_>>().join(", ")
}

/// How far a fit got, for the lines that tell of it: what the last pass changed, and how steep it still was.
pub fn course(losses: &[f64], gradient: Option<f64>) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    if let Some(change) = mereo::compare::last_change(losses.iter().copied()) {
        rows.push(("last change".into(), format!("{} of the loss", show::number(change))));
    }
    if let Some(gradient) = gradient {
        rows.push(("gradient".into(), format!("{} of that of the first pass", show::number(gradient))));
    }
    rows
}

/// A change of the loss in one word, for tables.
pub fn change(facts: &Facts) -> String {
    facts.change().map_or("–".into(), |v| if v == 0.0 { "0".into() } else { format!("{v:.0e}") })
}

/// What to say of fits of which `stopped` came to their limit of passes, where some did.
pub fn limited(stopped: usize, fits: usize, remedy: &str) -> Option<String> {
    match (stopped, fits) {
        (0, _) => None,
        (1, 1) => Some(format!("The fit stopped at its limit of passes before it converged; {remedy}")),
        _ => Some(format!("{stopped} of {fits} fits stopped at their limit of passes before they converged; {remedy}")),
    }
}

/// Whether a fit ended because it came to its limit of passes before it could tell that it converged; one with a tolerance of 0 doesn't ask.
pub fn cut_short(stop: Stop, params: &Value) -> bool {
    stop == Stop::Limit && params["tol"].as_f64() != Some(0.0)
}

/// Why a fit with these parameters ended, in words.
pub fn ended(stop: Stop, params: &Value) -> &'static str {
    if stop == Stop::Limit && !cut_short(stop, params) { "as many as were asked for" } else { why(stop) }
}

/// Why a fit ended, in words.
pub fn why(stop: Stop) -> &'static str {
    match stop {
        Stop::Converged => "converged",
        Stop::Limit => "stopped at the limit before it converged",
        Stop::Cancelled => "stopped on request",
        Stop::Early => "stopped, for the rows held out got no better",
        Stop::Diverged => "diverged after it",
    }
}
