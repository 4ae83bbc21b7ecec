//! What the latents of a fitted model mean, told by the rows of a corpus and their texts.
//!
//! Everything here works for any model whose codes are sparse or not negative, and without a network. Random choices are by seed, and ties by
//! index, so that the same input gives the same output.
//!
//! - [`codes`]: codes of a corpus, by row and by latent. [`texts`]: its texts. [`words`]: those as numbered words.
//! - [`examples`]: the rows that show what a latent means. [`terms`]: labels from their words. [`score`]: how well labels do.
//! - [`chat`]: what a language model is asked for labels, and how its answers are read.

pub mod chat;
pub mod codes;
pub mod examples;
pub mod score;
pub mod terms;
pub mod texts;
pub mod words;

pub use codes::{Both, Lists};
pub use texts::Texts;
