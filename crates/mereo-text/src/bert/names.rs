//! What the architectures call their parts.

use mereo::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// Keys of `config.json`, and names of tensors; those of a layer stand behind its prefix and number.
pub(super) struct Names {
    pub dim: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub inner: &'static str,
    pub act: &'static str,
    pub words: &'static str,
    pub layer: &'static str,
    pub qkv: [&'static str; 3],
    pub out: &'static str,
    pub norm1: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub norm2: &'static str,
    /// The epsilon of layer norms where config.json has none.
    pub eps: f64,
    /// The row of the table of places that the first token takes: padding takes those before.
    pub first: usize,
    /// A bias of attention by distance.
    pub relative: Option<&'static str>,
}

const BERT: Names = Names {
    dim: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    inner: "intermediate_size",
    act: "hidden_act",
    words: "embeddings.word_embeddings.weight",
    layer: "encoder.layer.",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    norm1: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm2: "output.LayerNorm",
    eps: 1e-12,
    first: 0,
    relative: None,
};

const DISTILBERT: Names = Names {
    dim: "dim",
    layers: "n_layers",
    heads: "n_heads",
    inner: "hidden_dim",
    act: "activation",
    layer: "transformer.layer.",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    norm1: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm2: "output_layer_norm",
    ..BERT
};

const MPNET: Names = Names {
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    out: "attention.attn.o",
    norm1: "attention.LayerNorm",
    first: 2,
    relative: Some("encoder.relative_attention_bias.weight"),
    ..BERT
};

/// Those of the architecture that a folder's `config.json` names.
pub(super) fn of(folder: &Path, config: &Value) -> Result<Names> {
    match config["model_type"].as_str() {
        Some("bert") => Ok(BERT),
        Some("distilbert") => Ok(DISTILBERT),
        Some("mpnet") => Ok(MPNET),
        Some(other) => Err(Error::format(
            folder.join("config.json"),
            format!(
                "is of the architecture {other}; bert, distilbert and mpnet are read: use one of these (all-MiniLM-L6-v2, bge, gte-small), or an endpoint"
            ),
        )),
        None => Err(Error::format(
            folder.join("config.json"),
            "names no model_type, or is not there; copy the whole folder of the model",
        )),
    }
}
