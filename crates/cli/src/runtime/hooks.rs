//! Hooks after a container's start and after its end.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use loment_runtime::{Description, Hooks};
use oci_spec::runtime::{ContainerState, Spec};

use super::log::Log;
use crate::error::one_line_in_c;

/// The environment of this process, for hooks that name none.
pub(crate) fn environment() -> Vec<CString> {
    let variable = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(variable).collect()
}

/// The hooks of a container, for after its start and its end.
pub(crate) fn of(spec: &Spec) -> Result<Hooks, loment_runtime::Error> {
    let mut hooks = Hooks::of(spec)?;
    hooks.inherit(environment);
    Ok(hooks)
}

/// Whether there is something in the configuration for `start` and `delete` to do.
pub(crate) fn attended(spec: &Spec) -> bool {
    let hooks = spec.hooks().as_ref();
    hooks.is_some_and(|h| {
        // Those of the container's run at its start, which opens the files that they write to.
        h.poststart().is_some() || h.poststop().is_some() || h.start_container().is_some()
    })
}

/// Runs the hooks for a program that has been started.
pub(crate) fn started(
    hooks: &Hooks,
    description: &Description<'_>,
    pid: i32,
    bundle: &Path,
) -> Result<(), loment_runtime::Error> {
    hooks.run_poststart(&description.json(ContainerState::Running, pid), bundle)
}

/// Runs the hooks for a container that is gone. What fails is only said (runtime-spec, runtime.md, lifecycle, 13).
pub(crate) fn stopped(hooks: &Hooks, description: &Description<'_>, bundle: &Path, log: &Log) {
    for failure in hooks.run_poststop(&description.json(ContainerState::Stopped, 0), bundle) {
        log.warn(&one_line_in_c(&failure));
    }
}
