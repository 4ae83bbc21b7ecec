//! A server on the loopback that answers, or fails to, as it is told.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub head: String,
    pub body: Value,
    pub at: Instant,
}

impl Asked {
    pub fn texts(&self) -> Vec<String> {
        let texts = self.body["input"].as_array().expect("an array");
        texts.iter().map(|t| t.as_str().expect("text").to_string()).collect()
    }
    pub fn question(&self) -> &str {
        let messages = self.body["messages"].as_array().expect("an array");
        messages.last().expect("a message")["content"].as_str().expect("text")
    }
}

#[derive(Clone)]
pub struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Sends this many bytes of the body, whatever the headers promise.
    send: usize,
    /// Before the first byte.
    wait: Duration,
    /// Closes without a word.
    mute: bool,
}

impl Reply {
    pub fn new(status: &'static str, body: impl AsRef<[u8]>) -> Self {
        let headers = vec![("Content-Type", "application/json".into())];
        Self { status, headers, body: body.as_ref().to_vec(), send: usize::MAX, wait: Duration::ZERO, mute: false }
    }
    pub fn json(body: &Value) -> Self {
        Self::new("200 OK", body.to_string())
    }
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.push((name, value.into()));
        self
    }
    pub fn cut(mut self, send: usize) -> Self {
        self.send = send;
        self
    }
    pub fn after(mut self, milliseconds: u64) -> Self {
        self.wait = Duration::from_millis(milliseconds);
        self
    }
    pub fn mute(mut self) -> Self {
        self.mute = true;
        self
    }
}

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    most: Arc<AtomicUsize>,
}

impl Server {
    /// Answers request number 0, 1, … of its life.
    pub fn new(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (asked, most): (Arc<Mutex<Vec<Asked>>>, Arc<AtomicUsize>) = Default::default();
        let (all, peak, busy, answer) = (asked.clone(), most.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let (all, peak, busy, answer) = (all.clone(), peak.clone(), busy.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Some(asked) = read(&stream) else { return };
                    peak.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let number = {
                        let mut all = all.lock().expect("lock");
                        all.push(asked.clone());
                        all.len() - 1
                    };
                    let reply = answer(number, &asked);
                    std::thread::sleep(reply.wait);
                    // Who has the answer may send the next request.
                    busy.fetch_sub(1, Ordering::SeqCst);
                    send(stream, &reply);
                });
            }
        });
        Self { url, asked, most }
    }

    /// Requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }

    /// Most requests at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut head, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path: first.split(' ').nth(1)?.into(), head, body: serde_json::from_slice(&body).ok()?, at: Instant::now() })
}

fn send(mut stream: TcpStream, reply: &Reply) {
    if reply.mute {
        let _ = stream.shutdown(Shutdown::Both);
        return;
    }
    let mut lines =
        vec![format!("HTTP/1.1 {}", reply.status), "Connection: close".into(), format!("Content-Length: {}", reply.body.len())];
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let head = lines.join("\r\n") + "\r\n\r\n";
    let body = &reply.body[..reply.send.min(reply.body.len())];
    // The client may have gone away on purpose.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
}
