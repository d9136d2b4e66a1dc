//! What containers use at this moment.

use loment_cgroup::Usage;

use crate::config::Network;
use crate::container::Container;
use crate::{Engine, Error};

/// What a container uses, and has used since it was started. All is zero of one that does not run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Of its control group.
    pub group: Usage,
    /// The most memory it can have, in bytes: its limit, or what the machine has.
    pub memory_limit: u64,
    /// Bytes received over its own network devices.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

impl Engine {
    /// What a container uses.
    ///
    /// # Errors
    /// [`Error::Cgroup`] where there are no control groups.
    pub fn figures(&self, container: &Container) -> Result<Figures, Error> {
        if !container.status.has_process() {
            return Ok(Figures::default());
        }
        let group = self.group(container.cgroup())?.usage();
        let machine = rustix::system::sysinfo();
        let machine = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
        let memory_limit = group.memory_limit.map_or(machine, |limit| limit.min(machine));
        let (received, sent) = match container.config.net.network {
            // The host's are not its own.
            Network::Host => (0, 0),
            _ => traffic(container).unwrap_or_default(),
        };
        Ok(Figures { group, memory_limit, received, sent })
    }
}

/// Bytes over all devices of the container's network but the loopback.
fn traffic(container: &Container) -> Option<(u64, u64)> {
    let process = container.open_process()?;
    let text = std::fs::read_to_string(format!("/proc/{}/net/dev", container.state.pid)).ok()?;
    // That was of this process if it lives still.
    let lives = loment_sys::process::pidfd_signal(std::os::fd::AsFd::as_fd(&process), 0).is_ok();
    lives.then(|| sum(&text))
}

fn sum(text: &str) -> (u64, u64) {
    let mut total = (0, 0);
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        // Eight about what was received come before those about what was sent.
        total.0 += counters.first().copied().unwrap_or(0);
        total.1 += counters.get(8).copied().unwrap_or(0);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_added_up_without_the_loopback() {
        let text = "Inter-|   Receive | Transmit\n face |bytes packets|bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n\
                    \x20 eth0: 100 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(sum(text), (101, 9));
        assert_eq!(sum(""), (0, 0));
    }
}
