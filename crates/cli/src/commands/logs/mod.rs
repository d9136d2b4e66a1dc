//! `logs`

mod journal;
mod merge;
mod print;
mod time;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Parser};
use jiff::tz::TimeZone;
use loment_engine::{Container, Engine};
use loment_logs::{Moment, Options};

use self::merge::Source;
use self::print::{Origin, Printer, Style};
use self::time::{Side, moment};
use crate::error::Error;
use crate::globals::Globals;

/// How often a followed log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Fetch the logs of containers
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    how: How,
    /// Show those of the container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// What is shown of logs, and how.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Go on with what is added, until the containers end
    #[arg(short, long)]
    follow: bool,
    /// Show only so many of the last lines of each container; all is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    tail: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show only what is not older: a time (RFC 3339, or seconds since 1970) or an age such as 10m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Show only what is not newer, and with --follow end then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Show the labels, variables and tags that were chosen with --log-opt
    #[arg(long)]
    details: bool,
    /// Put names before the lines of several containers, instead of ids
    #[arg(short, long)]
    names: bool,
    /// Give each container a colour, at a terminal
    #[arg(long)]
    color: bool,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let engine = globals.engine()?;
    let names = chosen(&engine, flags)?;
    show(globals, &engine, &flags.how, &names)
}

/// Shows the logs of these containers.
pub(super) fn show(globals: &Globals, engine: &Engine, how: &How, names: &[String]) -> Result<u8, Error> {
    let options = options(globals, how)?;
    let containers: Vec<Container> =
        names.iter().map(|name| engine.container(name)).collect::<Result<_, _>>()?;
    let mut sources = Vec::with_capacity(containers.len());
    for (number, container) in containers.iter().enumerate() {
        let name = match containers.len() {
            1 => String::new(),
            _ if how.names => format!("{} ", container.config.name),
            _ => format!("{} ", container.short_id()),
        };
        let details = if how.details { details(&container.log_attributes()) } else { String::new() };
        sources.push(Source::open(engine, container, Origin { number, name, details }, options)?);
    }
    let mut printer = Printer::new(&Style { timestamps: how.timestamps, colours: how.color });
    loop {
        for source in &mut sources {
            source.look(engine)?;
        }
        let is_late = options.until.is_some_and(|until| Moment::now() > until);
        merge::show(&mut sources, &mut printer)?;
        if is_late || sources.iter().all(Source::is_done) {
            return Ok(0);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn options(globals: &Globals, flags: &How) -> Result<Options, Error> {
    let tail =
        match flags.tail.as_deref() {
            None | Some("all" | "-1") => None,
            Some(n) => Some(n.parse().map_err(|_| {
                Error::Invalid(format!("invalid value {n:?} for --tail: use a number or all"))
            })?),
        };
    let (zone, now) = (TimeZone::system(), jiff::Timestamp::now());
    // Times without a zone are UTC for Podman, and local for Docker; what a duration of --until is counted from differs, too.
    let docker = globals.persona.docker_documents;
    let zone = if docker { zone } else { TimeZone::UTC };
    let until = if docker { Side::Before } else { Side::After };
    let read = |text: &Option<String>, side| {
        let text = text.as_deref().filter(|t| !t.is_empty());
        text.map(|text| moment(text, side, &zone, now)).transpose()
    };
    Ok(Options {
        tail,
        since: read(&flags.since, Side::Before)?,
        until: read(&flags.until, until)?,
        follow: flags.follow,
    })
}

/// The containers whose logs are wanted.
fn chosen(engine: &Engine, flags: &Flags) -> Result<Vec<String>, Error> {
    match (flags.latest, flags.containers.as_slice()) {
        (true, []) => Ok(vec![super::choose::latest(engine)?]),
        (true, _) => Err(Error::Invalid("--latest and containers cannot be used together".into())),
        (false, []) => Err(Error::Invalid("specify at least one container name or ID to log".into())),
        (false, names) => Ok(names.to_vec()),
    }
}

/// As Docker shows them: names and values as in an URL's query.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs = attributes.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value)));
    let mut text = pairs.collect::<Vec<_>>().join(",");
    text.push(' ');
    text
}

fn quoted(text: &str) -> String {
    let quote = |b: u8| match b {
        b' ' => "+".to_owned(),
        b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(quote).collect()
}
