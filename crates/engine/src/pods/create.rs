//! Making pods, and putting containers into them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use loment_events::What;
use loment_monitor::now_rfc3339;
use loment_sys::fd::is_at;

use super::clone::note_members;
use super::{Pod, RECORD, ROOTFS, Shared, VERSION};
use crate::config::{
    Config, Devices, GroupManager, Groups, LogDriver, LogUse, Namespace, Network, RootfsUse, Security,
};
use crate::container::Container;
use crate::create::{Create, Settled};
use crate::error::{Context, invalid};
use crate::list::Which;
use crate::lock::{PATIENCE, make_locked};
use crate::names::{new_id, while_doing};
use crate::secrets::SecretData;
use crate::volumes::VolumesFrom;
use crate::{Engine, Error};

const SIGTERM: i32 = 15;

/// A pod to be made.
#[derive(Clone, Debug, Default)]
pub struct NewPod {
    /// What it is to be. Its version, id, time, group and infra container are not for whoever asks to say; without a name it gets one.
    pub pod: Pod,
    /// What its infra container is to be, as far as that is said; nothing is shared without.
    pub infra: Option<Create>,
    /// The group, or slice, that its group is in.
    pub cgroup_parent: Option<String>,
    /// Who makes its control group; `None` is who does best here.
    pub cgroup_manager: Option<GroupManager>,
}

/// A member that is made with its pod, but for its name, to which something is added.
pub(super) struct NewMember {
    pub(super) config: Config,
    pub(super) secrets: Vec<SecretData>,
}

/// Which members a pod is made with, told that and what its infra container is.
pub(super) type MembersOf<'m> = dyn Fn(&Pod, Option<&Config>) -> Result<Vec<NewMember>, Error> + 'm;

/// The file in a pod's directory with the ids of members that are made with it, until it is there.
pub(super) const MEMBERS_OF_NEW: &str = "members-of-new";

impl Engine {
    /// Makes a pod.
    ///
    /// # Errors
    /// [`Error::NameInUse`], [`Error::Invalid`]. Nothing is left of one that could not be made.
    pub fn create_pod(&self, asked: NewPod) -> Result<Pod, Error> {
        self.create_pod_with(asked, &|_, _| Ok(Vec::new()))
    }

    /// The same with members, told when it is known what the pod and its infra container are. All is there at once.
    pub(super) fn create_pod_with(&self, asked: NewPod, members: &MembersOf<'_>) -> Result<Pod, Error> {
        let NewPod { mut pod, infra, cgroup_parent, cgroup_manager } = asked;
        let id = new_id().context("choose", "an id")?;
        match self.places(cgroup_manager, Groups::Both)? {
            Some(places) => {
                places.check(&pod.limits)?;
                pod.cgroup = places.place_pod(cgroup_parent.as_deref(), &id)?;
            }
            None => crate::groups::refuse_limits(&pod.limits, None)?,
        }
        let infra_id = infra.is_some().then(new_id).transpose().context("choose", "an id")?;
        (pod.version, pod.created) = (VERSION, now_rfc3339());
        (pod.id, pod.infra) = (id.clone(), infra_id.clone());
        pod.share.sort_unstable();
        pod.share.dedup();

        let dir = self.pod_dir(&id);
        // Held while it is half made: without, it is the leftover of a program that was killed.
        let busy = || Error::PodBusy { id: id.clone(), seconds: PATIENCE.as_secs() };
        let lock = make_locked(&dir, busy)?;
        let names = self.names();
        let wanted = Some(pod.name.clone()).filter(|name| !name.is_empty());
        let taken = self.take_name(wanted.as_deref(), &id).map_err(while_doing("adding pod to state"));
        pod.name = taken.inspect_err(|_| drop(std::fs::remove_dir_all(&dir)))?;
        if pod.hostname.is_empty() {
            // Names are longer than host names may be.
            pod.hostname = pod.name.chars().take(64).collect();
        }
        let mut infra = infra;
        // Held until it is known whose they are.
        let _users = infra.as_mut().map(|infra| self.choose_users(infra)).transpose()?;
        let owner = infra.as_ref().and_then(|infra| infra.config.namespaces.users.as_ref()?.root());
        let make = || -> Result<(), Error> {
            let Some((infra, infra_id)) = infra.zip(infra_id) else {
                let members = members(&pod, None)?;
                note_members(&dir, &members)?;
                self.make_members(&members)?;
                return fill(&dir, &pod, None).context("make pod", &pod.name);
            };
            fill(&dir, &pod, owner).context("make pod", &pod.name)?;
            let Settled { config, volumes, secrets, _users } =
                self.settle(infra_id, self.infra(&pod, infra))?;
            self.make_filled_container(config, &volumes, &secrets, &|infra| {
                let members = members(&pod, Some(infra))?;
                note_members(&dir, &members)?;
                self.make_members(&members)
            })
            .map(drop)
        };
        let made = make();
        if made.is_err() {
            self.forget_members(&dir);
            let _ = std::fs::remove_dir_all(&dir);
            names.release(&pod.name, &id);
        }
        made?;
        // From here on nobody looks for it.
        let _ = std::fs::remove_file(dir.join(MEMBERS_OF_NEW));
        drop(lock);
        self.tell_of_pod(What::Create, &pod);
        Ok(pod)
    }

