//! Removing containers.

use std::fs::File;
use std::time::Duration;

use loment_cgroup::{CgroupPath, Host};
use loment_events::What;
use loment_monitor::protocol::Stop;
use loment_monitor::state::State;
use loment_store::Store;

use crate::config::{Config, GroupUse, Groups};
use crate::container::{Container, Status, cgroup_name, monitor_cgroup_name};
use crate::engine::is_id;
use crate::error::Context;
use crate::stop::{Grace, SIGKILL, StopOptions};
use crate::{Engine, Error};

/// A tomb that is older than this is nobody's work any more: sweepers wait for less.
const TOMB_AGE: Duration = Duration::from_secs(60);

/// How often a container that is started again and again is killed before giving up.
const TRIES: u32 = 10;

impl Engine {
    /// Removes a container. One that runs is killed when `force` is given, and refused otherwise.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Unkillable`]; [`Error::Unreadable`] for one that can be removed by force only.
    pub fn remove(&self, name: &str, force: bool, timeout: Option<u32>) -> Result<Container, Error> {
        self.remove_with_volumes(name, force, timeout.map(Grace::Seconds), false)
    }

    /// The same, with its anonymous volumes if that is wanted.
    ///
    /// # Errors
    /// As [`Engine::remove`].
    pub fn remove_with_volumes(
        &self,
        name: &str,
        force: bool,
        grace: Option<Grace>,
        volumes: bool,
    ) -> Result<Container, Error> {
        let container = match self.container(name) {
            Err(error) if error.is_unreadable() => {
                let id = self.id(name)?;
                if force {
                    return self.remove_unreadable(id);
                }
                return Err(Error::Unreadable { id, source: Box::new(error) });
            }
            found => found?,
        };
        let Config { id, pod, infra, .. } = &container.config;
        if *infra && self.load_pod(pod)?.is_some() {
            return Err(Error::Infra { id: id.clone(), pod: pod.clone() });
        }
        self.remove_loaded(container, force, grace, volumes)
    }

    /// The same of one of a pod that is removed.
    pub(crate) fn remove_of_pod(&self, id: &str, force: bool, lock: Option<File>) -> Result<(), Error> {
        let container = self.container(id)?;
        match lock {
            // Whoever has it has seen that it does not run.
            Some(_lock) => self.remove_locked(&container, force, true).map(drop),
            None => self.remove_loaded(container, force, None, true).map(drop),
        }
    }

    fn remove_loaded(
        &self,
        container: Container,
        force: bool,
        grace: Option<Grace>,
        volumes: bool,
    ) -> Result<Container, Error> {
        let id = container.config.id.as_str();
        for _ in 0..TRIES {
            if self.remove_stopped(&container, force, volumes)? {
                return Ok(container);
            }
            // What waits to run a program has nothing to lose.
            if !force && container.status != Status::Initialized {
                break;
            }
            // Without a time of its own it is killed at once.
            let grace = grace.unwrap_or(Grace::Seconds(0));
            match self.stop(id, &StopOptions { grace, ..StopOptions::default() }) {
                // Started with --rm, it has gone by itself.
                Err(Error::NoContainer { .. }) => {}
                other => drop(other?),
            }
        }
        Err(running(self.load(id)?.unwrap_or(container)))
    }

    /// Removes a container that does not run; `false` when it does. Looked at under the lock: it may just be starting.
    fn remove_stopped(&self, container: &Container, force: bool, volumes: bool) -> Result<bool, Error> {
        let id = container.config.id.as_str();
        // Before something is ended for it.
        self.refuse_needed(id)?;
        let lock = if force { self.lock_by_force(id) } else { self.lock(id) };
        let _lock = match lock {
            Err(_) if !self.dir(id).exists() => return Ok(true),
            lock => lock?,
        };
        self.remove_locked(container, force, volumes)
    }

    /// The same for who has its lock.
    fn remove_locked(&self, container: &Container, force: bool, volumes: bool) -> Result<bool, Error> {
        let id = container.config.id.as_str();
        self.refuse_needed(id)?;
        if let Some(now) = self.load(id)? {
            if now.status.is_active() {
                return Ok(false);
            }
            self.clear_leftovers(&now);
            // Left when whoever removes it after a monitor's end was killed.
            let _ = loment_monitor::remove_monitor_cgroup(&self.place(&now.config));
        }
        self.container_mount(id).end(force)?;
        if volumes {
            // Who is killed now has a container without them, which the next one removes.
            self.remove_anonymous_volumes(&container.config)?;
        }
        self.names().release(&container.config.name, id);
        self.store().remove_container(id)?;
        self.forget_dependent(&container.config);
        self.leave_volumes(&container.config);
        self.tell(&container.config, What::Remove);
        Ok(true)
    }

    fn refuse_needed(&self, id: &str) -> Result<(), Error> {
        match self.dependents(id) {
            dependents if dependents.is_empty() => Ok(()),
            dependents => Err(Error::Dependents { id: id.to_owned(), dependents }),
        }
    }
}

