//! What runs in a container, and as whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container's program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// What runs, if the command is not all of it.
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    pub command: Vec<String>,
    /// `NAME=VALUE`
    pub env: Vec<String>,
    /// Absolute.
    pub workdir: PathBuf,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Further groups.
    pub groups: Vec<String>,
    /// It has a terminal.
    pub terminal: bool,
    /// Standard input is kept open.
    pub stdin: bool,
    /// Process 1 is the embedded init.
    pub init: bool,
}
