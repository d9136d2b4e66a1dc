//! `history`

use clap::Parser;
use loment_image::History;
use serde_json::{Value, json};

use super::pull::{platform, short_names};
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, indented, print, table};
use crate::units::{ago, human_size};

/// Show how an image was built
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print sizes and times for people
    #[arg(short = 'H', long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    human: bool,
    /// Do not shorten what made a layer
    #[arg(long)]
    no_trunc: bool,
    /// Of a list, the image for this platform, such as linux/arm64/v8; another image must be for it
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
}

pub(super) const HEADERS: [(&str, &str); 5] = [
    ("ID", "ID"),
    ("Created", "CREATED"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
const DOCKER_FIELDS: [&str; 6] = ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"];
const PODMAN_FIELDS: [&str; 6] = ["id", "created", "CreatedBy", "tags", "size", "comment"];
/// What made a layer is shown up to here.
const WIDTH: usize = 45;
/// Steps other than the last have no id: images in between are not kept.
const NO_ID: &str = "<missing>";

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let platform = flags.platform.as_deref().map(platform).transpose()?;
    let engine = globals.engine()?;
    let (id, _) = engine.find_image_on(&flags.image, &short_names(globals)?, platform.as_ref())?;
    let document = engine.image_document(&id)?;
    let sizes = engine.layer_sizes(&id)?;
    let mut steps = document.history;
    if steps.is_empty() {
        // It says nothing: a step for each of its layers.
        steps = sizes.iter().map(|_| History::default()).collect();
    }
    let mut sizes = sizes.into_iter();
    // The configuration has the oldest first.
    let mut rows: Vec<Value> = steps
        .iter()
        .map(|step| {
            let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or_default() };
            row(flags, step, size)
        })
        .collect();
    rows.reverse();
    if let Some(first) = rows.first_mut() {
        first["ID"] = json!(if flags.no_trunc { id.hex() } else { &id.hex()[..12] });
        first["id"] = json!(id.hex());
        let names = engine.store().names_of(&id).map_err(loment_engine::Error::from)?;
        first["Tags"] = names.iter().map(|name| name.name.clone()).collect();
        first["tags"] = Some(first["Tags"].clone()).filter(|tags| *tags != json!([])).into();
    }
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let shown = match flags.format.as_deref() {
        // Podman has no documents of rows as they are shown, Docker has no other.
        Some("json") if globals.persona.docker_documents => {
            rows.iter().map(|row| format!("{}\n", fields(row, &DOCKER_FIELDS))).collect()
        }
        Some("json") => {
            let documents = rows.iter().map(|row| fields(row, &PODMAN_FIELDS)).collect::<Vec<_>>();
            indented(&Value::from(documents))
        }
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None if flags.quiet => rows.iter().map(|row| text(row, "ID") + "\n").collect(),
        None => {
            let head = HEADERS.iter().map(|(_, title)| (*title).to_owned()).collect();
            let line = |row: &Value| HEADERS.iter().map(|(field, _)| text(row, field)).collect();
            table(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())?
        }
    };
    print(&shown)?;
    Ok(0)
}

fn row(flags: &Flags, step: &History, size: u64) -> Value {
    let created = step.created.clone().unwrap_or_default();
    let mut by = step.created_by.clone().unwrap_or_default();
    if !flags.no_trunc && by.chars().count() > WIDTH {
        by = by.chars().take(WIDTH - 3).collect::<String>() + "...";
    }
    let comment = step.comment.clone().unwrap_or_default();
    let (shown, bytes) = match flags.human {
        true => (ago(&created), human_size(size, true)),
        false => (created.clone(), size.to_string()),
    };
    json!({
        "ID": NO_ID, "Created": shown, "CreatedAt": created, "CreatedSince": ago(&created), "CreatedBy": by,
        "Size": bytes, "Comment": comment, "Tags": [],
        "id": NO_ID, "created": created, "size": size, "comment": Some(comment).filter(|text| !text.is_empty()),
    })
}

/// Some of what there is of a row.
fn fields(row: &Value, names: &[&str]) -> Value {
    let there = names.iter().filter(|name| !row[**name].is_null());
    there.map(|name| ((*name).to_owned(), row[*name].clone())).collect()
}
