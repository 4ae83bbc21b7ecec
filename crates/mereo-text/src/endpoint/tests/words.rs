//! What needs no server: addresses, keys, pauses, files.

use super::super::pause::{backoff, date, retry_after};
use super::*;
use ureq::http::{HeaderMap, HeaderValue, header};

fn at(url: &str) -> Endpoint {
    Endpoint { url: url.into(), model: "m".into(), ..Endpoint::default() }
}

#[test]
fn addresses_are_read_with_or_without_version() {
    for (url, base) in [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://localhost:11434/", "http://localhost:11434/v1"),
        ("http://localhost:11434/v1/", "http://localhost:11434/v1"),
        (" https://api.openai.com/v1 ", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/embeddings", "https://api.openai.com/v1"),
        ("http://box:8000/v1/chat/completions/", "http://box:8000/v1"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
    ] {
        assert_eq!(at(url).place().expect(url).base, base);
    }
    for (url, near, openai) in [
        ("http://localhost:1", true, false),
        ("http://127.0.0.1:1", true, false),
        ("http://[::1]:1", true, false),
        ("http://10.0.0.1:1", false, false),
        ("https://api.openai.com", false, true),
        ("https://eu.api.openai.com/v1", false, true),
        ("http://api.openai.com", false, false),
        ("https://api.openai.com.evil.example", false, false),
        ("https://evilapi.openai.com.example/api.openai.com", false, false),
    ] {
        let place = at(url).place().expect(url);
        assert_eq!((place.near, place.openai), (near, openai), "{url}");
    }
    for (url, says) in [
        ("", "no url"),
        ("localhost:11434", "http://"),
        ("ftp://host", "http://"),
        ("https://me:pass@host", "key_from"),
        ("https://host?key=1", "`?`"),
        ("https://host/#a", "`?` or `#`"),
        ("http://", "http"),
    ] {
        let why = at(url).check().expect_err(url).to_string();
        assert!(why.contains(says) && !why.contains("pass@"), "{url}: {why}");
    }
}

#[test]
fn a_key_goes_only_where_it_belongs() {
    let env = |name: &str| (name == OPENAI_KEY).then(|| format!(" {KEY}\n"));
    assert!(at("https://api.openai.com").client_with(&env).expect("a client").wire.secret.is_some());
    for other in ["http://api.openai.com", "https://openrouter.ai/api", "http://localhost:11434"] {
        assert!(at(other).client_with(&env).expect("a client").wire.secret.is_none(), "{other}");
    }
    let named = Endpoint { key_from: Some(OPENAI_KEY.into()), ..at("http://localhost:8000") };
    assert!(named.client_with(&env).expect("a client").wire.secret.is_some());
    let why = |endpoint: &Endpoint, value: Option<&str>| {
        endpoint.client_with(&|_| value.map(str::to_string)).map(|_| ()).expect_err("no key").to_string()
    };
    assert!(why(&at("https://api.openai.com"), None).contains("OPENAI_API_KEY is not set"));
    assert!(why(&named, Some(" \n")).contains("OPENAI_API_KEY is not set"));
    let odd = why(&named, Some("sk-one\nsk-two"));
    assert!(odd.contains("OPENAI_API_KEY") && !odd.contains("sk-"), "{odd}");
    // Somebody gives the key itself.
    let pasted = Endpoint { key_from: Some(KEY.into()), ..at("http://localhost:8000") };
    let why = pasted.check().expect_err("a key").to_string();
    assert!(why.contains("give its name") && !why.contains("secret"), "{why}");
}

#[test]
fn parameters_are_checked_and_saved() {
    let fine = at("http://localhost:1");
    assert!(fine.check().is_ok());
    let prices = Some(Prices { input: 1.0, output: 2.0 });
    let extra = |name: &str| Map::from_iter([(name.to_string(), json!(1))]);
    for (bad, says) in [
        (Endpoint { model: " ".into(), ..fine.clone() }, "no model"),
        (Endpoint { timeout: 0.0, ..fine.clone() }, "timeout = 0"),
        (Endpoint { timeout: f64::NAN, ..fine.clone() }, "timeout = NaN"),
        (Endpoint { backoff: -1.0, ..fine.clone() }, "backoff = -1"),
        (Endpoint { attempts: 0, ..fine.clone() }, "attempts = 0"),
        (Endpoint { concurrency: 0, ..fine.clone() }, "concurrency = 0"),
        (Endpoint { concurrency: 1000, ..fine.clone() }, "1 to 256"),
        (Endpoint { batch: 0, ..fine.clone() }, "batch = 0"),
        (Endpoint { per_minute: Some(0.0), ..fine.clone() }, "per_minute = 0"),
        (Endpoint { max_tokens: Some(0), ..fine.clone() }, "max_tokens = 0"),
        (Endpoint { dimensions: Some(0), ..fine.clone() }, "dimensions = 0"),
        (Endpoint { budget: Some(1.0), ..fine.clone() }, "needs prices"),
        (Endpoint { budget: Some(-1.0), prices, ..fine.clone() }, "budget = -1"),
        (Endpoint { extra: extra("model"), ..fine.clone() }, "`model`"),
        (Endpoint { extra: extra("stream"), ..fine.clone() }, "`stream`"),
    ] {
        let why = bad.check().expect_err(says).to_string();
        assert!(why.contains(says), "{why}");
        assert!(bad.client_with(&|_| None).is_err());
    }
    let all = Endpoint { budget: Some(1.5), prices, extra: extra("top_k"), per_minute: Some(60.0), ..fine };
    let text = serde_json::to_string(&all).expect("json");
    assert_eq!(serde_json::from_str::<Endpoint>(&text).expect("the same"), all);
    assert_eq!(serde_json::from_str::<Endpoint>("{}").expect("defaults"), Endpoint::default());
    assert!(serde_json::from_str::<Endpoint>(r#"{"api_key": "x"}"#).is_err());
}

#[test]
fn pauses_double_with_a_jitter_of_their_own() {
    for attempt in 1..=12 {
        let middle = (0.5 * (1u64 << (attempt - 1)) as f64).min(20.0);
        let waits: Vec<f64> = (0..50).map(|row| backoff(0.5, 20.0, 7, row, attempt).as_secs_f64()).collect();
        assert!(waits.iter().all(|w| (0.5 * middle..=1.5 * middle).contains(w)), "{attempt}: {waits:?}");
        let mean = waits.iter().sum::<f64>() / 50.0;
        // A uniform share has a deviation of 0.29, of the mean of 50 of them 0.041.
        assert!((mean / middle - 1.0).abs() < 0.17, "{attempt}: {}", mean / middle);
    }
    assert_eq!(backoff(0.5, 20.0, 7, 3, 2), backoff(0.5, 20.0, 7, 3, 2));
    assert_ne!(backoff(0.5, 20.0, 7, 3, 2), backoff(0.5, 20.0, 8, 3, 2));
    assert_ne!(backoff(0.5, 20.0, 7, 3, 2), backoff(0.5, 20.0, 7, 4, 2));
}

#[test]
fn dates_and_seconds_are_read() {
    // By `date -d … +%s`.
    assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    assert_eq!(date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
    assert_eq!(date("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
    assert_eq!(date("Mon, 01 Mar 2100 00:00:00 GMT"), Some(4_107_542_400));
    for bad in
        ["soon", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 6 Nov", "Sun, 06 Nov 1994 25:49:37 GMT"]
    {
        assert_eq!(date(bad), None, "{bad}");
    }
    let after = |text: &'static str| {
        retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))])).map(|d| d.as_secs())
    };
    assert_eq!((after("7"), after(" 0 "), after("-1"), after("soon")), (Some(7), Some(0), None, None));
    assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0), "long ago");
    assert_eq!((after("nan"), after("1e30")), (None, Some(u64::MAX)));
}

