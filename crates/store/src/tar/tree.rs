//! Trees of files as archives.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, major, minor, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::merged::joined;
use crate::unpack::is_opaque;
use crate::unpack::rules::split;
use crate::xattrs::{self, Xattrs};

/// The largest number in a field of eleven octal digits.
const MAX_OCTAL: u64 = 0o777_7777_7777;
/// The same of seven: owners and device numbers.
const MAX_SHORT: u64 = 0o777_7777;
/// What a layer's tar calls what hides something below (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// What is written of a tree, and how.
pub struct TreeForm<'f> {
    /// Who a user and a group of the tree are in the archive.
    pub owners: &'f dyn Fn(u32, u32) -> (u32, u32),
    /// The tree holds the changes of an overlay: what hides something is written as layers say it.
    pub changes: bool,
    /// Whether what is at a path, without a slash at its beginning, is left out.
    pub skip: &'f dyn Fn(&[u8], &Stat) -> bool,
}

impl std::fmt::Debug for TreeForm<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeForm").field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// Writes trees as a tar in the form of POSIX.1-2001 (pax), which GNU tar, Go and everybody else reads. What cannot be in one, sockets,
/// is left out, as is what goes away while it is written. The same trees give the same bytes.
#[derive(Debug)]
pub struct TreeTar<'f, W: Write> {
    out: W,
    form: TreeForm<'f>,
    /// Where files with several names were first.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'f, W: Write> TreeTar<'f, W> {
    /// An archive with nothing in it yet.
    pub fn new(out: W, form: TreeForm<'f>) -> Self {
        Self { out, form, links: HashMap::new(), buffer: vec![0; 256 * 1024] }
    }

    /// Adds all that is in a directory, but not the directory. `path` is where it is in the archive.
    ///
    /// # Errors
    /// Those of reading and writing; the archive is of no use then.
    pub fn add_all(&mut self, dir: OwnedFd, path: &[u8]) -> io::Result<()> {
        let mut open = vec![Level::new(dir, path.to_vec())?];
        while let Some(level) = open.last_mut() {
            let Some(name) = level.names.pop() else {
                open.pop();
                continue;
            };
            let path = joined(&level.path, name.to_bytes());
            if let Some(below) = self.add(level.dir.as_fd(), &name, &path)? {
                open.push(Level::new(below, path)?);
            }
        }
        Ok(())
    }

    /// Adds what has a name in a directory, with all that is in it. `path` is where it is in the archive.
    ///
    /// # Errors
    /// Those of reading and writing; the archive is of no use then.
    pub fn add_tree(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> io::Result<()> {
        match self.add(parent, name, path)? {
            Some(below) => self.add_all(below, path),
            None => Ok(()),
        }
    }

    /// Adds what hides a path in lower layers (image-spec, layer.md, "Whiteouts"), owned like the directory `root`.
    ///
    /// # Errors
    /// Those of writing; the archive is of no use then.
    pub fn hide(&mut self, path: &[u8], root: impl AsFd) -> io::Result<()> {
        let stat = fstat(root)?;
        self.whiteout(path, &stat)
    }

    fn whiteout(&mut self, path: &[u8], stat: &Stat) -> io::Result<()> {
        let (above, name) = split(path);
        self.header(&joined(above, &[WHITEOUT, name].concat()), b'0', b"", 0, stat, &[])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Adds one file; returns it, if it is a directory.
    fn add(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        if (self.form.skip)(path, &stat) {
            return Ok(None);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        // Overlayfs gives all whiteouts one inode.
        let is_whiteout = self.form.changes && kind == FileType::CharacterDevice && stat.st_rdev == 0;
        let is_left_out = matches!(kind, FileType::Socket | FileType::Unknown);
        let has_links = kind != FileType::Directory && stat.st_nlink > 1 && !is_whiteout && !is_left_out;
        if has_links && let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
            let first = first.clone();
            self.header(path, b'1', &first, 0, &stat, &[])?;
            return Ok(None);
        }
        match kind {
            FileType::Directory => return self.directory(parent, name, path),
            // It is gone.
            FileType::RegularFile if !self.file(parent, name, path)? => return Ok(None),
            FileType::RegularFile => {}
            FileType::Symlink => {
                let target = match readlinkat(parent, name, Vec::new()) {
                    Err(Errno::NOENT) => return Ok(None),
                    target => target?,
                };
                self.header(path, b'2', target.to_bytes(), 0, &stat, &shown_xattrs_at(parent, name)?)?;
            }
            FileType::CharacterDevice if is_whiteout => self.whiteout(path, &stat)?,
            FileType::CharacterDevice => {
                self.header(path, b'3', b"", 0, &stat, &shown_xattrs_at(parent, name)?)?;
            }
            FileType::BlockDevice => {
                self.header(path, b'4', b"", 0, &stat, &shown_xattrs_at(parent, name)?)?
            }
            FileType::Fifo => self.header(path, b'6', b"", 0, &stat, &shown_xattrs_at(parent, name)?)?,
            FileType::Socket | FileType::Unknown => {}
        }
        if has_links {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        Ok(None)
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match openat(parent, name, flags, Mode::empty()) {
            // It was replaced just now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            dir => dir?,
        };
        let stat = fstat(&dir)?;
        let xattrs = xattrs::of(&dir)?;
        let shown: Vec<_> = xattrs.iter().filter(|(name, _)| is_shown(name)).cloned().collect();
        self.header(&[path, b"/"].concat(), b'5', b"", 0, &stat, &shown)?;
        let opaque = |(name, value): &(Vec<u8>, Vec<u8>)| is_opaque(name, value);
        if self.form.changes && xattrs.iter().any(opaque) {
            self.header(&joined(path, OPAQUE_WHITEOUT), b'0', b"", 0, &stat, &[])?;
        }
        Ok(Some(dir))
    }

    /// Whether it was still there.
    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> io::Result<bool> {
        // It may have been replaced by a pipe, which is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
            file => file?,
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let xattrs: Vec<_> = xattrs::of(&file)?.into_iter().filter(|(name, _)| is_shown(name)).collect();
        self.header(path, b'0', b"", size, &stat, &xattrs)?;
        let mut content = File::from(file).take(size);
        let mut left = size;
        while left > 0 {
            match content.read(&mut self.buffer) {
                // It has become shorter: what was announced is there, as zeros.
                Ok(0) => {
                    let zeros = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                    self.buffer[..zeros].fill(0);
                    self.out.write_all(&self.buffer[..zeros])?;
                    left -= zeros as u64;
                }
                Ok(count) => {
                    self.out.write_all(&self.buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pad(size)?;
        Ok(true)
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: u8,
        link: &[u8],
        size: u64,
        stat: &Stat,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let (uid, gid) = (self.form.owners)(stat.st_uid, stat.st_gid);
        let mut pax = Vec::new();
        let mut header = tar::Header::new_ustar();
        let field = &mut header.as_old_mut().name;
        if !fits(path, field) {
            record(&mut pax, b"path", path);
        }
        let field = &mut header.as_old_mut().linkname;
        if !fits(link, field) {
            record(&mut pax, b"linkpath", link);
        }
        let mut number = |name: &str, value: u64, max: u64| {
            if value > max {
                record(&mut pax, name.as_bytes(), value.to_string().as_bytes());
            }
            value.min(max)
        };
        header.set_uid(number("uid", uid.into(), MAX_SHORT));
        header.set_gid(number("gid", gid.into(), MAX_SHORT));
        header.set_size(number("size", size, MAX_OCTAL));
        let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
        header.set_mtime(u64::try_from(seconds).unwrap_or_default().min(MAX_OCTAL));
        if nanos != 0 || !(0..=MAX_OCTAL as i64).contains(&seconds) {
            record(&mut pax, b"mtime", time(seconds, nanos as i64).as_bytes());
        }
        for (name, value) in xattrs {
            record(&mut pax, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(stat.st_mode & 0o7777);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(major(stat.st_rdev))?;
            header.set_device_minor(minor(stat.st_rdev))?;
        }
        header.set_cksum();
        if !pax.is_empty() {
            let mut extended = tar::Header::new_ustar();
            fits(b"PaxHeaders/0", &mut extended.as_old_mut().name);
            extended.set_entry_type(tar::EntryType::new(b'x'));
            extended.set_mode(0o644);
            extended.set_size(pax.len() as u64);
            extended.set_cksum();
            self.out.write_all(extended.as_bytes())?;
            self.out.write_all(&pax)?;
            self.pad(pax.len() as u64)?;
        }
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        self.out.write_all(&[0; 512][..(size.wrapping_neg() % 512) as usize])
    }
}

/// A directory on the way.
struct Level {
    dir: OwnedFd,
    path: Vec<u8>,
    /// What is still to be added, the last first.
    names: Vec<CString>,
}

impl Level {
    fn new(dir: OwnedFd, path: Vec<u8>) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { dir, path, names })
    }
}

/// Puts what fits into a field; whether all of it does.
fn fits(text: &[u8], field: &mut [u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

/// Adds `LENGTH NAME=VALUE`, in which the length counts itself.
fn record(pax: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    pax.extend_from_slice(length.to_string().as_bytes());
    pax.push(b' ');
    pax.extend_from_slice(name);
    pax.push(b'=');
    pax.extend_from_slice(value);
    pax.push(b'\n');
}

/// Seconds, with their fraction, as a decimal number.
fn time(seconds: i64, nanos: i64) -> String {
    let whole = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let sign = if whole < 0 { "-" } else { "" };
    let (seconds, nanos) = (whole.unsigned_abs() / 1_000_000_000, whole.unsigned_abs() % 1_000_000_000);
    match nanos {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanos:09}"),
    }
}

/// Attributes that belong to a file wherever it is; not those of the overlay, nor the labels of this machine's security modules.
fn is_shown(name: &[u8]) -> bool {
    name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") || name == b"security.capability"
}

fn shown_xattrs_at(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Xattrs> {
    let mut all = xattrs::at(parent, name)?;
    all.retain(|(name, _)| is_shown(name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::CWD;

    use super::*;

    fn written(dir: &std::path::Path, changes: bool) -> Vec<(String, u8, String)> {
        let form = TreeForm { owners: &|uid, gid| (uid, gid), changes, skip: &|_, _| false };
        let mut tar = TreeTar::new(Vec::new(), form);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        tar.add_all(openat(CWD, dir, flags, Mode::empty()).unwrap(), b"").unwrap();
        let bytes = tar.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|link| link.display().to_string());
            let kind = entry.header().entry_type().as_byte();
            (entry.path().unwrap().display().to_string(), kind, link.unwrap_or_default())
        });
        entries.collect()
    }

    #[test]
    fn only_what_is_written_is_linked_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(path("a-socket")).unwrap();
        std::fs::hard_link(path("a-socket"), path("b-socket")).unwrap();
        std::fs::write(path("file"), "content").unwrap();
        std::fs::hard_link(path("file"), path("link")).unwrap();
        let device = Mode::from_raw_mode(0);
        rustix::fs::mknodat(CWD, path("gone"), FileType::CharacterDevice, device, 0).unwrap();
        std::fs::hard_link(path("gone"), path("gone-too")).unwrap();
        let entry = |name: &str, kind, link: &str| (name.to_owned(), kind, link.to_owned());
        let files = [entry("file", b'0', ""), entry("link", b'1', "file")];
        let whiteouts = [entry(".wh.gone", b'0', ""), entry(".wh.gone-too", b'0', "")];
        let [first, second] = files.clone();
        assert_eq!(
            written(dir.path(), true),
            [&[first, whiteouts[0].clone(), whiteouts[1].clone()][..], &[second]].concat()
        );
        let devices = [entry("gone", b'3', ""), entry("gone-too", b'1', "gone")];
        let [first, second] = files;
        assert_eq!(
            written(dir.path(), false),
            [&[first, devices[0].clone(), devices[1].clone()][..], &[second]].concat()
        );
    }

    #[test]
    fn what_no_field_holds_is_in_an_extended_header() {
        let dir = tempfile::tempdir().unwrap();
        let long = "long/".repeat(40);
        std::fs::create_dir_all(dir.path().join(&long)).unwrap();
        let target = "t".repeat(150);
        std::os::unix::fs::symlink(&target, dir.path().join(&long).join("link")).unwrap();
        let file = dir.path().join("old");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4711)).unwrap();
        let entries = written(dir.path(), false);
        assert!(entries.contains(&(format!("{long}link"), b'2', target)), "{entries:?}");
        let mut pax = Vec::new();
        record(&mut pax, b"path", &[b'x'; 91]);
        // The length counts itself, and its own third digit.
        assert!(pax.starts_with(b"101 path=") && pax.len() == 101);
        record(&mut pax, b"a", b"b");
        assert!(pax.ends_with(b"\n6 a=b\n"), "{:?}", String::from_utf8_lossy(&pax));
        assert_eq!([time(1, 0), time(1, 5), time(-1, 999_999_999)], ["1", "1.000000005", "-0.000000001"]);
    }
}
