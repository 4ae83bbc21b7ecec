//! Methods by name, and the one way in which commands fit them: with a bar, a bound on memory and Ctrl-C.

use crate::args::Global;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::stop;
use clap::ValueEnum;
use mereo::comm::Solo;
use mereo::compare::Facts;
use mereo::fold::{self, Cpu, Engine, Method, Moment, Options, Pass, Plan, Stop};
use mereo::source::{self, Source};
use mereo::{Ae, AeActivation, Mat, Missing, Model, Nmf, NmfInit, NmfLoss, NmfSolver, Pca, Sae, Vq};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A method, with the parameters that make it another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Principal components of centred rows
    Pca,
    /// Principal components without centring, as in Lee and Seung 1999
    PcaUncentred,
    /// Vector quantisation (k-means)
    Vq,
    /// Vector quantisation by angle
    VqSpherical,
    /// Non-negative matrix factorisation, squared error (HALS)
    Nmf,
    /// The rules of Lee and Seung 1999: divergence, 500 passes
    NmfLeeSeung,
    /// The multiplicative rules of Lee and Seung 2001, squared error
    NmfMu,
    /// The multiplicative rules of Lee and Seung 2001, divergence
    NmfMuKl,
    /// Autoencoder
    Ae,
    /// Autoencoder without a function between codes and atoms: it comes to PCA
    AeLinear,
    /// Autoencoder with sigmoid units
    AeSigmoid,
    /// Autoencoder with units that are 0 or linear
    AeRelu,
    /// Autoencoder whose decoder is its encoder, with such units: sigmoidal ones can't be both small and large
    AeTied,
    /// Autoencoder that only adds, as NMF does
    AeNonnegative,
    /// Sparse autoencoder (TopK) that stores as many numbers of a row: k/2 of many latents alive, an index and a value each
    Sae,
}

/// What a fit is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Number of atoms.
    pub k: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Passes at most, if not the method's own.
    pub max_passes: Option<usize>,
    /// Atoms of an earlier fit to go on from for a few passes; methods that can't, start anew.
    pub warm: Option<&'a Mat>,
    /// Some entries are NaN, and unknown; of [`Choice::masks`].
    pub missing: bool,
}

impl Choice {
    /// What the report calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pca => "PCA",
            Self::PcaUncentred => "PCA, uncentred",
            Self::Vq => "VQ",
            Self::VqSpherical => "VQ, spherical",
            Self::Nmf => "NMF",
            Self::NmfLeeSeung => "NMF, 1999",
            Self::NmfMu => "NMF, multiplicative",
            Self::NmfMuKl => "NMF, multiplicative KL",
            Self::Ae => "AE",
            Self::AeLinear => "AE, linear",
            Self::AeSigmoid => "AE, sigmoid",
            Self::AeRelu => "AE, ReLU",
            Self::AeTied => "AE, tied",
            Self::AeNonnegative => "AE, non-negative",
            Self::Sae => "SAE",
        }
    }

    /// Whether it can do without some entries.
    pub fn masks(self) -> bool {
        matches!(self, Self::Nmf | Self::NmfMu | Self::NmfMuKl)
    }

    /// The autoencoder that it stands for, if it is one.
    pub fn ae(self, ask: &Ask) -> Option<Ae> {
        let own = Ae::default();
        let own = Ae { k: ask.k, seed: ask.seed, max_passes: ask.max_passes.unwrap_or(own.max_passes), ..own };
        Some(match self {
            Self::Ae => own,
            Self::AeLinear => Ae { activation: AeActivation::Linear, ..own },
            Self::AeSigmoid => Ae { activation: AeActivation::Sigmoid, ..own },
            Self::AeRelu => Ae { activation: AeActivation::Relu, ..own },
            Self::AeTied => Ae { activation: AeActivation::Relu, tied: true, ..own },
            // Without an offset, so that atoms have all of a row to make up.
            Self::AeNonnegative => Ae { nonnegative: true, decoder_bias: false, activation: AeActivation::Relu, ..own },
            _ => return None,
        })
    }

    /// The sparse autoencoder that it stands for, if it is one, for data of so many rows and columns.
    ///
    /// Of k numbers a row, k/2 are alive. There are 8 latents a column, as many peers have, but no more than a quarter of the rows could tell
    /// apart, and four for each number at least. Batches are short where rows are few, so that there are steps enough.
    pub fn sae(self, ask: &Ask, (rows, cols): (usize, usize)) -> Option<Sae> {
        if self != Self::Sae {
            return None;
        }
        let own = Sae::default();
        Some(Sae {
            k: (ask.k / 2).max(1),
            latents: Some((rows / 4).min(8 * cols).max(4 * ask.k)),
            batch: (rows / 16).clamp(16, own.batch),
            seed: ask.seed,
            max_passes: ask.max_passes.unwrap_or(own.max_passes),
            ..own
        })
    }

    /// The NMF that it stands for, if it is one.
    pub fn nmf(self, ask: &Ask) -> Option<Nmf> {
        let missing = if ask.missing { Missing::Nan } else { Missing::None };
        let own = Nmf { k: ask.k, seed: ask.seed, missing, ..Nmf::default() };
        let cold = match self {
            Self::Nmf => own,
            Self::NmfMu => Nmf { solver: NmfSolver::Mu, ..own },
            Self::NmfMuKl => Nmf { solver: NmfSolver::Mu, loss: NmfLoss::KullbackLeibler, ..own },
            // As in the paper: every one of its 500 iterations.
            Self::NmfLeeSeung => Nmf { solver: NmfSolver::LeeSeung, max_passes: 500, tol: 0.0, ..own },
            _ => return None,
        };
        let max_passes = ask.max_passes.unwrap_or(cold.max_passes);
        Some(match ask.warm {
            // Coordinate descent solves the weights for the given atoms at once; the rules of products need passes for that.
            Some(given) => {
                let (solver, passes) = if self == Self::Nmf { (NmfSolver::Cd, 4) } else { (cold.solver, 30) };
                let given = Some(given.clone());
                Nmf { solver, max_passes: passes, init: NmfInit::Given, given, encode_tol: 1e-4, ..cold }
            }
            None => Nmf { max_passes, ..cold },
        })
    }
}

