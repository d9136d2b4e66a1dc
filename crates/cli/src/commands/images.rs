//! `images`

use clap::Parser;
use loment_engine::ImageSummary;
use loment_image::Reference;
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table};
use crate::units::{ago, human_size, seconds_since};

/// List images in local storage
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Accepted for compatibility: there are no intermediate images
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show only images of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const HEADERS: [(&str, &str); 7] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Created", "CREATED"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let mut rows = Vec::new();
    for summary in engine.images()? {
        rows.extend(rows_of(globals, flags, &summary));
    }
    if let Some(name) = &flags.name {
        rows.retain(|r| matches(r, name));
        if rows.is_empty() && !flags.quiet && flags.format.is_none() {
            return Err(Error::Engine(loment_engine::Error::NoImage { name: name.clone() }));
        }
    }
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", Value::from(rows)),
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None if flags.quiet => {
            let mut ids: Vec<String> = rows.iter().map(|r| text(r, "ID") + "\n").collect();
            ids.dedup();
            ids.concat()
        }
        None => table(&lines(flags, &rows))?,
    };
    print(&text)?;
    Ok(0)
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn matches(row: &Value, name: &str) -> bool {
    let (repository, tag) = (text(row, "Repository"), text(row, "Tag"));
    let full = format!("{repository}:{tag}");
    full == name
        || repository == name
        || full.ends_with(&format!("/{name}"))
        || repository.ends_with(&format!("/{name}"))
}

/// One row per name; an image without any has one all the same.
fn rows_of(globals: &Globals, flags: &Flags, summary: &ImageSummary) -> Vec<Value> {
    let image = &summary.image.image;
    let hex = image.id.hex();
    let id = match (flags.no_trunc, globals.persona.docker_documents) {
        (true, _) => image.id.to_string(),
        (false, _) => hex[..12].to_owned(),
    };
    let created = image.created.clone().unwrap_or_default();
    let row = |repository: String, tag: String, digest: String, name: Option<&str>| {
        json!({
            "Repository": repository, "Tag": tag, "Digest": digest, "ID": id, "Id": hex,
            "Created": created, "CreatedAt": created, "CreatedSince": ago(&created),
            "CreatedTime": created, "Size": human_size(image.size, true), "VirtualSize": image.size,
            "Containers": summary.containers, "Names": name.into_iter().collect::<Vec<_>>(),
            "Age": seconds_since(&created),
        })
    };
    let none = || "<none>".to_owned();
    if summary.image.names.is_empty() {
        return vec![row(none(), none(), none(), None)];
    }
    let names = summary.image.names.iter();
    names
        .map(|name| {
            let digest = name.manifest.as_ref().map_or_else(none, ToString::to_string);
            let parsed: Option<Reference> = name.name.parse().ok();
            let Some(reference) = parsed else {
                return row(name.name.clone(), none(), digest, Some(&name.name));
            };
            let repository =
                if globals.persona.docker_documents { familiar(&reference) } else { reference.name() };
            row(repository, reference.tag().map_or_else(none, str::to_owned), digest, Some(&name.name))
        })
        .collect()
}

/// The repository as Docker shows it.
fn familiar(reference: &Reference) -> String {
    let text = reference.familiar();
    let without_digest = text.split('@').next().unwrap_or_default();
    match (reference.tag(), without_digest.rsplit_once(':')) {
        (Some(tag), Some((name, last))) if last == tag => name.to_owned(),
        _ => without_digest.to_owned(),
    }
}

fn lines(flags: &Flags, rows: &[Value]) -> Vec<Vec<String>> {
    let mut columns = vec!["Repository", "Tag"];
    if flags.digests {
        columns.push("Digest");
    }
    columns.extend(["ID", "CreatedSince", "Size"]);
    let header = |c: &&str| HEADERS.iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
    let mut out = Vec::new();
    if !flags.noheading {
        out.push(columns.iter().map(header).collect());
    }
    out.extend(rows.iter().map(|r| columns.iter().map(|c| text(r, c)).collect::<Vec<_>>()));
    out
}
