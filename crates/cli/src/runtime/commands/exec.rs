//! `exec`.

use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use loment_cgroup::Cgroup;
use loment_runtime::state::Status;
use loment_runtime::{Bundle, CapabilitySet, Enter, ProcessPlan, Stdio, enter, parse_process};
use oci_spec::runtime::{Capabilities, Process};

use super::super::annotations;
use super::super::arguments::{Argument, Arguments, unknown};
use super::super::class::Class;
use super::super::container::check_terminal;
use super::super::descriptors::{Receiver, inherited};
use super::super::found::Found;
use super::super::globals::{Runtime, id};
use super::super::log::Log;
use super::super::pid_file::PidFile;
use super::super::place::Place;
use super::super::protect;
use super::super::session::Session;

pub(super) const HELP: &str = "\
Run a command in a running container

Usage: loment-runtime exec [OPTIONS] <ID> [COMMAND [ARG...]]

Options:
  -p, --process <FILE>           Read the process from this JSON file instead of COMMAND
  -d, --detach                   Run in the background
  -t, --tty                      Give it a terminal
  -u, --user <UID[:GID]>         Run as this user and group
  -g, --additional-gids <GID>    Add a group
  -e, --env <NAME=VALUE>         Set a variable
      --cwd <DIR>                Run in this directory
  -c, --cap <CAPABILITY>         Add a capability
      --no-new-privs             Forbid gaining privileges
      --apparmor <PROFILE>       Set the AppArmor profile
      --process-label <LABEL>    Set the SELinux label
      --cgroup <PATH>            Run in this existing group below the container's
      --ignore-paused            Wait in a paused container instead of failing
      --console-socket <SOCKET>  Send the command's terminal to this unix socket
      --pid-file <FILE>          Write the number of the command's process to this file
      --pidfd-socket <SOCKET>    Send a descriptor of the command's process to this unix socket
      --preserve-fds <NUMBER>    Hand on so many descriptors from 3 on [default: 0]
      --no-subreaper             Accepted for compatibility
  -h, --help                     Print help
";

#[derive(Debug, Default)]
struct Options<'a> {
    process: Option<PathBuf>,
    detach: bool,
    tty: bool,
    user: Option<(u32, Option<u32>)>,
    groups: Vec<u32>,
    env: Vec<&'a str>,
    cwd: Option<PathBuf>,
    capabilities: Vec<&'a str>,
    no_new_privileges: bool,
    apparmor: Option<&'a str>,
    label: Option<&'a str>,
    cgroup: Option<&'a str>,
    ignore_paused: bool,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
}

impl<'a> Options<'a> {
    fn take(&mut self, flag: &'a str, arguments: &mut Arguments<'a>) -> anyhow::Result<()> {
        let mut value = || arguments.value(flag);
        match flag {
            "-p" | "--process" => self.process = Some(value()?.into()),
            "-d" | "--detach" => self.detach = true,
            "-t" | "--tty" => self.tty = true,
            "-u" | "--user" => self.user = Some(user(value()?)?),
            "-g" | "--additional-gids" => self.groups.push(arguments.number(flag)?),
            "-e" | "--env" => self.env.push(value()?),
            "--cwd" => self.cwd = Some(value()?.into()),
            "-c" | "--cap" => self.capabilities.push(value()?),
            "--no-new-privs" => self.no_new_privileges = true,
            "--apparmor" => self.apparmor = Some(value()?),
            "--process-label" => self.label = Some(value()?),
            "--cgroup" => self.cgroup = Some(value()?),
            "--ignore-paused" => self.ignore_paused = true,
            "--console-socket" => self.console_socket = Some(value()?.into()),
            "--pid-file" => self.pid_file = Some(value()?.into()),
            "--pidfd-socket" => self.pidfd_socket = Some(value()?.into()),
            "--preserve-fds" => self.preserve_fds = arguments.number(flag)?,
            "--no-subreaper" => {}
            _ => return unknown(flag),
        }
        Ok(())
    }
}

/// `UID[:GID]`, digits only: what is half a number must not become another user.
fn user(text: &str) -> anyhow::Result<(u32, Option<u32>)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // The highest one means "no change" to the kernel.
        text.parse().ok().filter(|&n| digits && n != u32::MAX)
    };
    let (uid, gid) = match text.split_once(':') {
        None => (number(text), Some(None)),
        Some((uid, gid)) => (number(uid), number(gid).map(Some)),
    };
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => bail!("invalid --user {text:?}: use numbers, UID or UID:GID"),
    }
}

pub(super) fn run(arguments: &mut Arguments<'_>, runtime: &Runtime<'_>) -> anyhow::Result<u8> {
    protect::ensure()?;
    let (mut options, mut words) = (Options::default(), Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Argument::Word(word) => {
                words.push(word);
                // What follows the id belongs to the program.
                break;
            }
            Argument::Flag(flag) => options.take(flag, arguments)?,
        }
    }
    let found = runtime.find(&id(&words)?)?;
    match found.status {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        // runc's words.
        Status::Paused => bail!("cannot exec in a paused container (use --ignore-paused to override)"),
        Status::Stopped => bail!("cannot exec in a stopped container: container not running"),
        Status::Creating => bail!("cannot exec in container {:?}: it is being created", found.id()),
    }
    let mut bundle = runtime.states.config(&found.record)?;
    annotations::name_agent(&mut bundle)?;
    let process = process(&options, &bundle, &arguments.remaining()?, runtime.log)?;
    execute(&options, &found, &bundle, process)
}

