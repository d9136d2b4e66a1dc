//! What words and values of flags are: one table of what the parsers do not say.

use clap::{Arg, ArgAction};
use loment_engine::{PodStatus, Status};

/// What a word is one of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Nobody can say.
    Nothing,
    Files,
    Directories,
    Words(&'static [&'static str]),
    /// Words, some with a value behind a colon or an equals sign.
    Keys(&'static [(&'static str, Kind)]),
    /// Any of these.
    AnyOf(&'static [Kind]),
    /// Containers that are in one of these states, all without any.
    Containers(&'static [Status]),
    Pods(&'static [PodStatus]),
    Images,
    Volumes,
    Secrets,
    /// A path of a container, or one of the host.
    Copied,
    /// A volume or a path of the host, and what is behind it.
    Mounted,
    Signals,
    Capabilities,
    Sysctls,
    Columns,
    Registries,
    Users,
    /// A Go template for what the command shows.
    Template,
}

use Kind::{
    AnyOf, Capabilities, Columns, Containers, Copied, Directories, Files, Images, Keys, Mounted, Nothing,
    Pods, Registries, Secrets, Signals, Sysctls, Template, Users, Volumes, Words,
};

const CONTAINER: Kind = Containers(&[]);
const ACTIVE: Kind =
    Containers(&[Status::Initialized, Status::Running, Status::Stopping, Status::Paused, Status::Restarting]);
const RUNNING: Kind = Containers(&[Status::Running]);
const PAUSED: Kind = Containers(&[Status::Paused]);
const STARTABLE: Kind = Containers(&[Status::Created, Status::Initialized, Status::Exited]);
const POD: Kind = Pods(&[]);
const RUNNING_POD: Kind = Pods(&[PodStatus::Running, PodStatus::Degraded]);
/// Where images are besides registries.
const PLACE: Kind = AnyOf(&[Images, TRANSPORT]);
const TRANSPORT: Kind = Keys(&[
    ("containers-storage:", Nothing),
    ("dir:", Directories),
    ("docker-archive:", Files),
    ("docker-daemon:", Nothing),
    ("docker://", Nothing),
    ("oci-archive:", Files),
    ("oci:", Directories),
]);

/// The words of commands, one after the other; the last stands for those that may follow. Other commands' say what they are.
const WORDS: [(&str, &[Kind]); 46] = [
    ("attach", &[RUNNING]),
    ("checkpoint create", &[RUNNING, Nothing]),
    ("checkpoint rm", &[CONTAINER, Nothing]),
    ("commit", &[CONTAINER, Images]),
    ("completion", &[Words(&["bash", "fish", "zsh"])]),
    ("container clone", &[CONTAINER, Nothing, Images]),
    ("container cleanup", &[Containers(&[Status::Exited])]),
    ("container inspect", &[CONTAINER]),
    ("container restore", &[AnyOf(&[CONTAINER, Images])]),
    ("cp", &[Copied, Copied]),
    ("diff", &[AnyOf(&[CONTAINER, Images]), Images]),
    ("exec", &[RUNNING, Files]),
    ("image copy", &[TRANSPORT, TRANSPORT]),
    ("image diff", &[Images]),
    ("image inspect", &[Images]),
    ("image sync", &[Files, Files]),
    ("images", &[Images]),
    ("import", &[Files, Images]),
    ("init", &[Containers(&[Status::Created])]),
    ("inspect", &[AnyOf(&[CONTAINER, Images, POD, Volumes])]),
    ("kill", &[ACTIVE]),
    ("manifest push", &[Images, TRANSPORT]),
    ("pause", &[RUNNING]),
    ("pod clone", &[POD, Nothing]),
    ("pod kill", &[RUNNING_POD]),
    ("pod pause", &[RUNNING_POD]),
    ("pod start", &[Pods(&[PodStatus::Created, PodStatus::Degraded, PodStatus::Exited, PodStatus::Stopped])]),
    ("pod stats", &[RUNNING_POD]),
    ("pod stop", &[RUNNING_POD]),
    ("pod top", &[RUNNING_POD, Columns]),
    ("pod unpause", &[Pods(&[PodStatus::Paused, PodStatus::Degraded])]),
    ("port", &[CONTAINER, Nothing]),
    ("pull", &[PLACE]),
    ("push", &[Images, TRANSPORT]),
    ("rename", &[CONTAINER, Nothing]),
    ("run", &[Images, Files]),
    ("create", &[Images, Files]),
    ("secret create", &[Nothing, Files]),
    ("start", &[STARTABLE]),
    ("stats", &[RUNNING]),
    ("stop", &[ACTIVE]),
    ("tag", &[Images]),
    ("top", &[RUNNING, Columns]),
    ("unpause", &[PAUSED]),
    ("untag", &[Images]),
    ("volume import", &[Volumes, Files]),
];

const FILTERS_OF_CONTAINERS: Kind = Keys(&[
    ("ancestor=", Images),
    ("annotation=", Nothing),
    ("before=", CONTAINER),
    ("command=", Nothing),
    ("exited=", Nothing),
    ("expose=", Nothing),
    ("health=", Words(&["healthy", "none", "starting", "unhealthy"])),
    ("id=", CONTAINER),
    ("is-task=", BOOLEAN),
    ("label!=", Nothing),
    ("label=", Nothing),
    ("name=", CONTAINER),
    ("network=", NETWORK),
    ("pod=", POD),
    ("publish=", Nothing),
    ("restart-policy=", RESTART),
    ("should-start-on-boot=", BOOLEAN),
    ("since=", CONTAINER),
    (
        "status=",
        Words(&[
            "created",
            "exited",
            "initialized",
            "paused",
            "restarting",
            "running",
            "stopped",
            "stopping",
            "unknown",
        ]),
    ),
    ("until=", Nothing),
    ("volume=", Volumes),
]);
const FILTERS_OF_IMAGES: Kind = Keys(&[
    ("after=", Images),
    ("before=", Images),
    ("containers=", BOOLEAN),
    ("dangling=", BOOLEAN),
    ("digest=", Nothing),
    ("id=", Nothing),
    ("intermediate=", BOOLEAN),
    ("label=", Nothing),
    ("manifest=", BOOLEAN),
    ("readonly=", BOOLEAN),
    ("reference=", Images),
    ("since=", Images),
    ("until=", Nothing),
]);
const FILTERS_OF_VOLUMES: Kind = Keys(&[
    ("after=", Volumes),
    ("anonymous=", BOOLEAN),
    ("dangling=", BOOLEAN),
    ("driver=", Words(&["image", "local"])),
    ("label!=", Nothing),
    ("label=", Nothing),
    ("name=", Volumes),
    ("opt=", Nothing),
    ("scope=", Words(&["local"])),
    ("since=", Volumes),
    ("until=", Nothing),
]);
const FILTERS_OF_PODS: Kind = Keys(&[
    ("ctr-ids=", CONTAINER),
    ("ctr-names=", CONTAINER),
    ("ctr-number=", Nothing),
    ("ctr-status=", Words(&["created", "exited", "paused", "running", "unknown"])),
    ("id=", POD),
    ("label!=", Nothing),
    ("label=", Nothing),
    ("name=", POD),
    ("network=", NETWORK),
    ("status=", Words(&["created", "degraded", "error", "exited", "paused", "running", "stopped"])),
    ("until=", Nothing),
]);
const FILTERS_OF_EVENTS: Kind = Keys(&[
    ("container=", CONTAINER),
    ("event=", Nothing),
    ("image=", Images),
    ("label=", Nothing),
    ("pod=", POD),
    ("secret=", Secrets),
    ("type=", Words(&["container", "image", "pod", "secret", "system", "volume"])),
    ("volume=", Volumes),
]);
const OF_AGE: Kind = Keys(&[("label!=", Nothing), ("label=", Nothing), ("until=", Nothing)]);

const BOOLEAN: Kind = Words(&["false", "true"]);
const RESTART: Kind = Words(&["always", "no", "on-failure", "unless-stopped"]);
const NETWORK: Kind = Keys(&[("container:", CONTAINER), ("host", Nothing), ("none", Nothing)]);
const NAMESPACE: Kind =
    Keys(&[("container:", CONTAINER), ("host", Nothing), ("ns:", Files), ("private", Nothing)]);
const COMPRESSION: Kind = Words(&["gzip", "zstd", "zstd:chunked"]);
const ARCHITECTURES: Kind =
    Words(&["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"]);

/// The values of flags that are different things for different commands: the command, the flag, the value.
const OF_COMMANDS: [(&str, &str, Kind); 25] = [
    ("commit", "format", Words(&["docker", "oci"])),
    ("container checkpoint", "compress", Words(&["gzip", "none", "zstd"])),
    ("container diff", "format", Words(&["json"])),
    ("container prune", "filter", OF_AGE),
    ("diff", "format", Words(&["json"])),
    ("events", "filter", FILTERS_OF_EVENTS),
    ("image copy", "format", Words(&["oci", "v2s1", "v2s2"])),
    ("image diff", "format", Words(&["json"])),
    ("image mount", "format", Words(&["json"])),
    ("image prune", "filter", FILTERS_OF_IMAGES),
    ("image sync", "format", Words(&["oci", "v2s1", "v2s2"])),
    ("images", "filter", FILTERS_OF_IMAGES),
    ("images", "sort", Words(&["created", "id", "repository", "size", "tag"])),
    ("manifest push", "format", Words(&["oci", "v2s2"])),
    ("mount", "format", Words(&["json"])),
    ("pod ps", "filter", FILTERS_OF_PODS),
    ("pod ps", "sort", Words(&["created", "id", "name", "number", "status"])),
    ("push", "format", Words(&["oci", "v2s1", "v2s2"])),
    ("save", "format", Words(&["docker-archive", "docker-dir", "oci-archive", "oci-dir"])),
    ("search", "filter", Keys(&[("is-automated=", BOOLEAN), ("is-official=", BOOLEAN), ("stars=", Nothing)])),
    (
        "secret ls",
        "filter",
        Keys(&[("driver=", Nothing), ("id=", Nothing), ("label=", Nothing), ("name=", Secrets)]),
    ),
    ("system prune", "filter", OF_AGE),
    ("volume ls", "filter", FILTERS_OF_VOLUMES),
    ("volume prune", "filter", FILTERS_OF_VOLUMES),
    ("volume create", "driver", Words(&["image", "local"])),
];

/// The values of flags.
const FLAGS: [(&str, Kind); 56] = [
    ("add-compression", COMPRESSION),
    ("arch", ARCHITECTURES),
    ("attach", Words(&["stderr", "stdin", "stdout"])),
    ("cap-add", Capabilities),
    ("cap-drop", Capabilities),
    ("cgroup-manager", Words(&["cgroupfs", "systemd"])),
    ("cgroupns", NAMESPACE),
    (
        "change",
        Words(&["CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"]),
    ),
    ("compression-format", COMPRESSION),
    (
        "condition",
        Words(&[
            "configured",
            "created",
            "exited",
            "healthy",
            "initialized",
            "paused",
            "removing",
            "running",
            "stopped",
            "stopping",
            "unhealthy",
        ]),
    ),
    ("dest", Words(&["dir", "docker"])),
    ("dest-compress-format", COMPRESSION),
    ("detach-keys", Words(&["ctrl-"])),
    ("device", Files),
    ("entrypoint", Nothing),
    ("events-backend", Words(&["file", "none"])),
    ("exit-policy", Words(&["continue", "stop"])),
    ("filter", FILTERS_OF_CONTAINERS),
    ("format", Template),
    ("group-add", Words(&["keep-groups"])),
    ("health-log-destination", AnyOf(&[Words(&["events_logger", "local"]), Directories])),
    ("health-on-failure", Words(&["kill", "none", "restart", "stop"])),
    ("hosts-file", AnyOf(&[Words(&["image", "none"]), Files])),
    ("image-volume", Words(&["anonymous", "bind", "ignore", "tmpfs"])),
    ("init-ctr", Words(&["always", "once"])),
    (
        "ipc",
        Keys(&[
            ("container:", CONTAINER),
            ("host", Nothing),
            ("none", Nothing),
            ("ns:", Files),
            ("private", Nothing),
            ("shareable", Nothing),
        ]),
    ),
    ("isolation", Words(&["default", "process"])),
    ("log-driver", Words(&["journald", "json-file", "k8s-file", "none", "passthrough", "passthrough-tty"])),
    (
        "log-opt",
        Keys(&[
            ("compress=", BOOLEAN),
            ("label=", Nothing),
            ("max-file=", Nothing),
            ("max-size=", Nothing),
            ("mode=", Words(&["blocking", "non-blocking"])),
            ("path=", Files),
            ("tag=", Nothing),
        ]),
    ),
    (
        "mount",
        Words(&["type=bind,", "type=glob,", "type=image,", "type=ramfs,", "type=tmpfs,", "type=volume,"]),
    ),
    ("multi-arch", Words(&["all", "index-only", "system"])),
    ("network", NETWORK),
    ("os", Words(&["linux"])),
    ("pid", NAMESPACE),
    (
        "platform",
        Words(&[
            "linux/386",
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64",
            "linux/ppc64le",
            "linux/riscv64",
            "linux/s390x",
        ]),
    ),
    ("policy", Words(&["always", "missing", "never", "newer"])),
    ("pull", Words(&["always", "missing", "never", "newer"])),
    ("restart", RESTART),
    ("runtime", Words(&["crun", "loment", "runc"])),
    ("seccomp-policy", Words(&["default", "image"])),
    ("secret", Secrets),
    (
        "security-opt",
        Keys(&[
            ("apparmor=", Nothing),
            ("label=", Words(&["disable", "filetype:", "level:", "role:", "type:", "user:"])),
            ("mask=", Files),
            ("no-new-privileges", Nothing),
            ("proc-opts=", Nothing),
            ("seccomp=", AnyOf(&[Words(&["unconfined"]), Files])),
            ("unmask=", AnyOf(&[Words(&["ALL"]), Files])),
        ]),
    ),
    ("share", Words(&["cgroup", "ipc", "net", "none", "pid", "uts"])),
    ("sort", Words(&["command", "created", "id", "image", "names", "runningfor", "size", "status"])),
    ("src", Words(&["dir", "docker", "yaml"])),
    (
        "storage-opt",
        Words(&["loment.files=", "loment.form=", "overlay.inodes=", "overlay.mountopt=", "overlay.size="]),
    ),
    ("sysctl", Sysctls),
    ("time", Nothing),
    ("type", Words(&["all", "container", "image", "pod", "volume"])),
    ("tz", Words(&["UTC", "local"])),
    ("user", Users),
    (
        "userns",
        Keys(&[
            ("container:", CONTAINER),
            ("host", Nothing),
            ("keep-id", Nothing),
            ("ns:", Files),
            ("private", Nothing),
        ]),
    ),
    ("uts", NAMESPACE),
    ("volume", Mounted),
    ("volume-driver", Words(&["local"])),
    ("workdir", Nothing),
];

/// What the names that stand for words and values mean.
const NAMES: [(&str, Kind); 21] = [
    ("COLUMN", Columns),
    ("CONTAINER", CONTAINER),
    ("CONTAINER[:OPTIONS]", CONTAINER),
    ("DEVICE:NUMBER", Files),
    ("DEVICE:SIZE", Files),
    ("DIR", Directories),
    ("FILE", Files),
    ("FILE|URL", Files),
    ("IMAGE", Images),
    ("LIST", Images),
    ("NETWORK", NETWORK),
    ("OTHER", Images),
    ("PATH", Files),
    ("POD", POD),
    ("PROGRAM", Files),
    ("REGISTRY", Registries),
    ("REPOSITORY", Images),
    ("SECRET", Secrets),
    ("SIGNAL", Signals),
    ("SOURCE", TRANSPORT),
    ("VOLUME", Volumes),
];

/// What a command's word of that number is.
pub(super) fn of_word(command: &str, words: &[&str], number: usize) -> Kind {
    match WORDS.iter().find(|(name, _)| *name == command) {
        Some((_, kinds)) => kinds.get(number).or(kinds.last()).copied().unwrap_or(Nothing),
        None => words.get(number).or(words.last()).map_or(Nothing, |name| named(name)),
    }
}

/// What the value of a command's flag is.
pub(super) fn of_flag(command: &str, arg: &Arg) -> Kind {
    let long = arg.get_long().unwrap_or_default();
    let own = || OF_COMMANDS.iter().find(|(c, flag, _)| *c == command && *flag == long).map(|row| row.2);
    let general = || FLAGS.iter().find(|(flag, _)| *flag == long).map(|row| row.1);
    let value = || arg.get_value_names().and_then(|names| names.first()).map(|name| named(name.as_str()));
    match arg.get_action() {
        ArgAction::SetTrue => BOOLEAN,
        _ => own().or_else(general).or_else(value).unwrap_or(Nothing),
    }
}

fn named(name: &str) -> Kind {
    NAMES.iter().find(|(known, _)| *known == name).map_or(Nothing, |row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    #[test]
    fn the_tables_are_about_what_there_is() {
        let parser = |name: &str| table::command(name).map(|command| (command.parser)());
        for (command, _) in WORDS {
            let parser = parser(command).unwrap_or_else(|| panic!("{command}"));
            assert!(parser.get_positionals().next().is_some(), "{command}");
        }
        for (command, flag, _) in OF_COMMANDS {
            let parser = parser(command).unwrap_or_else(|| panic!("{command}"));
            assert!(parser.get_arguments().any(|arg| arg.get_long() == Some(flag)), "{command} --{flag}");
        }
        let global = crate::global_flags::parser();
        let parsers: Vec<clap::Command> = table::all().map(|command| (command.parser)()).collect();
        let all = || parsers.iter().chain([&global]).flat_map(|parser| parser.get_arguments());
        for (flag, _) in FLAGS {
            assert!(all().any(|arg| arg.get_long() == Some(flag)), "--{flag}");
        }
        for (name, _) in NAMES {
            let names =
                |arg: &Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|n| n == name));
            assert!(name == "COLUMN" || all().any(names), "{name}");
        }
    }
}
