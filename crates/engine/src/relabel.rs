//! SELinux labels for files of the host that containers are given (`-v …:z`, `:Z`).
//!
//! Nothing is done where SELinux is off. Where it is on, everything below a source gets a label that containers may use: the
//! policy's for their files, for `Z` with the container's own categories.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use loment_monitor::volume_mounts::is_bound;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, lsetxattr, openat2};
use rustix::io::Errno;

use crate::config::{Config, Relabel, Security};
use crate::error::{Context, invalid};
use crate::{Engine, Error};

/// Where the label of a file is.
const ATTRIBUTE: &str = "security.selinux";
/// What is said where the policy says nothing.
const LABEL: &str = "system_u:object_r:container_file_t:s0";
/// Where a policy says what containers are labelled with; the last has the policy's name in it.
const CONTEXTS: [&str; 2] =
    ["/usr/share/containers/selinux/contexts", "/etc/selinux/{}/contexts/lxc_contexts"];
/// What the machine itself lives from: it would not boot again.
const NEVER: [&str; 23] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
];

/// Whether labels mean something for this container, here.
fn counts(security: &Security) -> bool {
    !security.privileged
        && !security.labels.iter().any(|label| label == "disable")
        && loment_runtime::has_selinux()
}

/// Refuses what cannot be labelled, and chooses the categories of a container that is to have files of its own.
pub(crate) fn prepare(config: &mut Config) -> Result<(), Error> {
    if !counts(&config.security) {
        return Ok(());
    }
    let of_process =
        |label: &&String| ["user:", "role:", "type:", "nested"].iter().any(|part| label.starts_with(part));
    if let Some(label) = config.security.labels.iter().find(of_process) {
        return Err(invalid(
            "security option label",
            label,
            "programs of containers have no SELinux label yet",
        ));
    }
    for volume in
        config.files.volumes.iter().filter(|volume| volume.relabel.is_some() && volume.volume.is_none())
    {
        may_be_labelled(&volume.source)?;
    }
    let is_private = config.files.volumes.iter().any(|volume| volume.relabel == Some(Relabel::Private));
    if is_private && !config.security.labels.iter().any(|label| label.starts_with("level:")) {
        let level = level(&config.id);
        config.security.labels.push(format!("level:{level}"));
    }
    Ok(())
}

/// What a path leads to, if that is no directory of the system.
fn may_be_labelled(source: &Path) -> Result<PathBuf, Error> {
    let found = std::fs::canonicalize(source).context("find", source.display())?;
    if is_system(&found) {
        let hint = "SELinux relabeling of this is not allowed: mount it without z or Z";
        return Err(invalid("volume", found.display().to_string(), hint));
    }
    Ok(found)
}

/// Whether it is a directory of the system, which is not changed as a whole for a container.
pub(crate) fn is_system(path: &Path) -> bool {
    NEVER.iter().any(|never| Path::new(never) == path)
}

/// Two of the 1024 categories that a policy has, by the id, which is random.
fn level(id: &str) -> String {
    let digits =
        |from: usize| id.get(from..from + 8).and_then(|d| u32::from_str_radix(d, 16).ok()).unwrap_or(0);
    let (one, other) = (digits(0) % 1024, digits(8) % 1023);
    let other = other + u32::from(other >= one);
    format!("s0:c{},c{}", one.min(other), one.max(other))
}

impl Engine {
    /// Labels what a container is to be given labelled.
    pub(crate) fn relabel(&self, config: &Config) -> Result<(), Error> {
        let all = config.files.volumes.iter().filter_map(|volume| Some((volume, volume.relabel?)));
        let all: Vec<_> = all.collect();
        if all.is_empty() || !counts(&config.security) {
            return Ok(());
        }
        let mut sources = Vec::new();
        for (volume, how) in all {
            let stored =
                volume.volume.as_ref().map(|used| self.read_volume(&used.name)).transpose()?.flatten();
            match stored.and_then(|stored| self.volume_mount(&stored)) {
                // A volume may be a directory of the host, which is labelled like one that is mounted itself.
                Some(mount) if is_bound(&mount.kind, &mount.options) => {
                    sources.push((may_be_labelled(&mount.device)?, how));
                }
                // Another file system has labels of its own: o=context=….
                Some(_) => {}
                None => sources.push((may_be_labelled(&volume.source)?, how)),
            }
        }
        label(config, &sources)
    }
}

