//! SAELens: `cfg.json` and `sae_weights.safetensors` (W_enc d×n, W_dec n×d, b_dec d, b_enc n, and what the gate needs), of versions 6 and
//! before, for inference or from training; `sparsity.safetensors` beside them says how often latents are alive.
//!
//! Codes: z = (norm(x) − b_dec·apply) W_enc + b_enc, times ‖W_dec‖ where `rescale_acts_by_decoder_norm` is set; then the gate.

use super::tensors::Tensors;
use super::{count, drop_prefixes, flag, object, same, write_json, write_safetensors};
use crate::error::{Error, Result};
use crate::sae::{SaeGate, SaeModel};
use serde_json::{Map, Value, json};
use std::path::Path;

const CONFIG: &str = "cfg.json";
const WEIGHTS: &str = "sae_weights.safetensors";
const SPARSITY: &str = "sparsity.safetensors";
/// The scale of rows of a training run that isn't folded into its weights yet.
const SCALER: &str = "activation_scaler.json";
/// Added to a share before its logarithm is taken.
const FLOOR: f64 = 1e-10;

/// Which version wrote a folder.
pub(super) fn version(folder: &Path) -> Result<super::SaeFormat> {
    let config = object(&folder.join(CONFIG))?;
    Ok(if config.contains_key("metadata") { super::SaeFormat::SaeLens } else { super::SaeFormat::SaeLensV5 })
}

pub(super) fn read(folder: &Path, notes: &mut Vec<String>) -> Result<SaeModel> {
    let path = folder.join(CONFIG);
    let config = object(&path)?;
    let refused = |message: String| Error::format(&path, message);
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let (d, n) = (count(&path, &config, "d_in")?, count(&path, &config, "d_sae")?);
    let tensors = Tensors::safetensors(&folder.join(WEIGHTS))?;
    if tensors.matrix("W_enc")? != (d, n) {
        return Err(refused(format!(
            "says d_in {d} and d_sae {n}, but W_enc is {:?}; the two files are not of one autoencoder",
            tensors.matrix("W_enc")?
        )));
    }

    // Version 5 calls a top k by its activation.
    let activation = text("activation_fn_str").or(text("activation_fn")).unwrap_or("relu");
    let architecture = match (text("architecture").unwrap_or("standard"), activation) {
        ("standard", "topk") => "topk",
        ("standard" | "gated" | "jumprelu", other) if other != "relu" => {
            return Err(refused(format!("has the activation `{other}`; relu and topk can be read")));
        }
        (architecture, _) => architecture,
    };
    let gate = match architecture {
        "standard" => SaeGate::Relu,
        "topk" => {
            let within = config.get("activation_fn_kwargs").and_then(Value::as_object);
            let k = match within.filter(|_| !config.contains_key("k")) {
                Some(kwargs) => count(&path, kwargs, "k")?,
                None => count(&path, &config, "k")?,
            };
            SaeGate::TopK { k }
        }
        "jumprelu" if tensors.has("log_threshold") => {
            SaeGate::Threshold(tensors.vector("log_threshold", n)?.into_iter().map(f32::exp).collect())
        }
        "jumprelu" => SaeGate::Threshold(tensors.vector("threshold", n)?),
        "batchtopk" | "matryoshka_batchtopk" => SaeGate::Threshold(vec![tensors.scalar("topk_threshold")?; n]),
        "gated" => SaeGate::Gated {
            gate: tensors.vector("b_gate", n)?,
            scale: tensors.vector("r_mag", n)?,
            magnitude: tensors.vector("b_mag", n)?,
        },
        other => {
            let why = match other {
                "transcoder" | "skip_transcoder" | "jumprelu_transcoder" | "jumprelu_skip_transcoder" => {
                    "it rebuilds other activations than it encodes"
                }
                "abstopk" => "its codes may be below zero",
                "temporal" => "its codes depend on the rows before",
                "matching_pursuit" => "it encodes in steps, each of what those before left over",
                _ => "it isn't known here",
            };
            return Err(refused(format!(
                "is of the architecture `{other}`, which can't be read: {why}. standard, topk, jumprelu, gated, batchtopk and \
                 matryoshka_batchtopk can"
            )));
        }
    };
    let own: &[&str] = match architecture {
        "gated" => &["b_gate", "r_mag", "b_mag"],
        "jumprelu" => &["b_enc", "threshold", "log_threshold"],
        "batchtopk" | "matryoshka_batchtopk" => &["b_enc", "topk_threshold"],
        _ => &["b_enc"],
    };
    let known = [&["W_enc", "W_dec", "b_dec", "scaling_factor", "finetuning_scaling_factor"][..], own].concat();
    tensors.only(&format!("the architecture `{architecture}`"), &known)?;

    let mut model = SaeModel {
        encoder: tensors.turned("W_enc", n, d)?,
        encoder_bias: if architecture == "gated" { vec![0.0; n] } else { tensors.vector("b_enc", n)? },
        atoms: tensors.mat("W_dec", n, d)?,
        bias: tensors.vector("b_dec", d)?,
        subtracts: flag(&path, &config, "apply_b_dec_to_input", true)?,
        gate,
        layer_norm: false,
        prefixes: prefixes(&path, &config, n)?,
        density: density(folder, n)?,
    };
    if flag(&path, &config, "rescale_acts_by_decoder_norm", false)? {
        let norms = same::norms(&model.atoms);
        model = same::scaled_latents(model, &norms);
        if norms.iter().any(|v| (v - 1.0).abs() > 1e-5) {
            notes.push("norms of decoder rows, by which it multiplies codes, are folded into the encoder".into());
        }
    }
    finetuned(&path, &config, &tensors, &mut model, notes)?;
    normalized(folder, &path, &config, model, notes)
}

