//! The auxiliary loss that revives dead latents: the residual is rebuilt by the best of them.
//!
//! [`SaeAux`] says what it is.

use super::rule::Alive;
use super::{Sae, SaeState};
use crate::linalg::product::{self, Packed};
use crate::mat::{DenseRows, Rows};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Whose auxiliary loss it is.
///
/// α |e − ê|² over a variance is added to the loss, where e is the residual (held fixed) and ê = h·V from the k_aux largest z of the latents that
/// were alive on none of the last `dead_rows` rows. As published and as their code has it, the variants differ in five ways:
///
/// | name | k_aux | α | over | ReLU | times |
/// |---|---|---|---|---|---|
/// | `notes` (O'Neill et al. 2024) | 2k | 1/32 | variance of e in the batch | yes | 1 |
/// | `openai` (Gao et al. 2024) | 256 | 1/32 | variance of e in the batch | yes | 1 |
/// | `dictionary-learning` | d/2 | 1/32 | variance of e in the batch | yes | 1 |
/// | `sparsify` | d/2 | 1/32 (its own default is 0) | variance of the rows | yes | min(1, dead/k_aux) |
/// | `saelens` | d/2 | 1 | variance of the rows (where its own losses are both without) | no | min(1, dead/k_aux) |
///
/// k_aux is never more than the dead latents, and nothing is computed while none is dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaeAux {
    /// None: dead latents stay dead.
    None,
    /// That of O'Neill et al. 2024.
    #[default]
    Notes,
    /// That of Gao et al. 2024.
    Openai,
    /// That of sparsify.
    Sparsify,
    /// That of SAELens.
    Saelens,
    /// That of dictionary_learning.
    DictionaryLearning,
}

impl SaeAux {
    /// Whether codes are taken without ReLU.
    pub(super) fn linear(self) -> bool {
        self == Self::Saelens
    }
    /// Whether the loss is over the variance of the residual, else over that of the rows.
    pub(super) fn over_residual(self) -> bool {
        !matches!(self, Self::Sparsify | Self::Saelens)
    }
    fn k(self, how: &Sae, d: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Notes => 2 * how.k,
            Self::Openai => 256,
            Self::Sparsify | Self::Saelens | Self::DictionaryLearning => (d / 2).max(1),
        }
    }
    /// α.
    pub(super) fn weight(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Saelens => 1.0,
            _ => 1.0 / 32.0,
        }
    }
}

/// What there is to revive.
pub(super) struct AuxPlan {
    dead: Vec<u32>,
    k: usize,
    linear: bool,
}

/// The dead latents, in order.
pub(super) fn dead(state: &SaeState) -> Vec<u32> {
    (0..state.n as u32).filter(|j| state.idle[*j as usize] >= state.dead_rows).collect()
}

/// How many are dead.
pub(super) fn count(state: &SaeState) -> usize {
    state.idle.iter().filter(|rows| **rows >= state.dead_rows).count()
}

/// α and what it is multiplied by.
pub(super) fn weight(how: &Sae, state: &SaeState) -> f64 {
    let wanted = how.aux_k.unwrap_or_else(|| how.aux.k(how, state.d));
    let share = if how.aux.over_residual() { 1.0 } else { (count(state) as f64 / wanted.max(1) as f64).min(1.0) };
    how.aux_weight.unwrap_or_else(|| how.aux.weight()) * share
}

impl AuxPlan {
    /// None if none is dead.
    pub fn of(how: &Sae, state: &SaeState) -> Option<Self> {
        if how.aux == SaeAux::None {
            return None;
        }
        let dead = dead(state);
        let k = how.aux_k.unwrap_or_else(|| how.aux.k(how, state.d)).min(dead.len());
        (k > 0).then_some(Self { dead, k, linear: how.aux.linear() })
    }

    /// The largest of the dead latents of each row y.
    pub fn alive(&self, state: &SaeState, y: &[f32]) -> Vec<Vec<Alive>> {
        const PANEL: usize = 32;
        let (d, m) = (state.d, self.dead.len());
        let rows = self.dead.iter().flat_map(|j| &state.encoder.value[*j as usize * d..(*j as usize + 1) * d]).copied();
        let weights = Packed::transposed(&rows.collect::<Vec<f32>>(), d);
        let panels = y.par_chunks(PANEL * d).map(|y| {
            let mut z = vec![0f32; y.len() / d * m];
            product::rows_times(&mut z, &Rows::Dense(DenseRows { cols: d, data: Cow::Borrowed(y), weights: None }), &weights);
            z.chunks_exact(m).map(|z| self.largest(state, z)).collect::<Vec<_>>()
        });
        panels.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn largest(&self, state: &SaeState, z: &[f32]) -> Vec<Alive> {
        let mut row: Vec<(u32, f32)> = self.dead.iter().zip(z).map(|(j, z)| (*j, z + state.own[0].value[*j as usize])).collect();
        if self.k < row.len() {
            row.select_nth_unstable_by(self.k, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            row.truncate(self.k);
            row.sort_unstable_by_key(|(j, _)| *j);
        }
        let linear = self.linear;
        row.into_iter().filter(|(_, z)| linear || *z > 0.0).map(|(latent, z)| Alive { latent, z, h: z }).collect()
    }
}
