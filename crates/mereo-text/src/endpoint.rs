//! Embeddings and answers from any server that speaks OpenAI's protocol: OpenAI itself, Ollama, vLLM, llama.cpp, LM Studio and others.
//!
//! Texts leave this machine here, and only here: for the host of [`Endpoint::url`] and no other, since no redirect is followed. The key is read from
//! the environment, travels in one header, and is in no error, no file and no `Debug`.
//!
//! What may pass by itself is tried again after a pause that doubles (408, 409, 425, 429, 5xx, a stall, a broken connection, an answer that
//! is no answer); `Retry-After` is honoured, and a 429 holds up all requests of the client. What can't pass ends the run (a refused key, an unknown
//! model, no credit) or costs its text alone (too long, filtered). Whatever was finished stays, and rows that failed are named, never filled.
//!
//! Requests that run when a call is cancelled are waited for, up to [`Endpoint::timeout`]: they are paid for.
//!
//! Left out: streams, base64, tools.
//!
//! ```no_run
//! use mereo_text::endpoint::{Endpoint, Run};
//! let ollama = Endpoint { url: "http://localhost:11434".into(), model: "nomic-embed-text".into(), ..Endpoint::default() };
//! let embedded = ollama.client()?.embeddings(&["a first text", "a second one"], &Run::default())?;
//! assert!(embedded.missing().is_empty(), "{:?}", embedded.report);
//! # Ok::<(), mereo::Error>(())
//! ```

mod chat;
mod cost;
mod embed;
mod flow;
mod gate;
mod pause;
mod reply;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use chat::{Answer, Answers, Chat, Message, Role};
pub use cost::{Estimate, Prices, Usage};
pub use embed::Embedded;
pub use flow::{Ended, Failed, Progress, Report, Run};
pub use store::{Key, Store};

use gate::Gate;
use mereo::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::atomic::AtomicBool;
use ureq::http::Uri;
use wire::{Secret, Wire};

/// Where the key of OpenAI is looked for.
pub const OPENAI_KEY: &str = "OPENAI_API_KEY";
/// Threads that ask at once, at most.
const CROWD: usize = 256;

/// A server, a model on it, and how they are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// Address of the server, with or without `/v1`: `http://localhost:11434`, `https://api.openai.com/v1`.
    pub url: String,
    /// Environment variable that holds the key. `None`: `OPENAI_API_KEY` for `https://api.openai.com`, no key for any other host, so that a key is
    /// never handed to a server that it isn't of.
    pub key_from: Option<String>,
    /// The model, as the server calls it.
    pub model: String,
    /// Seconds that one attempt may take, from the connection to the last byte.
    pub timeout: f64,
    /// Attempts at one request before it counts as failed.
    pub attempts: usize,
    /// Seconds before the second attempt, give or take half; twice as many before each further one.
    pub backoff: f64,
    /// Seconds that a pause doubles up to.
    pub longest: f64,
    /// Seconds that a server may ask us to wait (`Retry-After`); the run ends if it asks for more.
    pub patience: f64,
    /// Requests at once.
    pub concurrency: usize,
    /// Requests started per minute at most, evenly spaced.
    pub per_minute: Option<f64>,
    /// Texts in one request for embeddings.
    pub batch: usize,
    /// Characters in one request for embeddings, unless one text alone has more; OpenAI takes 300,000 tokens.
    pub batch_chars: usize,
    /// Numbers of an embedding, for models that can shorten theirs; the model's own if `None`.
    pub dimensions: Option<usize>,
    /// Tokens that an answer may have; the server's own limit if `None`.
    pub max_tokens: Option<u64>,
    /// Tokens that an answer is expected to have, for estimates.
    pub answer_tokens: u64,
    /// What tokens cost.
    pub prices: Option<Prices>,
    /// What all requests of a client may cost, in the currency of `prices`. A request is not started if it might exceed it.
    pub budget: Option<f64>,
    /// More fields for every request, such as `{"reasoning_effort": "low"}`; a `temperature` here takes the place of 0.
    pub extra: Map<String, Value>,
    /// Seed of the pauses.
    pub seed: u64,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            key_from: None,
            model: String::new(),
            timeout: 120.0,
            attempts: 6,
            backoff: 1.0,
            longest: 60.0,
            patience: 600.0,
            concurrency: 4,
            per_minute: None,
            batch: 100,
            batch_chars: 600_000,
            dimensions: None,
            max_tokens: None,
            answer_tokens: 300,
            prices: None,
            budget: None,
            extra: Map::new(),
            seed: 0,
        }
    }
}

