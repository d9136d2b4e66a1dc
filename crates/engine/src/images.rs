//! Images: finding, pulling, listing, removing.

use std::collections::BTreeMap;
use std::time::Duration;

use loment_events::What;
use loment_image::conf::Subject;
use loment_image::{
    ImageConfig, Options, Place, Platform, Progress, Pulled, Reference, ShortNameMode, ShortNames, Source,
    pull,
};
use loment_store::{ImageId, ImageName, ImagePlatform, ImageRecord, IndexName, NamedImage, Origin};

use crate::error::{Context, invalid};
use crate::family::Family;
use crate::image_filter::moment_of;
use crate::transfer::Side;
use crate::{Access, Again, Engine, Error};

/// When an image is fetched although one of that name is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only when it is missing.
    #[default]
    Missing,
    /// Always; an error when the registry cannot be reached.
    Always,
    /// Never.
    Never,
    /// Always, but the one in the store serves when the registry cannot be reached.
    Newer,
}

/// How images are fetched.
#[derive(Clone, Debug, Default)]
pub struct PullSettings {
    /// What a name without a registry means.
    pub short_names: ShortNames,
    /// Who is asked when that may be several things; nobody is there by default.
    pub prompt: Option<Prompt>,
    /// How its registry is spoken to.
    pub access: Access,
    /// Instead of this machine's.
    pub platform: Option<Platform>,
    /// How what went wrong on the way is tried again, if not as configured.
    pub again: Again,
    /// Who hears of it before it is waited for that; nobody by default.
    pub tell_again: Option<fn(Duration, &Error)>,
}

/// Somebody who knows which of several images a short name means.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    /// Asks; the position of the one that is meant.
    pub choose: fn(&[Reference]) -> std::io::Result<usize>,
    /// Remembers what a short name, without tag and digest, was found to mean.
    pub record: fn(&str, &Reference),
}

/// One line of `images`.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// What is in the store.
    pub image: NamedImage,
    /// Containers made from it.
    pub containers: usize,
    /// It is no image, but a list of some that was made here.
    pub list: bool,
    /// It has no name, and no other image was made from it.
    pub dangling: bool,
    /// It has no name, and other images were made from it.
    pub intermediate: bool,
}

/// The manifest of an image, of those it was pulled through.
#[derive(Clone, Debug, Default)]
pub struct OwnManifest {
    /// Its digest.
    pub digest: String,
    /// What it says it is.
    pub media_type: String,
    /// Annotations of the manifest.
    pub annotations: serde_json::Map<String, serde_json::Value>,
}

/// What may go with an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveImage {
    /// All of its names.
    pub all_names: bool,
    /// Its containers, stopped if need be, and all of its names.
    pub containers: bool,
    /// Nameless images it was made from, and nobody else, stay.
    pub keep_parents: bool,
}

/// What removing an image did.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// The image, if it is gone, and those it was made from.
    pub deleted: Vec<String>,
}

impl Engine {
    /// Fetches an image from its registry, or from another place whose transport `input` begins with.
    ///
    /// # Errors
    /// [`Error::Pull`]; for a short name that several registries were asked for, [`Error::Pulls`] with all their answers.
    pub fn pull(
        &self,
        input: &str,
        settings: &PullSettings,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        self.pull_asking(input, settings, true, progress)
    }

    /// The same; `ask_first`: whether the registry still has what the store has, if nobody has found out that it does not.
    fn pull_asking(
        &self,
        input: &str,
        settings: &PullSettings,
        ask_first: bool,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        let pulled = self.pull_untold(input, settings, ask_first, progress);
        match &pulled {
            Ok(pulled) => {
                let place = Place::parse_if_any(input)?;
                let typed = place.is_some_and(|place| !matches!(place, Place::Registry(_)));
                let name = pulled.name.as_deref().filter(|_| !typed).unwrap_or(input);
                self.tell_of_image(What::Pull, pulled.image.hex(), name);
            }
            Err(error) => self.tell_of_pull(input, error),
        }
        pulled
    }

