//! Lists of pods, and what their states are.

use std::collections::HashMap;

use super::Pod;
use crate::container::Status;
use crate::list::{Listed, Which};
use crate::names::ids_with_prefix;
use crate::{Engine, Error};

/// What a pod is doing, as its containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodStatus {
    /// Nothing of it was ever started.
    Created,
    /// All of it runs.
    Running,
    /// Some of it runs.
    Degraded,
    /// All of it is paused.
    Paused,
    /// All of it has ended.
    Exited,
    /// Some of it has ended, and nothing runs.
    Stopped,
    /// What something of it is cannot be read.
    Error,
}

impl PodStatus {
    /// The word users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Paused => "Paused",
            Self::Exited => "Exited",
            Self::Stopped => "Stopped",
            Self::Error => "Error",
        }
    }

    /// What follows from the states of a pod's containers.
    fn of(all: impl Iterator<Item = Status>) -> Self {
        let (mut count, mut running, mut paused, mut ended, mut unknown) = (0, 0, 0, 0, 0);
        for status in all {
            count += 1;
            match status {
                Status::Running => running += 1,
                Status::Paused => paused += 1,
                Status::Exited => ended += 1,
                Status::Created => {}
                Status::Initialized | Status::Stopping | Status::Restarting | Status::Unknown => unknown += 1,
            }
        }
        match () {
            () if count == 0 => Self::Created,
            () if running == count => Self::Running,
            () if running > 0 => Self::Degraded,
            () if paused == count => Self::Paused,
            () if ended == count => Self::Exited,
            () if ended > 0 => Self::Stopped,
            () if unknown > 0 => Self::Error,
            () => Self::Created,
        }
    }
}

/// A pod in a list.
#[derive(Clone, Debug)]
pub struct ListedPod {
    /// What it is.
    pub pod: Pod,
    /// Its containers, the oldest first: the infra container is the first.
    pub containers: Vec<Listed>,
    /// What it is doing.
    pub status: PodStatus,
}

impl ListedPod {
    fn new(pod: Pod, containers: Vec<Listed>) -> Self {
        // What has no process cannot be paused.
        let mut others = containers.iter().filter(|c| !c.state.is_held()).peekable();
        let status = match others.peek().is_some() && others.all(|c| c.status == Status::Paused) {
            true => PodStatus::Paused,
            false => PodStatus::of(containers.iter().map(|container| container.status)),
        };
        Self { pod, containers, status }
    }

    /// Its containers but the infra container.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = &Listed> {
        self.containers.iter().filter(|container| !container.infra)
    }

    /// Its infra container.
    pub fn infra(&self) -> Option<&Listed> {
        self.containers.iter().find(|container| container.infra)
    }
}

impl Engine {
    /// The records of all pods, the newest first, and why some cannot be read.
    pub(crate) fn pod_records(&self) -> (Vec<Pod>, Vec<Error>) {
        let (mut pods, mut problems) = (Vec::new(), Vec::new());
        for id in ids_with_prefix(&self.pods_dir(), "") {
            match self.load_pod(&id) {
                Ok(Some(pod)) => pods.push(pod),
                Ok(None) => self.sweep_half_made_pod(&id),
                Err(problem) => problems.push(problem),
            }
        }
        pods.sort_by(|a, b| b.created.cmp(&a.created));
        (pods, problems)
    }

    /// Pods that can be read. Nothing is changed.
    pub(crate) fn read_pods(&self) -> Vec<ListedPod> {
        let ids = ids_with_prefix(&self.pods_dir(), "");
        let pods: Vec<Pod> = ids.iter().filter_map(|id| self.load_pod(id).ok().flatten()).collect();
        let containers = if pods.is_empty() { Vec::new() } else { self.read_list(Which::All).0 };
        with_containers(pods, containers)
    }

    /// All pods, the newest first, and why some cannot be read.
    ///
    /// # Errors
    /// [`Error::Io`] for the directory of containers.
    pub fn pods(&self) -> Result<(Vec<ListedPod>, Vec<Error>), Error> {
        let (pods, problems) = self.pod_records();
        let containers = if pods.is_empty() { Vec::new() } else { self.list(Which::All)? };
        Ok((with_containers(pods, containers), problems))
    }

    /// A pod with its containers.
    ///
    /// # Errors
    /// Those of [`Engine::pod`].
    pub fn listed_pod(&self, name: &str) -> Result<ListedPod, Error> {
        let pod = self.pod(name)?;
        let mut containers = self.list(Which::All)?;
        containers.retain(|container| container.pod == pod.id);
        Ok(ListedPod::new(pod, containers))
    }

    /// The names of pods, by id.
    pub fn pod_names(&self) -> HashMap<String, String> {
        self.pod_records().0.into_iter().map(|pod| (pod.id, pod.name)).collect()
    }
}

fn with_containers(pods: Vec<Pod>, containers: Vec<Listed>) -> Vec<ListedPod> {
    let mut of_pods: HashMap<String, Vec<Listed>> = HashMap::new();
    for container in containers.into_iter().filter(|container| !container.pod.is_empty()) {
        of_pods.entry(container.pod.clone()).or_default().push(container);
    }
    let listed = |pod: Pod| {
        let containers = of_pods.remove(&pod.id).unwrap_or_default();
        ListedPod::new(pod, containers)
    };
    pods.into_iter().map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_what_its_containers_are() {
        use Status::{Created, Exited, Paused, Running};
        for (containers, expected) in [
            (&[][..], PodStatus::Created),
            (&[Created, Created], PodStatus::Created),
            (&[Running, Running], PodStatus::Running),
            (&[Running, Exited], PodStatus::Degraded),
            (&[Running, Created], PodStatus::Degraded),
            (&[Paused, Paused], PodStatus::Paused),
            (&[Exited, Exited], PodStatus::Exited),
            (&[Exited, Created], PodStatus::Stopped),
            (&[Created, Status::Unknown], PodStatus::Error),
        ] {
            assert_eq!(PodStatus::of(containers.iter().copied()), expected, "{containers:?}");
        }
    }
}
