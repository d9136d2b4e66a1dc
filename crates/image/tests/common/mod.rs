//! Shared by the tests: OCI layouts made on the spot and a store to pull them into.

pub(crate) mod server;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use loment_image::{Error, OciLayout, Options, Platform, Progress, Pulled, Silent, pull};
use loment_store::{Durability, ImageId, Store, sha256};
use oci_spec::image::{Descriptor, Digest};
use tempfile::TempDir;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "unpacking makes owners and devices: run as root");
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run"), Durability::None).unwrap();
        fs::create_dir_all(dir.path().join("oci/blobs/sha256")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn oci(&self) -> PathBuf {
        self.dir.path().join("oci")
    }

    /// Adds a blob and returns its descriptor as JSON.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        fs::write(self.oci().join("blobs/sha256").join(digest.digest()), bytes).unwrap();
        format!(r#"{{"mediaType":"{media_type}","size":{},"digest":"{digest}"}}"#, bytes.len())
    }

    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.oci().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Makes `entries` the layout's index.
    pub(crate) fn index(&self, entries: &[String]) {
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        fs::write(self.oci().join("index.json"), index).unwrap();
    }

    pub(crate) fn pull(&self, reference: &str) -> Result<Pulled, Error> {
        self.pull_as(reference, &Options::default(), &mut Silent)
    }

    pub(crate) fn pull_as(
        &self,
        reference: &str,
        options: &Options,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        let layout = OciLayout::open(&self.oci(), None, reference)?;
        pull(&layout, &self.store, Some("localhost/test:latest"), options, progress)
    }

    /// The pull fails with this message and leaves nothing at all.
    pub(crate) fn refused(&self, expected: &str) {
        let error = self.pull("").expect_err("the image was accepted");
        let message = chain(&error);
        assert!(message.contains(expected), "{message:?} does not contain {expected:?}");
        assert!(self.store.images().unwrap().is_empty());
        self.store.gc().unwrap();
        Store::empty_tombs(self.store.root()).unwrap();
        for dir in ["layers", "by-blob", "images", "refs", "leases", "staging", "tombs"] {
            let left: Vec<_> = fs::read_dir(self.store.root().join(dir)).unwrap().collect();
            assert!(left.is_empty(), "{dir}: {left:?}");
        }
    }

    pub(crate) fn read(&self, image: &ImageId, path: &str) -> String {
        let record = self.store.image(image).unwrap().unwrap();
        let dirs = self.store.layer_dirs(&record).unwrap();
        let found = dirs.iter().map(|dir| dir.join(path)).find(|path| path.exists());
        fs::read_to_string(found.unwrap_or_else(|| panic!("{path} is in no layer"))).unwrap()
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

pub(crate) fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn config(platform: &str, diff_ids: &[Digest]) -> Vec<u8> {
    let (os, architecture) = platform.split_once('/').unwrap();
    let ids: Vec<_> = diff_ids.iter().map(|id| format!("\"{id}\"")).collect();
    let (created, ids) = ("2024-01-02T03:04:05Z", ids.join(","));
    format!(
        r#"{{"os":"{os}","architecture":"{architecture}","created":"{created}","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#
    )
    .into_bytes()
}

pub(crate) fn host() -> String {
    Platform::host().to_string()
}

/// One image of the given blobs; the manifest's descriptor.
pub(crate) fn image(
    fixture: &Fixture,
    layers: &[(&str, &[u8], &[u8])],
    docker: bool,
    platform: &str,
) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|(_, _, tar)| sha256(tar)).collect();
    let (manifest_type, config_type) =
        if docker { (DOCKER_MANIFEST, DOCKER_CONFIG) } else { (OCI_MANIFEST, OCI_CONFIG) };
    let config = fixture.blob(config_type, &config(platform, &diff_ids));
    let layers: Vec<_> = layers.iter().map(|(media_type, blob, _)| fixture.blob(media_type, blob)).collect();
    let layers = layers.join(",");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{manifest_type}","config":{config},"layers":[{layers}]}}"#
    );
    fixture.blob(manifest_type, manifest.as_bytes())
}

pub(crate) fn digest_of(descriptor: &str) -> String {
    let descriptor: Descriptor = serde_json::from_str(descriptor).unwrap();
    descriptor.digest().to_string()
}

pub(crate) fn skopeo(arguments: &[&str]) -> String {
    let output = std::process::Command::new("skopeo").arg("--insecure-policy").args(arguments).output();
    let output = output.expect("skopeo is installed for the tests");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
