//! `ps`

mod row;

use std::cmp::Ordering;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use loment_engine::{Engine, Listed};
use serde_json::Value;

use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::{Listing, print, table};
use row::Rows;
pub(super) use row::headers;

const COLUMNS: [&str; 8] = ["ID", "Image", "Command", "CreatedHuman", "Status", "Ports", "Names", "Size"];
const OF_NAMESPACES: [&str; 10] =
    ["ID", "Names", "Pid", "CGROUPNS", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS"];
/// Clears a terminal and begins at its top.
const RESET: &str = "\x1b[2J\x1b[1;1H";

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
    /// Show the pods they are in
    #[arg(short, long)]
    pod: bool,
    /// Show the numbers of namespaces
    #[arg(long, alias = "namespace")]
    ns: bool,
    /// Show what each occupies on disk, and with its image
    #[arg(short, long)]
    size: bool,
    /// Accepted for compatibility: all containers are loment's own
    #[arg(long)]
    external: bool,
    /// Accepted for compatibility: what is shown is what the kernel says now
    #[arg(long)]
    sync: bool,
    /// Show the list again every so many seconds
    #[arg(short, long, value_name = "SECONDS")]
    watch: Option<u64>,
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
    Size,
    Status,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.check()?;
    let engine = globals.engine()?;
    let listing = match flags.format.as_deref() {
        None | Some("json" | "table") => None,
        Some(template) => Some(Listing::parse(template)?),
    };
    loop {
        let text = show(globals, &engine, flags, listing.as_ref())?;
        let Some(seconds) = flags.watch.filter(|&seconds| seconds > 0) else {
            return print(&text).map(|()| 0);
        };
        print(&format!("{RESET}{text}"))?;
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn show(
    globals: &Globals,
    engine: &Engine,
    flags: &Flags,
    listing: Option<&Listing>,
) -> Result<String, Error> {
    let docker = globals.persona.docker_documents;
    let filters = engine.list_filters(&flags.filter, || short_names(globals))?;
    let limit = if flags.latest { Some(1) } else { flags.last.filter(|&n| n > 0) };
    let mut containers = engine.list(filters.which(flags.all || limit.is_some()))?;
    containers.retain(|c| filters.keep(c));
    if let Some(n) = limit.and_then(|n| usize::try_from(n).ok()) {
        // The oldest are first.
        containers.drain(..containers.len().saturating_sub(n));
    }
    let rows = Rows::new(globals, engine, flags.no_trunc);
    sort(&mut containers, &rows, flags.sort, docker);
    if let Some(listing) = listing {
        let wants = |field: &str| listing.template.wants(field);
        let records: Vec<Value> = containers.iter().map(|c| rows.record(c, wants)).collect();
        return listing.text(&headers(), &records);
    }
    if flags.format.as_deref() == Some("json") {
        if docker {
            return Ok(containers
                .iter()
                .map(|c| format!("{}\n", rows.docker_document(c, flags.size)))
                .collect());
        }
        let all: Vec<_> = containers.iter().map(|c| rows.podman_document(c, flags.size, flags.ns)).collect();
        let text = serde_json::to_string_pretty(&all).map_err(std::io::Error::from);
        return Ok(text.doing(|| "write json".into())? + "\n");
    }
    if flags.quiet {
        return Ok(containers.iter().map(|c| rows.cell(c, "ID") + "\n").collect());
    }
    let mut columns = match (flags.ns, flags.size) {
        (true, _) => OF_NAMESPACES.to_vec(),
        (false, true) => COLUMNS.to_vec(),
        (false, false) => COLUMNS[..COLUMNS.len() - 1].to_vec(),
    };
    if flags.pod {
        // Before sizes, as with Podman.
        let end = columns.len() - usize::from(flags.size && !flags.ns);
        columns.splice(end..end, ["Pod", "PodName"]);
    }
    let header = |c: &&str| headers().iter().find(|(f, _)| f == c).map_or("", |(_, h)| h).to_owned();
    let mut lines: Vec<Vec<String>> = Vec::with_capacity(containers.len() + 1);
    if !flags.noheading {
        lines.push(columns.iter().map(header).collect());
    }
    lines.extend(
        containers.iter().map(|c| columns.iter().map(|column| rows.cell(c, column)).collect::<Vec<_>>()),
    );
    table(&lines)
}

impl Flags {
    /// In Podman's words.
    fn check(&self) -> Result<(), Error> {
        let message = if self.quiet && (self.size || self.ns) {
            "quiet conflicts with size and namespace"
        } else if self.size && self.ns {
            "size and namespace options conflict"
        } else if self.latest && self.last.is_some_and(|last| last >= 0) {
            "last and latest are mutually exclusive"
        } else if self.latest && self.watch.is_some_and(|seconds| seconds > 0) {
            "the watch and latest flags cannot be used together"
        } else {
            return Ok(());
        };
        Err(Error::Invalid(message.into()))
    }
}

/// Containers come with the oldest first, and stay so where they are equal.
fn sort(containers: &mut [Listed], rows: &Rows<'_>, by: Option<Sort>, newest_first: bool) {
    let Some(by) = by else {
        if newest_first {
            containers.reverse();
        }
        return;
    };
    if by == Sort::Size {
        return containers.sort_by_cached_key(|c| rows.size(c).own);
    }
    containers.sort_by(|a, b| match by {
        Sort::Command => a.args.cmp(&b.args),
        Sort::Created | Sort::Size => Ordering::Equal,
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
