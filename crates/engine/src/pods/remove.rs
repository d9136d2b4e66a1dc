//! Removing pods.

use std::collections::HashMap;
use std::fs::File;

use loment_events::What;

use super::{ListedPod, PodStatus};
use crate::stop::Grace;
use crate::{Engine, Error};

/// The ids of pods that were removed, and why others could not be.
pub(crate) type PrunedPods = (Vec<String>, Vec<(String, Error)>);

/// How often a pod is stopped whose members are started meanwhile.
const TRIES: u32 = 10;

impl Engine {
    /// Removes a pod with all its containers. One in which a member runs is refused without `force`. Returns its id.
    ///
    /// # Errors
    /// Those of [`Engine::pod`]; [`Error::PodRuns`]; those of [`Engine::remove`].
    pub fn remove_pod(&self, name: &str, force: bool, grace: Option<Grace>) -> Result<String, Error> {
        let id = self.pod(name)?.id;
        let (lock, pod) = self.lock_idle_pod(&id, force, grace.unwrap_or_default())?;
        let members: Vec<_> = pod.members().map(|c| c.id.clone()).collect();
        // All of them or none: without force nothing is started any more.
        let mut locks = if force { HashMap::new() } else { self.lock_ended(&id, &members)? };
        for container in &pod.containers {
            let mut dependents = self.dependents(&container.id);
            dependents.retain(|id| !members.contains(id));
            if !dependents.is_empty() {
                return Err(Error::Dependents { id: container.id.clone(), dependents });
            }
        }
        let mut ordered = self.with_dependents(&members);
        // Others that need one of them are not the pod's to remove.
        ordered.retain(|id| members.contains(id));
        for container in ordered.into_iter().chain(pod.pod.infra.clone()) {
            // What they share need not be stopped first.
            let force = force || Some(&container) == pod.pod.infra.as_ref();
            match self.remove_of_pod(&container, force, locks.remove(&container)) {
                Ok(()) | Err(Error::NoContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.remove_pod_group(&pod.pod);
        self.names().release(&pod.pod.name, &id);
        // Without its record it is none, whatever else is left.
        let dir = self.pod_dir(&id);
        let removed =
            std::fs::remove_file(dir.join(super::RECORD)).and_then(|()| std::fs::remove_dir_all(&dir));
        crate::error::Context::context(removed, "remove", dir.display())?;
        drop(lock);
        self.tell_of_pod(What::Remove, &pod.pod);
        Ok(id)
    }

    /// The locks of the members of a pod, if none of them has been started meanwhile.
    fn lock_ended(&self, pod: &str, members: &[String]) -> Result<HashMap<String, File>, Error> {
        let (mut locks, mut running) = (HashMap::new(), Vec::new());
        for id in members {
            match self.lock(id) {
                Err(_) if !self.dir(id).exists() => continue,
                lock => drop(locks.insert(id.clone(), lock?)),
            }
            running.extend(self.load(id)?.filter(|c| c.status.is_active()).map(|c| c.config.id));
        }
        match running.is_empty() {
            true => Ok(locks),
            false => Err(Error::PodRuns { id: pod.to_owned(), containers: running }),
        }
    }

    /// A pod whose members have all ended, and none can be added while its lock is held; what runs is stopped by force only.
    fn lock_idle_pod(&self, id: &str, force: bool, grace: Grace) -> Result<(File, ListedPod), Error> {
        for _ in 0..TRIES {
            let lock = self.lock_pod(id)?;
            let pod = self.listed_pod(id)?;
            let running: Vec<_> =
                pod.members().filter(|c| c.status.is_active()).map(|c| c.id.clone()).collect();
            if running.is_empty() {
                return Ok((lock, pod));
            }
            if !force {
                return Err(Error::PodRuns { id: pod.pod.id, containers: running });
            }
            // Nobody waits for programs with the lock.
            drop(lock);
            if let Some((_, error)) = self.stop_all(&pod, grace, false).into_iter().next() {
                return Err(error);
            }
        }
        Err(Error::PodBusy { id: id.to_owned(), seconds: 0 })
    }

    /// Removes pods of which nothing runs; their ids, and why others could not be removed.
    ///
    /// # Errors
    /// Those of [`Engine::pods`].
    pub fn prune_pods(&self) -> Result<PrunedPods, Error> {
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        for pod in self.pods()?.0 {
            if !matches!(pod.status, PodStatus::Exited | PodStatus::Stopped) {
                continue;
            }
            match self.remove_pod(&pod.pod.id, false, None) {
                Ok(id) => removed.push(id),
                Err(Error::NoPod { .. }) => {}
                Err(error) => failed.push((pod.pod.id, error)),
            }
        }
        Ok((removed, failed))
    }
}
