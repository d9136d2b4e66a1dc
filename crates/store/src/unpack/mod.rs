//! A layer's tar becomes a directory tree.
//!
//! The input is hostile. Everything happens inside the layer's own `fs/`, one component at a time from
//! descriptors, and nothing that exists is ever opened for writing: an entry in the way is moved aside first.
//! Layers are unpacked alone, without their parents; whiteouts are kept in overlay form (`char 0:0`,
//! `trusted.overlay.opaque`) and apply to lower layers only, wherever in the tar they stand (image-spec,
//! layer.md "Whiteouts").

mod attrs;
mod dirs;
mod error;
mod file;
mod rights;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::image::Digest;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fchmod, fchown, fremovexattr, linkat, makedev, mkdirat, mknodat, openat,
    renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::digest::TarSource;
use crate::implied::Implied;
use crate::tar::{Entry, Kind, TarLog, TarReader};
pub(crate) use attrs::{OPAQUE, USER_OPAQUE, is_opaque};
use dirs::forget_below;
pub(crate) use dirs::{Defaults, DirStack, WalkError, defaults, open_for_attributes};
pub use error::{EntryProblem, UnpackError};
use file::FileWriter;
pub(crate) use rights::Rights;
pub(crate) use rules::{Attrs, device};
use rules::{DirMeta, DirMetas, Kept, MAX_PATH, Place, link_target, normalise, shown_link, split};

/// What a finished unpacking knows about the layer.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) diff_id: Digest,
    /// Bytes of tar.
    pub(crate) size: u64,
    pub(crate) entries: u64,
    /// The root itself is opaque: no lower layer shows through, which overlayfs cannot be told by attribute.
    pub(crate) opaque_root: bool,
    /// The tar has an entry for the root.
    pub(crate) explicit_root: bool,
    /// Other directories that have none and are merged with what lower layers have there.
    pub(crate) implied: Implied,
}

/// Unpacks `source` into `fs/`, `shadow/` and `tarhdr.zst` of the empty directory `layer`.
pub(crate) fn unpack<S: TarSource>(source: S, layer: BorrowedFd<'_>) -> Result<Summary, UnpackError> {
    unpack_within(source, layer, Kept::default())
}

fn unpack_within<S: TarSource>(
    source: S,
    layer: BorrowedFd<'_>,
    mut kept: Kept,
) -> Result<Summary, UnpackError> {
    let directory = |operation| move |e: Errno| UnpackError::Directory { operation, source: e.into() };
    let fs = make_root(layer).map_err(directory("create"))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let log = openat(layer, c"tarhdr.zst", flags, Mode::from_raw_mode(0o600)).map_err(directory("create"))?;
    let log = TarLog::new(File::from(log)).map_err(UnpackError::Log)?;
    let mut unpacker = Unpacker {
        reader: TarReader::new(source, log),
        layer,
        defaults: dirs::defaults(fs.as_fd()).map_err(directory("create"))?,
        dirs: DirStack::new(fs.as_fd()),
        link_dirs: DirStack::new(fs.as_fd()),
        metas: DirMetas::from([(Vec::new(), DirMeta::default())]),
        whiteouts: BTreeMap::new(),
        shadows: 0,
        explicit_root: false,
    };
    let mut entries = 0;
    while let Some(entry) = unpacker.reader.next()? {
        let known = unpacker.known();
        unpacker.entry(&entry).map_err(|fault| fault.of(&entry.path))?;
        let new = unpacker.known().saturating_sub(known) as u64;
        // By the way that the entry names, or by another one.
        let path = (entry.path.len() + unpacker.dirs.path().len()) as u64;
        kept.add(new.saturating_mul(rules::DIRECTORY + path), &entry)?;
        entries += 1;
    }
    unpacker.finish_tree()?;
    let Unpacker { reader, metas, explicit_root, .. } = unpacker;
    let size = reader.position();
    let (source, log) = reader.into_parts();
    log.finish().map_err(UnpackError::Log)?;
    let opaque_root = metas.get(&b""[..]).is_some_and(|meta| meta.opaque);
    let diff_id = source.finish().map_err(UnpackError::Read)?;
    let implied = metas.into_iter().filter(|(path, meta)| meta.implied && !meta.opaque && !path.is_empty());
    let implied = Implied::new(implied.map(|(path, _)| path));
    Ok(Summary { diff_id, size, entries, opaque_root, explicit_root, implied })
}

