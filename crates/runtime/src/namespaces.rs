//! Namespaces: which are made, which are joined, and what new user and time namespaces are told.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use loment_sys::clone::{CloneFlags, Fork, clone3, unshare};
use loment_sys::ids::IdMap;
use loment_sys::wait::wait_exit;
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Gid, Pid, Uid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context, invalid};
use crate::{Error, Failure, report};

/// The most lines of a mapping (user_namespaces(7), Linux 4.15).
const MAX_LINES: usize = 340;

/// A namespace to join.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) kind: LinuxNamespaceType,
    pub(crate) path: PathBuf,
}

impl Join {
    /// Joins it. The kernel refuses one of another kind.
    pub(crate) fn enter(&self) -> Result<(), Failure> {
        let kind = match self.kind {
            LinuxNamespaceType::Network => LinkNameSpaceType::Network,
            LinuxNamespaceType::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            LinuxNamespaceType::Ipc => LinkNameSpaceType::InterProcessCommunication,
            LinuxNamespaceType::Cgroup => LinkNameSpaceType::ControlGroup,
            LinuxNamespaceType::Pid => LinkNameSpaceType::ProcessID,
            LinuxNamespaceType::Mount => LinkNameSpaceType::Mount,
            LinuxNamespaceType::User => LinkNameSpaceType::User,
            LinuxNamespaceType::Time => LinkNameSpaceType::Time,
        };
        let enter = || -> io::Result<()> {
            // Whatever else is there, such as a pipe, is not waited for.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
            if self.kind == LinuxNamespaceType::Mount && is_the_hosts(&file)? {
                return Err(io::Error::other("it is the host's, whose root the container's would become"));
            }
            match move_into_link_name_space(file.as_fd(), Some(kind)) {
                Err(rustix::io::Errno::INVAL) => {
                    Err(io::Error::other(format!("it is not a {} namespace that can be joined", self.kind)))
                }
                other => Ok(other?),
            }
        };
        enter().context("join namespace", self.path.display())
    }
}

/// Whether a mount namespace is that of the caller, or of the first process.
fn is_the_hosts(file: &OwnedFd) -> rustix::io::Result<bool> {
    let identity = |s: rustix::fs::Stat| (s.st_dev, s.st_ino);
    let theirs = identity(rustix::fs::fstat(file)?);
    // The first process may be out of sight.
    let hosts = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].map(|path| rustix::fs::stat(path).map(identity));
    Ok(hosts.contains(&Ok(theirs)))
}

/// What a specification says of namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) new: CloneFlags,
    pub(crate) join: Vec<Join>,
    /// Of a new user namespace.
    pub(crate) mappings: Option<Mappings>,
    /// Of a new time namespace, as `timens_offsets` takes them (time_namespaces(7)).
    pub(crate) offsets: String,
}

impl Namespaces {
    pub(crate) fn new(linux: &Linux) -> Result<Self, Error> {
        let (mut new, mut join, mut seen) = (CloneFlags::empty(), Vec::new(), Vec::new());
        for ns in linux.namespaces().iter().flatten() {
            let kind = ns.typ();
            if seen.contains(&kind) {
                return Err(invalid("linux.namespaces", format!("{kind} is given twice")));
            }
            seen.push(kind);
            match ns.path().as_ref().filter(|p| !p.as_os_str().is_empty()) {
                Some(path) if !path.is_absolute() => {
                    return Err(invalid("linux.namespaces", format!("{path:?} is not absolute")));
                }
                Some(path) => join.push(Join { kind, path: path.clone() }),
                None => new |= flag(kind),
            }
        }
        if !has(new, &join, LinuxNamespaceType::Mount) {
            // Without one the mounts of the container would be made on the host.
            return Err(invalid("linux.namespaces", "a mount namespace is required"));
        }
        let (uid, gid) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
        let mappings = Mappings::new("linux", uid, gid)?;
        let makes_user = new.contains(CloneFlags::NEWUSER);
        if let Some(list) = mappings.as_ref().and_then(Mappings::without_root) {
            return Err(invalid(
                format!("linux.{list}"),
                "no line maps the container's id 0, which its files are made with",
            ));
        }
        if makes_user && mappings.is_none() {
            return Err(invalid(
                "linux.namespaces",
                "a new user namespace needs uidMappings and gidMappings",
            ));
        }
        if mappings.is_some() && !has(new, &join, LinuxNamespaceType::User) {
            return Err(invalid("linux.uidMappings", "they need a user namespace"));
        }
        let offsets = offsets(linux)?;
        if !offsets.is_empty() && !new.contains(CloneFlags::NEWTIME) {
            return Err(invalid("linux.timeOffsets", "they need a new time namespace"));
        }
        Ok(Self { new, join, mappings: mappings.filter(|_| makes_user), offsets })
    }

