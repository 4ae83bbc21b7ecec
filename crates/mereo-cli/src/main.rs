//! The command line of mereo: arguments become objects of the library, and its answers become tables, files or JSON.
//!
//! Standard output is the result, standard error the story. [`args`] is what was typed, [`commands`] what is done about it.

mod args;
mod commands;
mod failure;
mod fetch;
mod load;
mod methods;
mod output;
mod progress;
mod show;
mod split;
mod stop;
mod subject;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let global = cli.global.clone();
    std::panic::set_hook(Box::new(|panic| {
        show::say(format_args!("error: a bug in mereo, please report it: {}", panic.to_string().replace('\n', " ")));
    }));
    match std::panic::catch_unwind(|| commands::run(cli)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(&global),
        Err(_) => ExitCode::FAILURE,
    }
}