/// Creates `fs/` so that nothing about the store's own directory (default ACL, set-group-id) leaks into it.
fn make_root(layer: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    mkdirat(layer, c"fs", Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fs = openat(layer, c"fs", flags, Mode::empty())?;
    for acl in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        match fremovexattr(&fs, acl) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    fchown(&fs, Some(geteuid()), Some(getegid()))?;
    fchmod(&fs, Mode::from_raw_mode(0o700))?;
    Ok(fs)
}

/// A failure before it is given the entry's name.
pub(crate) enum Fault {
    Problem(EntryProblem),
    Io(&'static str, Errno),
    /// The user who unpacks has no such user and group.
    NoId {
        uid: u32,
        gid: u32,
    },
    Other(UnpackError),
}

impl Fault {
    pub(crate) fn of(self, path: &[u8]) -> UnpackError {
        let entry = String::from_utf8_lossy(path).into_owned();
        match self {
            Self::Problem(problem) => UnpackError::Entry { entry, problem },
            Self::Io(operation, errno) => UnpackError::Io { entry, operation, source: errno.into() },
            Self::NoId { uid, gid } => UnpackError::NoId { entry, uid, gid },
            Self::Other(error) => error,
        }
    }
}

impl From<EntryProblem> for Fault {
    fn from(problem: EntryProblem) -> Self {
        Self::Problem(problem)
    }
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Self {
        Self::Other(error)
    }
}

impl From<WalkError> for Fault {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Problem(problem) => Self::Problem(problem),
            WalkError::Missing => Self::Io("open parent of", Errno::NOENT),
            WalkError::Io(operation, errno) => Self::Io(operation, errno),
        }
    }
}

struct Unpacker<'l, S> {
    reader: TarReader<S, File>,
    layer: BorrowedFd<'l>,
    defaults: Defaults,
    dirs: DirStack<'l>,
    /// A second way down, so that hard link targets do not move the first.
    link_dirs: DirStack<'l>,
    metas: DirMetas,
    /// Canonical paths removed from lower layers; made real at the end, when it is known what stands there.
    whiteouts: BTreeMap<Vec<u8>, ()>,
    shadows: u64,
    explicit_root: bool,
}

