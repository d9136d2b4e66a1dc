//! The v2 hierarchy: the whole of a modern host, or the small unified part of a hybrid one.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use crate::dir::Dir;
use crate::membership::Memberships;
use crate::{CgroupPath, Entry, Error, Hierarchy, convert, devices, huge, io, other};

#[derive(Debug)]
pub(crate) struct V2 {
    root: Dir,
    controllers: String,
    /// There is no v1 hierarchy: what v1 has controllers for is done here.
    pure: bool,
}

impl V2 {
    pub(crate) fn new(root: Dir, pure: bool) -> Self {
        let controllers = root.read("cgroup.controllers").unwrap_or_default();
        Self { root, controllers, pure }
    }

    /// Children get a controller only when every group above them passes it on.
    fn pass_controllers_on(&self, group: &str) {
        let file = format!("{group}/cgroup.subtree_control");
        let passed = self.root.read(&file).unwrap_or_default();
        let passed: Vec<&str> = passed.split_whitespace().collect();
        for controller in self.controllers.split_whitespace().filter(|c| !passed.contains(c)) {
            // One that cannot be passed on (threaded or busy groups) is reported when a limit needs it.
            let _ = self.root.write(&file, &format!("+{controller}"));
        }
    }
}

impl Hierarchy for V2 {
    fn has(&self, controller: &str) -> bool {
        self.controllers.split_whitespace().any(|c| c == controller)
    }

    fn root(&self) -> &Dir {
        &self.root
    }

    fn create(&self, path: &CgroupPath) -> Result<(), Error> {
        let mut new = false;
        let mut parent = ".";
        for name in path.ancestors() {
            if !self.controllers.trim().is_empty() {
                self.pass_controllers_on(parent);
            }
            new = self.root.make_dir(name)?;
            parent = name;
        }
        if new { Ok(()) } else { Err(Error::Exists { path: path.to_string() }) }
    }

    fn apply(&self, path: &CgroupPath, resources: &LinuxResources) -> Result<(), Error> {
        if let Some(memory) = resources.memory()
            && self.has("memory")
        {
            apply_memory(&self.group(path)?, memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            let wants_time = cpu.shares().or(cpu.period()).is_some() || cpu.quota().or(cpu.idle()).is_some();
            if wants_time && self.has("cpu") {
                apply_cpu(&self.group(path)?, cpu)?;
            }
            for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
                if let Some(v) = value.as_deref().filter(|v| !v.is_empty())
                    && self.has("cpuset")
                {
                    self.group(path)?.write(file, v)?;
                }
            }
        }
        if let Some(pids) = resources.pids()
            && self.has("pids")
        {
            self.group(path)?.write("pids.max", &convert::pids(pids.limit()))?;
        }
        if let Some(io) = resources.block_io().as_ref().filter(|_| self.has("io")) {
            io::apply_v2(&self.group(path)?, io)?;
        }
        if let Some(limits) = resources.hugepage_limits().as_ref().filter(|_| self.has("hugetlb")) {
            huge::apply(&self.group(path)?, limits, "max")?;
        }
        if let Some(devices) = resources.rdma().as_ref().filter(|_| self.has("rdma")) {
            other::apply_rdma(&self.group(path)?, devices)?;
        }
        if let Some(rules) = resources.devices().as_ref().filter(|r| !r.is_empty())
            && self.pure
            // A user can make no device nodes that a program could open, and load no program for the kernel.
            && !loment_sys::process::is_in_user_namespace()
        {
            // The devices controller of v2 is a program and exists on every v2 host; on a hybrid one v1 does it.
            let program = devices::program(rules)?;
            loment_sys::bpf::attach_device_program(rustix::fd::AsFd::as_fd(self.group(path)?.fd()), &program)
                .map_err(|source| Error::Io {
                    operation: "attach the device program to",
                    path: path.to_string(),
                    source,
                })?;
        }
        resources.unified().as_ref().map_or(Ok(()), |u| self.apply_unified(path, u))
    }

    fn enter(&self, path: Option<&CgroupPath>, entry: &mut Entry) -> Result<(), Error> {
        entry.v2 = Some(self.root.open_dir(path.map_or(".", CgroupPath::as_str))?.into_fd());
        Ok(())
    }

    fn read(&self, path: &CgroupPath, file: &str) -> Result<String, Error> {
        self.root.read(&format!("{path}/{file}"))
    }

    fn exists(&self, path: &CgroupPath) -> bool {
        self.root.has(path.as_str())
    }

    fn freeze(&self, path: &CgroupPath, frozen: bool) -> Result<bool, Error> {
        self.root.write(&format!("{path}/cgroup.freeze"), if frozen { "1" } else { "0" })?;
        Ok(true)
    }

    fn kill(&self, path: &CgroupPath) -> Result<bool, Error> {
        // Linux 5.14.
        let file = format!("{path}/cgroup.kill");
        if !self.root.has(&file) {
            return Ok(false);
        }
        self.root.write(&file, "1")?;
        Ok(true)
    }

