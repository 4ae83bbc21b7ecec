//! Types of number that files hold, turned into f32.

use half::{bf16, f16};

/// A type of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// How the bytes of a number are laid out in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// The type.
    pub(crate) number: Number,
    /// Most significant byte first.
    pub(crate) big: bool,
}

impl Form {
    /// Little-endian numbers.
    pub(crate) fn little(number: Number) -> Self {
        Self { number, big: false }
    }

    /// Bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self.number {
            Number::Bool | Number::U8 | Number::I8 => 1,
            Number::U16 | Number::I16 | Number::F16 | Number::Bf16 => 2,
            Number::U32 | Number::I32 | Number::F32 => 4,
            Number::U64 | Number::I64 | Number::F64 => 8,
        }
    }

    /// Whether the bytes in the file are those of an f32 in memory.
    pub(super) fn is_native(self) -> bool {
        self.number == Number::F32 && self.big == cfg!(target_endian = "big")
    }

    /// Fills `out` from as many numbers. An f64 beyond the range of f32 is an error: its index in `out`, and the number.
    pub(super) fn decode(self, bytes: &[u8], out: &mut [f32]) -> Result<(), (usize, f64)> {
        let big = self.big;
        match self.number {
            Number::Bool => fill(bytes, out, big, |[b]| f32::from(u8::from(b != 0))),
            Number::U8 => fill(bytes, out, big, |[b]| f32::from(b)),
            Number::I8 => fill(bytes, out, big, |b| f32::from(i8::from_le_bytes(b))),
            Number::U16 => fill(bytes, out, big, |b| f32::from(u16::from_le_bytes(b))),
            Number::I16 => fill(bytes, out, big, |b| f32::from(i16::from_le_bytes(b))),
            Number::U32 => fill(bytes, out, big, |b| u32::from_le_bytes(b) as f32),
            Number::I32 => fill(bytes, out, big, |b| i32::from_le_bytes(b) as f32),
            Number::U64 => fill(bytes, out, big, |b| u64::from_le_bytes(b) as f32),
            Number::I64 => fill(bytes, out, big, |b| i64::from_le_bytes(b) as f32),
            Number::F16 => fill(bytes, out, big, |b| f16::from_le_bytes(b).to_f32()),
            Number::Bf16 => fill(bytes, out, big, |b| bf16::from_le_bytes(b).to_f32()),
            Number::F32 => fill(bytes, out, big, f32::from_le_bytes),
            Number::F64 => {
                fill(bytes, out, big, |b| f64::from_le_bytes(b) as f32);
                return self.in_range(bytes, out);
            }
        }
        Ok(())
    }

    fn in_range(self, bytes: &[u8], out: &[f32]) -> Result<(), (usize, f64)> {
        if !out.iter().fold(false, |any, v| any | v.is_infinite()) {
            return Ok(());
        }
        for (i, (b, v)) in bytes.as_chunks::<8>().0.iter().zip(out).enumerate() {
            let exact = if self.big { f64::from_be_bytes(*b) } else { f64::from_le_bytes(*b) };
            if v.is_infinite() && exact.is_finite() {
                return Err((i, exact));
            }
        }
        Ok(())
    }

    /// Whole numbers, none below zero: indices and pointers. `None` for a negative one or a type with fractions.
    pub(super) fn counts(self, bytes: &[u8]) -> Option<Vec<u64>> {
        fn all<const N: usize>(bytes: &[u8], big: bool, value: impl Fn([u8; N]) -> Option<u64>) -> Option<Vec<u64>> {
            bytes.as_chunks::<N>().0.iter().map(|c| value(turned(*c, big))).collect()
        }
        let big = self.big;
        match self.number {
            Number::U8 => all(bytes, big, |[b]| Some(b.into())),
            Number::I8 => all(bytes, big, |b| i8::from_le_bytes(b).try_into().ok()),
            Number::U16 => all(bytes, big, |b| Some(u16::from_le_bytes(b).into())),
            Number::I16 => all(bytes, big, |b| i16::from_le_bytes(b).try_into().ok()),
            Number::U32 => all(bytes, big, |b| Some(u32::from_le_bytes(b).into())),
            Number::I32 => all(bytes, big, |b| i32::from_le_bytes(b).try_into().ok()),
            Number::U64 => all(bytes, big, |b| Some(u64::from_le_bytes(b))),
            Number::I64 => all(bytes, big, |b| i64::from_le_bytes(b).try_into().ok()),
            _ => None,
        }
    }
}

fn turned<const N: usize>(mut bytes: [u8; N], big: bool) -> [u8; N] {
    if big {
        bytes.reverse();
    }
    bytes
}

fn fill<const N: usize>(bytes: &[u8], out: &mut [f32], big: bool, value: impl Fn([u8; N]) -> f32) {
    for (o, b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *o = value(turned(*b, big));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_both_ways_round() {
        let check = |number, mut bytes: Vec<u8>, wanted: f32| {
            let mut out = [0.0];
            Form { number, big: false }.decode(&bytes, &mut out).expect("in range");
            assert_eq!(out[0], wanted, "{number:?}");
            assert_eq!(bytes.len(), Form::little(number).size());
            bytes.reverse();
            Form { number, big: true }.decode(&bytes, &mut out).expect("in range");
            assert_eq!(out[0], wanted, "{number:?}, big");
        };
        check(Number::Bool, vec![2], 1.0);
        check(Number::U8, vec![200], 200.0);
        check(Number::I8, vec![0xff], -1.0);
        check(Number::U16, 65535u16.to_le_bytes().into(), 65535.0);
        check(Number::I16, (-300i16).to_le_bytes().into(), -300.0);
        check(Number::U32, u32::MAX.to_le_bytes().into(), u32::MAX as f32);
        check(Number::I32, (-5i32).to_le_bytes().into(), -5.0);
        check(Number::U64, u64::MAX.to_le_bytes().into(), u64::MAX as f32);
        check(Number::I64, i64::MIN.to_le_bytes().into(), i64::MIN as f32);
        check(Number::F16, f16::from_f32(0.333).to_le_bytes().into(), f16::from_f32(0.333).to_f32());
        check(Number::Bf16, bf16::from_f32(0.333).to_le_bytes().into(), bf16::from_f32(0.333).to_f32());
        check(Number::F32, 0.1f32.to_le_bytes().into(), 0.1);
        check(Number::F64, 0.1f64.to_le_bytes().into(), 0.1);
    }

    #[test]
    fn only_a_finite_number_is_out_of_range() {
        let bytes: Vec<u8> = [1.0, f64::INFINITY, 1e300].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
        assert_eq!(Form::little(Number::F64).decode(&bytes, &mut [0.0; 3]), Err((2, 1e300)));
        assert_eq!(Form::little(Number::F64).decode(&bytes, &mut [0.0; 2]), Ok(()));
        assert_eq!(Form::little(Number::I32).counts(&[1, 0, 0, 0]), Some(vec![1]));
        assert_eq!(Form::little(Number::I32).counts(&[0xff; 4]), None);
    }
}