    fn pull_untold(
        &self,
        input: &str,
        settings: &PullSettings,
        ask_first: bool,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        if let Some(place) = Place::parse_if_any(input)?.filter(|place| !matches!(place, Place::Registry(_)))
        {
            let from = Side::new(&place, &settings.access);
            let mut how = Options { any_platform: settings.platform.is_none(), ..Options::default() };
            how.platform = settings.platform.clone().unwrap_or(how.platform);
            return self.pull_place(from, None, &how, &settings.short_names, progress);
        }
        let (candidates, chosen) = candidates(input, settings)?;
        let mut failed = Vec::new();
        for reference in candidates {
            match self.pull_again(&reference, settings, ask_first, progress) {
                Ok(pulled) => {
                    if let Some(prompt) = chosen {
                        (prompt.record)(ShortNames::key(input), &reference);
                    }
                    return Ok(pulled);
                }
                Err(error) => failed.push((reference.store_name(), error)),
            }
        }
        Err(match failed.pop() {
            Some((_, error)) if failed.is_empty() => error,
            Some(last) => Error::Pulls { failed: failed.into_iter().chain([last]).collect() },
            None => Error::NoImage { name: input.to_owned() },
        })
    }

    /// Tries to pull until nothing can be hoped for any more.
    fn pull_again(
        &self,
        reference: &Reference,
        settings: &PullSettings,
        ask_first: bool,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        let again = settings.again.or(settings.access.ecosystem.settings()?.transfers.again);
        let tell = |delay, error: &Error| {
            if let Some(tell) = settings.tell_again {
                tell(delay, error);
            }
        };
        again.run(tell, || self.pull_one(reference, settings, ask_first, progress))
    }

    /// Whether there is something else under a name of the store than the store has, at the first place that has anything. Without an
    /// answer there may be.
    fn is_newer(&self, name: &str, settings: &PullSettings) -> Result<bool, Error> {
        let (Ok(reference), Some(known)) = (name.parse::<Reference>(), self.store().name(name)?) else {
            return Ok(true);
        };
        let announced = settings
            .access
            .origins(&reference)
            .ok()
            .and_then(|origins| origins.source(&reference).announced());
        Ok(announced.is_none_or(|(digest, _)| Some(digest) != known.manifest))
    }

    fn pull_one(
        &self,
        reference: &Reference,
        settings: &PullSettings,
        ask_first: bool,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        settings.access.ecosystem.allow(&Subject::docker(reference))?;
        let origins = settings.access.origins(reference)?;
        let mut how = Options { origin: Origin::Registry, ask_first, ..Options::default() };
        if let Some(platform) = &settings.platform {
            how.platform = platform.clone();
        }
        how.parallel = settings.access.ecosystem.settings()?.transfers.parallel.unwrap_or(how.parallel);
        let name = reference.store_name();
        Ok(pull(&origins.source(reference), &self.store_for_layers(), Some(&name), &how, progress)?)
    }

    /// Finds an image, fetching it as `policy` says; `announce` is called before the registry is. The beginning of an id that several
    /// images have is none, and may be a name; what is found by its id is nobody else's, and not looked for elsewhere.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Pull`]; [`Error::NeitherNameNorId`].
    pub fn obtain(
        &self,
        input: &str,
        policy: PullPolicy,
        settings: &PullSettings,
        progress: &mut dyn Progress,
        announce: impl FnOnce(),
    ) -> Result<(ImageId, String), Error> {
        // What is here is nobody's concern then.
        let (local, several) = match policy {
            PullPolicy::Always => (None, None),
            _ => match self.find_local(input, settings) {
                Err(Error::Store(error @ loment_store::Error::Ambiguous { .. })) => (None, Some(error)),
                local => (local?, None),
            },
        };
        let is_id = |id: &ImageId| id.hex().starts_with(input.strip_prefix("sha256:").unwrap_or(input));
        match (policy, &local) {
            (PullPolicy::Missing | PullPolicy::Never, Some(found)) => return Ok(found.clone()),
            (PullPolicy::Newer, Some(found)) if is_id(&found.0) => return Ok(found.clone()),
            (PullPolicy::Never, None) => {
                let unknown = Error::NoImage { name: input.to_owned() };
                return Err(several.map_or(unknown, Error::Store));
            }
            (PullPolicy::Newer, Some(found)) => {
                one_registry(input, &settings.short_names, &settings.access)?;
                if !self.is_newer(&found.1, settings)? {
                    return Ok(found.clone());
                }
                announce();
            }
            _ => announce(),
        }
        let asked = policy == PullPolicy::Newer && local.is_some();
        match (self.pull_asking(input, settings, !asked, progress), policy, local) {
            (Ok(pulled), ..) => Ok(named(pulled, input)),
            (Err(_), PullPolicy::Newer, Some(found)) => Ok(found),
            (Err(e), ..) if several.is_some() => {
                Err(Error::NeitherNameNorId { input: input.to_owned(), source: Box::new(e) })
            }
            (Err(e), ..) => Err(e),
        }
    }

