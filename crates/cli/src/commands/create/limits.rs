//! Flags: what a container may use.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::Limits;

use crate::commands::values::{limits as values, list, size};
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::error::Error;
use crate::globals::Globals;
use crate::log_line;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitsFlags {
    /// Limit memory, in bytes or with a unit: 64m, 2g
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit memory and swap together, in bytes or with a unit; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Leave so much memory to it when memory is short, in bytes or with a unit
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Set how readily its memory is swapped out, from 0 to 100; -1 is the machine's way (control groups of version 1)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
    /// Let its programs wait for memory instead of killing them (control groups of version 1)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Limit the kernel's memory, in bytes or with a unit (control groups of version 1 of old kernels)
    #[arg(long, value_name = "SIZE")]
    kernel_memory: Option<String>,
    /// Set its share of CPU time among those who want some; the usual one is 1024
    #[arg(short = 'c', long, value_name = "NUMBER")]
    cpu_shares: Option<u64>,
    /// Set the time in which the CPU quota may be used, in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Limit CPU time in each CPU period, in microseconds; -1 is no limit
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Set the time in which the real-time quota may be used, in microseconds (control groups of version 1)
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Limit real-time scheduling in each such period, in microseconds (control groups of version 1)
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Limit CPU time to that of so many CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Use only these CPUs, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use only these memory nodes, such as 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Set its share of the time of disks, from 10 to 1000; 0 is the usual one
    #[arg(long, value_name = "NUMBER")]
    blkio_weight: Option<u16>,
    /// Set its share of the time of one disk
    #[arg(long, value_name = "DEVICE:NUMBER")]
    blkio_weight_device: Vec<String>,
    /// Limit reading from a disk, a second, in bytes or with a unit
    #[arg(long, value_name = "DEVICE:SIZE")]
    device_read_bps: Vec<String>,
    /// Limit writing to a disk, a second, in bytes or with a unit
    #[arg(long, value_name = "DEVICE:SIZE")]
    device_write_bps: Vec<String>,
    /// Limit reading from a disk, in operations a second
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_read_iops: Vec<String>,
    /// Limit writing to a disk, in operations a second
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_write_iops: Vec<String>,
    /// Write to a file of its control group (version 2), such as memory.high=1073741824
    #[arg(long, value_name = "FILE=VALUE")]
    cgroup_conf: Vec<String>,
    /// Limit the number of processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Set a resource limit, such as nofile=1024; -1 is no limit; host keeps all the caller has
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Put the control group below this one, or with systemd into this slice
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
}

