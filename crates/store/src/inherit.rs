//! Implied directories get the attributes the layers below give them.
//!
//! An engine that unpacks each layer onto its parents leaves a directory alone that a tar only implies. Here
//! layers are unpacked alone and shared between images, so overlayfs shows the attributes that were made up
//! for it. Which ones are right depends on the image, so they are put where an image's container has room of
//! its own: the directory is made in `upper`, which overlayfs shows first.
//!
//! The layers are looked at as overlayfs looks at them: a whiteout, an opaque directory or anything that is
//! no directory hides what stands below it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    fgetxattr_query, flistxattr, flistxattr_query, fsetxattr, fstat, futimens, mkdirat, openat2,
};
use rustix::io::Errno;

use crate::disk;
use crate::error::{Context, Error};
use crate::layer::{self, Layer};
use crate::unpack::OPAQUE;

/// Makes, in the directory `upper`, what the implied directories of `layers` (top first) inherit.
///
/// Looks only at directories that more than one layer has, and at nothing when no layer implies any.
pub(crate) fn inherit(layers: &[&Layer], upper: &Path) -> Result<(), Error> {
    // There is nothing for the lowest layer to inherit from.
    let Some((_, above)) = layers.split_last() else { return Ok(()) };
    let mut paths: Vec<&[u8]> = above.iter().flat_map(|layer| layer.document().implied.iter()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    // Each directory directly before what is below it.
    let slash = |byte: &u8| *byte == b'/';
    paths.sort_unstable_by(|a, b| a.split(slash).cmp(b.split(slash)));
    paths.dedup();
    let mut walk = Walk::new(layers, upper)?;
    for path in paths {
        walk.visit(path)?;
    }
    walk.leave(0)
}

/// One directory on the way from the root to the current one.
struct Level {
    /// End of its path in [`Walk::path`].
    end: usize,
    /// Layers whose directories overlayfs merges here, top first. Empty when it shows no directory.
    merged: Vec<usize>,
    /// It is in `upper`, its attributes still to come.
    made: bool,
}

/// A way down all layers at once. No descriptor is kept for its levels, whose number a layer chooses.
struct Walk<'l> {
    layers: &'l [&'l Layer],
    roots: Vec<OwnedFd>,
    upper: &'l Path,
    upper_root: OwnedFd,
    path: Vec<u8>,
    levels: Vec<Level>,
}

