//! Process 1 of containers started with `--init`: runs the program, hands signals on to it, reaps orphans, and ends with
//! the program's status. Freestanding: no standard library, no C library, a few kilobytes.
//!
//! Called as `init PATH ARG0 ARG...`. Without a program it is the first process of those that share a pid namespace: it reaps orphans, and
//! ends when it is asked to. Compiled by this crate's build script; the runtime executes it from a sealed memfd.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::*;
    pub const WAIT4: usize = 61;
    pub const EXECVE: usize = 59;
    pub const EXIT_GROUP: usize = 231;
    pub const KILL: usize = 62;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const CLONE: usize = 56;
    pub const SETPGID: usize = 109;
    pub const GETPID: usize = 39;
    pub const IOCTL: usize = 16;
    pub const CAPGET: usize = 125;
    pub const CAPSET: usize = 126;
    // The stack holds argc, argv, NULL, envp, NULL (System V ABI, x86-64, 3.4.1).
    global_asm!(".globl _start", "_start:", "xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {main}", "ud2", main = sym main);

    pub unsafe fn call(n: usize, a: [usize; 4]) -> isize {
        let r;
        // SAFETY: the caller passes what system call `n` expects; rcx and r11 are what the instruction overwrites.
        unsafe {
            asm!("syscall", inlateout("rax") n => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
                 lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        r
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::*;
    pub const WAIT4: usize = 260;
    pub const EXECVE: usize = 221;
    pub const EXIT_GROUP: usize = 94;
    pub const KILL: usize = 129;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const CLONE: usize = 220;
    pub const SETPGID: usize = 154;
    pub const GETPID: usize = 172;
    pub const IOCTL: usize = 29;
    pub const CAPGET: usize = 90;
    pub const CAPSET: usize = 91;
    global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x0, sp", "bl {main}", "brk #1", main = sym main);

    pub unsafe fn call(n: usize, a: [usize; 4]) -> isize {
        let r;
        // SAFETY: the caller passes what system call `n` expects.
        unsafe {
            asm!("svc #0", in("x8") n, inlateout("x0") a[0] => r, in("x1") a[1], in("x2") a[2], in("x3") a[3],
                 options(nostack));
        }
        r
    }
}

use arch::*;

const SIGCHLD: usize = 17;
const SIGCHLD_RECEIVED: isize = SIGCHLD as isize;
const SIGINT_RECEIVED: isize = 2;
const SIGTERM_RECEIVED: isize = 15;
const WNOHANG: usize = 1;
const TIOCSPGRP: usize = 0x5410;
const CAP_KILL: u32 = 1 << 5;
const ALL: u64 = u64::MAX;
const LISTEN_PID: [u8; 11] = *b"LISTEN_PID=";

fn exit(status: usize) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        unsafe { call(EXIT_GROUP, [status, 0, 0, 0]) };
    }
}

fn set_mask(mask: u64) {
    // SAFETY: one eight-byte signal set, which outlives the call.
    unsafe { call(RT_SIGPROCMASK, [2, &raw const mask as usize, 0, 8]) };
}

/// Everything but the right to signal a program that has changed its user is given up.
fn drop_capabilities() {
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    // SAFETY: a version 3 header and two data records, which outlive both calls.
    unsafe {
        call(CAPGET, [&raw mut header as usize, &raw mut data as usize, 0, 0]);
        let keep = data[1] & CAP_KILL;
        data = [keep, keep, 0, 0, 0, 0];
        call(CAPSET, [&raw mut header as usize, &raw const data as usize, 0, 0]);
    }
}

