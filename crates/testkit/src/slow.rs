//! A slow way to a registry.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Registry;

/// What goes through at once.
const CHUNK: usize = 32 * 1024;

/// A way to a registry on which each connection has its limit. It ends with the test.
#[derive(Debug)]
pub struct SlowWay {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicU64,
    delivered: AtomicU64,
    ranges: Mutex<Vec<String>>,
}

impl SlowWay {
    /// A way to `registry` on which each connection delivers that many bytes in a second. Without `ranges` the registry is not
    /// told that only a part is wanted.
    pub fn to(registry: &Registry, bytes_per_second: u64, ranges: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (seen, host) = (Arc::new(Seen::default()), registry.host());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&host) else { return };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
                let (seen, also) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || there(client, to_server, &seen, ranges));
                std::thread::spawn(move || back(server, to_client, &also, bytes_per_second));
            }
        });
        Self { port, seen }
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// How often somebody connected.
    pub fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Bytes that came back so far.
    pub fn delivered(&self) -> u64 {
        self.seen.delivered.load(Ordering::Relaxed)
    }

    /// What parts were asked for, as `FIRST-LAST` or `FIRST-`.
    pub fn ranges(&self) -> Vec<String> {
        self.seen.ranges.lock().expect("nobody panics with it").clone()
    }
}

/// Requests are small, and come in one piece each.
fn there(mut client: TcpStream, mut server: TcpStream, seen: &Seen, ranges: bool) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let lower = text.to_ascii_lowercase();
        for (at, start) in lower.match_indices("\r\nrange: bytes=") {
            let value = text[at + start.len()..].split("\r\n").next().unwrap_or_default();
            seen.ranges.lock().expect("nobody panics with it").push(value.to_owned());
            if !ranges {
                buffer[at + 2..at + 7].copy_from_slice(b"x-nix");
            }
        }
        if server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn back(mut server: TcpStream, mut client: TcpStream, seen: &Seen, bytes_per_second: u64) {
    let (start, mut sent, mut buffer) = (Instant::now(), 0_u64, vec![0; CHUNK]);
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        sent += count as u64;
        seen.delivered.fetch_add(count as u64, Ordering::Relaxed);
        let due = Duration::from_secs_f64(sent as f64 / bytes_per_second as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let _ = client.shutdown(Shutdown::Both);
}
