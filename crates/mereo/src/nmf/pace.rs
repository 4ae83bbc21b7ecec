//! How far a fit extrapolates, and when it steps back (Ang & Gillis 2019, algorithm 2).

use serde::{Deserialize, Serialize};

/// First share of the last step that is added once more.
const FIRST: f64 = 0.5;
/// The share grows by this factor after a good pass, up to a limit that itself grows by the next and is at most 1.
const GROW: f64 = 1.05;
const GROW_LIMIT: f64 = 1.01;
/// After a bad pass the share shrinks by this factor, and the share before the last becomes the limit.
const SHRINK: f64 = 1.5;
/// Passes without extrapolation at the start.
const PLAIN: u32 = 2;

/// Where the extrapolation of a fit stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The share in use: 0 for a plain pass.
    pub beta: f64,
    /// The share of the next good pass.
    next: f64,
    limit: f64,
    /// The last share in use that went well.
    before: f64,
    /// Passes left that do not extrapolate.
    rest: u32,
    /// The last pass was undone.
    pub rejected: bool,
    /// The last pass gained next to nothing.
    #[serde(default)]
    idle: bool,
    /// The objective of the best pair so far; the largest number of all before the first, since checkpoints hold no infinities.
    pub best: f64,
}

/// The objective before the first pass, for which JSON has no number.
pub(super) fn unknown() -> f64 {
    f64::INFINITY
}

/// Whether there has been no pass.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
pub(super) fn is_unknown(objective: &f64) -> bool {
    !objective.is_finite()
}

impl Default for Pace {
    fn default() -> Self {
        Self { beta: 0.0, next: FIRST, limit: 1.0, before: FIRST, rest: PLAIN, rejected: false, idle: false, best: f64::MAX }
    }
}

impl Pace {
    /// Whether the pass that has just ended was a plain step from the best pair: what it found is kept in any case.
    pub fn plain(&self) -> bool {
        self.beta == 0.0
    }

    /// Whether the pass that has just ended, and gained so little or not, says that nothing is left to gain. One that extrapolated may have come to
    /// nothing because it went too far, as the last before a step back does: only the second in a row tells.
    pub fn at_rest(&mut self, little: bool) -> bool {
        let rest = little && (self.plain() || self.idle);
        self.idle = little;
        rest
    }

    /// The pass was good; returns the share for the next one.
    pub fn forward(&mut self, objective: f64) -> f64 {
        self.best = objective;
        self.rejected = false;
        if self.rest > 1 {
            self.rest -= 1;
            self.beta = 0.0;
            return 0.0;
        }
        self.rest = 0;
        if self.beta > 0.0 {
            self.before = self.beta;
            self.next = (GROW * self.beta).min(self.limit);
            self.limit = (GROW_LIMIT * self.limit).min(1.0);
        }
        self.beta = self.next;
        self.beta
    }

    /// The pass was bad: the next one is plain.
    pub fn back(&mut self) {
        self.limit = self.before;
        self.next = self.beta / SHRINK;
        self.beta = 0.0;
        self.idle = false;
        self.rejected = true;
        self.rest = 1;
    }
}
