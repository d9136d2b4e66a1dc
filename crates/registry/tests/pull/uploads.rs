//! Storing blobs.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::common::{Reply, Request, Server, Then, content, hasty, make_certificates, sha256};
use crate::real::Distribution;
use crate::tls::{serve, trust};
use loment_registry::{Credentials, Error, Mount, Options, Problem, Registry};

const START: &str = "/v2/a/b/blobs/uploads/";

pub(crate) fn at(server: &Server) -> Registry {
    Registry::new(&server.host(), hasty()).unwrap()
}

fn problem<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Problem {
    match outcome {
        Err(Error::Protocol { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// A registry for one upload; `fault` can answer instead of it, and change what it has.
pub(crate) struct Store {
    pub(crate) server: Server,
    bytes: Arc<Mutex<Vec<u8>>>,
}

pub(crate) fn store(
    min_chunk: Option<usize>,
    fault: impl Fn(&Request, &mut Vec<u8>, usize) -> Option<Reply> + Send + Sync + 'static,
) -> Store {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (kept, count) = (Arc::clone(&bytes), Mutex::new(0));
    let server = Server::start(move |request| {
        let (mut kept, mut count) = (kept.lock().unwrap(), count.lock().unwrap());
        *count += usize::from(request.method == "PATCH");
        if let Some(reply) = fault(request, &mut kept, *count) {
            return reply;
        }
        answer(request, &mut kept, min_chunk)
    });
    Store { server, bytes }
}

fn answer(request: &Request, kept: &mut Vec<u8>, min_chunk: Option<usize>) -> Reply {
    let range = |length: usize| format!("0-{}", length.saturating_sub(1));
    let here = |status, kept: &[u8]| {
        // Another place after each request, as distribution has it.
        let location = format!("/upload?state={}", kept.len());
        Reply::new(status, &[("Location", &location), ("Range", &range(kept.len()))], b"")
    };
    match request.method.as_str() {
        "POST" => {
            let length = min_chunk.map(|length| length.to_string());
            let mut headers = vec![("Location", "/upload?state=0")];
            headers.extend(length.iter().map(|length| ("OCI-Chunk-Min-Length", length.as_str())));
            Reply::new(202, &headers, b"")
        }
        "GET" => here(204, kept),
        "DELETE" => Reply::new(204, &[], b""),
        "PATCH" => {
            let start = request.header("content-range").map(|range| range.split_once('-').unwrap().0);
            if start.is_some_and(|start| start.parse() != Ok(kept.len())) {
                return here(416, kept);
            }
            kept.extend(&request.bytes);
            here(202, kept)
        }
        "PUT" => {
            kept.extend(&request.bytes);
            let digest = sha256(kept).to_string();
            let wanted = request.path.split_once("digest=").unwrap().1.replace("%3A", ":");
            if digest == wanted {
                Reply::new(201, &[("Docker-Content-Digest", &digest)], b"")
            } else {
                Reply::new(400, &[], br#"{"errors":[{"code":"DIGEST_INVALID"}]}"#)
            }
        }
        _ => Reply::new(404, &[], b""),
    }
}

impl Store {
    /// Method and path of each request, and the range of chunks.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |request: Request| {
            let range = request.header("content-range").map(|range| format!(" {range}")).unwrap_or_default();
            format!("{} {}{range}", request.method, request.path.split("&digest").next().unwrap())
        };
        self.server.requests().into_iter().map(line).collect()
    }

    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        *self.bytes.lock().unwrap() == bytes
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut upload = at(&self.server).upload("a/b")?;
        upload.send(&mut &bytes[..], None)?;
        assert_eq!(upload.offset(), bytes.len() as u64);
        upload.finish(&sha256(bytes))
    }
}

#[test]
fn a_blob_is_streamed_in_one_request() {
    let bytes = content(1_000_000);
    for length in [None, Some(bytes.len() as u64)] {
        let store = store(None, |_, _, _| None);
        let mut upload = at(&store.server).upload("a/b").unwrap();
        upload.send(&mut &bytes[..], length).unwrap();
        upload.finish(&sha256(&bytes)).unwrap();
        assert!(store.holds(&bytes));
        assert_eq!(
            store.log(),
            [&format!("POST {START}"), "PATCH /upload?state=0", "PUT /upload?state=1000000"]
        );
        let requests = store.server.requests();
        assert_eq!(requests[0].header("content-length"), Some("0"));
        let announced = length.map(|length| length.to_string());
        assert_eq!(requests[1].header("content-length"), announced.as_deref());
        assert_eq!(requests[1].header("content-type"), Some("application/octet-stream"));
        assert_eq!(store.server.connections(), 1);
    }
    // Nothing at all, and less than announced.
    store(None, |_, _, _| None).send(b"").unwrap();
    let store = store(None, |_, _, _| None);
    let mut upload = at(&store.server).upload("a/b").unwrap();
    assert!(matches!(upload.send(&mut &b"abc"[..], Some(4)), Err(Error::Source(_))));
    upload.status().unwrap();
    upload.send(&mut &b"abc"[..], Some(3)).unwrap();
    upload.finish(&sha256(b"abc")).unwrap();
}

#[test]
fn a_small_blob_takes_two_requests() {
    let store = store(None, |_, _, _| None);
    at(&store.server).put_blob("a/b", &sha256(b"{}"), b"{}").unwrap();
    assert_eq!(store.log(), [format!("POST {START}"), "PUT /upload?state=0".to_owned()]);
    let error = at(&store.server).put_blob("a/b", &sha256(b"x"), b"{}").unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert_eq!(store.log().len(), 2);
}

#[test]
fn a_small_blob_that_breaks_off_is_begun_anew() {
    let left = AtomicUsize::new(2);
    let store = store(None, move |request, _, _| {
        let fewer = |left: usize| left.checked_sub(1).filter(|_| request.method == "PUT");
        let breaks = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok();
        breaks.then(|| Reply { bytes: Vec::new(), then: Then::Reset })
    });
    at(&store.server).put_blob("a/b", &sha256(b"{}"), b"{}").unwrap();
    assert!(store.holds(b"{}"));
    let (begin, end) = (format!("POST {START}"), "PUT /upload?state=0".to_owned());
    let asked = format!("HEAD /v2/a/b/blobs/{}", sha256(b"{}"));
    let cancelled = "DELETE /upload?state=0".to_owned();
    // The second is because the first may have met a connection that was closed already.
    assert_eq!(store.log(), [&begin, &end, &end, &asked, &cancelled, &begin, &end].map(String::clone));
}

#[test]
fn chunks_are_sent_where_they_are_asked_for() {
    let bytes = content(20 << 20);
    let log = |min: usize| {
        let store = store(Some(min), |_, _, _| None);
        store.send(&bytes).unwrap();
        assert!(store.holds(&bytes));
        store.log()
    };
    let (a, b, c) = (8 << 20, 16 << 20, 20 << 20);
    let eight = [
        format!("POST {START}"),
        format!("PATCH /upload?state=0 0-{}", a - 1),
        format!("PATCH /upload?state={a} {a}-{}", b - 1),
        format!("PATCH /upload?state={b} {b}-{}", c - 1),
        format!("PUT /upload?state={c}"),
    ];
    assert_eq!(log(1000), eight);
    assert_eq!(log(15 << 20)[1], format!("PATCH /upload?state=0 0-{}", (15 << 20) - 1));
    // More than is kept in memory: all in one.
    assert_eq!(log(1 << 40)[1], "PATCH /upload?state=0");
    let one = store(Some(1), |_, _, _| None);
    one.send(b"x").unwrap();
}

#[test]
fn a_chunk_is_gone_on_with_where_it_was_lost() {
    let bytes = content(9 << 20);
    let half = |request: &Request, kept: &mut Vec<u8>| kept.extend(&request.bytes[..request.bytes.len() / 2]);
    let busy = || Reply::new(503, &[("Retry-After", "0")], b"");
    let broken = || Reply { bytes: Vec::new(), then: Then::Reset };
    for fault in [
        // Lost before, in the middle and behind.
        Box::new(move |_: &Request, _: &mut Vec<u8>| broken())
            as Box<dyn Fn(&Request, &mut Vec<u8>) -> Reply + Send + Sync>,
        Box::new(move |request, kept| {
            half(request, kept);
            broken()
        }),
        Box::new(move |request, kept| {
            kept.extend(&request.bytes);
            broken()
        }),
        Box::new(move |_, _| busy()),
        Box::new(move |request, kept| {
            half(request, kept);
            Reply::new(416, &[], b"")
        }),
        // Takes only a part, and says so.
        Box::new(move |request, kept| {
            half(request, kept);
            Reply::new(202, &[("Range", &format!("0-{}", kept.len() - 1))], b"")
        }),
    ] {
        let store = store(Some(1), move |request, kept, count| {
            (request.method == "PATCH" && count % 2 == 1).then(|| fault(request, kept))
        });
        store.send(&bytes).unwrap();
        assert!(store.holds(&bytes));
    }
}

#[test]
fn a_registry_that_loses_track_is_left() {
    let bytes = content(9 << 20);
    let claims = |range: &'static str| {
        let store = store(Some(1), move |request, _, _| {
            (request.method != "POST").then(|| Reply::new(202, &[("Range", range)], b""))
        });
        problem(store.send(&bytes))
    };
    assert_eq!(claims("0-99999999999"), Problem::UploadRange);
    assert_eq!(claims("0-0"), Problem::UploadRange);
    let silent =
        store(None, |_, _, _| Some(Reply::new(202, &[("Location", "/upload"), ("Range", "x")], b"")));
    assert_eq!(problem(at(&silent.server).upload("a/b").unwrap().status()), Problem::UploadRange);
    // Forgets what it had.
    let forgetful = store(Some(1), |request, kept, count| {
        (request.method == "PATCH" && count == 2).then(|| {
            kept.clear();
            Reply::new(503, &[], b"")
        })
    });
    assert_eq!(problem(forgetful.send(&bytes)), Problem::UploadRange);
    let busy = store(Some(1), |request, _, _| (request.method == "PATCH").then(|| Reply::new(503, &[], b"")));
    assert!(matches!(busy.send(&bytes), Err(Error::Status { status: 503, .. })));
    assert_eq!(busy.log().iter().filter(|line| line.starts_with("PATCH")).count(), 3);
    // A stream is not sent twice, and a part is not taken for the whole.
    let short = store(None, |request, _, _| {
        (request.method == "PATCH").then(|| Reply::new(202, &[("Range", "0-99")], b""))
    });
    assert_eq!(problem(short.send(&bytes)), Problem::UploadRange);
}

#[test]
fn an_interrupted_stream_is_gone_on_with() {
    let bytes = content(10 << 20);
    let store = store(None, |request, kept, count| {
        (request.method == "PATCH" && count == 1).then(|| {
            kept.extend(&request.bytes[..3_000_000]);
            Reply { bytes: Vec::new(), then: Then::Reset }
        })
    });
    let mut upload = at(&store.server).upload("a/b").unwrap();
    let error = upload.send(&mut &bytes[..], None).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    let error = upload.send(&mut &bytes[..], None).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    assert_eq!(upload.status().unwrap(), 3_000_000);
    upload.send(&mut &bytes[3_000_000..], None).unwrap();
    upload.finish(&sha256(&bytes)).unwrap();
    assert!(store.holds(&bytes));
    let ranges: Vec<_> = store.log().into_iter().filter(|line| line.starts_with("PATCH")).collect();
    assert_eq!(ranges[1], "PATCH /upload?state=3000000 3000000-10485759");
    // What its reader does not deliver is not taken for the end.
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(1);
            if buffer.len() < 64 << 10 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(1000) }
        }
    }
    let mut upload = at(&store.server).upload("a/b").unwrap();
    assert!(matches!(upload.send(&mut Failing, None), Err(Error::Source(_))));
    assert!(store.holds(&bytes));
}

