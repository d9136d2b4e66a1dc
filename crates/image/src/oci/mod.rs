//! OCI image layouts: the `oci:` transport (image-spec, image-layout.md).

mod delete;
mod destination;
mod lock;
mod source;

pub use destination::OciLayoutWriter;
pub use source::OciLayout;

/// Names an image in a layout's index.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What `oci-layout` says.
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
