//! How shallow autoencoders learn: online gradient descent and the equations that it follows (Refinetti & Goldt, ICML 2022).
//!
//! x̂ = Σₖ vᵏ g(λᵏ) with λᵏ = (wᵏ·x + bᵏ)/√D learns from one fresh sample a step, time is s = samples / D, and the error is
//! ℰ = ½ E|x − x̂|²/D. As D grows the random steps follow ordinary differential equations of a few order parameters,
//!
//! Qᵏˡ = wᵏΩwˡ/D, Rᵏˡ = vᵏΩwˡ/D^{3/2}, T₁ᵏˡ = vᵏΩvˡ/D², T₀ᵏˡ = vᵏ·vˡ/D,
//!
//! with Ω = E xxᵀ. Two forms of them are here. [`Form::Vectors`] moves the weights themselves in the coordinates of Ω's eigenvectors and
//! divides by nothing small; where Ω has many equal eigenvalues (the bulk under a few spikes) it moves 2K of their coordinates, whatever D
//! is. [`Form::Modes`] moves the products of coordinates of every eigenvalue, as the paper does. They agree to rounding.
//!
//! What is here: sources of data ([`Population`]), the descent ([`simulate`]), the equations ([`integrate`]), and what is measured along the way
//! ([`Point`], [`Path`]). Everything is f64. This is theory beside the methods: it does not run through [`crate::fold`], and to fit an
//! autoencoder to data is another module's.
//!
//! Two phases are told apart in a sigmoidal autoencoder: *alignment*, in which weights turn to one principal component after the other, the
//! larger eigenvalue first, and *rescaling*, in which encoders shrink into the linear part of g and decoders grow to make up for it, as
//! Q ≈ (π/4ηs)^{1/3}, which leaves an excess of error that falls as s^{−2/3}.
//!
//! ```
//! use mereo::dynamics::{Dynamics, Population, integrate};
//! let data = Population::spectrum(500.0, &[25.0 / 35.0, 9.0 / 35.0], 1.0 / 35.0, 0)?;
//! let how = Dynamics { k: 2, eta: 0.4, until: 200.0, ..Dynamics::default() };
//! let path = integrate(&how, &data, &how.start(&data)?, &mut |_| std::ops::ControlFlow::Continue(()))?;
//! let end = path.points.last().expect("points");
//! assert!(end.error > data.pca(2) && end.error < 1.5 * data.pca(2));
//! # Ok::<(), mereo::Error>(())
//! ```

mod averages;
pub mod claims;
pub mod cumulant;
mod fast;
mod path;
mod population;
mod quadrature;
mod sgd;
mod theory;

pub use path::{Ended, Path, Phases, Point};
pub use population::Population;
pub use sgd::{Input, simulate};
pub use theory::{Form, integrate, integrate_as};

use crate::error::{Error, Result};
use crate::fold::stream;
use crate::rng::rng;
use serde::{Deserialize, Serialize};

/// The activation g of the hidden units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// erf(x/√2), a sigmoid between −1 and 1 with slope √(2/π) at 0.
    #[default]
    Erf,
    /// max(0, x).
    Relu,
    /// x itself.
    Linear,
}

impl Activation {
    /// g(x) and g′(x).
    #[inline]
    pub fn of(self, x: f64) -> (f64, f64) {
        match self {
            Self::Erf => (libm::erf(x * std::f64::consts::FRAC_1_SQRT_2), SLOPE * (-0.5 * x * x).exp()),
            Self::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Self::Linear => (x, 1.0),
        }
    }
}

/// √(2/π), the slope of erf(x/√2) at 0.
pub(crate) const SLOPE: f64 = 0.797_884_560_802_865_4;

/// How weights move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Gradient descent: it finds the space of the principal components, turned within.
    #[default]
    Vanilla,
    /// Unit k sees what units 1 to k leave, so that units find the principal components themselves, in order.
    Truncated,
    /// Sanger's rule for a linear encoder, whose decoder is √D times it.
    Sanger,
}

/// Where weights begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// Every weight is normal with standard deviation `scale`.
    #[default]
    Random,
    /// At the principal components ψₖ: wᵏ = ψₖ and vᵏ = √D ψₖ.
    Informed,
}

/// An autoencoder and how it learns; see the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamics {
    /// Hidden units (K), at most D.
    pub k: usize,
    /// The activation of the hidden units.
    pub activation: Activation,
    /// Learning rate η: decoders move by η/D a step, encoders by η/D², the shifts b/√D by η/D.
    pub eta: f64,
    /// The time s = samples / D at which it ends.
    pub until: f64,
    /// The decoder is the encoder transposed, without 1/√D; every weight moves by η/D along both paths.
    pub tied: bool,
    /// Encoders have biases, from 0 on, which are learned.
    pub bias: bool,
    /// How weights move.
    pub rule: Rule,
    /// Where weights begin.
    pub begin: Begin,
    /// Standard deviation of the first weights.
    pub scale: f64,
    /// Weights shrink by this over D every step.
    pub weight_decay: f64,
    /// Times that are looked at, evenly on a logarithmic scale.
    pub points: usize,
    /// Seed of the first weights and of the samples.
    pub seed: u64,
}

