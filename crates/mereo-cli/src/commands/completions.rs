//! `mereo completions`: what a shell needs to complete the command line.

use crate::args::Cli;
use crate::failure::Result;
use crate::show;
use clap::CommandFactory;
use clap_complete::Shell;

/// Flags of `mereo completions`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  mereo completions bash > ~/.local/share/bash-completion/completions/mereo
  mereo completions zsh > ~/.zfunc/_mereo
  mereo completions fish > ~/.config/fish/completions/mereo.fish";

/// Prints the script.
pub fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mereo", &mut script);
    show::print(&String::from_utf8_lossy(&script))
}
