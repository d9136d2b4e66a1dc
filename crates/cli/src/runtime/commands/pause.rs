//! `pause`.

use anyhow::bail;
use loment_runtime::state::Status;

use super::super::arguments::Arguments;
use super::super::globals::{Runtime, id};

pub(super) const HELP: &str = "\
Stop all processes of a container until it is resumed

Usage: loment-runtime pause <ID>

Options:
  -h, --help  Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let found = runtime.find(&id(&arguments.words()?)?)?;
    match found.status {
        Status::Running | Status::Created => {}
        Status::Stopped => found.must_live()?,
        other => bail!("cannot pause container {:?}: it is {other}", found.id()),
    }
    found.needed_place()?.group().freeze(true)?;
    Ok(0)
}
