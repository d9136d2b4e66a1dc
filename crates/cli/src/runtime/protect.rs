//! Keeping a container's processes from the file of this program.
//!
//! Whoever joins a container is in sight of the processes in it, and one that may trace others can open the file behind
//! /proc/PID/exe, wait until the program has ended, and write to it (CVE-2019-5736). So a command that becomes visible runs
//! from a copy that cannot be written to: once started, it starts itself again from that.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use anyhow::Context;
use loment_sys::spawn::{is_protected, own_executable};

/// Returns when this program runs from a file that cannot be written to; the first time it does not return.
pub(super) fn ensure() -> anyhow::Result<()> {
    if is_protected() {
        return Ok(());
    }
    let text = |t: OsString| CString::new(t.into_vec()).context("read the command line");
    let arguments = std::env::args_os().map(text).collect::<anyhow::Result<Vec<_>>>()?;
    let variable = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        text(name)
    };
    let environment = std::env::vars_os().map(variable).collect::<anyhow::Result<Vec<_>>>()?;
    let exe = own_executable().context("protect the file of this program")?;
    Err(loment_sys::exec::fexecve(exe.as_fd(), &arguments, &environment))
        .context("start this program again from its protected file")
}
