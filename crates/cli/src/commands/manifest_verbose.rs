//! `manifest inspect --verbose`: each image with its descriptor and its manifest, as Docker shows them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use loment_engine::{Access, Engine, ImageList, Side, raw_config, raw_manifest};
use loment_image::{Place, Platform};
use oci_spec::image::Digest;
use serde_json::{Value, json};

use super::manifest::place;
use crate::error::Error;
use crate::globals::Globals;

/// What a list of ours has. Images that are not here are asked for where they are.
pub(super) fn of_list(
    globals: &Globals,
    engine: &Engine,
    list: &ImageList,
    access: &Access,
) -> Result<Value, Error> {
    let name = list.name.reference().unwrap_or(list.id());
    let one = |entry: &Value| {
        let text = entry["digest"].as_str().unwrap_or_default();
        let digest: Digest =
            text.parse().map_err(|_| Error::Invalid(format!("list {name}: invalid digest {text:?}")))?;
        match list.name.sources.get(text) {
            Some(source) => {
                let place = place(source)?;
                let raw = raw_manifest(Side::new(&place, access), None, &globals.temporary())?;
                shown(source.trim_start_matches("docker://"), entry.clone(), &raw.bytes)
            }
            None => {
                let bytes = engine.store().blob(&digest).map_err(loment_engine::Error::from)?;
                shown(&format!("{name}@{text}"), entry.clone(), &bytes)
            }
        }
    };
    list.document["manifests"].as_array().into_iter().flatten().map(one).collect()
}

/// What a place has: one image, or those of an index.
pub(super) fn of_place(globals: &Globals, place: &Place, access: &Access) -> Result<Value, Error> {
    let side = Side::new(place, access);
    let top = raw_manifest(side, None, &globals.temporary())?;
    let document = parsed(&top.bytes, top.digest.as_ref())?;
    let Some(entries) = document["manifests"].as_array() else {
        let config = parsed(&raw_config(side, &Platform::host(), &globals.temporary())?, "configuration")?;
        let mut platform = json!({"architecture": config["architecture"], "os": config["os"]});
        if let Some(variant) = config["variant"].as_str() {
            platform["variant"] = variant.into();
        }
        let descriptor = json!({
            "mediaType": top.media_type, "digest": top.digest.to_string(), "size": top.bytes.len(), "platform": platform,
        });
        return shown(&name_of(place), descriptor, &top.bytes);
    };
    let Place::Registry(reference) = place else {
        return Err(Error::Invalid(format!("{place} has an index: --verbose shows those of registries")));
    };
    let one = |entry: &Value| {
        let name = format!("{}@{}", reference.name(), entry["digest"].as_str().unwrap_or_default());
        let member = self::place(&name)?;
        let raw = raw_manifest(Side::new(&member, access), None, &globals.temporary())?;
        shown(&name, entry.clone(), &raw.bytes)
    };
    entries.iter().map(one).collect()
}

fn name_of(place: &Place) -> String {
    match place {
        Place::Registry(reference) => reference.to_string(),
        other => other.to_string(),
    }
}

fn parsed(bytes: &[u8], what: &str) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::Invalid(format!("{what} is malformed: {e}")))
}

fn shown(name: &str, descriptor: Value, manifest: &[u8]) -> Result<Value, Error> {
    let kind = descriptor["mediaType"].as_str().unwrap_or_default();
    let key = if kind.starts_with("application/vnd.docker.") { "SchemaV2Manifest" } else { "OCIManifest" };
    let raw = BASE64_STANDARD.encode(manifest);
    Ok(json!({"Ref": name, "Descriptor": descriptor, "Raw": raw, key: parsed(manifest, name)?}))
}
