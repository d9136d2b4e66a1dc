//! Running one more program in a container that runs.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_cgroup::{Cgroup, Entry};
use loment_sys::clone::{CloneFlags, Fork, clone3, clone3_sibling};
use loment_sys::signal;
use oci_spec::runtime::ContainerState;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::create::{Request, wait_until_started};
use crate::error::Context;
use crate::helper::{self, Make};
use crate::stdio::Terminal;
use crate::{
    Created, Description, Error, Failure, InRoot, ProcessPlan, Stdio, child, descriptors, executable,
    namespaces, report, resctrl,
};

/// A program to run in a container.
#[derive(Debug)]
pub struct Enter<'a> {
    /// The container's first process.
    pub container: BorrowedFd<'a>,
    /// The program.
    pub process: &'a ProcessPlan,
    /// Its standard streams.
    pub stdio: Stdio<'a>,
    /// What the agent of a seccomp filter is told of the container; needed where the process has one.
    pub description: Option<&'a Description<'a>>,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// As [`crate::Container::tasks`].
    pub tasks: &'a [OwnedFd],
    /// Descriptors from 3 on that the program inherits.
    pub keep_fds: u32,
    /// Descriptors of which it has copies under these numbers, which are at least 3; then it inherits no others.
    pub pass: &'a [(i32, BorrowedFd<'a>)],
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
    let foreign = is_separate(e.container, "user")?;
    e.process.scheduling.before_cgroup()?;
    let own_groups = is_separate(e.container, "cgroup")?;
    let (pid, pidfd) = make_process(e, &entry, (&ours, &theirs), (foreign, own_groups))?;
    let set = if foreign { helper::set_from_outside(Some(e.process), pid, &ours) } else { Ok(()) };
    drop(theirs);
    let serve = |request| match (request, e.process.listener(), e.description) {
        (Request::Listener(number), Some(listener), Some(description)) => {
            Ok(listener.hand_over((pid, pidfd.as_fd()), number, description, ContainerState::Running)?)
        }
        _ => Err(Failure::unexpected("serve", "the container's process").into()),
    };
    let terminal = set.map_err(Error::from).and_then(|()| wait_until_started(&ours, serve));
    let terminal = terminal.inspect_err(|_| {
        let _ = loment_sys::process::pidfd_signal(pidfd.as_fd(), 9);
        if !e.sibling {
            let _ = loment_sys::wait::wait_exit(&pidfd);
        }
    })?;
    Ok(Created { pid, pidfd, terminal, moved: None })
}

/// The program's process, in the container's namespaces and groups. `foreign` tells of its user namespace, `own_groups` of its
/// cgroup namespace.
fn make_process(
    e: &Enter<'_>,
    entry: &Entry,
    (ours, theirs): (&OwnedFd, &OwnedFd),
    (foreign, own_groups): (bool, bool),
) -> Result<(Pid, OwnedFd), Error> {
    // Found before this process is out of the host's sight.
    let beside = match (e.cgroup, entry.v2()) {
        (Some(group), Some(_)) => group.entry_beside(helper::pid_of(e.container)?.as_raw_nonzero().get())?,
        _ => None,
    };
    let child = |entry: &Entry| become_process(e, entry, theirs, foreign, own_groups);
    // Who hands a listener to its agent must still find the agent's socket.
    let stays = foreign || e.process.listener().is_some();
    if !stays {
        join(e.container, false)?;
    }
    let make = |entry: &Entry, inherited| {
        let cgroup = entry.v2();
        if stays {
            let make = Make { ours, theirs, cgroup, inherited, sibling: e.sibling };
            let enter = || join(e.container, foreign);
            return make.through_helper(enter, CloneFlags::empty(), || child(entry));
        }
        let clone = if e.sibling { clone3_sibling } else { clone3 };
        match clone(CloneFlags::empty(), cgroup).context("clone", "a process for the container")? {
            Fork::Child => helper::live(ours, theirs, || child(entry)),
            Fork::Parent { pid, pidfd } => Ok((pid, pidfd)),
        }
    };
    let failed = |made: &Result<_, Failure>, errno| {
        made.as_ref().is_err_and(|f| Errno::from_io_error(&f.source) == Some(errno))
    };
    let make = |entry| match make(entry, false) {
        denied if foreign && failed(&denied, Errno::ACCESS) => make(entry, true),
        made => made,
    };
    Ok(match (make(entry), &beside) {
        // The container manages groups of its own: nobody can be in its group, but its first process is in one below.
        (busy, Some(beside)) if failed(&busy, Errno::BUSY) => make(beside)?,
        (made, _) => made?,
    })
}

