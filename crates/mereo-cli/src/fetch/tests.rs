//! Every way in which a download goes, against a server on the loopback; archives are made here in their publishers' layout.

use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

// ---------------------------------------------------------------- a server

#[derive(Debug, Clone, Default)]
struct Asked {
    path: String,
    range: Option<String>,
    if_range: Option<String>,
    all: String,
}

#[derive(Clone)]
struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Sends this many bytes of the body, whatever the headers promise.
    send: usize,
    /// Then keeps the connection open in silence.
    silence: Duration,
}

impl Reply {
    fn new(status: &'static str, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: body.to_vec(), send: usize::MAX, silence: Duration::ZERO }
    }
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    fn cut(mut self, send: usize) -> Self {
        self.send = send;
        self
    }
    fn silent(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers request number 0, 1, … of its life.
    fn new(answer: impl Fn(usize, &Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let all = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some(request) = head(&stream) else { continue };
                let number = all.lock().expect("lock").len();
                all.lock().expect("lock").push(request.clone());
                let reply = answer(number, &request);
                // A stalled reply must not hold up the next request.
                std::thread::spawn(move || send(stream, &reply));
            }
        });
        Self { url, asked }
    }

    /// Serves `body` as a good server does: ranges, and the condition that the tag is the same.
    fn good(body: Vec<u8>, tag: &'static str) -> Self {
        Self::new(move |_, asked| file(&body, tag, asked))
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }
}

fn file(body: &[u8], tag: &str, asked: &Asked) -> Reply {
    let same = asked.if_range.as_ref().is_none_or(|v| v == tag);
    let from = asked.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from.filter(|_| same) {
        Some(from) if from >= body.len() => {
            Reply::new("416 Range Not Satisfiable", b"").with("Content-Range", format!("bytes */{}", body.len()))
        }
        Some(from) => Reply::new("206 Partial Content", &body[from..])
            .with("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len()))
            .with("ETag", tag),
        None => Reply::new("200 OK", body).with("ETag", tag),
    }
}

fn head(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let mut asked = Asked { path: lines.next()?.ok()?.split(' ').nth(1)?.into(), ..Asked::default() };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = Some(value.into()),
            "if-range" => asked.if_range = Some(value.into()),
            _ => {}
        }
        asked.all += &(line + "\n");
    }
    Some(asked)
}

fn send(mut stream: TcpStream, reply: &Reply) {
    let mut lines = vec![format!("HTTP/1.1 {}", reply.status), "Connection: close".into()];
    if !reply.headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
        lines.push(format!("Content-Length: {}", reply.body.len()));
    }
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let head = lines.join("\r\n") + "\r\n\r\n";
    let body = &reply.body[..reply.send.min(reply.body.len())];
    // The client may have gone away on purpose.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
    std::thread::sleep(reply.silence);
}

// ---------------------------------------------------------------- what is fetched

fn net() -> Net {
    Net {
        mirror: None,
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(5),
        pauses: vec![Duration::from_millis(1); 2],
        proxy: false,
    }
}

fn quiet(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn cache() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn sum(bytes: &[u8]) -> String {
    cache::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
}

/// Bytes that look different everywhere.
fn noise(n: usize) -> Vec<u8> {
    let mut random = mereo::rng::rng(5, 0, 0);
    (0..n).map(|_| random.bits() as u8).collect()
}

fn tgz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_slice()).expect("tar");
    }
    tar.into_inner().expect("tar").finish().expect("gzip")
}

/// Five batches of two records; in the archive in the order in which the publisher has them.
fn tiny_cifar() -> Vec<u8> {
    let noise = noise(10 * 3072);
    let batch = |n: usize| {
        let records = (0..2).map(|r| 2 * (n - 1) + r);
        records.flat_map(|i| std::iter::once((9 - i) as u8).chain(noise[i * 3072..(i + 1) * 3072].iter().copied())).collect()
    };
    let path = |n: usize| format!("cifar-10-batches-bin/data_batch_{n}.bin");
    let mut files = vec![("cifar-10-batches-bin/batches.meta.txt", b"airplane\n".to_vec())];
    let names: Vec<String> = [1, 3, 4, 5, 2].map(path).to_vec();
    for (name, n) in names.iter().zip([1, 3, 4, 5, 2]) {
        files.push((name, batch(n)));
    }
    files.push(("cifar-10-batches-bin/test_batch.bin", noise[..3073].to_vec()));
    tgz(&files)
}

/// The set of a kind, at other addresses, with other rows and sums.
fn remote(name: &str, urls: &[String], rows: usize, sha256: Option<String>, pixels: Option<String>) -> Remote {
    let known = list().iter().find(|r| r.name == name).expect("name").clone();
    let leak = |text: String| -> &'static str { text.leak() };
    let urls: Vec<&'static str> = urls.iter().map(|url| leak(url.clone())).collect();
    Remote { rows, urls: urls.leak(), sha256: sha256.map(leak), pixels: pixels.map(leak), ..known }
}

