//! P7: images beside skopeo and Podman: pulls into an empty store, removal, lists, starts over many layers, memory and scaling.
//!
//! What is pulled is made of this machine's own /usr, and served by Debian's docker-registry on the loopback device.

mod cost;
mod list;
mod memory;
mod puller;
mod pulls;
mod scale;
mod source;
mod start;

use anyhow::bail;

use self::source::Source;
use super::Bench;
use crate::run::which;

/// What can be chosen of it.
pub(super) const PARTS: &[&str] = &["large", "ten", "list", "start", "memory", "scale"];

/// Runs these parts, all when none is named.
pub(super) fn run(bench: &Bench, parts: &[&str]) -> anyhow::Result<()> {
    if which("time").is_none() {
        bail!("the Debian package time measures these: install it");
    }
    let mut source = Source::new(bench)?;
    for part in if parts.is_empty() { PARTS } else { parts } {
        match *part {
            "large" | "ten" => pulls::run(bench, &mut source, part)?,
            "list" => list::run(bench)?,
            "start" => start::run(bench, &source)?,
            "memory" => memory::run(bench, &mut source)?,
            _ => scale::run(bench, &mut source)?,
        }
    }
    Ok(())
}
