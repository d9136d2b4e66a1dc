//! Images read from registries: the `docker:` transport's source, with mirrors.

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loment_registry::{Blob, Cancel, Registry};
use oci_spec::image::{Descriptor, Digest};

use crate::addresses::Addresses;
use crate::ends::Ends;
use crate::error::{Attempt, Error};
use crate::manifest::is_elsewhere;
use crate::reference::Reference;
use crate::source::{Fetched, Source};

/// What a reference names in a registry, or in one of several that have the same.
///
/// The first that delivers the manifest is asked for the rest; what it does not deliver is asked of the next, and what it breaks
/// off, too, from there on. Who does not answer any more is not asked first again. A blob whose bytes were wrong is asked for once
/// more, from its start and at one place: the last that has it, which is the registry itself where the others are mirrors.
#[derive(Debug)]
pub struct RegistrySource {
    stops: Vec<Stop>,
    /// What ends what is asked of them.
    ends: Ends,
    /// The stop that has delivered.
    good: AtomicUsize,
    /// Blobs whose bytes were wrong: they are asked for at the last place that answers, and nowhere else.
    wrong: Mutex<HashSet<Digest>>,
    /// What no registry has.
    addresses: Addresses,
    digest: Option<Digest>,
    name: String,
}

/// One place to ask.
#[derive(Debug)]
struct Stop {
    registry: Registry,
    repository: String,
    manifest: String,
    name: String,
}

/// The same for one blob.
struct Asked<'s> {
    registry: Registry,
    repository: &'s str,
}

impl Stop {
    fn ended_by(&self, cancel: &Cancel) -> Asked<'_> {
        Asked { registry: self.registry.ended_by(cancel), repository: &self.repository }
    }
}

impl RegistrySource {
    /// What `reference` names; its domain must be the one `registry` was made for.
    pub fn new(registry: &Registry, reference: &Reference) -> Self {
        Self::any_of([(registry, reference)], reference)
    }

    /// What `reference` names, wherever it is: `places` are tried in this order, each by its own reference, whose domain must
    /// be the one its registry was made for.
    pub fn any_of<'n>(
        places: impl IntoIterator<Item = (&'n Registry, &'n Reference)>,
        reference: &Reference,
    ) -> Self {
        let ends = Ends::new();
        let places: Vec<_> = places.into_iter().collect();
        let last = places.len().saturating_sub(1);
        let stop = |(position, (registry, reference)): (usize, (&'n Registry, &'n Reference))| Stop {
            registry: match position == last {
                true => registry.ended_by(ends.all()),
                false => registry.ended_by(ends.all()).with_others(),
            },
            repository: reference.path().to_owned(),
            manifest: reference.manifest().to_owned(),
            name: reference.store_name(),
        };
        Self {
            stops: places.into_iter().enumerate().map(stop).collect(),
            ends,
            good: AtomicUsize::new(0),
            wrong: Mutex::default(),
            addresses: Addresses::default(),
            digest: reference.digest().cloned(),
            name: reference.store_name(),
        }
    }

    /// Blobs that were wrong.
    fn wrong(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one after the other, from the one on that has delivered before, until one answers; and which one that was.
    fn ask<T>(&self, what: impl Fn(&Stop) -> Result<T, loment_registry::Error>) -> Result<(T, usize), Error> {
        self.ask_each(self.from(self.good.load(Ordering::Relaxed)), what)
    }

    fn ask_each<T>(
        &self,
        positions: impl Iterator<Item = usize>,
        what: impl Fn(&Stop) -> Result<T, loment_registry::Error>,
    ) -> Result<(T, usize), Error> {
        let mut failed = Vec::new();
        for position in positions {
            let stop = &self.stops[position];
            match what(stop) {
                Ok(answer) => {
                    let silent = |attempt: &Attempt| !attempt.error.is_answer();
                    if !failed.is_empty() && failed.iter().all(silent) {
                        self.good.store(position, Ordering::Relaxed);
                    }
                    return Ok((answer, position));
                }
                Err(error) => failed.push(Attempt { name: stop.name.clone(), error }),
            }
        }
        Err(Error::of_attempts(failed, &self.name))
    }

    /// Bytes of a blob, wherever they are.
    fn bytes(
        &self,
        blob: &Descriptor,
        range: Range<u64>,
        ask: impl Fn(&Asked<'_>, &Digest, u64) -> Result<Blob, loment_registry::Error> + Send + 'static,
    ) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = blob.digest();
        let cancel = self.ends.of(digest);
        if self.wrong().contains(digest) {
            let last = (0..self.stops.len()).rev();
            let (bytes, _) = self.ask_each(last, |stop| ask(&stop.ended_by(&cancel), digest, range.start))?;
            return Ok(Box::new(bytes));
        }
        let (bytes, position) = self.ask(|stop| ask(&stop.ended_by(&cancel), digest, range.start))?;
        if self.stops.len() == 1 {
            return Ok(Box::new(bytes));
        }
        let next: Vec<usize> = self.from(position).skip(1).collect();
        let (next, digest, ask) = (next.into_iter(), digest.clone(), Box::new(ask));
        let Range { start, end } = range;
        Ok(Box::new(Relay { source: self, digest, cancel, ask, bytes, position: start, end, next }))
    }

    /// A blob that no registry has, from the addresses its manifest names.
    fn elsewhere(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let stop = self.stops.last().ok_or_else(|| Error::Nowhere { name: self.name.clone() })?;
        let registry = stop.registry.ended_by(&self.ends.of(blob.digest()));
        Ok(Box::new(self.addresses.open(blob, &self.name, |url| registry.fetch(url))?))
    }

    /// All positions, from `first` on.
    fn from(&self, first: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.stops.len();
        (first..count).chain(0..first.min(count))
    }
}

