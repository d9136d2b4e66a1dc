//! `save`

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Parser;
use loment_engine::{Engine, SaveFormat, SaveTo, Saved};
use loment_image::{Compression, Platform, PushOptions, Reference, ShortNames};

use super::progress::Bars;
use super::pull::{platform, short_names};
use crate::containers_conf::{self, ENGINE};
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// Save images to an archive or a directory
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Compress layers of a docker-dir
    #[arg(long)]
    compress: bool,
    /// Save as docker-archive, oci-archive, oci-dir or docker-dir
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive", value_parser = format)]
    format: SaveFormat,
    /// Take all arguments for images, not all but the first for further names of it
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    multi_image_archive: Option<bool>,
    /// Write to this file or directory [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save the image for this platform, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave layers of an oci-archive or oci-dir uncompressed
    #[arg(long)]
    uncompressed: bool,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

fn format(name: &str) -> Result<SaveFormat, String> {
    let names = SaveFormat::ALL.map(SaveFormat::name).join(" ");
    SaveFormat::ALL
        .into_iter()
        .find(|format| format.name() == name)
        .ok_or_else(|| format!("format value must be one of {names}"))
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let docker = globals.persona.docker_documents;
    if flags.compress && flags.format != SaveFormat::DockerDir {
        return Err(Error::Invalid("--compress can only be set when --format is 'docker-dir'".into()));
    }
    let wanted = flags.platform.as_deref().map(platform).transpose()?;
    let to = match &flags.output {
        Some(path) => SaveTo::Path(path.clone()),
        None if !flags.format.is_archive() => {
            let name = flags.format.name();
            return Err(Error::Invalid(format!("format {name} is a directory: say which with --output")));
        }
        None if std::io::stdout().is_terminal() => {
            let words = if docker {
                "cowardly refusing to save to a terminal"
            } else {
                "refusing to save to terminal"
            };
            return Err(Error::Invalid(format!("{words}. Use the -o flag or redirect")));
        }
        None => {
            let out = std::io::stdout().as_fd().try_clone_to_owned();
            SaveTo::Stream(Box::new(File::from(out.doing(|| "use standard output".into())?)))
        }
    };
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    let several = match flags.multi_image_archive {
        Some(asked) => asked,
        None => containers_conf::read()?.switch(ENGINE, "multi_image_archive")?.unwrap_or(false),
    };
    let mut images = if docker || several {
        let mut images = Vec::new();
        for image in &flags.images {
            images.extend(meant(&engine, &short_names, (image, wanted.as_ref()), docker)?);
        }
        images
    } else {
        let mut first = meant(&engine, &short_names, (&flags.images[0], wanted.as_ref()), docker)?;
        for name in &flags.images[1..] {
            first[0].names.push(engine.full_name(name, &short_names)?);
        }
        first
    };
    images.iter_mut().for_each(|saved| saved.platform.clone_from(&wanted));
    let compression = match flags.format {
        SaveFormat::DockerArchive => Compression::None,
        SaveFormat::DockerDir if !flags.compress => Compression::None,
        SaveFormat::OciArchive | SaveFormat::OciDir if flags.uncompressed => Compression::None,
        _ => Compression::Gzip,
    };
    let options = PushOptions { compression, force_compression: true, ..PushOptions::default() };
    let mut bars = Bars::new(flags.quiet || docker || flags.output.is_none());
    engine.save_images(&images, flags.format, (to, docker), &short_names, &options, &mut bars)?;
    Ok(0)
}

/// What an argument means: an image by its name, which it keeps, or by its id, which gives it none. Docker means all tags of a
/// repository by its bare name.
fn meant(
    engine: &Engine,
    short_names: &ShortNames,
    (image, platform): (&str, Option<&Platform>),
    docker: bool,
) -> Result<Vec<Saved>, Error> {
    if docker && let Some(all) = all_tags(engine, image)? {
        return Ok(all);
    }
    let (id, name) = engine.find_image_on(image, short_names, platform)?;
    let by_id = id.hex().starts_with(image.strip_prefix("sha256:").unwrap_or(image));
    let reference = name.parse::<Reference>().ok().filter(|name| !by_id && name.digest().is_none());
    let shown = |name: Reference| if docker { name.familiar() } else { name.store_name() };
    let names = reference.map(shown).into_iter().collect();
    Ok(vec![Saved { image: image.to_owned(), names, platform: None }])
}

/// The images of a repository; `None` when `repository` is none.
fn all_tags(engine: &Engine, repository: &str) -> Result<Option<Vec<Saved>>, Error> {
    let typed = repository.parse::<Reference>().ok();
    let Some(typed) = typed.filter(|typed| typed.tag().is_none() && typed.digest().is_none()) else {
        return Ok(None);
    };
    let all = engine.store().images().map_err(loment_engine::Error::from)?;
    let names =
        all.iter().flat_map(|image| &image.names).filter_map(|name| name.name.parse::<Reference>().ok());
    let same = names.filter(|known| known.name() == typed.name() && known.digest().is_none());
    let saved =
        same.map(|name| Saved { image: name.store_name(), names: vec![name.familiar()], platform: None });
    let mut saved: Vec<_> = saved.collect();
    saved.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(Some(saved).filter(|saved| !saved.is_empty()))
}
