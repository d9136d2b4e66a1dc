//! What things occupy on disk, counted as `du` does: blocks, and a file with several names once.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::image::Digest;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, StatVfs, fstat, openat, statat, statvfs};
use rustix::io::Errno;

use crate::check::leftovers::{self, LeftoverKind};
use crate::disk;
use crate::error::{Context, Error};
use crate::layer::Layer;
use crate::partial::PARTIAL;
use crate::shifted::SHIFTED;
use crate::store::Store;

/// Size of the blocks that `st_blocks` counts (stat(2)).
const BLOCK: u64 = 512;
/// What is of no image, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherUsage {
    /// See [`Store::leftovers_usage`].
    pub left_over: u64,
    /// What somebody fetches or unpacks at the moment, lists of images, layers that only containers have, and trees with their owners.
    pub needed: u64,
}

/// How often a tree is counted from its start in which directories are moved about; then what was found has to do.
const TRIES: u32 = 8;

impl Store {
    /// Bytes that a layer occupies on disk, in whatever form it is kept.
    pub fn layer_usage(&self, layer: &Layer) -> Result<u64, Error> {
        tree(&self.layer_path(layer.diff_id().hex()))
    }

    /// Whether there is room for `needed` bytes more, as far as can be known before they come. Reserving them would be certain, but
    /// a directory cannot be reserved. Beginnings of blobs go for it.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn expect_room(&self, needed: u64) -> Result<(), Error> {
        self.has_room(needed).or_else(|_| {
            self.forget_partials();
            self.has_room(needed)
        })
    }

    fn has_room(&self, needed: u64) -> Result<(), Error> {
        let stat = statvfs(self.root()).during("look at", self.root())?;
        match free_bytes(&stat) {
            Some(free) if needed > free => {
                let source = Errno::NOSPC.into();
                Err(Error::NoRoom { root: self.root().to_path_buf(), needed, free, source })
            }
            _ => Ok(()),
        }
    }

    /// Bytes that a manifest, index or configuration occupies on disk; none for a missing one.
    pub fn blob_usage(&self, digest: &Digest) -> Result<u64, Error> {
        occupied(&self.blob_path(digest))
    }

    /// Bytes that are occupied by what nobody needs, and the next prune takes: what was half made, layers and blobs of no image,
    /// beginnings of blobs.
    pub fn leftovers_usage(&self) -> Result<u64, Error> {
        self.left_over()?.map(|path| occupied(&path)).sum()
    }

    fn left_over(&self) -> Result<impl Iterator<Item = PathBuf>, Error> {
        // What is removed already goes by itself.
        let left = leftovers::find(self)?.into_iter().filter(|leftover| leftover.kind != LeftoverKind::Tomb);
        Ok(left.map(|leftover| leftover.path))
    }

    /// What is of none of some images, which are known by the hexadecimal diffIDs of their layers and the digests of their blobs. What
    /// is removed already goes by itself, and does not count.
    pub fn other_usage(
        &self,
        layers: &HashSet<String>,
        blobs: &HashSet<String>,
    ) -> Result<OtherUsage, Error> {
        self.inventory(layers, blobs)?.count()
    }

    /// What there is of it at one moment, of which files are counted already. Directories are not: that takes long, and nobody is to
    /// wait for it.
    fn inventory(&self, layers: &HashSet<String>, blobs: &HashSet<String>) -> Result<Inventory, Error> {
        let left: HashSet<PathBuf> = self.left_over()?.collect();
        // So that nothing gets its final place meanwhile, and is counted at both or at none.
        let _lock = self.exclude()?;
        let mut found = Inventory { left, ..Inventory::default() };
        for dir in [self.path("leases"), self.path(PARTIAL), self.path(SHIFTED)] {
            within(&dir)?.into_iter().try_for_each(|path| found.add(path))?;
        }
        // What is staged is renamed when it is ready.
        for lease in within(&self.staging())? {
            found.add_opened(lease)?;
        }
        for link in within(&self.path("by-blob"))? {
            if found.left.contains(&link) {
                found.add(link)?;
            }
        }
        let is_other =
            |path: &PathBuf| path.file_name().is_none_or(|hex| !layers.contains(&*hex.to_string_lossy()));
        within(&self.path("layers"))?.into_iter().filter(is_other).try_for_each(|path| found.add(path))?;
        for algorithm in within(&self.path("blobs"))? {
            let name = algorithm.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for shard in within(&algorithm)? {
                let digest =
                    |path: &PathBuf| path.file_name().map(|hex| format!("{name}:{}", hex.to_string_lossy()));
                let is_other = |path: &PathBuf| digest(path).is_none_or(|digest| !blobs.contains(&digest));
                within(&shard)?.into_iter().filter(is_other).try_for_each(|path| found.add(path))?;
            }
        }
        Ok(found)
    }

    /// Bytes that everything in a directory occupies on disk; none for one that is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tree_usage(path: &Path) -> Result<u64, Error> {
        // Itself it is no file that anybody put there.
        let own = look(path)?.filter(is_dir).map_or(0, |stat| blocks(&stat));
        Ok(occupied(path)?.saturating_sub(own))
    }

    /// Bytes that a container's changes to its root file system occupy on disk; none where it has none.
    pub fn rootfs_usage(&self, id: &str) -> Result<u64, Error> {
        Self::tree_usage(&self.container_dir(id)?.join("upper"))
    }
}

