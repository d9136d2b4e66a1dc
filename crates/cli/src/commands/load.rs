//! `load`

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Parser;
use loment_image::Reference;

use super::progress::Bars;
use super::pull::{platform, short_names};
use crate::ecosystem;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Load images from an archive or a directory
///
/// docker-archive, oci-archive, oci-dir and docker-dir are told by what is in them; archives may be compressed with gzip or zstd.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Read from this file or directory [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Load the images for this platform only, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Read the policy from this file
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    if flags.input.is_none() && std::io::stdin().is_terminal() {
        let words = if docker {
            "requested load from stdin, but stdin is empty"
        } else {
            "cannot read from terminal, use command-line redirection or the --input flag"
        };
        return Err(Error::Invalid(words.into()));
    }
    let platform = flags.platform.as_deref().map(platform).transpose()?;
    let platform = platform.as_ref();
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    let ecosystem = ecosystem::ecosystem(globals.chosen.or_policy(flags.signature_policy.as_ref()));
    let mut bars = Bars::new(flags.quiet || docker);
    let loaded = match &flags.input {
        Some(path) => engine.load_images(path, &ecosystem, platform, &short_names, &mut bars)?,
        None => {
            let input = std::io::stdin().as_fd().try_clone_to_owned();
            let mut input = File::from(input.doing(|| "use standard input".into())?);
            engine.load_stream(&mut input, "standard input", &ecosystem, platform, &short_names, &mut bars)?
        }
    };
    for image in loaded {
        for name in &image.names {
            let short = name.parse::<Reference>().ok().filter(|_| docker).map(|name| name.familiar());
            print(&format!("Loaded image: {}\n", short.as_ref().unwrap_or(name)))?;
        }
        if image.names.is_empty() {
            let word = if docker { "image ID" } else { "image" };
            print(&format!("Loaded {word}: {}\n", image.id))?;
        }
    }
    Ok(0)
}