/// Nested widths, if there are any.
fn prefixes(path: &Path, config: &Map<String, Value>, n: usize) -> Result<Vec<usize>> {
    let within = config.get("metadata").and_then(|m| m.get("matryoshka_widths"));
    let Some(Value::Array(widths)) = config.get("matryoshka_widths").or(within) else { return Ok(Vec::new()) };
    let widths: Option<Vec<usize>> = widths.iter().map(|w| usize::try_from(w.as_u64()?).ok()).collect();
    let mut widths = widths.ok_or_else(|| Error::format(path, "`matryoshka_widths` aren't whole numbers"))?;
    if widths.last() != Some(&n) {
        widths.push(n);
    }
    Ok(widths)
}

/// Shares of rows on which latents are alive, if they are there.
fn density(folder: &Path, n: usize) -> Result<Vec<f64>> {
    let path = folder.join(SPARSITY);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let logs = Tensors::safetensors(&path)?.vector("sparsity", n)?;
    let share = |log: f32| (10f64.powf(log.into()) - FLOOR).clamp(0.0, 1.0);
    if logs.iter().any(|v| v.is_nan()) {
        return Err(Error::format(path, "holds a NaN; copy it again, or leave it out"));
    }
    Ok(logs.into_iter().map(share).collect())
}

/// Numbers by which codes are multiplied before they are decoded, as left by a finetuning of version 5.
fn finetuned(
    path: &Path,
    config: &Map<String, Value>,
    tensors: &Tensors,
    model: &mut SaeModel,
    notes: &mut Vec<String>,
) -> Result<()> {
    let Some(name) = ["finetuning_scaling_factor", "scaling_factor"].into_iter().find(|name| tensors.has(name)) else {
        return Ok(());
    };
    let factors = tensors.vector(name, model.atoms.rows)?;
    if factors.iter().all(|v| (v - 1.0).abs() < 1e-5) {
        return Ok(());
    }
    if !flag(path, config, "finetuning_scaling_factor", false)? {
        return Err(Error::format(
            path,
            format!(
                "says that no factors are to be applied, but the weights have `{name}`; say finetuning_scaling_factor true or false"
            ),
        ));
    }
    for (i, by) in factors.iter().enumerate() {
        model.atoms.row_mut(i).iter_mut().for_each(|v| *v *= by);
    }
    notes.push("factors of a finetuning are folded into the decoder".into());
    Ok(())
}

