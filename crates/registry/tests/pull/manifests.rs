//! Manifests, and what any request goes through: retries, redirects, limits, plain HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci_spec::image::Digest;

use crate::common::{Reply, Server, Then, content, hasty, sha256};
use loment_registry::{Error, Manifest, Options, Problem, Registry, Timeouts};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn get(server: &Server, reference: &str) -> Result<Manifest, Error> {
    Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", reference)
}

fn problem(outcome: Result<Manifest, Error>) -> Problem {
    match outcome {
        Err(Error::Protocol { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

/// One reply after the other, the last for ever.
fn replies(list: Vec<fn() -> Reply>) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_| list[count.fetch_add(1, Ordering::SeqCst).min(list.len() - 1)]())
}

fn fine() -> Reply {
    Reply::new(200, &[("Content-Type", OCI)], b"{}")
}

#[test]
fn a_manifest_is_delivered_with_type_and_digest() {
    let server = Server::start(|_| {
        let digest = sha256(b"{}").to_string();
        Reply::new(
            200,
            &[("Content-Type", "Application/X; charset=utf-8"), ("Docker-Content-Digest", &digest)],
            b"{}",
        )
    });
    let manifest = get(&server, "1.0").unwrap();
    let expected =
        Manifest { media_type: "application/x".into(), digest: Some(sha256(b"{}")), bytes: b"{}".into() };
    assert_eq!(manifest, expected);
    assert_eq!(get(&server, sha256(b"{}").as_ref()).unwrap(), expected);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v2/a/b/manifests/1.0");
    assert_eq!(request.header("host"), Some(server.host().as_str()));
    assert!(request.header("user-agent").unwrap().starts_with("loment/"));
    let accept = request.header("accept").unwrap();
    for kind in
        ["oci.image.manifest.v1", "oci.image.index.v1", "manifest.v2", "manifest.list.v2", "v1+prettyjws"]
    {
        assert!(accept.contains(kind), "{kind}");
    }
}

#[test]
fn content_that_does_not_match_is_refused() {
    let server = Server::start(|_| fine());
    let wanted = sha256(b"other");
    let error = get(&server, wanted.as_ref()).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }));
    let message = error.to_string();
    assert!(message.contains(wanted.as_ref()) && message.contains(sha256(b"{}").as_ref()), "{message}");

    let server =
        Server::start(|_| Reply::new(200, &[("Docker-Content-Digest", sha256(b"other").as_ref())], b"{}"));
    for reference in ["latest", sha256(b"{}").as_ref()] {
        let message = get(&server, reference).unwrap_err().to_string();
        assert!(message.contains(wanted.as_ref()) && message.contains(sha256(b"{}").as_ref()), "{message}");
    }

    let sha512 = format!("sha512:{}", "0".repeat(128));
    let announced = sha512.clone();
    let server = Server::start(move |_| Reply::new(200, &[("Docker-Content-Digest", &announced)], b"{}"));
    assert!(matches!(get(&server, "latest"), Err(Error::DigestMismatch { .. })));
    assert!(matches!(get(&server, &sha512), Err(Error::DigestMismatch { .. })));

    let server = Server::start(|_| Reply::new(200, &[("Docker-Content-Digest", "nonsense")], b"{}"));
    assert_eq!(problem(get(&server, "latest")), Problem::DigestHeader);
}

