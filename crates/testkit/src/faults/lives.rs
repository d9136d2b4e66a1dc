//! Several commands and what they leave running, one of whose processes is killed before the N-th change that any of them makes.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loment_sys::seccomp::{FLAG_NEW_LISTENER, Notification, let_through, load, receive};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::{filter, numbers, path_of, process_of};
use crate::command::{Output, Patience, try_run};

/// Longer than what is left of a program takes to end.
const PARTING: Duration = Duration::from_secs(30);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// Who is about to make the change.
    Itself,
    /// The one that started it, if that is one of ours; itself otherwise. A worker's is its monitor, a monitor's the command.
    Parent,
    /// Every process of the program's.
    All,
}

/// A kill that happens once.
#[derive(Clone, Debug)]
struct Armed {
    nth: u64,
    victim: Victim,
}

#[derive(Debug, Default)]
struct Seen {
    armed: Option<Armed>,
    changes: u64,
    fired: Option<String>,
    processes: BTreeSet<i32>,
    ids: BTreeSet<String>,
}

/// Commands of one program, each of whose processes is watched until the last has ended. What else they run is let alone.
#[derive(Debug)]
pub struct Lives {
    program: Program,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    commands: Option<mpsc::Sender<Command>>,
    outputs: mpsc::Receiver<Result<Output, String>>,
    threads: Vec<JoinHandle<()>>,
}

