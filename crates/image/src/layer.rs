//! One layer on its way: fetch ∥ blob digest → inflate → layer digest ∥ unpack, in one pass.
//!
//! Each arrow is a pipe between threads, so that a layer alone keeps all of a small machine busy.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use loment_store::{Algorithm, Claim, DiffId, Hasher, Layer, LayerBlob, LayerSlot, Lease, TarSource};
use oci_spec::image::{Descriptor, Digest};

use crate::beginning::{Beginning, broke_off, is_worth, ran_out};
use crate::budget::{Budget, Memory};
use crate::crew::Hand;
use crate::error::Error;
use crate::inflate::{self, Compression};
use crate::parts::{Fetch, Parts};
use crate::pipe::{Closed, PipeReader, PipeWriter, pipe};
use crate::source::Source;

/// Layers that become larger than this, in bytes,
pub(crate) const SMALL: u64 = 16 << 30;
/// must not be compressed better than this; what is not made to do harm stays far below.
pub(crate) const MAX_RATIO: u64 = 200;

/// A layer that is wanted.
pub(crate) struct Wanted<'w> {
    pub(crate) source: &'w dyn Source,
    pub(crate) lease: &'w Lease,
    pub(crate) blob: &'w Descriptor,
    pub(crate) diff_id: &'w DiffId,
    /// How it is fetched when it is large.
    pub(crate) parts: Parts,
    pub(crate) memory: &'w Memory,
    pub(crate) hand: &'w Hand<'w>,
    /// Whether beginnings of layers may take room, for all layers of the image.
    pub(crate) keep: &'w AtomicBool,
}

/// Between its stages.
pub(crate) const PIPES: usize = 2;

