//! Interface flags, and sockets to the kernel's network configuration.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

/// Brings the loopback interface of the caller's network namespace up.
///
/// # Errors
/// The kernel's errno (netdevice(7)).
pub fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is a plain C struct for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let r = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    super::check(libc::c_long::from(r)).map(drop)
}

/// A socket to the part of the kernel that configures devices, addresses and routes of the caller's network namespace
/// (rtnetlink(7)). It stays in that namespace, whatever its owner joins later.
///
/// Refusals come with a sentence that says why (`NETLINK_EXT_ACK`, Linux 4.12) and do not repeat the request
/// (`NETLINK_CAP_ACK`, 4.3); what a dump is to leave out is taken at its word (`NETLINK_GET_STRICT_CHK`, 4.20). It is
/// connected to the kernel, so no process can send it anything.
///
/// # Errors
/// The kernel's errno.
pub fn route_socket() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
        let on: libc::c_int = 1;
        // SAFETY: the kernel reads one int, of the length that is given, and `on` outlives the call.
        let r = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        super::check(libc::c_long::from(r))?;
    }
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// linux/netlink.h; not in libc.
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;
