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
    // Only where it would be used: not for this machine, an exception, or the other scheme.
    let server = Server::start(|_| Reply::new(200, &[], b"{}"));
    let directory = TempDir::new().unwrap();
    let hosts_file = directory.path().join("hosts");
    std::fs::write(&hosts_file, "127.0.0.1 reg.test\n").unwrap();
    let bad = Some("socks4://user:secret@p.test".to_owned());
    let proxy = Proxy { https: bad.clone(), http: bad.clone(), no_proxy: Some("reg.test".into()) };
    let options = Options { proxy, hosts_file, insecure: true, ..hasty() };
    for host in [server.host(), format!("reg.test:{}", server.address.port())] {
        Registry::new(&host, options.clone()).unwrap().manifest("a/b", "1").unwrap();
    }
    let error = Registry::new("other.test", options).unwrap().manifest("a/b", "1").unwrap_err();
    let expected = "the proxy of HTTPS_PROXY, \"socks4://p.test\", cannot be used: expected \
                    [http://|https://|socks5://][USER:PASSWORD@]HOST[:PORT]; set NO_PROXY for hosts that need none";
    assert_eq!(error.to_string(), expected);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = Proxy { https: Some(format!("user:secret@127.0.0.1:{port}")), ..Proxy::default() };
    let options = Options { proxy, ..hasty() };
    assert!(!format!("{options:?}").contains("secret"));
    let error = Registry::new("reg.test", options).unwrap().manifest("a/b", "1").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to proxy 127.0.0.1:{port}"));
}

/// Connects like a [`Connector`], by SOCKS 5; `login` is wanted if there is one, and none at all makes it speak HTTP.
struct SocksServer {
    host: String,
    /// Who asked for what.
    asked: Arc<Mutex<Vec<String>>>,
}

impl SocksServer {
    fn start(login: Option<&'static str>, reply: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || drop(socks(stream, login, reply, &seen)));
            }
        });
        Self { host, asked }
    }
}

