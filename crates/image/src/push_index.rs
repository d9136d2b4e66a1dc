//! From the store to a destination: an index with its images.

use std::collections::HashMap;

use loment_store::{ImageId, Store};
use oci_spec::image::{Descriptor, Digest, MediaType};

use crate::copy::Copied;
use crate::destination::{Destination, Members, Wants};
use crate::error::Error;
use crate::format::{Format, rewrite_index};
use crate::manifest::{self, Document};
use crate::pull::Progress;
use crate::push::{PushOptions, push};

/// What an index of the store lists; `None` for what is no index.
///
/// # Errors
/// [`Error::Store`], [`Error::Malformed`].
pub fn listed(store: &Store, index: &Digest) -> Result<Option<Vec<Descriptor>>, Error> {
    let bytes = store.blob(index)?;
    Ok(match manifest::parse(&bytes, "", index)?.0 {
        Document::Index(index) => Some(index.manifests().clone()),
        Document::Image(_) => None,
    })
}

/// Sends an index of the store behind `images`, which are those it lists: the digests of their manifests, and what they are in the
/// store. None are sent for a destination that has them. Starts threads, so never before a clone.
///
/// The index keeps its bytes if all manifests do, and with them its digest; else it lists what they are there. See [`push`].
///
/// # Errors
/// Those of [`push`]; [`Error::SingleOnly`].
pub fn push_index(
    store: &Store,
    index: &Digest,
    images: &[(Digest, ImageId)],
    destination: &dyn Destination,
    options: &PushOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    if destination.wants() == Wants::Plain {
        return Err(Error::SingleOnly { destination: destination.name().to_owned() });
    }
    let lease = store.lease()?;
    let bytes = store.blob(index)?;
    // It stays while it is sent, whoever removes its name.
    lease.put_blob(index, &bytes)?;
    let (_, media_type) = manifest::parse(&bytes, "", index)?;
    let (mut changed, mut sent) = (HashMap::new(), 0);
    for (digest, image) in images {
        let member = Members::of(destination);
        sent += push(store, image, Some(digest), &member, options, progress)?.sent;
        let there = member.last().map(|(there, _)| there).filter(|there| there.digest() != digest);
        changed.extend(there.map(|there| (digest.clone(), there)));
    }
    let from = Format::of(&media_type);
    // Docker's has no word for what became OCI's, for being compressed with zstd.
    let became = |there: &Descriptor| Format::of(there.media_type().as_ref());
    let kept = match changed.values().any(|there| became(there) == Format::Oci) {
        true => Format::Oci,
        false => from,
    };
    let to = options.format.or(destination.format()).unwrap_or(kept);
    let (bytes, digest, media_type) = match rewrite_index(&bytes, index, from, to, &changed)? {
        None => (bytes, index.clone(), media_type),
        Some(bytes) => {
            let digest = loment_store::sha256(&bytes);
            (bytes, digest, to.index().to_owned())
        }
    };
    let media_type = MediaType::from(media_type.as_str());
    let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest.clone());
    destination.put_document(&descriptor, &bytes, true)?;
    Ok(Copied { digest, sent })
}