    /// Whether an image is for a platform, if one was asked for.
    pub(crate) fn is_for(&self, id: &ImageId, platform: Option<&Platform>) -> Result<bool, Error> {
        let (Some(wanted), Some(record)) = (platform, self.store().image(id)?) else { return Ok(true) };
        let ImagePlatform { os, architecture, variant } = record.platform;
        Ok(wanted.accepts(&Platform { os, architecture, variant }).is_some())
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// [`Error::Store`] when its blob is missing or damaged.
    pub fn image_document(&self, id: &ImageId) -> Result<ImageConfig, Error> {
        let bytes = self.store().blob(id.digest())?;
        ImageConfig::parse(&bytes)
            .map_err(|source| Error::Damaged { path: format!("configuration {id}"), source })
    }

    /// Bytes of each layer of an image, uncompressed, the lowest first.
    ///
    /// # Errors
    /// [`Error::NoImage`].
    pub fn layer_sizes(&self, id: &ImageId) -> Result<Vec<u64>, Error> {
        let gone = || Error::NoImage { name: id.hex().to_owned() };
        let record = self.store().image(id)?.ok_or_else(gone)?;
        Ok(self.store().layers_of(&record)?.iter().map(|layer| layer.size()).collect())
    }

    /// Gives an image another name, a short one as [`ShortNames::new_name`] says.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Invalid`] for what is no name.
    pub fn tag(&self, image: &str, name: &str, short_names: &ShortNames) -> Result<(), Error> {
        if let Ok(list) = self.find_list(image, short_names) {
            let reference = short_names.new_name(name)?;
            let to = IndexName { name: reference.store_name(), ..list.name.clone() };
            self.store().tag_index(&to, None)?;
            self.tell_of_image(What::Tag, list.id(), name);
            return Ok(());
        }
        let (id, known) = self.find_image(image, short_names)?;
        let manifest = self.store().name(&known)?.and_then(|named| named.manifest);
        let reference = short_names.new_name(name)?;
        if reference.digest().is_some() {
            return Err(invalid("name", name, "a digest names one image only: leave it out"));
        }
        self.store().tag(&reference.store_name(), &id, manifest.as_ref())?;
        // As it was typed: so does Podman.
        self.tell_of_image(What::Tag, id.hex(), name);
        Ok(())
    }

    /// What a new name means, in full.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn full_name(&self, name: &str, short_names: &ShortNames) -> Result<String, Error> {
        Ok(short_names.new_name(name)?.store_name())
    }

    /// Takes names away from an image, all when none is given. The image stays.
    ///
    /// # Errors
    /// [`Error::NoImage`]; [`Error::Invalid`] for a name that is not the image's, and then none is taken.
    pub fn untag(&self, image: &str, names: &[String], short_names: &ShortNames) -> Result<(), Error> {
        if let Ok(list) = self.find_list(image, short_names) {
            let mut own = self.store().index_names()?;
            own.retain(|name| name.index == list.name.index && name.is_named());
            let own = own.into_iter().map(|name| name.name).collect();
            for name in chosen(names, own, short_names)? {
                self.store().unname_index(&name)?;
                self.tell_of_image(What::Untag, list.id(), &name);
            }
            return Ok(());
        }
        let (id, _) = self.find_image(image, short_names)?;
        let own = self.store().names_of(&id)?.into_iter().map(|name| name.name).collect();
        for name in chosen(names, own, short_names)? {
            self.store().untag(&name, Some(&id))?;
            self.tell_of_image(What::Untag, id.hex(), &name);
        }
        Ok(())
    }

