//! Flags before the command, read by hand: the command's own parser is built only when it is known.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loment_engine::Engine;
use loment_engine::config::{GroupManager, SizeLimits};
use loment_image::Platform;
use loment_store::Form;

use crate::ecosystem::{Judge, Trust};
use crate::error::Error;
use crate::events::{self, EventsBackend};
use crate::persona::Persona;
use crate::storage_options;

/// What is the same for every command.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) persona: &'static Persona,
    root: PathBuf,
    runroot: PathBuf,
    /// Who makes control groups; `None` is who does best here.
    pub(crate) cgroup_manager: Option<GroupManager>,
    /// How new layers are kept; `None` is as is best here.
    pub(crate) form: Option<Form>,
    /// What the changes of each new container may occupy.
    pub(crate) size: SizeLimits,
    /// Instead of this machine's platform: skopeo's `--override-…`.
    platform: Platform,
    /// Whose word decides which images are accepted, and where signatures are: skopeo's `--policy`, `--insecure-policy` and
    /// `--registries.d`.
    pub(crate) trust: Trust,
    /// Where events are kept; `None` is as configured.
    pub(crate) events: Option<EventsBackend>,
    /// The whole command may take so long: skopeo's `--command-timeout`.
    pub(crate) timeout: Option<Duration>,
}

/// Flags that take a value and change nothing here: peers' command lines contain them.
const IGNORED_WITH_VALUE: [&str; 4] = ["--log-level", "--runtime", "--storage-driver", "--tmpdir"];

impl Globals {
    /// Reads the flags; returns where the command begins.
    pub(crate) fn parse(
        persona: &'static Persona,
        arguments: &[OsString],
    ) -> Result<(Self, Option<usize>), Error> {
        let (root, runroot) = ("/var/lib/loment".into(), "/run/loment".into());
        let mut globals = Self {
            persona,
            root,
            runroot,
            cgroup_manager: None,
            form: None,
            size: SizeLimits::default(),
            platform: Platform::host(),
            trust: Trust::default(),
            events: None,
            timeout: None,
        };
        let mut i = 0;
        while let Some(argument) = arguments.get(i) {
            let text = argument.to_str().unwrap_or_default();
            if !text.starts_with('-') {
                return Ok((globals, Some(i)));
            }
            let (flag, inline) = match text.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (text, None),
            };
            let mut value = || -> Result<String, Error> {
                if let Some(value) = &inline {
                    return Ok(value.clone());
                }
                i += 1;
                let next = arguments.get(i).and_then(|v| v.to_str()).map(str::to_owned);
                next.ok_or_else(|| Error::Invalid(format!("flag needs an argument: {flag}")))
            };
            match flag {
                "--root" => globals.root = absolute(&value()?)?,
                "--runroot" => globals.runroot = absolute(&value()?)?,
                "--cgroup-manager" => globals.cgroup_manager = Some(cgroup_manager(&value()?)?),
                "--storage-opt" => storage_options::apply(&value()?, &mut globals)?,
                "--events-backend" => globals.events = Some(EventsBackend::parse(&value()?)?),
                "-v" | "--version" | "-h" | "--help" => return Ok((globals, Some(i))),
                "-D" | "--debug" | "--syslog" => {}
                "--insecure-policy" if persona.remote_only => globals.trust.policy = Judge::Nobody,
                "--policy" if persona.remote_only => globals.trust.policy = Judge::File(value()?.into()),
                "--override-os" if persona.remote_only => globals.platform.os = value()?,
                "--override-arch" if persona.remote_only => globals.platform.architecture = value()?,
                "--override-variant" if persona.remote_only => globals.platform.variant = Some(value()?),
                "--registries.d" if persona.remote_only => globals.trust.registries_d = Some(value()?.into()),
                "--command-timeout" if persona.remote_only => {
                    let text = value()?;
                    let time = text.parse::<jiff::SignedDuration>().ok().and_then(|t| t.try_into().ok());
                    let bad = || {
                        Error::Invalid(format!("invalid value {text:?} for --command-timeout: use 30s or 5m"))
                    };
                    globals.timeout = Some(time.ok_or_else(bad)?);
                }
                flag if IGNORED_WITH_VALUE.contains(&flag) => drop(value()?),
                other => {
                    let (program, command) = (persona.name, String::new());
                    return Err(Error::Usage { message: format!("unknown flag: {other}"), program, command });
                }
            }
            i += 1;
        }
        Ok((globals, None))
    }

    /// Which image of several is meant when nothing else is said.
    pub(crate) fn platform_wanted(&self) -> Platform {
        self.platform.clone()
    }

    /// Where images and containers are.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what does not outlive a reboot is.
    pub(crate) fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// Opens the engine.
    pub(crate) fn engine(&self) -> Result<Engine, Error> {
        if !loment_sys::process::is_root() {
            return Err(Error::Invalid(
                "running without root is not supported yet: use sudo, or log in as root".into(),
            ));
        }
        let chosen = self.events;
        let events = move || events::settings(chosen).unwrap_or_default().size();
        Ok(Engine::open(&self.root, &self.runroot)?.with_form(self.form).with_events(events))
    }
}

fn cgroup_manager(name: &str) -> Result<GroupManager, Error> {
    let all = [GroupManager::Cgroupfs, GroupManager::Systemd];
    all.into_iter().find(|m| m.name() == name).ok_or_else(|| {
        Error::Invalid(format!("invalid value {name:?} for --cgroup-manager: use systemd or cgroupfs"))
    })
}

/// Container directories are named to the kernel and to monitors: relative paths would change meaning.
fn absolute(path: &str) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io { operation: format!("find {path}"), source })
}
