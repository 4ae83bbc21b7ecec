//! Pictures of mereo models: montages of atoms as PNG.

mod picture;

pub use picture::{montage, png};
