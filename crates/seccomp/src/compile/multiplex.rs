//! `socketcall` and `ipc` of 32-bit x86: one system call that stands for many.

use crate::rule::{Action, Cond, Op};
use crate::syscall::Syscall;

/// What stands for a call: the multiplexer, and the number its first argument then has
/// (`SYS_*` of `linux/net.h`; `linux/ipc.h`).
#[derive(Clone, Copy)]
pub(super) struct Through {
    pub(super) call: Syscall,
    selector: u64,
    ipc: bool,
}

const SOCKETCALL: Syscall = known("socketcall");
const IPC: Syscall = known("ipc");

const fn known(name: &str) -> Syscall {
    Syscall::from_name(name).expect("in the table")
}

const fn socket(name: &str, selector: u64) -> (Syscall, Through) {
    (known(name), Through { call: SOCKETCALL, selector, ipc: false })
}

const fn sysv(name: &str, selector: u64) -> (Syscall, Through) {
    (known(name), Through { call: IPC, selector, ipc: true })
}

static MULTIPLEXED: [(Syscall, Through); 32] = [
    socket("socket", 1),
    socket("bind", 2),
    socket("connect", 3),
    socket("listen", 4),
    socket("accept", 5),
    socket("getsockname", 6),
    socket("getpeername", 7),
    socket("socketpair", 8),
    socket("send", 9),
    socket("recv", 10),
    socket("sendto", 11),
    socket("recvfrom", 12),
    socket("shutdown", 13),
    socket("setsockopt", 14),
    socket("getsockopt", 15),
    socket("sendmsg", 16),
    socket("recvmsg", 17),
    socket("accept4", 18),
    socket("recvmmsg", 19),
    socket("sendmmsg", 20),
    sysv("semop", 1),
    sysv("semget", 2),
    sysv("semctl", 3),
    sysv("semtimedop", 4),
    sysv("msgsnd", 11),
    sysv("msgrcv", 12),
    sysv("msgget", 13),
    sysv("msgctl", 14),
    sysv("shmat", 21),
    sysv("shmdt", 22),
    sysv("shmget", 23),
    sysv("shmctl", 24),
];

/// The multiplexer of a call on x86, if it has one.
pub(super) fn through(call: Syscall) -> Option<Through> {
    MULTIPLEXED.iter().find(|(known, _)| *known == call).map(|(_, through)| *through)
}

impl Through {
    /// The condition under which a rule of this action holds in the multiplexer. The kernel takes the upper
    /// half of `ipc`'s first argument as a version and ignores it for most calls: a rule that keeps calls
    /// out must not be passed by setting it.
    pub(super) const fn cond(self, action: Action) -> Cond {
        if self.ipc && !action.may_permit() {
            return Cond { index: 0, op: Op::MaskedEq, value: 0xffff, value_two: self.selector };
        }
        Cond::new(0, Op::Eq, self.selector)
    }
}
