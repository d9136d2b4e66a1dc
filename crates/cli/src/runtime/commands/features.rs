//! `features`.

use loment_runtime::CapabilitySet;
use serde_json::{Value, json};

use super::super::arguments::Arguments;
use super::super::globals::Runtime;
use super::print;

pub(super) const HELP: &str = "\
Print what this runtime supports as JSON

Usage: loment-runtime features

Options:
  -h, --help  Print help
";

/// Each also in its recursive form.
const ATTRIBUTES: [&str; 18] = [
    "atime",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "symfollow",
];
const OTHER_OPTIONS: [&str; 33] = [
    "async",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dirsync",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noiversion",
    "nolazytime",
    "nomand",
    "private",
    "rasync",
    "rbind",
    "remount",
    "ridmap",
    "rnomand",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "sync",
    "tmpcopyup",
    "unbindable",
    "nosuid",
    "nodev",
];

/// Annotations of a `config.json` that have an effect.
const ANNOTATIONS: [&str; 13] = [
    "org.criu.config",
    "org.systemd.property.",
    "run.oci.delegate-cgroup",
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.receiver",
    "run.oci.seccomp_bpf_data",
    "run.oci.seccomp_fail_unknown_syscall",
    "run.oci.systemd.force_cgroup_v1",
    "run.oci.systemd.subgroup",
];

pub(super) fn run(arguments: &mut Arguments<'_>, _runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    if let Some(word) = arguments.words()?.first() {
        anyhow::bail!("unexpected argument {word:?}");
    }
    print(&(serde_json::to_string_pretty(&document())? + "\n"))?;
    Ok(0)
}

fn mount_options() -> Vec<String> {
    let recursive = ATTRIBUTES.iter().map(|name| format!("r{name}"));
    let plain = ATTRIBUTES.iter().chain(&OTHER_OPTIONS).map(|name| (*name).to_owned());
    let mut all: Vec<String> = plain.chain(recursive).collect();
    all.sort();
    all.dedup();
    all
}

fn document() -> Value {
    let capabilities: Vec<String> = CapabilitySet::all()
        .iter()
        .map(|c| format!("CAP_{}", c.to_string().trim_start_matches("CAP_")))
        .collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": mount_options(),
        "annotations": {
            "loment.version": env!("CARGO_PKG_VERSION"),
            "loment.config-annotations": ANNOTATIONS.join(","),
            // Engines look for runc's.
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        "potentiallyUnsafeConfigAnnotations": ["bundle", "run.oci.", "org.systemd.property.", "org.criu.config"],
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {
                "modes": [
                    "MPOL_DEFAULT", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE",
                    "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_LOCAL",
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
    })
}

fn seccomp() -> Value {
    let flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    json!({
        "enabled": true,
        "actions": [
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
        ],
        "operators": [
            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
        ],
        "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        "knownFlags": flags,
        "supportedFlags": flags,
    })
}
