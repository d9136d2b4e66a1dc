//! Registries that mean ill: each ends with one clear line, and leaves nothing of an image.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use loment_testkit::{Patience, World, digest, run};

use crate::{eventually, world};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layer that takes its time.
static LARGE: [u8; 100_000] = [b'l'; 100_000];

/// Who answers the request for a path, on that connection; it is closed after an error.
type Answer = dyn Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync;

/// A registry without TLS, for as long as the test lasts; its `HOST:PORT`.
fn registry(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has free ports");
    let host = listener.local_addr().expect("a bound socket has an address").to_string();
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // Who hangs up has heard enough.
            thread::spawn(move || drop(serve(stream, &*answer)));
        }
    });
    host
}

fn serve(mut stream: TcpStream, answer: &Answer) -> io::Result<()> {
    let mut first = [0];
    // 22: a TLS handshake record.
    if stream.peek(&mut first)? == 0 || first[0] == 22 {
        return Ok(());
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            lines.push(line);
        }
        let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        answer(path, &mut stream)?;
    }
}

/// A whole answer; without a `Content-Length` unless `headers` have one.
fn reply(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} x\r\n{headers}\r\n\r\n")?;
    stream.write_all(body)
}

fn document(stream: &mut TcpStream, kind: &str, body: &[u8]) -> io::Result<()> {
    reply(stream, 200, &format!("Content-Type: {kind}\r\nContent-Length: {}", body.len()), body)
}

/// A body that never ends.
fn endless(stream: &mut TcpStream) -> io::Result<()> {
    reply(stream, 200, "Transfer-Encoding: chunked", b"")?;
    let piece = [b"10000\r\n".to_vec(), vec![b' '; 1 << 16], b"\r\n".to_vec()].concat();
    loop {
        stream.write_all(&piece)?;
    }
}

/// Manifest and configuration of an image of one layer.
fn image(layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let diff_ids = [digest(layer)];
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let describe = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, &config),
        "layers": [describe(LAYER, layer)],
    });
    (manifest.to_string().into_bytes(), config)
}

fn files_below(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a directory can be read").path());
    let below = paths.map(|path| match path.is_dir() {
        true => files_below(&path),
        false => vec![path.display().to_string()],
    });
    below.flatten().collect()
}

/// No image is there, nothing is damaged, nobody seems to be at work, and a prune takes what is left.
#[track_caller]
fn nothing_is_left(world: &World) {
    assert_eq!(world.loment(["images", "--all", "--quiet"]).succeeds(), "");
    world.loment(["system", "check"]).succeeds();
    world.loment(["system", "prune", "--all", "--force"]).succeeds();
    assert_eq!(world.leftovers(), [""; 0]);
    for kind in ["blobs", "layers", "partial", "by-blob", "images", "refs"] {
        assert_eq!(files_below(&world.root().join(kind)), [""; 0]);
    }
}

#[track_caller]
fn refuses(host: &str, words: &[&str]) {
    let world = world();
    let failed = world.loment(["pull", "-q", "--retry", "0", &format!("{host}/a/b:1")]);
    failed.fails_saying(125, words);
    assert_eq!(failed.stderr.trim_end().lines().count(), 1, "{failed}");
    nothing_is_left(&world);
}

#[test]
fn redirects_that_go_round() {
    let host =
        registry(|path, stream| reply(stream, 307, &format!("Location: {path}x\r\nContent-Length: 0"), b""));
    refuses(&host, &["redirects too often"]);
    // Of a layer only, and to and fro.
    let (manifest, config) = image(b"layer");
    let host = registry(move |path, stream| match path {
        "/v2/a/b/manifests/1" => document(stream, MANIFEST, &manifest),
        path if path.ends_with(&digest(&config)) => document(stream, CONFIG, &config),
        "/to" => reply(stream, 302, "Location: /fro\r\nContent-Length: 0", b""),
        _ => reply(stream, 302, "Location: /to\r\nContent-Length: 0", b""),
    });
    refuses(&host, &[&digest(b"layer"), "redirects too often"]);
}

#[test]
fn challenges_that_make_no_sense() {
    for challenge in ["Bearer realm=\"", "=", "Negotiate", "Bearer realm=\"ftp://x/\"", "Basic \u{1}"] {
        let host = registry(move |_, stream| {
            reply(stream, 401, &format!("WWW-Authenticate: {challenge}\r\nContent-Length: 0"), b"")
        });
        let world = world();
        let failed = world.loment(["pull", "-q", "--retry", "0", &format!("{host}/a/b:1")]);
        assert!(failed.code == 125 && failed.stderr.trim_end().lines().count() == 1, "{failed}");
        assert!(failed.stderr.contains(&host), "{failed}");
        nothing_is_left(&world);
    }
}

#[test]
fn a_manifest_without_end() {
    refuses(&registry(|_, stream| endless(stream)), &["manifest 1 of", "larger than 4194304 bytes"]);
}

#[test]
fn a_token_without_end() {
    let host = registry(|path, stream| match path.starts_with("/token") {
        true => endless(stream),
        false => {
            let own = stream.local_addr()?;
            let challenge =
                format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\"\r\nContent-Length: 0");
            reply(stream, 401, &challenge, b"")
        }
    });
    refuses(&host, &["token is larger than 1048576 bytes"]);
}

