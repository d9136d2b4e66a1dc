//! Changing limits, policies, checks and environments of containers.

use std::path::PathBuf;
use std::time::Duration;

use loment_events::What;
use loment_image::ContainerDefaults;
use loment_monitor::changes::Changes;
use loment_monitor::health::{Health, OnFailure, Startup};
use loment_monitor::protocol::{Answer, Request};
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

use crate::config::{Config, Limits, Restart};
use crate::container::Container;
use crate::error::{Context, invalid};
use crate::{Engine, Error, spec};

/// How long a monitor is waited for, with the container's lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to become of a container; what is not said stays.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Limits.
    pub limits: Limits,
    /// Whether it is started again.
    pub restart: Option<Restart>,
    /// `NAME=VALUE`, from its next start on.
    pub env: Vec<String>,
    /// Names of variables that are taken away.
    pub unset: Vec<String>,
    /// How its health is checked.
    pub health: HealthUpdate,
}

/// What is to become of the check of a container's health. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HealthUpdate {
    /// Nothing is checked any more.
    pub none: bool,
    /// As images write it: `CMD` and so on.
    pub test: Option<Vec<String>>,
    /// Between checks; 0 is never.
    pub interval: Option<u64>,
    /// For each.
    pub timeout: Option<u64>,
    /// During which failures do not count.
    pub start_period: Option<u64>,
    /// Between checks in that time.
    pub start_interval: Option<u64>,
    /// Failures until it is unhealthy.
    pub retries: Option<u32>,
    /// What is done then.
    pub on_failure: Option<OnFailure>,
    /// How many results are kept; 0 is all.
    pub log_count: Option<u32>,
    /// How many bytes of each; 0 is all.
    pub log_size: Option<u32>,
    /// A directory for them, and whether they are events.
    pub log_destination: Option<(Option<PathBuf>, bool)>,
    /// What comes first, as images write it.
    pub startup_test: Option<Vec<String>>,
    /// Between its checks.
    pub startup_interval: Option<u64>,
    /// For each of them.
    pub startup_timeout: Option<u64>,
    /// Failures until the container is started again; 0 is never.
    pub startup_retries: Option<u32>,
    /// Successes that are needed; 0 is one.
    pub startup_success: Option<u32>,
}

impl HealthUpdate {
    fn says_none(&self) -> bool {
        self.none || self.test.as_ref().is_some_and(|test| test.first().is_some_and(|word| word == "NONE"))
    }
}

impl Engine {
    /// Changes a container, at once where that can be: limits of its group, its policy, its checks. Its environment and the
    /// resource limits of its program are for its next start. Returns what the user should know, and the container as it was.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what does not fit together; [`Error::Cgroup`] for what the kernel refuses: then nothing is
    /// recorded, and limits that it took before are what they were.
    pub fn update(&self, name: &str, update: &Update) -> Result<(Container, Vec<String>), Error> {
        let id = self.id(name)?;
        let gone = || Error::NoContainer { name: name.to_owned() };
        let _lock = match self.lock(&id) {
            Err(_) if !self.dir(&id).exists() => return Err(gone()),
            lock => lock?,
        };
        let container = self.load(&id)?.ok_or_else(gone)?;
        let mut config = container.config.clone();
        let live = change_limits(&mut config.limits, &update.limits)?;
        change_environment(&mut config.process.env, update)?;
        let image = || {
            let image = config.image.as_ref().and_then(|image| self.image_document(&image.id).ok());
            image.map(|document| document.container).unwrap_or_default()
        };
        let health = change_health(config.supervision.health.clone(), &update.health, image)?;
        let supervision = &mut config.supervision;
        supervision.no_check = health.is_none() && (supervision.no_check || update.health.says_none());
        supervision.health = health;
        if let Some(restart) = update.restart {
            config.supervision.restart = restart;
        }
        check(&config)?;
        let resources = resources(&live)?;
        if container.status.has_process() {
            // The kernel may refuse it: then it is not recorded.
            loment_monitor::limit(&self.place(&config), &resources)?;
        }
        let changes = changes(&config)?;
        self.save(&config)?;
        if container.status.is_active() {
            // After the record: what a monitor starts again must not have what nobody knows of.
            changes.save(&container.run_dir).context("write", container.run_dir.display())?;
        }
        let mut warnings = Vec::new();
        if container.status.is_active() {
            if let Some(now) = self.load(&id)?.filter(|now| now.state.pid != container.state.pid)
                && now.status.has_process()
            {
                // It was started again meanwhile, perhaps with the old ones.
                loment_monitor::limit(&self.place(&config), &resources)?;
            }
            warnings.extend(tell_monitor(&container));
        }
        self.tell(&config, What::Update);
        Ok((container, warnings))
    }
}

