//! The commands.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loment_cgroup::{Cgroup, CgroupPath, Host};
use loment_runtime::state::{Id, Record, START, States, process_start_time};
use loment_runtime::{
    Bundle, Container, Created, Description, Enter, Listener, Plan, ProcessPlan, Rootfs, Start, Stdio,
    Waiting, create, enter, parse_signal,
};
use oci_spec::runtime::{ContainerState, Process};

use super::arguments::{Argument, Arguments};
use super::protect;
use super::{help, log::Log};

/// Where containers are remembered when `--root` is not given.
const ROOT: &str = "/run/loment-runtime";

/// Flags of `create`, `run` and `exec`.
#[derive(Debug, Default)]
struct Options {
    bundle: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    detach: bool,
    keep_fds: u32,
    no_new_keyring: bool,
    process: Option<PathBuf>,
    force: bool,
    all: bool,
}

/// Reads the global flags and runs the command.
pub(crate) fn run(arguments: &mut Arguments<'_>, log: &mut Log) -> anyhow::Result<u8> {
    let mut root = PathBuf::from(ROOT);
    loop {
        match arguments.next()? {
            None => bail!("no command given: try create, start, state, kill, delete, run, exec or list"),
            Some(Argument::Word(command)) => return dispatch(command, arguments, &States::new(root)),
            Some(Argument::Flag(flag)) => match flag {
                "--root" => root = arguments.value(flag)?.into(),
                "--log" => log.file = Some(arguments.value(flag)?.into()),
                "--log-format" => {
                    log.json = match arguments.value(flag)? {
                        "json" => true,
                        "text" => false,
                        other => bail!("invalid --log-format {other:?}: use text or json"),
                    }
                }
                "--debug" => {}
                "--help" | "-h" => return print(help::of("")).map(|()| 0),
                "--version" | "-v" => {
                    print(&format!("loment-runtime version {}\nspec: 1.3.0\n", env!("CARGO_PKG_VERSION")))?;
                    return Ok(0);
                }
                other => bail!("unknown flag {other}"),
            },
        }
    }
}

