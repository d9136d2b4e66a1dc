//! What the child does between `clone3` and `execve`, in order.
//!
//! It was cloned from a process with one thread, so it may allocate. It never logs, and every error and panic goes to its
//! creator as one message (see `report`).

use std::borrow::Cow;
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use loment_cgroup::Entry;
use loment_sys::clone::{CloneFlags, unshare};
use loment_sys::signal;
use oci_spec::runtime::{ContainerState, LinuxNamespaceType};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::create::{Container, Start};
use crate::error::Context;
use crate::hook_output::Output;
use crate::hooks::{self, Hook};
use crate::masks::{self, HostNull};
use crate::namespaces::{self, Join};
use crate::plan::ProcessPlan;
use crate::proc_handle::ProcHandle;
use crate::rootfs::{self, attach_root, pivot};
use crate::sources::Sources;
use crate::stdio::{self, Terminal};
use crate::{
    Cause, Failure, Hooks, Plan, descriptors, devices, executable, home, identity, mounts, report, resctrl,
};

/// Sends a panic to the creator before the process is aborted.
pub(crate) fn report_panics(socket: &OwnedFd) {
    let Ok(socket) = socket.try_clone() else { return };
    std::panic::set_hook(Box::new(move |info| {
        let failure = Failure {
            cause: Cause::Setup,
            operation: "internal error:".into(),
            object: info.to_string(),
            source: io::Error::other("this is a bug in loment"),
        };
        report::send_failure(&socket, &failure);
    }));
}

/// Sets the container up and becomes its program. Returns only what failed.
pub(crate) fn become_container(
    c: &Container<'_>,
    entry: &Entry,
    mut sources: Sources,
    socket: &OwnedFd,
) -> Result<Infallible, Failure> {
    isolate(c, entry, &mut sources, socket)?;
    let terminal = build(c, &sources, socket)?;
    if c.sibling {
        // A parent that died before that was asked for sends no signal, and whoever looks finds no record of what would run.
        report::wait_until_noted(socket).context("wait for", "the creator")?;
    }
    let process = c.plan.process.as_ref().ok_or_else(|| Failure {
        cause: Cause::Setup,
        operation: "start".into(),
        object: "the container".into(),
        source: io::Error::other("process is not set in its config.json"),
    })?;
    become_program(process, c, terminal, socket)
}

/// The container's files, from its root to its masks; enters them.
fn build(c: &Container<'_>, sources: &Sources, socket: &OwnedFd) -> Result<Option<Terminal>, Failure> {
    let null = HostNull::take().context("open the host's", "/dev/null")?;
    let root = build_root(c, sources)?;
    let terminal = c.plan.process.as_ref().and_then(|p| p.terminal).map(|size| Terminal::open(&root, size));
    let terminal = terminal.transpose().context("open", "a terminal")?;
    if let Some(t) = &terminal {
        t.mount_console(&root, c.plan.binds_dev()).context("mount", "/dev/console")?;
        report::send_terminal(socket, &t.primary).context("send", "the terminal")?;
    }
    masks::make_read_only(&root, &c.plan.read_only_paths)?;
    masks::mask(&root, &c.plan.masked, null, c.plan.label.as_ref())?;
    run_creation_hooks(c, socket)?;
    if c.plan.mounts.iter().any(|m| m.read_only_later) {
        let dev = root.resolve_no_links(Path::new("/dev")).context("open", "/dev")?;
        rootfs::make_read_only(&dev).context("make read-only", "/dev")?;
    }
    if c.plan.read_only {
        let fd = root.fd().try_clone_to_owned().context("open", "root file system")?;
        rootfs::make_read_only(&fd).context("make read-only", "root file system")?;
    }
    // A mount namespace that is joined becomes the container's, as with its peers: programs that enter later start at its root.
    pivot(&root, !c.pivot).context("enter", "root file system")?;
    if let Some((propagation, recursive)) = c.plan.propagation {
        mounts::set_root_propagation(propagation, recursive).context("change the propagation of", "/")?;
    }
    Ok(terminal)
}

