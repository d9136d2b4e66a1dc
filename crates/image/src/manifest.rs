//! Manifests and indexes: what was delivered, what it is, and which image of an index fits.

use loment_store::{Algorithm, digest_of};
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use crate::error::Error;
use crate::platform::Platform;

/// Largest manifest, index or configuration anybody accepts (containers/image, `MaxManifestBodySize`).
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYERS: [&str; 5] = [
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// A manifest or index.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Box<ImageIndex>),
    Image(Box<ImageManifest>),
}

/// Just enough of any document to tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a document delivered as `content_type`, whose digest has been verified.
///
/// The document decides what it is; a header or shape that says otherwise is an error, since another engine
/// could read the same digest as something else (CVE-2021-41190).
///
/// The second of what is returned is its media type.
pub(crate) fn parse(bytes: &[u8], content_type: &str, digest: &Digest) -> Result<(Document, String), Error> {
    let what = || format!("manifest {digest}");
    let malformed = |source| Error::Malformed { what: what(), source };
    let ambiguous = |problem: String| Error::Ambiguous { what: what(), problem };
    let shape: Shape = serde_json::from_slice(bytes).map_err(malformed)?;
    let header = content_type.split(';').next().unwrap_or_default().trim();
    let header = Some(header).filter(|header| is_manifest(header) || DOCKER_SCHEMA1.contains(header));
    let written = shape.media_type.as_deref();
    let media_type = match (written, header) {
        (Some(written), Some(header)) if written != header => {
            return Err(ambiguous(format!("it says {written:?}, but was delivered as {header:?}")));
        }
        (written, header) => written.or(header),
    };
    let schema1 = media_type.is_some_and(|media_type| DOCKER_SCHEMA1.contains(&media_type));
    if schema1 || shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(Error::Schema1 { digest: digest.clone() });
    }
    let (index, image) = (shape.manifests.is_some(), shape.layers.is_some() || shape.config.is_some());
    if index && image {
        return Err(ambiguous("it has both manifests and layers".to_owned()));
    }
    let media_type = media_type.unwrap_or(if index { OCI_INDEX } else { OCI_MANIFEST });
    if !is_manifest(media_type) {
        return Err(Error::MediaType { what: what(), media_type: media_type.to_owned() });
    }
    let document = match is_index(media_type) {
        true if image => None,
        true => Some(serde_json::from_slice(bytes).map(Box::new).map(Document::Index).map_err(malformed)?),
        false if index => None,
        false => Some(serde_json::from_slice(bytes).map(Box::new).map(Document::Image).map_err(malformed)?),
    };
    let unfit = || ambiguous(format!("its content does not fit {media_type:?}"));
    Ok((document.ok_or_else(unfit)?, media_type.to_owned()))
}

fn is_index(media_type: &str) -> bool {
    media_type == DOCKER_LIST || MediaType::from(media_type) == MediaType::ImageIndex
}

fn is_manifest(media_type: &str) -> bool {
    is_index(media_type)
        || media_type == DOCKER_MANIFEST
        || MediaType::from(media_type) == MediaType::ImageManifest
}

/// Checks `bytes` against the digest they were asked for by or announced with.
pub(crate) fn verify(what: &str, bytes: &[u8], expected: &Digest) -> Result<(), Error> {
    let algorithm = Algorithm::of(expected);
    let algorithm =
        algorithm.ok_or_else(|| Error::Algorithm { what: what.to_owned(), digest: expected.clone() })?;
    let found = Box::new(digest_of(algorithm, bytes));
    if *found == *expected {
        Ok(())
    } else {
        Err(Error::Digest { what: what.to_owned(), expected: expected.clone(), found })
    }
}

/// The image of an index that fits best; the first of equals. Attestations are passed over.
pub(crate) fn choose<'i>(
    index: &'i ImageIndex,
    wanted: &Platform,
    reference: &str,
) -> Result<&'i Descriptor, Error> {
    let candidates =
        index.manifests().iter().filter(|descriptor| is_manifest(descriptor.media_type().as_ref()));
    let platform = |descriptor: &Descriptor| descriptor.platform().as_ref().map(Platform::from);
    let fitting = candidates.clone().filter_map(|descriptor| match platform(descriptor) {
        Some(offered) => Some((wanted.accepts(&offered)?, descriptor)),
        // Without a platform it may be anything; its configuration is checked later.
        None => Some((u32::MAX, descriptor)),
    });
    if let Some((_, descriptor)) = fitting.min_by_key(|(distance, _)| *distance) {
        return Ok(descriptor);
    }
    let available = candidates.filter_map(platform).filter(|platform| !platform.is_unknown()).collect();
    Err(Error::Platform { reference: reference.to_owned(), wanted: Box::new(wanted.clone()), available })
}

/// All manifests of an index, those first that fit best; what is for nothing, such as attestations, last.
pub(crate) fn by_fit<'i>(index: &'i ImageIndex, wanted: &Platform) -> Vec<&'i Descriptor> {
    let known = index.manifests().iter().filter(|descriptor| is_manifest(descriptor.media_type().as_ref()));
    let mut manifests: Vec<_> = known.collect();
    manifests.sort_by_cached_key(|descriptor| match descriptor.platform().as_ref().map(Platform::from) {
        Some(offered) if offered.is_unknown() => (2, 0),
        Some(offered) => wanted.accepts(&offered).map_or((1, 0), |distance| (0, distance)),
        None => (1, 0),
    });
    manifests
}

