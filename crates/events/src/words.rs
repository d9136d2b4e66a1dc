//! What events are about and what they say, in Podman's words and in Docker's: one table.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Podman's.
    Podman,
    /// Docker's.
    Docker,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Their words, in the same order.
            const NAMES: &[&str] = &[$($word,)*];

            /// Its word, which is Podman's.
            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <&str>::deserialize(deserializer)?;
                let found = Self::ALL.iter().find(|one| one.name() == word);
                found.copied().ok_or_else(|| D::Error::unknown_variant(word, &[]))
            }
        }
    };
}

named! {
    /// What an event is about.
    Kind {
        /// Something in a registry that is no image.
        Artifact = "artifact",
        /// A container.
        Container = "container",
        /// An image, or a list of images.
        Image = "image",
        /// A network.
        Network = "network",
        /// A pod.
        Pod = "pod",
        /// A secret.
        Secret = "secret",
        /// All of it.
        System = "system",
        /// A volume.
        Volume = "volume",
    }
}

named! {
    /// What an event says.
    What {
        /// A client takes part in a container's streams.
        Attach = "attach",
        /// A newer image took the place of a container's.
        AutoUpdate = "auto-update",
        /// An image was built.
        Build = "build",
        /// A container's processes were saved.
        Checkpoint = "checkpoint",
        /// What a container had while it ran is gone.
        Cleanup = "cleanup",
        /// An image was made of a container.
        Commit = "commit",
        /// A network has a container more.
        Connect = "connect",
        /// Files were copied into or out of a container.
        Copy = "copy",
        /// It was made.
        Create = "create",
        /// A container's program has ended.
        Died = "died",
        /// A network has a container less.
        Disconnect = "disconnect",
        /// A further program was started in a container.
        Exec = "exec",
        /// That has ended.
        ExecDied = "exec_died",
        /// Its files were written to an archive.
        Export = "export",
        /// A health check has ended.
        HealthStatus = "health_status",
        /// An image was made of an archive.
        Import = "import",
        /// A container is ready to begin.
        Init = "init",
        /// A signal was sent.
        Kill = "kill",
        /// An image was read from an archive.
        Load = "loadfromarchive",
        /// A container's log was rotated.
        LogRotation = "log-rotation",
        /// Its files are shown to the host.
        Mount = "mount",
        /// Something in a container was killed for lack of memory.
        Oom = "oom",
        /// A container's processes stand still.
        Pause = "pause",
        /// What is not used was removed.
        Prune = "prune",
        /// An image was fetched.
        Pull = "pull",
        /// An image could not be fetched.
        PullError = "pull-error",
        /// An image was sent.
        Push = "push",
        /// What a reboot leaves was put in order.
        Refresh = "refresh",
        /// It was removed.
        Remove = "remove",
        /// It has another name.
        Rename = "rename",
        /// Numbers were given anew.
        Renumber = "renumber",
        /// A container was stopped and started.
        Restart = "restart",
        /// A container's processes were brought back.
        Restore = "restore",
        /// An image was written to an archive.
        Save = "save",
        /// A container's program runs.
        Start = "start",
        /// A container was stopped.
        Stop = "stop",
        /// An image has another name, too.
        Tag = "tag",
        /// Its files are no longer shown.
        Unmount = "unmount",
        /// A container's processes go on.
        Unpause = "unpause",
        /// An image has lost a name.
        Untag = "untag",
        /// It was changed.
        Update = "update",
    }
}

impl Kind {
    /// In the words of `words`.
    pub fn word(self, words: Words) -> &'static str {
        match (self, words) {
            (Self::System, Words::Docker) => "daemon",
            _ => self.name(),
        }
    }
}

impl What {
    /// What it is called of a `kind`, in the order in which it is told; nothing where it is not told.
    pub(crate) fn words(self, kind: Kind, words: Words) -> &'static [&'static str] {
        match words {
            Words::Podman => &Self::NAMES[self as usize..=self as usize],
            Words::Docker => self.docker(kind),
        }
    }

    /// Docker's words (docker-events(1)). It does not tell what it has no word for.
    fn docker(self, kind: Kind) -> &'static [&'static str] {
        match (self, kind) {
            (Self::AutoUpdate | Self::Cleanup | Self::Copy | Self::Init, _) => &[],
            (Self::LogRotation | Self::PullError | Self::Refresh | Self::Renumber, _) => &[],
            (Self::Died, _) => &["die"],
            (Self::Exec, _) => &["exec_create", "exec_start"],
            (Self::ExecDied, _) => &["exec_die"],
            (Self::Load, _) => &["load"],
            (Self::Remove, Kind::Image) => &["delete"],
            (Self::Remove, Kind::Container | Kind::Network | Kind::Volume) => &["destroy"],
            _ => &Self::NAMES[self as usize..=self as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_words() {
        assert_eq!(What::ALL.len(), What::NAMES.len());
        for what in What::ALL {
            assert_eq!(what.words(Kind::Container, Words::Podman), [what.name()]);
            let text = serde_json::to_string(what).unwrap();
            assert_eq!(serde_json::from_str::<What>(&text).unwrap(), *what);
        }
        let docker = |what: What, kind| what.words(kind, Words::Docker);
        assert_eq!(docker(What::Died, Kind::Container), ["die"]);
        assert_eq!(docker(What::Remove, Kind::Container), ["destroy"]);
        assert_eq!(docker(What::Remove, Kind::Image), ["delete"]);
        assert_eq!(docker(What::Remove, Kind::Secret), ["remove"]);
        assert_eq!(docker(What::Exec, Kind::Container), ["exec_create", "exec_start"]);
        assert_eq!(docker(What::Init, Kind::Container), [""; 0]);
        assert_eq!(docker(What::Start, Kind::Container), ["start"]);
        assert!(serde_json::from_str::<What>("\"sleep\"").is_err());
    }
}
