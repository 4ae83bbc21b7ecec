//! Rows of Python: arrays in place, paths, and objects that read blocks.

use crate::errors::raised;
use mereo::mat::{DenseRows, Rows, SparseRows};
use mereo::source::{self, Memory, Open, Source};
use mereo::{Error, Result};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Rows as they were given.
pub enum Table<'py> {
    /// f32, row after row.
    Dense(PyReadonlyArray2<'py, f32>),
    /// The three arrays of a CSR matrix, columns rising in every row, and the number of columns.
    Sparse(PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, u32>, PyReadonlyArray1<'py, f32>, usize),
    /// A file.
    File(Py<Opened>),
    /// An object of the Python package.
    Blocks(Blocks),
}

impl<'py> Table<'py> {
    /// An array of 2 dimensions, `(indptr, indices, data, columns)`, an opened file, or an object with `shape`, `step` and `read(start, stop)`.
    ///
    /// # Errors
    /// Anything else.
    pub fn of(data: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(x) = data.extract::<PyReadonlyArray2<f32>>() {
            return Ok(Self::Dense(x));
        }
        if let Ok((indptr, indices, values, cols)) = data.extract() {
            return Self::sparse(indptr, indices, values, cols);
        }
        if let Ok(file) = data.cast::<Opened>() {
            return Ok(Self::File(file.clone().unbind()));
        }
        if data.hasattr("read")? {
            let (rows, cols) = data.getattr("shape")?.extract()?;
            let step: usize = data.getattr("step")?.extract()?;
            let object = data.clone().unbind();
            return Ok(Self::Blocks(Blocks { object, rows, cols, step: step.max(1), failed: Mutex::new(None) }));
        }
        Err(PyTypeError::new_err(format!("rows of type {} can't be read", data.get_type().name()?)))
    }

    fn sparse(
        indptr: PyReadonlyArray1<'py, u64>,
        indices: PyReadonlyArray1<'py, u32>,
        values: PyReadonlyArray1<'py, f32>,
        cols: usize,
    ) -> PyResult<Self> {
        let (p, j, v) = (indptr.as_slice()?, indices.as_slice()?, values.as_slice()?);
        let whole = p.first() == Some(&0) && p.is_sorted() && p.last() == Some(&(j.len() as u64)) && j.len() == v.len();
        let rising = |row: &[u64]| {
            let row = &j[row[0] as usize..row[1] as usize];
            row.windows(2).all(|w| w[0] < w[1]) && row.last().is_none_or(|last| (*last as usize) < cols)
        };
        if !whole || !p.windows(2).all(rising) {
            return Err(raised(Error::data("a sparse matrix is damaged: its rows must have rising columns within its shape")));
        }
        Ok(Self::Sparse(indptr, indices, values, cols))
    }

    /// Lends the rows to work, which runs without the lock.
    ///
    /// # Errors
    /// What reading them raised in Python, before what the work says of it.
    pub fn with<T>(&self, work: impl FnOnce(&dyn Source) -> PyResult<T>) -> PyResult<T> {
        match self {
            Self::Dense(x) => {
                work(&Memory::new(Rows::Dense(DenseRows { cols: x.shape()[1], data: x.as_slice()?.into(), weights: None })))
            }
            Self::Sparse(indptr, indices, values, cols) => work(&Memory::new(Rows::Sparse(SparseRows {
                cols: *cols,
                indptr: indptr.as_slice()?.into(),
                indices: indices.as_slice()?.into(),
                values: values.as_slice()?.into(),
                weights: None,
            }))),
            Self::File(file) => work(&*file.get().opened.source),
            Self::Blocks(blocks) => {
                let done = work(blocks);
                match blocks.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(error) => Err(error),
                    None => done,
                }
            }
        }
    }
}

/// A file of rows.
#[pyclass(module = "mereo._core", frozen)]
pub struct Opened {
    opened: source::Opened,
}

#[pymethods]
impl Opened {
    /// Opens a file or a folder of images; `how` is JSON: header, column, variable, resize.
    ///
    /// # Errors
    /// `OSError` for a path that can't be read, `ValueError` for a file that is damaged or not of numbers.
    #[new]
    fn new(py: Python, path: PathBuf, how: &str, memory: Option<u64>) -> PyResult<Self> {
        let asked: How = serde_json::from_str(how).map_err(|e| raised(Error::parameter(e.to_string())))?;
        let How { header, column, variable, resize, missing } = asked;
        let how = Open { memory, header, column, variable, resize, missing };
        let opened = py.detach(|| source::open(&path, &how)).map_err(raised)?;
        Ok(Self { opened })
    }

    /// Rows and columns.
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (source::count(&*self.opened.source), self.opened.source.cols())
    }

    /// Names of the columns, if it has them.
    #[getter]
    fn columns(&self) -> Option<Vec<String>> {
        self.opened.columns.clone()
    }

    /// Height and width of the images that rows are, if it says so.
    #[getter]
    fn image(&self) -> Option<(usize, usize)> {
        self.opened.image
    }

    /// All rows as an array.
    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let all = py.detach(|| mereo::fold::collect(&*self.opened.source)).map_err(raised)?;
        all.data.into_pyarray(py).reshape([all.rows, all.cols])
    }
}

/// How to open a file, as Python says it.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct How {
    header: Option<bool>,
    column: Option<String>,
    variable: Option<String>,
    resize: Option<(usize, usize)>,
    missing: bool,
}

/// Rows that an object reads, block by block.
pub struct Blocks {
    object: Py<PyAny>,
    rows: usize,
    cols: usize,
    step: usize,
    failed: Mutex<Option<PyErr>>,
}

impl Source for Blocks {
    fn cols(&self) -> usize {
        self.cols
    }
    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.step)
    }
    fn rows(&self, block: usize) -> usize {
        self.step.min(self.rows - block * self.step)
    }
    fn block(&self, block: usize) -> Result<Rows<'_>> {
        let from = block * self.step;
        let to = from + self.rows(block);
        let read = Python::attach(|py| -> PyResult<Vec<f32>> {
            let rows = self.object.bind(py).call_method1("read", (from, to))?;
            let rows: PyReadonlyArray2<f32> = rows.extract()?;
            Ok(rows.as_slice()?.to_vec())
        });
        let data = read.and_then(|data| {
            let wanted = (to - from) * self.cols;
            if data.len() == wanted {
                return Ok(data);
            }
            Err(raised(Error::data(format!("rows {from} to {to} have {} numbers where {wanted} are needed", data.len()))))
        });
        match data {
            Ok(data) => Ok(Rows::Dense(DenseRows { cols: self.cols, data: data.into(), weights: None })),
            Err(error) => {
                let said = error.to_string();
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                Err(Error::data(said))
            }
        }
    }
    fn streams(&self) -> bool {
        true
    }
}

/// Rows, and the height and width of the images that they are.
type Pictures<'py> = (Bound<'py, PyArray2<f32>>, Option<(usize, usize)>);

/// Rows that come with mereo, by name, with the height and width of the images that they are.
///
/// # Errors
/// A name that is none of them.
#[pyfunction]
pub fn embedded<'py>(py: Python<'py>, name: &str) -> PyResult<Pictures<'py>> {
    let (x, _) = mereo::data::load(name).map_err(raised)?;
    let image = mereo::data::find(name).and_then(|set| set.image);
    Ok((x.data.into_pyarray(py).reshape([x.rows, x.cols])?, image))
}
