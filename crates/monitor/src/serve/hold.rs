//! Containers that are there for their namespaces: others are in them, and they have no process themselves.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use loment_runtime::Cause;
use loment_sys::wait::Exit;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::io::Errno;

use super::Monitor;
use crate::epoll::Token;
use crate::launch::{MEMBERS, Place};
use crate::protocol::{Answer, Stop};
use crate::worker;

/// What is kept, by the names in `/proc/PID/ns`. A pid namespace ends with its first process.
const KINDS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "user", "uts"];
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Monitor {
    /// All is made, and its process waits for a program that does not come: what it is in is kept, and it ends.
    pub(super) fn hold(&mut self, slot: u32) {
        let Some(pid) = self.running(slot) else { return };
        let open = |kind: &'static str| Ok((kind, File::open(format!("/proc/{pid}/ns/{kind}"))?.into()));
        let opened: io::Result<Vec<(_, OwnedFd)>> = KINDS.into_iter().map(open).collect();
        // It has not been reaped: the number is nobody else's.
        let _ = loment_sys::process::kill(pid, SIGKILL);
        let held = opened.and_then(|opened| self.keep(slot, opened));
        if let Err(e) = held {
            let message = format!("keep its namespaces: {e}");
            self.fail_start(slot, Answer::Failed { cause: Cause::Setup, message });
        }
    }

    /// Keeps them, and has that recorded.
    fn keep(&mut self, slot: u32, opened: Vec<(&'static str, OwnedFd)>) -> io::Result<()> {
        let Some(c) = self.container(slot) else { return Ok(()) };
        let main = c.main;
        (c.prepared, c.head.prepare) = (false, false);
        let numbers = opened.iter().map(|(kind, fd)| ((*kind).to_owned(), fd.as_raw_fd())).collect();
        c.held = opened;
        if let Some(session) = self.session(main) {
            // That of the other process is nobody's from now on; what is recorded says the same.
            session.pid = Some(rustix::process::getpid().as_raw_nonzero().get());
        }
        self.report_to(main, |monitor| match monitor.containers.get(slot as usize) {
            Some(Some(c)) => worker::hold(&c.head.place, numbers)
                .inspect(|_| worker::tell_of_start(&c.head.reporter, worker::When::Begun, false)),
            _ => unreachable!("it was there before the fork"),
        })
    }

    /// Whether a container's namespaces are kept, and that is not recorded yet.
    pub(super) fn is_to_be_held(&self, slot: u32) -> bool {
        let Some(Some(c)) = self.containers.get(slot as usize) else { return false };
        let session = self.sessions.get(c.main as usize).and_then(Option::as_ref);
        !c.held.is_empty() && session.is_some_and(|session| session.worker.is_some())
    }

    /// Gives up what is kept of a container, which is the end of it. Who is in its namespaces stays there.
    pub(super) fn let_go(&mut self, slot: u32, exit: Exit) {
        let is_recorded = !self.is_to_be_held(slot);
        let Some(c) = self.container(slot).filter(|c| !c.held.is_empty()) else { return };
        if !is_recorded {
            // Its end must not be recorded before its start.
            let now = Stop { signal: SIGKILL, timeout: Some(0), keep: false };
            c.stop_when_started.get_or_insert(now);
            return;
        }
        c.held.clear();
        let main = c.main;
        if let Some(session) = self.session(main) {
            session.exit = Some(exit);
        }
    }

    /// The last of those that are in its namespaces has ended.
    pub(super) fn members_left(&mut self, slot: u32) {
        if let Some(members) =
            self.containers.get_mut(slot as usize).and_then(Option::as_mut).and_then(|c| c.members.take())
        {
            self.epoll.remove(&members);
        }
        self.stop(slot, &Stop { signal: SIGTERM, timeout: Some(10), keep: false });
    }

    /// Watches whether anybody is in its namespaces, from the first one on.
    pub(super) fn watch_members(&mut self, slot: u32) -> io::Result<()> {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return Ok(()) };
        if c.head.ends_with_members {
            let members = c.members.insert(members(&c.head.place)?);
            self.epoll.add(members, Token::Members(slot))?;
        }
        Ok(())
    }
}

/// The end to read of a pipe that has a name, which each monitor of a member has open for writing: where it ends, however it does,
/// the kernel says so (pipe(7)).
fn members(place: &Place) -> io::Result<OwnedFd> {
    let path = place.run_dir.join(MEMBERS);
    match mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}
