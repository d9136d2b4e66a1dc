//! `system df`

use clap::Parser;
use loment_engine::{DiskUsage, Status};
use loment_image::Reference;
use loment_store::OtherUsage;
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table};
use crate::units::{ago, exact_size};

/// Show what images, containers and volumes occupy on disk
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT", conflicts_with = "verbose")]
    format: Option<String>,
    /// Show each image, container and volume
    #[arg(short, long)]
    verbose: bool,
}

pub(super) const HEADERS: [(&str, &str); 8] = [
    ("Type", "TYPE"),
    ("Total", "TOTAL"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("RawSize", "RAW SIZE"),
    ("RawReclaimable", "RAW RECLAIMABLE"),
];
const COLUMNS: [&str; 5] = ["Type", "Total", "Active", "Size", "Reclaimable"];
const IMAGE: [&str; 8] =
    ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"];
const CONTAINER: [&str; 8] =
    ["CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS", "NAMES"];
const VOLUME: [&str; 3] = ["VOLUME NAME", "LINKS", "SIZE"];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let usage = globals.engine()?.disk_usage()?;
    if flags.verbose {
        print(&verbose(&usage)?)?;
        return Ok(0);
    }
    let mut rows = vec![images(&usage), containers(&usage), volumes(&usage)];
    if globals.persona.docker_documents {
        rows.push(row("Build Cache", 0, 0, 0, 0));
    }
    let text = match flags.format.as_deref() {
        Some("json") if globals.persona.docker_documents => {
            rows.iter().map(|row| format!("{}\n", lines_of_docker(row))).collect()
        }
        Some("json") => format!("{:#}\n", Value::from(rows)),
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None => {
            let title = |c: &&str| HEADERS.iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
            let head = COLUMNS.iter().map(title).collect();
            let line = |row: &Value| COLUMNS.iter().map(|column| cell(&row[column])).collect();
            table(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())?
        }
    };
    print(&text)?;
    Ok(0)
}

fn images(usage: &DiskUsage) -> Value {
    let active = usage.images.iter().filter(|one| one.image.containers > 0).count();
    let OtherUsage { left_over, needed } = usage.others;
    let size = usage.images_size + left_over + needed;
    row("Images", usage.images.len(), active, size, usage.images_reclaimable + left_over)
}

fn containers(usage: &DiskUsage) -> Value {
    let active = usage.containers.iter().filter(|one| one.container.status == Status::Running).count();
    let size = usage.containers.iter().map(|one| one.size).sum();
    row("Containers", usage.containers.len(), active, size, usage.containers_reclaimable())
}

fn volumes(usage: &DiskUsage) -> Value {
    let active = usage.volumes.iter().filter(|one| one.links > 0).count();
    let size = usage.volumes.iter().map(|one| one.size).sum();
    row("Local Volumes", usage.volumes.len(), active, size, usage.volumes_reclaimable())
}

fn row(kind: &str, total: usize, active: usize, size: u64, reclaimable: u64) -> Value {
    let percent = if size == 0 { 0.0 } else { reclaimable as f64 / size as f64 * 100.0 };
    json!({
        "Type": kind, "Total": total, "TotalCount": total, "Active": active, "Size": exact_size(size),
        "Reclaimable": format!("{} ({percent:.0}%)", exact_size(reclaimable)),
        "RawSize": size, "RawReclaimable": reclaimable,
    })
}

/// Everything is text there.
fn lines_of_docker(row: &Value) -> Value {
    json!({
        "Type": row["Type"], "TotalCount": row["Total"].to_string(), "Active": row["Active"].to_string(),
        "Size": row["Size"], "Reclaimable": row["Reclaimable"],
    })
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the table of images does not show.
fn of_no_image(others: OtherUsage) -> String {
    let line = |what: &str, size: u64| match size {
        0 => String::new(),
        size => format!("{what}: {}\n", exact_size(size)),
    };
    line("\nOf no image, and left over", others.left_over)
        + &line("\nOf no image, and needed or under way", others.needed)
}

fn verbose(usage: &DiskUsage) -> Result<String, Error> {
    let head = |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let without_ago = |moment: &str| ago(moment).trim_end_matches(" ago").to_owned();
    let mut images = vec![head(&IMAGE)];
    for one in &usage.images {
        let image = &one.image.image;
        let mut names: Vec<(String, String)> = image
            .names
            .iter()
            .filter_map(|name| name.name.parse::<Reference>().ok())
            .map(|reference| (reference.name(), reference.tag().unwrap_or("<none>").to_owned()))
            .collect();
        if names.is_empty() {
            names.push(("<none>".into(), "<none>".into()));
        }
        for (repository, tag) in names {
            images.push(vec![
                repository,
                tag,
                image.image.id.hex()[..12].to_owned(),
                without_ago(image.image.created.as_deref().unwrap_or_default()),
                exact_size(one.size),
                exact_size(one.shared),
                exact_size(one.size - one.shared),
                one.image.containers.to_string(),
            ]);
        }
    }
    let mut containers = vec![head(&CONTAINER)];
    for one in &usage.containers {
        let config = &one.container.config;
        let image = config.image.as_ref().map(|image| image.id.hex()[..12].to_owned());
        containers.push(vec![
            one.container.short_id().to_owned(),
            image.unwrap_or_default(),
            // Nothing is executed there, whatever its specification has.
            if config.infra { String::new() } else { config.args().join(" ") },
            config.files.volumes.iter().filter(|v| v.volume.is_some()).count().to_string(),
            exact_size(one.size),
            without_ago(&config.created),
            one.container.status.name().to_owned(),
            config.name.clone(),
        ]);
    }
    let mut volumes = vec![head(&VOLUME)];
    for one in &usage.volumes {
        volumes.push(vec![one.volume.name.clone(), one.links.to_string(), exact_size(one.size)]);
    }
    Ok(format!(
        "Images space usage:\n\n{}{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}",
        table(&images)?,
        of_no_image(usage.others),
        table(&containers)?,
        table(&volumes)?
    ))
}
