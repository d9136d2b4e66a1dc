//! Docker's daemon, and a scripted one, at a unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::{Reply, Request, Then, content, hasty, read_request};
use loment_registry::{Daemon, Error, Options, Proxy};

/// Answers requests at a socket; returns them.
fn serve(
    socket: &Path,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Arc<Mutex<Vec<Request>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            thread::spawn(move || {
                let mut stream = stream;
                while let Ok(Some(request)) = read_request(&mut stream) {
                    seen.lock().unwrap().push(request.clone());
                    let reply = answer(&request);
                    if stream.write_all(&reply.bytes).is_err() || reply.then != Then::KeepAlive {
                        return;
                    }
                }
            });
        }
    });
    requests
}

#[test]
fn archives_go_through_a_socket() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("sock");
    let bytes = content(1_000_000);
    let served = bytes.clone();
    let requests = serve(&socket, move |request| match request.path.as_str() {
        "/images/get?names=a%2Fb%3A1" => Reply::new(200, &[], &served),
        "/images/get?names=cut" => Reply::new(200, &[], &served).cut(1000, Then::Close),
        "/images/load?quiet=1" => Reply::new(200, &[], b"{\"stream\":\"Loaded image: a\\n\"}\r\n"),
        _ => Reply::new(404, &[], br#"{"message":"reference does not exist"}"#),
    });
    // What is for registries is not for the daemon.
    let proxy = Proxy { http: Some("127.0.0.1:1".into()), ..Proxy::default() };
    let options = Options { proxy, bearer: Some("secret".into()), ..hasty() };
    let daemon = Daemon::new(&socket, options).unwrap();
    let mut got = Vec::new();
    daemon.save("a/b:1").unwrap().read_to_end(&mut got).unwrap();
    assert!(got == bytes);
    daemon.load(&mut &bytes[..], None).unwrap();
    daemon.load(&mut &bytes[..], Some(bytes.len() as u64)).unwrap();
    {
        let seen = requests.lock().unwrap();
        assert!(seen[1].bytes == bytes && seen[2].bytes == bytes);
        assert_eq!(seen[1].header("host"), Some("localhost"));
        assert!(seen.iter().all(|request| request.header("authorization").is_none()));
    }
    let path = socket.display();
    let error = daemon.save("none").unwrap_err().to_string();
    assert_eq!(error, format!("image \"none\": not known to {path}: reference does not exist"));
    let error = daemon.save("cut").unwrap().read_to_end(&mut got).unwrap_err();
    assert!(error.get_ref().is_some_and(|inner| inner.downcast_ref::<Error>().is_some()), "{error:?}");
    let away = directory.path().join("none");
    let error = Daemon::new(&away, hasty()).unwrap().save("a").unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {}", away.display()));
    assert!(matches!(Daemon::new(Path::new("relative"), hasty()), Err(Error::Host { .. })));
}

#[test]
fn a_daemon_can_report_before_it_has_everything() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let length = 5_000_000;
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let report = b"{\"error\":\"no space\"}";
        write!(stream, "{:x}\r\n", report.len()).unwrap();
        stream.write_all(&[report, &b"\r\n0\r\n\r\n"[..]].concat()).unwrap();
        body
    });
    let bytes = content(length);
    let daemon = Daemon::new(&socket, hasty()).unwrap();
    let error = daemon.load(&mut &bytes[..], Some(length as u64)).unwrap_err();
    assert_eq!(error.to_string(), format!("{} does not load the archive: no space", socket.display()));
    assert!(server.join().unwrap() == bytes);
}

/// Docker's daemon with data of its own, without a bridge or a packet filter.
struct Docker {
    child: Child,
    directory: TempDir,
}

impl Docker {
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn start() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("daemon.json"), "{}").unwrap();
        let mut command = Command::new("dockerd");
        for (flag, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(flag).arg(path(name));
        }
        command.arg("--host").arg(format!("unix://{}", path("sock").display()));
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        command.args(["--ip-masq=false", "--storage-driver", "vfs", "--group", "root"]);
        let log = std::fs::File::create(path("log")).unwrap();
        let child = match command.stdout(Stdio::null()).stderr(log).spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: dockerd cannot be run: {error}");
                return None;
            }
        };
        let mut docker = Self { child, directory };
        for _ in 0..1200 {
            if docker.run(&["version"], b"").is_some() {
                return Some(docker);
            }
            if docker.child.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(docker.directory.path().join("log")).unwrap_or_default();
        println!("skipped: dockerd does not start here: {}", log.lines().last().unwrap_or_default());
        None
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("sock")
    }

    /// What its client prints, when it succeeds.
    fn run(&self, arguments: &[&str], input: &[u8]) -> Option<String> {
        let mut child = Command::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .env("DOCKER_CONFIG", self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..1000 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn dockers_daemon_gives_and_takes_images() {
    let Some(docker) = Docker::start() else { return };
    let daemon = Daemon::new(&docker.socket(), hasty()).unwrap();
    // An archive without files.
    docker.run(&["import", "-", "loment-test/image:1"], &[0; 1024]).unwrap();
    let mut archive = Vec::new();
    daemon.save("loment-test/image:1").unwrap().read_to_end(&mut archive).unwrap();
    let list = || docker.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"], b"").unwrap();
    assert_eq!(list(), "loment-test/image:1\n");
    docker.run(&["rmi", "loment-test/image:1"], b"").unwrap();
    assert_eq!(list(), "");
    daemon.load(&mut &archive[..], None).unwrap();
    assert_eq!(list(), "loment-test/image:1\n");
    let error = daemon.save("loment-test/none").unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    let error = daemon.load(&mut &b"nonsense"[..], None).unwrap_err();
    assert!(matches!(error, Error::Load { .. } | Error::Status { .. }), "{error:?}");
}
