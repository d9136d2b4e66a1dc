//! libseccomp as a second opinion, through a C program built when the tests run; and the kernel's own.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::default::cap_sets;
use super::machine::{Call, run};
use super::property::{action, value};
use super::{compiled, number, numbers};
use crate::{Arch, Caps, FilterFlags, Instruction, KernelVersion, Syscall, default_profile};

const KERNEL: KernelVersion = KernelVersion::new(6, 18);

/// The C program, in a directory that goes when this does.
struct Oracle(tempfile::TempDir);

impl Oracle {
    /// Builds it, or says why a test is skipped.
    fn build() -> Option<Oracle> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let source = dir.path().join("oracle.c");
        std::fs::write(&source, include_str!("oracle.c")).expect("written");
        let cc = Command::new("cc")
            .args(["-O1", "-Wall", "-D_GNU_SOURCE", "-o"])
            .arg(dir.path().join("oracle"))
            .arg(source)
            .arg("-lseccomp")
            .output();
        match cc {
            Err(error) => eprintln!("skipped: no C compiler: {error}"),
            Ok(built) if built.status.success() => return Some(Oracle(dir)),
            Ok(built) => {
                let message = String::from_utf8_lossy(&built.stderr).into_owned();
                assert!(
                    message.contains("seccomp.h: No such file") || message.contains("-lseccomp"),
                    "{message}"
                );
                eprintln!("skipped: libseccomp's header or library is missing (libseccomp-dev)");
            }
        }
        None
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(self.0.path().join("oracle"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("ran");
        writer.join().expect("no panic").expect("read its input");
        assert!(output.status.success(), "oracle {args:?} failed");
        output.stdout
    }

    /// Number of a name on each architecture, as libseccomp has it; negative where it has none.
    fn numbers(&self) -> Vec<(String, Arch, i64)> {
        let names: Vec<_> = Syscall::all().map(Syscall::name).collect();
        let answer = String::from_utf8(self.run(&["names"], names.join("\n").as_bytes())).expect("text");
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let arch = Arch::ALL[words.next()?.parse::<usize>().ok()?];
            Some((name, arch, words.next()?.parse().ok()?))
        };
        answer.lines().map(|line| parse(line).expect("three words")).collect()
    }

    /// The programs for sections, each on its host.
    fn export(&self, sections: &[(LinuxSeccomp, Arch)]) -> Vec<Vec<Instruction>> {
        let text: String = sections.iter().map(|(section, host)| describe(section, *host)).collect();
        let bytes = self.run(&["export"], text.as_bytes());
        let mut rest = &bytes[..];
        let mut programs = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (program, after) = after.split_at(u32::from_ne_bytes(*length) as usize);
            let instruction = |one: &[u8; 8]| Instruction {
                code: u16::from_ne_bytes([one[0], one[1]]),
                jt: one[2],
                jf: one[3],
                k: u32::from_ne_bytes([one[4], one[5], one[6], one[7]]),
            };
            programs.push(program.as_chunks::<8>().0.iter().map(instruction).collect());
            rest = after;
        }
        assert_eq!(programs.len(), sections.len());
        programs
    }
}

/// A section as runc hands it to libseccomp: rules of the default action left out, conditions that name an
/// argument twice as rules of their own.
fn describe(section: &LinuxSeccomp, host: Arch) -> String {
    let default = section.default_action().as_u32(section.default_errno_ret());
    let mut text = format!("default {default:x}\n");
    let listed = section.architectures().clone().unwrap_or_default();
    for arch in host.runnable().iter().filter(|arch| **arch == host || listed.contains(&arch.oci())) {
        writeln!(text, "arch {:x}", arch.oci() as u32).expect("a string");
    }
    text.push_str("only\n");
    for rule in section.syscalls().iter().flatten() {
        let action = rule.action().as_u32(rule.errno_ret());
        let args = rule.args().clone().unwrap_or_default();
        let indexes: HashSet<_> = args.iter().map(LinuxSeccompArg::index).collect();
        let sets = if indexes.len() < args.len() { args.chunks(1).collect() } else { vec![&args[..]] };
        for (name, args) in rule.names().iter().flat_map(|name| sets.iter().map(move |args| (name, args))) {
            if action == default {
                continue;
            }
            writeln!(text, "rule {action:x} {name} {}", args.len()).expect("a string");
            for arg in *args {
                let (op, two) = (arg.op() as u32, arg.value_two().unwrap_or(0));
                writeln!(text, "{} {op} {:x} {two:x}", arg.index(), arg.value()).expect("a string");
            }
        }
    }
    text + "end\n"
}

