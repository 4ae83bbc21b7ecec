//! Rows that hold nothing, or what is no number.

use super::Source;
use crate::error::Result;
use rayon::prelude::*;

/// Rows that a method learns nothing from or can't use, counted over all blocks from 0, in rising order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Odd {
    /// All of their numbers are 0.
    pub zero: Vec<usize>,
    /// One of their numbers, or more, is NaN or infinite.
    pub nonfinite: Vec<usize>,
}

impl Odd {
    /// Of all rows of a source, each read once.
    ///
    /// # Errors
    /// An unreadable block.
    pub fn of(source: &dyn Source) -> Result<Self> {
        let mut odd = Self::default();
        let mut first = 0;
        for block in 0..source.blocks() {
            let x = source.block(block)?;
            let kinds: Vec<(bool, bool)> = (0..x.rows())
                .into_par_iter()
                .with_min_len(64)
                .map(|i| {
                    let row = x.slice(i, i + 1);
                    let values = row.values();
                    (values.iter().all(|v| *v == 0.0), values.iter().any(|v| !v.is_finite()))
                })
                .collect();
            odd.zero.extend((first..).zip(&kinds).filter(|(_, kind)| kind.0).map(|(i, _)| i));
            odd.nonfinite.extend((first..).zip(&kinds).filter(|(_, kind)| kind.1).map(|(i, _)| i));
            first += x.rows();
        }
        Ok(odd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mat::Mat;
    use crate::source::Memory;
    use crate::tests::sparse;

    #[test]
    fn rows_of_nothing_and_of_no_numbers_are_told_by_where_they_stand() {
        let x = Mat::new(5, 2, vec![0.0, 0.0, 1.0, f32::NAN, 2.0, 0.0, -0.0, 0.0, 0.0, f32::INFINITY]).expect("mat");
        let want = Odd { zero: vec![0, 3], nonfinite: vec![1, 4] };
        for step in [1, 2, 5] {
            assert_eq!(Odd::of(&Memory::cut(x.view(), step)).expect("odd"), want);
            assert_eq!(Odd::of(&Memory::cut(sparse(&x).view(), step)).expect("odd"), want);
        }
    }
}
