//! Errors of the library as those that Python people expect.

use mereo::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};

/// A `ValueError` with the same text; what the system refused is an `OSError`, of the kind that its number says.
pub fn raised(error: Error) -> PyErr {
    match error {
        Error::Io { path, source } => match source.raw_os_error() {
            Some(code) => PyOSError::new_err((code, plain(&source.to_string()), path.display().to_string())),
            None => PyOSError::new_err(format!("{}: {source}", path.display())),
        },
        Error::Worker => PyRuntimeError::new_err(error.to_string()),
        error => PyValueError::new_err(error.to_string()),
    }
}

/// The system's words without its number, which Python writes itself.
fn plain(text: &str) -> String {
    text.split(" (os error").next().unwrap_or(text).to_string()
}
