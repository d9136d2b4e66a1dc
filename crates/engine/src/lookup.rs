//! What names and beginnings of ids mean: images, and lists of them.

use loment_image::{Platform, Reference, ShortNames};
use loment_store::{ImageId, IndexName, Target};

use crate::error::invalid;
use crate::lists::ImageList;
use crate::{Engine, Error, PullSettings};

/// What something that was typed means here.
enum Found {
    /// An image, and the name it is called by.
    Image(ImageId, String),
    /// A list of images.
    List(IndexName),
}

impl Engine {
    /// The image `input` means: a name, as written or completed, or the beginning of an id. Of a list, the image for this machine.
    ///
    /// # Errors
    /// [`Error::NoImage`]; [`loment_store::Error::Ambiguous`] for a beginning that several ids have, be they of images or of lists.
    pub fn find_image(&self, input: &str, short_names: &ShortNames) -> Result<(ImageId, String), Error> {
        self.find_image_for(input, short_names, &Platform::host())
    }

    /// The same for a platform that was asked for, if any was: of a list, the image for it; another one must be for it.
    ///
    /// # Errors
    /// As of [`Engine::find_image`]; [`Error::Invalid`] for an image that is for another platform.
    pub fn find_image_on(
        &self,
        input: &str,
        short_names: &ShortNames,
        platform: Option<&Platform>,
    ) -> Result<(ImageId, String), Error> {
        let (id, name) = self.find_image_for(input, short_names, platform.unwrap_or(&Platform::host()))?;
        match platform {
            Some(wanted) if !self.is_for(&id, platform)? => {
                let record = self.store().image(&id)?.map(|record| record.platform);
                let known = record.map(|loment_store::ImagePlatform { os, architecture, variant }| {
                    Platform { os, architecture, variant }.to_string()
                });
                let known = known.unwrap_or_default();
                let hint = format!("it is for {known}, not for {wanted}, and a name has one image here");
                Err(invalid("image", input, hint))
            }
            _ => Ok((id, name)),
        }
    }

    /// All names of a repository that mean an image or a list here, sorted. Of the repositories that `input` may mean, the first
    /// that has any.
    ///
    /// # Errors
    /// [`Error::Reference`] for what is no name, [`Error::Invalid`] for one with a tag or a digest, [`Error::NoImage`].
    pub fn tags_of(&self, input: &str, short_names: &ShortNames) -> Result<Vec<String>, Error> {
        let typed: Reference = input.parse()?;
        if typed.tag().is_some() || typed.digest().is_some() {
            return Err(invalid("repository", input, "leave out the tag and the digest"));
        }
        let images = self.store().images()?;
        let names = images.iter().flat_map(|image| &image.names).map(|named| named.name.clone());
        let lists = self.store().index_names()?.into_iter().filter(IndexName::is_named).map(|list| list.name);
        let mut known: Vec<Reference> = names.chain(lists).filter_map(|name| name.parse().ok()).collect();
        known.retain(|name| name.digest().is_none());
        for repository in short_names.local_candidates(input)? {
            let same = known.iter().filter(|name| name.name() == repository.name());
            let mut tags: Vec<String> = same.map(Reference::store_name).collect();
            if !tags.is_empty() {
                tags.sort_unstable();
                return Ok(tags);
            }
        }
        Err(Error::NoImage { name: input.to_owned() })
    }

    /// The same, of a list the image for that platform.
    pub(crate) fn find_image_for(
        &self,
        input: &str,
        short_names: &ShortNames,
        platform: &Platform,
    ) -> Result<(ImageId, String), Error> {
        match self.look_up(input, short_names)? {
            Some(Found::Image(id, name)) => Ok((id, name)),
            Some(Found::List(list)) => self.of_list(list, input, platform),
            None => Err(Error::NoImage { name: input.to_owned() }),
        }
    }

    /// The image that is here and what a pull with these settings would be for; of a list, which says itself what its images are
    /// for, the one for the platform.
    pub(crate) fn find_local(
        &self,
        input: &str,
        settings: &PullSettings,
    ) -> Result<Option<(ImageId, String)>, Error> {
        let platform = settings.platform.as_ref();
        match self.look_up(input, &settings.short_names)? {
            Some(Found::Image(id, name)) => Ok(self.is_for(&id, platform)?.then_some((id, name))),
            Some(Found::List(list)) => {
                self.of_list(list, input, platform.unwrap_or(&Platform::host())).map(Some)
            }
            None => Ok(None),
        }
    }

    fn of_list(&self, list: IndexName, input: &str, platform: &Platform) -> Result<(ImageId, String), Error> {
        let name = if list.is_named() { list.name.clone() } else { input.to_owned() };
        Ok((self.image_on(&self.load_list(list)?, platform)?, name))
    }

    /// The list that `input` means: a name, or the beginning of an id.
    ///
    /// # Errors
    /// [`Error::NoImage`]; [`loment_store::Error::Ambiguous`] for a beginning that several ids have, be they of images or of lists.
    pub fn find_list(&self, input: &str, short_names: &ShortNames) -> Result<ImageList, Error> {
        match self.look_up(input, short_names)? {
            Some(Found::List(name)) => self.load_list(name),
            _ => Err(Error::NoImage { name: input.to_owned() }),
        }
    }

    /// A name goes before the beginning of an id.
    fn look_up(&self, input: &str, short_names: &ShortNames) -> Result<Option<Found>, Error> {
        for reference in short_names.local_candidates(input).unwrap_or_default() {
            let name = reference.store_name();
            match self.store().target(&name)? {
                Some(Target::Image(found)) => return Ok(Some(Found::Image(found.image, name))),
                Some(Target::Index(list)) => return Ok(Some(Found::List(list))),
                None => {}
            }
        }
        self.look_up_id(input)
    }

    fn look_up_id(&self, input: &str) -> Result<Option<Found>, Error> {
        let image = match self.store().resolve(input) {
            Ok(id) => Some(id),
            Err(loment_store::Error::ImageNotKnown { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let prefix = input.strip_prefix("sha256:").unwrap_or(input);
        let mut lists = Vec::new();
        // A whole one is nobody else's.
        let whole = image.as_ref().is_some_and(|id| id.hex() == prefix);
        if !whole && !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            lists = self.store().index_names()?;
            lists.retain(|list| list.index.digest().starts_with(prefix));
        }
        let several = lists.iter().any(|list| list.index != lists[0].index);
        if several || (image.is_some() && !lists.is_empty()) {
            return Err(loment_store::Error::Ambiguous { prefix: input.to_owned() }.into());
        }
        if let Some(id) = image {
            let name = self.store().names_of(&id)?.first().map(|named| named.name.clone());
            return Ok(Some(Found::Image(id, name.unwrap_or_else(|| input.to_owned()))));
        }
        // The one it is called by, if it has names.
        let named = lists.iter().position(IndexName::is_named).unwrap_or_default();
        Ok(lists.into_iter().nth(named).map(Found::List))
    }
}
