//! Where images are copied to, other than the store.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use loment_store::{Algorithm, Hasher};
use oci_spec::image::{Descriptor, Digest};

use crate::crew::Hand;
use crate::error::Error;
use crate::format::Format;
use crate::marks::Marks;

/// The form of layers that a destination takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Any, and as they are is best.
    AsIs,
    /// Any; those that are of no known digest had better be compressed.
    Compressed,
    /// Plain tars of single images only.
    Plain,
}

impl Wants {
    /// How many blobs are sent at a time. What is written one after the other anyway is in its order then, and the same every time.
    pub(crate) fn parallel(self, asked: usize) -> usize {
        if self == Self::Plain { 1 } else { asked }
    }
}

/// What takes a blob.
pub type Take<'t> = dyn FnMut(&mut Incoming<'_>) -> Result<(), Error> + 't;
/// What makes a blob each time it is called, and has it taken: from its start, or from somewhere before the byte that is wanted first.
pub type Make<'m> = dyn FnMut(u64, &mut Take<'_>) -> Result<(), Error> + 'm;

/// A place for one image or index with all it refers to.
///
/// Blobs come first, then the documents that refer to them, what was asked for last.
pub trait Destination: Sync {
    /// What it is called, for messages.
    fn name(&self) -> &str;
    /// The form of layers that it takes.
    fn wants(&self) -> Wants;
    /// The format that manifests must have there.
    fn format(&self) -> Option<Format> {
        None
    }
    /// Whether it takes layers that are elsewhere, by their addresses alone.
    fn takes_addresses(&self) -> bool {
        false
    }
    /// The repository that blobs go to, with its registry, when they may be taken from it later without their bytes.
    fn repository(&self) -> Option<&str> {
        None
    }
    /// Whether a blob is there already, or can be had without its bytes.
    fn has(&self, blob: &Descriptor) -> Result<bool, Error>;
    /// Takes a blob. It must be read to its end and [`Incoming::finish`]ed before it counts.
    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error>;
    /// Takes a blob that is made as often as need be: once, where nothing can break on the way.
    fn put(&self, make: &mut Make<'_>) -> Result<(), Error> {
        make(0, &mut |blob| self.put_blob(blob))
    }
    /// Ends what is waited for, because all of it has failed. Nothing more is taken.
    fn cancel(&self) {}
    /// Takes a manifest or index; the last one is `top`, what the destination is to show.
    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error>;
}

/// A destination that takes images as members of an index: what each sends as its top is only listed, and remembered.
pub struct Members<'d> {
    inner: &'d dyn Destination,
    top: Mutex<Option<(Descriptor, Vec<u8>)>>,
}

impl<'d> Members<'d> {
    /// Members go to `inner`.
    pub fn of(inner: &'d dyn Destination) -> Self {
        Self { inner, top: Mutex::default() }
    }

    /// What the last image that was sent is described by, and its manifest.
    pub fn last(&self) -> Option<(Descriptor, Vec<u8>)> {
        self.top.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Destination for Members<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn wants(&self) -> Wants {
        self.inner.wants()
    }

    fn format(&self) -> Option<Format> {
        self.inner.format()
    }

    fn takes_addresses(&self) -> bool {
        self.inner.takes_addresses()
    }

    fn repository(&self) -> Option<&str> {
        self.inner.repository()
    }

    fn has(&self, blob: &Descriptor) -> Result<bool, Error> {
        self.inner.has(blob)
    }

    fn put_blob(&self, blob: &mut Incoming<'_>) -> Result<(), Error> {
        self.inner.put_blob(blob)
    }

    fn put(&self, make: &mut Make<'_>) -> Result<(), Error> {
        self.inner.put(make)
    }

    fn cancel(&self) {
        self.inner.cancel();
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8], top: bool) -> Result<(), Error> {
        if top {
            let sent = (descriptor.clone(), bytes.to_vec());
            *self.top.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
        }
        self.inner.put_document(descriptor, bytes, false)
    }
}

/// A blob on its way. Its digest and size are those of the bytes that were read.
pub struct Incoming<'b> {
    bytes: &'b mut (dyn Read + Send),
    hasher: Hasher,
    count: u64,
    ended: bool,
    expected: Option<&'b Descriptor>,
    /// Of what comes, for another time.
    marks: Option<&'b mut Marks>,
    /// What it was, when it has been read.
    found: Option<(Digest, u64)>,
}

