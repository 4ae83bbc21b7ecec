//! One file from one address: written beside its place, continued where an earlier attempt stopped.
//!
//! A partial download is `FILE.part`, and `FILE.part.json` says which version of which address it is a part of (its `ETag` or
//! `Last-Modified`). The rest is asked for by `Range`, on the condition (`If-Range`) that the version is still the same; a
//! server that has another version, or knows no ranges, answers with the whole file, and the part is written anew.

use super::cache::{disk, harmless, remove};
use super::{Step, Watch, report};
use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

/// How the network is used.
#[derive(Debug, Clone)]
pub struct Net {
    /// An address that serves all files under their own names.
    pub mirror: Option<String>,
    /// How long finding and reaching a host may take.
    pub connect: Duration,
    /// How long a server may be silent.
    pub silence: Duration,
    /// Pauses before new attempts; counted anew whenever an attempt got further than all before it.
    pub pauses: Vec<Duration>,
    /// Whether the proxy of the environment is used.
    pub proxy: bool,
}

impl Net {
    /// What users get.
    pub fn from_env() -> Self {
        Self {
            mirror: std::env::var("MEREO_MIRROR").ok().filter(|mirror| !mirror.is_empty()),
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            pauses: [1, 3, 10].map(Duration::from_secs).to_vec(),
            proxy: true,
        }
    }

    fn agent(&self) -> Agent {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("mereo/", env!("CARGO_PKG_VERSION")))
            // The sum is of the bytes as published.
            .accept_encoding("identity")
            .timeout_resolve(Some(self.connect))
            .timeout_connect(Some(self.connect))
            .timeout_recv_response(Some(self.silence))
            .timeout_per_read(Some(self.silence))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
        if !self.proxy {
            config = config.proxy(None);
        }
        config.build().into()
    }
}

/// A file that came whole.
#[derive(Debug)]
pub struct Came {
    /// Whether bytes of an earlier run are in it.
    pub continued: bool,
    /// What the server calls it, made harmless.
    pub name: Option<String>,
}

/// Of which version of which address a part is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    url: String,
    version: Option<String>,
}

/// Why an attempt failed.
enum Trouble {
    /// It may go better in a moment.
    Passing(String),
    /// No host answers; may be passing if it did before.
    Unreachable(String),
    /// The part can't be continued and is now empty: ask for the whole.
    Anew,
    /// No use trying again.
    Final(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Brings `url` into `part`, continuing what is there. `summed`: a sum will be checked, so that a part of an unknown version may
/// be continued too. `file` is what the user would look for elsewhere.
pub fn download(net: &Net, url: &str, part: &Path, file: &str, summed: bool, watch: Watch) -> Result<Came> {
    let agent = net.agent();
    let mut out = File::options().create(true).truncate(false).read(true).write(true).open(part).map_err(|e| disk(part, &e))?;
    let length = |out: &File| out.metadata().map(|m| m.len()).map_err(|e| disk(part, &e));
    let mut job = Job { agent: &agent, url, part, summed, continued: length(&out)? > 0 };
    let mut pauses = net.pauses.iter();
    let mut best = length(&out)?;
    let mut reached = false;
    loop {
        let why = match job.attempt(&mut out, watch) {
            Ok(name) => {
                out.sync_all().map_err(|e| disk(part, &e))?;
                return Ok(Came { continued: job.continued, name });
            }
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Anew) => continue,
            Err(Trouble::Unreachable(why)) if !reached => {
                let host = host(url);
                return Err(Failure::other(format!(
                    "can't reach {host} ({why}): this machine seems to be offline, or {host} is down; download {file} elsewhere from \
                     {url} and give its folder with --from FOLDER"
                )));
            }
            Err(Trouble::Passing(why) | Trouble::Unreachable(why)) => why,
        };
        reached = true;
        let have = length(&out)?;
        if have > best {
            best = have;
            pauses = net.pauses.iter();
        }
        let Some(&pause) = pauses.next() else {
            return Err(Failure::other(format!(
                "{url}: {why}, again and again; {have} bytes are kept in {}, and the same command goes on from there",
                part.display()
            )));
        };
        wait(pause, have, watch)?;
    }
}

/// Removes a part and what is noted of it.
pub fn forget(part: &Path) -> Result<()> {
    remove(part)?;
    remove(&note_of(part))
}

struct Job<'a> {
    agent: &'a Agent,
    url: &'a str,
    part: &'a Path,
    summed: bool,
    continued: bool,
}

