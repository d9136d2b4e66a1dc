//! `secret inspect`

use clap::Parser;
use loment_engine::{SecretData, StoredSecret};
use serde_json::{Value, json};

use crate::error::{ENGINE, Error, one_line};
use crate::globals::Globals;
use crate::output::{complain, execute, indented, print};
use crate::secret_programs::Programs;

/// Display what secrets are
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print with a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print for people
    #[arg(long)]
    pretty: bool,
    /// Display the secrets themselves, too
    #[arg(long)]
    showsecret: bool,
    /// Secrets: names or ids
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let find = |name: &str| -> Result<_, Error> {
        Ok(match flags.showsecret {
            true => engine.secret_with_data(name, &Programs).map(|(secret, data)| (secret, Some(data)))?,
            false => (engine.secret(name)?, None),
        })
    };
    let (mut found, mut status) = (Vec::new(), 0);
    for name in &flags.secrets {
        match find(name) {
            Ok(one) => found.push(one),
            Err(error) => {
                status = error.status(ENGINE);
                complain(&format!("Error: inspecting secret: {}", one_line(&error)));
            }
        }
    }
    let documents = found.iter().map(|(secret, data)| document(secret, data.as_ref()));
    match flags.format.as_deref().filter(|format| *format != "json") {
        _ if flags.pretty => {
            found.iter().try_for_each(|(secret, data)| print(&pretty(secret, data.as_ref())))?
        }
        None => print(&indented(&documents.collect()))?,
        Some(template) => {
            for mut document in documents {
                // Every field that a template may name.
                if document.get("SecretData").is_none() {
                    document["SecretData"] = "".into();
                }
                print(&(execute(template, &document)? + "\n"))?;
            }
        }
    }
    if status == 0 { Ok(0) } else { Err(Error::Shown { status }) }
}

/// A secret as Podman and Docker show it.
fn document(secret: &StoredSecret, data: Option<&SecretData>) -> Value {
    let mut document = json!({
        "ID": secret.id, "CreatedAt": secret.created, "UpdatedAt": secret.updated,
        "Spec": {
            "Name": secret.name,
            "Driver": {"Name": secret.driver, "Options": secret.options},
            "Labels": secret.labels,
        },
    });
    if let Some(data) = data {
        document["SecretData"] = text(data).into();
    }
    document
}

fn text(data: &SecretData) -> String {
    String::from_utf8_lossy(&data.0).into_owned()
}

/// The lines that Podman and Docker print.
fn pretty(secret: &StoredSecret, data: Option<&SecretData>) -> String {
    let line = |label: &str, value: &str| format!("{label:<18} {value}\n");
    let mut out = line("ID:", &secret.id) + &line("Name:", &secret.name);
    if !secret.labels.is_empty() {
        out += "Labels:\n";
        for (key, value) in &secret.labels {
            out += &format!(" - {key}{}{value}\n", if value.is_empty() { "" } else { "=" });
        }
    }
    out += &line("Driver:", &secret.driver);
    out += &line("Created at:", &secret.created);
    out += &line("Updated at:", &secret.updated);
    out + &data.map(|data| line("Secret:", &text(data))).unwrap_or_default()
}
