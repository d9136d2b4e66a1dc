//! Blobs from a source to a destination, layers in another compression where that is wanted.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use oci_spec::image::Descriptor;

use crate::budget::{Budget, Memory};
use crate::compress::{Compression, Compressor};
use crate::copy::{CopyOptions, preserve};
use crate::crew::{Hand, Outcome};
use crate::destination::{Destination, Incoming, Take, Watched};
use crate::error::Error;
use crate::format::{Sent, compression_of};
use crate::inflate;
use crate::manifest::is_elsewhere;
use crate::marks::Marks;
use crate::pipe::{Closed, PipeReader, PipeSink, pipe};
use crate::source::Source;

/// The form in which a blob is to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// As it is.
    Keep,
    /// Compressed, in this way if it is not yet.
    Compress(Compression),
    /// In this form.
    As(Compression),
}

impl Goal {
    /// What is to be done with something compressed in that way; `None` is nothing.
    fn change(self, from: Compression) -> Option<Compression> {
        match self {
            Self::Compress(to) if from == Compression::None => Some(to),
            Self::As(to) if from != to => Some(to),
            _ => None,
        }
    }
}

/// What decompressing takes but for layers with an unusually large window: what RFC 8878 wants every decoder to have.
const COMMON_WINDOW: u64 = 8 << 20;

/// A copy.
pub(crate) struct Transfer<'t> {
    pub(crate) source: &'t dyn Source,
    pub(crate) destination: &'t dyn Destination,
    pub(crate) goal: Goal,
    pub(crate) options: &'t CopyOptions,
    pub(crate) memory: Memory,
}