/// Fits, with a bar.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// Bytes to work in, as typed.
    pub memory: Option<u64>,
    /// Turns true when the user asks for an end.
    pub cancel: &'a AtomicBool,
    /// Whether to draw bars.
    pub global: &'a Global,
    /// What an end that was asked for leaves behind: "no report was written".
    pub left: &'static str,
}

impl Runner<'_> {
    /// A fit of a method by name.
    pub fn choice(&self, choice: Choice, ask: &Ask, train: &dyn Source) -> Result<(Box<dyn Model>, Facts)> {
        let (label, Ask { k, seed, .. }) = (choice.label(), *ask);
        if let Some(nmf) = choice.nmf(ask) {
            return self.boxed(label, &nmf, train);
        }
        if let Some(ae) = choice.ae(ask) {
            return self.boxed(label, &ae, train);
        }
        if let Some(sae) = choice.sae(ask, (source::count(train), train.cols())) {
            return self.boxed(label, &sae, train);
        }
        match choice {
            Choice::Vq | Choice::VqSpherical => {
                let metric = if choice == Choice::Vq { mereo::vq::VqMetric::Euclidean } else { mereo::vq::VqMetric::Spherical };
                let own = Vq::default();
                self.boxed(label, &Vq { k, seed, metric, max_passes: ask.max_passes.unwrap_or(own.max_passes), ..own }, train)
            }
            _ => self.boxed(label, &Pca { k, seed, center: choice != Choice::PcaUncentred, ..Pca::default() }, train),
        }
    }

    fn boxed<M>(&self, label: &str, method: &M, train: &dyn Source) -> Result<(Box<dyn Model>, Facts)>
    where
        M: Method,
        M::Model: 'static,
    {
        let (model, facts) = self.fit(label, method, train)?;
        Ok((Box::new(model), facts))
    }

    /// A fit, and how it went.
    pub fn fit<M: Method>(&self, label: &str, method: &M, train: &dyn Source) -> Result<(M::Model, Facts)> {
        self.fit_on(label, method, train, &Cpu)
    }

    /// The same on an engine.
    pub fn fit_on<M: Method>(
        &self,
        label: &str,
        method: &M,
        train: &dyn Source,
        engine: &dyn Engine<M>,
    ) -> Result<(M::Model, Facts)> {
        let params = serde_json::to_value(method).unwrap_or_default();
        let bar = Progress::new(&format!("{label} with {} atoms", params.get("latents").unwrap_or(&params["k"])), self.global);
        let started = Instant::now();
        let fitted = {
            let mut watch = |seen: &Pass, plan: Plan| {
                bar.pass(seen, plan, method.restarts());
                ControlFlow::Continue(())
            };
            let memory = self.memory.map(|bytes| bytes / 3);
            let mut follow = |seen: &Moment, plan: Plan| bar.batch(seen, plan, method.restarts());
            let options = Options {
                memory,
                watch: Some(&mut watch),
                follow: Some(&mut follow),
                cancel: Some(self.cancel),
                checkpoint: None,
            };
            fold::fit_on(method, train, engine, &Solo, options).map_err(|e| stop::or(e, self.left))
        };
        bar.clear();
        let fitted = fitted?;
        if fitted.stop == Stop::Cancelled {
            return Err(Failure::Interrupted(format!("stopped; {}", self.left)));
        }
        if fitted.stop == Stop::Diverged {
            let remedy = method.remedy().unwrap_or_default();
            return Err(mereo::Error::parameter(format!("the fit diverged after pass {}: {remedy}", fitted.kept)).into());
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok((fitted.model, Facts { label: label.into(), params, seconds, curve: fitted.curve, stop: fitted.stop }))
    }
}
