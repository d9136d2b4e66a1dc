//! Programs of others that this one runs.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_sys::spawn::{Exe, Program, spawn};
use rustix::fs::{Access, access};
use rustix::pipe::{PipeFlags, pipe_with};

/// The first program of that name in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let runs = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).find(runs)
}

/// Starts a program with this one's environment; gives the process, which is to be waited for, and what it writes.
pub(crate) fn start(
    file: &Path,
    words: &[&str],
    stdin: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> io::Result<(OwnedFd, File)> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let environment = std::env::vars_os()
        .map(|(name, value)| text(&[name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat()));
    let (from, output) = pipe_with(PipeFlags::CLOEXEC)?;
    // Not by the standard library's `Command`: it takes fork(2) of the C library along, and with it all of its name services.
    let (_, child) = spawn(&Program {
        exe: Exe::Path(&text(file.as_os_str().as_encoded_bytes())?),
        argv: &words.iter().map(|word| text(word.as_bytes())).collect::<io::Result<Vec<_>>>()?,
        envp: &environment.collect::<io::Result<Vec<_>>>()?,
        fds: &[stdin, output.as_fd(), stderr],
        cgroup: None,
        tasks: &[],
    })?;
    Ok((child, File::from(from)))
}
