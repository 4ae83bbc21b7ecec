//! A fitted model, as Python holds it.

use crate::errors::raised;
use crate::gate;
use crate::table::Table;
use mereo::bundle::{About, Bundle};
use mereo::fold::Shape;
use mereo::formats::{self, SaeFormat};
use mereo::measure;
use mereo::model::Codes;
use mereo::prepare::{Pipeline, Prepared};
use mereo::source;
use mereo::store::{Bag, Numbers};
use mereo::{Csr, Error, Mat, Result, SaeModel};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// A fitted model with its preparation and its origin; never changed.
#[pyclass(module = "mereo._core", frozen, from_py_object)]
#[derive(Clone)]
pub struct Model {
    pub bundle: Arc<Bundle>,
}

impl Model {
    pub fn new(bundle: Bundle) -> Self {
        Self { bundle: Arc::new(bundle) }
    }

    /// Rows handed to `see` in pieces, codes or rows gathered.
    fn each<T: Send>(
        &self,
        (py, threads): (Python, usize),
        data: &Bound<PyAny>,
        mut see: impl FnMut(&mereo::Rows) -> Result<T> + Send,
    ) -> PyResult<Vec<T>> {
        let width = self.bundle.model.atoms().cols;
        Table::of(data)?.with(|rows| {
            let all = || -> Result<Vec<T>> {
                // The width is looked at first: data without rows has one, too.
                if rows.cols() != width {
                    mereo::model::check_width(&Mat::zeros(0, rows.cols()).view(), width)?;
                }
                let (mut first, missing) = (0, self.bundle.model.missing());
                let one = |b| {
                    let block = rows.block(b)?;
                    source::check_known(&block, first, Some(missing))?;
                    first += block.rows() as u64;
                    see(&block)
                };
                (0..rows.blocks()).map(one).collect()
            };
            gate::run(py, threads, all)?.map_err(raised)
        })
    }
}

