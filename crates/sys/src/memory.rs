//! Giving memory back to the kernel.
//!
//! A supervisor sleeps for most of its life. Between two events it needs nothing of what it used to start its container, so
//! [`sleep_lean`] sleeps without: free heap, dead stack, and the mapped pages of the program itself, which are in the page
//! cache anyway and come back with the first instruction that needs them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const PAGE: usize = 4096;
/// How much dead stack is looked for; less than the gap the kernel keeps below a stack (1 MiB).
const STACK: usize = 512 * 1024;

/// From 128 KiB on, memory goes back to the kernel when it is freed. By default the C library begins to keep larger and larger blocks when
/// it sees some freed (mallopt(3), `M_MMAP_THRESHOLD`): tens of MiB after a few windows of decompressors.
pub fn keep_no_large_blocks() {
    // SAFETY: mallopt has no precondition but its arguments; a refusal leaves all as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024) };
}

/// Returns freed heap memory to the kernel.
pub fn trim_heap() {
    // SAFETY: malloc_trim has no precondition; it takes the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Sleeps until `epoll` has an event, which is left for the next wait, with as little memory as possible.
///
/// # Errors
/// The kernel's errno; `EINTR` when a signal was handled.
#[inline(never)]
pub fn sleep_lean(epoll: BorrowedFd<'_>) -> io::Result<()> {
    trim_heap();
    let (start, end) = program_pages();
    let here = (&raw const start).addr();
    let stack = (here - STACK) & !(PAGE - 1);
    // Two pages below this frame are left alone: this function and the kernel's signal frame may use them.
    let stack_len = (here & !(PAGE - 1)) - 2 * PAGE - stack;
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // One after the other without a call in between, which would bring the caller's pages back.
    // SAFETY: dropping pages of read-only private file mappings loses nothing: they are read from the file again. What is
    // below the stack pointer is dead. A range that is not mapped is an error of the call and changes nothing. The last
    // call writes one event.
    let result = unsafe {
        call(libc::SYS_madvise, [stack, stack_len, libc::MADV_DONTNEED as usize, 0, 0]);
        call(libc::SYS_madvise, [start, end - start, libc::MADV_DONTNEED as usize, 0, 0]);
        call(
            libc::SYS_epoll_pwait,
            [epoll.as_raw_fd() as usize, (&raw mut event).expose_provenance(), 1, usize::MAX, 0],
        )
    };
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(()) }
}

/// The pages of this program's headers, constants and code: mapped from its file, never written.
fn program_pages() -> (usize, usize) {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    // Only the addresses of what the linker defines are taken.
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    (start & !(PAGE - 1), (end + PAGE - 1) & !(PAGE - 1))
}

/// A system call without the C library: its pages would be needed again on the way back.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call(number: libc::c_long, a: [usize; 5]) -> isize {
    let result;
    // SAFETY: the caller passes what system call `number` expects; the instruction overwrites rcx and r11.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1],
            in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") 0usize, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn call(number: libc::c_long, a: [usize; 5]) -> isize {
    let result;
    // SAFETY: the caller passes what system call `number` expects.
    unsafe {
        std::arch::asm!("svc #0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") 0usize, options(nostack));
    }
    result
}
