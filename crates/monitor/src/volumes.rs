//! Volumes on disk, as their containers' workers need them: see `volumes` in the engine, which makes them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use loment_events::{Event, Kind, Reporter, Subject, What};
use loment_runtime::{InRoot, Owners, copy_tree};
use loment_sys::fd::is_at;
use loment_sys::quota;
use rustix::fs::{
    AtFlags, CWD, Dir, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, renameat,
    renameat_with, statat, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::Error;
use crate::error::Context;
use crate::launch::{Place, Removal, Volume};
use crate::mounts::has_mounts;

/// What containers see, in a volume's directory.
pub const DATA: &str = "_data";
/// The directory with an empty file for each container that has it.
pub const USERS: &str = "users";
/// A file that is there until the volume has been used and has something in it.
pub const FRESH: &str = "fresh";
/// A file that is there when the volume has got its owner and is still empty.
const OWNED: &str = "owned";
/// What is being copied from an image.
const COPY: &str = "copy";
/// All that there is to copy; what is not there any more has been moved to its place.
const READY: &str = "ready";

/// How long a start waits for another one that fills the volume.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same of whoever cleans up.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// How a volume's files are seen.
#[derive(Default)]
pub(crate) struct Shown {
    /// Where they are mounted, if they are not in its directory.
    pub(crate) mounted: Option<OwnedFd>,
    /// Whose they are there.
    pub(crate) owners: Owners,
}

/// Does what a volume's first use takes, once: what the container has where it is mounted is copied to it, and it gets that
/// directory's owner and mode. Where there is no such directory, it is given to `user`. One that has something in it stays as it is.
///
/// Whoever is killed in the middle, what it was to be is made by the next one: everything is copied aside first, and then moved to its
/// place name by name.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn use_first(
    volume: &Volume,
    shown: &Shown,
    root: &InRoot,
    user: Option<(u32, u32)>,
) -> Result<(), Error> {
    let Some(dir) = &volume.dir else { return Ok(()) };
    if !dir.join(FRESH).exists() {
        return Ok(());
    }
    let lock = locked(dir)?;
    prepare(volume, (&OwnedFd::from(lock), shown), root, user).context("prepare volume", dir.display())
}

/// The directory of a volume, locked.
pub(crate) fn locked(dir: &Path) -> Result<File, Error> {
    let lock = File::from(open_dir(CWD, dir).context("open volume", dir.display())?);
    if !locked_within(&lock, PATIENCE).context("lock volume", dir.display())? {
        let busy = io::Error::other("another container is filling it, and does not come to an end");
        return Err(busy).context("lock volume", dir.display());
    }
    Ok(lock)
}

