//! The same autoencoder in other words: what one format says with a bias, a norm or a scale, another says with weights. Sums are f64;
//! codes and rebuilt rows are the same up to the rounding of the weights.

use crate::mat::Mat;
use crate::sae::{SaeGate, SaeModel};
use std::borrow::Cow;

/// bₑ where b is, or isn't, taken off before rows are encoded: W (x − b) + bₑ = W x + (bₑ − W b).
pub(super) fn encoder_bias(model: &SaeModel, subtracts: bool) -> Cow<'_, [f32]> {
    if model.subtracts == subtracts {
        return (&model.encoder_bias[..]).into();
    }
    let b: Vec<f64> = model.bias.iter().map(|b| f64::from(*b)).collect();
    shifted(model, if subtracts { 1.0 } else { -1.0 }, &b).into()
}

/// bₑ + sign · W v.
fn shifted(model: &SaeModel, sign: f64, v: &[f64]) -> Vec<f32> {
    let dot = |i: usize| model.encoder.row(i).iter().zip(v).map(|(w, v)| f64::from(*w) * v).sum::<f64>();
    model.encoder_bias.iter().enumerate().map(|(i, b)| (f64::from(*b) + sign * dot(i)) as f32).collect()
}

/// Multiplies z of every latent by a number of its own, and divides its atom by it. The gate is left alone: it is one of the new z. A
/// latent whose number is 0 is never alive.
pub(super) fn scaled_latents(mut model: SaeModel, by: &[f64]) -> SaeModel {
    for (i, by) in by.iter().enumerate() {
        model.encoder.row_mut(i).iter_mut().for_each(|w| *w = (f64::from(*w) * by) as f32);
        model.encoder_bias[i] = (f64::from(model.encoder_bias[i]) * by) as f32;
        if *by != 0.0 {
            model.atoms.row_mut(i).iter_mut().for_each(|v| *v = (f64::from(*v) / by) as f32);
        }
    }
    model
}

/// Takes rows as they are, where the model takes them `by` times as large.
pub(super) fn scaled_rows(mut model: SaeModel, by: f64) -> SaeModel {
    let times = |v: &mut f32, by: f64| *v = (f64::from(*v) * by) as f32;
    model.encoder.data.iter_mut().for_each(|w| times(w, by));
    model.atoms.data.iter_mut().chain(&mut model.bias).for_each(|v| times(v, by.recip()));
    model
}

/// Takes rows x as they are, where the model takes (x − shift) / scale, a number of each for every column. Not for
/// [`SaeModel::layer_norm`], which would see other rows.
pub(super) fn unprepared(mut model: SaeModel, shift: &[f64], scale: &[f64]) -> SaeModel {
    for i in 0..model.atoms.rows {
        for (j, s) in scale.iter().enumerate() {
            let at = i * scale.len() + j;
            model.encoder.data[at] = (f64::from(model.encoder.data[at]) / s) as f32;
            model.atoms.data[at] = (f64::from(model.atoms.data[at]) * s) as f32;
        }
    }
    for (j, b) in model.bias.iter_mut().enumerate() {
        *b = (f64::from(*b) * scale[j] + shift[j]) as f32;
    }
    // Where b is taken off, its own shift does it: W ((x − m) / s − b) = W/s (x − (m + s b)).
    if !model.subtracts {
        model.encoder_bias = shifted(&model, -1.0, shift);
    }
    model
}

/// Norms of the rows of a matrix.
pub(super) fn norms(m: &Mat) -> Vec<f64> {
    (0..m.rows).map(|i| m.row(i).iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()).collect()
}

/// Whether all atoms have norm 1, as closely as f32 can say it.
pub(super) fn is_unit(atoms: &Mat) -> bool {
    norms(atoms).iter().all(|n| (n - 1.0).abs() < 1e-5)
}

/// The plainest gate that does the same: one that never closes is a ReLU, one group is a top 1.
pub(super) fn plainest(gate: &SaeGate, latents: usize) -> SaeGate {
    match gate {
        SaeGate::Threshold(theta) if theta.iter().all(|t| *t <= 0.0) => SaeGate::Relu,
        SaeGate::TopK { k } | SaeGate::GroupMax { k } if *k == latents => SaeGate::Relu,
        SaeGate::GroupMax { k: 1 } => SaeGate::TopK { k: 1 },
        gate => gate.clone(),
    }
}

