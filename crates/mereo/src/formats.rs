//! Sparse autoencoders of other libraries, read and written exactly.
//!
//! | name | what lies at the path | what it can say |
//! |---|---|---|
//! | `saelens` | folder: `cfg.json`, `sae_weights.safetensors` | ReLU, top k, thresholds, gates; with or without layer norm |
//! | `saelens-v5` | the same of versions before 6 | the same |
//! | `sparsify` | folder: `cfg.json`, `sae.safetensors` | top k, group max, ReLU (as a top n) |
//! | `dictionary-learning` | folder: `config.json`, `ae.pt` | ReLU, top k, thresholds, gates |
//! | `openai` | one `.pt` | top k with layer norm, ReLU without |
//! | `saerch` | one `.pt` (or `.pth`) whose name begins with k and n, `64_9216…` | top k, ReLU (as a top n) |
//! | `hypothesaes` | one `.pt` | top k, one threshold for all, ReLU (as a top n) |
//! | `gemma-scope` | one `.npz` (`params.npz`) | ReLU, thresholds |
//!
//! What a format can't say is folded into weights where that is exact (a bias that is or isn't taken off, norms of atoms, scales of
//! rows), and refused where it isn't: [`write()`] then names the formats that can. The format of a file is told by the names of what is
//! there, never by trying each.
//!
//! Files are not trusted: no length is believed before the file is known to hold it, a pickle is read as data and never run, and what
//! is read passes [`SaeModel::check`].
//!
//! ```
//! use mereo::formats::{self, SaeFormat};
//! use mereo::{Mat, SaeGate, SaeModel};
//! let w = Mat::new(3, 2, vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0])?;
//! let model = SaeModel {
//!     encoder: w.clone(), encoder_bias: vec![0.0; 3], atoms: w, bias: vec![0.5, 0.5], subtracts: true,
//!     gate: SaeGate::TopK { k: 1 }, layer_norm: false, prefixes: vec![], density: vec![],
//! };
//! let folder = std::env::temp_dir().join("mereo-formats-example");
//! formats::write(&folder, SaeFormat::SaeLens, &model)?;
//! let back = formats::read(&folder, &formats::Read::default())?;
//! assert_eq!((back.format, back.model), (SaeFormat::SaeLens, model));
//! # Ok::<(), mereo::Error>(())
//! ```

mod dictionary_learning;
mod gemma_scope;
mod hypothesaes;
mod openai;
mod pickle;
mod saelens;
mod same;
mod sparsify;
mod tensors;
mod torch;

use crate::error::{Error, Result};
use crate::export;
use crate::prepare::Pipeline;
use crate::sae::{SaeGate, SaeModel};
use crate::store::write_whole;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest configuration that is read.
const LONGEST: u64 = 1 << 20;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaeFormat {
    /// SAELens 6 and later.
    SaeLens,
    /// SAELens before 6.
    SaeLensV5,
    /// sparsify of EleutherAI.
    Sparsify,
    /// dictionary_learning of Marks, Karvonen and Mueller.
    DictionaryLearning,
    /// sparse_autoencoder of OpenAI.
    OpenAi,
    /// saerch of O'Neill et al.: the trained weights of OpenAI's trainer alone.
    Saerch,
    /// HypotheSAEs of Movva et al.
    HypotheSaes,
    /// Gemma Scope of DeepMind.
    GemmaScope,
}

