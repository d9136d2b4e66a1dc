//! `ps`

mod row;

use std::cmp::Ordering;

use clap::{Parser, ValueEnum};
use loment_engine::Listed;
use serde_json::Value;

use super::pull::short_names;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table};
use row::{HEADERS, row, text};

/// List containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show only those with this ancestor, annotation, command, exited (code), health, id, label, name, network, pod, status, volume and
    /// more, made before or since another one, or until a time
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the newest one, running or not
    #[arg(short, long)]
    latest: bool,
    /// Show so many of the newest ones, running or not
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Do not shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Print no headings
    #[arg(long)]
    noheading: bool,
    /// Sort by this [default: created, the oldest first (docker: the newest)]
    #[arg(long, value_name = "FIELD")]
    sort: Option<Sort>,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum Sort {
    Command,
    Created,
    Id,
    Image,
    Names,
    Runningfor,
    Status,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let filters = engine.list_filters(&flags.filter, || short_names(globals))?;
    let limit = if flags.latest { Some(1) } else { flags.last.filter(|&n| n > 0) };
    let mut containers = engine.list(filters.which(flags.all || limit.is_some()))?;
    containers.retain(|c| filters.keep(c));
    if let Some(n) = limit.and_then(|n| usize::try_from(n).ok()) {
        // The oldest are first.
        containers.drain(..containers.len().saturating_sub(n));
    }
    sort(&mut containers, flags.sort, globals.persona.docker_documents);
    let rows: Vec<Value> = containers.iter().map(|c| row(globals, flags.no_trunc, c)).collect();
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", Value::from(rows)),
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None if flags.quiet => rows.iter().map(|r| text(r, "ID") + "\n").collect(),
        None => table(&lines(flags, &rows))?,
    };
    print(&text)?;
    Ok(0)
}

/// Containers come with the oldest first, and stay so where they are equal.
fn sort(containers: &mut [Listed], by: Option<Sort>, newest_first: bool) {
    let Some(by) = by else {
        if newest_first {
            containers.reverse();
        }
        return;
    };
    containers.sort_by(|a, b| match by {
        Sort::Command => a.args.cmp(&b.args),
        Sort::Created => Ordering::Equal,
        Sort::Id => a.id.cmp(&b.id),
        Sort::Image => image(a).cmp(&image(b)),
        Sort::Names => a.name.cmp(&b.name),
        Sort::Runningfor => a.state.started_at.cmp(&b.state.started_at),
        Sort::Status => a.status.name().cmp(b.status.name()),
    });
}

fn image(container: &Listed) -> Option<&str> {
    container.image.as_ref().map(|image| image.name.as_str())
}

fn lines(flags: &Flags, rows: &[Value]) -> Vec<Vec<String>> {
    const COLUMNS: [&str; 7] = ["ID", "Image", "Command", "CreatedHuman", "Status", "Ports", "Names"];
    let header = |c: &&str| HEADERS.iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
    let mut out = Vec::new();
    if !flags.noheading {
        out.push(COLUMNS.iter().map(header).collect());
    }
    out.extend(rows.iter().map(|r| COLUMNS.iter().map(|c| text(r, c)).collect::<Vec<_>>()));
    out
}
