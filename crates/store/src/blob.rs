//! Small blobs: manifests, indexes, configurations.

use std::fs;
use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;

use crate::digest::{Algorithm, digest_of};
use crate::error::{Context, Error};
use crate::store::Store;

impl Store {
    /// The bytes of a blob, checked against its digest.
    ///
    /// # Errors
    /// [`Error::BlobMissing`], and [`Error::Digest`] when the disk gave other bytes back.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let algorithm = Algorithm::of(digest).ok_or_else(|| Error::Algorithm { digest: digest.clone() })?;
        let path = self.blob_path(digest);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::BlobMissing { digest: digest.clone() });
            }
            result => result.during("read", &path)?,
        };
        let found = digest_of(algorithm, &bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(Error::Digest { what: "stored blob", expected: digest.clone(), found })
        }
    }

    /// Path of a blob whose algorithm is known to be one of ours, so it holds no path characters.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.digest();
        self.path("blobs").join(digest.algorithm().as_ref()).join(&hex[..2]).join(hex)
    }
}
