//! Checks of a container's health.

use std::path::Path;

use loment_runtime::Created;
use loment_sys::clone::{CloneFlags, Fork, clone3};

use super::exec;
use crate::health::Report;
use crate::launch::{Document, Place};
use crate::protocol::Exec;
use crate::session::Setup;
use crate::{Error, groups};

/// The failure of a check of a container that is paused: its program would be, too.
pub(crate) const PAUSED: &str = "check the health of the container: it is paused";

/// Runs a check.
pub(crate) fn check(
    document: &Document,
    place: &Place,
    pid: i32,
    request: &Exec,
    setup: &Setup,
) -> Result<Created, Error> {
    if groups::to_join(&groups::host(place)?, place)?.is_frozen() {
        let source = std::io::Error::other("it is paused");
        return Err(Error::Io { operation: "check the health of", object: "the container".into(), source });
    }
    exec(document, place, pid, request, (setup.ends.as_ref(), &[]))
}

/// Writes what is known to a directory of the user's choice, which may be anywhere: nobody waits for it.
pub(crate) fn copy_health(place: &Place, directory: &Path, report: &Report) {
    if let Ok(Fork::Child) = clone3(CloneFlags::empty(), None) {
        let path = directory.join(format!("{}-healthcheck.log", place.id));
        let new = directory.join(format!(".{}-healthcheck.log", place.id));
        let written = serde_json::to_vec(report).map(|text| std::fs::write(&new, text));
        if matches!(written, Ok(Ok(()))) {
            let _ = std::fs::rename(new, path);
        }
        loment_sys::process::exit_now(0)
    }
}
