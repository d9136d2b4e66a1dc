//! Files on their way into containers and out of them, as an archive in between.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use loment_monitor::act_as;
use loment_runtime::InRoot;
use loment_store::{Place, Rules, TreeForm, TreeTar, extract};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use crate::at_rest::{Used, Whole};
use crate::config::{Config, Users};
use crate::container::Container;
use crate::error::Context;
use crate::view::open_many_files;
use crate::{Engine, Error};

/// Of an archive, in bytes (tar(5)).
const BLOCK: u64 = 512;
/// Links followed to one file, as by the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Where files are, or go.
pub enum FilesAt<'a> {
    /// Here.
    Host(&'a str),
    /// In a container.
    Container(&'a str, &'a str),
    /// An archive, that is read.
    Reader {
        /// The archive.
        source: Box<dyn BufRead + Send + 'a>,
        /// It is all there: who reads it waits for nobody.
        is_there: bool,
    },
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
    /// A path in a container that does not begin with a slash is one in its working directory, as for Podman; otherwise in its root,
    /// as for Docker.
    pub in_workdir: bool,
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
    /// What users call it.
    place: String,
    /// Of a container: nothing leads out of it.
    config: Option<Config>,
    /// Who users of the container are in the tree, if they are others.
    users: Option<Users>,
    /// Devices of what is not copied with what is around it.
    kernels: Vec<u64>,
    /// What is mounted where it has no place yet, and by which paths it is reached.
    left_out: Vec<(PathBuf, Tree)>,
    /// What is mounted there stays as long as this is open.
    _namespace: Option<OwnedFd>,
    _used: Vec<Used>,
    _lock: Option<File>,
}

