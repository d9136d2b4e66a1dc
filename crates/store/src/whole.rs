//! All files of an image as one tree, for file systems on which overlayfs cannot keep changes.
//!
//! What is made is what an overlay of the layers would show. Layers are read here, in both forms, so nothing is mounted.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, SeekFrom, XattrFlags, copy_file_range, fsetxattr, fstat, ftruncate,
    linkat, makedev, mkdirat, mknodat, openat, readlinkat, seek, statat, symlinkat,
};
use rustix::io::{Errno, pwrite, retry_on_intr};

use crate::disk;
use crate::erofs::{Extent, FileKind, Image, Node, ReadError};
use crate::error::Error;
use crate::layer::{self, Layer};
use crate::listing::Item;
use crate::merged::{Shown, Stack, Trees, joined};
use crate::owners::Owners;
use crate::shifted::Content;
use crate::unpack::rules::split;
use crate::unpack::{Attrs, Defaults, DirStack, EntryProblem, Fault, defaults, open_for_attributes};
use crate::view::{Tree, open_beneath};
use crate::xattrs::{self, Xattrs};

/// Names of a file's content in another layer (overlayfs.rst, "Metadata only copy up", with `userxattr`).
const METACOPY: &CStr = c"user.overlay.metacopy";
const REDIRECT: &CStr = c"user.overlay.redirect";
/// Longer paths are not in an attribute: file systems have room for 4 KiB of them.
const LONGEST_REDIRECT: usize = 1024;

/// Shorter pieces of files are read and written.
const SHARED_FROM: u64 = 64 * 1024;

/// What a copy has of the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<'f> {
    /// Whom they belong to, if not to whom the layers say.
    pub(crate) owners: Option<&'f Owners>,
    pub(crate) content: Content,
}

/// Fills the directory `to` with the files of an image of these layers, the lowest first, and below them of the tree `skeleton`.
/// What `to` itself looks like is left to the caller.
pub(crate) fn copy(
    layers: &[Layer],
    skeleton: Option<&Path>,
    to: &Path,
    form: Form<'_>,
) -> Result<(), Error> {
    let root = layer::open_dir(to)?;
    let mut trees = Trees::default();
    let mut stack = trees.stack(layers)?;
    if let Some(skeleton) = skeleton {
        stack.push(trees.add(Tree::of_changes(skeleton.to_owned())?)?);
    }
    let failed = |path: &[u8], stop: Stop| match stop {
        Stop::Fault(fault) => Error::Copy { to: to.to_owned(), source: fault.of(path) },
        Stop::NoOwner(uid, gid) => {
            Error::NoOwner { path: Path::new("/").join(disk::os_path(path)), uid, gid }
        }
    };
    let usual = defaults(root.as_fd()).map_err(|e| failed(b"", Fault::Io("look at", e).into()))?;
    let mut copier = Copier {
        form,
        // A container without some is better than none.
        defaults: Defaults { may_lack_attributes: true, ..usual },
        dirs: DirStack::new(root.as_fd()),
        links: HashMap::new(),
        buffer: vec![0; 256 * 1024],
    };
    let mut left = below(&mut trees, b"", &stack)?;
    while let Some(step) = left.pop() {
        match step {
            Step::Make(path, shown) => {
                let tree = trees.get(shown.tree);
                copier.make(tree, &path, &shown).map_err(|stop| failed(&path, stop))?;
                if shown.item.is_dir() {
                    let inside = below(&mut trees, &path, &shown.merged)?;
                    left.push(Step::Finish(path, shown));
                    left.extend(inside);
                }
            }
            // What is made in a directory changes its times.
            Step::Finish(path, shown) => copier
                .finish(trees.get(shown.tree), &path, &shown.item)
                .map_err(|stop| failed(&path, stop))?,
        }
    }
    Ok(())
}

/// What is left to do.
enum Step {
    Make(Vec<u8>, Shown),
    Finish(Vec<u8>, Shown),
}

/// The steps for what is in a directory, the first of them last.
fn below(trees: &mut Trees<'_>, path: &[u8], stack: &Stack) -> Result<Vec<Step>, Error> {
    let lists = trees.lists(path, stack.iter())?;
    let shown = trees.merged(path, stack, &lists)?;
    Ok(shown.into_iter().rev().map(|(name, shown)| Step::Make(joined(path, name), shown)).collect())
}

/// Why a file could not be copied.
enum Stop {
    Fault(Fault),
    /// Who has it in the layer is nobody in the container.
    NoOwner(u32, u32),
}

