//! Rows in memory: dense [`Mat`], sparse [`Csr`], and [`Rows`], a borrowed or owned span of either.

use crate::error::{Error, Result};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// A dense matrix of f32, row after row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mat {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// `rows * cols` numbers, row-major.
    pub data: Vec<f32>,
}

impl Mat {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// A matrix from row-major numbers; an error if their count is not `rows * cols`.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::data(format!("{} numbers can't fill {rows} rows of {cols} columns", data.len())));
        }
        Ok(Self { rows, cols, data })
    }

    /// Row `i`, `cols` numbers.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Row `i`, to be written.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// All rows as a borrowed span.
    pub fn view(&self) -> Rows<'_> {
        Rows::dense(self.cols, &self.data)
    }

    /// The transpose, copied.
    #[must_use]
    pub fn transpose(&self) -> Self {
        const TILE: usize = 32;
        let mut out = Self::zeros(self.cols, self.rows);
        for i0 in (0..self.rows).step_by(TILE) {
            for j0 in (0..self.cols).step_by(TILE) {
                for i in i0..(i0 + TILE).min(self.rows) {
                    for j in j0..(j0 + TILE).min(self.cols) {
                        out.data[j * self.rows + i] = self.data[i * self.cols + j];
                    }
                }
            }
        }
        out
    }
}

/// A sparse matrix in compressed rows, the layout of scipy's `csr_matrix`.
///
/// In every row columns rise and none is named twice: the methods count on it. [`Csr::new`] sees to it, as all readers do; a
/// matrix whose fields are filled in by hand needs [`Csr::canonical`] unless its rows are like that already.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Csr {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Where each row starts in `indices` and `values`; `rows + 1` numbers, the first is 0.
    pub indptr: Vec<u64>,
    /// The column of each stored entry.
    pub indices: Vec<u32>,
    /// The value of each stored entry.
    pub values: Vec<f32>,
}

impl Csr {
    /// A sparse matrix from its three arrays. Columns may come in any order; entries of one place add up, as scipy's do.
    ///
    /// # Errors
    /// Lengths that don't fit each other, row pointers that fall, a column out of range.
    pub fn new(rows: usize, cols: usize, indptr: Vec<u64>, indices: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        if indptr.len() != rows + 1 || indptr.first() != Some(&0) || indptr.windows(2).any(|w| w[0] > w[1]) {
            return Err(Error::data(format!(
                "the row pointers of a sparse matrix of {rows} rows must be {} rising numbers from 0",
                rows + 1
            )));
        }
        let stored = indptr[rows];
        if indices.len() as u64 != stored || values.len() as u64 != stored {
            return Err(Error::data(format!(
                "the row pointers claim {stored} entries, but there are {} columns and {} values",
                indices.len(),
                values.len()
            )));
        }
        if let Some(bad) = indices.iter().find(|&&j| j as usize >= cols) {
            return Err(Error::data(format!("a sparse entry names column {bad} of a matrix with {cols} columns")));
        }
        Ok(Self { rows, cols, indptr, indices, values }.canonical())
    }

    /// The same matrix with the entries of each row in the order of their columns, those of one place added up.
    #[must_use]
    pub fn canonical(self) -> Self {
        let rising = |row: &[u64]| self.indices[row[0] as usize..row[1] as usize].windows(2).all(|w| w[0] < w[1]);
        if self.indptr.windows(2).all(rising) {
            return self;
        }
        let Self { rows, cols, mut indptr, mut indices, mut values } = self;
        let mut kept = 0;
        let mut from = 0;
        let mut row: Vec<(u32, f32)> = Vec::new();
        for end in &mut indptr[1..] {
            let span = from..*end as usize;
            from = span.end;
            row.clear();
            row.extend(indices[span.clone()].iter().copied().zip(values[span].iter().copied()));
            row.sort_by_key(|e| e.0);
            let first = kept;
            for &(column, value) in &row {
                if kept > first && indices[kept - 1] == column {
                    values[kept - 1] += value;
                } else {
                    (indices[kept], values[kept]) = (column, value);
                    kept += 1;
                }
            }
            *end = kept as u64;
        }
        indices.truncate(kept);
        values.truncate(kept);
        Self { rows, cols, indptr, indices, values }
    }