impl Engine {
    /// Copies files and directories; an archive may be compressed. For a process with one thread.
    ///
    /// # Errors
    /// [`Error::Copy`] with the file that cannot be copied; those of [`Engine::view`].
    pub fn copy_files(&self, from: FilesAt<'_>, to: FilesAt<'_>, how: CopyFiles) -> Result<(), Error> {
        open_many_files();
        let mut from = from;
        if let FilesAt::Reader { source, .. } = &mut from {
            // Who writes it may be looking at the same container, which only one at a time can.
            source.fill_buf().context("read", "the archive")?;
        }
        let path = |at: &FilesAt<'_>| match at {
            FilesAt::Host(path) => absolute(path).map(Some),
            FilesAt::Container(_, path) => Ok(Some(PathBuf::from(path))),
            _ => Ok(None),
        };
        let typed = |at: &FilesAt<'_>| match at {
            FilesAt::Container(name, _) => Some((*name).to_owned()),
            _ => None,
        };
        let (from_typed, to_typed) = (typed(&from), typed(&to));
        let (from_path, to_path) = (path(&from)?, path(&to)?);
        // Trees are opened before anything is copied, and before there is another thread.
        let id = |at: &FilesAt<'_>| match at {
            FilesAt::Container(name, _) => self.id(name).map(Some),
            _ => Ok(None),
        };
        let (from_id, to_id) = (id(&from)?, id(&to)?);
        if let (FilesAt::Reader { source, is_there: false }, Some(id)) = (&mut from, &to_id)
            && !self.container(id)?.status.is_active()
        {
            // It is locked while files go there, and nobody can start it: not for as long as somebody takes to write an archive.
            let slow = std::mem::replace(source, Box::new(io::empty()));
            *source = self.all_of(slow)?;
        }
        let same = from_id.is_some() && from_id == to_id;
        let open = |wanted: bool, id: &Option<String>, writes: bool| {
            wanted.then(|| self.tree(id.as_deref(), writes)).transpose()
        };
        let called = |tree: Option<Tree>, name: Option<String>| {
            tree.map(|tree| Tree { place: name.map_or(tree.place, |n| format!("container {n}")), ..tree })
        };
        let opens_target = to_path.is_some() && !same;
        // Two of these at once take the locks of two containers in one order.
        let (source_tree, own) = match to_id < from_id {
            true => {
                let own = open(opens_target, &to_id, true)?;
                (open(from_path.is_some(), &from_id, same)?, own)
            }
            false => {
                let source = open(from_path.is_some(), &from_id, same)?;
                (source, open(opens_target, &to_id, true)?)
            }
        };
        let (source_tree, own) = (called(source_tree, from_typed), called(own, to_typed));
        let target_tree = own.as_ref().or(source_tree.as_ref().filter(|_| same));
        let within = |tree: &Tree, path: PathBuf| match &tree.config {
            // `join` takes away nothing of what a slash or a dot at the end means: the text says that.
            Some(config) if how.in_workdir => config.process.workdir.join(path),
            _ => path,
        };
        let source = source_tree.as_ref().zip(from_path).map(|(tree, path)| tree.reached(within(tree, path)));
        let target = target_tree.zip(to_path).map(|(tree, path)| (tree, within(tree, path)));
        let text = |at: &FilesAt<'_>| match at {
            FilesAt::Host(path) | FilesAt::Container(_, path) => (*path).to_owned(),
            _ => String::new(),
        };
        let (from_text, to_text) = (text(&from), text(&to));
        match (source, from, target, to) {
            (Some((tree, path)), _, Some((into, to_path)), _) => {
                let what = tree.find(&path, &from_text, how.follow)?;
                let (place, name) = into.place(&to_path, &to_text, &what, how.overwrite)?;
                let (reader, writer) = io::pipe().context("make", "a pipe")?;
                std::thread::scope(|scope| {
                    let writing = scope.spawn(move || {
                        tree.write(&what, &name, &mut BufWriter::with_capacity(256 * 1024, writer))
                    });
                    let read = into.take(BufReader::with_capacity(256 * 1024, reader), &place, how);
                    let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    match (read, written) {
                        // Nobody read on.
                        (Err(error), _) => Err(into.refused(&place, &to_text, error)),
                        (Ok(()), written) => written.map_err(|error| failed(&from_text, error)),
                    }
                })
            }
            (Some((tree, path)), _, None, FilesAt::Writer(mut out)) => {
                let what = tree.find(&path, &from_text, how.follow)?;
                let name = if what.content { Vec::new() } else { what.name() };
                tree.write(&what, &name, &mut out).map_err(|error| failed(&from_text, error))
            }
            (None, FilesAt::Reader { source, .. }, Some((into, to_path)), _) => {
                let place = into.directory(&to_path)?;
                let source = archive(source)?;
                into.take(source, &place, how).map_err(|error| into.refused(&place, &to_text, error))
            }
            _ => Err(failed("-", io::Error::other("one side must be a file or a directory"))),
        }
    }

    /// An archive when all of it is there, in a file without a name.
    fn all_of<'a>(
        &self,
        mut source: Box<dyn BufRead + Send + 'a>,
    ) -> Result<Box<dyn BufRead + Send + 'a>, Error> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mut file = match openat(CWD, self.root(), flags, Mode::RUSR | Mode::WUSR) {
            // A file system without such files: it is read as it comes.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => return Ok(source),
            opened => File::from(opened.context("make a file in", self.root().display())?),
        };
        io::copy(&mut source, &mut file)
            .and_then(|_| file.rewind())
            .context("keep the archive in", self.root().display())?;
        Ok(Box::new(BufReader::with_capacity(256 * 1024, file)))
    }

    /// The files of a container, with what is mounted there; or of this machine.
    fn tree(&self, id: Option<&str>, writes: bool) -> Result<Tree, Error> {
        let Some(id) = id else {
            let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            let root = root.context("open", "/")?;
            return Ok(Tree::of(root, None));
        };
        let container = self.container(id)?;
        if let Some((root, namespace)) = living_root(&container)? {
            let users = container.config.namespaces.users.clone();
            let (kernels, _namespace) = (kernels(&root), Some(namespace));
            return Ok(Tree { users, kernels, _namespace, ..Tree::of(root, Some(container.config)) });
        }
        let view = self.view(id)?;
        let config = container.config;
        match self.whole_at_rest(&config, &view, writes)? {
            None => Ok(Tree { users: view.users, _lock: view.lock, ..Tree::of(view.root, Some(config)) }),
            Some(Whole { files, used }) => Ok(Tree {
                users: view.users,
                _used: used,
                left_out: files
                    .left_out
                    .into_iter()
                    .map(|(at, root)| (at, Tree::of(root, Some(config.clone()))))
                    .collect(),
                _namespace: Some(files.namespace),
                _lock: view.lock,
                ..Tree::of(files.root, Some(config))
            }),
        }
    }
}

