//! `criu swrk`: the program, and the talk with it.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use loment_cgroup::Entry;
use loment_sys::clone::{CloneFlags, Fork, clone3, unshare};
use loment_sys::mount::SLAVE;
use loment_sys::pipe;
use loment_sys::signal;
use loment_sys::wait::Exit;
use prost::Message as _;
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create};
use rustix::process::Pid;

use super::log::{READ, reasons};
use super::protocol::{Kind, Notification, Request, Response};
use super::{Criu, Error, Images};
use crate::error::Context;
use crate::mounts::{attach, clone_tree, set_root_propagation};
use crate::report::{self, Message};
use crate::{Failure, Stdio, child, helper};

/// The program's descriptors: 3 is its socket, then come the directory of images and that of logs, then what the caller adds.
pub(super) const IMAGES_FD: i32 = 4;
pub(super) const WORK_FD: i32 = 5;
pub(super) const FIRST_FD: i32 = 6;
/// An answer is no longer than this; those of CRIU 4 have some hundred bytes.
const ANSWER: usize = 64 * 1024;

/// Does what the program asks for while it works; a descriptor may come along.
pub(super) type Notified<'a> = dyn FnMut(&Notification, Vec<OwnedFd>) -> Result<(), Error> + 'a;

/// How the program is started.
#[derive(Default)]
pub(super) struct Launch<'a> {
    /// Its streams are ours, which containers inherit; without, it has none, and what it says is kept.
    pub(super) our_streams: bool,
    /// The checkpoint; needed for every request about one.
    pub(super) images: Option<&'a Images>,
    /// Descriptors that it has from [`FIRST_FD`] on.
    pub(super) fds: &'a [BorrowedFd<'a>],
    /// The groups it is in.
    pub(super) entry: Option<&'a Entry>,
    /// A directory, and where it is mounted for the program, in a mount namespace of the program's own.
    pub(super) root: Option<(&'a Path, &'a Path)>,
    /// Nobody else may read the files that it makes.
    pub(super) private: bool,
    /// The id of a container whose session keyring it has.
    pub(super) keyring: Option<&'a str>,
}

/// The program. It ends when this is dropped: for want of a request, if not before.
pub(super) struct Process<'a> {
    criu: &'a Criu,
    socket: Option<OwnedFd>,
    said: Option<File>,
    pidfd: OwnedFd,
    pub(super) pid: Pid,
}

