//! Sparse autoencoders: many more latents than dimensions, few of them alive on any row.
//!
//! x̂ = h·V + b with h = gate(W (x − b) + bₑ): an encoder W (n×d) and a decoder V (n×d, the atoms, rows of length 1) of n latents, a bias b (d) that is
//! taken off before and added after, and a rule that says which latents are alive ([`SaeArchitecture`]). Minimises, batch by batch,
//!
//! Σ|x − x̂|² / Σ|x − x̄|² + λ·sparsity + α Σ|e − ê|² / Σ|e − ē|²
//!
//! with e = x − x̂ held fixed and ê what the k_aux best dead latents make of it ([`SaeAux`]: how the peers' variants differ). With `prefixes` the first
//! term is the mean over nested prefixes of the latents (Matryoshka: Bussmann et al. 2025, arXiv 2503.17547); with `multi` the same term
//! for the 4k largest is added (Multi-TopK: Gao et al. 2024). The reported loss is the first term of all latents, summed over a pass in which
//! the model got better: the share of variance left unexplained (FVU), a little above that of the model that comes out.
//!
//! **Units.** Steps are taken on y = (x − m)·f. f is the power of two that brings the mean square of a row of the sample close to 1 (`normalize`); m is
//! the mean of the sample (`center`; 0 by default, since b does that). Both go into the biases and thresholds at the end: V keeps rows of length 1, codes are in
//! the units of the data.
//!
//! **Start.** b is the median of a sample, rows of V random of length 1, W = V once (shorter by one factor where V is rows, whose codes would add
//! up to more than a row), free afterwards, all other biases 0.
//!
//! **A step.** The gradient of V loses its part along V; the whole is clipped to length `clip`; Adam, Signum or Muon; rows of V are brought back to
//! length 1. The default lr is the law 2e-4 / √(n / 2¹⁴) of Gao et al. 2024 times 8, which is what short runs on embeddings want.
//!
//! **Speed.** Only W y looks at all latents, in 16-bit whole numbers with a bound on what rounding can do; the few latents that may be alive are then computed
//! in f32, so that the choice is that of f32. Everything else touches latents alive: residuals and their products strip by strip of V, the
//! gradient, its projection, the optimiser, the length and the rounding in one pass over the rows. Several workers form the gradient as sums.
//!
//! Cost of a batch of B rows: 2Bnd operations in 16 bits, 8Bkd in f32, and one pass over 6nd numbers. Memory: 6½ numbers a weight (two less for Signum and
//! Muon, two more for `ema`), and 3Bd; no B×n, no gradient. Results depend on no block or thread; on workers only by the order of sums, but for BatchTopK, where each
//! worker chooses among its own rows. Left out: transcoders, missing entries, weights.
//!
//! Sources: O'Neill et al. 2024 (arXiv 2408.00657), Gao et al. 2024 (2406.04093); each architecture names its own.
//!
//! ```
//! use mereo::{Model, Sae, fold, measure, source::Memory, synth};
//! let x = synth::dictionary(2000, 16, 32, 3, 0)?.data;
//! let sae = Sae { latents: Some(64), k: 3, batch: 100, max_passes: 10, ..Sae::default() };
//! let fitted = fold::fit(&sae, &Memory::from(&x), fold::Options::default())?;
//! let errors = measure::errors(&fitted.model, &Memory::from(&x))?;
//! assert!(errors.fvu < 0.3, "{}", errors.fvu);
//! # Ok::<(), mereo::Error>(())
//! ```

mod aux;
mod batch;
mod model;
mod optimizer;
mod rule;
mod shortlist;
mod start;
mod step;
#[cfg(test)]
mod tests;

pub use aux::SaeAux;
pub use batch::SaeStats;
pub use model::{LAYER_NORM_EPSILON, SaeGate, SaeModel};

use crate::error::{Error, Result};
use crate::fold::{Early, Method, Plan, Progress, Shape, State};
use crate::linalg::Frame;
use crate::mat::{Mat, Rows};
use crate::schedule::Decay;
use crate::spare::Spare;
use crate::store::Bag;
use serde::{Deserialize, Serialize};
use shortlist::Packed;
use std::borrow::Cow;

/// Rows that b, the frame and the variance are taken from.
const SAMPLE: usize = 10_000;
/// Latents at most: an index is 32 bits, and so is a count of pairs.
const MOST: usize = 1 << 24;

