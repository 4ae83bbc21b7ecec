//! Named tensors of a file, each left where it lies until it is asked for, and decoded to f32 then.
//!
//! Nothing is allocated before the file is known to hold it, and only what a reader names is read.

use super::pickle;
use crate::error::{Error, Result};
use crate::mat::Mat;
use crate::source::input::Input;
use crate::source::number::{Form, Number};
use crate::source::{npz, safetensors, sparse};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// How many times as long as its file an npz may be when it is unpacked: weights are noise, and can't be packed.
const UNPACKED: u64 = 16;

/// The tensors of a file.
#[derive(Debug)]
pub(super) struct Tensors {
    input: Input,
    all: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Tensor {
    form: Form,
    shape: Vec<u64>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Row after row from this byte on.
    Row(u64),
    /// A part of a zip that may be packed.
    Member(npz::Member),
    /// A view of a part of a zip that isn't packed.
    View { part: Part, storage: u64, offset: u64, strides: Vec<u64> },
}

/// A part of a file, and the checksum of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

impl Tensors {
    /// The tensors of a safetensors file.
    pub(super) fn safetensors(path: &Path) -> Result<Self> {
        let input = Input::open(path)?;
        let (header, start) = safetensors::header(&input)?;
        let mut all = BTreeMap::new();
        for (name, info) in header.tensors() {
            let form = Form::little(safetensors::number(&input, &name, info.dtype)?);
            let shape = info.shape.iter().map(|n| *n as u64).collect();
            all.insert(name, Tensor { form, shape, place: Place::Row(start + info.data_offsets.0 as u64) });
        }
        Ok(Self { input, all })
    }

    /// The arrays of an npz file.
    pub(super) fn npz(path: &Path) -> Result<Self> {
        let input = Input::open(path)?;
        let members = npz::members(&input)?;
        let unpacked = members.iter().try_fold(0u64, |sum, m| sum.checked_add(m.size)).unwrap_or(u64::MAX);
        if unpacked / UNPACKED > input.len() {
            return Err(input.error(format!(
                "its arrays take {unpacked} bytes unpacked, more than {UNPACKED} times the {} of the file, which no weights do; save \
                 them with numpy.savez",
                input.len()
            )));
        }
        let mut all = BTreeMap::new();
        for member in members {
            let form = member.header.form(path)?;
            let shape = member.header.shape.clone();
            let bytes = shape.iter().try_fold(form.size() as u64, |n, axis| n.checked_mul(*axis));
            if bytes.and_then(|b| b.checked_add(member.header.length)) != Some(member.size) {
                return Err(input.error(format!(
                    "array `{}` claims the shape {shape:?}, its part of the file has {} bytes; the file is damaged: copy it again",
                    member.name, member.size
                )));
            }
            if member.header.fortran && shape.len() > 1 {
                return Err(
                    input.error(format!("array `{}` is stored by columns; save it as numpy.ascontiguousarray(x)", member.name))
                );
            }
            all.insert(member.name.clone(), Tensor { form, shape, place: Place::Member(member) });
        }
        Ok(Self { input, all })
    }

    /// An empty set, for the views of a zip.
    pub(super) fn views(input: Input) -> Self {
        Self { input, all: BTreeMap::new() }
    }

    /// Adds a view of a part of the file, in which numbers have their most significant byte first if `big`.
    pub(super) fn add(&mut self, name: &str, view: &pickle::Tensor, part: Part, big: bool) -> Result<()> {
        let form = Form { number: view.storage.number, big };
        if view.storage.len.checked_mul(form.size() as u64) != Some(part.bytes) {
            return Err(self.input.error(format!(
                "tensor `{name}` claims {} numbers, its part of the file has {} bytes; the file is damaged: copy it again",
                view.storage.len, part.bytes
            )));
        }
        let numbers = view.shape.iter().try_fold(1u64, |n, axis| n.checked_mul(*axis));
        let last = view
            .shape
            .iter()
            .zip(&view.strides)
            .try_fold(view.offset, |at, (n, stride)| at.checked_add(n.saturating_sub(1).checked_mul(*stride)?));
        // A view that repeats its numbers could claim any number of them.
        if !numbers.is_some_and(|n| n == 0 || n <= view.storage.len && last.is_some_and(|last| last < view.storage.len)) {
            return Err(self.input.error(format!(
                "tensor `{name}` of the shape {:?} is no part of its {} numbers; save it as x.clone()",
                view.shape, view.storage.len
            )));
        }
        let place = Place::View { part, storage: view.storage.len, offset: view.offset, strides: view.strides.clone() };
        self.all.insert(name.into(), Tensor { form, shape: view.shape.clone(), place });
        Ok(())
    }

    /// The file's name, for errors.
    pub(super) fn path(&self) -> &Path {
        self.input.path()
    }

    /// An error about the file.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        self.input.error(message)
    }

    /// Whether there is such a tensor.
    pub(super) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// An error that names a tensor that isn't among the known ones, since what it does would be lost.
    pub(super) fn only(&self, what: &str, known: &[&str]) -> Result<()> {
        let Some(name) = self.names().find(|name| !known.contains(name)) else { return Ok(()) };
        let why = match name {
            "W_skip" | "w_skip" | "affine_skip_connection" => "a path from input to output around the latents",
            "input_mean" => "a mean that is taken off by another rule than the bias of an autoencoder",
            _ => "which is no part of it that is known here",
        };
        Err(self.error(format!(
            "has the tensor `{name}` {:?}, {why}; {what} has {} alone",
            self.all[name].shape,
            known.join(", ")
        )))
    }

