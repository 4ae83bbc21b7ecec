//! `.safetensors`: named tensors behind a JSON header; the one tensor that is wanted is read at its place.

use super::budget::Budget;
use super::dense::{self, Array, Order};
use super::input::Input;
use super::number::{Form, Number};
use super::open::{Open, Opened, pick};
use crate::error::Result;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

/// The longest header that the format allows.
const LONGEST: u64 = 100_000_000;

/// Opens a file whose name ends in `.safetensors`.
pub(super) fn open(input: Input, how: &Open) -> Result<Opened> {
    let (header, start) = header(&input)?;
    let all: Vec<(String, &TensorInfo)> =
        header.offset_keys().into_iter().filter_map(|k| Some((k.clone(), header.info(&k)?))).collect();
    let matrices: Vec<usize> = (0..all.len()).filter(|&i| all[i].1.shape.len() == 2).collect();
    let shown: Vec<(&str, String)> =
        all.iter().map(|(name, t)| (name.as_str(), format!("{:?} {:?}", t.dtype, t.shape))).collect();
    let sole = if matrices.len() == 1 { Some(matrices[0]) } else { None };
    let (name, info) = &all[pick(&input, "tensor", &shown, how.variable.as_deref(), sole)?];
    let number = number(&input, name, info.dtype)?;
    let shape: Vec<u64> = info.shape.iter().map(|&n| n as u64).collect();
    let offset = start + info.data_offsets.0 as u64;
    let array =
        Array::new(Form::little(number), offset, &shape, Order::Rows).map_err(|e| input.error(format!("tensor `{name}` {e}")))?;
    let image = array.image;
    Ok(Opened { source: dense::open(input, array, Budget::new(how.memory))?, image, columns: None, kind: "safetensors" })
}

/// What the file holds, and where its tensors begin. Offsets lie within the file, and no two tensors share bytes.
pub(crate) fn header(input: &Input) -> Result<(Metadata, u64)> {
    let broken = |what: &str| input.error(format!("not a whole safetensors file ({what}); copy or write it again"));
    let n = input.bytes(0, 8)?.try_into().map_or(u64::MAX, u64::from_le_bytes);
    if n > LONGEST || n > input.len() - 8 {
        return Err(broken(&format!("its header claims {n} bytes of {}", input.len())));
    }
    let header: Metadata = serde_json::from_slice(&input.bytes(8, n)?).map_err(|e| broken(&e.to_string()))?;
    if header.data_len() as u64 != input.len() - 8 - n {
        return Err(broken(&format!("its tensors take {} bytes, {} are there", header.data_len(), input.len() - 8 - n)));
    }
    Ok((header, 8 + n))
}

/// The type of the numbers of a tensor.
pub(crate) fn number(input: &Input, name: &str, dtype: Dtype) -> Result<Number> {
    Ok(match dtype {
        Dtype::BOOL => Number::Bool,
        Dtype::U8 => Number::U8,
        Dtype::I8 => Number::I8,
        Dtype::U16 => Number::U16,
        Dtype::I16 => Number::I16,
        Dtype::U32 => Number::U32,
        Dtype::I32 => Number::I32,
        Dtype::U64 => Number::U64,
        Dtype::I64 => Number::I64,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::F32 => Number::F32,
        Dtype::F64 => Number::F64,
        other => return Err(input.error(format!("tensor `{name}` has the type {other:?}; save it as F32"))),
    })
}
