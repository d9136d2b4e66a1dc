//! Images on their way out of the store, into it from other places than registries, and past it.

use std::path::{Path, PathBuf};

use loment_events::What;
use loment_image::conf::Subject;
use loment_image::{
    Archive, Compression, Copied, CopyOptions, Destination, DockerArchive, DockerArchiveWriter, ImageDir,
    Images, Layers, Near, OciArchiveWriter, OciLayout, OciLayoutWriter, Options, Output, Place, Platform,
    Progress, Pulled, PushOptions, Reference, RegistryDestination, Scratch, ShortNames, Source, StorageImage,
    WithAddresses, copy, from_daemon, pull, push, to_daemon,
};
use loment_registry::Daemon;
use loment_store::{ImageId, ImageName, Origin};
use oci_spec::image::Digest;

use crate::error::{Context, invalid};
use crate::{Access, Engine, Error};

/// Where Docker's daemon listens, unless something else is said.
const DOCKER: &str = "/var/run/docker.sock";

/// One side of a copy.
#[derive(Clone, Copy, Debug)]
pub struct Side<'s> {
    /// Where.
    pub place: &'s Place,
    /// How its registry is spoken to, if it is in one.
    pub access: &'s Access,
    /// The socket of Docker's daemon, where it is not the usual one.
    pub daemon: Option<&'s Path>,
    /// Where an OCI layout has its blobs, if not within it: a directory that several layouts share.
    pub blobs: Option<&'s Path>,
    /// Further names of the image, which only Docker's archives have.
    pub tags: &'s [String],
}

impl<'s> Side<'s> {
    /// A place where everything is as usual.
    pub fn new(place: &'s Place, access: &'s Access) -> Self {
        Self { place, access, daemon: None, blobs: None, tags: &[] }
    }

    /// Refuses what nothing here would use.
    fn check(self) -> Result<(), Error> {
        if let (Some(name), false) = (self.tags.first(), matches!(self.place, Place::DockerArchive { .. })) {
            let problem = format!("{} has no further names: only docker-archive: has", self.place);
            return Err(invalid("additional tag", name.as_str(), problem));
        }
        match (self.place, self.blobs) {
            (Place::Oci { .. }, _) | (_, None) => Ok(()),
            (place, Some(blobs)) => {
                let problem = format!("{place} has no shared blobs: only oci: has");
                Err(invalid("directory of blobs", blobs.display().to_string(), problem))
            }
        }
    }
}

impl Engine {
    /// Sends an image of the store to a place: of a list, the one for a platform, or else for this machine.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Pull`] for what goes wrong on the way.
    pub fn push(
        &self,
        image: &str,
        platform: Option<&Platform>,
        short_names: &ShortNames,
        to: Side<'_>,
        options: &PushOptions,
        progress: &mut dyn Progress,
    ) -> Result<Copied, Error> {
        let (id, name) = self.find_image_for(image, short_names, platform.unwrap_or(&Platform::host()))?;
        let named = self.store().name(&name)?;
        if let Place::Store(new) = to.place {
            // Not its list.
            self.tag(if named.is_some() { image } else { id.hex() }, new, short_names)?;
            return Ok(Copied { digest: id.digest().clone(), sent: 0 });
        }
        let named = named.and_then(|named| named.manifest);
        let near = self.near(&name, [&id], to)?;
        let copied = with_destination(to, near, &Scratch::of(self.store()), |destination| {
            Ok(push(self.store(), &id, named.as_ref(), destination, options, progress)?)
        })?;
        if let Place::Registry(there) = to.place {
            self.is_there_now(&there.store_name(), &id, &copied.digest)?;
        }
        self.tell_of_push(id.hex(), to);
        Ok(copied)
    }

    /// Remembers that the registry of a name has what the name means here, if that is what was pushed there.
    fn is_there_now(&self, name: &str, image: &ImageId, pushed: &Digest) -> Result<(), Error> {
        let known = self.store().name(name)?;
        let same = |known: &ImageName| known.image == *image && known.manifest.as_ref() == Some(pushed);
        if known.is_some_and(|known| same(&known) && !known.of_registry) {
            self.store().tag_from(Origin::Registry, name, image, Some(pushed))?;
        }
        Ok(())
    }