impl<F: Into<Fault>> From<F> for Stop {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

struct Copier<'d> {
    form: Form<'d>,
    defaults: Defaults,
    dirs: DirStack<'d>,
    /// Where files with several names were first: by tree, and by the number of the inode there.
    links: HashMap<(usize, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl Copier<'_> {
    fn make(&mut self, tree: &Tree<'_>, path: &[u8], shown: &Shown) -> Result<(), Stop> {
        let item = &shown.item;
        let rights = self.defaults.rights;
        if !rights.makes(item.kind) {
            // As where layers are unpacked.
            return Ok(());
        }
        let (parent, name) = split(path);
        let name = &text(name.to_vec())?;
        let source = Source::open(tree, path, item)?;
        self.dirs.enter(parent, None)?;
        let root = self.dirs.root();
        let dir = self.dirs.current()?;
        let create = |e| Fault::Io("create", e);
        if let Some(number) = source.shared_by()? {
            if let Some(first) = self.links.get(&(shown.tree, number)) {
                // It was made here, and nothing that was is a link to elsewhere on its way.
                match linkat(root, first.as_slice(), dir, name, AtFlags::empty()) {
                    // It has as many names as the file system allows: what follows has the next file.
                    Err(Errno::MLINK | Errno::NAMETOOLONG) => {}
                    linked => return Ok(linked.map_err(create)?),
                }
            }
            self.links.insert((shown.tree, number), path.to_vec());
        }
        match item.kind {
            // The final mode comes last: until then nothing inherits from it and nothing is kept out by it.
            FileKind::Directory => mkdirat(dir, name, Mode::RWXU).map_err(create)?,
            FileKind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(item.mode & 0o777);
                let file = openat(dir, name, flags, mode).map_err(create)?;
                if item.size > 0 && self.form.content == Content::OfLayers && path.len() < LONGEST_REDIRECT {
                    refer(&file, path, item.size).map_err(|e| Fault::Io("name the content of", e))?;
                } else {
                    source.copy_to(file.as_fd(), item.size, &mut self.buffer)?;
                }
                attrs(&source, self.form.owners)?.apply(file.as_fd(), &self.defaults)?;
            }
            FileKind::Symlink => {
                symlinkat(source.target()?, dir, name).map_err(create)?;
                attrs(&source, self.form.owners)?.apply_at(dir, name, true, &self.defaults)?;
            }
            FileKind::CharDevice | FileKind::BlockDevice | FileKind::Fifo => {
                let kind = match item.kind {
                    FileKind::CharDevice => FileType::CharacterDevice,
                    FileKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = makedev(item.device.0, item.device.1);
                mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device).map_err(create)?;
                attrs(&source, self.form.owners)?.apply_at(dir, name, false, &self.defaults)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, tree: &Tree<'_>, path: &[u8], item: &Item) -> Result<(), Stop> {
        let attrs = attrs(&Source::open(tree, path, item)?, self.form.owners)?;
        self.dirs.enter(path, None)?;
        let dir = open_for_attributes(self.dirs.current()?).map_err(|e| Fault::Io("open", e))?;
        Ok(attrs.into_dir(false).apply(dir, &self.defaults)?)
    }
}

/// Makes an empty file one whose content is what layers have at this path.
fn refer(file: &OwnedFd, path: &[u8], size: u64) -> Result<(), Errno> {
    ftruncate(file, size)?;
    fsetxattr(file, METACOPY, b"", XattrFlags::empty())?;
    fsetxattr(file, REDIRECT, &[b"/", path].concat(), XattrFlags::empty())
}

/// The attributes of a file, with these owners.
fn attrs(source: &Source<'_>, owners: Option<&Owners>) -> Result<Attrs, Stop> {
    let (mut attrs, mut xattrs) = source.attrs()?;
    if let Some(owners) = owners {
        let no_owner = Stop::NoOwner(attrs.uid, attrs.gid);
        (attrs.uid, attrs.gid) = owners.outside(attrs.uid, attrs.gid).ok_or(no_owner)?;
        xattrs = owners.attributes(xattrs);
    }
    let xattrs = xattrs.into_iter().filter(|(name, _)| xattrs::belongs(name));
    attrs.xattrs = xattrs.filter_map(|(name, value)| Some((CString::new(name).ok()?, value))).collect();
    Ok(attrs)
}

/// A file of a layer.
enum Source<'t> {
    /// In an unpacked tree; open unless it is a link, a device or a pipe.
    Dir {
        parent: OwnedFd,
        name: CString,
        file: Option<File>,
    },
    Image {
        image: &'t Image<File>,
        node: Node,
    },
}

impl<'t> Source<'t> {
    fn open(tree: &'t Tree<'_>, path: &[u8], item: &Item) -> Result<Self, Fault> {
        let opened = |e| Fault::Io("open", e);
        match (tree, item.node) {
            (Tree::Erofs(_, image), Some(node)) => Ok(Self::Image { image, node }),
            (Tree::Erofs(..), None) => Err(opened(Errno::NOENT)),
            (Tree::Dir(_, root), _) => {
                let (parent, name) = split(path);
                let parent = open_beneath(root.as_fd(), parent).map_err(opened)?;
                let name = text(name.to_vec())?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let open = || match openat(&parent, &name, flags | OFlags::NOATIME, Mode::empty()) {
                    Err(Errno::PERM) => openat(&parent, &name, flags, Mode::empty()),
                    file => file,
                };
                let file = match item.kind {
                    FileKind::File | FileKind::Directory => Some(open().map_err(opened)?.into()),
                    _ => None,
                };
                Ok(Self::Dir { parent, name, file })
            }
        }
    }