/// f32 of n rows, without a copy.
fn array(py: Python<'_>, m: Mat) -> PyResult<Bound<'_, PyArray2<f32>>> {
    m.data.into_pyarray(py).reshape([m.rows, m.cols])
}

/// An array, or `(indptr, indices, data, shape)` of a CSR matrix.
fn codes(py: Python<'_>, parts: Vec<Codes>, k: usize) -> PyResult<Py<PyAny>> {
    if let [Codes::Dense(_)] | [] = parts[..] {
        let mat =
            parts.into_iter().next().map_or(Mat::zeros(0, k), |z| if let Codes::Dense(z) = z { z } else { Mat::zeros(0, k) });
        return Ok(array(py, mat)?.into_any().unbind());
    }
    if parts.iter().any(|z| matches!(z, Codes::Dense(_))) {
        let rows = parts.iter().map(Codes::rows).sum();
        let data = parts.into_iter().flat_map(|z| z.to_mat().data).collect();
        return Ok(array(py, Mat { rows, cols: k, data })?.into_any().unbind());
    }
    let mut all = Csr { cols: k, indptr: vec![0], ..Csr::default() };
    for part in parts {
        let Codes::Sparse(z) = part else { continue };
        let base = all.indices.len() as u64;
        all.rows += z.rows;
        all.indptr.extend(z.indptr[1..].iter().map(|p| p + base));
        all.indices.extend_from_slice(&z.indices);
        all.values.extend_from_slice(&z.values);
    }
    let Csr { rows, cols, indptr, indices, values } = all;
    // What scipy indexes by.
    let indptr: Vec<i64> = indptr.into_iter().map(u64::cast_signed).collect();
    let indices: Vec<i32> = indices.into_iter().map(u32::cast_signed).collect();
    let parts = (indptr.into_pyarray(py), indices.into_pyarray(py), values.into_pyarray(py), (rows, cols));
    Ok(parts.into_pyobject(py)?.into_any().unbind())
}

#[pymethods]
impl Model {
    /// `pca`, `vq`, `nmf`, `ae` or `sae`.
    #[getter]
    fn method(&self) -> &'static str {
        self.bundle.model.method()
    }

    /// The atoms (k × d), copied.
    #[getter]
    fn atoms<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        array(py, self.bundle.model.atoms().clone())
    }

    /// All that the model is made of: arrays, and the rest as JSON.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>, String)> {
        let mut bag = Bag::default();
        self.bundle.model.save(&mut bag);
        let arrays = PyDict::new(py);
        for (name, tensor) in bag.tensors {
            let shape = tensor.shape.clone();
            match tensor.data {
                Numbers::F32(v) => arrays.set_item(name, v.into_pyarray(py).reshape(shape)?)?,
                Numbers::F64(v) => arrays.set_item(name, v.into_pyarray(py).reshape(shape)?)?,
            }
        }
        Ok((arrays, json!(bag.meta).to_string()))
    }

    /// Where it comes from, as JSON.
    #[getter]
    fn about(&self) -> String {
        json!({ "about": self.bundle.about, "prep": self.bundle.pipeline.recipes() }).to_string()
    }

    /// Codes of rows (n × k): an array, or the parts of a CSR matrix. `k` is how many latents may be alive at most, where the model's own
    /// number is not wanted.
    #[pyo3(signature = (data, threads=0, k=None))]
    fn encode(&self, py: Python, data: &Bound<PyAny>, threads: usize, k: Option<usize>) -> PyResult<Py<PyAny>> {
        let bundle = &self.bundle;
        let parts = self.each((py, threads), data, |x| match k {
            None => bundle.encode(x),
            Some(k) => bundle.model.encode_at(&bundle.pipeline.apply(x)?.0, k)?.ok_or_else(|| {
                Error::parameter(format!(
                    "this model of {} doesn't choose latents by their number; leave k out",
                    bundle.model.method()
                ))
            }),
        })?;
        codes(py, parts, self.bundle.model.atoms().rows)
    }

    /// Rows rebuilt from codes (n × d), in the units of the data where the preparation can be undone without the rows.
    #[pyo3(signature = (data, threads=0))]
    fn decode<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>, threads: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (bundle, k) = (&self.bundle, self.bundle.model.atoms().rows);
        let parts = Table::of(data)?.with(|rows| {
            let all = || -> Result<Vec<Mat>> {
                (0..rows.blocks())
                    .map(|b| {
                        let z = match rows.block(b)? {
                            mereo::Rows::Dense(z) => Codes::Dense(Mat::new(z.rows(), z.cols, z.data.into_owned())?),
                            mereo::Rows::Sparse(z) => {
                                let (indptr, indices) = (z.indptr.to_vec(), z.indices.to_vec());
                                Codes::Sparse(Csr::new(z.rows(), z.cols, indptr, indices, z.values.to_vec())?)
                            }
                        };
                        let back = bundle.model.decode(&z)?;
                        let (_, undo) = bundle.pipeline.apply(&Mat::zeros(back.rows, back.cols).view())?;
                        if bundle.pipeline.affine().is_none() {
                            return Err(Error::data(
                                "the preparation of rows can't be undone without the rows; reconstruct them instead",
                            ));
                        }
                        bundle.pipeline.invert(back, &undo)
                    })
                    .collect()
            };
            if rows.cols() != k {
                return Err(raised(Error::data(format!("codes of {} columns don't fit a model of {k} atoms", rows.cols()))));
            }
            gate::run(py, threads, all)?.map_err(raised)
        })?;
        array(py, joined(parts, bundle.model.atoms().cols))
    }

    /// Rows rebuilt through the model (n × d), in their units.
    #[pyo3(signature = (data, threads=0))]
    fn reconstruct<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>, threads: usize) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let parts = self.each((py, threads), data, |x| self.bundle.reconstruct(x))?;
        array(py, joined(parts, self.bundle.model.atoms().cols))
    }

    /// Errors on rows and measures of atoms and codes, as JSON, in the units that the model was fitted in.
    #[pyo3(signature = (data, threads=0))]
    fn measures(&self, py: Python, data: &Bound<PyAny>, threads: usize) -> PyResult<String> {
        let bundle = &self.bundle;
        Table::of(data)?.with(|rows| {
            let all = || -> Result<serde_json::Value> {
                let model = bundle.model.as_ref();
                let prepared = Prepared::new(rows, &bundle.pipeline);
                let errors = measure::errors(model, &prepared)?;
                let latents = model.encoder().map(|_| measure::sparse(model, &prepared)).transpose()?;
                let sample = mereo::fold::draw(&prepared, mereo::compare::SAMPLE, 0)?;
                let codes = measure::codes(&model.encode(&sample)?);
                let pairs = model.encoder().is_some().then(|| (measure::encoder_decoder(model), measure::nearest(model.atoms())));
                let prefixes = measure::by_prefix(model, &sample)?;
                Ok(json!({
                    "errors": errors, "codes": codes, "latents": latents, "prefixes": prefixes,
                    "encoder_decoder": pairs.as_ref().and_then(|p| p.0.clone()), "nearest": pairs.map(|p| p.1),
                    "atoms": measure::atoms(model.atoms(), bundle.about.image),
                }))
            };
            Ok(gate::run(py, threads, all)?.map_err(raised)?.to_string())
        })
    }

    /// The error of every row: Σ(x − x̂)² in the units that the model was fitted in (n).
    #[pyo3(signature = (data, threads=0))]
    fn residuals(&self, py: Python, data: &Bound<PyAny>, threads: usize) -> PyResult<Vec<f64>> {
        let bundle = &self.bundle;
        let parts = self.each((py, threads), data, |x| {
            let (x, _) = bundle.pipeline.apply(x)?;
            let back = bundle.model.decode_like(&bundle.model.encode(&x)?, &x)?;
            let (x, d) = (x.to_mat(), back.cols.max(1));
            let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
            Ok(x.data.chunks(d).zip(back.data.chunks(d)).map(|(x, b)| x.iter().zip(b).map(square).sum()).collect::<Vec<f64>>())
        })?;
        Ok(parts.concat())
    }

    /// Writes the file that the command line reads, whole or not at all.
    fn save(&self, py: Python, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.bundle.save(&path)).map_err(raised)
    }

    /// The same as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &py.detach(|| self.bundle.to_bytes()).map_err(raised)?))
    }

    /// Reads such bytes.
    #[staticmethod]
    fn from_bytes(py: Python, bytes: &[u8]) -> PyResult<Self> {
        py.detach(|| Bundle::from_bytes(bytes, &PathBuf::from("bytes"))).map(Self::new).map_err(raised)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let read = py.get_type::<Self>().getattr("from_bytes")?;
        Ok((read, (self.to_bytes(py)?,)))
    }

    /// Writes the weights of a sparse autoencoder as another library's file, and gives notes on what was folded into them.
    fn write_sae(&self, py: Python, path: PathBuf, format: &str) -> PyResult<Vec<String>> {
        let format = named(format)?;
        let bundle = &self.bundle;
        let write = || -> Result<Vec<String>> {
            if bundle.model.method() != "sae" {
                return Err(Error::parameter(format!(
                    "this is a model of {}; what other libraries have is sparse autoencoders",
                    bundle.model.method()
                )));
            }
            let mut bag = Bag::default();
            bundle.model.save(&mut bag);
            formats::write(&path, format, &formats::unprepared(SaeModel::load(&bag)?, &bundle.pipeline)?)
        };
        py.detach(write).map_err(raised)
    }

    fn __repr__(&self) -> String {
        let atoms = self.bundle.model.atoms();
        format!("<mereo._core.Model: {} of {} atoms in {} columns>", self.bundle.model.method(), atoms.rows, atoms.cols)
    }
}

