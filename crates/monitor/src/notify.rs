//! What a container's program may say to the service manager of whoever started it (sd_notify(3)).
//!
//! The container has a socket of its own; what comes there is hostile. Of each message only lines of the [kinds](is_passed) that
//! speak of the service's state are handed on: nobody in a container says which process the service is (`MAINPID`), who may
//! speak for it (`NOTIFYACCESS`), keeps descriptors with the manager (`FDSTORE`) or changes its watchdog (`WATCHDOG_USEC`).
//! Descriptors are neither handed on nor received: to close one may take as long as whoever made it likes (a FUSE file, a
//! socket that lingers). They stay in the socket's queue until a process of its own throws them away.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loment_sys::pipe;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with,
};
use serde::{Deserialize, Serialize};

use crate::epoll::{Epoll, Token};

/// The directory with the socket, in the container's run directory.
pub const DIRECTORY: &str = "notify";
/// Where that is in the container; runc's and Podman's place.
pub const INSIDE: &str = "/run/notify";
/// The socket.
pub const SOCKET: &str = "notify.sock";
/// The variable that names the socket (sd_notify(3)).
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The longest message, in bytes: systemd reads no more of one (`NOTIFY_BUFFER_MAX`).
const MAX_MESSAGE: usize = 4096;
/// Between two messages: a hundred in a second are more than a service has to say, and nothing to a manager.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a manager may take to say that it has read what came before; then sd_notify_barrier(3) is told that it has.
const BARRIER_TIME: Duration = Duration::from_secs(5);
/// How long a command waits to tell a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages that are handed on after a container's end, which it sent before.
const LAST: u32 = 64;

/// Who is told what of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notify {
    /// Who says that it is ready.
    pub mode: NotifyMode,
    /// The manager's socket when it was made, for starts that know of no other; empty if there was none.
    pub socket: String,
}

/// Who says that a container is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyMode {
    /// Its program, by a socket of its own.
    #[default]
    Container,
    /// Its monitor, when it runs.
    Conmon,
    /// Its monitor, when it is healthy.
    Healthy,
    /// Nobody.
    Ignore,
}

impl NotifyMode {
    /// Its name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Conmon => "conmon",
            Self::Healthy => "healthy",
            Self::Ignore => "ignore",
        }
    }
}

/// A service manager's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manager {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Manager {
    fn parse(address: &str) -> io::Result<Self> {
        match address.as_bytes() {
            [b'/', ..] => Ok(Self::Path(address.into())),
            [b'@', name @ ..] if !name.is_empty() => Ok(Self::Abstract(name.to_vec())),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no unix socket: /PATH or @NAME")),
        }
    }

    fn connect(&self, socket: &OwnedFd) -> io::Result<()> {
        let (address, _dir) = match self {
            Self::Abstract(name) => (SocketAddrUnix::new_abstract_name(name)?, None),
            Self::Path(path) => {
                let name = path.file_name().and_then(OsStr::to_str).ok_or(Errno::INVAL)?;
                pipe::address_in(path.parent().unwrap_or(Path::new("/")), name)?
            }
        };
        Ok(rustix::net::connect(socket, &address)?)
    }
}

