//! What places other than registries are asked besides images: names in archives, deletion from layouts.

use std::path::Path;

use loment_image::{Archive, DockerArchive, OciLayout, Scratch};

use crate::Error;

/// What the images of one of Docker's archives are called, as it is written there; one without a name is `@` and its position.
/// `temporary` is a directory with room for an archive that cannot be read in place.
///
/// # Errors
/// [`Error::Pull`].
pub fn names_in_archive(file: &Path, temporary: &Path) -> Result<Vec<String>, Error> {
    let archive = DockerArchive::open(Archive::open(file, &Scratch::dir(temporary))?)?;
    Ok(archive.names())
}

/// Deletes an image from an OCI image layout, with the blobs that no other image of it needs. With `shared`, these are in a directory
/// that layouts share, and stay.
///
/// # Errors
/// [`Error::Pull`].
pub fn delete_from_layout(dir: &Path, entry: Option<&str>, shared: bool) -> Result<(), Error> {
    Ok(OciLayout::delete(dir, shared, entry.unwrap_or_default())?)
}