/// Has its monitor look at the record again; what is to be said when it does not.
fn tell_monitor(container: &Container) -> Option<String> {
    let ask = || -> std::io::Result<Option<Answer>> {
        let Some(monitor) = container.monitor_within(PATIENCE) else { return Ok(None) };
        monitor.send(&Request::Reread)?;
        monitor.receive()
    };
    match ask() {
        // One without a monitor, or whose monitor ends, needs none.
        Ok(None | Some(Answer::Exited { .. })) => None,
        Ok(Some(Answer::Failed { message, .. })) => Some(format!(
            "its checks of health change with its next start, because its monitor says: {message}"
        )),
        Ok(Some(_)) => None,
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Some(format!(
            "its checks of health change with its next start: its monitor has not answered for {} seconds",
            PATIENCE.as_secs()
        )),
        Err(e) => {
            Some(format!("its checks of health change with its next start: its monitor cannot be asked: {e}"))
        }
    }
}

/// Changes limits; returns those that are new.
pub(crate) fn change_limits(limits: &mut Limits, new: &Limits) -> Result<Limits, Error> {
    let mut live = new.clone();
    macro_rules! replace {
        ($($field:ident),*) => { $(if new.$field != Limits::default().$field { limits.$field.clone_from(&new.$field); })* };
    }
    replace!(
        memory,
        memory_swap,
        memory_reservation,
        memory_swappiness,
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpu_rt_runtime,
        cpu_rt_period,
        cpuset_cpus,
        cpuset_mems,
        blkio_weight,
        blkio_weight_device,
        device_read_bps,
        device_write_bps,
        device_read_iops,
        device_write_iops,
        pids_limit
    );
    if new.host_ulimits {
        (limits.host_ulimits, limits.ulimits) = (true, Vec::new());
    } else if !new.ulimits.is_empty() {
        limits.host_ulimits = false;
    }
    for ulimit in &new.ulimits {
        limits.ulimits.retain(|other| other.name != ulimit.name);
        limits.ulimits.push(ulimit.clone());
    }
    let unlimited = |limit: Option<i64>| limit.is_none_or(|limit| limit < 0);
    if let (Some(memory), Some(swap)) = (limits.memory, limits.memory_swap)
        && swap >= 0
        && (memory < 0 || swap < memory)
    {
        let hint = "memory and swap together would be less than memory: give --memory-swap, too";
        return Err(invalid("memory limit", memory.to_string(), hint));
    }
    if !unlimited(limits.memory) && limits.memory_reservation > limits.memory {
        let hint = "it is larger than the limit of memory: it must be smaller";
        return Err(invalid("memory reservation", limits.memory_reservation.unwrap_or(0).to_string(), hint));
    }
    // The kernel looks at both whichever is changed.
    if new.memory.is_some() || new.memory_swap.is_some() {
        (live.memory, live.memory_swap) = (limits.memory, limits.memory_swap);
    }
    if new.cpu_quota.is_some() || new.cpu_period.is_some() {
        (live.cpu_quota, live.cpu_period) = (limits.cpu_quota, limits.cpu_period);
    }
    Ok(live)
}

fn change_environment(env: &mut Vec<String>, update: &Update) -> Result<(), Error> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for gone in &update.unset {
        env.retain(|entry| name(entry) != *gone);
    }
    for entry in &update.env {
        if name(entry).is_empty() {
            return Err(invalid("environment variable", entry, "it has no name: use NAME=VALUE"));
        }
        env.retain(|other| name(other) != name(entry));
        env.push(entry.clone());
    }
    Ok(())
}

fn change_health(
    old: Option<Health>,
    update: &HealthUpdate,
    image: impl Fn() -> ContainerDefaults,
) -> Result<Option<Health>, Error> {
    if update.says_none() {
        return Ok(None);
    }
    if *update == HealthUpdate::default() {
        return Ok(old);
    }
    let Some(mut health) = old.or_else(|| update.test.as_ref().map(|_| Health::default())) else {
        return Err(Error::NoCheckToChange { flag: "--health-cmd" });
    };
    if let Some(test) = &update.test {
        health.test = crate::health::program(test, image().shell.as_deref());
        health.said.clone_from(test);
    }
    health.interval = update.interval.unwrap_or(health.interval);
    health.timeout = update.timeout.unwrap_or(health.timeout);
    health.start_period = update.start_period.unwrap_or(health.start_period);
    health.start_interval = update.start_interval.unwrap_or(health.start_interval);
    health.retries = update.retries.unwrap_or(health.retries);
    health.on_failure = update.on_failure.unwrap_or(health.on_failure);
    health.log.count = update.log_count.unwrap_or(health.log.count);
    health.log.size = update.log_size.unwrap_or(health.log.size);
    if let Some(destination) = &update.log_destination {
        (health.log.directory, health.log.events) = destination.clone();
    }
    let startup = [update.startup_interval, update.startup_timeout].iter().any(Option::is_some)
        || [update.startup_retries, update.startup_success].iter().any(Option::is_some);
    if startup || update.startup_test.is_some() {
        let before = health.startup.or_else(|| {
            let seconds = 1_000_000_000;
            let new = Startup { interval: 30 * seconds, timeout: 30 * seconds, ..Startup::default() };
            update.startup_test.as_ref().map(|_| new)
        });
        let Some(mut startup) = before else {
            return Err(Error::NoCheckToChange { flag: "--health-startup-cmd" });
        };
        if let Some(test) = &update.startup_test {
            startup.test = crate::health::program(test, image().shell.as_deref());
            startup.said.clone_from(test);
        }
        startup.interval = update.startup_interval.unwrap_or(startup.interval);
        startup.timeout = update.startup_timeout.unwrap_or(startup.timeout);
        startup.retries = update.startup_retries.unwrap_or(startup.retries);
        startup.success = update.startup_success.unwrap_or(startup.success);
        health.startup = Some(startup);
    }
    Ok(Some(health))
}

