//! Scheduling attributes of the calling process, the parts that `rustix` lacks.

use std::io;
use std::mem::size_of;

/// How a thread is scheduled (sched_setattr(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For the time-sharing policies, from -20 to 19.
    pub nice: i32,
    /// For the real-time policies, from 1 to 99.
    pub priority: u32,
    /// For the deadline policy, in nanoseconds.
    pub runtime: u64,
    /// For the deadline policy, in nanoseconds.
    pub deadline: u64,
    /// For the deadline policy, in nanoseconds.
    pub period: u64,
}

/// `struct sched_attr` up to the deadline fields (Linux 3.14).
#[repr(C)]
struct RawAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets policy and priority of the calling thread.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE for what needs it, `EINVAL` for values the policy does not take.
pub fn set_scheduler(attr: &SchedAttr) -> io::Result<()> {
    let SchedAttr { policy, flags, nice, priority, runtime, deadline, period } = *attr;
    let size = size_of::<RawAttr>() as u32;
    let attr = RawAttr { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: `attr` is a sched_attr of the size it says, and outlives the call.
    super::check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attr), 0) }).map(drop)
}

/// Sets the I/O priority of the calling process's group: `class` as of `IOPRIO_CLASS_*`, `level` from 0, the highest, to 7
/// (ioprio_set(2)).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN or CAP_SYS_NICE for the real-time class.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const WHO_PGRP: libc::c_int = 2;
    const CLASS_SHIFT: u16 = 13;
    let priority = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: the call takes numbers only.
    super::check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PGRP, 0, priority) }).map(drop)
}

/// Sets where the calling thread's memory comes from: `mode` with its flags, `nodes` as a bit mask (set_mempolicy(2)).
///
/// # Errors
/// `ENOSYS` without NUMA support in the kernel, `EINVAL` for nodes or flags the mode does not take.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        // The kernel looks at one bit less than it is told of.
        _ => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: `mask` is null or points to `bits - 1` bits that outlive the call.
    super::check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}
