//! A large blob over several connections, where one is slower than what is done with it.
//!
//! Whoever sends a blob may limit what goes over one connection. So it is read over one at first; when the reader has mostly waited
//! for that, the rest is asked for in parts, several at a time.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
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
    way: Way<'scope, 'env>,
    how: Parts,
    budget: &'env Budget,
    /// Set when parts have a share of it.
    divided: &'env AtomicBool,
    bytes: Box<dyn Read + Send + 'scope>,
    /// Bytes that come from nearer, before the others.
    here: u64,
    /// Since when, and how long of that, the only connection has been waited for; `None` when it is no longer judged.
    judged: Option<(Instant, Duration)>,
    /// Bytes handed out.
    position: u64,
}

impl<'scope, 'env> Fetch<'scope, 'env> {
    /// The first `here` of the bytes do not come over the connection, and say nothing about it.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        source: &'env dyn Source,
        blob: &'env Descriptor,
        bytes: Box<dyn Read + Send + 'env>,
        here: u64,
        how: Parts,
        (budget, divided): (&'env Budget, &'env AtomicBool),
    ) -> Self {
        let come = blob.size().saturating_sub(here);
        let long = how.parallel > 1 && come >= how.judged_after.saturating_mul(2);
        let judged = long.then(|| (Instant::now(), Duration::ZERO));
        let way = Way { scope, source, blob, size: how.size.max(1) };
        Self { way, how, budget, divided, bytes, here, judged, position: 0 }
    }

    /// Bytes that came over the connection.
    fn came(&self) -> u64 {
        self.position.saturating_sub(self.here)
    }

    /// Once enough has come: goes on in parts if the connection was slow and they can be had.
    fn judge(&mut self) {
        let Some((since, waited)) = self.judged.filter(|_| self.came() >= self.how.judged_after) else {
            return;
        };
        self.judged = None;
        let slow = waited.as_secs_f64() > 0.7 * since.elapsed().as_secs_f64();
        if slow
            && self.way.blob.size().saturating_sub(self.position) >= self.how.judged_after
            && let Some(parts) = self.divide()
        {
            self.bytes = Box::new(parts);
        }
    }

    fn divide(&self) -> Option<Coming<'scope, 'env>> {
        // Besides those on their way, one is being read.
        let share = self.budget.try_take(self.way.size.saturating_mul(self.how.parallel as u64 + 1))?;
        // The first one tells whether the other side can do it.
        let range = self.way.range(self.position);
        let first = self.way.source.part(self.way.blob, range.clone()).ok()??;
        // Not before: who cannot do it has no share, and what others have comes back.
        self.divided.store(true, Ordering::Relaxed);
        let asked = range.end;
        let queue = VecDeque::from([self.way.bring(range, Some(first))]);
        let mut coming = Coming { way: self.way, queue, part: Vec::new(), taken: 0, asked, _share: share };
        while coming.queue.len() < self.how.parallel && coming.ask() {}
        Some(coming)
    }
}

impl Read for Fetch<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.judge();
        let start = Instant::now();
        let count = self.bytes.read(buffer)?;
        match &mut self.judged {
            // It has not begun.
            Some(judged) if self.position < self.here => *judged = (Instant::now(), Duration::ZERO),
            Some((_, waited)) => *waited += start.elapsed(),
            None => {}
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// Where parts come from.
#[derive(Clone, Copy)]
struct Way<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    source: &'env dyn Source,
    blob: &'env Descriptor,
    /// Bytes of a part.
    size: u64,
}

