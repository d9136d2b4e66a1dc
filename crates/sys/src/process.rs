//! Attributes of the calling process.

use std::io;
use std::sync::OnceLock;

use crate::ids::IdMap;

/// Sets the execution domain (personality(2)).
///
/// # Errors
/// The kernel's errno.
pub fn set_personality(persona: u64) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    super::check(unsafe { libc::syscall(libc::SYS_personality, persona) }).map(drop)
}

/// Looks up and makes files as this user and group from here on, without the capabilities that let root do so; the others
/// stay (setfsuid(2), capabilities(7)).
///
/// # Errors
/// `EINVAL` when the user namespace has no such id.
pub fn set_file_ids(uid: u32, gid: u32) -> io::Result<()> {
    // Both return what was before, whether or not they did something. The last is no id, and only asks.
    let set = |call: libc::c_long, id: u32| {
        // SAFETY: the calls take numbers only.
        unsafe {
            libc::syscall(call, id);
            libc::syscall(call, u32::MAX) as u32 == id
        }
    };
    if set(libc::SYS_setfsgid, gid) && set(libc::SYS_setfsuid, uid) {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

/// Sends `signal` (which may be a real-time one) to the process that `pidfd` names.
///
/// # Errors
/// `ESRCH` when it has ended, otherwise the kernel's errno (pidfd_send_signal(2), Linux 5.1).
pub fn pidfd_signal(pidfd: std::os::fd::BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: a null siginfo is allowed and the other arguments are numbers.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Sends `signal` to a pid (or, negative, to a process group).
///
/// # Errors
/// The kernel's errno (kill(2)).
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    super::check(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// The effective user id, without a C library's caches.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the effective user is root and nobody's user namespace is around it: one who may do what Linux keeps for the machine's own
/// root, such as making device nodes or raising limits (user_namespaces(7)).
pub fn is_root_of_machine() -> bool {
    is_root() && !is_in_user_namespace()
}

/// Whether this process is in another user namespace than the machine's first, which maps every id to itself.
/// As it was when this was first asked, in this process or the one that forked it: who enters another one enters it before.
pub fn is_in_user_namespace() -> bool {
    static IS_IN: OnceLock<bool> = OnceLock::new();
    *IS_IN.get_or_init(|| {
        let users = IdMap::own_users();
        !users.ranges().is_empty() && !users.is_the_machines()
    })
}

/// Whether this user namespace leaves everybody the groups they have (`setgroups` in user_namespaces(7)).
pub fn groups_are_kept() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// Ends this process at once: no handler runs, nothing is flushed. For children that share their creator's memory image.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no precondition and does not return.
    unsafe { libc::_exit(status) }
}
