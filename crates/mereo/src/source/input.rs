//! A file read at positions, by any number of threads, whose length is known and checked before anything is allocated for it.
//!
//! A memory map would end the process where a file shrinks while it is read; a positioned read is an error there.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An open file.
#[derive(Debug)]
pub(crate) struct Input {
    path: PathBuf,
    #[cfg(any(unix, windows))]
    file: File,
    #[cfg(not(any(unix, windows)))]
    file: std::sync::Mutex<File>,
    len: u64,
}

impl Input {
    /// Opens a regular file that isn't empty.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        if !meta.is_file() {
            return Err(Error::format(path, "not a regular file; write the data to a file first"));
        }
        if meta.len() == 0 {
            return Err(Error::format(path, "the file is empty; write or copy it again"));
        }
        Ok(Self::over(path.to_path_buf(), file, meta.len()))
    }

    fn over(path: PathBuf, file: File, len: u64) -> Self {
        #[cfg(not(any(unix, windows)))]
        let file = std::sync::Mutex::new(file);
        Self { path, file, len }
    }

    /// What `from` yields, unpacked into a nameless temporary file beside `path` (or in the system's folder for them, where
    /// that can't be written). Errors go on naming `path`. At most `limit` bytes are taken.
    pub(super) fn spill(path: &Path, from: &mut dyn Read, limit: u64) -> Result<Self> {
        let mut file = temporary(path)?;
        let len = io::copy(&mut from.take(limit), &mut file).map_err(|e| {
            Error::format(
                path,
                format!("can't be unpacked into a temporary file ({e}); raise the memory bound or free disk space"),
            )
        })?;
        Ok(Self::over(path.to_path_buf(), file, len))
    }

    /// A temporary file that was written by the caller.
    pub(super) fn written(path: &Path, mut file: File) -> Result<Self> {
        file.flush().map_err(|e| Error::io(path, e))?;
        let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
        Ok(Self::over(path.to_path_buf(), file, len))
    }

    /// The file's name, for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// An error about this file.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::format(&self.path, message)
    }

    /// Fills `out` from byte `at` on; an error if the file ends before.
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.read_some(at + done as u64, &mut out[done..]) {
                Ok(0) => {
                    return Err(self.error(format!(
                        "the file ends at byte {}, {} bytes are missing; it was cut short: copy it again",
                        at + done as u64,
                        out.len() - done
                    )));
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(&self.path, e)),
            }
        }
        Ok(())
    }

    /// `n` bytes from `at` on, refused before they are allocated if the file isn't that long.
    pub(crate) fn bytes(&self, at: u64, n: u64) -> Result<Vec<u8>> {
        self.holds(at, n, "a part of it")?;
        let mut out = vec![0; n as usize];
        self.read(at, &mut out)?;
        Ok(out)
    }

    /// The first bytes, up to `n`: what its kind is told by.
    pub(crate) fn head(&self, n: u64) -> Result<Vec<u8>> {
        self.bytes(0, n.min(self.len))
    }

    /// An error unless `n` bytes from `at` on lie within the file; `what` says whose they are.
    pub(crate) fn holds(&self, at: u64, n: u64, what: &str) -> Result<()> {
        if at.checked_add(n).is_some_and(|end| end <= self.len) && usize::try_from(n).is_ok() {
            return Ok(());
        }
        Err(self.error(format!(
            "{what} takes {n} bytes from byte {at} on, but the file has {}; it was cut short or is damaged: copy or write it again",
            self.len
        )))
    }

    /// A part of the file as a stream.
    pub(crate) fn section(&self, at: u64, n: u64) -> Section<'_> {
        let from = at.min(self.len);
        Section { input: self, from, at: from, end: at.saturating_add(n).min(self.len) }
    }

    #[cfg(unix)]
    fn read_some(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, out, at)
    }
    #[cfg(windows)]
    fn read_some(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, out, at)
    }
    #[cfg(not(any(unix, windows)))]
    fn read_some(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().map_err(|_| io::Error::other("another reader failed"))?;
        file.seek(SeekFrom::Start(at))?;
        file.read(out)
    }
}

/// A nameless temporary file beside `path`, or in the system's folder for them.
pub(super) fn temporary(path: &Path) -> Result<File> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(folder).or_else(|_| tempfile::tempfile()).map_err(|e| Error::io(path, e))
}

/// A part of an [`Input`], read from front to back. It can seek within itself.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    input: &'a Input,
    from: u64,
    at: u64,
    end: u64,
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => self.from.checked_add(n),
            SeekFrom::End(n) => self.end.checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        // Past the end reads find nothing.
        self.at = at.filter(|&at| at >= self.from).ok_or(io::ErrorKind::InvalidInput)?.min(self.end);
        Ok(self.at - self.from)
    }
}

impl Read for Section<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = (out.len() as u64).min(self.end - self.at) as usize;
        if n == 0 {
            return Ok(0);
        }
        let n = self.input.read_some(self.at, &mut out[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}
