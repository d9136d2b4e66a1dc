//! Images on their way out of the store, and past it.

use std::path::Path;

use loment_image::{
    Copied, CopyOptions, Destination, ImageDir, OciLayout, OciLayoutWriter, Place, Progress, PushOptions,
    Reference, RegistryDestination, ShortNames, Source, copy, push,
};

use crate::{Access, Engine, Error};

impl Engine {
    /// Sends an image of the store to a place.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Pull`] for what goes wrong on the way.
    pub fn push(
        &self,
        image: &str,
        short_names: &ShortNames,
        place: &Place,
        access: &Access,
        options: &PushOptions,
        progress: &mut dyn Progress,
    ) -> Result<Copied, Error> {
        let (id, name) = self.find_image(image, short_names)?;
        let named = self.store().name(&name)?.and_then(|named| named.manifest);
        // The repository it came from may have its layers.
        let from = name.parse::<Reference>().ok();
        with_destination(place, access, from.as_ref(), |destination| {
            Ok(push(self.store(), &id, named.as_ref(), destination, options, progress)?)
        })
    }
}

/// Copies an image from place to place, past the store.
///
/// # Errors
/// [`Error::Pull`].
pub fn copy_image(
    from: (&Place, &Access),
    to: (&Place, &Access),
    options: &CopyOptions,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    let near = match from.0 {
        Place::Registry(reference) => Some(reference),
        _ => None,
    };
    with_source(from.0, from.1, |source| {
        with_destination(to.0, to.1, near, |destination| Ok(copy(source, destination, options, progress)?))
    })
}

fn with_source<T>(
    place: &Place,
    access: &Access,
    work: impl FnOnce(&dyn Source) -> Result<T, Error>,
) -> Result<T, Error> {
    match place {
        Place::Registry(reference) => {
            let origins = access.origins(reference)?;
            work(&origins.source(reference))
        }
        Place::Oci { dir, entry } => work(&OciLayout::open(dir, entry.as_deref().unwrap_or_default())?),
        Place::Dir(dir) => work(&ImageDir::open(dir)),
    }
}

fn with_destination<T>(
    place: &Place,
    access: &Access,
    near: Option<&Reference>,
    work: impl FnOnce(&dyn Destination) -> Result<T, Error>,
) -> Result<T, Error> {
    match place {
        Place::Registry(reference) => {
            let registry = access.registry(reference)?;
            let mut destination = RegistryDestination::new(&registry, reference);
            if let Some(near) = near.filter(|near| near.domain() == reference.domain()) {
                destination = destination.near(near.path());
            }
            work(&destination)
        }
        Place::Oci { dir, entry } => work(&OciLayoutWriter::open(&absolute(dir)?, entry.as_deref())?),
        Place::Dir(dir) => work(&ImageDir::create(&absolute(dir)?)?),
    }
}

/// Messages name a directory that can be found.
fn absolute(dir: &Path) -> Result<std::path::PathBuf, Error> {
    use crate::error::Context;
    std::path::absolute(dir).context("find", dir.display())
}
