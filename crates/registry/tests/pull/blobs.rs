//! Blobs over connections that break.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Reply, Server, Then, content, hasty, sha256};
use loment_registry::{Error, MinRate, Options, Problem, Registry, Timeouts};

/// Serves `bytes`, ranges included; the first `faults.len()` requests end as told after so many bytes.
fn faulty(bytes: Vec<u8>, faults: Vec<(usize, Then)>) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| {
        let reply = match request.range() {
            Some(start) => Reply::partial(&bytes, start),
            None => Reply::new(200, &[("ETag", "\"tag\"")], &bytes),
        };
        match faults.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some((after, then)) => reply.cut(*after, *then),
            None => reply,
        }
    })
}

fn read(server: &Server, bytes: &[u8], offset: u64) -> std::io::Result<Vec<u8>> {
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let mut out = Vec::new();
    registry.blob("a/b", &sha256(bytes), offset).map_err(std::io::Error::other)?.read_to_end(&mut out)?;
    Ok(out)
}

/// The error inside.
fn failure(error: std::io::Error) -> Error {
    *error.into_inner().unwrap().downcast().unwrap()
}

#[test]
fn a_broken_blob_is_resumed_where_it_broke() {
    let bytes = content(3_000_000);
    for then in [Then::Reset, Then::Close] {
        let server = faulty(bytes.clone(), vec![(1_000_000, then), (0, then), (500_000, then)]);
        assert!(read(&server, &bytes, 0).unwrap() == bytes);
        let requests = server.requests();
        assert_eq!(requests.len(), 4);
        assert_eq!((requests[0].range(), requests[0].header("if-range")), (None, None));
        // After a reset the kernel may throw away what had arrived.
        let resumed = requests[1].range().unwrap();
        assert!(resumed == 1_000_000 || then == Then::Reset && resumed < 1_000_000, "{resumed}");
        assert_eq!(requests[1].header("if-range"), Some("\"tag\""));
        assert_eq!(requests[1].header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn a_silent_server_is_left_and_asked_again() {
    let bytes = content(100_000);
    let server = faulty(bytes.clone(), vec![(60_000, Then::Hang)]);
    let mut options = hasty();
    options.timeouts = Timeouts { idle: Duration::from_millis(200), ..options.timeouts };
    let registry = Registry::new(&server.host(), options).unwrap();
    let mut out = Vec::new();
    registry.blob("a/b", &sha256(&bytes), 0).unwrap().read_to_end(&mut out).unwrap();
    assert!(out == bytes);
    assert_eq!(server.requests()[1].range(), Some(60_000));
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let bytes = content(300_000);
    let (served, count) = (bytes.clone(), AtomicUsize::new(0));
    let server = Server::start(move |_| {
        let reply = Reply::new(200, &[], &served);
        if count.fetch_add(1, Ordering::SeqCst) == 0 { reply.cut(200_000, Then::Close) } else { reply }
    });
    assert!(read(&server, &bytes, 0).unwrap() == bytes);
    assert!(read(&server, &bytes, 123_456).unwrap() == bytes[123_456..]);
}

#[test]
fn reading_starts_at_the_offset() {
    let bytes = content(100_000);
    let server = faulty(bytes.clone(), vec![]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let mut blob = registry.blob("a/b", &sha256(&bytes), 99_990).unwrap();
    assert_eq!(blob.len, Some(10));
    let mut out = Vec::new();
    blob.read_to_end(&mut out).unwrap();
    assert_eq!(out, bytes[99_990..]);
    assert_eq!(registry.blob("a/b", &sha256(&bytes), 0).unwrap().len, Some(100_000));
    assert_eq!(server.requests()[0].range(), Some(99_990));
}

#[test]
fn nothing_is_left_after_the_end() {
    let bytes = content(1000);
    let server = Server::start(|_| Reply::new(416, &[("Content-Range", "bytes */1000")], b"{}"));
    assert_eq!(read(&server, &bytes, 1000).unwrap(), b"");
    assert!(matches!(
        failure(read(&server, &bytes, 999).unwrap_err()),
        Error::Protocol { problem: Problem::Range, .. }
    ));
}

#[test]
fn a_connection_that_always_breaks_is_given_up() {
    let bytes = content(100_000);
    let server = faulty(bytes.clone(), vec![(10, Then::Close); 100]);
    let error = failure(read(&server, &bytes, 0).unwrap_err());
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 1 + 3);
}

#[test]
fn progress_earns_new_attempts() {
    let bytes = content(12 << 20);
    // Eleven failures, with three tries.
    let server = faulty(bytes.clone(), vec![((1 << 20) + 1, Then::Close); 11]);
    assert!(read(&server, &bytes, 0).unwrap() == bytes);
    assert_eq!(server.requests().len(), 12);
}

#[test]
fn an_answer_that_does_not_fit_ends_the_blob() {
    let bytes = content(1000);
    let first = |reply: Reply| {
        let (served, count) = (content(1000), AtomicUsize::new(0));
        let server = Server::start(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                return Reply::new(200, &[], &served).cut(500, Then::Close);
            }
            Reply { bytes: reply.bytes.clone(), then: reply.then }
        });
        let error = failure(read(&server, &bytes, 0).unwrap_err());
        let Error::Protocol { problem, .. } = error else { panic!("{error:?}") };
        problem
    };
    let range = |range: &str| Reply::new(206, &[("Content-Range", range)], &bytes[500..]);
    assert_eq!(first(range("bytes 600-999/1000")), Problem::Range);
    assert_eq!(first(range("bytes 500-999/2000")), Problem::Length);
    assert_eq!(first(range("nonsense")), Problem::Range);
    assert_eq!(
        first(Reply::new(206, &[("Content-Range", "bytes 500-999/1000")], &content(900))),
        Problem::Length
    );
    assert_eq!(first(Reply::new(200, &[], &content(1001))), Problem::Length);
}

#[test]
fn a_failed_blob_does_not_look_finished() {
    let bytes = content(1000);
    let server = faulty(bytes.clone(), vec![(10, Then::Close); 100]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let mut blob = registry.blob("a/b", &sha256(&bytes), 0).unwrap();
    let mut out = Vec::new();
    assert!(blob.read_to_end(&mut out).is_err());
    assert!(blob.read_to_end(&mut out).is_err());
    assert!(out.len() < 1000);
}

#[test]
fn the_wrong_blob_is_noticed_by_its_announcement() {
    let (wanted, other) = (sha256(b"wanted"), sha256(b"other"));
    let announced = other.to_string();
    let server = Server::start(move |_| Reply::new(200, &[("Docker-Content-Digest", &announced)], b"other"));
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let error = registry.blob("a/b", &wanted, 0).unwrap_err().to_string();
    assert!(error.contains(wanted.as_ref()) && error.contains(other.as_ref()), "{error}");
}

#[test]
fn chunked_blobs_have_no_length_and_an_end() {
    let server = Server::start(|_| {
        Reply {
        bytes: b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: y\r\n\r\n".to_vec(),
        then: Then::KeepAlive,
    }
    });
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let mut blob = registry.blob("a/b", &sha256(b""), 0).unwrap();
    assert_eq!(blob.len, None);
    let mut out = String::new();
    blob.read_to_string(&mut out).unwrap();
    assert_eq!(out, "hello world");
}

#[test]
fn threads_read_at_the_same_time_and_connections_are_reused() {
    let bytes = content(2_000_000);
    let server = faulty(bytes.clone(), vec![]);
    let registry = Arc::new(Registry::new(&server.host(), hasty()).unwrap());
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut out = Vec::new();
                    registry.blob("a/b", &sha256(&bytes), 0).unwrap().read_to_end(&mut out).unwrap();
                    assert!(out == bytes);
                });
            }
        });
    }
    assert_eq!(server.requests().len(), 18);
    assert!(server.connections() <= 6, "{}", server.connections());
}

