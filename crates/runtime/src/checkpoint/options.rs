//! What is asked of a checkpoint, and where it is.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, unlinkat};
use serde::{Deserialize, Serialize};

use super::Error;
use super::log::{READ, reasons};
use super::process::{IMAGES_FD, WORK_FD};
use super::protocol::{CgroupMode, LockMethod, Opts};

use crate::error::Context;
use crate::{Failure, Plan};

/// runc's; it may hold settings for all of its containers.
const CONFIG: &str = "/etc/criu/runc.conf";
/// The annotation that names another such file; empty for none.
const CONFIG_KEY: &str = "org.criu.config";
/// Everything but what is only of use to those who work on CRIU.
const LOG_LEVEL: i32 = 4;
/// `CLONE_NEWNET`, the only namespace that can be empty.
const EMPTY_NETWORK: u32 = loment_sys::clone::CloneFlags::NEWNET.bits() as u32;

/// What becomes of control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// Groups and settings are restored where they are missing.
    #[default]
    Soft,
    /// Both are restored.
    Full,
    /// They must not be there.
    Strict,
    /// Processes are restored into the container's own group.
    Ignore,
}

impl Cgroups {
    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "soft" => Self::Soft,
            "full" => Self::Full,
            "strict" => Self::Strict,
            "ignore" => Self::Ignore,
            _ => return None,
        })
    }
}

/// How a container's connections are kept still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkLock {
    /// By iptables-restore(8).
    Iptables,
    /// By nf_tables.
    Nftables,
    /// Not at all.
    Skip,
}

impl NetworkLock {
    /// The method of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "iptables" => Self::Iptables,
            "nftables" => Self::Nftables,
            "skip" => Self::Skip,
            _ => return None,
        })
    }
}

/// Where memory is sent instead of into files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageServer {
    /// Of the host, without a port.
    pub address: String,
    /// TCP.
    pub port: u16,
}

/// What checkpoint and restore both are asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Connections survive.
    pub tcp_established: bool,
    /// Connections are closed on restore (CRIU 3.15).
    pub tcp_close: bool,
    /// Connections that are being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Unix sockets may be connected to outside.
    pub ext_unix_sk: bool,
    /// The terminal may be somebody else's.
    pub shell_job: bool,
    /// File locks are restored.
    pub file_locks: bool,
    /// Files without a name get one again where that is possible.
    pub link_remap: bool,
    /// Pages come when they are needed (userfaultfd).
    pub lazy_pages: bool,
    /// Pages of older images that are replaced are freed.
    pub auto_dedup: bool,
    /// What becomes of control groups.
    pub cgroups: Cgroups,
    /// How connections are kept still; `None` leaves that to CRIU.
    pub network_lock: Option<NetworkLock>,
}

impl Options {
    /// The request that both begin with. Devices of networks are never in it: those who made them do so again, in hooks.
    pub(super) fn request(&self, log: &str, annotations: &[(&str, &str)]) -> Opts {
        let config =
            annotations.iter().find(|(key, _)| *key == CONFIG_KEY).map_or(CONFIG, |(_, value)| value);
        let mode = match self.cgroups {
            Cgroups::Soft => CgroupMode::Soft,
            Cgroups::Full => CgroupMode::Full,
            Cgroups::Strict => CgroupMode::Strict,
            Cgroups::Ignore => CgroupMode::Ignore,
        };
        let lock = self.network_lock.map(|lock| match lock {
            NetworkLock::Iptables => LockMethod::Iptables,
            NetworkLock::Nftables => LockMethod::Nftables,
            NetworkLock::Skip => LockMethod::Skip,
        });
        Opts {
            images_dir_fd: IMAGES_FD,
            work_dir_fd: Some(WORK_FD),
            log_file: Some(log.to_owned()),
            log_level: Some(LOG_LEVEL),
            notify_scripts: Some(true),
            orphan_pts_master: Some(true),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(mode.into()),
            empty_ns: Some(EMPTY_NETWORK),
            config_file: Some(config.to_owned()).filter(|c| !c.is_empty()),
            tcp_established: Some(self.tcp_established),
            tcp_close: self.tcp_close.then_some(true),
            tcp_skip_in_flight: Some(self.tcp_skip_in_flight),
            ext_unix_sk: Some(self.ext_unix_sk),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            link_remap: Some(self.link_remap),
            lazy_pages: Some(self.lazy_pages),
            auto_dedup: Some(self.auto_dedup),
            network_lock: lock.map(Into::into),
            ..Opts::default()
        }
    }
}

/// The directory of a checkpoint, and the one of the logs, if that is another.
#[derive(Debug)]
pub struct Images {
    path: PathBuf,
    fd: OwnedFd,
    /// Its directory was made for it.
    made: bool,
    work: Option<(PathBuf, OwnedFd)>,
}

