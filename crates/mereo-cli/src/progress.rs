//! The bar that a fit draws on standard error, with the pass, the loss and the time left; nothing where it is no terminal.

use crate::args::Global;
use crate::show;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mereo::fold::{Pass, Plan, Used};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar over the passes of a fit.
pub struct Progress {
    bar: ProgressBar,
    /// When the first pass was whole, and how many have been since then.
    since: Option<Instant>,
    passes: usize,
}

impl Progress {
    /// A bar that says `what` until the first pass is whole.
    pub fn new(what: &str, global: &Global) -> Self {
        if global.quiet || !std::io::stderr().is_terminal() {
            return Self::on(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        }
        let bar = ProgressBar::new_spinner().with_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::on(bar)
    }

    fn on(bar: ProgressBar) -> Self {
        Self { bar, since: None, passes: 0 }
    }

    /// Shows a finished pass. The time left is at most what is shown: a fit may converge before its limit.
    pub fn pass(&mut self, seen: &Pass, plan: Plan, restarts: usize) {
        if self.bar.is_hidden() {
            return;
        }
        let left = if let Some(since) = self.since {
            self.passes += 1;
            let ahead = plan.max.saturating_sub(seen.pass) + restarts.saturating_sub(seen.restart + 1) * plan.max;
            show::seconds(since.elapsed().as_secs_f64() / self.passes as f64 * ahead as f64)
        } else {
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} passes  {msg}") {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.bar.set_length(plan.max as u64);
            self.since = Some(Instant::now());
            "?".into()
        };
        let start = if restarts > 1 { format!("start {}/{restarts}, ", seen.restart + 1) } else { String::new() };
        let held = seen.held.map_or(String::new(), |h| format!(", held out {}", show::number(h)));
        let used = seen.used.map_or(String::new(), |u| format!(", {}", used(&u)));
        self.bar.set_message(format!("{start}loss {}{held}{used}, at most {left} left", show::number(seen.loss)));
        self.bar.set_position(seen.pass as u64);
    }

    /// Shows how far learning over a span of time is, of which every part takes as long: the time s, the error there, and the time left.
    pub fn time(&mut self, what: &str, (s, end): (f64, f64), error: f64) {
        if self.bar.is_hidden() {
            return;
        }
        let since = *self.since.get_or_insert_with(|| {
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            self.bar.set_length(1000);
            Instant::now()
        });
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
