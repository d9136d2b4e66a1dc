//! `ps`

use clap::Parser;
use loment_engine::{Container, Status};
use loment_image::Reference;
use serde_json::{Value, json};

use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table};
use crate::units::{ago, human_duration, seconds_since};

/// List containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show only those with this id, name, status, label, ancestor or exited (code)
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
}

const HEADERS: [(&str, &str); 12] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("Command", "COMMAND"),
    ("CreatedHuman", "CREATED"),
    ("RunningFor", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Status", "STATUS"),
    ("State", "STATE"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
];

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let filters = flags.filter.iter().map(|f| Filter::parse(f)).collect::<Result<Vec<_>, _>>()?;
    let engine = globals.engine()?;
    let mut containers = engine.containers()?;
    let limit = if flags.latest { Some(1) } else { flags.last.filter(|&n| n > 0) };
    let every = flags.all || limit.is_some() || filters.iter().any(Filter::looks_at_state);
    containers.retain(|c| (every || c.status.is_active()) && filters.iter().all(|f| f.keeps(c)));
    if let Some(n) = limit {
        containers.truncate(n as usize);
    }
    let rows: Vec<Value> = containers.iter().map(|c| row(globals, flags, c)).collect();
    let text = match flags.format.as_deref() {
        Some("json") => format!("{:#}\n", Value::from(rows)),
        Some(template) => by_template(template, &HEADERS, &rows)?,
        None if flags.quiet => rows.iter().map(|r| text(r, "ID") + "\n").collect(),
        None => table(&lines(flags, &rows))?,
    };
    print(&text)?;
    Ok(0)
}

/// One `--filter`.
struct Filter {
    name: String,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Error> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Error::Invalid(format!("invalid filter {text:?}: use NAME=VALUE")))?;
        if !["id", "name", "status", "label", "ancestor", "exited"].contains(&name) {
            return Err(Error::Invalid(format!(
                "filter {name:?} is not supported: use id, name, status, label, ancestor or exited"
            )));
        }
        if name == "exited" && value.parse::<i32>().is_err() {
            return Err(Error::Invalid(format!("invalid filter {text:?}: use a number")));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    fn looks_at_state(&self) -> bool {
        self.name == "status" || self.name == "exited"
    }

    fn keeps(&self, c: &Container) -> bool {
        match self.name.as_str() {
            "id" => c.config.id.starts_with(&self.value),
            "name" => c.config.name.contains(self.value.trim_start_matches('/')),
            "status" => {
                c.status.name() == self.value || (self.value == "stopped" && c.status == Status::Exited)
            }
            "label" => match self.value.split_once('=') {
                Some((name, value)) => c.config.labels.get(name).is_some_and(|v| v == value),
                None => c.config.labels.contains_key(&self.value),
            },
            "ancestor" => c.config.image.as_ref().is_some_and(|i| {
                i.id.hex().starts_with(&self.value)
                    || i.name == self.value
                    || i.name.split(':').next() == Some(&self.value)
            }),
            _ => c.status == Status::Exited && self.value.parse() == Ok(c.state.exit_code),
        }
    }
}

fn status(c: &Container) -> String {
    let since = |moment: &str| human_duration(seconds_since(moment).unwrap_or(0));
    match c.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}", since(&c.state.started_at)),
        Status::Paused => format!("Up {} (Paused)", since(&c.state.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", c.state.exit_code, since(&c.state.finished_at))
        }
        Status::Exited if c.state.finished_at.is_empty() => format!("Exited ({})", c.state.exit_code),
        Status::Exited => format!("Exited ({}) {} ago", c.state.exit_code, since(&c.state.finished_at)),
    }
}

fn image_name(globals: &Globals, c: &Container) -> String {
    let Some(image) = &c.config.image else {
        return c.config.rootfs.as_ref().map(|r| r.path.display().to_string()).unwrap_or_default();
    };
    match image.name.parse::<Reference>() {
        Ok(reference) if globals.persona.docker_documents => reference.familiar(),
        _ => image.name.clone(),
    }
}

fn row(globals: &Globals, flags: &Flags, c: &Container) -> Value {
    let args = c.config.args();
    let mut command = args.join(" ");
    if !flags.no_trunc && command.chars().count() > 20 {
        command = command.chars().take(17).collect::<String>() + "...";
    }
    if globals.persona.docker_documents {
        command = format!("{command:?}");
    }
    let id = if flags.no_trunc { c.config.id.as_str() } else { c.short_id() };
    json!({
        "ID": id, "Id": c.config.id, "Image": image_name(globals, c),
        "ImageID": c.config.image.as_ref().map(|i| i.id.hex()).unwrap_or_default(),
        "Command": command, "Args": args,
        "Created": c.config.created, "CreatedAt": c.config.created, "CreatedHuman": ago(&c.config.created),
        "RunningFor": ago(&c.config.created), "Status": status(c), "State": c.status.name(),
        "Ports": "", "Names": c.config.name, "Labels": c.config.labels, "Pid": c.state.pid,
        "ExitCode": c.state.exit_code, "StartedAt": c.state.started_at, "AutoRemove": c.config.supervision.auto_remove,
        "Networks": c.config.net.network.name(),
    })
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
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
