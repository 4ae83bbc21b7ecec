//! Many requests: threads that ask, attempt by attempt, and one that takes what comes.

use super::gate::Bill;
use super::pause::backoff;
use super::reply::Said;
use super::wire::{Cause, Trouble};
use super::{Client, Usage};
use mereo::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rows lost in a row, with nothing good among them, after which a run is given up.
const HOPELESS: usize = 8;

/// How a run is watched and stopped.
#[derive(Clone, Copy, Default)]
pub struct Run<'a> {
    /// Once true, no request is started; those that run are waited for and kept.
    pub cancel: Option<&'a AtomicBool>,
    /// Called in the caller's thread after every answer and every failed attempt.
    pub watch: Option<&'a dyn Fn(&Progress)>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Rows answered.
    pub done: usize,
    /// Rows that failed for good.
    pub failed: usize,
    /// Rows asked for.
    pub of: usize,
    /// Tokens counted by the server.
    pub usage: Usage,
    /// Why an attempt failed just now.
    pub trouble: Option<&'a str>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Every row was answered, or failed by itself.
    #[default]
    All,
    /// Asked to stop.
    Cancelled,
    /// The next request might have exceeded the budget; the message says by how much.
    Budget(String),
    /// No further request would go better; the message says why, and what to do.
    Refused(String),
}

/// A row that was asked for and failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its number.
    pub row: usize,
    /// Why.
    pub why: String,
}

/// What became of a run. Rows neither answered nor in `failed` weren't asked for, because of `ended`.
#[must_use]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Why it ended.
    pub ended: Ended,
    /// Rows that failed, in order.
    pub failed: Vec<Failed>,
    /// Requests sent, all attempts counted.
    pub requests: usize,
    /// Tokens, as the server counted them.
    pub usage: Usage,
    /// Requests that may have been charged uncounted: stalls, broken connections, answers without `usage`.
    pub uncounted: usize,
    /// What `usage` costs; `None` without prices.
    pub cost: Option<f64>,
}

/// Gets the rows of a job and their answer.
type Take<'a, O> = &'a mut dyn FnMut(&[usize], O) -> Result<()>;

/// What a request is and how its answer is read.
pub(super) trait Task: Sync {
    type Out: Send;
    const PATH: &'static str;
    fn body(&self, rows: &[usize], manner: Manner) -> Value;
    fn estimate(&self, rows: &[usize]) -> Usage;
    /// The answer and the server's count.
    fn read(&self, rows: &[usize], body: &[u8]) -> (std::result::Result<Self::Out, Bad>, Option<Usage>);
    /// Whether the request can be said in another manner, because the server refused a parameter.
    fn adapt(&self, manner: Manner, said: &Said) -> bool;
}

/// Which parameters are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) temperature: bool,
    pub(super) max_tokens: bool,
}

/// Why an answer is none.
pub(super) enum Bad {
    /// Another attempt may do.
    Again(String),
    /// It would be the same.
    Never(String),
}

/// One call of a client.
pub(super) struct Call<'a> {
    cancel: Option<&'a AtomicBool>,
    ended: Mutex<Option<Ended>>,
    over: AtomicBool,
    /// Rows lost since the last good answer.
    lost: AtomicUsize,
    good: AtomicBool,
}

