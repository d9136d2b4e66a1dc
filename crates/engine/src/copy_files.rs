//! Files on their way into containers and out of them, as an archive in between.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use loment_monitor::{act_as, attach_over};
use loment_runtime::InRoot;
use loment_store::{Place, Rules, TreeForm, TreeTar, extract};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat, statat};
use rustix::io::Errno;

use crate::config::{Config, Users};
use crate::container::Container;
use crate::error::Context;
use crate::{Engine, Error};

/// Links followed to one file, as by the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Where files are, or go.
pub enum FilesAt<'a> {
    /// Here.
    Host(&'a str),
    /// In a container.
    Container(&'a str, &'a str),
    /// An archive, that is read.
    Reader(Box<dyn BufRead + Send + 'a>),
    /// An archive, that is written.
    Writer(Box<dyn Write + Send + 'a>),
}

/// How they are copied.
#[derive(Clone, Copy, Debug)]
pub struct CopyFiles {
    /// Whose they are then.
    pub owner: NewOwner,
    /// A link that is to be copied is what it leads to.
    pub follow: bool,
    /// A directory may take the place of a file, and a file that of a directory.
    pub overwrite: bool,
}

/// Whose copied files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewOwner {
    /// Of those who have the same numbers.
    Same,
    /// Of the superuser.
    Root,
    /// Of the user of the container that they go to; elsewhere of the superuser.
    ContainersUser,
}

/// A tree that files are in.
struct Tree {
    root: OwnedFd,
    /// Of a container: nothing leads out of it.
    config: Option<Config>,
    /// Who users of the container are in the tree, if they are others.
    users: Option<Users>,
    _lock: Option<File>,
}

impl Engine {
    /// Copies files and directories. For a process with one thread, which gets a mount namespace of its own when a container does
    /// not run: it should do nothing else after that.
    ///
    /// # Errors
    /// [`Error::Copy`] with the file that cannot be copied; those of [`Engine::view`].
    pub fn copy_files(&self, from: FilesAt<'_>, to: FilesAt<'_>, how: CopyFiles) -> Result<(), Error> {
        let mut from = from;
        if let FilesAt::Reader(source) = &mut from {
            // Who writes it may be looking at the same container, which only one at a time can.
            source.fill_buf().context("read", "the archive")?;
        }
        // Trees are opened before anything is copied, and before there is another thread.
        let ids = [&from, &to].map(|at| match at {
            FilesAt::Container(name, _) => self.id(name).map(Some),
            _ => Ok(None),
        });
        let [from_id, to_id] = ids;
        let (from_id, to_id) = (from_id?, to_id?);
        let is_path = |at: &FilesAt<'_>| matches!(at, FilesAt::Host(_) | FilesAt::Container(..));
        let source_tree = is_path(&from).then(|| self.tree(from_id.as_deref())).transpose()?;
        let same = from_id.is_some() && from_id == to_id;
        let own = (is_path(&to) && !same).then(|| self.tree(to_id.as_deref())).transpose()?;
        let target_tree = own.as_ref().or(source_tree.as_ref().filter(|_| same));
        let path = |at: &FilesAt<'_>| match at {
            FilesAt::Host(path) => absolute(path).map(Some),
            FilesAt::Container(_, path) => Ok(Some(PathBuf::from(path))),
            _ => Ok(None),
        };
        let source = source_tree.as_ref().zip(path(&from)?);
        let target = target_tree.zip(path(&to)?);
        let text = |at: &FilesAt<'_>| match at {
            FilesAt::Host(path) | FilesAt::Container(_, path) => (*path).to_owned(),
            _ => String::new(),
        };
        let (from_text, to_text) = (text(&from), text(&to));
        match (source, from, target, to) {
            (Some((tree, path)), _, Some((into, to_path)), _) => {
                let what = tree.find(&path, &from_text, how.follow)?;
                let (place, name) = into.place(&to_path, &to_text, &what)?;
                let (reader, writer) = io::pipe().context("make", "a pipe")?;
                std::thread::scope(|scope| {
                    let writing = scope.spawn(move || {
                        tree.write(&what, &name, &mut BufWriter::with_capacity(256 * 1024, writer))
                    });
                    let read = into.take(BufReader::with_capacity(256 * 1024, reader), &place, how);
                    let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    match (read, written) {
                        // Nobody read on.
                        (Err(error), _) => Err(failed(&to_text, error)),
                        (Ok(()), written) => written.map_err(|error| failed(&from_text, error)),
                    }
                })
            }
            (Some((tree, path)), _, None, FilesAt::Writer(mut out)) => {
                let what = tree.find(&path, &from_text, how.follow)?;
                let name = what.name();
                tree.write(&what, &name, &mut out).map_err(|error| failed(&from_text, error))
            }
            (None, FilesAt::Reader(source), Some((into, to_path)), _) => {
                let place = into.directory(&to_path, &to_text)?;
                into.take(source, &place, how).map_err(|error| failed(&to_text, error))
            }
            _ => Err(failed("-", io::Error::other("one side must be a file or a directory"))),
        }
    }

    /// The files of a container, with what is mounted there; or of this machine.
    fn tree(&self, name: Option<&str>) -> Result<Tree, Error> {
        let Some(name) = name else {
            let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let root = root.context("open", "/")?;
            return Ok(Tree { root, config: None, users: None, _lock: None });
        };
        let container = self.container(name)?;
        if let Some(root) = living_root(&container)? {
            let users = container.config.namespaces.users.clone();
            return Ok(Tree { root, config: Some(container.config), users, _lock: None });
        }
        let view = self.view(name)?;
        let config = container.config;
        let scratch = self.dir(&config.id).join("scratch");
        let mounts: Vec<_> = config.files.volumes.iter().map(|v| (&*v.source, &*v.destination)).collect();
        let root = match mounts[..] {
            [] => view.root,
            _ => attach_over(&view.root, &scratch, &mounts)
                .map_err(|source| Error::View { id: config.id.clone(), source: Box::new(source) })?,
        };
        Ok(Tree { root, config: Some(config), users: None, _lock: view.lock })
    }
}

