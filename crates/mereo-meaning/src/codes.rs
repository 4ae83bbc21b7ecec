//! Codes of a corpus, by row and by latent.

use mereo::{Csr, Error, Result};

/// Lists of (index, value), one after the other: the rows or the columns of a sparse matrix.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// Where each list starts in the other two; one number more than there are lists, the first is 0.
    pub starts: &'a [u64],
    /// What each entry belongs to, rising within a list.
    pub at: &'a [u32],
    /// The value of each entry.
    pub values: &'a [f32],
}

impl<'a> Lists<'a> {
    /// Number of lists.
    pub fn count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The entries of list `i`.
    ///
    /// # Panics
    /// There is no such list.
    pub fn get(&self, i: usize) -> (&'a [u32], &'a [f32]) {
        let (from, to) = (self.starts[i] as usize, self.starts[i + 1] as usize);
        (&self.at[from..to], &self.values[from..to])
    }

    /// Number of entries of list `i`.
    ///
    /// # Panics
    /// There is no such list.
    pub fn len(&self, i: usize) -> usize {
        (self.starts[i + 1] - self.starts[i]) as usize
    }

    /// Whether there is no list at all.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The value of entry `at` of list `i`, 0 if it is not stored.
    ///
    /// # Panics
    /// There is no such list.
    pub fn value(&self, i: usize, at: u32) -> f32 {
        let (places, values) = self.get(i);
        places.binary_search(&at).map_or(0.0, |p| values[p])
    }
}

/// Codes of n rows on k latents, both ways; only what is not 0 is stored.
#[derive(Debug, Clone, Copy)]
pub struct Both<'a> {
    /// The active latents of each row (n lists of latents).
    pub by_row: Lists<'a>,
    /// The rows on which each latent is active (k lists of rows).
    pub by_latent: Lists<'a>,
}

impl Both<'_> {
    /// Number of rows of the corpus.
    pub fn rows(&self) -> usize {
        self.by_row.count()
    }

    /// Number of latents.
    pub fn latents(&self) -> usize {
        self.by_latent.count()
    }

    /// Share of rows on which latent `j` is active.
    pub fn density(&self, j: usize) -> f64 {
        self.by_latent.len(j) as f64 / self.rows().max(1) as f64
    }
}

/// [`Both`] in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnedBoth {
    rows: Csr,
    latents: Csr,
}

impl OwnedBoth {
    /// Both ways of codes (n × k); stored zeros are left out.
    ///
    /// # Errors
    /// More than 2³² − 1 rows.
    pub fn new(codes: &Csr) -> Result<Self> {
        if u32::try_from(codes.rows).is_err() {
            return Err(Error::data(format!(
                "{} rows are more than an index can hold; cut them into corpora of 4 billion",
                codes.rows
            )));
        }
        let mut rows = Csr { rows: codes.rows, cols: codes.cols, indptr: vec![0], ..Csr::default() };
        let mut counts = vec![0u64; codes.cols + 1];
        for span in codes.indptr.windows(2) {
            for e in span[0] as usize..span[1] as usize {
                if codes.values[e] != 0.0 {
                    rows.indices.push(codes.indices[e]);
                    rows.values.push(codes.values[e]);
                    counts[codes.indices[e] as usize + 1] += 1;
                }
            }
            rows.indptr.push(rows.indices.len() as u64);
        }
        for j in 0..codes.cols {
            counts[j + 1] += counts[j];
        }
        let mut next = counts.clone();
        let (mut indices, mut values) = (vec![0u32; rows.indices.len()], vec![0f32; rows.indices.len()]);
        for (i, span) in rows.indptr.windows(2).enumerate() {
            for e in span[0] as usize..span[1] as usize {
                let place = &mut next[rows.indices[e] as usize];
                indices[*place as usize] = i as u32;
                values[*place as usize] = rows.values[e];
                *place += 1;
            }
        }
        let latents = Csr { rows: codes.cols, cols: codes.rows, indptr: counts, indices, values };
        Ok(Self { rows, latents })
    }

    /// The codes both ways.
    pub fn view(&self) -> Both<'_> {
        fn lists(m: &Csr) -> Lists<'_> {
            Lists { starts: &m.indptr, at: &m.indices, values: &m.values }
        }
        Both { by_row: lists(&self.rows), by_latent: lists(&self.latents) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_hold_the_same() {
        let m = Csr::new(3, 4, vec![0, 2, 2, 5], vec![3, 1, 0, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 0.0]).expect("csr");
        let both = OwnedBoth::new(&m).expect("both");
        let both = both.view();
        assert_eq!((both.rows(), both.latents()), (3, 4));
        assert_eq!(both.by_row.get(0), (&[1, 3][..], &[2.0, 1.0][..]));
        assert_eq!(both.by_row.get(1).0.len(), 0);
        assert_eq!(both.by_latent.get(1), (&[0, 2][..], &[2.0, 4.0][..]));
        assert_eq!(both.by_latent.get(2).0.len(), 0);
        // The stored zero is gone.
        assert_eq!((both.by_latent.len(3), both.by_latent.value(3, 0), both.by_row.value(2, 3)), (1, 1.0, 0.0));
        assert!((both.density(1) - 2.0 / 3.0).abs() < 1e-12);
    }
}
