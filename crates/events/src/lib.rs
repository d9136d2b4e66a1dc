//! What happens to containers, images and all else, kept as lines of a file: writing, reading, following, filtering.
//!
//! `<root>/events/log` holds one JSON object a line. Whoever does something appends the line with one write(2) to a file that
//! is open for appending, which the kernel does not mix with others' (write(2), `O_APPEND`): no lock is taken, nothing is
//! flushed, and a failure stops nobody. A file that has become large is renamed to `log.1`, `log.2`, … by whoever notices, and the
//! oldest are deleted; only for that the directory is locked, and nobody waits for it. A crash leaves at most a line without its
//! end, which readers skip.
//!
//! What is not here: who does something, how events are shown.
//!
//! ```no_run
//! use loment_events::{Event, From, Kind, Log, Reader, Subject, What};
//! let log = Log::below("/var/lib/loment".as_ref(), Log::MAX_SIZE);
//! let image = Subject { id: "1f2e".into(), name: "docker.io/library/busybox:latest".into(), ..Subject::default() };
//! log.write(&[Event::new(Kind::Image, What::Pull, &image)])?;
//! let mut reader = Reader::open(&log, From::Start)?;
//! while let Some(event) = reader.next()? {
//!     println!("{} {}", event.kind.name(), event.what.name());
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod event;
mod filter;
mod log;
mod read;
mod reporter;
mod tail;
mod words;

pub use event::{Event, Subject, more};
pub use filter::{FilterError, Filters};
pub use log::Log;
pub use read::{From, Reader};
pub use reporter::{MountedVolume, Reporter};
pub use words::{Kind, What, Words};
