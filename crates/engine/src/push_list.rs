//! Lists on their way out.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::Path;

use loment_image::{
    Compression, Copied, CopyOptions, Destination, Images, Layers, Members, Near, Place, Platform, Progress,
    PushOptions, Raw, Reference, Scratch, ShortNames, copy, layer_blobs, push, push_index,
};
use loment_store::{DiffId, ImageId, Layer, NamedImage, sha256};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde_json::{Value, json};

use crate::artifacts::is_artifact;
use crate::error::invalid;
use crate::lists::ImageList;
use crate::transfer::{Side, look_into, with_destination, with_source};
use crate::{Engine, Error};

/// What containers/image marks images with zstd with, and prefers.
const ZSTD: &str = "io.github.containers.compression.zstd";
const OCI: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

impl Engine {
    /// Sends the index that a name means, with all its images when `members` is said. It is that of a list, or the one that an image
    /// was pulled by. An image that came without one is sent alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all the images that are not in the store; otherwise as of [`Engine::push`].
    pub fn push_all(
        &self,
        image: &str,
        short_names: &ShortNames,
        to: Side<'_>,
        options: &PushOptions,
        members: bool,
        progress: &mut dyn Progress,
    ) -> Result<Copied, Error> {
        if let Place::Store(_) = to.place {
            let hint = ": tag gives all of it another name";
            return Err(Error::Unsupported { what: "copying an index within the store".to_owned(), hint });
        }
        let (name, index) = match self.find_list(image, short_names) {
            Ok(list) => (list.name.reference().unwrap_or_default().to_owned(), Some(list.name.index)),
            Err(Error::NoImage { .. }) => {
                let (_, name) = self.find_image(image, short_names)?;
                let manifest = self.store().name(&name)?.and_then(|named| named.manifest);
                (name, manifest)
            }
            Err(error) => return Err(error),
        };
        let listed = index.as_ref().map(|index| loment_image::listed(self.store(), index)).transpose()?;
        let (Some(index), Some(Some(listed))) = (index, listed) else {
            return self.push(image, None, short_names, to, options, progress);
        };
        let images = if members { self.all_here(&name, &listed)? } else { Vec::new() };
        let near = self.near(&name, images.iter().map(|(_, image)| image), to)?;
        let copied = with_destination(to, near, &Scratch::of(self.store()), |destination| {
            Ok(push_index(self.store(), &index, &images, destination, options, progress)?)
        })?;
        self.tell_of_push(index.digest(), to);
        Ok(copied)
    }