fn cifar_at(url: &str, archive: &[u8]) -> Remote {
    remote("cifar10", &[url.to_string()], 10, Some(sum(archive)), None)
}

fn get(cache: &Path, net: &Net, remote: &Remote) -> Result<Fetched> {
    named(cache, net, remote, &Ask { what: remote.name, ..Ask::default() }, &mut quiet)
}

fn get_url(cache: &Path, net: &Net, url: &str) -> Result<Fetched> {
    address(cache, net, &Ask { what: url, ..Ask::default() }, &mut quiet)
}

fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("an error").line()
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Shape and numbers of a `.npy` file of f32.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).expect("npy");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(start.is_multiple_of(64) && bytes[start - 1] == b'\n');
    let header = String::from_utf8(bytes[10..start].to_vec()).expect("header");
    let values = bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    (header.split("'shape': ").nth(1).expect("shape").split(", }").next().expect("shape").into(), values)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).expect("folder").map(|f| f.expect("file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

// ---------------------------------------------------------------- downloads

#[test]
fn a_named_set_becomes_a_matrix_and_is_found_again() {
    let archive = tiny_cifar();
    let server = Server::good(archive.clone(), "\"1\"");
    let (cache, set) = (cache(), cifar_at(&server.at("cifar-10-binary.tar.gz"), &archive));
    let mut seen = Vec::new();
    let mut watch = |p: Progress| {
        seen.push(p);
        ControlFlow::Continue(())
    };
    let got = named(cache.path(), &net(), &set, &Ask::default(), &mut watch).expect("fetch");
    assert!(got.fresh);
    assert_eq!((got.shape, got.image), (Some((10, 1024)), Some((32, 32))));
    assert_eq!(got.sha256, sum(&archive));

    let (shape, values) = npy(&got.path);
    assert_eq!((shape.as_str(), values.len()), ("(10, 1024)", 10 * 1024));
    let noise = noise(10 * 3072);
    for (row, pixel) in [(0, 0), (3, 77), (9, 1023)] {
        let at = row * 3072 + pixel;
        let luma =
            (0.299 * f64::from(noise[at]) + 0.587 * f64::from(noise[at + 1024]) + 0.114 * f64::from(noise[at + 2048])) / 255.0;
        assert!((f64::from(values[row * 1024 + pixel]) - luma).abs() < 1e-6, "row {row}, pixel {pixel}");
    }
    let labels = fs::read_to_string(got.labels.as_ref().expect("labels")).expect("labels");
    assert_eq!(labels, "truck\nship\nhorse\nfrog\ndog\ndeer\ncat\nbird\nautomobile\nairplane\n");
    assert_eq!(files(&cache.path().join("cifar10")), ["about.json", "cifar10.npy", "labels.txt", "lock"]);

    let download: Vec<&Progress> = seen.iter().filter(|p| p.step == Step::Download).collect();
    assert_eq!(download.last().map(|p| (p.done, p.total)), Some((archive.len() as u64, Some(archive.len() as u64))));
    assert!(seen.iter().any(|p| p.step == Step::Check) && download.windows(2).all(|w| w[0].done <= w[1].done));

    let again = get(cache.path(), &net(), &set).expect("cached");
    assert!(!again.fresh && server.asked().len() == 1);
    assert_eq!(Fetched { fresh: true, ..again }, got);
    // A matrix that lost bytes is not taken for whole.
    let bytes = fs::read(&got.path).expect("npy");
    fs::write(&got.path, &bytes[..bytes.len() - 1]).expect("npy");
    assert!(get(cache.path(), &net(), &set).expect("fetch").fresh);
}

#[test]
fn a_cut_connection_is_continued_from_where_it_was() {
    let body = noise(300_000);
    let whole = body.clone();
    let server = Server::new(move |number, asked| {
        let reply = file(&body, "\"v1\"", asked);
        match number {
            0 => reply.cut(100_000),
            1 => reply.cut(50_000),
            _ => reply,
        }
    });
    let cache = cache();
    // One pause, two cuts: an attempt that got further has all its pauses again.
    let net = Net { pauses: vec![Duration::ZERO], ..net() };
    let got = get_url(cache.path(), &net, &server.at("a/x.npy?token=1")).expect("fetch");
    assert_eq!(fs::read(&got.path).expect("file"), whole);
    assert_eq!(got.path.file_name().expect("name"), "x.npy");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[1].range.as_deref(), Some("bytes=100000-"));
    assert_eq!(asked[2].range.as_deref(), Some("bytes=150000-"));
    assert_eq!(asked[2].if_range.as_deref(), Some("\"v1\""));
    holds(&asked[0].all.to_ascii_lowercase(), &["user-agent: mereo/", "accept-encoding: identity"]);
}

#[test]
fn giving_up_keeps_what_came_for_the_next_run() {
    let body = noise(90_000);
    let whole = body.clone();
    let server = Server::new(move |number, asked| {
        let reply = file(&body, "\"v1\"", asked);
        // Ten bytes more in the first attempt, then none: three attempts, as often as there are pauses and one.
        if number < 3 { reply.cut(if number == 0 { 40_000 } else { 0 }) } else { reply }
    });
    let cache = cache();
    let url = server.at("x.csv");
    let why = said(get_url(cache.path(), &Net { pauses: vec![Duration::ZERO; 2], ..net() }, &url));
    holds(&why, &["again and again", "40000 bytes are kept", "the same command goes on"]);
    assert_eq!(server.asked().len(), 3);
    let got = get_url(cache.path(), &net(), &url).expect("second run");
    assert_eq!(server.asked()[3].range.as_deref(), Some("bytes=40000-"));
    assert_eq!(fs::read(&got.path).expect("file"), whole);
    assert_eq!(files(got.path.parent().expect("slot")), ["about.json", "lock", "x.csv"]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let body = noise(50_000);
    let whole = body.clone();
    let server = Server::new(move |number, _| {
        let reply = Reply::new("200 OK", &body).with("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
        if number == 0 { reply.cut(20_000) } else { reply }
    });
    let cache = cache();
    let got = get_url(cache.path(), &net(), &server.at("x.npy")).expect("fetch");
    assert_eq!(fs::read(&got.path).expect("file"), whole);
    assert_eq!(server.asked()[1].if_range.as_deref(), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
}

#[test]
fn a_file_that_changed_meanwhile_is_never_mixed_with_the_old() {
    for size in [70_000, 20_000] {
        let (old, new) = (noise(50_000), noise(size + 1).split_off(1));
        let fresh = new.clone();
        let server =
            Server::new(
                move |number, asked| {
                    if number == 0 { file(&old, "\"old\"", asked).cut(30_000) } else { file(&new, "\"new\"", asked) }
                },
            );
        let cache = cache();
        let got = get_url(cache.path(), &net(), &server.at("x.npy")).expect("fetch");
        assert_eq!(fs::read(&got.path).expect("file"), fresh);
        assert_eq!(server.asked()[1].if_range.as_deref(), Some("\"old\""));
    }
}

#[test]
fn without_a_version_or_a_sum_nothing_is_continued() {
    let body = noise(50_000);
    let whole = body.clone();
    // A weak tag is no promise of equal bytes.
    let server = Server::new(move |number, asked| {
        let reply = file(&body, "W/\"x\"", asked);
        if number == 0 { reply.cut(30_000) } else { reply }
    });
    let cache = cache();
    let got = get_url(cache.path(), &net(), &server.at("x.npy")).expect("fetch");
    assert_eq!(fs::read(&got.path).expect("file"), whole);
    assert_eq!((server.asked().len(), server.asked()[1].range.clone()), (2, None));
}

#[test]
fn a_part_that_is_whole_or_too_long_is_settled_by_416() {
    let archive = tiny_cifar();
    let server = Server::good(archive.clone(), "\"1\"");
    let set = cifar_at(&server.at("c.tgz"), &archive);
    let longer = [&archive[..], b"more"].concat();
    for (part, requests) in [(archive.as_slice(), 1), (longer.as_slice(), 2)] {
        let cache = cache();
        let slot = cache.path().join("cifar10");
        fs::create_dir_all(&slot).expect("slot");
        fs::write(slot.join("cifar-10-binary.tar.gz.part"), part).expect("part");
        let before = server.asked().len();
        get(cache.path(), &net(), &set).expect("fetch");
        assert_eq!(server.asked().len() - before, requests);
        assert_eq!(server.asked()[before].range, Some(format!("bytes={}-", part.len())));
    }
}

#[test]
fn a_wrong_range_is_not_written() {
    let archive = tiny_cifar();
    let whole = archive.clone();
    let server = Server::new(move |_, asked| match &asked.range {
        // From the start, whatever was asked for.
        Some(_) => Reply::new("206 Partial Content", &archive)
            .with("Content-Range", format!("bytes 0-{}/{}", archive.len() - 1, archive.len())),
        None => Reply::new("200 OK", &archive),
    });
    let cache = cache();
    let slot = cache.path().join("cifar10");
    fs::create_dir_all(&slot).expect("slot");
    fs::write(slot.join("cifar-10-binary.tar.gz.part"), &whole[..100]).expect("part");
    get(cache.path(), &net(), &cifar_at(&server.at("c.tgz"), &whole)).expect("fetch");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_wrong_sum_is_told_and_the_file_removed() {
    let archive = tiny_cifar();
    let server = Server::good(noise(1000), "\"1\"");
    let cache = cache();
    let set = cifar_at(&server.at("c.tgz"), &archive);
    let why = said(get(cache.path(), &net(), &set));
    holds(&why, &[&sum(&archive), &sum(&noise(1000)), "it was removed", "--from"]);
    assert_eq!(files(&cache.path().join("cifar10")), ["lock"]);

    let ask = Ask { what: &server.at("x.npy"), sha256: Some(&"A".repeat(64)), ..Ask::default() };
    let why = said(address(cache.path(), &net(), &ask, &mut quiet));
    holds(&why, &[&"a".repeat(64), &sum(&noise(1000)), "it was removed"]);
}

#[test]
fn a_spoilt_part_is_fetched_anew_by_itself() {
    let archive = tiny_cifar();
    let server = Server::good(archive.clone(), "\"1\"");
    let cache = cache();
    let slot = cache.path().join("cifar10");
    fs::create_dir_all(&slot).expect("slot");
    fs::write(slot.join("cifar-10-binary.tar.gz.part"), noise(500)).expect("part");
    get(cache.path(), &net(), &cifar_at(&server.at("c.tgz"), &archive)).expect("fetch");
    let ranges: Vec<_> = server.asked().iter().map(|a| a.range.clone()).collect();
    assert_eq!(ranges, [Some("bytes=500-".into()), None]);
}

#[test]
fn refusals_are_named() {
    for (status, parts) in [
        ("404 Not Found", ["404 Not Found", "moved or never was there"]),
        ("403 Forbidden", ["403 Forbidden", "in a browser"]),
        ("451 Unavailable For Legal Reasons", ["451", "--from"]),
    ] {
        let server = Server::new(move |_, _| Reply::new(status, b"no"));
        let cache = cache();
        let why = said(get_url(cache.path(), &net(), &server.at("x.npy")));
        holds(&why, &parts);
        assert_eq!(server.asked().len(), 1, "{status} is not worth a second attempt");
    }
    let server = Server::new(|_, _| Reply::new("503 Service Unavailable", b""));
    let why = said(get_url(cache().path(), &net(), &server.at("x.npy")));
    holds(&why, &["503 Service Unavailable", "again and again"]);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn a_server_in_passing_trouble_is_asked_again() {
    let server = Server::new(|number, asked| match number {
        0 => Reply::new("503 Service Unavailable", b""),
        1 => Reply::new("429 Too Many Requests", b""),
        _ => file(b"1,2\n", "\"1\"", asked),
    });
    let cache = cache();
    let got = get_url(cache.path(), &net(), &server.at("x.csv")).expect("fetch");
    assert_eq!(fs::read(got.path).expect("file"), b"1,2\n");
}

#[test]
fn redirects_are_followed_with_the_range_and_circles_are_not() {
    let body = noise(20_000);
    let whole = body.clone();
    let server = Server::new(move |number, asked| match asked.path.as_str() {
        "/files/1" => Reply::new("302 Found", b"").with("Location", "/store/x.npy"),
        "/store/x.npy" => {
            let reply = file(&body, "\"1\"", asked).with("Content-Disposition", "attachment; filename=\"real name.npy\"");
            if number < 2 { reply.cut(5000) } else { reply }
        }
        _ => Reply::new("301 Moved Permanently", b"").with("Location", "/circle"),
    });
    let cache = cache();
    let got = get_url(cache.path(), &net(), &server.at("files/1")).expect("fetch");
    assert_eq!(fs::read(&got.path).expect("file"), whole);
    assert_eq!(got.path.file_name().expect("name"), "real_name.npy");
    assert_eq!(server.asked()[3].range.as_deref(), Some("bytes=5000-"));
    holds(&said(get_url(cache.path(), &net(), &server.at("circle"))), &["in a circle"]);
}

#[test]
fn a_silent_server_is_left_and_asked_again() {
    let body = noise(40_000);
    let whole = body.clone();
    let server = Server::new(move |number, asked| match number {
        0 => file(&body, "\"1\"", asked).cut(10_000).silent(Duration::from_secs(20)),
        // Not even a head.
        1 => Reply { status: "", ..file(&body, "\"1\"", asked).cut(0).silent(Duration::from_secs(20)) },
        _ => file(&body, "\"1\"", asked),
    });
    let cache = cache();
    let net = Net { silence: Duration::from_millis(300), ..net() };
    let begin = std::time::Instant::now();
    let got = get_url(cache.path(), &net, &server.at("x.npy")).expect("fetch");
    assert_eq!(fs::read(got.path).expect("file"), whole);
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(server.asked()[1].range.as_deref(), Some("bytes=10000-"));

    let server = Server::new(|_, asked| file(b"abcdef", "\"1\"", asked).cut(0).silent(Duration::from_secs(20)));
    holds(&said(get_url(cache.path(), &net, &server.at("x.npy"))), &["fell silent", "again and again"]);
}

#[test]
fn being_offline_is_said_clearly() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let cache = cache();
    for url in [format!("http://127.0.0.1:{port}/c.tgz"), "http://no-such-host.invalid/c.tgz".into()] {
        let set = cifar_at(&url, b"");
        let why = said(get(cache.path(), &net(), &set));
        let host = url.split('/').nth(2).expect("host");
        holds(
            &why,
            &[&format!("can't reach {host}"), "offline", "download cifar-10-binary.tar.gz elsewhere", &url, "--from FOLDER"],
        );
    }
}

#[test]
fn a_network_that_goes_away_leaves_what_came() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x.npy", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let asked = head(&stream).expect("a request");
        drop(listener);
        send(stream, &file(&noise(9000), "\"1\"", &asked).cut(4000));
    });
    let why = said(get_url(cache().path(), &net(), &url));
    server.join().expect("server");
    holds(&why, &["4000 bytes are kept", "the same command goes on"]);
}

#[test]
fn the_next_address_and_the_mirror_are_asked() {
    let archive = tiny_cifar();
    let server = Server::good(archive.clone(), "\"1\"");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let dead = format!("http://127.0.0.1:{port}/c.tgz");
    let set = remote("cifar10", &[dead.clone(), server.at("second.tgz")], 10, Some(sum(&archive)), None);
    let got = get(cache().path(), &net(), &set).expect("second address");
    assert_eq!(got.from, server.at("second.tgz"));

    let net = Net { mirror: Some(server.url.clone() + "/our/"), ..net() };
    get(cache().path(), &net, &cifar_at(&dead, &archive)).expect("mirror");
    assert_eq!(server.asked()[1].path, "/our/cifar-10-binary.tar.gz");
}

#[test]
fn a_web_page_is_not_taken_for_data() {
    let server = Server::new(|_, asked| {
        let reply = file(b"<!DOCTYPE html><p>Log in", "\"1\"", asked);
        if asked.path == "/typed" { reply.with("Content-Type", "text/html; charset=utf-8") } else { reply }
    });
    let cache = cache();
    holds(&said(get_url(cache.path(), &net(), &server.at("typed"))), &["a web page", "login"]);
    let why = said(get(cache.path(), &net(), &cifar_at(&server.at("untyped"), b"")));
    holds(&why, &["looks like a web page"]);
}

#[test]
fn bytes_are_kept_as_published() {
    // Some servers call every .gz file an encoding of something else.
    let archive = tiny_cifar();
    let body = archive.clone();
    let server = Server::new(move |_, asked| file(&body, "\"1\"", asked).with("Content-Encoding", "gzip"));
    get(cache().path(), &net(), &cifar_at(&server.at("c.tgz"), &archive)).expect("fetch");

    let server =
        Server::new(|_, _| Reply::new("200 OK", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n").with("Transfer-Encoding", "chunked"));
    let got = get_url(cache().path(), &net(), &server.at("x.csv")).expect("chunks");
    assert_eq!(got.bytes, 7);
}

#[test]
fn a_stop_keeps_the_part() {
    let archive = noise(400_000);
    let server = Server::good(archive.clone(), "\"1\"");
    let cache = cache();
    let url = server.at("x.npy");
    let mut watch = |p: Progress| if p.done > 100_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let failure = address(cache.path(), &net(), &Ask { what: &url, ..Ask::default() }, &mut watch).expect_err("stopped");
    assert!(matches!(failure, Failure::Interrupted(_)), "{failure}");
    let got = get_url(cache.path(), &net(), &url).expect("second run");
    assert_eq!(fs::read(got.path).expect("file"), archive);
    let from: usize =
        server.asked()[1].range.clone().expect("range")["bytes=".len()..].trim_end_matches('-').parse().expect("number");
    assert!((100_000..300_000).contains(&from), "{from}");
}

// ---------------------------------------------------------------- files at hand and the cache

#[test]
fn a_file_at_hand_is_used_and_left_alone() {
    let archive = tiny_cifar();
    let (cache, hand) = (cache(), cache());
    let set = cifar_at("http://127.0.0.1:1/c.tgz", &archive);
    let from = |from: &Path| named(cache.path(), &net(), &set, &Ask { from: Some(from), ..Ask::default() }, &mut quiet);

    holds(&said(from(&hand.path().join("none"))), &["no such folder", "http://127.0.0.1:1/c.tgz"]);
    holds(&said(from(hand.path())), &["cifar-10-binary.tar.gz is not in it (it is empty)"]);
    let path = hand.path().join("cifar-10-binary.tar.gz");
    fs::write(&path, b"something else").expect("file");
    holds(&said(from(hand.path())), &["is not the right file", &sum(&archive), &sum(b"something else"), "left as it is"]);
    assert!(path.exists());
    fs::write(&path, &archive).expect("file");
    let got = from(hand.path()).expect("folder");
    assert_eq!(npy(&got.path).0, "(10, 1024)");
    fs::rename(&path, hand.path().join("other name.gz")).expect("rename");
    from(&hand.path().join("other name.gz")).expect("the file itself");
    assert_eq!(files(hand.path()), ["other name.gz"]);

    let ask = Ask { what: "https://example.org/d/table.csv", from: Some(hand.path()), ..Ask::default() };
    fs::write(hand.path().join("table.csv"), b"1,2\n").expect("file");
    let got = address(cache.path(), &net(), &ask, &mut quiet).expect("address");
    assert_eq!(fs::read(got.path).expect("file"), b"1,2\n");
    assert!(hand.path().join("table.csv").exists());
}

#[test]
fn a_cache_that_cant_be_written_is_named() {
    let folder = cache();
    let blocked = folder.path().join("file");
    fs::write(&blocked, b"").expect("file");
    let why = said(get_url(&blocked.join("cache"), &net(), "http://127.0.0.1:1/x"));
    holds(&why, &["file", "can't be written", "MEREO_CACHE"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let server = Server::good(noise(1000), "\"1\"");
    let cache = cache();
    let url = server.at("x.npy");
    let slot = cache.path().join(cache::key(&url));
    fs::create_dir_all(&slot).expect("slot");
    std::os::unix::fs::symlink("/dev/full", slot.join("x.npy.part")).expect("link");
    holds(&said(get_url(cache.path(), &net(), &url)), &["the disk is full", "MEREO_CACHE"]);
}

#[test]
fn two_at_once_are_kept_apart() {
    let cache = cache();
    let _held = cache::lock(&cache.path().join("cifar10")).expect("lock");
    let why = said(get(cache.path(), &net(), &cifar_at("http://127.0.0.1:1/x", b"")));
    holds(&why, &["another mereo"]);
}

#[test]
fn names_and_addresses_are_checked_before_anything_else() {
    let ask = |what| Ask { what, ..Ask::default() };
    holds(&said(run(&ask("olivetty"), &mut quiet)), &["olivetti, lfw, cbcl, cifar10", "did you mean `olivetti`?"]);
    holds(&said(run(&ask("faces"), &mut quiet)), &["embedded"]);
    holds(&said(run(&ask("ftp://host/x"), &mut quiet)), &["https://"]);
    holds(&said(run(&Ask { sha256: Some("12"), ..ask("https://host/x") }, &mut quiet)), &["64 hexadecimal digits"]);
    holds(&said(run(&Ask { sha256: Some("12"), ..ask("lfw") }, &mut quiet)), &["built in"]);
    for (url, name) in [
        ("https://h/a/b.npy?x=/y#z", "b.npy"),
        ("https://h/a/..", "data-"),
        ("https://h", "data-"),
        ("https://h/a/.bashrc", "bashrc"),
        ("https://h/a/x%2F..%2Fé.csv", "x_2F.._2F_.csv"),
        ("https://h/about.json", "data-about.json"),
        ("https://h/x.part", "data-x.part"),
    ] {
        assert_eq!(cache::file_name(url), name, "{url}");
    }
}

#[test]
fn every_set_can_be_checked() {
    for set in list() {
        assert!(set.sha256.is_some() || set.pixels.is_some(), "{}", set.name);
        for sum in [set.sha256, set.pixels].into_iter().flatten() {
            assert!(sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{}", set.name);
        }
        // What is not encrypted on its way must be checked by its content; all is.
        assert!(!set.urls.is_empty() && !set.licence.is_empty() && !set.credit.is_empty());
    }
}

// ---------------------------------------------------------------- the publishers' layouts

/// A smooth picture that `NumPy` makes too: r = (x² + 3y²)/1000, g = xy/250, b = |(5x + 3y) mod 400 − 200|.
fn smooth() -> image::RgbImage {
    image::RgbImage::from_fn(250, 250, |x, y| {
        image::Rgb([((x * x + 3 * y * y) / 1000) as u8, (x * y / 250) as u8, ((5 * x + 3 * y) % 400).abs_diff(200) as u8])
    })
}

#[test]
fn faces_in_the_wild_are_cut_and_halved_as_scikit_learn_does() {
    // Sums of the three colours at every tenth row and ninth column, by scikit-learn 1.9.1 with Pillow 13.
    let golden: [u32; 42] = [
        47, 145, 244, 195, 115, 145, 124, 223, 235, 155, 126, 228, 202, 275, 197, 118, 211, 314, 283, 235, 159, 194, 299, 332,
        275, 200, 176, 282, 376, 301, 239, 167, 265, 372, 346, 274, 207, 250, 358, 391, 320, 285,
    ];
    let face = convert::lfw_face(&smooth());
    assert_eq!(face.dimensions(), (47, 62));
    let sum = |x, y| face.get_pixel(x, y).0.iter().map(|&v| u32::from(v)).sum::<u32>();
    let places = (0..62).step_by(10).flat_map(|y| (0..47).step_by(9).map(move |x| (x, y)));
    assert_eq!(places.map(|(x, y)| sum(x, y)).collect::<Vec<_>>(), golden);
    assert_eq!((0..62).flat_map(|y| (0..47).map(move |x| (x, y))).map(|(x, y)| sum(x, y)).sum::<u32>(), 694_727);
}

fn jpeg(picture: &image::RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 98).encode_image(picture).expect("jpeg");
    bytes
}

#[test]
fn faces_in_the_wild_come_in_order_with_their_names() {
    let dark = jpeg(&image::RgbImage::from_pixel(250, 250, image::Rgb([30, 30, 30])));
    let archive = tgz(&[
        ("lfw_funneled/Zoe_Ball/Zoe_Ball_0001.jpg", dark.clone()),
        ("lfw_funneled/pairs_01.txt", b"text".to_vec()),
        ("lfw_funneled/Ann_B/Ann_B_0002.jpg", dark.clone()),
        ("lfw_funneled/Ann_B/Ann_B_0001.jpg", jpeg(&smooth())),
    ]);
    let server = Server::good(archive.clone(), "\"1\"");
    let cache = cache();
    let set = remote("lfw", &[server.at("lfw.tgz")], 3, Some(sum(&archive)), None);
    let got = get(cache.path(), &net(), &set).expect("fetch");
    let (shape, values) = npy(&got.path);
    assert_eq!(shape, "(3, 2914)");
    assert_eq!(fs::read_to_string(got.labels.expect("labels")).expect("labels"), "Ann B\nAnn B\nZoe Ball\n");
    // Golden as above, through a JPEG of high quality.
    assert!((values[20 * 47 + 18] * 765.0 - 197.0).abs() < 12.0, "{}", values[20 * 47 + 18] * 765.0);
    assert!(values[2914..].iter().all(|&v| (v - 30.0 / 255.0).abs() < 0.005));

    let set = remote("lfw", &[server.at("lfw.tgz")], 4, Some(sum(&archive)), None);
    holds(&said(get(cache.path(), &net(), &Remote { name: "lfw4", ..set })), &["3 pictures, not 4", "report"]);
    assert_eq!(files(&cache.path().join("lfw4")), ["lfw-funneled.tgz", "lock"]);
}

fn pgm(seed: u8) -> Vec<u8> {
    [b"P5\n19 19\n255\n".to_vec(), (0..361).map(|i| (i as u8).wrapping_mul(seed)).collect()].concat()
}

#[test]
fn cbcl_is_known_by_its_pixels_in_any_packing() {
    let inner = tgz(&[
        ("train/face/face00002.pgm", pgm(2)),
        ("train/face/face00001.pgm", pgm(1)),
        ("train/non-face/B1_00001.pgm", pgm(9)),
        ("train/non-face/face00003.pgm", pgm(9)),
        ("test/face/face00004.pgm", pgm(9)),
    ]);
    let test = tgz(&[("test/face/cmu_0000.pgm", pgm(8))]);
    let outer = tgz(&[("./README", b"".to_vec()), ("./face.test.tar.gz", test), ("./face.train.tar.gz", inner.clone())]);
    let pixels: Vec<u8> = [1, 2].iter().flat_map(|&s| pgm(s)[13..].to_vec()).collect();
    let server = Server::good(outer, "\"1\"");
    let set = remote("cbcl", &[server.at("faces.tar.gz")], 2, None, Some(sum(&pixels)));
    let cache = cache();
    let (shape, values) = npy(&get(cache.path(), &net(), &set).expect("fetch").path);
    assert_eq!(shape, "(2, 361)");
    assert!(values.iter().zip(&pixels).all(|(&v, &p)| v == f32::from(p) / 255.0));

    let hand = tempfile::tempdir().expect("folder");
    let ask = Ask { from: Some(hand.path()), ..Ask::default() };
    let from = |set: &Remote| named(cache.path(), &net(), set, &ask, &mut quiet);
    holds(&said(from(&set)), &["neither faces.tar.gz nor face.train.tar.gz", "left as it is"]);
    fs::write(hand.path().join("face.train.tar.gz"), &inner).expect("file");
    from(&set).expect("the inner archive");
    fs::create_dir_all(hand.path().join("train/face")).expect("folder");
    for n in 1..=2 {
        fs::write(hand.path().join(format!("train/face/face0000{n}.pgm")), pgm(n)).expect("file");
    }
    from(&set).expect("the pictures themselves");
    fs::write(hand.path().join("train/face/face00002.pgm"), pgm(3)).expect("file");
    holds(&said(from(&set)), &["its pixels have the SHA-256", &sum(&pixels), "left as it is"]);
    // What was there before is still whole.
    assert_eq!(npy(&read(&cache.path().join("cbcl")).expect("cached").path).1, values);

    let none = Server::new(|_, _| Reply::new("404 Not Found", b""));
    let urls = [none.at("a"), none.at("b")];
    let gone = Remote { name: "cbcl3", ..remote("cbcl", &urls, 2, None, Some(sum(&pixels))) };
    holds(&said(get(cache.path(), &net(), &gone)), &["404", "vouched for", &urls.join(" and "), "the pixels are checked"]);

    let server = Server::good(b"not an archive".to_vec(), "\"1\"");
    let bad = Remote { name: "cbcl2", ..remote("cbcl", &[server.at("faces.tar.gz")], 2, None, Some(sum(&pixels))) };
    holds(&said(get(cache.path(), &net(), &bad)), &["no whole archive", "it was removed"]);
}

/// Where the data of the tests lies, if it does.
fn shared(file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MEREO_TEST_DATA")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into(), PathBuf::from);
    let path = root.join(file);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

/// A MAT-file (format 5, not compressed) with one matrix of bytes, column by column.
fn mat(name: &str, rows: usize, cols: usize, data: &[u8]) -> Vec<u8> {
    let element = |kind: u32, bytes: &[u8]| {
        let mut out = [kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    };
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
    // Class 9: unsigned bytes. Kinds: 6 u32, 5 i32, 1 i8, 2 u8, 14 matrix.
    let matrix = [
        element(6, &words(&[9, 0])),
        element(5, &words(&[rows as u32, cols as u32])),
        element(1, name.as_bytes()),
        element(2, data),
    ];
    let mut header = b"MATLAB 5.0 MAT-file".to_vec();
    header.resize(124, b' ');
    header.extend([0, 1, b'I', b'M']);
    [header, element(14, &matrix.concat())].concat()
}

#[test]
fn olivetti_is_turned_upright_stretched_and_known_by_its_pixels() {
    // Picture p shows p·5 + 10 at row 1, column 2, and 10 elsewhere; columns of a picture come one after the other.
    let pictures = 20;
    let mut data = vec![10; 4096 * pictures];
    let mut pixels = vec![10; 4096 * pictures];
    for p in 0..pictures {
        data[p * 4096 + 2 * 64 + 1] = (p * 5 + 10) as u8;
        pixels[p * 4096 + 64 + 2] = (p * 5 + 10) as u8;
    }
    let file = mat("faces", 4096, pictures, &data);
    let server = Server::good(file, "\"1\"");
    let cache = cache();
    let set = remote("olivetti", &[server.at("o.mat")], pictures, Some(sum(b"other packing")), Some(sum(&pixels)));
    let got = get(cache.path(), &net(), &set).expect("fetch");
    let (shape, values) = npy(&got.path);
    assert_eq!(shape, "(20, 4096)");
    assert!(values.iter().zip(&pixels).all(|(&v, &p)| v == f32::from(p - 10) / 95.0));
    let labels = fs::read_to_string(got.labels.expect("labels")).expect("labels");
    assert_eq!((labels.lines().next(), labels.lines().last(), labels.lines().count()), (Some("0"), Some("1"), 20));

    let other = Remote { name: "olivetti2", pixels: Some("00"), ..set };
    holds(&said(get(cache.path(), &net(), &other)), &["its pixels have the SHA-256", "it was removed"]);
    let server = Server::good(mat("p", 1, 2, &[1, 2]), "\"1\"");
    let other = Remote { name: "olivetti3", urls: Box::leak(Box::new([&*server.at("o.mat").leak()])), ..other };
    holds(&said(get(cache.path(), &net(), &other)), &["faces", "it was removed"]);
}

#[test]
fn true_files_come_out_as_scikit_learn_has_them() {
    let cache = cache();
    let from = |name: &str, folder: &Path| {
        named(
            cache.path(),
            &net(),
            list().iter().find(|r| r.name == name).expect("name"),
            &Ask { from: Some(folder), ..Ask::default() },
            &mut quiet,
        )
    };
    if let Some(folder) = shared("olivetti") {
        let (shape, values) = npy(&from("olivetti", &folder).expect("olivetti").path);
        assert_eq!(shape, "(400, 4096)");
        // The first pixels of `fetch_olivetti_faces().data`.
        assert_eq!(values[..4], [75, 89, 101, 107].map(|v| f32::from(v as u8) / 242.0));
    }
    if let Some(folder) = shared("cbcl") {
        // Only the matrix is there, so its rows are made into files again.
        let bytes = fs::read(folder.join("faces_2429x361_u8.npy")).expect("npy");
        let start = bytes.len() - 2429 * 361;
        let hand = tempfile::tempdir().expect("folder");
        for (i, face) in bytes[start..].chunks(361).enumerate() {
            fs::write(hand.path().join(format!("face{:05}.pgm", i + 1)), [b"P5 19 19 255\n", face].concat()).expect("pgm");
        }
        let (shape, values) = npy(&from("cbcl", hand.path()).expect("cbcl").path);
        assert_eq!((shape.as_str(), values[0]), ("(2429, 361)", 104.0 / 255.0));
    }
}
