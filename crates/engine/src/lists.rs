//! Lists of images for several platforms, made here: indexes that a name points at.
//!
//! A list is a blob like any other, so a change makes a new one, and its id changes with it; the names that pointed at the old one
//! point at the new one then. Images on a list are kept as long as it is, with or without names of their own. Those that are not
//! here are listed by what their place says of them.

use std::collections::BTreeMap;

use loment_image::{Images, Platform, Scratch, ShortNames, describe};
use loment_store::{ImageId, ImageRecord, IndexName, Lease, Target, sha256};
use oci_spec::image::{Descriptor, Digest};
use serde_json::{Map, Value, json};

use crate::artifacts::is_artifact;
use crate::error::invalid;
use crate::transfer::{Side, with_source};
use crate::{Access, Engine, Error};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Larger ones nobody takes.
const MAX_INDEX: usize = 4 << 20;

/// What an image on a list is said to be.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Instead of what its configuration says.
    pub os: Option<String>,
    /// Instead of what its configuration says.
    pub architecture: Option<String>,
    /// Instead of what its configuration says.
    pub variant: Option<String>,
    /// Windows' version.
    pub os_version: Option<String>,
    /// Of the operating system.
    pub os_features: Vec<String>,
    /// Of the processor.
    pub features: Vec<String>,
    /// Of its entry.
    pub annotations: Vec<(String, String)>,
}

/// A list as it is now.
#[derive(Clone, Debug)]
pub struct ImageList {
    /// The name it was found by.
    pub name: IndexName,
    /// The index.
    pub document: Value,
}

impl ImageList {
    /// Its id, which is the digest of the index.
    pub fn id(&self) -> &str {
        self.name.index.digest()
    }

    fn members(&self) -> &[Value] {
        self.document["manifests"].as_array().map_or(&[], Vec::as_slice)
    }
}

impl Engine {
    pub(crate) fn load_list(&self, name: IndexName) -> Result<ImageList, Error> {
        let bytes = self.store().blob(&name.index)?;
        let damaged = |source| Error::Damaged { path: format!("index {}", name.index), source };
        let document = serde_json::from_slice(&bytes).map_err(damaged)?;
        Ok(ImageList { name, document })
    }

    /// Makes an empty list. With `amend`, one that is there is taken as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is in use.
    pub fn create_list(
        &self,
        name: &str,
        amend: bool,
        annotations: &[(String, String)],
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let reference = short_names.new_name(name)?;
        match self.store().target(&reference.store_name())? {
            Some(Target::Index(known)) if amend => {
                let list = self.load_list(known)?;
                return if annotations.is_empty() {
                    Ok(list)
                } else {
                    self.change_list(&list, |document, _| {
                        annotate(document, annotations);
                        Ok(())
                    })
                };
            }
            Some(Target::Index(_)) => {
                return Err(invalid("name", name, "there is a list of that name: use --amend to change it"));
            }
            Some(Target::Image(_)) => {
                return Err(invalid("name", name, "it is the name of an image: use another, or untag it"));
            }
            None => {}
        }
        let mut document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
        annotate(&mut document, annotations);
        let lease = self.store().lease()?;
        let index = put(&lease, &document)?;
        let created = Some(loment_monitor::now_rfc3339());
        let name = IndexName { name: reference.store_name(), index, created, sources: BTreeMap::new() };
        self.store().tag_index(&name, None)?;
        Ok(ImageList { name, document })
    }

    /// Adds an image to a list: one of the store, or, without taking it, one of another place. `images` says which of an index.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Pull`] for what goes wrong elsewhere.
    pub fn add_to_list(
        &self,
        list: &ImageList,
        image: &str,
        images: &Images,
        described: &Described,
        access: &Access,
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let (members, source) = self.describe(image, images, access, short_names)?;
        self.change_list(list, |document, sources| {
            let Some(entries) = document["manifests"].as_array_mut() else { return Ok(()) };
            for member in members {
                let digest = member.digest().to_string();
                let mut entry = serde_json::to_value(&member).unwrap_or_default();
                described.apply(&mut entry);
                match &source {
                    Some(source) => drop(sources.insert(digest.clone(), format!("{source}@{digest}"))),
                    None => drop(sources.remove(&digest)),
                }
                entries.retain(|known| known["digest"] != digest.as_str());
                entries.push(entry);
            }
            Ok(())
        })
    }

