//! Finding the program, as execvp(3) does, in the container's own file system.

use std::ffi::{CStr, CString};
use std::io;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::plan::ProcessPlan;
use crate::{Cause, Failure};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of the program, and nothing run yet.
///
/// Engines match on the wording of these failures (podman: libpod/oci_util.go).
pub(crate) fn find(p: &ProcessPlan) -> Result<CString, Failure> {
    let name = &p.args[0];
    let missing = |e: Errno, object: String| Failure {
        cause: if e == Errno::NOENT || e == Errno::NOTDIR { Cause::NotFound } else { Cause::NotExecutable },
        operation: "run".into(),
        object,
        source: e.into(),
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
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// What a failed execve means.
pub(crate) fn exec_failure(path: &CStr, error: io::Error) -> Failure {
    let cause = match error.raw_os_error() {
        // The file was seen: what is missing is its interpreter.
        Some(2) => Cause::NotFound,
        _ => Cause::NotExecutable,
    };
    Failure {
        cause,
        operation: "run".into(),
        object: format!("executable `{}`", path.to_string_lossy()),
        source: error,
    }
}
