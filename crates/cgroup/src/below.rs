//! Groups in a container's group: one that is the container's to manage, and where its processes are by now.

use rustix::io::Errno;

use crate::membership::Memberships;
use crate::{Cgroup, CgroupPath, Entry, Error, Version};

/// How often a group is emptied until whoever goes on making processes in it is left alone.
const EMPTY_TRIES: u32 = 10;

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

    /// Moves all members of the group itself, not of groups below it, into the group `name` below it. On v1, where groups can have both,
    /// nothing: cgroups(7), "no internal processes" rule.
    ///
    /// # Errors
    /// As [`Cgroup::move_below`].
    pub fn empty_into(&self, name: &CgroupPath) -> Result<(), Error> {
        if self.host.version != Version::V2 {
            return Ok(());
        }
        // They may make others meanwhile.
        for _ in 0..EMPTY_TRIES {
            let members = self.read("cgroup.procs").unwrap_or_default();
            // What is not in this pid namespace is 0.
            let mut pids =
                members.lines().filter_map(|pid| pid.parse().ok()).filter(|&pid| pid > 0).peekable();
            if pids.peek().is_none() {
                break;
            }
            for pid in pids {
                match self.move_below(name, pid, None) {
                    Err(Error::Write { source, .. })
                        if source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                    moved => moved?,
                }
            }
        }
        Ok(())
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