/// The devices of file systems that show the kernel, and what is made for each start.
fn kernels(root: &OwnedFd) -> Vec<u64> {
    let device = |path: &str| statat(root, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_dev);
    let own = device(".");
    let all = ["proc", "sys", "dev"].map(device).into_iter().flatten();
    all.filter(|device| Ok(*device) != own).collect()
}

/// The root that a container's first process has, and the mount namespace that its files are in, which goes with that process
/// otherwise.
fn living_root(container: &Container) -> Result<Option<(OwnedFd, OwnedFd)>, Error> {
    let root = container.open_of_process("root", OFlags::PATH | OFlags::DIRECTORY)?;
    Ok(root.zip(container.open_of_process("ns/mnt", OFlags::RDONLY)?))
}

fn absolute(path: &str) -> Result<PathBuf, Error> {
    let here = std::env::current_dir().context("find", "the working directory")?;
    // `components` would take away what a slash or a dot at the end means, which the text still says.
    Ok(here.join(path))
}

fn failed(path: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Copy { path: path.to_owned(), source: Box::new(source) }
}

/// An archive without its compression, of which is looked whether it is one.
pub(crate) fn archive<'a>(source: impl BufRead + Send + 'a) -> Result<impl BufRead + 'a, Error> {
    let mut plain = loment_image::decompressed(source).context("read", "the archive")?;
    let mut start = Vec::new();
    // What cannot be decompressed is none, either.
    let read = plain.by_ref().take(BLOCK).read_to_end(&mut start);
    if read.is_err() || !loment_store::begins_archive(&start) {
        return Err(Error::NoArchive);
    }
    Ok(BufReader::with_capacity(256 * 1024, io::Cursor::new(start).chain(plain)))
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
    /// One whose owners are those of the container, and which needs nothing else.
    fn of(root: OwnedFd, config: Option<Config>) -> Self {
        let place = "the host".to_owned();
        let (kernels, left_out, _used) = (Vec::new(), Vec::new(), Vec::new());
        Self { root, place, config, users: None, kernels, left_out, _namespace: None, _used, _lock: None }
    }

    /// There is nothing of that name.
    fn missing(&self, text: &str, hint: String) -> Error {
        Error::NoFile { path: text.to_owned(), place: self.place.clone(), hint }
    }

    /// Why files could not be put somewhere.
    fn refused(&self, place: &Place, text: &str, error: loment_store::ExtractError) -> Error {
        match error {
            loment_store::ExtractError::Io { entry, operation: "replace", source }
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                // Seen from the root of the container; on the host, from the directory.
                let path = Path::new("/").join(&place.path).join(entry.trim_matches('/'));
                let (path, place) = (path.display().to_string(), format!("{text} on {}", self.place));
                Error::FileExists { path, place, kind: source.to_string() }
            }
            error => failed(text, error),
        }
    }

    /// The tree that a path is in, and where in that.
    fn reached(&self, path: PathBuf) -> (&Self, PathBuf) {
        let absolute = Path::new("/").join(&path);
        let found = self.left_out.iter().filter(|(at, _)| absolute.starts_with(at));
        match found.max_by_key(|(at, _)| at.components().count()) {
            Some((at, tree)) => (tree, absolute.strip_prefix(at).unwrap_or(&absolute).to_owned()),
            None => (self, path),
        }
    }

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

    /// Where a path leads when links at its end are followed; as far as there is something. What goes up on the way stays, for the
    /// kernel to follow: it may come after a link.
    fn follow(&self, path: &Path) -> Result<PathBuf, Errno> {
        let mut path = Path::new("/").join(path);
        for _ in 0..MAX_LINKS {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
            let Ok(dir) = self.open(parent, OFlags::PATH | OFlags::DIRECTORY) else { return Ok(path) };
            match readlinkat(&dir, name, Vec::new()) {
                Ok(target) => path = parent.join(OsStr::from_bytes(target.to_bytes())),
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
            let path = if follow { self.follow(path)? } else { Path::new("/").join(path) };
            // What ends in .. is a directory whose name is not known, as a root is.
            let (above, name) = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => (parent, name),
                _ => (path.as_path(), OsStr::new("")),
            };
            let parent = self.open(above, OFlags::PATH | OFlags::DIRECTORY)?;
            let shown = if name.is_empty() { OsStr::new(".") } else { name };
            let stat = statat(&parent, shown, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_dir && (content || text.ends_with('/')) {
                return Err(Errno::NOTDIR.into());
            }
            let root = name.is_empty();
            Ok(What { parent, name: CString::new(name.as_bytes())?, is_dir, content: content || root })
        };
        found().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(text, String::new()),
            _ => failed(text, error),
        })
    }

    /// Where something goes, and what it is called there; `text` is how the path was written.
    fn place(
        &self,
        path: &Path,
        text: &str,
        what: &What,
        overwrite: bool,
    ) -> Result<(Place, Vec<u8>), Error> {
        if self.config.is_none()
            && let Ok(stat) = statat(CWD, path, AtFlags::empty())
            && !matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::RegularFile)
        {
            return Err(Error::NoFileOrDirectory { path: text.to_owned() });
        }
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
            Some(_) if what.is_dir && !overwrite => Err(Error::NotADirectory),
            Some(_) if text.ends_with('/') => Err(failed(text, io::Error::from(Errno::NOTDIR))),
            None if text.ends_with('/') && !what.is_dir => Err(self.missing(text, String::new())),
            _ => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
                match kind(parent) {
                    Ok(Some(FileType::Directory)) => Ok((self.at(parent)?, name)),
                    _ => Err(self.missing(text, format!(": there is no directory {}", parent.display()))),
                }
            }
        }
    }

    /// A directory that an archive is unpacked in.
    fn directory(&self, path: &Path) -> Result<Place, Error> {
        let path = Path::new("/").join(path);
        let opened = self.open(&path, OFlags::PATH | OFlags::DIRECTORY);
        opened.map_err(|_| Error::NoDirectoryForArchive)?;
        self.at(&path)
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
        // What was asked for by its name is copied, whatever it is.
        let shown = if what.name.is_empty() { c"." } else { what.name.as_c_str() };
        let own = statat(&what.parent, shown, AtFlags::SYMLINK_NOFOLLOW)?.st_dev;
        let is_kernels = |_: &[u8], stat: &Stat| stat.st_dev != own && self.kernels.contains(&stat.st_dev);
        let form = TreeForm { owners: &inside, changes: false, skip: &is_kernels };
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
            NewOwner::ContainersUser => Some(self.user()?),
        };
        let owners = |uid, gid| user.map_or_else(|| outside(uid, gid), |(uid, gid)| outside(uid, gid));
        // What a container has made may do nothing here that its owner did not ask for.
        let trusted = self.config.is_some() || how.owner == NewOwner::Same;
        let rules = Rules { owners: &owners, replace: how.overwrite, trusted };
        let as_root = self.users.as_ref().and_then(Users::root);
        act_as(as_root, || extract(source, place, &rules))
    }

    /// The container's user, by its own files.
    fn user(&self) -> io::Result<(u64, u64)> {
        let Some(config) = &self.config else { return Ok((0, 0)) };
        let root = InRoot::new(self.root.try_clone()?);
        let found =
            loment_monitor::user::find_in(&root, &config.process.user, &[]).map_err(io::Error::other)?;
        Ok((found.uid.into(), found.gid.into()))
    }
}
