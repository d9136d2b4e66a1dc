//! Control groups: v1, v2 and hybrid hosts behind one type.
//!
//! [`Host::detect`] finds what is mounted; [`Host::cgroup`] names one group on every hierarchy; [`Cgroup`] makes it,
//! limits it, lets a child join it, kills what is in it and removes it. [`Host::scope`] names one that systemd makes, with
//! the same operations ([`systemd`]). What is not here: statistics, and any choice of names or defaults.
//!
//! ```no_run
//! use loment_cgroup::{CgroupPath, Host};
//! let host = Host::detect()?;
//! let group = host.cgroup(CgroupPath::new("loment-1f2e")?);
//! group.create()?;
//! group.apply(&oci_spec::runtime::LinuxResources::default())?;
//! let entry = group.entry()?; // opened before the clone; the child calls entry.join()
//! group.kill()?;
//! group.remove()?;
//! # Ok::<(), loment_cgroup::Error>(())
//! ```

mod below;
mod convert;
mod delegated;
mod devices;
mod dir;
mod error;
mod freezer;
mod huge;
mod io;
mod members;
mod membership;
mod other;
mod path;
mod stats;
pub mod systemd;
mod update;
mod v1;
mod v2;

pub use delegated::Delegated;
pub use error::Error;
pub use path::CgroupPath;
pub use stats::Usage;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dir::{Dir, Generation};
use membership::Memberships;
use oci_spec::runtime::{LinuxBlockIo, LinuxResources};
use rustix::fs::{Mode, OFlags};
use systemd::Scope;

/// Where the control groups are mounted.
const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// What the kernel's two generations of hierarchy have in common.
trait Hierarchy: std::fmt::Debug + Send + Sync {
    /// Whether groups of this hierarchy can have limits of that controller.
    fn has(&self, controller: &str) -> bool;
    /// Its root group.
    fn root(&self) -> &Dir;
    /// Makes the group; one that is there already is an error.
    fn create(&self, path: &CgroupPath) -> Result<(), Error>;
    /// Writes the limits this hierarchy is responsible for.
    fn apply(&self, path: &CgroupPath, resources: &LinuxResources) -> Result<(), Error>;
    /// Opens what a child needs to become a member of the group, or of the root group.
    fn enter(&self, path: Option<&CgroupPath>, entry: &mut Entry) -> Result<(), Error>;
    /// The text of one of the group's files.
    fn read(&self, path: &CgroupPath, file: &str) -> Result<String, Error>;
    /// Whether the group is there.
    fn exists(&self, path: &CgroupPath) -> bool;
    /// Stops (or lets go on) every member; `Ok(false)` where this hierarchy cannot.
    fn freeze(&self, path: &CgroupPath, frozen: bool) -> Result<bool, Error>;
    /// Kills every member at once; `Ok(false)` where this hierarchy cannot.
    fn kill(&self, path: &CgroupPath) -> Result<bool, Error>;
    /// Makes a process a member of the group that systemd has made, or of a group in it. Where systemd has made none, as for
    /// controllers it does not know, it is made.
    fn place(&self, path: &CgroupPath, pid: i32, memberships: &Memberships) -> Result<(), Error>;
    /// Gives the group to a user, if groups of this hierarchy can be given away.
    fn delegate(&self, path: &CgroupPath, uid: u32) -> Result<(), Error>;
    /// Makes the group `below` the group, moves a member of that into it, and hands controllers on.
    fn move_below(&self, path: &CgroupPath, below: &CgroupPath, pid: i32) -> Result<(), Error>;
    /// Whether it is the v2 hierarchy.
    fn is_v2(&self) -> bool;
    /// Removes the group and its descendants; one that is gone already is no error.
    fn remove(&self, path: &CgroupPath) -> Result<(), Error>;
}

/// The generation(s) of control groups that a host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One v2 hierarchy.
    V2,
    /// v1 hierarchies only.
    V1,
    /// v1 hierarchies with controllers beside a v2 one.
    Hybrid,
}

/// The hierarchies of this host.
#[derive(Debug)]
pub struct Host {
    hierarchies: Vec<Box<dyn Hierarchy>>,
    version: Version,
}

impl Host {
    /// Finds the hierarchies mounted under /sys/fs/cgroup.
    ///
    /// # Errors
    /// [`Error::NotMounted`] where there are none.
    pub fn detect() -> Result<Self, Error> {
        Self::detect_at(Path::new(MOUNT_POINT))
    }

