//! Flags: a container's network.

use clap::Args;
use loment_engine::config::{HostsBase, Namespace, Network};
use loment_engine::{Create, Engine};

use crate::commands::values::{list, namespace, net as values};
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
    /// Leave /etc/hostname as it is in the image
    #[arg(long)]
    no_hostname: bool,
    /// Set the domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Add a line to /etc/hosts; the address may be host-gateway, the host's own
    #[arg(long, value_name = "NAME[;NAME...]:ADDRESS")]
    add_host: Vec<String>,
    /// Let /etc/hosts begin with this file of the host, with the image's (image), or with nothing (none)
    #[arg(long, value_name = "FILE")]
    hosts_file: Option<String>,
    /// Leave /etc/hosts as it is in the image
    #[arg(long)]
    no_hosts: bool,
    /// Set a name server; none leaves /etc/resolv.conf as it is in the image
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Set an option of the resolver, such as ndots:2
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Set a domain in which names are looked for; . is none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Say that the container serves a port
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]")]
    expose: Vec<String>,
    /// Publish a port; there is no network yet that has any
    #[arg(short, long, value_name = "PORT", hide = true)]
    publish: Vec<String>,
    /// Publish all exposed ports; there is no network yet that has any
    #[arg(short = 'P', long, hide = true)]
    publish_all: bool,
}

impl NetFlags {
    pub(super) fn apply(&self, globals: &Globals, asked: &mut Create) -> Result<(), Error> {
        let network = self.network.as_deref().map(network).transpose()?;
        self.publish(network.as_ref())?;
        asked.choices.hostname.clone_from(&self.hostname);
        let net = &mut asked.config.net;
        net.no_hostname = self.no_hostname;
        net.domainname = self.domainname.clone().unwrap_or_default();
        net.exposed =
            list(&self.expose).iter().map(|text| values::exposed(text)).collect::<Result<_, _>>()?;

        let hosts = &mut net.hosts;
        hosts.none = self.no_hosts;
        hosts.extra =
            list(&self.add_host).iter().map(|text| values::host_entry(text)).collect::<Result<_, _>>()?;
        let usual = if globals.persona.completes_containers { HostsBase::Host } else { HostsBase::Network };
        hosts.base = self.hosts_file.as_deref().map_or(Ok(usual), values::hosts_base)?;
        hosts.names_host = globals.persona.completes_containers;
        for (other, is_given) in
            [("--add-host", !hosts.extra.is_empty()), ("--hosts-file", self.hosts_file.is_some())]
        {
            if self.no_hosts && is_given {
                return Err(Error::Invalid(format!("--no-hosts and {other} cannot be set together")));
            }
        }

        let resolver = &mut net.resolver;
        let servers = list(&self.dns);
        resolver.none = servers == ["none"];
        resolver.search = list(&self.dns_search);
        resolver.options = list(&self.dns_option);
        if resolver.none && !(resolver.search.is_empty() && resolver.options.is_empty()) {
            return Err(Error::Invalid(
                "--dns none leaves /etc/resolv.conf alone: --dns-search and --dns-option cannot change it"
                    .into(),
            ));
        }
        if !resolver.none {
            resolver.servers =
                servers.iter().map(|text| values::name_server(text)).collect::<Result<_, _>>()?;
        }
        if resolver.search.len() > 1 && resolver.search.iter().any(|domain| domain == ".") {
            return Err(Error::Invalid(
                "cannot pass additional search domains when also specifying '.'".into(),
            ));
        }
        let (mode, docker) = (network.clone().unwrap_or_default(), !globals.persona.completes_containers);
        let conflict = |what: &str, hint: &str| {
            let kind = mode.name();
            let kind = kind.split(':').next().unwrap_or_default();
            Err(Error::Invalid(format!("conflicting options: {what} and the network mode: {kind}{hint}")))
        };
        match mode {
            Network::None if resolver.any() && !docker => {
                let hint =
                    if network.is_some() { "" } else { ": there are no networks but none and host yet" };
                return conflict("dns", hint);
            }
            // Its files are those of the other container.
            Network::Container(_) if resolver.any() => return conflict("dns", ""),
            Network::Container(_) if !hosts.extra.is_empty() || self.hosts_file.is_some() => {
                return conflict("hosts", "");
            }
            _ => {}
        }
        asked.choices.network = network;
        Ok(())
    }

    /// Ports of these networks are nobody's to publish; whoever names one knows that.
    fn publish(&self, network: Option<&Network>) -> Result<(), Error> {
        if self.publish.is_empty() && !self.publish_all {
            return Ok(());
        }
        let Some(network) = network else {
            return Err(Error::Invalid(
                "--publish needs a network, and there are none but none and host yet: with --network host the container's ports are the host's".into(),
            ));
        };
        let mode = network.name();
        let mode = mode.split(':').next().unwrap_or_default();
        complain(&format!(
            "Port mappings have been discarded because \"{mode}\" network namespace mode does not support them"
        ));
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
