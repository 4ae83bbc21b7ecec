//! Every way in which a server answers, by one on the loopback.

mod answers;
mod embeddings;
mod server;
mod troubles;
mod words;

use super::*;
use serde_json::json;
use server::{Asked, Reply, Server};

/// A key that must be seen nowhere.
const KEY: &str = "sk-secret-0123456789";

/// Asks `server` without long waits.
fn quick(server: &Server) -> Endpoint {
    Endpoint {
        url: server.url.clone(),
        model: "tiny".into(),
        timeout: 5.0,
        attempts: 3,
        backoff: 0.004,
        longest: 0.02,
        concurrency: 1,
        batch: 4,
        ..Endpoint::default()
    }
}

fn open(endpoint: &Endpoint) -> Client {
    endpoint.client_with(&|_| None).expect("a client")
}

/// With a key in the variable `THEIR_KEY`.
fn keyed(endpoint: &Endpoint) -> Client {
    let endpoint = Endpoint { key_from: Some("THEIR_KEY".into()), ..endpoint.clone() };
    endpoint.client_with(&|name| (name == "THEIR_KEY").then(|| KEY.into())).expect("a client")
}

/// The vector that the server has for a text: of 3 numbers, and another for each number that the text begins with.
fn vector(text: &str) -> Vec<f32> {
    let number: f32 = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    vec![number + 0.25, text.len() as f32, 1.0]
}

/// A good answer with embeddings, last text first.
fn vectors(asked: &Asked) -> Reply {
    let texts = asked.texts();
    let mut data: Vec<Value> =
        texts.iter().enumerate().map(|(i, text)| json!({"object": "embedding", "index": i, "embedding": vector(text)})).collect();
    data.reverse();
    let tokens: usize = texts.iter().map(String::len).sum();
    Reply::json(
        &json!({"object": "list", "data": data, "model": "tiny", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}),
    )
}

/// A good answer to messages: the last of them in capitals.
fn capitals(asked: &Asked) -> Reply {
    said(&asked.question().to_uppercase())
}

fn said(text: &str) -> Reply {
    Reply::json(&json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    }))
}

fn chats(n: usize) -> Vec<Chat> {
    (0..n).map(|i| Chat::new("Repeat it in capitals.", format!("word {i}"))).collect()
}

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{i} text")).collect()
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn rows(report: &Report) -> Vec<usize> {
    report.failed.iter().map(|f| f.row).collect()
}

/// The message of a run that was given up.
fn given_up(report: &Report) -> &str {
    match &report.ended {
        Ended::Refused(why) => why,
        other => panic!("not given up: {other:?}"),
    }
}
