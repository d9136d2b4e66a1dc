//! Whose the commands and flags are that are not there: the parsers cannot say.

const API: &str = "to come with the API: there is no daemon to connect to";
const BUILD: &str = "to come with building images";
const NETWORKS: &str = "to come with networks";
const SWARM: &str = "for a swarm, and there is none";
const UNITS: &str = "to come with systemd units";

/// First words of commands that are not there yet, or never will be, and why.
const COMMANDS: [(&str, &str); 24] = [
    ("artifact", BUILD),
    ("auto-update", UNITS),
    ("build", BUILD),
    ("builder", BUILD),
    ("compose", "to come with compose"),
    ("config", SWARM),
    ("context", API),
    ("farm", BUILD),
    ("generate", UNITS),
    ("image build", BUILD),
    ("kube", "to come with Kubernetes"),
    ("machine", "to come with virtual machines"),
    ("network", NETWORKS),
    ("node", SWARM),
    ("plugin", "loment executes no plugins"),
    ("quadlet", UNITS),
    ("remote", API),
    ("service", SWARM),
    ("stack", SWARM),
    ("swarm", SWARM),
    ("system connection", API),
    ("system hyperv-prep", "for Windows hosts"),
    ("system service", API),
    ("volume update", SWARM),
];
/// A command, empty for what stands before it; flags of it that are not there; and why.
const FLAGS: [(&str, &[&str], &str); 8] = [
    (
        "",
        &[
            "connection",
            "context",
            "host",
            "identity",
            "remote",
            "ssh",
            "tls",
            "tls-ca",
            "tls-cert",
            "tls-details",
            "tls-key",
            "tlscacert",
            "tlscert",
            "tlskey",
            "tlsverify",
            "url",
        ],
        API,
    ),
    ("", &["conmon", "runtime-flag"], "loment runs and supervises containers itself"),
    ("", &["imagestore"], "images and containers have one root, by which is known which layers are in use"),
    ("", &["network-config-dir"], NETWORKS),
    ("pod create", &["ip", "ip6", "mac-address", "network-alias"], NETWORKS),
    ("rm", &["link"], NETWORKS),
    (
        "volume create",
        &[
            "availability",
            "group",
            "limit-bytes",
            "required-bytes",
            "scope",
            "secret",
            "sharing",
            "topology-preferred",
            "topology-required",
            "type",
        ],
        SWARM,
    ),
    ("volume ls", &["cluster"], SWARM),
];

/// Why a command is not there.
pub(crate) fn of_command(command: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(first, _)| begins(command, first)).map(|row| row.1)
}

/// Whether a command begins with these words; a group of some may be written with a dash, too.
pub(crate) fn begins(command: &str, words: &str) -> bool {
    command.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '-']))
}

/// Why a flag is not there.
pub(crate) fn of_flag(command: &str, flag: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(of, flags, _)| *of == command && flags.contains(&flag)).map(|row| row.2)
}

/// Every command and flag that is spoken of.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let commands = COMMANDS.iter().map(|(command, _)| (*command, None));
    commands.chain(FLAGS.iter().flat_map(|(of, flags, _)| flags.iter().map(|flag| (*of, Some(*flag)))))
}