impl Lives {
    /// Nothing is run yet.
    #[expect(clippy::missing_panics_doc, reason = "what a test needs and does not have is a panic")]
    pub fn of(path: &Path) -> Self {
        let program = program(path).expect("the program is there");
        let (seen, over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (commands, to_run) = mpsc::channel::<Command>();
        let (done, outputs) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        // The filter is this thread's and its children's, and nobody else's.
        let starter = std::thread::spawn(move || {
            let listener = load(&filter(), FLAG_NEW_LISTENER).expect("load a filter: is this root?");
            sender.send(listener.expect("asked for")).expect("somebody listens");
            for mut command in to_run {
                if done.send(try_run(&mut command, b"", Patience::NORMAL)).is_err() {
                    return;
                }
            }
        });
        let listener = receiver.recv().expect("a filter was loaded");
        let watch = Watch { program, seen: Arc::clone(&seen) };
        let is_over = Arc::clone(&over);
        let watcher = std::thread::spawn(move || watch.until(&is_over, listener.as_fd()));
        let threads = vec![starter, watcher];
        Self { program, seen, over, commands: Some(commands), outputs, threads }
    }

    /// Runs a command to its end; what it started goes on.
    #[track_caller]
    pub fn run(&self, command: Command) -> Output {
        let commands = self.commands.as_ref().expect("it is not over");
        commands.send(command).expect("somebody runs commands");
        match self.outputs.recv().expect("somebody runs commands") {
            Ok(output) => output,
            Err(e) => panic!("{e}; {:?}", self.fired()),
        }
    }

    /// From now on changes are counted from 1, and before the one of that number somebody is killed.
    #[expect(clippy::missing_panics_doc, reason = "nobody panics with the lock")]
    pub fn arm(&self, nth: u64, victim: Victim) {
        let mut seen = self.seen.lock().expect("nobody panics with the lock");
        (seen.armed, seen.changes, seen.fired) = (Some(Armed { nth, victim }), 0, None);
    }

    /// From now on nobody is killed. The change before which somebody was, and how many were counted.
    #[expect(clippy::missing_panics_doc, reason = "nobody panics with the lock")]
    pub fn disarm(&self) -> (Option<String>, u64) {
        let mut seen = self.seen.lock().expect("nobody panics with the lock");
        seen.armed = None;
        (seen.fired.clone(), seen.changes)
    }

    /// Waits until nobody changes anything any more: what a command leaves behind does so for a while.
    #[expect(clippy::missing_panics_doc, reason = "nobody panics with the lock")]
    pub fn settle(&self) {
        let changes = || self.seen.lock().expect("nobody panics with the lock").changes;
        for _ in 0..100 {
            let before = changes();
            std::thread::sleep(Duration::from_millis(50));
            if changes() == before {
                return;
            }
        }
    }

    fn fired(&self) -> Option<String> {
        self.seen.lock().expect("nobody panics with the lock").fired.clone()
    }

    /// Ids in the names of what was changed: 64 hexadecimal digits.
    #[expect(clippy::missing_panics_doc, reason = "nobody panics with the lock")]
    pub fn ids(&self) -> BTreeSet<String> {
        self.seen.lock().expect("nobody panics with the lock").ids.clone()
    }

    /// Waits until no process of the program's is left. `false` when some stay.
    pub fn end(&self) -> bool {
        let end = Instant::now() + PARTING;
        while self.living().next().is_some() {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn living(&self) -> impl Iterator<Item = i32> {
        let processes = self.seen.lock().expect("nobody panics with the lock").processes.clone();
        processes.into_iter().filter(|&pid| runs(pid, self.program))
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        // Whoever is left would wait for an answer for ever.
        self.living().for_each(kill);
        self.commands = None;
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Watch {
    program: Program,
    seen: Arc<Mutex<Seen>>,
}

impl Watch {
    fn until(&self, over: &AtomicBool, listener: BorrowedFd<'_>) {
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !over.load(Ordering::Relaxed) {
            let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&tick));
            // An error is that the one who asked was killed.
            if fds[0].revents().contains(PollFlags::IN)
                && let Ok(call) = receive(listener)
            {
                // One that has to die and gets an answer may make its change before.
                if self.judge(&call) {
                    let _ = let_through(listener, call.id);
                }
            }
        }
    }

    /// Whether it may make its change.
    fn judge(&self, call: &Notification) -> bool {
        let process = process_of(call.thread);
        if !runs(process, self.program) {
            return true;
        }
        let mut seen = self.seen.lock().expect("nobody panics with the lock");
        seen.processes.insert(process);
        let Some((name, path)) = change(call) else { return true };
        seen.ids.extend(ids(&path));
        let Some(Armed { nth, victim }) = seen.armed.clone() else { return true };
        seen.changes += 1;
        if seen.changes != nth {
            return true;
        }
        let parent = parent_of(process).filter(|&parent| runs(parent, self.program));
        let victims = match victim {
            Victim::Itself => vec![process],
            Victim::Parent => vec![parent.unwrap_or(process)],
            Victim::All => seen.processes.iter().copied().filter(|&pid| runs(pid, self.program)).collect(),
        };
        seen.fired =
            Some(format!("{victims:?} killed before {name} {} of {process} ({parent:?})", path.display()));
        let lives = !victims.contains(&process);
        victims.into_iter().for_each(kill);
        lives
    }
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The file of a program: device and inode. It may be run through a mount that is nowhere, and has no path then.
type Program = (u64, u64);

fn program(path: impl AsRef<Path>) -> std::io::Result<Program> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether a process has not ended and runs the program.
fn runs(pid: i32, of: Program) -> bool {
    program(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == of)
}

fn parent_of(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// The call and what it changes, if that is a file.
fn change(call: &Notification) -> Option<(&'static str, PathBuf)> {
    let (_, (name, names), _) = numbers().find(|(number, ..)| *number == call.number as u32)?;
    let path = path_of(call, names)?;
    // Not pipes, sockets and terminals.
    let is_file = path.is_absolute() && (!path.starts_with("/dev") || path.starts_with("/dev/shm"));
    is_file.then_some((name, path))
}

fn ids(path: &Path) -> Vec<String> {
    let text = path.to_string_lossy();
    let parts = text.split(|c: char| !c.is_ascii_hexdigit());
    parts.filter(|part| part.len() == 64).map(str::to_owned).collect()
}
