//! Loop devices: block devices whose content is a file (loop(4)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::check;

/// `LOOP_CTL_GET_FREE` (`linux/loop.h`).
const CTL_GET_FREE: libc::c_ulong = 0x4C82;
/// `LOOP_CONFIGURE`, Linux 5.8.
const CONFIGURE: libc::c_ulong = 0x4C0A;
/// `LO_FLAGS_READ_ONLY`.
const READ_ONLY: u32 = 1;
/// `LO_FLAGS_AUTOCLEAR`: free again when nobody has it open or mounted.
const AUTOCLEAR: u32 = 4;
/// `LO_FLAGS_DIRECT_IO`: past the page cache of the file.
const DIRECT_IO: u32 = 16;
/// Others take devices at the same time.
const TRIES: u32 = 64;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A device in use. When this is dropped and nothing is mounted from it, it is free again.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a read-only block device of `file`.
///
/// # Errors
/// The kernel's errno; `ENOENT` when there are no loop devices here.
pub fn attach(file: &File) -> io::Result<LoopDevice> {
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    let mut last = io::Error::from_raw_os_error(libc::EBUSY);
    for _ in 0..TRIES {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE) }.into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path)?;
        match configure(&device, file, DIRECT_IO).or_else(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => configure(&device, file, 0),
            _ => Err(e),
        }) {
            Ok(()) => return Ok(LoopDevice { path, _open: device }),
            // Somebody else was quicker.
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn configure(device: &File, file: &File, more: u32) -> io::Result<()> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: all fields are numbers and arrays of numbers, for which zero is a value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = fd;
    config.info.flags = READ_ONLY | AUTOCLEAR | more;
    // SAFETY: `config` is a loop_config, read during the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, std::ptr::from_ref(&config)) }.into()).map(drop)
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);