/// What cannot be together.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    let supervision = &config.supervision;
    if supervision.restart == Restart::No {
        return Ok(());
    }
    if supervision.auto_remove {
        let hint = "the container is removed when it ends, and what is removed cannot be started again";
        return Err(invalid("restart policy", "", hint));
    }
    if supervision.health.as_ref().is_some_and(|health| health.on_failure == OnFailure::Restart) {
        let hint = "--health-on-failure restart and --restart exclude each other: with a policy, use kill";
        return Err(invalid("restart policy", "", hint));
    }
    Ok(())
}

/// Limits, as a specification has them; without rules about devices, which stay.
fn resources(limits: &Limits) -> Result<LinuxResources, Error> {
    let mut document = spec::resources(limits)?;
    if let Value::Object(fields) = &mut document {
        fields.retain(|name, value| name != "devices" && !value.is_null());
    }
    serde_json::from_value(document).map_err(|e| Error::Configuration(Box::new(e)))
}

/// What its monitor starts it with from now on.
fn changes(config: &Config) -> Result<Changes, Error> {
    let rlimits = serde_json::from_value(spec::rlimits(config)?);
    Ok(Changes {
        resources: resources(&config.limits)?,
        env: config.process.env.clone(),
        rlimits: rlimits.map_err(|e| Error::Configuration(Box::new(e)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ulimit;

    #[test]
    fn limits_that_are_said_replace_those_that_were() {
        let mut limits = Limits { memory: Some(100), memory_swap: Some(200), ..Limits::default() };
        let live = change_limits(&mut limits, &Limits { memory: Some(150), ..Limits::default() }).unwrap();
        assert_eq!((limits.memory, live.memory, live.memory_swap), (Some(150), Some(150), Some(200)));
        let live = change_limits(&mut limits, &Limits { cpu_shares: Some(2), ..Limits::default() }).unwrap();
        assert_eq!((live.memory, live.cpu_shares, limits.memory), (None, Some(2), Some(150)));
        let host = Limits { host_ulimits: true, ..Limits::default() };
        change_limits(&mut limits, &host).unwrap();
        assert!(limits.host_ulimits);
        let ulimit = Ulimit { name: "nofile".into(), soft: 1, hard: 1 };
        let own = Limits { ulimits: vec![ulimit], ..Limits::default() };
        change_limits(&mut limits, &own).unwrap();
        assert!(!limits.host_ulimits && limits.ulimits.len() == 1);
        change_limits(&mut limits, &host).unwrap();
        assert!(limits.host_ulimits && limits.ulimits.is_empty());
        for bad in [
            Limits { memory: Some(300), ..Limits::default() },
            Limits { memory: Some(-1), ..Limits::default() },
            Limits { memory_reservation: Some(151), ..Limits::default() },
        ] {
            assert!(change_limits(&mut limits.clone(), &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_are_set_replaced_and_taken_away() {
        let mut env = ["A=1", "B=2", "C=3"].map(str::to_owned).to_vec();
        let update =
            Update { env: vec!["B=4".into(), "D=".into()], unset: vec!["A".into()], ..Update::default() };
        change_environment(&mut env, &update).unwrap();
        assert_eq!(env, ["C=3", "B=4", "D="]);
        assert!(
            change_environment(&mut env, &Update { env: vec!["=x".into()], ..Update::default() }).is_err()
        );
    }

    #[test]
    fn checks_change_part_by_part() {
        let change = |old, update: HealthUpdate| change_health(old, &update, ContainerDefaults::default);
        let interval = HealthUpdate { interval: Some(7), ..HealthUpdate::default() };
        assert!(change(None, interval.clone()).is_err());
        let test = HealthUpdate {
            test: Some(vec!["CMD-SHELL".into(), "x".into()]),
            retries: Some(9),
            ..HealthUpdate::default()
        };
        let health = change(None, test).unwrap().unwrap();
        assert_eq!((health.test.join(" "), health.retries), ("/bin/sh -c x".into(), 9));
        let health = change(Some(health), interval).unwrap().unwrap();
        assert_eq!((health.interval, health.retries), (7, 9));
        let startup = HealthUpdate { startup_retries: Some(1), ..HealthUpdate::default() };
        assert!(change(Some(health.clone()), startup).is_err());
        let none = HealthUpdate { none: true, ..HealthUpdate::default() };
        assert_eq!(change(Some(health.clone()), none).unwrap(), None);
        assert_eq!(change(Some(health.clone()), HealthUpdate::default()).unwrap(), Some(health));
    }
}
