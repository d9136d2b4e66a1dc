//! The embedded init: process 1 of containers started with `--init`.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// The program. Called with the path of the container's program and its arguments.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// A sealed memory file with the program: executed by descriptor, it is not part of any file system, so nothing of the
/// host is visible in the container and nobody can change it.
///
/// # Errors
/// The kernel's errno.
pub fn memfd() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 asks for the intent; older kernels know no such flag.
    let fd = match memfd_create("init", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create("init", flags)?,
        other => other?,
    };
    let mut file = std::fs::File::from(fd);
    file.write_all(IMAGE)?;
    let fd = OwnedFd::from(file);
    fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_small() {
        assert!(super::IMAGE.len() <= 20 * 1024, "{} bytes", super::IMAGE.len());
    }
}
