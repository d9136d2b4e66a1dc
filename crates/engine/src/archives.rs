//! `save` and `load`: images of the store in archives and directories, and back.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use loment_events::What;
use loment_image::conf::Subject;
use loment_image::{
    Archive, Change, Destination, DockerArchive, DockerArchiveWriter, Format, ImageDir, ImportOptions,
    OciArchiveWriter, OciLayout, OciLayoutWriter, Options, Output, Place, Platform, Progress, PushOptions,
    Scratch, ShortNames, Source, import, push,
};
use loment_registry::FileUrl;
use loment_store::ImageId;

use crate::error::{Context, invalid};
use crate::transfer::{full_names, real_path};
use crate::{Access, Ecosystem, Engine, Error};

/// What an image is saved as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// One file, as `docker save` writes it. The only one for several images.
    #[default]
    DockerArchive,
    /// An OCI layout in one file.
    OciArchive,
    /// An OCI layout.
    OciDir,
    /// A directory as skopeo's `dir:` has it, with Docker's manifest.
    DockerDir,
}

/// Where an image is saved.
pub enum SaveTo {
    /// A file or a directory.
    Path(PathBuf),
    /// Anything that takes bytes, for archives.
    Stream(Box<dyn Write + Send>),
}

impl std::fmt::Debug for SaveTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.debug_tuple("Stream").finish_non_exhaustive(),
        }
    }
}

/// An image that is to be saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// As given: a name or an id.
    pub image: String,
    /// The names that it gets.
    pub names: Vec<String>,
    /// What it must be for; of a list, which of its images is meant.
    pub platform: Option<Platform>,
}

/// What an imported image says about itself.
#[derive(Clone, Debug)]
pub struct Import {
    /// What it runs on.
    pub platform: Platform,
    /// Defaults for containers.
    pub changes: Vec<Change>,
    /// A remark.
    pub message: Option<String>,
}

/// Where the tar of a root file system is.
#[derive(Debug)]
pub enum RootTar<'t> {
    /// It is open; the second is what policies and messages know it by.
    Open(&'t mut File, &'t str),
    /// It is to be fetched, and read as it comes.
    Url(&'t FileUrl),
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// The names that it has got.
    pub names: Vec<String>,
}

/// Where images are loaded from, and who says whether they may be.
struct Gate<'g> {
    ecosystem: &'g Ecosystem,
    /// `None` for a stream.
    path: Option<&'g Path>,
    /// What they must be for.
    platform: Option<&'g Platform>,
}

impl Gate<'_> {
    /// Asks the policy; `entry` is what the image is called there, where a transport has such names.
    fn pass(&self, transport: &'static str, entry: Option<&str>) -> Result<(), Error> {
        let subject = match self.path {
            // Policies know nothing of what is in these, nor where they are.
            Some(path) if transport == "docker-archive" => {
                Subject::nameless(transport, format!("{transport}:{}", path.display()))
            }
            Some(path) => Subject::path(transport, &real_path(path)?.to_string_lossy(), entry),
            None => Subject::nameless(transport, format!("{transport}:standard input")),
        };
        self.ecosystem.allow(&subject)
    }
}

