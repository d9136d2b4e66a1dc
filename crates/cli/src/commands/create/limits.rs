//! Flags: what a container may use.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::Limits;

use crate::commands::values::{limits as values, size};
use crate::error::Error;
use crate::globals::Globals;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitsFlags {
    /// Limit memory, in bytes or with a unit: 64m, 2g
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit memory and swap together, in bytes or with a unit; -1 is no limit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Limit CPU time to that of so many CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Use only these CPUs, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Limit the number of processes and threads; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Set a resource limit, such as nofile=1024; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Put the control group below this one, or with systemd into this slice
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
}

impl LimitsFlags {
    pub(super) fn apply(&self, globals: &Globals, asked: &mut Create) -> Result<(), Error> {
        asked.config.limits = self.limits()?;
        asked.choices.cgroup_manager = globals.cgroup_manager;
        asked.choices.cgroup_parent.clone_from(&self.cgroup_parent);
        Ok(())
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
        let quota = self.cpus.as_deref().map(values::cpus).transpose()?;
        Ok(Limits {
            memory,
            memory_swap: swap,
            cpu_quota: quota,
            cpu_period: quota.map(|_| 100_000),
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids_limit: self.pids_limit.map(|n| if n == 0 { -1 } else { n }),
            ulimits: self.ulimit.iter().map(|u| values::ulimit(u)).collect::<Result<_, _>>()?,
        })
    }
}
