//! The two formats of an image's manifest, and the same image in the other one.
//!
//! They differ in media types only (image-spec, media-types.md, "Compatibility Matrix"), so the configuration keeps its bytes, and the
//! image its id. A manifest that has to say nothing else keeps its bytes, too.

use std::collections::HashMap;
use std::str::FromStr;

use oci_spec::image::{Descriptor, Digest, MediaType};
use serde_json::{Map, Value, json};

use crate::compress::Compression;
use crate::error::Error;

/// Of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OCI image-spec 1.
    Oci,
    /// Docker's schema 2.
    Docker,
}

/// The name of no format we write.
#[derive(Debug, thiserror::Error)]
#[error("unknown format {0:?}: use oci or v2s2")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "oci" => Ok(Self::Oci),
            "v2s2" | "docker" => Ok(Self::Docker),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

impl Format {
    /// The format of a manifest of that media type.
    pub(crate) fn of(media_type: &str) -> Self {
        if media_type.starts_with("application/vnd.docker.") { Self::Docker } else { Self::Oci }
    }

    pub(crate) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    pub(crate) fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    pub(crate) fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// Of a layer; `None` for what the format has no word for.
    pub(crate) fn layer(self, compression: Compression) -> Option<&'static str> {
        Some(match (self, compression) {
            (Self::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Docker, Compression::Zstd) => return None,
        })
    }
}

