//! What registries are asked besides images: lists, searches, deletion.

use loment_image::Reference;
use loment_registry::Found;

use crate::{Access, Error};

/// Tags or repositories that are listed at most; a registry that has more is asked with something narrower.
const MAX_NAMES: usize = 1_000_000;

/// The tags of a repository, in the registry's order.
///
/// # Errors
/// [`Error::Registry`].
pub fn tags(repository: &Reference, access: &Access) -> Result<Vec<String>, Error> {
    let registry = access.registry(repository)?;
    let tags = registry.tags(repository.path())?.take(MAX_NAMES).collect::<Result<Vec<_>, _>>()?;
    Ok(tags)
}

/// Deletes what a reference names, by its digest: all tags of it go.
///
/// # Errors
/// [`Error::Registry`].
pub fn delete(reference: &Reference, access: &Access) -> Result<(), Error> {
    let registry = access.registry(reference)?;
    let head = registry.head_manifest(reference.path(), reference.manifest())?;
    let digest = match head.digest {
        Some(digest) => digest,
        // It does not announce any: what it delivers has one.
        None => loment_store::sha256(&registry.manifest(reference.path(), reference.manifest())?.bytes),
    };
    Ok(registry.delete_manifest(reference.path(), digest.as_ref())?)
}

/// At most `limit` repositories of a registry that have to do with `term`; with an empty one, of all it has.
///
/// # Errors
/// [`Error::Registry`], [`Error::Reference`] for what is no registry.
pub fn search(host: &str, term: &str, limit: usize, access: &Access) -> Result<Vec<Found>, Error> {
    let any: Reference = format!("{host}/any").parse()?;
    Ok(access.registry(&any)?.search(term, limit)?)
}
