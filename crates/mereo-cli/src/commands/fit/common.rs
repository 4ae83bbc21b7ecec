//! Flags that every command shares that learns models and writes them: which rows, and checkpoints.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::split::{self, HeldOut, Portion, Usable};
use crate::{output, stop};
use mereo::fold::Checkpoint;
use mereo::prepare::Recipe;
use mereo::source::{self, Source, Subset};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which rows are fitted, and how they are prepared.
#[derive(Debug, clap::Args)]
pub struct Sides {
    /// Steps that prepare the rows, in order; the model remembers them and applies them to all later data.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = crate::args::recipe)]
    pub prep: Vec<Recipe>,
    /// Fit on this share (0.5, 50%) or number (500) of the rows, drawn by --seed; the others are held out unless --test says how many.
    #[arg(long, value_name = "PART")]
    pub train: Option<Portion>,
    /// Hold this share (0.2, 20%) or number (500) of the rows out, drawn by --seed, and report the error on them; 0 holds none out.
    #[arg(long, value_name = "PART")]
    pub test: Option<HeldOut>,
    #[command(flatten)]
    pub usable: Usable,
}

impl Sides {
    /// The rows to fit and those held out, if any are; `None` where all rows are fitted.
    pub fn of<'a>(&self, all: &'a dyn Source, seed: u64) -> Result<Option<(Subset<'a>, Option<Subset<'a>>)>> {
        let side = |rows: Vec<usize>| Subset::new(all, rows).map_err(|e| stop::or(e, "nothing was written"));
        let some = |rows: Vec<usize>| if rows.is_empty() { Ok(None) } else { side(rows).map(Some) };
        let sides = split::split(source::count(all), self.train, self.test, seed)?;
        sides.map(|(train, test)| Ok((side(train)?, some(test)?))).transpose()
    }
}

/// Where a fit that is cut short goes on.
#[derive(Debug, clap::Args)]
pub struct Saving {
    /// Where to write checkpoints, which are then kept [default: OUTPUT.checkpoint, removed when the fit is done].
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Least seconds between two checkpoints.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = crate::args::seconds)]
    pub every: f64,
    /// Continue from the checkpoint if there is one; the end is the same, byte for byte, as without the interruption.
    #[arg(long)]
    pub resume: bool,
}

impl Saving {
    /// Checkpoints of a fit that writes to `output`.
    pub fn of(&self, output: &Path) -> Checkpoint {
        Checkpoint {
            path: self.checkpoint.clone().unwrap_or_else(|| output::beside(output, ".checkpoint")),
            every: Duration::from_secs_f64(self.every),
            resume: self.resume,
        }
    }

    /// Which of the checkpoints is kept, now that what was learned is written; `whole` if all of it was. One that nobody asked for is taken away then.
    pub fn kept(&self, c: &Checkpoint, whole: bool, unsaved: Option<&str>) -> Option<String> {
        if whole && self.checkpoint.is_none() {
            let _ = std::fs::remove_file(&c.path);
            return None;
        }
        (unsaved.is_none() && c.path.exists()).then(|| c.path.display().to_string())
    }
}

/// Says what becomes of a checkpoint that is already there.
pub fn announce(c: &Checkpoint, global: &Global) {
    let path = c.path.display();
    match (c.resume, c.path.exists()) {
        (true, false) => global.say(format_args!("note: there is no checkpoint {path}; starting anew")),
        (false, true) => {
            global.say(format_args!("note: the checkpoint {path} of an earlier fit will be overwritten; --resume continues it"));
        }
        _ => {}
    }
}

/// A fit that failed after some passes, of which the checkpoint knows.
pub fn failed(e: mereo::Error, passes: usize, checkpoint: Option<&Checkpoint>) -> Failure {
    match checkpoint {
        Some(c) if passes > 0 && c.path.exists() => {
            Failure::other(format!("{e}; the checkpoint {} keeps the passes before", c.path.display()))
        }
        _ => stop::or(e, "no pass was whole, so no model was written"),
    }
}

/// A fit that was stopped before its first pass was whole.
pub fn nothing_whole(checkpoint: Option<&Checkpoint>) -> Failure {
    let kept = checkpoint.filter(|c| c.path.exists()).map_or(String::new(), |c| {
        format!("; {} keeps what was learned, and the same command with --resume continues it", c.path.display())
    });
    Failure::Interrupted(format!("stopped; no pass was whole, so no model was written{kept}"))
}
