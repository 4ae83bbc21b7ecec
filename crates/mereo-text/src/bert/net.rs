//! The transformer: from token ids to a vector a token.

use super::names::Names;
use crate::lanes;
use crate::weights::Weights;
use mereo::linalg::{Factor, Into, mul_nn, mul_nt};
use mereo::{Error, Mat, Result};
use serde_json::Value;

/// Weights, ready for products.
#[derive(Debug)]
pub(super) struct Net {
    words: Mat,
    /// A vector for each place, with that of the first type of token added.
    places: Mat,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    gelu: bool,
    eps: f64,
    relative: Option<Relative>,
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    out: Linear,
    norm1: Norm,
    up: Linear,
    down: Linear,
    norm2: Norm,
}

#[derive(Debug)]
struct Linear {
    weight: Factor,
    bias: Vec<f32>,
}

impl Linear {
    /// One out of several side by side, each outputs × inputs.
    fn read(weights: &Weights, names: &[String], outputs: usize, inputs: usize) -> Result<Self> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weight.extend(weights.take(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(weights.take(&format!("{name}.bias"), &[outputs])?);
        }
        Ok(Self { weight: Factor::transposed(&weight, inputs), bias })
    }

    fn times(&self, out: &mut [f32], x: &[f32]) {
        self.weight.times(out, x);
        lanes::add_bias(out, &self.bias);
    }
}

#[derive(Debug)]
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    fn read(weights: &Weights, name: &str, d: usize) -> Result<Self> {
        // The first releases have the names of a paper.
        let (weight, bias) = if weights.has(&format!("{name}.gamma")) { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self {
            weight: weights.take(&format!("{name}.{weight}"), &[d])?,
            bias: weights.take(&format!("{name}.{bias}"), &[d])?,
        })
    }

    fn apply(&self, x: &mut [f32], eps: f64) {
        lanes::layer_norm(x, &self.weight, &self.bias, eps);
    }
}

/// What attention adds to a pair of tokens by how far they are from each other (Raffel et al. 2020, as MPNet has it).
#[derive(Debug)]
struct Relative {
    /// A row for each class of distances, a column for each head.
    bias: Mat,
}

impl Relative {
    /// Distances to either side are classes of their own up to a half of a side's; the rest grow with the logarithm, up to 128.
    fn class(&self, i: usize, j: usize) -> usize {
        const FARTHEST: f64 = 128.0;
        let side = self.bias.rows / 2;
        let exact = side / 2;
        let far = i.abs_diff(j);
        let class = if far < exact {
            far
        } else {
            // In f32, as the model was trained: the edges of classes are exact powers, which rounding may put on either side.
            let share = (far as f32 / exact as f32).ln() / (FARTHEST / exact as f64).ln() as f32;
            (exact + (share * (side - exact) as f32) as usize).min(side - 1)
        };
        if j > i { side + class } else { class }
    }

    /// scores (n×n) ← scale·scores + bias.
    fn add(&self, scores: &mut [f32], n: usize, head: usize, scale: f32) {
        for (i, row) in scores.chunks_exact_mut(n).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, s)| *s = *s * scale + self.bias.row(self.class(i, j))[head]);
        }
    }
}

impl Net {
    pub fn new(weights: &Weights, config: &Value, names: &Names) -> Result<Self> {
        let number = |key: &str| {
            let n = config[key].as_u64().filter(|n| *n > 0).map(|n| n as usize);
            n.ok_or_else(|| Error::data(format!("config.json of the model has no {key} above 0; copy it again")))
        };
        let (d, inner, heads) = (number(names.dim)?, number(names.inner)?, number(names.heads)?);
        if d % heads != 0 {
            return Err(Error::data(format!(
                "config.json of the model shares {} = {d} among {heads} heads; copy it again",
                names.dim
            )));
        }
        let act = config[names.act].as_str().unwrap_or("gelu");
        if !matches!(act, "gelu" | "relu") {
            return Err(Error::data(format!(
                "the model's activation is {act}; gelu and relu are read: use another, or an endpoint"
            )));
        }
        let kind = config["position_embedding_type"].as_str().unwrap_or("absolute");
        if kind != "absolute" {
            return Err(Error::data(format!(
                "the model's positions are {kind}; absolute ones are read: use another, or an endpoint"
            )));
        }
        let words = weights.mat(names.words)?;
        let mut places = weights.mat("embeddings.position_embeddings.weight")?;
        if words.cols != d || places.cols != d {
            return Err(weights.error(format!(
                "its token vectors have {} numbers, config.json says {d}; they are not of one model",
                words.cols
            )));
        }
        if weights.has("embeddings.token_type_embeddings.weight") {
            let types = weights.mat("embeddings.token_type_embeddings.weight")?;
            places.data.chunks_exact_mut(d).for_each(|p| lanes::add(p, types.row(0)));
        }
        places.data.drain(..(names.first * d).min(places.data.len()));
        places.rows = places.data.len() / d;
        let relative = names.relative.map(|name| weights.mat(name)).transpose()?.map(|bias| Relative { bias });
        if let Some(r) = relative.as_ref().filter(|r| r.bias.cols != heads || r.bias.rows < 4 || r.bias.rows % 4 != 0) {
            return Err(weights
                .error(format!("its bias of distances is {}×{}, {heads} heads need as many columns", r.bias.rows, r.bias.cols)));
        }
        let layer = |i| {
            let name = |part: &str| format!("{}{i}.{part}", names.layer);
            Ok(Layer {
                qkv: Linear::read(weights, &names.qkv.map(name), d, d)?,
                out: Linear::read(weights, &[name(names.out)], d, d)?,
                norm1: Norm::read(weights, &name(names.norm1), d)?,
                up: Linear::read(weights, &[name(names.up)], inner, d)?,
                down: Linear::read(weights, &[name(names.down)], d, inner)?,
                norm2: Norm::read(weights, &name(names.norm2), d)?,
            })
        };
        Ok(Self {
            words,
            places,
            norm: Norm::read(weights, "embeddings.LayerNorm", d)?,
            layers: (0..number(names.layers)?).map(layer).collect::<Result<_>>()?,
            heads,
            gelu: act == "gelu",
            eps: config["layer_norm_eps"].as_f64().unwrap_or(names.eps),
            relative,
        })
    }

