//! OpenAI's sparse_autoencoder, one file of torch: pre_bias d, encoder.weight n×d, latent_bias n, decoder.weight d×n, three statistics of
//! latents, `activation` and `activation_state_dict`. Codes: activation((norm(x) − pre_bias) encoderᵀ + latent_bias), where a `TopK`
//! always has rows normalised (mean 0, s.d. 1) and a `ReLU` never.
//!
//! saerch saves the weights of the same trainer alone: a top k whose rows aren't normalised, and whose k only the name of the file says,
//! `64_9216_128_auxk_epoch_50.pth`.

use super::pickle::{Item, Value};
use super::torch::{self, Torch};
use super::{as_top_k, drop_prefixes, same};
use crate::error::{Error, Result};
use crate::sae::{SaeGate, SaeModel};
use std::path::Path;

const WEIGHTS: [&str; 4] = ["pre_bias", "encoder.weight", "latent_bias", "decoder.weight"];
const STATISTICS: [&str; 3] = ["stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"];

/// Whose autoencoder a file of torch holds, by the names of its entries.
pub(super) fn detect(path: &Path) -> Result<super::SaeFormat> {
    let file = Torch::open(path)?;
    let names = file.names()?;
    let has = |name: &str| names.contains(&name);
    if has("config") && has("state_dict") {
        return Ok(super::SaeFormat::HypotheSaes);
    }
    if has("pre_bias") && has("latent_bias") {
        // The trainer's weights have no statistics but one, and no activation.
        let whole = has("activation") || has("latents_activation_frequency");
        return Ok(if whole { super::SaeFormat::OpenAi } else { super::SaeFormat::Saerch });
    }
    let shown: Vec<&str> = names.into_iter().take(20).collect();
    Err(file.error(format!(
        "holds {}, by which no sparse autoencoder is told; pre_bias and latent_bias are of openai or saerch, config and state_dict of \
         hypothesaes, and what is of dictionary-learning is called ae.pt and has a config.json beside it",
        if shown.is_empty() { "nothing".into() } else { shown.join(", ") }
    )))
}

pub(super) fn read(path: &Path) -> Result<SaeModel> {
    let file = Torch::open(path)?;
    let pickle = file.pickle();
    let text = |value: Option<Value>| value.map(|v| pickle.text(v).unwrap_or("?"));
    let inner = |name: &str| file.get("activation_state_dict").and_then(|state| pickle.get(state, name));
    let (gate, layer_norm) = match text(file.get("activation")) {
        None | Some("ReLU") => (SaeGate::Relu, false),
        Some("TopK") => {
            if let Some(after) = text(inner("postact_fn")).filter(|after| *after != "ReLU") {
                return Err(
                    file.error(format!("keeps the k largest latents through `{after}`, by which codes may be below zero"))
                );
            }
            let Some(Value::Int(k)) = inner("k") else {
                return Err(file.error("has the activation TopK, but `activation_state_dict` doesn't say its k"));
            };
            (SaeGate::TopK { k: usize::try_from(k).unwrap_or(0) }, true)
        }
        Some(other) => return Err(file.error(format!("has the activation `{other}`; TopK and ReLU can be read"))),
    };
    let mut model = weights(file, gate, true)?;
    model.layer_norm = layer_norm;
    Ok(model)
}

pub(super) fn read_saerch(path: &Path, k: Option<usize>) -> Result<SaeModel> {
    let named = name(path);
    let file = Torch::open(path)?;
    let Some(k) = k.or(named.map(|(k, _)| k)) else {
        return Err(file.error(
            "doesn't say how many latents are alive on a row; say it (--k), or call the file by k and n as saerch does, such as 64_9216.pth",
        ));
    };
    let model = weights(file, SaeGate::TopK { k }, false)?;
    match named.filter(|(_, n)| *n != model.atoms.rows) {
        Some((_, n)) => Err(Error::format(path, format!("is called one of {n} latents, but it has {}", model.atoms.rows))),
        None => Ok(model),
    }
}

/// k and n from the name of a file, `64_9216…`.
fn name(path: &Path) -> Option<(usize, usize)> {
    let mut parts = path.file_stem()?.to_str()?.split('_').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn weights(file: Torch, gate: SaeGate, whole: bool) -> Result<SaeModel> {
    let root = file.pickle().root();
    let tensors = file.tensors(root)?;
    tensors.only("it", &[&WEIGHTS[..], &STATISTICS].concat())?;
    let (n, d) = tensors.matrix("encoder.weight")?;
    // Shares of rows; ones stand for none known.
    let density = if whole && tensors.has(STATISTICS[1]) { tensors.vector(STATISTICS[1], n)? } else { Vec::new() };
    let known = density.iter().all(|v| (0.0..=1.0).contains(v)) && density.iter().any(|v| *v != 1.0);
    Ok(SaeModel {
        encoder: tensors.mat("encoder.weight", n, d)?,
        encoder_bias: tensors.vector("latent_bias", n)?,
        atoms: tensors.turned("decoder.weight", n, d)?,
        bias: tensors.vector("pre_bias", d)?,
        subtracts: true,
        gate,
        layer_norm: false,
        prefixes: Vec::new(),
        density: if known { density.into_iter().map(f64::from).collect() } else { Vec::new() },
    })
}

fn entries<'a>(model: &'a SaeModel, bias: &'a [f32]) -> Vec<(&'static str, Item<'a>)> {
    vec![
        (WEIGHTS[0], Item::vector(&model.bias)),
        (WEIGHTS[1], Item::mat(&model.encoder)),
        (WEIGHTS[2], Item::vector(bias)),
        (WEIGHTS[3], Item::turned(&model.atoms)),
    ]
}

