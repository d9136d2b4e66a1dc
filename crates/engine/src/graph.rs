//! Which containers need which: those whose namespaces they share, and those they require.
//!
//! A container's configuration says what it needs. The other way round, `dependents/<id>` in the directory of one that is needed is
//! an empty file for each that needs it: made before the dependent's record and removed after it, so that one whose container is
//! not there is what a killed program left, and does not count.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use loment_monitor::health::HealthStatus;
use loment_monitor::launch::DEPENDENTS;

use crate::config::Config;
use crate::container::Status;
use crate::error::Context;
use crate::start::Handed;
use crate::{Engine, Error};

/// How often it is looked whether a container is healthy.
const LOOK: Duration = Duration::from_millis(50);

impl Config {
    /// The ids of the containers that must run before this one does.
    pub fn dependencies(&self) -> BTreeSet<&str> {
        let n = &self.namespaces;
        let shared = [&n.user, &n.pid, &n.ipc, &n.uts, &n.cgroup].into_iter().filter_map(|n| n.container());
        shared.chain(self.net.network.container()).chain(self.requires.iter().map(String::as_str)).collect()
    }
}

impl Engine {
    /// Remembers, with those that a container needs, that it does.
    pub(crate) fn note_dependent(&self, config: &Config) -> Result<(), Error> {
        for file in self.dependent_files(config) {
            let dir = file.parent().expect("it is in a directory");
            let made = match std::fs::create_dir(dir) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
                _ => std::fs::File::create(&file).map(drop),
            };
            made.context("remember a dependent container in", file.display())?;
        }
        Ok(())
    }

    pub(crate) fn forget_dependent(&self, config: &Config) {
        for file in self.dependent_files(config) {
            // One that is left does not count.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Where it is remembered that a container needs others.
    pub(crate) fn dependent_files(&self, config: &Config) -> Vec<PathBuf> {
        let of = |id: &str| self.dir(id).join(DEPENDENTS).join(&config.id);
        config.dependencies().into_iter().map(of).collect()
    }

    /// The ids of the containers that need one.
    pub fn dependents(&self, id: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.dir(id).join(DEPENDENTS)).into_iter().flatten().flatten();
        let ids = files.filter_map(|file| file.file_name().into_string().ok());
        let mut ids: Vec<_> = ids.filter(|id| self.dir(id).exists()).collect();
        ids.sort_unstable();
        ids
    }

    /// Starts what a container needs and does not run, in order.
    pub(crate) fn start_dependencies(&self, config: &Config) -> Result<(), Error> {
        let mut order = Vec::new();
        self.order(config, &mut BTreeSet::new(), &mut order)?;
        for other in order {
            self.wait_until_healthy(&self.container(&other)?.config)?;
            if let Some(starting) = self.start_it(&other, None, Handed::default(), false)? {
                self.wait_until_started(&other, &starting.connection)?;
            }
        }
        self.wait_until_healthy(config)
    }

    /// Waits until those that must be healthy before a container starts are, or will not be: their monitors say so when they have
    /// failed as often as they may.
    fn wait_until_healthy(&self, config: &Config) -> Result<(), Error> {
        for needed in &config.requires_healthy {
            loop {
                let other = self.container(needed)?;
                let health = other.health().map_or(HealthStatus::Unhealthy, |report| report.status);
                match health {
                    _ if !other.status.is_active() => {}
                    HealthStatus::Healthy => break,
                    HealthStatus::Starting => {
                        std::thread::sleep(LOOK);
                        continue;
                    }
                    _ => {}
                }
                let state = if other.status.is_active() { health.name() } else { other.status.name() };
                return Err(Error::DependencyNotHealthy {
                    id: config.id.clone(),
                    needed: needed.clone(),
                    state,
                });
            }
        }
        Ok(())
    }

    /// The ids of all that a container needs and that do not run, each after what it needs itself.
    fn order(
        &self,
        config: &Config,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) -> Result<(), Error> {
        for id in config.dependencies() {
            if !seen.insert(id.to_owned()) {
                continue;
            }
            let other = self.container(id).map_err(|error| match error {
                Error::NoContainer { .. } => {
                    Error::DependencyGone { id: config.id.clone(), needed: id.to_owned() }
                }
                other => other,
            })?;
            if !other.status.has_process() || other.status == Status::Initialized {
                self.order(&other.config, seen, order)?;
                order.push(id.to_owned());
            }
        }
        Ok(())
    }

    /// The ids of containers and of all that need them, each after those that need it: an order in which they can be removed.
    /// Names that are none's stay.
    pub fn with_dependents(&self, names: &[String]) -> Vec<String> {
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        for name in names {
            self.dependents_first(self.id(name).unwrap_or_else(|_| name.clone()), &mut seen, &mut order);
        }
        order
    }

    fn dependents_first(&self, id: String, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if !seen.insert(id.clone()) {
            return;
        }
        for dependent in self.dependents(&id) {
            self.dependents_first(dependent, seen, order);
        }
        order.push(id);
    }
}
