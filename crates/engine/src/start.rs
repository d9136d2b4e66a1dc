//! Starting a container: its generated files, its launch document, its monitor.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use loment_cgroup::systemd::Property;
use loment_cgroup::{CgroupPath, Entry, Host};
use loment_monitor::launch::{self, Body, Document, Head, Lower, Place, Removal, Rootfs, Saved};
use loment_monitor::protocol::{Answer, Connection, Request, Streams};
use loment_store::Store;
use oci_spec::runtime::LinuxResources;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::config::{Config, Groups, ImageUse};
use crate::container::{Container, Status, monitor_cgroup_name};
use crate::create::{accounts, around_image, write_generated};
use crate::error::Context;
use crate::{Engine, Error, spec, users};

/// A throw-away upper layer may take half of the memory, like any tmpfs (tmpfs(5)).
const THROWAWAY_SHARE: u64 = 2;

/// A container that is being started.
#[derive(Debug)]
pub struct Starting {
    /// Its first client's connection.
    pub connection: Connection,
    /// Its monitor; a child of this process, unless the container was prepared by another or a service manager hears of it: who
    /// outlives it reaps it.
    pub monitor: OwnedFd,
}

/// What a container gets of whoever starts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handed<'a> {
    /// For a container whose log driver is `passthrough`: its own standard streams.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// Descriptors of which its program has copies under these numbers, from 3 on; so it has when its monitor starts it again.
    pub descriptors: &'a [(i32, OwnedFd)],
    /// Variables that its first program gets besides; so it has when its monitor starts it again.
    pub variables: &'a [String],
    /// The socket of a service manager that waits for it to be ready: `$NOTIFY_SOCKET` of sd_notify(3).
    pub manager: Option<&'a str>,
    /// Rows and columns of its program's terminal, if it gets one.
    pub size: Option<(u16, u16)>,
    /// What it was saved to, if it is to go on from there.
    pub saved: Option<&'a Saved>,
    /// All is made and made ready, and its program waits until it is started.
    pub prepare: bool,
}

impl Engine {
    /// Starts a container and returns when its program runs. One that runs already is left alone.
    ///
    /// # Errors
    /// [`Error::Start`] with the step that failed.
    pub fn start(&self, name: &str, handed: Handed<'_>) -> Result<Vec<String>, Error> {
        match self.start_with(name, None, handed)? {
            Some(starting) => self.wait_until_started(name, &starting.connection),
            None => Ok(Vec::new()),
        }
    }

    /// Makes all that a container needs to run, but does not run its program: that waits until the container is started.
    ///
    /// # Errors
    /// [`Error::State`] for one that is prepared or runs; [`Error::Start`] with the step that failed.
    pub fn init(&self, name: &str) -> Result<Vec<String>, Error> {
        let refused = |container: Container| Error::State {
            operation: "init",
            status: container.status.name(),
            id: container.config.id,
            hint: ": it has already been created in the runtime",
        };
        let container = self.container(name)?;
        if container.status.is_active() {
            return Err(refused(container));
        }
        let handed = Handed { prepare: true, ..Handed::default() };
        match self.start_with(&container.config.id, None, handed)? {
            Some(starting) => self.wait_until_started(name, &starting.connection),
            // Somebody else was quicker.
            None => Err(refused(self.container(name)?)),
        }
    }

    /// Runs the program of a container that is prepared.
    fn begin(
        &self,
        container: &Container,
        streams: Option<Streams>,
        handed: Handed<'_>,
    ) -> Result<Starting, Error> {
        let gone = || Error::MonitorGone { id: container.config.id.clone() };
        self.note_stop(container, false)?;
        let connection = container.monitor().ok_or_else(gone)?;
        let monitor = container.open_monitor().ok_or_else(gone)?;
        self.tell_manager(&container.config, handed, container.state.monitor_pid);
        let sent = connection.send(&Request::Begin(streams.unwrap_or_default()));
        sent.context("ask", "the monitor")?;
        Ok(Starting { connection, monitor })
    }

