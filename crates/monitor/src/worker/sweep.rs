//! What a monitor leaves behind, and who removes it.

use std::ffi::CString;
use std::os::fd::AsFd;

use loment_cgroup::{CgroupPath, Entry, Host};
use loment_events::Reporter;
use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::spawn::{Exe, Program, own_executable, spawn};
use rustix::event::{PollFd, PollFlags};

use crate::launch::Place;
use crate::mounts::has_mounts;
use crate::{Error, volumes};

/// How often, and after which time, the sweeper looks whether the container's lock is free.
const SWEEP_TRIES: u32 = 1000;
const SWEEP_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// The group of sweepers of ordinary users, who may not be in the root.
const SWEEPERS: &str = "loment-sweepers";

/// How often it tries to remove the monitor's group, which takes a fifth of a second each time.
const REMOVE_TRIES: u32 = 10;

/// Removes the group of a monitor that is not in it (any more).
///
/// # Errors
/// [`Error::Cgroup`] when it is still in use.
pub fn remove_monitor_cgroup(place: &Place) -> Result<(), Error> {
    let Some(group) = &place.monitor_cgroup else { return Ok(()) };
    Ok(Host::detect_tracking()?.cgroup(CgroupPath::new(group)?).remove()?)
}

/// As the last thing a monitor does: leaves a child behind, outside of its group, that removes the group when the monitor
/// has ended, and the files of a container that is gone: nobody waits for either. (To leave the group itself would take the
/// monitor milliseconds: moving waits for the kernel, being made elsewhere does not.) What remains when that fails is an
/// empty group, which goes with the container, and a tomb, which the engine looks for when it lists containers.
pub(crate) fn leave_sweeper(place: &Place, reporter: &Reporter) {
    let pid = rustix::process::getpid();
    let flags = rustix::process::PidfdFlags::empty();
    let Ok(monitor) = rustix::process::pidfd_open(pid, flags) else { return };
    // systemd removes a scope as soon as nobody is in it.
    if place.of_scope && place.removal.is_none() {
        return;
    }
    // It is in nobody's way where the monitor has no group of its own.
    let group = place.monitor_cgroup.as_ref().filter(|_| !place.of_scope);
    let root = group.and_then(|group| outside(group).ok()).unwrap_or_default();
    let made = clone3(CloneFlags::empty(), root.v2());
    let is_elsewhere = made.is_ok();
    if let Ok(Fork::Child) = made.or_else(|_| clone3(CloneFlags::empty(), None)) {
        // In the monitor's group it would keep that.
        let _ = if is_elsewhere { Ok(()) } else { root.join_v2() };
        let _ = root.join();
        // Nothing of the monitor's stays open: whoever still waits on its sockets hears that it has ended.
        if let Ok(kept) = loment_sys::fd::keep_only(&[monitor.as_fd()], 3)
            && let Some(monitor) = kept.first()
        {
            let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
            let _ = rustix::event::poll(&mut [PollFd::new(monitor, PollFlags::IN)], Some(&timeout));
            sweep(place, reporter);
        }
        loment_sys::process::exit_now(0)
    }
}

/// Where the sweeper of a monitor in that group is: the root, or beside it where users may make groups.
fn outside(group: &str) -> Result<Entry, loment_cgroup::Error> {
    let host = Host::detect_tracking()?;
    let Some((parent, _)) = group.rsplit_once('/') else { return host.root_entry() };
    let group = host.cgroup(CgroupPath::new(parent)?.join(SWEEPERS)?);
    group.create_if_missing()?;
    group.entry()
}

/// Whether somebody lives in the monitor's group: a new monitor.
fn has_members(place: &Place) -> bool {
    let Some(group) = &place.monitor_cgroup else { return false };
    let members = || Host::detect_tracking()?.cgroup(CgroupPath::new(group)?).pids();
    members().is_ok_and(|pids| !pids.is_empty())
}

fn sweep(place: &Place, reporter: &Reporter) {
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
    // What ends in it is in it for a moment longer, which may be long on a busy machine.
    let tries = if place.of_scope { 0 } else { REMOVE_TRIES };
    for _ in 0..tries {
        if remove_monitor_cgroup(place).is_ok() || has_members(place) {
            break;
        }
    }
    drop(lock);
    if let Some(removal) = &place.removal {
        let tomb = removal.tombs.join(&place.id);
        // Whoever cleaned up may have been killed before it was done.
        volumes::leave(place, removal, reporter);
        if let (Some(project), Ok(tomb)) = (removal.project, std::fs::File::open(&tomb)) {
            let _ =
                loment_sys::quota::set_limits(tomb.as_fd(), project, loment_sys::quota::Limits::default());
        }
        // Somebody may have mounted something there, which is not the container's.
        if !has_mounts(&tomb).unwrap_or(true) {
            let _ = std::fs::remove_dir_all(tomb);
        }
        if !place.dir.exists() {
            // Nobody is there to be told.
            let _ = go_on(&removal.then);
        }
    }
}

/// Executes this program once more, with those arguments.
fn go_on(arguments: &[String]) -> std::io::Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    let exe = own_executable()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let null = null.as_fd();
    let argv = arguments.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>()?;
    spawn(&Program {
        exe: Exe::File(exe.as_fd()),
        argv: &argv,
        envp: &[],
        fds: &[null, null, null],
        cgroup: None,
        tasks: &[],
        orphan: false,
    })?;
    Ok(())
}
