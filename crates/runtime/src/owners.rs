//! Who has files on their file system, where a mount shows them with other owners.

use loment_sys::ids::IdMap;
use oci_spec::runtime::{Linux, LinuxIdMapping, Mount};

use crate::Error;
use crate::error::invalid;
use crate::idmap::{Lists, map, parse};
use crate::options::Options;

/// The owners that a mount's files have on their file system. Without mappings, those they have for the host.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: IdMap,
    groups: IdMap,
}

impl Owners {
    /// Of a mount with the options `idmap` or `ridmap`, in a container with these users; of every other one, those of the host.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the mount.
    pub fn of_mount(mount: &Mount, linux: &Linux) -> Result<Self, Error> {
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        if options.idmap.is_none() {
            return Ok(Self::default());
        }
        let container = Lists { uids: linux.uid_mappings().clone(), gids: linux.gid_mappings().clone() };
        let lists = match &options.id_mappings {
            Some(text) => parse(text, &container).map_err(|reason| {
                invalid(
                    format!("mount {}", mount.destination().display()),
                    format!("option idmap={text}: {reason}"),
                )
            })?,
            None => container,
        };
        Ok(Self { users: map(&lists.uids.unwrap_or_default()), groups: map(&lists.gids.unwrap_or_default()) })
    }

    /// Of files that who is `hostID` for the host has as `containerID` on disk.
    pub fn of_lists(users: &[LinuxIdMapping], groups: &[LinuxIdMapping]) -> Self {
        Self { users: map(users), groups: map(groups) }
    }

    /// Who has a file there that a user and a group of the host are to have. Those who have no number there stay as they are.
    pub fn on_disk(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.users.inside(uid).unwrap_or(uid), self.groups.inside(gid).unwrap_or(gid))
    }

    /// The same of those that an extended attribute names: entries of an access control list (acl(5)), and the superuser for whom
    /// capabilities of a file are (capabilities(7)).
    pub(crate) fn in_attribute(&self, name: &[u8], value: &mut [u8]) {
        if self.users.ranges().is_empty() && self.groups.ranges().is_empty() {
            return;
        }
        match name {
            b"system.posix_acl_access" | b"system.posix_acl_default" => {
                // The version, and then of each a tag, rights, and an id (linux/posix_acl_xattr.h).
                for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
                    match u16::from_le_bytes([entry[0], entry[1]]) {
                        ACL_USER => replace(&self.users, &mut entry[4..]),
                        ACL_GROUP => replace(&self.groups, &mut entry[4..]),
                        _ => {}
                    }
                }
            }
            // The third version ends with a user (linux/capability.h, vfs_ns_cap_data).
            b"security.capability" if value.len() == 24 => replace(&self.users, &mut value[20..]),
            _ => {}
        }
    }
}

/// The tag of a user who is named.
const ACL_USER: u16 = 2;
/// The tag of a group that is named.
const ACL_GROUP: u16 = 8;

/// Maps an id that is part of an attribute.
fn replace(ids: &IdMap, bytes: &mut [u8]) {
    if let Ok(id) = <[u8; 4]>::try_from(&*bytes).map(u32::from_le_bytes) {
        bytes.copy_from_slice(&ids.inside(id).unwrap_or(id).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxBuilder, LinuxIdMappingBuilder, MountBuilder};

    use super::*;

    #[test]
    fn owners_on_disk_are_those_that_the_mount_shows_as_others() {
        let lines = |host: u32| {
            let line = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(host).size(1000_u32);
            vec![line.build().unwrap()]
        };
        let linux = LinuxBuilder::default().uid_mappings(lines(100_000)).gid_mappings(lines(200_000));
        let linux = linux.build().unwrap();
        let owners = |option: &str| {
            let mount =
                MountBuilder::default().destination("/v").options([option.to_owned()]).build().unwrap();
            Owners::of_mount(&mount, &linux)
        };
        assert_eq!(owners("rw").unwrap().on_disk(100_005, 200_006), (100_005, 200_006));
        for option in ["idmap", "ridmap", "idmap=uids=@0-0-1000;gids=@0-0-1000"] {
            assert_eq!(owners(option).unwrap().on_disk(100_005, 200_006), (5, 6), "{option}");
        }
        let shifted = owners("idmap=uids=50-100000-10;gids=60-200000-10").unwrap();
        assert_eq!(shifted.on_disk(100_005, 200_006), (55, 66));
        assert_eq!(shifted.on_disk(100_010, 7), (100_010, 7));
        assert!(owners("idmap=uids=1").is_err());
        // A user, a group, and the mask, which is nobody.
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[7, 0], &id.to_le_bytes()].concat();
        let list =
            |user, group| [vec![2, 0, 0, 0], entry(2, user), entry(8, group), entry(16, 100_005)].concat();
        let mut value = list(100_005, 200_006);
        owners("idmap").unwrap().in_attribute(b"system.posix_acl_default", &mut value);
        assert_eq!(value, list(5, 6));
        let mut value = [[0; 20].as_slice(), &100_000_u32.to_le_bytes()].concat();
        owners("idmap").unwrap().in_attribute(b"security.capability", &mut value);
        assert_eq!(value, [0; 24]);
    }
}
