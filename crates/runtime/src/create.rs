//! Making a container: the creator's side.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use loment_cgroup::{Cgroup, Entry};
use loment_net::Moved;
use loment_sys::clone::{CloneFlags, Fork, clone3, clone3_sibling};
use oci_spec::runtime::{ContainerState, LinuxNamespaceType};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, set_dumpable_behavior};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::annotations::DELEGATE;
use crate::error::{Context, invalid};
use crate::helper::{self, Make};
use crate::namespaces::{Namespaces, TimeForChildren};
use crate::report::{self, Message};
use crate::sources::{Sources, open_inside};
use crate::{Description, Error, Failure, Hooks, Plan, ProcessPlan, Stdio, child, hooks, network};

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
    /// What hooks are told of it; its id names its session keyring.
    pub description: &'a Description<'a>,
    /// Its files.
    pub rootfs: Rootfs<'a>,
    /// Detached mounts that are used instead of what the sources of bind mounts with these destinations name.
    pub mounts: &'a [(PathBuf, OwnedFd)],
    /// Its program's standard streams.
    pub stdio: Stdio<'a>,
    /// When its program runs.
    pub start: Start<'a>,
    /// Its control group, made and limited already unless it is a scope, which is made for its first process; `None` leaves
    /// it in the caller's.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// What its process opens itself to further groups by: see [`crate::resctrl::Resctrl::tasks`].
    pub tasks: &'a [OwnedFd],
    /// Descriptors from 3 on that the program inherits.
    pub keep_fds: u32,
    /// Descriptors that it gets under these numbers, from 3 on; it has no others then.
    pub pass: &'a [(RawFd, BorrowedFd<'a>)],
    /// Give it a session keyring of its own.
    pub keyring: bool,
    /// Run the embedded init as process 1, and the program as its child.
    pub init: bool,
    /// Make it a child of the caller's parent.
    pub sibling: bool,
    /// Let go of the old root with pivot_root(2). Without, as on a root that is a ramdisk, chroot(2) must do.
    pub pivot: bool,
}

impl Container<'_> {
    /// Whether its process can do nothing before its creator has done something for it.
    pub(crate) fn waits_for_creator(&self) -> bool {
        self.plan.in_user_namespace() || self.cgroup.is_some_and(Cgroup::is_made_for_a_process)
    }
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
    /// Network devices that went into it.
    pub(crate) moved: Option<Moved>,
}

impl Created {
    /// It will live: what was kept to undo its making is let go.
    pub fn keep(&mut self) {
        self.moved = None;
    }

    /// Ends one that cannot be handed to who asked for it, and undoes its making; what could not be undone, and why.
    pub fn abandon(self) -> Vec<String> {
        end(self.pidfd.as_fd(), true);
        network::take_back(self.moved)
    }
}

/// Kills a container's process. A child of the caller's is reaped.
fn end(pidfd: BorrowedFd<'_>, is_child: bool) {
    let _ = loment_sys::process::pidfd_signal(pidfd, 9);
    if is_child {
        let _ = loment_sys::wait::wait_exit(pidfd);
    }
}

/// Makes a container and returns when its program runs (or, deferred, when it is ready to). `cloned` is called with its pid
/// while it sets itself up: the time to write that down.
///
/// # Errors
/// [`Error::Failed`] with the step that failed; nothing of the container is left but its control group.
pub fn create(c: &Container<'_>, cloned: impl FnOnce(Pid)) -> Result<Created, Error> {
    check_delegation(c)?;
    if c.plan.rdt.is_some() && c.tasks.is_empty() {
        return Err(Error::Unsupported { what: "linux.intelRdt here" });
    }
    // Until the program runs, nobody in the container may look at this process (CVE-2019-5736).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("protect", "the runtime process")?;
    let sources = Sources::prepare(c)?;
    let (ours, theirs) = report::socket_pair().context("make", "the report socket")?;
    let entry = c.cgroup.map_or_else(|| Ok(Entry::default()), Cgroup::entry)?;
    let child = || child::become_container(c, &entry, sources, &theirs);
    let (pid, pidfd) = make_process(c, &entry, &ours, &theirs, child)?;
    drop(theirs);
    let mut moved = None;
    let finished = set_up_from_outside(c, (pid, pidfd.as_fd()), &ours).and_then(|()| {
        cloned(pid);
        wait_until_started(&ours, |request| serve(c, (pid, pidfd.as_fd()), request, &mut moved))
    });
    match finished {
        Ok(terminal) => Ok(Created { pid, pidfd, terminal, moved }),
        Err(e) => {
            // Reaped here unless that is our parent's to do.
            end(pidfd.as_fd(), !c.sibling);
            let failures = network::take_back(moved);
            Err(if failures.is_empty() { e } else { Error::NotUndone { source: Box::new(e), failures } })
        }
    }
}