impl<'a> Process<'a> {
    pub(super) fn start(criu: &'a Criu, launch: &Launch<'_>) -> Result<Self, Error> {
        let (carrier, theirs) = report::socket_pair().context("make", "a socket for criu")?;
        let (ours, report) = report::socket_pair().context("make", "the report socket")?;
        let said = (!launch.our_streams).then(|| memfd_create("criu", MemfdFlags::CLOEXEC)).transpose();
        let said = said.context("make", "a file for what criu says")?;
        let cgroup = launch.entry.and_then(Entry::v2);
        let forked = clone3(CloneFlags::empty(), cgroup).context("clone", "a process for criu")?;
        let (pid, pidfd) = match forked {
            Fork::Child => helper::live(&ours, &report, || {
                loment_sys::fd::close_copy(&carrier);
                become_criu(criu, launch, &theirs, said.as_ref(), &report)
            }),
            Fork::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop((theirs, report));
        let mut process = Self { criu, socket: None, said: said.map(File::from), pidfd, pid };
        // The end of the socket is the start of the program.
        if let Message::Failed(failure) = report::receive(&ours).context("start", criu.program.display())? {
            return Err(failure.into());
        }
        let sent = pipe::receive(&carrier, &mut [0]).context("take", "the socket of criu")?;
        process.socket = sent.fds.into_iter().next();
        Ok(process)
    }

    /// Sends a request and answers what the program asks until it has an answer itself. When something that it asks for
    /// fails, the program is told so, undoes what it did, and the failure is returned.
    pub(super) fn ask(&self, request: &Request, notified: &mut Notified<'_>) -> Result<Response, Error> {
        let program = || self.criu.name();
        let socket = self.socket.as_ref().ok_or_else(|| self.no_answer())?;
        let talk = |source| Error::Talk { program: program(), source };
        let send = |request: &Request| match pipe::send(socket, &request.encode_to_vec(), &[]) {
            // It has ended; what it said is read below.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map(drop).map_err(talk),
        };
        send(request)?;
        let mut failed = Ok(());
        let mut buffer = vec![0; ANSWER];
        loop {
            let received = match pipe::receive(socket, &mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => None,
                other => Some(other.map_err(talk)?).filter(|r| r.len > 0),
            };
            let Some(received) = received else { return failed.and(Err(self.no_answer())) };
            let response = Response::decode(&buffer[..received.len])
                .map_err(|source| Error::Garbled { program: program(), source })?;
            if response.kind != i32::from(Kind::Notify) {
                return failed.map(|()| response);
            }
            let done = response.notify.as_ref().map_or(Ok(()), |n| notified(n, received.fds));
            send(&Request { notify_success: Some(done.is_ok()), ..Request::of(Kind::Notify) })?;
            failed = failed.and(done);
        }
    }

    /// What it said on its streams, as the end of a sentence.
    pub(super) fn said(&self) -> String {
        // Not by reading on from somewhere: the position is the program's, too.
        let read = |file: &File| -> io::Result<Vec<u8>> {
            let mut text = vec![0; READ];
            let len = file.read_at(&mut text, 0)?;
            text.truncate(len);
            Ok(text)
        };
        self.said.as_ref().and_then(|file| read(file).ok()).map(|text| reasons(&text)).unwrap_or_default()
    }

    /// It has closed its socket, so it ends.
    fn no_answer(&self) -> Error {
        let ended = match loment_sys::wait::wait_exit(&self.pidfd) {
            Ok(Exit::Code(n)) => format!("ended with status {n}"),
            Ok(Exit::Signal(n)) => format!("was killed by signal {n}"),
            Err(_) => "ended".to_owned(),
        };
        let minimum = super::criu::MINIMUM.to_string();
        Error::NoAnswer { program: self.criu.name(), ended, said: self.said(), minimum }
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // It may wait for a further request.
        self.socket = None;
        let _ = loment_sys::wait::wait_exit(&self.pidfd);
    }
}

/// The life of its process until it is the program.
fn become_criu(
    criu: &Criu,
    launch: &Launch<'_>,
    carrier: &OwnedFd,
    said: Option<&OwnedFd>,
    report: &OwnedFd,
) -> Result<Infallible, Failure> {
    signal::reset_dispositions();
    signal::set_mask(&signal::SignalSet::empty()).context("reset", "the signal mask")?;
    if let Some(entry) = launch.entry {
        entry.join().context("join", "cgroup")?;
    }
    if launch.private {
        rustix::process::umask(Mode::from_raw_mode(0o077));
    }
    if let Some(id) = launch.keyring {
        child::join_keyring(id)?;
    }
    if let Some((source, point)) = launch.root {
        mount_root(source, point).context("mount root file system", source.display())?;
    }
    let directories = launch.images.map(|images| directories(images, launch.root.is_some())).transpose();
    let directories = directories.context("open", "the directory of the checkpoint")?;
    // Made here, and not by the caller: the program looks up descriptors that it is told of in whoever made its socket, and
    // may mount something only in directories that were opened in its own mount namespace.
    let (socket, other) = report::socket_pair().context("make", "a socket for criu")?;
    pipe::send(carrier, b"s", &[other.as_fd()]).context("send", "the socket of criu")?;
    if let Some(said) = said {
        let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let null = null.context("open", "/dev/null")?;
        let streams = Stdio::Files([null.as_fd(), said.as_fd(), said.as_fd()]);
        streams.install().context("install", "standard streams")?;
    }
    let mut keep = vec![socket.as_fd()];
    keep.extend(directories.iter().flatten().map(AsFd::as_fd));
    keep.extend(launch.fds);
    keep.push(report.as_fd());
    let mut kept = loment_sys::fd::keep_only(&keep, 3).context("close", "descriptors")?;
    // It closes with the start of the program.
    let Some(report) = kept.pop() else { loment_sys::process::exit_now(1) };
    std::mem::forget((directories, socket, other));
    let run = || -> Result<Infallible, Failure> {
        for fd in &kept {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).context("hand on", "descriptors")?;
        }
        let program = CString::new(criu.program.as_os_str().as_bytes())
            .map_err(io::Error::other)
            .context("run", criu.program.display())?;
        let arguments = [c"criu", c"swrk", c"3"].map(CString::from);
        let error = loment_sys::exec::execve(&program, &arguments, &criu.environment);
        Err(error).context("run", criu.program.display())
    };
    let Err(failure) = run();
    report::send_failure(&report, &failure);
    loment_sys::process::exit_now(1)
}

/// The directories of images and of logs.
fn directories(images: &Images, anew: bool) -> io::Result<[OwnedFd; 2]> {
    let (images, work) = (images.directory(), images.work_directory());
    let open = |(path, fd): (&Path, &OwnedFd)| -> io::Result<OwnedFd> {
        if !anew {
            return fd.try_clone();
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
    };
    Ok([open(images)?, open(work)?])
}

/// CRIU wants a root that is a mount point; nobody else needs to see it, and nobody has to unmount it.
fn mount_root(source: &Path, point: &Path) -> io::Result<()> {
    unshare(CloneFlags::NEWNS)?;
    set_root_propagation(SLAVE, true)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(CWD, point, flags, Mode::empty())?;
    attach(&clone_tree(CWD, source, true)?, &target)
}

/// The answer, if the program did what it was asked; else why not. `about` is the operation, and the name of its log.
pub(super) fn accept(
    criu: &Criu,
    images: &Images,
    answer: Result<Response, Error>,
    about: (&'static str, &str),
    said: &str,
) -> Result<Response, Error> {
    let (response, ended) = match answer {
        Ok(response) if response.success => return Ok(response),
        Ok(response) => (response, String::new()),
        Err(Error::NoAnswer { ended, .. }) => (Response::default(), format!(", which {ended}")),
        Err(e) => return Err(e),
    };
    let (operation, log) = about;
    let mut reason = images.log_reasons(log);
    if reason.is_empty() {
        reason = said.to_owned();
    }
    if reason.is_empty() {
        let errno = response.cr_errno.filter(|n| *n > 0).map(io::Error::from_raw_os_error);
        let message = response.cr_errmsg.or_else(|| errno.map(|e| e.to_string()));
        reason = message.map(|text| format!(": {text}")).unwrap_or_default();
    }
    let (program, version, log) = (criu.name(), criu.version(), images.log_name(log));
    Err(Error::Refused { operation, program, version, reason: ended + &reason, log })
}
