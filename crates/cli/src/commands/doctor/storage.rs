//! Where images and containers are kept.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use loment_runtime::parse_mountinfo;
use loment_store::Store;
use rustix::fs::{Access, Mode, RawDir, StatVfsMountFlags, access, mkdir, statvfs};
use rustix::mount::{FsOpenFlags, fsconfig_set_string, fsopen};

use super::kernel::{enter_memory, version};
use super::tried::privately;
use super::{Finding, Findings};
use crate::error::one_line;
use crate::globals::Globals;
use crate::rootless;
use crate::units::human_size;

/// Less is hardly an image.
const LITTLE: u64 = 1 << 30;
const NOTHING: u64 = 64 << 20;
/// An image may have more files.
const FEW: u64 = 20_000;
/// What is on its way is not left over.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// File systems on which overlays keep changes, and those on which the kernel refuses to (overlayfs.rst, "Upper and lower layers").
const GOOD: [&str; 7] = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "bcachefs", "ext3"];
const BAD: [&str; 12] = [
    "overlay", "nfs", "nfs4", "cifs", "smb3", "9p", "vfat", "exfat", "ntfs3", "squashfs", "erofs", "iso9660",
];

pub(super) fn find(globals: &Globals) -> Vec<Finding> {
    let mut found = Findings::about("storage");
    let root = globals.root();
    match Store::look(root, globals.runroot()) {
        Ok(Some(_)) => found.fine(format_args!("images and containers are in {}", root.display())),
        Ok(None) => match Store::other_owner(root) {
            Some(owner) => found.problem(
                format_args!("{} is the storage of {owner}", root.display()),
                "choose another directory with --root; what is there can be read with containers-storage:",
            ),
            None => found.note(
                format_args!("there is no store in {} yet", root.display()),
                "the first command that needs it makes it",
            ),
        },
        Err(error) => found.problem(
            format_args!("the store cannot be read: {}", one_line(&error)),
            format_args!("use a newer loment, or look at {}", root.join("FORMAT").display()),
        ),
    }
    for dir in [root, globals.runroot()] {
        writable(&mut found, dir);
    }
    let dir = existing(root);
    upper(&mut found, &dir);
    room(&mut found, &dir);
    leftovers(&mut found, root);
    found.all
}

/// A directory, or the nearest one above that is there.
pub(super) fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(found: &mut Findings, path: &Path) {
    let dir = existing(path);
    let shown = path.display();
    if statvfs(&dir).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return found.problem(
            format_args!("{shown} is on a file system that is mounted read-only"),
            "mount it writable, or choose another directory with --root and --runroot",
        );
    }
    match access(&dir, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => {}
        Err(error) => found.problem(
            format_args!("{} cannot be written to: {}", dir.display(), io::Error::from(error).kind()),
            match rootless::is_rootless() {
                true => "give this user the directory, or choose another one with --root and --runroot",
                false => "choose another directory with --root and --runroot",
            },
        ),
    }
}

/// Whether overlays can keep a container's changes there.
fn upper(found: &mut Findings, dir: &Path) {
    let Some(kind) = kind_of(dir) else {
        let what = "the kind of the file system with the store cannot be found out: /proc/self/mountinfo is not there";
        return found.note(what, "");
    };
    let advice = "put the store on ext4, xfs or btrfs: --root, or a mount";
    let refused = |why: &dyn std::fmt::Display| {
        format!("{} is on {kind}, which cannot keep changes of overlays: {why}", dir.display())
    };
    // Since Linux 6.5 the kernel looks at each directory when it is named, before anything is made in it.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let is_told = version(&release).is_some_and(|version| version >= (6, 5));
    let tried = is_told.then(|| privately(|| name_upper(dir)));
    match tried {
        Some(Err(error)) => return found.problem(refused(&error), advice),
        _ if BAD.contains(&kind.as_str()) => return found.problem(refused(&"the kernel refuses it"), advice),
        _ => {}
    }
    if has_no_kinds(dir) {
        let advice = "make the file system anew with kinds in directories: mkfs.xfs -n ftype=1";
        return found.problem(refused(&"its directories do not say what their entries are"), advice);
    }
    match (GOOD.contains(&kind.as_str()), tried) {
        (true, _) => found.fine(format_args!("the store is on {kind}, which keeps changes of overlays")),
        (false, Some(Ok(()))) => {
            found.fine(format_args!("the store is on {kind}, and the kernel takes it for changes of overlays"));
        }
        (false, _) => found.note(
            format_args!(
                "whether {kind}, which has the store, keeps changes of overlays cannot be found out without writing there"
            ),
            "if containers of images do not start, put the store on ext4, xfs or btrfs",
        ),
    }
}

