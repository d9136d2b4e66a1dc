//! Running a further program in a container.

use std::os::fd::{AsFd, OwnedFd};

use loment_runtime::resctrl::Rdt;
use loment_runtime::{CapabilitySet, Created, Description, Enter, InRoot, ProcessPlan, enter};
use oci_spec::runtime::Process;
use rustix::fs::{CWD, Mode, OFlags};

use super::{Ends, become_user, class_tasks, set_variables, stdio};
use crate::changes::Changes;
use crate::error::Context;
use crate::launch::{Document, ExecBody, Place};
use crate::protocol::Exec;
use crate::{Error, groups, user};

/// Runs a program in the container with that first process, as a child of the monitor.
pub(crate) fn exec(
    document: &Document,
    place: &Place,
    pid: i32,
    request: &Exec,
    (ends, descriptors): (Option<&Ends>, &[(i32, OwnedFd)]),
) -> Result<Created, Error> {
    let body: ExecBody = document.body()?;
    let host = groups::host(place)?;
    let group = groups::to_join(&host, place)?;
    let number = rustix::process::Pid::from_raw(pid);
    let container = number
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()))
        .context("find", "the container's process")?;
    let path = format!("/proc/{pid}/root");
    let root =
        rustix::fs::openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let user = request.user.as_ref().unwrap_or(&body.user);
    let found = user::find_in(&InRoot::new(root.context("open", path)?), user, &body.groups)?;
    let mut process = body.spec.process;
    // What the container was started with, which may not be what it was launched with.
    if let Some(changes) = Changes::now(&place.run_dir).context("read changes in", place.run_dir.display())? {
        changes.apply_to(&mut process);
    }
    set_variables(&mut process, &body.secrets);
    let mut process = like(process, request);
    become_user(&mut process, &found);
    let filter = body.spec.linux.seccomp.filter(|_| !(request.privileged && body.default_filter));
    let annotations = Some(&body.spec.annotations);
    let rdt = body.spec.linux.intel_rdt.as_ref().map(Rdt::new).transpose()?;
    let tasks = class_tasks(rdt.as_ref(), &place.id)?;
    let plan = ProcessPlan::to_enter(&process, filter.as_ref(), annotations)?;
    Ok(enter(&Enter {
        container: container.as_fd(),
        process: &plan,
        description: Some(&Description::new(&place.id, &place.dir, annotations)),
        stdio: stdio(ends),
        cgroup: place.cgroup.as_ref().map(|_| &group),
        tasks: &tasks,
        keep_fds: 0,
        pass: &descriptors.iter().map(|(number, fd)| (*number, fd.as_fd())).collect::<Vec<_>>(),
        keyring: (!body.no_keyring).then_some(place.id.as_str()),
        sibling: true,
    })?)
}

/// A process with the rights of the container's own.
fn like(mut process: Process, request: &Exec) -> Process {
    process.set_args(Some(request.args.clone())).set_terminal(Some(request.terminal)).set_console_size(None);
    if let Some(workdir) = &request.workdir {
        process.set_cwd(workdir.clone());
    }
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let env = process.env_mut().get_or_insert_with(Vec::new);
    // The container's environment, its terminal's name as this one needs it, and the caller's.
    if request.terminal && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    for entry in &request.env {
        env.retain(|e| name(e) != name(entry));
        env.push(entry.clone());
    }
    if request.privileged
        && let Some(mut sets) = process.capabilities().clone()
    {
        let all = Some(CapabilitySet::all().iter().copied().collect());
        sets.set_bounding(all.clone()).set_effective(all.clone()).set_permitted(all);
        process.set_capabilities(Some(sets));
    }
    process
}
