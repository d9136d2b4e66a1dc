//! Which image of an index has an id: the one whose manifest names that configuration.

use loment_store::ImageId;
use oci_spec::image::Descriptor;

use crate::error::Error;
use crate::manifest::{self, Document};
use crate::platform::Platform;
use crate::resolve::{MAX_NESTING, Verified, member, top};
use crate::source::Source;

/// Manifests of one index looked at, those of indexes inside it included. The largest indexes that are made list some thirty platforms,
/// each with an attestation.
const MAX_LOOKED_AT: usize = 128;

/// From what the source was opened for down to the manifest of an image, which is the last; those that fit a platform are looked at
/// first.
///
/// # Errors
/// [`Error::NoMember`] when every manifest could be read and none is the image's; what kept one from being read where it may be that
/// one; [`Error::TooMany`].
pub(crate) fn path_to(source: &dyn Source, id: &ImageId, first: &Platform) -> Result<Vec<Verified>, Error> {
    let mut path = vec![top(source)?];
    let mut search = Search { source, id, first, left: MAX_LOOKED_AT, absent: None, unread: None };
    if search.below(&mut path)? {
        return Ok(path);
    }
    let none = || Error::NoMember { reference: source.name().to_owned(), image: id.clone() };
    Err(search.unread.or(search.absent).unwrap_or_else(none))
}

struct Search<'s> {
    source: &'s dyn Source,
    id: &'s ImageId,
    first: &'s Platform,
    left: usize,
    /// A manifest that is listed, but is not there.
    absent: Option<Error>,
    /// One that is there, but cannot be read.
    unread: Option<Error>,
}

impl Search<'_> {
    /// Whether the last of `path` is the image's, or leads to it; `path` goes on to it then.
    fn below(&mut self, path: &mut Vec<Verified>) -> Result<bool, Error> {
        let Some(last) = path.last() else { return Ok(false) };
        let members: Vec<Descriptor> = match &last.document {
            Document::Image(manifest) => return Ok(manifest.config().digest() == self.id.digest()),
            Document::Index(index) if path.len() <= MAX_NESTING => {
                manifest::by_fit(index, self.first).into_iter().cloned().collect()
            }
            Document::Index(_) => {
                self.unread = Some(Error::Nested { digest: last.digest.clone() });
                return Ok(false);
            }
        };
        for descriptor in &members {
            if self.left == 0 {
                let reference = self.source.name().to_owned();
                self.unread = Some(Error::TooMany { reference, limit: MAX_LOOKED_AT });
                return Ok(false);
            }
            self.left -= 1;
            match member(self.source, descriptor) {
                Ok(next) => {
                    path.push(next);
                    if self.below(path)? {
                        return Ok(true);
                    }
                    path.pop();
                }
                Err(error) if error.is_absent() => self.absent = Some(error),
                // Who does not answer now will not answer for the others.
                Err(error @ (Error::Registry(_) | Error::Mirrors { .. } | Error::Nowhere { .. })) => {
                    return Err(error);
                }
                Err(error) => self.unread = Some(error),
            }
        }
        Ok(false)
    }
}