impl Job<'_> {
    /// Asks for what is missing and writes it; the server's name for the file.
    fn attempt(&mut self, out: &mut File, watch: Watch) -> std::result::Result<Option<String>, Trouble> {
        let mut have = out.metadata().map_err(|e| disk(self.part, &e))?.len();
        let version = self.version();
        if have > 0 && version.is_none() && !self.summed {
            self.empty(out)?;
            have = 0;
        }
        let mut request = self.agent.get(self.url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(version) = version {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let response = request.call().map_err(|e| self.trouble(e))?;
        let total = match response.status() {
            StatusCode::OK => {
                if have > 0 {
                    self.empty(out)?;
                }
                self.refuse_page(&response)?;
                self.note(&response)?;
                have = 0;
                response.body().content_length()
            }
            StatusCode::PARTIAL_CONTENT => match range(&response) {
                Some((Some(from), total)) if from == have => total,
                // It sends another part than was asked for.
                _ if have > 0 => return Err(self.anew(out)),
                _ => return Err(Failure::other(format!("{} sent a part of {} unasked", host(self.url), self.url)).into()),
            },
            // Nothing is missing, or the part is longer than the file.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => match range(&response) {
                Some((_, Some(total))) if total == have => return Ok(name(&response)),
                _ => return Err(self.anew(out)),
            },
            status => return Err(self.refusal(status)),
        };
        let name = name(&response);
        self.receive(response.into_body(), out, have, total, watch)?;
        Ok(name)
    }

    /// Writes the body behind the first `have` bytes.
    fn receive(
        &self,
        body: Body,
        out: &mut File,
        mut have: u64,
        total: Option<u64>,
        watch: Watch,
    ) -> std::result::Result<(), Trouble> {
        out.seek(SeekFrom::Start(have)).map_err(|e| disk(self.part, &e))?;
        let mut body = body.into_reader();
        let mut buffer = vec![0; 1 << 16];
        report(watch, Step::Download, have, total)?;
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(match self.trouble(ureq::Error::from(e)) {
                        Trouble::Unreachable(why) => Trouble::Passing(why),
                        trouble => trouble,
                    });
                }
            };
            out.write_all(&buffer[..n]).map_err(|e| disk(self.part, &e))?;
            have += n as u64;
            report(watch, Step::Download, have, total)?;
        }
        match total {
            Some(total) if have != total => Err(Trouble::Passing(format!("the connection ended after {have} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    fn empty(&mut self, out: &mut File) -> Result<()> {
        self.continued = false;
        out.set_len(0).map_err(|e| disk(self.part, &e))
    }

    fn anew(&mut self, out: &mut File) -> Trouble {
        match self.empty(out) {
            Ok(()) => Trouble::Anew,
            Err(failure) => Trouble::Final(failure),
        }
    }

    /// The version that the part belongs to, if it was of this address.
    fn version(&self) -> Option<String> {
        let note: Note = serde_json::from_slice(&fs::read(note_of(self.part)).ok()?).ok()?;
        note.version.filter(|_| note.url == self.url)
    }

    fn note(&self, response: &Response<Body>) -> Result<()> {
        let field = |name| Some(response.headers().get(name)?.to_str().ok()?.to_string());
        // A weak tag (W/…) promises no equal bytes, so it can't stand in If-Range.
        let version = field(header::ETAG).filter(|tag| tag.starts_with('"')).or_else(|| field(header::LAST_MODIFIED));
        let path = note_of(self.part);
        let text = serde_json::to_vec(&Note { url: self.url.into(), version }).unwrap_or_default();
        fs::write(&path, text).map_err(|e| disk(&path, &e))
    }

    /// Networks with a login page answer everything with it.
    fn refuse_page(&self, response: &Response<Body>) -> Result<()> {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/html") {
            return Err(Failure::other(format!(
                "{} answered with a web page in place of data; open it in a browser: the network may want a login, or the file has moved",
                self.url
            )));
        }
        Ok(())
    }

    fn refusal(&self, status: StatusCode) -> Trouble {
        let said = format!("{} answered {status}", host(self.url));
        let why = match status.as_u16() {
            408 | 429 | 500..=599 => return Trouble::Passing(said),
            401 | 403 | 407 => {
                "it lets nobody in without a login; download it in a browser and give its folder with --from FOLDER"
            }
            404 | 410 => {
                "the file has moved or never was there; check the address, or give a folder that has it with --from FOLDER"
            }
            _ => "check the address, or give a folder that has the file with --from FOLDER",
        };
        Trouble::Final(Failure::other(format!("{said} for {}: {why}", self.url)))
    }

    fn trouble(&self, e: ureq::Error) -> Trouble {
        use ureq::Error as E;
        let url = self.url;
        // Reading a body wraps ureq's own errors.
        let e = match e {
            E::Io(io) if io.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<E>) => {
                match io.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<E>) {
                    Some(Ok(inner)) => *inner,
                    _ => return Trouble::Passing("the connection broke".into()),
                }
            }
            e => e,
        };
        match e {
            E::HostNotFound => Trouble::Unreachable("no address is known for that name".into()),
            E::ConnectionFailed => Trouble::Unreachable("no connection".into()),
            E::Timeout(t @ (Timeout::Resolve | Timeout::Connect)) => Trouble::Unreachable(format!("no answer in time: {t}")),
            E::Timeout(_) => Trouble::Passing("the server fell silent".into()),
            E::Io(e) => match e.kind() {
                ErrorKind::InvalidData => self.distrust(&e),
                ErrorKind::TimedOut | ErrorKind::WouldBlock => Trouble::Passing("the server fell silent".into()),
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                    Trouble::Passing(format!("the connection broke ({e})"))
                }
                // Refused, no route, no such name: the systems have many words for it.
                _ => Trouble::Unreachable(e.to_string()),
            },
            E::BadUri(why) => Trouble::Final(Failure::usage(format!("`{url}` is no address: {why}"))),
            E::Http(why) => Trouble::Final(Failure::usage(format!("`{url}` is no address: {why}"))),
            E::TooManyRedirects => Trouble::Final(Failure::other(format!("{url} is redirected in a circle; check the address"))),
            E::ConnectProxyFailed(why) => Trouble::Unreachable(format!("the proxy refused: {why}")),
            E::InvalidProxyUrl => {
                Trouble::Final(Failure::usage("the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no address; correct it"))
            }
            E::Tls(why) => self.distrust(&why),
            E::Rustls(why) => self.distrust(&why),
            e => Trouble::Passing(e.to_string()),
        }
    }

    fn distrust(&self, why: &dyn std::fmt::Display) -> Trouble {
        Trouble::Final(Failure::other(format!(
            "no safe connection to {} ({why}); if your network opens encrypted connections, set SSL_CERT_FILE to the file with its \
             certificate, or give a folder that has the file with --from FOLDER",
            host(self.url)
        )))
    }
}

/// `Content-Range: bytes FROM-TO/TOTAL` or `bytes */TOTAL`.
fn range(response: &Response<Body>) -> Option<(Option<u64>, Option<u64>)> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (span, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let from = span.split_once('-').and_then(|(from, _)| from.trim().parse().ok());
    Some((from, total.trim().parse().ok()))
}

/// `Content-Disposition: attachment; filename="NAME"`.
fn name(response: &Response<Body>) -> Option<String> {
    let text = response.headers().get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let (_, rest) = text.split_once("filename=")?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(';').next()?.trim(),
    };
    (!name.is_empty()).then(|| harmless(name))
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    place.rsplit('@').next().unwrap_or(place)
}

fn note_of(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Waits, ready to be interrupted.
fn wait(pause: Duration, have: u64, watch: Watch) -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = pause;
    while !left.is_zero() {
        report(watch, Step::Download, have, None)?;
        std::thread::sleep(left.min(STEP));
        left = left.saturating_sub(STEP);
    }
    Ok(())
}
