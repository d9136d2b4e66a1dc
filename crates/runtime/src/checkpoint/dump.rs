//! Saving a container's processes.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use loment_cgroup::Cgroup;
use oci_spec::runtime::LinuxNamespaceType;
use rustix::process::Pid;

use super::criu::WITH_PROFILES;
use super::process::{Launch, Process};
use super::protocol::{Kind, Notification, Opts, PageServerInfo, Request};
use super::{Criu, Error, Images, Options, PageServer, descriptors, mounts};
use crate::Plan;
use crate::error::Context;

/// The name is runc's and crun's: engines look for it.
const LOG: &str = "dump.log";

/// A container to save.
#[derive(Debug)]
pub struct Dump<'a> {
    /// The program.
    pub criu: &'a Criu,
    /// Where to.
    pub images: &'a Images,
    /// What of it.
    pub options: &'a Options,
    /// What the container was made from.
    pub plan: &'a Plan,
    /// Its first process.
    pub pid: Pid,
    /// Its root file system on the host.
    pub rootfs: &'a Path,
    /// Its control group.
    pub cgroup: Option<&'a Cgroup<'a>>,
    /// Of its configuration.
    pub annotations: &'a [(&'a str, &'a str)],
    /// The earlier memory images that this one adds to, relative to the new ones.
    pub parent: Option<&'a Path>,
    /// Let it go on afterwards.
    pub leave_running: bool,
    /// Save the memory only, while it goes on.
    pub pre_dump: bool,
    /// Send the memory there.
    pub page_server: Option<PageServer>,
}

/// Saves a container. Its processes have ended when this returns, unless they are left running. `lazy` is called when its
/// memory can be fetched, which with [`Options::lazy_pages`] is the end of this.
///
/// # Errors
/// [`Error`]; the container goes on as before.
pub fn checkpoint(dump: &Dump<'_>, lazy: &mut dyn FnMut()) -> Result<(), Error> {
    let Dump { criu, images, options, plan, .. } = *dump;
    if options.network_lock.is_some() {
        criu.require(WITH_PROFILES, "--network-lock")?;
    }
    criu.require_features(dump.pre_dump, options.lazy_pages)?;
    let group = dump.cgroup.map(|g| g.path().as_str());
    let mut opts = Opts {
        pid: Some(dump.pid.as_raw_nonzero().get()),
        root: dump.rootfs.to_str().map(str::to_owned),
        leave_running: Some(dump.leave_running),
        parent_img: dump.parent.map(|parent| images.check_parent(parent)).transpose()?,
        track_mem: (dump.pre_dump || dump.parent.is_some()).then_some(true),
        ps: dump.page_server.as_ref().map(|server| PageServerInfo {
            address: Some(server.address.clone()),
            port: Some(server.port.into()),
        }),
        freeze_cgroup: dump.cgroup.and_then(Cgroup::freezer).and_then(|dir| dir.to_str().map(str::to_owned)),
        external: external_namespaces(plan)?,
        ..options.request(LOG, dump.annotations)
    };
    let kind = if dump.pre_dump {
        Kind::PreDump
    } else {
        opts.ext_mnt = mounts::of_running(plan, dump.pid, group)?;
        descriptors::save(images, dump.pid)?;
        images.admit(plan)?;
        Kind::Dump
    };
    images.forget_log(LOG);
    // Processes that are restored in a user namespace open these files with no other rights than theirs: see `admit`.
    let private = !plan.in_user_namespace();
    let process = Process::start(criu, &Launch { images: Some(images), private, ..Launch::default() })?;
    let mut notified = |n: &Notification, _: Vec<OwnedFd>| {
        if n.script.as_deref() == Some("status-ready") {
            lazy();
        }
        Ok(())
    };
    let answer = process.ask(&Request { opts: Some(opts), ..Request::of(kind) }, &mut notified);
    let operation = if dump.pre_dump { "pre-dump" } else { "checkpoint" };
    super::process::accept(criu, images, answer, (operation, LOG), &process.said()).map(drop)
}

/// Network and pid namespaces of somebody else's are left to them: `KIND[INODE]:NAME`.
fn external_namespaces(plan: &Plan) -> Result<Vec<String>, Error> {
    let mut out = Vec::new();
    for (kind, name, key) in
        [(LinuxNamespaceType::Network, "net", NETWORK), (LinuxNamespaceType::Pid, "pid", PIDS)]
    {
        let Some(join) = plan.namespaces.joined(kind) else { continue };
        let inode = std::fs::metadata(&join.path).context("look at namespace", join.path.display())?.ino();
        out.push(format!("{name}[{inode}]:{key}"));
    }
    Ok(out)
}

/// Under these names runc and crun save what namespaces a container has joined.
pub(super) const NETWORK: &str = "extRootNetNS";
pub(super) const PIDS: &str = "extRootPidNS";
