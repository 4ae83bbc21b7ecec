//! Some rows of a source: a training set, a test set.

use super::{Source, count};
use crate::error::{Error, Result};
use crate::mat::Rows;

/// Chosen rows of a source, in their order. Blocks are those blocks of the source that hold a chosen row.
///
/// Rows of a source that streams are read again each time, and blocks without a chosen row never are; rows of one in memory are
/// copied once.
pub struct Subset<'a> {
    source: &'a dyn Source,
    spans: Vec<Span>,
    /// The rows of each span, where the source doesn't stream.
    held: Option<Vec<Rows<'static>>>,
}

/// A block of the source, and which of its rows were chosen.
struct Span {
    block: usize,
    rows: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// The given rows, counted over all blocks from 0, each named once and in rising order.
    ///
    /// # Errors
    /// No rows, rows out of order, a row that isn't there; an unreadable block of a source in memory.
    pub fn new(source: &'a dyn Source, rows: impl AsRef<[usize]>) -> Result<Self> {
        let rows = rows.as_ref();
        let n = count(source);
        if rows.is_empty() {
            return Err(Error::parameter("no rows are chosen; at least one is needed"));
        }
        if let Some([a, b]) = rows.windows(2).find(|w| w[0] >= w[1]) {
            return Err(Error::parameter(format!("row {b} is chosen after row {a}; name each row once, in rising order")));
        }
        if let Some(bad) = rows.last().filter(|&&r| r >= n) {
            return Err(Error::parameter(format!("row {bad} is chosen of {n} rows counted from 0; leave it out")));
        }
        let mut spans = Vec::new();
        let mut left = rows;
        let mut first = 0;
        for block in 0..source.blocks() {
            let end = first + source.rows(block);
            let (here, after) = left.split_at(left.partition_point(|&r| r < end));
            if !here.is_empty() {
                spans.push(Span { block, rows: here.iter().map(|r| r - first).collect() });
            }
            (left, first) = (after, end);
        }
        let held = if source.streams() {
            None
        } else {
            Some(spans.iter().map(|s| Ok(source.block(s.block)?.pick(&s.rows))).collect::<Result<_>>()?)
        };
        Ok(Self { source, spans, held })
    }
}

impl Source for Subset<'_> {
    fn cols(&self) -> usize {
        self.source.cols()
    }
    fn blocks(&self) -> usize {
        self.spans.len()
    }
    fn rows(&self, block: usize) -> usize {
        self.spans[block].rows.len()
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        if let Some(held) = &self.held {
            return Ok(held[block].slice(0, self.rows(block)));
        }
        let span = &self.spans[block];
        let x = self.source.block(span.block)?;
        if x.rows() == span.rows.len() {
            return Ok(x);
        }
        if span.rows.last().is_some_and(|&r| r >= x.rows()) {
            return Err(Error::data(format!(
                "block {} has only {} rows; the file changed while it was read",
                span.block,
                x.rows()
            )));
        }
        Ok(x.pick(&span.rows))
    }
    fn streams(&self) -> bool {
        self.source.streams()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::{Csr, Mat};
    use crate::source::Memory;

    /// Rows read anew each time, with a count of reads.
    struct Reads<'a>(Memory<'a>, std::sync::atomic::AtomicUsize);
    impl Source for Reads<'_> {
        fn cols(&self) -> usize {
            self.0.cols()
        }
        fn blocks(&self) -> usize {
            self.0.blocks()
        }
        fn rows(&self, block: usize) -> usize {
            self.0.rows(block)
        }
        fn block(&self, block: usize) -> Result<Rows<'_>> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0.block(block)
        }
        fn streams(&self) -> bool {
            true
        }
    }

    fn all(s: &dyn Source) -> Vec<f32> {
        (0..s.blocks())
            .flat_map(|b| {
                let x = s.block(b).expect("block").to_mat();
                assert_eq!((x.rows, x.cols), (s.rows(b), s.cols()));
                x.data
            })
            .collect()
    }

    #[test]
    fn chosen_rows_only_and_only_their_blocks() {
        let m = Mat { rows: 10, cols: 2, data: (0..20).map(|v| v as f32).collect() };
        let wanted = vec![2.0, 3.0, 4.0, 5.0, 18.0, 19.0];
        for step in 1..11 {
            let memory = Memory::cut(m.view(), step);
            assert_eq!(all(&Subset::new(&memory, vec![1, 2, 9]).expect("subset")), wanted, "step {step}");
        }
        let reads = Reads(Memory::cut(m.view(), 3), std::sync::atomic::AtomicUsize::default());
        let s = Subset::new(&reads, vec![1, 2, 9]).expect("subset");
        assert_eq!((s.blocks(), s.rows(0), s.rows(1), s.streams()), (2, 2, 1, true));
        assert_eq!(all(&s), wanted);
        assert_eq!(reads.1.into_inner(), 2);
    }

    #[test]
    fn sparse_rows_stay_sparse() {
        let csr = Csr::new(3, 4, vec![0, 2, 2, 3], vec![0, 3, 1], vec![1.0, 2.0, 3.0]).expect("csr");
        let memory = Memory::cut(csr.view(), 2);
        let s = Subset::new(&memory, vec![0, 2]).expect("subset");
        assert!(matches!(s.block(0).expect("block"), Rows::Sparse(_)));
        assert_eq!(all(&s), vec![1.0, 0.0, 0.0, 2.0, 0.0, 3.0, 0.0, 0.0]);
    }

    #[test]
    fn bad_choices_are_named() {
        let m = Mat::zeros(3, 2);
        let memory = Memory::from(&m);
        let said = |rows: Vec<usize>| Subset::new(&memory, rows).err().expect("refused").to_string();
        assert!(said(vec![]).contains("no rows"));
        assert!(said(vec![1, 1]).contains("row 1 is chosen after row 1"));
        assert!(said(vec![0, 3]).contains("row 3 is chosen of 3 rows"));
    }
}
