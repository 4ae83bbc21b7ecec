//! What a server means by an answer that is not the one asked for.

use super::pause::retry_after;
use super::wire::{Cause, Trouble, Wire};
use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode, header};

/// What a server says is wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// In words, with the status before them; fit to be shown.
    pub(super) message: String,
    /// The parameter that it is about.
    pub(super) param: String,
    /// `code` and `type`.
    kinds: [String; 2],
}

impl Said {
    /// Whether it is about `param`, by the field for that or, if there is none, by words.
    pub(super) fn about(&self, param: &str) -> bool {
        if self.param.is_empty() { self.message.contains(param) } else { self.param == param }
    }

    fn is(&self, kinds: &[&str]) -> bool {
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
    }

    fn model_unknown(&self, model: &str) -> bool {
        let message = self.message.to_lowercase();
        self.is(&["model_not_found"])
            || (message.contains("model") && (message.contains("not found") || message.contains("does not exist")))
            || (message.contains(&model.to_lowercase()) && message.contains("not exist"))
    }
}

/// Whether it is a web page: networks with a login, and servers that answer every path with their start page.
pub(super) fn page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|kind| kind.starts_with("text/html"))
}

impl Wire {
    /// What is wrong with an answer other than 2xx.
    pub(super) fn status(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Trouble {
        let said = self.said(status, &serde_json::from_slice(body).unwrap_or_default());
        let Said { message, .. } = &said;
        let (host, base, model) = (&self.place.host, &self.place.base, &self.model);
        let after = retry_after(headers);
        if status == StatusCode::PAYMENT_REQUIRED
            || said.is(&["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"])
            || message.to_lowercase().contains("credit balance")
        {
            return Trouble::Stop(format!(
                "{message}: the account at {host} has no credit left; add some, then run again for what is missing"
            ));
        }
        match status.as_u16() {
            300..=399 => {
                let to = headers.get(header::LOCATION).and_then(|v| v.to_str().ok()).unwrap_or("nowhere");
                let to = self.harmless(to.split(['?', '#']).next().unwrap_or(to));
                Trouble::Stop(format!(
                    "{message}: {host} redirects to {to}; neither texts nor key were sent there, give it as url if it is right"
                ))
            }
            401 => Trouble::Stop(match &self.secret {
                Some(key) => {
                    format!("{message}: the key in {} was refused by {host}; correct it, or name another by key_from", key.name)
                }
                None => format!("{message}: {host} wants a key; put it in an environment variable and give its name by key_from"),
            }),
            407 => Trouble::Stop(format!("{message}: the proxy wants a login; give it in HTTPS_PROXY")),
            400 | 403 | 404 if said.model_unknown(model) => Trouble::Stop(format!(
                "{message}: {host} has no model `{model}` for you; {base}/models lists those there (Ollama: `ollama pull {model}`)"
            )),
            404 | 405 => {
                Trouble::Stop(format!("{message}: {base} isn't the address of an OpenAI-compatible server; check the url"))
            }
            408 | 409 | 425 | 500..=599 => {
                Trouble::Passing { why: format!("{host} answered {message}"), after, cause: Cause::Server }
            }
            429 => Trouble::Passing { why: format!("{host} answered {message}"), after, cause: Cause::Limited },
            _ => Trouble::Refused(said),
        }
    }

    /// Some servers say 200 to everything and put the error in the body.
    pub(super) fn hidden(&self, body: &[u8]) -> Option<Trouble> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let error = value.get("error").filter(|e| !e.is_null())?;
        let code =
            error.get("code").and_then(Value::as_u64).and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        if let Some(code) = code.filter(|code| code.is_client_error() || code.is_server_error()) {
            return Some(self.status(code, &HeaderMap::new(), body));
        }
        let why = format!("{} answered {}", self.place.host, self.said(StatusCode::OK, &value).message);
        Some(Trouble::Passing { why, after: None, cause: Cause::Server })
    }

    /// OpenAI nests it in `error`, vLLM of old doesn't, Ollama of old has a string, FastAPI calls it `detail`.
    fn said(&self, status: StatusCode, body: &Value) -> Said {
        let error = body.get("error").filter(|e| !e.is_null()).unwrap_or(body);
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let words = error.as_str().or_else(|| error.get("message")?.as_str()).map(str::to_string);
        let words = words
            .or_else(|| error.get("detail").map(|d| d.as_str().map_or_else(|| d.to_string(), str::to_string)))
            .unwrap_or_default();
        let words = self.harmless(&words);
        let name = status.canonical_reason().unwrap_or("");
        let message =
            if words.is_empty() { format!("{} {name}", status.as_u16()) } else { format!("{} “{words}”", status.as_u16()) };
        Said { message, param: text("param"), kinds: [text("code"), text("type")] }
    }
}
