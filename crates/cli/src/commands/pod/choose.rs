//! Which pods a command is for.

use std::path::PathBuf;

use clap::Args;
use loment_engine::Engine;

use crate::commands::choose::id_in;
use crate::error::Error;

/// Flags of commands that are for several pods.
#[derive(Args, Debug)]
pub(super) struct Chosen {
    /// All pods
    #[arg(short, long)]
    all: bool,
    /// The pod that was made last
    #[arg(short, long)]
    latest: bool,
    /// Pods: names or ids
    #[arg(value_name = "POD")]
    pods: Vec<String>,
}

impl Chosen {
    /// Names and ids of the pods that are meant, also of those whose ids are in files.
    pub(super) fn names(
        &self,
        engine: &Engine,
        files: &[PathBuf],
        ignore: bool,
    ) -> Result<Vec<String>, Error> {
        let named = !self.pods.is_empty() || !files.is_empty();
        // In Podman's words.
        let message = match (self.all, self.latest, named) {
            (true, true, _) => "--all and --latest cannot be used together",
            (true, _, true) => "no arguments are needed with --all",
            (_, true, true) => "--latest and pods cannot be used together",
            (false, false, false) => "you must provide at least one name or id",
            (true, ..) => return Ok(engine.pods()?.0.into_iter().map(|pod| pod.pod.id).collect()),
            (_, true, _) => return Ok(vec![latest(engine)?]),
            _ => {
                let mut names = self.pods.clone();
                for file in files {
                    names.extend(id_in(file, ignore)?);
                }
                return Ok(names);
            }
        };
        Err(Error::Invalid(message.into()))
    }
}

/// The pod that was made last.
pub(super) fn latest(engine: &Engine) -> Result<String, Error> {
    let newest = engine.pods()?.0.into_iter().next();
    newest.map(|pod| pod.pod.id).ok_or_else(|| Error::Invalid("--latest: there is no pod".into()))
}

/// The one pod that a command is for.
pub(super) fn one(engine: &Engine, latest_one: bool, name: Option<&str>) -> Result<String, Error> {
    match (latest_one, name) {
        (true, None) => latest(engine),
        (true, Some(_)) => Err(Error::Invalid("--latest and pods cannot be used together".into())),
        (false, Some(name)) => Ok(name.to_owned()),
        (false, None) => Err(Error::Invalid("you must provide the name or id of a pod".into())),
    }
}
