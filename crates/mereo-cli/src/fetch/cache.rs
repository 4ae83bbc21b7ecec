//! The cache folder: what lies where, whole or not, and how files are summed up and named.

use super::{Fetched, Step, Watch, report};
use crate::failure::{Failure, Result};
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The cache folder: `MEREO_CACHE`, or the platform's (`~/.cache/mereo`, `~/Library/Caches/mereo`, …).
pub fn folder() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MEREO_CACHE").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    match etcetera::base_strategy::choose_native_strategy() {
        Ok(platform) => Ok(platform.cache_dir().join("mereo")),
        Err(_) => Err(Failure::other("this account has no home folder to keep a cache in; set MEREO_CACHE to a folder")),
    }
}

const ABOUT: &str = "about.json";

/// What a slot holds, if all of it is there. Paths in about.json are beside it, so that a cache can be moved.
pub fn read(slot: &Path) -> Option<Fetched> {
    let mut about: Fetched = serde_json::from_slice(&fs::read(slot.join(ABOUT)).ok()?).ok()?;
    about.path = slot.join(about.path);
    about.labels = about.labels.map(|labels| slot.join(labels));
    (fs::metadata(&about.path).ok()?.len() == about.bytes).then_some(about)
}

/// Notes what a slot holds, in one step.
pub fn write(slot: &Path, about: &Fetched) -> Result<()> {
    let beside = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let stored = Fetched { path: beside(&about.path), labels: about.labels.as_deref().map(beside), ..about.clone() };
    let path = slot.join(ABOUT);
    let text = serde_json::to_string_pretty(&stored).map_err(|e| Failure::other(format!("{}: {e}", path.display())))?;
    let part = slot.join("about.json.part");
    fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(|e| disk(&path, &e))
}

/// Makes the slot, and keeps other processes out of it until the file is dropped.
pub fn lock(slot: &Path) -> Result<File> {
    fs::create_dir_all(slot).map_err(|e| disk(slot, &e))?;
    let path = slot.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| disk(&path, &e))?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            Err(Failure::other(format!("another mereo is filling {}; wait until it is done", slot.display())))
        }
        // Some network disks know no locks; two fetches at once are then the user's own risk.
        _ => Ok(file),
    }
}

/// The SHA-256 of a file, in lower case.
pub fn sum_of(path: &Path, watch: Watch) -> Result<String> {
    let mut file = File::open(path).map_err(|e| disk(path, &e))?;
    let total = size(path)?;
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&sum.finalize())),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(disk(path, &e)),
        };
        sum.update(&buffer[..n]);
        done += n as u64;
        report(watch, Step::Check, done, Some(total))?;
    }
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}"); // Text takes all that is written.
        text
    })
}

/// The folder of an address: its sum, so that no part of it reaches the file system.
pub fn key(url: &str) -> String {
    format!("url-{}", &hex(&Sha256::digest(url))[..16])
}

/// The last part of an address as a harmless file name.
pub fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    harmless(path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default())
}

/// Letters, digits, `-`, `_` and `.` only, at most 100 of them, not hidden, and never a name of our own.
pub fn harmless(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let clean = clean.trim_start_matches('.');
    let clean = &clean[clean.len().saturating_sub(100)..];
    if clean.is_empty() || clean == ABOUT || clean == "lock" || clean.contains(".part") {
        format!("data-{clean}")
    } else {
        clean.into()
    }
}

/// Whether a file begins as HTML does.
pub fn starts_like_a_page(path: &Path) -> bool {
    let mut head = [0; 256];
    let n = File::open(path).and_then(|mut file| file.read(&mut head)).unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..n]).trim_start().to_ascii_lowercase();
    head.starts_with("<!doctype html") || head.starts_with("<html")
}

/// The size of a file in bytes.
pub fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).map_err(|e| disk(path, &e))?.len())
}

/// Removes a file, unless it is gone already.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(disk(path, &e)),
        _ => Ok(()),
    }
}

/// What the disk refused, and what to do about it.
pub fn disk(path: &Path, e: &std::io::Error) -> Failure {
    let path = path.display();
    let elsewhere = "or set MEREO_CACHE to a folder elsewhere";
    Failure::other(match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!(
                "{path}: the disk is full; make room {elsewhere}. What was downloaded is kept, and the same command goes on from there"
            )
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
            format!("{path} can't be written or read ({e}); give yourself the right to {elsewhere}")
        }
        _ => format!("{path}: {e}"),
    })
}
