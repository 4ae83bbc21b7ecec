//! What the latents of a fitted model mean, told by the rows of a corpus and their texts.
//!
//! Everything here works for any model whose codes are sparse or not negative, and without a network. Random choices are by seed, and ties by
//! index, so that the same input gives the same output.
//!
//! - [`codes`]: codes of a corpus, by row and by latent.
//! - [`families`]: general latents and the specific ones below them, by co-occurrence.
//! - [`splitting`]: latents of one model in another, and those that absorb what a more general one should tell.

pub mod codes;
pub mod families;
pub mod splitting;

pub use codes::{Both, Lists};
