//! The embedded init: process 1 of containers started with `--init`.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// The program. Called with the path of the container's program and its arguments.
pub const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// A sealed memory file with the program: executed by descriptor, it is not part of any file system, so nothing of the
/// host is visible in the container and nobody can change it.
///
/// # Errors
/// The kernel's errno.
pub fn memfd() -> io::Result<OwnedFd> {
    crate::memfd::sealed("init", crate::memfd::Content::Program, |file| file.write_all(IMAGE))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_small() {
        assert!(super::IMAGE.len() <= 20 * 1024, "{} bytes", super::IMAGE.len());
    }
}
