//! `pull`

use clap::{Args, Parser};
use loment_engine::PullSettings;
use loment_image::{Platform, ShortNames};

use super::access::AccessFlags;
use super::for_each;
use super::progress::Bars;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{complain, print};

/// Flags of every command that may fetch images.
#[derive(Args, Debug, Clone)]
pub(super) struct PullFlags {
    #[command(flatten)]
    access: AccessFlags,
    /// Choose this platform of several, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl PullFlags {
    /// What the engine needs to know.
    pub(super) fn settings(&self, globals: &Globals) -> Result<PullSettings, Error> {
        Ok(PullSettings {
            short_names: short_names(globals)?,
            access: self.access.access()?,
            platform: self.platform.as_deref().map(platform).transpose()?,
        })
    }
}

/// What a name without a registry means: Docker's rule, or the registries the ecosystem's configuration lists.
pub(super) fn short_names(globals: &Globals) -> Result<ShortNames, Error> {
    if globals.persona.docker_hub {
        return Ok(ShortNames { unqualified_search: Vec::new(), docker_hub_default: true });
    }
    let path = "/etc/containers/registries.conf";
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.doing(|| format!("read {path}"))?,
    };
    let table: toml::Table = text.parse().map_err(|e| Error::Invalid(format!("parse {path}: {e}")))?;
    let list = table.get("unqualified-search-registries").and_then(|v| v.as_array());
    let unqualified_search =
        list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    Ok(ShortNames { unqualified_search, docker_hub_default: false })
}

pub(super) fn platform(text: &str) -> Result<Platform, Error> {
    text.parse().map_err(|e| Error::Invalid(format!("invalid value {text:?} for --platform: {e}")))
}

/// Pull images from registries
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    pull: PullFlags,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let settings = flags.pull.settings(globals)?;
    for_each(&flags.images, |image| {
        let name = image.strip_prefix("docker://").unwrap_or(image);
        if !flags.pull.quiet {
            complain(&format!("Trying to pull {name}..."));
        }
        let pulled = engine.pull(name, &settings, &mut Bars::new(flags.pull.quiet))?;
        print(&format!("{}\n", pulled.image.hex()))
    })
}
