//! Who was there before and is not for a moment, and documents that break off.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{Reply, Request, Server, Then, content, hasty, read_request, sha256};
use loment_registry::{Error, Options, Registry, Retry};

/// Half of `bytes` to the first who asks; then nobody is there, until `absent` later, if that comes: then all that is asked for.
fn away(bytes: Vec<u8>, absent: Option<Duration>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut listener = Some(listener);
        let mut first = true;
        while let Some(open) = &listener {
            let (mut stream, _) = open.accept().unwrap();
            let mut greeting = [0];
            // 22: a TLS handshake record.
            if stream.peek(&mut greeting).unwrap() == 0 || greeting[0] == 22 {
                continue;
            }
            while let Some(request) = read_request(&mut stream).unwrap() {
                let reply = match request.range() {
                    Some(start) => Reply::partial(&bytes, start),
                    None => Reply::new(200, &[], &bytes),
                };
                if !first {
                    stream.write_all(&reply.bytes).unwrap();
                    continue;
                }
                first = false;
                // Before who asks knows of it.
                listener = None;
                stream.write_all(&reply.cut(bytes.len() / 2, Then::Close).bytes).unwrap();
                break;
            }
            drop(stream);
            if let (None, Some(absent)) = (&listener, absent) {
                thread::sleep(absent);
                listener = Some(TcpListener::bind(address).unwrap());
            }
        }
    });
    address
}

fn patient() -> Options {
    Options { retry: Retry { tries: 100, ..hasty().retry }, ..hasty() }
}

#[test]
fn a_registry_that_is_away_for_a_moment_goes_on_with_a_blob() {
    let bytes = content(300_000);
    let host = away(bytes.clone(), Some(Duration::from_millis(300))).to_string();
    let mut blob = Registry::new(&host, patient()).unwrap().blob("a/b", &sha256(&bytes), 0).unwrap();
    let mut out = Vec::new();
    blob.read_to_end(&mut out).unwrap();
    assert!(out == bytes);
}

#[test]
fn a_registry_that_stays_away_is_given_up() {
    let bytes = content(300_000);
    let host = away(bytes.clone(), None).to_string();
    let registry = Registry::new(&host, hasty()).unwrap();
    let mut blob = registry.blob("a/b", &sha256(&bytes), 0).unwrap();
    let mut out = Vec::new();
    let error = blob.read_to_end(&mut out).unwrap_err().into_inner().unwrap().downcast::<Error>().unwrap();
    assert!(matches!(*error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(out.len(), bytes.len() / 2);
}

#[test]
fn a_name_that_is_not_found_for_a_moment_is_looked_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let hosts_file = directory.path().join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 reg.test\n").unwrap();
    let (bytes, forgotten) = (content(300_000), hosts_file.clone());
    let (served, count) = (bytes.clone(), AtomicUsize::new(0));
    let server = Server::start(move |request| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            return Reply::partial(&served, request.range().unwrap());
        }
        std::fs::write(&forgotten, "").unwrap();
        let known_again = forgotten.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            std::fs::write(known_again, "127.0.0.1 reg.test\n").unwrap();
        });
        Reply::new(200, &[], &served).cut(100_000, Then::Close)
    });
    let host = format!("reg.test:{}", server.address.port());
    let resolv_conf = directory.path().join("none");
    let options = Options { hosts_file, resolv_conf, insecure: true, ..patient() };
    let mut out = Vec::new();
    let registry = Registry::new(&host, options).unwrap();
    registry.blob("a/b", &sha256(&bytes), 0).unwrap().read_to_end(&mut out).unwrap();
    assert!(out == bytes);
}