/// The threshold of all latents, if they have the same.
pub(super) fn one_threshold(theta: &[f32]) -> Option<f32> {
    theta.first().copied().filter(|first| theta.iter().all(|t| t == first))
}

/// The biases of a gated autoencoder with bₑ in them: gate, magnitude.
pub(super) fn gated_biases(bias: &[f32], gate: &[f32], scale: &[f32], magnitude: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let gate = gate.iter().zip(bias).map(|(g, b)| (f64::from(*g) + f64::from(*b)) as f32).collect();
    let with = |((m, b), s): ((&f32, &f32), &f32)| (f64::from(*m) + f64::from(*b) * f64::from(*s).exp()) as f32;
    (gate, magnitude.iter().zip(bias).zip(scale).map(with).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{gates, random, rows};
    use super::*;
    use crate::model::Model;

    /// Codes and rebuilt rows of `a` on `x` are those of `b` on `y`, whose rebuilt rows are moved back by `back`.
    fn agree(a: &SaeModel, x: &Mat, b: &SaeModel, y: &Mat, back: impl Fn(usize, f32) -> f32) {
        let (za, zb) = (a.encode(&x.view()).expect("a"), b.encode(&y.view()).expect("b"));
        let (ma, mb) = (za.to_mat(), zb.to_mat());
        assert!(ma.data.iter().any(|v| *v > 0.0));
        assert!(ma.data.iter().zip(&mb.data).all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", a.gate);
        let (ra, rb) = (a.decode(&za).expect("a"), b.decode(&zb).expect("b"));
        for (i, (a, b)) in ra.data.iter().zip(&rb.data).enumerate() {
            assert!((a - back(i % ra.cols, *b)).abs() < 2e-5, "{i}: {a} {b}");
        }
    }

    #[test]
    fn other_words_for_the_same() {
        let x = rows(40);
        for gate in gates() {
            for subtracts in [true, false] {
                let model = SaeModel { subtracts, ..random(gate.clone()) };
                let other = SaeModel {
                    encoder_bias: encoder_bias(&model, !subtracts).into_owned(),
                    subtracts: !subtracts,
                    ..model.clone()
                };
                agree(&model, &x, &other, &x, |_, v| v);
                let (shift, scale) = ([0.5, -0.25, 1.0, 0.0, 2.0], [1.0, 2.0, 0.5, 3.0, 1.5]);
                let mut y = x.clone();
                y.data.iter_mut().enumerate().for_each(|(i, v)| *v = *v * scale[i % 5] as f32 + shift[i % 5] as f32);
                let moved = unprepared(model.clone(), &shift, &scale);
                agree(&model, &x, &moved, &y, |j, v| (v - shift[j] as f32) / scale[j] as f32);
                let mut y = x.clone();
                y.data.iter_mut().for_each(|v| *v /= 4.0);
                agree(&model, &x, &scaled_rows(model.clone(), 4.0), &y, |_, v| v * 4.0);
            }
        }
    }

    #[test]
    fn scaled_latents_rebuild_alike() {
        let (x, model) = (rows(40), random(SaeGate::Relu));
        let by: Vec<f64> = (0..model.atoms.rows).map(|i| 0.5 + i as f64 / 4.0).collect();
        let scaled = scaled_latents(model.clone(), &by);
        let (a, b) = (model.encode(&x.view()).expect("a"), scaled.encode(&x.view()).expect("b"));
        for (i, (a, b)) in a.to_mat().data.iter().zip(&b.to_mat().data).enumerate() {
            assert!((f64::from(*a) * by[i % by.len()] - f64::from(*b)).abs() < 1e-5);
        }
        let (a, b) = (model.decode(&a).expect("a"), scaled.decode(&b).expect("b"));
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn gates_that_never_close_are_relus() {
        assert_eq!(plainest(&SaeGate::Threshold(vec![0.0, -1.0]), 2), SaeGate::Relu);
        assert_eq!(plainest(&SaeGate::TopK { k: 4 }, 4), SaeGate::Relu);
        assert_eq!(plainest(&SaeGate::GroupMax { k: 1 }, 4), SaeGate::TopK { k: 1 });
        assert_eq!(plainest(&SaeGate::TopK { k: 3 }, 4), SaeGate::TopK { k: 3 });
        assert_eq!(one_threshold(&[0.5, 0.5]), Some(0.5));
        assert_eq!(one_threshold(&[0.5, 0.6]), None);
    }
}
