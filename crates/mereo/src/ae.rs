//! Shallow autoencoders: one layer in, one layer out, learned by gradient steps.
//!
//! x̂ = g((W x + b) · s) · V + c with an encoder W (k×d), a decoder V (k×d, the atoms), biases b (k) and c (d), a function g
//! ([`AeActivation`]) and s = 1/√d if `scaled`, else 1. With `tied` V is W, and the gradient runs through both. Minimises
//!
//! Σ (x − x̂)² / nd + `l1` Σ |h| / nk + `kl` Σⱼ KL(ρ ‖ ρ̂ⱼ) + ½ `weight_decay` (|W|² + |V|²)
//!
//! over batches of rows in random order, where h are the codes and ρ̂ⱼ is the mean of code j over the batch. The reported loss is the first
//! term alone, in the units of the data, as it was when each batch was seen: the mean over a pass, in which the model got better. So it lies a
//! little above the loss of the model that comes out, by as much as a pass still learns.
//!
//! **Units.** With `normalize` (the default) steps are taken on y = (x − m)·f, with m the mean of a sample of the rows and f the power of two
//! that brings their root mean square about m close to 1; every penalty is in these units. At the end both go into the weights: W·f,
//! b − W m f, V/f and c/f + m, so that nothing of them is left, and data in 0..255 and in thousandths are learned alike. (A tied model then
//! has V = W/f² in the units of the data.) m is 0 where a bias is switched off, for nothing else could take it up, and for sparse rows, which would
//! not stay sparse; c then starts at the mean, if there is a c. Without `normalize` y is x, c starts at the mean all the same.
//!
//! **Gradients.** The decoder is linear, so no row is ever rebuilt: with G = VVᵀ and the residual r = x̂ − y,
//! V r = G h + V c − V y, and Σ h rᵀ = (Σ h hᵀ) V + (Σ h) cᵀ − Σ h yᵀ. Rows leave two products with the data (y with [Wᵀ Vᵀ], then its
//! transpose with what the slopes make of that), k×k sums, and sums over columns; `update` does the rest once a batch. Sparse rows cost their
//! stored entries. The loss comes from the same sums, to about 1e-6 of the mean square of y.
//!
//! Cost of a batch of B rows: 8Bdk + 4dk² operations (4Bdk + 4dk² tied), and a step over all (2d + 1)k + d parameters. Memory: three numbers a
//! parameter, one more for gradients, the batch and B × 5k. Results depend on no block, worker or thread, but for the order of sums
//! where there are several workers. Left out: more layers, decoders with an activation of their own, missing entries, weights.
//!
//! **Defaults.** The function is erf: of those that bend it comes closest to the error of PCA, which no sum of atoms passes (1.6 % above it on the
//! ORL faces, .8 % on digits, .7 % on normal data, 100 passes); a sigmoid comes to 2 to 4 %. Weights start in the strongest directions of a
//! sample ([`AeInit`]), since from random ones thousands of steps are spent on finding them. The length of steps falls to 0 over all passes, so
//! that the last loss is that of the model.
//!
//! Theory: Baldi & Hornik 1989 (a linear one spans the principal components, and no linear decoder does better), Refinetti & Goldt 2022
//! (arXiv 2201.02115); Kingma & Ba 2015, Loshchilov & Hutter 2019 (steps).
//!
//! ```
//! use mereo::{Ae, AeActivation, Model, data, fold, measure, source::Memory};
//! let (digits, _) = data::load("digits")?;
//! let ae = Ae { k: 8, activation: AeActivation::Tanh, max_passes: 20, ..Ae::default() };
//! let fitted = fold::fit(&ae, &Memory::from(&digits), fold::Options::default())?;
//! assert!(fitted.curve[19].loss < fitted.curve[0].loss);
//! assert!(measure::errors(&fitted.model, &Memory::from(&digits))?.fvu < 0.4);
//! let codes = fitted.model.encode(&digits.view())?;
//! assert_eq!((codes.rows(), codes.cols()), (1797, 8));
//! # Ok::<(), mereo::Error>(())
//! ```

mod activation;
mod gradient;
mod model;
mod start;
mod step;
#[cfg(test)]
mod tests;

pub use activation::AeActivation;
pub use gradient::AeStats;
pub use model::AeModel;

