//! What came of a layer, kept for the next attempt when this one breaks off.
//!
//! Layers are unpacked while they come, so that nothing of a layer is left when its transfer ends half way: the states of hashes and
//! decompressors cannot be kept. What can is the bytes that came. They are written beside as long as they come slowly: keeping what
//! comes quickly costs a second copy on the disk for the sake of little time (docs/store.md has the figures).

use std::cmp::Ordering::{Equal, Less};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use loment_store::Partial;
use oci_spec::image::Descriptor;

use crate::error::Error;
use crate::source::Source;

/// Layers smaller than this, in bytes, are fetched again.
const WORTH: u64 = 8 << 20;
/// Bytes after which it is seen whether they come slowly,
const JUDGED_AFTER: u64 = 64 << 20;
/// which is less than this in a second.
const SLOW: f64 = (32 << 20) as f64;

/// What a blob unpacks to is hardly ever more than so many times what it is.
const UNPACKED: u64 = 4;

/// What is kept of a layer.
#[derive(Debug)]
pub(crate) struct Beginning<'p> {
    partial: Partial,
    /// Bytes of the whole blob.
    size: u64,
    /// Whether room may still be taken.
    may: &'p AtomicBool,
    /// Bytes that are kept already.
    known: u64,
    seen: u64,
    since: Instant,
}

/// Whether it is worth keeping a beginning.
pub(crate) fn is_worth(source: &dyn Source, blob: &Descriptor) -> bool {
    source.is_distant() && blob.size() >= WORTH
}

impl<'p> Beginning<'p> {
    /// `may` says whether there is room for it.
    pub(crate) fn new(partial: Partial, blob: &Descriptor, may: &'p AtomicBool) -> Self {
        let (known, size) = (partial.length(), blob.size());
        Self { partial, size, may, known, seen: 0, since: Instant::now() }
    }

    /// The blob, as far as it is here from here, and without a word to the source when all of it is; `None` when nothing is, or the
    /// rest cannot be had alone.
    ///
    /// # Errors
    /// Nothing can be had at the moment; what is here stays.
    pub(crate) fn resume<'s>(
        &mut self,
        source: &'s dyn Source,
        blob: &Descriptor,
    ) -> Result<Option<Box<dyn Read + Send + 's>>, Error> {
        if self.known == 0 {
            return Ok(None);
        }
        let here = self.partial.reader().ok();
        let both: Option<Box<dyn Read + Send + 's>> = match (here, self.known.cmp(&blob.size())) {
            (Some(here), Less) => match source.part(blob, self.known..blob.size()) {
                Ok(rest) => rest.map(|rest| Box::new(here.chain(rest)) as Box<_>),
                // Another time, perhaps.
                Err(error) if error.is_unavailable() => return Err(error),
                Err(_) => None,
            },
            (Some(here), Equal) => Some(Box::new(here)),
            // More than the blob is not the blob.
            _ => None,
        };
        if both.is_none() {
            self.discard();
        }
        Ok(both)
    }

    /// Bytes that are here.
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Told everything that comes, from the start.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let before = self.seen;
        self.seen += bytes.len() as u64;
        let new = usize::try_from(self.known.saturating_sub(before)).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(new..) {
            let to_come = self.size.saturating_sub(self.seen).saturating_mul(UNPACKED + 1);
            if self.may.load(Ordering::Relaxed) {
                self.partial.append(new, to_come);
            } else {
                self.discard();
            }
        }
        let came = self.seen.saturating_sub(self.known);
        if came >= JUDGED_AFTER && came - (bytes.len() as u64) < JUDGED_AFTER {
            let rate = came as f64 / self.since.elapsed().as_secs_f64();
            if rate > SLOW {
                self.discard();
            }
        }
    }

    /// Keeps nothing of it.
    pub(crate) fn discard(&mut self) {
        self.partial.discard();
        self.known = 0;
    }
}

/// Whether the blob may be sound and only its way was not.
pub(crate) fn broke_off(error: &Error) -> bool {
    match error {
        Error::Cancelled { .. } => true,
        Error::Blob { operation: "download", .. } => !ran_out(error),
        _ => error.is_unavailable(),
    }
}

/// Whether the disk is full, or what somebody may have of it.
pub(crate) fn ran_out(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}
