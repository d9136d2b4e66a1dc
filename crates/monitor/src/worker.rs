//! What forked workers do: make the container, run a further program in it, clean up after it. A worker may take its time
//! and may hang; the monitor goes on moving bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use loment_cgroup::{CgroupPath, Host};
use loment_runtime::state::process_start_time;
use loment_runtime::{
    Cause, Container, Created, Description, Enter, InRoot, Plan, ProcessPlan, Start, Stdio, UserNamespace,
    create, enter,
};
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::pipe;
use loment_sys::wait::Exit;
use oci_spec::runtime::{Process, Spec};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use crate::error::Context;
use crate::launch::{Launch, Place, Rootfs};
use crate::protocol::{Answer, Exec};
use crate::state::{Phase, State, boot_id};
use crate::{Error, groups, now_rfc3339, overlay, owner, user};

/// How often, and after which time, the sweeper looks whether the container's lock is free.
const SWEEP_TRIES: u32 = 1000;
const SWEEP_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// Standard streams for a new program: the container's ends.
pub(crate) type Ends = [OwnedFd; 3];

/// A worker ends with its monitor: nobody would supervise what it makes.
pub(crate) fn end_with(monitor: Pid) {
    let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if set.is_err() || rustix::process::getppid() != Some(monitor) {
        loment_sys::process::exit_now(1)
    }
}

/// Tells the monitor how it went. A warning or failure is text, a success carries the terminal.
pub(crate) fn report(socket: &OwnedFd, result: Result<Created, Error>) {
    let (answer, terminal) = match result {
        Ok(created) => (Answer::Started { pid: created.pid.as_raw_nonzero().get() }, created.terminal),
        Err(error) => (failed(&error), None),
    };
    let fds: Vec<BorrowedFd<'_>> = terminal.iter().map(AsFd::as_fd).collect();
    // Without a monitor nobody wants to know.
    let _ = pipe::send(socket, &answer.encode(), &fds);
}

fn failed(error: &Error) -> Answer {
    let cause = match error {
        Error::Runtime(loment_runtime::Error::Failed(f)) => f.cause,
        _ => Cause::Setup,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        let text = e.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = e.source();
    }
    Answer::Failed { cause, message }
}

fn stdio(ends: Option<&Ends>) -> Stdio<'_> {
    ends.map_or(Stdio::Inherit, |e| Stdio::Files([e[0].as_fd(), e[1].as_fd(), e[2].as_fd()]))
}

/// Makes the container and starts its program, as a child of the monitor.
pub(crate) fn start(launch: &mut Launch, ends: Option<&Ends>, socket: &OwnedFd) -> Result<Created, Error> {
    // Before the worker may enter a mount namespace of its own.
    let host = Host::detect()?;
    let users = launch.spec.as_ref().map_or(Ok(None), UserNamespace::like)?;
    let scratch = launch.place.run_dir.join("scratch");
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
    complete(launch, &root, users.as_ref())?;
    drop(root);
    let none = Spec::default();
    let spec = launch.spec.as_ref().unwrap_or(&none);
    let plan = Plan::new(spec, Path::new("/"))?;
    let group = groups::to_make(&host, &launch.place, spec)?;
    let description = Description::new(&launch.place.id, &launch.place.dir, spec.annotations().as_ref());
    group.create()?;
    let created = group.apply(&plan.resources).map_err(Error::from).and_then(|()| {
        let container = Container {
            plan: &plan,
            description: &description,
            rootfs: loment_runtime::Rootfs::Mount(built.tree.as_fd()),
            stdio: stdio(ends),
            start: Start::Now,
            cgroup: Some(&group),
            tasks: &[],
            keep_fds: 0,
            keyring: true,
            init: launch.init,
            sibling: true,
            pivot: true,
        };
        let mut saved = Ok(());
        let created = create(&container, |pid| saved = save_running(launch, pid.as_raw_nonzero().get()))?;
        saved.map(|()| created)
    });
    created.inspect_err(|_| {
        let _ = group.kill();
        let _ = group.remove();
    })
}

