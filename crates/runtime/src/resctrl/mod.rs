//! Classes of service of the processor's caches and memory bandwidth, and groups that measure their use: the kernel's resctrl
//! file system (Documentation/filesystems/resctrl.rst; runtime-spec 1.3, config-linux.md, "IntelRdt").
//!
//! [`Rdt`] is what a specification asks for; [`Resctrl`] is the mounted file system, in which that becomes a [`Membership`],
//! which is what `delete` and `exec` need to know later. Everything is done below one directory descriptor, a name at a time,
//! and no link is followed.
//!
//! The tests use an ordinary directory. It cannot show what is the kernel's: that a new directory has its files at once, that
//! one is removed with its files, that a schema is valid for this processor, that the number of classes is limited, and that a
//! task moves.

mod schema;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::LinuxIntelRdt;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::invalid;
use crate::mountinfo::parse_mountinfo;

/// The name of the class that everything is in that is in no other.
const DEFAULT: &str = "/";
/// Directories beside the classes that are none.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];
/// `RDTGROUP_SUPER_MAGIC`
const MAGIC: u64 = 0x0765_5821;
/// More than the kernel shows in one file of text.
const MAX_TEXT: usize = 64 << 10;

/// Why a class or a monitoring group could not be made, entered, changed or removed.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error(
        "linux.intelRdt: this kernel has no resctrl file system, or the processor nothing that it controls"
    )]
    Unsupported,
    #[error(
        "linux.intelRdt: no resctrl file system is mounted: mount one with mount -t resctrl resctrl /sys/fs/resctrl"
    )]
    NotMounted,
    #[error(
        "linux.intelRdt.enableMonitoring: this processor measures nothing, or the kernel does not know how"
    )]
    NothingMeasured,
    #[error("linux.intelRdt: class {class:?} does not exist: make it, or say what it is to have")]
    Missing { class: String },
    #[error("linux.intelRdt: class {class:?} has {found:?}, not {given:?}: choose another closID")]
    Differs { class: String, given: String, found: String },
    #[error("linux.intelRdt: {operation} {object} in the resctrl file system{}", said(status))]
    Io { operation: &'static str, object: String, status: Option<String>, source: io::Error },
}

fn said(status: &Option<String>) -> String {
    status.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

/// What a specification asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rdt {
    /// `None` for a class of the container's own, named after it.
    class: Option<String>,
    /// Lines that an existing class must have: those of the L3 cache, then that of the memory bandwidth.
    limits: Vec<String>,
    /// Lines that are written whatever there is.
    schemata: Vec<String>,
    monitor: bool,
}

impl Rdt {
    /// Checks it.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a class that is no name of a directory, and lines that are none.
    pub fn new(rdt: &LinuxIntelRdt) -> Result<Self, crate::Error> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let class = given(rdt.clos_id());
        if let Some(name) = class.as_deref().filter(|name| *name != DEFAULT) {
            check_name(name)
                .map_err(|reason| invalid("linux.intelRdt.closID", format!("{name:?} {reason}")))?;
        }
        let limits = limits(given(rdt.l3_cache_schema()).as_deref(), given(rdt.mem_bw_schema()).as_deref())?;
        let schemata = rdt.schemata().clone().unwrap_or_default();
        for line in &schemata {
            check_line("linux.intelRdt.schemata", line)?;
        }
        Ok(Self { class, limits, schemata, monitor: rdt.enable_monitoring().unwrap_or(false) })
    }

    /// The class of a container with that id.
    fn class<'a>(&'a self, id: &'a str) -> &'a str {
        self.class.as_deref().unwrap_or(id)
    }
}

