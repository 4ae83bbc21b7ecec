//! Gemma Scope: `params.npz` (W_enc d×n, W_dec n×d, b_enc n, b_dec d, threshold n).
//!
//! Codes: z where z = x W_enc + b_enc is above its threshold and 0; b_dec is not taken off.

use super::tensors::Tensors;
use super::{drop_prefixes, same};
use crate::error::Result;
use crate::export;
use crate::sae::{SaeGate, SaeModel};
use crate::store::write_whole;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use zip::{CompressionMethod, ZipWriter};

pub(super) fn read(path: &Path) -> Result<SaeModel> {
    let tensors = Tensors::npz(path)?;
    // Later releases write the matrices small.
    let named = |large: &'static str, small: &'static str| if tensors.has(small) { small } else { large };
    let (encoder, decoder) = (named("W_enc", "w_enc"), named("W_dec", "w_dec"));
    tensors.only("Gemma Scope", &[encoder, decoder, "b_enc", "b_dec", "threshold", "scaling_factor"])?;
    let (d, n) = tensors.matrix(encoder)?;
    if tensors.has("scaling_factor") && tensors.vector("scaling_factor", n)?.iter().any(|v| (v - 1.0).abs() > 1e-5) {
        return Err(tensors.error("multiplies codes by a `scaling_factor`, of which it doesn't say how; save it without"));
    }
    Ok(SaeModel {
        encoder: tensors.turned(encoder, n, d)?,
        encoder_bias: tensors.vector("b_enc", n)?,
        atoms: tensors.mat(decoder, n, d)?,
        bias: tensors.vector("b_dec", d)?,
        subtracts: false,
        gate: SaeGate::Threshold(tensors.vector("threshold", n)?),
        layer_norm: false,
        prefixes: Vec::new(),
        density: Vec::new(),
    })
}

pub(super) fn write(path: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    drop_prefixes(model, notes);
    let (n, d) = (model.atoms.rows, model.atoms.cols);
    let threshold = match &model.gate {
        SaeGate::Threshold(theta) => theta.clone(),
        _ => vec![0.0; n],
    };
    let encoder = model.encoder.transpose();
    let arrays: [(&str, String, &[f32]); 5] = [
        ("W_enc", format!("({d}, {n})"), &encoder.data),
        ("W_dec", format!("({n}, {d})"), &model.atoms.data),
        ("b_enc", format!("({n},)"), &same::encoder_bias(model, false)),
        ("b_dec", format!("({d},)"), &model.bias),
        ("threshold", format!("({n},)"), &threshold),
    ];
    write_whole(path, |file| {
        let mut zip = ZipWriter::new(BufWriter::new(file));
        match pack(&mut zip, &arrays) {
            Ok(()) => zip.finish().map_err(io::Error::other)?.flush(),
            Err(e) => {
                // Dropped, it would try again to write, and print that it can't.
                std::mem::forget(zip);
                Err(e)
            }
        }
    })
}

fn pack<W: Write + io::Seek>(zip: &mut ZipWriter<W>, arrays: &[(&str, String, &[f32])]) -> io::Result<()> {
    for (name, shape, numbers) in arrays {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(numbers.len() >= (u32::MAX / 4) as usize - 1024);
        zip.start_file(format!("{name}.npy"), options).map_err(io::Error::other)?;
        zip.write_all(&export::npy_header("<f4", shape))?;
        export::put_f32(zip, numbers)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gates, random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    #[test]
    fn what_it_can_say_comes_back() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("params.npz");
        for gate in gates() {
            for subtracts in [true, false] {
                let model = SaeModel { subtracts, ..random(gate.clone()) };
                let done = write(&path, SaeFormat::GemmaScope, &model);
                if !matches!(gate, SaeGate::Relu | SaeGate::Threshold(_)) {
                    let said = done.expect_err("refused").to_string();
                    assert!(
                        said.contains("gemma-scope has no way to say") && said.contains("sparsify") != said.contains("gates"),
                        "{said}"
                    );
                    continue;
                }
                done.expect("written");
                for at in [path.as_path(), folder.path()] {
                    let back = read(at, &Read::default()).expect("read");
                    assert_eq!(back.format, SaeFormat::GemmaScope);
                    same_codes(&model, &back.model);
                }
            }
        }
    }
}