impl Endpoint {
    /// Refuses what can't be asked.
    pub fn check(&self) -> Result<()> {
        self.place()?;
        if self.model.trim().is_empty() {
            return Err(Error::parameter("no model is named; give its name as the server lists it under /v1/models"));
        }
        if let Some(name) = &self.key_from {
            // Whoever pastes the key itself must not see it again in an error.
            let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(fine) || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(Error::parameter(
                    "key_from is no name of an environment variable; put the key in a variable and give its name",
                ));
            }
        }
        let day = 86_400.0;
        for (name, value, low, high) in [
            ("timeout", self.timeout, 1e-3, day),
            ("backoff", self.backoff, 0.0, day),
            ("longest", self.longest, 0.0, day),
            ("patience", self.patience, 0.0, day),
            ("per_minute", self.per_minute.unwrap_or(1.0), 1e-2, 1e9),
            ("budget", self.budget.unwrap_or(0.0), 0.0, f64::MAX),
            ("prices.input", self.prices.map_or(0.0, |p| p.input), 0.0, f64::MAX),
            ("prices.output", self.prices.map_or(0.0, |p| p.output), 0.0, f64::MAX),
        ] {
            if !(low..=high).contains(&value) {
                return Err(Error::parameter(format!("{name} = {value} is not within {low} to {high}; correct it")));
            }
        }
        for (name, value, high) in [
            ("attempts", self.attempts, 1000),
            ("concurrency", self.concurrency, CROWD),
            ("batch", self.batch, 100_000),
            ("batch_chars", self.batch_chars, usize::MAX),
            ("dimensions", self.dimensions.unwrap_or(1), usize::MAX),
            ("max_tokens", self.max_tokens.map_or(1, |n| n as usize), usize::MAX),
        ] {
            if !(1..=high).contains(&value) {
                return Err(Error::parameter(format!("{name} = {value} is not within 1 to {high}; correct it")));
            }
        }
        if self.budget.is_some() && self.prices.is_none() {
            return Err(Error::parameter("a budget needs prices; give those of a million tokens in and out"));
        }
        if let Some(name) = ["model", "messages", "input", "stream", "n", "dimensions", "encoding_format"]
            .iter()
            .find(|n| self.extra.contains_key(**n))
        {
            return Err(Error::parameter(format!(
                "extra must not hold `{name}`, on which the client itself decides; leave it out"
            )));
        }
        Ok(())
    }

    /// A client with the key from the environment. Nothing is sent yet.
    pub fn client(&self) -> Result<Client> {
        self.client_with(&|name| std::env::var(name).ok())
    }

    /// [`Endpoint::client`] in another environment.
    fn client_with(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Client> {
        self.check()?;
        let place = self.place()?;
        let name = self.key_from.as_deref().or(place.openai.then_some(OPENAI_KEY));
        let secret = name.map(|name| Secret::new(name, env(name), &place.host)).transpose()?;
        Ok(Client {
            gate: Gate::new(self),
            wire: Wire::new(self, place, secret)?,
            endpoint: self.clone(),
            refused: Refused::default(),
        })
    }

    fn place(&self) -> Result<Place> {
        let url = self.url.trim();
        if url.is_empty() {
            return Err(Error::parameter(
                "no url is given; for Ollama it is http://localhost:11434, for OpenAI https://api.openai.com",
            ));
        }
        let bad = |why: &str| Error::parameter(format!("the url {why}; give it like https://HOST:PORT/v1"));
        let uri: Uri = url.parse().map_err(|e| bad(&format!("can't be read ({e})")))?;
        let (scheme, host) = match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(authority)) => (scheme, authority.as_str().to_ascii_lowercase()),
            _ => return Err(bad("doesn't begin with http:// or https://")),
        };
        if host.contains('@') {
            return Err(bad("holds a name or a password, which belong in an environment variable (key_from)"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(bad("holds `?` or `#`"));
        }
        let mut path = uri.path().trim_end_matches('/');
        for end in ["/embeddings", "/chat/completions", "/completions", "/models"] {
            path = path.strip_suffix(end).unwrap_or(path);
        }
        // Some count another version (v4), or have more behind it (v1beta/openai).
        let version = |part: &str| part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let v1 = if path.split('/').any(version) { "" } else { "/v1" };
        let bare = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let near = bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let openai = scheme == "https" && (bare == "api.openai.com" || bare.ends_with(".api.openai.com"));
        Ok(Place { base: format!("{scheme}://{host}{path}{v1}"), host, near, openai })
    }
}

/// What an address says.
#[derive(Debug, Clone)]
struct Place {
    /// Without a slash at its end.
    base: String,
    /// With its port, if that was given.
    host: String,
    /// Whether it is this machine.
    near: bool,
    /// Whether it is OpenAI's, encrypted.
    openai: bool,
}

/// Parameters that the server has refused so far.
#[derive(Debug, Default)]
struct Refused {
    temperature: AtomicBool,
    max_tokens: AtomicBool,
}

/// An endpoint that can be asked: its connections and its key, what was spent, and what it was learned to refuse. See [`Endpoint::client`].
pub struct Client {
    endpoint: Endpoint,
    wire: Wire,
    gate: Gate,
    refused: Refused,
}

impl Client {
    /// What was asked for with.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What all requests so far have cost, by the server's counts and, where it gave none, by estimates; `None` without prices.
    pub fn spent(&self) -> Option<f64> {
        self.endpoint.prices.map(|_| self.gate.spent())
    }
}
