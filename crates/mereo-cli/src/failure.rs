//! What ends a command early, and how that is told: one line on standard error and a stable exit code.

use crate::args::Global;
use std::error::Error as _;
use std::io;
use std::process::ExitCode;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else that went wrong here: exit code 1.
    #[error("{0}")]
    Other(String),
    /// The library refused: exit code 2 for a parameter, 1 for the rest.
    #[error(transparent)]
    Library(#[from] mereo::Error),
    /// Standard output can't be written: silent where the reader has just gone away (`| head`), else exit code 1.
    #[error("standard output: {0}")]
    Stdout(#[from] io::Error),
    /// A result that was printed in full and is none that was wanted: exit code 1.
    #[error("{0}")]
    Told(String),
    /// Ended by Ctrl-C, with a message on what was saved: exit code 130, as a shell expects.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// A [`Failure::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A [`Failure::Other`].
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Library(mereo::Error::Parameter(_)) => 2,
            Self::Other(_) | Self::Told(_) | Self::Library(_) | Self::Stdout(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }

    /// The message and its causes in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(e) = cause {
            let said = e.to_string();
            // Most messages already quote their cause.
            if !line.contains(&said) {
                line = format!("{line}: {said}");
            }
            cause = e.source();
        }
        line.replace('\n', " ")
    }

    /// Tells the user, and gives the exit code. With `--json` the error is also the document on standard output.
    pub fn report(&self, global: &Global) -> ExitCode {
        if let Self::Stdout(e) = self
            && e.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        let line = self.line();
        if let Self::Interrupted(_) = self {
            // What was saved is in the result that was already printed.
            crate::show::say(format_args!("{line}"));
        } else {
            crate::show::say(format_args!("error: {line}"));
            // A result that was printed is the one document there is.
            if global.json && !matches!(self, Self::Told(_)) {
                // There is nobody left to tell if this fails too.
                let _ = crate::show::json(&serde_json::json!({ "error": line, "exit_code": self.code() }));
            }
        }
        ExitCode::from(self.code())
    }
}
