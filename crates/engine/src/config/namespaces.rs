//! What a container has of its own, and what it shares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container's namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Who its users and groups are outside, if it is in another user namespace than the host.
    pub users: Option<Users>,
    /// Its users: [`Namespace::Own`] if it has [`Namespaces::users`], and else the host's.
    pub user: Namespace,
    /// Its processes.
    pub pid: Namespace,
    /// Its semaphores, queues and shared memory.
    pub ipc: Namespace,
    /// Its host name.
    pub uts: Namespace,
    /// What it sees of control groups.
    pub cgroup: Namespace,
    /// Parameters of the kernel that they have of their own: key and value.
    pub sysctls: BTreeMap<String, String>,
}

/// Whose namespace a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Its own.
    #[default]
    Own,
    /// Its own, which others may not share ([`Namespaces::ipc`] only).
    Private,
    /// Its own, with no shared memory ([`Namespaces::ipc`] only).
    None,
    /// The host's.
    Host,
    /// That of the container with this id.
    Container(String),
    /// The one at this absolute path.
    Path(PathBuf),
}

impl Namespace {
    /// Whether it is made for the container.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own | Self::Private | Self::None)
    }

    /// The container whose it is, if that is another.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container(id) => Some(id),
            _ => None,
        }
    }

    /// As users write it, `own` for the container's own.
    pub fn mode(&self, own: &str) -> String {
        match self {
            Self::Own => own.to_owned(),
            Self::Private => "private".to_owned(),
            Self::None => "none".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Container(id) => format!("container:{id}"),
            Self::Path(path) => format!("ns:{}", path.display()),
        }
    }
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

impl Users {
    /// Who a user outside is for the container: 65534, as the kernel shows it, for one whom it does not have.
    pub fn uid_inside(&self, uid: u32) -> u32 {
        inside(&self.uids, uid)
    }

    /// The same of a group.
    pub fn gid_inside(&self, gid: u32) -> u32 {
        inside(&self.gids, gid)
    }
}

impl Users {
    /// Who a user of the container is outside.
    pub fn uid_outside(&self, uid: u32) -> Option<u32> {
        outside(&self.uids, uid)
    }

    /// The same of a group.
    pub fn gid_outside(&self, gid: u32) -> Option<u32> {
        outside(&self.gids, gid)
    }
}

fn outside(all: &[IdMapping], id: u32) -> Option<u32> {
    let find = |m: &IdMapping| id.checked_sub(m.container_id).filter(|&n| n < m.size).map(|n| m.host_id + n);
    all.iter().find_map(find)
}

fn inside(all: &[IdMapping], id: u32) -> u32 {
    let find = |m: &IdMapping| id.checked_sub(m.host_id).filter(|&n| n < m.size).map(|n| m.container_id + n);
    all.iter().find_map(find).unwrap_or(65534)
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