    /// What an infra container is in any case.
    fn infra(&self, pod: &Pod, mut asked: Create) -> Create {
        let config = &mut asked.config;
        if config.name.is_empty() {
            config.name = format!("{}-infra", pod.short_id());
        }
        (config.pod, config.infra) = (pod.id.clone(), true);
        config.rootfs = Some(RootfsUse { path: self.pod_dir(&pod.id).join(ROOTFS), overlay: true });
        config.process.command = vec!["/init".into()];
        config.security.capabilities = Some(Vec::new());
        config.security.no_new_privileges = true;
        asked.choices.stop_signal = Some(SIGTERM);
        asked.choices.log = Some(LogUse { driver: LogDriver::None, ..LogUse::default() });
        asked.choices.cgroup_manager = Some(pod.manager());
        asked.choices.cgroup_parent = pod.group();
        if asked.choices.hostname.is_none() && config.namespaces.uts == Namespace::Own {
            asked.choices.hostname = Some(pod.hostname.clone()).filter(|name| !name.is_empty());
        }
        asked
    }

    /// Whether an id is nobody's: neither a container nor a pod is there, or being made.
    pub(crate) fn is_nobody(&self, id: &str) -> bool {
        self.is_half_made(id) && self.is_half_made_pod(id)
    }

    /// Whether nothing but a directory is left of a pod whose making was cut short.
    fn is_half_made_pod(&self, id: &str) -> bool {
        !self.pod_dir(id).exists() || self.lock_half_made_pod(id).is_some()
    }

    /// Its maker holds the lock. Looked at again under ours: it may have been finished in the meantime.
    fn lock_half_made_pod(&self, id: &str) -> Option<File> {
        // A record that cannot be read is somebody's.
        let is_made = || !matches!(self.load_pod(id), Ok(None));
        let dir = File::open(self.pod_dir(id)).ok().filter(|_| !is_made())?;
        dir.try_lock().ok()?;
        (is_at(&dir, &self.pod_dir(id)) && !is_made()).then_some(dir)
    }

    /// Removes what is left of such a one.
    pub(super) fn sweep_half_made_pod(&self, id: &str) {
        let Some(_lock) = self.lock_half_made_pod(id) else { return };
        self.forget_members(&self.pod_dir(id));
        if let Ok(Some(pod)) = self.read_pod(id) {
            // Whoever has taken away only what they share has these still.
            if self.list(Which::All).map_or(true, |all| all.iter().any(|container| container.pod == id)) {
                return;
            }
            self.remove_pod_group(&pod);
            self.names().release(&pod.name, id);
        }
        // What cannot be removed is looked for again.
        let _ = std::fs::remove_dir_all(self.pod_dir(id));
    }

    /// Puts a container that is to be made into its pod, if it is for one: what it does not say itself is that of the pod. No other
    /// member is made, and the pod not removed, while the file is open.
    pub(crate) fn join_pod(&self, asked: &mut Create) -> Result<Option<File>, Error> {
        let Some(name) = asked.choices.pod.take() else { return Ok(None) };
        let pod = self.pod(&name)?;
        let lock = self.lock_pod(&pod.id)?;
        asked.config.pod.clone_from(&pod.id);
        let splits = asked.choices.groups == Some(Groups::Split);
        if pod.shares_cgroup_parent && asked.choices.cgroup_parent.is_none() && !splits {
            asked.choices.cgroup_parent = pod.group();
            asked.choices.cgroup_manager = Some(pod.manager());
        }
        let restart = &mut asked.config.supervision.restart;
        if *restart == Default::default() && !asked.config.supervision.auto_remove {
            *restart = pod.restart;
        }
        let Some(id) = &pod.infra else { return Ok(Some(lock)) };
        let infra = self.container(id)?;
        // What it is to share belongs to other users.
        let own_users = asked.config.namespaces.users.is_some() || asked.choices.users.is_some();
        if own_users && infra.config.namespaces.users.is_none() {
            return Err(Error::UsersInPod);
        }
        self.share_with(&pod, &infra, asked);
        if asked.config.init_container.is_some() && infra.status.is_active() {
            let hint = "its pod runs already: stop that first, or leave out --init-ctr";
            return Err(invalid("init container", &asked.config.name, hint));
        }
        let shares_network = matches!(&asked.choices.network, Some(Network::Container(other)) if other == id);
        if !shares_network && !asked.config.dependencies().contains(id.as_str()) {
            asked.config.requires.push(id.clone());
        }
        inherit(&pod.security, &mut asked.config.security);
        let size = &mut asked.config.files.systemd_size;
        *size = size.or(infra.config.files.systemd_size);
        asked
            .choices
            .volumes
            .from
            .insert(0, VolumesFrom { container: id.clone(), access: None, relabel: None });
        share_devices(&infra.config.devices, &mut asked.config.devices);
        Ok(Some(lock))
    }

