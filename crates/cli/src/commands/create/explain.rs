//! `--explain`: what a container would be, as a document.

use loment_engine::Explained;
use serde_json::{Value, json};

use crate::containers_conf;
use crate::error::Error;

/// The document. `new_pod` is what was asked for where the pod would be made, too.
pub(super) fn text(explained: &Explained, new_pod: Option<&str>) -> Result<String, Error> {
    let said = containers_conf::read()?.said();
    let said = said.iter().map(|said| json!({"file": said.file, "key": said.key, "value": said.value}));
    let volumes = explained.volumes.iter().map(|(name, is_there)| json!({"name": name, "exists": is_there}));
    let mut notes = Vec::new();
    if let Some(name) = new_pod.and_then(|pod| pod.strip_prefix("new:")) {
        notes.push(format!(
            "the pod {name} would be made first: namespaces that it shares are shown as the container's own"
        ));
    }
    for program in &explained.asked_at_start {
        notes.push(format!("{} may change the specification at each start", program.display()));
    }
    let mut document = json!({
        "image": explained.image,
        "container": explained.container,
        "volumes": volumes.collect::<Vec<_>>(),
        "configuration": said.collect::<Vec<_>>(),
        "spec": explained.spec,
        "notes": notes,
    });
    // Those of a specification that are not there are not null.
    if let Value::Object(spec) = &mut document["spec"] {
        spec.retain(|_, value| !value.is_null());
    }
    Ok(format!("{document:#}\n"))
}
