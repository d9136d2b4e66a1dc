//! `kill`.

use std::os::fd::AsFd;

use anyhow::{Context, bail};
use loment_runtime::parse_signal;
use loment_runtime::state::Status;

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::found::Found;
use super::super::globals::{Runtime, id};

const SIGKILL: i32 = 9;

pub(super) const HELP: &str = "\
Send a signal to a container

Usage: loment-runtime kill [OPTIONS] <ID> [SIGNAL]

Arguments:
  [SIGNAL]  Name or number of the signal [default: TERM]

Options:
  -a, --all    Signal every process of the container
  -r, --regex  Signal all containers whose id this regular expression matches
  -h, --help   Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut words, mut all, mut regex) = (Vec::new(), false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag("-a" | "--all") => all = true,
            Argument::Flag("-r" | "--regex") => regex = true,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let name = if words.len() > 1 { words.remove(1) } else { "TERM" };
    let signal = parse_signal(name).with_context(|| format!("unknown signal {name:?}"))?;
    if regex {
        runtime.each_matching(&words, |id| kill(&runtime.find(id)?, signal, all))?;
    } else {
        kill(&runtime.find(&id(&words)?)?, signal, all)?;
    }
    Ok(0)
}

fn kill(found: &Found, signal: i32, all: bool) -> anyhow::Result<()> {
    if all {
        return signal_all(found, signal);
    }
    found.must_live()?;
    if signal == SIGKILL && shares_processes(found) {
        // The end of its first process would not end the others.
        return signal_all(found, signal);
    }
    match loment_sys::process::pidfd_signal(found.process()?.as_fd(), signal) {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            bail!("container {:?} has ended: container not running", found.id())
        }
        other => other.with_context(|| format!("signal container {:?}", found.id()))?,
    }
    if signal == SIGKILL && found.status == Status::Paused {
        // What is frozen does not die.
        found.needed_place()?.group().freeze(false)?;
    }
    Ok(())
}

/// Signals every process in the container's control group, also when its program has ended.
fn signal_all(found: &Found, signal: i32) -> anyhow::Result<()> {
    let Some(place) = found.place()? else {
        loment_sys::process::pidfd_signal(found.process()?.as_fd(), signal)?;
        return Ok(());
    };
    let group = place.group();
    if !group.exists() {
        return Ok(());
    }
    if signal == SIGKILL {
        return Ok(group.kill()?);
    }
    for pid in group.pids()? {
        // One that has ended in the meantime needs no signal.
        let _ = loment_sys::process::kill(pid, signal);
    }
    Ok(())
}

/// Whether the container's processes are the host's, too: then the kernel does not end them with the first.
fn shares_processes(found: &Found) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs = namespace(&found.record.pid.to_string());
    theirs.is_some() && theirs == namespace("self")
}