#[test]
fn a_stale_connection_costs_nothing() {
    for small in [true, false] {
        let bytes = content(if small { 1000 } else { 1_000_000 });
        let store = store(None, move |request, kept, _| {
            let closes = matches!(request.method.as_str(), "POST" | "PATCH");
            closes.then(|| answer(request, kept, None).then(Then::Close))
        });
        let mut upload = at(&store.server).upload("a/b").unwrap();
        // The greeting, and the connection of the POST.
        store.server.wait_closed(2);
        upload.send(&mut &bytes[..], None).unwrap();
        upload.finish(&sha256(&bytes)).unwrap();
        assert!(store.holds(&bytes));
    }
}

#[test]
fn an_answer_before_the_end_is_heard() {
    // Reads the head, answers, and takes no more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                // A TLS greeting.
                if stream.peek(&mut byte).unwrap_or(0) == 0 || byte[0] == 22 {
                    return;
                }
                loop {
                    while !head.ends_with(b"\r\n\r\n") {
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    if head.starts_with(b"PATCH") {
                        let body = br#"{"errors":[{"code":"SIZE","message":"no room for this"}]}"#;
                        let reply = Reply::new(413, &[], body);
                        stream.write_all(&reply.bytes).unwrap();
                        // The client hangs up.
                        while stream.peek(&mut byte).unwrap_or(0) > 0 {
                            std::thread::sleep(std::time::Duration::from_millis(10));
                        }
                        return;
                    }
                    stream.write_all(&Reply::new(202, &[("Location", "/upload")], b"").bytes).unwrap();
                    head.clear();
                }
            });
        }
    });
    let registry = Registry::new(&host, hasty()).unwrap();
    let mut upload = registry.upload("a/b").unwrap();
    let error = upload.send(&mut std::io::repeat(7), None).unwrap_err();
    assert_eq!(error.to_string(), format!("upload to {host}/a/b: {host} answered 413: no room for this"));
}

