//! `embed`, `index`, `latent`, `label`, `families`, `tell` and `search` as they are typed, and a server on the loopback for what asks one.

use crate::place::{Place, read_npy};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const TOPICS: [(&str, &str); 4] = [
    ("stars", "pulsar telescope galaxy orbit"),
    ("plants", "leaf blossom root pollen"),
    ("money", "bank credit market loan"),
    ("music", "violin melody chorus tempo"),
];
const ROWS: usize = 240;

/// A corpus of four topics, each a column of its own, in two files; every text has the words of its topic among those of all.
fn corpus(place: &Place) {
    let mut rows = String::new();
    let mut texts = String::from("text,topic,strength\n");
    for i in 0..ROWS {
        let topic = i % 4;
        let numbers: Vec<String> = (0..6)
            .map(|j| {
                let noise = ((i * 7 + j * 13) % 11) as f64 / 110.0;
                let own = if j == topic { 1.0 + (i % 7) as f64 / 7.0 } else { 0.0 };
                format!("{}", own + noise)
            })
            .collect();
        rows += &(numbers.join(",") + "\n");
        let words: Vec<&str> = TOPICS[topic].1.split(' ').collect();
        let own = format!("{} and {}", words[i / 4 % 4], words[(i / 4 + 1) % 4]);
        let _ = writeln!(
            texts,
            "\"Report number {i} of the general assembly on the {own}, with remarks on the {own} by several members and a summary of the vote.\",{},{}",
            TOPICS[topic].0,
            i % 7
        );
    }
    std::fs::write(place.path("rows.csv"), rows).expect("write");
    std::fs::write(place.path("texts.csv"), texts).expect("write");
}

/// The corpus with a model and an index.
fn indexed() -> Place {
    let place = Place::new();
    corpus(&place);
    place.ok("fit nmf rows.csv --no-header --k 4 --seed 1 -o parts.mereo");
    place.ok("index parts.mereo rows.csv --no-header --texts texts.csv --text-columns text --columns topic,strength -o i");
    place
}

/// The topic that a latent is of, by the rows on which it is most active.
fn topic_of(place: &Place, latent: usize) -> usize {
    let seen = place.json(&format!("latent i {latent} --top 5"));
    let rows: Vec<usize> =
        seen["top"].as_array().expect("top").iter().map(|r| r["row"].as_u64().expect("row") as usize).collect();
    assert!(rows.len() == 5 && rows.iter().all(|r| r % 4 == rows[0] % 4), "{seen}");
    rows[0] % 4
}

