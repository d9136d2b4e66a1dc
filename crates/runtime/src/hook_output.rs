//! Where hooks write: into the error message of one that fails, or to the end of files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::Failure;
use crate::annotations::Annotations;
use crate::error::Context;

/// Files for standard output and error; where there is none, the end of what is written is shown when a hook fails.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Output {
    /// Opens the files that annotations name, with the caller's rights; one that is missing is made, for the caller only.
    ///
    /// # Errors
    /// [`Failure`] names the file.
    pub(crate) fn open(annotations: &Annotations) -> Result<Self, Failure> {
        let open = |path: &Option<_>| path.as_deref().map(append).transpose();
        Ok(Self { stdout: open(&annotations.hooks_stdout)?, stderr: open(&annotations.hooks_stderr)? })
    }

    /// The streams of a hook whose output is captured by `captured`.
    pub(crate) fn streams<'a>(&'a self, captured: &'a OwnedFd) -> [BorrowedFd<'a>; 2] {
        [&self.stdout, &self.stderr].map(|file| file.as_ref().unwrap_or(captured).as_fd())
    }

    /// The open files, standard output's first.
    pub(crate) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stdout.iter().chain(&self.stderr).map(AsFd::as_fd)
    }

    /// The same with the descriptors that its files have got, in the order of [`Output::files`].
    pub(crate) fn moved_to(&self, files: &mut impl Iterator<Item = OwnedFd>) -> Self {
        let mut next = |file: &Option<OwnedFd>| file.as_ref().and_then(|_| files.next());
        let stdout = next(&self.stdout);
        Self { stdout, stderr: next(&self.stderr) }
    }
}

fn append(path: &Path) -> Result<OwnedFd, Failure> {
    let open = || -> io::Result<OwnedFd> {
        // A pipe without a reader is an error, not a reason to wait.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(CWD, path, flags | OFlags::NOCTTY | OFlags::CLOEXEC, mode)?;
        rustix::io::ioctl_fionbio(&file, false)?;
        Ok(file)
    };
    open().context("open the file for what hooks write,", path.display())
}