impl Engine {
    /// Saves images. An archive that is there stays unless `replace`.
    ///
    /// # Errors
    /// [`Error::NoImage`], [`Error::Invalid`] for several images in a format for one, [`Error::Pull`].
    pub fn save_images(
        &self,
        images: &[Saved],
        format: SaveFormat,
        (to, replace): (SaveTo, bool),
        short_names: &ShortNames,
        options: &PushOptions,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        // Before anything is written.
        let found = images
            .iter()
            .map(|saved| self.find_image_on(&saved.image, short_names, saved.platform.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let path = match &to {
            SaveTo::Path(path) => path.display().to_string(),
            SaveTo::Stream(_) => "/dev/stdout".to_owned(),
        };
        self.save_found(images, &found, format, (to, replace), options, progress)?;
        for (id, _) in &found {
            self.tell_of_image(What::Save, id.hex(), &path);
        }
        Ok(())
    }

    fn save_found(
        &self,
        images: &[Saved],
        found: &[(ImageId, String)],
        format: SaveFormat,
        (to, replace): (SaveTo, bool),
        options: &PushOptions,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let scratch = Scratch::of(self.store());
        let mut send = |at: usize, format, destination: &dyn Destination| -> Result<(), Error> {
            let (id, name) = &found[at];
            let named = self.store().name(name)?.and_then(|named| named.manifest);
            let options = PushOptions { format, ..options.clone() };
            push(self.store(), id, named.as_ref(), destination, &options, progress)?;
            Ok(())
        };
        if format == SaveFormat::DockerArchive {
            let writer = DockerArchiveWriter::new(output(to, replace, &scratch)?);
            for (at, saved) in images.iter().enumerate() {
                send(at, None, &writer.image(saved.names.clone()))?;
            }
            return Ok(writer.finish()?);
        }
        let [saved] = images else {
            return Err(invalid("format", format.name(), "only docker-archive holds several images"));
        };
        let name = saved.names.first().map(String::as_str);
        match (format, to) {
            (SaveFormat::OciArchive, to) => {
                let writer = OciArchiveWriter::new(output(to, true, &scratch)?);
                send(0, Some(Format::Oci), &writer.image(name))?;
                Ok(writer.finish()?)
            }
            (SaveFormat::OciDir, SaveTo::Path(dir)) => {
                let dir = std::path::absolute(&dir).context("find", dir.display())?;
                send(0, Some(Format::Oci), &OciLayoutWriter::open(&dir, None, name)?)
            }
            (_, SaveTo::Path(dir)) => {
                let dir = std::path::absolute(&dir).context("find", dir.display())?;
                send(0, Some(Format::Docker), &ImageDir::create(&dir)?)
            }
            (_, SaveTo::Stream(_)) => Err(invalid("format", format.name(), "it is a directory: say which")),
        }
    }

    /// Loads all images of an archive or directory, of whichever kind it is, that the policy accepts. With a platform, that of each
    /// index which is for it; what is no index must be for it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is none, [`Error::Policy`], [`Error::Pull`].
    pub fn load_images(
        &self,
        path: &Path,
        ecosystem: &Ecosystem,
        platform: Option<&Platform>,
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Loaded>, Error> {
        let gate = Gate { ecosystem, path: Some(path), platform };
        let loaded = if path.is_dir() {
            self.load_dir(path, &gate, short_names, progress)
        } else {
            let archive = Archive::open(path, &Scratch::of(self.store())).map_err(something_else)?;
            self.load_archive(archive, &gate, short_names, progress)
        };
        self.told_of_load(loaded, &path.display().to_string())
    }

    /// What was loaded, after that was told.
    fn told_of_load(&self, loaded: Result<Vec<Loaded>, Error>, from: &str) -> Result<Vec<Loaded>, Error> {
        for image in loaded.iter().flatten() {
            self.tell_of_image(What::Load, image.id.hex(), from);
        }
        loaded
    }

    /// The same of an archive that comes as a stream; `name` is for messages.
    ///
    /// # Errors
    /// As of [`Engine::load_images`].
    pub fn load_stream(
        &self,
        input: &mut File,
        name: &str,
        ecosystem: &Ecosystem,
        platform: Option<&Platform>,
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Loaded>, Error> {
        let input: &mut (dyn Read + Send) = input;
        let gate = Gate { ecosystem, path: None, platform };
        let archive = Archive::read(input, name, &Scratch::of(self.store())).map_err(something_else)?;
        self.told_of_load(self.load_archive(archive, &gate, short_names, progress), "/dev/stdin")
    }

    /// Makes an image of a tar of a root file system.
    ///
    /// # Errors
    /// [`Error::Reference`] for what is no name, [`Error::Policy`], [`Error::Import`].
    pub fn import(
        &self,
        tar: RootTar<'_>,
        name: Option<&str>,
        access: &Access,
        short_names: &ShortNames,
        how: Import,
    ) -> Result<ImageId, Error> {
        let from = match &tar {
            RootTar::Open(_, name) => (*name).to_owned(),
            RootTar::Url(url) => url.to_string(),
        };
        // Before anything is read.
        access.ecosystem.allow(&Subject::nameless("tarball", format!("tarball:{from}")))?;
        let name = name.map(|name| self.full_name(name, short_names)).transpose()?;
        let Import { platform, changes, message } = how;
        let created = jiff::Timestamp::now().to_string();
        let options = ImportOptions { platform, changes, message, created };
        let take = |tar: &mut (dyn Read + Send)| {
            Ok(import(tar, &self.store_for_layers(), name.as_deref(), &options)?)
        };
        let done = match tar {
            RootTar::Open(tar, _) => take(tar),
            RootTar::Url(url) => access.fetch(url).and_then(|mut tar| take(&mut tar)),
        };
        let id: ImageId =
            done.map_err(|source| Error::Import { from: from.clone(), source: Box::new(source) })?;
        self.tell_of_image(What::Import, id.hex(), name.as_deref().unwrap_or(&from));
        Ok(id)
    }

    fn load_dir(
        &self,
        dir: &Path,
        gate: &Gate<'_>,
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Loaded>, Error> {
        if dir.join("index.json").exists() {
            return self.load_layouts(OciLayout::all(dir)?, (gate, "oci"), short_names, progress);
        }
        if dir.join("manifest.json").exists() {
            gate.pass("dir", None)?;
            return Ok(vec![self.load_one(&ImageDir::open(dir), Vec::new(), gate, progress)?]);
        }
        Err(no_image(&dir.display().to_string()))
    }

    fn load_archive(
        &self,
        archive: Archive,
        gate: &Gate<'_>,
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Loaded>, Error> {
        // Newer versions of Docker write both; only this one has all the names.
        if DockerArchive::is(&archive)? {
            gate.pass("docker-archive", None)?;
            let place = Place::DockerArchive { file: archive.name().into(), image: None };
            let archive = DockerArchive::open(archive)?;
            let mut loaded = Vec::new();
            for image in (0..archive.count()).map_while(|position| archive.at(position)) {
                let image = image?;
                let names = full_names(image.tags(), &place, short_names)?;
                loaded.push(self.load_one(&image, names, gate, progress)?);
            }
            return Ok(loaded);
        }
        if !archive.has("index.json")? {
            // Docker's own kind says more about what it lacks.
            return match archive.has("repositories")? {
                true => DockerArchive::open(archive).map(|_| Vec::new()).map_err(Error::from),
                false => Err(no_image(archive.name())),
            };
        }
        self.load_layouts(OciLayout::all_in_archive(archive)?, (gate, "oci-archive"), short_names, progress)
    }

    fn load_layouts(
        &self,
        layouts: Vec<OciLayout>,
        (gate, transport): (&Gate<'_>, &'static str),
        short_names: &ShortNames,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Loaded>, Error> {
        // All, before anything is taken.
        layouts
            .iter()
            .try_for_each(|layout| gate.pass(transport, Some(layout.entry_name().unwrap_or_default())))?;
        let mut loaded: Vec<Loaded> = Vec::new();
        for layout in layouts {
            let names: Vec<_> = layout.entry_name().map(str::to_owned).into_iter().collect();
            let names = full_names(&names, &Place::Oci { dir: PathBuf::new(), entry: None }, short_names)?;
            let one = self.load_one(&layout, names, gate, progress)?;
            match loaded.iter_mut().find(|known| known.id == one.id) {
                Some(known) => known.names.extend(one.names),
                None => loaded.push(one),
            }
        }
        Ok(loaded)
    }

    fn load_one(
        &self,
        source: &dyn Source,
        names: Vec<String>,
        gate: &Gate<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Loaded, Error> {
        // What was saved can be loaded, whatever machine it is for, unless one was named.
        let platform = gate.platform.cloned().unwrap_or_else(Platform::host);
        let options = Options { any_platform: gate.platform.is_none(), platform, ..Options::default() };
        let id = self.pull_as(source, &names, &options, progress)?.image;
        Ok(Loaded { id, names })
    }
}

impl SaveFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OciDir, Self::OciArchive, Self::DockerDir, Self::DockerArchive];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::OciArchive => "oci-archive",
            Self::OciDir => "oci-dir",
            Self::DockerDir => "docker-dir",
        }
    }

    /// Whether it is one file, and so may be a stream.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::DockerArchive | Self::OciArchive)
    }
}

fn output(to: SaveTo, replace: bool, scratch: &Scratch) -> Result<Output, Error> {
    Ok(match to {
        SaveTo::Stream(out) => Output::stream(out, "standard output", scratch),
        SaveTo::Path(path) if replace => Output::file(&path, scratch)?,
        SaveTo::Path(path) => Output::new_file(&path, scratch)?,
    })
}

/// What is no archive is told apart from one that is damaged.
fn something_else(error: loment_image::Error) -> Error {
    match error {
        loment_image::Error::Archive { archive, source } if source.is_something_else() => no_image(&archive),
        error => error.into(),
    }
}

fn no_image(name: &str) -> Error {
    let hint = "payload does not match any of the supported image formats: docker-archive, oci-archive, oci-dir, docker-dir";
    invalid("input", name, hint)
}