#[test]
fn an_upload_elsewhere_sees_no_credentials() {
    let elsewhere = store(None, |_, _, _| None);
    let location = format!("http://{}/upload?state=0", elsewhere.server.host());
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Basic dTpw") => Reply::new(202, &[("Location", &location)], b""),
        _ => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
    });
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let options = Options { credentials: Some(credentials), ..hasty() };
    let registry = Registry::new(&server.host(), options).unwrap();
    let bytes = content(100_000);
    let mut upload = registry.upload("a/b").unwrap();
    upload.send(&mut &bytes[..], None).unwrap();
    upload.finish(&sha256(&bytes)).unwrap();
    registry.put_blob("a/b", &sha256(b"{}"), b"{}").unwrap_err();
    registry.upload("a/b").unwrap().cancel().unwrap();
    assert!(registry.upload("a/b").unwrap().status().is_ok());
    let requests = elsewhere.server.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    // It cannot make us log in, either.
    let asking = Server::start(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""));
    let location = format!("http://{}/x", asking.host());
    let server = Server::start(move |_| Reply::new(202, &[("Location", &location)], b""));
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let options = Options { credentials: Some(credentials), ..hasty() };
    let registry = Registry::new(&server.host(), options).unwrap();
    assert!(registry.put_blob("a/b", &sha256(b"{}"), b"{}").is_err());
    assert!(asking.requests().iter().all(|request| request.header("authorization").is_none()));
    for headers in [&[][..], &[("Location", "ftp://x/")], &[("Location", "http://u:p@x/")]] {
        let server = Server::start(move |_| Reply::new(202, headers, b""));
        assert_eq!(problem(at(&server).upload("a/b")), Problem::Location);
    }
}

