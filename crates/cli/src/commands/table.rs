//! The commands, and the groups in which Podman and Docker have them, too.

use std::ffi::OsString;

use super::*;
use crate::error::Error;
use crate::globals::Globals;

/// A command's name, what it is for, and how it is run.
pub(super) struct Command {
    /// As it is typed; one with a space is of a group only.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn(&Globals, &[OsString]) -> Result<u8, Error>,
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "attach",
        about: "Take part in what a running container reads and writes",
        run: |g, a| attach::run(g, &parse(g, "attach", a)?),
    },
    Command {
        name: "commit",
        about: "Make an image of what a container has changed",
        run: |g, a| commit::run(g, &parse(g, "commit", a)?),
    },
    Command {
        name: "container cleanup",
        about: "Remove what containers that have ended left when their monitors were killed",
        run: |g, a| cleanup::run(g, &parse(g, "container cleanup", a)?),
    },
    Command {
        name: "container clone",
        about: "Make a container like another one",
        run: |g, a| clone::run(g, &parse(g, "container clone", a)?),
    },
    Command {
        name: "container diff",
        about: "Show what a container has changed in its files",
        run: |g, a| diff::run_container(g, &parse(g, "container diff", a)?),
    },
    Command {
        name: "container exists",
        about: "Check whether there is a container",
        run: |g, a| container_exists::run(g, &parse(g, "container exists", a)?),
    },
    Command {
        name: "container inspect",
        about: "Display the configuration of containers",
        run: |g, a| inspect::run_containers(g, &parse(g, "container inspect", a)?),
    },
    Command {
        name: "container prune",
        about: "Remove containers that do not run",
        run: |g, a| prune::run_container(g, &parse(g, "container prune", a)?),
    },
    Command {
        name: "cp",
        about: "Copy files into a container or out of it",
        run: |g, a| cp::run(g, &parse(g, "cp", a)?),
    },
    Command {
        name: "create",
        about: "Create but do not start a container",
        run: |g, a| create::run(g, parse(g, "create", a)?),
    },
    Command {
        name: "diff",
        about: "Show what a container has changed in its files, or an image in those of another",
        run: |g, a| diff::run(g, &parse(g, "diff", a)?),
    },
    Command {
        name: "events",
        about: "Show what happens to containers and images, as it happens",
        run: |g, a| events::run(g, &parse(g, "events", a)?),
    },
    Command {
        name: "exec",
        about: "Run a command in a running container",
        run: |g, a| exec::run(g, parse(g, "exec", a)?),
    },
    Command {
        name: "export",
        about: "Write the files of a container as a tar",
        run: |g, a| export::run(g, &parse(g, "export", a)?),
    },
    Command {
        name: "image copy",
        about: "Copy an image from one place to another",
        run: |g, a| copy::run(g, &parse(g, "image copy", a)?),
    },
    Command {
        name: "healthcheck run",
        about: "Check the health of a container now",
        run: |g, a| healthcheck::run(g, &parse(g, "healthcheck run", a)?),
    },
    Command {
        name: "history",
        about: "Show how an image was built",
        run: |g, a| history::run(g, &parse(g, "history", a)?),
    },
    Command {
        name: "image delete",
        about: "Delete an image from a registry, with all of its tags",
        run: |g, a| remote::run_delete(g, &parse(g, "image delete", a)?),
    },
    Command {
        name: "image diff",
        about: "Show what an image changes in the file system of another",
        run: |g, a| diff::run_image(g, &parse(g, "image diff", a)?),
    },
    Command {
        name: "image exists",
        about: "Check whether an image is in local storage: status 0 if it is, 1 if not",
        run: |g, a| exists::run(g, &parse(g, "image exists", a)?),
    },
    Command {
        name: "image inspect",
        about: "Display the configuration of images",
        run: |g, a| inspect::run_images(g, &parse(g, "image inspect", a)?),
    },
    Command {
        name: "image list-tags",
        about: "List the tags of a repository",
        run: |g, a| remote::run_list_tags(g, &parse(g, "image list-tags", a)?),
    },
    Command {
        name: "image manifest-digest",
        about: "Compute the digest of a manifest in a file",
        run: |g, a| remote::run_manifest_digest(g, &parse(g, "image manifest-digest", a)?),
    },
    Command {
        name: "image mount",
        about: "Mount images as directories of this machine",
        run: |g, a| image_mount::run(g, &parse(g, "image mount", a)?),
    },
    Command {
        name: "image prune",
        about: "Remove unused images",
        run: |g, a| prune::run_image(g, &parse(g, "image prune", a)?),
    },
    Command {
        name: "image sync",
        about: "Copy many images, of a registry or of directories",
        run: |g, a| sync::run(g, &parse(g, "image sync", a)?),
    },
    Command {
        name: "image tree",
        about: "Show the layers of an image as a tree",
        run: |g, a| tree::run(g, &parse(g, "image tree", a)?),
    },
    Command {
        name: "image unmount",
        about: "Unmount images",
        run: |g, a| image_mount::run_unmount(g, &parse(g, "image unmount", a)?),
    },
    Command {
        name: "images",
        about: "List images in local storage",
        run: |g, a| images::run(g, &parse(g, "images", a)?),
    },
    Command {
        name: "import",
        about: "Make an image of a tar of a root file system",
        run: |g, a| import::run(g, &parse(g, "import", a)?),
    },
    Command {
        name: "init",
        about: "Make containers ready to run their programs, which wait for a start",
        run: |g, a| init::run(g, &parse(g, "init", a)?),
    },
    Command {
        name: "info",
        about: "Display system information",
        run: |g, a| info::run(g, &parse(g, "info", a)?),
    },
    Command {
        name: "inspect",
        about: "Display the configuration of containers, images, volumes and pods",
        run: |g, a| inspect::run(g, &parse(g, "inspect", a)?),
    },
    Command {
        name: "kill",
        about: "Send a signal to running containers",
        run: |g, a| kill::run(g, &parse(g, "kill", a)?),
    },
    Command {
        name: "load",
        about: "Load images from an archive or a directory",
        run: |g, a| load::run(g, &parse(g, "load", a)?),
    },
    Command {
        name: "login",
        about: "Log in to a registry",
        run: |g, a| login::run(g, &parse(g, "login", a)?),
    },
    Command {
        name: "logout",
        about: "Log out of a registry",
        run: |g, a| login::run_logout(g, &parse(g, "logout", a)?),
    },
    Command {
        name: "logs",
        about: "Fetch the logs of containers",
        run: |g, a| logs::run(g, &parse(g, "logs", a)?),
    },
    Command {
        name: "manifest add",
        about: "Add images to a list",
        run: |g, a| manifest::run_add(g, &parse(g, "manifest add", a)?),
    },
    Command {
        name: "manifest annotate",
        about: "Change what a list says of an image",
        run: |g, a| manifest::run_annotate(g, &parse(g, "manifest annotate", a)?),
    },
    Command {
        name: "manifest create",
        about: "Make a list of images for several platforms",
        run: |g, a| manifest::run_create(g, &parse(g, "manifest create", a)?),
    },
    Command {
        name: "manifest exists",
        about: "Check whether there is a list of that name: status 0 if there is, 1 if not",
        run: |g, a| manifest::run_exists(g, &parse(g, "manifest exists", a)?),
    },
    Command {
        name: "manifest inspect",
        about: "Display a list, or a manifest of a registry",
        run: |g, a| manifest::run_inspect(g, &parse(g, "manifest inspect", a)?),
    },
    Command {
        name: "manifest push",
        about: "Push a list and its images",
        run: |g, a| manifest::run_push(g, &parse(g, "manifest push", a)?),
    },
    Command {
        name: "manifest remove",
        about: "Take an image off a list",
        run: |g, a| manifest::run_remove(g, &parse(g, "manifest remove", a)?),
    },
    Command {
        name: "manifest rm",
        about: "Remove lists from local storage",
        run: |g, a| manifest::run_rm(g, &parse(g, "manifest rm", a)?),
    },
    Command {
        name: "mount",
        about: "Mount containers as directories of this machine, or list those that are mounted",
        run: |g, a| container_mount::run(g, &parse(g, "mount", a)?),
    },
    Command {
        name: "pause",
        about: "Stop all processes of containers until they are unpaused",
        run: |g, a| pause::run(g, &parse(g, "pause", a)?),
    },
    Command {
        name: "port",
        about: "List the ports of containers that the host hands on",
        run: |g, a| port::run(g, &parse(g, "port", a)?),
    },
    Command { name: "ps", about: "List containers", run: |g, a| ps::run(g, &parse(g, "ps", a)?) },
    Command {
        name: "pull",
        about: "Pull images from registries, archives and directories",
        run: |g, a| pull::run(g, &parse(g, "pull", a)?),
    },
    Command {
        name: "push",
        about: "Push an image to a registry, an archive or a directory",
        run: |g, a| push::run(g, &parse(g, "push", a)?),
    },
    Command {
        name: "rename",
        about: "Give a container another name",
        run: |g, a| rename::run(g, &parse(g, "rename", a)?),
    },
    Command {
        name: "restart",
        about: "Stop containers and start them again",
        run: |g, a| restart::run(g, &parse(g, "restart", a)?),
    },
    Command { name: "rm", about: "Remove containers", run: |g, a| rm::run(g, &parse(g, "rm", a)?) },
    Command {
        name: "rmi",
        about: "Remove images from local storage",
        run: |g, a| rmi::run(g, &parse(g, "rmi", a)?),
    },
    Command {
        name: "run",
        about: "Run a command in a new container",
        run: |g, a| run::run(g, parse(g, "run", a)?),
    },
    Command {
        name: "save",
        about: "Save images to an archive or a directory",
        run: |g, a| save::run(g, &parse(g, "save", a)?),
    },
    Command {
        name: "search",
        about: "Search registries for repositories",
        run: |g, a| search::run(g, &parse(g, "search", a)?),
    },
    Command { name: "start", about: "Start containers", run: |g, a| start::run(g, &parse(g, "start", a)?) },
    Command {
        name: "stats",
        about: "Show what containers use, again and again",
        run: |g, a| stats::run(g, &parse(g, "stats", a)?),
    },
    Command {
        name: "stop",
        about: "Stop running containers",
        run: |g, a| stop::run(g, &parse(g, "stop", a)?),
    },
    Command {
        name: "system boot",
        about: "Start the containers that are to run whenever the machine does",
        run: |g, a| boot::run(g, &parse(g, "system boot", a)?),
    },
    Command {
        name: "system check",
        about: "Check that everything in storage is as it was stored",
        run: |g, a| system_check::run(g, &parse(g, "system check", a)?),
    },
    Command {
        name: "system df",
        about: "Show what images, containers and volumes occupy on disk",
        run: |g, a| df::run(g, &parse(g, "system df", a)?),
    },
    Command {
        name: "system prune",
        about: "Remove unused images, containers that do not run, and unused volumes if that is wanted",
        run: |g, a| prune::run_system(g, &parse(g, "system prune", a)?),
    },
    Command {
        name: "tag",
        about: "Give a local image further names",
        run: |g, a| tag::run(g, &parse(g, "tag", a)?),
    },
    Command {
        name: "top",
        about: "Show the processes of a container",
        run: |g, a| top::run(g, &parse(g, "top", a)?),
    },
    Command {
        name: "umount",
        about: "Unmount containers, with the last request for each",
        run: |g, a| container_mount::run_unmount(g, &parse(g, "umount", a)?),
    },
    Command {
        name: "unmount",
        about: "Unmount containers, with the last request for each",
        run: |g, a| container_mount::run_unmount(g, &parse(g, "unmount", a)?),
    },
    Command {
        name: "unpause",
        about: "Let paused containers go on",
        run: |g, a| pause::run_unpause(g, &parse(g, "unpause", a)?),
    },
    Command {
        name: "untag",
        about: "Take names away from a local image",
        run: |g, a| tag::run_untag(g, &parse(g, "untag", a)?),
    },
    Command {
        name: "unshare",
        about: "Run a program in the user namespace of an ordinary user's containers",
        run: |g, a| unshare::run(g, &parse(g, "unshare", a)?),
    },
    Command {
        name: "update",
        about: "Change limits, policies and checks of containers",
        run: |g, a| update::run(g, &parse(g, "update", a)?),
    },
    Command {
        name: "version",
        about: "Display version information",
        run: |g, a| version::run(g, &parse(g, "version", a)?),
    },
    Command {
        name: "wait",
        about: "Wait for containers to stop and print their exit codes",
        run: |g, a| wait::run(g, &parse(g, "wait", a)?),
    },
];

/// A first word that only says what the second is about.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The second word, and the command that is meant.
    words: &'static [(&'static str, &'static str)],
}

pub(super) const GROUPS: &[Group] = &[
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
            ("prune", "system prune"),
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

/// The command of that name.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .chain(checkpoint::COMMANDS)
        .chain(pod::COMMANDS)
        .chain(secret::COMMANDS)
        .chain(volume::COMMANDS)
        .find(|c| c.name == name)
}

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
