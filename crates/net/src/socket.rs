//! Questions and orders to the kernel.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::message::{Answer, Messages, Request};

/// The most one receipt brings: the kernel fills up to 32 KiB when it lists, and says less about one thing.
const BUFFER: usize = 64 << 10;
/// How often a list that changed while it was made is asked for again.
const TRIES: usize = 16;

/// What the kernel did not do, with its reason.
#[derive(Debug)]
pub struct Refused {
    source: io::Error,
    text: Option<String>,
}

impl Refused {
    /// Whether the reason is this one.
    pub fn is(&self, errno: Errno) -> bool {
        self.source.raw_os_error() == Some(errno.raw_os_error())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.source),
            None => self.source.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self { source: errno.into(), text: None }
    }
}

/// A socket to the kernel, in one network namespace.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

/// What was asked for, piece by piece, and whether it changed meanwhile.
#[derive(Debug, Default)]
struct Received {
    items: Vec<Vec<u8>>,
    interrupted: bool,
}

impl Socket {
    /// In the caller's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { fd: loment_sys::net::route_socket()?, sequence: Cell::new(0) })
    }

    /// Asks one thing, or for a list: the payloads of the answer.
    pub(crate) fn ask(&self, request: &Request) -> Result<Vec<Vec<u8>>, Refused> {
        for _ in 0..TRIES {
            let mut received = Received::default();
            self.exchange(std::slice::from_ref(request), &mut received).map_err(|(_, refused)| refused)?;
            if !received.interrupted {
                return Ok(received.items);
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Gives orders, all in one message. The kernel tries each of them; the first that it refuses is returned with its place.
    pub(crate) fn order(&self, requests: &[Request]) -> Result<(), (usize, Refused)> {
        if requests.is_empty() {
            return Ok(());
        }
        self.exchange(requests, &mut Received::default())
    }

    fn exchange(&self, requests: &[Request], received: &mut Received) -> Result<(), (usize, Refused)> {
        let whole = |e: Errno| (0, Refused::from(e));
        let first = self.sequence.get();
        self.sequence.set(first.wrapping_add(requests.len() as u32));
        let mut bytes = Vec::new();
        for (request, n) in requests.iter().zip(0u32..) {
            request.finish(first.wrapping_add(n), &mut bytes);
        }
        rustix::io::retry_on_intr(|| send(&self.fd, &bytes, SendFlags::empty())).map_err(whole)?;
        let mut buffer = vec![0; BUFFER];
        let (mut pending, mut refused) = (requests.len(), None);
        while pending > 0 {
            let receive =
                || recv(&self.fd, buffer.as_mut_slice(), RecvFlags::TRUNC).map(|(_, length)| length);
            let length = rustix::io::retry_on_intr(receive).map_err(whole)?;
            let data = buffer.get(..length).ok_or_else(|| whole(Errno::MSGSIZE))?;
            for message in Messages(data) {
                let place = message.sequence.wrapping_sub(first) as usize;
                // An answer to an earlier question that was given up.
                if place >= requests.len() {
                    continue;
                }
                received.interrupted |= message.is_interrupted();
                match message.answer().ok_or_else(|| whole(Errno::BADMSG))? {
                    Answer::Item(payload) => received.items.push(payload.to_vec()),
                    Answer::Done => pending -= 1,
                    Answer::Refused { errno, text } => {
                        pending -= 1;
                        let source = io::Error::from_raw_os_error(errno);
                        refused.get_or_insert((place, Refused { source, text }));
                    }
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, getsockname, sendto, socket_with};

    use super::*;

    #[test]
    fn no_process_can_answer_for_the_kernel() {
        let socket = Socket::open().unwrap();
        let address = SocketAddrNetlink::try_from(getsockname(&socket.fd).unwrap()).unwrap();
        let other = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
        let mut forged = Vec::new();
        Request::new(2, 0, &[0; 20]).finish(1, &mut forged);
        assert_eq!(sendto(&other, &forged, SendFlags::empty(), &address), Err(Errno::CONNREFUSED));
    }

    #[test]
    fn of_several_orders_the_first_that_is_refused_is_told() {
        let socket = Socket::open().unwrap();
        // The loopback device, and one without a number and a name.
        let mut first = [0; 16];
        first[4] = 1;
        let orders = [Request::new(18, 0, &first), Request::new(18, 0, &[0; 16])];
        let (place, refused) = socket.order(&orders).unwrap_err();
        assert_eq!(place, 1, "{refused}");
        assert_eq!(socket.ask(&orders[0]).unwrap().len(), 1);
    }
}
