//! `search`

use clap::Parser;
use loment_engine::Access;
use loment_image::Reference;
use loment_registry::Found;
use serde_json::{Value, json};

use super::access::AccessFlags;
use super::pull::short_names;
use crate::error::{Error, one_line};
use crate::globals::Globals;
use crate::output::{by_template, complain, print, table};

/// Search registries for repositories
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    access: AccessFlags,
    /// Show stars and what is official or automated, too
    #[arg(long)]
    compatible: bool,
    /// Show only those with stars=NUMBER or more, is-official=BOOL or is-automated=BOOL
    #[arg(short, long, value_name = "NAME=VALUE", value_delimiter = ',')]
    filter: Vec<String>,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show so many at most, of each registry
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    limit: usize,
    /// List the tags of the repository instead
    #[arg(long)]
    list_tags: bool,
    /// Do not shorten descriptions
    #[arg(long)]
    no_trunc: bool,
    /// What to look for, after the registry if it is to be searched alone: REGISTRY/TERM
    #[arg(value_name = "TERM")]
    term: String,
}

pub(super) const HEADERS: [(&str, &str); 7] = [
    ("Index", "INDEX"),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("Stars", "STARS"),
    ("Official", "OFFICIAL"),
    ("Automated", "AUTOMATED"),
    ("Tag", "TAG"),
];
/// Descriptions are shown up to here.
const WIDTH: usize = 44;

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let filters = flags.filter.iter().map(|text| filter(text)).collect::<Result<Vec<_>, _>>()?;
    let access = flags.access.access(globals)?;
    if flags.list_tags {
        return list_tags(globals, flags, &access);
    }
    let (registries, term) = asked(globals, &flags.term, &access)?;
    let mut rows = Vec::new();
    let mut failed = None;
    for registry in &registries {
        match loment_engine::search(registry, term, flags.limit, &access) {
            Ok(found) => {
                let kept = found.into_iter().filter(|one| filters.iter().all(|filter| filter.keeps(one)));
                rows.extend(kept.map(|one| row(flags, registry, &one)));
            }
            Err(error) if registries.len() == 1 => return Err(error.into()),
            Err(error) => {
                let error = Error::from(error);
                complain(&format!("Warning: search of {registry}: {}", one_line(&error)));
                failed = Some(error);
            }
        }
    }
    if let Some(error) = failed.filter(|_| rows.is_empty()) {
        return Err(error);
    }
    let mut columns = vec!["Name", "Description"];
    if flags.compatible || globals.persona.docker_documents {
        columns.extend(["Stars", "Official", "Automated"]);
    }
    show(flags, &columns, rows)
}

/// The registries that are searched, and for what.
fn asked<'t>(globals: &Globals, term: &'t str, access: &Access) -> Result<(Vec<String>, &'t str), Error> {
    let host = |first: &str| first.contains(['.', ':']) || first == "localhost";
    if let Some((first, rest)) = term.split_once('/').filter(|(first, _)| host(first)) {
        return Ok((vec![first.to_owned()], rest));
    }
    let any = short_names(globals)?.candidates("any");
    let any = any.map_err(|_| {
        Error::Invalid("no registry is configured to be searched: name one, REGISTRY/TERM".into())
    })?;
    access.is_for_one_of(term, &any)?;
    Ok((any.iter().map(|reference| reference.domain().to_owned()).collect(), term))
}

fn list_tags(globals: &Globals, flags: &Flags, access: &Access) -> Result<u8, Error> {
    let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
    let name = flags.term.trim_start_matches("docker://");
    let mut candidates = short_names(globals)?.candidates(name).map_err(invalid)?;
    access.is_for_one_of(name, &candidates)?;
    let reference: Reference = candidates.swap_remove(0);
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(Error::Invalid(format!("invalid repository {name:?}: leave out the tag and the digest")));
    }
    let mut tags = loment_engine::tags(&reference, access)?;
    tags.truncate(flags.limit);
    if flags.format.as_deref() == Some("json") {
        let document = json!([{"Name": reference.name(), "Tags": tags}]);
        print(&format!("{document:#}\n"))?;
        return Ok(0);
    }
    let rows = tags.iter().map(|tag| json!({"Name": reference.name(), "Tag": tag})).collect();
    show(flags, &["Name", "Tag"], rows)
}

fn show(flags: &Flags, columns: &[&str], rows: Vec<Value>) -> Result<u8, Error> {
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", Value::from(rows)),
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None => {
            let title = |c: &&str| HEADERS.iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
            let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let line = |row: &Value| columns.iter().map(|column| cell(&row[*column])).collect();
            let head = columns.iter().map(title).collect();
            table(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())?
        }
    };
    print(&text)?;
    Ok(0)
}

fn row(flags: &Flags, registry: &str, found: &Found) -> Value {
    let mut description = found.description.clone();
    if !flags.no_trunc && description.chars().count() > WIDTH {
        description = description.chars().take(WIDTH).collect::<String>() + "...";
    }
    let name = match registry {
        "docker.io" if !found.name.contains('/') => format!("docker.io/library/{}", found.name),
        _ => format!("{registry}/{}", found.name),
    };
    let mark = |is: bool| if is { "[OK]" } else { "" };
    json!({
        "Index": registry, "Name": name, "Description": description, "Stars": found.stars,
        "Official": mark(found.official), "Automated": mark(found.automated), "Tag": "",
    })
}

enum Filter {
    Stars(u64),
    Official(bool),
    Automated(bool),
}

fn filter(text: &str) -> Result<Filter, Error> {
    let bad = || {
        Error::Invalid(format!(
            "invalid filter {text:?}: use stars=NUMBER, is-official=true or false, is-automated=true or false"
        ))
    };
    let (name, value) = text.split_once('=').unwrap_or((text, "true"));
    match name {
        "stars" => value.parse().map(Filter::Stars).map_err(|_| bad()),
        "is-official" => value.parse().map(Filter::Official).map_err(|_| bad()),
        "is-automated" => value.parse().map(Filter::Automated).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

impl Filter {
    fn keeps(&self, found: &Found) -> bool {
        match self {
            Self::Stars(least) => found.stars >= *least,
            Self::Official(wanted) => found.official == *wanted,
            Self::Automated(wanted) => found.automated == *wanted,
        }
    }
}
