//! What the user who unpacks may not do, and what becomes of it then.
//!
//! In a user namespace nobody makes devices, sets `trusted.` attributes or labels of security modules, or gives a file to who is not in it
//! (user_namespaces(7)). What a layer is counts all the same: its tar is made from the headers that are kept, not from the files.

use std::ffi::CStr;

use loment_sys::ids::IdMap;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::erofs::FileKind;

use super::Fault;
use super::attrs::{OPAQUE, USER_OPAQUE};

/// Rights of the user who unpacks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rights {
    /// Those of the machine's root.
    All,
    /// Those of root in a user namespace; `single`: who has no other users.
    Namespace {
        /// All files belong to that one.
        single: bool,
    },
}

impl Rights {
    /// Those of the caller.
    pub(crate) fn own() -> Self {
        if !loment_sys::process::is_in_user_namespace() {
            return Self::All;
        }
        Self::Namespace { single: IdMap::own_users().count() <= 1 }
    }

    /// Gives a file to its owner, unless that is who made it.
    pub(super) fn owner(
        self,
        wanted: (u32, u32),
        made: (u32, u32),
        change: impl FnOnce(Uid, Gid) -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        if wanted == made || self.has_one_id() {
            return Ok(());
        }
        match (self, change(Uid::from_raw(wanted.0), Gid::from_raw(wanted.1))) {
            (Self::Namespace { .. }, Err(Errno::INVAL)) => Err(Fault::NoId { uid: wanted.0, gid: wanted.1 }),
            (_, result) => result.map_err(|e| Fault::Io("change owner", e)),
        }
    }

    /// What came of setting an attribute. A file system without `user.` attributes, or a kind of file that may not have them, loses
    /// nothing a program depends on.
    pub(super) fn attribute(self, name: &CStr, result: Result<(), Errno>) -> Result<(), Fault> {
        match result {
            Err(Errno::OPNOTSUPP | Errno::PERM) if name.to_bytes().starts_with(b"user.") => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::PERM) if self.leaves_out(name.to_bytes()) => Ok(()),
            result => result.map_err(|e| Fault::Io("set extended attribute", e)),
        }
    }

    /// What marks a directory as hiding what lower layers have there.
    pub(crate) fn opaque(self) -> &'static CStr {
        match self {
            Self::All => OPAQUE,
            Self::Namespace { .. } => USER_OPAQUE,
        }
    }

    /// Whether an attribute of that name need not be there.
    pub(crate) fn leaves_out(self, name: &[u8]) -> bool {
        let is_for_root = [&b"trusted."[..], b"security."].iter().any(|kind| name.starts_with(kind));
        is_for_root && matches!(self, Self::Namespace { .. })
    }

    /// Whether all files belong to one user and group.
    pub(crate) fn has_one_id(self) -> bool {
        matches!(self, Self::Namespace { single: true })
    }

    /// Whether device nodes can be made.
    pub(crate) fn makes_devices(self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether a file of that kind can be made.
    pub(crate) fn makes(self, kind: FileKind) -> bool {
        self.makes_devices() || !matches!(kind, FileKind::CharDevice | FileKind::BlockDevice)
    }
}
