//! `mereo._core`: what the Python package calls. Arrays in, arrays out, parameters and facts as JSON; signatures, docs and scikit-learn's habits
//! are Python's.

#![allow(clippy::needless_pass_by_value, reason = "what Python hands over is owned")]

mod errors;
mod fit;
mod gate;
mod models;
mod report;
mod table;

use pyo3::prelude::*;

/// Fitted models and the fits that make them.
#[pymodule(gil_used = false)]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<models::Model>()?;
    m.add_class::<fit::Trainer>()?;
    m.add_class::<table::Opened>()?;
    m.add_function(wrap_pyfunction!(fit::fit, m)?)?;
    m.add_function(wrap_pyfunction!(models::load, m)?)?;
    m.add_function(wrap_pyfunction!(models::read_sae, m)?)?;
    m.add_function(wrap_pyfunction!(models::sae_formats, m)?)?;
    m.add_function(wrap_pyfunction!(report::side_by_side, m)?)?;
    m.add_function(wrap_pyfunction!(table::embedded, m)?)?;
    Ok(())
}