/// Directories that are kept open while they are counted, at most. Where more is being made than that, what gets its place meanwhile
/// may be missed.
const MAX_OPEN: usize = 256;

/// What was there at one moment, and is not of images.
#[derive(Default)]
struct Inventory {
    /// Which of it nobody needs.
    left: HashSet<PathBuf>,
    /// What has been counted of it.
    usage: OtherUsage,
    /// Trees that nobody moves but to remove them.
    trees: Vec<PathBuf>,
    /// Trees that are wherever they are, and whether nobody needs them.
    opened: Vec<(OwnedFd, bool)>,
}

impl Inventory {
    fn count_in(&mut self, is_left: bool, bytes: u64) {
        let sum = if is_left { &mut self.usage.left_over } else { &mut self.usage.needed };
        *sum += bytes;
    }

    /// Adds what stays where it is.
    fn add(&mut self, path: PathBuf) -> Result<(), Error> {
        match look(&path)? {
            Some(stat) if is_dir(&stat) => self.trees.push(path),
            Some(stat) => self.count_in(self.left.contains(&path), blocks(&stat)),
            None => {}
        }
        Ok(())
    }

    /// Adds what a lease is making, each thing for itself.
    fn add_opened(&mut self, lease: PathBuf) -> Result<(), Error> {
        let is_left = self.left.contains(&lease);
        match look(&lease)? {
            // What is left by the dead goes nowhere.
            Some(stat) if is_dir(&stat) && !is_left => self.count_in(is_left, blocks(&stat)),
            _ => return self.add(lease),
        }
        for path in within(&lease)? {
            match look(&path)? {
                Some(stat) if is_dir(&stat) && self.opened.len() < MAX_OPEN => {
                    match open(CWD, path.as_os_str().as_encoded_bytes()) {
                        Err(Errno::NOENT) => {}
                        dir => self.opened.push((dir.during("open", &path)?, is_left)),
                    }
                }
                _ => self.add(path)?,
            }
        }
        Ok(())
    }

    /// Counts all of it; what is gone meanwhile is passed over.
    fn count(mut self) -> Result<OtherUsage, Error> {
        for path in std::mem::take(&mut self.trees) {
            let bytes = occupied(&path)?;
            self.count_in(self.left.contains(&path), bytes);
        }
        for (dir, is_left) in std::mem::take(&mut self.opened) {
            let bytes = tree_from(Path::new("what is being made"), || open(&dir, b"."))?;
            self.count_in(is_left, bytes);
        }
        Ok(self.usage)
    }
}

/// What is in a directory; nothing in one that is not there.
fn within(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(disk::names(dir)?.into_iter().map(|name| dir.join(name)).collect())
}

/// Bytes that are free on a file system; `None` for one that says nothing before it is full. What is kept for root counts: that is who
/// writes here.
pub(crate) fn free_bytes(stat: &StatVfs) -> Option<u64> {
    (stat.f_blocks > 0).then(|| stat.f_bfree.saturating_mul(stat.f_frsize))
}

/// What there is; `None` when it is gone.
fn look(path: &Path) -> Result<Option<Stat>, Error> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        result => result.during("look at", path).map(Some),
    }
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Bytes that a file or a tree occupies; none what is not there.
fn occupied(path: &Path) -> Result<u64, Error> {
    match look(path)? {
        Some(stat) if is_dir(&stat) => tree(path),
        Some(stat) => Ok(blocks(&stat)),
        None => Ok(0),
    }
}

/// A directory on the way down: which it is, and the directories in it that are still to be counted.
struct Frame {
    id: (u64, u64),
    left: Vec<Vec<u8>>,
}

fn tree(path: &Path) -> Result<u64, Error> {
    tree_from(path, || open(CWD, path.as_os_str().as_encoded_bytes()))
}

fn tree_from(path: &Path, start: impl Fn() -> Result<OwnedFd, Errno>) -> Result<u64, Error> {
    let mut total = 0;
    for _ in 0..TRIES {
        total = 0;
        match start().and_then(|dir| count(dir, &mut total)) {
            Err(Errno::STALE) => {}
            // It is being removed.
            Err(Errno::NOENT) => break,
            result => return result.map(|()| total).during("count the blocks of", path),
        }
    }
    Ok(total)
}