impl Engine {
    /// Removes a container of which nothing is known but its id and, perhaps, what was recorded when it was started.
    fn remove_unreadable(&self, id: String) -> Result<Container, Error> {
        let (dir, run_dir) = (self.dir(&id), self.run_dir(&id));
        let state = State::load(&dir).unwrap_or_default();
        let name = self.names().all().remove(&id).unwrap_or_default();
        let mut config = Config { id: id.clone(), name, ..Config::default() };
        // Where its group is, unless somebody wanted it elsewhere.
        let places = self.places(None, Groups::Both)?;
        config.cgroup = places.map_or_else(|| Ok(GroupUse::default()), |places| places.place(None, &id))?;
        let mut container = Container::new(config, state, dir, run_dir);
        if !container.status.is_active() && container.monitor().is_some() {
            container.status = Status::Running;
        }
        self.end(&container, &Stop { signal: SIGKILL, timeout: Some(0), keep: false })?;
        self.wait_for_monitor(&container)?;
        let _lock = match self.lock_by_force(&id) {
            // It was started with --rm, and has gone by itself.
            Err(_) if !self.dir(&id).exists() => return Ok(container),
            lock => lock?,
        };
        self.kill_tree(&id).context("end the monitor of", &id)?;
        self.clear_leftovers(&container);
        remove_groups(&id);
        let _ = std::fs::remove_dir_all(&container.run_dir);
        self.container_mount(&id).end(true)?;
        self.names().release(&container.config.name, &id);
        self.store().remove_container(&id)?;
        self.tell(&container.config, What::Remove);
        Ok(container)
    }

    /// Removes what is left of containers that were removed at their end, where whoever did it was killed before it was done.
    pub(crate) fn sweep_tombs(&self) {
        self.sweep_tombs_older_than(TOMB_AGE);
    }

    fn sweep_tombs_older_than(&self, age: Duration) {
        let entries = std::fs::read_dir(self.root().join("tombs")).into_iter().flatten().flatten();
        for tomb in entries {
            let Some(id) = tomb.file_name().to_str().filter(|name| is_id(name)).map(str::to_owned) else {
                continue;
            };
            let since = tomb.metadata().ok().and_then(|m| renamed(&m)?.elapsed().ok());
            if since.is_none_or(|since| since < age) {
                continue;
            }
            remove_groups(&id);
            let _ = std::fs::remove_dir_all(self.run_dir(&id));
            Store::release_limits(&tomb.path());
            self.leave_volumes_of_tomb(&tomb.path());
            // What is mounted there is not the container's.
            if !loment_monitor::has_mounts(&tomb.path()).unwrap_or(true) {
                let _ = std::fs::remove_dir_all(tomb.path());
            }
        }
    }
}

/// Removes the groups of a container and of its monitor, with what is in them. Each of them may be gone.
fn remove_groups(id: &str) {
    remove_usual_groups(&[cgroup_name(id), monitor_cgroup_name(id)]);
}

/// Removes groups of the usual places with what is in them. Each of them may be gone.
pub(crate) fn remove_usual_groups(names: &[String]) {
    let Ok(host) = Host::detect() else { return };
    for name in names {
        let group = CgroupPath::new(name).map(|path| host.cgroup(path));
        let _ = group.and_then(|group| group.kill().and(group.remove()));
    }
}

/// When a directory was renamed last.
fn renamed(metadata: &std::fs::Metadata) -> Option<std::time::SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}

fn running(container: Container) -> Error {
    Error::State {
        operation: "remove",
        status: container.status.name(),
        id: container.config.id,
        // The words are Podman's.
        hint: " - running or paused containers cannot be removed without force: container state improper",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_sweeper_left_is_removed_when_it_is_old() {
        assert!(loment_sys::process::is_root(), "this test needs root");
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let id = format!("{:064x}", std::process::id());
        let (tomb, run) = (engine.root().join("tombs").join(&id), engine.run_dir(&id));
        for path in [tomb.join("upper/x"), run.join("scratch")] {
            std::fs::create_dir_all(path).unwrap();
        }
        let host = Host::detect().unwrap();
        let group = host.cgroup(CgroupPath::new(&monitor_cgroup_name(&id)).unwrap());
        group.create().unwrap();
        // It had a volume of its own, one with a name, and one that its user made without.
        let mut config = Config { version: crate::config::VERSION, id: id.clone(), ..Config::default() };
        for name in ["named", "own", "users"] {
            let new = crate::NewVolume {
                name: Some(name.into()),
                anonymous: name != "named",
                ..Default::default()
            };
            let anonymous = name == "own";
            let volume = crate::config::VolumeUse { name: name.into(), anonymous, ..Default::default() };
            config.files.volumes.push(crate::config::Volume { volume: Some(volume), ..Default::default() });
            engine.create_volume(new).unwrap();
            std::fs::write(engine.volume_dir(name).join("users").join(&id), "").unwrap();
        }
        std::fs::write(tomb.join("container.json"), config.document().unwrap().to_string()).unwrap();
        engine.sweep_tombs();
        let kept = tomb.exists() && run.exists() && group.exists();
        engine.sweep_tombs_older_than(Duration::ZERO);
        let left = [tomb.exists(), run.exists(), group.exists()];
        group.remove().unwrap();
        assert!(kept, "it may be somebody's work");
        assert_eq!(left, [false; 3]);
        let volumes: Vec<_> = engine.volumes().unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(volumes, ["named", "users"]);
        assert!(!engine.volume_dir("named").join("users").join(&id).exists());
    }
}
