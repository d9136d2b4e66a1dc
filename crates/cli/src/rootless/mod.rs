//! Running as an ordinary user: in a user namespace in which that user is root (user_namespaces(7)).
//!
//! No process is there only to keep it: who comes joins the namespace of a monitor that lives, or of the command that came last, and
//! else makes a new one with the same ids. Monitors that are in different ones differ in nothing but that their containers cannot
//! share namespaces.

mod ids;
pub(crate) mod linger;

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use loment_engine::config::IdMapping;
use loment_monitor::state::State;
use loment_runtime::state::process_start_time;
use loment_sys::clone::{CloneFlags, Fork, clone3, unshare};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::ecosystem::{home, variable};
use crate::error::{Doing, Error};
use crate::output::complain;
use crate::programs;

pub(crate) use ids::{name_of, ranges};

/// In the directory for what does not outlive a reboot: pid and start time of the command that came last. Locked while somebody joins or
/// makes a namespace.
const LAST: &str = "userns";
/// In the directory of containers: that it was said that there are no further ids.
const NOTICE: &str = ".single-id-notice";

/// In the environment of what runs in the namespace: who that is outside. The name is Podman's.
pub(crate) const VARIABLE: &str = "_CONTAINERS_ROOTLESS_UID";

/// Who called, outside of the namespace.
static USER: OnceLock<u32> = OnceLock::new();
/// Set when this command has gone into a namespace, of which nobody else sees the mounts.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The user who called, also in a namespace in which that is root.
pub(crate) fn user() -> u32 {
    *USER.get_or_init(|| {
        let said = || variable(VARIABLE)?.to_str()?.parse().ok();
        match rustix::process::geteuid().as_raw() {
            0 if loment_sys::process::is_in_user_namespace() => said().unwrap_or(0),
            uid => uid,
        }
    })
}

/// Refuses what shows mounts to others, where nobody would see them.
pub(crate) fn check_mounts_are_seen(program: &str, command: &str) -> Result<(), Error> {
    match ENTERED.load(Ordering::Relaxed) {
        // The words are Podman's.
        true => Err(Error::Invalid(format!(
            "cannot run command \"{program} {command}\" in rootless mode, must execute `{program} unshare` first"
        ))),
        false => Ok(()),
    }
}

/// Whether the user who called is an ordinary one.
pub(crate) fn is_rootless() -> bool {
    user() != 0
}

/// Where an ordinary user's images and containers are, and what does not outlive a reboot (XDG Base Directory Specification).
pub(crate) fn directories() -> Result<(PathBuf, PathBuf), Error> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(home()?.join(".local/share")));
    let data = data.ok_or_else(|| Error::Invalid("set HOME: containers are kept below it".into()))?;
    let run = match absolute("XDG_RUNTIME_DIR") {
        Some(run) => run.join("loment"),
        None => PathBuf::from(format!("/tmp/loment-run-{}", user())),
    };
    Ok((data.join("loment"), run))
}

/// Makes the caller root in a user namespace, and gives it a mount namespace of its own. Before there is a second thread. Root stays
/// what it is.
pub(crate) fn enter(root: &Path, runroot: &Path) -> Result<(), Error> {
    if user() == 0 || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    own_directory(runroot)?;
    let path = runroot.join(LAST);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.doing(|| format!("open {}", path.display()))?;
    file.lock().doing(|| format!("lock {}", path.display()))?;
    let mut last = String::new();
    file.read_to_string(&mut last).doing(|| format!("read {}", path.display()))?;
    let last = last.split_once(' ').and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse().ok()?)));
    if !last.into_iter().chain(monitors(root)).any(|(pid, start)| join(pid, start)) {
        make(root)?;
    }
    ENTERED.store(true, Ordering::Relaxed);
    let own = std::process::id();
    let text = format!("{own} {}", process_start_time(own.cast_signed()).unwrap_or(0));
    let written =
        file.set_len(0).and_then(|()| io::Seek::rewind(&mut file)).and_then(|()| write!(file, "{text}"));
    written.doing(|| format!("write {}", path.display()))
}

/// A directory that nobody else can write to: what is in it is believed.
fn own_directory(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.doing(|| format!("create {}", path.display()))?;
    let found = std::fs::symlink_metadata(path).doing(|| format!("look at {}", path.display()))?;
    match found.is_dir() && found.uid() == user() {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "{}: it belongs to user {}: remove it, or set XDG_RUNTIME_DIR or --runroot to a directory of yours",
            path.display(),
            found.uid()
        ))),
    }
}

/// Pid and start time of every monitor that is recorded.
fn monitors(root: &Path) -> impl Iterator<Item = (i32, u64)> {
    let entries = std::fs::read_dir(root.join("containers")).into_iter().flatten().flatten();
    let states = entries.filter_map(|entry| State::load(&entry.path()).ok());
    let here =
        states.filter(|state| state.monitor_pid > 0 && state.boot_id == loment_monitor::state::boot_id());
    here.map(|state| (state.monitor_pid, state.monitor_start_time))
}

/// Joins the user namespace of a process, if that lives and is in one of this user's.
fn join(pid: i32, start: u64) -> bool {
    let process = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // Looked at after the descriptor was opened: it is that process.
    let process = process.filter(|_| process_start_time(pid) == Some(start));
    let join = |process: OwnedFd| move_into_thread_name_spaces(process.as_fd(), ThreadNameSpaceType::USER);
    process.is_some_and(|process| join(process).is_ok()) && unshare(CloneFlags::NEWNS).is_ok()
}

