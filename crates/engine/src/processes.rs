//! The processes of a container, seen from outside: nothing is executed for it, neither in the container nor on the host.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use loment_runtime::{CapabilitySet, InRoot};
use loment_sys::ids::{IdMap, IdRange, NOBODY};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::time::{ClockId, clock_gettime};

use crate::container::Container;
use crate::error::Context;
use crate::{Engine, Error, descendants};

/// Of one file that the container's programs can make longer, no more bytes are read.
const MAX_FILE: u64 = 4 << 20;
/// Nanoseconds in a tick of the kernel's counters (USER_HZ is 100 on every architecture we build for).
const TICK: u64 = 10_000_000;
const KIB: u64 = 1024;
/// So many processes are looked at at a time.
const AT_ONCE: usize = 256;

/// A process of a container. Numbers are those of the container's namespaces unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its number on the host.
    pub host_pid: i32,
    /// Its parent; 0 for one outside.
    pub ppid: i32,
    /// Its parent on the host.
    pub host_ppid: i32,
    /// Its process group.
    pub pgid: i32,
    /// Its name.
    pub comm: String,
    /// The program and its arguments.
    pub args: String,
    /// One letter, as ps(1) has them.
    pub state: char,
    /// Its terminal; `?` if it has none.
    pub tty: String,
    /// Its nice value.
    pub nice: i32,
    /// Nanoseconds of CPU time.
    pub cpu: u64,
    /// Nanoseconds since it was started.
    pub age: u64,
    /// KiB of address space.
    pub vsz: u64,
    /// KiB of memory.
    pub rss: u64,
    /// `disabled`, `strict` or `filter`.
    pub seccomp: &'static str,
    /// Its security label; empty where there are none.
    pub label: String,
    /// Effective user, as the container's passwd file calls it.
    pub user: String,
    /// Real user.
    pub real_user: String,
    /// Effective group.
    pub group: String,
    /// Real group.
    pub real_group: String,
    /// Further groups.
    pub groups: Vec<String>,
    /// Effective user, as the host calls it.
    pub host_user: String,
    /// Effective group, as the host calls it.
    pub host_group: String,
    /// Further groups, as the host calls them.
    pub host_groups: Vec<String>,
    /// Capabilities.
    pub inheritable: Capabilities,
    /// Capabilities.
    pub permitted: Capabilities,
    /// Capabilities.
    pub effective: Capabilities,
    /// Capabilities.
    pub bounding: Capabilities,
    /// Capabilities.
    pub ambient: Capabilities,
}

/// A set of capabilities of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl std::fmt::Display for Capabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<String> = Vec::new();
        let mut all = true;
        for (bit, capability) in CapabilitySet::all().iter().enumerate() {
            let has = self.0 & (1 << bit) != 0;
            all &= has;
            if has {
                names.push(capability.to_string());
            }
        }
        names.sort();
        match names.as_slice() {
            [] => f.write_str("none"),
            _ if all => f.write_str("full"),
            names => f.write_str(&names.join(",")),
        }
    }
}

