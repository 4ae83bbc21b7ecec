//! The command line of mereo: arguments become objects of the library, and its answers become tables, files or JSON.
//!
//! Standard output is the result, standard error the story. [`args`] is what was typed, [`commands`] what is done about it.

#![allow(dead_code)] // Until every command is wired.

mod args;
mod commands;
mod failure;
mod fetch;
mod load;
mod output;
mod progress;
mod show;
mod split;
mod stop;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let global = cli.global.clone();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&global),
    }
}
