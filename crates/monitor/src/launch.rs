//! What a monitor is told to start: one document, written by the engine, read once.

use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const VERSION: u32 = 1;

/// The descriptor on which a monitor finds its launch document.
pub const LAUNCH_FD: i32 = 3;
/// The descriptor of a monitor's first client.
pub const CLIENT_FD: i32 = 4;

/// Everything a monitor needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// What runs, complete but for the user.
    pub spec: Option<Spec>,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// `user[:group]` as given, looked up in the container's own files.
    pub user: String,
    /// Names or numbers of further groups.
    pub groups: Vec<String>,
    /// Its control group.
    pub cgroup: String,
    /// Run the embedded init as process 1.
    pub init: bool,
    /// Keep standard input open for clients.
    pub stdin: bool,
    /// Where its output is kept.
    pub log: LogSettings,
    /// Holds the socket and generated files; removed at the end.
    pub run_dir: PathBuf,
    /// Holds `state.json`.
    pub dir: PathBuf,
    /// What `--rm` removes.
    pub removal: Option<Removal>,
}

/// How the root file system is made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Rootfs {
    /// An overlay of layers, the topmost first.
    Overlay {
        /// Read-only directories.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs's own; on the same file system as `upper`.
        work: PathBuf,
        /// Skip syncs: the changes do not outlive the container.
        volatile: bool,
    },
    /// A directory as it is.
    Directory {
        /// Absolute.
        path: PathBuf,
    },
    /// A directory, with changes thrown away at the end. File systems mounted below are overlaid too.
    Throwaway {
        /// Absolute.
        path: PathBuf,
        /// The most the changes may take, in bytes.
        size: u64,
    },
}

/// Where a container's output is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogSettings {
    /// `None` keeps nothing.
    pub path: Option<PathBuf>,
    /// A file larger than this (bytes) is rotated.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included.
    pub max_files: u32,
}

/// What is removed when a container that is not kept ends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Removal {
    /// The link that reserves its name.
    pub name: PathBuf,
    /// The container's directory is moved here before its content is deleted.
    pub tombs: PathBuf,
}
