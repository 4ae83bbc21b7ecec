//! How a given start is serialised: as a fingerprint, enough to tell two starts apart when a fit is resumed. Rows of numbers can be
//! read, so that a start can come from JSON or Python.

use crate::mat::Mat;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

#[allow(clippy::ref_option)] // serde's signature
pub(crate) fn serialize<S: Serializer>(given: &Option<Mat>, to: S) -> Result<S::Ok, S::Error> {
    match given {
        Some(m) => to.serialize_some(&fingerprint(m)),
        None => to.serialize_none(),
    }
}

/// FNV-1a over the bits of all numbers, after the shape.
fn fingerprint(m: &Mat) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for v in &m.data {
        hash = (hash ^ u64::from(v.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{}x{}:{hash:016x}", m.rows, m.cols)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Mat>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Rows(Vec<Vec<f32>>),
        Fingerprint(#[allow(dead_code)] String),
    }
    match Option::<Given>::deserialize(from)? {
        // A fingerprint names a start that is not at hand; a fit will ask for it.
        None | Some(Given::Fingerprint(_)) => Ok(None),
        Some(Given::Rows(rows)) => {
            let cols = rows.first().map_or(0, Vec::len);
            if rows.iter().any(|r| r.len() != cols) {
                return Err(D::Error::custom("the rows of `given` differ in length"));
            }
            Ok(Some(Mat { rows: rows.len(), cols, data: rows.concat() }))
        }
    }
}