    /// All rows as a borrowed span.
    pub fn view(&self) -> Rows<'_> {
        Rows::Sparse(SparseRows {
            cols: self.cols,
            indptr: Cow::Borrowed(&self.indptr),
            indices: Cow::Borrowed(&self.indices),
            values: Cow::Borrowed(&self.values),
            weights: None,
        })
    }
}

/// A span of rows, dense or sparse, borrowed from memory or read from a file.
#[derive(Debug, Clone)]
pub enum Rows<'a> {
    /// Dense rows.
    Dense(DenseRows<'a>),
    /// Sparse rows.
    Sparse(SparseRows<'a>),
}

/// Dense rows, row-major.
#[derive(Debug, Clone)]
pub struct DenseRows<'a> {
    /// Number of columns.
    pub cols: usize,
    /// A whole number of rows.
    pub data: Cow<'a, [f32]>,
    /// How much rows, or their numbers, count; all the same if `None`.
    pub weights: Option<Weights<'a>>,
}

/// Sparse rows: `indptr` counts from the start of the matrix that they were cut from.
#[derive(Debug, Clone)]
pub struct SparseRows<'a> {
    /// Number of columns.
    pub cols: usize,
    /// One more number than there are rows; entries of row i are `indptr[i] - indptr[0] .. indptr[i + 1] - indptr[0]`.
    pub indptr: Cow<'a, [u64]>,
    /// The column of each entry of these rows.
    pub indices: Cow<'a, [u32]>,
    /// The value of each entry of these rows.
    pub values: Cow<'a, [f32]>,
    /// How much rows, or their entries, count; all the same if `None`.
    pub weights: Option<Weights<'a>>,
}

/// How much rows, or their numbers, count: finite numbers of at least 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Weights<'a> {
    /// A number for each row.
    Rows(Cow<'a, [f32]>),
    /// A number for each of [`Rows::values`]; an entry of sparse rows that is not stored counts 1.
    Entries(Cow<'a, [f32]>),
}

impl Weights<'_> {
    /// Those of rows.
    pub fn rows(&self) -> Option<&[f32]> {
        if let Self::Rows(w) = self { Some(w) } else { None }
    }

    /// Those of entries.
    pub fn entries(&self) -> Option<&[f32]> {
        if let Self::Entries(w) = self { Some(w) } else { None }
    }

    /// The same, borrowed from nothing.
    #[must_use]
    pub fn into_owned(self) -> Weights<'static> {
        match self {
            Self::Rows(w) => Weights::Rows(w.into_owned().into()),
            Self::Entries(w) => Weights::Entries(w.into_owned().into()),
        }
    }

    /// Those of some rows in a run, whose values are in a run too.
    fn cut(&self, rows: Range<usize>, values: Range<usize>) -> Weights<'_> {
        match self {
            Self::Rows(w) => Weights::Rows(Cow::Borrowed(&w[rows])),
            Self::Entries(w) => Weights::Entries(Cow::Borrowed(&w[values])),
        }
    }
}

impl DenseRows<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.cols).unwrap_or(0)
    }
    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }
}

impl SparseRows<'_> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }
    /// Columns and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let span = self.span(i);
        (&self.indices[span.clone()], &self.values[span])
    }
    /// Other values in the same places.
    #[must_use]
    pub fn with(&self, values: Vec<f32>) -> SparseRows<'_> {
        let (indptr, indices) = (Cow::Borrowed(self.indptr.as_ref()), Cow::Borrowed(self.indices.as_ref()));
        SparseRows { cols: self.cols, indptr, indices, values: values.into(), weights: None }
    }
    /// Where the entries of row `i` are.
    pub fn span(&self, i: usize) -> Range<usize> {
        let base = self.indptr[0];
        (self.indptr[i] - base) as usize..(self.indptr[i + 1] - base) as usize
    }
}

