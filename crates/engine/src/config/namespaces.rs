//! What a container has of its own, and what it shares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use loment_sys::ids::{IdMap, IdRange, NOBODY};
use serde::{Deserialize, Serialize};

use crate::users::AutoUsers;

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
    /// The user and group that its programs are when nobody says who: those who called, in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<(u32, u32)>,
    /// Of what they were chosen, if nobody else has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<AutoUsers>,
}

impl Users {
    /// Those with these ids.
    pub fn new(uids: &IdMap, gids: &IdMap) -> Self {
        let list = |map: &IdMap| map.ranges().iter().copied().map(IdMapping::from).collect();
        Self { uids: list(uids), gids: list(gids), ..Self::default() }
    }

    /// Its ids: of users, and of groups.
    pub fn maps(&self) -> (IdMap, IdMap) {
        let map = |all: &[IdMapping]| IdMap::new(all.iter().map(|m| m.range()).collect());
        (map(&self.uids), map(&self.gids))
    }

    /// Who the superuser and his group are outside.
    pub fn root(&self) -> Option<(u32, u32)> {
        self.uid_outside(0).zip(self.gid_outside(0))
    }

    /// Who a user outside is for the container: 65534, as the kernel shows it, for one whom it does not have.
    pub fn uid_inside(&self, uid: u32) -> u32 {
        self.uids.iter().find_map(|m| m.range().inside(uid)).unwrap_or(NOBODY)
    }

    /// The same of a group.
    pub fn gid_inside(&self, gid: u32) -> u32 {
        self.gids.iter().find_map(|m| m.range().inside(gid)).unwrap_or(NOBODY)
    }

    /// Who a user of the container is outside.
    pub fn uid_outside(&self, uid: u32) -> Option<u32> {
        self.uids.iter().find_map(|m| m.range().outside(uid))
    }

    /// The same of a group.
    pub fn gid_outside(&self, gid: u32) -> Option<u32> {
        self.gids.iter().find_map(|m| m.range().outside(gid))
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

impl IdMapping {
    /// The same, to be reckoned with.
    pub fn range(&self) -> IdRange {
        IdRange { inside: self.container_id, outside: self.host_id, size: self.size }
    }
}

impl From<IdRange> for IdMapping {
    fn from(range: IdRange) -> Self {
        Self { container_id: range.inside, host_id: range.outside, size: range.size }
    }
}
