//! Devices that are moved, in network namespaces of the test's own.

use loment_sys::clone::{CloneFlags, unshare};

use crate::link::Link;
use crate::message::{CREATE, Request};
use crate::{Error, Move, Namespace, link};

use super::Moved;

/// A new namespace; the test's thread is in it until it makes the next one.
fn namespace() -> Namespace {
    unshare(CloneFlags::NEWNET).expect("tests run as root");
    Namespace::current().unwrap()
}

/// Makes a device of that kind.
fn make(namespace: &Namespace, kind: &str, name: &str) -> Link {
    const LINKINFO: u16 = 18;
    const KIND: u16 = 1;
    let inner = Request::new(0, 0, &[]).with(KIND, kind.as_bytes());
    let mut bytes = Vec::new();
    inner.finish(0, &mut bytes);
    let request = Request::new(16, CREATE, &[0; 16]).with_name(3, name).with(LINKINFO, &bytes[16..]);
    namespace.socket.order(&[request]).unwrap();
    namespace.link_named(name).unwrap().unwrap()
}

fn up(namespace: &Namespace, index: u32) {
    namespace.socket.order(&[link::set_up(index)]).unwrap();
}

/// Adds an address of IPv4, or of IPv6 without a check for others that have it.
fn add(namespace: &Namespace, index: u32, address: &[u8], prefix: u8, scope: u8, label: Option<&str>) {
    let family = if address.len() == 4 { 2 } else { 10 };
    let flags = if address.len() == 4 { 0 } else { 2 };
    let mut head = [family, prefix, flags, scope, 0, 0, 0, 0];
    head[4..].copy_from_slice(&index.to_ne_bytes());
    let request = Request::new(20, CREATE, &head).with(2, address).with(1, address);
    let request = label.into_iter().fold(request, |request, label| request.with_name(3, label));
    namespace.socket.order(&[request]).unwrap();
}

const SIX: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// The addresses of a device but for those the kernel gives it.
fn addresses(namespace: &Namespace, index: u32) -> Vec<String> {
    let all = namespace.addresses(index).unwrap();
    all.iter().map(ToString::to_string).filter(|text| !text.starts_with("fe80:")).collect()
}

/// Two namespaces, in the first of which is a device that is up and has addresses and a route.
fn prepared() -> (Namespace, Namespace, Link) {
    let to = namespace();
    let from = namespace();
    let link = make(&from, "veth", "eth7");
    up(&from, link.index);
    up(&from, from.link_named("veth0").unwrap().unwrap().index);
    add(&from, link.index, &[10, 7, 0, 1], 24, 0, None);
    add(&from, link.index, &[10, 7, 0, 2], 24, 0, Some("eth7:web"));
    add(&from, link.index, &[10, 8, 0, 1], 24, 253, None);
    add(&from, link.index, &SIX, 64, 0, None);
    let mut route = [0; 12];
    // To everywhere, in the main table, made by an administrator.
    (route[0], route[4], route[5], route[7]) = (2, 254, 4, 1);
    let route = Request::new(24, CREATE, &route).with(5, &[10, 7, 0, 254]).with(4, &link.index.to_ne_bytes());
    from.socket.order(&[route]).unwrap();
    let link = from.link_numbered(link.index).unwrap().unwrap();
    (from, to, link)
}

#[test]
fn a_device_takes_its_global_addresses_along_and_is_set_up() {
    let (from, to, _) = prepared();
    let mut moved = Moved::new(from, to).unwrap();
    moved.take(&Move::new("eth7", Some("inside")).unwrap()).unwrap();
    assert_eq!(moved.from.link_named("eth7").unwrap(), None);
    let link = moved.to.link_named("inside").unwrap().unwrap();
    assert!(link.up);
    assert_eq!(addresses(&moved.to, link.index), ["10.7.0.1/24", "10.7.0.2/24", "fd00::7/64"]);
    assert_eq!(moved.to.routes(link.index).unwrap(), []);
}

#[test]
fn a_device_that_is_brought_back_has_everything_it_had() {
    let (from, to, before) = prepared();
    let had = from.addresses(before.index).unwrap();
    let routes = from.routes(before.index).unwrap();
    assert_eq!((had.len(), routes.len()), (5, 1), "{had:?}");
    let bridge = make(&from, "bridge", "br7");
    let port = make(&from, "veth", "port7");
    from.socket.order(&[link::set_master(port.index, bridge.index)]).unwrap();
    let mut moved = Moved::new(from, to).unwrap();
    moved.take(&Move::new("eth7", Some("inside")).unwrap()).unwrap();
    moved.take(&Move::new("port7", None).unwrap()).unwrap();
    // In the test's own namespace, which is that of `from`.
    let Moved { from: host, to: inside, .. } = &moved;
    assert_eq!(host.link_named("port7").unwrap(), None);
    assert!(inside.link_named("port7").unwrap().unwrap().up);
    assert_eq!(moved.undo().len(), 0);
    let host = Namespace::current().unwrap();
    let after = host.link_named("eth7").unwrap().unwrap();
    assert_eq!(after, before);
    let has: Vec<_> = host.addresses(after.index).unwrap().iter().map(ToString::to_string).collect();
    for address in &had {
        assert!(has.contains(&address.to_string()), "{address} is not among {has:?}");
    }
    assert_eq!(host.routes(after.index).unwrap(), routes);
    let port = host.link_named("port7").unwrap().unwrap();
    assert_eq!((port.up, port.master), (false, Some(bridge.index)));
}

#[test]
fn a_name_that_is_taken_leaves_the_device_alone_and_a_template_finds_another() {
    let (from, to, before) = prepared();
    make(&to, "veth", "net0");
    let mut moved = Moved::new(from, to).unwrap();
    let error = moved.take(&Move::new("eth7", Some("net0")).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Exists { ref name } if name == "net0"), "{error}");
    assert_eq!(moved.from.link_named("eth7").unwrap(), Some(before.clone()));
    assert_eq!(addresses(&moved.from, before.index).len(), 4);
    assert_eq!(moved.devices.len(), 0);

    moved.take(&Move::new("eth7", Some("net%d")).unwrap()).unwrap();
    let link = moved.to.link_named("net1").unwrap().unwrap();
    assert_eq!(addresses(&moved.to, link.index).len(), 3);
    let labels = moved.to.addresses(link.index).unwrap();
    assert!(format!("{labels:?}").contains(&format!("{:?}", b"net1:web\0")), "{labels:?}");
}

#[test]
fn what_cannot_go_is_refused_by_name() {
    let (from, to, _) = prepared();
    let mut moved = Moved::new(from, to).unwrap();
    let mut take = |name: &str| moved.take(&Move::new(name, None).unwrap()).unwrap_err().to_string();
    assert!(take("lo").contains("lo is a loopback device"), "{}", take("lo"));
    assert!(take("missing").contains("missing does not exist"), "{}", take("missing"));
    assert!(matches!(
        Moved::new(Namespace::current().unwrap(), Namespace::current().unwrap()).unwrap_err(),
        Error::SameNamespace
    ));
}

#[test]
fn the_kernel_says_why_it_refuses() {
    let (from, to, link) = prepared();
    let bridge = make(&from, "bridge", "br7");
    let refused = from.socket.order(&[link::send_to(bridge.index, &to, "br7")]);
    let (_, refused) = refused.expect_err("a bridge stays in its namespace");
    assert!(refused.is(rustix::io::Errno::INVAL), "{refused}");
    assert!(refused.to_string().len() > "Invalid argument (os error 22)".len(), "{refused}");
    assert!(link.up);
}