impl SaeFormat {
    /// All formats, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::SaeLens,
        Self::SaeLensV5,
        Self::Sparsify,
        Self::DictionaryLearning,
        Self::OpenAi,
        Self::Saerch,
        Self::HypotheSaes,
        Self::GemmaScope,
    ];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SaeLens => "saelens",
            Self::SaeLensV5 => "saelens-v5",
            Self::Sparsify => "sparsify",
            Self::DictionaryLearning => "dictionary-learning",
            Self::OpenAi => "openai",
            Self::Saerch => "saerch",
            Self::HypotheSaes => "hypothesaes",
            Self::GemmaScope => "gemma-scope",
        }
    }

    /// The files of a folder, if it is one.
    pub fn files(self) -> Option<[&'static str; 2]> {
        match self {
            Self::SaeLens | Self::SaeLensV5 => Some(["cfg.json", "sae_weights.safetensors"]),
            Self::Sparsify => Some(["cfg.json", "sae.safetensors"]),
            Self::DictionaryLearning => Some(["config.json", "ae.pt"]),
            Self::OpenAi | Self::Saerch | Self::HypotheSaes | Self::GemmaScope => None,
        }
    }

    /// Why it can't say a model, if it can't. What can be folded into weights is no reason.
    fn refuses(self, model: &SaeModel) -> Option<String> {
        let gate = same::plainest(&model.gate, model.atoms.rows);
        let lens = matches!(self, Self::SaeLens | Self::SaeLensV5);
        if model.layer_norm && !lens && !(self == Self::OpenAi && matches!(gate, SaeGate::TopK { .. })) {
            return Some("the layer norm of each row before it is encoded".into());
        }
        match (&gate, self) {
            (SaeGate::TopK { .. }, Self::OpenAi) if !model.layer_norm => {
                Some("a top k of rows that aren't moved to mean 0 and s.d. 1 first, as its own always does".into())
            }
            (SaeGate::TopK { .. }, Self::GemmaScope) => Some("a top k".into()),
            (SaeGate::GroupMax { .. }, Self::Sparsify) | (SaeGate::Relu | SaeGate::TopK { .. }, _) => None,
            (SaeGate::GroupMax { .. }, _) => Some("a group max".into()),
            (SaeGate::Threshold(theta), Self::HypotheSaes) if same::one_threshold(theta).is_none() => {
                Some("a threshold for each latent".into())
            }
            (SaeGate::Threshold(_), Self::Sparsify | Self::OpenAi | Self::Saerch) => Some("thresholds".into()),
            (SaeGate::Gated { .. }, Self::Sparsify | Self::OpenAi | Self::Saerch | Self::HypotheSaes | Self::GemmaScope) => {
                Some("gates".into())
            }
            (SaeGate::Threshold(_) | SaeGate::Gated { .. }, _) => None,
        }
    }
}

impl fmt::Display for SaeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SaeFormat {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| {
            Error::parameter(format!("no format of sparse autoencoders is called `{name}`; there are {}", names(&Self::ALL)))
        })
    }
}

fn names(formats: &[SaeFormat]) -> String {
    formats.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

/// How to read a file; `Read::default()` lets the file say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    /// Whose it is; told by what is there if `None`.
    pub format: Option<SaeFormat>,
    /// saerch: how many latents are alive on a row, which its files say in their names only.
    pub k: Option<usize>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Whose it is.
    pub format: SaeFormat,
    /// The autoencoder.
    pub model: SaeModel,
    /// What was folded or left out, a sentence each.
    pub notes: Vec<String>,
}

/// Reads an autoencoder of another library. Its codes are those that its own loader's model gives.
///
/// # Errors
/// A path whose format can't be told, or isn't the one asked for; files that are damaged, or not of one autoencoder; what
/// [`SaeModel`] can't say, by its name.
pub fn read(path: &Path, how: &Read) -> Result<Found> {
    let place = Place::of(path)?;
    let format = match how.format {
        Some(format) => format,
        None => place.format()?,
    };
    if format.files().is_some() == matches!(place, Place::File(_)) {
        let what = if format.files().is_some() { "a folder" } else { "one file" };
        return Err(Error::format(path, format!("{format} keeps an autoencoder in {what}; name that, or another format")));
    }
    if how.k.is_some() && format != SaeFormat::Saerch {
        return Err(Error::parameter(format!("k was given, but {format} says it in its own files; leave it out")));
    }
    let at = place.path();
    let mut notes = Vec::new();
    let model = match format {
        SaeFormat::SaeLens | SaeFormat::SaeLensV5 => saelens::read(at, &mut notes)?,
        SaeFormat::Sparsify => sparsify::read(at)?,
        SaeFormat::DictionaryLearning => dictionary_learning::read(at, &mut notes)?,
        SaeFormat::OpenAi => openai::read(at)?,
        SaeFormat::Saerch => openai::read_saerch(at, how.k)?,
        SaeFormat::HypotheSaes => hypothesaes::read(at)?,
        SaeFormat::GemmaScope => gemma_scope::read(at)?,
    };
    model.check().map_err(|e| Error::format(path, e.to_string()))?;
    Ok(Found { format, model, notes })
}