/// Whether libseccomp has no number for a name on an architecture; what is behind x86's multiplexers has
/// numbers from -100 to -299.
fn is_unknown(number: i64) -> bool {
    number < 0 && !(-299..=-100).contains(&number)
}

/// Why the verdict on a call may differ from libseccomp's.
struct Excuses {
    /// Numbers for which this libseccomp has no name.
    unknown: HashSet<(Arch, u32)>,
}

impl Excuses {
    fn new(oracle: &Oracle) -> Excuses {
        let known = oracle.numbers();
        let missing = known.iter().filter(|(_, _, number)| is_unknown(*number));
        let number = |(name, arch, _): &(String, Arch, i64)| {
            Some((*arch, Syscall::from_name(name).and_then(|call| call.number(*arch))?))
        };
        Excuses { unknown: missing.filter_map(number).collect() }
    }

    /// The reason, if there is one; `ours` and `theirs` are the verdicts.
    fn find(&self, section: &LinuxSeccomp, arch: Arch, call: u32, ours: u32) -> Option<&'static str> {
        let named = |rule: &LinuxSyscall| -> Option<u32> {
            let calls = rule.names().iter().filter_map(|name| Syscall::from_name(name)?.number(arch));
            calls.filter(|number| *number < 0xf_0000 || arch != Arch::Arm).max()
        };
        let newest = section.syscalls().iter().flatten().filter_map(named).max();
        if self.unknown.contains(&(arch, call)) {
            return Some("libseccomp does not know the call on this architecture");
        }
        if ours == super::ENOSYS && newest.is_some_and(|newest| call > newest) {
            return Some("newer than the profile: the ENOSYS stub of runc, which libseccomp has not");
        }
        None
    }
}

/// Compares the programs of both for every number, with each set of arguments.
fn compare(
    excuses: &Excuses,
    section: &LinuxSeccomp,
    host: Arch,
    theirs: &[Instruction],
    args: impl Fn(Arch, u32) -> Vec<[u64; 6]>,
) {
    let ours = compiled(section, host);
    for arch in host.runnable() {
        let x32 = |number: &u32| *number >= 0x4000_0000;
        let own = |number: &u32| arch.audit() != Arch::X32.audit() || x32(number) == (*arch == Arch::X32);
        for number in numbers(*arch).into_iter().filter(own) {
            for args in args(*arch, number) {
                let call = Call { arch: arch.audit(), number, args };
                let (have, want) = (run(&ours.instructions, &call).0, run(theirs, &call).0);
                assert!(
                    have == want || excuses.find(section, *arch, number, have).is_some(),
                    "{arch:?} on {host:?}: number {number} args {args:x?}: ours {have:#x}, libseccomp's {want:#x}\n{}",
                    describe(section, host)
                );
            }
        }
    }
}

#[test]
fn numbers_agree_with_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let mut agreed = 0;
    for (name, arch, theirs) in oracle.numbers() {
        let ours = Syscall::from_name(&name).and_then(|call| call.number(arch));
        // Negative: unknown, absent here, or behind x86's socketcall or ipc.
        if theirs >= 0 {
            assert_eq!(ours.map(i64::from), Some(theirs), "{name} on {arch:?}");
            agreed += 1;
        }
    }
    assert!(agreed > 1700, "only {agreed} numbers compared");
}

#[test]
fn default_profile_agrees_with_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let excuses = Excuses::new(&oracle);
    let hosts = [Arch::X86_64, Arch::Aarch64];
    let sections: Vec<_> = cap_sets()
        .into_iter()
        .step_by(4)
        .flat_map(|caps| hosts.map(|host| (default_profile().resolve(caps, host, KERNEL), host)))
        .chain(hosts.map(|host| {
            let mut alone = default_profile().resolve(Caps::EMPTY, host, KERNEL);
            alone.set_architectures(None);
            (alone, host)
        }))
        .collect();
    for ((section, host), theirs) in sections.iter().zip(oracle.export(&sections)) {
        compare(&excuses, section, *host, &theirs, |arch, call| {
            if ["personality", "socket"].iter().any(|name| number(name, arch) == call) {
                let values = [0, 8, 9, 16, 0x2_0000, 0x2_0008, 0xffff_ffff, u64::MAX, 1 << 32 | 16];
                values.iter().flat_map(|a| values.map(|c| [*a, 0, c, 0, 0, 0])).collect()
            } else {
                vec![[0; 6], [u64::MAX; 6]]
            }
        });
    }
}