impl Wanted<'_> {
    /// Gets it into the store; `false` when it was there.
    pub(crate) fn pull(&self) -> Result<(Layer, bool), Error> {
        let mut first = None;
        loop {
            let error = match self.pull_once() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let hopeless = self.hand.cancelled.load(Ordering::Relaxed) || ran_out(&error);
            if hopeless || !self.source.other_way(self.blob, !broke_off(&error)) {
                // That a place does not have it says less than what was wrong at another.
                return Err(if error.is_absent() { first.unwrap_or(error) } else { error });
            }
            first = Some(error);
        }
    }

    fn pull_once(&self) -> Result<(Layer, bool), Error> {
        let kept = self.keep.load(Ordering::Relaxed);
        match self.attempt() {
            // What is kept for another time takes room that this time needs.
            Err((error, _)) if kept && ran_out(&error) => {
                self.keep.store(false, Ordering::Relaxed);
                self.lease.store().forget_partials();
                self.attempt().map_err(|(error, _)| error)
            }
            // What an earlier attempt had left was not the beginning of it, and is gone.
            Err((error, true)) if !broke_off(&error) => self.attempt().map_err(|(error, _)| error),
            result => result.map_err(|(error, _)| error),
        }
    }

    /// An error comes with whether something was there of an earlier attempt.
    fn attempt(&self) -> Result<(Layer, bool), (Error, bool)> {
        let slot = match self.find().map_err(|error| (error, false))? {
            Found::Layer(layer) => return Ok((*layer, false)),
            Found::Slot(slot) => slot,
        };
        // Who has the slot is the only one who asks for it.
        self.source.begin_blob(self.blob);
        let is_kept = self.keep.load(Ordering::Relaxed) && is_worth(self.source, self.blob);
        let kept = if is_kept { slot.partial(self.blob.digest()).ok() } else { None };
        let mut kept = kept.map(|partial| Beginning::new(partial, self.blob, self.keep));
        let rest = match &mut kept {
            Some(kept) => kept.resume(self.source, self.blob).map_err(|error| (error, false))?,
            None => None,
        };
        let resumed = rest.is_some();
        let result = match rest {
            Some(bytes) => self.take(slot, bytes, kept.as_mut()),
            None => self.source.blob(self.blob).and_then(|bytes| self.take(slot, bytes, kept.as_mut())),
        };
        if let Some(kept) = &mut kept
            && !result.as_ref().is_err_and(broke_off)
        {
            kept.discard();
        }
        result.map(|layer| (layer, true)).map_err(|error| (error, resumed))
    }

    fn in_store(&self, source: loment_store::Error) -> Error {
        Error::Layer { digest: self.blob.digest().clone(), source: Box::new(source) }
    }

    /// It, or the right to make it.
    fn find(&self) -> Result<Found<'_>, Error> {
        if let Some(layer) = self.lease.layer(self.diff_id).map_err(|e| self.in_store(e))? {
            return Ok(Found::Layer(Box::new(layer)));
        }
        let wanted = || !self.hand.cancelled.load(Ordering::Relaxed);
        let claim = self.lease.claim_layer(self.blob.digest(), Some(self.diff_id), wanted);
        let claim = claim.map_err(|e| self.in_store(e))?;
        match claim.ok_or_else(|| Error::Cancelled { digest: self.blob.digest().clone() })? {
            Claim::Present(layer) => Ok(Found::Layer(Box::new(layer))),
            Claim::Missing(slot) => Ok(Found::Slot(slot)),
        }
    }

    /// Makes it of the bytes of its blob.
    fn take(
        &self,
        slot: LayerSlot<'_>,
        bytes: Box<dyn Read + Send + '_>,
        kept: Option<&mut Beginning<'_>>,
    ) -> Result<Layer, Error> {
        let Self { source, blob, parts, memory, hand, .. } = *self;
        let (budget, waiting) = (&memory.windows, memory.waiting);
        let digest = blob.digest();
        let most = SMALL.max(blob.size().saturating_mul(MAX_RATIO));
        let (compressed, [fetched]) = pipe(waiting);
        let (inflated, [to_hash, to_unpack]) = pipe(waiting);
        let (is_plain, divided) = (&AtomicBool::new(false), &AtomicBool::new(false));
        // Set when it will not be a layer, for a reason that is known then: what goes wrong after that is a consequence.
        let over = &AtomicBool::new(false);
        // Who tries next begins when all that was asked for here has ended.
        let _held = slot.hold();
        let (staged, fetch, inflation) = thread::scope(|scope| {
            let here = kept.as_deref().map_or(0, Beginning::known);
            let bytes = Fetch::new(scope, source, blob, bytes, here, parts, (budget, divided));
            let fetch = scope.spawn(move || fetch(bytes, blob, compressed, hand, over, kept));
            let inflation = scope.spawn(move || {
                let ends = Ends { cancelled: hand.cancelled, divided, over };
                inflate(fetched, digest, most, is_plain, inflated, budget, ends)
            });
            let hash = scope.spawn(move || hash(to_hash, digest, is_plain));
            let staged = slot.unpack(Unpacking { tar: to_unpack, hash });
            if staged.is_err() {
                over.store(true, Ordering::SeqCst);
                // Nobody waits for the rest of it, of which several parts may be on their way.
                source.cancel_blob(blob);
            }
            // Ended threads only: unpacking reads to the end, or drops its pipe and so ends them.
            (staged, join(fetch), join(inflation))
        });
        // The cause before its consequences.
        match fetch {
            Err(Stopped::Because(error)) => return Err(*error),
            Err(Stopped::Cancelled) => return Err(Error::Cancelled { digest: digest.clone() }),
            Ok(()) | Err(Stopped::NotWanted) => {}
        }
        if let Err(Stopped::Because(error)) = inflation {
            return Err(*error);
        }
        let staged = staged.map_err(|e| self.in_store(e))?;
        if fetch.is_err() || inflation.is_err() {
            // Not reached while unpacking reads its whole input; a layer not fully verified is never committed.
            return Err(Error::Cancelled { digest: digest.clone() });
        }
        let known = LayerBlob {
            digest: digest.clone(),
            size: blob.size(),
            media_type: blob.media_type().to_string(),
            sent_to: Vec::new(),
        };
        staged.commit(Some(self.diff_id), Some(known)).map_err(|e| self.in_store(e))
    }
}

