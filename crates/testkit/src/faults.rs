//! Programs killed before the N-th change they make to files, whichever of their threads and processes makes it, or whose N-th flush
//! fails.
//!
//! The program runs under a seccomp filter that asks about every call that changes files (seccomp_unotify(2)). strace can do the
//! same only per thread. A call that is asked about has not begun: what the program did before is done, and this and all that
//! would follow is not.

mod lives;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use loment_seccomp::{Arch, Syscall};
use loment_sys::seccomp::{FLAG_NEW_LISTENER, Instruction, Notification, let_through, load, receive, refuse};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

pub use self::lives::{Lives, Victim};

/// Where a call says what it changes.
#[derive(Clone, Copy)]
enum Names {
    /// A descriptor, in this argument.
    File(usize),
    /// A path in this argument.
    Path(usize),
    /// A directory in this argument, and a path in the next.
    At(usize),
}

/// When a call changes something, by one of its arguments.
#[derive(Clone, Copy)]
enum Only {
    /// Flags in this argument contain these.
    Flags(u32, u32),
    /// This argument is that.
    Is(u32, u32),
}

/// Calls that change files, if need be only those with certain arguments.
const CALLS: &[(&str, Names, Option<Only>)] = &[
    ("write", Names::File(0), None),
    ("pwrite64", Names::File(0), None),
    ("writev", Names::File(0), None),
    ("pwritev", Names::File(0), None),
    ("pwritev2", Names::File(0), None),
    ("sendfile", Names::File(0), None),
    ("copy_file_range", Names::File(2), None),
    ("ftruncate", Names::File(0), None),
    ("fallocate", Names::File(0), None),
    ("fsync", Names::File(0), None),
    ("fdatasync", Names::File(0), None),
    ("syncfs", Names::File(0), None),
    ("truncate", Names::Path(0), None),
    ("rename", Names::Path(0), None),
    ("renameat", Names::At(0), None),
    ("renameat2", Names::At(0), None),
    ("link", Names::Path(1), None),
    ("linkat", Names::At(2), None),
    ("symlink", Names::Path(1), None),
    ("symlinkat", Names::At(1), None),
    ("unlink", Names::Path(0), None),
    ("unlinkat", Names::At(0), None),
    ("rmdir", Names::Path(0), None),
    ("mkdir", Names::Path(0), None),
    ("mkdirat", Names::At(0), None),
    ("mknod", Names::Path(0), None),
    ("mknodat", Names::At(0), None),
    ("creat", Names::Path(0), None),
    ("open", Names::Path(0), Some(Only::Flags(1, O_CREAT))),
    ("openat", Names::At(0), Some(Only::Flags(2, O_CREAT))),
    // To which project a directory belongs, and what that may have.
    ("ioctl", Names::File(0), Some(Only::Is(1, FS_IOC_FSSETXATTR))),
    ("quotactl_fd", Names::File(0), Some(Only::Is(1, Q_SETQUOTA << 8 | PRJQUOTA))),
];

/// Of them, those that say what became of earlier ones.
const FLUSHES: [&str; 3] = ["fsync", "fdatasync", "syncfs"];
const O_CREAT: u32 = 0o100;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const Q_SETQUOTA: u32 = 0x80_0008;
const PRJQUOTA: u32 = 2;
/// Longer than any command that is tested this way takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Which changes count.
#[derive(Clone, Debug)]
pub struct Faults {
    below: Vec<PathBuf>,
}

/// What became of a program.
#[derive(Clone, Debug)]
pub struct Stopped {
    /// Its exit status, when it came to its end.
    pub code: Option<i32>,
    /// The change before which it was killed.
    pub before: Option<String>,
    /// Changes it made.
    pub changes: u64,
}

/// What became of a program one of whose flushes failed.
#[derive(Clone, Debug)]
pub struct Flushed {
    /// Its exit status.
    pub code: Option<i32>,
    /// What it complained about.
    pub stderr: String,
    /// The flush that failed; `None` when it had fewer.
    pub failed: Option<String>,
}

/// What happens at a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All that has to do with it is killed.
    Kill,
    /// It is a flush, and fails with this number.
    Fail(i32),
}

impl Faults {
    /// Changes below these directories, which need not exist.
    pub fn below(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { below: directories.into_iter().collect() }
    }

    /// Runs a program, and kills it and what it started before its change number `nth`, counted from 1. Returns when nothing of
    /// it is left.
    #[track_caller]
    pub fn kill_before(&self, nth: u64, command: &mut Command) -> Stopped {
        let (output, before, changes) = self.run(Fate::Kill, nth, command);
        let code = output.status.code().filter(|_| before.is_none());
        Stopped { code, before, changes }
    }

    /// Runs a program whose flush number `nth`, counted from 1, fails with the number `errno`: what disks say that find out late. Returns
    /// when nothing of it is left.
    #[track_caller]
    pub fn fail_flush(&self, nth: u64, errno: i32, command: &mut Command) -> Flushed {
        let (output, failed, _) = self.run(Fate::Fail(errno), nth, command);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Flushed { code: output.status.code(), stderr, failed }
    }

