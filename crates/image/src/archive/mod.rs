//! Images in archives: the `docker-archive:` and `oci-archive:` transports.
//!
//! An archive is read at any place, so what comes through a pipe or is compressed as a whole is written to a file without a name
//! first. It is written in one pass to anything that takes bytes.

mod docker;
mod output;
mod writer;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use loment_store::{ArchiveIndex, Member, Store};

use crate::error::Error;
use crate::files;
use crate::inflate::{self, Compression};
use crate::manifest::MAX_DOCUMENT;

pub use docker::{DockerArchive, DockerImage};
pub use output::Output;
pub use writer::{DockerArchiveEntry, DockerArchiveWriter, OciArchiveEntry, OciArchiveWriter};

/// Where there is room for files that nobody else is to see.
#[derive(Clone, Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Beside what a store is writing.
    pub fn of(store: &Store) -> Self {
        Self(store.scratch_dir())
    }

    /// In a directory, which is there.
    pub fn dir(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    pub(crate) fn file(&self) -> Result<File, Error> {
        Ok(loment_store::unnamed_file(&self.0)?)
    }

    /// Keeps all of `input`.
    pub(crate) fn keep(&self, input: &mut (impl Read + ?Sized), what: &str) -> Result<File, Error> {
        let mut file = self.file()?;
        let copied = io::copy(input, &mut file).and_then(|_| file.rewind());
        copied.map_err(|source| Error::Spool { what: what.to_owned(), source })?;
        Ok(file)
    }
}

/// An archive of files, open for reading.
#[derive(Debug)]
pub struct Archive {
    file: File,
    index: ArchiveIndex,
    name: String,
}

impl Archive {
    /// Opens an archive, plain or compressed.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Archive`] for what is none, [`Error::ArchiveCompression`].
    pub fn open(path: &Path, scratch: &Scratch) -> Result<Self, Error> {
        let file = files::failed(File::open(path), "open", path)?;
        let name = path.display().to_string();
        let regular = files::failed(file.metadata(), "look at", path)?.is_file();
        let mut start = [0; 6];
        if regular
            && file.read_exact_at(&mut start, 0).is_ok()
            && inflate::detect(&start) == Compression::None
        {
            return Self::indexed(file, name);
        }
        Self::read(&mut &file, &name, scratch)
    }

    /// Keeps an archive that comes as a stream. `name` is for messages.
    ///
    /// # Errors
    /// As of [`Archive::open`], and [`Error::Spool`].
    pub fn read(input: &mut (dyn Read + Send), name: &str, scratch: &Scratch) -> Result<Self, Error> {
        let failed = |source| Error::Spool { what: name.to_owned(), source };
        let (compression, input) = inflate::peek(input).map_err(failed)?;
        if let Compression::Unsupported(compression) = compression {
            return Err(Error::ArchiveCompression { archive: name.to_owned(), compression });
        }
        let input = BufReader::with_capacity(256 * 1024, input);
        let mut plain = inflate::reader(input, compression);
        Self::indexed(scratch.keep(&mut plain, name)?, name.to_owned())
    }

    pub(crate) fn indexed(file: File, name: String) -> Result<Self, Error> {
        match ArchiveIndex::read(&file) {
            Ok(index) => Ok(Self { file, index, name }),
            Err(source) => Err(Error::Archive { archive: name, source }),
        }
    }

    /// As it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a file of that name is in it.
    ///
    /// # Errors
    /// [`Error::Archive`].
    pub fn has(&self, name: &str) -> Result<bool, Error> {
        Ok(self.find(name)?.is_some())
    }

    pub(crate) fn find(&self, name: &str) -> Result<Option<Member>, Error> {
        let failed = |source| Error::Archive { archive: self.name.clone(), source };
        self.index.find(name).map_err(failed)
    }

    /// The same of what must be there.
    pub(crate) fn must_find(&self, name: &str) -> Result<Member, Error> {
        let missing = || Error::NotInArchive { archive: self.name.clone(), what: name.to_owned() };
        self.find(name)?.ok_or_else(missing)
    }

    pub(crate) fn part(&self, member: Member) -> Part<'_> {
        Part::of(&self.file, member)
    }

    /// Reads a document, not more than one may be long.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let member = self.must_find(name)?;
        if member.size > MAX_DOCUMENT {
            let what = format!("{name} of {}", self.name);
            return Err(Error::TooLarge { what, size: member.size, limit: MAX_DOCUMENT });
        }
        let mut bytes = Vec::new();
        let read = self.part(member).read_to_end(&mut bytes);
        files::failed(read, "read", Path::new(&self.name)).map(|_| bytes)
    }
}

/// The content of a member.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl<'a> Part<'a> {
    pub(crate) fn of(file: &'a File, member: Member) -> Self {
        Self { file, offset: member.offset, left: member.size }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let count = self.file.read_at(&mut out[..limit], self.offset)?;
        if count == 0 && limit > 0 {
            // It was long enough when it was opened.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