/// The container's first process, in its namespaces; it runs `child`.
fn make_process(
    c: &Container<'_>,
    entry: &Entry,
    ours: &OwnedFd,
    theirs: &OwnedFd,
    child: impl FnOnce() -> Result<Infallible, Failure>,
) -> Result<(Pid, OwnedFd), Error> {
    let namespaces = &c.plan.namespaces;
    // Both are for children of this process, until they are dropped.
    let pids = PidsForChildren::join(namespaces)?;
    let makes_time = namespaces.new.contains(CloneFlags::NEWTIME);
    let _time = makes_time.then(|| TimeForChildren::new(&namespaces.offsets)).transpose()?;
    let flags = namespaces.new.without(c.plan.made_by_itself()).without(CloneFlags::NEWTIME);
    let clone = if c.sibling { clone3_sibling } else { clone3 };
    let made = match namespaces.joined(LinuxNamespaceType::User) {
        None => match clone(flags, entry.v2()).context("clone", "the container") {
            Ok(Fork::Child) => helper::live(ours, theirs, child),
            Ok(Fork::Parent { pid, pidfd }) => Ok((pid, pidfd)),
            Err(failure) => Err(failure),
        },
        // Its other namespaces must belong to the user namespace, so whoever makes them has to be in it.
        Some(user) => {
            let make = Make { ours, theirs, cgroup: entry.v2(), inherited: false, sibling: c.sibling };
            make.through_helper(|| user.enter(), flags, child)
        }
    };
    Ok(made.map_err(|failure| if pids.is_some() { blame_ended_pids(failure) } else { failure })?)
}

/// Says what the kernel does not (pid_namespaces(7)): nobody is made in a pid namespace whose first process has ended.
fn blame_ended_pids(failure: Failure) -> Failure {
    if failure.source.raw_os_error() != Some(Errno::NOMEM.raw_os_error()) {
        return failure;
    }
    Failure {
        source: io::Error::other("the first process of the pid namespace it joins has ended"),
        ..failure
    }
}

