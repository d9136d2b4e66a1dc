//! The default profile against the file other engines share.

use std::path::Path;

use super::{compiled, numbers, verdict};
use crate::{Arch, Caps, KernelVersion, Profile, compile, default_profile};

/// Capabilities a rule of either profile asks for.
const ASKED: [&str; 12] = [
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_AUDIT_WRITE",
    "CAP_BPF",
    "CAP_PERFMON",
];

/// None, all, each, all but each, and each two together.
pub(super) fn cap_sets() -> Vec<Caps> {
    let caps = |names: &[&str]| Caps::from_names(names.iter().copied()).expect("capabilities");
    let mut sets = vec![caps(&[]), Caps::ALL];
    for one in ASKED {
        sets.push(caps(&ASKED.iter().copied().filter(|name| *name != one).collect::<Vec<_>>()));
        sets.extend(ASKED.iter().filter(|other| **other >= one).map(|other| caps(&[one, other])));
    }
    sets
}

/// The file kept beside the workspace, or beside the directory of its worktrees; else says why a test is
/// skipped.
pub(super) fn reference() -> Option<Profile> {
    const NAME: &str = "shared/data/seccomp.json";
    let dirs = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(text) = dirs.skip(3).find_map(|dir| std::fs::read(dir.join(NAME)).ok()) else {
        eprintln!("skipped: no reference profile {NAME} beside the workspace");
        return None;
    };
    Some(Profile::parse(&text).expect("the reference is a good profile"))
}

/// Arguments that the two rules with conditions, `personality` and `socket`, tell apart.
fn arguments() -> Vec<[u64; 6]> {
    let values = [0, 8, 9, 16, 0x2_0000, 0x2_0008, 0xffff_ffff, u64::MAX, 1 << 32 | 16, 1];
    values.into_iter().flat_map(|a| [0, 9, 1 << 32 | 9].map(|c| [a, 0, c, 0, 0, 0])).collect()
}

#[test]
fn verdicts_are_those_of_the_shared_profile() {
    let Some(reference) = reference() else { return };
    for host in Arch::ALL {
        for caps in cap_sets() {
            let kernel = KernelVersion::new(6, 18);
            let ours = compile(&default_profile().resolve(caps, host, kernel), host).expect("compiles");
            let mut section = reference.resolve(caps, host, kernel);
            // The reference maps x86_64 and aarch64 only; on the others it holds for the host alone.
            section.set_architectures(Some(host.runnable().iter().map(|arch| arch.oci()).collect()));
            let theirs = compile(&section, host).expect("compiles");
            for arch in host.runnable() {
                for number in numbers(*arch) {
                    let alike = |args| {
                        assert_eq!(
                            verdict(&ours, *arch, number, args),
                            verdict(&theirs, *arch, number, args),
                            "{arch:?} on {host:?} with {caps:?}: number {number} {args:x?}"
                        )
                    };
                    alike([0; 6]);
                    if ["personality", "socket"].iter().any(|name| super::number(name, *arch) == number) {
                        arguments().into_iter().for_each(alike);
                    }
                }
            }
        }
    }
}

#[test]
fn the_shortcut_compiles_the_same_program() {
    for host in Arch::ALL {
        for caps in [Caps::EMPTY, Caps::ALL] {
            let kernel = KernelVersion::new(5, 10);
            let long = compiled(&default_profile().resolve(caps, host, kernel), host);
            assert_eq!(default_profile().compile(caps, host, kernel), Ok(long));
        }
    }
}

/// The kernel keeps a bitmap of calls that a filter allows by number alone (5.11), and runs the filter only
/// for the others: no path to "allow" may look at more than number and architecture without need.
#[test]
fn allowed_calls_are_known_by_number_alone() {
    let section = default_profile().resolve(Caps::ALL, Arch::X86_64, KernelVersion::new(6, 18));
    let filter = compiled(&section, Arch::X86_64);
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        for number in numbers(arch).into_iter().filter(|one| *one != super::number("personality", arch)) {
            let call = super::machine::Call { arch: arch.audit(), number, args: [0; 6] };
            assert!(!super::machine::run(&filter.instructions, &call).2, "{arch:?} number {number}");
        }
    }
}

#[test]
fn the_usual_container_gets_the_usual_verdicts() {
    let caps = Caps::from_names(["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT"]).expect("capabilities");
    let section = default_profile().resolve(caps, Arch::X86_64, KernelVersion::new(6, 1));
    let filter = compiled(&section, Arch::X86_64);
    let verdict = |name: &str, args| verdict(&filter, Arch::X86_64, super::number(name, Arch::X86_64), args);
    for (name, want) in [
        ("read", super::ALLOW),
        ("chroot", super::ALLOW),
        ("clone3", super::ALLOW),
        ("bpf", super::EPERM),
        ("init_module", super::EPERM),
        ("kexec_load", super::EPERM),
        ("io_uring_setup", super::ENOSYS),
        ("add_key", super::ENOSYS),
        ("statmount", super::ENOSYS),
    ] {
        assert_eq!(verdict(name, [0; 6]), want, "{name}");
    }
    assert_eq!(verdict("socket", [16, 3, 9, 0, 0, 0]), 0x0005_0016, "no audit: EINVAL");
    assert_eq!(verdict("socket", [16, 3, 0, 0, 0, 0]), super::ALLOW, "route netlink");
    assert_eq!(verdict("personality", [8, 0, 0, 0, 0, 0]), super::ALLOW, "PER_LINUX32");
    assert_eq!(verdict("personality", [0x4_0000, 0, 0, 0, 0, 0]), super::ENOSYS, "no address randomisation");
}