/// Whether a layer is to be had elsewhere, and registries need not have it: a foreign, or non-distributable, one.
pub(crate) fn is_elsewhere(layer: &Descriptor) -> bool {
    layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

/// Refuses manifests of things that are not container images, and layers in unknown forms, before anything
/// large is fetched.
pub(crate) fn check(manifest: &ImageManifest, digest: &Digest) -> Result<(), Error> {
    let config = manifest.config().media_type();
    if *config != MediaType::ImageConfig && config.as_ref() != DOCKER_CONFIG {
        let what = format!("configuration of manifest {digest}");
        return Err(Error::MediaType { what, media_type: config.to_string() });
    }
    for layer in manifest.layers() {
        let media_type = layer.media_type();
        let known = match media_type {
            MediaType::ImageLayer
            | MediaType::ImageLayerGzip
            | MediaType::ImageLayerZstd
            | MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd => true,
            other => DOCKER_LAYERS.contains(&other.as_ref()),
        };
        if !known {
            let what = format!("layer {}", layer.digest());
            return Err(Error::MediaType { what, media_type: media_type.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use loment_store::sha256;

    fn read(json: &str, content_type: &str) -> Result<Document, String> {
        let parsed = parse(json.as_bytes(), content_type, &sha256(json.as_bytes()));
        parsed.map(|(document, _)| document).map_err(|error| error.to_string())
    }

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","size":1,"digest":"{}"}}"#, sha256(b"x"))
    }

    fn manifest(media_type: &str, config: &str, layer: &str) -> String {
        let (config, layer) = (descriptor(config), descriptor(layer));
        format!(r#"{{"schemaVersion":2,{media_type}"config":{config},"layers":[{layer}]}}"#)
    }

    #[test]
    fn kind_comes_from_the_document_and_must_not_be_contradicted() {
        let plain = manifest("", DOCKER_CONFIG, DOCKER_LAYERS[1]);
        for header in [
            OCI_MANIFEST,
            DOCKER_MANIFEST,
            "application/json",
            "",
            "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
        ] {
            assert!(matches!(read(&plain, header), Ok(Document::Image(_))), "{header}");
        }
        assert!(read(&plain, OCI_INDEX).unwrap_err().contains("does not fit"));
        let typed = manifest(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#, "a", "b");
        assert!(read(&typed, DOCKER_MANIFEST).unwrap_err().contains("was delivered as"));
        assert!(matches!(read(r#"{"schemaVersion":2,"manifests":[]}"#, ""), Ok(Document::Index(_))));
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        assert!(read(both, OCI_INDEX).unwrap_err().contains("both manifests and layers"));
        for (json, header) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, ""),
            (r#"{"schemaVersion":2,"fsLayers":[]}"#, "application/json"),
            (r#"{}"#, DOCKER_SCHEMA1[1]),
        ] {
            assert!(read(json, header).unwrap_err().contains("schema version 1"), "{json}");
        }
        assert!(read("{", OCI_INDEX).unwrap_err().contains("is malformed"));
        assert!(
            read(r#"{"mediaType":"text/html"}"#, "")
                .unwrap_err()
                .contains("unsupported media type \"text/html\"")
        );
    }

    #[test]
    fn only_images_with_known_layers_pass() {
        let digest = sha256(b"m");
        let check = |config: &str, layer: &str| {
            let manifest: ImageManifest = serde_json::from_str(&manifest("", config, layer)).unwrap();
            check(&manifest, &digest).map_err(|error| error.to_string())
        };
        assert_eq!(check(DOCKER_CONFIG, DOCKER_LAYERS[1]), Ok(()));
        assert_eq!(
            check("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+zstd"),
            Ok(())
        );
        let helm = check("application/vnd.cncf.helm.config.v1+json", "x").unwrap_err();
        assert!(helm.starts_with("configuration of manifest sha256:") && helm.contains("helm"), "{helm}");
        assert_eq!(check(DOCKER_CONFIG, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), Ok(()));
        for odd in ["application/octet-stream", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"] {
            assert!(
                check(DOCKER_CONFIG, odd).unwrap_err().contains(&format!("unsupported media type {odd:?}"))
            );
        }
    }

    #[test]
    fn the_best_fitting_image_of_an_index_is_chosen() {
        let entry = |name: &str, platform: &str| {
            let platform: Vec<_> = platform.split('/').collect();
            let variant = platform.get(2).map(|v| format!(r#","variant":"{v}""#)).unwrap_or_default();
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","size":1,"digest":"{}","platform":{{"os":"{}","architecture":"{}"{variant}}}}}"#,
                sha256(name.as_bytes()),
                platform[0],
                platform[1]
            )
        };
        let entries = [
            entry("attestation", "unknown/unknown"),
            entry("windows", "windows/amd64"),
            entry("v6", "linux/arm/v6"),
            entry("v7", "linux/arm/v7"),
            entry("amd64", "linux/amd64"),
        ];
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        let index: ImageIndex = serde_json::from_str(&index).unwrap();
        let pick =
            |platform: &str| choose(&index, &platform.parse().unwrap(), "ref").map(|d| d.digest().clone());
        assert_eq!(pick("linux/arm").unwrap(), sha256(b"v7"));
        assert_eq!(pick("linux/arm/v6").unwrap(), sha256(b"v6"));
        assert_eq!(pick("linux/amd64/v3").unwrap(), sha256(b"amd64"));
        assert_eq!(
            pick("linux/s390x").unwrap_err().to_string(),
            "no image for platform linux/s390x in ref, available: windows/amd64, linux/arm/v6, linux/arm/v7, linux/amd64"
        );
    }
}
