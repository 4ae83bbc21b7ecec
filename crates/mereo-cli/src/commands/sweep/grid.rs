//! Which autoencoders a sweep is of.

use crate::commands::choice::typed;
use crate::commands::fit::flags::{SaeCourse, SaeForm};
use crate::failure::Result;
use mereo::Sae;
use serde::Serialize;

/// What is listed, and the parameters that all fits share.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sparse autoencoders")]
pub struct Grid {
    /// Numbers of latents [default: 8 for each column].
    #[arg(long, visible_alias = "atoms", value_name = "LATENTS", value_delimiter = ',')]
    pub latents: Vec<usize>,
    /// Numbers of latents alive on a row: the k largest (topk), k on the mean row (batch-topk), one of each of k groups (group-max).
    #[arg(short, long, value_name = "ALIVE", value_delimiter = ',', default_values_t = [Sae::default().k])]
    pub k: Vec<usize>,
    /// Lengths of a step [default: 1.6e-3 / sqrt(latents / 16384) for adam, an eighth of that for signum, 2e-3 for muon].
    #[arg(long, value_name = "LENGTH", value_delimiter = ',')]
    pub lr: Vec<f64>,
    /// Seeds of the first weights. The first one also draws the rows and their order, which all fits share.
    #[arg(long, visible_alias = "seed", value_name = "N", value_delimiter = ',', default_values_t = [Sae::default().seed])]
    pub seeds: Vec<u64>,
    #[command(flatten)]
    pub form: SaeForm,
    #[command(flatten)]
    pub course: SaeCourse,
}

/// One combination.
#[derive(Serialize)]
struct Typed<'a> {
    latents: Option<usize>,
    k: usize,
    lr: Option<f64>,
    seed: u64,
    #[serde(flatten)]
    form: &'a SaeForm,
    #[serde(flatten)]
    course: &'a SaeCourse,
}

impl Grid {
    /// All combinations: by latents, then k, lengths of a step and seeds.
    pub fn methods(&self) -> Result<Vec<Sae>> {
        fn each<T: Copy + PartialEq>(list: &[T]) -> Vec<Option<T>> {
            let mut once: Vec<Option<T>> = Vec::new();
            for v in list.iter().copied().map(Some) {
                if !once.contains(&v) {
                    once.push(v);
                }
            }
            if once.is_empty() { vec![None] } else { once }
        }
        let mut all = Vec::new();
        for latents in each(&self.latents) {
            for k in each(&self.k).into_iter().flatten() {
                for lr in each(&self.lr) {
                    for seed in each(&self.seeds).into_iter().flatten() {
                        let Self { form, course, .. } = self;
                        all.push(typed(&Typed { latents, k, lr, seed, form, course })?);
                    }
                }
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Args, outcome::Ran};
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn every_parameter_is_a_flag_and_every_combination_comes_once() {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("sweep"));
        let args = |line: &str| {
            let words = ["sweep", "x", "-o", "out"].into_iter().chain(line.split_whitespace());
            Args::from_arg_matches(&command.clone().get_matches_from(words)).expect("flags")
        };
        assert_eq!(args("").grid.methods().expect("methods"), [Sae::default()]);
        let all = args("--latents 64,128,64 -k 2,4 --lr 1e-3,2e-3 --seeds 5,6 --batch 7").grid.methods().expect("methods");
        assert_eq!(all.len(), 16);
        assert_eq!((all[0].latents, all[0].k, all[0].lr, all[0].seed, all[0].batch), (Some(64), 2, Some(1e-3), 5, 7));
        assert!(all.iter().enumerate().all(|(i, a)| all[..i].iter().all(|b| a != b)));
        let names: std::collections::BTreeSet<_> = all.iter().filter_map(|m| Ran::new(m, 16).file).collect();
        assert!(names.len() == 16 && names.contains("n64-k4-lr0.002-s6.mereo"), "{names:?}");
    }
}
