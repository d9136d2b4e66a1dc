//! The commands.

use std::ffi::OsString;

use clap::CommandFactory;

use super::*;
use crate::error::Error;
use crate::globals::Globals;

/// A command's name, what it is for, and how it is run.
pub(super) struct Command {
    /// As it is typed; one with a space is of a group only.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its flags and arguments.
    pub(super) parser: fn() -> clap::Command,
    pub(super) run: fn(&Globals, &[OsString]) -> Result<u8, Error>,
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "attach",
        about: "Take part in what a running container reads and writes",
        parser: attach::Flags::command,
        run: |g, a| attach::run(g, &parse(g, "attach", a)?),
    },
    Command {
        name: "commit",
        about: "Make an image of what a container has changed",
        parser: commit::Flags::command,
        run: |g, a| commit::run(g, &parse(g, "commit", a)?),
    },
    Command {
        name: "completion",
        about: "Print what makes a shell complete commands, flags and names",
        parser: complete::scripts::Flags::command,
        run: |g, a| complete::scripts::run(g, &parse(g, "completion", a)?),
    },
    Command {
        name: "container cleanup",
        about: "Remove what containers that have ended left when their monitors were killed",
        parser: cleanup::Flags::command,
        run: |g, a| cleanup::run(g, &parse(g, "container cleanup", a)?),
    },
    Command {
        name: "container clone",
        about: "Make a container like another one",
        parser: clone::Flags::command,
        run: |g, a| clone::run(g, &parse(g, "container clone", a)?),
    },
    Command {
        name: "container diff",
        about: "Show what a container has changed in its files",
        parser: diff::ContainerFlags::command,
        run: |g, a| diff::run_container(g, &parse(g, "container diff", a)?),
    },
    Command {
        name: "container exists",
        about: "Check whether there is a container",
        parser: container_exists::Flags::command,
        run: |g, a| container_exists::run(g, &parse(g, "container exists", a)?),
    },
    Command {
        name: "container inspect",
        about: "Display the configuration of containers",
        parser: inspect::ContainerFlags::command,
        run: |g, a| inspect::run_containers(g, &parse(g, "container inspect", a)?),
    },
    Command {
        name: "container prune",
        about: "Remove containers that do not run",
        parser: prune::ContainerFlags::command,
        run: |g, a| prune::run_container(g, &parse(g, "container prune", a)?),
    },
    Command {
        name: "container runlabel",
        about: "Run the command that a label of an image says, on this machine",
        parser: runlabel::Flags::command,
        run: |g, a| runlabel::run(g, &parse(g, "container runlabel", a)?),
    },
    Command {
        name: "cp",
        about: "Copy files into a container or out of it",
        parser: cp::Flags::command,
        run: |g, a| cp::run(g, &parse(g, "cp", a)?),
    },
    Command {
        name: "create",
        about: "Create but do not start a container",
        parser: create::Flags::command,
        run: |g, a| create::run(g, parse(g, "create", a)?),
    },
    Command {
        name: "diff",
        about: "Show what a container has changed in its files, or an image in those of another",
        parser: diff::AnyFlags::command,
        run: |g, a| diff::run(g, &parse(g, "diff", a)?),
    },
    Command {
        name: "doctor",
        about: "Check whether this machine has what loment needs, and say what to do where it has not",
        parser: doctor::Flags::command,
        run: |g, a| doctor::run(g, &parse(g, "doctor", a)?),
    },
    Command {
        name: "events",
        about: "Show what happens to containers and images, as it happens",
        parser: events::Flags::command,
        run: |g, a| events::run(g, &parse(g, "events", a)?),
    },
    Command {
        name: "exec",
        about: "Run a command in a running container",
        parser: exec::Flags::command,
        run: |g, a| exec::run(g, parse(g, "exec", a)?),
    },
    Command {
        name: "export",
        about: "Write the files of a container as a tar",
        parser: export::Flags::command,
        run: |g, a| export::run(g, &parse(g, "export", a)?),
    },
    Command {
        name: "image copy",
        about: "Copy an image from one place to another",
        parser: copy::Flags::command,
        run: |g, a| copy::run(g, &parse(g, "image copy", a)?),
    },
    Command {
        name: "healthcheck run",
        about: "Check the health of a container now",
        parser: healthcheck::Flags::command,
        run: |g, a| healthcheck::run(g, &parse(g, "healthcheck run", a)?),
    },
    Command {
        name: "history",
        about: "Show how an image was built",
        parser: history::Flags::command,
        run: |g, a| history::run(g, &parse(g, "history", a)?),
    },
    Command {
        name: "image delete",
        about: "Delete an image from a registry, with all of its tags",
        parser: remote::Delete::command,
        run: |g, a| remote::run_delete(g, &parse(g, "image delete", a)?),
    },
    Command {
        name: "image diff",
        about: "Show what an image changes in the file system of another",
        parser: diff::Flags::command,
        run: |g, a| diff::run_image(g, &parse(g, "image diff", a)?),
    },
    Command {
        name: "image exists",
        about: "Check whether an image is in local storage: status 0 if it is, 1 if not",
        parser: exists::Flags::command,
        run: |g, a| exists::run(g, &parse(g, "image exists", a)?),
    },
    Command {
        name: "image inspect",
        about: "Display the configuration of images",
        parser: inspect::ImageFlags::command,
        run: |g, a| inspect::run_images(g, &parse(g, "image inspect", a)?),
    },
    Command {
        name: "image list-tags",
        about: "List the tags of a repository",
        parser: remote::ListTags::command,
        run: |g, a| remote::run_list_tags(g, &parse(g, "image list-tags", a)?),
    },
    Command {
        name: "image manifest-digest",
        about: "Compute the digest of a manifest in a file",
        parser: remote::ManifestDigest::command,
        run: |g, a| remote::run_manifest_digest(g, &parse(g, "image manifest-digest", a)?),
    },
    Command {
        name: "image mount",
        about: "Mount images as directories of this machine",
        parser: image_mount::Flags::command,
        run: |g, a| image_mount::run(g, &parse(g, "image mount", a)?),
    },
    Command {
        name: "image prune",
        about: "Remove unused images",
        parser: prune::ImageFlags::command,
        run: |g, a| prune::run_image(g, &parse(g, "image prune", a)?),
    },
    Command {
        name: "image sync",
        about: "Copy many images, of a registry or of directories",
        parser: sync::Flags::command,
        run: |g, a| sync::run(g, &parse(g, "image sync", a)?),
    },
    Command {
        name: "image tree",
        about: "Show the layers of an image as a tree",
        parser: tree::Flags::command,
        run: |g, a| tree::run(g, &parse(g, "image tree", a)?),
    },
    Command {
        name: "image unmount",
        about: "Unmount images",
        parser: image_mount::UnmountFlags::command,
        run: |g, a| image_mount::run_unmount(g, &parse(g, "image unmount", a)?),
    },
    Command {
        name: "images",
        about: "List images in local storage",
        parser: images::Flags::command,
        run: |g, a| images::run(g, &parse(g, "images", a)?),
    },
    Command {
        name: "import",
        about: "Make an image of a tar of a root file system",
        parser: import::Flags::command,
        run: |g, a| import::run(g, &parse(g, "import", a)?),
    },
    Command {
        name: "init",
        about: "Make containers ready to run their programs, which wait for a start",
        parser: init::Flags::command,
        run: |g, a| init::run(g, &parse(g, "init", a)?),
    },
    Command {
        name: "info",
        about: "Display system information",
        parser: info::Flags::command,
        run: |g, a| info::run(g, &parse(g, "info", a)?),
    },
    Command {
        name: "inspect",
        about: "Display the configuration of containers, images, volumes and pods",
        parser: inspect::Flags::command,
        run: |g, a| inspect::run(g, &parse(g, "inspect", a)?),
    },
    Command {
        name: "kill",
        about: "Send a signal to running containers",
        parser: kill::Flags::command,
        run: |g, a| kill::run(g, &parse(g, "kill", a)?),
    },
    Command {
        name: "load",
        about: "Load images from an archive or a directory",
        parser: load::Flags::command,
        run: |g, a| load::run(g, &parse(g, "load", a)?),
    },
    Command {
        name: "login",
        about: "Log in to a registry",
        parser: login::Flags::command,
        run: |g, a| login::run(g, &parse(g, "login", a)?),
    },
    Command {
        name: "logout",
        about: "Log out of a registry",
        parser: login::LogoutFlags::command,
        run: |g, a| login::run_logout(g, &parse(g, "logout", a)?),
    },
    Command {
        name: "logs",
        about: "Fetch the logs of containers",
        parser: logs::Flags::command,
        run: |g, a| logs::run(g, &parse(g, "logs", a)?),
    },
    Command {
        name: "manifest add",
        about: "Add images to a list",
        parser: manifest::Add::command,
        run: |g, a| manifest::run_add(g, &parse(g, "manifest add", a)?),
    },
    Command {
        name: "manifest annotate",
        about: "Change what a list says of an image",
        parser: manifest::Annotate::command,
        run: |g, a| manifest::run_annotate(g, &parse(g, "manifest annotate", a)?),
    },
    Command {
        name: "manifest create",
        about: "Make a list of images for several platforms",
        parser: manifest::Create::command,
        run: |g, a| manifest::run_create(g, &parse(g, "manifest create", a)?),
    },
    Command {
        name: "manifest exists",
        about: "Check whether there is a list of that name: status 0 if there is, 1 if not",
        parser: manifest::Exists::command,
        run: |g, a| manifest::run_exists(g, &parse(g, "manifest exists", a)?),
    },
    Command {
        name: "manifest inspect",
        about: "Display a list, or a manifest of a registry",
        parser: manifest::Inspect::command,
        run: |g, a| manifest::run_inspect(g, &parse(g, "manifest inspect", a)?),
    },
    Command {
        name: "manifest push",
        about: "Push a list and its images",
        parser: manifest::Push::command,
        run: |g, a| manifest::run_push(g, &parse(g, "manifest push", a)?),
    },
    Command {
        name: "manifest remove",
        about: "Take an image off a list",
        parser: manifest::Remove::command,
        run: |g, a| manifest::run_remove(g, &parse(g, "manifest remove", a)?),
    },
    Command {
        name: "manifest rm",
        about: "Remove lists from local storage",
        parser: manifest::Rm::command,
        run: |g, a| manifest::run_rm(g, &parse(g, "manifest rm", a)?),
    },
    Command {
        name: "mount",
        about: "Mount containers as directories of this machine, or list those that are mounted",
        parser: container_mount::Flags::command,
        run: |g, a| container_mount::run(g, &parse(g, "mount", a)?),
    },
    Command {
        name: "pause",
        about: "Stop all processes of containers until they are unpaused",
        parser: pause::Pause::command,
        run: |g, a| pause::run(g, &parse(g, "pause", a)?),
    },
    Command {
        name: "port",
        about: "List the ports of containers that the host hands on",
        parser: port::Flags::command,
        run: |g, a| port::run(g, &parse(g, "port", a)?),
    },
    Command {
        name: "ps",
        about: "List containers",
        parser: ps::Flags::command,
        run: |g, a| ps::run(g, &parse(g, "ps", a)?),
    },
    Command {
        name: "pull",
        about: "Pull images from registries, archives and directories",
        parser: pull::Flags::command,
        run: |g, a| pull::run(g, &parse(g, "pull", a)?),
    },
    Command {
        name: "push",
        about: "Push an image to a registry, an archive or a directory",
        parser: push::Flags::command,
        run: |g, a| push::run(g, &parse(g, "push", a)?),
    },
    Command {
        name: "rename",
        about: "Give a container another name",
        parser: rename::Flags::command,
        run: |g, a| rename::run(g, &parse(g, "rename", a)?),
    },
    Command {
        name: "restart",
        about: "Stop containers and start them again",
        parser: restart::Flags::command,
        run: |g, a| restart::run(g, &parse(g, "restart", a)?),
    },
    Command {
        name: "rm",
        about: "Remove containers",
        parser: rm::Flags::command,
        run: |g, a| rm::run(g, &parse(g, "rm", a)?),
    },
    Command {
        name: "rmi",
        about: "Remove images from local storage",
        parser: rmi::Flags::command,
        run: |g, a| rmi::run(g, &parse(g, "rmi", a)?),
    },
    Command {
        name: "run",
        about: "Run a command in a new container",
        parser: run::Flags::command,
        run: |g, a| run::run(g, parse(g, "run", a)?),
    },
    Command {
        name: "save",
        about: "Save images to an archive or a directory",
        parser: save::Flags::command,
        run: |g, a| save::run(g, &parse(g, "save", a)?),
    },
    Command {
        name: "search",
        about: "Search registries for repositories",
        parser: search::Flags::command,
        run: |g, a| search::run(g, &parse(g, "search", a)?),
    },
    Command {
        name: "sh",
        about: "Run a shell in the container that containers.conf names",
        parser: sh::Flags::command,
        run: |g, a| sh::run(g, parse(g, "sh", a)?),
    },
    Command {
        name: "start",
        about: "Start containers",
        parser: start::Flags::command,
        run: |g, a| start::run(g, &parse(g, "start", a)?),
    },
    Command {
        name: "stats",
        about: "Show what containers use, again and again",
        parser: stats::Flags::command,
        run: |g, a| stats::run(g, &parse(g, "stats", a)?),
    },
    Command {
        name: "stop",
        about: "Stop running containers",
        parser: stop::Flags::command,
        run: |g, a| stop::run(g, &parse(g, "stop", a)?),
    },
    Command {
        name: "system boot",
        about: "Start the containers that are to run whenever the machine does",
        parser: boot::Flags::command,
        run: |g, a| boot::run(g, &parse(g, "system boot", a)?),
    },
    Command {
        name: "system check",
        about: "Check that everything in storage is as it was stored",
        parser: system_check::Flags::command,
        run: |g, a| system_check::run(g, &parse(g, "system check", a)?),
    },
    Command {
        name: "system df",
        about: "Show what images, containers and volumes occupy on disk",
        parser: df::Flags::command,
        run: |g, a| df::run(g, &parse(g, "system df", a)?),
    },
    Command {
        name: "system prune",
        about: "Remove unused images, containers that do not run, and unused volumes if that is wanted",
        parser: prune::SystemFlags::command,
        run: |g, a| prune::run_system(g, &parse(g, "system prune", a)?),
    },
    Command {
        name: "system migrate",
        about: "Stop containers that run, so that the next start is with this program and the users that files give now",
        parser: system_reset::Migrate::command,
        run: |g, a| system_reset::run_migrate(g, &parse(g, "system migrate", a)?),
    },
    Command {
        name: "system renumber",
        about: "Do nothing, as there is nothing to do: locks are those of files, and have no numbers",
        parser: system_reset::Renumber::command,
        run: |g, a| system_reset::run_renumber(g, &parse(g, "system renumber", a)?),
    },
    Command {
        name: "system reset",
        about: "Remove all containers with their processes, pods, images, volumes, secrets and events",
        parser: system_reset::Reset::command,
        run: |g, a| system_reset::run(g, &parse(g, "system reset", a)?),
    },
    Command {
        name: "tag",
        about: "Give a local image further names",
        parser: tag::Flags::command,
        run: |g, a| tag::run(g, &parse(g, "tag", a)?),
    },
    Command {
        name: "top",
        about: "Show the processes of a container",
        parser: top::Flags::command,
        run: |g, a| top::run(g, &parse(g, "top", a)?),
    },
    Command {
        name: "umount",
        about: "Unmount containers, with the last request for each",
        parser: container_mount::UnmountFlags::command,
        run: |g, a| container_mount::run_unmount(g, &parse(g, "umount", a)?),
    },
    Command {
        name: "unmount",
        about: "Unmount containers, with the last request for each",
        parser: container_mount::UnmountFlags::command,
        run: |g, a| container_mount::run_unmount(g, &parse(g, "unmount", a)?),
    },
    Command {
        name: "unpause",
        about: "Let paused containers go on",
        parser: pause::Unpause::command,
        run: |g, a| pause::run_unpause(g, &parse(g, "unpause", a)?),
    },
    Command {
        name: "untag",
        about: "Take names away from a local image",
        parser: tag::UntagFlags::command,
        run: |g, a| tag::run_untag(g, &parse(g, "untag", a)?),
    },
    Command {
        name: "unshare",
        about: "Run a program in the user namespace of an ordinary user's containers",
        parser: unshare::Flags::command,
        run: |g, a| unshare::run(g, &parse(g, "unshare", a)?),
    },
    Command {
        name: "update",
        about: "Change limits, policies and checks of containers",
        parser: update::Flags::command,
        run: |g, a| update::run(g, &parse(g, "update", a)?),
    },
    Command {
        name: "version",
        about: "Display version information",
        parser: version::Flags::command,
        run: |g, a| version::run(g, &parse(g, "version", a)?),
    },
    Command {
        name: "wait",
        about: "Wait for containers to stop and print their exit codes",
        parser: wait::Flags::command,
        run: |g, a| wait::run(g, &parse(g, "wait", a)?),
    },
];

/// The command of that name.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    all().find(|c| c.name == name)
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Command> {
    let groups = [checkpoint::COMMANDS, pod::COMMANDS, secret::COMMANDS, volume::COMMANDS];
    COMMANDS.iter().chain(groups.into_iter().flatten())
}