    /// How it ended, which change met its fate, and how many were made before.
    #[track_caller]
    fn run(&self, fate: Fate, nth: u64, command: &mut Command) -> (Output, Option<String>, u64) {
        let stderr = if fate == Fate::Kill { Stdio::null() } else { Stdio::piped() };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            // The filter is this thread's and its children's, and nobody else's.
            let starter = scope.spawn(move || -> Output {
                let listener = load(&filter(), FLAG_NEW_LISTENER).expect("load a filter: is this root?");
                sender.send(listener.expect("asked for")).expect("somebody listens");
                // Before Linux 6.11 who has ended and was not waited for has the filter still.
                command.output().expect("start the program, and wait for it")
            });
            let listener: OwnedFd = receiver.recv().expect("a filter was loaded");
            let mut watch =
                Watch { faults: self, fate, nth, changes: 0, before: None, seen: BTreeSet::new() };
            watch.until_all_ended(listener.as_fd());
            let output = starter.join().expect("it was started");
            (output, watch.before, watch.changes)
        })
    }
}

/// The filter: every call of [`CALLS`] is asked about, every other one allowed.
fn filter() -> Vec<Instruction> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ASK: u32 = 0x7fc0_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let mut program = vec![step(LOAD, 0, 0, 0)];
    for (number, _, only) in numbers() {
        let (argument, jump, value) = match only {
            None => {
                program.extend([step(JUMP_IF_EQUAL, 0, 1, number), step(RETURN, 0, 0, ASK)]);
                continue;
            }
            Some(Only::Flags(argument, flags)) => (argument, JUMP_IF_SET, flags),
            Some(Only::Is(argument, value)) => (argument, JUMP_IF_EQUAL, value),
        };
        program.extend([
            step(JUMP_IF_EQUAL, 0, 4, number),
            // The low half of the argument (struct seccomp_data).
            step(LOAD, 0, 0, 16 + 8 * argument),
            step(jump, 0, 1, value),
            step(RETURN, 0, 0, ASK),
            step(RETURN, 0, 0, ALLOW),
        ]);
    }
    program.push(step(RETURN, 0, 0, ALLOW));
    program
}

/// The calls this machine has, by number.
fn numbers() -> impl Iterator<Item = (u32, (&'static str, Names), Option<Only>)> {
    let arch = Arch::native().expect("an architecture we know");
    CALLS.iter().filter_map(move |&(name, names, only)| {
        Some((Syscall::from_name(name)?.number(arch)?, (name, names), only))
    })
}

struct Watch<'f> {
    faults: &'f Faults,
    fate: Fate,
    nth: u64,
    changes: u64,
    before: Option<String>,
    /// Processes that have asked.
    seen: BTreeSet<i32>,
}

impl Watch<'_> {
    fn until_all_ended(&mut self, listener: BorrowedFd<'_>) {
        let end = Instant::now() + LIMIT;
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&tick));
            if fds[0].revents().contains(PollFlags::IN) {
                // An error is that the one who asked was killed.
                if let Ok(call) = receive(listener) {
                    self.judge(listener, &call);
                }
            } else if fds[0].revents().contains(PollFlags::HUP) {
                return;
            }
            if Instant::now() > end {
                self.kill_all();
                panic!("a program that is watched does not end");
            }
        }
    }

    fn judge(&mut self, listener: BorrowedFd<'_>, call: &Notification) {
        let process = process_of(call.thread);
        if process == std::process::id() as i32 {
            // The thread that starts the program.
            let _ = let_through(listener, call.id);
            return;
        }
        self.seen.insert(process);
        if self.before.is_some() && self.fate == Fate::Kill {
            return self.kill_all();
        }
        if let Some(change) = self.change(call) {
            if self.changes + 1 == self.nth && self.before.is_none() {
                self.before = Some(change);
                return match self.fate {
                    Fate::Kill => self.kill_all(),
                    Fate::Fail(errno) => drop(refuse(listener, call.id, errno)),
                };
            }
            self.changes += 1;
        }
        let _ = let_through(listener, call.id);
    }

    fn kill_all(&self) {
        for pid in self.seen.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// The call in words, if it counts.
    fn change(&self, call: &Notification) -> Option<String> {
        let (_, (name, names), _) = numbers().find(|(number, ..)| *number == call.number as u32)?;
        if self.fate != Fate::Kill && !FLUSHES.contains(&name) {
            return None;
        }
        let path = path_of(call, names)?;
        let counts = self.faults.below.iter().any(|directory| path.starts_with(directory));
        counts.then(|| format!("{name} {}", path.display()))
    }
}

/// The process of a thread; itself when it is gone.
fn process_of(thread: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|id| id.trim().parse().ok()).unwrap_or(thread)
}

fn path_of(call: &Notification, names: Names) -> Option<PathBuf> {
    let proc = PathBuf::from(format!("/proc/{}", call.thread));
    let open = |argument: usize| match call.arguments[argument] as i32 {
        // AT_FDCWD
        -100 => fs::read_link(proc.join("cwd")).ok(),
        fd => fs::read_link(proc.join("fd").join(fd.to_string())).ok(),
    };
    let path = |argument: usize| read_path(&proc, call.arguments[argument]);
    match names {
        Names::File(argument) => open(argument),
        Names::Path(argument) => Some(fs::read_link(proc.join("cwd")).ok()?.join(path(argument)?)),
        // An absolute path replaces the directory, as for the kernel.
        Names::At(argument) => Some(open(argument).unwrap_or_default().join(path(argument + 1)?)),
    }
}

/// A path in another process's memory.
fn read_path(proc: &Path, at: u64) -> Option<PathBuf> {
    let mut bytes = [0; 4096];
    let length = File::open(proc.join("mem")).ok()?.read_at(&mut bytes, at).ok()?;
    let end = bytes[..length].iter().position(|&byte| byte == 0)?;
    Some(Path::new(std::ffi::OsStr::from_bytes(&bytes[..end])).to_owned())
}