    /// Other repositories of a registry that have layers of images: those from which an image with the same layer came or where
    /// one was sent, the latest first. So those of the image that another one was made of, too. At last what was said.
    pub(crate) fn near<'a>(
        &self,
        said: &str,
        images: impl IntoIterator<Item = &'a ImageId>,
        to: Side<'_>,
    ) -> Result<Near, Error> {
        let mut near = Near::default();
        let Place::Registry(there) = to.place else { return Ok(near) };
        let is_near = |name: &Reference| name.domain() == there.domain() && name.path() != there.path();
        let images: HashSet<&ImageId> = images.into_iter().collect();
        let mut all = self.store().images()?;
        let wanted = all.iter().filter(|known| images.contains(&known.image.id));
        let layers: HashSet<DiffId> = wanted.flat_map(|known| known.image.layers.clone()).collect();
        all.sort_by_key(|known| Reverse(known.image.pulled));
        for NamedImage { image, names } in &all {
            // A name that was only given here is that of no repository there.
            let there = names.iter().filter(|named| named.of_registry);
            let names: Vec<Reference> =
                there.filter_map(|named| named.name.parse().ok()).filter(is_near).collect();
            let has_any = images.contains(&image.id) || image.layers.iter().any(|id| layers.contains(id));
            if names.is_empty() || !has_any {
                continue;
            }
            // What cannot be read here says nothing of there.
            let read = |manifest| layer_blobs(self.store(), manifest).unwrap_or_default();
            let blobs = image.manifests.iter().map(read).filter(|blobs| blobs.len() == image.layers.len());
            let blobs: Vec<Digest> = blobs
                .flat_map(|blobs| blobs.into_iter().zip(&image.layers))
                .filter(|(_, id)| layers.contains(id))
                .map(|(blob, _)| blob)
                .chain([image.id.digest().clone()])
                .collect();
            for name in &names {
                blobs.iter().for_each(|blob| near.has(name.path(), blob));
                // Other images of one index are there, too, and have no name here.
                if images.contains(&image.id) {
                    near.may_have(name.path());
                }
            }
        }
        // What was compressed anew has no manifest here that names it.
        for layer in &layers {
            for blob in self.store().layer(layer)?.iter().flat_map(Layer::blobs) {
                let place = |name: &String| {
                    let path = name.strip_prefix(there.domain())?.strip_prefix('/')?;
                    Some(path.to_owned()).filter(|path| path != there.path())
                };
                blob.sent_to.iter().filter_map(place).for_each(|path| near.has(&path, &blob.digest));
            }
        }
        if let Some(said) = said.parse().ok().filter(is_near) {
            near.may_have(said.path());
        }
        Ok(near)
    }

    /// The images of an index.
    fn all_here(&self, name: &str, listed: &[Descriptor]) -> Result<Vec<(Digest, ImageId)>, Error> {
        let (mut images, mut missing, mut attestations) = (Vec::new(), Vec::new(), 0);
        for entry in listed {
            let digest = entry.digest();
            match self.listed_image(digest.as_ref())? {
                Some(id) => images.push((digest.clone(), id)),
                None => {
                    attestations += usize::from(is_attestation(entry));
                    let platform = entry.platform().as_ref().map(Platform::from);
                    let platform = platform.map(|platform| format!(" ({platform})")).unwrap_or_default();
                    missing.push(format!("{digest}{platform}"));
                }
            }
        }
        if missing.is_empty() {
            return Ok(images);
        }
        let advice = match attestations {
            0 => "pull them, or use image copy --all where they all are".to_owned(),
            // Nobody could run them, and no pull takes them.
            count => format!(
                "{count} of these are what a builder attests of the others, for no platform, which is never pulled: \
                 image copy --all docker://{name} DESTINATION has all from where they are"
            ),
        };
        let (here, all, missing) = (images.len(), listed.len(), missing.join(", "));
        let problem = format!("of its index only {here} of {all} images are here, not {missing}: {advice}");
        Err(invalid("image", name, problem))
    }

    /// Sends a list to a place, with its images unless these are there. Entries of images that were compressed anew on the way say
    /// what they are there. Each image is sent once more for each compression of `added` that neither it nor another one for its
    /// platform has; those with zstd are marked, and come last, as old programs take the first that fits.
    ///
    /// # Errors
    /// [`Error::Pull`]; [`Error::Invalid`] for an image that is nowhere known, and for `added` without images or in Docker's format.
    pub fn push_list(
        &self,
        list: &ImageList,
        to: Side<'_>,
        options: &PushOptions,
        (members, added): (bool, &[Compression]),
        progress: &mut dyn Progress,
    ) -> Result<Copied, Error> {
        if !added.is_empty() && (!members || options.format == Some(loment_image::Format::Docker)) {
            let hint = "images are added only where all are pushed, in the format oci";
            return Err(invalid("list", list.name.name.as_str(), hint));
        }
        let mut document = list.document.clone();
        let near = self.near_list(list, to)?;
        let copied = with_destination(to, near, &Scratch::of(self.store()), |destination| {
            let mut present = Vec::new();
            let entries = document["manifests"].as_array_mut();
            for entry in entries.into_iter().flatten().filter(|_| members) {
                let sent = self.push_member(list, entry, destination, to, (options, None), progress)?;
                present.push(Present::of(entry, &sent.1));
                describe_as(entry, &sent.0);
            }
            if let (false, Some(entries)) = (added.is_empty(), document["manifests"].as_array_mut()) {
                for (entry, compression) in missing(list, added, &present) {
                    let as_it = (options, Some(compression));
                    let (sent, _) = self.push_member(list, entry, destination, to, as_it, progress)?;
                    let mut entry = entry.clone();
                    describe_as(&mut entry, &sent);
                    match (compression, entry["annotations"].as_object_mut()) {
                        (Compression::Zstd, Some(all)) => drop(all.insert(ZSTD.to_owned(), "true".into())),
                        (Compression::Zstd, None) => entry["annotations"] = json!({ ZSTD: "true" }),
                        (_, Some(all)) => drop(all.remove(ZSTD)),
                        (_, None) => {}
                    }
                    entries.push(entry);
                }
                entries.sort_by_key(|entry| entry["annotations"][ZSTD] == "true");
            }
            let media_type = match options.format {
                Some(loment_image::Format::Docker) => DOCKER,
                _ => OCI,
            };
            document["mediaType"] = media_type.into();
            if let (DOCKER, Value::Object(map)) = (media_type, &mut document) {
                // That format has no word for them.
                map.remove("annotations");
            }
            let bytes = serde_json::to_vec(&document).unwrap_or_default();
            let digest = sha256(&bytes);
            let descriptor = Descriptor::new(MediaType::from(media_type), bytes.len() as u64, digest.clone());
            destination.put_document(&descriptor, &bytes, true)?;
            Ok(Copied { digest, sent: 0 })
        })?;
        self.tell_of_push(list.id(), to);
        Ok(copied)
    }

    /// Other repositories of a registry that have images of a list: those of the store, or where the others are.
    fn near_list(&self, list: &ImageList, to: Side<'_>) -> Result<Near, Error> {
        let entries = list.document["manifests"].as_array().into_iter().flatten();
        let mut images = Vec::new();
        for digest in entries.filter_map(|entry| entry["digest"].as_str()) {
            images.extend(self.listed_image(digest)?);
        }
        let mut near = self.near("", &images, to)?;
        for source in list.name.sources.values() {
            if let (Ok(Place::Registry(from)), Place::Registry(there)) = (Place::parse(source), to.place)
                && from.domain() == there.domain()
            {
                near.may_have(from.path());
            }
        }
        Ok(near)
    }

    /// Sends one image of a list, or with `other` the same in that compression; what it is there.
    fn push_member(
        &self,
        list: &ImageList,
        entry: &Value,
        destination: &dyn Destination,
        to: Side<'_>,
        (options, other): (&PushOptions, Option<Compression>),
        progress: &mut dyn Progress,
    ) -> Result<(Descriptor, Vec<u8>), Error> {
        let digest = entry["digest"].as_str().unwrap_or_default();
        let nowhere =
            || invalid("image", digest, format!("nobody knows where it is: take it off {}", list.name.name));
        let member = Members::of(destination);
        if let Some(artifact) = self.artifact(list, digest)? {
            let how = CopyOptions { images: Images::All, ..CopyOptions::default() };
            copy(&artifact, &member, &how, progress)?;
        } else if let Some(id) = self.listed_image(digest)? {
            let own: Option<Digest> = digest.parse().ok();
            let forced = other.map(|compression| PushOptions {
                compression,
                level: None,
                force_compression: true,
                ..options.clone()
            });
            push(self.store(), &id, own.as_ref(), &member, forced.as_ref().unwrap_or(options), progress)?;
        } else {
            let source = list.name.sources.get(digest).ok_or_else(nowhere)?;
            let place = Place::parse(source).map_err(|e| invalid("place", source, e.to_string()))?;
            let layers = other.map_or(Layers::Keep, Layers::As);
            let how = CopyOptions { images: Images::All, layers, ..CopyOptions::default() };
            let access = match &place {
                Place::Registry(reference) => &to.access.beyond(to.place, reference),
                _ => to.access,
            };
            let from = Side::new(&place, access);
            let scratch = Scratch::of(self.store());
            with_source(from, &scratch, |source, _| Ok(copy(source, &member, &how, progress)?))?;
        }
        member.last().ok_or_else(nowhere)
    }
}

