//! Images: a configuration and layers.

use std::io::Write;

use serde_json::{Value, json};

use crate::digest;
use crate::layer::RawLayer;

/// How the layers of a layout are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// gzip.
    Gzip,
    /// Zstandard, in two frames: the second needs a larger window than any of zstd's own levels takes.
    Zstd,
}

impl Compression {
    /// The media type of a layer in the OCI form.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// `bytes` compressed; quickly rather than well.
    pub fn apply(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(bytes).and_then(|()| out.finish()).expect("memory takes everything")
            }
            Self::Zstd => {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                let mut out = zstd::encode_all(first, 1).expect("memory takes everything");
                let mut frame = zstd::Encoder::new(&mut out, 1).expect("1 is a level");
                frame.window_log(25).expect("32 MiB is a window");
                frame.write_all(second).and_then(|()| frame.finish()).expect("memory takes everything");
                out
            }
        }
    }
}

/// What an image's configuration says about its containers, as in the OCI image specification.
#[derive(Clone, Debug)]
pub struct Config(Value);

impl Config {
    /// A shell on the usual path.
    pub fn shell() -> Self {
        Self(
            json!({ "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"] }),
        )
    }

    /// Sets one key, for example `Entrypoint`.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// The `config` object.
    pub config: Config,
    /// From the lowest to the highest.
    pub layers: Vec<RawLayer>,
    /// `linux`, or whatever a test wants it to say.
    pub os: String,
    /// In Go's spelling.
    pub architecture: String,
}

impl Image {
    /// An image for this machine.
    pub fn new(config: Config, layers: impl IntoIterator<Item = RawLayer>) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            config,
            layers: layers.into_iter().collect(),
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
        }
    }

    /// The same for another platform.
    pub fn on(self, os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), ..self }
    }

    /// The configuration document.
    pub fn document(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|l| digest(&l.0)).collect();
        let history: Vec<_> = (0..self.layers.len())
            .map(|i| json!({ "created": "2024-01-02T03:04:05Z", "created_by": format!("layer {i}") }))
            .collect();
        let document = json!({
            "created": "2024-01-02T03:04:05Z",
            "architecture": self.architecture,
            "os": self.os,
            "config": self.config.0,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        serde_json::to_vec(&document).expect("JSON values can be written")
    }
}
