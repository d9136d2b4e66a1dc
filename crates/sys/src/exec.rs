//! `execve(2)` and `execveat(2)`.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}

/// Replaces this program by `path`. Returns only when that failed, with the kernel's reason.
pub fn execve(path: &CStr, argv: &[CString], envp: &[CString]) -> io::Error {
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: `path` and every element are NUL-terminated, both arrays end with a null pointer, and all of
    // them outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this program by the file `fd` is open on. Returns only when that failed.
pub fn fexecve(fd: BorrowedFd<'_>, argv: &[CString], envp: &[CString]) -> io::Error {
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: as in `execve`; the empty path is a static C string and AT_EMPTY_PATH makes `fd` the file.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
