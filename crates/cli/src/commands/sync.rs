//! `image sync`

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{Parser, ValueEnum};
use loment_engine::{Access, Side, copy_image};
use loment_image::{CopyOptions, Format, Images, Place, Reference};

use super::copy::tell_of_signatures;
use super::progress::Bars;
use super::sides::SidesFlags;
use super::signing::SigningFlags;
use super::sync_list::{Listed, of_list};
use crate::error::{Doing, Error, one_line};
use crate::globals::Globals;
use crate::output::complain;

/// Directories below a source that are looked at, at most so deep.
const MAX_DEPTH: usize = 64;

/// Copy many images, of registries or of directories
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Copy all images of an index
    #[arg(short, long)]
    all: bool,
    /// Add this to the tag of each image at the destination
    #[arg(long, value_name = "TEXT", default_value = "")]
    append_suffix: String,
    /// The kind of destination
    #[arg(short, long, value_name = "KIND")]
    dest: To,
    /// Write the digest and the place of each image that was copied to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Show what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Go on when an image cannot be copied
    #[arg(long)]
    keep_going: bool,
    /// Write manifests in this format: oci, or v2s2 for Docker's [default: as they are]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Fail rather than change a digest
    #[arg(long)]
    preserve_digests: bool,
    /// Accepted for compatibility: signatures are not copied
    #[arg(long)]
    remove_signatures: bool,
    /// Keep the whole name of an image at the destination
    #[arg(long)]
    scoped: bool,
    /// The kind of source: dir for directories; docker, a repository or an image; or yaml, a file with a list of them
    #[arg(short, long, value_name = "KIND")]
    src: Kind,
    #[command(flatten)]
    sides: SidesFlags,
    #[command(flatten)]
    signing: SigningFlags,
    /// A repository, an image, a directory with some, or a file with a list
    #[arg(value_name = "SOURCE")]
    source: String,
    /// A repository or a directory
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Docker,
    Dir,
    Yaml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    Docker,
    Dir,
}

/// An image to be copied.
pub(super) struct Task {
    source: Place,
    /// What it is called there.
    name: String,
    access: Rc<Access>,
}

