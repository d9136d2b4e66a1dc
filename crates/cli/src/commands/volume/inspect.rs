//! `volume inspect`

use clap::Parser;
use loment_engine::Engine;
use serde_json::Value;

use super::{document, exact, full};
use crate::error::{ENGINE, Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, execute, print};

/// Display what volumes are
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Display all volumes
    #[arg(short, long)]
    all: bool,
    /// Print as json, or with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Volumes
    #[arg(value_name = "VOLUME", conflicts_with = "all", required_unless_present = "all")]
    volumes: Vec<String>,
}

/// The document of a volume.
pub(in crate::commands) fn find(globals: &Globals, engine: &Engine, name: &str) -> Result<Value, Error> {
    exact(globals, engine, name)?;
    Ok(document(globals, engine, &engine.volume(name)?))
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = match flags.all {
        true => engine.volumes()?.into_iter().map(|volume| volume.name).collect(),
        false => flags.volumes.clone(),
    };
    let (mut documents, mut status) = (Vec::new(), 0);
    for name in &names {
        match find(globals, &engine, name) {
            Ok(document) => documents.push(document),
            Err(error) => {
                status = error.status(ENGINE);
                complain(&format!("Error: {}", one_line(&error)));
            }
        }
    }
    match flags.format.as_deref().filter(|format| *format != "json") {
        None => print(&format!("{:#}\n", Value::from(documents)))?,
        Some(template) => {
            for document in documents {
                print(&(execute(template, &full(document))? + "\n"))?;
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Error::Shown { status }) }
}