#[test]
fn an_upload_does_not_leave_tls() {
    let directory = TempDir::new().unwrap();
    make_certificates(directory.path());
    let plain = Server::start(|_| Reply::new(201, &[], b""));
    let location = format!("http://{}/upload", plain.host());
    let server = serve(directory.path(), "server", false, move |request| {
        // At once, or on the way.
        let location = if request.path.contains("/a/") { location.as_str() } else { "/upload" };
        let location =
            if request.method == "PATCH" { format!("http://{}/", plain.host()) } else { location.into() };
        Reply::new(202, &[("Location", &location)], b"")
    });
    let options = trust(directory.path(), &server.host(), &[("ca.crt", "ca.crt")]);
    let registry = Registry::new(&server.host(), options).unwrap();
    assert_eq!(problem(registry.put_blob("a/b", &sha256(b"{}"), b"{}")), Problem::Downgrade);
    let mut upload = registry.upload("c").unwrap();
    assert_eq!(problem(upload.send(&mut &b"{}"[..], None)), Problem::Downgrade);
}

#[test]
fn a_lost_answer_to_the_end_is_found_out() {
    let finish = |there: u16| {
        let server = Server::start(move |request| match request.method.as_str() {
            "POST" => Reply::new(202, &[("Location", "/upload")], b""),
            "PUT" if request.header("x").is_none() => Reply { bytes: Vec::new(), then: Then::Reset },
            "HEAD" => Reply::new(there, &[], b""),
            _ => Reply::new(404, &[], b""),
        });
        at(&server).put_blob("a/b", &sha256(b"{}"), b"{}")
    };
    finish(200).unwrap();
    assert!(matches!(finish(404), Err(Error::Lost { .. })));
    let server = Server::start(|request| match request.method.as_str() {
        "POST" => Reply::new(202, &[("Location", "/upload")], b""),
        _ => Reply::new(201, &[("Docker-Content-Digest", sha256(b"other").as_ref())], b""),
    });
    let error = at(&server).put_blob("a/b", &sha256(b"{}"), b"{}").unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
}

