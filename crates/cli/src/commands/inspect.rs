//! `inspect`

use clap::Parser;
use serde_json::Value;

use super::pull::short_names;
use super::{inspect_container, inspect_image};
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, execute, print};

/// Display the configuration of containers and images
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print as json, or with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Look only for this type: container, image or all
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "all")]
    kind: String,
    /// Accepted for compatibility: sizes are not shown
    #[arg(short, long)]
    size: bool,
    /// Containers and images
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if !["all", "container", "image"].contains(&flags.kind.as_str()) {
        return Err(Error::Invalid(format!(
            "invalid value {:?} for --type: use container, image or all",
            flags.kind
        )));
    }
    let mut documents = Vec::new();
    let mut status = 0;
    for name in &flags.names {
        match document(globals, flags, name) {
            Ok(document) => documents.push(document),
            Err(error) => {
                status = error.status(crate::error::ENGINE);
                complain(&format!("Error: {}", one_line(&error)));
            }
        }
    }
    match flags.format.as_deref() {
        None | Some("json") => print(&format!("{:#}\n", Value::from(documents)))?,
        Some(template) => {
            for document in &documents {
                print(&(execute(template, document)? + "\n"))?;
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Error::Shown { status }) }
}

fn document(globals: &Globals, flags: &Flags, name: &str) -> Result<Value, Error> {
    let engine = globals.engine()?;
    if flags.kind != "image" {
        match engine.container(name) {
            Ok(container) => return Ok(inspect_container::document(globals.persona, &container)),
            Err(loment_engine::Error::NoContainer { .. }) if flags.kind == "all" => {}
            Err(e) => return Err(e.into()),
        }
    }
    match engine.find_image(name, &short_names(globals)?) {
        Ok((id, _)) => inspect_image::document(globals.persona, &engine, &id),
        Err(loment_engine::Error::NoImage { .. }) if flags.kind == "all" => Err(Error::Invalid(format!(
            "no such object: {name:?}: there is no container and no image of that name"
        ))),
        Err(e) => Err(e.into()),
    }
}
