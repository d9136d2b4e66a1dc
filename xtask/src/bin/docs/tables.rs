//! Tables of the peers' commands and flags: what works here, what is taken and does nothing, what is refused, and what is not there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::{Arg, Command};
use loment_cli::reference::{self, ACCEPTED, REFUSED};

use crate::owners;
use crate::peers::Peer;

/// What a flag of a peer is here.
enum Flag {
    Works,
    Accepted,
    /// With the reason.
    Refused(String),
    /// With the reason, if it is not just to come.
    Missing(Option<&'static str>),
}

/// A command here, and what of it the peers have.
#[derive(Default)]
struct Row {
    peers: BTreeSet<Peer>,
    flags: BTreeSet<String>,
}

/// What the peers have.
struct Peers {
    /// By our commands; the flags before the command are an empty one's.
    here: BTreeMap<&'static str, Row>,
    absent: BTreeMap<String, BTreeSet<Peer>>,
    parsers: BTreeMap<&'static str, Command>,
}

/// Flags by the commands that have them.
type ByCommands = BTreeMap<Vec<&'static str>, Vec<String>>;

/// Writes all of them.
pub(crate) fn write() -> anyhow::Result<String> {
    let peers = Peers::read()?;
    peers.check_owners()?;
    let tables = [peers.flags(), peers.reasons(), peers.commands()];
    Ok(tables.join("\n"))
}

impl Peers {
    fn read() -> anyhow::Result<Self> {
        let spellings = reference::spellings();
        let groups: Vec<&str> = reference::groups().into_iter().map(|(name, _)| name).collect();
        let (mut here, mut absent): (BTreeMap<_, Row>, BTreeMap<_, BTreeSet<Peer>>) = Default::default();
        for peer in Peer::ALL {
            for (name, flags) in peer.commands()? {
                let command = match spellings.iter().find(|spelling| spelling.typed == name) {
                    Some(spelling) => spelling.command,
                    None if name.is_empty() => "",
                    None if groups.contains(&name.as_str()) => continue,
                    None => {
                        absent.entry(name).or_default().insert(peer);
                        continue;
                    }
                };
                let row = here.entry(command).or_default();
                row.peers.insert(peer);
                row.flags
                    .extend(flags.into_iter().filter(|flag| !["help", "version"].contains(&flag.as_str())));
            }
        }
        let parsers = spellings.into_iter().map(|spelling| (spelling.command, spelling.parser));
        let parsers = parsers.chain([("", reference::global_flags())]).collect();
        Ok(Self { here, absent, parsers })
    }

    /// Refuses what is said of things that are there.
    fn check_owners(&self) -> anyhow::Result<()> {
        for (command, flag) in owners::all() {
            let is_missing = match flag {
                None => self.absent.keys().any(|name| owners::begins(name, command)),
                Some(flag) => {
                    let is_peers = self.here.get(command).is_some_and(|row| row.flags.contains(flag));
                    is_peers && matches!(self.flag(command, flag), Flag::Missing(_))
                }
            };
            if !is_missing {
                let flag = flag.unwrap_or_default();
                bail!("xtask/src/bin/docs/owners.rs says why there is no `{command} {flag}`");
            }
        }
        Ok(())
    }

    /// What a flag is here.
    fn flag(&self, command: &str, flag: &str) -> Flag {
        let is_it = |arg: &&Arg| {
            arg.get_long() == Some(flag) || arg.get_all_aliases().is_some_and(|all| all.contains(&flag))
        };
        let Some(arg) = self.parsers.get(command).and_then(|parser| parser.get_arguments().find(is_it))
        else {
            return Flag::Missing(owners::of_flag(command, flag));
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        match help.strip_prefix(REFUSED) {
            Some(reason) => Flag::Refused(reason.to_owned()),
            None if help.starts_with(ACCEPTED) => Flag::Accepted,
            None => Flag::Works,
        }
    }

    /// Each command's flags.
    fn flags(&self) -> String {
        let head = "| Command | Of | Works | Without effect | Refused | Not there yet |\n|---|---|---|---|---|---|\n";
        let mut text = head.to_owned();
        for (command, row) in &self.here {
            let mut cells = [const { String::new() }; 4];
            for flag in &row.flags {
                let cell = match self.flag(command, flag) {
                    Flag::Works => 0,
                    Flag::Accepted => 1,
                    Flag::Refused(_) | Flag::Missing(Some(_)) => 2,
                    Flag::Missing(None) => 3,
                };
                cells[cell] += &format!("`--{flag}` ");
            }
            let name = if command.is_empty() { "before the command".into() } else { format!("`{command}`") };
            let cells = cells.map(|cell| cell.trim_end().to_owned()).join(" | ");
            text += &format!("| {name} | {} | {cells} |\n", letters(&row.peers));
        }
        text
    }

    /// Why flags are refused.
    fn reasons(&self) -> String {
        let mut reasons: BTreeMap<String, BTreeMap<&str, Vec<&'static str>>> = BTreeMap::new();
        for (command, row) in &self.here {
            for flag in &row.flags {
                let reason = match self.flag(command, flag) {
                    Flag::Refused(reason) => reason,
                    Flag::Missing(Some(reason)) => reason.to_owned(),
                    Flag::Works | Flag::Accepted | Flag::Missing(None) => continue,
                };
                reasons.entry(reason).or_default().entry(flag).or_default().push(command);
            }
        }
        let mut text = "Why flags are refused:\n\n| Flags | Of | Why |\n|---|---|---|\n".to_owned();
        for (reason, flags) in reasons {
            let mut by_commands = ByCommands::new();
            for (flag, commands) in flags {
                by_commands.entry(commands).or_default().push(format!("`--{flag}`"));
            }
            for (commands, flags) in by_commands {
                let quoted: Vec<String> = commands.iter().map(|command| format!("`{command}`")).collect();
                let of = if commands == [""] { "before the command".into() } else { quoted.join(" ") };
                text += &format!("| {} | {of} | {reason} |\n", flags.join(" "));
            }
        }
        text
    }

    /// Commands that are not there.
    fn commands(&self) -> String {
        let refused = reference::refused_commands();
        let mut by_reason: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for (name, peers) in &self.absent {
            let refused = refused.iter().find(|(other, _)| other == name).map(|(_, reason)| *reason);
            let reason = refused.or_else(|| owners::of_command(name)).unwrap_or("not there yet");
            by_reason.entry((reason, letters(peers))).or_default().push(format!("`{name}`"));
        }
        let mut text = "Commands that are not there:\n\n| Commands | Of | Why |\n|---|---|---|\n".to_owned();
        for ((reason, peers), names) in by_reason {
            text += &format!("| {} | {peers} | {reason} |\n", names.join(" "));
        }
        text
    }
}

fn letters(peers: &BTreeSet<Peer>) -> String {
    peers.iter().map(|peer| peer.letter()).collect()
}
