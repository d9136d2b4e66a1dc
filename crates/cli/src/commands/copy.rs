//! `image copy`

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use loment_engine::copy_image;
use loment_image::{CopyOptions, Images, Place, Platform};

use super::access::access;
use super::progress::Bars;
use super::pull::platform;
use crate::error::{Doing, Error};
use crate::globals::Globals;

/// Copy an image from one place to another, past local storage
///
/// Places are docker://NAME, oci:DIR[:NAME] and dir:DIR.
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
    /// Accepted for compatibility: digests are always preserved
    #[arg(long)]
    preserve_digests: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Log in to both registries with this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<String>,
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
    /// Read the source's *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    src_cert_dir: Option<PathBuf>,
    /// Read the destination's *.crt, *.cert and *.key from this directory, or from HOST:PORT in it
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
}

pub(super) fn run(_globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let place = |name: &str| Place::parse(name).map_err(|e| Error::Invalid(e.to_string()));
    let (source, destination) = (place(&flags.source)?, place(&flags.destination)?);
    let both = flags.creds.as_deref();
    let side =
        |tls_verify, creds: &Option<String>, cert_dir: &Option<PathBuf>, authfile: &Option<PathBuf>| {
            let authfile = authfile.as_deref().or(flags.authfile.as_deref());
            access(tls_verify, creds.as_deref().or(both), cert_dir.as_ref(), authfile)
        };
    let from = side(flags.src_tls_verify, &flags.src_creds, &flags.src_cert_dir, &flags.src_authfile)?;
    let to = side(flags.dest_tls_verify, &flags.dest_creds, &flags.dest_cert_dir, &flags.dest_authfile)?;
    let images = match flags.all || flags.multi_arch == MultiArch::All {
        true => Images::All,
        false => {
            let chosen = flags.platform.as_deref().map(platform).transpose()?;
            Images::One(chosen.unwrap_or_else(Platform::host))
        }
    };
    let options = CopyOptions { images, ..CopyOptions::default() };
    let mut bars = Bars::new(flags.quiet);
    let copied = copy_image((&source, &from), (&destination, &to), &options, &mut bars)?;
    if let Some(file) = &flags.digestfile {
        std::fs::write(file, copied.digest.as_ref()).doing(|| format!("write {}", file.display()))?;
    }
    Ok(0)
}
