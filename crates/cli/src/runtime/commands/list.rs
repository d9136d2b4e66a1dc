//! `list`.

use std::io::Write;

use anyhow::{Context, bail};
use serde_json::Value;

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::globals::Runtime;
use super::print;
use crate::error::one_line_in_c;

pub(super) const HELP: &str = "\
List containers

Usage: loment-runtime list [OPTIONS]

Options:
  -f, --format <FORMAT>  Print a table or json [default: table]
  -q, --quiet            Print ids only
  -h, --help             Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut json, mut quiet) = (false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => bail!("unexpected argument {word:?}"),
            Argument::Flag("-q" | "--quiet") => quiet = true,
            Argument::Flag(flag @ ("-f" | "--format")) => json = is_json(arguments.value(flag)?)?,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let mut all = Vec::new();
    for id in runtime.states.list()? {
        match runtime.find(&id) {
            Ok(found) => all.push(found),
            // One that is being made or deleted at this moment has no record.
            Err(loment_runtime::Error::NotFound { .. }) => {}
            Err(e) => runtime.log.warn(&one_line_in_c(&e)),
        }
    }
    if quiet {
        print(&all.iter().map(|f| format!("{}\n", f.id())).collect::<String>())?;
    } else if json {
        print(&format!("{}\n", all.iter().map(|f| f.document()).collect::<Value>()))?;
    } else {
        let mut out = tabwriter::TabWriter::new(Vec::new());
        writeln!(out, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")?;
        for f in &all {
            let (bundle, created) = (f.record.bundle.display(), &f.record.created);
            let (id, pid, status, owner) = (f.id(), f.pid(), f.status, f.owner());
            writeln!(out, "{id}\t{pid}\t{status}\t{bundle}\t{created}\t{owner}")?;
        }
        print(&String::from_utf8_lossy(&out.into_inner().context("format the table")?))?;
    }
    Ok(0)
}

/// Whether that format is JSON.
pub(super) fn is_json(format: &str) -> anyhow::Result<bool> {
    match format {
        "json" => Ok(true),
        "table" => Ok(false),
        other => bail!("invalid --format {other:?}: use table or json"),
    }
}
