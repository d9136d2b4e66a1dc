//! Deleting manifests, tags and blobs. Registries may refuse: Debian's does so unless told otherwise.

use hyper::Method;
use oci_spec::image::Digest;

use crate::client::{Call, Kind};
use crate::error::Error;
use crate::scope::Scopes;
use crate::{Registry, names};

impl Registry {
    /// Deletes a tag, or the manifest of a digest with all its tags (distribution-spec 1.1, "Deleting tags",
    /// "Deleting Manifests"). A registry that deletes no tags by themselves answers 400 or 405.
    ///
    /// # Errors
    /// All of [`Error`]; [`Error::NotFound`] when there is none.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> Result<(), Error> {
        names::repository(repository)?;
        names::reference(reference)?;
        self.delete(repository, self.call(repository, Kind::Manifest, reference))
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
