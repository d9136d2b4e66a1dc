//! Tables of numbers in a mapped file, for what may be more than memory should hold.
//!
//! The kernel takes such memory back whenever it needs some, writing to the file what it has to. The file should have no name: nobody
//! else may shorten or write it.

use std::fs::File;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::slice;

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::Errno;

use crate::check;

/// What a table may hold: numbers, of which all bytes are valid.
pub trait Number: Copy + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl<const N: usize> Sealed for [u32; N] {}
}

impl Number for u8 {}
impl Number for u32 {}
impl Number for u64 {}
impl<const N: usize> Number for [u32; N] {}

/// A table in a file.
#[derive(Debug)]
pub struct Table<T> {
    file: File,
    at: NonNull<T>,
    /// Entries that fit, and those that there are.
    room: usize,
    length: usize,
}

impl<T: Number> Table<T> {
    /// An empty one with room for so many entries, one at least, in an empty file without a name.
    ///
    /// # Errors
    /// Those of fallocate(2) and mmap(2): `ENOSPC`, `ENOMEM`, …
    pub fn new(file: File, room: usize) -> io::Result<Self> {
        let room = room.max(1);
        let bytes = size::<T>(room)?;
        reserve(&file, 0, bytes)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        let at = mapped(at)?;
        Ok(Self { file, at, room, length: 0 })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of fallocate(2) and mremap(2) when the file has to grow.
    pub fn push(&mut self, value: T) -> io::Result<()> {
        self.resize(self.length + 1)?;
        let last = self.length - 1;
        self[last] = value;
        Ok(())
    }

    /// Makes it so many entries long; new ones are zero, unless there were others before.
    ///
    /// # Errors
    /// As of [`Table::push`].
    pub fn resize(&mut self, length: usize) -> io::Result<()> {
        if length > self.room {
            let room = length.max(self.room.saturating_mul(2));
            let (old, new) = (size::<T>(self.room)?, size::<T>(room)?);
            reserve(&self.file, old, new)?;
            // SAFETY: `at` is the beginning of a mapping of `old` bytes, which is this table's and not borrowed now.
            let at = unsafe { libc::mremap(self.at.as_ptr().cast(), old, new, libc::MREMAP_MAYMOVE) };
            (self.at, self.room) = (mapped(at)?, room);
        }
        self.length = length;
        Ok(())
    }

    /// Gives back the memory that the process has of it; what is used again comes back from the kernel's cache or from the file.
    pub fn let_go(&self) {
        // SAFETY: pages of a shared mapping of a file that are dropped are read from the file, or its cache, again; nothing changes.
        let result = unsafe {
            libc::madvise(self.at.as_ptr().cast(), self.room * size_of::<T>(), libc::MADV_DONTNEED)
        };
        // It is advice.
        let _ = check(result.into());
    }
}

/// Bytes of so many entries, which a slice may have.
fn size<T>(entries: usize) -> io::Result<usize> {
    let bytes = entries.checked_mul(size_of::<T>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    bytes.ok_or_else(|| Errno::NOMEM.into())
}

/// Has the file take its room now: a page that finds none later ends the process.
fn reserve(mut file: &File, from: usize, to: usize) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from as u64, (to - from) as u64) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        result => return Ok(result?),
    }
    // The position of the file is its end: nothing else is written to it.
    let zeros = [0; 64 << 10];
    let mut left = to - from;
    while left > 0 {
        let count = left.min(zeros.len());
        file.write_all(&zeros[..count])?;
        left -= count;
    }
    Ok(ftruncate(file, to as u64)?)
}

fn mapped<T>(at: *mut libc::c_void) -> io::Result<NonNull<T>> {
    match NonNull::new(at) {
        Some(mapped) if at != libc::MAP_FAILED => Ok(mapped.cast()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl<T: Number> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length <= room` entries are mapped, a page is aligned for all numbers, any bytes are some, and the file is nobody
        // else's.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl<T: Number> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; borrowed alone, since this is.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.length) }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this table's, and nothing borrows it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.room * size_of::<T>()) };
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn file() -> File {
        memfd_create("table", MemfdFlags::CLOEXEC).unwrap().into()
    }

    #[test]
    fn what_is_let_go_comes_back() {
        let mut table = Table::new(file(), 0).unwrap();
        assert!(table.is_empty());
        for n in 0..300_000_u64 {
            table.push(n * n).unwrap();
            if n % 1000 == 0 {
                table.let_go();
            }
        }
        assert!(table.iter().enumerate().all(|(n, &value)| value == (n * n) as u64));
        table.let_go();
        table[7] = 1;
        table.let_go();
        assert_eq!((table.len(), table[7], table[299_999]), (300_000, 1, 299_999 * 299_999));
        let mut zeros = Table::<[u32; 4]>::new(file(), 5).unwrap();
        zeros.resize(70_000).unwrap();
        assert!(zeros.iter().all(|entry| *entry == [0; 4]));
    }

    #[test]
    fn where_there_is_no_room_it_does_not_grow() {
        // This takes no room.
        let full = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        assert!(Table::<u32>::new(full, 1).is_err());
        let mut table = Table::<u32>::new(file(), 1).unwrap();
        assert!(table.resize(usize::MAX).is_err());
        table.push(3).unwrap();
        assert_eq!(table[..], [3]);
    }
}
