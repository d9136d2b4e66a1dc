//! What a container has of its own, and what it shares.

use serde::{Deserialize, Serialize};

/// A container's namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Who its users and groups are outside, if it has a user namespace of its own.
    pub users: Option<Users>,
}

/// Users and groups of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

impl Users {
    /// Who the superuser and his group are outside.
    pub fn root(&self) -> Option<(u32, u32)> {
        let zero = |all: &[IdMapping]| all.iter().find(|m| m.container_id == 0).map(|m| m.host_id);
        zero(&self.uids).zip(zero(&self.gids))
    }
}

/// A range of ids, as a specification has it (config-linux.md, "User namespace mappings").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first, in the container.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first, outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}