impl<'a> Rows<'a> {
    /// Dense rows of `cols` columns over borrowed numbers.
    pub fn dense(cols: usize, data: &'a [f32]) -> Self {
        Self::Dense(DenseRows { cols, data: Cow::Borrowed(data), weights: None })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(x) => x.rows(),
            Self::Sparse(x) => x.rows(),
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Self::Dense(x) => x.cols,
            Self::Sparse(x) => x.cols,
        }
    }

    /// Rows `from..to`, borrowed from this span.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Rows<'_> {
        match self {
            Self::Dense(x) => {
                let span = from * x.cols..to * x.cols;
                let weights = x.weights.as_ref().map(|w| w.cut(from..to, span.clone()));
                Rows::Dense(DenseRows { cols: x.cols, data: Cow::Borrowed(&x.data[span]), weights })
            }
            Self::Sparse(x) => {
                let base = x.indptr[0];
                let span = (x.indptr[from] - base) as usize..(x.indptr[to] - base) as usize;
                Rows::Sparse(SparseRows {
                    cols: x.cols,
                    indptr: Cow::Borrowed(&x.indptr[from..=to]),
                    indices: Cow::Borrowed(&x.indices[span.clone()]),
                    values: Cow::Borrowed(&x.values[span.clone()]),
                    weights: x.weights.as_ref().map(|w| w.cut(from..to, span)),
                })
            }
        }
    }

    /// Rows 0, `step`, 2·`step`, …, copied.
    #[must_use]
    pub fn every(&self, step: usize) -> Rows<'static> {
        self.pick(&(0..self.rows()).step_by(step.max(1)).collect::<Vec<_>>())
    }

    /// The given rows, copied.
    #[must_use]
    pub fn pick(&self, rows: &[usize]) -> Rows<'static> {
        Self::gather(self.cols(), &[self], &rows.iter().map(|&i| (0, i)).collect::<Vec<_>>(), Vec::new())
    }

    /// Rows of several spans of `cols` columns in any order, copied: (span, row in it). Dense if none of the spans is sparse,
    /// weighted if all of them are, in one way; an entry that one does not store is 0 and counts 1. `spare` is room for the numbers.
    #[must_use]
    pub fn gather(cols: usize, spans: &[&Rows], rows: &[(usize, usize)], mut spare: Vec<f32>) -> Rows<'static> {
        const RUN: usize = 16;
        let of_rows = all(spans.iter().map(|x| x.row_weights()));
        let of_entries = all(spans.iter().map(|x| x.entry_weights()));
        let of_rows = of_rows.map(|w| Weights::Rows(rows.iter().map(|&(span, i)| w[span][i]).collect()));
        if spans.iter().all(|x| matches!(x, Rows::Dense(_))) {
            let copied = |to: &mut Vec<f32>, of: &[&[f32]]| {
                to.resize(rows.len() * cols, 0.0);
                to.par_chunks_mut(RUN * cols.max(1)).zip(rows.par_chunks(RUN)).for_each(|(to, rows)| {
                    for (to, &(span, i)) in to.chunks_exact_mut(cols.max(1)).zip(rows) {
                        to.copy_from_slice(&of[span][i * cols..(i + 1) * cols]);
                    }
                });
            };
            copied(&mut spare, &spans.iter().map(|x| x.values()).collect::<Vec<_>>());
            let of_entries = of_entries.map(|of| {
                let mut weights = Vec::new();
                copied(&mut weights, &of);
                Weights::Entries(weights.into())
            });
            return Rows::Dense(DenseRows { cols, data: spare.into(), weights: of_rows.or(of_entries) });
        }
        spare.clear();
        let (mut indptr, mut indices, mut values, mut weights) = (vec![0], Vec::new(), spare, Vec::new());
        for &(span, i) in rows {
            let entries = match spans[span] {
                Rows::Sparse(x) => {
                    indices.extend_from_slice(&x.indices[x.span(i)]);
                    x.span(i)
                }
                Rows::Dense(x) => {
                    indices.extend(0..x.cols as u32);
                    i * x.cols..(i + 1) * x.cols
                }
            };
            values.extend_from_slice(&spans[span].values()[entries.clone()]);
            if let Some(of) = &of_entries {
                weights.extend_from_slice(&of[span][entries]);
            }
            indptr.push(indices.len() as u64);
        }
        Rows::Sparse(SparseRows {
            cols,
            indptr: indptr.into(),
            indices: indices.into(),
            values: values.into(),
            weights: of_rows.or(of_entries.map(|_| Weights::Entries(weights.into()))),
        })
    }

    /// Spans of rows of `cols` columns under each other: dense if none of them is sparse, weighted if all of them are, in one way.
    #[must_use]
    pub fn stack(cols: usize, spans: &[Rows]) -> Rows<'static> {
        let weights = || {
            let rows = all(spans.iter().map(Rows::row_weights)).map(|w| Weights::Rows(w.concat().into()));
            rows.or_else(|| all(spans.iter().map(Rows::entry_weights)).map(|w| Weights::Entries(w.concat().into())))
        };
        if spans.iter().all(|x| matches!(x, Rows::Dense(_))) {
            let data: Vec<&[f32]> = spans.iter().map(Rows::values).collect();
            return Rows::Dense(DenseRows { cols, data: data.concat().into(), weights: weights() });
        }
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for x in spans {
            let Rows::Sparse(x) = x else { continue };
            indices.extend_from_slice(&x.indices);
            values.extend_from_slice(&x.values);
            let before = indptr[indptr.len() - 1];
            indptr.extend(x.indptr[1..].iter().map(|p| before + p - x.indptr[0]));
        }
        Rows::Sparse(SparseRows {
            cols,
            indptr: indptr.into(),
            indices: indices.into(),
            values: values.into(),
            weights: weights(),
        })
    }

    /// How much rows, or their numbers, count; all the same if `None`.
    pub fn weights(&self) -> Option<&Weights<'_>> {
        match self {
            Self::Dense(x) => x.weights.as_ref(),
            Self::Sparse(x) => x.weights.as_ref(),
        }
    }

    /// How much each row counts, if that is said by row.
    pub fn row_weights(&self) -> Option<&[f32]> {
        self.weights().and_then(Weights::rows)
    }

    /// How much each of [`Rows::values`] counts, if that is said by entry.
    pub fn entry_weights(&self) -> Option<&[f32]> {
        self.weights().and_then(Weights::entries)
    }

    /// The rows as a sparse matrix of the numbers other than 0, copied.
    pub fn to_csr(&self) -> Csr {
        let mut out = Csr { rows: self.rows(), cols: self.cols(), indptr: vec![0], ..Csr::default() };
        for i in 0..self.rows() {
            let mut put = |j: u32, v: f32| {
                if v != 0.0 {
                    out.indices.push(j);
                    out.values.push(v);
                }
            };
            match self {
                Self::Dense(x) => x.row(i).iter().enumerate().for_each(|(j, &v)| put(j as u32, v)),
                Self::Sparse(x) => x.row(i).0.iter().zip(x.row(i).1).for_each(|(&j, &v)| put(j, v)),
            }
            out.indptr.push(out.indices.len() as u64);
        }
        out
    }

    /// The stored numbers: all of a dense span, the entries of a sparse one.
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Dense(x) => &x.data,
            Self::Sparse(x) => &x.values,
        }
    }

    /// The rows as a dense matrix (rows × cols), copied.
    pub fn to_mat(&self) -> Mat {
        match self {
            Self::Dense(x) => Mat { rows: x.rows(), cols: x.cols, data: x.data.to_vec() },
            Self::Sparse(x) => {
                let mut out = Mat::zeros(x.rows(), x.cols);
                for i in 0..out.rows {
                    let (columns, values) = x.row(i);
                    let row = out.row_mut(i);
                    for (&j, &v) in columns.iter().zip(values) {
                        row[j as usize] += v;
                    }
                }
                out
            }
        }
    }
}

