//! Answers to messages: crowds, stops, budgets, and what outlives a killed run.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn collect(client: &Client, requests: &[Chat], run: &Run) -> (BTreeMap<usize, Answer>, Report) {
    let mut all = BTreeMap::new();
    let report = client.chat(requests, run, &mut |row, answer| {
        assert!(all.insert(row, answer).is_none(), "row {row} is answered twice");
        Ok(())
    });
    (all, report.expect("a report"))
}

#[test]
fn many_are_asked_at_once_but_never_more_than_may_be() {
    let server = Server::new(|_, asked| capitals(asked).after(15));
    let endpoint = Endpoint { concurrency: 5, ..quick(&server) };
    let (all, report) = collect(&open(&endpoint), &chats(40), &Run::default());
    assert_eq!((all.len(), server.asked().len(), &report.ended), (40, 40, &Ended::All));
    assert!(all.iter().all(|(row, answer)| answer.text == format!("WORD {row}") && answer.finish == "stop"));
    assert!((2..=5).contains(&server.most()), "{} at once", server.most());
    assert_eq!((report.usage, report.cost), (Usage { prompt: 400, completion: 80 }, None));
    let asked = &server.asked()[0];
    assert_eq!((asked.path.as_str(), &asked.body["temperature"]), ("/v1/chat/completions", &json!(0)));
    assert_eq!(asked.body["messages"][0], json!({"role": "system", "content": "Repeat it in capitals."}));
    assert!(asked.body.get("max_tokens").is_none() && asked.body.get("stream").is_none());
}

#[test]
fn parameters_that_a_model_refuses_are_left_out() {
    let server = Server::new(|_, asked| {
        let refuse = |param: &str, message: &str| {
            Reply::new(
                "400 Bad Request",
                json!({"error": {"message": message, "param": param, "code": "unsupported"}}).to_string(),
            )
        };
        if asked.body.get("temperature").is_some() {
            return refuse("temperature", "Unsupported value: only the default (1) is supported.");
        }
        if asked.body.get("max_tokens").is_some() {
            return refuse("max_tokens", "Unsupported parameter. Use 'max_completion_tokens' instead.");
        }
        assert_eq!(asked.body["max_completion_tokens"], json!(50));
        capitals(asked)
    });
    let client = open(&Endpoint { max_tokens: Some(50), attempts: 1, ..quick(&server) });
    let (all, report) = collect(&client, &chats(3), &Run::default());
    // The first learns both, the others know it; later calls too.
    assert_eq!((all.len(), report.requests, server.asked().len()), (3, 5, 5));
    assert_eq!((collect(&client, &chats(1), &Run::default()).0.len(), server.asked().len()), (1, 6));
    // A refusal of a temperature that someone chose is theirs to mend.
    let mut endpoint = quick(&server);
    endpoint.extra.insert("temperature".into(), json!(0.5));
    let (all, report) = collect(&open(&endpoint), &chats(1), &Run::default());
    assert_eq!((all.len(), rows(&report), server.asked().len()), (0, vec![0], 7));
    assert_eq!(server.asked()[6].body["temperature"], json!(0.5));
}

#[test]
fn an_answer_without_words_fails_alone() {
    let server = Server::new(|number, asked| match number {
        0 => Reply::json(
            &json!({"choices": [{"message": {"content": null}, "finish_reason": "length"}], "usage": {"prompt_tokens": 10}}),
        ),
        1 => Reply::json(
            &json!({"choices": [{"message": {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}}]}),
        ),
        _ => capitals(asked),
    });
    let (all, report) = collect(&open(&quick(&server)), &chats(3), &Run::default());
    assert_eq!((rows(&report), server.asked().len(), all[&1].text.as_str()), (vec![0], 3, "in parts"));
    assert!(report.failed[0].why.contains("raise max_tokens"), "{}", report.failed[0].why);
    assert_eq!((report.usage, report.uncounted), (Usage { prompt: 20, completion: 2 }, 1));
}

