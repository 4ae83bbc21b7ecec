//! A fitted sparse autoencoder, of our own or of a peer.

use super::batch;
use super::shortlist::{self, Ask};
use crate::error::{Error, Result};
use crate::linalg::{self, PANEL, product};
use crate::mat::{Csr, Mat, Rows};
use crate::model::{Codes, Known, Model, check_width};
use crate::spare::Spare;
use crate::store::Bag;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Latents for each one alive, at least, for which those alive are found first.
const FEW: usize = 16;
/// Rows of which they are found at once.
const PIECE: usize = 4096;

/// Added to the s.d. of a row before it divides, with [`SaeModel::layer_norm`].
pub const LAYER_NORM_EPSILON: f32 = 1e-5;

/// x̂ = h·V + b with codes h = gate(W (x − b) + bₑ), in the units of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct SaeModel {
    /// W (n×d).
    pub encoder: Mat,
    /// bₑ (n). A gated one has it, too: it is added before either of its own biases.
    pub encoder_bias: Vec<f32>,
    /// V (n×d): decoder rows.
    pub atoms: Mat,
    /// b (d).
    pub bias: Vec<f32>,
    /// Whether b is taken off before rows are encoded; it is always added to what is rebuilt.
    pub subtracts: bool,
    /// Which latents are alive.
    pub gate: SaeGate,
    /// Whether every row is first moved to mean 0 and s.d. 1 (of d − 1; the s.d. plus [`LAYER_NORM_EPSILON`]), and what is rebuilt moved back.
    pub layer_norm: bool,
    /// Ends of the nested prefixes that each rebuild a row (Matryoshka), the last of which is n; empty if there are none.
    pub prefixes: Vec<usize>,
    /// Share of the rows of the last pass of the fit on which each latent was alive (n); empty if that is not known.
    pub density: Vec<f64>,
}

/// Which latents are alive, given z = W (x − b) + bₑ. No code is below zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaeGate {
    /// All that are positive.
    Relu,
    /// The k largest, of those the positive ones.
    TopK {
        /// k.
        k: usize,
    },
    /// The largest of each of k groups of n/k neighbours, if it is positive.
    GroupMax {
        /// k.
        k: usize,
    },
    /// Those that are positive and above a threshold of their own (JumpReLU; BatchTopK once it is trained).
    Threshold(
        /// θ (n).
        Vec<f32>,
    ),
    /// Those with z + gate > 0; their code is max(0, z·exp(scale) + magnitude).
    Gated {
        /// n numbers.
        gate: Vec<f32>,
        /// n numbers.
        scale: Vec<f32>,
        /// n numbers.
        magnitude: Vec<f32>,
    },
}

impl SaeGate {
    /// Codes of a row from its z (n): ascending latents, each with its positive code.
    pub fn codes(&self, z: &[f32]) -> Vec<(u32, f32)> {
        let all = z.iter().enumerate().map(|(j, z)| (j as u32, *z));
        let Self::Gated { gate, scale, magnitude } = self else { return self.choose(z.len(), all) };
        let open = all.filter(|(j, z)| *z + gate[*j as usize] > 0.0);
        open.map(|(j, z)| (j, z * scale[j as usize].exp() + magnitude[j as usize])).filter(|(_, h)| *h > 0.0).collect()
    }

    /// The same from those z, ascending, that the codes can depend on.
    fn choose(&self, n: usize, z: impl Iterator<Item = (u32, f32)>) -> Vec<(u32, f32)> {
        let positive = z.filter(|(_, z)| *z > 0.0);
        match self {
            Self::Relu => positive.collect(),
            Self::TopK { k } => {
                let mut all: Vec<(u32, f32)> = positive.collect();
                if all.len() > *k {
                    all.select_nth_unstable_by(*k, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                    all.truncate(*k);
                    all.sort_unstable_by_key(|(j, _)| *j);
                }
                all
            }
            Self::GroupMax { k } => {
                let width = (n / (*k).max(1)).max(1) as u32;
                let mut best: Vec<(u32, f32)> = Vec::new();
                for (j, z) in positive {
                    match best.last_mut().filter(|(top, _)| *top / width == j / width) {
                        Some(top) if z > top.1 => *top = (j, z),
                        Some(_) => {}
                        None => best.push((j, z)),
                    }
                }
                best
            }
            Self::Threshold(theta) => positive.filter(|(j, z)| *z > theta[*j as usize]).collect(),
            // Its codes depend on more than what is positive.
            Self::Gated { .. } => Vec::new(),
        }
    }

    /// What is to be found of every row so that its codes can be told, where that is few latents of many.
    fn ask(&self, n: usize) -> Option<Ask<'_>> {
        match self {
            Self::TopK { k } if k * FEW <= n => Some(Ask::Largest(*k)),
            Self::GroupMax { k } if k * FEW <= n => Some(Ask::LargestOf(*k)),
            Self::Threshold(theta) => Some(Ask::Above(theta)),
            _ => None,
        }
    }