#[test]
fn latents_are_looked_at_named_and_steered_by() {
    let place = indexed();
    let topics: Vec<usize> = (0..4).map(|j| topic_of(&place, j)).collect();
    let mut all = topics.clone();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3], "one latent for each topic");
    // Names come from the words of the topic.
    let said = place.json("label i");
    assert_eq!((said["labelled"].as_u64(), said["labels"].as_array().map(Vec::len)), (Some(4), Some(4)));
    for label in said["labels"].as_array().expect("labels") {
        let (j, name) = (label["latent"].as_u64().expect("latent") as usize, label["label"].as_str().expect("label"));
        let words = TOPICS[topics[j]].1;
        assert!(words.split(' ').any(|w| name.contains(w)), "{name} for {words}");
        assert!(TOPICS.iter().enumerate().all(|(t, of)| t == topics[j] || of.1.split(' ').all(|w| !name.contains(w))), "{name}");
    }
    // The same again, to the letter.
    assert_eq!(place.json("label i")["labels"], said["labels"]);
    let stars = topics.iter().position(|t| *t == 0).expect("stars");
    let found = place.json("tell i --column topic --top 1");
    for told in found["found"].as_array().expect("found") {
        let topic = TOPICS.iter().position(|t| t.0 == told["class"]).expect("a topic");
        assert_eq!(topics[told["latent"].as_u64().expect("latent") as usize], topic);
        assert!(told["auc"].as_f64() > Some(0.99) && told["q"].as_f64() < Some(1e-20), "{told}");
    }
    assert!(place.json("tell i --column strength --top 4")["found"][0]["rank_correlation"].is_number());
    let apart = place.json("tell i --rows topic=stars --against topic=music --top 2");
    assert!(apart["found"].as_array().expect("found").iter().all(|t| t["q"].as_f64() < Some(1e-20)));
    let row = place.json("latent i --row 4");
    assert_eq!(row["latents"][0]["latent"].as_u64(), Some(stars as u64), "{row}");
    assert!(row["unexplained"].as_f64() < Some(0.05) && row["nearest"].as_array().map(Vec::len) == Some(10));
    assert_eq!(place.json("latent i --row 4 --like 8")["shared"][0]["latent"].as_u64(), Some(stars as u64));
    // By words, and by the rows that the words find, which a latent moves to another topic.
    let rows = |line: &str| -> Vec<usize> {
        let found = place.json(line);
        found["results"].as_array().expect("results").iter().map(|r| r["row"].as_u64().expect("row") as usize).collect()
    };
    let run = |words: &[&str]| -> Vec<usize> {
        let out = place.command(words).arg("--json").output().expect("mereo runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let found: Value = serde_json::from_slice(&out.stdout).expect("json");
        found["results"].as_array().expect("results").iter().map(|r| r["row"].as_u64().expect("row") as usize).collect()
    };
    assert!(rows("search i violin --words").iter().all(|r| r % 4 == 3));
    assert!(run(&["search", "i", "violin melody"]).iter().all(|r| r % 4 == 3));
    let largest = place.json(&format!("latent i {stars}"))["activity"]["max"].as_f64().expect("max");
    for (how, up, down) in [
        ("direct", 5.0, "violin melody:5"),
        ("clamp", 2.0 * largest, "violin melody"),
        ("refine", 2.0 * largest, "violin melody"),
    ] {
        let to = run(&["search", "i", "violin melody", "--up", &format!("{stars}:{up}"), "--down", down, "--how", how]);
        assert!(to.iter().all(|r| r % 4 == 0), "{how}: {to:?}");
    }
    assert!(rows("search i --row 5 --top 3").iter().all(|r| r % 4 == 1 && *r != 5));
    let text = place.ok("search i --row 5 --up 0:1");
    assert!(text.contains("the query moved to a cosine of") && text.contains("before"), "{text}");
    assert!(place.ok("latent i").contains("label") && place.ok("latent i 0").contains("active on the same rows"));
    // A family takes a general latent; here there is none, and that is told.
    assert!(place.ok("families i --all").contains("families"));
    assert_eq!(place.json("families i --all --test lift -o f.json")["output"], "f.json");
    place.ok("families i --all -o f.dot");
    assert!(std::fs::read_to_string(place.path("f.dot")).expect("dot").starts_with("digraph"));
}

#[test]
fn mistakes_with_an_index_name_the_fix() {
    let place = indexed();
    for (code, line, what) in [
        (1, "search j x", "mereo index"),
        (2, "latent i 4", "the model has 4"),
        (2, "latent i --find star", "mereo label i"),
        (2, "latent i --row 240", "no row 240"),
        (2, "search i report --up stars:1", "mereo label i"),
        (2, "search i report --up 9:1", "no latent 9"),
        (2, "search i report --up 1:-2", "at least 0"),
        (1, "search i zzzz", "--encoder"),
        (2, "search i report --encoder nowhere/none", "nowhere/none"),
        (1, "tell i --column nothing", "topic, strength"),
        (2, "tell i --column topic --class star", "did you mean `stars`"),
        (2, "tell i --column strength --class 1", "no classes"),
        (2, "tell i --rows 0-9 --against 5", "both selections"),
        (2, "tell i --rows 5-300 --against rest", "no rows 5-300"),
        (2, "families i", "mereo label i"),
        (2, "families i --all -o f.txt", ".dot"),
        (1, "index parts.mereo rows.csv --no-header --texts none.csv -o k", "none.csv"),
        (1, "index parts.mereo rows.csv --no-header --texts texts.csv --text-columns words -o k", "words"),
        (2, "index parts.mereo rows.csv --no-header -o rows.csv", "is no index"),
        (2, "embed texts.csv --text-columns text --encoder none -o texts.csv", "another part"),
        (2, "embed texts.csv --text-columns text --encoder ./none -o out.npy", "none"),
        (2, "label i --endpoint ftp://x --model m", "http"),
    ] {
        let said = place.fails(code, line);
        assert!(said.contains(what), "{line}: {said}");
    }
    // Fewer texts than rows, and a model whose codes have both signs.
    std::fs::write(place.path("few.txt"), "one\ntwo\n").expect("write");
    assert!(place.fails(1, "index parts.mereo rows.csv --no-header --texts few.txt -o k").contains("2 texts for 240 rows"));
    place.ok("fit pca rows.csv --no-header --k 2 -o pca.mereo");
    assert!(place.fails(1, "index pca.mereo rows.csv --no-header -o k").contains("sparse or at least 0"));
    assert!(!place.path("k").exists());
}

