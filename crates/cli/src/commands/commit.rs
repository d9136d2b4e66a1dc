//! `commit`

use std::path::{Path, PathBuf};

use clap::Parser;
use loment_engine::Commit;
use loment_image::{Change, Format};
use serde_json::{Map, Value};

use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Make an image of what a container has changed
///
/// What is mounted in it, such as volumes, is left out.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Say who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Add to what the image says what this file says: a configuration of an image, as JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Make volumes of the image of all places where the container has some
    #[arg(long)]
    include_volumes: bool,
    /// Write its manifest as oci or docker
    #[arg(short, long, value_name = "FORMAT", default_value = "oci")]
    format: String,
    /// Write the image's id to this file
    #[arg(short, long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Leave this remark in its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause the container meanwhile [default: false, true as docker]
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pause: Option<bool>,
    /// Accepted for compatibility: there is no progress to show
    #[arg(short, long)]
    quiet: bool,
    /// Put all of its files into one layer
    #[arg(short, long)]
    squash: bool,
    /// Container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let change = |text: &String| text.parse::<Change>().map_err(|e| Error::Invalid(e.to_string()));
    let format = match flags.format.as_str() {
        "oci" => Format::Oci,
        "docker" => Format::Docker,
        other => {
            return Err(Error::Invalid(format!("unrecognized image format {other:?}: use oci or docker")));
        }
    };
    let how = Commit {
        name: flags.image.clone(),
        author: flags.author.clone(),
        message: flags.message.clone(),
        changes: flags.change.iter().map(change).collect::<Result<_, _>>()?,
        format,
        pause: flags.pause.or((!globals.persona.docker_documents).then_some(false)),
        squash: flags.squash,
        config: flags.config.as_deref().map(configuration).transpose()?.unwrap_or_default(),
        include_volumes: flags.include_volumes,
    };
    let id = globals.engine()?.commit(&flags.container, &short_names(globals)?, how)?;
    if let Some(path) = &flags.iidfile {
        std::fs::write(path, id.to_string()).doing(|| format!("write {}", path.display()))?;
    }
    let shown = if globals.persona.docker_documents { id.to_string() } else { id.hex().to_owned() };
    print(&format!("{shown}\n"))?;
    Ok(0)
}

/// What a file says of containers made from an image.
fn configuration(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = std::fs::read(path).doing(|| format!("--config: read {}", path.display()))?;
    let invalid = |error| {
        Error::Invalid(format!("--config: {} is no configuration of an image: {error}", path.display()))
    };
    // What it means is looked at now, not when a container is made of the image.
    let _: oci_spec::image::Config = serde_json::from_slice(&text).map_err(invalid)?;
    serde_json::from_slice(&text).map_err(invalid)
}
