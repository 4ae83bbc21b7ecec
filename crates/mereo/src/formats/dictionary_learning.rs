//! dictionary_learning: `config.json`, whose `trainer.dict_class` says what the state dict in `ae.pt` is of.
//!
//! | class | tensors | codes |
//! |---|---|---|
//! | `AutoEncoder` | bias d, encoder.weight n×d, encoder.bias n, decoder.weight d×n | relu, atoms made unit by its loader |
//! | `AutoEncoderNew` | encoder.weight, encoder.bias, decoder.weight, decoder.bias d | relu, nothing taken off |
//! | `AutoEncoderTopK` | b_dec d, encoder.weight, encoder.bias, decoder.weight, k, threshold | the k largest |
//! | `BatchTopKSAE` | the same | above the threshold |
//! | `MatryoshkaBatchTopKSAE` | W_enc d×n, b_enc, W_dec n×d, b_dec, k, threshold, group_sizes | above the threshold |
//! | `JumpReluAutoEncoder` | W_enc, b_enc, W_dec, b_dec, threshold n | above thresholds, nothing taken off |
//! | `GatedAutoEncoder` | decoder_bias d, encoder.weight, r_mag n, gate_bias n, mag_bias n, decoder.weight | gated |

use super::pickle::Item;
use super::tensors::Tensors;
use super::torch::{self, Torch};
use super::{count, drop_prefixes, object, same, write_json};
use crate::error::{Error, Result};
use crate::sae::{SaeGate, SaeModel};
use serde_json::{Map, Value, json};
use std::path::Path;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "ae.pt";

pub(super) fn read(folder: &Path, notes: &mut Vec<String>) -> Result<SaeModel> {
    let path = folder.join(CONFIG);
    let config = object(&path)?;
    let Some(trainer) = config.get("trainer").and_then(Value::as_object) else {
        return Err(Error::format(path, "has no `trainer`, which says of what class the dictionary is"));
    };
    let Some(class) = trainer.get("dict_class").and_then(Value::as_str) else {
        return Err(Error::format(path, "has no `trainer.dict_class`, which says of what class the dictionary is"));
    };
    let file = Torch::open(&folder.join(WEIGHTS))?;
    let root = file.pickle().root();
    let tensors = file.tensors(root)?;
    let from = Source { path: &path, class, trainer, tensors: &tensors };
    match class {
        "AutoEncoder" => from.relu(notes),
        "AutoEncoderNew" => from.new_relu(),
        "AutoEncoderTopK" | "BatchTopKSAE" => from.top_k(notes),
        "MatryoshkaBatchTopKSAE" => from.matryoshka(notes),
        "JumpReluAutoEncoder" => from.jump_relu(),
        "GatedAutoEncoder" => from.gated(),
        other => Err(Error::format(
            path.clone(),
            format!(
                "is of the class `{other}`, which can't be read; AutoEncoder, AutoEncoderNew, AutoEncoderTopK, BatchTopKSAE, \
                 MatryoshkaBatchTopKSAE, JumpReluAutoEncoder and GatedAutoEncoder can"
            ),
        )),
    }
}

struct Source<'a> {
    path: &'a Path,
    class: &'a str,
    trainer: &'a Map<String, Value>,
    tensors: &'a Tensors,
}

