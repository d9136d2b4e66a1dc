//! Opening a store, its paths and its one store-wide lock.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability, NamedLock};
use crate::error::{Context, Error};
use crate::layer::Form;

/// Directories under the root, in the order they are made.
const DIRECTORIES: [&str; 10] = [
    "blobs",
    "layers",
    "by-blob",
    "images",
    "refs",
    "leases",
    "staging",
    "containers",
    "tombs",
    "blobs/sha256",
];

/// The feature of stores in which layers are kept as EROFS images.
pub(crate) const EROFS: &str = "erofs";
/// The feature of stores in which names point to indexes, and keep what these list.
pub(crate) const INDEXES: &str = "indexes";
/// The feature of stores in which containers have copies of the files of their images.
pub(crate) const COPIES: &str = "copies";
/// Incompatible features this loment understands.
const KNOWN: [&str; 3] = [EROFS, INDEXES, COPIES];

/// What others have at the top of their storage, and who they are.
const OTHERS: [(&str, &str); 12] = [
    ("storage.lock", "Podman, Buildah or CRI-O"),
    ("overlay-layers", "Podman, Buildah or CRI-O"),
    ("overlay-images", "Podman, Buildah or CRI-O"),
    ("overlay-containers", "Podman, Buildah or CRI-O"),
    ("vfs-layers", "Podman, Buildah or CRI-O"),
    ("vfs-images", "Podman, Buildah or CRI-O"),
    ("btrfs-layers", "Podman, Buildah or CRI-O"),
    ("libpod", "Podman"),
    ("db.sql", "Podman"),
    ("image/overlay2", "Docker"),
    ("engine-id", "Docker"),
    ("io.containerd.content.v1.content", "containerd"),
];

/// The document `FORMAT`, after the manner of ext4: unknown `compat` features are harmless, unknown
/// `ro_compat` ones allow reading, unknown `incompat` ones nothing. This loment always may write.
#[derive(Default, Serialize, Deserialize)]
struct Format {
    version: u32,
    #[serde(default)]
    compat: BTreeSet<String>,
    #[serde(default)]
    ro_compat: BTreeSet<String>,
    #[serde(default)]
    incompat: BTreeSet<String>,
}

/// A store on disk. Cheap to clone; safe to use from threads and from any number of processes.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    root: PathBuf,
    runroot: PathBuf,
    durability: Durability,
    form: Form,
    copies: bool,
}

impl Store {
    /// Opens the store at `root`, making it when there is none. `runroot` holds locks and is lost at boot.
    ///
    /// # Errors
    /// [`Error::Format`] when a newer loment wrote it, [`Error::Foreign`] where another program keeps its images.
    pub fn open(root: &Path, runroot: &Path, durability: Durability) -> Result<Self, Error> {
        let absolute = |path: &Path| std::path::absolute(path).during("resolve", path);
        let inner = Inner {
            root: absolute(root)?,
            runroot: absolute(runroot)?,
            durability,
            form: Form::Dir,
            copies: false,
        };
        let store = Self { inner: Arc::new(inner) };
        let format = store.path("FORMAT");
        match disk::read_json::<Format>(&format)? {
            Some(format) => store.understand(format)?,
            None => store.create(&format)?,
        }
        let locks = store.lock_dir();
        if !locks.exists() {
            fs::create_dir_all(runroot).during("create", runroot)?;
            disk::make_dir(&locks)?;
        }
        Ok(store)
    }

    /// The store at `root` for those who only look: nothing is made. `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Format`] when a newer loment wrote it.
    pub fn look(root: &Path, runroot: &Path) -> Result<Option<Self>, Error> {
        let (root, runroot) = (root.to_owned(), runroot.to_owned());
        let inner = Inner { root, runroot, durability: Durability::Full, form: Form::Dir, copies: false };
        let store = Self { inner: Arc::new(inner) };
        let Some(format) = disk::read_json::<Format>(&store.path("FORMAT"))? else { return Ok(None) };
        store.understand(format)?;
        Ok(Some(store))
    }