    fn place(&self, path: &CgroupPath, pid: i32, memberships: &Memberships) -> Result<(), Error> {
        let mut parent = None;
        for name in path.ancestors() {
            if self.root.make_dir(name)? {
                parent = name.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
        if memberships.of_v2() != Some(path.as_str()) {
            self.root.write(&format!("{path}/cgroup.procs"), &pid.to_string())?;
        }
        // Only a group without members of its own passes controllers on.
        if let Some(parent) = parent {
            self.pass_controllers_on(parent);
        }
        Ok(())
    }

    fn delegate(&self, path: &CgroupPath, uid: u32) -> Result<(), Error> {
        // What the kernel says may be given away (Linux 4.15), or what always could be.
        let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
        let group = self.group(path)?;
        group.give(".", uid)?;
        files.lines().filter(|file| group.has(file)).try_for_each(|file| group.give(file, uid))
    }

    fn move_below(&self, path: &CgroupPath, below: &CgroupPath, pid: i32) -> Result<(), Error> {
        for name in below.ancestors().filter(|name| name.len() > path.as_str().len()) {
            self.root.make_dir(name)?;
        }
        self.root.write(&format!("{below}/cgroup.procs"), &pid.to_string())?;
        // Only groups without members hand controllers on: those on the way are empty now.
        let on_the_way = below.ancestors().filter(|name| name.len() >= path.as_str().len());
        on_the_way.filter(|name| *name != below.as_str()).for_each(|name| self.pass_controllers_on(name));
        Ok(())
    }

    fn is_v2(&self) -> bool {
        true
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), Error> {
        self.root.remove_tree(path.as_str())
    }
}

impl V2 {
    fn group(&self, path: &CgroupPath) -> Result<Dir, Error> {
        self.root.open_dir(path.as_str())
    }

    fn apply_unified(&self, path: &CgroupPath, unified: &HashMap<String, String>) -> Result<(), Error> {
        let group = self.group(path)?;
        for (file, value) in unified {
            if file.contains('/') || file.starts_with('.') {
                return Err(Error::Value { name: "unified (a file name of the group)", value: file.clone() });
            }
            let controller = file.split('.').next().unwrap_or_default();
            if controller != "cgroup" && !self.has(controller) {
                return Err(Error::NotAvailable {
                    controller: controller.to_owned(),
                    wanted: format!("unified {file}"),
                });
            }
            group.write(file, value)?;
        }
        Ok(())
    }
}

fn apply_memory(group: &Dir, memory: &LinuxMemory) -> Result<(), Error> {
    // A limit that nobody keeps would be one the user believes in. (A kernel limit is obsolete and ignored everywhere.)
    let refuse = |asked: bool, what| if asked { Err(Error::Unsupported { what }) } else { Ok(()) };
    refuse(memory.swappiness().is_some(), "memory swappiness (cgroup v2 has none)")?;
    refuse(memory.disable_oom_killer() == Some(true), "disabled out-of-memory killer (cgroup v2 has none)")?;
    refuse(memory.kernel_tcp().is_some_and(|l| l > 0), "kernel TCP memory (cgroup v2 has none)")?;
    if let Some(limit) = memory.limit().filter(|&l| l >= 0 && memory.check_before_update() == Some(true)) {
        convert::check_usage(limit, &group.read("memory.current")?)?;
    }
    // -1 without a value for swap lifts both, as v1 would have to.
    if let Some(swap) = convert::given(memory.swap()) {
        let limit = memory.limit().filter(|&l| l > 0);
        group.write("memory.swap.max", &convert::swap_only(swap, limit)?)?;
    }
    if let Some(limit) = convert::given(memory.limit()) {
        group.write("memory.max", &convert::max_or(limit))?;
    }
    if let Some(reservation) = convert::given(memory.reservation()) {
        group.write("memory.low", &convert::max_or(reservation))?;
    }
    Ok(())
}

fn apply_cpu(group: &Dir, cpu: &LinuxCpu) -> Result<(), Error> {
    if cpu.realtime_runtime().is_some_and(|t| t != 0) || cpu.realtime_period().is_some_and(|t| t != 0) {
        return Err(Error::Unsupported { what: "real-time CPU (cgroup v2 has none)" });
    }
    if let Some(idle) = cpu.idle() {
        group.write("cpu.idle", &idle.to_string())?;
    }
    if let Some(shares) = convert::given(cpu.shares()) {
        group.write("cpu.weight", &convert::weight_from_shares(shares).to_string())?;
    }
    let (quota, period) = (convert::given(cpu.quota()), convert::given(cpu.period()));
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|&q| q > 0).map_or_else(|| "max".to_owned(), |q| q.to_string());
        group.write("cpu.max", &format!("{quota} {}", period.unwrap_or(100_000)))?;
    }
    if let Some(burst) = cpu.burst() {
        group.write("cpu.max.burst", &burst.to_string())?;
    }
    Ok(())
}