/// Makes an entry of a list that of something else.
fn describe_as(entry: &mut Value, sent: &Descriptor) {
    entry["mediaType"] = sent.media_type().to_string().into();
    entry["digest"] = sent.digest().to_string().into();
    entry["size"] = sent.size().into();
}

/// What the layers of a manifest are compressed with, if it is one thing.
fn compression_of(manifest: &Value) -> Option<Compression> {
    let layers = manifest["layers"].as_array()?;
    let all = |end: &str| {
        layers.iter().all(|layer| layer["mediaType"].as_str().is_some_and(|kind| kind.ends_with(end)))
    };
    match () {
        () if layers.is_empty() => None,
        () if all("zstd") => Some(Compression::Zstd),
        () if all("gzip") => Some(Compression::Gzip),
        () => None,
    }
}

/// What was sent of a list.
struct Present {
    platform: Value,
    compression: Option<Compression>,
    /// Its files are as they are.
    is_artifact: bool,
}

impl Present {
    fn of(entry: &Value, manifest: &[u8]) -> Self {
        let document = serde_json::from_slice(manifest).unwrap_or_default();
        let (platform, compression) = (entry["platform"].clone(), compression_of(&document));
        Self { platform, compression, is_artifact: is_artifact(&document) }
    }
}

/// The images of a list of which there is none yet in a compression for their platform, with that. What is for no platform is no image.
/// `present` says what each entry is.
fn missing<'l>(
    list: &'l ImageList,
    added: &[Compression],
    present: &[Present],
) -> Vec<(&'l Value, Compression)> {
    let mut known: Vec<(&Value, Compression)> =
        present.iter().filter_map(|one| Some((&one.platform, one.compression?))).collect();
    let mut missing = Vec::new();
    let entries = list.document["manifests"].as_array().into_iter().flatten();
    for (entry, one) in entries.zip(present) {
        let platform = &entry["platform"];
        for compression in added.iter().filter(|_| !one.is_artifact && platform["os"] != "unknown") {
            if !known.contains(&(platform, *compression)) {
                known.push((platform, *compression));
                missing.push((entry, *compression));
            }
        }
    }
    missing
}

/// Whether an entry of an index is BuildKit's statement about another entry: where that came from and what is in it
/// (<https://docs.docker.com/build/metadata/attestations/attestation-storage/>).
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    let kind = entry.annotations().as_ref().and_then(|all| all.get("vnd.docker.reference.type"));
    kind.is_some_and(|kind| kind == "attestation-manifest")
}

/// A manifest or index of a place as it is there, or, of an index, the image's for a platform. Archives that cannot be
/// read in place are kept in `temporary` meanwhile.
///
/// # Errors
/// [`Error::Pull`].
pub fn raw_manifest(from: Side<'_>, platform: Option<&Platform>, temporary: &Path) -> Result<Raw, Error> {
    look_into(from, &Scratch::dir(temporary), |source, _| Ok(loment_image::raw(source, platform)?))
}

/// The configuration of the image for a platform as it is in a place.
///
/// # Errors
/// [`Error::Pull`].
pub fn raw_config(from: Side<'_>, platform: &Platform, temporary: &Path) -> Result<Vec<u8>, Error> {
    look_into(from, &Scratch::dir(temporary), |source, _| Ok(loment_image::raw_config(source, platform)?))
}