impl<'b> Incoming<'b> {
    /// A blob that must be the one described.
    ///
    /// # Errors
    /// [`Error::Algorithm`] when its digest cannot be computed here.
    pub(crate) fn expected(
        descriptor: &'b Descriptor,
        bytes: &'b mut (dyn Read + Send),
    ) -> Result<Self, Error> {
        let digest = descriptor.digest();
        let unknown = || Error::Algorithm { what: format!("blob {digest}"), digest: digest.clone() };
        let hasher = Hasher::new(Algorithm::of(digest).ok_or_else(unknown)?);
        Ok(Self { hasher, expected: Some(descriptor), ..Self::new(bytes) })
    }

    /// The same, of which `bytes` are what comes behind the mark at `from`.
    ///
    /// # Errors
    /// [`Error::Algorithm`].
    pub(crate) fn marked(
        descriptor: &'b Descriptor,
        from: u64,
        bytes: &'b mut (dyn Read + Send),
        marks: &'b mut Marks,
    ) -> Result<Self, Error> {
        let mut blob = Self::expected(descriptor, bytes)?;
        if let Some(hasher) = marks.go_on(from) {
            blob.hasher = hasher;
        }
        (blob.count, blob.marks) = (from, Some(marks));
        Ok(blob)
    }

    /// Place in the blob of the next byte.
    pub fn position(&self) -> u64 {
        self.count
    }

    /// A blob that is made while it is read.
    pub(crate) fn new(bytes: &'b mut (dyn Read + Send)) -> Self {
        let hasher = Hasher::new(Algorithm::Sha256);
        Self { bytes, hasher, count: 0, ended: false, expected: None, marks: None, found: None }
    }

    /// What it was; `None` as long as nobody has read and finished it.
    pub(crate) fn read(self) -> Option<(Digest, u64)> {
        self.found
    }

    /// What is known of it before it is read.
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.expected
    }

    /// Reads what is left, which is nothing of a blob that was announced rightly, and finishes.
    ///
    /// # Errors
    /// As [`Incoming::finish`], and [`Error::Copy`].
    pub fn end(&mut self, destination: &str) -> Result<(Digest, u64), Error> {
        io::copy(self, &mut io::sink()).map_err(|source| {
            let blob = self.expected.map(|blob| blob.digest().to_string()).unwrap_or_default();
            Error::Copy { blob, source }
        })?;
        self.finish(destination)
    }

    /// Its digest and size, when it has been read to its end.
    ///
    /// # Errors
    /// [`Error::Size`] and [`Error::Digest`] when it is not what was announced, [`Error::Unread`] before its end.
    pub fn finish(&mut self, destination: &str) -> Result<(Digest, u64), Error> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256));
        let (found, count) = (hasher.finish(), self.count);
        if let Some(expected) = self.expected {
            let what = || format!("blob {}", expected.digest());
            if count != expected.size() {
                return Err(Error::Size { what: what(), expected: expected.size(), found: count });
            }
            if found != *expected.digest() {
                let (expected, found) = (expected.digest().clone(), Box::new(found));
                return Err(Error::Digest { what: what(), expected, found });
            }
        } else if !self.ended {
            return Err(Error::Unread { destination: destination.to_owned() });
        }
        self.found = Some((found.clone(), count));
        Ok((found, count))
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // One byte more than announced is enough to know, and bounds what a hostile source can send.
        let left = self.expected.map_or(u64::MAX, |d| d.size().saturating_add(1).saturating_sub(self.count));
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let count = self.bytes.read(&mut out[..limit])?;
        self.ended |= count == 0 && limit > 0;
        match &mut self.marks {
            Some(marks) => marks.update(&mut self.hasher, self.count, &out[..count]),
            None => self.hasher.update(&out[..count]),
        }
        self.count += count as u64;
        Ok(count)
    }
}

/// A blob that is watched, and stops when everything does.
pub(crate) struct Watched<'s, R> {
    bytes: R,
    hand: &'s Hand<'s>,
    count: u64,
    told: &'s AtomicU64,
}

impl<'s, R: Read> Watched<'s, R> {
    /// `told` is how many bytes of the blob somebody has heard of: of those that are made again nobody does.
    pub(crate) fn new(bytes: R, hand: &'s Hand<'s>, told: &'s AtomicU64) -> Self {
        Self { bytes, hand, count: 0, told }
    }

    /// The same from another byte on than the first.
    pub(crate) fn from(self, position: u64) -> Self {
        Self { count: position, ..self }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.hand.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was cancelled"));
        }
        let count = self.bytes.read(out)?;
        self.count += count as u64;
        let before = self.told.fetch_max(self.count, Ordering::Relaxed);
        if self.count > before {
            (self.hand.moved)(self.count - before);
        }
        Ok(count)
    }
}
