//! Running one more program in a container that runs.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_cgroup::{Cgroup, Entry};
use loment_sys::clone::{CloneFlags, Fork, clone3, clone3_sibling};
use loment_sys::signal;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::create::wait_until_started;
use crate::error::Context;
use crate::stdio::Terminal;
use crate::{Created, Error, Failure, InRoot, ProcessPlan, Stdio, child, executable, report};

/// A program to run in a container.
#[derive(Debug)]
pub struct Enter<'a> {
    /// The container's first process.
    pub container: BorrowedFd<'a>,
    /// The program.
    pub process: &'a ProcessPlan,
    /// Its standard streams.
    pub stdio: Stdio<'a>,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// Descriptors from 3 on that the program inherits.
    pub keep_fds: u32,
    /// The name of its session keyring; `None` keeps the caller's.
    pub keyring: Option<&'a str>,
    /// Make it a child of the caller's parent.
    pub sibling: bool,
}

/// Runs a program in a container and returns when it runs. The caller itself ends up in the container's namespaces and
/// must do nothing else afterwards: call this in a process made for it.
///
/// # Errors
/// [`Error::Failed`] with the step that failed; `ESRCH` when the container has ended.
pub fn enter(e: &Enter<'_>) -> Result<Created, Error> {
    // From here on this process is in sight of the container's: they must not look into it (CVE-2019-5736).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("protect", "the runtime process")?;
    let (ours, theirs) = report::socket_pair().context("make", "the report socket")?;
    let entry = e.cgroup.map_or_else(|| Ok(Entry::default()), Cgroup::entry)?;
    // A namespace the container shares with us is joined too, which changes nothing. The user namespace is left out: our
    // own cannot be joined.
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    move_into_thread_name_spaces(e.container, all).context("join", "the container's namespaces")?;
    let clone = if e.sibling { clone3_sibling } else { clone3 };
    match clone(CloneFlags::empty(), entry.v2()).context("clone", "a process for the container")? {
        Fork::Child => {
            drop(ours);
            child::report_panics(&theirs);
            let Err(failure) = become_process(e, &entry, &theirs);
            report::send_failure(&theirs, &failure);
            loment_sys::process::exit_now(1)
        }
        Fork::Parent { pid, pidfd } => {
            drop(theirs);
            let terminal = wait_until_started(&ours, || Ok(())).inspect_err(|_| {
                if !e.sibling {
                    let _ = loment_sys::wait::wait_exit(&pidfd);
                }
            })?;
            Ok(Created { pid, pidfd, terminal })
        }
    }
}

fn become_process(e: &Enter<'_>, entry: &Entry, socket: &OwnedFd) -> Result<Infallible, Failure> {
    signal::reset_dispositions();
    signal::set_mask(&signal::SignalSet::empty()).context("reset", "the signal mask")?;
    rustix::process::setsid().context("start", "a session")?;
    entry.join().context("join", "cgroup")?;
    if let Some(id) = e.keyring {
        child::join_keyring(id)?;
    }
    let root =
        rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = InRoot::new(root.context("open", "root file system")?);
    let terminal = e.process.terminal.map(|size| Terminal::open(&root, size)).transpose();
    let terminal = terminal.context("open", "a terminal")?;
    if let Some(t) = &terminal {
        report::send_terminal(socket, &t.primary).context("send", "the terminal")?;
    }
    child::write_score(e.process)?;
    match &terminal {
        Some(t) => {
            t.set_owner(e.process.uid).context("change the owner of", "the terminal")?;
            t.install().context("install", "the terminal")?;
        }
        None => e.stdio.install().context("install", "standard streams")?,
    }
    // As for the container's own program: nothing of the creator's is open when paths are looked up.
    let kept =
        loment_sys::fd::keep_only(&[socket.as_fd()], 3 + e.keep_fds).context("close", "descriptors")?;
    std::mem::forget((terminal, root));
    let Err(failure) = child::finish(e.process).and_then(|path| -> Result<Infallible, Failure> {
        let error = loment_sys::exec::execve(&path, &e.process.args, &e.process.env);
        Err(executable::exec_failure(e.process, &path, error))
    });
    if let Some(socket) = kept.first() {
        report::send_failure(socket, &failure);
    }
    loment_sys::process::exit_now(1)
}
