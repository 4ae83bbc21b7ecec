//! sparsify: `cfg.json` and `sae.safetensors` (encoder.weight n×d, encoder.bias n, W_dec n×d, b_dec d).
//!
//! Codes: the k largest, or the largest of each of k groups, of relu((x − b_dec) encoderᵀ + encoder.bias).

use super::tensors::Tensors;
use super::{as_top_k, count, drop_prefixes, flag, object, same, write_json, write_safetensors};
use crate::error::{Error, Result};
use crate::sae::{SaeGate, SaeModel};
use serde_json::{Value, json};
use std::path::Path;

const CONFIG: &str = "cfg.json";
const WEIGHTS: &str = "sae.safetensors";

pub(super) fn read(folder: &Path) -> Result<SaeModel> {
    let path = folder.join(CONFIG);
    let config = object(&path)?;
    for (name, why) in [
        ("transcode", "it rebuilds other activations than it encodes"),
        ("skip_connection", "its input also goes to its output around the latents"),
    ] {
        if flag(&path, &config, name, false)? {
            return Err(Error::format(&path, format!("is a coder with `{name}`, which can't be read: {why}")));
        }
    }
    let tensors = Tensors::safetensors(&folder.join(WEIGHTS))?;
    tensors.only("a sparse coder", &["encoder.weight", "encoder.bias", "W_dec", "b_dec"])?;
    let (n, d) = tensors.matrix("encoder.weight")?;
    if count(&path, &config, "d_in")? != d {
        return Err(Error::format(
            &path,
            format!("says d_in {}, but encoder.weight is {n}×{d}; the two files are not of one autoencoder", config["d_in"]),
        ));
    }
    let k = count(&path, &config, "k")?;
    let gate = match config.get("activation").map(|v| v.as_str().unwrap_or("")) {
        None | Some("topk") => SaeGate::TopK { k },
        Some("groupmax") => SaeGate::GroupMax { k },
        Some(_) => {
            return Err(Error::format(
                path,
                format!("has the activation {}; topk and groupmax can be read", config["activation"]),
            ));
        }
    };
    Ok(SaeModel {
        encoder: tensors.mat("encoder.weight", n, d)?,
        encoder_bias: tensors.vector("encoder.bias", n)?,
        atoms: tensors.mat("W_dec", n, d)?,
        bias: tensors.vector("b_dec", d)?,
        subtracts: true,
        gate,
        layer_norm: false,
        prefixes: Vec::new(),
        density: Vec::new(),
    })
}

pub(super) fn write(folder: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    drop_prefixes(model, notes);
    let (n, d) = (model.atoms.rows, model.atoms.cols);
    let group = matches!(model.gate, SaeGate::GroupMax { .. });
    let k = as_top_k(&same::plainest(&model.gate, n), n);
    let config: Value = json!({
        "activation": if group { "groupmax" } else { "topk" }, "expansion_factor": (n / d).max(1),
        "normalize_decoder": same::is_unit(&model.atoms), "num_latents": n, "k": k, "multi_topk": false, "skip_connection": false,
        "transcode": false, "d_in": d,
    });
    let tensors = [
        ("encoder.weight", vec![n, d], &model.encoder.data[..]),
        ("encoder.bias", vec![n], &same::encoder_bias(model, true)),
        ("W_dec", vec![n, d], &model.atoms.data),
        ("b_dec", vec![d], &model.bias),
    ];
    write_safetensors(&folder.join(WEIGHTS), &tensors)?;
    write_json(&folder.join(CONFIG), &config)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    #[test]
    fn what_it_can_say_comes_back() {
        for gate in [SaeGate::TopK { k: 2 }, SaeGate::GroupMax { k: 2 }, SaeGate::Relu] {
            for subtracts in [true, false] {
                let folder = tempfile::tempdir().expect("tempdir");
                let model = SaeModel { subtracts, ..random(gate.clone()) };
                write(folder.path(), SaeFormat::Sparsify, &model).expect("written");
                let back = read(folder.path(), &Read::default()).expect("read");
                assert_eq!(back.format, SaeFormat::Sparsify);
                same_codes(&model, &back.model);
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let folder = tempfile::tempdir().expect("tempdir");
        let model = random(SaeGate::TopK { k: 2 });
        write(folder.path(), SaeFormat::Sparsify, &model).expect("written");
        let whole = object(&folder.path().join(CONFIG)).expect("config");
        for (name, value, what) in [
            ("transcode", json!(true), "other activations"),
            ("skip_connection", json!(true), "around the latents"),
            ("activation", json!("relu"), "topk and groupmax"),
            ("d_in", json!(9), "not of one autoencoder"),
            ("k", json!(0), "k = 0"),
            ("k", json!("many"), "whole number"),
        ] {
            let mut config = whole.clone();
            config.insert(name.into(), value);
            write_json(&folder.path().join(CONFIG), &Value::Object(config)).expect("written");
            let said = read(folder.path(), &Read::default()).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
        }
        write_json(&folder.path().join(CONFIG), &Value::Object(whole)).expect("written");
        let skip = [0.0; 25];
        let bias = [0.0; 5];
        write_safetensors(&folder.path().join(WEIGHTS), &[("W_skip", vec![5, 5], &skip), ("b_dec", vec![5], &bias)])
            .expect("written");
        let said = read(folder.path(), &Read::default()).expect_err("skip").to_string();
        assert!(said.contains("W_skip") && said.contains("around the latents"), "{said}");
    }
}
