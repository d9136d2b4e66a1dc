//! Cgroup device programs: the v2 form of the device allow-list (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low, source register in the high four bits.
    pub registers: u8,
    /// Jump or memory offset.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;

/// Head of `union bpf_attr` for BPF_PROG_LOAD, up to `expected_attach_type` (Linux 4.17).
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Head of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a device program and attaches it to the v2 cgroup directory `cgroup`.
///
/// # Errors
/// The kernel's errno: `EINVAL` for a program its verifier refuses, `EPERM` without CAP_BPF or CAP_SYS_ADMIN.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let license = c"Apache-2.0";
    let load = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: ATTACH_CGROUP_DEVICE,
        ..LoadAttr::default()
    };
    // SAFETY: `load` and what it points at outlive the call; the size is the struct's own.
    let fd = super::check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<LoadAttr>())
    })?;
    // SAFETY: a new descriptor that nobody else owns.
    let program = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let attach = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI,
    };
    // SAFETY: as above.
    super::check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<AttachAttr>())
    })
    .map(drop)
}
