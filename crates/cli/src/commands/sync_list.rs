//! What `image sync --src yaml` copies: the images that a file lists.

use std::path::Path;
use std::rc::Rc;

use loment_engine::Access;
use loment_image::{Reference, SyncRegistry, SyncRepository, Wanted, parse_sync_list};

use super::sides::SidesFlags;
use super::sync::Task;
use crate::ecosystem::required;
use crate::error::{Error, one_line};
use crate::output::complain;

/// What was found.
pub(super) struct Listed {
    pub(super) tasks: Vec<Task>,
    /// Repositories that could not be asked for their tags.
    pub(super) failed: usize,
}

/// The images of a list. `access` is what flags say; the list goes before them. With `keep_going` a repository that does not answer is
/// passed over.
pub(super) fn of_list(
    file: &str,
    access: &Access,
    flags: &SidesFlags,
    keep_going: bool,
) -> Result<Listed, Error> {
    let text = required(Path::new(file))?;
    let list = parse_sync_list(text.file()).map_err(|e| Error::Invalid(e.to_string()))?;
    let accesses = list.iter().map(|registry| access_to(registry, access, list.len()));
    let accesses = accesses.collect::<Result<Vec<_>, _>>()?;
    let mut listed = Listed { tasks: Vec::new(), failed: 0 };
    for (registry, access) in list.iter().zip(accesses) {
        if registry.repositories.is_empty() {
            complain(&format!("{file}: no images of {} are listed", registry.name));
        }
        let access = Rc::new(access);
        for repository in &registry.repositories {
            let images = match images(repository, &access, flags) {
                Err(error) if keep_going => {
                    listed.failed += 1;
                    complain(&format!("Error: {}: {}", repository.name.name(), one_line(&error)));
                    continue;
                }
                images => images?,
            };
            if images.is_empty() {
                complain(&format!("no images to sync found in {:?}", repository.name.name()));
            }
            listed.tasks.extend(images.into_iter().map(|image| Task::of_registry(image, &access)));
        }
    }
    Ok(listed)
}

/// How a registry of the list is spoken to.
fn access_to(registry: &SyncRegistry, flags: &Access, count: usize) -> Result<Access, Error> {
    let mut access = flags.clone();
    access.tls_verify = registry.tls_verify.or(access.tls_verify);
    access.cert_dir = registry.cert_dir.clone().or(access.cert_dir);
    if let Some(credentials) = &registry.credentials {
        access.credentials = Some(credentials.clone());
        access.registry_token = None;
    } else if count > 1 && (flags.credentials.is_some() || flags.registry_token.is_some()) {
        // Each of them would be shown what is for one.
        return Err(Error::Invalid(format!(
            "credentials for several registries: write those of {} into the list instead",
            registry.name
        )));
    }
    Ok(access)
}

/// The images of a repository that are wanted.
fn images(repository: &SyncRepository, access: &Access, flags: &SidesFlags) -> Result<Vec<Reference>, Error> {
    if let Wanted::These(images) = &repository.wanted {
        return Ok(images.clone());
    }
    let tags = flags.retry(|| Ok(loment_engine::tags(&repository.name, access)?))?;
    let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
    let wanted = tags.iter().filter(|tag| repository.wanted.has(tag));
    wanted.map(|tag| repository.name.with_tag(tag).map_err(invalid)).collect()
}