/// Which latents are alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeArchitecture {
    /// The k largest of each row.
    #[default]
    #[serde(rename = "topk")]
    TopK,
    /// The B·k largest of a batch of B rows; a threshold once trained.
    #[serde(rename = "batch-topk")]
    BatchTopK,
    /// All above a threshold that is learned.
    #[serde(rename = "jumprelu")]
    JumpRelu,
    /// All that a gate opens to.
    Gated,
    /// All above zero, with a penalty on their sum.
    Relu,
    /// The largest of each of k groups.
    GroupMax,
}

/// What b is at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeBias {
    /// The median of each column of the sample.
    #[default]
    Median,
    /// The point with the least sum of distances to the rows of the sample.
    GeometricMedian,
    /// Their mean.
    Mean,
    /// Zero.
    Zero,
}

/// What the rows of V are at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeInit {
    /// Random directions.
    #[default]
    Random,
    /// Those of random rows of the sample from b, with some noise.
    Rows,
}

/// How steps are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeOptimizer {
    /// Adam.
    #[default]
    Adam,
    /// The sign of the mean gradient.
    Signum,
    /// The mean gradient with its singular values set to 1; biases as Signum.
    Muon,
}

/// Parameters of a sparse autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sae {
    /// Number of latents (n); 8d if `None`.
    pub latents: Option<usize>,
    /// Latents alive on a row (`topk`; on the mean row for `batch-topk`; groups for `group-max`).
    pub k: usize,
    /// Which latents are alive.
    pub architecture: SaeArchitecture,
    /// Nested prefixes that each rebuild a row, as shares of the latents, rising to 1 (Matryoshka); none if empty.
    pub prefixes: Vec<f64>,
    /// Weight of the loss of the 4k largest (Multi-TopK, 1/8 in Gao et al.); 0 for none.
    pub multi: f64,
    /// λ: what a code of 1 (`relu`, `gated`: in the units of rows of length 1) or one more latent (`jumprelu`) costs. With `l0`, of the squared share that L0 is off.
    pub sparsity: f64,
    /// Latents alive on the mean row that `jumprelu` aims at.
    pub l0: Option<f64>,
    /// Width of the box by which thresholds learn (`jumprelu`).
    pub bandwidth: f64,
    /// How dead latents are revived.
    pub aux: SaeAux,
    /// Dead latents that rebuild the residual; that of `aux` if `None`.
    pub aux_k: Option<usize>,
    /// Weight α of their loss; that of `aux` if `None`.
    pub aux_weight: Option<f64>,
    /// A latent is dead after so many rows on which it was not alive; those of one pass if `None`.
    pub dead_rows: Option<u64>,
    /// What b is at first.
    pub bias: SaeBias,
    /// What the decoder is at first.
    pub init: SaeInit,
    /// Whether rows are scaled to a mean square length of about 1 while it learns.
    pub normalize: bool,
    /// Whether the mean is taken off while it learns.
    pub center: bool,
    /// How steps are taken.
    pub optimizer: SaeOptimizer,
    /// Length of a step; by the √n law if `None`.
    pub lr: Option<f64>,
    /// Share of the mean gradient that is kept from step to step.
    pub beta1: f64,
    /// The same of the mean squared gradient (Adam).
    pub beta2: f64,
    /// Added to the root of the mean squared gradient (Adam).
    pub epsilon: f64,
    /// The gradient is no longer than this; 0 for any length.
    pub clip: f64,
    /// Share of all steps in which lr rises to its length.
    pub warmup: f64,
    /// What becomes of lr.
    pub decay: Decay,
    /// Share of the mean of the weights that is kept from step to step, which the model is then made of; 0 for the weights themselves.
    pub ema: f64,
    /// Rows of a step.
    pub batch: usize,
    /// Passes over the data at most.
    pub max_passes: usize,
    /// Ends when a pass changes the loss by no more than this share of it; 0 runs to `max_passes`.
    pub tol: f64,
    /// Share of the rows held out, whose FVU is told after each pass and says which pass is kept; 0 for none.
    pub validation: f64,
    /// Passes in which they may get no better before the fit ends; 0 for any number.
    pub patience: usize,
    /// Seed of the weights and of the order of the rows.
    pub seed: u64,
}

