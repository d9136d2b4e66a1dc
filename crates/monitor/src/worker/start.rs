//! Making a container and starting its program.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_events::{Reporter, What};
use loment_runtime::state::process_start_time;
use loment_runtime::{
    Container, Created, Description, Hooks, InRoot, Plan, Start, UserNamespace, create, wait_for_program,
};
use loment_sys::pipe;
use oci_spec::runtime::{ContainerState, Mount, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::Pid;

use super::{Ends, become_user, class_tasks, joins, own_files, restore, set_variables, stdio, volumes};
use crate::changes::Changes;
use crate::error::Context;
use crate::launch::{BeginBody, Body, Document, Place, Rootfs};
use crate::protocol::Answer;
use crate::state::{Phase, State, boot_id};
use crate::{Error, groups, now_rfc3339, overlay, owner, user};

/// When the program of a container is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// As soon as the container is made.
    Now,
    /// When that is asked for.
    Asked,
    /// It has been asked for.
    Begun,
}

/// The socket in its run directory on which a container that is prepared waits for the word.
const START: &str = "start.sock";

fn listen(place: &Place) -> Result<OwnedFd, Error> {
    let listen = || -> io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (address, _dir) = pipe::address_in(&place.run_dir, START)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 1)?;
        Ok(socket)
    };
    listen().context("listen in", place.run_dir.display())
}

/// Runs the program of a container that is prepared.
pub(crate) fn begin(document: &Document, place: &Place) -> Result<Pid, Error> {
    let body: BeginBody = document.body()?;
    let mut spec = Spec::default();
    spec.set_hooks(body.spec.hooks).set_annotations(body.spec.annotations);
    let hooks = Hooks::of(&spec)?;
    let previous = State::load(&place.dir).context("read the state in", place.dir.display())?;
    let pid = Pid::from_raw(previous.pid).ok_or_else(|| io::Error::other("it has no process"));
    let pid = pid.context("find", "the container's process")?;
    // Before it runs: its end, which may come soon, is recorded after this.
    let state = State { initialized: false, started_at: now_rfc3339(), ..previous };
    let durable = place.removal.is_none();
    state.save(&place.dir, durable).context("write the state in", place.dir.display())?;
    let connect = || -> io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let (address, _dir) = pipe::address_in(&place.run_dir, START)?;
        rustix::net::connect(&socket, &address)?;
        Ok(socket)
    };
    let connection = connect().context("ask", "the container's process")?;
    let _ = std::fs::remove_file(place.run_dir.join(START));
    wait_for_program(&connection, &hooks)?;
    let description = Description::new(&place.id, &place.dir, spec.annotations().as_ref());
    hooks
        .run_poststart(&description.json(ContainerState::Running, pid.as_raw_nonzero().get()), &place.dir)?;
    Ok(pid)
}

/// Records that the monitor keeps a container's namespaces, and that it has no process.
pub(crate) fn hold(place: &Place, held: BTreeMap<String, i32>) -> Result<Pid, Error> {
    let previous = State::load(&place.dir).context("read the state in", place.dir.display())?;
    let monitor = rustix::process::getppid().ok_or_else(|| io::Error::other("it has ended"));
    let monitor = monitor.context("find", "the monitor")?;
    let state =
        State { initialized: false, pid: 0, start_time: 0, held, started_at: now_rfc3339(), ..previous };
    state.save(&place.dir, true).context("write the state in", place.dir.display())?;
    Ok(monitor)
}