impl LimitsFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let mut limits = self.limits()?;
        if self.kernel_memory.is_some() && !globals.persona.docker_documents {
            log_line("warning", "The --kernel-memory flag is no longer supported. This flag is a noop.");
            limits.kernel_memory = None;
        }
        if limits.pids_limit.is_none() {
            let most = |number| if number == 0 { Ok(-1) } else { Ok(number) };
            asked.choices.usual_pids_limit = conf.number_as(CONTAINERS, "pids_limit", most)?;
        }
        if !limits.host_ulimits {
            for limit in conf.list_as(CONTAINERS, "default_ulimits", values::ulimit)? {
                if !limits.ulimits.iter().any(|other| other.name == limit.name) {
                    limits.ulimits.push(limit);
                }
            }
        }
        for (file, value) in conf.list_as(CONTAINERS, "cgroup_conf", values::file_value)? {
            limits.unified.entry(file).or_insert(value);
        }
        asked.config.limits = limits;
        asked.choices.cgroup_manager = globals.group_manager()?;
        asked.choices.cgroup_parent.clone_from(&self.cgroup_parent);
        Ok(())
    }

    /// What a pod may use, and where its group is; what only a container has is refused.
    pub(super) fn of_pod(&self) -> Result<(Limits, Option<String>), Error> {
        for (given, flag) in
            [(!self.ulimit.is_empty(), "--ulimit"), (self.pids_limit.is_some(), "--pids-limit")]
        {
            if given {
                return Err(Error::Invalid(format!("{flag} is for containers: give it when they are made")));
            }
        }
        Ok((self.limits()?, self.cgroup_parent.clone()))
    }

    fn limits(&self) -> Result<Limits, Error> {
        let memory = self.memory.as_deref().map(|m| size("memory", m)).transpose()?.filter(|&m| m != 0);
        let mut swap = self.memory_swap.as_deref().map(values::swap).transpose()?;
        match (memory, swap) {
            (None, Some(s)) if s != -1 => {
                return Err(Error::Invalid("--memory-swap needs --memory: give both".into()));
            }
            (Some(m), Some(s)) if s != -1 && s < m => {
                return Err(Error::Invalid(
                    "--memory-swap is smaller than --memory: it is the sum of memory and swap".into(),
                ));
            }
            // As much swap as memory, as Podman and Docker have it.
            (Some(m), None) => swap = Some(m.saturating_mul(2)),
            _ => {}
        }
        let cpus = self.cpus.as_deref().map(values::cpus).transpose()?;
        // In Podman's words.
        for (is_given, flag) in [(self.cpu_period.is_some(), "period"), (self.cpu_quota.is_some(), "quota")] {
            if cpus.is_some() && is_given {
                return Err(Error::Invalid(format!("--cpu-{flag} and --cpus cannot be set together")));
            }
        }
        let bytes = |flag: &str, text: &Option<String>| {
            text.as_deref().map(|text| size(flag, text)).transpose().map(|n| n.filter(|&n| n != 0))
        };
        let reservation = bytes("memory-reservation", &self.memory_reservation)?;
        if let (Some(memory), Some(reservation)) = (memory, reservation)
            && memory < reservation
        {
            return Err(Error::Invalid(
                "--memory-reservation is larger than --memory: it must be smaller".into(),
            ));
        }
        if self.blkio_weight.is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight)) {
            return Err(Error::Invalid("--blkio-weight must be from 10 to 1000, or 0".into()));
        }
        let swappiness = self.memory_swappiness.filter(|&n| n != -1).map(|n| match u64::try_from(n) {
            Ok(n) if n <= 100 => Ok(n),
            _ => Err(Error::Invalid(format!("invalid value {n} for --memory-swappiness: use 0 to 100"))),
        });
        let of_devices = |flag: &str, texts: &[String]| -> Result<Vec<_>, Error> {
            texts.iter().map(|text| values::device_limit(flag, text)).collect()
        };
        let ulimits = list(&self.ulimit);
        let host_ulimits = ulimits.iter().any(|limit| limit == "host");
        if host_ulimits && ulimits.len() > 1 {
            return Err(Error::Invalid(
                "--ulimit host is all limits: there can be no other beside it".into(),
            ));
        }
        Ok(Limits {
            rdt_class: None,
            memory,
            memory_swap: swap,
            memory_reservation: reservation,
            memory_swappiness: swappiness.transpose()?,
            oom_kill_disable: self.oom_kill_disable,
            kernel_memory: bytes("kernel-memory", &self.kernel_memory)?,
            cpu_shares: self.cpu_shares.filter(|&n| n != 0),
            cpu_quota: cpus.or(self.cpu_quota.filter(|&n| n != 0)),
            cpu_period: cpus.map(|_| 100_000).or(self.cpu_period.filter(|&n| n != 0)),
            cpu_rt_runtime: self.cpu_rt_runtime.filter(|&n| n != 0),
            cpu_rt_period: self.cpu_rt_period.filter(|&n| n != 0),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            blkio_weight: self.blkio_weight.filter(|&n| n != 0),
            blkio_weight_device: of_devices("blkio-weight-device", &self.blkio_weight_device)?,
            device_read_bps: of_devices("device-read-bps", &self.device_read_bps)?,
            device_write_bps: of_devices("device-write-bps", &self.device_write_bps)?,
            device_read_iops: of_devices("device-read-iops", &self.device_read_iops)?,
            device_write_iops: of_devices("device-write-iops", &self.device_write_iops)?,
            unified: self
                .cgroup_conf
                .iter()
                .map(|text| values::file_value(text))
                .collect::<Result<_, _>>()?,
            pids_limit: self.pids_limit.map(|n| if n == 0 { -1 } else { n }),
            ulimits: if host_ulimits {
                Vec::new()
            } else {
                ulimits.iter().map(|u| values::ulimit(u)).collect::<Result<_, _>>()?
            },
            host_ulimits,
        })
    }
}