use crate::error::{Error, Result};
use crate::fold::{Early, Method, Plan, Progress, Shape, State};
use crate::linalg::Frame;
use crate::mat::Rows;
use crate::schedule::Decay;
use crate::spare::Spare;
use crate::store::Bag;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Rows that the mean, the scale and so the first state are taken from.
const SAMPLE: usize = 4096;
/// Units at most: k² sums of 8 bytes are formed.
const MOST: usize = 1 << 14;
/// A batch that is so many times worse than the mean row would be is beyond all hope.
const CEILING: f64 = 1e3;
/// So is a pass whose last batch is so many times worse than the mean row: its model is none.
const WORSE: f64 = 4.0;
/// Length of a step of `adam` where none is given, times the number of columns.
const PER_COLUMN: f64 = 1.0;

/// How parameters follow their gradient g.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AeOptimizer {
    /// u ← `momentum` u + g, p ← p − lr u.
    Sgd,
    /// Adam: each parameter's steps are divided by the root of its mean squared gradient.
    #[default]
    Adam,
    /// The same, with the weights shrunk by lr · `weight_decay` beside each step; the penalty is then no part of the gradient.
    Adamw,
}

/// The first weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AeInit {
    /// The k strongest directions of a sample of up to 4,096 rows, turned among themselves at random, at a spread at which units are
    /// neither linear nor saturated. Weights that must not be negative start at random.
    #[default]
    Principal,
    /// Normal numbers of a size at which what reaches a unit has a variance of about 1.
    Random,
}

/// Parameters of a shallow autoencoder; see the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each switches one term of the formula on")]
pub struct Ae {
    /// Number of atoms (k): units. More than columns are allowed.
    pub k: usize,
    /// The function of the codes.
    pub activation: AeActivation,
    /// The decoder is the encoder.
    pub tied: bool,
    /// Whether there is a bias b in the encoder.
    pub encoder_bias: bool,
    /// Whether there is a bias c in the decoder.
    pub decoder_bias: bool,
    /// Divide what reaches a unit by √d, biases included, and start with weights of variance 1 for it: the scaling of the theory.
    pub scaled: bool,
    /// Learn in units in which rows have mean 0 and mean square 1; see the [module](self).
    pub normalize: bool,
    /// The first weights.
    pub init: AeInit,
    /// Penalty of the squares of W and V (not of the biases).
    pub weight_decay: f64,
    /// Penalty of the mean |code|.
    pub l1: f64,
    /// Penalty of mean codes that differ from `rho`, for codes between 0 and 1 (sigmoid).
    pub kl: f64,
    /// The mean that `kl` asks of every code.
    pub rho: f64,
    /// Keep W and V at 0 or above: after each step what is negative becomes 0. The biases stay free; without `decoder_bias`, and
    /// with codes that are never negative, atoms only add, as those of NMF.
    pub nonnegative: bool,
    /// How parameters follow their gradient.
    pub optimizer: AeOptimizer,
    /// Share of the last step that is repeated, for `sgd`.
    pub momentum: f64,
    /// Length of a step; if `None` 1/d but at most 0.02 for `adam` and `adamw`, 0.2 for `sgd`.
    pub lr: Option<f64>,
    /// How slowly the mean gradient of `adam` and `adamw` forgets.
    pub beta1: f64,
    /// How slowly their mean squared gradient forgets.
    pub beta2: f64,
    /// Rows between two steps.
    pub batch: usize,
    /// Passes over the data at most.
    pub max_passes: usize,
    /// Stop when a pass changes the loss by no more than this share of it; 0 runs to `max_passes`.
    pub tol: f64,
    /// Share of the steps over which their length rises in a straight line.
    pub warmup: f64,
    /// How it goes down after that.
    pub decay: Decay,
    /// Passes in which rows that were held out may get no better before the fit stops, with the best model; 0 holds none out.
    pub patience: usize,
    /// Share of the rows that is held out for that.
    pub validation: f64,
    /// Seed of the first weights, the order of the rows and the choice of those held out.
    pub seed: u64,
}

impl Default for Ae {
    fn default() -> Self {
        Self {
            k: 16,
            activation: AeActivation::default(),
            tied: false,
            encoder_bias: true,
            decoder_bias: true,
            scaled: false,
            normalize: true,
            init: AeInit::default(),
            weight_decay: 0.0,
            l1: 0.0,
            kl: 0.0,
            rho: 0.05,
            nonnegative: false,
            optimizer: AeOptimizer::default(),
            momentum: 0.9,
            lr: None,
            beta1: 0.9,
            beta2: 0.999,
            batch: 64,
            max_passes: 100,
            tol: 0.0,
            warmup: 0.0,
            decay: Decay::Cosine,
            patience: 0,
            validation: 0.1,
            seed: 0,
        }
    }
}

/// Where each parameter stands among all: weights, then b, then c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    k: usize,
    d: usize,
    tied: bool,
    encoder_bias: bool,
    decoder_bias: bool,
}

