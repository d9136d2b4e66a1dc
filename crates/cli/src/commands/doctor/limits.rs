//! Limits that many containers reach: descriptors, watches, processes, keys. And randomness.

use std::fmt::Display;
use std::fs::read_to_string;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Finding, Findings};
use crate::rootless;

/// A command holds some for each layer of an image and each container it looks at.
const DESCRIPTORS: u64 = 1024;
/// What one program that watches files takes, and containers have several.
const INSTANCES: u64 = 128;
const WATCHES: u64 = 8192;
const PROCESSES: u64 = 4096;

pub(super) fn find() -> Vec<Finding> {
    let mut found = Findings::about("limits");
    match getrandom(&mut [0_u8; 8][..], GetRandomFlags::NONBLOCK) {
        Ok(_) => found.fine("there is randomness"),
        Err(_) => found.problem(
            "the kernel has not gathered enough randomness yet",
            "wait, or give the virtual machine a virtio-rng device: ids and TLS need it",
        ),
    }
    least(
        &mut found,
        "descriptors of a process (RLIMIT_NOFILE)",
        getrlimit(Resource::Nofile).maximum,
        DESCRIPTORS,
        "raise it: ulimit -Hn, or LimitNOFILE= of the service",
    );
    least(
        &mut found,
        "processes of the user (RLIMIT_NPROC)",
        getrlimit(Resource::Nproc).maximum,
        PROCESSES,
        "raise it: ulimit -Hu, or LimitNPROC= of the service",
    );
    for (name, enough) in [
        ("fs.inotify.max_user_instances", INSTANCES),
        ("fs.inotify.max_user_watches", WATCHES),
        ("kernel.pid_max", 32_768),
        ("kernel.threads-max", PROCESSES),
    ] {
        match setting(name) {
            Some(value) => {
                least(&mut found, name, Some(value), enough, format_args!("sysctl -w {name}={}", enough * 4));
            }
            None => found.note(format_args!("{name} cannot be read"), ""),
        }
    }
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let name = format!("user.max_{kind}_namespaces");
        if setting(&name) == Some(0) {
            found.problem(
                format_args!("{name} is 0: containers need such namespaces"),
                format_args!("sysctl -w {name}=15000"),
            );
        }
    }
    keys(&mut found);
    found.all
}

fn setting(name: &str) -> Option<u64> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    read_to_string(path).ok()?.trim().parse().ok()
}

/// Says whether there may be enough of something; `None` is any number.
fn least(found: &mut Findings, what: &str, value: Option<u64>, enough: u64, advice: impl Display) {
    match value {
        None => found.fine(format_args!("{what}: no limit")),
        Some(value) if value < enough => {
            found.note(format_args!("{what}: {value}, which many containers reach"), advice);
        }
        Some(value) => found.fine(format_args!("{what}: {value}")),
    }
}

/// Each container has a key ring of its starter's (keyrings(7)).
fn keys(found: &mut Findings) {
    let (user, limit) = match rootless::user() {
        0 => (0, "kernel.keys.root_maxkeys"),
        user => (user, "kernel.keys.maxkeys"),
    };
    // UID: usage nkeys/nikeys qnkeys/maxkeys qnbytes/maxbytes
    let text = read_to_string("/proc/key-users").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{user}:")));
    let figures = line.and_then(|line| line.split_whitespace().nth(2)?.split_once('/'));
    let figures = figures.and_then(|(used, most)| Some((used.parse().ok()?, most.parse().ok()?)));
    let Some((used, most)): Option<(u64, u64)> = figures else {
        return match setting(limit) {
            Some(most) => found.fine(format_args!("keys of the user: none of {most}")),
            None => found.note("how many keys the user may have cannot be found out", ""),
        };
    };
    match used.saturating_add(20) > most {
        true => found.note(
            format_args!("keys of the user: {used} of {most}: each container has one"),
            format_args!("sysctl -w {limit}={}, or --no-keyring", most.saturating_mul(4)),
        ),
        false => found.fine(format_args!("keys of the user: {used} of {most}")),
    }
}
