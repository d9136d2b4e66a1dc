//! `run`.

use std::os::fd::AsFd;

use loment_runtime::state::Id;
use loment_runtime::{Bundle, Description, Hooks};

use super::super::arguments::{Argument, Arguments, unknown};
use super::super::class::Class;
use super::super::container::{Made, Mode, Options, make};
use super::super::globals::{Runtime, id};
use super::super::hooks;
use super::super::place::Place;
use super::super::session::Session;

pub(super) const HELP: &str = "\
Create and start a container

Usage: loment-runtime run [OPTIONS] <ID>

Options:
  -b, --bundle <DIR>             Find config.json in this directory [default: .]
  -f, --config <FILE>            Read this file instead of the bundle's config.json
  -d, --detach                   Run in the background
      --keep                     Do not delete the container when its program ends
      --console-socket <SOCKET>  Send the container's terminal to this unix socket
      --pid-file <FILE>          Write the number of the container's process to this file
      --pidfd-socket <SOCKET>    Send a descriptor of the container's process to this unix socket
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
      --no-new-keyring           Keep the caller's session keyring
      --no-pivot                 Enter the root with chroot, for a host whose root is a ramdisk
      --no-subreaper             Accepted for compatibility
  -h, --help                     Print help
";

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    let (mut options, mut words) = (Options::default(), Vec::new());
    let (mut mode, mut keep) = (Mode::Attached, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => words.push(word),
            Argument::Flag(flag) if options.take(flag, arguments)? => {}
            Argument::Flag("-d" | "--detach") => mode = Mode::Detached,
            Argument::Flag("--keep") => keep = true,
            Argument::Flag(flag) => return unknown(flag),
        }
    }
    let id = id(&words)?;
    let session = (mode == Mode::Attached).then(Session::begin).transpose()?;
    let made = make(runtime, &id, &options, mode)?;
    let (rest, result) = follow(runtime, &id, made, session);
    match result {
        Ok(None) => return Ok(0),
        Ok(Some(status)) if keep => return Ok(status),
        _ => {}
    }
    let removed = remove(runtime, &id, &rest);
    let status = result?.unwrap_or_default();
    removed.map(|()| status)
}

/// What the end needs of a container whose process is gone.
pub(super) struct Rest {
    pub(super) bundle: Bundle,
    pub(super) hooks: Hooks,
    pub(super) place: Option<Place>,
    pub(super) class: Option<Class>,
}

/// Waits for the program's end, if that is ours to do: its exit status, or `None` when it goes on without us. After an error
/// the container is to be removed, as after the end.
fn follow(
    runtime: &Runtime<'_>,
    id: &Id,
    made: Made,
    session: Option<Session>,
) -> (Rest, anyhow::Result<Option<u8>>) {
    let Made { created, bundle, plan, place, class, relay } = made;
    let rest = Rest { bundle, hooks: plan.hooks, place, class };
    let pid = created.pid.as_raw_nonzero().get();
    let stop = || {
        // Its end is what is wanted; one that has come already is no error.
        let _ = loment_sys::process::pidfd_signal(created.pidfd.as_fd(), 9);
        let _ = loment_sys::wait::wait_exit(&created.pidfd);
    };
    let started = hooks::started(&rest.hooks, &rest.description(id), pid, &rest.bundle.path);
    if let Err(e) = started {
        stop();
        return (rest, Err(e.into()));
    }
    let Some(session) = session else {
        if let (Some(relay), Ok(record)) = (relay, runtime.states.load(id))
            && let Err(e) = relay.wait(&record)
        {
            runtime.log.warn(&crate::error::one_line_in_c(e.as_ref()));
        }
        return (rest, Ok(None));
    };
    let exit = session.wait(created, relay);
    (rest, exit.map(|e| Some(e.status() as u8)))
}

impl Rest {
    fn description<'a>(&'a self, id: &'a Id) -> Description<'a> {
        Description::new(id.as_str(), &self.bundle.path, self.bundle.spec.annotations().as_ref())
    }
}

pub(super) fn remove(runtime: &Runtime<'_>, id: &Id, rest: &Rest) -> anyhow::Result<()> {
    // A group that cannot be removed keeps the container, for `delete`.
    let cleared = rest.place.as_ref().map_or(Ok(()), |place| place.clear());
    let left = rest.class.as_ref().map_or(Ok(()), Class::remove);
    let forgotten = if cleared.is_ok() && left.is_ok() { runtime.states.forget(id) } else { Ok(true) };
    if !matches!(forgotten, Ok(false)) {
        hooks::stopped(&rest.hooks, &rest.description(id), &rest.bundle.path, runtime.log);
    }
    cleared?;
    left?;
    forgotten?;
    Ok(())
}
