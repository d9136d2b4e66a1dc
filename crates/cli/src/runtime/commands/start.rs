//! `start`.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, bail};
use loment_runtime::Hooks;
use loment_runtime::state::{START, Status};

use super::super::arguments::Arguments;
use super::super::container::start_socket;
use super::super::found::Found;
use super::super::globals::{Runtime, id};
use super::super::hooks;
use super::super::notify::Relay;

pub(super) const HELP: &str = "\
Start a created container

Usage: loment-runtime start <ID>

Options:
  -h, --help  Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let found = runtime.find(&id(&arguments.words()?)?)?;
    match found.status {
        Status::Created => {}
        // runc's words.
        Status::Stopped => {
            bail!("cannot start container {:?}: cannot start a container that has stopped", found.id())
        }
        Status::Running => {
            bail!("cannot start container {:?}: cannot start an already running container", found.id())
        }
        other => bail!("cannot start container {:?}: it is {other}", found.id()),
    }
    let pidfd = found.process()?;
    // Mostly there is nothing in it for us.
    let bundle = found.record.attended.then(|| runtime.states.config(&found.record)).transpose()?;
    let relay = Relay::open(&found.dir)?;
    let mut hooks = bundle.as_ref().map(|bundle| hooks::of(&bundle.spec)).transpose()?;
    hooks.as_mut().map_or(Ok(()), Hooks::open_output)?;
    let hooks = hooks.unwrap_or_default();
    order(&found, &hooks)?;
    if let Some(bundle) = &bundle {
        let started = hooks::started(&hooks, &found.description(bundle), found.record.pid, &bundle.path);
        if let Err(e) = started {
            stop(&found, &pidfd)?;
            return Err(e.into());
        }
    }
    relay.map_or(Ok(()), |relay| relay.wait(&found.record))?;
    Ok(0)
}

/// Gives the order and waits until the program runs.
fn order(found: &Found, hooks: &Hooks) -> anyhow::Result<()> {
    let doing = || format!("start container {:?}", found.id());
    let path = found.dir.join(START);
    let socket = start_socket()?;
    let (address, _dir) = loment_sys::pipe::address_in(&found.dir, START)?;
    rustix::net::connect(&socket, &address).with_context(doing)?;
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    Ok(loment_runtime::wait_for_program(&socket, hooks)?)
}

/// Ends a container whose hooks failed (runtime-spec 1.3, config.md, "Poststart").
fn stop(found: &Found, pidfd: &OwnedFd) -> anyhow::Result<()> {
    // One that has ended by itself is stopped, too.
    let _ = loment_sys::process::pidfd_signal(pidfd.as_fd(), 9);
    if let Some(place) = found.place()? {
        place.group().kill()?;
    }
    super::delete::wait_for_end(pidfd);
    Ok(())
}