impl Task {
    pub(super) fn of_registry(image: Reference, access: &Rc<Access>) -> Self {
        let name = image.to_string();
        Self { source: Place::Registry(image), name, access: Rc::clone(access) }
    }
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.signing.check()?;
    if (flags.src, flags.dest) == (Kind::Dir, To::Dir) {
        return Err(Error::Invalid("sync from dir to dir is not implemented: use --dest docker".into()));
    }
    let from = Rc::new(flags.sides.source(None, &globals.chosen)?);
    let to = flags.sides.destination(None, &globals.chosen)?;
    let Listed { tasks, failed: unlisted } = match flags.src {
        Kind::Docker => Listed { tasks: of_registry(&flags.source, &from, flags)?, failed: 0 },
        Kind::Dir => Listed { tasks: of_directory(&flags.source, &from)?, failed: 0 },
        Kind::Yaml => of_list(&flags.source, &from, &flags.sides, flags.keep_going)?,
    };
    let images = if flags.all { Images::All } else { Images::One(globals.platform_wanted()) };
    let (format, preserve_digests) = (flags.format, flags.preserve_digests);
    let options = CopyOptions { images, format, preserve_digests, ..CopyOptions::default() };
    let (count, mut failed) = (tasks.len(), 0);
    let shown = flags.digestfile.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let file = flags.digestfile.as_ref().filter(|_| !flags.dry_run).map(File::create).transpose();
    let mut digests = file.doing(|| format!("create {shown}"))?;
    for (number, Task { source, name, access }) in tasks.iter().enumerate() {
        let destination = destination(flags, name)?;
        let number = number + 1;
        if flags.dry_run {
            complain(&format!("Would copy image {number}/{count}: {source} to {destination}"));
            continue;
        }
        complain(&format!("Copying image {number}/{count}: {source} to {destination}"));
        if !flags.remove_signatures {
            tell_of_signatures(source, access)?;
        }
        let copied = prepare(&destination).and_then(|()| {
            flags.sides.retry(|| {
                let mut bars = Bars::new(false);
                let (from, to) = (Side::new(source, access), Side::new(&destination, &to));
                Ok(copy_image(None, from, to, &options, &globals.temporary(), &mut bars)?)
            })
        });
        match copied {
            Ok(copied) => {
                let line = |file: &mut File| writeln!(file, "{} {destination}", copied.digest);
                digests.as_mut().map_or(Ok(()), line).doing(|| format!("write {shown}"))?;
            }
            Err(error) if flags.keep_going => {
                failed += 1;
                complain(&format!("Error: {source}: {}", one_line(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    if flags.dry_run {
        complain(&format!("Would have synced {count} images"));
    } else {
        complain(&format!("Synced {} images", count - failed));
    }
    match (failed, unlisted) {
        (0, 0) => Ok(0),
        (_, 0) => Err(Error::Invalid(format!("{failed} of {count} images could not be copied"))),
        (0, _) => Err(Error::Invalid(format!("repositories whose tags could not be listed: {unlisted}"))),
        _ => Err(Error::Invalid(format!(
            "{failed} of {count} images could not be copied; repositories whose tags could not be listed: {unlisted}"
        ))),
    }
}

/// An image, or each tag of a repository.
fn of_registry(source: &str, access: &Rc<Access>, flags: &Flags) -> Result<Vec<Task>, Error> {
    let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
    let reference: Reference = source.trim_start_matches("docker://").parse().map_err(invalid)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Ok(vec![Task::of_registry(reference, access)]);
    }
    let tags = flags.sides.retry(|| Ok(loment_engine::tags(&reference, access)?))?;
    if tags.is_empty() {
        return Err(Error::Invalid(format!("no images to sync found in {:?}", reference.name())));
    }
    let tagged = |tag: &String| Ok(Task::of_registry(reference.with_tag(tag).map_err(invalid)?, access));
    tags.iter().map(tagged).collect()
}

/// Each directory with an image, with its path below the source.
fn of_directory(source: &str, access: &Rc<Access>) -> Result<Vec<Task>, Error> {
    let top = Path::new(source);
    let mut found = Vec::new();
    let mut left = vec![(top.to_owned(), 0)];
    while let Some((dir, depth)) = left.pop() {
        if dir.join("manifest.json").is_file() {
            let below = dir.strip_prefix(top).ok().filter(|path| !path.as_os_str().is_empty());
            let name = below.or_else(|| dir.file_name().map(Path::new)).unwrap_or(top);
            let (source, name) = (Place::Dir(dir.clone()), name.display().to_string());
            found.push(Task { source, name, access: Rc::clone(access) });
            continue;
        }
        for entry in std::fs::read_dir(&dir).doing(|| format!("list {}", dir.display()))? {
            let entry = entry.doing(|| format!("list {}", dir.display()))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < MAX_DEPTH {
                left.push((entry.path(), depth + 1));
            }
        }
    }
    found.sort_by(|a: &Task, b| a.name.cmp(&b.name));
    if found.is_empty() {
        return Err(Error::Invalid(format!("no images to sync found in {source:?}")));
    }
    Ok(found)
}

/// Where an image of that name goes.
fn destination(flags: &Flags, name: &str) -> Result<Place, Error> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let kept = if flags.scoped { name } else { last };
    let text = format!("{}/{kept}", flags.destination.trim_end_matches('/'));
    match flags.dest {
        To::Docker => {
            let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
            let reference: Reference = text.trim_start_matches("docker://").parse().map_err(invalid)?;
            match reference.tag().filter(|_| !flags.append_suffix.is_empty()) {
                Some(tag) => {
                    let tag = format!("{tag}{}", flags.append_suffix);
                    Ok(Place::Registry(reference.with_tag(&tag).map_err(invalid)?))
                }
                None => Ok(Place::Registry(reference)),
            }
        }
        To::Dir => Ok(Place::Dir(format!("{text}{}", flags.append_suffix).into())),
    }
}

/// Makes the directories above a directory that is not there yet.
fn prepare(destination: &Place) -> Result<(), Error> {
    let Place::Dir(dir) = destination else { return Ok(()) };
    if dir.exists() {
        return Err(Error::Invalid(format!("{} is there already: move it away", dir.display())));
    }
    let above = dir.parent().unwrap_or(dir);
    std::fs::create_dir_all(above).doing(|| format!("create {}", above.display()))
}
