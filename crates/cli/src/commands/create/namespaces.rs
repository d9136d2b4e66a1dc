//! Flags: what a container has of its own, and what it shares.

use clap::Args;
use loment_engine::Create;
use loment_engine::config::Namespace;

use crate::commands::values::namespace;
use crate::commands::values::users::{self, UsersMode};
use crate::containers_conf::{CONTAINERS, ContainersConf};
use crate::ecosystem::variable;
use crate::error::Error;
use crate::rootless::is_rootless;

#[derive(Args, Debug)]
#[command(next_help_heading = "Namespaces")]
pub(super) struct NamespacesFlags {
    /// Choose whose processes it sees: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// Choose whose shared memory and queues it has: shareable, private, none, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// Choose whose host name it has: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// Choose whose control groups it sees: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,
    /// Choose whose users it has: host, keep-id, nomap, auto, container:NAME, ns:PATH, or private, with --uidmap or --subuidname
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Make a user namespace in which these users are those of the host; the groups, too, without --gidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    uidmap: Vec<String>,
    /// Make a user namespace in which these groups are those of the host; the users, too, without --uidmap
    #[arg(long, value_name = "CONTAINER:HOST:NUMBER")]
    gidmap: Vec<String>,
    /// Make a user namespace of the users that /etc/subuid gives this one
    #[arg(long, value_name = "NAME", conflicts_with = "uidmap")]
    subuidname: Option<String>,
    /// Make a user namespace of the groups that /etc/subgid gives this one
    #[arg(long, value_name = "NAME", conflicts_with = "gidmap")]
    subgidname: Option<String>,
}

impl NamespacesFlags {
    /// In a pod, what is not said is the pod's.
    pub(super) fn apply(&self, conf: &ContainersConf, in_pod: bool, asked: &mut Create) -> Result<(), Error> {
        let namespaces = &mut asked.config.namespaces;
        let is_of_pod = |text: Option<&str>| in_pod && matches!(text, None | Some("pod"));
        let mode = |flag: &str, asked: &Option<String>, key| match asked {
            text if is_of_pod(text.as_deref()) => Ok(Namespace::Own),
            Some(text) => namespace::mode(flag, Some(text)),
            None => {
                let mode = |text: &str| namespace::mode(flag, Some(text));
                Ok(conf.text_as(CONTAINERS, key, mode)?.unwrap_or_default())
            }
        };
        namespaces.pid = mode("pid", &self.pid, "pidns")?;
        namespaces.uts = mode("uts", &self.uts, "utsns")?;
        namespaces.cgroup = mode("cgroupns", &self.cgroupns, "cgroupns")?;
        namespaces.ipc = match &self.ipc {
            text if is_of_pod(text.as_deref()) => Namespace::Own,
            Some(text) => namespace::ipc(Some(text))?,
            None => {
                let ipc = conf.text_as(CONTAINERS, "ipcns", |text| namespace::ipc(Some(text)))?;
                ipc.unwrap_or_default()
            }
        };
        let named = users::of_names(self.subuidname.as_deref(), self.subgidname.as_deref())?;
        let users = match named {
            Some(users) => Some(users),
            None => users::users(&self.uidmap, &self.gidmap)?,
        };
        // Who says who the users are says whose namespace it is.
        let mode = match (&self.userns, users) {
            // Who is in a pod has its users.
            (None, None) if asked.choices.pod.is_some() => UsersMode::Own(None),
            (None, None) => match variable("PODMAN_USERNS").and_then(|text| text.into_string().ok()) {
                Some(text) => users::mode(Some(&text), None)?,
                None => {
                    let mode = |text: &str| users::mode(Some(text), None);
                    conf.text_as(CONTAINERS, "userns", mode)?.unwrap_or(UsersMode::Own(None))
                }
            },
            (asked, users) => users::mode(asked.as_deref(), users)?,
        };
        match mode {
            UsersMode::Own(users) => namespaces.users = users,
            UsersMode::Auto(users) => asked.choices.users = Some(users),
            // What another container has is known to the engine.
            UsersMode::Shared(namespace) => namespaces.user = namespace,
        }
        Ok(())
    }

    /// Who keeps his id runs as himself, whatever the image says: for the machine's root that is root.
    pub(super) fn apply_user(&self, asked: &mut Create) {
        if !is_rootless() && namespace::keeps_id(self.userns.as_deref()) {
            asked.choices.user.get_or_insert_with(|| "0:0".into());
        }
    }
}
