//! Whether a container that is a scope has run out of memory.
//!
//! systemd removes a scope as soon as it is empty, and with it what counts: it may be gone before the monitor, which is told of
//! the end at the same time, can read it. So three things are put together. What the counter said when it could be read; that
//! the kernel has announced a change of it since, which an inotify instance keeps when the file is gone; and the machine's own
//! count, which nobody removes. The kernel announces that a group is at its limit before it kills in it, and both before the
//! group is empty, in this order (`kernfs_notify`; later announcements may be put off by 10 ms, the first is not).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use loment_cgroup::OomCounter;
use loment_sys::wait::Exit;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::groups;
use crate::launch::Place;

/// A scope's counter, and who tells of its changes.
#[derive(Debug)]
struct Watched {
    counter: OomCounter,
    changes: OwnedFd,
}

/// What is known of a container's memory. For one that is no scope, nothing: its group waits for us.
#[derive(Debug)]
pub(crate) struct Memory {
    watched: Option<Watched>,
    /// Something was killed.
    killed: bool,
    /// Something may have been killed since the counter was last read.
    open: bool,
    /// How much was killed on the machine when last nothing had been in the scope.
    machine: u64,
}

impl Memory {
    /// Before the container is made.
    pub(crate) fn new(place: &Place) -> Self {
        Self { watched: None, killed: false, open: true, machine: groups::kills_of_machine(place) }
    }

    /// When it runs: what becomes readable when there is something to [`Memory::look`] at, if it is a scope.
    pub(crate) fn watch(&mut self, place: &Place) -> Option<BorrowedFd<'_>> {
        let counter = groups::scope_counter(place)?;
        // Without, the counter is asked when something ends.
        let changes = watch(&counter).ok()?;
        self.watched = Some(Watched { counter, changes });
        self.look(place);
        Some(self.watched.as_ref()?.changes.as_fd())
    }

    /// Reads the counter, if it is still there.
    pub(crate) fn look(&mut self, place: &Place) {
        let Some(watched) = &self.watched else { return };
        let changed = take_changes(&watched.changes);
        let Some(kills) = watched.counter.kills() else {
            // What was announced before it went is all here by now.
            self.open |= changed || take_changes(&watched.changes);
            self.watched = None;
            return;
        };
        self.killed |= kills > 0;
        // v1 does not say.
        self.open = watched.counter.times_at_limit().is_none_or(|times| times > 0);
        if self.open && !self.killed {
            self.machine = groups::kills_of_machine(place);
        }
    }

    /// Whether the container, which has ended like that, had run out of memory; `false` where its group is still there to be
    /// asked.
    pub(crate) fn ran_out(&mut self, place: &Place, exit: Option<Exit>) -> bool {
        self.look(place);
        let gone = self.watched.is_none();
        let killed = matches!(exit, Some(Exit::Signal(9)));
        self.killed || gone && self.open && killed && groups::kills_of_machine(place) > self.machine
    }
}

/// An inotify instance for the file that the counter is open on, whatever its name.
fn watch(counter: &OomCounter) -> io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let path = format!("/proc/self/fd/{}", counter.as_fd().as_raw_fd());
    inotify::add_watch(&changes, path, WatchFlags::MODIFY)?;
    Ok(changes)
}

/// Whether there were changes. That the file is gone is told, too, and is none.
fn take_changes(changes: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut reader = inotify::Reader::new(changes, &mut buffer);
    let mut found = false;
    // Equal ones in a row are one, so there are few.
    for _ in 0..64 {
        match reader.next() {
            Ok(event) => found |= event.events().contains(inotify::ReadFlags::MODIFY),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_change_is_kept_when_the_file_is_gone_and_its_end_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.events");
        for (change, expected) in [(false, false), (true, true)] {
            std::fs::write(&path, "max 0\noom_kill 0\n").unwrap();
            let changes: OwnedFd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
            inotify::add_watch(&changes, &path, WatchFlags::MODIFY).unwrap();
            if change {
                std::fs::write(&path, "max 1\noom_kill 1\n").unwrap();
            }
            std::fs::remove_file(&path).unwrap();
            assert_eq!(take_changes(&changes), expected);
            assert!(!take_changes(&changes));
        }
    }
}
