//! Labels of latents, kept in the index.

use super::Index;
use mereo::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;

const FILE: &str = "labels.jsonl";

/// What a latent is called, by whom, and how well that foretells where it is active.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// The latent.
    pub latent: usize,
    /// What it is called.
    pub label: String,
    /// Who called it so: `terms`, or the name of a language model.
    pub by: String,
    /// Who foretold from the label where it is active, and was scored: `offline`, or the name of a language model; empty if nobody did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scored_by: String,
    /// Pearson correlation of what was foretold and what is; none if it was not scored, or all was foretold alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pearson: Option<f64>,
    /// F1 of what was foretold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
}

impl Index {
    /// The label of each latent (k), where it has one.
    ///
    /// # Errors
    /// A file of labels that is damaged.
    pub fn labels(&self) -> Result<Vec<Option<Labelled>>> {
        let mut labels = vec![None; self.about.latents];
        let path = self.path().join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(labels),
            Err(e) => return Err(Error::io(path, e)),
        };
        for (n, line) in text.lines().enumerate() {
            let label: Labelled = serde_json::from_str(line).map_err(|e| {
                Error::data(format!("line {} of {} is no label ({e}); delete the file and label again", n + 1, path.display()))
            })?;
            self.need_latent(label.latent)?;
            let place = label.latent;
            labels[place] = Some(label);
        }
        Ok(labels)
    }

    /// Keeps labels, in place of all that there were.
    ///
    /// # Errors
    /// The index can't be written.
    pub fn keep_labels(&self, labels: &[Labelled]) -> Result<()> {
        let mut text = String::new();
        for label in labels {
            text += &serde_json::to_string(label).map_err(|e| Error::data(format!("a label can't be written: {e}")))?;
            text.push('\n');
        }
        mereo::store::write_whole(&self.path().join(FILE), |file| file.write_all(text.as_bytes()))
    }
}
