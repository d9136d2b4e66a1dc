//! Addresses of devices (rtnetlink(7), `RTM_NEWADDR`), kept as the kernel says them: of any family, with all attributes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::message::{Attributes, CREATE, REPLACE, Request, as_text, number};
use crate::{Namespace, Refused};

const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;

const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const LABEL: u16 = 3;
const FLAGS: u16 = 8;

/// `AF_INET`
pub(crate) const INET: u8 = 2;
/// `AF_INET6`
pub(crate) const INET6: u8 = 10;

const PERMANENT: u32 = 0x80;
/// For IPv6; the same number means a secondary address for IPv4.
const TEMPORARY: u32 = 1;
/// The longest label, as that of a name.
const MAX_LABEL: usize = 15;

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// A `struct ifaddrmsg`: family, length of the prefix, flags, scope, number of the device.
    head: [u8; 8],
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Reads a `struct ifaddrmsg` and its attributes.
pub(crate) fn parse(payload: &[u8]) -> Option<Address> {
    let (head, rest) = payload.split_first_chunk::<8>()?;
    let attributes = Attributes(rest).map(|(kind, value)| (kind, value.to_vec())).collect();
    Some(Address { head: *head, attributes })
}

impl Address {
    fn attribute(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(k, _)| *k == kind).map(|(_, value)| value.as_slice())
    }

    fn flags(&self) -> u32 {
        let long = self.attribute(FLAGS).and_then(|value| value.first_chunk());
        long.map_or(self.head[2].into(), number)
    }

    fn index(&self) -> u32 {
        number(&[self.head[4], self.head[5], self.head[6], self.head[7]])
    }

    /// Whether it goes with its device into another namespace: permanent and of global scope (runtime-spec 1.3,
    /// config-linux.md, "Network Devices").
    pub(crate) fn travels(&self) -> bool {
        self.flags() & PERMANENT != 0 && self.head[3] == 0
    }

    /// Whether the kernel made it up, for a while, from one it was given.
    fn is_temporary(&self) -> bool {
        self.head[0] == INET6 && self.flags() & TEMPORARY != 0
    }

    /// What adds it to the device `to`. Its label begins with the name of its device, so it follows that.
    pub(crate) fn add(&self, to: u32, renamed: (&str, &str)) -> Request {
        let mut head = self.head;
        head[4..].copy_from_slice(&to.to_ne_bytes());
        let request = Request::new(NEWADDR, CREATE | REPLACE, &head);
        self.attributes.iter().fold(request, |request, (kind, value)| match *kind {
            LABEL => match label(&as_text(value), renamed) {
                Some(text) => request.with_name(LABEL, &text),
                None => request,
            },
            kind => request.with(kind, value),
        })
    }
}

/// The label on a device with another name; `None` for the one it gets by itself.
fn label(text: &str, (old, new): (&str, &str)) -> Option<String> {
    let rest = text.strip_prefix(old).filter(|rest| rest.starts_with(':'))?;
    Some(format!("{new}{rest}")).filter(|text| text.len() <= MAX_LABEL)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.attribute(LOCAL).or_else(|| self.attribute(ADDRESS)).unwrap_or_default();
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            write!(f, "{}", Ipv4Addr::from(four))?;
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
            write!(f, "{}", Ipv6Addr::from(sixteen))?;
        } else {
            write!(f, "of family {}", self.head[0])?;
        }
        write!(f, "/{}", self.head[1])
    }
}

impl Namespace {
    /// The addresses of a device, in the kernel's order; without those that it makes up itself.
    pub(crate) fn addresses(&self, index: u32) -> Result<Vec<Address>, Refused> {
        let mut head = [0; 8];
        head[4..].copy_from_slice(&index.to_ne_bytes());
        let items = self.socket.ask(&Request::dump(GETADDR, &head))?;
        let all = items.iter().filter_map(|item| parse(item));
        Ok(all.filter(|a| a.index() == index && !a.is_temporary()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_follows_the_name_of_its_device() {
        assert_eq!(label("eth0:web", ("eth0", "net1")), Some("net1:web".to_owned()));
        assert_eq!(label("eth0", ("eth0", "net1")), None);
        assert_eq!(label("other", ("eth0", "net1")), None);
        assert_eq!(label("eth0:web", ("eth0", "123456789012")), None);
    }

    #[test]
    fn permanent_addresses_of_global_scope_travel() {
        let address = |flags: u8, scope: u8, long: Option<u32>| Address {
            head: [INET, 24, flags, scope, 1, 0, 0, 0],
            attributes: long.map(|f| (FLAGS, f.to_ne_bytes().to_vec())).into_iter().collect(),
        };
        assert!(address(0x80, 0, None).travels());
        assert!(!address(0, 0, None).travels());
        assert!(!address(0x80, 253, None).travels());
        // The long form is the whole truth.
        assert!(!address(0x80, 0, Some(0x200)).travels());
        assert!(address(0, 0, Some(0x280)).travels());
    }
}