fn arg(index: usize, op: LinuxSeccompOperator, value: u64, two: u64) -> LinuxSeccompArg {
    let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value).value_two(two);
    arg.build().expect("every field has a default")
}

/// Rules for one call whose conditions do not overlap, so that libseccomp's merging of rules has no say.
fn disjoint_rules() -> impl Strategy<Value = Vec<Vec<LinuxSeccompArg>>> {
    use LinuxSeccompOperator::*;
    let op =
        || select(vec![ScmpCmpNe, ScmpCmpLt, ScmpCmpLe, ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpMaskedEq]);
    // libseccomp before 2.6 tests a 64-bit inequality wrongly when another condition follows it: where the
    // high halves alone do not decide, the rest of the rule is lost. So only the last may be one.
    let indexes = prop::sample::subsequence((0..6usize).collect::<Vec<_>>(), 1..4);
    let conjunction =
        (indexes, any::<bool>(), op(), value(), value()).prop_map(|(indexes, masked, last, value, two)| {
            let arg = |(at, index): (usize, &usize)| {
                let other = if masked { ScmpCmpMaskedEq } else { ScmpCmpEq };
                let op = if at + 1 == indexes.len() { last } else { other };
                arg(*index, op, value.rotate_left(at as u32), two)
            };
            vec![indexes.iter().enumerate().map(arg).collect()]
        });
    let equals = (0usize..6, prop::collection::hash_set(0u64..1 << 31, 1..8)).prop_map(|(index, values)| {
        values.into_iter().map(|value| vec![arg(index, ScmpCmpEq, value, 0)]).collect()
    });
    let twice = (0usize..6, value(), value())
        .prop_map(|(index, a, b)| vec![vec![arg(index, ScmpCmpEq, a, 0), arg(index, ScmpCmpEq, b, 0)]]);
    prop_oneof![1 => Just(vec![vec![]]).boxed(), 3 => conjunction.boxed(), 2 => equals.boxed(), 1 => twice.boxed()]
}

/// A profile of such rules, for some of the calls.
fn profile(calls: Vec<String>) -> impl Strategy<Value = LinuxSeccomp> {
    let rules = prop::collection::vec((disjoint_rules(), prop::collection::vec(action(), 8)), 1..30);
    (action(), rules, Just(calls).prop_shuffle()).prop_map(|((default, errno), rules, calls)| {
        let rule = |name: &String, (args, (action, errno)): (&Vec<LinuxSeccompArg>, &(_, _))| {
            let mut rule = LinuxSyscall::default();
            rule.set_names(vec![name.clone()])
                .set_action(*action)
                .set_errno_ret(*errno)
                .set_args(Some(args.clone()));
            rule
        };
        let rules = calls.iter().zip(&rules).flat_map(|(name, (conds, actions))| {
            // One action for a rule whose conditions may meet another's.
            conds.iter().zip(actions).map(move |one| rule(name, one))
        });
        let mut section = LinuxSeccomp::default();
        section.set_default_action(default).set_default_errno_ret(errno).set_syscalls(Some(rules.collect()));
        section
    })
}

