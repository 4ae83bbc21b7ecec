//! What the latents of a fitted model mean, told by the rows of a corpus and their texts.
//!
//! Everything here works for any model whose codes are sparse or not negative, and without a network. Random choices are by seed, and ties by
//! index, so that the same input gives the same output.
//!
//! - [`codes`]: codes of a corpus, by row and by latent. [`texts`]: its texts. [`words`]: those as numbered words.
//! - [`index`]: all that on disk.
//! - [`look`]: what is to be seen of a latent, of a row, of a class of rows. [`near`]: the nearest rows. [`lexical`]: search by words.
//! - [`examples`]: the rows that show what a latent means. [`terms`]: labels from their words. [`score`]: how well labels do.
//! - [`chat`]: what a language model is asked for labels, and how its answers are read.
//! - [`families`]: general latents and the specific ones below them, by co-occurrence.
//! - [`splitting`]: latents of one model in another, and those that absorb what a more general one should tell.
//! - [`steer`]: queries that are moved along latents.

pub mod chat;
pub mod codes;
pub mod examples;
pub mod families;
pub mod index;
pub mod lexical;
pub mod look;
pub mod near;
pub mod score;
pub mod splitting;
pub mod steer;
pub mod terms;
pub mod texts;
pub mod words;

pub use codes::{Both, Lists};
pub use index::Index;
pub use texts::Texts;