impl<'env> Way<'_, 'env> {
    fn range(&self, from: u64) -> Range<u64> {
        from..from.saturating_add(self.size).min(self.blob.size())
    }

    /// Brings a part, of which the beginning may be there already.
    fn bring(
        &self,
        range: Range<u64>,
        begun: Option<Box<dyn Read + Send + 'env>>,
    ) -> Receiver<io::Result<Vec<u8>>> {
        let (source, blob) = (self.source, self.blob);
        let (sender, part) = sync_channel(1);
        self.scope.spawn(move || {
            let bytes = match begun.map_or_else(|| source.part(blob, range.clone()), |bytes| Ok(Some(bytes)))
            {
                Ok(Some(bytes)) => read(bytes, &range),
                Ok(None) => Err(io::ErrorKind::Unsupported.into()),
                Err(error) => Err(io::Error::other(error)),
            };
            // Nobody waits for it any more after a failure elsewhere.
            let _ = sender.send(bytes);
        });
        part
    }
}

/// Parts on their way, in order.
struct Coming<'scope, 'env> {
    way: Way<'scope, 'env>,
    queue: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    part: Vec<u8>,
    /// Bytes of it handed out.
    taken: usize,
    /// Where what has not been asked for begins.
    asked: u64,
    _share: Share<'env>,
}

impl Coming<'_, '_> {
    /// Asks for the next part; `false` when all have been asked for.
    fn ask(&mut self) -> bool {
        if self.asked >= self.way.blob.size() {
            return false;
        }
        let range = self.way.range(self.asked);
        self.asked = range.end;
        self.queue.push_back(self.way.bring(range, None));
        true
    }
}

impl Read for Coming<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.part.len() {
            let Some(next) = self.queue.pop_front() else { return Ok(0) };
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            (self.part, self.taken) = (next.recv().map_err(gone)??, 0);
            self.ask();
        }
        let count = buffer.len().min(self.part.len() - self.taken);
        buffer[..count].copy_from_slice(&self.part[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// A whole part.
fn read(bytes: Box<dyn Read + Send + '_>, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = range.end - range.start;
    let mut part = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    bytes.take(length).read_to_end(&mut part)?;
    if part.len() as u64 == length { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use oci_spec::image::MediaType;

    use super::*;
    use crate::error::Error;
    use crate::source::Fetched;

    /// Zeros, which come slowly in one piece, and in parts if that is so.
    struct Zeros {
        has_parts: bool,
    }

    impl Source for Zeros {
        fn name(&self) -> &str {
            "zeros"
        }

        fn manifest(&self, _: Option<&oci_spec::image::Digest>) -> Result<Fetched, Error> {
            Err(Error::not_there("zeros", "manifest".to_owned()))
        }

        fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
            Ok(Box::new(Slow(blob.size())))
        }

        fn part(
            &self,
            _: &Descriptor,
            range: Range<u64>,
        ) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
            let part = io::repeat(0).take(range.end - range.start);
            Ok(self.has_parts.then(|| Box::new(part) as Box<dyn Read + Send>))
        }
    }

    struct Slow(u64);

    impl Read for Slow {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(5));
            let count = out.len().min(1000).min(usize::try_from(self.0).unwrap());
            out[..count].fill(0);
            self.0 -= count as u64;
            Ok(count)
        }
    }

    #[test]
    fn only_who_reads_in_parts_has_a_share_and_says_so() {
        for has_parts in [true, false] {
            let source = Zeros { has_parts };
            let size = 100_000;
            let blob = Descriptor::new(MediaType::ImageLayer, size, loment_store::sha256(b"x"));
            let (budget, divided) = (Budget::new(1 << 20), AtomicBool::new(false));
            let how = Parts { judged_after: 10_000, size: 20_000, parallel: 2 };
            let free = || budget.try_take(1 << 20).is_some();
            thread::scope(|scope| {
                let bytes = source.blob(&blob).unwrap();
                let mut fetch = Fetch::new(scope, &source, &blob, bytes, 0, how, (&budget, &divided));
                io::copy(&mut (&mut fetch).take(size / 2), &mut io::sink()).unwrap();
                assert_eq!((divided.load(Ordering::Relaxed), free()), (has_parts, !has_parts));
                assert_eq!(io::copy(&mut fetch, &mut io::sink()).unwrap(), size / 2);
                drop(fetch);
                assert!(free());
            });
        }
    }
}
