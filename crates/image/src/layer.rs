//! One layer on its way: fetch ∥ blob digest → inflate → layer digest ∥ unpack, in one pass.
//!
//! Each arrow is a pipe between threads, so that a layer alone keeps all of a small machine busy.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use loment_store::{Algorithm, Claim, DiffId, Hasher, Layer, LayerBlob, Lease, TarSource};
use oci_spec::image::{Descriptor, Digest};

use crate::budget::Budget;
use crate::crew::Hand;
use crate::error::Error;
use crate::inflate::{self, Compression};
use crate::parts::{Fetch, Parts};
use crate::pipe::{Closed, PipeReader, PipeWriter, pipe};
use crate::source::Source;

/// What layers may take to keep what their decompressors look back to. The pieces between threads come on top: 5 MiB each.
pub(crate) const WINDOWS: u64 = 40 << 20;
/// Layers that become larger than this, in bytes,
const SMALL: u64 = 16 << 30;
/// must not be compressed better than this; what is not made to do harm stays far below.
const MAX_RATIO: u64 = 200;

/// Gets one layer into the store; `false` when it was there.
pub(crate) fn pull(
    source: &dyn Source,
    lease: &Lease,
    descriptor: &Descriptor,
    expected: &DiffId,
    parts: Parts,
    budget: &Budget,
    hand: &Hand<'_>,
) -> Result<(Layer, bool), Error> {
    let (cancelled, received) = (hand.cancelled, hand.moved);
    let digest = descriptor.digest();
    let in_store = |source| Error::Layer { digest: digest.clone(), source: Box::new(source) };
    if let Some(layer) = lease.layer(expected).map_err(in_store)? {
        return Ok((layer, false));
    }
    let slot = match lease.claim_layer(digest).map_err(in_store)? {
        Claim::Present(layer) if layer.diff_id() == expected => return Ok((layer, false)),
        Claim::Present(layer) => {
            let (expected, found) = (expected.clone(), layer.diff_id().clone());
            return Err(in_store(loment_store::Error::DiffId { expected, found }));
        }
        Claim::Missing(slot) => slot,
    };
    let blob = source.blob(descriptor)?;
    let most = SMALL.max(descriptor.size().saturating_mul(MAX_RATIO));
    let (compressed, [fetched]) = pipe();
    let (inflated, [to_hash, to_unpack]) = pipe();
    let (staged, fetch, inflation) = thread::scope(|scope| {
        let blob = Fetch::new(scope, source, descriptor, blob, parts, budget);
        let fetch = scope.spawn(move || fetch(blob, descriptor, compressed, cancelled, received));
        let inflation = scope.spawn(move || inflate(fetched, digest, most, inflated, budget, cancelled));
        let hash = scope.spawn(move || hash(to_hash));
        let staged = slot.unpack(Unpacking { tar: to_unpack, hash });
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
    let staged = staged.map_err(in_store)?;
    if fetch.is_err() || inflation.is_err() {
        // Not reached while unpacking reads its whole input; a layer not fully verified is never committed.
        return Err(Error::Cancelled { digest: digest.clone() });
    }
    let blob = LayerBlob {
        digest: digest.clone(),
        size: descriptor.size(),
        media_type: descriptor.media_type().to_string(),
    };
    staged.commit(Some(expected), Some(blob)).map(|layer| (layer, true)).map_err(in_store)
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
    cancelled: &AtomicBool,
    received: &(dyn Fn(u64) + Sync),
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
                received(bytes.len() as u64);
            });
            let failed = |source| Error::Blob { operation: "download", digest: digest.clone(), source };
            match more.map_err(failed)? {
                Err(Closed) => return Err(Stopped::NotWanted),
                Ok(_) if cancelled.load(Ordering::Relaxed) => return Err(Stopped::Cancelled),
                Ok(true) => {}
                Ok(false) => break,
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
        Err(_) => out.fail(&io::Error::other("the download failed")),
    }
    result
}

/// Decompresses all of the blob.
fn inflate(
    mut input: PipeReader,
    digest: &Digest,
    most: u64,
    out: PipeWriter,
    budget: &Budget,
    cancelled: &AtomicBool,
) -> Result<(), Stopped> {
    let failed = |source| Error::Blob { operation: "decompress", digest: digest.clone(), source };
    let result = (|| {
        let start = input.fill_buf().map_err(failed)?;
        let compression = inflate::detect(start);
        let window = inflate::window(start, compression);
        if let Compression::Unsupported(compression) = compression {
            return Err(Error::Compression { digest: digest.clone(), compression }.into());
        }
        let _share = budget.take(window, cancelled).ok_or(Stopped::Cancelled)?;
        let mut reader = inflate::bounded(&mut input, compression, window).map_err(failed)?;
        let mut count = 0;
        loop {
            match out.fill(&mut reader, |bytes| count += bytes.len() as u64).map_err(failed)? {
                Err(Closed) => return Err(Stopped::NotWanted),
                Ok(_) if count > most => return Err(Error::Bomb { digest: digest.clone(), most }.into()),
                Ok(true) => {}
                Ok(false) => return Ok(()),
            }
        }
    })();
    match &result {
        Ok(()) => out.end(),
        Err(_) => out.fail(&io::Error::other("decompression failed")),
    }
    result
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Because(Box::new(error))
    }
}

/// The digest of everything that comes.
fn hash(mut input: PipeReader) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hasher.finish());
        }
        hasher.update(bytes);
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
        let (wanted, budget) = (AtomicBool::new(false), Budget::new(WINDOWS));
        for (most, whole) in [(64 << 20, true), (8 << 20, false)] {
            let (compressed, [fetched]) = pipe();
            let (inflated, [mut tar]) = pipe();
            let seen = thread::scope(|scope| {
                scope.spawn(|| {
                    let mut input = &bomb[..];
                    while matches!(compressed.fill(&mut input, |_| {}), Ok(Ok(true))) {}
                    compressed.end();
                });
                let result = scope.spawn(|| inflate(fetched, &digest, most, inflated, &budget, &wanted));
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