/// The root that a container's first process has.
fn living_root(container: &Container) -> Result<Option<OwnedFd>, Error> {
    if container.open_process().is_none() {
        return Ok(None);
    }
    let path = format!("/proc/{}/root", container.state.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, path.as_str(), flags, Mode::empty());
    // Looked at after it was opened: it was that process then.
    if container.open_process().is_none() {
        return Ok(None);
    }
    root.map(Some).context("open", path)
}

fn absolute(path: &str) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().context("find", "the working directory")?;
    // `components` would take away what a slash or a dot at the end means, which the text still says.
    Ok(here.join(path))
}

fn failed(path: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Copy { path: path.to_owned(), source: Box::new(source) }
}

/// What is to be copied.
struct What {
    parent: OwnedFd,
    /// In that directory; empty for a root.
    name: CString,
    is_dir: bool,
    /// Of a directory, what is in it.
    content: bool,
}

impl What {
    fn name(&self) -> Vec<u8> {
        self.name.to_bytes().to_vec()
    }
}

impl Tree {
    /// Opens something; nothing leads out of a container.
    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        if self.config.is_none() {
            return openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..128 {
            // A rename raced with the walk (openat2(2)).
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Where a path leads when links at its end are followed; as far as there is something.
    fn follow(&self, path: &Path) -> Result<PathBuf, Errno> {
        let mut path = normal(path);
        for _ in 0..MAX_LINKS {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
            let Ok(dir) = self.open(parent, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(path) };
            match readlinkat(&dir, name, Vec::new()) {
                Ok(target) => path = normal(&parent.join(OsStr::from_bytes(target.to_bytes()))),
                Err(_) => return Ok(path),
            }
        }
        Err(Errno::LOOP)
    }

    /// What a path means as something to copy. `text` is how it was written.
    fn find(&self, path: &Path, text: &str, follow: bool) -> Result<What, Error> {
        let content = text == "." || text.ends_with("/.");
        let follow = follow || content || text.ends_with('/');
        let found = || -> io::Result<What> {
            let path = if follow { self.follow(path)? } else { normal(path) };
            let parent =
                self.open(path.parent().unwrap_or(Path::new("/")), OFlags::PATH | OFlags::DIRECTORY)?;
            let name = path.file_name().unwrap_or_default();
            let shown = if name.is_empty() { OsStr::new(".") } else { name };
            let stat = statat(&parent, shown, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_dir && (content || text.ends_with('/')) {
                return Err(Errno::NOTDIR.into());
            }
            let root = name.is_empty();
            Ok(What { parent, name: CString::new(name.as_bytes())?, is_dir, content: content || root })
        };
        found().map_err(|error| failed(text, error))
    }

    /// Where something goes, and what it is called there; `text` is how the path was written.
    fn place(&self, path: &Path, text: &str, what: &What) -> Result<(Place, Vec<u8>), Error> {
        let path = self.follow(path).map_err(|errno| failed(text, io::Error::from(errno)))?;
        let kind = |path: &Path| match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => Ok(None),
            found => {
                let stat = rustix::fs::fstat(found?)?;
                Ok(Some(FileType::from_raw_mode(stat.st_mode)))
            }
        };
        let here = kind(&path).map_err(|errno: Errno| failed(text, io::Error::from(errno)))?;
        match here {
            Some(FileType::Directory) if what.content => Ok((self.at(&path)?, Vec::new())),
            Some(FileType::Directory) => Ok((self.at(&path)?, what.name())),
            None if text.ends_with('/') && !what.is_dir => {
                Err(failed(text, io::Error::other("there is no such directory")))
            }
            _ => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
                match kind(parent) {
                    Ok(Some(FileType::Directory)) => Ok((self.at(parent)?, name)),
                    _ => {
                        let text = format!("there is no directory {}", parent.display());
                        Err(failed(&path.display().to_string(), io::Error::other(text)))
                    }
                }
            }
        }
    }

    /// A directory that an archive is unpacked in.
    fn directory(&self, path: &Path, text: &str) -> Result<Place, Error> {
        let opened = self.open(&normal(path), OFlags::PATH | OFlags::DIRECTORY);
        opened.map_err(|errno| failed(text, io::Error::from(errno)))?;
        self.at(&normal(path))
    }

    fn at(&self, path: &Path) -> Result<Place, Error> {
        if self.config.is_some() {
            let root = self.root.try_clone().context("open", path.display())?;
            let path = path.strip_prefix("/").unwrap_or(path).to_owned();
            return Ok(Place { root, path, follow: true });
        }
        // What a container says does not lead anywhere else on this machine.
        let root = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Place { root: root.context("open", path.display())?, path: PathBuf::new(), follow: false })
    }

