//! The peers' commands and flags: docs/peers.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use xtask::run::workspace;

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Podman,
    Docker,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::Podman, Self::Docker];

    fn file(self) -> &'static str {
        match self {
            Self::Podman => "docs/peers/podman-6.0-dev.json",
            Self::Docker => "docs/peers/docker-28.2.2.json",
        }
    }

    pub(crate) fn letter(self) -> char {
        match self {
            Self::Podman => 'P',
            Self::Docker => 'D',
        }
    }

    /// Its commands, with the names of their flags, without dashes.
    pub(crate) fn commands(self) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let path = workspace().join(self.file());
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let all: BTreeMap<String, Vec<String>> =
            serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let bare = |flag: String| flag.trim_start_matches('-').to_owned();
        Ok(all.into_iter().map(|(name, flags)| (name, flags.into_iter().map(bare).collect())).collect())
    }
}
