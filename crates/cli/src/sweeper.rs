//! What nobody waits for: the files of what was removed, deleted by a process that is left behind.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use loment_store::Store;
use loment_sys::spawn::{Exe, Program, own_executable, spawn};

/// What a sweeper is called with.
pub(crate) const ARGUMENT: &str = "sweeper";
/// The directory of the store, for it.
const STORE: &str = "/proc/self/fd/3";
/// The directory for what does not outlive a reboot.
const RUN: &str = "/proc/self/fd/4";

/// Leaves a sweeper behind if there is something to delete. What goes wrong is left to the next one.
pub(crate) fn leave(root: &Path, runroot: &Path) {
    if Store::has_tombs(root) {
        let _ = start(root, runroot);
    }
}

fn start(root: &Path, runroot: &Path) -> std::io::Result<()> {
    let exe = own_executable()?;
    let (store, run) = (std::fs::File::open(root)?, std::fs::File::open(runroot)?);
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let null = null.as_fd();
    spawn(&Program {
        exe: Exe::File(exe.as_fd()),
        argv: &[CString::from(c"loment"), CString::new(ARGUMENT)?],
        envp: &[],
        fds: &[null, null, null, store.as_fd(), run.as_fd()],
        cgroup: None,
        tasks: &[],
        orphan: false,
    })?;
    Ok(())
}

/// The sweeper: deletes as long as there is something, when nobody else has use for the processor and the disk.
pub(crate) fn main() -> ExitCode {
    // Away from the terminal and its signals; that may fail where it leads a group already.
    let _ = rustix::process::setsid();
    let _ = rustix::process::nice(19);
    // A layer that is still mounted keeps its space.
    let released = Store::mounted_layers(STORE.as_ref()).is_ok_and(|kept| {
        loment_monitor::release_layers(&Path::new(RUN).join("pins"), |layer, inode| {
            kept.contains(&(layer.to_owned(), inode))
        })
        .is_ok()
    });
    match Store::empty_tombs(STORE.as_ref()) {
        Ok(()) if released => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
