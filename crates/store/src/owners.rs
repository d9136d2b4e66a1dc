//! Who the users and groups of a container are in the files that its overlay is made of, where the kernel does not map them.

use loment_sys::ids::{IdMap, IdRange, NOBODY};
use serde::{Deserialize, Serialize};

use crate::xattrs::Xattrs;

/// Users and groups of a container, and who these are for whom the store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// Users.
    pub users: IdMap,
    /// Groups.
    pub groups: IdMap,
}

/// As `rootfs.json` has them: the first inside, the first outside, how many.
#[derive(Serialize, Deserialize)]
pub(crate) struct OwnersDocument {
    users: Vec<[u32; 3]>,
    groups: Vec<[u32; 3]>,
}

impl Owners {
    /// Who an owner in a layer is outside of the container. One whom the container does not have is root outside, if that is
    /// nobody there, too: the kernel shows such a file as nobody's, as it does where it maps ids. Otherwise there is none.
    pub(crate) fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let of = |map: &IdMap, id| map.outside(id).or_else(|| map.inside(0).is_none().then_some(0));
        Some((of(&self.users, uid)?, of(&self.groups, gid)?))
    }

    /// Who an owner of files is for the container.
    pub fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.users.inside(uid).unwrap_or(NOBODY), self.groups.inside(gid).unwrap_or(NOBODY))
    }

    pub(crate) fn document(&self) -> OwnersDocument {
        let numbers = |map: &IdMap| map.ranges().iter().map(|r| [r.inside, r.outside, r.size]).collect();
        OwnersDocument { users: numbers(&self.users), groups: numbers(&self.groups) }
    }

    /// Extended attributes of a file in a layer, with the owners that access control lists in them are about. One with somebody who is
    /// nobody is left out.
    pub(crate) fn attributes(&self, xattrs: Xattrs) -> Xattrs {
        let attribute = |(name, value): (Vec<u8>, Vec<u8>)| match name.starts_with(b"system.posix_acl_") {
            true => Some((name, self.access_list(&value)?)),
            false => Some((name, value)),
        };
        xattrs.into_iter().filter_map(attribute).collect()
    }

    /// An access control list (acl(5)) as the kernel keeps it in an attribute, with its users and groups outside of the container;
    /// `None` where one of them is nobody. The form is that of linux/posix_acl_xattr.h: a version, then tag, rights and id of each entry.
    fn access_list(&self, value: &[u8]) -> Option<Vec<u8>> {
        const USER: u16 = 0x02;
        const GROUP: u16 = 0x08;
        let (version, entries) = value.split_at_checked(4)?;
        let mut out = version.to_vec();
        for entry in entries.chunks_exact(8) {
            let tag = u16::from_le_bytes([entry[0], entry[1]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            let id = match tag {
                USER => self.users.outside(id)?,
                GROUP => self.groups.outside(id)?,
                _ => id,
            };
            out.extend_from_slice(&entry[..4]);
            out.extend_from_slice(&id.to_le_bytes());
        }
        Some(out)
    }
}

impl From<OwnersDocument> for Owners {
    fn from(document: OwnersDocument) -> Self {
        let map = |numbers: Vec<[u32; 3]>| {
            let range = |[inside, outside, size]: [u32; 3]| IdRange { inside, outside, size };
            IdMap::new(numbers.into_iter().map(range).collect())
        };
        Self { users: map(document.users), groups: map(document.groups) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(ranges: &[[u32; 3]]) -> Owners {
        OwnersDocument { users: ranges.to_vec(), groups: ranges.to_vec() }.into()
    }

    #[test]
    fn owners_are_who_the_container_says() {
        let kept = owners(&[[0, 1, 1000], [1000, 0, 1], [1001, 1001, 64536]]);
        assert_eq!(kept.outside(0, 1000), Some((1, 0)));
        assert_eq!(kept.outside(70_000, 0), None, "everybody outside is somebody");
        assert_eq!(kept.inside(1, 70_000), (0, 65534));
        let some = owners(&[[0, 1, 1000]]);
        assert_eq!(some.outside(5, 65534), Some((6, 0)));
        assert_eq!(Owners::from(kept.document()), kept);
    }

    #[test]
    fn access_lists_have_the_same_owners() {
        let entry =
            |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat();
        let list = |user, group| {
            [&2_u32.to_le_bytes()[..], &entry(1, u32::MAX), &entry(2, user), &entry(8, group)].concat()
        };
        let some = owners(&[[0, 1, 1000]]);
        assert_eq!(some.access_list(&list(5, 6)), Some(list(6, 7)));
        assert_eq!(some.access_list(&list(1000, 6)), None);
        assert_eq!(some.access_list(b"x"), None);
    }
}