    /// The number of its inode, if that has several names.
    fn shared_by(&self) -> Result<Option<u64>, Fault> {
        Ok(match self {
            Self::Image { node, .. } => node.has_links().then(|| node.number()),
            Self::Dir { parent, name, .. } => {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(looked)?;
                let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                (stat.st_nlink > 1 && !is_dir).then_some(stat.st_ino)
            }
        })
    }

    /// Without extended attributes, and these.
    fn attrs(&self) -> Result<(Attrs, Xattrs), Fault> {
        Ok(match self {
            Self::Image { image, node } => {
                let (uid, gid) = node.owner();
                let (mode, mtime) = (node.mode(), node.mtime());
                let attrs = Attrs { uid, gid, mode, mtime, atime: mtime, xattrs: Vec::new() };
                (attrs, image.xattrs(node).map_err(unreadable)?)
            }
            Self::Dir { parent, name, file } => {
                let stat = match file {
                    Some(file) => fstat(file),
                    None => statat(parent, name, AtFlags::SYMLINK_NOFOLLOW),
                };
                let stat = stat.map_err(looked)?;
                let xattrs = match file {
                    Some(file) => xattrs::of(file),
                    None => xattrs::at(parent.as_fd(), name),
                };
                let attrs = Attrs {
                    uid: stat.st_uid,
                    gid: stat.st_gid,
                    mode: stat.st_mode & 0o7777,
                    mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
                    atime: (stat.st_atime, stat.st_atime_nsec as u32),
                    xattrs: Vec::new(),
                };
                (attrs, xattrs.map_err(looked)?)
            }
        })
    }

    fn target(&self) -> Result<CString, Fault> {
        match self {
            Self::Image { image, node } => {
                let target = image.target(node).map_err(unreadable)?;
                text(target)
            }
            Self::Dir { parent, name, .. } => readlinkat(parent, name, Vec::new()).map_err(looked),
        }
    }

    fn copy_to(&self, to: BorrowedFd<'_>, size: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let file = match self {
            Self::Image { image, .. } => image.source(),
            Self::Dir { file: Some(file), .. } => file,
            Self::Dir { file: None, .. } => return Ok(()),
        };
        for extent in self.extents(size)? {
            copy_range(file, to, extent, buffer)?;
        }
        // It may end in a hole.
        ftruncate(to, size).map_err(|e| Fault::Io("set the size of", e))
    }

    /// Where there is content; holes are left out where the file system tells of them.
    fn extents(&self, size: u64) -> Result<Vec<Extent>, Fault> {
        let file = match self {
            Self::Image { image, node } => return image.extents(node).map_err(unreadable),
            Self::Dir { file: None, .. } => return Ok(Vec::new()),
            Self::Dir { file: Some(file), .. } => file,
        };
        let mut extents = Vec::new();
        let mut end = 0;
        let failed = |e| Fault::Io("read", e);
        while end < size {
            let start = match seek(file, SeekFrom::Data(end)) {
                // Nothing but a hole follows.
                Err(Errno::NXIO) => break,
                start => start.map_err(failed)?,
            };
            end = seek(file, SeekFrom::Hole(start)).map_err(failed)?.min(size);
            if end <= start {
                break;
            }
            extents.push(Extent { offset: start, at: start, length: end - start });
        }
        Ok(extents)
    }
}

fn copy_range(file: &File, to: BorrowedFd<'_>, extent: Extent, buffer: &mut [u8]) -> Result<(), Fault> {
    let Extent { mut offset, mut at, mut length } = extent;
    // Which shares blocks where the file system can, and is more work for what is small.
    while length >= SHARED_FROM {
        match copy_file_range(file, Some(&mut at), to, Some(&mut offset), length as usize) {
            Ok(count) if count > 0 => length -= count as u64,
            // Some file systems cannot.
            _ => break,
        }
    }
    while length > 0 {
        let count = length.min(buffer.len() as u64);
        let bytes = &mut buffer[..count as usize];
        file.read_exact_at(bytes, at).map_err(unread)?;
        let mut written = 0;
        while written < bytes.len() {
            let count = retry_on_intr(|| pwrite(to, &bytes[written..], offset + written as u64));
            written += count.map_err(|e| Fault::Io("write", e))?;
        }
        (offset, at, length) = (offset + count, at + count, length - count);
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<CString, Fault> {
    Ok(CString::new(bytes).map_err(|_| EntryProblem::Nul)?)
}

fn looked(errno: Errno) -> Fault {
    Fault::Io("look at", errno)
}

fn unread(error: std::io::Error) -> Fault {
    Fault::Io("read", Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn unreadable(error: ReadError) -> Fault {
    match error {
        ReadError::Io(error) => unread(error),
        ReadError::Damaged(_) => Fault::Io("read", Errno::UCLEAN),
    }
}