/// Writes an autoencoder as another library does: a file, or a folder, which is made if it isn't there. What it leaves out, a
/// sentence each.
///
/// # Errors
/// What the format can't say, with the formats that can; a model that isn't whole; a file that can't be written.
pub fn write(path: &Path, format: SaeFormat, model: &SaeModel) -> Result<Vec<String>> {
    model.check()?;
    if let Some(what) = format.refuses(model) {
        let able: Vec<SaeFormat> = SaeFormat::ALL.into_iter().filter(|f| f.refuses(model).is_none()).collect();
        return Err(Error::parameter(format!("{format} has no way to say {what}; {} can", names(&able))));
    }
    let mut notes = Vec::new();
    if format.files().is_some() {
        std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
    }
    match format {
        SaeFormat::SaeLens => saelens::write(path, model, &mut notes)?,
        SaeFormat::SaeLensV5 => saelens::write_v5(path, model, &mut notes)?,
        SaeFormat::Sparsify => sparsify::write(path, model, &mut notes)?,
        SaeFormat::DictionaryLearning => dictionary_learning::write(path, model, &mut notes)?,
        SaeFormat::OpenAi => openai::write(path, model, &mut notes)?,
        SaeFormat::Saerch => openai::write_saerch(path, model, &mut notes)?,
        SaeFormat::HypotheSaes => hypothesaes::write(path, model)?,
        SaeFormat::GemmaScope => gemma_scope::write(path, model, &mut notes)?,
    }
    Ok(notes)
}

/// Whose autoencoder lies at a path, told by the names of what is there.
///
/// # Errors
/// A path where there is none, or of which more than one can be meant.
pub fn detect(path: &Path) -> Result<SaeFormat> {
    Place::of(path)?.format()
}

/// The autoencoder that takes rows as they are, where `model` takes them from a pipeline.
///
/// # Errors
/// A step that isn't the same affine map for every row, or any step before a layer norm: they can't be folded into weights.
pub fn unprepared(model: SaeModel, pipeline: &Pipeline) -> Result<SaeModel> {
    let steps = pipeline.recipes();
    if steps.is_empty() {
        return Ok(model);
    }
    let refused = |why: &str| {
        Error::data(format!(
            "the model takes rows through `{pipeline}`, which {why}; fit one on rows that are raw or centred (--prep center)"
        ))
    };
    if model.layer_norm {
        return Err(refused("can't be folded into weights that come after a layer norm"));
    }
    let (shift, scale) = pipeline.affine().ok_or_else(|| refused("differs from row to row, and can't be folded into weights"))?;
    let model = same::unprepared(model, &shift, &scale);
    model.check()?;
    Ok(model)
}

