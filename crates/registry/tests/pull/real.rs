//! Debian's docker-registry: plain, with passwords, with TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::common::{content, hasty, make_certificates, sha256};
use loment_registry::{Credentials, Error, Options, Registry};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A running registry; its storage is the directory's.
pub(crate) struct Distribution {
    child: Child,
    port: u16,
}

impl Distribution {
    /// `None`, and a word about it, when it is not installed.
    pub(crate) fn start(directory: &Path, settings: &str) -> Option<Self> {
        Self::start_with(directory, "", settings)
    }

    /// With settings for its storage.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    pub(crate) fn start_with(directory: &Path, storing: &str, settings: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = directory.join(format!("config-{port}.yml"));
        let storage = directory.join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}{storing}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n{settings}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: docker-registry cannot be run: {error}");
                return None;
            }
        };
        let registry = Self { child, port };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(registry);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not listen");
    }

    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// One plain request; status and headers.
    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let (status, answer) = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(status, 202, "{answer}");
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        let path = &location[location.find("/v2/").unwrap()..];
        let target = format!("{path}&digest={}", sha256(bytes));
        let (status, answer) = self.send("PUT", &target, "application/octet-stream", bytes);
        assert_eq!(status, 201, "{answer}");
    }

    pub(crate) fn push_manifest(&self, repository: &str, tag: &str, bytes: &[u8]) {
        let (status, answer) =
            self.send("PUT", &format!("/v2/{repository}/manifests/{tag}"), MANIFEST, bytes);
        assert_eq!(status, 201, "{answer}");
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `team/app:1` in the directory's storage; the manifest and the layer.
fn fill(directory: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let registry = Distribution::start(directory, "")?;
    let (config, layer) = (b"{}".to_vec(), content(20_000_000));
    let describe = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe("application/vnd.oci.image.config.v1+json", &config),
        "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    registry.push_blob("team/app", &config);
    registry.push_blob("team/app", &layer);
    registry.push_manifest("team/app", "1", &manifest);
    Some((manifest, layer))
}

fn pull(host: &str, options: Options, manifest: &[u8], layer: &[u8]) {
    let registry = Registry::new(host, options).unwrap();
    for reference in ["1", sha256(manifest).as_ref()] {
        let got = registry.manifest("team/app", reference).unwrap();
        assert_eq!((got.media_type.as_str(), got.digest), (MANIFEST, Some(sha256(manifest))));
        assert_eq!(got.bytes, manifest);
    }
    thread::scope(|scope| {
        for offset in [0, 0, 1, 10_000_000, layer.len()] {
            let registry = &registry;
            scope.spawn(move || {
                let mut blob = registry.blob("team/app", &sha256(layer), offset as u64).unwrap();
                assert_eq!(blob.len, Some((layer.len() - offset) as u64));
                let mut got = Vec::new();
                blob.read_to_end(&mut got).unwrap();
                assert!(got == layer[offset..]);
            });
        }
    });
}

#[test]
fn an_open_registry_is_pulled_from() {
    let directory = TempDir::new().unwrap();
    let Some((manifest, layer)) = fill(directory.path()) else { return };
    let server = Distribution::start(directory.path(), "").unwrap();
    pull(&server.host(), hasty(), &manifest, &layer);
    let registry = Registry::new(&server.host(), hasty()).unwrap();
    for (repository, reference) in
        [("team/app", "2"), ("team/other", "1"), ("team/app", sha256(b"no").as_ref())]
    {
        let error = registry.manifest(repository, reference).unwrap_err();
        assert!(matches!(error, Error::NotFound { blob: false, .. }), "{error:?}");
    }
    let error = registry.blob("team/app", &sha256(b"no"), 0).unwrap_err();
    assert!(matches!(error, Error::NotFound { blob: true, .. }), "{error:?}");
}

#[test]
fn a_registry_with_passwords_is_logged_in_to() {
    let directory = TempDir::new().unwrap();
    let Some((manifest, layer)) = fill(directory.path()) else { return };
    // Made by `htpasswd -nbB -C 4 user secret`.
    let line = "user:$2y$04$KfHbAOPGrnUuInKsjsRSJ.XTANSnZqOeUo5llAP6MONWnGflm8Vsq\n";
    let file = directory.path().join("htpasswd");
    std::fs::write(&file, line).unwrap();
    let settings = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}", file.display());
    let server = Distribution::start(directory.path(), &settings).unwrap();
    let login = |password: &str| {
        let credentials = Credentials { username: "user".into(), password: password.into() };
        Options { credentials: Some(credentials), ..hasty() }
    };
    pull(&server.host(), login("secret"), &manifest, &layer);
    for (options, given) in [(login("wrong"), true), (hasty(), false)] {
        let error = Registry::new(&server.host(), options).unwrap().manifest("team/app", "1").unwrap_err();
        assert!(matches!(error, Error::Unauthorized { refused, .. } if refused == given), "{error:?}");
    }
}

#[test]
fn a_registry_with_tls_is_trusted_through_its_ca() {
    let directory = TempDir::new().unwrap();
    let Some((manifest, layer)) = fill(directory.path()) else { return };
    make_certificates(directory.path());
    let settings = format!(
        "  tls: {{certificate: {0}/server.crt, key: {0}/server.key, clientcas: [{0}/ca.crt]}}",
        directory.path().display()
    );
    let server = Distribution::start(directory.path(), &settings).unwrap();
    let own = directory.path().join("certs.d").join(server.host());
    std::fs::create_dir_all(&own).unwrap();
    for (from, to) in [("ca.crt", "ca.crt"), ("client.crt", "client.cert"), ("client.key", "client.key")] {
        std::fs::copy(directory.path().join(from), own.join(to)).unwrap();
    }
    let options = Options { certs_dir: vec![directory.path().join("certs.d")], ..hasty() };
    pull(&server.host(), options, &manifest, &layer);
    let error = Registry::new(&server.host(), hasty()).unwrap().manifest("team/app", "1").unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::NoRoots { .. }), "{error:?}");
}