    fn share_with(&self, pod: &Pod, infra: &Container, asked: &mut Create) {
        let id = &infra.config.id;
        let n = &mut asked.config.namespaces;
        for shared in &pod.share {
            let own = match shared {
                Shared::Net => {
                    asked.choices.network.get_or_insert_with(|| match &infra.config.net.network {
                        // There is nothing of its own that could be shared.
                        Network::Host => Network::Host,
                        _ => Network::Container(id.clone()),
                    });
                    continue;
                }
                Shared::User if n.users.is_some() => continue,
                Shared::User => &mut n.user,
                Shared::Cgroup => &mut n.cgroup,
                Shared::Ipc => &mut n.ipc,
                Shared::Pid => &mut n.pid,
                Shared::Uts => &mut n.uts,
            };
            let its = &infra.config.namespaces;
            let its = match shared {
                Shared::Cgroup => &its.cgroup,
                Shared::Ipc => &its.ipc,
                Shared::Pid => &its.pid,
                Shared::Uts => &its.uts,
                Shared::User | Shared::Net => &Namespace::Own,
            };
            if *own == Namespace::Own {
                *own =
                    if *its == Namespace::Host { Namespace::Host } else { Namespace::Container(id.clone()) };
            }
        }
    }
}

/// Gives a member the devices that a pod has.
pub(super) fn share_devices(devices: &Devices, own: &mut Devices) {
    for device in &devices.nodes {
        if !own.nodes.iter().any(|other| other.container == device.container) {
            own.nodes.push(device.clone());
        }
    }
    let described: Vec<_> =
        devices.described.iter().filter(|name| !own.described.contains(name)).cloned().collect();
    own.described.extend(described);
    own.descriptions = own.descriptions.take().or_else(|| devices.descriptions.clone());
    let rules: Vec<_> = devices.rules.iter().filter(|rule| !own.rules.contains(rule)).cloned().collect();
    own.rules.extend(rules);
}

/// What a pod says of its members' rights, for one that does not say.
pub(super) fn inherit(pod: &Security, own: &mut Security) {
    if own.privileged {
        return;
    }
    own.no_new_privileges |= pod.no_new_privileges;
    own.writable_cgroups |= pod.writable_cgroups;
    if own.seccomp.is_usual() && !pod.seccomp.is_usual() {
        own.seccomp = pod.seccomp.clone();
    }
    if own.apparmor.is_none() {
        own.apparmor.clone_from(&pod.apparmor);
    }
    if own.labels.is_empty() {
        own.labels.clone_from(&pod.labels);
    }
    own.mask.extend(pod.mask.iter().cloned());
    own.unmask.extend(pod.unmask.iter().cloned());
    own.proc_options.extend(pod.proc_options.iter().cloned());
}

impl Pod {
    /// Who makes its control group.
    pub(crate) fn manager(&self) -> GroupManager {
        if self.cgroup.slice.is_some() { GroupManager::Systemd } else { GroupManager::Cgroupfs }
    }

    /// Its control group, or slice, as the parent of those of its members, if it has one.
    pub(crate) fn group(&self) -> Option<String> {
        self.cgroup.slice.clone().or_else(|| self.cgroup.path.clone())
    }
}

/// Writes what belongs to a pod, for who its superuser is outside; from then on it exists.
fn fill(dir: &Path, pod: &Pod, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    if pod.infra.is_some() {
        let rootfs = dir.join(ROOTFS);
        std::fs::create_dir(&rootfs)?;
        let init = rootfs.join("init");
        std::fs::write(&init, loment_sys::init::IMAGE)?;
        for path in [&rootfs, &init] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
            if let Some((uid, gid)) = owner {
                chown(path, Some(uid), Some(gid))?;
            }
            File::open(path)?.sync_all()?;
        }
    }
    let new = dir.join(format!(".{RECORD}"));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(pod)?)?;
    file.sync_data()?;
    std::fs::rename(&new, dir.join(RECORD))?;
    File::open(dir)?.sync_all()?;
    dir.parent().map_or(Ok(()), |all| File::open(all)?.sync_all())
}
