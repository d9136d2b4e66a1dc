//! The document `inspect` shows of an image: Podman's fields, or Docker's.

use loment_engine::{Engine, OwnManifest};
use loment_image::{Healthcheck, ImageConfig, Reference};
use loment_store::{ImageId, ImageRecord, Lower, NamedImage};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::persona::Persona;

/// Fields that json leaves out when there is nothing in them; templates see them all.
const OMITTED: [&str; 13] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
];

/// All that is known.
struct Known {
    image: NamedImage,
    config: ImageConfig,
    /// The same, for what only few look at.
    raw: Value,
    manifest: OwnManifest,
    graph: Value,
}

pub(super) fn document(persona: &Persona, engine: &Engine, id: &ImageId) -> Result<Value, Error> {
    let known = known(engine, id)?;
    Ok(if persona.docker_documents { docker(&known) } else { podman(&known) })
}

/// The document as json shows it.
pub(super) fn without_nothing(mut document: Value) -> Value {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if let Some(config) = document.get_mut("Config").and_then(Value::as_object_mut) {
        config.retain(|key, value| !(OMITTED.contains(&key.as_str()) && empty(value)));
    }
    if let Value::Object(map) = &mut document {
        map.retain(|key, value| {
            !(["Healthcheck", "Variant", "OsVersion"].contains(&key.as_str()) && empty(value))
        });
    }
    document
}

fn known(engine: &Engine, id: &ImageId) -> Result<Known, Error> {
    let store = engine.store();
    let record = store.image(id).map_err(loment_engine::Error::from)?;
    let image = record.ok_or_else(|| loment_engine::Error::NoImage { name: id.hex().to_owned() })?;
    let names = store.names_of(id).map_err(loment_engine::Error::from)?;
    let config = engine.image_document(id)?;
    let bytes = store.blob(id.digest()).map_err(loment_engine::Error::from)?;
    let raw = serde_json::from_slice(&bytes).unwrap_or_default();
    let manifest = engine.own_manifest(&image)?.unwrap_or_default();
    let graph = graph(&store.lower(&image).map_err(loment_engine::Error::from)?);
    Ok(Known { image: NamedImage { image, names }, config, raw, manifest, graph })
}

/// Where the layers are: what a container's overlay is made of.
fn graph(lower: &[Lower]) -> Value {
    let mut paths = lower.iter().map(|layer| match layer {
        Lower::Dir(path) => path.display().to_string(),
        Lower::Erofs { file, .. } => file.display().to_string(),
    });
    let mut data = Map::new();
    if let Some(top) = paths.next() {
        data.insert("UpperDir".into(), top.into());
    }
    let below: Vec<String> = paths.collect();
    if !below.is_empty() {
        data.insert("LowerDir".into(), below.join(":").into());
    }
    json!({"Name": "overlay", "Data": data})
}

fn podman(known: &Known) -> Value {
    let (image, d) = (&known.image.image, &known.config.container);
    let (tags, mut digests) = references(known, |reference| reference.to_string(), &image.manifests);
    digests.sort_unstable();
    let mut document = common(known, tags, digests);
    let further = json!({
        "Id": image.id.hex(),
        "Digest": known.manifest.digest,
        "ManifestType": known.manifest.media_type,
        "Annotations": known.manifest.annotations,
        "Version": text(&known.raw, "docker_version"),
        "Labels": d.labels,
        "User": d.user,
        "NamesHistory": known.image.names_history(),
        "Healthcheck": d.healthcheck.as_ref().map(health),
        "VirtualSize": image.size,
        "History": known.config.history.iter().map(|h| {
            let mut step = Map::new();
            let texts = [
                ("created", &h.created),
                ("created_by", &h.created_by),
                ("author", &h.author),
                ("comment", &h.comment),
            ];
            for (key, value) in texts {
                if let Some(value) = value {
                    step.insert(key.into(), value.clone().into());
                }
            }
            if h.empty_layer {
                step.insert("empty_layer".into(), true.into());
            }
            Value::from(step)
        }).collect::<Vec<_>>(),
    });
    extend(&mut document, further);
    document
}

