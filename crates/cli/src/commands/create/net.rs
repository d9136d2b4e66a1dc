//! Flags: a container's network.

use std::net::IpAddr;

use clap::Args;
use loment_engine::config::{HostsBase, Namespace, Network, Resolver};
use loment_engine::{Create, Engine};

use crate::commands::values::{list, namespace, net as values};
use crate::containers_conf::{CONTAINERS, ContainersConf};
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
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    no_hosts: Option<bool>,
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
    /// Refused: there is no network yet that has ports; with --network none or host it is left out with a warning
    #[arg(short, long, value_name = "PORT", hide = true)]
    publish: Vec<String>,
    /// Refused: there is no network yet that has ports; with --network none or host it is left out with a warning
    #[arg(short = 'P', long, hide = true)]
    publish_all: bool,
}

impl NetFlags {
    pub(super) fn apply(
        &self,
        globals: &Globals,
        conf: &ContainersConf,
        asked: &mut Create,
    ) -> Result<(), Error> {
        let network = match &self.network {
            Some(text) => Some(network(text)?),
            None => conf.text_as(CONTAINERS, "netns", usual_network)?.flatten(),
        };
        self.publish(network.as_ref())?;
        conf.text_as(CONTAINERS, "interface_name", |text| match text {
            // How interfaces of networks are called that are not there yet.
            "device" => Ok(()),
            _ => Err(Error::Invalid("use device, or nothing".into())),
        })?;
        asked.choices.hostname.clone_from(&self.hostname);
        let net = &mut asked.config.net;
        net.no_hostname = self.no_hostname;
        net.domainname = self.domainname.clone().unwrap_or_default();
        net.exposed =
            list(&self.expose).iter().map(|text| values::exposed(text)).collect::<Result<_, _>>()?;

        let hosts = &mut net.hosts;
        hosts.extra =
            list(&self.add_host).iter().map(|text| values::host_entry(text)).collect::<Result<_, _>>()?;
        hosts.none = match self.no_hosts {
            Some(asked) => asked,
            // Not where flags say what is in it.
            None if !hosts.extra.is_empty() || self.hosts_file.is_some() => false,
            None => conf.switch(CONTAINERS, "no_hosts")?.unwrap_or(false),
        };
        let usual = if globals.persona.completes_containers { HostsBase::Host } else { HostsBase::Network };
        hosts.base = match self.hosts_file.as_deref() {
            Some(text) => values::hosts_base(text)?,
            None => conf.text_as(CONTAINERS, "base_hosts_file", values::hosts_base)?.unwrap_or(usual),
        };
        hosts.names_host = globals.persona.completes_containers;
        if let Some(address) = conf.text_as(CONTAINERS, "host_containers_internal_ip", own_address)? {
            hosts.names_host = address.is_some();
            hosts.host_address = address;
        }
        for (other, is_given) in
            [("--add-host", !hosts.extra.is_empty()), ("--hosts-file", self.hosts_file.is_some())]
        {
            if self.no_hosts == Some(true) && is_given {
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
        if conf.switch(CONTAINERS, "container_name_as_hostname")? == Some(true) {
            asked.choices.hostname_is_name = true;
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
        if !matches!(mode, Network::Container(_)) {
            usual_resolver(conf, &mut asked.config.net.resolver)?;
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
            let flag = if self.publish.is_empty() { "--publish-all" } else { "--publish" };
            return Err(Error::Invalid(format!(
                "{flag} needs a network, and there are none but none and host yet: with --network host the container's ports are the host's"
            )));
        };
        let mode = network.name();
        let mode = mode.split(':').next().unwrap_or_default();
        complain(&format!(
            "Port mappings have been discarded because \"{mode}\" network namespace mode does not support them"
        ));
        Ok(())
    }

    /// Says once, not every time, that there is no bridge yet.
    pub(super) fn notice(&self, globals: &Globals, engine: &Engine, asked: &Create) {
        if asked.choices.network.is_some() || asked.choices.pod.is_some() {
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

/// `netns`: a network of one's own is what there is without a word about it.
fn usual_network(text: &str) -> Result<Option<Network>, Error> {
    match text {
        "private" | "bridge" => Ok(None),
        text => network(text).map(Some),
    }
}

/// `host_containers_internal_ip`: an address, or `none`.
fn own_address(text: &str) -> Result<Option<IpAddr>, Error> {
    match (text, text.parse()) {
        ("none", _) => Ok(None),
        (_, Ok(address)) => Ok(Some(address)),
        _ => Err(Error::Invalid("use an IP address, or none".into())),
    }
}

/// What containers.conf says of name servers, for what no flag says.
fn usual_resolver(conf: &ContainersConf, resolver: &mut Resolver) -> Result<(), Error> {
    let any = resolver.any();
    if resolver.none {
        return Ok(());
    }
    let text = |text: &str| Ok(text.to_owned());
    let servers = conf.list_as(CONTAINERS, "dns_servers", |server| match server {
        "none" => Ok(server.to_owned()),
        server => values::name_server(server),
    })?;
    if resolver.servers.is_empty() && servers == ["none"] {
        // Flags say what is in it.
        resolver.none = !any;
        return Ok(());
    }
    if resolver.servers.is_empty() {
        resolver.servers = servers.into_iter().filter(|server| server != "none").collect();
    }
    if resolver.search.is_empty() {
        resolver.search = conf.list_as(CONTAINERS, "dns_searches", text)?;
    }
    if resolver.options.is_empty() {
        resolver.options = conf.list_as(CONTAINERS, "dns_options", text)?;
    }
    Ok(())
}

fn network(text: &str) -> Result<Network, Error> {
    match text {
        // There is nothing else yet that would be its own.
        "none" | "private" => Ok(Network::None),
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