    fn find(&self, name: &str) -> Result<&Tensor> {
        self.all.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().take(20).collect();
            self.error(format!(
                "lacks the tensor `{name}`; it has {}",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            ))
        })
    }

    /// The shape of a tensor of two axes.
    pub(super) fn matrix(&self, name: &str) -> Result<(usize, usize)> {
        let t = self.find(name)?;
        match t.shape[..] {
            [rows, cols] if rows > 0 && cols > 0 => Ok((rows as usize, cols as usize)),
            _ => Err(self.error(format!("tensor `{name}` has the shape {:?}, where a matrix is needed", t.shape))),
        }
    }

    /// A matrix of this shape (rows × cols).
    pub(super) fn mat(&self, name: &str, rows: usize, cols: usize) -> Result<Mat> {
        Mat::new(rows, cols, self.take(name, &[rows, cols])?)
    }

    /// The transpose (rows × cols) of a matrix that is stored as cols × rows.
    pub(super) fn turned(&self, name: &str, rows: usize, cols: usize) -> Result<Mat> {
        Ok(self.mat(name, cols, rows)?.transpose())
    }

    /// A vector of `n` numbers.
    pub(super) fn vector(&self, name: &str, n: usize) -> Result<Vec<f32>> {
        self.take(name, &[n])
    }

    /// The one number of a tensor, whatever its axes.
    pub(super) fn scalar(&self, name: &str) -> Result<f32> {
        let shape = &self.find(name)?.shape;
        if shape.iter().any(|n| *n != 1) {
            return Err(self.error(format!("tensor `{name}` has the shape {shape:?}, where one number is needed")));
        }
        let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
        Ok(self.take(name, &shape)?[0])
    }

    /// The numbers of a tensor of this shape, row after row.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let t = self.find(name)?;
        if !t.shape.iter().copied().eq(shape.iter().map(|n| *n as u64)) {
            return Err(self.error(format!(
                "tensor `{name}` has the shape {:?} where the others ask for {shape:?}; they are not of one autoencoder",
                t.shape
            )));
        }
        if !matches!(t.form.number, Number::F16 | Number::Bf16 | Number::F32 | Number::F64) {
            return Err(self.error(format!(
                "tensor `{name}` holds {:?}; weights are 16, 32 or 64-bit floats: save it as float32",
                t.form.number
            )));
        }
        let numbers: usize = shape.iter().product();
        match &t.place {
            Place::View { storage, offset, strides, .. } => {
                let all = self.stored(name, t, *storage as usize, |from, n| sparse::values(self.path(), from, t.form, n))?;
                Ok(viewed(all, *offset as usize, shape, strides))
            }
            _ => self.stored(name, t, numbers, |from, n| sparse::values(self.path(), from, t.form, n)),
        }
    }

    /// The whole numbers of a tensor, none below zero.
    pub(super) fn counts(&self, name: &str) -> Result<Vec<usize>> {
        let t = self.find(name)?;
        let shape: Vec<usize> = t.shape.iter().map(|n| *n as usize).collect();
        let read = |n| self.stored(name, t, n, |from, n| sparse::counts(self.path(), from, t.form, n));
        let all = match &t.place {
            Place::View { storage, offset, strides, .. } => viewed(read(*storage as usize)?, *offset as usize, &shape, strides),
            _ => read(shape.iter().product())?,
        };
        Ok(all.into_iter().map(|v| v as usize).collect())
    }

    /// What `decode` makes of the `n` numbers at the place of a tensor.
    fn stored<T>(
        &self,
        name: &str,
        t: &Tensor,
        n: usize,
        decode: impl FnOnce(&mut dyn Read, usize) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let bytes = (n as u64).saturating_mul(t.form.size() as u64);
        match &t.place {
            Place::Row(at) => {
                self.input.holds(*at, bytes, &format!("tensor `{name}`"))?;
                decode(&mut self.input.section(*at, bytes), n)
            }
            Place::Member(member) => npz::unpacked(&self.input, member, |from| decode(from, n)),
            Place::View { part, .. } => {
                let mut from = flate2::CrcReader::new(self.input.section(part.at, part.bytes));
                let all = decode(&mut from, n)?;
                if from.crc().sum() != part.crc {
                    return Err(
                        self.error(format!("the checksum of tensor `{name}` differs; the file is damaged: copy it again"))
                    );
                }
                Ok(all)
            }
        }
    }
}

/// The numbers of a view, row after row.
fn viewed<T: Copy>(mut all: Vec<T>, offset: usize, shape: &[usize], strides: &[u64]) -> Vec<T> {
    let numbers: usize = shape.iter().product();
    if numbers == 0 {
        return Vec::new();
    }
    let plain = (0..shape.len()).all(|a| shape[a] == 1 || strides[a] == shape[a + 1..].iter().product::<usize>() as u64);
    if plain {
        all.truncate(offset + numbers);
        return if offset == 0 { all } else { all.split_off(offset) };
    }
    let mut out = Vec::with_capacity(numbers);
    let mut at = vec![0; shape.len()];
    for _ in 0..numbers {
        out.push(all[offset + at.iter().zip(strides).map(|(i, s)| i * *s as usize).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    out
}
