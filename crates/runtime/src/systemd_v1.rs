//! `run.oci.systemd.force_cgroup_v1`: for a systemd in the container that knows cgroup v1 only, the hierarchy by which it keeps
//! track of processes, and no other, in place of one of the container's mounts.

use std::io;
use std::path::Path;

use loment_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, MountAttr};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};

use crate::annotations::{SYSTEMD_V1, named};
use crate::attributes::{attach_changed, change};
use crate::mount_label::MountLabel;
use crate::mounts::{attach, directory_target, new_filesystem};
use crate::namespaces::Namespaces;
use crate::options::Options;
use crate::plan::MountPlan;
use crate::{Error, InRoot};

/// Its place in the mount; systemd's own.
const NAME: &str = "systemd";

/// Has the mount on `path` be that hierarchy.
///
/// # Errors
/// [`Error::Invalid`] names the annotation.
pub(crate) fn replace(mounts: &mut [MountPlan], path: &Path, namespaces: &Namespaces) -> Result<(), Error> {
    let fail = |reason: String| Err(named(SYSTEMD_V1, reason));
    let Some(mount) = mounts.iter_mut().find(|m| m.destination == path) else {
        return fail(format!("there is no mount on {}", path.display()));
    };
    if !namespaces.have(LinuxNamespaceType::Cgroup) {
        return fail(
            "it needs a cgroup namespace, without which the host's groups would be mounted".to_owned(),
        );
    }
    // To mount one that the host does not have would make it for the host.
    let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if !memberships.lines().any(|line| line.contains(":name=systemd:")) {
        return fail("this machine has no cgroup v1 hierarchy name=systemd: mount it first".to_owned());
    }
    mount.kind = "cgroup".to_owned();
    mount.source = "cgroup".into();
    (mount.systemd_v1, mount.idmap) = (true, None);
    Ok(())
}

/// Makes it: a directory `systemd` in a small tmpfs.
pub(crate) fn mount(root: &InRoot, m: &MountPlan, label: Option<&MountLabel>) -> io::Result<()> {
    let options = |list: &[&str]| Options::parse(&list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
    let target = directory_target(root, m)?;
    let mut place = options(&["mode=755", "size=1024k"]);
    place.attr.set = ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
    if let Some(label) = label {
        label.add_to("tmpfs", &mut place);
    }
    let place = new_filesystem("tmpfs", Path::new("tmpfs"), &place)?;
    attach(&place, &target)?;
    rustix::fs::mkdirat(&place, NAME, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(&place, NAME, flags, Mode::empty())?;
    let hierarchy = options(&["none", "name=systemd", "xattr"]);
    let hierarchy = new_filesystem("cgroup", Path::new("cgroup"), &hierarchy)?;
    attach_changed(&hierarchy, &[(false, m.options.attr)], || attach(&hierarchy, &dir))?;
    let read_only = MountAttr { set: m.options.attr.set & ATTR_RDONLY, ..MountAttr::default() };
    if read_only.is_empty() { Ok(()) } else { change(place.as_fd(), &read_only) }
}