/// Tells a service manager something, as whoever calls. Waits a second for one that does not read.
///
/// # Errors
/// The kernel's errno; `InvalidInput` for an address that is no unix socket's.
pub fn tell(address: &str, text: &str) -> io::Result<()> {
    let manager = Manager::parse(address)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    manager.connect(&socket)?;
    rustix::net::send(&socket, text.as_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The lines of a container's message that are handed on; `None` if there is none.
fn passed(message: &[u8]) -> Option<Vec<u8>> {
    let lines = message.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let lines: Vec<&str> = lines.filter(|line| is_passed(line)).collect();
    (!lines.is_empty()).then(|| lines.join("\n").into_bytes())
}

/// Whether a line is handed on: one that says how the service is, and gives nobody anything.
fn is_passed(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let is_number = !value.is_empty() && value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit());
    match name {
        "READY" | "RELOADING" | "STOPPING" => value == "1",
        "WATCHDOG" => ["1", "trigger"].contains(&value),
        "STATUS" | "BUSERROR" | "VARLINKERROR" => !value.contains(char::is_control),
        "ERRNO" | "MONOTONIC_USEC" | "EXTEND_TIMEOUT_USEC" => is_number,
        _ => false,
    }
}

/// What is waited for before the next message is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The container says something.
    Inside,
    /// The manager reads.
    Manager,
    /// The manager has read what came before.
    Barrier,
    /// Somebody throws away the message that is next.
    Discard,
    /// It has.
    Discarded,
    /// Some time passes.
    Pause,
}

impl Wait {
    /// It lasts no longer.
    pub(crate) fn limit(self) -> Option<Duration> {
        match self {
            Self::Barrier => Some(BARRIER_TIME),
            Self::Pause => Some(PAUSE),
            _ => None,
        }
    }
}

/// The way from a container to a service manager.
#[derive(Debug)]
pub(crate) struct Relay {
    manager: Manager,
    /// Connected anew for each message.
    outside: OwnedFd,
    /// The container's, in the mode in which it has one.
    inside: Option<OwnedFd>,
    /// Closed by the manager when it has read what came before.
    barrier: Option<OwnedFd>,
    /// Throws a message away.
    pub(crate) discards: Option<i32>,
    /// It is to be said, and has not been, that the container is ready.
    is_ready: bool,
}