/// The creator's hooks and the container's, before the root is entered.
fn run_creation_hooks(c: &Container<'_>, socket: &OwnedFd) -> Result<(), Failure> {
    if c.plan.hooks.interrupt_creation() {
        report::run_hooks(socket).context("wait for", "hooks")?;
    }
    let (hooks, bundle) = (&c.plan.hooks, c.description.bundle());
    let list = (hooks.create_container.as_slice(), &hooks.output);
    run_own_hooks(c, list, ContainerState::Creating, bundle, &|| Ok(()))
}

/// Hooks that run in the container's namespaces see its processes as it does.
fn run_own_hooks(
    c: &Container<'_>,
    (list, output): (&[Hook], &Output),
    status: ContainerState,
    dir: &Path,
    confine: hooks::Confine<'_>,
) -> Result<(), Failure> {
    if list.is_empty() {
        return Ok(());
    }
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    hooks::run_all(list, output, &c.description.json(status, pid), dir, confine)
}

/// Session, control groups, namespaces, names, network, kernel parameters.
fn isolate(c: &Container<'_>, entry: &Entry, sources: &mut Sources, socket: &OwnedFd) -> Result<(), Failure> {
    signal::reset_dispositions();
    signal::set_mask(&signal::SignalSet::empty()).context("reset", "the signal mask")?;
    if c.waits_for_creator() {
        report::take_sources(socket, sources).context("wait for", "the creator")?;
    }
    if c.plan.in_user_namespace() {
        namespaces::become_root_of_namespace(c.plan.process.as_ref().is_some_and(|p| p.keep_groups))?;
    }
    if c.sibling || matches!(c.start, Start::Now) {
        // A container that is half made ends with its creator; one that waits for its start outlives it, unless it is the child of
        // somebody who stays.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .context("set", "the parent death signal")?;
    }
    rustix::process::setsid().context("start", "a session")?;
    entry.join().context("join", "cgroup")?;
    resctrl::join(c.tasks).context("join", "class of resctrl")?;
    // The pid and user namespaces were joined for this process before it was made; the mount namespace comes last, since
    // the paths of the others are of the creator's.
    let (mount, others): (Vec<_>, Vec<_>) =
        c.plan.namespaces.join.iter().partition(|j| j.kind == LinuxNamespaceType::Mount);
    let made_in = [LinuxNamespaceType::Pid, LinuxNamespaceType::User];
    others.into_iter().filter(|j| !made_in.contains(&j.kind)).chain(mount).try_for_each(Join::enter)?;
    // After joining the group, and as the superuser of the user namespace.
    for (kind, name) in
        [(CloneFlags::NEWCGROUP, "a cgroup namespace"), (CloneFlags::NEWIPC, "an ipc namespace")]
    {
        if c.plan.made_by_itself().contains(kind) {
            unshare(kind).context("make", name)?;
        }
    }
    if c.plan.delegate.is_some() {
        // From below the namespace's root, so that the container sees the group as its own.
        report::move_below(socket).context("wait to be moved into", "the delegated cgroup")?;
    }
    if c.keyring {
        c.plan.process.as_ref().map_or(Ok(()), |p| p.labels.apply_to_keys())?;
        join_keyring(c.description.id())?;
    }
    if let Some(name) = &c.plan.hostname {
        rustix::system::sethostname(name.as_bytes()).context("set hostname", name)?;
    }
    if let Some(name) = &c.plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).context("set domain name", name)?;
    }
    if c.plan.makes(CloneFlags::NEWNET) {
        loment_sys::net::loopback_up().context("bring up", "the loopback interface")?;
    }
    if !c.plan.net_devices.is_empty() {
        report::ask_for_devices(socket).context("wait for", "network devices")?;
    }
    write_proc(c.plan)
}

