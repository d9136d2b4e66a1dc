//! Making a container and starting its program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loment_cgroup::Host;
use loment_events::{Reporter, What};
use loment_runtime::state::process_start_time;
use loment_runtime::{Container, Created, Description, Hooks, InRoot, Plan, Start, UserNamespace, create};
use loment_sys::pipe;
use oci_spec::runtime::ContainerState;
use rustix::fs::{Mode, OFlags};

use super::{Ends, become_user, joins, own_files, set_secrets, stdio, volumes};
use crate::changes::Changes;
use crate::error::Context;
use crate::launch::{Body, Document, Place, Rootfs};
use crate::protocol::Answer;
use crate::state::{Phase, State, boot_id};
use crate::{Error, groups, now_rfc3339, overlay, owner, user};

/// Makes the container and starts its program, as a child of the monitor.
pub(crate) fn start(
    document: &Document,
    place: &Place,
    restarts: u32,
    (ends, descriptors): (Option<&Ends>, &[(i32, OwnedFd)]),
    socket: &OwnedFd,
) -> Result<Created, Error> {
    let mut launch: Body = document.body()?;
    if let Some(changes) =
        Changes::take(&place.run_dir).context("read changes in", place.run_dir.display())?
    {
        changes.apply(&mut launch.spec);
    }
    let secrets = std::mem::take(&mut launch.secrets);
    if let Some(process) = launch.spec.process_mut() {
        set_secrets(process, &secrets);
    }
    // Before the worker may enter a mount namespace of its own.
    let host = Host::detect()?;
    let mut joined = joins::join(&mut launch.spec, &launch.joins)?;
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
    complete(&mut launch, &root, users.as_ref())?;
    let mounted = volumes::prepare(&launch, &root, &scratch, users.as_ref(), &place.id)?;
    joined.mounts.extend(mounted);
    drop(root);
    let spec = &launch.spec;
    let plan = Plan::new(spec, Path::new("/"))?;
    let group = groups::to_make(&host, place, spec)?;
    let description = Description::new(&place.id, &place.dir, spec.annotations().as_ref());
    group.create()?;
    let created = group.apply(&plan.resources).map_err(Error::from).and_then(|()| {
        let passed: Vec<_> = descriptors.iter().map(|(number, fd)| (*number, fd.as_fd())).collect();
        let container = Container {
            plan: &plan,
            description: &description,
            rootfs: loment_runtime::Rootfs::Mount(built.tree.as_fd()),
            mounts: &joined.mounts,
            stdio: stdio(ends),
            start: Start::Now,
            cgroup: Some(&group),
            tasks: &[],
            keep_fds: 0,
            pass: &passed,
            keyring: !launch.no_keyring,
            init: launch.init,
            sibling: true,
            pivot: !launch.no_pivot,
        };
        let mut saved = Ok(());
        let created =
            create(&container, |pid| saved = save_running(place, pid.as_raw_nonzero().get(), restarts))?;
        saved?;
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
pub(crate) fn tell_of_start(reporter: &Reporter, attached: bool) {
    let all = [What::Init, What::Start, What::Attach];
    let said = if attached { &all[..] } else { &all[..2] };
    reporter.tell(&said.iter().map(|what| reporter.event(*what)).collect::<Vec<_>>());
}

/// Fills in what depends on the container's files: the user, the home directory, the working directory.
fn complete(launch: &mut Body, root: &InRoot, users: Option<&UserNamespace>) -> Result<(), Error> {
    let found = user::find_in(root, &launch.user, &launch.groups)?;
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

fn save_running(place: &Place, pid: i32, restarts: u32) -> Result<(), Error> {
    let previous = State::load(&place.dir).unwrap_or_default();
    let monitor = rustix::process::getppid().map_or(0, |p| p.as_raw_nonzero().get());
    let state = State {
        phase: Phase::Running,
        boot_id: boot_id().to_owned(),
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        monitor_pid: monitor,
        monitor_start_time: process_start_time(monitor).unwrap_or(0),
        started_at: now_rfc3339(),
        error: String::new(),
        oom_killed: false,
        restarts,
        restart_at: String::new(),
        ..previous
    };
    if let Some(file) = &place.pid_file {
        std::fs::write(file, pid.to_string()).context("write the pid to", file.display())?;
    }
    state.save(&place.dir, place.removal.is_none()).context("write the state in", place.dir.display())
}
