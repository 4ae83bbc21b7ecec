//! The bar that a fit draws on standard error, with the pass, the loss and the time left; nothing where it is no terminal.

use crate::args::Global;
use crate::show;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mereo::fold::{Moment, Pass, Plan, Used};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar over the passes of a fit.
pub struct Progress {
    bar: ProgressBar,
    /// When there was first something to tell, and how much of the fit was done then.
    since: Cell<Option<(Instant, f64)>>,
    /// When a batch was last told of.
    told: Cell<Instant>,
    /// The loss of rows that were held out, as the last pass left it.
    held: Cell<Option<f64>>,
}

/// Parts that a pass has in the bar.
const PARTS: f64 = 1000.0;
/// Between two batches that are told of.
const PAUSE: Duration = Duration::from_millis(100);

impl Progress {
    /// A bar that says `what` until there is something to tell.
    pub fn new(what: &str, global: &Global) -> Self {
        if global.quiet || !std::io::stderr().is_terminal() {
            return Self::on(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let bar = ProgressBar::new_spinner().with_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::on(bar)
    }

    fn on(bar: ProgressBar) -> Self {
        Self { bar, since: Cell::new(None), told: Cell::new(Instant::now()), held: Cell::new(None) }
    }

    /// Shows a finished pass.
    pub fn pass(&self, seen: &Pass, plan: Plan, restarts: usize) {
        self.held.set(seen.held);
        self.show((seen.restart, seen.pass as f64), (plan, restarts), (seen.loss, seen.used), "");
    }

    /// Shows a batch of a pass, unless another one was shown just now.
    pub fn batch(&self, seen: &Moment, plan: Plan, restarts: usize) {
        if self.bar.is_hidden() || self.told.get().elapsed() < PAUSE {
            return;
        }
        self.told.set(Instant::now());
        let (rows, all) = (seen.rows.0 as f64, seen.rows.1.max(1) as f64);
        let passes = seen.pass as f64 - 1.0 + rows / all;
        let done = (seen.restart * plan.max) as f64 + passes;
        let speed = self.since.get().filter(|(_, from)| done > *from).map_or(String::new(), |(since, from)| {
            format!(", {} rows a second", show::count(((done - from) * all / since.elapsed().as_secs_f64().max(1e-3)) as usize))
        });
        self.show((seen.restart, passes), (plan, restarts), (seen.loss, seen.used), &speed);
    }

    /// The time left is at most what is shown: a fit may converge before its limit.
    fn show(
        &self,
        (restart, passes): (usize, f64),
        (plan, restarts): (Plan, usize),
        (loss, used): (f64, Option<Used>),
        more: &str,
    ) {
        if self.bar.is_hidden() {
            return;
        }
        let (done, all) = ((restart * plan.max) as f64 + passes, (restarts * plan.max) as f64);
        let left = if let Some((since, from)) = self.since.get().filter(|(_, from)| done > *from) {
            show::seconds(since.elapsed().as_secs_f64() / (done - from) * (all - done).max(0.0))
        } else {
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {prefix}  {msg}") {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.since.set(self.since.get().or(Some((Instant::now(), done))));
            "?".into()
        };
        self.bar.set_length((plan.max as f64 * PARTS) as u64);
        self.bar.set_position((passes * PARTS) as u64);
        self.bar.set_prefix(format!("{}/{} passes", passes.floor(), plan.max));
        let start = if restarts > 1 { format!("start {}/{restarts}, ", restart + 1) } else { String::new() };
        let held = self.held.get().map_or(String::new(), |h| format!(", held out {}", show::number(h)));
        let used = used.map_or(String::new(), |u| format!(", {}", self::used(&u)));
        self.bar.set_message(format!("{start}loss {}{held}{used}{more}, at most {left} left", show::number(loss)));
    }

    /// Shows how far learning over a span of time is, of which every part takes as long: the time s, the error there, and the time left.
    pub fn time(&self, what: &str, (s, end): (f64, f64), error: f64) {
        if self.bar.is_hidden() {
            return;
        }
        let (since, _) = self.since.get().unwrap_or_else(|| {
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.bar.set_length(1000);
            (Instant::now(), 0.0)
        });
        self.since.set(Some((since, 0.0)));
        let left = if s > 0.0 { show::seconds(since.elapsed().as_secs_f64() * (end - s) / s) } else { "?".into() };
        self.bar.set_message(format!("{what}: s = {}, error {}, {left} left", show::number(s), show::number(error)));
        self.bar.set_position((1000.0 * s / end) as u64);
    }

    /// The same over a known number of rows, with the time left.
    pub fn over(self, rows: usize) -> Self {
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} rows  {msg}, {eta} left") {
            self.bar.set_style(style.progress_chars("━╸─"));
        }
        self.bar.set_length(rows as u64);
        self
    }

    /// So many rows more are done.
    pub fn step(&self, rows: usize) {
        self.bar.inc(rows as u64);
    }

    /// Takes the bar away, so that lines can be printed.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How a pass used the atoms: `L0 31.90, 0.3 % dead`.
pub fn used(used: &Used) -> String {
    format!("L0 {}, {:.1} % dead", show::number(used.l0), 100.0 * used.dead)
}
