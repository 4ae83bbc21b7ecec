//! What goes wrong: what is tried again, what isn't, and where the key goes.

use super::*;
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn embed(client: &Client, n: usize) -> Embedded {
    client.embeddings(&strs(&texts(n)), &Run::default()).expect("a report")
}

#[test]
fn passing_statuses_are_tried_again() {
    for status in [
        "408 Request Timeout",
        "409 Conflict",
        "425 Too Early",
        "429 Too Many Requests",
        "500 Oops",
        "502 Bad Gateway",
        "503 Busy",
        "529 Overloaded",
    ] {
        let server = Server::new(move |number, asked| if number < 2 { Reply::new(status, "{}") } else { vectors(asked) });
        let embedded = embed(&open(&quick(&server)), 3);
        assert_eq!((embedded.missing().len(), server.asked().len()), (0, 3), "{status}");
        assert_eq!(embedded.rows[2].as_deref(), Some(&vector("2 text")[..]));
        assert_eq!(
            (embedded.report.requests, embedded.report.uncounted),
            (3, 0),
            "{status}: a failure that is said costs nothing"
        );
    }
}

#[test]
fn what_cant_pass_is_not() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "413 Too Large", "422 Unprocessable"]
    {
        let server = Server::new(move |_, _| Reply::new(status, r#"{"error":"no"}"#));
        let embedded = embed(&open(&quick(&server)), 1);
        assert_eq!((embedded.missing().len(), server.asked().len()), (1, 1), "{status}");
    }
}

#[test]
fn a_stall_ends_with_the_timeout() {
    let server = Server::new(|number, asked| if number == 0 { vectors(asked).after(5000) } else { vectors(asked) });
    let started = Instant::now();
    let embedded = embed(&open(&Endpoint { timeout: 1.0, ..quick(&server) }), 2);
    assert_eq!((embedded.missing().len(), server.asked().len(), embedded.report.uncounted), (0, 2, 1));
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(4500), "{took:?}");
    // A stall at every attempt: the row fails and says so.
    let server = Server::new(|_, asked| vectors(asked).after(3000));
    let embedded = embed(&open(&Endpoint { timeout: 0.2, attempts: 2, ..quick(&server) }), 1);
    assert_eq!((rows(&embedded.report), server.asked().len()), (vec![0], 2));
    assert!(embedded.report.failed[0].why.contains("0.2 s (timeout), 2 times"), "{}", embedded.report.failed[0].why);
}

#[test]
fn retry_after_holds_up_everybody() {
    let server = Server::new(|number, asked| match number {
        0 => Reply::new("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#).with("Retry-After", "1").after(200),
        _ => vectors(asked).after(400),
    });
    // A batch each, two at once: the second is on its way when the first is refused.
    let client = open(&Endpoint { batch: 1, concurrency: 2, ..quick(&server) });
    assert_eq!(embed(&client, 6).missing(), Vec::<usize>::new());
    let asked = server.asked();
    assert_eq!(asked.len(), 7);
    let first = asked[0].at;
    assert!(asked[1].at - first < Duration::from_millis(500));
    for later in &asked[2..] {
        assert!(later.at - first >= Duration::from_secs(1), "{:?}", later.at - first);
    }
}

#[test]
fn a_wait_beyond_patience_ends_the_run() {
    for after in ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let server = Server::new(move |_, _| Reply::new("429 Too Many Requests", "{}").with("Retry-After", after));
        let embedded = embed(&open(&quick(&server)), 3);
        assert!(given_up(&embedded.report).contains("patience = 600") && server.asked().len() == 1);
        assert!(embedded.report.failed.is_empty(), "rows that weren't at fault");
    }
    // The date is by the server's clock, whatever ours says.
    let server = Server::new(|number, asked| match number {
        0 => Reply::new("503 Busy", "{}")
            .with("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            .with("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT"),
        _ => vectors(asked),
    });
    assert_eq!(embed(&open(&quick(&server)), 1).missing(), Vec::<usize>::new());
    let wait = server.asked()[1].at - server.asked()[0].at;
    assert!(wait >= Duration::from_secs(1) && wait < Duration::from_secs(4), "{wait:?}");
}

#[test]
fn a_limit_wears_nobody_out_while_others_get_through() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let served = AtomicUsize::new(0);
    // The first text is refused five times, each time once another was served.
    let refused = AtomicUsize::new(0);
    let server = Server::new(move |_, asked| {
        if asked.texts()[0] == "0 text" && refused.load(Ordering::SeqCst) < 5 {
            let (before, started) = (served.load(Ordering::SeqCst), Instant::now());
            while served.load(Ordering::SeqCst) < before + 2 && started.elapsed() < Duration::from_secs(3) {
                std::thread::sleep(Duration::from_millis(1));
            }
            refused.fetch_add(1, Ordering::SeqCst);
            return Reply::new("429 Too Many Requests", "{}").after(20);
        }
        served.fetch_add(1, Ordering::SeqCst);
        vectors(asked).after(8)
    });
    let client = open(&Endpoint { batch: 1, concurrency: 2, attempts: 3, ..quick(&server) });
    let embedded = embed(&client, 80);
    assert_eq!((embedded.missing().len(), server.asked().len()), (0, 85));
    // With nobody else, three are three, and the run says what to change.
    let server = Server::new(|_, _| Reply::new("429 Too Many Requests", "{}"));
    let embedded = embed(&open(&quick(&server)), 1);
    assert!(given_up(&embedded.report).contains("3 times; lower concurrency") && server.asked().len() == 3);
}