impl Source<'_> {
    /// Encoder and decoder as layers of torch.
    fn layers(&self, bias: &str, encoder_bias: Option<&str>, gate: impl FnOnce(usize) -> Result<SaeGate>) -> Result<SaeModel> {
        let (n, d) = self.tensors.matrix("encoder.weight")?;
        Ok(SaeModel {
            encoder: self.tensors.mat("encoder.weight", n, d)?,
            encoder_bias: encoder_bias.map_or_else(|| Ok(vec![0.0; n]), |name| self.tensors.vector(name, n))?,
            atoms: self.tensors.turned("decoder.weight", n, d)?,
            bias: self.tensors.vector(bias, d)?,
            subtracts: true,
            gate: gate(n)?,
            layer_norm: false,
            prefixes: Vec::new(),
            density: Vec::new(),
        })
    }

    /// Encoder and decoder as matrices that rows are multiplied by.
    fn matrices(&self, gate: impl FnOnce(usize) -> Result<SaeGate>) -> Result<SaeModel> {
        let (d, n) = self.tensors.matrix("W_enc")?;
        Ok(SaeModel {
            encoder: self.tensors.turned("W_enc", n, d)?,
            encoder_bias: self.tensors.vector("b_enc", n)?,
            atoms: self.tensors.mat("W_dec", n, d)?,
            bias: self.tensors.vector("b_dec", d)?,
            subtracts: true,
            gate: gate(n)?,
            layer_norm: false,
            prefixes: Vec::new(),
            density: Vec::new(),
        })
    }

    fn relu(&self, notes: &mut Vec<String>) -> Result<SaeModel> {
        self.tensors.only(self.class, &["bias", "encoder.weight", "encoder.bias", "decoder.weight"])?;
        let model = self.layers("bias", Some("encoder.bias"), |_| Ok(SaeGate::Relu))?;
        if same::is_unit(&model.atoms) {
            return Ok(model);
        }
        notes.push("atoms are made unit and codes grow by their norms, as its own loader has it".into());
        let norms = same::norms(&model.atoms);
        Ok(same::scaled_latents(model, &norms))
    }

    fn new_relu(&self) -> Result<SaeModel> {
        self.tensors.only(self.class, &["encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"])?;
        let model = self.layers("decoder.bias", Some("encoder.bias"), |_| Ok(SaeGate::Relu))?;
        Ok(SaeModel { subtracts: false, ..model })
    }

    /// k of the configuration, which must be that of the state dict if both say it.
    fn k(&self) -> Result<usize> {
        let stored = if self.tensors.has("k") { self.tensors.counts("k")?.first().copied() } else { None };
        let said = self.trainer.contains_key("k").then(|| count(self.path, self.trainer, "k")).transpose()?;
        match (said, stored) {
            (Some(a), Some(b)) if a != b => {
                Err(Error::format(self.path, format!("says k {a}, the state dict {b}; the two files are not of one dictionary")))
            }
            (Some(k), _) | (None, Some(k)) => Ok(k),
            (None, None) => Err(Error::format(self.path, "says no `trainer.k`, nor does the state dict")),
        }
    }

    /// The gate of a threshold that a training by batches has found.
    fn threshold(&self, n: usize, notes: &mut Vec<String>) -> Result<SaeGate> {
        let theta = self.tensors.scalar("threshold")?;
        if theta < 0.0 {
            notes.push(format!(
                "its threshold {theta} was never set in training: all positive latents are alive, as its own encode has it"
            ));
            return Ok(SaeGate::Relu);
        }
        Ok(SaeGate::Threshold(vec![theta; n]))
    }

    fn top_k(&self, notes: &mut Vec<String>) -> Result<SaeModel> {
        self.tensors.only(self.class, &["b_dec", "encoder.weight", "encoder.bias", "decoder.weight", "k", "threshold"])?;
        let k = self.k()?;
        self.layers("b_dec", Some("encoder.bias"), |n| {
            if self.class == "AutoEncoderTopK" { Ok(SaeGate::TopK { k }) } else { self.threshold(n, notes) }
        })
    }

    fn matryoshka(&self, notes: &mut Vec<String>) -> Result<SaeModel> {
        self.tensors.only(self.class, &["W_enc", "b_enc", "W_dec", "b_dec", "k", "threshold", "group_sizes"])?;
        let mut model = self.matrices(|n| self.threshold(n, notes))?;
        let mut end = 0usize;
        for size in self.tensors.counts("group_sizes")? {
            end = end.saturating_add(size);
            model.prefixes.push(end);
        }
        Ok(model)
    }

    fn jump_relu(&self) -> Result<SaeModel> {
        self.tensors.only(self.class, &["W_enc", "b_enc", "W_dec", "b_dec", "threshold"])?;
        let model = self.matrices(|n| Ok(SaeGate::Threshold(self.tensors.vector("threshold", n)?)))?;
        Ok(SaeModel { subtracts: false, ..model })
    }

    fn gated(&self) -> Result<SaeModel> {
        let known = ["decoder_bias", "encoder.weight", "r_mag", "gate_bias", "mag_bias", "decoder.weight"];
        self.tensors.only(self.class, &known)?;
        self.layers("decoder_bias", None, |n| {
            Ok(SaeGate::Gated {
                gate: self.tensors.vector("gate_bias", n)?,
                scale: self.tensors.vector("r_mag", n)?,
                magnitude: self.tensors.vector("mag_bias", n)?,
            })
        })
    }
}

