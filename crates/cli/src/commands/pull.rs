//! `pull`

use clap::{Args, Parser};
use loment_engine::PullSettings;
use loment_image::Platform;

use super::access::AccessFlags;
use super::for_each;
use super::progress::Bars;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::short_names::prompt;
pub(super) use crate::short_names::short_names;

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
            prompt: if globals.persona.docker_hub { None } else { prompt() },
            access: self.access.access()?,
            platform: self.platform.as_deref().map(platform).transpose()?,
        })
    }
}

pub(super) fn platform(text: &str) -> Result<Platform, Error> {
    text.parse().map_err(|e| Error::Invalid(format!("invalid value {text:?} for --platform: {e}")))
}

/// Pull images from registries, archives and directories
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
