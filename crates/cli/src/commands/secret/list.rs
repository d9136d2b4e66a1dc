//! `secret ls`

use clap::Parser;
use loment_engine::{SecretFilters, StoredSecret};
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, complain, print, table};
use crate::units::ago;

/// List secrets
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show only those with this driver, id, label or name
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

pub(in crate::commands) const HEADERS: [(&str, &str); 6] = [
    ("ID", "ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("CreatedAt", "CREATED"),
    ("UpdatedAt", "UPDATED"),
    ("Labels", "LABELS"),
];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let filters = SecretFilters::parse(&flags.filter)?;
    let mut secrets = globals.engine()?.secrets()?;
    secrets.retain(|secret| filters.keep(secret));
    for secret in &secrets {
        if let Some(problem) = &secret.problem {
            complain(&format!("Warning: secret {}: {problem}", secret.name));
        }
    }
    let text = match flags.format.as_deref() {
        // Of one that cannot be read there is none.
        None if flags.quiet => {
            let ids = secrets.iter().map(|secret| &secret.id).filter(|id| !id.is_empty());
            ids.map(|id| format!("{id}\n")).collect()
        }
        None => {
            let head =
                (!flags.noheading).then(|| HEADERS[..5].iter().map(|(_, head)| (*head).to_owned()).collect());
            let cells = |secret: &StoredSecret| {
                let (created, updated) = (ago(&secret.created), ago(&secret.updated));
                vec![secret.id.clone(), secret.name.clone(), secret.driver.clone(), created, updated]
            };
            table(&head.into_iter().chain(secrets.iter().map(cells)).collect::<Vec<_>>())?
        }
        Some("json") if globals.persona.docker_documents => {
            secrets.iter().map(|secret| format!("{}\n", row(secret))).collect()
        }
        Some("json") => format!("{:#}\n", secrets.iter().map(row).collect::<Value>()),
        Some(template) => by_template(template, &HEADERS, &secrets.iter().map(row).collect::<Vec<_>>())?,
    };
    print(&text).map(|()| 0)
}

fn row(secret: &StoredSecret) -> Value {
    let labels: Vec<_> = secret.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "ID": secret.id, "Name": secret.name, "Driver": secret.driver, "CreatedAt": ago(&secret.created),
        "UpdatedAt": ago(&secret.updated), "Labels": labels.join(","),
    })
}