/// Makes the container and starts its program, as a child of the monitor.
pub(crate) fn start(
    document: &Document,
    place: &Place,
    (restarts, when): (u32, When),
    (ends, descriptors): (Option<&Ends>, &[(i32, OwnedFd)]),
    socket: &OwnedFd,
) -> Result<Created, Error> {
    let mut launch: Body = document.body()?;
    if let Some(changes) =
        Changes::take(&place.run_dir).context("read changes in", place.run_dir.display())?
    {
        changes.apply(&mut launch.spec);
    }
    let (secrets, handed) = (std::mem::take(&mut launch.secrets), std::mem::take(&mut launch.handed));
    if let Some(process) = launch.spec.process_mut() {
        set_variables(process, &secrets);
        set_variables(process, &handed);
    }
    // Before the worker may enter a mount namespace of its own.
    let host = groups::host(place)?;
    let mut joined = joins::join(&mut launch.spec, &launch.joins)?;
    let goes_on = launch.saved.is_some() && restarts == 0;
    let shared = if goes_on { std::mem::take(&mut joined.mounts) } else { Vec::new() };
    restore::name_shared(&mut launch.spec, &shared, place)?;
    let users = UserNamespace::like(&launch.spec)?;
    let scratch = place.run_dir.join("scratch");
    let built = overlay::build(&launch.rootfs, &scratch, users.as_ref())?;
    for warning in built.warnings {
        let _ = pipe::send(socket, &Answer::Warning { message: warning }.encode(), &[]);
    }
    let root = rustix::fs::openat(
        &built.tree,
        ".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let root = InRoot::new(root.context("open", "root file system")?);
    own_files::complete(&mut launch, place, &root, users.as_ref())?;
    complete(&mut launch, place, &root, users.as_ref())?;
    let mounted = volumes::prepare(&launch, &root, &scratch, users.as_ref(), &place.id)?;
    joined.mounts.extend(mounted);
    drop(root);
    let spec = &launch.spec;
    let plan = Plan::new(spec, Path::new("/"))?;
    let tasks = class_tasks(plan.rdt.as_ref(), &place.id)?;
    let group = groups::to_make(&host, place, spec)?;
    let description = Description::new(&place.id, &place.dir, spec.annotations().as_ref());
    group.create()?;
    let created = group.apply(&plan.resources).map_err(Error::from).and_then(|()| {
        let listener = (when == When::Asked).then(|| listen(place)).transpose()?;
        let passed: Vec<_> = descriptors.iter().map(|(number, fd)| (*number, fd.as_fd())).collect();
        let container = Container {
            plan: &plan,
            description: &description,
            rootfs: loment_runtime::Rootfs::Mount(built.tree.as_fd()),
            mounts: &joined.mounts,
            stdio: stdio(ends),
            start: listener.as_ref().map_or(Start::Now, |listener| Start::OnConnection(listener.as_fd())),
            cgroup: place.cgroup.as_ref().map(|_| &group),
            tasks: &tasks,
            keep_fds: 0,
            pass: &passed,
            keyring: !launch.no_keyring,
            init: launch.init,
            sibling: true,
            pivot: !launch.no_pivot,
        };
        let mut saved = Ok(());
        let from = launch.saved.as_ref().filter(|_| goes_on);
        let created = match from {
            Some(from) => {
                let (tree, group, description) = (&built.tree, &group, &description);
                let (plan, shared) = (&plan, &shared[..]);
                let from = restore::From { saved: from, plan, description, tree, group, ends, place, shared };
                restore::make(&from, &mut |pid| {
                    save_running(place, pid.as_raw_nonzero().get(), (restarts, true), when)
                })?
            }
            None => create(&container, |pid| {
                saved = save_running(place, pid.as_raw_nonzero().get(), (restarts, false), when)
            })?,
        };
        saved?;
        if when == When::Asked {
            return Ok(created);
        }
        Hooks::of(spec)?.run_poststart(
            &description.json(ContainerState::Running, created.pid.as_raw_nonzero().get()),
            &place.dir,
        )?;
        Ok(created)
    });
    created.inspect_err(|_| {
        let _ = group.kill();
        let _ = group.remove();
    })
}

/// Writes that the container runs; before its monitor knows, so that what is told of its end comes after. (A worker that has
/// entered a container sees other files: of programs that are run later the monitor tells.)
pub(crate) fn tell_of_start(reporter: &Reporter, when: When, attached: bool) {
    let all = [What::Init, What::Start, What::Attach];
    let said = match when {
        When::Now => &all[..],
        When::Asked => &all[..1],
        When::Begun => &all[1..],
    };
    let said = if attached || when == When::Asked { said } else { &said[..said.len() - 1] };
    let mounts = reporter.of_volumes(What::Mount).filter(|_| when != When::Begun);
    reporter.tell(&mounts.chain(said.iter().map(|what| reporter.event(*what))).collect::<Vec<_>>());
}

/// Fills in what depends on the container's files: the user, the home directory, the working directory.
fn complete(
    launch: &mut Body,
    place: &Place,
    root: &InRoot,
    users: Option<&UserNamespace>,
) -> Result<(), Error> {
    let found = user::find_in(root, &launch.user, &launch.groups)?;
    if launch.workdir_is_there {
        workdir(&launch.spec, place, root)?;
    }
    let writable = !matches!(launch.rootfs, Rootfs::Directory { .. });
    let Some(process) = launch.spec.process_mut() else { return Ok(()) };
    if writable {
        let cwd = process.cwd().clone();
        let made = owner::act(users, || root.make_dir_all(&cwd).map(drop));
        made.context("create working directory", cwd.display())?;
    }
    become_user(process, &found);
    Ok(())
}

/// The working directory has to be in the container's files, or come with what is mounted.
fn workdir(spec: &Spec, place: &Place, root: &InRoot) -> Result<(), Error> {
    let Some(process) = spec.process() else { return Ok(()) };
    let directory = process.cwd();
    let mut mounts = spec.mounts().iter().flatten().map(Mount::destination);
    let comes = |mount: &PathBuf| mount.starts_with(directory) || directory.starts_with(mount);
    match root.resolve(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !mounts.any(comes) => {
            Err(Error::NoWorkdir { directory: directory.clone(), id: place.id.clone() })
        }
        _ => Ok(()),
    }
}

fn save_running(place: &Place, pid: i32, (restarts, restored): (u32, bool), when: When) -> Result<(), Error> {
    let previous = State::load(&place.dir).unwrap_or_default();
    let monitor = rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    let state = State {
        phase: Phase::Running,
        boot_id: boot_id().to_owned(),
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        monitor_pid: monitor,
        monitor_start_time: process_start_time(monitor).unwrap_or(0),
        held: BTreeMap::new(),
        initialized: when == When::Asked,
        started_at: if when == When::Asked { previous.started_at } else { now_rfc3339() },
        error: String::new(),
        oom_killed: false,
        checkpointed: false,
        restored,
        restarts,
        restart_at: String::new(),
        ..previous
    };
    if let Some(file) = &place.pid_file {
        std::fs::write(file, pid.to_string()).context("write the pid to", file.display())?;
    }
    state.save(&place.dir, place.removal.is_none()).context("write the state in", place.dir.display())
}
