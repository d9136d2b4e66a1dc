//! Starting, stopping and pausing all of a pod.

use std::os::fd::OwnedFd;
use std::thread;

use loment_cgroup::Version;
use loment_cgroup::systemd::Manager;
use loment_events::What;
use loment_monitor::launch::{Head, MEMBERS};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::{ExitPolicy, ListedPod, Pod, Shared};
use crate::config::{Config, InitContainer, Namespace};
use crate::container::Status;
use crate::error::Context;
use crate::list::Listed;
use crate::stop::{Grace, SIGKILL, StopOptions};
use crate::{Engine, Error, Handed};

/// How many containers are stopped at the same time.
const AT_ONCE: usize = 16;

/// What was done with a pod.
#[derive(Debug)]
pub struct OfPod {
    /// The pod, and its containers as they were before.
    pub pod: ListedPod,
    /// Containers that it could not be done with, and why.
    pub failed: Vec<(String, Error)>,
}

impl Engine {
    /// Starts what of a pod does not run; what others need comes before them.
    ///
    /// # Errors
    /// Those of [`Engine::pod`]; [`Error::EmptyPod`] where there is nothing to be started.
    pub fn start_pod(&self, name: &str) -> Result<OfPod, Error> {
        let started = self.start_all(name)?;
        self.tell_of_pod(What::Start, &started.pod.pod);
        Ok(started)
    }

