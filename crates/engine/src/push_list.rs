//! Lists on their way out.

use std::path::Path;

use loment_image::{
    Copied, CopyOptions, Destination, Images, Members, Place, Platform, Progress, PushOptions, Raw, Scratch,
    copy, push,
};
use loment_store::sha256;
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde_json::Value;

use crate::error::invalid;
use crate::lists::ImageList;
use crate::transfer::{Side, look_into, with_destination, with_source};
use crate::{Engine, Error};

const OCI: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

impl Engine {
    /// Sends a list to a place, with its images unless these are there. Entries of images that were compressed anew on the way say
    /// what they are there.
    ///
    /// # Errors
    /// [`Error::Pull`]; [`Error::Invalid`] for an image that is nowhere known.
    pub fn push_list(
        &self,
        list: &ImageList,
        to: Side<'_>,
        options: &PushOptions,
        members: bool,
        progress: &mut dyn Progress,
    ) -> Result<Copied, Error> {
        let mut document = list.document.clone();
        with_destination(to, None, &Scratch::of(self.store()), |destination| {
            let entries = document["manifests"].as_array_mut();
            for entry in entries.into_iter().flatten().filter(|_| members) {
                let sent = self.push_member(list, entry, destination, to, options, progress)?;
                entry["mediaType"] = sent.media_type().to_string().into();
                entry["digest"] = sent.digest().to_string().into();
                entry["size"] = sent.size().into();
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
        })
    }

    /// Sends one image of a list; what it is there.
    fn push_member(
        &self,
        list: &ImageList,
        entry: &Value,
        destination: &dyn Destination,
        to: Side<'_>,
        options: &PushOptions,
        progress: &mut dyn Progress,
    ) -> Result<Descriptor, Error> {
        let digest = entry["digest"].as_str().unwrap_or_default();
        let nowhere =
            || invalid("image", digest, format!("nobody knows where it is: take it off {}", list.name.name));
        let member = Members::of(destination);
        if let Some(id) = self.listed_image(digest)? {
            let own: Option<Digest> = digest.parse().ok();
            push(self.store(), &id, own.as_ref(), &member, options, progress)?;
        } else {
            let source = list.name.sources.get(digest).ok_or_else(nowhere)?;
            let place = Place::parse(source).map_err(|e| invalid("place", source, e.to_string()))?;
            let how = CopyOptions { images: Images::All, ..CopyOptions::default() };
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
