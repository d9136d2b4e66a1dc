//! Hooks: programs of the caller's, run at fixed points of a container's life with its state on standard input
//! (runtime-spec, config.md, "POSIX-platform Hooks").

use std::ffi::CString;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use loment_sys::clone::{CloneFlags, Fork, clone3};
use loment_sys::signal;
use loment_sys::wait::{Exit, wait_exit};
use oci_spec::runtime::{Hook as SpecHook, Hooks as SpecHooks, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::annotations::Annotations;
use crate::error::{Context, invalid};
use crate::hook_output::Output;
use crate::offspring::Offspring;
use crate::report::{self, Message};
use crate::{Error, Failure, Stdio};

/// Of a hook's output, what an error shows at most, in bytes: the end.
const SHOWN: usize = 1000;

/// One program.
#[derive(Debug)]
pub(crate) struct Hook {
    /// `createRuntime hook /usr/bin/x`, for messages.
    name: String,
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    timeout: Option<Duration>,
}

/// All hooks of a container, in the order of its life.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Before the container's root is entered, in the runtime's namespaces; `prestart`, which is deprecated, comes first.
    pub(crate) create_runtime: Vec<Hook>,
    /// At the same moment, in the container's namespaces but with the runtime's root.
    pub(crate) create_container: Vec<Hook>,
    /// In the container, before its program is run.
    pub(crate) start_container: Vec<Hook>,
    poststart: Vec<Hook>,
    poststop: Vec<Hook>,
    annotations: Annotations,
    pub(crate) output: Output,
}

impl Hooks {
    /// Checks the hooks of a specification.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the hook, or the annotation.
    pub fn of(spec: &Spec) -> Result<Self, Error> {
        Self::new(spec.hooks().as_ref(), Annotations::new(spec.annotations().as_ref())?)
    }

    pub(crate) fn new(hooks: Option<&SpecHooks>, annotations: Annotations) -> Result<Self, Error> {
        let Some(hooks) = hooks else { return Ok(Self::default()) };
        // Deprecated, but engines still use it.
        let mut create_runtime = list("prestart", hooks.prestart())?;
        create_runtime.extend(list("createRuntime", hooks.create_runtime())?);
        Ok(Self {
            create_runtime,
            create_container: list("createContainer", hooks.create_container())?,
            start_container: list("startContainer", hooks.start_container())?,
            poststart: list("poststart", hooks.poststart())?,
            poststop: list("poststop", hooks.poststop())?,
            annotations,
            output: Output::default(),
        })
    }

    /// Opens the files that annotations name for what hooks write, if there are hooks. Without this call the output of all is
    /// captured for the message of an error.
    ///
    /// # Errors
    /// [`Error::Failed`] names the file.
    pub fn open_output(&mut self) -> Result<(), Error> {
        let lists = [
            &self.create_runtime,
            &self.create_container,
            &self.start_container,
            &self.poststart,
            &self.poststop,
        ];
        if lists.iter().any(|list| !list.is_empty()) {
            self.output = Output::open(&self.annotations)?;
        }
        Ok(())
    }

    /// Gives the hooks that name no environment this one: that of the runtime, as runc and crun do. Those of the container have
    /// that of its program already.
    pub fn inherit(&mut self, env: impl FnOnce() -> Vec<CString>) {
        let lists =
            [&mut self.create_runtime, &mut self.create_container, &mut self.poststart, &mut self.poststop];
        let lists = lists.map(|list| list.as_mut_slice());
        if lists.iter().any(|list| list.iter().any(|hook| hook.env.is_empty())) {
            let env = env();
            lists.into_iter().for_each(|list| inherit(list, &env));
        }
    }

    /// Whether the container's making has to stop for its creator's hooks.
    pub(crate) fn interrupt_creation(&self) -> bool {
        !self.create_runtime.is_empty()
    }

    /// Runs the hooks for a program that has been started. When one fails the container must be stopped.
    ///
    /// # Errors
    /// [`Error::Failed`] for the first that fails; those after it are not run.
    pub fn run_poststart(&self, state: &[u8], bundle: &Path) -> Result<(), Error> {
        Ok(run_all(&self.poststart, &self.output, state, bundle, &|| Ok(()))?)
    }

    /// Runs the hooks for a container that is gone, all of them; returns what failed.
    pub fn run_poststop(&self, state: &[u8], bundle: &Path) -> Vec<Failure> {
        let run = |hook: &Hook| hook.run(&self.output, state, bundle, &|| Ok(()));
        self.poststop.iter().filter_map(|hook| run(hook).err()).collect()
    }
}

/// Gives those that name no environment this one.
pub(crate) fn inherit(hooks: &mut [Hook], env: &[CString]) {
    hooks.iter_mut().filter(|hook| hook.env.is_empty()).for_each(|hook| hook.env = env.to_vec());
}

fn list(kind: &str, hooks: &Option<Vec<SpecHook>>) -> Result<Vec<Hook>, Error> {
    hooks.iter().flatten().map(|hook| Hook::new(kind, hook)).collect()
}

/// What a hook's process does last before it becomes the hook.
pub(crate) type Confine<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// Runs hooks one after the other until one fails.
pub(crate) fn run_all(
    hooks: &[Hook],
    output: &Output,
    state: &[u8],
    dir: &Path,
    confine: Confine<'_>,
) -> Result<(), Failure> {
    hooks.iter().try_for_each(|hook| hook.run(output, state, dir, confine))
}

