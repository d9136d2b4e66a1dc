//! Ending transfers: all of a source's, or those of one blob.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use loment_registry::Cancel;
use oci_spec::image::Digest;

/// What ends the transfers of a source.
#[derive(Debug)]
pub(crate) struct Ends {
    all: Cancel,
    blobs: Mutex<Blobs>,
}

#[derive(Debug, Default)]
struct Blobs {
    /// Nothing is delivered any more.
    over: bool,
    /// Of those that have been asked for, some per image; and whether it is set.
    each: HashMap<Digest, (Cancel, bool)>,
}

impl Ends {
    pub(crate) fn new() -> Self {
        Self { all: Cancel::new(), blobs: Mutex::default() }
    }

    fn blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ends all but transfers of blobs.
    pub(crate) fn all(&self) -> &Cancel {
        &self.all
    }

    /// What ends the transfers of a blob.
    pub(crate) fn of(&self, blob: &Digest) -> Cancel {
        let mut blobs = self.blobs();
        if blobs.over {
            return self.all.clone();
        }
        blobs.each.entry(blob.clone()).or_insert_with(|| (Cancel::new(), false)).0.clone()
    }

    /// Ends the transfers of a blob, now and until they [begin](Self::begin) again: one may be about to be asked for.
    pub(crate) fn end(&self, blob: &Digest) {
        if let Some((cancel, is_set)) = self.blobs().each.get_mut(blob) {
            *is_set = true;
            cancel.cancel();
        }
    }

    /// Allows transfers of a blob that were ended.
    pub(crate) fn begin(&self, blob: &Digest) {
        let each = &mut self.blobs().each;
        if each.get(blob).is_some_and(|(_, is_set)| *is_set) {
            each.remove(blob);
        }
    }

    /// Ends everything, now and later.
    pub(crate) fn end_all(&self) {
        self.all.cancel();
        let mut blobs = self.blobs();
        blobs.over = true;
        blobs.each.drain().for_each(|(_, (cancel, _))| cancel.cancel());
    }
}