impl Default for Sae {
    fn default() -> Self {
        Self {
            latents: None,
            k: 32,
            architecture: SaeArchitecture::TopK,
            prefixes: Vec::new(),
            multi: 0.0,
            sparsity: 0.0,
            l0: None,
            bandwidth: 1e-3,
            aux: SaeAux::Notes,
            aux_k: None,
            aux_weight: None,
            dead_rows: None,
            bias: SaeBias::Median,
            init: SaeInit::Random,
            normalize: true,
            center: false,
            optimizer: SaeOptimizer::Adam,
            lr: None,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            clip: 1.0,
            warmup: 0.0,
            decay: Decay::Linear,
            ema: 0.0,
            batch: 1024,
            max_passes: 50,
            tol: 0.0,
            validation: 0.0,
            patience: 0,
            seed: 0,
        }
    }
}

/// One parameter and what its steps remember.
#[derive(Debug, Clone, Default, PartialEq)]
struct Param {
    value: Vec<f32>,
    /// The mean gradient.
    first: Vec<f32>,
    /// The mean squared gradient, for Adam.
    second: Vec<f32>,
    /// The mean of the values, if one is kept.
    average: Vec<f32>,
}

/// Sums of the pass so far.
#[derive(Debug, Clone, Default, PartialEq)]
struct PassSums {
    rows: f64,
    loss: f64,
    squares: f64,
    alive: f64,
    fired: Vec<f64>,
}

/// All that a fit has learned so far.
#[derive(Debug, Clone)]
pub struct SaeState {
    n: usize,
    d: usize,
    /// Rows of the data.
    rows: usize,
    frame: Frame,
    /// Mean |y − ȳ|² of a row of the sample.
    square: f64,
    /// Ends of the prefixes, at least n.
    prefixes: Vec<usize>,
    /// W (n×d), V (n×d), b (d).
    encoder: Param,
    decoder: Param,
    bias: Param,
    /// The bias of z and whatever the rule needs more (n each).
    own: Vec<Param>,
    /// Rows since each latent was last alive, and how many make it dead.
    idle: Vec<u64>,
    dead_rows: u64,
    steps: u64,
    /// Running means of the latents alive on a row, and of the least code of a batch.
    l0: f64,
    least: f64,
    pass: PassSums,
    /// Share of rows of the last pass on which each was alive, once there is one.
    density: Vec<f64>,
    /// W in 16 bits: made of it.
    packed: Packed,
    spare: Spare,
}

impl SaeState {
    fn pack(&mut self) {
        self.packed = Packed::of(&self.encoder.value, self.d);
    }

    /// The state that the model is made of: with the means of the weights, if they are kept.
    fn averaged(&self) -> Cow<'_, Self> {
        if self.encoder.average.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut state = self.clone();
        let params = [&mut state.encoder, &mut state.decoder, &mut state.bias];
        params.into_iter().chain(&mut state.own).for_each(|p| p.value.clone_from(&p.average));
        state.decoder.value.chunks_exact_mut(self.d).for_each(step::unit);
        state.pack();
        Cow::Owned(state)
    }

    /// Every parameter by name.
    fn params(&self) -> Vec<(String, &Param)> {
        let named = [("encoder", &self.encoder), ("decoder", &self.decoder), ("bias", &self.bias)];
        let own = self.own.iter().enumerate().map(|(i, p)| (format!("own{i}"), p));
        named.into_iter().map(|(name, p)| (name.to_string(), p)).chain(own).collect()
    }
}

impl State for SaeState {
    fn save(&self, bag: &mut Bag) {
        bag.put("shape", (self.n, self.d, self.rows, self.own.len()));
        bag.put_f32("shift", &self.frame.shift);
        bag.put_f32("factor", &[self.frame.factor]);
        bag.put("prefixes", &self.prefixes);
        for (name, p) in self.params() {
            for (part, v) in [("value", &p.value), ("first", &p.first), ("second", &p.second), ("average", &p.average)] {
                bag.put_f32(&format!("{name}.{part}"), v);
            }
        }
        bag.put("idle", &self.idle);
        bag.put("dead_rows", self.dead_rows);
        bag.put("steps", self.steps);
        bag.put_f64("running", &[self.square, self.l0, self.least]);
        bag.put_f64("pass", &[self.pass.rows, self.pass.loss, self.pass.squares, self.pass.alive]);
        bag.put_f64("fired", &self.pass.fired);
        bag.put_f64("density", &self.density);
    }