    /// Whether the container has its own, made or joined.
    pub(crate) fn have(&self, kind: LinuxNamespaceType) -> bool {
        has(self.new, &self.join, kind)
    }

    /// The one of that kind that is joined.
    pub(crate) fn joined(&self, kind: LinuxNamespaceType) -> Option<&Join> {
        self.join.iter().find(|j| j.kind == kind)
    }
}

fn has(new: CloneFlags, join: &[Join], kind: LinuxNamespaceType) -> bool {
    new.contains(flag(kind)) || join.iter().any(|j| j.kind == kind)
}

fn flag(kind: LinuxNamespaceType) -> CloneFlags {
    match kind {
        LinuxNamespaceType::Mount => CloneFlags::NEWNS,
        LinuxNamespaceType::Cgroup => CloneFlags::NEWCGROUP,
        LinuxNamespaceType::Uts => CloneFlags::NEWUTS,
        LinuxNamespaceType::Ipc => CloneFlags::NEWIPC,
        LinuxNamespaceType::Pid => CloneFlags::NEWPID,
        LinuxNamespaceType::Network => CloneFlags::NEWNET,
        LinuxNamespaceType::User => CloneFlags::NEWUSER,
        LinuxNamespaceType::Time => CloneFlags::NEWTIME,
    }
}

/// Which users and groups outside those of a user namespace are.
#[derive(Debug)]
pub(crate) struct Mappings {
    uid: String,
    gid: String,
}

impl Mappings {
    /// `owner` is the part of the specification they are in; `None` when there are none.
    pub(crate) fn new(
        owner: &str,
        uid: Option<&[LinuxIdMapping]>,
        gid: Option<&[LinuxIdMapping]>,
    ) -> Result<Option<Self>, Error> {
        let (uids, gids) = (format!("{owner}.uidMappings"), format!("{owner}.gidMappings"));
        let (uid, gid) = (lines(&uids, uid.unwrap_or_default())?, lines(&gids, gid.unwrap_or_default())?);
        match (uid.is_empty(), gid.is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Ok(Some(Self { uid, gid })),
            (true, false) => Err(invalid(uids, "it is empty, but gidMappings is not")),
            (false, true) => Err(invalid(gids, "it is empty, but uidMappings is not")),
        }
    }

    /// The list that does not say who number 0 is.
    fn without_root(&self) -> Option<&'static str> {
        let lists = [("uidMappings", &self.uid), ("gidMappings", &self.gid)];
        lists.into_iter().find(|(_, lines)| IdMap::parse(lines).outside(0).is_none()).map(|(name, _)| name)
    }

    /// Which user outside a user of the namespace is.
    pub(crate) fn outside(&self, uid: u32) -> Option<u32> {
        IdMap::parse(&self.uid).outside(uid)
    }

    /// Which group outside a group of the namespace is.
    pub(crate) fn group_outside(&self, gid: u32) -> Option<u32> {
        IdMap::parse(&self.gid).outside(gid)
    }

    /// Which user and group outside the superuser of the namespace is.
    pub(crate) fn root_outside(&self) -> Option<(u32, u32)> {
        self.outside(0).zip(self.group_outside(0))
    }

    /// A user namespace with these mappings and nobody in it.
    pub(crate) fn namespace(&self) -> io::Result<OwnedFd> {
        let (ours, theirs) = report::socket_pair()?;
        match clone3(CloneFlags::NEWUSER, None)? {
            Fork::Child => {
                drop(ours);
                // Until the namespace is held open by somebody else.
                let _ = report::wait_for_go(&theirs);
                loment_sys::process::exit_now(0)
            }
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                let file = self.apply(pid).map_err(|f| io::Error::other(format!("{f}: {}", f.source)));
                let file = file.and_then(|()| File::open(format!("/proc/{}/ns/user", pid.as_raw_nonzero())));
                drop(ours);
                wait_exit(&pidfd)?;
                Ok(file?.into())
            }
        }
    }

    /// Tells the kernel, for the first process of the namespace.
    pub(crate) fn apply(&self, pid: Pid) -> Result<(), Failure> {
        let pid = pid.as_raw_nonzero();
        for (file, text) in [("uid_map", &self.uid), ("gid_map", &self.gid)] {
            let path = format!("/proc/{pid}/{file}");
            std::fs::write(&path, text).context(
                "map ids of the user namespace in",
                format_args!("{path} ({})", text.trim_end().replace('\n', ", ")),
            )?;
        }
        Ok(())
    }
}

/// A user namespace with nobody in it, and who its superuser and his group are outside.
#[derive(Debug)]
pub struct UserNamespace {
    /// Holds it.
    pub fd: OwnedFd,
    /// User and group.
    pub root: (u32, u32),
}

