//! The compiler against the model, for profiles nobody would write.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompAction::*, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator::*, LinuxSyscall,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::machine::{Call, check, run};
use super::model::evaluate;
use super::{compiled, numbers};
use crate::{Arch, CompileError, Syscall, compile};

/// Values around which comparisons change.
pub(super) fn value() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 2, 3, 9, 16, 0xffff, 0x1_0001, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff];
    let high = [1u64 << 32, (1 << 32) + 1, (2 << 32) + 1, u64::MAX - 1, u64::MAX, 1 << 63];
    prop_oneof![6 => select(edges.to_vec()).boxed(), 3 => select(high.to_vec()).boxed(), 1 => any::<u64>().boxed()]
}

fn arg() -> impl Strategy<Value = LinuxSeccompArg> {
    let ops = [ScmpCmpNe, ScmpCmpLt, ScmpCmpLe, ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpMaskedEq];
    (0usize..6, value(), value(), select(ops.to_vec())).prop_map(|(index, value, two, op)| {
        let arg = LinuxSeccompArgBuilder::default().index(index).value(value).value_two(two).op(op);
        arg.build().expect("every field has a default")
    })
}

pub(super) fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    let plain = [ScmpActKill, ScmpActKillThread, ScmpActKillProcess, ScmpActTrap, ScmpActLog, ScmpActAllow];
    prop_oneof![
        select(plain.to_vec()).prop_map(|action| (action, None)),
        select(vec![None, Some(0), Some(1), Some(22), Some(38), Some(4094)]).prop_map(|e| (ScmpActErrno, e)),
        select(vec![None, Some(0), Some(7), Some(0xffff)]).prop_map(|number| (ScmpActTrace, number)),
    ]
}

/// Few names, so that rules meet; calls behind multiplexers, at the ends of the table, and unknown ones.
fn names() -> impl Strategy<Value = Vec<String>> {
    let few = [
        "read",
        "write",
        "socket",
        "socketcall",
        "accept",
        "ipc",
        "shmget",
        "personality",
        "clone",
        "rt_sigaction",
        "execveat",
        "file_setattr",
        "set_tls",
        "cacheflush",
        "arm_sync_file_range",
        "sync_file_range2",
        "no_such_call",
    ];
    let all: Vec<_> = Syscall::all().map(|call| call.name()).collect();
    prop_oneof![
        3 => prop::collection::vec(select(few.to_vec()), 1..4).boxed(),
        1 => prop::collection::vec(select(all), 1..120).boxed(),
    ]
    .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn rule() -> impl Strategy<Value = LinuxSyscall> {
    let args = prop_oneof![1 => Just(Vec::new()).boxed(), 2 => prop::collection::vec(arg(), 1..4).boxed()];
    let action = prop_oneof![9 => action().boxed(), 1 => Just((ScmpActNotify, None)).boxed()];
    (names(), action, args).prop_map(|(mut names, (action, errno), args)| {
        names.retain(|name| action != ScmpActNotify || name != "write");
        let mut rule = LinuxSyscall::default();
        rule.set_names(names).set_action(action).set_errno_ret(errno).set_args(Some(args));
        rule
    })
}

fn profile() -> impl Strategy<Value = LinuxSeccomp> {
    let archs = prop::sample::subsequence(Arch::ALL.to_vec(), 0..=5);
    (action(), archs, prop::collection::vec(rule(), 0..24)).prop_map(|((action, errno), archs, rules)| {
        let mut profile = LinuxSeccomp::default();
        profile
            .set_default_action(action)
            .set_default_errno_ret(errno)
            .set_architectures(Some(archs.into_iter().map(Arch::oci).collect()))
            .set_syscalls(Some(rules));
        profile
    })
}

/// Arguments that a rule of the profile may look for, or others.
fn args(profile: &LinuxSeccomp, pick: &[(u8, u64)]) -> [u64; 6] {
    let named: Vec<u64> = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|rule| rule.args().iter().flatten())
        .flat_map(|arg| [arg.value(), arg.value().wrapping_add(1), arg.value_two().unwrap_or(0)])
        .collect();
    std::array::from_fn(|at| match pick[at] {
        (which, other) if which < 128 || named.is_empty() => other,
        (which, _) => named[usize::from(which) % named.len()],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_filter_does_what_the_rules_say(
        profile in profile(),
        host in select(Arch::ALL.to_vec()),
        picks in prop::collection::vec(prop::collection::vec((any::<u8>(), value()), 6), 8),
    ) {
        // A profile of thousands of conditions may have no filter at all.
        prop_assume!(!matches!(compile(&profile, host), Err(CompileError::TooLong(_))));
        let filter = compiled(&profile, host);
        check(&filter.instructions);
        for arch in Arch::ALL {
            for (at, number) in numbers(arch).into_iter().enumerate() {
                let call = Call { arch: arch.audit(), number, args: args(&profile, &picks[at % 8]) };
                let (have, want) = (run(&filter.instructions, &call).0, evaluate(&profile, host, &call));
                prop_assert_eq!(have, want, "{:?} on {:?}: number {} args {:x?}", arch, host, number, call.args);
            }
        }
        for number in ["socketcall", "ipc", "socket", "personality"].iter().flat_map(|name| {
            Arch::ALL.into_iter().filter_map(|arch| Some((arch, Syscall::from_name(name)?.number(arch)?)))
        }) {
            for pick in &picks {
                let call = Call { arch: number.0.audit(), number: number.1, args: args(&profile, pick) };
                let (have, want) = (run(&filter.instructions, &call).0, evaluate(&profile, host, &call));
                prop_assert_eq!(have, want, "{:?} on {:?}: args {:x?}", number, host, call.args);
            }
        }
    }
}