impl Call<'_> {
    pub(super) fn over(&self) -> bool {
        if !self.over.load(Ordering::Relaxed) && self.cancel.is_some_and(|c| c.load(Ordering::Relaxed)) {
            self.end(Ended::Cancelled);
        }
        self.over.load(Ordering::Relaxed)
    }

    /// The first reason stays.
    pub(super) fn end(&self, ended: Ended) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(ended);
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Ends a call whatever happens: threads must not go on asking when the one that takes the answers is gone.
struct End<'a, 'b>(&'a Call<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

enum Event<O> {
    Done(Vec<usize>, O),
    Lost(usize, String),
    Trouble(String),
    Bill(Bill),
}

enum Fate<O> {
    Done(O),
    /// `refused`: by what they hold, so that others say nothing of the next.
    Lost {
        why: String,
        refused: bool,
    },
    Over,
}

impl Client {
    /// Runs all jobs (rows each) on as many threads as may be; `take` gets every answer in this thread, in the order of their coming.
    pub(super) fn flow<T: Task>(
        &self,
        task: &T,
        jobs: VecDeque<Vec<usize>>,
        run: &Run,
        take: Take<'_, T::Out>,
    ) -> Result<Report> {
        let mut report = Report { cost: self.endpoint.prices.map(|_| 0.0), ..Report::default() };
        let (of, threads) = (jobs.iter().map(Vec::len).sum(), jobs.len().min(self.endpoint.concurrency));
        let call = Call {
            cancel: run.cancel,
            ended: Mutex::default(),
            over: AtomicBool::default(),
            lost: AtomicUsize::default(),
            good: AtomicBool::default(),
        };
        let jobs = Mutex::new(jobs);
        let (sender, events) = channel();
        let mut done = 0;
        let outcome = std::thread::scope(|scope| {
            let _end = End(&call);
            for _ in 0..threads {
                let (sender, jobs, call) = (sender.clone(), &jobs, &call);
                scope.spawn(move || self.ask(task, jobs, call, &sender));
            }
            drop(sender);
            let mut outcome = Ok(());
            for event in events {
                let mut trouble = None;
                match event {
                    Event::Done(rows, out) if outcome.is_ok() => {
                        done += rows.len();
                        outcome = take(&rows, out);
                        if outcome.is_err() {
                            call.end(Ended::Cancelled);
                        }
                    }
                    Event::Done(..) => {}
                    Event::Lost(row, why) => report.failed.push(Failed { row, why }),
                    Event::Trouble(why) => trouble = Some(why),
                    Event::Bill(bill) => {
                        report.requests += 1;
                        match bill {
                            Bill::Counted(usage) => report.usage += usage,
                            Bill::Uncounted | Bill::Good => report.uncounted += 1,
                            Bill::Free => {}
                        }
                        continue;
                    }
                }
                if let Some(watch) = run.watch {
                    let failed = report.failed.len();
                    watch(&Progress { done, failed, of, usage: report.usage, trouble: trouble.as_deref() });
                }
            }
            outcome
        });
        outcome?;
        report.cost = report.cost.map(|_| self.gate.price(report.usage));
        report.failed.sort_by_key(|f| f.row);
        report.ended = call.ended.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_default();
        // The last answer came before anybody saw the wish to stop.
        if report.ended == Ended::Cancelled && done + report.failed.len() == of {
            report.ended = Ended::All;
        }
        Ok(report)
    }

    /// One thread's part.
    fn ask<T: Task>(&self, task: &T, jobs: &Mutex<VecDeque<Vec<usize>>>, call: &Call, sender: &Sender<Event<T::Out>>) {
        let jobs = || jobs.lock().unwrap_or_else(PoisonError::into_inner);
        while !call.over() {
            let Some(mut rows) = jobs().pop_front() else { return };
            match self.job(task, &rows, call, sender) {
                Fate::Over => return,
                Fate::Done(out) => {
                    call.good.store(true, Ordering::Relaxed);
                    call.lost.store(0, Ordering::Relaxed);
                    if sender.send(Event::Done(rows, out)).is_err() {
                        return;
                    }
                }
                // Whichever text is at fault shall lose itself alone.
                Fate::Lost { .. } if rows.len() > 1 => {
                    let half = rows.split_off(rows.len() / 2);
                    let mut jobs = jobs();
                    jobs.push_front(half);
                    jobs.push_front(rows);
                }
                Fate::Lost { why, refused } => {
                    let lost = call.lost.fetch_add(1, Ordering::Relaxed) + 1;
                    // A corpus may well have many bad texts side by side, but not only those.
                    let fine = refused && call.good.load(Ordering::Relaxed);
                    let end = (lost >= HOPELESS && !fine).then(|| {
                        format!("the last {lost} texts all failed, so the rest weren't asked for; mend this, then run again for what is missing: {why}")
                    });
                    if sender.send(Event::Lost(rows[0], why)).is_err() {
                        return;
                    }
                    if let Some(end) = end {
                        call.end(Ended::Refused(end));
                    }
                }
            }
        }
    }

    /// All attempts at one job.
    fn job<T: Task>(&self, task: &T, rows: &[usize], call: &Call, sender: &Sender<Event<T::Out>>) -> Fate<T::Out> {
        let (own, estimate) = (&self.endpoint, task.estimate(rows));
        let (mut attempt, mut from, mut good) = (0, Instant::now(), self.gate.good());
        loop {
            let manner = self.manner();
            let body = task.body(rows, manner).to_string();
            let Some(ticket) = self.gate.enter(estimate, from, call) else { return Fate::Over };
            let (result, bill) = self.attempt(task, rows, body.as_bytes());
            self.gate.leave(ticket, bill);
            // A receiver that is gone is noticed with the answer.
            let _ = sender.send(Event::Bill(bill));
            let (why, after, cause) = match result {
                Ok(Ok(out)) => return Fate::Done(out),
                Ok(Err(why)) => return Fate::Lost { why, refused: true },
                Err(Trouble::Stop(why)) => {
                    call.end(Ended::Refused(why));
                    return Fate::Over;
                }
                Err(Trouble::Refused(said)) if task.adapt(manner, &said) => continue,
                Err(Trouble::Refused(said)) => return Fate::Lost { why: said.message, refused: true },
                Err(Trouble::Passing { why, after, cause }) => (why, after, cause),
            };
            attempt += 1;
            let now = self.gate.good();
            if cause == Cause::Limited && now > good {
                // Others had their turn meanwhile, and so will this one.
                (attempt, good) = (1, now);
            }
            if attempt >= own.attempts {
                let why = format!("{why}, {} times", own.attempts);
                return match cause {
                    Cause::Unreachable => {
                        call.end(Ended::Refused(format!("{why}; start the server, or check the url and the network")));
                        Fate::Over
                    }
                    Cause::Limited if rows.len() == 1 => {
                        call.end(Ended::Refused(format!(
                            "{why}; lower concurrency or set per_minute, then run again for what is missing"
                        )));
                        Fate::Over
                    }
                    Cause::Limited | Cause::Server | Cause::Unread => Fate::Lost { why, refused: false },
                };
            }
            let mut wait = backoff(own.backoff, own.longest, own.seed, rows[0], attempt);
            if let Some(after) = after {
                if after > Duration::from_secs_f64(own.patience) {
                    call.end(Ended::Refused(format!(
                        "{why} and asks us to wait {} s, more than patience = {}; run again later for what is missing",
                        after.as_secs(),
                        own.patience
                    )));
                    return Fate::Over;
                }
                // No earlier than asked for, and not all at once.
                wait = after + wait.min(after.max(Duration::from_millis(100)));
                if cause == Cause::Server {
                    self.gate.pause(Instant::now() + after);
                }
            }
            if cause == Cause::Limited {
                self.gate.pause(Instant::now() + after.unwrap_or(wait));
            }
            let seconds = wait.as_secs_f64();
            let _ = sender.send(Event::Trouble(format!("{why}; attempt {} of {} in {seconds:.1} s", attempt + 1, own.attempts)));
            from = Instant::now() + wait;
        }
    }

    /// One attempt; an answer that would be the same again is in the inner error.
    #[allow(clippy::type_complexity)]
    fn attempt<T: Task>(
        &self,
        task: &T,
        rows: &[usize],
        body: &[u8],
    ) -> (std::result::Result<std::result::Result<T::Out, String>, Trouble>, Bill) {
        let answer = match self.wire.post(T::PATH, body) {
            Ok(answer) => answer,
            Err(trouble) => {
                let unread = matches!(trouble, Trouble::Passing { cause: Cause::Unread, .. });
                return (Err(trouble), if unread { Bill::Uncounted } else { Bill::Free });
            }
        };
        let (out, usage) = task.read(rows, &answer);
        let bill = |without| usage.map_or(without, Bill::Counted);
        match out {
            Ok(out) => (Ok(Ok(out)), bill(Bill::Good)),
            Err(Bad::Never(why)) => (Ok(Err(self.wire.harmless(&why))), bill(Bill::Uncounted)),
            Err(Bad::Again(why)) => {
                if let Some(trouble) = self.wire.hidden(&answer) {
                    return (Err(trouble), bill(Bill::Free));
                }
                let why = format!("{} sent {}", self.wire.place.host, self.wire.harmless(&why));
                (Err(Trouble::unread(why)), bill(Bill::Uncounted))
            }
        }
    }

    fn manner(&self) -> Manner {
        let sent = |refused: &AtomicBool| !refused.load(Ordering::Relaxed);
        Manner {
            temperature: sent(&self.refused.temperature) && !self.endpoint.extra.contains_key("temperature"),
            max_tokens: sent(&self.refused.max_tokens),
        }
    }
}