/// Writes to the end of 32 bytes the variable that says that sockets are this process's to listen on (sd_listen_fds(3)), and returns where it
/// begins. No checked index: a panic would bring in most of the core library.
fn listen_pid(buffer: *mut u8) -> *const u8 {
    // SAFETY: 11 letters, at most 10 digits and a null are less than 32 bytes, all within the buffer.
    unsafe {
        let mut at = buffer.add(31);
        *at = 0;
        let mut number = call(GETPID, [0; 4]) as u32;
        loop {
            at = at.sub(1);
            *at = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        for letter in LISTEN_PID.iter().rev() {
            at = at.sub(1);
            *at = *letter;
        }
        at
    }
}

/// The entry of the environment that says so of this process.
fn listens(envp: usize) -> Option<*mut *const u8> {
    let mut own = [0; 32];
    let own = listen_pid(own.as_mut_ptr());
    let mut entry = envp as *mut *const u8;
    // SAFETY: an array of pointers to strings, which ends with a null pointer; strings that differ are not looked at behind that place.
    unsafe {
        while !(*entry).is_null() {
            let (mut a, mut b) = (*entry, own);
            while *a == *b && *a != 0 {
                (a, b) = (a.add(1), b.add(1));
            }
            if *a == *b {
                return Some(entry);
            }
            entry = entry.add(1);
        }
    }
    None
}

/// In the child: a process group of its own, in the foreground if there is a terminal; then the program.
fn become_program(path: usize, argv: usize, envp: usize, listens: Option<*mut *const u8>) -> ! {
    let mut own = [0; 32];
    if let Some(entry) = listens {
        // SAFETY: an entry of the environment, which is this process's own; the string outlives the call that copies it.
        unsafe { *entry = listen_pid(own.as_mut_ptr()) };
    }
    // SAFETY: numbers, one pid that outlives the ioctl, and the strings and arrays the kernel put on the stack.
    let error = unsafe {
        call(SETPGID, [0, 0, 0, 0]);
        let pid = call(GETPID, [0; 4]) as u32;
        // SIGTTOU is still blocked; without a terminal this fails and changes nothing.
        call(IOCTL, [0, TIOCSPGRP, &raw const pid as usize, 0]);
        set_mask(0);
        call(EXECVE, [path, argv, envp, 0])
    };
    exit(if error == -2 { 127 } else { 126 })
}

/// The status of a wait as a shell reports it.
fn status(wait: u32) -> usize {
    match wait & 0x7f {
        0 => (wait >> 8 & 0xff) as usize,
        signal => 128 + signal as usize,
    }
}

extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel's initial stack: argc, then argc pointers and a null, then the environment's and a null.
    let (argc, path) = unsafe { (*stack, *stack.add(2)) };
    if argc == 1 {
        hold();
    }
    if argc < 3 {
        exit(126);
    }
    // SAFETY: as above.
    let (argv, envp) = unsafe { (stack.add(3) as usize, stack.add(argc + 2) as usize) };
    let listens = listens(envp);
    set_mask(ALL);
    // SAFETY: clone without flags is fork: the child goes on on a copy of this stack.
    let child = unsafe { call(CLONE, [SIGCHLD, 0, 0, 0]) };
    match child {
        0 => become_program(path, argv, envp, listens),
        1.. => {}
        _ => exit(126),
    }
    drop_capabilities();
    loop {
        let signal = next_signal();
        if signal == SIGCHLD_RECEIVED {
            reap(child);
        } else if signal > 0 {
            // SAFETY: numbers only.
            unsafe { call(KILL, [child as usize, signal as usize, 0, 0]) };
        }
    }
}

/// Waits for any signal; negative when it was disturbed.
fn next_signal() -> isize {
    let mask = ALL;
    // SAFETY: one signal set, no record wanted, no time limit.
    unsafe { call(RT_SIGTIMEDWAIT, [&raw const mask as usize, 0, 0, 8]) }
}

/// Is there for others, until it is asked to end.
fn hold() -> ! {
    set_mask(ALL);
    drop_capabilities();
    loop {
        match next_signal() {
            // No process has this number.
            SIGCHLD_RECEIVED => reap(-1),
            SIGINT_RECEIVED | SIGTERM_RECEIVED => exit(0),
            _ => {}
        }
    }
}

/// Reaps whoever has ended; ends with the program's status when it was the program.
fn reap(child: isize) {
    loop {
        let mut wait = 0u32;
        // SAFETY: one status, which outlives the call.
        let pid = unsafe { call(WAIT4, [usize::MAX, &raw mut wait as usize, WNOHANG, 0]) };
        if pid <= 0 {
            return;
        }
        if pid == child {
            exit(status(wait));
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}