    /// The numbers of each latent that the gate has, by name.
    fn vectors(&self) -> Vec<(&'static str, &Vec<f32>)> {
        match self {
            Self::Relu | Self::TopK { .. } | Self::GroupMax { .. } => Vec::new(),
            Self::Threshold(theta) => vec![("threshold", theta)],
            Self::Gated { gate, scale, magnitude } => vec![("gate", gate), ("scale", scale), ("magnitude", magnitude)],
        }
    }
}

impl SaeModel {
    /// An error that names what doesn't fit together, if anything: shapes, k, prefixes, numbers that aren't finite.
    pub fn check(&self) -> Result<()> {
        let (n, d) = (self.atoms.rows, self.atoms.cols);
        if n == 0 || d == 0 {
            return Err(Error::data(format!("an autoencoder of {n} latents and {d} dimensions is empty")));
        }
        if (self.encoder.rows, self.encoder.cols) != (n, d) {
            return Err(Error::data(format!(
                "the encoder is {}×{}, the decoder {n}×{d}; both must have a row for each latent and a column for each dimension",
                self.encoder.rows, self.encoder.cols
            )));
        }
        let lengths = [("encoder bias", self.encoder_bias.len(), n), ("bias", self.bias.len(), d)];
        let gates = self.gate.vectors();
        for (name, is, wanted) in lengths.into_iter().chain(gates.iter().map(|(name, v)| (*name, v.len(), n))) {
            if is != wanted {
                return Err(Error::data(format!("the {name} has {is} numbers where {wanted} are needed")));
            }
        }
        if let SaeGate::TopK { k } | SaeGate::GroupMax { k } = self.gate {
            if k == 0 || k > n {
                return Err(Error::data(format!("k = {k} of {n} latents can't be alive; k must be 1 to {n}")));
            }
            if matches!(self.gate, SaeGate::GroupMax { .. }) && !n.is_multiple_of(k) {
                return Err(Error::data(format!(
                    "{n} latents can't be cut into {k} groups of one size; n must be a multiple of k"
                )));
            }
        }
        if !self.prefixes.is_empty() && (!self.prefixes.is_sorted() || self.prefixes[0] == 0 || self.prefixes.last() != Some(&n))
        {
            return Err(Error::data(format!("prefixes {:?} must rise, and end with {n}", self.prefixes)));
        }
        if !self.density.is_empty() && self.density.len() != n {
            return Err(Error::data(format!("{} densities are known of {n} latents", self.density.len())));
        }
        let vectors = [
            ("encoder", &self.encoder.data),
            ("encoder bias", &self.encoder_bias),
            ("decoder", &self.atoms.data),
            ("bias", &self.bias),
        ];
        for (name, v) in vectors.into_iter().chain(gates) {
            if let Some(at) = v.iter().position(|v| !v.is_finite()) {
                return Err(Error::data(format!(
                    "number {at} of the {name} is {}; the file is damaged, or the fit diverged",
                    v[at]
                )));
            }
        }
        Ok(())
    }

    /// A model that [`Model::save`] wrote.
    pub fn load(bag: &Bag) -> Result<Self> {
        let mut gate: SaeGate = bag.get("gate")?;
        match &mut gate {
            SaeGate::Relu | SaeGate::TopK { .. } | SaeGate::GroupMax { .. } => {}
            SaeGate::Threshold(theta) => *theta = bag.f32("threshold")?,
            SaeGate::Gated { gate, scale, magnitude } => {
                (*gate, *scale, *magnitude) = (bag.f32("gate")?, bag.f32("scale")?, bag.f32("magnitude")?);
            }
        }
        let model = Self {
            encoder: bag.mat("encoder")?,
            encoder_bias: bag.f32("encoder_bias")?,
            atoms: bag.mat("atoms")?,
            bias: bag.f32("bias")?,
            subtracts: bag.get("subtracts")?,
            gate,
            layer_norm: bag.get("layer_norm")?,
            prefixes: bag.get("prefixes")?,
            density: bag.f64("density")?,
        };
        model.check()?;
        Ok(model)
    }

    /// Rows as the encoder sees them: with their own mean and s.d. taken off if that is asked for, and b.
    fn entering(&self, x: &Rows) -> Mat {
        let mut y = x.to_mat();
        y.data.par_chunks_mut(y.cols.max(1)).for_each(|y| {
            if self.layer_norm {
                let (mean, sd) = mean_sd(y);
                y.iter_mut().for_each(|v| *v = (*v - mean) / (sd + LAYER_NORM_EPSILON));
            }
            if self.subtracts {
                y.iter_mut().zip(&self.bias).for_each(|(v, b)| *v -= b);
            }
        });
        y
    }

    /// Codes by a gate, which may be another one than the model's own.
    fn encode_by(&self, x: &Rows, gate: &SaeGate) -> Result<Codes> {
        check_width(x, self.atoms.cols)?;
        let rows = match gate.ask(self.atoms.rows) {
            Some(ask) => self.found(x, gate, ask),
            None => self.looked_at(x, gate),
        };
        let mut indptr = vec![0u64];
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        for row in &rows {
            indices.extend(row.iter().map(|(j, _)| *j));
            values.extend(row.iter().map(|(_, v)| *v));
            indptr.push(indices.len() as u64);
        }
        Ok(Codes::Sparse(Csr::new(x.rows(), self.atoms.rows, indptr, indices, values)?))
    }
}