impl Layout {
    /// Rows of weights: W, and V unless it is W.
    fn rows(self) -> usize {
        if self.tied { self.k } else { 2 * self.k }
    }
    fn weights(self) -> usize {
        self.rows() * self.d
    }
    /// The decoder V (k×d).
    fn decoder(self) -> Range<usize> {
        (self.rows() - self.k) * self.d..self.weights()
    }
    /// b (k), or nothing.
    fn b(self) -> Range<usize> {
        self.weights()..self.weights() + if self.encoder_bias { self.k } else { 0 }
    }
    /// c (d), or nothing.
    fn c(self) -> Range<usize> {
        let from = self.b().end;
        from..from + if self.decoder_bias { self.d } else { 0 }
    }
}

/// All that a fit has learned so far.
#[derive(Debug, Clone, PartialEq)]
pub struct AeState {
    layout: Layout,
    /// Rows of the data.
    rows: usize,
    /// What y is made of.
    frame: Frame,
    /// Mean square of an entry of the sample.
    square: f64,
    /// W, V, b, c, in units of y.
    params: Vec<f32>,
    /// The last step (`sgd`) or the mean gradient, of every parameter.
    first: Vec<f32>,
    /// The mean squared gradient of every parameter; nothing for `sgd`.
    second: Vec<f32>,
    /// Steps so far.
    steps: u64,
    /// Of the pass so far: rows, Σ|y − ŷ|², Σh (k) and Σh² (k).
    pass: Vec<f64>,
    /// Of the last whole pass: mean and mean square of each code (2k), once there is one.
    codes: Vec<f64>,
    /// Whether a batch of this pass was beyond all hope.
    lost: bool,
    spare: Spare,
}

impl State for AeState {
    fn save(&self, bag: &mut Bag) {
        let Layout { k, d, tied, encoder_bias, decoder_bias } = self.layout;
        bag.put("layout", (k, d, tied, encoder_bias, decoder_bias));
        bag.put("rows", self.rows);
        bag.put_f32("shift", &self.frame.shift);
        bag.put_f32("factor", &[self.frame.factor]);
        bag.put_f32("params", &self.params);
        bag.put_f32("first", &self.first);
        bag.put_f32("second", &self.second);
        bag.put("steps", self.steps);
        bag.put_f64("square", &[self.square]);
        bag.put_f64("pass", &self.pass);
        bag.put_f64("codes", &self.codes);
        bag.put("lost", self.lost);
    }
    fn load(bag: &Bag) -> Result<Self> {
        let (k, d, tied, encoder_bias, decoder_bias) = bag.get("layout")?;
        let layout = Layout { k, d, tied, encoder_bias, decoder_bias };
        let [factor] = bag.f32("factor")?[..] else { return Err(Error::data("the checkpoint's `factor` must be one number")) };
        let [square] = bag.f64("square")?[..] else { return Err(Error::data("the checkpoint's `square` must be one number")) };
        let state = Self {
            layout,
            rows: bag.get("rows")?,
            frame: Frame { shift: bag.f32("shift")?, factor },
            square,
            params: bag.f32("params")?,
            first: bag.f32("first")?,
            second: bag.f32("second")?,
            steps: bag.get("steps")?,
            pass: bag.f64("pass")?,
            codes: bag.f64("codes")?,
            lost: bag.get("lost")?,
            spare: Spare::default(),
        };
        let len = layout.c().end;
        if state.params.len() != len || state.first.len() != len || ![0, len].contains(&state.second.len()) {
            return Err(Error::data("the checkpoint's parameters are not as many as its shape needs; it is damaged"));
        }
        Ok(state)
    }
}

impl Ae {
    /// Length of a step.
    fn rate(&self, d: usize) -> f64 {
        // Steps of all weights of a unit add up over the columns.
        self.lr.unwrap_or(if self.optimizer == AeOptimizer::Sgd { 0.2 } else { (PER_COLUMN / d as f64).min(0.02) })
    }

    /// What reaches a unit is multiplied by this.
    fn scale(&self, d: usize) -> f32 {
        if self.scaled { 1.0 / (d as f32).sqrt() } else { 1.0 }
    }

