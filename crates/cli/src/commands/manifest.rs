//! `manifest`: lists of images for several platforms.

use std::path::PathBuf;

use clap::{Args, Parser};
use loment_engine::{Access, Described, ImageList, Side, raw_manifest};
use loment_image::{Compression, Format, Images, Place, Platform, PushOptions};
use serde_json::Value;

use super::access::{AccessFlags, access};
use super::manifest_artifact::ArtifactFlags;
use super::progress::Bars;
use super::pull::short_names;
use super::signing::SigningFlags;
use super::{manifest_verbose, remove_each, swept};
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Make a list of images for several platforms
#[derive(Parser, Debug)]
pub(super) struct Create {
    /// Add all images of those that are lists
    #[arg(long)]
    all: bool,
    /// Change the list if there is one of that name
    #[arg(short, long)]
    amend: bool,
    /// Set an annotation of the list
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    insecure: InsecureFlag,
    /// Name of the list
    #[arg(value_name = "LIST")]
    list: String,
    /// Images to add
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// Add images, or an artifact, to a list
#[derive(Parser, Debug)]
pub(super) struct Add {
    /// Add all images of those that are lists
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    described: DescribedFlags,
    #[command(flatten)]
    artifact: ArtifactFlags,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    insecure: InsecureFlag,
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// Images, of local storage or docker://NAME; or the files of an artifact, which stay where they are until the list is pushed
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Change what a list says of an image
#[derive(Parser, Debug)]
pub(super) struct Annotate {
    #[command(flatten)]
    described: DescribedFlags,
    /// Annotate the list itself
    #[arg(long)]
    index: bool,
    /// Say that the list is about this image or list
    #[arg(long, value_name = "IMAGE")]
    subject: Option<String>,
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// The image, its digest, or a file of the artifact
    #[arg(value_name = "IMAGE", required_unless_present = "index", conflicts_with = "index")]
    image: Option<String>,
}

/// What is said of an image, instead of what it says itself.
#[derive(Args, Debug)]
struct DescribedFlags {
    /// Set an annotation of the image's entry
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// Say that it is for this architecture
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Say that it needs these features of the processor
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,
    /// Say that it is for this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Say that it needs these features of the operating system
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Say that it needs this version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Say that it is for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

/// Docker's word.
#[derive(Args, Debug)]
struct InsecureFlag {
    /// The same as --tls-verify=false
    #[arg(long, conflicts_with = "tls_verify")]
    insecure: bool,
}

impl InsecureFlag {
    fn access(&self, globals: &Globals, flags: &AccessFlags) -> Result<Access, Error> {
        let mut access = flags.access(globals)?;
        if self.insecure {
            access.tls_verify = Some(false);
        }
        Ok(access)
    }
}

/// Display a list, or a manifest of a registry
#[derive(Parser, Debug)]
pub(super) struct Inspect {
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    insecure: InsecureFlag,
    /// Show each image with its manifest, as Docker does
    #[arg(short, long)]
    verbose: bool,
    /// The list, or an image of a registry
    #[arg(value_name = "LIST")]
    list: String,
}

/// Push a list and its images
#[derive(Parser, Debug)]
pub(super) struct Push {
    /// Push its images, too
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    all: bool,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    insecure: InsecureFlag,
    #[command(flatten)]
    signing: SigningFlags,
    /// Push each image once more with this compression, gzip or zstd, unless one for its platform has it
    #[arg(long, value_name = "COMPRESSION", value_delimiter = ',')]
    add_compression: Vec<Compression>,
    /// Compress layers that are missing there: gzip or zstd
    #[arg(long, value_name = "COMPRESSION", default_value = "gzip")]
    compression_format: Compression,
    /// Compress that much: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,
    /// Send layers in --compression-format even if they are there in another
    #[arg(long)]
    force_compression: bool,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Write the list in this format: oci, or v2s2 for Docker's [default: oci]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for compatibility: signatures are not sent
    #[arg(long)]
    remove_signatures: bool,
    /// Remove the list from local storage when it has been pushed
    #[arg(long, visible_alias = "purge", short_alias = 'p')]
    rm: bool,
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// Where it is to be: a name, or docker://NAME, oci:DIR[:NAME], dir:DIR [default: its name]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

/// Take an image off a list
#[derive(Parser, Debug)]
pub(super) struct Remove {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
    /// The image, or its digest
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Remove lists from local storage
#[derive(Parser, Debug)]
pub(super) struct Rm {
    /// Skip lists that do not exist
    #[arg(short, long)]
    ignore: bool,
    /// Lists
    #[arg(value_name = "LIST", required = true)]
    lists: Vec<String>,
}

/// Check whether there is a list of that name: status 0 if there is, 1 if not
#[derive(Parser, Debug)]
pub(super) struct Exists {
    /// The list
    #[arg(value_name = "LIST")]
    list: String,
}

/// `NAME=VALUE`, once or more, with commas between.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("use NAME=VALUE")?;
    if name.is_empty() { Err("use NAME=VALUE".into()) } else { Ok((name.to_owned(), value.to_owned())) }
}

impl DescribedFlags {
    fn described(&self) -> Described {
        Described {
            os: self.os.clone(),
            architecture: self.arch.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            annotations: self.annotation.clone(),
        }
    }

