//! `mereo data fetch` from outside, against a server on the loopback: through to a fit, killed, interrupted, offline.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("tempdir"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mereo"));
        command.args(args).current_dir(self.0.path()).env("MEREO_CACHE", self.0.path().join("cache")).stdin(Stdio::null());
        // The loopback is never behind a proxy.
        command.env("NO_PROXY", "127.0.0.1").env_remove("no_proxy").env_remove("MEREO_MIRROR");
        command
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let out = self.command(args).output().expect("mereo runs");
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    /// Files below the cache whose name ends so.
    fn cached(&self, ending: &str) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.0.path().join("cache")).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(ending)).collect()
    }

    /// Waits until a part of a download is on the disk.
    fn part(&self) -> u64 {
        let begin = Instant::now();
        loop {
            let size = self.cached(".part").first().and_then(|path| path.metadata().ok()).map_or(0, |m| m.len());
            if size > 0 {
                return size;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "no part came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn failed(out: &Output, code: i32) -> String {
    assert_eq!(out.status.code(), Some(code), "{}", text(&out.stderr));
    assert!(!text(&out.stderr).contains("panicked"));
    text(&out.stderr)
}

/// A server of one file that knows ranges; where `stall` is given, its first answer stops after so many bytes and stays open.
fn serve(body: Vec<u8>, stall: Option<usize>) -> (String, Arc<Mutex<Vec<Option<String>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let ranges: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = ranges.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let range = lines
                .filter_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_string))
                .last()
                .map(|range| range.trim_end_matches('-').to_string());
            let from = range.as_ref().map_or(0, |from| from.parse().expect("a number"));
            let first = seen.lock().expect("lock").is_empty();
            seen.lock().expect("lock").push(range.clone());
            let (status, span) = match range {
                Some(_) => ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len())),
                None => ("200 OK", String::new()),
            };
            let end = stall.filter(|_| first).unwrap_or(body.len());
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"1\"\r\n{span}Content-Length: {}\r\n\r\n",
                body.len() - from
            );
            let _ =
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[from..end])).and_then(|()| stream.flush());
            if end < body.len() {
                held.push(stream);
            }
        }
    });
    (url, ranges)
}

/// A matrix of f32 in `NumPy`'s format.
fn npy(rows: usize, cols: usize) -> Vec<u8> {
    let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let header = format!("{dict:<117}\n");
    let values = (0..rows * cols).flat_map(|i| ((i * i % 97) as f32).to_le_bytes());
    [b"\x93NUMPY\x01\x00", &118u16.to_le_bytes()[..], header.as_bytes(), &values.collect::<Vec<u8>>()].concat()
}

#[test]
fn an_address_is_fetched_once_and_then_fitted() {
    let (url, ranges) = serve(npy(60, 8), None);
    let (place, url) = (Place::new(), format!("{url}/some/table.npy"));
    let said = place.ok(&["data", "fetch", &url]);
    assert!(said.contains("table.npy") && said.contains("sha256"), "{said}");
    place.ok(&["data", "fetch", &url]);
    assert_eq!(ranges.lock().expect("lock").len(), 1);
    let path = place.ok(&["data", "path", &url]);
    assert_eq!(std::fs::read(path.trim()).expect("file"), npy(60, 8));
    place.ok(&["fit", "pca", &url, "-k", "2", "-o", "m.mereo"]);
    assert!(place.0.path().join("m.mereo").exists());
}

#[test]
fn a_killed_download_is_continued() {
    let body = npy(4000, 8);
    let (url, ranges) = serve(body.clone(), Some(50_000));
    let (place, url) = (Place::new(), format!("{url}/x.npy"));
    let mut child =
        place.command(&["data", "fetch", &url]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("mereo runs");
    let came = place.part();
    child.kill().expect("kill");
    child.wait().expect("end");
    assert!(place.cached("about.json").is_empty(), "half a file is not a data set");
    let out = place.command(&["data", "path", &url]).output().expect("mereo runs");
    failed(&out, 1);
    place.ok(&["data", "fetch", &url]);
    assert_eq!(std::fs::read(place.ok(&["data", "path", &url]).trim()).expect("file"), body);
    let from: u64 = ranges.lock().expect("lock")[1].clone().expect("a range").parse().expect("a number");
    assert!((came..=50_000).contains(&from), "{from}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_download_that_goes_on_later() {
    let body = npy(4000, 8);
    // Slow enough to be caught: the second half comes byte by byte.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x.npy", listener.local_addr().expect("an address"));
    let slow = body.clone();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", slow.len());
        let _ = stream.write_all(&slow[..60_000]);
        for byte in &slow[60_000..] {
            std::thread::sleep(Duration::from_millis(5));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let place = Place::new();
    let child = place.command(&["data", "fetch", &url]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("mereo runs");
    place.part();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let said = failed(&child.wait_with_output().expect("end"), 130);
    assert!(said.contains("kept"), "{said}");
    assert!(place.part() >= 1);
}

#[test]
fn offline_is_one_clear_line_and_exit_code_1() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let place = Place::new();
    let mirror = format!("http://127.0.0.1:{port}/files");
    let out = place.command(&["data", "fetch", "lfw", "--json"]).env("MEREO_MIRROR", &mirror).output().expect("mereo runs");
    let said = failed(&out, 1);
    for part in ["offline", "lfw-funneled.tgz elsewhere", "/files/lfw-funneled.tgz", "--from FOLDER"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(text(&out.stdout).contains("offline"));
    assert!(place.cached("about.json").is_empty());
}

#[test]
fn olivetti_is_fitted_by_name() {
    let data = std::env::var_os("MEREO_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from)
        .join("olivetti");
    if !data.exists() {
        println!("skipped: {} is not there", data.display());
        return;
    }
    let place = Place::new();
    let said = place.ok(&["data", "fetch", "olivetti", "--from", &data.to_string_lossy()]);
    assert!(said.contains("AT&T Laboratories Cambridge"), "{said}");
    let said = place.ok(&["fit", "nmf", "olivetti", "-k", "4", "--max-passes", "5", "-o", "m.mereo"]);
    assert!(said.contains("400 rows, 4,096 columns"), "{said}");
}