    /// Tells that an image was sent to a place.
    pub(crate) fn tell_of_push(&self, id: &str, to: Side<'_>) {
        let name = match to.place {
            Place::Registry(reference) => reference.store_name(),
            place => place.to_string(),
        };
        self.tell_of_image(What::Push, id, &name);
    }

    /// Takes an image from a place other than a registry. It gets the names it has there, or `name`.
    ///
    /// # Errors
    /// [`Error::Pull`].
    pub fn pull_place(
        &self,
        from: Side<'_>,
        name: Option<&Reference>,
        options: &Options,
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        let scratch = Scratch::of(self.store());
        with_source(from, &scratch, |source, tags| {
            let names = match name {
                Some(name) => vec![name.store_name()],
                None => full_names(&tags, from.place, short_names)?,
            };
            self.pull_as(source, &names, options, progress)
        })
    }

    /// Takes what a source was opened for, and gives it names.
    pub(crate) fn pull_as(
        &self,
        source: &dyn Source,
        names: &[String],
        options: &Options,
        progress: &mut dyn Progress,
    ) -> Result<Pulled, Error> {
        let first = names.first().map(String::as_str);
        let pulled = pull(source, &self.store_for_layers(), first, options, progress)?;
        for name in names.iter().skip(1) {
            self.store().tag(name, &pulled.image, Some(&pulled.digest))?;
        }
        Ok(pulled)
    }
}

/// What the names that an image has in a place mean. Those of Docker's archives are Docker's, others are as good as typed.
pub(crate) fn full_names(
    tags: &[String],
    place: &Place,
    short_names: &ShortNames,
) -> Result<Vec<String>, Error> {
    let docker = matches!(place, Place::DockerArchive { .. } | Place::Daemon(_));
    let full = |tag: &String| {
        let reference = if docker { tag.parse()? } else { short_names.new_name(tag)? };
        Ok(reference.store_name())
    };
    tags.iter().map(full).collect()
}

/// Copies an image from place to place. The store is touched when it is one of them, and only then an engine is needed.
/// `temporary` is a directory with room for archives that cannot be read in place.
///
/// # Errors
/// [`Error::Pull`], [`Error::NoImage`].
pub fn copy_image(
    engine: Option<(&Engine, &ShortNames)>,
    from: Side<'_>,
    to: Side<'_>,
    options: &CopyOptions,
    temporary: &Path,
    progress: &mut dyn Progress,
) -> Result<Copied, Error> {
    to.check()?;
    match (engine, from.place, to.place) {
        (Some((engine, short_names)), Place::Store(image), _) => {
            if options.preserve_digests {
                let hint = ": layers of the store are compressed anew, leave out --preserve-digests";
                return Err(Error::Unsupported {
                    what: format!("preserving digests of {}", from.place),
                    hint,
                });
            }
            let how = push_options(options);
            match &options.images {
                Images::One(platform) => engine.push(image, Some(platform), short_names, to, &how, progress),
                all => engine.push_all(image, short_names, to, &how, *all == Images::All, progress),
            }
        }
        (Some((engine, short_names)), _, Place::Store(name)) => {
            let name = short_names.new_name(name)?;
            refuse_for_store(options)?;
            let mut how = Options { parallel: options.parallel, ..Options::default() };
            if let Images::One(platform) = &options.images {
                how.platform = platform.clone();
            }
            let pulled = engine.pull_place(from, Some(&name), &how, short_names, progress)?;
            engine.tell_of_image(What::Pull, pulled.image.hex(), &name.store_name());
            Ok(Copied { digest: pulled.digest, sent: pulled.fetched })
        }
        _ => {
            let mut near = Near::default();
            if let (Place::Registry(from), Place::Registry(to)) = (from.place, to.place)
                && from.domain() == to.domain()
            {
                near.may_have(from.path());
            }
            let scratch = Scratch::dir(temporary);
            let options = &CopyOptions { scratch: Some(scratch.clone()), ..options.clone() };
            with_source(from, &scratch, |source, _| {
                with_destination(to, near, &scratch, |destination| {
                    Ok(copy(source, destination, options, progress)?)
                })
            })
        }
    }
}

