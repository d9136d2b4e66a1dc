//! What a log is to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::{json_file, k8s};

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Settings {
    /// Nowhere but to those who are attached.
    Nothing,
    /// Into files.
    Files {
        /// The one that is written to; the others are named after it.
        path: PathBuf,
        /// How a record looks.
        format: Format,
        /// When a new file is begun.
        rotation: Rotation,
        /// Said with each record where the format has a place for it.
        attributes: BTreeMap<String, String>,
    },
    /// To systemd's journal.
    Journal {
        /// Sent with each message.
        fields: BTreeMap<String, String>,
        /// What the journal does not take at once is kept up to so many bytes, and the rest is lost. `None`: the program waits.
        buffer: Option<u64>,
    },
    /// It has the streams of whoever started it, and no monitor sees what goes through them.
    Passthrough,
}

/// How records are written to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Kubernetes' and Podman's: `TIME STREAM TAG TEXT`.
    #[default]
    K8sFile,
    /// Docker's: an object with `log`, `stream` and `time`. What is no UTF-8 is replaced.
    JsonFile,
}

/// When a new file is begun, and what becomes of the old ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// So is one whose first record is older than this (seconds), when the next one comes.
    pub max_age: Option<u64>,
    /// How many files are kept, the current one included; at most [`MAX_FILES`](crate::MAX_FILES).
    pub max_files: u32,
    /// Older files are compressed.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_size: None, max_age: None, max_files: 1, compress: false }
    }
}

impl Settings {
    /// Files as Kubernetes has them, without attributes.
    pub fn file(path: impl Into<PathBuf>, rotation: Rotation) -> Self {
        Self::Files { path: path.into(), format: Format::K8sFile, rotation, attributes: BTreeMap::new() }
    }
}

impl Format {
    pub(crate) fn parse(self, line: &[u8]) -> Option<Record<'_>> {
        match self {
            Self::K8sFile => k8s::parse(line),
            Self::JsonFile => json_file::parse(line),
        }
    }
}
