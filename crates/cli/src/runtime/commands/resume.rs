//! `resume`.

use anyhow::bail;
use loment_runtime::state::Status;

use super::super::arguments::Arguments;
use super::super::globals::{Runtime, id};

pub(super) const HELP: &str = "\
Let a paused container go on

Usage: loment-runtime resume <ID>

Options:
  -h, --help  Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let found = runtime.find(&id(&arguments.words()?)?)?;
    if found.status != Status::Paused {
        bail!("cannot resume container {:?}: container not paused: it is {}", found.id(), found.status);
    }
    found.needed_place()?.group().freeze(false)?;
    Ok(0)
}