/// What there is of a layer.
enum Found<'l> {
    Layer(Box<Layer>),
    Slot(LayerSlot<'l>),
}

/// Why a stage ended early.
enum Stopped {
    Because(Box<Error>),
    /// Another layer failed.
    Cancelled,
    /// The next stage went away; it knows why.
    NotWanted,
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Reads the blob, hashes and counts it.
fn fetch(
    mut blob: impl Read,
    descriptor: &Descriptor,
    out: PipeWriter,
    hand: &Hand<'_>,
    over: &AtomicBool,
    mut kept: Option<&mut Beginning<'_>>,
) -> Result<(), Stopped> {
    let (digest, size) = (descriptor.digest(), descriptor.size());
    let what = || format!("layer {digest}");
    let result = (|| {
        let algorithm = Algorithm::of(digest);
        let unknown = || Error::Algorithm { what: what(), digest: digest.clone() };
        let mut hasher = Hasher::new(algorithm.ok_or_else(unknown)?);
        // One byte more than announced is enough to know, and bounds what a hostile source can send.
        let mut limited = (&mut blob).take(size.saturating_add(1));
        let mut count = 0;
        loop {
            let more = out.fill(&mut limited, |bytes| {
                hasher.update(bytes);
                count += bytes.len() as u64;
                (hand.moved)(bytes.len() as u64);
                if let Some(kept) = &mut kept {
                    kept.see(bytes);
                }
            });
            let failed = |source| Error::Blob { operation: "download", digest: digest.clone(), source };
            match more {
                Err(_) if over.load(Ordering::SeqCst) => return Err(Stopped::NotWanted),
                Err(error) => return Err(failed(error).into()),
                Ok(Err(Closed)) => return Err(Stopped::NotWanted),
                Ok(Ok(_)) if hand.cancelled.load(Ordering::Relaxed) => return Err(Stopped::Cancelled),
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
            }
        }
        if count != size {
            let found = count;
            return Err(Error::Size { what: what(), expected: size, found }.into());
        }
        let found = Box::new(hasher.finish());
        if *found != *digest {
            let expected = digest.clone();
            return Err(Error::Digest { what: what(), expected, found }.into());
        }
        Ok(())
    })();
    match &result {
        Ok(()) => out.end(),
        Err(_) => out.fail(io::Error::other("the download failed")),
    }
    result
}

/// What may become of a layer while it is decompressed.
#[derive(Clone, Copy)]
struct Ends<'e> {
    /// Another layer has failed.
    cancelled: &'e AtomicBool,
    /// Its own parts have a share of the budget.
    divided: &'e AtomicBool,
    /// This one has failed.
    over: &'e AtomicBool,
}

