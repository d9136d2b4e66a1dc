//! Tables that grow with a layer: in memory while they are small, in a file without a name when they are not.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use loment_sys::table::{self, Number};
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// What the tables of all layers on their way have in memory together. A layer of 72,000 files takes some 6 MiB.
const IN_MEMORY: usize = 8 << 20;
/// Entries of the first piece of a table.
const FIRST: usize = 1024;

static USED: AtomicUsize = AtomicUsize::new(0);

/// A table, and where it goes when it is large.
pub(super) struct Table<T> {
    entries: Entries<T>,
    /// The directory of the layer.
    dir: OwnedFd,
    /// What it may have in memory, with those of others.
    limit: usize,
}

enum Entries<T> {
    Memory(Vec<T>),
    Mapped(table::Table<T>),
}

impl<T: Number> Table<T> {
    pub(super) fn new(dir: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            entries: Entries::Memory(Vec::new()),
            dir: dir.try_clone_to_owned()?,
            limit: if cfg!(test) { 64 << 10 } else { IN_MEMORY },
        })
    }

    /// An empty one that goes to the same place.
    pub(super) fn another<U: Number>(&self) -> io::Result<Table<U>> {
        Table::new(self.dir.as_fd())
    }

    pub(super) fn push(&mut self, value: T) -> io::Result<()> {
        self.grow(self.len() + 1)?;
        match &mut self.entries {
            Entries::Memory(vec) => vec.push(value),
            Entries::Mapped(table) => table.push(value)?,
        }
        Ok(())
    }

    pub(super) fn extend(&mut self, values: &[T]) -> io::Result<()> {
        let length = self.len();
        self.grow(length + values.len())?;
        match &mut self.entries {
            Entries::Memory(vec) => vec.extend_from_slice(values),
            Entries::Mapped(table) => {
                table.resize(length + values.len())?;
                table[length..].copy_from_slice(values);
            }
        }
        Ok(())
    }

    /// Makes an empty one so long, with zeros.
    pub(super) fn fill(&mut self, length: usize, zero: T) -> io::Result<()> {
        self.grow(length)?;
        match &mut self.entries {
            Entries::Memory(vec) => vec.resize(length, zero),
            Entries::Mapped(table) => table.resize(length)?,
        }
        Ok(())
    }

    /// Gives back the memory of one that is in a file.
    pub(super) fn let_go(&self) {
        if let Entries::Mapped(table) = &self.entries {
            table.let_go();
        }
    }

    /// Whether so many entries fit where they are; if not, they move.
    fn grow(&mut self, length: usize) -> io::Result<()> {
        let Entries::Memory(vec) = &mut self.entries else { return Ok(()) };
        if length <= vec.capacity() {
            return Ok(());
        }
        let room = length.max(vec.capacity() * 2).max(FIRST);
        let more = (room - vec.capacity()) * size_of::<T>();
        if USED.fetch_add(more, Ordering::Relaxed) + more <= self.limit {
            vec.reserve_exact(room - vec.len());
            // What is taken is given back by capacity.
            let taken = vec.capacity().saturating_sub(room) * size_of::<T>();
            USED.fetch_add(taken, Ordering::Relaxed);
            return Ok(());
        }
        USED.fetch_sub(more, Ordering::Relaxed);
        let mut table = table::Table::new(unnamed(self.dir.as_fd())?, room)?;
        table.resize(vec.len())?;
        table.copy_from_slice(vec);
        self.give_back();
        self.entries = Entries::Mapped(table);
        Ok(())
    }

    fn give_back(&mut self) {
        if let Entries::Memory(vec) = &mut self.entries {
            USED.fetch_sub(vec.capacity() * size_of::<T>(), Ordering::Relaxed);
            *vec = Vec::new();
        }
    }
}

/// A file without a name.
fn unnamed(dir: BorrowedFd<'_>) -> io::Result<File> {
    let (flags, mode) = (OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match openat(dir, c".", flags | OFlags::TMPFILE, mode) {
        // Some file systems want a name first.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let file = openat(dir, c"table", flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            unlinkat(dir, c"table", AtFlags::empty())?;
            Ok(file.into())
        }
        result => Ok(result?.into()),
    }
}

impl<T: Number> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.entries {
            Entries::Memory(vec) => vec,
            Entries::Mapped(table) => table,
        }
    }
}

impl<T: Number> DerefMut for Table<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.entries {
            Entries::Memory(vec) => vec,
            Entries::Mapped(table) => table,
        }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        if let Entries::Memory(vec) = &self.entries {
            USED.fetch_sub(vec.capacity() * size_of::<T>(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_is_in_a_file_and_has_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap();
        let mut table = Table::<u32>::new(fd.as_fd()).unwrap();
        for n in 0..100_000 {
            table.push(n).unwrap();
        }
        table.extend(&[1, 2, 3]).unwrap();
        assert!(matches!(table.entries, Entries::Mapped(_)));
        table.let_go();
        assert!(table[..100_000].iter().zip(0..).all(|(&found, n)| found == n));
        assert_eq!(table[100_000..], [1, 2, 3]);
        let mut zeros = table.another::<u64>().unwrap();
        zeros.fill(50_000, 0).unwrap();
        assert!(zeros.len() == 50_000 && zeros.iter().all(|&n| n == 0));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
