//! Tokens, what they cost, and what they might.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ops::AddAssign;

/// Characters of a token, roughly, of English text.
const CHARS: u64 = 4;

/// Tokens in and out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of what was sent.
    pub prompt: u64,
    /// Of what was answered.
    pub completion: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.completion += other.completion;
    }
}

impl Usage {
    /// A server's own count; `None` if it gave none, or none that can be.
    pub(super) fn counted(usage: &Value) -> Option<Self> {
        let number = |name: &str| usage.get(name).and_then(|n| n.as_u64().or_else(|| n.as_f64().map(|n| n as u64)));
        let completion = number("completion_tokens").unwrap_or(0);
        let prompt = number("prompt_tokens").or_else(|| number("total_tokens").map(|all| all.saturating_sub(completion)))?;
        (prompt > 0).then_some(Self { prompt, completion })
    }
}

/// What a million tokens cost, in any one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// A million tokens sent.
    pub input: f64,
    /// A million tokens answered.
    pub output: f64,
}

impl Prices {
    /// What `usage` costs.
    pub fn of(self, usage: Usage) -> f64 {
        (usage.prompt as f64 * self.input + usage.completion as f64 * self.output) / 1e6
    }
}

/// What a run might take. It is an estimate: a token is taken for 4 characters, an answer for [`super::Endpoint::answer_tokens`], and
/// all requests to succeed at once. Other scripts than Latin, code and numbers have more tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Requests.
    pub requests: usize,
    /// Tokens.
    pub usage: Usage,
    /// What they cost; `None` without prices.
    pub cost: Option<f64>,
}

/// Tokens of texts, estimated.
pub(super) fn tokens<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    texts.map(|text| text.chars().count() as u64).sum::<u64>().div_ceil(CHARS)
}
