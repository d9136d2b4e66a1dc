//! What tests left on the machine.
//!
//! Everything loment makes is recognisable by its name or place, so one look at the kernel's own lists tells what is
//! left: mounts, links, network namespaces, control groups, processes, nf_tables tables and directories. The kernel
//! tears some of these down after the process that held them has ended, hence a few seconds of patience.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::run;

/// How often to look before something counts as left behind, and how long to wait in between.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Where loment keeps a user's own images and containers: these may be there, containers in them may not.
const DEFAULT_ROOTS: &[&str] = &["/var/lib/loment", "/run/loment", "/run/loment-runtime"];

/// How deep below a cgroup mount our groups may be: `/loment.slice/POD/CONTAINER/PAYLOAD`.
const CGROUP_DEPTH: u32 = 6;

/// Things that are there, one printable line each.
pub type Leaks = BTreeSet<String>;

/// The machine that is looked at.
#[derive(Debug)]
pub struct Machine {
    /// A path of this kind may hold the word "loment" without being ours.
    workspace: PathBuf,
}

impl Machine {
    /// This machine, where `workspace` is the repository.
    pub fn here(workspace: &Path) -> Self {
        Self { workspace: workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned()) }
    }

    /// Looks once.
    pub fn look(&self) -> anyhow::Result<Leaks> {
        let mut found = Leaks::new();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
        found.extend(mounts(&mountinfo, &self.workspace));
        found.extend(names_in("/sys/class/net").filter(|n| is_ours(n)).map(|n| format!("link {n}")));
        found.extend(names_in("/run/netns").filter(|n| is_ours(n)).map(|n| format!("network namespace {n}")));
        cgroups(Path::new("/sys/fs/cgroup"), CGROUP_DEPTH, &mut found);
        found.extend(processes());
        found.extend(tables());
        for root in DEFAULT_ROOTS {
            let below =
                if root.ends_with("runtime") { (*root).to_owned() } else { format!("{root}/containers") };
            found.extend(names_in(&below).map(|n| format!("container {below}/{n}")));
        }
        for (parent, start) in [("/run", "loment"), ("/var/lib", "loment"), ("/tmp", "loment-")] {
            let names = names_in(parent).filter(|n| n.starts_with(start));
            let outside = |p: &PathBuf| !self.workspace.starts_with(p);
            found.extend(
                names
                    .map(|n| Path::new(parent).join(n))
                    .filter(outside)
                    .map(|p| format!("path {}", p.display())),
            );
        }
        Ok(found)
    }

    /// Looks until nothing is there besides `known`, and returns what still is at the end.
    pub fn look_patiently(&self, known: &Leaks) -> anyhow::Result<Leaks> {
        let mut left = Leaks::new();
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(PAUSE);
            }
            left = self.look()?.difference(known).cloned().collect();
            if left.is_empty() {
                break;
            }
        }
        Ok(left)
    }
}

/// `cargo xtask leaks`: nothing is forgiven but that loment has been used on this machine.
pub fn run() -> anyhow::Result<ExitCode> {
    let known = DEFAULT_ROOTS.iter().map(|r| format!("path {r}")).collect();
    report(&Machine::here(run::workspace()).look_patiently(&known)?)
}

/// Prints what was left.
pub fn report(left: &Leaks) -> anyhow::Result<ExitCode> {
    if run::which("nft").is_none() {
        println!("skipped: nf_tables tables left behind, because nft is not installed");
    }
    for leak in left {
        println!("left behind: {leak}");
    }
    if left.is_empty() {
        println!("nothing left behind");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Whether a link, namespace, table or group with this name is loment's.
fn is_ours(name: &str) -> bool {
    name.starts_with("loment") || name.starts_with("lmt")
}

fn names_in(directory: &str) -> impl Iterator<Item = String> {
    // A directory that is not there holds nothing of ours.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned())
}

/// Mount points of `mountinfo` that have "loment" in their path, but for those the workspace itself lies in.
fn mounts<'a>(mountinfo: &'a str, workspace: &'a Path) -> impl Iterator<Item = String> + 'a {
    let points = mountinfo.lines().filter_map(|l| l.split(' ').nth(4)).map(unescaped);
    points.filter(|p| p.contains("loment") && !workspace.starts_with(p)).map(|p| format!("mount {p}"))
}

/// mountinfo writes blanks and backslashes of a path in octal.
fn unescaped(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn cgroups(directory: &Path, depth: u32, found: &mut Leaks) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        // A link (cpu,cpuacct) names a directory that is listed on its own.
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if entry.file_name().to_str().is_some_and(is_ours) {
            found.insert(format!("cgroup {}", entry.path().display()));
        } else if depth > 1 {
            cgroups(&entry.path(), depth - 1, found);
        }
    }
}

/// What the kernel tells about a process, as far as it lets us.
#[derive(Debug, Default)]
struct Process<'a> {
    comm: &'a str,
    exe: Option<&'a Path>,
    arguments: &'a str,
    cgroups: &'a str,
}

