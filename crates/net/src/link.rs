//! Devices: what the kernel says of one, and orders for one (rtnetlink(7), `RTM_NEWLINK`).

use rustix::io::Errno;

use crate::message::{Attributes, Request, as_text, number};
use crate::{Namespace, Refused};

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;

const IFNAME: u16 = 3;
const MASTER: u16 = 10;
const NET_NS_FD: u16 = 28;

const UP: u32 = 1;
const LOOPBACK: u32 = 8;

/// A device, of what is said of it what we need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    /// The device it is a port of, such as a bridge.
    pub(crate) master: Option<u32>,
}

/// Reads a `struct ifinfomsg` and its attributes.
pub(crate) fn parse(payload: &[u8]) -> Option<Link> {
    let (head, rest) = payload.split_first_chunk::<16>()?;
    let flags = number(&[head[8], head[9], head[10], head[11]]);
    let find = |kind| Attributes(rest).find(|(k, _)| *k == kind).map(|(_, value)| value);
    Some(Link {
        index: number(&[head[4], head[5], head[6], head[7]]),
        name: as_text(find(IFNAME)?),
        up: flags & UP != 0,
        loopback: flags & LOOPBACK != 0,
        master: find(MASTER).and_then(|value| Some(number(value.first_chunk()?))),
    })
}

/// A `struct ifinfomsg`.
fn head(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8..12].copy_from_slice(&flags.to_ne_bytes());
    head[12..].copy_from_slice(&change.to_ne_bytes());
    head
}

/// Sends a device elsewhere. The name is tried when it is there; if it is taken, the device may be there under its old one.
pub(crate) fn send_to(index: u32, namespace: &Namespace, name: &str) -> Request {
    Request::new(NEWLINK, 0, &head(index, 0, 0)).with(NET_NS_FD, &namespace.number()).with_name(IFNAME, name)
}

/// Gives a device another name, or the first that is free of a template. It must be down.
pub(crate) fn rename(index: u32, name: &str) -> Request {
    Request::new(NEWLINK, 0, &head(index, 0, 0)).with_name(IFNAME, name)
}

/// Sets a device up.
pub(crate) fn set_up(index: u32) -> Request {
    Request::new(NEWLINK, 0, &head(index, UP, UP))
}

/// Makes a device a port of another.
pub(crate) fn set_master(index: u32, master: u32) -> Request {
    Request::new(NEWLINK, 0, &head(index, 0, 0)).with(MASTER, &master.to_ne_bytes())
}

impl Namespace {
    /// The device of that name. One that has it as a further name is found, too, and says its own.
    pub(crate) fn link_named(&self, name: &str) -> Result<Option<Link>, Refused> {
        self.link(&Request::new(GETLINK, 0, &head(0, 0, 0)).with_name(IFNAME, name))
    }

    /// The device of that number.
    pub(crate) fn link_numbered(&self, index: u32) -> Result<Option<Link>, Refused> {
        self.link(&Request::new(GETLINK, 0, &head(index, 0, 0)))
    }

    fn link(&self, request: &Request) -> Result<Option<Link>, Refused> {
        match self.socket.ask(request) {
            Ok(items) => Ok(items.iter().find_map(|item| parse(item))),
            Err(e) if e.is(Errno::NODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }
}
