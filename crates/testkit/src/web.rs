//! Files on web servers: BusyBox's, and over TLS that of openssl.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::registry::{certificate, free_port};

/// A running web server; dropping it ends it, and so does the end of the thread that started it.
#[derive(Debug)]
pub struct WebServer {
    process: Child,
    port: u16,
    /// With its configuration, or its certificate.
    dir: TempDir,
}

impl WebServer {
    /// Serves the files of a directory over plain HTTP; those in `locked` to who logs in as `user` with the password `secret`.
    pub fn serve(files: &Path) -> Self {
        Self::start(|dir, port| {
            let config = dir.join("httpd.conf");
            std::fs::write(&config, "/locked:user:secret\n").expect("write a configuration");
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "busybox", "httpd", "-f", "-p"]);
            command.arg(format!("127.0.0.1:{port}")).arg("-c").arg(config).arg("-h").arg(files);
            command
        })
    }

    /// Serves the files of a directory over TLS, with a certificate that vouches for itself.
    pub fn with_tls(files: &Path) -> Self {
        Self::start(|dir, port| {
            certificate(dir);
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "openssl", "s_server", "-WWW", "-quiet", "-accept"]);
            command.arg(format!("127.0.0.1:{port}")).current_dir(files);
            command.arg("-cert").arg(dir.join("tls.crt")).arg("-key").arg(dir.join("tls.key"));
            command
        })
    }

    fn start(command: impl Fn(&Path, u16) -> Command) -> Self {
        // Between the choice of a free port and its use somebody else may take it.
        for _ in 0..10 {
            let (dir, port) = (crate::world::temporary(), free_port());
            let mut command = command(dir.path(), port);
            let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut server = Self { process: process.expect("start a web server"), port, dir };
            if server.answers() {
                return server;
            }
        }
        panic!("no web server starts: are busybox-static and openssl installed?");
    }

    fn answers(&mut self) -> bool {
        for _ in 0..500 {
            if self.process.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of [`Self::with_tls`].
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