/// Descriptors do not grow with the depth that a container chose: the way back is `..`, and is checked.
fn count(mut current: OwnedFd, total: &mut u64) -> Result<(), Errno> {
    let mut seen = HashSet::new();
    let stat = fstat(&current)?;
    let device = stat.st_dev;
    *total += blocks(&stat);
    let mut stack = vec![Frame { id: (stat.st_dev, stat.st_ino), left: list(&current, &mut seen, total)? }];
    while let Some(frame) = stack.last_mut() {
        let Some(name) = frame.left.pop() else {
            stack.pop();
            let Some(parent) = stack.last() else { break };
            current = open(&current, b"..")?;
            let stat = fstat(&current)?;
            if (stat.st_dev, stat.st_ino) != parent.id {
                return Err(Errno::STALE); // somebody moved it meanwhile
            }
            continue;
        };
        let child = match open(&current, &name) {
            // It was removed or replaced since it was listed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            result => result?,
        };
        let stat = fstat(&child)?;
        // What is mounted there is not part of it.
        if stat.st_dev == device {
            *total += blocks(&stat);
            let left = list(&child, &mut seen, total)?;
            stack.push(Frame { id: (stat.st_dev, stat.st_ino), left });
            current = child;
        }
    }
    Ok(())
}

fn open(dir: impl std::os::fd::AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Counts what is no directory; the names of the directories.
fn list(dir: &OwnedFd, seen: &mut HashSet<u64>, total: &mut u64) -> Result<Vec<Vec<u8>>, Errno> {
    let mut directories = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            result => result?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            directories.push(name.to_bytes().to_vec());
        } else if stat.st_nlink == 1 || seen.insert(stat.st_ino) {
            *total += blocks(&stat);
        }
    }
    Ok(directories)
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().to_path_buf();
        for level in 0..200 {
            deep.push(format!("level-{level}"));
            std::fs::create_dir(&deep).unwrap();
            std::fs::write(deep.join("file"), vec![1; level * 100]).unwrap();
        }
        std::fs::hard_link(deep.join("file"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let blocks = |path: &Path| std::fs::symlink_metadata(path).unwrap().blocks() * BLOCK;
        let mut sum = blocks(dir.path()) + blocks(&dir.path().join("root"));
        for path in deep.ancestors().take_while(|path| *path != dir.path()) {
            sum += blocks(path) + blocks(&path.join("file"));
        }
        assert_eq!(tree(dir.path()).unwrap(), sum);
    }

    #[test]
    fn what_is_removed_or_moved_about_meanwhile_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tree(&dir.path().join("gone")).unwrap(), 0);
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for place in [&a, &b] {
            std::fs::create_dir(place).unwrap();
        }
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::create_dir_all(a.join("x/y/z")).unwrap();
                    std::fs::rename(a.join("x"), b.join("x")).unwrap();
                    std::fs::remove_dir_all(b.join("x")).unwrap();
                }
            });
            let counted: Vec<_> = (0..2000).map(|_| tree(dir.path()).map(drop)).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            counted.into_iter().for_each(|one| one.unwrap());
        });
    }

    #[test]
    fn nobody_waits_while_trees_are_counted_and_what_gets_its_place_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let durability = crate::Durability::None;
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run"), durability).unwrap();
        let lease = store.lease().unwrap();
        let mut tar = crate::ArchiveWriter::new(Vec::new());
        for name in ["a", "b/c"] {
            tar.add(name, 70_000, &mut &[1; 70_000][..]).unwrap();
        }
        let tar = tar.finish().unwrap();
        let staged = lease.unpack_layer(crate::HashingSource::new(&tar[..])).unwrap();
        let dead = store.staging().join("lease-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("file"), [1; 9000]).unwrap();
        let all = HashSet::new();
        let found = store.inventory(&all, &all).unwrap();
        assert_eq!(store.other_usage(&all, &all).unwrap().left_over, occupied(&dead).unwrap());
        let first = |dir: &str| blocks(&look(&within(&store.path(dir)).unwrap()[0]).unwrap().unwrap());
        let fixed = first("leases") + blocks(&look(&lease.staging()).unwrap().unwrap());
        // A prune, and a pull that goes on.
        drop(store.try_exclude().unwrap().expect("nobody has the lock"));
        std::fs::remove_dir_all(&dead).unwrap();
        let layer = staged.commit(None, None).unwrap();
        let needed = fixed + store.layer_usage(&layer).unwrap();
        assert!(needed > 140_000);
        assert_eq!(found.count().unwrap(), OtherUsage { left_over: 0, needed });
    }
}
