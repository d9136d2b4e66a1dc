//! Handing the listener of a seccomp filter with SCMP_ACT_NOTIFY to the agent that answers its questions (runtime-spec,
//! config-linux.md, "The Container Process State").
//!
//! The process that loads the filter may be stopped by it at its next system call, so it does nothing for the hand-over: it
//! says before which number the listener will have, and its creator takes a copy of that descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use loment_sys::pipe;
use oci_spec::runtime::{ContainerProcessStateBuilder, ContainerState, LinuxSeccomp};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, PidfdGetfdFlags, pidfd_getfd};

use crate::annotations::SeccompAnnotations;
use crate::description::SPECIFICATION;
use crate::error::{Context, invalid};
use crate::{Description, Error, Failure};

/// How often, and after which time, the creator looks for the descriptor: the kernel compiles the filter first.
const TRIES: u32 = 20_000;
const PAUSE: Duration = Duration::from_micros(100);

const PATH: &str = "linux.seccomp.listenerPath";

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    path: PathBuf,
    metadata: Option<String>,
}

impl Listener {
    /// That of a profile, else that of an annotation.
    pub(crate) fn named(
        profile: Option<&LinuxSeccomp>,
        asked: &SeccompAnnotations,
    ) -> Result<Option<Self>, Error> {
        let metadata = profile.and_then(|p| p.listener_metadata().clone());
        let path = profile.and_then(|p| p.listener_path().as_ref()).filter(|p| !p.as_os_str().is_empty());
        if let Some(path) = path.filter(|p| !p.is_absolute()) {
            return Err(invalid(PATH, format!("{path:?} is not an absolute path")));
        }
        Ok(path.or(asked.receiver.as_ref()).map(|path| Self { path: path.clone(), metadata }))
    }

    /// The agent of a profile that asks it something.
    ///
    /// # Errors
    /// [`Error::Invalid`] when none is named, or by a path that is not absolute.
    pub(crate) fn new(profile: &LinuxSeccomp, asked: &SeccompAnnotations) -> Result<Self, Error> {
        Self::named(Some(profile), asked)?
            .ok_or_else(|| invalid(PATH, "it is missing, and the profile has SCMP_ACT_NOTIFY"))
    }

    /// Takes descriptor `number` of the process, its listener, and sends it to the agent. `status` is the container's.
    pub(crate) fn hand_over(
        &self,
        process: (Pid, BorrowedFd<'_>),
        number: RawFd,
        description: &Description<'_>,
        status: ContainerState,
    ) -> Result<(), Failure> {
        let (pid, pidfd) = process;
        let pid = pid.as_raw_nonzero().get();
        let listener = take(pidfd, number).context("take", "the listener of the seccomp filter")?;
        let mut state = ContainerProcessStateBuilder::default()
            .version(SPECIFICATION)
            .fds(vec!["seccompFd".to_owned()])
            .pid(pid)
            .state(description.state(status, pid));
        if let Some(metadata) = &self.metadata {
            state = state.metadata(metadata.clone());
        }
        let state = state.build().expect("every required field is set");
        let state = serde_json::to_vec(&state).expect("a state has string keys only");
        let send = || -> io::Result<()> {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
            let sent = pipe::send(&socket, &state, &[listener.as_fd()])?;
            std::io::Write::write_all(&mut std::fs::File::from(socket), &state[sent..])
        };
        send().context("send the listener of the seccomp filter to", self.path.display())
    }
}

fn take(pidfd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    for _ in 0..TRIES {
        match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(fd) if is_listener(&fd) => return Ok(fd),
            // Not open yet.
            Ok(_) | Err(rustix::io::Errno::BADF) => {}
            Err(e) => return Err(e.into()),
        }
        std::thread::sleep(PAUSE);
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn is_listener(fd: &OwnedFd) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    link.is_ok_and(|target| target.as_os_str() == "anon_inode:seccomp notify")
}
