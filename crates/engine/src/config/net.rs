//! A container's network, and what it is called there.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container's network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Net {
    /// Whose.
    pub network: Network,
    /// Its own host name.
    pub hostname: String,
    /// There is no /etc/hostname but the image's.
    pub no_hostname: bool,
    /// The domain that its host name is in (setdomainname(2)).
    pub domainname: String,
    /// Its /etc/hosts.
    pub hosts: Hosts,
    /// Its /etc/resolv.conf.
    pub resolver: Resolver,
    /// Ports that it serves: `80/tcp`, `8000-8010/udp`.
    pub exposed: Vec<String>,
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first and the last.
    pub ports: RangeInclusive<u16>,
    /// `tcp`, if nothing else is said.
    pub protocol: String,
}

impl PortRange {
    /// Reads `80`, `80/tcp` or `8000-8010/udp`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| Self { ports: first..=last, protocol: protocol.to_owned() })
    }

    /// Whether they have one in common.
    pub fn meets(&self, other: &Self) -> bool {
        let (a, b) = (&self.ports, &other.ports);
        self.protocol == other.protocol && a.start() <= b.end() && b.start() <= a.end()
    }
}

/// Whose network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of its own with a loopback interface only.
    #[default]
    None,
    /// The host's.
    Host,
    /// That of the container with this id.
    Container(String),
    /// The network namespace at this absolute path.
    Path(PathBuf),
}

impl Network {
    /// As users write it.
    pub fn name(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Container(id) => format!("container:{id}"),
            Self::Path(path) => format!("ns:{}", path.display()),
        }
    }

    /// The container whose it is, if that is another.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Container(id) => Some(id),
            _ => None,
        }
    }
}

/// What is in a container's /etc/hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hosts {
    /// There is none but the image's.
    pub none: bool,
    /// What it begins with.
    pub base: HostsBase,
    /// The host is known as `host.containers.internal`.
    pub names_host: bool,
    /// By this address; `None` is the one by which this machine goes elsewhere.
    pub host_address: Option<IpAddr>,
    /// Further lines.
    pub extra: Vec<HostEntry>,
}

/// What a container's /etc/hosts begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostsBase {
    /// The host's in its network, nothing elsewhere.
    #[default]
    Network,
    /// The host's.
    Host,
    /// The image's.
    Image,
    /// Nothing.
    Nothing,
    /// A file of the host.
    File(PathBuf),
}

/// A line of /etc/hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// An IP address, or [`HostEntry::GATEWAY`].
    pub address: String,
    /// Names, with blanks between them.
    pub names: String,
}

impl HostEntry {
    /// The host's own address, whatever that is when the container starts.
    pub const GATEWAY: &str = "host-gateway";
}

/// What is in a container's /etc/resolv.conf: where this says nothing, what the host's says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolver {
    /// There is none but the image's.
    pub none: bool,
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Domains in which names are looked for; `.` alone is none.
    pub search: Vec<String>,
    /// See resolv.conf(5).
    pub options: Vec<String>,
}

impl Resolver {
    /// Whether something is asked for.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
