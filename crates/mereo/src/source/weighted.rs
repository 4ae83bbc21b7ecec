//! Rows of one source with how much each entry counts from another.

use super::{Source, count, place};
use crate::error::{Error, Result};
use crate::mat::{Rows, Weights};

/// Largest weight: beyond it sums of f32 products lose everything else.
const LARGEST: f32 = 1e15;

/// Rows, and what they or their entries count: [`Rows::weights`].
///
/// Weights are finite and at least 0: one column, a weight for every row, or a matrix of the shape of the data. Sparse rows take such a matrix
/// if it is sparse and stored in the same places; an entry that is not stored counts 1.
pub struct Weighted<'a> {
    data: &'a dyn Source,
    weights: &'a dyn Source,
    /// Where each block of the weights starts, and where the last one ends.
    starts: Vec<usize>,
}

impl<'a> Weighted<'a> {
    /// Rows of `data` that count as `weights` says.
    ///
    /// # Errors
    /// Numbers of rows that differ, or of columns.
    pub fn new(data: &'a dyn Source, weights: &'a dyn Source) -> Result<Self> {
        let (n, d) = (count(data), data.cols());
        let (rows, cols) = (count(weights), weights.cols());
        if rows != n || cols != d && cols != 1 {
            return Err(Error::parameter(format!(
                "the weights have {rows} rows of {cols} columns, the data {n} of {d}; give a weight for every entry, or one column with a weight for every row"
            )));
        }
        let starts = (0..weights.blocks()).scan(0, |at, b| {
            *at += weights.rows(b);
            Some(*at)
        });
        Ok(Self { data, weights, starts: std::iter::once(0).chain(starts).collect() })
    }

    /// Weights of rows `from..to`, checked.
    fn span(&self, from: usize, to: usize) -> Result<Rows<'_>> {
        let first = self.starts.partition_point(|&s| s <= from) - 1;
        let mut spans = Vec::new();
        for b in first..self.weights.blocks() {
            let (start, end) = (self.starts[b], self.starts[b + 1]);
            if start >= to {
                break;
            }
            let x = self.weights.block(b)?;
            if (start, end) == (from, to) {
                return checked(x, from);
            }
            let rows: Vec<usize> = (from.max(start) - start..to.min(end) - start).collect();
            spans.push(x.pick(&rows));
        }
        checked(Rows::stack(self.weights.cols(), &spans), from)
    }
}

fn checked(x: Rows<'_>, first: usize) -> Result<Rows<'_>> {
    let values = x.values();
    match values.iter().position(|v| !(0.0..=LARGEST).contains(v)) {
        None => Ok(x),
        Some(at) => {
            let (row, column) = place(&x, at);
            Err(Error::data(format!(
                "the weight in row {}, column {column} is {} (both counted from 0); give numbers from 0 to {LARGEST:e}",
                first + row,
                values[at]
            )))
        }
    }
}

impl Source for Weighted<'_> {
    fn cols(&self) -> usize {
        self.data.cols()
    }
    fn blocks(&self) -> usize {
        self.data.blocks()
    }
    fn rows(&self, block: usize) -> usize {
        self.data.rows(block)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from: usize = (0..block).map(|b| self.data.rows(b)).sum();
        let x = self.data.block(block)?;
        let weights = self.span(from, from + x.rows())?;
        let d = x.cols();
        match (x, weights) {
            (Rows::Dense(mut x), weights) => {
                let of = if weights.cols() == 1 { Weights::Rows } else { Weights::Entries };
                x.weights = Some(of(match weights {
                    Rows::Dense(w) => w.data,
                    w @ Rows::Sparse(_) => w.to_mat().data.into(),
                }));
                Ok(Rows::Dense(x))
            }
            (Rows::Sparse(mut x), Rows::Sparse(w)) if w.cols == d => {
                let same = (0..x.rows()).find(|&i| x.row(i).0 != w.row(i).0);
                if let Some(i) = same {
                    return Err(Error::data(format!(
                        "the weights of row {} (counted from 0) are stored in other places than its entries; store a weight for every stored entry, and no other",
                        from + i
                    )));
                }
                x.weights = Some(Weights::Entries(w.values));
                Ok(Rows::Sparse(x))
            }
            (Rows::Sparse(mut x), w) if w.cols() == 1 => {
                x.weights = Some(Weights::Rows(w.to_mat().data.into()));
                Ok(Rows::Sparse(x))
            }
            (Rows::Sparse(_), _) => Err(Error::data(
                "sparse rows take sparse weights that are stored in the same places; give such, one column with a weight for every row, or dense rows",
            )),
        }
    }
    fn streams(&self) -> bool {
        self.data.streams() || self.weights.streams()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::{Csr, Mat};
    use crate::source::Memory;

    #[test]
    fn weights_follow_their_rows_whatever_the_cuts() {
        let x = Mat::new(5, 2, (0..10).map(|v| v as f32).collect()).expect("mat");
        let v = Mat::new(5, 2, (0..10).map(|v| v as f32 * 10.0).collect()).expect("mat");
        let each = Mat::new(5, 1, (0..5).map(|v| v as f32).collect()).expect("mat");
        for (of_x, of_v) in [(5, 5), (2, 3), (3, 1), (1, 5)] {
            let data = Memory::cut(x.view(), of_x);
            let (v, each) = (Memory::cut(v.view(), of_v), Memory::cut(each.view(), of_v));
            let (whole, rows) = (Weighted::new(&data, &v).expect("same"), Weighted::new(&data, &each).expect("one"));
            for b in 0..data.blocks() {
                let (x, y) = (whole.block(b).expect("block"), rows.block(b).expect("block"));
                let wanted: Vec<f32> = x.values().iter().map(|v| v * 10.0).collect();
                assert_eq!(x.entry_weights(), Some(wanted.as_slice()));
                let wanted: Vec<f32> = x.values().iter().step_by(2).map(|v| v / 2.0).collect();
                assert_eq!(y.row_weights(), Some(wanted.as_slice()));
            }
        }
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let x = Mat::zeros(3, 2);
        let said = |weights: &Mat| {
            let (data, weights) = (Memory::from(&x), Memory::from(weights));
            match Weighted::new(&data, &weights) {
                Ok(both) => both.block(0).expect_err("refused").to_string(),
                Err(e) => e.to_string(),
            }
        };
        assert!(said(&Mat::zeros(2, 2)).contains("2 rows of 2 columns, the data 3 of 2"));
        assert!(said(&Mat::zeros(3, 3)).contains("one column"));
        let bad = Mat::new(3, 2, vec![1.0, 1.0, 1.0, -1.0, 1.0, 1.0]).expect("mat");
        assert!(said(&bad).contains("row 1, column 1 is -1"));
        let (a, b) = (vec![0, 1, 1], vec![0, 1, 2]);
        let data = Csr::new(2, 3, a, vec![1], vec![2.0]).expect("csr");
        let weights = Csr::new(2, 3, b, vec![1, 2], vec![2.0, 3.0]).expect("csr");
        let (data, weights) = (Memory::from(&data), Memory::from(&weights));
        let both = Weighted::new(&data, &weights).expect("same shape");
        assert!(both.block(0).expect_err("places").to_string().contains("row 1"));
        // A weight for every row needs no places.
        let each = Mat::new(2, 1, vec![3.0, 4.0]).expect("mat");
        let each = Memory::from(&each);
        let both = Weighted::new(&data, &each).expect("one column");
        assert_eq!(both.block(0).expect("block").row_weights(), Some([3.0, 4.0].as_slice()));
    }
}
