//! Groups in a container's group: one that is the container's to manage, and where its processes are by now.

use crate::membership::Memberships;
use crate::{Cgroup, CgroupPath, Entry, Error, Version};

impl Cgroup<'_> {
    /// Whether groups below it can be left to a container: whoever may write to a v1 group may take processes out of it.
    pub fn can_be_shared(&self) -> bool {
        self.host.version == Version::V2
    }

    /// Moves a member into the group `name` below this one, makes that, hands controllers on to it, and gives it to a user.
    /// Limits stay with this group: none are written.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Io`], [`Error::Write`].
    pub fn move_below(&self, name: &CgroupPath, pid: i32, owner: Option<u32>) -> Result<(), Error> {
        let below = self.path.join(name.as_str())?;
        self.host.hierarchies.iter().try_for_each(|h| h.move_below(&self.path, &below, pid))?;
        owner.map_or(Ok(()), |uid| self.host.hierarchies.iter().try_for_each(|h| h.delegate(&below, uid)))
    }

    /// As [`Cgroup::entry`], but of the v2 group below it that the process `pid` is in; `None` when that is in no such group.
    /// A group that hands controllers on can have no members (cgroups(7), "no internal processes" rule).
    ///
    /// # Errors
    /// As [`Cgroup::entry`].
    pub fn entry_beside(&self, pid: i32) -> Result<Option<Entry>, Error> {
        let memberships = Memberships::of(pid)?;
        let Some(path) = memberships.of_v2().and_then(|path| CgroupPath::new(path).ok()) else {
            return Ok(None);
        };
        if !path.is_below(&self.path) {
            return Ok(None);
        }
        let mut there = Entry::default();
        // It may have moved on by now.
        let found = self.host.hierarchies.iter().filter(|h| h.exists(&path));
        match found.filter(|h| h.is_v2()).try_for_each(|h| h.enter(Some(&path), &mut there)) {
            Ok(()) if there.v2.is_some() => Ok(Some(Entry { v2: there.v2, v1: self.entry()?.v1 })),
            _ => Ok(None),
        }
    }
}
