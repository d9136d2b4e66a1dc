//! Ways to a registry on which something goes wrong.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What goes through at once.
const CHUNK: usize = 32 * 1024;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection breaks when so many bytes of it have gone.
    Cut(usize),
    /// It is answered with 503 at once.
    Busy,
}

/// A way to a registry on which some requests meet a fault, or which ends after a while. It ends with the test.
#[derive(Debug)]
pub struct FaultyWay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    method: &'static str,
    fault: Fault,
    /// Requests that will meet it.
    left: AtomicUsize,
    /// Bytes that may go there before whatever is under way breaks, and how often that happens.
    every: u64,
    breaks: AtomicUsize,
    gone: AtomicU64,
    /// Bytes in a second of each connection.
    rate: u64,
    /// Bytes that may come back before the way ends.
    life: u64,
    delivered: AtomicU64,
    dead: AtomicBool,
    heads: Mutex<Vec<String>>,
}

impl FaultyWay {
    /// To the registry at `HOST:PORT`. The first `times` requests of a method meet a fault.
    pub fn to(registry: &str, method: &'static str, fault: Fault, times: usize) -> Self {
        Self::start(registry, (method, fault, times), u64::MAX, u64::MAX, (u64::MAX, 0))
    }

    /// A connection breaks each time that so many bytes more have gone there, `times` times in all.
    pub fn breaking(registry: &str, every: u64, times: usize) -> Self {
        Self::start(registry, ("", Fault::Busy, 0), u64::MAX, u64::MAX, (every, times))
    }

    /// How often it will break yet.
    pub fn breaks_left(&self) -> usize {
        self.shared.breaks.load(Ordering::Relaxed)
    }

    /// When so many bytes have come back everything breaks, and nobody is let in any more.
    pub fn ending(registry: &str, after: u64) -> Self {
        Self::slow(registry, u64::MAX, after)
    }

    /// The same, where each connection delivers that many bytes in a second.
    pub fn slow(registry: &str, bytes_per_second: u64, after: u64) -> Self {
        Self::start(registry, ("", Fault::Busy, 0), bytes_per_second, after, (u64::MAX, 0))
    }

    fn start(
        registry: &str,
        (method, fault, times): (&'static str, Fault, usize),
        rate: u64,
        life: u64,
        (every, breaks): (u64, usize),
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket can be asked not to wait");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared {
            method,
            fault,
            left: AtomicUsize::new(times),
            every,
            breaks: AtomicUsize::new(breaks),
            gone: AtomicU64::new(0),
            rate,
            life,
            delivered: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            heads: Mutex::default(),
        });
        let (serving, host) = (Arc::clone(&shared), registry.to_owned());
        std::thread::spawn(move || {
            // The listener goes with this thread.
            while !serving.dead.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let Ok(server) = TcpStream::connect(&host) else { return };
                client.set_nonblocking(false).expect("a socket can be asked to wait");
                let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
                let (there_too, back_too) = (Arc::clone(&serving), Arc::clone(&serving));
                std::thread::spawn(move || there(client, to_server, &there_too));
                std::thread::spawn(move || back(server, to_client, &back_too));
            }
        });
        Self { port, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.dead.load(Ordering::Relaxed)
    }

    /// Bytes that came back so far.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::Relaxed)
    }

    /// `METHOD RANGE` of each request so far, for the part that it sends or wants.
    pub fn requests(&self) -> Vec<String> {
        self.shared.heads.lock().expect("nobody panics with it").clone()
    }
}

/// A request begins where a piece does: who asks waits for the answer first.
fn there(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let (mut buffer, mut until_cut) = (vec![0; CHUNK], None);
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]);
        if let Some(method) = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
            .into_iter()
            .find(|method| text.starts_with(&format!("{method} /")))
        {
            let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
            let range = |line: &str| {
                line.strip_prefix("content-range: ").or(line.strip_prefix("range: bytes=")).map(str::to_owned)
            };
            let range = head.lines().find_map(range).unwrap_or_default();
            let line = format!("{method} {range}").trim_end().to_owned();
            shared.heads.lock().expect("nobody panics with it").push(line);
            let meets = |left: usize| left.checked_sub(1).filter(|_| method == shared.method);
            if shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, meets).is_ok() {
                match shared.fault {
                    // Of all requests on it.
                    Fault::Cut(after) => until_cut = until_cut.or(Some(after)),
                    Fault::Busy => {
                        let answer = "HTTP/1.1 503 busy\r\nRetry-After: 0\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                        let _ = client.write_all(answer.as_bytes());
                        // Until who asks hangs up: a reset could overtake the answer.
                        while matches!(client.read(&mut buffer), Ok(1..)) {}
                        break;
                    }
                }
            }
        }
        let gone = shared.gone.fetch_add(count as u64, Ordering::Relaxed);
        let breaks = gone / shared.every != (gone + count as u64) / shared.every;
        let fewer = |left: usize| left.checked_sub(1);
        if breaks && shared.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            break;
        }
        let goes = until_cut.map_or(count, |left| count.min(left));
        if server.write_all(&buffer[..goes]).is_err() {
            break;
        }
        until_cut = until_cut.map(|left| left - goes);
        if until_cut == Some(0) {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn back(mut server: TcpStream, mut client: TcpStream, shared: &Shared) {
    let (start, mut sent, mut buffer) = (Instant::now(), 0_u64, vec![0; CHUNK]);
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        let before = shared.delivered.fetch_add(count as u64, Ordering::Relaxed);
        if before >= shared.life {
            shared.dead.store(true, Ordering::Relaxed);
            break;
        }
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        sent += count as u64;
        let due = Duration::from_secs_f64(sent as f64 / shared.rate as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
