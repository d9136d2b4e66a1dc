//! From the `linux.seccomp` section of a `config.json` to a program.
//!
//! Three steps: [`table::Table`] collects, per architecture and number, what the rules say;
//! `runs` turns each architecture into maximal ranges of numbers with one verdict; [`tree`] emits a
//! balanced search over the ranges. A linear filter, or one that is a tree of lists as libseccomp's, is
//! verified and translated by the kernel in proportion to its length each time a container starts.
//!
//! What a profile means is what runc with libseccomp makes of it:
//! - A rule whose action is the default action is skipped.
//! - The first rule without conditions on a call decides it, wherever it stands; otherwise the rules with
//!   conditions are tried in the order of the file. (libseccomp merges conditions into a tree that does
//!   not go back after a partial match, and refuses contradictions; where both give an answer, disjoint
//!   conditions, it is the same.)
//! - Conditions of one rule must all hold; but when a rule names an argument twice, each condition is a
//!   rule of its own.
//! - Unknown names are ignored.
//! - A call with a number above the newest one the profile names fails with ENOSYS instead of the default
//!   action, unless that is ALLOW, LOG or TRACE: programs probe for new system calls and fall back on
//!   ENOSYS only, and the profile's author could not know the call (runc 1.0.0-rc93).
//! - An architecture without rules gets libseccomp's default, KILL_THREAD.
//! - Absent `flags` mean SPEC_ALLOW; NOTIFY as the default action or on `write` is refused.
//! - On x86, rules for socket and System V IPC calls also hold inside `socketcall` and `ipc`. Where they
//!   have conditions, which a filter cannot follow through `socketcall`'s pointer, a rule that may permit
//!   the call is left out there and any other holds for all its arguments (libseccomp drops or misplaces
//!   the conditions for both).
//!
//! Architectures that a kernel of the host cannot run are left out: no call can come from them.

mod asm;
mod multiplex;
mod table;
mod tree;

use oci_spec::runtime::{Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};

use crate::arch::Arch;
use crate::bpf::{Filter, FilterFlags, MAX_INSTRUCTIONS};
use crate::rule::{ARGS, Action, BadErrno, Cond};
use crate::syscall::Syscall;

pub(crate) use table::Table;

/// Why a profile has no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// `errnoRet` beside an action that carries none.
    #[error("seccomp {place}: errno {errno} given, but {action} cannot carry one, remove errnoRet")]
    ErrnoWithoutPlace {
        /// `default action`, or the names of the rule's calls.
        place: String,
        /// The action.
        action: LinuxSeccompAction,
        /// The number.
        errno: u32,
    },
    /// `errnoRet` above what the action can carry.
    #[error("seccomp {place}: errno {errno} is above {limit}, the most {action} can carry")]
    ErrnoTooLarge {
        /// `default action`, or the names of the rule's calls.
        place: String,
        /// The action.
        action: LinuxSeccompAction,
        /// The number.
        errno: u32,
        /// The largest number allowed.
        limit: u32,
    },
    /// A condition on an argument that does not exist.
    #[error("seccomp {place}: argument index {index} is above 5")]
    ArgIndex {
        /// The names of the rule's calls.
        place: String,
        /// The index.
        index: usize,
    },
    /// NOTIFY as the default action: not even the listener could be handed over.
    #[error("SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    /// NOTIFY on `write`, which hands over the listener.
    #[error("SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyOnWrite,
    /// The program is longer than the kernel takes.
    #[error(
        "seccomp filter has {0} instructions, the kernel takes {MAX_INSTRUCTIONS}, use fewer argument rules"
    )]
    TooLong(usize),
}

