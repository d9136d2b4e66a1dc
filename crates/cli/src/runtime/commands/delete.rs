//! `delete`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::bail;
use loment_runtime::Error;
use loment_runtime::state::{Id, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::class::{self, Class};
use super::super::found::Found;
use super::super::globals::{Runtime, id};
use super::super::hooks;
use super::super::place;
use crate::error::one_line_in_c;

/// How long to wait for the end of a process that was killed.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How long until somebody else's work is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) const HELP: &str = "\
Remove a stopped container

Usage: loment-runtime delete [OPTIONS] <ID>

Options:
  -f, --force  Kill and remove a running one, too; skip one that does not exist
  -r, --regex  Remove all containers whose id this regular expression matches
  -h, --help   Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut words, mut force, mut regex) = (Vec::new(), false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag("-f" | "--force") => force = true,
            Argument::Flag("-r" | "--regex") => regex = true,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    if regex {
        runtime.each_matching(&words, |id| delete(runtime, id, force))?;
    } else {
        delete(runtime, &id(&words)?, force)?;
    }
    Ok(0)
}

fn delete(runtime: &Runtime<'_>, id: &Id, force: bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE.tv_sec.unsigned_abs());
    let found = loop {
        match find(runtime, id) {
            // What a creator that was killed had made ends a moment after it, and has the id until then.
            Err(Error::Busy { .. }) if force && Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Error::NotFound { .. }) if force => return Ok(()),
            other => break other?,
        }
    };
    if !force && ![Status::Stopped, Status::Created].contains(&found.status) {
        // runc's words.
        let (id, status) = (found.id(), found.status);
        bail!(
            "cannot delete container {id} that is not stopped: {status}: it is running, kill it or use --force"
        );
    }
    end(&found)?;
    remove(runtime, &found)
}

/// The container. When there is none, what is left of making one is cleared away.
fn find(runtime: &Runtime<'_>, id: &Id) -> Result<Found, Error> {
    let found = runtime.find(id);
    if let Err(Error::NotFound { .. }) = found {
        runtime.states.clear(id, |bundle| {
            place::abandon(&bundle.spec, id);
            class::abandon(&bundle.spec, id);
        })?;
    }
    found
}

/// Kills what is left of it.
pub(super) fn end(found: &Found) -> anyhow::Result<()> {
    let pidfd = found.record.open_process();
    if let Some(pidfd) = &pidfd {
        // One that ends by itself at this moment is what is wanted.
        let _ = loment_sys::process::pidfd_signal(pidfd.as_fd(), 9);
    }
    if let Some(place) = found.place()? {
        let group = place.group();
        if group.exists() {
            group.kill()?;
        }
    }
    if let Some(pidfd) = &pidfd
        && !wait_for_end(pidfd)
    {
        bail!("container {:?} does not end: its process {} is stuck", found.id(), found.record.pid);
    }
    Ok(())
}

/// Waits for the end of a process; `false` when that takes too long.
pub(super) fn wait_for_end(pidfd: &OwnedFd) -> bool {
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&PATIENCE)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.is_ok_and(|n| n > 0),
        }
    }
}

/// Removes what is left of a container whose processes have ended.
pub(super) fn remove(runtime: &Runtime<'_>, found: &Found) -> anyhow::Result<()> {
    // Read before it is gone. One that is damaged does not keep the container.
    let attended = found.record.attended.then(|| {
        let bundle = runtime.states.config(&found.record)?;
        let hooks = hooks::of(&bundle.spec)?;
        Ok::<_, loment_runtime::Error>((bundle, hooks))
    });
    // A group that cannot be removed keeps the container: it can be deleted again.
    found.place()?.map_or(Ok(()), |place| place.group().remove())?;
    Class::recorded(&found.record)?.map_or(Ok(()), |class| class.remove())?;
    let ours = runtime.states.forget(&found.record.id)?;
    // Whoever else removed it at the same time runs its hooks.
    match attended.filter(|_| ours) {
        Some(Ok((bundle, mut hooks))) => {
            if let Err(e) = hooks.open_output() {
                runtime.log.warn(&one_line_in_c(&e));
            }
            hooks::stopped(&hooks, &found.description(&bundle), &bundle.path, runtime.log);
        }
        Some(Err(e)) => runtime.log.warn(&format!("hooks are not run: {}", one_line_in_c(&e))),
        None => {}
    }
    Ok(())
}