/// Makes one, in a process that ends then. `None` where it has all ids that it should have, else why it has only one.
///
/// # Errors
/// There can be none.
pub(crate) fn try_ids() -> Result<Option<String>, Error> {
    let failed = || "make a user namespace".to_owned();
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).doing(failed);
    let ((wait, hold), (ready, tell)) = (pipe()?, pipe()?);
    let (uid, gid) = (user(), rustix::process::getegid().as_raw());
    let (pid, pidfd) = match clone3(CloneFlags::empty(), None).doing(failed)? {
        Fork::Child => {
            drop((hold, ready));
            let number = match unshare(CloneFlags::NEWUSER) {
                Ok(()) => 0,
                Err(error) => error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()),
            };
            let _ = rustix::io::write(&tell, &number.to_ne_bytes());
            let _ = rustix::io::read(&wait, &mut [0; 1]);
            loment_sys::process::exit_now(0)
        }
        Fork::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((wait, tell));
    let mut number = [0; 4];
    let heard = File::from(ready).read_exact(&mut number);
    let tried = match (heard, i32::from_ne_bytes(number)) {
        (Ok(()), 0) => Ok(write_ids(pid.as_raw_nonzero().get().unsigned_abs(), uid, gid).err()),
        (Ok(()), number) => Err(refused(&io::Error::from_raw_os_error(number))),
        (Err(error), _) => Err(error).doing(failed),
    };
    drop(hold);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    tried
}

/// Makes one. Who writes its ids has to be outside of it.
fn make(root: &Path) -> Result<(), Error> {
    let (uid, gid) = (user(), rustix::process::getegid().as_raw());
    let failed = || "make a user namespace".to_owned();
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).doing(failed);
    let ((ready, tell), (result, answer)) = (pipe()?, pipe()?);
    let own = std::process::id();
    let pidfd = match clone3(CloneFlags::empty(), None).doing(failed)? {
        Fork::Child => {
            drop((tell, result));
            let mut word = [0];
            if matches!(rustix::io::read(&ready, &mut word), Ok(1)) {
                let said = write_ids(own, uid, gid).err().unwrap_or_default();
                let _ = File::from(answer).write_all(said.as_bytes());
            }
            loment_sys::process::exit_now(0)
        }
        Fork::Parent { pidfd, .. } => pidfd,
    };
    drop((ready, answer));
    let made = unshare(CloneFlags::NEWUSER | CloneFlags::NEWNS);
    if made.is_ok() {
        let _ = rustix::io::write(&tell, b"0");
    }
    drop(tell);
    let mut said = String::new();
    let heard = File::from(result).read_to_string(&mut said);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    made.map_err(|error| refused(&error))?;
    heard.doing(failed)?;
    if said.is_empty() {
        return Ok(());
    }
    single_id(root, uid, gid, &said)
}

/// Why there is none, and what to do.
fn refused(error: &io::Error) -> Error {
    let hint = match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => "more than user.max_user_namespaces allows: raise it (sysctl)",
        Some(Errno::PERM) => {
            "the administrator forbids it: set kernel.unprivileged_userns_clone to 1, or kernel.apparmor_restrict_unprivileged_userns to 0"
        }
        _ => "running as an ordinary user needs it: use sudo, or a kernel with user namespaces",
    };
    Error::Invalid(format!("cannot make a user namespace: {error}: {hint}"))
}

/// The user alone, who is root inside: what the kernel lets everybody do.
fn single_id(root: &Path, uid: u32, gid: u32, why: &str) -> Result<(), Error> {
    let write = |name: &str, text: &str| {
        std::fs::write(format!("/proc/self/{name}"), text)
            .doing(|| format!("write {name} of a user namespace"))
    };
    // One of the programs may have done its part.
    let is_empty = |name: &str| std::fs::read(format!("/proc/self/{name}")).is_ok_and(|map| map.is_empty());
    if is_empty("uid_map") {
        write("uid_map", &format!("0 {uid} 1"))?;
    }
    if is_empty("gid_map") {
        write("setgroups", "deny")?;
        write("gid_map", &format!("0 {gid} 1"))?;
    }
    let _ = std::fs::create_dir_all(root);
    if File::options().write(true).create_new(true).open(root.join(NOTICE)).is_ok() {
        complain(&format!(
            "Note: containers have one user and group id, {uid} and {gid}, as root: {why}. This is said once."
        ));
    }
    Ok(())
}

/// Gives the user namespace of a process all that the user has. An error says why that is only one id.
fn write_ids(pid: u32, uid: u32, gid: u32) -> Result<(), String> {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = ids::name_of(&accounts, uid);
    let of = |file: &str, own| {
        ids::with_ranges(Path::new(file), (uid, name), own)
            .ok_or_else(|| format!("{file} has no line for {}", name.unwrap_or(&uid.to_string())))
    };
    let (uids, gids) = (of("/etc/subuid", uid)?, of("/etc/subgid", gid)?);
    run("newuidmap", pid, &uids)?;
    run("newgidmap", pid, &gids)
}

fn run(program: &str, pid: u32, ids: &[IdMapping]) -> Result<(), String> {
    let file =
        programs::find(program).ok_or_else(|| format!("{program} is not installed (package uidmap)"))?;
    let numbers = ids.iter().flat_map(|map| [map.container_id, map.host_id, map.size]);
    let words: Vec<String> =
        [program.to_owned(), pid.to_string()].into_iter().chain(numbers.map(|n| n.to_string())).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("{program}: {error}");
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let child =
        programs::start_with(&file, &words, &[], [null.as_fd(), null.as_fd(), to.as_fd()]).map_err(failed)?;
    drop(to);
    let mut said = String::new();
    let _ = File::from(from).take(4096).read_to_string(&mut said);
    let ended =
        waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED).map_err(|error| failed(error.into()))?;
    match ended.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        _ => Err(said.trim().replace('\n', "; ")),
    }
}
