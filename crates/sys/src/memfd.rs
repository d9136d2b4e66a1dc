//! Files in memory that nobody can change any more: memfd_create(2), F_ADD_SEALS of fcntl(2).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// What a sealed file must not be changed in.
pub const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Times that a file is tried to be sealed. Linux refuses (EBUSY) while anybody holds one of its pages, also the kernel when it
/// moves them: it waits for about 0.15 s each time (memfd_wait_for_pins, mm/memfd.c).
const TRIES: u32 = 20;

/// Between two of them: a mapping that can be written to (EBUSY as well) is not waited for by the kernel.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// What a file in memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// To be read.
    Data,
    /// To be executed.
    Program,
}

/// A sealed file with what `write` puts into it; `name` is shown in /proc/PID/fd only.
///
/// # Errors
/// The kernel's errno.
pub fn sealed(
    name: &str,
    content: Content,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match content {
        Content::Data => memfd_create(name, flags)?,
        // The kernel may want to know whether it is to be run (Linux 6.3); older ones do not know the flag.
        Content::Program => match memfd_create(name, flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => memfd_create(name, flags)?,
            made => made?,
        },
    };
    let mut file = File::from(fd);
    write(&mut file)?;
    for _ in 1..TRIES {
        match fcntl_add_seals(&file, SEALS) {
            Err(Errno::BUSY) => std::thread::sleep(PAUSE),
            sealed => return Ok(sealed.map(|()| file.into())?),
        }
    }
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn nobody_can_change_it() {
        for content in [Content::Data, Content::Program] {
            let fd = sealed("x", content, |file| file.write_all(b"abc")).unwrap();
            let mut file = File::from(fd);
            assert!(file.write_all(b"d").is_err() && file.set_len(1).is_err() && file.set_len(9).is_err());
            let mut said = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut said).unwrap();
            assert_eq!(said, "abc");
        }
    }

    #[test]
    fn who_holds_it_for_a_while_is_waited_for() {
        let mut held = None;
        let fd = sealed("x", Content::Data, |file| {
            file.write_all(b"abc")?;
            // SAFETY: a new mapping that only the thread below knows, and takes away.
            let mapping = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            } as usize;
            held = Some(std::thread::spawn(move || {
                std::thread::sleep(PAUSE);
                // SAFETY: the mapping made above, which nobody uses.
                unsafe { libc::munmap(mapping as *mut _, 4096) }
            }));
            Ok(())
        });
        assert_eq!(held.unwrap().join().unwrap(), 0);
        fd.unwrap();
    }
}
