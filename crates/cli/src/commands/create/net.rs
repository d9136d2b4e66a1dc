//! Flags: a container's network.

use clap::Args;
use loment_engine::config::{Namespace, Network};
use loment_engine::{Create, Engine};

use crate::commands::values::namespace;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::complain;

#[derive(Args, Debug)]
#[command(next_help_heading = "Network")]
pub(super) struct NetFlags {
    /// Choose the network: none, host, container:NAME or ns:PATH
    #[arg(long, alias = "net", value_name = "NETWORK")]
    network: Option<String>,
    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
}

impl NetFlags {
    pub(super) fn apply(&self, asked: &mut Create) -> Result<(), Error> {
        asked.choices.network = self.network.as_deref().map(network).transpose()?;
        asked.choices.hostname.clone_from(&self.hostname);
        Ok(())
    }

    /// Says once, not every time, that there is no bridge yet.
    pub(super) fn notice(&self, globals: &Globals, engine: &Engine) {
        if self.network.is_some() {
            return;
        }
        let marker = engine.root().join(".network-notice");
        let new = std::fs::File::options().write(true).create_new(true).open(marker);
        if new.is_ok() {
            let program = globals.persona.name;
            complain(&format!(
                "Note: containers have no network unless --network host is given: {program} has no bridge yet. This is said once."
            ));
        }
    }
}

fn network(text: &str) -> Result<Network, Error> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other if other.starts_with("container:") || other.starts_with("ns:") => {
            match namespace::mode("network", Some(other))? {
                Namespace::Container(name) => Ok(Network::Container(name)),
                Namespace::Path(path) => Ok(Network::Path(path)),
                _ => Err(Error::Invalid(format!("invalid network {other:?}"))),
            }
        }
        other => Err(Error::Invalid(format!(
            "network {other:?} is not supported yet: use none, host, container:NAME or ns:PATH"
        ))),
    }
}
