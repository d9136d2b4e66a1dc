//! Helpers: processes of ours that enter namespaces from which there is no way back.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use loment_sys::clone::{CloneFlags, Fork, clone3, clone3_sibling};
use loment_sys::wait::Exit;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::Context;
use crate::report::{self, Message};
use crate::{Failure, ProcessPlan, child, identity};

/// What every process that is made has.
pub(crate) struct Make<'a> {
    /// The creator's end of the report socket.
    pub(crate) ours: &'a OwnedFd,
    /// The child's.
    pub(crate) theirs: &'a OwnedFd,
    /// The v2 group it is made in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Make the helper in that group instead, whose group the process inherits: the namespace's root may not write to a group
    /// that is given to one of its users, since its group is the host's.
    pub(crate) inherited: bool,
    /// Make it a child of the caller's parent.
    pub(crate) sibling: bool,
}

impl Make<'_> {
    /// Makes a process in the namespaces that `enter` joins and the new ones of `flags`. The caller stays where it is.
    pub(crate) fn through_helper(
        &self,
        enter: impl FnOnce() -> Result<(), Failure>,
        flags: CloneFlags,
        child: impl FnOnce() -> Result<Infallible, Failure>,
    ) -> Result<(Pid, OwnedFd), Failure> {
        let clone = if self.sibling { clone3_sibling } else { clone3 };
        let (helpers, own) = if self.inherited { (self.cgroup, None) } else { (None, self.cgroup) };
        match clone(CloneFlags::empty(), helpers).context("clone", "a process to join namespaces")? {
            Fork::Child => live(self.ours, self.theirs, || {
                enter()?;
                // A child of the helper's creator: the helper ends.
                match clone3_sibling(flags, own).context("clone", "the container's process")? {
                    Fork::Child => child(),
                    Fork::Parent { pidfd, .. } => {
                        report::send_pidfd(self.theirs, &pidfd)
                            .context("report", "the container's process")?;
                        loment_sys::process::exit_now(0)
                    }
                }
            }),
            Fork::Parent { pidfd: helper, .. } => {
                let answer = hear_from(self.ours, &helper);
                if !self.sibling {
                    let _ = loment_sys::wait::wait_exit(&helper);
                }
                match answer.context("hear from", "the process that joins namespaces")? {
                    Message::Pidfd(pidfd) => Ok((pid_of(&pidfd)?, pidfd)),
                    Message::Failed(failure) => Err(failure),
                    Message::Closed => Err(Failure::killed()),
                    _ => Err(Failure::unexpected("hear from", "the process that joins namespaces")),
                }
            }
        }
    }
}

/// The helper's word; one that was killed has none, while others hold its end of the socket.
fn hear_from(socket: &OwnedFd, helper: &OwnedFd) -> io::Result<Message> {
    let mut sources = [PollFd::new(socket, PollFlags::IN), PollFd::new(helper, PollFlags::IN)];
    while let Err(e) = poll(&mut sources, None) {
        if e != Errno::INTR {
            return Err(e.into());
        }
    }
    // What it said it said before it ended.
    if sources[0].revents().is_empty() { Ok(Message::Closed) } else { report::receive(socket) }
}

/// The life of a child; what `work` returns is its failure.
pub(crate) fn live(
    ours: &OwnedFd,
    theirs: &OwnedFd,
    work: impl FnOnce() -> Result<Infallible, Failure>,
) -> ! {
    loment_sys::fd::close_copy(ours);
    child::report_panics(theirs);
    let Err(failure) = work();
    report::send_failure(theirs, &failure);
    loment_sys::process::exit_now(1)
}

/// Does it in a child, which may enter other namespaces without a way back. `operation` and `object` say what is done, as in
/// [`Failure`].
pub(crate) fn in_child(
    operation: &str,
    object: &str,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (ours, theirs) = report::socket_pair().context("make", "the report socket")?;
    match clone3(CloneFlags::empty(), None).context(operation, object)? {
        Fork::Child => live(&ours, &theirs, || {
            work()?;
            loment_sys::process::exit_now(0)
        }),
        Fork::Parent { pidfd: child, .. } => {
            drop(theirs);
            let answer = report::receive(&ours);
            let exit = loment_sys::wait::wait_exit(&child).context(operation, object)?;
            match (answer, exit) {
                (Ok(Message::Failed(failure)), _) => Err(failure),
                (_, Exit::Code(0)) => Ok(()),
                _ => Err(Failure::unexpected(operation, object)),
            }
        }
    }
}

/// The number of the process a pidfd names, as our pid namespace shows it.
pub(crate) fn pid_of(pidfd: impl AsFd) -> Result<Pid, Failure> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(&path).context("read", &path)?;
    let number = text.lines().find_map(|l| l.strip_prefix("Pid:")?.trim().parse().ok());
    // -1: it has ended.
    let number = number.filter(|&n: &i32| n > 0).and_then(Pid::from_raw);
    number.ok_or(Errno::SRCH).context("find the process in", &path)
}

/// Sets what a process in a user namespace may not set itself, and lets it go on.
pub(crate) fn set_from_outside(
    process: Option<&ProcessPlan>,
    pid: Pid,
    socket: &OwnedFd,
) -> Result<(), Failure> {
    if let Some(process) = process {
        identity::set_rlimits_of(process, pid)?;
        if let Some(score) = process.oom_score_adj {
            let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
            std::fs::write(&path, score.to_string()).context("set oom_score_adj to", score)?;
        }
    }
    report::send_go(socket).context("answer", "the container's process")
}
