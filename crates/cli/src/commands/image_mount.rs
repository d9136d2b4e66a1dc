//! `image mount` and `image unmount`

use clap::Parser;
use loment_engine::MountedImage;
use serde_json::{Value, json};

use super::pull::short_names;
use super::{for_each, need_names};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{indented, print};
use crate::rootless::check_mounts_are_seen;

/// Mount images as directories of this machine, or list those that are mounted
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Mount all images
    #[arg(short, long)]
    all: bool,
    /// Print as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Images
    #[arg(value_name = "IMAGE", conflicts_with = "all")]
    images: Vec<String>,
}

/// Unmount images, with the last request for each
#[derive(Parser, Debug)]
pub(super) struct UnmountFlags {
    /// Unmount all images
    #[arg(short, long)]
    all: bool,
    /// Unmount however often it was mounted, also while it is in use
    #[arg(short, long)]
    force: bool,
    /// Images
    #[arg(value_name = "IMAGE", conflicts_with = "all", required_unless_present = "all")]
    images: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if let Some(other) = flags.format.as_deref().filter(|format| *format != "json") {
        return Err(Error::Invalid(format!("invalid value {other:?} for --format: use json")));
    }
    let (engine, names) = (globals.engine()?, short_names(globals)?);
    check_mounts_are_seen(globals.persona.name, "image mount")?;
    let images = match flags.all {
        true => engine
            .images()?
            .into_iter()
            .filter(|i| !i.list)
            .map(|i| i.image.image.id.hex().to_owned())
            .collect(),
        false => flags.images.clone(),
    };
    let mounted = match images.as_slice() {
        [] if !flags.all => engine.mounted_images()?,
        images => images.iter().map(|image| engine.mount_image(image, &names)).collect::<Result<_, _>>()?,
    };
    if flags.format.is_some() {
        let documents = Value::Array(mounted.iter().map(document).collect());
        return print(&format!("{}\n", indented(&documents))).map(|()| 0);
    }
    if let ([one], [_]) = (mounted.as_slice(), flags.images.as_slice()) {
        return print(&format!("{}\n", one.path.display())).map(|()| 0);
    }
    let name = |m: &MountedImage| m.names.first().cloned().unwrap_or_else(|| m.id.hex().to_owned());
    let width = mounted.iter().map(|m| name(m).len()).max().unwrap_or_default() + 2;
    let lines = mounted.iter().map(|m| format!("{:width$}{}\n", name(m), m.path.display()));
    print(&lines.collect::<String>()).map(|()| 0)
}

/// As Podman writes it, capitals included.
fn document(mounted: &MountedImage) -> Value {
    json!({
        "id": mounted.id.hex(),
        "Names": mounted.digests,
        "Repositories": mounted.names,
        "mountpoint": mounted.path,
    })
}

pub(super) fn run_unmount(globals: &Globals, flags: &UnmountFlags) -> Result<u8, Error> {
    need_names(&flags.images, flags.all)?;
    let (engine, names) = (globals.engine()?, short_names(globals)?);
    check_mounts_are_seen(globals.persona.name, "image unmount")?;
    let images = match flags.all {
        true => engine.mounted_images()?.into_iter().map(|m| m.id.hex().to_owned()).collect(),
        false => flags.images.clone(),
    };
    for_each(&images, |image| match engine.unmount_image(image, &names, flags.force)? {
        Some(id) => print(&format!("{}\n", id.hex())),
        // As with Podman, it is as it was to be.
        None => Ok(()),
    })
}
