//! The nearest of many directions, exactly.

use mereo::linalg::{self, dot};
use rayon::prelude::*;

/// Something, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hit {
    /// Its number: a row, an atom.
    pub at: usize,
    /// How near: a cosine or a product, larger is nearer.
    pub score: f64,
}

/// Rows that a thread looks at before it goes on.
const PIECE: usize = 4096;

/// By falling score, ties by number.
pub(crate) fn before(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.at.cmp(&b.at))
}

/// The `top` of `n` by falling `score`, ties by number; what scores NaN or −∞ is left out.
pub fn best(n: usize, top: usize, score: impl Fn(usize) -> f64 + Sync) -> Vec<Hit> {
    if top == 0 {
        return Vec::new();
    }
    let cut = |hits: &mut Vec<Hit>| {
        if hits.len() > top {
            hits.select_nth_unstable_by(top - 1, before);
            hits.truncate(top);
        }
    };
    let each: Vec<Vec<Hit>> = (0..n.div_ceil(PIECE))
        .into_par_iter()
        .map(|p| {
            let at = p * PIECE..n.min((p + 1) * PIECE);
            let mut hits: Vec<Hit> = at.map(|at| Hit { at, score: score(at) }).filter(|h| h.score > f64::NEG_INFINITY).collect();
            cut(&mut hits);
            hits
        })
        .collect();
    let mut hits = each.concat();
    cut(&mut hits);
    hits.sort_unstable_by(before);
    hits
}

/// Which product of a row and a query tells how near they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearness {
    /// Their product, as for rows of length 1.
    Product,
    /// Their cosine; 0 for a row without length.
    Cosine,
}

/// The `top` rows of `rows` (n × d, row-major) that are nearest to `query` (d), but for those that `skip` names. One pass over all rows:
/// 2nd flops at the speed of memory.
///
/// # Panics
/// `rows` has no whole number of rows.
pub fn nearest(rows: &[f32], query: &[f32], how: Nearness, top: usize, skip: impl Fn(usize) -> bool + Sync) -> Vec<Hit> {
    let d = query.len();
    assert!(d > 0 && rows.len().is_multiple_of(d), "{} numbers are no rows of {d}", rows.len());
    let length = linalg::dot(query, query).sqrt();
    best(rows.len() / d, top, |i| {
        if skip(i) {
            return f64::NEG_INFINITY;
        }
        let row = &rows[i * d..(i + 1) * d];
        let product = dot(row, query);
        match how {
            Nearness::Product => product,
            Nearness::Cosine => cosine_of(product, dot(row, row).sqrt() * length),
        }
    })
}

/// The cosine of two rows; 0 where one has no length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    cosine_of(dot(a, b), (dot(a, a) * dot(b, b)).sqrt())
}

fn cosine_of(product: f64, lengths: f64) -> f64 {
    if lengths > 0.0 { (product / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_ties_go_by_number() {
        let rows = [1.0, 0.0, 0.0, 2.0, 3.0, 3.0, 1.0, 0.0, 0.0, 0.0];
        let at = |hits: Vec<Hit>| hits.iter().map(|h| h.at).collect::<Vec<_>>();
        assert_eq!(at(nearest(&rows, &[1.0, 0.0], Nearness::Cosine, 9, |_| false)), [0, 3, 2, 1, 4]);
        assert_eq!(at(nearest(&rows, &[1.0, 0.0], Nearness::Product, 2, |_| false)), [2, 0]);
        assert_eq!(at(nearest(&rows, &[1.0, 0.0], Nearness::Product, 2, |i| i == 2)), [0, 3]);
        assert!(nearest(&rows, &[1.0, 0.0], Nearness::Product, 0, |_| false).is_empty());
        assert!((cosine(&[1.0, 1.0], &[1.0, 0.0]) - 0.5f64.sqrt()).abs() < 1e-7);
        // Across pieces.
        let hits = best(3 * PIECE + 5, 3, |i| if i % PIECE == 7 { 1.0 } else { 0.0 });
        assert_eq!(at(hits), [7, PIECE + 7, 2 * PIECE + 7]);
    }
}