    fn write(&self, what: &What, name: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let inside = |uid, gid| match &self.users {
            Some(users) => (users.uid_inside(uid), users.gid_inside(gid)),
            None => (uid, gid),
        };
        let form = TreeForm { owners: &inside, changes: false, skip: &|_, _| false };
        let mut tar = TreeTar::new(out, form);
        if what.is_dir && (name.is_empty() || what.name.is_empty()) {
            let own =
                if what.name.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(what.name.to_bytes()) };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            tar.add_all(openat(&what.parent, own, flags, Mode::empty())?, name)?;
        } else {
            tar.add_tree(what.parent.as_fd(), &what.name, name)?;
        }
        tar.finish().map(drop)
    }

    fn take(
        &self,
        source: impl BufRead,
        place: &Place,
        how: CopyFiles,
    ) -> Result<(), loment_store::ExtractError> {
        let outside = |uid: u64, gid: u64| {
            let (uid, gid) = (u32::try_from(uid).ok()?, u32::try_from(gid).ok()?);
            match &self.users {
                Some(users) => users.uid_outside(uid).zip(users.gid_outside(gid)),
                None => Some((uid, gid)),
            }
        };
        let user = match how.owner {
            NewOwner::Same => None,
            NewOwner::Root => Some((0, 0)),
            NewOwner::ContainersUser => Some(self.user()),
        };
        let owners = |uid, gid| user.map_or_else(|| outside(uid, gid), |(uid, gid)| outside(uid, gid));
        let rules = Rules { owners: &owners, replace: how.overwrite };
        let as_root = self.users.as_ref().and_then(Users::root);
        act_as(as_root, || extract(source, place, &rules))
    }

    /// The container's user, by its own files.
    fn user(&self) -> (u64, u64) {
        let Some(config) = &self.config else { return (0, 0) };
        let Ok(root) = self.root.try_clone() else { return (0, 0) };
        let found = loment_monitor::user::find_in(&InRoot::new(root), &config.process.user, &[]);
        found.map_or((0, 0), |user| (user.uid.into(), user.gid.into()))
    }
}

/// From the root, without `.` and `..`; the latter stops there.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(out.pop()),
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}
