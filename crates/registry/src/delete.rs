//! Deleting manifests, tags and blobs. Registries may refuse: Debian's does so unless told otherwise.

use hyper::Method;
use oci_spec::image::Digest;

use crate::client::{Call, Kind};
use crate::error::Error;
use crate::scope::Scopes;
use crate::{Registry, names};

impl Registry {
    /// Deletes a tag, or the manifest of a digest with all its tags (distribution-spec 1.1, "Deleting tags",
    /// "Deleting Manifests"). A registry that deletes no tags by themselves answers 400 or 405. When a manifest
    /// refers to a subject and the registry does not keep that list, it is taken out of the one that clients
    /// maintain.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::NotFound`] when there is none.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> Result<(), Error> {
        names::repository(repository)?;
        let digest = names::reference(reference)?;
        // What it refers to cannot be seen afterwards. One that cannot be read can be deleted all the same.
        let was = digest.map(|digest| (self.manifest(repository, reference), digest));
        self.delete(repository, self.call(repository, Kind::Manifest, reference))?;
        match was {
            Some((Ok(was), digest)) => self.unlist_referrer(repository, &was.media_type, &was.bytes, &digest),
            _ => Ok(()),
        }
    }

    /// Deletes a blob from a repository, whatever refers to it (distribution-spec 1.1, "Deleting Blobs").
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::NotFound`] when there is none.
    pub fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<(), Error> {
        names::repository(repository)?;
        names::digest(digest)?;
        self.delete(repository, self.call(repository, Kind::Blob, digest.as_ref()))
    }

    fn delete(&self, repository: &str, mut call: Call) -> Result<(), Error> {
        call.method = Method::DELETE;
        call.scopes = Scopes::delete(repository);
        call.patient = true;
        self.client.headers(&call, &[200, 202, 204]).map(drop)
    }
}
