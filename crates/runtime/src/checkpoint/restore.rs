//! Making a container from what was saved.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use loment_cgroup::{Cgroup, Entry};
use loment_sys::clone::CloneFlags;
use loment_sys::wait::wait_exit;
use oci_spec::runtime::{ContainerState, LinuxNamespaceType};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::criu::WITH_PROFILES;
use super::dump::{NETWORK, PIDS};
use super::process::{FIRST_FD, Launch, Process, accept};
use super::protocol::{CgroupRoot, InheritFd, JoinNamespace, Kind, Notification, Opts, Request};
use super::{Cgroups, Criu, Error, Images, Options, descriptors, mounts};
use crate::error::Context;
use crate::{Created, Description, Failure, Plan, helper, hooks};

/// The name is runc's and crun's: engines look for it.
const LOG: &str = "restore.log";

/// A container to make from a checkpoint.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The program.
    pub criu: &'a Criu,
    /// Where from.
    pub images: &'a Images,
    /// What of it.
    pub options: &'a Options,
    /// What the container is made from, besides.
    pub plan: &'a Plan,
    /// What hooks are told of it; its id names its session keyring.
    pub description: &'a Description<'a>,
    /// Its root file system on the host.
    pub rootfs: &'a Path,
    /// An existing directory for nothing else: there CRIU finds the root file system.
    pub mount_point: &'a Path,
    /// Its control group, made and limited already unless it is a scope.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// Of its configuration.
    pub annotations: &'a [(&'a str, &'a str)],
    /// `TYPE:NAME` instead of the profile it had (CRIU 3.16).
    pub lsm_profile: Option<&'a str>,
    /// Instead of the context its mounts had (CRIU 3.16).
    pub lsm_mount_context: Option<&'a str>,
}

/// Tells others of a container that is about to run.
pub type HandOver<'a> = dyn FnMut(&Created) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Makes a container from a checkpoint; its streams that were pipes are the caller's own. `restored` is called when its
/// processes are there but do not run yet: the time to write down that they are.
///
/// # Errors
/// [`Error`]; nothing of the container is left but its control group.
pub fn restore(r: &Restore<'_>, restored: &mut HandOver<'_>) -> Result<Created, Error> {
    if r.lsm_profile.is_some() {
        r.criu.require(WITH_PROFILES, "--lsm-profile")?;
    }
    if r.lsm_mount_context.is_some() {
        r.criu.require(WITH_PROFILES, "--lsm-mount-context")?;
    }
    if r.options.network_lock.is_some() {
        r.criu.require(WITH_PROFILES, "--network-lock")?;
    }
    r.criu.require_features(false, r.options.lazy_pages)?;
    let entry = r.cgroup.map_or_else(|| Ok(Entry::default()), Cgroup::entry)?;
    let namespaces = Joined::open(r.plan)?;
    let mut opts = request(r, &namespaces)?;
    r.images.forget_log(LOG);
    let fds: Vec<BorrowedFd<'_>> = namespaces.files.iter().map(AsFd::as_fd).collect();
    let launch = Launch {
        our_streams: true,
        images: Some(r.images),
        fds: &fds,
        entry: Some(&entry),
        root: Some((r.rootfs, r.mount_point)),
        private: false,
        keyring: Some(r.description.id()),
    };
    let process = Process::start(r.criu, &launch)?;
    let pid = process.pid.as_raw_nonzero().get();
    if let Some(group) = r.cgroup {
        group.place(pid, &r.plan.resources, r.plan.cgroup_owner())?;
    }
    opts.cg_root = roots(pid)?;
    let request = Request { opts: Some(opts), ..Request::of(Kind::Restore) };
    let mut made = Making { r, restored, terminal: None, created: None };
    let answer = process.ask(&request, &mut |n, fds| made.answer(n, fds));
    let accepted = accept(r.criu, r.images, answer, ("restore", LOG), "");
    match (accepted, made.created.take()) {
        (Ok(_), Some(created)) => Ok(created),
        (Ok(_), None) => Err(Failure::unexpected("restore", "the container's first process").into()),
        (Err(e), created) => {
            if let Some(created) = created {
                let _ = loment_sys::process::pidfd_signal(created.pidfd.as_fd(), 9);
                let _ = wait_exit(&created.pidfd);
            }
            Err(e)
        }
    }
}

fn request(r: &Restore<'_>, namespaces: &Joined) -> Result<Opts, Error> {
    mounts::make_places(r.plan, r.rootfs)?;
    let mut options = r.options.clone();
    if r.cgroup.is_none() {
        // It stays in ours.
        options.cgroups = Cgroups::Ignore;
    }
    let mut inherit_fd = namespaces.inherited.clone();
    inherit_fd.extend(descriptors::inherited(r.images)?);
    Ok(Opts {
        root: r.mount_point.to_str().map(str::to_owned),
        rst_sibling: Some(true),
        evasive_devices: Some(true),
        ext_mnt: mounts::of_new(r.plan, r.rootfs, r.cgroup.map(|g| g.path().as_str()))?,
        join_ns: namespaces.joined.clone(),
        inherit_fd,
        lsm_profile: r.lsm_profile.map(str::to_owned),
        lsm_mount_context: r.lsm_mount_context.map(str::to_owned),
        ..options.request(LOG, r.annotations)
    })
}