    /// Every image, the newest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn images(&self) -> Result<Vec<ImageSummary>, Error> {
        let uses = self.uses_of_images()?;
        let catalog = self.store().catalog()?;
        let summary = |image: NamedImage| {
            let containers = uses.get(&image.image.id).map_or(0, Vec::len);
            ImageSummary { image, containers, list: false, dangling: false, intermediate: false }
        };
        let mut all: Vec<ImageSummary> = catalog.images.into_iter().map(summary).collect();
        all.extend(self.lists(catalog.indexes)?);
        all.sort_by_cached_key(|one| std::cmp::Reverse(moment_of(one.image.image.created.as_deref())));
        Family::new(self).mark_nameless(&mut all);
        Ok(all)
    }

    /// Lists, as if they were images without layers.
    fn lists(&self, names: Vec<IndexName>) -> Result<Vec<ImageSummary>, Error> {
        let mut lists: BTreeMap<ImageId, ImageSummary> = BTreeMap::new();
        for known in names {
            let named = known.is_named();
            let IndexName { name, index, created, .. } = known;
            let Ok(id) = ImageId::try_from(index.clone()) else { continue };
            let size = self.store().blob(&index)?.len() as u64;
            let platform = ImagePlatform { os: String::new(), architecture: String::new(), variant: None };
            let record = ImageRecord {
                id: id.clone(),
                manifests: vec![index.clone()],
                layers: Vec::new(),
                platform,
                created,
                size,
                pulled: 0,
                names_history: Vec::new(),
            };
            let image = NamedImage { image: record, names: Vec::new() };
            let summary =
                ImageSummary { image, containers: 0, list: true, dangling: false, intermediate: false };
            let list = lists.entry(id.clone()).or_insert(summary);
            if !named {
                continue;
            }
            list.image.image.names_history.push(name.clone());
            list.image.names.push(ImageName { name, image: id, manifest: Some(index), of_registry: false });
        }
        Ok(lists.into_values().collect())
    }

    /// The manifest that describes an image itself; `None` when it came without one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn own_manifest(&self, image: &ImageRecord) -> Result<Option<OwnManifest>, Error> {
        for digest in &image.manifests {
            let bytes = self.store().blob(digest)?;
            let damaged = |source| Error::Damaged { path: format!("manifest {digest}"), source };
            let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
            if document["config"]["digest"] != image.id.digest().as_ref() {
                continue;
            }
            let oci = "application/vnd.oci.image.manifest.v1+json";
            return Ok(Some(OwnManifest {
                digest: digest.to_string(),
                media_type: document["mediaType"].as_str().unwrap_or(oci).to_owned(),
                annotations: document["annotations"].as_object().cloned().unwrap_or_default(),
            }));
        }
        Ok(None)
    }

    /// Removes a name, and the image when it was the last one. Its layers go with the next [`Engine::sweep`].
    ///
    /// # Errors
    /// [`Error::ImageInUse`], [`Error::NoImage`].
    pub fn remove_image(
        &self,
        input: &str,
        short_names: &ShortNames,
        how: RemoveImage,
    ) -> Result<Removed, Error> {
        let (id, removed) = self.remove_image_untold(input, short_names, how)?;
        self.tell_of_removal(&id, &removed);
        Ok(removed)
    }

    /// Tells that an image has lost names, and which images are gone.
    pub(crate) fn tell_of_removal(&self, id: &str, removed: &Removed) {
        for name in &removed.untagged {
            self.tell_of_image(What::Untag, id, name);
        }
        for id in &removed.deleted {
            self.tell_of_image(What::Remove, id, id);
        }
    }

    /// The id of the image that was meant, too.
    fn remove_image_untold(
        &self,
        input: &str,
        short_names: &ShortNames,
        how: RemoveImage,
    ) -> Result<(String, Removed), Error> {
        if let Ok(list) = self.find_list(input, short_names) {
            let by_id = list.id().starts_with(input.trim_start_matches("sha256:"));
            let (untagged, deleted) = self.remove_list(&list, by_id)?;
            return Ok((list.id().to_owned(), Removed { untagged, deleted: deleted.into_iter().collect() }));
        }
        let (id, name) = self.find_image(input, short_names)?;
        let names = self.store().names_of(&id)?;
        let by_name = names.iter().any(|n| n.name == name) && !id.hex().starts_with(input);
        if by_name && names.len() > 1 {
            let untagged = self.store().untag(&name, Some(&id))?.map(|n| n.name);
            let removed = Removed { untagged: untagged.into_iter().collect(), deleted: Vec::new() };
            return Ok((id.hex().to_owned(), removed));
        }
        let record = self.store().image(&id)?;
        let _unheld = self.unheld(&id, input)?;
        if self.is_image_mounted(&id) {
            if !how.containers {
                return Err(Error::ImageMounted { image: input.to_owned() });
            }
            self.image_mount(&id).end(true)?;
        }
        for container in self.uses_of_images()?.remove(&id).unwrap_or_default() {
            if !how.containers {
                return Err(Error::ImageInUse { container });
            }
            match self.remove(&container, true, None) {
                Err(Error::NoContainer { .. }) => {} // it ended with --rm
                other => drop(other?),
            }
        }
        let all_names = how.all_names || how.containers;
        let mut gone: Vec<String> =
            self.store().remove_image(&id, all_names)?.into_iter().map(|n| n.name).collect();
        if let Some(record) = &record {
            // The newest first.
            gone.sort_by_key(|name| record.names_history.iter().position(|known| known == name));
        }
        let mut deleted = vec![id.hex().to_owned()];
        if let Some(record) = record.filter(|_| !how.keep_parents) {
            deleted.extend(self.remove_parents(record)?);
        }
        Ok((id.hex().to_owned(), Removed { untagged: gone, deleted }))
    }

    /// Removes nameless images that nothing but an image which is gone was made from; their ids.
    fn remove_parents(&self, gone: ImageRecord) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        let mut child = gone;
        loop {
            let (known, all) = (self.made(), self.images()?);
            let family = Family::new(self);
            let free = |one: &&ImageSummary| {
                one.dangling && one.containers == 0 && family.is_child(&one.image.image, &child)
            };
            let Some(parent) = all.iter().find(free).map(|one| one.image.image.clone()) else {
                return Ok(removed);
            };
            let gone = self.if_unused(&parent.id, &known, || {
                Ok(self.store().remove_nameless_image(&parent.id)?.then_some(()))
            })?;
            if gone.is_none() {
                return Ok(removed);
            }
            removed.push(parent.id.hex().to_owned());
            child = parent;
        }
    }
}

