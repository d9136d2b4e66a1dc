//! Routes through a device (rtnetlink(7), `RTM_NEWROUTE`), kept as the kernel says them.

use rustix::io::Errno;

use crate::address::{INET, INET6};
use crate::message::{APPEND, Attributes, CREATE, Request, number};
use crate::{Namespace, Refused};

const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;

const OIF: u16 = 4;
const MULTIPATH: u16 = 9;
const CACHEINFO: u16 = 12;
const EXPIRES: u16 = 23;
const NH_ID: u16 = 30;

/// `RTPROT_KERNEL`: made by the kernel, for an address.
const KERNEL: u8 = 2;
/// `RTM_F_CLONED`
const CLONED: u32 = 0x200;
/// `RTNH_F_ONLINK`
const ONLINK: u32 = 4;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// A `struct rtmsg`: family, two prefix lengths, type of service, table, protocol, scope, type, flags.
    head: [u8; 12],
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Reads a `struct rtmsg` and its attributes.
pub(crate) fn parse(payload: &[u8]) -> Option<Route> {
    let (head, rest) = payload.split_first_chunk::<12>()?;
    let attributes = Attributes(rest).map(|(kind, value)| (kind, value.to_vec())).collect();
    Some(Route { head: *head, attributes })
}

impl Route {
    fn flags(&self) -> u32 {
        number(&[self.head[8], self.head[9], self.head[10], self.head[11]])
    }

    /// Whether somebody made it, through this device only.
    fn is_made_for(&self, index: u32) -> bool {
        let has = |kind| self.attributes.iter().any(|(k, _)| *k == kind);
        let through = self.attributes.iter().any(|(k, v)| *k == OIF && **v == index.to_ne_bytes());
        through && !has(MULTIPATH) && self.head[5] != KERNEL && self.flags() & CLONED == 0
    }

    /// What adds it, through the device `to`.
    pub(crate) fn add(&self, to: u32) -> Request {
        let mut head = self.head;
        head[8..].copy_from_slice(&(self.flags() & ONLINK).to_ne_bytes());
        let request = Request::new(NEWROUTE, CREATE | APPEND, &head);
        self.attributes.iter().fold(request, |request, (kind, value)| match *kind {
            OIF => request.with(OIF, &to.to_ne_bytes()),
            // What it was, not what it is to be; an object that it went through went with the device.
            CACHEINFO | EXPIRES | NH_ID => request,
            kind => request.with(kind, value),
        })
    }
}

impl Namespace {
    /// The routes through a device that the kernel does not make by itself.
    pub(crate) fn routes(&self, index: u32) -> Result<Vec<Route>, Refused> {
        let mut all = Vec::new();
        for family in [INET, INET6] {
            let mut head = [0; 12];
            head[0] = family;
            let request = Request::dump(GETROUTE, &head).with(OIF, &index.to_ne_bytes());
            let items = self.socket.ask(&request)?;
            let routes = items.iter().filter_map(|item| parse(item));
            all.extend(routes.filter(|r| r.head[0] == family && r.is_made_for(index)));
        }
        Ok(all)
    }

    /// Adds routes through the device `to`, in whatever order they need each other; the first that cannot be is returned.
    pub(crate) fn add_routes(&self, mut routes: Vec<Route>, to: u32) -> Result<(), Refused> {
        loop {
            let (before, mut failed, mut first) = (routes.len(), Vec::new(), None);
            for route in routes {
                match self.socket.order(&[route.add(to)]) {
                    Ok(()) => {}
                    // Somebody was quicker.
                    Err((_, e)) if e.is(Errno::EXIST) => {}
                    Err((_, e)) => {
                        first.get_or_insert(e);
                        failed.push(route);
                    }
                }
            }
            match first {
                None => return Ok(()),
                Some(e) if failed.len() == before => return Err(e),
                Some(_) => routes = failed,
            }
        }
    }
}
