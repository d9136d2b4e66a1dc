//! Labels of security modules: AppArmor profiles and SELinux contexts, for the program that is run next.

use std::io;
use std::path::Path;

use oci_spec::runtime::Process;

use crate::error::{Context, invalid};
use crate::proc_handle::ProcHandle;
use crate::{Error, Failure};

/// Of one process.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Labels {
    /// Takes a process's labels.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label of a module that this machine does not run: a program that is believed to be confined
    /// must not run unconfined.
    pub(crate) fn new(p: &Process) -> Result<Self, Error> {
        let given = |label: &Option<String>| label.clone().filter(|l| !l.is_empty());
        let (apparmor, selinux) = (given(p.apparmor_profile()), given(p.selinux_label()));
        if let Some(profile) = &apparmor
            && !has_apparmor()
        {
            let reason = format!("AppArmor is not enabled here, so profile {profile:?} cannot be applied");
            return Err(invalid("process.apparmorProfile", reason));
        }
        if let Some(label) = &selinux
            && !has_selinux()
        {
            let reason = format!("SELinux is not enabled here, so label {label:?} cannot be applied");
            return Err(invalid("process.selinuxLabel", reason));
        }
        Ok(Self { apparmor, selinux })
    }

    /// Sets them for the next execve of this thread, through a procfs of our own (CVE-2019-19921).
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        if let Some(profile) = &self.apparmor {
            let value = format!("exec {profile}");
            // The second is that of all modules, before Linux 5.8.
            write(&["thread-self/attr/apparmor/exec", "thread-self/attr/exec"], &value)
                .map_err(|e| if e.kind() == io::ErrorKind::NotFound { not_loaded() } else { e })
                .context("apply AppArmor profile", profile)?;
        }
        self.write_selinux("thread-self/attr/exec")
    }

    /// Sets the label of keyrings this thread makes.
    pub(crate) fn apply_to_keys(&self) -> Result<(), Failure> {
        self.write_selinux("thread-self/attr/keycreate")
    }

    fn write_selinux(&self, file: &str) -> Result<(), Failure> {
        let Some(label) = &self.selinux else { return Ok(()) };
        write(&[file], label)
            .map_err(|e| if e.kind() == io::ErrorKind::InvalidInput { unknown() } else { e })
            .context("apply SELinux label", label)
    }
}

/// The kernel's "no such file", where its file is there.
fn not_loaded() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it is not loaded: load it with apparmor_parser")
}

/// The kernel's "invalid argument" for a label.
pub(crate) fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the loaded policy has no such label")
}

fn write(files: &[&str], value: &str) -> io::Result<()> {
    let proc = ProcHandle::new()?;
    let mut result = Ok(());
    for file in files {
        result = proc.write(file, value.as_bytes());
        match &result {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}

/// Whether the kernel confines programs by AppArmor.
pub fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// Whether the kernel confines programs by SELinux, and a policy is loaded. Without one it takes any label and does nothing
/// (`security_context_to_sid_core` in its security/selinux/ss/services.c), and calls every process `kernel`.
pub fn has_selinux() -> bool {
    let own = || std::fs::read("/proc/thread-self/attr/current");
    Path::new("/sys/fs/selinux/enforce").exists()
        && own().is_ok_and(|label| label.strip_suffix(b"\0").unwrap_or(&label) != b"kernel")
}