    /// Descriptors of an image, or of all of an index, and the repository they are in when they are not here.
    fn describe(
        &self,
        image: &str,
        images: &Images,
        access: &Access,
        short_names: &ShortNames,
    ) -> Result<(Vec<Descriptor>, Option<String>), Error> {
        let local = image.strip_prefix("containers-storage:").unwrap_or(image);
        if let (Ok(list), Images::All) = (self.find_list(local, short_names), images) {
            let members: Result<Vec<Descriptor>, _> =
                list.members().iter().map(|entry| serde_json::from_value(entry.clone())).collect();
            let path = || format!("index {}", list.name.index);
            return Ok((members.map_err(|source| Error::Damaged { path: path(), source })?, None));
        }
        match self.find_image(local, short_names) {
            Ok((id, _)) => return Ok((vec![self.descriptor(&id)?], None)),
            Err(Error::NoImage { .. }) => {}
            Err(error) => return Err(error),
        }
        let elsewhere = |e: loment_image::PlaceError| invalid("image", image, e.to_string());
        let place = match loment_image::Place::parse_if_any(image).map_err(elsewhere)? {
            Some(place) => place,
            None => {
                let mut candidates = short_names.candidates(image)?;
                access.is_for_one_of(image, &candidates)?;
                loment_image::Place::Registry(candidates.swap_remove(0))
            }
        };
        let repository = match &place {
            loment_image::Place::Registry(reference) => format!("docker://{}", reference.name()),
            other => {
                return Err(invalid("image", image, format!("{other} is not in a registry: pull it first")));
            }
        };
        let side = Side::new(&place, access);
        let scratch = Scratch::of(self.store());
        let members = with_source(side, &scratch, |source, _| Ok(describe(source, images)?))?;
        Ok((members, Some(repository)))
    }

    /// What an index has of an image of the store.
    pub(crate) fn descriptor(&self, id: &ImageId) -> Result<Descriptor, Error> {
        let gone = || Error::NoImage { name: id.hex().to_owned() };
        let record = self.store().image(id)?.ok_or_else(gone)?;
        let manifest = self.own_manifest(&record)?.ok_or_else(gone)?;
        let digest: Digest = manifest
            .digest
            .parse()
            .map_err(|_| invalid("digest", manifest.digest.as_str(), "it cannot be listed"))?;
        let size = self.store().blob(&digest)?.len();
        let mut platform = json!({"architecture": record.platform.architecture, "os": record.platform.os});
        if let Some(variant) = record.platform.variant.filter(|variant| !variant.is_empty()) {
            platform["variant"] = variant.into();
        }
        let entry = json!({
            "mediaType": manifest.media_type, "digest": manifest.digest, "size": size, "platform": platform,
        });
        serde_json::from_value(entry)
            .map_err(|source| Error::Damaged { path: format!("manifest {digest}"), source })
    }

    /// Changes what a list says of one of its images, or of itself without one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image that is not on it.
    pub fn annotate_list(
        &self,
        list: &ImageList,
        member: Option<&str>,
        described: &Described,
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let digest = member.map(|member| self.member(list, member, short_names)).transpose()?;
        self.change_list(list, |document, _| {
            let Some(digest) = &digest else {
                annotate(document, &described.annotations);
                return Ok(());
            };
            let entries = document["manifests"].as_array_mut();
            for entry in entries.into_iter().flatten().filter(|entry| entry["digest"] == digest.as_str()) {
                described.apply(entry);
            }
            Ok(())
        })
    }

