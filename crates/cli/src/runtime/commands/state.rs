//! `state`.

use super::super::arguments::Arguments;
use super::super::globals::{Runtime, id};
use super::print;

pub(super) const HELP: &str = "\
Print the state of a container as JSON

Usage: loment-runtime state <ID>

Options:
  -h, --help  Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let found = runtime.find(&id(&arguments.words()?)?)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&found.document())?))?;
    Ok(0)
}
