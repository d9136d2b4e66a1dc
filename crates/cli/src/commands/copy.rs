//! `image copy`

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use loment_engine::{Access, Side, copy_image};
use loment_image::conf::Subject;
use loment_image::{Compression, CopyOptions, Format, Images, Layers, Place};

use super::progress::Bars;
use super::pull::{platform, short_names};
use super::push::check_level;
use super::sides::{SidesFlags, socket};
use super::signing::SigningFlags;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::complain;

/// Copy an image from one place to another
///
/// Places are docker://NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME], dir:DIR, docker-archive:FILE[:NAME], docker-daemon:NAME and
/// containers-storage:NAME.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Copy all images of an index, as --multi-arch all
    #[arg(short, long)]
    all: bool,
    /// Copy these images of an index
    #[arg(long, value_name = "WHICH", default_value = "system")]
    multi_arch: MultiArch,
    /// Choose this platform of several, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Write the digest of what was copied to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Fail rather than change a digest
    #[arg(long)]
    preserve_digests: bool,
    /// Write manifests in this format: oci, or v2s2 for Docker's [default: as they are]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Compress layers that are not
    #[arg(long)]
    dest_compress: bool,
    /// Compress all layers in this way: gzip or zstd
    #[arg(long, value_name = "COMPRESSION")]
    dest_compress_format: Option<Compression>,
    /// Accepted for compatibility: layers that are there in another compression are never taken for these
    #[arg(long, requires = "dest_compress_format")]
    dest_force_compress_format: bool,
    /// Compress that much: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL")]
    dest_compress_level: Option<i32>,
    /// Decompress all layers
    #[arg(long, conflicts_with_all = ["dest_compress", "dest_compress_format"])]
    dest_decompress: bool,
    /// Reach the source's Docker daemon there [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "HOST")]
    src_daemon_host: Option<String>,
    /// Reach the destination's Docker daemon there [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "HOST")]
    dest_daemon_host: Option<String>,
    /// Find the blobs of the source's OCI layout in this directory, which layouts share
    #[arg(long, value_name = "DIR")]
    src_shared_blob_dir: Option<PathBuf>,
    /// Keep the blobs of the destination's OCI layout in this directory, which layouts share
    #[arg(long, value_name = "DIR")]
    dest_shared_blob_dir: Option<PathBuf>,
    /// Copy no signatures; none are copied yet, which is said where there may be some
    #[arg(long)]
    remove_signatures: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Log in to both registries with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
    /// Give the image these names, too, which only a docker-archive has
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    additional_tag: Vec<String>,
    /// Do not compress layers for an OCI layout that are not compressed
    #[arg(long)]
    dest_oci_accept_uncompressed_layers: bool,
    /// Compress layers first to learn their digests, and send a registry only those that it has not
    #[arg(long)]
    dest_precompute_digests: bool,
    /// Copy that many blobs at the same time [default: 4]
    #[arg(long, value_name = "COUNT")]
    image_parallel_copies: Option<usize>,
    #[command(flatten)]
    sides: SidesFlags,
    #[command(flatten)]
    signing: SigningFlags,
    /// Read the policy from this file
    #[arg(long, alias = "signature-policy", value_name = "FILE", hide = true)]
    policy: Option<PathBuf>,
    /// What to copy
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MultiArch {
    System,
    All,
    IndexOnly,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.signing.check()?;
    let place = |name: &str| Place::parse(name).map_err(|e| Error::Invalid(e.to_string()));
    let (source, destination) = (place(&flags.source)?, place(&flags.destination)?);
    let chosen = globals.chosen.or_policy(flags.policy.as_ref());
    let (from_access, to_access) = (
        flags.sides.source(flags.creds.as_deref(), &chosen)?,
        flags.sides.destination(flags.creds.as_deref(), &chosen)?,
    );
    let from = Side {
        daemon: socket(flags.src_daemon_host.as_deref())?,
        blobs: flags.src_shared_blob_dir.as_deref(),
        ..Side::new(&source, &from_access)
    };
    let to = Side {
        daemon: socket(flags.dest_daemon_host.as_deref())?,
        blobs: flags.dest_shared_blob_dir.as_deref(),
        tags: &flags.additional_tag,
        ..Side::new(&destination, &to_access)
    };
    let options = options(globals, flags, &destination)?;
    if !flags.remove_signatures {
        tell_of_signatures(&source, &from_access)?;
    }
    let mut bars = Bars::new(flags.quiet);
    let with_store = matches!(source, Place::Store(_)) || matches!(destination, Place::Store(_));
    let engine = if with_store { Some((globals.engine()?, short_names(globals)?)) } else { None };
    let engine = engine.as_ref().map(|(engine, short_names)| (engine, short_names));
    let copied =
        flags.sides.retry(|| Ok(copy_image(engine, from, to, &options, &globals.temporary(), &mut bars)?))?;
    if let Some(file) = &flags.digestfile {
        std::fs::write(file, copied.digest.as_ref()).doing(|| format!("write {}", file.display()))?;
    }
    Ok(0)
}

/// What registries.d says of an image's signatures means that they are wanted; that they stay behind is not kept silent.
pub(super) fn tell_of_signatures(source: &Place, access: &Access) -> Result<(), Error> {
    let Place::Registry(reference) = source else { return Ok(()) };
    let place = access.ecosystem.settings()?.signatures.of(&Subject::docker(reference)).cloned();
    if place.is_some_and(|place| place.may_have_some()) {
        complain(&format!(
            "Signatures of {source} that registries.d tells of are not copied: loment does not read them yet \
             (--remove-signatures: none are wanted)"
        ));
    }
    Ok(())
}

fn options(globals: &Globals, flags: &Flags, to: &Place) -> Result<CopyOptions, Error> {
    let images = match flags.multi_arch {
        _ if flags.all => Images::All,
        MultiArch::All => Images::All,
        MultiArch::IndexOnly => Images::Index,
        MultiArch::System => {
            let chosen = flags.platform.as_deref().map(platform).transpose()?;
            Images::One(chosen.unwrap_or_else(|| globals.platform_wanted()))
        }
    };
    let compression = flags.dest_compress_format.unwrap_or(Compression::Gzip);
    check_level("--dest-compress-level", flags.dest_compress_level, compression)?;
    let layers = match flags.dest_compress_format {
        _ if flags.dest_decompress => Layers::As(Compression::None),
        Some(compression) => Layers::As(compression),
        // A level alone means compressing, too.
        None if flags.dest_compress || flags.dest_compress_level.is_some() => Layers::Compress(compression),
        None => Layers::Keep,
    };
    let defaults = CopyOptions::default();
    let layout = matches!(to, Place::Oci { .. } | Place::OciArchive { .. });
    Ok(CopyOptions {
        images,
        format: flags.format,
        layers,
        level: flags.dest_compress_level,
        preserve_digests: flags.preserve_digests,
        parallel: flags.image_parallel_copies.filter(|count| *count > 0).unwrap_or(defaults.parallel),
        accept_plain: flags.dest_oci_accept_uncompressed_layers && layout,
        precompute: flags.dest_precompute_digests && matches!(to, Place::Registry(_)),
        scratch: None,
        only: None,
    })
}
