//! What forked workers do: make the container, run a further program in it, clean up after it. A worker may take its time
//! and may hang; the monitor goes on moving bytes.

mod clean;
mod exec;
mod health;
mod joins;
mod own_files;
mod restore;
mod start;
mod sweep;
pub(crate) mod volumes;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_runtime::resctrl::{Rdt, Resctrl};
use loment_runtime::{Cause, Stdio};
use loment_sys::pipe;
use loment_sys::process::{groups_are_kept, is_in_user_namespace};
use oci_spec::runtime::Process;
use rustix::process::Pid;

use crate::protocol::Answer;
use crate::{Error, user};

pub use self::clean::{End, clean_up};
pub(crate) use self::clean::{SHUT_DOWN, clean_up_unless_shut_down};
pub(crate) use self::exec::exec;
pub(crate) use self::health::{PAUSED, check, copy_health};
pub(crate) use self::start::{When, begin, hold, start, tell_of_start};
pub(crate) use self::sweep::leave_sweeper;
pub use self::sweep::remove_monitor_cgroup;

/// Standard streams for a new program: the container's ends.
pub(crate) type Ends = [OwnedFd; 3];

/// A worker ends with its monitor: nobody would supervise what it makes.
pub(crate) fn end_with(monitor: Pid) {
    let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if set.is_err() || rustix::process::getppid() != Some(monitor) {
        loment_sys::process::exit_now(1)
    }
}

/// Tells the monitor how it went. A warning or failure is text, a success carries the terminal.
pub(crate) fn report(socket: &OwnedFd, result: Result<(Pid, Option<OwnedFd>), Error>) {
    let (answer, terminal) = match result {
        Ok((pid, terminal)) => (Answer::Started { pid: pid.as_raw_nonzero().get() }, terminal),
        Err(error) => (failed(&error), None),
    };
    let fds: Vec<BorrowedFd<'_>> = terminal.iter().map(AsFd::as_fd).collect();
    // Without a monitor nobody wants to know.
    let _ = pipe::send(socket, &answer.encode(), &fds);
}

fn failed(error: &Error) -> Answer {
    let cause = match error {
        Error::Runtime(loment_runtime::Error::Failed(f)) => f.cause,
        Error::NoWorkdir { .. } => Cause::NotExecutable,
        _ => Cause::Setup,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        let text = e.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = e.source();
    }
    Answer::Failed { cause, message }
}

/// What a process opens itself to the class of caches and memory bandwidth by that its container is in.
fn class_tasks(rdt: Option<&Rdt>, id: &str) -> Result<Vec<OwnedFd>, Error> {
    let Some(rdt) = rdt else { return Ok(Vec::new()) };
    let tasks = || {
        let resctrl = Resctrl::find()?;
        resctrl.tasks(&resctrl.make(rdt, id)?)
    };
    Ok(tasks().map_err(loment_runtime::Error::from)?)
}

fn stdio(ends: Option<&Ends>) -> Stdio<'_> {
    ends.map_or(Stdio::Inherit, |e| Stdio::Files([e[0].as_fd(), e[1].as_fd(), e[2].as_fd()]))
}

/// Gives a program variables that go before others of the same name.
fn set_variables(process: &mut Process, variables: &[String]) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let env = process.env_mut().get_or_insert_with(Vec::new);
    for variable in variables {
        env.retain(|entry| name(entry) != name(variable));
        env.push(variable.clone());
    }
}

fn become_user(process: &mut Process, found: &user::User) {
    let u = process.user_mut();
    // With one id there are no others.
    let one = is_in_user_namespace() && groups_are_kept();
    let groups = if one { Vec::new() } else { found.groups.clone() };
    u.set_uid(found.uid).set_gid(found.gid).set_additional_gids(Some(groups));
    let env = process.env_mut().get_or_insert_with(Vec::new);
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", found.home));
    }
    // A user other than root has what was added by name, through the ambient set; root needs none there.
    if let Some(mut caps) = process.capabilities().clone() {
        if found.uid == 0 {
            caps.set_ambient(None).set_inheritable(None);
        } else {
            let ambient = caps.ambient().clone();
            caps.set_effective(ambient.clone()).set_permitted(ambient.clone()).set_inheritable(ambient);
        }
        process.set_capabilities(Some(caps));
    }
}

/// The failure of a worker that ended without a word.
pub(crate) fn silent_failure() -> Answer {
    let source = io::Error::other("its worker was killed, perhaps for lack of memory");
    failed(&Error::Io { operation: "start", object: "the program".into(), source })
}
