//! Namespaces of other containers, found anew at each start: who joins one must never get that of a process which happens to
//! have the number of one that has ended.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_runtime::mount_of;
use loment_runtime::state::process_start_time;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Spec};

use crate::Error;
use crate::error::Context;
use crate::launch::Join;
use crate::state::{Phase, State, boot_id};

/// Where programs find shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// What was taken from other containers. The specification names it by number, so it must live as long.
#[derive(Debug, Default)]
pub(super) struct Joined {
    _namespaces: Vec<File>,
    /// Mounts, by where they are in the container.
    pub(super) mounts: Vec<(PathBuf, OwnedFd)>,
}

/// Adds namespaces of other containers to a specification.
pub(super) fn join(spec: &mut Spec, joins: &[Join]) -> Result<Joined, Error> {
    let mut joined = Joined::default();
    for join in joins {
        let namespace = open(join, file_of(&join.kind))?;
        if join.kind == "ipc" {
            // Which is half of what is meant by it.
            let mounts = open(join, "mnt")?;
            joined.mounts.push((SHARED_MEMORY.into(), mount_of(mounts.as_fd(), Path::new(SHARED_MEMORY))?));
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
        add(spec, &join.kind, path).context("join", &join.container)?;
        joined._namespaces.push(namespace);
    }
    Ok(joined)
}

/// A namespace of the container's first process, or one that its monitor keeps.
fn open(join: &Join, file: &str) -> Result<File, Error> {
    let gone = || Error::NotRunning { container: join.container.clone(), kind: join.kind.clone() };
    let state = State::load(&join.dir).map_err(|_| gone())?;
    if state.phase != Phase::Running || state.boot_id != boot_id() {
        return Err(gone());
    }
    let (pid, start_time, path) = match state.held.get(file) {
        Some(fd) => {
            (state.monitor_pid, state.monitor_start_time, format!("/proc/{}/fd/{fd}", state.monitor_pid))
        }
        None => (state.pid, state.start_time, format!("/proc/{}/ns/{file}", state.pid)),
    };
    let opened = File::open(&path);
    // Looked at after it was opened: it was that process then.
    if process_start_time(pid) != Some(start_time) {
        return Err(gone());
    }
    opened.context("open", path)
}

/// The file in `/proc/PID/ns` of a kind, as a specification names it.
fn file_of(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

fn add(spec: &mut Spec, kind: &str, path: PathBuf) -> std::io::Result<()> {
    let kind: LinuxNamespaceType = serde_json::from_value(kind.into())?;
    let namespace: LinuxNamespace =
        LinuxNamespaceBuilder::default().typ(kind).path(path).build().map_err(std::io::Error::other)?;
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut all = linux.namespaces().clone().unwrap_or_default();
    all.push(namespace);
    linux.set_namespaces(Some(all));
    spec.set_linux(Some(linux));
    Ok(())
}
