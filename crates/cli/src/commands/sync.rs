//! `image sync`

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use loment_engine::{Access, Side, copy_image};
use loment_image::{CopyOptions, Images, Place, Reference};

use super::access::access;
use super::copy::temporary;
use super::progress::Bars;
use super::remote::retry;
use crate::ecosystem::Chosen;
use crate::error::{Doing, Error, one_line};
use crate::globals::Globals;
use crate::output::complain;

/// Directories below a source that are looked at, at most so deep.
const MAX_DEPTH: usize = 64;

/// Copy many images, of a registry or of directories
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
    dest: Kind,
    /// Show what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Go on when an image cannot be copied
    #[arg(long)]
    keep_going: bool,
    /// Accepted for compatibility: digests are always preserved
    #[arg(long)]
    preserve_digests: bool,
    /// Accepted for compatibility: signatures are not copied
    #[arg(long)]
    remove_signatures: bool,
    /// Try that often again after a failure
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retry_times: u32,
    /// Keep the whole name of an image at the destination
    #[arg(long)]
    scoped: bool,
    /// The kind of source: dir for directories, or docker, a repository or an image
    #[arg(short, long, value_name = "KIND")]
    src: Kind,
    /// Log in to the source with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    src_creds: Option<String>,
    /// Log in to the destination with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    dest_creds: Option<String>,
    /// Verify the source's certificates and refuse plain HTTP
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    src_tls_verify: Option<bool>,
    /// Verify the destination's certificates and refuse plain HTTP
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set)]
    dest_tls_verify: Option<bool>,
    /// Read the source's certificates from this directory
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// Read the destination's certificates from this directory
    #[arg(long, value_name = "DIR")]
    dest_cert_dir: Option<PathBuf>,
    /// Read logins to both registries from this file only
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Read logins to the source from this file only
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// Read logins to the destination from this file only
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// A repository, an image, or a directory with some
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

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    if flags.src == Kind::Yaml || flags.dest == Kind::Yaml {
        return Err(Error::Invalid(
            "lists of images in YAML are not supported yet: use --src dir or docker".into(),
        ));
    }
    if (flags.src, flags.dest) == (Kind::Dir, Kind::Dir) {
        return Err(Error::Invalid("sync from dir to dir is not implemented: use --dest docker".into()));
    }
    let side = |tls_verify, creds: &Option<String>, cert_dir: &Option<PathBuf>, file: &Option<PathBuf>| {
        let authfile = file.as_ref().or(flags.authfile.as_ref()).cloned();
        let chosen = Chosen { authfile, policy: globals.policy.clone() };
        access(tls_verify, creds.as_deref(), cert_dir.as_ref(), chosen)
    };
    let from = side(flags.src_tls_verify, &flags.src_creds, &flags.src_cert_dir, &flags.src_authfile)?;
    let to = side(flags.dest_tls_verify, &flags.dest_creds, &flags.dest_cert_dir, &flags.dest_authfile)?;
    let sources = match flags.src {
        Kind::Docker => of_registry(&flags.source, &from, flags)?,
        _ => of_directory(&flags.source)?,
    };
    let images = if flags.all { Images::All } else { Images::One(globals.platform_wanted()) };
    let options = CopyOptions { images, ..CopyOptions::default() };
    let (count, mut failed) = (sources.len(), 0);
    for (number, (source, name)) in sources.iter().enumerate() {
        let destination = destination(flags, name)?;
        let number = number + 1;
        if flags.dry_run {
            complain(&format!("Would copy image {number}/{count}: {source} to {destination}"));
            continue;
        }
        complain(&format!("Copying image {number}/{count}: {source} to {destination}"));
        let copied = prepare(&destination).and_then(|()| {
            retry(flags.retry_times, || {
                let mut bars = Bars::new(false);
                let (from, to) = (side_of(source, &from), side_of(&destination, &to));
                Ok(copy_image(None, from, to, &options, &temporary(), &mut bars)?)
            })
        });
        match copied {
            Ok(_) => {}
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
    match failed {
        0 => Ok(0),
        _ => Err(Error::Invalid(format!("{failed} of {count} images could not be copied"))),
    }
}

fn side_of<'s>(place: &'s Place, access: &'s Access) -> Side<'s> {
    Side { place, access, daemon: None }
}

/// An image, or each tag of a repository, with the name it has there.
fn of_registry(source: &str, access: &Access, flags: &Flags) -> Result<Vec<(Place, String)>, Error> {
    let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
    let reference: Reference = source.trim_start_matches("docker://").parse().map_err(invalid)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let name = reference.to_string();
        return Ok(vec![(Place::Registry(reference), name)]);
    }
    let tags = retry(flags.retry_times, || Ok(loment_engine::tags(&reference, access)?))?;
    if tags.is_empty() {
        return Err(Error::Invalid(format!("no images to sync found in {:?}", reference.name())));
    }
    let tagged = |tag: &String| {
        let reference = reference.with_tag(tag).map_err(invalid)?;
        let name = reference.to_string();
        Ok((Place::Registry(reference), name))
    };
    tags.iter().map(tagged).collect()
}

/// Each directory with an image, with its path below the source.
fn of_directory(source: &str) -> Result<Vec<(Place, String)>, Error> {
    let top = Path::new(source);
    let mut found = Vec::new();
    let mut left = vec![(top.to_owned(), 0)];
    while let Some((dir, depth)) = left.pop() {
        if dir.join("manifest.json").is_file() {
            let below = dir.strip_prefix(top).ok().filter(|path| !path.as_os_str().is_empty());
            let name = below.or_else(|| dir.file_name().map(Path::new)).unwrap_or(top);
            found.push((Place::Dir(dir.clone()), name.display().to_string()));
            continue;
        }
        for entry in std::fs::read_dir(&dir).doing(|| format!("list {}", dir.display()))? {
            let entry = entry.doing(|| format!("list {}", dir.display()))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < MAX_DEPTH {
                left.push((entry.path(), depth + 1));
            }
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
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
        Kind::Docker => {
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
        _ => Ok(Place::Dir(format!("{text}{}", flags.append_suffix).into())),
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