#[test]
fn a_blob_is_mounted_or_else_uploaded() {
    let digest = sha256(b"{}");
    let reply = |status: u16, headers: &'static [(&'static str, &'static str)]| {
        let server = Server::start(move |request| match request.path.contains("mount=") {
            true => Reply::new(status, headers, b""),
            false => Reply::new(202, &[("Location", "/upload")], b""),
        });
        let outcome = at(&server).mount("a/b", &digest, Some("c"));
        (outcome, server.paths())
    };
    let (outcome, paths) = reply(201, &[]);
    assert!(matches!(outcome, Ok(Mount::Done)));
    assert_eq!(paths, [format!("{START}?mount=sha256%3A{}&from=c", &digest.as_ref()[7..])]);
    let (outcome, paths) = reply(202, &[("Location", "/upload")]);
    assert!(matches!(outcome, Ok(Mount::Upload(_))));
    assert_eq!(paths.len(), 1);
    for status in [400, 401, 403, 404, 405] {
        let (outcome, paths) = reply(status, &[]);
        assert!(matches!(outcome, Ok(Mount::Upload(_))), "{status}: {outcome:?}");
        assert_eq!(paths[1], START);
    }
    let wrong: &'static [_] = &[(
        "Docker-Content-Digest",
        "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    )];
    assert!(matches!(reply(201, wrong).0, Err(Error::DigestMismatch { .. })));

    // One token for both repositories.
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, &[], br#"{"token":"t"}"#);
        }
        if request.header("authorization") == Some("Bearer t") {
            return Reply::new(201, &[], b"");
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::new(401, &[("WWW-Authenticate", &challenge)], b"")
    });
    assert!(matches!(at(&server).mount("a/b", &digest, Some("c")), Ok(Mount::Done)));
    assert_eq!(
        server.paths()[1],
        "/token?scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull"
    );
}

