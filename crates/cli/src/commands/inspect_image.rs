//! The document `inspect` shows of an image: Podman's and Docker's field names.

use loment_engine::Engine;
use loment_image::Reference;
use loment_store::ImageId;
use serde_json::{Value, json};

use crate::error::Error;
use crate::persona::Persona;

pub(super) fn document(persona: &Persona, engine: &Engine, id: &ImageId) -> Result<Value, Error> {
    let store = engine.store();
    let record = store.image(id).map_err(loment_engine::Error::from)?;
    let record = record.ok_or_else(|| loment_engine::Error::NoImage { name: id.hex().to_owned() })?;
    let names = store.names_of(id).map_err(loment_engine::Error::from)?;
    let config = engine.image_document(id)?;
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for name in &names {
        let Ok(reference) = name.name.parse::<Reference>() else { continue };
        let shown = if persona.docker_documents { reference.familiar() } else { name.name.clone() };
        if reference.tag().is_some() {
            tags.push(shown);
        }
        if let Some(manifest) = &name.manifest {
            digests.push(format!("{}@{manifest}", reference.name()));
        }
    }
    digests.dedup();
    let set = |list: &[String]| -> Value {
        list.iter().map(|k| (k.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into()
    };
    let d = &config.container;
    Ok(json!({
        "Id": if persona.docker_documents { id.to_string() } else { id.hex().to_owned() },
        "Digest": record.manifests.first().map(ToString::to_string).unwrap_or_default(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "", "Comment": "",
        "Created": config.created,
        "Author": config.author.clone().unwrap_or_default(),
        "Config": {
            "User": d.user, "ExposedPorts": set(&d.exposed_ports), "Env": d.env, "Entrypoint": d.entrypoint,
            "Cmd": d.cmd, "Volumes": set(&d.volumes), "WorkingDir": d.working_dir, "Labels": d.labels,
            "StopSignal": d.stop_signal.clone().unwrap_or_default(),
        },
        "Architecture": record.platform.architecture, "Os": record.platform.os,
        "Variant": record.platform.variant.clone().unwrap_or_default(),
        "Size": record.size, "VirtualSize": record.size,
        "GraphDriver": {"Name": "overlay", "Data": {}},
        "RootFS": {"Type": "layers", "Layers": record.layers.iter().map(ToString::to_string).collect::<Vec<_>>()},
        "Labels": d.labels,
        "User": d.user,
        "NamesHistory": names.iter().map(|n| n.name.clone()).collect::<Vec<_>>(),
        "History": config.history.iter().map(|h| json!({
            "created": h.created, "created_by": h.created_by, "comment": h.comment, "empty_layer": h.empty_layer,
        })).collect::<Vec<_>>(),
    }))
}
