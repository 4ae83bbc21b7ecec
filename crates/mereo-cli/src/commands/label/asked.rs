//! Labels and scores by a language model behind an endpoint.

use super::{Done, Work, labelled};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::{show, stop};
use mereo_meaning::chat;
use mereo_meaning::examples::{Choice, Examples};
use mereo_meaning::score;
use mereo_text::endpoint::{Answer, Answers, Chat, Client, Ended, Endpoint, Estimate, Message, Prices, Report, Role, Run, Store};
use std::fmt::Write as _;

/// Flags of an endpoint.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A language model")]
pub struct Asked {
    /// Ask a language model: the address of any server that speaks as OpenAI's does. Texts of the examples are sent there, and nothing else.
    #[arg(long, value_name = "URL", requires = "model")]
    pub endpoint: Option<String>,
    /// The model that labels.
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub model: Option<String>,
    /// The model that foretells from a label where the latent is active [default: the one that labels].
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub predictor: Option<String>,
    /// What the texts are about, for the question: "astronomy papers".
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub field: String,
    /// Environment variable with the key of the server [default: OPENAI_API_KEY for OpenAI's own, none for others].
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub key_from: Option<String>,
    /// Prices of a million tokens in and out, for costs: 2.5,10.
    #[arg(long, value_name = "IN,OUT", value_parser = prices, requires = "endpoint")]
    pub prices: Option<Prices>,
    /// What all may cost; no question is asked that might exceed it.
    #[arg(long, value_name = "COST", requires = "prices")]
    pub budget: Option<f64>,
    /// Questions at once.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = crate::args::positive)]
    pub concurrency: usize,
    /// Questions a minute at most.
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub per_minute: Option<f64>,
    /// Seconds that an answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    pub timeout: f64,
    /// Attempts at a question.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = crate::args::positive)]
    pub attempts: usize,
}

fn prices(text: &str) -> std::result::Result<Prices, String> {
    let pair = text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    let (input, output) = pair.ok_or("write the prices of a million tokens in and out, such as 2.5,10")?;
    Ok(Prices { input, output })
}

impl Asked {
    fn endpoint(&self, model: &str, budget: Option<f64>) -> Endpoint {
        Endpoint {
            url: self.endpoint.clone().unwrap_or_default(),
            key_from: self.key_from.clone(),
            model: model.into(),
            timeout: self.timeout,
            attempts: self.attempts,
            concurrency: self.concurrency,
            per_minute: self.per_minute,
            prices: self.prices,
            budget,
            ..Endpoint::default()
        }
    }
}

/// Where answers are kept, beside the labels: a second run asks only for the rest.
const ANSWERS: &str = "answers.jsonl";

/// Asks for labels, then foretells by them. What was answered is kept, whatever ends it.
pub(super) fn run(work: &Work) -> Result<Done> {
    let args = &work.args.asked;
    let model = args.model.as_deref().unwrap_or_default();
    let predictor = args.predictor.as_deref().unwrap_or(model);
    let client = args.endpoint(model, args.budget).client()?;
    let mut store: Store<Answer> = Store::open(work.index.path().join(ANSWERS))?;
    let examples = work.examples(Choice::default())?;
    let ask: Vec<Chat> = examples.iter().map(|e| labelling(work, e, &args.field)).collect();
    let mut facts = Vec::new();
    let told = told(work, "labels", &client, &ask, &store);
    let answers = client.chat_stored(&ask, &mut store, &Run { cancel: Some(stop::flag()), watch: None })?;
    drop(told);
    facts.push(("labels".into(), cost(&answers.report)));
    let mut labels: Vec<Option<String>> = Vec::new();
    let mut unread = 0;
    for answer in &answers.answers {
        let label = answer.as_ref().map(|a| chat::parse_label(&a.text));
        unread += usize::from(matches!(label, Some(Err(_))));
        labels.push(label.and_then(std::result::Result::ok));
    }
    if unread > 0 {
        facts.push(("unread".into(), format!("{unread} answers name no label; their latents keep what they had")));
    }
    refused(work, &answers.report, labels.iter().flatten().count())?;
    // A budget is for both; what is left of it is the predictor's.
    let left = args.budget.map(|b| (b - client.spent().unwrap_or(0.0)).max(0.0));
    let client = args.endpoint(predictor, left).client()?;
    let mut of: Vec<(usize, bool)> = Vec::new();
    let mut ask = Vec::new();
    for (i, e) in examples.iter().enumerate() {
        let Some(label) = &labels[i] else { continue };
        let rows = e.test.active.iter().map(|x| (x.row, true)).chain(e.test.lacking.iter().map(|&row| (row, false)));
        for (row, active) in rows {
            ask.push(messages(chat::predicting(label, work.index.text(row))));
            of.push((i, active));
        }
    }
    let told = self::told(work, "predictions", &client, &ask, &store);
    let predicted = client.chat_stored(&ask, &mut store, &Run { cancel: Some(stop::flag()), watch: None })?;
    drop(told);
    facts.push(("predictions".into(), cost(&predicted.report)));
    let scores = scores(&predicted, &of, examples.len());
    let done = examples.iter().zip(labels).zip(scores).filter_map(|((e, label), score)| {
        let label = label?;
        Some(match score {
            Some(score) => labelled(e.latent, label, model, predictor, &score),
            None => mereo_meaning::index::Labelled { latent: e.latent, label, by: model.into(), ..Default::default() },
        })
    });
    let labels: Vec<_> = done.collect();
    if stop::asked() || predicted.report.ended != Ended::All {
        facts.push(("not done".into(), format!("{}; run it again for the rest", why(&predicted.report.ended))));
    }
    Ok(Done { labels, facts })
}

