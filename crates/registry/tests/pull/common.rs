//! A server that does what it is told: faults real registries do not produce on demand.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use loment_registry::{Options, Retry, Timeouts};
use oci_spec::image::Digest;

/// No test needs to wait longer for a byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request as received.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// As far as it is text.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First byte asked for.
    pub(crate) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What to send, and what to do afterwards.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
    Reset,
    /// Says nothing more, but stays.
    Hang,
}

impl Reply {
    /// A whole response with `Content-Length`.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self { bytes: [head.as_bytes(), body].concat(), then: Then::KeepAlive }
    }

    /// 206 with the rest of `content` from `start` on.
    pub(crate) fn partial(content: &[u8], start: usize) -> Self {
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        Self::new(206, &[("Content-Range", &range)], &content[start..])
    }

    /// Sends only so much of the body of this reply.
    pub(crate) fn cut(mut self, body_bytes: usize, then: Then) -> Self {
        let head = self.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        self.bytes.truncate(head + body_bytes);
        self.then = then;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Box<Handler>,
    tls: Option<Arc<rustls::ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
    stopped: AtomicBool,
}

impl Server {
    /// Plain HTTP. TLS greetings are answered by hanging up, and not counted.
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, handler)
    }

    pub(crate) fn tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(Arc::new(config)), handler)
    }

    fn with(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            tls,
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that hangs up is part of what is tested.
                thread::spawn(move || {
                    drop(serving.serve(stream));
                    serving.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Paths asked for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// Waits until so many connections are closed, TLS greetings among them.
    pub(crate) fn wait_closed(&self, count: usize) {
        while self.shared.closed.load(Ordering::SeqCst) < count {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        if let Some(config) = &self.tls {
            self.connections.fetch_add(1, Ordering::SeqCst);
            let connection = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            return self.speak(&mut rustls::StreamOwned::new(connection, stream)).map(drop);
        }
        let mut first = [0];
        // 22: a TLS handshake record.
        if stream.peek(&mut first)? == 0 || first[0] == 22 {
            return Ok(());
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        if self.speak(&mut stream)? == Then::Reset {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn speak(&self, stream: &mut (impl Read + Write)) -> io::Result<Then> {
        while let Some(request) = read_request(stream)? {
            self.requests.lock().unwrap().push(request.clone());
            let reply = (self.handler)(&request);
            stream.write_all(&reply.bytes)?;
            stream.flush()?;
            match reply.then {
                Then::KeepAlive => {}
                Then::Hang => {
                    while stream.read(&mut [0])? > 0 {}
                    return Ok(Then::Close);
                }
                then => {
                    // Lets the client read what was sent before a reset throws it away.
                    thread::sleep(Duration::from_millis(if then == Then::Reset { 50 } else { 0 }));
                    return Ok(then);
                }
            }
        }
        Ok(Then::Close)
    }
}

pub(crate) fn read_request(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let bytes = if headers.contains_key("transfer-encoding") {
        read_chunks(stream)?
    } else {
        let mut bytes = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut bytes)?;
        bytes
    };
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(Request { method, path, headers, body, bytes }))
}

/// A body with `Transfer-Encoding: chunked`.
fn read_chunks(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).map_err(io::Error::other)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = bytes.len();
        bytes.resize(start + length + 2, 0);
        stream.read_exact(&mut bytes[start..])?;
        bytes.truncate(start + length);
        if length == 0 {
            return Ok(bytes);
        }
    }
}

/// Options that fail fast.
pub(crate) fn hasty() -> Options {
    Options {
        retry: Retry {
            tries: 3,
            first_delay: Duration::from_millis(20),
            max_delay: Duration::from_millis(50),
        },
        timeouts: Timeouts { connect: PATIENCE, idle: PATIENCE, document: PATIENCE, list: PATIENCE },
        ..Options::default()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::try_from(format!("sha256:{hex}")).unwrap()
}

/// Bytes that differ from place to place.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Makes `ca.crt` and a `server` certificate and key for localhost and 127.0.0.1, `client` likewise, and a
/// `self` certificate that is its own CA.
pub(crate) fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory)
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=test-ca -days 2"));
    let names = "subjectAltName=DNS:localhost,DNS:reg.test,IP:127.0.0.1";
    std::fs::write(directory.join("names"), names).unwrap();
    for name in ["server", "client"] {
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 2 -extfile names"
        ));
    }
    openssl(&format!(
        "req -x509 {key} -keyout self.key -out self.crt -subj /CN=self -days 2 -addext {names}"
    ));
}
