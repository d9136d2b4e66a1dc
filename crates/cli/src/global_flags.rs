//! The flags before the command: which there are. What they do is in [`crate::globals`].

use clap::{Arg, ArgAction, Command};

/// How the help of a flag begins that is known and does nothing.
pub const ACCEPTED: &str = "Accepted for compatibility";

/// A flag.
pub(crate) struct GlobalFlag {
    /// Without dashes.
    name: &'static str,
    letter: Option<char>,
    /// What stands for its value, if it has one.
    pub(crate) value: Option<&'static str>,
    about: &'static str,
}

const fn switch(name: &'static str, about: &'static str) -> GlobalFlag {
    GlobalFlag { name, letter: None, value: None, about }
}

const fn flag(name: &'static str, value: &'static str, about: &'static str) -> GlobalFlag {
    GlobalFlag { name, letter: None, value: Some(value), about }
}

const FLAGS: [GlobalFlag; 22] = [
    flag(
        "cdi-spec-dir",
        "DIR",
        "Read from this directory which devices there are, besides others that are given",
    ),
    flag("cgroup-manager", "NAME", "Have groups made by systemd or cgroupfs"),
    flag(
        "config",
        "DIR",
        "Read logins of Docker's configuration here [default: $DOCKER_CONFIG, or ~/.docker]",
    ),
    GlobalFlag { letter: Some('D'), ..switch("debug", ACCEPTED) },
    flag("default-mounts-file", "FILE", "Mount in every container what this file lists"),
    flag("events-backend", "NAME", "Keep events in a file, or none"),
    flag("hooks-dir", "DIR", "Run what files in this directory describe, besides others that are given"),
    flag("log-level", "LEVEL", ACCEPTED),
    flag("module", "FILE", "Read this file of containers.conf's kind, too"),
    switch("noout", "Print no results"),
    flag("out", "FILE", "Write results to a file"),
    flag("root", "DIR", "Keep images and containers here [default: /var/lib/loment]"),
    flag("runroot", "DIR", "Keep here what a reboot forgets [default: /run/loment]"),
    flag("runtime", "RUNTIME", ACCEPTED),
    flag("storage-driver", "DRIVER", ACCEPTED),
    flag("storage-opt", "OPTION", "Set loment.form, loment.files, overlay.size or overlay.inodes"),
    switch("syslog", ACCEPTED),
    flag("tmpdir", "DIR", ACCEPTED),
    switch("transient-store", "Make containers that do not outlive a boot"),
    flag("volumepath", "DIR", "Keep volumes here [default: volumes, in the directory of --root]"),
    GlobalFlag { letter: Some('h'), ..switch("help", "Print help") },
    GlobalFlag { letter: Some('v'), ..switch("version", "Print the version") },
];
/// They count before the command only.
const BEFORE: [&str; 3] = ["module", "help", "version"];

/// The flag that is typed like this, if it is taken behind the command, too, as Podman takes it.
pub(crate) fn of_every_command(typed: &str) -> Option<&'static GlobalFlag> {
    find(typed).filter(|flag| !BEFORE.contains(&flag.name))
}

/// The flag that is typed like this, if peers' command lines contain it and it changes nothing here.
pub(crate) fn without_effect(typed: &str) -> Option<&'static GlobalFlag> {
    find(typed).filter(|flag| flag.about.starts_with(ACCEPTED))
}

fn find(typed: &str) -> Option<&'static GlobalFlag> {
    let name = typed.strip_prefix("--")?;
    FLAGS.iter().find(|flag| flag.name == name)
}

/// Their part of the help.
pub(crate) fn help() -> String {
    let shown = FLAGS.iter().filter(|flag| !flag.about.starts_with(ACCEPTED));
    let line = |flag: &GlobalFlag| {
        let letter = flag.letter.map_or_else(|| "   ".to_owned(), |letter| format!("-{letter},"));
        let value = flag.value.map_or_else(String::new, |value| format!(" <{value}>"));
        format!("  {letter} {:<30}{}\n", format!("--{}{value}", flag.name), flag.about)
    };
    shown.fold("\nOptions:\n".to_owned(), |text, flag| text + &line(flag))
}

/// The same as a parser, for whoever asks which flags there are.
pub(crate) fn parser() -> Command {
    let command = Command::new("").disable_help_flag(true).disable_version_flag(true);
    FLAGS.iter().fold(command, |command, flag| {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.about);
        let arg = flag.letter.into_iter().fold(arg, Arg::short);
        command.arg(match flag.value {
            Some(value) => arg.value_name(value).action(ArgAction::Append),
            None => arg.action(ArgAction::SetTrue),
        })
    })
}
