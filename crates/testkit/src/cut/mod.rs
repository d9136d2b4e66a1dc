//! Power cuts: a disk that remembers every write and every flush, and what it may hold after losing power in between.
//!
//! A loop device over a file that this process serves by FUSE is the disk; a file system on it is used as usual. A disk may lose
//! what was written since the last flush, keep all of it, or keep any part: so each cut is everything up to some flush, and of what
//! came after it some blocks and others not.

mod fuse;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::mount::{UnmountFlags, unmount};

/// What disks write as a whole.
const BLOCK: usize = 4096;

/// A disk that is being used.
#[derive(Debug)]
pub struct Disk {
    log: Arc<Mutex<Log>>,
    at: PathBuf,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Log {
    content: Vec<u8>,
    events: Vec<Event>,
}

#[derive(Debug)]
enum Event {
    Write { at: u64, bytes: Vec<u8> },
    Flush,
    Mark,
}

impl Log {
    fn write(&mut self, at: u64, bytes: &[u8]) {
        apply(&mut self.content, at, bytes);
        self.events.push(Event::Write { at, bytes: bytes.to_vec() });
    }

    fn flush(&mut self) {
        self.events.push(Event::Flush);
    }
}

/// What happened to a disk, from its first content on.
#[derive(Debug)]
pub struct Recording {
    first: Vec<u8>,
    events: Vec<Event>,
}

/// What a disk may hold after a power cut.
#[derive(Debug)]
pub struct Cut {
    /// Its content.
    pub content: Vec<u8>,
    /// How many marks had been set before.
    pub marks: usize,
    /// Where it was cut, for messages.
    pub when: String,
}

impl Disk {
    /// A disk with this content, as the file `at`, which is made and mounted: use it in a mount namespace of your own.
    ///
    /// # Errors
    /// The kernel's: is this root, and is there FUSE?
    pub fn serve(content: Vec<u8>, at: &Path) -> io::Result<Self> {
        File::create(at)?;
        let log = Arc::new(Mutex::new(Log { content, events: Vec::new() }));
        let server = fuse::serve(at, Arc::clone(&log))?;
        Ok(Self { log, at: at.to_owned(), server: Some(server) })
    }

    /// Notes that something is done, of which no later cut may take anything back.
    pub fn mark(&self) {
        self.log.lock().expect("nobody panics with it").events.push(Event::Mark);
    }

    /// Ends its use; nothing may be mounted from it. `first` is what it was made with.
    #[track_caller]
    pub fn finish(mut self, first: Vec<u8>) -> Recording {
        self.stop();
        let mut log = self.log.lock().expect("nobody panics with it");
        Recording { first, events: std::mem::take(&mut log.events) }
    }

    fn stop(&mut self) {
        let Some(server) = self.server.take() else { return };
        // Lazily: the loop device lets go of the file a moment after it is detached.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
        let _ = server.join();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // On the way of a panic the file may be in use for ever: the end of the process ends the server, and that its users.
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl Recording {
    /// How often it was flushed.
    pub fn flushes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Flush)).count()
    }

    /// Hands out, for each flush, what the disk holds when all that was written after it is lost, and `more` times what it holds
    /// when some of that is. The same `seed` gives the same cuts.
    pub fn cuts(&self, more: u32, seed: u64, mut each: impl FnMut(Cut)) {
        let mut random = Random(seed | 1);
        let (mut content, mut marks, mut flushes) = (self.first.clone(), 0, 0);
        let mut rest = &self.events[..];
        loop {
            let end = rest.iter().position(|event| matches!(event, Event::Flush)).unwrap_or(rest.len());
            let since = &rest[..end];
            let marked = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Mark)).count();
            let when = format!("after flush {flushes}");
            each(Cut { content: content.clone(), marks: marks + marked(since), when: when.clone() });
            for turn in 0..more {
                let until = random.below(since.len() as u64 + 1) as usize;
                if until == 0 {
                    continue; // nothing was written, which has been seen
                }
                let mut content = content.clone();
                let mut kept = 0;
                for event in &since[..until] {
                    let Event::Write { at, bytes } = event else { continue };
                    for (index, block) in bytes.chunks(BLOCK).enumerate() {
                        if random.below(2) == 0 {
                            apply(&mut content, at + (index * BLOCK) as u64, block);
                            kept += 1;
                        }
                    }
                }
                let when = format!("{when}, with {kept} blocks of {until} writes (turn {turn})");
                each(Cut { content, marks: marks + marked(&since[..until]), when });
            }
            for event in since {
                if let Event::Write { at, bytes } = event {
                    apply(&mut content, *at, bytes);
                }
            }
            marks += marked(since);
            if end == rest.len() {
                return;
            }
            rest = &rest[end + 1..];
            flushes += 1;
        }
    }
}

fn apply(content: &mut [u8], at: u64, bytes: &[u8]) {
    let at = at as usize;
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Numbers that look random (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