impl<S: TarSource> Unpacker<'_, S> {
    /// Directories and whiteouts that are remembered.
    fn known(&self) -> usize {
        self.metas.len() + self.whiteouts.len()
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        let path = normalise(&entry.path)?;
        let (parent, name) = match Place::of(&path)? {
            Place::Root => return self.root(entry),
            Place::Nowhere => return Ok(()),
            Place::Hidden { parent, name } => return self.whiteout(parent, name),
            Place::Opaque { directory } => {
                self.dirs.enter(directory, Some(&mut self.metas))?;
                self.metas.entry(self.dirs.path().to_vec()).or_default().opaque = true;
                return Ok(());
            }
            Place::At { parent, name } => (parent, name),
        };
        self.dirs.enter(parent, Some(&mut self.metas))?;
        let mut canonical = Vec::with_capacity(self.dirs.path().len() + 1 + name.len());
        join(&mut canonical, self.dirs.path(), name)?;
        if entry.kind == Kind::Hardlink {
            return self.hardlink(entry, &canonical, name);
        }
        let attrs = Attrs::of(entry)?;
        let name = CString::new(name).map_err(|_| EntryProblem::Nul)?;
        match entry.kind {
            Kind::Directory => self.directory(attrs, canonical, &name),
            Kind::File => self.file(entry, &attrs, &canonical, &name),
            Kind::Symlink => self.symlink(&entry.link, &attrs, &canonical, &name),
            Kind::CharDevice if entry.device == (0, 0) => {
                // This is what a whiteout is on disk, so it can be nothing else.
                if statat(self.dirs.current()?, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    self.replace(&canonical, &name)?;
                }
                self.whiteouts.insert(canonical, ());
                Ok(())
            }
            _ => self.node(entry, &attrs, &canonical, &name),
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != Kind::Directory {
            return Err(EntryProblem::RootNotDirectory.into());
        }
        let opaque = self.metas.get(&b""[..]).is_some_and(|meta| meta.opaque);
        self.metas.insert(Vec::new(), Attrs::of(entry)?.into_dir(opaque));
        self.explicit_root = true;
        Ok(())
    }

    fn whiteout(&mut self, parent: &[u8], hidden: &[u8]) -> Result<(), Fault> {
        self.dirs.enter(parent, Some(&mut self.metas))?;
        let mut canonical = Vec::new();
        join(&mut canonical, self.dirs.path(), hidden)?;
        self.whiteouts.insert(canonical, ());
        Ok(())
    }

    fn directory(&mut self, attrs: Attrs, canonical: Vec<u8>, name: &CStr) -> Result<(), Fault> {
        let known = self.metas.get(&canonical).map(|meta| meta.opaque);
        if known.is_none() {
            // The final mode comes last: until then nothing inherits from it and nothing is kept out by it.
            self.make(&canonical, name, |parent| mkdirat(parent, name, Mode::from_raw_mode(0o700)))?;
        }
        self.metas.insert(canonical, attrs.into_dir(known.unwrap_or_default()));
        Ok(())
    }

    fn file(&mut self, entry: &Entry, attrs: &Attrs, canonical: &[u8], name: &CStr) -> Result<(), Fault> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(attrs.mode & 0o777);
        let fd = self.make(canonical, name, |parent| openat(parent, name, flags, mode))?;
        let mut writer = FileWriter::new(fd.as_fd(), entry.size, entry.sparse.is_some());
        let whole = [crate::tar::Extent { offset: 0, length: entry.size }];
        let io = |operation| {
            let path = &entry.path;
            move |errno| Fault::Io(operation, errno).of(path)
        };
        for extent in entry.sparse.as_deref().unwrap_or(&whole) {
            self.reader.log.content(canonical, extent.offset, extent.length).map_err(UnpackError::Log)?;
            writer.seek(extent.offset);
            self.reader.content(extent.length, |bytes| writer.write(bytes).map_err(io("write")))?;
        }
        writer.finish(entry.size).map_err(|e| Fault::Io("set the size of", e))?;
        attrs.apply(fd.as_fd(), &self.defaults)
    }

    fn symlink(&mut self, target: &[u8], attrs: &Attrs, canonical: &[u8], name: &CStr) -> Result<(), Fault> {
        let target = CString::new(target).map_err(|_| EntryProblem::Nul)?;
        self.make(canonical, name, |parent| symlinkat(&target, parent, name))?;
        attrs.apply_at(self.dirs.current()?, name, true, &self.defaults)
    }

    fn node(&mut self, entry: &Entry, attrs: &Attrs, canonical: &[u8], name: &CStr) -> Result<(), Fault> {
        let (major, minor) = entry.device;
        let (kind, device) = match entry.kind {
            Kind::CharDevice => (FileType::CharacterDevice, device(major, minor)?),
            Kind::BlockDevice => (FileType::BlockDevice, device(major, minor)?),
            _ => (FileType::Fifo, (0, 0)),
        };
        if entry.kind != Kind::Fifo && !self.defaults.rights.makes_devices() {
            // As Podman does. Programs that need it are given it by name (`--device`).
            return Ok(());
        }
        let device = makedev(device.0, device.1);
        self.make(canonical, name, |parent| mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device))?;
        attrs.apply_at(self.dirs.current()?, name, false, &self.defaults)
    }

    fn hardlink(&mut self, entry: &Entry, canonical: &[u8], name: &[u8]) -> Result<(), Fault> {
        let shown = || shown_link(entry);
        let target = link_target(entry)?;
        let (parent, target_name) = split(&target);
        match self.link_dirs.enter(parent, None) {
            Err(WalkError::Missing) => return Err(EntryProblem::LinkMissing(shown()).into()),
            result => result?,
        }
        let mut from = Vec::new();
        join(&mut from, self.link_dirs.path(), target_name)?;
        if from == canonical {
            return Ok(()); // already what it should be; moving it aside first would lose it
        }
        if self.metas.contains_key(&from) {
            return Err(EntryProblem::LinkToDirectory(shown()).into());
        }
        let name = CString::new(name).map_err(|_| EntryProblem::Nul)?;
        let link = |unpacker: &mut Self| -> Result<Result<(), Errno>, Fault> {
            let target = unpacker.link_dirs.current()?;
            Ok(linkat(target, target_name, unpacker.dirs.current()?, &name, AtFlags::empty()))
        };
        let mut result = link(self)?;
        if result == Err(Errno::EXIST) {
            // Looked for again: the target may have been inside what is moved away.
            self.replace(canonical, &name)?;
            match self.link_dirs.enter(parent, None) {
                Err(WalkError::Missing) => return Err(EntryProblem::LinkMissing(shown()).into()),
                entered => entered?,
            }
            result = link(self)?;
        }
        match result {
            Err(Errno::NOENT) => Err(EntryProblem::LinkMissing(shown()).into()),
            result => result.map_err(|e| Fault::Io("create", e)),
        }
    }

    /// Creates something at `name` in the current directory; what stands there is moved aside once.
    fn make<T>(
        &mut self,
        canonical: &[u8],
        name: &CStr,
        create: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        match create(self.dirs.current()?) {
            Err(Errno::EXIST) => {
                self.replace(canonical, name)?;
                create(self.dirs.current()?)
            }
            result => result,
        }
        .map_err(|e| Fault::Io("create", e))
    }

    /// Takes away what an earlier entry put at `name`: the last entry wins. Content goes to `shadow/`, since
    /// the tar cannot be written again without it.
    fn replace(&mut self, canonical: &[u8], name: &CStr) -> Result<(), Fault> {
        let io = |operation| move |e| Fault::Io(operation, e);
        let parent = self.dirs.current()?;
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io("replace"))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_size == 0 => {
                unlinkat(parent, name, AtFlags::empty()).map_err(io("replace"))?;
            }
            FileType::RegularFile | FileType::Directory => {
                if self.shadows == 0 {
                    mkdirat(self.layer, c"shadow", Mode::from_raw_mode(0o700)).map_err(io("replace"))?;
                }
                let aside = format!("shadow/{}", self.shadows);
                renameat(parent, name, self.layer, aside).map_err(io("replace"))?;
                self.reader.log.shadow(canonical, self.shadows).map_err(UnpackError::Log)?;
                self.shadows += 1;
            }
            _ => unlinkat(parent, name, AtFlags::empty()).map_err(io("replace"))?,
        }
        self.metas.remove(canonical);
        forget_below(&mut self.metas, canonical);
        forget_below(&mut self.whiteouts, canonical);
        self.dirs.invalidate(canonical);
        self.link_dirs.invalidate(canonical);
        Ok(())
    }

    /// Whiteouts, then the attributes of directories, deepest first: creating entries changes times.
    fn finish_tree(&mut self) -> Result<(), UnpackError> {
        for path in std::mem::take(&mut self.whiteouts).into_keys() {
            match self.metas.get_mut(&path) {
                Some(meta) => meta.opaque = true,
                None => self.make_whiteout(&path).map_err(|fault| fault.of(&path))?,
            }
        }
        let metas = std::mem::take(&mut self.metas);
        for (path, meta) in metas.iter().rev() {
            self.finish_dir(path, meta).map_err(|fault| fault.of(path))?;
        }
        self.metas = metas;
        Ok(())
    }

    fn make_whiteout(&mut self, path: &[u8]) -> Result<(), Fault> {
        let (parent, name) = split(path);
        self.dirs.enter(parent, None)?;
        let parent = self.dirs.current()?;
        match mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()), // a file of this layer hides the lower one by itself
            Err(errno) => Err(Fault::Io("create whiteout for", errno)),
        }
    }

    fn finish_dir(&mut self, path: &[u8], meta: &DirMeta) -> Result<(), Fault> {
        self.dirs.enter(path, None)?;
        let dir = dirs::open_for_attributes(self.dirs.current()?).map_err(|e| Fault::Io("open", e))?;
        meta.apply(dir, &self.defaults)
    }
}

