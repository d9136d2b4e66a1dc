//! Reading a bundle: a directory with a config.json.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use crate::error::Context;
use crate::{Error, parse_spec};

/// A bundle as it was when it was read: later edits of its files have no effect (runtime-spec, runtime.md, create).
#[derive(Debug)]
pub struct Bundle {
    /// Absolute.
    pub path: PathBuf,
    /// config.json.
    pub spec: Spec,
    /// What in it was left out, and why.
    pub warnings: Vec<String>,
    /// The same as `spec`, byte for byte.
    pub text: Vec<u8>,
}

impl Bundle {
    /// Reads `path`/config.json.
    ///
    /// # Errors
    /// [`Error::Failed`] when it cannot be read, [`Error::Parse`] when it is not a specification.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().context("open bundle", path.display())?;
        let config = path.join("config.json");
        Self::read(path, &config)
    }

    /// Reads another file as the configuration of the bundle at `path`, which is absolute.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn read(path: PathBuf, config: &Path) -> Result<Self, Error> {
        let text = std::fs::read(config).context("open", config.display())?;
        let (spec, warnings) = parse_spec(&text)
            .map_err(|source| Error::Parse { path: config.display().to_string(), source })?;
        Ok(Self { path, spec, warnings, text })
    }
}