/// Fills in what depends on the container's files: the user, the home directory, the working directory.
fn complete(launch: &mut Launch, root: &InRoot, users: Option<&UserNamespace>) -> Result<(), Error> {
    let found = user::find_in(root, &launch.user, &launch.groups)?;
    let writable = !matches!(launch.rootfs, Rootfs::Directory { .. });
    let Some(process) = launch.spec.as_mut().and_then(|s| s.process_mut().as_mut()) else { return Ok(()) };
    if writable {
        let cwd = process.cwd().clone();
        let made = owner::act(users, || root.make_dir_all(&cwd).map(drop));
        made.context("create working directory", cwd.display())?;
    }
    become_user(process, &found);
    Ok(())
}

fn become_user(process: &mut Process, found: &user::User) {
    let u = process.user_mut();
    u.set_uid(found.uid).set_gid(found.gid).set_additional_gids(Some(found.groups.clone()));
    let env = process.env_mut().get_or_insert_with(Vec::new);
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", found.home));
    }
    // A user other than root has what was added by name, through the ambient set; root needs none there.
    if let Some(mut caps) = process.capabilities().clone() {
        if found.uid == 0 {
            caps.set_ambient(None).set_inheritable(None);
        } else {
            let ambient = caps.ambient().clone();
            caps.set_effective(ambient.clone()).set_permitted(ambient.clone()).set_inheritable(ambient);
        }
        process.set_capabilities(Some(caps));
    }
}

fn save_running(launch: &Launch, pid: i32) -> Result<(), Error> {
    let previous = State::load(&launch.place.dir).unwrap_or_default();
    let monitor = rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    let state = State {
        phase: Phase::Running,
        boot_id: boot_id(),
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        monitor_pid: monitor,
        monitor_start_time: process_start_time(monitor).unwrap_or(0),
        started_at: now_rfc3339(),
        error: String::new(),
        oom_killed: false,
        ..previous
    };
    state
        .save(&launch.place.dir, launch.place.removal.is_none())
        .context("write the state in", launch.place.dir.display())
}

/// Runs a program in the container, as a child of the monitor.
pub(crate) fn exec(
    launch: &Launch,
    pid: i32,
    request: &mut Exec,
    ends: Option<&Ends>,
) -> Result<Created, Error> {
    let host = Host::detect()?;
    let group = groups::to_join(&host, &launch.place)?;
    let number = rustix::process::Pid::from_raw(pid);
    let container = number
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()))
        .context("find", "the container's process")?;
    let path = format!("/proc/{pid}/root");
    let root =
        rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let found = user::find_in(&InRoot::new(root.context("open", path)?), &request.user, &launch.groups)?;
    become_user(&mut request.process, &found);
    let annotations = Some(&request.annotations);
    let plan = ProcessPlan::to_enter(&request.process, request.seccomp.as_ref(), annotations)?;
    Ok(enter(&Enter {
        container: container.as_fd(),
        process: &plan,
        description: Some(&Description::new(&launch.place.id, &launch.place.dir, annotations)),
        stdio: stdio(ends),
        cgroup: Some(&group),
        tasks: &[],
        keep_fds: 0,
        keyring: Some(&launch.place.id),
        sibling: true,
    })?)
}

/// Removes what a container leaves and records its end, or, where it is to be removed, moves it to the tombs. Goes on past
/// failures; the record comes last, so that who sees it sees everything done.
pub fn clean_up(place: &Place, exit: Option<Exit>, error: &str) {
    clean_up_after(place, exit, error, false);
}