    /// As [`Host::detect`], under another directory.
    ///
    /// # Errors
    /// As [`Host::detect`].
    pub fn detect_at(mount_point: &Path) -> Result<Self, Error> {
        let root = Dir::open(mount_point)?;
        if root.generation() == Generation::V2 {
            return Ok(Self { hierarchies: vec![Box::new(v2::V2::new(root, true))], version: Version::V2 });
        }
        let (mut unified, mut v1) = (None, Vec::new());
        for name in root.subdirectories()? {
            let dir = root.open_dir(&name)?;
            match dir.generation() {
                Generation::V2 => unified = Some(dir),
                Generation::V1 => v1.push(v1::V1::new(&name, dir)),
                Generation::Neither => {}
            }
        }
        let version = match (&unified, v1.is_empty()) {
            (None, true) => return Err(Error::NotMounted { path: mount_point.into() }),
            (None, false) => Version::V1,
            (Some(_), false) => Version::Hybrid,
            (Some(_), true) => Version::V2,
        };
        let mut hierarchies: Vec<Box<dyn Hierarchy>> = Vec::new();
        let pure = version == Version::V2;
        hierarchies.extend(unified.map(|u| Box::new(v2::V2::new(u, pure)) as Box<dyn Hierarchy>));
        hierarchies.extend(v1.into_iter().map(|h| Box::new(h) as Box<dyn Hierarchy>));
        Ok(Self { hierarchies, version })
    }

    /// As [`Host::detect`], but only the hierarchies by which session managers keep track of processes: v2, and the named
    /// one of v1. A supervisor that has a group of its own there outlives the session it was started from.
    ///
    /// # Errors
    /// [`Error::NotMounted`] where there are none.
    pub fn detect_tracking() -> Result<Self, Error> {
        let root = Dir::open(Path::new(MOUNT_POINT))?;
        if root.generation() == Generation::V2 {
            return Ok(Self { hierarchies: vec![Box::new(v2::V2::new(root, true))], version: Version::V2 });
        }
        let mut hierarchies: Vec<Box<dyn Hierarchy>> = Vec::new();
        if let Some(dir) = root.open_dir("unified").ok().filter(|d| d.generation() == Generation::V2) {
            hierarchies.push(Box::new(v2::V2::new(dir, false)));
        }
        if let Some(dir) = root.open_dir("systemd").ok().filter(|d| d.generation() == Generation::V1) {
            hierarchies.push(Box::new(v1::V1::new("systemd", dir)));
        }
        Ok(Self { hierarchies, version: Version::Hybrid })
    }

    /// No hierarchy. All its groups are [`Cgroup::nowhere`].
    pub const fn none() -> Self {
        Self { hierarchies: Vec::new(), version: Version::V2 }
    }

    /// The group of that name, or one that is nowhere.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn cgroup_if(&self, path: Option<&str>) -> Result<Cgroup<'_>, Error> {
        Ok(match path {
            Some(path) => self.cgroup(CgroupPath::new(path)?),
            None => Cgroup::nowhere(),
        })
    }

    /// Whether the caller can make groups in every hierarchy: a user cannot, unless they were delegated.
    pub fn is_ours(&self) -> bool {
        self.hierarchies.iter().all(|h| h.root().is_writable())
    }

    /// Opens what a child needs to become a member of the root groups.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn root_entry(&self) -> Result<Entry, Error> {
        let mut entry = Entry::default();
        self.hierarchies.iter().try_for_each(|h| h.enter(None, &mut entry))?;
        Ok(entry)
    }

    /// Whether some hierarchy has that controller.
    pub fn has(&self, controller: &str) -> bool {
        self.hierarchies.iter().any(|h| h.has(controller))
    }

    /// The generation(s) in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The group of that name on every hierarchy. Nothing is made yet.
    pub fn cgroup(&self, path: CgroupPath) -> Cgroup<'_> {
        Cgroup { host: self, path, scope: None }
    }

    /// The group of a scope, which systemd makes when the container's first process is there ([`Cgroup::place`]).
    pub fn scope(&self, scope: Scope) -> Cgroup<'_> {
        Cgroup { host: self, path: scope.container_path().clone(), scope: Some(scope) }
    }
}

