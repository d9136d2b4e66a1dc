//! Whether all that is stored is what it was stored as, and what lies about that nobody needs.
//!
//! Nothing is changed here but the staging area, in which layers are made again for comparison. Readers take no locks, so what
//! seems damaged is looked at a second time: it may have been on its way out.

mod layers;
pub(crate) mod leftovers;
mod shifted;
mod tree;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use oci_spec::image::Digest;

use crate::container::RootfsDocument;
use crate::digest::{DiffId, ImageId};
use crate::disk;
use crate::error::{Context, Error};
use crate::image::{ImageRecord, Versioned};
use crate::name::{ImageName, IndexName, Target};
use crate::store::Store;

pub(crate) use layers::is_damage;
pub use leftovers::{Leftover, LeftoverKind};

/// What can be damaged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A layer.
    Layer(DiffId),
    /// A manifest, an index or a configuration.
    Blob(Digest),
    /// An image: its record, or something it needs.
    Image(ImageId),
    /// A name, by the file that holds it.
    Name(String),
    /// A container's root file system.
    Container(String),
}

/// In the words of messages.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(diff_id) => write!(f, "layer {diff_id}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Image(id) => write!(f, "image {}", id.hex()),
            Self::Name(name) => write!(f, "name {name}"),
            Self::Container(id) => write!(f, "container {id}"),
        }
    }
}

/// What is wrong with it.
#[derive(Debug)]
pub enum Problem {
    /// It is not as it was stored.
    Broken(Error),
    /// It is, but needs this, which is missing or damaged.
    Needs(Object),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Needs(object) => write!(f, "{object} is missing or damaged"),
        }
    }
}

/// Damage.
#[derive(Debug)]
pub struct Damage {
    /// What is damaged.
    pub object: Object,
    /// In which way.
    pub problem: Problem,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is damaged, and what that makes useless.
    pub damages: Vec<Damage>,
    /// What nobody needs and the next sweep takes.
    pub leftovers: Vec<Leftover>,
    /// How many layers, blobs, images and names were looked at.
    pub looked_at: [usize; 4],
}

impl Report {
    /// Whether something is damaged.
    pub fn is_damaged(&self) -> bool {
        !self.damages.is_empty()
    }

    /// The objects that are damaged, each once.
    pub fn objects(&self) -> HashSet<&Object> {
        self.damages.iter().map(|damage| &damage.object).collect()
    }

    fn broken(&mut self, object: Object, error: Error) {
        self.damages.push(Damage { object, problem: Problem::Broken(error) });
    }

    /// `user` needs all of these; those that are not sound are its damage.
    fn needs(&mut self, user: &Object, parts: impl IntoIterator<Item = Object>, sound: &HashSet<Object>) {
        for part in parts {
            if !sound.contains(&part) {
                self.damages.push(Damage { object: user.clone(), problem: Problem::Needs(part) });
            }
        }
    }
}

impl Store {
    /// Looks at everything: layers give the tar they were made from, blobs have their digests, documents can be read and what
    /// they name is there. `quick` leaves out reading the content of layers.
    ///
    /// # Errors
    /// What kept it from looking; damage is no error but part of the report.
    pub fn check(&self, quick: bool) -> Result<Report, Error> {
        // First: to make layers again takes a lease, and with that go things whose makers are gone.
        let mut report = Report { leftovers: leftovers::find(self)?, ..Report::default() };
        let mut sound = HashSet::new();
        self.check_blobs(&mut report, &mut sound)?;
        layers::check(self, quick, &mut report, &mut sound)?;
        let images = self.check_images(&mut report, &mut sound)?;
        self.check_names(&images, &mut report)?;
        self.check_containers(&mut report, &sound)?;
        if !quick {
            shifted::check(self, &mut report)?;
        }
        Ok(report)
    }

