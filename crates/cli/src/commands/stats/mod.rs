//! `stats`

pub(super) mod row;

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Parser};
use loment_engine::{Engine, Which};
use serde_json::Value;

use super::choose::latest;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{by_template, print, table_of};
use row::{DOCKER_COLUMNS, DOCKER_HEADERS, HEADERS, PODMAN_COLUMNS, Reading, docker_row, document, row};

/// Clears a terminal and begins at its top.
const RESET: &str = "\x1b[2J\x1b[1;1H";

/// Show what containers use, again and again
#[derive(Parser, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    how: How,
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Containers; every running one by default
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How it is shown.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Print as json, or with a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Wait so many seconds between two reports
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5, allow_negative_numbers = true)]
    interval: i64,
    /// Do not clear the screen between reports
    #[arg(long)]
    no_reset: bool,
    /// Show one report only
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let ways = [flags.all, flags.latest, !flags.containers.is_empty()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(Error::Invalid("--all, --latest and containers cannot be used together".into()));
    }
    let engine = globals.engine()?;
    report_on(globals, &engine, &flags.how, |engine| containers(engine, flags))
}

/// Reports on containers, which are chosen anew for each report.
pub(super) fn report_on(
    globals: &Globals,
    engine: &Engine,
    flags: &How,
    containers: impl Fn(&Engine) -> Result<Vec<String>, Error>,
) -> Result<u8, Error> {
    let interval = u64::try_from(flags.interval).ok().filter(|&seconds| seconds > 0);
    let Some(interval) = interval.map(Duration::from_secs) else {
        let text = "invalid interval, must be a positive number greater zero";
        return Err(Error::Invalid(text.into()));
    };
    let docker = globals.persona.docker_documents;
    let read = |before: &HashMap<String, row::Mark>| read(engine, &containers(engine)?, before);
    let mut before = HashMap::new();
    if docker {
        // Docker's first report is of a second, Podman's of all the time since the start.
        before = read(&before)?.into_iter().map(|r| (r.id().to_owned(), r.mark())).collect();
        std::thread::sleep(Duration::from_secs(1));
    }
    loop {
        let readings = read(&before)?;
        let text = report(flags, docker, &readings)?;
        let reset = if flags.no_stream || flags.no_reset { "" } else { RESET };
        print(&format!("{reset}{text}"))?;
        if flags.no_stream {
            return Ok(0);
        }
        before = readings.iter().map(|r| (r.id().to_owned(), r.mark())).collect();
        std::thread::sleep(if docker { Duration::from_secs(1) } else { interval });
    }
}

fn read(engine: &Engine, ids: &[String], before: &HashMap<String, row::Mark>) -> Result<Vec<Reading>, Error> {
    let mut readings = Vec::new();
    for id in ids {
        let container = match engine.container(id) {
            // It has gone in this moment.
            Err(loment_engine::Error::NoContainer { name }) if name == *id && name.len() == 64 => continue,
            container => container?,
        };
        let figures = engine.figures(&container)?;
        let mark = before.get(&container.config.id);
        readings.push(Reading::new(container, figures, mark));
    }
    Ok(readings)
}

fn containers(engine: &Engine, flags: &Flags) -> Result<Vec<String>, Error> {
    if flags.latest {
        return Ok(vec![latest(engine)?]);
    }
    if !flags.containers.is_empty() {
        // Of these each must be there.
        let id = |name: &String| Ok(engine.container(name)?.config.id);
        return flags.containers.iter().map(id).collect();
    }
    let which = if flags.all { Which::All } else { Which::Active };
    Ok(engine.list(which)?.into_iter().filter(|c| c.problem.is_none()).map(|c| c.id).collect())
}

fn report(flags: &How, docker: bool, readings: &[Reading]) -> Result<String, Error> {
    let no_trunc = flags.no_trunc;
    let rows: Vec<Value> = match docker {
        true => readings.iter().map(|reading| docker_row(reading, no_trunc)).collect(),
        false => readings.iter().map(|reading| row(reading, no_trunc)).collect(),
    };
    let headers: &[(&str, &str)] = if docker { &DOCKER_HEADERS } else { &HEADERS };
    let columns: &[&str] = if docker { &DOCKER_COLUMNS } else { &PODMAN_COLUMNS };
    match flags.format.as_deref() {
        Some("json") if docker => Ok(rows.iter().map(|row| format!("{row}\n")).collect()),
        Some("json") => {
            let documents: Vec<Value> = readings.iter().map(|reading| document(reading, no_trunc)).collect();
            Ok(format!("{:#}\n", Value::from(documents)))
        }
        Some(template) if template != "table" => by_template(template, headers, &rows),
        _ => table_of(columns, Some(headers), &rows),
    }
}