/// Decompresses all of the blob; says first whether there is nothing to decompress.
fn inflate(
    mut input: PipeReader,
    digest: &Digest,
    most: u64,
    is_plain: &AtomicBool,
    out: PipeWriter,
    budget: &Budget,
    Ends { cancelled, divided, over }: Ends<'_>,
) -> Result<(), Stopped> {
    let failed = |source| Error::Blob { operation: "decompress", digest: digest.clone(), source };
    let result = (|| {
        let start = match input.fill_buf() {
            Err(_) if over.load(Ordering::SeqCst) => return Err(Stopped::NotWanted),
            start => start.map_err(failed)?,
        };
        let compression = inflate::detect(start);
        if let Compression::Unsupported(compression) = compression {
            return Err(Error::Compression { digest: digest.clone(), compression }.into());
        }
        is_plain.store(compression == Compression::None, Ordering::Relaxed);
        // One share at a time: who waited for a second one while holding the first could wait for ever.
        let mut share = None;
        let grow = |window| {
            share = None;
            share = budget.take(window, &[cancelled, divided, over]);
            // What this layer's own parts hold does not come back before its end: it goes on without.
            let is_over = cancelled.load(Ordering::Relaxed) || over.load(Ordering::SeqCst);
            let goes_on = share.is_some() || !is_over;
            if goes_on { Ok(()) } else { Err(io::Error::other("cancelled")) }
        };
        let mut reader = inflate::unlimited(&mut input, compression, grow);
        let mut count = 0;
        loop {
            match out.fill(&mut reader, |bytes| count += bytes.len() as u64) {
                Err(_) if cancelled.load(Ordering::Relaxed) => return Err(Stopped::Cancelled),
                Err(_) if over.load(Ordering::SeqCst) => return Err(Stopped::NotWanted),
                Err(error) => return Err(failed(error).into()),
                Ok(Err(Closed)) => return Err(Stopped::NotWanted),
                Ok(Ok(_)) if count > most => return Err(Error::Bomb { digest: digest.clone(), most }.into()),
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(()),
            }
        }
    })();
    match &result {
        Ok(()) => out.end(),
        Err(_) => out.fail(io::Error::other("decompression failed")),
    }
    result
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Because(Box::new(error))
    }
}

/// The digest of everything that comes. Of a blob that is not compressed it is the blob's, which [`fetch`] verifies: no layer is
/// committed without that.
fn hash(mut input: PipeReader, blob: &Digest, is_plain: &AtomicBool) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    input.fill_buf()?;
    // Said before the first piece was sent.
    let known = is_plain.load(Ordering::Relaxed) && Algorithm::of(blob) == Some(Algorithm::Sha256);
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(if known { blob.clone() } else { hasher.finish() });
        }
        if !known {
            hasher.update(bytes);
        }
        let count = bytes.len();
        input.consume(count);
    }
}

/// The tar as the store reads it, hashed on the side.
struct Unpacking<'scope> {
    tar: PipeReader,
    hash: ScopedJoinHandle<'scope, io::Result<Digest>>,
}

impl Read for Unpacking<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.tar.read(out)
    }
}

impl BufRead for Unpacking<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.tar.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.tar.consume(count);
    }
}

impl TarSource for Unpacking<'_> {
    fn finish(self) -> io::Result<Digest> {
        drop(self.tar);
        join(self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_goes_off_early() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let digest = loment_store::sha256(&bomb);
        let [is_plain, cancelled, over] = [false; 3].map(AtomicBool::new);
        // As small as if others, or its own parts, had taken the rest.
        let (budget, divided) = (Budget::new(8 << 20), AtomicBool::new(true));
        let _parts = budget.try_take(4 << 20).unwrap();
        for (most, whole) in [(64 << 20, true), (8 << 20, false)] {
            let (compressed, [fetched]) = pipe(0);
            let (inflated, [mut tar]) = pipe(1);
            let seen = thread::scope(|scope| {
                scope.spawn(|| {
                    let mut input = &bomb[..];
                    while matches!(compressed.fill(&mut input, |_| {}), Ok(Ok(true))) {}
                    compressed.end();
                });
                let result = scope.spawn(|| {
                    let ends = Ends { cancelled: &cancelled, divided: &divided, over: &over };
                    inflate(fetched, &digest, most, &is_plain, inflated, &budget, ends)
                });
                let read = io::copy(&mut tar, &mut io::sink());
                match join(result) {
                    Ok(()) => read.map_err(|e| e.to_string()),
                    Err(Stopped::Because(error)) => Err(error.to_string()),
                    Err(_) => Err("stopped".to_owned()),
                }
            });
            match seen {
                Ok(count) => assert!(whole && count == most),
                Err(message) => assert!(!whole && message.contains("out of proportion"), "{message}"),
            }
        }
    }
}
