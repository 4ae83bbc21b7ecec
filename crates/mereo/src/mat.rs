//! Rows in memory: dense [`Mat`], sparse [`Csr`], and [`Rows`], a borrowed or owned span of either.

use crate::error::{Error, Result};
use std::borrow::Cow;

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
    /// A sparse matrix from its three arrays, checked: lengths, order of `indptr`, columns in range.
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
        Ok(Self { rows, cols, indptr, indices, values })
    }

    /// All rows as a borrowed span.
    pub fn view(&self) -> Rows<'_> {
        Rows::Sparse(SparseRows {
            cols: self.cols,
            indptr: Cow::Borrowed(&self.indptr),
            indices: Cow::Borrowed(&self.indices),
            values: Cow::Borrowed(&self.values),
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
        let base = self.indptr[0];
        let span = (self.indptr[i] - base) as usize..(self.indptr[i + 1] - base) as usize;
        (&self.indices[span.clone()], &self.values[span])
    }
}

impl<'a> Rows<'a> {
    /// Dense rows of `cols` columns over borrowed numbers.
    pub fn dense(cols: usize, data: &'a [f32]) -> Self {
        Self::Dense(DenseRows { cols, data: Cow::Borrowed(data) })
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
            Self::Dense(x) => Rows::dense(x.cols, &x.data[from * x.cols..to * x.cols]),
            Self::Sparse(x) => {
                let base = x.indptr[0];
                let span = (x.indptr[from] - base) as usize..(x.indptr[to] - base) as usize;
                Rows::Sparse(SparseRows {
                    cols: x.cols,
                    indptr: Cow::Borrowed(&x.indptr[from..=to]),
                    indices: Cow::Borrowed(&x.indices[span.clone()]),
                    values: Cow::Borrowed(&x.values[span]),
                })
            }
        }
    }

    /// Rows 0, `step`, 2·`step`, …, copied.
    #[must_use]
    pub fn every(&self, step: usize) -> Rows<'static> {
        let picked = (0..self.rows()).step_by(step.max(1));
        match self {
            Self::Dense(x) => {
                let data: Vec<f32> = picked.flat_map(|i| x.row(i).iter().copied()).collect();
                Rows::Dense(DenseRows { cols: x.cols, data: data.into() })
            }
            Self::Sparse(x) => {
                let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
                for (columns, numbers) in picked.map(|i| x.row(i)) {
                    indices.extend_from_slice(columns);
                    values.extend_from_slice(numbers);
                    indptr.push(indices.len() as u64);
                }
                Rows::Sparse(SparseRows { cols: x.cols, indptr: indptr.into(), indices: indices.into(), values: values.into() })
            }
        }
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