/// What happens to rows before they are encoded.
fn normalized(
    folder: &Path,
    path: &Path,
    config: &Map<String, Value>,
    mut model: SaeModel,
    notes: &mut Vec<String>,
) -> Result<SaeModel> {
    let how = match config.get("normalize_activations") {
        None | Some(Value::Null | Value::Bool(false)) => "none",
        Some(Value::Bool(true)) => "expected_average_only_in",
        Some(Value::String(how)) => how,
        Some(other) => return Err(Error::format(path, format!("`normalize_activations` is {other}, where a name is needed"))),
    };
    match how {
        "none" => Ok(model),
        "layer_norm" => {
            model.layer_norm = true;
            Ok(model)
        }
        "expected_average_only_in" => {
            let scaler = folder.join(SCALER);
            if !scaler.is_file() {
                return Err(Error::format(
                    path,
                    format!(
                        "takes rows that were scaled to an expected norm, by a factor that isn't there ({SCALER}); save it for inference, \
                         which folds the factor into the weights"
                    ),
                ));
            }
            let by = object(&scaler)?.get("scaling_factor").and_then(Value::as_f64).filter(|v| v.is_finite() && *v > 0.0);
            let by = by.ok_or_else(|| Error::format(&scaler, "has no `scaling_factor` above 0"))?;
            notes.push(format!("rows times {by}, as in {SCALER}, is folded into the weights"));
            Ok(same::scaled_rows(model, by))
        }
        other => {
            let why = match other {
                "constant_norm_rescale" => "divides each row by its own norm, which no weights can do",
                "covariance_whitening" => {
                    "whitens rows by a matrix that isn't in the weights; save it for inference, which folds the matrix in"
                }
                _ => "isn't known here",
            };
            Err(Error::format(path, format!("normalize_activations `{other}` {why}; none and layer_norm can be read")))
        }
    }
}

/// Writes a folder for version 6 and later.
pub(super) fn write(folder: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    let mut metadata = json!({ "sae_lens_version": "6.0.0", "mereo_version": env!("CARGO_PKG_VERSION") });
    if model.prefixes.len() > 1 {
        metadata["matryoshka_widths"] = json!(model.prefixes);
    }
    let mut config = json!({ "reshape_activations": "none", "metadata": metadata });
    match &model.gate {
        SaeGate::TopK { k } => {
            config["k"] = json!(k);
            config["rescale_acts_by_decoder_norm"] = json!(false);
        }
        SaeGate::Relu | SaeGate::Threshold(_) | SaeGate::Gated { .. } | SaeGate::GroupMax { .. } => {}
    }
    save(folder, model, config, "float32", notes)
}

/// Writes a folder for version 5.
pub(super) fn write_v5(folder: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    drop_prefixes(model, notes);
    let mut config = json!({
        "activation_fn_str": "relu", "activation_fn_kwargs": {}, "finetuning_scaling_factor": false, "sae_lens_training_version": null,
        "model_name": "unknown", "hook_name": "unknown", "hook_layer": 0, "hook_head_index": null, "prepend_bos": false,
        "dataset_path": "unknown", "dataset_trust_remote_code": false, "context_size": 1, "neuronpedia_id": null,
        "model_from_pretrained_kwargs": {}, "seqpos_slice": [null],
    });
    if let SaeGate::TopK { k } = &model.gate {
        config["activation_fn_str"] = json!("topk");
        config["activation_fn_kwargs"] = json!({ "k": k });
    }
    save(folder, model, config, "torch.float32", notes)
}