fn prepare(
    volume: &Volume,
    (top, shown): (&OwnedFd, &Shown),
    root: &InRoot,
    user: Option<(u32, u32)>,
) -> io::Result<()> {
    // Somebody else may have done it meanwhile.
    match statat(top, FRESH, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        found => drop(found?),
    }
    let data = match &shown.mounted {
        Some(mounted) => open_dir(mounted, ".")?,
        None => open_dir(top, DATA)?,
    };
    let is_begun = statat(top, READY, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    if !is_begun && is_empty(&data)? {
        // Its owner is given once: who has it meanwhile, and has left it empty, may have given it to somebody else.
        let owned = statat(top, OWNED, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        match root.open_dir(&volume.destination) {
            Ok(hidden) => {
                let copied = volume.copy && !is_empty(&hidden)?;
                if volume.own && (copied || !owned) {
                    own_as(&hidden, &data, &shown.owners)?;
                }
                if copied {
                    match shown.mounted {
                        // There is no place aside on another file system.
                        Some(_) => copy_tree(&hidden, &data, &shown.owners)?,
                        None => copy_aside(&hidden, top, &shown.owners, volume.volatile)?,
                    }
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                if let (true, false, Some((uid, gid))) = (volume.own, owned, user) {
                    let (uid, gid) = shown.owners.on_disk(uid, gid);
                    fchown(&data, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
                }
            }
            Err(error) => return Err(error),
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        drop(openat(top, OWNED, flags, Mode::RUSR | Mode::WUSR)?);
    }
    finish(top, &data)?;
    if !is_empty(&data)? {
        unlinkat(top, FRESH, AtFlags::empty())?;
        let _ = unlinkat(top, OWNED, AtFlags::empty());
    }
    Ok(())
}

/// Makes what is in a volume its content: nothing is copied to it any more. For who has its lock, and its directory.
///
/// # Errors
/// The kernel's errno.
pub fn claim(dir: &File) -> io::Result<()> {
    let top = OwnedFd::from(dir.try_clone()?);
    // A copy that is complete is moved to its place, which whoever made it was killed before.
    finish(&top, &open_dir(&top, DATA)?)?;
    for name in [FRESH, OWNED] {
        match unlinkat(&top, name, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Copies everything to a directory of the volume's that has the name of what is complete only when it is.
fn copy_aside(hidden: &OwnedFd, top: &OwnedFd, owners: &Owners, volatile: bool) -> io::Result<()> {
    // What a killed one has left.
    remove_tree(top, COPY)?;
    mkdirat(top, COPY, Mode::RWXU)?;
    let copy = open_dir(top, COPY)?;
    copy_tree(hidden, &copy, owners)?;
    if !volatile {
        // One commit of the journal for all files; one fsync(2) for each would be as many.
        syncfs(&copy)?;
    }
    Ok(renameat(top, COPY, top, READY)?)
}

/// Moves what is left of it to its place.
fn finish(top: &OwnedFd, data: &OwnedFd) -> io::Result<()> {
    let ready = match open_dir(top, READY) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for entry in Dir::read_from(&ready)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match renameat_with(&ready, name, data, name, RenameFlags::NOREPLACE) {
            // Another container that has it running has made one meanwhile.
            Err(Errno::EXIST) => {}
            moved => moved?,
        }
    }
    remove_tree(top, READY)
}

fn own_as(from: &OwnedFd, to: &OwnedFd, owners: &Owners) -> io::Result<()> {
    let stat = fstat(from)?;
    let (uid, gid) = owners.on_disk(stat.st_uid, stat.st_gid);
    fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

fn remove_tree(top: &OwnedFd, name: &str) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    match std::fs::remove_dir_all(format!("/proc/self/fd/{}/{name}", top.as_raw_fd())) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn open_dir(dir: impl AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, path, flags, Mode::empty())?)
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn locked_within(file: &File, patience: Duration) -> io::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Takes a container, which is in the tombs already, off its volumes; anonymous ones that nobody else has follow it there. Doing it
/// again does no harm.
pub(crate) fn leave(place: &Place, removal: &Removal, reporter: &Reporter) {
    let tomb = removal.tombs.join(&place.id);
    for left in &removal.volumes {
        let Ok(dir) = File::open(&left.dir) else { continue };
        // It may have been removed before it was locked.
        if !locked_within(&dir, SHORT_PATIENCE).unwrap_or(false) || !is_at(&dir, &left.dir) {
            continue;
        }
        let _ = std::fs::remove_file(left.dir.join(USERS).join(&place.id));
        // What is mounted in it would be deleted with it.
        if !left.anonymous || has_users(&left.dir, place) || has_mounts(&left.dir).unwrap_or(true) {
            continue;
        }
        if let Some(project) = left.project {
            let _ = quota::set_limits(dir.as_fd(), project, quota::Limits::default());
        }
        let name = left.dir.file_name().unwrap_or_default();
        let mut grave = std::ffi::OsString::from("volume-");
        grave.push(name);
        if std::fs::rename(&left.dir, tomb.join(grave)).is_ok() {
            let subject = Subject { name: name.to_string_lossy().into_owned(), ..Subject::default() };
            reporter.tell(&[Event::new(Kind::Volume, What::Remove, &subject)]);
        }
    }
}

/// Those that are there: what is left of a killed program does not count.
fn has_users(volume: &Path, place: &Place) -> bool {
    let users = std::fs::read_dir(volume.join(USERS)).into_iter().flatten().flatten();
    users.into_iter().any(|user| place.dir.with_file_name(user.file_name()).exists())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;

    fn scene(dir: &Path) -> (Volume, InRoot) {
        let volume = dir.join("v");
        for path in ["v/_data", "v/users", "root/data/sub"] {
            std::fs::create_dir_all(dir.join(path)).unwrap();
        }
        std::fs::write(volume.join(FRESH), "").unwrap();
        std::fs::write(dir.join("root/data/seed"), "seed").unwrap();
        std::fs::write(dir.join("root/data/sub/deep"), "deep").unwrap();
        std::os::unix::fs::chown(dir.join("root/data"), Some(7), Some(8)).unwrap();
        let root = InRoot::new(open_dir(CWD, dir.join("root")).unwrap());
        let destination = PathBuf::from("/data");
        let volume = Volume { destination, dir: Some(volume), copy: true, own: true, ..Volume::default() };
        (volume, root)
    }

    #[test]
    fn what_is_in_a_volume_is_never_replaced() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let (volume, root) = scene(dir.path());
        let data = dir.path().join("v/_data");
        std::fs::write(data.join("own"), "own").unwrap();
        use_first(&volume, &Shown::default(), &root, None).unwrap();
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
        assert!(!dir.path().join("v").join(FRESH).exists());
    }

    #[test]
    fn who_was_killed_while_it_moved_is_continued() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let (volume, root) = scene(dir.path());
        let data = dir.path().join("v/_data");
        std::fs::create_dir(dir.path().join("v").join(READY)).unwrap();
        std::fs::write(dir.path().join("v").join(READY).join("left"), "left").unwrap();
        std::fs::write(data.join("moved"), "moved").unwrap();
        use_first(&volume, &Shown::default(), &root, None).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&data).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["left", "moved"]);
        let left = std::fs::read_dir(dir.path().join("v")).unwrap().count();
        assert_eq!(left, 2, "_data and users");
    }

    #[test]
    fn a_volume_is_filled_with_owners_and_again_while_it_is_empty() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let (volume, root) = scene(dir.path());
        let data = dir.path().join("v/_data");
        let nowhere = Volume { destination: "/nowhere".into(), ..volume.clone() };
        use_first(&nowhere, &Shown::default(), &root, Some((5, 6))).unwrap();
        let owner = |path: &Path| std::fs::metadata(path).map(|m| (m.uid(), m.gid())).unwrap();
        assert_eq!(owner(&data), (5, 6));
        use_first(&volume, &Shown::default(), &root, Some((5, 6))).unwrap();
        assert_eq!(owner(&data), (7, 8));
        assert_eq!(std::fs::read_to_string(data.join("sub/deep")).unwrap(), "deep");
        std::fs::remove_file(data.join("seed")).unwrap();
        use_first(&volume, &Shown::default(), &root, Some((5, 6))).unwrap();
        assert!(!data.join("seed").exists(), "it has been used");
    }
}
