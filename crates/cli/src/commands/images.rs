//! `images`

use std::collections::HashSet;
use std::iter;

use clap::Parser;
use loment_engine::{Family, ImageSummary};
use loment_image::Reference;
use serde_json::{Map, Value, json};

use super::images_tree;
use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table};
use crate::units::{ago, go_time, human_size};

/// List images in local storage
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show nameless images that others were made from, too
    #[arg(short, long)]
    all: bool,
    /// Show images with the platforms they are for, and which of these are here
    #[arg(long, conflicts_with_all = ["quiet", "digests", "no_trunc", "noheading", "format", "history", "sort"])]
    tree: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show only those with this after, before, containers, dangling, digest, id, intermediate, label, manifest, readonly, reference,
    /// since or until; != instead of = shows the others
    #[arg(short, long, value_name = "NAME=VALUE", value_delimiter = ',')]
    filter: Vec<String>,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Print no headings
    #[arg(short, long)]
    noheading: bool,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the names that images have had
    #[arg(long)]
    history: bool,
    /// Sort by created, id, repository, size or tag
    #[arg(long, value_name = "FIELD", default_value = "created")]
    sort: String,
    /// Show only images of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) const HEADERS: [(&str, &str); 23] = [
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Created", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("CreatedTime", "CREATED TIME"),
    ("Size", "SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("History", "HISTORY"),
    ("Names", "NAMES"),
    ("RepoTags", "REPO TAGS"),
    ("RepoDigests", "REPO DIGESTS"),
    ("Labels", "LABELS"),
    ("Containers", "CONTAINERS"),
    ("ParentId", "PARENT ID"),
    ("Dangling", "DANGLING"),
    ("ReadOnly", "R/O"),
    ("Arch", "ARCH"),
    ("Os", "OS"),
];
const SORTS: [&str; 5] = ["created", "id", "repository", "size", "tag"];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let mut filters = flags.filter.clone();
    match &flags.name {
        Some(_) if !filters.is_empty() => {
            return Err(Error::Invalid("cannot specify an image and a filter(s)".into()));
        }
        Some(name) => filters.push(format!("reference={name}")),
        None => {}
    }
    if !SORTS.contains(&flags.sort.as_str()) {
        return Err(Error::Invalid(format!(
            "{:?} is not a valid field for sorting. Choose from: {}",
            flags.sort,
            SORTS.join(", ")
        )));
    }
    let engine = globals.engine()?;
    let filters = engine.image_filters(&filters, &short_names(globals)?)?;
    let hidden = |image: &ImageSummary| image.intermediate && !flags.all && filters.is_empty();
    let all = engine.images()?;
    if flags.tree {
        let mut shown = Vec::new();
        for summary in &all {
            if (flags.all || !summary.dangling) && !hidden(summary) && filters.keeps(&engine, summary)? {
                shown.push(summary);
            }
        }
        print(&images_tree::text(globals, &engine, &all, &shown)?)?;
        return Ok(0);
    }
    let family = Family::new(&engine);
    let mut rows = Vec::new();
    for summary in &all {
        if !hidden(summary) && filters.keeps(&engine, summary)? {
            rows.extend(rows_of(globals, flags, &family, &all, summary));
        }
    }
    match flags.sort.as_str() {
        "id" => rows.sort_by_key(|row| text(row, "Id")),
        "repository" => rows.sort_by_key(|row| text(row, "Repository")),
        "tag" => rows.sort_by_key(|row| text(row, "Tag")),
        "size" => rows.sort_by_key(|row| row["VirtualSize"].as_u64()),
        _ => {}
    }
    let text = match flags.format.as_deref() {
        Some("json") if globals.persona.docker_documents => {
            rows.iter().map(|row| docker(row) + "\n").collect()
        }
        Some("json") => format!("{:#}\n", rows.into_iter().map(document).collect::<Value>()),
        _ if flags.quiet => {
            let mut seen = HashSet::new();
            let ids = rows.iter().map(|row| text(row, "ID")).filter(|id| seen.insert(id.clone()));
            ids.map(|id| id + "\n").collect()
        }
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None => table(&lines(flags, &rows))?,
    };
    print(&text)?;
    Ok(0)
}

/// A row as Podman's json has it.
fn document(mut row: Value) -> Value {
    row["Created"] = row["Epoch"].take();
    row["CreatedAt"] = row["CreatedRfc"].take();
    row["Size"] = row["VirtualSize"].clone();
    row["History"] = row["Names history"].take();
    row["RepoTags"] = Value::Null;
    let shown = |key: &str, value: &Value| match key {
        "Repository" | "Tag" | "ID" | "CreatedSince" | "CreatedTime" | "UniqueSize" => false,
        "Dangling" | "ReadOnly" | "IsManifestList" => value.as_bool().unwrap_or_default(),
        "Epoch" | "CreatedRfc" | "Names history" => false,
        _ => true,
    };
    if let Value::Object(map) = &mut row {
        map.retain(|key, value| shown(key, value));
    }
    row
}

