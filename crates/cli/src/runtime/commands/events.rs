//! `events`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::globals::{Runtime, id};
use super::{print, stats};
use crate::units::duration;

/// How often to look for processes that were killed for lack of memory.
const LOOK: Duration = Duration::from_millis(200);

pub(super) const HELP: &str = "\
Print what a container uses as JSON, and when it runs out of memory

Usage: loment-runtime events [OPTIONS] <ID>

Options:
      --stats            Print once and end
      --interval <TIME>  Print so often: a number with ms, s, m or h [default: 5s]
  -h, --help             Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut words, mut once, mut interval) = (Vec::new(), false, Duration::from_secs(5));
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag("--stats") => once = true,
            Argument::Flag(flag @ "--interval") => {
                let text = arguments.value(flag)?;
                interval = duration(text).with_context(|| format!("invalid --interval {text:?}: use 5s"))?;
            }
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    if interval.is_zero() {
        bail!("invalid --interval: it must be above zero");
    }
    let found = runtime.find(&id(&words)?)?;
    found.must_live()?;
    let place = found.needed_place()?;
    let group = place.group();
    let event = |kind: &str| json!({"type": kind, "id": found.id()});
    let print_stats = || {
        let mut event = event("stats");
        event["data"] = stats::of(&group);
        print(&format!("{event}\n"))
    };
    if once {
        print_stats()?;
        return Ok(0);
    }
    let (mut killed, mut due) = (group.oom_kills(), Instant::now() + interval);
    while found.record.lives() {
        std::thread::sleep(LOOK.min(due.saturating_duration_since(Instant::now())));
        let now = group.oom_kills();
        if now > killed {
            print(&format!("{}\n", event("oom")))?;
            killed = now;
        }
        if Instant::now() >= due {
            print_stats()?;
            due = Instant::now() + interval;
        }
    }
    Ok(0)
}