    /// Codes between 0 and 1 are needed where their mean is asked for.
    fn check_penalties(&self) -> Result<()> {
        for (name, v) in [("weight_decay", self.weight_decay), ("l1", self.l1), ("kl", self.kl), ("tol", self.tol)] {
            if !(v.is_finite() && v >= 0.0) {
                return Err(Error::parameter(format!("{name} = {v} makes no sense; give 0 or more")));
            }
        }
        if self.kl > 0.0 && self.activation != AeActivation::Sigmoid {
            return Err(Error::parameter(format!(
                "kl asks for codes whose mean is rho, and only those of sigmoid lie between 0 and 1; set activation to sigmoid, or use l1 with {}",
                serde_json::to_value(self.activation).ok().and_then(|v| v.as_str().map(String::from)).unwrap_or_default()
            )));
        }
        if !(self.rho > 0.0 && self.rho < 1.0) {
            return Err(Error::parameter(format!(
                "rho = {} is no mean of codes between 0 and 1; give one such as 0.05",
                self.rho
            )));
        }
        Ok(())
    }
}

impl Method for Ae {
    type State = AeState;
    type Stats = AeStats;
    type Model = AeModel;

    fn name(&self) -> &'static str {
        "ae"
    }

    fn check(&self, _: Shape) -> Result<()> {
        for (name, v) in [("k", self.k), ("batch", self.batch), ("max_passes", self.max_passes)] {
            if v == 0 {
                return Err(Error::parameter(format!("{name} = 0 learns nothing; give at least 1")));
            }
        }
        if self.k > MOST {
            return Err(Error::parameter(format!(
                "k = {} exceeds the {MOST} units whose products in pairs fit in memory; lower k",
                self.k
            )));
        }
        self.check_penalties()?;
        if let Some(lr) = self.lr.filter(|lr| !(lr.is_finite() && *lr > 0.0)) {
            return Err(Error::parameter(format!(
                "lr = {lr} is no length of a step; give more than 0, such as 1e-3, or leave it out"
            )));
        }
        for (name, v) in [("momentum", self.momentum), ("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&v) {
                return Err(Error::parameter(format!("{name} = {v} never forgets; give 0 or more and less than 1, such as 0.9")));
            }
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(Error::parameter(format!("warmup = {} is no share of the steps; give 0 to 1", self.warmup)));
        }
        if self.patience > 0 && !(self.validation > 0.0 && self.validation < 1.0) {
            return Err(Error::parameter(format!(
                "validation = {} leaves no rows to learn from or none to hold out; give a share between 0 and 1, such as 0.1",
                self.validation
            )));
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        Plan { max: self.max_passes, tol: self.tol, batch: Some(self.batch), shuffle: Some(self.seed) }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn sample(&self, shape: Shape) -> usize {
        // The mean and the scale need few rows, directions more.
        if self.init == AeInit::Principal { SAMPLE } else { SAMPLE / 4 }.min(shape.rows)
    }

    fn least_sample(&self, shape: Shape) -> usize {
        64.min(shape.rows)
    }

    fn remedy(&self) -> Option<String> {
        Some(self.lr.map_or("set lr, lower than its default".into(), |lr| format!("lower lr, which was {lr}")))
    }

    fn early(&self) -> Option<Early> {
        (self.patience > 0).then_some(Early { share: self.validation, patience: self.patience })
    }

    fn held_loss(&self, state: &AeState, x: &Rows) -> Result<f64> {
        Ok(gradient::loss(self, state, x))
    }

    fn init(&self, sample: &Rows, shape: Shape, restart: usize) -> Result<AeState> {
        let (k, d) = (self.k, shape.cols);
        let layout = Layout { k, d, tied: self.tied, encoder_bias: self.encoder_bias, decoder_bias: self.decoder_bias };
        let frame = if self.normalize {
            Frame::of(sample, self.encoder_bias && self.decoder_bias)
        } else {
            Frame { shift: vec![0.0; d], factor: 1.0 }
        };
        let (mean, square) = gradient::moments(sample, &frame);
        let params = start::start(self, layout, sample, &frame, &mean, restart)?;
        let (len, adam) = (params.len(), self.optimizer != AeOptimizer::Sgd);
        Ok(AeState {
            layout,
            rows: shape.rows,
            frame,
            square,
            params,
            first: vec![0.0; len],
            second: vec![0.0; if adam { len } else { 0 }],
            steps: 0,
            pass: vec![0.0; 2 + 2 * k],
            codes: Vec::new(),
            lost: false,
            spare: Spare::default(),
        })
    }

    fn zero(&self, state: &AeState) -> AeStats {
        AeStats::zero(self, state)
    }

    fn observe(&self, state: &AeState, x: &Rows, _: u64, _: &mut [f32], into: &mut AeStats) -> Result<()> {
        gradient::observe(self, state, x, into);
        Ok(())
    }

    fn update(&self, state: &mut AeState, stats: AeStats) -> Result<Progress> {
        Ok(step::update(self, state, stats))
    }

    fn model(&self, state: AeState) -> Result<AeModel> {
        Ok(AeModel::of(self, &state))
    }
}
