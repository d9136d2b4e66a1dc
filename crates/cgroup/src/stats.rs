//! What the members of a group use.

use crate::Cgroup;

/// Nanoseconds in a microsecond.
const MICRO: u64 = 1000;
/// Nanoseconds in a tick of `cpuacct.stat` (USER_HZ is 100 on every architecture we build for).
const TICK: u64 = 10_000_000;
/// Limits of this size and more are none: version 1 has no word for that.
const UNLIMITED: u64 = 1 << 62;

/// What a group uses now, and has used. What nobody counts is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds of CPU time.
    pub cpu: u64,
    /// Those that the kernel used for it.
    pub cpu_kernel: u64,
    /// Nanoseconds on each CPU; empty where they are not counted one by one (version 2).
    pub per_cpu: Vec<u64>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of files among these that can be given up first.
    pub inactive_file: u64,
    /// The most memory it may have, if there is a limit.
    pub memory_limit: Option<u64>,
    /// Bytes read from disks.
    pub read: u64,
    /// Bytes written to disks.
    pub written: u64,
    /// Processes and threads.
    pub tasks: u64,
}

impl Cgroup<'_> {
    /// What the group uses. One that is gone uses nothing.
    pub fn usage(&self) -> Usage {
        let read = |file: &str| self.read(file);
        let (read_bytes, written) = disks(&read);
        let tasks = match number(&read, "pids.current") {
            Some(tasks) => tasks,
            None => self.pids().map_or(0, |pids| pids.len() as u64),
        };
        Usage {
            memory: number(&read, "memory.current").or(number(&read, "memory.usage_in_bytes")).unwrap_or(0),
            memory_limit: number(&read, "memory.max")
                .or(number(&read, "memory.limit_in_bytes"))
                .filter(|&limit| limit < UNLIMITED),
            inactive_file: inactive_file(&read),
            read: read_bytes,
            written,
            tasks,
            ..cpu(&read)
        }
    }
}

/// A number in a file of its own; none for "max" and for files that are not there.
fn number(read: &impl Fn(&str) -> Option<String>, file: &str) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

/// A number in a file of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn cpu(read: &impl Fn(&str) -> Option<String>) -> Usage {
    let stat = read("cpu.stat").unwrap_or_default();
    if let Some(cpu) = field(&stat, "usage_usec") {
        let cpu_kernel = field(&stat, "system_usec").unwrap_or(0) * MICRO;
        return Usage { cpu: cpu * MICRO, cpu_kernel, ..Usage::default() };
    }
    let ticks = read("cpuacct.stat").unwrap_or_default();
    let each = read("cpuacct.usage_percpu").unwrap_or_default();
    Usage {
        cpu: number(read, "cpuacct.usage").unwrap_or(0),
        cpu_kernel: field(&ticks, "system").unwrap_or(0) * TICK,
        per_cpu: each.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
        ..Usage::default()
    }
}

fn inactive_file(read: &impl Fn(&str) -> Option<String>) -> u64 {
    let stat = read("memory.stat").unwrap_or_default();
    // In version 1, the one without the prefix leaves out the groups below.
    field(&stat, "total_inactive_file").or(field(&stat, "inactive_file")).unwrap_or(0)
}

/// Bytes read and written.
fn disks(read: &impl Fn(&str) -> Option<String>) -> (u64, u64) {
    if let Some(text) = read("io.stat") {
        let sum = |key: &str| {
            let words = text.split_whitespace();
            words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
        };
        return (sum("rbytes="), sum("wbytes="));
    }
    let text = read("blkio.throttle.io_service_bytes_recursive").unwrap_or_default();
    let sum = |what: &str| {
        let of_device = |line: &str| {
            let (_, rest) = line.split_once(' ')?;
            rest.strip_prefix(what)?.trim().parse::<u64>().ok()
        };
        text.lines().filter_map(of_device).sum()
    };
    (sum("Read "), sum("Write "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn both_versions_are_understood() {
        let v2 = files(&[
            ("cpu.stat", "usage_usec 12\nuser_usec 7\nsystem_usec 5\n"),
            ("io.stat", "8:0 rbytes=4096 wbytes=1 rios=2\n8:16 rbytes=4 wbytes=x\n"),
            ("memory.stat", "anon 3\ninactive_file 9\n"),
            ("memory.max", "max\n"),
        ]);
        assert_eq!((cpu(&v2).cpu, cpu(&v2).cpu_kernel), (12_000, 5_000));
        assert_eq!(disks(&v2), (4100, 1));
        assert_eq!((inactive_file(&v2), number(&v2, "memory.max")), (9, None));
        let v1 = files(&[
            ("cpu.stat", "nr_periods 0\n"),
            ("cpuacct.usage", "77\n"),
            ("cpuacct.usage_percpu", "70 7 \n"),
            ("cpuacct.stat", "user 1\nsystem 2\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 4\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\nTotal 31\n",
            ),
        ]);
        let usage = cpu(&v1);
        assert_eq!((usage.cpu, usage.cpu_kernel, usage.per_cpu), (77, 20_000_000, vec![70, 7]));
        assert_eq!((disks(&v1), inactive_file(&v1)), ((11, 20), 4));
        let none = files(&[]);
        assert_eq!((cpu(&none), disks(&none)), (Usage::default(), (0, 0)));
    }
}