impl Transfer<'_> {
    /// Sends one blob, unless it is there, or need not be.
    pub(crate) fn send(
        &self,
        blob: &Descriptor,
        goal: Goal,
        hand: &Hand<'_>,
    ) -> Result<(Sent, Outcome), Error> {
        let label = compression_of(blob.media_type().as_ref());
        let sent = |compression| Sent { digest: blob.digest().clone(), size: blob.size(), compression };
        if is_elsewhere(blob) && self.destination.takes_addresses() {
            return Ok((sent(label), Outcome::Elsewhere));
        }
        if goal.change(label).is_none() && self.destination.has(blob)? {
            return Ok((sent(label), Outcome::There));
        }
        let cancelled = || Error::Cancelled { digest: blob.digest().clone() };
        // Before anything is asked for: a server does not wait for who does not read.
        let memory = match goal {
            Goal::Keep => 0,
            Goal::Compress(to) | Goal::As(to) => to.memory(self.options.level) + COMMON_WINDOW,
        };
        let _share = self.memory.windows.take(memory, &[hand.cancelled]).ok_or_else(cancelled)?;
        let (told, mut became) = (AtomicU64::new(0), sent(label));
        if self.options.precompute && goal.change(label).is_some() {
            let watched = Watched::new(self.source.blob(blob)?, hand, &told);
            let name = self.destination.name();
            let made = self.look_and_send(blob, goal, watched, &mut |blob| blob.end(name).map(drop))?;
            if self.destination.has(&made.descriptor())? {
                return Ok((made, Outcome::There));
            }
        }
        let mut marks = Marks::new(blob.size());
        loop {
            let result = self.destination.put(&mut |wanted, take| {
                self.source.begin_blob(blob);
                if goal != Goal::Keep {
                    let watched = Watched::new(self.source.blob(blob)?, hand, &told);
                    became = self.look_and_send(blob, goal, watched, take)?;
                    return Ok(());
                }
                let from = marks.before(wanted);
                let rest = match from {
                    0 => None,
                    // What cannot be had alone is passed over on the way there.
                    _ => self.source.part(blob, from..blob.size()).ok().flatten(),
                };
                let (from, bytes) = match rest {
                    Some(rest) => (from, rest),
                    None => (0, self.source.blob(blob)?),
                };
                let watched = Watched::new(bytes, hand, &told).from(from);
                self.pass_on(blob, Some((from, &mut marks)), watched, take)
            });
            return match result {
                Err(_) if hand.cancelled.load(Ordering::Relaxed) => Err(cancelled()),
                Err(Error::Digest { .. } | Error::Size { .. } | Error::Copy { .. })
                    if self.source.other_way(blob, true) =>
                {
                    continue;
                }
                result => result.map(|()| (became, Outcome::Moved)),
            };
        }
    }

    /// The bytes of a blob, as they are, perhaps from a mark on. In threads of their own: a client of a registry drives its connection while it reads what it is to send, and cannot drive
    /// another one on the way.
    fn pass_on(
        &self,
        blob: &Descriptor,
        marks: Option<(u64, &mut Marks)>,
        mut bytes: impl Read + Send,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let (sink, [mut reader]) = pipe(self.memory.waiting);
        thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    match sink.fill(&mut bytes, |_| {}) {
                        Ok(Ok(true)) => {}
                        Ok(Ok(false)) => return sink.end(),
                        // Nobody wants it any more, and that is told elsewhere.
                        Ok(Err(Closed)) => return,
                        Err(error) => return sink.fail(error),
                    }
                }
            });
            let incoming = match marks {
                Some((from, marks)) => Incoming::marked(blob, from, &mut reader, marks),
                None => Incoming::expected(blob, &mut reader),
            };
            let sent = incoming.and_then(|mut blob| take(&mut blob));
            self.end_reading(reader, blob, sent.is_err());
            sent
        })
    }

    /// Who writes to nobody ends; who waits for bytes that nobody wants, too.
    fn end_reading(&self, reader: PipeReader, blob: &Descriptor, failed: bool) {
        drop(reader);
        if failed {
            self.source.cancel_blob(blob);
        }
    }

    /// What the bytes are counts, not what they are called.
    fn look_and_send(
        &self,
        blob: &Descriptor,
        goal: Goal,
        bytes: impl Read + Send,
        take: &mut Take<'_>,
    ) -> Result<Sent, Error> {
        let (found, bytes) = inflate::peek(bytes).map_err(|source| failed(blob, source))?;
        let from = match found {
            inflate::Compression::None => Compression::None,
            inflate::Compression::Gzip => Compression::Gzip,
            inflate::Compression::Zstd => Compression::Zstd,
            inflate::Compression::Unsupported(compression) => {
                return Err(Error::Compression { digest: blob.digest().clone(), compression });
            }
        };
        let Some(to) = goal.change(from) else {
            self.pass_on(blob, None, bytes, take)?;
            return Ok(Sent { digest: blob.digest().clone(), size: blob.size(), compression: from });
        };
        if self.options.preserve_digests && !self.source.made() {
            return Err(preserve(format!("layer {}", blob.digest()), self.destination));
        }
        self.recompress(blob, bytes, found, to, take)
    }

    fn recompress(
        &self,
        blob: &Descriptor,
        bytes: impl Read + Send,
        from: inflate::Compression,
        to: Compression,
        take: &mut Take<'_>,
    ) -> Result<Sent, Error> {
        let (sink, [mut reader]) = pipe(self.memory.waiting);
        let (level, over) = (self.options.level, &AtomicBool::new(false));
        let (changed, result) = thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut sink = PipeSink::new(sink);
                match change(blob, bytes, from, to, level, &self.memory.windows, &mut sink) {
                    // Without this end the reader sees a failure.
                    Ok(()) => {
                        sink.end().map_err(|source| (failed(blob, source), over.load(Ordering::SeqCst)))
                    }
                    // Looked at before the reader can see it.
                    Err(error) => Err((error, over.load(Ordering::SeqCst))),
                }
            });
            let mut incoming = Incoming::new(&mut reader);
            let result = take(&mut incoming).map(|()| incoming.read());
            over.store(result.is_err(), Ordering::SeqCst);
            self.end_reading(reader, blob, result.is_err());
            (writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), result)
        });
        match (changed, result) {
            // The cause before its consequence.
            (Err((_, true)) | Ok(()), Err(error)) | (Err((error, _)), _) => Err(error),
            (Ok(()), Ok(Some((digest, size)))) => Ok(Sent { digest, size, compression: to }),
            (Ok(()), Ok(None)) => Err(Error::Unread { destination: self.destination.name().to_owned() }),
        }
    }
}

fn failed(blob: &Descriptor, source: io::Error) -> Error {
    Error::Copy { blob: blob.digest().to_string(), source }
}

/// Verifies a blob and writes it in another form.
fn change(
    blob: &Descriptor,
    mut bytes: impl Read + Send,
    from: inflate::Compression,
    to: Compression,
    level: Option<i32>,
    budget: &Budget,
    sink: &mut PipeSink,
) -> Result<(), Error> {
    let failed = |source| failed(blob, source);
    let mut verified = Incoming::expected(blob, &mut bytes)?;
    let input = BufReader::with_capacity(256 * 1024, &mut verified);
    let mut more = None;
    let grow = |window: u64| {
        drop(more.take());
        // Who has a share does not wait for another.
        more = budget.try_take(window.saturating_sub(COMMON_WINDOW));
        Ok(())
    };
    let mut plain = inflate::within(input, from, grow);
    let mut out = Compressor::new(to, level, sink).map_err(failed)?;
    io::copy(&mut plain, &mut out).map_err(failed)?;
    drop(plain);
    verified.end("the copy")?;
    out.finish().map(drop).map_err(failed)
}
