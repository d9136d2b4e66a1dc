//! The SELinux context of the file systems that are made for a container (runtime-spec, config-linux.md, "Mount Label").
//!
//! Engines leave it out where SELinux is off. A configuration that has it there was made for another machine, and is refused as
//! one that has a label for its process is: runc's mounts fail then, crun leaves the label away without a word.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use oci_spec::runtime::Linux;
use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, openat};
use rustix::io::Errno;

use crate::Error;
use crate::error::invalid;
use crate::labels::{has_selinux, unknown};
use crate::options::Options;

/// crun's annotation: which of SELinux' options the label is for.
const ANNOTATION: &str = "run.oci.mount_context_type";
/// Those options (mount(8), "Mount options for SELinux").
pub(crate) const KEYS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
/// Where the label of a file is.
const ATTRIBUTE: &str = "security.selinux";

/// The label, and the option that takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountLabel {
    key: &'static str,
    label: String,
}

/// How a file system takes its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// As an option.
    Option,
    /// As an attribute of its top directory: it has no options.
    Attribute,
    /// It has one from the policy, or is not made for the container.
    No,
}

fn how(kind: &str) -> How {
    match kind {
        "bind" | "proc" | "sysfs" | "cgroup" | "cgroup2" => How::No,
        "mqueue" => How::Attribute,
        _ => How::Option,
    }
}

impl MountLabel {
    /// Takes a specification's.
    ///
    /// # Errors
    /// [`Error::Invalid`] where SELinux is not enabled: files that are believed to be kept from others must not be open to them.
    pub(crate) fn new(
        linux: &Linux,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Option<Self>, Error> {
        let kind = annotations.and_then(|a| a.get(ANNOTATION)).map(String::as_str);
        let label = Self::parse(linux.mount_label().as_deref().unwrap_or_default(), kind)?;
        match label {
            Some(Self { label, .. }) if !has_selinux() => {
                let reason = format!("SELinux is not enabled here, so label {label:?} cannot be applied");
                Err(invalid("linux.mountLabel", reason))
            }
            other => Ok(other),
        }
    }

    fn parse(label: &str, kind: Option<&str>) -> Result<Option<Self>, Error> {
        if label.is_empty() {
            return Ok(None);
        }
        if label.contains(['\0', '"']) {
            return Err(invalid("linux.mountLabel", format!("{label:?} is not a label")));
        }
        let key = kind.map_or(Some("context"), |kind| KEYS.into_iter().find(|key| *key == kind));
        let field = || format!("annotation {ANNOTATION}");
        let key = key.ok_or_else(|| invalid(field(), format!("use one of {}", KEYS.join(", "))))?;
        Ok(Some(Self { key, label: label.to_owned() }))
    }

    /// Adds the label to the options of a file system that takes it there. One of its own stays.
    pub(crate) fn add_to(&self, kind: &str, options: &mut Options) {
        let has = options.data.iter().any(|(key, _)| excludes(key, self.key));
        if how(kind) == How::Option && !has {
            options.data.push((self.key.to_owned(), Some(self.label.clone())));
        }
    }

    /// Labels the top of a file system that takes it there.
    pub(crate) fn label_top(&self, kind: &str, mount: impl AsFd) -> io::Result<()> {
        if how(kind) != How::Attribute {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(mount, ".", flags, Mode::empty())?;
        Ok(fsetxattr(&top, ATTRIBUTE, self.label.as_bytes(), XattrFlags::empty())?)
    }
}

/// Whether a mount can have only one of these: a context for all files leaves no default for some (`selinux_add_opt` in the
/// kernel's security/selinux/hooks.c).
fn excludes(one: &str, other: &str) -> bool {
    one == other || matches!((one, other), ("context", "defcontext") | ("defcontext", "context"))
}

/// The kernel's "invalid argument" for an option that is a label.
pub(crate) fn explain(key: &str, value: &str, error: Errno) -> io::Error {
    match error {
        Errno::INVAL if KEYS.contains(&key) => io::Error::other(format!("{key}={value}: {}", unknown())),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "system_u:object_r:svirt_sandbox_file_t:s0:c715,c811";

    fn data(kind: &str, annotation: Option<&str>, options: &[&str]) -> Vec<(String, Option<String>)> {
        let label = MountLabel::parse(LABEL, annotation).unwrap().unwrap();
        let mut options = Options::parse(&options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
        label.add_to(kind, &mut options);
        options.data
    }

    fn option(key: &str, value: &str) -> (String, Option<String>) {
        (key.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn file_systems_that_are_made_get_the_label_as_an_option() {
        for kind in ["tmpfs", "devpts", "overlay", "ext4", "ramfs"] {
            assert_eq!(
                data(kind, None, &["mode=755"]),
                [option("mode", "755"), option("context", LABEL)],
                "{kind}"
            );
        }
        for kind in ["bind", "proc", "sysfs", "cgroup", "cgroup2", "mqueue"] {
            assert_eq!(data(kind, None, &[]), [], "{kind}");
        }
    }

    #[test]
    fn a_mount_may_have_a_label_of_its_own() {
        let own = [option("context", "a:b:c:s0")];
        assert_eq!(data("tmpfs", None, &["context=\"a:b:c:s0\""]), own);
        assert_eq!(data("tmpfs", None, &["context=a:b:c:s0"]), own);
        assert_eq!(data("tmpfs", Some("rootcontext"), &["context=a:b:c:s0"]).len(), 2);
        assert_eq!(data("ext4", None, &["defcontext=a:b:c:s0"]), [option("defcontext", "a:b:c:s0")]);
    }

    #[test]
    fn an_annotation_chooses_the_option() {
        for key in KEYS {
            assert_eq!(data("tmpfs", Some(key), &[]), [option(key, LABEL)]);
        }
        let error = MountLabel::parse(LABEL, Some("seclabel")).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid annotation run.oci.mount_context_type: use one of context,"),
            "{error}"
        );
        // Nothing reads it where there is no label.
        assert_eq!(MountLabel::parse("", Some("seclabel")).unwrap(), None);
        assert!(MountLabel::parse("a\"b", None).is_err());
    }

    #[test]
    fn only_a_message_queue_is_labelled_at_its_top() {
        let label = MountLabel { key: "context", label: LABEL.to_owned() };
        let dir = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        label.label_top("tmpfs", &fd).unwrap();
        // Without SELinux the attribute is one like others, where the file system of the test keeps such at all.
        match label.label_top("mqueue", &fd) {
            Ok(()) => {
                let mut value = [0; 100];
                let length = rustix::fs::fgetxattr(&fd, ATTRIBUTE, &mut value).unwrap();
                assert_eq!(&value[..length], LABEL.as_bytes());
            }
            Err(e) => assert_eq!(e.raw_os_error(), Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()), "{e}"),
        }
    }
}