/// A container must not share the session keyring of whoever started it.
pub(crate) fn join_keyring(id: &str) -> Result<(), Failure> {
    let name =
        CString::new(format!("_ses.{id}")).map_err(io::Error::other).context("name", "session keyring")?;
    match loment_sys::keyring::join_session(&name) {
        // No keyrings in this kernel, or a filter around us that hides them.
        Err(e) if matches!(e.raw_os_error(), Some(libc_errno::ENOSYS | libc_errno::EPERM)) => Ok(()),
        other => other.context("join", "a session keyring"),
    }
}

/// The two errno values that mean keyrings are not for us.
mod libc_errno {
    pub(super) const EPERM: i32 = 1;
    pub(super) const ENOSYS: i32 = 38;
}

/// Kernel parameters and the out-of-memory score, through a procfs of our own.
fn write_proc(plan: &Plan) -> Result<(), Failure> {
    if !plan.sysctl.is_empty() {
        let proc = ProcHandle::new().context("open", "procfs")?;
        for (key, value) in &plan.sysctl {
            proc.write(format!("sys/{key}"), value.as_bytes()).context("set kernel parameter", key)?;
        }
    }
    match &plan.process {
        // In a user namespace the creator has done it.
        Some(process) if !plan.in_user_namespace() => write_score(process),
        _ => Ok(()),
    }
}

/// Sets the out-of-memory score of this process.
pub(crate) fn write_score(p: &ProcessPlan) -> Result<(), Failure> {
    let Some(score) = p.oom_score_adj else { return Ok(()) };
    let proc = ProcHandle::new().context("open", "procfs")?;
    let pid = rustix::process::getpid().as_raw_nonzero();
    proc.write(format!("{pid}/oom_score_adj"), score.to_string().as_bytes())
        .context("set oom_score_adj to", score)
}

/// Root file system, mounts, devices.
fn build_root(c: &Container<'_>, sources: &Sources) -> Result<crate::InRoot, Failure> {
    // Modes are what the specification says, not what the caller's mask leaves.
    rustix::process::umask(Mode::empty());
    let root = sources.root.as_ref().ok_or(rustix::io::Errno::BADF).context("open", "root file system")?;
    let root = attach_root(root)?;
    let cgroup = c.cgroup.map(|g| g.path().as_str());
    for (m, source) in c.plan.mounts.iter().zip(&sources.mounts) {
        mounts::mount(&root, m, source.as_ref(), cgroup, c.plan.label.as_ref())?;
    }
    // What is bound at /dev is somebody else's.
    if !c.plan.binds_dev() {
        devices::make(&root, &c.plan.devices)?;
    }
    Ok(root)
}

/// Identity, filter, streams; then the program.
fn become_program(
    p: &ProcessPlan,
    c: &Container<'_>,
    terminal: Option<Terminal>,
    socket: &OwnedFd,
) -> Result<Infallible, Failure> {
    match &terminal {
        Some(t) => {
            t.set_owner(p.uid).context("change the owner of", "the terminal")?;
            t.install().context("install", "the terminal")?;
        }
        None => {
            let install = || c.stdio.install().and_then(|()| stdio::reopen_null());
            install().context("install", "standard streams")?;
        }
    }
    let init = c.init.then(loment_sys::init::memfd).transpose().context("make", "the init program")?;
    // From here on nothing of the creator's is open: neither the working directory nor the program can be found through a
    // descriptor of the host (CVE-2024-21626).
    let mut keep = vec![socket.as_fd()];
    if let Start::OnConnection(listener) = c.start {
        keep.push(listener);
    }
    let hooks = &c.plan.hooks;
    // A container that waits for its start must not hold files of the host's for as long: they come with the order.
    let holds_output = matches!(c.start, Start::Now) && !hooks.start_container.is_empty();
    if holds_output {
        keep.extend(hooks.output.files());
    }
    keep.extend(init.as_ref().map(AsFd::as_fd));
    let kept = descriptors::sweep(&keep, c.pass, c.keep_fds)?;
    std::mem::forget((terminal, init));
    let mut kept = kept.into_iter();
    let Some(socket) = kept.next() else { loment_sys::process::exit_now(1) };
    let listener = matches!(c.start, Start::OnConnection(_)).then(|| kept.next()).flatten();
    let output = if holds_output { hooks.output.moved_to(&mut kept) } else { Output::default() };
    let mut connection = None;
    let ran = run(p, (c, output), &socket, listener.as_ref(), kept.next().as_ref(), &mut connection);
    let Err(failure) = ran;
    report::send_failure(connection.as_ref().unwrap_or(&socket), &failure);
    loment_sys::process::exit_now(1)
}