impl<'l> Walk<'l> {
    fn new(layers: &'l [&'l Layer], upper: &'l Path) -> Result<Self, Error> {
        let roots = layers.iter().map(|layer| layer::open_dir(&layer.fs())).collect::<Result<_, _>>()?;
        let upper_root = layer::open_dir(upper)?;
        Ok(Self { layers, roots, upper, upper_root, path: Vec::new(), levels: Vec::new() })
    }

    /// Makes `path` in `upper` if the topmost layer that has it only implies it and another below does more.
    fn visit(&mut self, path: &[u8]) -> Result<(), Error> {
        let shared = self.levels.iter().rposition(|level| is_at_or_below(path, &self.path[..level.end]));
        self.leave(shared.map_or(0, |level| level + 1))?;
        let mut at = self.levels.last().map_or(0, |level| level.end + 1);
        while at < path.len() {
            if self.levels.last().is_some_and(|level| level.merged.len() < 2) {
                return Ok(()); // no other layer can have anything here
            }
            let end = path[at..].iter().position(|&b| b == b'/').map_or(path.len(), |n| at + n);
            self.enter(&path[..end])?;
            at = end + 1;
        }
        let Some(level) = self.levels.last() else { return Ok(()) };
        match (level.merged.first(), self.described(level)) {
            (Some(&top), Some(source)) if top != source => self.make(),
            _ => Ok(()),
        }
    }

    /// Goes down to `path`, a directory in the current one.
    fn enter(&mut self, path: &[u8]) -> Result<(), Error> {
        let all: Vec<usize>;
        let parents = match self.levels.last() {
            Some(level) => &level.merged,
            None => {
                all = (0..self.layers.len()).collect();
                &all
            }
        };
        let mut merged = Vec::new();
        for &layer in parents {
            match open_beneath(self.roots[layer].as_fd(), path) {
                Ok(dir) => {
                    merged.push(layer);
                    if is_opaque(&dir).during("look at", &self.in_layer(layer, path))? {
                        break;
                    }
                }
                Err(Errno::NOENT) => {}
                // A whiteout, a file or a link.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                result => drop(result.during("open", &self.in_layer(layer, path))?),
            }
        }
        self.path.clear();
        self.path.extend_from_slice(path);
        self.levels.push(Level { end: path.len(), merged, made: false });
        Ok(())
    }

    /// The topmost layer whose tar describes the directory.
    fn described(&self, level: &Level) -> Option<usize> {
        let path = &self.path[..level.end];
        level.merged.iter().copied().find(|&layer| !self.layers[layer].document().implied.contains(path))
    }

    /// Makes the current directory and those above it, as far as they are missing.
    fn make(&mut self) -> Result<(), Error> {
        let mut start = 0usize;
        for level in &mut self.levels {
            let path = &self.path[..level.end];
            if !level.made {
                let parent = open_beneath(self.upper_root.as_fd(), &path[..start.saturating_sub(1)]);
                // The attributes come last: until then nothing inherits from them or is kept out by them.
                let made = parent.and_then(|parent| mkdirat(parent, &path[start..], Mode::RWXU));
                // There already: a container's directory is made twice when the first time was cut short.
                let made = made.or_else(|errno| if errno == Errno::EXIST { Ok(()) } else { Err(errno) });
                made.during("create", &self.upper.join(disk::os_path(path)))?;
                level.made = true;
            }
            start = level.end + 1;
        }
        Ok(())
    }

    /// Goes up until `depth` levels are left. What was made on the way is finished, as nothing is put there
    /// any more that would change its times.
    fn leave(&mut self, depth: usize) -> Result<(), Error> {
        while self.levels.len() > depth {
            let Some(level) = self.levels.pop() else { break };
            // One that was made only for another below it looks as it does without.
            let source = self.described(&level).or(level.merged.first().copied());
            if let (true, Some(layer)) = (level.made, source) {
                let path = &self.path[..level.end];
                let from = open_beneath(self.roots[layer].as_fd(), path)
                    .during("open", &self.in_layer(layer, path))?;
                open_beneath(self.upper_root.as_fd(), path)
                    .and_then(|to| copy_attributes(&from, &to))
                    .during("set attributes of", &self.upper.join(disk::os_path(path)))?;
            }
            self.path.truncate(self.levels.last().map_or(0, |level| level.end));
        }
        Ok(())
    }

    fn in_layer(&self, layer: usize, path: &[u8]) -> PathBuf {
        self.layers[layer].fs().join(disk::os_path(path))
    }
}

fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Opens a directory; no component is a link or leaves `root`.
fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(root, if path.is_empty() { b"." } else { path }, flags, Mode::empty(), resolve)
}

fn is_opaque(dir: &OwnedFd) -> Result<bool, Errno> {
    let mut value = [0; 8];
    match fgetxattr(dir, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Owner, mode, extended attributes and times, in an order in which none undoes another.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = fstat(from)?;
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(from, to)?;
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    futimens(to, &Timestamps { last_access: modified, last_modification: modified })
}

/// All but those of the overlay, which are about the layer and not the directory, and the labels of the host's
/// security modules, which the new directory already has.
fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let size = match flistxattr_query(from) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    let mut list = vec![0; size];
    let length = flistxattr(from, &mut list[..])?;
    let names = list[..length].split(|&b| b == 0).filter(|name| !name.is_empty());
    let foreign: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security."];
    let mut value = Vec::new();
    for name in names.filter(|name| !foreign.iter().any(|prefix| name.starts_with(prefix))) {
        value.resize(fgetxattr_query(from, name)?, 0);
        let length = fgetxattr(from, name, &mut value[..])?;
        fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}
