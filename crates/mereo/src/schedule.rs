//! How the length of gradient steps goes up and down over a fit.

use serde::{Deserialize, Serialize};

/// How the length of steps goes down once it has risen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Not at all.
    None,
    /// In a straight line to 0 at the last pass.
    Linear,
    /// As half a cosine to 0 at the last pass.
    Cosine,
}

impl Decay {
    /// The length of step `t` of `all`, from 0, as a share of the longest; over the share `warmup` of them it rises in a straight line.
    pub fn pace(self, warmup: f64, t: u64, all: u64) -> f64 {
        let (t, all) = (t as f64, all as f64);
        let warm = (warmup * all).floor();
        if t < warm {
            return (t + 1.0) / warm;
        }
        let gone = ((t - warm) / (all - warm).max(1.0)).min(1.0);
        match self {
            Self::None => 1.0,
            Self::Linear => 1.0 - gone,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
        }
    }
}