fn save(folder: &Path, model: &SaeModel, mut config: Value, dtype: &str, notes: &mut Vec<String>) -> Result<()> {
    let (n, d) = (model.atoms.rows, model.atoms.cols);
    let mut own: Vec<(&str, Vec<f32>)> = Vec::new();
    let gate = match &model.gate {
        // One group is a top 1, n groups let all through.
        SaeGate::GroupMax { .. } => &same::plainest(&model.gate, n),
        gate => gate,
    };
    let architecture = match gate {
        SaeGate::Relu | SaeGate::GroupMax { .. } => "standard",
        SaeGate::TopK { .. } => "topk",
        SaeGate::Threshold(theta) => {
            own.push(("threshold", theta.clone()));
            "jumprelu"
        }
        SaeGate::Gated { gate, scale, magnitude } => {
            let (gate, magnitude) = same::gated_biases(&model.encoder_bias, gate, scale, magnitude);
            own.extend([("b_gate", gate), ("r_mag", scale.clone()), ("b_mag", magnitude)]);
            "gated"
        }
    };
    if architecture != "gated" {
        own.push(("b_enc", model.encoder_bias.clone()));
    }
    config["architecture"] = json!(architecture);
    config["d_in"] = json!(d);
    config["d_sae"] = json!(n);
    config["dtype"] = json!(dtype);
    config["device"] = json!("cpu");
    config["apply_b_dec_to_input"] = json!(model.subtracts);
    config["normalize_activations"] = json!(if model.layer_norm { "layer_norm" } else { "none" });
    let encoder = model.encoder.transpose();
    let mut tensors =
        vec![("W_enc", vec![d, n], &encoder.data[..]), ("W_dec", vec![n, d], &model.atoms.data), ("b_dec", vec![d], &model.bias)];
    tensors.extend(own.iter().map(|(name, v)| (*name, vec![n], &v[..])));
    write_safetensors(&folder.join(WEIGHTS), &tensors)?;
    write_json(&folder.join(CONFIG), &config)?;
    let sparsity = folder.join(SPARSITY);
    if model.density.is_empty() {
        // One that lies there from before is of another model.
        match std::fs::remove_file(&sparsity) {
            Ok(()) => notes.push(format!("{SPARSITY} of another autoencoder was removed")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(sparsity, e)),
        }
        return Ok(());
    }
    let logs: Vec<f32> = model.density.iter().map(|v| (v + FLOOR).log10() as f32).collect();
    write_safetensors(&sparsity, &[("sparsity", vec![n], &logs)])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gates, random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    fn changed(folder: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut config = object(&folder.join(CONFIG)).expect("config");
        change(&mut config);
        write_json(&folder.join(CONFIG), &Value::Object(config)).expect("written");
    }

    #[test]
    fn both_versions_come_back() {
        for format in [SaeFormat::SaeLens, SaeFormat::SaeLensV5] {
            for gate in gates() {
                for (subtracts, layer_norm) in [(true, false), (false, true)] {
                    if matches!(gate, SaeGate::GroupMax { .. }) {
                        continue;
                    }
                    let folder = tempfile::tempdir().expect("tempdir");
                    let mut model = SaeModel { subtracts, layer_norm, ..random(gate.clone()) };
                    model.density = (0..model.atoms.rows).map(|i| i as f64 / 100.0).collect();
                    write(folder.path(), format, &model).expect("written");
                    let back = read(folder.path(), &Read::default()).expect("read");
                    assert_eq!(back.format, format);
                    assert_eq!((back.model.subtracts, back.model.layer_norm), (subtracts, layer_norm));
                    assert!(back.model.density.iter().zip(&model.density).all(|(a, b)| (a - b).abs() < 1e-7));
                    same_codes(&model, &back.model);
                }
            }
        }
    }

    #[test]
    fn what_training_leaves_is_folded() {
        let folder = tempfile::tempdir().expect("tempdir");
        let model = random(SaeGate::TopK { k: 2 });
        write(folder.path(), SaeFormat::SaeLens, &model).expect("written");
        changed(folder.path(), |c| {
            c.insert("rescale_acts_by_decoder_norm".into(), json!(true));
        });
        let back = read(folder.path(), &Read::default()).expect("read");
        assert!(same::is_unit(&back.model.atoms) && back.notes[0].contains("norms of decoder rows"), "{:?}", back.notes);
        changed(folder.path(), |c| {
            c.insert("rescale_acts_by_decoder_norm".into(), json!(false));
            c.insert("normalize_activations".into(), json!("expected_average_only_in"));
        });
        let said = read(folder.path(), &Read::default()).expect_err("no factor").to_string();
        assert!(said.contains("save it for inference"), "{said}");
        std::fs::write(folder.path().join(SCALER), "{\"scaling_factor\": 4.0}").expect("written");
        let back = read(folder.path(), &Read::default()).expect("read");
        same_codes(&same::scaled_rows(model, 4.0), &back.model);
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let folder = tempfile::tempdir().expect("tempdir");
        write(folder.path(), SaeFormat::SaeLens, &random(SaeGate::Relu)).expect("written");
        let said = |name: &str, value: Value, what: &str| {
            let old = object(&folder.path().join(CONFIG)).expect("config");
            changed(folder.path(), |c| {
                c.insert(name.into(), value);
            });
            let said = read(folder.path(), &Read::default()).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
            write_json(&folder.path().join(CONFIG), &Value::Object(old)).expect("written");
        };
        said("architecture", json!("abstopk"), "below zero");
        said("architecture", json!("skip_transcoder"), "other activations");
        said("architecture", json!("new"), "isn't known here");
        said("normalize_activations", json!("constant_norm_rescale"), "its own norm");
        said("normalize_activations", json!("covariance_whitening"), "whitens");
        said("normalize_activations", json!(3), "a name is needed");
        said("d_in", json!(7), "not of one autoencoder");
        said("d_sae", json!(-1), "whole number");
        said("activation_fn", json!("tanh-relu"), "tanh-relu");
        said("apply_b_dec_to_input", json!("yes"), "true or false");
        said("architecture", json!("jumprelu"), "lacks the tensor `threshold`; it has W_dec, W_enc, b_dec, b_enc");
    }
}
