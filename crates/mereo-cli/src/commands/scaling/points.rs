//! Fits of a sweep as points of a law: of several lengths of a step the best one for each size.

use std::collections::BTreeMap;

/// What is known of one fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub latents: usize,
    pub k: usize,
    pub lr: Option<f64>,
    /// `None` if it diverged.
    pub loss: Option<f64>,
}

/// The fits of a size, with the length of a step that did best.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    pub latents: usize,
    pub k: usize,
    pub lr: Option<f64>,
    /// Lengths of a step that were tried.
    pub tried: usize,
    /// Of each seed.
    pub losses: Vec<f64>,
}

impl Best {
    /// The mean loss over seeds.
    pub fn mean(&self) -> f64 {
        mean(&self.losses)
    }
}

/// For each k and number of latents, rising, the fits with the length of a step whose mean loss over seeds is the least; one with which
/// some seeds diverged does not compete with one with which none did.
pub fn best(all: &[Measured]) -> Vec<Best> {
    let mut sizes: BTreeMap<(usize, usize), Vec<Tried>> = BTreeMap::new();
    for m in all {
        let steps = sizes.entry((m.k, m.latents)).or_default();
        let at = steps.iter().position(|s| s.lr == m.lr).unwrap_or_else(|| {
            steps.push(Tried { lr: m.lr, lost: 0, losses: Vec::new() });
            steps.len() - 1
        });
        match m.loss {
            Some(loss) => steps[at].losses.push(loss),
            None => steps[at].lost += 1,
        }
    }
    let of = |((k, latents), steps): ((usize, usize), Vec<Tried>)| {
        let tried = steps.len();
        let some = steps.into_iter().filter(|s| !s.losses.is_empty());
        let least = some.min_by(|a, b| a.lost.cmp(&b.lost).then(mean(&a.losses).total_cmp(&mean(&b.losses))))?;
        Some(Best { latents, k, lr: least.lr, tried, losses: least.losses })
    };
    sizes.into_iter().filter_map(of).collect()
}

/// What became of the seeds with one length of a step.
struct Tried {
    lr: Option<f64>,
    lost: usize,
    losses: Vec<f64>,
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_over_seeds_decides_and_a_length_that_diverges_loses() {
        let m = |k, lr, loss| Measured { latents: 64, k, lr: Some(lr), loss };
        let all = [
            m(4, 1e-3, Some(0.5)),
            m(4, 1e-3, Some(0.4)),
            m(4, 2e-3, Some(0.3)),
            m(4, 2e-3, Some(0.5)),
            m(4, 4e-3, Some(0.1)),
            m(4, 4e-3, None),
            m(2, 4e-3, None),
            m(3, 4e-3, Some(0.9)),
        ];
        let found = best(&all);
        let brief: Vec<_> = found.iter().map(|b| (b.k, b.lr, b.tried, b.losses.clone())).collect();
        assert_eq!(brief, [(3, Some(4e-3), 1, vec![0.9]), (4, Some(2e-3), 3, vec![0.3, 0.5])]);
        assert!((found[1].mean() - 0.4).abs() < 1e-12);
    }
}