/// Says what will be asked and what that may cost, and draws a bar until it is dropped.
fn told(work: &Work, what: &str, client: &Client, ask: &[Chat], store: &Store<Answer>) -> Progress {
    let keys: Vec<_> = ask.iter().map(|c| client.chat_key(c)).collect();
    let rest: Vec<Chat> = store.missing(&keys).into_iter().map(|i| ask[i].clone()).collect();
    let Estimate { requests, usage, cost } = client.estimate_chat(&rest);
    let cost = cost.map(|c| format!(", about {}", show::number(c))).unwrap_or_default();
    work.global.say(format_args!(
        "{what}: {} questions to {}, {} answered before; about {} tokens{cost}",
        show::count(requests),
        client.endpoint().model,
        show::count(ask.len() - rest.len()),
        show::count((usage.prompt + usage.completion) as usize),
    ));
    Progress::new(what, work.global)
}

/// What a run took.
fn cost(report: &Report) -> String {
    let mut out = format!(
        "{} requests, {} tokens",
        show::count(report.requests),
        show::count((report.usage.prompt + report.usage.completion) as usize)
    );
    if let Some(cost) = report.cost {
        let _ = write!(out, ", cost {}", show::number(cost));
    }
    if let Some(first) = report.failed.first() {
        let _ = write!(out, "; {} failed, the first: {}", report.failed.len(), first.why);
    }
    out
}

fn why(ended: &Ended) -> String {
    match ended {
        Ended::All | Ended::Cancelled => "stopped on request".into(),
        Ended::Budget(why) | Ended::Refused(why) => why.clone(),
    }
}

/// An error where nothing was labelled at all.
fn refused(work: &Work, report: &Report, labels: usize) -> Result<()> {
    if labels > 0 {
        return Ok(());
    }
    let first = report.failed.first().map_or(String::new(), |f| format!(": {}", f.why));
    match &report.ended {
        Ended::Refused(why) | Ended::Budget(why) => Err(Failure::other(why.clone())),
        Ended::Cancelled => Err(Failure::Interrupted("stopped; no latent was labelled".into())),
        Ended::All => Err(Failure::other(format!("none of {} latents was labelled{first}", work.wanted.len()))),
    }
}

fn labelling(work: &Work, of: &Examples, field: &str) -> Chat {
    let active: Vec<(f32, &str)> = of.label.active.iter().map(|e| (e.value, work.index.text(e.row))).collect();
    let lacking: Vec<&str> = of.label.lacking.iter().map(|&row| work.index.text(row)).collect();
    messages(chat::labelling(field, &active, &lacking))
}

fn messages(all: Vec<chat::Message>) -> Chat {
    let role = |name: &str| if name == "system" { Role::System } else { Role::User };
    Chat { messages: all.into_iter().map(|m| Message { role: role(&m.role), content: m.content }).collect() }
}

/// The score of each latent whose predictions are all there.
fn scores(answers: &Answers, of: &[(usize, bool)], latents: usize) -> Vec<Option<score::Score>> {
    let mut each = vec![(Vec::new(), Vec::new(), true); latents];
    for (answer, &(i, active)) in answers.answers.iter().zip(of) {
        let (yes, no, whole) = &mut each[i];
        match answer {
            Some(answer) => if active { yes } else { no }.push(chat::parse_prediction(&answer.text)),
            None => *whole = false,
        }
    }
    each.into_iter().map(|(yes, no, whole)| (whole && !yes.is_empty()).then(|| score::score(yes, no))).collect()
}
