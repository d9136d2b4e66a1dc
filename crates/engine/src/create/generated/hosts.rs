//! A container's /etc/hosts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use loment_monitor::launch::OwnHosts;

use crate::config::{Config, HostEntry, HostsBase, Network};

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";

/// Its text; without what the image's begins with.
pub(super) fn text(config: &Config) -> io::Result<String> {
    let base = match &config.net.hosts.base {
        HostsBase::Network if config.net.network == Network::Host => read("/etc/hosts".as_ref()),
        HostsBase::Host => read("/etc/hosts".as_ref()),
        HostsBase::File(path) => Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()),
        HostsBase::Network | HostsBase::Nothing | HostsBase::Image => Ok(String::new()),
    }?;
    let OwnHosts { before, after } = around(config, &base)?;
    Ok(before + &base + if base.is_empty() || base.ends_with('\n') { "" } else { "\n" } + &after)
}

/// What goes around the image's own, for a container that keeps it.
pub(crate) fn around_image(config: &Config) -> io::Result<Option<OwnHosts>> {
    let hosts = &config.net.hosts;
    (hosts.base == HostsBase::Image && !hosts.none).then(|| around(config, "")).transpose()
}

/// The user's lines, which count most, and those that `base` lacks.
fn around(config: &Config, base: &str) -> io::Result<OwnHosts> {
    let net = &config.net;
    let mut before = String::new();
    for HostEntry { address, names } in &net.hosts.extra {
        let own = match address == HostEntry::GATEWAY {
            true => net.hosts.host_address.or_else(own_address).ok_or_else(no_address)?.to_string(),
            false => address.clone(),
        };
        before += &format!("{own}\t{names}\n");
    }
    let has = |name: &str| {
        let words = |line: &str| {
            line.split('#').next().unwrap_or_default().split_whitespace().skip(1).any(|word| word == name)
        };
        base.lines().chain(before.lines()).any(words)
    };
    let mut after = String::new();
    if !has("localhost") {
        after += LOCALHOST;
    }
    let host = "host.containers.internal";
    if net.hosts.names_host
        && !has(host)
        && let Some(own) = net.hosts.host_address.or_else(own_address)
    {
        after += &format!("{own}\t{host} host.docker.internal\n");
    }
    if net.network != Network::Host {
        let hostname = &net.hostname;
        let full = match net.domainname.as_str() {
            "" => String::new(),
            domain => format!("{hostname}.{domain} "),
        };
        after += &format!("127.0.0.1\t{full}{hostname} {}\n", config.name);
    }
    Ok(OwnHosts { before, after })
}

fn no_address() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "host-gateway cannot be replaced: this machine has no address that leads anywhere",
    )
}

/// The address by which this machine goes elsewhere. Nothing is sent: the kernel chooses it when a datagram's way is fixed. The
/// addresses are for documentation (RFC 5737, RFC 3849).
fn own_address() -> Option<IpAddr> {
    // Names, even those that are addresses, would be looked up by the C library.
    let by = |own: IpAddr, other: IpAddr| -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
        socket.connect(SocketAddr::new(other, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    let v4 = by(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(198, 51, 100, 1).into());
    let v6 = || by(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    v4.or_else(|_| v6()).ok()
}

/// A file of the host, which may lack it.
pub(super) fn read(path: &Path) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_lines_come_first_and_nothing_is_said_twice() {
        let mut config = Config { name: "c".into(), ..Config::default() };
        config.net.hostname = "h".into();
        config.net.domainname = "d.example".into();
        config.net.hosts.base = HostsBase::Nothing;
        config.net.hosts.extra = vec![HostEntry { address: "1.2.3.4".into(), names: "a b".into() }];
        let own = "127.0.0.1\th.d.example h c\n";
        assert_eq!(text(&config).unwrap(), format!("1.2.3.4\ta b\n{LOCALHOST}{own}"));
        config.net.hosts.names_host = true;
        let OwnHosts { after, .. } =
            around(&config, "1.1.1.1 x localhost # y\n5.6.7.8\thost.containers.internal\n").unwrap();
        assert_eq!(after, own);
        let after = around(&config, "# localhost\n").unwrap().after;
        assert!(after.starts_with(LOCALHOST), "{after}");
        config.net.network = Network::Host;
        config.net.hosts.names_host = false;
        assert_eq!(around(&config, "").unwrap().after, LOCALHOST);
    }
}
