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
    /// That is not made where it is not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub workdir_is_there: bool,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Further groups.
    pub groups: Vec<String>,
    /// The further groups are those of whoever starts it.
    pub keep_groups: bool,
    /// What its passwd and group files are given.
    pub accounts: Accounts,
    /// It has a terminal.
    pub terminal: bool,
    /// Standard input is kept open.
    pub stdin: bool,
    /// The streams that were asked for, if any were.
    pub attach: Option<Attach>,
    /// It is a systemd, or what behaves as one.
    pub systemd: bool,
    /// Process 1 is an init.
    pub init: bool,
    /// That init, on the host; `None` is the embedded one.
    pub init_path: Option<PathBuf>,
    /// Bits that its new files do not get, from 0 to 0o777; `None` is 0o022.
    pub umask: Option<u32>,
    /// What kind of machine it sees, personality(2).
    pub personality: Option<Personality>,
    /// How readily it is killed when memory is short, from -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// What the passwd and group files of a container are given when they lack it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// A user and group given by number get lines.
    pub add: bool,
    /// That line of passwd; `None` is the usual one.
    pub passwd_entry: Option<String>,
    /// That line of group; `None` is the usual one.
    pub group_entry: Option<String>,
    /// Users of the host who get lines, too: names or numbers.
    pub host_users: Vec<String>,
}

/// Streams of a container's program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Execution domains that a specification knows (config-linux.md, "Personality").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Personality {
    /// The machine as it is.
    Linux,
    /// One of 32 bits.
    Linux32,
}
