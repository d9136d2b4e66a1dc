//! What the runtime's own command line remembers between its commands: a directory per container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::ContainerState;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::{Context, invalid};

const STATE: &str = "state.json";
/// The name of the socket on which a created container waits for the order to start.
pub const START: &str = "start.sock";

/// A container's id: it becomes a directory, a cgroup and a keyring, so it is checked first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Checks an id: letters, digits, `_`, `+`, `-`, `.`, not beginning with a dot, at most 1024 bytes (crun 1.28).
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(id: &str) -> Result<Self, Error> {
        let ok = |c: u8| c.is_ascii_alphanumeric() || b"_+-.".contains(&c);
        if id.is_empty() || id.len() > 1024 || id.starts_with('.') || !id.bytes().all(ok) {
            return Err(invalid(
                format!("container id {id:?}"),
                "use letters, digits and _+-. and no leading dot",
            ));
        }
        Ok(Self(id.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is remembered of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of this document.
    pub version: u32,
    /// The container's id.
    pub id: Id,
    /// Its first process.
    pub pid: i32,
    /// When that process was started, in clock ticks since boot: tells it from a later one with its number.
    pub start_time: u64,
    /// Absolute.
    pub bundle: PathBuf,
    /// Absolute.
    pub rootfs: PathBuf,
    /// Its cgroup, relative to each hierarchy.
    pub cgroup: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// From the specification.
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl Record {
    /// Whether the container is created, running or stopped, from what the kernel says now.
    pub fn status(&self, dir: &Path) -> ContainerState {
        match process_start_time(self.pid) {
            Some(t) if t == self.start_time => {}
            _ => return ContainerState::Stopped,
        }
        if dir.join(START).exists() { ContainerState::Created } else { ContainerState::Running }
    }

    /// A descriptor of the container's first process; `None` when it has ended.
    pub fn open_process(&self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor was opened: it cannot become another process now.
        (process_start_time(self.pid)? == self.start_time).then_some(pidfd)
    }
}

/// When a process was started (proc_pid_stat(5), field 22); `None` when there is none or it is a zombie.
pub fn process_start_time(pid: i32) -> Option<u64> {
    // 52 fields; the kernel gives them in one piece.
    let mut buffer = [0; 2048];
    let len =
        std::io::Read::read(&mut std::fs::File::open(format!("/proc/{pid}/stat")).ok()?, &mut buffer).ok()?;
    // The name may be any bytes, spaces and parentheses among them: fields are counted behind the last one.
    let stat = String::from_utf8_lossy(&buffer[..len]);
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(18)?.parse().ok() }
}

/// The directory of a runtime's containers.
#[derive(Debug)]
pub struct States {
    root: PathBuf,
}

impl States {
    /// Uses `root`, made (mode 0700) when the first container is.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// A container's directory.
    pub fn dir(&self, id: &Id) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Where a created container waits for the order to start.
    pub fn start_socket(&self, id: &Id) -> PathBuf {
        self.dir(id).join(START)
    }

    /// Takes an id: its directory exists from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is in use.
    pub fn reserve(&self, id: &Id) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        let dir = self.dir(id);
        let made = builder.create(&dir).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                builder.recursive(true).create(&self.root)?;
                builder.recursive(false).create(&dir)
            }
            _ => Err(e),
        });
        match made {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(invalid(
                format!("container id {:?}", id.as_str()),
                "a container with that id exists: delete it first",
            )),
            other => Ok(other.context("create", dir.display())?),
        }
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn save(&self, record: &Record) -> Result<(), Error> {
        let dir = self.dir(&record.id);
        let (new, path) = (dir.join(".state.json"), dir.join(STATE));
        let bytes = serde_json::to_vec(record).expect("a record has string keys only");
        std::fs::write(&new, bytes)
            .and_then(|()| std::fs::rename(&new, &path))
            .context("write", path.display())?;
        Ok(())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Failed`] with the words engines look for when there is no such container (runc's and crun's).
    pub fn load(&self, id: &Id) -> Result<Record, Error> {
        let path = self.dir(id).join(STATE);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound { id: id.as_str().to_owned() });
            }
            other => other.context("read", path.display())?,
        };
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::Parse { path: path.display().to_string(), source })
    }

    /// Every container's id, sorted.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn list(&self) -> Result<Vec<Id>, Error> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context("read", self.root.display())?,
        };
        let mut ids: Vec<Id> =
            entries.flatten().filter_map(|e| Id::new(e.file_name().to_str()?).ok()).collect();
        ids.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(ids)
    }

    /// Forgets a container.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn forget(&self, id: &Id) -> Result<(), Error> {
        let dir = self.dir(id);
        // Mostly there is nothing else in it.
        let _ = std::fs::remove_file(dir.join(STATE));
        if std::fs::remove_dir(&dir).is_ok() {
            return Ok(());
        }
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => Ok(other.context("remove", self.dir(id).display())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_climb_are_refused() {
        for bad in ["", ".", "..", "a/b", ".hidden", "a b", "é", "a\0"] {
            assert!(Id::new(bad).is_err(), "{bad:?}");
        }
        assert!(Id::new("a_B+9.c-d").is_ok());
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        assert!(process_start_time(std::process::id() as i32).is_some());
        assert!(process_start_time(0).is_none());
        // Whatever the process calls itself.
        std::thread::spawn(|| {
            std::fs::write("/proc/thread-self/comm", b"a) R \xff").unwrap();
            let tid = std::fs::read_link("/proc/thread-self").unwrap();
            let tid = tid.file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert!(process_start_time(tid).is_some());
        })
        .join()
        .unwrap();
    }
}
