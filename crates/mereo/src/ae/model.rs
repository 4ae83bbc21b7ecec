//! What comes out of a fit.

use super::{Ae, AeActivation, AeState};
use crate::error::{Error, Result};
use crate::linalg::product::{self, Packed};
use crate::linalg::{self, PANEL, dot};
use crate::mat::{Mat, Rows};
use crate::model::{Codes, Model, check_width};
use crate::store::Bag;
use rayon::prelude::*;

/// A fitted autoencoder, in the units of the data: codes are g((W x + b) · s), rows are rebuilt as codes · atoms + c.
#[derive(Debug, Clone, PartialEq)]
pub struct AeModel {
    /// W (k×d).
    pub encoder: Mat,
    /// b (k); zeros if there is none.
    pub encoder_bias: Vec<f32>,
    /// V (k×d), atoms by falling share of what the codes of the last pass varied: |V|² times the variance of the code. For a function that is
    /// odd the largest entry of each is positive.
    pub atoms: Mat,
    /// c (d); zeros if there is none.
    pub decoder_bias: Vec<f32>,
    /// g.
    pub activation: AeActivation,
    /// s: 1, or 1/√d.
    pub scale: f32,
}

impl AeModel {
    /// The model of a state, its units taken up by the weights.
    pub(super) fn of(how: &Ae, state: &AeState) -> Self {
        let (layout, frame) = (state.layout, &state.frame);
        let (k, d) = (layout.k, layout.d);
        let (w, v) = (&state.params[..k * d], &state.params[layout.decoder()]);
        let square = |j: usize| dot(&v[j * d..(j + 1) * d], &v[j * d..(j + 1) * d]);
        let energy: Vec<f64> = match state.codes.get(..2 * k) {
            Some(codes) => (0..k).map(|j| square(j) * (codes[k + j] - codes[j].powi(2)).max(0.0)).collect(),
            None => (0..k).map(square).collect(),
        };
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|a, b| energy[*b].total_cmp(&energy[*a]).then(a.cmp(b)));
        let mut model = Self {
            encoder: Mat::zeros(k, d),
            encoder_bias: vec![0.0; k],
            atoms: Mat::zeros(k, d),
            decoder_bias: frame.shift.clone(),
            activation: how.activation,
            scale: how.scale(d),
        };
        for (to, &j) in order.iter().enumerate() {
            let row = j * d..(j + 1) * d;
            let largest = v[row.clone()].iter().fold(0f32, |top, v| if v.abs() > top.abs() { *v } else { top });
            let sign = if how.activation.odd() && largest < 0.0 { -1.0 } else { 1.0 };
            model.encoder.row_mut(to).iter_mut().zip(&w[row.clone()]).for_each(|(to, w)| *to = sign * w * frame.factor);
            model.atoms.row_mut(to).iter_mut().zip(&v[row]).for_each(|(to, v)| *to = sign * v / frame.factor);
            let b = state.params[layout.b()].get(j).map_or(0.0, |b| f64::from(sign * b));
            model.encoder_bias[to] = (b - dot(model.encoder.row(to), &frame.shift)) as f32;
        }
        model.decoder_bias.iter_mut().zip(&state.params[layout.c()]).for_each(|(to, c)| *to += c / frame.factor);
        model
    }

    /// A model that [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let [scale] = bag.f32("scale")?[..] else { return Err(Error::data("the model's `scale` must be one number")) };
        let model = Self {
            encoder: bag.mat("encoder")?,
            encoder_bias: bag.f32("encoder_bias")?,
            atoms: bag.mat("atoms")?,
            decoder_bias: bag.f32("decoder_bias")?,
            activation: bag.get("activation")?,
            scale,
        };
        let (k, d) = (model.atoms.rows, model.atoms.cols);
        if (model.encoder.rows, model.encoder.cols) != (k, d) || model.encoder_bias.len() != k || model.decoder_bias.len() != d {
            return Err(Error::data("the model's encoder and decoder are of different shapes; the file is damaged"));
        }
        Ok(model)
    }
}

impl Model for AeModel {
    fn method(&self) -> &'static str {
        "ae"
    }
    fn atoms(&self) -> &Mat {
        &self.atoms
    }
    fn encode(&self, x: &Rows) -> Result<Codes> {
        check_width(x, self.atoms.cols)?;
        let (n, k) = (x.rows(), self.atoms.rows);
        let mut z = Mat::zeros(n, k);
        let weights = Packed::transposed(&self.encoder.data, self.atoms.cols);
        z.data.par_chunks_mut(PANEL * k).enumerate().for_each(|(p, z)| {
            product::rows_times(z, &x.slice(p * PANEL, p * PANEL + z.len() / k), &weights);
            for z in z.chunks_exact_mut(k) {
                z.iter_mut().zip(&self.encoder_bias).for_each(|(z, b)| *z = self.activation.both((*z + b) * self.scale).0);
            }
        });
        Ok(Codes::Dense(z))
    }
    fn decode(&self, z: &Codes) -> Result<Mat> {
        let mut x = z.times(&self.atoms)?;
        x.data.par_chunks_mut(self.atoms.cols.max(1)).for_each(|x| linalg::axpy(x, 1.0, &self.decoder_bias));
        Ok(x)
    }
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("encoder", &self.encoder);
        bag.put_f32("encoder_bias", &self.encoder_bias);
        bag.put_mat("atoms", &self.atoms);
        bag.put_f32("decoder_bias", &self.decoder_bias);
        bag.put("activation", self.activation);
        bag.put_f32("scale", &[self.scale]);
    }
}