/// Names a directory to an overlay as the place for changes. Nothing is mounted.
fn name_upper(dir: &Path) -> io::Result<()> {
    let dir = std::path::absolute(dir)?;
    enter_memory()?;
    mkdir("lower", Mode::RWXU)?;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "lowerdir", "lower")?;
    fsconfig_set_string(&fs, "upperdir", dir).map_err(|error| {
        // The kernel's own words, after a letter for how bad it is (fsopen(2)).
        let mut said = [0_u8; 512];
        let length = rustix::io::read(fs.as_fd(), &mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]).trim().to_owned();
        match said.get(2..) {
            Some(said) if !said.is_empty() => io::Error::other(said.to_owned()),
            _ => error.into(),
        }
    })
}

/// The kind of the file system with a directory, in the kernel's words.
fn kind_of(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = parse_mountinfo(&std::fs::read("/proc/self/mountinfo").ok()?);
    // The last of those at one place is on top.
    let mount = mounts.into_iter().filter(|mount| dir.starts_with(&mount.point));
    Some(mount.max_by_key(|mount| mount.point.as_os_str().len())?.kind)
}

/// Whether no entry of a directory has a kind, as on xfs without ftype.
fn has_no_kinds(dir: &Path) -> bool {
    let Ok(file) = std::fs::File::open(dir) else { return false };
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&file, buffer.spare_capacity_mut());
    let (mut any, mut known) = (false, false);
    while let Some(Ok(entry)) = entries.next() {
        any |= !matches!(entry.file_name().to_bytes(), b"." | b"..");
        known |= entry.file_type() != rustix::fs::FileType::Unknown;
    }
    any && !known
}

fn room(found: &mut Findings, dir: &Path) {
    let space = match statvfs(dir) {
        Ok(space) => space,
        Err(error) => {
            return found.note(format_args!("how much room there is cannot be found out: {error}"), "");
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let advice = "loment system df shows what is used, loment system prune removes what nothing uses";
    let text = format!("there is room for {} more in {}", human_size(free, true), dir.display());
    match free {
        _ if free < NOTHING => found.problem(text, advice),
        _ if free < LITTLE => found.note(text, advice),
        _ => found.fine(text),
    }
    // Some have none to run out of.
    if space.f_files > 0 {
        let text = format!("there is room for {} more files", space.f_favail);
        match space.f_favail {
            0..1000 => found.problem(text, advice),
            1000..FEW => found.note(text, advice),
            _ => found.fine(text),
        }
    }
}

/// What is half made or half removed, and old.
fn leftovers(found: &mut Findings, root: &Path) {
    let is_old = |path: &Path| {
        let changed = path.symlink_metadata().and_then(|meta| meta.modified());
        let age = changed.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        age.is_some_and(|age| age > OLD)
    };
    let mut count = 0;
    for part in ["staging", "tombs"] {
        let entries = std::fs::read_dir(root.join(part)).into_iter().flatten().flatten();
        count += entries.filter(|entry| is_old(&entry.path())).count();
    }
    if count > 0 {
        found.note(
            format_args!("{count} things have been half made or half removed for more than a day"),
            "loment system check lists them, loment system prune deletes them",
        );
    }
}
