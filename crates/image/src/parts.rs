//! A large blob over several connections, where one is slower than what is done with it.
//!
//! Whoever sends a blob may limit what goes over one connection. So it is read over one at first; when the reader has mostly waited
//! for that, the rest is asked for in parts, several at a time.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use oci_spec::image::Descriptor;

use crate::budget::{Budget, Share};
use crate::source::Source;

/// How blobs are read in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Bytes after which the first connection is judged, and of which there must be as many left.
    pub judged_after: u64,
    /// Bytes of a part.
    pub size: u64,
    /// Parts on their way at the same time; below two is never in parts.
    pub parallel: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self { judged_after: 16 << 20, size: 4 << 20, parallel: 3 }
    }
}

/// A blob, read from its start to its end.
pub(crate) struct Fetch<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    source: &'env dyn Source,
    blob: &'env Descriptor,
    how: Parts,
    budget: &'env Budget,
    stage: Stage<'env>,
    /// Bytes handed out.
    position: u64,
}

enum Stage<'env> {
    /// Over one connection; how long it was waited for, and since when that is counted, unless it stays that way.
    One { bytes: Box<dyn Read + Send + 'env>, judged: Option<(Instant, Duration)> },
    Parts {
        coming: VecDeque<Receiver<io::Result<Vec<u8>>>>,
        part: Vec<u8>,
        taken: usize,
        /// Where what has not been asked for begins.
        asked: u64,
        _share: Share<'env>,
    },
}

impl<'scope, 'env> Fetch<'scope, 'env> {
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        source: &'env dyn Source,
        blob: &'env Descriptor,
        bytes: Box<dyn Read + Send + 'env>,
        how: Parts,
        budget: &'env Budget,
    ) -> Self {
        let long = how.parallel > 1 && blob.size() >= how.judged_after.saturating_mul(2);
        let judged = long.then(|| (Instant::now(), Duration::ZERO));
        Self { scope, source, blob, how, budget, stage: Stage::One { bytes, judged }, position: 0 }
    }

    /// Goes on in parts, if that can be had.
    fn divide(&mut self) -> Option<Stage<'env>> {
        let size = self.how.size.max(1);
        let share = self.budget.try_take(size * self.how.parallel as u64)?;
        // The first one tells whether the other side can do it.
        let first = self.source.part(self.blob, self.range(self.position)).ok()??;
        let mut coming = VecDeque::from([self.spawn(first, self.range(self.position))]);
        let mut asked = self.range(self.position).end;
        while coming.len() < self.how.parallel && asked < self.blob.size() {
            coming.push_back(self.ask(self.range(asked)));
            asked = self.range(asked).end;
        }
        Some(Stage::Parts { coming, part: Vec::new(), taken: 0, asked, _share: share })
    }

    fn range(&self, from: u64) -> Range<u64> {
        from..from.saturating_add(self.how.size.max(1)).min(self.blob.size())
    }

    fn ask(&self, range: Range<u64>) -> Receiver<io::Result<Vec<u8>>> {
        let (source, blob) = (self.source, self.blob);
        let (sender, part) = sync_channel(1);
        self.scope.spawn(move || {
            let bytes = match source.part(blob, range.clone()) {
                Ok(Some(bytes)) => read(bytes, &range),
                Ok(None) => Err(io::ErrorKind::Unsupported.into()),
                Err(error) => Err(io::Error::other(error)),
            };
            // Nobody waits for it any more after a failure elsewhere.
            let _ = sender.send(bytes);
        });
        part
    }

    fn spawn(&self, bytes: Box<dyn Read + Send + 'env>, range: Range<u64>) -> Receiver<io::Result<Vec<u8>>> {
        let (sender, part) = sync_channel(1);
        self.scope.spawn(move || drop(sender.send(read(bytes, &range))));
        part
    }
}

/// A whole part.
fn read(bytes: Box<dyn Read + Send + '_>, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = range.end - range.start;
    let mut part = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    bytes.take(length).read_to_end(&mut part)?;
    if part.len() as u64 == length { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

impl Read for Fetch<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Stage::One { judged: Some((since, waited)), .. } = &mut self.stage {
            let left = self.blob.size().saturating_sub(self.position);
            if self.position >= self.how.judged_after && left > 0 {
                let slow = waited.as_secs_f64() > 0.7 * since.elapsed().as_secs_f64();
                match if slow && left >= self.how.judged_after { self.divide() } else { None } {
                    Some(parts) => self.stage = parts,
                    // Once is enough.
                    None => {
                        if let Stage::One { judged, .. } = &mut self.stage {
                            *judged = None;
                        }
                    }
                }
            }
        }
        let count = match &mut self.stage {
            Stage::One { bytes, judged } => {
                let start = Instant::now();
                let count = bytes.read(buffer)?;
                if let Some((_, waited)) = judged {
                    *waited += start.elapsed();
                }
                count
            }
            Stage::Parts { coming, part, taken, asked, .. } => {
                let mut next = None;
                if *taken == part.len() {
                    let Some(receiver) = coming.pop_front() else { return Ok(0) };
                    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
                    (*part, *taken) = (receiver.recv().map_err(|_| gone())??, 0);
                    if *asked < self.blob.size() {
                        next = Some(*asked);
                    }
                }
                let count = buffer.len().min(part.len() - *taken);
                buffer[..count].copy_from_slice(&part[*taken..*taken + count]);
                *taken += count;
                if let Some(from) = next {
                    let range = self.range(from);
                    let end = range.end;
                    let receiver = self.ask(range);
                    if let Stage::Parts { coming, asked, .. } = &mut self.stage {
                        coming.push_back(receiver);
                        *asked = end;
                    }
                }
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
