//! Namespaces that a container shares with others.

use super::Create;
use crate::config::{Config, Namespace, Network};
use crate::error::invalid;
use crate::{Engine, Error};

/// Behind the name of a container that must not only run.
const HEALTHY: &str = ":healthy";

impl Engine {
    /// Puts ids in the place of names of containers whose namespaces are to be shared, and takes from those what goes with them.
    pub(crate) fn share(&self, asked: &mut Create) -> Result<(), Error> {
        let namespaces = &mut asked.config.namespaces;
        if let Namespace::Container(name) = &namespaces.user {
            let other = self.container(name)?.config;
            // Who has the host's users has no namespace that could be joined.
            namespaces.user = match other.namespaces.users {
                Some(_) => Namespace::Container(other.id),
                None => Namespace::Host,
            };
            namespaces.users = other.namespaces.users;
            // Who is in a pod is who the pod's users are.
            if asked.config.pod.is_empty()
                && let Some(users) = &mut namespaces.users
            {
                users.kept = None;
            }
        }
        if let Namespace::Path(path) = &namespaces.user {
            namespaces.users = Some(crate::users::of_namespace(path)?);
        }
        if let Namespace::Container(name) = &namespaces.ipc {
            let other = self.container(name)?.config;
            check_ipc(&other)?;
            namespaces.ipc = Namespace::Container(other.id);
        }
        if let Namespace::Container(name) = &namespaces.uts {
            let other = self.container(name)?.config;
            asked.config.net.hostname = other.net.hostname;
            namespaces.uts = Namespace::Container(other.id);
        }
        for namespace in [&mut namespaces.pid, &mut namespaces.cgroup] {
            if let Namespace::Container(name) = namespace {
                *namespace = Namespace::Container(self.container(name)?.config.id);
            }
        }
        if let Some(Network::Container(name)) = &asked.choices.network {
            asked.choices.network = Some(Network::Container(self.container(name)?.config.id));
        }
        for required in &mut asked.config.requires {
            let (name, is_healthy) =
                required.strip_suffix(HEALTHY).map_or((required.as_str(), false), |n| (n, true));
            let other = self.container(name)?.config;
            if is_healthy && other.supervision.health.is_none() {
                return Err(Error::NoHealthCheck { id: other.id });
            }
            asked.config.requires_healthy.extend(is_healthy.then(|| other.id.clone()));
            *required = other.id;
        }
        if asked.config.process.init && !asked.config.namespaces.pid.is_own() {
            let mode = asked.config.namespaces.pid.mode("private");
            return Err(invalid("pid namespace", mode, "--init needs one of the container's own"));
        }
        Ok(())
    }
}

fn check_ipc(other: &Config) -> Result<(), Error> {
    let mode = match &other.namespaces.ipc {
        Namespace::Private => "private",
        Namespace::None => "none",
        _ => return Ok(()),
    };
    let hint = format!(
        "that of container {} is {mode}, and joining it is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        other.id
    );
    Err(invalid("ipc namespace", format!("container:{}", other.name), hint))
}
