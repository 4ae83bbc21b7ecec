//! Sentence encoders of BERT's kind: token vectors from a transformer, pooled to one vector a text.
//!
//! Reads folders as sentence-transformers saves them (all-MiniLM, bge, e5, gte): the architectures BERT (Devlin et al. 2019), DistilBERT and
//! MPNet, with mean, first-token or max pooling. Plain f32 products and exact GELU; nothing is padded: the texts of a batch
//! lie end to end, and attention sees one at a time. So an embedding has the same bits in any company, on any number of threads.
//! Left out: tokenisers other than WordPiece (RoBERTa and XLM-R have others), prompts that a model wants before a text (e5: "query: ").

use crate::layout::{Layout, Pooling};
use crate::weights::{self, Weights};
use crate::wordpiece::{WordPiece, read_json};
use crate::{Encoder, normalise};
use mereo::{Error, Mat, Result};
use rayon::prelude::*;
use std::path::Path;

mod names;
mod net;
use net::Net;

/// Tokens of a batch: enough rows for the products, few enough that what lies between them stays in a core's own cache.
const BATCH: usize = 512;

/// A sentence encoder.
#[derive(Debug)]
pub struct Bert {
    name: String,
    tokens: WordPiece,
    net: Net,
    longest: usize,
    lower: bool,
    pooling: Pooling,
    normalise: bool,
}

impl Bert {
    /// From a folder with config.json, model.safetensors and tokenizer.json or vocab.txt; modules.json, 1_Pooling/config.json and
    /// sentence_bert_config.json are obeyed where they are there (without: mean pooling, length as it comes).
    pub fn open(folder: &Path) -> Result<Self> {
        let layout = Layout::read(folder)?;
        let names = names::of(&layout.folder, &layout.config)?;
        let tokens = WordPiece::open(&layout.folder)?;
        let (path, bytes) = weights::load(&layout.folder)?;
        let net = Net::new(&Weights::new(&path, &bytes)?.after(names.words), &layout.config, &names)?;
        if tokens.largest() as usize >= net.vocabulary() {
            return Err(Error::format(
                path,
                format!(
                    "has vectors for {} tokens, the tokeniser numbers them up to {}; they are not of one model",
                    net.vocabulary(),
                    tokens.largest()
                ),
            ));
        }
        let settings = layout.folder.join("sentence_bert_config.json");
        let settings = if settings.is_file() { read_json(&settings)? } else { serde_json::Value::Null };
        let asked = settings["max_seq_length"].as_u64().map_or(usize::MAX, |n| n as usize);
        let longest = asked.min(net.longest());
        if longest <= tokens.around() {
            return Err(Error::format(folder, format!("max_seq_length is {asked}, which leaves no room for a text; set 256")));
        }
        Ok(Self {
            name: folder.display().to_string(),
            tokens,
            net,
            longest,
            lower: settings["do_lower_case"].as_bool().unwrap_or(false),
            pooling: layout.pooling,
            normalise: layout.normalise,
        })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Tokens of a text beyond which it is cut, those around it included.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How token vectors become one.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The token ids of a text as the transformer gets them.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        if self.lower { self.tokens.encode(&text.to_lowercase(), self.longest) } else { self.tokens.encode(text, self.longest) }
    }
}

impl Encoder for Bert {
    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, texts: &[&str]) -> Result<Mat> {
        let ids: Vec<Vec<u32>> = texts.par_iter().map(|t| self.tokens(t)).collect();
        // Longest first, so that no thread begins with them when the others are done.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(ids[i].len()), i));
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for i in order {
            if let Some(batch) = batches.last_mut().filter(|_| ids[i].len() <= room) {
                batch.push(i);
            } else {
                batches.push(vec![i]);
                room = BATCH;
            }
            room = room.saturating_sub(ids[i].len());
        }
        let done: Vec<Vec<f32>> = batches.par_iter().with_max_len(1).map(|batch| self.pooled(&ids, batch)).collect();
        let d = self.dim();
        let mut out = Mat::zeros(texts.len(), d);
        for (i, row) in batches.iter().flatten().zip(done.iter().flat_map(|rows| rows.chunks_exact(d))) {
            out.row_mut(*i).copy_from_slice(row);
        }
        if self.normalise {
            normalise(&mut out);
        }
        if let Some(at) = out.data.iter().position(|v| !v.is_finite()) {
            return Err(Error::data(format!(
                "the embedding of text {} is not finite; the weights of {} are damaged: copy them again",
                at / d,
                self.name
            )));
        }
        Ok(out)
    }
}

impl Bert {
    /// One vector for each text of a batch.
    fn pooled(&self, ids: &[Vec<u32>], batch: &[usize]) -> Vec<f32> {
        let texts: Vec<&[u32]> = batch.iter().map(|&i| ids[i].as_slice()).collect();
        let hidden = self.net.run(&texts);
        let d = self.dim();
        let mut out = Vec::with_capacity(batch.len() * d);
        let mut at = 0;
        for text in texts {
            let rows = &hidden[at * d..(at + text.len()) * d];
            at += text.len();
            match self.pooling {
                Pooling::Cls => out.extend_from_slice(&rows[..d]),
                Pooling::Max => {
                    out.extend((0..d).map(|j| rows.iter().skip(j).step_by(d).copied().fold(f32::NEG_INFINITY, f32::max)));
                }
                Pooling::Mean | Pooling::MeanSqrt => {
                    let n = text.len() as f64;
                    let over = if self.pooling == Pooling::Mean { n } else { n.sqrt() };
                    let mut sums = vec![0f64; d];
                    rows.chunks_exact(d).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v)));
                    out.extend(sums.iter().map(|s| (s / over) as f32));
                }
            }
        }
        out
    }
}
