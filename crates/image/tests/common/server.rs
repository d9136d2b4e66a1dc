//! A registry that does what it is told: faults that no real one makes on demand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use loment_image::{Reference, RegistrySource};
use loment_registry::{Options, Registry, Retry};

/// What of a document or blob is sent.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) content: Vec<u8>,
    /// Nothing from this byte on.
    pub(crate) most: usize,
    /// Then the connection stays, and nothing more comes over it.
    pub(crate) hangs: bool,
    /// Whether its length is said before.
    pub(crate) announced: bool,
}

impl Answer {
    /// All of it.
    pub(crate) fn whole(content: &[u8]) -> Self {
        Self { content: content.to_vec(), most: usize::MAX, hangs: false, announced: true }
    }
}

/// A server on the loopback device. It ends with the test.
pub(crate) struct Server {
    pub(crate) host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `answer` is given `METHOD PATH`; `None` is 404.
    pub(crate) fn start(answer: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                // Who hangs up is part of what is tested.
                thread::spawn(move || drop(serve(stream, &seen, &*answer)));
            }
        });
        Self { host, requests }
    }

    /// A source of what it calls `name`, which tries little.
    pub(crate) fn source(&self, name: &str) -> RegistrySource {
        source_of(&[self], name)
    }

    /// `METHOD PATH FIRST`, the last for those that want bytes from that one on.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The same where the first are mirrors of the last.
pub(crate) fn source_of(servers: &[&Server], name: &str) -> RegistrySource {
    let places: Vec<_> = servers
        .iter()
        .map(|server| {
            let reference: Reference = format!("{}/{name}", server.host).parse().unwrap();
            let first_delay = std::time::Duration::from_millis(1);
            let retry = Retry { tries: 1, first_delay, ..Retry::default() };
            (Registry::new(&server.host, Options { retry, ..Options::default() }).unwrap(), reference)
        })
        .collect();
    let all = places.iter().map(|(registry, reference)| (registry, reference));
    RegistrySource::any_of(all, &places.last().unwrap().1)
}

fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str) -> Option<Answer>,
) -> std::io::Result<()> {
    loop {
        let Some(head) = head(&mut stream)? else { return Ok(()) };
        let what = head.split(" HTTP/").next().unwrap_or_default().to_owned();
        let range = head.to_ascii_lowercase();
        let range = range.split("\r\nrange: bytes=").nth(1).and_then(|range| range.split('-').next());
        let from = range.and_then(|first| first.parse::<usize>().ok()).unwrap_or_default();
        let line = if from > 0 { format!("{what} {from}") } else { what.clone() };
        seen.lock().unwrap().push(line);
        let Some(Answer { content, most, hangs, announced }) = answer(&what) else {
            stream.write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let total = content.len();
        let mut head = match from {
            0 => "HTTP/1.1 200 x\r\n".to_owned(),
            _ => format!("HTTP/1.1 206 x\r\nContent-Range: bytes {from}-{}/{total}\r\n", total - 1),
        };
        if announced {
            head += &format!("Content-Length: {}\r\n", total - from);
        } else {
            head += "Connection: close\r\n";
        }
        if what.contains("/manifests/") {
            head += "Content-Type: application/vnd.docker.distribution.manifest.v1+json\r\n";
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if what.starts_with("HEAD ") {
            continue;
        }
        let end = total.min(most).max(from);
        stream.write_all(&content[from..end])?;
        if hangs {
            // Until who asked hangs up.
            while stream.read(&mut [0; 512])? > 0 {}
        }
        if hangs || end < total || !announced {
            return Ok(());
        }
    }
}

/// The head of a request; `None` where there is none, or a greeting of TLS.
fn head(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || (head.is_empty() && byte[0] == 0x16) {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}
