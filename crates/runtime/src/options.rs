//! Mount options (runtime-spec, config.md, "Linux mount options").

use loment_sys::mount as attr;
use loment_sys::mount::MountAttr;

use crate::mount_label::KEYS;

const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;

/// What the options of one mount ask for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `Some(recursive)` for a bind mount.
    pub(crate) bind: Option<bool>,
    /// Attributes of the mount itself.
    pub(crate) attr: MountAttr,
    /// Attributes of it and all mounts below.
    pub(crate) recursive: MountAttr,
    /// `Some((flag, recursive))`.
    pub(crate) propagation: Option<(u64, bool)>,
    /// Flags of the file system, as fsconfig(2) wants them.
    pub(crate) flags: Vec<&'static str>,
    /// Everything else, for the file system.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// `Some(recursive)`: its files have the owners that the container's user namespace gives them.
    pub(crate) idmap: Option<bool>,
    /// Or the owners that these mappings give them.
    pub(crate) id_mappings: Option<String>,
    /// Fill a tmpfs with what it hides.
    pub(crate) copy_up: bool,
    /// Where the source is a link, make that link instead of a mount.
    pub(crate) copy_link: bool,
    /// Where the source is a link, bind that and not what it leads to.
    pub(crate) source_no_follow: bool,
    /// Where the destination is a link, mount on that and not on what it leads to.
    pub(crate) target_no_follow: bool,
    /// Of control groups: a systemd in the container may write where it keeps track of processes, whatever else may be written.
    pub(crate) systemd: bool,
    /// One that asks for what the kernel cannot do.
    impossible: Option<&'static str>,
}

/// Sets or clears, in a field of which the later option wins.
fn change(a: &mut MountAttr, bits: u64, on: bool) {
    if on {
        a.set |= bits;
        a.clear &= !bits;
    } else {
        a.set &= !bits;
        a.clear |= bits;
    }
}

/// Access-time settings are one field: every change clears it first (mount_setattr(2)).
fn access_time(a: &mut MountAttr, value: u64) {
    a.set = a.set & !attr::ATTR_ATIME_MASK | value;
    a.clear |= attr::ATTR_ATIME_MASK;
}

/// The option's effect on attributes; `false` when it is none of these.
fn attribute(a: &mut MountAttr, name: &str) -> bool {
    match name {
        "ro" => change(a, attr::ATTR_RDONLY, true),
        "rw" => change(a, attr::ATTR_RDONLY, false),
        "suid" => change(a, attr::ATTR_NOSUID, false),
        "nosuid" => change(a, attr::ATTR_NOSUID, true),
        "dev" => change(a, attr::ATTR_NODEV, false),
        "nodev" => change(a, attr::ATTR_NODEV, true),
        "exec" => change(a, attr::ATTR_NOEXEC, false),
        "noexec" => change(a, attr::ATTR_NOEXEC, true),
        "diratime" => change(a, attr::ATTR_NODIRATIME, false),
        "nodiratime" => change(a, attr::ATTR_NODIRATIME, true),
        "symfollow" => change(a, attr::ATTR_NOSYMFOLLOW, false),
        "nosymfollow" => change(a, attr::ATTR_NOSYMFOLLOW, true),
        "noatime" => access_time(a, attr::ATTR_NOATIME),
        "strictatime" => access_time(a, attr::ATTR_STRICTATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => access_time(a, attr::ATTR_RELATIME),
        _ => return false,
    }
    true
}

impl Options {
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut o = Self::default();
        for text in options {
            o.add(text);
        }
        o
    }

    fn add(&mut self, text: &str) {
        if attribute(&mut self.attr, text) {
            return;
        }
        match text {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "shared" | "rshared" => self.propagation = Some((MS_SHARED, text.starts_with('r'))),
            "slave" | "rslave" => self.propagation = Some((MS_SLAVE, text.starts_with('r'))),
            "private" | "rprivate" => self.propagation = Some((MS_PRIVATE, text.starts_with('r'))),
            "unbindable" | "runbindable" => self.propagation = Some((MS_UNBINDABLE, text.starts_with('r'))),
            "sync" => self.flags.push("sync"),
            "dirsync" => self.flags.push("dirsync"),
            "lazytime" => self.flags.push("lazytime"),
            "mand" => self.flags.push("mand"),
            "silent" => self.flags.push("silent"),
            "tmpcopyup" => self.copy_up = true,
            "systemd" => self.systemd = true,
            "copy-symlink" => self.copy_link = true,
            "src-nofollow" => self.source_no_follow = true,
            "dest-nofollow" => self.target_no_follow = true,
            // They belong to a file system, not to a mount (mount_setattr(2)).
            "rsync" => self.impossible = Some("rsync"),
            "rdirsync" => self.impossible = Some("rdirsync"),
            "rmand" => self.impossible = Some("rmand"),
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            // The kernel's defaults; `remount` of a mount we make is the mount itself.
            "defaults" | "async" | "nolazytime" | "nomand" | "loud" | "iversion" | "noiversion"
            | "remount" | "rasync" | "rnomand" => {}
            other => match other.strip_prefix('r') {
                Some(name) if attribute(&mut self.recursive, name) => {}
                _ if self.take_mappings(other) => {}
                _ => self.data.push(match other.split_once('=') {
                    // The quotes are for mount(8), which splits options at commas.
                    Some((key, value)) if KEYS.contains(&key) => {
                        (key.to_owned(), Some(value.trim_matches('"').to_owned()))
                    }
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (other.to_owned(), None),
                }),
            },
        }
    }
}

