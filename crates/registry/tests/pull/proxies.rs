//! Through proxies: scripted ones for plain http, one that connects for TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use crate::common::{Reply, Server, content, hasty, make_certificates, sha256};
use crate::tls::{serve, trust};
use loment_registry::{Credentials, Error, Options, Proxy, Registry};

/// Connects to whatever port is asked for on this machine, whatever the host; answers `status`.
struct Connector {
    host: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Connector {
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || drop(connect(stream, status, &seen)));
            }
        });
        Self { host, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn connect(mut stream: TcpStream, status: &str, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    seen.lock().unwrap().push(head.clone());
    stream.write_all(status.as_bytes())?;
    if !status.contains(" 200 ") {
        return Ok(());
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let port: u16 = target.rsplit(':').next().unwrap_or_default().parse().map_err(io::Error::other)?;
    let mut upstream = TcpStream::connect(("127.0.0.1", port))?;
    let (mut back, mut up) = (stream.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut up, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    io::copy(&mut stream, &mut upstream)?;
    upstream.shutdown(Shutdown::Both)
}

fn with_login(options: Options) -> Options {
    let credentials = Credentials { username: "u".into(), password: "secret".into() };
    Options { credentials: Some(credentials), ..options }
}

#[test]
fn tls_goes_through_unseen() {
    let directory = TempDir::new().unwrap();
    make_certificates(directory.path());
    let server = serve(directory.path(), "server", false, |request| match request.header("authorization") {
        Some("Basic dTpzZWNyZXQ=") => Reply::new(200, &[], b"{}"),
        _ => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"r\"")], b""),
    });
    // No name server knows this host; the proxy does.
    let host = format!("reg.test:{}", server.address.port());
    let proxy = Connector::start("HTTP/1.1 200 fine\r\nX: y\r\n\r\n");
    let options = with_login(trust(directory.path(), &host, &[("ca.crt", "ca.crt")]));
    let through = |url: String| Proxy { https: Some(url), ..Proxy::default() };
    let options = Options { proxy: through(format!("http://p:w@{}", proxy.host)), ..options };
    let registry = Registry::new(&host, options.clone()).unwrap();
    registry.manifest("a/b", "1").unwrap();
    registry.manifest("a/b", "2").unwrap();
    let head = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic cDp3\r\n\r\n");
    assert_eq!(proxy.heads(), [head]);
    assert!(server.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
    assert_eq!(server.paths()[0], "/v2/a/b/manifests/1");
    // The proxy cannot pose as the registry.
    let untrusted = Options { certs_dir: Vec::new(), ..options.clone() };
    let error = Registry::new(&host, untrusted).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::NoRoots { .. }), "{error:?}");

    for (answer, message) in [
        ("HTTP/1.1 407 no\r\n\r\n", "407; put a user name and a password into its URL"),
        ("HTTP/1.1 403 no\r\n\r\n", "403"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "what is not HTTP"),
    ] {
        let proxy = Connector::start(answer);
        let options = Options { proxy: through(proxy.host.clone()), ..options.clone() };
        let error = Registry::new(&host, options).unwrap().manifest("a/b", "1").unwrap_err();
        let expected = format!("proxy {} does not connect to {host}: it answered {message}", proxy.host);
        assert_eq!(error.to_string(), expected);
    }
    let endless: &'static str =
        Box::leak(format!("HTTP/1.1 200 x\r\nX: {}", "a".repeat(20_000)).into_boxed_str());
    let options = Options { proxy: through(Connector::start(endless).host), ..options };
    let error = Registry::new(&host, options).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::ProxyRefused { status: 0, .. }), "{error:?}");
}

#[test]
fn plain_http_is_asked_for_by_its_whole_name() {
    let bytes = content(100_000);
    let served = bytes.clone();
    // The proxy answers for the registry.
    let proxy = Server::start(move |request| match request.path.as_str() {
        "http://reg.test:5000/v2/a/b/manifests/1" => Reply::new(200, &[], b"{}"),
        path if path.contains("/blobs/") => Reply::new(307, &[("Location", "http://cdn.test/x")], b""),
        "http://cdn.test/x" => Reply::new(200, &[], &served),
        _ => Reply::new(404, &[], b""),
    });
    let url = format!("http://p:w@{}/", proxy.host());
    let settings = Proxy { http: Some(url), ..Proxy::default() };
    // Nothing listens where https is looked for.
    let directory = TempDir::new().unwrap();
    let hosts_file = directory.path().join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 reg.test\n").unwrap();
    let options = Options { insecure: true, proxy: settings, hosts_file, ..hasty() };
    let registry = Registry::new("reg.test:5000", options.clone()).unwrap();
    registry.manifest("a/b", "1").unwrap();
    let mut got = Vec::new();
    registry.blob("a/b", &sha256(&bytes), 0).unwrap().read_to_end(&mut got).unwrap();
    assert!(got == bytes);
    let requests = proxy.requests();
    assert_eq!(requests[0].header("host"), Some("reg.test:5000"));
    assert!(requests.iter().all(|request| request.header("proxy-authorization") == Some("Basic cDp3")));
    // An exception, and this machine.
    let seen = proxy.requests().len();
    let server = Server::start(|_| Reply::new(200, &[], b"{}"));
    let no_proxy = Some("other.test, reg.test".to_owned());
    let direct = Options { proxy: Proxy { no_proxy, ..options.proxy.clone() }, ..options.clone() };
    Registry::new(&format!("reg.test:{}", server.address.port()), direct)
        .unwrap()
        .manifest("a/b", "1")
        .unwrap();
    Registry::new(&server.host(), options).unwrap().manifest("a/b", "1").unwrap();
    assert_eq!((server.requests().len(), proxy.requests().len()), (2, seen));
    assert!(server.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn proxies_that_cannot_be_used_are_named_without_their_password() {
    let proxy = Proxy { https: Some("socks5://user:secret@p.test".into()), ..Proxy::default() };
    let error = Registry::new("reg.test", Options { proxy, ..hasty() }).unwrap_err();
    let expected = "the proxy for https cannot be used: expected http://[USER:PASSWORD@]HOST:PORT";
    assert_eq!(error.to_string(), expected);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy { https: Some(format!("user:secret@127.0.0.1:{port}")), ..Proxy::default() };
    let options = Options { proxy, ..hasty() };
    assert!(!format!("{options:?}").contains("secret"));
    let error = Registry::new("reg.test", options).unwrap().manifest("a/b", "1").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to proxy 127.0.0.1:{port}"));
}