impl Format {
    /// Of a layer that registries may not pass on (image-spec, layer.md, "Non-Distributable Layers"); `None` for what the format
    /// has no word for.
    fn foreign(self, compression: Compression) -> Option<&'static str> {
        Some(match (self, compression) {
            (Self::Oci, Compression::None) => "application/vnd.oci.image.layer.nondistributable.v1.tar",
            (Self::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.foreign.diff.tar",
            (Self::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            (Self::Docker, Compression::Zstd) => return None,
        })
    }
}

fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// What a media type of a layer says about its compression.
pub(crate) fn compression_of(media_type: &str) -> Compression {
    if media_type.ends_with("gzip") {
        Compression::Gzip
    } else if media_type.ends_with("zstd") {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// A layer of the image as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
}

impl Sent {
    /// The same as a destination is asked for it.
    pub(crate) fn descriptor(&self) -> Descriptor {
        let media_type = Format::Oci.layer(self.compression).unwrap_or_default();
        Descriptor::new(MediaType::from(media_type), self.size, self.digest.clone())
    }
}

/// The manifest `bytes` in a format, with layers as they were sent. `None` when it can stay as it is.
///
/// # Errors
/// [`Error::NoWord`] for a layer that the format has no media type for.
pub(crate) fn rewrite(
    bytes: &[u8],
    digest: &Digest,
    from: Format,
    to: Format,
    layers: &[(&Descriptor, Sent)],
) -> Result<Option<Vec<u8>>, Error> {
    let same = |(known, sent): &(&Descriptor, Sent)| *known.digest() == sent.digest;
    if from == to && layers.iter().all(same) {
        return Ok(None);
    }
    let malformed = |source| Error::Malformed { what: format!("manifest {digest}"), source };
    let mut manifest: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    // Absent in some OCI manifests, and of no use to anybody there.
    if to == Format::Docker || manifest.contains_key("mediaType") {
        manifest.insert("mediaType".to_owned(), json!(to.manifest()));
    }
    if let Some(config) = manifest.get_mut("config").and_then(Value::as_object_mut) {
        config.insert("mediaType".to_owned(), json!(to.config()));
    }
    let list = manifest.get_mut("layers").and_then(Value::as_array_mut);
    for (entry, (known, sent)) in list.into_iter().flatten().zip(layers) {
        let foreign = *known.digest() == sent.digest && is_foreign(known.media_type().as_ref());
        let media_type = if foreign { to.foreign(sent.compression) } else { to.layer(sent.compression) };
        let media_type = media_type.ok_or_else(|| Error::NoWord { digest: sent.digest.clone() })?;
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("mediaType".to_owned(), json!(media_type));
            entry.insert("size".to_owned(), json!(sent.size));
            // Addresses at which the other bytes are.
            if entry.insert("digest".to_owned(), json!(sent.digest)) != Some(json!(sent.digest)) {
                entry.remove("urls");
            }
        }
    }
    let text = serde_json::to_vec(&manifest).expect("invariant: a document of strings and numbers");
    Ok(Some(text))
}

/// The index `bytes` in a format, listing what its members have become. `None` when it can stay as it is.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn rewrite_index(
    bytes: &[u8],
    digest: &Digest,
    from: Format,
    to: Format,
    changed: &HashMap<Digest, Descriptor>,
) -> Result<Option<Vec<u8>>, Error> {
    let malformed = |source| Error::Malformed { what: format!("manifest {digest}"), source };
    let mut index: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    let mut differs = from != to;
    for entry in index.get_mut("manifests").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(entry) = entry.as_object_mut() else { continue };
        let known = entry.get("digest").and_then(Value::as_str).and_then(|text| Digest::try_from(text).ok());
        let Some(now) = known.as_ref().and_then(|known| changed.get(known)) else { continue };
        if known.as_ref() != Some(now.digest()) {
            differs = true;
            entry.insert("mediaType".to_owned(), json!(now.media_type()));
            entry.insert("size".to_owned(), json!(now.size()));
            entry.insert("digest".to_owned(), json!(now.digest()));
        }
    }
    if !differs {
        return Ok(None);
    }
    if to == Format::Docker || index.contains_key("mediaType") {
        index.insert("mediaType".to_owned(), json!(to.index()));
    }
    Ok(Some(Value::Object(index).to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loment_store::sha256;
    use oci_spec::image::MediaType;

    #[test]
    fn the_other_format_says_the_same_in_its_own_words() {
        let (layer, config) = (sha256(b"layer"), sha256(b"config"));
        let bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","size":7,"digest":"{config}"}},"layers":[{{"mediaType":"{}","size":5,"digest":"{layer}","annotations":{{"a":"b"}}}}],"annotations":{{"c":"d"}}}}"#,
            Format::Oci.manifest(),
            Format::Oci.config(),
            Format::Oci.layer(Compression::Gzip).unwrap(),
        );
        let descriptor = Descriptor::new(MediaType::ImageLayerGzip, 5, layer.clone());
        let sent = |compression, digest: &Digest| Sent { digest: digest.clone(), size: 5, compression };
        let to = |format, sent| {
            let layers = [(&descriptor, sent)];
            rewrite(bytes.as_bytes(), &sha256(bytes.as_bytes()), Format::Oci, format, &layers)
        };
        assert_eq!(to(Format::Oci, sent(Compression::Gzip, &layer)).unwrap(), None);
        let docker = to(Format::Docker, sent(Compression::Gzip, &layer)).unwrap().unwrap();
        let docker: Value = serde_json::from_slice(&docker).unwrap();
        assert_eq!(docker["mediaType"], Format::Docker.manifest());
        assert_eq!(docker["config"]["mediaType"], Format::Docker.config());
        assert_eq!(docker["config"]["digest"], config.to_string());
        assert_eq!(docker["layers"][0]["annotations"]["a"], "b");
        assert_eq!(docker["annotations"]["c"], "d");
        let other = to(Format::Oci, sent(Compression::Zstd, &config)).unwrap().unwrap();
        let other: Value = serde_json::from_slice(&other).unwrap();
        assert_eq!(other["layers"][0]["digest"], config.to_string());
        assert_eq!(other["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        assert!(matches!(to(Format::Docker, sent(Compression::Zstd, &layer)), Err(Error::NoWord { .. })));
        // One that is elsewhere stays that, unless it is made anew.
        let foreign = MediaType::ImageLayerNonDistributableGzip;
        let descriptor = Descriptor::new(foreign, 5, layer.clone());
        for (digest, media_type) in [
            (&layer, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            (&config, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ] {
            let layers = [(&descriptor, sent(Compression::Gzip, digest))];
            let docker = rewrite(bytes.as_bytes(), &layer, Format::Oci, Format::Docker, &layers).unwrap();
            let docker: Value = serde_json::from_slice(&docker.unwrap()).unwrap();
            assert_eq!(docker["layers"][0]["mediaType"], media_type);
        }
    }
}
