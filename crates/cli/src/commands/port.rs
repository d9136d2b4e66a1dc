//! `port`

use clap::Parser;
use loment_engine::Container;

use super::choose::{Choice, latest};
use crate::error::Error;
use crate::globals::Globals;

/// List the ports of containers that the host hands on
///
/// Nothing is handed on so far: containers have no network of their own, or the host's.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Those of every running container
    #[arg(short, long)]
    all: bool,
    /// Those of the container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Container, unless a flag says which, then a port of it, as 80 or 53/udp
    #[arg(value_name = "CONTAINER [PORT]", num_args = 0..=2)]
    words: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if flags.all {
        let names = &flags.words;
        let choice = Choice { all: true, latest: flags.latest, names, ..Choice::default() };
        choice.ids(globals, &globals.engine()?, |c| c.status.is_active())?;
        return Ok(0);
    }
    let engine = globals.engine()?;
    let (name, port) = match (flags.latest, flags.words.as_slice()) {
        (true, []) => (latest(&engine)?, None),
        (true, [port]) => (latest(&engine)?, Some(port)),
        (true, _) => {
            return Err(Error::Invalid("--latest and containers cannot be used together".into()));
        }
        (false, [name, port @ ..]) => (name.clone(), port.first()),
        (false, []) => {
            return Err(Error::Invalid("you must supply a running container name or id".into()));
        }
    };
    let port = port.map(|text| parse(text)).transpose()?;
    let container = engine.container(&name)?;
    match port {
        // Podman says nothing where nothing is published.
        Some(port) if globals.persona.docker_documents => Err(unpublished(&container, &port)),
        _ => Ok(0),
    }
}

fn unpublished(container: &Container, (number, protocol): &(u16, String)) -> Error {
    let name = &container.config.name;
    Error::Invalid(format!("no public port '{number}/{protocol}' published for {name}"))
}

/// `80` or `53/udp`.
fn parse(text: &str) -> Result<(u16, String), Error> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match number.parse::<u16>() {
        Ok(number) if number > 0 && ["tcp", "udp", "sctp"].contains(&protocol.as_str()) => {
            Ok((number, protocol))
        }
        _ => {
            Err(Error::Invalid(format!("invalid port {text:?}: use a number, or NUMBER/tcp, /udp or /sctp")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol() {
        assert_eq!(parse("80").unwrap(), (80, "tcp".into()));
        assert_eq!(parse("53/UDP").unwrap(), (53, "udp".into()));
        for bad in ["", "x", "0", "65536", "80/", "80/icmp", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