/// Compiles a profile for a container on a host of the architecture given.
pub fn compile(profile: &LinuxSeccomp, host: Arch) -> Result<Filter, CompileError> {
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let mut table = start(profile.default_action(), profile.default_errno_ret(), host, listed)?;
    let mut conds = Vec::new();
    for rule in profile.syscalls().as_deref().unwrap_or_default() {
        let place = || place(rule.names().iter().map(String::as_str));
        conds.clear();
        for arg in rule.args().as_deref().unwrap_or_default() {
            let cond = Cond::from_oci(arg);
            conds.push(cond.ok_or_else(|| CompileError::ArgIndex { place: place(), index: arg.index() })?);
        }
        let action = action(rule.action(), rule.errno_ret(), place)?;
        table.note_action(action);
        for call in rule.names().iter().filter_map(|name| Syscall::from_name(name)) {
            table.add(call, action, &conds);
        }
    }
    table.finish(profile.flags().as_deref())
}

/// A table for rules, with the default action and the architectures of `listed` that the host runs.
pub(crate) fn start(
    default: LinuxSeccompAction,
    errno: Option<u32>,
    host: Arch,
    listed: &[OciArch],
) -> Result<Table, CompileError> {
    let default = action(default, errno, || "default action".to_owned())?;
    if default == Action::NOTIFY {
        return Err(CompileError::NotifyByDefault);
    }
    Ok(Table::new(default, host, |arch| listed.iter().any(|name| Arch::from_oci(*name, host) == Some(arch))))
}

/// An action as the kernel takes it; `place` names where it stands, for the error.
pub(crate) fn action(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    place: impl Fn() -> String,
) -> Result<Action, CompileError> {
    Action::from_oci(action, errno).map_err(|bad| {
        let (place, errno) = (place(), errno.unwrap_or_default());
        match bad {
            BadErrno::NoPlace => CompileError::ErrnoWithoutPlace { place, action, errno },
            BadErrno::TooLarge(limit) => CompileError::ErrnoTooLarge { place, action, errno, limit },
        }
    })
}

/// A rule's place in an error message: its calls, not all of hundreds.
pub(crate) fn place<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let first: Vec<_> = names.by_ref().take(3).collect();
    let more = if names.next().is_some() { ", …" } else { "" };
    format!("rule for {}{more}", first.join(", "))
}

/// The names in a profile that no architecture has a call for, in order; [`compile`] ignores them.
pub fn unknown_names(profile: &LinuxSeccomp) -> Vec<&str> {
    let rules = profile.syscalls().iter().flatten();
    let names = rules.flat_map(|rule| rule.names().iter().map(String::as_str));
    names.filter(|name| Syscall::from_name(name).is_none()).collect()
}

/// The flags that the kernel takes for those of a profile. It takes some together only: a listener beside
/// TSYNC needs TSYNC_ESRCH, and WAIT_KILLABLE_RECV without a listener, where it means nothing, is EINVAL.
pub fn filter_flags(listed: Option<&[LinuxSeccompFilterFlag]>, notifies: bool) -> FilterFlags {
    use LinuxSeccompFilterFlag::*;
    let Some(listed) = listed else {
        return FilterFlags::SPEC_ALLOW.with(FilterFlags::NEW_LISTENER, notifies);
    };
    let flags = listed.iter().fold(FilterFlags::default(), |flags, flag| {
        flags
            | match flag {
                SeccompFilterFlagLog => FilterFlags::LOG,
                SeccompFilterFlagTsync => FilterFlags::TSYNC,
                SeccompFilterFlagSpecAllow => FilterFlags::SPEC_ALLOW,
                SeccompFilterFlagWaitKillableRecv => FilterFlags::WAIT_KILLABLE_RECV,
            }
    });
    let flags = flags.with(FilterFlags::NEW_LISTENER, notifies);
    let flags = flags.with(FilterFlags::TSYNC_ESRCH, notifies && flags.contains(FilterFlags::TSYNC));
    if notifies { flags } else { flags.without(FilterFlags::WAIT_KILLABLE_RECV) }
}

/// Whether a rule names an argument twice.
fn repeats_argument(conds: &[Cond]) -> bool {
    let mut seen = [false; ARGS];
    conds.iter().any(|cond| std::mem::replace(&mut seen[usize::from(cond.index)], true))
}
