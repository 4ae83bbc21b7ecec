//! Texts to embeddings: encoders on this machine, and endpoints of others. Nothing is sent anywhere unless an endpoint was named.
//!
//! - [`open`]: an encoder from a folder or from the cache of Hugging Face, offline.
//! - [`Bert`]: sentence encoders of BERT's kind. [`Fixed`]: a table of token vectors, averaged.
//! - [`endpoint`]: any server that speaks as OpenAI's does.
//! - [`read`]: texts, and what stands beside them, from files.

pub mod bert;
pub mod endpoint;
pub mod fixed;
mod hub;
mod lanes;
mod layout;
pub mod read;
mod weights;
pub mod wordpiece;

pub use bert::Bert;
pub use fixed::Fixed;
pub use read::{Column, Keep, Reading, Table};

use layout::{Kind, Layout};
use mereo::{Mat, Result};

/// What turns texts into rows of numbers.
pub trait Encoder: Send + Sync {
    /// Numbers of an embedding.
    fn dim(&self) -> usize;
    /// The embeddings (texts × dim), in the order of the texts.
    fn encode(&self, texts: &[&str]) -> Result<Mat>;
    /// What it is called: a folder or a name.
    fn name(&self) -> &str;
}

/// The encoder in a folder, or by its name in the cache of Hugging Face (`org/name`; names without an organisation are those of
/// sentence-transformers). Nothing is downloaded.
///
/// Reads sentence encoders of BERT's kind ([`Bert`]) and tables of token vectors ([`Fixed`]), as sentence-transformers and model2vec save
/// them. The error says what is missing, or which part of the model isn't known here.
///
/// ```no_run
/// let encoder = mereo_text::open("sentence-transformers/all-MiniLM-L6-v2")?;
/// let rows = encoder.encode(&["Galaxies of the early universe.", "Sparse autoencoders."])?;
/// assert_eq!((rows.rows, rows.cols), (2, 384));
/// # Ok::<(), mereo::Error>(())
/// ```
pub fn open(path_or_name: &str) -> Result<Box<dyn Encoder>> {
    let folder = hub::find(path_or_name)?;
    Ok(match Layout::read(&folder)?.kind {
        Kind::Transformer => Box::new(Bert::open(&folder)?.named(path_or_name)),
        Kind::Table => Box::new(Fixed::open(&folder)?.named(path_or_name)),
    })
}

/// Each row ← itself over its length; rows of zeros stay.
fn normalise(rows: &mut Mat) {
    for row in rows.data.chunks_exact_mut(rows.cols.max(1)) {
        let length = mereo::linalg::dot(row, row).sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
    }
}

#[cfg(test)]
mod tests;