    /// Which other program keeps its images at `root`, by its files.
    pub fn other_owner(root: &Path) -> Option<&'static str> {
        OTHERS.into_iter().find(|(sign, _)| root.join(sign).exists()).map(|(_, owner)| owner)
    }

    /// The same store, in which new layers are kept like this. Layers that are here stay as they are.
    pub fn with_form(&self, form: Form) -> Self {
        Self { inner: Arc::new(Inner { form, ..Inner::clone(&self.inner) }) }
    }

    /// How new layers are kept.
    pub fn form(&self) -> Form {
        self.inner.form
    }

    /// The same store, in which new containers have copies of all files of their images, where an overlay cannot keep their
    /// changes. Containers that are here stay as they are.
    pub fn with_copies(&self, copies: bool) -> Self {
        Self { inner: Arc::new(Inner { copies, ..Inner::clone(&self.inner) }) }
    }

    pub(crate) fn makes_copies(&self) -> bool {
        self.inner.copies
    }

    /// The directory everything lives in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The directory for what does not survive a boot.
    pub fn runroot(&self) -> &Path {
        &self.inner.runroot
    }

    fn understand(&self, format: Format) -> Result<(), Error> {
        let unknown = |feature: &String| !KNOWN.contains(&feature.as_str());
        let mut features: Vec<_> =
            format.incompat.union(&format.ro_compat).filter(|f| unknown(f)).cloned().collect();
        if format.version != 1 {
            features.push(format!("version {}", format.version));
        }
        if features.is_empty() {
            Ok(())
        } else {
            Err(Error::Format { root: self.root().to_path_buf(), features })
        }
    }

    /// Makes the layout; `FORMAT` comes last, so a store that was not finished is finished by the next open.
    fn create(&self, format: &Path) -> Result<(), Error> {
        fs::create_dir_all(self.root()).during("create", self.root())?;
        // What is another program's is never written to: it would not know what to make of our files, nor we of its own.
        if let Some((sign, owner)) = OTHERS.into_iter().find(|(sign, _)| self.path(sign).exists()) {
            return Err(Error::Foreign { root: self.root().to_path_buf(), owner, sign });
        }
        for directory in DIRECTORIES {
            disk::make_dir(&self.path(directory))?;
        }
        let document = Format { version: 1, ..Format::default() };
        let lock = self.share()?;
        disk::write_file(&self.staging(), format, &disk::to_json(&document), self.durability())?;
        drop(lock);
        // Somebody who made it was killed.
        self.sweep_stale()
    }

    /// Says in `FORMAT` that only those who know `feature` may use the store, before it is used for the first
    /// time.
    pub(crate) fn need(&self, feature: &str) -> Result<(), Error> {
        let path = self.path("FORMAT");
        let read = || disk::read_json::<Format>(&path).map(|format| format.unwrap_or_default());
        if read()?.incompat.contains(feature) {
            return Ok(());
        }
        // Against another that adds one at the same time.
        let _lock = self.exclude()?;
        let mut format = read()?;
        format.version = 1;
        format.incompat.insert(feature.to_owned());
        disk::write_file(&self.staging(), &path, &disk::to_json(&format), self.durability())
    }

    pub(crate) fn durability(&self) -> Durability {
        self.inner.durability
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.inner.root.join(relative)
    }

    /// Where [`unnamed_file`](crate::unnamed_file) finds room for what must be kept for a moment.
    pub fn scratch_dir(&self) -> PathBuf {
        self.staging()
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.path("staging")
    }

    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.inner.runroot.join("store-locks")
    }

    /// Waits for the exclusive lock on `name`, which need not exist anywhere else.
    pub(crate) fn lock(&self, name: &str) -> Result<NamedLock, Error> {
        NamedLock::acquire(self.lock_dir().join(disk::escape(name)))
    }

    /// The same, as long as it is `wanted`; `None` when it no longer is.
    pub(crate) fn lock_while(
        &self,
        name: &str,
        wanted: impl Fn() -> bool,
    ) -> Result<Option<NamedLock>, Error> {
        NamedLock::acquire_while(self.lock_dir().join(disk::escape(name)), wanted)
    }

    /// Held while something becomes visible, so that a sweep sees either all of it or nothing.
    pub(crate) fn share(&self) -> Result<File, Error> {
        let (path, file) = self.gc_lock()?;
        file.lock_shared().during("lock", &path)?;
        Ok(file)
    }

    /// Held while a sweep decides. Never across deletion, a download, or a wait for another lock.
    pub(crate) fn exclude(&self) -> Result<File, Error> {
        let (path, file) = self.gc_lock()?;
        file.lock().during("lock", &path)?;
        Ok(file)
    }

    /// Like `exclude`, but `None` when somebody is busy.
    pub(crate) fn try_exclude(&self) -> Result<Option<File>, Error> {
        let (path, file) = self.gc_lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error).during("lock", &path),
        }
    }

    fn gc_lock(&self) -> Result<(PathBuf, File), Error> {
        let path = self.path("gc.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.during("open lock", &path)?;
        Ok((path, file))
    }
}
