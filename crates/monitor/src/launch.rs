//! What a monitor is told to start: one document, written by the engine.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use loment_events::Reporter;
use oci_spec::runtime::{Hooks, LinuxIntelRdt, LinuxSeccomp, Process, Spec};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::accounts::Accounts;
use crate::error::Context;
use crate::state::{CHECKPOINTING, INVENTORY, is_saved};
use crate::supervision::Supervision;

/// The version of the document.
pub const VERSION: u32 = 3;

/// The longest document, in bytes: far more than any specification has.
const MAX_DOCUMENT: usize = 256 << 20;

/// The first arguments of a monitor's command line.
pub const ARGUMENT: &str = "monitor";
/// The directory, in a container's, with an empty file for each container that needs it.
pub const DEPENDENTS: &str = "dependents";
/// The descriptor on which a monitor finds its launch document.
pub const LAUNCH_FD: i32 = 3;
/// The descriptor of a monitor's first client.
pub const CLIENT_FD: i32 = 4;
/// The descriptor of the container's locked directory.
pub const LOCK_FD: i32 = 5;
/// The first of the three streams of a container that has those of its starter. After them, or here where there are none, come the
/// descriptors of [`Head::passed`].
pub const STREAMS_FD: i32 = 6;

/// The pipe in the run directory of a container with members, that each monitor of one has open.
pub const MEMBERS: &str = "members";

/// What a monitor itself needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub version: u32,
    /// Where the container's things are.
    pub place: Place,
    /// Its program has a terminal.
    pub terminal: bool,
    /// Keep standard input open for clients.
    pub stdin: bool,
    /// Where its output is kept.
    pub log: loment_logs::Settings,
    /// How it is looked after.
    pub supervision: Supervision,
    /// The numbers under which its program gets descriptors of its starter.
    #[serde(default)]
    pub passed: Vec<i32>,
    /// Its program is run when somebody says so, not at once.
    #[serde(default)]
    pub prepare: bool,
    /// It has no program: what is wanted of it are its namespaces, which its monitor keeps for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// It ends when the last of its members has: see [`MEMBERS`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_with_members: bool,
    /// After the descriptors of [`Head::passed`] comes the [`MEMBERS`] of its pod, open for writing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_member: bool,
    /// The socket of the service manager that hears of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// Who tells of it; nobody, to engines that know nothing of that.
    #[serde(default)]
    pub reporter: Reporter,
}

/// What its workers need to know, each time they start something. `S` is the specification as the writer has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Body<S = Spec> {
    /// What runs, complete but for the user.
    pub spec: S,
    /// Its root file system.
    pub rootfs: Rootfs,
    /// `user[:group]` as given, looked up in the container's own files.
    pub user: String,
    /// Names or numbers of further groups.
    pub groups: Vec<String>,
    /// Namespaces that it shares with other containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Join>,
    /// What is to be done for mounts before they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Variables of its programs that no record has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Variables of its first program only: what its starter hands on to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed: Vec<String>,
    /// It goes on from where it was saved; when it is started again, it begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
    /// What its passwd and group files are to have.
    #[serde(default)]
    pub accounts: Option<Accounts>,
    /// What goes around its own /etc/hosts, if that is kept.
    #[serde(default)]
    pub hosts: Option<OwnHosts>,
    /// Run the embedded init as process 1.
    pub init: bool,
    /// The system call filter is nobody's choice: programs that get every right do without.
    pub default_filter: bool,
    /// The working directory is not made where it is not there.
    #[serde(default)]
    pub workdir_is_there: bool,
    /// Its programs have no keyring of their own.
    #[serde(default)]
    pub no_keyring: bool,
    /// Its root is put in place without pivot_root(2).
    #[serde(default)]
    pub no_pivot: bool,
}

/// Processes of a container as files: see [`loment_runtime::checkpoint`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// CRIU.
    pub program: PathBuf,
    /// `NAME=VALUE`, with which that is run.
    pub environment: Vec<String>,
    /// The directory that they are in.
    pub images: PathBuf,
    /// What of them.
    pub options: loment_runtime::checkpoint::Options,
}

/// A directory that is mounted, for which more is to be done than that. The specification has a bind mount with the same
/// destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Absolute, in the container.
    pub destination: PathBuf,
    /// Absolute.
    pub source: PathBuf,
    /// The directory of the volume that it is. That holds what is left to do at its first use, and is its lock.
    pub dir: Option<PathBuf>,
    /// Before its first use, what the container has there is copied to it.
    pub copy: bool,
    /// It goes with the container: what is copied to it need not survive a power cut.
    pub volatile: bool,
    /// Before its first use, it is given the owner and mode of what the container has there.
    pub own: bool,
    /// What is shown of it.
    pub subpath: Option<PathBuf>,
    /// All of it is given to the container's user.
    pub chown: bool,
    /// Where changes go, with overlayfs's own; emptied before, if it is the container's own directory.
    pub overlay: Option<VolumeOverlay>,
    /// What has to be mounted to see it.
    pub mount: Option<VolumeMount>,
    /// The layers of the image that it is, instead of a directory, the topmost first; changes go to `overlay`.
    pub layers: Vec<Lower>,
    /// As [`Rootfs::Overlay`] has it.
    pub data: Vec<PathBuf>,
    /// As [`Rootfs::Overlay`] has it.
    pub owned: bool,
    /// Where layers that must be mounted are kept mounted for all containers.
    pub pins: PathBuf,
}

