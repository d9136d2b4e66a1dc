//! The resolver against a server on port 53 of an own loopback address: needs root.

use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use super::*;

/// Name, record type, whether over TCP → flags and addresses; `None`: silence.
type Zone = dyn Fn(&str, u16, bool) -> Option<(u16, Vec<IpAddr>)> + Send + Sync;

const OK: u16 = 0x8180;
const NO_NAME: u16 = 0x8183;
const FAILED: u16 = 0x8182;
const CUT: u16 = 0x8380;

/// A loopback address no other test uses.
fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Serves until the test process ends.
fn serve(zone: Arc<Zone>) -> Ipv4Addr {
    let address = fresh_address();
    let udp = StdUdpSocket::bind((address, PORT)).expect("port 53 can be bound: this test needs root");
    let tcp = TcpListener::bind((address, PORT)).unwrap();
    let zone_tcp = Arc::clone(&zone);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            if let Some(response) = respond(&buffer[..length], &*zone, false) {
                // A forged answer first: it must be passed over.
                let mut forged = response.clone();
                forged[0] ^= 0xff;
                udp.send_to(&forged, peer).unwrap();
                udp.send_to(&response, peer).unwrap();
            }
        }
    });
    thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            let response = respond(&query, &*zone_tcp, true).unwrap();
            stream.write_all(&u16::try_from(response.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&response).unwrap();
        }
    });
    address
}

fn respond(query: &[u8], zone: &Zone, tcp: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (flags, addresses) = zone(&labels.join("."), kind, tcp)?;
    let mut out = query.to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[7] = u8::try_from(addresses.len()).unwrap();
    for address in addresses {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60, 0]);
        match address {
            IpAddr::V4(four) => out.extend([&[4], &four.octets()[..]].concat()),
            IpAddr::V6(six) => out.extend([&[16], &six.octets()[..]].concat()),
        }
    }
    Some(out)
}

fn resolver(directory: &Path, hosts: &str, resolv_conf: &str) -> Resolver {
    let resolver = Resolver { hosts: directory.join("hosts"), resolv_conf: directory.join("resolv.conf") };
    std::fs::write(&resolver.hosts, hosts).unwrap();
    std::fs::write(&resolver.resolv_conf, resolv_conf).unwrap();
    resolver
}

fn resolve(resolver: &Resolver, host: &str) -> Result<Vec<String>, ResolveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let addresses = runtime.block_on(resolver.resolve(host))?;
    Ok(addresses.iter().map(ToString::to_string).collect())
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn files_and_literals_need_no_server() {
    let directory = tempfile::tempdir().unwrap();
    let resolver = resolver(directory.path(), "192.0.2.1 reg\n2001:db8::1 reg\n", "nameserver 192.0.2.250\n");
    assert_eq!(resolve(&resolver, "reg").unwrap(), ["2001:db8::1", "192.0.2.1"]);
    assert_eq!(resolve(&resolver, "192.0.2.7").unwrap(), ["192.0.2.7"]);
    assert_eq!(resolve(&resolver, "::1").unwrap(), ["::1"]);
    assert_eq!(resolve(&resolver, "localhost").unwrap(), ["127.0.0.1", "::1"]);
}

#[test]
fn servers_are_asked_for_both_families_and_through_the_search_list() {
    let server = serve(Arc::new(|name, kind, _| {
        Some(match (name, kind) {
            ("reg.b.example", 1) => (OK, addresses(&["192.0.2.1", "192.0.2.2"])),
            ("reg.b.example", 28) => (OK, addresses(&["2001:db8::1"])),
            ("plain.example", 1) => (OK, addresses(&["192.0.2.3"])),
            ("plain.example", 28) => (OK, vec![]),
            _ => (NO_NAME, vec![]),
        })
    }));
    let directory = tempfile::tempdir().unwrap();
    let conf = format!("nameserver {server}\nsearch a.example b.example\n");
    let resolver = resolver(directory.path(), "", &conf);
    assert_eq!(resolve(&resolver, "reg").unwrap(), ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    assert_eq!(resolve(&resolver, "plain.example").unwrap(), ["192.0.2.3"]);
    assert!(matches!(resolve(&resolver, "reg."), Err(ResolveError::NotFound)));
    assert!(matches!(resolve(&resolver, "none.example"), Err(ResolveError::NotFound)));
    assert!(matches!(resolve(&resolver, &"a.".repeat(200)), Err(ResolveError::Invalid)));
}

#[test]
fn truncated_answers_are_fetched_over_tcp() {
    let server = serve(Arc::new(|_, kind, tcp| {
        Some(match (kind, tcp) {
            (1, false) => (CUT, vec![]),
            (1, true) => (OK, (0..100).map(|n| Ipv4Addr::new(192, 0, 2, n).into()).collect()),
            _ => (OK, vec![]),
        })
    }));
    let directory = tempfile::tempdir().unwrap();
    let resolver = resolver(directory.path(), "", &format!("nameserver {server}\n"));
    assert_eq!(resolve(&resolver, "reg.example").unwrap().len(), MAX_ADDRESSES);
}

#[test]
fn the_next_server_is_asked_when_one_fails() {
    let failing = serve(Arc::new(|_, _, _| Some((FAILED, vec![]))));
    let working =
        serve(Arc::new(|_, kind, _| Some((OK, if kind == 1 { addresses(&["192.0.2.1"]) } else { vec![] }))));
    let closed = fresh_address();
    let directory = tempfile::tempdir().unwrap();
    let all = format!("nameserver {closed}\nnameserver {failing}\nnameserver {working}\n");
    assert_eq!(resolve(&resolver(directory.path(), "", &all), "reg.example").unwrap(), ["192.0.2.1"]);
    let none = format!("nameserver {closed}\nnameserver {failing}\n");
    let error = resolve(&resolver(directory.path(), "", &none), "reg.example").unwrap_err();
    assert!(error.to_string().contains(&failing.to_string()), "{error}");
}
