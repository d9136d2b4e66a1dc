//! One layer on its way: fetch ∥ blob digest → inflate → layer digest ∥ unpack, in one pass.
//!
//! Each arrow is a pipe between threads, so that a layer alone keeps all of a small machine busy.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use loment_store::{Algorithm, Claim, DiffId, Hasher, Layer, LayerBlob, Lease, TarSource};
use oci_spec::image::{Descriptor, Digest};

use crate::error::Error;
use crate::inflate::{self, Compression};
use crate::pipe::{Closed, PipeReader, PipeWriter, pipe};
use crate::source::Source;

/// Gets one layer into the store; `false` when it was there.
pub(crate) fn pull(
    source: &dyn Source,
    lease: &Lease,
    descriptor: &Descriptor,
    expected: &DiffId,
    cancelled: &AtomicBool,
    received: &(dyn Fn(u64) + Sync),
) -> Result<(Layer, bool), Error> {
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
    let (compressed, [fetched]) = pipe();
    let (inflated, [to_hash, to_unpack]) = pipe();
    let (staged, fetch, inflation) = thread::scope(|scope| {
        let fetch = scope.spawn(move || fetch(blob, descriptor, compressed, cancelled, received));
        let inflation = scope.spawn(move || inflate(fetched, digest, inflated));
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
    mut blob: Box<dyn Read + Send + '_>,
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
fn inflate(mut input: PipeReader, digest: &Digest, out: PipeWriter) -> Result<(), Stopped> {
    let failed = |source| Error::Blob { operation: "decompress", digest: digest.clone(), source };
    let result = (|| {
        let compression = inflate::detect(input.fill_buf().map_err(failed)?);
        if let Compression::Unsupported(compression) = compression {
            return Err(Error::Compression { digest: digest.clone(), compression }.into());
        }
        let mut reader = inflate::reader(&mut input, compression).map_err(failed)?;
        loop {
            match out.fill(&mut reader, |_| {}).map_err(failed)? {
                Err(Closed) => return Err(Stopped::NotWanted),
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