#[test]
fn who_never_answered_is_not_waited_for_and_nor_is_one_of_several() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // That would take hours.
    let slow =
        Retry { tries: 9, first_delay: Duration::from_secs(3600), max_delay: Duration::from_secs(3600) };
    let options = Options { retry: slow, ..hasty() };
    let gone = format!("127.0.0.1:{port}");
    let error = Registry::new(&gone, options.clone()).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    // The next has the rest.
    let layer = sha256(b"layer");
    let location = format!("http://{gone}/x");
    let server = Server::start(move |request| match request.path.contains("/blobs/") {
        true => Reply::new(307, &[("Location", &location)], b""),
        false => Reply::new(200, &[], b"{}"),
    });
    // Also where there is no next: that the registry answers does not make this one be there.
    let alone = Registry::new(&server.host(), options.clone()).unwrap();
    let with_others = Registry::new(&server.host(), options).unwrap().with_others();
    for registry in [alone, with_others] {
        registry.manifest("a/b", "1").unwrap();
        let error = registry.blob("a/b", &layer, 0).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
}

/// The first `times` bodies of what `which` names end early.
fn cutting(
    times: usize,
    which: &'static str,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Server, Arc<Mutex<usize>>) {
    let left = Arc::new(Mutex::new(times));
    let counted = Arc::clone(&left);
    let server = Server::start(move |request| {
        let reply = answer(request);
        let mut left = counted.lock().unwrap();
        if *left > 0 && request.path.contains(which) {
            *left -= 1;
            return reply.cut(5, if left.is_multiple_of(2) { Then::Close } else { Then::Reset });
        }
        reply
    });
    (server, left)
}

#[test]
fn a_document_that_breaks_off_is_asked_for_again() {
    let answer = |request: &Request| match request.path.as_str() {
        path if path.ends_with("/tags/list") => Reply::new(200, &[], br#"{"name":"a/b","tags":["1"]}"#),
        path if path.starts_with("/token") => Reply::new(200, &[], br#"{"token":"secret"}"#),
        _ if request.header("authorization").is_none() => {
            let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            Reply::new(401, &[("WWW-Authenticate", &challenge)], b"")
        }
        _ => Reply::new(200, &[], br#"{"schemaVersion":2}"#),
    };
    for which in ["/manifests/", "/token", "/tags/list"] {
        let (server, left) = cutting(2, which, answer);
        let registry = Registry::new(&server.host(), hasty()).unwrap();
        assert_eq!(registry.manifest("a/b", "1").unwrap().bytes, br#"{"schemaVersion":2}"#, "{which}");
        assert_eq!(registry.tags("a/b").unwrap().map(Result::unwrap).collect::<Vec<_>>(), ["1"]);
        assert_eq!(*left.lock().unwrap(), 0);
    }
    // As often as anything else.
    let (server, left) = cutting(100, "/tags/list", answer);
    let error = Registry::new(&server.host(), hasty()).unwrap().tags("a/b").unwrap().next().unwrap();
    assert!(matches!(error, Err(Error::Lost { .. })), "{error:?}");
    assert_eq!(*left.lock().unwrap(), 97);
}

#[test]
fn what_a_cdn_says_of_a_server_behind_it_passes() {
    for status in [507, 520, 522, 524] {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::new(status, &[("Retry-After", "0")], b"<html>"),
            _ => Reply::new(200, &[], b"{}"),
        });
        Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap();
        assert_eq!(server.requests().len(), 3);
    }
}

/// Sends `head`, and then a byte now and then.
fn trickling(head: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (host, asked) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut first = [0; 4096];
                let length = stream.read(&mut first).unwrap();
                if first[..length].starts_with(b"GET ") {
                    count.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(head).unwrap();
                    while stream.write_all(b"x").is_ok() {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
    (host, asked)
}

#[test]
fn heads_and_documents_that_trickle_are_given_up() {
    let mut options = hasty();
    options.timeouts.idle = Duration::from_millis(200);
    let (host, asked) = trickling(b"HTTP/1.1 200 x\r\nX-Slow: ");
    let error = Registry::new(&host, options).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let mut options = hasty();
    options.timeouts.document = Duration::from_millis(200);
    let (host, asked) = trickling(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n");
    let error = Registry::new(&host, options).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("{host} is too slow: it sent ")), "{error}");
    // It would do so again.
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
