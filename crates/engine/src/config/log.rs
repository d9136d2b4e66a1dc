//! Where a container's output is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Who takes a container's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A file in Kubernetes' format.
    #[default]
    K8sFile,
    /// A file in Docker's.
    JsonFile,
    /// systemd's journal.
    Journald,
    /// Nobody: the container has the streams of whoever starts it.
    Passthrough,
    /// The same, terminals allowed.
    PassthroughTty,
    /// Nobody.
    None,
}

impl LogDriver {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::K8sFile, Self::JsonFile, Self::Journald, Self::Passthrough, Self::PassthroughTty, Self::None];

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::K8sFile => "k8s-file",
            Self::JsonFile => "json-file",
            Self::Journald => "journald",
            Self::Passthrough => "passthrough",
            Self::PassthroughTty => "passthrough-tty",
            Self::None => "none",
        }
    }

    /// It writes files.
    pub fn has_files(self) -> bool {
        matches!(self, Self::K8sFile | Self::JsonFile)
    }

    /// The container has the streams of whoever starts it.
    pub fn is_passthrough(self) -> bool {
        matches!(self, Self::Passthrough | Self::PassthroughTty)
    }
}

/// A container's log. Templates and names of labels are looked up each time it is started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogUse {
    /// Who takes it.
    pub driver: LogDriver,
    /// Where the file is, if not with the container.
    pub path: Option<PathBuf>,
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// One whose first line is older than this (seconds) is rotated.
    pub max_age: Option<u64>,
    /// Files kept, the current one included.
    pub max_files: u32,
    /// Older files are compressed.
    pub compress: bool,
    /// A template.
    pub tag: String,
    /// Ids in templates are short, as Docker has them.
    pub short_ids: bool,
    /// Further fields for the journal, and the templates of their values.
    pub fields: BTreeMap<String, String>,
    /// Labels that are said with each line.
    pub labels: Vec<String>,
    /// Those whose names match are, too.
    pub labels_regex: Option<String>,
    /// Variables that are said with each line.
    pub env: Vec<String>,
    /// Those whose names match are, too.
    pub env_regex: Option<String>,
    /// Lines that are not taken at once are lost, but for so many bytes of them.
    pub buffer: Option<u64>,
    /// The options as they were given.
    pub options: BTreeMap<String, String>,
}

impl LogUse {
    /// The directory of its file, if that is the container's alone.
    pub(crate) fn own_directory(&self, id: &str) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent).filter(|directory| directory.ends_with(id))
    }
}