impl Images {
    /// Opens a directory for a new checkpoint, made (mode 0700) with those above it when missing.
    ///
    /// # Errors
    /// [`Error::Images`].
    pub fn create(path: &Path, work: Option<&Path>) -> Result<Self, Error> {
        let made = !path.exists();
        make(path)?;
        Ok(Self { made, ..Self::open(path, work)? })
    }

    /// Opens the directory of a checkpoint. That for logs is made when missing.
    ///
    /// # Errors
    /// [`Error::Images`].
    pub fn open(path: &Path, work: Option<&Path>) -> Result<Self, Error> {
        work.map_or(Ok(()), make)?;
        let fd = open(path)?;
        let work = work.map(|path| Ok::<_, Error>((path.to_owned(), open(path)?))).transpose()?;
        Ok(Self { path: path.to_owned(), fd, made: false, work })
    }

    /// Where the images are.
    pub(super) fn directory(&self) -> (&Path, &OwnedFd) {
        (&self.path, &self.fd)
    }

    /// Where the logs are.
    pub(super) fn work_directory(&self) -> (&Path, &OwnedFd) {
        self.work.as_ref().map_or_else(|| self.directory(), |(path, fd)| (path, fd))
    }

    /// The path of one of its files, for messages.
    pub(super) fn name(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    /// Opens one of its files.
    pub(super) fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::from_raw_mode(0o600);
        Ok(rustix::fs::openat(&self.fd, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?.into())
    }

    /// Opens one of the files that are with the logs.
    pub(super) fn work_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.work_directory().1, name, flags, Mode::empty())?.into())
    }

    /// Removes logs and statistics, which nothing needs that worked.
    pub fn forget_logs(&self) {
        for name in ["dump.log", "restore.log", "stats-dump", "stats-restore"] {
            let _ = unlinkat(self.work_directory().1, name, AtFlags::empty());
        }
    }

    /// Where a log is, for messages.
    pub(super) fn log_name(&self, log: &str) -> String {
        self.work_directory().0.join(log).display().to_string()
    }

    /// Forgets the log of an earlier try.
    pub(super) fn forget_log(&self, log: &str) {
        // One that is not there is what is wanted.
        let _ = rustix::fs::unlinkat(self.work_directory().1, log, rustix::fs::AtFlags::empty());
    }

    /// What a log says went wrong; nothing when there is none.
    pub(super) fn log_reasons(&self, log: &str) -> String {
        let dir = self.work_directory().1;
        let read = || -> io::Result<Vec<u8>> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(dir, log, flags, Mode::empty())?);
            let end = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(end.saturating_sub(READ as u64)))?;
            let mut text = Vec::new();
            file.take(READ as u64).read_to_end(&mut text)?;
            Ok(text)
        };
        reasons(&read().unwrap_or_default())
    }

    /// Lets the superuser of a user namespace come through, where the directory was made for this: processes that are restored
    /// in one open files here, with no other rights than theirs. Everybody could otherwise read the memory that is in files of
    /// mode 0644.
    pub(super) fn admit(&self, plan: &Plan) -> Result<(), Failure> {
        let Some(group) = plan.namespaces.mappings.as_ref().and_then(|m| m.group_outside(0)) else {
            return Ok(());
        };
        let admit = || -> io::Result<()> {
            let stat = rustix::fs::fstat(&self.fd)?;
            if stat.st_gid == group || stat.st_mode & 0o001 != 0 {
                return Ok(());
            }
            if !self.made {
                let text = format!(
                    "its group is not {group}: let that in, or choose a directory that does not exist"
                );
                return Err(io::Error::other(text));
            }
            rustix::fs::fchown(&self.fd, None, Some(rustix::fs::Gid::from_raw(group)))?;
            Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(stat.st_mode & 0o700 | 0o010))?)
        };
        admit().context("let the container's user namespace into", self.path.display())
    }

    /// Checks that the pre-dump before this checkpoint is where it says: relative to it.
    pub(super) fn check_parent(&self, parent: &Path) -> Result<String, Error> {
        let wrong = |reason: String| Error::Parent { path: parent.display().to_string(), reason };
        if parent.is_absolute() {
            // runc's words.
            return Err(wrong(
                "--parent-path must be relative, to the directory of this checkpoint".to_owned(),
            ));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, parent, flags, Mode::empty()).map_err(|e| {
            wrong(format!("open {}: {}", self.path.join(parent).display(), io::Error::from(e)))
        })?;
        parent.to_str().map(str::to_owned).ok_or_else(|| wrong("it is not valid UTF-8".to_owned()))
    }
}

fn make(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| Error::Images { action: "create", path: path.display().to_string(), source })
}

fn open(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| Error::Images {
        action: "open",
        path: path.display().to_string(),
        source: e.into(),
    })
}