/// Refuses credentials that may not be meant for all that a name may mean.
fn one_registry(input: &str, short_names: &ShortNames, access: &Access) -> Result<(), Error> {
    access.is_for_one_of(input, &short_names.candidates(input).unwrap_or_default())
}

/// Those of an image's `own` names that are meant by `names`, all without any.
fn chosen(names: &[String], own: Vec<String>, short_names: &ShortNames) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(own);
    }
    let mut chosen = Vec::new();
    for name in names {
        let candidates = short_names.local_candidates(name)?;
        let is = |known: &&String| candidates.iter().any(|c| c.store_name() == **known);
        let foreign = || Error::NoTag { name: name.clone() };
        chosen.push(own.iter().find(is).ok_or_else(foreign)?.clone());
    }
    Ok(chosen)
}

/// What a name may mean, in the order to try; and who has chosen, if somebody was asked.
fn candidates(input: &str, settings: &PullSettings) -> Result<(Vec<Reference>, Option<Prompt>), Error> {
    let mut candidates = settings.short_names.candidates(input)?;
    let asks = settings.prompt.is_some() && settings.short_names.mode != ShortNameMode::Disabled;
    if !asks {
        settings.access.is_for_one_of(input, &candidates)?;
    }
    if candidates.len() < 2 || settings.short_names.mode == ShortNameMode::Disabled {
        return Ok((candidates, None));
    }
    match settings.prompt {
        Some(prompt) => {
            let which = (prompt.choose)(&candidates).context("ask which image is meant by", input)?;
            candidates = candidates.into_iter().skip(which).take(1).collect();
            Ok((candidates, Some(prompt)))
        }
        None if settings.short_names.mode == ShortNameMode::Enforcing => Err(Error::NobodyToAsk),
        None => Ok((candidates, None)),
    }
}

impl Engine {
    /// Removes layers and blobs that no image and no container needs.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn sweep(&self) -> Result<(), Error> {
        Ok(self.store().gc().map(drop)?)
    }
}

fn named(pulled: Pulled, input: &str) -> (ImageId, String) {
    (pulled.image, pulled.name.unwrap_or_else(|| input.to_owned()))
}