/// All of several, if there are any and none is missing.
fn all<'w>(of: impl Iterator<Item = Option<&'w [f32]>>) -> Option<Vec<&'w [f32]>> {
    of.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_place_add_up() {
        let m = Csr::new(3, 4, vec![0, 4, 4, 6], vec![3, 1, 3, 0, 2, 0], vec![1.0, 2.0, 4.0, 8.0, 16.0, 0.5]).expect("csr");
        let wanted = Csr {
            rows: 3,
            cols: 4,
            indptr: vec![0, 3, 3, 5],
            indices: vec![0, 1, 3, 0, 2],
            values: vec![8.0, 2.0, 5.0, 0.5, 16.0],
        };
        assert_eq!(m, wanted);
        assert_eq!(wanted.clone().canonical(), wanted);
        assert_eq!(Csr::default().canonical(), Csr::default());
    }

    #[test]
    fn rows_of_several_spans_come_in_any_order() {
        let dense = Mat { rows: 2, cols: 3, data: vec![1.0, 0.0, 2.0, 3.0, 4.0, 0.0] };
        let sparse = Csr::new(2, 3, vec![0, 1, 3], vec![2, 0, 1], vec![5.0, 6.0, 7.0]).expect("csr");
        let order = [(1, 1), (0, 0), (1, 0), (0, 1), (1, 1)];
        let all: [&[f32]; 5] = [&[6.0, 7.0, 0.0], &[1.0, 0.0, 2.0], &[0.0, 0.0, 5.0], &[3.0, 4.0, 0.0], &[6.0, 7.0, 0.0]];
        let (a, b) = (dense.view(), sparse.view());
        let spans = [&a, &b];
        assert_eq!(Rows::gather(3, &spans, &order, vec![9.0]).to_mat().data, all.concat());
        let full = sparse.view().to_mat();
        let b = full.view();
        let spans = [&a, &b];
        assert!(matches!(Rows::gather(3, &spans, &order, vec![9.0]), Rows::Dense(x) if x.data == all.concat()));
        // A slice counts its entries from where it was cut.
        assert_eq!(sparse.view().slice(1, 2).pick(&[0, 0]).to_mat().data, [6.0, 7.0, 0.0, 6.0, 7.0, 0.0]);
        assert_eq!(Rows::gather(3, &[], &[], Vec::new()).rows(), 0);
    }

    #[test]
    fn weights_follow_their_rows() {
        let m = Mat { rows: 3, cols: 2, data: vec![1.0, 0.0, 2.0, 3.0, 0.0, 0.0] };
        let csr = m.view().to_csr();
        for (mut x, from) in [(m.view(), 2), (csr.view(), 1)] {
            let count = x.values().len();
            let ways = [
                Weights::Rows(vec![5.0, 6.0, 7.0].into()),
                Weights::Entries((0..count).map(|v| v as f32).collect::<Vec<_>>().into()),
            ];
            for weights in ways {
                match &mut x {
                    Rows::Dense(x) => x.weights = Some(weights.clone()),
                    Rows::Sparse(x) => x.weights = Some(weights.clone()),
                }
                let tail = x.slice(1, 3);
                let picked = x.pick(&[2, 1]);
                let both = Rows::stack(2, &[tail.slice(0, 1), picked.slice(0, 1)]);
                for rows in [&tail, &both] {
                    match &weights {
                        Weights::Rows(_) => assert_eq!(rows.row_weights(), Some([6.0, 7.0].as_slice())),
                        Weights::Entries(all) => assert_eq!(rows.entry_weights(), Some(&all[from..])),
                    }
                }
                // Weights of some rows alone are none.
                assert!(Rows::stack(2, &[tail, m.view()]).weights().is_none());
            }
        }
    }
}
