//! `pull`

use std::time::Duration;

use clap::{Args, Parser};
use loment_engine::{Again, PullPolicy, PullSettings};
use loment_image::{Place, Platform};

use super::access::AccessFlags;
use super::for_each;
use super::progress::Bars;
use super::signing::SigningFlags;
use crate::error::Error;
use crate::globals::Globals;
use crate::output::{complain, print};
use crate::short_names::prompt;
pub(super) use crate::short_names::short_names;

/// Flags of every command that may fetch images.
#[derive(Args, Debug, Clone)]
pub(super) struct PullFlags {
    #[command(flatten)]
    access: AccessFlags,
    /// Choose this platform of several, such as linux/arm64/v8
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "os", "variant"])]
    platform: Option<String>,
    /// Choose the image for this architecture
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Choose the image for this operating system
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Choose the image for this variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Accepted for compatibility: there is no other trust than digests
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    disable_content_trust: Option<bool>,
    /// Try that often again after a failure [default: of containers.conf, or 3]
    #[arg(long, value_name = "TIMES")]
    retry: Option<u32>,
    /// Wait that long before each of them, such as 5s [default: of containers.conf, or 2s, then twice as long each time]
    #[arg(long, value_name = "TIME", value_parser = crate::units::delay)]
    retry_delay: Option<Duration>,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
}

impl PullFlags {
    /// What the engine needs to know.
    pub(super) fn settings(&self, globals: &Globals) -> Result<PullSettings, Error> {
        Ok(PullSettings {
            short_names: short_names(globals)?,
            prompt: if globals.persona.docker_hub { None } else { prompt() },
            access: self.access.access(globals)?,
            platform: self.wanted()?,
            again: Again { times: self.retry, delay: self.retry_delay },
            tell_again: Some(tell_again),
        })
    }

    /// The platform that was asked for, if any was.
    fn wanted(&self) -> Result<Option<Platform>, Error> {
        if let Some(text) = &self.platform {
            return platform(text).map(Some);
        }
        if self.arch.is_none() && self.os.is_none() && self.variant.is_none() {
            return Ok(None);
        }
        let host = Platform::host();
        let os = self.os.as_deref().unwrap_or(&host.os);
        let architecture = self.arch.as_deref().unwrap_or(&host.architecture);
        let variant = self.variant.iter().map(|variant| format!("/{variant}"));
        // Read as one text, so that x86_64 and others mean what they mean there.
        platform(&format!("{os}/{architecture}{}", variant.collect::<String>())).map(Some)
    }
}

/// Says that something is tried again.
pub(super) fn tell_again(delay: Duration, error: &loment_engine::Error) {
    complain(&format!("Trying again in {delay:?}: {}", crate::error::one_line(error)));
}

pub(super) fn platform(text: &str) -> Result<Platform, Error> {
    text.parse().map_err(|e| Error::Invalid(format!("invalid value {text:?} for --platform: {e}")))
}

/// Pull images from registries, archives and directories
#[derive(Parser, Debug)]
pub(super) struct Flags {
    /// Pull every tag of the repositories
    #[arg(short, long)]
    all_tags: bool,
    /// Pull always, missing, newer or never
    #[arg(long, value_name = "POLICY", default_value = "always")]
    policy: String,
    #[command(flatten)]
    pull: PullFlags,
    #[command(flatten)]
    signing: SigningFlags,
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) fn run(globals: &Globals, flags: &Flags) -> Result<u8, Error> {
    flags.signing.check()?;
    let engine = globals.engine()?;
    let settings = flags.pull.settings(globals)?;
    let policy = policy("policy", &flags.policy)?;
    let mut names = flags.images.clone();
    if flags.all_tags {
        names = all_tags(&flags.images, &settings)?;
    }
    for_each(&names, |image| {
        let name = image.strip_prefix("docker://").unwrap_or(image);
        let announce = || {
            if !flags.pull.quiet {
                complain(&format!("Trying to pull {name}..."));
            }
        };
        let mut bars = Bars::new(flags.pull.quiet);
        let elsewhere = Place::parse_if_any(image).is_ok_and(|place| place.is_some()) && name == image;
        let id = if elsewhere || policy == PullPolicy::Always {
            announce();
            engine.pull(name, &settings, &mut bars)?.image
        } else {
            engine.obtain(name, policy, &settings, &mut bars, announce)?.0
        };
        print(&format!("{}\n", id.hex()))
    })
}

/// Each tag of some repositories.
fn all_tags(repositories: &[String], settings: &PullSettings) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for repository in repositories {
        let name = repository.strip_prefix("docker://").unwrap_or(repository);
        let invalid = |e: loment_image::ReferenceError| Error::Invalid(e.to_string());
        let mut candidates = settings.short_names.candidates(name).map_err(invalid)?;
        settings.access.is_for_one_of(name, &candidates)?;
        let reference = candidates.swap_remove(0);
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(Error::Invalid(format!(
                "invalid repository {name:?}: with --all-tags, leave out the tag"
            )));
        }
        for tag in loment_engine::tags(&reference, &settings.access)? {
            names.push(reference.with_tag(&tag).map_err(invalid)?.to_string());
        }
    }
    Ok(names)
}

/// When images are fetched, as the value of a flag.
pub(super) fn policy(flag: &str, value: &str) -> Result<PullPolicy, Error> {
    match value {
        "missing" | "ifmissing" | "false" => Ok(PullPolicy::Missing),
        "always" | "true" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        "newer" | "ifnewer" => Ok(PullPolicy::Newer),
        other => Err(Error::Invalid(format!(
            "invalid value {other:?} for --{flag}: use missing, always, never or newer"
        ))),
    }
}
