//! Descriptors that are handed on: to a container's program, and to sockets of whoever waits for them.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};
use oci_spec::runtime::Process;

/// How many descriptors from 3 on the program inherits, those of socket activation (sd_listen_fds(3)) before the `preserved`
/// ones. The program's environment says how many the former are.
pub(crate) fn inherited(preserved: u32, process: Option<&mut Process>) -> anyhow::Result<u32> {
    let listening = listening();
    for i in 0..preserved {
        let number = 3 + listening + i;
        if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            bail!(
                "preserved descriptor {number} ({} of {preserved}) is not open: open it, or lower --preserve-fds",
                i + 1
            );
        }
    }
    if let Some(process) = process.filter(|_| listening > 0) {
        let env = process.env_mut().get_or_insert_default();
        env.extend([format!("LISTEN_FDS={listening}"), "LISTEN_PID=1".to_owned()]);
    }
    Ok(listening + preserved)
}

/// Those of socket activation, unless they are meant for another process.
fn listening() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    match number("LISTEN_PID") {
        Some(pid) if pid != std::process::id() => 0,
        _ => number("LISTEN_FDS").unwrap_or(0),
    }
}

/// A socket that is connected already: by the time the descriptor is known, this process may be in a container's mount
/// namespace.
#[derive(Debug)]
pub(crate) struct Receiver(UnixStream);

impl Receiver {
    pub(crate) fn connect(what: &str, path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path);
        Ok(Self(stream.with_context(|| format!("connect to {what} socket {}", path.display()))?))
    }

    /// Sends a descriptor with its name.
    pub(crate) fn send(&self, name: &str, fd: impl AsFd) -> anyhow::Result<()> {
        let sent = loment_sys::pipe::send(&self.0, name.as_bytes(), &[fd.as_fd()]);
        sent.map(drop).with_context(|| format!("send {name}"))
    }
}
