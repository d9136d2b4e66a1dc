//! What a container may do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container's rights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Nothing is kept from it.
    pub privileged: bool,
    /// What it has before any is added or dropped; `None` is the usual set.
    pub capabilities: Option<Vec<String>>,
    /// Names without CAP_.
    pub cap_add: Vec<String>,
    /// Names without CAP_.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// No privileges through set-uid programs.
    pub no_new_privileges: bool,
    /// Paths hidden besides those that are by default.
    pub mask: Vec<String>,
    /// Paths shown that are hidden by default; `ALL` shows all.
    pub unmask: Vec<String>,
    /// Further options of its /proc, proc(5).
    pub proc_options: Vec<String>,
    /// It may make control groups below its own.
    pub writable_cgroups: bool,
    /// The AppArmor profile of its programs; `unconfined` is none.
    pub apparmor: Option<String>,
    /// What was said about its SELinux label, as it was said: `disable`, `type:…`.
    pub labels: Vec<String>,
    /// It has no keyring of its own.
    pub no_keyring: bool,
    /// Its root is put in place without pivot_root(2).
    pub no_pivot: bool,
}

impl Seccomp {
    /// Whether it is nobody's choice for this container.
    pub fn is_usual(&self) -> bool {
        matches!(self, Self::Default | Self::Machine(_))
    }
}

/// A system call filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The default profile.
    #[default]
    Default,
    /// The machine's in place of it: a file, which is read at each start.
    Machine(PathBuf),
    /// None.
    Unconfined,
    /// A profile, as JSON.
    Profile(String),
}
