//! Results that outlive a run: a file of lines, one a result, to which each is appended as soon as it is there.

use mereo::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How every line begins.
const HEAD: &[u8] = br#"{"key":""#;

/// What a result belongs to: a SHA-256 of the model and what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    pub(super) fn of(asked: &Value) -> Self {
        Self(Sha256::digest(asked.to_string()).into())
    }

    fn hex(self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn from_hex(hex: &str) -> Option<Self> {
        let mut key = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (i, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(key))
    }
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    key: String,
    value: T,
}

/// Results by key, in memory and in a file (JSON lines). One process at a time may have it open.
#[derive(Debug)]
pub struct Store<T> {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    end: u64,
    known: HashMap<Key, T>,
}

impl<T: Serialize + DeserializeOwned> Store<T> {
    /// Opens a file, or makes it. A last line that a power cut left unfinished is cut off: its result will be asked for again.
    ///
    /// Errors: the file can't be read or written, is open elsewhere, or holds anything else.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let io = |e| Error::io(&path, e);
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::format(&path, "another run is writing to it; wait for that, or give another file"));
            }
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let Lines { known, end, open } = read(&path, &file)?;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(io)?;
        let mut store = Self { path, file, end, known };
        if open {
            store.append(b"\n")?;
        }
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many results it holds.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The result of `key`.
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.known.get(key)
    }

    /// Which of `keys` have no result, by their place; of equal ones only the first.
    pub fn missing(&self, keys: &[Key]) -> Vec<usize> {
        let mut seen = HashSet::new();
        (0..keys.len()).filter(|&i| !self.known.contains_key(&keys[i]) && seen.insert(keys[i])).collect()
    }

    /// Adds a result and waits until it is on the disk.
    pub fn put(&mut self, key: Key, value: T) -> Result<()> {
        self.put_all([(key, value)])
    }

    /// Adds results and waits until they are on the disk.
    pub fn put_all(&mut self, results: impl IntoIterator<Item = (Key, T)>) -> Result<()> {
        let results: Vec<(Key, T)> = results.into_iter().collect();
        let mut lines = Vec::new();
        for (key, value) in &results {
            serde_json::to_writer(&mut lines, &Line { key: key.hex(), value })
                .map_err(|e| Error::data(format!("a result can't be written as JSON ({e})")))?;
            lines.push(b'\n');
        }
        self.append(&lines)?;
        self.known.extend(results);
        Ok(())
    }

    /// All of `bytes`, or none of them.
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(e) = self.file.write_all(bytes).and_then(|()| self.file.sync_data()) {
            // A full disk may have taken a part. If that can't be cut off either, the next opening does it.
            let _ = self.file.set_len(self.end).and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
            return Err(Error::io(&self.path, e));
        }
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// What a file holds.
struct Lines<T> {
    known: HashMap<Key, T>,
    /// Bytes up to the end of the last good line.
    end: u64,
    /// That line has no line end.
    open: bool,
}

fn read<T: DeserializeOwned>(path: &Path, file: &File) -> Result<Lines<T>> {
    let mut lines = BufReader::new(file);
    let (mut all, mut line) = (Lines { known: HashMap::new(), end: 0, open: false }, Vec::new());
    for number in 1.. {
        line.clear();
        let n = lines.read_until(b'\n', &mut line).map_err(|e| Error::io(path, e))?;
        if n == 0 {
            break;
        }
        let parsed = serde_json::from_slice::<Line<T>>(&line).ok().and_then(|l| Some((Key::from_hex(&l.key)?, l.value)));
        match parsed {
            Some((key, value)) => {
                all.known.insert(key, value);
                all.end += n as u64;
                all.open = line.last() != Some(&b'\n');
            }
            // Cut off, or filled with zeros where the bytes never got to the disk. Anything else was written by someone else.
            None if !last(&mut lines, path)? || serde_json::from_slice::<Value>(&line).is_ok() || !torn(&line) => {
                return Err(Error::format(
                    path,
                    format!("line {number} holds no result of this kind; remove it, or give another file"),
                ));
            }
            None => break,
        }
    }
    Ok(all)
}

fn last(lines: &mut BufReader<&File>, path: &Path) -> Result<bool> {
    lines.fill_buf().map(<[u8]>::is_empty).map_err(|e| Error::io(path, e))
}

fn torn(line: &[u8]) -> bool {
    line.starts_with(HEAD) || HEAD.starts_with(line) || line.first() == Some(&0)
}
