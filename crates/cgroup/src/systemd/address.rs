//! Where a bus is: addresses as the D-Bus Specification writes them ("Server Addresses").

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;

/// A socket on which somebody speaks D-Bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    place: Place,
    /// There is a bus; without one, who answers is systemd itself.
    bus: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Address {
    /// A bus at that path.
    pub fn bus(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Path(path.into()), bus: true }
    }

    /// systemd's own socket at that path. It is what `systemctl` uses, and there where no bus is; but systemd(1) does not
    /// promise it to others, so it comes last.
    pub fn private(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::Path(path.into()), bus: false }
    }

    /// The unix sockets of a list such as `unix:path=/run/user/1000/bus,guid=…;tcp:…`.
    pub fn parse(list: &str) -> Vec<Self> {
        list.split(';').filter_map(Self::parse_one).collect()
    }

    fn parse_one(text: &str) -> Option<Self> {
        text.strip_prefix("unix:")?.split(',').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let value = unescape(value)?;
            let place = match key {
                "path" => Place::Path(PathBuf::from(OsString::from_vec(value))),
                "abstract" => Place::Abstract(value),
                _ => return None,
            };
            Some(Self { place, bus: true })
        })
    }

    pub(super) fn is_bus(&self) -> bool {
        self.bus
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        match &self.place {
            Place::Path(path) => UnixStream::connect(path),
            Place::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Path(path) => path.display().fmt(f),
            Place::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// Bytes that are not plain are written as % and two hexadecimal digits.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets_are_found_in_a_list() {
        let list =
            "tcp:host=x,port=1;unix:path=/run/user/1000/b%2Cus,guid=8f;unix:abstract=/tmp/x;unix:dir=/tmp";
        let found = Address::parse(list);
        let abstract_one = Address { place: Place::Abstract(b"/tmp/x".into()), bus: true };
        assert_eq!(found, [Address::bus("/run/user/1000/b,us"), abstract_one]);
        assert!(Address::parse("unix:path=%zz;unix:path=%+1;nothing;").is_empty());
    }
}
