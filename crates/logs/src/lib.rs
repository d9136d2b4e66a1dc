//! The logs of containers: writer and reader of what programs print, in files that are rotated.
//!
//! A [`Writer`] is the monitor's: it cuts what comes from a program into records, one line of a file each, and begins a new
//! file when one is full. A [`Reader`] is a front end's: it gives the records of all files in the order in which they were
//! written, of a log of any size within a fixed amount of memory, also while it grows and is rotated. Nothing is shared
//! between the two but the files. What is not here: which container a log belongs to, flags, and printing.
//!
//! The files are `ctr.log`, which is written to, and `ctr.log.1`, `ctr.log.2` and so on, each older than the one before.
//! A file only ever moves to a higher number until it is deleted, and is not written to once it has one; it may be compressed, to
//! `ctr.log.1.gz`, and says there which file it was. So a reader tells
//! files apart by device and inode, opens them from the newest to the oldest, which no renaming can make it miss, and keeps
//! each open until it has read it to its end. What was deleted before a reader had it open is gone.
//!
//! After a crash the last record may lack its end. Readers do not show it, and the next writer cuts it off.
//!
//! ```
//! use loment_logs::{Format, Options, Reader, Rotation, Settings, Stream, Writer};
//! # let dir = tempfile::tempdir()?;
//! let path = dir.path().join("ctr.log");
//! let mut log = Writer::open(Settings::file(&path, Rotation { max_size: Some(1 << 20), max_files: 3, ..Rotation::default() }))?;
//! log.write(Stream::Stdout, b"hello\n")?;
//! let mut reader = Reader::open(&path, Format::K8sFile, Options::default())?;
//! while let Some(record) = reader.next_record()? {
//!     assert_eq!((record.stream, &*record.text), (Stream::Stdout, &b"hello"[..]));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backward;
mod compress;
mod cursor;
mod error;
mod export;
mod file;
mod files;
mod journald;
mod json_file;
mod k8s;
mod read;
mod record;
mod rotate;
mod settings;
mod since;
mod tail;
mod time;
mod write;

pub use compress::Chore;
pub use error::Error;
pub use export::Entries;
pub use read::{Options, Reader};
pub use record::{Record, Stream};
pub use rotate::{MAX_FILES, numbered};
pub use settings::{Format, Rotation, Settings};
pub use time::{Moment, now_rfc3339};
pub use write::Writer;

/// The longest record that is understood, in bytes. Writers make none of more than a fraction of it.
const LONGEST: usize = 1 << 20;