/// Writes a folder. A ReLU whose atoms aren't unit becomes a `JumpReluAutoEncoder`, as `AutoEncoder` would make them unit when it is
/// loaded; one threshold becomes a `BatchTopKSAE` where the density says its k.
pub(super) fn write(folder: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    let (n, d) = (model.atoms.rows, model.atoms.cols);
    // The mean number of latents that are alive, if it is known.
    let alive = (!model.density.is_empty()).then(|| (model.density.iter().sum::<f64>().round() as usize).clamp(1, n));
    let gate = same::plainest(&model.gate, n);
    let one = match &gate {
        SaeGate::Threshold(theta) => same::one_threshold(theta).zip(alive),
        _ => None,
    };
    let nested = model.prefixes.len() > 1;
    let jump = match &gate {
        SaeGate::Relu => !same::is_unit(&model.atoms),
        SaeGate::Threshold(_) => one.is_none(),
        _ => false,
    };
    if !(nested && one.is_some()) {
        drop_prefixes(model, notes);
    }
    let bias = same::encoder_bias(model, !jump);
    let layers = |bias: &'static str| {
        vec![
            (bias, Item::vector(&model.bias)),
            ("encoder.weight", Item::mat(&model.encoder)),
            ("decoder.weight", Item::turned(&model.atoms)),
        ]
    };
    let matrices = || {
        vec![
            ("W_enc", Item::turned(&model.encoder)),
            ("b_enc", Item::vector(&bias)),
            ("W_dec", Item::mat(&model.atoms)),
            ("b_dec", Item::vector(&model.bias)),
        ]
    };
    let zeros = vec![0.0; n];
    let biases;
    let (class, trainer, k, entries) = match (&gate, one) {
        (SaeGate::TopK { k } | SaeGate::GroupMax { k }, _) => {
            let mut all = layers("b_dec");
            let own = [("encoder.bias", Item::vector(&bias)), ("k", Item::count(*k)), ("threshold", Item::scalar(-1.0))];
            all.extend(own);
            ("AutoEncoderTopK", "TopKTrainer", Some(*k), all)
        }
        (_, Some((theta, k))) if nested => {
            let mut all = matrices();
            let sizes = model.prefixes.iter().scan(0, |from, end| Some(end - std::mem::replace(from, *end)));
            all.extend([("k", Item::count(k)), ("threshold", Item::scalar(theta)), ("group_sizes", Item::whole(sizes))]);
            ("MatryoshkaBatchTopKSAE", "MatryoshkaBatchTopKTrainer", Some(k), all)
        }
        (_, Some((theta, k))) => {
            let mut all = layers("b_dec");
            let own = [("encoder.bias", Item::vector(&bias)), ("k", Item::count(k)), ("threshold", Item::scalar(theta))];
            all.extend(own);
            ("BatchTopKSAE", "BatchTopKTrainer", Some(k), all)
        }
        (SaeGate::Gated { gate, scale, magnitude }, _) => {
            biases = same::gated_biases(&bias, gate, scale, magnitude);
            let mut all = layers("decoder_bias");
            let own =
                [("r_mag", Item::vector(scale)), ("gate_bias", Item::vector(&biases.0)), ("mag_bias", Item::vector(&biases.1))];
            all.extend(own);
            ("GatedAutoEncoder", "GatedSAETrainer", None, all)
        }
        (SaeGate::Relu, None) if !jump => {
            let mut all = layers("bias");
            all.push(("encoder.bias", Item::vector(&bias)));
            ("AutoEncoder", "StandardTrainer", None, all)
        }
        (SaeGate::Relu, None) => {
            let mut all = matrices();
            all.push(("threshold", Item::vector(&zeros)));
            ("JumpReluAutoEncoder", "JumpReluTrainer", None, all)
        }
        (SaeGate::Threshold(theta), None) => {
            let mut all = matrices();
            all.push(("threshold", Item::vector(theta)));
            ("JumpReluAutoEncoder", "JumpReluTrainer", None, all)
        }
    };
    let mut config = json!({
        "trainer": {
            "trainer_class": trainer, "dict_class": class, "activation_dim": d, "dict_size": n, "layer": 0, "lm_name": "unknown",
            "submodule_name": "unknown", "lr": 0.0, "steps": 0, "seed": 0, "device": "cpu",
        },
        "buffer": { "d_submodule": d, "ctx_len": 1, "n_ctxs": 0, "refresh_batch_size": 0, "out_batch_size": 0, "device": "cpu" },
    });
    if let Some(k) = k {
        config["trainer"]["k"] = json!(k);
    }
    torch::write(&folder.join(WEIGHTS), &Item::Dict(entries))?;
    write_json(&folder.join(CONFIG), &config)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gates, random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    /// The class as which a model is written; it comes back the same.
    fn class(model: &SaeModel) -> String {
        let folder = tempfile::tempdir().expect("tempdir");
        write(folder.path(), SaeFormat::DictionaryLearning, model).expect("written");
        let back = read(folder.path(), &Read::default()).expect("read");
        assert_eq!(back.format, SaeFormat::DictionaryLearning);
        same_codes(model, &back.model);
        object(&folder.path().join(CONFIG)).expect("config")["trainer"]["dict_class"].as_str().expect("class").into()
    }

    #[test]
    fn every_class_comes_back() {
        let [relu, top, _, one, many, gated] = gates().try_into().expect("six");
        let unit = |model: SaeModel| {
            let norms = same::norms(&model.atoms);
            same::scaled_latents(model, &norms)
        };
        let dense = |gate| SaeModel { density: vec![0.25; 8], ..random(gate) };
        for subtracts in [true, false] {
            let but = |model: SaeModel| class(&SaeModel { subtracts, ..model });
            assert_eq!(but(random(relu.clone())), "JumpReluAutoEncoder");
            assert_eq!(but(unit(random(relu.clone()))), "AutoEncoder");
            assert_eq!(but(random(top.clone())), "AutoEncoderTopK");
            assert_eq!(but(random(one.clone())), "JumpReluAutoEncoder");
            assert_eq!(but(dense(one.clone())), "BatchTopKSAE");
            assert_eq!(but(SaeModel { prefixes: vec![2, 8], ..dense(one.clone()) }), "MatryoshkaBatchTopKSAE");
            assert_eq!(but(dense(many.clone())), "JumpReluAutoEncoder");
            assert_eq!(but(random(gated.clone())), "GatedAutoEncoder");
        }
    }

    #[test]
    fn what_its_loader_does_is_done() {
        let folder = tempfile::tempdir().expect("tempdir");
        let model = random(SaeGate::Relu);
        let entries = vec![
            ("bias", Item::vector(&model.bias)),
            ("encoder.weight", Item::mat(&model.encoder)),
            ("encoder.bias", Item::vector(&model.encoder_bias)),
            ("decoder.weight", Item::turned(&model.atoms)),
        ];
        torch::write(&folder.path().join(WEIGHTS), &Item::Dict(entries)).expect("written");
        let config = |v: Value| write_json(&folder.path().join(CONFIG), &v).expect("written");
        config(json!({ "trainer": { "dict_class": "AutoEncoder" } }));
        let back = read(folder.path(), &Read::default()).expect("read");
        assert!(same::is_unit(&back.model.atoms) && back.notes[0].contains("its own loader"));
        let said = |v: Value, what: &str| {
            config(v);
            let said = read(folder.path(), &Read::default()).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
        };
        said(json!({ "trainer": { "dict_class": "IdentityDict" } }), "class `IdentityDict`");
        said(json!({ "trainer": {} }), "no `trainer.dict_class`");
        said(json!({}), "no `trainer`");
        said(json!({ "trainer": { "dict_class": "AutoEncoderTopK", "k": 3 } }), "has the tensor `bias`");
        // k is said twice.
        write(folder.path(), SaeFormat::DictionaryLearning, &random(SaeGate::TopK { k: 3 })).expect("written");
        said(json!({ "trainer": { "dict_class": "AutoEncoderTopK", "k": 4 } }), "says k 4, the state dict 3");
        config(json!({ "trainer": { "dict_class": "BatchTopKSAE" } }));
        let back = read(folder.path(), &Read::default()).expect("read");
        assert_eq!(back.model.gate, SaeGate::Relu);
        assert!(back.notes[0].contains("never set"));
    }
}
