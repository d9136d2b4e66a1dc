//! Making a container from what was saved of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use loment_cgroup::Cgroup;
use loment_runtime::checkpoint::{Criu, Images, Restore, restore};
use loment_runtime::{Created, Description, Plan};
use loment_sys::clone::{CloneFlags, unshare};
use oci_spec::runtime::{MountBuilder, Spec};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::Pid;

use super::Ends;
use crate::Error;
use crate::error::Context;
use crate::launch::{Place, Saved};
use crate::mounts::place as attach;

/// The directory, in a container's run directory, of what CRIU finds by path. On `scratch`, layers may be mounted.
const PLACES: &str = "restore";

/// What a container is made from, besides.
pub(super) struct From<'a> {
    pub(super) saved: &'a Saved,
    pub(super) plan: &'a Plan,
    pub(super) description: &'a Description<'a>,
    /// Its root file system.
    pub(super) tree: &'a OwnedFd,
    pub(super) group: &'a Cgroup<'a>,
    /// Its streams, unless it has a terminal.
    pub(super) ends: Option<&'a Ends>,
    pub(super) place: &'a Place,
    /// Mounts of other containers, which the specification names as [`name_shared`] has done it.
    pub(super) shared: &'a [(PathBuf, OwnedFd)],
}

/// Has a specification mount what a container shares with others from where it is put by [`make`]: CRIU wants paths.
pub(super) fn name_shared(
    spec: &mut Spec,
    shared: &[(PathBuf, OwnedFd)],
    place: &Place,
) -> Result<(), Error> {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for (n, (destination, _)) in shared.iter().enumerate() {
        let mount = MountBuilder::default().destination(destination).typ("bind").source(source(place, n));
        let mount = mount.build().map_err(std::io::Error::other);
        mounts.push(mount.context("describe the mount on", destination.display())?);
    }
    spec.set_mounts(Some(mounts));
    Ok(())
}

fn source(place: &Place, n: usize) -> PathBuf {
    place.run_dir.join(PLACES).join(format!("shared-{n}"))
}

/// Makes it. Its first process is this one's child, and its monitor's when this ends.
pub(super) fn make(
    from: &From<'_>,
    restored: &mut dyn FnMut(Pid) -> Result<(), Error>,
) -> Result<Created, Error> {
    if let Some([input, output, error]) = from.ends {
        // What were pipes are given these.
        let installed = rustix::stdio::dup2_stdin(input)
            .and_then(|()| rustix::stdio::dup2_stdout(output))
            .and_then(|()| rustix::stdio::dup2_stderr(error));
        installed.context("install", "standard streams")?;
    }
    // CRIU wants paths; nobody else sees these mounts.
    unshare(CloneFlags::NEWNS).context("make", "a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("make private", "/")?;
    let places = from.place.run_dir.join(PLACES);
    let (root, point) = (places.join("root"), places.join("point"));
    for dir in [&root, &point] {
        std::fs::create_dir_all(dir).context("create", dir.display())?;
    }
    attach(from.tree, CWD, &root).context("mount root file system", root.display())?;
    for (n, (_, tree)) in from.shared.iter().enumerate() {
        let source = source(from.place, n);
        std::fs::create_dir_all(&source).context("create", source.display())?;
        attach(tree, CWD, &source).context("mount", source.display())?;
    }
    let saved = from.saved;
    let environment =
        saved.environment.iter().filter_map(|entry| std::ffi::CString::new(entry.as_str()).ok());
    let criu = Criu::probe(saved.program.clone(), environment.collect())?;
    let images = Images::open(&saved.images, None)?;
    let request = Restore {
        criu: &criu,
        images: &images,
        options: &saved.options,
        plan: from.plan,
        description: from.description,
        rootfs: &root,
        mount_point: &point,
        cgroup: Some(from.group),
        annotations: &[],
        lsm_profile: None,
        lsm_mount_context: None,
    };
    Ok(restore(&request, &mut |created| restored(created.pid).map_err(Into::into))?)
}
