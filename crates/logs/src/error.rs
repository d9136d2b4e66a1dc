use std::io;
use std::path::Path;

use thiserror::Error;

/// Why a log could not be read.
#[derive(Debug, Error)]
#[error("{operation} {path}")]
pub struct Error {
    operation: &'static str,
    path: String,
    source: io::Error,
}

/// Names what a call was about.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error { operation, path: path.display().to_string(), source })
    }
}
