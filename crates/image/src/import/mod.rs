//! An image of one layer, made from a tar of a root file system.

mod change;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use loment_store::{HashingSource, ImageId, ImageRecord, Layer, Lease, Origin, Store, sha256};
use serde_json::{Value, json};

pub use change::{Change, ChangeError, words};

use crate::error::Error;
use crate::format::Format;
use crate::inflate::{self, Compression};
use crate::platform::Platform;
use crate::pull::now;

/// What an imported image says about itself.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What it runs on.
    pub platform: Platform,
    /// Defaults for containers, in the order given.
    pub changes: Vec<Change>,
    /// A remark.
    pub message: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// Makes an image of a tar, plain or compressed, and gives it a name, a full reference.
///
/// # Errors
/// [`Error::Import`], [`Error::ArchiveCompression`], and [`Error::Store`] for what no layer may hold.
pub fn import(
    tar: &mut (dyn Read + Send),
    store: &Store,
    name: Option<&str>,
    options: &ImportOptions,
) -> Result<ImageId, Error> {
    let lease = store.lease()?;
    let (compression, input) = inflate::peek(tar).map_err(|source| Error::Import { source })?;
    if let Compression::Unsupported(compression) = compression {
        return Err(Error::ArchiveCompression { archive: "to import".to_owned(), compression });
    }
    let input = BufReader::with_capacity(256 * 1024, input);
    let plain = inflate::reader(input, compression);
    let layer = lease.unpack_layer(HashingSource::new(plain))?.commit(None, None)?;
    let config = configuration(layer.diff_id().hex(), options);
    let form = (Format::Oci, &BTreeMap::new());
    put_image(lease, &config, &[layer], &options.platform, form, &options.created, name)
}

/// Makes an image of layers that are here, with a manifest of its own, and gives it a name, a full reference.
pub(crate) fn put_image(
    lease: Lease,
    config: &Value,
    layers: &[Layer],
    platform: &Platform,
    (format, annotations): (Format, &BTreeMap<String, String>),
    created: &str,
    name: Option<&str>,
) -> Result<ImageId, Error> {
    let config = config.to_string().into_bytes();
    let digest = sha256(&config);
    let descriptor = |media_type: &str, size: u64, digest: &oci_spec::image::Digest| json!({ "mediaType": media_type, "size": size, "digest": digest });
    let plain = format.layer(crate::Compression::None).unwrap_or_default();
    let of_layer = |layer: &Layer| descriptor(plain, layer.size(), layer.diff_id().digest());
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": format.manifest(),
        "config": descriptor(format.config(), config.len() as u64, &digest),
        "layers": layers.iter().map(of_layer).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    let manifest = manifest.to_string().into_bytes();
    let manifest_digest = sha256(&manifest);
    lease.put_blob(&manifest_digest, &manifest)?;
    lease.put_blob(&digest, &config)?;
    let unsupported = |_| Error::Algorithm { what: "configuration".to_owned(), digest: digest.clone() };
    let id = ImageId::try_from(digest.clone()).map_err(unsupported)?;
    let record = ImageRecord {
        id: id.clone(),
        manifests: vec![manifest_digest.clone()],
        layers: layers.iter().map(|layer| layer.diff_id().clone()).collect(),
        platform: platform.into(),
        created: Some(created.to_owned()),
        size: layers.iter().map(Layer::size).sum(),
        pulled: now(),
        names_history: Vec::new(),
    };
    match name {
        Some(name) => {
            drop(lease.commit_image_as(&record, Origin::Elsewhere, name, Some(&manifest_digest))?)
        }
        None => lease.commit_image(&record)?,
    }
    Ok(id)
}

fn configuration(layer: &str, options: &ImportOptions) -> Value {
    let mut container = json!({});
    for change in &options.changes {
        change.apply(&mut container);
    }
    let mut config = json!({
        "created": options.created,
        "architecture": options.platform.architecture,
        "os": options.platform.os,
        "config": container,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{
            "created": options.created,
            // As Podman and Docker have it.
            "created_by": format!("/bin/sh -c #(nop) ADD file:{layer} in /"),
            "comment": options.message.as_deref().unwrap_or("imported from tarball"),
        }],
    });
    if let Some(variant) = &options.platform.variant {
        config["variant"] = json!(variant);
    }
    config
}
