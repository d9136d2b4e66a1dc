//! What a profile means, said as plainly as possible: go through the rules for each call.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator::*, LinuxSyscall};

use super::machine::Call;
use crate::{Arch, Syscall};

pub(super) fn evaluate(profile: &LinuxSeccomp, host: Arch, call: &Call) -> u32 {
    let listed = profile.architectures().clone().unwrap_or_default();
    let covered = |arch: Arch| {
        let listed = || listed.iter().any(|name| Arch::from_oci(*name, host) == Some(arch));
        arch == host || host.runnable().contains(&arch) && listed()
    };
    let arch = Arch::ALL.into_iter().find(|arch| {
        arch.audit() == call.arch
            && (arch.audit() != Arch::X32.audit() || (call.number >= 0x4000_0000) == (*arch == Arch::X32))
    });
    let Some(arch) = arch.filter(|arch| covered(*arch)) else {
        let skipped = arch == Some(Arch::X32) && covered(Arch::X86_64) && call.number == u32::MAX;
        return if skipped { profile.default_action().as_u32(profile.default_errno_ret()) } else { 0 };
    };
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let mut decided = None;
    let mut newest = None;
    let mut named = false;
    for rule in profile.syscalls().iter().flatten() {
        let action = rule.action().as_u32(rule.errno_ret());
        for name in rule.names() {
            let number = Syscall::from_name(name).and_then(|call| call.number(arch));
            newest = newest.max(number.filter(|number| *number < 0xf_0000 || arch != Arch::Arm));
            newest = newest.max(known_through(name, rule, action, arch));
            if action == default {
                continue;
            }
            named |= number == Some(call.number);
            let args = rule.args().as_deref().unwrap_or_default();
            let holds = if number == Some(call.number) {
                holds(args, arch, call)
            } else {
                holds_inside(name, rule, action, arch, call)
            };
            match holds {
                Holds::Always => return first_unconditional(profile, arch, call),
                Holds::Now => decided = decided.or(Some(action)),
                Holds::Not => {}
            }
        }
    }
    let permissive = matches!(default >> 16, 0x7ff0 | 0x7ffc | 0x7fff);
    let unknown = !named && newest.is_some_and(|newest| call.number > newest) && !permissive;
    decided.unwrap_or(if unknown { 0x0005_0026 } else { default })
}

#[derive(PartialEq)]
enum Holds {
    Always,
    Now,
    Not,
}

/// The first rule without conditions on the call.
fn first_unconditional(profile: &LinuxSeccomp, arch: Arch, call: &Call) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let names = |rule: &&LinuxSyscall| {
        rule.args().as_ref().is_none_or(Vec::is_empty)
            && rule.action().as_u32(rule.errno_ret()) != default
            && rule
                .names()
                .iter()
                .any(|name| Syscall::from_name(name).and_then(|one| one.number(arch)) == Some(call.number))
    };
    let rule = profile.syscalls().iter().flatten().find(names).expect("there is one");
    rule.action().as_u32(rule.errno_ret())
}

fn holds(args: &[LinuxSeccompArg], arch: Arch, call: &Call) -> Holds {
    let low = if arch.has_64bit_args() { u64::MAX } else { u64::from(u32::MAX) };
    let one = |arg: &LinuxSeccompArg| {
        let (have, value) = (call.args[arg.index()] & low, arg.value() & low);
        match arg.op() {
            ScmpCmpNe => have != value,
            ScmpCmpLt => have < value,
            ScmpCmpLe => have <= value,
            ScmpCmpEq => have == value,
            ScmpCmpGe => have >= value,
            ScmpCmpGt => have > value,
            ScmpCmpMaskedEq => have & value == arg.value_two().unwrap_or(0) & value,
        }
    };
    let twice = (0..6).any(|index| args.iter().filter(|arg| arg.index() == index).count() > 1);
    match args {
        [] => Holds::Always,
        _ if twice && args.iter().any(one) => Holds::Now,
        _ if !twice && args.iter().all(one) => Holds::Now,
        _ => Holds::Not,
    }
}

/// In the order of their selectors, from 1 on.
const SOCKETS: &str = "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom \
                       shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
const SYSV: &str = "semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt \
                    shmget shmctl";

fn permits(action: u32) -> bool {
    matches!(action >> 16, 0x7fc0 | 0x7ff0 | 0x7ffc | 0x7fff)
}

/// The call of x86 that a rule holds inside of: its author knew that, too.
fn known_through(name: &str, rule: &LinuxSyscall, action: u32, arch: Arch) -> Option<u32> {
    let followed = rule.args().as_ref().is_none_or(Vec::is_empty) || !permits(action);
    let among = |list: &str| list.split_ascii_whitespace().any(|known| known == name);
    match arch == Arch::X86 && followed {
        true if among(SOCKETS) => Some(102),
        true if among(SYSV) => Some(117),
        _ => None,
    }
}

/// A rule for a socket or System V call, when the call is x86's `socketcall` or `ipc`.
fn holds_inside(name: &str, rule: &LinuxSyscall, action: u32, arch: Arch, call: &Call) -> Holds {
    let (list, ipc) = match call.number {
        102 => (SOCKETS, false),
        117 => (SYSV, true),
        _ => return Holds::Not,
    };
    let permits = permits(action);
    let unconditional = rule.args().as_ref().is_none_or(Vec::is_empty);
    let position = list.split_ascii_whitespace().position(|known| known == name);
    let selector = call.args[0] as u32 & if ipc && !permits { 0xffff } else { u32::MAX };
    match position {
        Some(at) if arch == Arch::X86 && (unconditional || !permits) && selector == at as u32 + 1 => {
            Holds::Now
        }
        _ => Holds::Not,
    }
}
