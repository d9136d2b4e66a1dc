//! A layer's tar becomes an image.
//!
//! Entries mean what they mean when a layer is unpacked into a directory ([`crate::unpack`]): the last one of a
//! path wins, parents are resolved inside the layer, whiteouts apply to lower layers only. Content that was
//! replaced stays in the file, since the tar cannot be written again without it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use oci_spec::image::Digest;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::content::Piece;
use super::format::{BLOCK_SIZE, DirBlocks, Dirent, FileKind};
use super::names::{For, NameId, Names, ROOT, Thing};
use super::table::Table;
use super::write::{Attributes, Directory, Spot, Writer};
use super::xattr;
use crate::digest::TarSource;
use crate::implied::Implied;
use crate::tar::{Entry, Extent, Kind, TarLog, TarReader};
use crate::unpack::rules::{Attrs, Kept, Place, device, link_target, normalise, shown_link, split};
use crate::unpack::{EntryProblem, Fault, Summary, UnpackError, WalkError};

/// Longest target of a symbolic link (`PATH_MAX`, with the NUL).
const MAX_TARGET: usize = 4095;

/// Turns `source` into `layer.erofs` and `tarhdr.zst` of the empty directory `layer`.
pub(crate) fn unpack<S: TarSource>(source: S, layer: BorrowedFd<'_>) -> Result<Summary, UnpackError> {
    unpack_within(source, layer, Kept::default())
}

pub(crate) fn unpack_within<S: TarSource>(
    source: S,
    layer: BorrowedFd<'_>,
    mut kept: Kept,
) -> Result<Summary, UnpackError> {
    let create = |name: &str| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        openat(layer, name, flags, Mode::from_raw_mode(0o600)).map(File::from).map_err(io::Error::from)
    };
    let log = create("tarhdr.zst").and_then(TarLog::new).map_err(UnpackError::Log)?;
    let writer = create("layer.erofs").and_then(Writer::new).map_err(UnpackError::Image)?;
    let mut builder = Builder {
        reader: TarReader::new(source, log),
        writer,
        names: Names::new(layer).map_err(UnpackError::Image)?,
        linked: HashMap::new(),
        explicit_root: false,
    };
    let mut entries = 0;
    while let Some(entry) = builder.reader.next()? {
        let known = builder.known();
        builder.entry(&entry).map_err(|fault| fault.of(&entry.path))?;
        kept.add(builder.known() - known, &entry)?;
        entries += 1;
    }
    let Builder { reader, mut writer, mut names, linked, explicit_root } = builder;
    let size = reader.position();
    let (source, log) = reader.into_parts();
    log.finish().map_err(UnpackError::Log)?;
    let diff_id = source.finish().map_err(UnpackError::Read)?;
    let listing = Listing::of(&mut names, &mut writer, linked).map_err(UnpackError::Image)?;
    let opaque_root = names.dirs[ROOT as usize].meta.opaque;
    let implied = listing.directories.iter().filter(|&&dir| dir != ROOT).filter(|&&dir| {
        let meta = &names.dirs[dir as usize].meta;
        meta.implied && !meta.opaque
    });
    let implied = Implied::new(implied.map(|&dir| names.path(dir)));
    listing.write(&mut names, writer, uuid(&diff_id))?;
    Ok(Summary { diff_id, size, entries, opaque_root, explicit_root, implied })
}