#[test]
fn requests_keep_their_pace() {
    let server = Server::new(|_, asked| vectors(asked));
    let client = open(&Endpoint { batch: 1, concurrency: 4, per_minute: Some(600.0), ..quick(&server) });
    let started = Instant::now();
    assert_eq!(embed(&client, 5).missing(), Vec::<usize>::new());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(400), "five at a tenth of a second: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn no_redirect_is_followed() {
    let other = Server::new(|_, asked| vectors(asked));
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = format!("{}/v1/embeddings?token=abc", other.url);
        let server = Server::new(move |_, _| Reply::new(status, "").with("Location", to.as_str()));
        let embedded = embed(&keyed(&quick(&server)), 5);
        let why = given_up(&embedded.report);
        assert!(
            why.contains(&other.url) && why.contains("give it as url") && !why.contains("abc") && !why.contains(KEY),
            "{why}"
        );
        assert_eq!((server.asked().len(), other.asked().len()), (1, 0), "{status}");
        assert!(server.asked()[0].head.contains(&format!("Bearer {KEY}")), "it had the key");
    }
}

#[test]
fn a_refused_key_is_named_and_never_shown() {
    let server = Server::new(|_, asked| {
        let key = asked.head.lines().find(|l| l.to_lowercase().starts_with("authorization")).map_or("none", |l| l);
        Reply::new(
            "401 Unauthorized",
            json!({"error": {"message": format!("wrong key: {key}"), "code": "invalid_api_key"}}).to_string(),
        )
    });
    let client = keyed(&Endpoint { batch: 1, ..quick(&server) });
    let embedded = embed(&client, 10);
    let why = given_up(&embedded.report);
    assert!(
        why.contains("401") && why.contains("the key in THEIR_KEY was refused by 127.0.0.1:") && why.contains("[key]"),
        "{why}"
    );
    let shown = format!("{why} {embedded:?} {:?} {}", client.endpoint(), serde_json::to_string(client.endpoint()).expect("json"));
    assert!(!shown.contains(KEY), "{shown}");
    assert_eq!((server.asked().len(), embedded.report.failed.len()), (1, 0));
    let why = given_up(&embed(&open(&quick(&server)), 1).report).to_string();
    assert!(why.contains("wants a key") && why.contains("key_from"), "{why}");
}

#[test]
fn errors_say_what_to_do() {
    let cases = [
        (
            "404 Not Found",
            r#"{"error":{"message":"The model `tiny` does not exist or you do not have access to it.","code":"model_not_found"}}"#,
            "no model `tiny`",
        ),
        ("404 Not Found", r#"{"error":{"message":"model \"tiny\" not found, try pulling it first"}}"#, "ollama pull tiny"),
        ("404 Not Found", r#"{"object":"error","message":"The model `tiny` does not exist.","code":404}"#, "/v1/models lists"),
        ("404 Not Found", r#"{"detail":"Not Found"}"#, "check the url"),
        ("404 Not Found", "<html>", "check the url"),
        (
            "429 Too Many Requests",
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            "no credit left",
        ),
        ("402 Payment Required", r#"{"error":{"message":"Insufficient credits","code":402}}"#, "no credit left"),
    ];
    for (status, body, says) in cases {
        let server = Server::new(move |_, _| Reply::new(status, body));
        let embedded = embed(&open(&quick(&server)), 6);
        let why = given_up(&embedded.report);
        assert!(why.contains(says), "{why}");
        assert_eq!((server.asked().len(), embedded.missing().len()), (1, 6), "{why}");
    }
    let server = Server::new(|_, _| Reply::new("200 OK", "<html>log in</html>").with("Content-Type", "text/html; charset=utf-8"));
    assert!(given_up(&embed(&open(&quick(&server)), 1).report).contains("web page") && server.asked().len() == 1);
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let endpoint =
        Endpoint { url: format!("http://{gone}"), model: "tiny".into(), attempts: 2, backoff: 0.001, ..Endpoint::default() };
    let embedded = embed(&open(&endpoint), 300);
    let why = given_up(&embedded.report);
    assert!(why.contains(&gone.to_string()) && why.contains("2 times; start the server"), "{why}");
    assert_eq!((embedded.missing().len(), embedded.report.failed.len(), embedded.report.uncounted), (300, 0, 0));
}

#[test]
fn what_is_hopeless_is_given_up() {
    // Everything is refused: 8 texts tell that, not all of them.
    let server = Server::new(|_, _| Reply::new("400 Bad Request", r#"{"error":{"message":"unknown field `dimensions`"}}"#));
    let report = open(&quick(&server)).chat(&chats(100), &Run::default(), &mut |_, _| Ok(())).expect("a report");
    let why = given_up(&report);
    assert!(why.contains("unknown field `dimensions`") && why.contains("8 texts"), "{why}");
    assert_eq!((server.asked().len(), rows(&report)), (8, (0..8).collect()));
    // The server breaks down after five answers.
    let server = Server::new(|number, asked| if number < 5 { capitals(asked) } else { Reply::new("500 Oops", "{}") });
    let report = open(&quick(&server)).chat(&chats(100), &Run::default(), &mut |_, _| Ok(())).expect("a report");
    assert!(given_up(&report).contains("run again"));
    assert_eq!((server.asked().len(), rows(&report)), (5 + 8 * 3, (5..13).collect()));
    // Many bad texts in a row are no reason, once another was good.
    let server =
        Server::new(|number, asked| if (1..31).contains(&number) { Reply::new("400 Too long", "{}") } else { capitals(asked) });
    let report = open(&quick(&server)).chat(&chats(40), &Run::default(), &mut |_, _| Ok(())).expect("a report");
    assert_eq!((&report.ended, rows(&report)), (&Ended::All, (1..31).collect()));
}