/// A volume that is something else than a directory of its own: mounted once for all that have it, as long as one of them runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Its name.
    pub name: String,
    /// The volume's own directory, which is its lock.
    pub dir: PathBuf,
    /// The kind of file system; `none` and `bind` are a directory that is there.
    pub kind: String,
    /// What is mounted.
    pub device: PathBuf,
    /// How.
    pub options: Vec<String>,
    /// Where it is kept mounted.
    pub pins: PathBuf,
}

/// Where what a container changes in a directory goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeOverlay {
    /// Absolute.
    pub upper: PathBuf,
    /// Absolute, on the same file system.
    pub work: PathBuf,
    /// Both are in this directory, which is emptied at each start.
    pub fresh: Option<PathBuf>,
}

/// A namespace of another container, to be joined as it is when the program starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Join {
    /// As a specification names it (config-linux.md, "Namespaces").
    pub kind: String,
    /// Whose.
    pub container: String,
    /// Where its state is recorded.
    pub dir: PathBuf,
}

/// Lines around those of a container's own /etc/hosts; together they are mounted over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHosts {
    /// Before them.
    pub before: String,
    /// After them.
    pub after: String,
}

/// What of that matters to a container that is prepared.
#[derive(Debug, Deserialize)]
pub(crate) struct BeginBody {
    pub(crate) spec: BeginSpec,
}

/// What of a specification does.
#[derive(Debug, Deserialize)]
pub(crate) struct BeginSpec {
    pub(crate) hooks: Option<Hooks>,
    #[serde(default)]
    pub(crate) annotations: Option<HashMap<String, String>>,
}

/// What of that matters to a further program.
#[derive(Debug, Deserialize)]
pub(crate) struct ExecBody {
    pub(crate) spec: ExecSpec,
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) default_filter: bool,
    #[serde(default)]
    pub(crate) no_keyring: bool,
}

/// What of a specification matters to a further program.
#[derive(Debug, Deserialize)]
pub(crate) struct ExecSpec {
    pub(crate) process: Process,
    pub(crate) linux: ExecLinux,
    #[serde(default)]
    pub(crate) annotations: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExecLinux {
    pub(crate) seccomp: Option<LinuxSeccomp>,
    #[serde(rename = "intelRdt")]
    pub(crate) intel_rdt: Option<LinuxIntelRdt>,
}

/// A launch document: a file in memory with the length of its head (four bytes, little-endian), its head and its body, both
/// JSON. It is kept as long as the container is supervised. The monitor reads the head; the body, which is much more, is only
/// read in workers, so that it takes no memory while nothing is started.
#[derive(Debug)]
pub struct Document {
    file: File,
    body_at: u64,
}

impl Document {
    /// Writes one.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn new<S: Serialize>(head: &Head, body: &Body<S>) -> io::Result<Self> {
        let head = serde_json::to_vec(head)?;
        let body = serde_json::to_vec(body)?;
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        let file = File::from(memfd_create("launch", MemfdFlags::CLOEXEC)?);
        file.write_all_at(&[&length.to_le_bytes(), head.as_slice(), &body].concat(), 0)?;
        Ok(Self { file, body_at: 4 + u64::from(length) })
    }

    /// Takes one, with its head.
    ///
    /// # Errors
    /// [`Error::Launch`], [`Error::Version`], [`Error::Io`].
    pub(crate) fn open(fd: OwnedFd) -> Result<(Self, Head), Error> {
        let file = File::from(fd);
        let mut length = [0; 4];
        file.read_exact_at(&mut length, 0).context("read", "the launch document")?;
        let length = u32::from_le_bytes(length);
        let document = Self { file, body_at: 4 + u64::from(length) };
        let head = document.read(4, document.body_at)?;
        let version = serde_json::from_slice::<Versioned>(&head).map_err(Error::Launch)?.version;
        if version != VERSION {
            return Err(Error::Version { found: version, known: VERSION });
        }
        Ok((document, serde_json::from_slice(&head).map_err(Error::Launch)?))
    }

    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let end = self.file.metadata().context("look at", "the launch document")?.len();
        serde_json::from_slice(&self.read(self.body_at, end)?).map_err(Error::Launch)
    }

    fn read(&self, from: u64, to: u64) -> Result<Vec<u8>, Error> {
        let mut bytes =
            vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX).min(MAX_DOCUMENT)];
        self.file.read_exact_at(&mut bytes, from).context("read", "the launch document")?;
        Ok(bytes)
    }
}

