//! `skopeo layers`, which its makers advise against.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Parser;
use loment_engine::{Side, copy_image};
use loment_image::{CopyOptions, Images, Place};
use oci_spec::image::Digest;

use super::progress::Bars;
use super::pull::short_names;
use super::remote::PlaceFlags;
use super::sides::socket;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::complain;

/// How often another name is tried for the directory.
const TRIES: u32 = 100;

/// Copy an image, or some of its blobs, to a new directory below this one: use copy instead
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Reach Docker's daemon there [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "HOST")]
    daemon_host: Option<String>,
    /// Find the blobs of an OCI layout in this directory
    #[arg(long, value_name = "DIR")]
    shared_blob_dir: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceFlags,
    /// The image, such as docker://NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Digests of blobs [default: all of them]
    #[arg(value_name = "LAYER")]
    layers: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    complain("DEPRECATED: skopeo layers is deprecated in favor of skopeo copy");
    let source = Place::parse(&flags.image).map_err(|e| Error::Invalid(e.to_string()))?;
    let only = flags.layers.iter().map(|text| digest(text)).collect::<Result<Vec<_>, _>>()?;
    if matches!(source, Place::Store(_)) && !only.is_empty() {
        let problem = "layers of the store have no compressed form to be asked for: leave them out";
        return Err(Error::Invalid(format!("{source}: {problem}")));
    }
    let access = flags.place.access(globals)?;
    let daemon = socket(flags.daemon_host.as_deref())?;
    let from = Side { daemon, blobs: flags.shared_blob_dir.as_deref(), ..Side::new(&source, &access) };
    let options = CopyOptions {
        images: Images::One(globals.platform_wanted()),
        only: Some(only).filter(|only| !only.is_empty()),
        ..CopyOptions::default()
    };
    let engine = match source {
        Place::Store(_) => Some((globals.engine()?, short_names(globals)?)),
        _ => None,
    };
    let engine = engine.as_ref().map(|(engine, short_names)| (engine, short_names));
    let directory = new_directory()?;
    let destination = Place::Dir(directory.clone());
    let mut bars = Bars::new(true);
    let copied = flags.place.retry(|| {
        let to = Side::new(&destination, &access);
        Ok(copy_image(engine, from, to, &options, &globals.temporary(), &mut bars)?)
    });
    if copied.is_err() {
        // Nobody asked for half of it; what cannot be removed is of no harm.
        let _ = std::fs::remove_dir_all(&directory);
    }
    copied.map(|_| 0)
}

/// A digest, with or without its algorithm.
fn digest(text: &str) -> Result<Digest, Error> {
    let full = if text.contains(':') { text.to_owned() } else { format!("sha256:{text}") };
    Digest::try_from(full).map_err(|_| Error::Invalid(format!("invalid digest {text:?}: use sha256:DIGITS")))
}

/// `layers-NUMBER` in the current directory.
fn new_directory() -> Result<PathBuf, Error> {
    let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let first = moment.subsec_nanos();
    for number in (0..TRIES).map(|n| first.wrapping_add(n)) {
        let path = PathBuf::from(format!("layers-{number:010}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result.doing(|| format!("create {}", path.display())).map(|()| path),
        }
    }
    Err(Error::Invalid("there is a directory of every name that layers- may have: remove some".into()))
}
