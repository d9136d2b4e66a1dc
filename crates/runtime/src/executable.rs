//! Finding the program, as execvp(3) does, in the container's own file system.

use std::ffi::{CStr, CString};
use std::io;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::plan::ProcessPlan;
use crate::{Cause, Failure};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How deep scripts may name scripts as their interpreters (execve(2): the kernel's own limit).
const MAX_INTERPRETERS: u32 = 5;
/// How much of a program is looked into; its headers and the name of its interpreter come first.
const HEAD: usize = 4096;

/// The path of the program, and nothing run yet.
///
/// Engines match on the wording of these failures (podman: libpod/oci_util.go; docker: cli/command/container/run.go).
pub(crate) fn find(p: &ProcessPlan) -> Result<CString, Failure> {
    let name = &p.args[0];
    let missing = |e: Errno, object: String| Failure {
        cause: if e == Errno::NOENT || e == Errno::NOTDIR { Cause::NotFound } else { Cause::NotExecutable },
        operation: "run".into(),
        object,
        source: in_lower_case(e.into()),
    };
    let shown = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        return match check(name) {
            Ok(()) => Ok(name.clone()),
            Err(e) => Err(missing(e, format!("executable `{shown}`"))),
        };
    }
    let path =
        p.env.iter().find_map(|e| e.to_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH.as_bytes());
    let mut worst = Errno::NOENT;
    for dir in path.split(|&b| b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let candidate = [dir, b"/", name.to_bytes()].concat();
        let candidate = CString::new(candidate).expect("made of strings without NUL");
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => worst = e,
        }
    }
    Err(missing(worst, format!("executable file `{shown}` not found in $PATH")))
}

fn check(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(Errno::ACCESS);
    }
    // Effective ids: the user has been assumed already.
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    refuse_own_program(path, 0)
}

/// A program that is /proc/self/exe, or an interpreter that is, would be this very program, run with the container's
/// arguments (CVE-2019-5736): links that lead to open files are not followed, neither by the program nor by what it names
/// as its interpreter.
fn refuse_own_program(path: &CStr, depth: u32) -> Result<(), Errno> {
    if depth > MAX_INTERPRETERS {
        return Err(Errno::LOOP);
    }
    let open = |flags| {
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    };
    match open(OFlags::PATH) {
        Ok(_) => {}
        // Hidden by a filter around us: the file on the host is read-only to it all the same.
        Err(Errno::NOSYS | Errno::PERM) => return Ok(()),
        Err(e) => return Err(e),
    }
    // A program that may only be executed cannot be looked into.
    let Ok(file) = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) else { return Ok(()) };
    let mut head = vec![0; HEAD];
    let n = rustix::io::read(&file, &mut head).unwrap_or(0);
    match interpreter(&head[..n]) {
        // A missing interpreter is execve's to report.
        Some(next) => match refuse_own_program(&next, depth + 1) {
            Err(Errno::LOOP) => Err(Errno::LOOP),
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

/// What a file's first bytes name as its interpreter: after `#!`, or in an ELF file's PT_INTERP (elf(5)).
fn interpreter(head: &[u8]) -> Option<CString> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&b| b == b'\n' || b == 0).next()?;
        let name = line.split(|&b| b == b' ' || b == b'\t').find(|word| !word.is_empty())?;
        return CString::new(name).ok();
    }
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let entries = (0..count.min(64)).filter_map(|i| table.checked_add(i.checked_mul(size)?));
    let interp = entries.into_iter().find(|&at| number(at, 4) == Some(3))?;
    let (start, len) = (number(interp + 8, 8)?, number(interp + 32, 8)?);
    let name = head.get(start..start.checked_add(len)?)?;
    CString::new(name.split(|&b| b == 0).next()?).ok()
}

/// What a failed execve of `path` means.
pub(crate) fn exec_failure(p: &ProcessPlan, path: &CStr, error: io::Error) -> Failure {
    let cause = match error.raw_os_error() {
        // The file was seen: what is missing is its interpreter.
        Some(2) => Cause::NotFound,
        _ => Cause::NotExecutable,
    };
    let mut object = format!("executable `{}`", path.to_string_lossy());
    if Errno::from_io_error(&error) == Some(Errno::TOOBIG) {
        object += &format!(" with {}", excess(&p.args, &p.env));
    }
    Failure { cause, operation: "run".into(), object, source: in_lower_case(error) }
}

/// The kernel's reason as runc writes it, which Docker's command line takes for the exit status.
fn in_lower_case(error: io::Error) -> io::Error {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let Some(first) = text.chars().next() else { return error };
    io::Error::other(format!("{}{}", first.to_ascii_lowercase(), &text[first.len_utf8()..]))
}

/// The longest single string execve(2) takes, with its NUL: 32 pages.
const MAX_STRING: usize = 32 * 4096;

/// What of a program's arguments and environment is too long for execve(2): one of them, or all together.
fn excess(args: &[CString], env: &[CString]) -> String {
    let len = |s: &CString| s.as_bytes_with_nul().len();
    if let Some(s) = args.iter().find(|s| len(s) > MAX_STRING) {
        return format!("an argument of {} bytes (at most {})", len(s) - 1, MAX_STRING - 1);
    }
    if let Some(s) = env.iter().find(|s| len(s) > MAX_STRING) {
        let name = s.to_bytes().split(|&b| b == b'=').next().unwrap_or_default();
        let name = String::from_utf8_lossy(&name[..name.len().min(64)]);
        return format!("environment variable {name} of {} bytes (at most {})", len(s) - 1, MAX_STRING - 1);
    }
    // Each has a pointer, too. The limit: a quarter of the stack's, between 128 KiB and 6 MiB.
    let sum: usize = args.iter().chain(env).map(|s| len(s) + size_of::<usize>()).sum();
    let stack = rustix::process::getrlimit(rustix::process::Resource::Stack).current;
    let most = (stack.unwrap_or(u64::MAX) / 4).clamp(MAX_STRING as u64, 6 << 20);
    format!("{sum} bytes of arguments and environment (at most {most})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_found() {
        assert_eq!(interpreter(b"#! /bin/sh -e\n").unwrap().as_c_str(), c"/bin/sh");
        assert_eq!(interpreter(b"#!/proc/self/exe").unwrap().as_c_str(), c"/proc/self/exe");
        assert!(
            interpreter(b"#!\n").is_none() && interpreter(b"").is_none() && interpreter(b"\x7fELF").is_none()
        );
        let mut elf = vec![0u8; 256];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 1);
        elf[64] = 3;
        (elf[72], elf[96]) = (128, 8);
        elf[128..136].copy_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&elf).unwrap().as_c_str(), c"/lib/ld");
        elf[39] = 0xff;
        assert!(interpreter(&elf).is_none());
    }
}
