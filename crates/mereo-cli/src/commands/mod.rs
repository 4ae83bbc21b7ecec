//! One file for each command: its flags (`Args`) and what it does (`run`).

pub mod compare;
pub mod completions;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Result};

/// Does what was asked.
pub fn run(cli: Cli) -> Result<()> {
    let global = cli.global;
    // Every kernel runs on rayon's one pool; its size is fixed before the first use.
    rayon::ThreadPoolBuilder::new()
        .num_threads(global.threads)
        .build_global()
        .map_err(|e| Failure::other(format!("{} threads can't be started: {e}", global.threads)))?;
    match cli.command {
        Command::Compare(args) => compare::run(&args, &global),
        Command::Completions(args) => completions::run(&args),
    }
}
