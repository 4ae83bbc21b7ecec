//! Ctrl-C: the first press asks for an orderly end, the second ends at once.

use crate::failure::Failure;
use mereo::source::Source;
use mereo::{Error, Result, Rows};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a command that was interrupted, as a shell expects.
pub const CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C (and a polite kill) over; what is returned turns true with the first.
/// `story` says what becomes of the work.
pub fn on_request(story: &'static str, quiet: bool) -> &'static AtomicBool {
    let handler = move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(CODE.into());
        }
        if !quiet {
            crate::show::say(format_args!("\n{story}; press Ctrl-C again to end at once"));
        }
    };
    // Without a handler Ctrl-C still ends the program, only less gently.
    let _ = ctrlc::set_handler(handler);
    &ASKED
}

/// What turns true when an end is asked for, once [`on_request`] listens.
pub fn flag() -> &'static AtomicBool {
    &ASKED
}

/// Whether an end was asked for.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// An error of the work, or what an end that was asked for left behind.
pub fn or(error: impl Into<Failure>, left: &str) -> Failure {
    if asked() { Failure::Interrupted(format!("stopped; {left}")) } else { error.into() }
}

/// Rows that stop coming once an end is asked for, as long as it is armed.
pub struct Stoppable<'a> {
    source: &'a dyn Source,
    armed: AtomicBool,
}

impl<'a> Stoppable<'a> {
    /// Rows of `source`, armed.
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, armed: AtomicBool::new(true) }
    }

    /// Arms it, or lets all rows through: a fit that has something to save ends in its own way.
    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::Relaxed);
    }
}

impl Source for Stoppable<'_> {
    fn cols(&self) -> usize {
        self.source.cols()
    }
    fn blocks(&self) -> usize {
        self.source.blocks()
    }
    fn rows(&self, block: usize) -> usize {
        self.source.rows(block)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        if asked() && self.armed.load(Ordering::Relaxed) {
            return Err(Error::data("interrupted"));
        }
        self.source.block(block)
    }
    fn streams(&self) -> bool {
        self.source.streams()
    }
}
