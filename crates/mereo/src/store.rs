//! One file format for models and checkpoints: safetensors, with all that is not a tensor as JSON in its header.
//!
//! Files are written beside their name and renamed, so a kill, a full disk or a crash leaves the old file whole.

use crate::error::{Error, Result};
use crate::mat::Mat;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// The key of the header's JSON.
const KEY: &str = "mereo";
/// Raised when a file of today can't be read by the code of yesterday.
const VERSION: u64 = 1;

/// Named tensors and named values: what a model or a state of a fit is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bag {
    /// All that is not a tensor.
    pub meta: Map<String, Value>,
    /// The tensors, by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Numbers with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each axis, slowest first.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: Numbers,
}

/// The two types of number that are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
}

impl Bag {
    /// Stores a matrix.
    pub fn put_mat(&mut self, name: &str, m: &Mat) {
        self.tensors.insert(name.into(), Tensor { shape: vec![m.rows, m.cols], data: Numbers::F32(m.data.clone()) });
    }
    /// Stores a vector of f32.
    pub fn put_f32(&mut self, name: &str, v: &[f32]) {
        self.tensors.insert(name.into(), Tensor { shape: vec![v.len()], data: Numbers::F32(v.to_vec()) });
    }
    /// Stores a vector of f64.
    pub fn put_f64(&mut self, name: &str, v: &[f64]) {
        self.tensors.insert(name.into(), Tensor { shape: vec![v.len()], data: Numbers::F64(v.to_vec()) });
    }
    /// Stores a value that JSON can say; a number that JSON can't (NaN, infinity) is stored as null.
    pub fn put(&mut self, name: &str, value: impl serde::Serialize) {
        self.meta.insert(name.into(), serde_json::to_value(value).unwrap_or(Value::Null));
    }
    /// A stored matrix.
    pub fn mat(&self, name: &str) -> Result<Mat> {
        match self.tensors.get(name) {
            Some(Tensor { shape, data: Numbers::F32(v) }) if shape.len() == 2 => Mat::new(shape[0], shape[1], v.clone()),
            _ => Err(missing(name, "matrix of f32")),
        }
    }
    /// A stored vector of f32.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        match self.tensors.get(name) {
            Some(Tensor { data: Numbers::F32(v), .. }) => Ok(v.clone()),
            _ => Err(missing(name, "vector of f32")),
        }
    }
    /// A stored vector of f64.
    pub fn f64(&self, name: &str) -> Result<Vec<f64>> {
        match self.tensors.get(name) {
            Some(Tensor { data: Numbers::F64(v), .. }) => Ok(v.clone()),
            _ => Err(missing(name, "vector of f64")),
        }
    }
    /// A stored value.
    pub fn get<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.meta.get(name).ok_or_else(|| missing(name, "value"))?;
        serde_json::from_value(value.clone()).map_err(|e| Error::data(format!("the stored `{name}` can't be read: {e}")))
    }
    /// Puts another bag into this one under a name.
    pub fn nest(&mut self, name: &str, inner: Bag) {
        self.meta.insert(name.into(), Value::Object(inner.meta));
        for (key, tensor) in inner.tensors {
            self.tensors.insert(format!("{name}/{key}"), tensor);
        }
    }
    /// A copy of the bag that was nested under a name; an error if there is none.
    pub fn nested(&self, name: &str) -> Result<Bag> {
        let Some(Value::Object(meta)) = self.meta.get(name) else { return Err(missing(name, "part")) };
        let prefix = format!("{name}/");
        let tensors =
            self.tensors.iter().filter_map(|(key, t)| Some((key.strip_prefix(&prefix)?.to_string(), t.clone()))).collect();
        Ok(Bag { meta: meta.clone(), tensors })
    }

    /// The bag as the bytes of a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, t) in &self.tensors {
            let (dtype, bytes): (_, &[u8]) = match &t.data {
                Numbers::F32(v) => (Dtype::F32, bytemuck::cast_slice(v)),
                Numbers::F64(v) => (Dtype::F64, bytemuck::cast_slice(v)),
            };
            let view = TensorView::new(dtype, t.shape.clone(), bytes)
                .map_err(|e| Error::data(format!("tensor `{name}` can't be written: {e}")))?;
            views.push((name.clone(), view));
        }
        let json = serde_json::json!({ "version": VERSION, "meta": self.meta }).to_string();
        let header = HashMap::from([(KEY.to_string(), json)]);
        safetensors::serialize(views, Some(header)).map_err(|e| Error::data(format!("the model can't be written: {e}")))
    }

    /// The bag in the bytes of a file; `path` is only named in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let broken = |e: &dyn std::fmt::Display| {
            Error::format(path, format!("not a whole mereo model file ({e}); it may be cut short or of another kind"))
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(&e))?;
        let json =
            header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| {
                Error::format(path, "a safetensors file, but not a model of mereo; `mereo info` reads it as data")
            })?;
        let value: Value = serde_json::from_str(json).map_err(|e| broken(&e))?;
        let version = value.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version != VERSION {
            return Err(Error::format(
                path,
                format!("written in format {version}, this mereo reads format {VERSION}; use the version that wrote it"),
            ));
        }
        let Some(Value::Object(meta)) = value.get("meta") else { return Err(broken(&"no `meta` in its header")) };
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(|e| broken(&e))?.iter() {
            let data = match view.dtype() {
                Dtype::F32 => Numbers::F32(numbers(view.data(), f32::from_le_bytes)),
                Dtype::F64 => Numbers::F64(numbers(view.data(), f64::from_le_bytes)),
                other => return Err(broken(&format!("tensor `{name}` has type {other:?}"))),
            };
            tensors.insert(name.to_string(), Tensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self { meta: meta.clone(), tensors })
    }

    /// Writes the bag to a file: whole, or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        write_whole(path, |file| file.write_all(&bytes))
    }

    /// Reads a bag from a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        if bytes.is_empty() {
            return Err(Error::format(path, "the file is empty; write or copy it again"));
        }
        Self::from_bytes(&bytes, path)
    }
}

