//! The exact tar of a layer, made again from what is stored.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::error::{Context, Error};
use crate::layer::{Form, Layer, open_dir};
use crate::tar::{LogReader, Record};

/// Reads the tar of a layer. That it is the right one is for the reader to find out, by its digest.
pub(crate) struct Regenerated {
    /// The layer's directory.
    dir: OwnedFd,
    image: Option<File>,
    log: LogReader<File>,
    /// Which paths were replaced after which record.
    shadows: Vec<(u64, Vec<u8>, u64)>,
    /// Records read.
    index: u64,
    now: Now,
    incomplete: bool,
}

/// What bytes come from at the moment.
enum Now {
    Raw { bytes: Vec<u8>, taken: usize },
    File { file: Option<File>, offset: u64, count: u64 },
    Zeros { count: u64 },
}

impl Regenerated {
    pub(crate) fn of(layer: &Layer) -> Result<Self, Error> {
        let image = match layer.form() {
            Form::Dir => None,
            Form::Erofs => Some(File::open(layer.image()).during("open", &layer.image())?),
        };
        Ok(Self {
            dir: open_dir(layer.dir())?,
            image,
            log: log(layer)?,
            shadows: shadows(layer)?,
            index: 0,
            now: Now::Zeros { count: 0 },
            incomplete: false,
        })
    }

    /// Whether reading ended early because something that belongs to the tar is not there.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Goes on to the next record; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let Some(record) = self.log.next()? else { return Ok(false) };
        self.now = match record {
            Record::Raw(bytes) => Now::Raw { bytes, taken: 0 },
            Record::Shadow { .. } => Now::Zeros { count: 0 },
            Record::Content { path, offset, count } => {
                let file = self.open(&locate(&self.shadows, self.index, &path));
                if file.is_none() {
                    return Err(self.missing());
                }
                Now::File { file, offset, count }
            }
            Record::Extent { .. } if self.image.is_none() => return Err(self.missing()),
            Record::Extent { offset, count } => Now::File { file: None, offset, count },
            Record::Zeros { count } => Now::Zeros { count },
        };
        self.index += 1;
        Ok(true)
    }

    fn open(&self, path: &[u8]) -> Option<File> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        // Not blocking on a pipe, should one stand there.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat2(&self.dir, path, flags, Mode::empty(), resolve).ok().map(File::from)
    }

    fn missing(&mut self) -> io::Error {
        self.incomplete = true;
        io::Error::new(io::ErrorKind::InvalidData, "a file is missing or too short")
    }
}

impl Read for Regenerated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match &mut self.now {
                Now::Raw { bytes, taken } => {
                    let count = (bytes.len() - *taken).min(out.len());
                    out[..count].copy_from_slice(&bytes[*taken..*taken + count]);
                    *taken += count;
                    count
                }
                Now::File { count: 0, .. } => 0,
                Now::File { file, offset, count } => {
                    let want = up_to(*count, out.len());
                    let Some(from) = file.as_ref().or(self.image.as_ref()) else {
                        return Err(self.missing());
                    };
                    let got = from.read_at(&mut out[..want], *offset)?;
                    if got == 0 {
                        return Err(self.missing());
                    }
                    (*offset, *count) = (*offset + got as u64, *count - got as u64);
                    got
                }
                Now::Zeros { count } => {
                    let got = up_to(*count, out.len());
                    out[..got].fill(0);
                    *count -= got as u64;
                    got
                }
            };
            if count > 0 || !self.advance()? {
                return Ok(count);
            }
        }
    }
}

fn up_to(count: u64, most: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(most)
}

fn log(layer: &Layer) -> Result<LogReader<File>, Error> {
    let path = layer.dir().join("tarhdr.zst");
    File::open(&path).and_then(LogReader::new).during("read", &path)
}

fn shadows(layer: &Layer) -> Result<Vec<(u64, Vec<u8>, u64)>, Error> {
    let mut shadows = Vec::new();
    if layer.dir().join("shadow").exists() {
        let (mut log, mut index) = (log(layer)?, 0);
        while let Some(record) = log.next().during("read", layer.dir())? {
            if let Record::Shadow { path, number } = record {
                shadows.push((index, path, number));
            }
            index += 1;
        }
    }
    Ok(shadows)
}

/// Where, under the layer's directory, the content stands that record `index` wrote to `path`: it moved with
/// the first replacement that came later and covers the path.
fn locate(shadows: &[(u64, Vec<u8>, u64)], index: u64, path: &[u8]) -> Vec<u8> {
    let later = shadows.partition_point(|(at, ..)| *at <= index);
    for (_, replaced, number) in &shadows[later..] {
        match path.strip_prefix(replaced.as_slice()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
                return [b"shadow/", number.to_string().as_bytes(), rest].concat();
            }
            _ => {}
        }
    }
    [b"fs/", path].concat()
}
