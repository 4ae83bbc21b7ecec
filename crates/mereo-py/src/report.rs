//! Models side by side.

use crate::errors::raised;
use crate::gate;
use crate::models::Model;
use crate::table::Table;
use mereo::compare::{self, About, Comparison, Example, Facts, Setting};
use mereo::prepare::Prepared;
use mereo::source::{self, Source};
use mereo::{Error, Result};
use pyo3::prelude::*;
use serde::Deserialize;

/// What Python knows of one model.
#[derive(Deserialize)]
struct Known {
    label: String,
    params: serde_json::Value,
    seconds: f64,
    curve: Vec<mereo::fold::Pass>,
    stop: mereo::fold::Stop,
}

/// Measures models on the same rows, and on rows held out: all numbers as JSON, and the page.
///
/// `known` is a JSON list of label, params, seconds, curve and stop of each model.
///
/// # Errors
/// Rows of another width than a model's, or models of different preparations.
#[pyfunction]
#[pyo3(signature = (models, known, train, test=None, *, image=None, name="array".to_string(), columns=None, threads=0))]
#[allow(clippy::too_many_arguments, reason = "keywords of Python")]
pub fn side_by_side(
    py: Python,
    models: Vec<Model>,
    known: &str,
    train: &Bound<PyAny>,
    test: Option<&Bound<PyAny>>,
    image: Option<(usize, usize)>,
    name: String,
    columns: Option<Vec<String>>,
    threads: usize,
) -> PyResult<(String, String)> {
    let known: Vec<Known> = serde_json::from_str(known).map_err(|e| raised(Error::parameter(e.to_string())))?;
    if models.is_empty() || known.len() != models.len() {
        return Err(raised(Error::parameter("there is no model to compare; give at least one that is fitted")));
    }
    let train = Table::of(train)?;
    let test = test.map(Table::of).transpose()?;
    let about = About { name, image, columns, ..About::default() };
    train.with(|train| match &test {
        None => gate::run(py, threads, || compared(&models, known, train, None, about))?.map_err(raised),
        Some(test) => {
            test.with(|test| gate::run(py, threads, || compared(&models, known, train, Some(test), about))?.map_err(raised))
        }
    })
}

fn compared(
    models: &[Model],
    known: Vec<Known>,
    train: &dyn Source,
    test: Option<&dyn Source>,
    about: About,
) -> Result<(String, String)> {
    let first = &models[0].bundle;
    let recipes = first.pipeline.recipes();
    if models.iter().any(|m| m.bundle.pipeline.recipes() != recipes) {
        return Err(Error::parameter("the models' rows were prepared in different ways, so their errors have different units"));
    }
    let prepared = Prepared::new(train, &first.pipeline);
    let prepared_test = test.map(|t| Prepared::new(t, &first.pipeline));
    let test_rows = prepared_test.as_ref().map(|t| t as &dyn Source);
    let setting = Setting { train: &prepared, test: test_rows, image: about.image, shown: 0 };
    let mut entries = Vec::new();
    for (model, known) in models.iter().zip(known) {
        let Known { label, params, seconds, curve, stop } = known;
        let facts = Facts { label, params, seconds, curve, stop };
        entries.push(compare::entry(model.bundle.model.as_ref(), facts, &setting)?);
    }
    let k = entries.iter().map(|e| e.atoms.rows).min().unwrap_or(0);
    let comparison = Comparison {
        version: env!("CARGO_PKG_VERSION").into(),
        command: None,
        k,
        seed: 0,
        threads: rayon::current_num_threads(),
        example: Example {
            row: 0,
            original: compare::row(test.unwrap_or(train), 0)?.data,
            prepared: compare::row(test_rows.unwrap_or(&prepared), 0)?.data,
        },
        data: About {
            train: source::count(train),
            test: test.map_or(0, source::count),
            cols: train.cols(),
            preparation: recipes.iter().map(|r| r.name().to_string()).collect(),
            ..about
        },
        entries,
        left_out: Vec::new(),
        sizes: Vec::new(),
    };
    let page = mereo_report::html(&comparison);
    Ok((serde_json::to_string(&comparison).map_err(|e| Error::data(e.to_string()))?, page))
}
