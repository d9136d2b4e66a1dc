//! `import`

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use loment_engine::{Import, RootTar};
use loment_image::{Change, Platform};
use loment_registry::FileUrl;

use super::access::access;
use super::pull::short_names;
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Make an image of a tar of a root file system
///
/// A tar at a URL is read as it comes, and kept nowhere else. A user and a password are written into the URL; saved logins are not
/// used.
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Say that it is for this architecture [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Read *.crt, *.cert and *.key for a URL from this directory, or from HOST:PORT in it
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Leave this remark in its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Say that it is for this operating system
    #[arg(long, value_name = "OS", default_value = "linux")]
    os: String,
    /// Say that it is for this platform, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "os", "variant"])]
    platform: Option<String>,
    /// Accepted for compatibility: there is no progress to show
    #[arg(short, long)]
    quiet: bool,
    /// Read the policy from this file
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
    /// Verify the certificate of a URL's host [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = ArgAction::Set)]
    tls_verify: Option<bool>,
    /// Say that it is for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The tar, plain or compressed with gzip or zstd: a file, an http or https URL, or - for standard input
    #[arg(value_name = "FILE|URL")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    let platform = match &flags.platform {
        Some(platform) => super::pull::platform(platform)?,
        None => {
            let host = Platform::host();
            let architecture = flags.arch.clone().unwrap_or(host.architecture);
            Platform { os: flags.os.clone(), architecture, variant: flags.variant.clone() }
        }
    };
    let change = |text: &String| text.parse::<Change>().map_err(|e| Error::Invalid(e.to_string()));
    let changes = flags.change.iter().map(change).collect::<Result<_, _>>()?;
    let import = Import { platform, changes, message: flags.message.clone() };
    let chosen = globals.chosen.or_policy(flags.signature_policy.as_ref());
    let access = access(flags.tls_verify, None, flags.cert_dir.as_ref(), chosen)?;
    let (name, short_names) = (flags.name.as_deref(), short_names(globals)?);
    let id = match url(flags)? {
        Some(url) => globals.engine()?.import(RootTar::Url(&url), name, &access, &short_names, import)?,
        None => {
            let mut tar = open(&flags.file)?;
            let tar = RootTar::Open(&mut tar, &flags.file);
            globals.engine()?.import(tar, name, &access, &short_names, import)?
        }
    };
    print(&format!("{id}\n"))?;
    Ok(0)
}

/// What is to be fetched.
fn url(flags: &Flags) -> Result<Option<FileUrl>, Error> {
    if FileUrl::is_meant(&flags.file) {
        return flags
            .file
            .parse()
            .map(Some)
            .map_err(|e: loment_registry::Error| Error::Invalid(e.to_string()));
    }
    for (flag, given) in
        [("--tls-verify", flags.tls_verify.is_some()), ("--cert-dir", flags.cert_dir.is_some())]
    {
        if given {
            return Err(Error::Invalid(format!("{flag} is for URLs: {} is none", flags.file)));
        }
    }
    Ok(None)
}

fn open(file: &str) -> Result<File, Error> {
    match file {
        "-" if std::io::stdin().is_terminal() => {
            Err(Error::Invalid("cannot read from terminal, use command-line redirection".into()))
        }
        "-" => {
            let input = std::io::stdin().as_fd().try_clone_to_owned();
            Ok(File::from(input.doing(|| "use standard input".into())?))
        }
        path => File::open(path).doing(|| format!("open {path}")),
    }
}