    fn check_blobs(&self, report: &mut Report, sound: &mut HashSet<Object>) -> Result<(), Error> {
        let blobs = self.path("blobs");
        for algorithm in disk::names(&blobs)? {
            for shard in disk::names(&blobs.join(&algorithm))? {
                for hex in disk::names(&blobs.join(&algorithm).join(&shard))? {
                    // What is not named as a digest is nobody's, and goes with the next sweep.
                    let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                    report.looked_at[1] += 1;
                    match self.blob(&digest) {
                        Ok(_) => drop(sound.insert(Object::Blob(digest))),
                        Err(Error::BlobMissing { .. }) => {}
                        Err(error) => report.broken(Object::Blob(digest), error),
                    }
                }
            }
        }
        Ok(())
    }

    /// The images that are here, by id, whether they are whole or not.
    fn check_images(
        &self,
        report: &mut Report,
        sound: &mut HashSet<Object>,
    ) -> Result<HashMap<ImageId, Option<ImageRecord>>, Error> {
        let mut images = HashMap::new();
        for id in self.image_ids()? {
            report.looked_at[2] += 1;
            let object = Object::Image(id.clone());
            let record = match self.image(&id) {
                Ok(None) => continue,
                Ok(Some(record)) if record.id == id => record,
                Ok(Some(_)) => {
                    let path = self.image_path(&id);
                    report.broken(object, Error::Misplaced { path });
                    images.insert(id, None);
                    continue;
                }
                Err(error) => {
                    report.broken(object, error);
                    images.insert(id, None);
                    continue;
                }
            };
            let blobs = record.manifests.iter().chain([id.digest()]).cloned().map(Object::Blob);
            let parts: Vec<_> = blobs.chain(record.layers.iter().cloned().map(Object::Layer)).collect();
            if parts.iter().any(|part| !sound.contains(part)) {
                self.look_for(&parts, report, sound)?;
                if self.image(&id)?.is_none() {
                    continue; // removed meanwhile, and its parts after it
                }
            }
            report.needs(&object, parts, sound);
            if let Some(problem) = self.record_problem(&record)?
                && self.image(&id)?.is_some()
            {
                report.broken(object, problem);
            }
            images.insert(id, Some(record));
        }
        Ok(images)
    }

    /// Looks for parts that came since all that was there was looked at.
    fn look_for(&self, parts: &[Object], report: &Report, sound: &mut HashSet<Object>) -> Result<(), Error> {
        let damaged = report.objects();
        for part in parts.iter().filter(|part| !damaged.contains(part)) {
            let came = match part {
                Object::Layer(diff_id) => self.sound_layer(diff_id)?.is_some(),
                Object::Blob(digest) => self.blob(digest).is_ok(),
                _ => false,
            };
            if came {
                sound.insert(part.clone());
            }
        }
        Ok(())
    }

    fn check_names(
        &self,
        images: &HashMap<ImageId, Option<ImageRecord>>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let refs = self.path("refs");
        for file in disk::names(&refs)? {
            report.looked_at[3] += 1;
            let path = refs.join(&file);
            let object = Object::Name(file.clone());
            let target = match self.target_in(&file) {
                Ok(Some(target)) => target,
                Ok(None) => continue,
                Err(error) => {
                    report.broken(object, error);
                    continue;
                }
            };
            match target {
                Target::Image(ImageName { name, .. }) | Target::Index(IndexName { name, .. })
                    if disk::escape(&name) != file =>
                {
                    report.broken(object, Error::Misplaced { path });
                }
                // What it lists may be elsewhere.
                Target::Index(IndexName { index, .. }) => {
                    if self.blob(&index).is_err() && path.exists() {
                        report.damages.push(Damage { object, problem: Problem::Needs(Object::Blob(index)) });
                    }
                }
                Target::Image(name) => {
                    let image = &name.image;
                    if self.is_forgotten(&name)? {
                        let error = Error::Forgotten { image: image.clone(), name: name.name.clone() };
                        report.broken(Object::Image(image.clone()), error);
                    }
                    let is_here = || images.contains_key(image) || self.image_path(image).exists();
                    // Names go before their image does, so one that still is there says the truth.
                    if !is_here() && path.exists() {
                        let problem = Problem::Needs(Object::Image(image.clone()));
                        report.damages.push(Damage { object, problem });
                    }
                }
            }
        }
        Ok(())
    }

