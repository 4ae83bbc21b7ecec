//! HypotheSAEs, one file of torch: `config` (input_dim, m_total_neurons, k_active_neurons, prefix_lengths, use_batch_topk) and
//! `state_dict` (input_bias d, neuron_bias n, encoder.weight n×d, decoder.weight d×n, threshold).
//!
//! Codes: the k largest, or those above the threshold, of (x − input_bias) encoderᵀ + neuron_bias, none below zero.

use super::pickle::{Item, Value};
use super::torch::{self, Torch};
use super::{as_top_k, same};
use crate::error::Result;
use crate::sae::{SaeGate, SaeModel};
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<SaeModel> {
    let file = Torch::open(path)?;
    let (Some(config), Some(state)) = (file.get("config"), file.get("state_dict")) else {
        return Err(file.error("holds no `config` and `state_dict`, as HypotheSAEs saves them"));
    };
    let pickle = file.pickle();
    let Some(Value::Int(k)) = pickle.get(config, "k_active_neurons") else {
        return Err(file.error("its config doesn't say `k_active_neurons`"));
    };
    let batch = pickle.get(config, "use_batch_topk") == Some(Value::Bool(true));
    let prefixes = match pickle.get(config, "prefix_lengths") {
        None | Some(Value::None) => Vec::new(),
        Some(list) => {
            let all =
                pickle.counts(list).ok_or_else(|| file.error("`prefix_lengths` of its config isn't a list of whole numbers"))?;
            all.into_iter().map(|v| v as usize).collect()
        }
    };
    let tensors = file.tensors(state)?;
    tensors.only("a SparseAutoencoder", &["input_bias", "neuron_bias", "encoder.weight", "decoder.weight", "threshold"])?;
    let (n, d) = tensors.matrix("encoder.weight")?;
    let gate = if batch {
        SaeGate::Threshold(vec![tensors.scalar("threshold")?; n])
    } else {
        SaeGate::TopK { k: usize::try_from(k).unwrap_or(0) }
    };
    Ok(SaeModel {
        encoder: tensors.mat("encoder.weight", n, d)?,
        encoder_bias: tensors.vector("neuron_bias", n)?,
        atoms: tensors.turned("decoder.weight", n, d)?,
        bias: tensors.vector("input_bias", d)?,
        subtracts: true,
        gate,
        layer_norm: false,
        prefixes,
        density: Vec::new(),
    })
}

pub(super) fn write(path: &Path, model: &SaeModel) -> Result<()> {
    let (n, d) = (model.atoms.rows, model.atoms.cols);
    let gate = same::plainest(&model.gate, n);
    let theta = match &gate {
        SaeGate::Threshold(theta) => same::one_threshold(theta),
        _ => None,
    };
    let alive = model.density.iter().sum::<f64>().round() as usize;
    let k = if theta.is_some() { alive.clamp(1, n) } else { as_top_k(&gate, n) };
    let bias = same::encoder_bias(model, true);
    let prefixes = if model.prefixes.is_empty() { Item::None } else { Item::Counts(model.prefixes.clone()) };
    let config = vec![
        ("input_dim", Item::number(d)),
        ("m_total_neurons", Item::number(n)),
        ("k_active_neurons", Item::number(k)),
        ("aux_k", Item::None),
        ("multi_k", Item::None),
        ("dead_neuron_threshold_steps", Item::number(256)),
        ("prefix_lengths", prefixes),
        ("use_batch_topk", Item::Bool(theta.is_some())),
    ];
    let state = vec![
        ("input_bias", Item::vector(&model.bias)),
        ("neuron_bias", Item::vector(&bias)),
        ("threshold", Item::scalar(theta.unwrap_or(0.0))),
        ("encoder.weight", Item::mat(&model.encoder)),
        ("decoder.weight", Item::turned(&model.atoms)),
    ];
    torch::write(path, &Item::Dict(vec![("config", Item::Dict(config)), ("state_dict", Item::Dict(state))]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gates, random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    #[test]
    fn what_it_can_say_comes_back() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("sae.pt");
        for gate in [gates().remove(0), gates().remove(1), gates().remove(3)] {
            for subtracts in [true, false] {
                let model = SaeModel { subtracts, prefixes: vec![4, 8], ..random(gate.clone()) };
                write(&path, SaeFormat::HypotheSaes, &model).expect("written");
                let back = read(&path, &Read::default()).expect("read");
                assert_eq!((back.format, &back.model.prefixes[..]), (SaeFormat::HypotheSaes, &[4, 8][..]));
                same_codes(&model, &back.model);
            }
        }
        let said = write(&path, SaeFormat::HypotheSaes, &random(gates().remove(4))).expect_err("thresholds").to_string();
        assert!(said.contains("a threshold for each latent"), "{said}");
    }
}