impl Hook {
    fn new(kind: &str, hook: &SpecHook) -> Result<Self, Error> {
        let field = || format!("{kind} hook {}", hook.path().display());
        if !hook.path().is_absolute() {
            return Err(invalid(field(), "the path is not absolute"));
        }
        let text = |t: &str| CString::new(t).map_err(|_| invalid(field(), format!("{t:?} contains a NUL")));
        let timeout = match hook.timeout() {
            None => None,
            Some(n) if n > 0 => Some(Duration::from_secs(n.unsigned_abs())),
            Some(n) => return Err(invalid(field(), format!("the timeout {n} is not above 0 seconds"))),
        };
        let path = text(&hook.path().to_string_lossy())?;
        let mut args: Vec<_> = hook.args().iter().flatten().map(|a| text(a)).collect::<Result<_, _>>()?;
        if args.is_empty() {
            args.push(path.clone());
        }
        let env = hook.env().iter().flatten().map(|e| text(e)).collect::<Result<_, _>>()?;
        Ok(Self { name: field(), path, args, env, timeout })
    }

    /// Runs it in `dir` and waits for its end. It inherits no descriptor but its streams.
    fn run(&self, files: &Output, state: &[u8], dir: &Path, confine: Confine<'_>) -> Result<(), Failure> {
        let start = || -> io::Result<(Pid, OwnedFd, OwnedFd, OwnedFd)> {
            let mut input = std::fs::File::from(memfd_create("state", MemfdFlags::CLOEXEC)?);
            input.write_all(state)?;
            input.rewind()?;
            let (output, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            let (ours, socket) = report::socket_pair()?;
            match clone3(CloneFlags::empty(), None)? {
                Fork::Child => {
                    drop((ours, output));
                    self.become_hook((&input.into(), files, &theirs), &socket, dir, confine)
                }
                Fork::Parent { pid, pidfd } => Ok((pid, pidfd, output, ours)),
            }
        };
        // Where that is not allowed, as by a filter that is loaded already, its process group is what can be found.
        let started = self.timeout.and_then(|_| Offspring::watch().ok());
        let (pid, pidfd, output, socket) = start().context("start", &self.name)?;
        let ended = self.wait(pid, &pidfd, output);
        if let (Err(_), Some(started)) = (&ended, &started) {
            started.end();
        }
        let (exit, said) = ended.context("run", &self.name)?;
        // It ran, or said why not before it ended.
        if let Ok(Message::Failed(failure)) = report::receive(&socket) {
            return Err(failure);
        }
        let problem = match exit {
            Exit::Code(0) => return Ok(()),
            Exit::Code(n) => format!("exit status {n}"),
            Exit::Signal(n) => format!("killed by signal {n}"),
        };
        let said = one_line(&String::from_utf8_lossy(&said));
        let problem = if said.is_empty() { problem } else { format!("{problem}: {said}") };
        Err(io::Error::other(problem)).context("run", &self.name)
    }

    /// The life of its process.
    fn become_hook(
        &self,
        (input, files, output): (&OwnedFd, &Output, &OwnedFd),
        socket: &OwnedFd,
        dir: &Path,
        confine: Confine<'_>,
    ) -> ! {
        let prepare = || -> io::Result<Vec<OwnedFd>> {
            signal::reset_dispositions();
            signal::set_mask(&signal::SignalSet::empty())?;
            // It may start others: all of them end when its time is up, and those that stay with it at once.
            rustix::process::setsid()?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
            rustix::io::ioctl_fionbio(output, false)?;
            let [stdout, stderr] = files.streams(output);
            Stdio::Files([input.as_fd(), stdout, stderr]).install()?;
            rustix::process::chdir(dir)?;
            loment_sys::fd::keep_only(&[socket.as_fd()], 3)
        };
        let run = || {
            confine()?;
            let error = loment_sys::exec::execve(&self.path, &self.args, &self.env);
            Err::<(), _>(error).context("run", &self.name)
        };
        match prepare().context("start", &self.name) {
            Err(failure) => report::send_failure(socket, &failure),
            Ok(kept) => {
                if let (Err(failure), Some(socket)) = (run(), kept.first()) {
                    report::send_failure(socket, &failure);
                }
            }
        }
        loment_sys::process::exit_now(1)
    }

    /// How it ended, and the end of what it said. One that takes too long is killed, with its process group.
    fn wait(&self, pid: Pid, pidfd: &OwnedFd, output: OwnedFd) -> io::Result<(Exit, Vec<u8>)> {
        // One that is too far away for a clock is none.
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let mut output = std::fs::File::from(output);
        let (mut said, mut open) = (Vec::new(), true);
        loop {
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left.is_some_and(|l| l.is_zero()) {
                let _ = loment_sys::process::kill(-pid.as_raw_nonzero().get(), 9);
                let _ = loment_sys::process::pidfd_signal(pidfd.as_fd(), 9);
                wait_exit(pidfd)?;
                let seconds = self.timeout.unwrap_or_default().as_secs();
                return Err(io::Error::other(format!("it did not end within {seconds} s")));
            }
            let timeout =
                left.map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: l.subsec_nanos().into() });
            let mut watched = vec![PollFd::new(pidfd, PollFlags::IN)];
            if open {
                watched.push(PollFd::new(&output, PollFlags::IN));
            }
            match poll(&mut watched, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            let ended = !watched[0].revents().is_empty();
            if open {
                open = read_some(&mut output, &mut said);
            }
            if ended {
                return Ok((wait_exit(pidfd)?, said));
            }
        }
    }
}

/// Text of somebody else's for a terminal: what would move its cursor or change its colours is written out.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().collect();
    let mut shown = String::new();
    for c in lines.join("; ").chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Reads what is there, and keeps the end; `false` when there will be no more.
fn read_some(output: &mut std::fs::File, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    // A pipe's worth: a hook that never stops talking must not stop the clock.
    for _ in 0..16 {
        match output.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => said.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => return false,
        }
        let surplus = said.len().saturating_sub(SHOWN);
        said.drain(..surplus);
    }
    true
}
