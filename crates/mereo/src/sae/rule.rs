//! Which latents are alive, and what reaches them on the way back: one small file for each architecture.

mod batch_topk;
mod gated;
mod group_max;
mod jump_relu;
mod relu;
mod topk;

use super::shortlist::Ask;
use super::{Sae, SaeArchitecture, SaeState};
use crate::sae::SaeGate;

/// Numbers of a latent beside its row of W and of V, at most; the first is its bias.
pub(super) const OWN: usize = 3;

/// A latent that something of the loss depends on, on one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alive {
    pub latent: u32,
    /// W (x − b) + bₑ.
    pub z: f32,
    /// The code; 0 for one whose threshold alone is to learn.
    pub h: f32,
}

/// Which reconstruction a code is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The model's.
    Main,
    /// That of Multi-TopK, from 4k.
    Multi,
    /// That of the residual, from dead latents.
    Aux,
    /// That of a gate alone, by a decoder that learns nothing from it.
    Gate,
}

/// What reaches a latent on a row: `slope` times what reaches its code, and `push` over the rows of the batch. First what reaches z by
/// way of W, then its own numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Back {
    pub slope: [f32; 1 + OWN],
    pub push: [f32; 1 + OWN],
}

impl Back {
    /// z and the bias of it, alike.
    fn plain(slope: f32, push: f32) -> Self {
        Self { slope: [slope, slope, 0.0, 0.0], push: [push, push, 0.0, 0.0] }
    }
}

/// The rule of a fit, with all that it needs of the state.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub architecture: SaeArchitecture,
    k: usize,
    sparsity: f32,
    target: Option<f32>,
    bandwidth: f32,
    /// Mean number of latents alive, of the rows before.
    l0: f32,
    /// Own numbers of the latents beyond the bias (n each).
    own: Vec<Vec<f32>>,
    linear_aux: bool,
    thresholds: Vec<f32>,
}

impl Rule {
    pub fn new(how: &Sae, state: &SaeState) -> Self {
        let bias = &state.own[0].value;
        let own: Vec<Vec<f32>> = state.own[1..].iter().map(|o| o.value.clone()).collect();
        let thresholds = match how.architecture {
            SaeArchitecture::JumpRelu => own[0].iter().map(|log| log.exp() - how.bandwidth as f32 / 2.0).collect(),
            SaeArchitecture::Relu | SaeArchitecture::Gated => vec![0.0; bias.len()],
            _ => Vec::new(),
        };
        Self {
            architecture: how.architecture,
            k: how.k,
            sparsity: how.sparsity as f32,
            target: how.l0.map(|l| l as f32),
            bandwidth: how.bandwidth as f32,
            l0: state.l0 as f32,
            own,
            linear_aux: how.aux.linear(),
            thresholds,
        }
    }

    /// How many own numbers a latent has.
    pub fn own_of(architecture: SaeArchitecture) -> usize {
        match architecture {
            SaeArchitecture::Gated => 3,
            SaeArchitecture::JumpRelu => 2,
            _ => 1,
        }
    }

    /// Their first values (n each), but for the bias of z, which is 0.
    pub fn own_at_start(how: &Sae) -> Vec<f32> {
        match how.architecture {
            SaeArchitecture::Gated => gated::START.to_vec(),
            SaeArchitecture::JumpRelu => vec![(how.bandwidth as f32).max(1e-6).ln()],
            _ => Vec::new(),
        }
    }

    /// What has to be found, where `most` is how many of a row matter.
    pub fn ask(&self, most: usize) -> Ask<'_> {
        match self.architecture {
            SaeArchitecture::TopK | SaeArchitecture::BatchTopK => Ask::Largest(most),
            SaeArchitecture::GroupMax => Ask::LargestOf(self.k),
            SaeArchitecture::JumpRelu | SaeArchitecture::Relu | SaeArchitecture::Gated => Ask::Above(&self.thresholds),
        }
    }

    /// Of the latents found for every row (with their z, ascending), those alive.
    pub fn alive(&self, rows: &[Vec<(u32, f32)>], n: usize) -> Vec<Vec<Alive>> {
        match self.architecture {
            SaeArchitecture::TopK => topk::alive(rows, self.k),
            SaeArchitecture::BatchTopK => batch_topk::alive(rows, self.k),
            SaeArchitecture::GroupMax => group_max::alive(rows, n, self.k),
            SaeArchitecture::JumpRelu => jump_relu::alive(rows, &self.own[0]),
            SaeArchitecture::Relu => relu::alive(rows),
            SaeArchitecture::Gated => gated::alive(rows, &self.own[0], &self.own[1]),
        }
    }

    /// The `k` largest of each row.
    pub fn largest(rows: &[Vec<(u32, f32)>], k: usize) -> Vec<Vec<Alive>> {
        topk::alive(rows, k)
    }

    /// Whether the gate alone rebuilds rows, too.
    pub fn gates(&self) -> bool {
        self.architecture == SaeArchitecture::Gated
    }

    /// The way back for a code of a term.
    pub fn back(&self, term: Term, alive: &Alive) -> Back {
        let j = alive.latent as usize;
        match (term, self.architecture) {
            (Term::Aux, _) if self.linear_aux => Back::plain(1.0, 0.0),
            (Term::Main, SaeArchitecture::Relu) => relu::back(alive, self.sparsity),
            (Term::Main, SaeArchitecture::JumpRelu) => jump_relu::back(alive, self.own[0][j], self.bandwidth, self.pressure()),
            (Term::Main, SaeArchitecture::Gated) => gated::back(alive, self.own[0][j]),
            (Term::Gate, _) => gated::back_of_gate(self.sparsity),
            _ => Back::plain(f32::from(u8::from(alive.h > 0.0)), 0.0),
        }
    }

    /// What one more latent alive costs.
    fn pressure(&self) -> f32 {
        jump_relu::pressure(self.sparsity, self.target, self.l0)
    }

    /// What is left of the rule when all is learned. `threshold`: mean least code kept, of BatchTopK.
    pub fn gate(&self, latents: usize, threshold: f64) -> SaeGate {
        match self.architecture {
            SaeArchitecture::TopK => SaeGate::TopK { k: self.k },
            SaeArchitecture::GroupMax => SaeGate::GroupMax { k: self.k },
            SaeArchitecture::BatchTopK => SaeGate::Threshold(vec![threshold as f32; latents]),
            SaeArchitecture::JumpRelu => SaeGate::Threshold(self.own[0].iter().map(|log| log.exp()).collect()),
            SaeArchitecture::Relu => SaeGate::Relu,
            SaeArchitecture::Gated => {
                SaeGate::Gated { gate: vec![0.0; latents], scale: self.own[0].clone(), magnitude: self.own[1].clone() }
            }
        }
    }
}
