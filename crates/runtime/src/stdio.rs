//! Standard input, output and error of a container's program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::Winsize;

use crate::InRoot;
use crate::mounts::{attach, clone_tree};

/// linux/magic.h
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Where the program's standard streams come from. With a terminal they are its secondary side, whatever is given.
#[derive(Clone, Copy, Debug)]
pub enum Stdio<'a> {
    /// The caller's own.
    Inherit,
    /// Standard input, output and error.
    Files([BorrowedFd<'a>; 3]),
}

impl Stdio<'_> {
    /// Copies, so that installing one at its number cannot overwrite another.
    pub(crate) fn install(self) -> io::Result<()> {
        let Self::Files(files) = self else { return Ok(()) };
        let copies = [above(files[0])?, above(files[1])?, above(files[2])?];
        for (number, fd) in copies.iter().enumerate() {
            loment_sys::fd::install_at(fd, number as i32)?;
        }
        Ok(())
    }
}

/// Gives streams that are the host's null device the container's own instead: no file of the host's mounts is open in a
/// container that did not have to be, which CRIU could not save. One without such a device keeps them.
pub(crate) fn reopen_null() -> io::Result<()> {
    let is_null = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).is_ok_and(|s| is_null_device(&s));
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    if !streams.iter().any(|fd| is_null(*fd)) {
        return Ok(());
    }
    let open = |flags: OFlags| -> Option<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(rustix::fs::CWD, "/dev/null", flags, Mode::empty()).ok()?;
        is_null(fd.as_fd()).then_some(fd)
    };
    // What else an image may have there is not even opened. Only somebody who shares its /dev could exchange it now, and what
    // that opens does not wait and is closed again.
    let own = open(OFlags::PATH).and_then(|_| open(OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK));
    let Some(own) = own else { return Ok(()) };
    rustix::io::ioctl_fionbio(&own, false)?;
    for (number, fd) in streams.iter().enumerate() {
        if is_null(*fd) {
            loment_sys::fd::install_at(&own, number as i32)?;
        }
    }
    Ok(())
}

fn is_null_device(stat: &rustix::fs::Stat) -> bool {
    use rustix::fs::{FileType, makedev};
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3)
}

fn above(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// A terminal of the container's own devpts.
pub(crate) struct Terminal {
    pub(crate) primary: OwnedFd,
    secondary: OwnedFd,
}

impl Terminal {
    /// Opens one from `ptmx` below `root`, which must be a devpts's.
    pub(crate) fn open(root: &InRoot, size: (u16, u16)) -> io::Result<Self> {
        let dir = root.resolve_no_links(Path::new("/dev/pts"))?;
        if rustix::fs::fstatfs(&dir)?.f_type != DEVPTS_SUPER_MAGIC {
            return Err(io::Error::other("/dev/pts of the container is not a devpts"));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let primary = rustix::fs::openat(&dir, "ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&primary)?;
        // By descriptor: the path of the secondary may name another device by now (CVE-2025-52565).
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let secondary = ioctl_tiocgptpeer(&primary, flags)?;
        if size != (0, 0) {
            let size = Winsize { ws_row: size.0, ws_col: size.1, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&primary, size)?;
        }
        Ok(Self { primary, secondary })
    }

    /// Mounts the secondary side at /dev/console, which must not be a link of the image (CVE-2025-52565). In a /dev that is
    /// somebody else's (`foreign`) nothing is made for it.
    pub(crate) fn mount_console(&self, root: &InRoot, foreign: bool) -> io::Result<()> {
        let path = Path::new("/dev/console");
        let target = match root.resolve_no_links(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && foreign => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let dev = root.resolve_no_links(Path::new("/dev"))?;
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                drop(rustix::fs::openat(&dev, "console", flags, Mode::from_raw_mode(0o620))?);
                root.resolve_no_links(path)?
            }
            other => other?,
        };
        let tree = clone_tree(self.secondary.as_fd(), Path::new(""), false)?;
        attach(&tree, &target)
    }

    /// Gives it to the user the program runs as.
    pub(crate) fn set_owner(&self, uid: u32) -> io::Result<()> {
        Ok(rustix::fs::fchown(&self.secondary, Some(rustix::fs::Uid::from_raw(uid)), None)?)
    }

    /// Makes it the controlling terminal and the standard streams of this process, a session leader.
    pub(crate) fn install(&self) -> io::Result<()> {
        rustix::process::ioctl_tiocsctty(&self.secondary)?;
        let fd = self.secondary.as_fd();
        Stdio::Files([fd, fd, fd]).install()
    }
}
