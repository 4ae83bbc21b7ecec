//! mereo learns what data is made of.
//!
//! Every method here explains a matrix of n rows and d columns the same way: **rows ≈ codes · atoms**.
//! It learns k atoms in d dimensions and a way to encode a row as weights on them. The methods differ in what
//! they forbid: principal components are orthogonal ([`Pca`]), a codeword stands alone ([`Vq`]), parts only add
//! ([`Nmf`]), and what an autoencoder ([`Ae`]) may do is set by its function and its penalties.
//!
//! The pieces, from the data up:
//!
//! - [`mat`]: rows in memory, dense or CSR. [`source`]: rows cut into blocks, in memory or in files.
//! - [`missing`]: entries that nobody knows, and entries that count more than others.
//! - [`prepare`]: named, stored, invertible steps before a fit.
//! - [`fold`]: the one loop. Rows leave behind sums; a small update turns sums into the next state.
//! - [`model`]: what measure, inspect, compare and export need of a fitted model.
//! - [`compare`]: fitted models side by side, as plain data for reports.
//! - [`rank`]: how many atoms, by entries held out and by seeds. [`scaling`]: how a loss falls with latents and with those alive.
//! - [`dynamics`]: theory of how shallow autoencoders learn.
//! - [`export`]: atoms and codes as files for others.
//! - [`formats`]: sparse autoencoders of other libraries, read and written.
//! - [`store`]: one file format, safetensors with a JSON header.

pub mod ae;
pub mod bundle;
pub mod comm;
pub mod compare;
pub mod data;
pub mod dynamics;
pub mod error;
pub mod export;
pub mod fold;
pub mod formats;
mod given;
pub mod linalg;
pub mod mat;
pub mod measure;
pub mod missing;
pub mod model;
mod moments;
pub mod nmf;
pub mod pca;
pub mod prepare;
pub mod rank;
pub mod rng;
pub mod sae;
pub mod scaling;
mod schedule;
pub mod source;
mod spare;
pub mod store;
pub mod synth;
pub mod vq;

pub use ae::{Ae, AeActivation, AeInit, AeModel, AeOptimizer};
pub use error::{Error, Result};
pub use mat::{Csr, Mat, Rows};
pub use missing::Missing;
pub use model::{Codes, Model};
pub use nmf::{Nmf, NmfInit, NmfLoss, NmfModel, NmfSolver};
pub use pca::{Pca, PcaModel, PcaSolver};
pub use prepare::{Pipeline, Recipe};
pub use sae::{Sae, SaeArchitecture, SaeAux, SaeBias, SaeGate, SaeInit, SaeModel, SaeOptimizer};
pub use schedule::Decay;
pub use vq::{Vq, VqInit, VqMetric, VqModel};

/// The example of the README, run with the others.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