/// An identity for the file system that follows from the layer's (RFC 9562, version 8).
fn uuid(diff_id: &Digest) -> [u8; 16] {
    let mut uuid = [0; 16];
    for (byte, digits) in uuid.iter_mut().zip(diff_id.digest().as_bytes().chunks(2)) {
        let digits = digits.iter().filter_map(|&d| char::from(d).to_digit(16));
        *byte = digits.fold(0, |value, digit| value << 4 | digit as u8);
    }
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

struct Builder<S> {
    reader: TarReader<S, File>,
    writer: Writer,
    names: Names,
    /// Inodes that got a second name at some time.
    linked: HashMap<u64, u32>,
    explicit_root: bool,
}

impl<S: TarSource> Builder<S> {
    /// Bytes of what is remembered, but for extended attributes.
    fn known(&self) -> u64 {
        // A hash table's entry with its share of free ones.
        self.names.bytes() + self.linked.len() as u64 * 32
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        let path = normalise(&entry.path)?;
        let (parent, name) = match Place::of(&path)? {
            Place::Root => return self.root(entry),
            Place::Nowhere => return Ok(()),
            Place::Hidden { parent, name } => {
                let parent = self.names.enter(parent, true, For::Entry)?;
                let name = self.names.name(parent, name)?;
                self.names.hide(name);
                return Ok(());
            }
            Place::Opaque { directory } => {
                let directory = self.names.enter(directory, true, For::Entry)?;
                self.names.dir(directory).meta.opaque = true;
                return Ok(());
            }
            Place::At { parent, name } => (parent, name),
        };
        let parent = self.names.enter(parent, true, For::Entry)?;
        self.names.path_length(parent, name.len())?;
        if entry.kind == Kind::Hardlink {
            return self.hardlink(entry, parent, name);
        }
        let attrs = Attrs::of(entry)?;
        let name = self.names.name(parent, name)?;
        match entry.kind {
            Kind::Directory => self.directory(attrs, name),
            Kind::File => self.file(entry, &attrs, name),
            Kind::Symlink => self.symlink(&entry.link, &attrs, name),
            Kind::CharDevice if entry.device == (0, 0) => {
                // This is what a whiteout is on disk, so it can be nothing else.
                self.names.set(name, Thing::Nothing);
                self.names.hide(name);
                Ok(())
            }
            _ => self.node(entry, &attrs, name),
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != Kind::Directory {
            return Err(EntryProblem::RootNotDirectory.into());
        }
        let root = self.names.dir(ROOT);
        root.meta = Attrs::of(entry)?.into_dir(root.meta.opaque);
        self.explicit_root = true;
        Ok(())
    }

    fn directory(&mut self, attrs: Attrs, name: NameId) -> Result<(), Fault> {
        match self.names.get(name) {
            Thing::Directory(known) => {
                let meta = &mut self.names.dir(known).meta;
                *meta = attrs.into_dir(meta.opaque);
            }
            _ => drop(self.names.add_dir(name, attrs.into_dir(false))?),
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry, attrs: &Attrs, name: NameId) -> Result<(), Fault> {
        let attributes = attributes(FileKind::File, attrs, false)?;
        let failed = |operation| move |e: io::Error| io_fault(operation, e, &entry.path);
        let content = self.writer.content(entry.size, entry.sparse.is_some());
        let mut content = content.map_err(failed("set the size of"))?;
        let whole = [Extent { offset: 0, length: entry.size }];
        for extent in entry.sparse.as_deref().unwrap_or(&whole) {
            content.seek(extent.offset);
            let out = &mut self.writer.out;
            self.reader.content(extent.length, |bytes| content.write(out, bytes).map_err(failed("write")))?;
            for piece in content.pieces.drain(..) {
                match piece {
                    Piece::Extent { offset, count } => self.reader.log.extent(offset, count),
                    Piece::Zeros { count } => self.reader.log.zeros(count),
                }
                .map_err(UnpackError::Log)?;
            }
        }
        let (nid, tail) = self.writer.file(&attributes, content).map_err(failed("write"))?;
        if let Some(offset) = tail {
            self.reader.log.extent(offset, entry.size % BLOCK_SIZE).map_err(UnpackError::Log)?;
        }
        self.names.set(name, Thing::Inode(nid, FileKind::File));
        Ok(())
    }

    fn symlink(&mut self, target: &[u8], attrs: &Attrs, name: NameId) -> Result<(), Fault> {
        match target {
            target if target.contains(&0) => return Err(EntryProblem::Nul.into()),
            [] => return Err(Fault::Io("create", Errno::NOENT)),
            target if target.len() > MAX_TARGET => return Err(Fault::Io("create", Errno::NAMETOOLONG)),
            _ => {}
        }
        let mut attributes = attributes(FileKind::Symlink, attrs, false)?;
        attributes.mode = 0o777;
        let nid = self.writer.symlink(&attributes, target).map_err(|e| errno_fault("create", &e))?;
        let link = self.names.add_link(nid, target).map_err(|e| Fault::Io("remember", e))?;
        self.names.set(name, Thing::Link(link));
        Ok(())
    }

    fn node(&mut self, entry: &Entry, attrs: &Attrs, name: NameId) -> Result<(), Fault> {
        let (major, minor) = entry.device;
        let (kind, device) = match entry.kind {
            Kind::CharDevice => (FileKind::CharDevice, device(major, minor)?),
            Kind::BlockDevice => (FileKind::BlockDevice, device(major, minor)?),
            _ => (FileKind::Fifo, (0, 0)),
        };
        let attributes = attributes(kind, attrs, false)?;
        let nid = self.writer.node(kind, &attributes, device).map_err(|e| errno_fault("create", &e))?;
        self.names.set(name, Thing::Inode(nid, kind));
        Ok(())
    }

    fn hardlink(&mut self, entry: &Entry, parent: u32, name: &[u8]) -> Result<(), Fault> {
        let missing = || EntryProblem::LinkMissing(shown_link(entry));
        let target = link_target(entry)?;
        let (above, target_name) = split(&target);
        let find = |names: &mut Names| match names.enter(above, false, For::Link) {
            Err(WalkError::Missing) => Err(missing().into()),
            result => result.map_err(Fault::from),
        };
        let from = find(&mut self.names)?;
        self.names.path_length(from, target_name.len())?;
        if (from, target_name) == (parent, name) {
            return Ok(()); // already what it should be
        }
        let thing = match self.names.find(from, target_name) {
            _ if target_name.is_empty() => Thing::Directory(ROOT),
            found => found.map_or(Thing::Nothing, |id| self.names.get(id)),
        };
        let nid = match thing {
            Thing::Directory(_) => return Err(EntryProblem::LinkToDirectory(shown_link(entry)).into()),
            Thing::Nothing => return Err(missing().into()),
            Thing::Inode(nid, _) => nid,
            Thing::Link(index) => self.names.link(index),
        };
        let name = self.names.name(parent, name)?;
        if self.names.get(name) != Thing::Nothing {
            // Looked for again: the target may have been inside what goes away.
            self.names.set(name, Thing::Nothing);
            find(&mut self.names)?;
        }
        self.names.set(name, thing);
        self.linked.insert(nid, 0);
        Ok(())
    }
}

/// Attributes as an inode has them.
fn attributes(kind: FileKind, attrs: &Attrs, opaque: bool) -> Result<Attributes, Fault> {
    let mut mode = attrs.mode;
    let xattrs = xattr::encode(kind, &mut mode, &attrs.xattrs, opaque);
    let xattrs = xattrs.map_err(|e| Fault::Io("set extended attribute", e))?;
    Ok(Attributes { mode, uid: attrs.uid, gid: attrs.gid, mtime: attrs.mtime, xattrs })
}

fn io_fault(operation: &'static str, error: io::Error, path: &[u8]) -> UnpackError {
    errno_fault(operation, &error).of(path)
}

fn errno_fault(operation: &'static str, error: &io::Error) -> Fault {
    Fault::Io(operation, Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// The layer's tree when all entries are known.
struct Listing {
    /// Directories of the layer, the root first.
    directories: Vec<u32>,
    /// Their places in `directories`, by directory.
    index: Vec<u32>,
    /// Names by directory, sorted.
    names: Table<u32>,
    /// Where the names of each directory end in `names`.
    ends: Vec<usize>,
}

impl Listing {
    /// Whiteouts become inodes, and inodes learn how many names they have.
    fn of(names: &mut Names, writer: &mut Writer, mut linked: HashMap<u64, u32>) -> io::Result<Self> {
        let whiteout = Attributes { mode: 0, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };
        let live = names.live();
        let (sorted, places) = names.sorted(&live)?;
        for id in sorted.iter().copied().map(NameId) {
            names.tend();
            match names.get(id) {
                Thing::Nothing if names.is_hidden(id) => {
                    let nid = writer.node(FileKind::CharDevice, &whiteout, (0, 0))?;
                    names.set(id, Thing::Inode(nid, FileKind::CharDevice));
                }
                Thing::Directory(dir) if names.is_hidden(id) => names.dir(dir).meta.opaque = true,
                Thing::Nothing | Thing::Directory(_) => {}
                Thing::Inode(nid, _) => linked.get_mut(&nid).into_iter().for_each(|count| *count += 1),
                Thing::Link(link) => {
                    linked.get_mut(&names.link(link)).into_iter().for_each(|count| *count += 1);
                }
            }
        }
        for (nid, count) in linked {
            if count > 1 {
                writer.set_links(nid, count)?;
            }
        }
        let (mut directories, mut index, mut ends) = (Vec::new(), vec![0; live.len()], Vec::new());
        for dir in (0..live.len()).filter(|&dir| live[dir]) {
            index[dir] = directories.len() as u32;
            directories.push(dir as u32);
            ends.push(places[dir] as usize);
        }
        Ok(Self { directories, index, names: sorted, ends })
    }

    /// Writes the directories, which ends the image.
    fn write(&self, names: &mut Names, mut writer: Writer, uuid: [u8; 16]) -> Result<(), UnpackError> {
        let mut described = Vec::with_capacity(self.directories.len());
        for (index, &dir) in self.directories.iter().enumerate() {
            let meta = &names.dirs[dir as usize].meta;
            let attributes = attributes(FileKind::Directory, &meta.attrs, meta.opaque);
            let attributes = attributes.map_err(|fault| fault.of(&names.path(dir)))?;
            let size = DirBlocks::size(self.entries(names, &[], index).map(|entry| entry.name.len()));
            let below = self.of_directory(index).iter().inspect(|_| names.tend());
            let below = below.filter(|&&id| matches!(names.get(NameId(id)), Thing::Directory(_))).count();
            described.push(Directory { attributes, size, links: 2 + below as u32 });
        }
        let spots = writer.place(&described).map_err(UnpackError::Image)?;
        let entries = |index| self.entries(names, &spots, index);
        writer.finish(&described, &spots, entries, uuid).map(drop).map_err(UnpackError::Image)
    }

    fn of_directory(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[start..self.ends[index]]
    }

    /// The entries of a directory, sorted, with `.` and `..` among them. Directories have the number 0 as long
    /// as there are no `spots`.
    fn entries<'n>(
        &'n self,
        names: &'n Names,
        spots: &'n [Spot],
        index: usize,
    ) -> impl Iterator<Item = Dirent<'n>> {
        let directory = move |name: &'n [u8], dir: u32| {
            let nid = spots.get(self.index[dir as usize] as usize).map_or(0, Spot::nid);
            Dirent { name, nid, kind: FileKind::Directory }
        };
        let dir = self.directories[index];
        let dots = [directory(b".", dir), directory(b"..", names.dirs[dir as usize].parent)];
        let (mut dots, mut own) = (dots.into_iter().peekable(), self.of_directory(index).iter().peekable());
        std::iter::from_fn(move || {
            match (dots.peek(), own.peek()) {
                (Some(dot), Some(&&id)) if dot.name < names.text(NameId(id)) => return dots.next(),
                (_, None) => return dots.next(),
                _ => {}
            }
            let id = NameId(*own.next()?);
            names.tend();
            let name = names.text(id);
            Some(match names.get(id) {
                Thing::Inode(nid, kind) => Dirent { name, nid, kind },
                Thing::Link(link) => Dirent { name, nid: names.link(link), kind: FileKind::Symlink },
                Thing::Directory(dir) => directory(name, dir),
                Thing::Nothing => Dirent { name, nid: 0, kind: FileKind::Fifo },
            })
        })
    }
}
