//! What the latents of a fitted model mean, told by the rows of a corpus and their texts.
//!
//! Everything here works for any model whose codes are sparse or not negative, and without a network. Random choices are by seed, and ties by
//! index, so that the same input gives the same output.
//!
//! - [`codes`]: codes of a corpus, by row and by latent. [`texts`]: its texts. [`index`]: all that on disk.
//! - [`look`]: what is to be seen of a latent, of a row, of a class of rows. [`near`]: the nearest rows. [`lexical`]: search by words.
//! - [`steer`]: queries that are moved along latents.

pub mod codes;
pub mod index;
pub mod lexical;
pub mod look;
pub mod near;
pub mod steer;
pub mod texts;

pub use codes::{Both, Lists};
pub use index::Index;
pub use texts::Texts;