/// What is wished of a copy that the store cannot do.
fn refuse_for_store(options: &CopyOptions) -> Result<(), Error> {
    let (what, hint) = match options {
        CopyOptions { images: Images::All | Images::Index, .. } => {
            ("copying several images into the store as one", ": choose one with --platform")
        }
        CopyOptions { format: Some(_), .. } => {
            ("another manifest format in the store", ": leave out --format, push has it, too")
        }
        CopyOptions { layers, level, .. } if *layers != Layers::Keep || level.is_some() => {
            ("compression in the store", ": leave it out, push has it, too")
        }
        _ => return Ok(()),
    };
    Err(Error::Unsupported { what: what.to_owned(), hint })
}

/// The same wishes where layers have no compression yet.
fn push_options(options: &CopyOptions) -> PushOptions {
    let (compression, force_compression) = match options.layers {
        Layers::Keep if options.accept_plain => (Compression::None, false),
        Layers::Keep => (Compression::Gzip, false),
        Layers::Compress(compression) => (compression, false),
        Layers::As(compression) => (compression, true),
    };
    PushOptions {
        format: options.format,
        compression,
        level: options.level,
        force_compression,
        parallel: options.parallel,
        precompute: options.precompute,
    }
}

/// Where a file is. A pipe without a name, as in `/dev/fd/63`, can be opened and is nowhere.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, Error> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.exists() => {
            std::path::absolute(path).context("find", path.display())
        }
        result => result.context("find", path.display()),
    }
}

/// An image as policies know it; `None` for one of the store, which has been accepted already.
fn subject(place: &Place) -> Result<Option<Subject>, Error> {
    let real = |path: &Path| Ok::<_, Error>(real_path(path)?.to_string_lossy().into_owned());
    let entry = |entry: &Option<String>| entry.clone().unwrap_or_default();
    Ok(Some(match place {
        Place::Registry(reference) => Subject::docker(reference),
        Place::Oci { dir, entry: name } => Subject::path("oci", &real(dir)?, Some(&entry(name))),
        Place::OciArchive { file, entry: name } => {
            Subject::path("oci-archive", &real(file)?, Some(&entry(name)))
        }
        Place::Dir(dir) => Subject::path("dir", &real(dir)?, None),
        Place::DockerArchive { file, .. } => {
            Subject::nameless("docker-archive", format!("docker-archive:{}", file.display()))
        }
        Place::Daemon(name) => match name.parse() {
            Ok(reference) => Subject::daemon(&reference),
            Err(_) => Subject::nameless("docker-daemon", format!("docker-daemon:{name}")),
        },
        Place::Storage { driver, root, image } => {
            let driver = driver.as_deref().or_else(|| StorageImage::driver(root)).unwrap_or_default();
            Subject::storage(driver, &real(root)?, image)
        }
        Place::Store(_) => return Ok(None),
    }))
}

/// Opens a place with an image that the policy accepts; the second of what `work` gets are the names that the image has there.
pub(crate) fn with_source<T>(
    side: Side<'_>,
    scratch: &Scratch,
    work: impl FnOnce(&dyn Source, Vec<String>) -> Result<T, Error>,
) -> Result<T, Error> {
    if let Some(subject) = subject(side.place)? {
        side.access.ecosystem.allow(&subject)?;
    }
    look_into(side, scratch, work)
}

