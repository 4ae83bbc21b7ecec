//! One attempt: what is sent, and what may go wrong on the way.

use super::{Endpoint, Place, reply};
use mereo::{Error, Result};
use std::io::ErrorKind;
use std::time::Duration;
use ureq::http::{HeaderValue, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Timeout};

/// Bytes of an answer at most: 2048 embeddings of 4096 numbers have a fifth of it.
const LIMIT: u64 = 1 << 30;
/// Seconds to find and reach a host.
const REACH: f64 = 15.0;

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better in a moment.
    Passing {
        why: String,
        /// How long the server asks us to wait.
        after: Option<Duration>,
        cause: Cause,
    },
    /// The server won't have what was asked, but may have something else.
    Refused(reply::Said),
    /// No request would go better.
    Stop(String),
}

/// What a passing trouble comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server said that it failed; that costs nothing.
    Server,
    /// Too many requests.
    Limited,
    /// No host answers.
    Unreachable,
    /// It may have worked and be charged for, but no answer came, or none that can be read.
    Unread,
}

impl Trouble {
    pub(super) fn unread(why: impl Into<String>) -> Self {
        Self::Passing { why: why.into(), after: None, cause: Cause::Unread }
    }
}

/// A key. It has no `Debug` on purpose.
pub(super) struct Secret {
    /// The variable that it comes from.
    pub(super) name: String,
    text: String,
    header: HeaderValue,
}

impl Secret {
    pub(super) fn new(name: &str, value: Option<String>, host: &str) -> Result<Self> {
        let text = value.unwrap_or_default().trim().to_string();
        if text.is_empty() {
            return Err(Error::parameter(format!(
                "the environment variable {name} is not set; put the key for {host} there, or name another by key_from"
            )));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| Error::parameter(format!("{name} holds characters that no key has; set it anew")))?;
        header.set_sensitive(true);
        Ok(Self { name: name.into(), text, header })
    }
}

/// The way to one host.
pub(super) struct Wire {
    agent: Agent,
    pub(super) place: Place,
    pub(super) secret: Option<Secret>,
    pub(super) model: String,
    pub(super) timeout: f64,
}

impl Wire {
    pub(super) fn new(endpoint: &Endpoint, place: Place, secret: Option<Secret>) -> Result<Self> {
        let reach = Duration::try_from_secs_f64(endpoint.timeout.min(REACH)).ok();
        let whole = Duration::try_from_secs_f64(endpoint.timeout)
            .map_err(|_| Error::parameter(format!("timeout = {} is no time; give seconds", endpoint.timeout)))?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Neither texts nor key go where nobody sent them.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("mereo/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(reach)
            .timeout_connect(reach)
            .timeout_global(Some(whole))
            .max_idle_connections(endpoint.concurrency)
            .max_idle_connections_per_host(endpoint.concurrency)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        if place.near {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), place, secret, model: endpoint.model.clone(), timeout: endpoint.timeout })
    }

    /// The body of a good answer.
    pub(super) fn post(&self, path: &str, body: &[u8]) -> std::result::Result<Vec<u8>, Trouble> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.place.base))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(header::AUTHORIZATION, secret.header.clone());
        }
        let mut response = request.send(body).map_err(|e| self.trouble(e))?;
        let read = response.body_mut().with_config().limit(LIMIT).read_to_vec();
        if response.status().is_success() {
            let body = read.map_err(|e| match self.trouble(e) {
                Trouble::Passing { why, .. } => Trouble::unread(why),
                trouble => trouble,
            })?;
            if reply::page(response.headers()) {
                let host = &self.place.host;
                return Err(Trouble::Stop(format!(
                    "{host} answered with a web page in place of JSON; check the url, and whether the network wants a login"
                )));
            }
            return Ok(body);
        }
        // The status says enough, whatever became of the body.
        Err(self.status(response.status(), response.headers(), &read.unwrap_or_default()))
    }

    /// Text of a server as it may be shown: one line, not long, without the key.
    pub(super) fn harmless(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(secret) = &self.secret {
            text = text.replace(&secret.text, "[key]");
        }
        match text.char_indices().nth(300) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn trouble(&self, e: ureq::Error) -> Trouble {
        use ureq::Error as E;
        let host = &self.place.host;
        // Reading a body wraps ureq's own errors.
        let e = match e {
            E::Io(io) if io.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<E>) => {
                match io.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<E>) {
                    Some(Ok(inner)) => *inner,
                    _ => return Trouble::unread("the connection broke"),
                }
            }
            e => e,
        };
        let unreachable = |why: String| Trouble::Passing { why, after: None, cause: Cause::Unreachable };
        let silent = || Trouble::unread(format!("{host} gave no whole answer within {} s (timeout)", self.timeout));
        let distrust = |why: String| {
            Trouble::Stop(format!(
                "no safe connection to {host} ({}); if your network opens encrypted connections, set SSL_CERT_FILE to the file with its \
                 certificate; if the server knows no https, give its url with http://",
                self.harmless(&why)
            ))
        };
        match e {
            E::HostNotFound => unreachable(format!("no address is known for {host}")),
            E::ConnectionFailed => unreachable(format!("no connection to {host}")),
            E::Timeout(t @ (Timeout::Resolve | Timeout::Connect)) => {
                unreachable(format!("no connection to {host} in time ({t})"))
            }
            E::Timeout(_) => silent(),
            E::Io(e) => match e.kind() {
                ErrorKind::InvalidData => distrust(e.to_string()),
                ErrorKind::TimedOut | ErrorKind::WouldBlock => silent(),
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                    Trouble::unread(format!("the connection to {host} broke ({e})"))
                }
                // Refused, no route, no such name: the systems have many words for it.
                _ => unreachable(format!("no connection to {host} ({e})")),
            },
            E::ConnectProxyFailed(why) => unreachable(format!("the proxy refused: {}", self.harmless(&why))),
            E::InvalidProxyUrl => {
                Trouble::Stop("the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no address; correct it".into())
            }
            E::BadUri(why) => Trouble::Stop(format!("the url is no address ({why}); correct it")),
            E::Http(why) => Trouble::Stop(format!("the url is no address ({why}); correct it")),
            E::Tls(why) => distrust(why.to_string()),
            E::Rustls(why) => distrust(why.to_string()),
            e => Trouble::unread(format!("{host}: {}", self.harmless(&e.to_string()))),
        }
    }
}