/// Whether the container has a namespace of that kind that is not the caller's; `false` where the kernel has none.
fn is_separate(container: BorrowedFd<'_>, kind: &str) -> Result<bool, Failure> {
    let identity = |pid: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        match rustix::fs::stat(&path) {
            Ok(s) => Ok(Some((s.st_dev, s.st_ino))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e).context("look at", path),
        }
    };
    let Some(ours) = identity("self")? else { return Ok(false) };
    let pid = helper::pid_of(container)?.as_raw_nonzero().to_string();
    Ok(identity(&pid)?.is_some_and(|theirs| theirs != ours))
}

/// A namespace the container shares with us is joined too, which changes nothing; but our own user namespace cannot be.
fn join(container: BorrowedFd<'_>, users: bool) -> Result<(), Failure> {
    let mut all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    all.set(ThreadNameSpaceType::TIME, is_separate(container, "time")?);
    all.set(ThreadNameSpaceType::USER, users);
    move_into_thread_name_spaces(container, all).context("join", "the container's namespaces")
}

fn become_process(
    e: &Enter<'_>,
    entry: &Entry,
    socket: &OwnedFd,
    foreign: bool,
    own_groups: bool,
) -> Result<Infallible, Failure> {
    signal::reset_dispositions();
    signal::set_mask(&signal::SignalSet::empty()).context("reset", "the signal mask")?;
    if foreign {
        report::wait_for_go(socket).context("wait for", "the creator")?;
        namespaces::become_root_of_namespace(e.process.keep_groups)?;
    }
    rustix::process::setsid().context("start", "a session")?;
    entry.join().context("join", "cgroup")?;
    resctrl::join(e.tasks).context("join", "class of resctrl")?;
    e.process.scheduling.after_cgroup()?;
    if own_groups {
        // Only as a member: where v2 is mounted with `nsdelegate`, as systemd does, nobody comes into a group from outside
        // the root of the namespace that he is in (cgroup_attach_permissions).
        move_into_thread_name_spaces(e.container, ThreadNameSpaceType::CONTROL_GROUP)
            .context("join", "the container's cgroup namespace")?;
    }
    if let Some(id) = e.keyring {
        e.process.labels.apply_to_keys()?;
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
    if !foreign {
        child::write_score(e.process)?;
    }
    match &terminal {
        Some(t) => {
            t.set_owner(e.process.uid).context("change the owner of", "the terminal")?;
            t.install().context("install", "the terminal")?;
        }
        None => e.stdio.install().context("install", "standard streams")?,
    }
    // As for the container's own program: nothing of the creator's is open when paths are looked up.
    let kept = descriptors::sweep(&[socket.as_fd()], e.pass, e.keep_fds)?;
    std::mem::forget((terminal, root));
    let Some(socket) = kept.first() else { loment_sys::process::exit_now(1) };
    let Err(failure) =
        child::finish(e.process, socket).and_then(|(path, env)| -> Result<Infallible, Failure> {
            let error = loment_sys::exec::execve(&path, &e.process.args, &env);
            Err(executable::exec_failure(e.process, &path, error))
        });
    report::send_failure(socket, &failure);
    loment_sys::process::exit_now(1)
}