/// Writes a file beside its name and renames it into place, so that `path` is never half written.
/// A device or a pipe (`/dev/stdout`) is written directly.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let err = |e| Error::io(path, e);
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let mut file = File::options().write(true).open(path).map_err(err)?;
        return write(&mut file).and_then(|()| file.flush()).map_err(err);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mereo-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(err)?;
    write(file.as_file_mut()).and_then(|()| file.as_file().sync_all()).map_err(err)?;
    file.persist(path).map_err(|e| err(e.error))?;
    Ok(())
}

fn numbers<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|c| from(*c)).collect()
}

fn missing(name: &str, what: &str) -> Error {
    Error::data(format!("the file has no {what} `{name}`; it is damaged or of another method"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bag {
        let mut inner = Bag::default();
        inner.put_f64("v", &[1.0, f64::MIN_POSITIVE]);
        inner.put("x", 0.1 + 0.2);
        let mut bag = Bag::default();
        bag.put_mat("m", &Mat { rows: 2, cols: 2, data: vec![1.0, -2.5, f32::MAX, 0.0] });
        bag.put("name", "nmf");
        bag.nest("state", inner);
        bag
    }

    #[test]
    fn round_trip_and_nesting() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.mereo");
        sample().write(&path).expect("write");
        let back = Bag::read(&path).expect("read");
        assert_eq!(back, sample());
        let inner = back.nested("state").expect("nested");
        assert_eq!(inner.get::<f64>("x").expect("x"), 0.1 + 0.2);
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 1, "no part file is left");
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = sample().to_bytes().expect("bytes");
        for cut in 0..bytes.len() {
            assert!(Bag::from_bytes(&bytes[..cut], Path::new("cut")).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.mereo");
        sample().write(&path).expect("write");
        let failed = write_whole(&path, |f| {
            f.write_all(b"half")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        assert!(failed.is_err());
        assert_eq!(Bag::read(&path).expect("old file"), sample());
        assert_eq!(std::fs::read_dir(folder.path()).expect("dir").count(), 1);
    }
}
