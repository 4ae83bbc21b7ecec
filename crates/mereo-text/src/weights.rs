//! Named tensors of a safetensors file as f32.

use half::{bf16, f16};
use mereo::{Error, Mat, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

/// The tensors of a file, whose bytes are held.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    path: &'a Path,
    all: SafeTensors<'a>,
    /// What stands before each name.
    prefix: String,
}

/// The bytes of the weights of a folder.
pub(crate) fn load(folder: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let path = folder.join("model.safetensors");
    if !path.is_file() {
        let has = |name: &str| folder.join(name).is_file();
        return Err(Error::format(
            path,
            if has("model.safetensors.index.json") {
                "is in several parts, which isn't read; load the model in Python and save it with max_shard_size=\"100GB\""
            } else if has("pytorch_model.bin") {
                "is not there, only pytorch_model.bin, which can run programs and isn't read; load the model in Python and save it anew"
            } else {
                "is not there; copy the whole folder of the model"
            },
        ));
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    Ok((path, bytes))
}

impl<'a> Weights<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let all = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::format(path, format!("not a whole safetensors file ({e}); copy it again")))?;
        Ok(Self { path, all, prefix: String::new() })
    }

    /// Has names looked up behind whatever stands before this one, if one tensor ends so.
    pub fn after(mut self, known: &str) -> Self {
        let found = self.all.names().into_iter().find_map(|n| n.strip_suffix(known).filter(|p| p.is_empty() || p.ends_with('.')));
        self.prefix = found.unwrap_or_default().to_owned();
        self
    }

    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::format(self.path, message)
    }

    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.all.names().into_iter().collect();
        names.sort_unstable();
        names
    }

    pub fn has(&self, name: &str) -> bool {
        self.all.tensor(&format!("{}{name}", self.prefix)).is_ok()
    }

    fn find(&self, name: &str) -> Result<TensorView<'_>> {
        self.all.tensor(&format!("{}{name}", self.prefix)).map_err(|_| {
            let names = self.names();
            let some = names.iter().take(12).copied().collect::<Vec<_>>().join(", ");
            self.error(format!(
                "lacks the tensor {}{name}; it has {some}{}",
                self.prefix,
                if names.len() > 12 { ", …" } else { "" }
            ))
        })
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.find(name)?.shape().to_vec())
    }

    /// A matrix of whatever shape.
    pub fn mat(&self, name: &str) -> Result<Mat> {
        let t = self.find(name)?;
        match *t.shape() {
            [rows, cols] if rows > 0 && cols > 0 => Mat::new(rows, cols, self.numbers(name, &t)?),
            ref other => Err(self.error(format!("tensor {name} has the shape {other:?}, where a matrix is needed"))),
        }
    }

    /// The numbers of a tensor of this shape.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let t = self.find(name)?;
        if t.shape() != shape {
            return Err(self.error(format!(
                "tensor {name} has the shape {:?} where config.json asks for {shape:?}; they are not of one model",
                t.shape()
            )));
        }
        self.numbers(name, &t)
    }

    fn numbers(&self, name: &str, t: &TensorView) -> Result<Vec<f32>> {
        fn each<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|b| of(*b)).collect()
        }
        let b = t.data();
        let numbers = match t.dtype() {
            Dtype::F32 => each(b, f32::from_le_bytes),
            Dtype::F16 => each(b, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => each(b, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => each(b, |b| f64::from_le_bytes(b) as f32),
            other => return Err(self.error(format!("tensor {name} holds {other:?}; weights are floats: save it as float32"))),
        };
        if numbers.iter().any(|v| !v.is_finite()) {
            return Err(self.error(format!("tensor {name} holds NaN or infinity; copy the model again")));
        }
        Ok(numbers)
    }

    /// A vector of whole numbers from 0 on.
    pub fn indices(&self, name: &str) -> Result<Vec<usize>> {
        let t = self.find(name)?;
        let b = t.data();
        let numbers: Option<Vec<usize>> = match t.dtype() {
            Dtype::I64 => b.as_chunks().0.iter().map(|b| usize::try_from(i64::from_le_bytes(*b)).ok()).collect(),
            Dtype::I32 => b.as_chunks().0.iter().map(|b| usize::try_from(i32::from_le_bytes(*b)).ok()).collect(),
            other => return Err(self.error(format!("tensor {name} holds {other:?}, where whole numbers are needed"))),
        };
        numbers.ok_or_else(|| self.error(format!("tensor {name} holds numbers below 0; copy the model again")))
    }
}
