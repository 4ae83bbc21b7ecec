//! Embeddings: order, halves, lengths, what is asked again.

use super::*;

#[test]
fn batches_come_in_order_whatever_the_order_of_the_answer() {
    let server = Server::new(|_, asked| vectors(asked));
    let texts = texts(10);
    let endpoint = Endpoint { concurrency: 3, prices: Some(Prices { input: 2.0, output: 0.0 }), ..quick(&server) };
    let embedded = open(&endpoint).embeddings(&strs(&texts), &Run::default()).expect("embeddings");
    for (row, text) in embedded.rows.iter().zip(&texts) {
        assert_eq!(row.as_deref(), Some(&vector(text)[..]));
    }
    assert_eq!((embedded.dimension, &embedded.report.ended), (Some(3), &Ended::All));
    let mut sizes: Vec<usize> = server.asked().iter().map(|a| a.texts().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 4, 4]);
    for asked in server.asked() {
        assert_eq!((asked.path.as_str(), asked.body["model"].as_str()), ("/v1/embeddings", Some("tiny")));
        assert!(asked.body.get("encoding_format").is_none() && asked.body.get("temperature").is_none());
        assert!(!asked.head.to_lowercase().contains("authorization"), "no key was named");
    }
    // Ten texts of "0 text": 6 bytes each, at 2 for a million.
    assert_eq!((embedded.report.usage, embedded.report.requests), (Usage { prompt: 60, completion: 0 }, 3));
    assert!((embedded.report.cost.expect("prices") - 120e-6).abs() < 1e-12);
    let (present, mat) = embedded.matrix().expect("a matrix");
    assert_eq!((present.len(), mat.rows, mat.cols, mat.row(7)), (10, 10, 3, &[7.25, 6.0, 1.0][..]));
}