pub(super) fn write(path: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    drop_prefixes(model, notes);
    let n = model.atoms.rows;
    let bias = same::encoder_bias(model, true);
    let mut all = entries(model, &bias);
    let density: Vec<f32> =
        if model.density.is_empty() { vec![1.0; n] } else { model.density.iter().map(|v| *v as f32).collect() };
    let zeros = vec![0.0; n];
    all.extend([
        (STATISTICS[0], Item::whole(std::iter::repeat_n(0, n))),
        (STATISTICS[1], Item::vector(&density)),
        (STATISTICS[2], Item::vector(&zeros)),
    ]);
    if model.layer_norm {
        let k = as_top_k(&model.gate, n);
        all.push(("activation", Item::Text("TopK")));
        all.push(("activation_state_dict", Item::Dict(vec![("k", Item::number(k)), ("postact_fn", Item::Text("ReLU"))])));
    } else {
        all.push(("activation", Item::Text("ReLU")));
        all.push(("activation_state_dict", Item::Dict(Vec::new())));
    }
    torch::write(path, &Item::Dict(all))
}

pub(super) fn write_saerch(path: &Path, model: &SaeModel, notes: &mut Vec<String>) -> Result<()> {
    let n = model.atoms.rows;
    let k = as_top_k(&same::plainest(&model.gate, n), n);
    if name(path) != Some((k, n)) {
        return Err(Error::parameter(format!("saerch says k and n in the name of the file alone; call it {k}_{n}.pth")));
    }
    drop_prefixes(model, notes);
    torch::write(path, &Item::Dict(entries(model, &same::encoder_bias(model, true))))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{random, same_codes};
    use super::super::{Read, SaeFormat, read, write};
    use super::*;

    #[test]
    fn what_they_can_say_comes_back() {
        let folder = tempfile::tempdir().expect("tempdir");
        let cases = [
            (SaeFormat::OpenAi, "a.pt", SaeGate::TopK { k: 3 }, true),
            (SaeFormat::OpenAi, "b.pt", SaeGate::Relu, false),
            (SaeFormat::Saerch, "3_8_auxk.pth", SaeGate::TopK { k: 3 }, false),
            (SaeFormat::Saerch, "8_8.pt", SaeGate::Relu, false),
        ];
        for (format, name, gate, layer_norm) in cases {
            for subtracts in [true, false] {
                let path = folder.path().join(name);
                let model = SaeModel { subtracts, layer_norm, ..random(gate.clone()) };
                write(&path, format, &model).expect("written");
                let back = read(&path, &Read::default()).expect("read");
                assert_eq!(back.format, format);
                same_codes(&model, &back.model);
            }
        }
        let top = random(SaeGate::TopK { k: 3 });
        let said = write(&folder.path().join("x.pth"), SaeFormat::Saerch, &top).expect_err("name").to_string();
        assert!(said.contains("call it 3_8.pth"), "{said}");
        std::fs::rename(folder.path().join("3_8_auxk.pth"), folder.path().join("c.pth")).expect("renamed");
        let path = folder.path().join("c.pth");
        let said = read(&path, &Read::default()).expect_err("no k").to_string();
        assert!(said.contains("--k"), "{said}");
        let back = read(&path, &Read { format: None, k: Some(3) }).expect("read");
        same_codes(&SaeModel { subtracts: false, ..top.clone() }, &back.model);
        std::fs::rename(&path, folder.path().join("3_9.pth")).expect("renamed");
        let said = read(&folder.path().join("3_9.pth"), &Read::default()).expect_err("n").to_string();
        assert!(said.contains("one of 9 latents, but it has 8"), "{said}");
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("a.pt");
        let model = random(SaeGate::Relu);
        let said = |more: Vec<(&'static str, Item<'static>)>, what: &str| {
            let mut all = entries(&model, &model.encoder_bias);
            all.extend(more);
            torch::write(&path, &Item::Dict(all)).expect("written");
            let said = read(&path, &Read::default()).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
        };
        said(vec![("activation", Item::Text("Identity"))], "`Identity`; TopK and ReLU");
        said(vec![("activation", Item::Text("TopK"))], "doesn't say its k");
        let state = |after| Item::Dict(vec![("k", Item::Int(2)), ("postact_fn", Item::Text(after))]);
        said(vec![("activation", Item::Text("TopK")), ("activation_state_dict", state("Identity"))], "below zero");
        let none = Item::Dict(vec![("k", Item::Int(-2)), ("postact_fn", Item::Text("ReLU"))]);
        said(vec![("activation", Item::Text("TopK")), ("activation_state_dict", none)], "k = 0");
        said(vec![("activation", Item::Text("ReLU")), ("rotation", Item::scalar(1.0))], "the tensor `rotation`");
        torch::write(&path, &Item::Dict(vec![("weight", Item::scalar(1.0))])).expect("written");
        let said = read(&path, &Read::default()).expect_err("what").to_string();
        assert!(said.contains("holds weight, by which no sparse autoencoder is told"), "{said}");
    }
}
