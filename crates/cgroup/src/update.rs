//! Changing limits of a group that is in use: all of them, or none.

use std::io::ErrorKind;

use oci_spec::runtime::LinuxResources;

use crate::{Cgroup, Error, Version, wanted};

/// What limits are written to. What has a line for each device is [`DEVICES`].
const VALUES: [&str; 25] = [
    "memory.max",
    "memory.swap.max",
    "memory.low",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.swappiness",
    "memory.kmem.tcp.limit_in_bytes",
    "cpu.max",
    "cpu.max.burst",
    "cpu.weight",
    "cpu.idle",
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.cfs_burst_us",
    "cpu.rt_period_us",
    "cpu.rt_runtime_us",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "blkio.weight",
    "blkio.bfq.weight",
    "io.weight",
    "io.bfq.weight",
];
/// Files with a line for each device, and what that is for one without limits.
const DEVICES: [(&str, &str); 5] = [
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("blkio.throttle.read_bps_device", "0"),
    ("blkio.throttle.write_bps_device", "0"),
    ("blkio.throttle.read_iops_device", "0"),
    ("blkio.throttle.write_iops_device", "0"),
];

impl Cgroup<'_> {
    /// As [`Cgroup::apply`], of a group in use. What the kernel took before it refused another is put back; where that is refused, too,
    /// nothing can be done. systemd is told of a scope's limits when the kernel has taken all of them.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        let devices = DEVICES.iter().map(|(file, _)| *file);
        let files = VALUES.iter().copied().chain(devices);
        let before: Vec<_> = files.filter_map(|file| Some((file, self.read(file)?))).collect();
        let applied = self.apply(resources);
        if applied.is_err() {
            // Memory and what it is with swap limit each other: whichever comes first may be refused.
            for _ in 0..2 {
                before.iter().for_each(|(file, text)| self.put_back(file, text));
            }
        }
        applied
    }

    pub(crate) fn write_limits(&self, resources: &LinuxResources) -> Result<(), Error> {
        let written = self.host.hierarchies.iter().try_for_each(|h| h.apply(&self.path, resources));
        written.map_err(|error| self.explained(error, resources))
    }

    /// A limit whose file is not there needs a controller that a group above keeps to itself.
    fn explained(&self, error: Error, resources: &LinuxResources) -> Error {
        let no_file = matches!(&error, Error::Write { source, .. } if source.kind() == ErrorKind::NotFound);
        let there = self.read("cgroup.controllers").filter(|_| no_file && self.host.version == Version::V2);
        let Some(there) = there else { return error };
        match wanted(resources).into_iter().find(|(c, _)| there.split_whitespace().all(|t| t != *c)) {
            Some((controller, wanted)) => {
                Error::NotDelegated { controller, wanted, path: self.path.to_string() }
            }
            None => error,
        }
    }

    fn put_back(&self, file: &str, before: &str) {
        let now = self.read(file).unwrap_or_default();
        if now == before {
            return;
        }
        let Some(hierarchy) = self.host.hierarchies.iter().find(|h| h.read(&self.path, file).is_ok()) else {
            return;
        };
        let write =
            |value: &str| drop(hierarchy.root().write(&format!("{}/{file}", self.path.as_str()), value));
        match DEVICES.iter().find(|(name, _)| *name == file) {
            None => write(before.trim()),
            Some((_, unlimited)) => {
                lines_to_write(before, &now, unlimited).iter().for_each(|line| write(line))
            }
        }
    }
}

/// What is written for each device that has another line now.
fn lines_to_write(before: &str, now: &str, unlimited: &str) -> Vec<String> {
    let device = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let is_new = |line: &&str| !before.lines().any(|other| device(other) == device(line));
    let new = now.lines().filter(is_new).map(|line| format!("{} {unlimited}", device(line)));
    let changed = before.lines().filter(|line| !now.lines().any(|other| other == *line));
    new.chain(changed.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_get_the_lines_that_they_had() {
        let before = "8:0 100\n8:16 200\n";
        let now = "8:0 100\n8:16 300\n8:32 400\n";
        assert_eq!(lines_to_write(before, now, "0"), ["8:32 0", "8:16 200"]);
        assert!(lines_to_write(before, before, "0").is_empty());
    }
}