fn dispatch(command: &str, arguments: &mut Arguments<'_>, states: &States) -> anyhow::Result<u8> {
    let mut options = Options::default();
    let mut words: Vec<&str> = Vec::new();
    loop {
        match arguments.next()? {
            None => break,
            Some(Argument::Word(word)) => {
                words.push(word);
                // What follows the id belongs to the program.
                if command == "exec" {
                    break;
                }
            }
            Some(Argument::Flag(flag)) => match (command, flag) {
                (_, "-h" | "--help") => return print(help::of(command)).map(|()| 0),
                ("create" | "run", "-b" | "--bundle") => options.bundle = Some(arguments.value(flag)?.into()),
                ("create" | "run" | "exec", "--console-socket") => {
                    options.console_socket = Some(arguments.value(flag)?.into());
                }
                ("create" | "run" | "exec", "--pid-file") => {
                    options.pid_file = Some(arguments.value(flag)?.into())
                }
                ("create" | "run" | "exec", "--preserve-fds") => {
                    let text = arguments.value(flag)?;
                    options.keep_fds =
                        text.parse().with_context(|| format!("invalid --preserve-fds {text:?}"))?;
                }
                ("create" | "run", "--no-new-keyring") => options.no_new_keyring = true,
                ("create" | "run", "--no-subreaper") => {}
                ("run" | "exec", "-d" | "--detach") => options.detach = true,
                ("exec", "-p" | "--process") => options.process = Some(arguments.value(flag)?.into()),
                ("delete", "-f" | "--force") => options.force = true,
                ("kill", "-a" | "--all") => options.all = true,
                _ => bail!("unknown flag {flag} of {command}"),
            },
        }
    }
    let id = || Id::new(words.first().copied().unwrap_or_default()).map_err(anyhow::Error::from);
    match command {
        "create" => create_container(states, &id()?, &options, true),
        "run" => create_container(states, &id()?, &options, false),
        "start" => start(states, &id()?),
        "state" => state(states, &id()?),
        "kill" => kill(states, &id()?, words.get(1).copied().unwrap_or("TERM"), options.all),
        "delete" => delete(states, &id()?, options.force),
        "exec" => exec(states, &id()?, &options, &arguments.remaining()?),
        "list" => list(states),
        other => {
            bail!("unknown command {other:?}: try create, start, state, kill, delete, run, exec or list")
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}

/// The container's group: as configured, else below one of our own.
fn cgroup_path(bundle: &Bundle, id: &Id) -> anyhow::Result<CgroupPath> {
    let configured = bundle.spec.linux().as_ref().and_then(|l| l.cgroups_path().as_ref());
    Ok(match configured.filter(|p| !p.as_os_str().is_empty()) {
        Some(path) => CgroupPath::new(&path.to_string_lossy())?,
        None => CgroupPath::new(&format!("loment-{}", id.as_str()))?,
    })
}

fn create_container(states: &States, id: &Id, options: &Options, deferred: bool) -> anyhow::Result<u8> {
    let bundle = Bundle::load(options.bundle.as_deref().unwrap_or(Path::new(".")))?;
    let plan = Plan::new(&bundle.spec, &bundle.path)?;
    if plan.is_seen_by_others() {
        protect::ensure()?;
    }
    let host = Host::detect()?;
    let group = host.cgroup(cgroup_path(&bundle, id)?);
    states.reserve(id)?;
    let made = group.create_or_adopt().map_err(anyhow::Error::from).and_then(|()| {
        group.apply(&plan.resources)?;
        plan.cgroup_owner().map_or(Ok(()), |uid| group.delegate(uid))?;
        make(states, id, options, &bundle, &plan, &group, deferred)
    });
    let created = match made {
        Ok(created) => created,
        Err(e) => {
            let _ = group.kill();
            let _ = group.remove();
            let _ = states.forget(id);
            return Err(e);
        }
    };
    if deferred || options.detach {
        return Ok(0);
    }
    let exit = loment_sys::wait::wait_exit(&created.pidfd).context("wait for the container")?;
    group.remove()?;
    states.forget(id)?;
    Ok(exit.status() as u8)
}

fn make(
    states: &States,
    id: &Id,
    options: &Options,
    bundle: &Bundle,
    plan: &Plan,
    group: &Cgroup<'_>,
    deferred: bool,
) -> anyhow::Result<Created> {
    let listener = deferred.then(|| listen(&states.dir(id))).transpose()?;
    let description = Description::new(id.as_str(), &bundle.path, bundle.spec.annotations().as_ref());
    let container = Container {
        plan,
        description: &description,
        rootfs: Rootfs::Bundle,
        stdio: Stdio::Inherit,
        start: listener.as_ref().map_or(Start::Now, |l| Start::OnConnection(l.as_fd())),
        cgroup: Some(group),
        keep_fds: options.keep_fds,
        keyring: !options.no_new_keyring,
        init: false,
        sibling: false,
        pivot: true,
    };
    let mut saved = Ok(());
    let created = create(&container, |pid| saved = save(states, id, options, bundle, group, pid))?;
    saved.and_then(|()| hand_over_terminal(&created, options)).inspect_err(|_| {
        let _ = loment_sys::process::pidfd_signal(created.pidfd.as_fd(), 9);
        let _ = loment_sys::wait::wait_exit(&created.pidfd);
    })?;
    Ok(created)
}

/// Writes down what other commands need to know of the container.
fn save(
    states: &States,
    id: &Id,
    options: &Options,
    bundle: &Bundle,
    group: &Cgroup<'_>,
    pid: rustix::process::Pid,
) -> anyhow::Result<()> {
    let pid = pid.as_raw_nonzero().get();
    states.save(&Record {
        version: 1,
        id: id.clone(),
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        bundle: bundle.path.clone(),
        rootfs: bundle.spec.root().as_ref().map(|r| bundle.path.join(r.path())).unwrap_or_default(),
        cgroup: Some(group.path().as_str().to_owned()),
        created: jiff::Timestamp::now().to_string(),
        annotations: bundle
            .spec
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    })?;
    options.pid_file.as_ref().map_or(Ok(()), |path| write_pid_file(path, pid))
}

/// The socket on which a created container waits for `start`.
fn listen(dir: &Path) -> anyhow::Result<OwnedFd> {
    use rustix::net::{bind, listen};
    let socket = start_socket()?;
    let (address, _dir) = loment_sys::pipe::address_in(dir, START)?;
    bind(&socket, &address).with_context(|| format!("bind {START} in {}", dir.display()))?;
    listen(&socket, 1)?;
    Ok(socket)
}

fn start_socket() -> anyhow::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Written whole: whoever waits for the file must not read half a number.
fn write_pid_file(path: &Path, pid: i32) -> anyhow::Result<()> {
    let new = path.with_extension("tmp");
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .with_context(|| format!("write pid file {}", path.display()))
}

fn hand_over_terminal(created: &Created, options: &Options) -> anyhow::Result<()> {
    let Some(terminal) = &created.terminal else { return Ok(()) };
    let Some(path) = &options.console_socket else {
        bail!("the container has a terminal: give --console-socket, or set process.terminal to false");
    };
    let stream = std::os::unix::net::UnixStream::connect(path)
        .with_context(|| format!("connect to console socket {}", path.display()))?;
    loment_sys::pipe::send(&stream, b"terminal", &[terminal.as_fd()]).context("send the terminal")?;
    Ok(())
}

fn start(states: &States, id: &Id) -> anyhow::Result<u8> {
    let record = states.load(id)?;
    refuse_unless(&record, states, "start", &[ContainerState::Created])?;
    let path = states.start_socket(id);
    let socket = start_socket()?;
    let (address, _dir) = loment_sys::pipe::address_in(&states.dir(id), START)?;
    rustix::net::connect(&socket, &address).with_context(|| format!("start container {:?}", id.as_str()))?;
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    let bundle = Bundle::load(&record.bundle)?;
    let seccomp = bundle.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let asks = seccomp.filter(|s| s.listener_path().is_some());
    let listener = asks.map(Listener::new).transpose()?;
    let pid = rustix::process::Pid::from_raw(record.pid);
    let (Some(pid), Some(pidfd)) = (pid, record.open_process()) else {
        bail!("container {:?} has ended", id.as_str());
    };
    let waiting = Waiting {
        process: (pid, pidfd.as_fd()),
        description: &Description::new(id.as_str(), &bundle.path, bundle.spec.annotations().as_ref()),
        listener: listener.as_ref(),
    };
    loment_runtime::wait_for_program(&socket, &waiting)?;
    Ok(0)
}

fn refuse_unless(
    record: &Record,
    states: &States,
    operation: &'static str,
    allowed: &[ContainerState],
) -> anyhow::Result<()> {
    let status = record.status(&states.dir(&record.id));
    if allowed.contains(&status) {
        return Ok(());
    }
    let id = record.id.as_str().to_owned();
    Err(loment_runtime::Error::State { operation, id, status: status.to_string() }.into())
}

fn document(record: &Record, states: &States) -> serde_json::Value {
    let status = record.status(&states.dir(&record.id));
    serde_json::json!({
        "ociVersion": "1.3.0",
        "id": record.id,
        "pid": if status == ContainerState::Stopped { 0 } else { record.pid },
        "status": status.to_string(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "",
    })
}

fn state(states: &States, id: &Id) -> anyhow::Result<u8> {
    let record = states.load(id)?;
    print(&format!("{}\n", serde_json::to_string_pretty(&document(&record, states))?))?;
    Ok(0)
}

fn kill(states: &States, id: &Id, signal: &str, all: bool) -> anyhow::Result<u8> {
    let record = states.load(id)?;
    let number = parse_signal(signal).with_context(|| format!("unknown signal {signal:?}"))?;
    if all {
        let host = Host::detect()?;
        if let Some(path) = &record.cgroup {
            let group = host.cgroup(CgroupPath::new(path)?);
            if number == 9 {
                group.kill()?;
            } else {
                for pid in group.pids()? {
                    let _ = loment_sys::process::kill(pid, number);
                }
            }
        }
        return Ok(0);
    }
    let Some(pidfd) = record.open_process() else {
        bail!("container {:?} is not running: container not running", id.as_str());
    };
    loment_sys::process::pidfd_signal(pidfd.as_fd(), number).context("signal the container")?;
    Ok(0)
}

fn delete(states: &States, id: &Id, force: bool) -> anyhow::Result<u8> {
    let record = match states.load(id) {
        Err(loment_runtime::Error::NotFound { .. }) if force => return Ok(0),
        other => other?,
    };
    let status = record.status(&states.dir(id));
    if status == ContainerState::Running && !force {
        refuse_unless(&record, states, "delete", &[ContainerState::Stopped])?;
    }
    if let Some(pidfd) = record.open_process() {
        let _ = loment_sys::process::pidfd_signal(pidfd.as_fd(), 9);
    }
    let host = Host::detect()?;
    if let Some(path) = &record.cgroup {
        let group = host.cgroup(CgroupPath::new(path)?);
        if group.exists() {
            group.kill()?;
        }
        group.remove()?;
    }
    states.forget(id)?;
    Ok(0)
}

fn exec(states: &States, id: &Id, options: &Options, words: &[String]) -> anyhow::Result<u8> {
    protect::ensure()?;
    let record = states.load(id)?;
    refuse_unless(&record, states, "execute in", &[ContainerState::Running])?;
    let bundle = Bundle::load(&record.bundle)?;
    let process = exec_process(options, &bundle, words)?;
    let seccomp = bundle.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let plan = ProcessPlan::new(&process, seccomp)?;
    let host = Host::detect()?;
    let group = record.cgroup.as_deref().map(CgroupPath::new).transpose()?.map(|p| host.cgroup(p));
    let Some(pidfd) = record.open_process() else { bail!("container {:?} has ended", id.as_str()) };
    let created = enter(&Enter {
        container: pidfd.as_fd(),
        process: &plan,
        description: Some(&Description::new(id.as_str(), &bundle.path, bundle.spec.annotations().as_ref())),
        stdio: Stdio::Inherit,
        cgroup: group.as_ref(),
        keep_fds: options.keep_fds,
        keyring: None,
        sibling: false,
    })?;
    if let Some(path) = &options.pid_file {
        write_pid_file(path, created.pid.as_raw_nonzero().get())?;
    }
    hand_over_terminal(&created, options)?;
    if options.detach {
        return Ok(0);
    }
    let exit = loment_sys::wait::wait_exit(&created.pidfd).context("wait for the program")?;
    Ok(exit.status() as u8)
}

fn exec_process(options: &Options, bundle: &Bundle, words: &[String]) -> anyhow::Result<Process> {
    if let Some(path) = &options.process {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        return serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()));
    }
    let mut process = bundle.spec.process().clone().context("config.json has no process")?;
    if words.is_empty() {
        bail!("no program given");
    }
    process.set_args(Some(words.to_vec()));
    process.set_terminal(Some(false));
    Ok(process)
}

fn list(states: &States) -> anyhow::Result<u8> {
    let mut out = tabwriter::TabWriter::new(Vec::new());
    writeln!(out, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER")?;
    for id in states.list()? {
        // One that is being made or deleted at this moment has no record.
        let Ok(r) = states.load(&id) else { continue };
        let status = r.status(&states.dir(&id));
        let pid = if status == ContainerState::Stopped { 0 } else { r.pid };
        writeln!(out, "{}\t{pid}\t{status}\t{}\t{}\troot", id.as_str(), r.bundle.display(), r.created)?;
    }
    print(&String::from_utf8_lossy(&out.into_inner().context("format the table")?))?;
    Ok(0)
}