    /// Starts a container with the first client's streams in place before its program can write. `None` when it runs
    /// already. The connection's next answers are warnings, then [`Answer::Started`] or [`Answer::Failed`].
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NoStreams`] for such a container without them.
    pub fn start_with(
        &self,
        name: &str,
        streams: Option<Streams>,
        handed: Handed<'_>,
    ) -> Result<Option<Starting>, Error> {
        match self.start_it(name, streams, handed, true) {
            // What it shares with others ended with the last of them: with this one it begins anew.
            Err(Error::PodEnds { infra, .. }) => {
                if let Some(infra) = self.load(&infra)? {
                    self.wait_for_monitor(&infra)?;
                }
                self.start_it(name, streams, handed, true)
            }
            started => started,
        }
    }

    /// The same, of what the container needs only if that is wanted.
    pub(crate) fn start_it(
        &self,
        name: &str,
        streams: Option<Streams>,
        handed: Handed<'_>,
        mut with_dependencies: bool,
    ) -> Result<Option<Starting>, Error> {
        let id = self.id(name)?;
        let gone = || Error::NoContainer { name: name.to_owned() };
        let (lock, mut container) = loop {
            let lock = match self.lock(&id) {
                Err(_) if !self.dir(&id).exists() => return Err(gone()),
                other => other?,
            };
            // Looked at again under the lock: two starts must not make two monitors.
            let container = self.load(&id)?.ok_or_else(gone)?;
            if container.status == Status::Initialized && !handed.prepare {
                return self.begin(&container, streams, handed).map(Some);
            }
            if container.status == Status::Stopping && Self::is_program_alive(&container) {
                return Err(Error::State {
                    operation: "start",
                    status: container.status.name(),
                    id,
                    // The words are Podman's.
                    hint: ": it must be in Created or Stopped state to be started: container state improper",
                });
            }
            if Self::is_program_alive(&container) || container.status == Status::Restarting {
                return Ok(None);
            }
            // Nobody waits for others with the lock.
            if with_dependencies && !container.config.dependencies().is_empty() {
                drop(lock);
                self.start_dependencies(&container.config)?;
                with_dependencies = false;
                continue;
            }
            if container.open_monitor().is_none() {
                break (lock, container);
            }
            // Its last run is being recorded.
            drop(lock);
            self.wait_for_monitor(&container)?;
        };
        let driver = container.config.log.driver;
        let passed = handed.stdio.filter(|_| driver.is_passthrough());
        if driver.is_passthrough() && passed.is_none() {
            return Err(Error::NoStreams { driver: driver.name() });
        }
        self.clear_leftovers(&container);
        self.note_stop(&container, false)?;
        self.check_volumes(&container.config)?;
        self.relabel(&container.config)?;
        if let Some(directory) = container.config.log.own_directory(&container.config.id) {
            std::fs::create_dir_all(directory).context("create", directory.display())?;
        }
        self.split_group(&mut container.config)?;
        let (mut head, mut body) = self.launch(&container)?;
        head.prepare = handed.prepare;
        body.handed = handed.variables.to_vec();
        body.saved = handed.saved.cloned();
        if let Some((rows, columns)) = handed.size.filter(|_| head.terminal) {
            // Its program sees it from the beginning: who attaches may be late.
            body.spec["process"]["consoleSize"] = serde_json::json!({"height": rows, "width": columns});
        }
        head.notify = crate::notify::manager(&container.config, handed).map(str::to_owned);
        if head.notify.is_some() {
            crate::notify::show(&container, &mut body);
        }
        let member = self.start_in_pod(&container.config, &mut head)?;
        head.passed = handed.descriptors.iter().map(|(number, _)| *number).collect();
        // What cannot be written is found before anything runs.
        let pid_file = container.config.pid_files.monitor.as_ref().map(|path| {
            File::create(path).map(|file| (file, path)).context("write the monitor's pid to", path.display())
        });
        let pid_file = pid_file.transpose()?;
        write_generated(&container).context("write files in", container.run_dir.display())?;
        self.show_secrets(&container)?;
        let request = streams.map_or(Request::Wait, Request::Attach);
        let passed = passed.into_iter().flatten().chain(handed.descriptors.iter().map(|(_, fd)| fd.as_fd()));
        let passed = passed.chain(member.as_ref().map(AsFd::as_fd));
        let place = |pid| self.place_monitor(&container.config, pid);
        let spawned = spawn_monitor(&head, &body, &request, &lock, &passed.collect::<Vec<_>>(), &place);
        let spawned = spawned.context("start the monitor of", &container.config.id)?;
        let (connection, pid, monitor) = spawned;
        // Before the program can say anything: a manager listens only to those it knows of.
        self.tell_manager(&container.config, handed, pid.as_raw_nonzero().get());
        if let Some((file, path)) = pid_file {
            let written = write!(&file, "{}", pid.as_raw_nonzero());
            written.context("write the monitor's pid to", path.display())?;
        }
        Ok(Some(Starting { connection, monitor }))
    }

    /// Waits until a container that is being started runs; returns warnings.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn wait_until_started(&self, name: &str, connection: &Connection) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        loop {
            match connection.receive().context("hear from", "the monitor")? {
                Some(Answer::Warning { message }) => warnings.push(message),
                Some(Answer::Failed { cause, message }) => return Err(Error::Start { cause, message }),
                Some(_) => return Ok(warnings),
                None => return Err(Error::MonitorGone { id: name.to_owned() }),
            }
        }
    }

    pub(crate) fn place(&self, config: &Config) -> Place {
        Place {
            id: config.id.clone(),
            cgroup: config.cgroup.path.clone(),
            slice: config.cgroup.slice.clone().filter(|_| !config.cgroup.of_user),
            monitor_cgroup: (config.cgroup.groups() == Groups::Both)
                .then(|| config.cgroup.monitor.clone().unwrap_or_else(|| monitor_cgroup_name(&config.id))),
            of_scope: config.cgroup.of_user,
            dir: self.dir(&config.id),
            run_dir: self.run_dir(&config.id),
            pid_file: config.pid_files.container.clone(),
            poststop: None,
            mounted: self.volume_mounts(config),
            removal: config.supervision.auto_remove.then(|| Removal {
                names: self.names().0,
                name: config.name.clone(),
                tombs: self.root().join("tombs"),
                dependents: self.dependent_files(config),
                volumes: self.left_volumes(config),
                project: if config.files.size.any() {
                    Store::project_of(&self.dir(&config.id))
                } else {
                    None
                },
                shown: self.container_mount(&config.id).target(),
                then: self.removal_of_image(config),
            }),
        }
    }

    /// What this program is called with to remove the image of a container that has gone, if that is to be.
    fn removal_of_image(&self, config: &Config) -> Vec<String> {
        let wanted = config.image.as_ref().filter(|_| config.supervision.auto_remove_image);
        let words = |image: &ImageUse| {
            let [root, run] = [self.root(), self.runroot()].map(|path| path.display().to_string());
            ["loment", "--root", &root, "--runroot", &run, "rmi", &image.name].map(str::to_owned).to_vec()
        };
        wanted.map(words).unwrap_or_default()
    }

    pub(crate) fn launch(&self, container: &Container) -> Result<(Head, Body<serde_json::Value>), Error> {
        let config = &container.config;
        let process = &config.process;
        let mut spec = spec::build(config, &container.run_dir)?;
        let further_groups = crate::cdi::inject(&config.devices, &mut spec)?;
        self.add_hooks(config, &mut spec)?;
        let kept = config.namespaces.users.as_ref().and_then(|users| users.kept);
        let place = Place { poststop: poststop(&spec), ..self.place(config) };
        let head = Head {
            version: launch::VERSION,
            place,
            terminal: process.terminal,
            stdin: process.stdin,
            log: container.log_settings()?,
            passed: Vec::new(),
            prepare: false,
            hold: false,
            ends_with_members: false,
            is_member: false,
            notify: None,
            supervision: config.supervision.clone(),
            reporter: self.reporter(config),
        };
        let body = Body {
            spec,
            rootfs: self.rootfs(config)?,
            user: process.user.clone(),
            groups: process.groups.iter().cloned().chain(further_groups).collect(),
            joins: spec::joins(config, |id| self.dir(id)),
            secrets: self.secret_variables(config)?,
            handed: Vec::new(),
            saved: None,
            accounts: accounts(&process.accounts, kept)?,
            hosts: around_image(config).context("make", "/etc/hosts")?,
            init: process.init && process.init_path.is_none(),
            volumes: self.volumes_to_mount(config)?,
            default_filter: config.security.seccomp.is_usual(),
            workdir_is_there: config.process.workdir_is_there,
            no_keyring: config.security.no_keyring,
            no_pivot: config.security.no_pivot,
        };
        Ok((head, body))
    }

    /// Has the user's systemd make the scope that a container and its monitor are in, outside of the session or service of who
    /// called.
    fn place_monitor(&self, config: &Config, pid: Pid) -> std::io::Result<()> {
        let Some(slice) = config.cgroup.slice.as_deref().filter(|_| config.cgroup.of_user) else {
            return Ok(());
        };
        let made = || -> Result<(), loment_cgroup::Error> {
            let manager = self.users_systemd();
            let name = loment_monitor::scope_name(slice, &config.id)?;
            // Where its groups were when the container was made.
            let (path, own) = (config.cgroup.path.as_deref().unwrap_or_default(), name.path_below("")?);
            let root = path.find(own.as_str()).map_or("", |at| path[..at].trim_end_matches('/'));
            let scope = manager
                .scope_below(&name, root)?
                .with_description(&format!("loment container {}", config.id))
                .with_properties(Property::from_annotations(&config.annotations)?)
                .with_stop_timeout(config.supervision.stop_timeout.saturating_add(SCOPE_GRACE))
                .with_subgroup(crate::places::MONITOR)?;
            Host::detect()?.scope(scope).place(pid.as_raw_nonzero().get(), &LinuxResources::default(), None)
        };
        made().map_err(std::io::Error::other)
    }

    pub(crate) fn rootfs(&self, config: &Config) -> Result<Rootfs, Error> {
        if let Some(rootfs) = &config.rootfs {
            let path = rootfs.path.clone();
            return Ok(match rootfs.overlay {
                true => {
                    let most = memory_total() / THROWAWAY_SHARE;
                    let size = config.files.size.bytes.filter(|&bytes| bytes > 0).unwrap_or(most);
                    let inodes = config.files.size.inodes.filter(|&inodes| inodes > 0);
                    Rootfs::Throwaway { path, size, inodes }
                }
                false => Rootfs::Directory { path },
            });
        }
        let layers = self.store().rootfs(&config.id)?;
        let layers = layers.ok_or_else(|| Error::NoContainer { name: config.id.clone() })?;
        if layers.whole {
            return Ok(Rootfs::Copy { path: layers.upper, restrictions: config.files.restrictions });
        }
        let owned = layers.owners.is_some();
        let shifted = match owned {
            true => self.store().shifted_rootfs(&config.id, users::content())?,
            false => None,
        };
        let (lower, data) = match shifted {
            Some(shifted) => (users::directories(shifted.lower), shifted.data),
            None => {
                let skeleton = Lower::Dir { path: layers.skeleton };
                (layers.lower.into_iter().map(lower).chain([skeleton]).collect(), Vec::new())
            }
        };
        Ok(Rootfs::Overlay {
            lower,
            data,
            owned,
            pins: self.pins(),
            upper: layers.upper,
            work: layers.work,
            volatile: config.is_volatile(),
            shown: self.container_mount(&config.id).target(),
            restrictions: config.files.restrictions,
        })
    }
}

/// What is run after a container's end: who cleans up after it does not read its specification.
fn poststop(spec: &serde_json::Value) -> Option<serde_json::Value> {
    let hooks = &spec["hooks"]["poststop"];
    let parts = || serde_json::json!({"hooks": {"poststop": hooks}, "annotations": spec["annotations"]});
    hooks.as_array().is_some_and(|hooks| !hooks.is_empty()).then(parts)
}

pub(crate) fn lower(layer: loment_store::Lower) -> Lower {
    match layer {
        loment_store::Lower::Dir(path) => Lower::Dir { path },
        loment_store::Lower::Erofs { file, layer } => Lower::Erofs { file, layer: layer.hex().to_owned() },
    }
}

/// Bytes of memory this machine has.
fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// More than a container has to end by itself, so that its monitor can end it first.
const SCOPE_GRACE: u32 = 5;

/// Starts the supervisor as a program of its own: it must not share the memory, threads and descriptors of whoever
/// called. Its first client's request is in its socket before it begins.
fn spawn_monitor(
    head: &Head,
    body: &Body<serde_json::Value>,
    request: &Request,
    lock: &std::fs::File,
    passed: &[BorrowedFd<'_>],
    place: &dyn Fn(Pid) -> std::io::Result<()>,
) -> std::io::Result<(Connection, Pid, OwnedFd)> {
    let document = Document::new(head, body)?;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let connection = Connection::from_fd(ours);
    // A monitor does nothing before it hears this.
    if !head.place.of_scope {
        connection.send(request)?;
    }
    let exe = loment_sys::spawn::own_executable()?;
    let null = OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/null")?);
    let null = null.as_fd();
    let entry = tracking_group(&head.place)?;
    let tasks: Vec<_> = entry.v1().collect();
    let (pid, monitor) = loment_sys::spawn::spawn(&loment_sys::spawn::Program {
        exe: loment_sys::spawn::Exe::File(exe.as_fd()),
        argv: &[CString::from(c"loment"), CString::new(launch::ARGUMENT).expect("it has no NUL")],
        envp: &[],
        // The lock goes along: until the container runs, nobody else may start or remove it, whoever dies.
        fds: &[&[null, null, null, document.as_fd(), theirs.as_fd(), lock.as_fd()], passed].concat(),
        cgroup: entry.v2(),
        tasks: &tasks,
        // A service manager hears of the end of its own children only.
        orphan: head.notify.is_some(),
    })?;
    drop(theirs);
    if head.place.of_scope {
        place(pid)?;
        connection.send(request)?;
    }
    Ok((connection, pid, monitor))
}

/// The monitor's own group, outside of the caller's session.
fn tracking_group(place: &Place) -> std::io::Result<Entry> {
    let Some(group) = place.monitor_cgroup.as_ref().filter(|_| !place.of_scope) else {
        return Ok(Entry::default());
    };
    let made = || -> Result<Entry, loment_cgroup::Error> {
        let host = Host::detect_tracking()?;
        let group = host.cgroup(CgroupPath::new(group)?);
        // One may be left by a monitor that was killed.
        group.create_if_missing()?;
        group.entry()
    };
    made().map_err(std::io::Error::other)
}