#[test]
fn texts_are_embedded_and_an_interrupted_run_goes_on() {
    let place = Place::new();
    let encoder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../mereo-text/tests/golden/table");
    let encoder = encoder.to_str().expect("path");
    std::fs::write(place.path("t.txt"), "the star of the north\na star\nthe\n").expect("write");
    place.ok(&format!("embed t.txt --encoder {encoder} -o out.npy"));
    let (shape, all) = read_npy(&place.path("out.npy"));
    assert_eq!(shape[0], 3);
    // Rows of an earlier run are taken as they are: the first one is marked here.
    let width = shape[1];
    let part = place.path("again.npy.part");
    std::fs::create_dir(&part).expect("folder");
    place.ok(&format!("embed t.txt --encoder {encoder} -o again.npy"));
    assert!(!part.exists(), "nothing of another text is taken, and what is done is cleared");
    assert_eq!(read_npy(&place.path("again.npy")).1, all);
    assert!(width > 0);
}

/// A server that answers each request by `reply`: a status and a body.
fn server(reply: impl Fn(usize, &str, &Value) -> (u16, String) + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (kept, count, reply) = (seen.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(reply));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (kept, count, reply) = (kept.clone(), count.clone(), reply.clone());
            std::thread::spawn(move || one(stream, &kept, &count, &*reply));
        }
    });
    (url, seen)
}