#[test]
fn signed_schema_1_is_verified_by_what_is_signed() {
    // {"formatLength":9,"formatTail":"fQ"}: nine bytes, and a brace.
    const PROTECTED: &str = "eyJmb3JtYXRMZW5ndGgiOjksImZvcm1hdFRhaWwiOiJmUSJ9";
    let whole = format!(r#"{{"name":1,"signatures":[{{"protected":"{PROTECTED}"}}]}}"#);
    let body = whole.clone();
    let server = Server::start(move |_| {
        let headers = [
            ("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ("Docker-Content-Digest", &format!("sha256:{}", "0".repeat(64))),
        ];
        Reply::new(200, &headers, body.as_bytes())
    });
    // By a tag nobody vouches for it.
    assert_eq!(get(&server, "latest").unwrap().digest, None);
    for good in [&br#"{"name":1}"#[..], whole.as_bytes()] {
        let digest = sha256(good);
        let found = get(&server, digest.as_ref()).unwrap();
        assert_eq!((found.digest, found.bytes), (Some(digest), whole.clone().into_bytes()));
    }
    let error = get(&server, sha256(b"other").as_ref()).unwrap_err();
    assert!(matches!(&error, Error::DigestMismatch { actual, .. } if **actual == sha256(br#"{"name":1}"#)));
}

#[test]
fn what_is_missing_or_forbidden_is_named() {
    let document = br#"{"errors":[{"code":"X","message":"because\nof this"}]}"#;
    for (status, expected) in [
        (404, "manifest latest of HOST/a/b: manifest unknown; check the name and the tag"),
        (
            403,
            "manifest latest of HOST/a/b: requested access to the resource is denied by HOST: because of this",
        ),
        (400, "manifest latest of HOST/a/b: HOST answered 400: because of this"),
        (
            401,
            "manifest latest of HOST/a/b: unauthorized: HOST wants credentials for this, or has no such repository; log in to HOST first",
        ),
    ] {
        let server = Server::start(move |_| Reply::new(status, &[], document));
        let message = get(&server, "latest").unwrap_err().to_string();
        assert_eq!(message.replace(&server.host(), "HOST"), expected);
        assert_eq!(server.requests().len(), 1, "{status} is not retried");
    }
}

#[test]
fn a_busy_registry_is_asked_again() {
    let too_many: fn() -> Reply = || Reply::new(429, &[("Retry-After", "0")], b"slow down");
    let broken: fn() -> Reply = || Reply::new(503, &[("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")], b"");
    let cut: fn() -> Reply = || fine().cut(0, Then::Reset);
    let server = replies(vec![too_many, broken, fine]);
    assert_eq!(get(&server, "latest").unwrap().bytes, b"{}");
    assert_eq!(server.requests().len(), 3);

    let server = replies(vec![cut]);
    assert!(matches!(get(&server, "latest"), Err(Error::Lost { .. })));

    let server = replies(vec![broken]);
    let error = get(&server, "latest").unwrap_err();
    assert!(matches!(error, Error::Status { status: 503, .. }), "{error:?}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_limit_that_is_reached_is_named_with_what_raises_it() {
    let told =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#;
    let limited = |request: &crate::common::Request| match request.path.as_str() {
        "/v2/a/b/manifests/latest" => {
            let headers = [("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "0;w=21600")];
            Reply::new(200, &headers, b"{}")
        }
        _ => Reply::new(429, &[("Retry-After", "0")], told),
    };
    let server = Server::start(limited);
    let shown = |options: Options| {
        let registry = Registry::new(&server.host(), options).unwrap();
        registry.manifest("a/b", "latest").unwrap();
        let layer = registry.blob("a/b", &sha256(b"x"), 0).unwrap_err();
        assert!(matches!(layer, Error::TooMany { .. }), "{layer:?}");
        layer.to_string().replace(&server.host(), "HOST").replace(sha256(b"x").as_ref(), "DIGEST")
    };
    // Layers do not say it, but manifests did.
    let limit = "blob DIGEST of HOST/a/b: HOST answers no more requests for now (429): You have reached your pull rate limit; \
                 it allows 100 requests in 6 h, of which none is left; ";
    assert_eq!(shown(hasty()), format!("{limit}log in to HOST, which raises its limit, or try again later"));
    let credentials = Some(loment_registry::Credentials { username: "u".into(), password: "p".into() });
    let known = Options { credentials, ..hasty() };
    assert_eq!(shown(known), format!("{limit}try again later, or use a mirror"));
    let silent = Registry::new(&server.host(), hasty()).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(!silent.to_string().contains("allows") && silent.to_string().contains("log in to"), "{silent}");
}

#[test]
fn a_connection_reset_before_the_answer_is_tried_again() {
    let server = replies(vec![|| Reply { bytes: vec![], then: Then::Reset }, fine]);
    // The first request also decides about the scheme; only then is the reset an ordinary one.
    let outcome = get(&server, "latest");
    assert_eq!(outcome.unwrap().bytes, b"{}");
}

#[test]
fn connections_are_reused_and_stale_ones_replaced() {
    let server = replies(vec![fine]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    for _ in 0..5 {
        registry.manifest("a/b", "latest").unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (5, 1));

    // Closes without having said so.
    let server = replies(vec![|| fine().then(Then::Close)]);
    let registry = Registry::new(
        &server.host(),
        Options { retry: loment_registry::Retry { tries: 1, ..hasty().retry }, ..hasty() },
    )
    .unwrap();
    for _ in 0..5 {
        registry.manifest("a/b", "latest").unwrap();
    }
}

#[test]
fn redirects_are_followed_without_credentials() {
    let storage = Server::start(|request| match request.header("authorization") {
        None => Reply::new(200, &[], b"content"),
        Some(_) => Reply::new(500, &[], b""),
    });
    let elsewhere = storage.host();
    let server =
        Server::start(move |request| match (request.path.as_str(), request.header("authorization")) {
            (_, None) => Reply::new(401, &[("WWW-Authenticate", "Basic realm=x")], b""),
            ("/v2/a/b/manifests/1", _) => Reply::new(307, &[("Location", "/elsewhere?x=1")], b"moved"),
            _ => Reply::new(302, &[("Location", &format!("http://{elsewhere}/x"))], b""),
        });
    let credentials = loment_registry::Credentials { username: "user".into(), password: "secret".into() };
    let options = Options { credentials: Some(credentials), ..hasty() };
    assert!(!format!("{options:?}").contains("secret"));
    let registry = Registry::new(&server.host(), options).unwrap();
    assert_eq!(registry.manifest("a/b", "1").unwrap().bytes, b"content");
    assert_eq!(server.paths(), ["/v2/a/b/manifests/1", "/v2/a/b/manifests/1", "/elsewhere?x=1"]);
    assert_eq!(server.requests()[2].header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(storage.requests()[0].header("authorization"), None);
    assert_eq!(storage.requests()[0].header("host"), Some(storage.host().as_str()));
}

#[test]
fn a_401_from_elsewhere_is_no_reason_to_log_in() {
    let storage = Server::start(|_| Reply::new(401, &[("WWW-Authenticate", "Basic realm=x")], b""));
    let elsewhere = storage.host();
    let server =
        Server::start(move |_| Reply::new(307, &[("Location", &format!("http://{elsewhere}/x"))], b""));
    let credentials = loment_registry::Credentials { username: "user".into(), password: "secret".into() };
    let registry =
        Registry::new(&server.host(), Options { credentials: Some(credentials), ..hasty() }).unwrap();
    let error = registry.manifest("a/b", "1").unwrap_err();
    assert!(
        matches!(&error, Error::Status { status: 401, host, .. } if *host == storage.host()),
        "{error:?}"
    );
    assert_eq!(storage.requests().len(), 1);
}

#[test]
fn redirects_end() {
    let server = Server::start(|_| Reply::new(307, &[("Location", "/v2/again")], b""));
    assert_eq!(problem(get(&server, "latest")), Problem::Redirects);
    assert_eq!(server.requests().len(), 6);
    for location in ["ftp://x/", "http://user@x/", ""] {
        let server = Server::start(move |_| Reply::new(307, &[("Location", location)], b""));
        assert_eq!(problem(get(&server, "latest")), Problem::Location);
    }
    let server = Server::start(|_| Reply::new(307, &[], b""));
    assert_eq!(problem(get(&server, "latest")), Problem::Location);
}

#[test]
fn documents_have_limits() {
    let limit = 4 << 20;
    let server = Server::start(move |_| Reply::new(200, &[], &content(limit)));
    assert_eq!(get(&server, "latest").unwrap().bytes.len(), limit);
    let server = Server::start(move |_| Reply::new(200, &[], &content(limit + 1)));
    assert!(matches!(get(&server, "latest"), Err(Error::TooLarge { .. })));
    let server = Server::start(move |_| {
        let mut bytes = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..=limit >> 16 {
            bytes.extend(b"10000\r\n");
            bytes.extend(content(1 << 16));
            bytes.extend(b"\r\n");
        }
        Reply { bytes, then: Then::Hang }
    });
    assert!(matches!(get(&server, "latest"), Err(Error::TooLarge { .. })));
    // An oversized error document is dropped, the error is not.
    let server = Server::start(|_| Reply::new(404, &[], &content(2 << 20)));
    assert!(matches!(get(&server, "latest"), Err(Error::NotFound { .. })));
}

#[test]
fn what_is_not_http_is_refused() {
    for garbage in [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"HTTP/1.1 200 x\r\nContent-Length: abc\r\n\r\n".to_vec(),
        [
            b"HTTP/1.1 200 x\r\n".to_vec(),
            b"X-Endless: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(50_000),
        ]
        .concat(),
        [b"HTTP/1.1 200 x\r\nX: ".to_vec(), vec![b'a'; 10 << 20]].concat(),
    ] {
        let server = Server::start(move |_| Reply { bytes: garbage.clone(), then: Then::Hang });
        let secure = get(&server, "latest");
        assert_eq!(problem(secure), Problem::Http);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start(|_| Reply { bytes: b"HTTP/1.1 200".to_vec(), then: Then::Hang });
    let mut options = hasty();
    options.timeouts = Timeouts { idle: Duration::from_millis(100), ..options.timeouts };
    let registry = Registry::new(&server.host(), options).unwrap();
    assert!(matches!(registry.manifest("a/b", "latest"), Err(Error::Timeout { .. })));
}

/// Options under which `reg.test` is this machine, but not by a loopback name.
fn renamed(directory: &tempfile::TempDir) -> Options {
    let hosts_file = directory.path().join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 reg.test\n").unwrap();
    Options { hosts_file, resolv_conf: directory.path().join("none"), ..hasty() }
}

#[test]
fn plain_http_is_for_loopback_and_insecure_registries() {
    // Answers a TLS greeting the way a plain web server does.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap();
            let status = if buffer[..length].starts_with(b"GET ") { "200 OK" } else { "400 Bad Request" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
                .unwrap();
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let host = format!("reg.test:{port}");
    let registry = Registry::new(&host, renamed(&directory)).unwrap();
    let message = registry.manifest("a/b", "latest").unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "http: server gave HTTP response to HTTPS client: use --tls-verify=false or mark {host} insecure in registries.conf"
        )
    );
    let insecure = Options { insecure: true, ..renamed(&directory) };
    Registry::new(&host, insecure).unwrap().manifest("a/b", "latest").unwrap();
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        Registry::new(&host, hasty()).unwrap().manifest("a/b", "latest").unwrap();
        let only = Options { tls_only: true, ..hasty() };
        let error = Registry::new(&host, only).unwrap().manifest("a/b", "latest").unwrap_err();
        assert!(matches!(&error, Error::PlainHttp { host: named } if *named == host), "{error:?}");
    }
}

#[test]
fn where_tls_is_demanded_nothing_is_sent_in_the_clear() {
    let credentials = loment_registry::Credentials { username: "u".into(), password: "p".into() };
    let server = Server::start(|request| match request.header("authorization") {
        Some(_) => fine(),
        None => Reply::new(401, &[("WWW-Authenticate", "Basic realm=x")], b""),
    });
    let options = Options { credentials: Some(credentials), ..hasty() };
    let only = Options { tls_only: true, ..options.clone() };
    let error = Registry::new(&server.host(), only).unwrap().manifest("a/b", "latest").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(server.requests().is_empty());
    Registry::new(&server.host(), options).unwrap().manifest("a/b", "latest").unwrap();
}

#[test]
fn hosts_that_are_not_there_are_named() {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("reg.test:{port}");
    let error = Registry::new(&host, renamed(&directory)).unwrap().manifest("a/b", "latest").unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { host: named, source } if *named == host
        && source.kind() == std::io::ErrorKind::ConnectionRefused),
        "{error:?}"
    );
    let hosts = format!("nameserver 127.0.0.1:{port}");
    std::fs::write(directory.path().join("none"), hosts).unwrap();
    let error = Registry::new("a..b", renamed(&directory)).unwrap().manifest("a/b", "latest").unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "a..b"), "{error:?}");
}

#[test]
fn names_are_checked_before_anything_is_sent() {
    let server = replies(vec![fine]);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    assert!(matches!(registry.manifest("../x", "latest"), Err(Error::Repository { .. })));
    assert!(matches!(registry.manifest("a/b", "../../x"), Err(Error::Reference { .. })));
    let digest = Digest::try_from("md5:0123").unwrap();
    assert!(matches!(registry.blob("a/b", &digest, 0), Err(Error::Reference { .. })));
    assert!(Registry::new("host/path", hasty()).is_err());
    assert!(server.requests().is_empty());
}
