//! Flags: what a container may use from now on.

use clap::Args;
use loment_engine::config::{DeviceLimit, Limits};

use crate::commands::values::{limits as values, size};
use crate::error::Error;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(in crate::commands) struct LimitsFlags {
    /// Limit memory, in bytes or with a unit: 64m, 2g; -1 is no limit
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Limit memory and swap together, in bytes or with a unit; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Leave so much memory to it when memory is short, in bytes or with a unit
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Set how readily its memory is swapped out, from 0 to 100 (control groups of version 1)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
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
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_period", "cpu_quota"])]
    cpus: Option<String>,
    /// Use only these CPUs, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use only these memory nodes, such as 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Set its share of the time of disks, from 10 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(10..=1000))]
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
    /// Limit the number of processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Set a resource limit of its program, such as nofile=1024; -1 is no limit; or take those of this command: host
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
}

impl LimitsFlags {
    /// Those that are said. What is 0 is not, as with Podman.
    pub(in crate::commands) fn limits(&self) -> Result<Limits, Error> {
        let bytes = |flag: &str, text: &Option<String>| match text.as_deref() {
            None => Ok(None),
            Some("-1") => Ok(Some(-1)),
            Some(text) => size(flag, text).map(|n| Some(n).filter(|&n| n != 0)),
        };
        let swappiness = match self.memory_swappiness {
            None | Some(-1) => None,
            Some(n @ 0..=100) => Some(n.cast_unsigned()),
            Some(n) => {
                let message = format!("invalid value {n} for --memory-swappiness: use 0 to 100");
                return Err(Error::Invalid(message));
            }
        };
        let of_devices = |flag: &str, texts: &[String]| -> Result<Vec<DeviceLimit>, Error> {
            texts.iter().map(|text| values::device_limit(flag, text)).collect()
        };
        let host_ulimits = self.ulimit.iter().any(|limit| limit == "host");
        if host_ulimits && self.ulimit.len() > 1 {
            return Err(Error::Invalid("--ulimit host excludes other limits: leave them out".into()));
        }
        let own = if host_ulimits { &[][..] } else { &self.ulimit };
        let cpus = self.cpus.as_deref().map(values::cpus).transpose()?;
        Ok(Limits {
            memory: bytes("memory", &self.memory)?,
            memory_swap: self.memory_swap.as_deref().map(values::swap).transpose()?,
            memory_reservation: bytes("memory-reservation", &self.memory_reservation)?,
            memory_swappiness: swappiness,
            cpu_shares: self.cpu_shares.filter(|&n| n != 0),
            cpu_quota: cpus.or(self.cpu_quota.filter(|&n| n != 0)),
            cpu_period: cpus.map(|_| 100_000).or(self.cpu_period.filter(|&n| n != 0)),
            cpu_rt_runtime: self.cpu_rt_runtime.filter(|&n| n != 0),
            cpu_rt_period: self.cpu_rt_period.filter(|&n| n != 0),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            blkio_weight: self.blkio_weight,
            blkio_weight_device: of_devices("blkio-weight-device", &self.blkio_weight_device)?,
            device_read_bps: of_devices("device-read-bps", &self.device_read_bps)?,
            device_write_bps: of_devices("device-write-bps", &self.device_write_bps)?,
            device_read_iops: of_devices("device-read-iops", &self.device_read_iops)?,
            device_write_iops: of_devices("device-write-iops", &self.device_write_iops)?,
            pids_limit: self.pids_limit.map(|n| if n == 0 { -1 } else { n }),
            host_ulimits,
            ulimits: own.iter().map(|text| values::ulimit(text)).collect::<Result<_, _>>()?,
            ..Limits::default()
        })
    }
}