/// Rows under each other.
fn joined(parts: Vec<Mat>, cols: usize) -> Mat {
    let rows = parts.iter().map(|m| m.rows).sum();
    let mut parts = parts.into_iter();
    let mut data = parts.next().map_or_else(Vec::new, |m| m.data);
    parts.for_each(|m| data.extend_from_slice(&m.data));
    Mat { rows, cols, data }
}

/// Reads the file of a model that `save` or the command line wrote.
///
/// # Errors
/// `OSError` for a path that can't be read, `ValueError` for a file of another kind or one that is damaged.
#[pyfunction]
pub fn load(py: Python, path: PathBuf) -> PyResult<Model> {
    py.detach(|| Bundle::load(&path)).map(Model::new).map_err(raised)
}

/// Names of the formats of other libraries.
#[pyfunction]
pub fn sae_formats() -> Vec<&'static str> {
    SaeFormat::ALL.iter().map(|f| f.name()).collect()
}

fn named(format: &str) -> PyResult<SaeFormat> {
    format.parse().map_err(raised)
}

/// Reads a sparse autoencoder of another library: the model, its format, and notes. The format is told by what is there if it isn't named;
/// `k` is for files that don't say how many latents are alive.
///
/// # Errors
/// As of [`load`].
#[pyfunction]
#[pyo3(signature = (path, format=None, k=None))]
pub fn read_sae(py: Python, path: PathBuf, format: Option<&str>, k: Option<usize>) -> PyResult<(Model, String, Vec<String>)> {
    let format = format.map(named).transpose()?;
    let found = py.detach(|| formats::read(&path, &formats::Read { format, k })).map_err(raised)?;
    let cols = found.model.atoms.cols;
    let params = json!({ "k": found.model.atoms.rows, "from": found.format.name() });
    let about = About::unfitted(&format!("elsewhere ({})", found.format), Shape { rows: 0, cols }, params);
    let bundle = Bundle { pipeline: Pipeline::raw(cols), model: Box::new(found.model), about };
    Ok((Model::new(bundle), found.format.name().into(), found.notes))
}