/// The same for who only looks at an image, which no policy forbids: not skopeo's either.
pub(crate) fn look_into<T>(
    side: Side<'_>,
    scratch: &Scratch,
    work: impl FnOnce(&dyn Source, Vec<String>) -> Result<T, Error>,
) -> Result<T, Error> {
    side.check()?;
    match side.place {
        Place::Registry(reference) => {
            let origins = side.access.origins(reference)?;
            work(&origins.source(reference), vec![reference.store_name()])
        }
        Place::Oci { dir, entry } => {
            let names = entry.iter().filter(|name| !name.starts_with('@') && !name.contains("sha256:"));
            let layout = OciLayout::open(dir, side.blobs, entry.as_deref().unwrap_or_default())?;
            let options = side.access.file_options()?;
            work(&WithAddresses::new(&layout, &options), names.cloned().collect())
        }
        Place::OciArchive { file, entry } => {
            let archive = Archive::open(file, scratch)?;
            let layout = OciLayout::in_archive(archive, entry.as_deref().unwrap_or_default())?;
            let names = layout.entry_name().map(str::to_owned).into_iter().collect();
            let options = side.access.file_options()?;
            work(&WithAddresses::new(&layout, &options), names)
        }
        Place::Dir(dir) => work(&ImageDir::open(dir), Vec::new()),
        Place::DockerArchive { file, image } => {
            let archive = DockerArchive::open(Archive::open(file, scratch)?)?;
            let image = archive.image(image.as_deref().unwrap_or_default())?;
            work(&image, image.tags().to_vec())
        }
        Place::Daemon(name) => {
            let archive = from_daemon(&daemon(side)?, name, scratch)?;
            let image = archive.image("")?;
            let names = name.parse::<Reference>().map_or_else(|_| Vec::new(), |name| vec![name.store_name()]);
            work(&image, names)
        }
        Place::Storage { driver, root, image } => {
            let image = StorageImage::open(root, driver.as_deref(), image)?;
            work(&image, image.names().to_vec())
        }
        Place::Store(_) => Err(no_store(side.place)),
    }
}

pub(crate) fn with_destination<T>(
    side: Side<'_>,
    near: Near,
    scratch: &Scratch,
    work: impl FnOnce(&dyn Destination) -> Result<T, Error>,
) -> Result<T, Error> {
    match side.place {
        Place::Registry(reference) => {
            let registry = side.access.registry(reference)?;
            work(&RegistryDestination::new(&registry, reference).near(near))
        }
        Place::Oci { dir, entry } => {
            let blobs = side.blobs.map(absolute).transpose()?;
            work(&OciLayoutWriter::open(&absolute(dir)?, blobs.as_deref(), entry.as_deref())?)
        }
        Place::OciArchive { file, entry } => {
            let writer = OciArchiveWriter::new(Output::file(file, scratch)?);
            let done = work(&writer.image(entry.as_deref()))?;
            writer.finish()?;
            Ok(done)
        }
        Place::Dir(dir) => work(&ImageDir::create(&absolute(dir)?)?),
        Place::DockerArchive { file, image } => {
            let tag = |name: &String| match name.parse::<Reference>()? {
                name if name.digest().is_some() => {
                    Err(invalid("name", name.to_string(), "a docker-archive: has tags only, no digests"))
                }
                name => Ok(name.store_name()),
            };
            let tags = image.iter().chain(side.tags).map(tag).collect::<Result<_, Error>>()?;
            let writer = DockerArchiveWriter::new(Output::new_file(file, scratch)?);
            let done = work(&writer.image(tags))?;
            writer.finish()?;
            Ok(done)
        }
        Place::Daemon(name) => to_daemon(&daemon(side)?, &name.parse()?, scratch, work),
        Place::Storage { .. } => {
            Err(invalid("destination", side.place.to_string(), "storage of other tools is only read"))
        }
        Place::Store(_) => Err(no_store(side.place)),
    }
}

fn no_store(place: &Place) -> Error {
    invalid("place", place.to_string(), "it cannot be used here")
}

fn daemon(side: Side<'_>) -> Result<Daemon, Error> {
    let options =
        loment_registry::Options { user_agent: side.access.ecosystem.user_agent()?, ..Default::default() };
    Ok(Daemon::new(side.daemon.unwrap_or(Path::new(DOCKER)), options)?)
}

/// Messages name a directory that can be found.
fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(dir).context("find", dir.display())
}