/// One group: the same name on every hierarchy.
#[derive(Debug)]
pub struct Cgroup<'h> {
    host: &'h Host,
    path: CgroupPath,
    scope: Option<Scope>,
}

/// What a child needs to become a member: opened by its creator, used by itself.
///
/// A parent that moves a child waits ~8 ms for a grace period of the kernel; a thread that moves itself through the
/// `tasks` file does not (`cgroup_procs_write_start`, Linux 5.13).
#[derive(Debug, Default)]
pub struct Entry {
    v2: Option<OwnedFd>,
    v1: Vec<OwnedFd>,
}

/// Counts how many processes of a group were killed for lack of memory.
#[derive(Debug)]
pub struct OomCounter(OwnedFd);

impl AsFd for OomCounter {
    /// Has an exceptional condition (`POLLPRI`) when it has changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl OomCounter {
    /// How many, in one system call; `None` when the group is gone or nobody counts.
    pub fn kills(&self) -> Option<u64> {
        self.number("oom_kill ")
    }

    /// How often the group was at its limit, which it is before something in it is killed; `None` also on v1.
    pub fn times_at_limit(&self) -> Option<u64> {
        self.number("max ")
    }

    fn number(&self, name: &str) -> Option<u64> {
        // A dozen short lines.
        let mut buffer = [0; 1024];
        let length = rustix::io::pread(&self.0, &mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
    }
}

impl Entry {
    /// The v2 directory, for `CLONE_INTO_CGROUP`.
    pub fn v2(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(AsFd::as_fd)
    }

    /// The v1 groups' `tasks` files, in which a thread that writes 0 becomes a member.
    pub fn v1(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.v1.iter().map(AsFd::as_fd)
    }

    /// Makes the calling, single-threaded process a member of the v2 group, for who was not made in it. That waits for the kernel.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn join_v2(&self) -> std::io::Result<()> {
        let Some(group) = &self.v2 else { return Ok(()) };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = rustix::fs::openat(group, "cgroup.procs", flags, Mode::empty())?;
        Ok(rustix::io::write(procs, b"0").map(drop)?)
    }

    /// Makes the calling, single-threaded process a member of the v1 groups.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn join(&self) -> std::io::Result<()> {
        for tasks in &self.v1 {
            rustix::io::write(tasks, b"0")?;
        }
        Ok(())
    }
}

impl Cgroup<'static> {
    /// In no hierarchy: of who has no group of its own. Whatever is done with it is done, but for limits and pauses.
    pub fn nowhere() -> Self {
        static NOWHERE: Host = Host::none();
        Self { host: &NOWHERE, path: CgroupPath::nowhere(), scope: None }
    }
}

