//! What is done to a container's own files before its program starts.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use loment_runtime::{InRoot, UserNamespace};
use oci_spec::runtime::{Mount, MountBuilder};
use rustix::fs::{AtFlags, FileType};

use crate::Error;
use crate::accounts::{Accounts, missing};
use crate::error::Context;
use crate::launch::{Body, OwnHosts, Place, Rootfs};
use crate::{owner, user};

/// Does it. A directory of the host's stays as it is: what it lacks is mounted over it.
pub(super) fn complete(
    launch: &mut Body,
    place: &Place,
    root: &InRoot,
    users: Option<&UserNamespace>,
) -> Result<(), Error> {
    let writable = !matches!(launch.rootfs, Rootfs::Directory { .. });
    if writable {
        let localtime = place.run_dir.join("localtime");
        if launch.spec.mounts().iter().flatten().any(|m| m.source().as_ref() == Some(&localtime)) {
            // A mount over it would hide the zone that it names.
            owner::act(users, || remove_link(root, "etc", "localtime"))
                .context("remove", "/etc/localtime")?;
        }
    }
    if let Some(OwnHosts { before, after }) = launch.hosts.take() {
        let path = place.run_dir.join("hosts");
        let own = user::read(root, "/etc/hosts");
        let end = if own.is_empty() || own.ends_with('\n') { "" } else { "\n" };
        write(&path, &[&before, &own, end, &after].concat(), users).context("write", path.display())?;
    }
    let accounts = launch.accounts.take().filter(|accounts| accounts.concern(&launch.user));
    let Some(accounts) = accounts else { return Ok(()) };
    for (name, file, lines) in lacking(launch, &accounts, root) {
        let path = Path::new("/etc").join(name);
        if writable {
            let added = root.append_regular(&path).and_then(|mut opened| opened.write_all(lines.as_bytes()));
            added.context("add a line to", path.display())?;
        } else {
            let copy = place.run_dir.join(name);
            write(&copy, &(file + &lines), users).context("write", copy.display())?;
            let mut mounts = launch.spec.mounts().clone().unwrap_or_default();
            mounts.push(bind(&copy, &path).map_err(io::Error::other).context("mount", copy.display())?);
            launch.spec.set_mounts(Some(mounts));
        }
    }
    Ok(())
}

/// The files of accounts that lack lines: name, text, lines. One that is not there is not made, and what is mounted there is somebody
/// else's.
fn lacking(launch: &Body, accounts: &Accounts, root: &InRoot) -> Vec<(&'static str, String, String)> {
    let mounts: Vec<&Path> =
        launch.spec.mounts().iter().flatten().map(|m| m.destination().as_path()).collect();
    let is_own = |path: &str| {
        root.open_regular(Path::new(path)).is_ok() && !mounts.iter().any(|m| Path::new(path).starts_with(m))
    };
    let workdir = launch.spec.process().as_ref().map(|p| p.cwd().display().to_string()).unwrap_or_default();
    let has = |dir: &str| {
        let dir = Path::new(dir);
        mounts.contains(&dir) || root.open_dir(dir).is_ok()
    };
    let (passwd, group) = (user::read(root, "/etc/passwd"), user::read(root, "/etc/group"));
    let (users, groups) = missing(accounts, &launch.user, &workdir, (&passwd, &group), has);
    let all = [("passwd", "/etc/passwd", passwd, users), ("group", "/etc/group", group, groups)];
    let wanted = all.into_iter().filter(|(_, path, _, lines)| !lines.is_empty() && is_own(path));
    wanted.map(|(name, _, file, lines)| (name, file, lines)).collect()
}

/// Removes a name if it is a link.
fn remove_link(root: &InRoot, dir: &str, name: &str) -> io::Result<()> {
    let Ok(dir) = root.open_dir(Path::new(dir)) else { return Ok(()) };
    match rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            Ok(rustix::fs::unlinkat(&dir, name, AtFlags::empty())?)
        }
        _ => Ok(()),
    }
}

/// Writes a file that everybody in the container may read and its superuser may change.
fn write(path: &Path, text: &str, users: Option<&UserNamespace>) -> io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    users.map_or(Ok(()), |users| chown(path, Some(users.root.0), Some(users.root.1)))
}

fn bind(source: &Path, destination: &Path) -> Result<Mount, oci_spec::OciSpecError> {
    let options = ["bind", "rprivate", "nosuid", "nodev"].map(str::to_owned).to_vec();
    MountBuilder::default()
        .destination(destination)
        .typ("bind")
        .source(PathBuf::from(source))
        .options(options)
        .build()
}
