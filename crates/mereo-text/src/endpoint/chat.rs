//! Answers to messages (`/v1/chat/completions`).

use super::cost::tokens;
use super::flow::{Bad, Manner, Task};
use super::reply::Said;
use super::{Client, Estimate, Key, Report, Run, Store, Usage};
use mereo::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the model is and does.
    System,
    /// The question.
    User,
    /// An earlier answer.
    Assistant,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Messages that the model answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// In order; at least one.
    pub messages: Vec<Message>,
}

impl Chat {
    /// A task and a question; no task if `system` is empty.
    pub fn new(system: impl Into<String>, user: impl Into<String>) -> Self {
        let (system, user) = (system.into(), user.into());
        let system = (!system.is_empty()).then_some(Message { role: Role::System, content: system });
        Self { messages: system.into_iter().chain([Message { role: Role::User, content: user }]).collect() }
    }
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its words; not empty.
    pub text: String,
    /// Why it ended: `stop`, or `length` if it was cut off by the limit of tokens; empty if the server doesn't say.
    pub finish: String,
    /// Tokens, if the server counted them.
    pub usage: Option<Usage>,
}

/// Answers to requests, by their number.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// The answer to each request; `None` where it failed or wasn't asked for.
    pub answers: Vec<Option<Answer>>,
    /// What became of this run. Its rows are those of `answers`; of equal requests only the first was asked for.
    pub report: Report,
}

impl Client {
    /// Asks every request, at temperature 0 unless the model has only its own. `each` gets the number of the request and its answer, in this
    /// thread, as soon as it is there; an error of it ends the run and is returned.
    ///
    /// What fails is in the report, not an error: answers before it were given to `each`. An error otherwise: no messages.
    pub fn chat(&self, requests: &[Chat], run: &Run, each: &mut dyn FnMut(usize, Answer) -> Result<()>) -> Result<Report> {
        self.talk(requests, &(0..requests.len()).collect::<Vec<_>>(), run, each)
    }

    /// [`Client::chat`] of what `store` hasn't answered yet; each answer is on the disk before the next is looked at, so that
    /// after a crash the same call asks only for the rest. Equal requests are asked once.
    ///
    /// Errors: no messages; the store can't be written.
    pub fn chat_stored(&self, requests: &[Chat], store: &mut Store<Answer>, run: &Run) -> Result<Answers> {
        let keys: Vec<Key> = requests.iter().map(|chat| self.chat_key(chat)).collect();
        let rows = store.missing(&keys);
        let report = self.talk(requests, &rows, run, &mut |row, answer| store.put(keys[row], answer))?;
        Ok(Answers { answers: keys.iter().map(|key| store.get(key).cloned()).collect(), report })
    }

    /// What the answers to `requests` are estimated to take.
    pub fn estimate_chat(&self, requests: &[Chat]) -> Estimate {
        let mut usage = Usage::default();
        requests.iter().for_each(|chat| usage += self.foresee(chat));
        Estimate { requests: requests.len(), usage, cost: self.endpoint.prices.map(|p| p.of(usage)) }
    }

    /// Under what a store keeps the answer: a hash of the model, the messages and the parameters that shape the answer. The same model
    /// at another address counts as the same.
    pub fn chat_key(&self, chat: &Chat) -> Key {
        let own = &self.endpoint;
        Key::of(&json!(["chat", own.model, chat.messages, own.max_tokens, own.extra]))
    }

    fn talk(
        &self,
        requests: &[Chat],
        rows: &[usize],
        run: &Run,
        each: &mut dyn FnMut(usize, Answer) -> Result<()>,
    ) -> Result<Report> {
        if let Some(row) = requests.iter().position(|chat| chat.messages.is_empty()) {
            return Err(Error::data(format!("request {row} has no messages; give at least one")));
        }
        let jobs = rows.iter().map(|&row| vec![row]).collect();
        self.flow(&Talk { client: self, requests }, jobs, run, &mut |rows, answer| each(rows[0], answer))
    }

    fn foresee(&self, chat: &Chat) -> Usage {
        let own = &self.endpoint;
        let prompt = tokens(chat.messages.iter().map(|m| m.content.as_str()));
        Usage { prompt, completion: own.max_tokens.map_or(own.answer_tokens, |most| own.answer_tokens.min(most)) }
    }
}

struct Talk<'a> {
    client: &'a Client,
    requests: &'a [Chat],
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Value,
    #[serde(default)]
    finish_reason: Option<String>,
}

impl Task for Talk<'_> {
    type Out = Answer;
    const PATH: &'static str = "/chat/completions";

    fn body(&self, rows: &[usize], manner: Manner) -> Value {
        let own = &self.client.endpoint;
        let mut body = own.extra.clone();
        body.insert("model".into(), own.model.clone().into());
        body.insert("messages".into(), json!(self.requests[rows[0]].messages));
        if manner.temperature {
            body.insert("temperature".into(), 0.into());
        }
        if let Some(most) = own.max_tokens {
            // The older name is known to every server but OpenAI's newer models.
            body.insert(if manner.max_tokens { "max_tokens" } else { "max_completion_tokens" }.into(), most.into());
        }
        body.into()
    }

    fn estimate(&self, rows: &[usize]) -> Usage {
        self.client.foresee(&self.requests[rows[0]])
    }

    fn read(&self, _rows: &[usize], body: &[u8]) -> (std::result::Result<Answer, Bad>, Option<Usage>) {
        let answer: Completion = match serde_json::from_slice(body) {
            Ok(answer) => answer,
            Err(e) => return (Err(Bad::Again(format!("no answer of the protocol ({e})"))), None),
        };
        let usage = Usage::counted(&answer.usage);
        let Some(choice) = answer.choices.into_iter().next() else {
            return (Err(Bad::Again("an answer without choices".into())), usage);
        };
        let finish = choice.finish_reason.unwrap_or_default();
        let text = match choice.message.get("content") {
            Some(Value::String(text)) => text.clone(),
            // Parts, of which only text is asked for.
            Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
            _ => String::new(),
        };
        if text.trim().is_empty() {
            let refusal = choice.message.get("refusal").and_then(Value::as_str).unwrap_or("none given");
            let fix = if finish == "length" { "; raise max_tokens" } else { "" };
            let why = format!("the model gave no text (finish_reason `{finish}`, refusal: {refusal}){fix}");
            return (Err(Bad::Never(why)), usage);
        }
        (Ok(Answer { text, finish, usage }), usage)
    }

    fn adapt(&self, manner: Manner, said: &Said) -> bool {
        let refused = &self.client.refused;
        if manner.temperature && said.about("temperature") {
            refused.temperature.store(true, Ordering::Relaxed);
            return true;
        }
        if manner.max_tokens && self.client.endpoint.max_tokens.is_some() && said.message.contains("max_completion_tokens") {
            refused.max_tokens.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }
}