impl AsFd for Document {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Where a container's things are, and what goes when it ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The container's id.
    pub id: String,
    /// Its control group; `None`: it has none of its own.
    pub cgroup: Option<String>,
    /// The slice in which systemd makes it as a scope; `None` where systemd does not.
    #[serde(default)]
    pub slice: Option<String>,
    /// Its monitor's, in the hierarchies that track sessions; `None`: it stays where it is started.
    pub monitor_cgroup: Option<String>,
    /// Both are in a scope of the systemd of an ordinary user, which removes them as soon as nobody is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_scope: bool,
    /// Holds `state.json`.
    pub dir: PathBuf,
    /// Holds the socket and generated files; removed at the end.
    pub run_dir: PathBuf,
    /// The number of its first process is written to it.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// Hooks that are run after its end: `hooks` and `annotations` of a specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poststop: Option<serde_json::Value>,
    /// What `--rm` removes.
    pub removal: Option<Removal>,
    /// Volumes that are mounted while one of their containers runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<VolumeMount>,
}

impl Place {
    /// Whether whoever is there was just saved, and so has ended.
    pub(crate) fn is_being_saved(&self) -> bool {
        match std::fs::read(self.run_dir.join(CHECKPOINTING)) {
            // A program of an older build says no more.
            Ok(to) if to.is_empty() => is_saved(&self.dir),
            Ok(to) => Path::new(OsStr::from_bytes(&to)).join(INVENTORY).exists(),
            Err(_) => false,
        }
    }
}

/// What the files of a root file system are not good for, as mount(8) says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restrictions {
    /// `nodev`: devices in an image cannot be opened; those of the container, in /dev, can.
    pub nodev: bool,
    /// `nosuid`: nobody becomes somebody else by a program's owner or capabilities.
    pub nosuid: bool,
    /// `noexec`: no program of an image can be run.
    pub noexec: bool,
    /// `noatime`: reading leaves no trace.
    pub noatime: bool,
}

impl Restrictions {
    /// Whether there are none.
    pub fn none(&self) -> bool {
        *self == Self::default()
    }
}

/// How the root file system is made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Rootfs {
    /// An overlay of layers, the topmost first.
    Overlay {
        /// Nothing writes to them.
        lower: Vec<Lower>,
        /// Below them, layers that have nothing but the content of files (overlayfs.rst, "Data-only lower layers").
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        data: Vec<PathBuf>,
        /// Files on disk belong to whom the container's users are outside. Otherwise the kernel maps owners.
        #[serde(default)]
        owned: bool,
        /// Where those that must be mounted are kept mounted for all containers; its parent directory exists.
        pins: PathBuf,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs's own; on the same file system as `upper`.
        work: PathBuf,
        /// Skip syncs: the changes do not outlive the container.
        volatile: bool,
        /// Where it may be mounted on the host: then it is that, for changes must not go to two overlays.
        #[serde(default)]
        shown: PathBuf,
        /// What its files are not good for.
        #[serde(default, skip_serializing_if = "Restrictions::none")]
        restrictions: Restrictions,
    },
    /// A directory as it is.
    Directory {
        /// Absolute.
        path: PathBuf,
    },
    /// A directory with all files of an image, which are the container's own.
    Copy {
        /// Absolute.
        path: PathBuf,
        /// What its files are not good for.
        #[serde(default, skip_serializing_if = "Restrictions::none")]
        restrictions: Restrictions,
    },
    /// A directory, with changes thrown away at the end. File systems mounted below are overlaid too.
    Throwaway {
        /// Absolute.
        path: PathBuf,
        /// The most the changes may take, in bytes.
        size: u64,
        /// And how many inodes.
        #[serde(default)]
        inodes: Option<u64>,
    },
}

/// A layer of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Lower {
    /// A directory.
    Dir {
        /// Absolute.
        path: PathBuf,
    },
    /// A file system image, to be mounted first.
    Erofs {
        /// Absolute.
        file: PathBuf,
        /// Letters and digits that no other layer has.
        layer: String,
    },
}

/// What is removed when a container that is not kept ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Removal {
    /// Where names are reserved, by links.
    pub names: PathBuf,
    /// Its own.
    pub name: String,
    /// The container's directory is moved here before its content is deleted.
    pub tombs: PathBuf,
    /// Files that are removed with it: where those that it needs remember that it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<PathBuf>,
    /// The volumes that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<LeftVolume>,
    /// The project by which its size is limited (quotactl(2)); those limits are taken back.
    #[serde(default)]
    pub project: Option<u32>,
    /// Where its files may be mounted on the host.
    #[serde(default)]
    pub shown: PathBuf,
    /// What this program is called with when it is gone, with its name; nothing if this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

/// A volume of a container that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftVolume {
    /// Its directory.
    pub dir: PathBuf,
    /// It goes with its last container.
    pub anonymous: bool,
    /// The project by which its size is limited, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<u32>,
}
