//! What can go wrong, said so that the reader knows what to do next.

use std::path::PathBuf;

/// The error of every fallible function of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data can't be used as asked: a shape, a NaN, a negative value.
    #[error("{0}")]
    Data(String),
    /// A parameter is outside its range.
    #[error("{0}")]
    Parameter(String),
    /// A file is not what it claims to be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The operating system refused a read or a write.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's own error.
        source: std::io::Error,
    },
    /// Another worker of the same fit failed.
    #[error("another worker failed; its own message says why")]
    Worker,
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Data`] from anything that prints.
    pub fn data(message: impl Into<String>) -> Self {
        Self::Data(message.into())
    }
    /// An [`Error::Parameter`] from anything that prints.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::Parameter(message.into())
    }
    /// An [`Error::Format`] about one file.
    pub fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Format { path: path.into(), message: message.into() }
    }
    /// An [`Error::Io`] about one file.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