#[test]
fn a_budget_stops_in_time_and_keeps_what_was_finished() {
    // 12 tokens each, at 1 a token: estimated at ⌈28 / 4⌉ + 2 = 9, which the first answer corrects to 12.
    let server = Server::new(|_, asked| capitals(asked).after(5));
    let endpoint = Endpoint { prices: Some(Prices { input: 1e6, output: 1e6 }), answer_tokens: 2, ..quick(&server) };
    assert_eq!(open(&endpoint).estimate_chat(&chats(2)).cost, Some(18.0));
    for (concurrency, budget, enough) in [(1, 59.0, 4), (1, 60.0, 5), (4, 59.0, 4), (4, 8.0, 0), (1, 120.0, 10), (3, 1000.0, 10)]
    {
        let (before, client) = (server.asked().len(), open(&Endpoint { budget: Some(budget), concurrency, ..endpoint.clone() }));
        let (all, report) = collect(&client, &chats(10), &Run::default());
        assert_eq!((all.len(), server.asked().len() - before), (enough, enough), "{concurrency} at once, {budget}");
        assert_eq!((report.cost, client.spent()), (Some(12.0 * enough as f64), Some(12.0 * enough as f64)));
        match &report.ended {
            Ended::All => assert_eq!(enough, 10),
            Ended::Budget(why) => assert!(enough < 10 && why.contains("raise it"), "{why}"),
            other => panic!("{other:?}"),
        }
        // It is the client's, not the call's.
        if enough < 10 {
            assert_eq!(collect(&client, &chats(1), &Run::default()).0.len(), 0);
        }
    }
}

#[test]
fn what_may_have_been_charged_counts_against_the_budget() {
    let server = Server::new(|_, asked| capitals(asked).mute());
    let endpoint =
        Endpoint { prices: Some(Prices { input: 1e6, output: 1e6 }), answer_tokens: 2, attempts: 100, ..quick(&server) };
    // 9 each: three of them fit, and their money may be gone.
    let client = open(&Endpoint { budget: Some(30.0), ..endpoint });
    let (all, report) = collect(&client, &chats(1), &Run::default());
    assert_eq!((all.len(), server.asked().len(), report.uncounted), (0, 3, 3));
    assert_eq!((report.cost, client.spent()), (Some(0.0), Some(27.0)));
    assert!(matches!(report.ended, Ended::Budget(_)));
}