/// A row as a line of Docker's json, where everything is text.
fn docker(row: &Value) -> String {
    let not_counted = "N/A";
    json!({
        "Containers": not_counted, "CreatedAt": row["CreatedAt"], "CreatedSince": row["CreatedSince"],
        "Digest": row["Digest"], "ID": row["ID"], "Repository": row["Repository"], "SharedSize": not_counted,
        "Size": row["Size"], "Tag": row["Tag"], "UniqueSize": not_counted,
        "VirtualSize": row["Size"],
    })
    .to_string()
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

/// One row per name; an image without a tag has one all the same.
fn rows_of(
    globals: &Globals,
    flags: &Flags,
    family: &Family<'_>,
    all: &[ImageSummary],
    summary: &ImageSummary,
) -> Vec<Value> {
    let none = || "<none>".to_owned();
    let (mut tagged, mut others) = (Vec::new(), Vec::new());
    for name in &summary.image.names {
        // Docker knows digests of registries only.
        let own = summary.image.image.manifests.first().filter(|_| !globals.persona.docker_documents);
        let digest = name.manifest.as_ref().or(own).map_or_else(none, ToString::to_string);
        let Ok(reference) = name.name.parse::<Reference>() else {
            others.push((name.name.clone(), none(), digest));
            continue;
        };
        let docker = globals.persona.docker_documents;
        let repository = if docker { familiar(&reference) } else { reference.name() };
        match reference.tag() {
            Some(tag) => tagged.push((repository, tag.to_owned(), digest)),
            None => others.push((repository, none(), digest)),
        }
    }
    let names = match (tagged.is_empty(), others.is_empty()) {
        (false, _) => tagged,
        (true, false) => others,
        (true, true) => vec![(none(), none(), none())],
    };
    let mut common = shown(globals, flags, summary);
    if let (Some(_), Value::Object(common)) = (&flags.format, &mut common) {
        common.extend(rest(flags, family, all, summary));
    }
    let rows = iter::repeat_n(common, names.len()).zip(names);
    rows.map(|(mut row, (repository, tag, digest))| {
        row["Repository"] = repository.into();
        row["Tag"] = tag.into();
        row["Digest"] = digest.into();
        row
    })
    .collect()
}

/// What all rows of an image have in tables.
fn shown(globals: &Globals, flags: &Flags, summary: &ImageSummary) -> Value {
    let image = &summary.image.image;
    let id = if flags.no_trunc { image.id.to_string() } else { image.id.hex()[..12].to_owned() };
    json!({
        "ID": id, "Id": image.id.hex(), "CreatedSince": ago(image.created.as_deref().unwrap_or_default()),
        "Size": human_size(image.size, !globals.persona.docker_documents), "VirtualSize": image.size,
        "History": summary.image.names_history().join(", "),
    })
}

/// What they have for templates and json besides.
fn rest(
    flags: &Flags,
    family: &Family<'_>,
    all: &[ImageSummary],
    summary: &ImageSummary,
) -> Map<String, Value> {
    let image = &summary.image.image;
    let created = image.created.clone().unwrap_or_default();
    // These are in other files: read only when they are shown.
    let format = flags.format.as_deref().unwrap_or_default();
    let wanted = |field: &str| format.contains("json") || format.contains(field);
    let labels = wanted("Labels").then(|| family.document(&image.id)).flatten();
    let parent = wanted("ParentId").then(|| family.parent_of(image, all)).flatten();
    let names: Vec<&str> = summary.image.names.iter().map(|name| name.name.as_str()).collect();
    let references = names.iter().filter_map(|name| name.parse::<Reference>().ok());
    let repositories: Vec<String> = references.map(|reference| reference.name()).collect();
    let mut digests: Vec<String> = repositories
        .iter()
        .flat_map(|name| image.manifests.iter().map(move |digest| format!("{name}@{digest}")))
        .collect();
    digests.sort_unstable();
    digests.dedup();
    let at = go_time(&created);
    let rest = json!({
        "ParentId": parent.map(|image| image.id.hex()).unwrap_or_default(),
        "Created": ago(&created), "CreatedAt": at, "CreatedTime": at, "CreatedRfc": created,
        "Epoch": seconds_since_epoch(&created), "SharedSize": 0, "UniqueSize": "N/A",
        "Containers": summary.containers, "Names": names, "RepoTags": names, "RepoDigests": digests,
        "Labels": labels.map(|document| document.container.labels.clone()), "Names history": summary.image.names_history(),
        "Dangling": summary.dangling, "ReadOnly": false, "IsManifestList": summary.list,
        "Arch": image.platform.architecture, "Os": image.platform.os,
    });
    match rest {
        Value::Object(rest) => rest,
        _ => Map::new(),
    }
}

fn seconds_since_epoch(moment: &str) -> i64 {
    moment.parse().map_or(0, jiff::Timestamp::as_second)
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

fn cell(row: &Value, column: &str) -> String {
    let text = text(row, column);
    if text.is_empty() { "<none>".to_owned() } else { text }
}

fn lines(flags: &Flags, rows: &[Value]) -> Vec<Vec<String>> {
    let mut columns = vec!["Repository", "Tag"];
    if flags.digests {
        columns.push("Digest");
    }
    columns.extend(["ID", "CreatedSince", "Size"]);
    if flags.history {
        columns.push("History");
    }
    let header = |c: &&str| HEADERS.iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
    let mut out = Vec::new();
    if !flags.noheading {
        out.push(columns.iter().map(header).collect());
    }
    out.extend(rows.iter().map(|row| columns.iter().map(|c| cell(row, c)).collect::<Vec<_>>()));
    out
}
