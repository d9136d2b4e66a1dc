//! One v1 hierarchy.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use rustix::fs::OFlags;

use crate::dir::Dir;
use crate::membership::Memberships;
use crate::{CgroupPath, Entry, Error, Hierarchy, convert, devices, huge, io, other};

#[derive(Debug)]
pub(crate) struct V1 {
    root: Dir,
    controllers: Vec<String>,
}

impl V1 {
    fn group(&self, path: &CgroupPath) -> Result<Dir, Error> {
        self.root.open_dir(path.as_str())
    }

    /// `name` is the mount point's: by convention the controllers, separated by commas.
    pub(crate) fn new(name: &str, root: Dir) -> Self {
        Self { root, controllers: name.split(',').map(str::to_owned).collect() }
    }

    /// A new cpuset group has no CPUs and cannot be joined: it starts with its parent's.
    fn inherit_cpuset(&self, parent: &str, group: &str) -> Result<(), Error> {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let value = self.root.read(&format!("{parent}/{file}"))?;
            self.root.write(&format!("{group}/{file}"), value.trim())?;
        }
        Ok(())
    }

    fn is_cpuset_empty(&self, group: &str) -> Result<bool, Error> {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if self.root.read(&format!("{group}/{file}"))?.trim().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Hierarchy for V1 {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    fn root(&self) -> &Dir {
        &self.root
    }

    fn create(&self, path: &CgroupPath) -> Result<(), Error> {
        let mut new = false;
        let mut parent = ".";
        for name in path.ancestors() {
            new = self.root.make_dir(name)?;
            // Whoever made it may not have come to that, or been killed before.
            if self.has("cpuset") && (new || self.is_cpuset_empty(name)?) {
                self.inherit_cpuset(parent, name)?;
            }
            parent = name;
        }
        if new { Ok(()) } else { Err(Error::Exists { path: path.to_string() }) }
    }

    fn apply(&self, path: &CgroupPath, resources: &LinuxResources) -> Result<(), Error> {
        let group = || self.group(path);
        if let Some(memory) = resources.memory().as_ref().filter(|_| self.has("memory")) {
            apply_memory(&group()?, memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            if self.has("cpu") {
                apply_cpu(&group()?, cpu)?;
            }
            if self.has("cpuset") {
                for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
                    if let Some(v) = value.as_deref().filter(|v| !v.is_empty()) {
                        group()?.write(file, v)?;
                    }
                }
            }
        }
        if let Some(pids) = resources.pids().as_ref().filter(|_| self.has("pids")) {
            group()?.write("pids.max", &convert::pids(pids.limit()))?;
        }
        if let Some(io) = resources.block_io().as_ref().filter(|_| self.has("blkio")) {
            io::apply_v1(&group()?, io)?;
        }
        if let Some(limits) = resources.hugepage_limits().as_ref().filter(|_| self.has("hugetlb")) {
            huge::apply(&group()?, limits, "limit_in_bytes")?;
        }
        if let Some(network) = resources.network() {
            if self.has("net_cls") {
                other::apply_class(&group()?, network)?;
            }
            if self.has("net_prio") {
                other::apply_priorities(&group()?, network)?;
            }
        }
        if let Some(devices) = resources.rdma().as_ref().filter(|_| self.has("rdma")) {
            other::apply_rdma(&group()?, devices)?;
        }
        if let Some(rules) = resources.devices().as_ref().filter(|r| self.has("devices") && !r.is_empty()) {
            devices::apply_v1(&group()?, rules)?;
        }
        Ok(())
    }

    fn place(&self, path: &CgroupPath, pid: i32, memberships: &Memberships) -> Result<(), Error> {
        match self.create(path) {
            Ok(()) | Err(Error::Exists { .. }) => {}
            Err(e) => return Err(e),
        }
        if self.controllers.iter().any(|c| memberships.of_v1(c) == Some(path.as_str())) {
            return Ok(());
        }
        self.root.write(&format!("{path}/cgroup.procs"), &pid.to_string())
    }

    fn enter(&self, path: Option<&CgroupPath>, entry: &mut Entry) -> Result<(), Error> {
        let group = path.map_or(".", CgroupPath::as_str);
        entry.v1.push(self.root.open_file(&format!("{group}/tasks"), OFlags::WRONLY)?);
        Ok(())
    }

    fn read(&self, path: &CgroupPath, file: &str) -> Result<String, Error> {
        self.root.read(&format!("{path}/{file}"))
    }

    fn exists(&self, path: &CgroupPath) -> bool {
        self.root.has(path.as_str())
    }

    fn freeze(&self, path: &CgroupPath, frozen: bool) -> Result<bool, Error> {
        if !self.has("freezer") {
            return Ok(false);
        }
        self.root.write(&format!("{path}/freezer.state"), if frozen { "FROZEN" } else { "THAWED" })?;
        Ok(true)
    }

    fn kill(&self, _path: &CgroupPath) -> Result<bool, Error> {
        Ok(false)
    }

    fn delegate(&self, _path: &CgroupPath, _uid: u32) -> Result<(), Error> {
        // Whoever may write to a v1 group may take processes out of it.
        Ok(())
    }

    fn move_below(&self, _path: &CgroupPath, _below: &CgroupPath, _pid: i32) -> Result<(), Error> {
        Err(Error::Unsupported { what: "a group below the container's (cgroup v1 cannot be delegated)" })
    }

    fn is_v2(&self) -> bool {
        false
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), Error> {
        self.root.remove_tree(path.as_str())
    }
}

fn apply_memory(group: &Dir, memory: &LinuxMemory) -> Result<(), Error> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let (limit, swap) = (convert::given(memory.limit()), convert::given(memory.swap()));
    if let Some(limit) = memory.limit().filter(|&l| l >= 0 && memory.check_before_update() == Some(true)) {
        convert::check_usage(limit, &group.read("memory.usage_in_bytes")?)?;
    }
    if swap.is_some() && !group.has(SWAP) {
        return Err(Error::NoController {
            controller: "memory (swap accounting)",
            wanted: "a swap limit".into(),
        });
    }
    match (limit, swap) {
        (Some(limit), Some(swap)) => {
            // The kernel keeps limit <= limit with swap at every step: raise the outer one first, lower it last.
            let current: i64 = group.read(SWAP)?.trim().parse().unwrap_or(i64::MAX);
            if swap == -1 || swap > current {
                group.write(SWAP, &swap.to_string())?;
                group.write(LIMIT, &limit.to_string())?;
            } else {
                group.write(LIMIT, &limit.to_string())?;
                group.write(SWAP, &swap.to_string())?;
            }
        }
        (Some(limit), None) => group.write(LIMIT, &limit.to_string())?,
        (None, Some(swap)) => group.write(SWAP, &swap.to_string())?,
        (None, None) => {}
    }
    if let Some(reservation) = convert::given(memory.reservation()) {
        group.write("memory.soft_limit_in_bytes", &reservation.to_string())?;
    }
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(Error::Value { name: "memory swappiness (0 to 100)", value: swappiness.to_string() });
        }
        group.write("memory.swappiness", &swappiness.to_string())?;
    }
    if let Some(tcp) = convert::given(memory.kernel_tcp()) {
        group.write("memory.kmem.tcp.limit_in_bytes", &tcp.to_string())?;
    }
    if memory.use_hierarchy() == Some(true) {
        group.write("memory.use_hierarchy", "1")?;
    }
    if memory.disable_oom_killer() == Some(true) {
        group.write("memory.oom_control", "1")?;
    }
    Ok(())
}

fn apply_cpu(group: &Dir, cpu: &LinuxCpu) -> Result<(), Error> {
    let set = |file: &str, value: Option<String>| value.map_or(Ok(()), |v| group.write(file, &v));
    set("cpu.shares", convert::given(cpu.shares()).map(|s| s.to_string()))?;
    set("cpu.cfs_period_us", convert::given(cpu.period()).map(|p| p.to_string()))?;
    set("cpu.cfs_quota_us", convert::given(cpu.quota()).map(|q| q.to_string()))?;
    set("cpu.cfs_burst_us", cpu.burst().map(|b| b.to_string()))?;
    set("cpu.rt_period_us", convert::given(cpu.realtime_period()).map(|p| p.to_string()))?;
    set("cpu.rt_runtime_us", convert::given(cpu.realtime_runtime()).map(|r| r.to_string()))?;
    set("cpu.idle", cpu.idle().map(|i| i.to_string()))
}