#[test]
fn debians_registry_takes_blobs() {
    let directory = TempDir::new().unwrap();
    let Some(server) = Distribution::start(directory.path(), "") else { return };
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    let bytes = content(20_000_000);
    let there = |repository: &str, bytes: &[u8]| {
        let mut got = Vec::new();
        registry.blob(repository, &sha256(bytes), 0).unwrap().read_to_end(&mut got).unwrap();
        assert!(got == bytes);
    };
    for length in [None, Some(bytes.len() as u64)] {
        let mut upload = registry.upload("a/b").unwrap();
        upload.send(&mut &bytes[..], length).unwrap();
        upload.finish(&sha256(&bytes)).unwrap();
    }
    there("a/b", &bytes);
    registry.put_blob("a/b", &sha256(b"{}"), b"{}").unwrap();
    there("a/b", b"{}");
    registry.put_blob("a/b", &sha256(b""), b"").unwrap();

    // In parts, as after an interruption.
    let mut upload = registry.upload("c").unwrap();
    upload.send(&mut &bytes[..5_000_000], None).unwrap();
    assert_eq!(upload.status().unwrap(), 5_000_000);
    upload.send(&mut &bytes[5_000_000..], None).unwrap();
    assert_eq!(upload.offset(), 20_000_000);
    upload.finish(&sha256(&bytes)).unwrap();
    there("c", &bytes);

    let wrong = registry.upload("c").unwrap().finish(&sha256(b"something")).unwrap_err();
    assert!(matches!(wrong, Error::Status { status: 400, .. }), "{wrong:?}");

    assert!(matches!(registry.mount("d", &sha256(&bytes), Some("c")), Ok(Mount::Done)));
    there("d", &bytes);
    // It mounts from named repositories only, and only what is there.
    for (digest, from) in [(sha256(&bytes), None), (sha256(b"no"), Some("c"))] {
        let Ok(Mount::Upload(upload)) = registry.mount("e", &digest, from) else { panic!("{digest}") };
        upload.cancel().unwrap();
    }
    let mut upload = registry.upload("e").unwrap();
    let again = registry.upload("e").unwrap();
    assert_eq!(upload.status().unwrap(), 0);
    again.cancel().unwrap();
    upload.finish(&sha256(b"")).unwrap();

    let digest = ring::digest::digest(&ring::digest::SHA512, b"{}");
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let sha512 = format!("sha512:{hex}").try_into().unwrap();
    registry.put_blob("a/b", &sha512, b"{}").unwrap();
    registry.head_blob("a/b", &sha512).unwrap();
}

#[test]
fn debians_registry_takes_blobs_from_those_who_log_in() {
    let directory = TempDir::new().unwrap();
    // Made by `htpasswd -nbB -C 4 user secret`.
    let line = "user:$2y$04$KfHbAOPGrnUuInKsjsRSJ.XTANSnZqOeUo5llAP6MONWnGflm8Vsq\n";
    let file = directory.path().join("htpasswd");
    std::fs::write(&file, line).unwrap();
    let settings = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}", file.display());
    let Some(server) = Distribution::start(directory.path(), &settings) else { return };
    let login = |password: &str| {
        let credentials = Credentials { username: "user".into(), password: password.into() };
        Registry::new(&server.host(), Options { credentials: Some(credentials), ..hasty() }).unwrap()
    };
    let (registry, bytes) = (login("secret"), content(3_000_000));
    registry.ping().unwrap();
    let mut upload = registry.upload("a/b").unwrap();
    upload.send(&mut &bytes[..], None).unwrap();
    upload.finish(&sha256(&bytes)).unwrap();
    assert!(matches!(registry.mount("c", &sha256(&bytes), Some("a/b")), Ok(Mount::Done)));
    let wrong = login("wrong");
    for error in [
        wrong.ping().unwrap_err(),
        wrong.upload("a/b").unwrap_err(),
        wrong.mount("c", &sha256(&bytes), Some("a/b")).unwrap_err(),
        wrong.tags("a/b").unwrap().next().unwrap().unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unauthorized { refused: true, .. }), "{error:?}");
    }
}
