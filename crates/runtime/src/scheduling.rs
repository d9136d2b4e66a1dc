//! How a program is scheduled and where its memory comes from: scheduler, I/O priority, CPUs, memory policy, personality.

use std::ops::RangeInclusive;

use loment_sys::scheduling::{SchedAttr, set_io_priority, set_memory_policy, set_scheduler};
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::error::{Context, invalid};
use crate::{Error, Failure};

/// Of one process.
#[derive(Debug, Default)]
pub(crate) struct Scheduling {
    scheduler: Option<SchedAttr>,
    /// Class and level.
    io: Option<(u16, u16)>,
    /// Of a process that is to enter a container, before it is in the container's cgroup.
    first_cpus: Option<CpuSet>,
    /// And afterwards.
    last_cpus: Option<CpuSet>,
    /// Mode with flags, and nodes.
    memory: Option<(u32, Vec<u64>)>,
    personality: Option<u64>,
}

impl Scheduling {
    pub(crate) fn new(p: &Process) -> Result<Self, Error> {
        let affinity = p.exec_cpu_affinity().as_ref();
        let cpus = |list: Option<&String>| list.map(|l| cpu_set(l)).transpose();
        Ok(Self {
            scheduler: p.scheduler().as_ref().map(scheduler).transpose()?,
            io: p.io_priority().as_ref().map(|io| io_priority(io.class(), io.priority())).transpose()?,
            first_cpus: cpus(affinity.and_then(|a| a.initial().as_ref()))?,
            last_cpus: cpus(affinity.and_then(|a| a.cpu_affinity_final().as_ref()))?,
            memory: None,
            personality: None,
        })
    }

    /// Adds what the specification says for all of a container's programs.
    pub(crate) fn of_container(&mut self, linux: &Linux) -> Result<(), Error> {
        self.memory = linux.memory_policy().as_ref().map(memory_policy).transpose()?;
        self.personality = linux.personality().as_ref().map(personality).transpose()?;
        Ok(())
    }

    /// For a process that is to enter a container's cgroup.
    pub(crate) fn before_cgroup(&self) -> Result<(), Failure> {
        apply_cpus(self.first_cpus.as_ref())
    }

    /// For a process that has entered a container's cgroup, which may have changed its CPUs.
    pub(crate) fn after_cgroup(&self) -> Result<(), Failure> {
        apply_cpus(self.last_cpus.as_ref())
    }

    /// Everything but the CPUs; needs rights that the program may not have.
    pub(crate) fn apply(&self) -> Result<(), Failure> {
        if let Some((mode, nodes)) = &self.memory {
            set_memory_policy(*mode, nodes).context("set", "the memory policy")?;
        }
        if let Some(attr) = &self.scheduler {
            set_scheduler(attr).context("set", format_args!("the scheduler to {attr:?}"))?;
        }
        if let Some((class, level)) = self.io {
            set_io_priority(class, level)
                .context("set", format_args!("the I/O priority to class {class}, level {level}"))?;
        }
        if let Some(persona) = self.personality {
            loment_sys::process::set_personality(persona).context("set", "the personality")?;
        }
        Ok(())
    }
}

fn apply_cpus(cpus: Option<&CpuSet>) -> Result<(), Failure> {
    cpus.map_or(Ok(()), |set| sched_setaffinity(None, set)).context("set", "the CPU affinity")
}

/// sched(7), sched_setattr(2).
fn scheduler(s: &Scheduler) -> Result<SchedAttr, Error> {
    let field = "process.scheduler";
    let policy = match s.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => return Err(invalid(field, "the kernel has no SCHED_ISO")),
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let is_deadline = *s.policy() == LinuxSchedulerPolicy::SchedDeadline;
    let times = [s.runtime(), s.deadline(), s.period()].map(|t| t.unwrap_or(0));
    if !is_deadline && times != [0; 3] {
        return Err(invalid(field, "runtime, deadline and period are for SCHED_DEADLINE only"));
    }
    let nice = s.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(invalid(field, format!("nice {nice} is not between -20 and 19")));
    }
    let priority = s.priority().unwrap_or(0);
    let priority =
        u32::try_from(priority).map_err(|_| invalid(field, format!("priority {priority} is negative")))?;
    let flags = s.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        }
    });
    let [runtime, deadline, period] = times;
    Ok(SchedAttr { policy, flags, nice, priority, runtime, deadline, period })
}