#[test]
fn a_store_repairs_its_end_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.jsonl");
    let key = |n: u64| Key::of(&json!(n));
    let mut store = Store::<u64>::open(&path).expect("a store");
    store.put_all([(key(1), 10), (key(2), 20)]).expect("written");
    store.put(key(3), 30).expect("written");
    assert!(Store::<u64>::open(&path).is_err(), "it is open");
    drop(store);
    let whole = std::fs::read(&path).expect("bytes");
    let starts: Vec<usize> = std::iter::once(0).chain((0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1)).collect();
    assert_eq!((starts.len(), starts[3]), (4, whole.len()));
    // Cut anywhere: whole lines stay, and the file goes on as if nothing had been.
    for end in 0..=whole.len() {
        std::fs::write(&path, &whole[..end]).expect("shorter");
        // A line that lacks only its end is a whole one.
        let stay = (1..4).filter(|&i| starts[i] <= end + 1).count();
        let mut store = Store::<u64>::open(&path).expect("a store");
        assert_eq!(store.len(), stay, "cut at {end}");
        store.put(key(9), 90).expect("written");
        drop(store);
        let store = Store::<u64>::open(&path).expect("a store");
        assert_eq!(
            (store.len(), store.get(&key(9)), store.get(&key(1)).is_some()),
            (stay + 1, Some(&90), stay > 0),
            "cut at {end}"
        );
    }
    // Zeros where bytes never got to the disk.
    std::fs::write(&path, [&whole[..], &[0; 30]].concat()).expect("longer");
    assert_eq!(Store::<u64>::open(&path).expect("a store").len(), 3);
    // What somebody else wrote is left alone.
    for foreign in [
        "some notes\n",
        "some notes",
        "{\"id\": 1}\n",
        "[1]",
        &format!("{}oops\n{}", "{\"key\":\"", String::from_utf8_lossy(&whole)),
    ] {
        std::fs::write(&path, foreign).expect("written");
        let why = Store::<u64>::open(&path).expect_err("foreign").to_string();
        assert!(why.contains("line 1"), "{why}");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), foreign);
    }
    std::fs::write(&path, &whole).expect("written");
    assert!(Store::<Answer>::open(&path).expect_err("numbers").to_string().contains("line 1"), "of another kind");
    assert_eq!(std::fs::read(&path).expect("bytes"), whole);
}
