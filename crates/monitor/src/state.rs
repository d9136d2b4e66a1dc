//! What is known of a container beyond its configuration: written by whoever changes it, whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The name of the document in the container's directory.
pub const FILE: &str = "state.json";

/// The directory in a container's run directory that has a file for each program that was run in it and has not ended: the file's name
/// is an id, and what is in it the number of the process.
pub const SESSIONS: &str = "exec";
/// The mark in the run directory of a container that was asked to stop, and has not ended.
pub const STOPPING: &str = "stopping";

/// The mark in the run directory of a container that is being saved, after which it has ended; in it is where to.
pub const CHECKPOINTING: &str = "checkpointing";
/// The directory, in a container's, of the files that it was saved to.
pub const CHECKPOINT: &str = "checkpoint";
/// The file that CRIU writes last.
pub const INVENTORY: &str = "inventory.img";

/// Whether a container with that directory was saved, all of it.
pub fn is_saved(dir: &Path) -> bool {
    dir.join(CHECKPOINT).join(INVENTORY).exists()
}

/// The version of the document.
const VERSION: u32 = 1;

/// A container's last known state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Version of this document.
    pub version: u32,
    /// Where it is in its life.
    pub phase: Phase,
    /// The boot during which it was started.
    pub boot_id: String,
    /// Its first process.
    pub pid: i32,
    /// When that process was started, in clock ticks since boot.
    pub start_time: u64,
    /// Its monitor.
    pub monitor_pid: i32,
    /// When that was started.
    pub monitor_start_time: u64,
    /// Of one that has namespaces and no process: the descriptors of its monitor that keep them, by their names in `/proc/PID/ns`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, i32>,
    /// That process waits for the word to run its program.
    pub initialized: bool,
    /// RFC 3339; empty if it never was.
    pub started_at: String,
    /// RFC 3339; empty if it never was.
    pub finished_at: String,
    /// The last exit status.
    pub exit_code: i32,
    /// Its last process was killed for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started.
    pub error: String,
    /// It has ended because it was saved.
    pub checkpointed: bool,
    /// It went on from where it was saved.
    pub restored: bool,
    /// How often it was started again after an end, since somebody started it.
    #[cfg_attr(feature = "older", serde(skip))]
    pub restarts: u32,
    /// When it is started again, if it waits for that: RFC 3339.
    #[cfg_attr(feature = "older", serde(skip))]
    pub restart_at: String,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Never started.
    #[default]
    Created,
    /// Started, and its end not recorded.
    Running,
    /// Ended.
    Exited,
}

/// A new id, for a container or a program in one: 64 hexadecimal digits.
///
/// # Errors
/// The kernel's, where it has no random numbers.
pub fn new_id() -> io::Result<String> {
    let (mut bytes, mut filled) = ([0; 32], 0);
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The kernel's name for this boot, which is read once.
pub fn boot_id() -> &'static str {
    static READ: OnceLock<String> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    READ.get_or_init(|| read().trim().to_owned())
}

impl State {
    /// Whether all there is of it are namespaces, which its monitor keeps.
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Reads the state in the container directory `dir`.
    ///
    /// # Errors
    /// The kernel's errno, or `InvalidData` for a document that is none.
    pub fn load(dir: &Path) -> io::Result<Self> {
        Self::parse(&std::fs::read(dir.join(FILE))?)
    }

    /// Reads the text of a state.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` for a document that is none, another kind for one of a newer version.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let state: Self = serde_json::from_slice(bytes)?;
        if state.version > VERSION {
            return Err(io::Error::other(format!(
                "{FILE} is version {}, newer than this program",
                state.version
            )));
        }
        Ok(state)
    }

    /// Replaces the state in the container directory `dir`; `durable` ones survive a power cut.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn save(&self, dir: &Path, durable: bool) -> io::Result<()> {
        let document = serde_json::to_vec(&Self { version: VERSION, ..self.clone() })?;
        let new = dir.join(format!(".{FILE}.{}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = std::fs::File::create(&new)?;
            io::Write::write_all(&mut file, &document)?;
            if durable {
                file.sync_data()?;
            }
            std::fs::rename(&new, dir.join(FILE))
        };
        write().inspect_err(|_| {
            let _ = std::fs::remove_file(&new);
        })
    }
}
