//! What a container may do.

use serde::{Deserialize, Serialize};

/// A container's rights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Nothing is kept from it.
    pub privileged: bool,
    /// Names without CAP_.
    pub cap_add: Vec<String>,
    /// Names without CAP_.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// No privileges through set-uid programs.
    pub no_new_privileges: bool,
    /// Paths shown that are hidden by default; `ALL` shows all.
    pub unmask: Vec<String>,
}

/// A system call filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile, as JSON.
    Profile(String),
}