impl Cgroup<'_> {
    /// Its name.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The unit of systemd that it is, if it is one.
    pub fn unit(&self) -> Option<&str> {
        self.scope.as_ref().map(Scope::unit)
    }

    /// Whether there is no group before its first process is: it must wait until [`Cgroup::place`] has returned.
    pub fn is_made_for_a_process(&self) -> bool {
        self.scope.as_ref().is_some_and(Scope::is_new)
    }

    /// Has systemd make the group for this process, limits it, and gives it to `owner` as [`Cgroup::delegate`] does. Of a
    /// group that is no scope, everything of this has been done.
    ///
    /// # Errors
    /// [`Error::Bus`], [`Error::Unit`], [`Error::Job`]; as [`Cgroup::apply`] and [`Cgroup::delegate`].
    pub fn place(&self, pid: i32, resources: &LinuxResources, owner: Option<u32>) -> Result<(), Error> {
        let Some(scope) = self.scope.as_ref().filter(|s| s.is_new()) else { return Ok(()) };
        scope.start(pid, resources, self.host.version)?;
        let memberships = Memberships::of(pid)?;
        memberships.expect(scope.path())?;
        self.host.hierarchies.iter().try_for_each(|h| h.place(&self.path, pid, &memberships))?;
        self.host.hierarchies.iter().try_for_each(|h| h.apply(&self.path, resources))?;
        owner.map_or(Ok(()), |uid| self.host.hierarchies.iter().try_for_each(|h| h.delegate(&self.path, uid)))
    }

    /// Makes the group everywhere, or nowhere. Of a scope, nothing: [`Cgroup::place`] does.
    ///
    /// # Errors
    /// [`Error::Exists`] when it is there already, [`Error::Io`] otherwise.
    pub fn create(&self) -> Result<(), Error> {
        if self.scope.is_some() {
            return Ok(());
        }
        for (done, h) in self.host.hierarchies.iter().enumerate() {
            if let Err(e) = h.create(&self.path) {
                for made in &self.host.hierarchies[..done] {
                    // The first error is what the caller needs to know.
                    let _ = made.remove(&self.path);
                }
                return Err(e);
            }
        }
        Ok(())
    }

    /// As [`Cgroup::create`], but leaves one that is there as it is, and completes one that somebody makes at the same time, or was
    /// killed while making.
    ///
    /// # Errors
    /// As [`Cgroup::create`], but for [`Error::Exists`].
    pub fn create_if_missing(&self) -> Result<(), Error> {
        if self.scope.is_some() {
            return self.create();
        }
        self.host.hierarchies.iter().try_for_each(|h| match h.create(&self.path) {
            Err(Error::Exists { .. }) => Ok(()),
            other => other,
        })
    }

    /// As [`Cgroup::create`], but takes over a group that is there and has nobody in it: one that somebody prepared.
    ///
    /// # Errors
    /// [`Error::Exists`] when it is in use; as [`Cgroup::create`].
    pub fn create_or_adopt(&self) -> Result<(), Error> {
        if self.scope.is_some() {
            return self.create();
        }
        for h in &self.host.hierarchies {
            match h.create(&self.path) {
                Err(Error::Exists { path }) => {
                    let members = h.read(&self.path, "cgroup.procs")?;
                    if !members.trim().is_empty() {
                        return Err(Error::Exists { path });
                    }
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Lets a user outside make groups of its own below this one, where that is safe: on v2 (cgroups(7), "Delegating a
    /// hierarchy").
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn delegate(&self, uid: u32) -> Result<(), Error> {
        if self.is_made_for_a_process() {
            return Ok(());
        }
        self.host.hierarchies.iter().try_for_each(|h| h.delegate(&self.path, uid))
    }

    /// Writes limits. Those of a scope that is to be made are only checked: [`Cgroup::place`] writes them.
    ///
    /// # Errors
    /// [`Error::NoController`] when a limit needs a controller the host does not have, [`Error::Write`] when the kernel
    /// refuses a value.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), Error> {
        for (controller, wanted) in wanted(resources) {
            if !self.host.has(controller) {
                return Err(Error::NoController { controller, wanted: wanted.to_owned() });
            }
        }
        // v1 calls it blkio, v2 io.
        if resources.block_io().as_ref().is_some_and(|io| *io != LinuxBlockIo::default())
            && !self.host.has("blkio")
            && !self.host.has("io")
        {
            return Err(Error::NoController { controller: "io", wanted: "a block I/O limit".into() });
        }
        if self.host.version == Version::V1 && resources.unified().as_ref().is_some_and(|u| !u.is_empty()) {
            return Err(Error::NoController {
                controller: "v2",
                wanted: "a value of linux.resources.unified".into(),
            });
        }
        if self.is_made_for_a_process() {
            return Ok(());
        }
        self.write_limits(resources)?;
        if let Some(scope) = &self.scope {
            // After the kernel has taken all: what it refuses would stay with systemd, which takes everything it can write. It rounds.
            scope.update(resources, self.host.version)?;
            self.write_limits(resources)?;
        }
        Ok(())
    }

    /// Opens what a child needs to become a member: nothing where [`Cgroup::place`] sees to that.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn entry(&self) -> Result<Entry, Error> {
        if self.is_made_for_a_process() {
            return Ok(Entry::default());
        }
        let mut entry = Entry::default();
        self.host.hierarchies.iter().try_for_each(|h| h.enter(Some(&self.path), &mut entry))?;
        Ok(entry)
    }

    /// Stops every member, or lets it go on.
    ///
    /// # Errors
    /// [`Error::NoController`] where no hierarchy can.
    pub fn freeze(&self, frozen: bool) -> Result<(), Error> {
        for h in &self.host.hierarchies {
            if h.freeze(&self.path, frozen)? {
                return Ok(());
            }
        }
        Err(Error::NoController { controller: "freezer", wanted: "pause".into() })
    }

    /// Kills every member. Processes that fork while this goes on do not escape it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn kill(&self) -> Result<(), Error> {
        let killed = self.kill_members();
        // systemd removes a scope as soon as it is empty: that is as it should be, too.
        if killed.is_err() && !self.exists() { Ok(()) } else { killed }
    }

    fn kill_members(&self) -> Result<(), Error> {
        let mut done = false;
        for h in &self.host.hierarchies {
            done = done || h.kill(&self.path)?;
        }
        for h in &self.host.hierarchies {
            // What is frozen does not die. A hierarchy that cannot freeze has nothing to thaw.
            let _ = h.freeze(&self.path, false);
        }
        if done {
            return Ok(());
        }
        // No cgroup.kill (before Linux 5.14): until a look finds nobody, at most as often as a pid can be reused.
        for _ in 0..1000 {
            let pids = self.pids()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                // One that has ended in the meantime is what was wanted.
                let _ = loment_sys::process::kill(pid, 9);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }

    /// Removes the group from every hierarchy and goes on past failures. A group that is gone is no error.
    ///
    /// # Errors
    /// The first failure: [`Error::Io`] with `EBUSY` while members are left.
    pub fn remove(&self) -> Result<(), Error> {
        // systemd first: a group whose unit lives comes back.
        let mut first = self.scope.as_ref().map_or(Ok(()), Scope::stop);
        let path = self.scope.as_ref().map_or(&self.path, Scope::path);
        for h in &self.host.hierarchies {
            let r = h.remove(path);
            first = first.and(r);
        }
        first
    }

    /// Whether the group is there.
    pub fn exists(&self) -> bool {
        self.host.hierarchies.first().is_some_and(|h| h.exists(&self.path))
    }

    /// The text of one of the group's files, from whichever hierarchy has it.
    pub fn read(&self, file: &str) -> Option<String> {
        self.host.hierarchies.iter().find_map(|h| h.read(&self.path, file).ok())
    }

    /// How many processes of the group were killed for lack of memory; 0 where nobody counts (v1 before Linux 4.13, no
    /// memory controller).
    pub fn oom_kills(&self) -> u64 {
        self.oom_counter().and_then(|counter| counter.kills()).unwrap_or(0)
    }

    /// What counts them, held open for who must ask quickly; `None` where nobody counts.
    pub fn oom_counter(&self) -> Option<OomCounter> {
        let h = self.host.hierarchies.iter().find(|h| h.has("memory"))?;
        let group = h.root().open_dir(self.path.as_str()).ok()?;
        let open = |file| group.open_file(file, OFlags::RDONLY).ok();
        ["memory.events", "memory.oom_control"].into_iter().find_map(open).map(OomCounter)
    }
}

/// The controllers that limits need, and what for.
fn wanted(r: &LinuxResources) -> Vec<(&'static str, &'static str)> {
    let mut out = Vec::new();
    let mut want = |condition: bool, controller, what| {
        if condition {
            out.push((controller, what));
        }
    };
    let memory = r.memory().as_ref();
    let limited = memory.is_some_and(|m| {
        let limits = [m.limit(), m.swap(), m.reservation()];
        limits.into_iter().any(|limit| convert::given(limit).is_some())
    });
    want(limited, "memory", "a memory limit");
    want(r.pids().is_some(), "pids", "a process limit");
    if let Some(cpu) = r.cpu() {
        let weighed = convert::given(cpu.shares()).or(convert::given(cpu.period())).is_some();
        let time = weighed || convert::given(cpu.quota()).or(cpu.idle()).is_some();
        let real = cpu.realtime_runtime().is_some_and(|t| t != 0);
        want(time || real || cpu.burst().is_some(), "cpu", "a CPU limit");
        want(cpu.cpus().is_some() || cpu.mems().is_some(), "cpuset", "a CPU set");
    }
    if let Some(network) = r.network() {
        want(network.class_id().is_some(), "net_cls", "a network class");
        let priorities = network.priorities().as_ref().is_some_and(|p| !p.is_empty());
        want(priorities, "net_prio", "a network priority");
    }
    want(r.hugepage_limits().as_ref().is_some_and(|l| !l.is_empty()), "hugetlb", "a huge page limit");
    want(r.rdma().as_ref().is_some_and(|l| !l.is_empty()), "rdma", "an RDMA limit");
    out
}

/// How directories of a hierarchy are opened.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// The mode of new groups.
const GROUP_MODE: Mode = Mode::from_raw_mode(0o755);

#[cfg(test)]
mod tests;
