//! Groups of commands: first words that only say what the second is about, as Podman and Docker have them.

use super::table::{COMMANDS, Command, command};
use super::{checkpoint, pod};

/// A first word that only says what the second is about.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The second word, and the command that is meant.
    words: &'static [(&'static str, &'static str)],
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "checkpoint",
        about: "Manage what was saved of containers under names",
        words: checkpoint::WORDS,
    },
    Group {
        name: "container",
        about: "Manage containers",
        words: &[
            ("attach", "attach"),
            ("checkpoint", "container checkpoint"),
            ("cleanup", "container cleanup"),
            ("clone", "container clone"),
            ("commit", "commit"),
            ("cp", "cp"),
            ("create", "create"),
            ("diff", "container diff"),
            ("exec", "exec"),
            ("exists", "container exists"),
            ("export", "export"),
            ("init", "init"),
            ("inspect", "container inspect"),
            ("kill", "kill"),
            ("list", "ps"),
            ("logs", "logs"),
            ("ls", "ps"),
            ("mount", "mount"),
            ("pause", "pause"),
            ("port", "port"),
            ("prune", "container prune"),
            ("ps", "ps"),
            ("rename", "rename"),
            ("restart", "restart"),
            ("restore", "container restore"),
            ("rm", "rm"),
            ("run", "run"),
            ("runlabel", "container runlabel"),
            ("start", "start"),
            ("stats", "stats"),
            ("stop", "stop"),
            ("top", "top"),
            ("umount", "unmount"),
            ("unmount", "unmount"),
            ("unpause", "unpause"),
            ("update", "update"),
            ("wait", "wait"),
        ],
    },
    Group { name: "healthcheck", about: "Manage health checks", words: &[("run", "healthcheck run")] },
    Group {
        name: "image",
        about: "Manage images",
        words: &[
            ("copy", "image copy"),
            ("delete", "image delete"),
            ("diff", "image diff"),
            ("exists", "image exists"),
            ("history", "history"),
            ("import", "import"),
            ("inspect", "image inspect"),
            ("list", "images"),
            ("list-tags", "image list-tags"),
            ("load", "load"),
            ("ls", "images"),
            ("manifest-digest", "image manifest-digest"),
            ("mount", "image mount"),
            ("prune", "image prune"),
            ("pull", "pull"),
            ("push", "push"),
            ("rm", "rmi"),
            ("save", "save"),
            ("search", "search"),
            ("sync", "image sync"),
            ("tag", "tag"),
            ("tree", "image tree"),
            ("umount", "image unmount"),
            ("unmount", "image unmount"),
            ("untag", "untag"),
        ],
    },
    Group {
        name: "manifest",
        about: "Manage lists of images for several platforms",
        words: &[
            ("add", "manifest add"),
            ("annotate", "manifest annotate"),
            ("create", "manifest create"),
            ("exists", "manifest exists"),
            ("inspect", "manifest inspect"),
            ("push", "manifest push"),
            ("remove", "manifest remove"),
            ("rm", "manifest rm"),
        ],
    },
    Group { name: "pod", about: "Manage pods", words: pod::WORDS },
    Group {
        name: "secret",
        about: "Manage secrets",
        words: &[
            ("create", "secret create"),
            ("exists", "secret exists"),
            ("inspect", "secret inspect"),
            ("list", "secret ls"),
            ("ls", "secret ls"),
            ("remove", "secret rm"),
            ("rm", "secret rm"),
        ],
    },
    Group {
        name: "system",
        about: "Manage loment",
        words: &[
            ("boot", "system boot"),
            ("check", "system check"),
            ("df", "system df"),
            ("events", "events"),
            ("info", "info"),
            ("migrate", "system migrate"),
            ("prune", "system prune"),
            ("renumber", "system renumber"),
            ("reset", "system reset"),
        ],
    },
    Group {
        name: "volume",
        about: "Manage volumes",
        words: &[
            ("create", "volume create"),
            ("exists", "volume exists"),
            ("export", "volume export"),
            ("import", "volume import"),
            ("inspect", "volume inspect"),
            ("list", "volume ls"),
            ("ls", "volume ls"),
            ("mount", "volume mount"),
            ("prune", "volume prune"),
            ("reload", "volume reload"),
            ("remove", "volume rm"),
            ("rm", "volume rm"),
            ("umount", "volume unmount"),
            ("unmount", "volume unmount"),
        ],
    },
];

/// What the program can do when it is called as skopeo.
pub(super) const SKOPEO: Group = Group {
    name: "",
    about: "Copy, inspect and delete images where they are",
    words: &[
        ("copy", "image copy"),
        ("delete", "image delete"),
        ("inspect", "image inspect"),
        ("list-tags", "image list-tags"),
        ("login", "login"),
        ("logout", "logout"),
        ("manifest-digest", "image manifest-digest"),
        ("sync", "image sync"),
    ],
};

/// The group of that name.
pub(super) fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|g| g.name == name)
}

/// What can be typed first: commands and groups with what they are for, in order.
pub(super) fn first_words() -> Vec<(&'static str, &'static str)> {
    let commands = COMMANDS.iter().filter(|c| !c.name.contains(' ')).map(|c| (c.name, c.about));
    let mut all: Vec<_> = commands.chain(GROUPS.iter().map(|g| (g.name, g.about))).collect();
    all.sort_unstable();
    all
}

impl Group {
    /// The command that is meant by a word after the group's.
    pub(super) fn command(&self, word: &str) -> Option<&'static Command> {
        self.words.iter().find(|(typed, _)| *typed == word).and_then(|(_, name)| command(name))
    }

    /// What can be typed after it, with what it is for.
    pub(super) fn words(&self) -> Vec<(&'static str, &'static str)> {
        self.words.iter().filter_map(|(word, name)| Some((*word, command(name)?.about))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_group_means_a_command() {
        assert!(GROUPS.is_sorted_by(|a, b| a.name < b.name), "each once, in order");
        for group in GROUPS {
            assert!(group.words().is_sorted(), "{}", group.name);
            assert!(group.words.iter().all(|(_, name)| command(name).is_some()), "{}", group.name);
        }
    }
}