    /// Takes an image off a list.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is not on it.
    pub fn remove_from_list(
        &self,
        list: &ImageList,
        member: &str,
        short_names: &ShortNames,
    ) -> Result<ImageList, Error> {
        let digest = self.member(list, member, short_names)?;
        let changed = self.change_list(list, |document, sources| {
            if let Some(entries) = document["manifests"].as_array_mut() {
                entries.retain(|entry| entry["digest"] != digest.as_str());
            }
            sources.remove(&digest);
            self.forget_files(document, sources);
            Ok(())
        })?;
        self.store().gc()?;
        Ok(changed)
    }

    /// The digest of an entry, which was given by that, or by the name of an image.
    fn member(&self, list: &ImageList, member: &str, short_names: &ShortNames) -> Result<String, Error> {
        let digest = match self.find_image(member, short_names) {
            Ok((id, _)) if !member.starts_with("sha256:") => self.descriptor(&id)?.digest().to_string(),
            _ => member.to_owned(),
        };
        let is = |entry: &Value| entry["digest"] == digest.as_str();
        if list.members().iter().any(is) {
            return Ok(digest);
        }
        let nobody = || invalid("image", member, "no instance on the list has this name or digest");
        self.artifact_with(list, member).ok_or_else(nobody)
    }

    /// Removes the name of a list, or all of them when it was found `by_id`, and with the last one the list. What only it kept
    /// goes with the next [`Engine::sweep`]. The second of what is returned is its id, if it is gone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn remove_list(&self, list: &ImageList, by_id: bool) -> Result<(Vec<String>, Option<String>), Error> {
        let mut names = self.store().index_names()?;
        names.retain(|name| name.index == list.name.index && name.is_named());
        let (mut removed, all) = (Vec::new(), names.len());
        for name in names.into_iter().filter(|name| by_id || name.name == list.name.name) {
            if self.store().untag_index(&name.name, Some(&name.index))? {
                removed.push(name.name);
            }
        }
        let gone = removed.len() == all;
        if gone {
            self.store().untag_index(list.name.index.as_ref(), None)?;
        }
        Ok((removed, gone.then(|| list.id().to_owned())))
    }

    /// Makes the next version of a list, and points at it every name that pointed at this one.
    pub(crate) fn change_list(
        &self,
        list: &ImageList,
        change: impl FnOnce(&mut Value, &mut BTreeMap<String, String>) -> Result<(), Error>,
    ) -> Result<ImageList, Error> {
        let (mut document, mut name) = (list.document.clone(), list.name.clone());
        change(&mut document, &mut name.sources)?;
        let lease = self.store().lease()?;
        name.index = put(&lease, &document)?;
        let old = &list.name.index;
        // First the one that was meant: it tells whether somebody else changed the list meanwhile.
        let mut others = self.store().index_names()?;
        others.retain(|other| other.index == *old && other.name != name.name);
        self.move_name(&mut name, old)?;
        for mut other in others {
            (other.index, other.sources) = (name.index.clone(), name.sources.clone());
            self.move_name(&mut other, old)?;
        }
        Ok(ImageList { name, document })
    }

    /// Points a name at another version of its list; one that has no name is kept by the digest of that instead.
    fn move_name(&self, name: &mut IndexName, old: &Digest) -> Result<(), Error> {
        if name.name != old.as_ref() {
            return Ok(self.store().tag_index(name, Some(old))?);
        }
        name.name = name.index.to_string();
        self.store().tag_index(name, None)?;
        if name.index != *old && !self.store().untag_index(old.as_ref(), None)? {
            // Somebody else has changed it meanwhile.
            self.store().untag_index(&name.name, None)?;
            return Err(loment_store::Error::NameChanged { name: old.to_string() }.into());
        }
        Ok(())
    }

    /// The image on a list that runs here.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is somewhere else, or there is none.
    pub(crate) fn image_on(&self, list: &ImageList, platform: &Platform) -> Result<ImageId, Error> {
        let fits = |entry: &&Value| {
            let platform_of = |entry: &Value| -> Option<Platform> {
                let descriptor: Descriptor = serde_json::from_value(entry.clone()).ok()?;
                descriptor.platform().as_ref().map(Platform::from)
            };
            platform_of(entry).and_then(|offered| platform.accepts(&offered))
        };
        let chosen = list.members().iter().filter_map(|entry| Some((fits(&entry)?, entry)));
        let name = if list.name.is_named() { list.name.name.as_str() } else { list.id() };
        let Some((_, entry)) = chosen.min_by_key(|(distance, _)| *distance) else {
            return Err(invalid("image", name, format!("its list has none for {platform}")));
        };
        let digest = entry["digest"].as_str().unwrap_or_default();
        match self.listed_image(digest)? {
            Some(id) => Ok(id),
            None => {
                let place = list.name.sources.get(digest).map_or("", String::as_str);
                let place = place.trim_start_matches("docker://");
                Err(invalid("image", name, format!("its image for {platform} is not here: pull {place}")))
            }
        }
    }

    /// The image of a manifest that is here; one whose last name went is an image again.
    pub(crate) fn listed_image(&self, manifest: &str) -> Result<Option<ImageId>, Error> {
        let Ok(digest) = manifest.parse::<Digest>() else { return Ok(None) };
        let lease = self.store().lease()?;
        let bytes = match self.store().blob(&digest) {
            Err(loment_store::Error::BlobMissing { .. }) => return Ok(None),
            result => result?,
        };
        let damaged = |source| Error::Damaged { path: format!("manifest {digest}"), source };
        let document: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        if is_artifact(&document) {
            return Ok(None);
        }
        let config = document["config"]["digest"].as_str().and_then(|text| text.parse::<Digest>().ok());
        let Some(id) = config.and_then(|config| ImageId::try_from(config).ok()) else { return Ok(None) };
        if self.store().image(&id)?.is_some() {
            return Ok(Some(id));
        }
        let config = self.image_document(&id)?;
        lease.put_blob(&digest, &bytes)?;
        lease.put_blob(id.digest(), &self.store().blob(id.digest())?)?;
        let mut size = 0;
        for layer in &config.diff_ids {
            let Some(layer) = lease.layer(layer)? else { return Ok(None) };
            size += layer.size();
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        lease.commit_image(&ImageRecord {
            id: id.clone(),
            manifests: vec![digest],
            layers: config.diff_ids,
            platform: (&config.platform).into(),
            created: config.created,
            size,
            pulled: now.map_or(0, |since| since.as_secs()),
            names_history: Vec::new(),
        })?;
        Ok(Some(id))
    }
}

impl Described {
    pub(crate) fn apply(&self, entry: &mut Value) {
        let texts = [
            ("os", &self.os),
            ("architecture", &self.architecture),
            ("variant", &self.variant),
            ("os.version", &self.os_version),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                entry["platform"][key] = value.as_str().into();
            }
        }
        for (key, list) in [("os.features", &self.os_features), ("features", &self.features)] {
            if !list.is_empty() {
                entry["platform"][key] = list.clone().into();
            }
        }
        annotate(entry, &self.annotations);
    }
}

fn annotate(document: &mut Value, annotations: &[(String, String)]) {
    if annotations.is_empty() {
        return;
    }
    let mut all: Map<String, Value> = document["annotations"].as_object().cloned().unwrap_or_default();
    all.extend(annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    document["annotations"] = all.into();
}

fn put(lease: &Lease, document: &Value) -> Result<Digest, Error> {
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    if bytes.len() > MAX_INDEX {
        return Err(invalid("list", "", "it would be larger than the 4 MiB that others take"));
    }
    let digest = sha256(&bytes);
    lease.put_blob(&digest, &bytes)?;
    Ok(digest)
}