fn docker(known: &Known) -> Value {
    let image = &known.image.image;
    let (tags, mut digests) = references(known, |reference| reference.familiar(), &[]);
    digests.sort_unstable();
    let mut document = common(known, tags, digests);
    let tagged = jiff::Timestamp::from_second(i64::try_from(image.pulled).unwrap_or_default());
    let further = json!({
        "Id": image.id.to_string(),
        "DockerVersion": text(&known.raw, "docker_version"),
        "OsVersion": text(&known.raw, "os.version"),
        "Metadata": {"LastTagTime": tagged.map(|time| time.to_string()).unwrap_or_default()},
    });
    extend(&mut document, further);
    let fixed = json!({
        "Hostname": "", "Domainname": "", "Image": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false,
    });
    extend(&mut document["Config"], fixed);
    document
}

/// What both have.
fn common(known: &Known, tags: Vec<String>, digests: Vec<String>) -> Value {
    let (image, d) = (&known.image.image, &known.config.container);
    let set = |list: &[String]| -> Value {
        list.iter().map(|k| (k.clone(), json!({}))).collect::<Map<_, _>>().into()
    };
    json!({
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": comment(known),
        "Created": known.config.created,
        "Author": known.config.author.clone().unwrap_or_default(),
        "Config": {
            "User": d.user, "ExposedPorts": set(&d.exposed_ports), "Env": d.env, "Entrypoint": d.entrypoint,
            "Cmd": d.cmd, "Volumes": set(&d.volumes), "WorkingDir": d.working_dir, "Labels": d.labels,
            "StopSignal": d.stop_signal.clone().unwrap_or_default(), "ArgsEscaped": d.args_escaped,
            "Healthcheck": d.healthcheck.as_ref().map(health), "OnBuild": d.on_build, "Shell": d.shell,
        },
        "Architecture": image.platform.architecture,
        "Os": image.platform.os,
        "Variant": image.platform.variant.clone().unwrap_or_default(),
        "Size": image.size,
        "GraphDriver": known.graph,
        "RootFS": {"Type": "layers", "Layers": layers(image)},
    })
}

/// `RepoTags` and `RepoDigests`: each repository with the digest its name came with, and with `further` ones.
fn references(
    known: &Known,
    shown: impl Fn(&Reference) -> String,
    further: &[oci_spec::image::Digest],
) -> (Vec<String>, Vec<String>) {
    let (mut tags, mut digests) = (Vec::new(), Vec::new());
    for name in &known.image.names {
        let Ok(reference) = name.name.parse::<Reference>() else { continue };
        if reference.tag().is_some() {
            tags.push(shown(&reference));
        }
        for digest in name.manifest.iter().chain(further) {
            let digested = shown(&reference.with_digest(digest.clone()));
            if !digests.contains(&digested) {
                digests.push(digested);
            }
        }
    }
    (tags, digests)
}

/// Its own, or the last step's.
fn comment(known: &Known) -> String {
    let own = text(&known.raw, "comment");
    let last = || known.config.history.last().and_then(|step| step.comment.clone());
    if own.is_empty() { last().unwrap_or_default() } else { own }
}

fn layers(image: &ImageRecord) -> Vec<String> {
    image.layers.iter().map(ToString::to_string).collect()
}

/// As Docker writes one: what is not given is left out.
fn health(health: &Healthcheck) -> Value {
    let mut shown = Map::new();
    shown.insert("Test".into(), health.test.clone().into());
    for (key, value) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
        ("Retries", health.retries),
    ] {
        if value != 0 {
            shown.insert(key.into(), value.into());
        }
    }
    shown.into()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn extend(document: &mut Value, further: Value) {
    if let (Value::Object(map), Value::Object(further)) = (document, further) {
        map.extend(further);
    }
}