fn label(config: &Config, sources: &[(PathBuf, Relabel)]) -> Result<(), Error> {
    let said = |part: &str| config.security.labels.iter().rev().find_map(|label| label.strip_prefix(part));
    let of_policy = of_policy();
    for (found, how) in sources {
        let level = match how {
            Relabel::Shared => None,
            Relabel::Private => said("level:"),
        };
        let label = with(&of_policy, said("filetype:"), level);
        label_tree(found, ATTRIBUTE, &label).context("give an SELinux label to", found.display())?;
    }
    Ok(())
}

/// The label of containers' files in this machine's policy.
fn of_policy() -> String {
    let config = std::fs::read_to_string("/etc/selinux/config").unwrap_or_default();
    let policy =
        config.lines().find_map(|line| line.trim().strip_prefix("SELINUXTYPE=")).unwrap_or("targeted").trim();
    let found = CONTEXTS.iter().find_map(|path| {
        let text = std::fs::read_to_string(path.replace("{}", policy)).ok()?;
        let value =
            text.lines().find_map(|line| line.trim().strip_prefix("file")?.trim().strip_prefix('='))?;
        Some(value.trim().trim_matches('"').to_owned())
    });
    found.unwrap_or_else(|| LABEL.to_owned())
}

/// A label with another type and level.
fn with(label: &str, kind: Option<&str>, level: Option<&str>) -> String {
    let mut parts: Vec<&str> = label.splitn(4, ':').collect();
    if let (Some(part), Some(kind)) = (parts.get_mut(2), kind) {
        *part = kind;
    }
    if let (Some(part), Some(level)) = (parts.get_mut(3), level) {
        *part = level;
    }
    parts.join(":")
}

/// Sets an attribute of `top` and everything below. No link is followed, whatever happens there meanwhile, and what goes
/// meanwhile is left out; so are file systems without such attributes.
fn label_tree(top: &Path, attribute: &str, value: &str) -> io::Result<()> {
    let set = |path: &Path| match lsetxattr(path, attribute, value.as_bytes(), XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(io::Error::from(e)),
    };
    set(top)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match rustix::fs::openat(CWD, top, flags, Mode::empty()) {
        Err(Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let mut left = vec![PathBuf::from(".")];
    while let Some(path) = left.pop() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let dir = match openat2(&root, &path, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => other?,
        };
        let handle = PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
            set(&handle.join(name))?;
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                left.push(path.join(name));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_another_type_and_level() {
        assert_eq!(with(LABEL, Some("x_t"), None), "system_u:object_r:x_t:s0");
        assert_eq!(with(LABEL, None, Some("s0:c1,c2")), "system_u:object_r:container_file_t:s0:c1,c2");
        assert_eq!(with("a:b:c:s0:c1", None, Some("s0")), "a:b:c:s0");
        assert_eq!(level("000000010000000100"), "s0:c1,c2");
        assert_eq!(level("ffffffff00000000ff"), "s0:c0,c1023");
    }

    #[test]
    fn everything_below_is_labelled_and_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::create_dir(&other).unwrap();
        for file in [top.join("f"), top.join("a/b/f"), other.join("f")] {
            std::fs::write(file, "").unwrap();
        }
        std::os::unix::fs::symlink(&other, top.join("a/link")).unwrap();
        let name = "trusted.loment-test";
        label_tree(&top, name, "x").unwrap();
        label_tree(&top.join("f"), name, "y").unwrap();
        let label = |path: &str| {
            let mut value = [0; 8];
            rustix::fs::lgetxattr(dir.path().join(path), name, &mut value).map(|n| value[..n].to_vec()).ok()
        };
        for path in ["top", "top/a", "top/a/b", "top/a/b/f", "top/a/link"] {
            assert_eq!(label(path).as_deref(), Some(&b"x"[..]), "{path}");
        }
        assert_eq!(label("top/f").as_deref(), Some(&b"y"[..]));
        assert_eq!((label("other"), label("other/f")), (None, None));
    }
}
