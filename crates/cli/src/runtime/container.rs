//! Making a container: what `create` and `run` have in common.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use loment_runtime::state::{Id, Record, Reservation, START, VERSION, process_start_time};
use loment_runtime::{Bundle, Container, Created, Description, Plan, Rootfs, Start, Stdio, create};
use rustix::process::Pid;

use super::arguments::Arguments;
use super::class::Class;
use super::descriptors::{Receiver, inherited};
use super::globals::Runtime;
use super::notify::Relay;
use super::pid_file::PidFile;
use super::place::Place;
use super::{annotations, hooks, notify, protect};

/// The flags of `create` and `run`.
#[derive(Debug, Default)]
pub(crate) struct Options {
    bundle: Option<PathBuf>,
    config: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    preserve_fds: u32,
    no_new_keyring: bool,
    no_pivot: bool,
}

/// When its program runs, and who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At `start`; nobody.
    Deferred,
    /// Now; nobody.
    Detached,
    /// Now; this command.
    Attached,
}

impl Options {
    /// Takes a flag; `false` when it is none of these.
    pub(crate) fn take(&mut self, flag: &str, arguments: &mut Arguments<'_>) -> anyhow::Result<bool> {
        let mut path = || arguments.value(flag).map(|v| Some(PathBuf::from(v)));
        match flag {
            "-b" | "--bundle" => self.bundle = path()?,
            "-f" | "--config" => self.config = path()?,
            "--console-socket" => self.console_socket = path()?,
            "--pid-file" => self.pid_file = path()?,
            "--pidfd-socket" => self.pidfd_socket = path()?,
            "--preserve-fds" => self.preserve_fds = arguments.number(flag)?,
            "--no-new-keyring" => self.no_new_keyring = true,
            "--no-pivot" => self.no_pivot = true,
            "--no-subreaper" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn load(&self) -> anyhow::Result<Bundle> {
        let path = self.bundle.as_deref().unwrap_or(Path::new("."));
        let Some(config) = &self.config else { return Ok(Bundle::load(path)?) };
        let path = path.canonicalize().with_context(|| format!("open bundle {}", path.display()))?;
        Ok(Bundle::read(path, config)?)
    }
}

/// Refuses a terminal that nobody would have, and a socket that nothing would be sent to. runc's words.
pub(crate) fn check_terminal(terminal: bool, attached: bool, socket: Option<&Path>) -> anyhow::Result<()> {
    match (terminal, attached, socket) {
        (true, false, None) => {
            bail!(
                "cannot allocate tty if runc will detach without setting console socket: give --console-socket"
            )
        }
        (false, _, Some(_)) | (_, true, Some(_)) => {
            bail!("cannot use console socket if runc will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

/// A container that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) created: Created,
    pub(crate) bundle: Bundle,
    pub(crate) plan: Plan,
    pub(crate) place: Option<Place>,
    pub(crate) class: Option<Class>,
    /// For its readiness messages; there before its program is.
    pub(crate) relay: Option<Relay>,
}

/// A container in the making.
struct Making<'a> {
    runtime: &'a Runtime<'a>,
    id: &'a Id,
    options: &'a Options,
    bundle: &'a Bundle,
    mode: Mode,
    console: Option<Receiver>,
    pidfd: Option<Receiver>,
    pid_file: Option<PidFile>,
    keep_fds: u32,
}

/// Makes the container `id`; leaves nothing behind when that fails.
pub(crate) fn make(runtime: &Runtime<'_>, id: &Id, options: &Options, mode: Mode) -> anyhow::Result<Made> {
    let mut bundle = options.load()?;
    let terminal = bundle.spec.process().as_ref().and_then(|p| p.terminal()).unwrap_or(false);
    check_terminal(terminal, mode == Mode::Attached, options.console_socket.as_deref())?;
    annotations::refuse_handler(&bundle)?;
    annotations::name_agent(&mut bundle)?;
    let keep_fds = inherited(options.preserve_fds, bundle.spec.process_mut().as_mut())?;
    let notified = notify::describe(&mut bundle.spec, &runtime.states.dir(id))?;
    let mut plan = Plan::new(&bundle.spec, &bundle.path)?;
    plan.hooks.inherit(hooks::environment);
    if plan.is_seen_by_others() {
        // Before anything is done that would be done twice.
        protect::ensure()?;
    }
    plan.hooks.open_output()?;
    let users = plan.in_user_namespace();
    let left_out = plan.process.as_ref().map_or_else(|| Ok(Vec::new()), |p| p.warnings(users))?;
    bundle.warnings.iter().chain(&left_out).for_each(|warning| runtime.log.warn(warning));
    let connect = |what, path: Option<&Path>| path.map(|p| Receiver::connect(what, p)).transpose();
    let annotated = annotations::pidfd_receiver(&bundle).map(Path::new);
    let console = connect("console", options.console_socket.as_deref())?;
    let pidfd = connect("pidfd", options.pidfd_socket.as_deref().or(annotated))?;
    let pid_file = options.pid_file.as_deref().map(PidFile::new).transpose()?;
    let reservation = runtime.states.reserve(id)?;
    let prepare = || -> anyhow::Result<_> {
        runtime.states.keep_config(id, &bundle)?;
        let dir = runtime.states.dir(id);
        if notified {
            notify::make_place(&dir)?;
        }
        let relay = if mode == Mode::Deferred { None } else { Relay::open(&dir)? };
        let place = runtime.places.make(&bundle.spec, id, &plan, runtime.log)?;
        match Class::make(&plan, id) {
            Ok(class) => Ok((place, class, relay)),
            Err(e) => {
                let _ = place.as_ref().map(Place::clear);
                Err(e.into())
            }
        }
    };
    let (place, class, relay) = match prepare() {
        Ok(prepared) => prepared,
        Err(e) => {
            let _ = runtime.states.abandon(id, &reservation);
            return Err(e);
        }
    };
    let making = Making { runtime, id, options, bundle: &bundle, mode, console, pidfd, pid_file, keep_fds };
    match making.create(&plan, place.as_ref(), class.as_ref()) {
        Ok(created) => Ok(Made { created, bundle, plan, place, class, relay }),
        Err(e) => {
            if let Some(class) = &class {
                class.undo();
            }
            undo(runtime, id, &reservation, place.as_ref());
            let description = Description::new(id.as_str(), &bundle.path, bundle.spec.annotations().as_ref());
            hooks::stopped(&plan.hooks, &description, &bundle.path, runtime.log);
            Err(e)
        }
    }
}

/// What went wrong before is what the caller needs to know.
pub(crate) fn undo(runtime: &Runtime<'_>, id: &Id, reservation: &Reservation, place: Option<&Place>) {
    let _ = place.map(Place::clear);
    let _ = runtime.states.abandon(id, reservation);
}

impl Making<'_> {
    fn create(&self, plan: &Plan, place: Option<&Place>, class: Option<&Class>) -> anyhow::Result<Created> {
        let tasks = Class::tasks(class)?;
        let (id, states) = (self.id, &self.runtime.states);
        let listener = (self.mode == Mode::Deferred).then(|| listen(&states.dir(id))).transpose()?;
        let annotations = self.bundle.spec.annotations().as_ref();
        let description = Description::new(id.as_str(), &self.bundle.path, annotations);
        let group = place.map(Place::group);
        let container = Container {
            plan,
            description: &description,
            rootfs: Rootfs::Bundle,
            mounts: &[],
            stdio: Stdio::Inherit,
            start: listener.as_ref().map_or(Start::Now, |l| Start::OnConnection(l.as_fd())),
            cgroup: group.as_ref(),
            tasks: &tasks,
            keep_fds: self.keep_fds,
            pass: &[],
            keyring: !self.options.no_new_keyring,
            init: false,
            sibling: false,
            pivot: !self.options.no_pivot,
        };
        let mut saved = Ok(());
        let keyring = !self.options.no_new_keyring;
        let mut created = create(&container, |pid| {
            saved = states.save(&record(id, self.bundle, pid, place, class, keyring))
        })?;
        match saved.map_err(anyhow::Error::from).and_then(|()| self.hand_over(&created)) {
            Ok(()) => {
                created.keep();
                Ok(created)
            }
            Err(e) => {
                for failure in created.abandon() {
                    self.runtime.log.warn(&failure);
                }
                Err(e)
            }
        }
    }

    /// Tells whoever waits.
    fn hand_over(&self, created: &Created) -> anyhow::Result<()> {
        if let (Some(terminal), Some(console)) = (&created.terminal, &self.console) {
            console.send("/dev/ptmx", terminal)?;
        }
        if let Some(receiver) = &self.pidfd {
            receiver.send("pidfd", &created.pidfd)?;
        }
        self.pid_file.as_ref().map_or(Ok(()), |file| file.write(created.pid.as_raw_nonzero().get()))
    }
}

/// What other commands need to know of a container.
pub(crate) fn record(
    id: &Id,
    bundle: &Bundle,
    pid: Pid,
    place: Option<&Place>,
    class: Option<&Class>,
    keyring: bool,
) -> Record {
    let (pid, spec) = (pid.as_raw_nonzero().get(), &bundle.spec);
    let annotations = spec.annotations().iter().flatten();
    Record {
        version: VERSION,
        id: id.clone(),
        pid,
        start_time: process_start_time(pid).unwrap_or(0),
        bundle: bundle.path.clone(),
        rootfs: spec.root().as_ref().map(|r| bundle.path.join(r.path())).unwrap_or_default(),
        cgroup: place.map(|p| p.path.as_str().to_owned()),
        unit: place.and_then(Place::unit).map(str::to_owned),
        class: class.map(|c| c.member.clone()),
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::geteuid().as_raw(),
        keyring,
        attended: hooks::attended(spec),
        annotations: annotations.map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
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

/// Either end of it.
pub(crate) fn start_socket() -> anyhow::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
