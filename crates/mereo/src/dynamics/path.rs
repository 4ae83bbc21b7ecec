//! What is measured along the way, and the phases that it shows.

use super::Population;
use serde::Serialize;

/// Overlap from which a decoder is said to be aligned with a principal component.
const ALIGNED: f64 = 0.95;

/// The state of learning at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Point {
    /// Time, s = samples / D.
    pub s: f64,
    /// ℰ = ½ E|x − x̂|²/D.
    pub error: f64,
    /// Qᵏˡ = wᵏΩwˡ/D, the covariance of the hidden units (K × K).
    pub q: Vec<f64>,
    /// Rᵏˡ = vᵏΩwˡ/D^{3/2} (K × K, the decoder first).
    pub r: Vec<f64>,
    /// T₀ᵏˡ = vᵏ·vˡ/D (K × K).
    pub t0: Vec<f64>,
    /// T₁ᵏˡ = vᵏΩvˡ/D² (K × K).
    pub t1: Vec<f64>,
    /// |wᵏ|²/D (K).
    pub encoders: Vec<f64>,
    /// |cos| of every encoder with every principal component that is followed (K × M′).
    pub encoder_overlaps: Vec<f64>,
    /// |cos| of every decoder with them (K × M′).
    pub decoder_overlaps: Vec<f64>,
    /// Length of each of them within the span of the decoders (M′).
    pub span: Vec<f64>,
    /// Effective biases bᵏ/√D (K); zeros without.
    pub biases: Vec<f64>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// At the time that was asked for.
    Whole,
    /// On request.
    Stopped,
    /// The error grew without end after this time, the last that is good; the learning rate is too high.
    Diverged {
        /// The last good time.
        s: f64,
    },
}

/// A course of learning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Path {
    /// The times that were looked at.
    pub points: Vec<Point>,
    /// Why it ended.
    pub ended: Ended,
    /// Encoders at the last of them (K × D); empty if D is infinite.
    #[serde(skip)]
    pub w: Vec<f64>,
    /// Decoders (K × D).
    #[serde(skip)]
    pub v: Vec<f64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Steps of one sample, or evaluations of the equations.
    pub steps: u64,
}

/// When what happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Phases {
    /// For each of the first principal components, the time from which .95 of it lies within the span of the decoders.
    pub aligned: Vec<Option<f64>>,
    /// For m = 1, 2, …, the time at which the error first falls below the middle between the best of m − 1 and of m linear units.
    pub crossed: Vec<Option<f64>>,
    /// When all that K units can align with was aligned: rescaling goes on from here.
    pub rescaling: Option<f64>,
    /// Slope of the decoders' mean |v|²/D over s, both in logarithms, over the last half of the decades of rescaling; 1/3 is expected of erf.
    pub growth: Option<f64>,
    /// Slope of what the error is above PCA, likewise; −2/3 is expected of erf.
    pub decay: Option<f64>,
}

/// Principal components that overlaps are taken with.
pub(super) fn followed(data: &Population, k: usize) -> usize {
    data.shares().len().min(2 * k + 2)
}

/// Overlaps from coordinates along the first components (rows of `m`) and squared lengths.
pub(super) fn overlaps(along: &[f64], squares: &[f64], m: usize) -> Vec<f64> {
    let rows = along.chunks_exact(m.max(1)).zip(squares);
    rows.flat_map(|(row, square)| row.iter().map(move |a| if *square > 0.0 { (a * a / square).sqrt().min(1.0) } else { 0.0 }))
        .collect()
}

/// Length of each component within the span of K vectors, from coordinates (K × m) and inner products (K × K).
pub(super) fn span(along: &[f64], inner: &[f64], k: usize, m: usize) -> Vec<f64> {
    // |P ψ|² = aᵀ G⁻¹ a with a = Vψ: over the eigenvectors of G that are no rounding.
    let Ok((values, vectors)) = crate::linalg::eigh(inner, k) else { return vec![0.0; m] };
    (0..m)
        .map(|j| {
            let parts = values.iter().zip(&vectors).filter(|(value, _)| **value > 1e-12 * values[0].max(1e-300));
            let square: f64 = parts
                .map(|(value, u)| u.iter().enumerate().map(|(a, u)| u * along[a * m + j]).sum::<f64>().powi(2) / value)
                .sum();
            square.sqrt().min(1.0)
        })
        .collect()
}

impl Path {
    /// The phases, against the errors of PCA.
    pub fn phases(&self, data: &Population, k: usize) -> Phases {
        let reach = k.min(data.shares().len());
        let first = |holds: &dyn Fn(&Point) -> bool| self.points.iter().find(|p| holds(p)).map(|p| p.s);
        let aligned: Vec<_> = (0..reach).map(|m| first(&|p| p.span.get(m).is_some_and(|o| *o >= ALIGNED))).collect();
        let crossed = (1..=reach).map(|m| first(&|p| p.error < 0.5 * (data.pca(m - 1) + data.pca(m)))).collect();
        let rescaling = aligned.iter().copied().try_fold(0.0, |latest: f64, s| Some(latest.max(s?)));
        let mut phases = Phases { aligned, crossed, rescaling, growth: None, decay: None };
        let (Some(from), Some(last)) = (rescaling, self.points.last()) else { return phases };
        let from = (from.max(1e-3) * last.s).sqrt();
        let late: Vec<&Point> = self.points.iter().filter(|p| p.s >= from).collect();
        if last.s < 2.0 * from {
            return phases;
        }
        let least = data.pca(k);
        let decoders = |p: &Point| (0..k).map(|a| p.t0[a * k + a]).sum::<f64>();
        phases.growth = slope(late.iter().map(|p| (p.s, decoders(p))));
        phases.decay = slope(late.iter().map(|p| (p.s, p.error - least)));
        phases
    }
}

/// Slope of the straight line through logarithms; `None` for fewer than three points above 0.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    if logs.len() < 3 {
        return None;
    }
    let n = logs.len() as f64;
    let (mx, my) = logs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (mut up, mut down) = (0.0, 0.0);
    for (x, y) in &logs {
        up += (x - mx) * (y - my);
        down += (x - mx).powi(2);
    }
    (down > 0.0).then_some(up / down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_exponents() {
        let s = slope((1..9).map(|i| (f64::from(i), 3.0 * f64::from(i).powf(-0.7)))).expect("slope");
        assert!((s + 0.7).abs() < 1e-12);
        assert_eq!(slope([(1.0, 2.0), (2.0, 3.0)].into_iter()), None);
    }

    #[test]
    fn a_component_lies_in_the_span_or_does_not() {
        // Two vectors in the plane of the first two components, one of them turned; nothing of the third.
        let along = [1.0, 1.0, 0.0, 0.0, 3.0, 0.0];
        let inner = [2.0, 3.0, 3.0, 9.0];
        let found = span(&along, &inner, 2, 3);
        assert!((found[0] - 1.0).abs() < 1e-12 && (found[1] - 1.0).abs() < 1e-12 && found[2] < 1e-12, "{found:?}");
        let one = overlaps(&along, &[2.0, 9.0], 3);
        assert!((one[0] - 0.5f64.sqrt()).abs() < 1e-12 && (one[4] - 1.0).abs() < 1e-12);
        // Twice the same vector spans one direction only.
        let found = span(&[1.0, 1.0, 1.0, 1.0], &[2.0, 2.0, 2.0, 2.0], 2, 2);
        assert!((found[0] - 0.5f64.sqrt()).abs() < 1e-9, "{found:?}");
    }
}