impl Options {
    /// `idmap=MAPPINGS` and `ridmap=MAPPINGS`.
    fn take_mappings(&mut self, text: &str) -> bool {
        let (name, mappings) = text.split_once('=').unwrap_or_default();
        if !["idmap", "ridmap"].contains(&name) {
            return false;
        }
        self.idmap = Some(name == "ridmap");
        self.id_mappings = Some(mappings.to_owned());
        true
    }

    /// Whether they make sense together, for a bind mount or another.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self, is_bind: bool) -> Result<(), String> {
        let links = [
            (self.copy_link, "copy-symlink"),
            (self.source_no_follow, "src-nofollow"),
            (self.target_no_follow, "dest-nofollow"),
        ];
        if let Some(name) = self.impossible {
            return Err(format!("option {name}: the kernel cannot set it for mounts below"));
        }
        match links.into_iter().find(|(given, _)| *given) {
            Some((_, name)) if !is_bind => Err(format!("option {name} is for bind mounts only")),
            Some((_, "copy-symlink")) if self.source_no_follow || self.target_no_follow => {
                Err("option copy-symlink excludes src-nofollow and dest-nofollow".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn later_options_win_and_unknown_ones_go_to_the_file_system() {
        let o =
            parse(&["ro", "nosuid", "rw", "noatime", "strictatime", "mode=755", "size=64k", "newinstance"]);
        assert_eq!(o.attr.set, attr::ATTR_NOSUID | attr::ATTR_STRICTATIME);
        assert_eq!(o.attr.clear, attr::ATTR_RDONLY | attr::ATTR_ATIME_MASK);
        assert_eq!(o.data.len(), 3);
        assert_eq!(o.data[2], ("newinstance".into(), None));
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for bad in [
            &["copy-symlink", "src-nofollow"][..],
            &["dest-nofollow", "copy-symlink"],
            &["rsync"],
            &["rmand"],
        ] {
            assert!(parse(bad).check(true).is_err(), "{bad:?}");
        }
        for links in ["copy-symlink", "src-nofollow", "dest-nofollow"] {
            assert!(parse(&[links]).check(true).is_ok() && parse(&[links]).check(false).is_err(), "{links}");
        }
        assert!(parse(&["src-nofollow", "dest-nofollow", "rasync", "rnomand"]).check(true).is_ok());
    }

    #[test]
    fn mappings_are_those_of_the_mount() {
        let o = parse(&["ridmap=uids=0-1-2;gids=0-1-2"]);
        assert_eq!((o.idmap, o.id_mappings.as_deref()), (Some(true), Some("uids=0-1-2;gids=0-1-2")));
        assert!(o.data.is_empty());
        assert_eq!(parse(&["idmap"]).id_mappings, None);
    }

    #[test]
    fn recursive_forms_are_kept_apart() {
        let o = parse(&["rbind", "rro", "rnosuid", "rslave"]);
        assert_eq!(o.bind, Some(true));
        assert_eq!(o.attr, MountAttr::default());
        assert_eq!(o.recursive.set, attr::ATTR_RDONLY | attr::ATTR_NOSUID);
        assert_eq!(o.propagation, Some((MS_SLAVE, true)));
        // `relatime` and `rw` begin with an r of their own.
        assert_eq!(parse(&["relatime", "rw"]).recursive, MountAttr::default());
    }
}