impl Engine {
    /// The processes in a container, those of `exec` included, the oldest first.
    ///
    /// # Errors
    /// [`Error::State`] when it does not run.
    pub fn processes(&self, container: &Container) -> Result<Vec<Process>, Error> {
        let not_running = || Error::State {
            operation: "list the processes of",
            id: container.config.id.clone(),
            status: container.status.name(),
            hint: ": top can only be used on running containers",
        };
        let first = container.open_process().ok_or_else(not_running)?;
        let world =
            World::of(container.state.pid).context("read", format!("/proc/{}", container.state.pid))?;
        let group = self.group(container.cgroup())?;
        let members = || match container.cgroup() {
            Some(_) => Ok::<_, Error>(group.pids()?),
            None => descendants::of_container(container).context("look for", "the container's processes"),
        };
        let mut all: Vec<Process> = Vec::new();
        // Some at a time: descriptors are few.
        for some in members()?.chunks(AT_ONCE) {
            let mut open: Vec<(i32, OwnedFd)> = Vec::with_capacity(some.len());
            for &pid in some {
                match directory(pid) {
                    Ok(dir) => open.push((pid, dir)),
                    // One that has ended is no process of it any more.
                    Err(rustix::io::Errno::NOENT) => {}
                    Err(e) => return Err(e).context("open", format!("/proc/{pid}")),
                }
            }
            // A number that is still in the group after its directory was opened has not become another process's.
            let still = members()?;
            open.retain(|(pid, _)| still.contains(pid));
            all.extend(open.iter().filter_map(|(pid, dir)| process(*pid, dir, &world)));
        }
        if loment_sys::process::pidfd_signal(first.as_fd(), 0).is_err() {
            return Err(not_running());
        }
        // Numbers begin again when there are no more.
        all.sort_by_key(|process| (Reverse(process.age), process.pid));
        let known: HashMap<i32, i32> = all.iter().map(|process| (process.host_pid, process.pid)).collect();
        for process in &mut all {
            process.ppid = known.get(&process.host_ppid).copied().unwrap_or(0);
        }
        Ok(all)
    }
}

fn directory(pid: i32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())
}

/// The text of a file in such a directory; empty once the process has ended.
fn read(dir: &OwnedFd, name: &str) -> String {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    file.map(|file| text(File::from(file))).unwrap_or_default()
}

fn text(file: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What numbers mean in a container, and on the host.
struct World {
    /// How deep below ours its pid namespace is.
    depth: usize,
    uids: IdMap,
    gids: IdMap,
    names: Names,
    host: Names,
    /// Nanoseconds since boot.
    now: u64,
}

impl World {
    /// That of a container with this first process.
    fn of(pid: i32) -> std::io::Result<Self> {
        let dir = directory(pid)?;
        let status = read(&dir, "status");
        let depth = line(&status, "NSpid:").split_whitespace().count().saturating_sub(1);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = InRoot::new(openat(&dir, "root", flags, Mode::empty())?);
        let of_root = |path: &str| root.open_regular(Path::new(path)).map(text).unwrap_or_default();
        let of_host = |path: &str| File::open(path).map(text).unwrap_or_default();
        let now = clock_gettime(ClockId::Boottime);
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user"));
        // Of ours, the kernel shows ids as they are in it.
        let is_ours = namespace(&pid.to_string())? == namespace("self")?;
        let ids = |file| {
            if is_ours {
                IdMap::new(vec![IdRange::same(0, u32::MAX)])
            } else {
                IdMap::parse(&read(&dir, file))
            }
        };
        Ok(Self {
            depth,
            uids: ids("uid_map"),
            gids: ids("gid_map"),
            names: Names::parse(&of_root("/etc/passwd"), &of_root("/etc/group")),
            host: Names::parse(&of_host("/etc/passwd"), &of_host("/etc/group")),
            now: (now.tv_sec as u64).saturating_mul(1_000_000_000) + now.tv_nsec as u64,
        })
    }

    fn user(&self, host: u32) -> String {
        name(&self.names.users, self.uids.inside(host).unwrap_or(NOBODY))
    }

    fn group(&self, host: u32) -> String {
        name(&self.names.groups, self.gids.inside(host).unwrap_or(NOBODY))
    }
}

/// A number's name, or the number where it has none.
fn name(names: &HashMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

#[derive(Default)]
struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    fn parse(passwd: &str, group: &str) -> Self {
        let entries = |file: &str| {
            let entry = |line: &str| {
                let mut fields = line.split(':');
                let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
                Some((id, name.to_owned()))
            };
            // The first of several is the one that counts.
            file.lines().rev().filter_map(entry).collect()
        };
        Self { users: entries(passwd), groups: entries(group) }
    }
}

/// What comes after `key` in a file of lines.
fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}

