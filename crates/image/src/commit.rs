//! An image of an image and one more layer.

use std::collections::BTreeMap;

use loment_store::{ImageId, Layer, Lease};
use serde_json::{Value, json};

use crate::error::Error;
use crate::format::Format;
use crate::import::{Change, put_image};
use crate::platform::Platform;

/// What such an image says about itself.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// Defaults for containers: changes of `config`, in the order given.
    pub changes: Vec<Change>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// What made the layer.
    pub created_by: String,
    /// Defaults for containers (image-spec, config.md, `config`).
    pub config: Value,
    /// Its kind of manifest.
    pub format: Format,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Makes an image of layers and one more on top, and gives it a name, a full reference. `base` is the configuration of the image
/// that the layers below are of.
///
/// # Errors
/// [`Error::Store`].
pub fn commit(
    lease: Lease,
    base: Option<Value>,
    below: &[Layer],
    layer: &Layer,
    name: Option<&str>,
    options: &CommitOptions,
) -> Result<ImageId, Error> {
    let layers: Vec<_> = below.iter().chain([layer]).cloned().collect();
    let host = Platform::host();
    let mut config = base.unwrap_or_else(|| json!({"architecture": host.architecture, "os": host.os}));
    // Docker's, of the container in which the base was made.
    for stale in ["container", "container_config", "docker_version", "id", "parent"] {
        config.as_object_mut().map(|all| all.remove(stale));
    }
    let mut container = options.config.clone();
    for change in &options.changes {
        change.apply(&mut container);
    }
    config["config"] = container;
    config["created"] = json!(options.created);
    if let Some(author) = &options.author {
        config["author"] = json!(author);
    }
    let digests: Vec<_> = layers.iter().map(|layer| layer.diff_id().digest().to_string()).collect();
    config["rootfs"] = json!({"type": "layers", "diff_ids": digests});
    let mut step = json!({"created": options.created, "created_by": options.created_by});
    for (key, value) in [("author", &options.author), ("comment", &options.message)] {
        if let Some(value) = value {
            step[key] = json!(value);
        }
    }
    match config["history"].as_array_mut() {
        Some(history) if !below.is_empty() => history.push(step),
        _ => config["history"] = json!([step]),
    }
    let text = |key: &str| config[key].as_str().map(str::to_owned);
    let platform = Platform {
        os: text("os").unwrap_or(host.os),
        architecture: text("architecture").unwrap_or(host.architecture),
        variant: text("variant"),
    };
    let form = (options.format, &options.annotations);
    put_image(lease, &config, &layers, &platform, form, &options.created, name)
}