/// As [`clean_up`], with what was seen of the group when the container ended.
pub(crate) fn clean_up_after(place: &Place, exit: Option<Exit>, error: &str, seen_out_of_memory: bool) {
    let oom_killed = seen_out_of_memory || groups::out_of_memory(place);
    groups::remove(place);
    let removed = place.removal.as_ref().is_some_and(|removal| {
        if std::fs::read_link(&removal.name).is_ok_and(|id| id.as_os_str() == place.id.as_str()) {
            let _ = std::fs::remove_file(&removal.name);
        }
        std::fs::rename(&place.dir, removal.tombs.join(&place.id)).is_ok()
    });
    if !removed {
        let previous = State::load(&place.dir).unwrap_or_default();
        let ended = exit.is_some();
        let state = State {
            // A start that failed leaves it what it was.
            phase: if ended || !previous.finished_at.is_empty() { Phase::Exited } else { Phase::Created },
            pid: 0,
            start_time: 0,
            // The monitor stays: whoever starts the container again waits until that has ended, and all this is done.
            finished_at: if ended { now_rfc3339() } else { previous.finished_at.clone() },
            exit_code: exit.map_or(previous.exit_code, Exit::status),
            oom_killed,
            error: error.to_owned(),
            ..previous
        };
        // Whoever looks next finds a process that is gone, which says the same.
        let _ = state.save(&place.dir, true);
    }
    // Whoever finds nobody there any more looks at the record.
    let _ = std::fs::remove_dir_all(&place.run_dir);
}

/// Removes the group of a monitor that is not in it (any more).
///
/// # Errors
/// [`Error::Cgroup`] when it is still in use.
pub fn remove_monitor_cgroup(place: &Place) -> Result<(), Error> {
    let host = Host::detect_tracking()?;
    Ok(host.cgroup(CgroupPath::new(&place.monitor_cgroup)?).remove()?)
}

/// As the last thing a monitor does: leaves a child behind, outside of its group, that removes the group when the monitor
/// has ended, and the files of a container that is gone: nobody waits for either. (To leave the group itself would take the
/// monitor milliseconds: moving waits for the kernel, being made elsewhere does not.) What remains when that fails is an
/// empty group, which goes with the container, and a tomb, which the engine looks for when it lists containers.
pub(crate) fn leave_sweeper(place: &Place) {
    let pid = rustix::process::getpid();
    let flags = rustix::process::PidfdFlags::empty();
    let Ok(monitor) = rustix::process::pidfd_open(pid, flags) else { return };
    let root = Host::detect_tracking().and_then(|h| h.root_entry()).unwrap_or_default();
    let child = clone3(CloneFlags::empty(), root.v2()).or_else(|_| clone3(CloneFlags::empty(), None));
    if let Ok(Fork::Child) = child {
        let _ = root.join();
        // Nothing of the monitor's stays open: whoever still waits on its sockets hears that it has ended.
        if let Ok(kept) = loment_sys::fd::keep_only(&[monitor.as_fd()], 3)
            && let Some(monitor) = kept.first()
        {
            let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            let _ = rustix::event::poll(&mut [PollFd::new(monitor, PollFlags::IN)], Some(&timeout));
            sweep(place);
        }
        loment_sys::process::exit_now(0)
    }
}

fn sweep(place: &Place) {
    // Whoever starts the container again at this moment holds the lock until its new monitor is in the group, which then
    // cannot be removed.
    let lock = std::fs::File::open(&place.dir);
    if let Ok(dir) = &lock {
        for _ in 0..SWEEP_TRIES {
            if dir.try_lock().is_ok() {
                break;
            }
            std::thread::sleep(SWEEP_PAUSE);
        }
    }
    let _ = remove_monitor_cgroup(place);
    drop(lock);
    if let Some(removal) = &place.removal {
        let tomb = removal.tombs.join(&place.id);
        if let (Some(project), Ok(tomb)) = (removal.project, std::fs::File::open(&tomb)) {
            let _ =
                loment_sys::quota::set_limits(tomb.as_fd(), project, loment_sys::quota::Limits::default());
        }
        let _ = std::fs::remove_dir_all(tomb);
    }
}

/// The failure of a worker that ended without a word.
pub(crate) fn silent_failure() -> Answer {
    let source = io::Error::other("its worker was killed, perhaps for lack of memory");
    failed(&Error::Io { operation: "start", object: "the program".into(), source })
}

/// Whether the specification asks for a terminal.
pub(crate) fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().is_some_and(|p| p.terminal() == Some(true))
}
