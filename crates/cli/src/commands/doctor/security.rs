//! Security modules.

use std::fs::read_to_string;
use std::path::Path;

use super::{Finding, Findings};

/// The label that container-selinux has for processes of containers.
const LABEL: &str = "system_u:system_r:container_t:s0";

pub(super) fn find() -> Vec<Finding> {
    let mut found = Findings::about("security");
    selinux(&mut found);
    apparmor(&mut found);
    found.all
}

fn selinux(found: &mut Findings) {
    let mode = match read_to_string("/sys/fs/selinux/enforce") {
        Ok(text) if text.trim() == "1" => "enforcing",
        Ok(_) => "permissive",
        Err(_) => return found.fine("SELinux is off"),
    };
    // A label that is written there is checked, and nothing else (security_check_context of libselinux).
    match std::fs::write("/sys/fs/selinux/context", LABEL) {
        Ok(()) => found.fine(format_args!("SELinux is {mode}, and its policy knows containers")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            found.note(
                format_args!("SELinux is {mode}; whether its policy knows containers may not be asked"),
                "",
            );
        }
        Err(_) => found.note(
            format_args!("SELinux is {mode}, and its policy does not know containers"),
            "install the package container-selinux: z and Z of volumes need its labels",
        ),
    }
}

fn apparmor(found: &mut Findings) {
    let enabled = read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.trim() == "Y") {
        return found.fine("AppArmor is off");
    }
    match Path::new("/sys/kernel/security/apparmor").is_dir() {
        true => found.fine("AppArmor is on"),
        false => found.note(
            "AppArmor is on, and /sys/kernel/security is not mounted: its profiles cannot be listed",
            "mount -t securityfs none /sys/kernel/security",
        ),
    }
}