/// The namespaces of somebody else's that the container is restored into.
#[derive(Default)]
struct Joined {
    files: Vec<File>,
    /// Those that CRIU opens by name.
    named: Vec<File>,
    inherited: Vec<InheritFd>,
    joined: Vec<JoinNamespace>,
}

impl Joined {
    fn open(plan: &Plan) -> Result<Self, Error> {
        let mut out = Self::default();
        for join in &plan.namespaces.join {
            let file = descriptors::open_namespace(&join.path)?;
            let name = match join.kind {
                LinuxNamespaceType::Network => Err(NETWORK),
                LinuxNamespaceType::Pid => Err(PIDS),
                LinuxNamespaceType::Uts => Ok("uts"),
                LinuxNamespaceType::Ipc => Ok("ipc"),
                LinuxNamespaceType::User => Ok("user"),
                LinuxNamespaceType::Time => Ok("time"),
                // CRIU cannot.
                LinuxNamespaceType::Cgroup | LinuxNamespaceType::Mount => {
                    return Err(Error::Namespace { kind: join.kind.to_string() });
                }
            };
            match name {
                Ok(ns) => {
                    // What it is called here, it may not be called there.
                    let ns_file = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
                    out.joined.push(JoinNamespace { ns: ns.to_owned(), ns_file });
                    out.named.push(file);
                }
                Err(key) => {
                    out.inherited
                        .push(InheritFd { key: key.to_owned(), fd: FIRST_FD + out.files.len() as i32 });
                    out.files.push(file);
                }
            }
        }
        Ok(out)
    }
}

/// Where the program's own groups are: there the container's begin (cgroups(7), "/proc/[pid]/cgroup").
fn roots(pid: i32) -> Result<Vec<CgroupRoot>, Failure> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).context("read", path)?;
    Ok(text.lines().flat_map(root_of_line).collect())
}

fn root_of_line(line: &str) -> Vec<CgroupRoot> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let root = |name: &str| CgroupRoot { ctrl: Some(name.to_owned()), path: path.to_owned() };
    controllers.split(',').map(root).collect()
}

/// A container on its way.
struct Making<'a, 'r, 'f> {
    r: &'a Restore<'r>,
    restored: &'a mut HandOver<'f>,
    terminal: Option<OwnedFd>,
    created: Option<Created>,
}

impl Making<'_, '_, '_> {
    fn answer(&mut self, n: &Notification, mut fds: Vec<OwnedFd>) -> Result<(), Error> {
        let pid = || n.pid.and_then(Pid::from_raw).ok_or_else(|| Failure::unexpected("hear from", "criu"));
        match n.script.as_deref().unwrap_or_default() {
            "setup-namespaces" => self.set_up_namespaces(pid()?)?,
            "orphan-pts-master" => self.terminal = fds.pop(),
            "post-restore" => {
                let pid = pid()?;
                let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("open", "the restored process")?;
                mounts::protect_nodes(self.r.plan, pidfd.as_fd())?;
                let created = Created { pid, pidfd, terminal: self.terminal.take(), moved: None };
                let told = (self.restored)(&created).map_err(|source| Error::HandOver { source });
                self.created = Some(created);
                told?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the creator of a new container does for it: CRIU leaves networks and hooks to us.
    fn set_up_namespaces(&self, pid: Pid) -> Result<(), Error> {
        if self.r.plan.makes(CloneFlags::NEWNET) {
            bring_up_loopback(pid)?;
        }
        let (hooks, bundle) = (&self.r.plan.hooks, self.r.description.bundle());
        let state = self.r.description.json(ContainerState::Creating, pid.as_raw_nonzero().get());
        Ok(hooks::run_all(&hooks.create_runtime, &hooks.output, &state, bundle, &|| Ok(()))?)
    }
}

fn bring_up_loopback(pid: Pid) -> Result<(), Failure> {
    let path = PathBuf::from(format!("/proc/{}/ns/net", pid.as_raw_nonzero()));
    helper::in_child("bring up", "the loopback interface", || {
        let namespace = File::open(&path).context("open", path.display())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("join", path.display())?;
        loment_sys::net::loopback_up().context("bring up", "the loopback interface")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_every_hierarchy_are_named_as_criu_does() {
        let root = |c: &str, p: &str| CgroupRoot { ctrl: Some(c.into()), path: p.into() };
        assert_eq!(root_of_line("4:cpu,cpuacct:/a:b"), [root("cpu", "/a:b"), root("cpuacct", "/a:b")]);
        assert_eq!(root_of_line("1:name=systemd:/x"), [root("name=systemd", "/x")]);
        assert_eq!(root_of_line("0::/x"), [root("", "/x")]);
        assert!(root_of_line("garbage").is_empty());
    }
}
