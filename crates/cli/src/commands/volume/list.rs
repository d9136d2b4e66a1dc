//! `volume ls`

use clap::Parser;
use loment_engine::StoredVolume;
use serde_json::{Value, json};

use super::{document, full};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{Listing, complain, print, table};
use crate::template::{LABELS, joined};

/// List volumes
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show only those with this after, anonymous, dangling, driver, label, label!, name, opt, scope, since or until
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

pub(in crate::commands) const HEADERS: [(&str, &str); 20] = [
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Anonymous", "ANONYMOUS"),
    ("Availability", "AVAILABILITY"),
    ("CreatedAt", "CREATED AT"),
    ("GID", "GID"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("MountCount", "MOUNT COUNT"),
    ("Mountpoint", "MOUNTPOINT"),
    ("NeedsChown", "NEEDS CHOWN"),
    ("NeedsCopyUp", "NEEDS COPY UP"),
    ("Options", "OPTIONS"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
    ("StorageID", "STORAGE ID"),
    ("Timeout", "TIMEOUT"),
    ("UID", "UID"),
];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if flags.quiet && flags.format.is_some() {
        return Err(Error::Invalid("--quiet and --format cannot be used together".into()));
    }
    let engine = globals.engine()?;
    let filters = engine.volume_filters(&flags.filter)?;
    let mut volumes = engine.volumes()?;
    volumes.retain(|volume| filters.keep(volume, !engine.users_of_volume(&volume.name).is_empty()));
    for volume in &volumes {
        if let Some(problem) = &volume.problem {
            complain(&format!("Warning: volume {}: {problem}", volume.name));
        }
    }
    let docker = globals.persona.docker_documents;
    let row = |volume: &StoredVolume| match docker {
        true => line_of_docker(volume),
        false => {
            let mut document = full(document(globals, &engine, volume));
            document["Labels"] = joined(&volume.labels).into();
            document
        }
    };
    let text = match flags.format.as_deref() {
        None if flags.quiet => volumes.iter().map(|volume| format!("{}\n", volume.name)).collect(),
        None => {
            let head = (!flags.noheading).then(|| vec!["DRIVER".to_owned(), "VOLUME NAME".to_owned()]);
            let rows = volumes.iter().map(|volume| vec![volume.driver.clone(), volume.name.clone()]);
            table(&head.into_iter().chain(rows).collect::<Vec<_>>())?
        }
        Some("json") if docker => {
            volumes.iter().map(|volume| format!("{}\n", line_of_docker(volume))).collect()
        }
        Some("json") => {
            let all: Vec<Value> = volumes.iter().map(|volume| document(globals, &engine, volume)).collect();
            format!("{:#}\n", Value::from(all))
        }
        Some(template) => {
            let listing = Listing::parse(template)?;
            let with_map = listing.template.wants(LABELS);
            let record = |volume: &StoredVolume| {
                let mut record = row(volume);
                if with_map {
                    record[LABELS] = json!(volume.labels);
                }
                record
            };
            listing.text(&HEADERS, &volumes.iter().map(record).collect::<Vec<_>>())?
        }
    };
    print(&text).map(|()| 0)
}

/// Everything is text there.
fn line_of_docker(volume: &StoredVolume) -> Value {
    let mut line = json!({
        "Availability": "N/A", "Driver": volume.driver, "Group": "N/A", "Links": "N/A",
        "Mountpoint": volume.mount_point(), "Name": volume.name, "Scope": "local", "Size": "N/A", "Status": "N/A",
    });
    line["Labels"] = joined(&volume.labels).into();
    line
}