impl SaeModel {
    /// Codes of rows, every latent looked at in f32.
    fn looked_at(&self, x: &Rows, gate: &SaeGate) -> Vec<Vec<(u32, f32)>> {
        let n = self.atoms.rows;
        let weights = product::Packed::transposed(&self.encoder.data, self.atoms.cols);
        let panels: Vec<Vec<Vec<(u32, f32)>>> = (0..x.rows().div_ceil(PANEL))
            .into_par_iter()
            .map(|p| {
                let y = self.entering(&x.slice(p * PANEL, x.rows().min((p + 1) * PANEL)));
                let mut z = vec![0f32; y.rows * n];
                product::rows_times(&mut z, &y.view(), &weights);
                z.chunks_exact_mut(n)
                    .map(|z| {
                        linalg::axpy(z, 1.0, &self.encoder_bias);
                        gate.codes(z)
                    })
                    .collect()
            })
            .collect();
        panels.into_iter().flatten().collect()
    }

    /// The same where few latents matter: those are found first.
    fn found(&self, x: &Rows, gate: &SaeGate, ask: Ask) -> Vec<Vec<(u32, f32)>> {
        let (n, spare) = (self.atoms.rows, Spare::default());
        let packed = shortlist::Packed::of(&self.encoder.data, self.atoms.cols);
        let mut rows = Vec::with_capacity(x.rows());
        for from in (0..x.rows()).step_by(PIECE) {
            let y = self.entering(&x.slice(from, x.rows().min(from + PIECE)));
            let found = shortlist::find(&packed, &self.encoder_bias, &y.data, ask, &spare);
            let found = batch::products((&self.encoder.data, &self.encoder_bias), &y.data, &found, &spare);
            rows.par_extend(found.into_par_iter().map(|row| gate.choose(n, row.into_iter())));
        }
        rows
    }
}

/// The mean of a row and its s.d. (of d − 1).
fn mean_sd(x: &[f32]) -> (f32, f32) {
    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / x.len() as f64;
    let square = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
    (mean as f32, (square / (x.len() as f64 - 1.0).max(1.0)).sqrt() as f32)
}

impl Model for SaeModel {
    fn method(&self) -> &'static str {
        "sae"
    }
    fn atoms(&self) -> &Mat {
        &self.atoms
    }
    fn encode(&self, x: &Rows) -> Result<Codes> {
        self.encode_by(x, &self.gate)
    }
    fn encode_at(&self, x: &Rows, k: usize) -> Result<Option<Codes>> {
        match self.gate {
            SaeGate::TopK { .. } => self.encode_by(x, &SaeGate::TopK { k }).map(Some),
            _ => Ok(None),
        }
    }
    fn encoder(&self) -> Option<&Mat> {
        Some(&self.encoder)
    }
    fn prefixes(&self) -> &[usize] {
        &self.prefixes
    }
    fn decode(&self, z: &Codes) -> Result<Mat> {
        let mut x = z.times(&self.atoms)?;
        x.data.par_chunks_mut(self.atoms.cols.max(1)).for_each(|x| linalg::axpy(x, 1.0, &self.bias));
        Ok(x)
    }
    /// With [`SaeModel::layer_norm`] the mean and the s.d. of each row of `x` are put back.
    fn decode_like(&self, z: &Codes, x: &Rows) -> Result<Mat> {
        let mut out = self.decode(z)?;
        if self.layer_norm {
            check_width(x, out.cols)?;
            if x.rows() != out.rows {
                return Err(Error::data(format!("{} rows can't be moved back like {}", out.rows, x.rows())));
            }
            let x = x.to_mat();
            out.data.par_chunks_mut(x.cols.max(1)).zip(x.data.par_chunks(x.cols.max(1))).for_each(|(out, x)| {
                let (mean, sd) = mean_sd(x);
                out.iter_mut().for_each(|v| *v = *v * sd + mean);
            });
        }
        Ok(out)
    }
    fn known(&self) -> Option<Known> {
        (!self.density.is_empty()).then(|| Known::Rows(self.density.clone()))
    }
    fn save(&self, bag: &mut Bag) {
        bag.put_mat("encoder", &self.encoder);
        bag.put_f32("encoder_bias", &self.encoder_bias);
        bag.put_mat("atoms", &self.atoms);
        bag.put_f32("bias", &self.bias);
        bag.put("subtracts", self.subtracts);
        let mut gate = self.gate.clone();
        match &mut gate {
            SaeGate::Relu | SaeGate::TopK { .. } | SaeGate::GroupMax { .. } => {}
            SaeGate::Threshold(theta) => theta.clear(),
            SaeGate::Gated { gate, scale, magnitude } => [gate, scale, magnitude].into_iter().for_each(Vec::clear),
        }
        bag.put("gate", gate);
        self.gate.vectors().into_iter().for_each(|(name, v)| bag.put_f32(name, v));
        bag.put("layer_norm", self.layer_norm);
        bag.put("prefixes", &self.prefixes);
        bag.put_f64("density", &self.density);
    }
}
