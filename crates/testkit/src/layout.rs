//! OCI image layouts on disk: what `skopeo` pushes, and what loment reads as `oci:DIR`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::image::{Compression, Image};
use crate::{Patience, digest, run};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The form in which skopeo pushes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As the layout has it.
    AsIs,
    /// OCI manifests, layers compressed anew with gzip.
    OciGzip,
    /// OCI manifests, layers compressed anew with Zstandard.
    OciZstd,
    /// Docker's schema 2.
    DockerSchema2,
}

/// A layout directory.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// A new layout in the directory `dir`, which is made.
    pub fn create(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).expect("make a layout");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write oci-layout");
        Self { dir: dir.to_owned(), manifests: Vec::new() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds one image under a tag.
    pub fn add(&mut self, tag: &str, image: &Image, compression: Compression) {
        let descriptor = self.manifest(image, compression);
        self.publish(tag, descriptor);
    }

    /// Adds an index of several images under a tag; `attested` adds, for each, the entry of platform
    /// `unknown/unknown` that builders put there for their attestations.
    pub fn add_index(&mut self, tag: &str, images: &[Image], compression: Compression, attested: bool) {
        let mut entries = Vec::new();
        for image in images {
            let mut descriptor = self.manifest(image, compression);
            descriptor["platform"] = json!({ "os": image.os, "architecture": image.architecture });
            if attested {
                entries.push(self.attestation(&descriptor));
            }
            entries.push(descriptor);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        let descriptor = self.json_blob(&index, INDEX);
        self.publish(tag, descriptor);
    }

    fn attestation(&self, of: &Value) -> Value {
        let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicate":{}}"#;
        let layer = self.blob(statement, "application/vnd.in-toto+json");
        let config = json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [digest(statement)] },
        });
        let config = self.json_blob(&config, "application/vnd.oci.image.config.v1+json");
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut descriptor = self.json_blob(&manifest, MANIFEST);
        descriptor["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        descriptor["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": of["digest"],
        });
        descriptor
    }

    fn manifest(&self, image: &Image, compression: Compression) -> Value {
        let config = self.blob(&image.document(), "application/vnd.oci.image.config.v1+json");
        let layers: Vec<_> = image
            .layers
            .iter()
            .map(|l| self.blob(&compression.apply(&l.0), compression.media_type()))
            .collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        self.json_blob(&manifest, MANIFEST)
    }

    fn json_blob(&self, value: &Value, media_type: &str) -> Value {
        self.blob(&serde_json::to_vec(value).expect("JSON values can be written"), media_type)
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest(bytes);
        let hex = digest.trim_start_matches("sha256:");
        fs::write(self.dir.join("blobs/sha256").join(hex), bytes).expect("write a blob");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn publish(&mut self, tag: &str, mut descriptor: Value) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.manifests.push(descriptor);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests });
        let text = serde_json::to_vec(&index).expect("JSON values can be written");
        fs::write(self.dir.join("index.json"), text).expect("write index.json");
    }

    /// Lets skopeo push what has `tag` here to `destination` (`127.0.0.1:PORT/NAME:TAG`), with all its platforms.
    pub fn push(&self, tag: &str, destination: &str, variant: Variant) {
        let source = format!("oci:{}:{tag}", self.dir.display());
        let destination = format!("docker://{destination}");
        let mut arguments = vec!["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"];
        arguments.extend(match variant {
            Variant::AsIs => &["--preserve-digests"] as &[&str],
            Variant::OciGzip => &["--format", "oci", "--dest-compress-format", "gzip"],
            Variant::OciZstd => &["--format", "oci", "--dest-compress-format", "zstd"],
            Variant::DockerSchema2 => &["--format", "v2s2"],
        });
        arguments.extend([source.as_str(), &destination]);
        let mut command = std::process::Command::new("skopeo");
        run(command.args(arguments), Patience::LONG).succeeds();
    }
}