/// Where an autoencoder lies.
enum Place {
    /// A folder, and the names in it that tell a format.
    Folder(PathBuf),
    /// One file.
    File(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if meta.is_dir() {
            let params = path.join("params.npz");
            let folder = SaeFormat::ALL.into_iter().any(|f| f.files().is_some_and(|files| path.join(files[1]).is_file()));
            return Ok(if params.is_file() && !folder { Self::File(params) } else { Self::Folder(path.into()) });
        }
        // A file of a folder stands for the folder.
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let known = SaeFormat::ALL.into_iter().filter_map(SaeFormat::files).flatten().any(|file| file == name);
        Ok(match path.parent() {
            Some(folder) if known => Self::Folder(if folder.as_os_str().is_empty() { ".".into() } else { folder.into() }),
            _ => Self::File(path.into()),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File(path) => path,
        }
    }

    fn format(&self) -> Result<SaeFormat> {
        match self {
            Self::Folder(path) => {
                let there = |format: &SaeFormat| format.files().is_some_and(|files| files.iter().all(|f| path.join(f).is_file()));
                let found: Vec<SaeFormat> =
                    [SaeFormat::SaeLens, SaeFormat::Sparsify, SaeFormat::DictionaryLearning].into_iter().filter(there).collect();
                match found[..] {
                    [SaeFormat::SaeLens] => saelens::version(path),
                    [format] => Ok(format),
                    [] => Err(Error::format(
                        path,
                        "holds no sparse autoencoder that is known here: cfg.json with sae_weights.safetensors (saelens) or \
                         sae.safetensors (sparsify), config.json with ae.pt (dictionary-learning), or params.npz (gemma-scope)",
                    )),
                    _ => {
                        Err(Error::format(path, format!("holds autoencoders of {}; say which is meant (--from)", names(&found))))
                    }
                }
            }
            Self::File(path) => {
                let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
                match ending.as_str() {
                    "npz" => Ok(SaeFormat::GemmaScope),
                    "pt" | "pth" => openai::detect(path),
                    _ => Err(Error::format(
                        path,
                        format!(
                            "its name doesn't tell a sparse autoencoder; give a folder of saelens, sparsify or dictionary-learning, a .pt \
                             or an .npz, or say whose it is (--from {})",
                            names(&SaeFormat::ALL)
                        ),
                    )),
                }
            }
        }
    }
}

/// A file of JSON that holds one object.
fn object(path: &Path) -> Result<Map<String, Value>> {
    let length = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if length > LONGEST {
        return Err(Error::format(path, format!("{length} bytes long, where a configuration has {LONGEST} at most")));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    // Python writes NaN and Infinity into JSON, which isn't any.
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::format(path, "holds no object of names and values; copy it again")),
        Err(e) => Err(Error::format(path, format!("no whole JSON ({e}); copy it again"))),
    }
}

/// A whole number of a configuration, which must be there.
fn count(path: &Path, config: &Map<String, Value>, name: &str) -> Result<usize> {
    let value = config.get(name).and_then(Value::as_u64).and_then(|v| usize::try_from(v).ok());
    value.ok_or_else(|| {
        let is = config.get(name).map_or("is missing".into(), |v| format!("is {v}"));
        Error::format(path, format!("`{name}` {is}, where a whole number is needed"))
    })
}

/// Whether a flag of a configuration is set; `default` if it isn't there.
fn flag(path: &Path, config: &Map<String, Value>, name: &str, default: bool) -> Result<bool> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(v)) => Ok(*v),
        Some(v) => Err(Error::format(path, format!("`{name}` is {v}, where true or false is needed"))),
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::data(e.to_string()))?;
    write_whole(path, |file| file.write_all(text.as_bytes()))
}

/// Writes tensors of f32 (names, shapes, numbers) as safetensors, one after the other, so that no copy of them is held.
fn write_safetensors(path: &Path, tensors: &[(&str, Vec<usize>, &[f32])]) -> Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut at = 0;
    for (name, shape, numbers) in tensors {
        let end = at + 4 * numbers.len();
        header.insert((*name).into(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut header = Value::Object(header).to_string();
    // Numbers begin at a multiple of their length.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    write_whole(path, |file| {
        let mut out = BufWriter::new(file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|(_, _, numbers)| export::put_f32(&mut out, numbers))?;
        out.flush()
    })
}

/// Says that the prefixes of a model are left out, if it has any.
fn drop_prefixes(model: &SaeModel, notes: &mut Vec<String>) {
    if model.prefixes.len() > 1 {
        notes.push("the nested prefixes have no place in this format and are left out; codes don't depend on them".into());
    }
}

/// The gate as a top k: one that lets all through is the top n.
fn as_top_k(gate: &SaeGate, latents: usize) -> usize {
    match gate {
        SaeGate::TopK { k } | SaeGate::GroupMax { k } => *k,
        _ => latents,
    }
}

#[cfg(test)]
mod tests;
