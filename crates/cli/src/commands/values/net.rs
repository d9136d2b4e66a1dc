//! A container's network.

use std::net::IpAddr;

use loment_engine::config::{HostEntry, HostsBase};

use super::invalid;
use crate::error::Error;

/// `NAME[;NAME…]:ADDRESS`; Docker's `=` in place of the colon, and brackets around an address, too.
pub(in crate::commands) fn host_entry(text: &str) -> Result<HostEntry, Error> {
    let Some((names, address)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        return invalid(format!("invalid value {text:?} for --add-host: use NAME:IP-ADDRESS"));
    };
    let names: Vec<&str> = names.split(';').filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.iter().any(|name| name.contains(|c: char| c.is_whitespace() || c == '#')) {
        return invalid(format!("hostname in add-host {text:?} is empty or no name"));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != HostEntry::GATEWAY && bare.parse::<IpAddr>().is_err() {
        return invalid(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(HostEntry { address: bare.to_owned(), names: names.join(" ") })
}

/// `--hosts-file`
pub(in crate::commands) fn hosts_base(text: &str) -> Result<HostsBase, Error> {
    match text {
        "" => Ok(HostsBase::Host),
        "image" => Ok(HostsBase::Image),
        "none" => Ok(HostsBase::Nothing),
        path if std::fs::metadata(path).is_ok_and(|found| found.is_file()) && path.starts_with('/') => {
            Ok(HostsBase::File(path.into()))
        }
        _ => invalid(format!(
            "invalid value {text:?} for --hosts-file: use the absolute path of a file, image or none"
        )),
    }
}

/// `PORT[-PORT][/PROTOCOL]`, whole.
pub(in crate::commands) fn exposed(text: &str) -> Result<String, Error> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let port = |port: &str| port.parse::<u16>().ok().filter(|&port| port > 0);
    let range = match ports.split_once('-') {
        Some((first, last)) => port(first).zip(port(last)).filter(|(first, last)| first <= last),
        None => port(ports).map(|port| (port, port)),
    };
    match range {
        Some((first, last)) if matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
            Ok(match first == last {
                true => format!("{first}/{protocol}"),
                false => format!("{first}-{last}/{protocol}"),
            })
        }
        _ => invalid(format!("invalid range format for --expose: {text}: use PORT[-PORT][/tcp|udp|sctp]")),
    }
}

/// An address of a name server.
pub(in crate::commands) fn name_server(text: &str) -> Result<String, Error> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => invalid(format!("{text} is not an ip address: --dns takes one, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_names_and_addresses_in_several_spellings() {
        let of = |text| host_entry(text).map(|e| (e.names, e.address)).ok();
        let is = |names: &str, address: &str| Some((names.to_owned(), address.to_owned()));
        assert_eq!(of("a:1.2.3.4"), is("a", "1.2.3.4"));
        assert_eq!(of("a;b;c:::1"), is("a b c", "::1"));
        assert_eq!(of("a=[fe80::1]"), is("a", "fe80::1"));
        assert_eq!(of("a:[::1]"), is("a", "::1"));
        assert_eq!(of("a:host-gateway"), is("a", "host-gateway"));
        for bad in ["a", ":1.2.3.4", "a:", "a:1.2.3", "a:b", "a b:1.2.3.4", "a\nb:1.2.3.4", ";:1.2.3.4"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn ports_have_protocols() {
        for (text, wanted) in [("80", "80/tcp"), ("80-80/UDP", "80/udp"), ("1-65535/sctp", "1-65535/sctp")] {
            assert_eq!(exposed(text).unwrap(), wanted);
        }
        for bad in ["", "x", "0", "65536", "9-8", "80/", "80/icmp", "80-"] {
            assert!(exposed(bad).is_err(), "{bad:?}");
        }
    }
}
