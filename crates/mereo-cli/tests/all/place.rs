//! What tests of the binary share: a folder to run it in, and files to run it on.
#![allow(dead_code, reason = "each test file uses a part")]

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder to run in, with a cache of its own.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("tempdir"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mereo"));
        command.args(args).current_dir(self.0.path()).env("MEREO_CACHE", self.path("cache")).stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Output {
        self.command(&line.split_whitespace().collect::<Vec<_>>()).output().expect("mereo runs")
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, line: &str) -> String {
        let out = self.run(line);
        assert!(out.status.success(), "mereo {line}\n{}", text(&out.stderr));
        text(&out.stdout)
    }

    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --json"))).expect("one JSON document")
    }

    /// The one line of a command that must fail with this exit code.
    pub fn fails(&self, code: i32, line: &str) -> String {
        let out = self.run(line);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "mereo {line}\n{said}");
        assert!(out.stdout.is_empty(), "mereo {line}: an error has no result");
        let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "mereo {line}\n{said}");
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
        errors[0].to_string()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .expect("folder")
            .map(|f| f.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("write");
    }

    /// A matrix as a file of `NumPy`.
    pub fn npy(&self, name: &str, rows: usize, cols: usize, value: impl Fn(usize, usize) -> f32) {
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        for i in 0..rows {
            for j in 0..cols {
                bytes.extend(value(i, j).to_le_bytes());
            }
        }
        self.write(name, bytes);
    }

    /// Data that a fit of many passes works on for a while.
    pub fn slow(&self, name: &str) {
        self.npy(name, 2000, 300, |i, j| ((i * 31 + j * 17) % 97) as f32 / 97.0 + ((i * j) % 13) as f32);
    }
}

/// A page that stands alone, without the bytes of its pictures.
pub fn page(path: &Path) -> String {
    let page = std::fs::read_to_string(path).expect("page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    // Those may spell anything.
    let spelt = |(i, s): (usize, &str)| if i == 0 { s.to_string() } else { s.split_once('"').map_or("", |p| p.1).to_string() };
    let text: String = page.split("base64,").enumerate().map(spelt).collect();
    for word in ["http", "<script", "NaN"] {
        assert!(!text.contains(word), "nothing from elsewhere, nothing undefined: {word}");
    }
    page
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Numbers of rows and columns of a file of `NumPy`, and its numbers.
pub fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).expect("npy");
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = text(&bytes[10..10 + length]);
    let shape = header.split_once("'shape': (").and_then(|(_, s)| s.split_once(')')).expect("shape").0;
    let shape = shape.split(',').filter_map(|s| s.trim().parse().ok()).collect();
    (shape, bytes[10 + length..].as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect())
}

pub fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let started = Instant::now();
    while !seen() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a command in the background, its output kept.
pub fn start(place: &Place, line: &str) -> Child {
    let args: Vec<&str> = line.split_whitespace().collect();
    place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mereo starts")
}

#[cfg(unix)]
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}