    fn check_containers(&self, report: &mut Report, sound: &HashSet<Object>) -> Result<(), Error> {
        let containers = self.path("containers");
        for id in disk::names(&containers)? {
            let object = Object::Container(id.clone());
            match disk::read_json::<RootfsDocument>(&containers.join(&id).join("rootfs.json")) {
                Ok(None) => {}
                Ok(Some(document)) => {
                    let parts = document.layers.into_iter().filter(|layer| {
                        let known = Object::Layer(layer.clone());
                        // One that came since it was looked for is as good.
                        report.objects().contains(&known) || !self.layer_path(layer.hex()).exists()
                    });
                    let parts: Vec<_> = parts.map(Object::Layer).collect();
                    if containers.join(&id).exists() {
                        report.needs(&object, parts, sound);
                    }
                }
                Err(error) => report.broken(object, error),
            }
        }
        Ok(())
    }

    /// Removes a name that is damaged: its file in `refs/`.
    pub fn drop_damaged_name(&self, file: &str) -> Result<(), Error> {
        let refs = self.path("refs");
        remove_damaged(refs.join(file))?;
        disk::sync_dir(&refs, self.durability())
    }

    /// Whether an image can be read and all that it needs is there: its documents with their digests, and no layer known to be
    /// damaged; and its record says what they say. The content of layers is not read.
    ///
    /// # Errors
    /// What keeps it from looking.
    pub fn is_whole(&self, id: &ImageId) -> Result<bool, Error> {
        let record = match self.image(id) {
            Ok(Some(record)) if record.id == *id => record,
            Ok(_) => return Ok(false),
            Err(error) if is_damage(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        for digest in record.manifests.iter().chain([id.digest()]) {
            match self.blob(digest) {
                Ok(_) => {}
                Err(Error::BlobMissing { .. } | Error::Digest { .. }) => return Ok(false),
                Err(error) if is_damage(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        for layer in &record.layers {
            if self.sound_layer(layer)?.is_none() {
                return Ok(false);
            }
        }
        Ok(self.record_problem(&record)?.is_none())
    }

    /// Removes the record of an image that is damaged, and the names that point to it, which are returned. What makes it damaged must
    /// be marked, or missing: `None` when it [is whole](Self::is_whole) now, because somebody else has mended it.
    ///
    /// # Errors
    /// What keeps it from looking or removing.
    pub fn drop_damaged_image(&self, id: &ImageId) -> Result<Option<Vec<ImageName>>, Error> {
        // Who makes an image visible, or gives it a name, has this one.
        let _lock = self.lock(&format!("image-{}", id.hex()))?;
        if self.is_whole(id)? {
            return Ok(None);
        }
        let mut removed = Vec::new();
        for name in self.readable_names()? {
            if name.image == *id {
                removed.extend(self.untag(&name.name, Some(id))?);
            }
        }
        remove_damaged(self.image_path(id))?;
        disk::sync_dir(&self.path("images"), self.durability())?;
        Ok(Some(removed))
    }

    /// Every name that can be read.
    pub fn readable_names(&self) -> Result<Vec<ImageName>, Error> {
        let refs = self.path("refs");
        let read = |file| disk::read_json::<Versioned<ImageName>>(&refs.join(file)).ok().flatten();
        Ok(disk::names(&refs)?.into_iter().filter_map(read).map(|document| document.body).collect())
    }
}

fn remove_damaged(path: PathBuf) -> Result<(), Error> {
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.during("remove", &path),
    }
}