#[test]
fn nothing_is_sent_where_nothing_is_asked() {
    let server = Server::new(|_, asked| vectors(asked));
    let client = open(&quick(&server));
    assert!(client.embeddings(&[], &Run::default()).expect("none").rows.is_empty());
    let embedded = client.embeddings(&["", ""], &Run::default()).expect("none");
    assert_eq!((embedded.missing(), rows(&embedded.report)), (vec![0, 1], vec![0, 1]));
    assert!(embedded.report.failed[0].why.contains("empty"));
    let report = client.chat(&[], &Run::default(), &mut |_, _| panic!("no answer")).expect("none");
    assert_eq!(report, Report::default());
    assert!(client.chat(&[Chat { messages: vec![] }], &Run::default(), &mut |_, _| Ok(())).is_err());
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_bad_text_loses_only_itself() {
    let server = Server::new(|_, asked| {
        if asked.texts().iter().any(|t| t.contains("bad")) {
            return Reply::new(
                "400 Bad Request",
                r#"{"error":{"message":"This text is too long.","type":"invalid_request_error"}}"#,
            );
        }
        vectors(asked)
    });
    let mut texts = texts(8);
    texts[2] = "2 bad".into();
    let client = open(&quick(&server));
    let embedded = client.embeddings(&strs(&texts), &Run::default()).expect("embeddings");
    assert_eq!((embedded.missing(), rows(&embedded.report), &embedded.report.ended), (vec![2], vec![2], &Ended::All));
    assert_eq!(embedded.report.failed[0].why, "400 “This text is too long.”");
    // 0123 · 01 · 23 · 2 · 3 · 4567: a refusal isn't tried again.
    let sizes: Vec<usize> = server.asked().iter().map(|a| a.texts().len()).collect();
    assert_eq!(sizes, [4, 2, 2, 1, 1, 4]);
    assert_eq!(embedded.rows[3].as_deref(), Some(&vector("3 text")[..]));
}

#[test]
fn rows_that_failed_are_refilled_later() {
    let server = Server::new(|number, asked| {
        let fails = number < 9 && asked.texts().iter().any(|t| t.starts_with("5 "));
        if fails { Reply::new("500 Internal Server Error", "{}") } else { vectors(asked) }
    });
    let texts = texts(6);
    let client = open(&quick(&server));
    let mut embedded = client.embeddings(&strs(&texts), &Run::default()).expect("embeddings");
    // 0123, then 45 thrice, 4, and 5 thrice.
    assert_eq!((embedded.missing(), rows(&embedded.report), server.asked().len()), (vec![5], vec![5], 8));
    assert!(embedded.report.failed[0].why.contains("500") && embedded.report.failed[0].why.contains("3 times"));
    let (present, mat) = embedded.matrix().expect("a matrix");
    assert_eq!((present, mat.rows), (vec![0, 1, 2, 3, 4], 5));
    client.refill(&strs(&texts), &mut embedded, &Run::default()).expect("the rest");
    assert_eq!((embedded.missing(), rows(&embedded.report)), (vec![], vec![]));
    assert_eq!(embedded.rows[5].as_deref(), Some(&vector("5 text")[..]));
    // Number 8 fails, number 9 doesn't; no other text is sent again.
    assert!(server.asked()[8..].iter().all(|a| a.texts() == ["5 text"]) && server.asked().len() == 10);
    assert!(client.refill(&["too few"], &mut embedded, &Run::default()).is_err());
}

#[test]
fn answers_that_are_none_are_asked_for_again() {
    let one = |body: &str| Reply::new("200 OK", body);
    let list = |data: Value| Reply::json(&json!({ "data": data }));
    let e = |index: usize, v: &[f64]| json!({"index": index, "embedding": v});
    let cases = [
        ("malformed", one("{\"data\": [oops")),
        ("NaN", one(r#"{"data":[{"index":0,"embedding":[NaN,1]},{"index":1,"embedding":[1,1]}]}"#)),
        ("null", list(json!([{"index": 0, "embedding": [null, 1.0, 1.0]}, e(1, &[1.0, 2.0, 3.0])]))),
        ("empty", one("")),
        ("too few", list(json!([e(0, &[1.0, 2.0, 3.0])]))),
        ("too many", list(json!([e(0, &[1.0, 2.0, 3.0]), e(1, &[1.0, 2.0, 3.0]), e(2, &[1.0, 2.0, 3.0])]))),
        ("index twice", list(json!([e(1, &[1.0, 2.0, 3.0]), e(1, &[1.0, 2.0, 3.0])]))),
        ("index beyond", list(json!([e(1, &[1.0, 2.0, 3.0]), e(2, &[1.0, 2.0, 3.0])]))),
        ("some index", list(json!([{"embedding": [1.0, 2.0, 3.0]}, e(1, &[1.0, 2.0, 3.0])]))),
        ("two lengths", list(json!([e(0, &[1.0, 2.0]), e(1, &[1.0, 2.0, 3.0])]))),
        ("no numbers", list(json!([e(0, &[]), e(1, &[])]))),
        ("zeros", list(json!([e(0, &[0.0, 0.0, 0.0]), e(1, &[1.0, 2.0, 3.0])]))),
        ("beyond f32", list(json!([e(0, &[1e300, 2.0, 3.0]), e(1, &[1.0, 2.0, 3.0])]))),
        ("cut off", list(json!([e(0, &[1.0, 2.0, 3.0]), e(1, &[1.0, 2.0, 3.0])])).cut(40)),
        ("closed", one("").mute()),
        ("error in 200", one(r#"{"error":{"message":"upstream is down","code":502}}"#)),
    ];
    for (name, reply) in cases {
        let server = Server::new(move |number, asked| if number == 0 { reply.clone() } else { vectors(asked) });
        let embedded = open(&quick(&server)).embeddings(&["0 text", "1 text"], &Run::default()).expect("embeddings");
        assert_eq!(embedded.rows[1].as_deref(), Some(&vector("1 text")[..]), "{name}");
        assert_eq!((embedded.missing().len(), server.asked().len(), embedded.report.requests), (0, 2, 2), "{name}");
    }
}

#[test]
fn answers_without_index_are_in_order() {
    let server = Server::new(|_, asked| {
        let data: Vec<Value> = asked.texts().iter().map(|t| json!({ "embedding": vector(t) })).collect();
        Reply::json(&json!({ "data": data }))
    });
    let embedded = open(&quick(&server)).embeddings(&["3 text", "1 text"], &Run::default()).expect("embeddings");
    assert_eq!(embedded.rows[0].as_deref(), Some(&[3.25, 6.0, 1.0][..]));
    assert_eq!((embedded.report.uncounted, embedded.report.usage), (1, Usage::default()), "a server without counts");
}

#[test]
fn every_embedding_has_the_same_length() {
    let server = Server::new(|_, asked| {
        let of = |t: &String| if t.starts_with("6 ") { vec![1.0, 2.0] } else { vector(t) };
        let data: Vec<Value> = asked.texts().iter().enumerate().map(|(i, t)| json!({"index": i, "embedding": of(t)})).collect();
        Reply::json(&json!({ "data": data }))
    });
    let texts = texts(8);
    let embedded = open(&quick(&server)).embeddings(&strs(&texts), &Run::default()).expect("embeddings");
    assert_eq!((rows(&embedded.report), embedded.missing(), embedded.dimension), (vec![6], vec![6], Some(3)));
    let why = &embedded.report.failed[0].why;
    assert!(why.contains("2 numbers") && why.contains("have 3"), "{why}");
    // Asked for a length, another isn't taken.
    let endpoint = Endpoint { dimensions: Some(4), ..quick(&server) };
    let embedded = open(&endpoint).embeddings(&["0 text"], &Run::default()).expect("embeddings");
    assert_eq!((embedded.missing(), server.asked().last().map(|a| a.body["dimensions"].clone())), (vec![0], Some(json!(4))));
}

#[test]
fn batches_hold_no_more_characters_than_they_may() {
    let server = Server::new(|_, asked| vectors(asked));
    let endpoint = Endpoint { batch_chars: 13, ..quick(&server) };
    let client = open(&endpoint);
    let (long, texts) = ("9 ".repeat(20), texts(5));
    let mut texts = strs(&texts);
    texts.insert(3, &long);
    // Each has 6 characters, so two fit, and the long one goes alone; a token is taken for four.
    let estimate = client.estimate_embeddings(&texts);
    assert_eq!((estimate.requests, estimate.usage.prompt, estimate.cost), (4, 5 * 2 + 10, None));
    assert_eq!(client.embeddings(&texts, &Run::default()).expect("embeddings").missing(), Vec::<usize>::new());
    let sizes: Vec<usize> = server.asked().iter().map(|a| a.texts().len()).collect();
    assert_eq!(sizes, [2, 1, 1, 2]);
}

#[test]
fn stored_embeddings_are_bought_once() {
    let server = Server::new(|_, asked| vectors(asked));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("embeddings.jsonl");
    let client = open(&quick(&server));
    let mut store = Store::open(&path).expect("a store");
    let first = client.embeddings_stored(&["0 text", "1 text", "0 text"], &mut store, &Run::default()).expect("embeddings");
    assert_eq!((server.asked()[0].texts().len(), first.missing().len(), store.len()), (2, 0, 2), "equal texts are sent once");
    drop(store);
    let mut store = Store::open(&path).expect("a store");
    let second = client.embeddings_stored(&["1 text", "2 text", "0 text"], &mut store, &Run::default()).expect("embeddings");
    assert_eq!((server.asked().len(), server.asked()[1].texts()), (2, vec!["2 text".to_string()]));
    for (row, text) in second.rows.iter().zip(["1 text", "2 text", "0 text"]) {
        assert_eq!(row.as_deref(), Some(&vector(text)[..]));
    }
    let again = client.embeddings_stored(&["1 text", "2 text"], &mut store, &Run::default()).expect("embeddings");
    assert_eq!((server.asked().len(), again.dimension, again.report.requests), (2, Some(3), 0));
}
