//! What a source has, without taking it: documents, and descriptors for an index.

use oci_spec::image::{Arch, Descriptor, Digest, MediaType, Os, PlatformBuilder};

use crate::config::ImageConfig;
use crate::copy::{Images, choose};
use crate::error::Error;
use crate::manifest::Document;
use crate::platform::Platform;
use crate::resolve::{Verified, config_bytes, top};
use crate::source::Source;

/// A manifest or index, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub media_type: String,
    /// As delivered.
    pub bytes: Vec<u8>,
}

/// What a source was opened for, or, of an index, the image for a platform.
///
/// # Errors
/// As those of [`crate::pull`].
pub fn raw(source: &dyn Source, platform: Option<&Platform>) -> Result<Raw, Error> {
    let verified = match platform {
        Some(platform) => choose(source, platform)?,
        None => top(source)?,
    };
    let Verified { digest, media_type, bytes, .. } = verified;
    Ok(Raw { digest, media_type, bytes })
}

/// The configuration of the image for a platform.
///
/// # Errors
/// As those of [`crate::pull`].
pub fn raw_config(source: &dyn Source, platform: &Platform) -> Result<Vec<u8>, Error> {
    let verified = choose(source, platform)?;
    match &verified.document {
        Document::Image(manifest) => config_bytes(source, manifest),
        Document::Index(_) => Err(Error::Nested { digest: verified.digest }),
    }
}

/// Descriptors, with platforms, of the images a source has: all that its index lists, or one.
///
/// # Errors
/// As those of [`crate::pull`].
pub fn describe(source: &dyn Source, images: &Images) -> Result<Vec<Descriptor>, Error> {
    let verified = top(source)?;
    let chosen = match (&verified.document, images) {
        (Document::Index(index), Images::All | Images::Index) => return Ok(index.manifests().clone()),
        (Document::Index(_), Images::One(platform)) => choose(source, platform)?,
        (Document::Image(_), _) => verified,
    };
    let Document::Image(manifest) = &chosen.document else {
        return Err(Error::Nested { digest: chosen.digest });
    };
    let bytes = config_bytes(source, manifest)?;
    let what = || format!("configuration {}", manifest.config().digest());
    let config =
        ImageConfig::parse(&bytes).map_err(|source| Error::Malformed { what: what(), source })?.platform;
    let media_type = MediaType::from(chosen.media_type.as_str());
    let mut descriptor = Descriptor::new(media_type, chosen.bytes.len() as u64, chosen.digest.clone());
    descriptor.set_platform(described(&config));
    Ok(vec![descriptor])
}

/// A platform as an index has it.
fn described(platform: &Platform) -> Option<oci_spec::image::Platform> {
    let mut builder = PlatformBuilder::default()
        .os(Os::from(platform.os.as_str()))
        .architecture(Arch::from(platform.architecture.as_str()));
    if let Some(variant) = &platform.variant {
        builder = builder.variant(variant.clone());
    }
    builder.build().ok()
}