impl UserNamespace {
    /// One that maps ids as the container's own does, or the one it joins, of which the specification says who is who; `None` for
    /// a container that has the caller's. For processes with one thread.
    ///
    /// # Errors
    /// [`Error::Invalid`] for mappings that are none; [`Error::Failed`] when the kernel refuses them.
    pub fn like(spec: &Spec) -> Result<Option<Self>, Error> {
        let Some(linux) = spec.linux() else { return Ok(None) };
        let namespaces = Namespaces::new(linux)?;
        if let Some(join) = namespaces.joined(LinuxNamespaceType::User) {
            let (uid, gid) = (linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
            let root = Mappings::new("linux", uid, gid)?.and_then(|mappings| mappings.root_outside());
            let root = root.ok_or_else(|| {
                invalid(
                    "linux.uidMappings",
                    "they do not say who the superuser of the namespace that is joined is",
                )
            })?;
            let fd = File::open(&join.path).context("open namespace", join.path.display())?.into();
            return Ok(Some(Self { fd, root }));
        }
        namespaces.mappings.map(Self::of).transpose()
    }

    /// One with these mappings, which need not have a superuser: for owners of files alone. For processes with one thread.
    ///
    /// # Errors
    /// As [`UserNamespace::like`].
    pub fn of_lists(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<Self, Error> {
        let mappings = Mappings::new("users", Some(uids), Some(gids))?;
        Self::of(mappings.ok_or_else(|| invalid("users.uidMappings", "there are none"))?)
    }

    fn of(mappings: Mappings) -> Result<Self, Error> {
        let root = mappings.root_outside().unwrap_or_default();
        let fd = mappings.namespace().context("make", "a user namespace for the owners of files")?;
        Ok(Self { fd, root })
    }
}

fn lines(field: &str, mappings: &[LinuxIdMapping]) -> Result<String, Error> {
    if mappings.len() > MAX_LINES {
        return Err(invalid(field, format!("it has {} lines, the kernel takes {MAX_LINES}", mappings.len())));
    }
    let mut text = String::new();
    for m in mappings {
        if m.size() == 0 {
            return Err(invalid(field, format!("the size of the line for {} is 0", m.container_id())));
        }
        // The kernel's rule: 4294967295 is nobody's number on either side.
        if [m.container_id(), m.host_id()].iter().any(|first| first.checked_add(m.size()).is_none()) {
            return Err(invalid(
                field,
                format!("the line for {} goes beyond 4294967294, the highest id", m.container_id()),
            ));
        }
        let _ = writeln!(text, "{} {} {}", m.container_id(), m.host_id(), m.size());
    }
    Ok(text)
}

/// Becomes the superuser of the user namespace: what is made from here on is its.
pub(crate) fn become_root_of_namespace(keep_groups: bool) -> Result<(), Failure> {
    let step = |result| match result {
        Err(rustix::io::Errno::INVAL) => Err(io::Error::other("the user namespace does not map it")),
        other => other.map_err(io::Error::from),
    };
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    if !keep_groups {
        step(rustix::thread::set_thread_groups(&[])).context("clear", "supplementary groups")?;
    }
    step(rustix::thread::set_thread_res_gid(gid, gid, gid)).context("set group", 0)?;
    step(rustix::thread::set_thread_res_uid(uid, uid, uid)).context("set user", 0)
}

fn offsets(linux: &Linux) -> Result<String, Error> {
    let mut text = String::new();
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return Err(invalid("linux.timeOffsets", format!("{clock:?} is not monotonic or boottime")));
        }
        let nanosecs = offset.nanosecs().unwrap_or(0);
        if nanosecs > 999_999_999 {
            return Err(invalid("linux.timeOffsets", format!("{nanosecs} ns are a second or more")));
        }
        let _ = writeln!(text, "{clock} {} {nanosecs}", offset.secs().unwrap_or(0));
    }
    Ok(text)
}

/// The time namespace that children of this process get, while this lives: a process cannot be in one whose clocks are
/// still to be set, so a new one is for children first (time_namespaces(7)).
#[derive(Debug)]
pub(crate) struct TimeForChildren {
    previous: File,
}

impl TimeForChildren {
    /// A new one with those offsets.
    pub(crate) fn new(offsets: &str) -> Result<Self, Failure> {
        let path = "/proc/self/ns/time_for_children";
        let previous = File::open(path).context("open", path)?;
        unshare(CloneFlags::NEWTIME).context("make", "a time namespace")?;
        let made = Self { previous };
        if !offsets.is_empty() {
            std::fs::write("/proc/self/timens_offsets", offsets)
                .context("set", format_args!("time offsets {}", offsets.trim_end().replace('\n', ", ")))?;
        }
        Ok(made)
    }
}

impl Drop for TimeForChildren {
    fn drop(&mut self) {
        // Fails only for a process with threads, which could not have made one.
        let _ = move_into_link_name_space(self.previous.as_fd(), Some(LinkNameSpaceType::Time));
    }
}
