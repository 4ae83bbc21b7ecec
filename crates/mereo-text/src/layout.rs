//! Of what parts a folder of a model is, by its `modules.json`.

use crate::wordpiece::read_json;
use mereo::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The parts of a model.
#[derive(Debug)]
pub(crate) struct Layout {
    pub kind: Kind,
    /// Where the weights are.
    pub folder: PathBuf,
    /// What is known of the architecture: its `config.json`, or null.
    pub config: Value,
    /// How a text's vectors become one.
    pub pooling: Pooling,
    /// Whether rows are made of length 1.
    pub normalise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Transformer,
    Table,
}

/// How the vectors of the tokens of a text become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// Their sum over the root of their number.
    MeanSqrt,
    /// The first.
    Cls,
    /// The largest of each column.
    Max,
}

impl Layout {
    pub fn read(folder: &Path) -> Result<Self> {
        let modules = folder.join("modules.json");
        if !modules.is_file() {
            return Self::bare(folder);
        }
        let list = read_json(&modules)?;
        let mut layout: Option<Self> = None;
        for part in list.as_array().into_iter().flatten() {
            let kind = part["type"].as_str().unwrap_or_default();
            let at = folder.join(part["path"].as_str().unwrap_or_default());
            match (kind.rsplit('.').next().unwrap_or_default(), &mut layout) {
                ("Transformer" | "StaticEmbedding", None) => {
                    let kind = if kind.ends_with("Transformer") { Kind::Transformer } else { Kind::Table };
                    layout = Some(Self { kind, config: config(&at)?, folder: at, pooling: Pooling::Mean, normalise: false });
                }
                ("Pooling", Some(layout)) => layout.pooling = pooling(&at.join("config.json"))?,
                ("Normalize", Some(layout)) => layout.normalise = true,
                (other, _) => {
                    let why = "only Transformer or StaticEmbedding, Pooling and Normalize are read, in this order; use an endpoint for this model";
                    return Err(Error::format(modules, format!("has the part {other}; {why}")));
                }
            }
        }
        layout.ok_or_else(|| {
            Error::format(modules, "names no Transformer and no StaticEmbedding; copy the folder of the model again")
        })
    }

    /// Without `modules.json`: the mean of the vectors, as sentence-transformers takes such a folder.
    fn bare(folder: &Path) -> Result<Self> {
        let config = config(folder)?;
        let table = config.is_null() || config["model_type"] == "model2vec" || config["architectures"][0] == "StaticModel";
        let has_weights = std::fs::read_dir(folder)
            .map_err(|e| Error::io(folder, e))?
            .flatten()
            .any(|e| e.path().extension().is_some_and(|e| e == "safetensors"));
        if config.is_null() && !has_weights {
            return Err(Error::format(
                folder,
                "holds no model: neither modules.json nor config.json nor a .safetensors file; name the folder of a model as \
                 sentence-transformers or model2vec save it",
            ));
        }
        let normalise = table && config["normalize"].as_bool().unwrap_or(false);
        let kind = if table { Kind::Table } else { Kind::Transformer };
        Ok(Self { kind, folder: folder.into(), config, pooling: Pooling::Mean, normalise })
    }
}

/// `config.json` of a folder, or null.
fn config(folder: &Path) -> Result<Value> {
    let path = folder.join("config.json");
    if path.is_file() { read_json(&path) } else { Ok(Value::Null) }
}

fn pooling(path: &Path) -> Result<Pooling> {
    let json = read_json(path)?;
    let flags = json.as_object().into_iter().flatten().filter_map(|(key, on)| {
        let name = key.strip_prefix("pooling_mode_")?;
        (*on == true).then_some(name)
    });
    let named = json["pooling_mode"].as_str().into_iter().flat_map(|m| m.split('+'));
    let modes: Vec<&str> = flags.chain(named).collect();
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["mean_sqrt_len_tokens"] => Ok(Pooling::MeanSqrt),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        ["max_tokens" | "max"] => Ok(Pooling::Max),
        [] => Err(Error::format(path, "names no way of pooling; copy it again")),
        other => Err(Error::format(
            path,
            format!(
                "pools by {}; one of mean, mean_sqrt_len, cls and max is read: use an endpoint for this model",
                other.join(" and ")
            ),
        )),
    }
}
