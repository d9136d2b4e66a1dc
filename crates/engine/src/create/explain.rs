//! What a container would be, without there being one.

use std::path::PathBuf;

use loment_store::Lower;
use serde_json::{Value, json};

use super::{Create, Settled};
use crate::config::Config;
use crate::error::Context;
use crate::names::{name_in_use, new_id};
use crate::{Engine, Error};

/// What a container would be.
#[derive(Debug)]
pub struct Explained {
    /// The image: id, name, digest, platform, and its layers, the lowest first; `null` without one.
    pub image: Value,
    /// What is recorded of it: what it was asked to be, with what the image says and the defaults.
    pub container: Value,
    /// The specification of the OCI runtime, with devices that are described and hooks.
    pub spec: Value,
    /// Volumes that are there, and those that would be made.
    pub volumes: Vec<(String, bool)>,
    /// Programs that may change the specification at each start. They are not run.
    pub asked_at_start: Vec<PathBuf>,
}

impl Engine {
    /// Says what [`Engine::create`] would make of a request. Nothing is made; its id is one that it could have.
    ///
    /// # Errors
    /// As [`Engine::create`]; a name that is taken is one unless the container `is_replaced` that has it.
    pub fn explain(&self, mut asked: Create, is_replaced: bool) -> Result<Explained, Error> {
        let pod = self.join_pod(&mut asked)?;
        drop(pod);
        let id = new_id().context("choose", "an id")?;
        let Settled { config, .. } = self.settle(id, asked)?;
        if let Some(id) = self.names().id(&config.name).filter(|_| !is_replaced) {
            return Err(name_in_use(&config.name, id));
        }
        let mut spec = crate::spec::build(&config, &self.run_dir(&config.id))?;
        crate::cdi::inject(&config.devices, &mut spec)?;
        let asked_at_start = crate::oci_hooks::add(&config, &mut spec)?;
        let asked_at_start = asked_at_start.into_iter().map(|(_, program)| program.path).collect();
        let of_volumes = config.files.volumes.iter().filter_map(|volume| volume.volume.as_ref());
        let volumes = of_volumes.map(|used| (used.name.clone(), self.volume(&used.name).is_ok())).collect();
        let container = config.document().expect("a configuration has string keys only");
        Ok(Explained { image: self.explain_image(&config)?, container, spec, volumes, asked_at_start })
    }

    fn explain_image(&self, config: &Config) -> Result<Value, Error> {
        let Some(used) = &config.image else { return Ok(Value::Null) };
        let no_image = || Error::NoImage { name: used.name.clone() };
        let record = self.store().image(&used.id)?.ok_or_else(no_image)?;
        let mut layers = Vec::new();
        for layer in self.store().layers_of(&record)? {
            let (form, path) = match layer.lower() {
                Lower::Dir(path) => ("directory", path),
                Lower::Erofs { file, .. } => ("erofs", file),
            };
            layers.push(json!({"diffId": layer.diff_id().to_string(), "form": form, "path": path}));
        }
        let manifests: Vec<String> = record.manifests.iter().map(ToString::to_string).collect();
        Ok(json!({
            "id": used.id.to_string(),
            "name": used.name,
            "digest": used.digest,
            "manifests": manifests,
            "platform": record.platform,
            "layers": layers,
        }))
    }
}
