//! A model as a user keeps it: the preprocessing, the model, and where they come from, in one file.
//!
//! The preprocessing travels with the model, so that `encode` takes rows as they were given to the fit, and
//! `reconstruct` gives them back in the same units.

use crate::ae::AeModel;
use crate::error::{Error, Result};
use crate::fold::{Fitted, Method, Shape, Stop};
use crate::mat::{Mat, Rows};
use crate::model::{Codes, Model};
use crate::nmf::NmfModel;
use crate::pca::PcaModel;
use crate::prepare::Pipeline;
use crate::sae::SaeModel;
use crate::store::Bag;
use crate::vq::VqModel;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A fitted model with its preprocessing and its origin.
pub struct Bundle {
    /// Applied to rows before the model sees them, undone after.
    pub pipeline: Pipeline,
    /// The model, in units of the prepared rows.
    pub model: Box<dyn Model>,
    /// Where it comes from.
    pub about: About,
}

/// Where a model comes from. Holds no clock and no machine, so that the same fit gives the same file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What the data was called.
    pub data: String,
    /// Rows and columns of the training data.
    pub shape: Shape,
    /// Names of the columns, if they had any.
    pub columns: Option<Vec<String>>,
    /// Height and width, if a row is an image.
    pub image: Option<(usize, usize)>,
    /// The method's parameters.
    pub params: Value,
    /// Loss after every pass; NaN where it was no number.
    #[serde(deserialize_with = "numbers")]
    pub curve: Vec<f64>,
    /// How far from a stationary point each pass began ([`Pass::gradient`](crate::fold::Pass)); empty where the method doesn't know.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "numbers")]
    pub gradients: Vec<f64>,
    /// Why the fit ended.
    pub stop: Stop,
    /// Version of mereo that made it.
    pub version: String,
}

/// JSON has no NaN, and writes null for it.
fn numbers<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(from)?;
    Ok(numbers.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
}

impl About {
    /// The origin of a fit; columns and image shape are added by who knows them.
    pub fn new<M: Method>(data: &str, shape: Shape, method: &M, fitted: &Fitted<M::Model>) -> Self {
        Self {
            curve: fitted.curve.iter().map(|p| p.loss).collect(),
            gradients: fitted.curve.iter().filter_map(|p| p.gradient).collect(),
            stop: fitted.stop,
            ..Self::unfitted(data, shape, serde_json::to_value(method).unwrap_or_default())
        }
    }

