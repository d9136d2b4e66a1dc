//! Making a container: the creator's side.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_cgroup::{Cgroup, Entry};
use loment_sys::clone::{CloneFlags, Fork, clone3, clone3_sibling};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::Context;
use crate::report::{self, Message};
use crate::{Error, Plan, Stdio, child};

/// Where the root file system comes from.
#[derive(Clone, Copy, Debug)]
pub enum Rootfs<'a> {
    /// `root.path` of the specification.
    Bundle,
    /// A detached mount.
    Mount(BorrowedFd<'a>),
}

/// When the program is run.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// As soon as the container is set up.
    Now,
    /// When somebody connects to this listening SEQPACKET socket; a failure is reported on the connection.
    OnConnection(BorrowedFd<'a>),
}

/// A container to make.
#[derive(Debug)]
pub struct Container<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Its files.
    pub rootfs: Rootfs<'a>,
    /// Its program's standard streams.
    pub stdio: Stdio<'a>,
    /// When its program runs.
    pub start: Start<'a>,
    /// Its control group, made and limited already; `None` leaves it in the caller's.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// Descriptors from 3 on that the program inherits.
    pub keep_fds: u32,
    /// The name of its session keyring; `None` keeps the caller's.
    pub keyring: Option<&'a str>,
    /// Run the embedded init as process 1, and the program as its child.
    pub init: bool,
    /// Make it a child of the caller's parent.
    pub sibling: bool,
}

/// A container that was made.
#[derive(Debug)]
pub struct Created {
    /// Its first process, in the caller's pid namespace.
    pub pid: Pid,
    /// The same, as a descriptor.
    pub pidfd: OwnedFd,
    /// The primary side of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Makes a container and returns when its program runs (or, deferred, when it is ready to). `cloned` is called with its pid
/// while it sets itself up: the time to write that down.
///
/// # Errors
/// [`Error::Failed`] with the step that failed; nothing of the container is left but its control group.
pub fn create(c: &Container<'_>, cloned: impl FnOnce(Pid)) -> Result<Created, Error> {
    // Until the program runs, nobody in the container may look at this process (CVE-2019-5736).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("protect", "the runtime process")?;
    let (ours, theirs) = report_socket()?;
    let entry = c.cgroup.map_or_else(|| Ok(Entry::default()), Cgroup::entry)?;
    let own_pids = join_pid_namespace(c.plan)?;
    let clone = if c.sibling { clone3_sibling } else { clone3 };
    let forked =
        clone(c.plan.new.without(CloneFlags::NEWCGROUP), entry.v2()).context("clone", "the container")?;
    let (pid, pidfd) = match forked {
        Fork::Child => {
            drop(ours);
            child::report_panics(&theirs);
            let Err(failure) = child::become_container(c, &entry, &theirs);
            report::send_failure(&theirs, &failure);
            loment_sys::process::exit_now(1)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    cloned(pid);
    if let Some(own) = own_pids {
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .context("leave", "the pid namespace")?;
    }
    let terminal = wait_until_started(&ours).inspect_err(|_| {
        // Reap it here unless that is our parent's to do.
        if !c.sibling {
            let _ = loment_sys::wait::wait_exit(&pidfd);
        }
    })?;
    Ok(Created { pid, pidfd, terminal })
}

pub(crate) fn report_socket() -> Result<(OwnedFd, OwnedFd), Error> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    Ok(pair.context("make", "the report socket")?)
}

/// A pid namespace to join takes effect for children: the creator joins it, and leaves it when it has cloned.
fn join_pid_namespace(plan: &Plan) -> Result<Option<std::fs::File>, Error> {
    let Some(join) = plan.join.iter().find(|j| j.kind == LinuxNamespaceType::Pid) else { return Ok(None) };
    let own = std::fs::File::open("/proc/self/ns/pid").context("open", "/proc/self/ns/pid")?;
    std::fs::File::open(&join.path)
        .and_then(|f| Ok(move_into_link_name_space(f.as_fd(), Some(LinkNameSpaceType::ProcessID))?))
        .context("join namespace", join.path.display())?;
    Ok(Some(own))
}

/// Waits, on a connection to a deferred container's socket, until its program runs.
///
/// # Errors
/// [`Error::Failed`] with the step that failed.
pub fn wait_for_program(connection: &OwnedFd) -> Result<(), Error> {
    wait_until_started(connection).map(drop)
}

/// Reads reports until the program runs.
pub(crate) fn wait_until_started(socket: &OwnedFd) -> Result<Option<OwnedFd>, Error> {
    let mut terminal = None;
    loop {
        match report::receive(socket) {
            Ok(Message::Terminal(fd)) => terminal = Some(fd),
            Ok(Message::Ready | Message::Started) => return Ok(terminal),
            Ok(Message::Failed(failure)) => return Err(Error::Failed(failure)),
            // The child died without a word: killed from outside, or by its memory limit.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(terminal),
            Err(e) => {
                return Err(Error::Failed(
                    Err::<(), _>(e).context("receive", "the child's report").unwrap_err(),
                ));
            }
        }
    }
}
