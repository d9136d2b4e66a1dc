//! `system check`

use std::time::Duration;

use clap::Parser;
use loment_engine::{Checked, PullSettings, Repaired};
use loment_image::ShortNames;
use loment_store::ImageId;

use super::access::AccessFlags;
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::print;
use crate::units;

/// Check that everything in storage is as it was stored
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Do not read the content of layers, which takes long
    #[arg(short, long)]
    quick: bool,
    /// Fetch again what is damaged of images, and remove what registries no longer have and nothing uses
    #[arg(short, long)]
    repair: bool,
    /// Repair, and for that stop containers, and remove those that are damaged, and all images that cannot be fetched
    #[arg(short, long)]
    force: bool,
    /// List what nobody has needed for this long, such as 90s, 24h or 1h30m
    #[arg(short, long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    max: Duration,
    #[command(flatten)]
    access: AccessFlags,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "use a duration such as 90s, 24h or 1h30m".into())
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let found = engine.check(flags.quick)?;
    print(&text(&found, flags.max))?;
    if !flags.repair && !flags.force {
        let how = "damage detected in local storage: mend it with --repair";
        return if found.is_damaged() { Err(Error::Invalid(how.into())) } else { Ok(0) };
    }
    let access = flags.access.access(globals)?;
    let short_names = ShortNames { docker_hub_default: false, ..ShortNames::default() };
    let settings = PullSettings { short_names, access, ..PullSettings::default() };
    let mut told = Vec::new();
    let mut kept = Vec::new();
    engine.repair(&found, &settings, flags.force, &mut |event| {
        kept.extend(advice(&event).filter(|_| !flags.force));
        told.push(sentence(&event));
    })?;
    print(&told.concat())?;
    let left = engine.check(flags.quick)?;
    if left.is_damaged() {
        print(&text(&left, Duration::MAX))?;
        let how = "damage in local storage still present after repair attempt";
        kept.dedup();
        return Err(Error::Invalid(match kept[..] {
            [] => how.into(),
            [first] => format!("{how}: {first}, or use --force to remove the images"),
            [..] => format!("{how}: see what is said of each image, or use --force to remove the images"),
        }));
    }
    Ok(0)
}

/// What to do about an image that was kept for its own sake.
fn advice(event: &Repaired) -> Option<&'static str> {
    match event {
        Repaired::OutOfReach { log_in: Some(_), .. } => {
            Some("images were kept that their registries do not give: log in and repair again")
        }
        Repaired::OutOfReach { log_in: None, .. } => {
            Some("images were kept that their registries may still have: repair again when they can be asked")
        }
        Repaired::NoOrigin { .. } | Repaired::NeverThere { .. } => {
            Some("images were kept that no registry is known to have: build, load or import them again")
        }
        _ => None,
    }
}

/// What was found, each thing with what is wrong with it.
fn text(found: &Checked, max: Duration) -> String {
    let mut text = String::new();
    let mut before = None;
    for damage in &found.store.damages {
        if before != Some(&damage.object) {
            text += &format!("Damage detected in {}:\n", damage.object);
            before = Some(&damage.object);
        }
        let problem = match &damage.problem {
            loment_store::Problem::Broken(error) => one_line(error),
            needs => needs.to_string(),
        };
        text += &format!("\t{problem}\n");
    }
    for (id, error) in &found.containers {
        text += &format!("Damage detected in container {id}:\n\t{}\n", one_line(error));
    }
    for (name, error) in &found.volumes {
        text += &format!("Damage detected in volume {name}:\n\t{}\n", one_line(error));
    }
    for leftover in found.store.leftovers.iter().filter(|leftover| leftover.age >= max) {
        text += &format!("Not needed: {} ({})\n", leftover.path.display(), leftover.kind.name());
    }
    text
}

fn sentence(event: &Repaired) -> String {
    let short = |image: &ImageId| image.hex().get(..12).unwrap_or_default().to_owned();
    match event {
        Repaired::Fetched { image, from } => format!("Fetched image {} again from {from}\n", short(image)),
        Repaired::RecordMended { image } => format!("Wrote the record of image {} again\n", short(image)),
        Repaired::NotFetched { image, from, why } => {
            format!("Cannot fetch image {} again from {from}: {}\n", short(image), one_line(why))
        }
        Repaired::NoOrigin { image } => {
            format!("Cannot mend image {}, damaged: no registry is known to have it\n", short(image))
        }
        Repaired::NeverThere { image } => format!(
            "Kept image {}, damaged: its registry does not have it, and it did not come from there: `rmi --force` removes it\n",
            short(image)
        ),
        Repaired::ImageRemoved { image, names } if names.is_empty() => {
            format!("Removed image {}\n", short(image))
        }
        Repaired::ImageRemoved { image, names } => {
            format!("Removed image {} with its names {}\n", short(image), names.join(", "))
        }
        Repaired::ImageKept { image, container } => {
            let (image, container) = (short(image), container.get(..12).unwrap_or(container));
            format!("Kept image {image}, which container {container} uses: use --force\n")
        }
        Repaired::OutOfReach { image, log_in: Some(host) } => {
            format!("Kept image {}, damaged: {host} does not give it: log in to {host}\n", short(image))
        }
        Repaired::OutOfReach { image, log_in: None } => {
            format!("Kept image {}, damaged: nobody says that its registry no longer has it\n", short(image))
        }
        Repaired::Mended { image } => {
            format!("Kept image {}, which somebody else has mended\n", short(image))
        }
        Repaired::TreeRemoved { path } => {
            format!("Removed {}, which is made again when it is needed\n", path.display())
        }
        Repaired::NameRemoved { name } => format!("Removed name {name}, which cannot be read\n"),
        Repaired::VolumeRemoved { volume } => format!("Removed volume {volume}, which was damaged\n"),
        Repaired::VolumeKept { volume } => {
            format!("Kept volume {volume}, which is damaged: save its files and remove it, or use --force\n")
        }
        Repaired::ContainerStopped { container } => format!("Stopped container {container}\n"),
        Repaired::ContainerRemoved { container } => format!("Removed container {container}\n"),
        Repaired::ContainerKept { container } => {
            format!("Kept container {container}, which is damaged: remove it, or use --force\n")
        }
    }
}