    /// The origin of a model that no fit of passes made: of another library, say.
    pub fn unfitted(data: &str, shape: Shape, params: Value) -> Self {
        Self {
            data: data.into(),
            shape,
            columns: None,
            image: None,
            params,
            curve: Vec::new(),
            gradients: Vec::new(),
            stop: Stop::Converged,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl Bundle {
    /// Codes of raw rows (n × k).
    pub fn encode(&self, x: &Rows) -> Result<Codes> {
        self.model.encode(&self.pipeline.apply(x)?.0)
    }

    /// Raw rows rebuilt through the model (n × d), in the units of `x`. What preprocessing clipped stays clipped.
    pub fn reconstruct(&self, x: &Rows) -> Result<Mat> {
        let (prepared, undo) = self.pipeline.apply(x)?;
        let back = self.model.decode_like(&self.model.encode(&prepared)?, &prepared)?;
        self.pipeline.invert(back, &undo)
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.bag().write(path)
    }

    /// What [`Bundle::save`] writes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.bag().to_bytes()
    }

    fn bag(&self) -> Bag {
        let mut bag = Bag::default();
        bag.put("kind", "model");
        bag.put("method", self.model.method());
        bag.put("about", &self.about);
        let (mut model, mut pipeline) = (Bag::default(), Bag::default());
        self.model.save(&mut model);
        self.pipeline.save(&mut pipeline);
        bag.nest("model", model);
        bag.nest("pipeline", pipeline);
        bag
    }

    /// Reads a file that [`Bundle::save`] wrote.
    ///
    /// # Errors
    /// A file that is cut short, of another kind, or of a method that this version does not know.
    pub fn load(path: &Path) -> Result<Self> {
        Self::of(&Bag::read(path)?, path)
    }

    /// Reads what [`Bundle::to_bytes`] gave; `path` is only named in errors.
    ///
    /// # Errors
    /// See [`Bundle::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::of(&Bag::from_bytes(bytes, path)?, path)
    }

    fn of(bag: &Bag, path: &Path) -> Result<Self> {
        if bag.get::<String>("kind").ok().as_deref() != Some("model") {
            return Err(Error::format(path, "a checkpoint of a fit, not a model; continue the fit with --resume"));
        }
        let inside = |e: Error| Error::format(path, e.to_string());
        let method: String = bag.get("method").map_err(inside)?;
        let model = load_model(&method, &bag.nested("model").map_err(inside)?).map_err(inside)?;
        let pipeline = Pipeline::load(&bag.nested("pipeline").map_err(inside)?).map_err(inside)?;
        if pipeline.cols() != model.atoms().cols {
            return Err(inside(Error::data("its preprocessing and its model have different numbers of columns")));
        }
        Ok(Self { pipeline, model, about: bag.get("about").map_err(inside)? })
    }
}

/// The model of a method, from what its [`Model::save`] wrote. The one place that knows all methods by name.
pub fn load_model(method: &str, bag: &Bag) -> Result<Box<dyn Model>> {
    Ok(match method {
        "pca" => Box::new(PcaModel::load(bag)?),
        "vq" => Box::new(VqModel::load(bag)?),
        "nmf" => Box::new(NmfModel::load(bag)?),
        "ae" => Box::new(AeModel::load(bag)?),
        "sae" => Box::new(SaeModel::load(bag)?),
        other => return Err(Error::data(format!("made by the method `{other}`, which this version does not know"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Options, fit};
    use crate::pca::Pca;
    use crate::prepare::{Prepared, Recipe};
    use crate::rng::rng;
    use crate::source::Memory;

    #[test]
    fn a_saved_bundle_encodes_and_reconstructs_raw_rows_alike() {
        let mut x = Mat::zeros(80, 36);
        for i in 0..80 {
            let mut r = rng(3, 0, i as u64);
            let (a, b) = (r.uniform(), 5.0 * r.uniform());
            for (j, v) in x.row_mut(i).iter_mut().enumerate() {
                *v = (2.0 + a * j as f64 + b * f64::from(j as u32 % 5) + 0.1 * r.normal()) as f32;
            }
        }
        let raw = Memory::from(&x);
        let pipeline = Pipeline::fit(&[Recipe::UnitNorm, Recipe::Standardize], &raw).expect("pipeline");
        let method = Pca { k: 3, ..Pca::default() };
        let fitted = fit(&method, &Prepared::new(&raw, &pipeline), Options::default()).expect("fit");
        let mut about = About::new("parts", Shape { rows: 80, cols: 36 }, &method, &fitted);
        about.gradients = vec![1.0, 0.5];
        let bundle = Bundle { pipeline, model: Box::new(fitted.model), about };
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("p.mereo");
        bundle.save(&path).expect("save");
        let back = Bundle::load(&path).expect("load");
        assert_eq!(bundle.encode(&x.view()).expect("z"), back.encode(&x.view()).expect("z"));
        assert_eq!(bundle.about, back.about);
        let again = Bundle::from_bytes(&bundle.to_bytes().expect("bytes"), &path).expect("from bytes");
        assert_eq!(again.to_bytes().expect("bytes"), std::fs::read(&path).expect("file"));
        // What JSON can't say does not make a file unreadable.
        let odd = Bundle {
            about: About { gradients: vec![1.0, f64::NAN], curve: vec![f64::INFINITY], ..bundle.about.clone() },
            ..bundle
        };
        let odd = Bundle::from_bytes(&odd.to_bytes().expect("bytes"), &path).expect("from bytes").about;
        assert!(odd.gradients[0] == 1.0 && odd.gradients[1].is_nan() && odd.curve[0].is_nan());
        let rebuilt = back.reconstruct(&x.view()).expect("x");
        let off: f64 = x.data.iter().zip(&rebuilt.data).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let all: f64 = x.data.iter().map(|a| f64::from(*a).powi(2)).sum();
        assert!(off < 0.05 * all && off > 0.0, "{off} of {all}: not in the units of the input");
        let bytes = std::fs::read(&path).expect("bytes");
        for cut in [0, 1, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).expect("write");
            assert!(Bundle::load(&path).is_err(), "cut at {cut}");
        }
    }
}