    pub fn dim(&self) -> usize {
        self.words.cols
    }

    pub fn vocabulary(&self) -> usize {
        self.words.rows
    }

    pub fn longest(&self) -> usize {
        self.places.rows
    }

    /// A vector (dim) for each token of texts that lie end to end, on this thread. No text is longer than [`Net::longest`], or empty.
    pub fn run(&self, texts: &[&[u32]]) -> Vec<f32> {
        let d = self.dim();
        let mut x = Vec::with_capacity(texts.iter().map(|t| t.len()).sum::<usize>() * d);
        for text in texts {
            for (place, id) in text.iter().enumerate() {
                x.extend(self.words.row(*id as usize).iter().zip(self.places.row(place)).map(|(w, p)| w + p));
            }
        }
        self.norm.apply(&mut x, self.eps);
        let (mut qkv, mut seen, mut y) = (vec![0.0; 3 * x.len()], vec![0.0; x.len()], vec![0.0; x.len()]);
        let mut inner = vec![0.0; self.layers.iter().map(|l| l.up.bias.len()).max().unwrap_or(0) * (x.len() / d)];
        let mut head = Head::new(texts.iter().map(|t| t.len()).max().unwrap_or(0), d / self.heads);
        for layer in &self.layers {
            layer.qkv.times(&mut qkv, &x);
            let mut at = 0;
            for text in texts {
                let n = text.len();
                for h in 0..self.heads {
                    self.attend(&mut head, &qkv[3 * at * d..3 * (at + n) * d], &mut seen[at * d..(at + n) * d], (n, h));
                }
                at += n;
            }
            layer.out.times(&mut y, &seen);
            lanes::add(&mut x, &y);
            layer.norm1.apply(&mut x, self.eps);
            layer.up.times(&mut inner, &x);
            if self.gelu {
                lanes::gelu(&mut inner);
            } else {
                inner.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            layer.down.times(&mut y, &inner);
            lanes::add(&mut x, &y);
            layer.norm2.apply(&mut x, self.eps);
        }
        x
    }

    /// Columns of `out` (n×d) ← softmax(q·kᵀ/√width)·v of one head of one text.
    fn attend(&self, on: &mut Head, qkv: &[f32], out: &mut [f32], (n, h): (usize, usize)) {
        let d = self.dim();
        let width = d / self.heads;
        let column = h * width;
        for (i, row) in qkv.chunks_exact(3 * d).enumerate() {
            for (to, from) in [&mut on.q, &mut on.k, &mut on.v].into_iter().zip(row.chunks_exact(d)) {
                to[i * width..(i + 1) * width].copy_from_slice(&from[column..column + width]);
            }
        }
        let scores = &mut on.scores[..n * n];
        let scale = 1.0 / (width as f32).sqrt();
        mul_nt(scores, &on.q, &on.k, (n, width, n), Into::Replace);
        match &self.relative {
            Some(relative) => {
                relative.add(scores, n, h, scale);
                lanes::softmax(scores, n, 1.0);
            }
            None => lanes::softmax(scores, n, scale),
        }
        mul_nn(&mut on.q, scores, &on.v, (n, n, width), Into::Replace);
        for (out, from) in out.chunks_exact_mut(d).zip(on.q.chunks_exact(width)) {
            out[column..column + width].copy_from_slice(from);
        }
    }
}

/// Room for one head of one text.
struct Head {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    scores: Vec<f32>,
}

impl Head {
    fn new(longest: usize, width: usize) -> Self {
        let part = || vec![0.0; longest * width];
        Self { q: part(), k: part(), v: part(), scores: vec![0.0; longest * longest] }
    }
}
