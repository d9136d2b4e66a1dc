//! Hooks after a container's start and after its end.

use std::path::Path;

use loment_runtime::{Description, Hooks};
use oci_spec::runtime::{ContainerState, Spec};

use super::log::Log;
use crate::error::one_line;

/// Whether there is something in the configuration for `start` and `delete` to do.
pub(crate) fn attended(spec: &Spec) -> bool {
    let hooks = spec.hooks().as_ref();
    let late = hooks.is_some_and(|h| h.poststart().is_some() || h.poststop().is_some());
    let seccomp = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    late || seccomp.is_some_and(|s| s.listener_path().is_some())
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
        log.warn(&one_line(&failure));
    }
}