fn io_priority(class: IOPriorityClass, level: i64) -> Result<(u16, u16), Error> {
    let class = match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(level) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(invalid("process.ioPriority", format!("priority {level} is not between 0 and 7"))),
    }
}

/// What a list such as `0-3,7` names, in order.
fn parse_list(field: &str, list: &str) -> Result<Vec<RangeInclusive<usize>>, Error> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
            _ => Err(invalid(field, format!("{part:?} is not a number or a range of numbers"))),
        }
    };
    list.split(',').map(range).collect()
}

fn cpu_set(list: &str) -> Result<CpuSet, Error> {
    let field = "process.execCPUAffinity";
    let mut set = CpuSet::new();
    for range in parse_list(field, list)? {
        if *range.end() >= CpuSet::MAX_CPU {
            return Err(invalid(field, format!("CPU {} is above {}", range.end(), CpuSet::MAX_CPU - 1)));
        }
        range.for_each(|cpu| set.set(cpu));
    }
    Ok(set)
}

/// set_mempolicy(2), linux/mempolicy.h.
fn memory_policy(m: &LinuxMemoryPolicy) -> Result<(u32, Vec<u64>), Error> {
    /// Nodes that a kernel can have (`MAX_NUMNODES`).
    const MAX_NODES: usize = 1024;
    let field = "linux.memoryPolicy";
    let mode = match m.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = m.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let list = m.nodes().as_deref().filter(|list| !list.is_empty());
    let mut nodes = Vec::new();
    for range in list.map_or(Ok(Vec::new()), |list| parse_list(field, list))? {
        if *range.end() >= MAX_NODES {
            return Err(invalid(field, format!("node {} is above {}", range.end(), MAX_NODES - 1)));
        }
        nodes.resize(nodes.len().max(range.end() / 64 + 1), 0u64);
        range.for_each(|node| nodes[node / 64] |= 1 << (node % 64));
    }
    Ok((mode | flags, nodes))
}

fn personality(p: &LinuxPersonality) -> Result<u64, Error> {
    if p.flags().as_ref().is_some_and(|f| !f.is_empty()) {
        return Err(invalid("linux.personality", "the specification defines no flags"));
    }
    Ok(match p.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(parse_list("x", "0-3,7").unwrap(), [0..=3, 7..=7]);
        for bad in ["", "a", "3-1", "1-", "-1", "1,,2"] {
            assert!(parse_list("x", bad).is_err(), "{bad:?}");
        }
        assert!(cpu_set("0,99999").is_err());
    }

    #[test]
    fn nodes_become_a_mask() {
        let policy: LinuxMemoryPolicy =
            serde_json::from_str(r#"{"mode":"MPOL_BIND","nodes":"0-1,64","flags":["MPOL_F_STATIC_NODES"]}"#)
                .unwrap();
        assert_eq!(memory_policy(&policy).unwrap(), (2 | 1 << 15, vec![3, 1]));
        let policy = serde_json::from_str(r#"{"mode":"MPOL_DEFAULT","nodes":""}"#).unwrap();
        assert_eq!(memory_policy(&policy).unwrap(), (0, vec![]));
    }

    #[test]
    fn times_are_for_the_deadline_policy() {
        let parse = |text| scheduler(&serde_json::from_str(text).unwrap());
        assert!(parse(r#"{"policy":"SCHED_OTHER","runtime":5}"#).is_err());
        assert!(parse(r#"{"policy":"SCHED_OTHER","nice":30}"#).is_err());
        assert!(parse(r#"{"policy":"SCHED_FIFO","priority":-1}"#).is_err());
        let attr = parse(r#"{"policy":"SCHED_BATCH","nice":5,"flags":["SCHED_RESET_ON_FORK"]}"#).unwrap();
        assert_eq!((attr.policy, attr.nice, attr.flags), (3, 5, 1));
    }
}
