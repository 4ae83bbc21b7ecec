//! Sparse autoencoders: many more latents than dimensions, few of them alive on any row.

mod model;

pub use model::{LAYER_NORM_EPSILON, SaeGate, SaeModel};
