//! `push`

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use loment_engine::{Again, Engine, Side};
use loment_image::{Compression, Copied, Format, Place, Platform, PushOptions, Reference, ShortNames};

use super::access::AccessFlags;
use super::for_each;
use super::progress::Bars;
use super::pull::{platform, short_names, tell_again};
use super::signing::SigningFlags;
use crate::ecosystem;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::complain;

/// Push an image to a registry, an archive or a directory
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    signing: SigningFlags,
    /// Push an index with all its images, which must be in the store [default: the image for this machine]
    #[arg(long)]
    all: bool,
    /// Push all tags of a repository
    #[arg(short, long, conflicts_with_all = ["destination", "digestfile"])]
    all_tags: bool,
    /// Compress layers of a dir: destination, which is done in any case
    #[arg(long)]
    compress: bool,
    /// Compress layers that are missing there: gzip or zstd [default: what containers.conf says, or gzip]
    #[arg(long, value_name = "COMPRESSION")]
    compression_format: Option<Compression>,
    /// Compress that much: 1 to 9 for gzip, 1 to 20 for zstd [default: what containers.conf says]
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,
    /// Send layers in --compression-format even if they are there in another
    #[arg(long)]
    force_compression: bool,
    /// Accepted for compatibility: there is no other trust than digests
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    disable_content_trust: Option<bool>,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Write the manifest in this format: oci, or v2s2 for Docker's [default: the one it has]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Of a list, push the image for this platform, such as linux/arm64/v8; another image must be for it
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for compatibility: signatures are not sent
    #[arg(long)]
    remove_signatures: bool,
    /// Try that often again after a failure [default: of containers.conf, or 3]
    #[arg(long, value_name = "TIMES")]
    retry: Option<u32>,
    /// Wait that long before each of them, such as 5s [default: of containers.conf, or 2s, then twice as long each time]
    #[arg(long, value_name = "TIME", value_parser = crate::units::delay)]
    retry_delay: Option<Duration>,
    /// The image in the store
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where it is to be: a name, or a place as image copy has them [default: its name]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.signing.check()?;
    let wanted = flags.platform.as_deref().map(platform).transpose()?;
    let engine = globals.engine()?;
    let short_names = short_names(globals)?;
    if flags.all_tags {
        let names = engine.tags_of(&flags.image, &short_names)?;
        return for_each(&names, |name| {
            if !flags.quiet {
                complain(&format!("Pushing {name}..."));
            }
            push(globals, (&engine, &short_names), flags, name, wanted.as_ref()).map(drop)
        });
    }
    let pushed = push(globals, (&engine, &short_names), flags, &flags.image, wanted.as_ref())?;
    if let Some(file) = &flags.digestfile {
        std::fs::write(file, pushed.digest.as_ref()).doing(|| format!("write {}", file.display()))?;
    }
    Ok(0)
}

/// Pushes one image, as often as may be tried.
fn push(
    globals: &Globals,
    (engine, short_names): (&Engine, &ShortNames),
    flags: &Flags,
    image: &str,
    platform: Option<&Platform>,
) -> Result<Copied, Error> {
    let destination = flags.destination.as_deref().unwrap_or(image);
    let invalid = |e: &dyn std::error::Error| Error::Invalid(e.to_string());
    let place = match Place::parse_if_any(destination).map_err(|e| invalid(&e))? {
        Some(place) => place,
        None if flags.destination.is_none() => Place::Registry(own_name(engine, image, short_names)?),
        None => Place::Registry(destination.parse().map_err(|e| invalid(&e))?),
    };
    if flags.compress && !matches!(place, Place::Dir(_)) {
        return Err(Error::Invalid(format!(
            "--compress can only be set for dir: destinations, not for {place}"
        )));
    }
    if platform.is_some() {
        engine.find_image_on(image, short_names, platform)?;
    }
    let (options, again) = options(flags)?;
    let access = flags.access.access(globals)?;
    let pushed = again.run(tell_again, || {
        let mut bars = Bars::new(flags.quiet);
        let to = Side::new(&place, &access);
        match flags.all {
            true => engine.push_all(image, short_names, to, &options, true, &mut bars),
            false => engine.push(image, platform, short_names, to, &options, &mut bars),
        }
    });
    Ok(pushed?)
}

/// How it is sent, and how that is tried again, as flags and containers.conf say.
fn options(flags: &Flags) -> Result<(PushOptions, Again), Error> {
    let (defaults, transfers) = ecosystem::transfers()?;
    let compression = flags.compression_format.or(defaults.format).unwrap_or(Compression::Gzip);
    // A configured level is one of the configured compression.
    let configured = defaults.level.filter(|_| compression == defaults.format.unwrap_or(Compression::Gzip));
    check_level("--compression-level", flags.compression_level, compression)?;
    check_level("compression_level of containers.conf", configured, compression)?;
    let options = PushOptions {
        format: flags.format,
        compression,
        level: flags.compression_level.or(configured),
        force_compression: flags.force_compression,
        parallel: transfers.parallel.unwrap_or(PushOptions::default().parallel),
        ..PushOptions::default()
    };
    let again = Again { times: flags.retry, delay: flags.retry_delay };
    Ok((options, again.or(transfers.again)))
}

/// The name that was meant, with its registry.
fn own_name(engine: &Engine, image: &str, short_names: &ShortNames) -> Result<Reference, Error> {
    let nameless =
        |name: &str| Error::Invalid(format!("image {name:?} has no name to push it to: give a DESTINATION"));
    let name = match engine.find_list(image, short_names) {
        Ok(list) => list.name.reference().ok_or_else(|| nameless(image))?.to_owned(),
        Err(loment_engine::Error::NoImage { .. }) => {
            let (_, name) = engine.find_image(image, short_names)?;
            let named = engine.store().name(&name).map_err(loment_engine::Error::from)?;
            named.ok_or_else(|| nameless(&name))?.name
        }
        Err(error) => return Err(error.into()),
    };
    name.parse().map_err(|e: loment_image::ReferenceError| Error::Invalid(e.to_string()))
}

/// Refuses levels that the compression has not.
pub(super) fn check_level(flag: &str, level: Option<i32>, compression: Compression) -> Result<(), Error> {
    let (levels, _) = compression.levels();
    let Some(level) = level.filter(|level| !levels.contains(level)) else { return Ok(()) };
    let (first, last) = (levels.start(), levels.end());
    Err(Error::Invalid(format!("invalid value {level} for {flag}: use {first} to {last}")))
}
