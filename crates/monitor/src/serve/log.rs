//! Logs: waiting until they are taken, and what is done for them in other processes.

use std::time::{Duration, Instant};

use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::wait::Exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Monitor;
use crate::epoll::Token;
use crate::worker;

/// How long the end of a container waits for its log to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

impl Monitor {
    /// Whether a container's log takes nothing more now.
    pub(super) fn log_waits(&mut self, slot: u32) -> bool {
        self.container(slot).is_some_and(|c| c.log.blocked_on().is_some())
    }

    /// After something was written: waits for who takes no more, and begins what is to be done. Whether it has to wait.
    pub(super) fn after_log(&mut self, slot: u32) -> bool {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return false };
        let waits = c.log.blocked_on().inspect(|fd| drop(self.epoll.set(fd, Token::Log(slot), false, true)));
        let waits = waits.is_some();
        self.begin_log_chore(slot);
        waits
    }

    /// The log is taken again.
    pub(super) fn resume_log(&mut self, slot: u32) {
        let Some(Some(c)) = self.containers.get_mut(slot as usize) else { return };
        let main = c.main;
        if let Some(fd) = c.log.blocked_on() {
            self.epoll.remove(fd);
        }
        let _ = c.log.resume();
        if !self.after_log(slot) {
            self.resume(main);
        }
    }

    /// The program has ended, and what it wrote last is taken before others hear of it; not for ever.
    pub(super) fn wait_for_log(&mut self, slot: u32, end: Instant) {
        let Some(c) = self.container(slot) else { return };
        while let Some(fd) = c.log.blocked_on() {
            let Ok(left) = Timespec::try_from(end.saturating_duration_since(Instant::now())) else { return };
            let taken = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], Some(&left));
            if !taken.is_ok_and(|ready| ready > 0) || c.log.resume().is_err() {
                return;
            }
        }
    }

    fn begin_log_chore(&mut self, slot: u32) {
        let Some(c) = self.container(slot).filter(|c| c.log_worker.is_none()) else { return };
        let Some(chore) = c.log.chore() else { return };
        let monitor = rustix::process::getpid();
        match clone3(CloneFlags::empty(), None) {
            Ok(Fork::Child) => {
                worker::end_with(monitor);
                loment_sys::process::exit_now(i32::from(chore.run().is_err()))
            }
            Ok(Fork::Parent { pid, .. }) => c.log_worker = Some(pid.as_raw_nonzero().get()),
            Err(_) => drop(c.log.end_chore(false)),
        }
    }

    /// Whether that was a process that did something for a log.
    pub(super) fn end_log_chore(&mut self, pid: i32, exit: Exit) -> bool {
        let is_its = |c: &super::Supervised| c.log_worker == Some(pid);
        let found = self.containers.iter().position(|c| c.as_ref().is_some_and(is_its));
        let Some(slot) = found.map(|slot| slot as u32) else { return false };
        if let Some(c) = self.container(slot) {
            c.log_worker = None;
            // What could not be compressed stays as it is.
            let _ = c.log.end_chore(exit == Exit::Code(0));
        }
        self.begin_log_chore(slot);
        true
    }
}