#[test]
fn argument_rules_agree_with_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let excuses = Excuses::new(&oracle);
    // Calls of every architecture only: a rule for one that an architecture lacks can make libseccomp 2.5.4
    // lose that architecture's load of the number, so that it compares numbers with the architecture.
    let unfit: HashSet<_> = oracle.numbers().into_iter().filter(|one| one.2 < 0).map(|one| one.0).collect();
    let calls = Syscall::all().map(|call| call.name().to_owned()).filter(|name| !unfit.contains(name));
    let calls: Vec<_> = calls.collect();
    assert!(calls.len() > 200, "only {} calls", calls.len());
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    );
    let sections: Vec<_> = (0..150)
        .map(|at| {
            let host = [Arch::X86_64, Arch::X86_64, Arch::Aarch64][at % 3];
            let mut section = profile(calls.clone()).new_tree(&mut runner).expect("a profile").current();
            section.set_architectures(Some(host.runnable().iter().map(|arch| arch.oci()).collect()));
            (section, host)
        })
        .collect();
    for ((section, host), theirs) in sections.iter().zip(oracle.export(&sections)) {
        compare(&excuses, section, *host, &theirs, |arch, number| cases(section, arch, number));
    }
}

/// Arguments around those that the rules for a call look for.
fn cases(section: &LinuxSeccomp, arch: Arch, number: u32) -> Vec<[u64; 6]> {
    let mut cases = vec![[0; 6], [u64::MAX; 6]];
    let is_call = |name: &String| Syscall::from_name(name).and_then(|call| call.number(arch)) == Some(number);
    for rule in section.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(is_call)) {
        let args = rule.args().as_deref().unwrap_or_default();
        let mut base = [0; 6];
        args.iter().for_each(|arg| base[arg.index()] = arg.value());
        cases.push(base);
        for arg in args {
            let (value, two) = (arg.value(), arg.value_two().unwrap_or(0));
            for other in
                [value.wrapping_sub(1), value.wrapping_add(1), value ^ 1 << 32, two, two & value, !value, 0]
            {
                let mut case = base;
                case[arg.index()] = other;
                cases.push(case);
            }
        }
    }
    cases
}

/// Rules for sockets and System V calls reach into x86's socketcall and ipc, as libseccomp's do.
#[test]
fn multiplexed_calls_agree_with_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let excuses = Excuses::new(&oracle);
    let rule = |action: &str, names: &str| format!(r#"{{"names": [{names}], "action": "{action}"}}"#);
    let sockets = r#""socket", "accept", "bind", "recvmmsg", "sendmmsg", "send", "getsockopt""#;
    let sysv = r#""semop", "shmctl", "msgget", "semtimedop", "shmat""#;
    let sections: Vec<_> = [("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"), ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW")]
        .into_iter()
        .map(|(default, action)| {
            let rules = [rule(action, sockets), rule("SCMP_ACT_LOG", sysv)].join(",");
            let text = format!(
                r#"{{"defaultAction": "{default}", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [{rules}]}}"#
            );
            (super::section(&text), Arch::X86_64)
        })
        .collect();
    for ((section, host), theirs) in sections.iter().zip(oracle.export(&sections)) {
        // The upper half of ipc's selector is a version, which rules of libseccomp do not mask.
        compare(&excuses, section, *host, &theirs, |_, _| (0..30).map(|at| [at, 7, 0, 0, 0, 0]).collect());
    }
}

#[test]
fn the_kernel_loads_the_default_filter_and_obeys_it() {
    let Some(oracle) = Oracle::build() else { return };
    if Arch::native() != Some(Arch::X86_64) {
        eprintln!("skipped: the program makes x86_64 calls");
        return;
    }
    let section = default_profile().resolve(Caps::EMPTY, Arch::X86_64, KERNEL);
    let filter = compiled(&section, Arch::X86_64);
    let bytes = |program: &[Instruction]| -> Vec<u8> {
        let one = |one: &Instruction| {
            [one.code.to_ne_bytes().as_slice(), &[one.jt, one.jf], &one.k.to_ne_bytes()].concat()
        };
        program.iter().flat_map(one).collect()
    };
    let theirs = oracle.export(&[(section, Arch::X86_64)]).remove(0);
    for (whose, program) in [("ours", &filter.instructions), ("libseccomp's", &theirs)] {
        let flags = FilterFlags::SPEC_ALLOW.bits().to_string();
        let output = String::from_utf8(oracle.run(&["load", &flags], &bytes(program))).expect("text");
        let mut times: Vec<u64> = output.lines().map(|line| line.parse().expect("nanoseconds")).collect();
        times.sort_unstable();
        assert_eq!(times.len(), 20);
        eprintln!(
            "{whose}: {} instructions, loaded in {} ns (min), {} ns (median)",
            program.len(),
            times[0],
            times[10]
        );
    }
}