fn join(out: &mut Vec<u8>, parent: &[u8], name: &[u8]) -> Result<(), EntryProblem> {
    out.extend_from_slice(parent);
    if !parent.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    if out.len() > MAX_PATH { Err(EntryProblem::PathTooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_directories_has_a_limit_in_both_forms() {
        let deep = |first: u8| format!("{first}/{}", "d/".repeat(500));
        let mut tar = crate::ArchiveWriter::new(Vec::new());
        for first in 0..10 {
            tar.add(&format!("{}file", deep(first)), 0, &mut &b""[..]).unwrap();
        }
        let tar = tar.finish().unwrap();
        for (most, fits) in [(300_000, false), (20_000_000, true)] {
            for erofs in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let layer = File::open(dir.path()).unwrap();
                let (source, kept) = (crate::HashingSource::new(&tar[..]), Kept::at_most(most));
                let done = match erofs {
                    true => crate::erofs::unpack_within(source, layer.as_fd(), kept),
                    false => unpack_within(source, layer.as_fd(), kept),
                };
                let text = "more than 300000 bytes of names and attributes of directories";
                match done {
                    Ok(summary) => assert!(fits && summary.entries == 10),
                    Err(error) => assert!(!fits && error.to_string().contains(text), "{error}"),
                }
            }
        }
    }
}