#[test]
fn a_stop_keeps_what_runs() {
    let server = Server::new(|_, asked| capitals(asked).after(30));
    let client = open(&Endpoint { concurrency: 2, ..quick(&server) });
    let (cancel, mut all) = (AtomicBool::new(false), Vec::new());
    let run = Run { cancel: Some(&cancel), watch: None };
    let report = client.chat(&chats(50), &run, &mut |row, _| {
        all.push(row);
        cancel.store(all.len() >= 3, Ordering::Relaxed);
        Ok(())
    });
    let report = report.expect("a report");
    assert_eq!((all.len(), report.requests, &report.ended), (server.asked().len(), server.asked().len(), &Ended::Cancelled));
    assert!((3..25).contains(&all.len()) && report.failed.is_empty(), "{}", all.len());
    // A stop amid a long pause doesn't wait for its end.
    let server = Server::new(|_, _| Reply::new("503 Service Unavailable", "{}").with("Retry-After", "100"));
    let watch = |progress: &Progress| {
        assert!(progress.trouble.is_some_and(|t| t.contains("503")));
        cancel.store(true, Ordering::Relaxed);
    };
    cancel.store(false, Ordering::Relaxed);
    let started = Instant::now();
    let run = Run { cancel: Some(&cancel), watch: Some(&watch) };
    let report = open(&quick(&server)).chat(&chats(5), &run, &mut |_, _| Ok(())).expect("a report");
    assert!(report.ended == Ended::Cancelled && started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_error_of_the_callback_ends_the_run() {
    let server = Server::new(|_, asked| capitals(asked).after(20));
    let client = open(&Endpoint { concurrency: 2, ..quick(&server) });
    let error =
        client.chat(&chats(50), &Run::default(), &mut |_, _| Err(Error::data("the disk is full"))).expect_err("its error");
    assert_eq!(error.to_string(), "the disk is full");
    assert!(server.asked().len() < 25, "{}", server.asked().len());
    // So does a panic of it.
    let before = server.asked().len();
    let panic = std::panic::AssertUnwindSafe(|| {
        client.chat(&chats(50), &Run::default(), &mut |_, _| std::panic::resume_unwind(Box::new("of the test")))
    });
    assert!(std::panic::catch_unwind(panic).is_err() && server.asked().len() - before < 25);
}

#[test]
fn progress_is_told() {
    let server = Server::new(|number, asked| if number == 1 { Reply::new("500 Oops", "{}") } else { capitals(asked) });
    let seen = RefCell::new(Vec::new());
    let watch = |p: &Progress| seen.borrow_mut().push((p.done, p.failed, p.of, p.usage.prompt, p.trouble.is_some()));
    let _ = collect(&open(&quick(&server)), &chats(2), &Run { cancel: None, watch: Some(&watch) });
    assert_eq!(*seen.borrow(), [(1, 0, 2, 10, false), (1, 0, 2, 10, true), (2, 0, 2, 20, false)]);
}

#[test]
fn a_second_run_asks_only_for_what_is_missing() {
    let server = Server::new(|_, asked| capitals(asked));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answers.jsonl");
    let client = open(&quick(&server));
    let mut requests = chats(6);
    requests.push(requests[0].clone());
    let mut store = Store::open(&path).expect("a store");
    let first = client.chat_stored(&requests[..3], &mut store, &Run::default()).expect("answers");
    assert_eq!((first.answers.iter().flatten().count(), store.len(), server.asked().len()), (3, 3, 3));
    drop(store);
    // A power cut amid the third line.
    let bytes = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &bytes[..bytes.len() - 20]).expect("shorter");
    let mut store = Store::open(&path).expect("a store");
    assert_eq!(store.len(), 2);
    let second = client.chat_stored(&requests, &mut store, &Run::default()).expect("answers");
    let asked: Vec<String> = server.asked()[3..].iter().map(|a| a.question().to_string()).collect();
    assert_eq!(asked, ["word 2", "word 3", "word 4", "word 5"], "the seventh equals the first");
    let words: Vec<&str> = second.answers.iter().flatten().map(|a| a.text.as_str()).collect();
    assert_eq!(words, ["WORD 0", "WORD 1", "WORD 2", "WORD 3", "WORD 4", "WORD 5", "WORD 0"]);
    drop(store);
    // Nothing was lost by the repair, and another model has answered nothing yet.
    let store = Store::<Answer>::open(&path).expect("a store");
    assert_eq!(store.len(), 6);
    let other = open(&Endpoint { model: "other".into(), ..quick(&server) });
    assert!(store.get(&client.chat_key(&requests[4])).is_some() && store.get(&other.chat_key(&requests[4])).is_none());
    assert_ne!(client.chat_key(&requests[1]), client.chat_key(&requests[2]));
}

/// What is killed below; in a run of all tests it does nothing.
#[test]
fn victim() {
    let (Ok(url), Ok(path)) = (std::env::var("MEREO_TEST_URL"), std::env::var("MEREO_TEST_STORE")) else { return };
    let endpoint = Endpoint { url, model: "tiny".into(), concurrency: 2, timeout: 60.0, ..Endpoint::default() };
    let mut store = Store::open(path).expect("a store");
    let _ = open(&endpoint).chat_stored(&chats(30), &mut store, &Run::default());
}

#[test]
fn a_killed_run_is_continued() {
    // The first nine are answered, the rest would take a minute.
    let server =
        Server::new(|number, asked| if (9..11).contains(&number) { capitals(asked).after(60_000) } else { capitals(asked) });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answers.jsonl");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "endpoint::tests::answers::victim"])
        .envs([("MEREO_TEST_URL", server.url.as_str()), ("MEREO_TEST_STORE", path.to_str().expect("a path"))])
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    let lines = || std::fs::read_to_string(&path).unwrap_or_default().lines().count();
    let started = Instant::now();
    while (server.asked().len() < 11 || lines() < 9) && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(
        Store::<Answer>::open(&path).is_err_and(|e| e.to_string().contains("another run")),
        "two runs must not write to one file"
    );
    child.kill().expect("killed");
    child.wait().expect("gone");
    let mut store = Store::open(&path).expect("a store");
    assert_eq!(store.len(), 9);
    let answers = open(&quick(&server)).chat_stored(&chats(30), &mut store, &Run::default()).expect("answers").answers;
    assert_eq!(server.asked().len(), 11 + 21);
    assert!(answers.iter().enumerate().all(|(i, a)| a.as_ref().is_some_and(|a| a.text == format!("WORD {i}"))));
}