/// Waits for the order to start, where there will be one, and runs the program. From then on reports go to `connection`.
fn run(
    p: &ProcessPlan,
    (c, mut output): (&Container<'_>, Output),
    socket: &OwnedFd,
    listener: Option<&OwnedFd>,
    init: Option<&OwnedFd>,
    connection: &mut Option<OwnedFd>,
) -> Result<Infallible, Failure> {
    // A label that nobody knows fails the creation, not the start; and a limit of descriptors must not prevent it.
    p.labels.apply()?;
    let mut settled = None;
    if let Some(listener) = listener {
        if p.listener().is_some() {
            // As with runc and crun its agent hears of the filter at creation, and creation fails without it.
            settled = Some(settle(p)?);
            // It waits as the user it becomes, whose other processes may not look into it.
            set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .context("protect", "the container's process")?;
            load_asking(p, socket)?;
        }
        let starter = connection.insert(wait_for_start(p, listener, socket)?);
        output = take_output(&c.plan.hooks, starter)?;
    }
    let creator = connection.as_ref().unwrap_or(socket);
    let loaded = settled.is_some();
    let (path, env) = settled.map_or_else(|| settle(p), Ok)?;
    // They are programs of the container's, and may do what its own program may.
    confine(p, creator, loaded, |confine| {
        let list = (c.plan.hooks.start_container.as_slice(), &output);
        run_own_hooks(c, list, ContainerState::Created, Path::new("/"), confine)
    })?;
    run_program(p, &path, &listening(env), init)
}

/// The environment of a container's first process. Who hands sockets on to that calls it 1 (sd_listen_fds(3)), which it is not where it
/// shares its pid namespace.
fn listening(env: Cow<'_, [CString]>) -> Cow<'_, [CString]> {
    let pid = rustix::process::getpid();
    let entry = env.iter().position(|e| e.to_bytes() == b"LISTEN_PID=1");
    let Some(entry) = entry.filter(|_| !pid.is_init()) else { return env };
    let mut env = env.into_owned();
    env[entry] = CString::new(format!("LISTEN_PID={pid}")).unwrap_or_default();
    Cow::Owned(env)
}

fn run_program(
    p: &ProcessPlan,
    path: &CString,
    env: &[CString],
    init: Option<&OwnedFd>,
) -> Result<Infallible, Failure> {
    let error = if let Some(image) = init {
        let args: Vec<CString> =
            [CString::from(c"init"), path.clone()].into_iter().chain(p.args.iter().cloned()).collect();
        // As process 1 it would not even notice signals that come before it waits for them (pid_namespaces(7)).
        signal::set_mask(&signal::SignalSet::all()).context("block", "signals")?;
        loment_sys::exec::fexecve(image.as_fd(), &args, env)
    } else {
        loment_sys::exec::execve(path, &p.args, env)
    };
    Err(executable::exec_failure(p, path, error))
}

/// Everything that can fail in the program's name is looked at, then the order is awaited on the socket where `start`
/// connects.
fn wait_for_start(p: &ProcessPlan, listener: &OwnedFd, socket: &OwnedFd) -> Result<OwnedFd, Failure> {
    identity::raise_hard_limits(p)?;
    executable::find(p)?;
    report::send_ready(socket).context("report", "that the container is ready")?;
    let flags = rustix::net::SocketFlags::CLOEXEC;
    loop {
        match rustix::net::accept_with(listener, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.context("wait for", "the order to start"),
        }
    }
}

/// Where the hooks write that run at the start: the files, which are closed here, come from who starts it.
fn take_output(hooks: &Hooks, starter: &OwnedFd) -> Result<Output, Failure> {
    if hooks.start_container.is_empty() || hooks.output.files().next().is_none() {
        return Ok(Output::default());
    }
    let files = report::ask_for_output(starter).context("receive", "the files for what hooks write")?;
    Ok(hooks.output.moved_to(&mut files.into_iter()))
}

/// What is run, and its environment.
type Target<'p> = (CString, Cow<'p, [CString]>);

/// Becomes the program's user, with its limits, in its directory, and finds it.
fn settle(p: &ProcessPlan) -> Result<Target<'_>, Failure> {
    // After the streams are in place, which a limit of descriptors must not prevent; before rights are given up.
    identity::set_rlimits(p)?;
    p.scheduling.apply()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(p.umask.unwrap_or(0o022)));
    // The program outlives its creator.
    rustix::process::set_parent_process_death_signal(None).context("reset", "the parent death signal")?;
    if p.no_new_privileges {
        rustix::thread::set_no_new_privs(true).context("set", "no_new_privs")?;
    }
    // As root first: the directory may be one only root can enter; then it need not be entered again.
    let entered = identity::enter_directory(p);
    identity::assume(p, keeps_admin(p))?;
    if entered.is_err() {
        identity::enter_directory(p)?;
    }
    Ok((executable::find(p)?, home::environment(p)))
}

