//! `inspect`

use clap::{Args, Parser, ValueEnum};
use loment_image::Platform;
use serde_json::Value;

use super::pull::short_names;
use super::remote::InspectFlags;
use super::{inspect_container, inspect_image};
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, execute, print, unescaped};

/// Display the configuration of containers, images, volumes and pods
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Look only for this type
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "all")]
    kind: Kind,
    /// Accepted for compatibility: sizes are not shown
    #[arg(short, long)]
    size: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Display the configuration of containers
#[derive(Parser, Debug)]
pub(super) struct ContainerFlags {
    /// Accepted for compatibility: sizes are not shown
    #[arg(short, long)]
    size: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Display the configuration of images
///
/// Those of places such as docker://NAME, oci:DIR[:NAME] and dir:DIR are shown as they are there.
#[derive(Parser, Debug)]
pub(super) struct ImageFlags {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    there: InspectFlags,
}

#[derive(Args, Debug)]
struct Asked {
    /// Print as json, or with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// What to display
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    All,
    Container,
    Image,
    Pod,
    Volume,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    match flags.latest {
        true => show_latest(globals, &flags.asked),
        false => show(globals, flags.kind, None, &flags.asked, &flags.asked.names),
    }
}

pub(super) fn run_containers(globals: &Globals, flags: &ContainerFlags) -> Result<u8, Error> {
    match flags.latest {
        true => show_latest(globals, &flags.asked),
        false => show(globals, Kind::Container, None, &flags.asked, &flags.asked.names),
    }
}

pub(super) fn run_images(globals: &Globals, flags: &ImageFlags) -> Result<u8, Error> {
    let mut places = Vec::new();
    for name in &flags.asked.names {
        places.extend(flags.there.place(globals, name)?);
    }
    if places.is_empty() {
        let platform = flags.there.platform()?;
        return show(globals, Kind::Image, platform.as_ref(), &flags.asked, &flags.asked.names);
    }
    if places.len() < flags.asked.names.len() {
        return Err(Error::Invalid(
            "images here and in other places are not shown together: ask twice".into(),
        ));
    }
    for place in &places {
        flags.there.show(globals, place, flags.asked.format.as_deref())?;
    }
    Ok(0)
}

fn show_latest(globals: &Globals, flags: &Asked) -> Result<u8, Error> {
    if !flags.names.is_empty() {
        return Err(Error::Invalid("--latest and arguments cannot be used together".into()));
    }
    let id = super::choose::latest(&globals.engine()?)?;
    show(globals, Kind::Container, None, flags, &[id])
}

fn show(
    globals: &Globals,
    kind: Kind,
    platform: Option<&Platform>,
    flags: &Asked,
    names: &[String],
) -> Result<u8, Error> {
    if names.is_empty() {
        return Err(Error::Invalid("no names or ids specified".into()));
    }
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    let template = flags.format.as_deref().filter(|format| *format != "json");
    for name in names {
        match document(globals, (kind, platform), name, template.is_none()) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(error),
        }
    }
    match template {
        None => print(&format!("{:#}\n", Value::from(documents)))?,
        Some(template) => {
            let template = &match globals.persona.docker_documents {
                true => template.to_owned(),
                false => unescaped(template),
            };
            for document in &documents {
                print(&(execute(template, &named_as_in_go(document))? + "\n"))?;
            }
        }
    }
    // After what there is, as with Podman.
    for error in &errors {
        complain(&format!("Error: {}", one_line(error)));
    }
    match errors.last() {
        None => Ok(0),
        Some(error) => Err(Error::Shown { status: error.status(crate::error::ENGINE) }),
    }
}

/// Templates may name a field as json does, or as the peers' programs do.
fn named_as_in_go(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(fields) = document.as_object_mut()
        && let Some(id) = fields.get("Id").cloned()
    {
        fields.insert("ID".to_owned(), id);
        if fields.contains_key("HostConfig") {
            inspect_container::name_as_in_go(&mut document);
        }
    }
    document
}

/// What there is of that name; as `json`, without what json leaves out.
fn document(
    globals: &Globals,
    (kind, platform): (Kind, Option<&Platform>),
    name: &str,
    json: bool,
) -> Result<Value, Error> {
    let engine = globals.engine()?;
    let volume = || {
        let document = super::volume::find(globals, &engine, name)?;
        Ok(if json { document } else { super::volume::full(document) })
    };
    if kind == Kind::Volume {
        return volume();
    }
    let pod = || {
        let document = super::pod::document(globals, &engine, name)?;
        Ok(if json { document } else { super::pod::inspect::named_as_in_go(document) })
    };
    if kind == Kind::Pod {
        return pod();
    }
    if kind != Kind::Image {
        match engine.container(name) {
            Ok(container) => return Ok(inspect_container::document(globals.persona, &container)),
            Err(loment_engine::Error::NoContainer { .. }) if kind == Kind::All => {}
            // The words are Podman's, here and below.
            Err(loment_engine::Error::NoContainer { .. }) => {
                return Err(Error::Invalid(format!("no such container {name:?}")));
            }
            Err(e) => return Err(e.into()),
        }
    }
    match engine.find_image_on(name, &short_names(globals)?, platform) {
        Ok((id, _)) => {
            let document = inspect_image::document(globals.persona, &engine, &id)?;
            Ok(if json { inspect_image::without_nothing(document) } else { document })
        }
        Err(loment_engine::Error::NoImage { .. }) if kind == Kind::All => {
            volume().or_else(|_| pod()).map_err(|_| Error::Invalid(format!("no such object: {name:?}")))
        }
        Err(e) => Err(e.into()),
    }
}