/// What only a process outside of the container's user namespace may do for the one in it, and a group that is made for a
/// process.
fn set_up_from_outside(
    c: &Container<'_>,
    (pid, pidfd): (Pid, BorrowedFd<'_>),
    socket: &OwnedFd,
) -> Result<(), Error> {
    if !c.waits_for_creator() {
        return Ok(());
    }
    if let Some(mappings) = &c.plan.namespaces.mappings {
        mappings.apply(pid)?;
    }
    if let Some(group) = c.cgroup {
        group.place(pid.as_raw_nonzero().get(), &c.plan.resources, c.plan.cgroup_owner())?;
    }
    if !c.plan.in_user_namespace() {
        return Ok(helper::set_from_outside(None, pid, socket)?);
    }
    open_inside(c, pidfd, socket)?;
    Ok(helper::set_from_outside(c.plan.process.as_ref(), pid, socket)?)
}

/// What the child needs its creator for.
pub(crate) enum Request {
    Hooks,
    /// Network devices.
    Devices,
    /// To be moved into the group it manages.
    Delegate,
    /// The files that its hooks write to. They are the answer.
    Output,
    /// A seccomp listener of that number is to be handed over.
    Listener(RawFd),
}

fn serve(
    c: &Container<'_>,
    process: (Pid, BorrowedFd<'_>),
    request: Request,
    moved: &mut Option<Moved>,
) -> Result<(), Error> {
    let listener = c.plan.process.as_ref().and_then(ProcessPlan::listener);
    match (request, listener) {
        (Request::Hooks, _) => {
            let state = c.description.json(ContainerState::Creating, process.0.as_raw_nonzero().get());
            let (hooks, bundle) = (&c.plan.hooks, c.description.bundle());
            Ok(hooks::run_all(&hooks.create_runtime, &hooks.output, &state, bundle, &|| Ok(()))?)
        }
        (Request::Devices, _) => Ok(network::give(&c.plan.net_devices, process.1, moved)?),
        (Request::Listener(number), Some(listener)) => {
            Ok(listener.hand_over(process, number, c.description, ContainerState::Creating)?)
        }
        (Request::Delegate, _) => delegate(c, process.0),
        (Request::Output | Request::Listener(_), _) => {
            Err(Failure::unexpected("serve", "the container's process").into())
        }
    }
}

/// The group that a container manages is below its own, limits and all (crun(1), "run.oci.delegate-cgroup").
fn delegate(c: &Container<'_>, pid: Pid) -> Result<(), Error> {
    let (Some(group), Some(name)) = (c.cgroup, &c.plan.delegate) else {
        return Err(Failure::unexpected("delegate", "the container's cgroup").into());
    };
    let owner = c.plan.namespaces.mappings.as_ref().and_then(|m| m.outside(0));
    Ok(group.move_below(name, pid.as_raw_nonzero().get(), owner)?)
}

/// Refuses to leave a group to the container where there is none to leave.
fn check_delegation(c: &Container<'_>) -> Result<(), Error> {
    let reason = match (&c.plan.delegate, c.cgroup) {
        (None, _) => return Ok(()),
        (Some(_), Some(group)) if group.can_be_shared() => return Ok(()),
        (Some(_), Some(_)) => "delegate-cgroup not supported on cgroup v1",
        (Some(_), None) => "the container has no cgroup of its own",
    };
    Err(invalid(format!("annotation {DELEGATE}"), reason))
}

/// A pid namespace to join takes effect for children: the creator joins it, and leaves it when it has cloned.
struct PidsForChildren(std::fs::File);

impl PidsForChildren {
    fn join(namespaces: &Namespaces) -> Result<Option<Self>, Failure> {
        let Some(join) = namespaces.joined(LinuxNamespaceType::Pid) else { return Ok(None) };
        let own = std::fs::File::open("/proc/self/ns/pid").context("open", "/proc/self/ns/pid")?;
        join.enter()?;
        Ok(Some(Self(own)))
    }
}

impl Drop for PidsForChildren {
    fn drop(&mut self) {
        // Back to where this process is anyway: nothing that could be refused.
        let _ = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::ProcessID));
    }
}

/// Waits, on a connection to a deferred container's socket, until its program runs. What its `startContainer` hooks write goes
/// where `hooks` say.
///
/// # Errors
/// [`Error::Failed`] with the step that failed.
pub fn wait_for_program(connection: &OwnedFd, hooks: &Hooks) -> Result<(), Error> {
    let serve = |request| match request {
        Request::Output => {
            let files: Vec<_> = hooks.output.files().collect();
            Ok(report::send_output(connection, &files).context("answer", "the container's process")?)
        }
        _ => Err(Failure::unexpected("serve", "the container's process").into()),
    };
    wait_until_started(connection, serve).map(drop)
}

/// Reads reports until the program runs; calls `serve` for what the child asks.
pub(crate) fn wait_until_started(
    socket: &OwnedFd,
    mut serve: impl FnMut(Request) -> Result<(), Error>,
) -> Result<Option<OwnedFd>, Error> {
    let (mut terminal, mut set) = (None, false);
    let go_on = || Ok::<_, Error>(report::send_go(socket).context("answer", "the container's process")?);
    loop {
        match report::receive(socket) {
            Ok(Message::Terminal(fd)) => terminal = Some(fd),
            Ok(Message::Ready) => return Ok(terminal),
            Ok(Message::Set) => set = true,
            Ok(Message::Closed) if set => return Ok(terminal),
            Ok(Message::Failed(failure)) => return Err(Error::Failed(failure)),
            Ok(Message::Delegate) => serve(Request::Delegate).and_then(|()| go_on())?,
            Ok(Message::Hooks) => serve(Request::Hooks).and_then(|()| go_on())?,
            Ok(Message::Devices) => serve(Request::Devices).and_then(|()| go_on())?,
            Ok(Message::Output) => serve(Request::Output)?,
            Ok(Message::Built) => go_on()?,
            Ok(Message::Listener(number)) => serve(Request::Listener(number)).and_then(|()| go_on())?,
            Ok(Message::Pidfd(_)) => {}
            // The child died without a word.
            Ok(Message::Closed) => return Err(Failure::killed().into()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(Failure::killed().into()),
            Err(e) => return Err(e).context("receive", "the child's report").map_err(Error::Failed),
        }
    }
}