    /// Which image of an index is meant.
    fn platform(&self) -> Platform {
        let host = Platform::host();
        Platform {
            os: self.os.clone().unwrap_or(host.os),
            architecture: self.arch.clone().unwrap_or(host.architecture),
            variant: self.variant.clone(),
        }
    }
}

pub(super) fn run_create(globals: &Globals, flags: &Create) -> Result<u8, Error> {
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let mut list = engine.create_list(&flags.list, flags.amend, &flags.annotation, &short_names)?;
    let images = if flags.all { Images::All } else { Images::One(Platform::host()) };
    let (access, described) = (flags.insecure.access(globals, &flags.access)?, Described::default());
    for image in &flags.images {
        list = engine.add_to_list(&list, image, &images, &described, &access, &short_names)?;
    }
    print(&format!("{}\n", list.id()))?;
    Ok(0)
}

pub(super) fn run_add(globals: &Globals, flags: &Add) -> Result<u8, Error> {
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let mut list = engine.find_list(&flags.list, &short_names)?;
    let images = if flags.all { Images::All } else { Images::One(flags.described.platform()) };
    let (access, described) = (flags.insecure.access(globals, &flags.access)?, flags.described.described());
    if flags.artifact.artifact {
        let artifact = flags.artifact.artifact(&flags.images)?;
        list = engine.add_artifact(&list, &artifact, &described, &access, &short_names)?;
        return print(&format!("{}\n", list.id())).map(|()| 0);
    }
    for image in &flags.images {
        list = engine.add_to_list(&list, image, &images, &described, &access, &short_names)?;
    }
    print(&format!("{}\n", list.id()))?;
    Ok(0)
}

pub(super) fn run_annotate(globals: &Globals, flags: &Annotate) -> Result<u8, Error> {
    if flags.subject.is_some() && !flags.index {
        return Err(Error::Invalid("--subject is about the list itself: use it with --index".into()));
    }
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let list = engine.find_list(&flags.list, &short_names)?;
    let described = flags.described.described();
    let mut list = engine.annotate_list(&list, flags.image.as_deref(), &described, &short_names)?;
    if let Some(subject) = &flags.subject {
        let access = access(None, None, None, globals.chosen.clone())?;
        list = engine.refer_to(&list, subject, &access, &short_names)?;
    }
    print(&format!("{}\n", list.id()))?;
    Ok(0)
}

pub(super) fn run_remove(globals: &Globals, flags: &Remove) -> Result<u8, Error> {
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let list = engine.find_list(&flags.list, &short_names)?;
    let list = engine.remove_from_list(&list, &flags.image, &short_names)?;
    print(&format!("{}\n", list.id()))?;
    Ok(0)
}

pub(super) fn run_rm(globals: &Globals, flags: &Rm) -> Result<u8, Error> {
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let result = remove_each(&flags.lists, |name| match engine.find_list(name, &short_names) {
        Err(loment_engine::Error::NoImage { .. }) if flags.ignore => Ok(()),
        list => show_removed(&engine, &list?, name),
    });
    swept(&engine, result)
}

fn show_removed(engine: &loment_engine::Engine, list: &ImageList, name: &str) -> Result<(), Error> {
    let by_id = list.id().starts_with(name.trim_start_matches("sha256:"));
    let (names, id) = engine.remove_list(list, by_id)?;
    names.iter().try_for_each(|name| print(&format!("Untagged: {name}\n")))?;
    id.map_or(Ok(()), |id| print(&format!("Deleted: {id}\n")))
}

pub(super) fn run_exists(globals: &Globals, flags: &Exists) -> Result<u8, Error> {
    match globals.engine()?.find_list(&flags.list, &short_names(globals)?) {
        Ok(_) => Ok(0),
        Err(loment_engine::Error::NoImage { .. }) => Ok(1),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn run_inspect(globals: &Globals, flags: &Inspect) -> Result<u8, Error> {
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let access = flags.insecure.access(globals, &flags.access)?;
    let document = match engine.find_list(&flags.list, &short_names) {
        Ok(list) if flags.verbose => manifest_verbose::of_list(globals, &engine, &list, &access)?,
        Ok(list) => list.document,
        Err(loment_engine::Error::NoImage { .. }) => {
            let place = place(&flags.list)?;
            if flags.verbose {
                let shown = manifest_verbose::of_place(globals, &place, &access)?;
                return print(&format!("{shown:#}\n")).map(|()| 0);
            }
            let raw = raw_manifest(Side::new(&place, &access), None, &globals.temporary())?;
            let malformed = |e| Error::Invalid(format!("manifest {}: {e}", raw.digest));
            serde_json::from_slice::<Value>(&raw.bytes).map_err(malformed)?
        }
        Err(error) => return Err(error.into()),
    };
    print(&format!("{document:#}\n"))?;
    Ok(0)
}

/// A place; a name without a transport is one of a registry.
pub(super) fn place(name: &str) -> Result<Place, Error> {
    let invalid = |e: &dyn std::error::Error| Error::Invalid(e.to_string());
    match Place::parse_if_any(name).map_err(|e| invalid(&e))? {
        Some(place) => Ok(place),
        None => Ok(Place::Registry(name.parse().map_err(|e| invalid(&e))?)),
    }
}

pub(super) fn run_push(globals: &Globals, flags: &Push) -> Result<u8, Error> {
    flags.signing.check()?;
    let (engine, short_names) = (globals.engine()?, short_names(globals)?);
    let list = engine.find_list(&flags.list, &short_names)?;
    let Some(destination) = flags.destination.as_deref().or(list.name.reference()) else {
        let message = format!("list {:?} has no name to push it to: give a DESTINATION", flags.list);
        return Err(Error::Invalid(message));
    };
    let place = place(destination)?;
    let options = PushOptions {
        format: flags.format,
        compression: flags.compression_format,
        level: flags.compression_level,
        force_compression: flags.force_compression,
        ..PushOptions::default()
    };
    let mut bars = Bars::new(flags.quiet);
    let access = flags.insecure.access(globals, &flags.access)?;
    let to = Side::new(&place, &access);
    let pushed = engine.push_list(&list, to, &options, (flags.all, &flags.add_compression), &mut bars)?;
    if let Some(file) = &flags.digestfile {
        std::fs::write(file, pushed.digest.as_ref()).doing(|| format!("write {}", file.display()))?;
    }
    if flags.rm {
        show_removed(&engine, &list, &flags.list)?;
    }
    Ok(0)
}
