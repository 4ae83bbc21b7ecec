//! Files as numbers in memory.

use memmap2::Mmap;
use mereo::{Error, Result};
use std::fs::File;
use std::path::Path;

/// A file, mapped; an empty one is none.
pub(super) struct Map(Option<Mmap>);

impl Map {
    /// Maps the file, which must have so many bytes.
    pub fn open(path: &Path, bytes: Option<usize>) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        if bytes.is_some_and(|b| b as u64 != length) {
            return Err(Error::data(format!(
                "{} has {length} bytes instead of {}; build the index again",
                path.display(),
                bytes.unwrap_or(0)
            )));
        }
        if length == 0 {
            return Ok(Self(None));
        }
        // SAFETY: an index is written beside its name and renamed, and nothing writes into one that is there; whoever cuts its files short
        // while it is open ends the program, as for every mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Ok(Self(Some(map)))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
    pub fn u64s(&self) -> &[u64] {
        numbers(self.bytes())
    }
    pub fn u32s(&self) -> &[u32] {
        numbers(self.bytes())
    }
    pub fn f32s(&self) -> &[f32] {
        numbers(self.bytes())
    }
}

/// Maps begin at pages, and files have whole numbers.
fn numbers<T: bytemuck::AnyBitPattern>(bytes: &[u8]) -> &[T] {
    bytemuck::try_cast_slice(bytes).unwrap_or(&[])
}
