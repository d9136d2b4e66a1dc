//! What a monitor is told to start: one document, written by the engine, read once.

use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const VERSION: u32 = 2;

/// The first arguments of a monitor's command line.
pub const ARGUMENT: &str = "monitor";
/// The descriptor on which a monitor finds its launch document.
pub const LAUNCH_FD: i32 = 3;
/// The descriptor of a monitor's first client.
pub const CLIENT_FD: i32 = 4;
/// The descriptor of the container's locked directory.
pub const LOCK_FD: i32 = 5;

/// Everything a monitor needs to know. `S` is the specification as the writer has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch<S = Spec> {
    /// [`VERSION`].
    pub version: u32,
    /// Where the container's things are.
    pub place: Place,
    /// What runs, complete but for the user.
    pub spec: Option<S>,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// `user[:group]` as given, looked up in the container's own files.
    pub user: String,
    /// Names or numbers of further groups.
    pub groups: Vec<String>,
    /// Run the embedded init as process 1.
    pub init: bool,
    /// Keep standard input open for clients.
    pub stdin: bool,
    /// Where its output is kept.
    pub log: LogSettings,
}

/// Where a container's things are, and what goes when it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The container's id.
    pub id: String,
    /// Its control group.
    pub cgroup: String,
    /// The slice in which systemd makes it as a scope; `None` where systemd does not.
    #[serde(default)]
    pub slice: Option<String>,
    /// Its monitor's, in the hierarchies that track sessions.
    pub monitor_cgroup: String,
    /// Holds `state.json`.
    pub dir: PathBuf,
    /// Holds the socket and generated files; removed at the end.
    pub run_dir: PathBuf,
    /// What `--rm` removes.
    pub removal: Option<Removal>,
}

/// How the root file system is made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Rootfs {
    /// An overlay of layers, the topmost first.
    Overlay {
        /// Nothing writes to them.
        lower: Vec<Lower>,
        /// Where those that must be mounted are kept mounted for all containers; its parent directory exists.
        pins: PathBuf,
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
        /// And how many inodes.
        #[serde(default)]
        inodes: Option<u64>,
    },
}

/// A layer of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lower {
    /// A directory.
    Dir {
        /// Absolute.
        path: PathBuf,
    },
    /// A file system image, to be mounted first.
    Erofs {
        /// Absolute.
        file: PathBuf,
        /// Letters and digits that no other layer has.
        layer: String,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// The link that reserves its name.
    pub name: PathBuf,
    /// The container's directory is moved here before its content is deleted.
    pub tombs: PathBuf,
    /// The project by which its size is limited (quotactl(2)); those limits are taken back.
    #[serde(default)]
    pub project: Option<u32>,
}
