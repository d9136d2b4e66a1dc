//! Debian's docker-registry on 127.0.0.1.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A running registry; dropping it ends it, and so does the end of the thread that started it.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    storage: PathBuf,
    dir: TempDir,
}

impl Registry {
    /// An empty registry.
    pub fn empty() -> Self {
        let dir = crate::world::temporary();
        let storage = dir.path().join("storage");
        fs::create_dir(&storage).expect("make a storage directory");
        Self::start(dir, storage, false)
    }

    /// An empty registry that also takes Docker's first manifest format.
    pub fn with_schema1() -> Self {
        let dir = crate::world::temporary();
        let storage = dir.path().join("storage");
        fs::create_dir(&storage).expect("make a storage directory");
        Self::start_with(dir, storage, false, "compatibility: {schema1: {enabled: true}}\n")
    }

    /// An empty registry that also takes manifests with layers that are elsewhere.
    pub fn with_addresses() -> Self {
        let dir = crate::world::temporary();
        let storage = dir.path().join("storage");
        fs::create_dir(&storage).expect("make a storage directory");
        Self::start_with(dir, storage, false, "validation: {manifests: {urls: {allow: ['.*']}}}\n")
    }

    /// Serves what `storage` holds, without changes, to who logs in as `user` with the password `secret`.
    pub fn with_password(storage: &Path) -> Self {
        let dir = crate::world::temporary();
        let file = dir.path().join("htpasswd");
        // Made by `htpasswd -nbB -C 4 user secret`.
        let line = "user:$2y$04$KfHbAOPGrnUuInKsjsRSJ.XTANSnZqOeUo5llAP6MONWnGflm8Vsq\n";
        fs::write(&file, line).expect("write a password file");
        let settings = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        Self::start_with(dir, storage.to_owned(), true, &settings)
    }

    /// Serves what `storage` holds, without changes, over TLS with a certificate that vouches for itself.
    pub fn with_tls(storage: &Path) -> Self {
        let dir = crate::world::temporary();
        certificate(dir.path());
        let settings =
            format!("  tls: {{certificate: {0}/tls.crt, key: {0}/tls.key}}\n", dir.path().display());
        Self::start_with(dir, storage.to_owned(), true, &settings)
    }

    /// The certificate of [`Self::with_tls`].
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("tls.crt")
    }

    /// Serves what `storage` holds and changes nothing in it, so that many may share it.
    pub fn serve(storage: &Path) -> Self {
        Self::start(crate::world::temporary(), storage.to_owned(), true)
    }

    /// Serves a copy of `storage` that the test may damage.
    pub fn serve_copy(storage: &Path) -> Self {
        let dir = crate::world::temporary();
        let copy = dir.path().join("storage");
        let done = Command::new("cp").arg("-a").arg(storage).arg(&copy).status();
        assert!(done.is_ok_and(|s| s.success()), "copy {}", storage.display());
        Self::start(dir, copy, false)
    }

    /// Fills `storage` anew.
    pub(crate) fn fill(storage: &Path) -> Self {
        fs::create_dir_all(storage).expect("make a storage directory");
        Self::start(crate::world::temporary(), storage.to_owned(), false)
    }

    fn start(dir: TempDir, storage: PathBuf, read_only: bool) -> Self {
        Self::start_with(dir, storage, read_only, "")
    }

    fn start_with(dir: TempDir, storage: PathBuf, read_only: bool, settings: &str) -> Self {
        // Between the choice of a free port and its use somebody else may take it.
        for _ in 0..10 {
            let port = free_port();
            let process = spawn(&dir, &storage, read_only, port, settings);
            let mut registry =
                Self { process, port, storage: storage.clone(), dir: crate::world::temporary() };
            if registry.answers() {
                registry.dir = dir;
                return registry;
            }
        }
        panic!("docker-registry does not start: is the Debian package docker-registry installed?");
    }

    fn answers(&mut self) -> bool {
        for _ in 0..500 {
            if self.process.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                let mut answer = [0; 15];
                let asked = stream
                    .write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")
                    .and_then(|()| stream.read_exact(&mut answer));
                // Who has no password hears 401, and who does not speak TLS hears 400.
                let known = [&b" 200"[..], b" 401", b" 400"];
                if asked.is_ok() && known.iter().any(|status| answer[8..].starts_with(status)) {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Where it keeps what it has.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The file that holds the blob or manifest with this digest (`sha256:…`).
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.storage.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The manifest that `name:tag` has.
    pub fn manifest(&self, name: &str, tag: &str) -> serde_json::Value {
        let link = self.storage.join("docker/registry/v2/repositories").join(name);
        let link = link.join("_manifests/tags").join(tag).join("current/link");
        let digest = fs::read_to_string(&link).unwrap_or_else(|e| panic!("read {}: {e}", link.display()));
        let bytes = fs::read(self.blob_file(digest.trim())).expect("read a manifest");
        serde_json::from_slice(&bytes).expect("a manifest is JSON")
    }

    /// How often it was asked to `GET` a path that ends like this.
    pub fn gets(&self, end: &str) -> usize {
        let log = fs::read_to_string(self.dir.path().join("registry.log")).expect("read the registry's log");
        log.lines().filter(|line| line.contains("\"GET ") && line.contains(&format!("{end} HTTP/"))).count()
    }

    /// The digest of what `name:tag` points to.
    pub fn digest_of(&self, name: &str, tag: &str) -> String {
        let link = self.storage.join("docker/registry/v2/repositories").join(name);
        let link = link.join("_manifests/tags").join(tag).join("current/link");
        fs::read_to_string(link).expect("read a link").trim().to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Makes `tls.crt` and `tls.key`, for 127.0.0.1.
pub(crate) fn certificate(dir: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '));
    openssl
        .args("-keyout tls.key -out tls.crt -subj /CN=test -addext subjectAltName=IP:127.0.0.1".split(' '));
    let made = openssl.current_dir(dir).stderr(Stdio::null()).status();
    assert!(made.is_ok_and(|s| s.success()), "make a certificate: is openssl installed?");
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("127.0.0.1 has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn spawn(dir: &TempDir, storage: &Path, read_only: bool, port: u16, settings: &str) -> Child {
    let config = dir.path().join("registry.yml");
    // Only the read-only form may share its storage, and only a private one needs deletion.
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: \
         {}\n  maintenance:\n    uploadpurging:\n      enabled: false\n    readonly:\n      enabled: {read_only}\n\
         http:\n  addr: 127.0.0.1:{port}\n{settings}",
        storage.display(),
        !read_only,
    );
    fs::write(&config, text).expect("write the registry's configuration");
    let log = fs::File::create(dir.path().join("registry.log")).expect("make a log file");
    // setpriv: the registry must not outlive a test that is killed.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor can be copied"))
        .stderr(log)
        .spawn()
        .expect("start docker-registry")
}