impl Default for Dynamics {
    fn default() -> Self {
        Self {
            k: 2,
            activation: Activation::Erf,
            eta: 0.4,
            until: 100.0,
            tied: false,
            bias: false,
            rule: Rule::Vanilla,
            begin: Begin::Random,
            scale: 0.1,
            weight_decay: 0.0,
            points: 100,
            seed: 0,
        }
    }
}

/// First weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Encoders (K × D).
    pub w: Vec<f64>,
    /// Decoders (K × D); the encoders', if they are tied.
    pub v: Vec<f64>,
}

/// The first time that is looked at.
const FIRST: f64 = 1e-2;

impl Dynamics {
    /// Refuses what is out of range or does not fit `data`.
    pub fn check(&self, data: &Population) -> Result<()> {
        let d = data.dim();
        if self.k == 0 {
            return Err(Error::parameter("k = 0 hidden units learn nothing; set k to 1 or more"));
        }
        if self.k as f64 > d {
            return Err(Error::parameter(format!(
                "k = {} hidden units exceed the {d} dimensions of the data, where an autoencoder has nothing to compress; lower k",
                self.k
            )));
        }
        for (name, value) in [("eta", self.eta), ("until", self.until)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(format!("{name} = {value} must be a number above 0")));
            }
        }
        for (name, value) in [("scale", self.scale), ("weight_decay", self.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::parameter(format!("{name} = {value} must be a number from 0")));
            }
        }
        if self.begin == Begin::Random && self.scale == 0.0 {
            return Err(Error::parameter("scale = 0 begins where all gradients are 0; set scale above 0 (0.1 is usual)"));
        }
        if self.points < 2 {
            return Err(Error::parameter(format!("points = {} show no course; set points to 2 or more", self.points)));
        }
        if self.until <= FIRST {
            return Err(Error::parameter(format!(
                "until = {} is no later than the first point, {FIRST}; raise until",
                self.until
            )));
        }
        if self.rule == Rule::Sanger && (self.activation != Activation::Linear || self.tied || self.bias) {
            return Err(Error::parameter(
                "Sanger's rule is of a linear encoder whose decoder follows it; set activation to linear, without tied and bias",
            ));
        }
        if self.rule == Rule::Truncated && self.tied {
            return Err(Error::parameter(
                "the truncated rule is of decoders apart from encoders; drop tied, or use the vanilla rule",
            ));
        }
        if self.begin == Begin::Informed && self.k > data.shares().len() {
            return Err(Error::parameter(format!(
                "k = {} units can't begin at the {} principal components that the data has; lower k, or begin at random",
                self.k,
                data.shares().len()
            )));
        }
        Ok(())
    }

    /// First weights for data of a finite D.
    ///
    /// # Errors
    /// Parameters out of range; data of infinite D, whose first weights are only known by their sums.
    pub fn start(&self, data: &Population) -> Result<Start> {
        self.check(data)?;
        let Some(d) = data.cols() else {
            return Err(Error::parameter(
                "weights of infinitely many dimensions can't be drawn; integrate begins by itself there",
            ));
        };
        let mut start = Start { w: vec![0.0; self.k * d], v: vec![0.0; self.k * d] };
        for k in 0..self.k {
            let span = k * d..(k + 1) * d;
            if self.begin == Begin::Informed {
                let axis = &data.axes()[span.clone()];
                start.w[span.clone()].copy_from_slice(axis);
                start.v[span].iter_mut().zip(axis).for_each(|(v, a)| *v = a * (d as f64).sqrt());
                continue;
            }
            let mut r = rng(self.seed, stream::INIT, k as u64);
            for weights in [&mut start.w, &mut start.v] {
                r.normals(&mut weights[span.clone()]);
                weights[span.clone()].iter_mut().for_each(|w| *w *= self.scale);
            }
        }
        match self.rule {
            Rule::Sanger => start.v = start.w.iter().map(|w| w * (d as f64).sqrt()).collect(),
            _ if self.tied => start.v.clone_from(&start.w),
            _ => {}
        }
        Ok(start)
    }

    /// The times that are looked at, from 0.
    pub fn times(&self) -> Vec<f64> {
        let last = (self.points - 1).max(1) as f64;
        let ratio = self.until / FIRST;
        std::iter::once(0.0).chain((0..self.points).map(|i| FIRST * ratio.powf(i as f64 / last))).collect()
    }

    /// Units that unit k sees beside its own: all, or those up to it.
    pub(crate) fn seen(&self, k: usize) -> usize {
        if self.rule == Rule::Vanilla { self.k } else { k + 1 }
    }
}