/// The lines of the two fields that have one resource each. Memory bandwidth among those of the cache was ignored by earlier
/// versions of the specification, and by other runtimes still.
fn limits(l3: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<String>, crate::Error> {
    let mut lines = Vec::new();
    for line in l3.into_iter().flat_map(str::lines).filter(|l| !l.trim_start().starts_with("MB:")) {
        check_line("linux.intelRdt.l3CacheSchema", line)?;
        lines.push(line.to_owned());
    }
    if let Some(line) = bandwidth {
        check_line("linux.intelRdt.memBwSchema", line)?;
        if !line.starts_with("MB:") {
            return Err(invalid("linux.intelRdt.memBwSchema", format!("{line:?} does not begin with MB:")));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

fn check_line(field: &str, line: &str) -> Result<(), crate::Error> {
    if line.is_empty() || line.contains(['\n', '\0']) {
        return Err(invalid(field, format!("{line:?} is not one line")));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" | "." | ".." => Err("is not a name of a class"),
        _ if name.contains(['/', '\n', '\0']) => Err("is not a name of a class"),
        _ if RESERVED.contains(&name) => Err("is the file system's own"),
        _ => Ok(()),
    }
}

/// A container's place in the file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its class, `/` for the default one.
    class: String,
    /// Whether the class goes with the container.
    own: bool,
    /// The name of its monitoring group, if it has one.
    monitor: Option<String>,
    /// What the class had before, for when the container is not made after all.
    #[serde(skip)]
    before: Option<String>,
}

/// A resctrl file system.
#[derive(Debug)]
pub struct Resctrl {
    root: OwnedFd,
}

impl Resctrl {
    /// The one that is mounted in the caller's mount namespace.
    ///
    /// # Errors
    /// [`Error::NotMounted`], and [`Error::Unsupported`] where there is nothing to mount.
    pub fn find() -> Result<Self, Error> {
        let read = |path: &str| std::fs::read(path).map_err(failed("read", path));
        for mount in parse_mountinfo(&read("/proc/self/mountinfo")?).iter().filter(|m| m.kind == "resctrl") {
            let root = open_dir(CWD, &mount.point).map_err(failed("open", mount.point.display()))?;
            // Something else may be mounted over it.
            if rustix::fs::fstatfs(&root).is_ok_and(|s| s.f_type as u64 == MAGIC) {
                return Ok(Self { root });
            }
        }
        let known = read("/proc/filesystems")?;
        let known =
            String::from_utf8_lossy(&known).lines().any(|l| l.split_whitespace().last() == Some("resctrl"));
        Err(if known { Error::NotMounted } else { Error::Unsupported })
    }

    /// Makes what a container needs, or finds it, and sets it up; leaves nothing when that fails.
    ///
    /// # Errors
    /// [`Error::Missing`] for a class that must be there, [`Error::Differs`] for one that has something else, [`Error::Io`].
    pub fn make(&self, rdt: &Rdt, id: &str) -> Result<Membership, Error> {
        let mut member = self.choose_class(rdt, id)?;
        self.furnish(&mut member, rdt, id).inspect_err(|_| self.undo(&member))?;
        Ok(member)
    }

    /// The class, made if it may be.
    fn choose_class(&self, rdt: &Rdt, id: &str) -> Result<Membership, Error> {
        let class = rdt.class(id);
        let mut member = Membership { class: class.to_owned(), own: false, monitor: None, before: None };
        if class == DEFAULT {
            return Ok(member);
        }
        // An id may be such a name, too.
        check_name(class)
            .map_err(|reason| failed("make", class)(io::Error::other(format!("{class:?} {reason}"))))?;
        let must_exist = rdt.class.is_some() && rdt.limits.is_empty() && rdt.schemata.is_empty();
        if must_exist {
            return match open_dir(&self.root, class) {
                Ok(_) => Ok(member),
                Err(Errno::NOENT) => Err(Error::Missing { class: class.to_owned() }),
                Err(e) => Err(failed("open", class)(e)),
            };
        }
        match rustix::fs::mkdirat(&self.root, class, Mode::from_raw_mode(0o755)) {
            Ok(()) => member.own = true,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(self.refused("make class", class, e)),
        }
        Ok(member)
    }

    /// What the class has, and the monitoring group. `member` says what there is to undo, also after a failure.
    fn furnish(&self, member: &mut Membership, rdt: &Rdt, id: &str) -> Result<(), Error> {
        let class = self.class(member)?;
        let lines: Vec<_> = rdt.limits.iter().chain(&rdt.schemata).cloned().collect();
        if !lines.is_empty() {
            let before = (!member.own).then(|| read(&class, "schemata")).transpose();
            let before = before.map_err(failed("read", "schemata"))?;
            if let (Some(found), Some(_)) = (&before, &rdt.class) {
                for line in &rdt.limits {
                    let differs = || Error::Differs {
                        class: member.class.clone(),
                        given: line.clone(),
                        found: schema::line_like(found, line).unwrap_or_default(),
                    };
                    schema::agrees(found, line).then_some(()).ok_or_else(differs)?;
                }
            }
            self.write_schemata(&class, &lines)?;
            member.before = before;
        }
        if rdt.monitor {
            let groups = open_dir(&class, "mon_groups").map_err(|e| match e {
                Errno::NOENT => Error::NothingMeasured,
                e => failed("open", "mon_groups")(e),
            })?;
            rustix::fs::mkdirat(&groups, id, Mode::from_raw_mode(0o755))
                .map_err(|e| self.refused("make monitoring group", id, e))?;
            member.monitor = Some(id.to_owned());
        }
        Ok(())
    }

    fn class(&self, member: &Membership) -> Result<OwnedFd, Error> {
        let name = if member.class == DEFAULT { "." } else { &member.class };
        open_dir(&self.root, name).map_err(failed("open class", &member.class))
    }

    /// All lines at once, so that all or none apply.
    fn write_schemata(&self, class: &OwnedFd, lines: &[String]) -> Result<(), Error> {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let write = || -> Result<(), Errno> {
            let file = open_file(class, "schemata", OFlags::WRONLY)?;
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes()))?;
            if written == text.len() { Ok(()) } else { Err(Errno::IO) }
        };
        write().map_err(|e| self.refused("write to schemata", format_args!("{:?}", text.trim_end()), e))
    }

    /// The files in which a process of the container writes 0 to become a member, in this order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tasks(&self, member: &Membership) -> Result<Vec<OwnedFd>, Error> {
        let class = self.class(member)?;
        let open = |dir: &OwnedFd| {
            open_file(dir, "tasks", OFlags::WRONLY).map_err(failed("open tasks of", &member.class))
        };
        let mut files = vec![open(&class)?];
        if let Some(id) = &member.monitor {
            let groups = open_dir(&class, "mon_groups").map_err(failed("open", "mon_groups"))?;
            files.push(open(&open_dir(&groups, id.as_str()).map_err(failed("open monitoring group", id))?)?);
        }
        Ok(files)
    }

    /// Gives a container's class other limits.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`]; [`Error::Io`].
    pub fn update(
        &self,
        member: &Membership,
        l3: Option<&str>,
        bandwidth: Option<&str>,
    ) -> Result<(), crate::Error> {
        let lines = limits(l3, bandwidth)?;
        if lines.is_empty() {
            return Ok(());
        }
        Ok(self.write_schemata(&self.class(member)?, &lines)?)
    }

    /// Removes what was made for a container. What is gone already is no error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, member: &Membership) -> Result<(), Error> {
        let gone = |result: Result<(), Errno>, object: &str| match result {
            Err(Errno::NOENT) => Ok(()),
            other => other.map_err(failed("remove", object)),
        };
        let monitor = member.monitor.as_deref().map_or(Ok(()), |id| {
            let groups = self
                .class(member)
                .and_then(|class| open_dir(&class, "mon_groups").map_err(failed("open", "mon_groups")));
            match groups {
                Ok(groups) => gone(rustix::fs::unlinkat(groups, id, AtFlags::REMOVEDIR), id),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e),
            }
        });
        let class = match member.own {
            true => gone(rustix::fs::unlinkat(&self.root, &member.class, AtFlags::REMOVEDIR), &member.class),
            false => Ok(()),
        };
        monitor.and(class)
    }

    /// Puts everything back for a container that is not made after all. What went wrong before is what matters.
    pub fn undo(&self, member: &Membership) {
        let _ = self.remove(member);
        if let (Some(text), Ok(class)) = (&member.before, self.class(member)) {
            let _ = self.write_schemata(&class, &schema::as_written(text));
        }
    }

    /// Removes what a creator left that was killed before it could write down what it made. Whether it made the class that is
    /// named after the container is not known: one with a process in it stays.
    pub fn abandon(&self, rdt: &Rdt, id: &str) {
        let class = rdt.class(id).to_owned();
        let mut member =
            Membership { class, own: false, monitor: rdt.monitor.then(|| id.to_owned()), before: None };
        let empty = |class: OwnedFd| read(&class, "tasks").is_ok_and(|text| text.trim().is_empty());
        member.own = rdt.class.is_none() && check_name(id).is_ok() && self.class(&member).is_ok_and(empty);
        let _ = self.remove(&member);
    }

    /// An order the kernel did not follow, with what it says about that.
    fn refused(&self, operation: &'static str, object: impl std::fmt::Display, errno: Errno) -> Error {
        let status = open_dir(&self.root, "info").and_then(|info| read(&info, "last_cmd_status"));
        let status =
            status.ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty() && text != "ok");
        Error::Io { operation, object: object.to_string(), status, source: errno.into() }
    }
}

/// Makes the calling, single-threaded process a member.
pub(crate) fn join(tasks: &[OwnedFd]) -> io::Result<()> {
    for file in tasks {
        rustix::io::retry_on_intr(|| rustix::io::write(file, b"0"))?;
    }
    Ok(())
}

fn failed<E: Into<io::Error>>(
    operation: &'static str,
    object: impl std::fmt::Display,
) -> impl FnOnce(E) -> Error {
    let object = object.to_string();
    move |e| Error::Io { operation, object, status: None, source: e.into() }
}

fn open_dir(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name.as_ref(), flags, Mode::empty())
}

fn open_file(dir: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// A file's text, of which there is not much.
fn read(dir: &impl AsFd, name: &str) -> Result<String, Errno> {
    fn fill(file: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while bytes.len() < MAX_TEXT {
            match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer))? {
                0 => break,
                n => bytes.extend(&buffer[..n]),
            }
        }
        Ok(bytes)
    }
    let file = open_file(dir, name, OFlags::RDONLY)?;
    Ok(String::from_utf8_lossy(&fill(file.as_fd())?).into_owned())
}