    fn load(bag: &Bag) -> Result<Self> {
        let (n, d, rows, own): (usize, usize, usize, usize) = bag.get("shape")?;
        let broken = || Error::data("the checkpoint's numbers are of different shapes; the file is damaged");
        let param = |name: &str, len: usize| -> Result<Param> {
            let part = |part: &str| bag.f32(&format!("{name}.{part}"));
            let p = Param { value: part("value")?, first: part("first")?, second: part("second")?, average: part("average")? };
            let fits = |v: &Vec<f32>, may_lack: bool| v.len() == len || (may_lack && v.is_empty());
            if fits(&p.value, false) && fits(&p.first, false) && fits(&p.second, true) && fits(&p.average, true) {
                Ok(p)
            } else {
                Err(broken())
            }
        };
        let ([factor], [square, l0, least], [pass_rows, loss, squares, alive]) =
            (&bag.f32("factor")?[..], &bag.f64("running")?[..], &bag.f64("pass")?[..])
        else {
            return Err(broken());
        };
        let weights = n.checked_mul(d).ok_or_else(broken)?;
        let mut state = Self {
            n,
            d,
            rows,
            frame: Frame { shift: bag.f32("shift")?, factor: *factor },
            square: *square,
            prefixes: bag.get("prefixes")?,
            encoder: param("encoder", weights)?,
            decoder: param("decoder", weights)?,
            bias: param("bias", d)?,
            own: (0..own.min(rule::OWN)).map(|i| param(&format!("own{i}"), n)).collect::<Result<_>>()?,
            idle: bag.get("idle")?,
            dead_rows: bag.get("dead_rows")?,
            steps: bag.get("steps")?,
            l0: *l0,
            least: *least,
            pass: PassSums { rows: *pass_rows, loss: *loss, squares: *squares, alive: *alive, fired: bag.f64("fired")? },
            density: bag.f64("density")?,
            packed: Packed::default(),
            spare: Spare::default(),
        };
        let lengths = state.frame.shift.len() == d && state.idle.len() == n && state.pass.fired.len() == n;
        if !lengths || own == 0 || state.prefixes.last() != Some(&n) {
            return Err(broken());
        }
        state.pack();
        Ok(state)
    }
}

impl Sae {
    /// lr where none is given: the law of Gao et al. for Adam, times what short runs want.
    fn rate(&self, n: usize) -> f64 {
        let law = 1.0 / (n as f64 / f64::from(1 << 14)).sqrt();
        self.lr.unwrap_or(match self.optimizer {
            SaeOptimizer::Adam => 1.6e-3 * law,
            SaeOptimizer::Signum => 2e-4 * law,
            SaeOptimizer::Muon => 2e-3,
        })
    }

    /// The latents and the length of a step that a fit of rows of `cols` columns takes: those that are set, or their defaults.
    pub fn chosen(&self, cols: usize) -> (usize, f64) {
        let n = self.latents.unwrap_or(8 * cols);
        (n, self.rate(n))
    }

    fn check_latents(&self, d: usize) -> Result<usize> {
        let (n, _) = self.chosen(d);
        for (name, v) in [("latents", n), ("k", self.k), ("batch", self.batch), ("max_passes", self.max_passes)] {
            if v == 0 {
                return Err(Error::parameter(format!("{name} = 0 learns nothing; give at least 1")));
            }
        }
        if n > MOST {
            return Err(Error::parameter(format!("latents = {n} exceeds the {MOST} that are supported; lower it")));
        }
        if self.k > n {
            return Err(Error::parameter(format!("k = {} exceeds the {n} latents; lower k or raise latents", self.k)));
        }
        if self.architecture == SaeArchitecture::GroupMax && !n.is_multiple_of(self.k) {
            return Err(Error::parameter(format!(
                "{n} latents can't be cut into k = {} groups of one size; make latents a multiple of k, such as {}",
                self.k,
                n.div_ceil(self.k) * self.k
            )));
        }
        Ok(n)
    }

