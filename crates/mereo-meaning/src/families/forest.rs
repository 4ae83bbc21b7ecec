//! The maximum spanning forest of co-occurrence, and the roots in it.

use super::pairs::Pair;
use super::{Edge, Family};
use crate::codes::Both;
use rayon::prelude::*;

/// Latents that a root points at, at least.
const BRANCHES: usize = 3;

/// A spanning forest with every edge from the denser latent to the rarer.
pub(super) struct Forest {
    /// The edges that leave each latent, by rising child.
    down: Vec<Vec<Edge>>,
    /// How many arrive at it.
    up: Vec<usize>,
    density: Vec<f64>,
}

impl Forest {
    /// That of the pairs with w ≥ τ between latents that are alive (Kruskal 1956).
    pub fn of(both: &Both, pairs: &[Pair], alive: &[bool], tau: f64) -> Self {
        let k = both.latents();
        let density: Vec<f64> = (0..k).map(|j| both.density(j)).collect();
        let weight = |p: &Pair| p.weight(both);
        let may = |p: &&Pair| alive[p.rare as usize] && alive[p.dense as usize] && weight(p) >= tau;
        let mut edges: Vec<Pair> = pairs.iter().filter(may).copied().collect();
        edges.par_sort_unstable_by(|x, y| weight(y).total_cmp(&weight(x)).then_with(|| x.ends().cmp(&y.ends())));
        let mut trees = Trees((0..k as u32).collect());
        let (mut down, mut up) = (vec![Vec::new(); k], vec![0; k]);
        for p in edges {
            if trees.join(p.rare, p.dense) {
                let (parent, child) = (p.dense as usize, p.rare as usize);
                down[parent].push(Edge {
                    parent,
                    child,
                    weight: weight(&p),
                    together: u64::from(p.together),
                    lift: p.lift(both),
                });
                up[child] += 1;
            }
        }
        down.iter_mut().for_each(|edges| edges.sort_unstable_by_key(|e| e.child));
        Self { down, up, density }
    }

    /// One family for each root, with those that become roots once others are gone.
    ///
    /// What is below a latent never changes before the latent itself is taken away: only roots are, and nothing points at them. So the
    /// order in which roots are taken makes no difference, and each family can be read from the whole forest.
    pub fn families(mut self, round: usize) -> Vec<Family> {
        let root = |up: &[usize], down: &[Vec<Edge>], j: usize| up[j] == 0 && down[j].len() >= BRANCHES;
        let mut next: Vec<usize> = (0..self.down.len()).filter(|&j| root(&self.up, &self.down, j)).collect();
        let mut out = Vec::new();
        while let Some(at) = next.pop() {
            let edges = self.below(at);
            let mut children: Vec<usize> = edges.iter().map(|e| e.child).collect();
            children.sort_unstable();
            out.push(Family { root: at, density: self.density[at], children, edges, round });
            for e in &self.down[at] {
                self.up[e.child] -= 1;
                if root(&self.up, &self.down, e.child) {
                    next.push(e.child);
                }
            }
        }
        out
    }

    /// All edges below a latent, depth first. In a forest no child is met twice.
    fn below(&self, root: usize) -> Vec<Edge> {
        let (mut edges, mut stack) = (Vec::new(), self.down[root].iter().rev().copied().collect::<Vec<_>>());
        while let Some(edge) = stack.pop() {
            edges.push(edge);
            stack.extend(self.down[edge.child].iter().rev());
        }
        edges
    }
}

/// Which latents are in one tree: each points at another one of it, or at itself (Tarjan 1975, with paths halved).
struct Trees(Vec<u32>);

impl Trees {
    fn top(&mut self, mut j: u32) -> u32 {
        while self.0[j as usize] != j {
            let above = self.0[self.0[j as usize] as usize];
            self.0[j as usize] = above;
            j = above;
        }
        j
    }
    /// Makes one tree of two; false if they are one already.
    fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.top(a), self.top(b));
        self.0[a.max(b) as usize] = a.min(b);
        a != b
    }
}
