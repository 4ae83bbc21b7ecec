//! Static embeddings: one vector a token, whatever stands around it; a text is the mean of its tokens' vectors.
//!
//! Hundreds of times as fast as a transformer, and coarser. Reads the folders of model2vec (Minish Lab 2024) and of
//! sentence-transformers' StaticEmbedding, and any matrix in a safetensors file beside a `vocab.txt` or `tokenizer.json`.

use crate::layout::Layout;
use crate::weights::Weights;
use crate::wordpiece::WordPiece;
use crate::{Encoder, normalise};
use mereo::{Error, Mat, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Tokens of a text beyond which model2vec cuts it.
const LONGEST: usize = 512;

/// A table of token vectors.
#[derive(Debug)]
pub struct Fixed {
    name: String,
    tokens: WordPiece,
    /// A vector for each token.
    table: Mat,
    normalise: bool,
    /// Whether unknown words are passed over, and texts cut.
    model2vec: bool,
}

impl Fixed {
    /// From a folder. The table is the tensor `embeddings` or `embedding.weight`, or the only matrix there is; model2vec's `weights` and `mapping`
    /// are obeyed.
    pub fn open(folder: &Path) -> Result<Self> {
        let layout = Layout::read(folder)?;
        let path = file(&layout.folder)?;
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let weights = Weights::new(&path, &bytes)?;
        let names = weights.names();
        let matrices: Vec<&str> = names.iter().copied().filter(|n| weights.shape(n).is_ok_and(|s| s.len() == 2)).collect();
        let usual = ["embeddings", "embedding.weight"].into_iter().find(|n| weights.has(n));
        let name = match (usual, matrices.as_slice()) {
            (Some(name), _) => name,
            (None, [name]) => *name,
            (None, []) => {
                return Err(weights.error(format!("holds no matrix, but {}; a table of token vectors is one", names.join(", "))));
            }
            (None, many) => {
                return Err(weights
                    .error(format!("holds the matrices {}; name the table of token vectors `embeddings`", many.join(", "))));
            }
        };
        let mut table = weights.mat(name)?;
        if weights.has("mapping") {
            let rows = weights.indices("mapping")?;
            if let Some(row) = rows.iter().find(|&&row| row >= table.rows) {
                return Err(weights.error(format!("maps a token to row {row} of {}; copy it again", table.rows)));
            }
            let data = rows.iter().flat_map(|&row| table.row(row).to_vec()).collect();
            table = Mat::new(rows.len(), table.cols, data)?;
        }
        if weights.has("weights") {
            let scale = weights.take("weights", &[table.rows])?;
            for (row, s) in table.data.chunks_exact_mut(table.cols).zip(scale) {
                row.iter_mut().for_each(|v| *v *= s);
            }
        }
        let mut fixed = Self::new(WordPiece::open(&layout.folder)?, table)?;
        fixed.name = folder.display().to_string();
        fixed.normalise = layout.normalise;
        fixed.model2vec = layout.config["model_type"] == "model2vec" || layout.config["architectures"][0] == "StaticModel";
        Ok(fixed)
    }

    /// From tokens and their vectors (one a row, tokens × dim), without normalisation.
    pub fn new(tokens: WordPiece, table: Mat) -> Result<Self> {
        if tokens.largest() as usize >= table.rows {
            return Err(Error::data(format!(
                "the table has {} rows, the tokeniser numbers its tokens up to {}; they are not of one model",
                table.rows,
                tokens.largest()
            )));
        }
        Ok(Self { name: "table".into(), tokens, table, normalise: false, model2vec: false })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The same with rows made of length 1, or not.
    #[must_use]
    pub fn normalised(mut self, on: bool) -> Self {
        self.normalise = on;
        self
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        if !self.model2vec {
            return self.tokens.pieces(text, usize::MAX);
        }
        let mut ids = self.tokens.pieces(text, LONGEST);
        ids.retain(|id| Some(*id) != self.tokens.unknown());
        ids
    }
}

/// The one file of weights.
fn file(folder: &Path) -> Result<PathBuf> {
    let usual = folder.join("model.safetensors");
    if usual.is_file() {
        return Ok(usual);
    }
    let all = std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?.flatten().map(|e| e.path());
    let all: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "safetensors")).collect();
    match all.as_slice() {
        [only] => Ok(only.clone()),
        many => Err(Error::format(
            folder,
            format!("holds {} .safetensors files; one with the table of token vectors is needed", many.len()),
        )),
    }
}

impl Encoder for Fixed {
    fn dim(&self) -> usize {
        self.table.cols
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// A text without a known token is a row of zeros.
    fn encode(&self, texts: &[&str]) -> Result<Mat> {
        let d = self.dim();
        let mut out = Mat::zeros(texts.len(), d);
        out.data.par_chunks_mut(d).zip(texts).for_each(|(row, text)| {
            let ids = self.ids(text);
            let mut sums = vec![0f64; d];
            for id in &ids {
                sums.iter_mut().zip(self.table.row(*id as usize)).for_each(|(s, v)| *s += f64::from(*v));
            }
            let n = ids.len().max(1) as f64;
            row.iter_mut().zip(sums).for_each(|(v, s)| *v = (s / n) as f32);
        });
        if self.normalise {
            normalise(&mut out);
        }
        Ok(out)
    }
}
