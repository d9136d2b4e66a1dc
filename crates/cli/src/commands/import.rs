//! `import`

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Parser;
use loment_engine::Import;
use loment_image::{Change, Platform};

use super::pull::short_names;
use crate::ecosystem::{self, Chosen};
use crate::error::{Doing, Error};
use crate::globals::Globals;
use crate::output::print;

/// Make an image of a tar of a root file system
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Say that it is for this architecture [default: this machine's]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
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
    /// Say that it is for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The tar, plain or compressed with gzip or zstd; - for standard input
    #[arg(value_name = "FILE")]
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
    let mut tar = match flags.file.as_str() {
        "-" if std::io::stdin().is_terminal() => {
            return Err(Error::Invalid("cannot read from terminal, use command-line redirection".into()));
        }
        "-" => {
            File::from(std::io::stdin().as_fd().try_clone_to_owned().doing(|| "use standard input".into())?)
        }
        url if url.starts_with("http://") || url.starts_with("https://") => {
            let message = format!(
                "importing {url} is not supported: fetch it with another program, and give a file or -"
            );
            return Err(Error::Invalid(message));
        }
        path => File::open(path).doing(|| format!("open {path}"))?,
    };
    let engine = globals.engine()?;
    let import = Import { platform, changes, message: flags.message.clone() };
    let policy = globals.policy.or_file(flags.signature_policy.as_ref());
    let ecosystem = ecosystem::ecosystem(Chosen { policy, ..Chosen::default() });
    let (name, from) = (flags.name.as_deref(), (&mut tar, flags.file.as_str()));
    let id = engine.import(from, name, &ecosystem, &short_names(globals)?, import)?;
    print(&format!("{id}\n"))?;
    Ok(0)
}