/// One process; none when it has ended.
fn process(host_pid: i32, dir: &OwnedFd, world: &World) -> Option<Process> {
    let (stat, status) = (read(dir, "stat"), read(dir, "status"));
    let (head, tail) = stat.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |i: usize| fields.get(i).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let signed = |i: usize| fields.get(i).and_then(|n| n.parse::<i32>().ok()).unwrap_or(0);
    let ids = |key: &str| -> Vec<u32> {
        line(&status, key).split_whitespace().filter_map(|n| n.parse().ok()).collect()
    };
    let at_depth = |key: &str| {
        let numbers = line(&status, key).split_whitespace();
        numbers.map(|n| n.parse::<i32>().unwrap_or(0)).nth(world.depth)
    };
    let (uids, gids, groups) = (ids("Uid:"), ids("Gid:"), ids("Groups:"));
    let id = |ids: &[u32], which: usize| ids.get(which).copied().unwrap_or(NOBODY);
    let capabilities =
        |key: &str| Capabilities(u64::from_str_radix(line(&status, key), 16).unwrap_or_default());
    let command = read(dir, "cmdline").trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid: at_depth("NSpid:").unwrap_or(host_pid),
        host_pid,
        ppid: 0,
        host_ppid: signed(1),
        pgid: at_depth("NSpgid:").unwrap_or(0),
        // What the kernel started, and what has ended, has no arguments.
        args: if command.is_empty() { format!("[{comm}]") } else { command },
        comm,
        state: fields.first().and_then(|state| state.chars().next()).unwrap_or('?'),
        tty: terminal(number(4)),
        nice: signed(16),
        cpu: (number(11) + number(12)).saturating_mul(TICK),
        age: world.now.saturating_sub(number(19).saturating_mul(TICK)),
        vsz: number(20) / KIB,
        rss: line(&status, "VmRSS:").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0),
        seccomp: match line(&status, "Seccomp:") {
            "1" => "strict",
            "2" => "filter",
            _ => "disabled",
        },
        label: read(dir, "attr/current").trim_end_matches(['\0', '\n']).to_owned(),
        user: world.user(id(&uids, 1)),
        real_user: world.user(id(&uids, 0)),
        group: world.group(id(&gids, 1)),
        real_group: world.group(id(&gids, 0)),
        groups: groups.iter().map(|&group| world.group(group)).collect(),
        host_user: name(&world.host.users, id(&uids, 1)),
        host_group: name(&world.host.groups, id(&gids, 1)),
        host_groups: groups.iter().map(|&group| name(&world.host.groups, group)).collect(),
        inheritable: capabilities("CapInh:"),
        permitted: capabilities("CapPrm:"),
        effective: capabilities("CapEff:"),
        bounding: capabilities("CapBnd:"),
        ambient: capabilities("CapAmb:"),
    })
}

/// The name of a terminal by its number (proc_pid_stat(5)); `?` for none.
fn terminal(number: u64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => "console".into(),
        _ => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_the_names_of_their_world() {
        let names = Names::parse("root:x:0:0::/:/bin/sh\nalso:x:0:0::/:\nbad\nx:y:z\n", "wheel:x:10:root\n");
        assert_eq!((name(&names.users, 0), name(&names.users, 7)), ("root".into(), "7".into()));
        assert_eq!(name(&names.groups, 10), "wheel");
        let terminals = [0, 34816, 34817, 1025, 1025 + 64, 1281, 0x0010_8800].map(terminal);
        assert_eq!(terminals, ["?", "pts/0", "pts/1", "tty1", "ttyS1", "console", "pts/256"]);
    }

    #[test]
    fn capabilities_are_named_in_order() {
        assert_eq!(Capabilities(0).to_string(), "none");
        assert_eq!(Capabilities(u64::MAX).to_string(), "full");
        assert_eq!(Capabilities(0b100001).to_string(), "CHOWN,KILL");
    }
}
