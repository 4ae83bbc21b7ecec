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
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::try_parse().unwrap_or_else(|mut e| {
        // What follows `fit` is a method: clap only says that it knows no such word.
        if e.kind() == ErrorKind::InvalidSubcommand && std::env::args().any(|a| a == "fit") {
            let tip = "the methods are pca, vq, nmf, ae and sae, named before the data: mereo fit nmf DATA -o MODEL";
            e.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
        e.exit()
    });
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
