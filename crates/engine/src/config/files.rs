//! What a container sees of files.

use std::path::PathBuf;

use loment_monitor::launch::Restrictions;
use serde::{Deserialize, Serialize};

/// A container's files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// Its root file system cannot be changed.
    pub read_only: bool,
    /// Nor can anything else but what is mounted for it by name: it has no temporary file systems of its own accord.
    pub bare_read_only: bool,
    /// Files and directories of the host in it.
    pub volumes: Vec<Volume>,
    /// Temporary file systems: destination and options.
    pub tmpfs: Vec<(PathBuf, Vec<String>)>,
    /// Other file systems that are empty at each start.
    pub filesystems: Vec<FileSystem>,
    /// Secrets that it knows; copies of them are kept with it, by their places in this list.
    pub secrets: Vec<SecretUse>,
    /// What the machine gives every container; it has copies of them.
    pub given: Vec<Given>,
    /// Directories in it that are roots for some of its programs: the files made for it are there, too.
    pub chroot_dirs: Vec<PathBuf>,
    /// Its /etc/localtime: `local` for the host's, or the name of a zone.
    pub time_zone: Option<String>,
    /// Size of /dev/shm, in bytes.
    pub shm_size: u64,
    /// Size of each temporary file system that a systemd has, in bytes; `None` is half of the memory.
    pub systemd_size: Option<u64>,
    /// What its changes to its root file system may occupy.
    pub size: SizeLimits,
    /// What the files of its root file system are not good for, if that is layers of an image.
    pub restrictions: Restrictions,
}

/// The image a container was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageUse {
    /// Digest of its configuration.
    pub id: loment_store::ImageId,
    /// As the user gave it, completed.
    pub name: String,
    /// Manifest it was pulled with.
    pub digest: String,
}

/// The directory a container runs over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootfsUse {
    /// Absolute.
    pub path: PathBuf,
    /// Changes are thrown away.
    pub overlay: bool,
}

/// A file or directory of the host, a volume, or the files of an image in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute, on the host; of a volume, where it has its files.
    pub source: PathBuf,
    /// Absolute, in the container.
    pub destination: PathBuf,
    /// Mount options.
    pub options: Vec<String>,
    /// The SELinux label it is given, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relabel: Option<Relabel>,
    /// The volume that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeUse>,
    /// What is shown of it: a path below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
    /// All of it is given to the container's user (`U`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chown: bool,
    /// What the container changes in it goes elsewhere (`O`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayUse>,
    /// The image whose files it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageFiles>,
}

impl Volume {
    /// Nothing is written to it.
    pub fn is_read_only(&self) -> bool {
        let reads = |option: &&String| matches!(option.as_str(), "ro" | "rro" | "rw");
        self.options.iter().rfind(reads).is_some_and(|option| option != "rw")
    }

    /// What kind of mount it is, as both peers call it.
    pub fn kind(&self) -> &'static str {
        match (&self.volume, &self.image) {
            (Some(_), _) => "volume",
            (None, Some(_)) => "image",
            (None, None) => "bind",
        }
    }
}

/// A file or directory of the host that a container has a copy of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Absolute, on the host. While it is missing there is no copy.
    pub source: PathBuf,
    /// Absolute, in the container.
    pub destination: PathBuf,
}

/// A file system that is made for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSystem {
    /// `devpts` or `ramfs`.
    pub kind: String,
    /// Absolute, in the container.
    pub destination: PathBuf,
    /// Mount options.
    pub options: Vec<String>,
}

/// A secret in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Its name when the container was made.
    pub name: String,
    /// The same of its id.
    pub id: String,
    /// How programs find it.
    pub place: SecretPlace,
}

/// Where the programs of a container find a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretPlace {
    /// It is a file that cannot be written to.
    Mount {
        /// Below /run/secrets, or absolute.
        target: PathBuf,
        /// Whose it is, in the container.
        uid: u32,
        /// The group whose it is.
        gid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// It is a variable.
    Env {
        /// Its name.
        variable: String,
    },
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeUse {
    /// Its name; until the container is made, none for one of its own.
    pub name: String,
    /// It was made for this container.
    pub anonymous: bool,
    /// Nothing is copied to it from the image.
    pub no_copy: bool,
}

/// Where what a container changes in a directory goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverlayUse {
    /// Absolute, and kept; otherwise it goes with the container's run.
    pub upper: Option<PathBuf>,
    /// Overlayfs's own, on the same file system.
    pub work: Option<PathBuf>,
}

/// The files of an image in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageFiles {
    /// Digest of its configuration.
    pub id: loment_store::ImageId,
    /// As the user gave it, completed.
    pub name: String,
}

/// For whom a file or directory of the host is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relabel {
    /// For all containers (`z`).
    Shared,
    /// For this one alone (`Z`).
    Private,
}

/// Limits of a writable layer; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeLimits {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Files, directories and everything else that has an inode.
    pub inodes: Option<u64>,
}

impl SizeLimits {
    /// Whether there is one. Zero is no limit, as with Podman.
    pub fn any(&self) -> bool {
        self.bytes.is_some_and(|n| n > 0) || self.inodes.is_some_and(|n| n > 0)
    }

    /// Whether nothing was said of any.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// These, and those of `other` for what is not said here.
    pub fn or(self, other: Self) -> Self {
        Self { bytes: self.bytes.or(other.bytes), inodes: self.inodes.or(other.inodes) }
    }
}

impl From<SizeLimits> for loment_store::Limits {
    fn from(limits: SizeLimits) -> Self {
        Self { bytes: limits.bytes.unwrap_or_default(), inodes: limits.inodes.unwrap_or_default() }
    }
}
