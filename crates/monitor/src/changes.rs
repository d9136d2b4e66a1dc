//! What was changed of a container since it was launched, for its next start by its monitor.
//!
//! `update` writes a document into the run directory, whole or not at all. Whoever starts the program again takes it over, under
//! another name, before anything is started with it; so a program that is run in the container gets what the container was started
//! with, and not what it is to get next time.

use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxResources, PosixRlimit, Process, Spec};
use serde::{Deserialize, Serialize};

/// What is to count from the next start on.
const NEXT: &str = "update.json";
/// What counts.
const NOW: &str = "updated.json";

/// All of what can be changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Limits, but for rules about devices, which stay.
    pub resources: LinuxResources,
    /// `NAME=VALUE`
    pub env: Vec<String>,
    /// Resource limits of its program.
    pub rlimits: Vec<PosixRlimit>,
}

impl Changes {
    /// Writes them for the next start of the container that runs with this run directory.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn save(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join(format!(".{NEXT}"));
        std::fs::write(&new, serde_json::to_vec(self)?)?;
        std::fs::rename(&new, run_dir.join(NEXT))
    }

    /// What the container is started with from now on, if that is not what it was launched with.
    pub(crate) fn take(run_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::rename(run_dir.join(NEXT), run_dir.join(NOW)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Self::now(run_dir),
        }
    }

    /// What it was started with, if that is not what it was launched with.
    pub(crate) fn now(run_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(run_dir.join(NOW)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Puts them into a specification.
    pub(crate) fn apply(self, spec: &mut Spec) {
        if let Some(linux) = spec.linux_mut() {
            let devices = linux.resources().as_ref().and_then(|resources| resources.devices().clone());
            let mut resources = self.resources.clone();
            resources.set_devices(devices);
            linux.set_resources(Some(resources));
        }
        if let Some(process) = spec.process_mut() {
            self.apply_to(process);
        }
    }

    /// Puts those about programs into one.
    pub(crate) fn apply_to(self, process: &mut Process) {
        process.set_env(Some(self.env)).set_rlimits(Some(self.rlimits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_count_from_the_next_start_on() {
        let dir = tempfile::tempdir().unwrap();
        let changes = |name: &str| Changes { env: vec![name.to_owned()], ..Changes::default() };
        let env = |found: Option<Changes>| found.map(|changes| changes.env.join(" "));
        assert_eq!(env(Changes::take(dir.path()).unwrap()), None);
        changes("A=1").save(dir.path()).unwrap();
        assert_eq!(env(Changes::now(dir.path()).unwrap()), None);
        for _ in 0..2 {
            assert_eq!(env(Changes::take(dir.path()).unwrap()).as_deref(), Some("A=1"));
        }
        changes("A=2").save(dir.path()).unwrap();
        assert_eq!(env(Changes::now(dir.path()).unwrap()).as_deref(), Some("A=1"));
        assert_eq!(env(Changes::take(dir.path()).unwrap()).as_deref(), Some("A=2"));
    }
}
