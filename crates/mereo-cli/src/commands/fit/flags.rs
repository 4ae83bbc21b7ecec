//! Every parameter of every method as a flag.
//!
//! A struct here has the same fields as the library's parameter struct, as clap and serde see them; the values travel
//! through serde, so a field that is missing, misspelt or of another default fails the tests below.

use crate::commands::choice::{Choice, typed, words};
use crate::failure::Result;
use mereo::source::Open;
use mereo::{
    Ae, AeActivation, AeInit, AeOptimizer, Decay, Mat, Missing, Nmf, NmfInit, NmfLoss, NmfSolver, Pca, PcaSolver, Sae,
    SaeArchitecture, SaeAux, SaeBias, SaeInit, SaeOptimizer, Vq, VqInit, VqMetric,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Flags of a method that stand for its parameters `M`.
pub trait Flags: Serialize + Sized {
    /// The library's parameter struct.
    type Method: mereo::fold::Method + DeserializeOwned;

    /// The parameters that were typed.
    fn method(&self) -> Result<Self::Method> {
        typed(self)
    }

    /// Files that are read for a parameter.
    fn inputs(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// A file that says how much each row or entry of the data counts.
    fn weights(&self) -> Option<&Path> {
        None
    }
}

/// The first atoms of a fit, from a file.
fn atoms(path: &Path) -> Result<Mat> {
    let atoms = mereo::source::open(path, &Open::default())?;
    Ok(mereo::fold::collect(atoms.source.as_ref())?)
}

/// Flags of `mereo fit pca`.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Principal components")]
pub struct PcaFlags {
    /// Number of atoms: components to keep.
    #[arg(short, long, visible_alias = "atoms", value_name = "ATOMS", default_value_t = Pca::default().k)]
    pub k: usize,
    /// Subtract the mean of each column first; Lee and Seung's figures use --center=false.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Pca::default().center)]
    pub center: bool,
    /// Scale the codes to unit variance; decoding undoes it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Pca::default().whiten)]
    pub whiten: bool,
    /// How the components are found: exactly from the covariance, by a randomised range finder, or as the shape suggests.
    #[arg(long, value_parser = words::<PcaSolver>(), default_value_t = Choice(Pca::default().solver))]
    pub solver: Choice<PcaSolver>,
    /// Directions beyond k that the randomised solver follows.
    #[arg(long, value_name = "N", default_value_t = Pca::default().oversample)]
    pub oversample: usize,
    /// Power passes of the randomised solver; each is one more read of the data and sharpens the components.
    #[arg(long, value_name = "N", default_value_t = Pca::default().power)]
    pub power: usize,
    /// Seed of all randomness; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = Pca::default().seed)]
    pub seed: u64,
}

/// Flags of `mereo fit vq`.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Vector quantisation")]
pub struct VqFlags {
    /// Number of atoms: codewords (cells).
    #[arg(short, long, visible_alias = "atoms", value_name = "ATOMS", default_value_t = Vq::default().k)]
    pub k: usize,
    /// What is near: Euclidean distance, or the angle alone (spherical).
    #[arg(long, value_parser = words::<VqMetric>(), default_value_t = Choice(Vq::default().metric))]
    pub metric: Choice<VqMetric>,
    /// The first codewords: rows far from each other (k-means++), rows at random, or given by --given.
    #[arg(long, value_parser = words::<VqInit>(), default_value_t = Choice(Vq::default().init))]
    pub init: Choice<VqInit>,
    /// A file of the first codewords (k rows, as many columns as the data), for --init given.
    #[arg(long, value_name = "FILE", required_if_eq("init", "given"))]
    #[serde(skip)]
    pub given: Option<PathBuf>,
    /// A file of one column: how much each row of the data counts.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub weights: Option<PathBuf>,
    /// Independent starts, of which the one with the lowest loss is kept.
    #[arg(long, value_name = "N", default_value_t = Vq::default().n_init)]
    pub n_init: usize,
    /// Passes over the data at most, in each start.
    #[arg(long, value_name = "N", default_value_t = Vq::default().max_passes)]
    pub max_passes: usize,
    /// Stop when the centres move by no more than this share of a column's mean variance; 0 runs to --max-passes.
    #[arg(long, value_name = "SHARE", default_value_t = Vq::default().tol)]
    pub tol: f64,
    /// Rows that the start looks at [default: 64 for each atom, and at least 8192].
    #[arg(long, value_name = "ROWS")]
    pub sample: Option<usize>,
    /// Seed of all randomness; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = Vq::default().seed)]
    pub seed: u64,
}

/// Flags of `mereo fit nmf`.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Non-negative matrix factorisation")]
pub struct NmfFlags {
    /// Number of atoms: parts.
    #[arg(short, long, visible_alias = "atoms", value_name = "ATOMS", default_value_t = Nmf::default().k)]
    pub k: usize,
    /// What is minimised: squared, kullback-leibler (kl), itakura-saito (is), or the number β of a β-divergence.
    #[arg(long, value_name = "LOSS", default_value_t = Nmf::default().loss)]
    pub loss: NmfLoss,
    /// Rule of the updates: the fastest for the loss (auto); for squared error extrapolated coordinate descent (accelerated), plain (cd), or solved to the end (exact), or by batches of rows for a file larger than memory (online); for Kullback-Leibler second-order steps (newton); atoms from the rows (separable); multiplicative (mu); Lee and Seung's of 1999; local NMF (local).
    #[arg(long, value_parser = words::<NmfSolver>(), default_value_t = Choice(Nmf::default().solver))]
    pub solver: Choice<NmfSolver>,
    /// The first atoms: random, from singular vectors (nndsvd, nndsvda, nndsvdar), centres of clusters (k-means), rows that no others mix to (spa, snpa), or given by --given.
    #[arg(long, value_parser = words::<NmfInit>(), default_value_t = Choice(Nmf::default().init))]
    pub init: Choice<NmfInit>,
    /// A file of the first atoms (k rows, as many columns as the data), for --init given, or of those that --fixed keeps.
    #[arg(long, value_name = "FILE", required_if_eq("init", "given"))]
    #[serde(skip)]
    pub given: Option<PathBuf>,
    /// So many first atoms of --given stay as they are, whatever the start.
    #[arg(long, value_name = "ATOMS", default_value_t = Nmf::default().fixed)]
    pub fixed: usize,
    /// Coordinate sweeps over the codes of a row in each pass.
    #[arg(long, value_name = "N", default_value_t = Nmf::default().sweeps)]
    pub sweeps: usize,
    /// Rows between two improvements of the atoms, for --solver online.
    #[arg(long, value_name = "ROWS", default_value_t = Nmf::default().batch)]
    pub batch: usize,
    /// Penalty of the codes, in scikit-learn's scaling: that of L2, or of L1 for the share --l1-ratio.
    #[arg(long, value_name = "ALPHA", default_value_t = Nmf::default().alpha_w)]
    pub alpha_w: f64,
    /// Penalty of the atoms, in scikit-learn's scaling.
    #[arg(long, value_name = "ALPHA", default_value_t = Nmf::default().alpha_h)]
    pub alpha_h: f64,
    /// Share of L1 in both penalties: 0 is L2 alone, 1 is L1 alone.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().l1_ratio)]
    pub l1_ratio: f64,
    /// Hoyer's sparseness of every atom, met exactly: 0 (all entries equal) to 1 (a single one).
    #[arg(long, value_name = "SPARSENESS")]
    pub sparse_atoms: Option<f64>,
    /// Hoyer's sparseness of every atom's codes over the fitted rows, which must fit in memory as one block.
    #[arg(long, value_name = "SPARSENESS")]
    pub sparse_codes: Option<f64>,
    /// Smoothing of the codes by nsNMF, which makes atoms sparse, for --solver lee-seung: 0 (none) to 1.
    #[arg(long, value_name = "THETA", default_value_t = Nmf::default().theta)]
    pub theta: f64,
    /// Keeps atoms apart: the penalty of the cosines of all pairs, as a share of the data's square.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().orthogonal)]
    pub orthogonal: f64,
    /// Keeps atoms close together: the penalty of the logarithm of their volume, as a share of the data's square.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().volume)]
    pub volume: f64,
    /// Keeps neighbouring pixels of an atom alike: the penalty of their differences, as a share of the data's square; needs --image.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().smooth)]
    pub smooth: f64,
    /// Height and width of the images that the rows are, for --smooth, such as 19x19.
    #[arg(long, value_name = "HxW", value_parser = crate::args::shape)]
    pub image: Option<(usize, usize)>,
    /// Let atoms, and the data, be negative (semi-NMF); codes stay at least 0.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Nmf::default().signed)]
    pub signed: bool,
    /// Which entries of the data are unknown and have no influence: none (a NaN is an error), nan, or zeros (and nan), as in a table of ratings.
    #[arg(long, value_parser = words::<Missing>(), default_value_t = Choice(Nmf::default().missing))]
    pub missing: Choice<Missing>,
    /// A file of how much each entry of the data counts, as many rows and columns, or one column: a weight for every row.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub weights: Option<PathBuf>,
    /// Independent starts, of which the one with the lowest loss is kept; for random, k-means and nndsvdar.
    #[arg(long, value_name = "N", default_value_t = Nmf::default().restarts)]
    pub restarts: usize,
    /// Passes over the data at most, in each start.
    #[arg(long, value_name = "N", default_value_t = Nmf::default().max_passes)]
    pub max_passes: usize,
    /// Stop when a pass changes the loss by no more than this share of it; 0 runs to --max-passes.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().tol)]
    pub tol: f64,
    /// Encoding a row stops when no slope is further than this share from where it should be.
    #[arg(long, value_name = "SHARE", default_value_t = Nmf::default().encode_tol)]
    pub encode_tol: f64,
    /// Sweeps over the codes of a row at most when encoding.
    #[arg(long, value_name = "N", default_value_t = Nmf::default().encode_max)]
    pub encode_max: usize,
    /// Seed of all randomness; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = Nmf::default().seed)]
    pub seed: u64,
}

/// Flags of `mereo fit ae`.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Autoencoder")]
#[allow(clippy::struct_excessive_bools, reason = "as in the library")]
pub struct AeFlags {
    /// Number of atoms: units; more than columns are allowed.
    #[arg(short, long, visible_alias = "atoms", value_name = "ATOMS", default_value_t = Ae::default().k)]
    pub k: usize,
    /// The function of the codes.
    #[arg(long, value_parser = words::<AeActivation>(), default_value_t = Choice(Ae::default().activation))]
    pub activation: Choice<AeActivation>,
    /// The decoder is the encoder.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().tied)]
    pub tied: bool,
    /// A bias in the encoder.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().encoder_bias)]
    pub encoder_bias: bool,
    /// A bias in the decoder.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().decoder_bias)]
    pub decoder_bias: bool,
    /// Divide what reaches a unit by the root of the number of columns, as theory does.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().scaled)]
    pub scaled: bool,
    /// Learn in units in which rows have mean 0 and mean square 1; the model is in those of the data.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().normalize)]
    pub normalize: bool,
    /// The first weights: the strongest directions of a sample of the rows (principal), or random.
    #[arg(long, value_parser = words::<AeInit>(), default_value_t = Choice(Ae::default().init))]
    pub init: Choice<AeInit>,
    /// Penalty of the squares of the weights.
    #[arg(long, value_name = "PENALTY", default_value_t = Ae::default().weight_decay)]
    pub weight_decay: f64,
    /// Penalty of the mean size of the codes.
    #[arg(long, value_name = "PENALTY", default_value_t = Ae::default().l1)]
    pub l1: f64,
    /// Penalty of mean codes that differ from --rho, for --activation sigmoid.
    #[arg(long, value_name = "PENALTY", default_value_t = Ae::default().kl)]
    pub kl: f64,
    /// The mean that --kl asks of every code.
    #[arg(long, value_name = "MEAN", default_value_t = Ae::default().rho)]
    pub rho: f64,
    /// Keep the weights at 0 or above; without --decoder-bias atoms then only add, as those of NMF.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Ae::default().nonnegative)]
    pub nonnegative: bool,
    /// How weights follow their gradient.
    #[arg(long, value_parser = words::<AeOptimizer>(), default_value_t = Choice(Ae::default().optimizer))]
    pub optimizer: Choice<AeOptimizer>,
    /// Share of the last step that is repeated, for --optimizer sgd.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().momentum)]
    pub momentum: f64,
    /// Length of a step [default: 1 over the number of columns, at most 0.02, for adam and adamw; 0.2 for sgd].
    #[arg(long, value_name = "LENGTH")]
    pub lr: Option<f64>,
    /// How slowly the mean gradient of adam and adamw forgets.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().beta1)]
    pub beta1: f64,
    /// How slowly their mean squared gradient forgets.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().beta2)]
    pub beta2: f64,
    /// Rows between two steps.
    #[arg(long, value_name = "ROWS", default_value_t = Ae::default().batch)]
    pub batch: usize,
    /// Passes over the data at most.
    #[arg(long, value_name = "N", default_value_t = Ae::default().max_passes)]
    pub max_passes: usize,
    /// Stop when a pass changes the loss by no more than this share of it; 0 runs to --max-passes.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().tol)]
    pub tol: f64,
    /// Share of the steps over which their length rises.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().warmup)]
    pub warmup: f64,
    /// How the length of steps goes down after that.
    #[arg(long, value_parser = words::<Decay>(), default_value_t = Choice(Ae::default().decay))]
    pub decay: Choice<Decay>,
    /// Passes in which rows that were held out may get no better before the fit stops, with the best model; 0 holds none out.
    #[arg(long, value_name = "N", default_value_t = Ae::default().patience)]
    pub patience: usize,
    /// Share of the rows that is held out for --patience.
    #[arg(long, value_name = "SHARE", default_value_t = Ae::default().validation)]
    pub validation: f64,
    /// Seed of all randomness; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = Ae::default().seed)]
    pub seed: u64,
}

/// Flags of `mereo fit sae`.
#[derive(Debug, clap::Args, Serialize)]
#[command(next_help_heading = "Sparse autoencoder")]
pub struct SaeFlags {
    /// Number of latents: rows of the dictionary, as a rule more than columns [default: 8 for each column].
    #[arg(long, visible_alias = "atoms", value_name = "LATENTS")]
    pub latents: Option<usize>,
    /// Latents alive on a row: the k largest (topk), k on the mean row (batch-topk), one of each of k groups (group-max).
    #[arg(short, long, value_name = "ALIVE", default_value_t = Sae::default().k)]
    pub k: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub form: SaeForm,
    /// Length of a step [default: 1.6e-3 / sqrt(latents / 16384) for adam, an eighth of that for signum, 2e-3 for muon].
    #[arg(long, value_name = "LENGTH")]
    pub lr: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub course: SaeCourse,
    /// Seed of all randomness; the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = Sae::default().seed)]
    pub seed: u64,
}

/// What a sparse autoencoder is and how it begins, but for its sizes.
#[derive(Debug, clap::Args, Serialize)]
pub struct SaeForm {
    /// Which latents are alive: the k largest of a row (topk), the B x k largest of a batch of B rows (batch-topk), those above a learned threshold (jumprelu), those that a gate opens to (gated), those above 0 with a penalty (relu), the largest of each of k groups (group-max).
    #[arg(long, value_parser = words::<SaeArchitecture>(), default_value_t = Choice(Sae::default().architecture))]
    pub architecture: Choice<SaeArchitecture>,
    /// Matryoshka: nested prefixes that each rebuild a row, as shares of the latents that rise to 1, such as 0.25,0.5,1 [default: none].
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub prefixes: Vec<f64>,
    /// Multi-TopK: weight of the loss of the 4k largest, as a rule 0.125; then one model serves several k. For --architecture topk.
    #[arg(long, value_name = "WEIGHT", default_value_t = Sae::default().multi)]
    pub multi: f64,
    /// What a code of 1 (relu, gated) or one more latent alive (jumprelu) costs; with --l0, what the squared share costs that L0 is off.
    #[arg(long, value_name = "LAMBDA", default_value_t = Sae::default().sparsity)]
    pub sparsity: f64,
    /// Latents alive on the mean row that --architecture jumprelu aims at.
    #[arg(long, value_name = "L0")]
    pub l0: Option<f64>,
    /// Width of the box by which thresholds learn, for --architecture jumprelu.
    #[arg(long, value_name = "WIDTH", default_value_t = Sae::default().bandwidth)]
    pub bandwidth: f64,
    /// Auxiliary loss that revives dead latents: that of O'Neill et al. 2024 (notes), of Gao et al. 2024 (openai), of sparsify, of SAELens, of dictionary_learning, or none.
    #[arg(long, value_parser = words::<SaeAux>(), default_value_t = Choice(Sae::default().aux))]
    pub aux: Choice<SaeAux>,
    /// Dead latents that rebuild the residual [default: that of --aux].
    #[arg(long, value_name = "LATENTS")]
    pub aux_k: Option<usize>,
    /// Weight of the auxiliary loss [default: that of --aux].
    #[arg(long, value_name = "ALPHA")]
    pub aux_weight: Option<f64>,
    /// A latent is dead after so many rows on which it was not alive [default: those of one pass].
    #[arg(long, value_name = "ROWS")]
    pub dead_rows: Option<u64>,
    /// The bias at first: median of each column of a sample, geometric median, mean, or zero.
    #[arg(long, value_parser = words::<SaeBias>(), default_value_t = Choice(Sae::default().bias))]
    pub bias: Choice<SaeBias>,
    /// The decoder at first: random directions, or those of random rows.
    #[arg(long, value_parser = words::<SaeInit>(), default_value_t = Choice(Sae::default().init))]
    pub init: Choice<SaeInit>,
    /// Learn in units in which the mean square length of a row is about 1; the model is in those of the data.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Sae::default().normalize)]
    pub normalize: bool,
    /// Take the mean off while learning; the model has it in its bias.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = Sae::default().center)]
    pub center: bool,
    /// How weights follow their gradient.
    #[arg(long, value_parser = words::<SaeOptimizer>(), default_value_t = Choice(Sae::default().optimizer))]
    pub optimizer: Choice<SaeOptimizer>,
}

/// How its steps go and when they end, but for their length and their seed.
#[derive(Debug, clap::Args, Serialize)]
pub struct SaeCourse {
    /// How slowly the mean gradient forgets.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().beta1)]
    pub beta1: f64,
    /// How slowly the mean squared gradient of adam forgets.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().beta2)]
    pub beta2: f64,
    /// Added to the root of the mean squared gradient of adam.
    #[arg(long, value_name = "EPSILON", default_value_t = Sae::default().epsilon)]
    pub epsilon: f64,
    /// The gradient is no longer than this; 0 for any length.
    #[arg(long, value_name = "LENGTH", default_value_t = Sae::default().clip)]
    pub clip: f64,
    /// Share of all steps over which their length rises.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().warmup)]
    pub warmup: f64,
    /// How the length of steps goes down after that.
    #[arg(long, value_parser = words::<Decay>(), default_value_t = Choice(Sae::default().decay))]
    pub decay: Choice<Decay>,
    /// How slowly the mean of the weights forgets that the model is then made of; 0 for the last weights.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().ema)]
    pub ema: f64,
    /// Rows between two steps.
    #[arg(long, value_name = "ROWS", default_value_t = Sae::default().batch)]
    pub batch: usize,
    /// Passes over the data at most.
    #[arg(long, value_name = "N", default_value_t = Sae::default().max_passes)]
    pub max_passes: usize,
    /// Stop when a pass changes the loss by no more than this share of it; 0 runs to --max-passes.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().tol)]
    pub tol: f64,
    /// Share of the rows that is held out, whose FVU is told after each pass and says which pass is kept; 0 for none.
    #[arg(long, value_name = "SHARE", default_value_t = Sae::default().validation)]
    pub validation: f64,
    /// Passes in which they may get no better before the fit stops; 0 for any number.
    #[arg(long, value_name = "N", default_value_t = Sae::default().patience)]
    pub patience: usize,
}

impl Flags for PcaFlags {
    type Method = Pca;
}

impl Flags for VqFlags {
    type Method = Vq;

    fn method(&self) -> Result<Vq> {
        let given = self.given.as_deref().map(atoms).transpose()?;
        Ok(Vq { weights: self.weights.is_some(), given, ..typed(self)? })
    }

    fn inputs(&self) -> Vec<&Path> {
        self.given.iter().chain(&self.weights).map(PathBuf::as_path).collect()
    }

    fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }
}

impl Flags for AeFlags {
    type Method = Ae;
}

impl Flags for SaeFlags {
    type Method = Sae;
}

impl Flags for NmfFlags {
    type Method = Nmf;

    fn method(&self) -> Result<Nmf> {
        let given = self.given.as_deref().map(atoms).transpose()?;
        Ok(Nmf { weights: self.weights.is_some(), given, ..typed(self)? })
    }

    fn inputs(&self) -> Vec<&Path> {
        self.given.iter().chain(&self.weights).map(PathBuf::as_path).collect()
    }

    fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::{CommandFactory, FromArgMatches};

    /// The flags as typed without any, and the command that they belong to.
    fn untouched<F: FromArgMatches>(method: &str) -> (F, clap::Command) {
        let matches = Cli::command().get_matches_from(["mereo", "fit", method, "faces", "-o", "out"]);
        let (_, fit) = matches.subcommand().expect("fit");
        let (_, own) = fit.subcommand().expect("method");
        let command = Cli::command().find_subcommand("fit").and_then(|c| c.find_subcommand(method)).expect("command").clone();
        (F::from_arg_matches(own).expect("flags"), command)
    }

    /// Fields, defaults and choices of the flags are those of the library.
    fn agree<F: Flags + FromArgMatches>(name: &str, files: &[&str])
    where
        F::Method: Default + Serialize,
    {
        let (flags, command) = untouched::<F>(name);
        let typed = serde_json::to_value(flags.method().expect("method")).expect("json");
        let ours = serde_json::to_value(F::Method::default()).expect("json");
        crate::commands::choice::agree(name, &command, &typed, &ours, files);
    }

    #[test]
    fn every_parameter_is_a_flag_with_the_same_default() {
        agree::<PcaFlags>("pca", &[]);
        agree::<VqFlags>("vq", &[]);
        agree::<NmfFlags>("nmf", &[]);
        agree::<AeFlags>("ae", &[]);
        agree::<SaeFlags>("sae", &[]);
    }
}