#[test]
fn documents_and_layers_without_end() {
    let (manifest, config) = image(b"layer");
    for which in [digest(&config), digest(b"layer")] {
        let (manifest, config, endless_one) = (manifest.clone(), config.clone(), which.clone());
        let host = registry(move |path, stream| match path {
            "/v2/a/b/manifests/1" => document(stream, MANIFEST, &manifest),
            path if path.ends_with(&endless_one) => endless(stream),
            _ => document(stream, CONFIG, &config),
        });
        refuses(&host, &[&which]);
    }
}

#[test]
fn lengths_that_are_not_those_of_the_bodies() {
    let (manifest, _) = image(b"layer");
    let (long, short) = (manifest.clone(), manifest.clone());
    let host = registry(move |_, stream| {
        let headers = format!("Content-Type: {MANIFEST}\r\nContent-Length: {}", long.len() + 10);
        reply(stream, 200, &headers, &long)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    refuses(&host, &["the connection to", "was lost"]);
    let host = registry(move |_, stream| {
        let headers = format!("Content-Type: {MANIFEST}\r\nContent-Length: {}", short.len() - 10);
        reply(stream, 200, &headers, &short)
    });
    refuses(&host, &["manifest"]);
    let host = registry(move |_, stream| reply(stream, 200, "Content-Length: 9\r\nContent-Length: 8", b"{}"));
    refuses(&host, &["not HTTP"]);
    // A layer that is shorter, and one that is longer, than its manifest says.
    let (manifest, config) = image(b"layer");
    for layer in [&b"lay"[..], b"layers and layers"] {
        let (manifest, config) = (manifest.clone(), config.clone());
        let host = registry(move |path, stream| match path {
            "/v2/a/b/manifests/1" => document(stream, MANIFEST, &manifest),
            path if path.ends_with(&digest(&config)) => document(stream, CONFIG, &config),
            _ => document(stream, LAYER, layer),
        });
        refuses(&host, &[&digest(b"layer")]);
    }
}

#[test]
fn digests_of_something_else() {
    let (manifest, config) = image(b"layer");
    let (announced, delivered) = (manifest.clone(), manifest.clone());
    let other = digest(b"something else");
    let said = other.clone();
    let host = registry(move |_, stream| {
        let length = announced.len();
        let headers =
            format!("Content-Type: {MANIFEST}\r\nDocker-Content-Digest: {said}\r\nContent-Length: {length}");
        reply(stream, 200, &headers, &announced)
    });
    refuses(&host, &["expected digest", &other, &digest(&manifest)]);
    // Other bytes of the same length: of the configuration, and of the layer.
    for wrong in [digest(&config), digest(b"layer")] {
        let (manifest, config, which) = (delivered.clone(), config.clone(), wrong.clone());
        let host = registry(move |path, stream| match path {
            "/v2/a/b/manifests/1" => document(stream, MANIFEST, &manifest),
            path if path.ends_with(&which) && which == digest(&config) => {
                document(stream, CONFIG, &config.iter().map(u8::to_ascii_uppercase).collect::<Vec<_>>())
            }
            path if path.ends_with(&which) => document(stream, LAYER, b"LAYER"),
            _ => document(stream, CONFIG, &config),
        });
        refuses(&host, &[&wrong]);
    }
}

/// A registry that sends a byte now and then of what `slow` says, after that head; and how many it has sent.
fn trickling(
    slow: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (count, (manifest, config)) = (Arc::clone(&sent), image(&LARGE));
    let host = registry(move |path, stream| {
        let Some(head) = slow(path) else {
            return match path {
                "/v2/a/b/manifests/1" => document(stream, MANIFEST, &manifest),
                _ => document(stream, CONFIG, &config),
            };
        };
        stream.write_all(head.as_bytes())?;
        loop {
            stream.write_all(b"x")?;
            count.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
        }
    });
    (host, sent)
}

/// The head of an answer with a long body.
const LONG: &str = "HTTP/1.1 200 x\r\nContent-Length: 100000\r\n\r\n";

/// Pulls from who trickles, until he has sent some, and is killed.
fn is_killed(slow: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) {
    let (host, sent) = trickling(slow);
    let world = world();
    let mut pull = world.command(["pull", "-q", &format!("{host}/a/b:1")]);
    let mut pull = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    eventually("it trickles", || sent.load(Ordering::SeqCst) > 20);
    assert!(pull.try_wait().expect("a child can be waited for").is_none(), "it has not been waited for");
    pull.kill().expect("a child can be killed");
    pull.wait().expect("a child can be waited for");
    nothing_is_left(&world);
}

#[test]
fn heads_and_bodies_that_trickle_when_the_pull_is_killed() {
    is_killed(|_| Some("HTTP/1.1 200 x\r\nX-Slow: "));
    is_killed(|_| Some(LONG));
    let layer = digest(&LARGE);
    is_killed(move |path| path.ends_with(&layer).then_some(LONG));
}

/// Nobody waits as long as all of it would take: two minutes are the limit of a document, which this waits for. Those of heads and layers
/// take longer, with their tries, and are shown with shorter ones by the tests of the client.
#[test]
fn a_document_that_trickles_is_given_up() {
    let (host, _) = trickling(|_| Some(LONG));
    let world = world();
    let name = format!("{host}/a/b:1");
    let failed = run(&mut world.command(["pull", "-q", "--retry", "0", &name]), Patience::LONG);
    failed.fails_saying(125, &[&host, "is too slow: it sent", "bytes in 120 s"]);
    assert_eq!(failed.stderr.trim_end().lines().count(), 1, "{failed}");
    nothing_is_left(&world);
}
