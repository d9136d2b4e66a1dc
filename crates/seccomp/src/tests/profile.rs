//! Profile files: what they mean, and what is said about bad ones.

use oci_spec::runtime::{Arch as OciArch, LinuxSeccompAction, LinuxSeccompFilterFlag};

use super::{ALLOW, ENOSYS, EPERM, KILL_THREAD, number, section, verdict};
use crate::{Arch, Caps, CompileError, FilterFlags, KernelVersion, Profile, compile};

const KERNEL: KernelVersion = KernelVersion::new(6, 1);

fn parse(json: &str) -> Profile {
    Profile::parse(json.as_bytes()).expect("a good profile")
}

fn names(profile: &Profile, caps: &[&str], arch: Arch, kernel: KernelVersion) -> Vec<String> {
    let caps = Caps::from_names(caps.iter().copied()).expect("capabilities");
    let section = profile.resolve(caps, arch, kernel);
    section.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
}

#[test]
fn rules_hold_by_capability_architecture_and_kernel() {
    let profile = parse(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "any", "includes": {}},
            {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}},
            {"names": ["brk"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x", "arm64"]}},
            {"names": ["dup"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["arm64"]}},
            {"name": "kill", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.19"}},
            {"names": ["pipe"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "5.19"}}]}"#,
    );
    let (old, new) = (KernelVersion::new(5, 10), KernelVersion::new(6, 1));
    assert_eq!(names(&profile, &[], Arch::X86_64, old), ["read", "bpf", "dup", "pipe"]);
    assert_eq!(names(&profile, &[], Arch::Aarch64, new), ["read", "bpf", "brk", "kill"]);
    assert_eq!(names(&profile, &["CAP_CHOWN"], Arch::X86_64, old), ["read", "dup", "pipe"]);
    assert_eq!(
        names(&profile, &["CAP_CHOWN", "CAP_KILL"], Arch::X86_64, old),
        ["read", "acct", "dup", "pipe"]
    );
}

#[test]
fn architectures_come_from_the_map_or_the_list() {
    let map = parse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]}"#,
    );
    let of = |profile: &Profile, arch| profile.resolve(Caps::EMPTY, arch, KERNEL).architectures().clone();
    assert_eq!(of(&map, Arch::X86_64), Some(vec![OciArch::ScmpArchX86_64, OciArch::ScmpArchX86]));
    assert_eq!(of(&map, Arch::Aarch64), Some(vec![OciArch::ScmpArchAarch64, OciArch::ScmpArchArm]));
    assert_eq!(of(&map, Arch::X86), None);
    let list = parse(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}"#);
    assert_eq!(of(&list, Arch::X86_64), Some(vec![OciArch::ScmpArchS390x]));
}

