//! Trying what the kernel can do, in a process that is there for that alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use loment_sys::clone::{CloneFlags, Fork, clone3, unshare};
use loment_sys::wait::wait_exit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::error::without_numbers;

/// Nothing that is tried waits for anybody.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written when it went well.
const DONE: &str = "done";

/// Does something in a process of its own, which ends then, in a mount namespace of its own. An ordinary user is root there, in a user
/// namespace with that one id.
///
/// # Errors
/// In words: what was tried could not be done, or the namespaces could not be made.
pub(super) fn privately(work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    in_child(|| {
        if rustix::process::geteuid().is_root() {
            unshare(CloneFlags::NEWNS)?;
        } else {
            become_root()?;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        work()
    })
}

/// Makes the caller, who has no rights, root in a user namespace with a mount namespace.
pub(super) fn become_root() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(CloneFlags::NEWUSER | CloneFlags::NEWNS)?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Does something in a process of its own. There is one thread, so it may do what programs may.
pub(super) fn in_child(work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let failed = |error: io::Error| without_numbers(&error.to_string());
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let child = match clone3(CloneFlags::empty(), None).map_err(failed)? {
        Fork::Child => {
            drop(from);
            let text = match work() {
                Ok(()) => DONE.to_owned(),
                Err(error) => failed(error),
            };
            let _ = File::from(to).write_all(text.as_bytes());
            loment_sys::process::exit_now(0)
        }
        Fork::Parent { pidfd, .. } => pidfd,
    };
    drop(to);
    let heard = hear(from);
    if heard.is_err() {
        let _ = rustix::process::pidfd_send_signal(&child, Signal::KILL);
    }
    let _ = wait_exit(&child);
    match heard.map_err(failed)?.as_str() {
        DONE => Ok(()),
        "" => Err("the kernel ended the process that tried it".to_owned()),
        error => Err(error.to_owned()),
    }
}

/// All that is written, unless that takes too long.
fn hear(from: OwnedFd) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    let mut file = File::from(from);
    let (mut text, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::TimedOut)),
            Ok(_) => match file.read(&mut buffer)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                length => text.extend_from_slice(&buffer[..length]),
            },
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
