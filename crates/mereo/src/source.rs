//! Where rows come from: [`Source`] cuts them into numbered blocks that any worker can read, any number of times.

mod budget;
mod csv;
mod dense;
#[cfg(feature = "images")]
mod images;
pub(crate) mod input;
mod mat;
mod mtx;
pub(crate) mod npy;
pub(crate) mod npz;
pub(crate) mod number;
mod odd;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
pub(crate) mod safetensors;
pub(crate) mod sparse;
mod subset;
mod text;
mod weighted;

pub use odd::Odd;
pub use open::{Open, Opened, open};
pub use subset::Subset;
pub use weighted::Weighted;

use crate::error::{Error, Result};
use crate::mat::{Csr, Mat, Rows};
use crate::missing::Missing;

/// Rows cut into numbered blocks.
pub trait Source: Sync {
    /// Number of columns (d).
    fn cols(&self) -> usize;
    /// Number of blocks.
    fn blocks(&self) -> usize;
    /// Number of rows of a block, known without reading it.
    fn rows(&self, block: usize) -> usize;
    /// The rows of a block; a file is read for it.
    fn block(&self, block: usize) -> Result<Rows<'_>>;
    /// Whether a block is read from a file each time, so that reading ahead pays.
    fn streams(&self) -> bool {
        false
    }
}

/// Number of rows of all blocks.
pub fn count(source: &dyn Source) -> usize {
    (0..source.blocks()).map(|b| source.rows(b)).sum()
}

/// Rows that are already in memory, cut into blocks of `step` rows.
#[derive(Debug, Clone)]
pub struct Memory<'a> {
    rows: Rows<'a>,
    step: usize,
}

impl<'a> Memory<'a> {
    /// All rows as one block.
    pub fn new(rows: Rows<'a>) -> Self {
        let step = rows.rows().max(1);
        Self { rows, step }
    }
    /// Blocks of `step` rows, the last one shorter.
    pub fn cut(rows: Rows<'a>, step: usize) -> Self {
        Self { rows, step: step.max(1) }
    }
}

impl<'a> From<&'a Mat> for Memory<'a> {
    fn from(m: &'a Mat) -> Self {
        Self::new(m.view())
    }
}

impl<'a> From<&'a Csr> for Memory<'a> {
    fn from(m: &'a Csr) -> Self {
        Self::new(m.view())
    }
}

impl Source for Memory<'_> {
    fn cols(&self) -> usize {
        self.rows.cols()
    }
    fn blocks(&self) -> usize {
        self.rows.rows().div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.rows.rows() - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from = block * self.step;
        Ok(self.rows.slice(from, from + self.rows(block)))
    }
}

/// Refuses rows with a NaN or an infinity, naming the first one by its row in the whole data.
pub fn check_finite(x: &Rows, first: u64) -> Result<()> {
    use rayon::prelude::*;
    let values = x.values();
    // One comparison a number: the exponent is all ones exactly for NaN and infinities.
    let clean = |c: &[f32]| c.iter().fold(0, |bad, v| bad + u32::from(v.to_bits() & 0x7f80_0000 == 0x7f80_0000)) == 0;
    if values.par_chunks(1 << 16).all(clean) {
        return Ok(());
    }
    let at = values.iter().position(|v| !v.is_finite()).unwrap_or(0);
    let (row, column) = place(x, at);
    Err(Error::data(format!(
        "row {}, column {column} is {} (both counted from 0); drop the row or fill the value in",
        first + row as u64,
        values[at]
    )))
}

/// The same, but a NaN is fine where it says that an entry is unknown. `missing` is none for those who could make no use of that.
pub fn check_known(x: &Rows, first: u64, missing: Option<Missing>) -> Result<()> {
    let Some(missing) = missing.filter(|m| *m != Missing::None) else {
        return check_finite(x, first).map_err(|e| match missing {
            Some(_) if x.values().iter().any(|v| v.is_nan()) => {
                Error::data(format!("{e}, or say that NaN is a missing entry (missing = nan)"))
            }
            _ => e,
        });
    };
    match x.values().iter().position(|v| v.is_infinite()) {
        None => Ok(()),
        Some(at) => {
            let (row, column) = place(x, at);
            Err(Error::data(format!(
                "row {}, column {column} is {} (both counted from 0); only NaN is a missing entry (missing = {}): make it one, or fill the value in",
                first + row as u64,
                x.values()[at],
                if missing == Missing::Nan { "nan" } else { "zeros" }
            )))
        }
    }
}

/// Refuses rows with a negative number, naming the first one; `why` says who can't use it and what to do.
pub fn check_nonnegative(x: &Rows, first: u64, why: &str) -> Result<()> {
    use rayon::prelude::*;
    let values = x.values();
    if values.par_chunks(1 << 16).all(|c| c.iter().fold(0, |bad, v| bad + u32::from(*v < 0.0)) == 0) {
        return Ok(());
    }
    let at = values.iter().position(|v| *v < 0.0).unwrap_or(0);
    let (row, column) = place(x, at);
    Err(Error::data(format!("row {}, column {column} is {} (both counted from 0), and {why}", first + row as u64, values[at])))
}

fn place(x: &Rows, at: usize) -> (usize, usize) {
    match x {
        Rows::Dense(d) => (at / d.cols.max(1), at % d.cols.max(1)),
        Rows::Sparse(s) => {
            let row = s.indptr.partition_point(|&p| (p - s.indptr[0]) as usize <= at) - 1;
            (row, s.indices[at] as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_once() {
        let m = Mat { rows: 7, cols: 2, data: (0..14).map(|v| v as f32).collect() };
        let s = Memory::cut(m.view(), 3);
        assert_eq!((s.blocks(), s.rows(0), s.rows(2), count(&s)), (3, 3, 1, 7));
        let mut seen = Vec::new();
        for b in 0..s.blocks() {
            seen.extend_from_slice(s.block(b).expect("block").values());
        }
        assert_eq!(seen, m.data);
    }

    #[test]
    fn the_bad_value_is_named() {
        let m = Mat { rows: 2, cols: 2, data: vec![0.0, 1.0, f32::NAN, -1.0] };
        let said = check_finite(&m.view(), 10).expect_err("NaN").to_string();
        assert!(said.contains("row 11, column 0 is NaN"), "{said}");
        let csr = Csr::new(2, 5, vec![0, 1, 2], vec![3, 4], vec![1.0, -2.0]).expect("csr");
        let said = check_nonnegative(&csr.view(), 0, "NMF needs none").expect_err("negative").to_string();
        assert!(said.contains("row 1, column 4 is -2"), "{said}");
    }
}