#[test]
fn the_plain_oci_form_is_a_profile() {
    let text = r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/agent", "listenerMetadata": "m",
        "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3,
            "args": [{"index": 1, "value": 9, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
    assert_eq!(parse(text).resolve(Caps::EMPTY, Arch::X86_64, KERNEL), section(text));
}

#[test]
fn errors_have_names_or_numbers() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "defaultErrno": "ENOSYS", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errno": "ENOTRECOVERABLE"},
        {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errno": "7"}]}"#;
    let section = parse(text).resolve(Caps::EMPTY, Arch::X86_64, KERNEL);
    assert_eq!(section.default_errno_ret(), Some(38));
    let errnos: Vec<_> = section.syscalls().iter().flatten().map(|rule| rule.errno_ret()).collect();
    assert_eq!(errnos, [Some(131), Some(7)]);
}

#[test]
fn bad_files_are_named_by_field_call_and_value() {
    let rule = |rest: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["kill", "dup"], {rest}}}]}}"#
        )
    };
    let allow = |rest: &str| rule(&format!(r#""action": "SCMP_ACT_ALLOW", {rest}"#));
    let cases = [
        ("{}".into(), "defaultAction is missing"),
        (r#"{"defaultAction": "ALLOW"}"#.into(), r#"defaultAction: "ALLOW" is not an action such as SCMP_ACT_ALLOW"#),
        (rule(r#""action": "DENY""#), r#"syscalls[0].action (kill, dup): "DENY" is not an action such as SCMP_ACT_ALLOW"#),
        (rule(r#""args": []"#), "syscalls[0].action is missing"),
        (rule(r#""name": "x", "action": "SCMP_ACT_ALLOW""#),
            "'syscalls[0].name' and 'syscalls[0].names' were specified, use either 'syscalls[0].name' or 'syscalls[0].names'"),
        (allow(r#""errnoRet": 4"#), "syscalls[0].errnoRet (kill, dup): SCMP_ACT_ALLOW cannot carry errno 4"),
        (rule(r#""action": "SCMP_ACT_ERRNO", "errnoRet": 4096"#),
            "syscalls[0].errnoRet (kill, dup): SCMP_ACT_ERRNO cannot carry errno 4096"),
        (rule(r#""action": "SCMP_ACT_ERRNO", "errno": "EWRONG""#),
            r#"syscalls[0].errno (kill, dup): "EWRONG" is not the name of an error such as EPERM"#),
        (allow(r#""args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]"#),
            r#"syscalls[0].args[0].index (kill, dup): "6" is not an index from 0 to 5"#),
        (allow(r#""args": [{"index": 1, "value": 1, "op": "="}]"#),
            r#"syscalls[0].args[0].op (kill, dup): "=" is not an operator such as SCMP_CMP_EQ"#),
        (allow(r#""includes": {"caps": ["SYS_ADMIN"]}"#),
            r#"syscalls[0].includes.caps (kill, dup): "SYS_ADMIN" is not a capability"#),
        (allow(r#""excludes": {"arches": ["vax"]}"#),
            r#"syscalls[0].excludes.arches (kill, dup): "vax" is not an architecture such as amd64"#),
        (allow(r#""includes": {"minKernel": "new"}"#),
            r#"syscalls[0].includes.minKernel (kill, dup): "new" is not a kernel version such as 5.10"#),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}"#.into(),
            r#"flags: "FAST" is not a flag such as SECCOMP_FILTER_FLAG_LOG"#),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["VAX"]}"#.into(),
            r#"architectures: "VAX" is not an architecture such as SCMP_ARCH_X86_64"#),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}"#.into(),
            "'architectures' and 'archMap' were specified, use either 'architectures' or 'archMap'"),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}"#.into(), "syscalls[0].names is missing"),
    ];
    for (text, message) in cases {
        let error = Profile::parse(text.as_bytes()).expect_err(&text);
        assert_eq!(error.to_string(), format!("seccomp profile: {message}"), "{text}");
    }
    let error = Profile::parse(allow(r#""args": [{"index": 0, "value": -1, "op": "x"}]"#).as_bytes());
    let error = error.expect_err("a negative value").to_string();
    assert!(error.contains("-1") && error.contains("line 1"), "{error}");
}

#[test]
fn bad_sections_are_refused() {
    let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    let kill = LinuxSeccompAction::ScmpActKill;
    let cases = [
        (
            rule(r#"{"names": ["a", "b", "c", "d"], "action": "SCMP_ACT_KILL", "errnoRet": 1}"#),
            CompileError::ErrnoWithoutPlace { place: "rule for a, b, c, …".into(), action: kill, errno: 1 },
        ),
        (
            rule(r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}"#),
            CompileError::ErrnoTooLarge {
                place: "rule for a".into(),
                action: LinuxSeccompAction::ScmpActErrno,
                errno: 5000,
                limit: 4095,
            },
        ),
        (
            rule(
                r#"{"names": ["a"], "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            CompileError::ArgIndex { place: "rule for a".into(), index: 6 },
        ),
        (rule(r#"{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}"#), CompileError::NotifyOnWrite),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.into(), CompileError::NotifyByDefault),
        (
            r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}"#.into(),
            CompileError::ErrnoWithoutPlace { place: "default action".into(), action: kill, errno: 1 },
        ),
    ];
    for (text, error) in cases {
        assert_eq!(compile(&section(&text), Arch::X86_64), Err(error), "{text}");
    }
}

#[test]
fn a_program_longer_than_the_kernel_takes_is_an_error() {
    let arg = |value: u32| format!(r#"{{"index": 0, "value": {value}, "op": "SCMP_CMP_EQ"}}"#);
    let args: Vec<_> = (0..2000).map(arg).collect();
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["ioctl"], "action": "SCMP_ACT_KILL", "args": [{}]}}]}}"#,
        args.join(",")
    );
    let error = compile(&section(&text), Arch::X86_64).expect_err("8000 instructions");
    assert!(matches!(error, CompileError::TooLong(8000..)), "{error}");
}

#[test]
fn flags_are_those_the_kernel_takes_together() {
    let flags = |flags: &[LinuxSeccompFilterFlag], action: &str| {
        let mut section = section(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": [], "syscalls": [{{"names": ["mkdir"], "action": "{action}"}}]}}"#
        ));
        section.set_flags(Some(flags.to_vec()));
        compile(&section, Arch::X86_64).expect("compiles").flags
    };
    use LinuxSeccompFilterFlag::*;
    let all = [
        SeccompFilterFlagLog,
        SeccompFilterFlagTsync,
        SeccompFilterFlagSpecAllow,
        SeccompFilterFlagWaitKillableRecv,
    ];
    assert_eq!(flags(&[], "SCMP_ACT_KILL"), FilterFlags::default());
    assert_eq!(flags(&[], "SCMP_ACT_NOTIFY"), FilterFlags::NEW_LISTENER);
    let without_listener = FilterFlags::LOG | FilterFlags::TSYNC | FilterFlags::SPEC_ALLOW;
    assert_eq!(flags(&all, "SCMP_ACT_KILL"), without_listener);
    let with_listener =
        FilterFlags::NEW_LISTENER | FilterFlags::TSYNC_ESRCH | FilterFlags::WAIT_KILLABLE_RECV;
    assert_eq!(flags(&all, "SCMP_ACT_NOTIFY"), without_listener | with_listener);
    let absent = compile(&section(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#), Arch::X86_64).expect("compiles");
    assert_eq!(absent.flags, FilterFlags::SPEC_ALLOW);
}

/// What programs rely on to fall back: glibc tries clone3, and goes on to clone only after ENOSYS.
#[test]
fn calls_newer_than_the_profile_fail_with_enosys() {
    let text = |action: &str| {
        section(&format!(
            r#"{{"defaultAction": "{action}", "architectures": ["SCMP_ARCH_X32"],
                "syscalls": [{{"names": ["read", "rseq"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        ))
    };
    for (action, default, newer) in [
        ("SCMP_ACT_ERRNO", EPERM, ENOSYS),
        ("SCMP_ACT_KILL", KILL_THREAD, ENOSYS),
        ("SCMP_ACT_LOG", 0x7ffc_0000, 0x7ffc_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0001, 0x7ff0_0001),
    ] {
        let filter = compile(&text(action), Arch::X86_64).expect("compiles");
        for arch in [Arch::X86_64, Arch::X32] {
            assert_eq!(verdict(&filter, arch, number("rseq", arch), [0; 6]), ALLOW);
            assert_eq!(verdict(&filter, arch, number("getpid", arch), [0; 6]), default, "{action}");
            assert_eq!(verdict(&filter, arch, number("clone3", arch), [0; 6]), newer, "{action}");
        }
        assert_eq!(verdict(&filter, Arch::X86, number("read", Arch::X86), [0; 6]), KILL_THREAD);
    }
}

/// On x86 `accept` has no number of its own: a profile that names it knows `socketcall`, 102, and nothing newer.
#[test]
fn a_call_inside_another_makes_that_known() {
    let section = section(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["accept"], "action": "SCMP_ACT_KILL"}]}"#,
    );
    let filter = compile(&section, Arch::X86).expect("compiles");
    assert_eq!(verdict(&filter, Arch::X86, 102, [5, 0, 0, 0, 0, 0]), KILL_THREAD, "accept is number 5 of it");
    assert_eq!(verdict(&filter, Arch::X86, 102, [4, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(verdict(&filter, Arch::X86, 103, [0; 6]), ENOSYS);
}

#[test]
fn kernel_versions_are_read_from_uname() {
    assert_eq!("6.1.0-39-amd64".parse(), Ok(KernelVersion::new(6, 1)));
    assert_eq!("5.10".parse(), Ok(KernelVersion::new(5, 10)));
    assert_eq!("6.18-rc1".parse(), Ok(KernelVersion::new(6, 18)));
    for bad in ["", "6", "6.", "6.x", "v6.1", "-6.1"] {
        assert!(bad.parse::<KernelVersion>().is_err(), "{bad}");
    }
    assert!(KernelVersion::new(5, 10) > KernelVersion::new(5, 9));
}