fn execute(
    options: &Options<'_>,
    found: &Found,
    bundle: &Bundle,
    mut process: Process,
) -> anyhow::Result<u8> {
    let terminal = process.terminal().unwrap_or(false);
    check_terminal(terminal, !options.detach, options.console_socket.as_deref())?;
    // All that has a path is opened before this process enters the container's namespaces.
    let keep_fds = inherited(options.preserve_fds, Some(&mut process))?;
    let console = options.console_socket.as_deref().map(|p| Receiver::connect("console", p)).transpose()?;
    let receiver = options.pidfd_socket.as_deref().map(|p| Receiver::connect("pidfd", p)).transpose()?;
    let pid_file = options.pid_file.as_deref().map(PidFile::new).transpose()?;
    let seccomp = bundle.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let plan = ProcessPlan::to_enter(&process, seccomp, bundle.spec.annotations().as_ref())?;
    let place = found.place()?;
    let group = place.as_ref().map(|p| group(p, options.cgroup)).transpose()?;
    let tasks = Class::tasks(Class::recorded(&found.record)?.as_ref())?;
    let session = (!options.detach).then(Session::begin).transpose()?;
    let pidfd = found.process()?;
    let created = enter(&Enter {
        container: pidfd.as_fd(),
        process: &plan,
        description: Some(&found.description(bundle)),
        stdio: Stdio::Inherit,
        cgroup: group.as_ref(),
        tasks: &tasks,
        keep_fds,
        pass: &[],
        keyring: found.record.keyring.then_some(found.id()),
        sibling: false,
    })?;
    if let (Some(terminal), Some(console)) = (&created.terminal, &console) {
        console.send("/dev/ptmx", terminal)?;
    }
    if let Some(receiver) = &receiver {
        receiver.send("pidfd", &created.pidfd)?;
    }
    if let Some(file) = &pid_file {
        file.write(created.pid.as_raw_nonzero().get())?;
    }
    match session {
        None => Ok(0),
        Some(session) => Ok(session.wait(created, None)?.status() as u8),
    }
}

/// The container's group, or one below it that is there.
fn group<'p>(place: &'p Place, below: Option<&str>) -> anyhow::Result<Cgroup<'p>> {
    let Some(path) = below.filter(|p| !p.trim_matches('/').is_empty()) else { return Ok(place.group()) };
    if path.contains(':') {
        bail!("--cgroup {path:?}: a group for some controllers only is not supported: give a path");
    }
    // One validated name: crun 1.29 was escaped through this flag.
    let group = place.host.cgroup(place.path.join(path.trim_start_matches('/'))?);
    if !group.exists() {
        bail!("--cgroup {path:?}: cgroup {} does not exist", group.path());
    }
    Ok(group)
}

/// What to run: a document, or the container's own process with another program and what the flags change.
fn process(options: &Options<'_>, bundle: &Bundle, words: &[String], log: &Log) -> anyhow::Result<Process> {
    if let Some(path) = &options.process {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let parsed = parse_process(&bytes).with_context(|| format!("parse {}", path.display()));
        let (mut process, warnings) = parsed?;
        warnings.iter().for_each(|warning| log.warn(warning));
        if options.tty {
            process.set_terminal(Some(true));
        }
        return Ok(process);
    }
    let mut process = bundle.spec.process().clone().context("config.json has no process")?;
    if words.is_empty() {
        bail!("no program given: name one after the container id, or use --process");
    }
    process.set_args(Some(words.to_vec())).set_terminal(Some(options.tty));
    process.env_mut().get_or_insert_default().extend(options.env.iter().map(|e| (*e).to_owned()));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some((uid, gid)) = options.user {
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    if !options.groups.is_empty() {
        let user = process.user_mut();
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&options.groups);
        user.set_additional_gids(Some(groups));
    }
    if options.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = options.apparmor {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if let Some(label) = options.label {
        process.set_selinux_label(Some(label.to_owned()));
    }
    add_capabilities(&mut process, &options.capabilities)?;
    Ok(process)
}

/// To what the program may have and has; never to what it hands on to programs with file capabilities (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[&str]) -> anyhow::Result<()> {
    let mut sets = process.capabilities().clone().unwrap_or_default();
    for name in names {
        let capability =
            CapabilitySet::parse(name).with_context(|| format!("unknown capability {name:?}"))?;
        let with = |set: &Option<Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    }
    if !names.is_empty() {
        sets.set_inheritable(None).set_ambient(None);
        process.set_capabilities(Some(sets));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn users_are_numbers_and_nothing_else() {
        assert_eq!(user("1000").unwrap(), (1000, None));
        assert_eq!(user("0:5").unwrap(), (0, Some(5)));
        for bad in ["", ":", "1:", ":1", "+1", "-1", "1 ", "1000x", "root", "1:2:3", "0x1", "4294967295"] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }
}
