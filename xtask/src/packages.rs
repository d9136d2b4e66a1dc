//! What tests need from the machine: Debian packages and cargo-nextest.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::run;

/// Debian packages that tests use; `busybox-static` rather than `busybox`, which it replaces. Peers and servers are real ones: a registry, other tools' images, other runtimes.
pub const TESTS: &[&str] = &[
    "attr",
    "buildah",
    "busybox-static",
    "conmon",
    "containerd",
    "criu",
    "crun",
    "debootstrap",
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "erofs-utils",
    "fish",
    "g++",
    "gcc",
    "gnupg",
    "iproute2",
    "jq",
    "libc6-dev",
    "libcap2-bin",
    "libseccomp-dev",
    "mandoc",
    "nftables",
    "podman",
    "procps",
    "python3-venv",
    "runc",
    "skopeo",
    "strace",
    "tmux",
    "umoci",
    "util-linux",
    "zsh",
    "zstd",
];

/// Debian packages that make and run the machine of [`crate::vm`].
pub const MACHINE: &[&str] =
    &["busybox-static", "debootstrap", "e2fsprogs", "qemu-system-x86", "tar", "util-linux", "xz-utils"];

/// Debian packages that only benchmarks use: the programs we are compared with.
pub const PEERS: &[&str] = &["crun", "podman", "runc", "time"];

/// Known to build with the oldest toolchain we support.
const NEXTEST: &str = "0.9.143";

/// Installs those of `packages` that are missing; says nothing when none is.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    if run::which("dpkg-query").is_none() {
        bail!("this is not a Debian machine: install what corresponds to {} yourself", packages.join(" "));
    }
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Abbrev}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()
        .context("start dpkg-query")?;
    let missing = missing(packages, &String::from_utf8_lossy(&query.stdout));
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root()? {
        bail!("missing packages: run as root, or `sudo apt-get install {list}` first");
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["--quiet", "--yes"]);
        command
    };
    run::succeed(apt().arg("update")).context("refresh the package lists")?;
    run::succeed(apt().args(["install", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("install {list}"))
}

/// Those of `packages` that dpkg's answer (lines of `name status`) does not call installed.
fn missing<'a>(packages: &[&'a str], answer: &str) -> Vec<&'a str> {
    let installed: Vec<&str> = answer
        .lines()
        .filter_map(|l| l.split_once(' '))
        .filter(|(_, s)| s.starts_with("ii"))
        .map(|(n, _)| n)
        .collect();
    packages.iter().copied().filter(|p| !installed.contains(p)).collect()
}

/// Installs cargo-nextest when `cargo nextest` does not answer.
pub fn install_nextest() -> anyhow::Result<()> {
    let answers = run::cargo(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if answers.is_ok_and(|s| s.success()) {
        return Ok(());
    }
    // Not in the workspace: its build target and flags are for our binary.
    let mut install = run::cargo(["install", "cargo-nextest", "--locked", "--version", NEXTEST]);
    run::succeed(install.current_dir("/")).context("install cargo-nextest")
}

/// Whether we are the superuser of the initial user namespace, or at least of ours.
pub fn is_root() -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")).unwrap_or_default();
    Ok(uid.split_whitespace().nth(1) == Some("0"))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_dpkg_does_not_call_installed_is_missing() {
        let answer = "gcc ii \njq rc \nrunc un \n";
        assert_eq!(missing(&["gcc", "jq", "runc", "crun"], answer), ["jq", "runc", "crun"]);
    }

    #[test]
    fn nothing_is_missing_when_all_is_there() {
        assert!(missing(&["gcc"], "gcc ii \nother ii \n").is_empty());
    }
}
