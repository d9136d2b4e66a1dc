//! What others provide: programs that some commands run, systemd, and the resolver's configuration.

use std::path::Path;

use loment_cgroup::systemd::Manager;

use super::{Finding, Findings};
use crate::programs;

const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) fn find() -> Vec<Finding> {
    let mut found = Findings::about("programs");
    for (program, package, what) in [
        ("criu", "criu", "checkpoint and restore"),
        ("journalctl", "systemd", "logs of containers with the log driver journald"),
    ] {
        match programs::find(program) {
            Some(path) => found.fine(format_args!("{} is there", path.display())),
            None => found.note(
                format_args!("{program} is not in PATH: {what} need it"),
                format_args!("install the package {package}, if you need that"),
            ),
        }
    }
    match Manager::is_running() {
        true => found.fine("systemd manages this machine"),
        false => found.fine("systemd does not manage this machine: control groups are made without it"),
    }
    names(&mut found);
    found.all
}

/// Who is asked for addresses of registries.
fn names(found: &mut Findings) {
    let advice = "write a line nameserver ADDRESS; without one, a server on this machine is asked";
    let text = match std::fs::read_to_string(RESOLV_CONF) {
        Ok(text) => text,
        Err(error) => {
            let what =
                match Path::new(RESOLV_CONF).is_symlink() && error.kind() == std::io::ErrorKind::NotFound {
                    true => format!("{RESOLV_CONF} is a link to nothing"),
                    false => format!(
                        "{RESOLV_CONF} cannot be read: {}",
                        crate::error::without_numbers(&error.to_string())
                    ),
                };
            return found.note(what, advice);
        }
    };
    let servers: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    match servers.as_slice() {
        [] => found.note(format_args!("{RESOLV_CONF} names no server"), advice),
        servers => found.fine(format_args!("{RESOLV_CONF} names {}", servers.join(", "))),
    }
}