impl Relay {
    /// Opens what a container needs in that mode, below its run directory.
    pub(crate) fn open(address: &str, mode: NotifyMode, run_dir: &Path) -> io::Result<Self> {
        let manager = Manager::parse(address)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = || socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
        let inside = match mode {
            NotifyMode::Container => {
                let (inside, dir) = (socket()?, run_dir.join(DIRECTORY));
                std::fs::create_dir(&dir)?;
                std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755))?;
                let (address, _dir) = pipe::address_in(&dir, SOCKET)?;
                rustix::net::bind(&inside, &address)?;
                // Whoever the program runs as.
                std::fs::set_permissions(dir.join(SOCKET), PermissionsExt::from_mode(0o777))?;
                Some(inside)
            }
            _ => None,
        };
        Ok(Self { manager, outside: socket()?, inside, barrier: None, discards: None, is_ready: false })
    }

    /// The container is ready, which its monitor says.
    pub(crate) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// Hands on at most one message, and says what is to be waited for.
    pub(crate) fn step(&mut self, epoll: &Epoll) -> Wait {
        if self.is_ready {
            if self.send(b"READY=1").is_err_and(|e| is_full(&e)) {
                return Wait::Manager;
            }
            self.is_ready = false;
        }
        if self.discards.is_some() {
            return Wait::Discarded;
        }
        if let Some(end) = &self.barrier {
            if !is_hung_up(end) {
                return Wait::Barrier;
            }
            self.give_up(epoll);
            return Wait::Discard;
        }
        let Some(inside) = &self.inside else { return Wait::Inside };
        let mut buffer = [0; MAX_MESSAGE + 1];
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let (message, carries) = match pipe::look(inside, &mut buffer, peek) {
            Ok(look) => (&buffer[..look.len], look.has_fds),
            Err(_) => return Wait::Inside,
        };
        if carries && message == b"BARRIER=1" {
            return self.raise_barrier();
        }
        // One that is longer may be cut in the midst of a line.
        let lines = passed(message).filter(|_| message.len() <= MAX_MESSAGE);
        if lines.is_some_and(|lines| self.send(&lines).is_err_and(|e| is_full(&e))) {
            return Wait::Manager;
        }
        if carries {
            return Wait::Discard;
        }
        self.discard();
        Wait::Pause
    }

    /// Asks the manager, with a descriptor of our own, to say when it has read what came before.
    fn raise_barrier(&mut self) -> Wait {
        let asked = || -> io::Result<OwnedFd> {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            self.manager.connect(&self.outside)?;
            pipe::send(&self.outside, b"BARRIER=1", &[write.as_fd()])?;
            Ok(read)
        };
        match asked() {
            Ok(end) => {
                self.barrier = Some(end);
                Wait::Barrier
            }
            Err(e) if is_full(&e) => Wait::Manager,
            Err(_) => Wait::Discard,
        }
    }

    /// No longer waits for a manager's word.
    pub(crate) fn give_up(&mut self, epoll: &Epoll) {
        if let Some(end) = self.barrier.take() {
            epoll.remove(end);
        }
    }

    /// Whether it waits for that.
    pub(crate) fn has_barrier(&self) -> bool {
        self.barrier.is_some()
    }

    /// Throws away the message that is next; with descriptors only in a process that may wait for ever.
    pub(crate) fn discard(&self) {
        if let Some(inside) = &self.inside {
            let _ = pipe::look(inside, &mut [0], RecvFlags::DONTWAIT);
        }
    }

    /// Hands on what a container that has ended has said last.
    pub(crate) fn finish(&mut self, epoll: &Epoll) {
        for _ in 0..LAST {
            if self.step(epoll) != Wait::Pause {
                return;
            }
        }
    }

    /// Has the loop wait for that.
    pub(crate) fn watch(&self, epoll: &Epoll, token: Token, wait: Wait) -> io::Result<()> {
        if let Some(inside) = &self.inside {
            epoll.set(inside, token, wait == Wait::Inside, false)?;
        }
        if wait == Wait::Manager {
            epoll.set(&self.outside, token, false, true)?;
        } else {
            epoll.remove(&self.outside);
        }
        match &self.barrier {
            Some(end) if wait == Wait::Barrier => epoll.set(end, token, true, false),
            _ => Ok(()),
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.manager.connect(&self.outside)?;
        rustix::net::send(&self.outside, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }
}

/// The manager reads later; with every other failure there is none.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn is_hung_up(end: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_say_how_the_service_is_are_handed_on() {
        let all = "READY=1\nMAINPID=1\nSTATUS=well, and = so\nFDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all\nERRNO=2\nWATCHDOG_USEC=1\n\
                   EXTEND_TIMEOUT_USEC=1000000\nWATCHDOG=trigger\nREADY=2\nERRNO=-1\nERRNO=\nX_OWN=1\nnothing\n\nSTOPPING=1\nRELOADING=1\n\
                   MONOTONIC_USEC=17\nFDSTOREREMOVE=1\nMAINPIDFDID=2\nBARRIER=1\nEXIT_STATUS=0\nRESTART_RESET=1";
        let passed = passed(all.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(passed).unwrap(),
            "READY=1\nSTATUS=well, and = so\nERRNO=2\nEXTEND_TIMEOUT_USEC=1000000\nWATCHDOG=trigger\nSTOPPING=1\nRELOADING=1\n\
             MONOTONIC_USEC=17"
        );
    }

    #[test]
    fn what_is_no_text_is_not_handed_on() {
        for message in
            [&b"STATUS=\xff\xfe"[..], b"STATUS=a\x1b[2J", b"STATUS=a\rMAINPID=1", b"", b"\0", b"READY=1\0"]
        {
            assert_eq!(passed(message), None, "{message:?}");
        }
    }

    #[test]
    fn a_manager_is_a_unix_socket() {
        assert_eq!(Manager::parse("/run/x").unwrap(), Manager::Path("/run/x".into()));
        assert_eq!(Manager::parse("@x").unwrap(), Manager::Abstract(b"x".to_vec()));
        for other in ["", "@", "vsock:2:1234", "run/x"] {
            Manager::parse(other).unwrap_err();
        }
    }
}