fn one(stream: TcpStream, seen: &Mutex<Vec<String>>, count: &AtomicUsize, reply: &dyn Fn(usize, &str, &Value) -> (u16, String)) {
    let mut from = BufReader::new(stream.try_clone().expect("clone"));
    let mut to = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        if from.read_exact(&mut body).is_err() {
            return;
        }
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        seen.lock().expect("lock").push(body.to_string());
        let (status, text) = reply(count.fetch_add(1, Ordering::SeqCst), &head, &body);
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        if to.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_language_model_labels_and_what_it_said_is_not_asked_again() {
    let place = indexed();
    let (url, seen) = server(|n, _, body| {
        // It fails now and then, and says nonsense once.
        if n == 1 {
            return (500, "{}".into());
        }
        if n == 2 {
            return (200, "{ half of".into());
        }
        let asked = body["messages"].to_string();
        let topic = |text: &str| {
            TOPICS.iter().map(|t| t.1.split(' ').map(|w| text.matches(w).count()).sum::<usize>()).collect::<Vec<_>>()
        };
        let text = if asked.contains("PREDICTION:") {
            // It foretells right: a topic that is in both the label and the text.
            let user = body["messages"][1]["content"].as_str().expect("content").to_string();
            let hits = topic(&user).into_iter().filter(|c| *c > 0).count();
            format!("So. PREDICTION: {}", if hits == 1 { 0.9 } else { -0.9 })
        } else {
            let user = body["messages"][1]["content"].as_str().expect("content").to_string();
            let active = user.split("SILENT").next().unwrap_or_default().to_string();
            let most = topic(&active).into_iter().enumerate().max_by_key(|(_, c)| *c).map_or(0, |(t, _)| t);
            format!("Step 1 … FINAL: {}", TOPICS[most].1)
        };
        let answer = json!({ "choices": [{ "message": { "content": text }, "finish_reason": "stop" }], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } });
        (200, answer.to_string())
    });
    let line = format!("label i --endpoint {url} --model judge --prices 1,10 --budget 5 --concurrency 2");
    let said = place.json(&line);
    assert_eq!(said["labelled"].as_u64(), Some(4), "{said}");
    for label in said["labels"].as_array().expect("labels") {
        assert_eq!((label["by"].as_str(), label["scored_by"].as_str()), (Some("judge"), Some("judge")));
        assert!(label["f1"].as_f64() > Some(0.99), "{label}");
    }
    let asked = seen.lock().expect("lock").len();
    let mut different = seen.lock().expect("lock").clone();
    different.sort();
    different.dedup();
    // 4 labels and up to 6 predictions each, of which two were asked again.
    assert!(
        different.len() >= 4 + 4 * 4 && different.len() <= 4 + 4 * 6 && asked == different.len() + 2,
        "{asked} {}",
        different.len()
    );
    assert_eq!(place.json(&line)["labels"], said["labels"]);
    assert_eq!(seen.lock().expect("lock").len(), asked, "nothing is asked twice");
    // What can't be paid is not asked.
    let said = place.fails(1, &format!("label i --endpoint {url} --model dear --prices 1000,10000 --budget 0.01"));
    assert!(said.contains("budget"), "{said}");
    assert_eq!(seen.lock().expect("lock").len(), asked);
    // A key that is refused ends it at once; the labels stay.
    let (closed, refused) = server(|_, _, _| (401, "{\"error\":{\"message\":\"no\"}}".into()));
    let said = place.fails(1, &format!("label i --endpoint {closed} --model judge2 --concurrency 1"));
    assert!(said.contains("401"), "{said}");
    assert_eq!(refused.lock().expect("lock").len(), 1);
    assert!(place.ok("latent i --find violin").contains("violin"));
}

#[test]
fn a_server_embeds_and_no_row_is_lost_or_made_up() {
    let place = Place::new();
    let texts: Vec<String> = (0..25).map(|i| format!("text {i}")).collect();
    std::fs::write(place.path("t.txt"), texts.join("\n")).expect("write");
    let good = Arc::new(AtomicUsize::new(0));
    let open = good.clone();
    let (url, _) = server(move |_, _, body| {
        let inputs = body["input"].as_array().cloned().unwrap_or_default();
        // One text is refused until the server is mended.
        if open.load(Ordering::SeqCst) == 0 && inputs.iter().any(|t| t == "text 13") {
            return (400, "{\"error\":{\"message\":\"bad input\"}}".into());
        }
        let number =
            |t: &Value| t.as_str().and_then(|t| t.strip_prefix("text ")).and_then(|n| n.parse::<f64>().ok()).unwrap_or(-1.0);
        let data: Vec<Value> =
            inputs.iter().enumerate().rev().map(|(i, t)| json!({ "index": i, "embedding": [number(t), 1.0, 0.5] })).collect();
        (200, json!({ "data": data, "usage": { "prompt_tokens": 3 * inputs.len() } }).to_string())
    });
    let line = format!("embed t.txt --endpoint {url} --model e --batch 10 -o out.npy");
    let said = place.fails(1, &line);
    assert!(said.contains("1 of 25 texts") && said.contains("the first is 13"), "{said}");
    assert!(!place.path("out.npy").exists(), "no row of zeros stands in");
    good.store(1, Ordering::SeqCst);
    place.ok(&line);
    let (shape, rows) = read_npy(&place.path("out.npy"));
    assert_eq!(shape, [25, 3]);
    assert!((0..25).all(|i| rows[3 * i..3 * i + 3] == [i as f32, 1.0, 0.5]), "in the order of the texts");
    assert!(!place.path("out.npy.part").exists());
}