fn socks(
    mut stream: TcpStream,
    login: Option<&str>,
    reply: u8,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let byte = |stream: &mut TcpStream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| usize::from(byte[0]))
    };
    let bytes = |stream: &mut TcpStream, count| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let text = |bytes| String::from_utf8(bytes).map_err(io::Error::other);
    let _version = byte(&mut stream)?;
    if login == Some("") {
        return stream.write_all(b"HTTP/1.1 400 x");
    }
    let count = byte(&mut stream)?;
    let methods = bytes(&mut stream, count)?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return stream.write_all(&[5, 0xff]);
    }
    stream.write_all(&[5, wanted])?;
    let mut user = String::new();
    if let Some(login) = login {
        let _version = byte(&mut stream)?;
        let length = byte(&mut stream)?;
        user = text(bytes(&mut stream, length)?)?;
        let length = byte(&mut stream)?;
        user = format!("{user}:{}", text(bytes(&mut stream, length)?)?);
        stream.write_all(&[1, u8::from(user != login)])?;
    }
    let head = bytes(&mut stream, 4)?;
    assert_eq!(head, [5, 1, 0, 3], "by its name");
    let length = byte(&mut stream)?;
    let name = text(bytes(&mut stream, length)?)?;
    let port = bytes(&mut stream, 2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    asked.lock().unwrap().push(format!("{user} {name}:{port}"));
    stream.write_all(&[5, reply, 0, 3, 2, b'h', b'i', 0, 80])?;
    if reply != 0 {
        return Ok(());
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", port))?;
    let (mut back, mut up) = (stream.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut up, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    io::copy(&mut stream, &mut upstream)?;
    upstream.shutdown(Shutdown::Both)
}

#[test]
fn socks_proxies_connect_by_name() {
    let directory = TempDir::new().unwrap();
    make_certificates(directory.path());
    let secure = serve(directory.path(), "server", false, |_| Reply::new(200, &[], b"{}"));
    let plain = Server::start(|request| {
        assert!(request.path.starts_with("/v2/"), "as to a registry, not as to a proxy: {}", request.path);
        Reply::new(200, &[], b"{}")
    });
    // No name server knows this host; the proxy does.
    for (server, both) in [(&secure, false), (&plain, true)] {
        let host = format!("reg.test:{}", server.address.port());
        let trusting = trust(directory.path(), &host, &[("ca.crt", "ca.crt")]);
        let through = |url: String| {
            let proxy = Proxy { https: Some(url.clone()), http: Some(url), no_proxy: None };
            let options = Options { proxy, insecure: both, ..trusting.clone() };
            Registry::new(&host, options).unwrap().manifest("a/b", "1")
        };
        let open = SocksServer::start(None, 0);
        through(format!("socks5://{}", open.host)).unwrap();
        assert!(open.asked.lock().unwrap().iter().all(|asked| *asked == format!(" {host}")));
        let locked = SocksServer::start(Some("u:p@w"), 0);
        through(format!("socks5h://u:p%40w@{}", locked.host)).unwrap();
        assert!(locked.asked.lock().unwrap().iter().all(|asked| *asked == format!("u:p@w {host}")));
        let failing = SocksServer::start(None, 5);
        for (url, problem) in [
            (format!("socks5://u:x@{}", locked.host), "it refuses this user name and password"),
            (
                format!("socks5://{}", locked.host),
                "it wants a login; put a user name and a password into its URL",
            ),
            (format!("socks5://{}", failing.host), "the connection is refused"),
            (format!("socks5://{}", SocksServer::start(Some(""), 0).host), "it does not speak SOCKS 5"),
        ] {
            let error = through(url).unwrap_err();
            let message = error.to_string();
            assert!(message.ends_with(&format!("does not connect to {host}: {problem}")), "{message}");
        }
    }
}

#[test]
fn a_proxy_can_be_spoken_to_over_tls() {
    let directory = TempDir::new().unwrap();
    make_certificates(directory.path());
    // It answers for the registry.
    let proxy = serve(directory.path(), "server", false, |request| match request.path.as_str() {
        "http://reg.test:5000/v2/a/b/manifests/1" => Reply::new(200, &[], b"{}"),
        _ => Reply::new(404, &[], b""),
    });
    let url = format!("https://u:p@{}", proxy.host());
    let through = |options: Options| {
        let proxy = Proxy { http: Some(url.clone()), ..Proxy::default() };
        let hosts_file = directory.path().join("hosts");
        std::fs::write(&hosts_file, "127.0.0.1 reg.test\n").unwrap();
        let options = Options { proxy, hosts_file, insecure: true, ..options };
        Registry::new("reg.test:5000", options).unwrap().manifest("a/b", "1")
    };
    through(hasty()).unwrap();
    let requests = proxy.requests();
    assert!(requests.iter().all(|request| request.header("proxy-authorization") == Some("Basic dTpw")));
    // TLS within TLS, and a proxy that nobody vouches for.
    let registry = serve(directory.path(), "server", false, |_| Reply::new(200, &[], b"{}"));
    let host = format!("reg.test:{}", registry.address.port());
    let proxy = TlsConnector::start(directory.path());
    let trusting = trust(directory.path(), &host, &[("ca.crt", "ca.crt")]);
    let proxy = Proxy { https: Some(format!("https://{}", proxy.host)), ..Proxy::default() };
    let options = Options { proxy, ..trusting };
    Registry::new(&host, options.clone()).unwrap().manifest("a/b", "1").unwrap();
    let untrusting = Options { certs_dir: Vec::new(), ..options.clone() };
    let error = Registry::new(&host, untrusting).unwrap().manifest("a/b", "1").unwrap_err();
    assert!(matches!(error, Error::ProxyTls { .. } | Error::NoRoots { .. }), "{error:?}");
    // With TLS that is not verified that goes for the proxy, too.
    let insecure = Options { certs_dir: Vec::new(), insecure: true, ..options.clone() };
    Registry::new(&host, insecure).unwrap().manifest("a/b", "1").unwrap();
    // One that speaks no TLS hangs up.
    let plain = Server::start(|_| Reply::new(200, &[], b""));
    let proxy = Proxy { https: Some(format!("https://{}", plain.host())), ..Proxy::default() };
    let error = Registry::new(&host, Options { proxy, ..options }).unwrap().manifest("a/b", "1").unwrap_err();
    assert_eq!(error.to_string(), format!("the connection to proxy https://{} was lost", plain.host()));
}

/// The end of TLS before a [`Connector`].
struct TlsConnector {
    host: String,
    _behind: Connector,
}

impl TlsConnector {
    fn start(directory: &std::path::Path) -> Self {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let certificate = CertificateDer::from_pem_file(directory.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let behind = Connector::start("HTTP/1.1 200 fine\r\n\r\n");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let to = behind.host.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, to) = (Arc::clone(&config), to.clone());
                thread::spawn(move || drop(pass(stream, config, &to)));
            }
        });
        Self { host, _behind: behind }
    }
}

/// One thread goes back and forth: neither side of TLS can be read while it is written.
fn pass(client: TcpStream, config: Arc<rustls::ServerConfig>, to: &str) -> io::Result<()> {
    let tick = Some(std::time::Duration::from_millis(10));
    client.set_read_timeout(tick)?;
    let mut upstream = TcpStream::connect(to)?;
    upstream.set_read_timeout(tick)?;
    let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = rustls::StreamOwned::new(connection, client);
    let mut buffer = [0; 16 << 10];
    loop {
        for forth in [true, false] {
            let read = if forth { client.read(&mut buffer) } else { upstream.read(&mut buffer) };
            match read {
                Ok(0) => return Ok(()),
                Ok(count) if forth => upstream.write_all(&buffer[..count])?,
                Ok(count) => client.write_all(&buffer[..count])?,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
    }
}
