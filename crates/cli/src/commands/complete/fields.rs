//! The fields that templates may name.

use loment_engine::{Glance, ListedPod};
use serde_json::{Map, Value};

use crate::commands::{
    df, history, images, inspect_container, inspect_image, pod, ps, search, secret, stats, volume,
};
use crate::globals::Globals;
use crate::short_names::short_names;

/// A record of what a command shows, with all fields; of lists it has no values.
pub(super) fn of(globals: &Globals, glance: Option<&Glance>, command: &str, words: &[&str]) -> Value {
    let docker = globals.persona.docker_documents;
    let empty = |headers: &[(&str, &str)]| {
        let fields = headers.iter().map(|(field, _)| ((*field).to_owned(), Value::Null));
        Value::from(fields.collect::<Map<_, _>>())
    };
    match command {
        "history" => empty(&history::HEADERS),
        "images" => empty(&images::HEADERS),
        "pod ps" => empty(&pod::list::HEADERS),
        "ps" => empty(&ps::headers()),
        "search" => empty(&search::HEADERS),
        "secret ls" => empty(&secret::list::HEADERS),
        "stats" | "pod stats" if docker => empty(&stats::row::DOCKER_HEADERS),
        "stats" | "pod stats" => empty(&stats::row::HEADERS),
        "system df" => empty(&df::HEADERS),
        "volume ls" => empty(&volume::list::HEADERS),
        "container inspect" | "image inspect" | "inspect" | "pod inspect" | "volume inspect" => glance
            .and_then(|glance| document(globals, glance, command, words.first().copied()))
            .unwrap_or_default(),
        _ => Value::Null,
    }
}

/// What `inspect` says of the first that was named; without a name, of something that there is.
fn document(globals: &Globals, glance: &Glance, command: &str, name: Option<&str>) -> Option<Value> {
    let engine = glance.engine();
    let is_for = |other: &str| ["inspect", other].contains(&command);
    let container = || {
        let name = match name {
            Some(name) => name.to_owned(),
            None => glance.containers().pop()?.id,
        };
        Some(inspect_container::document(globals.persona, &engine.container(&name).ok()?))
    };
    let image = || {
        let (mut ids, names) = glance.images();
        let find = |name: &str| engine.find_image(name, &short_names(globals).ok()?).ok();
        // The tag may be missing still.
        let begun = |name: &str| {
            names.iter().find(|known| known.starts_with(name) || known.contains(&format!("/{name}")))
        };
        let (id, _) = match name {
            Some(name) => find(name).or_else(|| find(begun(name)?))?,
            None => find(&ids.pop()?)?,
        };
        inspect_image::document(globals.persona, engine, &id).ok()
    };
    let volume = || {
        let name = name.map_or_else(|| glance.volumes().pop(), |name| Some(name.to_owned()))?;
        volume::find(globals, engine, &name).ok().map(volume::full)
    };
    let pod = || {
        let mut all = glance.pods();
        let is_it = |name: &str, pod: &ListedPod| pod.pod.name == name || pod.pod.id.starts_with(name);
        all.retain(|pod| name.is_none_or(|name| is_it(name, pod)));
        let document = pod::inspect::of(globals, engine, all.first()?).ok()?;
        Some(pod::inspect::named_as_in_go(document))
    };
    let found = is_for("container inspect").then(container).flatten();
    let found = found.or_else(|| is_for("image inspect").then(image).flatten());
    let found = found.or_else(|| is_for("volume inspect").then(volume).flatten());
    found.or_else(|| is_for("pod inspect").then(pod).flatten())
}