    fn check_terms(&self, n: usize) -> Result<()> {
        let rises = self.prefixes.windows(2).all(|w| w[0] < w[1]);
        let ends = self.prefixes.last().is_none_or(|last| *last == 1.0);
        if !rises
            || !ends
            || self.prefixes.first().is_some_and(|first| *first <= 0.0)
            || self.ends(n).windows(2).any(|w| w[0] >= w[1])
        {
            return Err(Error::parameter(format!(
                "prefixes = {:?} must be shares of the {n} latents that rise to 1, with more latents each, such as 0.25,0.5,1",
                self.prefixes
            )));
        }
        for (name, v) in [("multi", self.multi), ("sparsity", self.sparsity), ("clip", self.clip), ("tol", self.tol)] {
            if !(v.is_finite() && v >= 0.0) {
                return Err(Error::parameter(format!("{name} = {v} must be 0 or more")));
            }
        }
        if let Some(weight) = self.aux_weight.filter(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(Error::parameter(format!("aux_weight = {weight} must be 0 or more")));
        }
        if self.multi > 0.0 && self.architecture != SaeArchitecture::TopK {
            return Err(Error::parameter(
                "multi is the loss of the 4k largest, which only the architecture topk has; leave it out",
            ));
        }
        let needs = matches!(self.architecture, SaeArchitecture::Relu | SaeArchitecture::Gated | SaeArchitecture::JumpRelu);
        if needs && self.sparsity == 0.0 {
            return Err(Error::parameter(
                "sparsity = 0 leaves every latent alive; give more than 0, such as 0.1, or use the architecture topk",
            ));
        }
        if let Some(l0) = self.l0 {
            if self.architecture != SaeArchitecture::JumpRelu {
                return Err(Error::parameter("l0 is what jumprelu aims at; the other architectures take k or sparsity"));
            }
            if !(l0 > 0.0 && l0 <= n as f64) {
                return Err(Error::parameter(format!(
                    "l0 = {l0} of {n} latents can't be alive; give a number between 0 and {n}"
                )));
            }
        }
        if !(self.bandwidth.is_finite() && self.bandwidth > 0.0) {
            return Err(Error::parameter(format!("bandwidth = {} must be more than 0, such as 0.001", self.bandwidth)));
        }
        Ok(())
    }

    fn check_steps(&self) -> Result<()> {
        if let Some(lr) = self.lr.filter(|lr| !(lr.is_finite() && *lr > 0.0)) {
            return Err(Error::parameter(format!(
                "lr = {lr} is no length of a step; give more than 0, such as 1e-3, or leave it out"
            )));
        }
        for (name, v) in [("beta1", self.beta1), ("beta2", self.beta2), ("ema", self.ema)] {
            if !(0.0..1.0).contains(&v) {
                return Err(Error::parameter(format!("{name} = {v} never forgets; give 0 or more and less than 1, such as 0.9")));
            }
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(Error::parameter(format!("epsilon = {} must be more than 0, such as 1e-8", self.epsilon)));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(Error::parameter(format!("warmup = {} is no share of the steps; give 0 to 1", self.warmup)));
        }
        if !(0.0..1.0).contains(&self.validation) {
            return Err(Error::parameter(format!(
                "validation = {} leaves no rows to learn from; give a share of 0 or more and less than 1, such as 0.1",
                self.validation
            )));
        }
        if self.patience > 0 && self.validation == 0.0 {
            return Err(Error::parameter("patience needs rows that are held out; set validation, such as 0.1"));
        }
        Ok(())
    }

    /// Ends of the prefixes in latents; n alone if there are none.
    fn ends(&self, n: usize) -> Vec<usize> {
        if self.prefixes.is_empty() {
            return vec![n];
        }
        self.prefixes.iter().map(|share| ((share * n as f64).round() as usize).clamp(1, n)).collect()
    }
}

impl Method for Sae {
    type State = SaeState;
    type Stats = SaeStats;
    type Model = SaeModel;

