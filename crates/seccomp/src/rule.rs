//! What a rule says: an action, and conditions on arguments.

use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};

/// Errors above this are not passed on to programs (`MAX_ERRNO` of `linux/err.h`).
const MAX_ERRNO: u32 = 4095;
/// `SECCOMP_RET_DATA`.
const MAX_TRACE: u32 = 0xffff;
pub(crate) const EPERM: u32 = 1;

/// What the kernel does, as the value a filter returns (`SECCOMP_RET_*` of `linux/seccomp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Action(pub(crate) u32);

/// An `errnoRet` that its action cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadErrno {
    /// The action has no place for a number.
    NoPlace,
    /// The number is above the limit given.
    TooLarge(u32),
}

impl Action {
    pub(crate) const KILL_THREAD: Action = Action(0);
    pub(crate) const NOTIFY: Action = Action(0x7fc0_0000);
    pub(crate) const ALLOW: Action = Action(0x7fff_0000);

    pub(crate) const fn errno(number: u32) -> Action {
        Action(0x0005_0000 | number)
    }

    /// The action of a profile. ERRNO and TRACE carry EPERM where the profile has no number, as in runc.
    pub(crate) fn from_oci(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, BadErrno> {
        use LinuxSeccompAction::*;
        let (value, limit) = match action {
            ScmpActKill | ScmpActKillThread => (0, None),
            ScmpActKillProcess => (0x8000_0000, None),
            ScmpActTrap => (0x0003_0000, None),
            ScmpActErrno => (0x0005_0000, Some(MAX_ERRNO)),
            ScmpActNotify => (Action::NOTIFY.0, None),
            ScmpActTrace => (0x7ff0_0000, Some(MAX_TRACE)),
            ScmpActLog => (0x7ffc_0000, None),
            ScmpActAllow => (Action::ALLOW.0, None),
        };
        match (limit, errno) {
            (None, None) => Ok(Action(value)),
            (None, Some(_)) => Err(BadErrno::NoPlace),
            (Some(limit), Some(number)) if number > limit => Err(BadErrno::TooLarge(limit)),
            (Some(_), number) => Ok(Action(value | number.unwrap_or(EPERM))),
        }
    }

    /// Whether the call may take effect: allowed, logged, or left to a tracer or an agent.
    pub(crate) const fn may_permit(self) -> bool {
        self.0 >= Action::NOTIFY.0 && self.0 <= Action::ALLOW.0
    }

    /// Whether a new system call that nobody knew of stays with this default action (see
    /// `compile::Arm::newest`). A tracer is trusted to answer ENOSYS itself.
    pub(crate) const fn suits_unknown_calls(self) -> bool {
        self.0 >= 0x7ff0_0000 && self.0 <= Action::ALLOW.0
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// `argument & value == value_two & value`, as in libseccomp.
    MaskedEq,
}

/// One condition on one argument, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cond {
    /// 0 to 5.
    pub(crate) index: u8,
    pub(crate) op: Op,
    pub(crate) value: u64,
    pub(crate) value_two: u64,
}

/// Arguments a system call can have.
pub(crate) const ARGS: usize = 6;

impl Cond {
    pub(crate) const fn new(index: u8, op: Op, value: u64) -> Cond {
        Cond { index, op, value, value_two: 0 }
    }

    /// `None` when the argument's index is above 5.
    pub(crate) fn from_parts(
        index: usize,
        op: LinuxSeccompOperator,
        value: u64,
        value_two: Option<u64>,
    ) -> Option<Cond> {
        use LinuxSeccompOperator::*;
        let index = u8::try_from(index).ok().filter(|index| usize::from(*index) < ARGS)?;
        let op = match op {
            ScmpCmpNe => Op::Ne,
            ScmpCmpLt => Op::Lt,
            ScmpCmpLe => Op::Le,
            ScmpCmpEq => Op::Eq,
            ScmpCmpGe => Op::Ge,
            ScmpCmpGt => Op::Gt,
            ScmpCmpMaskedEq => Op::MaskedEq,
        };
        Some(Cond { index, op, value, value_two: value_two.unwrap_or(0) })
    }

    /// `None` when the argument's index is above 5.
    pub(crate) fn from_oci(arg: &LinuxSeccompArg) -> Option<Cond> {
        Cond::from_parts(arg.index(), arg.op(), arg.value(), arg.value_two())
    }

    /// The condition on an architecture that compares low halves.
    pub(crate) const fn narrowed(self) -> Cond {
        let low = u32::MAX as u64;
        Cond { value: self.value & low, value_two: self.value_two & low, ..self }
    }
}

impl Op {
    pub(crate) const fn oci(self) -> LinuxSeccompOperator {
        match self {
            Op::Ne => LinuxSeccompOperator::ScmpCmpNe,
            Op::Lt => LinuxSeccompOperator::ScmpCmpLt,
            Op::Le => LinuxSeccompOperator::ScmpCmpLe,
            Op::Eq => LinuxSeccompOperator::ScmpCmpEq,
            Op::Ge => LinuxSeccompOperator::ScmpCmpGe,
            Op::Gt => LinuxSeccompOperator::ScmpCmpGt,
            Op::MaskedEq => LinuxSeccompOperator::ScmpCmpMaskedEq,
        }
    }
}