    fn start_all(&self, name: &str) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        if pod.containers.is_empty() {
            return Err(Error::EmptyPod { name: pod.pod.name });
        }
        // What is shared comes first, and stays until all is started.
        if let Some(id) = &pod.pod.infra
            && let Err(error) = self.start(id, Handed::default())
        {
            return Ok(OfPod { failed: vec![(id.clone(), error)], pod });
        }
        let _members = self.open_members(&pod.pod)?;
        let start = |id: &str| {
            self.start(id, Handed::default()).map(|warnings| warnings.iter().for_each(|w| (self.warn)(w)))
        };
        let idle = pod.containers.iter().filter(|c| !c.status.is_running());
        let (first, others): (Vec<&Listed>, _) = idle.partition(|c| c.init_container.is_some());
        // Members that run have what was prepared for them.
        if pod.members().all(|c| !c.status.is_running() || c.init_container.is_some()) {
            for container in first {
                if let Err(error) = start(&container.id).and_then(|()| self.finish_first(container)) {
                    return Ok(OfPod { failed: vec![(container.id.clone(), error)], pod });
                }
            }
        }
        let failed = others
            .into_iter()
            .filter_map(|c| start(&c.id).err().map(|error| (c.id.clone(), error)))
            .collect();
        Ok(OfPod { pod, failed })
    }

    /// Waits for the end of what prepares a pod for the others.
    fn finish_first(&self, container: &Listed) -> Result<(), Error> {
        let code = match self.wait(&container.id) {
            // Somebody else was waiting, too, and has removed it.
            Err(Error::NoContainer { .. }) => return Ok(()),
            code => code?,
        };
        if code != 0 {
            return Err(Error::InitContainer { id: container.id.clone(), code });
        }
        if container.init_container == Some(InitContainer::Always) {
            return Ok(());
        }
        match self.remove(&container.id, true, None) {
            Ok(_) | Err(Error::NoContainer { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Stops all of a pod: its members at the same time, then what they share.
    ///
    /// # Errors
    /// Those of [`Engine::pod`].
    pub fn stop_pod(&self, name: &str, grace: Grace) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        let failed = self.stop_all(&pod, grace, false);
        self.tell_of_pod(What::Stop, &pod.pod);
        Ok(OfPod { pod, failed })
    }

    /// Stops what of a pod runs, and starts all of it.
    ///
    /// # Errors
    /// Those of [`Engine::pod`] and [`Engine::start_pod`].
    pub fn restart_pod(&self, name: &str) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        let mut failed = self.stop_all(&pod, Grace::Own, true);
        let started = self.start_all(&pod.pod.id)?;
        failed.extend(started.failed);
        for member in pod.members().filter(|c| !failed.iter().any(|(id, _)| *id == c.id)) {
            // One that prepares the others may have gone.
            if let Some(container) = self.load(&member.id)? {
                self.tell(&container.config, What::Restart);
            }
        }
        self.tell_of_pod(What::Restart, &pod.pod);
        Ok(OfPod { pod, failed })
    }

    pub(super) fn stop_all(&self, pod: &ListedPod, grace: Grace, keep: bool) -> Vec<(String, Error)> {
        let options = StopOptions { grace, keep, ..StopOptions::default() };
        let stop = |c: &Listed| match self.stop(&c.id, &options) {
            // One with --rm that ended by itself.
            Ok(_) | Err(Error::NoContainer { .. }) => None,
            Err(error) => Some((c.id.clone(), error)),
        };
        let mut failed = Vec::new();
        // Who needs others goes before them: what is needed was made before.
        let active: Vec<_> = pod.members().rev().filter(|c| c.status.is_active()).collect();
        for some in active.chunks(AT_ONCE) {
            thread::scope(|scope| {
                let all: Vec<_> = some.iter().map(|c| scope.spawn(|| stop(c))).collect();
                failed.extend(all.into_iter().filter_map(|one| one.join().ok().flatten()));
            });
        }
        if failed.is_empty()
            && let Some(infra) = pod.infra().filter(|c| c.status.is_active())
        {
            failed.extend(stop(infra));
        }
        failed
    }

    /// Sends a signal to the programs of all of a pod that runs.
    ///
    /// # Errors
    /// Those of [`Engine::pod`].
    pub fn kill_pod(&self, name: &str, signal: i32) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        // What has no process is let go by the last of signals only.
        let meant = |c: &&Listed| c.status.has_process() && (signal == SIGKILL || !c.state.is_held());
        let failed = self.each(pod.members().rev().chain(pod.infra()).filter(meant), |c| {
            match self.kill(&c.id, signal) {
                // It has ended in this moment, perhaps with the others.
                Ok(_) | Err(Error::State { .. } | Error::NoContainer { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        });
        self.tell_of_pod(What::Kill, &pod.pod);
        Ok(OfPod { failed, pod })
    }

    /// Stops all processes of a pod until [`Engine::unpause_pod`].
    ///
    /// # Errors
    /// Those of [`Engine::pod`].
    pub fn pause_pod(&self, name: &str) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        // What has no process cannot be stopped in the midst of anything.
        let runs = |c: &&Listed| c.status == Status::Running && !c.state.is_held();
        let running = pod.containers.iter().filter(runs);
        let failed = self.each(running, |c| self.pause(&c.id).map(drop));
        self.tell_of_pod(What::Pause, &pod.pod);
        Ok(OfPod { failed, pod })
    }

    /// Lets a paused pod go on.
    ///
    /// # Errors
    /// Those of [`Engine::pod`].
    pub fn unpause_pod(&self, name: &str) -> Result<OfPod, Error> {
        let pod = self.listed_pod(name)?;
        let paused = pod.containers.iter().filter(|c| c.status == Status::Paused);
        let failed = self.each(paused, |c| self.unpause(&c.id).map(drop));
        self.tell_of_pod(What::Unpause, &pod.pod);
        Ok(OfPod { failed, pod })
    }

    fn each<'c>(
        &self,
        containers: impl Iterator<Item = &'c Listed>,
        act: impl Fn(&Listed) -> Result<(), Error>,
    ) -> Vec<(String, Error)> {
        containers.filter_map(|c| act(c).err().map(|error| (c.id.clone(), error))).collect()
    }

    /// What is special about starting one of a pod: what its monitor is told, and has open as long as it is there.
    pub(crate) fn start_in_pod(&self, config: &Config, head: &mut Head) -> Result<Option<OwnedFd>, Error> {
        if config.pod.is_empty() {
            return Ok(None);
        }
        let Some(pod) = self.load_pod(&config.pod)? else {
            return Err(Error::NoPod { name: config.pod.clone() });
        };
        if let (Some(group), Some(own)) = (&pod.cgroup.path, &config.cgroup.path)
            && own.starts_with(&format!("{group}/"))
        {
            self.make_pod_group(&pod, group)?;
        }
        if config.infra {
            head.hold = config.namespaces.pid == Namespace::Host || !pod.share.contains(&Shared::Pid);
            head.ends_with_members = pod.exit_policy == ExitPolicy::Stop;
            return Ok(None);
        }
        // What comes before the others is none of them.
        let member = match config.init_container {
            None => self.open_members(&pod)?,
            Some(_) => None,
        };
        head.is_member = member.is_some();
        Ok(member)
    }

    /// While it is open, a pod that ends with its members does not end.
    fn open_members(&self, pod: &Pod) -> Result<Option<OwnedFd>, Error> {
        let Some(infra) = pod.infra.as_ref().filter(|_| pod.exit_policy == ExitPolicy::Stop) else {
            return Ok(None);
        };
        let path = self.run_dir(infra).join(MEMBERS);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match open(&path, flags, Mode::empty()) {
            Err(Errno::NXIO | Errno::NOENT) => {
                Err(Error::PodEnds { name: pod.name.clone(), infra: infra.clone() })
            }
            member => member.map(Some).context("open", path.display()),
        }
    }

    /// The same of the pod of a container, if that runs.
    pub(crate) fn keep_pod(&self, config: &Config) -> Option<OwnedFd> {
        let pod = self.load_pod(&config.pod).ok().flatten().filter(|_| !config.pod.is_empty())?;
        self.open_members(&pod).ok().flatten()
    }

    /// Makes the control group of a pod, with its limits, before the first of its containers is started.
    fn make_pod_group(&self, pod: &Pod, path: &str) -> Result<(), Error> {
        let group = self.group(Some(path))?;
        let resources = serde_json::from_value(crate::spec::resources(&pod.limits)?);
        let resources = resources.map_err(|source| Error::Damaged { path: path.to_owned(), source })?;
        match &pod.cgroup.slice {
            None => group.create_if_missing()?,
            // systemd makes it with the first scope in it.
            Some(_) if pod.limits == Default::default() => return Ok(()),
            Some(slice) => {
                let version = self.groups()?.version();
                self.systemd_of(pod).limit_slice(slice, &resources, version)?;
                // On v1 it has groups of some controllers only.
                if version != Version::V2 {
                    return Ok(());
                }
            }
        }
        Ok(group.apply(&resources)?)
    }

    fn systemd_of(&self, pod: &Pod) -> Manager {
        if pod.cgroup.of_user { self.users_systemd() } else { Manager::system() }
    }

    /// Removes it with the pod: as long as that is there, somebody may be starting something in it.
    pub(super) fn remove_pod_group(&self, pod: &Pod) {
        // One that is in use stays.
        let _ = match (&pod.cgroup.slice, self.group(pod.cgroup.path.as_deref())) {
            (Some(slice), _) => self.systemd_of(pod).stop_slice(slice),
            (None, Ok(group)) => group.remove(),
            (None, Err(_)) => Ok(()),
        };
    }
}