    fn name(&self) -> &'static str {
        "sae"
    }

    fn check(&self, shape: Shape) -> Result<()> {
        let n = self.check_latents(shape.cols)?;
        self.check_terms(n)?;
        self.check_steps()
    }

    fn plan(&self) -> Plan {
        Plan { max: self.max_passes, tol: self.tol, batch: Some(self.batch), shuffle: Some(self.seed) }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, shape: Shape) -> usize {
        SAMPLE.min(shape.rows)
    }

    fn least_sample(&self, shape: Shape) -> usize {
        256.min(shape.rows)
    }

    fn remedy(&self) -> Option<String> {
        Some(self.lr.map_or("set lr, lower than its default".into(), |lr| format!("lower lr, which was {lr}")))
    }

    fn early(&self) -> Option<Early> {
        let patience = if self.patience == 0 { usize::MAX } else { self.patience };
        (self.validation > 0.0).then_some(Early { share: self.validation, patience })
    }

    fn held_loss(&self, state: &SaeState, x: &Rows) -> Result<f64> {
        Ok(batch::loss(self, state, x))
    }

    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<SaeState> {
        let (n, d) = (self.check_latents(shape.cols)?, shape.cols);
        let plain = Frame { shift: vec![0.0; d], factor: 1.0 };
        let mut frame = if self.normalize || self.center { Frame::of(sample, self.center) } else { plain };
        // Of a row, not of an entry.
        frame.factor = if self.normalize { frame.factor * (2f32).powi(-((d as f32).log2() / 2.0).round() as i32) } else { 1.0 };
        let y = start::framed(sample, &frame);
        let mean = start::bias(SaeBias::Mean, &y, d);
        let square =
            y.chunks_exact(d).map(|y| y.iter().zip(&mean).map(|(v, m)| f64::from(v - m).powi(2)).sum::<f64>()).sum::<f64>()
                / sample.rows().max(1) as f64;
        let bias = start::bias(self.bias, &y, d);
        let decoder = start::decoder(self, n, d, &y, &bias, restart);
        let starts = rule::Rule::own_at_start(self);
        let own = (0..rule::Rule::own_of(self.architecture)).map(|i| {
            let value = if i == 0 { 0.0 } else { starts[i - 1] };
            Param::new(vec![value; n], self)
        });
        let mut state = SaeState {
            n,
            d,
            rows: shape.rows,
            frame,
            square: square.max(f64::MIN_POSITIVE),
            prefixes: self.ends(n),
            encoder: Param::new(decoder.clone(), self),
            decoder: Param::new(decoder, self),
            bias: Param::new(bias, self),
            own: own.collect(),
            idle: vec![0; n],
            dead_rows: self.dead_rows.unwrap_or(shape.rows as u64).max(1),
            steps: 0,
            l0: self.l0.unwrap_or(self.k as f64),
            least: 0.0,
            pass: PassSums { fired: vec![0.0; n], ..PassSums::default() },
            density: Vec::new(),
            packed: Packed::default(),
            spare: Spare::default(),
        };
        state.pack();
        if self.init == SaeInit::Rows {
            batch::shorten(self, &mut state, sample);
        }
        Ok(state)
    }

    fn zero(&self, state: &SaeState) -> SaeStats {
        SaeStats::zero(self, state)
    }

    fn observe(&self, state: &SaeState, x: &Rows, _: u64, _: &mut [f32], into: &mut SaeStats) -> Result<()> {
        batch::observe(self, state, x, into);
        Ok(())
    }

    fn update(&self, state: &mut SaeState, stats: SaeStats) -> Result<Progress> {
        Ok(step::update(self, state, stats))
    }

    fn model(&self, state: SaeState) -> Result<SaeModel> {
        let state = state.averaged();
        let (n, d, factor) = (state.n, state.d, state.frame.factor);
        let own = |v: &[f32]| v.iter().map(|v| v / factor).collect::<Vec<f32>>();
        // V keeps its length, so codes take the units up: with z/f for z, thresholds and magnitudes go over f.
        let gate = match rule::Rule::new(self, &state).gate(n, state.least) {
            SaeGate::Threshold(theta) => SaeGate::Threshold(own(&theta)),
            SaeGate::Gated { gate, scale, magnitude } => SaeGate::Gated { gate: own(&gate), scale, magnitude: own(&magnitude) },
            other => other,
        };
        let model = SaeModel {
            encoder: Mat::new(n, d, state.encoder.value.clone())?,
            encoder_bias: own(&state.own[0].value),
            atoms: Mat::new(n, d, state.decoder.value.clone())?,
            bias: state.bias.value.iter().zip(&state.frame.shift).map(|(b, m)| b / factor + m).collect(),
            subtracts: true,
            gate,
            layer_norm: false,
            prefixes: if self.prefixes.is_empty() { Vec::new() } else { state.prefixes.clone() },
            density: state.density.clone(),
        };
        model.check()?;
        Ok(model)
    }
}
