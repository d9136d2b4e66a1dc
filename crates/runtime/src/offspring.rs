//! What a program has started, in whatever session or process group that is by now: for one that has no time left.

use std::io;

use loment_sys::{process, wait};
use rustix::process::{Pid, PidfdFlags, child_subreaper, getpid, pidfd_open, set_child_subreaper};

/// Generations that are ended at most, one by one: what starts others faster than that is not a hook.
const MOST: usize = 1000;

/// While this lives, what the descendants of the caller leave behind becomes the caller's (PR_SET_CHILD_SUBREAPER, prctl(2))
/// and not that of the machine's first process, so that it can be found.
#[derive(Debug)]
pub(crate) struct Offspring {
    /// Children of the caller's that have nothing to do with it.
    before: Vec<i32>,
    was_subreaper: bool,
}

impl Offspring {
    /// Everything the caller starts from here on.
    ///
    /// # Errors
    /// The kernel's errno.
    pub(crate) fn watch() -> io::Result<Self> {
        let was_subreaper = child_subreaper()?.is_some();
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { before: children(), was_subreaper })
    }

    /// Kills all of it. Only children are killed, whose numbers cannot have become somebody else's; theirs are children next.
    pub(crate) fn end(&self) {
        let mut spared = self.before.clone();
        for _ in 0..MOST {
            let found: Vec<_> = children().into_iter().filter(|pid| !spared.contains(pid)).collect();
            if found.is_empty() {
                return;
            }
            for pid in found {
                if kill_child(pid).is_err() {
                    spared.push(pid);
                }
            }
        }
    }
}

impl Drop for Offspring {
    fn drop(&mut self) {
        if !self.was_subreaper {
            let _ = set_child_subreaper(None);
        }
    }
}

fn kill_child(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    // Numbers out of a procfs could be anybody's.
    if !wait::is_child(&pidfd) {
        return Err(io::ErrorKind::NotFound.into());
    }
    process::pidfd_signal(std::os::fd::AsFd::as_fd(&pidfd), 9)?;
    wait::wait_exit(&pidfd).map(drop)
}

/// The children of the calling thread (proc_pid_task(5), Linux 3.5 with CONFIG_PROC_CHILDREN); none where the procfs is that of
/// another pid namespace, as for hooks inside a container, which end with its first process.
fn children() -> Vec<i32> {
    let own = std::fs::read_link("/proc/self").unwrap_or_default();
    if own.to_str() != Some(&getpid().as_raw_nonzero().to_string()) {
        return Vec::new();
    }
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