/// Loading a filter needs CAP_SYS_ADMIN or no_new_privs (seccomp(2)), so that capability may go last.
fn keeps_admin(p: &ProcessPlan) -> bool {
    p.filter.is_some() && !p.no_new_privileges
}

fn drop_admin(p: &ProcessPlan) -> Result<(), Failure> {
    if !keeps_admin(p) {
        return Ok(());
    }
    p.capabilities.drop_admin().context("set", "capabilities")
}

/// The last steps. A filter comes after everything else that needs system calls, since it may know none that is younger than
/// itself; one that asks questions may be `loaded` already.
///
/// `hooks` is called when all rights but the last have been given up; what it is given does the rest, for another process.
fn confine(
    p: &ProcessPlan,
    socket: &OwnedFd,
    loaded: bool,
    hooks: impl FnOnce(hooks::Confine<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if p.listener().is_some() {
        // It has one listener, so what it starts must inherit the filter.
        report::send_set(socket).context("report", "that everything is set up")?;
        if !loaded {
            load_asking(p, socket)?;
        }
        return hooks(&|| Ok(()));
    }
    let confine = || load_filter(p).map(drop).and_then(|()| drop_admin(p));
    hooks(&confine)?;
    report::send_set(socket).context("report", "that everything is set up")?;
    confine()
}

/// Both, for a program that enters a container that runs.
pub(crate) fn finish<'p>(p: &'p ProcessPlan, socket: &OwnedFd) -> Result<Target<'p>, Failure> {
    p.labels.apply()?;
    let target = settle(p)?;
    confine(p, socket, false, |_| Ok(()))?;
    Ok(target)
}

fn load_filter(p: &ProcessPlan) -> Result<Option<OwnedFd>, Failure> {
    let Some(filter) = &p.filter else { return Ok(None) };
    loment_sys::seccomp::load(&filter.program, filter.flags).context("load", "the seccomp filter")
}

/// Loads a filter that asks questions, and waits until its agent has been told.
fn load_asking(p: &ProcessPlan, socket: &OwnedFd) -> Result<(), Failure> {
    // The listener gets the lowest number that is free, as this copy does.
    let copy = socket.try_clone().context("prepare", "the listener of the seccomp filter")?;
    let number = copy.as_raw_fd();
    drop(copy);
    report::send_listener(socket, number).context("announce", "the listener of the seccomp filter")?;
    let _listener = load_filter(p)?;
    report::wait_for_go(socket).context("wait for", "the agent of the seccomp filter")?;
    drop_admin(p)
}
