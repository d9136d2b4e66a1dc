//! `version`

use clap::Parser;
use serde_json::json;

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{execute, print};
use crate::persona::Persona;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Display version information
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print as json, or with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What `--version` prints.
pub(super) fn line(persona: &Persona) -> String {
    format!("{} version {VERSION}\n", persona.name)
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let arch = loment_image::Platform::host();
    let platform = format!("{}/{}", arch.os, arch.architecture);
    let client = json!({
        "Version": VERSION, "APIVersion": VERSION, "Os": arch.os, "Arch": arch.architecture, "OsArch": platform,
        "OCIVersion": "1.3.0",
    });
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", json!({"Client": client})),
        Some(template) => execute(template, &json!({"Client": client, "Server": client}))? + "\n",
        None => format!(
            "Client:       loment ({})\nVersion:      {VERSION}\nOCI Version:  1.3.0\nOS/Arch:      {platform}\n",
            globals.persona.name
        ),
    };
    print(&text)?;
    Ok(0)
}