impl Source for RegistrySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<Fetched, Error> {
        let (manifest, position) = self.ask(|stop| {
            let which = digest.map_or(stop.manifest.as_str(), |digest| digest.as_ref());
            stop.registry.manifest(&stop.repository, which)
        })?;
        if digest.is_none() {
            self.good.store(position, Ordering::Relaxed);
        }
        // What was asked for by its digest has that, whatever the registry says.
        let wanted = if digest.is_none() { self.digest.clone() } else { None };
        let digest = wanted.or(manifest.digest);
        Ok(Fetched { media_type: manifest.media_type, digest, bytes: manifest.bytes })
    }

    /// Of the first place that has it. One that answers in another way is to be asked for the manifest itself.
    fn announced(&self) -> Option<(Digest, String)> {
        for (position, stop) in self.stops.iter().enumerate() {
            match stop.registry.glance_at_manifest(&stop.repository, &stop.manifest) {
                Ok(head) => {
                    let digest = head.digest?;
                    self.good.store(position, Ordering::Relaxed);
                    return Some((digest, head.media_type));
                }
                Err(error) if error.is_absent() || !error.is_answer() => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let ask =
            |place: &Asked<'_>, digest: &Digest, start| place.registry.blob(place.repository, digest, start);
        match self.bytes(blob, 0..blob.size(), ask) {
            Err(error) if error.is_absent() && is_elsewhere(blob) => self.elsewhere(blob),
            result => result,
        }
    }

    fn size_of(&self, blob: &Digest) -> Option<u64> {
        self.ask(|stop| stop.registry.head_blob(&stop.repository, blob)).ok()?.0.size
    }

    fn is_distant(&self) -> bool {
        true
    }

    fn part(&self, blob: &Descriptor, range: Range<u64>) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        let end = range.end;
        let part = move |place: &Asked<'_>, digest: &Digest, start| {
            place.registry.blob_part(place.repository, digest, start..end)
        };
        match self.bytes(blob, range, part) {
            // Of a file at an address there are no parts.
            Err(error) if error.is_absent() && is_elsewhere(blob) => Ok(None),
            result => result.map(Some),
        }
    }

    fn cancel(&self) {
        self.ends.end_all();
    }

    fn cancel_blob(&self, blob: &Descriptor) {
        self.ends.end(blob.digest());
    }

    fn begin_blob(&self, blob: &Descriptor) {
        self.ends.begin(blob.digest());
    }

    fn other_way(&self, blob: &Descriptor, wrong: bool) -> bool {
        match self.addresses.pass_over(blob) {
            Some(another) => another,
            None => wrong && self.stops.len() > 1 && self.wrong().insert(blob.digest().clone()),
        }
    }
}

/// Asks a place for a blob from a byte on.
type Ask = Box<dyn Fn(&Asked<'_>, &Digest, u64) -> Result<Blob, loment_registry::Error> + Send>;

/// A blob, or a part of one, that is taken up by the next place where one does not go on.
struct Relay<'s> {
    source: &'s RegistrySource,
    digest: Digest,
    cancel: Cancel,
    ask: Ask,
    bytes: Blob,
    /// Where in the blob the next byte is, and where those end that are wanted.
    position: u64,
    end: u64,
    next: std::vec::IntoIter<usize>,
}

impl Read for Relay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.bytes.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) => error,
            };
            // Nothing is left to be asked for, and the error is about what came too much.
            if self.position >= self.end {
                return Err(error);
            }
            // The error of the last one that delivered says more than that of one that does not have it.
            let found = self.next.by_ref().find_map(|position| {
                let place = self.source.stops[position].ended_by(&self.cancel);
                let bytes = (self.ask)(&place, &self.digest, self.position);
                bytes.ok().map(|bytes| (bytes, position))
            });
            let (bytes, position) = found.ok_or(error)?;
            self.source.good.store(position, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}
