//! Programs of others that this one runs.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_image::conf::HookProgram;
use loment_sys::spawn::{Exe, Program, spawn};
use rustix::fs::{Access, access};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::containers_conf::variables as configured;
use crate::ecosystem::variable;

/// The first program of that name in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
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
    let (from, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let child = start_with(file, words, &[], [stdin, output.as_fd(), stderr])?;
    Ok((child, File::from(from)))
}

/// Starts a hook, whose arguments begin with its name. Its environment is its own, or else this one's.
pub(crate) fn start_hook(hook: &HookProgram, streams: [BorrowedFd<'_>; 3]) -> io::Result<OwnedFd> {
    let path = hook.path.to_string_lossy().into_owned();
    let words: Vec<&str> = match hook.args.as_slice() {
        [] => vec![path.as_str()],
        args => args.iter().map(String::as_str).collect(),
    };
    if hook.env.is_empty() {
        return start_with(&hook.path, &words, &[], streams);
    }
    let text = |word: &str| CString::new(word).map_err(io::Error::other);
    let (_, child) = spawn(&Program {
        exe: Exe::Path(&text(&path)?),
        argv: &words.iter().map(|word| text(word)).collect::<io::Result<Vec<_>>>()?,
        envp: &hook.env.iter().map(|entry| text(entry)).collect::<io::Result<Vec<_>>>()?,
        fds: &streams,
        cgroup: None,
        tasks: &[],
        orphan: false,
    })?;
    Ok(child)
}

/// The same with further variables, and streams of the caller's.
pub(crate) fn start_with(
    file: &Path,
    words: &[&str],
    variables: &[(&str, &str)],
    streams: [BorrowedFd<'_>; 3],
) -> io::Result<OwnedFd> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let configured = configured().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let configured = configured.filter(|(name, _)| !variables.iter().any(|(other, _)| name == other));
    let variables: Vec<_> = configured.chain(variables.iter().copied()).collect();
    let is_own = |(name, _): &(std::ffi::OsString, _)| !variables.iter().any(|(other, _)| name == other);
    let environment = std::env::vars_os()
        .filter(is_own)
        .map(|(name, value)| text(&[name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat()));
    let further = variables.iter().map(|(name, value)| text(format!("{name}={value}").as_bytes()));
    // Not by the standard library's `Command`: it takes fork(2) of the C library along, and with it all of its name services.
    let (_, child) = spawn(&Program {
        exe: Exe::Path(&text(file.as_os_str().as_encoded_bytes())?),
        argv: &words.iter().map(|word| text(word.as_bytes())).collect::<io::Result<Vec<_>>>()?,
        envp: &environment.chain(further).collect::<io::Result<Vec<_>>>()?,
        fds: &streams,
        cgroup: None,
        tasks: &[],
        orphan: false,
    })?;
    Ok(child)
}