fn processes() -> impl Iterator<Item = String> {
    names_in("/proc").filter_map(|name| {
        let pid: u32 = name.parse().ok()?;
        let dir = Path::new("/proc").join(&name);
        // A process may end between two reads: what cannot be read is empty.
        let comm = fs::read_to_string(dir.join("comm")).unwrap_or_default();
        let exe = fs::read_link(dir.join("exe")).ok();
        let arguments = fs::read(dir.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let cgroups = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
        let process = Process {
            comm: comm.trim_end(),
            exe: exe.as_deref(),
            arguments: arguments.trim_end(),
            cgroups: &cgroups,
        };
        process.is_ours().then(|| format!("process {pid} ({}): {}", process.comm, process.arguments))
    })
}

impl Process<'_> {
    fn is_ours(&self) -> bool {
        let program = self.arguments.split(' ').next().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
        let exe = self.exe.and_then(Path::file_name).map(OsStrExt::as_bytes).unwrap_or_default();
        let named = |n: &str| n == "loment" || n.starts_with("loment-runtime");
        named(self.comm)
            || named(program)
            || exe == b"loment"
            || exe == b"loment (deleted)"
            || (program == "docker-registry" && self.arguments.contains("loment-test"))
            || self.cgroups.lines().any(in_our_cgroup)
    }
}

/// A line of `/proc/PID/cgroup`: `id:controllers:path`.
fn in_our_cgroup(line: &str) -> bool {
    line.splitn(3, ':').nth(2).is_some_and(|path| path.split('/').any(is_ours))
}

fn tables() -> Vec<String> {
    let Some(nft) = run::which("nft") else { return Vec::new() };
    let out = Command::new(nft).args(["list", "tables"]).stderr(Stdio::null()).output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    our_tables(&text)
}

/// `nft list tables` prints `table FAMILY NAME`.
fn our_tables(text: &str) -> Vec<String> {
    let tables = text.lines().map(str::trim).filter(|l| l.starts_with("table "));
    tables.filter(|l| l.split(' ').nth(2).is_some_and(is_ours)).map(|l| format!("nf_tables {l}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 24 0:30 / /tmp/loment-test-a\\040b/root rw - tmpfs tmpfs rw
31 24 254:0 /src /home/me/loment rw - ext4 /dev/vda rw
32 24 0:31 / /run/other rw - tmpfs tmpfs rw
";

    #[test]
    fn our_mounts_are_found_but_not_the_one_of_the_repository() {
        let found: Vec<_> = mounts(MOUNTINFO, Path::new("/home/me/loment/sub")).collect();
        assert_eq!(found, ["mount /tmp/loment-test-a b/root"]);
    }

    #[test]
    fn a_process_is_ours_by_name_executable_argument_or_cgroup() {
        let other = Process {
            comm: "sh",
            exe: Some(Path::new("/bin/sh")),
            arguments: "sh -c loment",
            cgroups: "0::/\n",
        };
        assert!(!other.is_ours());
        assert!(Process { comm: "loment", ..Process::default() }.is_ours());
        assert!(Process { exe: Some(Path::new("/x/loment (deleted)")), ..Process::default() }.is_ours());
        assert!(Process { arguments: "/x/loment monitor 3", ..Process::default() }.is_ours());
        assert!(
            Process { arguments: "docker-registry serve /tmp/loment-test-1/c.yml", ..Process::default() }
                .is_ours()
        );
        assert!(!Process { arguments: "docker-registry serve /etc/c.yml", ..Process::default() }.is_ours());
        assert!(Process { cgroups: "4:memory:/loment-0a1b/payload\n", ..Process::default() }.is_ours());
        assert!(!Process { cgroups: "4:memory:/user/filament\n", ..Process::default() }.is_ours());
    }

    #[test]
    fn our_tables_are_told_from_others() {
        let found = our_tables("table inet loment\ntable ip filter\ntable inet lmt-7\n");
        assert_eq!(found, ["nf_tables table inet loment", "nf_tables table inet lmt-7"]);
    }

    #[test]
    fn a_directory_that_appears_is_seen_and_known_ones_are_not() {
        let machine = Machine::here(run::workspace());
        let dir = format!("/tmp/loment-test-leaks-{}", std::process::id());
        fs::create_dir(&dir).unwrap();
        let seen = machine.look().unwrap();
        fs::remove_dir(&dir).unwrap();
        let line = format!("path {dir}");
        assert!(seen.contains(&line));
        assert!(!machine.look().unwrap().contains(&line));
    }
}