#[test]
fn an_unread_blob_costs_its_connection_only() {
    let bytes = content(5_000_000);
    let server = faulty(bytes.clone(), vec![]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    for _ in 0..3 {
        let mut blob = registry.blob("a/b", &sha256(&bytes), 0).unwrap();
        blob.read_exact(&mut [0; 1000]).unwrap();
    }
    let mut out = Vec::new();
    registry.blob("a/b", &sha256(&bytes), 0).unwrap().read_to_end(&mut out).unwrap();
    assert!(out == bytes);
}

#[test]
fn servers_can_call_it_from_their_blocking_threads() {
    fn movable<T: Send + 'static>(value: T) -> T {
        value
    }
    let bytes = content(100_000);
    let server = faulty(bytes.clone(), vec![]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let mut blob = movable(registry.blob("a/b", &sha256(&bytes), 0).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = runtime.spawn_blocking(move || {
        let mut out = Vec::new();
        blob.read_to_end(&mut out).unwrap();
        drop(registry);
        out
    });
    assert!(runtime.block_on(read).unwrap() == bytes);
}

#[test]
fn a_server_that_trickles_is_left() {
    use std::io::Write;
    // Sends the head and then a byte at a time, for ever.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut first = [0; 4096];
                let length = stream.read(&mut first).unwrap();
                if !first[..length].starts_with(b"GET ") {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let head = b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n";
                stream.write_all(head).unwrap();
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
    });
    let min_rate = MinRate { bytes_per_second: 1 << 20, over: Duration::from_millis(100) };
    let registry = Registry::new(&host, Options { min_rate, ..hasty() }).unwrap();
    let mut blob = registry.blob("a/b", &sha256(b""), 0).unwrap();
    let error = failure(blob.read_to_end(&mut Vec::new()).unwrap_err());
    assert!(matches!(error, Error::Slow { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("{host} is too slow: it sent ")), "{error}");
    assert_eq!(answered.load(Ordering::SeqCst), 1 + 3);
}

#[test]
fn a_server_that_always_breaks_off_soon_is_left_some_time() {
    let total = 100 << 20;
    let server = Server::start(move |request| {
        let start = request.range().unwrap_or_default();
        let range = format!("bytes {start}-{}/{total}", total - 1);
        let mut reply = Reply::new(206, &[("Content-Range", &range)], &[7; (1 << 20) + 1]);
        // All of the rest is announced.
        let announced = format!("Content-Length: {}", total - start).into_bytes();
        let head = reply.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let line = reply.bytes.windows(16).position(|start| start == b"Content-Length: ").unwrap();
        let end = line + reply.bytes[line..head].iter().position(|byte| *byte == b'\r').unwrap();
        reply.bytes.splice(line..end, announced);
        reply.then(Then::Close)
    });
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let read = || {
        let before = server.requests().len();
        let mut blob = registry.blob("a/b", &sha256(b"x"), 0).unwrap();
        let error = failure(std::io::copy(&mut blob, &mut std::io::sink()).unwrap_err());
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        server.requests().len() - before
    };
    // 64, once more for each 16 MiB, and three tries, the first after the last of these.
    assert_eq!(read(), 1 + 64 + 6 + 2);
    // Who asks again has the tries.
    assert_eq!(read(), 1 + 3);
}
